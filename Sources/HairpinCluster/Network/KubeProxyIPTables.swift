import HairpinEngine
import HairpinWire

/// kube-proxy in iptables mode: the chains and rules of every Service, for one node.
///
/// Structure, names, comments and order as kube-proxy 1.33 writes them (pkg/proxy/iptables), each rule in the form iptables-save gives it back.
struct KubeProxyIPTables {
    let plan: ClusterPlan
    let node: PlannedNode
    let slices: [EndpointSlice]
    var set: RuleSet

    mutating func write() {
        writeBase()
        for service in plan.services where service.clusterAddress != nil {
            for port in service.ports { write(service, port) }
        }
        set.nat.append(
            "KUBE-SERVICES",
            #"-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"#)
    }

    /// What is there without any Service. The proxy inserts its jumps at the head of the built-in chains one after the other, so the last stands first.
    private mutating func writeBase() {
        for chain in ["KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL", "KUBE-SERVICES"] { set.filter.chain(chain) }
        for chain in ["KUBE-MARK-MASQ", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-SERVICES"] { set.nat.chain(chain) }
        let new = "-m conntrack --ctstate NEW -m comment --comment"
        set.filter.append("INPUT", "\(new) \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL")
        set.filter.append("INPUT", "-m comment --comment \"kubernetes health check service ports\" -j KUBE-NODEPORTS")
        set.filter.append("INPUT", "\(new) \"kubernetes externally-visible service portals\" -j KUBE-EXTERNAL-SERVICES")
        set.filter.append("FORWARD", "\(new) \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL")
        set.filter.append("FORWARD", "-m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD")
        set.filter.append("FORWARD", "\(new) \"kubernetes service portals\" -j KUBE-SERVICES")
        set.filter.append("FORWARD", "\(new) \"kubernetes externally-visible service portals\" -j KUBE-EXTERNAL-SERVICES")
        set.filter.append("OUTPUT", "\(new) \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL")
        set.filter.append("OUTPUT", "\(new) \"kubernetes service portals\" -j KUBE-SERVICES")
        KubernetesRules.writeForwarding(&set)
        set.nat.append("PREROUTING", "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES")
        set.nat.append("OUTPUT", "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES")
        KubernetesRules.writeMasquerade(&set)
    }

    private struct Destination {
        var address: IPv4Address
        var label: String  // "external IP"
    }

    private mutating func write(_ service: PlannedService, _ port: ServicePort) {
        guard let clusterAddress = service.clusterAddress else { return }
        let name = service.portName(port)
        let proto = port.proto.lowercased
        let endpoints = plan.endpoints(of: service, port, in: slices, on: node.name)
        let suffix = SHA256.chainSuffix(name + proto)
        let clusterChain = "KUBE-SVC-\(suffix)"
        let localChain = "KUBE-SVL-\(suffix)"
        let externalChain = "KUBE-EXT-\(suffix)"
        let externals = service.service.externalAddresses.map { Destination(address: $0, label: "external IP") }
        let isInternalLocal = service.service.internalTrafficPolicy == .local
        let isExternalLocal = service.service.externalTrafficPolicy == .local
        let isExternal = port.nodePort != nil || !externals.isEmpty
        func portal(_ address: IPv4Address, _ comment: String) -> String {
            "-d \(address)/32 -p \(proto) -m comment --comment \"\(name) \(comment)\" -m \(proto) --dport \(port.port)"
        }
        func nodePortal(_ comment: String, _ number: UInt16) -> String {
            "-p \(proto) -m comment --comment \"\(name) \(comment)\" -m addrtype --dst-type LOCAL -m \(proto) --dport \(number)"
        }

        // Without endpoints nothing is translated; the filter table answers.
        guard endpoints.hasAny else {
            set.filter.append("KUBE-SERVICES", portal(clusterAddress, "has no endpoints") + " -j REJECT --reject-with icmp-port-unreachable")
            for external in externals {
                set.filter.append("KUBE-EXTERNAL-SERVICES", portal(external.address, "has no endpoints") + " -j REJECT --reject-with icmp-port-unreachable")
            }
            if let number = port.nodePort {
                set.filter.append("KUBE-EXTERNAL-SERVICES", nodePortal("has no endpoints", number) + " -j REJECT --reject-with icmp-port-unreachable")
            }
            return
        }

        let internalChain = isInternalLocal ? localChain : clusterChain
        if isInternalLocal, endpoints.local.isEmpty {
            set.filter.append("KUBE-SERVICES", portal(clusterAddress, "has no local endpoints") + " -j DROP")
        } else {
            set.nat.append("KUBE-SERVICES", portal(clusterAddress, "cluster IP") + " -j \(internalChain)")
        }
        if isExternal {
            for external in externals { set.nat.append("KUBE-SERVICES", portal(external.address, external.label) + " -j \(externalChain)") }
            if let number = port.nodePort {
                set.nat.append("KUBE-NODEPORTS", "-p \(proto) -m comment --comment \"\(name)\" -m \(proto) --dport \(number) -j \(externalChain)")
            }
            writeExternal(service, name: name, externalChain: externalChain, clusterChain: clusterChain, localChain: localChain, isLocal: isExternalLocal)
            if isExternalLocal, endpoints.local.isEmpty {
                for external in externals { set.filter.append("KUBE-EXTERNAL-SERVICES", portal(external.address, "has no local endpoints") + " -j DROP") }
                if let number = port.nodePort { set.filter.append("KUBE-EXTERNAL-SERVICES", nodePortal("has no local endpoints", number) + " -j DROP") }
            } else if isExternalLocal {
                set.nat.append(externalChain, "-j \(localChain)")
            }
        }
        if !isInternalLocal || isExternal {
            set.nat.append(clusterChain, "! -s \(plan.configuration.podCIDR) " + portal(clusterAddress, "cluster IP") + " -j KUBE-MARK-MASQ")
            balance(clusterChain, endpoints.cluster, name: name, proto: proto, affinity: service.service.affinitySeconds)
        }
        var used = endpoints.cluster
        if isInternalLocal || (isExternal && isExternalLocal), !endpoints.local.isEmpty {
            if isInternalLocal { set.nat.append(localChain, "! -s \(plan.configuration.podCIDR) " + portal(clusterAddress, "cluster IP") + " -j KUBE-MARK-MASQ") }
            balance(localChain, endpoints.local, name: name, proto: proto, affinity: service.service.affinitySeconds)
            used += endpoints.local.filter { !used.contains($0) }
        }
        for endpoint in used { writeEndpoint(endpoint, name: name, proto: proto, affinity: service.service.affinitySeconds) }
    }

    private mutating func writeExternal(_ service: PlannedService, name: String, externalChain: String, clusterChain: String, localChain: String, isLocal: Bool) {
        guard isLocal else {
            set.nat.append(externalChain, "-m comment --comment \"masquerade traffic for \(name) external destinations\" -j KUBE-MARK-MASQ")
            set.nat.append(externalChain, "-j \(clusterChain)")
            return
        }
        set.nat.append(externalChain, "-s \(plan.configuration.podCIDR) -m comment --comment \"pod traffic for \(name) external destinations\" -j \(clusterChain)")
        set.nat.append(
            externalChain, "-m comment --comment \"masquerade LOCAL traffic for \(name) external destinations\" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ")
        set.nat.append(externalChain, "-m comment --comment \"route LOCAL traffic for \(name) external destinations\" -m addrtype --src-type LOCAL -j \(clusterChain)")
    }

    /// Clients that are known go where they went; then rule n of k matches with probability 1/(k-n+1), and the last always.
    private mutating func balance(_ chain: String, _ endpoints: [ServiceEndpoints.Endpoint], name: String, proto: String, affinity: Int?) {
        if let affinity {
            for endpoint in endpoints {
                let target = endpointChain(name, proto, endpoint)
                set.nat.append(
                    chain,
                    "-m comment --comment \"\(name) -> \(endpoint.text)\" -m recent --rcheck --seconds \(affinity) --reap --name \(target) --mask 255.255.255.255 --rsource -j \(target)"
                )
            }
        }
        for (index, endpoint) in endpoints.enumerated() {
            let left = endpoints.count - index
            let chance = left > 1 ? " -m statistic --mode random --probability \(KubernetesRules.probability(oneIn: left))" : ""
            set.nat.append(chain, "-m comment --comment \"\(name) -> \(endpoint.text)\"\(chance) -j \(endpointChain(name, proto, endpoint))")
        }
    }

    private func endpointChain(_ name: String, _ proto: String, _ endpoint: ServiceEndpoints.Endpoint) -> String {
        "KUBE-SEP-" + SHA256.chainSuffix(name + proto + endpoint.text)
    }

    private mutating func writeEndpoint(_ endpoint: ServiceEndpoints.Endpoint, name: String, proto: String, affinity: Int?) {
        let chain = endpointChain(name, proto, endpoint)
        guard !set.nat.has(chain) else { return }
        set.nat.append(chain, "-s \(endpoint.address)/32 -m comment --comment \"\(name)\" -j KUBE-MARK-MASQ")
        let recent = affinity == nil ? "" : "-m recent --set --name \(chain) --mask 255.255.255.255 --rsource "
        set.nat.append(chain, "-p \(proto) -m comment --comment \"\(name)\" \(recent)-m \(proto) -j DNAT --to-destination \(endpoint.text)")
    }
}

/// Rules that both proxy modes share.
enum KubernetesRules {
    static func writeForwarding(_ set: inout RuleSet) {
        set.filter.append("KUBE-FORWARD", "-m conntrack --ctstate INVALID -j DROP")
        set.filter.append("KUBE-FORWARD", "-m comment --comment \"kubernetes forwarding rules\" -m mark --mark 0x4000/0x4000 -j ACCEPT")
        set.filter.append("KUBE-FORWARD", "-m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
    }
    static func writeMasquerade(_ set: inout RuleSet) {
        set.nat.append("POSTROUTING", "-m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING")
        set.nat.append("KUBE-MARK-MASQ", "-j MARK --set-xmark 0x4000/0x4000")
        set.nat.append("KUBE-POSTROUTING", "-m mark ! --mark 0x4000/0x4000 -j RETURN")
        set.nat.append("KUBE-POSTROUTING", "-j MARK --set-xmark 0x4000/0x0")
        set.nat.append("KUBE-POSTROUTING", "-m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully")
    }

    /// 1/count with eleven decimals, after the rounding of both ends: kube-proxy writes ten decimals, the kernel keeps 31 bits, iptables-save prints those.
    static func probability(oneIn count: Int) -> String {
        let scale: UInt128 = 10_000_000_000
        let decimals = (scale + UInt128(count) / 2) / UInt128(count)  // %0.10f
        let bits = ((decimals << 31) + scale / 2) / scale  // xt_statistic: round(p * 2^31)
        let digits = (bits * 100_000_000_000 + (1 << 30)) >> 31  // %.11f
        let text = String(digits)
        let padded = String(repeating: "0", count: max(0, 12 - text.utf8.count)) + text
        return "\(padded.dropLast(11)).\(padded.suffix(11))"
    }
}
