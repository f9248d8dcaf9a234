import HairpinWire

/// Something in a rule set that cannot be taken as it stands.
public struct RuleError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Counted from one in the text that was read; zero for a command given by itself.
    public let line: Int
    /// The line as it was written.
    public let text: String
    /// What is wrong and, where there is one, the remedy.
    public let reason: String
    /// Iptables may well know what is not known here.
    public let isUnknown: Bool
    public init(line: Int, text: String, reason: String, isUnknown: Bool = false) {
        self.line = line
        self.text = text
        self.reason = reason
        self.isUnknown = isUnknown
    }
    public var description: String { line > 0 ? "line \(line): \(reason): \(text)" : "\(reason): \(text)" }
}

/// The packet filter of one network namespace in iptables' own terms: tables, chains and rules, as `iptables-save` prints them and
/// `iptables-restore` reads them.
///
/// This is the form people read and change; `RuleProgram` is the form packets meet.
public struct RuleSet: Sendable {
    /// What to do with a match or target that Hairpin does not know.
    public enum Unknown: Sendable {
        /// Throw.
        case refuse
        /// Leave the rule out and note it in `skipped`.
        case skip
        /// Take a match that is not known to hold, and a target that is not known to do nothing; noted in `assumed`.
        case match
    }

    enum Table: UInt8, CaseIterable, Sendable {
        case raw, mangle, nat, filter, security
        var name: String { String(describing: self) }
        var hooks: [Hook] {
            switch self {
            case .raw: [.prerouting, .localOut]
            case .mangle: [.prerouting, .localIn, .forward, .localOut, .postrouting]
            case .nat: [.prerouting, .localIn, .localOut, .postrouting]
            case .filter, .security: [.localIn, .forward, .localOut]
            }
        }
    }

    struct Rule: Hashable, Sendable {
        var source: UInt32 = 0, sourceMask: UInt32 = 0
        var destination: UInt32 = 0, destinationMask: UInt32 = 0
        /// Number of an interface pattern plus one; zero for any.
        var input: UInt16 = 0, output: UInt16 = 0
        /// Zero for any.
        var proto: UInt8 = 0
        var inverted: RuleInversions = []
        var secondFragments = false
        var tests: [PacketTest] = []
        var action: RuleAction = .none
        /// The chain of `-j` or `-g`.
        var chain: String?
        /// Everything after `-A CHAIN`, in iptables-save's form.
        var text = ""
        var packets: UInt64 = 0, bytes: UInt64 = 0
        /// Where it was read; zero for a command given by itself.
        var line = 0
        /// Of a rule of nftables, which its dump is known by; zero for others.
        var handle = 0
    }

    struct Chain: Sendable {
        var name: String
        /// Nil for a chain of the user's.
        var hook: Hook?
        var acceptsByDefault = true
        var packets: UInt64 = 0, bytes: UInt64 = 0
        var rules: [Rule] = []
        /// Where it was declared.
        var line = 0
        /// Of a base chain of nftables: between which of iptables' tables it stands (`RuleSet.stage`), and where among those that stand there.
        var stage: Table?
        var priority = 0
    }

    struct LoadedTable: Sendable {
        var table: Table
        /// Of a table of nftables: "ip kube-proxy". Its base chains have stages of their own, and `table` means nothing.
        var nativeName: String?
        var name: String { nativeName ?? table.name }
        /// Chains are added, removed and renamed through the methods below only.
        var chains: [Chain]
        /// Where the chain of a name is: a node of ten thousand Services has several times as many.
        private(set) var positions: [String: Int]

        init(table: Table, chains: [Chain], nativeName: String? = nil) {
            self.table = table
            self.chains = chains
            self.nativeName = nativeName
            positions = [:]
            count()
        }

        func chain(_ name: String) -> Int? { positions[name] }

        mutating func append(_ chain: Chain) {
            positions[chain.name] = chains.count
            chains.append(chain)
        }

        mutating func remove(at index: Int) {
            chains.remove(at: index)
            count()
        }

        mutating func rename(_ index: Int, to name: String) {
            chains[index].name = name
            count()
        }

        private mutating func count() { positions = Dictionary(chains.enumerated().map { ($1.name, $0) }) { first, _ in first } }
    }

    /// In the order they were first named.
    var tables: [LoadedTable] = []
    /// Tables of nftables, in their order in the dump.
    var natives: [LoadedTable] = []
    /// Their sets and maps.
    var elements = ElementSets()
    /// The dump they were read from, for whoever lists it.
    public internal(set) var nftables: [JSON] = []
    /// What the numbers in rules and tests stand for. They are never given out twice, so the memory of a match outlives changes around it.
    var names = RuleNames()
    /// Rules left out under `Unknown.skip`.
    public internal(set) var skipped: [RuleError] = []
    /// Rules with parts that were taken to hold under `Unknown.match`.
    public internal(set) var assumed: [RuleError] = []
    /// What `-m set` and `-j SET` name.
    public var sets = IPSetTable()

