/// A 128-bit IPv6 address. Hairpin's pods speak IPv4; this is for showing and comparing what others sent.
@frozen
public struct IPv6Address: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var high: UInt64
    public var low: UInt64

    @inlinable public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
    /// Sixteen bytes at `base`.
    @inlinable public init(loading base: UnsafeRawPointer) {
        high = UInt64(base.u32(0)) << 32 | UInt64(base.u32(4))
        low = UInt64(base.u32(8)) << 32 | UInt64(base.u32(12))
    }

    @inlinable public static func < (a: IPv6Address, b: IPv6Address) -> Bool { (a.high, a.low) < (b.high, b.low) }

    /// The eight 16-bit groups.
    private var groups: [UInt16] { (0..<8).map { UInt16(truncatingIfNeeded: ($0 < 4 ? high : low) >> (48 - 16 * UInt64($0 % 4))) } }

    /// The canonical text: lower case, the first longest run of two or more zero groups as "::" (RFC 5952 §4).
    public var description: String {
        let groups = self.groups
        var best = 0..<0
        var at = 0
        while at < 8 {
            var end = at
            while end < 8, groups[end] == 0 { end += 1 }
            if end - at >= 2, end - at > best.count { best = at..<end }
            at = max(end, at + 1)
        }
        func text(_ part: ArraySlice<UInt16>) -> String { part.map { String($0, radix: 16) }.joined(separator: ":") }
        return best.isEmpty ? text(groups[...]) : text(groups[..<best.lowerBound]) + "::" + text(groups[best.upperBound...])
    }
}
