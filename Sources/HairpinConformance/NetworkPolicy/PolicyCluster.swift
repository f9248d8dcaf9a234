import HairpinCluster
import HairpinDatapath
import HairpinEngine
import HairpinHost
import HairpinPolicy
import HairpinPrograms
import HairpinTopology
import HairpinTransport
import HairpinWire

/// The emulated cluster of one NetworkPolicy case: a node for every /24 that pods have addresses in, so that some pairs share a bridge and others are
/// routed; a server in every pod, and a Service in front of each.
final class PolicyCluster {
    private(set) var plan: ClusterPlan
    let simulation: Simulation
    private let file: PolicyCaseFile
    private let served: [PolicyCase.Probe]
    private var containers: [String: ContainerID] = [:]
    private var rulesWritten: [String: [String]] = [:]
    private var serversWritten: [String: [VirtualServerDescription]] = [:]
    private lazy var associations = AssociationProbe(on: simulation, pods: addresses)
    private var nextPort: UInt16 = 32768

    /// Before the second SYN, which comes after a second.
    private static let patience = Duration.milliseconds(900)

    init(_ file: PolicyCaseFile, _ policyCase: PolicyCase, seed: UInt64, proxyMode: ClusterConfiguration.ProxyMode) throws {
        self.file = file
        served = policyCase.served
        guard let first = file.pods.first else { throw Unsupported("a model without pods") }
        let podCIDR = IPv4Prefix(first.address, length: 16)
        var nodes: [String: Int] = [:]
        for pod in file.pods {
            guard podCIDR.contains(pod.address), ![0, 1, 255].contains(pod.address.rawValue & 255) else { throw Unsupported("the pod address \(pod.address)") }
            nodes[pod.key.description] = Int(pod.address.rawValue >> 8 & 255)
        }
        let count = (nodes.values.max() ?? 0) + 1
        guard count <= 200 else { throw Unsupported("pods in the \(count)th part of \(podCIDR)") }
        var configuration = ClusterConfiguration(
            nodes: (0..<count).map { .init(name: "node\($0 + 1)", address: IPv4Address(192, 168, 50, UInt8(11 + $0))) }, podCIDR: podCIDR)
        configuration.networkPlugin = .flannelHostGateway
        configuration.proxyMode = proxyMode
        configuration.hasDNS = false
        var loader = ManifestLoader()
        try loader.load(text: PolicyCluster.manifests(file, served: policyCase.served) { "node\((nodes[$0.description] ?? 0) + 1)" }, file: "model")
        var plan = try ClusterPlanner.plan(loader.manifests, configuration: configuration)
        for index in plan.pods.indices {
            let key = plan.pods[index].key
            guard let pod = file.pods.first(where: { $0.key == key }), let node = plan.pods[index].node else { continue }
            plan.pods[index].placement = .scheduled(node: node, address: pod.address)
        }
        self.plan = plan
        var settings = SimulationConfiguration()
        settings.seed = seed
        let endpoints = plan.endpointSlices(readyPods: Set(plan.pods.map(\.key)))
        simulation = try Simulation(plan.topology(endpoints: endpoints), configuration: settings)
        for node in plan.nodes {
            rulesWritten[node.name] = plan.iptables(node: node, endpoints: endpoints)
            serversWritten[node.name] = plan.virtualServers(node: node, endpoints: endpoints)
        }
        for pod in plan.pods {
            let container = simulation.makeContainer(name: "probe")
            containers[pod.hostName] = container
            let ports = served.compactMap { probe in probe.kind.map { (kind: $0, port: probe.port) } }
            if !ports.isEmpty { simulation.spawn(on: pod.hostName, NameServer(name: pod.hostName, ports: ports), arguments: ["serve"], in: container) }
        }
        simulation.run(until: .zero + .milliseconds(10))
    }

    private static func manifests(_ file: PolicyCaseFile, served: [PolicyCase.Probe], node: (ObjectKey) -> String) -> String {
        func text(_ text: String) -> String { JSONValue.string(text).json(indent: nil) }
        func mapping(_ labels: [(key: String, value: String)]) -> String { "{" + labels.map { "\(text($0.key)): \(text($0.value))" }.joined(separator: ", ") + "}" }
        var documents = file.namespaces.map { "{apiVersion: v1, kind: Namespace, metadata: {name: \(text($0.name)), labels: \(mapping($0.labels))}}" }
        for pod in file.pods {
            let ports = served.map { probe in
                let name = file.portName.replacing("<port>", with: String(probe.port)).replacing("<proto lowercase>", with: probe.proto.rawValue.lowercased())
                return "{name: \(text(name)), containerPort: \(probe.port), protocol: \(probe.proto.rawValue)}"
            }
            documents.append(
                """
                apiVersion: v1
                kind: Pod
                metadata: {name: \(text(pod.key.name)), namespace: \(text(pod.key.namespace)), labels: \(mapping(pod.labels))}
                spec: {nodeName: \(node(pod.key)), containers: [{name: probe, image: agnhost, ports: [\(ports.joined(separator: ", "))]}]}
                """)
            let servicePorts = served.map { "{name: \($0.proto.rawValue.lowercased())-\($0.port), port: \($0.port), protocol: \($0.proto.rawValue)}" }
            documents.append(
                """
                apiVersion: v1
                kind: Service
                metadata: {name: \(text(service(pod.key))), namespace: \(text(pod.key.namespace))}
                spec: {selector: {pod: \(text(pod.labels.first { $0.key == "pod" }?.value ?? pod.key.name))}, ports: [\(servicePorts.joined(separator: ", "))]}
                """)
        }
        return documents.joined(separator: "\n---\n")
    }
    private static func service(_ pod: ObjectKey) -> String { "s-\(pod.namespace)-\(pod.name)" }

