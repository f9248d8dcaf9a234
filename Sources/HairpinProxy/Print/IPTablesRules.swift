/// kube-proxy in iptables mode, as text: chains, names, comments and order as kube-proxy 1.33 writes them (pkg/proxy/iptables), each rule in the form
/// iptables-save gives it back.
extension ServiceTable {
    /// What is there without any Service: the jumps out of the built-in chains, and the chains Services have no part in.
    public func writeBase(_ set: inout SavedRules) {
        switch settings.mode {
        case .iptables: writeIPTablesBase(&set)
        case .ipvs: writeIPVSBase(&set)
        // Everything is in a table of its own that iptables does not see.
        case .nftables: break
        }
    }

    /// The rules of the chains that `ServiceChain` stands for, with all chains below them.
    public func serviceRules() -> SavedRules {
        var set = SavedRules()
        switch settings.mode {
        case .iptables:
            var writer = IPTablesWriter(table: self)
            writer.write()
            set = writer.set
        case .ipvs: writeIPVSServices(&set)
        case .nftables: break
        }
        return set
    }

    /// The proxy inserts its jumps at the head of the built-in chains one after the other, so the last stands first.
    private func writeIPTablesBase(_ set: inout SavedRules) {
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
        // Of tcp_be_liberal nothing is known here: the default is off.
        set.filter.append("KUBE-FORWARD", "-m conntrack --ctstate INVALID -j DROP")
        writeForwarding(&set)
        if blocksMartians {
            // kubelet made these jumps before kube-proxy put its own in front.
            set.filter.append("INPUT", "-j KUBE-FIREWALL")
            set.filter.append("OUTPUT", "-j KUBE-FIREWALL")
            set.filter.append(
                "KUBE-FIREWALL",
                "! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \"block incoming localnet connections\" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP")
        }
        set.nat.append("PREROUTING", "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES")
        set.nat.append("OUTPUT", "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES")
        set.nat.append("POSTROUTING", "-m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING")
        writeMasquerade(&set)
    }

    /// With route_localnet, which node ports on 127.0.0.1 need, other machines could reach it too.
    public var blocksMartians: Bool {
        guard settings.mode == .iptables, settings.isIPv4, settings.localhostNodePorts else { return false }
        let ranges = (settings.nodePortAddresses ?? []).filter(\.isIPv4)
        return ranges.isEmpty || ranges.contains { $0.isEverything || $0.network.isLoopback }
    }

    func writeForwarding(_ set: inout SavedRules) {
        set.filter.append("KUBE-FORWARD", "-m comment --comment \"kubernetes forwarding rules\" -m mark --mark 0x4000/0x4000 -j ACCEPT")
        set.filter.append("KUBE-FORWARD", "-m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
    }

    func writeMasquerade(_ set: inout SavedRules) {
        set.nat.append("KUBE-MARK-MASQ", "-j MARK --set-xmark 0x4000/0x4000")
        set.nat.append("KUBE-POSTROUTING", "-m mark ! --mark 0x4000/0x4000 -j RETURN")
        set.nat.append("KUBE-POSTROUTING", "-j MARK --set-xmark 0x4000/0x0")
        set.nat.append("KUBE-POSTROUTING", "-m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully")
    }

    /// 1/count with eleven decimals, after the rounding of both ends: kube-proxy writes ten decimals, the kernel keeps 31 bits, iptables-save prints those.
    public static func probability(oneIn count: Int) -> String {
        let digits = (threshold(oneIn: count) * 100_000_000_000 + (1 << 30)) >> 31  // %.11f
        let text = String(digits)
        let padded = String(repeating: "0", count: max(0, 12 - text.utf8.count)) + text
        return "\(padded.dropLast(11)).\(padded.suffix(11))"
    }

    /// xt_statistic's bound for 1/count, out of 2^31.
    public static func threshold(oneIn count: Int) -> UInt128 {
        let scale: UInt128 = 10_000_000_000
        let decimals = (scale + UInt128(count) / 2) / UInt128(count)  // %0.10f
        return ((decimals << 31) + scale / 2) / scale  // round(p * 2^31)
    }
}

/// Writes the rules of every Service port of a table.
private struct IPTablesWriter {
    let table: ServiceTable
    var set = SavedRules()

    private var settings: ProxySettings { table.settings }

