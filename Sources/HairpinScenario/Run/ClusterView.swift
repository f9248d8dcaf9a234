import HairpinCluster
import HairpinEngine

/// `hairpin get`: a booted cluster, looked at as kubectl would.
public final class ClusterView {
    private let world: World

    /// Boots the cluster and waits until its pods are ready.
    public init(_ loaded: LoadedScenario, hooks: RunHooks) throws(Failure) {
        world = try World(loaded, seed: loaded.scenario.seed, log: hooks.log)
        world.settle(isInterrupted: hooks.isInterrupted)
        if hooks.isInterrupted() { throw Failure(.interrupted, "interrupted") }
    }

    public func get(_ request: ObjectRequest) throws(Failure) -> ObjectView {
        let targets: [GetRequest.Target]
        let selector: LabelSelector
        do {
            targets = try GetRequest.targets(arguments: request.words)
            selector = try request.selector.map { text throws(GetError) in try GetRequest.selector(text) } ?? LabelSelector()
        } catch { throw Failure(.usage, error.message) }
        var get = GetRequest(targets: targets)
        get.allNamespaces = request.namespace == nil
        get.namespace = request.namespace ?? "default"
        get.selector = selector
        get.showsLabels = request.showsLabels
        get.showsHeaders = request.showsHeaders
        if let format = request.format {
            guard let output = GetRequest.Output(rawValue: format), output != .table else {
                throw Failure(.usage, "error: unable to match a printer suitable for the output format \"\(format)\", allowed formats are: json,name,wide,yaml")
            }
            get.output = output
        }
        let result = world.plan.get(get, status: world.status, endpoints: world.endpoints)
        return ObjectView(data: result.output, talk: result.messages, isMissingSomething: result.isMissingSomething)
    }
}

/// What `get` was asked for, in kubectl's words.
public struct ObjectRequest: Sendable {
    /// "pods,svc", "pod web", "pod/web svc/web".
    public var words: [String] = []
    /// Nil is all of them.
    public var namespace: String? = "default"
    /// "wide", "json", "yaml", "name"; nil is the usual table.
    public var format: String?
    public var selector: String?
    public var showsLabels = false
    public var showsHeaders = true
    public init() {}
}

public struct ObjectView: Sendable {
    public var data: String
    public var talk: [String]
    public var isMissingSomething: Bool
}

extension World {
    /// The pods as their kubelets report them.
    var status: ClusterStatus {
        var status = ClusterStatus(now: simulation.now, created: .zero)
        let present = presentPods
        status.absent = Set(plan.pods.map(\.key)).subtracting(present)
        for pod in pods where pod.pod.node != nil && pod.phase != .absent {
            let phase: PodStatus.Phase
            if pod.isFinished {
                phase = pod.mains.allSatisfy(\.hasSucceeded) ? .succeeded : .failed
            } else if pod.mains.contains(where: { $0.hasEverStarted }) {
                phase = .running
            } else {
                phase = .pending
            }
            let containers = pod.containers.map(\.status)
            let inits = pod.containers.count { $0.isInit }
            status.pods[pod.pod.key] = PodStatus(phase: phase, initContainers: Array(containers.prefix(inits)), containers: Array(containers.dropFirst(inits)))
        }
        return status
    }
}

extension ContainerLife {
    var hasEverStarted: Bool { if case .waiting = state { lastExit != nil } else { true } }

    var status: ContainerStatus {
        let state: ContainerStatus.State =
            switch self.state {
            case .waiting(let reason): .waiting(reason: reason)
            case .running(let since): .running(since: since)
            case .terminated(let exit, let at): .terminated(exitCode: exit, reason: exit == 0 ? "Completed" : "Error", started: startedAt ?? at, finished: at)
            }
        return ContainerStatus(
            name: container.name, state: state, ready: isReady || isInit && hasSucceeded, restarts: restarts,
            lastTermination: lastExit.map { (exitCode: $0.status, finished: $0.at) })
    }
}
