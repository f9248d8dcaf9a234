import HairpinPolicy
import HairpinWire

/// Who may open a conversation with whom on one port, by policy alone: whether anybody listens there is not asked.
public struct Reachability: Sendable {
    /// A row, and for `pods` a column.
    public struct Peer: Sendable, Hashable {
        /// "namespace/name" of a pod, "host/name" of a machine outside the cluster.
        public var name: String
        public var address: IPv4Address
        /// Nil for machines outside.
        public var node: String?
    }
    public struct Cell: Sendable {
        /// Destinations that may be reached, of those there are: 1 of 1 or 0 of 1 for a pod, endpoints for a Service.
        public var reached: Int
        public var total: Int
        /// What decided, on each side; of a Service the first endpoint that is refused, or the first of all.
        public var egress: String
        public var ingress: String
        public var isAllowed: Bool { reached > 0 }
    }
    public var proto: PortProtocol
    /// Of pods; for Services the Service's own port.
    public var port: UInt16
    public var sources: [Peer]
    /// Pods and machines outside, or Services: "namespace/name".
    public var destinations: [String]
    /// Rows by source. The diagonal is the pod with itself, which is always allowed.
    public var cells: [[Cell]]
    /// Packets refused, by what isolates: (explanation, pairs), most pairs first.
    public var causes: [(text: String, pairs: Int)]
    public var refused: Int { cells.reduce(0) { $0 + $1.count { !$0.isAllowed && $0.total > 0 } } }
}

extension ClusterPlan {
    /// Pods with an address and machines outside the cluster, in the order of the plan; the cluster's own pods only if wanted.
    public func reachabilityPeers(includingSystem: Bool = false) -> [Reachability.Peer] {
        let pods = self.pods.compactMap { pod -> Reachability.Peer? in
            guard let address = pod.address, includingSystem || pod.metadata.namespace != "kube-system" else { return nil }
            return Reachability.Peer(name: pod.key.description, address: address, node: pod.node)
        }
        return pods + configuration.hosts.map { Reachability.Peer(name: "host/\($0.name)", address: $0.address, node: nil) }
    }

    /// The ports that containers declare for a protocol, in numerical order.
    public func declaredPorts(_ proto: PortProtocol, includingSystem: Bool = false) -> [UInt16] {
        let pods = self.pods.filter { includingSystem || $0.metadata.namespace != "kube-system" }
        return Set(pods.flatMap(\.containerPorts).filter { $0.proto == proto }.map(\.port)).sorted()
    }

    /// Pods × pods.
    public func reachability(_ proto: PortProtocol, port: UInt16, includingSystem: Bool = false) -> Reachability {
        let table = policyTable()
        let peers = reachabilityPeers(includingSystem: includingSystem)
        var causes: [String: Int] = [:]
        let cells = peers.map { source in
            peers.map { destination -> Reachability.Cell in
                let judged = judge(table, source, destination.address, name: destination.name, proto, port)
                if let cause = judged.cause { causes[cause, default: 0] += 1 }
                return Reachability.Cell(reached: judged.cause == nil ? 1 : 0, total: 1, egress: judged.egress, ingress: judged.ingress)
            }
        }
        return Reachability(proto: proto, port: port, sources: peers, destinations: peers.map(\.name), cells: cells, causes: Self.ranked(causes))
    }

    /// Pods × Services that have this port; `endpoints` are those kube-proxy knows. Policies see the endpoint, not the Service.
    public func serviceReachability(_ proto: PortProtocol, port: UInt16, endpoints slices: [EndpointSlice], includingSystem: Bool = false) -> Reachability {
        let table = policyTable()
        let peers = reachabilityPeers(includingSystem: includingSystem).filter { $0.node != nil }
        var names: [IPv4Address: String] = [:]
        for peer in reachabilityPeers(includingSystem: true) { names[peer.address] = peer.name }
        let columns = services.compactMap { service -> (PlannedService, ServicePort)? in
            guard service.clusterAddress != nil, includingSystem || !isSystem(service) else { return nil }
            return service.ports.first { $0.port == port && $0.proto == proto }.map { (service, $0) }
        }
        var causes: [String: Int] = [:]
        let cells = peers.map { source in
            columns.map { service, servicePort -> Reachability.Cell in
                let chosen = nodes.first { $0.name == source.node }.map { clusterEndpoints(service, servicePort, in: slices, on: $0) } ?? []
                var cell = Reachability.Cell(reached: 0, total: chosen.count, egress: "no endpoints", ingress: "no endpoints")
                var refused: String?
                for (place, endpoint) in chosen.enumerated() {
                    let judged = judge(table, source, endpoint.address, name: names[endpoint.address] ?? endpoint.address.description, proto, endpoint.port)
                    if judged.cause == nil { cell.reached += 1 }
                    if place == 0 || refused == nil && judged.cause != nil { (cell.egress, cell.ingress) = (judged.egress, judged.ingress) }
                    refused = refused ?? judged.cause
                }
                if cell.reached == 0, let refused { causes[refused, default: 0] += 1 }
                return cell
            }
        }
        return Reachability(proto: proto, port: port, sources: peers, destinations: columns.map(\.0.key.description), cells: cells, causes: Self.ranked(causes))
    }

    /// Of the cluster itself: what kube-system holds, and the API server's Service.
    public func isSystem(_ service: PlannedService) -> Bool { service.namespace == "kube-system" || service.key == ObjectKey(namespace: "default", name: "kubernetes") }

    private static func ranked(_ causes: [String: Int]) -> [(text: String, pairs: Int)] {
        causes.map { (text: $0.key, pairs: $0.value) }.sorted { ($1.pairs, $0.text) < ($0.pairs, $1.text) }
    }

    private func judge(
        _ table: PolicyTable, _ source: Reachability.Peer, _ destination: IPv4Address, name: String, _ proto: PortProtocol, _ port: UInt16
    ) -> (egress: String, ingress: String, cause: String?) {
        let decision = table.decide(PolicyFlow(source: source.address, destination: destination, proto: proto.number, port: port))
        let egress = table.explain(decision.egress, .egress, pod: source.name)
        let ingress = table.explain(decision.ingress, .ingress, pod: name)
        return (egress, ingress, decision.denied.map { $0.direction == .egress ? egress : ingress })
    }
}
