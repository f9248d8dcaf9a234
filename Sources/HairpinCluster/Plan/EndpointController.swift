import HairpinWire

/// The EndpointSlice controller: the slices of every Service, kept up to date. It looks at all pods, compares what it knew of each, and makes anew the slices of
/// those Services alone that select a pod which has changed.
public struct EndpointController: Sendable {
    /// What the kubelet reports of a pod.
    public struct PodState: Sendable, Hashable {
        /// It has an address and has not finished.
        public var isListed: Bool
        public var isReady: Bool
        /// It is being deleted and still passes its readiness probe.
        public var isServing: Bool
        public var isTerminating: Bool
        public init(isListed: Bool = true, isReady: Bool, isServing: Bool = false, isTerminating: Bool = false) {
            (self.isListed, self.isReady, self.isServing, self.isTerminating) = (isListed, isReady, isServing, isTerminating)
        }
    }

    private struct Known: Sendable, Equatable {
        var state: PodState
        var labels: [String: String]
    }
    /// By position in the plan; nil for those that are no endpoints, whoever selects them.
    private var pods: [Known?] = []
    /// Positions of listed pods in their order, by namespace and label: a Service looks only at pods that have its first label.
    private var podsByLabel: [String: [Int]] = [:]
    /// Services by namespace and first label of their selectors.
    private var servicesByLabel: [String: [PlannedService]] = [:]
    private var byService: [ObjectKey: [EndpointSlice]] = [:]
    private var isNew = true

    public init() {}

    /// The slices of one Service.
    public func slices(of service: ObjectKey) -> [EndpointSlice] { byService[service] ?? [] }
    /// All slices, in the order of the Services.
    public func slices(in plan: ClusterPlan) -> [EndpointSlice] { plan.services.flatMap { byService[$0.key] ?? [] } }

    /// Whether a Service has this pod's address among its endpoints, and not as one on its way out. A slice written by hand may hold it too.
    public func isListed(_ pod: PlannedPod, in plan: ClusterPlan) -> Bool {
        let manual = Set(plan.manualSlices.map(\.service)).filter { $0.namespace == pod.metadata.namespace }
        var services = Array(manual)
        for (key, value) in pod.labels { services += (servicesByLabel["\(pod.metadata.namespace) \(key)=\(value)"] ?? []).map(\.key) }
        return services.contains { key in slices(of: key).contains { $0.endpoints.contains { $0.address == pod.address && !$0.terminating } } }
    }

    /// Follows the pods, and Services that were made, changed or deleted (`services`). Returns the Services whose slices are others now.
    ///
    /// Complexity: O(pods) comparisons, and O(pods with the first label) for every Service that selects one of those that changed. The first time, and where
    /// Services change, their index is made anew.
    @discardableResult
    public mutating func follow(_ plan: ClusterPlan, services changed: Set<ObjectKey> = [], state: (PlannedPod) -> PodState) -> Set<ObjectKey> {
        var dirty = changed
        if isNew || !changed.isEmpty {
            index(plan)
            if isNew { dirty = Set(plan.services.map(\.key)) }
            isNew = false
        }
        if pods.count < plan.pods.count { pods += [Known?](repeating: nil, count: plan.pods.count - pods.count) }
        for position in plan.pods.indices {
            let known = pods[position]
            let now = EndpointController.look(plan, position, state)
            if known == now { continue }
            pods[position] = now
            let namespace = plan.pods[position].metadata.namespace
            for (key, value) in known?.labels ?? [:] {
                let label = "\(namespace) \(key)=\(value)"
                if now?.labels[key] != value { remove(position, label) }
                dirty.formUnion((servicesByLabel[label] ?? []).map(\.key))
            }
            for (key, value) in now?.labels ?? [:] {
                let label = "\(namespace) \(key)=\(value)"
                if known?.labels[key] != value { insert(position, label) }
                dirty.formUnion((servicesByLabel[label] ?? []).map(\.key))
            }
        }
        guard !dirty.isEmpty else { return [] }
        let manual = Dictionary(grouping: plan.manualSlices, by: \.service)
        let zones = Dictionary(plan.nodes.map { ($0.name, $0.zone) }) { first, _ in first }
        var result: Set<ObjectKey> = []
        func write(_ key: ObjectKey, _ slices: [EndpointSlice]?) {
            if byService[key] == slices { return }
            byService[key] = slices
            result.insert(key)
        }
        // In a cluster where one Service changes there may be ten thousand others.
        let present = dirty.count == 1 ? plan.service(dirty.first!).map { [$0] } ?? [] : plan.services.filter { dirty.contains($0.key) }
        for service in present { write(service.key, make(service, plan, manual[service.key] ?? [], zones)) }
        for key in dirty.subtracting(present.map(\.key)) { write(key, nil) }
        return result.union(changed)
    }

