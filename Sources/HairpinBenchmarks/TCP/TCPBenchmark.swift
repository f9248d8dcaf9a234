import HairpinEngine
import HairpinHost
import HairpinTopology
import HairpinTransport
import HairpinWire

/// Bulk TCP between pods of one node: both stacks emulated, every segment a frame through veth pairs and the node's bridge.
///
/// The programs are ordinary ones: processes with sockets, woken by readiness, that read and write 64 KiB at a time through `SystemCalls`. Connections
/// are opened once and stay open between repetitions, so that a repetition is the steady state. Before, connections that carry nothing are opened in a
/// network of their own and their memory is measured.
public struct TCPBenchmark: Benchmark {
    public static let name = "tcp"
    private let settings: Configuration
    private var world: World?
    private var idle: IdleConnections?

    /// A built network and the programs in it.
    private struct World {
        let simulation: Simulation
        let progress: BulkProgress
        /// Names of the hosts that receive.
        let servers: [String]
    }

    public init(_ configuration: Configuration) throws(BenchmarkError) {
        try configuration.validate()
        settings = configuration
    }

    public var configuration: [(key: String, value: ConfigurationValue)] {
        [
            ("flows", .number(settings.flows)), ("pods", .number(settings.pods)), ("path", .text(settings.path.rawValue)), ("bytes", .number(settings.bytes)),
            ("idle", .number(settings.idle)),
        ]
    }

    /// Longest virtual time a repetition may take: it would have to run at a kilobyte a second.
    private static let patience = Duration.seconds(1_000_000)
    /// Payload of a flow before anything is timed: enough for windows and buffers to reach their size.
    private static let warmUp = 16_000_000

    public mutating func prepare() throws(BenchmarkError) {
        if settings.idle > 0 { idle = try IdleConnections(opening: settings.idle) }
        let pairs = settings.pods / 2
        let network = try PodNetwork(pairs: pairs, throughService: settings.path == .vip)
        let progress = BulkProgress(flows: settings.flows)
        let simulation: Simulation
        do { simulation = try Simulation(network.topology) } catch { throw .fault("the network cannot be built: \(error)") }
        let files = simulation.makeContainer(name: "bulk")
        for pair in 0..<min(pairs, settings.flows) {
            let flows = (settings.flows - pair + pairs - 1) / pairs
            simulation.spawn(on: network.servers[pair].name, BulkServer(progress, flows: flows), arguments: ["bulk-server"], in: files)
        }
        // Servers listen before the first client connects.
        simulation.run(until: simulation.now + .milliseconds(1))
        for flow in 0..<settings.flows {
            let pair = flow % pairs
            let program = BulkClient(progress, flow: flow, to: SocketAddress(network.targets[pair], PodNetwork.port))
            simulation.spawn(on: network.clients[pair], program, arguments: ["bulk-client"], in: files)
        }
        world = World(simulation: simulation, progress: progress, servers: network.servers.map(\.name))
        _ = try move(min(settings.bytes, TCPBenchmark.warmUp * settings.flows))
    }

    public mutating func run() throws(BenchmarkError) -> [Measurement] {
        guard let world else { throw .fault("run before prepare") }
        let frames = world.simulation.books.emitted
        let segments = receivedSegments(world)
        let result = try move(settings.bytes)
        let dataSegments = Double(receivedSegments(world) - segments)
        let count = Double(settings.bytes)
        var measurements = [
            Measurement("dataSegmentsPerSecond", dataSegments / result.seconds, unit: "segments/s", isBetterHigher: true),
            Measurement("bytesPerSecond", count / result.seconds, unit: "B/s", isBetterHigher: true),
            Measurement("nanosecondsPerSegment", result.seconds * 1e9 / dataSegments, unit: "ns", isBetterHigher: false),
            Measurement("framesPerSecond", Double(world.simulation.books.emitted - frames) / result.seconds, unit: "frames/s", isBetterHigher: true),
            Measurement("virtualBitsPerSecond", count * 8 / result.virtualSeconds, unit: "bit/s"),
            Measurement("dataSegments", dataSegments, unit: "segments"),
            Measurement("frames", Double(world.simulation.books.emitted - frames), unit: "frames"),
        ]
        if let idle {
            measurements += [
                Measurement("idleEndpointMemoryBytes", idle.bytesPerEndpoint, unit: "B", isBetterHigher: false),
                Measurement("idleEndpointHotBytes", Double(idle.hotBytesPerEndpoint), unit: "B", isBetterHigher: false),
            ]
        }
        return measurements
    }

    /// What receiving hosts' stacks took in: in the steady state the data, and no more than a handful of other segments.
    private func receivedSegments(_ world: World) -> Int {
        world.servers.reduce(0) { $0 + (world.simulation.transportStatistics(of: $1)?.segmentsReceived ?? 0) }
    }

    /// Moves so many bytes and checks that every one of them arrived and that no frame is unaccounted for.
    private func move(_ bytes: Int) throws(BenchmarkError) -> (seconds: Double, virtualSeconds: Double) {
        guard let world else { throw .fault("run before prepare") }
        let simulation = world.simulation
        let progress = world.progress
        let before = progress.received
        let limit = simulation.now + TCPBenchmark.patience
        progress.order(bytes, at: simulation.now)
        let watch = Stopwatch()
        simulation.run(until: limit) { progress.isUnfinished }
        let seconds = watch.seconds
        if let problem = progress.problem { throw .fault(problem) }
        guard progress.received - before == bytes else { throw .fault("\(progress.received - before) of \(bytes) bytes arrived") }
        let virtual = (simulation.now - progress.startedAt).nanoseconds
        // The last acknowledgments and the timers they stop.
        simulation.run(until: simulation.now + .milliseconds(300))
        let books = simulation.books
        guard books.isBalanced else { throw .fault("the books do not balance: \(books)") }
        guard books.dropped == 0 else { throw .fault("\(books.dropped) frames were dropped") }
        return (seconds, Double(max(virtual, 1)) / 1e9)
    }
}
