import HairpinEngine
import HairpinWire

/// What became of a packet handed to the stack.
public enum Reception: Sendable, Hashable {
    /// A protocol consumed it (which includes answering it with a reset or a challenge).
    case delivered
    /// Nobody listens on the UDP port, or the protocol is unknown: the caller sends "port unreachable" or "protocol unreachable".
    case noSocket
    case noProtocol
    /// A TCP segment for no connection; it was answered with a reset where a reset is due.
    case refused
    case malformed
    case badChecksum
    /// Fewer hops left than IP_MINTTL asks for.
    case tooFewHops
    /// The socket's receive buffer, the accept queue or the SYN queue was full.
    case bufferFull
}

/// The sockets of one network namespace: TCP, UDP and ICMP echo. Packets and time go in; packets, one deadline and readiness come out through
/// the `NetworkLayer`. Knows no frames, interfaces or processes.
///
/// The path of a segment: `receive` (here) → `TCP/Receive.swift` → `Sockets/Demultiplexer.swift` → `TCP/Acknowledgments.swift` →
/// `TCP/Reassembly.swift` → `TCP/AckPolicy.swift`; the path of a write: `Sockets/StreamCalls.swift` → `TCP/Segmenter.swift` →
/// `TCP/Transmit.swift` → `NetworkLayer.send`.
public final class TransportStack {
    let network: any NetworkLayer
    /// When the packet just sent leaves the device, in ns; zero: at once (`NetworkLayer.departure`).
    let departure: UnsafeMutablePointer<UInt64>
    private let ownsDeparture: Bool
    /// Everything that changes, in raw memory: reading and writing it checks no exclusivity.
    private let state: UnsafeMutablePointer<State>
    let portSecret: UInt64

    /// The fields below, by the same names.
    private struct State: ~Copyable {
        var settings: TransportSettings
        var random: SeededRandom
        var now = Instant.zero
        var pool = BlockPool()
        var timers = TimerHeap()
        var armed = UInt64.max
        var table = SocketTable()
        var connections = ConnectionTable()
        var ports = PortTable()
        var devices: [String] = [""]
        var statistics = TransportStatistics()
        var portPerturbation: UInt32
        var nextEchoIdentifier: UInt16
        var challengeSecond = UInt64.max
        var challengesLeft = 0
        /// Connections in TIME-WAIT, and in FIN-WAIT-2 without a program.
        var timeWaitRecords = 0
        var lastStamp: UInt64 = 0
        /// The segment that is being received is what was expected (`predicts`).
        var isPredicted = false
        var owner: EndpointPointer?
        var wakeReason: Readiness = []
        var fastOpenPause = FastOpenPause()
        var fastOpenMemory: [IPv4Address: FastOpenMemory] = [:]
        var streamExtras: [UInt32: StreamExtras] = [:]
        var backlog = SocketBacklog()
        var spareBacklog = SocketBacklog()
        var isProbed = false
        var probe: (log: TCPProbeLog, origin: UInt32)?

        init(settings: TransportSettings, random: SeededRandom, portPerturbation: UInt32, nextEchoIdentifier: UInt16) {
            self.settings = settings
            self.random = random
            self.portPerturbation = portPerturbation
            self.nextEchoIdentifier = nextEchoIdentifier
        }
    }

