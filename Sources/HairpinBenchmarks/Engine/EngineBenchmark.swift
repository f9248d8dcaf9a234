import HairpinDatapath
import HairpinEngine
import HairpinWire

/// The event engine by itself.
///
/// - `hold`: the queue alone in the steady state (Jones 1986): the least event is taken and one put back later by an exponentially distributed time of
///   mean 1 ms, with so many pending.
/// - `timers`: retransmission timers as TCP has them: three are put off for each one that is looked at, one entry a timer, re-armed when it fires early.
/// - `events`: events through a logical process: clock, digest, dispatch to a stack's timer, which is armed again.
/// - `checksum`: Internet checksums over 1460 bytes, the payload of a full TCP segment, at an address that is aligned as it is in a frame.
public struct EngineBenchmark: Benchmark {
    public static let name = "engine"
    private let settings: Configuration
    private var holds: [HoldModel] = []
    private var timers: [TimerMix] = []
    private var alarms: AlarmNetwork?
    private let checksums = ChecksumJob()

    /// Throws `usage` for a configuration out of range.
    public init(_ configuration: Configuration) throws(BenchmarkError) {
        try configuration.validate()
        settings = configuration
    }

    public var configuration: [(key: String, value: ConfigurationValue)] {
        [
            ("pending", .text(settings.pending.map(String.init).joined(separator: ","))), ("operations", .number(settings.operations)),
            ("seed", .number(Int(truncatingIfNeeded: settings.seed))),
        ]
    }

    public mutating func prepare() throws(BenchmarkError) {
        let increments = Increments(seed: settings.seed)
        holds = settings.pending.map { HoldModel(pending: $0, increments: increments) }
        timers = settings.pending.map { TimerMix(pending: $0, increments: increments) }
        alarms = AlarmNetwork(increments: increments)
        // A full turn of the wheel's larger buckets.
        for n in holds.indices { try holds[n].run(max(settings.pending[n], settings.operations / 4)) }
        for n in timers.indices { try timers[n].run(max(settings.pending[n], settings.operations / 4)) }
        alarms?.run(settings.operations / 4)
    }

    public mutating func run() throws(BenchmarkError) -> [Measurement] {
        var result: [Measurement] = []
        func add(_ name: String, _ pending: Int?, _ seconds: Double) {
            let suffix = pending.map(EngineBenchmark.suffix) ?? ""
            let count = Double(settings.operations)
            result.append(Measurement("\(name)PerSecond\(suffix)", count / seconds, unit: "/s", isBetterHigher: true))
            result.append(Measurement("\(name)Nanoseconds\(suffix)", seconds * 1e9 / count, unit: "ns", isBetterHigher: false))
        }
        for n in holds.indices {
            let watch = Stopwatch()
            try holds[n].run(settings.operations)
            add("hold", settings.pending[n], watch.seconds)
        }
        for n in timers.indices {
            let watch = Stopwatch()
            try timers[n].run(settings.operations)
            add("timers", settings.pending[n], watch.seconds)
        }
        if let alarms {
            let watch = Stopwatch()
            alarms.run(settings.operations)
            add("events", nil, watch.seconds)
        }
        let watch = Stopwatch()
        try checksums.run(settings.operations)
        add("checksum", nil, watch.seconds)
        result.append(Measurement("frames", Double(settings.operations), unit: "operations"))
        return result
    }

    /// "1k", "100k", "1M"; other numbers as they are.
    static func suffix(_ count: Int) -> String {
        count % 1_000_000 == 0 ? "\(count / 1_000_000)M" : count % 1_000 == 0 ? "\(count / 1_000)k" : "\(count)"
    }
}

/// Checksums of one segment's payload.
final class ChecksumJob {
    private static let byteCount = 1460
    /// Behind the Ethernet, IP and TCP headers of a frame.
    private static let offset = 14 + 20 + 20
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: ChecksumJob.offset + ChecksumJob.byteCount, alignment: 64)

    init() {
        for n in buffer.indices { buffer[n] = UInt8(truncatingIfNeeded: n &* 37) }
    }
    deinit { buffer.deallocate() }

    func run(_ count: Int) throws(BenchmarkError) {
        let payload = UnsafeMutableRawBufferPointer(rebasing: buffer[ChecksumJob.offset...])
        var previous: UInt16 = 0
        for n in 0..<count {
            let checksum = InternetChecksum.checksum(UnsafeRawBufferPointer(payload))
            if n > 0, checksum == previous { throw .fault("a changed byte does not change the checksum") }
            previous = checksum
            // Another segment each time.
            payload[n & 1023] &+= 1
        }
    }
}

/// 65 536 exponentially distributed times of mean 1 ms, drawn beforehand.
final class Increments {
    private let values: UnsafeMutablePointer<UInt64>
    private static let mask = 65_535
    init(seed: UInt64) {
        values = .allocate(capacity: Increments.mask + 1)
        var random = SeededRandom(seed: seed, name: "engine/increments")
        let table = ExponentialTable()
        for n in 0...Increments.mask { (values + n).initialize(to: UInt64(table.time(random.next(), mean: 1_000_000).nanoseconds)) }
    }
    deinit { values.deallocate() }

