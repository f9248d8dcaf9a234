import HairpinCluster
import HairpinDatapath
import HairpinProxy
import HairpinWire

extension ServiceTracing {
    /// On a node with rules of a real one: every outcome of walking them, with the rules by their lines.
    func traceRules(
        _ rules: NodeRules, at node: PlannedNode, from source: Source, to address: ServiceAddress, _ port: UInt16, _ words: String, proto: UInt8
    ) throws(Failure) -> TraceResult {
        guard let from = source.address.ipv4, let to = address.ipv4 else { throw Failure(.usage, "rules of a node are IPv4's: write IPv4 addresses") }
        guard let set = world.simulation.ruleSet(of: node.name) else { throw Failure(.notFound, "there is no node \"\(node.name)\"") }
        let isFromHere = source.isNode && self.node(of: source)?.name == node.name
        var packet = TracedPacket(source: from, destination: to, proto: proto, sourcePort: 40_000, destinationPort: port)
        let ports = podPorts(on: node)
        if !isFromHere {
            let own = ports[from]
            packet.input = inputInterface ?? (own != nil || node.podCIDR.contains(from) ? "cni0" : "eth0")
            packet.physicalInput = inputInterface == nil ? own ?? "" : ""
        }
        let surroundings = surroundings(of: node, ports)
        var tracer = RuleTracer(set, surroundings)
        let outcomes = merge(tracer.trace(packet, isFromHere: isFromHere))
        var result = result(outcomes, rules, node, source, to: to, words, proto: proto)
        result.hint = hint(set, surroundings, packet, isFromHere: isFromHere, outcomes)
        return result
    }

    /// A dump does not say what addresses its node has. Where the packet would be sent to endpoints if its destination were one, that is worth telling.
    private func hint(_ set: RuleSet, _ surroundings: TraceSurroundings, _ packet: TracedPacket, isFromHere: Bool, _ outcomes: [TraceOutcome]) -> String? {
        guard !surroundings.isLocal(packet.destination, nil), outcomes.allSatisfy({ $0.translated == nil }) else { return nil }
        var own = surroundings
        own.isLocal = { address, interface in address == packet.destination || surroundings.isLocal(address, interface) }
        var tracer = RuleTracer(set, own)
        let others = merge(tracer.trace(packet, isFromHere: isFromHere))
        var targets: [String] = []
        for outcome in others where outcome.translated != nil { targets.append("\(outcome.destination):\(outcome.destinationPort)") }
        guard let first = targets.first else { return nil }
        let more = targets.count > 1 ? " or \(targets.count - 1) more" : ""
        return "if \(packet.destination) is an address of the node itself, add --local-address \(packet.destination): the packet then goes to \(first)\(more)"
    }

    /// The node's ends of its pods' cables, by the pods' addresses.
    private func podPorts(on node: PlannedNode) -> [IPv4Address: String] {
        var ports: [IPv4Address: String] = [:]
        for pod in world.plan.pods where pod.node == node.name {
            if let address = pod.address { ports[address] = world.plan.vethName(of: pod) }
        }
        return ports
    }

    private func surroundings(of node: PlannedNode, _ ports: [IPv4Address: String]) -> TraceSurroundings {
        let own: [IPv4Address: String] = [node.address: "eth0", node.gateway: "cni0"]
        var extra = Set(localAddresses)
        // kube-ipvs0 has every virtual address.
        for server in world.simulation.virtualAddresses(of: node.name) { extra.insert(server) }
        let locals = extra
        let podCIDR = node.podCIDR
        let output = outputInterface
        let input = inputInterface
        var result = TraceSurroundings(
            isLocal: { address, interface in
                if address.isLoopback { return interface == nil || interface == "lo" }
                if locals.contains(address) { return true }
                guard let device = own[address] else { return false }
                return interface.map { $0 == device } ?? true
            },
            way: { address in
                if let output { return (output, "") }
                return podCIDR.contains(address) ? ("cni0", ports[address] ?? "") : ("eth0", "")
            })
        let last = IPv4Address(rawValue: podCIDR.network.rawValue | ~IPv4Prefix.mask(podCIDR.length))
        result.isBroadcast = { $0 == last }
        let (outer, inner) = (node.address, node.gateway)
        result.masqueradeAddress = { $0 == "cni0" ? inner : outer }
        result.isWayBack = { source, device, loose, acceptsLocal in
            if source.isLoopback || own[source] != nil || locals.contains(source) { return acceptsLocal }
            return loose || input != nil || device == (podCIDR.contains(source) ? "cni0" : "eth0")
        }
        return result
    }