    private var addresses: [String: IPv4Address] {
        var result: [String: IPv4Address] = [:]
        for pod in plan.pods { result[pod.hostName] = pod.address }
        return result
    }

    // MARK: Changes

    func apply(_ change: ClusterChange) throws {
        _ = try plan.apply(change)
    }

    /// What kube-proxy and the policy agents make of the changes so far.
    func enforce() {
        let table = plan.policyTable()
        let endpoints = plan.endpointSlices(readyPods: Set(plan.pods.map(\.key)))
        for node in plan.nodes {
            simulation.setPolicies(table.local(to: node.name), on: node.name)
            let rules = plan.iptables(node: node, endpoints: endpoints)
            if rulesWritten[node.name] != rules {
                rulesWritten[node.name] = rules
                do { try simulation.setRules(rules, on: node.name) } catch { preconditionFailure("kube-proxy's rules are not accepted: \(error)") }
            }
            let servers = plan.virtualServers(node: node, endpoints: endpoints)
            if serversWritten[node.name] ?? [] != servers {
                serversWritten[node.name] = servers
                simulation.setVirtualServers(servers, on: node.name)
            }
        }
    }

    // MARK: Probes

    /// Every pod speaks to every pod, all at once.
    func probe(_ probe: PolicyCase.Probe) -> ProbedMatrix {
        let pods = file.order.compactMap { plan.pod($0) }
        let table = plan.policyTable()
        var compiled: [String] = []
        for source in pods {
            compiled.append(
                String(
                    pods.map { destination -> Character in
                        guard let from = source.address, let to = destination.address else { return "X" }
                        return table.decide(PolicyFlow(source: from, destination: to, proto: probe.proto.number, port: probe.port)).isAllowed ? "." : "X"
                    }))
        }
        var strangers: [String] = []
        func matrix(_ answers: [String?], _ way: String) -> [String] {
            var rows: [String] = []
            for (row, source) in pods.enumerated() {
                var letters = ""
                for (column, destination) in pods.enumerated() {
                    let answer = answers[row * pods.count + column]
                    if let answer, answer != destination.hostName { strangers.append("\(source.key) asks for \(destination.key)\(way) and reaches \(answer)") }
                    letters += answer == destination.hostName ? "." : "X"
                }
                rows.append(letters)
            }
            return rows
        }
        let targets = pods.map { pod in (pod.address, plan.service(ObjectKey(namespace: pod.key.namespace, name: PolicyCluster.service(pod.key)))?.clusterAddress) }
        let attempts = pods.flatMap { source in targets.map { (source.hostName, $0.0) } } + pods.flatMap { source in targets.map { (source.hostName, $0.1) } }
        let answers = probe.kind.map { ask(attempts, $0, probe.port) } ?? associate(attempts, probe.port)
        let half = pods.count * pods.count
        return ProbedMatrix(
            direct: matrix(Array(answers[..<half]), ""), service: matrix(Array(answers[half...]), " through its Service"), compiled: compiled, strangers: strangers)
    }

    private func ask(_ attempts: [(client: String, target: IPv4Address?)], _ kind: SocketKind, _ port: UInt16) -> [String?] {
        let handles = attempts.map { attempt -> ProcessHandle? in
            guard let target = attempt.target, let container = containers[attempt.client] else { return nil }
            let program = NameProbe(kind, to: SocketAddress(target, port), patience: PolicyCluster.patience)
            return simulation.spawn(on: attempt.client, program, arguments: ["probe"], in: container)
        }
        simulation.run(until: simulation.now + .seconds(2)) { handles.contains { $0 != nil && $0?.exitStatus == nil } }
        // What is closed on both sides, or given up, settles before the next step changes the rules.
        simulation.run(until: simulation.now + .milliseconds(100))
        return handles.map { handle in
            guard let handle, handle.exitStatus == 0 else { return nil }
            return String(decoding: handle.output, as: UTF8.self)
        }
    }

    private func associate(_ attempts: [(client: String, target: IPv4Address?)], _ port: UInt16) -> [String?] {
        var result = [String?](repeating: nil, count: attempts.count)
        var known: [(place: Int, attempt: AssociationProbe.Attempt)] = []
        for (place, attempt) in attempts.enumerated() {
            guard let target = attempt.target else { continue }
            nextPort = nextPort == 60999 ? 32768 : nextPort + 1
            known.append((place, AssociationProbe.Attempt(client: attempt.client, id: nextPort, target: target, port: port)))
        }
        for (entry, answer) in zip(known, associations.run(known.map(\.attempt))) { result[entry.place] = answer }
        return result
    }
}

extension PolicyCase.Probe {
    /// The kind of socket that speaks the protocol; nil for SCTP, which pods do not speak.
    fileprivate var kind: SocketKind? {
        switch proto {
        case .tcp: .stream
        case .udp: .datagram
        case .sctp: nil
        }
    }
}
