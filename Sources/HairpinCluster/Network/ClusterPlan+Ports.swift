import HairpinWire

extension ClusterPlan {
    /// What is wrong with a packet to this address and port of a Service or a node, when no Service has the port: "Service web has no port 81; its ports: 80/TCP".
    /// Nil where one has it, or where the address is nobody's that kube-proxy knows. `proto` is the IP protocol's number.
    public func missingPort(_ address: IPv4Address, _ port: UInt16, _ proto: UInt8) -> String? {
        let owners = services.filter { $0.answers(to: address) }
        if !owners.isEmpty {
            if owners.contains(where: { $0.ports.contains { $0.port == port && $0.proto.number.rawValue == proto } }) { return nil }
            let ports = owners.flatMap(\.ports)
            // "no port 81", but "no port 53/TCP" where UDP has it.
            let name = ports.contains { $0.port == port } ? "\(port)/\(ClusterPlan.protocolName(proto))" : String(port)
            return "Service \(owners[0].shortName) has no port \(name); its ports: \(owners[0].portList)"
        }
        guard configuration.nodePorts.contains(port), nodes.contains(where: { $0.address == address || $0.gateway == address }) else { return nil }
        let exposed = services.flatMap { service in service.ports.compactMap { port in port.nodePort.map { (service: service, number: $0, proto: port.proto) } } }
        if exposed.contains(where: { $0.number == port && $0.proto.number.rawValue == proto }) { return nil }
        let list = exposed.prefix(8).map { "\($0.number)/\($0.proto.rawValue) of \($0.service.shortName)" }.joined(separator: ", ")
        return "no Service has node port \(port)/\(ClusterPlan.protocolName(proto)); node ports: \(list.isEmpty ? "none" : list)"
    }

    /// Why a Service's address cannot have endpoints, whatever becomes ready: "no pod has the labels app=wbe that Service web selects". Nil where there may be some.
    public func missingPods(_ address: IPv4Address) -> String? {
        guard let owner = services.first(where: { $0.answers(to: address) }) else { return nil }
        let selector = LabelSelector(matchLabels: owner.service.selector)
        if owner.service.selector.isEmpty {
            let isWritten = manualSlices.contains { $0.service == owner.key && !$0.endpoints.isEmpty }
            return isWritten ? nil : "Service \(owner.shortName) has no selector, and no EndpointSlice names endpoints of it"
        }
        if pods.contains(where: { $0.metadata.namespace == owner.namespace && selector.matches($0.labels) }) { return nil }
        return "no pod has the labels \(selector.text) that Service \(owner.shortName) selects"
    }

    /// The pods that the Service at this address selects.
    public func selectedPods(_ address: IPv4Address) -> [PlannedPod] {
        guard let owner = services.first(where: { $0.answers(to: address) }), !owner.service.selector.isEmpty else { return [] }
        let selector = LabelSelector(matchLabels: owner.service.selector)
        return pods.filter { $0.metadata.namespace == owner.namespace && selector.matches($0.labels) && isCurrent($0) }
    }

    /// The address of a Service: its virtual one, an external one, or a load balancer's.
    public func isServiceAddress(_ address: IPv4Address) -> Bool { services.contains { $0.answers(to: address) } }

    private static func protocolName(_ proto: UInt8) -> String { PortProtocol.allCases.first { $0.number.rawValue == proto }?.rawValue ?? "protocol \(proto)" }
}

extension PlannedService {
    func answers(to address: IPv4Address) -> Bool {
        clusterAddress == address || service.externalAddresses.contains(address) || service.kind == .loadBalancer && service.ingress.contains { $0.address == address }
    }
    /// "web", or "shop/web" outside the namespace default.
    var shortName: String { namespace == "default" ? name : key.description }
    /// "http 80/TCP, 443/TCP".
    public var portList: String {
        ports.isEmpty ? "none" : ports.map { ($0.name.isEmpty ? "" : $0.name + " ") + "\($0.port)/\($0.proto.rawValue)" }.joined(separator: ", ")
    }
}
