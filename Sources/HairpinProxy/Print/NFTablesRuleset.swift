/// kube-proxy in nftables mode, as `nft list ruleset` prints its table (pkg/proxy/nftables of kube-proxy 1.33): maps of verdicts, a chain per Service
/// port and per endpoint.
extension ServiceTable {
    public func nftRuleset() -> [String] {
        guard settings.mode == .nftables else { return [] }
        var printer = NFTablesPrinter(table: self)
        return printer.print()
    }
}

private struct NFTablesPrinter {
    let table: ServiceTable
    private var chains: [(name: String, rules: [String])] = []
    private var sets: [String] = []
    private var serviceIPs: [String] = []
    private var serviceNodePorts: [String] = []
    private var noEndpointServices: [String] = []
    private var noEndpointNodePorts: [String] = []
    private var firewallIPs: [String] = []
    private var written: Set<String> = []

    init(table: ServiceTable) { self.table = table }

    private var family: String { table.settings.isIPv4 ? "ip" : "ip6" }
    private var addressType: String { table.settings.isIPv4 ? "ipv4_addr" : "ipv6_addr" }

    mutating func print() -> [String] {
        for entry in table.entries { add(entry) }
        var lines = ["table \(family) kube-proxy {", "\tcomment \"rules for kube-proxy\""]
        func put(_ block: [String]) { lines += [""] + block }
        put(set("cluster-ips", addressType, "Active ClusterIPs", table.clusterAddresses.sorted().map(\.description)))
        let dispatch: String
        if let ports = nodePortAddresses {
            put(set("nodeport-ips", addressType, "IPs that accept NodePort traffic", ports))
            dispatch = "\(family) daddr @nodeport-ips"
        } else {
            dispatch = "fib daddr type local \(family) daddr != \(table.settings.isIPv4 ? "127.0.0.0/8" : "::1")"
        }
        let triple = "\(addressType) . inet_proto . inet_service : verdict"
        put(map("no-endpoint-services", triple, "vmap to drop or reject packets to services with no endpoints", noEndpointServices))
        put(map("no-endpoint-nodeports", "inet_proto . inet_service : verdict", "vmap to drop or reject packets to service nodeports with no endpoints", noEndpointNodePorts))
        put(map("firewall-ips", triple, "destinations that are subject to LoadBalancerSourceRanges", firewallIPs))
        put(map("service-ips", triple, "ClusterIP, ExternalIP and LoadBalancer IP traffic", serviceIPs))
        put(map("service-nodeports", "inet_proto . inet_service : verdict", "NodePort traffic", serviceNodePorts))
        for text in sets { lines += ["", text] }
        let check = "\(family) daddr . meta l4proto . th dport vmap"
        func base(_ name: String, _ type: String, _ hook: String, _ priority: String, _ rules: [String]) {
            put(["\tchain \(name) {", "\t\ttype \(type) hook \(hook) priority \(priority); policy accept;"] + rules.map { "\t\t\($0)" } + ["\t}"])
        }
        base("filter-prerouting", "filter", "prerouting", "dstnat - 10", ["ct state new jump firewall-check"])
        base("filter-input", "filter", "input", "-110", ["ct state new jump nodeport-endpoints-check", "ct state new jump service-endpoints-check"])
        base("filter-forward", "filter", "forward", "-110", ["ct state new jump service-endpoints-check", "ct state new jump cluster-ips-check"])
        base("filter-output", "filter", "output", "-110", ["ct state new jump service-endpoints-check", "ct state new jump firewall-check"])
        base("filter-output-post-dnat", "filter", "output", "-90", ["ct state new jump cluster-ips-check"])
        base("nat-prerouting", "nat", "prerouting", "dstnat", ["jump services"])
        base("nat-output", "nat", "output", "-100", ["jump services"])
        base("nat-postrouting", "nat", "postrouting", "srcnat", ["jump masquerading"])
        func chain(_ name: String, _ rules: [String], comment: String? = nil) {
            put(["\tchain \(name) {"] + (comment.map { ["\t\tcomment \"\($0)\""] } ?? []) + rules.map { "\t\t\($0)" } + ["\t}"])
        }
        let all = table.settings.serviceRanges.filter { $0.isIPv4 == table.settings.isIPv4 }
        let ranges = all.count == 1 ? all[0].description : "{ \(all.map(\.description).joined(separator: ", ")) }"
        chain(
            "cluster-ips-check",
            ["\(family) daddr @cluster-ips reject comment \"Reject traffic to invalid ports of ClusterIPs\""]
                + (all.isEmpty ? [] : ["\(family) daddr \(ranges) drop comment \"Drop traffic to unallocated ClusterIPs\""]))
        chain("firewall-check", ["\(check) @firewall-ips"])
        chain("mark-for-masquerade", ["meta mark set meta mark | 0x00004000"])
        chain(
            "masquerading", ["meta mark & 0x00004000 == 0x00000000 return", "meta mark set meta mark ^ 0x00004000", "masquerade fully-random"])
        chain(
            "nodeport-endpoints-check",
            [
                (nodePortAddresses == nil ? "\(family) daddr != \(table.settings.isIPv4 ? "127.0.0.0/8" : "::1")" : dispatch)
                    + " meta l4proto . th dport vmap @no-endpoint-nodeports"
            ])
        chain("reject-chain", ["reject"], comment: "helper for @no-endpoint-services / @no-endpoint-nodeports")
        chain("service-endpoints-check", ["\(check) @no-endpoint-services"])
        chain("services", ["\(check) @service-ips", "\(dispatch) meta l4proto . th dport vmap @service-nodeports"])
        for (name, rules) in chains { chain(name, rules) }
        return lines + ["}"]
    }

