/// The back end kube-proxy programs (`--proxy-mode`).
public enum ServiceProxyMode: String, Sendable, CaseIterable { case iptables, nftables, ipvs }

/// What kube-proxy of one node is configured with; one value per address family.
public struct ProxySettings: Sendable, Equatable {
    public var mode: ServiceProxyMode
    public var nodeName: String
    /// `topology.kubernetes.io/zone` of the node; empty without.
    public var zone = ""
    /// The node's primary address (`--hostname-override`'s node, status.addresses).
    public var nodeAddress: ServiceAddress
    /// Addresses of the node's other interfaces, but lo and kube-ipvs0.
    public var otherAddresses: [ServiceAddress] = []
    /// Sources in these are pods (`--detect-local-mode=ClusterCIDR`); empty: there is no local detector.
    public var podRanges: [ServicePrefix]
    public var masqueradeAll = false
    /// `--nodeport-addresses`; nil: every local address in iptables and ipvs mode, the primary address in nftables mode.
    public var nodePortAddresses: [ServicePrefix]?
    /// `--iptables-localhost-nodeports`.
    public var localhostNodePorts = true
    /// kube-proxy before 1.33: hints count only for Services with `service.kubernetes.io/topology-mode: Auto`.
    public var requiresTopologyAnnotation = false
    /// The cluster's ServiceCIDRs, which nftables mode guards.
    public var serviceRanges: [ServicePrefix]

    public init(mode: ServiceProxyMode, nodeName: String, nodeAddress: ServiceAddress, podRanges: [ServicePrefix], serviceRanges: [ServicePrefix]) {
        self.mode = mode
        self.nodeName = nodeName
        self.nodeAddress = nodeAddress
        self.podRanges = podRanges
        self.serviceRanges = serviceRanges
    }

    public var isIPv4: Bool { nodeAddress.ipv4 != nil }
    /// `nodePortAddresses` of the node's family; everything if it names none of it, or all of it. Nil without the flag.
    var nodePortRanges: [ServicePrefix]? {
        guard let ranges = nodePortAddresses else { return nil }
        let own = ranges.filter { $0.isIPv4 == isIPv4 }
        return own.isEmpty || own.contains(where: \.isEverything) ? [ServicePrefix(nodeAddress, length: 0)] : own
    }
    func isPod(_ address: ServiceAddress) -> Bool { podRanges.contains { $0.contains(address) } }
    /// The bit of the packet mark that asks for masquerading (`--iptables-masquerade-bit` 14).
    public static let masqueradeMark: UInt32 = 0x4000
}
