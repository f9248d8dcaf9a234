import HairpinDatapath
import HairpinEngine
import HairpinWire

/// A capture of a simulation: hangs on the tap points of every logical process and writes one pcapng of all interfaces, a pcap for each,
/// or both.
///
/// While the simulation runs, each logical process fills a buffer of its own. Between windows `flush(upTo:)` merges the buffers by
/// (time, number of the logical process, order of sight), so the files hold the same bytes for any number of threads. `finish()` ends the
/// files properly, also after an interrupt.
public final class CaptureSession: TapObserver {
    /// The captured interfaces, in the order of their numbers in the pcapng.
    public let interfaces: [CaptureInterface]
    private let options: CaptureOptions
    private let memory: CaptureMemory
    private var buffers: [CaptureBuffer] = []
    /// By the number of the logical process.
    private var bufferOfProcess: [Int: CaptureBuffer] = [:]
    // Writers are noncopyable structs in memory of ours: a call per packet then costs no exclusivity check.
    private let combined: UnsafeMutablePointer<PcapngWriter>?
    private let files: UnsafeMutablePointer<PcapWriter>
    private var fileCount = 0
    /// A capture of one logical process to memory, and nowhere else: its log has just the bytes that are wanted.
    private var keepsBlocks = false
    private var lastTime = Instant.zero
    private var isFinished = false
    /// The first thing that went wrong while writing. The other files go on.
    public private(set) var failure: CaptureError?

    /// More open files than this, and each is opened only while it is written.
    private static let openFileLimit = 200
    /// No frame's block is larger.
    private static let largestBlock = 1 << 17

    /// Opens the files. Throws `noInterface` for a pattern that matches nothing, and `cannotOpen`.
    ///
    /// - Parameter memory: For a capture in memory. Sessions one after the other that share it touch no new memory.
    public init(interfaces known: [CaptureInterface], options: CaptureOptions, memory: CaptureMemory = CaptureMemory()) throws(CaptureError) {
        for pattern in options.interfaces where !known.contains(where: pattern.matches) {
            throw .noInterface(pattern: pattern.text, known: known.map(\.label))
        }
        self.options = options
        self.memory = memory
        let chosen = known.filter { interface in options.interfaces.contains { $0.matches(interface) } }
        interfaces = chosen
        files = .allocate(capacity: max(chosen.count, 1))
        if let destination = options.combined {
            let descriptions = chosen.map {
                PcapngInterface(name: "\($0.host)/\($0.name)", text: $0.text, mac: $0.mac, addresses: $0.addresses, speed: $0.speed, filter: options.filter?.text ?? "")
            }
            let writer: PcapngWriter
            do {
                writer = try PcapngWriter(
                    to: destination, section: options.section, interfaces: descriptions, snapLength: options.snapLength, memory: memory)
            } catch {
                files.deallocate()
                throw error
            }
            combined = .allocate(capacity: 1)
            combined?.initialize(to: writer)
        } else {
            combined = nil
        }
        // From here on everything is set up: an error below runs the deinitializer.
        try openFiles()
        try combined?.pointee.write(names: names())
        let processes = Dictionary(grouping: known.indices, by: { known[$0].logicalProcess })
        for process in processes.keys.sorted() { addBuffer(process, of: known) }
        if buffers.count == 1 {
            keepsBlocks = options.combined == .memory && options.perInterface == .none && options.packetIDs
            buffers[0].relieve(above: keepsBlocks ? CaptureMemory.pieceSize - CaptureSession.largestBlock : 1 << 18) { [unowned self] time in write(upTo: time) }
        }
    }

    deinit {
        if let combined {
            combined.deinitialize(count: 1)
            combined.deallocate()
        }
        files.deinitialize(count: fileCount)
        files.deallocate()
    }

    private func openFiles() throws(CaptureError) {
        guard options.perInterface != .none else { return }
        let many = interfaces.count > CaptureSession.openFileLimit
        let names = fileNames
        for slot in interfaces.indices {
            var destination = CaptureDestination.memory
            if case .directory(let folder) = options.perInterface { destination = .file("\(folder)/\(names[slot]).pcap") }
            let writer = try PcapWriter(
                to: destination, snapLength: options.snapLength, bufferSize: destination == .memory ? 1 << 9 : many ? 1 << 14 : 1 << 17, reopens: many)
            (files + slot).initialize(to: writer)
            fileCount += 1
        }
    }

    /// The names of the per-interface files without ".pcap"; two interfaces never share one.
    public var fileNames: [String] {
        var taken: Set<String> = []
        return interfaces.map { interface in
            var name = interface.fileName
            var number = 2
            while !taken.insert(name).inserted {
                name = "\(interface.fileName).\(number)"
                number += 1
            }
            return name
        }
    }

    /// The hosts' addresses, then the names the options give; an address is named once.
    private func names() -> [(address: IPv4Address, name: String)] {
        var seen: Set<IPv4Address> = []
        let own = interfaces.flatMap { interface in interface.addresses.filter { !$0.address.isLoopback }.map { (address: $0.address, name: interface.host) } }
        return (own + options.names).filter { seen.insert($0.address).inserted }
    }

    private func addBuffer(_ process: Int, of known: [CaptureInterface]) {
        let highest = known.filter { $0.logicalProcess == process }.map { Int($0.index.rawValue) }.max() ?? 0
        var slots = [Int32](repeating: -1, count: highest + 1)
        for (slot, interface) in interfaces.enumerated() where interface.logicalProcess == process {
            slots[Int(interface.index.rawValue)] = Int32(slot)
        }
        let buffer = CaptureBuffer(logicalProcess: process, numbers: slots, options: options)
        buffers.append(buffer)
        bufferOfProcess[process] = buffer
    }

