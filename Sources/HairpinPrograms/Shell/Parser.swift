/// Parses a script by recursive descent over its characters: in the shell language what a character means depends on where it stands.
struct ShellParser {
    let text: [Unicode.Scalar]
    var position = 0
    var line = 1
    /// Nesting of compound commands and substitutions; bounds the recursion.
    var depth = 0

    init(_ script: String) { text = Array(script.unicodeScalars) }

    static func parse(_ script: String) throws(ShellSyntaxError) -> ShellNode {
        var parser = ShellParser(script)
        let node = try parser.list(until: [])
        parser.skipBlank(newlines: true)
        if !parser.atEnd { throw parser.unexpected() }
        return node
    }

    // MARK: Characters

    var atEnd: Bool { position >= text.count }
    func peek(_ offset: Int = 0) -> Unicode.Scalar? { position + offset < text.count ? text[position + offset] : nil }
    mutating func advance(_ count: Int = 1) {
        for _ in 0..<count where position < text.count {
            if text[position] == "\n" { line += 1 }
            position += 1
        }
    }
    func looking(at string: String) -> Bool {
        var i = position
        for scalar in string.unicodeScalars {
            guard i < text.count, text[i] == scalar else { return false }
            i += 1
        }
        return true
    }
    func error(_ message: String) -> ShellSyntaxError { ShellSyntaxError(line: line, message: message) }

    /// "x unexpected" for the token here, with what was wanted instead.
    func unexpected(expecting: String? = nil) -> ShellSyntaxError {
        let wanted = expecting.map { " (expecting \"\($0)\")" } ?? ""
        if atEnd { return error("end of file unexpected" + wanted) }
        if peek() == "\n" { return error("newline unexpected" + wanted) }
        for token in [";;", "&&", "||", ">>", "<<", ";", "&", "|", "(", ")", "<", ">"] where looking(at: token) {
            return error("\"\(token)\" unexpected" + wanted)
        }
        return error("\"\(bareWord() ?? String(text[position]))\" unexpected" + wanted)
    }

    /// Skips blanks, comments and escaped newlines; newlines too where they mean nothing.
    mutating func skipBlank(newlines: Bool = false) {
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

    static func isNameStart(_ c: Unicode.Scalar) -> Bool { c == "_" || (c.isASCII && c.properties.isAlphabetic) }
    static func isNamePart(_ c: Unicode.Scalar) -> Bool { isNameStart(c) || ("0"..."9").contains(c) }
    static func endsWord(_ c: Unicode.Scalar) -> Bool { " \t\r\n;&|()<>".unicodeScalars.contains(c) }

    /// The unquoted word here without consuming it: for reserved words.
    func bareWord() -> String? {
        var i = position
        var word = ""
        while i < text.count, !ShellParser.endsWord(text[i]) {
            if "'\"\\$`".unicodeScalars.contains(text[i]) { return nil }
            word.unicodeScalars.append(text[i])
            i += 1
        }
        return word.isEmpty ? nil : word
    }
    mutating func accept(_ reserved: String) -> Bool {
        guard bareWord() == reserved else { return false }
        advance(reserved.unicodeScalars.count)
        return true
    }
    mutating func expect(_ reserved: String) throws(ShellSyntaxError) {
        skipBlank(newlines: true)
        if !accept(reserved) { throw unexpected(expecting: reserved) }
    }

    // MARK: Lists

    static let closers: Set<String> = ["then", "else", "elif", "fi", "do", "done", "esac", "}"]

    /// Commands separated by `;`, `&` and newlines, up to one of the reserved words, `)`, `;;` or the end.
    mutating func list(until terminators: [String]) throws(ShellSyntaxError) -> ShellNode {
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

    mutating func andOr() throws(ShellSyntaxError) -> ShellNode {
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

    mutating func pipeline() throws(ShellSyntaxError) -> ShellNode {
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
}
