import HairpinProxy
import HairpinTopology

/// kube-proxy of one node: the table it has compiled, the rules around it, and IPVS's virtual servers. A change costs what the changed Services cost, and what
/// the other Services are is only copied.
public struct NodeProxy: Sendable {
    public enum VirtualServers: Sendable, Equatable {
        case unchanged
        /// Some of those there are have other servers.
        case changed([VirtualServerDescription])
        /// All of them: others than before are there.
        case all([VirtualServerDescription])
    }
    /// What a sync has to write.
    public struct Update: Sendable {
        public var table: ServiceTable
        /// Nil if they are the same.
        public var rules: [String]?
        public var virtualServers: VirtualServers
    }

    public let node: PlannedNode
    public private(set) var table: ServiceTable?
    /// All rules around the table, for a node whose rules somebody else has changed.
    public private(set) var rules: [String] = []
    /// Of a Service in the plan: its position there, and its first entry in the table.
    private var places: [ObjectKey: (service: Int, entry: Int)] = [:]

    public init(node: PlannedNode) { self.node = node }

    /// Follows a change: `changed` Services have other endpoints; `services`, whose keys are in it too, were made, changed or deleted themselves.
    ///
    /// Complexity: O(endpoints of the changed Services) and a copy of the table's entries; O(Services) where `services` are.
    public mutating func sync(
        _ plan: ClusterPlan, changed: Set<ObjectKey>, services: Set<ObjectKey> = [], slices: (ObjectKey) -> [EndpointSlice]
    ) -> Update {
        func endpoints(_ service: PlannedService, _ port: ServicePort) -> [ProxyEndpoint] {
            let own = slices(service.key)
            return ClusterPlan.endpoints(port, own, Array(own.indices), node: node.name)
        }
        let new: ServiceTable
        let servers: VirtualServers
        var isLocalChanged = true
        if let old = table, services.isEmpty {
            if changed.isEmpty { return Update(table: old, rules: nil, virtualServers: .unchanged) }
            var changes: [(entry: Int, endpoints: [ProxyEndpoint])] = []
            // In the order of the table: what comes of a change must not hang on the order of a set.
            for (service, first) in changed.compactMap({ places[$0] }).sorted(by: { $0.entry < $1.entry }) {
                for (offset, port) in plan.services[service].ports.enumerated() { changes.append((first + offset, endpoints(plan.services[service], port))) }
            }
            new = old.replacing(changes)
            servers = .changed(plan.virtualServers(node: node, new, entries: changes.map(\.entry)))
            isLocalChanged = changes.contains { new.localEndpoints(of: $0.entry) != old.localEndpoints(of: $0.entry) }
        } else {
            places = [:]
            var ports: [(service: Int, port: Int)] = []
            for index in plan.services.indices where plan.services[index].clusterAddress != nil {
                places[plan.services[index].key] = (index, ports.count)
                for port in plan.services[index].ports.indices { ports.append((index, port)) }
            }
            func given(_ number: Int) -> (service: PlannedService, port: ServicePort) {
                (plan.services[ports[number].service], plan.services[ports[number].service].ports[ports[number].port])
            }
            if let old = table {
                new = old.replacing(
                    services: ports.indices.map { number in
                        let (service, port) = given(number)
                        return (service.rules(port), changed.contains(service.key) || services.contains(service.key) ? endpoints(service, port) : nil)
                    })
            } else {
                new = ServiceTable(plan.proxySettings(node), count: ports.count) { number in
                    let (service, port) = given(number)
                    return (service.rules(port), endpoints(service, port))
                }
            }
            servers = .all(plan.virtualServers(node: node, new))
        }
        // The rules around the table name Services' source ranges and, in IPVS mode, the endpoints on the node; nothing else of them.
        var written: [String]?
        if table == nil || !services.isEmpty || isLocalChanged && new.settings.mode == .ipvs {
            let lines = plan.baseRules(node: node, new)
            if table == nil || lines != rules { written = lines }
            rules = lines
        }
        table = new
        return Update(table: new, rules: written, virtualServers: new.settings.mode == .ipvs ? servers : .unchanged)
    }
}
