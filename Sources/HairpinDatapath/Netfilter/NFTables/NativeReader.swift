import HairpinWire

extension RuleSet {
    /// Reads what `nft -j list ruleset` prints (libnftables-json(5)): the tables of the families `ip` and `inet`, of which IPv4 packets meet the rules. Tables that
    /// were read before are forgotten; iptables' own stay.
    ///
    /// - Parameter omitsIPTables: leaves out the tables iptables-nft keeps in nftables, of which nft prints half. They come from `iptables-save`.
    /// - Throws: a `RuleError` that names table, chain and handle; nothing has changed then.
    public mutating func read(nftables dump: JSON, omitsIPTables: Bool = false, unknown: Unknown = .refuse) throws(RuleError) {
        guard let root = dump["nftables"], case .array(let objects) = root else {
            throw RuleError(line: 0, text: "nftables", reason: "there is no list of this name; give the whole output of 'nft -j list ruleset'")
        }
        var reader = NativeReader(self, unknown: unknown)
        try reader.read(objects, omitsIPTables: omitsIPTables)
        self = reader.rules
        nftables = objects.filter { $0["metainfo"] == nil }
    }

    /// Where a base chain of nftables stands among iptables' tables, which is between tracking (-200), the translations (-100 and 100) and each other.
    static func stage(type: String, hook: Hook, priority: Int) -> Table {
        if type == "nat" { return .nat }
        switch hook {
        case .prerouting: return priority < -200 ? .raw : priority < -100 ? .mangle : .security
        case .localOut: return priority < -200 ? .raw : priority < -100 ? .mangle : priority < 50 ? .filter : .security
        case .localIn, .forward: return priority < 0 ? .mangle : priority < 50 ? .filter : .security
        case .postrouting: return priority < 100 ? .mangle : .security
        }
    }
}

/// Puts the objects of `nft -j list ruleset` into a rule set's terms: conditions of a rule become its plain fields and tests as far as iptables has the like,
/// values and look-ups otherwise.
struct NativeReader {
    var rules: RuleSet
    let unknown: RuleSet.Unknown
    /// Places of tables by "family name".
    private var tables: [String: Int] = [:]
    /// Sets that were left out, by "family table name".
    private var lost: Set<String> = []

    init(_ rules: RuleSet, unknown: RuleSet.Unknown) {
        self.rules = rules
        self.unknown = unknown
        (self.rules.natives, self.rules.elements) = ([], ElementSets())
    }

    mutating func read(_ objects: [JSON], omitsIPTables: Bool) throws(RuleError) {
        let omitted = omitsIPTables ? NativeReader.tablesOfIPTables(objects) : []
        /// An object's kind and value, of a table that is meant.
        func own(_ kinds: Set<String>) -> [(kind: String, value: JSON, table: String)] {
            objects.compactMap { object in
                guard case .object(let members) = object, let member = members.first, kinds.contains(member.name), let family = member.value["family"]?.string,
                    family == "ip" || family == "inet", let name = member.value[member.name == "table" ? "name" : "table"]?.string, !omitted.contains("\(family) \(name)")
                else { return nil }
                return (member.name, member.value, "\(family) \(name)")
            }
        }
        for (_, _, table) in own(["table"]) {
            tables[table] = rules.natives.count
            rules.natives.append(RuleSet.LoadedTable(table: .filter, chains: [], nativeName: table))
        }
        for (_, value, table) in own(["chain"]) {
            do throws(RuleProblem) { try chain(value, try place(of: table)) } catch {
                try note(error, "\(table), chain \(value["name"]?.string ?? "?")")
            }
        }
        for (kind, value, table) in own(["set", "map"]) {
            let name = value["name"]?.string ?? "?"
            do throws(RuleProblem) {
                _ = try place(of: table)
                try set(value, table)
            } catch {
                lost.insert("\(table) \(name)")
                try note(error, "\(table), \(kind) \(name)")
            }
        }
        for (_, value, table) in own(["rule"]) { try rule(value, table) }
        try refuseCircles()
    }

