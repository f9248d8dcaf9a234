import HairpinCluster
import HairpinEngine

/// A DaemonSet: one pod for each node, replaced node by node (`rollingUpdate` in pkg/controller/daemon/update.go, `podsShouldBeOnNode` in
/// daemon_controller.go).
final class DaemonSetController: WorkloadController {
    let reference: WorkloadReference
    private var strategy: RolloutStrategy
    private var patience: Duration
    /// In the order of the cluster's nodes.
    private var nodes: [Node]
    private var revision: SparePods.Slot
    var isSettled: Bool

    private struct Daemon {
        var pod: PodLife
        var revision: SparePods.Slot
    }
    private struct Node {
        /// Its place in the plan.
        var place: Int
        /// The template fits here.
        var isWanted = true
        /// Oldest first.
        var daemons: [Daemon]
        var running: [Daemon] { daemons.filter { $0.pod.phase == .present } }
    }
    var pods: [PodLife] { nodes.flatMap { $0.daemons.map(\.pod) } }

    init(_ plan: PlannedWorkload, template: Int, _ pods: [PodLife], in cluster: ClusterPlan) {
        reference = plan.reference
        strategy = plan.strategy
        patience = .seconds(Int64(plan.strategy.minReadySeconds))
        let slot = SparePods.Slot(template: template)
        revision = slot
        nodes = cluster.daemonNodes(of: plan).map { place in
            Node(place: place, daemons: pods.filter { $0.pod.node == cluster.nodes[place].name }.map { Daemon(pod: $0, revision: slot) })
        }
        isSettled = nodes.allSatisfy { $0.daemons.count == 1 }
    }

    func restart() {
        revision.restarts += 1
        isSettled = false
    }

    func update(_ plan: PlannedWorkload, template: Int) {
        strategy = plan.strategy
        patience = .seconds(Int64(plan.strategy.minReadySeconds))
        revision.template = template
        isSettled = false
        isUpdated = true
    }
    /// The template may fit on other nodes now.
    private var isUpdated = false

    private func choose(_ world: World) {
        guard let plan = world.plan.workloads.first(where: { $0.reference == reference }) else { return }
        let wanted = world.plan.daemonNodes(of: plan)
        for index in nodes.indices { nodes[index].isWanted = wanted.contains(nodes[index].place) }
        for place in wanted where !nodes.contains(where: { $0.place == place }) { nodes.append(Node(place: place, daemons: [])) }
        nodes.sort { $0.place < $1.place }
        isUpdated = false
    }
    func scale(to replicas: Int) { preconditionFailure("a DaemonSet has as many pods as nodes") }

    func reconcile(at now: Instant, _ world: World) -> Bool {
        if isUpdated { choose(world) }
        let (surge, unavailable) = strategy.bounds(ofNodes: nodes.count { $0.isWanted })
        var changed = false
        for place in nodes.indices {
            nodes[place].daemons.removeAll { $0.pod.phase == .gone }
            guard nodes[place].isWanted else {
                for daemon in nodes[place].running {
                    world.end(daemon.pod, at: now)
                    changed = true
                }
                continue
            }
            // Without surge the old pod has to be gone first: it may hold ports of the node.
            let isMissing = surge > 0 ? nodes[place].running.isEmpty : nodes[place].daemons.isEmpty
            if isMissing, make(place, at: now, world) { changed = true }
        }
        nodes.removeAll { !$0.isWanted && $0.daemons.isEmpty }
        if strategy.kind != .onDelete { changed = (surge > 0 ? surgeOn(surge, at: now, world) : replace(unavailable, at: now, world)) || changed }
        isSettled = nodes.allSatisfy { node in
            node.daemons.count == 1 && node.isWanted && (node.daemons[0].revision == revision || strategy.kind == .onDelete) && isAvailable(node.daemons[0], now)
        }
        return changed
    }

    private func isAvailable(_ daemon: Daemon, _ now: Instant) -> Bool { daemon.pod.isAvailable(at: now, minimum: patience) }

    private func make(_ place: Int, at now: Instant, _ world: World) -> Bool {
        var slot = revision
        slot.place = nodes[place].place
        guard let pod = world.makeSpare(of: reference, slot, at: now) else { return false }
        nodes[place].daemons.append(Daemon(pod: pod, revision: revision))
        return true
    }

    /// Deletes old pods, on so many nodes at a time that no more than `most` are without one that is available.
    private func replace(_ most: Int, at now: Instant, _ world: World) -> Bool {
        var missing = 0
        var broken: [PodLife] = []
        var candidates: [PodLife] = []
        for node in nodes where node.isWanted {
            guard let daemon = node.running.last else {
                missing += 1
                continue
            }
            if daemon.revision == revision {
                if !isAvailable(daemon, now) { missing += 1 }
            } else if isAvailable(daemon, now) {
                candidates.append(daemon.pod)
            } else {
                broken.append(daemon.pod)
            }
        }
        let doomed = broken + candidates.prefix(max(most - missing, 0))
        for pod in doomed { world.end(pod, at: now) }
        return !doomed.isEmpty
    }

    /// Makes new pods beside old ones, on up to `most` nodes at a time; an old one goes when the new one is available.
    private func surgeOn(_ most: Int, at now: Instant, _ world: World) -> Bool {
        var surging = 0
        var doomed: [PodLife] = []
        var broken: [Int] = []
        var candidates: [Int] = []
        for place in nodes.indices {
            let new = nodes[place].running.last { $0.revision == revision }
            let old = nodes[place].running.filter { $0.revision != revision }
            guard let last = old.last else { continue }
            // A restart during another leaves two old ones: the one that works stays.
            let kept = old.first { isAvailable($0, now) } ?? last
            doomed += old.filter { $0.pod !== kept.pod }.map(\.pod)
            if let new {
                if isAvailable(new, now) { doomed.append(kept.pod) } else { surging += 1 }
            } else if isAvailable(kept, now) {
                candidates.append(place)
            } else {
                broken.append(place)
            }
        }
        let chosen = broken + candidates.prefix(max(most - surging, 0))
        for pod in doomed { world.end(pod, at: now) }
        var changed = !doomed.isEmpty
        for place in chosen where make(place, at: now, world) { changed = true }
        return changed
    }
}
