import HairpinPolicy
import HairpinWire

/// A `policy.networking.k8s.io/v1alpha1` AdminNetworkPolicy or BaselineAdminNetworkPolicy: what a cluster's administrator decides before, or in the absence of, the
/// NetworkPolicies of namespaces.
public struct AdminNetworkPolicy: Sendable {
    public enum Tier: Sendable, Hashable {
        /// Before NetworkPolicies; the lower number goes first.
        case admin(priority: Int)
        /// For pods that no NetworkPolicy isolates. There is one, called "default".
        case baseline
    }
    /// One entry of `ingress:` or `egress:`.
    public struct Rule: Sendable {
        public var name: String
        public var action: PolicyAction
        public var peers: [Peer]
        /// Empty: every port of every protocol.
        public var ports: [Port]
    }
    public enum Peer: Sendable {
        /// Pods of the namespaces that match; `pods` nil is all of them.
        case pods(LabelSelector?, namespaces: LabelSelector)
        case nodes(LabelSelector)
        case networks([IPv4Prefix])
    }
    public enum Port: Sendable, Hashable {
        case range(PortProtocol, ClosedRange<UInt16>)
        /// Of any protocol.
        case named(String)
    }
    public var metadata: ObjectMeta
    public var tier: Tier
    /// Pods the policy is about; `pods` nil is all of the namespaces.
    public var subject: (namespaces: LabelSelector, pods: LabelSelector?)
    public var ingress: [Rule]
    public var egress: [Rule]
    public var source: JSONValue

    public func rules(_ direction: PolicyDirection) -> [Rule] { direction == .egress ? egress : ingress }
    public func isAbout(_ labels: [String: String], namespace: [String: String]) -> Bool {
        subject.namespaces.matches(namespace) && subject.pods?.matches(labels) ?? true
    }
    public var isBaseline: Bool { tier == .baseline }
    public var kind: String { isBaseline ? "BaselineAdminNetworkPolicy" : "AdminNetworkPolicy" }
    /// "anp/NAME" or "banp/default": as decisions and drops name it.
    public var shortName: String { (isBaseline ? "banp/" : "anp/") + metadata.name }
}

extension AdminNetworkPolicy {
    static let apiVersion = "policy.networking.k8s.io/v1alpha1"

    /// Of a policy that `ObjectValidation` finds nothing wrong with.
    init(_ value: YAMLValue, kind: String, metadata: ObjectMeta) throws(InputError) {
        self.metadata = metadata
        source = JSONValue(value.node)
        let spec = try value.require("spec")
        tier = kind == "BaselineAdminNetworkPolicy" ? .baseline : .admin(priority: try spec.require("priority").integer())
        subject = try AdminNetworkPolicy.pods(try spec.require("subject"))
        ingress = try spec.items("ingress").map { rule throws(InputError) in try Rule(rule, .ingress) }
        egress = try spec.items("egress").map { rule throws(InputError) in try Rule(rule, .egress) }
    }

    /// `namespaces: SELECTOR` or `pods: {namespaceSelector, podSelector}`: of a subject or a peer.
    fileprivate static func pods(_ value: YAMLValue) throws(InputError) -> (namespaces: LabelSelector, pods: LabelSelector?) {
        guard let pods = value.member("pods") else { return (try value.member("namespaces").map(LabelSelector.init) ?? LabelSelector(), nil) }
        return (try pods.member("namespaceSelector").map(LabelSelector.init) ?? LabelSelector(), try pods.member("podSelector").map(LabelSelector.init))
    }
}

extension AdminNetworkPolicy.Rule {
    init(_ value: YAMLValue, _ direction: PolicyDirection) throws(InputError) {
        name = try value.string("name") ?? ""
        action = PolicyAction(rawValue: try value.require("action").string().lowercased()) ?? .deny
        peers = try value.items(direction == .egress ? "to" : "from").map { peer throws(InputError) in try AdminNetworkPolicy.Peer(peer) }
        ports = try value.items("ports").map { port throws(InputError) in try AdminNetworkPolicy.Port(port) }
    }
}

extension AdminNetworkPolicy.Peer {
    init(_ value: YAMLValue) throws(InputError) {
        if let nodes = value.member("nodes") {
            self = .nodes(try LabelSelector(nodes))
        } else if let networks = try value.strings("networks") {
            self = .networks(networks.compactMap { AnyPrefix($0)?.v4 })
        } else if let names = value["domainNames"] {
            throw names.error(problem: "are experimental and not modelled", fix: "Write the addresses as networks.")
        } else {
            let pods = try AdminNetworkPolicy.pods(value)
            self = .pods(pods.pods, namespaces: pods.namespaces)
        }
    }
}

extension AdminNetworkPolicy.Port {
    init(_ value: YAMLValue) throws(InputError) {
        if let number = value["portNumber"] {
            let port = UInt16(try number.require("port").integer(in: 1...65535))
            self = .range(try PortProtocol(number["protocol"]), port...port)
        } else if let range = value["portRange"] {
            let start = UInt16(try range.require("start").integer(in: 1...65535))
            let endValue = try range.require("end")
            let end = UInt16(try endValue.integer(in: 1...65535))
            // The API's documentation asks for it, its schema does not.
            guard start < end else { throw endValue.error(problem: "must be greater than start", fix: "Write a number from \(min(start, 65534) + 1) to 65535.") }
            self = .range(try PortProtocol(range["protocol"]), start...end)
        } else {
            self = .named(try value.require("namedPort").string())
        }
    }
}

extension YAMLValue {
    /// As the subscript, but an explicit null is an empty mapping: `namespaces:` alone selects everything, as `namespaces: {}` does.
    fileprivate func member(_ key: String) -> YAMLValue? {
        if let value = self[key] { return value }
        guard case .mapping(let entries) = content, let entry = entries.first(where: { $0.key == key }) else { return nil }
        return child(YAMLNode(.mapping([]), line: entry.keyLine, column: entry.keyColumn), key: key)
    }
}
