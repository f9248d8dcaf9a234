/// The one-line programs people give to awk: `/pattern/ {print $2, "x"}`, `NR==2 {print $NF}`, `END {print NR}`, with -F.
final class Awk {
    private enum Condition {
        case always
        case matches(BasicPattern)
        case lineNumber(Int)
        case end
    }
    private enum Piece {
        case field(Int)
        case lastField
        case text(String)
        case lineNumber, fieldCount
    }
    private var rules: [(condition: Condition, print: [[Piece]])] = []
    private let separator: Character?

    static func program(_ arguments: [String]) -> any Program {
        let options = Options(arguments, flags: "", values: "Fv")
        guard let source = options.operands.first else { return usageError("usage: awk [-F fs] program [file ...]\n", status: 2) }
        guard let awk = Awk(source, separator: options["F"].flatMap { unescaped($0).first }) else {
            return usageError("awk: this program is beyond what is understood here: \(source)\n", status: 2)
        }
        return WholeInput("awk", files: Array(options.operands.dropFirst())) { system, sources in
            awk.run(sources.flatMap { lines(text($0.bytes)) }) { system.writeOutput($0) }
            return 0
        }
    }

    /// Nil for programs outside the subset.
    private init?(_ source: String, separator: Character?) {
        self.separator = separator
        var rest = Substring(source)
        func skip() { rest = rest.drop { $0.isWhitespace || $0 == ";" } }
        skip()
        while !rest.isEmpty {
            var condition = Condition.always
            if rest.first == "/" {
                guard let close = rest.dropFirst().firstIndex(of: "/"),
                    let pattern = BasicPattern(String(rest[rest.index(after: rest.startIndex)..<close]), extended: true, ignoresCase: false)
                else { return nil }
                condition = .matches(pattern)
                rest = rest[rest.index(after: close)...]
            } else if rest.hasPrefix("NR") {
                let head = rest.prefix { $0 != "{" }.filter { !$0.isWhitespace }
                guard head.hasPrefix("NR=="), let number = Int(head.dropFirst(4)) else { return nil }
                condition = .lineNumber(number)
                rest = rest.drop { $0 != "{" }
            } else if rest.hasPrefix("END") {
                condition = .end
                rest = rest.dropFirst(3)
            }
            skip()
            guard rest.first == "{" else {
                guard rest.isEmpty else { return nil }
                rules.append((condition, [[.field(0)]]))
                break
            }
            guard let close = Awk.closingBrace(rest), let statements = Awk.statements(rest[rest.index(after: rest.startIndex)..<close]) else { return nil }
            rules.append((condition, statements))
            rest = rest[rest.index(after: close)...]
            skip()
        }
        if rules.isEmpty { return nil }
    }

    private static func closingBrace(_ text: Substring) -> Substring.Index? {
        var inString = false
        for index in text.indices {
            if text[index] == "\"" { inString.toggle() }
            if text[index] == "}", !inString { return index }
        }
        return nil
    }

    /// Each statement is a `print`; commas put a space between what they separate.
    private static func statements(_ text: Substring) -> [[Piece]]? {
        var result: [[Piece]] = []
        for statement in text.split(separator: ";") {
            var rest = Substring(trimmed(statement))
            guard rest.hasPrefix("print") else { return nil }
            rest = rest.dropFirst(5).drop { $0.isWhitespace }
            var pieces: [Piece] = rest.isEmpty ? [.field(0)] : []
            while let c = rest.first {
                if c == "\"" {
                    guard let close = rest.dropFirst().firstIndex(of: "\"") else { return nil }
                    pieces.append(.text(unescaped(String(rest[rest.index(after: rest.startIndex)..<close]))))
                    rest = rest[rest.index(after: close)...]
                } else if rest.hasPrefix("$NF") {
                    pieces.append(.lastField)
                    rest = rest.dropFirst(3)
                } else if c == "$", let number = Int(rest.dropFirst().prefix { $0.isNumber }) {
                    pieces.append(.field(number))
                    rest = rest.dropFirst().drop { $0.isNumber }
                } else if rest.hasPrefix("NR") || rest.hasPrefix("NF") {
                    pieces.append(rest.hasPrefix("NR") ? .lineNumber : .fieldCount)
                    rest = rest.dropFirst(2)
                } else if c == "," {
                    pieces.append(.text(" "))
                    rest = rest.dropFirst()
                } else if c.isWhitespace {
                    rest = rest.dropFirst()
                } else {
                    return nil
                }
            }
            result.append(pieces)
        }
        return result
    }

    private func run(_ input: [String], _ write: (String) -> Void) {
        func act(_ statements: [[Piece]], _ line: String, _ number: Int) {
            let fields = (separator.map { line.split(separator: $0, omittingEmptySubsequences: false) } ?? line.split(whereSeparator: \.isWhitespace)).map(String.init)
            for pieces in statements {
                write(
                    pieces.map { piece in
                        switch piece {
                        case .field(0): line
                        case .field(let index): index <= fields.count ? fields[index - 1] : ""
                        case .lastField: fields.last ?? ""
                        case .text(let text): text
                        case .lineNumber: String(number)
                        case .fieldCount: String(fields.count)
                        }
                    }.joined() + "\n")
            }
        }
        for (index, line) in input.enumerated() {
            for rule in rules {
                switch rule.condition {
                case .always: act(rule.print, line, index + 1)
                case .matches(let pattern): if pattern.firstMatch(in: line) != nil { act(rule.print, line, index + 1) }
                case .lineNumber(let number): if number == index + 1 { act(rule.print, line, index + 1) }
                case .end: break
                }
            }
        }
        for rule in rules { if case .end = rule.condition { act(rule.print, input.last ?? "", input.count) } }
    }
}
