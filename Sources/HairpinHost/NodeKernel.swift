import HairpinDatapath
import HairpinEngine
import HairpinPrograms
import HairpinTransport
import HairpinWire

/// The layers above IP in one logical process: a transport stack per namespace, and the processes that run there.
final class NodeKernel {
    private(set) var process: LogicalProcess! = nil
    private let upper: UpperLayers
    /// Those that have been needed; `UpperLayers` knows which namespace has which.
    private var stacks: [TransportStack] = []
    /// By number. Slots are not reused, so that ids stay unique.
    private(set) var processes: [Process] = []
    /// Those that have not ended, in the order they were started: what looks for whom to wake does not pay for the dead.
    private var living: [Process] = []
    /// Where the stacks trace their connections, if somebody asked for it.
    var probeLog: TCPProbeLog?
    let waiters = SocketWaiters()
    private var pipes: [Pipe] = []
    private var packetWindows: [PacketWindow] = []
    private var connectionWindows: [ConnectionWindow] = []
    let seed: UInt64
    /// Whether observers of output are told at the end of a window, by the thread that calls `Simulation.run`: those of several logical processes may
    /// then share what they write to.
    var defersObservers = false
    private var news: [(sink: OutputSink, text: String, isError: Bool)] = []

    /// ARP frames seen since a process last asked (AF_PACKET).
    private struct PacketWindow {
        let process: UInt32
        let interface: InterfaceIndex
        var frames: [[UInt8]]
    }

    /// What has happened to connections since a process last asked (netlink's conntrack groups).
    private struct ConnectionWindow {
        let process: UInt32
        let namespace: NamespaceIndex
        var events: [ConnectionEvent]
    }

    init(number: Int, interfaceCapacity: Int, bridgeCapacity: Int, namespaceCapacity: Int, configuration: SimulationConfiguration) {
        seed = configuration.seed
        upper = UpperLayers(namespaceCapacity: namespaceCapacity)
        process = LogicalProcess(
            number: number, interfaceCapacity: interfaceCapacity, bridgeCapacity: bridgeCapacity, namespaceCapacity: namespaceCapacity, seed: configuration.seed,
            costs: configuration.costs, upper: upper)
        upper.kernel = self
    }

    func addNamespace(_ name: String) -> NamespaceIndex { process.makeNamespace(name: name) }

    func hostName(_ index: NamespaceIndex) -> String { process.namespaceName(index) }

    func stack(_ index: NamespaceIndex) -> TransportStack { upper.stack(index).takeUnretainedValue() }

    /// For `UpperLayers`. The stack's random numbers depend on its name alone, so it does not matter when it is made.
    func makeStack(_ index: NamespaceIndex) -> TransportStack {
        let network = StackNetwork(kernel: self, process: process, namespace: index)
        let stack = TransportStack(network: network, random: SeededRandom(seed: seed, name: "transport/\(hostName(index))"))
        stacks.append(stack)
        return stack
    }

    // MARK: From below

    func runProcess(_ index: UInt32) { processes[Int(index)].wake() }

    func sawARP(_ frame: UnsafeRawBufferPointer, interface: InterfaceIndex) {
        for n in packetWindows.indices where packetWindows[n].interface == interface {
            packetWindows[n].frames.append(Array(frame))
        }
    }

    // MARK: Processes

    func start(
        at start: Instant? = nil, _ program: any Program, arguments: [String], environment: [String: String], streams: StandardStreams, namespace: NamespaceIndex, container: Container,
        output: OutputSink, parent: UInt32?
    ) -> Process {
        let process = Process(
            number: UInt32(processes.count), kernel: self, namespace: namespace, container: container, program: program, arguments: arguments, environment: environment,
            streams: streams, output: output, parent: parent, startedAt: start ?? self.process.now)
        processes.append(process)
        living.append(process)
        attach(process)
        schedule(process, at: process.startedAt)
        return process
    }

    func schedule(_ process: Process, at time: Instant) { self.process.scheduleProcess(process.number, at: time) }

    func wakeUpTime() -> Instant { process.now + .nanoseconds(process.costs.wakeUp) }

    func wait(_ process: Process, for socket: SocketID) { waiters.add(process.number, process.namespace, socket) }
    func stopWaiting(_ process: Process, for socket: SocketID) { waiters.remove(process.number, process.namespace, socket) }
    func poke(_ number: UInt32) { processes[Int(number)].poke() }

