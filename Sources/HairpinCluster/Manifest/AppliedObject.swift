/// One object of a manifest that is applied while the cluster runs, read and checked as those are that it begins with.
public struct AppliedObject: Sendable {
    /// "Service".
    public var kind: String
    public var apiVersion: String
    public var metadata: ObjectMeta
    /// As it was written.
    public var source: JSONValue
    /// Holds this object and nothing else.
    var manifests: Manifests

    public var workload: Workload? { manifests.workloads.first }
    public var pod: Pod? { manifests.pods.first }
    public var service: Service? { manifests.services.first }
    public var configMap: ConfigMap? { manifests.configMaps.first }
    /// Nil for kinds Hairpin knows nothing of.
    public var resource: ResourceKind? { ResourceKind.allCases.first { $0.kind == kind } }
    public var warnings: [InputWarning] { manifests.warnings }

    /// The objects of a document, a List's one by one.
    public static func read(_ document: YAMLValue) throws(InputError) -> [AppliedObject] {
        if let kind = try document["kind"]?.string(), kind.hasSuffix("List"), case .sequence = document["items"]?.content {
            var result: [AppliedObject] = []
            for item in try document.items("items") { result += try read(item) }
            return result
        }
        var loader = ManifestLoader()
        try loader.load(document: document)
        guard let kind = try document["kind"]?.string(), kind != "List" else { return [] }
        let object = AppliedObject(
            kind: kind, apiVersion: try document["apiVersion"]?.string() ?? "v1", metadata: try ManifestLoader.metadata(of: document, kind: kind),
            source: JSONValue(document.node), manifests: loader.manifests)
        if kind == "Node" { throw document.error(problem: "cannot be applied while the cluster runs", fix: "List nodes under spec.cluster.nodes or spec.manifests.") }
        return [object]
    }

    /// "service/web", "deployment.apps/web", as kubectl writes it.
    var words: String { "\(qualifiedName)/\(metadata.name)" }
    var qualifiedName: String {
        if let resource { return resource.qualifiedName }
        let group = apiVersion.split(separator: "/").dropLast().first.map { "." + $0 } ?? ""
        return kind.lowercased() + group
    }
}

/// An object by its kind and name, as `kubectl delete` takes it.
public struct ObjectTarget: Sendable, Hashable {
    public var kind: String
    public var key: ObjectKey
    /// "service", "deployment.apps".
    var qualifiedName: String
    /// "services", "deployments.apps", as the API server's errors have it.
    var plural: String

    public init(_ resource: ResourceKind, _ key: ObjectKey) {
        kind = resource.kind
        self.key = resource.isNamespaced ? key : ObjectKey(namespace: "", name: key.name)
        qualifiedName = resource.qualifiedName
        plural = resource.rawValue + resource.qualifiedName.dropFirst(resource.singular.count)
    }
    /// What `kubectl delete -f` deletes.
    public init(_ object: AppliedObject) {
        kind = object.kind
        key = object.metadata.key
        qualifiedName = object.qualifiedName
        plural = object.resource.map { ObjectTarget($0, object.metadata.key).plural } ?? object.kind.lowercased() + "s"
    }
}
