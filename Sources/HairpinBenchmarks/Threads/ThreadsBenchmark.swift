import HairpinDatapath
import HairpinEngine
import HairpinHost
import HairpinTopology
import HairpinWire

/// Busy nodes run by one thread and by several: the same network twice, driven in turn over the same virtual time.
///
/// Each node has a bridge of its own with pods that send and receive through cables with rate and delay, as in the bridge job; uplinks join the
/// bridges in a row. Both networks must have done the same to the last event, which their digests tell.
public struct ThreadsBenchmark: Benchmark {
    public static let name = "threads"
    private let settings: Configuration
    private var worlds: (one: Simulation, several: Simulation)?
    private var now = Instant.zero
    private var repetition = 0

    /// Throws `usage` for a configuration out of range.
    public init(_ configuration: Configuration) throws(BenchmarkError) {
        try configuration.validate()
        settings = configuration
    }

    public var configuration: [(key: String, value: ConfigurationValue)] {
        [
            ("nodes", .number(settings.nodes)), ("threads", .number(settings.threads)), ("pods", .number(settings.pods)), ("remote", .number(settings.remote)),
            ("latencyNanoseconds", .number(Int(settings.latency.nanoseconds))), ("load", .fraction(settings.load)), ("frameSize", .number(settings.frameSize)),
            ("frames", .number(settings.frames)), ("sharesEveryWindow", .flag(settings.sharesEveryWindow)), ("seed", .number(Int(truncatingIfNeeded: settings.seed))),
        ]
    }

    public mutating func prepare() throws(BenchmarkError) {
        let topology = settings.makeTopology()
        let one = try settings.makeSimulation(topology, threads: 1)
        let several = try settings.makeSimulation(topology, threads: settings.threads)
        worlds = (one, several)
        // Until every bridge has learned everybody, pools and queues have their size, and the pace is set.
        now += span(50_000)
        one.run(until: now)
        several.run(until: now)
        try check(one, several)
    }

    /// How long it takes until about so many frames have been generated.
    private func span(_ frames: Int) -> Duration {
        let (product, overflow) = settings.gap.nanoseconds.multipliedReportingOverflow(by: Int64(frames / (settings.nodes * settings.pods) + 1))
        return .nanoseconds(overflow ? .max / 4 : product)
    }

    public mutating func run() throws(BenchmarkError) -> [Measurement] {
        guard let (one, several) = worlds else { throw .fault("run before prepare") }
        let before = several.books
        let events = several.eventCount
        let counts = several.windowCounts
        now += span(settings.frames)
        let limit = now
        func time(_ simulation: Simulation) -> Double {
            let watch = Stopwatch()
            simulation.run(until: limit)
            return watch.seconds
        }
        // In turn first and last: what else the machine does favours neither.
        repetition += 1
        var seconds: (one: Double, several: Double)
        if repetition % 2 == 0 {
            seconds.several = time(several)
            seconds.one = time(one)
        } else {
            seconds.one = time(one)
            seconds.several = time(several)
        }
        try check(one, several)
        let after = several.books
        let delivered = Double(after.delivered - before.delivered)
        let windows = Double(several.windowCounts.windows - counts.windows)
        return [
            Measurement("framesPerSecond", delivered / seconds.several, unit: "frames/s", isBetterHigher: true),
            Measurement("framesPerSecondOneThread", delivered / seconds.one, unit: "frames/s", isBetterHigher: true),
            Measurement("speedup", seconds.one / seconds.several, unit: "×", isBetterHigher: true),
            Measurement("eventsPerWindow", Double(several.eventCount - events) / max(windows, 1), unit: "events"),
            Measurement("sharedWindows", Double(several.windowCounts.shared - counts.shared) / max(windows, 1), unit: "of all"),
            Measurement("runsByOthers", Double(several.windowCounts.runsByOthers - counts.runsByOthers) / max(windows, 1), unit: "a window"),
            Measurement("handedOver", Double(after.handedOver - before.handedOver), unit: "frames"),
            Measurement("frames", delivered, unit: "frames"),
        ]
    }

