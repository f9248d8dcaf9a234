import HairpinEngine

/// How the pods are doing, as the kubelets would report it. The caller keeps it; the printers read it.
public struct ClusterStatus: Sendable {
    public var now: Instant
    /// When the objects were made.
    public var created: Instant
    /// A pod that is not here is Pending, with the reason the plan gives.
    public var pods: [ObjectKey: PodStatus]
    /// Pods that were planned and are not made yet, or have gone.
    public var absent: Set<ObjectKey> = []
    public init(now: Instant = .zero, created: Instant = .zero, pods: [ObjectKey: PodStatus] = [:]) {
        self.now = now
        self.created = created
        self.pods = pods
    }
}

public struct PodStatus: Sendable {
    public enum Phase: String, Sendable {
        case pending = "Pending"
        case running = "Running"
        case succeeded = "Succeeded"
        case failed = "Failed"
    }
    public var phase: Phase
    /// Of `status.reason`: "Evicted" and the like.
    public var reason: String?
    /// In the order of the template.
    public var initContainers: [ContainerStatus]
    public var containers: [ContainerStatus]
    public var isTerminating: Bool
    public init(phase: Phase, reason: String? = nil, initContainers: [ContainerStatus] = [], containers: [ContainerStatus] = [], isTerminating: Bool = false) {
        self.phase = phase
        self.reason = reason
        self.initContainers = initContainers
        self.containers = containers
        self.isTerminating = isTerminating
    }
    /// The pod's Ready condition.
    public var isReady: Bool { phase == .running && !containers.isEmpty && containers.allSatisfy(\.ready) }
}

public struct ContainerStatus: Sendable {
    public enum State: Sendable, Hashable {
        /// "ContainerCreating", "CrashLoopBackOff", "ImagePullBackOff", "PodInitializing", …
        case waiting(reason: String, message: String = "")
        case running(since: Instant)
        /// `reason` is "Completed" or "Error".
        case terminated(exitCode: Int32, reason: String, started: Instant, finished: Instant)
    }
    public var name: String
    public var state: State
    public var ready: Bool
    public var restarts: Int
    /// When it ended the last time before it was restarted.
    public var lastTermination: (exitCode: Int32, finished: Instant)?
    public init(name: String, state: State, ready: Bool = false, restarts: Int = 0, lastTermination: (exitCode: Int32, finished: Instant)? = nil) {
        self.name = name
        self.state = state
        self.ready = ready
        self.restarts = restarts
        self.lastTermination = lastTermination
    }
}

extension ClusterPlan {
    /// The status of a pod, made up from its placement if nobody has reported one.
    func status(of pod: PlannedPod, in cluster: ClusterStatus) -> PodStatus {
        if let status = cluster.pods[pod.key] { return status }
        if case .unschedulable = pod.placement { return PodStatus(phase: .pending) }
        let hasInit = !pod.template.initContainers.isEmpty
        return PodStatus(
            phase: .pending,
            initContainers: pod.template.initContainers.map { ContainerStatus(name: $0.name, state: .waiting(reason: "PodInitializing")) },
            containers: pod.template.containers.map { ContainerStatus(name: $0.name, state: .waiting(reason: hasInit ? "PodInitializing" : "ContainerCreating")) })
    }
}
