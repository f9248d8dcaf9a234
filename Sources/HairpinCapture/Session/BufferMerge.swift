import HairpinEngine

/// The buffers of all logical processes as one stream in the order (time, number of the logical process, order of sight).
///
/// - Complexity: O(log buffers) per record, O(1) while one buffer has the oldest records.
struct BufferMerge {
    private struct Head {
        var time: Instant
        var buffer: CaptureBuffer
        static func < (a: Head, b: Head) -> Bool { (a.time, a.buffer.logicalProcess) < (b.time, b.buffer.logicalProcess) }
    }
    /// A binary heap with the oldest record at the front.
    private var heads: [Head] = []

    init(_ buffers: [CaptureBuffer]) {
        for buffer in buffers where !buffer.records.isEmpty {
            buffer.sort()
            heads.append(Head(time: buffer.records.firstTime, buffer: buffer))
        }
        for position in stride(from: heads.count / 2 - 1, through: 0, by: -1) { sink(position) }
    }

    /// The buffer whose first record is the oldest of all, if it is older than `time`.
    func next(before time: Instant) -> CaptureBuffer? {
        guard let head = heads.first, head.time < time || time == .distantFuture else { return nil }
        return head.buffer
    }

    /// To be called after a record was taken from the buffer that `next` gave.
    mutating func replace(_ buffer: CaptureBuffer) {
        if buffer.records.isEmpty {
            heads.swapAt(0, heads.count - 1)
            heads.removeLast()
        } else {
            heads[0].time = buffer.records.firstTime
        }
        sink(0)
    }

    private mutating func sink(_ position: Int) {
        var position = position
        while true {
            let left = 2 * position + 1, right = left + 1
            var least = position
            if left < heads.count, heads[left] < heads[least] { least = left }
            if right < heads.count, heads[right] < heads[least] { least = right }
            guard least != position else { return }
            heads.swapAt(position, least)
            position = least
        }
    }
}
