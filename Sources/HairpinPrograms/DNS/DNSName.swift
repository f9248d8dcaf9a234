/// A domain name: labels of 1 to 63 bytes, at most 255 bytes on the wire (RFC 1035 §3.1). Compares without regard to ASCII case.
public struct DNSName: Hashable, Sendable, CustomStringConvertible {
    public let labels: [[UInt8]]

    init(labels: [[UInt8]]) { self.labels = labels }

    /// Parses "web.default.svc.cluster.local", with or without the final dot. Nil for empty or overlong labels. `\.` and `\DDD` are understood.
    public init?(_ text: some StringProtocol) {
        if text.isEmpty || text == "." {
            labels = []
            return
        }
        var labels: [[UInt8]] = []
        var label: [UInt8] = []
        var length = 1
        let bytes = Array(text.utf8)
        var i = 0
        func isDigit(_ k: Int) -> Bool { k < bytes.count && (48...57).contains(bytes[k]) }
        while i < bytes.count {
            if bytes[i] == 46 {
                guard !label.isEmpty else { return nil }
                labels.append(label)
                label = []
            } else if bytes[i] == 92, isDigit(i + 1), isDigit(i + 2), isDigit(i + 3) {
                let value = Int(bytes[i + 1] - 48) * 100 + Int(bytes[i + 2] - 48) * 10 + Int(bytes[i + 3] - 48)
                guard let byte = UInt8(exactly: value) else { return nil }
                label.append(byte)
                i += 3
            } else {
                if bytes[i] == 92, i + 1 < bytes.count { i += 1 }
                label.append(bytes[i])
            }
            guard label.count <= 63 else { return nil }
            i += 1
        }
        if !label.isEmpty { labels.append(label) }
        for label in labels { length += label.count + 1 }
        guard length <= 255 else { return nil }
        self.labels = labels
    }

    public static let root = DNSName(labels: [])

    /// With the final dot; bytes outside printable ASCII as `\DDD` (RFC 4343 §2.1).
    public var description: String {
        if labels.isEmpty { return "." }
        var text = ""
        for label in labels {
            for byte in label {
                if byte == 46 || byte == 92 {
                    text += "\\" + String(UnicodeScalar(byte))
                } else if byte > 32, byte < 127 {
                    text.unicodeScalars.append(UnicodeScalar(byte))
                } else {
                    text += "\\" + leftPadded(Int(byte), 3, with: "0")
                }
            }
            text += "."
        }
        return text
    }
    /// Without the final dot, in lower case: the form in which tables are keyed.
    public var key: String {
        var text = DNSName(labels: labels.map { $0.map(DNSName.lowered) }).description
        text.removeLast()
        return text
    }

    private static func lowered(_ byte: UInt8) -> UInt8 { (65...90).contains(byte) ? byte | 32 : byte }

    public static func == (a: DNSName, b: DNSName) -> Bool {
        a.labels.count == b.labels.count && zip(a.labels, b.labels).allSatisfy { $0.elementsEqual($1) { lowered($0) == lowered($1) } }
    }
    public func hash(into hasher: inout Hasher) {
        for label in labels { for byte in label { hasher.combine(DNSName.lowered(byte)) } }
    }
    static func + (a: DNSName, b: DNSName) -> DNSName { DNSName(labels: a.labels + b.labels) }
}
