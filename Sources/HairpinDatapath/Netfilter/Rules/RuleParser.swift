import HairpinWire

/// Why a rule cannot be read; `RuleSet` adds the line.
struct RuleProblem: Error {
    let reason: String
    /// A match, an option or a target that iptables may well know.
    var isUnknown = false
}

/// Reads one rule: the words after `-A CHAIN`. Addresses given as a list make several rules, as in iptables.
struct RuleParser {
    let words: [String]
    let table: RuleSet.Table
    /// Names of the table's chains.
    let chains: [String: Int]
    let sets: IPSetTable
    var names: RuleNames
    /// What is not known is taken to match.
    let assumes: Bool
    /// Of what was.
    private(set) var assumptions: [String] = []
    private var position = 0
    private var rule = RuleSet.Rule()
    private var sources: [(UInt32, UInt32)] = []
    private var destinations: [(UInt32, UInt32)] = []
    /// Matches in the order they were loaded, with their options in iptables-save's form.
    private var matches: [MatchInProgress] = []
    private var target: String?
    private var targetOptions: [String] = []
    /// Of a target that is not known.
    private var assumedTarget: [String]?

    init(words: [String], table: RuleSet.Table, chains: [String: Int], sets: IPSetTable, names: RuleNames, assumes: Bool) {
        self.words = words
        self.table = table
        self.chains = chains
        self.sets = sets
        self.names = names
        self.assumes = assumes
    }

    /// The words up to the next match, target or plain test.
    private mutating func skipOptions() -> [String] {
        let first = position
        func ends(_ word: String) -> Bool { ["-m", "--match", "-j", "--jump", "-g", "--goto", "-s", "-d", "-i", "-o", "-p", "-f"].contains(word) }
        while position < words.count, !ends(words[position]) {
            if words[position] == "!", position + 1 < words.count, ends(words[position + 1]) { break }
            position += 1
        }
        return Array(words[first..<position])
    }

    mutating func parse() throws(RuleProblem) -> [RuleSet.Rule] {
        var negated = false
        while position < words.count {
            let word = words[position]
            position += 1
            if word == "!" {
                guard !negated else { throw RuleProblem(reason: "'!' twice") }
                negated = true
                continue
            }
            try option(word, negated)
            negated = false
        }
        if negated { throw RuleProblem(reason: "'!' with nothing behind it") }
        for index in matches.indices { try matches[index].finish(&names) }
        for index in matches.indices {
            guard let name = matches[index].setName, sets.position(name) == nil else { continue }
            guard assumes else { return try missing(set: name) }
            assumptions.append("there is no set '\(name)', taken to hold")
            matches[index].forgetTests()
        }
        try finishTarget()
        return combine()
    }