    mutating func write() {
        for entry in table.entries { write(entry) }
        let comment = #"-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain""#
        let ranges = (settings.nodePortAddresses ?? []).filter { $0.isIPv4 == settings.isIPv4 }
        if ranges.isEmpty || ranges.contains(where: \.isEverything) {
            let loopback = !settings.isIPv4 ? "! -d ::1/128 " : settings.localhostNodePorts ? "" : "! -d 127.0.0.0/8 "
            set.nat.append("KUBE-SERVICES", "\(loopback)\(comment) -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS")
        } else {
            // kube-proxy names the node's addresses in these ranges; the table knows the ranges.
            for range in ranges where !range.network.isLoopback || (settings.isIPv4 && settings.localhostNodePorts) {
                set.nat.append("KUBE-SERVICES", "-d \(range) \(comment) -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS")
            }
        }
    }

    private mutating func write(_ entry: ServiceTable.Entry) {
        let rules = entry.rules
        let name = rules.name
        let proto = rules.protocolName
        let clusterChain = table.chainName(entry, .cluster)
        let localChain = table.chainName(entry, .local)
        let externalChain = table.chainName(entry, .external)
        let firewallChain = table.chainName(entry, .firewall)
        let guardsSources = entry.hasEndpoints && entry.guardsSources
        func portal(_ address: ServiceAddress, _ comment: String) -> String {
            "-d \(address.prefixText) -p \(proto) -m comment --comment \"\(name) \(comment)\" -m \(proto) --dport \(rules.port)"
        }
        func nodePortal(_ comment: String) -> String {
            "-p \(proto) -m comment --comment \"\(name) \(comment)\" -m addrtype --dst-type LOCAL -m \(proto) --dport \(rules.nodePort)"
        }
        let reject = " -j REJECT --reject-with \(settings.isIPv4 ? "icmp-port-unreachable" : "icmp6-port-unreachable")"

        if entry.hasInternalEndpoints {
            set.nat.append("KUBE-SERVICES", portal(rules.clusterAddress, "cluster IP") + " -j \(rules.isInternalLocal ? localChain : clusterChain)")
        } else {
            set.filter.append(
                "KUBE-SERVICES",
                portal(rules.clusterAddress, entry.hasEndpoints ? "has no local endpoints" : "has no endpoints") + (entry.hasEndpoints ? " -j DROP" : reject))
        }
        let unreachable = entry.hasEndpoints ? "has no local endpoints" : "has no endpoints"
        let end = entry.hasEndpoints ? " -j DROP" : reject
        for address in rules.externalAddresses {
            if entry.hasEndpoints { set.nat.append("KUBE-SERVICES", portal(address, "external IP") + " -j \(externalChain)") }
            if !entry.hasExternalEndpoints { set.filter.append("KUBE-EXTERNAL-SERVICES", portal(address, unreachable) + end) }
        }
        for address in rules.loadBalancerAddresses {
            if entry.hasEndpoints { set.nat.append("KUBE-SERVICES", portal(address, "loadbalancer IP") + " -j \(guardsSources ? firewallChain : externalChain)") }
            if guardsSources { set.filter.append("KUBE-PROXY-FIREWALL", portal(address, "traffic not accepted by \(firewallChain)") + " -j DROP") }
            if !entry.hasExternalEndpoints { set.filter.append("KUBE-EXTERNAL-SERVICES", portal(address, unreachable) + end) }
        }
        if rules.nodePort != 0 {
            if entry.hasEndpoints {
                set.nat.append("KUBE-NODEPORTS", "-p \(proto) -m comment --comment \"\(name)\" -m \(proto) --dport \(rules.nodePort) -j \(externalChain)")
            }
            if !entry.hasExternalEndpoints { set.filter.append("KUBE-EXTERNAL-SERVICES", nodePortal(unreachable) + end) }
        }
        if rules.healthCheckNodePort != 0 {
            set.filter.append(
                "KUBE-NODEPORTS", "-p tcp -m comment --comment \"\(name) health check node port\" -m tcp --dport \(rules.healthCheckNodePort) -j ACCEPT")
        }
        guard entry.hasEndpoints else { return }
        if entry.hasInternalEndpoints, let sources = foreignSources {
            set.nat.append(rules.isInternalLocal ? localChain : clusterChain, sources + portal(rules.clusterAddress, "cluster IP") + " -j KUBE-MARK-MASQ")
        }
        if rules.isExternallyAccessible { writeExternal(entry, externalChain, clusterChain, localChain) }
        if guardsSources { writeFirewall(entry, firewallChain, externalChain) }
        if !entry.cluster.isEmpty { balance(clusterChain, entry, entry.cluster) }
        if !entry.local.isEmpty, rules.usesLocalEndpoints { balance(localChain, entry, entry.local) }
        for list in [entry.cluster, entry.local] { for index in list { writeEndpoint(table.endpoints[index], entry) } }
    }

