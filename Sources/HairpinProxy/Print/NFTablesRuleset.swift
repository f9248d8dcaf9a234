import HairpinWire

/// kube-proxy in nftables mode, as nft prints its table (pkg/proxy/nftables of kube-proxy 1.33): maps of verdicts, a chain per Service port and per
/// endpoint. The objects are made, their text is made of them.
extension ServiceTable {
    /// As `nft list ruleset` prints it; empty in the other modes.
    public func nftRuleset() -> [String] { NFTablesText.lines(nftObjects()) }

    /// The objects of `nft -j list ruleset`, without the one that tells nft's version; empty in the other modes. Handles count from one, as in a new table.
    public func nftObjects() -> [JSON] {
        guard settings.mode == .nftables else { return [] }
        var printer = NFTablesPrinter(table: self)
        return printer.objects()
    }
}

private struct NFTablesPrinter {
    let table: ServiceTable
    private var chains: [(name: String, rules: [JSON])] = []
    private var sets: [JSON] = []
    private var serviceIPs: [JSON] = []
    private var serviceNodePorts: [JSON] = []
    private var noEndpointServices: [JSON] = []
    private var noEndpointNodePorts: [JSON] = []
    private var firewallIPs: [JSON] = []
    private var written: Set<String> = []
    private var result: [JSON] = []
    private var rules: [JSON] = []
    private var handle = 0

    init(table: ServiceTable) { self.table = table }

    private var family: String { table.settings.isIPv4 ? "ip" : "ip6" }
    private var addressType: String { table.settings.isIPv4 ? "ipv4_addr" : "ipv6_addr" }

    mutating func objects() -> [JSON] {
        for entry in table.entries { add(entry) }
        result.append(object("table", [("name", .string("kube-proxy"))], comment: "rules for kube-proxy"))
        putSet("cluster-ips", table.clusterAddresses.sorted().map { .string("\($0)") }, comment: "Active ClusterIPs")
        let elsewhere = match(address("daddr"), "!=", prefix(table.settings.isIPv4 ? "127.0.0.0" : "::1", table.settings.isIPv4 ? 8 : 128))
        var dispatch = [match(.make([("fib", .make([("result", .string("type")), ("flags", .array([.string("daddr")]))]))]), "==", .string("local")), elsewhere]
        var dispatchOfNone = [elsewhere]
        if let ports = nodePortAddresses {
            putSet("nodeport-ips", ports, comment: "IPs that accept NodePort traffic")
            dispatch = [match(address("daddr"), "==", .string("@nodeport-ips"))]
            dispatchOfNone = dispatch
        }
        let triple = [addressType, "inet_proto", "inet_service"]
        let pair = ["inet_proto", "inet_service"]
        putMap("no-endpoint-services", triple, noEndpointServices, comment: "vmap to drop or reject packets to services with no endpoints")
        putMap("no-endpoint-nodeports", pair, noEndpointNodePorts, comment: "vmap to drop or reject packets to service nodeports with no endpoints")
        putMap("firewall-ips", triple, firewallIPs, comment: "destinations that are subject to LoadBalancerSourceRanges")
        putMap("service-ips", triple, serviceIPs, comment: "ClusterIP, ExternalIP and LoadBalancer IP traffic")
        putMap("service-nodeports", pair, serviceNodePorts, comment: "NodePort traffic")
        for set in sets { put(set) }
        let new = match(.make([("ct", .make([("key", .string("state"))]))]), "in", .string("new"))
        func jump(_ chain: String) -> JSON { statement("jump", .make([("target", .string(chain))])) }
        putBase("filter-prerouting", "filter", "prerouting", -110, [rule(new, jump("firewall-check"))])
        putBase("filter-input", "filter", "input", -110, [rule(new, jump("nodeport-endpoints-check")), rule(new, jump("service-endpoints-check"))])
        putBase("filter-forward", "filter", "forward", -110, [rule(new, jump("service-endpoints-check")), rule(new, jump("cluster-ips-check"))])
        putBase("filter-output", "filter", "output", -110, [rule(new, jump("service-endpoints-check")), rule(new, jump("firewall-check"))])
        putBase("filter-output-post-dnat", "filter", "output", -90, [rule(new, jump("cluster-ips-check"))])
        putBase("nat-prerouting", "nat", "prerouting", -100, [rule(jump("services"))])
        putBase("nat-output", "nat", "output", -100, [rule(jump("services"))])
        putBase("nat-postrouting", "nat", "postrouting", 100, [rule(jump("masquerading"))])
        let ranges = table.settings.serviceRanges.filter { $0.isIPv4 == table.settings.isIPv4 }.map { prefix("\($0.network)", $0.length) }
        var check = [rule(match(address("daddr"), "==", .string("@cluster-ips")), reject, comment: "Reject traffic to invalid ports of ClusterIPs")]
        if let first = ranges.first {
            let right = ranges.count == 1 ? first : .make([("set", .array(ranges))])
            check.append(rule(match(address("daddr"), "==", right), statement("drop"), comment: "Drop traffic to unallocated ClusterIPs"))
        }
        putChain("cluster-ips-check", check)
        let triplet = concat([address("daddr"), .make([("meta", .make([("key", .string("l4proto"))]))]), port])
        let duo = concat([.make([("meta", .make([("key", .string("l4proto"))]))]), port])
        putChain("firewall-check", [rule(verdicts(triplet, "firewall-ips"))])
        let mask = JSON.int(Int(ProxySettings.masqueradeMark))
        putChain("mark-for-masquerade", [rule(setMark(.make([("|", .array([mark, mask]))])))])
        putChain(
            "masquerading",
            [
                rule(match(.make([("&", .array([mark, mask]))]), "==", .int(0)), statement("return")), rule(setMark(.make([("^", .array([mark, mask]))]))),
                rule(statement("masquerade", .make([("flags", .string("fully-random"))]))),
            ])
        putChain("nodeport-endpoints-check", [.array(dispatchOfNone + [verdicts(duo, "no-endpoint-nodeports")])])
        putChain("reject-chain", [rule(reject)], comment: "helper for @no-endpoint-services / @no-endpoint-nodeports")
        putChain("service-endpoints-check", [rule(verdicts(triplet, "no-endpoint-services"))])
        putChain("services", [rule(verdicts(triplet, "service-ips")), .array(dispatch + [verdicts(duo, "service-nodeports")])])
        for (name, rules) in chains { putChain(name, rules) }
        return result + rules
    }

