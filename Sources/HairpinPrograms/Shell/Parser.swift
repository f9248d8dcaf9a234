/// Parses a script by recursive descent over its characters: in the shell language what a character means depends on where it stands.
struct ShellParser {
    private let text: [Unicode.Scalar]
    private var position = 0
    private var line = 1
    /// Nesting of compound commands and substitutions; bounds the recursion.
    private var depth = 0

    init(_ script: String) { text = Array(script.unicodeScalars) }

    static func parse(_ script: String) throws(ShellSyntaxError) -> ShellNode {
        var parser = ShellParser(script)
        let node = try parser.list(until: [])
        parser.skipBlank(newlines: true)
        if !parser.atEnd { throw parser.unexpected() }
        return node
    }

    // MARK: Characters

    private var atEnd: Bool { position >= text.count }
    private func peek(_ offset: Int = 0) -> Unicode.Scalar? { position + offset < text.count ? text[position + offset] : nil }
    private mutating func advance(_ count: Int = 1) {
        for _ in 0..<count where position < text.count {
            if text[position] == "\n" { line += 1 }
            position += 1
        }
    }
    private func looking(at string: String) -> Bool {
        var i = position
        for scalar in string.unicodeScalars {
            guard i < text.count, text[i] == scalar else { return false }
            i += 1
        }
        return true
    }
    private func error(_ message: String) -> ShellSyntaxError { ShellSyntaxError(line: line, message: message) }

    /// "x unexpected" for the token here, with what was wanted instead.
    private func unexpected(expecting: String? = nil) -> ShellSyntaxError {
        let wanted = expecting.map { " (expecting \"\($0)\")" } ?? ""
        if atEnd { return error("end of file unexpected" + wanted) }
        if peek() == "\n" { return error("newline unexpected" + wanted) }
        for token in [";;", "&&", "||", ">>", "<<", ";", "&", "|", "(", ")", "<", ">"] where looking(at: token) {
            return error("\"\(token)\" unexpected" + wanted)
        }
        return error("\"\(bareWord() ?? String(text[position]))\" unexpected" + wanted)
    }

    /// Skips blanks, comments and escaped newlines; newlines too where they mean nothing.
    private mutating func skipBlank(newlines: Bool = false) {
        while let c = peek() {
            if c == " " || c == "\t" || c == "\r" || (newlines && c == "\n") {
                advance()
            } else if c == "\\", peek(1) == "\n" {
                advance(2)
            } else if c == "#" {
                while let d = peek(), d != "\n" {
                    _ = d
                    advance()
                }
            } else {
                return
            }
        }
    }

    private static func isNameStart(_ c: Unicode.Scalar) -> Bool { c == "_" || (c.isASCII && c.properties.isAlphabetic) }
    private static func isNamePart(_ c: Unicode.Scalar) -> Bool { isNameStart(c) || ("0"..."9").contains(c) }
    private static func endsWord(_ c: Unicode.Scalar) -> Bool { " \t\r\n;&|()<>".unicodeScalars.contains(c) }

    /// The unquoted word here without consuming it: for reserved words.
    private func bareWord() -> String? {
        var i = position
        var word = ""
        while i < text.count, !ShellParser.endsWord(text[i]) {
            if "'\"\\$`".unicodeScalars.contains(text[i]) { return nil }
            word.unicodeScalars.append(text[i])
            i += 1
        }
        return word.isEmpty ? nil : word
    }
    private mutating func accept(_ reserved: String) -> Bool {
        guard bareWord() == reserved else { return false }
        advance(reserved.unicodeScalars.count)
        return true
    }
    private mutating func expect(_ reserved: String) throws(ShellSyntaxError) {
        skipBlank(newlines: true)
        if !accept(reserved) { throw unexpected(expecting: reserved) }
    }

    // MARK: Lists

    private static let closers: Set<String> = ["then", "else", "elif", "fi", "do", "done", "esac", "}"]

    /// Commands separated by `;`, `&` and newlines, up to one of the reserved words, `)`, `;;` or the end.
    private mutating func list(until terminators: [String]) throws(ShellSyntaxError) -> ShellNode {
        depth += 1
        defer { depth -= 1 }
        guard depth < 200 else { throw error("nesting too deep") }
        var nodes: [ShellNode] = []
        while true {
            skipBlank(newlines: true)
            if atEnd || peek() == ")" || looking(at: ";;") { break }
            if let word = bareWord(), ShellParser.closers.contains(word) {
                if terminators.contains(word) { break }
                throw unexpected(expecting: terminators.first)
            }
            var node = try andOr()
            skipBlank()
            if peek() == "&", peek(1) != "&" {
                advance()
                node = .background(node)
            } else if peek() == ";", peek(1) != ";" {
                advance()
            } else if !atEnd, peek() != "\n", peek() != ")", !looking(at: ";;") {
                throw unexpected()
            }
            nodes.append(node)
        }
        return nodes.count == 1 ? nodes[0] : .sequence(nodes)
    }

