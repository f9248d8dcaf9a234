import Foundation
import HairpinEngine
import HairpinPolicy
import HairpinWire

/// One object as `get` shows it.
struct Resource {
    var namespace: String
    var name: String
    var labels: [String: String]
    /// The cells of the normal columns, then those of the wide ones.
    var cells: [String]
    var object: JSONValue
}

extension ResourceKind {
    var columns: (normal: [String], wide: [String]) {
        switch self {
        case .pods: (["NAME", "READY", "STATUS", "RESTARTS", "AGE"], ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"])
        case .services: (["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"], ["SELECTOR"])
        case .endpointSlices: (["NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"], [])
        case .endpoints: (["NAME", "ENDPOINTS", "AGE"], [])
        case .nodes: (["NAME", "STATUS", "ROLES", "AGE", "VERSION"], ["INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME"])
        case .namespaces: (["NAME", "STATUS", "AGE"], [])
        case .deployments: (["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"], ["CONTAINERS", "IMAGES", "SELECTOR"])
        case .replicaSets, .replicationControllers: (["NAME", "DESIRED", "CURRENT", "READY", "AGE"], ["CONTAINERS", "IMAGES", "SELECTOR"])
        case .statefulSets: (["NAME", "READY", "AGE"], ["CONTAINERS", "IMAGES"])
        case .daemonSets: (["NAME", "DESIRED", "CURRENT", "READY", "UP-TO-DATE", "AVAILABLE", "NODE SELECTOR", "AGE"], ["CONTAINERS", "IMAGES", "SELECTOR"])
        case .jobs: (["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"], ["CONTAINERS", "IMAGES", "SELECTOR"])
        case .cronJobs: (["NAME", "SCHEDULE", "TIMEZONE", "SUSPEND", "ACTIVE", "LAST SCHEDULE", "AGE"], [])
        case .configMaps: (["NAME", "DATA", "AGE"], [])
        case .secrets: (["NAME", "TYPE", "DATA", "AGE"], [])
        case .networkPolicies: (["NAME", "POD-SELECTOR", "AGE"], [])
        case .adminNetworkPolicies: (["NAME", "PRIORITY", "AGE"], [])
        case .baselineAdminNetworkPolicies: (["NAME", "AGE"], [])
        case .serviceAccounts: (["NAME", "SECRETS", "AGE"], [])
        }
    }
}

/// Makes the lines and the objects of every kind from the plan and the status. Sorted by namespace and name, as the API server lists them.
struct ResourceSource {
    let plan: ClusterPlan
    let status: ClusterStatus
    let slices: [EndpointSlice]

    private var age: String { Age.text(status.now - status.created) }

    func resources(_ kind: ResourceKind) -> [Resource] {
        let list: [Resource] =
            switch kind {
            case .pods: plan.pods.filter { plan.isCurrent($0) && !status.absent.contains($0.key) }.map(pod)
            case .services: plan.services.map(service)
            case .endpointSlices: slices.map(slice)
            case .endpoints: plan.services.compactMap(endpoints)
            case .nodes: plan.nodes.map(node)
            case .namespaces: plan.namespaces.map(namespace)
            case .configMaps: plan.configMaps.values.map { data($0.metadata, kind, count: $0.data.count, $0.source) }
            case .secrets: plan.secrets.values.map { data($0.metadata, kind, count: $0.data.count, $0.source) }
            case .networkPolicies: plan.networkPolicies.map(policy)
            case .adminNetworkPolicies: plan.adminPolicies.filter { !$0.isBaseline }.map { adminPolicy($0, kind) }
            case .baselineAdminNetworkPolicies: plan.adminPolicies.filter(\.isBaseline).map { adminPolicy($0, kind) }
            case .cronJobs, .serviceAccounts: plan.kept.filter { $0.kind == kind.kind }.map { kept($0, kind) }
            default: plan.workloads.filter { $0.kind == kind.workloadKind }.map { workload($0, kind) }
            }
        return list.sorted { ($0.namespace, $0.name) < ($1.namespace, $1.name) }
    }

    // MARK: Pods

    private func pod(_ pod: PlannedPod) -> Resource {
        let state = plan.status(of: pod, in: status)
        let printed = PrintedPod(pod, state, now: status.now)
        return Resource(
            namespace: pod.metadata.namespace, name: pod.metadata.name, labels: pod.labels,
            cells: [
                pod.metadata.name, printed.ready, printed.status, printed.restarts, age, pod.address?.description ?? "<none>", pod.node ?? "<none>", "<none>", "<none>",
            ],
            object: PodObject(plan: plan, status: status, pod: pod, state: state).value)
    }

    // MARK: Services and endpoints

