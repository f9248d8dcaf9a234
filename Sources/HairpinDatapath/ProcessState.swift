import HairpinEngine

/// What every event of a logical process reads and writes: in raw memory, so that the hot path pays for no exclusivity checks.
struct ProcessState {
    var clock = Instant.zero
    var eventCount: UInt64 = 0
    var digest = Digest()
    var inSoftirq = false
    var softirqQueued = false
    var backlogCount = 0
    var nextPacketID: UInt64
    var books = FrameCounts()
    /// The logical process holds the reference.
    unowned(unsafe) var tap: (any TapObserver)?
    /// The tap's.
    var log: UnsafeMutablePointer<PacketLog>?
    /// Where loads end that are made for the cache's sake, so that they are made.
    var touched: UInt64 = 0
    /// Until when caches are warm, and how many stages still find them cold.
    var warmUntil = Instant.zero
    var coldStages = LogicalProcess.coldStages
    /// Indexed by `DropReason.rawValue`.
    private let dropsByReason: UnsafeMutablePointer<UInt64>

    init(firstPacketID: UInt64) {
        nextPacketID = firstPacketID
        dropsByReason = .allocate(capacity: DropReason.allCases.count)
        dropsByReason.initialize(repeating: 0, count: DropReason.allCases.count)
    }
    func deallocate() { dropsByReason.deallocate() }

    @inline(__always)
    mutating func countDrop(_ reason: DropReason) {
        books.dropped &+= 1
        dropsByReason[Int(reason.rawValue)] &+= 1
    }

    func frameBooks(inFlight: Int) -> FrameBooks {
        var result = FrameBooks()
        result.emitted = books.emitted
        result.copied = books.copied
        result.delivered = books.delivered
        result.dropped = books.dropped
        result.handedOver = books.handedOver
        result.inFlight = UInt64(inFlight)
        for n in result.dropsByReason.indices { result.dropsByReason[n] = dropsByReason[n] }
        return result
    }
}

/// The counters of `FrameBooks` that are kept as frames go.
struct FrameCounts {
    var emitted: UInt64 = 0
    var copied: UInt64 = 0
    var delivered: UInt64 = 0
    var dropped: UInt64 = 0
    var handedOver: UInt64 = 0
}
