/// The Python of `%{ … }%` blocks, as far as scripts use it: `assert condition[, message]`, `print(…)`, `name = value`, `name += value`, chained
/// comparisons, `and or not`, `+ - * // / % & | ^ << >>`, parentheses, integers and strings in messages.
struct ScriptCode {
    enum Stop: Error {
        /// An assertion that does not hold: its text, the values of the names in it.
        case failed(line: Int, String)
        case unsupported(line: Int, String)
    }
    enum Value: Hashable {
        case number(Int64)
        case text(String)
        case tuple([Value])
        var isTrue: Bool {
            switch self {
            case .number(let n): n != 0
            case .text(let t): !t.isEmpty
            case .tuple(let items): !items.isEmpty
            }
        }
        var description: String {
            switch self {
            case .number(let n): String(n)
            case .text(let t): t
            case .tuple(let items): "(" + items.map(\.description).joined(separator: ", ") + ")"
            }
        }
    }

    /// Names that assignments have made; they last through the script.
    var names: [String: Value] = [:]

    /// Runs a block and returns what it prints, a string for each `print`. `line` is that of its first character.
    mutating func run(_ text: String, line: Int, lookup: (String) -> Int64?) throws(Stop) -> [String] {
        var printed: [String] = []
        for (statement, offset) in ScriptCode.statements(text) {
            var parser = ExpressionParser(statement, line: line + offset)
            try parser.statement(&names, lookup)
            printed += parser.printed
        }
        return printed
    }

    /// Statements and the line each begins on, counted from zero. Newlines inside parentheses and behind a backslash do not end one.
    static func statements(_ text: String) -> [(String, Int)] {
        var result: [(String, Int)] = []
        var current = ""
        var line = 0
        var start = 0
        var depth = 0
        var quote: Character?
        var isComment = false
        var isEscaped = false
        func flush() {
            let trimmed = trim(current)
            if !trimmed.isEmpty { result.append((trimmed, start)) }
            current = ""
        }
        for c in text {
            if c == "\n" {
                line += 1
                let wasEscaped = isEscaped
                (isComment, isEscaped) = (false, false)
                if depth == 0, quote == nil, !wasEscaped { flush() } else { current.append(" ") }
                if trim(current).isEmpty { start = line }
                continue
            }
            if isComment { continue }
            if isEscaped {
                current.append("\\")
                isEscaped = false
            }
            if c == "\\" {
                isEscaped = true
                continue
            }
            if let q = quote {
                if c == q { quote = nil }
            } else if c == "'" || c == "\"" {
                quote = c
            } else if c == "#" {
                isComment = true
                continue
            } else if c == "(" {
                depth += 1
            } else if c == ")" {
                depth -= 1
            } else if c == ";" {
                flush()
                start = line
                continue
            }
            current.append(c)
        }
        flush()
        return result
    }

    private static func trim(_ text: String) -> String {
        var slice = text[...]
        while let c = slice.first, c.isWhitespace { slice.removeFirst() }
        while let c = slice.last, c.isWhitespace { slice.removeLast() }
        return String(slice)
    }

    /// The names a block reads, for finding those that are not known before anything runs.
    static func namesRead(_ text: String) -> [(name: String, line: Int)] {
        var result: [(String, Int)] = []
        for (statement, line) in statements(text) {
            let tokens = (try? ExpressionParser.tokens(statement, line: line)) ?? []
            for case .word(let word) in tokens where !["assert", "print", "and", "or", "not", "in", "abs", "min", "max", "int", "str", "if", "else"].contains(word) {
                result.append((word, line))
            }
        }
        return result
    }
}

/// One statement: a recursive-descent parser that computes as it goes, in Python's order of precedence.
private struct ExpressionParser {
    enum Token: Equatable {
        case number(Int64)
        case text(String)
        case word(String)
        case sign(String)
        case end
    }
    let tokens: [Token]
    let line: Int
    let statementText: String
    var at = 0
    /// Parentheses and signs open here.
    private var depth = 0
    var reading: [(String, Int64)] = []
    /// What `print` said.
    var printed: [String] = []
    private let failure: ScriptCode.Stop?