    /// iptables-nft's: of IPv4, with its names of tables and base chains.
    private static func tablesOfIPTables(_ objects: [JSON]) -> Set<String> {
        var result: Set<String> = []
        for object in objects {
            guard let chain = object["chain"], chain["family"]?.string == "ip", chain["hook"] != nil, let table = chain["table"]?.string, let name = chain["name"]?.string,
                let known = RuleSet.Table.allCases.first(where: { $0.name == table }), known.hooks.contains(where: { $0.chainName == name })
            else { continue }
            result.insert("ip \(table)")
        }
        return result
    }

    private func place(of table: String) throws(RuleProblem) -> Int {
        guard let place = tables[table] else { throw RuleProblem(reason: "there is no table '\(table)'; the dump is not whole") }
        return place
    }

    /// What is not understood is refused, or noted and done without, as the person has chosen; what is wrong is refused.
    private mutating func note(_ problem: RuleProblem, _ where_: String) throws(RuleError) {
        let error = RuleError(line: 0, text: where_, reason: problem.reason, isUnknown: problem.isUnknown)
        guard problem.isUnknown else { throw error }
        switch unknown {
        case .refuse: throw error
        case .skip: rules.skipped.append(error)
        case .match: rules.assumed.append(error)
        }
    }

    // MARK: Chains

    private mutating func chain(_ value: JSON, _ table: Int) throws(RuleProblem) {
        guard let name = value["name"]?.string else { throw RuleProblem(reason: "a chain has no name") }
        guard rules.natives[table].chain(name) == nil else { throw RuleProblem(reason: "the chain is there twice") }
        var chain = RuleSet.Chain(name: name)
        var problem: RuleProblem?
        if let hook = value["hook"]?.string {
            let hooks: [String: Hook] = ["prerouting": .prerouting, "input": .localIn, "forward": .forward, "output": .localOut, "postrouting": .postrouting]
            let type = value["type"]?.string ?? "filter"
            if let known = hooks[hook], ["filter", "nat", "route"].contains(type) {
                guard let priority = value["prio"]?.int else { throw RuleProblem(reason: "a base chain has no 'prio'") }
                (chain.hook, chain.priority) = (known, priority)
                chain.stage = RuleSet.stage(type: type, hook: known, priority: priority)
            } else {
                problem = RuleProblem(reason: "a base chain of type \(type) at hook \(hook) is not known", isUnknown: true)
            }
            chain.acceptsByDefault = value["policy"]?.string != "drop"
        }
        // Without its hook nothing comes to it; its name stands, for rules that go there.
        rules.natives[table].append(chain)
        if let problem { throw problem }
    }

    func requireChain(_ name: String, _ table: Int) throws(RuleProblem) {
        guard rules.natives[table].chain(name) != nil else { throw RuleProblem(reason: "there is no chain '\(name)' in the table; the dump is not whole") }
    }

