import HairpinTransport

/// `nstat … | grep …` in shell text: the counters of the host's namespace, through the few filters scripts use on them. The command fails as in a shell:
/// when the last of the pipeline does (a `grep` that finds nothing).
struct CounterQuery {
    enum Filter {
        case grep(Grep)
        /// `awk '{print $N}'`, `head -N`, `tail -N`, `wc -l`, `cat`.
        case column(Int), head(Int), tail(Int), count, cat
    }
    struct Grep {
        var patterns: [Regex<AnyRegexOutput>] = []
        var isInverted = false, isQuiet = false, counts = false
    }
    let text: String
    /// -a, -z, -s, -n.
    private var isAbsolute = false, showsZeros = false, keepsHistory = false, isSilent = false
    private var names: [String] = []
    private var filters: [Filter] = []
    /// `! nstat | grep …` succeeds if that fails.
    var isNegated = false

    /// Nil if one of the commands is not known.
    init?(_ pipeline: [[String]], text: String) {
        self.text = text
        guard var first = pipeline.first else { return nil }
        if first.first == "!" {
            isNegated = true
            first.removeFirst()
        }
        guard first.first == "nstat" else { return nil }
        for word in CounterQuery.withoutRedirections(first.dropFirst()) {
            if word.hasPrefix("-") {
                for letter in word.dropFirst() {
                    switch letter {
                    case "a": isAbsolute = true
                    case "z": showsZeros = true
                    case "s": keepsHistory = true
                    case "n": isSilent = true
                    default: return nil
                    }
                }
            } else {
                names.append(word)
            }
        }
        for words in pipeline.dropFirst() {
            guard let filter = CounterQuery.filter(CounterQuery.withoutRedirections(words[...])) else { return nil }
            filters.append(filter)
        }
    }

    private static func withoutRedirections(_ words: ArraySlice<String>) -> [String] {
        var result: [String] = []
        var skipsNext = false
        for word in words {
            if skipsNext {
                skipsNext = false
            } else if word == ">" || word == "2>" || word == ">>" {
                skipsNext = true
            } else if !word.hasPrefix(">"), !word.hasPrefix("2>"), !word.hasPrefix("&>") {
                result.append(word)
            }
        }
        return result
    }

    private static func filter(_ words: [String]) -> Filter? {
        guard let tool = words.first else { return nil }
        let rest = words.dropFirst()
        switch tool {
        case "cat" where rest.isEmpty: return .cat
        case "wc" where Array(rest) == ["-l"]: return .count
        case "head", "tail":
            let digits = rest.joined().drop { $0 == "-" || $0 == "n" }
            guard let n = Int(digits), n >= 0 else { return nil }
            return tool == "head" ? .head(n) : .tail(n)
        case "awk":
            let text = rest.joined().filter { $0 != " " && $0 != ";" }
            guard text.hasPrefix("{print$"), text.hasSuffix("}"), let n = Int(text.dropFirst(7).dropLast()) else { return nil }
            return .column(n)
        case "grep", "egrep", "fgrep": return grep(tool, Array(rest))
        default: return nil
        }
    }

    private static func grep(_ tool: String, _ words: [String]) -> Filter? {
        var result = Grep()
        var isExtended = tool == "egrep", isFixed = tool == "fgrep", ignoresCase = false, isWord = false
        var patterns: [String] = []
        var takesPattern = false
        for word in words {
            if takesPattern || !word.hasPrefix("-") || word == "-" {
                // A second word would be a file.
                guard takesPattern || patterns.isEmpty else { return nil }
                patterns.append(word)
                takesPattern = false
                continue
            }
            for letter in word.dropFirst() {
                switch letter {
                case "q": result.isQuiet = true
                case "v": result.isInverted = true
                case "c": result.counts = true
                case "i": ignoresCase = true
                case "w": isWord = true
                case "E", "P": isExtended = true
                case "F": isFixed = true
                case "e": takesPattern = true
                case "s": break
                default: return nil
                }
            }
        }
        guard !patterns.isEmpty else { return nil }
        for pattern in patterns {
            var text = isFixed ? "\\Q\(pattern)\\E" : isExtended ? pattern : extended(pattern)
            if isWord { text = "\\b(?:\(text))\\b" }
            guard let regex = try? Regex(text) else { return nil }
            result.patterns.append(ignoresCase ? regex.ignoresCase() : regex)
        }
        return .grep(result)
    }

    /// A basic regular expression as an extended one: `\|` there is `|` here, and the other way round.
    private static func extended(_ pattern: String) -> String {
        var result = ""
        var isEscaped = false
        for c in pattern {
            if isEscaped {
                result += "|+?(){}".contains(c) ? String(c) : "\\\(c)"
                isEscaped = false
            } else if c == "\\" {
                isEscaped = true
            } else {
                result += "|+?(){}".contains(c) ? "\\\(c)" : String(c)
            }
        }
        return result
    }

    // MARK: running

    /// What it prints, and whether it succeeds. `history` holds what the counters were when nstat last looked.
    func run(_ statistics: TransportStatistics, history: inout [String: Int]) -> (lines: [String], succeeds: Bool) {
        var now: [(name: String, value: Int)] = []
        for table in statistics.counterTables { for counter in table.counters { now.append((table.name + counter.name, counter.value)) } }
        var lines = isSilent ? [] : ["#kernel"]
        for (name, value) in now where !isSilent {
            let shown = isAbsolute ? value : value - history[name, default: 0]
            guard names.isEmpty || names.contains(where: { CounterQuery.matches(name[...], $0[...]) }), showsZeros || shown != 0 else { continue }
            let number = String(shown)
            let padding = String(repeating: " ", count: max(0, 32 - name.count))
            lines.append(name + padding + number + String(repeating: " ", count: max(0, 19 - number.count)) + "0.0")
        }
        if !keepsHistory { history = Dictionary(now.map { ($0.name, $0.value) }) { $1 } }
        var succeeds = true
        for filter in filters {
            switch filter {
            case .cat: succeeds = true
            case .count: (lines, succeeds) = ([String(lines.count)], true)
            case .head(let n): (lines, succeeds) = (Array(lines.prefix(n)), true)
            case .tail(let n): (lines, succeeds) = (Array(lines.suffix(n)), true)
            case .column(let n):
                lines = lines.map { line in
                    let words = line.split(separator: " ").map(String.init)
                    return n == 0 ? line : n <= words.count ? words[n - 1] : ""
                }
                succeeds = true
            case .grep(let grep):
                lines = lines.filter { line in grep.patterns.contains { (try? $0.firstMatch(in: line)) != nil } != grep.isInverted }
                succeeds = !lines.isEmpty
                if grep.counts { lines = [String(lines.count)] }
                if grep.isQuiet { lines = [] }
            }
        }
        return (lines, succeeds != isNegated)
    }

    /// A shell pattern with `*` and `?`, in any case of letters, as nstat compares.
    private static func matches(_ name: Substring, _ pattern: Substring) -> Bool {
        guard let p = pattern.first else { return name.isEmpty }
        if p == "*" { return matches(name, pattern.dropFirst()) || (!name.isEmpty && matches(name.dropFirst(), pattern)) }
        guard let c = name.first, p == "?" || p.lowercased() == c.lowercased() else { return false }
        return matches(name.dropFirst(), pattern.dropFirst())
    }
}
