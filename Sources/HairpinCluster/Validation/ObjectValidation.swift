/// What the API server would reject when an object is created (Kubernetes 1.34): first what it cannot decode, then what its kind's rules forbid.
///
/// The rules stand by kind, in the order of the API server's own functions, which each file names. Rules of fields that have no part in networking (security
/// contexts, affinity, sources of volumes) are left to the API server.
enum ObjectValidation {
    /// The rules of a kind whose fields are known.
    struct Rules: Sendable {
        /// What a name must be like.
        var name: @Sendable (String) -> [String]
        var isNamespaced = true
        var validate: @Sendable (ObjectField) -> Void
    }

    static let kinds: [String: Rules] = [
        "Namespace": Rules(name: Formats.label, isNamespaced: false) { _ in },
        "Node": Rules(name: Formats.subdomain, isNamespaced: false, validate: node),
        "Pod": Rules(name: Formats.subdomain, validate: pod),
        "Service": Rules(name: Formats.label1035, validate: service),
        "Endpoints": Rules(name: Formats.subdomain, validate: endpoints),
        "EndpointSlice": Rules(name: Formats.subdomain, validate: endpointSlice),
        "ConfigMap": Rules(name: Formats.subdomain, validate: configMap),
        "Secret": Rules(name: Formats.subdomain, validate: secret),
        "ReplicationController": Rules(name: Formats.subdomain, validate: replicationController),
        "Deployment": Rules(name: Formats.subdomain, validate: deployment),
        "ReplicaSet": Rules(name: Formats.subdomain, validate: replicaSet),
        "StatefulSet": Rules(name: Formats.label, validate: statefulSet),
        "DaemonSet": Rules(name: Formats.subdomain, validate: daemonSet),
        "Job": Rules(name: Formats.subdomain, validate: job),
        "CronJob": Rules(name: Formats.subdomain, validate: cronJob),
        "NetworkPolicy": Rules(name: Formats.subdomain, validate: networkPolicy),
        "AdminNetworkPolicy": Rules(name: Formats.subdomain, isNamespaced: false, validate: adminNetworkPolicy),
        "BaselineAdminNetworkPolicy": Rules(name: Formats.subdomain, isNamespaced: false, validate: baselineAdminNetworkPolicy),
    ]

    /// - Parameter isKnown: the kind is in its own group, not of that name in another.
    /// - Throws: `InputError` with every reason, in the order of the API server.
    static func check(_ document: YAMLValue, kind: String, version: String, isKnown: Bool) throws(InputError) {
        let rules = isKnown ? kinds[kind] : nil
        try StrictDecoding.check(document, type: rules == nil ? nil : kind, kind: kind, version: version)
        let findings = Findings()
        let object = ObjectField(document, path: "", place: document, findings: findings)
        let subject = "The \(kind) \"\(object["metadata"]["name"].text)\" is invalid"
        let place = document["metadata"]?["name"] ?? document
        if kind == "Service", rules != nil {
            // Addresses are given before anything else is looked at.
            clusterAddresses(object)
            try findings.check(subject, at: place)
        }
        metadata(object["metadata"], name: rules?.name ?? Formats.pathSegment, isNamespaced: rules?.isNamespaced ?? true)
        rules?.validate(object)
        try findings.check(subject, at: place)
        if kind == "StatefulSet", rules != nil { try statefulSetPod(document) }
    }
}

// MARK: Metadata: apimachinery's pkg/api/validation/objectmeta.go and pkg/apis/meta/v1/validation

