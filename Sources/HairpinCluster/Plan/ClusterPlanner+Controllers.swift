extension ClusterPlanner {
    /// Pods written as such, then those of each controller in the order written.
    mutating func expandControllers() throws(InputError) {
        for pod in manifests.pods {
            var metadata = pod.metadata
            metadata.labels = pod.template.labels
            append(metadata, template: pod.template)
        }
        let total = manifests.workloads.reduce(manifests.pods.count) { $0 + $1.replicas }
        guard total <= Self.maximumPodCount else {
            let largest = manifests.workloads.max { $0.replicas < $1.replicas }!
            throw InputError(
                file: largest.metadata.file, line: largest.metadata.line, path: "spec.replicas", value: String(largest.replicas),
                problem: "makes \(total) pods in all, more than \(Self.maximumPodCount)", fix: "Write fewer replicas.")
        }
        for workload in manifests.workloads { expand(workload) }
    }

    static let maximumPodCount = 100_000

    private mutating func expand(_ workload: Workload) {
        let index = workloads.count
        workloads.append(PlannedWorkload(workload))
        switch workload.kind {
        case .deployment:
            var set = workloads[index].replicaSet(restarts: 0)
            set.pods = makePods(
                of: set.template, owner: OwnerReference(kind: "ReplicaSet", name: set.metadata.name), metadata: set.metadata, count: workload.replicas)
            workloads[index].pods = set.pods
            workloads.append(set)
        case .statefulSet:
            for ordinal in workload.firstOrdinal..<(workload.firstOrdinal + workload.replicas) {
                workloads[index].pods.append(makePod(ordinal, of: workloads[index].template, workload.metadata))
            }
        case .daemonSet:
            // One for each node that fits; taints are not modelled, so a control plane's node counts like any other.
            for node in nodes where node.fits(workload.template, isDaemon: true) {
                var template = workload.template
                template.nodeName = node.name
                let pods = makePods(of: template, owner: OwnerReference(kind: "DaemonSet", name: workload.metadata.name), metadata: workload.metadata, count: 1)
                workloads[index].pods += pods
            }
            workloads[index].replicas = workloads[index].pods.count
        case .job:
            workloads[index].pods = makePods(
                of: workload.podTemplate, owner: OwnerReference(kind: "Job", name: workload.metadata.name), metadata: workload.metadata, count: workload.replicas)
        case .replicaSet, .replicationController:
            workloads[index].pods = makePods(
                of: workload.template, owner: OwnerReference(kind: workload.kind.rawValue, name: workload.metadata.name), metadata: workload.metadata,
                count: workload.replicas)
        }
    }

    /// One of a StatefulSet's pods.
    mutating func makePod(_ ordinal: Int, of template: PodTemplate, _ metadata: ObjectMeta, isSpare: Bool = false) -> ObjectKey {
        var template = template
        let name = "\(metadata.name)-\(ordinal)"
        template.labels["statefulset.kubernetes.io/pod-name"] = name
        template.labels["apps.kubernetes.io/pod-index"] = String(ordinal)
        template.hostname = name
        return makePod(named: name, of: template, owner: OwnerReference(kind: "StatefulSet", name: metadata.name), metadata: metadata, isSpare: isSpare)
    }

    /// Pods whose names are made up; `first` is the number of the first among those of its owner.
    mutating func makePods(
        of template: PodTemplate, owner: OwnerReference, metadata: ObjectMeta, from first: Int = 0, count: Int, isSpare: Bool = false
    ) -> [ObjectKey] {
        var result: [ObjectKey] = []
        for number in first..<first + count {
            var attempt = 0
            var name: String
            repeat {
                name = "\(Self.shortened(owner.name))-\(StableName.suffix("\(metadata.namespace)/\(owner.name)/\(template.nodeName ?? "")/\(number)/\(attempt)"))"
                attempt += 1
            } while podIndex[ObjectKey(namespace: metadata.namespace, name: name)] != nil
            result.append(makePod(named: name, of: template, owner: owner, metadata: metadata, isSpare: isSpare))
        }
        return result
    }

    /// A generated name is cut so that it stays a label with its suffix (63 - 5 characters before it).
    private static func shortened(_ name: String) -> String { String(name.prefix(57)) }

    private mutating func makePod(named name: String, of template: PodTemplate, owner: OwnerReference, metadata: ObjectMeta, isSpare: Bool) -> ObjectKey {
        let pod = ObjectMeta(
            name: name, namespace: metadata.namespace, labels: template.labels, annotations: template.annotations, owner: owner, file: metadata.file, line: metadata.line)
        append(pod, template: template, isSpare: isSpare)
        return pod.key
    }

    mutating func append(_ metadata: ObjectMeta, template: PodTemplate, isSpare: Bool = false) {
        let isFirst = podIndex[metadata.key] == nil
        // The first of a name has it until the next is made.
        if !isSpare || isFirst { podIndex[metadata.key] = pods.count }
        let isDNS = metadata.namespace == "kube-system" && metadata.file.isEmpty && template.labels["k8s-app"] == "kube-dns"
        // The kernel's limit for a hostname is 63 characters here (RFC 1035 label); the kubelet cuts longer ones.
        let hostname = template.hostname ?? String(metadata.name.prefix(63))
        pods.append(
            PlannedPod(metadata: metadata, template: template, placement: .unschedulable(message: ""), index: pods.count, isClusterDNS: isDNS, hostname: hostname))
        pods[pods.count - 1].isSpare = isSpare
        guard isSpare, !isFirst else { return }
        incarnations[metadata.key, default: 0] += 1
        pods[pods.count - 1].incarnation = incarnations[metadata.key] ?? 1
    }

    // MARK: Scheduling and addresses

    /// Each pod goes to the node with the fewest pods among those it may run on, the first of equals; its address is the next of the node's prefix.
    mutating func schedule() {
        var counts = [Int](repeating: 0, count: nodes.count)
        var next = [Int](repeating: 2, count: nodes.count)
        var waiting = WaitingPods()
        for index in pods.indices {
            let template = pods[index].template
            let choice: Int?
            if let name = template.nodeName {
                choice = nodes.firstIndex { $0.name == name }
                if choice == nil {
                    // The kubelet that should run it does not exist; the pod waits for it for ever.
                    pods[index].placement = .unschedulable(message: "node \"\(name)\" does not exist")
                    waiting.add(pods[index], "Pending: there is no node \"\(name)\"")
                    continue
                }
            } else {
                choice = nodes.indices.filter { nodes[$0].fits(template) }.min { counts[$0] < counts[$1] }
            }
            guard let choice else {
                let message = unschedulableMessage(template)
                pods[index].placement = .unschedulable(message: message)
                waiting.add(pods[index], "Pending: \(message)")
                continue
            }
            counts[choice] += 1
            let node = nodes[choice]
            let address = node.podCIDR.network.advanced(by: next[choice])
            // host-local hands out .2 up to the address before the broadcast address; .1 is the gateway's.
            if next[choice] < 1 << (32 - node.podCIDR.length) - 1 {
                next[choice] += 1
                pods[index].placement = .scheduled(node: node.name, address: address)
            } else {
                let message = "no addresses left in \(node.podCIDR)"
                pods[index].placement = .withoutAddress(node: node.name, message: message)
                waiting.add(pods[index], "in ContainerCreating on \(node.name): \(message)")
            }
        }
        warnings += waiting.warnings
    }

    /// Pods that will not run, one warning for all of a workload that wait for the same thing.
    private struct WaitingPods {
        private struct Cause: Hashable { let file: String, line: Int, state: String }
        private var names: [Cause: (first: String, count: Int)] = [:]
        private var order: [Cause] = []

        /// - Parameter state: What the pod stays, and why.
        mutating func add(_ planned: PlannedPod, _ state: String) {
            // Who makes a spare pod says so then.
            if planned.isSpare { return }
            let pod = planned.metadata
            let cause = Cause(file: pod.file, line: pod.line, state: state)
            if names[cause] == nil { order.append(cause) }
            names[cause, default: (pod.name, 0)].count += 1
        }

        var warnings: [InputWarning] {
            order.map { cause in
                let (first, count) = names[cause] ?? ("", 0)
                let who = count == 1 ? "pod \"\(first)\" stays" : "\(count) pods, the first of them \"\(first)\", stay"
                return InputWarning(file: cause.file, line: cause.line, message: "\(who) \(cause.state)")
            }
        }
    }

    /// In kube-scheduler's words: "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
    private func unschedulableMessage(_ template: PodTemplate) -> String {
        let closed = nodes.filter(\.isUnschedulable).count
        let other = nodes.count - closed
        var reasons: [String] = []
        if closed > 0 { reasons.append("\(closed) node(s) were unschedulable") }
        if other > 0 { reasons.append("\(other) node(s) didn't match Pod's node affinity/selector") }
        return "0/\(nodes.count) nodes are available: \(reasons.joined(separator: ", "))."
    }
}
