// iptables-restore, and the commands of iptables that change a rule set.
extension RuleSet {
    /// Reads lines as `iptables-restore` does. `keeping` is `--noflush`: tables keep what the lines do not name, and a chain that is
    /// declared again is emptied.
    ///
    /// All or nothing: a refused line leaves the rule set as it was.
    public mutating func restore(_ lines: [String], keeping: Bool = false, unknown: Unknown = .refuse) throws(RuleError) {
        var result = self
        result.skipped = keeping ? skipped : []
        result.assumed = keeping ? assumed : []
        var current: Int?
        for (offset, line) in lines.enumerated() {
            let number = offset + 1
            let trimmed = RuleTokens.trim(line)
            guard let first = trimmed.first, first != "#" else { continue }
            func fail(_ reason: String) -> RuleError { RuleError(line: number, text: trimmed, reason: reason) }
            if first == "*" {
                let name = RuleTokens.trim(String(trimmed.dropFirst()))
                guard let table = Table.allCases.first(where: { $0.name == name }) else {
                    throw fail("unknown table '\(name)'; tables are raw, mangle, nat, filter and security")
                }
                if !keeping { result.tables.removeAll { $0.table == table } }
                current = result.load(table)
            } else if trimmed == "COMMIT" {
                guard current != nil else { throw fail("COMMIT outside a table") }
                current = nil
            } else {
                guard let table = current else { throw fail("rule outside a table; a line such as *filter must come first") }
                if first == ":" {
                    if let reason = result.declare(trimmed, table, line: number) { throw fail(reason) }
                } else {
                    do throws(RuleError) {
                        try result.command(trimmed, defaultTable: result.tables[table].table, line: number, assumes: unknown == .match)
                    } catch {
                        guard unknown == .skip else { throw error }
                        result.skipped.append(error)
                    }
                }
            }
        }
        if let loop = result.findLoop() { throw RuleError(line: 0, text: loop, reason: "chains jump in a circle") }
        self = result
    }

    /// Runs one command line such as `iptables -t nat -I PREROUTING 1 -p tcp --dport 80 -j DNAT --to-destination 10.0.0.1:8080`; the word
    /// `iptables` and waiting options (`-w`) may be left out. Nothing changes if it throws.
    public mutating func apply(command: String) throws(RuleError) {
        var copy = self
        try copy.command(RuleTokens.trim(command), defaultTable: .filter, line: 0, assumes: false)
        if let loop = copy.findLoop() { throw RuleError(line: 0, text: command, reason: "chains jump in a circle: \(loop)") }
        self = copy
    }

    /// `:NAME POLICY [packets:bytes]`; the reason if it is wrong.
    private mutating func declare(_ line: String, _ table: Int, line number: Int) -> String? {
        let words = line.dropFirst().split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
        guard words.count >= 2 else { return "a chain is declared as :NAME POLICY [packets:bytes]" }
        var packets: UInt64 = 0
        var bytes: UInt64 = 0
        if words.count > 2 {
            guard let counters = RuleTokens.counters(words[2]) else { return "counters '\(words[2])' are not [packets:bytes]" }
            (packets, bytes) = counters
        }
        let index: Int
        if let known = tables[table].chain(words[0]) {
            index = known
            tables[table].chains[index].rules.removeAll()
        } else {
            guard words[1] == "-" else { return "chain '\(words[0])' is not built into table \(tables[table].table.name), so its policy must be '-'" }
            if let reason = RuleSet.objection(toChainName: words[0]) { return reason }
            tables[table].append(Chain(name: words[0]))
            index = tables[table].chains.count - 1
        }
        if tables[table].chains[index].hook != nil {
            guard words[1] == "ACCEPT" || words[1] == "DROP" else { return "policy '\(words[1])' is neither ACCEPT nor DROP" }
            tables[table].chains[index].acceptsByDefault = words[1] == "ACCEPT"
        }
        tables[table].chains[index].line = number
        tables[table].chains[index].packets = packets
        tables[table].chains[index].bytes = bytes
        return nil
    }

    private static func objection(toChainName name: String) -> String? {
        if name.isEmpty || name.first == "-" || name.first == "!" { return "'\(name)' is no name for a chain" }
        if name.utf8.count > 28 { return "chain name '\(name)' is longer than 28 characters" }
        return nil
    }

