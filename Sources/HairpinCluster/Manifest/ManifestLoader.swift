import Foundation

/// Reads Kubernetes manifests: files, folders, texts or documents, one after the other, into one `Manifests`.
///
///     var loader = ManifestLoader()
///     try loader.load(path: "web.yaml")
///     let manifests = loader.manifests
public struct ManifestLoader: Sendable {
    public private(set) var manifests = Manifests()
    /// Where each object was written, to name both places of a duplicate.
    private var places: [String: (file: String, line: Int)] = [:]
    /// Of each kind without a model: its warning, and how many objects there are.
    private var keptKinds: [String: (warning: Int, count: Int)] = [:]
    /// Objects read so far, which a person can hardly have meant to exceed.
    private var objectCount = 0
    private static let maximumObjectCount = 50_000

    public init() {}

    /// A file, or a folder: its `.yaml`, `.yml` and `.json` files in the order of their names, without going into folders below it.
    public mutating func load(path: String) throws(InputError) {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue else {
            return try load(documents: YAMLReader.documents(path: path))
        }
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: path) else {
            throw InputError(kind: .unreadable, file: path, problem: "cannot be listed", fix: "Check its permissions.")
        }
        let manifests = names.filter { !$0.hasPrefix(".") && ($0.hasSuffix(".yaml") || $0.hasSuffix(".yml") || $0.hasSuffix(".json")) }.sorted()
        guard !manifests.isEmpty else {
            throw InputError(
                kind: .unreadable, file: path, problem: "is a folder without .yaml, .yml or .json files", fix: "Name the folder that has the manifests, or a file.")
        }
        for name in manifests { try load(documents: YAMLReader.documents(path: path.hasSuffix("/") ? path + name : path + "/" + name)) }
    }

    /// `file` is the name that errors show.
    public mutating func load(text: String, file: String) throws(InputError) {
        try load(documents: YAMLReader.documents(text: text, file: file))
    }

    public mutating func load(documents: [YAMLValue]) throws(InputError) {
        for document in documents { try load(document: document) }
    }

    /// One object, or a List of objects.
    public mutating func load(document: YAMLValue) throws(InputError) {
        let kindValue = try document.require("kind", fix: "Add \"kind:\", such as kind: Pod.")
        let kind = try kindValue.string()
        let versionValue = try document.require("apiVersion", fix: "Add \"apiVersion:\", such as apiVersion: v1.")
        let version = try versionValue.string()
        if kind.hasSuffix("List"), case .sequence = document["items"]?.content {
            for item in try document.items("items") { try load(document: item) }
            return
        }
        if kind == "List" { return }
        objectCount += 1
        guard objectCount <= Self.maximumObjectCount else {
            throw document.error(problem: "there are more than \(Self.maximumObjectCount) objects", fix: "Load fewer manifests at once.")
        }
        if Self.versions[kind] == nil, !Self.otherKinds.contains(kind) { try checkSpelling(kindValue, version) }
        if let versions = Self.versions[kind], !versions.contains(version) {
            if version.hasPrefix("extensions/v1beta1") || version.hasPrefix("apps/v1beta") || Self.coreKinds.contains(kind) || !version.contains(".") {
                throw InputError(
                    file: versionValue.file, line: versionValue.line, column: versionValue.column, problem: "no matches for kind \"\(kind)\" in version \"\(version)\"",
                    fix: "Write apiVersion: \(versions[0]).")
            }
            // A custom resource of the same name in another group.
            return try keep(document, kind: kind, version: version, metadata: try metadata(of: document, kind: kind, version: version, isKnown: false))
        }
        let metadata = try metadata(of: document, kind: kind, version: version)
        try register(document, kind: kind, metadata: metadata)
        switch kind {
        case "Namespace": manifests.namespaces.append(Namespace(metadata: metadata, source: JSONValue(document.node)))
        case "Node": manifests.nodes.append(try Node(document, metadata: metadata))
        case "Pod": manifests.pods.append(Pod(metadata: metadata, template: try PodTemplate(document)))
        case "Service": manifests.services.append(try Service(document, metadata: metadata))
        case "ConfigMap": manifests.configMaps.append(ConfigMap(metadata: metadata, data: try document["data"]?.stringMap() ?? [], source: JSONValue(document.node)))
        case "Secret": manifests.secrets.append(try Secret(document, metadata: metadata))
        case "EndpointSlice":
            if let slice = try EndpointSlice(document, metadata: metadata) {
                manifests.endpointSlices.append(slice)
            } else {
                try keep(document, kind: kind, version: version, metadata: metadata)
            }
        case "AdminNetworkPolicy", "BaselineAdminNetworkPolicy":
            manifests.adminPolicies.append(try AdminNetworkPolicy(document, kind: kind, metadata: metadata))
        case "NetworkPolicy": manifests.networkPolicies.append(try NetworkPolicy(document, metadata: metadata))
        case "Endpoints": manifests.endpointSlices += try EndpointSlice.mirroring(document, metadata: metadata)
        default:
            if let workload = Workload.Kind(rawValue: kind) {
                manifests.workloads.append(try Workload(document, kind: workload, metadata: metadata))
            } else {
                try keep(document, kind: kind, version: version, metadata: metadata)
            }
        }
    }

    /// A kind that Kubernetes' own groups do not have, and that is near one they have, is a slip: the API server has no match for it either. What is in groups of
    /// other people is theirs to name.
    private func checkSpelling(_ kind: YAMLValue, _ version: String) throws(InputError) {
        let group = version.split(separator: "/").dropLast().first ?? ""
        let text = try kind.string()
        if group == "hairpin.sim" {
            throw kind.error(problem: "is no kind of \(version)", fix: "Write kind: Scenario.")
        }
        guard !group.contains(".") || group.hasSuffix(".k8s.io") else { return }
        let known = Self.versions.keys.sorted() + Self.otherKinds.sorted()
        guard let near = nearestWord(to: text, among: known) else { return }
        throw InputError(
            file: kind.file, line: kind.line, column: kind.column, problem: "no matches for kind \"\(text)\" in version \"\(version)\"", fix: "Did you mean \"\(near)\"?")
    }

    private mutating func keep(_ document: YAMLValue, kind: String, version: String, metadata: ObjectMeta) throws(InputError) {
        // One warning a kind; the first object's place stands for all.
        if let first = keptKinds[kind] {
            let name = manifests.kept.first { $0.kind == kind }?.metadata.name ?? metadata.name
            keptKinds[kind]?.count += 1
            manifests.warnings[first.warning].message = "\(kind) \"\(name)\" and \(first.count) more are kept, not modelled"
        } else {
            keptKinds[kind] = (manifests.warnings.count, 1)
            manifests.warnings.append(InputWarning(file: document.file, line: document.line, message: "\(kind) \"\(metadata.name)\" is kept, not modelled"))
        }
        manifests.kept.append(KeptObject(apiVersion: version, kind: kind, metadata: metadata, source: JSONValue(document.node), value: document))
    }

    /// Two objects of one kind, namespace and name: the second is a mistake.
    private mutating func register(_ document: YAMLValue, kind: String, metadata: ObjectMeta) throws(InputError) {
        let key = "\(kind) \(metadata.key)"
        if let first = places[key] {
            let name = document["metadata"]?["name"] ?? document
            let place = first.file == document.file ? "line \(first.line)" : "\(first.file):\(first.line)"
            throw name.error(
                problem: "is the name of another \(kind)\(metadata.namespace.isEmpty ? "" : " in namespace \(metadata.namespace)"), in \(place)",
                fix: "Rename one of them, or remove it.")
        }
        places[key] = (document.file, document["metadata"]?["name"]?.line ?? document.line)
    }

    /// What the API server would reject is rejected here.
    private func metadata(of document: YAMLValue, kind: String, version: String, isKnown: Bool = true) throws(InputError) -> ObjectMeta {
        if let metadata = document["metadata"], metadata["name"] == nil, metadata["generateName"] != nil {
            _ = try metadata.require("name", fix: "Hairpin's names are the same in every run: write \"name:\" in place of generateName.")
        }
        try ObjectValidation.check(document, kind: kind, version: version, isKnown: isKnown)
        return try Self.metadata(of: document, kind: kind)
    }

    /// Of an object that has been checked.
    static func metadata(of document: YAMLValue, kind: String) throws(InputError) -> ObjectMeta {
        let value = try document.require("metadata")
        let name = try value.require("name")
        let isNamespaced = !clusterKinds.contains(kind)
        var annotations: [String: String] = [:]
        for (key, text) in try value["annotations"]?.stringMap() ?? [] { annotations[key] = text }
        return ObjectMeta(
            name: try name.string(), namespace: isNamespaced ? try value.string("namespace").flatMap { $0.isEmpty ? nil : $0 } ?? "default" : "",
            labels: try Names.labels(value["labels"]), annotations: annotations, file: document.file, line: name.line)
    }
}

