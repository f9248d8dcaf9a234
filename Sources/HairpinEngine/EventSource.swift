/// What an event is about: a kind the owner of the queue defines, and an index into whatever that kind names.
///
/// Its number is the tie-breaker of the canonical order, so kind and index must be stable: they come from the topology, never from the order
/// of insertion.
@frozen
public struct EventSource: Hashable, Sendable {
    public let rawValue: UInt32
    /// `kind` in 0..<64, `index` in 0..<2^26.
    @inlinable public init(kind: UInt32, index: UInt32) {
        assert(kind < 64 && index < 1 << 26, "event source out of range")
        rawValue = kind << 26 | index
    }
    @inlinable init(rawValue: UInt32) { self.rawValue = rawValue }
    @inlinable public var kind: UInt32 { rawValue >> 26 }
    @inlinable public var index: UInt32 { rawValue & 0x03ff_ffff }
}

/// A pending event as one number, whose order is the canonical order: time ‖ source ‖ note.
@frozen
public struct EventKey: Hashable, Comparable, Sendable {
    @usableFromInline let rawValue: UInt128

    @inlinable @inline(__always) init(rawValue: UInt128) { self.rawValue = rawValue }
    @inlinable @inline(__always) public init(_ time: Instant, _ source: EventSource, note: UInt32) {
        rawValue = UInt128(time.nanoseconds) << 64 | UInt128(UInt64(source.rawValue) << 32 | UInt64(note))
    }
    @inlinable @inline(__always) public var time: Instant { Instant(nanoseconds: UInt64(truncatingIfNeeded: rawValue >> 64)) }
    @inlinable @inline(__always) public var source: EventSource { EventSource(rawValue: UInt32(truncatingIfNeeded: UInt64(truncatingIfNeeded: rawValue) >> 32)) }
    @inlinable @inline(__always) public var note: UInt32 { UInt32(truncatingIfNeeded: rawValue) }
    /// Source and note in one word, for digests.
    @inlinable @inline(__always) public var tieBreaker: UInt64 { UInt64(truncatingIfNeeded: rawValue) }

    @inlinable @inline(__always) public static func < (a: EventKey, b: EventKey) -> Bool { a.rawValue < b.rawValue }
}