    private mutating func andOr() throws(ShellSyntaxError) -> ShellNode {
        let first = try pipeline()
        var rest: [(isAnd: Bool, node: ShellNode)] = []
        while true {
            skipBlank()
            let isAnd = looking(at: "&&")
            guard isAnd || looking(at: "||") else { break }
            advance(2)
            skipBlank(newlines: true)
            rest.append((isAnd, try pipeline()))
        }
        return rest.isEmpty ? first : .andOr(first: first, rest: rest)
    }

    private mutating func pipeline() throws(ShellSyntaxError) -> ShellNode {
        skipBlank()
        if accept("time") { return .timed(try pipeline()) }
        var negated = false
        while accept("!") {
            negated.toggle()
            skipBlank()
        }
        var commands = [try command()]
        skipBlank()
        while peek() == "|", peek(1) != "|" {
            advance()
            skipBlank(newlines: true)
            commands.append(try command())
            skipBlank()
        }
        return commands.count == 1 && !negated ? commands[0] : .pipeline(commands, negated: negated)
    }

    // MARK: Commands

    private mutating func command() throws(ShellSyntaxError) -> ShellNode {
        skipBlank()
        var node: ShellNode
        switch bareWord() {
        case "if": node = try conditional()
        case "while", "until": node = try loop()
        case "for": node = try forEach()
        case "case": node = try choice()
        case "{":
            advance()
            let body = try list(until: ["}"])
            try expect("}")
            node = .group(body)
        case let word? where ShellParser.closers.contains(word): throw unexpected()
        default:
            if peek() == "(" {
                advance()
                let body = try list(until: [])
                skipBlank(newlines: true)
                guard peek() == ")" else { throw unexpected(expecting: ")") }
                advance()
                node = .subshell(body)
            } else {
                return try simpleCommand()
            }
        }
        var redirections: [Redirection] = []
        skipBlank()
        while let redirection = try redirection() {
            redirections.append(redirection)
            skipBlank()
        }
        if !redirections.isEmpty { node = .redirected(node, redirections) }
        return node
    }

    private mutating func conditional() throws(ShellSyntaxError) -> ShellNode {
        _ = accept("if")
        var branches: [(condition: ShellNode, body: ShellNode)] = []
        var otherwise: ShellNode?
        repeat {
            let condition = try list(until: ["then"])
            try expect("then")
            branches.append((condition, try list(until: ["fi", "else", "elif"])))
        } while accept("elif")
        if accept("else") { otherwise = try list(until: ["fi"]) }
        try expect("fi")
        return .conditional(branches: branches, otherwise: otherwise)
    }

    private mutating func loop() throws(ShellSyntaxError) -> ShellNode {
        let isUntil = accept("until")
        if !isUntil { _ = accept("while") }
        let condition = try list(until: ["do"])
        try expect("do")
        let body = try list(until: ["done"])
        try expect("done")
        return .loop(condition: condition, body: body, isUntil: isUntil)
    }

    private mutating func forEach() throws(ShellSyntaxError) -> ShellNode {
        _ = accept("for")
        skipBlank()
        guard let name = bareWord(), let first = name.unicodeScalars.first, ShellParser.isNameStart(first), name.unicodeScalars.allSatisfy(ShellParser.isNamePart)
        else { throw error("Bad for loop variable") }
        advance(name.unicodeScalars.count)
        skipBlank(newlines: true)
        var words: [Word]?
        if accept("in") {
            var list: [Word] = []
            while true {
                skipBlank()
                guard let c = peek(), !ShellParser.endsWord(c) else { break }
                list.append(try word())
            }
            words = list
        }
        skipBlank()
        if peek() == ";", peek(1) != ";" { advance() } else if peek() != "\n", words != nil { throw unexpected() }
        try expect("do")
        let body = try list(until: ["done"])
        try expect("done")
        return .forEach(variable: name, words: words, body: body)
    }