    /// The kernel refuses rule sets whose jumps come back; a walk of one would not end.
    private func refuseCircles() throws(RuleError) {
        for loaded in rules.natives {
            var next: [Set<String>] = []
            for chain in loaded.chains {
                var targets: Set<String> = []
                for rule in chain.rules {
                    if let name = rule.chain { targets.insert(name) }
                    var action = rule.action
                    if case .sequence(let index) = action { action = rules.names.native.sequences[Int(index)].last }
                    guard case .verdicts(let index) = action else { continue }
                    let set = rules.elements.sets[rules.names.native.lookups[Int(index)].set]
                    for value in set.elements.map(\.value) + (set.fallback.map { [$0] } ?? []) {
                        if case .verdict(let number) = value, let name = rules.elements.verdicts[number].verdict.chain { targets.insert(name) }
                    }
                }
                next.append(targets)
            }
            // 0 not seen, 1 on the path, 2 done.
            var colour = [UInt8](repeating: 0, count: next.count)
            for start in next.indices where colour[start] == 0 {
                var path: [(chain: Int, rest: [Int])] = [(start, next[start].compactMap(loaded.chain).sorted())]
                colour[start] = 1
                while let (chain, rest) = path.last {
                    guard let target = rest.last else {
                        colour[chain] = 2
                        path.removeLast()
                        continue
                    }
                    path[path.count - 1].rest.removeLast()
                    if colour[target] == 1 {
                        let circle = (path.drop { $0.chain != target }.map { loaded.chains[$0.chain].name } + [loaded.chains[target].name]).joined(separator: " -> ")
                        throw RuleError(line: 0, text: "\(loaded.name): \(circle)", reason: "chains jump in a circle")
                    }
                    if colour[target] == 0 {
                        colour[target] = 1
                        path.append((target, next[target].compactMap(loaded.chain).sorted()))
                    }
                }
            }
        }
    }

    // MARK: Sets

    private mutating func set(_ value: JSON, _ table: String) throws(RuleProblem) {
        guard let name = value["name"]?.string, let type = value["type"] else { throw RuleProblem(reason: "a set has no name or no type") }
        var set = ElementSet(name: name, table: table, types: try types(type))
        // Of IPv6 no packet here asks.
        if set.types.contains("ipv6_addr") {
            lost.insert("\(table) \(name)")
            return
        }
        set.timeout = try value["timeout"].map { (timeout) throws(RuleProblem) in try NativeReader.nanoseconds(timeout) } ?? 0
        set.size = value["size"]?.int ?? 0
        let words = try set.types.map { (type) throws(RuleProblem) in try WordType(named: type) }
        let data = try value["map"].map { (map) throws(RuleProblem) in try types(map) }
        try fill(&set, value["elem"]?.items ?? [], words, data, table)
        _ = rules.elements.add(set)
    }

    /// "ipv4_addr . inet_service", a list, or what expressions of these types are (`typeof`).
    private mutating func types(_ value: JSON) throws(RuleProblem) -> [String] {
        if let like = value["typeof"] {
            var names: [String] = []
            for part in like["concat"]?.items ?? [like] { names.append(NativeReader.isIPv6(part) ? "ipv6_addr" : try self.value(part).1.name) }
            return names
        }
        if let text = value.string { return text.split(separator: " ").filter { $0 != "." }.map(String.init) }
        return value.items.compactMap(\.string)
    }

    /// `data` is nil for a set, ["verdict"] for a map of verdicts, otherwise the types of what is mapped to.
    mutating func fill(_ set: inout ElementSet, _ elements: [JSON], _ types: [WordType], _ data: [String]?, _ table: String) throws(RuleProblem) {
        guard types.count <= 8 else { throw RuleProblem(reason: "keys of more than eight parts are not known", isUnknown: true) }
        for item in elements {
            var (key, value) = (item, SetElement.Value.none)
            if let data {
                guard case .array(let pair) = item, pair.count == 2 else { throw RuleProblem(reason: "an element of a map is a pair, not \(item.compact)") }
                key = pair[0]
                value = try mapped(pair[1], data, table)
            }
            var expires: UInt64 = 0
            var comment: String?
            if let wrapped = key["elem"] {
                if let seconds = wrapped["expires"] ?? wrapped["timeout"] { expires = try NativeReader.nanoseconds(seconds) }
                comment = wrapped["comment"]?.string
                key = wrapped["val"] ?? .null
            } else if set.timeout > 0 {
                expires = set.timeout
            }
            if key.string == "*" {
                set.fallback = value
                continue
            }
            let parts = key["concat"]?.items ?? [key]
            guard parts.count == types.count else { throw RuleProblem(reason: "element \(key.compact) has \(parts.count) parts, the type \(types.count)") }
            var (low, high) = (ElementKey(), ElementKey())
            for (index, part) in parts.enumerated() { (low[index], high[index]) = try bounds(part, types[index]) }
            set.append(SetElement(low: low, high: high, value: value, expires: expires, comment: comment))
        }
        set.sort()
    }

