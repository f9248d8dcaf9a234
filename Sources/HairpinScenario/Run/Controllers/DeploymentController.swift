import HairpinCluster
import HairpinEngine

/// A Deployment: its ReplicaSets, one for each revision of the template, grow and shrink by its strategy (pkg/controller/deployment: rolling.go, recreate.go,
/// sync.go).
final class DeploymentController: WorkloadController {
    let reference: WorkloadReference
    private var strategy: RolloutStrategy
    private var patience: Duration
    private var replicas: Int
    /// Oldest first; the last one is made of the template as it is.
    private var sets: [ReplicaPods]
    /// The number of pods, surge among them, before the Deployment was last scaled (annotation `deployment.kubernetes.io/max-replicas`); nil when the sets know
    /// the present number.
    private var limitBefore: Int?
    var isSettled: Bool
    var pods: [PodLife] { sets.flatMap(\.pods) }

    init(_ plan: PlannedWorkload, template: Int, _ pods: [PodLife]) {
        reference = plan.reference
        strategy = plan.strategy
        patience = .seconds(Int64(plan.strategy.minReadySeconds))
        replicas = plan.replicas
        sets = [ReplicaPods(plan.reference, SparePods.Slot(template: template), replicas: plan.replicas, pods: pods)]
        isSettled = pods.count == plan.replicas
    }

    func restart() { roll(to: SparePods.Slot(template: newest.slot.template, restarts: newest.slot.restarts + 1)) }

    func update(_ plan: PlannedWorkload, template: Int) {
        strategy = plan.strategy
        patience = .seconds(Int64(plan.strategy.minReadySeconds))
        if plan.replicas != replicas { scale(to: plan.replicas) }
        // An earlier restart stays in the template: the manifest knows nothing of its annotation.
        if template != newest.slot.template { roll(to: SparePods.Slot(template: template, restarts: newest.slot.restarts)) }
        isSettled = false
    }

    /// The template has become another one, or is again one whose ReplicaSet is still there.
    private func roll(to slot: SparePods.Slot) {
        if let place = sets.firstIndex(where: { $0.slot == slot }) {
            sets.append(sets.remove(at: place))
        } else {
            sets.append(ReplicaPods(reference, slot, replicas: 0))
        }
        isSettled = false
    }

    func scale(to replicas: Int) {
        if limitBefore == nil { limitBefore = self.replicas + strategy.bounds(self.replicas).surge }
        self.replicas = replicas
        isSettled = false
    }

    func reconcile(at now: Instant, _ world: World) -> Bool {
        var changed = false
        if strategy.recreates {
            let old = sets.dropLast()
            for set in old {
                set.replicas = 0
                changed = set.manage(at: now, related: pods, world) || changed
            }
            if old.allSatisfy(\.pods.isEmpty) { newest.replicas = replicas }
            limitBefore = nil
        } else {
            if let limitBefore { spread(from: limitBefore) }
            limitBefore = nil
            roll(at: now)
        }
        for set in sets { changed = set.manage(at: now, related: pods, world) || changed }
        let last = newest
        sets.removeAll { $0 !== last && $0.replicas == 0 && $0.pods.isEmpty }
        isSettled = sets.count == 1 && newest.replicas == replicas && newest.isWhole(at: now, minimum: patience)
        return changed
    }

    private var newest: ReplicaPods { sets[sets.count - 1] }
    private var total: Int { sets.reduce(0) { $0 + $1.replicas } }

    /// A Deployment that was scaled hands the difference to its only ReplicaSet with pods, or to all in proportion to their size (`scale`, sync.go).
    private func spread(from limitBefore: Int) {
        let active = sets.filter { $0.replicas > 0 }
        if active.count <= 1 {
            (active.first ?? newest).replicas = replicas
            return
        }
        let limit = replicas == 0 ? 0 : replicas + strategy.bounds(replicas).surge
        let difference = limit - total
        // The largest first; of equals the newest when pods are added, the oldest when they go.
        let order = active.indices.sorted { a, b in
            active[a].replicas != active[b].replicas ? active[a].replicas > active[b].replicas : difference > 0 ? a > b : a < b
        }
        var left = difference
        for place in order where left != 0 {
            let size = active[place].replicas
            let share = replicas == 0 ? -size : Int((Double(size) * Double(limit) / Double(max(limitBefore, 1))).rounded()) - size
            let part = difference > 0 ? min(share, left) : max(share, left)
            active[place].replicas += part
            left -= part
        }
        // What rounding leaves is the largest one's.
        if let first = order.first { active[first].replicas = max(active[first].replicas + left, 0) }
    }

    /// `reconcileNewReplicaSet` and `reconcileOldReplicaSets`, rolling.go.
    private func roll(at now: Instant) {
        let (surge, unavailable) = strategy.bounds(replicas)
        if newest.replicas > replicas {
            newest.replicas = replicas
        } else {
            newest.replicas += max(min(replicas + surge - total, replicas - newest.replicas), 0)
        }
        let old = sets.dropLast().filter { $0.replicas > 0 }
        let least = replicas - unavailable
        let spare = total - least - (newest.replicas - newest.available(at: now, minimum: patience))
        guard !old.isEmpty, spare > 0 else { return }
        var excess = sets.reduce(0) { $0 + $1.available(at: now, minimum: patience) } - least
        // Old pods that do not work go first, as many as may be missing without the new ones that do not work yet.
        var broken = spare
        for set in old where broken > 0 {
            let part = min(broken, max(set.replicas - set.available(at: now, minimum: patience), 0))
            set.replicas -= part
            broken -= part
        }
        for set in old where excess > 0 {
            let part = min(excess, set.replicas)
            set.replicas -= part
            excess -= part
        }
    }
}
