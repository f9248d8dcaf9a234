import HairpinPolicy
import HairpinWire

// What iptables-restore, iptables, iptables-save, conntrack and ipvsadm do to a namespace.
extension LogicalProcess {
    /// Replaces the rule set by lines in `iptables-save` form.
    public func setRules(_ lines: [String], namespace index: NamespaceIndex) throws(RuleError) {
        try namespace(index).pointee.netfilter.made.pointee.restore(lines)
    }

    /// Runs one `iptables …` command.
    public func applyRuleCommand(_ words: [String], namespace index: NamespaceIndex) throws(RuleError) {
        try namespace(index).pointee.netfilter.made.pointee.apply(command: words.map { $0.contains(" ") ? "\"\($0)\"" : $0 }.joined(separator: " "))
    }

    /// The rule set as `iptables-save` prints it.
    public func rules(namespace index: NamespaceIndex) -> [String] { namespace(index).pointee.netfilter.made.pointee.lines() }

    public func setVirtualServices(_ services: [VirtualService], namespace index: NamespaceIndex) {
        namespace(index).pointee.netfilter.made.pointee.setVirtualServices(services)
    }

    /// Replaces the network policies a node enforces for its pods; connections are judged again at their next packets.
    public func setPolicies(_ table: PolicyTable, style: PolicyStyle, namespace index: NamespaceIndex) {
        namespace(index).pointee.netfilter.made.pointee.setPolicies(table, style: style)
    }

    /// Packets refused so far, by the policies that did.
    public func policyDrops(namespace index: NamespaceIndex) -> [PolicyDropCount] { namespace(index).pointee.netfilter.policyDrops }

    /// The table of connections as `conntrack -L` prints it.
    public func connectionLines(namespace index: NamespaceIndex) -> [String] { namespace(index).pointee.netfilter.made.pointee.connections.lines(now: now) }
}
