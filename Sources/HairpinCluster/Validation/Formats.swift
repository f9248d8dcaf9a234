/// The formats of apimachinery's pkg/util/validation/validation.go (1.34): each gives what is wrong with a text, nothing when it is right.
enum Formats {
    // MARK: Names in DNS

    static func label(_ text: String) -> [String] {
        var errors = text.utf8.count > 63 ? [longerThan(63)] : []
        if !isLabel(text) {
            errors.append(
                isSubdomain(text)
                    ? "must not contain dots"
                    : regex(
                        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                        labelFormat, ["my-name", "123-abc"]))
        }
        return errors
    }
    static func subdomain(_ text: String) -> [String] {
        var errors = text.utf8.count > 253 ? [longerThan(253)] : []
        if !isSubdomain(text) {
            errors.append(
                regex(
                    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
                    "\(labelFormat)(\\.\(labelFormat))*", ["example.com"]))
        }
        return errors
    }
    /// Of a search path of resolv.conf, where names of services that begin with an underscore are looked for.
    static func subdomainWithUnderscore(_ text: String) -> [String] {
        var errors = text.utf8.count > 253 ? [longerThan(253)] : []
        let format = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
        if !isSubdomain(text, inner: "-_", leading: "_") {
            errors.append(
                regex(
                    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character",
                    "\(format)(\\.\(format))*", ["example.com"]))
        }
        return errors
    }
    /// RFC 1035 §2.3.1: the name of a Service.
    static func label1035(_ text: String) -> [String] {
        var errors = text.utf8.count > 63 ? [longerThan(63)] : []
        if !isLabel(text) || !isLower(text.utf8.first ?? 0) {
            errors.append(
                regex(
                    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
                    "[a-z]([-a-z0-9]*[a-z0-9])?", ["my-name", "abc-123"]))
        }
        return errors
    }
    /// `IsFullyQualifiedDomainName`: what is wrong, and with which part of the name; nil for the empty one.
    static func qualifiedDomain(_ text: String) -> (part: String, errors: [String])? {
        if text.isEmpty { return nil }
        let name = text.hasSuffix(".") ? String(text.dropLast()) : text
        let errors = subdomain(name)
        if !errors.isEmpty { return (name, [errors.joined(separator: ",")]) }
        let labels = name.split(separator: ".")
        if labels.count < 2 { return (name, ["should be a domain with at least two segments separated by dots"]) }
        for part in labels.map(String.init) where !label(part).isEmpty { return (part, [label(part).joined(separator: ",")]) }
        return (name, [])
    }

    // MARK: Labels and keys