    private mutating func command(_ text: String, defaultTable: Table, line: Int, assumes: Bool) throws(RuleError) {
        func fail(_ reason: String) -> RuleError { RuleError(line: line, text: text, reason: reason) }
        guard var words = RuleTokens.split(text) else { throw fail("a quotation mark is not closed") }
        if let first = words.first, first == "iptables" || first.hasSuffix("/iptables") { words.removeFirst() }
        var counters: (UInt64, UInt64)?
        if let first = words.first, first.first == "[" {
            guard let parsed = RuleTokens.counters(first) else { throw fail("counters '\(first)' are not [packets:bytes]") }
            counters = parsed
            words.removeFirst()
        }
        var table = defaultTable
        while let first = words.first {
            if first == "-t" || first == "--table" {
                guard words.count > 1, let named = Table.allCases.first(where: { $0.name == words[1] }) else { throw fail("-t needs a table's name") }
                table = named
                words.removeFirst(2)
            } else if first == "-w" || first == "--wait" || first == "-W" {
                words.removeFirst()
                if let next = words.first, UInt32(next) != nil { words.removeFirst() }
            } else {
                break
            }
        }
        guard let verb = words.first else { throw fail("there is no command") }
        words.removeFirst()
        let t = load(table)
        func takeChain() throws(RuleError) -> Int {
            guard let name = words.first else { throw fail("\(verb) needs the name of a chain") }
            words.removeFirst()
            guard let index = tables[t].chain(name) else { throw fail("no chain '\(name)' in table \(table.name); declare it with -N or a line ':\(name) - [0:0]'") }
            return index
        }
        switch verb {
        case "-A", "--append", "-I", "--insert":
            let chain = try takeChain()
            var position = tables[t].chains[chain].rules.count
            if verb == "-I" || verb == "--insert" {
                position = 0
                if let word = words.first, let number = Int(word) {
                    guard 1...tables[t].chains[chain].rules.count + 1 ~= number else { throw fail("there is no place \(number) in the chain") }
                    position = number - 1
                    words.removeFirst()
                }
            }
            var rules = try parse(words, t, assumes, fail)
            for n in rules.indices { rules[n].line = line }
            if let counters { for n in rules.indices { (rules[n].packets, rules[n].bytes) = counters } }
            tables[t].chains[chain].rules.insert(contentsOf: rules, at: position)
        case "-D", "--delete", "-C", "--check":
            let chain = try takeChain()
            let deletes = verb == "-D" || verb == "--delete"
            if deletes, words.count == 1, let number = Int(words[0]) {
                guard number >= 1, number <= tables[t].chains[chain].rules.count else {
                    throw fail("there is no rule \(number) in the chain")
                }
                tables[t].chains[chain].rules.remove(at: number - 1)
            } else {
                for rule in try parse(words, t, assumes, fail) {
                    guard let index = tables[t].chains[chain].rules.firstIndex(where: { $0.text == rule.text }) else {
                        throw fail("bad rule (does a matching rule exist in that chain?)")
                    }
                    if deletes { tables[t].chains[chain].rules.remove(at: index) }
                }
            }
        case "-R", "--replace":
            let chain = try takeChain()
            guard let word = words.first, let number = Int(word), number >= 1, number <= tables[t].chains[chain].rules.count else {
                throw fail("-R needs the number of a rule")
            }
            words.removeFirst()
            let rules = try parse(words, t, assumes, fail)
            guard rules.count == 1 else { throw fail("-R takes one address only") }
            tables[t].chains[chain].rules[number - 1] = rules[0]
        case "-F", "--flush", "-Z", "--zero":
            let chains = words.isEmpty ? Array(tables[t].chains.indices) : [try takeChain()]
            for chain in chains {
                if verb == "-F" || verb == "--flush" {
                    tables[t].chains[chain].rules.removeAll()
                } else {
                    (tables[t].chains[chain].packets, tables[t].chains[chain].bytes) = (0, 0)
                    for n in tables[t].chains[chain].rules.indices {
                        (tables[t].chains[chain].rules[n].packets, tables[t].chains[chain].rules[n].bytes) = (0, 0)
                    }
                }
            }
        case "-N", "--new-chain":
            guard let name = words.first else { throw fail("-N needs a name") }
            if let reason = RuleSet.objection(toChainName: name) { throw fail(reason) }
            guard tables[t].chain(name) == nil else { throw fail("chain already exists") }
            tables[t].append(Chain(name: name))
        case "-X", "--delete-chain":
            let doomed = words.isEmpty ? tables[t].chains.filter { $0.hook == nil }.map(\.name) : [tables[t].chains[try takeChain()].name]
            for name in doomed {
                guard let index = tables[t].chain(name) else { continue }
                guard tables[t].chains[index].hook == nil else { throw fail("'\(name)' is a built-in chain") }
                guard tables[t].chains[index].rules.isEmpty else { throw fail("chain '\(name)' is not empty") }
                guard !tables[t].chains.contains(where: { $0.rules.contains { $0.chain == name } }) else { throw fail("a rule still jumps to chain '\(name)'") }
                tables[t].remove(at: index)
            }
        case "-P", "--policy":
            let chain = try takeChain()
            guard tables[t].chains[chain].hook != nil else { throw fail("only a built-in chain has a policy") }
            guard let policy = words.first, policy == "ACCEPT" || policy == "DROP" else { throw fail("a policy is ACCEPT or DROP") }
            tables[t].chains[chain].acceptsByDefault = policy == "ACCEPT"
        case "-E", "--rename-chain":
            let chain = try takeChain()
            guard let name = words.first, tables[t].chain(name) == nil, tables[t].chains[chain].hook == nil else {
                throw fail("-E needs a chain of yours and a free name")
            }
            if let reason = RuleSet.objection(toChainName: name) { throw fail(reason) }
            let old = tables[t].chains[chain].name
            tables[t].rename(chain, to: name)
            for c in tables[t].chains.indices {
                for r in tables[t].chains[c].rules.indices where tables[t].chains[c].rules[r].chain == old {
                    tables[t].chains[c].rules[r].chain = name
                    let isGoTo = if case .goTo = tables[t].chains[c].rules[r].action { true } else { false }
                    let kept = tables[t].chains[c].rules[r].text.dropLast(old.count)
                    tables[t].chains[c].rules[r].text = kept + name
                    assert(kept.hasSuffix(isGoTo ? "-g " : "-j "))
                }
            }
        default:
            throw fail("unknown command '\(verb)'")
        }
    }