    // MARK: Output

    func tell(_ sink: OutputSink, _ text: String, isError: Bool) {
        guard let observer = sink.observer else { return }
        if defersObservers { news.append((sink, text, isError)) } else { observer(text, isError) }
    }

    /// Tells what was written in the window, in order.
    func tellObservers() {
        guard !news.isEmpty else { return }
        for piece in news { piece.sink.observer?(piece.text, piece.isError) }
        news.removeAll(keepingCapacity: true)
    }

    // MARK: The end of a process

    func ended(_ process: Process) {
        detach(process)
        living.removeAll { $0 === process }
        packetWindows.removeAll { $0.process == process.number }
        if let index = connectionWindows.firstIndex(where: { $0.process == process.number }) {
            connectionWindows.remove(at: index)
            if !connectionWindows.contains(where: { $0.namespace == process.namespace }) { self.process.watchConnections(false, namespace: process.namespace) }
        }
        if let parent = process.parent { processes[Int(parent)].poke() }
    }

    func endProcesses(in container: Container, status: Int32) {
        for process in living where process.container === container && process.exitStatus == nil { process.finish(status) }
    }

    func fileChanged(_ tree: FileSystem, _ path: String) {
        for process in living where process.isWaiting(forFile: path, in: tree) { process.poke() }
    }

    // MARK: Pipes

    func makePipe(_ owner: Process) -> PipeID {
        pipes.append(Pipe(owner: owner.number))
        return PipeID(UInt32(pipes.count - 1))
    }

    func pipe(_ id: PipeID) -> Pipe { pipes[Int(id.rawValue)] }

    private func attach(_ process: Process) {
        if case .pipe(let id) = process.streams.input { pipe(id).readers.insert(process.number) }
        if case .pipe(let id) = process.streams.output { pipe(id).writers.insert(process.number) }
        if case .pipe(let id) = process.streams.error { pipe(id).writers.insert(process.number) }
    }

    private func detach(_ process: Process) {
        for stream in [process.streams.input, process.streams.output, process.streams.error] {
            guard case .pipe(let id) = stream else { continue }
            pipe(id).readers.remove(process.number)
            pipe(id).writers.remove(process.number)
            wakePipe(id)
        }
    }

    func closePipe(_ id: PipeID, by process: Process) {
        let pipe = pipe(id)
        if pipe.owner == process.number { pipe.owner = nil }
        wakePipe(id)
    }

    func wakePipe(_ id: PipeID) {
        for process in living where process.isWaiting(forPipe: id) { process.poke() }
    }

    // MARK: Netlink and packet sockets

    func takeConnectionEvents(_ process: Process) -> [ConnectionEvent] {
        let news = self.process.takeConnectionEvents(namespace: process.namespace)
        for index in connectionWindows.indices where connectionWindows[index].namespace == process.namespace { connectionWindows[index].events += news }
        guard let index = connectionWindows.firstIndex(where: { $0.process == process.number }) else {
            connectionWindows.append(ConnectionWindow(process: process.number, namespace: process.namespace, events: []))
            self.process.watchConnections(true, namespace: process.namespace)
            return []
        }
        defer { connectionWindows[index].events.removeAll() }
        return connectionWindows[index].events
    }

    func takeARP(_ process: Process, interface: InterfaceIndex) -> [[UInt8]] {
        if let n = packetWindows.firstIndex(where: { $0.process == process.number && $0.interface == interface }) {
            defer { packetWindows[n].frames.removeAll() }
            return packetWindows[n].frames
        }
        packetWindows.append(PacketWindow(process: process.number, interface: interface, frames: []))
        return []
    }
}

/// Bytes on their way from one process to another.
final class Pipe {
    /// Linux's default capacity.
    static let capacity = 65536
    /// The process that made the pipe may read it directly until it closes it.
    var owner: UInt32?
    var bytes: [UInt8] = []
    var readers: Set<UInt32> = []
    var writers: Set<UInt32> = []

    init(owner: UInt32) { self.owner = owner }

    var hasWriters: Bool { !writers.isEmpty }
    var hasReaders: Bool { !readers.isEmpty || owner != nil }
}

/// Where the output of a process tree goes: a step's transcript or a container's log.
final class OutputSink {
    var output: [UInt8] = []
    var errorOutput: [UInt8] = []
    /// Called with each piece, and whether it was standard error.
    var observer: ((String, Bool) -> Void)?
}