extension ManifestLoader {
    /// The kinds whose fields are checked, with their versions; the first is the one to write.
    private static let versions: [String: [String]] = [
        "Namespace": ["v1"], "Node": ["v1"], "Pod": ["v1"], "Service": ["v1"], "Endpoints": ["v1"], "ConfigMap": ["v1"], "Secret": ["v1"],
        "ReplicationController": ["v1"], "Deployment": ["apps/v1"], "ReplicaSet": ["apps/v1"], "StatefulSet": ["apps/v1"], "DaemonSet": ["apps/v1"],
        "Job": ["batch/v1"], "CronJob": ["batch/v1"], "EndpointSlice": ["discovery.k8s.io/v1", "discovery.k8s.io/v1beta1"],
        "NetworkPolicy": ["networking.k8s.io/v1"], "AdminNetworkPolicy": [AdminNetworkPolicy.apiVersion],
        "BaselineAdminNetworkPolicy": [AdminNetworkPolicy.apiVersion],
    ]
    /// Kinds of Kubernetes' own groups whose fields are not checked.
    private static let otherKinds: Set<String> = [
        "PersistentVolume", "PersistentVolumeClaim", "ServiceAccount", "Event", "LimitRange", "ResourceQuota", "PodTemplate", "Binding", "ComponentStatus", "Eviction",
        "ControllerRevision", "Ingress", "IngressClass", "IPAddress", "ServiceCIDR", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Role", "RoleBinding", "ClusterRole",
        "ClusterRoleBinding", "StorageClass", "CSIDriver", "CSINode", "CSIStorageCapacity", "VolumeAttachment", "VolumeAttributesClass", "PriorityClass", "RuntimeClass", "Lease",
        "FlowSchema", "PriorityLevelConfiguration", "CustomResourceDefinition", "APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration",
        "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "CertificateSigningRequest", "TokenReview",
        "Gateway", "GatewayClass", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute", "ReferenceGrant", "DeviceClass", "ResourceClaim", "ResourceClaimTemplate",
        "ResourceSlice", "VolumeSnapshot", "VolumeSnapshotClass", "VolumeSnapshotContent", "ClusterNetworkPolicy",
    ]
    private static let coreKinds: Set<String> = ["Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController"]
    /// Kinds that belong to no namespace.
    private static let clusterKinds: Set<String> = [
        "Namespace", "Node", "PersistentVolume", "StorageClass", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "PriorityClass", "IngressClass",
        "RuntimeClass",
        "APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "CSIDriver", "VolumeAttachment", "GatewayClass",
        "AdminNetworkPolicy", "BaselineAdminNetworkPolicy",
    ]
}

