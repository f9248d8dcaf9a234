/// Pending events in canonical order: by time, then by source. Equal times and sources keep their order of `note`, which the caller may use
/// as a generation or a sequence number.
///
/// A radix wheel in front of a short sorted run. What is due after `reach` lies unsorted in buckets: one bucket for each value of the highest
/// digit (base 16) in which its time differs from `reach`, so all of a bucket is due before all of the next. When the run is used up the
/// earliest bucket is opened: a few keys are sorted into the run, many are dealt out to the 16 buckets of the next lower digit. A key is
/// thus written once for each digit it goes down, always to the end of a chunk, and sorted among a handful; there is no walk through memory
/// that grows with the number of events (ladder queue, Tang, Goh and Thng 2005; hashed wheels, Varghese and Lauck 1987).
///
/// What is due within the run's own time is inserted into it. Should it be much, or very many events share one nanosecond, a heap takes over,
/// so that no pattern of times costs more than O(log n).
///
/// - Complexity: push and pop O(1) amortised for times that spread, O(log n) at worst. Nothing is allocated once chunks and heap have grown
///   to the working set.
public struct EventQueue: ~Copyable {
    private static var digitShift: Int { 2 }
    private static var digitBits: Int { 1 << digitShift }
    private static var digits: Int { 1 << digitBits }
    /// Digits of a 64-bit time.
    private static var levels: Int { (63 + digitBits) / digitBits }
    /// Buckets of at most so many keys are sorted at once, as they are.
    private static var sortLimit: Int { 24 }
    /// How far a key may have to move to its place in the run.
    private static var insertLimit: Int { 32 }
    private static var runCapacity: Int { 256 }

    /// The sorted run: keys in `run[head..<tail]`. A key below all others stands before the first place, so that a search ends there.
    @usableFromInline var run: UnsafeMutablePointer<UInt128>
    @usableFromInline var head = 0
    @usableFromInline var tail = 0
    /// Times up to here belong to the run and the heap; everything in the buckets is later.
    @usableFromInline var reach: UInt64 = 0
    private var late = KeyHeap()
    /// The heap's least key; the greatest there can be while it is empty.
    @usableFromInline var lateTop = UInt128.max

    /// Where the next key of a bucket goes; see `KeyChunks`.
    private let cursors: UnsafeMutablePointer<KeyChunks.Cursor>
    /// Which buckets of a level hold keys, and which levels have such buckets.
    private let occupied: UnsafeMutablePointer<UInt32>
    private var occupiedLevels: UInt32 = 0
    private var chunks = KeyChunks()

    public init() {
        run = UnsafeMutablePointer<UInt128>.allocate(capacity: EventQueue.runCapacity + 1) + 1
        (run - 1).initialize(to: 0)
        cursors = .allocate(capacity: EventQueue.levels * EventQueue.digits)
        cursors.initialize(repeating: KeyChunks.empty, count: EventQueue.levels * EventQueue.digits)
        occupied = .allocate(capacity: EventQueue.levels)
        occupied.initialize(repeating: 0, count: EventQueue.levels)
    }
    deinit {
        (run - 1).deallocate()
        cursors.deallocate()
        occupied.deallocate()
    }

    public var isEmpty: Bool { head == tail && late.count == 0 && occupiedLevels == 0 }

    /// The time of the next event; `.distantFuture` if there is none. Looks without opening a bucket, so that asking changes nothing.
    ///
    /// - Complexity: O(1) while the run lasts, else the size of the next bucket.
    public var nextTime: Instant {
        var least = min(head < tail ? run[head] : UInt128.max, lateTop)
        if head == tail, late.count == 0, occupiedLevels != 0 {
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

    public mutating func push(_ key: EventKey) {
        let time = key.time.nanoseconds
        if time <= reach { return insert(key.rawValue) }
        deal(key.rawValue, level: EventQueue.level(of: time ^ reach))
    }

    /// Removes and returns the next event if it is due by `limit`; nil otherwise, or if there is none.
    @inlinable @inline(__always)
    public mutating func pop(through limit: Instant) -> EventKey? {
        if head == tail || lateTop < run[head] { return popElsewhere(through: limit) }
        let key = EventKey(rawValue: run[head])
        if key.time > limit { return nil }
        head &+= 1
        return key
    }

    /// `pop` where the run is used up, or the heap holds what is due before it.
    @usableFromInline
    mutating func popElsewhere(through limit: Instant) -> EventKey? {
        if late.count == 0 {
            guard open(through: limit.nanoseconds) else { return nil }
            return pop(through: limit)
        }
        let key = EventKey(rawValue: lateTop)
        if key.time > limit { return nil }
        late.removeTop()
        lateTop = late.count > 0 ? late.top : UInt128.max
        return key
    }

    /// Removes and returns the next event. The queue must not be empty.
    @inlinable
    public mutating func pop() -> (time: Instant, source: EventSource, note: UInt32) {
        guard let key = pop(through: .distantFuture) else { preconditionFailure("pop from an empty event queue") }
        return (key.time, key.source, key.note)
    }

    /// What the next event is about if it is due by `limit`.
    public mutating func peek(through limit: Instant) -> EventKey? {
        if head == tail, late.count == 0, !open(through: limit.nanoseconds) { return nil }
        let key = EventKey(rawValue: min(head < tail ? run[head] : UInt128.max, lateTop))
        return key.time <= limit ? key : nil
    }

    // MARK: The run

    @inline(never)
    private mutating func insert(_ key: UInt128) {
        if tail == EventQueue.runCapacity || tail &- head > EventQueue.insertLimit && run[tail &- EventQueue.insertLimit &- 1] > key {
            return pushLate(key)
        }
        // Keys before `head` are history, and need not be below this one: it may have their time and a lower source.
        var hole = tail
        while hole > head, run[hole &- 1] > key {
            run[hole] = run[hole &- 1]
            hole &-= 1
        }
        run[hole] = key
        tail &+= 1
    }

    private mutating func pushLate(_ key: UInt128) {
        late.push(key)
        lateTop = late.top
    }

    /// Moves later keys of the run up by one, and puts the key where it belongs.
    @inline(__always)
    private mutating func place(_ key: UInt128) {
        var hole = tail
        while hole > head, run[hole &- 1] > key {
            run[hole] = run[hole &- 1]
            hole &-= 1
        }
        run[hole] = key
        tail &+= 1
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

    /// Makes a new run of the earliest bucket. False if that begins after `limit`: then nothing has changed that could be seen.
    ///
    /// Run and heap must be empty.
    private mutating func open(through limit: UInt64) -> Bool {
        head = 0
        tail = 0
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
            if KeyChunks.count(contents, upTo: EventQueue.sortLimit) <= EventQueue.sortLimit {
                KeyChunks.forEach(contents) { key in
                    var hole = tail
                    while run[hole &- 1] > key {
                        run[hole] = run[hole &- 1]
                        hole &-= 1
                    }
                    run[hole] = key
                    tail &+= 1
                }
                reach = UInt64(truncatingIfNeeded: run[tail &- 1] >> 64)
                chunks.recycle(contents)
                return true
            }
            reach = start
            if level == 0 {
                // All at one nanosecond.
                KeyChunks.forEach(contents) { pushLate($0) }
                chunks.recycle(contents)
                return true
            }
            KeyChunks.forEach(contents) { deal($0, level: level &- 1) }
            chunks.recycle(contents)
        }
        return false
    }
}
