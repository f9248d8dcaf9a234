import HairpinWire

/// What came of objects that were applied or deleted: what kubectl prints, and what controllers, kube-proxy and policy agents have to follow.
public struct ChangeOutcome: Sendable {
    public var output: [String] = []
    /// Of objects that the API server refused; the others were changed all the same.
    public var errors: [String] = []
    /// Services that were made, changed or deleted.
    public internal(set) var services: Set<ObjectKey> = []
    /// Services whose EndpointSlices a person wrote were changed.
    public internal(set) var slices: Set<ObjectKey> = []
    public internal(set) var made: [WorkloadReference] = []
    public internal(set) var changed: [WorkloadReference] = []
    /// With the pods that they had.
    public internal(set) var deleted: [(workload: WorkloadReference, pods: [ObjectKey])] = []
    /// Positions in `ClusterPlan.pods`.
    public internal(set) var madePods: [Int] = []
    public internal(set) var relabelledPods: [Int] = []
    public internal(set) var deletedPods: [ObjectKey] = []
    public internal(set) var changesPolicies = false
    public init() {}
}

extension ClusterPlan {
    /// `kubectl apply`: each object is made or changed at once, in order; one that is refused leaves the others alone. Pods come from those that were planned.
    ///
    /// `exists` says whether a pod is there at the moment.
    public mutating func apply(_ objects: [AppliedObject], exists: (ObjectKey) -> Bool) -> ChangeOutcome {
        var outcome = ChangeOutcome()
        for object in objects {
            do {
                outcome.output.append("\(object.words) \(try apply(object, exists, &outcome))")
            } catch { outcome.errors.append(error.description) }
        }
        return outcome
    }

    /// `kubectl delete`: what an object owns goes with it, as the garbage collector has it.
    public mutating func delete(_ targets: [ObjectTarget], exists: (ObjectKey) -> Bool) -> ChangeOutcome {
        var outcome = ChangeOutcome()
        for target in targets {
            do {
                try delete(target, exists, &outcome)
                outcome.output.append("\(target.qualifiedName) \"\(target.key.name)\" deleted")
            } catch { outcome.errors.append(error.description) }
        }
        return outcome
    }

    /// Adds Services and workloads that will be applied, without their addresses and pods: so that what names them can be looked up before.
    public mutating func foresee(_ objects: [AppliedObject]) {
        for object in objects {
            if let service = object.service, self.service(service.metadata.key) == nil {
                services.append(PlannedService(service: service, clusterAddress: nil, ports: service.ports))
            }
            guard let workload = object.workload, !workloads.contains(where: { $0.kind == workload.kind && $0.key == workload.metadata.key }) else { continue }
            workloads.append(PlannedWorkload(workload))
        }
    }

    // MARK: Apply

    /// "created", "configured" or "unchanged".
    private mutating func apply(_ object: AppliedObject, _ exists: (ObjectKey) -> Bool, _ outcome: inout ChangeOutcome) throws(ChangeError) -> String {
        let namespace = object.metadata.namespace
        if !namespace.isEmpty, !namespaces.contains(namespace) { throw .notFound("namespaces", namespace) }
        let manifests = object.manifests
        if let service = manifests.services.first { return try apply(service, &outcome) }
        if let workload = manifests.workloads.first { return try apply(workload, &outcome) }
        if let pod = manifests.pods.first { return try apply(pod, exists, &outcome) }
        if let map = manifests.configMaps.first {
            let old = configMaps.updateValue(map, forKey: map.metadata.key)
            return ClusterPlan.word(old?.source, map.source)
        }
        if let secret = manifests.secrets.first {
            let old = secrets.updateValue(secret, forKey: secret.metadata.key)
            return ClusterPlan.word(old?.source, secret.source)
        }
        if object.kind == "EndpointSlice" || object.kind == "Endpoints" { return apply(slices: manifests.endpointSlices, of: object, &outcome) }
        let policies: [String]
        do {
            policies = try apply(.apply(policies: manifests.networkPolicies, namespaces: manifests.namespaces, admin: manifests.adminPolicies))
        } catch { throw error }
        if let line = policies.first {
            outcome.changesPolicies = true
            return line.split(separator: " ").last.map(String.init) ?? ""
        }
        for new in manifests.kept {
            guard let index = kept.firstIndex(where: { $0.kind == new.kind && $0.metadata.key == new.metadata.key }) else {
                kept.append(new)
                return "created"
            }
            let old = kept[index].source
            kept[index] = new
            return ClusterPlan.word(old, new.source)
        }
        return "created"
    }

