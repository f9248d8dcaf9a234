import HairpinProxy
import HairpinWire

extension ClusterPlan {
    /// What kube-proxy of a node is told of itself.
    func proxySettings(_ node: PlannedNode) -> ProxySettings {
        let mode: ServiceProxyMode =
            switch configuration.proxyMode {
            case .iptables: .iptables
            case .nftables: .nftables
            case .ipvs: .ipvs
            }
        var settings = ProxySettings(
            mode: mode, nodeName: node.name, nodeAddress: ServiceAddress(node.address), podRanges: [ServicePrefix(configuration.podCIDR)],
            serviceRanges: [ServicePrefix(configuration.serviceCIDR)])
        settings.otherAddresses = [ServiceAddress(node.gateway)]
        settings.zone = node.labels["topology.kubernetes.io/zone"] ?? ""
        return settings
    }

    /// kube-proxy's compiled table for one node, when it knows these endpoints.
    ///
    /// Complexity: O(Services + endpoints), but for endpoints that do not stand in the order of their texts yet.
    public func serviceTable(node: PlannedNode, endpoints slices: [EndpointSlice]) -> ServiceTable {
        var byService: [ObjectKey: [Int]] = [:]
        byService.reserveCapacity(services.count)
        for index in slices.indices { byService[slices[index].service, default: []].append(index) }
        var ports: [(service: Int, port: Int)] = []
        for index in services.indices where services[index].clusterAddress != nil {
            for port in services[index].ports.indices { ports.append((index, port)) }
        }
        return ServiceTable(proxySettings(node), count: ports.count) { number in
            let service = services[ports[number].service]
            let port = service.ports[ports[number].port]
            return (service.rules(port), ClusterPlan.endpoints(port, slices, byService[service.key] ?? [], node: node.name))
        }
    }

    /// The endpoints that a Service's own address stands for on one node, as kube-proxy there chooses them.
    func clusterEndpoints(_ service: PlannedService, _ port: ServicePort, in slices: [EndpointSlice], on node: PlannedNode) -> [(address: IPv4Address, port: UInt16)] {
        let own = slices.indices.filter { slices[$0].service == service.key }
        let table = ServiceTable(proxySettings(node), services: [(service.rules(port), ClusterPlan.endpoints(port, slices, own, node: node.name))])
        guard let entry = table.entries.first else { return [] }
        return table.endpoints[entry.internalList].compactMap { endpoint in endpoint.address.ipv4.map { ($0, endpoint.port) } }
    }

    static func endpoints(_ port: ServicePort, _ slices: [EndpointSlice], _ chosen: [Int], node: String) -> [ProxyEndpoint] {
        var result: [ProxyEndpoint] = []
        result.reserveCapacity(chosen.reduce(0) { $0 + slices[$1].endpoints.count })
        for index in chosen {
            guard let number = slices[index].ports.first(where: { $0.name == port.name && $0.proto == port.proto })?.port else { continue }
            // In place: a copy of an endpoint would count references to half a dozen strings.
            slices[index].endpoints.withUnsafeBufferPointer { endpoints in
                for place in endpoints.indices {
                    result.append(
                        ProxyEndpoint(
                            address: ServiceAddress(endpoints[place].address), port: number, isReady: endpoints[place].ready, isServing: endpoints[place].serving,
                            isTerminating: endpoints[place].terminating, isLocal: endpoints[place].nodeName == node, zoneHints: endpoints[place].zoneHints,
                            nodeHints: endpoints[place].nodeHints))
                }
            }
        }
        return result
    }
}

extension PlannedService {
    /// As kube-proxy keeps it.
    func rules(_ port: ServicePort) -> ServicePortRules {
        var rules = ServicePortRules(
            namespace: namespace, service: name, portName: port.name, proto: port.proto.number.rawValue, clusterAddress: ServiceAddress(clusterAddress ?? .any),
            port: port.port)
        rules.nodePort = port.nodePort ?? 0
        rules.externalAddresses = service.externalAddresses.map { ServiceAddress($0) }
        rules.loadBalancerAddresses = service.kind == .loadBalancer ? service.ingress.filter(\.isVirtual).map { ServiceAddress($0.address) } : []
        rules.sourceRanges = service.kind == .loadBalancer ? service.loadBalancerSourceRanges.map { ServicePrefix($0) } : []
        rules.isInternalLocal = service.internalTrafficPolicy == .local
        rules.isExternalLocal = service.externalTrafficPolicy == .local
        rules.affinitySeconds = service.affinitySeconds
        rules.healthCheckNodePort = healthCheckNodePort ?? 0
        return rules
    }
}
