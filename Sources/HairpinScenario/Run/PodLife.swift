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

    init(_ pod: PlannedPod) {
        self.pod = pod
        containers = pod.template.initContainers.map { ContainerLife($0, isInit: true) } + pod.template.containers.map { ContainerLife($0, isInit: false) }
        if case .withoutAddress = pod.placement { for container in containers { container.wait("ContainerCreating") } }
    }

    var isOnNode: Bool { pod.address != nil }
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
        guard isOnNode, !isFinished else { return [] }
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

    /// Its labels have changed; containers and addresses have not.
    func relabelled(_ pod: PlannedPod) { self.pod = pod }

    /// The folder of that name, made when a container first mounts it.
    func volume(_ name: String, make: () -> VolumeID) -> VolumeID {
        if let volume = volumes[name] { return volume }
        let volume = make()
        volumes[name] = volume
        return volume
    }
}
