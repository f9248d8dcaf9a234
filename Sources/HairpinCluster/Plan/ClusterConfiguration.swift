import HairpinTopology
import HairpinWire

/// The cluster the manifests are applied to: what an administrator decides before the first `kubectl apply`.
public struct ClusterConfiguration: Sendable {
    public enum ProxyMode: String, Sendable, CaseIterable { case iptables, nftables, ipvs }
    public enum NetworkPlugin: String, Sendable, CaseIterable {
        case bridge
        case flannelHostGateway = "flannel-host-gw"
    }

    public struct NodeConfiguration: Sendable {
        public var name: String
        public var address: IPv4Address
        public var labels: [String: String]
        public init(name: String, address: IPv4Address, labels: [String: String] = [:]) {
            self.name = name
            self.address = address
            self.labels = labels
        }
    }
    /// A machine on the LAN that is not part of the cluster.
    public struct ExternalHost: Sendable {
        public var name: String
        public var address: IPv4Address
        public init(name: String, address: IPv4Address) {
            self.name = name
            self.address = address
        }
    }

    public var nodes: [NodeConfiguration]
    public var hosts: [ExternalHost] = []
    public var podCIDR: IPv4Prefix
    /// Each node gets a part of `podCIDR` of this length.
    public var nodePrefixLength = 24
    public var serviceCIDR: IPv4Prefix
    public var nodePorts: ClosedRange<UInt16> = 30000...32767
    public var networkPlugin: NetworkPlugin = .bridge
    public var proxyMode: ProxyMode = .iptables
    /// kube-proxy's `--ipvs-scheduler`, for mode ipvs.
    public var virtualServerScheduler = "rr"
    /// Of every cable between a machine and the LAN's switch, both ways.
    public var nodeLink = LinkDescription()
    /// Hairpin mode of the bridge's ports; nil leaves it to the network plugin (off for bridge, on for flannel).
    public var hairpinMode: Bool?
    /// The length of the LAN's prefix.
    public var lanPrefixLength = 24
    /// Whether to run a cluster DNS (CoreDNS and its Service kube-dns).
    public var hasDNS = true
    public var clusterDomain = "cluster.local"
    /// resolv.conf of the nodes: pods with `dnsPolicy: Default` have it too, and its search list stands behind the cluster's.
    public var nodeResolver = ResolverFile()
    /// What will happen to controllers: pods for that are planned, and have addresses, before they are made.
    public var stories: [WorkloadReference: WorkloadStory] = [:]
    /// Pods that steps apply, one for each such step, in order.
    public var appliedPods: [Pod] = []
    /// ConfigMaps that steps apply: pods planned for steps may refer to them.
    public var appliedConfigMaps: [ConfigMap] = []
    /// The file that errors about these settings name; empty for none.
    public var file = ""

    /// One node, and the prefixes kubeadm and flannel use.
    public init(
        nodes: [NodeConfiguration] = [NodeConfiguration(name: "node1", address: IPv4Address(192, 168, 50, 11))],
        podCIDR: IPv4Prefix = IPv4Prefix(IPv4Address(10, 244, 0, 0), length: 16), serviceCIDR: IPv4Prefix = IPv4Prefix(IPv4Address(10, 96, 0, 0), length: 12)
    ) {
        self.nodes = nodes
        self.podCIDR = podCIDR
        self.serviceCIDR = serviceCIDR
    }

    /// The address of `default/kubernetes`: the first of `serviceCIDR`.
    public var apiServerAddress: IPv4Address { serviceCIDR.network.advanced(by: 1) }
    /// The address of kube-dns: the tenth of `serviceCIDR`, as kubeadm has it.
    public var dnsAddress: IPv4Address { serviceCIDR.network.advanced(by: 10) }
    var isHairpin: Bool { hairpinMode ?? (networkPlugin == .flannelHostGateway) }
}

/// What resolv.conf(5) says.
public struct ResolverFile: Sendable, Hashable {
    public var nameservers: [String] = []
    public var searches: [String] = []
    /// "ndots:5" and the like.
    public var options: [String] = []
    public init() {}

    /// As container runtimes write it; empty if there is nothing to say.
    public var text: String {
        var lines: [String] = []
        if !searches.isEmpty { lines.append("search " + searches.joined(separator: " ")) }
        lines += nameservers.map { "nameserver \($0)" }
        if !options.isEmpty { lines.append("options " + options.joined(separator: " ")) }
        return lines.map { $0 + "\n" }.joined()
    }

    /// Puts together what the kubelet has for a policy and what the pod's `dnsConfig` adds: no name twice, of an option the later value; then its limits of three
    /// servers, 32 domains and 2048 characters (pkg/kubelet/network/dns).
    mutating func add(_ config: DNSConfig) {
        for server in config.nameservers where !nameservers.contains(server) { nameservers.append(server) }
        for domain in config.searches where !searches.contains(domain) { searches.append(domain) }
        for option in config.options {
            let name = option.prefix { $0 != ":" }
            options.removeAll { $0.prefix { $0 != ":" } == name }
            options.append(option)
        }
        nameservers = Array(nameservers.prefix(3))
        searches = Array(searches.prefix(32))
        while searches.joined(separator: " ").utf8.count > 2048 { searches.removeLast() }
    }
}

extension ClusterConfiguration {
    /// The network plugin of this name; an error lists those there are.
    public static func networkPlugin(_ value: YAMLValue) throws(InputError) -> NetworkPlugin {
        let name = try value.string()
        guard let plugin = NetworkPlugin(rawValue: name) else {
            throw value.error(problem: "is not a network plugin Hairpin models", fix: "Supported are \(NetworkPlugin.allCases.map(\.rawValue).joined(separator: ", ")).")
        }
        return plugin
    }
    public static func proxyMode(_ value: YAMLValue) throws(InputError) -> ProxyMode {
        let name = try value.string()
        guard let mode = ProxyMode(rawValue: name) else {
            throw value.error(problem: "is not a proxy mode Hairpin models", fix: "Supported are \(ProxyMode.allCases.map(\.rawValue).joined(separator: ", ")).")
        }
        return mode
    }
}

extension IPv4Address {
    func advanced(by count: Int) -> IPv4Address { IPv4Address(rawValue: rawValue &+ UInt32(truncatingIfNeeded: count)) }
}
