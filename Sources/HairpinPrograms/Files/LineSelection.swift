/// One command line of grep(1): which lines it selects.
public struct LineSelection {
    let options: Options
    private(set) var patterns: [BasicPattern] = []
    /// What it reads; "-" is standard input.
    let files: [String]
    /// What it says instead of running.
    public private(set) var problem: String?

    /// `arguments` without the command's name; `extended` for egrep, `literal` for fgrep.
    public init(_ arguments: [String], extended: Bool = false, literal: Bool = false) {
        options = Options(
            arguments, flags: "civoqEFnwxhHslLPrG", values: "emABC",
            long: [
                ("line-buffered", "b"), ("color=", "color"), ("color", "color"), ("count", "c"), ("ignore-case", "i"), ("invert-match", "v"), ("quiet", "q"),
                ("only-matching", "o"), ("extended-regexp", "E"), ("fixed-strings", "F"),
            ])
        var operands = options.operands
        var texts = options.all("e")
        if texts.isEmpty, !operands.isEmpty { texts = [operands.removeFirst()] }
        files = operands.isEmpty ? ["-"] : operands
        if texts.isEmpty { problem = "Usage: grep [OPTION]... PATTERNS [FILE]...\nTry 'grep --help' for more information.\n" }
        for text in texts.flatMap({ $0.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) }) {
            var source = options.has("F") || literal ? String(text.flatMap { ".[]*^$\\+?|(){}".contains($0) ? ["\\", $0] : [$0] }) : text
            let isExtended = extended || options.has("E") || options.has("P") || options.has("F") || literal
            if options.has("x") { source = isExtended ? "^(\(source))$" : "^\\(\(source)\\)$" }
            if let pattern = BasicPattern(source, extended: isExtended, ignoresCase: options.has("i")) {
                patterns.append(pattern)
            } else {
                problem = "grep: Invalid regular expression: \(text)\n"
            }
        }
    }

    /// It reads nothing but its standard input.
    public var isFilter: Bool { files == ["-"] }
    /// -c and -q.
    public var counts: Bool { options.has("c") }
    public var isQuiet: Bool { options.has("q") }

    public func selects(_ line: String) -> Bool { patterns.contains { found($0, line) } != options.has("v") }

    private func found(_ pattern: BasicPattern, _ line: String) -> Bool {
        guard options.has("w") else { return pattern.firstMatch(in: line) != nil }
        let characters = Array(line)
        func isWord(_ i: Int) -> Bool { characters.indices.contains(i) && (characters[i].isLetter || characters[i].isNumber || characters[i] == "_") }
        var start = 0
        while let range = pattern.firstMatch(in: line, from: start) {
            if !isWord(range.lowerBound - 1), !isWord(range.upperBound) { return true }
            start = range.lowerBound + 1
        }
        return false
    }
}
