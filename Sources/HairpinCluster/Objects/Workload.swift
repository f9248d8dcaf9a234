/// A controller that makes pods from a template.
public struct Workload: Sendable {
    public enum Kind: String, Sendable, CaseIterable {
        case deployment = "Deployment"
        case replicaSet = "ReplicaSet"
        case statefulSet = "StatefulSet"
        case daemonSet = "DaemonSet"
        case job = "Job"
        case replicationController = "ReplicationController"
    }
    public var kind: Kind
    public var metadata: ObjectMeta
    /// Pods wanted; for a Job, how many run at once. A DaemonSet has as many as nodes that fit.
    public var replicas: Int
    /// Of a Job: pods that must complete.
    public var completions: Int
    public var selector: LabelSelector
    public var template: PodTemplate
    /// Of a StatefulSet: the headless Service that names its pods.
    public var serviceName: String?
    /// Of a StatefulSet: the number of its first pod.
    public var firstOrdinal: Int
    /// Of a Deployment `strategy`, of a StatefulSet or DaemonSet `updateStrategy`.
    public var strategy = RolloutStrategy()
    public var source: JSONValue
}

/// A controller as kubectl names it: its kind, namespace and name.
public struct WorkloadReference: Hashable, Sendable {
    public var kind: Workload.Kind
    public var key: ObjectKey
    public init(_ kind: Workload.Kind, _ key: ObjectKey) { (self.kind, self.key) = (kind, key) }
    /// "deployment.apps/web", as kubectl prints it.
    public var description: String { "\(resource?.qualifiedName ?? kind.rawValue)/\(key.name)" }
    /// "deployments.apps", as the API server's errors have it.
    public var plural: String {
        guard let resource else { return kind.rawValue }
        return resource.rawValue + resource.qualifiedName.dropFirst(resource.singular.count)
    }
    private var resource: ResourceKind? { ResourceKind.allCases.first { $0.workloadKind == kind } }
}

/// Of controllers that `ObjectValidation` finds nothing wrong with.
extension Workload {
    init(_ value: YAMLValue, kind: Kind, metadata: ObjectMeta) throws(InputError) {
        self.kind = kind
        self.metadata = metadata
        source = JSONValue(value.node)
        let spec = try value.require("spec")
        var claims: [Volume] = []
        for claim in try spec.items("volumeClaimTemplates") {
            claims.append(Volume(name: try claim["metadata"]?.string("name") ?? "", source: .other("persistentVolumeClaim")))
        }
        template = try PodTemplate(try spec.require("template"), claims: claims)
        replicas = kind == .daemonSet ? 0 : try spec.integer("replicas", in: 0...Workload.maximumReplicas) ?? 1
        completions = 0
        if kind == .job {
            let parallelism = try spec.integer("parallelism", in: 0...Workload.maximumReplicas)
            completions = try spec.integer("completions", in: 0...Workload.maximumReplicas) ?? parallelism ?? 1
            replicas = min(parallelism ?? 1, completions)
        }
        strategy = try RolloutStrategy.read(spec, of: kind)
        serviceName = try spec.string("serviceName")
        firstOrdinal = try spec["ordinals"]?.integer("start", in: 0...Workload.maximumReplicas) ?? 0
        switch kind {
        case .replicationController:
            let labels = try Names.labels(spec["selector"])
            selector = LabelSelector(matchLabels: labels.isEmpty ? template.labels : labels)
        case .job:
            selector = LabelSelector(matchLabels: ["job-name": metadata.name])
        default:
            selector = try LabelSelector(try spec.require("selector"))
        }
    }

    /// More than any cluster runs of one thing; it keeps a slip of the finger from filling the memory.
    public static let maximumReplicas = 100_000
}
