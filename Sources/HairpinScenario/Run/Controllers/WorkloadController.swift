import HairpinCluster
import HairpinEngine

/// What a controller of pods does while time runs. Only those that steps do something to, and StatefulSets at their start, have one: the others have done their
/// work in the plan.
///
/// It looks when the control plane does (`World.tick`); pods come from those the plan keeps for it.
protocol WorkloadController: AnyObject {
    var reference: WorkloadReference { get }
    /// Pods that are there, those being deleted among them, in the order in which they were made or by ordinal.
    var pods: [PodLife] { get }
    /// Nothing is left to do.
    var isSettled: Bool { get set }
    /// `kubectl rollout restart`: the template has a new revision.
    func restart()
    func scale(to replicas: Int)
    /// Its manifest was applied again; `template` is the template's place among those of `SparePods`.
    func update(_ plan: PlannedWorkload, template: Int)
    /// One look. True when pods were made or deleted.
    func reconcile(at now: Instant, _ world: World) -> Bool
}

extension ClusterPlan {
    /// Places of the nodes that a DaemonSet's pods run on.
    func daemonNodes(of workload: PlannedWorkload) -> [Int] { nodes.indices.filter { isDaemonNode(nodes[$0], of: workload) } }
}

extension World {
    /// Of every workload that a step does something to, and of StatefulSets that make their pods one after another, in the order of the plan.
    func makeControllers() -> [any WorkloadController] {
        plan.workloads.compactMap { workload in
            guard plan.configuration.stories[workload.reference] != nil || workload.isMadeInOrder else { return nil }
            return makeController(workload, workload.pods.compactMap(life))
        }
    }

    /// Nil for a Job, whose pods are all made at once.
    private func makeController(_ workload: PlannedWorkload, _ pods: [PodLife]) -> (any WorkloadController)? {
        let template = plan.templateNumber(of: workload)
        return switch workload.kind {
        case .deployment: DeploymentController(workload, template: template, pods)
        case .replicaSet, .replicationController: ReplicaSetController(workload, template: template, pods)
        case .statefulSet: StatefulSetController(workload, template: template, pods)
        case .daemonSet: DaemonSetController(workload, template: template, pods, in: plan)
        case .job: nil
        }
    }

    func controller(of reference: WorkloadReference) -> any WorkloadController {
        guard let found = controllers.first(where: { $0.reference == reference }) else {
            preconditionFailure("\(reference.description) has no controller: no step names it")
        }
        return found
    }

    /// Objects were applied or deleted: their controllers make and end pods.
    func followWorkloads(_ outcome: ChangeOutcome, at now: Instant) {
        for (reference, keys) in outcome.deleted {
            // Background deletion: the garbage collector takes the pods once their owner has gone.
            let controller = controllers.first { $0.reference == reference }
            for pod in controller?.pods ?? keys.compactMap(life) { end(pod, at: now) }
            controllers.removeAll { $0.reference == reference }
        }
        for reference in outcome.made {
            guard let index = plan.workloads.firstIndex(where: { $0.reference == reference }) else { continue }
            if let controller = makeController(plan.workloads[index], []) {
                controllers.append(controller)
                continue
            }
            let slot = SparePods.Slot(template: plan.templateNumber(of: plan.workloads[index]))
            let pods = (0..<plan.workloads[index].replicas).compactMap { _ in makeSpare(of: reference, slot, at: now) }
            plan.workloads[index].pods = pods.map(\.pod.key)
        }
        for reference in outcome.changed {
            guard let workload = plan.workloads.first(where: { $0.reference == reference }), workload.kind != .job else { continue }
            controller(of: reference).update(workload, template: plan.templateNumber(of: workload))
        }
        for index in outcome.madePods { _ = make(index, at: now) }
        for key in outcome.deletedPods {
            guard let pod = life(of: key) else { continue }
            end(pod, at: now)
            for controller in controllers where controller.pods.contains(where: { $0 === pod }) { controller.isSettled = false }
        }
        for index in outcome.relabelledPods { pods[index].relabelled(plan.pods[index]) }
    }

    /// One look of all controllers that have something to do. True when pods were made or deleted.
    func reconcile(at now: Instant) -> Bool {
        if controllers.isEmpty { return false }
        for pod in pods where pod.isOnNode { pod.noteReadiness(at: now) }
        var changed = false
        for controller in controllers where !controller.isSettled {
            changed = controller.reconcile(at: now, self) || changed
            let keys = controller.pods.map(\.pod.key)
            let reference = controller.reference
            let owner = OwnerReference(kind: reference.kind.rawValue, name: reference.key.name)
            for index in plan.workloads.indices where plan.workloads[index].key.namespace == reference.key.namespace {
                if plan.workloads[index].reference == reference { plan.workloads[index].pods = keys }
                // The ReplicaSet that a Deployment began with.
                guard plan.workloads[index].metadata.owner == owner else { continue }
                plan.workloads[index].pods = keys.filter { plan.pod($0)?.metadata.owner?.name == plan.workloads[index].key.name }
            }
        }
        return changed
    }

    /// A pod of this name is being deleted.
    func isEnding(_ key: ObjectKey) -> Bool { pods.contains { $0.isTerminating && $0.pod.key == key } }

    /// One of the pods that were planned for a workload is made. Nil, and a warning, if there is none left.
    func makeSpare(of workload: WorkloadReference, _ slot: SparePods.Slot, at now: Instant) -> PodLife? {
        guard let index = plan.takeSpare(of: workload, slot) else {
            warn("\(workload.description): no pod is left of those that were planned for it")
            return nil
        }
        return make(index, at: now)
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