    private mutating func option(_ word: String, _ negated: Bool) throws(RuleProblem) {
        // `--source ! 10.0.0.0/8`, the old place of the exclamation mark.
        var negated = negated
        func argument(_ parser: inout RuleParser) throws(RuleProblem) -> String {
            if parser.position < parser.words.count, parser.words[parser.position] == "!" {
                negated = true
                parser.position += 1
            }
            guard parser.position < parser.words.count else { throw RuleProblem(reason: "\(word) needs a value") }
            parser.position += 1
            return parser.words[parser.position - 1]
        }
        switch word {
        case "-s", "--source", "--src":
            sources = try RuleParser.addresses(try argument(&self))
            if negated { rule.inverted.insert(.source) }
        case "-d", "--destination", "--dst":
            destinations = try RuleParser.addresses(try argument(&self))
            if negated { rule.inverted.insert(.destination) }
        case "-i", "--in-interface":
            rule.input = names.interface(try RuleParser.interface(try argument(&self))) + 1
            if negated { rule.inverted.insert(.input) }
        case "-o", "--out-interface":
            rule.output = names.interface(try RuleParser.interface(try argument(&self))) + 1
            if negated { rule.inverted.insert(.output) }
        case "-p", "--protocol", "--proto":
            let name = try argument(&self)
            guard let number = RuleParser.protocolNumber(name) else { throw RuleProblem(reason: "unknown protocol '\(name)'; give its number") }
            rule.proto = number
            if negated {
                guard number != 0 else { throw RuleProblem(reason: "'! -p all' matches nothing") }
                rule.inverted.insert(.proto)
            }
        case "-f", "--fragment":
            rule.secondFragments = true
            if negated { rule.inverted.insert(.fragment) }
        case "-m", "--match":
            let module = try argument(&self)
            do throws(RuleProblem) { matches.append(try MatchInProgress(module: module)) } catch {
                guard assumes, error.isUnknown else { throw error }
                assumptions.append("unknown match '-m \(module)', taken to hold")
                matches.append(MatchInProgress(assuming: module, options: skipOptions()))
            }
        case "-j", "--jump", "-g", "--goto":
            guard target == nil else { throw RuleProblem(reason: "a rule has one target") }
            let name = try argument(&self)
            target = name
            if word == "-g" || word == "--goto" {
                guard chains[name] != nil, !RuleParser.isBuiltIn(name) else { throw RuleProblem(reason: "-g needs a chain of this table, '\(name)' is none") }
                rule.action = .goTo(0)
                rule.chain = name
            } else if chains[name] != nil {
                guard !RuleParser.isBuiltIn(name) else { throw RuleProblem(reason: "cannot jump to the built-in chain '\(name)'") }
                rule.action = .jump(0)
                rule.chain = name
            }
        case "-c", "--set-counters":
            guard let packets = UInt64(try argument(&self)), let bytes = UInt64(try argument(&self)) else { throw RuleProblem(reason: "-c needs two numbers") }
            (rule.packets, rule.bytes) = (packets, bytes)
        default:
            guard word.hasPrefix("--") else { throw RuleProblem(reason: "unknown option '\(word)'") }
            try moduleOption(word, negated)
        }
    }

    /// An option of the target or of one of the matches: the last one that knows it. `-p tcp --dport 80` loads `-m tcp` by itself.
    private mutating func moduleOption(_ word: String, _ negated: Bool) throws(RuleProblem) {
        if let target, rule.chain == nil, let arguments = RuleTargets.arguments(of: word, target: target) {
            guard !negated else { throw RuleProblem(reason: "\(word) cannot be negated") }
            targetOptions.append(word)
            for _ in 0..<arguments {
                guard position < words.count else { throw RuleProblem(reason: "\(word) needs a value") }
                targetOptions.append(words[position])
                position += 1
            }
            return
        }
        var index = matches.lastIndex { $0.knows(word) }
        if index == nil, let module = RuleParser.implied(by: rule.proto), rule.inverted.isDisjoint(with: .proto) {
            let match = try MatchInProgress(module: module)
            if match.knows(word) {
                matches.append(match)
                index = matches.count - 1
            }
        }
        guard let index else {
            let where_ = target.map { "target \($0) or a match" } ?? "any match named before it"
            guard assumes, target != nil || !matches.isEmpty else { throw RuleProblem(reason: "unknown option '\(word)' of \(where_)", isUnknown: true) }
            // An unknown target is told of once, for all its options.
            if target.map(RuleTargets.isKnown) ?? true { assumptions.append("unknown option '\(word)' of \(where_), passed over") }
            let passed = (negated ? ["!"] : []) + [word] + (target == nil ? skipValue() : skipOptions())
            if target == nil { matches[matches.count - 1].assume(passed) } else { assumedTarget = (assumedTarget ?? []) + passed }
            return
        }
        try matches[index].take(word, negated, words, &position, &names)
    }

    /// The values of an option that is not known: words that do not look like options.
    private mutating func skipValue() -> [String] {
        let first = position
        while position < words.count, !words[position].hasPrefix("-"), words[position] != "!" { position += 1 }
        return Array(words[first..<position])
    }

