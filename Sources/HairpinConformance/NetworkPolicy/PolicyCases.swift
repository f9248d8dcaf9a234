import HairpinCluster
import HairpinWire

/// A file of NetworkPolicy cases: pods in namespaces, policies and labels that come and go, and who reaches whom after each step.
struct PolicyCaseFile {
    struct ModelPod {
        var key: ObjectKey
        var labels: [(key: String, value: String)]
        var address: IPv4Address
    }
    var namespaces: [(name: String, labels: [(key: String, value: String)])]
    var pods: [ModelPod]
    /// Of the rows and columns of every matrix.
    var order: [ObjectKey]
    var ignoresLoopback: Bool
    /// "serve-<port>-<proto lowercase>"
    var portName: String
    var cases: [YAMLValue]

    init(_ file: YAMLValue) throws(InputError) {
        let model = try file.require("model")
        namespaces = []
        for (name, labels) in try model.require("namespaces").entries() { namespaces.append((name, try labels.stringMap())) }
        pods = []
        for (name, pod) in try model.require("pods").entries() {
            pods.append(ModelPod(key: try PolicyCaseFile.key(name, at: pod), labels: try pod["labels"]?.stringMap() ?? [], address: try pod.require("ip").address()))
        }
        order = []
        for item in try file.require("order").items() {
            let key = try PolicyCaseFile.key(item.string(), at: item)
            guard pods.contains(where: { $0.key == key }) else { throw item.error(problem: "is not a pod of the model", fix: "Name one of model.pods.") }
            order.append(key)
        }
        ignoresLoopback = try file.bool("ignoreLoopback") ?? true
        portName = try model.string("containerPortName") ?? "serve-<port>-<proto lowercase>"
        cases = try file.require("cases").items()
    }

    static func key(_ text: String, at value: YAMLValue) throws(InputError) -> ObjectKey {
        let words = text.split(separator: "/", omittingEmptySubsequences: false)
        guard words.count == 2, words.allSatisfy({ !$0.isEmpty }) else { throw value.error(problem: "is not NAMESPACE/POD", fix: "Write a name such as x/a.") }
        return ObjectKey(namespace: String(words[0]), name: String(words[1]))
    }
}

/// One case, read.
struct PolicyCase {
    struct Probe: Hashable {
        var proto: PortProtocol
        var port: UInt16
    }
    struct Step {
        var changes: [ClusterChange]
        var probe: Probe
        /// Rows by source, columns by destination: "." reaches, "X" does not.
        var matrix: [String]
    }
    var id: String
    /// What the pods serve: every port on every protocol.
    var served: [Probe]
    var steps: [Step]

    /// Throws `Unsupported` for what is not understood.
    init(_ value: YAMLValue, in file: PolicyCaseFile) throws {
        id = try value.require("id").string()
        var ports: [UInt16] = []
        for item in try value.items("serverPorts") { ports.append(UInt16(try item.integer(in: 1...65535))) }
        var protocols: [PortProtocol] = []
        for item in try value.items("serverProtocols") { protocols.append(try PolicyCase.proto(item)) }
        steps = []
        for item in try value.require("steps").items() {
            let probe = try item.require("probe")
            let step = Step(
                changes: try item.items("actions").map { try PolicyCase.change($0, in: file) },
                probe: Probe(proto: try PolicyCase.proto(probe.require("protocol")), port: UInt16(try probe.require("port").integer(in: 1...65535))),
                matrix: try item.require("matrix").strings())
            guard step.matrix.count == file.order.count, step.matrix.allSatisfy({ $0.utf8.count == file.order.count }) else {
                throw item.error(problem: "has a matrix of the wrong size", fix: "Write \(file.order.count) rows of \(file.order.count) letters.")
            }
            steps.append(step)
        }
        served = ports.flatMap { port in protocols.map { Probe(proto: $0, port: port) } }
        // A port that is probed and not in the lists is served all the same.
        for step in steps where !served.contains(step.probe) { served.append(step.probe) }
    }

    private static func proto(_ value: YAMLValue) throws -> PortProtocol {
        let text = try value.string()
        guard let proto = PortProtocol(rawValue: text.uppercased()) else { throw Unsupported("protocol \(text)") }
        return proto
    }

    /// `{op, policy}`, `{op, pod, labels}`, `{op, namespace, labels}`.
    private static func change(_ value: YAMLValue, in file: PolicyCaseFile) throws -> ClusterChange {
        let op = try value.require("op").string()
        switch op {
        case "create", "update", "replace", "apply", "patch", "createPolicy", "updatePolicy":
            let policy = try value.require("policy")
            var loader = ManifestLoader()
            try loader.load(document: policy["kind"] == nil ? manifest(policy) : policy)
            return .apply(policies: loader.manifests.networkPolicies, namespaces: [])
        case "delete", "deletePolicy":
            if let policy = value["policy"], policy.isScalar { return .deletePolicy(try PolicyCaseFile.key(policy.string(), at: policy)) }
            let named = value["policy"] ?? value
            return .deletePolicy(ObjectKey(namespace: try named.require("namespace").string(), name: try named.require("name").string()))
        case "labelPod", "addPodLabels", "setPodLabels", "unlabelPod", "removePodLabels":
            let pod = try value.require("pod")
            return .labelPod(try PolicyCaseFile.key(pod.string(), at: pod), try labels(value))
        case "labelNamespace", "addNamespaceLabels", "setNamespaceLabels", "unlabelNamespace", "removeNamespaceLabels":
            return .labelNamespace(try (value["namespace"] ?? value.require("ns")).string(), try labels(value))
        default: throw Unsupported("the action \(op)")
        }
    }

    /// `labels: {key: value}`, null removes; and `remove: [key]`.
    private static func labels(_ value: YAMLValue) throws -> [ClusterChange.LabelChange] {
        var changes: [ClusterChange.LabelChange] = []
        if let labels = value["labels"] {
            if case .sequence = labels.content {
                for key in try labels.strings() { changes.append(.init(key: key, value: nil)) }
            } else {
                for (key, text) in try labels.entries() { changes.append(.init(key: key, value: text.isNull ? nil : try text.string())) }
            }
        }
        for key in try value.strings("remove") ?? value.strings("keys") ?? [] { changes.append(.init(key: key, value: nil)) }
        guard !changes.isEmpty else { throw Unsupported("a change of labels without labels") }
        return changes
    }

    /// `{name, namespace, spec}` as the NetworkPolicy it means, with its places in the file.
    private static func manifest(_ policy: YAMLValue) throws -> YAMLValue {
        func entry(_ key: String, _ node: YAMLNode) -> YAMLEntry { YAMLEntry(key: key, keyLine: node.line, keyColumn: node.column, value: node) }
        func text(_ text: String) -> YAMLNode { YAMLNode(.string(text), line: policy.line, column: policy.column, text: text) }
        let metadata = YAMLNode(
            .mapping([entry("name", try policy.require("name").node), entry("namespace", try policy.require("namespace").node)]), line: policy.line, column: policy.column)
        let entries = [
            entry("apiVersion", text("networking.k8s.io/v1")), entry("kind", text("NetworkPolicy")), entry("metadata", metadata),
            entry("spec", try policy.require("spec").node),
        ]
        return YAMLValue(node: YAMLNode(.mapping(entries), line: policy.line, column: policy.column), file: policy.file)
    }
}
