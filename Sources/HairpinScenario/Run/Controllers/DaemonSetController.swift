import HairpinCluster
import HairpinEngine

/// A DaemonSet: one pod for each node, replaced node by node (`rollingUpdate` in pkg/controller/daemon/update.go, `podsShouldBeOnNode` in
/// daemon_controller.go).
final class DaemonSetController: WorkloadController {
    let workload: Int
    private let strategy: RolloutStrategy
    private let patience: Duration
    /// In the order of the cluster's nodes.
    private var nodes: [Node]
    private let spares: [[Int]]
    private var revision = 0
    private(set) var isSettled = true

    private struct Daemon {
        var pod: PodLife
        var revision: Int
    }
    private struct Node {
        var name: String?
        /// Oldest first.
        var daemons: [Daemon]
        var running: [Daemon] { daemons.filter { $0.pod.phase == .present } }
    }
    var pods: [PodLife] { nodes.flatMap { $0.daemons.map(\.pod) } }

    init(_ plan: PlannedWorkload, at index: Int, _ pods: [PodLife]) {
        workload = index
        strategy = plan.strategy
        patience = .seconds(Int64(plan.strategy.minReadySeconds))
        spares = plan.spares
        nodes = pods.map { Node(name: $0.pod.node, daemons: [Daemon(pod: $0, revision: 0)]) }
    }

    func restart() {
        revision += 1
        isSettled = false
    }
    func scale(to replicas: Int) { preconditionFailure("a DaemonSet has as many pods as nodes") }

    func reconcile(at now: Instant, _ world: World) -> Bool {
        let (surge, unavailable) = strategy.bounds(ofNodes: nodes.count)
        var changed = false
        for place in nodes.indices {
            nodes[place].daemons.removeAll { $0.pod.phase == .gone }
            // Without surge the old pod has to be gone first: it may hold ports of the node.
            let isMissing = surge > 0 ? nodes[place].running.isEmpty : nodes[place].daemons.isEmpty
            if isMissing {
                make(place, at: now, world)
                changed = true
            }
        }
        changed = (surge > 0 ? surgeOn(surge, at: now, world) : replace(unavailable, at: now, world)) || changed
        isSettled = nodes.allSatisfy { node in
            node.daemons.count == 1 && node.daemons[0].revision == revision && isAvailable(node.daemons[0], now)
        }
        return changed
    }

    private func isAvailable(_ daemon: Daemon, _ now: Instant) -> Bool { daemon.pod.isAvailable(at: now, minimum: patience) }

    private func make(_ place: Int, at now: Instant, _ world: World) {
        guard let index = spares[revision].first(where: { world.plan.pods[$0].node == nodes[place].name }) else {
            preconditionFailure("no pod is planned for revision \(revision) on \(nodes[place].name ?? "no node")")
        }
        nodes[place].daemons.append(Daemon(pod: world.make(index, at: now), revision: revision))
    }

    /// Deletes old pods, on so many nodes at a time that no more than `most` are without one that is available.
    private func replace(_ most: Int, at now: Instant, _ world: World) -> Bool {
        var missing = 0
        var broken: [PodLife] = []
        var candidates: [PodLife] = []
        for node in nodes {
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
        for place in chosen { make(place, at: now, world) }
        return !doomed.isEmpty || !chosen.isEmpty
    }
}
