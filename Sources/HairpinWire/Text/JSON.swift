/// JSON as programs exchange and print it (RFC 8259): objects keep their order.
public indirect enum JSON: Hashable, Sendable {
    case null, bool(Bool), int(Int), double(Double), string(String), array([JSON]), object([Member])

    public struct Member: Hashable, Sendable {
        public var name: String
        public var value: JSON
        public init(_ name: String, _ value: JSON) { (self.name, self.value) = (name, value) }
    }

    public static func make(_ members: [(String, JSON)]) -> JSON {
        var list: [Member] = []
        for member in members { list.append(Member(member.0, member.1)) }
        return .object(list)
    }

    public subscript(_ name: String) -> JSON? {
        guard case .object(let members) = self else { return nil }
        for member in members where member.name == name { return member.value }
        return nil
    }

    public var int: Int? {
        switch self {
        case .int(let value): value
        case .double(let value): Int(exactly: value.rounded(.towardZero))
        default: nil
        }
    }
    public var double: Double? {
        switch self {
        case .int(let value): Double(value)
        case .double(let value): value
        default: nil
        }
    }
    public var string: String? { if case .string(let value) = self { value } else { nil } }
    public var isTrue: Bool { self == .bool(true) || self == .int(1) }
    public var items: [JSON] { if case .array(let items) = self { items } else { [] } }

    // MARK: Writing

    /// Without spaces (`cJSON_PrintUnformatted`).
    public var compact: String {
        switch self {
        case .array(let items): "[" + items.map(\.compact).joined(separator: ",") + "]"
        case .object(let members): "{" + members.map { JSONString.quoted($0.name) + ":" + $0.value.compact }.joined(separator: ",") + "}"
        default: scalar
        }
    }

    /// In the layout of `cJSON_Print`: tabs, the members of an object in lines of their own, arrays in one line.
    public func pretty(depth: Int = 0) -> String {
        switch self {
        case .array(let items): return "[" + items.map { $0.pretty(depth: depth + 1) }.joined(separator: ", ") + "]"
        case .object(let members):
            if members.isEmpty { return "{\n" + String(repeating: "\t", count: depth) + "}" }
            let indent = String(repeating: "\t", count: depth + 1)
            let lines = members.map { "\(indent)\(JSONString.quoted($0.name)):\t\($0.value.pretty(depth: depth + 1))" }
            return "{\n" + lines.joined(separator: ",\n") + "\n" + String(repeating: "\t", count: depth) + "}"
        default: return scalar
        }
    }

    private var scalar: String {
        switch self {
        case .bool(let value): value ? "true" : "false"
        case .int(let value): String(value)
        case .double(let value): value.isFinite ? (Int(exactly: value).map { String($0) } ?? "\(value)") : "null"
        case .string(let value): JSONString.quoted(value)
        default: "null"
        }
    }

    // MARK: Reading

    /// Nil for anything but one JSON value; deeper than 64 levels is refused.
    public init?(_ bytes: some Collection<UInt8>) {
        guard let value = try? JSON(parsing: Array(bytes)) else { return nil }
        self = value
    }

    /// Where a text stops being JSON.
    public struct Problem: Error, Hashable, Sendable {
        /// Both counted from one; the column in bytes.
        public let line: Int, column: Int
        /// The text ends before its value does.
        public let isCutOff: Bool
    }

    /// One JSON value, with nothing but blanks around it; deeper than 64 levels is refused.
    public init(parsing bytes: [UInt8]) throws(Problem) {
        var parser = Parser(bytes: bytes)
        let value = parser.value(depth: 0)
        parser.skipSpace()
        guard let value, parser.at == bytes.count else {
            let end = min(parser.at, bytes.count)
            let last = bytes[..<end].lastIndex(of: 10)
            throw Problem(line: 1 + bytes[..<end].count { $0 == 10 }, column: end - (last ?? -1), isCutOff: end == bytes.count)
        }
        self = value
    }

    private struct Parser {
        let bytes: [UInt8]
        var at = 0

        init(bytes: [UInt8]) { self.bytes = bytes }

        mutating func skipSpace() {
            while at < bytes.count, bytes[at] == 32 || bytes[at] == 10 || bytes[at] == 9 || bytes[at] == 13 { at += 1 }
        }

        mutating func take(_ character: Character) -> Bool {
            skipSpace()
            guard at < bytes.count, bytes[at] == character.asciiValue else { return false }
            at += 1
            return true
        }

        mutating func word(_ text: String) -> Bool {
            guard bytes[at...].starts(with: text.utf8) else { return false }
            at += text.utf8.count
            return true
        }

        mutating func value(depth: Int) -> JSON? {
            skipSpace()
            guard depth < 64, at < bytes.count else { return nil }
            switch bytes[at] {
            case UInt8(ascii: "{"): return object(depth)
            case UInt8(ascii: "["): return array(depth)
            case UInt8(ascii: "\""): return string().map { .string($0) }
            case UInt8(ascii: "t"): return word("true") ? .bool(true) : nil
            case UInt8(ascii: "f"): return word("false") ? .bool(false) : nil
            case UInt8(ascii: "n"): return word("null") ? .null : nil
            default: return number()
            }
        }

        private mutating func object(_ depth: Int) -> JSON? {
            at += 1
            var members: [Member] = []
            if take("}") { return .object(members) }
            repeat {
                skipSpace()
                guard let name = string(), take(":"), let value = value(depth: depth + 1) else { return nil }
                members.append(Member(name, value))
            } while take(",")
            return take("}") ? .object(members) : nil
        }

        private mutating func array(_ depth: Int) -> JSON? {
            at += 1
            var items: [JSON] = []
            if take("]") { return .array(items) }
            repeat {
                guard let value = value(depth: depth + 1) else { return nil }
                items.append(value)
            } while take(",")
            return take("]") ? .array(items) : nil
        }

        private mutating func string() -> String? {
            guard at < bytes.count, bytes[at] == UInt8(ascii: "\"") else { return nil }
            at += 1
            var result: [UInt8] = []
            while at < bytes.count {
                let byte = bytes[at]
                at += 1
                if byte == UInt8(ascii: "\"") { return String(decoding: result, as: UTF8.self) }
                guard byte == UInt8(ascii: "\\") else {
                    result.append(byte)
                    continue
                }
                guard at < bytes.count else { return nil }
                let escape = bytes[at]
                at += 1
                switch escape {
                case UInt8(ascii: "n"): result.append(10)
                case UInt8(ascii: "t"): result.append(9)
                case UInt8(ascii: "r"): result.append(13)
                case UInt8(ascii: "b"): result.append(8)
                case UInt8(ascii: "f"): result.append(12)
                case UInt8(ascii: "u"):
                    guard at + 4 <= bytes.count, let value = UInt32(String(decoding: bytes[at..<at + 4], as: UTF8.self), radix: 16) else { return nil }
                    at += 4
                    result += Array(String(Character(Unicode.Scalar(value) ?? "\u{fffd}")).utf8)
                default: result.append(escape)
                }
            }
            return nil
        }

        private mutating func number() -> JSON? {
            let start = at
            while at < bytes.count, "+-.eE0123456789".utf8.contains(bytes[at]) { at += 1 }
            let text = String(decoding: bytes[start..<at], as: UTF8.self)
            if let value = Int(text) { return .int(value) }
            return Double(text).map { .double($0) }
        }
    }
}
