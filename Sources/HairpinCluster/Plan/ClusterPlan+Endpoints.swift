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
        for index in pods.indices where pods[index].address != nil && !finished.contains(pods[index].key) {
            for (key, value) in pods[index].labels { byLabel["\(pods[index].metadata.namespace) \(key)=\(value)", default: []].append(index) }
        }
        for service in services {
            let manual = manualSlices.filter { $0.service == service.key }
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

/// The endpoints of one port of one Service, as kube-proxy chooses them.
struct ServiceEndpoints: Sendable {
    struct Endpoint: Sendable, Hashable {
        var address: IPv4Address
        var port: UInt16
        var isLocal: Bool
        /// "10.244.0.3:80"
        var text: String { "\(address):\(port)" }
    }
    /// Those a connection may reach under traffic policy Cluster.
    var cluster: [Endpoint]
    /// Those on this node, for policy Local.
    var local: [Endpoint]
    /// Whether there is any endpoint at all, on any node.
    var hasAny: Bool { !cluster.isEmpty }
}

extension ClusterPlan {
    /// Ready endpoints; where none is ready, those that terminate but still serve (KEP-1669). Sorted by their text, as kube-proxy sorts them.
    func endpoints(of service: PlannedService, _ port: ServicePort, in slices: [EndpointSlice], on node: String) -> ServiceEndpoints {
        var ready: Set<ServiceEndpoints.Endpoint> = []
        var fallback: Set<ServiceEndpoints.Endpoint> = []
        for slice in slices where slice.service == service.key {
            guard let number = slice.ports.first(where: { $0.name == port.name && $0.proto == port.proto })?.port else { continue }
            for endpoint in slice.endpoints {
                let choice = ServiceEndpoints.Endpoint(address: endpoint.address, port: number, isLocal: endpoint.nodeName == node)
                if endpoint.ready { ready.insert(choice) } else if endpoint.serving, endpoint.terminating { fallback.insert(choice) }
            }
        }
        func chosen(_ isWanted: (ServiceEndpoints.Endpoint) -> Bool) -> [ServiceEndpoints.Endpoint] {
            let first = ready.filter(isWanted)
            return (first.isEmpty ? fallback.filter(isWanted) : first).sorted { $0.text < $1.text }
        }
        return ServiceEndpoints(cluster: chosen { _ in true }, local: chosen(\.isLocal))
    }
}
