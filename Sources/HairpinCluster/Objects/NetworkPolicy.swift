import Foundation
import HairpinPolicy
import HairpinWire

/// A `networking.k8s.io/v1` NetworkPolicy, with what the API server fills in.
public struct NetworkPolicy: Sendable {
    /// One entry of `ingress:` or `egress:`.
    public struct Rule: Sendable {
        /// Empty: everyone.
        public var peers: [Peer]
        /// Empty: every port of every protocol.
        public var ports: [Port]
    }
    public enum Peer: Sendable {
        /// Without `namespaces`, pods of the policy's own namespace; without `pods`, all pods of those namespaces.
        case pods(LabelSelector?, namespaces: LabelSelector?)
        case block(PolicyBlock)
        /// An IPv6 block, which no address of an IPv4 cluster is in.
        case nothing
    }
    public struct Port: Sendable, Hashable {
        public var proto: PortProtocol
        /// Nil: every port of the protocol.
        public var port: PortReference?
        public var endPort: UInt16?
    }
    public var metadata: ObjectMeta
    public var podSelector: LabelSelector
    public var directions: Set<PolicyDirection>
    public var ingress: [Rule]
    public var egress: [Rule]
    public var source: JSONValue
    public var key: ObjectKey { metadata.key }

    public func rules(_ direction: PolicyDirection) -> [Rule] { direction == .egress ? egress : ingress }
}

extension NetworkPolicy {
    init(_ value: YAMLValue, metadata: ObjectMeta) throws(InputError) {
        self.metadata = metadata
        source = JSONValue(value.node)
        let spec = value["spec"]
        podSelector = try spec?["podSelector"].map(LabelSelector.init) ?? LabelSelector()
        ingress = []
        for item in try spec?.items("ingress") ?? [] { ingress.append(try Rule(item, peers: "from")) }
        egress = []
        for item in try spec?.items("egress") ?? [] { egress.append(try Rule(item, peers: "to")) }
        directions = []
        let types = try spec?.items("policyTypes") ?? []
        if types.count > 2, let list = spec?["policyTypes"] {
            throw list.error(problem: "may not specify more than two policyTypes", fix: "Write [Ingress], [Egress] or [Ingress, Egress].")
        }
        for type in types { directions.insert(try type.word(among: ["Ingress", "Egress"]) == "Egress" ? .egress : .ingress) }
        // The API server's default: Ingress always, Egress where there is an egress rule.
        if types.isEmpty { directions = egress.isEmpty ? [.ingress] : [.ingress, .egress] }
    }
}

extension NetworkPolicy.Rule {
    /// `peers` is "from" or "to".
    init(_ value: YAMLValue, peers key: String) throws(InputError) {
        // `- {}` matches everything; `- ` alone is the same rule to the API server.
        peers = []
        ports = []
        if value.isNull { return }
        for item in try value.items(key) { peers.append(try NetworkPolicy.Peer(item)) }
        for item in try value.items("ports") { ports.append(try NetworkPolicy.Port(item)) }
    }
}

extension NetworkPolicy.Peer {
    init(_ value: YAMLValue) throws(InputError) {
        let pods = value["podSelector"]
        let namespaces = value["namespaceSelector"]
        if let block = value["ipBlock"] {
            guard pods == nil, namespaces == nil else {
                throw value.error(problem: "may not specify both ipBlock and another peer", fix: "Write the ipBlock as a list item of its own, which begins with \"- \".")
            }
            self = try NetworkPolicy.Peer.block(block)
            return
        }
        guard pods != nil || namespaces != nil else {
            throw value.error(problem: "must specify a peer", fix: "Add podSelector, namespaceSelector or ipBlock; leave the list out to mean everyone.")
        }
        self = .pods(try pods.map(LabelSelector.init), namespaces: try namespaces.map(LabelSelector.init))
    }

    private static func block(_ value: YAMLValue) throws(InputError) -> NetworkPolicy.Peer {
        let cidr = try value.require("cidr", fix: "Add \"cidr:\" with a prefix such as 192.168.50.0/24.")
        let exceptions = try value.items("except")
        let text = try cidr.string()
        if text.contains(":") {
            guard NetworkPolicy.isIPv6Prefix(text) else { throw cidr.notPrefix() }
            for item in exceptions where !NetworkPolicy.isIPv6Prefix(try item.string()) { throw item.notPrefix() }
            return .nothing
        }
        let prefix = try cidr.policyPrefix()
        var except: [IPv4Prefix] = []
        for item in exceptions {
            let hole = try item.policyPrefix()
            guard prefix.contains(hole.network), hole.length > prefix.length else {
                throw item.error(problem: "must be a strict subset of cidr", fix: "Write a prefix inside \(prefix) that is longer than /\(prefix.length), or remove it.")
            }
            except.append(hole)
        }
        return .block(PolicyBlock(prefix, except: except))
    }
}

extension NetworkPolicy.Port {
    init(_ value: YAMLValue) throws(InputError) {
        proto = try PortProtocol(value["protocol"])
        port = try value["port"].map(PortReference.init)
        endPort = nil
        guard let end = value["endPort"] else { return }
        switch port {
        case nil: throw end.error(problem: "may not be specified when port is not specified", fix: "Add \"port:\" with the first number of the range.")
        case .name: throw end.error(problem: "may not be specified when port is non-numeric", fix: "Write the first number of the range as port, or remove endPort.")
        case .number(let first):
            let last = UInt16(try end.integer(in: 1...65535))
            guard last >= first else { throw end.error(problem: "must be greater than or equal to port", fix: "Write a number from \(first) to 65535.") }
            endPort = last
        }
    }
}

extension NetworkPolicy {
    /// Enough of an IPv6 prefix to tell it from a slip of the pen.
    fileprivate static func isIPv6Prefix(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let length = Int(parts[1]), 0...128 ~= length else { return false }
        var bytes = in6_addr()
        return inet_pton(AF_INET6, String(parts[0]), &bytes) == 1
    }
}

extension YAMLValue {
    fileprivate func notPrefix() -> InputError {
        error(problem: "must be a valid CIDR value", fix: "Write an address, a slash and a length, such as 10.9.8.0/24.")
    }

    /// The API server warns of host bits and takes them; they do not count.
    fileprivate func policyPrefix() throws(InputError) -> IPv4Prefix {
        let text = try string()
        guard text.contains("/"), let prefix = IPv4Prefix(text) else { throw notPrefix() }
        return prefix
    }
}
