import HairpinTopology
import HairpinWire

/// kube-proxy in IPVS mode: virtual servers, and the rules that masquerade what must be.
///
/// The proxy keeps addresses in ipsets and matches those; here each set is written out as plain rules, which match the same packets.
struct KubeProxyIPVS {
    let plan: ClusterPlan
    let node: PlannedNode
    let slices: [EndpointSlice]

    /// The addresses of kube-ipvs0: every virtual address, so that packets to it reach LOCAL_IN, where IPVS takes them. In numerical order.
    static func virtualAddresses(_ plan: ClusterPlan) -> [IPv4Address] {
        Set(plan.services.compactMap(\.clusterAddress) + plan.services.flatMap(\.service.externalAddresses)).sorted()
    }

    func virtualServers() -> [VirtualServerDescription] {
        var result: [VirtualServerDescription] = []
        for service in plan.services {
            guard let clusterAddress = service.clusterAddress else { continue }
            for port in service.ports {
                let endpoints = plan.endpoints(of: service, port, in: slices, on: node.name)
                func add(_ address: IPv4Address, _ number: UInt16, isLocal: Bool) {
                    result.append(
                        VirtualServerDescription(
                            address: address, port: number, proto: port.proto.number, scheduler: "rr", persistenceSeconds: service.service.affinitySeconds,
                            servers: (isLocal ? endpoints.local : endpoints.cluster).map { ($0.address, $0.port, 1) }))
                }
                add(clusterAddress, port.port, isLocal: service.service.internalTrafficPolicy == .local)
                let isExternalLocal = service.service.externalTrafficPolicy == .local
                for address in service.service.externalAddresses { add(address, port.port, isLocal: isExternalLocal) }
                if let number = port.nodePort {
                    for address in [node.address, node.gateway] { add(address, number, isLocal: isExternalLocal) }
                }
            }
        }
        return result
    }

    func write(_ set: inout RuleSet) {
        for chain in ["KUBE-FORWARD"] { set.filter.chain(chain) }
        for chain in ["KUBE-LOAD-BALANCER", "KUBE-MARK-MASQ", "KUBE-NODE-PORT", "KUBE-POSTROUTING", "KUBE-SERVICES"] { set.nat.chain(chain) }
        set.filter.append("FORWARD", "-m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD")
        // IPVS mode accepts what is marked and what belongs to a connection; it has no rule for INVALID.
        set.filter.append("KUBE-FORWARD", "-m comment --comment \"kubernetes forwarding rules\" -m mark --mark 0x4000/0x4000 -j ACCEPT")
        set.filter.append("KUBE-FORWARD", "-m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
        set.nat.append("PREROUTING", "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES")
        set.nat.append("OUTPUT", "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES")
        set.nat.append("POSTROUTING", "-m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING")
        set.nat.append("KUBE-MARK-MASQ", "-j MARK --set-xmark 0x4000/0x4000")
        set.nat.append("KUBE-SERVICES", "-s 127.0.0.0/8 -j RETURN")
        var hairpins: Set<String> = []
        for service in plan.services {
            guard let clusterAddress = service.clusterAddress else { continue }
            for port in service.ports {
                let proto = port.proto.lowercased
                // KUBE-CLUSTER-IP dst,dst
                set.nat.append(
                    "KUBE-SERVICES",
                    "! -s \(plan.configuration.podCIDR) -d \(clusterAddress)/32 -p \(proto) -m comment --comment \"Kubernetes service cluster ip + port for masquerade purpose\" -m \(proto) --dport \(port.port) -j KUBE-MARK-MASQ"
                )
                // KUBE-EXTERNAL-IP dst,dst
                for address in service.service.externalAddresses where service.service.externalTrafficPolicy == .cluster {
                    set.nat.append(
                        "KUBE-SERVICES",
                        "-d \(address)/32 -p \(proto) -m comment --comment \"Kubernetes service external ip + port for masquerade and filter purpose\" -m \(proto) --dport \(port.port) -j KUBE-MARK-MASQ"
                    )
                }
                if let number = port.nodePort, service.service.externalTrafficPolicy == .cluster {
                    set.nat.append(
                        "KUBE-NODE-PORT",
                        "-p \(proto) -m comment --comment \"Kubernetes nodeport \(port.proto.rawValue) port for masquerade purpose\" -m \(proto) --dport \(number) -j KUBE-MARK-MASQ"
                    )
                }
                let endpoints = plan.endpoints(of: service, port, in: slices, on: node.name)
                for endpoint in endpoints.cluster where endpoint.isLocal && hairpins.insert("\(proto) \(endpoint.text)").inserted {
                    // KUBE-LOOP-BACK dst,dst,src
                    set.nat.append(
                        "KUBE-POSTROUTING",
                        "-s \(endpoint.address)/32 -d \(endpoint.address)/32 -p \(proto) -m comment --comment \"Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose\" -m \(proto) --dport \(endpoint.port) -j MASQUERADE"
                    )
                }
            }
        }
        set.nat.append("KUBE-SERVICES", "-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT")
        set.nat.append("KUBE-POSTROUTING", "-m mark ! --mark 0x4000/0x4000 -j RETURN")
        set.nat.append("KUBE-POSTROUTING", "-j MARK --set-xmark 0x4000/0x0")
        set.nat.append("KUBE-POSTROUTING", "-m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully")
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
