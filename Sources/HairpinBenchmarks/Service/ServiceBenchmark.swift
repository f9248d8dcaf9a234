import HairpinEngine
import HairpinHost
import HairpinTransport
import HairpinWire

/// Packets to ClusterIPs through the rules of so many Services: first ones, for which an endpoint is chosen and a connection entered into the tables,
/// and those of established connections; beside them packets of established connections straight to the pods behind, on the same node.
///
/// Packets are UDP datagrams that a raw socket in a pod makes. They cross the pod's veth pair, the node's bridge with its netfilter hooks (tracking,
/// kube-proxy's rules or IPVS, translation) and the endpoint's veth pair, and end in the socket of a program that reads them.
public struct ServiceBenchmark: Benchmark {
    public static let name = "service"
    private let settings: Configuration
    private var world: World?

    private struct World {
        let simulation: Simulation
        var network: ServiceNetwork
        /// Of the first load: bytes that rules, tables and virtual servers take.
        var memory = 0
        let progress: ServiceProgress
        let sockets: [RawSocket]
        /// What the client program's connections lead to, by source port: Services, then as many pods.
        let targets: [SocketAddress]
        var connections: Int { targets.count / 2 }
    }

    public init(_ configuration: Configuration) throws(BenchmarkError) {
        try configuration.validate()
        settings = configuration
    }

    public var configuration: [(key: String, value: ConfigurationValue)] {
        [
            ("services", .number(settings.services)), ("endpoints", .number(settings.endpoints)), ("mode", .text(settings.mode.rawValue)),
            ("frames", .number(settings.frames)),
        ]
    }

    /// Connections over which established packets go, spread over the Services.
    private static let establishedLimit = 256
    /// Source ports for first packets, per client: those below belong to the system, those above to the client program.
    private static let ports = 1024..<Int(ServiceClient.firstPort)
    /// UDP connections that were never answered are forgotten after 30 s, answered ones after 120 s (`nf_conntrack_udp_timeout…`).
    private static let forgetting = Duration.seconds(200)
    /// Neighbours that were forgotten meanwhile are asked five seconds after they were needed again (`delay_first_probe_time`), and are reachable then, as
    /// they are for most of the life of a connection.
    private static let settling = Duration.seconds(7)
    /// Packets after which waiting programs may run, so that no socket's buffer overflows.
    private static let burst = 200
    /// Services of which an endpoint goes and comes again.
    private static let changes = 10
    /// Packets before anything is timed, at most: the same for long and short repetitions.
    private static let warmUp = 20_000

    public mutating func prepare() throws(BenchmarkError) {
        let network = try ServiceNetwork.make(settings)
        let simulation: Simulation
        do { simulation = try Simulation(network.topology) } catch { throw .fault("the network cannot be built: \(error)") }
        let progress = ServiceProgress()
        let files = simulation.makeContainer(name: "service")
        for server in network.servers { simulation.spawn(on: server.name, ServiceServer(progress), arguments: ["service-server"], in: files) }
        let count = min(ServiceBenchmark.establishedLimit, settings.frames)
        let services = (0..<count).map { SocketAddress(network.addresses[$0 * network.addresses.count / count % network.addresses.count], ServiceNetwork.port) }
        let pods = (0..<count).map { SocketAddress(network.servers[$0 % network.servers.count].address, ServiceNetwork.targetPort) }
        let targets = services + pods
        simulation.spawn(on: network.clients[0].name, ServiceClient(progress, targets: targets), arguments: ["service-client"], in: files)
        let sockets = network.clients.compactMap { simulation.rawSocket(on: $0.name) }
        world = World(simulation: simulation, network: network, progress: progress, sockets: sockets, targets: targets)
        let before = AllocatedMemory.byteCount
        try world?.network.load(into: simulation)
        world?.memory = max(AllocatedMemory.byteCount - before, 0)
        _ = try measure(min(settings.frames, ServiceBenchmark.warmUp))
    }

    public mutating func run() throws(BenchmarkError) -> [Measurement] { try measure(settings.frames) }

    private mutating func measure(_ count: Int) throws(BenchmarkError) -> [Measurement] {
        guard let simulation = world?.simulation else { throw .fault("run before prepare") }
        let load = Stopwatch()
        try self.world?.network.load(into: simulation)
        let loadSeconds = load.seconds
        let targets = (0..<ServiceBenchmark.changes).map { world?.network.position($0 * settings.services / ServiceBenchmark.changes) ?? 0 }
        let change = Stopwatch()
        for service in targets {
            for ready in settings.endpoints == 1 ? [true, true] : [false, true] { try self.world?.network.change(service, ready: ready, in: simulation) }
        }
        let changeSeconds = change.seconds / Double(2 * ServiceBenchmark.changes)
        guard let world else { throw .fault("run before prepare") }
        // Whatever was known of earlier packets is forgotten; then answers make connections established again.
        simulation.run(until: simulation.now + ServiceBenchmark.forgetting)
        try establish(world)
        let first = try send(world, count, .first)
        let later = try send(world, count, .established)
        let direct = try send(world, count, .direct)
        let frames = Double(count)
        return [
            Measurement("firstPacketsPerSecond", frames / first, unit: "packets/s", isBetterHigher: true),
            Measurement("establishedPacketsPerSecond", frames / later, unit: "packets/s", isBetterHigher: true),
            Measurement("nanosecondsPerFirstPacket", first * 1e9 / frames, unit: "ns", isBetterHigher: false),
            Measurement("nanosecondsPerEstablishedPacket", later * 1e9 / frames, unit: "ns", isBetterHigher: false),
            Measurement("nanosecondsPerPodPacket", direct * 1e9 / frames, unit: "ns", isBetterHigher: false),
            Measurement("serviceOverPod", later / direct, unit: "", isBetterHigher: false),
            Measurement("rulesLoadSeconds", loadSeconds, unit: "s", isBetterHigher: false),
            Measurement("rulesMemoryBytes", Double(world.memory), unit: "B", isBetterHigher: false),
            Measurement("endpointChangeSeconds", changeSeconds, unit: "s", isBetterHigher: false),
            Measurement("frames", frames * 3, unit: "frames"),
        ]
    }