extension ObjectValidation {
    /// `ValidateObjectMeta`. A namespace on a kind without one is dropped, not rejected.
    private static func metadata(_ metadata: ObjectField, name rule: (String) -> [String], isNamespaced: Bool) {
        let name = metadata["name"]
        if name.text.isEmpty {
            name.required("name or generateName is required")
        } else {
            name.invalid(rule(name.text), fix: suggestion(name.text, rule))
        }
        if isNamespaced, !metadata["namespace"].text.isEmpty { metadata["namespace"].invalid(Formats.label(metadata["namespace"].text)) }
        labels(metadata["labels"])
        annotations(metadata["annotations"])
    }
    /// `ValidateLabels`: the path of an error is that of the whole.
    static func labels(_ labels: ObjectField) {
        for (key, value) in labels.entries {
            let place = ObjectField(value.value, path: labels.path, place: value.place, findings: labels.findings)
            place.invalid(Formats.qualifiedName(key), value: .string(key))
            place.invalid(Formats.labelValue(value.text), value: .string(value.text))
        }
    }
    /// `ValidateAnnotations`.
    static func annotations(_ annotations: ObjectField) {
        var size = 0
        for (key, value) in annotations.entries {
            let place = ObjectField(value.value, path: annotations.path, place: value.place, findings: annotations.findings)
            place.invalid(Formats.qualifiedName(key.lowercased()), value: .string(key))
            size += key.utf8.count + value.text.utf8.count
        }
        if size > 256 << 10 { annotations.tooLong(atMost: 256 << 10) }
    }
    /// `ValidateLabelSelector`.
    static func selector(_ selector: ObjectField) {
        labels(selector["matchLabels"])
        for requirement in selector["matchExpressions"].items {
            let values = requirement["values"]
            switch requirement["operator"].text {
            case "In", "NotIn": if values.items.isEmpty { values.required("must be specified when `operator` is 'In' or 'NotIn'") }
            case "Exists", "DoesNotExist": if !values.items.isEmpty { values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'") }
            default: requirement["operator"].invalid("not a valid selector operator")
            }
            requirement["key"].invalid(Formats.qualifiedName(requirement["key"].text))
            for value in values.items { value.invalid(Formats.labelValue(value.text)) }
        }
    }
    /// "Write "my-pod"." when lower case and hyphens would do.
    static func suggestion(_ text: String, _ rule: (String) -> [String]) -> String {
        let changed = String(text.lowercased().map { $0 == "_" || $0 == " " ? "-" : $0 })
        return changed != text && rule(changed).isEmpty ? "Write \"\(changed)\"." : ""
    }
}

// MARK: Node, ConfigMap, Secret: pkg/apis/core/validation/validation.go

extension ObjectValidation {
    /// `ValidateNode`. The API server says "metadata.taints" where taints stand in the spec.
    @Sendable static func node(_ node: ObjectField) {
        var seen: Set<[String]> = []
        for (number, taint) in node["spec"]["taints"].items.enumerated() {
            let taint = taint.named("metadata.taints[\(number)]")
            let (key, value, effect) = (taint["key"], taint["value"], taint["effect"])
            key.invalid(Formats.qualifiedName(key.text))
            if !Formats.labelValue(value.text).isEmpty { value.invalid(Formats.labelValue(value.text).joined(separator: ";")) }
            effect.oneOf(["NoSchedule", "PreferNoSchedule", "NoExecute"], isRequired: true)
            if !seen.insert([key.text, effect.text]).inserted {
                let shown = [("Key", key.text), ("Value", value.text), ("Effect", effect.text)].map { "\"\($0)\":\(JSONValue.string($1).json(indent: nil))" }.joined(separator: ",")
                taint.duplicate(shown: "{\(shown),\"TimeAdded\":null}", detail: "taints must be unique by key and effect pair")
            }
        }
        // The first of podCIDRs and podCIDR are one field to the API server.
        let prefixes = node["spec"]["podCIDRs"].items
        if prefixes.isEmpty, !node["spec"]["podCIDR"].text.isEmpty { node["spec"]["podCIDR"].named("spec.podCIDRs[0]").validPrefix() }
        let valid = prefixes.compactMap { $0.validPrefix() }
        guard prefixes.count > 1 else { return }
        let families = Set(valid.map { $0.v4 == nil })
        if families.count < 2 || prefixes.count > 2 { node["spec"]["podCIDRs"].invalid("may specify no more than one CIDR for each IP family") }
        var texts: Set<String> = []
        for prefix in prefixes where !texts.insert(prefix.text).inserted { prefix.duplicate() }
    }

    /// `ValidateConfigMap`.
    @Sendable static func configMap(_ map: ObjectField) {
        let (data, binary) = (map["data"], map["binaryData"])
        let others = Set(binary.entries.map(\.key))
        for (key, field) in data.entries {
            field.invalid(Formats.configMapKey(key), value: .string(key))
            if others.contains(key) { field.invalid("duplicate of key present in binaryData", value: .string(key)) }
        }
        for (key, field) in binary.entries { field.invalid(Formats.configMapKey(key), value: .string(key)) }
        tooLargeTogether(data.entries.map(\.field) + binary.entries.map(\.field), map.named("[]"))
    }

    /// `ValidateSecret`.
    @Sendable static func secret(_ secret: ObjectField) {
        let bags = [secret["data"], secret["stringData"]]
        // stringData is part of data by the time anybody looks.
        for bag in bags { for (key, field) in bag.entries { field.named("data[\(key)]").invalid(Formats.configMapKey(key), value: .string(key)) } }
        tooLargeTogether(bags.flatMap { $0.entries.map(\.field) }, secret["data"])
    }

    private static func tooLargeTogether(_ fields: [ObjectField], _ whole: ObjectField) {
        let limit = 1 << 20
        if fields.reduce(0, { $0 + $1.text.utf8.count }) > limit { whole.tooLong(atMost: limit) }
    }
}