    /// EXTERNAL-IP: a load balancer's ingress addresses before the administrator's.
    private static func externalText(_ service: Service) -> String {
        let all = (service.kind == .loadBalancer ? service.ingress.map(\.address) : []) + service.externalAddresses
        return all.isEmpty ? "<none>" : all.map(\.description).joined(separator: ",")
    }

    private func service(_ service: PlannedService) -> Resource {
        let kind = service.service.kind
        let clusterAddress = kind == .externalName ? "<none>" : service.clusterAddress?.description ?? "None"
        let external: String =
            switch kind {
            case .externalName: service.service.externalName ?? "<none>"
            case .loadBalancer where service.service.externalAddresses.isEmpty && service.service.ingress.isEmpty: "<pending>"
            default: ResourceSource.externalText(service.service)
            }
        let ports = service.ports.map { port in port.nodePort.map { "\(port.port):\($0)/\(port.proto.rawValue)" } ?? "\(port.port)/\(port.proto.rawValue)" }
        var object = finished(service.service.source, service.service.metadata, .services)
        let shown = ServiceObject(planned: service)
        object["spec"] = shown.spec
        object["status"] = shown.status
        let selector = LabelSelector(matchLabels: service.service.selector).text
        return Resource(
            namespace: service.namespace, name: service.name, labels: service.service.metadata.labels,
            cells: [service.name, kind.rawValue, clusterAddress, external, ports.isEmpty ? "<none>" : ports.joined(separator: ","), age, selector], object: object)
    }

    /// At most three, then how many more.
    private func short(_ items: [String], none: String) -> String {
        if items.isEmpty { return none }
        return items.prefix(3).joined(separator: ",") + (items.count > 3 ? " + \(items.count - 3) more..." : "")
    }