    /// The node's addresses that take node ports; nil for every local one.
    private var nodePortAddresses: [String]? {
        guard let ranges = table.settings.nodePortAddresses else { return [table.settings.nodeAddress.description] }
        let own = ranges.filter { $0.isIPv4 == table.settings.isIPv4 }
        if own.isEmpty || own.contains(where: \.isEverything) { return nil }
        return own.filter { !$0.network.isLoopback }.map { $0.length == (table.settings.isIPv4 ? 32 : 128) ? "\($0.network)" : "\($0)" }
    }

    private func set(_ name: String, _ type: String, _ comment: String, _ elements: [String]) -> [String] {
        ["\tset \(name) {", "\t\ttype \(type)", "\t\tcomment \"\(comment)\""] + listed(elements) + ["\t}"]
    }
    private func map(_ name: String, _ type: String, _ comment: String, _ elements: [String]) -> [String] {
        ["\tmap \(name) {", "\t\ttype \(type)", "\t\tcomment \"\(comment)\""] + listed(elements) + ["\t}"]
    }
    private func listed(_ elements: [String]) -> [String] {
        guard let last = elements.indices.last else { return [] }
        return elements.enumerated().map { index, text in
            (index == 0 ? "\t\telements = { " : "\t\t\t     ") + text + (index == last ? " }" : ",")
        }
    }

