/// The shape of a script: options, a set-up block, events in time, system calls with their arguments. Packets are in `PacketParser.swift`.
struct ScriptParser {
    var scanner: ScriptScanner
    /// How deep lists and structures are nested here; more than a few levels is no script.
    private var depth = 0
    private static let deepest = 32

    init(text: String, file: String, defines: [String: String]) {
        var all = defines
        // A script's own `--define`s hold for all of it, so they are collected before the first word is read.
        for line in text.split(whereSeparator: { $0 == "\n" || $0 == "\r\n" }) {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard let first = words.first, first.hasPrefix("--") else {
                if let first = words.first, !first.hasPrefix("//") { break }
                continue
            }
            for word in words {
                let parts = word.split(separator: "=", maxSplits: 2, omittingEmptySubsequences: false)
                if parts.count == 3, parts[0] == "--define" { all[String(parts[1])] = ScriptParser.unquoted(String(parts[2])) }
            }
        }
        scanner = ScriptScanner(text: text, file: file, defines: all)
    }

    private static func unquoted(_ text: String) -> String {
        text.count >= 2 && text.hasPrefix("\"") && text.hasSuffix("\"") ? String(text.dropFirst().dropLast()) : text
    }

    mutating func script() throws(ScriptError) -> PacketdrillScript {
        var options: [ScriptOption] = []
        try scanner.skipSpace()
        while scanner.sees("--") { options.append(try option()) }
        let setup = try shell()
        var events: [ScriptEvent] = []
        while true {
            try scanner.skipSpace()
            if scanner.isAtEnd { break }
            if scanner.peek() == UInt8(ascii: "`") {
                // The clean-up block: the last thing of the script.
                _ = try shell()
                try scanner.skipSpace()
                guard scanner.isAtEnd else { throw scanner.refusal("the end of the file after the clean-up block") }
                break
            }
            let event = try event()
            try checkOrder(event, after: events.last)
            events.append(event)
        }
        guard !events.isEmpty else { throw scanner.refusal("an event") }
        return PacketdrillScript(file: scanner.file, options: options, setup: setup, events: events)
    }

    /// The first event is at time 0, and of two absolute times the second is not the earlier one.
    private func checkOrder(_ event: ScriptEvent, after last: ScriptEvent?) throws(ScriptError) {
        func text(_ microseconds: Int) -> String { String(Double(microseconds) / 1e6) }
        guard let last else {
            if event.time.start != 0 { throw scanner.refusal("a first event at time 0", at: event.position, found: text(event.time.start)) }
            return
        }
        if last.time.isAbsolute, event.time.isAbsolute, event.time.start < last.time.start {
            throw scanner.refusal("a time at or after that of the event before, \(text(last.time.start))", at: event.position, found: text(event.time.start))
        }
    }

    private mutating func option() throws(ScriptError) -> ScriptOption {
        let position = scanner.position
        scanner.advance(2)
        var name = try scanner.takeWord("the name of an option")
        while scanner.peek() == UInt8(ascii: "-"), ScriptScanner.isWord(scanner.peek(1)) {
            scanner.advance()
            name += "-" + (try scanner.takeWord("the name of an option"))
        }
        var value: String?
        if scanner.peek() == UInt8(ascii: "=") {
            scanner.advance()
            if scanner.peek() == UInt8(ascii: "\"") {
                scanner.advance()
                value = try scanner.takeRaw(until: "\"", "'\"' to end the value")
            } else {
                let first = scanner.at
                while !scanner.isAtEnd, ![32, 9, 10, 13].contains(scanner.peek()) { scanner.advance() }
                value = String(decoding: scanner.bytes[first..<scanner.at], as: UTF8.self)
                if value == "" { throw scanner.refusal("a value of --\(name)") }
            }
        }
        try scanner.skipSpace()
        return ScriptOption(position: position, name: name, value: value)
    }

    private mutating func shell() throws(ScriptError) -> ShellText? {
        try scanner.skipSpace()
        guard scanner.peek() == UInt8(ascii: "`") else { return nil }
        let position = scanner.position
        scanner.advance()
        return ShellText(position: position, text: try scanner.takeRaw(until: "`", "'`' to end the shell text"))
    }

    // MARK: events

    private mutating func event() throws(ScriptError) -> ScriptEvent {
        let position = scanner.position
        let time = try eventTime()
        var returnTime: Int?
        if try scanner.take("...") {
            let isRelative = try scanner.take("+")
            returnTime = try scanner.takeMicroseconds("the time at which the call returns")
            if isRelative, case .absolute = time { throw scanner.refusal("a return time on the same base as the start of the call") }
            switch time {
            case .absolute, .relative: break
            default: throw scanner.refusal("one start time for a call that may block")
            }
        }
        try scanner.skipSpace()
        let action: ScriptAction
        switch scanner.peek() {
        case UInt8(ascii: "<"):
            action = .inbound(try packet(isOutbound: false))
        case UInt8(ascii: ">"):
            action = .outbound(try packet(isOutbound: true))
        case UInt8(ascii: "`"):
            guard let text = try shell() else { throw scanner.refusal("shell text") }
            action = .shell(text)
        case UInt8(ascii: "%") where scanner.peek(1) == UInt8(ascii: "{"):
            scanner.advance(2)
            action = .code(try scanner.takeRaw(until: "}%", "'}%' to end the code"))
        case let c where ScriptScanner.isWord(c) && !ScriptScanner.isDigit(c):
            action = .call(try call())
        default:
            throw scanner.refusal("a packet ('<' or '>'), a system call, '`' or '%{'")
        }
        switch (time, action) {
        case (.absolute, _), (.relative, _), (_, .outbound): break
        default: throw scanner.refusal("one time, not a range or '*', for anything but an outbound packet", at: position, found: "a range")
        }
        if returnTime != nil {
            guard case .call = action else { throw scanner.refusal("a system call after a time with a return time", at: position, found: "another event") }
        }
        return ScriptEvent(position: position, time: time, returnTime: returnTime, action: action)
    }

