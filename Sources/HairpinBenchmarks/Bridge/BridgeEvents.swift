import HairpinCapture
import HairpinDatapath
import HairpinEngine
import HairpinWire

/// The bridge job through the event engine: each host has a packet generator and a packet socket on its `eth0`, which a cable with rate and delay
/// joins to a port of the switch. Every frame is made at a host, serialised, switched, serialised again and received, in three events, through the
/// code that scenarios run; nothing costs virtual processor time, as in a switch of hardware.
final class BridgeEvents {
    private let process: LogicalProcess
    private let settings: BridgeBenchmark.Configuration
    private let ports: [InterfaceIndex]
    /// Mean time between two frames of a host.
    private let gap: Duration
    private var now = Instant.zero
    private var session: CaptureSession?
    /// Of captures one after the other: the warm-up pays for the first writing to it.
    private let memory = CaptureMemory()

    /// Frames that fit a port's queue.
    private static let queueLimit = 256
    /// A bridge's own port and the frames' headers have an MTU like any other; jumbo frames of any size must fit.
    private static let mtu = 65_535

    init(_ settings: BridgeBenchmark.Configuration) {
        self.settings = settings
        process = LogicalProcess(
            number: 0, interfaceCapacity: settings.hosts + settings.portCount + 2, namespaceCapacity: settings.hosts + 1, seed: settings.seed, costs: .zero,
            upper: NoUpperLayer())
        let process = process
        let node = process.makeNamespace(name: "switch")
        let bridge = process.makeBridge(
            node, name: "br0", mac: BridgeBenchmark.address(0xffff_ff00), mtu: BridgeEvents.mtu, ageing: .seconds(300))
        let shape = CableShape(rate: settings.linkRate, delay: settings.linkDelay, queueLimit: BridgeEvents.queueLimit)
        let stations = StationList((0..<settings.hosts).map { BridgeBenchmark.address($0 + 1) })
        let gaps = ExponentialTable()
        gap = .nanoseconds(max(Int64(Double(settings.frameSize) * 8e9 / Double(settings.linkRate) / settings.hostLoad), 1))
        let gap = gap
        ports = (0..<settings.portCount).map { n in
            let port = process.makeVeth(node, name: "port\(n)", mac: BridgeBenchmark.address(0x0100_0000 + n), mtu: BridgeEvents.mtu)
            process.enslave(port, to: bridge, hairpin: false)
            process.shape(port, shape)
            return port
        }
        for n in 0..<settings.hosts {
            let host = process.makeNamespace(name: "host\(n)")
            let device = process.makeVeth(host, name: "eth0", mac: stations[n], mtu: BridgeEvents.mtu)
            process.connect(device, ports[n])
            process.shape(device, shape)
            process.setAbsorbing(device, true)
            let pattern: GeneratorPattern
            switch settings.pattern {
            case .uniform: pattern = .uniform
            case .permutation: pattern = .fixed((n + 1) % settings.hosts)
            case .hotspot: pattern = .fixed(n == 0 ? 1 : 0)
            case .broadcast: pattern = .broadcast
            }
            process.startGenerator(
                process.makeGenerator(
                    on: device, byteCount: settings.frameSize, meanGap: gap, pattern: pattern, station: n, stations: stations, gaps: gaps))
        }
        // Ports without a host are down: a flood looks at them and passes them by.
        for port in ports[settings.hosts...] { process.setUp(false, port) }
    }

    /// How long it takes until about so many frames have been generated.
    private func span(_ frames: Int) -> Duration {
        let (product, overflow) = gap.nanoseconds.multipliedReportingOverflow(by: Int64(frames / settings.hosts + 1))
        return .nanoseconds(overflow ? .max / 4 : product)
    }

    func warmUp(_ frames: Int) throws(BenchmarkError) { _ = try forward(frames) }

    /// Runs until about `frames` more have been generated. The capture, if any, is begun before the clock runs and its memory given back after.
    func forward(_ frames: Int) throws(BenchmarkError) -> (delivered: Int, dropped: Int, events: Int, seconds: Double) {
        try beginCapture()
        let before = process.frameBooks
        let events = process.eventCount
        now += span(frames)
        let watch = Stopwatch()
        process.run(until: now)
        if let session {
            do { try session.finish() } catch { throw .fault("\(error)") }
        }
        let seconds = watch.seconds
        try checkBooks()
        endCapture()
        let after = process.frameBooks
        return (Int(after.delivered - before.delivered), Int(after.dropped - before.dropped), Int(process.eventCount - events), seconds)
    }

    private func checkBooks() throws(BenchmarkError) {
        let books = process.frameBooks
        guard books.isBalanced else { throw .fault("the books do not balance: \(books)") }
        guard books.delivered > 0 else { throw .fault("no frame was delivered") }
    }

    // MARK: Capture

    private func beginCapture() throws(BenchmarkError) {
        var options = CaptureOptions()
        switch settings.capture {
        case .none: return
        case .memory: options.combined = .memory
        case .file(let path): options.combined = .file(path)
        }
        let known = ports.enumerated().map { CaptureInterface(index: $1, host: "switch", name: "port\($0)") }
        do {
            let session = try CaptureSession(interfaces: known, options: options, memory: memory)
            self.session = session
            process.tap = session.observer(of: 0)
            for port in ports { process.setTapped(port, true) }
        } catch { throw .output("--capture: \(error)") }
    }

    private func endCapture() {
        guard session != nil else { return }
        for port in ports { process.setTapped(port, false) }
        process.tap = nil
        session = nil
    }
}
