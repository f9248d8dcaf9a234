import HairpinWire

/// The network policies of a cluster, compiled: for each isolated pod and direction the policies that isolate it and the rules that may let traffic
/// through. A value; a change of policies, labels or pods makes a new one.
public struct PolicyTable: Sendable {
    /// The names of all policies, "namespace/name", in order; rules and isolations refer to them by their place here.
    public var policies: [String]
    /// Of rules that have names of their own.
    public var ruleNames: [PolicyRuleKey: String] = [:]
    public private(set) var pods: [PolicyPod]
    private var places: [IPv4Address: Int]

    public init(policies: [String] = [], pods: [PolicyPod] = []) {
        self.policies = policies
        self.pods = pods
        places = Dictionary(pods.enumerated().map { ($1.address, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// No policy is about anybody: every flow is allowed.
    public var isEmpty: Bool { pods.allSatisfy { $0.ingress == nil && $0.egress == nil && $0.tiers.isEmpty } }

    public func pod(at address: IPv4Address) -> PolicyPod? { places[address].map { pods[$0] } }

    /// What one node enforces: the isolation of its own pods. Other pods stay known, as destinations whose ports have names.
    public func local(to node: String) -> PolicyTable {
        var copy = self
        for index in copy.pods.indices where copy.pods[index].node != node {
            copy.pods[index].ingress = nil
            copy.pods[index].egress = nil
            copy.pods[index].tiers = PolicyTiers()
        }
        return copy
    }

    /// Both sides of a flow: egress of the pod it comes from, ingress of the pod it goes to. An address that belongs to no pod of the table is never
    /// isolated on its side.
    public func decide(_ flow: PolicyFlow) -> PolicyDecision {
        let source = places[flow.source]
        let destination = places[flow.destination]
        if flow.source == flow.destination { return PolicyDecision(egress: .exempt(.itself), ingress: .exempt(.itself)) }
        return PolicyDecision(
            egress: source.map { side(.egress, of: pods[$0], other: flow.destination, flow) } ?? .notIsolated,
            ingress: destination.map { side(.ingress, of: pods[$0], other: flow.source, flow) } ?? .notIsolated)
    }

    /// AdminNetworkPolicies in the order of their priorities: the first rule that matches decides, unless it passes the flow on; then NetworkPolicies, if any
    /// isolates the pod; else the baseline.
    private func side(_ direction: PolicyDirection, of pod: PolicyPod, other: IPv4Address, _ flow: PolicyFlow) -> PolicySide {
        let isolation = direction == .egress ? pod.egress : pod.ingress
        let isPoliced = isolation != nil || !pod.tiers.isEmpty
        if isPoliced, pod.nodeAddresses.contains(other) { return .exempt(.ownNode) }
        if let rule = first(of: direction == .egress ? pod.tiers.adminEgress : pod.tiers.adminIngress, other, flow), rule.action != .pass {
            return .ruled(policy: rule.rule.policy, rule: rule.rule.number, rule.action)
        }
        guard let isolation else {
            guard let rule = first(of: direction == .egress ? pod.tiers.baselineEgress : pod.tiers.baselineIngress, other, flow) else { return .notIsolated }
            return .ruled(policy: rule.rule.policy, rule: rule.rule.number, rule.action)
        }
        for rule in isolation.rules where rule.peers.contains(other) && matches(rule.ports, flow) {
            return .allowed(policy: rule.policy, rule: rule.number)
        }
        return .denied(by: isolation.policies)
    }

    private func first(of rules: [PolicyTierRule], _ other: IPv4Address, _ flow: PolicyFlow) -> PolicyTierRule? {
        rules.first { $0.rule.peers.contains(other) && matches($0.rule.ports, flow) }
    }

    /// No ports match everything, other protocols included; a list matches only what it names.
    private func matches(_ ports: [PolicyPort], _ flow: PolicyFlow) -> Bool {
        if ports.isEmpty { return true }
        return ports.contains { port in
            guard port.proto == flow.proto else { return false }
            switch port.numbers {
            case .all: return true
            case .range(let range): return range.contains(flow.port)
            case .named(let name):
                // A name means what the destination pod calls so; elsewhere it means nothing.
                guard let destination = places[flow.destination] else { return false }
                return pods[destination].ports.contains { $0.name == name && $0.proto == flow.proto && $0.number == flow.port }
            }
        }
    }
}

/// A pod as policies see it.
public struct PolicyPod: Sendable {
    /// "namespace/name".
    public var name: String
    public var address: IPv4Address
    public var node: String
    /// Addresses of the node it runs on: traffic from and to them is never policed.
    public var nodeAddresses: [IPv4Address]
    /// The container ports that have names.
    public var ports: [PolicyNamedPort]
    /// Nil: no policy selects the pod for this direction, everything passes.
    public var ingress: PolicyIsolation?
    public var egress: PolicyIsolation?
    /// What administrators say of the pod, before and after NetworkPolicies.
    public var tiers = PolicyTiers()
    public init(name: String, address: IPv4Address, node: String, nodeAddresses: [IPv4Address] = [], ports: [PolicyNamedPort] = []) {
        self.name = name
        self.address = address
        self.node = node
        self.nodeAddresses = nodeAddresses
        self.ports = ports
    }
}

public struct PolicyNamedPort: Sendable, Hashable {
    public var name: String
    public var proto: IPProtocol
    public var number: UInt16
    public init(name: String, proto: IPProtocol, number: UInt16) {
        self.name = name
        self.proto = proto
        self.number = number
    }
}

/// What a rule of an administrator's policy does with a flow it matches.
public enum PolicyAction: String, Sendable, Hashable, CaseIterable {
    case allow, deny
    /// Neither: NetworkPolicies decide, and the baseline where there are none.
    case pass
}

/// The rules of AdminNetworkPolicies and of the BaselineAdminNetworkPolicy that are about one pod, in the order in which they are asked.
public struct PolicyTiers: Sendable {
    public var adminIngress: [PolicyTierRule] = []
    public var adminEgress: [PolicyTierRule] = []
    public var baselineIngress: [PolicyTierRule] = []
    public var baselineEgress: [PolicyTierRule] = []
    public init() {}
    public var isEmpty: Bool { adminIngress.isEmpty && adminEgress.isEmpty && baselineIngress.isEmpty && baselineEgress.isEmpty }
}

public struct PolicyTierRule: Sendable {
    public var rule: PolicyRule
    public var action: PolicyAction
    public init(_ rule: PolicyRule, _ action: PolicyAction) {
        self.rule = rule
        self.action = action
    }
}

/// A pod's isolation in one direction: only what a rule of one of these policies allows passes.
public struct PolicyIsolation: Sendable {
    /// Places in `PolicyTable.policies`; never empty.
    public var policies: [Int]
    /// Of all these policies, in order; the first that matches is the one that explains.
    public var rules: [PolicyRule]
    public init(policies: [Int], rules: [PolicyRule]) {
        self.policies = policies
        self.rules = rules
    }
}

/// One entry of `ingress:` or `egress:`, with its selectors resolved.
public struct PolicyRule: Sendable {
    /// Place in `PolicyTable.policies`.
    public var policy: Int
    /// Place in the policy's own list, from 0, as in `spec.ingress[0]`.
    public var number: Int
    public var peers: PolicyPeers
    /// Empty: all ports of all protocols.
    public var ports: [PolicyPort]
    public init(policy: Int, number: Int, peers: PolicyPeers, ports: [PolicyPort]) {
        self.policy = policy
        self.number = number
        self.peers = peers
        self.ports = ports
    }
}

/// Who may be at the other end.
public enum PolicyPeers: Sendable {
    case anyone
    case some(addresses: Set<IPv4Address>, blocks: [PolicyBlock])

    func contains(_ address: IPv4Address) -> Bool {
        switch self {
        case .anyone: true
        case .some(let addresses, let blocks): addresses.contains(address) || blocks.contains { $0.contains(address) }
        }
    }
}

/// `ipBlock`: a prefix without the prefixes in `except`.
public struct PolicyBlock: Sendable, Hashable {
    public var prefix: IPv4Prefix
    public var except: [IPv4Prefix]
    public init(_ prefix: IPv4Prefix, except: [IPv4Prefix] = []) {
        self.prefix = prefix
        self.except = except
    }
    func contains(_ address: IPv4Address) -> Bool { prefix.contains(address) && !except.contains { $0.contains(address) } }
}

public struct PolicyPort: Sendable, Hashable {
    public enum Numbers: Sendable, Hashable {
        case all
        case range(ClosedRange<UInt16>)
        case named(String)
    }
    public var proto: IPProtocol
    public var numbers: Numbers
    public init(_ proto: IPProtocol, _ numbers: Numbers) {
        self.proto = proto
        self.numbers = numbers
    }
}