    private mutating func choice() throws(ShellSyntaxError) -> ShellNode {
        _ = accept("case")
        skipBlank()
        let subject = try word()
        try expect("in")
        var branches: [(patterns: [Word], body: ShellNode)] = []
        while true {
            skipBlank(newlines: true)
            if accept("esac") { break }
            if atEnd { throw unexpected(expecting: "esac") }
            if peek() == "(" {
                advance()
                skipBlank()
            }
            var patterns = [try word()]
            skipBlank()
            while peek() == "|" {
                advance()
                skipBlank()
                patterns.append(try word())
                skipBlank()
            }
            guard peek() == ")" else { throw unexpected(expecting: ")") }
            advance()
            branches.append((patterns, try list(until: ["esac"])))
            skipBlank(newlines: true)
            if looking(at: ";;") { advance(2) }
        }
        return .choice(subject, branches)
    }

    private mutating func simpleCommand() throws(ShellSyntaxError) -> ShellNode {
        var command = SimpleCommand()
        command.line = line
        while true {
            skipBlank()
            if let redirection = try redirection() {
                command.redirections.append(redirection)
                continue
            }
            guard let c = peek(), !ShellParser.endsWord(c) else { break }
            if command.words.isEmpty, let name = assignmentName() {
                advance(name.unicodeScalars.count + 1)
                let value = peek().map(ShellParser.endsWord) != false ? Word(parts: []) : try word()
                command.assignments.append((name, value))
                continue
            }
            let bare = bareWord()
            command.words.append(try word())
            if command.words.count == 1, command.assignments.isEmpty, let name = bare, peek() == "(" {
                advance()
                skipBlank()
                guard peek() == ")" else { throw unexpected(expecting: ")") }
                advance()
                skipBlank(newlines: true)
                return .function(name: name, body: try self.command())
            }
        }
        if command.words.isEmpty, command.assignments.isEmpty, command.redirections.isEmpty { throw unexpected() }
        return .simple(command)
    }

    /// `name` if `name=` stands here.
    private func assignmentName() -> String? {
        var i = position
        guard i < text.count, ShellParser.isNameStart(text[i]) else { return nil }
        var name = ""
        while i < text.count, ShellParser.isNamePart(text[i]) {
            name.unicodeScalars.append(text[i])
            i += 1
        }
        return i < text.count && text[i] == "=" ? name : nil
    }

    private mutating func redirection() throws(ShellSyntaxError) -> Redirection? {
        var i = 0
        var descriptor: Int?
        if let digit = peek(), ("0"..."9").contains(digit), peek(1) == "<" || peek(1) == ">" {
            descriptor = Int(digit.value - 48)
            i = 1
        }
        if descriptor == nil, looking(at: "&>") {
            let appends = looking(at: "&>>")
            advance(appends ? 3 : 2)
            return Redirection(descriptor: 1, kind: appends ? .appendBoth : .both, target: try target())
        }
        guard let c = peek(i), c == "<" || c == ">" else { return nil }
        if c == "<", peek(i + 1) == "<" { throw error("here-documents are not supported") }
        advance(i + 1)
        let standard = descriptor ?? (c == "<" ? 0 : 1)
        if peek() == "&" {
            advance()
            return Redirection(descriptor: standard, kind: .duplicate, target: try target())
        }
        if c == "<" { return Redirection(descriptor: standard, kind: .read, target: try target()) }
        if peek() == ">" {
            advance()
            return Redirection(descriptor: standard, kind: .append, target: try target())
        }
        if peek() == "|" { advance() }
        return Redirection(descriptor: standard, kind: .write, target: try target())
    }

    private mutating func target() throws(ShellSyntaxError) -> Word {
        skipBlank()
        guard let c = peek(), !ShellParser.endsWord(c) else { throw unexpected() }
        return try word()
    }

    // MARK: Words

    private mutating func word() throws(ShellSyntaxError) -> Word {
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

    private mutating func singleQuoted() throws(ShellSyntaxError) -> String {
        advance()
        var content = String.UnicodeScalarView()
        while let c = peek() {
            advance()
            if c == "'" { return String(content) }
            content.append(c)
        }
        throw error("Unterminated quoted string")
    }

    private mutating func doubleQuoted() throws(ShellSyntaxError) -> [WordPart] {
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
    private mutating func dollar(quoted: Bool) throws(ShellSyntaxError) -> WordPart {
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

    private mutating func name() -> String {
        var result = ""
        while let c = peek(), ShellParser.isNamePart(c) {
            result.unicodeScalars.append(c)
            advance()
        }
        return result
    }

    private mutating func backquoted() throws(ShellSyntaxError) -> ShellNode {
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
    private mutating func arithmetic(quoted: Bool) throws(ShellSyntaxError) -> WordPart? {
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

    private mutating func braced(quoted: Bool) throws(ShellSyntaxError) -> WordPart {
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

    private mutating func parameterName() throws(ShellSyntaxError) -> String {
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
    private mutating func bracedWord(quoted: Bool) throws(ShellSyntaxError) -> [WordPart] {
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