    /// Bytes of a TCP endpoint in the array that segments and timers find their way through; the rest of its state lies elsewhere.
    public static var endpointBytes: Int { MemoryLayout<Endpoint>.stride }
    public internal(set) var settings: TransportSettings { _read { yield state.pointee.settings } _modify { yield &state.pointee.settings } }
    /// What the call of `readinessChanged` under way is about; empty for a change of state.
    public internal(set) var wakeReason: Readiness { _read { yield state.pointee.wakeReason } _modify { yield &state.pointee.wakeReason } }
    var random: SeededRandom { _read { yield state.pointee.random } _modify { yield &state.pointee.random } }
    /// The moment of the call being served.
    var now: Instant { _read { yield state.pointee.now } _modify { yield &state.pointee.now } }
    var pool: BlockPool { _read { yield state.pointee.pool } _modify { yield &state.pointee.pool } }
    var timers: TimerHeap { _read { yield state.pointee.timers } _modify { yield &state.pointee.timers } }
    var armed: UInt64 { _read { yield state.pointee.armed } _modify { yield &state.pointee.armed } }
    var table: SocketTable { _read { yield state.pointee.table } _modify { yield &state.pointee.table } }
    var connections: ConnectionTable { _read { yield state.pointee.connections } _modify { yield &state.pointee.connections } }
    var ports: PortTable { _read { yield state.pointee.ports } _modify { yield &state.pointee.ports } }
    var devices: [String] { _read { yield state.pointee.devices } _modify { yield &state.pointee.devices } }
    var statistics: TransportStatistics { _read { yield state.pointee.statistics } _modify { yield &state.pointee.statistics } }
    /// Perturbs the choice of client ports (RFC 6056 §3.3.4).
    var portPerturbation: UInt32 { _read { yield state.pointee.portPerturbation } _modify { yield &state.pointee.portPerturbation } }
    var nextEchoIdentifier: UInt16 { _read { yield state.pointee.nextEchoIdentifier } _modify { yield &state.pointee.nextEchoIdentifier } }
    var challengeSecond: UInt64 { _read { yield state.pointee.challengeSecond } _modify { yield &state.pointee.challengeSecond } }
    var timeWaitRecords: Int { _read { yield state.pointee.timeWaitRecords } _modify { yield &state.pointee.timeWaitRecords } }
    var challengesLeft: Int { _read { yield state.pointee.challengesLeft } _modify { yield &state.pointee.challengesLeft } }
    /// The latest transmission; see `transmissionStamp`.
    var isPredicted: Bool { _read { yield state.pointee.isPredicted } _modify { yield &state.pointee.isPredicted } }
    var lastStamp: UInt64 { _read { yield state.pointee.lastStamp } _modify { yield &state.pointee.lastStamp } }
    /// The connection a system call is working on (`sock_owned_by_user`), and what came in for it meanwhile.
    var owner: EndpointPointer? { _read { yield state.pointee.owner } _modify { yield &state.pointee.owner } }
    /// By socket; almost always empty.
    var streamExtras: [UInt32: StreamExtras] { _read { yield state.pointee.streamExtras } _modify { yield &state.pointee.streamExtras } }
    var fastOpenPause: FastOpenPause { _read { yield state.pointee.fastOpenPause } _modify { yield &state.pointee.fastOpenPause } }
    var fastOpenMemory: [IPv4Address: FastOpenMemory] { _read { yield state.pointee.fastOpenMemory } _modify { yield &state.pointee.fastOpenMemory } }
    var backlog: SocketBacklog { _read { yield state.pointee.backlog } _modify { yield &state.pointee.backlog } }
    var spareBacklog: SocketBacklog { _read { yield state.pointee.spareBacklog } _modify { yield &state.pointee.spareBacklog } }

    /// Whether segments and timers of connections are traced, and where to (`Sockets/TCPProbe.swift`).
    var isProbed: Bool { _read { yield state.pointee.isProbed } _modify { yield &state.pointee.isProbed } }
    var probe: (log: TCPProbeLog, origin: UInt32)? { _read { yield state.pointee.probe } _modify { yield &state.pointee.probe } }

    /// The stack owns `network`, which must not own the stack.
    public init(network: any NetworkLayer, random: SeededRandom, settings: TransportSettings = TransportSettings()) {
        self.network = network
        (departure, ownsDeparture) = (network.departure ?? .allocate(capacity: 1), network.departure == nil)
        departure.pointee = 0
        var random = random
        let perturbation = random.next32()
        portSecret = random.next()
        let identifier = random.next16()
        state = .allocate(capacity: 1)
        state.initialize(to: State(settings: settings, random: random, portPerturbation: perturbation, nextEchoIdentifier: identifier))
    }

    deinit {
        table.forEachStream { endpoint in
            endpoint.cold.pointee.sendRing.release(pool)
            endpoint.cold.pointee.receiveRing.release(pool)
            endpoint.cold.pointee.sent.release(pool)
            endpoint.cold.pointee.queue.release(pool)
            endpoint.cold.pointee.received.release(pool)
            endpoint.cold.pointee.outOfOrder.release(pool)
            freeModules(endpoint)
        }
        state.deinitialize(count: 1)
        state.deallocate()
        if ownsDeparture { departure.deallocate() }
    }

    public var counters: TransportStatistics { snapshot }

    /// A whole IPv4 packet addressed to this namespace, header included, after INPUT. A segment that was cut from a larger packet of its sender
    /// (`cutFromBurst`) costs the receive buffer other amounts than one sent by itself (`PacketMemory`).
    public func receive(_ packet: UnsafeRawBufferPointer, checksumVerified: Bool, cutFromBurst: Bool = false) -> Reception {
        guard let ip = IPv4View(packet), !ip.isFragment else { return .malformed }
        now = network.now
        defer { rearm() }
        switch ip.proto.rawValue {
        case IPProtocol.tcp.rawValue: return receiveTCP(ip, checksumVerified: checksumVerified, cutFromBurst: cutFromBurst)
        case IPProtocol.udp.rawValue: return receiveUDP(ip, checksumVerified: checksumVerified)
        case IPProtocol.icmp.rawValue: return receiveICMP(ip, checksumVerified: checksumVerified)
        default: return .noProtocol
        }
    }

