import HairpinTopology
import HairpinWire

extension ClusterPlan {
    /// All iptables rules of a node, in iptables-save form: the network plugin's and kube-proxy's for these endpoints.
    public func iptables(node: PlannedNode, endpoints: [EndpointSlice]) -> [String] {
        var set = RuleSet()
        switch configuration.proxyMode {
        case .iptables:
            var proxy = KubeProxyIPTables(plan: self, node: node, slices: endpoints, set: set)
            proxy.write()
            set = proxy.set
        case .ipvs:
            KubeProxyIPVS(plan: self, node: node, slices: endpoints).write(&set)
        }
        writePluginRules(node, &set)
        return set.lines()
    }

    /// IPVS's virtual servers of a node; none in iptables mode.
    public func virtualServers(node: PlannedNode, endpoints: [EndpointSlice]) -> [VirtualServerDescription] {
        configuration.proxyMode == .ipvs ? KubeProxyIPVS(plan: self, node: node, slices: endpoints).virtualServers() : []
    }

    private func writePluginRules(_ node: PlannedNode, _ set: inout RuleSet) {
        let cluster = configuration.podCIDR
        let own = node.podCIDR
        switch configuration.networkPlugin {
        case .flannelHostGateway:
            set.filter.append("FORWARD", "-m comment --comment \"flanneld forward\" -j FLANNEL-FWD")
            set.filter.append("FLANNEL-FWD", "-s \(cluster) -j ACCEPT")
            set.filter.append("FLANNEL-FWD", "-d \(cluster) -j ACCEPT")
            set.nat.append("POSTROUTING", "-m comment --comment \"flanneld masq\" -j FLANNEL-POSTRTG")
            for rule in [
                "-m mark --mark 0x4000/0x4000 -j RETURN", "-s \(own) -d \(cluster) -j RETURN", "-s \(cluster) -d \(own) -j RETURN", "! -s \(cluster) -d \(own) -j RETURN",
                "-s \(cluster) ! -d 224.0.0.0/4 -j MASQUERADE --random-fully", "! -s \(cluster) -d \(cluster) -j MASQUERADE --random-fully",
            ] {
                set.nat.append("FLANNEL-POSTRTG", rule)
            }
        case .bridge:
            // The plugin's own ipMasq would hide pods from pods on other nodes; clusters of bridges and routes masquerade what leaves the pod network.
            set.nat.append("POSTROUTING", "-m comment --comment \"masquerade what leaves the pod network\" -j CNI-MASQ")
            set.nat.append("CNI-MASQ", "-d \(cluster) -j RETURN")
            set.nat.append("CNI-MASQ", "-s \(cluster) ! -d 224.0.0.0/4 -j MASQUERADE --random-fully")
        }
    }
}
