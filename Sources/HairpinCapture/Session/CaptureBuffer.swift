import HairpinDatapath
import HairpinEngine

/// What one logical process saw since the last flush, in the order it saw it. One thread at a time uses it; between windows the session
/// empties it.
public final class CaptureBuffer: TapObserver {
    let logicalProcess: Int
    /// By interface index: the interface's number in the session, or -1. Raw memory, like `records`: a sight then costs neither
    /// exclusivity checks nor reference counts.
    private let slots: UnsafeMutablePointer<Int32>
    private let slotCount: Int
    private let filter: CaptureFilter?
    private let recordsDrops: Bool
    private let snapLength: Int
    let records: UnsafeMutablePointer<RecordBuffer>
    /// Frames that ended on an interface, by interface index.
    private(set) var drops: [UInt64]
    /// Called with the present when more than `reliefLimit` bytes wait, where one buffer is all there is: what is older can be written at any time.
    private var relief: ((Instant) -> Void)?
    private var reliefLimit = Int.max

    init(logicalProcess: Int, slots: [Int32], filter: CaptureFilter?, recordsDrops: Bool, snapLength: Int) {
        self.logicalProcess = logicalProcess
        self.slots = .allocate(capacity: max(slots.count, 1))
        slotCount = slots.count
        for (index, slot) in slots.enumerated() { (self.slots + index).initialize(to: slot) }
        self.filter = filter
        self.recordsDrops = recordsDrops
        self.snapLength = snapLength
        records = .allocate(capacity: 1)
        records.initialize(to: RecordBuffer())
        drops = Array(repeating: 0, count: slots.count)
    }

    deinit {
        records.pointee.deallocate()
        records.deallocate()
        slots.deallocate()
    }

    func relieve(above limit: Int, _ write: @escaping (Instant) -> Void) { (reliefLimit, relief) = (limit, write) }

    public func saw(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent) {
        let index = Int(event.interface.rawValue)
        guard index < slotCount, slots[index] >= 0 else { return }
        if let filter, !filter.matches(bytes) { return }
        append(bytes, event, slot: UInt32(bitPattern: slots[index]), reason: RecordBuffer.noReason)
    }

    /// Marks the sight of the frame that just came in, if there was one; else makes a record of its own if the session wants that.
    public func dropped(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent, reason: DropReason) {
        let index = Int(event.interface.rawValue)
        guard index < slotCount, slots[index] >= 0 else { return }
        let slot = UInt32(bitPattern: slots[index])
        drops[index] += 1
        if records.pointee.mark(packetID: event.packetID, slot: slot, reason: reason.rawValue) { return }
        guard recordsDrops, filter?.matches(bytes) ?? true else { return }
        append(bytes, event, slot: slot, reason: reason.rawValue)
    }

    @inline(__always)
    private func append(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent, slot: UInt32, reason: UInt8) {
        if records.pointee.byteCount > reliefLimit { relief?(event.time) }
        records.pointee.append(bytes, snapLength: snapLength, time: event.time, packetID: event.packetID, slot: slot, direction: event.direction.rawValue, reason: reason)
    }
}

/// Records of frames in raw memory that is kept between flushes.
struct RecordBuffer {
    static let noReason: UInt8 = 0xff
    private static let timeOffset = 0, packetIDOffset = 8, slotOffset = 16, capturedOffset = 20, originalOffset = 24
    private static let directionOffset = 28, reasonOffset = 29, sightOffset = 30, previousOffset = 32, headerSize = 40

    private var base: UnsafeMutableRawPointer
    private var capacity = 1 << 12
    /// Offsets of the first record that is not yet consumed and of the end.
    private var start = 0
    private var end = 0
    private var last = -1
    private var lastTime: UInt64 = 0
    /// False once a record was older than the one before.
    private(set) var isSorted = true

    init() { base = .allocate(byteCount: capacity, alignment: 64) }
    func deallocate() { base.deallocate() }

    var byteCount: Int { end - start }
    var isEmpty: Bool { start == end }

    @inline(__always)
    mutating func append(_ bytes: UnsafeRawBufferPointer, snapLength: Int, time: Instant, packetID: UInt64, slot: UInt32, direction: UInt8, reason: UInt8) {
        let count = min(bytes.count, snapLength)
        let size = RecordBuffer.headerSize &+ (count &+ 7) & ~7
        if size > capacity &- end { grow(size) }
        let record = base + end
        record.storeBytes(of: time.nanoseconds, toByteOffset: RecordBuffer.timeOffset, as: UInt64.self)
        record.storeBytes(of: packetID, toByteOffset: RecordBuffer.packetIDOffset, as: UInt64.self)
        record.storeBytes(of: slot, toByteOffset: RecordBuffer.slotOffset, as: UInt32.self)
        record.storeBytes(of: UInt32(truncatingIfNeeded: count), toByteOffset: RecordBuffer.capturedOffset, as: UInt32.self)
        record.storeBytes(of: UInt32(truncatingIfNeeded: bytes.count), toByteOffset: RecordBuffer.originalOffset, as: UInt32.self)
        record.storeBytes(of: direction, toByteOffset: RecordBuffer.directionOffset, as: UInt8.self)
        record.storeBytes(of: reason, toByteOffset: RecordBuffer.reasonOffset, as: UInt8.self)
        record.storeBytes(of: reason == RecordBuffer.noReason ? 1 : 0, toByteOffset: RecordBuffer.sightOffset, as: UInt8.self)
        record.storeBytes(of: last, toByteOffset: RecordBuffer.previousOffset, as: Int.self)
        if let source = bytes.baseAddress { (record + RecordBuffer.headerSize).copyMemory(from: source, byteCount: count) }
        if time.nanoseconds < lastTime, last >= 0 { isSorted = false }
        lastTime = time.nanoseconds
        last = end
        end &+= size
    }

