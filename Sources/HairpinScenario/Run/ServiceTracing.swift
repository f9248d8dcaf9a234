import HairpinCluster
import HairpinEngine
import HairpinHost
import HairpinProxy
import HairpinWire

/// What `hairpin trace` found: the fate of a connection's first packet, from the table that frames meet.
public struct TraceResult: Sendable, Encodable {
    public struct Endpoint: Sendable, Encodable {
        public var address: String
        public var port: UInt16
        public var pod: String?
        public var node: String?
        public var probability: Double
        public var masqueraded: Bool
        /// Nil where no policy has a word in it.
        public var policy: PolicyVerdict?
        /// Only of a node with rules of its own: what becomes of it after translation, ACCEPT, DROP or REJECT, and its rules, the translating one first.
        public var verdict: String?
        public var rules: [Rule]?
    }
    /// A rule of a node's own, where it stands.
    public struct Rule: Sendable, Encodable, Hashable {
        public var file: String
        /// Zero in a dump of nftables, which has no lines.
        public var line: Int
        /// Of a rule of nftables.
        public var handle: Int?
        public var table: String, chain: String
        public var text: String
        public var place: String { line > 0 ? "\(file):\(line)" : handle.map { "\(file) handle \($0)" } ?? file }
    }
    public var apiVersion = "hairpin.sim/v1"
    public var kind = "ServiceTrace"
    public var from: String, to: String
    public var `protocol`: String
    public var proxyMode: String
    /// The node whose rules decided.
    public var node: String
    /// ENDPOINT, REJECT, DROP, ACCEPT or NONE.
    public var verdict: String
    public var service: String?
    public var masqueraded: Bool
    public var affinitySeconds: Int?
    public var endpoints: [Endpoint]
    /// Chains and rules by name, in the order the packet meets them.
    public var path: [String]
    /// Of a packet that goes to its destination as it is; nil where no policy has a word in it.
    public var policy: PolicyVerdict?
    /// Where kube-proxy has no endpoint for the packet although the address is a Service's or a node's: which port, or which pods, are missing.
    public var note: String?
    /// Of a node with rules of its own: the one that decides, where all packets meet the same.
    public var decidedBy: Rule?
    /// Of a node with rules of its own: what more it would have to be told for another answer.
    public var hint: String?
}

/// `hairpin trace`: one packet's fate in a booted cluster, what-if.
public final class ServiceTracing {
    let world: World
    private let hooks: RunHooks
    /// In place of what the node's interfaces and addresses tell, for rules of a machine that is another.
    public var inputInterface: String?
    public var outputInterface: String?
    public var localAddresses: [IPv4Address] = []

    public init(_ loaded: LoadedScenario, hooks: RunHooks) throws(Failure) {
        self.hooks = hooks
        world = try World(loaded, seed: loaded.scenario.seed, log: hooks.log)
        world.settle(isInterrupted: hooks.isInterrupted)
        if hooks.isInterrupted() { throw Failure(.interrupted, "interrupted") }
    }

    struct Source {
        var address: ServiceAddress
        /// Where its first rules are, in the plan's nodes; nil for machines outside.
        var place: Int?
        var isNode = false
        var words: String
    }
    @inline(never)
    func node(of source: Source) -> PlannedNode? {
        guard let place = source.place else { return nil }
        return world.plan.nodes[place]
    }

