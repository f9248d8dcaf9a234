/// One direction of a tracked connection as conntrack(8) shows it. For ICMP `sourcePort` is the identifier, `destinationPort` type and code.
public struct ConnectionFlow: Sendable, Hashable {
    public var source: IPv4Address
    public var destination: IPv4Address
    public var sourcePort: UInt16
    public var destinationPort: UInt16
    public init(source: IPv4Address, destination: IPv4Address, sourcePort: UInt16, destinationPort: UInt16) {
        self.source = source
        self.destination = destination
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
    }
}

/// An entry of a table of connections at one moment, in the form of conntrack(8) 1.4.7.
public struct ConnectionRecord: Sendable, Hashable {
    /// Of the entry, unique in its namespace while it lives.
    public var identifier: UInt32
    public var proto: IPProtocol
    public var original: ConnectionFlow
    public var reply: ConnectionFlow
    /// Seconds until it is forgotten; nil in the event of its end.
    public var seconds: UInt64?
    /// Of a TCP connection: "ESTABLISHED".
    public var state: String?
    public var isAnswered: Bool
    public var isAssured: Bool
    public var mark: UInt32
    public init(
        identifier: UInt32, proto: IPProtocol, original: ConnectionFlow, reply: ConnectionFlow, seconds: UInt64?, state: String?, isAnswered: Bool, isAssured: Bool,
        mark: UInt32
    ) {
        self.identifier = identifier
        self.proto = proto
        self.original = original
        self.reply = reply
        self.seconds = seconds
        self.state = state
        self.isAnswered = isAnswered
        self.isAssured = isAssured
        self.mark = mark
    }

    /// "tcp"; "unknown" for protocols without a name there.
    public var protocolName: String { ConnectionRecord.protocolNames.first { $0.number == proto.rawValue }?.name ?? "unknown" }
    public static let protocolNames: [(name: String, number: UInt8)] = [
        ("icmp", 1), ("tcp", 6), ("udp", 17), ("dccp", 33), ("gre", 47), ("icmpv6", 58), ("sctp", 132), ("udplite", 136),
    ]

    /// The line of `conntrack -L`. `isExtended` puts the network protocol before it (`-o extended`). An event's line (`-E`) has a mark only where one is set,
    /// and no count of users.
    public func line(isExtended: Bool = false, isEvent: Bool = false) -> String {
        func padded(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(0, width - text.utf8.count)) }
        func text(_ flow: ConnectionFlow) -> String {
            let addresses = "src=\(flow.source) dst=\(flow.destination)"
            switch proto.rawValue {
            case 6, 17, 132, 136: return "\(addresses) sport=\(flow.sourcePort) dport=\(flow.destinationPort)"
            case 1: return "\(addresses) type=\(flow.destinationPort >> 8) code=\(flow.destinationPort & 0xff) id=\(flow.sourcePort)"
            default: return addresses
            }
        }
        var parts = [isExtended ? "ipv4     2 \(padded(protocolName, 8)) \(proto.rawValue)" : "\(padded(protocolName, 8)) \(proto.rawValue)"]
        if let seconds { parts.append("\(seconds)") }
        if let state { parts.append(state) }
        parts.append(text(original))
        if !isAnswered { parts.append("[UNREPLIED]") }
        parts.append(text(reply))
        if isAssured { parts.append("[ASSURED]") }
        if !isEvent || mark != 0 { parts.append("mark=\(mark)") }
        if !isEvent { parts.append("use=1") }
        return parts.joined(separator: " ")
    }
}

/// Something that happened to an entry: `conntrack -E`.
public struct ConnectionEvent: Sendable, Hashable {
    public enum Kind: String, Sendable { case new = "NEW", update = "UPDATE", destroy = "DESTROY" }
    public var kind: Kind
    /// Nanoseconds of virtual time.
    public var nanoseconds: UInt64
    public var record: ConnectionRecord
    public init(kind: Kind, nanoseconds: UInt64, record: ConnectionRecord) {
        self.kind = kind
        self.nanoseconds = nanoseconds
        self.record = record
    }
}

/// `conntrack -S`: what the table of a namespace has counted.
public struct ConnectionStatistics: Sendable, Hashable {
    /// Look-ups for a free tuple that met an entry.
    public var found: UInt64 = 0
    public var invalid: UInt64 = 0
    public var insert: UInt64 = 0
    /// Entries whose tuple was taken when they were to go into the table.
    public var insertFailed: UInt64 = 0
    /// Packets dropped because the table was full, or because of a clash.
    public var drop: UInt64 = 0
    /// Entries dropped to make room.
    public var earlyDrop: UInt64 = 0
    public var error: UInt64 = 0
    public var searchRestart: UInt64 = 0
    /// Clashes where the packet joined the other entry.
    public var clashResolve: UInt64 = 0
    public var chainTooLong: UInt64 = 0
    public init() {}
}
