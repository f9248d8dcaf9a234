import HairpinCluster
import HairpinDatapath
import HairpinEngine
import HairpinHost
import HairpinPrograms
import HairpinTopology
import HairpinWire
import Testing

@testable import HairpinScenario

/// A booted cluster under test: every pod ready and in its Services from the start, every interface watched.
final class Cluster {
    let plan: ClusterPlan
    let simulation: Simulation
    private var recorders: [Recorder] = []
    private var files: [String: ContainerID] = [:]
    private var names: NameBoard
    /// Long-running programs of the containers, by "pod/container".
    private(set) var servers: [String: ProcessHandle] = [:]

    struct Options {
        var nodes = 1
        var proxyMode = ClusterConfiguration.ProxyMode.iptables
        var plugin = ClusterConfiguration.NetworkPlugin.bridge
        var hasDNS = false
        var seed: UInt64 = 1
        var isWatched = true
    }

    /// What a command did.
    struct Outcome: Equatable, CustomStringConvertible {
        var exit: Int32?
        var output: String
        var errorOutput: String
        var startedAt: Instant
        var endedAt: Instant?
        var description: String { "exit \(exit.map(String.init) ?? "(none)") \(output.debugDescription) \(errorOutput.debugDescription)" }
    }

    init(_ manifests: String, _ configure: (inout Options) -> Void = { _ in }) throws {
        var options = Options()
        configure(&options)
        var loader = ManifestLoader()
        try loader.load(text: manifests, file: "test.yaml")
        var configuration = ClusterConfiguration(nodes: (1...options.nodes).map { .init(name: "node\($0)", address: IPv4Address(192, 168, 50, UInt8(10 + $0))) })
        configuration.proxyMode = options.proxyMode
        configuration.networkPlugin = options.plugin
        configuration.hasDNS = options.hasDNS
        plan = try ClusterPlanner.plan(loader.manifests, configuration: configuration)
        let endpoints = plan.endpointSlices(readyPods: Set(plan.pods.filter { $0.address != nil }.map(\.key)))
        names = NameBoard(plan.names(endpoints: endpoints))
        var settings = SimulationConfiguration()
        settings.seed = options.seed
        simulation = try Simulation(plan.topology(endpoints: endpoints), configuration: settings)
        if options.isWatched { watch() }
        for node in plan.nodes { files[node.name] = simulation.makeContainer(name: node.name) }
        for pod in plan.pods where pod.address != nil { boot(pod) }
        advance(.milliseconds(500))
    }

    private func watch() {
        let known = simulation.tapInterfaces
        for process in 0..<simulation.processCount {
            let own = known.filter { $0.process == process }
            let recorder = Recorder(interfaces: Dictionary(uniqueKeysWithValues: own.map { ($0.index, (host: $0.host, name: $0.name)) }))
            recorders.append(recorder)
            simulation.attach(recorder, process: process, interfaces: own.map(\.index))
        }
    }

