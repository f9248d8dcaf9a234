/// Everything the manifests said, in the order they were read.
public struct Manifests: Sendable {
    public var namespaces: [Namespace] = []
    public var nodes: [Node] = []
    public var pods: [Pod] = []
    public var workloads: [Workload] = []
    public var services: [Service] = []
    /// Written by hand, as EndpointSlice or Endpoints.
    public var endpointSlices: [EndpointSlice] = []
    public var configMaps: [ConfigMap] = []
    public var secrets: [Secret] = []
    public var networkPolicies: [NetworkPolicy] = []
    public var adminPolicies: [AdminNetworkPolicy] = []
    /// Kinds without a model: ServiceAccount, CronJob, custom resources, …
    public var kept: [KeptObject] = []
    /// For people: what was kept without being modelled. In the order found.
    public var warnings: [InputWarning] = []
    public init() {}

    /// A domain name in lower case.
    public static func domain(_ value: YAMLValue) throws(InputError) -> String { try Names.subdomain(value) }
    /// A text that may be a label's value.
    public static func labelValue(_ value: YAMLValue) throws(InputError) -> String { try Names.labelValue(value) }
}

/// Something the user should know, that stops nothing.
public struct InputWarning: Hashable, Sendable, CustomStringConvertible {
    public var file: String
    public var line: Int?
    public var message: String
    public init(file: String, line: Int?, message: String) {
        self.file = file
        self.line = line
        self.message = message
    }
    public var description: String {
        let place = file.isEmpty ? "" : line.map { "\(file):\($0): " } ?? "\(file): "
        return place + message
    }
}