    private func slice(_ slice: EndpointSlice) -> Resource {
        let labels = ["kubernetes.io/service-name": slice.service.name, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"]
        let metadata = ObjectMeta(name: slice.name, namespace: slice.service.namespace, labels: labels)
        var object = finished(.object(["addressType": .string("IPv4")]), metadata, .endpointSlices)
        object["ports"] = .array(
            slice.ports.map { port in
                var value: JSONValue = .object(["name": .string(port.name), "protocol": .string(port.proto.rawValue)])
                if let number = port.port { value["port"] = .integer(Int(number)) }
                return value
            })
        object["endpoints"] = .array(
            slice.endpoints.map { endpoint in
                var value: JSONValue = .object([
                    "addresses": .array([.string(endpoint.address.description)]),
                    "conditions": .object(["ready": .bool(endpoint.ready), "serving": .bool(endpoint.serving), "terminating": .bool(endpoint.terminating)]),
                ])
                if let node = endpoint.nodeName { value["nodeName"] = .string(node) }
                if let hostname = endpoint.hostname { value["hostname"] = .string(hostname) }
                if let pod = endpoint.pod { value["targetRef"] = reference("Pod", pod) }
                return value
            })
        return Resource(
            namespace: slice.service.namespace, name: slice.name, labels: labels,
            cells: [
                slice.name, "IPv4", short(slice.ports.map { $0.port.map(String.init) ?? "*" }, none: "<unset>"),
                short(slice.endpoints.map(\.address.description), none: "<unset>"), age,
            ],
            object: object)
    }

    private func reference(_ kind: String, _ key: ObjectKey) -> JSONValue {
        .object(["kind": .string(kind), "name": .string(key.name), "namespace": .string(key.namespace), "uid": .string(StableName.uid("\(kind)/\(key)"))])
    }

    private func endpoints(_ service: PlannedService) -> Resource? {
        let own = slices.filter { $0.service == service.key }
        guard service.service.kind != .externalName, !own.isEmpty || !service.service.selector.isEmpty else { return nil }
        var texts: [String] = []
        var subsets: [JSONValue] = []
        for slice in own where !slice.endpoints.isEmpty {
            for port in slice.ports { texts += slice.endpoints.filter(\.ready).map { "\($0.address):\(port.port.map(String.init) ?? "")" } }
            func addresses(_ ready: Bool) -> JSONValue {
                .array(
                    slice.endpoints.filter { $0.ready == ready }.map { endpoint in
                        var value: JSONValue = .object(["ip": .string(endpoint.address.description)])
                        if let node = endpoint.nodeName { value["nodeName"] = .string(node) }
                        if let pod = endpoint.pod { value["targetRef"] = reference("Pod", pod) }
                        return value
                    })
            }
            var subset: JSONValue = .object([
                "ports": .array(
                    slice.ports.map { port in
                        .object(["name": .string(port.name), "port": .integer(Int(port.port ?? 0)), "protocol": .string(port.proto.rawValue)])
                    })
            ])
            for (name, ready) in [("addresses", true), ("notReadyAddresses", false)] where slice.endpoints.contains(where: { $0.ready == ready }) {
                subset[name] = addresses(ready)
            }
            subsets.append(subset)
        }
        let metadata = ObjectMeta(name: service.name, namespace: service.namespace, labels: service.service.metadata.labels)
        var object = finished(.object([:]), metadata, .endpoints)
        object["subsets"] = subsets.isEmpty ? nil : .array(subsets)
        return Resource(
            namespace: service.namespace, name: service.name, labels: metadata.labels, cells: [service.name, short(texts, none: "<none>"), age], object: object)
    }

    // MARK: Nodes, namespaces, data

    private func node(_ node: PlannedNode) -> Resource {
        let roles = node.labels.keys.compactMap { $0.hasPrefix("node-role.kubernetes.io/") ? String($0.dropFirst(24)) : nil }.sorted()
        let metadata = ObjectMeta(name: node.name, namespace: "", labels: node.labels)
        var object = finished(.object([:]), metadata, .nodes)
        var spec: JSONValue = .object(["podCIDR": .string(node.podCIDR.description), "podCIDRs": .array([.string(node.podCIDR.description)])])
        if node.isUnschedulable { spec["unschedulable"] = .bool(true) }
        object["spec"] = spec
        object["status"] = .object([
            "addresses": .array([("InternalIP", node.address.description), ("Hostname", node.name)].map { .object(["type": .string($0.0), "address": .string($0.1)]) }),
            "conditions": .array([
                .object([
                    "type": .string("Ready"), "status": .string("True"), "reason": .string("KubeletReady"), "lastTransitionTime": .string(Age.timestamp(status.created)),
                ])
            ]),
            "nodeInfo": .object([
                "kubeletVersion": .string(Self.version), "osImage": .string("Hairpin"), "kernelVersion": .string(Self.kernel),
                "containerRuntimeVersion": .string("hairpin://1"),
                "architecture": .string("amd64"), "operatingSystem": .string("linux"),
            ]),
        ])
        return Resource(
            namespace: "", name: node.name, labels: node.labels,
            cells: [
                node.name, node.isUnschedulable ? "Ready,SchedulingDisabled" : "Ready", roles.isEmpty ? "<none>" : roles.joined(separator: ","), age, Self.version,
                node.address.description, "<none>", "Hairpin", Self.kernel, "hairpin://1",
            ],
            object: object)
    }
    /// The versions whose behaviour is modelled.
    private static let version = "v1.33.0", kernel = "6.18.44"

    private func namespace(_ name: String) -> Resource {
        let labels = plan.namespaceLabels[name] ?? Namespace.labels(name, written: [:])
        var object = finished(.object([:]), ObjectMeta(name: name, namespace: "", labels: labels), .namespaces)
        object["spec"] = .object(["finalizers": .array([.string("kubernetes")])])
        object["status"] = .object(["phase": .string("Active")])
        return Resource(namespace: "", name: name, labels: labels, cells: [name, "Active", age], object: object)
    }

    private func data(_ metadata: ObjectMeta, _ kind: ResourceKind, count: Int, _ source: JSONValue) -> Resource {
        var type: [String] = []
        if kind == .secrets { if case .string(let text)? = source["type"] { type = [text] } else { type = ["Opaque"] } }
        return Resource(
            namespace: metadata.namespace, name: metadata.name, labels: metadata.labels, cells: [metadata.name] + type + [String(count), age],
            object: finished(source, metadata, kind))
    }

    private func kept(_ object: KeptObject, _ kind: ResourceKind) -> Resource {
        func text(_ value: JSONValue?) -> String { if case .string(let text)? = value { text } else { "<none>" } }
        let spec = object.source["spec"]
        let middle: [String]
        switch kind {
        case .cronJobs: middle = [text(spec?["schedule"]), text(spec?["timeZone"]), spec?["suspend"] == .bool(true) ? "True" : "False", "0", "<none>"]
        default: middle = ["0"]
        }
        return Resource(
            namespace: object.metadata.namespace, name: object.metadata.name, labels: object.metadata.labels, cells: [object.metadata.name] + middle + [age],
            object: finished(object.source, object.metadata, kind))
    }

    private func policy(_ policy: NetworkPolicy) -> Resource {
        var object = finished(policy.source, policy.metadata, .networkPolicies)
        var spec = object["spec"] ?? .object([:])
        if spec["podSelector"] == nil { spec["podSelector"] = .object([:]) }
        spec["policyTypes"] = .array([PolicyDirection.ingress, .egress].filter(policy.directions.contains).map { .string($0.rawValue.capitalized) })
        object["spec"] = spec
        return Resource(
            namespace: policy.metadata.namespace, name: policy.metadata.name, labels: policy.metadata.labels,
            cells: [policy.metadata.name, policy.podSelector.text, age], object: object)
    }

    private func adminPolicy(_ policy: AdminNetworkPolicy, _ kind: ResourceKind) -> Resource {
        let priority: [String] = if case .admin(let number) = policy.tier { ["\(number)"] } else { [] }
        return Resource(
            namespace: "", name: policy.metadata.name, labels: policy.metadata.labels, cells: [policy.metadata.name] + priority + [age],
            object: finished(policy.source, policy.metadata, kind))
    }

    // MARK: Workloads

    private func workload(_ workload: PlannedWorkload, _ kind: ResourceKind) -> Resource {
        let pods = plan.pods(of: workload)
        let states = pods.map { plan.status(of: $0, in: status) }
        let ready = states.filter { $0.isReady && !$0.isTerminating }.count
        let succeeded = states.filter { $0.phase == .succeeded }.count
        let current = states.filter { $0.phase == .pending || $0.phase == .running }.count
        let wanted = workload.replicas
        let containers = workload.template.containers.map(\.name).joined(separator: ",")
        let images = workload.template.containers.map(\.image).joined(separator: ",")
        let wide = [containers, images, workload.selector.text]
        let name = workload.metadata.name
        var state: JSONValue = .object(["replicas": .integer(current), "readyReplicas": .integer(ready), "availableReplicas": .integer(ready)])
        let cells: [String]
        switch workload.kind {
        case .deployment:
            cells = [name, "\(ready)/\(wanted)", String(current), String(ready), age] + wide
            state["updatedReplicas"] = .integer(current)
        case .replicaSet, .replicationController: cells = [name, String(wanted), String(current), String(ready), age] + wide
        case .statefulSet: cells = [name, "\(ready)/\(wanted)", age] + wide.prefix(2)
        case .daemonSet:
            let nodeSelector = LabelSelector(matchLabels: workload.template.nodeSelector).text
            cells = [name, String(wanted), String(current), String(ready), String(current), String(ready), nodeSelector, age] + wide
            state = .object([
                "desiredNumberScheduled": .integer(wanted), "currentNumberScheduled": .integer(current), "numberReady": .integer(ready),
                "numberAvailable": .integer(ready),
            ])
        case .job:
            let isDone = succeeded >= workload.completions
            let hasFailed = !isDone && states.contains { $0.phase == .failed } && current == 0
            let end = states.flatMap(\.containers).compactMap { container -> Instant? in
                if case .terminated(_, _, _, let finished) = container.state { finished } else { nil }
            }.max()
            let duration = isDone ? Age.text((end ?? status.now) - status.created) : age
            cells = [name, isDone ? "Complete" : hasFailed ? "Failed" : "Running", "\(succeeded)/\(workload.completions)", duration, age] + wide
            state = .object(["active": .integer(current), "succeeded": .integer(succeeded), "failed": .integer(states.filter { $0.phase == .failed }.count)])
        }
        var object = finished(workload.source, workload.metadata, kind)
        if workload.kind != .daemonSet, workload.kind != .job { object["spec"]?["replicas"] = .integer(wanted) }
        object["status"] = state
        return Resource(namespace: workload.metadata.namespace, name: name, labels: workload.metadata.labels, cells: cells, object: object)
    }

    /// What the server adds to every object.
    private func finished(_ source: JSONValue, _ metadata: ObjectMeta, _ kind: ResourceKind) -> JSONValue {
        var object = source
        object["apiVersion"] = .string(kind.apiVersion)
        object["kind"] = .string(kind.kind)
        object["metadata"] = metadata.json(kind: kind.kind, created: status.created)
        return object
    }
}

extension ObjectMeta {
    func json(kind: String, created: Instant) -> JSONValue {
        var value: JSONValue = .object(["name": .string(name), "creationTimestamp": .string(Age.timestamp(created)), "uid": .string(StableName.uid("\(kind)/\(key)"))])
        if !namespace.isEmpty { value["namespace"] = .string(namespace) }
        if !labels.isEmpty { value["labels"] = .object(labels.mapValues(JSONValue.string)) }
        if !annotations.isEmpty { value["annotations"] = .object(annotations.mapValues(JSONValue.string)) }
        if let owner {
            value["ownerReferences"] = .array([
                .object([
                    "apiVersion": .string(owner.apiVersion), "kind": .string(owner.kind), "name": .string(owner.name), "controller": .bool(true),
                    "blockOwnerDeletion": .bool(true),
                    "uid": .string(StableName.uid("\(owner.kind)/\(ObjectKey(namespace: namespace, name: owner.name))")),
                ])
            ])
        }
        return value
    }
}
