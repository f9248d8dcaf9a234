import HairpinWire

/// A Service as its manifest writes it; what the API server fills in is in `PlannedService`.
public struct Service: Sendable {
    public enum Kind: String, Sendable {
        case clusterIP = "ClusterIP"
        case nodePort = "NodePort"
        case loadBalancer = "LoadBalancer"
        case externalName = "ExternalName"
    }
    public enum ClusterAddress: Sendable, Hashable {
        case unassigned
        /// `clusterIP: None`
        case headless
        case given(IPv4Address)
    }
    public enum TrafficPolicy: String, Sendable {
        case cluster = "Cluster"
        case local = "Local"
    }
    /// `spec.trafficDistribution`; PreferClose is the older name of PreferSameZone.
    public enum TrafficDistribution: Sendable { case sameZone, sameNode }
    /// An address the cloud's load balancer gave (`status.loadBalancer.ingress`).
    public struct Ingress: Sendable, Hashable {
        public var address: IPv4Address
        /// `ipMode: VIP`, the default: packets come to nodes with this destination. `Proxy`: with another one.
        public var isVirtual: Bool
    }
    public var metadata: ObjectMeta
    public var kind: Kind
    public var clusterAddress: ClusterAddress
    public var ports: [ServicePort]
    /// Nil or empty: endpoints are made by hand.
    public var selector: [String: String]
    public var externalName: String?
    public var externalAddresses: [IPv4Address]
    public var loadBalancerSourceRanges: [IPv4Prefix]
    /// `sessionAffinity: ClientIP`, with its timeout.
    public var affinitySeconds: Int?
    public var internalTrafficPolicy: TrafficPolicy
    public var externalTrafficPolicy: TrafficPolicy
    public var trafficDistribution: TrafficDistribution?
    public var healthCheckNodePort: UInt16?
    public var ingress: [Ingress]
    public var publishNotReadyAddresses: Bool
    public var source: JSONValue
    /// Line of `spec.clusterIP`.
    var clusterAddressLine: Int?
}

public struct ServicePort: Sendable, Hashable {
    /// Empty when the Service has one port without a name.
    public var name: String
    public var port: UInt16
    public var target: PortReference
    public var proto: PortProtocol
    public var nodePort: UInt16?
    public var appProtocol: String?
    var nodePortLine: Int?
}

extension Service {
    /// Of a Service that `ObjectValidation` finds nothing wrong with. Addresses of IPv6, which a cluster of IPv4 has no use for, are left out as kube-proxy leaves them out.
    init(_ value: YAMLValue, metadata: ObjectMeta) throws(InputError) {
        self.metadata = metadata
        let spec = try value.require("spec")
        source = JSONValue(value.node)
        kind = try spec.string("type").flatMap(Kind.init) ?? .clusterIP
        selector = try Names.labels(spec["selector"])
        externalName = kind == .externalName ? try spec.string("externalName") : nil
        clusterAddressLine = nil
        clusterAddress = .unassigned
        if let address = spec["clusterIP"] {
            clusterAddressLine = address.line
            let text = try address.string()
            clusterAddress = text == "None" ? .headless : AnyAddress(text)?.v4.map(ClusterAddress.given) ?? .unassigned
        }
        ports = try spec.items("ports").map { item throws(InputError) in try ServicePort(item) }
        externalAddresses = try (spec.strings("externalIPs") ?? []).compactMap { AnyAddress($0)?.v4 }
        // The annotation of before there was the field is for clouds: kube-proxy does not read it.
        loadBalancerSourceRanges = try (spec.strings("loadBalancerSourceRanges") ?? []).compactMap { AnyPrefix(String($0.filter { !$0.isWhitespace }))?.v4 }
        affinitySeconds = nil
        if try spec.string("sessionAffinity") == "ClientIP" { affinitySeconds = try spec["sessionAffinityConfig"]?["clientIP"]?.integer("timeoutSeconds") ?? 10800 }
        internalTrafficPolicy = try spec.string("internalTrafficPolicy").flatMap(TrafficPolicy.init) ?? .cluster
        externalTrafficPolicy = try spec.string("externalTrafficPolicy").flatMap(TrafficPolicy.init) ?? .cluster
        trafficDistribution = try spec.string("trafficDistribution").map { $0 == "PreferSameNode" ? .sameNode : .sameZone }
        healthCheckNodePort = try spec.integer("healthCheckNodePort").flatMap { $0 == 0 ? nil : UInt16($0) }
        ingress = kind == .loadBalancer ? try Service.ingress(value, spec) : []
        publishNotReadyAddresses = try spec.bool("publishNotReadyAddresses") ?? false
    }

    /// What the manifest says the cloud gave, or what it asks the cloud for.
    private static func ingress(_ value: YAMLValue, _ spec: YAMLValue) throws(InputError) -> [Ingress] {
        var result: [Ingress] = []
        for item in try value["status"]?["loadBalancer"]?.items("ingress") ?? [] {
            guard let address = try item.string("ip").flatMap({ AnyAddress($0)?.v4 }) else { continue }
            result.append(Ingress(address: address, isVirtual: try item.string("ipMode") != "Proxy"))
        }
        // The API server does not look at loadBalancerIP.
        if result.isEmpty, let address = try spec.string("loadBalancerIP").flatMap({ AnyAddress($0)?.v4 }) { result.append(Ingress(address: address, isVirtual: true)) }
        return result
    }
}

extension ServicePort {
    init(_ value: YAMLValue) throws(InputError) {
        let number = UInt16(try value.require("port").integer(in: 1...65535))
        port = number
        name = try value.string("name") ?? ""
        let target = try value["targetPort"].map { target throws(InputError) in try PortReference(target) }
        self.target = target == .number(0) || target == .name("") ? .number(number) : target ?? .number(number)
        proto = try PortProtocol(value["protocol"])
        nodePortLine = value["nodePort"]?.line
        nodePort = try value.integer("nodePort", in: 0...65535).flatMap { $0 == 0 ? nil : UInt16($0) }
        appProtocol = try value.string("appProtocol")
    }
}
