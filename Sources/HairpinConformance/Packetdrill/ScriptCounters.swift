import HairpinPrograms
import HairpinTransport

/// `nstat … | grep …` in shell text: the counters of the host's namespace, through the few filters scripts use on them. The command fails as in a shell:
/// when the last of the pipeline does (a `grep` that finds nothing).
struct CounterQuery {
    private enum Filter {
        case grep(LineSelection)
        /// `awk '{print $N}'`, `head -N`, `tail -N`, `wc -l`, `cat`.
        case column(Int), head(Int), tail(Int), count, cat
    }
    let text: String
    private let command: CounterCommand
    private var filters: [Filter] = []
    /// `! nstat | grep …` succeeds if that fails.
    private let isNegated: Bool

    /// Nil if one of the commands is not known.
    init?(_ pipeline: [[String]], text: String) {
        self.text = text
        guard let first = pipeline.first else { return nil }
        isNegated = first.first == "!"
        let words = CounterQuery.withoutRedirections(first.dropFirst(isNegated ? 1 : 0))
        guard words.first == "nstat" else { return nil }
        command = CounterCommand(Array(words.dropFirst()))
        guard command.unknown == nil else { return nil }
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
        let rest = Array(words.dropFirst())
        switch tool {
        case "cat" where rest.isEmpty: return .cat
        case "wc" where rest == ["-l"]: return .count
        case "head", "tail":
            guard let n = Int(rest.joined().drop { $0 == "-" || $0 == "n" }), n >= 0 else { return nil }
            return tool == "head" ? .head(n) : .tail(n)
        case "awk":
            let text = rest.joined().filter { $0 != " " && $0 != ";" }
            guard text.hasPrefix("{print$"), text.hasSuffix("}"), let n = Int(text.dropFirst(7).dropLast()) else { return nil }
            return .column(n)
        case "grep", "egrep", "fgrep":
            let selection = LineSelection(rest, extended: tool == "egrep", literal: tool == "fgrep")
            return selection.problem == nil && selection.isFilter ? .grep(selection) : nil
        default: return nil
        }
    }

    /// What it prints, and whether it succeeds. `history` holds what the counters were when nstat last looked.
    func run(_ statistics: TransportStatistics, history: inout [String: Int]) -> (lines: [String], succeeds: Bool) {
        var lines = command.run(statistics, history: &history).split(separator: "\n").map(String.init)
        var succeeds = true
        for filter in filters {
            succeeds = true
            switch filter {
            case .cat: break
            case .count: lines = [String(lines.count)]
            case .head(let n): lines = Array(lines.prefix(n))
            case .tail(let n): lines = Array(lines.suffix(n))
            case .column(let n):
                lines = lines.map { line in
                    let words = line.split(separator: " ").map(String.init)
                    return n == 0 ? line : n <= words.count ? words[n - 1] : ""
                }
            case .grep(let selection):
                lines = lines.filter(selection.selects)
                succeeds = !lines.isEmpty
                if selection.counts { lines = [String(lines.count)] }
                if selection.isQuiet { lines = [] }
            }
        }
        return (lines, succeeds != isNegated)
    }
}