    /// An ICMP error about a packet this namespace sent. `information` is the next-hop MTU of "fragmentation needed", else zero; `quote` is the quoted
    /// IP packet, which may be cut short after eight bytes of transport header.
    public func receiveICMPError(type: UInt8, code: UInt8, information: UInt32, offender: IPv4Address, quote: UnsafeRawBufferPointer) {
        now = network.now
        defer { rearm() }
        guard quote.count >= 28, let base = quote.baseAddress, base.u8(0) >> 4 == 4 else { return }
        let header = Int(base.u8(0) & 15) * 4
        guard header >= 20, quote.count >= header + 8 else { return }
        let error = ICMPError(
            type: type, code: code, information: information, offender: offender, source: base.ipv4(IPv4Offset.source),
            destination: base.ipv4(IPv4Offset.destination), transport: UnsafeRawBufferPointer(rebasing: quote[header...]), quote: quote)
        switch base.u8(IPv4Offset.proto) {
        case IPProtocol.tcp.rawValue: tcpError(error)
        case IPProtocol.udp.rawValue: udpError(error)
        case IPProtocol.icmp.rawValue: echoError(error)
        default: break
        }
        // No route takes less than net.ipv4.route.min_pmtu.
        if type == ICMPv4.destinationUnreachable, code == ICMPv4.fragmentationNeeded { outdateRoutes(to: error.destination, mtu: max(Int(information), 552)) }
    }

    /// The deadline given to `NetworkLayer.arm` has come.
    public func timerExpired() {
        now = network.now
        armed = .max
        while timers.earliest <= now.nanoseconds {
            let endpoint = timers.first
            let deadline = deadline(endpoint)
            timers.settleFirst(deadline: deadline)
            if deadline <= now.nanoseconds { endpointTimer(endpoint) }
        }
        rearm()
    }

    /// Tells the layer below about the earliest deadline, when it changed. Ends every entry point.
    func rearm() {
        let earliest = timers.earliest
        guard earliest != armed else { return }
        armed = earliest
        network.arm(Instant(nanoseconds: earliest))
    }

    /// Runs `body` as one entry from a program.
    @inline(__always)
    func entry<T>(_ body: () throws(Errno) -> T) throws(Errno) -> T {
        now = network.now
        defer { rearm() }
        return try body()
    }
}

/// An ICMP error taken apart.
struct ICMPError {
    var type: UInt8
    var code: UInt8
    var information: UInt32
    var offender: IPv4Address
    /// Of the quoted packet.
    var source: IPv4Address
    var destination: IPv4Address
    /// At least eight bytes of the quoted transport header.
    var transport: UnsafeRawBufferPointer
    /// The quoted packet from its IP header on.
    var quote: UnsafeRawBufferPointer

    /// Errno and whether it is fatal for a connection (`icmp_err_convert`); nil for errors that say nothing of the kind.
    var verdict: (errno: Errno, fatal: Bool)? {
        switch type {
        case ICMPv4.parameterProblem: return (.protocolError, true)
        // A datagram whose other pieces did not come says nothing about the path.
        case ICMPv4.timeExceeded: return code == 1 ? nil : (.hostUnreachable, false)
        case ICMPv4.destinationUnreachable: break
        default: return nil
        }
        switch code {
        case ICMPv4.netUnreachable, 6, 11: return (.networkUnreachable, code == 6)
        case ICMPv4.hostUnreachable, 12: return (.hostUnreachable, false)
        case ICMPv4.protocolUnreachable: return (.noProtocolOption, true)
        case ICMPv4.portUnreachable: return (.connectionRefused, true)
        case ICMPv4.fragmentationNeeded: return (.messageTooLong, false)
        case 5: return (.notSupported, true)
        case 7: return (.hostDown, true)
        case 8: return (Errno(64), true)
        case 9: return (.networkUnreachable, true)
        case 10, 13, 14, 15: return (.hostUnreachable, true)
        default: return nil
        }
    }
}

/// Counters in the manner of /proc/net/snmp and netstat(8).
public struct TransportStatistics: Sendable, Hashable {
    public var segmentsReceived = 0, segmentsSent = 0, retransmitted = 0, resetsSent = 0, resetsReceived = 0
    public var activeOpens = 0, passiveOpens = 0, attemptFails = 0
    public var cookiesSent = 0, cookiesReceived = 0, cookiesFailed = 0
    public var listenOverflows = 0, challengeACKs = 0, timeouts = 0, lossProbes = 0, fastRetransmits = 0
    public var datagramsReceived = 0, datagramsSent = 0, noPorts = 0, receiveBufferErrors = 0
    public var checksumErrors = 0, echoRequests = 0
    /// The kernel's further counters, by their names.
    public var ext = ExtendedCounters()
    public init() {}
}