    static func qualifiedName(_ text: String) -> [String] {
        let message = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
        let format = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
        let examples = ["MyName", "my.name", "123-abc"]
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count <= 2, let name = parts.last else {
            return ["a qualified name " + regex(message, format, examples) + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
        }
        var errors: [String] = []
        if parts.count == 2 { errors += parts[0].isEmpty ? ["prefix part must be non-empty"] : subdomain(parts[0]).map { "prefix part " + $0 } }
        if name.isEmpty {
            errors.append("name part must be non-empty")
        } else if name.utf8.count > 63 {
            errors.append("name part " + longerThan(63))
        }
        if name.isEmpty || !isLabelValue(name) { errors.append("name part " + regex(message, format, examples)) }
        return errors
    }
    static func labelValue(_ text: String) -> [String] {
        var errors = text.utf8.count > 63 ? [longerThan(63)] : []
        if !isLabelValue(text) {
            errors.append(
                regex(
                    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
                    "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", ["MyValue", "my_value", "12345"]))
        }
        return errors
    }
    static func configMapKey(_ text: String) -> [String] {
        var errors = text.utf8.count > 253 ? [longerThan(253)] : []
        if text.isEmpty || !text.utf8.allSatisfy({ isAlphanumeric($0) || "-._".utf8.contains($0) }) {
            errors.append(
                regex("a valid config key must consist of alphanumeric characters, '-', '_' or '.'", "[-._a-zA-Z0-9]+", ["key.name", "KEY_NAME", "key-name"]))
        }
        if text == "." || text == ".." { errors.append("must not be '\(text)'") } else if text.hasPrefix("..") { errors.append("must not start with '..'") }
        return errors
    }
    /// A name that stands in a URL's path (pkg/api/validation/path): of kinds whose names have no rule of their own.
    static func pathSegment(_ text: String) -> [String] {
        if text == "." || text == ".." { return ["may not be '\(text)'"] }
        return ["/", "%"].filter { text.contains($0) }.map { "may not contain '\($0)'" }
    }

    // MARK: Ports

    static func portNumber(_ number: Int) -> [String] { range(number, 1...65535) }
    static func range(_ number: Int, _ range: ClosedRange<Int>) -> [String] {
        range.contains(number) ? [] : ["must be between \(range.lowerBound) and \(range.upperBound), inclusive"]
    }
    /// RFC 6335 §5.1, in lower case.
    static func portName(_ text: String) -> [String] {
        var errors = text.utf8.count > 15 ? [longerThan(15)] : []
        let hyphen = UInt8(ascii: "-")
        if text.isEmpty || !text.utf8.allSatisfy({ isLowerOrDigit($0) || $0 == hyphen }) { errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)") }
        if !text.utf8.contains(where: isLower) { errors.append("must contain at least one letter (a-z)") }
        if text.contains("--") { errors.append("must not contain consecutive hyphens") }
        if text.utf8.first == hyphen || text.utf8.last == hyphen { errors.append("must not begin or end with a hyphen") }
        return errors
    }

    // MARK: Others

    static func percent(_ text: String) -> [String] {
        let digits = text.utf8.dropLast()
        if text.hasSuffix("%"), !digits.isEmpty, digits.allSatisfy({ (48...57).contains($0) }) { return [] }
        return [regex("a valid percent string must be a numeric string followed by an ending '%'", "[0-9]+%", ["1%", "93%"])]
    }
    /// Any printable ASCII but "=" (the rule of 1.34, which is more lenient than a shell).
    static func environmentName(_ text: String) -> [String] {
        if text.isEmpty { return ["environment variable name must be non-empty"] }
        if text.utf8.allSatisfy({ (32...126).contains($0) && $0 != UInt8(ascii: "=") }) { return [] }
        return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]
    }
    static func headerName(_ text: String) -> [String] {
        if !text.isEmpty, text.utf8.allSatisfy({ isAlphanumeric($0) || $0 == UInt8(ascii: "-") }) { return [] }
        return [regex("a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+", ["X-Header-Name"])]
    }

    private static let labelFormat = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    private static func longerThan(_ limit: Int) -> String { "must be no more than \(limit) characters" }
    private static func regex(_ message: String, _ format: String, _ examples: [String]) -> String {
        "\(message) (e.g. \(examples.map { "'\($0)', " }.joined(separator: " or "))regex used for validation is '\(format)')"
    }

    private static func isLower(_ byte: UInt8) -> Bool { (97...122).contains(byte) }
    private static func isLowerOrDigit(_ byte: UInt8) -> Bool { isLower(byte) || (48...57).contains(byte) }
    private static func isAlphanumeric(_ byte: UInt8) -> Bool { isLower(byte | 32) || (48...57).contains(byte) }
    /// Without its length.
    private static func isLabel(_ text: String, inner: String = "-", leading: String = "") -> Bool {
        var bytes = Array(text.utf8)[...]
        if let first = bytes.first, leading.utf8.contains(first) { bytes = bytes.dropFirst() }
        guard let first = bytes.first, let last = bytes.last, isLowerOrDigit(first), isLowerOrDigit(last) else { return false }
        return bytes.allSatisfy { isLowerOrDigit($0) || inner.utf8.contains($0) }
    }
    private static func isSubdomain(_ text: String, inner: String = "-", leading: String = "") -> Bool {
        text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { isLabel(String($0), inner: inner, leading: leading) }
    }
    private static func isLabelValue(_ text: String) -> Bool {
        guard let first = text.utf8.first, let last = text.utf8.last else { return true }
        return isAlphanumeric(first) && isAlphanumeric(last) && text.utf8.allSatisfy { isAlphanumeric($0) || "-_.".utf8.contains($0) }
    }
}
