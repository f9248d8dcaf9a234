import HairpinCluster
import HairpinPolicy
import HairpinProxy
import HairpinWire

// What policies say of the packets that `hairpin trace` follows, from the table that nodes enforce.
extension TraceResult {
    /// Adds to every endpoint, or to the destination where the packet is not translated, who refuses or allows it.
    ///
    /// A packet that another node has masqueraded comes to its destination's node from that node's address; on its own node it is judged as it began.
    mutating func judge(by plan: ClusterPlan, source: IPv4Address, destination: IPv4Address?, proto: UInt8, port: UInt16) {
        guard plan.hasPolicies else { return }
        let table = plan.policyTable()
        let decidingNode = plan.node(node)
        for index in endpoints.indices {
            guard let address = IPv4Address(endpoints[index].address) else { continue }
            let isAway = endpoints[index].masqueraded && endpoints[index].node != node
            let seen = isAway ? decidingNode?.address ?? source : source
            endpoints[index].policy = TraceResult.words(table, egress: source, ingress: seen, destination: address, proto: proto, port: endpoints[index].port)
        }
        if endpoints.isEmpty, verdict == "NONE" || verdict == "ACCEPT", let destination {
            policy = TraceResult.words(table, egress: source, ingress: source, destination: destination, proto: proto, port: port)
        }
    }

    private static func words(
        _ table: PolicyTable, egress: IPv4Address, ingress: IPv4Address, destination: IPv4Address, proto: UInt8, port: UInt16
    ) -> PolicyVerdict? {
        func side(_ source: IPv4Address, _ direction: PolicyDirection) -> PolicySide {
            table.decide(PolicyFlow(source: source, destination: destination, proto: IPProtocol(proto), port: port))[direction]
        }
        let leaving = side(egress, .egress)
        let entering = side(ingress, .ingress)
        for (direction, found, address) in [(PolicyDirection.egress, leaving, egress), (.ingress, entering, destination)] where !found.isAllowed {
            return PolicyVerdict(isAllowed: false, words: table.explain(found, direction, pod: table.pod(at: address)?.name ?? address.description))
        }
        // Allowed: worth a word where a policy had one.
        for (direction, found, address) in [(PolicyDirection.egress, leaving, egress), (.ingress, entering, destination)] {
            switch found {
            case .allowed, .ruled: return PolicyVerdict(isAllowed: true, words: table.explain(found, direction, pod: table.pod(at: address)?.name ?? address.description))
            default: continue
            }
        }
        return nil
    }
}

/// What policies say of a packet, as `hairpin trace` tells it.
public struct PolicyVerdict: Sendable, Hashable, Encodable {
    public var isAllowed: Bool
    /// "anp/quarantine denies it in ingress[0]".
    public var words: String
}
