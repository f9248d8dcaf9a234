import Foundation
import HairpinWire

/// Kubernetes' rules for names (RFC 1123 and RFC 1035 labels, environment variables), with errors worded as the API server words them.
enum Names {
    static func isLabel(_ text: String) -> Bool {
        (1...63).contains(text.utf8.count) && text.utf8.allSatisfy { isLowercaseAlphanumeric($0) || $0 == UInt8(ascii: "-") }
            && isLowercaseAlphanumeric(text.utf8.first!) && isLowercaseAlphanumeric(text.utf8.last!)
    }
    static func isSubdomain(_ text: String) -> Bool {
        text.utf8.count <= 253
            && text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy {
                !$0.isEmpty && $0.utf8.allSatisfy { isLowercaseAlphanumeric($0) || $0 == UInt8(ascii: "-") }
                    && isLowercaseAlphanumeric($0.utf8.first!) && isLowercaseAlphanumeric($0.utf8.last!)
            }
    }
    /// An IPv4 or IPv6 address.
    static func isAddress(_ text: String) -> Bool {
        var bytes = in6_addr()
        return IPv4Address(text) != nil || inet_pton(AF_INET6, text, &bytes) == 1
    }
    static func isLowercaseAlphanumeric(_ byte: UInt8) -> Bool { (97...122).contains(byte) || (48...57).contains(byte) }

    private static let labelRule = "Use at most 63 lower case letters, digits and \"-\", and begin and end with a letter or a digit."

    static func label(_ value: YAMLValue) throws(InputError) -> String {
        let text = try value.string()
        guard isLabel(text) else { throw value.error(problem: "is not a lowercase RFC 1123 label", fix: example(text) + labelRule) }
        return text
    }
    static func subdomain(_ value: YAMLValue) throws(InputError) -> String {
        let text = try value.string()
        guard isSubdomain(text) else {
            throw value.error(
                problem: "is not a lowercase RFC 1123 subdomain",
                fix: example(text) + "Use lower case letters, digits, \"-\" and \".\", and begin and end with a letter or a digit.")
        }
        return text
    }
    /// The name of a Service is a DNS label that begins with a letter (RFC 1035 §2.3.1).
    static func serviceName(_ value: YAMLValue) throws(InputError) -> String {
        let text = try value.string()
        guard isLabel(text), (97...122).contains(text.utf8.first!) else {
            throw value.error(
                problem: "is not a DNS-1035 label",
                fix: example(text) + "Use at most 63 lower case letters, digits and \"-\", begin with a letter and end with a letter or a digit.")
        }
        return text
    }
    /// The name of a container's port (IANA service name: at most 15 characters, one of them a letter).
    static func portName(_ value: YAMLValue) throws(InputError) -> String {
        let text = try value.string()
        guard isPortName(text) else {
            throw value.error(problem: "is not a valid port name", fix: "Use at most 15 lower case letters, digits and single \"-\", at least one letter among them.")
        }
        return text
    }
    static func isPortName(_ text: String) -> Bool {
        text.utf8.count <= 15 && isLabel(text) && !text.contains("--") && text.utf8.contains { (97...122).contains($0) }
    }
    static func labels(_ value: YAMLValue?) throws(InputError) -> [String: String] {
        guard let value else { return [:] }
        var result: [String: String] = [:]
        for (key, text) in try value.stringMap() {
            guard text.isEmpty || isLabelValue(text) else { throw notLabel(value[key] ?? value) }
            result[key] = text
        }
        return result
    }
    static func labelValue(_ value: YAMLValue) throws(InputError) -> String {
        let text = try value.string()
        guard text.isEmpty || isLabelValue(text) else { throw notLabel(value) }
        return text
    }
    private static func notLabel(_ value: YAMLValue) -> InputError {
        value.error(
            problem: "is not a valid label value", fix: "Use at most 63 letters, digits, \"-\", \"_\" and \".\", and begin and end with a letter or a digit.")
    }
    private static func isLabelValue(_ text: String) -> Bool {
        func isAlphanumeric(_ byte: UInt8) -> Bool { (97...122).contains(byte | 32) || (48...57).contains(byte) }
        return text.utf8.count <= 63 && text.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ".") }
            && isAlphanumeric(text.utf8.first!) && isAlphanumeric(text.utf8.last!)
    }
    /// "Write "web-1". " when lower case and hyphens would do.
    private static func example(_ text: String) -> String {
        let changed = String(text.lowercased().map { $0 == "_" || $0 == " " ? "-" : $0 })
        return changed != text && isLabel(changed) ? "Write \"\(changed)\". " : ""
    }
}
