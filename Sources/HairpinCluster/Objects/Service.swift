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
    init(_ value: YAMLValue, metadata: ObjectMeta) throws(InputError) {
        self.metadata = metadata
        let spec = try value.require("spec")
        source = JSONValue(value.node)
        kind = Kind(rawValue: try spec["type"]?.word(among: ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]) ?? "ClusterIP")!
        selector = try Names.labels(spec["selector"])
        externalName = nil
        if kind == .externalName {
            let name = try spec.require("externalName", fix: "Add \"externalName:\" with a DNS name.")
            externalName = try name.string()
            guard Names.isSubdomain(externalName!.hasSuffix(".") ? String(externalName!.dropLast()) : externalName!) else {
                throw name.error(problem: "is not a DNS name", fix: "Write a name such as db.example.com.")
            }
        }
        clusterAddress = .unassigned
        clusterAddressLine = nil
        let firstAddress = try spec.items("clusterIPs").first
        if let address = spec["clusterIP"] ?? firstAddress {
            let text = try address.string()
            clusterAddressLine = address.line
            if text == "None" {
                guard kind == .clusterIP else {
                    throw address.error(problem: "may not be set to None for \(kind.rawValue) services", fix: "Leave clusterIP out, or write type: ClusterIP.")
                }
                clusterAddress = .headless
            } else if !text.isEmpty {
                guard let parsed = IPv4Address(text) else {
                    throw address.error(problem: "is not a valid IPv4 address", fix: "Write an address such as 10.96.0.20, \"None\" for a headless Service, or nothing.")
                }
                clusterAddress = .given(parsed)
            }
        }
        ports = []
        for item in try spec.items("ports") {
            let port = try ServicePort(item)
            if ports.contains(where: { $0.name == port.name && !port.name.isEmpty }) { throw item.duplicate("name", of: "port") }
            if ports.contains(where: { $0.port == port.port && $0.proto == port.proto }) {
                throw try item.require("port").error(
                    problem: "is there twice with protocol \(port.proto.rawValue)", fix: "Give each port of the Service a number of its own.")
            }
            ports.append(port)
        }
        if ports.count > 1 {
            for item in try spec.items("ports") where item["name"] == nil {
                throw InputError(
                    file: item.file, line: item.line, column: item.column, path: item.path + ".name", problem: "is required when a Service has more than one port",
                    fix: "Give each port a name.")
            }
        }
        guard !ports.isEmpty || clusterAddress == .headless || kind == .externalName else {
            throw InputError(
                file: spec.file, line: spec.line, column: spec.column, path: "spec.ports", problem: "is required", fix: "Add \"ports:\" with at least one port.")
        }
        externalAddresses = []
        for item in try spec.items("externalIPs") {
            guard let address = IPv4Address(try item.string()) else {
                throw item.error(problem: "is not a valid IPv4 address", fix: "Write an address such as 192.168.50.200.")
            }
            externalAddresses.append(address)
        }
        loadBalancerSourceRanges = []
        for item in try spec.items("loadBalancerSourceRanges") {
            guard let range = IPv4Prefix(try item.string()) else {
                throw item.error(problem: "is not a valid IPv4 prefix", fix: "Write a prefix such as 203.0.113.0/24.")
            }
            loadBalancerSourceRanges.append(range)
        }
        affinitySeconds = nil
        if try spec["sessionAffinity"]?.word(among: ["None", "ClientIP"]) == "ClientIP" {
            affinitySeconds = try spec["sessionAffinityConfig"]?["clientIP"]?.integer("timeoutSeconds", in: 1...86400) ?? 10800
        }
        internalTrafficPolicy = TrafficPolicy(rawValue: try spec["internalTrafficPolicy"]?.word(among: ["Cluster", "Local"]) ?? "Cluster")!
        externalTrafficPolicy = TrafficPolicy(rawValue: try spec["externalTrafficPolicy"]?.word(among: ["Cluster", "Local"]) ?? "Cluster")!
        if let policy = spec["externalTrafficPolicy"], kind != .nodePort, kind != .loadBalancer, externalAddresses.isEmpty {
            throw policy.error(problem: "may only be set for externally-accessible services", fix: "Remove it, or write type: NodePort or type: LoadBalancer.")
        }
        trafficDistribution = nil
        if let word = try spec["trafficDistribution"]?.word(among: ["PreferClose", "PreferSameZone", "PreferSameNode"]) {
            trafficDistribution = word == "PreferSameNode" ? .sameNode : .sameZone
        }
        healthCheckNodePort = nil
        if let value = spec["healthCheckNodePort"], let number = try spec.integer("healthCheckNodePort", in: 0...65535), number != 0 {
            guard kind == .loadBalancer, externalTrafficPolicy == .local else {
                throw value.error(
                    problem: "may only be set when type is LoadBalancer and externalTrafficPolicy is Local", fix: "Remove it, or set both of the others.")
            }
            healthCheckNodePort = UInt16(number)
        }
        ingress = []
        for item in try value["status"]?["loadBalancer"]?.items("ingress") ?? [] {
            guard let text = item["ip"] else { continue }
            guard let address = IPv4Address(try text.string()) else {
                throw text.error(problem: "is not a valid IPv4 address", fix: "Write an address such as 203.0.113.10.")
            }
            ingress.append(Ingress(address: address, isVirtual: try item["ipMode"]?.word(among: ["VIP", "Proxy"]) != "Proxy"))
        }
        if let text = spec["loadBalancerIP"], kind == .loadBalancer, ingress.isEmpty, case let word = try text.string(), !word.isEmpty {
            guard let address = IPv4Address(word) else { throw text.error(problem: "is not a valid IPv4 address", fix: "Write an address such as 203.0.113.10.") }
            ingress.append(Ingress(address: address, isVirtual: true))
        }
        publishNotReadyAddresses = try spec.bool("publishNotReadyAddresses") ?? false
    }
}

extension ServicePort {
    init(_ value: YAMLValue) throws(InputError) {
        let number = try value.require("port")
        port = UInt16(try number.integer(in: 1...65535))
        name = try value["name"].map(Names.label) ?? ""
        target = try value["targetPort"].map { target throws(InputError) in try PortReference(target) } ?? .number(port)
        proto = try PortProtocol(value["protocol"])
        nodePortLine = value["nodePort"]?.line
        nodePort = try value.integer("nodePort", in: 0...65535).flatMap { $0 == 0 ? nil : UInt16($0) }
        appProtocol = try value.string("appProtocol")
    }
}