    private mutating func eventTime() throws(ScriptError) -> EventTime {
        let what = "a time ('0.1', '+0.1', '+0.1~+0.2' or '*')"
        if try scanner.take("*") { return .any }
        if try scanner.take("+") {
            let first = try scanner.takeMicroseconds(what)
            guard try scanner.take("~") else { return .relative(first) }
            _ = try scanner.take("+")
            let start = scanner.position
            let second = try scanner.takeMicroseconds(what)
            guard second >= first else { throw scanner.refusal("an end of the range at or after its start", at: start, found: "an earlier time") }
            return .relativeRange(first, second)
        }
        let first = try scanner.takeMicroseconds(what)
        guard try scanner.take("~") else { return .absolute(first) }
        let start = scanner.position
        let second = try scanner.takeMicroseconds(what)
        guard second >= first else { throw scanner.refusal("an end of the range at or after its start", at: start, found: "an earlier time") }
        return .absoluteRange(first, second)
    }

    // MARK: system calls

    private mutating func call() throws(ScriptError) -> ScriptCall {
        let name = try scanner.takeWord("the name of a system call")
        try scanner.require("(", "'(' after \(name)")
        let arguments = try list(end: ")")
        try scanner.require("=", "'=' and the result of \(name)")
        let result = try expression()
        var errno: String?
        try scanner.skipSpace()
        if scanner.word() != nil, !ScriptScanner.isDigit(scanner.peek()) { errno = try scanner.takeWord("an error name") }
        try scanner.skipSpace()
        if scanner.peek() == UInt8(ascii: "(") {
            scanner.advance()
            _ = try scanner.takeRaw(until: ")", "')' to end the comment on the result")
        }
        return ScriptCall(name: name, arguments: arguments, result: result, errno: errno)
    }

    /// Expressions up to `end`, which is taken.
    private mutating func list(end: StaticString, takesNames: Bool = false) throws(ScriptError) -> [ScriptExpression] {
        var items: [ScriptExpression] = []
        if try scanner.take(end) { return items }
        repeat {
            let item = try expression()
            // `NAME=value`, as the statistics of a timestamp are written.
            if takesNames, case .word(let name) = item, try scanner.take("=") {
                items.append(.structure([ScriptField(name: name, argument: nil, value: try expression())]))
            } else {
                items.append(item)
            }
        } while try scanner.take(",")
        try scanner.require(end, "',' or '\(end)'")
        return items
    }

    private mutating func expression() throws(ScriptError) -> ScriptExpression {
        guard depth < ScriptParser.deepest else { throw scanner.refusal("fewer than \(ScriptParser.deepest) levels of nesting") }
        depth += 1
        defer { depth -= 1 }
        let first = try term()
        guard try scanner.take("|") else { return first }
        var terms = [first]
        repeat { terms.append(try term()) } while try scanner.take("|")
        return .mask(terms)
    }

    private mutating func term() throws(ScriptError) -> ScriptExpression {
        try scanner.skipSpace()
        if try scanner.take("...") { return .ellipsis }
        switch scanner.peek() {
        case UInt8(ascii: "["):
            scanner.advance()
            return .list(try list(end: "]", takesNames: true))
        case UInt8(ascii: "{"):
            scanner.advance()
            return .structure(try fields())
        case UInt8(ascii: "\""):
            // Literals that stand side by side are one string.
            var text = ""
            while scanner.peek() == UInt8(ascii: "\"") {
                scanner.advance()
                text += try scanner.takeQuoted("'\"' to end the string")
                try scanner.skipSpace()
            }
            return .string(text)
        case let c where c == UInt8(ascii: "-") || ScriptScanner.isDigit(c):
            return .integer(try scanner.takeInteger("a number"))
        case let c where ScriptScanner.isWord(c):
            let word = try scanner.takeWord("a value")
            if let value = ScriptScanner.integer(word) { return .integer(value) }
            if scanner.peek() == UInt8(ascii: "(") {
                scanner.advance()
                return .function(word, try list(end: ")"))
            }
            return .word(word)
        default:
            throw scanner.refusal("a value ('...', a number, a name, a string, '[' or '{')")
        }
    }

    private mutating func fields() throws(ScriptError) -> [ScriptField] {
        var fields: [ScriptField] = []
        if try scanner.take("}") { return fields }
        repeat {
            try scanner.skipSpace()
            let saved = scanner
            if !ScriptScanner.isDigit(scanner.peek()), scanner.word() != nil {
                let name = try scanner.takeWord("a field")
                var argument: ScriptExpression?
                if try scanner.take("(") {
                    argument = try expression()
                    try scanner.require(")")
                }
                if try scanner.take("=") {
                    fields.append(ScriptField(name: name, argument: argument, value: try expression()))
                    continue
                }
                scanner.restore(saved)
            }
            fields.append(ScriptField(name: nil, argument: nil, value: try expression()))
        } while try scanner.take(",")
        try scanner.require("}", "',' or '}'")
        return fields
    }
}
