import HairpinCapture
import HairpinDatapath
import HairpinEngine
import HairpinWire

/// Hosts on one learning bridge: frames switched per second, through the event engine or by the bridge's decision alone.
public struct BridgeBenchmark: Benchmark {
    public static let name = "bridge"
    private let settings: Configuration
    private var events: BridgeEvents?
    private var core: BridgeCore?

    /// Throws `usage` for a configuration out of range.
    public init(_ configuration: Configuration) throws(BenchmarkError) {
        try configuration.validate()
        settings = configuration
    }

    public var configuration: [(key: String, value: ConfigurationValue)] {
        var result: [(key: String, value: ConfigurationValue)] = [
            ("mode", .text(settings.mode.rawValue)), ("frameSize", .number(settings.frameSize)), ("pattern", .text(settings.pattern.rawValue)),
            ("ports", .number(settings.portCount)), ("frames", .number(settings.frameCount)), ("seed", .number(Int(truncatingIfNeeded: settings.seed))),
        ]
        switch settings.mode {
        case .core: result += [("macs", .number(settings.macCount)), ("pool", .number(settings.poolCount))]
        case .events:
            let capture: String
            switch settings.capture {
            case .none: capture = "none"
            case .memory: capture = "memory"
            case .file: capture = "file"
            }
            result += [
                ("hosts", .number(settings.hosts)), ("load", .fraction(settings.hostLoad)), ("rate", .number(Int(clamping: settings.linkRate))),
                ("delayNanoseconds", .number(Int(settings.linkDelay.nanoseconds))), ("capture", .text(capture)),
            ]
        }
        return result
    }

    public mutating func prepare() throws(BenchmarkError) {
        switch settings.mode {
        case .core:
            let job = BridgeCore(settings)
            core = job
            // Every address is learned before anything is timed.
            _ = try job.forward(job.poolCount)
        case .events:
            let job = BridgeEvents(settings)
            events = job
            // As many for short repetitions as for long ones, so that counts of two sizes can be subtracted.
            try job.warmUp(50_000)
        }
    }

    public mutating func run() throws(BenchmarkError) -> [Measurement] {
        if let core {
            let seconds = try core.forward(settings.frameCount)
            return BridgeBenchmark.rates(frames: settings.frameCount, frameSize: settings.frameSize, seconds: seconds)
        }
        guard let events else { throw .fault("run before prepare") }
        let result = try events.forward(settings.frameCount)
        return BridgeBenchmark.rates(frames: result.delivered, frameSize: settings.frameSize, seconds: result.seconds) + [
            Measurement("eventsPerSecond", Double(result.events) / result.seconds, unit: "events/s", isBetterHigher: true),
            Measurement("eventsPerFrame", Double(result.events) / Double(max(result.delivered, 1)), unit: "events"),
            Measurement("drops", Double(result.dropped), unit: "frames"),
            Measurement("frames", Double(result.delivered), unit: "frames"),
        ]
    }

    private static func rates(frames: Int, frameSize: Int, seconds: Double) -> [Measurement] {
        [
            Measurement("framesPerSecond", Double(frames) / seconds, unit: "frames/s", isBetterHigher: true),
            Measurement("nanosecondsPerFrame", seconds * 1e9 / Double(max(frames, 1)), unit: "ns", isBetterHigher: false),
            Measurement("bytesPerSecond", Double(frames * frameSize) / seconds, unit: "B/s", isBetterHigher: true),
        ]
    }

    /// Locally administered addresses; the last four bytes are the number.
    static func address(_ number: Int) -> MACAddress { MACAddress(rawValue: 0x0200_0000_0000 + UInt64(number)) }
}

/// Nothing above Ethernet: hosts of the bridge job have no IP.
final class NoUpperLayer: UpperLayer {
    func deliver(_ packet: UnsafeRawBufferPointer, namespace: NamespaceIndex, checksumVerified: Bool, cutFromBurst: Bool) -> LocalDelivery {
        .protocolUnreachable
    }
    func receiveError(type: UInt8, code: UInt8, information: UInt32, offender: IPv4Address, quote: UnsafeRawBufferPointer, namespace: NamespaceIndex) {}
    func stackTimer(namespace: NamespaceIndex) {}
    func runProcess(_ index: UInt32) {}
    func sawARP(_ frame: UnsafeRawBufferPointer, interface: InterfaceIndex) {}
}
