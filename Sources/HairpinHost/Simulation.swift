import HairpinDatapath
import HairpinEngine
import HairpinPolicy
import HairpinPrograms
import HairpinProxy
import HairpinTopology
import HairpinTransport
import HairpinWire

public struct SimulationConfiguration: Sendable {
    public var seed: UInt64 = 1
    public var costs = SoftirqCosts()
    /// Delay of a cable between logical processes whose description has none; it is the lookahead.
    public var defaultCableDelay = Duration.microseconds(10)
    /// Puts all hosts into one logical process: one machine with one processor, as recordings in namespaces of one kernel are made. Cables
    /// without delay are veth pairs then.
    public var sharesProcessor = false
    /// How many threads may run logical processes at once; results do not depend on it. No more are used than there are logical processes.
    public var threads = 1
    /// Which windows are shared between threads; results do not depend on it.
    public var sharing = Sharing.worthwhile
    public init() {}

    public enum Sharing: Sendable {
        /// Those in which enough can be done at once to be worth waking somebody; who has nothing to do helps the others.
        case worthwhile
        /// All in which two logical processes or more have something to do, and each thread runs its share, whatever that costs: for tests.
        case evenly
    }
}

/// What is wrong with a topology: a bug of whoever wrote it, or a recording that asks for what is not modelled.
public struct TopologyError: Error, Sendable, CustomStringConvertible {
    public let host: String
    public let problem: String
    /// True for something that is well formed but beyond the model.
    public let isUnsupported: Bool
    public var description: String { "\(host): \(problem)" }
}

/// A network that runs in virtual time. A value its owner holds; there is no other state anywhere, so any number can live side by side.
public final class Simulation {
    public let configuration: SimulationConfiguration
    var kernels: [NodeKernel] = []
    /// Host name → logical process and namespace.
    var places: [String: (kernel: Int, namespace: NamespaceIndex)] = [:]
    private var containers: [Container] = []
    private var volumes: [FileSystem] = []
    /// The shortest delay of a cable between logical processes; `.distantFuture`'s worth if there is none.
    var lookahead = Duration(nanoseconds: .max)
    public private(set) var now = Instant.zero
    private var windows: Windows! = nil
    /// Threads that run logical processes, the caller's included.
    public private(set) var threadCount = 1

    public init(_ topology: Topology, configuration: SimulationConfiguration = SimulationConfiguration()) throws(TopologyError) {
        self.configuration = configuration
        try build(topology)
        threadCount = max(min(configuration.threads, kernels.count), 1)
        windows = Windows(kernels.map { $0.process }, lookahead: lookahead, threads: threadCount, sharing: configuration.sharing)
        for kernel in kernels { kernel.defersObservers = kernels.count > 1 }
    }

    // MARK: Time

    /// Runs everything up to and including `limit`.
    public func run(until limit: Instant) { run(until: limit) { true } }

    /// Runs until `limit`, or until `proceed` says no; it is asked after every event while there is one logical process, else after every window.
    ///
    /// Logical processes run in windows no longer than the lookahead, one after the other or at once: whatever one sends another arrives after the
    /// window's end (conservative synchronisation, Chandy and Misra). Windows begin and end at the same times on any number of threads.
    public func run(until limit: Instant, while proceed: () -> Bool) {
        if kernels.count == 1 {
            kernels[0].process.run(until: limit, while: proceed)
            now = max(now, min(limit, kernels[0].process.now))
            if proceed() { settle(limit) }
            return
        }
        let windows = windows!
        while let end = windows.begin(limit: limit) {
            windows.run(until: end)
            now = max(now, end)
            tellObservers()
            if !proceed() {
                windows.collect()
                // Nobody is left behind: what is started next starts no earlier than what has just ended.
                for kernel in kernels { kernel.process.advance(to: end) }
                return
            }
        }
        settle(limit)
    }

    /// What processes have written in the window, logical process by logical process: the same on any number of threads.
    private func tellObservers() {
        for number in windows.due { kernels[Int(number)].tellObservers() }
    }

    private func settle(_ limit: Instant) {
        guard limit != .distantFuture else { return }
        now = max(now, limit)
        for kernel in kernels { kernel.process.advance(to: limit) }
    }

