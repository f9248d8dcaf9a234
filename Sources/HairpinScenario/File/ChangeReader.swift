import HairpinCluster

/// Reads the steps that change the cluster: `apply: FILE`, `delete: svc/NAME`, `label: {pod/NAME: {KEY: VALUE}}`, `annotate:` likewise,
/// `taint: {node/NAME: {KEY: VALUE:EFFECT}}`, `restart: deploy/NAME`, `scale: deploy/NAME` with `replicas: 5`.
enum ChangeReader {
    /// The keys of a step that say what it does; it has one of them.
    static let keys = ["apply", "delete", "label", "annotate", "taint", "restart", "scale"]

    /// Nil for a step that runs a command. `command` is how one would call kubectl.
    static func read(_ item: YAMLValue) throws(InputError) -> (change: StepChange, command: String)? {
        let given = (["run", "requests"] + keys).filter { item[$0] != nil }
        if given.count > 1, let second = item[given[1]] {
            throw second.error(problem: "stands beside \"\(given[0])\"", fix: "Make two steps of it.")
        }
        if let value = item["apply"] { return try apply(value) }
        if let value = item["delete"] { return try delete(value) }
        if let value = item["label"] { return try label(value) }
        if let value = item["annotate"] { return try annotate(value) }
        if let value = item["taint"] { return try taint(value) }
        if let value = item["restart"] { return try restart(value) }
        if let value = item["scale"] { return try scale(value, item) }
        return nil
    }

    private static func apply(_ value: YAMLValue) throws(InputError) -> (StepChange, String) {
        var items = [value]
        if case .sequence = value.content { items = try value.items() }
        guard !items.isEmpty else { throw value.error(problem: "applies nothing", fix: "Name a file relative to this one, or write an object.") }
        var words: [String] = []
        for item in items { words.append(item.isScalar ? try item.string() : "-") }
        return (.files(items, isDeletion: false), "kubectl apply " + words.map { "-f \($0)" }.joined(separator: " "))
    }

    /// `KIND/NAME`, a file of objects, or a list of them.
    private static func delete(_ value: YAMLValue) throws(InputError) -> (StepChange, String) {
        var items = [value]
        if case .sequence = value.content { items = try value.items() }
        guard !items.isEmpty else { throw value.error(problem: "deletes nothing", fix: "Write KIND/NAME, or name a file relative to this one.") }
        var texts: [String] = []
        for item in items { texts.append(try item.string()) }
        let files = texts.filter { text in [".yaml", ".yml", ".json"].contains { text.hasSuffix($0) } }
        if files.count == texts.count { return (.files(items, isDeletion: true), "kubectl delete " + texts.map { "-f \($0)" }.joined(separator: " ")) }
        if !files.isEmpty { throw value.error(problem: "has files and names", fix: "Make two steps of it.") }
        var targets: [ObjectTarget] = []
        var words: [String] = []
        var option = ""
        for item in items {
            let target = try Target(item)
            guard target.kind != .nodes else { throw item.error(problem: "cannot be deleted while the cluster runs", fix: "Write another kind, or cut its cable under faults.") }
            if !targets.isEmpty, target.option != option { throw value.error(problem: "has objects of several namespaces", fix: "Make a step of each namespace.") }
            option = target.option
            targets.append(ObjectTarget(target.kind, ObjectKey(namespace: target.namespace, name: target.name)))
            words.append(items.count == 1 ? "\(target.kind.shortNames.first ?? target.kind.singular) \(target.name)" : target.words)
        }
        return (.change(.deleteObjects(targets)), "kubectl delete \(words.joined(separator: " "))\(option)")
    }

    private static func restart(_ value: YAMLValue) throws(InputError) -> (StepChange, String) {
        let target = try Target(value)
        guard let reference = target.workload(among: [.deployment, .statefulSet, .daemonSet]) else {
            throw value.error(
                problem: "cannot be restarted", fix: "Only Deployments, StatefulSets and DaemonSets can: write deploy/NAME, sts/NAME, ds/NAME or NAMESPACE/deploy/NAME.")
        }
        return (.change(.restart(reference)), "kubectl rollout restart \(target.words)\(target.option)")
    }

    private static func scale(_ value: YAMLValue, _ item: YAMLValue) throws(InputError) -> (StepChange, String) {
        let target = try Target(value)
        guard let reference = target.workload(among: [.deployment, .statefulSet, .replicaSet, .replicationController]) else {
            throw value.error(
                problem: "cannot be scaled",
                fix: "Only Deployments, StatefulSets, ReplicaSets and ReplicationControllers can: write deploy/NAME, sts/NAME, rs/NAME or rc/NAME.")
        }
        let replicas = try item.require("replicas", fix: "Add \"replicas: 3\" beside \"scale\".").integer(in: 0...Workload.maximumReplicas, what: "a number of pods")
        return (.change(.scale(reference, replicas: replicas)), "kubectl scale \(target.words) --replicas=\(replicas)\(target.option)")
    }

    private static func annotate(_ value: YAMLValue) throws(InputError) -> (StepChange, String) {
        let (target, changes, words) = try changes(value, named: "annotate") { key, text throws(InputError) in
            let written = try text.scalarText()
            // What the API server checks of this one.
            if key == PodLife.deletionCostKey, PodLife.deletionCost(written) == nil {
                throw text.error(problem: "is not a 32-bit whole number", fix: "Write a number such as -1 or 100.")
            }
            return written
        }
        guard target.kind == .pods else { throw value.error(problem: "annotates no pod", fix: "Write pod/NAME or NAMESPACE/pod/NAME.") }
        let key = ObjectKey(namespace: target.namespace, name: target.name)
        return (.change(.annotatePod(key, changes)), "kubectl annotate pod \(target.name) \(words)\(target.option)")
    }

