import HairpinWire

/// The cluster as its control plane would have made it: every controller expanded into pods, every pod on a node with an address, every Service with
/// its virtual address. A pure function of manifests and configuration.
public struct ClusterPlan: Sendable {
    public var configuration: ClusterConfiguration
    public var nodes: [PlannedNode]
    /// In the order of creation: the user's pods as written, then the cluster's own.
    public var pods: [PlannedPod]
    public var services: [PlannedService]
    /// Controllers, with those that other controllers made (a Deployment's ReplicaSet).
    public var workloads: [PlannedWorkload]
    public var namespaces: [String]
    /// With `kubernetes.io/metadata.name`, which the API server sets on every namespace.
    public var namespaceLabels: [String: [String: String]]
    public var networkPolicies: [NetworkPolicy]
    public var adminPolicies: [AdminNetworkPolicy]
    public var hasPolicies: Bool { !networkPolicies.isEmpty || !adminPolicies.isEmpty }
    public var configMaps: [ObjectKey: ConfigMap]
    public var secrets: [ObjectKey: Secret]
    public var manualSlices: [EndpointSlice]
    /// Endpoints that a step wrote without addresses.
    var emptyEndpoints: Set<ObjectKey> = []
    public var kept: [KeptObject]
    public var warnings: [InputWarning]

    public func pod(_ key: ObjectKey) -> PlannedPod? { podIndex[key].map { pods[$0] } }
    public func service(_ key: ObjectKey) -> PlannedService? { services.first { $0.key == key } }
    public func node(_ name: String) -> PlannedNode? { nodes.first { $0.name == name } }
    var podIndex: [ObjectKey: Int]
    /// Pods that steps to come may make, by the workload that makes them.
    public internal(set) var spares: [WorkloadReference: SparePods] = [:]
    /// Positions in `pods` of those that steps apply as such, in the order of the steps.
    var sparePods: [ObjectKey: [Int]] = [:]
    /// Of several pods of one name, this one is there, was there last, or will be first.
    public func isCurrent(_ pod: PlannedPod) -> Bool { podIndex[pod.key] == pod.index }
    /// A spare pod is made, and has its name from now on.
    public mutating func make(_ index: Int) { podIndex[pods[index].key] = index }

    /// The pods of a Deployment, ReplicaSet, StatefulSet, … in order; `kind` as in `deploy/web`, with kubectl's short and plural forms.
    public func pods(ofWorkload kind: String, name: String, namespace: String) -> [PlannedPod]? {
        guard let wanted = ResourceKind(argument: kind)?.workloadKind,
            let workload = workloads.first(where: { $0.kind == wanted && $0.key == ObjectKey(namespace: namespace, name: name) })
        else { return nil }
        return pods(of: workload)
    }
    func pods(of workload: PlannedWorkload) -> [PlannedPod] { workload.pods.compactMap { pod($0) } }
}

public struct PlannedNode: Sendable {
    public var name: String
    public var address: IPv4Address
    public var labels: [String: String]
    public var podCIDR: IPv4Prefix
    public var isUnschedulable: Bool
    public var taints: [Taint] = []
    /// Of its manifest: `deletionTimestamp`.
    public var isDeleted = false
    /// kube-proxy lets load balancers know (`SyncNode` in pkg/proxy/healthcheck/proxy_health.go).
    public var isBeingDeleted: Bool { isDeleted || taints.contains { $0.key == Taint.toBeDeleted } }
    public var zone: String? { labels["topology.kubernetes.io/zone"] }
    public var gateway: IPv4Address { podCIDR.network.advanced(by: 1) }
}

