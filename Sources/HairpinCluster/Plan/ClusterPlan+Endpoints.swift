import HairpinWire

extension ClusterPlan {
    /// What the EndpointSlice controller makes of the pods' readiness, with the slices written by hand. In the order of the Services.
    ///
    /// `terminating` pods are those being deleted; among them those in `serving` still pass their readiness probe.
    public func endpointSlices(
        readyPods: Set<ObjectKey>, terminating: Set<ObjectKey> = [], serving: Set<ObjectKey> = [], finished: Set<ObjectKey> = []
    ) -> [EndpointSlice] {
        var result: [EndpointSlice] = []
        // Positions of the pods with an address, by namespace and label, so that a Service looks only at pods that have its first label.
        var byLabel: [String: [Int]] = [:]
        for index in pods.indices where pods[index].address != nil && !finished.contains(pods[index].key) && isCurrent(pods[index]) {
            for (key, value) in pods[index].labels { byLabel["\(pods[index].metadata.namespace) \(key)=\(value)", default: []].append(index) }
        }
        let manualSlices = Dictionary(grouping: manualSlices, by: \.service)
        let zones = Dictionary(nodes.map { ($0.name, $0.zone) }) { first, _ in first }
        for service in services {
            let manual = manualSlices[service.key] ?? []
            if service.service.selector.isEmpty || service.service.kind == .externalName {
                result += manual
                continue
            }
            let selector = LabelSelector(matchLabels: service.service.selector)
            // Pods that resolve the target ports differently go to slices of their own.
            var groups: [(ports: [EndpointSlice.Port], endpoints: [EndpointSlice.Endpoint])] = []
            let first = service.service.selector.min { $0.key < $1.key }.map { "\(service.namespace) \($0.key)=\($0.value)" } ?? ""
            for index in byLabel[first] ?? [] where selector.matches(pods[index].labels) {
                let pod = pods[index]
                guard let address = pod.address else { continue }
                let isTerminating = terminating.contains(pod.key)
                let isReady = !isTerminating && (readyPods.contains(pod.key) || service.service.publishNotReadyAddresses)
                let isServing = readyPods.contains(pod.key) || service.service.publishNotReadyAddresses || serving.contains(pod.key)
                let ports = service.ports.compactMap { port in pod.port(port.target, port.proto).map { EndpointSlice.Port(name: port.name, port: $0, proto: port.proto) }
                }
                let named = pod.template.subdomain == service.name ? pod.template.hostname : nil
                let endpoint = EndpointSlice.Endpoint(
                    address: address, ready: isReady, serving: isServing, terminating: isTerminating, pod: pod.key, nodeName: pod.node, hostname: named)
                if let place = groups.firstIndex(where: { $0.ports == ports }) { groups[place].endpoints.append(endpoint) } else { groups.append((ports, [endpoint])) }
            }
            if groups.isEmpty { groups = [([], [])] }
            for place in groups.indices { ClusterPlan.addHints(&groups[place].endpoints, service.service.trafficDistribution, zones) }
            var number = 0
            for group in groups {
                // The controller puts at most 100 endpoints into a slice.
                for start in stride(from: 0, to: max(group.endpoints.count, 1), by: 100) {
                    result.append(
                        EndpointSlice(
                            name: "\(service.name)-\(StableName.suffix("\(service.key)/slice/\(number)"))", service: service.key, ports: group.ports,
                            endpoints: Array(group.endpoints.dropFirst(start).prefix(100))))
                    number += 1
                }
            }
        }
        return result
    }
}

extension ClusterPlan {
    /// What the EndpointSlice controller hints under `spec.trafficDistribution` (KEP-4444, KEP-3015): every ready endpoint to its own zone, and under
    /// PreferSameNode to its own node too. Endpoints without a zone get no zone hint, and proxies then ignore all of them.
    private static func addHints(_ endpoints: inout [EndpointSlice.Endpoint], _ distribution: Service.TrafficDistribution?, _ zones: [String: String?]) {
        guard let distribution else { return }
        for index in endpoints.indices where endpoints[index].ready {
            guard let node = endpoints[index].nodeName else { continue }
            if let zone = zones[node] ?? nil { endpoints[index].zoneHints = [zone] }
            if distribution == .sameNode { endpoints[index].nodeHints = [node] }
        }
    }
}
