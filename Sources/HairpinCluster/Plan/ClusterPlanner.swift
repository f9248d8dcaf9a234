import HairpinWire

/// Does what controllers, scheduler, address allocators and API server do, in one deterministic pass.
public struct ClusterPlanner {
    let configuration: ClusterConfiguration
    var manifests: Manifests
    var nodes: [PlannedNode] = []
    var workloads: [PlannedWorkload] = []
    var pods: [PlannedPod] = []
    var podIndex: [ObjectKey: Int] = [:]
    var spares: [WorkloadReference: SparePods] = [:]
    var sparePods: [ObjectKey: [Int]] = [:]
    /// How many pods of a name were planned after the first.
    var incarnations: [ObjectKey: Int] = [:]
    var warnings: [InputWarning]

    /// - Throws: `InputError` for what the API server would refuse, and for references to objects that are not there.
    public static func plan(_ manifests: Manifests, configuration: ClusterConfiguration = ClusterConfiguration()) throws(InputError) -> ClusterPlan {
        var planner = ClusterPlanner(configuration: configuration, manifests: manifests)
        return try planner.run()
    }

    private init(configuration: ClusterConfiguration, manifests: Manifests) {
        self.configuration = configuration
        self.manifests = manifests
        warnings = manifests.warnings
    }

    private mutating func run() throws(InputError) -> ClusterPlan {
        try planNodes()
        try addSystemObjects()
        let namespaces = try checkNamespaces()
        let configMaps = Dictionary(manifests.configMaps.map { ($0.metadata.key, $0) }, uniquingKeysWith: { first, _ in first })
        let secrets = Dictionary(manifests.secrets.map { ($0.metadata.key, $0) }, uniquingKeysWith: { first, _ in first })
        try expandControllers()
        try checkPodNames()
        try expandSpares()
        let later = Dictionary(configuration.appliedConfigMaps.map { ($0.metadata.key, $0) }, uniquingKeysWith: { first, _ in first })
        try checkReferences(configMaps: configMaps.merging(later) { first, _ in first }, secrets: secrets)
        schedule()
        var allocator = ServiceAllocator(configuration: configuration)
        let services = try allocator.allocate(manifests.services)
        var plan = ClusterPlan(
            configuration: configuration, nodes: nodes, pods: pods, services: services, workloads: workloads, namespaces: namespaces,
            namespaceLabels: labels(ofNamespaces: namespaces), networkPolicies: manifests.networkPolicies, adminPolicies: manifests.adminPolicies,
            configMaps: configMaps, secrets: secrets, manualSlices: manifests.endpointSlices, kept: manifests.kept, warnings: warnings, podIndex: podIndex)
        (plan.spares, plan.sparePods) = (spares, sparePods)
        return plan
    }

    // MARK: Namespaces and references

    static let systemNamespaces = ["default", "kube-node-lease", "kube-public", "kube-system"]

    private func checkNamespaces() throws(InputError) -> [String] {
        let names = Self.systemNamespaces + manifests.namespaces.map(\.metadata.name)
        let known = Set(names)
        let objects = manifests.pods.map(\.metadata) + manifests.workloads.map(\.metadata) + manifests.services.map(\.metadata) + manifests.configMaps.map(\.metadata)
            + manifests.networkPolicies.map(\.metadata)
        for metadata in objects where !known.contains(metadata.namespace) {
            let near = nearestWord(to: metadata.namespace, among: names).map { "Did you mean \"\($0)\"? " } ?? ""
            throw InputError(
                file: metadata.file, line: metadata.line, problem: "error when creating \"\(metadata.name)\": namespaces \"\(metadata.namespace)\" not found",
                fix: "\(near)Add a manifest of kind: Namespace with this name.")
        }
        return Set(names).sorted()
    }

    private func labels(ofNamespaces names: [String]) -> [String: [String: String]] {
        let written = Dictionary(manifests.namespaces.map { ($0.metadata.name, $0.metadata.labels) }, uniquingKeysWith: { first, _ in first })
        return Dictionary(uniqueKeysWithValues: names.map { ($0, Namespace.labels($0, written: written[$0] ?? [:])) })
    }