    // MARK: Objects

    /// With family, table and handle where they belong.
    private mutating func object(_ kind: String, _ members: [(String, JSON)], comment: String? = nil) -> JSON {
        handle += 1
        var all: [(String, JSON)] = [("family", .string(family))]
        if kind != "table" { all.append(("table", .string("kube-proxy"))) }
        all += members + [("handle", .int(handle))]
        if let comment { all.append(("comment", .string(comment))) }
        return .make([(kind, .make(all))])
    }

    private mutating func putSet(_ name: String, _ elements: [JSON], comment: String) {
        let one = elements.isEmpty ? [] : [("elem", JSON.array(elements))]
        put(.make([("set", .make([("name", .string(name)), ("type", .string(addressType)), ("comment", .string(comment))] + one))]))
    }
    private mutating func putMap(_ name: String, _ types: [String], _ elements: [JSON], comment: String) {
        let all = elements.isEmpty ? [] : [("elem", JSON.array(elements))]
        let type = ("type", JSON.array(types.map { .string($0) }))
        put(.make([("map", .make([("name", .string(name)), type, ("map", .string("verdict")), ("comment", .string(comment))] + all))]))
    }
    /// A set or a map that has everything but family, table and handle.
    private mutating func put(_ set: JSON) {
        guard case .object(let kinds) = set, let kind = kinds.first, case .object(let members) = kind.value else { preconditionFailure("a set is an object") }
        result.append(object(kind.name, members.map { ($0.name, $0.value) }))
    }
    private mutating func putBase(_ name: String, _ type: String, _ hook: String, _ priority: Int, _ rules: [JSON]) {
        let members = [("name", JSON.string(name)), ("type", .string(type)), ("hook", .string(hook)), ("prio", .int(priority)), ("policy", .string("accept"))]
        result.append(object("chain", members))
        putRules(name, rules)
    }
    private mutating func putChain(_ name: String, _ rules: [JSON], comment: String? = nil) {
        result.append(object("chain", [("name", .string(name))], comment: comment))
        putRules(name, rules)
    }
    /// A rule is its statements, or an object that has a comment beside them.
    private mutating func putRules(_ chain: String, _ list: [JSON]) {
        for one in list {
            let statements = one["expr"] ?? one
            rules.append(object("rule", [("chain", .string(chain)), ("expr", statements)], comment: one["comment"]?.string))
        }
    }

