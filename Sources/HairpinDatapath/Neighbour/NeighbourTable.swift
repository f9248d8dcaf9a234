import HairpinEngine
import HairpinWire

/// NUD states (include/net/neighbour.h, RFC 4861 §7.3.2 for those that IPv6 shares).
public enum NeighbourState: UInt8, Sendable {
    case none, incomplete, reachable, stale, delay, probe, failed, permanent, noARP

    /// NUD_CONNECTED: usable without any doubt.
    var isConnected: Bool { self == .reachable || self == .permanent || self == .noARP }
    /// NUD_VALID: has an address.
    var isValid: Bool { isConnected || self == .stale || self == .delay || self == .probe }
    /// As `ip neigh` prints it.
    public var name: String {
        switch self {
        case .none: "NONE"
        case .incomplete: "INCOMPLETE"
        case .reachable: "REACHABLE"
        case .stale: "STALE"
        case .delay: "DELAY"
        case .probe: "PROBE"
        case .failed: "FAILED"
        case .permanent: "PERMANENT"
        case .noARP: "NOARP"
        }
    }
}

/// A neighbour entry (`struct neighbour`).
struct Neighbour {
    let address: IPv4Address
    let device: InterfaceIndex
    var mac = MACAddress.zero
    var state = NeighbourState.none
    /// A complete header has been cached by an earlier output (`hh_len`): only then can the bridge rewrite addresses without the slow path.
    var hasHeader = false
    var probes = 0
    var updated = Instant.zero
    var confirmed = Instant.zero
    var used = Instant.zero
    /// Random in 0.5–1.5 × base_reachable_time.
    var reachableTime = Duration.seconds(30)
    var deadline = Instant.distantFuture
    /// When an event for this entry is in the queue; it re-arms itself.
    var queued = Instant.distantFuture
    var waiting = FrameQueue()
    var waitingBytes = 0
    /// No longer found by its address.
    var isForgotten = false

    init(address: IPv4Address, device: InterfaceIndex) {
        self.address = address
        self.device = device
    }
}

/// The neighbour entries of a logical process, keyed by device and address.
struct NeighbourTable {
    // Linux's defaults (net/ipv4/arp.c, arp_tbl.parms).
    static let multicastProbes = 3, unicastProbes = 3
    static let retransmitTime = Duration.seconds(1)
    static let delayProbeTime = Duration.seconds(5)
    static let baseReachableTime = Duration.seconds(30)
    /// `locktime`: several answers back to back use the first.
    static let lockTime = Duration.seconds(1)
    /// `unres_qlen_bytes` is SK_WMEM_MAX, 212 992 bytes of truesize: a SYN counts 768, a full-size segment 2304.
    static let waitingBytesLimit = 212_992

    private var entries = Slab<Neighbour>()
    private var index = AddressMap()

    var count: Int { entries.count }

    func deallocate() {
        entries.deallocate()
        index.deallocate()
    }

    subscript(n: UInt32) -> UnsafeMutablePointer<Neighbour> { @inline(__always) get { entries[Int(n)] } }

    @inline(__always)
    private func key(_ address: IPv4Address, _ device: InterfaceIndex) -> UInt64 { UInt64(device.rawValue) << 32 | UInt64(address.rawValue) }

    @inline(__always)
    func find(_ address: IPv4Address, device: InterfaceIndex) -> UInt32? { index.find(key(address, device)) }

    mutating func create(_ address: IPv4Address, device: InterfaceIndex) -> UInt32 {
        let n = entries.extend()
        entries[n].initialize(to: Neighbour(address: address, device: device))
        index.set(key(address, device), UInt32(n))
        return UInt32(n)
    }

    /// Takes the entry out of the look-up; its slot stays so that numbers are not reused.
    /// One that was forgotten before leaves its successor alone.
    mutating func forget(_ n: UInt32) {
        let key = key(entries[Int(n)].pointee.address, entries[Int(n)].pointee.device)
        entries[Int(n)].pointee.isForgotten = true
        if index.find(key) == n { index.remove(key) }
    }
}
