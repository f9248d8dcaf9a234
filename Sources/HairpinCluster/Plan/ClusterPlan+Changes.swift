/// What a person does with kubectl to a cluster that runs.
public enum ClusterChange: Sendable {
    /// `kubectl apply`: Namespaces, NetworkPolicies and administrators' policies, in order.
    case apply(policies: [NetworkPolicy], namespaces: [Namespace], admin: [AdminNetworkPolicy] = [])
    case deletePolicy(ObjectKey)
    case deleteAdminPolicy(String, isBaseline: Bool)
    /// `kubectl label`; a nil value removes the label.
    case labelPod(ObjectKey, [LabelChange])
    case labelNamespace(String, [LabelChange])
    /// `kubectl annotate pod`; a nil value removes the annotation.
    case annotatePod(ObjectKey, [LabelChange])
    /// `kubectl taint node`; nil removes all taints of the key.
    case taint(String, key: String, Taint?)
    /// `kubectl apply` and `kubectl delete` of objects of any kind.
    case applyObjects([AppliedObject])
    case deleteObjects([ObjectTarget])
    /// `kubectl rollout restart` and `kubectl scale`; whoever runs the cluster makes and ends the pods.
    case restart(WorkloadReference)
    case scale(WorkloadReference, replicas: Int)

    /// The controller whose pods it makes and ends.
    public var workload: WorkloadReference? {
        switch self {
        case .restart(let reference), .scale(let reference, _): reference
        default: nil
        }
    }

    public struct LabelChange: Sendable, Hashable {
        public var key: String
        public var value: String?
        public init(key: String, value: String?) {
            self.key = key
            self.value = value
        }
    }
}

extension ClusterPlan {
    /// Applies a change at once. Returns what kubectl prints; nothing is changed when it throws.
    ///
    /// Labels of pods decide which policies and Services select them; a controller's pods keep running whatever their labels become.
    public mutating func apply(_ change: ClusterChange) throws(ChangeError) -> [String] {
        switch change {
        case .apply(let policies, let namespaces, let admin):
            let known = Set(self.namespaces).union(namespaces.map(\.metadata.name))
            for policy in policies where !known.contains(policy.metadata.namespace) {
                throw .notFound("namespaces", policy.metadata.namespace)
            }
            return namespaces.map { apply($0) } + policies.map { apply($0) } + admin.map { apply($0) }
        case .applyObjects(let objects):
            let known = podIndex
            let outcome = apply(objects) { known[$0] != nil }
            if let error = outcome.errors.first { throw ChangeError(description: error) }
            return outcome.output
        case .deleteObjects(let targets):
            let known = podIndex
            let outcome = delete(targets) { known[$0] != nil }
            if let error = outcome.errors.first { throw ChangeError(description: error) }
            return outcome.output
        case .deletePolicy(let key):
            guard let index = networkPolicies.firstIndex(where: { $0.key == key }) else { throw .notFound("networkpolicies.networking.k8s.io", key.name) }
            networkPolicies.remove(at: index)
            return ["networkpolicy.networking.k8s.io \"\(key.name)\" deleted"]
        case .deleteAdminPolicy(let name, let isBaseline):
            let resource = ResourceKind.adminPolicies(isBaseline: isBaseline)
            guard let index = adminPolicies.firstIndex(where: { $0.metadata.name == name && $0.isBaseline == isBaseline }) else {
                throw .notFound("\(resource.rawValue).policy.networking.k8s.io", name)
            }
            adminPolicies.remove(at: index)
            return ["\(resource.qualifiedName) \"\(name)\" deleted"]
        case .restart(let reference):
            let workload = try workload(reference)
            if workload.strategy.kind == .onDelete {
                throw ChangeError(
                    description: "\(reference.plural) \"\(reference.key.name)\" has updateStrategy OnDelete: its pods stay as they are until somebody deletes them",
                    hint: "Write \"updateStrategy: {type: RollingUpdate}\".")
            }
            return ["\(reference.description) restarted"]
        case .scale(let reference, let replicas):
            if let owner = try workload(reference).metadata.owner {
                throw ChangeError(
                    description: "\(reference.plural) \"\(reference.key.name)\" belongs to \(owner.kind) \"\(owner.name)\", which would scale it back",
                    hint: "Scale \(owner.kind) \"\(owner.name)\".")
            }
            for index in workloads.indices where workloads[index].reference == reference { workloads[index].replicas = replicas }
            return ["\(reference.description) scaled"]
        case .taint(let name, let key, let taint):
            guard let index = nodes.firstIndex(where: { $0.name == name }) else { throw .notFound("nodes", name) }
            let same = nodes[index].taints.filter { $0.key == key && (taint == nil || $0.effect == taint?.effect) }
            guard let taint else {
                if same.isEmpty { throw ChangeError(description: "error: taint \"\(key)\" not found") }
                nodes[index].taints.removeAll { $0.key == key }
                return ["node/\(name) untainted"]
            }
            if !same.isEmpty { throw ChangeError(description: "error: node \(name) already has \(key) taint(s) with same effect(s) and --overwrite is false") }
            nodes[index].taints.append(taint)
            return ["node/\(name) tainted"]
        case .annotatePod(let key, let changes):
            guard let index = podIndex[key] else { throw .notFound("pods", key.name) }
            for change in changes { pods[index].metadata.annotations[change.key] = change.value }
            return ["pod/\(key.name) annotated"]
        case .labelPod(let key, let changes):
            guard let index = podIndex[key] else { throw .notFound("pods", key.name) }
            return ["pod/\(key.name) \(ClusterPlan.change(&pods[index].metadata.labels, changes))"]
        case .labelNamespace(let name, let changes):
            guard var labels = namespaceLabels[name] else { throw .notFound("namespaces", name) }
            let word = ClusterPlan.change(&labels, changes)
            namespaceLabels[name] = Namespace.labels(name, written: labels)
            return ["namespace/\(name) \(word)"]
        }
    }

