import HairpinCluster
import HairpinHost
import HairpinProxy
import HairpinTopology
import HairpinWire

/// A node with clients, and Services that all lead to the same pods. UDP, one port each.
struct ServiceNetwork {
    static let port: UInt16 = 53
    static let targetPort: UInt16 = 5353
    /// More than one client, so that there are source ports enough for every first packet of a repetition.
    static let clientCount = 4
    let node: String
    let clients: [(name: String, address: IPv4Address)]
    let servers: [(name: String, address: IPv4Address)]
    let addresses: [IPv4Address]
    /// Without rules and virtual servers.
    let topology: Topology
    private let plan: ClusterPlan
    private let slices: [EndpointSlice]
    private let slicesOf: [ObjectKey: [Int]]
    private var proxy: NodeProxy

    static func make(_ settings: ServiceBenchmark.Configuration) throws(BenchmarkError) -> ServiceNetwork {
        let network = ServiceNetwork(try plan(settings))
        try network.check(settings)
        return network
    }

    private init(_ plan: ClusterPlan) {
        self.plan = plan
        proxy = NodeProxy(node: plan.nodes[0])
        slices = plan.endpointSlices(readyPods: Set(plan.pods.map(\.key)))
        slicesOf = Dictionary(grouping: slices.indices) { [slices] in slices[$0].service }
        topology = ServiceNetwork.bare(plan)
        node = plan.nodes[0].name
        clients = ServiceNetwork.pods("client", of: plan)
        servers = ServiceNetwork.pods("server", of: plan)
        addresses = plan.services.filter { $0.name.hasPrefix("service-") }.compactMap(\.clusterAddress)
    }

    /// kube-proxy's first sync: endpoints are chosen, the table compiled and loaded with the rules that use it.
    mutating func load(into simulation: Simulation) throws(BenchmarkError) {
        proxy = NodeProxy(node: plan.nodes[0])
        let (slices, slicesOf) = (slices, slicesOf)
        try write(proxy.sync(plan, changed: []) { key in (slicesOf[key] ?? []).map { slices[$0] } }, to: simulation)
    }

    /// One Service's first endpoint is no longer ready, or is again; kube-proxy programs that Service and leaves the others.
    mutating func change(_ number: Int, ready: Bool, in simulation: Simulation) throws(BenchmarkError) {
        guard proxy.table != nil else { throw .fault("changed before it was loaded") }
        let service = plan.services.indices.contains(number) ? plan.services[number] : plan.services[0]
        var own: [EndpointSlice] = []
        for index in slicesOf[service.key] ?? [] { own.append(slices[index]) }
        guard !own.isEmpty, !own[0].endpoints.isEmpty else { throw .fault("\(service.name) has no endpoints") }
        (own[0].endpoints[0].ready, own[0].endpoints[0].serving) = (ready, ready)
        try write(proxy.sync(plan, changed: [service.key]) { _ in own }, to: simulation)
    }

    /// As `World.writeRules` does for each node.
    private func write(_ update: NodeProxy.Update, to simulation: Simulation) throws(BenchmarkError) {
        if let rules = update.rules { do { try simulation.setRules(rules, on: node) } catch { throw .fault("the rules are refused: \(error)") } }
        simulation.setServices(update.table, on: node)
        switch update.virtualServers {
        case .unchanged: break
        case .all(let servers): simulation.setVirtualServers(servers, on: node)
        case .changed(let servers): guard simulation.changeVirtualServers(servers, on: node) else { throw .fault("a changed Service is no virtual server") }
        }
    }

    /// A Service among those that are measured, for `change`.
    func position(_ number: Int) -> Int { plan.services.firstIndex { $0.name == "service-\(number)" } ?? 0 }

    private static func pods(_ role: String, of plan: ClusterPlan) -> [(name: String, address: IPv4Address)] {
        var result: [(name: String, address: IPv4Address)] = []
        for pod in plan.pods where pod.labels["role"] == role {
            if let address = pod.address { result.append((pod.hostName, address)) }
        }
        return result
    }

    private func check(_ settings: ServiceBenchmark.Configuration) throws(BenchmarkError) {
        guard clients.count == ServiceNetwork.clientCount, servers.count == settings.endpoints, addresses.count == settings.services else {
            throw .fault("the planned cluster has \(clients.count) clients, \(servers.count) endpoints and \(addresses.count) Services")
        }
    }

    /// Pods, cables, addresses and routes; the rules are the measurement's to load.
    private static func bare(_ plan: ClusterPlan) -> Topology {
        var topology = plan.topology()
        for index in topology.hosts.indices {
            topology.hosts[index].iptables = []
            topology.hosts[index].services = nil
            topology.hosts[index].virtualServers = []
        }
        return topology
    }

    private static func plan(_ settings: ServiceBenchmark.Configuration) throws(BenchmarkError) -> ClusterPlan {
        var configuration = ClusterConfiguration()
        configuration.hasDNS = false
        configuration.proxyMode = .init(rawValue: settings.mode.rawValue) ?? .iptables
        // Room for 250 endpoints and the clients.
        configuration.nodePrefixLength = 23
        do throws(InputError) {
            var loader = ManifestLoader()
            // Several files: one holds so many objects and no more.
            for first in stride(from: 0, to: settings.services, by: 1000) {
                let numbers = first..<min(first + 1000, settings.services)
                try loader.load(text: (first == 0 ? pods(settings) : "") + services(numbers), file: "benchmark-\(first)")
            }
            return try ClusterPlanner.plan(loader.manifests, configuration: configuration)
        } catch {
            throw .fault("the cluster cannot be planned: \(error)")
        }
    }

    private static func pods(_ settings: ServiceBenchmark.Configuration) -> String {
        (0..<clientCount).map { pod("client", $0) }.joined() + (0..<settings.endpoints).map { pod("server", $0) }.joined()
    }

    private static func services(_ numbers: Range<Int>) -> String {
        var text = ""
        for number in numbers {
            text += "---\n{apiVersion: v1, kind: Service, metadata: {name: service-\(number)}, "
            text += "spec: {selector: {role: server}, ports: [{port: \(port), targetPort: \(targetPort), protocol: UDP}]}}\n"
        }
        return text
    }

    private static func pod(_ role: String, _ number: Int) -> String {
        "---\n{apiVersion: v1, kind: Pod, metadata: {name: \(role)-\(number), labels: {role: \(role)}}, spec: {containers: [{name: c, image: alpine}]}}\n"
    }
}