    public init() {}

    /// Reads the output of `iptables-save`, and of `ipset save` where rules ask sets.
    public init(parsing text: String, sets: IPSetTable = IPSetTable(), unknown: Unknown = .refuse) throws(RuleError) {
        self.sets = sets
        try restore(text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init), unknown: unknown)
    }

    public init(lines: [String], unknown: Unknown = .refuse) throws(RuleError) { try restore(lines, unknown: unknown) }

    /// Whether any rule could change what happens to a packet.
    public var isEmpty: Bool {
        (tables + natives).allSatisfy { $0.chains.allSatisfy { $0.rules.isEmpty && $0.acceptsByDefault } }
    }

    /// The rule set as `iptables-save` prints it, with `-c` if `counters`.
    public func lines(counters: Bool = false) -> [String] {
        var result: [String] = []
        for loaded in tables {
            result.append("*\(loaded.table.name)")
            for chain in loaded.chains {
                let policy = chain.hook == nil ? "-" : chain.acceptsByDefault ? "ACCEPT" : "DROP"
                result.append(":\(chain.name) \(policy) [\(counters ? chain.packets : 0):\(counters ? chain.bytes : 0)]")
            }
            for chain in loaded.chains {
                for rule in chain.rules {
                    let prefix = counters ? "[\(rule.packets):\(rule.bytes)] " : ""
                    result.append("\(prefix)-A \(chain.name)\(rule.text.isEmpty ? "" : " ")\(rule.text)")
                }
            }
            result.append("COMMIT")
        }
        return result
    }

    /// Index in `tables`, made with its built-in chains if it is not there yet.
    mutating func load(_ table: Table) -> Int {
        if let index = tables.firstIndex(where: { $0.table == table }) { return index }
        tables.append(LoadedTable(table: table, chains: table.hooks.map { Chain(name: $0.chainName, hook: $0) }))
        return tables.count - 1
    }
}

extension Hook {
    /// The built-in chain of this hook.
    var chainName: String {
        switch self {
        case .prerouting: "PREROUTING"
        case .localIn: "INPUT"
        case .forward: "FORWARD"
        case .localOut: "OUTPUT"
        case .postrouting: "POSTROUTING"
        }
    }
}

/// Which of a rule's plain tests are negated.
struct RuleInversions: OptionSet, Hashable, Sendable {
    let rawValue: UInt8
    static let source = RuleInversions(rawValue: 1), destination = RuleInversions(rawValue: 2), input = RuleInversions(rawValue: 4)
    static let output = RuleInversions(rawValue: 8), proto = RuleInversions(rawValue: 16), fragment = RuleInversions(rawValue: 32)
}

/// What rules of nftables ask and do that has no room in a test or an action.
struct NativeNames: Sendable {
    var values: [ValueTest] = []
    var lookups: [ElementLookup] = []
    var translations: [MappedTranslation] = []
    var assignments: [MarkAssignment] = []
    var changes: [ElementChange] = []
    var sequences: [RuleSequence] = []
}

/// Names that rules mention, as numbers.
struct RuleNames: Sendable {
    /// Interface names, possibly ending in `+`.
    var interfaces: [String] = []
    /// Lists of `-m recent`.
    var recentLists: [String] = []
    var recents: [RecentTest] = []
    var portRanges: [PortRange] = []
    var setTests: [SetTest] = []
    var setChanges: [SetChange] = []
    var universals: [UniversalTest] = []
    var native = NativeNames()
    /// Where a name is: a node may have thousands of interfaces, and of lists as many as endpoints.
    private var interfaceNumbers: [String: Int] = [:]
    private var recentNumbers: [String: Int] = [:]
    /// Memory of `nth` and `limit`.
    var slotCount: UInt32 = 0

    mutating func interface(_ pattern: String) -> UInt16 {
        if let index = interfaceNumbers[pattern] { return UInt16(index) }
        interfaceNumbers[pattern] = interfaces.count
        interfaces.append(pattern)
        return UInt16(interfaces.count - 1)
    }
    mutating func recentList(_ name: String) -> Int {
        if let index = recentNumbers[name] { return index }
        recentNumbers[name] = recentLists.count
        recentLists.append(name)
        return recentLists.count - 1
    }
    mutating func slot() -> UInt32 {
        slotCount += 1
        return slotCount - 1
    }
}