    // MARK: Statements

    private func statement(_ name: String, _ body: JSON = .null) -> JSON { .make([(name, body)]) }
    private func rule(_ statements: JSON..., comment: String? = nil) -> JSON {
        comment.map { .make([("expr", .array(statements)), ("comment", .string($0))]) } ?? .array(statements)
    }
    private func match(_ left: JSON, _ op: String, _ right: JSON) -> JSON { statement("match", .make([("op", .string(op)), ("left", left), ("right", right)])) }
    private func payload(_ proto: String, _ field: String) -> JSON { .make([("payload", .make([("protocol", .string(proto)), ("field", .string(field))]))]) }
    private func address(_ field: String) -> JSON { payload(family, field) }
    private var port: JSON { payload("th", "dport") }
    private var mark: JSON { .make([("meta", .make([("key", .string("mark"))]))]) }
    private func concat(_ parts: [JSON]) -> JSON { .make([("concat", .array(parts))]) }
    private func prefix(_ address: String, _ length: Int) -> JSON {
        length == (table.settings.isIPv4 ? 32 : 128) ? .string(address) : .make([("prefix", .make([("addr", .string(address)), ("len", .int(length))]))])
    }
    private func verdicts(_ key: JSON, _ map: String) -> JSON { statement("vmap", .make([("key", key), ("data", .string("@" + map))])) }
    private var reject: JSON { statement("reject", .make([("type", .string(table.settings.isIPv4 ? "icmp" : "icmpv6")), ("expr", .string("port-unreachable"))])) }
    private func setMark(_ value: JSON) -> JSON { statement("mangle", .make([("key", mark), ("value", value)])) }
    private func to(_ verb: String, _ chain: String) -> JSON { statement(verb, .make([("target", .string(chain))])) }

    /// The node's addresses that take node ports; nil for every local one.
    private var nodePortAddresses: [JSON]? {
        guard let ranges = table.settings.nodePortAddresses else { return [.string("\(table.settings.nodeAddress)")] }
        let own = ranges.filter { $0.isIPv4 == table.settings.isIPv4 }
        if own.isEmpty || own.contains(where: \.isEverything) { return nil }
        return own.filter { !$0.network.isLoopback }.map { prefix("\($0.network)", $0.length) }
    }

    // MARK: Services

    private mutating func add(_ entry: ServiceTable.Entry) {
        let rules = entry.rules
        let name = rules.name
        let cluster = table.chainName(entry, .cluster)
        let local = table.chainName(entry, .local)
        let external = table.chainName(entry, .external)
        let firewall = table.chainName(entry, .firewall)
        func key(_ address: ServiceAddress) -> JSON { concat([.string("\(address)"), .string(rules.protocolName), .int(Int(rules.port))]) }
        let nodePort = concat([.string(rules.protocolName), .int(Int(rules.nodePort))])
        func commented(_ key: JSON) -> JSON { .make([("elem", .make([("val", key), ("comment", .string(name))]))]) }
        let nowhere = entry.hasEndpoints ? statement("drop") : to("goto", "reject-chain")
        if entry.hasInternalEndpoints {
            serviceIPs.append(.array([key(rules.clusterAddress), to("goto", rules.isInternalLocal ? local : cluster)]))
        } else {
            noEndpointServices.append(.array([commented(key(rules.clusterAddress)), nowhere]))
        }
        for address in rules.externalAddresses + rules.loadBalancerAddresses {
            if entry.hasEndpoints { serviceIPs.append(.array([key(address), to("goto", external)])) }
            if !entry.hasExternalEndpoints { noEndpointServices.append(.array([commented(key(address)), nowhere])) }
        }
        if rules.nodePort != 0 {
            if entry.hasEndpoints { serviceNodePorts.append(.array([nodePort, to("goto", external)])) }
            if !entry.hasExternalEndpoints { noEndpointNodePorts.append(.array([commented(nodePort), nowhere])) }
        }
        if entry.guardsSources {
            for address in rules.loadBalancerAddresses { firewallIPs.append(.array([commented(key(address)), to("goto", firewall)])) }
            let allowed =
                rules.sourceRanges.map { prefix("\($0.network)", $0.length) }
                + (rules.sourceRanges.contains { $0.contains(table.settings.nodeAddress) } ? rules.loadBalancerAddresses.map { .string("\($0)") } : [])
            chains.append((firewall, [rule(match(address("saddr"), "!=", allowed.count == 1 ? allowed[0] : .make([("set", .array(allowed))])), statement("drop"))]))
        }
        guard entry.hasEndpoints else { return }
        addChains(entry, cluster: cluster, local: local, external: external)
        for list in [entry.cluster, entry.local] { for index in list { add(table.endpoints[index], entry) } }
    }

