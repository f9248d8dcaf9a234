import HairpinWire

/// Who begins a conversation with whom. Addresses after a Service's DNAT and before any masquerading; `port` is 0 for protocols without ports.
public struct PolicyFlow: Sendable, Hashable {
    public var source: IPv4Address
    public var destination: IPv4Address
    public var proto: IPProtocol
    public var port: UInt16
    public init(source: IPv4Address, destination: IPv4Address, proto: IPProtocol, port: UInt16) {
        self.source = source
        self.destination = destination
        self.proto = proto
        self.port = port
    }
}

public enum PolicyDirection: String, Sendable, CaseIterable { case egress, ingress }

/// What policies say on one side of a flow.
public enum PolicySide: Sendable, Hashable {
    public enum Exemption: String, Sendable {
        /// A pod may always reach itself.
        case itself
        /// A pod and the node it runs on may always reach each other.
        case ownNode
    }
    case notIsolated
    case exempt(Exemption)
    /// Places in `PolicyTable.policies` and in the policy's list of rules.
    case allowed(policy: Int, rule: Int)
    /// These policies isolate the pod, and no rule of theirs allows the flow.
    case denied(by: [Int])

    /// A rule of an AdminNetworkPolicy or of the BaselineAdminNetworkPolicy decides; never `.pass`.
    case ruled(policy: Int, rule: Int, PolicyAction)

    public var isAllowed: Bool {
        switch self {
        case .denied, .ruled(_, _, .deny): false
        default: true
        }
    }
}

public struct PolicyDecision: Sendable, Hashable {
    public var egress: PolicySide
    public var ingress: PolicySide
    public init(egress: PolicySide, ingress: PolicySide) {
        self.egress = egress
        self.ingress = ingress
    }
    public var isAllowed: Bool { egress.isAllowed && ingress.isAllowed }
    public subscript(direction: PolicyDirection) -> PolicySide { direction == .egress ? egress : ingress }
    /// The side a packet fails on first; egress comes before ingress on its way.
    public var denied: (direction: PolicyDirection, by: PolicySide)? {
        if !egress.isAllowed { return (.egress, egress) }
        if !ingress.isAllowed { return (.ingress, ingress) }
        return nil
    }
}

extension PolicyTable {
    /// "x/a is not isolated", "allowed by x/web, ingress[0]", "x/deny-all isolates x/a and no rule allows it".
    public func explain(_ side: PolicySide, _ direction: PolicyDirection, pod: String) -> String {
        switch side {
        case .notIsolated: "no policy isolates \(pod) for \(direction)"
        case .exempt(.itself): "a pod may always reach itself"
        case .exempt(.ownNode): "a pod and its node may always reach each other"
        case .allowed(let policy, let rule): "\(policies[policy]) allows it in \(direction)[\(rule)]"
        case .denied(let policies):
            "\(names(policies)) isolate\(policies.count == 1 ? "s" : "") \(pod) for \(direction), and no rule allows it"
        case .ruled(let policy, let rule, let action):
            "\(policies[policy]) \(action == .deny ? "denies" : "allows") it in \(direction)[\(rule)]\(title(policy, rule, direction).map { ", \"\($0)\"" } ?? "")"
        }
    }

    /// What refuses, for counts of drops: "x/deny, x/web", or "anp/quarantine ingress[0]".
    public func refuser(_ side: PolicySide, _ direction: PolicyDirection) -> String {
        switch side {
        case .denied(let policies): names(policies)
        case .ruled(let policy, let rule, _): "\(policies[policy]) \(direction)[\(rule)]"
        default: ""
        }
    }

    /// The name that a rule has been given.
    func title(_ policy: Int, _ rule: Int, _ direction: PolicyDirection) -> String? {
        ruleNames[PolicyRuleKey(policy: policy, rule: rule, direction: direction)]
    }

    public func names(_ places: [Int]) -> String { places.map { policies[$0] }.joined(separator: ", ") }
}

/// Names a rule of a policy of a table.
public struct PolicyRuleKey: Hashable, Sendable {
    var policy: Int
    var rule: Int
    var direction: PolicyDirection
    public init(policy: Int, rule: Int, direction: PolicyDirection) {
        self.policy = policy
        self.rule = rule
        self.direction = direction
    }
}

/// How packets are refused that no policy allows.
public enum PolicyStyle: String, Sendable, CaseIterable {
    /// They vanish, as most network plugins have it: a connection attempt times out.
    case drop
    /// TCP is answered with a reset, everything else with ICMP "administratively prohibited".
    case reject
}

/// Packets refused because of the same policies on the same side.
public struct PolicyDropCount: Sendable, Hashable {
    public var direction: PolicyDirection
    /// The policies that isolate the pod, "namespace/name", joined by ", ".
    public var policies: String
    /// The pod they isolate.
    public var pod: String
    public var packets: UInt64
    public init(direction: PolicyDirection, policies: String, pod: String, packets: UInt64) {
        self.direction = direction
        self.policies = policies
        self.pod = pod
        self.packets = packets
    }
}
