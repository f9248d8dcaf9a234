/// A cursor over a script's bytes. What a character means depends on where it stands (a flag word, a hex cookie, Python), so there is no token
/// list: the parsers ask for what may come next, and a refusal names line, column and what was expected.
struct ScriptScanner {
    let bytes: [UInt8]
    let file: String
    let defines: [String: String]
    private(set) var at = 0
    private(set) var line = 1
    private(set) var lineStart = 0

    init(text: String, file: String, defines: [String: String]) {
        bytes = Array(text.utf8)
        self.file = file
        self.defines = defines
    }

    var position: ScriptPosition { ScriptPosition(line: line, column: at - lineStart + 1) }
    var isAtEnd: Bool { at >= bytes.count }
    func peek(_ offset: Int = 0) -> UInt8 { at + offset < bytes.count ? bytes[at + offset] : 0 }

    mutating func advance(_ count: Int = 1) {
        for _ in 0..<count where at < bytes.count {
            if bytes[at] == UInt8(ascii: "\n") {
                line += 1
                lineStart = at + 1
            }
            at += 1
        }
    }

    /// Goes back to a place `saved` earlier.
    mutating func restore(_ saved: ScriptScanner) { (at, line, lineStart) = (saved.at, saved.line, saved.lineStart) }

    // MARK: refusals

    func refusal(_ expected: String) -> ScriptError { refusal(expected, at: position) }

    func refusal(_ expected: String, at place: ScriptPosition, found: String? = nil) -> ScriptError {
        ScriptError(file: file, line: place.line, column: place.column, expected: expected, found: found ?? whatStandsHere())
    }

    private func whatStandsHere() -> String {
        guard at < bytes.count else { return "the end of the file" }
        var end = at
        if ScriptScanner.isWord(bytes[at]) {
            while end < bytes.count, ScriptScanner.isWord(bytes[end]), end - at < 40 { end += 1 }
        } else {
            end += 1
            while end < bytes.count, bytes[end] & 0xc0 == 0x80 { end += 1 }
        }
        if bytes[at] == UInt8(ascii: "\n") { return "the end of the line" }
        return "'\(String(decoding: bytes[at..<end], as: UTF8.self))'"
    }

    // MARK: space and comments

    static func isWord(_ c: UInt8) -> Bool {
        (48...57).contains(c) || (65...90).contains(c) || (97...122).contains(c) || c == UInt8(ascii: "_")
    }
    static func isDigit(_ c: UInt8) -> Bool { (48...57).contains(c) }

    mutating func skipSpace() throws(ScriptError) {
        while at < bytes.count {
            let c = bytes[at]
            if c == 32 || c == 9 || c == 10 || c == 13 {
                advance()
            } else if c == UInt8(ascii: "/"), peek(1) == UInt8(ascii: "/") {
                while at < bytes.count, bytes[at] != 10 { advance() }
            } else if c == UInt8(ascii: "/"), peek(1) == UInt8(ascii: "*") {
                let start = position
                advance(2)
                while !(peek() == UInt8(ascii: "*") && peek(1) == UInt8(ascii: "/")) {
                    if isAtEnd { throw refusal("'*/' to end the comment", at: start, found: "the end of the file") }
                    advance()
                }
                advance(2)
            } else {
                return
            }
        }
    }

    // MARK: pieces

    func sees(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { wanted in
            guard at + wanted.count <= bytes.count else { return false }
            for i in 0..<wanted.count where bytes[at + i] != wanted[i] { return false }
            return true
        }
    }

    /// Takes `text` if it comes next, after space.
    mutating func take(_ text: StaticString) throws(ScriptError) -> Bool {
        try skipSpace()
        guard sees(text) else { return false }
        advance(text.utf8CodeUnitCount)
        return true
    }

    mutating func require(_ text: StaticString, _ what: String? = nil) throws(ScriptError) {
        guard try take(text) else { throw refusal(what ?? "'\(text)'") }
    }

    /// The next word, defines not yet applied, without taking it.
    func word() -> String? {
        var end = at
        while end < bytes.count, ScriptScanner.isWord(bytes[end]) { end += 1 }
        return end == at ? nil : String(decoding: bytes[at..<end], as: UTF8.self)
    }