    private mutating func checkReferences(configMaps: [ObjectKey: ConfigMap], secrets: [ObjectKey: Secret]) throws(InputError) {
        var seen: Set<ObjectKey> = []
        for metadata in pods.map(\.metadata) where !metadata.file.isEmpty {
            guard let index = podIndex[metadata.key] else { continue }
            let template = pods[index].template
            // Replicas share a template: one look is enough.
            let origin = ObjectKey(namespace: metadata.namespace, name: "\(metadata.file):\(metadata.line)")
            guard seen.insert(origin).inserted else { continue }
            func configMap(_ name: String, key: String?, optional: Bool, for user: String) throws(InputError) {
                if optional || name == "kube-root-ca.crt" { return }
                let names = configMaps.keys.filter { $0.namespace == metadata.namespace }.map(\.name).sorted()
                guard let map = configMaps[ObjectKey(namespace: metadata.namespace, name: name)] else {
                    let near = nearestWord(to: name, among: names).map { "Did you mean \"\($0)\"? " } ?? ""
                    throw InputError(
                        file: metadata.file, line: metadata.line, path: user, value: name, problem: "is not the name of a ConfigMap in namespace \(metadata.namespace)",
                        fix: "\(near)Add the ConfigMap, or mark the reference \"optional: true\".")
                }
                guard let key, !map.data.contains(where: { $0.key == key }), map.source["binaryData"]?[key] == nil else { return }
                let near = nearestWord(to: key, among: map.data.map(\.key)).map { "Did you mean \"\($0)\"?" } ?? "Add the key, or mark the reference \"optional: true\"."
                throw InputError(file: metadata.file, line: metadata.line, path: user, value: key, problem: "is not a key of the ConfigMap \"\(name)\"", fix: near)
            }
            for volume in template.volumes {
                switch volume.source {
                case .configMap(let name, let items, let optional):
                    try configMap(name, key: nil, optional: optional, for: "volume \(volume.name)")
                    for item in items ?? [] { try configMap(name, key: item.key, optional: optional, for: "volume \(volume.name)") }
                case .secret(let name, let optional):
                    warnSecret(name, optional, metadata, secrets)
                case .other(let kind):
                    warnings.append(
                        InputWarning(
                            file: metadata.file, line: metadata.line,
                            message: "volume \"\(volume.name)\" of \"\(metadata.name)\": \(kind) is not modelled, it is an empty folder"))
                case .emptyDir: break
                }
            }
            for container in template.initContainers + template.containers {
                for variable in container.environment {
                    switch variable.value {
                    case .configMap(let name, let key, let optional):
                        try configMap(name, key: key, optional: optional, for: "container \(container.name): env \(variable.name)")
                    case .secret(let name, _, let optional): warnSecret(name, optional, metadata, secrets)
                    default: break
                    }
                }
                for source in container.environmentFrom {
                    if source.isSecret {
                        warnSecret(source.name, source.optional, metadata, secrets)
                    } else {
                        try configMap(source.name, key: nil, optional: source.optional, for: "container \(container.name): envFrom")
                    }
                }
                warnProbes(of: container, metadata)
                if container.ports.contains(where: { $0.hostPort != nil }), !template.hostNetwork {
                    warnings.append(InputWarning(file: metadata.file, line: metadata.line, message: "hostPort of container \"\(container.name)\" is kept, not modelled"))
                }
            }
            if template.hostNetwork {
                warnings.append(
                    InputWarning(
                        file: metadata.file, line: metadata.line,
                        message: "\"\(metadata.name)\" asks for hostNetwork, which is not modelled: it gets an address of its own"))
            }
        }
    }

    /// The API server takes any name for a probe's port; the kubelet finds no port to ask, and the probe fails each time.
    private mutating func warnProbes(of container: Container, _ metadata: ObjectMeta) {
        for (key, probe) in [("readinessProbe", container.readinessProbe), ("livenessProbe", container.livenessProbe), ("startupProbe", container.startupProbe)] {
            let reference: PortReference
            switch probe?.action {
            case .tcpSocket(let port), .httpGet(_, let port): reference = port
            default: continue
            }
            guard case .name(let name) = reference, !container.ports.contains(where: { $0.name == name }) else { continue }
            let near = nearestWord(to: name, among: container.ports.compactMap(\.name)).map { "; did you mean \"\($0)\"?" } ?? ""
            let message = "\(key) of container \"\(container.name)\" of \"\(metadata.name)\" asks for port \"\(name)\", which no port of it is called: it will always fail\(near)"
            warnings.append(InputWarning(file: metadata.file, line: metadata.line, message: message))
        }
    }

    private mutating func warnSecret(_ name: String, _ optional: Bool, _ metadata: ObjectMeta, _ secrets: [ObjectKey: Secret]) {
        if optional || secrets[ObjectKey(namespace: metadata.namespace, name: name)] != nil { return }
        let warning = InputWarning(file: metadata.file, line: metadata.line, message: "secret \"\(name)\" of \"\(metadata.name)\" is not there: it counts as empty")
        if !warnings.contains(warning) { warnings.append(warning) }
    }

