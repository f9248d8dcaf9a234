extension ClusterPlanner {
    /// Pods that steps to come may make. They stand behind all others, whose names and addresses are as they would be without.
    mutating func expandSpares() throws(InputError) {
        for index in workloads.indices {
            guard let story = configuration.stories[workloads[index].reference] else { continue }
            let workload = workloads[index]
            let counts = story.spares(of: workload)
            let total = pods.count + counts.reduce(0, +)
            guard total <= Self.maximumPodCount else {
                throw InputError(
                    file: workload.metadata.file, line: workload.metadata.line, path: "spec.replicas", value: String(workload.replicas),
                    problem: "and the steps that scale \"\(workload.metadata.name)\" make \(total) pods in all, more than \(Self.maximumPodCount)",
                    fix: "Scale to fewer replicas.")
            }
            switch workload.kind {
            case .deployment: for (revision, count) in counts.enumerated() { addSpares(revision: revision, count: count, ofDeployment: index) }
            case .replicaSet, .replicationController:
                add([counts[0]], of: index) { planner, count in
                    _ = planner.makePods(
                        of: workload.template, owner: OwnerReference(kind: workload.kind.rawValue, name: workload.metadata.name), metadata: workload.metadata,
                        from: workload.replicas, count: count, isSpare: true)
                }
            case .statefulSet: for (place, count) in counts.enumerated() { try addSpares(ordinal: workload.firstOrdinal + place, count: count, ofSet: index) }
            case .daemonSet:
                workloads[index].spares = [[]]
                add((0..<story.restarts).map { $0 + 1 }, of: index) { planner, revision in
                    for key in workload.pods {
                        guard let place = planner.podIndex[key] else { continue }
                        _ = planner.makePods(
                            of: planner.pods[place].template, owner: OwnerReference(kind: "DaemonSet", name: workload.metadata.name), metadata: workload.metadata,
                            from: revision, count: 1, isSpare: true)
                    }
                }
            case .job: break
            }
        }
    }

    /// What `make` makes of each count is one list of spares.
    private mutating func add(_ counts: [Int], of index: Int, make: (inout ClusterPlanner, Int) -> Void) {
        for count in counts {
            let first = pods.count
            make(&self, count)
            workloads[index].spares.append(Array(first..<pods.count))
        }
    }

    private mutating func addSpares(revision: Int, count: Int, ofDeployment index: Int) {
        let workload = workloads[index]
        let written = workload.template.source.json(indent: nil)
        // `kubectl rollout restart` annotates the template with the time, which changes its hash.
        let hash = StableName.templateHash(revision == 0 ? written : written + "/restart/\(revision - 1)")
        var template = workload.template
        template.labels["pod-template-hash"] = hash
        var metadata = workload.metadata
        metadata.name += "-" + hash
        add([count], of: index) { planner, count in
            _ = planner.makePods(
                of: template, owner: OwnerReference(kind: "ReplicaSet", name: metadata.name), metadata: metadata, from: revision == 0 ? workload.replicas : 0,
                count: count, isSpare: true)
        }
    }

    private mutating func addSpares(ordinal: Int, count: Int, ofSet index: Int) throws(InputError) {
        let workload = workloads[index]
        let first = pods.count
        for number in 0..<count {
            let key = ObjectKey(namespace: workload.metadata.namespace, name: "\(workload.metadata.name)-\(ordinal)")
            let isOld = podIndex[key] != nil
            if let place = podIndex[key], pods[place].metadata.owner != OwnerReference(kind: "StatefulSet", name: workload.metadata.name) {
                throw InputError(
                    file: workload.metadata.file, line: workload.metadata.line, path: "metadata.name", value: key.name,
                    problem: "is the name of a pod in namespace \(key.namespace), and of one that a step makes", fix: "Rename the Pod or the StatefulSet.")
            }
            _ = makePod(ordinal, of: workload.template, workload.metadata, isSpare: true)
            if isOld { pods[pods.count - 1].incarnation = number + (workload.pods.contains(key) ? 1 : 0) }
        }
        workloads[index].spares.append(Array(first..<pods.count))
    }
}

extension WorkloadStory {
    /// How many pods it may make at most, whatever the order of its steps: in the lists of `PlannedWorkload.spares`.
    func spares(of workload: PlannedWorkload) -> [Int] {
        let most = max(workload.replicas, scales.max() ?? 0)
        switch workload.kind {
        case .deployment:
            // Scaling adds to the newest pods; while old ones are being replaced, to both (`scale` in pkg/controller/deployment, sync.go), and the new ones may
            // have been reduced before by more than the difference.
            if restarts == 0 { return [growth(from: workload.replicas)] }
            let scaled = scales.reduce(0) { $0 + $1 + workload.strategy.bounds($1).surge }
            return (0...restarts).map { ($0 == 0 ? 0 : most) + scaled }
        case .replicaSet, .replicationController: return [growth(from: workload.replicas)]
        case .statefulSet:
            // A pod is made again after a restart, or after it went because fewer were wanted.
            return (0..<most).map { ordinal in
                let isThere = ordinal < workload.replicas
                let up = scales.count { $0 > ordinal }
                let down = scales.count { $0 <= ordinal }
                return restarts + min(up, down + (isThere ? 0 : 1))
            }
        case .daemonSet, .job: return (0..<restarts).map { _ in workload.pods.count }
        }
    }

    /// Each step adds at most what it asks for, less the least that may be there before it.
    private func growth(from replicas: Int) -> Int {
        scales.indices.reduce(0) { sum, step in
            let others = scales.indices.filter { $0 != step }.map { scales[$0] }
            return sum + max(scales[step] - min(replicas, others.min() ?? replicas), 0)
        }
    }
}
