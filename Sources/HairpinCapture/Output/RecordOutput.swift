import SystemPackage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Where a capture goes.
public enum CaptureDestination: Sendable, Equatable {
    /// A file that is made or overwritten; a FIFO works too.
    case file(String)
    /// An open file descriptor, which is closed at the end. `name` is for messages.
    case descriptor(Int32, name: String)
    /// Kept in memory.
    case memory

    var name: String {
        switch self {
        case .file(let path): path
        case .descriptor(_, let name): name
        case .memory: "memory"
        }
    }
}

/// How the records of a file format tell their length.
enum RecordFormat {
    case pcap, pcapng

    /// Bytes of the record at the start of `bytes` and whether it is a packet; nil if it is not all there. Only for bytes this module wrote.
    func record(at start: Int, of bytes: UnsafeRawBufferPointer) -> (length: Int, isPacket: Bool)? {
        func word(_ offset: Int) -> Int? {
            guard start + offset + 4 <= bytes.count else { return nil }
            return Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: start + offset, as: UInt32.self)))
        }
        var length = 0
        var isPacket = true
        switch self {
        case .pcap:
            if word(0) == Int(Pcap.magic) {
                (length, isPacket) = (Pcap.fileHeader, false)
            } else {
                guard let captured = word(8) else { return nil }
                length = Pcap.recordHeader + captured
            }
        case .pcapng:
            guard let type = word(0), let total = word(4) else { return nil }
            (length, isPacket) = (total, type == Int(Pcapng.enhancedPacket))
        }
        return start + length <= bytes.count ? (length, isPacket) : nil
    }
}

/// Raw memory in front of a file. Records are reserved, filled in place and written in large pieces; every piece ends at the end of a record.
///
/// A write that fails cuts the file back to its last whole record, so that it stays readable, and every later call throws the same error.
struct RecordOutput: ~Copyable {
    private var base: UnsafeMutableRawPointer
    private var capacity: Int
    private var used = 0
    /// What a memory destination has filled before. It grows by doubling until it has the size of a piece; then pieces are added and nothing is moved.
    private var pieces: [(base: UnsafeMutableRawPointer, count: Int, isOfStore: Bool)] = []
    private let store: CaptureMemory
    /// Whether `base` came from there.
    private var isOfStore = false
    private let destination: CaptureDestination
    private let format: RecordFormat
    /// Opened for each piece only: for directories with more files than a process may have open.
    private let reopens: Bool
    private var descriptor: FileDescriptor?
    private var bytesWritten: Int64 = 0
    /// Packets in what has been written and in what has been reserved.
    private var packetsWritten: UInt64 = 0
    private(set) var packets: UInt64 = 0
    private(set) var failure: CaptureError? { didSet { hasFailed = failure != nil } }
    private(set) var hasFailed = false
    private var isFinished = false

    init(_ destination: CaptureDestination, format: RecordFormat, bufferSize: Int, reopens: Bool = false, memory: CaptureMemory = CaptureMemory()) throws(CaptureError) {
        store = memory
        self.destination = destination
        self.format = format
        self.reopens = reopens
        switch destination {
        case .file(let path):
            do {
                let opened = try FileDescriptor.open(
                    FilePath(path), .writeOnly, options: [.create, .truncate, .closeOnExec], permissions: [.ownerReadWrite, .groupRead, .otherRead])
                if reopens { try opened.close() } else { descriptor = opened }
            } catch {
                throw .cannotOpen(file: path, reason: words(error))
            }
        case .descriptor(let number, _): descriptor = FileDescriptor(rawValue: number)
        case .memory: break
        }
        capacity = max(bufferSize, 512)
        base = .allocate(byteCount: capacity, alignment: 64)
    }

    deinit {
        for piece in pieces + [(base, used, isOfStore)] { if piece.isOfStore { store.give(back: piece.base) } else { piece.base.deallocate() } }
        if let descriptor { try? descriptor.close() }
    }

    /// Room for a packet's record of `count` bytes if there is any at hand; the caller fills it before the next call. What fails and what takes
    /// time is left to `reserve`, so that this can be in line.
    @inline(__always)
    mutating func place(_ count: Int) -> UnsafeMutableRawPointer? {
        if count > capacity &- used { return nil }
        let record = base + used
        used &+= count
        packets &+= 1
        return record
    }

    /// Room for `count` bytes of whole records, which the caller fills before the next call; `added` of them are packets.
    @inline(__always)
    mutating func reserve(_ count: Int, packets added: Int) throws(CaptureError) -> UnsafeMutableRawPointer {
        if count > capacity &- used { try makeRoom(count) }
        let record = base + used
        used &+= count
        packets &+= UInt64(truncatingIfNeeded: added)
        return record
    }

