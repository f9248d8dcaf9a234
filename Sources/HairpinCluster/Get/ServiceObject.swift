/// A Service as `-o json` shows it: what was written, the defaults of pkg/apis/core/v1/defaults.go, and what the allocators gave.
struct ServiceObject {
    let planned: PlannedService
    private var service: Service { planned.service }

    var spec: JSONValue {
        let kind = service.kind
        var spec = service.source["spec"] ?? .object([:])
        spec["type"] = .string(kind.rawValue)
        spec["sessionAffinity"] = .string(service.affinitySeconds == nil ? "None" : "ClientIP")
        spec["sessionAffinityConfig"] = service.affinitySeconds.map { .object(["clientIP": .object(["timeoutSeconds": .integer($0)])]) }
        if kind != .externalName { setAddresses(&spec) }
        if kind == .nodePort || kind == .loadBalancer || kind == .clusterIP && !service.externalAddresses.isEmpty {
            spec["externalTrafficPolicy"] = .string(service.externalTrafficPolicy.rawValue)
        }
        if kind == .loadBalancer {
            if spec["allocateLoadBalancerNodePorts"] == nil { spec["allocateLoadBalancerNodePorts"] = .bool(true) }
            spec["healthCheckNodePort"] = planned.healthCheckNodePort.map { .integer(Int($0)) }
        }
        if !planned.ports.isEmpty { spec["ports"] = .array(planned.ports.map(port)) }
        return spec
    }

    var status: JSONValue {
        let ingress = service.ingress.map { JSONValue.object(["ip": .string($0.address.description), "ipMode": .string($0.isVirtual ? "VIP" : "Proxy")]) }
        return .object(["loadBalancer": .object(ingress.isEmpty ? [:] : ["ingress": .array(ingress)])])
    }

    /// `initIPFamilyFields`: a headless Service without a selector may have addresses of either family, whatever the cluster is.
    private func setAddresses(_ spec: inout JSONValue) {
        let address = planned.clusterAddress?.description ?? "None"
        spec["clusterIP"] = .string(address)
        spec["clusterIPs"] = .array([.string(address)])
        spec["internalTrafficPolicy"] = .string(service.internalTrafficPolicy.rawValue)
        let isBare = service.clusterAddress == .headless && service.selector.isEmpty
        if spec["ipFamilyPolicy"] == nil { spec["ipFamilyPolicy"] = .string(isBare ? "RequireDualStack" : "SingleStack") }
        guard spec["ipFamilies"] == nil else { return }
        let isSingle = !isBare || spec["ipFamilyPolicy"] == .string("SingleStack")
        spec["ipFamilies"] = .array((isSingle ? ["IPv4"] : ["IPv4", "IPv6"]).map(JSONValue.string))
    }

    private func port(_ port: ServicePort) -> JSONValue {
        var value: JSONValue = .object(["port": .integer(Int(port.port)), "protocol": .string(port.proto.rawValue)])
        if !port.name.isEmpty { value["name"] = .string(port.name) }
        value["nodePort"] = port.nodePort.map { .integer(Int($0)) }
        value["appProtocol"] = port.appProtocol.map(JSONValue.string)
        value["targetPort"] =
            switch port.target {
            case .number(let number): .integer(Int(number))
            case .name(let name): .string(name)
            }
        return value
    }
}
