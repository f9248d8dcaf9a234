// Words: quoting and expansions (XCU 2.2, 2.6).
extension ShellParser {
    mutating func word() throws(ShellSyntaxError) -> Word {
        var parts: [WordPart] = []
        var plain = String.UnicodeScalarView()
        func flush() {
            if !plain.isEmpty { parts.append(.literal(String(plain), quoted: false)) }
            plain = String.UnicodeScalarView()
        }
        guard let start = peek(), !ShellParser.endsWord(start) else { throw unexpected() }
        while let c = peek(), !ShellParser.endsWord(c) {
            switch c {
            case "'":
                flush()
                parts.append(.literal(try singleQuoted(), quoted: true))
            case "\"":
                flush()
                parts += try doubleQuoted()
            case "\\":
                advance()
                guard let escaped = peek() else {
                    plain.append("\\")
                    break
                }
                advance()
                if escaped != "\n" {
                    flush()
                    parts.append(.literal(String(Character(escaped)), quoted: true))
                }
            case "$", "`":
                flush()
                parts.append(try dollar(quoted: false))
            default:
                plain.append(c)
                advance()
            }
        }
        flush()
        return Word(parts: parts)
    }

    mutating func singleQuoted() throws(ShellSyntaxError) -> String {
        advance()
        var content = String.UnicodeScalarView()
        while let c = peek() {
            advance()
            if c == "'" { return String(content) }
            content.append(c)
        }
        throw error("Unterminated quoted string")
    }

    mutating func doubleQuoted() throws(ShellSyntaxError) -> [WordPart] {
        advance()
        var parts: [WordPart] = []
        var plain = String.UnicodeScalarView()
        while let c = peek() {
            switch c {
            case "\"":
                advance()
                if !plain.isEmpty || parts.isEmpty { parts.append(.literal(String(plain), quoted: true)) }
                return parts
            case "\\":
                advance()
                guard let next = peek() else { throw error("Unterminated quoted string") }
                if !"\\\"$`\n".unicodeScalars.contains(next) { plain.append("\\") }
                if next != "\n" { plain.append(next) }
                advance()
            case "$", "`":
                if !plain.isEmpty { parts.append(.literal(String(plain), quoted: true)) }
                plain = String.UnicodeScalarView()
                parts.append(try dollar(quoted: true))
            default:
                plain.append(c)
                advance()
            }
        }
        throw error("Unterminated quoted string")
    }

    /// `$x`, `${…}`, `$(…)`, `$((…))` or a backquoted command.
    mutating func dollar(quoted: Bool) throws(ShellSyntaxError) -> WordPart {
        depth += 1
        defer { depth -= 1 }
        guard depth < 200 else { throw error("nesting too deep") }
        if peek() == "`" { return .command(try backquoted(), quoted: quoted) }
        advance()
        guard let c = peek() else { return .literal("$", quoted: quoted) }
        if looking(at: "(("), let part = try arithmetic(quoted: quoted) { return part }
        if c == "(" {
            advance()
            let body = try list(until: [])
            skipBlank(newlines: true)
            guard peek() == ")" else { throw unexpected(expecting: ")") }
            advance()
            return .command(body, quoted: quoted)
        }
        if c == "{" {
            advance()
            return try braced(quoted: quoted)
        }
        if ShellParser.isNameStart(c) { return .variable(name: name(), operation: nil, quoted: quoted) }
        if "0123456789?#$!@*-".unicodeScalars.contains(c) {
            advance()
            return .variable(name: String(Character(c)), operation: nil, quoted: quoted)
        }
        return .literal("$", quoted: quoted)
    }

    mutating func name() -> String {
        var result = ""
        while let c = peek(), ShellParser.isNamePart(c) {
            result.unicodeScalars.append(c)
            advance()
        }
        return result
    }

    mutating func backquoted() throws(ShellSyntaxError) -> ShellNode {
        advance()
        var inner = String.UnicodeScalarView()
        while let c = peek() {
            advance()
            if c == "`" {
                var parser = ShellParser(String(inner))
                parser.depth = depth
                let node = try parser.list(until: [])
                if !parser.atEnd { throw parser.unexpected() }
                return node
            }
            if c == "\\", let next = peek(), "`\\$".unicodeScalars.contains(next) {
                inner.append(next)
                advance()
            } else {
                inner.append(c)
            }
        }
        throw error("EOF in backquote substitution")
    }