    private static func word(_ old: JSONValue?, _ new: JSONValue) -> String { old == nil ? "created" : old == new ? "unchanged" : "configured" }

    private mutating func apply(slices: [EndpointSlice], of object: AppliedObject, _ outcome: inout ChangeOutcome) -> String {
        let old = manualSlices.filter { $0.isOf(object) }
        let isThere = !old.isEmpty || emptyEndpoints.contains(object.metadata.key)
        manualSlices.removeAll { $0.isOf(object) }
        manualSlices += slices
        if object.kind == "Endpoints" {
            if slices.isEmpty { emptyEndpoints.insert(object.metadata.key) } else { emptyEndpoints.remove(object.metadata.key) }
        }
        if old == slices { return isThere ? "unchanged" : "created" }
        outcome.slices.formUnion((old + slices).map(\.service))
        return isThere ? "configured" : "created"
    }

    private mutating func apply(_ new: Service, _ outcome: inout ChangeOutcome) throws(ChangeError) -> String {
        let place = services.firstIndex { $0.key == new.metadata.key }
        let old = place.map { services[$0] }
        if let old, old.service.source == new.source { return "unchanged" }
        var wanted = new
        if let old { wanted = try old.patching(new) }
        var allocator = ServiceAllocator(configuration: configuration, taken: services.filter { $0.key != new.metadata.key })
        var planned: PlannedService
        do {
            planned = try allocator.allocate([wanted])[0]
        } catch { throw ChangeError(description: error.reply) }
        // What was kept is not what was written.
        planned.service.source = new.source
        if let place { services[place] = planned } else { services.append(planned) }
        outcome.services.insert(planned.key)
        return place == nil ? "created" : "configured"
    }

    private mutating func apply(_ new: Pod, _ exists: (ObjectKey) -> Bool, _ outcome: inout ChangeOutcome) throws(ChangeError) -> String {
        let key = new.metadata.key
        guard !exists(key) else {
            guard let index = podIndex[key] else { return "unchanged" }
            let old = pods[index].template
            // Labels and annotations are the pod's own; of the rest hardly anything may change.
            guard new.template.source["spec"] == old.source["spec"] else {
                if new.template.source["spec"]?.withoutImages == old.source["spec"]?.withoutImages {
                    throw ChangeError(description: "The image of Pod \"\(key.name)\" cannot be changed here while it runs", hint: "Delete the Pod, and apply it again.")
                }
                throw .immutablePod(key.name)
            }
            let annotations = new.metadata.annotations
            if pods[index].metadata.labels == new.template.labels, pods[index].metadata.annotations == annotations { return "unchanged" }
            // What controllers and people added stays.
            let written = old.labels
            for label in written.keys where new.template.labels[label] == nil { pods[index].metadata.labels[label] = nil }
            pods[index].metadata.labels.merge(new.template.labels) { $1 }
            pods[index].metadata.annotations.merge(annotations) { $1 }
            pods[index].template.labels = new.template.labels
            outcome.relabelledPods.append(index)
            outcome.changesPolicies = true
            return "configured"
        }
        guard let place = sparePods[key]?.firstIndex(where: { pods[$0].template.source == new.template.source }), let index = sparePods[key]?.remove(at: place) else {
            throw ChangeError(description: "Error from server: pod \"\(key.name)\" was not planned for")
        }
        make(index)
        outcome.madePods.append(index)
        return "created"
    }

