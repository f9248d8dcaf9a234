import CProcessor
import HairpinEngine
import HairpinWire

/// `epb_flags` of pcapng: direction in bits 0 and 1, kind of destination in bits 2 to 4.
@frozen
public struct PcapngFlags: Hashable, Sendable {
    public let rawValue: UInt32
    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// As the frame's destination address tells it.
    @inlinable @inline(__always)
    public init(_ direction: TapDirection, _ bytes: UnsafeRawBufferPointer) {
        var kind: UInt32 = 0
        if bytes.count >= 6, let base = bytes.baseAddress {
            kind = base.u8(0) & 1 == 0 ? 1 : base.mac(0).isBroadcast ? 3 : 2
        }
        rawValue = UInt32(direction.rawValue) | kind &<< 2
    }
}

/// Sights of frames in raw memory that is kept between flushes, in the order they were seen.
///
/// A record is an enhanced packet block of pcapng (IETF opsawg "PCAP Next Generation Capture File Format", section 4.3) with two options: flags,
/// and the packet's id, zero if it has none. So a capture of all interfaces is, but for what is noted on some records, a copy of the logs, and the
/// length at a block's end leads back to the block before.
///
/// A value of pointers: whoever holds it frees it. One thread at a time uses it.
public struct PacketLog {
    /// What is known of a record beyond its block.
    public struct Note: Sendable, Equatable {
        /// Why the frame ended here; nil if it did not.
        public var reason: DropReason?
        /// False for a frame that no tap showed before it ended.
        public var isSight: Bool
    }

    /// Offsets in a block.
    private static let interfaceOffset = 8, timeHighOffset = 12, timeLowOffset = 16, capturedOffset = 20, originalOffset = 24, bytesOffset = 28
    /// The options and the length at the end; and how far before the end flags and id are.
    private static let trailer = 28, flagsFromEnd = 24, packetIDFromEnd = 16
    private static let enhancedPacket: UInt32 = 6, flagsOption: UInt32 = 2 | 4 << 16, packetIDOption: UInt32 = 5 | 8 << 16
    /// How many records back a frame's last sight is looked for. A frame ends in the softirq that showed it.
    private static let lookBack = 64
    /// How far before they are written to lines are asked for: a dozen small records. The log is larger than the near caches, and processors do not look beyond
    /// the page by themselves. It may be beyond the log's end, which does no harm.
    private static let ahead = 1536

    private var base: UnsafeMutableRawPointer
    private var capacity = 1 << 12
    /// Whether `base` came by `exchange`.
    private var isExchanged = false
    /// Offsets of the first record that is not yet taken and of the end.
    private var start = 0
    private var end = 0
    private var lastTime: UInt64 = 0
    /// False once a record was older than the one before.
    private var isSorted = true
    /// False once a record had no packet id: then blocks are not what goes to a file.
    private var isNamed = true
    /// By offset.
    private var notes: [(at: Int, note: Note)] = []

    /// By interface index: the interface's number in the capture, or -1.
    private let numbers: UnsafeMutablePointer<Int32>
    private let numberCount: Int
    /// Sights by the interface's number in the capture, of all time.
    private let sights: UnsafeMutablePointer<UInt64>
    /// Records in the log.
    private var recordCount = 0
    private let snapLength: Int
    /// Nanoseconds that are added to virtual time.
    private let epoch: UInt64
    /// More bytes than this should not wait.
    public var limit = Int.max

    /// `numbers`: by interface index, the interface's number in the capture, or -1 for one that is not captured. `snapLength`: bytes kept of each frame.
    public init(numbers: [Int32], snapLength: Int, epoch: Duration) {
        self.numbers = .allocate(capacity: max(numbers.count, 1))
        numberCount = numbers.count
        for (index, number) in numbers.enumerated() { (self.numbers + index).initialize(to: number) }
        let captured = max(Int(numbers.max() ?? -1) + 1, 1)
        sights = .allocate(capacity: captured)
        sights.initialize(repeating: 0, count: captured)
        self.snapLength = snapLength
        self.epoch = UInt64(max(epoch.nanoseconds, 0))
        base = .allocate(byteCount: capacity, alignment: 64)
    }
    public func deallocate() {
        base.deallocate()
        numbers.deallocate()
        sights.deallocate()
    }