    /// The time of the next event; `.distantFuture` when nothing is left to happen.
    public var nextEventTime: Instant {
        windows.collect()
        return kernels.map(\.process.nextEventTime).min() ?? .distantFuture
    }

    // MARK: Containers and processes

    public func makeVolume() -> VolumeID {
        volumes.append(FileSystem())
        return VolumeID(index: volumes.count - 1)
    }

    /// Puts files into a volume (a ConfigMap's, say). Paths start at the volume's root.
    public func fill(_ volume: VolumeID, _ files: [String: [UInt8]]) {
        for (path, bytes) in files.sorted(by: { $0.key < $1.key }) {
            let path = FileSystem.normalise(path)
            _ = volumes[volume.index].makeFolder(FileSystem.parent(of: path))
            _ = volumes[volume.index].write(path, bytes, append: false)
        }
    }

    public func makeContainer(name: String, files: [String: [UInt8]] = [:], mounts: [(path: String, volume: VolumeID, isReadOnly: Bool)] = []) -> ContainerID {
        let container = Container(name: name, mounts: mounts.map { ($0.path, volumes[$0.volume.index], $0.isReadOnly) })
        for (path, bytes) in files.sorted(by: { $0.key < $1.key }) {
            let path = FileSystem.normalise(path)
            _ = container.files.makeFolder(FileSystem.parent(of: path))
            _ = container.files.write(path, bytes, append: false)
        }
        containers.append(container)
        return ContainerID(index: containers.count - 1)
    }

    /// Ends every process of a container, as the kernel does with a PID namespace whose first process has ended.
    public func endProcesses(in container: ContainerID, signal: Int32 = 9) {
        for kernel in kernels { kernel.endProcesses(in: containers[container.index], status: 128 + signal) }
    }

    public func readFile(_ path: String, in container: ContainerID) -> [UInt8]? {
        let place = containers[container.index].resolve(path)
        return place.tree.read(place.path)
    }

    public func hasHost(_ name: String) -> Bool { places[name] != nil }

    /// Starts a program on a host now. The host must exist.
    ///
    /// The observer is called with each piece of output, and whether it was standard error, on the thread that calls `run`: as it is written where there
    /// is one logical process, else at the end of each window, logical process by logical process.
    ///
    /// A container's processes are all in one logical process, and so are those of containers that share a volume which one of them may write to.
    @discardableResult
    public func spawn(
        on host: String, _ program: any Program, arguments: [String], environment: [String: String] = [:], in container: ContainerID,
        observer: ((String, Bool) -> Void)? = nil
    ) -> ProcessHandle {
        guard let place = places[host] else { preconditionFailure("no host called \(host)") }
        let sink = OutputSink()
        sink.observer = observer
        let kernel = kernels[place.kernel]
        containers[container.index].claim(for: place.kernel)
        // A busy processor's clock may be ahead of the window: cause comes before effect on other machines too.
        let start = kernels.reduce(now) { max($0, $1.process.now) }
        let process = kernel.start(
            at: start, program, arguments: arguments, environment: environment, streams: StandardStreams(), namespace: place.namespace, container: containers[container.index],
            output: sink, parent: nil)
        return ProcessHandle(process: process, sink: sink)
    }

    /// Applies an `ip …`, `iptables …` or `sysctl …` command to a host.
    public func configure(_ host: String, _ words: [String]) throws(ConfigurationError) {
        guard let place = places[host] else { throw ConfigurationError("no host called \(host)", status: 1) }
        try NamespaceConfiguration(process: kernels[place.kernel].process, namespace: place.namespace).apply(words)
        kernels[place.kernel].process.runSoftirqs()
    }

    /// Replaces a host's rule set by lines in `iptables-save` form.
    public func setRules(_ lines: [String], on host: String) throws(RuleError) {
        guard let place = places[host] else { preconditionFailure("no host called \(host)") }
        try kernels[place.kernel].process.setRules(lines, namespace: place.namespace)
    }

    /// Replaces a host's rules by a rule set that has been read, such as that of a real machine.
    public func setRules(_ rules: RuleSet, on host: String) {
        guard let place = places[host] else { preconditionFailure("no host called \(host)") }
        kernels[place.kernel].process.setRules(rules, namespace: place.namespace)
    }