    /// Which clients of a ClusterIP are masqueraded; nil if none are.
    private var foreignSources: String? {
        if settings.masqueradeAll { return "" }
        guard let range = settings.podRanges.first(where: { $0.isIPv4 == settings.isIPv4 }) else { return nil }
        return "! -s \(range) "
    }

    private mutating func writeExternal(_ entry: ServiceTable.Entry, _ externalChain: String, _ clusterChain: String, _ localChain: String) {
        let name = entry.rules.name
        guard entry.rules.isExternalLocal else {
            set.nat.append(externalChain, "-m comment --comment \"masquerade traffic for \(name) external destinations\" -j KUBE-MARK-MASQ")
            set.nat.append(externalChain, "-j \(clusterChain)")
            return
        }
        if let range = settings.podRanges.first(where: { $0.isIPv4 == settings.isIPv4 }) {
            set.nat.append(externalChain, "-s \(range) -m comment --comment \"pod traffic for \(name) external destinations\" -j \(clusterChain)")
        }
        set.nat.append(
            externalChain, "-m comment --comment \"masquerade LOCAL traffic for \(name) external destinations\" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ")
        set.nat.append(externalChain, "-m comment --comment \"route LOCAL traffic for \(name) external destinations\" -m addrtype --src-type LOCAL -j \(clusterChain)")
        if !entry.local.isEmpty { set.nat.append(externalChain, "-j \(localChain)") }
    }

    private mutating func writeFirewall(_ entry: ServiceTable.Entry, _ firewallChain: String, _ externalChain: String) {
        let comment = "-m comment --comment \"\(entry.rules.name) loadbalancer IP\" -j \(externalChain)"
        for range in entry.rules.sourceRanges { set.nat.append(firewallChain, (range.isEverything ? "" : "-s \(range) ") + comment) }
        if entry.rules.sourceRanges.contains(where: { $0.contains(settings.nodeAddress) }) {
            for address in entry.rules.loadBalancerAddresses { set.nat.append(firewallChain, "-s \(address.prefixText) \(comment)") }
        }
        set.nat.append(firewallChain, "-m comment --comment \"other traffic to \(entry.rules.name) will be dropped by KUBE-PROXY-FIREWALL\"")
    }

    /// Clients that are known go where they went; then rule n of k matches with probability 1/(k-n+1), and the last always.
    private mutating func balance(_ chain: String, _ entry: ServiceTable.Entry, _ list: Range<Int>) {
        let name = entry.rules.name
        let mask = settings.isIPv4 ? "255.255.255.255" : "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        if let affinity = entry.rules.affinitySeconds {
            for index in list {
                let endpoint = table.endpoints[index]
                let target = IPTablesNames.endpoint(entry.rules, endpoint)
                set.nat.append(
                    chain,
                    "-m comment --comment \"\(name) -> \(endpoint.text)\" -m recent --rcheck --seconds \(affinity) --reap --name \(target) --mask \(mask) --rsource -j \(target)"
                )
            }
        }
        for index in list {
            let endpoint = table.endpoints[index]
            let left = list.upperBound - index
            let chance = left > 1 ? " -m statistic --mode random --probability \(ServiceTable.probability(oneIn: left))" : ""
            set.nat.append(chain, "-m comment --comment \"\(name) -> \(endpoint.text)\"\(chance) -j \(IPTablesNames.endpoint(entry.rules, endpoint))")
        }
    }

    private mutating func writeEndpoint(_ endpoint: ServiceTable.Endpoint, _ entry: ServiceTable.Entry) {
        let chain = IPTablesNames.endpoint(entry.rules, endpoint)
        guard !set.nat.has(chain) else { return }
        let (name, proto) = (entry.rules.name, entry.rules.protocolName)
        let mask = settings.isIPv4 ? "255.255.255.255" : "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        set.nat.append(chain, "-s \(endpoint.address.prefixText) -m comment --comment \"\(name)\" -j KUBE-MARK-MASQ")
        let recent = entry.rules.affinitySeconds == nil ? "" : "-m recent --set --name \(chain) --mask \(mask) --rsource "
        set.nat.append(chain, "-p \(proto) -m comment --comment \"\(name)\" \(recent)-m \(proto) -j DNAT --to-destination \(endpoint.text)")
    }
}
