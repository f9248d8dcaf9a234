import HairpinEngine
import HairpinTopology
import HairpinWire

extension ClusterPlan {
    /// Machines, pods, cables, addresses, routes and rules, as the network plugin and kube-proxy leave them when these endpoints are known.
    ///
    /// Hosts are named after nodes and outside hosts; pods are "namespace/name"; the switch between machines is "lan".
    public func topology(endpoints: [EndpointSlice] = []) -> Topology {
        var hosts: [HostDescription] = []
        for node in nodes { hosts.append(describe(node, endpoints)) }
        if hasLAN { hosts.append(lanSwitch()) }
        for host in configuration.hosts { hosts.append(describe(host)) }
        for pod in pods {
            if let address = pod.address, let node = pod.node.flatMap(node) { hosts.append(describe(pod, address, node)) }
        }
        return Topology(hosts: hosts)
    }

    /// A single node without outside hosts needs no switch.
    public var hasLAN: Bool { nodes.count > 1 || !configuration.hosts.isEmpty }

    /// The node's end of a pod's veth pair: "veth" and eight hexadecimal digits.
    public func vethName(of pod: PlannedPod) -> String { "veth" + StableName.hexadecimal(StableName.hash64("veth/\(pod.key)/\(pod.index)") >> 32, digits: 8) }

    private var lan: IPv4Prefix { IPv4Prefix(nodes[0].address, length: configuration.lanPrefixLength) }
    private var loopback: InterfaceDescription {
        InterfaceDescription(name: "lo", kind: .loopback, mtu: 65536, addresses: [IPv4InterfaceAddress(.loopback, prefixLength: 8)])
    }
    /// The first address of the LAN routes to the rest of the world, unless a node has it.
    private var lanGateway: IPv4Address? {
        let address = lan.network.advanced(by: 1)
        return nodes.contains { $0.address == address } ? nil : address
    }

    private func connected(_ address: IPv4Address, _ prefix: IPv4Prefix, _ device: String) -> RouteDescription {
        var route = RouteDescription(destination: prefix, device: device, source: address)
        route.isKernel = true
        return route
    }

    /// eth0 of a node or an outside host. A lone node has one that leads nowhere, so that it has an address and a default route as machines do.
    private func ethernet(_ machine: String, _ address: IPv4Address) -> InterfaceDescription {
        var interface = InterfaceDescription(
            name: "eth0", kind: hasLAN ? .veth(peerHost: "lan", peerInterface: "port-\(machine)") : .dummy,
            mac: .lan(address, prefixLength: configuration.lanPrefixLength),
            addresses: [IPv4InterfaceAddress(address, prefixLength: configuration.lanPrefixLength)])
        if hasLAN { interface.link = nodeLink }
        return interface
    }

    /// Links between logical processes must take time; ten microseconds unless the configuration says more.
    private var nodeLink: LinkDescription {
        var link = configuration.nodeLink
        if link.delay <= .zero { link.delay = .microseconds(10) }
        return link
    }

    private func describe(_ node: PlannedNode, _ endpoints: [EndpointSlice]) -> HostDescription {
        var bridge = InterfaceDescription(
            name: "cni0", kind: .bridge(ageing: .seconds(300)), mac: .cni(node.gateway),
            addresses: [IPv4InterfaceAddress(node.gateway, prefixLength: node.podCIDR.length)])
        bridge.mtu = 1500
        var interfaces = [loopback, ethernet(node.name, node.address), bridge]
        if configuration.proxyMode == .ipvs {
            interfaces.append(
                InterfaceDescription(
                    name: "kube-ipvs0", kind: .dummy, mac: .stable("\(node.name)/kube-ipvs0"),
                    addresses: virtualAddresses.map { IPv4InterfaceAddress($0, prefixLength: 32) }))
        }
        for pod in pods where pod.node == node.name && pod.address != nil {
            var port = InterfaceDescription(
                name: vethName(of: pod), kind: .veth(peerHost: pod.hostName, peerInterface: "eth0"), mac: .stable("\(node.name)/veth/\(pod.hostName)"), addresses: [],
                master: "cni0")
            port.hairpin = configuration.isHairpin
            interfaces.append(port)
        }
        var routes: [RouteDescription] = []
        if let gateway = lanGateway { routes.append(RouteDescription(destination: IPv4Prefix(.any, length: 0), gateway: gateway, device: "eth0")) }
        for other in nodes {
            routes.append(
                other.name == node.name
                    ? connected(node.gateway, node.podCIDR, "cni0") : RouteDescription(destination: other.podCIDR, gateway: other.address, device: "eth0"))
        }
        routes.append(connected(node.address, lan, "eth0"))
        var host = HostDescription(name: node.name, kind: .node, interfaces: interfaces, routes: routes)
        host.sysctls = Self.nodeSysctls
        if configuration.proxyMode == .ipvs { host.sysctls.merge(Self.ipvsSysctls) { $1 } }
        let table = serviceTable(node: node, endpoints: endpoints)
        host.iptables = baseRules(node: node, table)
        host.services = table
        host.virtualServers = virtualServers(node: node, table)
        return host
    }