    init(_ statement: String, line: Int) {
        statementText = statement
        self.line = line
        do throws(ScriptCode.Stop) {
            tokens = try ExpressionParser.tokens(statement, line: line)
            failure = nil
        } catch {
            tokens = []
            failure = error
        }
    }

    static func tokens(_ text: String, line: Int) throws(ScriptCode.Stop) -> [Token] {
        var result: [Token] = []
        let c = Array(text)
        var i = 0
        let twice: Set<String> = ["==", "!=", "<=", ">=", "//", "<<", ">>", "+=", "-=", "**"]
        while i < c.count {
            if c[i].isWhitespace {
                i += 1
            } else if c[i].isNumber {
                var j = i
                while j < c.count, c[j].isLetter || c[j].isNumber || c[j] == "_" { j += 1 }
                let word = String(c[i..<j])
                guard let value = ScriptScanner.integer(word) else { throw .unsupported(line: line, "the number \(word) in code") }
                result.append(.number(value))
                i = j
            } else if c[i].isLetter || c[i] == "_" {
                var j = i
                while j < c.count, c[j].isLetter || c[j].isNumber || c[j] == "_" { j += 1 }
                result.append(.word(String(c[i..<j])))
                i = j
            } else if c[i] == "'" || c[i] == "\"" {
                var j = i + 1
                while j < c.count, c[j] != c[i] { j += 1 }
                guard j < c.count else { throw .unsupported(line: line, "an unfinished string in code") }
                result.append(.text(String(c[(i + 1)..<j])))
                i = j + 1
            } else if i + 1 < c.count, twice.contains(String(c[i...(i + 1)])) {
                result.append(.sign(String(c[i...(i + 1)])))
                i += 2
            } else if "=<>+-*/%&|^~(),".contains(c[i]) {
                result.append(.sign(String(c[i])))
                i += 1
            } else {
                throw .unsupported(line: line, "'\(c[i])' in code")
            }
        }
        return result
    }

    private var next: Token { at < tokens.count ? tokens[at] : .end }
    private mutating func take(_ sign: String) -> Bool {
        guard next == .sign(sign) else { return false }
        at += 1
        return true
    }
    private mutating func take(word: String) -> Bool {
        guard next == .word(word) else { return false }
        at += 1
        return true
    }
    private func unsupported(_ what: String) -> ScriptCode.Stop { .unsupported(line: line, what) }

    mutating func statement(_ names: inout [String: ScriptCode.Value], _ lookup: (String) -> Int64?) throws(ScriptCode.Stop) {
        if let failure { throw failure }
        if take(word: "assert") {
            let known = names
            let condition = try value(known, lookup)
            let values = reading
            var message = ""
            if take(",") { message = try value(known, lookup).description }
            try expectEnd()
            guard !condition.isTrue else { return }
            var shown: [String] = []
            for (name, value) in values where !shown.contains(where: { $0.hasPrefix(name + " = ") }) { shown.append("\(name) = \(value)") }
            throw .failed(line: line, "\(statementText): \(shown.isEmpty ? message : shown.joined(separator: ", "))")
        }
        if take(word: "print") {
            let items = take("(") ? try tupleItems(names, lookup) : []
            try expectEnd()
            printed.append(items.map(\.description).joined(separator: " "))
            return
        }
        guard case .word(let name) = next, at + 1 < tokens.count, case .sign(let sign) = tokens[at + 1], ["=", "+=", "-="].contains(sign) else {
            throw unsupported("the statement '\(statementText)'")
        }
        at += 2
        let new = try value(names, lookup)
        try expectEnd()
        if sign == "=" {
            names[name] = new
        } else {
            let old = names[name] ?? lookup(name).map { .number($0) }
            guard case .number(let a)? = old, case .number(let b) = new else { throw unsupported("'\(sign)' on '\(name)'") }
            names[name] = .number(sign == "+=" ? a &+ b : a &- b)
        }
    }