    @inline(never)
    private mutating func makeRoom(_ count: Int) throws(CaptureError) {
        if let failure { throw failure }
        precondition(!isFinished, "a packet after the capture was finished")
        if destination == .memory, capacity >= CaptureMemory.pieceSize {
            pieces.append((base, used, isOfStore))
            isOfStore = count <= CaptureMemory.pieceSize
            capacity = max(CaptureMemory.pieceSize, count)
            base = isOfStore ? store.take() : .allocate(byteCount: capacity, alignment: 64)
            used = 0
            return
        }
        if destination != .memory { try flush() }
        guard count > capacity - used else { return }
        let larger = max(capacity * 2, used + count)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 64)
        memory.copyMemory(from: base, byteCount: used)
        base.deallocate()
        base = memory
        capacity = larger
    }

    /// Appends whole records as they are, `added` packets. Many of them go to a file without a copy.
    mutating func write(_ records: UnsafeRawBufferPointer, packets added: Int) throws(CaptureError) {
        guard let source = records.baseAddress else { return }
        if destination == .memory || records.count < capacity / 2 || reopens {
            try reserve(records.count, packets: added).copyMemory(from: source, byteCount: records.count)
            return
        }
        precondition(!isFinished, "a packet after the capture was finished")
        try flush()
        packets &+= UInt64(truncatingIfNeeded: added)
        try write(records)
    }

    /// Takes memory that begins with these whole records, `added` packets, as a piece of a file in memory: `isOfStore` if the store gave it out.
    mutating func adopt(_ records: UnsafeRawBufferPointer, packets added: Int, isOfStore: Bool) {
        precondition(destination == .memory && !isFinished, "only an unfinished file in memory takes memory")
        guard let start = UnsafeMutableRawPointer(mutating: records.baseAddress) else { return }
        if used > 0 {
            pieces.append((base, used, self.isOfStore))
            (base, capacity, used, self.isOfStore) = (.allocate(byteCount: 512, alignment: 64), 512, 0, false)
        }
        pieces.append((start, records.count, isOfStore))
        packets &+= UInt64(truncatingIfNeeded: added)
    }

    /// Hands everything to the operating system. Memory keeps what it has.
    mutating func flush() throws(CaptureError) {
        if let failure { throw failure }
        guard used > 0, destination != .memory else { return }
        try write(UnsafeRawBufferPointer(start: base, count: used))
        used = 0
    }

    /// Writes whole records to the file.
    private mutating func write(_ records: UnsafeRawBufferPointer) throws(CaptureError) {
        var done = 0
        do {
            if descriptor == nil, case .file(let path) = destination {
                descriptor = try FileDescriptor.open(FilePath(path), .writeOnly, options: [.append, .closeOnExec])
            }
            if let descriptor {
                while done < records.count { done += try descriptor.write(UnsafeRawBufferPointer(rebasing: records[done...])) }
            }
            if reopens {
                let open = descriptor
                descriptor = nil
                try open?.close()
            }
        } catch {
            throw fail(error, reached: UnsafeRawBufferPointer(rebasing: records[..<done]))
        }
        bytesWritten += Int64(records.count)
        packetsWritten = packets
    }

    /// Cuts the file back to the last whole record of those bytes that reached it last.
    private mutating func fail(_ error: any Error, reached: UnsafeRawBufferPointer) -> CaptureError {
        var end = 0
        var whole = packetsWritten
        while let record = format.record(at: end, of: reached), record.length > 0 {
            end += record.length
            if record.isPacket { whole += 1 }
        }
        var isReadable = false
        if let descriptor {
            isReadable = (try? descriptor.resize(to: bytesWritten + Int64(end))) != nil
            if !isReadable, end == reached.count, end > 0 || bytesWritten > 0 { isReadable = true }
            try? descriptor.close()
        }
        descriptor = nil
        packets = whole
        (used, capacity) = (0, 0)  // every later `reserve` takes the slow path and throws
        let failure = CaptureError.writeFailed(file: destination.name, reason: words(error), packets: whole, isReadable: isReadable && bytesWritten + Int64(end) > 0)
        self.failure = failure
        return failure
    }

    /// Writes what is left and closes the file. Calling it again does nothing.
    mutating func finish() throws(CaptureError) {
        guard !isFinished else { return }
        isFinished = true
        try flush()
        guard destination != .memory else { return }
        capacity = used
        let open = descriptor
        descriptor = nil
        do { try open?.close() } catch { throw fail(error, reached: UnsafeRawBufferPointer(start: nil, count: 0)) }
    }

    /// What a memory destination holds.
    var memory: [UInt8] {
        guard destination == .memory else { return [] }
        let all = pieces + [(base, used, isOfStore)]
        return [UInt8](unsafeUninitializedCapacity: all.reduce(0) { $0 + $1.count }) { buffer, count in
            for piece in all {
                UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[count...]).copyMemory(from: UnsafeRawBufferPointer(start: piece.base, count: piece.count))
                count += piece.count
            }
        }
    }
}

/// The operating system's words for an error, in the middle of a sentence.
func words(_ error: any Error) -> String {
    let text = (error as? Errno)?.description ?? String(describing: error)
    return text.prefix(1).lowercased() + text.dropFirst()
}
