import HairpinEngine

/// One entry per endpoint that has a timer, in a binary heap over (deadline, slot).
///
/// Re-arming for later leaves the entry where it is: it comes up early, is compared with the endpoint's own deadline and goes back.
struct TimerHeap: ~Copyable {
    private struct Entry {
        var deadline: UInt64
        var endpoint: EndpointPointer
    }
    private var entries: UnsafeMutablePointer<Entry>
    private(set) var count = 0
    private var capacity: Int

    init() {
        capacity = 8
        entries = .allocate(capacity: capacity)
    }
    deinit { entries.deallocate() }

    var earliest: UInt64 { count == 0 ? .max : entries[0].deadline }
    var first: EndpointPointer { entries[0].endpoint }

    private static func precedes(_ a: Entry, _ b: Entry) -> Bool {
        a.deadline != b.deadline ? a.deadline < b.deadline : a.endpoint.pointee.slot < b.endpoint.pointee.slot
    }

    private mutating func place(_ entry: Entry, at index: Int) {
        entries[index] = entry
        entry.endpoint.pointee.heapIndex = Int32(index)
    }

    private mutating func siftUp(_ entry: Entry, from start: Int) {
        var index = start
        while index > 0 {
            let parent = (index - 1) / 2
            guard TimerHeap.precedes(entry, entries[parent]) else { break }
            place(entries[parent], at: index)
            index = parent
        }
        place(entry, at: index)
    }

    private mutating func siftDown(_ entry: Entry, from start: Int) {
        var index = start
        while true {
            var child = 2 * index + 1
            guard child < count else { break }
            if child + 1 < count, TimerHeap.precedes(entries[child + 1], entries[child]) { child += 1 }
            guard TimerHeap.precedes(entries[child], entry) else { break }
            place(entries[child], at: index)
            index = child
        }
        place(entry, at: index)
    }

    /// The endpoint's deadline became `deadline`; later deadlines are left for the entry to discover.
    mutating func update(_ endpoint: EndpointPointer, deadline: UInt64) {
        let index = Int(endpoint.pointee.heapIndex)
        if index < 0 {
            guard deadline != .max else { return }
            if count == capacity {
                let larger = UnsafeMutablePointer<Entry>.allocate(capacity: capacity * 2)
                larger.moveInitialize(from: entries, count: count)
                entries.deallocate()
                entries = larger
                capacity *= 2
            }
            count += 1
            siftUp(Entry(deadline: deadline, endpoint: endpoint), from: count - 1)
        } else if deadline < entries[index].deadline {
            siftUp(Entry(deadline: deadline, endpoint: endpoint), from: index)
        }
    }

    /// Moves the first entry to its endpoint's real deadline, or drops it.
    mutating func settleFirst(deadline: UInt64) {
        guard deadline != .max else { return remove(entries[0].endpoint) }
        siftDown(Entry(deadline: deadline, endpoint: entries[0].endpoint), from: 0)
    }

    mutating func remove(_ endpoint: EndpointPointer) {
        let index = Int(endpoint.pointee.heapIndex)
        guard index >= 0 else { return }
        endpoint.pointee.heapIndex = -1
        count -= 1
        guard index < count else { return }
        let last = entries[count]
        if index > 0, TimerHeap.precedes(last, entries[(index - 1) / 2]) { siftUp(last, from: index) } else { siftDown(last, from: index) }
    }
}
