/// What becomes of a first packet at one node, with everything it could reach.
public struct ServiceTrace: Sendable {
    public enum Verdict: String, Sendable {
        /// Translated to one of `choices`.
        case endpoint = "ENDPOINT"
        /// ICMP port unreachable to the sender.
        case reject = "REJECT"
        case drop = "DROP"
        /// Accepted by a rule of kube-proxy's, not translated.
        case accept = "ACCEPT"
        /// kube-proxy has no opinion.
        case none = "NONE"
    }
    public struct Choice: Sendable {
        public var endpoint: ServiceTable.Endpoint
        public var probability: Double
        public var isMasqueraded: Bool
    }
    public var verdict: Verdict
    public var choices: [Choice]
    /// "default/web:http"; nil where no Service is concerned.
    public var service: String?
    /// Clients keep their endpoint for so long.
    public var affinitySeconds: Int?
    public var path: [String]
    /// Of a node without kube-proxy.
    public static let nothing = ServiceTrace(verdict: .none, choices: [], service: nil, affinitySeconds: nil, path: [])
    /// Some choice is masqueraded.
    public var isMasqueraded: Bool { choices.contains(where: \.isMasqueraded) }
}

extension ServiceTable {
    /// The hooks a first packet passes, in their order, as the datapath passes them. `isFromNode`: a process on the node sent it.
    public func trace(_ flow: ServiceFlow, isFromNode: Bool) -> ServiceTrace {
        let path = RulePath()
        func end(_ verdict: ServiceVerdict) -> ServiceTrace? {
            let name: ServiceTrace.Verdict
            switch verdict {
            case .none: return nil
            case .accept: name = .accept
            case .drop: name = .drop
            case .reject: name = .reject
            }
            return ServiceTrace(verdict: name, choices: [], service: service(of: flow), path: path.steps)
        }
        func pass(_ chains: [ServiceChain]) -> ServiceTrace? {
            for chain in chains { if let result = end(verdict(chain, flow, path: path)) { return result } }
            return nil
        }
        let nft = settings.mode == .nftables
        if nft, let result = pass(isFromNode ? [.serviceEndpoints, .firewall] : [.firewall]) { return result }
        if settings.mode == .ipvs { return virtualServer(flow, path) }
        if case .endpoints(let choice, let list, let isMarked) = translate(flow, path: path) {
            let entry = entries[Int(choice.entry)]
            let choices = list.map { index in
                ServiceTrace.Choice(
                    endpoint: endpoints[index], probability: 1 / Double(list.count), isMasqueraded: isMarked || endpoints[index].address == flow.source)
            }
            return ServiceTrace(
                verdict: .endpoint, choices: choices, service: entry.rules.name, affinitySeconds: entry.rules.affinitySeconds, path: path.steps)
        }
        if isFromNode, let result = pass(nft ? [.unallocated] : [.firewall, .clusterAddresses]) { return result }
        let rest: [ServiceChain] =
            flow.isDestinationLocal
            ? nft ? [.nodePortEndpoints, .serviceEndpoints] : [.firewall, .healthChecks, .externalAddresses]
            : isFromNode ? [] : nft ? [.serviceEndpoints, .unallocated] : [.firewall, .clusterAddresses, .externalAddresses]
        if let result = pass(rest) { return result }
        return ServiceTrace(verdict: .none, choices: [], service: nil, path: path.steps)
    }

    private func service(of flow: ServiceFlow) -> String? {
        let found = frontend(flow.destination, flow.port, flow.proto) ?? (flow.isDestinationLocal ? nodePort(flow.port, flow.proto) : nil)
        return found.map { entries[Int($0.entry)].rules.name }
    }

    /// IPVS: the virtual server's real servers in turn. It looks neither for pods nor for the node among external clients.
    private func virtualServer(_ flow: ServiceFlow, _ path: RulePath) -> ServiceTrace {
        let found = frontend(flow.destination, flow.port, flow.proto) ?? (acceptsNodePorts(flow) ? nodePort(flow.port, flow.proto) : nil)
        guard let found else { return ServiceTrace(verdict: .none, choices: [], service: nil, path: []) }
        let entry = entries[Int(found.entry)]
        if found.kind == .loadBalancer, !allows(entry, flow.source, path) {
            return ServiceTrace(verdict: .drop, choices: [], service: entry.rules.name, path: path.steps)
        }
        let list = found.kind == .cluster ? entry.internalList : entry.rules.isExternalLocal ? entry.local : entry.cluster
        path.add("ipvs: \(flow.destination.with(port: flow.port)) rr")
        if list.isEmpty {
            path.add("ipvs: no destination available")
            return ServiceTrace(verdict: .reject, choices: [], service: entry.rules.name, path: path.steps)
        }
        let isNodePort = found.kind == .nodePort
        // What comes from a loopback address leaves KUBE-SERVICES before it is marked.
        let isMarked = !flow.source.isLoopback && ipvsMarks(flow, nodePorts: isNodePort) == .mark
        if isMarked { path.add("KUBE-MARK-MASQ") }
        let choices = list.map { index in
            ServiceTrace.Choice(endpoint: endpoints[index], probability: 1 / Double(list.count), isMasqueraded: isMarked || endpoints[index].address == flow.source)
        }
        return ServiceTrace(verdict: .endpoint, choices: choices, service: entry.rules.name, affinitySeconds: entry.rules.affinitySeconds, path: path.steps)
    }
}
