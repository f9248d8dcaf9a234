import HairpinEngine

/// A pod as `-o json` shows it: the template, where it runs, and its status.
struct PodObject {
    let plan: ClusterPlan
    let status: ClusterStatus
    let pod: PlannedPod
    let state: PodStatus

    var value: JSONValue {
        var metadata = pod.metadata.json(kind: "Pod", created: status.created)
        if let owner = pod.metadata.owner, owner.kind != "StatefulSet" { metadata["generateName"] = .string(owner.name + "-") }
        var spec = pod.template.source["spec"] ?? .object([:])
        if let node = pod.node { spec["nodeName"] = .string(node) }
        spec["restartPolicy"] = .string(pod.template.restartPolicy.rawValue)
        spec["dnsPolicy"] = .string(pod.template.dnsPolicy)
        spec["serviceAccountName"] = .string(pod.template.serviceAccountName)
        if let hostname = pod.template.hostname { spec["hostname"] = .string(hostname) }
        if let subdomain = pod.template.subdomain { spec["subdomain"] = .string(subdomain) }
        return .object(["apiVersion": .string("v1"), "kind": .string("Pod"), "metadata": metadata, "spec": spec, "status": statusValue])
    }

    private var statusValue: JSONValue {
        var value: JSONValue = .object(["phase": .string(state.phase.rawValue), "conditions": .array(conditions)])
        if let reason = state.reason { value["reason"] = .string(reason) }
        if let node = pod.node.flatMap(plan.node) {
            value["hostIP"] = .string(node.address.description)
            value["startTime"] = .string(Age.timestamp(status.created))
        }
        if let address = pod.address {
            value["podIP"] = .string(address.description)
            value["podIPs"] = .array([.object(["ip": .string(address.description)])])
        }
        if !state.containers.isEmpty { value["containerStatuses"] = .array(state.containers.map { describe($0, pod.template.containers) }) }
        if !state.initContainers.isEmpty { value["initContainerStatuses"] = .array(state.initContainers.map { describe($0, pod.template.initContainers) }) }
        return value
    }

    private var conditions: [JSONValue] {
        func condition(_ type: String, _ isTrue: Bool, reason: String? = nil, message: String? = nil) -> JSONValue {
            var value: JSONValue = .object([
                "type": .string(type), "status": .string(isTrue ? "True" : "False"), "lastTransitionTime": .string(Age.timestamp(status.created)),
            ])
            if let reason { value["reason"] = .string(reason) }
            if let message { value["message"] = .string(message) }
            return value
        }
        if case .unschedulable(let message) = pod.placement { return [condition("PodScheduled", false, reason: "Unschedulable", message: message)] }
        var sandboxMessage: String?
        if case .withoutAddress(_, let message) = pod.placement { sandboxMessage = "failed to set up sandbox: " + message }
        let isReady = state.isReady
        let reason = isReady ? nil : state.phase == .succeeded ? "PodCompleted" : "ContainersNotReady"
        return [
            condition("PodReadyToStartContainers", pod.address != nil, message: sandboxMessage),
            condition("Initialized", state.phase != .pending || pod.template.initContainers.isEmpty),
            condition("Ready", isReady, reason: reason), condition("ContainersReady", isReady, reason: reason), condition("PodScheduled", true),
        ]
    }

    private func describe(_ container: ContainerStatus, _ templates: [Container]) -> JSONValue {
        let current: JSONValue
        var isStarted = false
        switch container.state {
        case .waiting(let reason, let message):
            var inner: JSONValue = .object(["reason": .string(reason)])
            if !message.isEmpty { inner["message"] = .string(message) }
            current = .object(["waiting": inner])
        case .running(let since):
            isStarted = true
            current = .object(["running": .object(["startedAt": .string(Age.timestamp(since))])])
        case .terminated(let code, let reason, let started, let finished):
            current = .object([
                "terminated": .object([
                    "exitCode": .integer(Int(code)), "reason": .string(reason), "startedAt": .string(Age.timestamp(started)),
                    "finishedAt": .string(Age.timestamp(finished)),
                ])
            ])
        }
        var last: JSONValue = .object([:])
        if let termination = container.lastTermination {
            last = .object([
                "terminated": .object([
                    "exitCode": .integer(Int(termination.exitCode)), "reason": .string(termination.exitCode == 0 ? "Completed" : "Error"),
                    "finishedAt": .string(Age.timestamp(termination.finished)),
                ])
            ])
        }
        return .object([
            "name": .string(container.name), "image": .string(templates.first { $0.name == container.name }?.image ?? ""), "ready": .bool(container.ready),
            "restartCount": .integer(container.restarts), "started": .bool(isStarted), "state": current, "lastState": last,
        ])
    }
}