    private mutating func parse(_ words: [String], _ table: Int, _ assumes: Bool, _ fail: (String) -> RuleError) throws(RuleError) -> [Rule] {
        // Lent to the parser: a copy of the tables for every rule of a large set would take forever.
        var lent = RuleNames()
        swap(&lent, &names)
        var parser = RuleParser(words: words, table: tables[table].table, chains: tables[table].positions, sets: sets, names: lent, assumes: assumes)
        lent = RuleNames()
        do throws(RuleProblem) {
            let rules = try parser.parse()
            names = parser.names
            for reason in parser.assumptions { assumed.append(fail(reason)) }
            return rules
        } catch {
            names = parser.names
            let failure = fail(error.reason)
            throw RuleError(line: failure.line, text: failure.text, reason: failure.reason, isUnknown: error.isUnknown)
        }
    }

    /// The chains of a circle of jumps, if there is one: such a rule set is refused, as the kernel does (`mark_source_chains`).
    private func findLoop() -> String? {
        for loaded in tables {
            // 0 not seen, 1 on the path, 2 done.
            var colour = [UInt8](repeating: 0, count: loaded.chains.count)
            for start in loaded.chains.indices where colour[start] == 0 {
                var path: [(chain: Int, rule: Int)] = [(start, 0)]
                colour[start] = 1
                while let (chain, rule) = path.last {
                    guard rule < loaded.chains[chain].rules.count else {
                        colour[chain] = 2
                        path.removeLast()
                        continue
                    }
                    path[path.count - 1].rule += 1
                    guard let name = loaded.chains[chain].rules[rule].chain, let next = loaded.chain(name) else { continue }
                    if colour[next] == 1 {
                        let circle = path.drop { $0.chain != next }.map { loaded.chains[$0.chain].name } + [name]
                        return circle.joined(separator: " -> ")
                    }
                    if colour[next] == 0 {
                        colour[next] = 1
                        path.append((next, 0))
                    }
                }
            }
        }
        return nil
    }
}

/// Words of a rule's line.
enum RuleTokens {
    static func trim(_ text: String) -> String {
        var view = Substring(text)
        while let c = view.first, c.isWhitespace { view.removeFirst() }
        while let c = view.last, c.isWhitespace { view.removeLast() }
        return String(view)
    }

    /// A word as it can be read again: quoted where it holds blanks or quotation marks.
    static func bare(_ text: String) -> String {
        let isPlain = !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x22 && $0 != 0x27 && $0 != 0x5c }
        return isPlain ? text : quoted(text)
    }

    /// Words separated by blanks; quoted ones may hold blanks, and `\` takes the next character as it is. Nil if a quote is not closed.
    static func split(_ line: String) -> [String]? {
        // By bytes: everything that separates or quotes is ASCII, and a dump has a hundred thousand lines.
        var words: [String] = []
        var word: [UInt8] = []
        var inWord = false
        var quote: UInt8 = 0
        var escaped = false
        for byte in line.utf8 {
            if escaped {
                word.append(byte)
                escaped = false
            } else if byte == 0x5c, quote != 0x27 {
                escaped = true
                inWord = true
            } else if quote != 0 {
                if byte == quote { quote = 0 } else { word.append(byte) }
            } else if byte == 0x22 || byte == 0x27 {
                quote = byte
                inWord = true
            } else if byte == 0x20 || (0x09...0x0d).contains(byte) {
                if inWord { words.append(String(decoding: word, as: UTF8.self)) }
                word.removeAll(keepingCapacity: true)
                inWord = false
            } else {
                word.append(byte)
                inWord = true
            }
        }
        if inWord { words.append(String(decoding: word, as: UTF8.self)) }
        return quote == 0 && !escaped ? words : nil
    }

    /// `[packets:bytes]`.
    static func counters(_ text: String) -> (UInt64, UInt64)? {
        guard text.first == "[", text.last == "]" else { return nil }
        let parts = text.dropFirst().dropLast().split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let packets = UInt64(parts[0]), let bytes = UInt64(parts[1]) else { return nil }
        return (packets, bytes)
    }

    /// As iptables-save writes a string argument (`xtables_save_string`): bare only if letters, digits, `-` and `_` are all it holds.
    static func quoted(_ text: String) -> String {
        if !text.isEmpty, text.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") }) { return text }
        var result = "\""
        for character in text {
            if character == "\"" || character == "\\" || character == "'" { result.append("\\") }
            result.append(character)
        }
        return result + "\""
    }
}