    private mutating func addChains(_ entry: ServiceTable.Entry, cluster: String, local: String, external: String) {
        let rules = entry.rules
        let range = table.settings.podRanges.first { $0.isIPv4 == table.settings.isIPv4 }.map { prefix("\($0.network)", $0.length) }
        var marks: [JSON] = []
        if entry.hasInternalEndpoints {
            let destination = [
                match(address("daddr"), "==", .string("\(rules.clusterAddress)")), match(payload(rules.protocolName, "dport"), "==", .int(Int(rules.port))),
            ]
            let mark = to("jump", "mark-for-masquerade")
            if table.settings.masqueradeAll { marks = [.array(destination + [mark])] } else if let range {
                marks = [.array(destination + [match(address("saddr"), "!=", range), mark])]
            }
        }
        if rules.isExternallyAccessible {
            var lines: [JSON] = []
            if rules.isExternalLocal {
                if let range { lines.append(rule(match(address("saddr"), "==", range), to("goto", cluster), comment: "short-circuit pod traffic")) }
                let fib = JSON.make([("fib", .make([("result", .string("type")), ("flags", .array([.string("saddr")]))]))])
                let isLocal = match(fib, "==", .string("local"))
                lines.append(rule(isLocal, to("jump", "mark-for-masquerade"), comment: "masquerade local traffic"))
                lines.append(rule(isLocal, to("goto", cluster), comment: "short-circuit local traffic"))
                if !entry.local.isEmpty { lines.append(rule(to("goto", local))) }
            } else {
                lines = [rule(to("jump", "mark-for-masquerade")), rule(to("goto", cluster))]
            }
            chains.append((external, lines))
        }
        if !entry.cluster.isEmpty { chains.append((cluster, (rules.isInternalLocal ? [] : marks) + balance(entry, entry.cluster))) }
        if !entry.local.isEmpty, rules.usesLocalEndpoints { chains.append((local, (rules.isInternalLocal ? marks : []) + balance(entry, entry.local))) }
    }

    private func balance(_ entry: ServiceTable.Entry, _ list: Range<Int>) -> [JSON] {
        let names = list.map { NFTablesNames.endpoint(entry.rules, table.endpoints[$0]) }
        let known = entry.rules.affinitySeconds == nil
            ? [] : names.map { rule(match(address("saddr"), "==", .string("@affinity-\($0)")), to("goto", "endpoint-\($0)")) }
        let draw = JSON.make([("numgen", .make([("mode", .string("random")), ("mod", .int(names.count)), ("offset", .int(0))]))])
        let choices = names.enumerated().map { JSON.array([.int($0), to("goto", "endpoint-\($1)")]) }
        return known + [rule(statement("vmap", .make([("key", draw), ("data", .make([("set", .array(choices))]))])))]
    }

    private mutating func add(_ endpoint: ServiceTable.Endpoint, _ entry: ServiceTable.Entry) {
        let name = NFTablesNames.endpoint(entry.rules, endpoint)
        guard written.insert(name).inserted else { return }
        var lines = [rule(match(address("saddr"), "==", .string("\(endpoint.address)")), to("jump", "mark-for-masquerade"))]
        if let affinity = entry.rules.affinitySeconds {
            let flags = JSON.array([.string("timeout"), .string("dynamic")])
            sets.append(
                .make([
                    ("set", .make([("name", .string("affinity-\(name)")), ("type", .string(addressType)), ("size", .int(65535)), ("flags", flags), ("timeout", .int(affinity))]))
                ]))
            lines.append(rule(statement("set", .make([("op", .string("update")), ("elem", address("saddr")), ("set", .string("@affinity-\(name)"))]))))
        }
        let proto = match(.make([("meta", .make([("key", .string("l4proto"))]))]), "==", .string(entry.rules.protocolName))
        lines.append(rule(proto, statement("dnat", .make([("addr", .string("\(endpoint.address)")), ("port", .int(Int(endpoint.port)))]))))
        chains.append(("endpoint-\(name)", lines))
    }
}
