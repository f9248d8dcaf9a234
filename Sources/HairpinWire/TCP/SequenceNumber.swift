/// A TCP sequence number: arithmetic modulo 2^32 (RFC 9293 §3.4). Comparisons hold only between numbers less than half the space apart.
@frozen
public struct SequenceNumber: Hashable, Sendable, CustomStringConvertible {
    public var rawValue: UInt32
    @inlinable public init(_ rawValue: UInt32) { self.rawValue = rawValue }

    @inlinable public static func + (a: SequenceNumber, n: Int) -> SequenceNumber { SequenceNumber(a.rawValue &+ UInt32(truncatingIfNeeded: n)) }
    @inlinable public static func - (a: SequenceNumber, n: Int) -> SequenceNumber { SequenceNumber(a.rawValue &- UInt32(truncatingIfNeeded: n)) }
    @inlinable public static func += (a: inout SequenceNumber, n: Int) { a = a + n }
    /// The signed distance from `b` to `a`.
    @inlinable public static func - (a: SequenceNumber, b: SequenceNumber) -> Int { Int(Int32(bitPattern: a.rawValue &- b.rawValue)) }
    @inlinable public func isBefore(_ other: SequenceNumber) -> Bool { self - other < 0 }
    @inlinable public func isAfter(_ other: SequenceNumber) -> Bool { self - other > 0 }
    @inlinable public func isAtOrBefore(_ other: SequenceNumber) -> Bool { self - other <= 0 }
    @inlinable public func isAtOrAfter(_ other: SequenceNumber) -> Bool { self - other >= 0 }
    public var description: String { String(rawValue) }
}
