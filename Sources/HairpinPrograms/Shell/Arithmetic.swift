/// `$((…))`: the operators of C on 64-bit integers (POSIX.1 XCU §2.6.4), by precedence climbing.
struct ShellArithmetic {
    struct Failure: Error { var message: String }

    private var text: [UInt8]
    private var position = 0
    private var depth = 0
    private let value: (String) -> String?
    private let assign: (String, String) -> Void

    /// - Parameters:
    ///   - value: a variable's text, nil when unset (which counts as zero).
    ///   - assign: for `x = 1` and `x += 1`.
    static func evaluate(_ expression: String, value: @escaping (String) -> String?, assign: @escaping (String, String) -> Void) throws(Failure) -> Int64 {
        var parser = ShellArithmetic(text: Array(expression.utf8), value: value, assign: assign)
        parser.skip()
        if parser.position == parser.text.count { return 0 }
        let result = try parser.ternary()
        parser.skip()
        guard parser.position == parser.text.count else { throw parser.bad() }
        return result
    }

    private init(text: [UInt8], value: @escaping (String) -> String?, assign: @escaping (String, String) -> Void) {
        self.text = text
        self.value = value
        self.assign = assign
    }

    private func bad(_ what: String = "expecting primary") -> Failure { Failure(message: "arithmetic expression: \(what): \"\(HairpinPrograms.text(text))\"") }

    private mutating func skip() { while position < text.count, [32, 9, 10, 13].contains(text[position]) { position += 1 } }

    private mutating func accept(_ token: String) -> Bool {
        skip()
        let bytes = Array(token.utf8)
        guard position + bytes.count <= text.count, Array(text[position..<position + bytes.count]) == bytes else { return false }
        position += bytes.count
        return true
    }

    private mutating func ternary() throws(Failure) -> Int64 {
        depth += 1
        defer { depth -= 1 }
        guard depth < 100 else { throw bad("nesting too deep") }
        if let assigned = try assignment() { return assigned }
        let condition = try binary(0)
        guard accept("?") else { return condition }
        let yes = try ternary()
        guard accept(":") else { throw bad("expecting ':'") }
        let no = try ternary()
        return condition != 0 ? yes : no
    }

    private mutating func assignment() throws(Failure) -> Int64? {
        let saved = position
        skip()
        guard let name = name() else {
            position = saved
            return nil
        }
        skip()
        for (token, operation) in [("+=", "+"), ("-=", "-"), ("*=", "*"), ("/=", "/"), ("%=", "%")] where accept(token) {
            let left = try number(of: name)
            let result = try apply(operation, left, try ternary())
            assign(name, String(result))
            return result
        }
        if position < text.count, text[position] == UInt8(ascii: "="), position + 1 >= text.count || text[position + 1] != UInt8(ascii: "=") {
            position += 1
            let result = try ternary()
            assign(name, String(result))
            return result
        }
        if accept("++") || accept("--") {
            let old = try number(of: name)
            assign(name, String(text[position - 1] == UInt8(ascii: "+") ? old &+ 1 : old &- 1))
            return old
        }
        position = saved
        return nil
    }

    private mutating func name() -> String? {
        let start = position
        while position < text.count {
            let c = text[position]
            let isLetter = c == 95 || (65...90).contains(c) || (97...122).contains(c)
            guard isLetter || (position > start && (48...57).contains(c)) else { break }
            position += 1
        }
        return position > start ? HairpinPrograms.text(text[start..<position]) : nil
    }

    private func number(of name: String) throws(Failure) -> Int64 {
        guard let content = value(name), !content.isEmpty else { return 0 }
        guard let number = ShellArithmetic.integer(trimmed(content)) else { throw Failure(message: "Illegal number: \(content)") }
        return number
    }

    /// Decimal, 0x… hexadecimal or 0… octal.
    static func integer(_ text: String) -> Int64? {
        let negative = text.hasPrefix("-")
        let digits = negative || text.hasPrefix("+") ? String(text.dropFirst()) : text
        // One sign is enough: what the conversions below read is the magnitude. Of 2^63 only the negative fits.
        let magnitude: UInt64?
        if digits.lowercased().hasPrefix("0x") {
            magnitude = digits.dropFirst(2).first?.isHexDigit == true ? UInt64(digits.dropFirst(2), radix: 16) : nil
        } else if digits.hasPrefix("0"), digits.count > 1 {
            magnitude = UInt64(digits, radix: 8)
        } else {
            magnitude = digits.first?.isNumber == true ? UInt64(digits) : nil
        }
        guard let magnitude else { return nil }
        if negative { return magnitude <= 1 << 63 ? Int64(truncatingIfNeeded: 0 &- magnitude) : nil }
        return Int64(exactly: magnitude)
    }

    private static let levels: [[String]] = [
        ["||"], ["&&"], ["|"], ["^"], ["&"], ["==", "!="], ["<=", ">=", "<", ">"], ["<<", ">>"], ["+", "-"], ["*", "/", "%"],
    ]

    private mutating func binary(_ level: Int) throws(Failure) -> Int64 {
        guard level < ShellArithmetic.levels.count else { return try unary() }
        var left = try binary(level + 1)
        while let token = operatorHere(level) {
            left = try apply(token, left, try binary(level + 1))
        }
        return left
    }

    private mutating func operatorHere(_ level: Int) -> String? {
        skip()
        for token in ShellArithmetic.levels[level] {
            let saved = position
            guard accept(token) else { continue }
            // `<` is not the start of `<<`, nor `&` of `&&`.
            if token.utf8.count == 1, position < text.count, "|&<>".utf8.contains(text[saved]), text[position] == text[saved] {
                position = saved
                continue
            }
            return token
        }
        return nil
    }

    private func apply(_ token: String, _ a: Int64, _ b: Int64) throws(Failure) -> Int64 {
        switch token {
        case "||": return a != 0 || b != 0 ? 1 : 0
        case "&&": return a != 0 && b != 0 ? 1 : 0
        case "|": return a | b
        case "^": return a ^ b
        case "&": return a & b
        case "==": return a == b ? 1 : 0
        case "!=": return a != b ? 1 : 0
        case "<=": return a <= b ? 1 : 0
        case ">=": return a >= b ? 1 : 0
        case "<": return a < b ? 1 : 0
        case ">": return a > b ? 1 : 0
        case "<<": return a << (b & 63)
        case ">>": return a >> (b & 63)
        case "+": return a &+ b
        case "-": return a &- b
        case "*": return a &* b
        default:
            guard b != 0 else { throw bad("division by zero") }
            return token == "/" ? a.dividedReportingOverflow(by: b).partialValue : a.remainderReportingOverflow(dividingBy: b).partialValue
        }
    }

    private mutating func unary() throws(Failure) -> Int64 {
        depth += 1
        defer { depth -= 1 }
        guard depth < 100 else { throw bad("nesting too deep") }
        skip()
        if accept("!") { return try unary() == 0 ? 1 : 0 }
        if accept("~") { return ~(try unary()) }
        if accept("-") { return 0 &- (try unary()) }
        if accept("+") { return try unary() }
        if accept("(") {
            let inner = try ternary()
            guard accept(")") else { throw bad("expecting ')'") }
            return inner
        }
        if let name = name() { return try number(of: name) }
        let start = position
        while position < text.count, (48...57).contains(text[position]) || (position > start && (97...122).contains(text[position] | 32)) { position += 1 }
        guard position > start, let value = ShellArithmetic.integer(HairpinPrograms.text(text[start..<position])) else { throw bad() }
        return value
    }
}
