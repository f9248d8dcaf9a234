import HairpinProxy
import HairpinTopology
import HairpinWire

extension ClusterPlan {
    /// All iptables rules of a node, in iptables-save form: the network plugin's and kube-proxy's for these endpoints.
    public func iptables(node: PlannedNode, endpoints: [EndpointSlice]) -> [String] {
        let table = serviceTable(node: node, endpoints: endpoints)
        return table.serviceRules().completing(baseRules(node: node, table))
    }

    /// The rules of a node without those that look Services up; `table` stands for them.
    public func baseRules(node: PlannedNode, _ table: ServiceTable) -> [String] {
        var set = SavedRules()
        table.writeBase(&set)
        writePluginRules(node, &set)
        return set.lines()
    }

    /// IPVS's virtual servers of a node; none in the other modes.
    public func virtualServers(node: PlannedNode, endpoints: [EndpointSlice]) -> [VirtualServerDescription] {
        configuration.proxyMode == .ipvs ? virtualServers(node: node, serviceTable(node: node, endpoints: endpoints)) : []
    }

    /// As above, of a table that is there already, or of some of its entries. The scheduler is the cluster's, kube-proxy's `--ipvs-scheduler`.
    public func virtualServers(node: PlannedNode, _ table: ServiceTable, entries: [Int]? = nil) -> [VirtualServerDescription] {
        guard table.settings.mode == .ipvs else { return [] }
        var result: [VirtualServerDescription] = []
        for number in entries ?? Array(table.entries.indices) {
            let entry = table.entries[number]
            func add(_ address: IPv4Address?, _ port: UInt16, _ list: Range<Int>) {
                guard let address else { return }
                let servers = table.endpoints[list].compactMap { endpoint in endpoint.address.ipv4.map { (address: $0, port: endpoint.port, weight: 1) } }
                var server = VirtualServerDescription(
                    address: address, port: port, proto: IPProtocol(entry.rules.proto), scheduler: configuration.virtualServerScheduler,
                    persistenceSeconds: entry.rules.affinitySeconds, servers: servers)
                // FlagSourceHash of pkg/proxy/ipvs is IPVS's mh-port.
                if server.scheduler == "mh" { server.schedulerFlags = ["mh-port"] }
                result.append(server)
            }
            add(entry.rules.clusterAddress.ipv4, entry.rules.port, entry.internalList)
            let external = entry.rules.isExternalLocal ? entry.local : entry.cluster
            for address in entry.rules.externalAddresses + entry.rules.loadBalancerAddresses { add(address.ipv4, entry.rules.port, external) }
            if entry.rules.nodePort != 0 { for address in [node.address, node.gateway] { add(address, entry.rules.nodePort, external) } }
        }
        return result
    }

    /// The addresses of kube-ipvs0: every virtual address, so that packets to it reach LOCAL_IN, where IPVS takes them. In numerical order.
    var virtualAddresses: [IPv4Address] {
        let ingress = services.flatMap { $0.service.kind == .loadBalancer ? $0.service.ingress.filter(\.isVirtual).map(\.address) : [] }
        return Set(services.compactMap(\.clusterAddress) + services.flatMap(\.service.externalAddresses) + ingress).sorted()
    }

    private func writePluginRules(_ node: PlannedNode, _ set: inout SavedRules) {
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

extension PortProtocol {
    public var number: IPProtocol {
        switch self {
        case .tcp: .tcp
        case .udp: .udp
        case .sctp: .sctp
        }
    }
}