    /// `from`: a pod, TYPE/NAME, node/NAME, host/NAME or an address. `to`: HOST:PORT with a Service's name, a node's, or an address.
    public func trace(from: String, to: String, proto: UInt8, namespace: String, at nodeName: String? = nil) throws(Failure) -> TraceResult {
        let source = try source(from, namespace: namespace)
        let (address, port, words) = try destination(to, proto: proto, namespace: self.namespace(of: from, namespace), source: source)
        var node = node(of: source)
        if let nodeName {
            guard let named = world.plan.node(nodeName) else { throw Failure(.notFound, "there is no node \"\(nodeName)\"") }
            node = named
        }
        let owner = owner(of: address)
        let first = node ?? owner ?? world.plan.nodes[0]
        if let rules = world.nodeRules[first.name] {
            return try traceRules(rules, at: first, from: source, to: address, port, words, proto: proto)
        }
        var (trace, path) = decide(at: first, source.address, address, port, proto, isFromNode: source.isNode && first.name == self.node(of: source)?.name)
        var decidedBy = first
        if trace.verdict == .none, let owner, owner.name != first.name {
            // On to the node that has the address; pods leave the pod network with their node's address.
            let isPod = source.address.ipv4.map { world.plan.configuration.podCIDR.contains($0) } ?? false
            if isPod { path.append("\(first.name): the network plugin masquerades what leaves the pod network") }
            let (second, more) = decide(at: owner, isPod ? ServiceAddress(first.address) : source.address, address, port, proto, isFromNode: false)
            (trace, decidedBy) = (second, owner)
            path += more
        }
        let podCIDR = world.plan.configuration.podCIDR
        if let own = source.address.ipv4, podCIDR.contains(own) {
            // Not kube-proxy's doing: whatever leaves the pod network takes the node's address.
            var isLeaving = false
            for index in trace.choices.indices where !trace.choices[index].isMasqueraded {
                guard let far = trace.choices[index].endpoint.address.ipv4, !podCIDR.contains(far) else { continue }
                trace.choices[index].isMasqueraded = true
                isLeaving = true
            }
            if isLeaving { path.append("\(decidedBy.name): the network plugin masquerades what leaves the pod network") }
        }
        let pods = podsByAddress()
        var result = TraceResult(
            from: source.words, to: words, protocol: proto == 17 ? "udp" : proto == 132 ? "sctp" : "tcp", proxyMode: world.scenario.cluster.proxyMode.rawValue,
            node: decidedBy.name, verdict: trace.verdict.rawValue, service: trace.service, masqueraded: trace.isMasqueraded, affinitySeconds: trace.affinitySeconds,
            endpoints: trace.choices.map { choice in
                let pod = pods[choice.endpoint.address]
                return TraceResult.Endpoint(
                    address: choice.endpoint.address.description, port: choice.endpoint.port, pod: pod?.key.description, node: pod?.node, probability: choice.probability,
                    masqueraded: choice.isMasqueraded)
            }, path: path)
        if result.endpoints.isEmpty { result.note = address.ipv4.flatMap { note(on: $0, port, proto) } }
        if let own = source.address.ipv4, world.scenario.cluster.networkPolicy != .off {
            result.judge(by: world.plan, source: own, destination: address.ipv4, proto: proto, port: port)
        }
        return result
    }

    /// What keeps a Service without an endpoint.
    private func note(on address: IPv4Address, _ port: UInt16, _ proto: UInt8) -> String? {
        if let missing = world.plan.missingPort(address, port, proto) ?? world.plan.missingPods(address) { return missing }
        let selected = world.plan.selectedPods(address).map { world.pods[$0.index] }
        guard !selected.isEmpty, !selected.contains(where: \.isReady) else { return nil }
        return selected.count == 1 ? "pod \(selected[0].pod.metadata.name) is not ready" : "none of the \(selected.count) pods that the Service selects is ready"
    }

    @inline(never)
    private func owner(of address: ServiceAddress) -> PlannedNode? {
        for node in world.plan.nodes where ServiceAddress(node.address) == address { return node }
        return nil
    }

    @inline(never)
    func podsByAddress() -> [ServiceAddress: PlannedPod] {
        var result: [ServiceAddress: PlannedPod] = [:]
        for pod in world.plan.pods {
            guard let address = pod.address, result[ServiceAddress(address)] == nil else { continue }
            result[ServiceAddress(address)] = pod
        }
        return result
    }

    private func decide(
        at node: PlannedNode, _ source: ServiceAddress, _ destination: ServiceAddress, _ port: UInt16, _ proto: UInt8, isFromNode: Bool
    ) -> (ServiceTrace, [String]) {
        guard let table = world.simulation.services(of: node.name) else { return (ServiceTrace.nothing, []) }
        func isLocal(_ address: ServiceAddress) -> Bool {
            address.isLoopback || address == ServiceAddress(node.address) || address == ServiceAddress(node.gateway)
        }
        let flow = ServiceFlow(
            source: source, destination: destination, proto: proto, port: port, isSourceLocal: isLocal(source), isDestinationLocal: isLocal(destination))
        let trace = table.trace(flow, isFromNode: isFromNode)
        return (trace, trace.path.map { "\(node.name): \($0)" })
    }

