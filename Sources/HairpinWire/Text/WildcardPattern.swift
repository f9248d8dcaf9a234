/// A shell's pattern of `*`, which stands for any characters, and `?`, which stands for one (fnmatch(3), without brackets and escapes).
public struct WildcardPattern: Sendable, Hashable {
    private let pattern: [UInt8]
    public init(_ text: String) { pattern = Array(text.utf8) }

    /// Whether all of `text` is what the pattern says.
    ///
    /// - Complexity: O(pattern × text) at worst.
    public func matches(_ text: String) -> Bool {
        let text = Array(text.utf8)
        var p = 0
        var t = 0
        var star: (pattern: Int, text: Int)?
        while t < text.count {
            if p < pattern.count, pattern[p] == UInt8(ascii: "*") {
                star = (p, t)
                p += 1
            } else if p < pattern.count, pattern[p] == UInt8(ascii: "?") || pattern[p] == text[t] {
                p += 1
                t += 1
            } else if let last = star {
                star = (last.pattern, last.text + 1)
                p = last.pattern + 1
                t = last.text + 1
            } else {
                return false
            }
        }
        return pattern[p...].allSatisfy { $0 == UInt8(ascii: "*") }
    }
}