    /// A Pod may be called as a StatefulSet calls its own.
    private func checkPodNames() throws(InputError) {
        guard podIndex.count < pods.count else { return }
        var seen: Set<ObjectKey> = []
        for pod in pods where !seen.insert(pod.key).inserted {
            throw InputError(
                file: pod.metadata.file, line: pod.metadata.line, path: "metadata.name", value: pod.metadata.name,
                problem: "is the name of two pods in namespace \(pod.metadata.namespace)",
                fix: "Rename the Pod or the controller that makes the other.")
        }
    }

    // MARK: Nodes

    private mutating func planNodes() throws(InputError) {
        let file = configuration.file
        guard !configuration.nodes.isEmpty else { throw InputError(file: file, problem: "the cluster has no nodes", fix: "Name at least one node.") }
        let length = configuration.nodePrefixLength
        guard length >= configuration.podCIDR.length, length <= 29 else {
            throw InputError(
                file: file, path: "podCIDR", value: configuration.podCIDR.description, problem: "is smaller than the /\(length) that each node needs",
                fix: "Write a prefix of at most \(length) bits, such as 10.244.0.0/16.")
        }
        guard configuration.serviceCIDR.length <= 27 else {
            throw InputError(
                file: file, path: "serviceCIDR", value: configuration.serviceCIDR.description, problem: "has too few addresses",
                fix: "Write a prefix of at most 27 bits, such as 10.96.0.0/12.")
        }
        let lan = IPv4Prefix(configuration.nodes[0].address, length: configuration.lanPrefixLength)
        let ranges = [("podCIDR", configuration.podCIDR), ("serviceCIDR", configuration.serviceCIDR), ("the LAN", lan)]
        for (i, a) in ranges.enumerated() {
            for b in ranges[..<i] where a.1.contains(b.1.network) || b.1.contains(a.1.network) {
                throw InputError(file: file, path: a.0, value: a.1.description, problem: "overlaps \(b.0) \(b.1)", fix: "Choose prefixes that have no address in common.")
            }
        }
        var names: Set<String> = []
        var addresses: Set<IPv4Address> = []
        let machines = configuration.nodes.map { ($0.name, $0.address) } + configuration.hosts.map { ($0.name, $0.address) }
        for (name, address) in machines {
            guard Names.isSubdomain(name), name != "lan" else {
                throw InputError(
                    file: file, value: name, problem: "is not a name for a machine", fix: "Use lower case letters, digits, \"-\" and \".\"; \"lan\" is the switch's name."
                )
            }
            guard names.insert(name).inserted else {
                throw InputError(file: file, value: name, problem: "is the name of two machines", fix: "Give each node and host a name of its own.")
            }
            guard addresses.insert(address).inserted else {
                throw InputError(file: file, value: address.description, problem: "is the address of two machines", fix: "Give each node and host an address of its own.")
            }
            guard lan.contains(address), address != lan.network, address != lan.broadcast else {
                throw InputError(
                    file: file, value: address.description, problem: "is not an address for a machine on the LAN \(lan)", fix: "Choose an address in \(lan).")
            }
        }
        for (index, node) in configuration.nodes.enumerated() {
            let offset = index << (32 - length)
            guard index < 1 << (length - configuration.podCIDR.length) else {
                throw InputError(
                    file: file, path: "podCIDR", value: configuration.podCIDR.description, problem: "has no /\(length) left for node \"\(node.name)\"",
                    fix: "Write a larger prefix, or fewer nodes.")
            }
            let manifest = manifests.nodes.first { $0.metadata.name == node.name }
            var labels = manifest?.metadata.labels ?? [:]
            labels.merge(node.labels) { $1 }
            for (key, value) in ["kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"] where labels[key] == nil {
                labels[key] = value
            }
            nodes.append(
                PlannedNode(
                    name: node.name, address: node.address, labels: labels, podCIDR: IPv4Prefix(configuration.podCIDR.network.advanced(by: offset), length: length),
                    isUnschedulable: manifest?.isUnschedulable ?? false, taints: manifest?.taints ?? [], isDeleted: manifest?.isDeleted ?? false))
        }
        for manifest in manifests.nodes where !nodes.contains(where: { $0.name == manifest.metadata.name }) {
            warnings.append(
                InputWarning(
                    file: manifest.metadata.file, line: manifest.metadata.line,
                    message: "node \"\(manifest.metadata.name)\" is not in the cluster's list of nodes: it is left out"))
        }
    }
}
