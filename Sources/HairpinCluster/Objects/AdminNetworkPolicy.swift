import Foundation
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

    init(_ value: YAMLValue, kind: String, metadata: ObjectMeta) throws(InputError) {
        self.metadata = metadata
        source = JSONValue(value.node)
        let spec = try value.require("spec", fix: "Add \"spec:\" with \"subject:\".")
        if kind == "BaselineAdminNetworkPolicy" {
            tier = .baseline
            if metadata.name != "default", let name = value["metadata"]?["name"] {
                throw name.error(
                    problem: "is not the name of the cluster's one baseline admin network policy",
                    fix: "Only one baseline admin network policy with metadata.name=\"default\" can be created in the cluster.")
            }
            if let priority = spec["priority"] { throw priority.error(problem: "is an unknown field", fix: "A baseline has no priority: remove it.") }
        } else {
            let priority = try spec.require("priority", fix: "Add \"priority:\" with a number from 0, which goes first, to 1000.").integer()
            guard 0...1000 ~= priority else {
                throw try spec.require("priority").error(
                    problem: priority < 0 ? "should be greater than or equal to 0" : "should be less than or equal to 1000", fix: "Write a number from 0 to 1000.")
            }
            tier = .admin(priority: priority)
        }
        let subjectValue = try spec.require("subject", fix: "Add \"subject: {namespaces: {}}\" for every pod.")
        subject = try AdminNetworkPolicy.pods(subjectValue)
        ingress = []
        egress = []
        for direction in PolicyDirection.allCases {
            guard let list = spec[direction.rawValue] else { continue }
            let items = try list.items()
            guard items.count <= 100 else { throw list.error(problem: "must have at most 100 items", fix: "Write fewer rules.") }
            for item in items {
                let rule = try Rule(item, direction, isBaseline: tier == .baseline)
                if direction == .egress { egress.append(rule) } else { ingress.append(rule) }
            }
        }
    }

    /// `namespaces: SELECTOR` or `pods: {namespaceSelector, podSelector}`: of a subject or a peer.
    fileprivate static func pods(_ value: YAMLValue) throws(InputError) -> (namespaces: LabelSelector, pods: LabelSelector?) {
        let (namespaces, pods) = (value.member("namespaces"), value.member("pods"))
        if let pods {
            guard namespaces == nil else { throw value.error(problem: "must have at most 1 property", fix: "Keep either namespaces or pods.") }
            return (
                try LabelSelector(try pods.requireMember("namespaceSelector", fix: "Add \"namespaceSelector: {}\" for every namespace.")),
                try LabelSelector(try pods.requireMember("podSelector", fix: "Add \"podSelector: {}\" for every pod."))
            )
        }
        guard let namespaces else { throw value.error(problem: "should have at least 1 property", fix: "Add \"namespaces: {}\" for every pod of the cluster.") }
        return (try LabelSelector(namespaces), nil)
    }
}

extension AdminNetworkPolicy.Rule {
    init(_ value: YAMLValue, _ direction: PolicyDirection, isBaseline: Bool) throws(InputError) {
        name = try value.string("name") ?? ""
        guard name.utf8.count <= 100 else { throw try value.require("name").error(problem: "may not be more than 100 bytes", fix: "Shorten it.") }
        let actions = isBaseline ? ["Allow", "Deny"] : ["Allow", "Deny", "Pass"]
        let actionValue = try value.require("action", fix: "Add \"action:\" with one of \(actions.joined(separator: ", ")).")
        action = PolicyAction(rawValue: try actionValue.word(among: actions).lowercased())!
        let key = direction == .egress ? "to" : "from"
        let list = try value.require(key, fix: "Add \"\(key):\" with at least one peer, such as \"- namespaces: {}\".")
        let items = try list.items()
        guard !items.isEmpty, items.count <= 100 else {
            throw list.error(problem: items.isEmpty ? "should have at least 1 item" : "must have at most 100 items", fix: "Write from 1 to 100 peers.")
        }
        peers = []
        for item in items { peers.append(try AdminNetworkPolicy.Peer(item, direction)) }
        ports = []
        if let list = value["ports"] {
            let items = try list.items()
            guard items.count <= 100 else { throw list.error(problem: "must have at most 100 items", fix: "Write fewer ports.") }
            for item in items { ports.append(try AdminNetworkPolicy.Port(item)) }
            let isOutside = peers.contains { if case .pods = $0 { false } else { true } }
            if isOutside, let named = items.first(where: { $0["namedPort"] != nil }) {
                throw named.error(
                    problem: "stands beside a networks/nodes peer, which cannot be set with namedPorts since there are no namedPorts for networks/nodes",
                    fix: "Write portNumber or portRange, or a rule of its own.")
            }
        }
    }
}