    private static func taint(_ value: YAMLValue) throws(InputError) -> (StepChange, String) {
        let (target, changes, _) = try changes(value, named: "taint") { _, text throws(InputError) in
            let written = try text.scalarText()
            let effect = written.split(separator: ":", omittingEmptySubsequences: false).last.map(String.init) ?? ""
            guard effect != Taint.Effect.noExecute.rawValue else {
                throw text.error(problem: "evicts pods, which is not modelled", fix: "Write NoSchedule or PreferNoSchedule.")
            }
            guard Taint.Effect(rawValue: effect) != nil, written.split(separator: ":", omittingEmptySubsequences: false).count <= 2 else {
                throw text.error(problem: "is no taint", fix: "Write \"VALUE:NoSchedule\", \"NoSchedule\" or \"VALUE:PreferNoSchedule\".")
            }
            return written
        }
        guard target.kind == .nodes, changes.count == 1 else { throw value.error(problem: "does not taint one node once", fix: "Write {node/NAME: {KEY: VALUE:EFFECT}}.") }
        let key = changes[0].key
        guard let text = changes[0].value else { return (.change(.taint(target.name, key: key, nil)), "kubectl taint node \(target.name) \(key)-") }
        let words = text.split(separator: ":").map(String.init)
        let made = Taint(key: key, value: words.count == 2 ? words[0] : "", effect: Taint.Effect(rawValue: words.last ?? "") ?? .noSchedule)
        let written = made.value.isEmpty ? "\(key):\(made.effect.rawValue)" : "\(key)=\(made.value):\(made.effect.rawValue)"
        return (.change(.taint(target.name, key: key, made)), "kubectl taint node \(target.name) \(written)")
    }

    private static func label(_ value: YAMLValue) throws(InputError) -> (StepChange, String) {
        let (target, changes, words) = try changes(value, named: "label") { _, text throws(InputError) in try Manifests.labelValue(text) }
        let kind: String
        let change: ClusterChange
        switch target.kind {
        case .pods: (kind, change) = ("pod", .labelPod(ObjectKey(namespace: target.namespace, name: target.name), changes))
        case .namespaces: (kind, change) = ("ns", .labelNamespace(target.name, changes))
        default:
            throw value.error(problem: "labels neither a pod nor a namespace", fix: "Write pod/NAME, NAMESPACE/pod/NAME or ns/NAME.")
        }
        return (.change(change), "kubectl label \(kind) \(target.name) \(words)\(target.option)")
    }

    /// `{KIND/NAME: {KEY: VALUE}}`, and what follows the object in kubectl's command.
    private static func changes(
        _ value: YAMLValue, named verb: String, text check: (String, YAMLValue) throws(InputError) -> String
    ) throws(InputError) -> (Target, [ClusterChange.LabelChange], String) {
        let entries = try value.entries()
        guard entries.count == 1, let (_, labels) = entries.first, case .mapping(let nodes) = value.content else {
            throw value.error(problem: "does not name one object", fix: "Write \"\(verb): {pod/NAME: {KEY: VALUE}}\", a step for each object.")
        }
        let target = try Target(
            YAMLValue(node: YAMLNode(.string(nodes[0].key), line: nodes[0].keyLine, column: nodes[0].keyColumn, text: nodes[0].key), file: value.file, path: value.path))
        var changes: [ClusterChange.LabelChange] = []
        // Null removes.
        for (key, text) in try labels.entries() { changes.append(.init(key: key, value: text.isNull ? nil : try check(key, text))) }
        guard !changes.isEmpty else {
            throw labels.error(problem: "changes no \(verb == "annotate" ? "annotation" : verb)", fix: "Write \"KEY: VALUE\", or \"KEY: null\" to remove one.")
        }
        return (target, changes, changes.map { change in change.value.map { "\(change.key)=\($0)" } ?? "\(change.key)-" }.joined(separator: " "))
    }

    /// `KIND/NAME` or `NAMESPACE/KIND/NAME`.
    private struct Target {
        var kind: ResourceKind
        var namespace = "default"
        var name: String
        /// "deploy/web", with kubectl's short word for the kind.
        var words: String { "\(kind.shortNames.first ?? kind.singular)/\(name)" }
        func workload(among kinds: [Workload.Kind]) -> WorkloadReference? {
            kinds.first { $0.rawValue == kind.kind }.map { WorkloadReference($0, ObjectKey(namespace: namespace, name: name)) }
        }
        /// " -n shop" where it is needed.
        var option: String { namespace == "default" || !kind.isNamespaced ? "" : " -n \(namespace)" }

        init(_ value: YAMLValue) throws(InputError) {
            var words = try value.string().split(separator: "/", omittingEmptySubsequences: false).map(String.init)
            if words.count == 3 { namespace = words.removeFirst() }
            guard words.count == 2, let kind = ResourceKind(argument: words[0]), !words[1].isEmpty, !namespace.isEmpty else {
                throw value.error(problem: "names no object", fix: "Write KIND/NAME or NAMESPACE/KIND/NAME, such as netpol/deny-all or shop/pod/web.")
            }
            self.kind = kind
            name = words[1]
        }
    }
}