    private func missing<Result>(set name: String) throws(RuleProblem) -> Result {
        throw RuleProblem(reason: "there is no set '\(name)'; give the output of 'ipset save' as well", isUnknown: true)
    }

    private mutating func finishTarget() throws(RuleProblem) {
        guard rule.chain == nil, let target else { return }
        do throws(RuleProblem) {
            rule.action = try RuleTargets.action(target, targetOptions, rule: rule, table: table, names: &names)
            if case .changeSet(let index) = rule.action, case let name = names.setChanges[Int(index)].set.name, sets.position(name) == nil {
                let _: Void = try missing(set: name)
            }
        } catch {
            guard assumes, error.isUnknown else { throw error }
            assumptions.append("\(error.reason); taken to do nothing")
            assumedTarget = targetOptions + (assumedTarget ?? [])
            rule.action = .none
        }
    }

    /// One rule for every pair of a source and a destination.
    private func combine() -> [RuleSet.Rule] {
        var result: [RuleSet.Rule] = []
        for source in sources.isEmpty ? [(0, 0)] : sources {
            for destination in destinations.isEmpty ? [(0, 0)] : destinations {
                var one = rule
                (one.source, one.sourceMask) = source
                (one.destination, one.destinationMask) = destination
                for match in matches { one.tests.append(contentsOf: match.tests) }
                one.text = text(of: one)
                result.append(one)
            }
        }
        return result
    }

    /// The order of iptables-save: addresses, interfaces, protocol, matches as loaded, target.
    private func text(of rule: RuleSet.Rule) -> String {
        var parts: [String] = []
        func put(_ option: String, _ value: String, _ inverted: RuleInversions) {
            parts.append((rule.inverted.contains(inverted) ? "! " : "") + option + (value.isEmpty ? "" : " " + value))
        }
        if rule.sourceMask != 0 || rule.inverted.contains(.source) { put("-s", RuleParser.describe(rule.source, rule.sourceMask), .source) }
        if rule.destinationMask != 0 || rule.inverted.contains(.destination) { put("-d", RuleParser.describe(rule.destination, rule.destinationMask), .destination) }
        if rule.input != 0 { put("-i", names.interfaces[Int(rule.input) - 1], .input) }
        if rule.output != 0 { put("-o", names.interfaces[Int(rule.output) - 1], .output) }
        if rule.proto != 0 { put("-p", RuleParser.protocolName(rule.proto), .proto) }
        if rule.secondFragments { put("-f", "", .fragment) }
        for match in matches { parts.append("-m \(match.module)" + (match.options.isEmpty ? "" : " " + match.options.joined(separator: " "))) }
        if let chain = rule.chain {
            let isGoTo = if case .goTo = rule.action { true } else { false }
            parts.append((isGoTo ? "-g " : "-j ") + chain)
        } else if let target {
            if let assumedTarget, rule.action == .none {
                parts.append(([("-j " + target)] + assumedTarget.map { $0.hasPrefix("--") ? $0 : RuleTokens.bare($0) }).joined(separator: " "))
            } else {
                parts.append("-j " + RuleTargets.text(target, targetOptions, rule.action, names) + (assumedTarget.map { " " + $0.joined(separator: " ") } ?? ""))
            }
        }
        return parts.joined(separator: " ")
    }
}

// Words for values.
extension RuleParser {
    static func isBuiltIn(_ chain: String) -> Bool { Hook.allCases.contains { $0.chainName == chain } }