    private func describe(_ pod: PlannedPod, _ address: IPv4Address, _ node: PlannedNode) -> HostDescription {
        let eth0 = InterfaceDescription(
            name: "eth0", kind: .veth(peerHost: node.name, peerInterface: vethName(of: pod)), mac: .cni(address),
            addresses: [IPv4InterfaceAddress(address, prefixLength: node.podCIDR.length)])
        var routes = [RouteDescription(destination: IPv4Prefix(.any, length: 0), gateway: node.gateway, device: "eth0"), connected(address, node.podCIDR, "eth0")]
        // flannel asks the bridge plugin for a route to the whole pod network as well.
        if configuration.networkPlugin == .flannelHostGateway {
            routes.append(RouteDescription(destination: configuration.podCIDR, gateway: node.gateway, device: "eth0"))
        }
        return HostDescription(name: pod.hostName, kind: .pod, node: node.name, interfaces: [loopback, eth0], routes: routes)
    }

    private func describe(_ host: ClusterConfiguration.ExternalHost) -> HostDescription {
        var routes = [connected(host.address, lan, "eth0")]
        let isGateway = host.address == lanGateway
        if let gateway = lanGateway, !isGateway, configuration.hosts.contains(where: { $0.address == gateway }) {
            routes.insert(RouteDescription(destination: IPv4Prefix(.any, length: 0), gateway: gateway, device: "eth0"), at: 0)
        }
        var description = HostDescription(name: host.name, kind: .external, interfaces: [loopback, ethernet(host.name, host.address)], routes: routes)
        if isGateway { description.sysctls["net.ipv4.ip_forward"] = "1" }
        return description
    }

    private func lanSwitch() -> HostDescription {
        var interfaces = [loopback, InterfaceDescription(name: "br0", kind: .bridge(ageing: .seconds(300)), mac: MACAddress(rawValue: 0x0200_00ff_00ff), addresses: [])]
        for (name, address) in nodes.map({ ($0.name, $0.address) }) + configuration.hosts.map({ ($0.name, $0.address) }) {
            var port = InterfaceDescription(
                name: "port-\(name)", kind: .veth(peerHost: name, peerInterface: "eth0"), mac: .lanPort(address, prefixLength: configuration.lanPrefixLength),
                addresses: [], master: "br0")
            port.link = nodeLink
            interfaces.append(port)
        }
        var host = HostDescription(name: "lan", kind: .lan, interfaces: interfaces)
        host.sysctls = ["net.bridge.bridge-nf-call-iptables": "0"]
        return host
    }

    /// What kubelet, kube-proxy and the distributions set on a node.
    private static let nodeSysctls = [
        "net.ipv4.ip_forward": "1", "net.ipv4.conf.all.rp_filter": "2", "net.ipv4.conf.default.rp_filter": "2", "net.ipv4.conf.all.route_localnet": "1",
        "net.bridge.bridge-nf-call-iptables": "1",
        // kube-proxy: --conntrack-max-per-core for eight processors, --conntrack-tcp-timeout-established and -close-wait.
        "net.netfilter.nf_conntrack_max": "262144", "net.netfilter.nf_conntrack_tcp_timeout_established": "86400",
        "net.netfilter.nf_conntrack_tcp_timeout_close_wait": "3600",
    ]
    /// What kube-proxy sets in IPVS mode on top. It leaves conn_reuse_mode as it is, which is 1, on kernels from 5.9 on.
    private static let ipvsSysctls = [
        "net.ipv4.vs.conntrack": "1", "net.ipv4.vs.expire_nodest_conn": "1", "net.ipv4.vs.expire_quiescent_template": "1",
    ]
}
