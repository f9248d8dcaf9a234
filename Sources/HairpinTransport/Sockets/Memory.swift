/// Blocks of raw memory in sizes of powers of two, kept for reuse: after a warm-up the data path asks malloc for nothing.
struct BlockPool: ~Copyable {
    private let free: UnsafeMutablePointer<UnsafeMutableRawPointer?>
    static let smallest = 6, largest = 32
    /// Bytes of blocks beyond this order are kept up to a limit: a burst of bulk transfers must not pin all its memory, yet a stream that fills and
    /// empties its buffer again and again must not ask the system for fresh pages each time.
    private static let largestUnlimited = 17, largeLimit = 16 << 20

    /// How many bytes of large blocks are kept: in the list of order zero, which holds no blocks.
    private var largeBytes: Int {
        get { Int(bitPattern: free[0]) }
        nonmutating set { free[0] = UnsafeMutableRawPointer(bitPattern: newValue) }
    }

    init() {
        free = .allocate(capacity: BlockPool.largest + 1)
        free.initialize(repeating: nil, count: BlockPool.largest + 1)
    }

    deinit {
        for order in BlockPool.smallest...BlockPool.largest {
            var block = free[order]
            while let b = block {
                block = b.load(as: UnsafeMutableRawPointer?.self)
                b.deallocate()
            }
        }
        free.deallocate()
    }

    /// The order (binary logarithm of the size) that holds `byteCount` bytes.
    static func order(for byteCount: Int) -> Int {
        precondition(byteCount <= 1 << largest, "a buffer beyond any window")
        return max(smallest, byteCount <= 1 ? 0 : Int.bitWidth - (byteCount - 1).leadingZeroBitCount)
    }

    func take(order: Int) -> UnsafeMutableRawPointer {
        if let block = free[order] {
            free[order] = block.load(as: UnsafeMutableRawPointer?.self)
            if order > BlockPool.largestUnlimited { largeBytes -= 1 << order }
            return block
        }
        return .allocate(byteCount: 1 << order, alignment: 64)
    }

    func give(_ block: UnsafeMutableRawPointer, order: Int) {
        if order > BlockPool.largestUnlimited {
            guard largeBytes + (1 << order) <= BlockPool.largeLimit else {
                block.deallocate()
                return
            }
            largeBytes += 1 << order
        }
        block.storeBytes(of: free[order], as: UnsafeMutableRawPointer?.self)
        free[order] = block
    }
}

/// Bytes of a stream, stored by sequence number: the byte numbered `s` lies at `s` modulo the capacity. Holds no memory while empty.
struct ByteRing {
    private var base: UnsafeMutableRawPointer?
    private var order: UInt8 = 0
    /// The largest block it has had.
    private var largestOrder: UInt8 = 0
    /// Up to 64 KiB blocks double.
    private static let smallOrder = 16

    init() {}

    private var capacity: Int { base == nil ? 0 : 1 << Int(order) }

    /// Makes room for the bytes `start..<start+span`, keeping those already there in `start..<start+kept`.
    mutating func reserve(start: UInt32, kept: Int, span: Int, _ pool: borrowing BlockPool) {
        guard span > capacity else { return }
        var newOrder = BlockPool.order(for: max(span, 2048))
        // A stream that has once filled a large block will do so again: doubling step by step would copy every byte once more.
        if base != nil, newOrder > ByteRing.smallOrder { newOrder = max(newOrder, Int(largestOrder)) }
        largestOrder = max(largestOrder, UInt8(newOrder))
        let block = pool.take(order: newOrder)
        if let base, kept > 0 {
            var offset = 0
            while offset < kept {
                let at = start &+ UInt32(offset)
                let from = Int(at) & (capacity - 1)
                let to = Int(at) & (1 << newOrder - 1)
                let n = min(kept - offset, capacity - from, 1 << newOrder - to)
                (block + to).copyMemory(from: base + from, byteCount: n)
                offset += n
            }
        }
        if let base { pool.give(base, order: Int(order)) }
        base = block
        order = UInt8(newOrder)
    }

