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
    /// Of a Deployment: `strategy`.
    public var strategy = RolloutStrategy()
    public var source: JSONValue
}

/// How a Deployment replaces its pods: `spec.strategy`.
public struct RolloutStrategy: Sendable, Hashable {
    /// A number, or per cent of the replicas.
    public enum Amount: Sendable, Hashable {
        case count(Int), percent(Int)
        func of(_ replicas: Int, roundsUp: Bool) -> Int {
            switch self {
            case .count(let count): count
            case .percent(let share): (replicas * share + (roundsUp ? 99 : 0)) / 100
            }
        }
    }
    /// `Recreate`: all old pods end before the first new one is made.
    public var recreates = false
    public var maxSurge = Amount.percent(25)
    public var maxUnavailable = Amount.percent(25)
    public var minReadySeconds = 0
    public init() {}

    /// Pods above the number wanted, and below it; one below where both come to nothing (`ResolveFenceposts`).
    public func bounds(_ replicas: Int) -> (surge: Int, unavailable: Int) {
        if recreates { return (0, replicas) }
        let surge = maxSurge.of(replicas, roundsUp: true)
        let unavailable = min(maxUnavailable.of(replicas, roundsUp: false), replicas)
        return surge == 0 && unavailable == 0 ? (0, 1) : (surge, unavailable)
    }
}

extension Workload {
    init(_ value: YAMLValue, kind: Kind, metadata: ObjectMeta) throws(InputError) {
        self.kind = kind
        self.metadata = metadata
        source = JSONValue(value.node)
        let spec = try value.require("spec")
        var claims: [Volume] = []
        for claim in try spec.items("volumeClaimTemplates") {
            claims.append(Volume(name: try Names.label(try claim.require("metadata").require("name")), source: .other("persistentVolumeClaim")))
        }
        template = try PodTemplate(try spec.require("template", fix: "Add \"template:\" with metadata and spec of the pods."), claims: claims)
        replicas = kind == .daemonSet ? 0 : try spec.integer("replicas", in: 0...Workload.maximumReplicas) ?? 1
        completions = 0
        if kind == .job {
            let parallelism = try spec.integer("parallelism", in: 0...Workload.maximumReplicas)
            completions = try spec.integer("completions", in: 0...Workload.maximumReplicas) ?? parallelism ?? 1
            replicas = min(parallelism ?? 1, completions)
        }
        if kind == .deployment { strategy = try RolloutStrategy.read(spec) }
        serviceName = try spec.string("serviceName")
        firstOrdinal = try spec["ordinals"]?.integer("start", in: 0...Workload.maximumReplicas) ?? 0
        let written = spec["selector"]
        switch kind {
        case .replicationController:
            let labels = try Names.labels(written)
            selector = LabelSelector(matchLabels: labels.isEmpty ? template.labels : labels)
        case .job:
            selector = LabelSelector(matchLabels: ["job-name": metadata.name])
        default:
            let place = try spec.require("selector", fix: "Add \"selector:\" with \"matchLabels:\" that match the template's labels.")
            selector = try LabelSelector(place)
            guard !selector.matchLabels.isEmpty || !selector.requirements.isEmpty else {
                throw place.error(problem: "is empty, which is not allowed for a \(kind.rawValue)", fix: "Add \"matchLabels:\" that match the template's labels.")
            }
        }
        if kind != .job, !selector.matches(template.labels) {
            let labels = spec["template"]?["metadata"]?["labels"] ?? spec["template"]!
            throw labels.error(problem: "`selector` does not match template `labels`", fix: "Give the template the labels \(selector.text).")
        }
        let allowed: [PodTemplate.RestartPolicy] = kind == .job ? [.onFailure, .never] : [.always]
        guard allowed.contains(template.restartPolicy) else {
            let place = spec["template"]?["spec"]?["restartPolicy"] ?? spec["template"]?["spec"] ?? spec
            throw place.error(
                problem: "is not a restart policy for a \(kind.rawValue)", fix: "Write restartPolicy: \(allowed.map(\.rawValue).joined(separator: " or ")).")
        }
    }

    /// More than any cluster runs of one thing; it keeps a slip of the finger from filling the memory.
    static let maximumReplicas = 100_000
}

extension RolloutStrategy {
    static func read(_ spec: YAMLValue) throws(InputError) -> RolloutStrategy {
        var result = RolloutStrategy()
        result.minReadySeconds = try spec.integer("minReadySeconds", in: 0...86_400) ?? 0
        guard let strategy = spec["strategy"] else { return result }
        result.recreates = try strategy["type"]?.word(among: ["RollingUpdate", "Recreate"]) == "Recreate"
        if let value = strategy["rollingUpdate"]?["maxSurge"] { result.maxSurge = try amount(value) }
        if let value = strategy["rollingUpdate"]?["maxUnavailable"] { result.maxUnavailable = try amount(value) }
        return result
    }

    private static func amount(_ value: YAMLValue) throws(InputError) -> Amount {
        let text = try value.scalarText()
        if text.hasSuffix("%"), let share = Int(text.dropLast()), 0...100 ~= share { return .percent(share) }
        guard let count = Int(text), 0...Workload.maximumReplicas ~= count else {
            throw value.error(problem: "is neither a number of pods nor per cent", fix: "Write a number such as 1, or \"25%\".")
        }
        return .count(count)
    }
}
