/// Regular expressions in the subset people give to grep: literals, `.`, `[…]`, `*`, `^`, `$`; with -E also `+`, `?`, `|` and groups.
/// Matching backtracks with a bound on its steps, so that no pattern can hang the simulation.
struct BasicPattern {
    private indirect enum Node {
        case character(Character)
        case any
        case set([ClosedRange<Character>], negated: Bool)
        case start, end
        case group([[Node]])
        /// The beginning of a group, or its end.
        case mark(Int)
        case repeated(Node, least: Int, most: Int)
    }
    private let alternatives: [[Node]]
    /// Groups there are, for `\1` and the others.
    let groupCount: Int

    /// Of one look: how far it has gone, and where groups begin and end.
    private struct State {
        var steps = 0
        var marks: [Int]
    }
    private let ignoresCase: Bool

    /// Nil for a malformed pattern.
    init?(_ pattern: String, extended: Bool, ignoresCase: Bool) {
        var parser = Parser(text: Array(ignoresCase ? pattern.lowercased() : pattern), extended: extended)
        guard let parsed = parser.alternatives(), parser.position == parser.text.count else { return nil }
        alternatives = parsed
        groupCount = parser.groups
        self.ignoresCase = ignoresCase
    }

    private struct Parser {
        let text: [Character]
        let extended: Bool
        var position = 0
        var depth = 0
        var groups = 0
        init(text: [Character], extended: Bool) { (self.text, self.extended) = (text, extended) }

        private func at(_ offset: Int = 0) -> Character? { position + offset < text.count ? text[position + offset] : nil }
        private func isOperator(_ c: Character) -> Bool {
            extended ? at() == c : at() == "\\" && at(1) == c
        }
        private mutating func take() { position += extended ? 1 : 2 }

        mutating func alternatives() -> [[Node]]? {
            depth += 1
            defer { depth -= 1 }
            guard depth < 50 else { return nil }
            var result: [[Node]] = []
            while true {
                guard let sequence = sequence() else { return nil }
                result.append(sequence)
                guard isOperator("|") else { return result }
                take()
            }
        }

        private mutating func sequence() -> [Node]? {
            var nodes: [Node] = []
            while let c = at(), !isOperator("|"), !(isOperator(")") && depth > 1) {
                var node: Node
                if isOperator("(") {
                    take()
                    let number = groups
                    groups += 1
                    guard let inner = alternatives(), isOperator(")") else { return nil }
                    take()
                    node = .group(inner.map { [.mark(2 * number)] + $0 + [.mark(2 * number + 1)] })
                } else if c == "\\" {
                    guard let escaped = at(1) else { return nil }
                    position += 2
                    switch escaped {
                    case "d": node = .set(["0"..."9"], negated: false)
                    case "w": node = .set(["a"..."z", "A"..."Z", "0"..."9", "_"..."_"], negated: false)
                    case "s": node = .set([" "..." ", "\t"..."\t"], negated: false)
                    default: node = .character(escaped)
                    }
                } else {
                    position += 1
                    switch c {
                    case ".": node = .any
                    case "^" where nodes.isEmpty || extended: node = .start
                    case "$" where at() == nil || isOperator("|") || isOperator(")"): node = .end
                    case "[":
                        guard let set = set() else { return nil }
                        node = set
                    default: node = .character(c)
                    }
                }
                while let quantifier = quantifier(isFirst: nodes.isEmpty && !extended) { node = .repeated(node, least: quantifier.0, most: quantifier.1) }
                nodes.append(node)
            }
            return nodes
        }

        private mutating func quantifier(isFirst: Bool) -> (Int, Int)? {
            if at() == "*" {
                position += 1
                return (0, .max)
            }
            if isOperator("+") {
                take()
                return (1, .max)
            }
            if isOperator("?") {
                take()
                return (0, 1)
            }
            guard isOperator("{"), let close = text[position...].firstIndex(of: "}") else { return nil }
            let content = String(text[(position + (extended ? 1 : 2))..<close].filter { $0 != "\\" })
            let bounds = content.split(separator: ",", omittingEmptySubsequences: false)
            guard let first = bounds.first, let least = Int(first), least <= 1000 else { return nil }
            let most = bounds.count == 1 ? least : Int(bounds[1]) ?? .max
            position = close + 1
            return (least, most)
        }

