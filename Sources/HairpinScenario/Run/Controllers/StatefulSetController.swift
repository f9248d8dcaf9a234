import HairpinCluster
import HairpinEngine

/// A StatefulSet: pods with numbers, made upwards and deleted downwards, one at a time unless `podManagementPolicy` is Parallel (`updateStatefulSet` in
/// pkg/controller/statefulset/stateful_set_control.go).
final class StatefulSetController: WorkloadController {
    let reference: WorkloadReference
    private var strategy: RolloutStrategy
    private var patience: Duration
    private var replicas: Int
    private let firstOrdinal: Int
    /// By place: the ordinal less the first one.
    private var slots: [Int: Slot] = [:]
    /// Pods of the cluster's beginning that are not made yet, by place.
    private var planned: [Int: PodLife] = [:]
    /// Of the template as it is, and of the one that all pods had last.
    private var revision: Revision
    private var revisionBefore: Revision
    var isSettled: Bool

    /// The template, and how often its pods were to be made anew.
    private struct Revision: Equatable {
        var template: Int
        var restarts = 0
    }
    private struct Slot {
        var pod: PodLife
        var revision: Revision
    }
    var pods: [PodLife] { slots.keys.sorted().compactMap { slots[$0]?.pod } }

    /// `pods` of which none is there yet are made as those of a new set are.
    init(_ plan: PlannedWorkload, template: Int, _ pods: [PodLife]) {
        reference = plan.reference
        strategy = plan.strategy
        patience = .seconds(Int64(plan.strategy.minReadySeconds))
        replicas = plan.replicas
        firstOrdinal = plan.firstOrdinal
        revision = Revision(template: template)
        revisionBefore = revision
        for (place, pod) in pods.enumerated() {
            if pod.phase == .absent { planned[place] = pod } else { slots[place] = Slot(pod: pod, revision: revision) }
        }
        isSettled = slots.count == plan.replicas
    }

    func restart() {
        revision.restarts += 1
        isSettled = false
    }

    func update(_ plan: PlannedWorkload, template: Int) {
        strategy = plan.strategy
        patience = .seconds(Int64(plan.strategy.minReadySeconds))
        replicas = plan.replicas
        revision.template = template
        isSettled = false
    }

    func scale(to replicas: Int) {
        self.replicas = replicas
        isSettled = false
    }

    func reconcile(at now: Instant, _ world: World) -> Bool {
        for (place, slot) in slots where slot.pod.phase == .gone { slots[place] = nil }
        let changed = step(at: now, world)
        let isWhole = slots.count == replicas && (0..<replicas).allSatisfy { isAvailable($0, now) }
        if isWhole, slots.values.allSatisfy({ $0.revision == revision }) { revisionBefore = revision }
        isSettled = isWhole && (0..<replicas).allSatisfy { slots[$0]?.revision == (isUpdated($0) ? revision : slots[$0]?.revision) }
        return changed
    }

    /// The partition keeps the pods below it as they were.
    private func isUpdated(_ place: Int) -> Bool { place >= strategy.partition }
    private func isAvailable(_ place: Int, _ now: Instant) -> Bool { slots[place]?.pod.isAvailable(at: now, minimum: patience) ?? false }

    private func step(at now: Instant, _ world: World) -> Bool {
        var changed = false
        let isOrdered = !strategy.isParallel
        let condemned = slots.keys.filter { $0 >= replicas }.sorted(by: >)
        let firstUnavailable = (0..<replicas).first { !isAvailable($0, now) } ?? condemned.last { !isAvailable($0, now) }
        for place in 0..<replicas {
            if slots[place] == nil {
                // A pod of a set of this name that was deleted still has the name.
                if world.isEnding(ObjectKey(namespace: reference.key.namespace, name: "\(reference.key.name)-\(firstOrdinal + place)")) {
                    if isOrdered { return changed }
                    continue
                }
                let wanted = isUpdated(place) ? revision : revisionBefore
                let first = wanted.template == revisionBefore.template ? planned.removeValue(forKey: place) : nil
                if let pod = first.map({ world.make($0.pod.index, at: now) })
                    ?? world.makeSpare(of: reference, SparePods.Slot(template: wanted.template, place: place), at: now)
                {
                    slots[place] = Slot(pod: pod, revision: wanted)
                    changed = true
                }
                if isOrdered { return changed }
            }
            // One that ends, or is not ready yet, keeps the others waiting.
            if isOrdered, !isAvailable(place, now) { return changed }
        }
        for place in condemned {
            guard let slot = slots[place] else { continue }
            if slot.pod.phase != .present {
                if isOrdered { return changed }
                continue
            }
            // What is not ready may go only if nothing below it is in trouble.
            if isOrdered, !isAvailable(place, now), place != firstUnavailable { return changed }
            world.end(slot.pod, at: now)
            changed = true
            if isOrdered { return true }
        }
        return strategy.kind == .onDelete ? changed : update(at: now, world) || changed
    }

    /// Replaces pods of an older revision, from the highest number to the partition.
    private func update(at now: Instant, _ world: World) -> Bool {
        let most = strategy.unavailable(ofOrdered: replicas)
        // With `maxUnavailable` (feature MaxUnavailableStatefulSet) those that are missing count, wherever they are.
        var room = most == 1 ? 1 : most - (0..<replicas).count { !isAvailable($0, now) }
        var changed = false
        for place in (0..<replicas).reversed() where isUpdated(place) && room > 0 {
            if let slot = slots[place], slot.revision != revision, slot.pod.phase == .present {
                world.end(slot.pod, at: now)
                changed = true
                room -= 1
            } else if most == 1, !isAvailable(place, now) {
                return changed
            }
        }
        return changed
    }
}