    public var byteCount: Int { end - start }
    public var isEmpty: Bool { start == end }
    public var isCrowded: Bool { end &- start > limit }

    /// An interface's number in the capture; nil if it is not captured.
    @inline(__always)
    public func number(of interface: InterfaceIndex) -> UInt32? {
        let index = Int(interface.rawValue)
        guard index < numberCount, numbers[index] >= 0 else { return nil }
        return UInt32(bitPattern: numbers[index])
    }

    /// How often a tap has shown a frame on the interface with this number in the capture.
    public func sights(of number: Int) -> UInt64 { sights[number] }

    // MARK: Seeing

    /// Adds a sight of a frame on a captured interface.
    @inline(__always)
    public mutating func append(_ bytes: UnsafeRawBufferPointer, _ time: Instant, _ interface: InterfaceIndex, _ direction: TapDirection, packetID: UInt64) {
        guard let number = number(of: interface) else { return }
        sights[Int(truncatingIfNeeded: number)] &+= 1
        append(bytes, time, number: number, direction, packetID: packetID)
    }

    @inline(__always)
    private mutating func append(_ bytes: UnsafeRawBufferPointer, _ time: Instant, number: UInt32, _ direction: TapDirection, packetID: UInt64) {
        let count = min(bytes.count, snapLength)
        let padded = (count &+ 3) & ~3
        let total = PacketLog.bytesOffset &+ padded &+ PacketLog.trailer
        if total > capacity &- end { return appendAfterGrowing(bytes, time, number, direction, packetID, total) }
        let block = base + end
        hairpin_prefetch_to_write(block + PacketLog.ahead)
        hairpin_prefetch_to_write(block + (PacketLog.ahead + 64))
        let stamp = time.nanoseconds &+ epoch
        block.words(PacketLog.enhancedPacket, UInt32(truncatingIfNeeded: total), at: 0)
        block.words(number, UInt32(truncatingIfNeeded: stamp &>> 32), at: PacketLog.interfaceOffset)
        block.words(UInt32(truncatingIfNeeded: stamp), UInt32(truncatingIfNeeded: count), at: PacketLog.timeLowOffset)
        let trailer = block + (PacketLog.bytesOffset &+ padded)
        // The padding, before the bytes cover it; and of a frame without bytes, what follows covers it in turn.
        trailer.storeBytes(of: 0, toByteOffset: -4, as: UInt32.self)
        block.storeBytes(of: UInt32(truncatingIfNeeded: bytes.count).littleEndian, toByteOffset: PacketLog.originalOffset, as: UInt32.self)
        if let source = bytes.baseAddress { (block + PacketLog.bytesOffset).copyPacket(from: source, count) }
        trailer.words(PacketLog.flagsOption, PcapngFlags(direction, bytes).rawValue, at: 0)
        trailer.storeBytes(of: PacketLog.packetIDOption.littleEndian, toByteOffset: 8, as: UInt32.self)
        trailer.words(UInt32(truncatingIfNeeded: packetID), UInt32(truncatingIfNeeded: packetID &>> 32), at: 12)
        trailer.words(0, UInt32(truncatingIfNeeded: total), at: 20)
        if stamp < lastTime, start != end { isSorted = false }
        if packetID == 0 { isNamed = false }
        lastTime = stamp
        recordCount &+= 1
        end &+= total
    }

    @inline(never)
    private mutating func appendAfterGrowing(
        _ bytes: UnsafeRawBufferPointer, _ time: Instant, _ number: UInt32, _ direction: TapDirection, _ packetID: UInt64, _ total: Int
    ) {
        grow(total)
        append(bytes, time, number: number, direction, packetID: packetID)
    }

    /// Adds a frame that ended on an interface before any tap showed it.
    public mutating func append(dropped bytes: UnsafeRawBufferPointer, _ time: Instant, _ interface: InterfaceIndex, packetID: UInt64, reason: DropReason) {
        guard let number = number(of: interface) else { return }
        // Room first: making it moves what is there.
        let most = PacketLog.bytesOffset + bytes.count + 4 + PacketLog.trailer
        if most > capacity - end { grow(most) }
        notes.append((end, Note(reason: reason, isSight: false)))
        append(bytes, time, number: number, .inbound, packetID: packetID)
    }

