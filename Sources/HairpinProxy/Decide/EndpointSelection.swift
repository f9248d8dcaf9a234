/// Which endpoints a Service port uses on one node (pkg/proxy/topology.go, `CategorizeEndpoints`).
struct EndpointSelection {
    /// Those of Cluster policy, as positions in the list that was given.
    private(set) var cluster: [Int] = []
    private(set) var local: [Int] = []
    /// Whether anything on any node could answer.
    private(set) var hasAny = false

    private enum Topology { case none, sameZone, sameNode }

    /// Ready endpoints; where there are none, those that terminate but still serve (KEP-1669), for either policy by itself.
    init(_ endpoints: [ProxyEndpoint], _ rules: ServicePortRules, _ settings: ProxySettings) {
        if rules.usesClusterEndpoints {
            let followsHints = !settings.requiresTopologyAnnotation || ["Auto", "auto"].contains(rules.topologyAnnotation)
            let topology = followsHints ? EndpointSelection.topology(endpoints, settings) : .none
            cluster.reserveCapacity(endpoints.count)
            // By position: a copy of an endpoint would count references to its hints.
            for index in endpoints.indices where endpoints[index].isReady {
                if topology == .none || EndpointSelection.isNear(endpoints[index], topology, settings) { cluster.append(index) }
            }
            if cluster.isEmpty { cluster = endpoints.indices.filter { endpoints[$0].isServing && endpoints[$0].isTerminating } }
            hasAny = !cluster.isEmpty
        }
        guard rules.usesLocalEndpoints else { return }
        var fallback: [Int] = []
        for index in endpoints.indices {
            if endpoints[index].isReady {
                hasAny = true
                if endpoints[index].isLocal { local.append(index) }
            } else if endpoints[index].isServing, endpoints[index].isTerminating {
                hasAny = true
                if endpoints[index].isLocal { fallback.append(index) }
            }
        }
        if local.isEmpty { local = fallback }
    }

    /// Hints count only if every ready endpoint has them and one is meant for this node, or for its zone.
    private static func topology(_ endpoints: [ProxyEndpoint], _ settings: ProxySettings) -> Topology {
        var hasReady = false
        var (allNode, forNode, allZone, forZone) = (true, false, true, false)
        for endpoint in endpoints where endpoint.isReady {
            hasReady = true
            if endpoint.nodeHints.isEmpty { allNode = false } else if endpoint.nodeHints.contains(settings.nodeName) { forNode = true }
            if endpoint.zoneHints.isEmpty { allZone = false } else if endpoint.zoneHints.contains(settings.zone) { forZone = true }
            if !allNode, !allZone { return .none }
        }
        if !hasReady { return .none }
        return allNode && forNode ? .sameNode : allZone && forZone ? .sameZone : .none
    }

    private static func isNear(_ endpoint: ProxyEndpoint, _ topology: Topology, _ settings: ProxySettings) -> Bool {
        switch topology {
        case .none: true
        case .sameZone: endpoint.zoneHints.contains(settings.zone)
        case .sameNode: endpoint.nodeHints.contains(settings.nodeName)
        }
    }
}
