import HairpinEngine

/// The buffers of all logical processes as one stream in the order (time, number of the logical process, order of sight), in stretches of one
/// buffer. Times are those of the records, with the epoch.
///
/// - Complexity: O(log buffers) per run.
struct BufferMerge {
    private struct Head {
        var time: Instant
        var buffer: CaptureBuffer
        static func < (a: Head, b: Head) -> Bool { (a.time, a.buffer.logicalProcess) < (b.time, b.buffer.logicalProcess) }
    }
    /// A binary heap with the oldest record at the front.
    private var heads: [Head] = []

    init(_ buffers: [CaptureBuffer]) {
        for buffer in buffers where !buffer.records.pointee.isEmpty {
            buffer.records.pointee.sort()
            heads.append(Head(time: buffer.records.pointee.firstTime, buffer: buffer))
        }
        for position in stride(from: heads.count / 2 - 1, through: 0, by: -1) { sink(position) }
    }

    /// Names buffers one after the other, with the time up to which each comes first; `body` takes every record before that out of it.
    mutating func drain(before time: Instant, _ body: (CaptureBuffer, Instant) -> Void) {
        while let head = heads.first, head.time < time {
            let records = head.buffer.records
            body(head.buffer, min(time, endOfRun(head.buffer)))
            if records.pointee.isEmpty {
                heads.swapAt(0, heads.count - 1)
                heads.removeLast()
            } else {
                heads[0].time = records.pointee.firstTime
            }
            sink(0)
        }
    }

    /// The buffer at the front may go on until another one has an older record; of two of one time the lower logical process comes first.
    private func endOfRun(_ buffer: CaptureBuffer) -> Instant {
        guard let next = heads[1...].prefix(2).min(by: <) else { return .distantFuture }
        return buffer.logicalProcess < next.buffer.logicalProcess ? next.time + Duration(nanoseconds: 1) : next.time
    }

    private mutating func sink(_ position: Int) {
        var position = position
        while true {
            let left = 2 * position + 1
            let right = left + 1
            var least = position
            if left < heads.count, heads[left] < heads[least] { least = left }
            if right < heads.count, heads[right] < heads[least] { least = right }
            guard least != position else { return }
            heads.swapAt(position, least)
            position = least
        }
    }
}