    private mutating func mapped(_ value: JSON, _ types: [String], _ table: String) throws(RuleProblem) -> SetElement.Value {
        if types == ["verdict"] {
            guard let verdict = NativeReader.verdict(value) else { throw RuleProblem(reason: "\(value.compact) is no verdict that is known", isUnknown: true) }
            if let name = verdict.chain { try requireChain(name, try place(of: table)) }
            return .verdict(rules.elements.number(of: verdict, in: table))
        }
        let parts = value["concat"]?.items ?? [value]
        let words = types.isEmpty ? [WordType.address, .port] : try types.map { (type) throws(RuleProblem) in try WordType(named: type) }
        guard (1...2) ~= parts.count, parts.count <= words.count else { throw RuleProblem(reason: "a map to \(value.compact) is not known", isUnknown: true) }
        // A rule's own map does not tell its type: an address, or a number.
        let first = types.isEmpty && parts[0].int != nil ? WordType.number : words[0]
        let second = parts.count == 2 ? try constant(parts[1], words[1]) : nil
        return .words(try constant(parts[0], first), second)
    }

    static func verdict(_ value: JSON) -> ElementVerdict? {
        guard case .object(let members) = value, let member = members.first else { return nil }
        switch member.name {
        case "accept": return .accept
        case "drop": return .drop
        case "return": return .return
        case "continue": return .continue
        case "jump": return member.value["target"]?.string.map { .jump($0) }
        case "goto": return member.value["target"]?.string.map { .goTo($0) }
        default: return nil
        }
    }

    /// Of a number of seconds; at most the kernel's 2^32 ms and then some.
    static func nanoseconds(_ value: JSON) throws(RuleProblem) -> UInt64 {
        guard let seconds = value.int, 0...100_000_000 ~= seconds else { throw RuleProblem(reason: "\(value.compact) is no time in seconds") }
        return UInt64(seconds) * 1_000_000_000
    }

    /// The place of `@name`.
    func set(named reference: String, _ table: String) throws(RuleProblem) -> Int {
        let name = String(reference.dropFirst())
        if let place = rules.elements.place(of: name, in: table) { return place }
        guard lost.contains("\(table) \(name)") else { throw RuleProblem(reason: "there is no set '\(name)' in the table; the dump is not whole") }
        throw RuleProblem(reason: "set '\(name)' is not understood", isUnknown: true)
    }

    // MARK: Rules

    private mutating func rule(_ value: JSON, _ table: String) throws(RuleError) {
        let chain = value["chain"]?.string ?? "?"
        let handle = value["handle"]?.int ?? 0
        let text = NFTablesText.rule(value)
        let where_ = "\(table), chain \(chain), handle \(handle): \(text)"
        do throws(RuleProblem) {
            let place = try place(of: table)
            try requireChain(chain, place)
            guard let index = rules.natives[place].chain(chain) else { return }
            // What a rule that is left out has added to the names does no harm.
            var builder = NativeRule(table: table, place: place, assumes: unknown == .match)
            guard value["expr"].map({ $0.items.count <= 1000 }) ?? true else { throw RuleProblem(reason: "a rule has more than a thousand statements") }
            for statement in value["expr"]?.items ?? [] { try add(statement, &builder) }
            var rule = finish(&builder)
            (rule.handle, rule.text) = (handle, text)
            rules.natives[place].chains[index].rules.append(rule)
            for reason in builder.assumptions { rules.assumed.append(RuleError(line: 0, text: where_, reason: reason, isUnknown: true)) }
        } catch {
            try note(error, where_)
        }
    }
}
