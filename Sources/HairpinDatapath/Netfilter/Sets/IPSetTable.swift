import HairpinWire

/// The sets of ipset(8) in one network namespace, which rules ask by name (`-m set`) and change (`-j SET`).
public struct IPSetTable: Sendable {
    private(set) var sets: [IPSet] = []
    private var positions: [String: Int] = [:]

    public init() {}

    /// Reads what `ipset save` prints, or what `ipset restore` takes: `create`, `add`, `del`, `flush` and `destroy`.
    public init(parsing text: String) throws(RuleError) { try restore(text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)) }

    public var isEmpty: Bool { sets.isEmpty }
    public var names: [String] { sets.map(\.name) }

    func position(_ name: String) -> Int? { positions[name] }

    /// `ipset restore`. `now` in nanoseconds of virtual time, for timeouts.
    public mutating func restore(_ lines: [String], now: UInt64 = 0) throws(RuleError) {
        for (offset, line) in lines.enumerated() {
            let text = RuleTokens.trim(line)
            guard let first = text.first, first != "#" else { continue }
            guard let words = RuleTokens.split(text) else { throw RuleError(line: offset + 1, text: text, reason: "a quotation mark is not closed") }
            if words == ["COMMIT"] { continue }
            do throws(RuleProblem) { try apply(words, now: now) } catch { throw RuleError(line: offset + 1, text: text, reason: error.reason) }
        }
    }

    private mutating func apply(_ words: [String], now: UInt64) throws(RuleProblem) {
        var words = words
        if words.first == "ipset" { words.removeFirst() }
        while words.first == "-exist" || words.first == "-!" { words.removeFirst() }
        guard let verb = words.first else { throw RuleProblem(reason: "there is no command") }
        words.removeFirst()
        switch verb {
        case "create", "-N", "n":
            let set = try IPSet(creating: words)
            guard positions[set.name] == nil else { throw RuleProblem(reason: "set '\(set.name)' is there already") }
            positions[set.name] = sets.count
            sets.append(set)
        case "add", "-A", "a", "del", "-D", "d":
            let adds = verb == "add" || verb == "-A" || verb == "a"
            guard let name = words.first, let index = positions[name] else {
                throw RuleProblem(reason: "there is no set '\(words.first ?? "")'; a line 'create' must come first")
            }
            if sets[index].isList, words.count > 1, positions[words[1]] == nil { throw RuleProblem(reason: "there is no set '\(words[1])'") }
            try sets[index].change(adding: adds, Array(words.dropFirst()), now: now)
        case "flush", "-F", "destroy", "-X":
            let doomed = words.isEmpty ? sets.map(\.name) : [words[0]]
            for name in doomed {
                guard let index = positions[name] else { throw RuleProblem(reason: "there is no set '\(name)'") }
                if verb == "flush" || verb == "-F" {
                    sets[index] = try IPSet(creating: [sets[index].name, sets[index].type] + sets[index].options)
                } else {
                    sets.remove(at: index)
                    positions = [:]
                    for (place, set) in sets.enumerated() { positions[set.name] = place }
                }
            }
        default: throw RuleProblem(reason: "unknown command '\(verb)'; known are create, add, del, flush and destroy")
        }
    }

    /// As `ipset save` prints them.
    public func lines(now: UInt64 = 0) -> [String] {
        var result: [String] = []
        for set in sets { result += set.lines(now: now) }
        return result
    }

    // MARK: Packets

    /// Nil where the set does not hold it, or an exception does (`nomatch`).
    func contains(_ index: Int, now: UInt64, depth: Int = 0, _ question: (IPSet) -> IPSet.Question?) -> SetAnswer {
        let set = sets[index]
        if set.isList {
            // Members that are lists themselves cannot be (`list_set_uadt`).
            guard depth == 0 else { return .no }
            for member in set.members {
                guard let place = positions[member] else { continue }
                if contains(place, now: now, depth: 1, question) == .yes { return .yes }
            }
            return .no
        }
        guard !set.isIPv6, let asked = question(set) else { return .no }
        switch set.contains(asked, now: now) {
        case true?: return .yes
        case false?: return .no
        case nil: return .exception
        }
    }

    mutating func change(_ index: Int, adding: Bool, timeout: UInt32?, renews: Bool, now: UInt64, _ question: (IPSet) -> IPSet.Question?) {
        guard let asked = question(sets[index]) else { return }
        sets[index].change(adding: adding, asked, timeout: timeout, renews: renews, now: now)
    }
}

enum SetAnswer: Sendable { case no, yes, exception }

/// `--match-set NAME src,dst` and `--add-set NAME src,dst`: which set, and what of the packet each dimension looks at.
struct SetReference: Hashable, Sendable {
    var name: String
    /// True for `dst`.
    var directions: [Bool]

    init(_ name: String, _ flags: String) throws(RuleProblem) {
        self.name = name
        directions = []
        for flag in flags.split(separator: ",", omittingEmptySubsequences: false) {
            guard flag == "src" || flag == "dst" else { throw RuleProblem(reason: "'\(flag)' is neither src nor dst") }
            directions.append(flag == "dst")
        }
        guard directions.count <= 6 else { throw RuleProblem(reason: "a set has at most six dimensions") }
    }
    var text: String { name + " " + directions.map { $0 ? "dst" : "src" }.joined(separator: ",") }
}

/// `-m set`.
struct SetTest: Hashable, Sendable {
    var set: SetReference
    var inverted: Bool
    var returnsNoMatch: Bool
}

/// `-j SET`.
struct SetChange: Hashable, Sendable {
    var set: SetReference
    var adds: Bool
    var renews: Bool
    var timeout: UInt32?
}

/// What a packet is to sets.
struct SetSubject {
    var source: UInt32, destination: UInt32
    var proto: UInt8
    /// Nil where there are none; of ICMP type and code, in both.
    var sourcePort: UInt16?, destinationPort: UInt16?
    var mark: UInt32

    /// Nil if the packet lacks what the set asks for, or the rule names too few directions (`ip_set_test`).
    func question(_ set: IPSet, _ directions: [Bool], interface: (_ isOutput: Bool) -> String) -> IPSet.Question? {
        guard directions.count >= set.dimensions.count else { return nil }
        var result = IPSet.Question()
        var isSecond = false
        for (place, dimension) in set.dimensions.enumerated() {
            let isDestination = directions[place]
            switch dimension {
            case .address, .net:
                let address = isDestination ? destination : source
                if isSecond { result.second = address } else { result.address = address }
                isSecond = true
            case .port:
                if set.type == "bitmap:port" {
                    guard proto == 6 || proto == 17, let port = isDestination ? destinationPort : sourcePort else { return nil }
                    result.port = UInt32(port)
                } else if let port = isDestination ? destinationPort : sourcePort {
                    result.port = UInt32(proto) << 16 | UInt32(port)
                } else {
                    // Protocols without ports are entered as port 0 of theirs.
                    guard ![6, 17, 132, 136, 1].contains(proto) else { return nil }
                    result.port = UInt32(proto) << 16
                }
            case .interface: result.interface = interface(isDestination)
            case .mark: result.mark = mark
            }
        }
        return result
    }
}
