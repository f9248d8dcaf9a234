/// How a controller replaces its pods: `spec.strategy` of a Deployment, `spec.updateStrategy` of a StatefulSet or DaemonSet.
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
    public enum Kind: String, Sendable, CaseIterable {
        case rollingUpdate = "RollingUpdate"
        /// Of a Deployment: all old pods end before the first new one is made.
        case recreate = "Recreate"
        /// Of a StatefulSet or DaemonSet: a pod is replaced when somebody deletes it, and not before.
        case onDelete = "OnDelete"
    }
    public var kind = Kind.rollingUpdate
    public var maxSurge = Amount.percent(25)
    public var maxUnavailable = Amount.percent(25)
    public var minReadySeconds = 0
    /// Of a StatefulSet: pods with a lower ordinal keep the old template.
    public var partition = 0
    /// Of a StatefulSet: `podManagementPolicy: Parallel`, pods are made and deleted without waiting for each other.
    public var isParallel = false
    public var recreates: Bool { kind == .recreate }
    public init() {}

    /// Of a Deployment: pods above the number wanted, and below it; one below where both come to nothing (`ResolveFenceposts`).
    public func bounds(_ replicas: Int) -> (surge: Int, unavailable: Int) {
        if recreates { return (0, replicas) }
        let surge = maxSurge.of(replicas, roundsUp: true)
        let unavailable = min(maxUnavailable.of(replicas, roundsUp: false), replicas)
        return surge == 0 && unavailable == 0 ? (0, 1) : (surge, unavailable)
    }

    /// Of a DaemonSet: nodes that may have a second pod, and nodes that may have none (`updatedDesiredNodeCounts` in pkg/controller/daemon).
    public func bounds(ofNodes nodes: Int) -> (surge: Int, unavailable: Int) {
        let surge = maxSurge.of(nodes, roundsUp: true)
        let unavailable = maxUnavailable.of(nodes, roundsUp: true)
        return surge == 0 && unavailable == 0 ? (0, 1) : (surge, unavailable)
    }

    /// Of a StatefulSet: pods that may be missing at a time, at least one (`getStatefulSetMaxUnavailable`).
    public func unavailable(ofOrdered replicas: Int) -> Int { max(maxUnavailable.of(replicas, roundsUp: false), 1) }
}

extension RolloutStrategy {
    /// Of a controller that `ObjectValidation` finds nothing wrong with.
    static func read(_ spec: YAMLValue, of kind: Workload.Kind) throws(InputError) -> RolloutStrategy {
        var result = RolloutStrategy()
        result.minReadySeconds = try spec.integer("minReadySeconds") ?? 0
        let strategy: YAMLValue?
        switch kind {
        case .deployment: strategy = spec["strategy"]
        case .statefulSet:
            strategy = spec["updateStrategy"]
            result.isParallel = try spec.string("podManagementPolicy") == "Parallel"
            result.partition = try strategy?["rollingUpdate"]?.integer("partition") ?? 0
            (result.maxSurge, result.maxUnavailable) = (.count(0), .count(1))
        case .daemonSet:
            strategy = spec["updateStrategy"]
            (result.maxSurge, result.maxUnavailable) = (.count(0), .count(1))
        case .replicaSet, .replicationController, .job: return result
        }
        result.kind = try strategy?.string("type").flatMap(Kind.init) ?? .rollingUpdate
        guard let rolling = strategy?["rollingUpdate"] else { return result }
        if let value = rolling["maxSurge"] { result.maxSurge = try amount(value) }
        if let value = rolling["maxUnavailable"] { result.maxUnavailable = try amount(value) }
        return result
    }

    /// A share of more than all is possible for maxSurge alone.
    private static func amount(_ value: YAMLValue) throws(InputError) -> Amount {
        let text = try value.scalarText()
        if text.hasSuffix("%"), let share = Int(text.dropLast()), 0...Workload.maximumReplicas ~= share { return .percent(share) }
        guard let count = Int(text), 0...Int(Int32.max) ~= count else {
            throw value.error(problem: "is neither a number of pods nor per cent", fix: "Write a number such as 1, or \"25%\".")
        }
        return .count(count)
    }
}