    /// Outcomes that differ in nothing a person would see are one.
    private func merge(_ outcomes: [TraceOutcome]) -> [TraceOutcome] {
        var result: [TraceOutcome] = []
        for outcome in outcomes {
            var isKnown = false
            for index in result.indices
            where result[index].verdict == outcome.verdict && result[index].rule == outcome.rule && result[index].translated == outcome.translated
                && result[index].masqueraded == outcome.masqueraded && result[index].destination == outcome.destination && result[index].path == outcome.path
            {
                result[index].probability += outcome.probability
                isKnown = true
                break
            }
            if !isKnown { result.append(outcome) }
        }
        return result
    }

    private func result(
        _ outcomes: [TraceOutcome], _ rules: NodeRules, _ node: PlannedNode, _ source: Source, to: IPv4Address, _ words: String, proto: UInt8
    ) -> TraceResult {
        func named(_ reference: RuleReference) -> TraceResult.Rule {
            let isNative = reference.table.contains(" ")
            return TraceResult.Rule(
                file: isNative ? rules.nftFile : rules.file, line: reference.line, handle: reference.handle, table: reference.table, chain: reference.chain,
                text: (isNative || reference.isPolicy ? "" : "-A ") + "\(reference.chain) \(reference.text)")
        }
        func word(_ verdict: TraceOutcome.Verdict) -> String {
            switch verdict {
            case .accept: "ACCEPT"
            case .drop: "DROP"
            case .reject: "REJECT"
            }
        }
        // What every packet meets is the path; what only some meet belongs to their endpoints.
        var common = outcomes.first?.path ?? []
        for outcome in outcomes.dropFirst() {
            let own = Set(outcome.path)
            common.removeAll { !own.contains($0) }
        }
        let shared = Set(common)
        let pods = podsByAddress()
        var endpoints: [TraceResult.Endpoint] = []
        for outcome in outcomes where outcome.translated != nil {
            let pod = pods[ServiceAddress(outcome.destination)]
            var lines: [TraceResult.Rule] = []
            if let translated = outcome.translated { lines.append(named(translated)) }
            for reference in outcome.path where !shared.contains(reference) && reference != outcome.translated { lines.append(named(reference)) }
            var endpoint = TraceResult.Endpoint(
                address: outcome.destination.description, port: outcome.destinationPort, pod: pod?.key.description, node: pod?.node, probability: outcome.probability,
                masqueraded: outcome.masqueraded != nil)
            (endpoint.verdict, endpoint.rules) = (word(outcome.verdict), lines)
            endpoints.append(endpoint)
        }
        var deciding = Set<RuleReference?>()
        var verdicts = Set<TraceOutcome.Verdict>()
        for outcome in outcomes {
            // A policy that drops decides; one that accepts only where nothing else did.
            deciding.insert(outcome.rule ?? (outcome.verdict == .drop ? outcome.policy : nil) ?? outcome.translated ?? outcome.policy)
            verdicts.insert(outcome.verdict)
        }
        let isRefused = !verdicts.contains(.accept)
        let decided = deciding.count == 1 ? deciding.first ?? nil : nil
        var verdict = "NONE"
        if isRefused, let first = outcomes.first { verdict = word(first.verdict) } else if !endpoints.isEmpty { verdict = "ENDPOINT" } else if outcomes.contains(where: {
            $0.rule != nil
        }) {
            verdict = "ACCEPT"
        }
        let service = world.plan.services.first { $0.clusterAddress == to }?.key.description
        var isMasqueraded = false
        for outcome in outcomes where outcome.masqueraded != nil { isMasqueraded = true }
        return TraceResult(
            from: source.words, to: words, protocol: proto == 17 ? "udp" : proto == 132 ? "sctp" : "tcp", proxyMode: rules.name, node: node.name, verdict: verdict,
            service: service, masqueraded: isMasqueraded, affinitySeconds: nil, endpoints: endpoints,
            path: common.map { "\(node.name): \(named($0).place): \($0.table) \(named($0).text)" }, decidedBy: decided.map(named))
    }
}