    private mutating func index(_ plan: ClusterPlan) {
        servicesByLabel = [:]
        for service in plan.services where !service.service.selector.isEmpty && service.service.kind != .externalName {
            servicesByLabel[EndpointController.label(service), default: []].append(service)
        }
    }

    private static func label(_ service: PlannedService) -> String {
        service.service.selector.min { $0.key < $1.key }.map { "\(service.namespace) \($0.key)=\($0.value)" } ?? ""
    }

    private static func look(_ plan: ClusterPlan, _ position: Int, _ state: (PlannedPod) -> PodState) -> Known? {
        guard plan.pods[position].address != nil, plan.isCurrent(plan.pods[position]) else { return nil }
        let now = state(plan.pods[position])
        return now.isListed ? Known(state: now, labels: plan.pods[position].labels) : nil
    }

    private mutating func insert(_ position: Int, _ label: String) {
        let place = podsByLabel[label]?.firstIndex { $0 > position } ?? podsByLabel[label]?.count ?? 0
        podsByLabel[label, default: []].insert(position, at: place)
    }

    private mutating func remove(_ position: Int, _ label: String) { podsByLabel[label]?.removeAll { $0 == position } }

    /// A Service's slices as the controller writes them, or those written by hand where it selects nothing.
    private func make(_ service: PlannedService, _ plan: ClusterPlan, _ manual: [EndpointSlice], _ zones: [String: String?]) -> [EndpointSlice] {
        if service.service.selector.isEmpty || service.service.kind == .externalName { return manual }
        let selector = LabelSelector(matchLabels: service.service.selector)
        let publishes = service.service.publishNotReadyAddresses
        // Pods that resolve the target ports differently go to slices of their own.
        var groups: [(ports: [EndpointSlice.Port], endpoints: [EndpointSlice.Endpoint])] = []
        for index in podsByLabel[EndpointController.label(service)] ?? [] where selector.matches(plan.pods[index].labels) {
            let pod = plan.pods[index]
            guard let address = pod.address, let state = pods[index]?.state else { continue }
            let ports = service.ports.compactMap { port in pod.port(port.target, port.proto).map { EndpointSlice.Port(name: port.name, port: $0, proto: port.proto) } }
            let named = pod.template.subdomain == service.name ? pod.template.hostname : nil
            let endpoint = EndpointSlice.Endpoint(
                address: address, ready: !state.isTerminating && (state.isReady || publishes), serving: state.isReady || publishes || state.isServing,
                terminating: state.isTerminating, pod: pod.key, nodeName: pod.node, hostname: named)
            if let place = groups.firstIndex(where: { $0.ports == ports }) { groups[place].endpoints.append(endpoint) } else { groups.append((ports, [endpoint])) }
        }
        if groups.isEmpty { groups = [([], [])] }
        for place in groups.indices { EndpointController.addHints(&groups[place].endpoints, service.service.trafficDistribution, zones) }
        var result: [EndpointSlice] = []
        for group in groups {
            // The controller puts at most 100 endpoints into a slice.
            for start in stride(from: 0, to: max(group.endpoints.count, 1), by: 100) {
                result.append(
                    EndpointSlice(
                        name: "\(service.name)-\(StableName.suffix("\(service.key)/slice/\(result.count)"))", service: service.key, ports: group.ports,
                        endpoints: Array(group.endpoints.dropFirst(start).prefix(100))))
            }
        }
        return result
    }

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
