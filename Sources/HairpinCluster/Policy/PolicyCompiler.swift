import HairpinPolicy
import HairpinWire

extension ClusterPlan {
    /// The NetworkPolicies as pods and labels stand now, with their selectors resolved: what nodes enforce and what reachability asks.
    ///
    /// Pods without an address are in no table. Cost: policies × pods for the isolation, rules × pods for the peers.
    public func policyTable() -> PolicyTable {
        let ordered = networkPolicies.sorted { $0.key < $1.key }
        let addressed = pods.filter { $0.address != nil && $0.node != nil }
        var result = addressed.map { pod in
            let node = pod.node.flatMap(node)
            return PolicyPod(
                name: pod.key.description, address: pod.address!, node: pod.node!, nodeAddresses: node.map { [$0.address, $0.gateway] } ?? [],
                ports: pod.namedPorts.map { PolicyNamedPort(name: $0.name, proto: $0.proto.number, number: $0.number) })
        }
        for (number, policy) in ordered.enumerated() {
            let rules = Dictionary(uniqueKeysWithValues: PolicyDirection.allCases.map { ($0, compile(policy, number: number, $0, addressed)) })
            for (index, pod) in addressed.enumerated()
            where pod.metadata.namespace == policy.metadata.namespace && policy.podSelector.matches(pod.labels) {
                for direction in policy.directions { result[index].isolate(direction, by: number, rules[direction] ?? []) }
            }
        }
        var table: [String] = ordered.map(\.key.description)
        var ruleNames: [PolicyRuleKey: String] = [:]
        for policy in orderedAdminPolicies { compile(policy, addressed, &result, &table, &ruleNames) }
        var compiled = PolicyTable(policies: table, pods: result)
        compiled.ruleNames = ruleNames
        return compiled
    }

    /// By priority, then by name, the baseline last. Equal priorities are undefined in the API.
    private var orderedAdminPolicies: [AdminNetworkPolicy] {
        func rank(_ policy: AdminNetworkPolicy) -> Int { if case .admin(let priority) = policy.tier { priority } else { .max } }
        return adminPolicies.sorted { (rank($0), $0.metadata.name) < (rank($1), $1.metadata.name) }
    }

    private func compile(
        _ policy: AdminNetworkPolicy, _ pods: [PlannedPod], _ result: inout [PolicyPod], _ names: inout [String], _ ruleNames: inout [PolicyRuleKey: String]
    ) {
        let number = names.count
        names.append(policy.shortName)
        for direction in PolicyDirection.allCases {
            var rules: [PolicyTierRule] = []
            for (place, rule) in policy.rules(direction).enumerated() {
                if !rule.name.isEmpty { ruleNames[PolicyRuleKey(policy: number, rule: place, direction: direction)] = rule.name }
                var ports: [PolicyPort] = []
                for port in rule.ports {
                    switch port {
                    case .range(let proto, let range): ports.append(PolicyPort(proto.number, .range(range)))
                    case .named(let name): for proto in PortProtocol.allCases { ports.append(PolicyPort(proto.number, .named(name))) }
                    }
                }
                rules.append(PolicyTierRule(PolicyRule(policy: number, number: place, peers: peers(rule, pods), ports: ports), rule.action))
            }
            if rules.isEmpty { continue }
            for (index, pod) in pods.enumerated() where policy.isAbout(pod.labels, namespace: namespaceLabels[pod.metadata.namespace] ?? [:]) {
                switch (direction, policy.isBaseline) {
                case (.ingress, false): result[index].tiers.adminIngress += rules
                case (.egress, false): result[index].tiers.adminEgress += rules
                case (.ingress, true): result[index].tiers.baselineIngress += rules
                case (.egress, true): result[index].tiers.baselineEgress += rules
                }
            }
        }
    }

    private func peers(_ rule: AdminNetworkPolicy.Rule, _ pods: [PlannedPod]) -> PolicyPeers {
        var addresses: Set<IPv4Address> = []
        var blocks: [PolicyBlock] = []
        for peer in rule.peers {
            switch peer {
            case .networks(let networks): for network in networks { blocks.append(PolicyBlock(network)) }
            case .nodes(let selector): for node in nodes where selector.matches(node.labels) { addresses.formUnion([node.address, node.gateway]) }
            case .pods(let selector, let namespaces):
                for pod in pods where namespaces.matches(namespaceLabels[pod.metadata.namespace] ?? [:]) && selector?.matches(pod.labels) ?? true {
                    if let address = pod.address { addresses.insert(address) }
                }
            }
        }
        return .some(addresses: addresses, blocks: blocks)
    }

    private func compile(_ policy: NetworkPolicy, number: Int, _ direction: PolicyDirection, _ pods: [PlannedPod]) -> [PolicyRule] {
        policy.rules(direction).enumerated().map { place, rule in
            let ports = rule.ports.map { port in
                let numbers: PolicyPort.Numbers =
                    switch port.port {
                    case nil: .all
                    case .name(let name): .named(name)
                    case .number(let first): .range(first...(port.endPort ?? first))
                    }
                return PolicyPort(port.proto.number, numbers)
            }
            return PolicyRule(policy: number, number: place, peers: peers(rule, of: policy, pods), ports: ports)
        }
    }

    private func peers(_ rule: NetworkPolicy.Rule, of policy: NetworkPolicy, _ pods: [PlannedPod]) -> PolicyPeers {
        if rule.peers.isEmpty { return .anyone }
        var addresses: Set<IPv4Address> = []
        var blocks: [PolicyBlock] = []
        for peer in rule.peers {
            switch peer {
            case .nothing: continue
            case .block(let block): blocks.append(block)
            case .pods(let selector, let namespaces):
                let known = namespaces.map { selector in Set(namespaceLabels.filter { selector.matches($0.value) }.keys) } ?? [policy.metadata.namespace]
                for pod in pods where known.contains(pod.metadata.namespace) && selector?.matches(pod.labels) ?? true {
                    if let address = pod.address { addresses.insert(address) }
                }
            }
        }
        return .some(addresses: addresses, blocks: blocks)
    }
}

extension PolicyPod {
    fileprivate mutating func isolate(_ direction: PolicyDirection, by policy: Int, _ rules: [PolicyRule]) {
        func add(to isolation: PolicyIsolation?) -> PolicyIsolation {
            PolicyIsolation(policies: (isolation?.policies ?? []) + [policy], rules: (isolation?.rules ?? []) + rules)
        }
        if direction == .egress { egress = add(to: egress) } else { ingress = add(to: ingress) }
    }
}

extension PlannedPod {
    /// The container ports that have a name, sidecars included.
    fileprivate var namedPorts: [(name: String, proto: PortProtocol, number: UInt16)] {
        containerPorts.compactMap { port in port.name.map { ($0, port.proto, port.port) } }
    }
    /// Every port its containers declare, sidecars included.
    var containerPorts: [ContainerPort] { (template.containers + template.initContainers.filter(\.isSidecar)).flatMap(\.ports) }
}
