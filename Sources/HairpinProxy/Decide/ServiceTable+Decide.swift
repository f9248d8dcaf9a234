extension ServiceTable {
    @inline(__always)
    private func isPod(_ address: ServiceAddress) -> Bool {
        for index in podRanges.indices where podRanges[index].contains(address) { return true }
        return false
    }

    // MARK: nat

    /// KUBE-SERVICES of the nat table, or nftables' "services": the ClusterIP's chain, the external chain, and node ports last.
    public func translate(_ flow: ServiceFlow, path: RulePath? = nil) -> ServiceTranslation {
        if let frontend = frontend(flow.destination, flow.port, flow.proto) {
            let choice = frontend.choice
            let number = Int(choice.entry)
            if frontend.kind == .cluster {
                if choice.hasInternalEndpoints {
                    path?.add(dispatchName(entries[number], choice.isInternalLocal ? .local : .cluster, flow.destination, "cluster IP"))
                    let marked = settings.masqueradeAll || (!podRanges.isEmpty && !isPod(flow.source))
                    if marked { path?.add(markName) }
                    return .endpoints(choice, list: choice.isInternalLocal ? choice.local : choice.cluster, isMarked: marked)
                }
            } else if choice.hasEndpoints, isNFT || frontend.kind != .loadBalancer || !choice.guardsSources || allows(entries[number], flow.source, path) {
                path?.add(dispatchName(entries[number], .external, flow.destination, frontend.kind == .external ? "external IP" : "loadbalancer IP"))
                if let found = external(choice, flow, path) { return found }
            }
        }
        guard flow.isDestinationLocal, acceptsNodePorts(flow), let frontend = nodePort(flow.port, flow.proto) else { return .none }
        guard frontend.choice.hasEndpoints else { return .none }
        if let path {
            let name = chainName(entries[Int(frontend.entry)], .external)
            path.add(isNFT ? "services: @service-nodeports -> goto \(name)" : "KUBE-SERVICES -> KUBE-NODEPORTS -> \(name)")
        }
        return external(frontend.choice, flow, path) ?? .none
    }

    /// The external chain; nil if the packet comes to its end and goes on where it came from.
    private func external(_ choice: Choice, _ flow: ServiceFlow, _ path: RulePath?) -> ServiceTranslation? {
        let number = Int(choice.entry)
        guard choice.isExternalLocal else {
            path?.add(markName)
            path?.add(chainName(entries[number], .cluster))
            return .endpoints(choice, list: choice.cluster, isMarked: true)
        }
        if isPod(flow.source) {
            path?.add("\(chainName(entries[number], .external)): pod traffic -> \(chainName(entries[number], .cluster))")
            return .endpoints(choice, list: choice.cluster, isMarked: false)
        }
        if flow.isSourceLocal {
            path?.add("\(chainName(entries[number], .external)): LOCAL traffic, \(markName) -> \(chainName(entries[number], .cluster))")
            return .endpoints(choice, list: choice.cluster, isMarked: true)
        }
        guard !choice.local.isEmpty else { return nil }
        path?.add(chainName(entries[number], .local))
        return .endpoints(choice, list: choice.local, isMarked: false)
    }

    /// loadBalancerSourceRanges. A node whose own address is in them may come back with a load balancer's address as its source.
    func allows(_ entry: Entry, _ source: ServiceAddress, _ path: RulePath?) -> Bool {
        guard entry.guardsSources else { return true }
        if entry.rules.sourceRanges.contains(where: { $0.contains(source) }) { return true }
        if entry.rules.sourceRanges.contains(where: { $0.contains(settings.nodeAddress) }), entry.rules.loadBalancerAddresses.contains(source) { return true }
        path?.add("\(chainName(entry, .firewall)): \(source) is in no loadBalancerSourceRanges")
        return false
    }

    /// Whether packets to this destination are looked up among node ports.
    public func acceptsNodePorts(_ flow: ServiceFlow) -> Bool { flow.isDestinationLocal && isNodePortAddress(flow.destination) }

    /// Whether this address of the node is one of node ports.
    func isNodePortAddress(_ address: ServiceAddress) -> Bool {
        if address.isLoopback {
            // Neither nftables nor IPv6 routes what comes from a loopback address; iptables needs route_localnet for it.
            guard settings.mode == .iptables, settings.localhostNodePorts, address.ipv4 != nil else { return false }
        }
        return nodePortRanges?.contains { $0.contains(address) } ?? (!isNFT || address == settings.nodeAddress)
    }

    /// The marks of IPVS mode's ipsets.
    func ipvsMarks(_ flow: ServiceFlow, nodePorts: Bool) -> ServiceTranslation {
        if nodePorts {
            guard let frontend = nodePort(flow.port, flow.proto), !frontend.choice.isExternalLocal else { return .none }
            return .mark
        }
        guard let frontend = frontend(flow.destination, flow.port, flow.proto) else { return .none }
        if frontend.kind == .cluster { return settings.masqueradeAll || !podRanges.isEmpty && !isPod(flow.source) ? .mark : .none }
        return frontend.choice.isExternalLocal ? .none : .mark
    }

    /// Any of the nat chains.
    public func translation(_ chain: ServiceChain, _ flow: ServiceFlow) -> ServiceTranslation {
        switch chain {
        case .translate: translate(flow)
        case .ipvsMarks: ipvsMarks(flow, nodePorts: false)
        case .ipvsNodePortMarks: ipvsMarks(flow, nodePorts: true)
        default: .none
        }
    }

    // MARK: filter

    /// Any of the filter chains. Destinations are those after translation, where there was one.
    public func verdict(_ chain: ServiceChain, _ flow: ServiceFlow, path: RulePath? = nil) -> ServiceVerdict {
        switch chain {
        case .firewall: return firewall(flow, path)
        case .clusterAddresses:
            guard let frontend = frontend(flow.destination, flow.port, flow.proto), frontend.kind == .cluster else { return .none }
            return unreachable(frontend.choice, isInternal: true, "KUBE-SERVICES", path)
        case .externalAddresses:
            if let frontend = frontend(flow.destination, flow.port, flow.proto), frontend.kind != .cluster {
                let verdict = unreachable(frontend.choice, isInternal: false, "KUBE-EXTERNAL-SERVICES", path)
                if verdict != .none { return verdict }
            }
            guard flow.isDestinationLocal, let frontend = nodePort(flow.port, flow.proto) else { return .none }
            return unreachable(frontend.choice, isInternal: false, "KUBE-EXTERNAL-SERVICES", path)
        case .healthChecks:
            guard flow.proto == 6, healthCheckPorts.contains(flow.port) else { return .none }
            path?.add("KUBE-NODEPORTS: health check node port \(flow.port) ACCEPT")
            return .accept
        case .serviceEndpoints:
            guard let frontend = frontend(flow.destination, flow.port, flow.proto) else { return .none }
            return unreachable(frontend.choice, isInternal: frontend.kind == .cluster, "service-endpoints-check: @no-endpoint-services", path)
        case .nodePortEndpoints:
            guard acceptsNodePorts(flow), let frontend = nodePort(flow.port, flow.proto) else { return .none }
            return unreachable(frontend.choice, isInternal: false, "nodeport-endpoints-check: @no-endpoint-nodeports", path)
        case .unallocated:
            if clusterAddresses.contains(flow.destination) {
                path?.add("cluster-ips-check: no such port of an active ClusterIP, reject")
                return .reject
            }
            guard settings.serviceRanges.contains(where: { $0.contains(flow.destination) }) else { return .none }
            path?.add("cluster-ips-check: not an active ClusterIP, drop")
            return .drop
        case .translate, .ipvsMarks, .ipvsNodePortMarks: return .none
        }
    }

    private func firewall(_ flow: ServiceFlow, _ path: RulePath?) -> ServiceVerdict {
        guard let frontend = frontend(flow.destination, flow.port, flow.proto), frontend.kind == .loadBalancer else { return .none }
        guard frontend.choice.guardsSources else { return .none }
        let entry = entries[Int(frontend.entry)]
        if isNFT {
            guard !allows(entry, flow.source, path) else { return .none }
        } else {
            // What was let through has been translated by now and has another destination.
            guard entry.hasEndpoints else { return .none }
            path?.add("KUBE-PROXY-FIREWALL: \(entry.rules.name) traffic not accepted by \(chainName(entry, .firewall)) DROP")
        }
        return .drop
    }

    private func unreachable(_ choice: Choice, isInternal: Bool, _ chain: String, _ path: RulePath?) -> ServiceVerdict {
        if !choice.hasEndpoints {
            path?.add("\(chain): \(entries[Int(choice.entry)].rules.name) has no endpoints REJECT")
            return .reject
        }
        if isInternal ? choice.hasInternalEndpoints : choice.hasExternalEndpoints { return .none }
        path?.add("\(chain): \(entries[Int(choice.entry)].rules.name) has no local endpoints DROP")
        return .drop
    }

    // MARK: Names

    enum ChainRole { case cluster, local, external, firewall }
    private var markName: String { isNFT ? "mark-for-masquerade" : "KUBE-MARK-MASQ" }

    /// "KUBE-SVC-…", or "service-…" in nftables mode.
    func chainName(_ entry: Entry, _ role: ChainRole) -> String {
        if isNFT {
            let base = NFTablesNames.base(entry.rules)
            return switch role {
            case .cluster: "service-" + base
            case .local: "local-" + base
            case .external: "external-" + base
            case .firewall: "firewall-" + base
            }
        }
        let suffix = IPTablesNames.suffix(entry.rules.name + entry.rules.protocolName)
        return switch role {
        case .cluster: "KUBE-SVC-" + suffix
        case .local: "KUBE-SVL-" + suffix
        case .external: "KUBE-EXT-" + suffix
        case .firewall: "KUBE-FW-" + suffix
        }
    }

    private func dispatchName(_ entry: Entry, _ role: ChainRole, _ address: ServiceAddress, _ comment: String) -> String {
        isNFT
            ? "services: @service-ips \(address) . \(entry.rules.protocolName) . \(entry.rules.port) -> goto \(chainName(entry, role))"
            : "KUBE-SERVICES: \(entry.rules.name) \(comment) -> \(chainName(entry, role))"
    }
}
