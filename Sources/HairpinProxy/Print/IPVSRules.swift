/// kube-proxy in IPVS mode, as text: virtual servers, and the rules over ipsets that mark what must be masqueraded (pkg/proxy/ipvs).
extension ServiceTable {
    func writeIPVSBase(_ set: inout SavedRules) {
        set.filter.chain("KUBE-FORWARD")
        for chain in ["KUBE-LOAD-BALANCER", "KUBE-MARK-MASQ", "KUBE-NODE-PORT", "KUBE-POSTROUTING", "KUBE-SERVICES"] { set.nat.chain(chain) }
        set.filter.append("FORWARD", "-m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD")
        // IPVS mode accepts what is marked and what belongs to a connection; it has no rule for INVALID.
        writeForwarding(&set)
        set.nat.append("PREROUTING", "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES")
        set.nat.append("OUTPUT", "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES")
        set.nat.append("POSTROUTING", "-m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING")
        writeSourceRanges(&set)
        struct Hairpin: Hashable {
            var endpoint: Endpoint
            var proto: UInt8
        }
        var hairpins: Set<Hairpin> = []
        for entry in entries {
            for index in entry.cluster where endpoints[index].isLocal {
                let endpoint = endpoints[index]
                let proto = entry.rules.protocolName
                guard hairpins.insert(Hairpin(endpoint: endpoint, proto: entry.rules.proto)).inserted else { continue }
                // KUBE-LOOP-BACK dst,dst,src, written out: it is the one set whose answer depends on the endpoint the packet went to.
                set.nat.append(
                    "KUBE-POSTROUTING",
                    "-s \(endpoint.address.prefixText) -d \(endpoint.address.prefixText) -p \(proto) -m comment --comment \"Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose\" -m \(proto) --dport \(endpoint.port) -j MASQUERADE"
                )
            }
        }
        writeMasquerade(&set)
    }

    /// KUBE-PROXY-FIREWALL of ipvs mode, with KUBE-LOAD-BALANCER-FW and KUBE-LOAD-BALANCER-SOURCE-CIDR written out.
    private func writeSourceRanges(_ set: inout SavedRules) {
        let guarded = entries.filter(\.guardsSources)
        guard !guarded.isEmpty else { return }
        for chain in ["INPUT", "FORWARD"] { set.filter.append(chain, "-m comment --comment \"kube-proxy firewall rules\" -j KUBE-PROXY-FIREWALL") }
        for entry in guarded {
            let sources = entry.rules.sourceRanges.map(\.description) + (allowsNode(entry) ? entry.rules.loadBalancerAddresses.map(\.prefixText) : [])
            for address in entry.rules.loadBalancerAddresses {
                let destination = "-d \(address.prefixText) -p \(entry.rules.protocolName) -m \(entry.rules.protocolName) --dport \(entry.rules.port)"
                for source in sources { set.filter.append("KUBE-PROXY-FIREWALL", "-s \(source) \(destination) -j RETURN") }
                set.filter.append("KUBE-PROXY-FIREWALL", "\(destination) -j DROP")
            }
        }
    }

    private func allowsNode(_ entry: Entry) -> Bool { entry.rules.sourceRanges.contains { $0.contains(settings.nodeAddress) } }

