import HairpinEngine
import HairpinPolicy
import HairpinProxy
import HairpinWire

// What iptables-restore, iptables, iptables-save, conntrack and ipvsadm do to a namespace.
extension LogicalProcess {
    /// Replaces the rule set by lines in `iptables-save` form.
    public func setRules(_ lines: [String], namespace index: NamespaceIndex) throws(RuleError) {
        try namespace(index).pointee.netfilter.made.pointee.restore(lines)
    }

    /// Replaces the rule set by one that was read elsewhere, with its sets.
    public func setRules(_ rules: RuleSet, namespace index: NamespaceIndex) { namespace(index).pointee.netfilter.made.pointee.replaceRules(rules) }

    /// The tables of nftables as `nft -j list ruleset` prints them, without the object that tells nft's version: kube-proxy's own, and those of a dump.
    public func nftables(namespace index: NamespaceIndex) -> [JSON] {
        (services(namespace: index)?.nftObjects() ?? []) + ruleSet(namespace: index).nftablesListing(now: now.nanoseconds)
    }

    /// The rule set itself, to be asked what it would do.
    public func ruleSet(namespace index: NamespaceIndex) -> RuleSet { namespace(index).pointee.netfilter.made.pointee.currentRules() }

    /// Processor time for every iptables rule that a packet is held against, as if none were found by hashing.
    public func setRuleCost(_ cost: Duration, namespace index: NamespaceIndex) {
        namespace(index).pointee.netfilter.made.pointee.setRuleCost(cost.nanoseconds)
    }

    /// Runs one `iptables …` command.
    public func applyRuleCommand(_ words: [String], namespace index: NamespaceIndex) throws(RuleError) {
        try namespace(index).pointee.netfilter.made.pointee.apply(command: words.map { $0.contains(" ") ? "\"\($0)\"" : $0 }.joined(separator: " "))
    }

    /// The rule set as `iptables-save` prints it.
    public func rules(namespace index: NamespaceIndex) -> [String] { namespace(index).pointee.netfilter.made.pointee.lines() }

    /// What kube-proxy has compiled; nil for none. The rules that jump to its chains come from `setRules`.
    public func setServices(_ table: ServiceTable?, namespace index: NamespaceIndex) {
        namespace(index).pointee.netfilter.made.pointee.setServices(table)
    }
    public func services(namespace index: NamespaceIndex) -> ServiceTable? { namespace(index).pointee.netfilter.made.pointee.services }

    /// With `gracefully`, servers of TCP that leave stay with weight zero until `endTerminatedServers` finds them without connections.
    public func setVirtualServices(_ services: [VirtualService], gracefully: Bool = false, namespace index: NamespaceIndex) {
        if gracefully {
            namespace(index).pointee.netfilter.made.pointee.setVirtualServicesGracefully(services, now: now.nanoseconds)
        } else {
            namespace(index).pointee.netfilter.made.pointee.setVirtualServices(services)
        }
    }

    /// Servers that have left their services go if their last connection has ended. Whether some remain.
    public func endTerminatedServers(namespace index: NamespaceIndex) -> Bool {
        namespace(index).pointee.netfilter.made.pointee.endVirtualConnections(now: now.nanoseconds)
        return namespace(index).pointee.netfilter.made.pointee.virtualServers.endTerminated(now: now.nanoseconds)
    }
    public func hasTerminatingServers(namespace index: NamespaceIndex) -> Bool { !namespace(index).pointee.netfilter.made.pointee.virtualServers.terminating.isEmpty }

    /// Changes some of the virtual services there are; false, and nothing done, if one of them is not there.
    public func changeVirtualServices(_ services: [VirtualService], gracefully: Bool = false, namespace index: NamespaceIndex) -> Bool {
        gracefully
            ? namespace(index).pointee.netfilter.made.pointee.changeVirtualServicesGracefully(services, now: now.nanoseconds)
            : namespace(index).pointee.netfilter.made.pointee.changeVirtualServices(services)
    }

    public func virtualServices(namespace index: NamespaceIndex) -> [VirtualService] {
        namespace(index).pointee.netfilter.made.pointee.virtualServers.services.map(\.configured)
    }

    /// Virtual services with the connections of each server, in its order: those that are established, and the others.
    public func virtualServiceLoads(namespace index: NamespaceIndex) -> [(service: VirtualService, loads: [(active: Int, inactive: Int)])] {
        namespace(index).pointee.netfilter.made.pointee.endVirtualConnections(now: now.nanoseconds)
        return namespace(index).pointee.netfilter.made.pointee.virtualServers.services.map { ($0.configured, $0.servers.map { ($0.active, $0.inactive) }) }
    }

    /// Replaces the network policies a node enforces for its pods; connections are judged again at their next packets.
    public func setPolicies(_ table: PolicyTable, style: PolicyStyle, namespace index: NamespaceIndex) {
        namespace(index).pointee.netfilter.made.pointee.setPolicies(table, style: style)
    }

    /// Packets refused so far, by the policies that did.
    public func policyDrops(namespace index: NamespaceIndex) -> [PolicyDropCount] { namespace(index).pointee.netfilter.policyDrops }

    // MARK: Connections

    /// The table of connections (`conntrack -L`).
    public func connectionRecords(namespace index: NamespaceIndex) -> [ConnectionRecord] {
        endVirtualConnections(namespace: index)
        return namespace(index).pointee.netfilter.made.pointee.connections.records(now: now)
    }

    /// Forgets the connections for which `isDoomed` holds, and returns them (`conntrack -D`). Their next packets begin new ones.
    @discardableResult
    public func removeConnections(namespace index: NamespaceIndex, where isDoomed: (ConnectionRecord) -> Bool) -> [ConnectionRecord] {
        namespace(index).pointee.netfilter.made.pointee.connections.removeAll(now: now, where: isDoomed)
    }

    /// From now on, or no longer, what happens to connections is kept for `takeConnectionEvents`.
    public func watchConnections(_ isWatched: Bool, namespace index: NamespaceIndex) {
        namespace(index).pointee.netfilter.made.pointee.connections.isWatched = isWatched
    }

    /// What has happened since the last call.
    public func takeConnectionEvents(namespace index: NamespaceIndex) -> [ConnectionEvent] {
        namespace(index).pointee.netfilter.made.pointee.connections.takeEvents(now: now)
    }

    public func connectionStatistics(namespace index: NamespaceIndex) -> ConnectionStatistics {
        namespace(index).pointee.netfilter.made.pointee.connections.statistics
    }

    /// The table of connections as `conntrack -L` prints it.
    public func connectionLines(namespace index: NamespaceIndex) -> [String] {
        endVirtualConnections(namespace: index)
        return namespace(index).pointee.netfilter.made.pointee.connections.lines(now: now)
    }

    private func endVirtualConnections(namespace index: NamespaceIndex) {
        if !namespace(index).pointee.netfilter.made.pointee.virtualServers.isEmpty {
            namespace(index).pointee.netfilter.made.pointee.endVirtualConnections(now: now.nanoseconds)
        }
    }
}