    /// A host's tables of nftables as `nft -j list ruleset` prints them, without the object that tells nft's version.
    public func nftables(of host: String) -> [JSON] {
        guard let place = places[host] else { preconditionFailure("no host called \(host)") }
        return kernels[place.kernel].process.nftables(namespace: place.namespace)
    }

    /// A host's rule set, to be asked what it would do; without the chains that kube-proxy's table stands for.
    public func ruleSet(of host: String) -> RuleSet? {
        guard let place = places[host] else { return nil }
        return kernels[place.kernel].process.ruleSet(namespace: place.namespace)
    }

    /// Processor time for every iptables rule that a packet is held against on a host.
    public func setRuleCost(_ cost: Duration, on host: String) {
        guard let place = places[host] else { preconditionFailure("no host called \(host)") }
        kernels[place.kernel].process.setRuleCost(cost, namespace: place.namespace)
    }

    /// Replaces kube-proxy's table on a host; `setRules` brings the rules that use it.
    public func setServices(_ table: ServiceTable?, on host: String) {
        guard let place = places[host] else { preconditionFailure("no host called \(host)") }
        kernels[place.kernel].process.setServices(table, namespace: place.namespace)
    }

    /// The table frames meet on a host.
    public func services(of host: String) -> ServiceTable? {
        guard let place = places[host] else { return nil }
        return kernels[place.kernel].process.services(namespace: place.namespace)
    }

    public func rules(of host: String) -> [String] {
        guard let place = places[host] else { return [] }
        return kernels[place.kernel].process.rules(namespace: place.namespace)
    }

    public func connections(of host: String) -> [String] {
        guard let place = places[host] else { return [] }
        return kernels[place.kernel].process.connectionLines(namespace: place.namespace)
    }

    /// Forgets connections of a host, and returns them; their next packets begin new ones.
    @discardableResult
    public func removeConnections(on host: String, where isDoomed: (ConnectionRecord) -> Bool) -> [ConnectionRecord] {
        guard let place = places[host] else { preconditionFailure("no host called \(host)") }
        return kernels[place.kernel].process.removeConnections(namespace: place.namespace, where: isDoomed)
    }

    /// Replaces the network policies a node enforces for its pods.
    public func setPolicies(_ table: PolicyTable, style: PolicyStyle = .drop, on host: String) {
        guard let place = places[host] else { preconditionFailure("no host called \(host)") }
        kernels[place.kernel].process.setPolicies(table, style: style, namespace: place.namespace)
    }

    /// Packets a node refused because of network policies, by the policies that did.
    public func policyDrops(of host: String) -> [PolicyDropCount] {
        guard let place = places[host] else { return [] }
        return kernels[place.kernel].process.policyDrops(namespace: place.namespace)
    }

    /// Replaces a host's IPVS table. Addresses of virtual services are put on `kube-ipvs0`, which the topology must have. With `gracefully`, servers of TCP that
    /// leave stay with weight zero until `endTerminatedServers` finds them without connections.
    public func setVirtualServers(_ servers: [VirtualServerDescription], gracefully: Bool = false, on host: String) {
        guard let place = places[host] else { preconditionFailure("no host called \(host)") }
        let process = kernels[place.kernel].process!
        process.setVirtualServices(servers.map(\.service), gracefully: gracefully, namespace: place.namespace)
        guard let dummy = process.findInterface("kube-ipvs0", namespace: place.namespace) else { return }
        let present = process.interfaceStates(namespace: place.namespace).first { $0.index == dummy }?.addresses ?? []
        let wanted = Set(servers.map { IPv4InterfaceAddress($0.address, prefixLength: 32) })
        for address in present where !wanted.contains(address) { process.removeAddress(address, from: dummy) }
        // NodePort services are on the node's own addresses, which are elsewhere already.
        for address in wanted.sorted(by: { $0.address < $1.address }) where !process.isLocal(address.address, namespace: place.namespace) {
            process.addAddress(address, on: dummy)
        }
    }

