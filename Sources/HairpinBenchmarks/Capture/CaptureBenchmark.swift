import HairpinCapture
import HairpinDatapath
import HairpinEngine
import HairpinWire

/// The capture writers: frames from a ring of 64 that stays in the cache, with times that go on, into a pcap or pcapng file, the null device, or memory.
public struct CaptureBenchmark: Benchmark {
    public static let name = "capture"
    private let settings: Configuration
    private var frames: [[UInt8]] = []

    /// Throws `usage` for a configuration out of range.
    public init(_ configuration: Configuration) throws(BenchmarkError) {
        try configuration.validate()
        settings = configuration
    }

    public var configuration: [(key: String, value: ConfigurationValue)] {
        let destination: String
        switch settings.destination {
        case .null: destination = "null"
        case .memory: destination = "memory"
        case .file: destination = "file"
        }
        return [
            ("format", .text(settings.format.rawValue)), ("frameSize", .number(settings.frameSize)), ("destination", .text(destination)),
            ("frames", .number(settings.frameCount)),
        ]
    }

    public mutating func prepare() throws(BenchmarkError) {
        frames = (0..<64).map { n in
            var bytes = [UInt8](repeating: UInt8(n), count: settings.frameSize)
            bytes.withUnsafeMutableBytes {
                EthernetHeader(destination: BridgeBenchmark.address(n + 1), source: BridgeBenchmark.address(n + 2), type: .localExperimental).emit(to: $0.baseAddress!)
            }
            return bytes
        }
    }

    public mutating func run() throws(BenchmarkError) -> [Measurement] {
        // One block of raw memory: an array of arrays would be retained for each frame.
        let ring = UnsafeMutableRawBufferPointer.allocate(byteCount: frames.count * settings.frameSize, alignment: 64)
        defer { ring.deallocate() }
        for (n, frame) in frames.enumerated() { frame.withUnsafeBytes { (ring.baseAddress! + n * settings.frameSize).copyMemory(from: $0.baseAddress!, byteCount: $0.count) } }
        let seconds: Double
        do { seconds = settings.format == .pcap ? try writePcap(ring) : try writePcapng(ring) } catch { throw .output("\(error)") }
        let count = Double(settings.frameCount)
        return [
            Measurement("framesPerSecond", count / seconds, unit: "frames/s", isBetterHigher: true),
            Measurement("bytesPerSecond", count * Double(settings.frameSize) / seconds, unit: "B/s", isBetterHigher: true),
            Measurement("nanosecondsPerFrame", seconds * 1e9 / count, unit: "ns", isBetterHigher: false),
            Measurement("frames", count, unit: "frames"),
        ]
    }

    private var destination: CaptureDestination {
        switch settings.destination {
        case .null: .file("/dev/null")
        case .memory: .memory
        case .file(let path): .file(path)
        }
    }

    private func writePcap(_ ring: UnsafeMutableRawBufferPointer) throws(CaptureError) -> Double {
        let size = settings.frameSize
        let last = ring.count - size
        let watch = Stopwatch()
        var writer = try PcapWriter(to: destination)
        var offset = 0
        var time: UInt64 = 0
        for _ in 0..<settings.frameCount {
            try writer.write(UnsafeRawBufferPointer(start: ring.baseAddress.unsafelyUnwrapped + offset, count: size), time: Instant(nanoseconds: time))
            offset = offset == last ? 0 : offset &+ size
            time &+= 1_000
        }
        try writer.finish()
        return watch.seconds
    }

    private func writePcapng(_ ring: UnsafeMutableRawBufferPointer) throws(CaptureError) -> Double {
        let size = settings.frameSize
        let last = ring.count - size
        let watch = Stopwatch()
        var writer = try PcapngWriter(to: destination, section: PcapngSection(application: "hairpin"), interfaces: [PcapngInterface(name: "eth0")])
        var offset = 0
        var time: UInt64 = 0
        for _ in 0..<settings.frameCount {
            let bytes = UnsafeRawBufferPointer(start: ring.baseAddress.unsafelyUnwrapped + offset, count: size)
            try writer.write(bytes, time: Instant(nanoseconds: time), interface: 0, flags: PcapngFlags(.outbound, bytes), packetID: time)
            offset = offset == last ? 0 : offset &+ size
            time &+= 1_000
        }
        try writer.finish()
        return watch.seconds
    }
}