    private func expectEnd() throws(ScriptCode.Stop) {
        if next != .end { throw unsupported("the statement '\(statementText)'") }
    }

    private mutating func value(_ names: [String: ScriptCode.Value], _ lookup: (String) -> Int64?) throws(ScriptCode.Stop) -> ScriptCode.Value {
        var result = try conjunction(names, lookup)
        while take(word: "or") {
            let right = try conjunction(names, lookup)
            if !result.isTrue { result = right }
        }
        return result
    }

    private mutating func conjunction(_ names: [String: ScriptCode.Value], _ lookup: (String) -> Int64?) throws(ScriptCode.Stop) -> ScriptCode.Value {
        var result = try negation(names, lookup)
        while take(word: "and") {
            let right = try negation(names, lookup)
            if result.isTrue { result = right }
        }
        return result
    }

    private mutating func negation(_ names: [String: ScriptCode.Value], _ lookup: (String) -> Int64?) throws(ScriptCode.Stop) -> ScriptCode.Value {
        guard depth < 64 else { throw unsupported("such deep nesting") }
        depth += 1
        defer { depth -= 1 }
        if take(word: "not") { return .number(try negation(names, lookup).isTrue ? 0 : 1) }
        return try comparison(names, lookup)
    }

    /// `in` is true, `not in` false; nil is neither.
    private mutating func takeMembership() -> Bool? {
        if take(word: "in") { return true }
        guard next == .word("not"), at + 1 < tokens.count, tokens[at + 1] == .word("in") else { return nil }
        at += 2
        return false
    }

    private mutating func comparison(_ names: [String: ScriptCode.Value], _ lookup: (String) -> Int64?) throws(ScriptCode.Stop) -> ScriptCode.Value {
        var left = try binary(0, names, lookup)
        var holds: Bool?
        while true {
            if let isWanted = takeMembership() {
                guard case .tuple(let items) = try binary(0, names, lookup) else { throw unsupported("'in' with something that is no tuple") }
                left = .number(items.contains(left) == isWanted ? 1 : 0)
                continue
            }
            guard case .sign(let sign) = next, ["==", "!=", "<", "<=", ">", ">="].contains(sign) else { break }
            at += 1
            let right = try binary(0, names, lookup)
            let result: Bool
            if sign == "==" || sign == "!=" {
                result = (left == right) == (sign == "==")
            } else {
                guard case .number(let a) = left, case .number(let b) = right else { throw unsupported("'\(sign)' between other things than numbers") }
                switch sign {
                case "<": result = a < b
                case "<=": result = a <= b
                case ">": result = a > b
                default: result = a >= b
                }
            }
            holds = (holds ?? true) && result
            left = right
        }
        return holds.map { .number($0 ? 1 : 0) } ?? left
    }

    private static let levels: [[String]] = [["|"], ["^"], ["&"], ["<<", ">>"], ["+", "-"], ["*", "//", "/", "%"]]

    private mutating func binary(_ level: Int, _ names: [String: ScriptCode.Value], _ lookup: (String) -> Int64?) throws(ScriptCode.Stop) -> ScriptCode.Value {
        guard level < ExpressionParser.levels.count else { return try unary(names, lookup) }
        var left = try binary(level + 1, names, lookup)
        while case .sign(let sign) = next, ExpressionParser.levels[level].contains(sign) {
            at += 1
            left = try combine(left, sign, try binary(level + 1, names, lookup))
        }
        return left
    }