    private mutating func apply(_ new: Workload, _ outcome: inout ChangeOutcome) throws(ChangeError) -> String {
        let reference = WorkloadReference(new.kind, new.metadata.key)
        guard let index = workloads.firstIndex(where: { $0.reference == reference }) else {
            workloads.append(PlannedWorkload(new))
            if new.kind == .deployment { workloads.append(workloads[workloads.count - 1].replicaSet(restarts: 0)) }
            outcome.made.append(reference)
            return "created"
        }
        let old = workloads[index]
        var planned = PlannedWorkload(new)
        planned.pods = old.pods
        // A manifest that leaves the number out leaves it to whoever scales.
        let isScaled = new.source["spec"]?["replicas"] != nil && new.kind != .daemonSet
        if !isScaled { planned.replicas = old.replicas }
        if old.source == new.source, planned.replicas == old.replicas { return "unchanged" }
        try old.checkUpdate(to: planned)
        workloads[index] = planned
        outcome.changed.append(reference)
        return "configured"
    }

    // MARK: Delete

    private mutating func delete(_ target: ObjectTarget, _ exists: (ObjectKey) -> Bool, _ outcome: inout ChangeOutcome) throws(ChangeError) {
        let key = target.key
        switch target.kind {
        case "Pod":
            guard exists(key) else { throw .notFound("pods", key.name) }
            outcome.deletedPods.append(key)
        case "Service":
            guard let index = services.firstIndex(where: { $0.key == key }) else { throw .notFound(target.plural, key.name) }
            services.remove(at: index)
            outcome.services.insert(key)
            // The endpoints controller deletes the Endpoints of a Service that has gone, and so its mirror.
            manualSlices.removeAll { $0.mirrors == key }
        case "EndpointSlice", "Endpoints":
            let old = manualSlices.filter { $0.isOf(target) }
            guard !old.isEmpty || target.kind == "Endpoints" && emptyEndpoints.contains(key) else { throw .notFound(target.plural, key.name) }
            manualSlices.removeAll { $0.isOf(target) }
            emptyEndpoints.remove(key)
            outcome.slices.formUnion(old.map(\.service))
        case "ConfigMap": if configMaps.removeValue(forKey: key) == nil { throw .notFound(target.plural, key.name) }
        case "Secret": if secrets.removeValue(forKey: key) == nil { throw .notFound(target.plural, key.name) }
        case "NetworkPolicy":
            outcome.changesPolicies = true
            _ = try apply(.deletePolicy(key))
        case "AdminNetworkPolicy", "BaselineAdminNetworkPolicy":
            outcome.changesPolicies = true
            _ = try apply(.deleteAdminPolicy(key.name, isBaseline: target.kind.hasPrefix("Baseline")))
        case "Namespace": try delete(namespace: key.name, exists, &outcome)
        default:
            if let kind = Workload.Kind(rawValue: target.kind) { return try delete(WorkloadReference(kind, key), target, &outcome) }
            guard let index = kept.firstIndex(where: { $0.kind == target.kind && $0.metadata.key == key }) else { throw .notFound(target.plural, key.name) }
            kept.remove(at: index)
        }
    }

    private mutating func delete(_ reference: WorkloadReference, _ target: ObjectTarget, _ outcome: inout ChangeOutcome) throws(ChangeError) {
        guard let workload = workloads.first(where: { $0.reference == reference }) else { throw .notFound(target.plural, reference.key.name) }
        if let owner = workload.metadata.owner {
            throw ChangeError(
                description: "\(target.plural) \"\(reference.key.name)\" belongs to \(owner.kind) \"\(owner.name)\", which would make it again",
                hint: "Delete \(owner.kind) \"\(owner.name)\".")
        }
        let owner = OwnerReference(kind: reference.kind.rawValue, name: reference.key.name)
        workloads.removeAll { $0.reference == reference || $0.metadata.owner == owner && $0.key.namespace == reference.key.namespace }
        outcome.deleted.append((reference, workload.pods))
    }

