/// Pods of one workload that steps to come may make: planned from the start, with names, nodes and addresses, and made when its controller asks for one.
public struct SparePods: Sendable {
    /// Which of them a controller asks for.
    public struct Slot: Hashable, Sendable {
        /// Of the pods' template: its place in `templates`.
        public var template: Int
        /// How often the workload had been restarted, where that makes other pods: of Deployments and DaemonSets.
        public var restarts: Int
        /// Of a StatefulSet the ordinal less the first one; of a DaemonSet the node's place in the plan.
        public var place: Int
        public init(template: Int = 0, restarts: Int = 0, place: Int = 0) { (self.template, self.restarts, self.place) = (template, restarts, place) }
    }
    /// As manifests write them, first the one the workload begins with, then those of the steps in order.
    public internal(set) var templates: [PodTemplate] = []
    private var pods: [Slot: ArraySlice<Int>] = [:]
    /// Positions in `ClusterPlan.pods`, in the order of the plan.
    public private(set) var all: [Int] = []

    /// The place of a template among those that were planned for.
    public func template(_ source: JSONValue) -> Int? { templates.firstIndex { $0.source == source } }
    func count(_ slot: Slot) -> Int { pods[slot]?.count ?? 0 }

    mutating func add(_ new: Range<Int>, to slot: Slot) {
        pods[slot, default: []] += Array(new)
        all += Array(new)
    }
    /// The next one, which is then no longer spare.
    mutating func take(_ slot: Slot) -> Int? { pods[slot]?.popFirst() }
}

extension ClusterPlan {
    /// The next pod of those planned for a workload; nil when all have been made.
    public mutating func takeSpare(of workload: WorkloadReference, _ slot: SparePods.Slot) -> Int? { spares[workload]?.take(slot) }
    /// Whether a DaemonSet has a pod there.
    public func isDaemonNode(_ node: PlannedNode, of workload: PlannedWorkload) -> Bool { node.fits(workload.template, isDaemon: true) }
    /// The workload of a pod, also of one that is not made yet; a Deployment's ReplicaSets are the Deployment.
    public func workload(ofPod index: Int) -> WorkloadReference? {
        if let found = spares.first(where: { $0.value.all.contains(index) }) { return found.key }
        let key = pods[index].key
        return workloads.first { $0.metadata.owner == nil && $0.pods.contains(key) }?.reference
    }
    /// The place of a workload's template among those of its spares: 0 where no step writes another.
    public func templateNumber(of workload: PlannedWorkload) -> Int { spares[workload.reference]?.template(workload.template.source) ?? 0 }
}

extension PlannedWorkload {
    /// A StatefulSet whose pods are made one after another, each when the one before is ready.
    public var isMadeInOrder: Bool { kind == .statefulSet && !strategy.isParallel && replicas > 1 }
}

/// What steps of a scenario do to one controller, in no known order.
public struct WorkloadStory: Sendable {
    /// `kubectl rollout restart`, so often.
    public var restarts = 0
    /// The numbers of replicas that it is scaled to.
    public var scales: [Int] = []
    /// Its manifests that steps apply, in the order of the steps.
    public var applied: [Workload] = []
    /// How often it is deleted, and how often one of its pods is.
    public var deletions = 0
    public var podDeletions = 0
    /// The first step that names it: workloads that only steps make are planned in this order.
    public var firstStep = 0
    public init(firstStep: Int = 0) { self.firstStep = firstStep }

    private var isPlain: Bool { applied.isEmpty && deletions == 0 && podDeletions == 0 }

    /// Templates that its pods may have, in the order of `SparePods.templates`.
    func templates(of workload: PlannedWorkload?) -> [PodTemplate] {
        var result: [PodTemplate] = workload.map { [$0.template] } ?? []
        for new in applied.map(\.podTemplate) where !result.contains(where: { $0.source == new.source }) { result.append(new) }
        return result
    }

    /// How many pods of each kind it may make at most, whatever the order of its steps. `nodes` are the places of those a template's daemons fit on.
    func spares(of workload: PlannedWorkload?, nodes: (PodTemplate) -> [Int]) -> [(slot: SparePods.Slot, count: Int)] {
        let templates = templates(of: workload)
        guard let kind = workload?.kind ?? applied.first?.kind else { return [] }
        let start = workload?.replicas ?? 0
        let most = max(start, scales.max() ?? 0, applied.map(\.replicas).max() ?? 0)
        var result: [(slot: SparePods.Slot, count: Int)] = []
        // A manifest that writes the number there is anyway scales nothing.
        let numbers = Set([start] + scales + applied.map(\.replicas))
        let sizes = scales + (numbers.count == 1 && deletions == 0 ? [] : applied.map(\.replicas))
        for (number, template) in templates.enumerated() {
            let applications = applied.count { $0.template.source == template.source }
            switch kind {
            case .deployment:
                if isPlain, restarts == 0 {
                    result.append((SparePods.Slot(), growth(from: start)))
                    continue
                }
                // Scaling adds to the newest pods; while old ones are being replaced, to both (`scale` in pkg/controller/deployment, sync.go), and the new ones may
                // have been reduced before by more than the difference.
                let strategies = (workload.map { [$0.strategy] } ?? []) + applied.map(\.strategy)
                let scaled = sizes.reduce(0) { sum, size in sum + size + (strategies.map { $0.bounds(size).surge }.max() ?? 0) } + podDeletions
                for restart in 0...restarts {
                    result.append((SparePods.Slot(template: number, restarts: restart), (applications + (restart == 0 ? 0 : 1)) * most + scaled))
                }
            case .replicaSet, .replicationController:
                result.append((SparePods.Slot(template: number), isPlain ? growth(from: start) : sizes.reduce(0, +) + podDeletions))
            case .statefulSet:
                for ordinal in 0..<most {
                    // A pod is made again after a restart, or after it went because fewer were wanted.
                    let isThere = ordinal < start
                    let up = scales.count { $0 > ordinal }
                    let down = scales.count { $0 <= ordinal }
                    let plain = restarts + min(up, down + (isThere ? 0 : 1))
                    let events = restarts + up + applied.count { $0.replicas > ordinal } + podDeletions
                    result.append((SparePods.Slot(template: number, place: ordinal), isPlain ? plain : events))
                }
            case .daemonSet:
                let places = nodes(template)
                for restart in 0...restarts {
                    let count = isPlain && restart == 0 ? 0 : applications + (restart == 0 ? 0 : 1) + podDeletions
                    for place in places { result.append((SparePods.Slot(template: number, restarts: restart, place: place), count)) }
                }
            case .job: result.append((SparePods.Slot(template: number), applied.filter { $0.template.source == template.source }.reduce(0) { $0 + $1.replicas }))
            }
        }
        return result
    }

    /// Each step adds at most what it asks for, less the least that may be there before it.
    private func growth(from replicas: Int) -> Int {
        scales.indices.reduce(0) { sum, step in
            let others = scales.indices.filter { $0 != step }.map { scales[$0] }
            return sum + max(scales[step] - min(replicas, others.min() ?? replicas), 0)
        }
    }
}
