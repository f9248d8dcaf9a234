import HairpinWire

public struct Pod: Sendable {
    public var metadata: ObjectMeta
    public var template: PodTemplate
}

public struct Node: Sendable {
    public var metadata: ObjectMeta
    public var podCIDR: IPv4Prefix?
    public var isUnschedulable: Bool
    public var taints: [Taint] = []
    /// It has a `deletionTimestamp`: the API server waits for finalizers.
    public var isDeleted = false
    /// The InternalIP of its status, if the manifest has one.
    public var address: IPv4Address?
}

/// A mark on a node. The scheduler and the taint manager are not modelled; kube-proxy's health is.
public struct Taint: Sendable, Hashable {
    public enum Effect: String, Sendable, CaseIterable {
        case noSchedule = "NoSchedule"
        case preferNoSchedule = "PreferNoSchedule"
        case noExecute = "NoExecute"
    }
    public var key: String
    public var value: String
    public var effect: Effect
    public init(key: String, value: String, effect: Effect) { (self.key, self.value, self.effect) = (key, value, effect) }
    /// What the cluster autoscaler puts on a node that it is about to take away.
    public static let toBeDeleted = "ToBeDeletedByClusterAutoscaler"
}

public struct Namespace: Sendable {
    public var metadata: ObjectMeta
    public var source: JSONValue
}

extension Namespace {
    /// The API server keeps this label on every namespace, whatever a manifest says.
    public static func labels(_ name: String, written: [String: String]) -> [String: String] { written.merging(["kubernetes.io/metadata.name": name]) { $1 } }
}

public struct ConfigMap: Sendable {
    public var metadata: ObjectMeta
    /// In the order written.
    public var data: [(key: String, value: String)]
    public var source: JSONValue
}

/// Kept so that `env` can refer to it; values are decoded.
public struct Secret: Sendable {
    public var metadata: ObjectMeta
    public var data: [(key: String, value: [UInt8])]
    public var source: JSONValue
}

/// An object Hairpin keeps and shows but gives no behaviour.
public struct KeptObject: Sendable {
    public var apiVersion: String
    public var kind: String
    public var metadata: ObjectMeta
    public var source: JSONValue
    /// With its positions, for a module that models the kind.
    public var value: YAMLValue
}

/// Which addresses stand behind a Service: derived from pods, or written by hand.
public struct EndpointSlice: Sendable, Hashable {
    public struct Port: Sendable, Hashable {
        /// The name of the Service's port; empty when it has none.
        public var name: String
        /// Nil in a slice whose pods lack the named port.
        public var port: UInt16?
        public var proto: PortProtocol
        public init(name: String, port: UInt16?, proto: PortProtocol) {
            self.name = name
            self.port = port
            self.proto = proto
        }
    }
    public struct Endpoint: Sendable, Hashable {
        public var address: IPv4Address
        public var ready: Bool
        public var serving: Bool
        public var terminating: Bool
        /// The pod behind it; nil for addresses written by hand.
        public var pod: ObjectKey?
        public var nodeName: String?
        /// The pod's own DNS name below the Service's, where it has one.
        public var hostname: String?
        /// `hints.forZones` and `hints.forNodes`.
        public var zoneHints: [String] = []
        public var nodeHints: [String] = []
        public init(
            address: IPv4Address, ready: Bool = true, serving: Bool = true, terminating: Bool = false, pod: ObjectKey? = nil, nodeName: String? = nil,
            hostname: String? = nil
        ) {
            self.address = address
            self.ready = ready
            self.serving = serving
            self.terminating = terminating
            self.pod = pod
            self.nodeName = nodeName
            self.hostname = hostname
        }
    }
    public var name: String
    /// The Service it belongs to.
    public var service: ObjectKey
    /// The Endpoints object that it mirrors, which has the Service's name.
    public var mirrors: ObjectKey?
    public var ports: [Port]
    public var endpoints: [Endpoint]
    public init(name: String, service: ObjectKey, ports: [Port], endpoints: [Endpoint]) {
        self.name = name
        self.service = service
        self.ports = ports
        self.endpoints = endpoints
    }
}

/// Of slices and Endpoints that `ObjectValidation` finds nothing wrong with.
extension EndpointSlice {
    /// A slice written by hand. Nil when it has addresses Hairpin does not model (IPv6, FQDN) or belongs to no Service.
    init?(_ value: YAMLValue, metadata: ObjectMeta) throws(InputError) {
        guard let service = metadata.labels["kubernetes.io/service-name"], try value.string("addressType") == "IPv4" else { return nil }
        name = metadata.name
        self.service = ObjectKey(namespace: metadata.namespace, name: service)
        ports = try value.items("ports").map { item throws(InputError) in try Port(item) }
        endpoints = []
        for item in try value.items("endpoints") {
            let conditions = item["conditions"]
            let ready = try conditions?.bool("ready") ?? true
            for address in try (item.strings("addresses") ?? []).compactMap({ AnyAddress($0)?.v4 }) {
                var endpoint = Endpoint(
                    address: address, ready: ready, serving: try conditions?.bool("serving") ?? ready, terminating: try conditions?.bool("terminating") ?? false,
                    nodeName: try item.string("nodeName"), hostname: try item.string("hostname"))
                endpoint.zoneHints = try item["hints"]?.items("forZones").map { zone throws(InputError) in try zone.string("name") ?? "" } ?? []
                endpoint.nodeHints = try item["hints"]?.items("forNodes").map { node throws(InputError) in try node.string("name") ?? "" } ?? []
                endpoints.append(endpoint)
            }
        }
    }

    /// The slices that mirror an `Endpoints` object: one for each subset. Those of IPv6 addresses are of no use to a cluster of IPv4.
    static func mirroring(_ value: YAMLValue, metadata: ObjectMeta) throws(InputError) -> [EndpointSlice] {
        var result: [EndpointSlice] = []
        for subset in try value.items("subsets") {
            var slice = EndpointSlice(
                name: "\(metadata.name)-\(StableName.suffix("\(metadata.key)/endpoints/\(result.count)"))", service: metadata.key, ports: [], endpoints: [])
            slice.mirrors = metadata.key
            slice.ports = try subset.items("ports").map { item throws(InputError) in try Port(item) }
            for (key, ready) in [("addresses", true), ("notReadyAddresses", false)] {
                for item in try subset.items(key) {
                    guard let address = try item.string("ip").flatMap({ AnyAddress($0)?.v4 }) else { continue }
                    slice.endpoints.append(
                        Endpoint(address: address, ready: ready, serving: ready, nodeName: try item.string("nodeName"), hostname: try item.string("hostname")))
                }
            }
            result.append(slice)
        }
        return result
    }
}

extension EndpointSlice.Port {
    /// The API server looks at the numbers of Endpoints only: what is none is refused here for slices.
    init(_ value: YAMLValue) throws(InputError) {
        name = try value.string("name") ?? ""
        port = try value.integer("port", in: 1...65535).map { UInt16($0) }
        proto = try PortProtocol(value["protocol"])
    }
}
