import HairpinEngine
import HairpinWire

/// What the routing table says about a destination, as `ip_route_output_key` gives it to a socket.
public struct TransportRoute: Sendable {
    /// The source address to use when the socket has none of its own.
    public var source: IPv4Address
    /// Path MTU in bytes: the interface's, or a smaller one learned from "fragmentation needed" (RFC 1191).
    public var mtu: Int
    /// True when the packet does not leave the namespace (`lo`).
    public var isLocal: Bool
    public init(source: IPv4Address, mtu: Int, isLocal: Bool) {
        self.source = source
        self.mtu = mtu
        self.isLocal = isLocal
    }
}

/// How the identification field of a packet is chosen (`ip_select_ident`).
public enum IdentificationPolicy: Sendable {
    case zero
    case value(UInt16)
    /// From the host's hashed counters (`__ip_select_ident`).
    case host
}

/// Everything IP needs to know to send one transport packet.
public struct SendRequest: Sendable {
    public var source: IPv4Address
    public var destination: IPv4Address
    public var proto: IPProtocol
    public var timeToLive: UInt8 = 64
    public var typeOfService: UInt8 = 0
    public var dontFragment = false
    /// Whether a packet larger than the MTU may be cut locally even though DF is set (`skb->ignore_df`, IP_PMTUDISC_WANT).
    public var mayFragmentLocally = false
    public var identification = IdentificationPolicy.host
    /// The sending socket; counted while the packet waits in a neighbour queue. `.none` for packets of no socket (resets, TIME-WAIT).
    public var socket = SocketID.none
    /// Forward progress was made since the last packet: confirms the neighbour (`sk_dst_confirm`, MSG_CONFIRM).
    public var confirmsNeighbour = false
    /// One of several segments that TCP built as one packet (GSO): the interface's driver would cut it.
    public var isCutFromBurst = false
    public init(source: IPv4Address, destination: IPv4Address, proto: IPProtocol) {
        self.source = source
        self.destination = destination
        self.proto = proto
    }

    /// The IP header of a packet of this length. `lastIdentification` is what the host gave last.
    public func header(totalLength: Int, lastIdentification: inout UInt16) -> IPv4Header {
        var header = IPv4Header(source: source, destination: destination, proto: proto, totalLength: totalLength)
        header.dontFragment = dontFragment
        header.timeToLive = timeToLive
        header.typeOfService = typeOfService
        switch identification {
        case .zero: header.identification = 0
        case .value(let id): header.identification = id
        case .host:
            lastIdentification &+= 1
            header.identification = lastIdentification
        }
        return header
    }
}

/// A packet being filled: `payload` points at the first byte behind the IP header (the transport header).
public struct PacketBuffer {
    public let handle: UInt32
    public let payload: UnsafeMutableRawBufferPointer
    public init(handle: UInt32, payload: UnsafeMutableRawBufferPointer) {
        self.handle = handle
        self.payload = payload
    }
}

/// The layer below the transport protocols: IP of one network namespace. The transport protocols never see frames, interfaces or queues.
///
/// All calls are made while the stack runs; `send` may re-enter the stack on nothing but its own `packetsHeld` bookkeeping.
public protocol NetworkLayer: AnyObject {
    var now: Instant { get }
    /// The route to `destination`, from `source` if that is not `.any`; throws ENETUNREACH (or EINVAL for a source that is not local).
    func route(to destination: IPv4Address, from source: IPv4Address, device: String) throws(Errno) -> TransportRoute
    func isLocal(_ address: IPv4Address) -> Bool
    /// Room for `byteCount` bytes of transport header and payload; nil when the pool is exhausted (counted there).
    func allocate(_ byteCount: Int) -> PacketBuffer?
    /// Takes over a filled packet: writes the IP header, runs OUTPUT, routes, and transmits or queues it. The transport checksum must be finished.
    /// Returns the error a local send would see (EMSGSIZE, ENETUNREACH, EPERM after a drop in OUTPUT, EHOSTUNREACH), or nil.
    @discardableResult
    func send(_ packet: PacketBuffer, _ request: SendRequest) -> Errno?
    /// How many packets of the socket wait in neighbour queues (`skb_still_in_host_queue`).
    func packetsHeld(by socket: SocketID) -> Int
    /// Where the layer notes during `send` when the packet will have left this host's device, in ns, if not at once: until then the device holds it, and its
    /// memory is the socket's (`skb->destructor`). Nil for layers whose devices hold nothing.
    var departure: UnsafeMutablePointer<UInt64>? { get }
    /// Arms the stack's one timer: `TransportStack.timerExpired()` is called at `deadline`, unless armed again; `.distantFuture` disarms.
    func arm(_ deadline: Instant)
    /// Runs the softirqs that sending has raised, as the `local_bh_enable` at the end of `dev_queue_xmit` does in a system call: what was sent
    /// arrives, and answers may come back through `receive` before this returns. Does nothing when a softirq is being served already.
    func runSoftirqs()
    /// A socket's readiness changed; programs waiting for it are woken after the current softirq.
    func readinessChanged(_ socket: SocketID)
}

extension NetworkLayer {
    /// For layers without softirqs: nothing arrives during a call.
    public func runSoftirqs() {}
    public var departure: UnsafeMutablePointer<UInt64>? { nil }
}