public struct PlannedPod: Sendable {
    public enum Placement: Sendable, Hashable {
        case scheduled(node: String, address: IPv4Address)
        /// On a node, but without an address: the kubelet cannot make its sandbox.
        case withoutAddress(node: String, message: String)
        /// The scheduler found no node.
        case unschedulable(message: String)
    }
    public var metadata: ObjectMeta
    public var template: PodTemplate
    public var placement: Placement
    /// Position in `ClusterPlan.pods`.
    public var index: Int
    /// Planned for a step to come: its controller may make it while time runs.
    public var isSpare = false
    /// So many pods of its name were planned before it: those of a StatefulSet, and Pods that are applied again, follow each other under one name.
    public var incarnation = 0
    /// This pod runs the cluster's DNS server.
    public var isClusterDNS: Bool
    public var key: ObjectKey { metadata.key }
    public var labels: [String: String] { metadata.labels }
    /// What `hostname` prints in it.
    public var hostname: String
    /// "default/web-1": its name in the topology; "default/web-1@2" is the second pod of that name.
    public var hostName: String { incarnation == 0 ? key.description : "\(key)@\(incarnation + 1)" }
    /// As `metadata.uid` has it.
    public var uid: String { StableName.uid("Pod/\(hostName)") }
    public var node: String? {
        switch placement {
        case .scheduled(let node, _), .withoutAddress(let node, _): node
        case .unschedulable: nil
        }
    }
    public var address: IPv4Address? { if case .scheduled(_, let address) = placement { address } else { nil } }
    /// The number of the container port that `reference` names in this pod.
    public func port(_ reference: PortReference, _ proto: PortProtocol) -> UInt16? {
        switch reference {
        case .number(let number): return number
        case .name(let name):
            let sidecars = template.initContainers.filter(\.isSidecar)
            return (template.containers + sidecars).lazy.flatMap(\.ports).first { $0.name == name && $0.proto == proto }?.port
        }
    }
}

public struct PlannedService: Sendable {
    public var service: Service
    /// Nil for headless and ExternalName Services.
    public var clusterAddress: IPv4Address?
    /// With node ports filled in.
    public var ports: [ServicePort]
    /// Where kube-proxy answers a load balancer's health checks; for type LoadBalancer with policy Local.
    public var healthCheckNodePort: UInt16?
    public var key: ObjectKey { service.metadata.key }
    public var name: String { service.metadata.name }
    public var namespace: String { service.metadata.namespace }
    /// kube-proxy's name of a port: "default/web:http", "default/web" when the port has none.
    public func portName(_ port: ServicePort) -> String { port.name.isEmpty ? key.description : "\(key):\(port.name)" }
}

public struct PlannedWorkload: Sendable {
    public var kind: Workload.Kind
    public var metadata: ObjectMeta
    public var replicas: Int
    public var completions: Int
    public var selector: LabelSelector
    public var template: PodTemplate
    public var source: JSONValue
    public var strategy = RolloutStrategy()
    /// Of a StatefulSet: the number of its first pod.
    public var firstOrdinal = 0
    /// Its pods, through a ReplicaSet it owns where it has one.
    public var pods: [ObjectKey]
    public var key: ObjectKey { metadata.key }
    public var reference: WorkloadReference { WorkloadReference(kind, key) }
}

extension PlannedWorkload {
    /// As its manifest has it, without pods.
    init(_ workload: Workload) {
        self.init(
            kind: workload.kind, metadata: workload.metadata, replicas: workload.replicas, completions: workload.completions, selector: workload.selector,
            template: workload.kind == .statefulSet ? workload.podTemplate : workload.template, source: workload.source, pods: [])
        (strategy, firstOrdinal) = (workload.strategy, workload.firstOrdinal)
    }

    /// The ReplicaSet of a Deployment for its template as it is, without pods.
    public func replicaSet(restarts: Int) -> PlannedWorkload {
        let hash = StableName.templateHash(template, restarts: restarts)
        var result = self
        result.kind = .replicaSet
        result.template.labels["pod-template-hash"] = hash
        result.selector.matchLabels["pod-template-hash"] = hash
        result.metadata.name += "-" + hash
        result.metadata.labels = result.template.labels
        result.metadata.owner = OwnerReference(kind: kind.rawValue, name: metadata.name)
        result.source["kind"] = .string("ReplicaSet")
        (result.completions, result.pods, result.strategy) = (0, [], RolloutStrategy())
        return result
    }
}

extension MACAddress {
    /// 52:54:00:00:00:NN for the machine with host part NN on the LAN; of larger LANs the lower 24 bits of the address.
    static func lan(_ address: IPv4Address, prefixLength: Int = 24) -> MACAddress {
        MACAddress(rawValue: 0x5254_0000_0000 | UInt64(address.rawValue & ~IPv4Prefix.mask(max(prefixLength, 8))))
    }
    /// The switch's port for that machine: 02:00:00:ff:00:NN.
    static func lanPort(_ address: IPv4Address, prefixLength: Int = 24) -> MACAddress {
        MACAddress(rawValue: 0x0200_00ff_0000 ^ UInt64(address.rawValue & ~IPv4Prefix.mask(max(prefixLength, 8))))
    }
    /// A locally administered unicast address from a stable hash of `name`.
    static func stable(_ name: String) -> MACAddress {
        MACAddress(rawValue: StableName.hash64("mac/" + name) & 0xfcff_ffff_ffff | 0x0200_0000_0000)
    }
}