    private func combine(_ left: ScriptCode.Value, _ sign: String, _ right: ScriptCode.Value) throws(ScriptCode.Stop) -> ScriptCode.Value {
        if case .text(let format) = left, sign == "%" { return .text(ExpressionParser.formatted(format, right)) }
        if case .text(let a) = left, case .text(let b) = right, sign == "+" { return .text(a + b) }
        guard case .number(let a) = left, case .number(let b) = right else { throw unsupported("'\(sign)' between other things than numbers") }
        switch sign {
        case "|": return .number(a | b)
        case "^": return .number(a ^ b)
        case "&": return .number(a & b)
        case "<<" where 0...62 ~= b: return .number(a << b)
        case ">>" where 0...63 ~= b: return .number(a >> b)
        case "+": return .number(a &+ b)
        case "-": return .number(a &- b)
        case "*": return .number(a &* b)
        case "//", "/":
            guard b != 0 else { throw .failed(line: line, "\(statementText): division by zero") }
            // Floor division; `/` is taken for whole numbers only, as Python 2 did.
            let quotient = a / b
            return .number(a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient)
        case "%":
            guard b != 0 else { throw .failed(line: line, "\(statementText): division by zero") }
            let rest = a % b
            return .number(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest)
        default: throw unsupported("'\(sign)' in code")
        }
    }

    private static func formatted(_ format: String, _ value: ScriptCode.Value) -> String {
        var values: [ScriptCode.Value] = if case .tuple(let items) = value { items } else { [value] }
        var result = ""
        var isDirective = false
        for c in format {
            if isDirective {
                isDirective = false
                if c == "%" { result.append("%") } else { result += values.isEmpty ? "" : values.removeFirst().description }
            } else if c == "%" {
                isDirective = true
            } else {
                result.append(c)
            }
        }
        return result
    }

    private mutating func unary(_ names: [String: ScriptCode.Value], _ lookup: (String) -> Int64?) throws(ScriptCode.Stop) -> ScriptCode.Value {
        guard depth < 64 else { throw unsupported("such deep nesting") }
        depth += 1
        defer { depth -= 1 }
        for sign in ["-", "+", "~"] where take(sign) {
            guard case .number(let n) = try unary(names, lookup) else { throw unsupported("'\(sign)' on something that is no number") }
            return .number(sign == "-" ? 0 &- n : sign == "~" ? ~n : n)
        }
        let token = next
        at += 1
        switch token {
        case .number(let n): return .number(n)
        case .text(let t):
            // Literals that stand side by side are one string.
            var whole = t
            while case .text(let more) = next {
                whole += more
                at += 1
            }
            return .text(whole)
        case .word(let name):
            if take("(") { return try function(name, try tupleItems(names, lookup)) }
            if let known = names[name] {
                if case .number(let n) = known { reading.append((name, n)) }
                return known
            }
            guard let n = lookup(name) else { throw unsupported("the name '\(name)' in code") }
            if ScriptSymbols.codeConstants[name] == nil { reading.append((name, n)) }
            return .number(n)
        case .sign("("):
            let items = try tupleItems(names, lookup)
            return items.count == 1 ? items[0] : .tuple(items)
        default: throw unsupported("the statement '\(statementText)'")
        }
    }

    /// Behind the opening parenthesis, up to and with the closing one.
    private mutating func tupleItems(_ names: [String: ScriptCode.Value], _ lookup: (String) -> Int64?) throws(ScriptCode.Stop) -> [ScriptCode.Value] {
        var items: [ScriptCode.Value] = []
        while !take(")") {
            items.append(try value(names, lookup))
            if !take(",") {
                guard take(")") else { throw unsupported("the statement '\(statementText)'") }
                break
            }
        }
        return items
    }

    private func function(_ name: String, _ arguments: [ScriptCode.Value]) throws(ScriptCode.Stop) -> ScriptCode.Value {
        if name == "str", arguments.count == 1 { return .text(arguments[0].description) }
        let numbers = arguments.compactMap { if case .number(let n) = $0 { n } else { nil } }
        guard numbers.count == arguments.count, let first = numbers.first else { throw unsupported("the function '\(name)' in code") }
        switch name {
        case "abs" where numbers.count == 1: return .number(abs(first))
        case "int" where numbers.count == 1: return .number(first)
        case "min": return .number(numbers.min() ?? first)
        case "max": return .number(numbers.max() ?? first)
        default: throw unsupported("the function '\(name)' in code")
        }
    }
}