    private mutating func add(_ entry: ServiceTable.Entry) {
        let rules = entry.rules
        let name = rules.name
        let cluster = table.chainName(entry, .cluster)
        let local = table.chainName(entry, .local)
        let external = table.chainName(entry, .external)
        let firewall = table.chainName(entry, .firewall)
        func key(_ address: ServiceAddress) -> String { "\(address) . \(rules.protocolName) . \(rules.port)" }
        let nowhere = entry.hasEndpoints ? "drop" : "goto reject-chain"
        if entry.hasInternalEndpoints {
            serviceIPs.append("\(key(rules.clusterAddress)) : goto \(rules.isInternalLocal ? local : cluster)")
        } else {
            noEndpointServices.append("\(key(rules.clusterAddress)) comment \"\(name)\" : \(nowhere)")
        }
        for address in rules.externalAddresses + rules.loadBalancerAddresses {
            if entry.hasEndpoints { serviceIPs.append("\(key(address)) : goto \(external)") }
            if !entry.hasExternalEndpoints { noEndpointServices.append("\(key(address)) comment \"\(name)\" : \(nowhere)") }
        }
        if rules.nodePort != 0 {
            if entry.hasEndpoints { serviceNodePorts.append("\(rules.protocolName) . \(rules.nodePort) : goto \(external)") }
            if !entry.hasExternalEndpoints { noEndpointNodePorts.append("\(rules.protocolName) . \(rules.nodePort) comment \"\(name)\" : \(nowhere)") }
        }
        if entry.guardsSources {
            for address in rules.loadBalancerAddresses { firewallIPs.append("\(key(address)) comment \"\(name)\" : goto \(firewall)") }
            let allowed =
                rules.sourceRanges.map(\.description)
                + (rules.sourceRanges.contains { $0.contains(table.settings.nodeAddress) } ? rules.loadBalancerAddresses.map(\.description) : [])
            chains.append((firewall, ["\(family) saddr != { \(allowed.joined(separator: ", ")) } drop"]))
        }
        guard entry.hasEndpoints else { return }
        let range = table.settings.podRanges.first { $0.isIPv4 == table.settings.isIPv4 }
        var marks: [String] = []
        if entry.hasInternalEndpoints {
            let destination = "\(family) daddr \(rules.clusterAddress) \(rules.protocolName) dport \(rules.port)"
            if table.settings.masqueradeAll { marks = ["\(destination) jump mark-for-masquerade"] } else if let range {
                marks = ["\(destination) \(family) saddr != \(range) jump mark-for-masquerade"]
            }
        }
        if rules.isExternallyAccessible {
            var lines: [String] = []
            if rules.isExternalLocal {
                if let range { lines.append("\(family) saddr \(range) goto \(cluster) comment \"short-circuit pod traffic\"") }
                lines.append("fib saddr type local jump mark-for-masquerade comment \"masquerade local traffic\"")
                lines.append("fib saddr type local goto \(cluster) comment \"short-circuit local traffic\"")
                if !entry.local.isEmpty { lines.append("goto \(local)") }
            } else {
                lines = ["jump mark-for-masquerade", "goto \(cluster)"]
            }
            chains.append((external, lines))
        }
        if !entry.cluster.isEmpty { chains.append((cluster, (rules.isInternalLocal ? [] : marks) + balance(entry, entry.cluster))) }
        if !entry.local.isEmpty, rules.usesLocalEndpoints { chains.append((local, (rules.isInternalLocal ? marks : []) + balance(entry, entry.local))) }
        for list in [entry.cluster, entry.local] { for index in list { add(table.endpoints[index], entry) } }
    }

    private func balance(_ entry: ServiceTable.Entry, _ list: Range<Int>) -> [String] {
        let names = list.map { NFTablesNames.endpoint(entry.rules, table.endpoints[$0]) }
        let known = entry.rules.affinitySeconds == nil ? [] : names.map { "\(family) saddr @affinity-\($0) goto endpoint-\($0)" }
        return known + ["numgen random mod \(names.count) vmap { \(names.enumerated().map { "\($0) : goto endpoint-\($1)" }.joined(separator: ", ")) }"]
    }

    private mutating func add(_ endpoint: ServiceTable.Endpoint, _ entry: ServiceTable.Entry) {
        let name = NFTablesNames.endpoint(entry.rules, endpoint)
        guard written.insert(name).inserted else { return }
        var lines = ["\(family) saddr \(endpoint.address) jump mark-for-masquerade"]
        if let affinity = entry.rules.affinitySeconds {
            sets.append("\tset affinity-\(name) {\n\t\ttype \(addressType)\n\t\tsize 65535\n\t\tflags dynamic,timeout\n\t\ttimeout \(affinity)s\n\t}")
            lines.append("update @affinity-\(name) { \(family) saddr }")
        }
        lines.append("meta l4proto \(entry.rules.protocolName) dnat to \(endpoint.text)")
        chains.append(("endpoint-\(name)", lines))
    }
}