    func write(_ source: UnsafeRawPointer, count: Int, at sequence: UInt32) {
        guard let base, count > 0 else { return }
        let offset = Int(sequence) & (capacity - 1)
        let first = min(count, capacity - offset)
        (base + offset).copyMemory(from: source, byteCount: first)
        if count > first { base.copyMemory(from: source + first, byteCount: count - first) }
    }

    func read(_ destination: UnsafeMutableRawPointer, count: Int, at sequence: UInt32) {
        guard let base, count > 0 else { return }
        let offset = Int(sequence) & (capacity - 1)
        let first = min(count, capacity - offset)
        destination.copyMemory(from: base + offset, byteCount: first)
        if count > first { (destination + first).copyMemory(from: base, byteCount: count - first) }
    }

    mutating func release(_ pool: borrowing BlockPool) {
        if let base { pool.give(base, order: Int(order)) }
        base = nil
    }
}

/// A queue of small plain records in one block of raw memory; random access, no memory while empty.
struct RecordRing<Record: BitwiseCopyable> {
    private var base: UnsafeMutableRawPointer?
    private var order: UInt8 = 0
    private var head: UInt32 = 0
    private(set) var count: Int = 0

    init() {}

    private var mask: UInt32 = 0
    private var capacity: Int { base == nil ? 0 : Int(mask) + 1 }

    @inline(__always)
    private func address(_ index: Int) -> UnsafeMutablePointer<Record> {
        let slot = (Int(head) + index) & Int(mask)
        return (base.unsafelyUnwrapped + slot * MemoryLayout<Record>.stride).assumingMemoryBound(to: Record.self)
    }

    subscript(index: Int) -> Record {
        get {
            assert(index < count)
            return address(index).pointee
        }
        nonmutating set {
            assert(index < count)
            address(index).pointee = newValue
        }
    }
    /// Valid until the next insertion.
    func pointer(_ index: Int) -> UnsafeMutablePointer<Record> {
        assert(index < count)
        return address(index)
    }

    private mutating func grow(_ pool: borrowing BlockPool) {
        guard count == capacity else { return }
        let newOrder = base == nil ? BlockPool.order(for: 4 * MemoryLayout<Record>.stride) : Int(order) + 1
        let block = pool.take(order: newOrder)
        let target = block.bindMemory(to: Record.self, capacity: 1 << newOrder / MemoryLayout<Record>.stride)
        for i in 0..<count { (target + i).initialize(to: address(i).pointee) }
        if let base { pool.give(base, order: Int(order)) }
        let fit = (1 << newOrder) / MemoryLayout<Record>.stride
        mask = UInt32(1 << (Int.bitWidth - 1 - fit.leadingZeroBitCount)) - 1
        (base, order, head) = (block, UInt8(newOrder), 0)
    }

    mutating func append(_ record: Record, _ pool: borrowing BlockPool) {
        grow(pool)
        count += 1
        address(count - 1).initialize(to: record)
    }

    /// Complexity: O(n).
    mutating func insert(_ record: Record, at index: Int, _ pool: borrowing BlockPool) {
        append(record, pool)
        var i = count - 1
        while i > index {
            address(i).pointee = address(i - 1).pointee
            i -= 1
        }
        address(index).pointee = record
    }

    /// Complexity: O(n) except at the front.
    mutating func remove(at index: Int, _ pool: borrowing BlockPool) {
        if index == 0 { return removeFirst(pool) }
        for i in index..<(count - 1) { address(i).pointee = address(i + 1).pointee }
        count -= 1
        if count == 0 { release(pool) }
    }

    mutating func removeFirst(_ pool: borrowing BlockPool) {
        head = (head &+ 1) & mask
        count -= 1
        if count == 0 { release(pool) }
    }

    mutating func release(_ pool: borrowing BlockPool) {
        if let base { pool.give(base, order: Int(order)) }
        (base, count, head) = (nil, 0, 0)
    }
}