    func writeIPVSServices(_ set: inout SavedRules) {
        func match(_ name: String, _ comment: String) -> String { "-m comment --comment \"\(comment)\" -m set --match-set \(name)" }
        set.nat.append("KUBE-SERVICES", "-s 127.0.0.0/8 -j RETURN")
        let isLoadBalanced = entries.contains { !$0.rules.loadBalancerAddresses.isEmpty }
        if isLoadBalanced {
            set.nat.append("KUBE-SERVICES", match("KUBE-LOAD-BALANCER dst,dst", "Kubernetes service lb portal") + " -j KUBE-LOAD-BALANCER")
            if entries.contains(where: { $0.rules.isExternalLocal && !$0.rules.loadBalancerAddresses.isEmpty }) {
                set.nat.append(
                    "KUBE-LOAD-BALANCER", match("KUBE-LOAD-BALANCER-LOCAL dst,dst", "Kubernetes service load balancer ip + port with externalTrafficPolicy=local") + " -j RETURN")
            }
            set.nat.append("KUBE-LOAD-BALANCER", "-j KUBE-MARK-MASQ")
        }
        let comment = "Kubernetes service cluster ip + port for masquerade purpose"
        let source = settings.masqueradeAll ? "" : settings.podRanges.first { $0.isIPv4 == settings.isIPv4 }.map { "! -s \($0) " }
        if let source { set.nat.append("KUBE-SERVICES", source + match("KUBE-CLUSTER-IP dst,dst", comment) + " -j KUBE-MARK-MASQ") }
        if entries.contains(where: { !$0.rules.externalAddresses.isEmpty && !$0.rules.isExternalLocal }) {
            set.nat.append(
                "KUBE-SERVICES", match("KUBE-EXTERNAL-IP dst,dst", "Kubernetes service external ip + port for masquerade and filter purpose") + " -j KUBE-MARK-MASQ")
        }
        for (proto, number) in [("tcp", UInt8(6)), ("udp", 17), ("sctp", 132)] where entries.contains(where: { $0.rules.nodePort != 0 && $0.rules.proto == number }) {
            let name = proto.uppercased()
            // Bitmaps of ports do for TCP and UDP; the kernel has none that knows SCTP, so that every address of the node stands in a hash.
            let (suffix, directions, kind) = proto == "sctp" ? ("-HASH", "dst,dst", " with type \\'hash ip:port\\'") : ("", "dst", "")
            func node(_ infix: String, _ words: String) -> String {
                "-p \(proto) " + match("KUBE-NODE-PORT-\(infix)\(name)\(suffix) \(directions)", "Kubernetes nodeport \(name) port \(words)\(kind)")
            }
            if entries.contains(where: { $0.rules.nodePort != 0 && $0.rules.proto == number && $0.rules.isExternalLocal }) {
                set.nat.append("KUBE-NODE-PORT", node("LOCAL-", "with externalTrafficPolicy=local") + " -j RETURN")
            }
            set.nat.append("KUBE-NODE-PORT", node("", "for masquerade purpose") + " -j KUBE-MARK-MASQ")
        }
        set.nat.append("KUBE-SERVICES", "-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT")
        set.nat.append("KUBE-SERVICES", match("KUBE-CLUSTER-IP dst,dst", comment) + " -j ACCEPT")
    }
}

// What `ipset save` prints.
extension ServiceTable {
    /// The sets that the rules of IPVS mode ask, with what is in them; none in the other modes.
    public func ipsets() -> [String] {
        guard settings.mode == .ipvs else { return [] }
        let pairs = "hash:ip,port family inet hashsize 1024 maxelem 65536"
        var clusters: [String] = []
        var balancers: [String] = []
        var localBalancers: [String] = []
        var externals: [String] = []
        var nodePorts: [String: [String]] = [:]
        let nodeAddresses = ([settings.nodeAddress] + settings.otherAddresses).filter(isNodePortAddress)
        for entry in entries {
            let rules = entry.rules
            func key(_ address: ServiceAddress) -> String { "\(address),\(rules.protocolName):\(rules.port)" }
            clusters.append(key(rules.clusterAddress))
            for address in rules.loadBalancerAddresses {
                balancers.append(key(address))
                if rules.isExternalLocal { localBalancers.append(key(address)) }
            }
            if !rules.isExternalLocal { externals += rules.externalAddresses.map(key) }
            guard rules.nodePort != 0 else { continue }
            let name = rules.protocolName.uppercased()
            let elements = rules.proto == 132 ? nodeAddresses.map { "\($0),sctp:\(rules.nodePort)" } : [String(rules.nodePort)]
            nodePorts[name, default: []] += elements
            if rules.isExternalLocal { nodePorts["LOCAL-" + name, default: []] += elements }
        }
        let hashes = [("KUBE-CLUSTER-IP", clusters), ("KUBE-EXTERNAL-IP", externals), ("KUBE-LOAD-BALANCER", balancers), ("KUBE-LOAD-BALANCER-LOCAL", localBalancers)]
        var lines: [String] = []
        for (name, _) in hashes { lines.append("create \(name) \(pairs)") }
        let kinds = [("LOCAL-SCTP", "-HASH"), ("LOCAL-TCP", ""), ("LOCAL-UDP", ""), ("SCTP", "-HASH"), ("TCP", ""), ("UDP", "")]
        for (kind, suffix) in kinds { lines.append("create KUBE-NODE-PORT-\(kind)\(suffix) \(suffix.isEmpty ? "bitmap:port range 0-65535" : pairs)") }
        var seen: Set<String> = []
        for (name, elements) in hashes { for element in elements where seen.insert("\(name) \(element)").inserted { lines.append("add \(name) \(element)") } }
        for (kind, suffix) in kinds {
            let name = "KUBE-NODE-PORT-\(kind)\(suffix)"
            for element in nodePorts[kind] ?? [] where seen.insert("\(name) \(element)").inserted { lines.append("add \(name) \(element)") }
        }
        return lines
    }
}
