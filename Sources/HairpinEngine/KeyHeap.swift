/// A 4-ary heap of event keys: one comparison is one subtraction with borrow, and the least of four children is found without branches.
///
/// - Complexity: push and pop are O(log₄ n). Nothing is allocated once the heap has grown to the working set.
struct KeyHeap: ~Copyable {
    private var keys: UnsafeMutablePointer<UInt128>
    private var capacity: Int
    private(set) var count = 0

    init() {
        capacity = 0
        keys = KeyHeap.allocate(0)
    }
    deinit { KeyHeap.free(keys) }

    // Children of i are 4i+1 … 4i+4. Aligning index 1 to 64 bytes puts each family of four in one cache line.
    private static func allocate(_ capacity: Int) -> UnsafeMutablePointer<UInt128> {
        let raw = UnsafeMutableRawPointer.allocate(byteCount: (capacity + 8) * 16, alignment: 64)
        return (raw + 48).bindMemory(to: UInt128.self, capacity: capacity + 4)
    }
    private static func free(_ keys: UnsafeMutablePointer<UInt128>) { (UnsafeMutableRawPointer(keys) - 48).deallocate() }

    /// The least key. The heap must not be empty.
    var top: UInt128 { keys[0] }

    mutating func push(_ key: UInt128) {
        if count == capacity { grow() }
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

    /// Removes the least key. The heap must not be empty.
    mutating func removeTop() {
        precondition(count > 0, "removal from an empty heap")
        count &-= 1
        if count == 0 { return }
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

    private mutating func grow() {
        let size = max(capacity * 2, 64)
        let larger = KeyHeap.allocate(size)
        larger.update(from: keys, count: count)
        KeyHeap.free(keys)
        keys = larger
        capacity = size
    }
}
