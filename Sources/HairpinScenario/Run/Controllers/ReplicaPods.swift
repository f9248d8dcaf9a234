import HairpinCluster
import HairpinEngine

/// Pods of one template that are kept at a number (`manageReplicas` in pkg/controller/replicaset).
final class ReplicaPods {
    /// Pods wanted.
    var replicas: Int
    private(set) var pods: [PodLife]
    /// Which of the pods planned for the workload are this set's.
    let slot: SparePods.Slot
    private let workload: WorkloadReference

    init(_ workload: WorkloadReference, _ slot: SparePods.Slot, replicas: Int, pods: [PodLife] = []) {
        (self.workload, self.slot, self.replicas, self.pods) = (workload, slot, replicas, pods)
    }

    /// The same pods, of which new ones come from another slot.
    func following(_ slot: SparePods.Slot) -> ReplicaPods { ReplicaPods(workload, slot, replicas: replicas, pods: pods) }

    /// Those that are not being deleted.
    var active: [PodLife] { pods.filter { $0.phase == .present } }
    func available(at now: Instant, minimum: Duration) -> Int { pods.count { $0.isAvailable(at: now, minimum: minimum) } }
    /// All are there, and none is more.
    func isWhole(at now: Instant, minimum: Duration) -> Bool {
        pods.count == replicas && available(at: now, minimum: minimum) == replicas
    }

    /// Makes what is missing and deletes what is too much. `related` are the pods of all ReplicaSets of the same Deployment. True when something changed.
    func manage(at now: Instant, related: [PodLife], _ world: World) -> Bool {
        pods.removeAll { $0.phase == .gone }
        let active = self.active
        if active.count < replicas {
            let before = pods.count
            for _ in active.count..<replicas { if let new = world.makeSpare(of: workload, slot, at: now) { pods.append(new) } }
            return pods.count > before
        }
        guard active.count > replicas else { return false }
        for pod in ReplicaPods.deletionOrder(active, related: related, at: now).prefix(active.count - replicas) { world.end(pod, at: now) }
        return true
    }

    // MARK: Victims

    /// The order in which a ReplicaSet gives pods up (`ActivePodsWithRanks` in pkg/controller/controller_utils.go). Equals stay in the order in which they were
    /// made, where the API server's is none. As there, ages and uids do not always make one order of three pods; which one it is depends on nothing but the pods.
    static func deletionOrder(_ pods: [PodLife], related: [PodLife], at now: Instant) -> [PodLife] {
        var onNode: [String?: Int] = [:]
        for pod in related where pod.phase == .present { onNode[pod.pod.node, default: 0] += 1 }
        let candidates = pods.enumerated().map { Candidate($1, place: $0, companions: onNode[$1.pod.node] ?? 0, now: now) }
        return candidates.sorted(by: goesFirst).map(\.pod)
    }

    private struct Candidate {
        let pod: PodLife
        let place: Int
        let isAssigned: Bool
        let isRunning: Bool
        let isReady: Bool
        /// `controller.kubernetes.io/pod-deletion-cost`.
        let cost: Int
        /// Pods of the same set on its node, itself among them.
        let companions: Int
        /// Whole seconds, as the API has times.
        let readyAt: UInt64
        let createdAt: UInt64
        /// Ages are compared by their powers of two (feature LogarithmicScaleDown), so that not always the youngest go.
        let readyAge: Int
        let age: Int
        let restarts: Int
        let sidecarRestarts: Int

        init(_ pod: PodLife, place: Int, companions: Int, now: Instant) {
            self.pod = pod
            self.place = place
            self.companions = companions
            isAssigned = pod.pod.node != nil
            isRunning = pod.mains.contains(where: \.hasEverStarted)
            isReady = pod.isReady
            cost = PodLife.deletionCost(pod.pod.metadata.annotations[PodLife.deletionCostKey] ?? "") ?? 0
            readyAt = (pod.readySince ?? now).nanoseconds / 1_000_000_000
            createdAt = pod.createdAt.nanoseconds / 1_000_000_000
            readyAge = Candidate.magnitude(since: readyAt, now)
            age = Candidate.magnitude(since: createdAt, now)
            restarts = pod.mains.map(\.restarts).max() ?? 0
            sidecarRestarts = pod.containers.filter { $0.isInit && $0.container.isSidecar }.map(\.restarts).max() ?? 0
        }

        private static func magnitude(since seconds: UInt64, _ now: Instant) -> Int {
            let age = now.nanoseconds - min(seconds * 1_000_000_000, now.nanoseconds)
            return age == 0 ? -1 : 63 - age.leadingZeroBitCount
        }
    }

    private static func goesFirst(_ a: Candidate, _ b: Candidate) -> Bool {
        if a.isAssigned != b.isAssigned { return !a.isAssigned }
        if a.isRunning != b.isRunning { return !a.isRunning }
        if a.isReady != b.isReady { return !a.isReady }
        if a.cost != b.cost { return a.cost < b.cost }
        if a.companions != b.companions { return a.companions > b.companions }
        if a.isReady, a.readyAt != b.readyAt { return a.readyAge == b.readyAge ? a.pod.pod.uid < b.pod.pod.uid : a.readyAge < b.readyAge }
        if a.restarts != b.restarts { return a.restarts > b.restarts }
        if a.sidecarRestarts != b.sidecarRestarts { return a.sidecarRestarts > b.sidecarRestarts }
        if a.createdAt != b.createdAt { return a.age == b.age ? a.pod.pod.uid < b.pod.pod.uid : a.age < b.age }
        return a.place < b.place
    }
}

/// A ReplicaSet or ReplicationController of its own.
final class ReplicaSetController: WorkloadController {
    let reference: WorkloadReference
    private var own: ReplicaPods
    private var patience: Duration
    var isSettled: Bool
    var pods: [PodLife] { own.pods }

    init(_ plan: PlannedWorkload, template: Int, _ pods: [PodLife]) {
        reference = plan.reference
        own = ReplicaPods(plan.reference, SparePods.Slot(template: template), replicas: plan.replicas, pods: pods)
        patience = .seconds(Int64(plan.strategy.minReadySeconds))
        isSettled = pods.count == plan.replicas
    }

    func restart() { preconditionFailure("a ReplicaSet has no rollouts") }
    func scale(to replicas: Int) {
        own.replicas = replicas
        isSettled = false
    }
    /// Another template is that of pods made from now on; those there are stay.
    func update(_ plan: PlannedWorkload, template: Int) {
        patience = .seconds(Int64(plan.strategy.minReadySeconds))
        own = own.following(SparePods.Slot(template: template))
        scale(to: plan.replicas)
    }

    func reconcile(at now: Instant, _ world: World) -> Bool {
        let changed = own.manage(at: now, related: own.pods, world)
        isSettled = own.isWhole(at: now, minimum: patience)
        return changed
    }
}
