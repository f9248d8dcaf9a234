import HairpinProxy

/// An inclusive range of ports (or of anything else that has 16 bits).
struct PortRange: Hashable, Sendable {
    var low: UInt16
    var high: UInt16
    static let all = PortRange(low: 0, high: 0xffff)
    @inline(__always) func contains(_ value: UInt16) -> Bool { low <= value && value <= high }
}

/// Bits of `--ctstate`, in the order iptables-save prints them (`print_state` of libxt_conntrack).
struct ConnectionStates: OptionSet, Hashable, Sendable {
    let rawValue: UInt8
    static let invalid = ConnectionStates(rawValue: 1), new = ConnectionStates(rawValue: 2), related = ConnectionStates(rawValue: 4)
    static let established = ConnectionStates(rawValue: 8), untracked = ConnectionStates(rawValue: 16)
    static let sourceTranslated = ConnectionStates(rawValue: 32), destinationTranslated = ConnectionStates(rawValue: 64)
    static let names: [(String, ConnectionStates)] = [
        ("INVALID", .invalid), ("NEW", .new), ("RELATED", .related), ("ESTABLISHED", .established), ("UNTRACKED", .untracked),
        ("SNAT", .sourceTranslated), ("DNAT", .destinationTranslated),
    ]
}

/// Kinds of address of the addrtype match that an emulated routing table can tell apart.
struct AddressTypes: OptionSet, Hashable, Sendable {
    let rawValue: UInt8
    static let unspecified = AddressTypes(rawValue: 1), unicast = AddressTypes(rawValue: 2), local = AddressTypes(rawValue: 4)
    static let broadcast = AddressTypes(rawValue: 8), multicast = AddressTypes(rawValue: 16)
    static let names: [(String, AddressTypes)] = [
        ("UNSPEC", .unspecified), ("UNICAST", .unicast), ("LOCAL", .local), ("BROADCAST", .broadcast), ("MULTICAST", .multicast),
    ]
}

/// Which field of a connection's tuples `--ctorigsrc` and its kind look at.
enum ConnectionField: UInt8, Sendable { case originalSource, originalDestination, replySource, replyDestination }

enum RecentAction: UInt8, Sendable { case set, check, update, remove }
enum Comparison: UInt8, Sendable { case equal, less, greater }
enum PortSide: UInt8, Sendable { case source, destination, either }
enum PhysicalSide: UInt8, Sendable { case input, output }

/// One elementary test of a packet: what the options of a match become when a rule is read. Plain data, so that testing a packet
/// touches no reference counts; names of interfaces, lists and the memory of stateful matches are numbers given out by the rule set.
///
/// A match of iptables may become several tests, all of which must hold.
enum PacketTest: Hashable, Sendable {
    /// `-m tcp`, `-m udp`, `-m sctp` alone: the packet must be of this protocol and hold the header (`tcp_mt`: a fragment or a
    /// truncated header does not match).
    case transport(UInt8)
    case port(PortSide, PortRange, inverted: Bool)
    /// `--tcp-flags`, `--syn`.
    case tcpFlags(mask: UInt8, set: UInt8, inverted: Bool)
    /// `--icmp-type`; type 255 stands for any.
    case icmp(type: UInt8, lowCode: UInt8, highCode: UInt8, inverted: Bool)
    case connectionState(ConnectionStates, inverted: Bool)
    /// `ifUntracked` answers for a packet without connection (`conntrack_mt`).
    case connectionAddress(ConnectionField, address: UInt32, mask: UInt32, inverted: Bool, ifUntracked: Bool)
    case connectionPort(ConnectionField, PortRange, inverted: Bool, ifUntracked: Bool)
    case connectionProtocol(UInt8, inverted: Bool, ifUntracked: Bool)
    case connectionReply(Bool, ifUntracked: Bool)
    case connectionStatus(UInt16, inverted: Bool, ifUntracked: Bool)
    case mark(UInt32, mask: UInt32, inverted: Bool)
    case connectionMark(UInt32, mask: UInt32, inverted: Bool)
    case addressType(PortSide, AddressTypes, inverted: Bool, limited: PhysicalSide?)
    /// `--dports a,b:c`: the ranges are `count` entries of the rule set's table from `first`.
    case ports(PortSide, first: UInt32, count: UInt16, inverted: Bool)
    /// `--mode random`: out of 2^31.
    case random(below: UInt32, inverted: Bool)
    case nth(every: UInt32, packet: UInt32, slot: UInt32, inverted: Bool)
    /// Token bucket: a packet costs `period` nanoseconds of credit, of which at most `burst` packets' worth are kept.
    case limit(period: UInt64, burst: UInt32, slot: UInt32, inverted: Bool)
    /// The options of `-m recent` are entry `index` of the rule set's table.
    case recent(index: UInt32)
    /// Bytes of the whole IP packet.
    case length(PortRange, inverted: Bool)
    case physicalDevice(PhysicalSide, pattern: UInt16, inverted: Bool)
    /// The interface itself, where a rule asks for more than one.
    case device(PhysicalSide, pattern: UInt16, inverted: Bool)
    case isPhysicalDevice(PhysicalSide, inverted: Bool)
    case isBridged(inverted: Bool)
    case addressRange(PortSide, low: UInt32, high: UInt32, inverted: Bool)
    case timeToLive(Comparison, UInt8, inverted: Bool)
    /// `--pkt-type`: 0 host, 1 broadcast, 2 multicast.
    case packetType(UInt8, inverted: Bool)
    /// `-m set`: entry `index` of the rule set's table.
    case set(index: UInt32)
    /// `-m rpfilter`: the way back to the source is the way the packet came.
    case reversePath(loose: Bool, acceptsLocal: Bool, inverted: Bool)
    /// `-m u32`: entry `index` of the rule set's table.
    case universal(index: UInt32)
    /// A comparison of nftables: `NativeNames.values`.
    case within(index: UInt32)
    /// A question to a set of nftables: `NativeNames.lookups`.
    case element(index: UInt32)
}