    private func check(_ one: Simulation, _ several: Simulation) throws(BenchmarkError) {
        guard one.digest == several.digest else { throw .fault("on \(settings.threads) threads another digest than on one: \(several.digest) and \(one.digest)") }
        guard one.books == several.books else { throw .fault("on \(settings.threads) threads other books than on one: \(several.books) and \(one.books)") }
        guard several.books.isBalanced else { throw .fault("the books do not balance: \(several.books)") }
        guard !settings.sharesEveryWindow || several.windowCounts.runsByOthers > 0 else { throw .fault("one thread did everything") }
        guard several.books.delivered > 0 else { throw .fault("no frame was delivered") }
    }
}

extension ThreadsBenchmark.Configuration {
    /// A bridge's own port and the frames' headers have an MTU like any other; jumbo frames of any size must fit.
    private static let mtu = 65_535

    private func address(_ node: Int, _ pod: Int) -> MACAddress { BridgeBenchmark.address(node << 16 | pod + 1) }

    func makeTopology() -> Topology {
        var shape = LinkDescription()
        (shape.rate, shape.delay, shape.queueLimit) = (Self.rate, .microseconds(1), 256)
        var uplink = LinkDescription()
        uplink.delay = latency
        func port(_ name: String, to host: String, _ peer: String, mac: MACAddress, master: String?, link: LinkDescription) -> InterfaceDescription {
            var port = InterfaceDescription(name: name, kind: .veth(peerHost: host, peerInterface: peer), mac: mac, mtu: Self.mtu, master: master)
            port.link = link
            return port
        }
        var hosts: [HostDescription] = []
        for n in 0..<nodes {
            var node = HostDescription(name: "node\(n)", kind: .node)
            node.interfaces.append(
                InterfaceDescription(name: "br0", kind: .bridge(ageing: .seconds(300)), mac: BridgeBenchmark.address(0xffff_0000 + n), mtu: Self.mtu))
            for (other, name, peer) in [(n - 1, "left", "right"), (n + 1, "right", "left")] where other >= 0 && other < nodes {
                node.interfaces.append(
                    port(name, to: "node\(other)", peer, mac: BridgeBenchmark.address(0xfffe_0000 + 2 * n + (other > n ? 1 : 0)), master: "br0", link: uplink))
            }
            var own: [HostDescription] = []
            for p in 0..<pods {
                node.interfaces.append(
                    port("veth\(p)", to: "node\(n)/pod\(p)", "eth0", mac: BridgeBenchmark.address(0x7000_0000 + n << 16 + p), master: "br0", link: shape))
                let eth0 = port("eth0", to: "node\(n)", "veth\(p)", mac: address(n, p), master: nil, link: shape)
                own.append(HostDescription(name: "node\(n)/pod\(p)", kind: .pod, node: "node\(n)", interfaces: [eth0]))
            }
            hosts.append(node)
            hosts += own
        }
        return Topology(hosts: hosts)
    }

    /// The network with its generators running.
    func makeSimulation(_ topology: Topology, threads: Int) throws(BenchmarkError) -> Simulation {
        var configuration = SimulationConfiguration()
        configuration.seed = seed
        configuration.threads = threads
        configuration.costs = .zero
        if sharesEveryWindow { configuration.sharing = .evenly }
        let simulation: Simulation
        do { simulation = try Simulation(topology, configuration: configuration) } catch { throw .fault("the network cannot be built: \(error)") }
        let gaps = ExponentialTable()
        // The first pods of every node talk to each other, wherever they are; the rest stay at home.
        let travellers = StationList((0..<nodes).flatMap { n in (0..<remote).map { address(n, $0) } })
        for n in 0..<nodes {
            let home = StationList((remote..<pods).map { address(n, $0) })
            for p in 0..<pods {
                var description =
                    p < remote
                    ? GeneratorDescription(station: n * remote + p, stations: travellers, gaps: gaps)
                    : GeneratorDescription(station: p - remote, stations: home, gaps: gaps)
                description.byteCount = frameSize
                description.meanGap = gap
                simulation.startGenerator(on: "node\(n)/pod\(p)", interface: "eth0", description)
                simulation.setAbsorbing(true, host: "node\(n)/pod\(p)", interface: "eth0")
            }
        }
        return simulation
    }
}
