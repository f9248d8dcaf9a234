import HairpinWire

/// What of a packet, or around it, a rule of nftables asks for: one word of a register (nf_tables' payload, meta, ct, fib and numgen expressions).
enum PacketField: Hashable, Sendable {
    case sourceAddress, destinationAddress, proto
    /// Of a protocol with ports, or of the one that is named; zero for any.
    case port(PortSide, proto: UInt8)
    /// Bytes from the IP header, at most four.
    case network(offset: UInt8, bytes: UInt8)
    /// Bytes from the header behind it, of this protocol.
    case transport(proto: UInt8, offset: UInt8, bytes: UInt8)
    case mark, connectionMark, connectionProtocol, length
    /// Bits as nf_conntrack_common.h has them: invalid 1, established 2, related 4, new 8, untracked 64.
    case connectionState
    /// Bits of `enum ip_conntrack_status`.
    case connectionStatus
    /// 0 original, 1 reply.
    case connectionDirection
    case connectionAddress(ConnectionField)
    case connectionPort(ConnectionField)
    /// The number the rule set has given to the interface's name; `PacketValue.noName` for names no rule has.
    case inputName, outputName
    /// 0 host, 1 broadcast, 2 multicast.
    case packetType
    /// `numgen random`.
    case random(modulus: UInt32, offset: UInt32)
    /// `numgen inc`, which counts in a slot of the rule set's memory.
    case counting(modulus: UInt32, offset: UInt32, slot: UInt32)

    /// Asking twice, or not at all, changes nothing and draws no random number.
    var isPure: Bool {
        switch self {
        case .random, .counting: false
        default: true
        }
    }
}

/// A field, and what bitwise expressions make of it: any chain of them with constants is `(field & mask) ^ flip`.
struct PacketValue: Hashable, Sendable {
    var field: PacketField
    var mask: UInt32 = ~0
    var flip: UInt32 = 0
    static let noName: UInt32 = .max

    @inline(__always)
    func of(_ raw: UInt32) -> UInt32 { raw & mask ^ flip }
}

/// `match`: a value within bounds, or not. `==`, `<` and their kind, prefixes and ranges are all this.
struct ValueTest: Hashable, Sendable {
    var value: PacketValue
    /// Inclusive; with `low` above `high` nothing is within.
    var low: UInt32, high: UInt32
    var isInverted = false
    @inline(__always) func holds(_ value: UInt32) -> Bool { (low <= value && value <= high) != isInverted }
}

/// A question to a set or a map: its key is put together of values, in the order of the set's type.
struct ElementLookup: Hashable, Sendable {
    var key: [PacketValue]
    /// Place in `ElementSets`.
    var set: Int
    var isInverted = false
}

/// `update @set { … }` and its kind.
struct ElementChange: Hashable, Sendable {
    enum Kind: Hashable, Sendable { case add, update, delete }
    var kind: Kind
    var lookup: ElementLookup
    /// Nanoseconds; nil for the set's own.
    var timeout: UInt64?
}

/// `meta mark set …` and `ct mark set …` where it is more than a constant's bits.
struct MarkAssignment: Hashable, Sendable {
    enum Source: Hashable, Sendable {
        case value(PacketValue)
        case map(ElementLookup)
    }
    var isConnection: Bool
    var source: Source
}

/// `dnat to … map …`: what to map to is an element's.
struct MappedTranslation: Hashable, Sendable {
    var isSource: Bool
    var lookup: ElementLookup
    /// Of the statement: its port, where it has one, and its flags.
    var range: TranslationRange
}

/// Statements of a rule before its last one: effects, and matches that stand behind one.
struct RuleSequence: Hashable, Sendable {
    enum Step: Hashable, Sendable {
        case test(PacketTest)
        case act(RuleAction)
    }
    var steps: [Step]
    var last: RuleAction
}

/// What an element of a map of verdicts says. Chains are of the set's own table.
enum ElementVerdict: Hashable, Sendable {
    case accept, drop, `return`, `continue`
    case jump(String)
    case goTo(String)
    var chain: String? {
        switch self {
        case .jump(let name), .goTo(let name): name
        default: nil
        }
    }
}
