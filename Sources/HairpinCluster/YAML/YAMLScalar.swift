/// What a scalar without quotation marks stands for.
enum YAMLScalar {
    /// The core schema, with the words and the octal form of YAML 1.1 that Kubernetes still takes.
    static func resolve(_ text: String) -> YAMLValue.Content {
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON": return .bool(true)
        case "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF": return .bool(false)
        default: break
        }
        guard let first = text.utf8.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") || first == UInt8(ascii: ".") || (48...57).contains(first) else {
            return .string(text)
        }
        if let number = integer(text) { return .integer(number) }
        if text.utf8.allSatisfy({
            (48...57).contains($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "+") || $0 | 32 == UInt8(ascii: "e")
        }),
            text.utf8.contains(where: { (48...57).contains($0) }), let number = Double(text)
        {
            return .real(number)
        }
        return .string(text)
    }

    private static func integer(_ text: String) -> Int? {
        var digits = Substring(text)
        var sign = ""
        if let first = digits.first, first == "-" || first == "+" {
            sign = first == "-" ? "-" : ""
            digits.removeFirst()
        }
        guard digits.first?.isNumber == true else { return nil }
        if digits.hasPrefix("0x") { return Int(sign + digits.dropFirst(2), radix: 16) }
        if digits.hasPrefix("0o") { return Int(sign + digits.dropFirst(2), radix: 8) }
        if digits.hasPrefix("0b") { return Int(sign + digits.dropFirst(2), radix: 2) }
        if digits.hasPrefix("0"), digits.count > 1 { return Int(sign + digits.dropFirst(), radix: 8) }
        return Int(sign + digits)
    }
}
