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

/// Of policies that `ObjectValidation` finds nothing wrong with.
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
        directions = Set(try (spec?.strings("policyTypes") ?? []).map { $0 == "Egress" ? .egress : .ingress })
        // The API server's default: Ingress always, Egress where there is an egress rule.
        if directions.isEmpty { directions = egress.isEmpty ? [.ingress] : [.ingress, .egress] }
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
        guard let block = value["ipBlock"] else {
            self = .pods(try value["podSelector"].map(LabelSelector.init), namespaces: try value["namespaceSelector"].map(LabelSelector.init))
            return
        }
        // Bits after a prefix's length do not count.
        guard case .v4(let prefix)? = AnyPrefix(try block.require("cidr").string()) else {
            self = .nothing
            return
        }
        self = .block(PolicyBlock(prefix, except: try (block.strings("except") ?? []).compactMap { AnyPrefix($0)?.v4 }))
    }
}

extension NetworkPolicy.Port {
    init(_ value: YAMLValue) throws(InputError) {
        proto = try PortProtocol(value["protocol"])
        port = try value["port"].map(PortReference.init)
        endPort = try value.integer("endPort", in: 1...65535).map { UInt16($0) }
    }
}