    /// Nil (and nothing consumed) if the parentheses turn out to be a subshell inside a substitution.
    mutating func arithmetic(quoted: Bool) throws(ShellSyntaxError) -> WordPart? {
        let saved = (position, line)
        advance(2)
        var parts: [WordPart] = []
        var plain = String.UnicodeScalarView()
        var open = 0
        while let c = peek() {
            if c == ")", open == 0 {
                guard peek(1) == ")" else {
                    (position, line) = saved
                    return nil
                }
                advance(2)
                if !plain.isEmpty { parts.append(.literal(String(plain), quoted: true)) }
                return .arithmetic(parts, quoted: quoted)
            }
            if c == "$" || c == "`" {
                if !plain.isEmpty { parts.append(.literal(String(plain), quoted: true)) }
                plain = String.UnicodeScalarView()
                parts.append(try dollar(quoted: true))
                continue
            }
            if c == "(" { open += 1 }
            if c == ")" { open -= 1 }
            if c != "\"" { plain.append(c) }
            advance()
        }
        throw error("Missing '))'")
    }

    mutating func braced(quoted: Bool) throws(ShellSyntaxError) -> WordPart {
        if peek() == "#", let next = peek(1), next != "}" {
            advance()
            let variable = try parameterName()
            guard peek() == "}" else { throw error("Missing '}'") }
            advance()
            return .variable(name: variable, operation: ParameterOperation(kind: .length, treatsEmptyAsUnset: false, word: []), quoted: quoted)
        }
        let variable = try parameterName()
        if peek() == "}" {
            advance()
            return .variable(name: variable, operation: nil, quoted: quoted)
        }
        var colon = false
        if peek() == ":" {
            colon = true
            advance()
        }
        let kind: ParameterOperation.Kind
        switch peek() {
        case "-": kind = .useDefault
        case "=": kind = .assignDefault
        case "+": kind = .alternative
        case "?": kind = .errorIfUnset
        case "%" where !colon: kind = peek(1) == "%" ? .removeLargestSuffix : .removeSmallestSuffix
        case "#" where !colon: kind = peek(1) == "#" ? .removeLargestPrefix : .removeSmallestPrefix
        case nil: throw error("Missing '}'")
        default: throw error("Bad substitution")
        }
        advance(kind == .removeLargestSuffix || kind == .removeLargestPrefix ? 2 : 1)
        let operation = ParameterOperation(kind: kind, treatsEmptyAsUnset: colon, word: try bracedWord(quoted: quoted))
        return .variable(name: variable, operation: operation, quoted: quoted)
    }

    mutating func parameterName() throws(ShellSyntaxError) -> String {
        guard let c = peek() else { throw error("Missing '}'") }
        if ShellParser.isNameStart(c) { return name() }
        if ("0"..."9").contains(c) {
            var digits = ""
            while let d = peek(), ("0"..."9").contains(d) {
                digits.unicodeScalars.append(d)
                advance()
            }
            return digits
        }
        guard "?#$!@*-".unicodeScalars.contains(c) else { throw error("Bad substitution") }
        advance()
        return String(Character(c))
    }

    /// The word behind an operator of `${…}`, through the closing brace.
    mutating func bracedWord(quoted: Bool) throws(ShellSyntaxError) -> [WordPart] {
        var parts: [WordPart] = []
        var plain = String.UnicodeScalarView()
        while let c = peek() {
            switch c {
            case "}":
                advance()
                if !plain.isEmpty { parts.append(.literal(String(plain), quoted: quoted)) }
                return parts
            case "'" where !quoted:
                parts.append(.literal(try singleQuoted(), quoted: true))
            case "\"":
                if !plain.isEmpty { parts.append(.literal(String(plain), quoted: quoted)) }
                plain = String.UnicodeScalarView()
                parts += try doubleQuoted()
            case "$", "`":
                if !plain.isEmpty { parts.append(.literal(String(plain), quoted: quoted)) }
                plain = String.UnicodeScalarView()
                parts.append(try dollar(quoted: quoted))
            case "\\":
                advance()
                if let next = peek() {
                    plain.append(next)
                    advance()
                }
            default:
                plain.append(c)
                advance()
            }
        }
        throw error("Missing '}'")
    }
}