    /// Servers that have left a host's virtual services go if their last connection has ended. Whether some remain.
    public func endTerminatedServers(on host: String) -> Bool {
        guard let place = places[host] else { preconditionFailure("no host called \(host)") }
        return kernels[place.kernel].process.endTerminatedServers(namespace: place.namespace)
    }

    /// Whether a server that has left its virtual service still has connections.
    public func hasTerminatingServers(on host: String) -> Bool {
        guard let place = places[host] else { preconditionFailure("no host called \(host)") }
        return kernels[place.kernel].process.hasTerminatingServers(namespace: place.namespace)
    }

    /// To be called every two seconds of virtual time for `ipvsadm --rate`.
    public func estimateVirtualServerRates(on host: String) {
        guard let place = places[host] else { preconditionFailure("no host called \(host)") }
        kernels[place.kernel].process.estimateVirtualServerRates(namespace: place.namespace)
    }

    /// Remembers from now on where a host sends new connections, for `binding`.
    public func watchBindings(on host: String) {
        guard let place = places[host] else { return }
        kernels[place.kernel].process.watchBindings(namespace: place.namespace)
    }

    /// Where a host sent the latest connection from one address and port to another; nil where it did not translate it.
    public func binding(
        on host: String, from source: IPv4Address, port: UInt16, to destination: IPv4Address, port destinationPort: UInt16
    ) -> (address: IPv4Address, port: UInt16)? {
        guard let place = places[host] else { return nil }
        return kernels[place.kernel].process.binding(from: source, port: port, to: destination, port: destinationPort, proto: .tcp, namespace: place.namespace)
    }

    /// Changes some of a host's virtual servers, whose addresses stay; false, and nothing done, if one of them is not there.
    public func changeVirtualServers(_ servers: [VirtualServerDescription], gracefully: Bool = false, on host: String) -> Bool {
        guard let place = places[host] else { preconditionFailure("no host called \(host)") }
        return kernels[place.kernel].process.changeVirtualServices(servers.map(\.service), gracefully: gracefully, namespace: place.namespace)
    }

    /// The addresses of a host's `kube-ipvs0`; none without.
    public func virtualAddresses(of host: String) -> [IPv4Address] {
        guard let place = places[host], let process = kernels[place.kernel].process, let dummy = process.findInterface("kube-ipvs0", namespace: place.namespace) else { return [] }
        return process.interfaceStates(namespace: place.namespace).first { $0.index == dummy }?.addresses.map(\.address) ?? []
    }

    /// A fault on what leaves an interface: loss as a ratio in 0...1, or a cut cable.
    public func setFault(host: String, interface: String, lossPerBillion: UInt32, isCut: Bool) -> Bool {
        guard let place = places[host], let index = kernels[place.kernel].process.findInterface(interface, namespace: place.namespace) else { return false }
        let threshold = UInt64(lossPerBillion) * (1 << 32) / 1_000_000_000
        kernels[place.kernel].process.setFault(index, loss: UInt32(min(threshold, UInt64(UInt32.max))), isCut: isCut)
        return true
    }

    /// `ip link set INTERFACE up` or `down`. A bridge sends nothing to a port that is down (`should_deliver`).
    public func setUp(_ isUp: Bool, host: String, interface: String) {
        guard let place = places[host], let index = kernels[place.kernel].process.findInterface(interface, namespace: place.namespace) else { return }
        kernels[place.kernel].process.setUp(isUp, index)
    }

    /// Whether something listens on a TCP port of a host, for readiness.
    public func isListening(_ host: String, port: UInt16) -> Bool {
        guard let place = places[host] else { return false }
        return kernels[place.kernel].stack(place.namespace).sockets().contains { $0.kind == .stream && $0.state == "LISTEN" && $0.local.port == port }
    }

    // MARK: Observation

    /// Every interface of the network, logical process by logical process.
    public var tapInterfaces: [TapInterface] {
        kernels.enumerated().flatMap { number, kernel in
            (0..<UInt32(kernel.process.namespaceCount)).flatMap { n -> [TapInterface] in
                let index = NamespaceIndex(n)
                return kernel.process.interfaceStates(namespace: index).map {
                    TapInterface(
                        process: number, index: $0.index, host: kernel.process.namespaceName(index), name: $0.name, kind: $0.kind, mac: $0.mac, mtu: $0.mtu,
                        addresses: $0.addresses)
                }
            }
        }
    }