    /// Takes a word and replaces it if it is defined.
    mutating func takeWord(_ expected: String) throws(ScriptError) -> String {
        try skipSpace()
        guard let word = word() else { throw refusal(expected) }
        advance(word.utf8.count)
        return defines[word] ?? word
    }

    /// Takes the word `text` if it is the whole next word.
    mutating func takeKeyword(_ text: String) throws(ScriptError) -> Bool {
        try skipSpace()
        guard let next = word(), next == text else { return false }
        advance(next.utf8.count)
        return true
    }

    /// An integer, decimal or 0x…, with an optional minus.
    mutating func takeInteger(_ expected: String) throws(ScriptError) -> Int64 {
        try skipSpace()
        let start = position
        let negative = peek() == UInt8(ascii: "-")
        if negative { advance() }
        guard let raw = word() else { throw refusal(expected, at: start) }
        let text = defines[raw] ?? raw
        guard let value = ScriptScanner.integer(text) else { throw refusal(expected, at: start, found: "'\(raw)'") }
        advance(raw.utf8.count)
        return negative ? -value : value
    }

    static func integer(_ text: String) -> Int64? {
        if text.hasPrefix("0x") || text.hasPrefix("0X") {
            return UInt64(text.dropFirst(2), radix: 16).flatMap { Int64(exactly: $0) }
        }
        return Int64(text)
    }

    mutating func takeInteger<T: FixedWidthInteger>(_ expected: String, as type: T.Type) throws(ScriptError) -> T {
        try skipSpace()
        let start = position
        let value = try takeInteger(expected)
        guard let narrow = T(exactly: value) else { throw refusal("\(expected) from \(T.min) to \(T.max)", at: start, found: "'\(value)'") }
        return narrow
    }

    /// `12`, `.1`, `0.25` seconds as whole microseconds, truncated.
    mutating func takeMicroseconds(_ expected: String) throws(ScriptError) -> Int {
        try skipSpace()
        let start = position
        var whole = 0
        var digits = 0
        while ScriptScanner.isDigit(peek()) {
            whole = whole &* 10 &+ Int(peek() - 48)
            digits += 1
            guard digits < 10 else { throw refusal("a time of at most nine digits of seconds", at: start, found: "a longer number") }
            advance()
        }
        var micro = 0
        // "0...1" is a time followed by dots, not a decimal point.
        if peek() == UInt8(ascii: "."), !(peek(1) == UInt8(ascii: ".")) {
            advance()
            var scale = 100_000
            while ScriptScanner.isDigit(peek()) {
                micro += Int(peek() - 48) * scale
                scale /= 10
                digits += 1
                advance()
            }
        }
        guard digits > 0 else { throw refusal(expected, at: start) }
        return whole * 1_000_000 + micro
    }

    /// Everything up to `end`, which is taken too.
    mutating func takeRaw(until end: StaticString, _ what: String) throws(ScriptError) -> String {
        let start = position
        let first = at
        while !sees(end) {
            if isAtEnd { throw refusal("\(what)", at: start, found: "the end of the file") }
            advance()
        }
        let text = String(decoding: bytes[first..<at], as: UTF8.self)
        advance(end.utf8CodeUnitCount)
        return text
    }

    /// The rest of a string in quotes, its end taken too. A backslash takes the character behind it along; both stay.
    mutating func takeQuoted(_ what: String) throws(ScriptError) -> String {
        let start = position
        let first = at
        while peek() != UInt8(ascii: "\"") {
            if isAtEnd { throw refusal(what, at: start, found: "the end of the file") }
            advance(peek() == UInt8(ascii: "\\") ? 2 : 1)
        }
        let text = String(decoding: bytes[first..<at], as: UTF8.self)
        advance()
        return text
    }

    /// Hex digits of a cookie or key, in pairs; none is an empty array.
    mutating func takeHexBytes() throws(ScriptError) -> [UInt8] {
        try skipSpace()
        guard let raw = word() else { return [] }
        let start = position
        var text = defines[raw] ?? raw
        if text.hasPrefix("0x") { text.removeFirst(2) }
        let digits = text.utf8.compactMap { c -> UInt8? in Character(Unicode.Scalar(c)).hexDigitValue.map(UInt8.init) }
        guard digits.count == text.utf8.count, digits.count % 2 == 0 else { throw refusal("pairs of hex digits", at: start, found: "'\(raw)'") }
        advance(raw.utf8.count)
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }
}