    /// Sends `count` first packets as frames and reads from the node's connection table where each of them went; "10.244.0.2:80 masqueraded".
    public func observe(from: String, to: String, proto: UInt8, namespace: String, count: Int) throws(Failure) -> [String: Int] {
        let source = try source(from, namespace: namespace)
        let (address, port, _) = try destination(to, proto: proto, namespace: namespace, source: source)
        guard let target = address.ipv4, let own = source.address.ipv4, let node = node(of: source) else {
            throw Failure(.usage, "frames go from pods and nodes to IPv4 addresses")
        }
        let host = source.isNode ? node.name : world.plan.pods.first { $0.address == own }?.hostName ?? ""
        guard let socket = world.simulation.rawSocket(on: host) else { throw Failure(.notFound, "\(from) has no machine") }
        var seen: [String: Int] = [:]
        for number in 0..<count {
            let sourcePort = UInt16(10_000 + number % 40_000)
            let length = proto == 6 ? 20 : 8
            try? socket.send(from: own, to: target, IPProtocol(proto), count: length) { packet in
                packet.initializeMemory(as: UInt8.self, repeating: 0, count: length)
                func put(_ value: UInt16, _ offset: Int) { packet.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self) }
                put(sourcePort, 0)
                put(port, 2)
                if proto == 6 { put(0x5002, 12) } else { put(UInt16(length), 4) }
                put(
                    InternetChecksum.checksum(
                        UnsafeRawBufferPointer(start: packet, count: length),
                        initial: InternetChecksum.pseudoHeader(source: own, destination: target, protocol: proto, length: length)), proto == 6 ? 16 : 6)
            }
            world.simulation.run(until: world.simulation.now + .milliseconds(1))
            let line = world.simulation.connections(of: node.name).first { $0.contains("src=\(own) dst=\(target) sport=\(sourcePort) ") }
            seen[line.map { ServiceTracing.describe($0, source: own, port: sourcePort) } ?? "nothing", default: 0] += 1
        }
        return seen
    }

    /// The reply direction of a line of `conntrack -L`.
    private static func describe(_ line: String, source: IPv4Address, port sourcePort: UInt16) -> String {
        var values: [String: [String]] = [:]
        for word in line.split(separator: " ") {
            let halves = word.split(separator: "=", maxSplits: 1).map(String.init)
            if halves.count == 2 { values[halves[0], default: []].append(halves[1]) }
        }
        guard let from = values["src"]?.last, let to = values["dst"]?.last, let port = values["sport"]?.last else { return "nothing" }
        // Masquerading may find the address right as it is, and still draws a port.
        let isMasqueraded = to != source.description || values["dport"]?.last != String(sourcePort)
        return "\(from):\(port)" + (isMasqueraded ? " masqueraded" : "")
    }

    // MARK: Names

    private func namespace(of from: String, _ namespace: String) -> String {
        guard let place = Place(from), from.split(separator: "/").count == 3 else { return namespace }
        return place.namespace
    }

    private func source(_ text: String, namespace: String) throws(Failure) -> Source {
        if let found = source(address: text) ?? source(node: text, words: "node/\(text)") { return found }
        guard let place = Place(text) else { throw Failure(.usage, "\"\(text)\" names nothing: write POD, TYPE/NAME, node/NAME, host/NAME or an address") }
        let isQualified = text.split(separator: "/").count == 3
        let target = try world.resolve(Place(kind: place.kind, namespace: isQualified ? place.namespace : namespace, name: place.name), container: nil)
        guard let found = source(target, place) else { throw Failure(.notFound, "\(text) has no address") }
        return found
    }

    @inline(never)
    func place(ofNode name: String?) -> Int? { world.plan.nodes.firstIndex { $0.name == name } }

    private func source(node name: String, words: String) -> Source? {
        guard let place = place(ofNode: name) else { return nil }
        return Source(address: ServiceAddress(world.plan.nodes[place].address), place: place, isNode: true, words: words)
    }

    @inline(never)
    private func source(address text: String) -> Source? {
        guard let address = ServiceAddress(text) else { return nil }
        // Loops: the optimizer's ownership check of Swift 6.3 fails on the closures that say the same.
        var owner = address.isLoopback ? 0 : nil as Int?
        for (place, node) in world.plan.nodes.enumerated() where ServiceAddress(node.address) == address || ServiceAddress(node.gateway) == address {
            owner = place
            break
        }
        if let owner { return Source(address: address, place: owner, isNode: true, words: text) }
        return Source(address: address, place: podPlace(address), words: text)
    }

    /// The node of the pod that has an address.
    @inline(never)
    private func podPlace(_ address: ServiceAddress) -> Int? {
        for pod in world.plan.pods {
            guard let own = pod.address, ServiceAddress(own) == address else { continue }
            return place(ofNode: pod.node)
        }
        return nil
    }

    private func source(_ target: CommandTarget, _ place: Place) -> Source? {
        if place.kind == .node { return source(node: target.host, words: place.description) }
        if place.kind == .host {
            guard let host = world.scenario.hosts.first(where: { $0.name == target.host }) else { return nil }
            return Source(address: ServiceAddress(host.address), words: place.description)
        }
        guard let pod = target.pod?.pod, let address = pod.address else { return nil }
        return Source(address: ServiceAddress(address), place: self.place(ofNode: pod.node), words: "pod/\(pod.metadata.name) (\(address))")
    }

    private func destination(_ text: String, proto: UInt8, namespace: String, source: Source) throws(Failure) -> (ServiceAddress, UInt16, String) {
        guard let colon = text.lastIndex(of: ":") else { throw Failure(.usage, "--to \"\(text)\": write HOST:PORT, such as web:80") }
        let host = String(text[..<colon]).filter { $0 != "[" && $0 != "]" }
        let portText = String(text[text.index(after: colon)...])
        let service = service(named: host, namespace: namespace)
        let number = UInt16(portText) ?? service?.ports.first { $0.name == portText }?.port
        guard let number, number > 0 else {
            let fix = service.map { "Service \"\($0.name)\" has the ports \($0.portList)." }
            throw Failure(.usage, "--to \"\(text)\": \"\(portText)\" is neither a port nor the name of one of the Service's", hint: fix)
        }
        if let address = ServiceAddress(host) { return (address, number, text) }
        if host == "localhost" { return (ServiceAddress(.loopback), number, text) }
        if let service {
            if let address = service.clusterAddress { return (ServiceAddress(address), number, "\(text) (\(address))") }
            // A headless Service's name is its endpoints' addresses: no rule has a part in it.
            let slices = world.endpoints.filter { $0.service == service.key }
            guard let first = slices.flatMap(\.endpoints).first(where: \.ready) else { throw Failure(.notFound, "\(host) has no address: no endpoint of it is ready") }
            return (ServiceAddress(first.address), number, "\(text) (\(first.address))")
        }
        let name = host.hasPrefix("node/") ? String(host.dropFirst(5)) : host
        if let node = world.plan.node(name) { return (ServiceAddress(node.address), number, "\(text) (\(node.address))") }
        if let pod = world.plan.pod(ObjectKey(namespace: namespace, name: name)), let address = pod.address {
            return (ServiceAddress(address), number, "\(text) (\(address))")
        }
        let known = world.plan.services.filter { $0.namespace == namespace }.map(\.name) + world.plan.nodes.map(\.name)
            + world.plan.pods.filter { $0.metadata.namespace == namespace }.map(\.metadata.name)
        let near = nearestWord(to: host, among: known).map { "Did you mean \"\($0)\"?" }
        throw Failure(.notFound, "--to \"\(text)\": no Service, node or pod is called \"\(host)\"", hint: near)
    }

    /// "web", "web.shop", "web.shop.svc" and "web.shop.svc.cluster.local".
    private func service(named host: String, namespace: String) -> PlannedService? {
        let parts = host.split(separator: ".").map(String.init)
        guard let name = parts.first, parts.count <= 2 || parts[2] == "svc" else { return nil }
        return world.plan.service(ObjectKey(namespace: parts.count > 1 ? parts[1] : namespace, name: name))
    }
}
