import HairpinCluster
import HairpinEngine

/// What a controller of pods does while time runs. Only those that steps restart or scale have one: the others have done their work in the plan.
///
/// It looks when the control plane does (`World.tick`); pods come from those the plan keeps for it.
protocol WorkloadController: AnyObject {
    /// Position in the plan's workloads.
    var workload: Int { get }
    /// Pods that are there, those being deleted among them, in the order in which they were made or by ordinal.
    var pods: [PodLife] { get }
    /// Nothing is left to do.
    var isSettled: Bool { get }
    /// `kubectl rollout restart`: the template has a new revision.
    func restart()
    func scale(to replicas: Int)
    /// One look. True when pods were made or deleted.
    func reconcile(at now: Instant, _ world: World) -> Bool
}

extension World {
    /// Of every workload that a step restarts or scales, in the order of the plan.
    func makeControllers() -> [any WorkloadController] {
        let stories = scenario.configuration.stories
        return plan.workloads.indices.compactMap { index in
            let workload = plan.workloads[index]
            guard stories[workload.reference] != nil else { return nil }
            let pods = workload.pods.compactMap(life)
            switch workload.kind {
            case .deployment: return DeploymentController(workload, at: index, pods)
            case .replicaSet, .replicationController: return ReplicaSetController(workload, at: index, pods)
            case .statefulSet: return StatefulSetController(workload, at: index, pods)
            case .daemonSet: return DaemonSetController(workload, at: index, pods)
            case .job: return nil
            }
        }
    }

    func controller(of reference: WorkloadReference) -> any WorkloadController {
        guard let found = controllers.first(where: { plan.workloads[$0.workload].reference == reference }) else {
            preconditionFailure("\(reference.description) has no controller: no step names it")
        }
        return found
    }

    /// One look of all controllers that have something to do. True when pods were made or deleted.
    func reconcile(at now: Instant) -> Bool {
        if controllers.isEmpty { return false }
        for pod in pods where pod.isOnNode { pod.noteReadiness(at: now) }
        var changed = false
        for controller in controllers where !controller.isSettled {
            changed = controller.reconcile(at: now, self) || changed
            let keys = controller.pods.map(\.pod.key)
            plan.workloads[controller.workload].pods = keys
            // The ReplicaSet that a Deployment began with.
            let reference = plan.workloads[controller.workload].reference
            for index in plan.workloads.indices where plan.workloads[index].metadata.owner == OwnerReference(kind: reference.kind.rawValue, name: reference.key.name)
                && plan.workloads[index].key.namespace == reference.key.namespace
            {
                plan.workloads[index].pods = keys.filter { plan.pod($0)?.metadata.owner?.name == plan.workloads[index].key.name }
            }
        }
        return changed
    }

    /// A spare pod is made: its cable is plugged in, and the kubelet starts it at its next look.
    func make(_ index: Int, at now: Instant) -> PodLife {
        let life = pods[index]
        plan.make(index)
        life.create(at: now)
        plug(life, true)
        log.info("\(now) \(life.pod.key) is made")
        warnIfPending(life)
        return life
    }

    func end(_ life: PodLife, at now: Instant) {
        life.delete(at: now)
        log.info("\(now) \(life.pod.key) is deleted")
    }

    /// The veth pair of a pod that is not there has both ends down: a real node does not have it, and its bridge floods nothing there.
    func plug(_ pod: PodLife, _ isThere: Bool) {
        guard pod.pod.address != nil, let node = pod.pod.node else { return }
        simulation.setUp(isThere, host: pod.pod.hostName, interface: "eth0")
        simulation.setUp(isThere, host: node, interface: plan.vethName(of: pod.pod))
    }
}