    public var processCount: Int { kernels.count }

    /// How windows have been run; zeros where there is one logical process, which needs none.
    public var windowCounts: WindowCounts { windows.counts }

    /// How the logical processes are run, for people: "1 thread: there is one logical process".
    public var threading: String {
        if kernels.count == 1 { return "1 thread: there is one logical process" }
        if lookahead == Duration(nanoseconds: .max) { return "\(threadCount) thread\(threadCount == 1 ? "" : "s") for \(kernels.count) logical processes that no cable joins" }
        let cut = configuration.threads > threadCount ? ", one each" : ""
        return "\(threadCount) thread\(threadCount == 1 ? "" : "s") for \(kernels.count) logical processes\(cut), windows of \(lookahead.nanoseconds) ns"
    }

    /// Attaches an observer to a logical process; the interfaces named are captured from now on, as tcpdump does (promiscuously).
    ///
    /// It is called on the thread that runs the logical process: with several threads no two logical processes may have the same one.
    public func attach(_ observer: any TapObserver, process: Int, interfaces: [InterfaceIndex]) {
        let isElsewhere = kernels.indices.contains { $0 != process && kernels[$0].process.tap === observer }
        precondition(threadCount == 1 || !isElsewhere, "with several threads, an observer for each logical process")
        kernels[process].process.tap = observer
        for index in interfaces { kernels[process].process.setTapped(index, true) }
    }

    /// Summed over the logical processes. Frames handed over a cable count as emitted where they arrive.
    public var books: FrameBooks {
        var total = FrameBooks()
        for kernel in kernels {
            let books = kernel.process.frameBooks
            total.emitted += books.emitted
            total.copied += books.copied
            total.delivered += books.delivered
            total.dropped += books.dropped
            total.handedOver += books.handedOver
            total.inFlight += books.inFlight
            for n in books.dropsByReason.indices { total.dropsByReason[n] += books.dropsByReason[n] }
        }
        return total
    }

    /// A hash of every event of every logical process: equal for equal topology, programs and seed, whatever drove the run.
    public var digest: UInt64 {
        var digest = Digest()
        for kernel in kernels { digest.combine(kernel.process.digest) }
        return digest.value
    }

    public var eventCount: UInt64 { kernels.reduce(0) { $0 + $1.process.eventCount } }
}

/// An interface somebody may capture on.
public struct TapInterface: Sendable {
    /// The number of the logical process.
    public var process: Int
    public var index: InterfaceIndex
    public var host: String
    public var name: String
    public var kind: String
    public var mac: MACAddress
    public var mtu: Int
    public var addresses: [IPv4InterfaceAddress]
}

/// A process started from outside, and what it has printed so far.
public final class ProcessHandle {
    private let process: Process
    private let sink: OutputSink
    init(process: Process, sink: OutputSink) {
        self.process = process
        self.sink = sink
    }
    /// Nil while it runs.
    public var exitStatus: Int32? { process.exitStatus }
    public var output: [UInt8] { sink.output }
    public var errorOutput: [UInt8] { sink.errorOutput }
    public var startedAt: Instant { process.startedAt }
    public var endedAt: Instant? { process.endedAt }
    /// Ends the process as a signal would (128 + signal), and with it everything it has started: a container, or a terminal that is closed.
    public func kill(signal: Int32) { process.endFamily(128 + signal) }
    /// Asks the process to end, as the kubelet asks a container's first process; some end at once, some when they have done, some never.
    public func askToEnd() { process.askToEnd() }
}

extension VirtualServerDescription {
    /// An unknown scheduler falls back to round robin, kube-proxy's own default.
    var service: VirtualService {
        var flags: VirtualService.Flags = []
        for flag in schedulerFlags { flags.insert(flag.hasSuffix("-port") ? .port : .fallback) }
        return VirtualService(
            address: address, port: port, proto: proto, scheduler: VirtualService.Scheduler(rawValue: scheduler) ?? .roundRobin, flags: flags,
            persistence: persistenceSeconds, servers: servers.map { VirtualService.Server(address: $0.address, port: $0.port, weight: $0.weight) })
    }
}
