/// Pending events in canonical order: by time, then by source. Equal times and sources keep their order of `note`, which the caller may use
/// as a generation or a sequence number.
///
/// A radix wheel behind a short stretch of time that is spread out, behind the one event that comes next. What is due after `reach` lies unsorted
/// in buckets: one bucket for each value of the highest digit (base 16) in which its time differs from `reach`, so all of a bucket is due before all
/// of the next. When the stretch is used up the earliest bucket is opened: if it has few keys they become the new stretch, many are dealt out to the
/// 16 buckets of the next lower digit. A key is thus written once for each digit it goes down, always to the end of a chunk, and then into a slot of
/// its own; there is no walk through memory that grows with the number of events, and hardly a branch that depends on it (ladder queue, Tang, Goh
/// and Thng 2005; calendar queue, Brown 1988; hashed wheels, Varghese and Lauck 1987).
///
/// What is due within the stretch is put into it. Should very much of it share a slot, or very many events one nanosecond, a heap takes over, so
/// that no pattern of times costs more than O(log n).
///
/// The next event is taken out in advance, while the one before it is handled: nobody waits for it to be found.
///
/// - Complexity: push and pop O(1) amortised for times that spread, O(log n) at worst. Nothing is allocated once chunks and heap have grown
///   to the working set.
public struct EventQueue: ~Copyable {
    private static var digitShift: Int { 2 }
    private static var digitBits: Int { 1 << digitShift }
    private static var digits: Int { 1 << digitBits }
    /// Digits of a 64-bit time.
    private static var levels: Int { (63 + digitBits) / digitBits }
    /// Buckets of at most so many keys are spread out as they are.
    private static var spreadLimit: Int { 64 }
    /// Stands for no key: no event has it, since no kind and index are that large.
    @usableFromInline static var none: UInt128 { .max }

    /// Where the next key of a bucket goes; see `KeyChunks`. It stands first: code for Thread Sanitizer is invalid (Swift 6.3) where a structure begins with
    /// 128 bits.
    private let cursors: UnsafeMutablePointer<KeyChunks.Cursor>
    /// The least key of all, and in no other place; `none` if stretch and heap are empty.
    @usableFromInline var front = EventQueue.none
    @usableFromInline var stretch = KeySlots()
    /// Times up to here belong to the stretch and the heap; everything in the buckets is later.
    @usableFromInline var reach: UInt64 = 0
    private var late = KeyHeap()
    /// How many keys the heap has, where code in line may see it.
    @usableFromInline var lateCount = 0

    /// Which buckets of a level hold keys, and which levels have such buckets.
    private let occupied: UnsafeMutablePointer<UInt32>
    private var occupiedLevels: UInt32 = 0
    private var chunks = KeyChunks()

    public init() {
        cursors = .allocate(capacity: EventQueue.levels * EventQueue.digits)
        cursors.initialize(repeating: KeyChunks.empty, count: EventQueue.levels * EventQueue.digits)
        occupied = .allocate(capacity: EventQueue.levels)
        occupied.initialize(repeating: 0, count: EventQueue.levels)
    }
    deinit {
        stretch.deallocate()
        cursors.deallocate()
        occupied.deallocate()
    }

    public var isEmpty: Bool { front == EventQueue.none && occupiedLevels == 0 }

    /// The time of the next event; `.distantFuture` if there is none. Looks without opening a bucket, so that asking changes nothing.
    ///
    /// - Complexity: O(1) while the stretch lasts, else the size of the next bucket.
    public var nextTime: Instant {
        var least = front
        if least == EventQueue.none, occupiedLevels != 0 {
            let level = occupiedLevels.trailingZeroBitCount
            let bucket = level &* EventQueue.digits &+ occupied[level].trailingZeroBitCount
            KeyChunks.forEach(cursors[bucket]) { least = min(least, $0) }
        }
        return EventKey(rawValue: least).time
    }

    @inlinable @inline(__always)
    public mutating func push(_ time: Instant, _ source: EventSource, note: UInt32 = 0) {
        push(EventKey(time, source, note: note))
    }

    public mutating func push(_ key: EventKey) { pushInline(key) }

    /// The same in line, for where every frame passes.
    @inlinable @inline(__always)
    public mutating func pushInline(_ key: EventKey) {
        let time = key.time.nanoseconds
        let slot = stretch.slot(of: time)
        // Times before the stretch are, without a sign, far beyond its end.
        if time &- stretch.start > reach &- stretch.start || key.rawValue < front || stretch.isOccupied(slot) { return pushElsewhere(key) }
        stretch.insert(key.rawValue, at: slot)
    }

    /// `push` where the key does not simply become the first of a slot of the stretch.
    @usableFromInline @inline(never)
    mutating func pushElsewhere(_ key: EventKey) {
        let time = key.time.nanoseconds
        if time > reach { return deal(key.rawValue, level: EventQueue.level(of: time ^ reach)) }
        if key.rawValue < front { return pushFront(key.rawValue) }
        placeElsewhere(key.rawValue)
    }

    /// Removes and returns the next event if it is due by `limit`; nil otherwise, or if there is none.
    @inlinable @inline(__always)
    public mutating func pop(through limit: Instant) -> EventKey? {
        let key = EventKey(rawValue: front)
        if key.time >= limit { return popElsewhere(through: limit) }
        advance()
        return key
    }

    /// `pop` at the limit, and where nothing is at hand.
    @usableFromInline
    mutating func popElsewhere(through limit: Instant) -> EventKey? {
        if front == EventQueue.none, !open(through: limit.nanoseconds) { return nil }
        let key = EventKey(rawValue: front)
        if key.time > limit { return nil }
        advance()
        return key
    }

