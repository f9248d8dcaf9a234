/// The first packet of a connection, as rules see it.
public struct ServiceFlow: Sendable {
    public var source: ServiceAddress
    public var destination: ServiceAddress
    /// 6, 17 or 132.
    public var proto: UInt8
    public var port: UInt16
    /// Addresses of the node itself (addrtype LOCAL).
    public var isSourceLocal: Bool
    public var isDestinationLocal: Bool
    public init(source: ServiceAddress, destination: ServiceAddress, proto: UInt8, port: UInt16, isSourceLocal: Bool, isDestinationLocal: Bool) {
        self.source = source
        self.destination = destination
        self.proto = proto
        self.port = port
        self.isSourceLocal = isSourceLocal
        self.isDestinationLocal = isDestinationLocal
    }
}

/// What the nat chains say: whose endpoints, and whether the packet is marked for masquerading.
public enum ServiceTranslation: Sendable, Equatable {
    case none
    /// One of `endpoints[list]` of the table. The endpoint itself adds the mark when the client is the endpoint.
    case endpoints(ServiceTable.Choice, list: Range<Int>, isMarked: Bool)
    /// IPVS only marks; its virtual servers translate.
    case mark
}

/// What the filter chains say.
public enum ServiceVerdict: Sendable, Equatable { case none, accept, drop, reject }

/// The chains of kube-proxy that look Services up, one for each jump out of a base chain.
public enum ServiceChain: UInt8, Sendable, Hashable {
    /// nat KUBE-SERVICES, in nftables mode "services".
    case translate
    /// filter KUBE-PROXY-FIREWALL; nftables "firewall-check".
    case firewall
    /// filter KUBE-SERVICES.
    case clusterAddresses
    /// filter KUBE-EXTERNAL-SERVICES.
    case externalAddresses
    /// filter KUBE-NODEPORTS.
    case healthChecks
    /// nftables "service-endpoints-check", "nodeport-endpoints-check" and "cluster-ips-check".
    case serviceEndpoints, nodePortEndpoints, unallocated
    /// nat KUBE-SERVICES and KUBE-NODE-PORT in IPVS mode.
    case ipvsMarks, ipvsNodePortMarks

    /// The chain of this name whose rules the table stands for.
    public init?(mode: ServiceProxyMode, table: String, chain: String) {
        switch (mode, table, chain) {
        case (.iptables, "nat", "KUBE-SERVICES"): self = .translate
        case (.iptables, "filter", "KUBE-PROXY-FIREWALL"): self = .firewall
        case (.iptables, "filter", "KUBE-SERVICES"): self = .clusterAddresses
        case (.iptables, "filter", "KUBE-EXTERNAL-SERVICES"): self = .externalAddresses
        case (.iptables, "filter", "KUBE-NODEPORTS"): self = .healthChecks
        case (.ipvs, "nat", "KUBE-SERVICES"): self = .ipvsMarks
        case (.ipvs, "nat", "KUBE-NODE-PORT"): self = .ipvsNodePortMarks
        default: return nil
        }
    }
}

/// Names of the chains and rules a question went through, for people; only made when somebody asks.
public final class RulePath {
    public private(set) var steps: [String] = []
    public init() {}
    public func add(_ step: String) { steps.append(step) }
}