/// Of objects that `ObjectValidation` finds nothing wrong with.
extension Node {
    init(_ value: YAMLValue, metadata: ObjectMeta) throws(InputError) {
        self.metadata = metadata
        let spec = value["spec"]
        let prefixes = try spec?.strings("podCIDRs") ?? []
        podCIDR = try (prefixes.isEmpty ? [spec?.string("podCIDR") ?? ""] : prefixes).lazy.compactMap { AnyPrefix($0)?.v4 }.first
        isUnschedulable = try spec?.bool("unschedulable") ?? false
        for item in try spec?.items("taints") ?? [] {
            let effect = Taint.Effect(rawValue: try item.string("effect") ?? "") ?? .noSchedule
            taints.append(Taint(key: try item.string("key") ?? "", value: try item.string("value") ?? "", effect: effect))
        }
        isDeleted = value["metadata"]?["deletionTimestamp"] != nil
        address = nil
        for item in try value["status"]?.items("addresses") ?? [] {
            guard address == nil, try item.string("type") == "InternalIP" else { continue }
            address = try item.string("address").flatMap { AnyAddress($0)?.v4 }
        }
    }
}

extension Secret {
    init(_ value: YAMLValue, metadata: ObjectMeta) throws(InputError) {
        self.metadata = metadata
        source = JSONValue(value.node)
        data = try (value["data"]?.stringMap() ?? []).map { ($0.key, Array(Data(base64Encoded: $0.value, options: .ignoreUnknownCharacters) ?? Data())) }
        for (key, text) in try value["stringData"]?.stringMap() ?? [] {
            data.removeAll { $0.key == key }
            data.append((key, Array(text.utf8)))
        }
    }
}