    /// Removes and returns the next event. The queue must not be empty.
    @inlinable
    public mutating func pop() -> (time: Instant, source: EventSource, note: UInt32) {
        guard let key = pop(through: .distantFuture) else { preconditionFailure("pop from an empty event queue") }
        return (key.time, key.source, key.note)
    }

    /// Whether the next event is due at `time`, when the last one that was taken out was, and `condition` holds for it. Opens no bucket: whatever is in one is
    /// due later than anything that has been taken out.
    @inlinable @inline(__always)
    public func continues(at time: Instant, where condition: (EventKey) -> Bool) -> Bool {
        let key = EventKey(rawValue: front)
        return key.time == time && condition(key)
    }

    // MARK: What is at hand

    /// Finds the key that comes after the front one.
    @inlinable @inline(__always)
    mutating func advance() {
        if stretch.isEmpty || lateCount != 0 { return advanceElsewhere() }
        front = stretch.removeFirst()
    }

    @usableFromInline
    mutating func advanceElsewhere() {
        if !stretch.isEmpty, lateCount == 0 || stretch.first < late.top {
            front = stretch.removeFirst()
        } else if lateCount > 0 {
            front = late.top
            late.removeTop()
            lateCount &-= 1
        } else {
            front = EventQueue.none
        }
    }

    /// Takes a key that comes before all others.
    @inline(never)
    private mutating func pushFront(_ key: UInt128) {
        let second = front
        front = key
        if second != EventQueue.none { place(second) }
    }

    /// Puts a key that is due by `reach` into the stretch.
    @inline(__always)
    private mutating func place(_ key: UInt128) {
        let time = UInt64(truncatingIfNeeded: key >> 64)
        let slot = stretch.slot(of: time)
        if time < stretch.start || stretch.isOccupied(slot) { return placeElsewhere(key) }
        stretch.insert(key, at: slot)
    }

    /// `place` where the slot has keys already, for a key due before the stretch, and where there are too many.
    @inline(never)
    private mutating func placeElsewhere(_ key: UInt128) {
        let time = UInt64(truncatingIfNeeded: key >> 64)
        if time >= stretch.start, stretch.insertAnywhere(key, at: stretch.slot(of: time)) { return }
        late.push(key)
        lateCount &+= 1
    }

    // MARK: The buckets

    /// The highest digit in which two times differ, from their exclusive or.
    @inline(__always)
    private static func level(of difference: UInt64) -> Int { (63 &- difference.leadingZeroBitCount) &>> EventQueue.digitShift }

    /// Puts a key into the bucket of its digit.
    @inline(__always)
    private mutating func deal(_ key: UInt128, level: Int) {
        let digit = Int(truncatingIfNeeded: UInt64(truncatingIfNeeded: key >> 64) &>> UInt64(truncatingIfNeeded: level &* EventQueue.digitBits)) & (EventQueue.digits &- 1)
        let bucket = level &* EventQueue.digits &+ digit
        let place = cursors[bucket]
        if KeyChunks.isFull(place) { return dealIntoNewChunk(key, bucket) }
        cursors[bucket] = KeyChunks.store(key, at: place)
    }

    /// Only the first key of a bucket has to note that the bucket is occupied, and it comes by here.
    @inline(never)
    private mutating func dealIntoNewChunk(_ key: UInt128, _ bucket: Int) {
        cursors[bucket] = KeyChunks.store(key, at: chunks.addChunk(after: cursors[bucket]))
        let level = bucket &>> EventQueue.digitBits
        occupied[level] |= 1 &<< UInt32(truncatingIfNeeded: bucket & (EventQueue.digits &- 1))
        occupiedLevels |= 1 &<< UInt32(truncatingIfNeeded: level)
    }

    /// Makes a new stretch of the earliest bucket. False if that begins after `limit`: then nothing has changed that could be seen.
    ///
    /// There must be nothing at hand.
    private mutating func open(through limit: UInt64) -> Bool {
        while occupiedLevels != 0 {
            let level = occupiedLevels.trailingZeroBitCount
            let digit = occupied[level].trailingZeroBitCount
            let shift = UInt64(truncatingIfNeeded: level &* EventQueue.digitBits)
            // Digits above the bucket's are those of `reach`; below it they are zero.
            let above = shift &+ UInt64(EventQueue.digitBits)
            let start = (above >= 64 ? 0 : (reach &>> above) &<< above) | UInt64(truncatingIfNeeded: digit) &<< shift
            if start > limit { return false }
            let bucket = cursors + (level &* EventQueue.digits &+ digit)
            let contents = bucket.pointee
            bucket.pointee = KeyChunks.empty
            occupied[level] &= ~(1 &<< UInt32(truncatingIfNeeded: digit))
            if occupied[level] == 0 { occupiedLevels &= ~(1 &<< UInt32(truncatingIfNeeded: level)) }
            reach = start
            stretch.begin(start, bits: Int(truncatingIfNeeded: shift))
            let isSmall = KeyChunks.count(contents, upTo: EventQueue.spreadLimit) <= EventQueue.spreadLimit
            if isSmall || level == 0 {
                // At level zero all have the same time.
                var last = start
                KeyChunks.forEach(contents) { key in
                    last = max(last, UInt64(truncatingIfNeeded: key >> 64))
                    place(key)
                }
                reach = last
                chunks.recycle(contents)
                advance()
                return true
            }
            KeyChunks.forEach(contents) { deal($0, level: level &- 1) }
            chunks.recycle(contents)
        }
        return false
    }
}
