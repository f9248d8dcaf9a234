/// The parts of an http or https URL.
struct WebURL {
    var scheme: String
    var host: String
    var port: UInt16
    var hasPort: Bool
    /// Path and query, beginning with a slash.
    var target: String
    var credentials: String?

    enum Failure: Error {
        case malformed
        case unsupportedScheme(String)
    }

    /// The scheme may be missing (http). Nil host, spaces or a bad port are malformed.
    init(_ text: String) throws(Failure) {
        var rest = Substring(text)
        scheme = "http"
        if let range = text.range(of: "://") {
            scheme = text[..<range.lowerBound].lowercased()
            rest = text[range.upperBound...]
        }
        guard scheme == "http" || scheme == "https" else { throw .unsupportedScheme(scheme) }
        guard !rest.contains(where: { $0 == " " || $0.isNewline }) else { throw .malformed }
        let authorityEnd = rest.firstIndex { "/?#".contains($0) } ?? rest.endIndex
        var authority = rest[..<authorityEnd]
        var path = rest[authorityEnd...].prefix { $0 != "#" }
        if path.isEmpty { path = "/" }
        target = path.hasPrefix("/") ? String(path) : "/" + path
        if let at = authority.lastIndex(of: "@") {
            credentials = String(authority[..<at])
            authority = authority[authority.index(after: at)...]
        }
        port = scheme == "https" ? 443 : 80
        hasPort = false
        if let colon = authority.lastIndex(of: ":") {
            let digits = authority[authority.index(after: colon)...]
            if !digits.isEmpty {
                guard let number = UInt16(digits), number > 0 else { throw .malformed }
                hasPort = number != port
                port = number
            }
            authority = authority[..<colon]
        }
        guard !authority.isEmpty else { throw .malformed }
        host = String(authority)
    }

    /// For the Host field: the port only where it is not the scheme's own.
    var hostField: String { hasPort ? "\(host):\(port)" : host }
    var description: String { "\(scheme)://\(hostField)\(target)" }
}

extension String {
    /// The first place where `other` stands.
    func range(of other: String) -> Range<String.Index>? {
        let haystack = Array(utf8)
        let needle = Array(other.utf8)
        guard !needle.isEmpty, haystack.count >= needle.count else { return nil }
        for start in 0...(haystack.count - needle.count) where haystack[start..<(start + needle.count)].elementsEqual(needle) {
            return utf8.index(startIndex, offsetBy: start)..<utf8.index(startIndex, offsetBy: start + needle.count)
        }
        return nil
    }
    func replacing(_ old: String, with new: String) -> String {
        var result = ""
        var rest = self
        while let range = rest.range(of: old) {
            result += rest[..<range.lowerBound] + new
            rest = String(rest[range.upperBound...])
        }
        return result + rest
    }
}
