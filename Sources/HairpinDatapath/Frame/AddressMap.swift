import CProcessor

/// A map from non-zero 64-bit keys to 32-bit values in raw memory: open addressing, linear probing, load at most one half, removal by shifting
/// back. No allocation but to grow, and none while nothing has been in it. Iteration order is that of the hash and must never reach the wire.
struct AddressMap {
    private struct Slot {
        var key: UInt64
        var value: UInt32
    }
    private var slots: UnsafeMutablePointer<Slot>
    private var mask: Int
    private(set) var count = 0

    /// What maps hold that have had no key yet: one slot, always empty, shared and never written to.
    private nonisolated(unsafe) static let empty: UnsafeMutablePointer<Slot> = {
        let slot = UnsafeMutablePointer<Slot>.allocate(capacity: 1)
        slot.initialize(to: Slot(key: 0, value: 0))
        return slot
    }()
    private static let firstSize = 4

    init() {
        slots = AddressMap.empty
        mask = 0
    }
    func deallocate() { if mask > 0 { slots.deallocate() } }

    @inline(__always) private static func hash(_ key: UInt64) -> Int { Int(truncatingIfNeeded: (key &* 0x9e37_79b9_7f4a_7c15) >> 32) }

    /// Asks for the cache line in which a search begins.
    @inline(__always)
    func prefetch(_ key: UInt64) { hairpin_prefetch(slots + (AddressMap.hash(key) & mask)) }

    @inline(__always)
    func find(_ key: UInt64) -> UInt32? {
        var i = AddressMap.hash(key) & mask
        while slots[i].key != key {
            if slots[i].key == 0 { return nil }
            i = (i &+ 1) & mask
        }
        return slots[i].value
    }

    mutating func set(_ key: UInt64, _ value: UInt32) {
        assert(key != 0, "zero is the empty key")
        if count * 2 >= mask { grow() }
        var i = AddressMap.hash(key) & mask
        while slots[i].key != key {
            if slots[i].key == 0 {
                slots[i].key = key
                count += 1
                break
            }
            i = (i &+ 1) & mask
        }
        slots[i].value = value
    }

    mutating func remove(_ key: UInt64) {
        var i = AddressMap.hash(key) & mask
        while slots[i].key != key {
            if slots[i].key == 0 { return }
            i = (i &+ 1) & mask
        }
        count -= 1
        // Close the gap so that probing needs no tombstones.
        var gap = i
        var next = (i &+ 1) & mask
        while slots[next].key != 0 {
            let home = AddressMap.hash(slots[next].key) & mask
            if (next &- home) & mask >= (next &- gap) & mask {
                slots[gap] = slots[next]
                gap = next
            }
            next = (next &+ 1) & mask
        }
        slots[gap].key = 0
    }

    private mutating func grow() {
        let old = slots
        let oldSize = mask + 1
        let size = mask == 0 ? AddressMap.firstSize : oldSize * 2
        slots = .allocate(capacity: size)
        slots.initialize(repeating: Slot(key: 0, value: 0), count: size)
        mask = size - 1
        count = 0
        for i in 0..<oldSize where old[i].key != 0 { set(old[i].key, old[i].value) }
        if oldSize > 1 { old.deallocate() }
    }
}