    /// `a.b.c.d`, `a.b.c.d/len`, `a.b.c.d/mask`, and lists of them.
    static func addresses(_ text: String) throws(RuleProblem) -> [(UInt32, UInt32)] {
        var result: [(UInt32, UInt32)] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let one = addressAndMask(String(part)) else { throw RuleProblem(reason: "'\(part)' is not an IPv4 address or prefix") }
            result.append(one)
        }
        return result
    }

    static func addressAndMask(_ text: String) -> (UInt32, UInt32)? {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count <= 2, let address = IPv4Address(halves[0]) else { return nil }
        guard halves.count == 2 else { return (address.rawValue, ~0) }
        let mask: UInt32
        if let length = Int(halves[1]), 0...32 ~= length {
            mask = IPv4Prefix.mask(length)
        } else if let dotted = IPv4Address(halves[1]) {
            mask = dotted.rawValue
        } else {
            return nil
        }
        return (address.rawValue & mask, mask)
    }

    static func describe(_ address: UInt32, _ mask: UInt32) -> String {
        let length = (~mask).leadingZeroBitCount
        let suffix = IPv4Prefix.mask(length) == mask ? String(length) : IPv4Address(rawValue: mask).description
        return "\(IPv4Address(rawValue: address))/\(suffix)"
    }

    static func interface(_ text: String) throws(RuleProblem) -> String {
        guard !text.isEmpty, text.utf8.count <= 15, !text.contains("/"), !text.contains(where: \.isWhitespace) else {
            throw RuleProblem(reason: "'\(text)' is no name of an interface (at most 15 characters, no '/' and no blanks)")
        }
        return text
    }

    private static let protocols: [(String, UInt8)] = [
        ("icmp", 1), ("igmp", 2), ("ipencap", 4), ("tcp", 6), ("udp", 17), ("gre", 47), ("esp", 50), ("ah", 51), ("sctp", 132), ("udplite", 136),
    ]
    static func protocolNumber(_ text: String) -> UInt8? {
        let lower = text.lowercased()
        if lower == "all" { return 0 }
        return protocols.first { $0.0 == lower }?.1 ?? UInt8(text)
    }
    static func protocolName(_ number: UInt8) -> String { protocols.first { $0.1 == number }?.0 ?? String(number) }
    static func implied(by proto: UInt8) -> String? {
        switch proto {
        case 1: "icmp"
        case 6: "tcp"
        case 17: "udp"
        case 132: "sctp"
        default: nil
        }
    }

    /// Decimal, or hexadecimal after `0x`.
    static func number(_ text: some StringProtocol) -> UInt32? {
        if text.hasPrefix("0x") || text.hasPrefix("0X") { return UInt32(text.dropFirst(2), radix: 16) }
        return UInt32(text)
    }
    static func hex(_ value: UInt32) -> String { "0x" + String(value, radix: 16) }

    /// `value` or `value/mask`.
    static func valueAndMask(_ text: String) throws(RuleProblem) -> (UInt32, UInt32) {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count <= 2, let value = number(halves[0]), halves.count == 1 || number(halves[1]) != nil else {
            throw RuleProblem(reason: "'\(text)' is not a mark such as 0x4000/0x4000")
        }
        return (value, halves.count == 1 ? ~0 : number(halves[1]) ?? ~0)
    }

    private static let services: [String: UInt16] = [
        "ftp": 21, "ssh": 22, "domain": 53, "http": 80, "kerberos": 88, "ntp": 123, "https": 443, "bootps": 67, "bootpc": 68,
    ]
    static func port(_ text: some StringProtocol) -> UInt16? { UInt16(text) ?? services[String(text)] }
    /// `80`, `1000:2000`, `:1023`, `1024:`; `separator` is `-` in the ranges of targets.
    static func ports(_ text: String, separator: Character = ":") throws(RuleProblem) -> PortRange {
        let halves = text.split(separator: separator, omittingEmptySubsequences: false)
        guard (1...2) ~= halves.count, !text.isEmpty, text != String(separator),
            let low = halves[0].isEmpty ? 0 : port(halves[0]), let high = halves.count == 1 ? low : halves[1].isEmpty ? 0xffff : port(halves[1]), low <= high
        else { throw RuleProblem(reason: "'\(text)' is not a port or a range of ports (0 to 65535)") }
        return PortRange(low: low, high: high)
    }
    static func describe(_ range: PortRange, separator: String = ":") -> String {
        range.low == range.high ? String(range.low) : "\(range.low)\(separator)\(range.high)"
    }
}