    /// Everything in it goes too, at once.
    private mutating func delete(namespace name: String, _ exists: (ObjectKey) -> Bool, _ outcome: inout ChangeOutcome) throws(ChangeError) {
        guard namespaces.contains(name) else { throw .notFound("namespaces", name) }
        guard !ClusterPlanner.systemNamespaces.contains(name) else {
            throw ChangeError(description: "Error from server (Forbidden): namespaces \"\(name)\" is forbidden: this namespace may not be deleted")
        }
        for workload in workloads where workload.key.namespace == name && workload.metadata.owner == nil { outcome.deleted.append((workload.reference, workload.pods)) }
        workloads.removeAll { $0.key.namespace == name }
        for key in Set(pods.map(\.key)).sorted() where key.namespace == name && exists(key) { outcome.deletedPods.append(key) }
        outcome.services.formUnion(services.map(\.key).filter { $0.namespace == name })
        services.removeAll { $0.namespace == name }
        manualSlices.removeAll { $0.service.namespace == name }
        configMaps = configMaps.filter { $0.key.namespace != name }
        secrets = secrets.filter { $0.key.namespace != name }
        networkPolicies.removeAll { $0.key.namespace == name }
        kept.removeAll { $0.metadata.namespace == name }
        namespaces.removeAll { $0 == name }
        namespaceLabels[name] = nil
        outcome.changesPolicies = true
    }
}

extension EndpointSlice {
    fileprivate func isOf(_ object: AppliedObject) -> Bool { isOf(ObjectTarget(object)) }
    fileprivate func isOf(_ target: ObjectTarget) -> Bool {
        target.kind == "Endpoints" ? mirrors == target.key : mirrors == nil && name == target.key.name && service.namespace == target.key.namespace
    }
}

extension PlannedService {
    /// What the API server makes of an update: allocated values that the new manifest leaves out stay (`patchAllocatedValues` in
    /// pkg/registry/core/service/storage), and the address may not change (`validateUpgradeDowngradeClusterIPs` in pkg/apis/core/validation).
    func patching(_ new: Service) throws(ChangeError) -> Service {
        var result = new
        guard service.kind != .externalName, new.kind != .externalName else { return result }
        let isHeadless = service.clusterAddress == .headless
        switch new.clusterAddress {
        case .unassigned: result.clusterAddress = isHeadless ? .headless : clusterAddress.map { .given($0) } ?? .unassigned
        case .headless: if !isHeadless { throw .changedAddress(name, "None") }
        case .given(let address): if isHeadless || address != clusterAddress { throw .changedAddress(name, address.description) }
        }
        if result.clusterAddress == .headless, new.kind != .clusterIP {
            throw ChangeError(
                description: "The Service \"\(name)\" is invalid: spec.clusterIPs[0]: Invalid value: [\"None\"]: may not be set to 'None' for \(new.kind.rawValue) services")
        }
        guard service.kind == .nodePort || service.kind == .loadBalancer, new.kind == .nodePort || new.kind == .loadBalancer else { return result }
        // By name; a number that another port of the new manifest writes is not given twice.
        var used = Set(new.ports.compactMap(\.nodePort)).intersection(ports.compactMap(\.nodePort))
        for index in result.ports.indices where result.ports[index].nodePort == nil {
            guard let number = ports.last(where: { $0.name == result.ports[index].name })?.nodePort, used.insert(number).inserted else { continue }
            result.ports[index].nodePort = number
        }
        let needsHealthCheck = new.kind == .loadBalancer && new.externalTrafficPolicy == .local
        if needsHealthCheck {
            if let number = new.healthCheckNodePort, let old = healthCheckNodePort, number != old {
                throw ChangeError(
                    description: "The Service \"\(name)\" is invalid: spec.healthCheckNodePort: Invalid value: \(number): field is immutable")
            }
            result.healthCheckNodePort = healthCheckNodePort ?? new.healthCheckNodePort
        }
        return result
    }
}

