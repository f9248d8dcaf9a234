extension ClusterPlanner {
    /// Pods that steps to come may make. They stand behind all others, whose names and addresses are as they would be without: first those of workloads that are
    /// there from the start, then those of workloads and the pods that steps apply, in the order of the steps.
    mutating func expandSpares() throws(InputError) {
        for workload in workloads {
            if let story = configuration.stories[workload.reference] { try addSpares(workload.reference, workload, story) }
        }
        let added = configuration.stories.filter { story in !story.value.applied.isEmpty && !workloads.contains { $0.reference == story.key } }
        for (reference, story) in added.sorted(by: { ($0.value.firstStep, $0.key.key) < ($1.value.firstStep, $1.key.key) }) { try addSpares(reference, nil, story) }
        for pod in configuration.appliedPods { addSpare(pod) }
    }

    private mutating func addSpares(_ reference: WorkloadReference, _ workload: PlannedWorkload?, _ story: WorkloadStory) throws(InputError) {
        guard let metadata = workload?.metadata ?? story.applied.first?.metadata else { return }
        let counts = story.spares(of: workload) { template in nodes.indices.filter { nodes[$0].fits(template, isDaemon: true) } }
        let total = counts.reduce(pods.count) { $0 + $1.count }
        guard total <= Self.maximumPodCount else {
            throw InputError(
                file: metadata.file, line: metadata.line, path: "spec.replicas", value: String(workload?.replicas ?? story.applied.first?.replicas ?? 0),
                problem: "and the steps that scale \"\(metadata.name)\" make \(total) pods in all, more than \(Self.maximumPodCount)", fix: "Scale to fewer replicas.")
        }
        var spares = SparePods()
        spares.templates = story.templates(of: workload)
        for (slot, count) in counts {
            let first = pods.count
            try makeSpares(reference, workload, metadata, spares.templates[slot.template], slot, count, story)
            spares.add(first..<pods.count, to: slot)
        }
        self.spares[reference] = spares
    }

    private mutating func makeSpares(
        _ reference: WorkloadReference, _ workload: PlannedWorkload?, _ metadata: ObjectMeta, _ template: PodTemplate, _ slot: SparePods.Slot, _ count: Int,
        _ story: WorkloadStory
    ) throws(InputError) {
        var template = template
        var owner = OwnerReference(kind: reference.kind.rawValue, name: metadata.name)
        switch reference.kind {
        case .deployment:
            let hash = StableName.templateHash(template, restarts: slot.restarts)
            template.labels["pod-template-hash"] = hash
            owner = OwnerReference(kind: "ReplicaSet", name: "\(metadata.name)-\(hash)")
            let isFirst = slot.template == 0 && slot.restarts == 0
            _ = makePods(of: template, owner: owner, metadata: metadata, from: isFirst ? workload?.replicas ?? 0 : 0, count: count, isSpare: true)
        case .replicaSet, .replicationController, .job:
            _ = makePods(of: template, owner: owner, metadata: metadata, from: slot.template == 0 ? workload?.replicas ?? 0 : 0, count: count, isSpare: true)
        case .daemonSet:
            template.nodeName = nodes[slot.place].name
            // The first number is that of the pod which is there from the start.
            _ = makePods(of: template, owner: owner, metadata: metadata, from: max(slot.restarts, 1), count: count, isSpare: true)
        case .statefulSet:
            let first = story.applied.first?.firstOrdinal ?? 0
            try addSpares(ordinal: (workload?.firstOrdinal ?? first) + slot.place, count: count, of: template, metadata)
        }
    }

    private mutating func addSpares(ordinal: Int, count: Int, of template: PodTemplate, _ metadata: ObjectMeta) throws(InputError) {
        for _ in 0..<count {
            let key = ObjectKey(namespace: metadata.namespace, name: "\(metadata.name)-\(ordinal)")
            if let place = podIndex[key], pods[place].metadata.owner != OwnerReference(kind: "StatefulSet", name: metadata.name) {
                throw InputError(
                    file: metadata.file, line: metadata.line, path: "metadata.name", value: key.name,
                    problem: "is the name of a pod in namespace \(key.namespace), and of one that a step makes", fix: "Rename the Pod or the StatefulSet.")
            }
            _ = makePod(ordinal, of: template, metadata, isSpare: true)
        }
    }

    /// A Pod that a step applies: one for each such step, whether or not it is there by then.
    private mutating func addSpare(_ pod: Pod) {
        var metadata = pod.metadata
        metadata.labels = pod.template.labels
        append(metadata, template: pod.template, isSpare: true)
        sparePods[metadata.key, default: []].append(pods.count - 1)
    }
}

extension PlannedNode {
    /// Whether the scheduler, or a DaemonSet's controller, puts pods of this template here.
    func fits(_ template: PodTemplate, isDaemon: Bool = false) -> Bool {
        template.nodeSelector.allSatisfy { labels[$0.key] == $0.value } && (isDaemon || !isUnschedulable)
    }
}

extension Workload {
    /// Of its pods, with what its controller adds to every one.
    var podTemplate: PodTemplate {
        var result = template
        switch kind {
        case .statefulSet: result.subdomain = serviceName
        case .job: for key in ["batch.kubernetes.io/job-name", "job-name"] { result.labels[key] = metadata.name }
        default: break
        }
        return result
    }
}

extension StableName {
    /// The hash of a Deployment's ReplicaSet. `kubectl rollout restart` annotates the template with the time, which changes it.
    static func templateHash(_ template: PodTemplate, restarts: Int = 0) -> String {
        let written = template.source.json(indent: nil)
        return templateHash(restarts == 0 ? written : written + "/restart/\(restarts - 1)")
    }
}
