import HairpinCluster
import HairpinPrograms
import HairpinWire

extension World {
    /// What `in:` names. The message is kubectl's.
    ///
    /// - Parameter ahead: Before anything runs, when a mistake is the scenario's: pods that steps may make count as well.
    func resolve(_ place: Place, container: String?, ahead: Bool = false) throws(Failure) -> CommandTarget {
        switch place.kind {
        case .node:
            guard plan.node(place.name) != nil else { throw notFound("nodes", place.name, among: plan.nodes.map(\.name)) }
            return CommandTarget(host: place.name)
        case .host:
            guard scenario.hosts.contains(where: { $0.name == place.name }) else { throw notFound("hosts", place.name, among: scenario.hosts.map(\.name)) }
            return CommandTarget(host: place.name)
        default:
            let pod = try self.pod(place, ahead: ahead)
            return CommandTarget(host: pod.pod.hostName, pod: pod, container: try self.container(container, in: pod))
        }
    }

    /// The pod itself, or the first of a controller's or a Service's pods that is ready, else the first.
    private func pod(_ place: Place, ahead: Bool) throws(Failure) -> PodLife {
        let key = ObjectKey(namespace: place.namespace, name: place.name)
        let candidates: [PlannedPod]
        switch place.kind {
        case .pod:
            guard let pod = plan.pod(key), ahead || exists(key) else { throw notFound("pods", place.name, among: names(in: place.namespace, existingPods)) }
            candidates = [pod]
        case .service:
            guard let service = plan.service(key) ?? (ahead ? foreseen.service(key) : nil) else { throw notFound("services", place.name, among: names(in: place.namespace, plan.services.map(\.key))) }
            let selector = LabelSelector(matchLabels: service.service.selector)
            candidates = service.service.selector.isEmpty ? [] : plan.pods.filter { $0.metadata.namespace == place.namespace && selector.matches($0.labels) }
        default:
            let word = Place.spellings.first { $0.kind == place.kind }?.words[1] ?? place.kind.rawValue
            let later = ahead ? foreseen.pods(ofWorkload: word, name: place.name, namespace: place.namespace) : nil
            guard let found = plan.pods(ofWorkload: word, name: place.name, namespace: place.namespace) ?? later else {
                let resource = ResourceKind(argument: word)
                let others = plan.workloads.filter { $0.kind.rawValue == resource?.kind }.map(\.key)
                throw notFound(
                    "\(resource?.rawValue ?? word)\(["deployments", "statefulsets", "daemonsets", "replicasets"].contains(resource?.rawValue) ? ".apps" : "")",
                    place.name, among: names(in: place.namespace, others))
            }
            let kind = ResourceKind(argument: word).flatMap { Workload.Kind(rawValue: $0.kind) }
            let spares = kind.flatMap { plan.spares[WorkloadReference($0, key)]?.all } ?? []
            candidates = found.isEmpty && ahead ? spares.map { plan.pods[$0] } : found
        }
        let lives = candidates.map { pods[$0.index] }
        guard let chosen = lives.first(where: \.isReady) ?? lives.first(where: \.isOnNode) ?? lives.first else {
            throw Failure(.notFound, "error: \(place) has no pods")
        }
        let willBe = ahead && chosen.phase == .absent && chosen.pod.address != nil
        guard chosen.isOnNode || willBe else { throw Failure(.notFound, "error: pod \(chosen.pod.metadata.name) does not have a host assigned") }
        return chosen
    }

    /// Whether a pod of that name has been made and is not gone yet.
    func exists(_ pod: ObjectKey) -> Bool { life(of: pod).map { $0.phase != .absent && $0.phase != .gone } ?? false }
    /// The names of the pods that are there.
    var presentPods: Set<ObjectKey> { Set(existingPods) }
    private var existingPods: [ObjectKey] { pods.filter { $0.phase != .absent && $0.phase != .gone }.map(\.pod.key) }