    /// The table's places in an order without a pattern.
    @inline(__always) func at(_ n: Int) -> UInt64 { values[n &* 40_503 & Increments.mask] }
}

/// The hold model. The queue is in raw memory, as in a logical process.
final class HoldModel {
    private let queue: UnsafeMutablePointer<EventQueue>
    private let increments: Increments
    private var sequence = 0
    private var last: UInt64 = 0

    init(pending: Int, increments: Increments) {
        self.increments = increments
        queue = .allocate(capacity: 1)
        queue.initialize(to: EventQueue())
        for n in 0..<pending {
            queue.pointee.push(Instant(nanoseconds: increments.at(n)), EventSource(kind: 0, index: UInt32(truncatingIfNeeded: n)))
        }
    }
    deinit {
        queue.deinitialize(count: 1)
        queue.deallocate()
    }

    func run(_ operations: Int) throws(BenchmarkError) {
        let queue = queue
        let increments = increments
        var sequence = sequence
        var last = last
        for _ in 0..<operations {
            let event = queue.pointee.pop()
            guard event.time.nanoseconds >= last else { throw .fault("an event came out of order") }
            last = event.time.nanoseconds
            sequence &+= 1
            queue.pointee.push(Instant(nanoseconds: last &+ increments.at(sequence)), event.source)
        }
        (self.sequence, self.last) = (sequence, last)
    }
}

/// Timers that are mostly put off: one entry of the queue each and a deadline beside it, as the stacks of a logical process do it.
final class TimerMix {
    private let queue: UnsafeMutablePointer<EventQueue>
    private let increments: Increments
    private let deadlines: UnsafeMutablePointer<UInt64>
    private let count: Int
    private var sequence = 0
    private var last: UInt64 = 0

    init(pending: Int, increments: Increments) {
        self.increments = increments
        count = pending
        queue = .allocate(capacity: 1)
        queue.initialize(to: EventQueue())
        deadlines = .allocate(capacity: pending)
        for n in 0..<pending {
            (deadlines + n).initialize(to: increments.at(n))
            queue.pointee.push(Instant(nanoseconds: deadlines[n]), EventSource(kind: 0, index: UInt32(truncatingIfNeeded: n)))
        }
    }
    deinit {
        queue.deinitialize(count: 1)
        queue.deallocate()
        deadlines.deallocate()
    }

    func run(_ operations: Int) throws(BenchmarkError) {
        let queue = queue
        let increments = increments
        let deadlines = deadlines
        var sequence = sequence
        var last = last
        for _ in 0..<operations {
            // Acknowledgments put off their connections' timers.
            for _ in 0..<3 {
                sequence &+= 1
                deadlines[sequence &* 2_654_435_761 % count] = last &+ increments.at(sequence)
            }
            let event = queue.pointee.pop()
            guard event.time.nanoseconds >= last else { throw .fault("a timer came out of order") }
            last = event.time.nanoseconds
            let n = Int(event.source.index)
            if deadlines[n] <= last { deadlines[n] = last &+ increments.at(sequence) }
            queue.pointee.push(Instant(nanoseconds: deadlines[n]), event.source)
        }
        (self.sequence, self.last) = (sequence, last)
    }
}

/// A logical process whose 64 namespaces have nothing but a timer.
final class AlarmNetwork {
    private let clock: AlarmClock
    private let process: LogicalProcess

    init(increments: Increments) {
        clock = AlarmClock(increments)
        process = LogicalProcess(number: 0, interfaceCapacity: 1, namespaceCapacity: 64, seed: 1, costs: .zero, upper: clock)
        clock.process = Unmanaged.passUnretained(process)
        for n in 0..<64 { clock.stackTimer(namespace: process.makeNamespace(name: "\(n)")) }
    }

    /// Runs until so many more events have been handled.
    func run(_ events: Int) {
        let process = process
        let end = process.eventCount + UInt64(events)
        process.run(until: .distantFuture) { process.eventCount < end }
    }
}

/// Arms every timer again that fires.
private final class AlarmClock: UpperLayer {
    /// The network holds the reference.
    var process: Unmanaged<LogicalProcess>?
    private let increments: Increments
    private var sequence = 0
    init(_ increments: Increments) { self.increments = increments }

    func stackTimer(namespace: NamespaceIndex) {
        sequence &+= 1
        let increment = increments.at(sequence)
        process.unsafelyUnwrapped._withUnsafeGuaranteedRef { $0.armStack(namespace, at: Instant(nanoseconds: $0.now.nanoseconds &+ increment)) }
    }
    func deliver(_ packet: UnsafeRawBufferPointer, namespace: NamespaceIndex, checksumVerified: Bool, cutFromBurst: Bool) -> LocalDelivery {
        .protocolUnreachable
    }
    func receiveError(type: UInt8, code: UInt8, information: UInt32, offender: IPv4Address, quote: UnsafeRawBufferPointer, namespace: NamespaceIndex) {}
    func runProcess(_ index: UInt32) {}
    func sawARP(_ frame: UnsafeRawBufferPointer, interface: InterfaceIndex) {}
}