    private func workload(_ reference: WorkloadReference) throws(ChangeError) -> PlannedWorkload {
        if let found = workloads.first(where: { $0.reference == reference }) { return found }
        var error = ChangeError.notFound(reference.plural, reference.key.name)
        let names = workloads.filter { $0.kind == reference.kind && $0.key.namespace == reference.key.namespace }.map(\.key.name)
        error.hint = nearestWord(to: reference.key.name, among: names).map { "Did you mean \"\($0)\"?" }
        throw error
    }

    private mutating func apply(_ policy: NetworkPolicy) -> String {
        let name = "networkpolicy.networking.k8s.io/\(policy.metadata.name)"
        guard let index = networkPolicies.firstIndex(where: { $0.key == policy.key }) else {
            networkPolicies.append(policy)
            return "\(name) created"
        }
        let isSame = networkPolicies[index].source == policy.source
        networkPolicies[index] = policy
        return "\(name) \(isSame ? "unchanged" : "configured")"
    }

    private mutating func apply(_ policy: AdminNetworkPolicy) -> String {
        let name = "\(ResourceKind.adminPolicies(isBaseline: policy.isBaseline).qualifiedName)/\(policy.metadata.name)"
        guard let index = adminPolicies.firstIndex(where: { $0.shortName == policy.shortName }) else {
            adminPolicies.append(policy)
            return "\(name) created"
        }
        let isSame = adminPolicies[index].source == policy.source
        adminPolicies[index] = policy
        return "\(name) \(isSame ? "unchanged" : "configured")"
    }

    private mutating func apply(_ namespace: Namespace) -> String {
        let name = namespace.metadata.name
        let labels = Namespace.labels(name, written: namespace.metadata.labels)
        let old = namespaceLabels.updateValue(labels, forKey: name)
        if old == nil { namespaces = (namespaces + [name]).sorted() }
        return "namespace/\(name) \(old == nil ? "created" : old == labels ? "unchanged" : "configured")"
    }

    /// Words of kubectl: "labeled", "unlabeled" where labels only went, "not labeled" where nothing changed.
    private static func change(_ labels: inout [String: String], _ changes: [ClusterChange.LabelChange]) -> String {
        let before = labels
        for change in changes { labels[change.key] = change.value }
        if labels == before { return "not labeled" }
        return changes.contains { $0.value != nil } ? "labeled" : "unlabeled"
    }
}

/// What the API server answers to a change it cannot make.
public struct ChangeError: Error, Sendable, CustomStringConvertible {
    public var description: String
    /// What to do about it, where somebody wrote it in a file.
    public var hint: String?
    public init(description: String, hint: String? = nil) { (self.description, self.hint) = (description, hint) }
    public static func notFound(_ resource: String, _ name: String) -> ChangeError {
        ChangeError(description: "Error from server (NotFound): \(resource) \"\(name)\" not found")
    }
}
