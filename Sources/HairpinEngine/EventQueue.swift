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

/// Pending events in canonical order: by time, then by source. Equal times and sources keep their order of `note`, which the caller may use
/// as a generation or a sequence number.
///
/// A 4-ary heap of 128-bit keys (time ‖ source ‖ note): one comparison is one subtraction with borrow, and the least of four children is found
/// without branches. Push and pop are O(log₄ n); nothing is allocated once the heap has grown to the working set.
public struct EventQueue: ~Copyable {
    @usableFromInline var keys: UnsafeMutablePointer<UInt128>
    @usableFromInline var capacity: Int
    public private(set) var count = 0

    public init(capacity: Int = 1024) {
        self.capacity = max(capacity, 16)
        keys = EventQueue.allocate(self.capacity)
    }
    deinit { EventQueue.free(keys) }

    // Children of i are 4i+1 … 4i+4. Aligning index 1 to 64 bytes puts each family of four in one cache line.
    private static func allocate(_ capacity: Int) -> UnsafeMutablePointer<UInt128> {
        let raw = UnsafeMutableRawPointer.allocate(byteCount: (capacity + 8) * 16, alignment: 64)
        return (raw + 48).bindMemory(to: UInt128.self, capacity: capacity + 4)
    }
    private static func free(_ keys: UnsafeMutablePointer<UInt128>) { (UnsafeMutableRawPointer(keys) - 48).deallocate() }

    public var isEmpty: Bool { count == 0 }
    /// The time of the next event; `.distantFuture` if there is none.
    public var nextTime: Instant { count == 0 ? .distantFuture : Instant(nanoseconds: UInt64(truncatingIfNeeded: keys[0] >> 64)) }

    /// What the next event is about. The queue must not be empty.
    public var nextSource: EventSource { EventSource(rawValue: UInt32(truncatingIfNeeded: UInt64(truncatingIfNeeded: keys[0]) >> 32)) }

    public mutating func push(_ time: Instant, _ source: EventSource, note: UInt32 = 0) {
        if count == capacity { grow() }
        let key = UInt128(time.nanoseconds) << 64 | UInt128(UInt64(source.rawValue) << 32 | UInt64(note))
        var hole = count
        count &+= 1
        while hole > 0 {
            let parent = (hole &- 1) >> 2
            if keys[parent] <= key { break }
            keys[hole] = keys[parent]
            hole = parent
        }
        keys[hole] = key
    }

    /// Removes and returns the next event. The queue must not be empty.
    public mutating func pop() -> (time: Instant, source: EventSource, note: UInt32) {
        precondition(count > 0, "pop from an empty event queue")
        let top = keys[0]
        count &-= 1
        if count > 0 {
            let key = keys[count]
            var hole = 0
            while true {
                let first = hole &* 4 &+ 1
                if first &+ 3 < count {
                    let a = keys[first &+ 1] < keys[first] ? first &+ 1 : first
                    let b = keys[first &+ 3] < keys[first &+ 2] ? first &+ 3 : first &+ 2
                    let least = keys[b] < keys[a] ? b : a
                    if key <= keys[least] { break }
                    keys[hole] = keys[least]
                    hole = least
                } else {
                    if first >= count { break }
                    var least = first
                    var child = first &+ 1
                    while child < count {
                        if keys[child] < keys[least] { least = child }
                        child &+= 1
                    }
                    if key <= keys[least] { break }
                    keys[hole] = keys[least]
                    hole = least
                }
            }
            keys[hole] = key
        }
        let low = UInt64(truncatingIfNeeded: top)
        return (
            Instant(nanoseconds: UInt64(truncatingIfNeeded: top >> 64)), EventSource(rawValue: UInt32(truncatingIfNeeded: low >> 32)), UInt32(truncatingIfNeeded: low)
        )
    }

    private mutating func grow() {
        let larger = EventQueue.allocate(capacity * 2)
        larger.update(from: keys, count: count)
        EventQueue.free(keys)
        keys = larger
        capacity *= 2
    }
}
