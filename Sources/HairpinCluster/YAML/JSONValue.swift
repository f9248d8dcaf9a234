import HairpinWire

/// A JSON value as kubectl prints it: keys in alphabetical order.
public enum JSONValue: Hashable, Sendable {
    case null
    case bool(Bool)
    case integer(Int)
    case real(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    /// The value of a document, without its positions.
    public init(_ node: YAMLNode) {
        switch node.content {
        case .null: self = .null
        case .bool(let value): self = .bool(value)
        case .integer(let value): self = .integer(value)
        case .real(let value): self = .real(value)
        case .string(let value): self = .string(value)
        case .sequence(let items): self = .array(items.map(JSONValue.init))
        case .mapping(let entries): self = .object(Dictionary(entries.map { ($0.key, JSONValue($0.value)) }, uniquingKeysWith: { first, _ in first }))
        }
    }

    /// A field of an object. Setting it on anything else makes it an object; setting nil removes the field.
    public subscript(key: String) -> JSONValue? {
        get { if case .object(let fields) = self { fields[key] } else { nil } }
        set {
            var fields: [String: JSONValue] = [:]
            if case .object(let old) = self { fields = old }
            fields[key] = newValue
            self = .object(fields)
        }
    }

    /// JSON text, indented by four spaces as kubectl does, without a final newline. With `indent` nil, on one line.
    public func json(indent: Int? = 0) -> String {
        func line(_ level: Int) -> String { indent == nil ? "" : "\n" + String(repeating: " ", count: level * 4) }
        let level = indent ?? 0
        switch self {
        case .null: return "null"
        case .bool(let value): return value ? "true" : "false"
        case .integer(let value): return String(value)
        case .real(let value): return "\(value)"
        case .string(let value): return JSONString.quoted(value)
        case .array(let items):
            if items.isEmpty { return "[]" }
            return "[" + items.map { line(level + 1) + $0.json(indent: indent.map { $0 + 1 }) }.joined(separator: ",") + line(level) + "]"
        case .object(let fields):
            if fields.isEmpty { return "{}" }
            let colon = indent == nil ? ":" : ": "
            return "{"
                + fields.sorted { $0.key < $1.key }.map { line(level + 1) + JSONString.quoted($0.key) + colon + $0.value.json(indent: indent.map { $0 + 1 }) }
                .joined(separator: ",") + line(level) + "}"
        }
    }
}

// MARK: YAML text

extension JSONValue {
    /// YAML text as kubectl prints it, with a final newline.
    public func yaml() -> String {
        switch self {
        case .object(let fields) where !fields.isEmpty: yamlLines(indent: 0).joined(separator: "\n") + "\n"
        case .array(let items) where !items.isEmpty: yamlLines(indent: 0).joined(separator: "\n") + "\n"
        default: yamlScalar(indent: 0) + "\n"
        }
    }

    private func yamlLines(indent: Int) -> [String] {
        let space = String(repeating: " ", count: indent)
        switch self {
        case .object(let fields):
            return fields.sorted { $0.key < $1.key }.flatMap { key, value -> [String] in
                let name = space + JSONValue.yamlWord(key) + ":"
                return switch value {
                case .object(let inner) where !inner.isEmpty: [name] + value.yamlLines(indent: indent + 2)
                // Kubernetes' emitter does not indent the items of a list below its key.
                case .array(let items) where !items.isEmpty: [name] + value.yamlLines(indent: indent)
                default: [name + " " + value.yamlScalar(indent: indent + 2)]
                }
            }
        case .array(let items):
            return items.flatMap { item -> [String] in
                switch item {
                case .object(let inner) where inner.isEmpty: return [space + "- {}"]
                case .array(let inner) where inner.isEmpty: return [space + "- []"]
                case .object, .array:
                    var lines = item.yamlLines(indent: indent + 2)
                    lines[0] = space + "- " + lines[0].dropFirst(indent + 2)
                    return lines
                default: return [space + "- " + item.yamlScalar(indent: indent + 2)]
                }
            }
        default: return [space + yamlScalar(indent: indent)]
        }
    }

    private func yamlScalar(indent: Int) -> String {
        guard case .string(let text) = self else { return json(indent: nil) }
        if text.contains("\n"), !text.unicodeScalars.contains(where: { $0.value < 32 && $0 != "\n" && $0 != "\t" }), text.first != " ", text.first != "\n" {
            let space = String(repeating: " ", count: indent)
            let trailing = text.reversed().prefix { $0 == "\n" }.count
            let mark = trailing == 0 ? "|-" : trailing == 1 ? "|" : "|+"
            var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { $0.isEmpty ? "" : space + $0 }
            if trailing > 0 { lines.removeLast() }
            return mark + "\n" + lines.joined(separator: "\n")
        }
        return JSONValue.yamlWord(text)
    }

    /// Plain where a parser would read the same string back, otherwise quoted.
    private static func yamlWord(_ text: String) -> String {
        let indicators = "-?:,[]{}#&*!|>'\"%@` "
        var isPlain =
            !text.isEmpty && text.last != " " && text.last != ":" && !text.contains(": ") && !text.contains(" #")
            && !text.unicodeScalars.contains { $0.value < 32 || $0.value == 127 }
        if let first = text.first, indicators.contains(first) {
            let second = text.dropFirst().first
            isPlain = isPlain && (first == "-" || first == "?" || first == ":") && second != nil && second != " " && !text.hasPrefix("---")
        }
        if isPlain {
            if case .string = YAMLScalar.resolve(text), !isTakenForSomethingElse(text) { return text }
            return JSONString.quoted(text)
        }
        if text.isEmpty || text.unicodeScalars.contains(where: { $0.value < 32 || $0.value == 127 }) { return JSONString.quoted(text) }
        return "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''") + "'"
    }

    /// Dates, base-60 numbers and the short truth values of YAML 1.1, which some parsers still read as such.
    private static func isTakenForSomethingElse(_ text: String) -> Bool {
        if ["y", "Y", "n", "N", "="].contains(text) { return true }
        let bytes = Array(text.utf8)
        func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }
        let isDate =
            bytes.count >= 8 && bytes[..<4].allSatisfy(isDigit) && bytes[4] == UInt8(ascii: "-") && bytes[5...].allSatisfy { isDigit($0) || "-T:.Z ".utf8.contains($0) }
        return isDate || bytes.contains(UInt8(ascii: ":")) && bytes.allSatisfy { isDigit($0) || $0 == UInt8(ascii: ":") }
    }
}
