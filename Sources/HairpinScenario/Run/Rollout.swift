import HairpinCluster
import HairpinEngine

/// A Deployment whose pods are being replaced (pkg/controller/deployment, rolling.go and recreate.go).
struct Rollout {
    /// Position in the plan's workloads.
    var workload: Int
    var old: [ObjectKey]
    var new: [ObjectKey]
}

extension World {
    /// `kubectl rollout restart`: what kubectl prints.
    func restart(_ key: ObjectKey) throws(ChangeError) -> [String] {
        let words = try plan.apply(.restart(key))
        guard let index = plan.workloads.firstIndex(where: { $0.kind == .deployment && $0.key == key }), !plan.workloads[index].restarts.isEmpty else { return words }
        let new = plan.workloads[index].restarts.removeFirst()
        var old = plan.workloads[index].pods
        if let running = rollouts.firstIndex(where: { $0.workload == index }) {
            // What is still being made becomes old before it is done.
            old = rollouts[running].old + rollouts[running].new
            rollouts.remove(at: running)
        }
        plan.workloads[index].pods = old + new
        rollouts.append(Rollout(workload: index, old: old, new: new))
        return words
    }

    /// One look of the Deployment controller. True when pods were made or deleted.
    func reconcile(at now: Instant) -> Bool {
        var changed = false
        var left: [Rollout] = []
        for pod in pods where pod.isOnNode { _ = pod.noteReadiness(at: now) }
        for rollout in rollouts {
            changed = step(rollout, at: now) || changed
            let isDone = rollout.old.allSatisfy { life(of: $0)?.phase != .present } && rollout.new.allSatisfy { life(of: $0)?.isReady ?? false }
            if isDone { plan.workloads[rollout.workload].pods = rollout.new } else { left.append(rollout) }
        }
        rollouts = left
        return changed
    }

    private func step(_ rollout: Rollout, at now: Instant) -> Bool {
        let workload = plan.workloads[rollout.workload]
        let patience = Duration.seconds(Int64(workload.strategy.minReadySeconds))
        let (surge, unavailable) = workload.strategy.bounds(workload.replicas)
        let before = rollout.old.compactMap(life)
        let after = rollout.new.compactMap(life)
        var old = before.filter { $0.phase == .present }
        var made = after.filter { $0.phase == .present }.count
        var changed = false
        func create(_ count: Int) {
            for pod in after.filter({ $0.phase == .absent }).prefix(max(count, 0)) {
                pod.create(at: now)
                cut(pod, false)
                made += 1
                changed = true
                log.info("\(now) \(pod.pod.key) is made")
            }
        }
        func delete(_ doomed: ArraySlice<PodLife>) {
            for pod in doomed {
                pod.delete(at: now)
                changed = true
                log.info("\(now) \(pod.pod.key) is deleted")
            }
            old.removeAll { $0.phase != .present }
        }
        if workload.strategy.recreates {
            delete(old[...])
            if !before.contains(where: { $0.isTerminating }) { create(workload.replicas) }
            return changed
        }
        create(min(workload.replicas + surge - old.count - made, workload.replicas - made))
        let newAvailable = after.filter { $0.isAvailable(at: now, minimum: patience) }.count
        let oldAvailable = old.filter { $0.isAvailable(at: now, minimum: patience) }
        let least = workload.replicas - unavailable
        // Old pods that do not work go first, as many as may be missing without the new ones that do not work yet.
        let spare = max(old.count + made - least - (made - newAvailable), 0)
        let broken = old.filter { !$0.isAvailable(at: now, minimum: patience) }
        delete(broken.prefix(spare))
        delete(oldAvailable.prefix(max(min(oldAvailable.count + newAvailable - least, spare - min(broken.count, spare)), 0)))
        return changed
    }

    /// A pod that is not there has its cable cut at both ends.
    func cut(_ pod: PodLife, _ isCut: Bool) {
        guard pod.pod.address != nil, let node = pod.pod.node else { return }
        _ = simulation.setFault(host: pod.pod.hostName, interface: "eth0", lossPerBillion: 0, isCut: isCut)
        _ = simulation.setFault(host: node, interface: plan.vethName(of: pod.pod), lossPerBillion: 0, isCut: isCut)
    }
}
