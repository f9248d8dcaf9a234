import HairpinDatapath
import HairpinEngine

/// What one logical process saw since the last flush, in the order it saw it. One thread at a time uses it; between windows the session
/// empties it.
public final class CaptureBuffer: TapObserver {
    let logicalProcess: Int
    private let filter: CaptureFilter?
    private let recordsDrops: Bool
    /// In raw memory: a sight then costs neither exclusivity checks nor reference counts.
    let records: UnsafeMutablePointer<PacketLog>
    /// Frames that ended on an interface, by interface index.
    private(set) var drops: [UInt64]
    /// Called with the present when more than the log's limit waits, where one buffer is all there is: what is older can be written at any time.
    private var relief: ((Instant) -> Void)?

    init(logicalProcess: Int, numbers: [Int32], options: CaptureOptions) {
        self.logicalProcess = logicalProcess
        filter = options.filter
        recordsDrops = options.drops == .record
        records = .allocate(capacity: 1)
        records.initialize(to: PacketLog(numbers: numbers, snapLength: options.snapLength, epoch: options.epoch))
        drops = Array(repeating: 0, count: numbers.count)
    }

    deinit {
        records.pointee.deallocate()
        records.deinitialize(count: 1)
        records.deallocate()
    }

    func relieve(above limit: Int, _ write: @escaping (Instant) -> Void) {
        records.pointee.limit = limit
        relief = write
    }

    // MARK: TapObserver

    /// A filter has to see every frame.
    public var log: UnsafeMutablePointer<PacketLog>? { filter == nil ? records : nil }

    public func relieveLog(_ now: Instant) { relief?(now) }

    public func saw(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent) {
        guard records.pointee.number(of: event.interface) != nil, filter?.matches(bytes) ?? true else { return }
        if records.pointee.isCrowded { relieveLog(event.time) }
        records.pointee.append(bytes, event.time, event.interface, event.direction, packetID: event.packetID)
    }

    /// Marks the sight of the frame that just came in, if there was one; else makes a record of its own if the session wants that.
    public func dropped(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent, reason: DropReason) {
        guard records.pointee.number(of: event.interface) != nil else { return }
        drops[Int(event.interface.rawValue)] += 1
        if records.pointee.note(reason, packetID: event.packetID, event.interface) { return }
        guard recordsDrops, filter?.matches(bytes) ?? true else { return }
        records.pointee.append(dropped: bytes, event.time, event.interface, packetID: event.packetID, reason: reason)
    }
}