        private mutating func set() -> Node? {
            var ranges: [ClosedRange<Character>] = []
            let negated = at() == "^"
            if negated { position += 1 }
            var isFirst = true
            while let c = at(), c != "]" || isFirst {
                isFirst = false
                if c == "[", at(1) == ":", let close = text[position...].firstIndex(of: "]") {
                    switch String(text[(position + 2)..<max(position + 2, close - 1)]) {
                    case "digit": ranges.append("0"..."9")
                    case "alpha": ranges += ["a"..."z", "A"..."Z"]
                    case "alnum": ranges += ["a"..."z", "A"..."Z", "0"..."9"]
                    case "space", "blank": ranges += [" "..." ", "\t"..."\t"]
                    case "upper": ranges.append("A"..."Z")
                    case "lower": ranges.append("a"..."z")
                    default: return nil
                    }
                    position = close + 1
                } else if at(1) == "-", let last = at(2), last != "]", c <= last {
                    ranges.append(c...last)
                    position += 3
                } else {
                    ranges.append(c...c)
                    position += 1
                }
            }
            guard at() == "]" else { return nil }
            position += 1
            return .set(ranges, negated: negated)
        }
    }

    /// The leftmost match, as offsets in characters.
    func firstMatch(in line: String, from offset: Int = 0) -> Range<Int>? { match(in: line, from: offset)?.range }

    /// The leftmost match and its groups; nil for a group that has no part in it, or that is repeated.
    func match(in line: String, from offset: Int = 0) -> (range: Range<Int>, groups: [Range<Int>?])? {
        let text = Array(ignoresCase ? line.lowercased() : line)
        guard offset <= text.count else { return nil }
        var state = State(marks: [Int](repeating: -1, count: 2 * groupCount))
        for start in offset...text.count {
            var best: (end: Int, marks: [Int])?
            for alternative in alternatives {
                state.marks = [Int](repeating: -1, count: 2 * groupCount)
                var matched: Int?
                _ = match(alternative[...], text, start, &state) {
                    matched = $0
                    return true
                }
                if let matched, matched > best?.end ?? -1 { best = (matched, state.marks) }
            }
            guard let (end, marks) = best else { continue }
            return (start..<end, (0..<groupCount).map { marks[2 * $0] >= 0 && marks[2 * $0 + 1] >= marks[2 * $0] ? marks[2 * $0]..<marks[2 * $0 + 1] : nil })
        }
        return nil
    }

    private func match(_ nodes: ArraySlice<Node>, _ text: [Character], _ position: Int, _ state: inout State, _ done: (Int) -> Bool) -> Bool {
        state.steps += 1
        guard state.steps < 200_000 else { return false }
        guard let node = nodes.first else { return done(position) }
        let rest = nodes.dropFirst()
        switch node {
        case .start: return position == 0 && match(rest, text, position, &state, done)
        case .end: return position == text.count && match(rest, text, position, &state, done)
        case .character, .any, .set:
            return position < text.count && accepts(node, text[position]) && match(rest, text, position + 1, &state, done)
        case .mark(let place):
            let before = state.marks[place]
            state.marks[place] = position
            if match(rest, text, position, &state, done) { return true }
            state.marks[place] = before
            return false
        case .group(let alternatives):
            for alternative in alternatives where match(alternative + Array(rest), text, position, &state, done) { return true }
            return false
        case .repeated(let inner, let least, let most):
            if case .group = inner { return matchGroup(inner, least, most, rest, text, position, 0, &state, done) }
            var end = position
            var count = 0
            while count < most, end < text.count, accepts(inner, text[end]) {
                end += 1
                count += 1
            }
            while count >= least {
                if match(rest, text, end, &state, done) { return true }
                if count == 0 { break }
                count -= 1
                end -= 1
            }
            return false
        }
    }

    private func match(_ nodes: [Node], _ text: [Character], _ position: Int, _ state: inout State, _ done: (Int) -> Bool) -> Bool {
        match(nodes[...], text, position, &state, done)
    }

    private func matchGroup(
        _ inner: Node, _ least: Int, _ most: Int, _ rest: ArraySlice<Node>, _ text: [Character], _ position: Int, _ count: Int, _ state: inout State, _ done: (Int) -> Bool
    ) -> Bool {
        guard state.steps < 200_000, count < 500 else { return false }
        if count < most {
            var ends: [Int] = []
            _ = match([inner][...], text, position, &state) { end in
                if end > position { ends.append(end) }
                return false
            }
            for end in ends where matchGroup(inner, least, most, rest, text, end, count + 1, &state, done) { return true }
        }
        return count >= least && match(rest, text, position, &state, done)
    }

    private func accepts(_ node: Node, _ c: Character) -> Bool {
        switch node {
        case .character(let wanted): wanted == c
        case .any: true
        case .set(let ranges, let negated): ranges.contains { $0.contains(c) } != negated
        default: false
        }
    }
}
