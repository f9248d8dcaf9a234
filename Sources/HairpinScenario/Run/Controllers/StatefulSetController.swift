import HairpinCluster
import HairpinEngine

/// A StatefulSet: pods with numbers, made upwards and deleted downwards, one at a time unless `podManagementPolicy` is Parallel (`updateStatefulSet` in
/// pkg/controller/statefulset/stateful_set_control.go).
final class StatefulSetController: WorkloadController {
    let workload: Int
    private let strategy: RolloutStrategy
    private let patience: Duration
    private var replicas: Int
    /// By place: the ordinal less the first one.
    private var slots: [Int: Slot] = [:]
    private var spares: [ArraySlice<Int>]
    /// Of the template as it is, and of the one that all pods had last.
    private var revision = 0
    private var revisionBefore = 0
    private(set) var isSettled = true

    private struct Slot {
        var pod: PodLife
        var revision: Int
    }
    var pods: [PodLife] { slots.keys.sorted().compactMap { slots[$0]?.pod } }

    init(_ plan: PlannedWorkload, at index: Int, _ pods: [PodLife]) {
        workload = index
        strategy = plan.strategy
        patience = .seconds(Int64(plan.strategy.minReadySeconds))
        replicas = plan.replicas
        spares = plan.spares.map { $0[...] }
        for (place, pod) in pods.enumerated() { slots[place] = Slot(pod: pod, revision: 0) }
    }

    func restart() {
        revision += 1
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
                guard let next = spares[place].popFirst() else { preconditionFailure("no pod is left of those planned for ordinal \(place)") }
                slots[place] = Slot(pod: world.make(next, at: now), revision: isUpdated(place) ? revision : revisionBefore)
                changed = true
                if isOrdered { return true }
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