extension AdminNetworkPolicy.Peer {
    init(_ value: YAMLValue, _ direction: PolicyDirection) throws(InputError) {
        let known = direction == .egress ? ["namespaces", "pods", "nodes", "networks", "domainNames"] : ["namespaces", "pods"]
        let given = try value.entries().map(\.key)
        for key in given where !known.contains(key) {
            throw (value[key] ?? value).error(problem: "is no peer of \(direction.rawValue) rules", fix: "Known are \(known.joined(separator: ", ")).")
        }
        guard given.count == 1 else {
            throw value.error(
                problem: given.isEmpty ? "should have at least 1 property" : "must have at most 1 property",
                fix: "Write one of \(known.joined(separator: ", ")) in each list item.")
        }
        switch given[0] {
        case "nodes": self = .nodes(try LabelSelector(try value.requireMember("nodes", fix: "Write \"nodes: {}\" for every node.")))
        case "networks":
            let list = try value.require("networks", fix: "Add a CIDR.")
            let items = try list.items()
            guard !items.isEmpty, items.count <= 25 else {
                throw list.error(problem: items.isEmpty ? "should have at least 1 item" : "must have at most 25 items", fix: "Write from 1 to 25 CIDRs.")
            }
            var networks: [IPv4Prefix] = []
            for item in items { if let prefix = try AdminNetworkPolicy.network(item) { networks.append(prefix) } }
            self = .networks(networks)
        case "domainNames":
            throw value.error(problem: "has domainNames, which are experimental and not modelled", fix: "Write the addresses as networks.")
        default:
            let pods = try AdminNetworkPolicy.pods(value)
            self = .pods(pods.pods, namespaces: pods.namespaces)
        }
    }
}

extension AdminNetworkPolicy {
    /// Nil for an IPv6 prefix, in which no address of an IPv4 cluster is.
    fileprivate static func network(_ value: YAMLValue) throws(InputError) -> IPv4Prefix? {
        let text = try value.string()
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        if text.contains(":"), parts.count == 2, Names.isAddress(String(parts[0])), let length = Int(parts[1]), 0...128 ~= length { return nil }
        guard parts.count == 2, let prefix = IPv4Prefix(text) else {
            throw value.error(problem: "is an invalid CIDR format", fix: "Write an address, a slash and a length, such as 10.9.8.0/24.")
        }
        return prefix
    }
}

extension AdminNetworkPolicy.Port {
    init(_ value: YAMLValue) throws(InputError) {
        let given = try value.entries().map(\.key)
        guard given.count == 1 else {
            throw value.error(
                problem: given.isEmpty ? "should have at least 1 property" : "must have at most 1 property",
                fix: "Write one of portNumber, portRange, namedPort in each list item.")
        }
        if let number = value["portNumber"] {
            let port = UInt16(try number.require("port").integer(in: 1...65535))
            self = .range(try PortProtocol(number["protocol"]), port...port)
        } else if let range = value["portRange"] {
            let start = UInt16(try range.require("start").integer(in: 1...65535))
            let endValue = try range.require("end")
            let end = UInt16(try endValue.integer(in: 1...65535))
            guard start < end else { throw endValue.error(problem: "must be greater than start", fix: "Write a number from \(min(start, 65534) + 1) to 65535.") }
            self = .range(try PortProtocol(range["protocol"]), start...end)
        } else {
            self = .named(try Names.portName(try value.require("namedPort")))
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
    fileprivate func requireMember(_ key: String, fix: String) throws(InputError) -> YAMLValue {
        if let value = member(key) { return value }
        return try require(key, fix: fix)
    }
}
