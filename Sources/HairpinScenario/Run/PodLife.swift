import HairpinCluster
import HairpinEngine
import HairpinHost
import HairpinPrograms

/// One pod through its life: init containers one after another, then the containers side by side.
final class PodLife {
    private(set) var pod: PlannedPod
    /// Init containers first, in the order of the manifest.
    let containers: [ContainerLife]
    private var volumes: [String: VolumeID] = [:]

    enum Phase: Equatable {
        /// A step to come may make it, or its controller, which waits for another pod.
        case absent
        case present
        /// Deleted, and given until then to end.
        case terminating(until: Instant)
        case gone
    }
    private(set) var phase: Phase
    private(set) var createdAt = Instant.zero
    private(set) var deletedAt: Instant?
    /// Its last container has ended; a little later its network is taken away, and it is gone.
    private(set) var stoppedAt: Instant?
    private(set) var goneAt: Instant?
    private(set) var readySince: Instant?
    /// When kube-proxy wrote the first rules that know of its deletion.
    var leftRulesAt: Instant?

    init(_ pod: PlannedPod) {
        self.pod = pod
        phase = pod.isSpare ? .absent : .present
        containers = pod.template.initContainers.map { ContainerLife($0, isInit: true) } + pod.template.containers.map { ContainerLife($0, isInit: false) }
        if case .withoutAddress = pod.placement { for container in containers { container.wait("ContainerCreating") } }
    }

    var isOnNode: Bool { pod.address != nil && (phase == .present || isTerminating) }
    var isTerminating: Bool { if case .terminating = phase { true } else { false } }
    var mains: ArraySlice<ContainerLife> { containers.drop { $0.isInit } }
    var isReady: Bool { isOnNode && mains.allSatisfy(\.isReady) }
    /// All containers have ended for good.
    var isFinished: Bool {
        !containers.isEmpty
            && (mains.allSatisfy { $0.isTerminated && $0.restartDue == nil }
                || containers.contains { $0.isInit && $0.isTerminated && !$0.hasSucceeded && $0.restartDue == nil })
    }

    /// Nothing is to be waited for: it is ready, has finished, keeps crashing, or has no place to run.
    var isSettled: Bool { !isOnNode || isReady || isFinished || containers.contains { $0.state == .waiting("CrashLoopBackOff") } }

    /// Containers that are to be started now.
    func startable(at now: Instant) -> [ContainerLife] {
        guard isOnNode, !isTerminating, !isFinished else { return [] }
        var result: [ContainerLife] = []
        for container in containers {
            if let due = container.restartDue {
                if due <= now { result.append(container) }
            } else if case .waiting = container.state {
                result.append(container)
            }
            // The next one waits until an init container has succeeded; a sidecar only has to run.
            let opensTheWay = container.hasSucceeded || container.container.isSidecar && container.isRunning
            if container.isInit, !opensTheWay {
                break
            }
        }
        return result
    }

    // MARK: Creation and deletion

    /// Planned for the cluster's beginning, but not made yet.
    func holdBack() { phase = .absent }

    func create(at now: Instant) {
        phase = .present
        createdAt = now
    }

    /// Sees whether it has become ready, or is no longer.
    func noteReadiness(at now: Instant) {
        if isReady != (readySince != nil) { readySince = isReady ? now : nil }
    }

    func isAvailable(at now: Instant, minimum: Duration) -> Bool { phase == .present && readySince.map { now >= $0 + minimum } ?? false }

    func delete(at now: Instant) {
        guard phase == .present else { return }
        // Nothing runs of a pod that waits for a node or an address.
        guard pod.address != nil else {
            phase = .gone
            return
        }
        phase = .terminating(until: now + .seconds(Int64(pod.template.gracePeriodSeconds)))
        deletedAt = now
    }

    /// One look of the kubelet at a pod that is to end: hooks, the signal, SIGKILL when the grace period is over, and the sandbox when the last container
    /// has ended. True when it stops, and when it is gone.
    func windDown(at now: Instant, run: ([String], ContainerLife) -> ProcessHandle?) -> Bool {
        guard case .terminating(let deadline) = phase else { return false }
        if let stoppedAt {
            guard now >= stoppedAt + ScenarioTiming.sandboxTeardown else { return false }
            phase = .gone
            goneAt = now
            return true
        }
        for container in containers where container.isRunning { container.windDown(at: now, from: deletedAt ?? now, deadline: deadline) { run($0, container) } }
        guard !containers.contains(where: \.isRunning) else { return false }
        stoppedAt = now
        return true
    }

    /// When a container that is to end is looked at next.
    var nextEnd: Instant? {
        guard case .terminating = phase else { return nil }
        if let stoppedAt { return stoppedAt + ScenarioTiming.sandboxTeardown }
        return containers.filter(\.isRunning).compactMap(\.nextEnd).min()
    }

    /// What a ReplicaSet that shrinks goes by; lower ones go first.
    static let deletionCostKey = "controller.kubernetes.io/pod-deletion-cost"
    /// A 32-bit number, written without "+" and leading zeros (`GetDeletionCostFromPodAnnotations`); nil for anything else.
    static func deletionCost(_ text: String) -> Int? {
        guard let number = Int32(text), String(number) == text else { return nil }
        return Int(number)
    }

    /// Its labels or annotations have changed; containers and addresses have not.
    func relabelled(_ pod: PlannedPod) { self.pod = pod }

    /// The folder of that name, made when a container first mounts it.
    func volume(_ name: String, make: () -> VolumeID) -> VolumeID {
        if let volume = volumes[name] { return volume }
        let volume = make()
        volumes[name] = volume
        return volume
    }
}
