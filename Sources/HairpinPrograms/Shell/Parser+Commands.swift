// Commands: compound ones, simple ones, and their redirections (XCU 2.9).
extension ShellParser {
    mutating func command() throws(ShellSyntaxError) -> ShellNode {
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

    mutating func conditional() throws(ShellSyntaxError) -> ShellNode {
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

    mutating func loop() throws(ShellSyntaxError) -> ShellNode {
        let isUntil = accept("until")
        if !isUntil { _ = accept("while") }
        let condition = try list(until: ["do"])
        try expect("do")
        let body = try list(until: ["done"])
        try expect("done")
        return .loop(condition: condition, body: body, isUntil: isUntil)
    }

    mutating func forEach() throws(ShellSyntaxError) -> ShellNode {
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

    mutating func choice() throws(ShellSyntaxError) -> ShellNode {
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

    mutating func simpleCommand() throws(ShellSyntaxError) -> ShellNode {
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
    func assignmentName() -> String? {
        var i = position
        guard i < text.count, ShellParser.isNameStart(text[i]) else { return nil }
        var name = ""
        while i < text.count, ShellParser.isNamePart(text[i]) {
            name.unicodeScalars.append(text[i])
            i += 1
        }
        return i < text.count && text[i] == "=" ? name : nil
    }

    mutating func redirection() throws(ShellSyntaxError) -> Redirection? {
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

    mutating func target() throws(ShellSyntaxError) -> Word {
        skipBlank()
        guard let c = peek(), !ShellParser.endsWord(c) else { throw unexpected() }
        return try word()
    }
}
