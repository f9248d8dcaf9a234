import HairpinEngine
import HairpinWire

/// Datagrams that wait to be read, in raw memory: the bytes back to back, and a record for each. Holds no memory until the first one comes.
struct DatagramInbox {
    private struct Record {
        var offset: Int
        var count: Int
        var source: SocketAddress
        var timeToLive: UInt8
        var typeOfService: UInt8
        var at: Instant
    }
    private var records: UnsafeMutablePointer<Record>?
    private var recordCapacity = 0
    private var bytes: UnsafeMutableRawPointer?
    private var byteCapacity = 0
    /// The first record not yet read, and the first that is free.
    private var head = 0, tail = 0
    private var byteEnd = 0

    init() {}
    func deallocate() {
        records?.deallocate()
        bytes?.deallocate()
    }

    var isEmpty: Bool { head == tail }
    /// Bytes of the next datagram.
    var nextCount: Int { isEmpty ? 0 : records.unsafelyUnwrapped[head].count }

    mutating func append(_ payload: UnsafeRawBufferPointer, from source: SocketAddress, timeToLive: UInt8, typeOfService: UInt8, at: Instant) {
        if isEmpty { (head, tail, byteEnd) = (0, 0, 0) }
        if tail == recordCapacity || byteEnd + payload.count > byteCapacity { makeRoom(payload.count) }
        if let base = payload.baseAddress { (bytes.unsafelyUnwrapped + byteEnd).copyMemory(from: base, byteCount: payload.count) }
        (records.unsafelyUnwrapped + tail).initialize(
            to: Record(offset: byteEnd, count: payload.count, source: source, timeToLive: timeToLive, typeOfService: typeOfService, at: at))
        tail += 1
        byteEnd += payload.count
    }

    mutating func removeFirst() -> ReceivedMessage? {
        guard !isEmpty, let bytes else { return nil }
        let record = records.unsafelyUnwrapped[head]
        head += 1
        return ReceivedMessage(
            source: record.source, bytes: Array(UnsafeRawBufferPointer(start: bytes + record.offset, count: record.count)), timeToLive: record.timeToLive,
            typeOfService: record.typeOfService, at: record.at)
    }

    /// Copies what fits of the next datagram; the rest of it is lost, as recv(2) says.
    mutating func removeFirst(into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        guard !isEmpty, let bytes else { return nil }
        let record = records.unsafelyUnwrapped[head]
        head += 1
        let count = min(record.count, buffer.count)
        if let base = buffer.baseAddress { base.copyMemory(from: bytes + record.offset, byteCount: count) }
        return count
    }

    /// Moves what waits to the front; doubles the memory where half of it still waits.
    private mutating func makeRoom(_ count: Int) {
        let first = isEmpty ? byteEnd : records.unsafelyUnwrapped[head].offset
        let (waiting, waitingBytes) = (tail - head, byteEnd - first)
        var newRecords = max(recordCapacity, 8), newBytes = max(byteCapacity, 1024)
        if waiting * 2 >= newRecords { newRecords *= 2 }
        while (waitingBytes + count) * 2 > newBytes { newBytes *= 2 }
        if newRecords != recordCapacity {
            let larger = UnsafeMutablePointer<Record>.allocate(capacity: newRecords)
            if let records { larger.moveInitialize(from: records + head, count: waiting) }
            records?.deallocate()
            (records, recordCapacity) = (larger, newRecords)
        } else if let records {
            records.moveUpdate(from: records + head, count: head == 0 ? 0 : waiting)
        }
        if newBytes != byteCapacity {
            let larger = UnsafeMutableRawPointer.allocate(byteCount: newBytes, alignment: 16)
            if let bytes { larger.copyMemory(from: bytes + first, byteCount: waitingBytes) }
            bytes?.deallocate()
            (bytes, byteCapacity) = (larger, newBytes)
        } else if let bytes {
            bytes.copyMemory(from: bytes + first, byteCount: waitingBytes)
        }
        if let records { for n in 0..<waiting { records[n].offset -= first } }
        (head, tail, byteEnd) = (0, waiting, waitingBytes)
    }
}