    private func container(_ name: String?, in pod: PodLife) throws(Failure) -> ContainerLife {
        guard let name else {
            let preferred = pod.pod.metadata.annotations["kubectl.kubernetes.io/default-container"]
            if let container = pod.mains.first(where: { $0.container.name == preferred }) ?? pod.mains.first { return container }
            throw Failure(.notFound, "error: pod \(pod.pod.metadata.name) has no containers")
        }
        guard let container = pod.containers.first(where: { $0.container.name == name }) else {
            let all = pod.containers.map(\.container.name)
            let near = nearestWord(to: name, among: all).map { "Did you mean \"\($0)\"?" } ?? "It has \(all.joined(separator: ", "))."
            throw Failure(.notFound, "Error from server (BadRequest): container \(name) is not valid for pod \(pod.pod.metadata.name)", hint: near)
        }
        return container
    }

    fileprivate func names(in namespace: String, _ keys: [ObjectKey]) -> [String] { keys.filter { $0.namespace == namespace }.map(\.name) }

    private func notFound(_ resource: String, _ name: String, among known: [String]) -> Failure {
        let near = nearestWord(to: name, among: known).map { "Did you mean \"\($0)\"?" }
        let list = known.isEmpty || known.count > 12 ? nil : "There are \(known.joined(separator: ", "))."
        return Failure(.notFound, "Error from server (NotFound): \(resource) \"\(name)\" not found", hint: near ?? list)
    }
}

extension World {
    /// What is wrong with the target of clients before anything runs; a Service that a step is to make has no address yet.
    func checkRequests(_ settings: RequestSettings, namespace: String) throws(Failure) {
        let name = settings.target.prefix { $0 != ":" }.split(separator: ".").map(String.init)
        let key = ObjectKey(namespace: name.count > 1 ? name[1] : namespace, name: name.first ?? "")
        if plan.service(key) == nil, foreseen.service(key) != nil { return }
        _ = try requestPlan(settings, namespace: namespace)
    }

    /// What clients of a step ask; names are looked up once, without packets.
    func requestPlan(_ settings: RequestSettings, namespace: String) throws(Failure) -> RequestPlan {
        let halves = settings.target.split(separator: ":")
        let name = String(halves[0])
        guard let port = halves.count == 2 ? UInt16(halves[1]) : 80 else { throw Failure(.input, "\(settings.target): there is no such port") }
        let parts = name.split(separator: ".").map(String.init)
        let service = plan.service(ObjectKey(namespace: parts.count > 1 ? parts[1] : namespace, name: parts[0]))
        let pod = plan.pod(ObjectKey(namespace: namespace, name: name))?.address
        guard let address = IPv4Address(name) ?? service?.clusterAddress ?? plan.node(name)?.address ?? pod else {
            if let service {
                let fix = "Ask one of its pods, or another Service with the same selector."
                throw Failure(.input, "http://\(settings.host): Service \"\(service.name)\" has no address of its own: it is headless, or an ExternalName", hint: fix)
            }
            let own = names(in: parts.count > 1 ? parts[1] : namespace, plan.services.map(\.key))
            // The name as it was written, but for what was misspelt.
            let near = nearestWord(to: parts[0], among: own).map { ([$0] + parts.dropFirst()).joined(separator: ".") }
            let hint = near ?? nearestWord(to: name, among: plan.nodes.map(\.name) + names(in: namespace, plan.pods.map(\.key)))
            throw Failure(
                .input, "http://\(settings.host): no Service with an address, no node and no pod is called \"\(name)\"", hint: hint.map { "Did you mean \"\($0)\"?" })
        }
        var result = RequestPlan(
            address: address, port: port, host: settings.host, path: settings.path, interval: settings.interval, count: settings.count, timeout: settings.timeout)
        result.keepsAlive = settings.keepsAlive
        return result
    }
}

extension Scenario {
    private var appliedObjects: [AppliedObject] {
        steps.flatMap { step -> [AppliedObject] in
            guard case .change(.applyObjects(let objects))? = step.change else { return [] }
            return objects
        }
    }
    private var appliedPods: [Pod] { appliedObjects.compactMap(\.pod) }