    private func boot(_ pod: PlannedPod) {
        for container in pod.template.containers {
            let surroundings = plan.surroundings(of: container, in: pod)
            let environment = Dictionary(surroundings.environment.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })
            let entry = ImageCatalogue.entryPoint(
                image: container.image, command: surroundings.command, args: surroundings.args,
                declaredPorts: container.ports.map { (port: $0.port, proto: $0.proto.number) },
                environment: environment, names: names)
            let files = Dictionary(surroundings.files.map { ($0.path, $0.bytes) }, uniquingKeysWith: { $1 }).merging(entry.files) { own, _ in own }
            let identifier = simulation.makeContainer(name: container.name, files: files)
            let place = "\(pod.metadata.name)/\(container.name)"
            self.files[place] = identifier
            servers[place] = simulation.spawn(on: pod.hostName, entry.makeProgram(), arguments: entry.arguments, environment: environment, in: identifier)
        }
    }

    // MARK: Doing things

    func pod(_ name: String) throws -> PlannedPod { try #require(plan.pods.first { $0.metadata.name == name }, "there is no pod \(name)") }
    func address(_ name: String) throws -> IPv4Address { try #require(try pod(name).address) }
    func serviceAddress(_ name: String) throws -> IPv4Address { try #require(plan.services.first { $0.name == name }?.clusterAddress) }
    /// The node's end of a pod's veth pair.
    func veth(_ name: String) throws -> String { plan.vethName(of: try pod(name)) }

    /// Types a command into a shell of a pod's container (the first one unless named), or of a node.
    func start(_ command: String, in place: String, container: String? = nil) throws -> ProcessHandle {
        var host = place
        var key = place
        if plan.node(place) == nil {
            let pod = try pod(place)
            host = pod.hostName
            key = "\(place)/\(try container ?? #require(pod.template.containers.first).name)"
        }
        let shell = try #require(CommandTable.program(named: "sh", arguments: ["-c", command]))
        return simulation.spawn(on: host, shell, arguments: ["sh", "-c", command], environment: ["PATH": "/bin"], in: try #require(files[key]))
    }

    /// Runs a command to its end, and half a second more for late acknowledgements.
    func run(_ command: String, in place: String, container: String? = nil, patience: Duration = .seconds(120)) throws -> Outcome {
        let handle = try start(command, in: place, container: container)
        simulation.run(until: simulation.now + patience) { handle.exitStatus == nil }
        advance(.milliseconds(500))
        return outcome(handle)
    }

    func outcome(_ handle: ProcessHandle) -> Outcome {
        Outcome(
            exit: handle.exitStatus, output: String(decoding: handle.output, as: UTF8.self), errorOutput: String(decoding: handle.errorOutput, as: UTF8.self),
            startedAt: handle.startedAt, endedAt: handle.endedAt)
    }

    func advance(_ duration: Duration) { simulation.run(until: simulation.now + duration) }

    // MARK: Looking

    /// Everything seen, by time; of one time by logical process.
    var sights: [Sight] {
        let all = recorders.enumerated().flatMap { process, recorder in recorder.sights.enumerated().map { (sight: $1, process: process, order: $0) } }
        return all.sorted { ($0.sight.time, $0.process, $0.order) < ($1.sight.time, $1.process, $1.order) }.map(\.sight)
    }
    /// In the order in which each logical process saw them.
    var sightsByProcess: [[Sight]] { recorders.map(\.sights) }
    func sights(at host: String, _ interface: String) -> [Sight] { sights.filter { $0.host == host && $0.interface == interface } }
    var dropTexts: [String] { recorders.flatMap { $0.drops.map { "\($0.reason): \($0.text)" } } }
    func forget() { for recorder in recorders { recorder.forget() } }

    /// The books, in words when they do not balance.
    var imbalance: String? {
        let books = simulation.books
        if books.isBalanced { return nil }
        return
            "emitted \(books.emitted) + copied \(books.copied) ≠ delivered \(books.delivered) + dropped \(books.dropped) + handed over \(books.handedOver) + in flight \(books.inFlight)"
    }
}

// MARK: Manifests

/// Manifests of small clusters.
enum Manifest {
    static func pod(_ name: String, image: String = "nginx:1.27.0", labels: [String: String] = [:], node: String? = nil, command: String? = nil) -> String {
        pod(name, containers: [("main", image, command)], labels: labels, node: node)
    }

    static func pod(_ name: String, containers: [(name: String, image: String, command: String?)], labels: [String: String] = [:], node: String? = nil) -> String {
        var text = "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: \(name)\n"
        if !labels.isEmpty { text += "  labels: {\(labels.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }.joined(separator: ", "))}\n" }
        text += "spec:\n"
        if let node { text += "  nodeName: \(node)\n" }
        text += "  containers:\n"
        for container in containers {
            text += "  - name: \(container.name)\n    image: \(container.image)\n"
            if let command = container.command { text += "    command: [\(command)]\n" }
        }
        return text
    }

    /// A pod to type commands into.
    static func shell(_ name: String = "shell", node: String? = nil) -> String { pod(name, image: "alpine:3.20", node: node, command: "sleep, infinity") }

    static func service(_ name: String, selector: [String: String], port: Int = 80, target: Int = 80) -> String {
        let labels = selector.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }.joined(separator: ", ")
        return "---\napiVersion: v1\nkind: Service\nmetadata: {name: \(name)}\nspec:\n  selector: {\(labels)}\n  ports: [{port: \(port), targetPort: \(target)}]\n"
    }

    /// Three web servers behind one Service, and a shell.
    static let threeServers = (1...3).map { pod("web-\($0)", labels: ["app": "web"]) }.joined() + service("web", selector: ["app": "web"]) + shell()
    static let serverAndShell = pod("web") + shell()
}