    /// Notes why a packet ended on its latest sight on this interface. False if there is none, or it has a note already.
    public mutating func note(_ reason: DropReason, packetID: UInt64, _ interface: InterfaceIndex) -> Bool {
        guard let number = number(of: interface) else { return false }
        var after = end
        for _ in 0..<PacketLog.lookBack where after > start {
            let at = after - Int(word(after - 4))
            if word(at + PacketLog.interfaceOffset) == number, self.packetID(before: after) == packetID {
                let place = notes.lastIndex { $0.at < at }.map { $0 + 1 } ?? 0
                if place < notes.count, notes[place].at == at { return false }
                notes.insert((at, Note(reason: reason, isSight: true)), at: place)
                return true
            }
            after = at
        }
        return false
    }

    // MARK: Taking

    /// Some records, to be looked at before the log changes.
    public struct Run {
        /// Their blocks, side by side.
        public let blocks: UnsafeRawBufferPointer
        public let count: Int
        /// When the last of them was seen, with the epoch.
        public let lastTime: Instant
        /// What is noted on the only record; nil for records without notes.
        public let note: Note?
        /// Whether all have a packet id.
        public let isNamed: Bool
    }

    /// The time of the oldest record, with the epoch. There must be one.
    public var firstTime: Instant { Instant(nanoseconds: time(start)) }

    /// Takes records older than `time`, with the epoch: some without notes, or one with a note. Nil if there are none. They must be sorted.
    public mutating func takeRun(before time: Instant) -> Run? {
        guard start < end else { return nil }
        let noted = notes.first?.at ?? Int.max
        if noted == start {
            guard self.time(start) < time.nanoseconds else { return nil }
            return take(start + Int(word(start + 4)), 1, notes.removeFirst().note)
        }
        if noted == Int.max, let (stop, later) = lastOlder(than: time) { return recordCount == later ? nil : take(stop, recordCount - later, nil) }
        // Pieces that fit a near cache.
        let limit = min(end, start &+ 1 << 16)
        var stop = start
        var taken = 0
        while stop < limit, stop != noted, self.time(stop) < time.nanoseconds {
            stop &+= Int(truncatingIfNeeded: word(stop &+ 4))
            taken &+= 1
        }
        return taken == 0 ? nil : take(stop, taken, nil)
    }

    /// Where the records end that are older than `time`, and how many are not; nil if those are more than a few.
    private func lastOlder(than time: Instant) -> (stop: Int, later: Int)? {
        var stop = end
        for later in 0..<PacketLog.lookBack {
            if stop == start { return (stop, later) }
            let at = stop - Int(word(stop - 4))
            if self.time(at) < time.nanoseconds { return (stop, later) }
            stop = at
        }
        return nil
    }

    private mutating func take(_ stop: Int, _ taken: Int, _ note: Note?) -> Run {
        let blocks = UnsafeRawBufferPointer(start: base + start, count: stop - start)
        let last = stop - Int(word(stop - 4))
        let run = Run(blocks: blocks, count: taken, lastTime: Instant(nanoseconds: time(last)), note: note, isNamed: isNamed)
        start = stop
        recordCount -= taken
        if start == end { begin() }
        return run
    }

    private mutating func begin() {
        (start, end, recordCount) = (0, 0, 0)
        (isSorted, isNamed) = (true, true)
    }

    /// Takes all records older than `time`, with the epoch, together with the memory they lie in, from its beginning; the caller frees that, and
    /// `wasExchanged` says that it came here by this way. `memory` becomes the log's, and what is not older moves there. Nil, and nothing has changed, if
    /// blocks are not what goes to a file, or if what would move is not little.
    public mutating func exchange(before time: Instant, for memory: UnsafeMutableRawPointer, capacity newCapacity: Int) -> (run: Run, wasExchanged: Bool)? {
        guard start == 0, isSorted, isNamed, notes.isEmpty, let (stop, later) = lastOlder(than: time), later < recordCount, end - stop <= newCapacity else { return nil }
        let rest = end - stop
        memory.copyMemory(from: base + stop, byteCount: rest)
        let last = Instant(nanoseconds: self.time(stop - Int(word(stop - 4))))
        let run = Run(blocks: UnsafeRawBufferPointer(start: base, count: stop), count: recordCount - later, lastTime: last, note: nil, isNamed: true)
        let wasExchanged = isExchanged
        (base, capacity, isExchanged) = (memory, newCapacity, true)
        begin()
        (end, recordCount) = (rest, later)
        return (run, wasExchanged)
    }