extension PlannedWorkload {
    /// Fields that may not change (`Validate…Update` in pkg/apis/apps/validation and pkg/apis/batch/validation).
    func checkUpdate(to new: PlannedWorkload) throws(ChangeError) {
        func refuse(_ problem: String) -> ChangeError { ChangeError(description: "The \(kind.rawValue) \"\(metadata.name)\" is invalid: \(problem)") }
        switch kind {
        case .deployment, .replicaSet, .daemonSet:
            guard selector == new.selector else { throw refuse("spec.selector: Invalid value: \(new.selector.fieldText): field is immutable") }
        case .statefulSet:
            let free = ["replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy", "minReadySeconds"]
            func fixed(_ source: JSONValue) -> JSONValue {
                var spec = source["spec"] ?? .null
                for key in free { spec[key] = nil }
                // What the server fills in.
                if spec["podManagementPolicy"] == nil { spec["podManagementPolicy"] = .string("OrderedReady") }
                return spec
            }
            guard fixed(source) == fixed(new.source) else {
                let list = free.dropLast().map { "'\($0)'" }.joined(separator: ", ")
                throw refuse("spec: Forbidden: updates to statefulset spec for fields other than \(list) and 'minReadySeconds' are forbidden")
            }
        case .job:
            guard template.source == new.template.source else { throw refuse("spec.template: Invalid value: core.PodTemplateSpec{…}: field is immutable") }
            guard completions == new.completions else { throw refuse("spec.completions: Invalid value: \(new.completions): field is immutable") }
        case .replicationController: break
        }
    }
}

extension JSONValue {
    /// A pod's spec but for its images, which may change.
    fileprivate var withoutImages: JSONValue {
        var result = self
        for key in ["containers", "initContainers"] {
            guard case .array(let items)? = self[key] else { continue }
            result[key] = .array(
                items.map { item in
                    var item = item
                    item["image"] = nil
                    return item
                })
        }
        return result
    }
}

extension LabelSelector {
    /// As the API server shows the value of a field (apimachinery's field.Error): as JSON, without what is empty.
    fileprivate var fieldText: String {
        func quoted(_ text: String) -> String { "\"\(text)\"" }
        var members: [String] = []
        if !matchLabels.isEmpty {
            members.append("\"matchLabels\":{\(matchLabels.sorted { $0.key < $1.key }.map { "\(quoted($0.key)):\(quoted($0.value))" }.joined(separator: ","))}")
        }
        if !requirements.isEmpty {
            let list = requirements.map { requirement in
                let values = requirement.values.isEmpty ? "" : ",\"values\":[\(requirement.values.map(quoted).joined(separator: ","))]"
                return "{\"key\":\(quoted(requirement.key)),\"operator\":\(quoted(requirement.operation.rawValue))\(values)}"
            }
            members.append("\"matchExpressions\":[\(list.joined(separator: ","))]")
        }
        return "{\(members.joined(separator: ","))}"
    }
}

extension ChangeError {
    fileprivate static func changedAddress(_ name: String, _ address: String) -> ChangeError {
        ChangeError(description: "The Service \"\(name)\" is invalid: spec.clusterIPs[0]: Invalid value: [\"\(address)\"]: may not change once set")
    }
    /// `ValidatePodUpdate` in pkg/apis/core/validation.
    fileprivate static func immutablePod(_ name: String) -> ChangeError {
        let fields = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations)"
        let grace = "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
        return ChangeError(description: "The Pod \"\(name)\" is invalid: spec: Forbidden: pod updates may not change fields other than \(fields),\(grace)")
    }
}