extension PacketTest {
    /// Asking twice, or not at all, changes nothing and draws no random number.
    var isPure: Bool {
        switch self {
        // Values of nftables may be random.
        case .random, .nth, .limit, .recent, .within, .element: false
        default: true
        }
    }
}

/// The options of one `-m recent`.
struct RecentTest: Hashable, Sendable {
    var action: RecentAction
    var list: Int
    var seconds: UInt32 = 0
    var hits: UInt32 = 0
    var reap = false
    var byTimeToLive = false
    var byDestination = false
    var mask: UInt32 = 0xffff_ffff
    var inverted = false
}

/// What NAT targets map to (`nf_nat_range2`).
struct TranslationRange: Hashable, Sendable {
    /// Both zero: the addresses stay.
    var low: UInt32 = 0
    var high: UInt32 = 0
    var mapsAddress = false
    /// Nil: ports only change if they must.
    var ports: PortRange?
    var isRandom = false
    var isPersistent = false
}

/// What a rule does with a packet that passes all its tests.
enum RuleAction: Hashable, Sendable {
    /// Counts, and goes on with the next rule.
    case none
    case accept, drop, `return`
    /// Of a base chain's end.
    case policy(accept: Bool)
    case jump(UInt32)
    case goTo(UInt32)
    /// A chain of kube-proxy's that the table of Services stands for.
    case services(ServiceChain)
    case reject(RejectKind)
    case mark(UInt32, mask: UInt32)
    case setConnectionMark(UInt32, mask: UInt32)
    case saveMark(connectionMask: UInt32, packetMask: UInt32)
    case restoreMark(connectionMask: UInt32, packetMask: UInt32)
    case translateDestination(TranslationRange)
    case translateSource(TranslationRange)
    case masquerade(TranslationRange)
    case redirect(TranslationRange)
    case untrack
    /// Zero: to the path's MTU.
    case maximumSegmentSize(UInt16)
    case setTimeToLive(Comparison, UInt8)
    /// `-j SET`: entry `index` of the rule set's table.
    case changeSet(UInt32)
    /// Not a rule: one look-up in place of the rules up to `RuleDispatch`'s end.
    case dispatch(UInt32)
    // Of nftables, by their places in `NativeNames`; `RuleProgram.resolve` makes others of them.
    case verdicts(UInt32)
    case translateMapped(UInt32)
    case assignMark(UInt32)
    case changeElements(UInt32)
    case sequence(UInt32)

    /// What to do has to be looked up for each packet.
    var isIndirect: Bool {
        switch self {
        case .verdicts, .translateMapped, .assignMark, .changeElements, .sequence: true
        default: false
        }
    }
}