    /// What a logical process reports to; nil if it has no interface at all.
    public func observer(of logicalProcess: Int) -> CaptureBuffer? { bufferOfProcess[logicalProcess] }

    /// A session of a single logical process is an observer itself.
    public func saw(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent) { buffers.first?.saw(bytes, event) }
    public func dropped(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent, reason: DropReason) { buffers.first?.dropped(bytes, event, reason: reason) }

    /// Bytes of frames that wait for a flush.
    public var waiting: Int { buffers.reduce(0) { $0 + $1.records.pointee.byteCount } }

    /// Writes every record older than `time`: all logical processes must have passed it, and none may be running. Throws the first error.
    public func flush(upTo time: Instant) throws(CaptureError) {
        write(upTo: time)
        if let failure { throw failure }
    }

    private func write(upTo time: Instant) {
        if isFinished { return }
        var merge = BufferMerge(buffers)
        merge.drain(before: time == .distantFuture ? time : time + options.epoch) { buffer, end in
            if keepsBlocks, buffer.records.pointee.byteCount >= CaptureMemory.pieceSize / 2 { keep(buffer.records, end) }
            while let run = buffer.records.pointee.takeRun(before: end) { write(run) }
        }
    }

    /// The log of the only logical process becomes a piece of the capture in memory as it is.
    private func keep(_ records: UnsafeMutablePointer<PacketLog>, _ end: Instant) {
        guard let combined, !combined.pointee.hasFailed else { return }
        let piece = memory.take()
        guard let (run, isOfStore) = records.pointee.exchange(before: end, for: piece, capacity: CaptureMemory.pieceSize) else { return memory.give(back: piece) }
        lastTime = max(lastTime, run.lastTime)
        combined.pointee.adopt(run.blocks, count: run.count, isOfStore: isOfStore)
    }

    private func write(_ run: PacketLog.Run) {
        lastTime = max(lastTime, run.lastTime)
        if fileCount > 0, run.note?.isSight ?? true { PacketLog.forEach(run, writeFile) }
        guard let combined, !combined.pointee.hasFailed else { return }
        if run.note == nil, run.isNamed, options.packetIDs {
            do throws(CaptureError) { try combined.pointee.write(blocks: run.blocks, count: run.count) } catch { note(error) }
        } else {
            PacketLog.forEach(run) { writeCombined($0, run.note?.reason) }
        }
    }

    private func writeFile(_ record: PacketLog.Record) {
        let file = files + record.interface
        if file.pointee.hasFailed { return }
        do throws(CaptureError) { try file.pointee.write(record.bytes, time: record.time, originalLength: record.originalLength) } catch { note(error) }
    }

    private func writeCombined(_ record: PacketLog.Record, _ reason: DropReason?) {
        guard let combined, !combined.pointee.hasFailed else { return }
        let packetID = options.packetIDs ? record.packetID : 0
        do throws(CaptureError) {
            if let reason {
                try combined.pointee.write(
                    record.bytes, time: record.time, interface: record.interface, flags: record.flags, packetID: packetID,
                    originalLength: record.originalLength, isDropped: true, comments: ["dropped: \(reason.words)"])
            } else {
                try combined.pointee.write(
                    record.bytes, time: record.time, interface: record.interface, flags: record.flags, packetID: packetID, originalLength: record.originalLength)
            }
        } catch { note(error) }
    }

    private func note(_ error: CaptureError) { if failure == nil { failure = error } }

    /// Writes everything that was seen, the statistics of the interfaces, and closes the files. Later calls do nothing. Throws the first
    /// error of the whole session; every other file is complete then all the same.
    public func finish() throws(CaptureError) {
        guard !isFinished else { return }
        write(upTo: .distantFuture)
        isFinished = true
        if let combined, !combined.pointee.hasFailed {
            do throws(CaptureError) {
                let start = Instant.zero + options.epoch
                let drops = dropsBySlot()
                for slot in interfaces.indices {
                    try combined.pointee.write(statisticsOf: slot, at: lastTime, from: start, received: sights(slot), dropped: drops[slot])
                }
                try combined.pointee.finish()
            } catch { note(error) }
        }
        for slot in 0..<fileCount where !(files + slot).pointee.hasFailed {
            do throws(CaptureError) { try (files + slot).pointee.finish() } catch { note(error) }
        }
        if let failure { throw failure }
    }

    private func sights(_ slot: Int) -> UInt64 { bufferOfProcess[interfaces[slot].logicalProcess]?.records.pointee.sights(of: slot) ?? 0 }
    private func dropsBySlot() -> [UInt64] {
        interfaces.map { interface in bufferOfProcess[interface.logicalProcess]?.drops[Int(interface.index.rawValue)] ?? 0 }
    }

    /// Packets seen so far, by interface; all of them are written when the session is finished.
    public var packetCounts: [UInt64] { interfaces.indices.map(sights) }
    /// The pcapng, if it goes to memory.
    public var combinedBytes: [UInt8] { combined?.pointee.memory ?? [] }

    /// The pcap files of the interfaces that go to memory, by file name without ".pcap".
    public var interfaceFiles: [String: [UInt8]] {
        guard options.perInterface == .memory else { return [:] }
        return Dictionary(uniqueKeysWithValues: zip(fileNames, (0..<fileCount).map { (files + $0).pointee.memory }))
    }

    /// The packets of `interfaceFiles`, as a comparison wants them.
    public var interfacePackets: [String: [(time: UInt64, bytes: [UInt8])]] {
        interfaceFiles.mapValues { file in
            let capture = try? CaptureReader.parse(file, name: "memory")
            return capture?.packets.map { (time: $0.time.nanoseconds, bytes: Array($0.bytes)) } ?? []
        }
    }
}
