import HairpinDatapath
import HairpinEngine
import HairpinWire

/// The bare bridge: frames that lie in a pool are parsed, their sources learned, their destinations looked up, and the port they leave by noted and
/// counted, in bursts.
final class BridgeCore {
    private let process: LogicalProcess
    private let bridge: InterfaceIndex
    private let frames: UnsafeMutableBufferPointer<FrameHandle>
    private let ingress: UnsafeMutablePointer<InterfaceIndex>
    let poolCount: Int

    /// About what a softirq takes from its network cards at once (`net.core.netdev_budget`, 300).
    private static let burst = 256

    init(_ settings: BridgeBenchmark.Configuration) {
        poolCount = settings.poolCount
        process = LogicalProcess(
            number: 0, interfaceCapacity: settings.portCount + 2, namespaceCapacity: 1, seed: settings.seed, costs: .zero, upper: NoUpperLayer())
        let node = process.makeNamespace(name: "switch")
        bridge = process.makeBridge(node, name: "br0", mac: BridgeBenchmark.address(0xffff_ff00), mtu: 65_535, ageing: .seconds(300))
        let ports = (0..<settings.portCount).map { [process, bridge] n in
            let port = process.makeVeth(node, name: "port\(n)", mac: BridgeBenchmark.address(0x7f00_0000 + n), mtu: 65_535)
            process.enslave(port, to: bridge, hairpin: false)
            return port
        }
        frames = .allocate(capacity: poolCount)
        ingress = .allocate(capacity: poolCount)
        var random = SeededRandom(seed: settings.seed, name: "bridge/core")
        let count = UInt32(settings.macCount)
        for n in 0..<poolCount {
            // Every address is a source before any is one again, and no frame goes back to its own port.
            let source = n < settings.macCount ? n : Int(random.below(count))
            var destination = settings.pattern == .permutation ? (source + 1) % settings.macCount : Int(random.below(count))
            if destination % ports.count == source % ports.count { destination = (destination + 1) % settings.macCount }
            if destination % ports.count == source % ports.count { destination = (destination + 1) % settings.macCount }
            var bytes = [UInt8](repeating: 0, count: settings.frameSize)
            bytes.withUnsafeMutableBytes {
                EthernetHeader(destination: BridgeBenchmark.address(destination + 1), source: BridgeBenchmark.address(source + 1), type: .localExperimental)
                    .emit(to: $0.baseAddress!)
            }
            let port = ports[source % ports.count]
            (frames.baseAddress! + n).initialize(to: process.makeFrame(bytes, on: port))
            (ingress + n).initialize(to: port)
        }
        learnRest(settings, ports)
    }

    /// Addresses that no frame of the pool comes from are learned all the same: the table has the size that was asked for.
    private func learnRest(_ settings: BridgeBenchmark.Configuration, _ ports: [InterfaceIndex]) {
        guard settings.macCount > poolCount else { return }
        for n in poolCount..<settings.macCount { process.learn(BridgeBenchmark.address(n + 1), on: ports[n % ports.count]) }
    }

    deinit {
        frames.deallocate()
        ingress.deallocate()
    }

    /// Seconds for `count` frames. Throws `fault` if one was not forwarded that should have been.
    func forward(_ count: Int) throws(BenchmarkError) -> Double {
        var place = 0
        var left = count
        var total = BurstResult()
        let watch = Stopwatch()
        while left > 0 {
            let size = min(BridgeCore.burst, left, poolCount - place)
            let result = process.bridgeBurst(UnsafeBufferPointer(rebasing: frames[place..<place + size]), from: ingress + place, bridge: bridge)
            total.forwarded += result.forwarded
            total.others += result.others
            place += size
            if place == poolCount { place = 0 }
            left -= size
        }
        let seconds = watch.seconds
        hasRun = hasRun || count >= poolCount
        // In the first round some destinations have not spoken yet.
        if isWarm, total.others > 0 { throw .fault("\(total.others) of \(count) frames were not forwarded") }
        isWarm = hasRun
        return seconds
    }
    private var hasRun = false
    private var isWarm = false
}