    /// One record.
    public struct Record {
        /// With the epoch.
        public let time: Instant
        /// The interface's number in the capture.
        public let interface: Int
        public let flags: PcapngFlags
        public let packetID: UInt64
        public let originalLength: Int
        public let bytes: UnsafeRawBufferPointer
    }

    /// Gives each record of a run to `body`.
    public static func forEach(_ run: Run, _ body: (Record) -> Void) {
        var rest = run.blocks
        while let block = rest.baseAddress, !rest.isEmpty {
            func word(_ offset: Int) -> UInt32 { UInt32(littleEndian: block.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) }
            let total = Int(word(4))
            body(
                Record(
                    time: Instant(nanoseconds: UInt64(word(timeHighOffset)) << 32 | UInt64(word(timeLowOffset))), interface: Int(word(interfaceOffset)),
                    flags: PcapngFlags(rawValue: word(total - flagsFromEnd)),
                    packetID: UInt64(word(total - packetIDFromEnd)) | UInt64(word(total - packetIDFromEnd + 4)) << 32, originalLength: Int(word(originalOffset)),
                    bytes: UnsafeRawBufferPointer(start: block + bytesOffset, count: Int(word(capturedOffset)))))
            rest = UnsafeRawBufferPointer(rebasing: rest[total...])
        }
    }

    // MARK: Memory

    @inline(__always)
    private func word(_ at: Int) -> UInt32 { UInt32(littleEndian: base.loadUnaligned(fromByteOffset: at, as: UInt32.self)) }
    @inline(__always)
    private func time(_ at: Int) -> UInt64 { UInt64(word(at &+ PacketLog.timeHighOffset)) &<< 32 | UInt64(word(at &+ PacketLog.timeLowOffset)) }
    private func packetID(before end: Int) -> UInt64 {
        UInt64(word(end - PacketLog.packetIDFromEnd)) | UInt64(word(end - PacketLog.packetIDFromEnd + 4)) << 32
    }

    @inline(never)
    private mutating func grow(_ size: Int) {
        // What is taken goes first, unless it is too little to be worth moving the rest.
        if start > capacity / 2 {
            base.copyMemory(from: base + start, byteCount: end - start)
            for n in notes.indices { notes[n].at -= start }
            end -= start
            start = 0
        }
        guard size > capacity - end else { return }
        capacity = max(capacity * 2, end + size)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 64)
        larger.copyMemory(from: base, byteCount: end)
        base.deallocate()
        (base, isExchanged) = (larger, false)
    }

    /// Puts the records into the order of their times; those of one time keep their order.
    public mutating func sort() {
        if !isSorted { sortNow() }
    }

    @inline(never)
    private mutating func sortNow() {
        var places: [(time: UInt64, at: Int)] = []
        var at = start
        while at < end {
            places.append((time(at), at))
            at += Int(word(at + 4))
        }
        places.sort { ($0.time, $0.at) < ($1.time, $1.at) }
        let old = Dictionary(uniqueKeysWithValues: notes.map { ($0.at, $0.note) })
        notes = []
        let sorted = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 64)
        var to = 0
        for place in places {
            let size = Int(word(place.at + 4))
            (sorted + to).copyMemory(from: base + place.at, byteCount: size)
            if let note = old[place.at] { notes.append((to, note)) }
            to += size
        }
        base.deallocate()
        (base, isExchanged) = (sorted, false)
        (start, end) = (0, to)
        lastTime = places.last?.time ?? 0
        isSorted = true
    }
}

extension UnsafeMutableRawPointer {
    /// Two little-endian words side by side.
    @inline(__always)
    fileprivate func words(_ first: UInt32, _ second: UInt32, at offset: Int) {
        storeBytes(of: (UInt64(first) | UInt64(second) &<< 32).littleEndian, toByteOffset: offset, as: UInt64.self)
    }
}
