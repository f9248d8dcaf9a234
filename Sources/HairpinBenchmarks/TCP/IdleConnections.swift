import HairpinEngine
import HairpinHost
import HairpinPrograms
import HairpinTransport

/// Connections between two pods that carry nothing: what an endpoint costs in memory while it waits.
struct IdleConnections {
    /// Bytes that a connection adds at each of its ends: growth of allocated memory while they are opened (`AllocatedMemory`), the ends' records, their places
    /// in the tables of sockets, connections and ports, their timers and what the two programs remember of them.
    let bytesPerEndpoint: Double
    /// Bytes of that in the array which segments and timers find their way through (`TransportStack.endpointBytes`).
    let hotBytesPerEndpoint = TransportStack.endpointBytes

    /// Opens so many connections and lets them rest until every acknowledgment is sent and every timer of the handshakes is over.
    init(opening count: Int) throws(BenchmarkError) {
        let network = try PodNetwork(pairs: 1, throughService: false)
        let simulation: Simulation
        do { simulation = try Simulation(network.topology) } catch { throw .fault("the network cannot be built: \(error)") }
        let files = simulation.makeContainer(name: "idle")
        let progress = IdleProgress(connections: count)
        simulation.spawn(on: network.servers[0].name, IdleServer(progress), arguments: ["idle-server"], in: files)
        simulation.run(until: simulation.now + .milliseconds(1))
        let before = AllocatedMemory.byteCount
        simulation.spawn(on: network.clients[0], IdleClient(progress, to: SocketAddress(network.targets[0], PodNetwork.port)), arguments: ["idle-client"], in: files)
        simulation.run(until: simulation.now + .seconds(3600)) { progress.isUnfinished }
        simulation.run(until: simulation.now + .seconds(1))
        if let problem = progress.problem { throw .fault(problem) }
        guard progress.accepted == count else { throw .fault("\(progress.accepted) of \(count) idle connections were opened") }
        bytesPerEndpoint = Double(AllocatedMemory.byteCount - before) / Double(2 * count)
        withExtendedLifetime(simulation) {}
    }
}

/// What the measurement and its programs tell each other.
final class IdleProgress {
    let connections: Int
    fileprivate(set) var accepted = 0
    fileprivate(set) var problem: String?
    init(connections: Int) { self.connections = connections }
    var isUnfinished: Bool { accepted < connections && problem == nil }
}

/// Opens connections one after another and keeps them.
final class IdleClient: Program {
    private let progress: IdleProgress
    private let target: SocketAddress
    private var opened: [SocketID] = []
    private var pending: SocketID?

    init(_ progress: IdleProgress, to target: SocketAddress) {
        self.progress = progress
        self.target = target
    }

    func resume(_ system: any SystemCalls) -> Suspension {
        do throws(Errno) {
            if let socket = pending {
                if let error = system.takeError(socket) { throw error }
                guard system.readiness(socket).contains(.writable) else { return wait(for: socket) }
                opened.append(socket)
                pending = nil
            }
            guard opened.count < progress.connections else { return .wait(WaitSet(deadline: system.now + .seconds(86_400))) }
            let socket = try system.socket(.stream)
            pending = socket
            do throws(Errno) { try system.connect(socket, target) } catch { guard error == .inProgress else { throw error } }
            return wait(for: socket)
        } catch {
            progress.problem = "idle connection \(opened.count) cannot be opened: \(error)"
            return .exit(1)
        }
    }

    private func wait(for socket: SocketID) -> Suspension { .wait(WaitSet(sockets: [(socket, [.writable, .error])])) }
}

/// Accepts connections and keeps them.
final class IdleServer: Program {
    private let progress: IdleProgress
    private var listener: SocketID?
    private var connections: [SocketID] = []

    init(_ progress: IdleProgress) { self.progress = progress }

    func resume(_ system: any SystemCalls) -> Suspension {
        do throws(Errno) {
            if listener == nil {
                let socket = try system.socket(.stream)
                try system.bind(socket, SocketAddress(.any, PodNetwork.port))
                try system.listen(socket, backlog: 128)
                listener = socket
            }
            while true {
                connections.append(try system.accept(listener!).0)
                progress.accepted += 1
            }
        } catch {
            if error == .tryAgain, let listener { return .wait(WaitSet(sockets: [(listener, .readable)])) }
            progress.problem = "idle connections cannot be accepted: \(error)"
            return .exit(1)
        }
    }
}
