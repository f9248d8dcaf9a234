/// How many iptables rules a packet is held against in kube-proxy's chains, had they been walked: one after the other up to its Service's, and all of them
/// where it goes to none. Only iptables mode has such chains.
public struct ServiceRuleCount: Sendable {
    private struct Places: Sendable {
        /// Rules before the entry's first: nat KUBE-SERVICES and KUBE-NODEPORTS, filter KUBE-SERVICES, KUBE-EXTERNAL-SERVICES and KUBE-PROXY-FIREWALL.
        var nat: UInt32 = 0, nodePorts: UInt32 = 0, filter: UInt32 = 0, external: UInt32 = 0, firewall: UInt32 = 0
    }
    private var places: [Places] = []
    private var totals = Places()
    private let affinities: [Bool]
    private let marks: UInt32
    private let healthChecks: UInt32

    /// Nil in the other modes.
    public init?(_ table: ServiceTable) {
        guard table.settings.mode == .iptables else { return nil }
        places.reserveCapacity(table.entries.count)
        for entry in table.entries {
            places.append(totals)
            let outside = UInt32(entry.rules.externalAddresses.count + entry.rules.loadBalancerAddresses.count)
            if entry.hasInternalEndpoints { totals.nat += 1 } else { totals.filter += 1 }
            if entry.hasEndpoints { totals.nat += outside }
            if !entry.hasExternalEndpoints { totals.external += outside + (entry.rules.nodePort != 0 ? 1 : 0) }
            if entry.hasEndpoints, entry.rules.nodePort != 0 { totals.nodePorts += 1 }
            if entry.hasEndpoints, entry.guardsSources { totals.firewall += UInt32(entry.rules.loadBalancerAddresses.count) }
        }
        affinities = table.entries.map { $0.rules.affinitySeconds != nil }
        marks = table.settings.masqueradeAll || !table.podRanges.isEmpty ? 1 : 0
        healthChecks = UInt32(table.healthCheckPorts.count)
    }

    /// Up to the rule that takes the packet out of one of the chains, that one included.
    public func dispatch(_ chain: ServiceChain, _ flow: ServiceFlow, in table: ServiceTable) -> Int {
        let frontend = table.frontend(flow.destination, flow.port, flow.proto)
        // Of a Service's own rules the ClusterIP's is the first, those of its other addresses follow.
        let own: UInt32 = frontend.map { $0.kind == .cluster ? 1 : 2 } ?? 0
        let count: UInt32
        switch chain {
        case .translate:
            if let frontend { count = places[Int(frontend.entry)].nat + own } else {
                // The rule for node ports is the last.
                var nodePorts: UInt32 = 0
                if flow.isDestinationLocal { nodePorts = table.nodePort(flow.port, flow.proto).map { places[Int($0.entry)].nodePorts + 1 } ?? totals.nodePorts }
                count = totals.nat + 1 + nodePorts
            }
        case .clusterAddresses: count = frontend.map { places[Int($0.entry)].filter + own } ?? totals.filter
        case .externalAddresses: count = frontend.map { places[Int($0.entry)].external + own } ?? totals.external
        case .firewall: count = frontend.map { places[Int($0.entry)].firewall + own } ?? totals.firewall
        case .healthChecks: count = healthChecks
        case .serviceEndpoints, .nodePortEndpoints, .unallocated, .ipvsMarks, .ipvsNodePortMarks: count = 0
        }
        return Int(count)
    }

    /// In the chain of a Service and in that of the endpoint at `chosen`: known clients first, then one rule an endpoint until one is drawn.
    public func balance(_ entry: Int, _ list: Range<Int>, _ chosen: Int, isMarked: Bool) -> Int {
        Int(marks) + (isMarked ? 1 : 0) + (affinities[entry] ? list.count : 0) + (chosen - list.lowerBound + 1) + 2
    }
}