    /// What steps do to controllers, but for pods and namespaces that they delete.
    private var stories: [WorkloadReference: WorkloadStory] {
        var result: [WorkloadReference: WorkloadStory] = [:]
        for (number, step) in steps.enumerated() {
            func change(_ reference: WorkloadReference, _ edit: (inout WorkloadStory) -> Void) { edit(&result[reference, default: WorkloadStory(firstStep: number)]) }
            guard case .change(let what)? = step.change else { continue }
            switch what {
            case .restart(let reference): change(reference) { $0.restarts += 1 }
            case .scale(let reference, let replicas): change(reference) { $0.scales.append(replicas) }
            case .applyObjects(let objects):
                for workload in objects.compactMap(\.workload) { change(WorkloadReference(workload.kind, workload.metadata.key)) { $0.applied.append(workload) } }
            case .deleteObjects(let targets):
                for target in targets { if let kind = Workload.Kind(rawValue: target.kind) { change(WorkloadReference(kind, target.key)) { $0.deletions += 1 } } }
            default: break
            }
        }
        return result
    }

    /// The same with pods and namespaces that steps delete, whose owners are known once there is a plan. Nil if there are none.
    func stories(in plan: ClusterPlan) -> [WorkloadReference: WorkloadStory]? {
        var result = plan.configuration.stories
        var isOther = false
        for (number, step) in steps.enumerated() {
            guard case .change(.deleteObjects(let targets))? = step.change else { continue }
            for target in targets where target.kind == "Pod" {
                for pod in plan.pods where pod.key == target.key {
                    guard let owner = plan.workload(ofPod: pod.index) else { continue }
                    result[owner, default: WorkloadStory(firstStep: number)].podDeletions += 1
                    isOther = true
                    break
                }
            }
            for target in targets where target.kind == "Namespace" {
                let owned = plan.workloads.filter { $0.metadata.owner == nil }.map(\.reference) + plan.spares.keys
                for reference in Set(owned) where reference.key.namespace == target.key.name {
                    result[reference, default: WorkloadStory(firstStep: number)].deletions += 1
                    isOther = true
                }
            }
        }
        return isOther ? result : nil
    }
}

extension Scenario {
    /// The cluster's settings as the planner takes them.
    var configuration: ClusterConfiguration {
        var result = ClusterConfiguration(
            nodes: cluster.nodes.map { .init(name: $0.name, address: $0.address, labels: Dictionary($0.labels.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })) },
            podCIDR: cluster.podCIDR, serviceCIDR: cluster.serviceCIDR)
        result.hosts = hosts.map { .init(name: $0.name, address: $0.address) }
        result.networkPlugin = ClusterConfiguration.NetworkPlugin(rawValue: cluster.cni) ?? .bridge
        result.proxyMode = ClusterConfiguration.ProxyMode(rawValue: cluster.proxyMode.rawValue) ?? .iptables
        result.virtualServerScheduler = cluster.ipvsScheduler
        result.hasDNS = cluster.dns
        result.nodeResolver = cluster.resolver
        result.nodeLink.rate = cluster.nodeLink.rate ?? 0
        result.nodeLink.delay = cluster.nodeLink.delay ?? .zero
        (result.stories, result.appliedPods, result.appliedConfigMaps) = (stories, appliedPods, appliedObjects.compactMap(\.configMap))
        result.file = origin
        return result
    }
}

extension ClusterSettings {
    /// `count` nodes, keeping those there are.
    public mutating func setNodeCount(_ count: Int) {
        nodes = Array(nodes.prefix(count))
        while nodes.count < count {
            let number = nodes.count
            nodes.append(NodeSettings(name: "node\(number + 1)", address: IPv4Address(rawValue: ClusterReader.firstNodeAddress.rawValue + UInt32(number))))
        }
    }
}