    private func establish(_ world: World) throws(BenchmarkError) {
        world.progress.round += 1
        let limit = world.simulation.now + .seconds(10)
        world.simulation.run(until: limit) { world.progress.answers < world.progress.round && world.progress.problem == nil }
        if let problem = world.progress.problem { throw .fault(problem) }
        guard world.progress.answers == world.progress.round else { throw .fault("not every Service answers") }
        world.simulation.run(until: world.simulation.now + ServiceBenchmark.settling)
    }

    private enum Kind {
        /// The first packet of its connection, to a Service.
        case first
        /// Of a connection to a Service that both ends know.
        case established
        /// Of one to a pod.
        case direct
    }

    /// Sends a repetition's packets and checks that every one of them reached a program. Seconds of wall time.
    private func send(_ world: World, _ count: Int, _ kind: Kind) throws(BenchmarkError) -> Double {
        let simulation = world.simulation
        let progress = world.progress
        let before = progress.received
        let dropped = simulation.books.dropped
        let watch = Stopwatch()
        var sent = 0
        let begin = Int(ServiceClient.firstPort) + (kind == .direct ? world.connections : 0)
        var next = kind == .first ? Flow() : Flow(port: begin)
        do throws(Errno) {
            while sent < count {
                // One client's packets at a time.
                let client = next.client
                let socket = world.sockets[client]
                let end = min(count, sent + ServiceBenchmark.burst)
                while sent < end, next.client == client {
                    if kind == .first {
                        let target = SocketAddress(world.network.addresses[next.service], ServiceNetwork.port)
                        try transmit(socket, next, from: world.network.clients[client].address, to: target)
                        next.advance(services: settings.services)
                    } else {
                        try transmit(socket, next, from: world.network.clients[client].address, to: world.targets[next.port - Int(ServiceClient.firstPort)])
                        next.port = next.port + 1 == begin + world.connections ? begin : next.port + 1
                    }
                    sent += 1
                }
                let expected = before + sent
                simulation.run(until: simulation.now + .seconds(1)) { progress.received < expected && progress.problem == nil }
            }
        } catch {
            throw .fault("a packet was refused: \(error)")
        }
        let seconds = watch.seconds
        if let problem = progress.problem { throw .fault(problem) }
        guard progress.received - before == count else { throw .fault("\(progress.received - before) of \(count) packets arrived") }
        let books = simulation.books
        guard books.isBalanced else { throw .fault("the books do not balance: \(books)") }
        guard books.dropped == dropped else { throw .fault("\(books.dropped - dropped) frames were dropped") }
        return seconds
    }

    /// Whose packet is next.
    private struct Flow {
        var client = 0, port = ServiceBenchmark.ports.lowerBound, service = 0
        /// Each first packet has a source port of its own, whatever Service it goes to: endpoints are shared, and a port used twice would have to be
        /// replaced.
        mutating func advance(services: Int) {
            service = service + 1 == services ? 0 : service + 1
            port += 1
            if port == ServiceBenchmark.ports.upperBound { (client, port) = (client + 1, ServiceBenchmark.ports.lowerBound) }
        }
    }

    private func transmit(_ socket: RawSocket, _ flow: Flow, from source: IPv4Address, to target: SocketAddress) throws(Errno) {
        let count = 8 + ServiceRequest.byteCount
        try socket.send(from: source, to: target.address, .udp, count: count) { packet in
            packet.storeBytes(of: UInt16(flow.port).bigEndian, as: UInt16.self)
            packet.storeBytes(of: target.port.bigEndian, toByteOffset: 2, as: UInt16.self)
            packet.storeBytes(of: UInt16(count).bigEndian, toByteOffset: 4, as: UInt16.self)
            packet.storeBytes(of: 0, toByteOffset: 6, as: UInt16.self)
            (packet + 8).initializeMemory(as: UInt8.self, repeating: ServiceRequest.nothing, count: ServiceRequest.byteCount)
            let sum = InternetChecksum.checksum(
                UnsafeRawBufferPointer(start: packet, count: count),
                initial: InternetChecksum.pseudoHeader(source: source, destination: target.address, protocol: IPProtocol.udp.rawValue, length: count))
            packet.storeBytes(of: (sum == 0 ? 0xffff : sum).bigEndian, toByteOffset: 6, as: UInt16.self)
        }
    }
}
