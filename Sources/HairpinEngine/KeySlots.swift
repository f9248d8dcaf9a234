/// Keys of one stretch of time, each in the slot of its time, so that the first is found with two counts of zeros and none is ever sorted.
///
/// A stretch begins at a multiple of a power of two of nanoseconds, is at most so long, and is divided into up to 1024 slots. The few keys that
/// share a slot form a list in their order: the first of them in the slot, the others in places of their own that link through one byte each,
/// place zero being none.
///
/// A value with a pointer in it: whoever holds it allocates and frees.
@usableFromInline
struct KeySlots {
    private static var slotBits: Int { 10 }
    @usableFromInline static var slotCount: Int { 1 << slotBits }
    /// Room for keys that are not the first of their slot.
    private static var places: Int { 256 }
    /// How far down its slot's list a key may have to go.
    private static var listLimit: Int { 12 }

    // One block, one address: keys by slot; a bit for each slot that has a key; a bit for each that has a list; keys by place; the first place of
    // each slot's list; what comes after each place.
    @usableFromInline let block: UnsafeMutableRawPointer
    @usableFromInline static var wordsOffset: Int { slotCount * 16 }
    @usableFromInline static var listWordsOffset: Int { wordsOffset + slotCount / 8 }
    private static var placesOffset: Int { listWordsOffset + slotCount / 8 }
    private static var listsOffset: Int { placesOffset + places * 16 }
    private static var linksOffset: Int { listsOffset + slotCount }
    private static var byteCount: Int { linksOffset + places }

    /// Which of the sixteen words are not zero.
    @usableFromInline var occupiedWords: UInt64 = 0
    @usableFromInline var start: UInt64 = 0
    @usableFromInline var shift: UInt64 = 0
    /// The first of the free places.
    private var free: UInt8 = 1

    init() {
        block = .allocate(byteCount: KeySlots.byteCount, alignment: 64)
        (block + KeySlots.wordsOffset).initializeMemory(as: UInt64.self, repeating: 0, count: KeySlots.slotCount / 32)
        // All places are free; the last one links to none.
        for place in 1..<KeySlots.places { link(UInt8(truncatingIfNeeded: place)).initialize(to: UInt8(truncatingIfNeeded: place + 1)) }
    }
    func deallocate() { block.deallocate() }

    @inlinable @inline(__always)
    func key(_ slot: UInt64) -> UnsafeMutablePointer<UInt128> {
        (block + Int(truncatingIfNeeded: slot &<< 4)).assumingMemoryBound(to: UInt128.self)
    }
    @inlinable @inline(__always)
    func word(_ number: UInt64) -> UnsafeMutablePointer<UInt64> {
        (block + (KeySlots.wordsOffset &+ Int(truncatingIfNeeded: number &<< 3))).assumingMemoryBound(to: UInt64.self)
    }
    @inlinable @inline(__always)
    func listWord(_ number: UInt64) -> UnsafeMutablePointer<UInt64> {
        (block + (KeySlots.listWordsOffset &+ Int(truncatingIfNeeded: number &<< 3))).assumingMemoryBound(to: UInt64.self)
    }
    private func place(_ place: UInt8) -> UnsafeMutablePointer<UInt128> {
        (block + (KeySlots.placesOffset + Int(place) * 16)).assumingMemoryBound(to: UInt128.self)
    }
    private func list(_ slot: UInt64) -> UnsafeMutablePointer<UInt8> {
        (block + (KeySlots.listsOffset + Int(slot))).assumingMemoryBound(to: UInt8.self)
    }
    private func link(_ place: UInt8) -> UnsafeMutablePointer<UInt8> {
        (block + (KeySlots.linksOffset + Int(place))).assumingMemoryBound(to: UInt8.self)
    }

    @inlinable @inline(__always) var isEmpty: Bool { occupiedWords == 0 }

    /// Begins another stretch, `1 << bits` nanoseconds from `start`. There must be no keys.
    mutating func begin(_ start: UInt64, bits: Int) {
        assert(isEmpty, "keys of another stretch")
        self.start = start
        shift = UInt64(truncatingIfNeeded: max(bits &- KeySlots.slotBits, 0))
    }

    /// The slot of a time within the stretch.
    @inlinable @inline(__always)
    func slot(of time: UInt64) -> UInt64 { (time &>> shift) & UInt64(truncatingIfNeeded: KeySlots.slotCount &- 1) }

    @inlinable @inline(__always)
    func isOccupied(_ slot: UInt64) -> Bool { word(slot &>> 6).pointee & 1 &<< (slot & 63) != 0 }

    /// Puts a key into its slot, which must be empty.
    @inlinable @inline(__always)
    mutating func insert(_ key: UInt128, at slot: UInt64) {
        self.key(slot).pointee = key
        word(slot &>> 6).pointee |= 1 &<< (slot & 63)
        occupiedWords |= 1 &<< (slot &>> 6)
    }

    /// Puts a key into its slot if that is empty, or into its list. False if the list is too long or there is no place left.
    mutating func insertAnywhere(_ key: UInt128, at slot: UInt64) -> Bool {
        guard isOccupied(slot) else {
            insert(key, at: slot)
            return true
        }
        let new = free
        if new == 0 { return false }
        // A key before the slot's own takes its place, and that one goes into the list: not before there is room for it.
        let own = self.key(slot).pointee
        let isFirst = key < own
        let listed = isFirst ? own : key
        let hasList = listWord(slot &>> 6).pointee & 1 &<< (slot & 63) != 0
        var before: UInt8 = 0
        var after = hasList ? list(slot).pointee : 0
        var steps = 0
        while after != 0, place(after).pointee <= listed {
            (before, after) = (after, link(after).pointee)
            steps &+= 1
            if steps > KeySlots.listLimit { return false }
        }
        free = link(new).pointee
        if isFirst { self.key(slot).pointee = key }
        place(new).initialize(to: listed)
        link(new).pointee = after
        if before == 0 {
            list(slot).initialize(to: new)
            listWord(slot &>> 6).pointee |= 1 &<< (slot & 63)
        } else {
            link(before).pointee = new
        }
        return true
    }

    /// The least key. There must be one.
    var first: UInt128 {
        let number = UInt64(truncatingIfNeeded: occupiedWords.trailingZeroBitCount)
        return key(number &<< 6 | UInt64(truncatingIfNeeded: word(number).pointee.trailingZeroBitCount)).pointee
    }

    /// Removes and returns the least key. There must be one.
    @inlinable @inline(__always)
    mutating func removeFirst() -> UInt128 {
        // The bits that are added are never the lowest, and spare the question whether there are any.
        let number = UInt64(truncatingIfNeeded: (occupiedWords | 1 &<< 63).trailingZeroBitCount)
        let bits = word(number).pointee
        let rest = bits & (bits &- 1)
        let slot = number &<< 6 | UInt64(truncatingIfNeeded: (bits | 1 &<< 63).trailingZeroBitCount)
        let key = key(slot).pointee
        if listWord(number).pointee & (bits ^ rest) != 0 {
            promote(slot)
        } else {
            word(number).pointee = rest
            occupiedWords &= ~((rest == 0 ? 1 : 0) &<< number)
        }
        return key
    }

    /// The first key of a slot's list becomes the slot's own.
    @usableFromInline @inline(never)
    mutating func promote(_ slot: UInt64) {
        let place = list(slot).pointee
        key(slot).pointee = self.place(place).pointee
        let next = link(place).pointee
        link(place).pointee = free
        free = place
        if next != 0 {
            list(slot).pointee = next
        } else {
            listWord(slot &>> 6).pointee &= ~(1 &<< (slot & 63))
        }
    }
}