    @inline(never)
    private mutating func grow(_ size: Int) {
        // What is consumed goes first, unless it is too little to be worth moving the rest.
        if start > capacity / 2 { compact() }
        guard size > capacity - end else { return }
        capacity = max(capacity * 2, end + size)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 64)
        larger.copyMemory(from: base, byteCount: end)
        base.deallocate()
        base = larger
    }

    /// Moves what is not consumed to the front. The marks of `mark` do not reach back behind it.
    private mutating func compact() {
        base.copyMemory(from: base + start, byteCount: end - start)
        end -= start
        start = 0
        relink()
    }

    private mutating func relink() {
        var at = start
        last = -1
        while at < end {
            (base + at).storeBytes(of: last, toByteOffset: RecordBuffer.previousOffset, as: Int.self)
            last = at
            at += size(at)
        }
    }

    private func size(_ at: Int) -> Int { RecordBuffer.headerSize + (Int((base + at).load(fromByteOffset: RecordBuffer.capturedOffset, as: UInt32.self)) + 7) & ~7 }

    /// Writes `reason` on the latest record of this packet on this interface. A frame ends in the softirq that showed it, so a short look back is enough.
    mutating func mark(packetID: UInt64, slot: UInt32, reason: UInt8) -> Bool {
        var at = last
        for _ in 0..<64 where at >= start {
            let record = base + at
            if record.load(fromByteOffset: RecordBuffer.packetIDOffset, as: UInt64.self) == packetID,
                record.load(fromByteOffset: RecordBuffer.slotOffset, as: UInt32.self) == slot
            {
                guard record.load(fromByteOffset: RecordBuffer.reasonOffset, as: UInt8.self) == RecordBuffer.noReason else { return false }
                record.storeBytes(of: reason, toByteOffset: RecordBuffer.reasonOffset, as: UInt8.self)
                return true
            }
            at = record.load(fromByteOffset: RecordBuffer.previousOffset, as: Int.self)
        }
        return false
    }

    /// One record. `bytes` are valid until the buffer changes.
    struct Record {
        var time: Instant
        var packetID: UInt64
        var slot: Int
        var originalLength: Int
        var direction: TapDirection
        var reason: DropReason?
        /// Whether a tap showed the frame; false for one that ended before.
        var isSight: Bool
        var bytes: UnsafeRawBufferPointer
        /// To give to `consume`.
        var size: Int
    }

    /// The time of the oldest record. The buffer must not be empty.
    var firstTime: Instant { Instant(nanoseconds: (base + start).load(fromByteOffset: RecordBuffer.timeOffset, as: UInt64.self)) }

    var first: Record {
        let record = UnsafeRawPointer(base + start)
        let captured = Int(record.load(fromByteOffset: RecordBuffer.capturedOffset, as: UInt32.self))
        return Record(
            time: firstTime, packetID: record.load(fromByteOffset: RecordBuffer.packetIDOffset, as: UInt64.self),
            slot: Int(record.load(fromByteOffset: RecordBuffer.slotOffset, as: UInt32.self)),
            originalLength: Int(record.load(fromByteOffset: RecordBuffer.originalOffset, as: UInt32.self)),
            direction: TapDirection(rawValue: record.load(fromByteOffset: RecordBuffer.directionOffset, as: UInt8.self)) ?? .inbound,
            reason: DropReason(rawValue: record.load(fromByteOffset: RecordBuffer.reasonOffset, as: UInt8.self)),
            isSight: record.load(fromByteOffset: RecordBuffer.sightOffset, as: UInt8.self) != 0,
            bytes: UnsafeRawBufferPointer(start: record + RecordBuffer.headerSize, count: captured),
            size: RecordBuffer.headerSize + (captured + 7) & ~7)
    }

    mutating func consume(_ count: Int) {
        start += count
        if start == end {
            (start, end, last) = (0, 0, -1)
            isSorted = true
        }
    }

    /// Puts the records into the order of their times; those of one time keep their order.
    mutating func sort() {
        guard !isSorted else { return }
        var places: [(time: UInt64, at: Int)] = []
        var at = start
        while at < end {
            places.append(((base + at).load(fromByteOffset: RecordBuffer.timeOffset, as: UInt64.self), at))
            at += size(at)
        }
        places.sort { ($0.time, $0.at) < ($1.time, $1.at) }
        let sorted = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 64)
        var to = 0
        for place in places {
            (sorted + to).copyMemory(from: base + place.at, byteCount: size(place.at))
            to += size(place.at)
        }
        base.deallocate()
        base = sorted
        (start, end) = (0, to)
        relink()
        lastTime = places.last?.time ?? 0
        isSorted = true
    }
}
