/// One port of one Service, as kube-proxy keeps it (`proxy.BaseServicePortInfo`).
public struct ServicePortRules: Sendable {
    public var namespace: String
    public var service: String
    /// Empty for a port without a name.
    public var portName: String
    /// 6, 17 or 132.
    public var proto: UInt8
    public var clusterAddress: ServiceAddress
    public var port: UInt16
    /// Zero for none.
    public var nodePort: UInt16 = 0
    public var externalAddresses: [ServiceAddress] = []
    /// Ingress addresses with `ipMode: VIP`; those with `Proxy` are not the node's business.
    public var loadBalancerAddresses: [ServiceAddress] = []
    public var sourceRanges: [ServicePrefix] = []
    public var isInternalLocal = false
    public var isExternalLocal = false
    public var affinitySeconds: Int?
    /// Zero for none; there is one only for type LoadBalancer with policy Local.
    public var healthCheckNodePort: UInt16 = 0

    /// `service.kubernetes.io/topology-mode`; see `ProxySettings.requiresTopologyAnnotation`.
    public var topologyAnnotation: String?

    public init(namespace: String, service: String, portName: String = "", proto: UInt8, clusterAddress: ServiceAddress, port: UInt16) {
        self.namespace = namespace
        self.service = service
        self.portName = portName
        self.proto = proto
        self.clusterAddress = clusterAddress
        self.port = port
    }

    /// "default/web:http", "default/web".
    public var name: String { portName.isEmpty ? "\(namespace)/\(service)" : "\(namespace)/\(service):\(portName)" }
    public var protocolName: String { proto == 17 ? "udp" : proto == 132 ? "sctp" : "tcp" }

    /// Reached by something besides its ClusterIP.
    public var isExternallyAccessible: Bool { nodePort != 0 || !externalAddresses.isEmpty || !loadBalancerAddresses.isEmpty }
    /// Even under external policy Local: what comes from pods and from the node itself goes anywhere.
    public var usesClusterEndpoints: Bool { !isInternalLocal || isExternallyAccessible }
    public var usesLocalEndpoints: Bool { isInternalLocal || (isExternalLocal && isExternallyAccessible) }
}

/// One address behind a Service port, as an EndpointSlice tells of it.
public struct ProxyEndpoint: Sendable {
    public var address: ServiceAddress
    public var port: UInt16
    public var isReady: Bool
    public var isServing: Bool
    public var isTerminating: Bool
    public var isLocal: Bool
    public var zoneHints: [String]
    public var nodeHints: [String]

    public init(
        address: ServiceAddress, port: UInt16, isReady: Bool = true, isServing: Bool? = nil, isTerminating: Bool = false, isLocal: Bool = false,
        zoneHints: [String] = [], nodeHints: [String] = []
    ) {
        self.address = address
        self.port = port
        self.isReady = isReady
        self.isServing = isServing ?? isReady
        self.isTerminating = isTerminating
        self.isLocal = isLocal
        self.zoneHints = zoneHints
        self.nodeHints = nodeHints
    }
}
