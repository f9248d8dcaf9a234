import HairpinEngine
import HairpinWire

/// Names a socket within one network namespace; never reused while a program may still hold it (slot index and generation).
public struct SocketID: Hashable, Sendable {
    public let rawValue: UInt32
    public init(_ rawValue: UInt32) { self.rawValue = rawValue }
    public static var none: SocketID { SocketID(0) }
}

public enum SocketKind: Sendable { case stream, datagram, icmpEcho }

/// An address and port, as in `sockaddr_in`.
public struct SocketAddress: Hashable, Sendable, CustomStringConvertible {
    public var address: IPv4Address
    public var port: UInt16
    public init(_ address: IPv4Address, _ port: UInt16) { (self.address, self.port) = (address, port) }
    public var description: String { "\(address):\(port)" }
}

/// What poll(2) reports.
public struct Readiness: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let readable = Readiness(rawValue: 1)  // POLLIN: data, a connection to accept, or end of file
    public static let writable = Readiness(rawValue: 2)  // POLLOUT
    public static let error = Readiness(rawValue: 4)  // POLLERR: `takeError` has something
    public static let hangup = Readiness(rawValue: 8)  // POLLHUP: both directions are shut
    public static let urgent = Readiness(rawValue: 32)  // POLLPRI: an urgent byte
    public static let readHangup = Readiness(rawValue: 16)  // POLLRDHUP: the peer has sent FIN
}

/// Flags of send(2) and recv(2).
public struct TransferFlags: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// MSG_MORE: as if corked until the next call.
    public static let more = TransferFlags(rawValue: 1)
    /// MSG_EOR: what is written later never shares a packet with this.
    public static let endOfRecord = TransferFlags(rawValue: 2)
    /// MSG_ZEROCOPY: the error queue says when the bytes are acknowledged.
    public static let zeroCopy = TransferFlags(rawValue: 16)
    /// MSG_PEEK: the bytes stay.
    public static let peek = TransferFlags(rawValue: 4)
    /// MSG_TRUNC: the bytes are thrown away.
    public static let truncate = TransferFlags(rawValue: 8)
    /// MSG_OOB: the last byte is urgent.
    public static let outOfBand = TransferFlags(rawValue: 32)
}

/// Socket options in the words of socket(7), ip(7) and tcp(7).
public enum SocketOption: Hashable, Sendable {
    case reuseAddress(Bool)
    case receiveBuffer(Int)
    case sendBuffer(Int)
    case keepAlive(Bool)
    /// SO_LINGER with a time; zero seconds makes close(2) reset the connection.
    case linger(seconds: Int?)
    case noDelay(Bool)
    case cork(Bool)
    case maximumSegment(Int)
    case userTimeout(Duration)
    case timeToLive(UInt8)
    case typeOfService(UInt8)
    case pathMTUDiscovery(PathMTUDiscovery)
    case bindToDevice(String)
    case receiveErrors(Bool)
}

/// IP_MTU_DISCOVER (ip(7)): `want` sets DF and fragments locally, `do` never fragments, `dont` and `omit` leave DF clear.
public enum PathMTUDiscovery: Int, Sendable { case dont, want, `do`, probe, interface, omit }

/// A datagram or an ICMP message handed to a program.
public struct ReceivedMessage: Sendable {
    public var source: SocketAddress
    public var bytes: [UInt8]
    public var timeToLive: UInt8
    public var typeOfService: UInt8
    public var at: Instant
    public init(source: SocketAddress, bytes: [UInt8], timeToLive: UInt8, typeOfService: UInt8, at: Instant) {
        self.source = source
        self.bytes = bytes
        self.timeToLive = timeToLive
        self.typeOfService = typeOfService
        self.at = at
    }
}

/// An entry of the error queue (IP_RECVERR): an ICMP error about something this socket sent, or a local one.
public struct ReceivedError: Sendable {
    public var errno: Errno
    /// Nil for an error of the own host (EMSGSIZE from the path MTU cache, say).
    public var offender: IPv4Address?
    public var icmpType: UInt8
    public var icmpCode: UInt8
    /// Next-hop MTU of "fragmentation needed", else zero.
    public var information: UInt32
    /// For an echo socket: identifier and sequence number of the request complained about; zero otherwise.
    public var identifier: UInt16
    public var sequence: UInt16
    public init(errno: Errno, offender: IPv4Address?, icmpType: UInt8, icmpCode: UInt8, information: UInt32, identifier: UInt16, sequence: UInt16) {
        self.errno = errno
        self.offender = offender
        self.icmpType = icmpType
        self.icmpCode = icmpCode
        self.information = information
        self.identifier = identifier
        self.sequence = sequence
    }
}

/// What getsockopt(TCP_INFO) and ss(8) show of a connection.
public struct SocketInformation: Sendable {
    public var kind: SocketKind
    /// "ESTAB", "LISTEN", "TIME-WAIT" … as ss(8) spells them; "UNCONN" for datagram sockets.
    public var state: String
    public var local: SocketAddress
    public var remote: SocketAddress
    public var receiveQueue: Int
    public var sendQueue: Int
    /// Of connections and listeners; none of TIME-WAIT and of handshakes nobody accepted, as in `inet_sk_diag_fill` and its sisters.
    public var tcp: TCPInformation?
    public var congestion: CongestionControl?
    public var congestionDetails: CongestionInformation?
    public var timer: SocketTimer?
    public init(kind: SocketKind, state: String, local: SocketAddress, remote: SocketAddress, receiveQueue: Int, sendQueue: Int) {
        self.kind = kind
        self.state = state
        self.local = local
        self.remote = remote
        self.receiveQueue = receiveQueue
        self.sendQueue = sendQueue
    }
}

/// The timer ss(8) shows of a connection (`idiag_timer`).
public struct SocketTimer: Sendable, Hashable {
    public enum Kind: String, Sendable {
        /// Retransmission, tail loss probe, reordering, SYN-ACK.
        case on
        case keepalive, timewait
        /// Probes of a closed window.
        case persist
    }
    public var kind: Kind
    public var remaining: Duration
    /// Retransmissions so far, or probes without an answer.
    public var count: Int
    public init(kind: Kind, remaining: Duration, count: Int) { (self.kind, self.remaining, self.count) = (kind, remaining, count) }
}
