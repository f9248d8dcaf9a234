/// `ValidatePodSpec` and `ValidatePodTemplateSpec` (pkg/apis/core/validation), as far as a pod's network and its life go.
extension ObjectValidation {
    @Sendable static func pod(_ pod: ObjectField) {
        deletionCost(pod["metadata"]["annotations"])
        podSpec(pod["spec"], claims: [])
        for key in ["containers", "initContainers"] {
            for container in pod["spec"][key].items where container["image"].text.first?.isWhitespace == true || container["image"].text.last?.isWhitespace == true {
                container["image"].invalid("must not have leading or trailing whitespace")
            }
        }
    }

    /// The paths of labels and annotations leave out "metadata", as the API server's do.
    static func podTemplate(_ template: ObjectField) {
        let metadata = template["metadata"]
        labels(metadata["labels"].named(template.path + ".labels"))
        annotations(metadata["annotations"].named(template.path + ".annotations"))
        deletionCost(metadata["annotations"].named(template.path + ".annotations"))
        podSpec(template["spec"], claims: [])
        if !template["spec"]["ephemeralContainers"].items.isEmpty { template["spec"]["ephemeralContainers"].forbidden("ephemeral containers not allowed in pod template") }
    }

    private static func deletionCost(_ annotations: ObjectField) {
        let cost = annotations.entry("controller.kubernetes.io/pod-deletion-cost")
        // Neither a plus nor zeros may lead (`validFirstDigit` in pkg/apis/core/helper).
        let isNumber = Int32(cost.text) != nil && !cost.text.hasPrefix("+") && (cost.text == "0" || !cost.text.hasPrefix("0"))
        if cost.isSet, !isNumber { cost.invalid("must be a 32bit integer") }
    }

    /// `claims` are the volumes that a StatefulSet makes for each of its pods.
    static func podSpec(_ spec: ObjectField, claims: [String]) {
        let volumes = volumes(spec["volumes"], claims: claims)
        let grace = spec["terminationGracePeriodSeconds"].isSet ? spec["terminationGracePeriodSeconds"].number : 30
        containers(spec, volumes, grace)
        if spec["hostNetwork"].flag {
            for container in spec["containers"].items {
                for port in container["ports"].items where port["hostPort"].number != 0 && port["hostPort"].number != port["containerPort"].number {
                    port["hostPort"].invalid("must match `containerPort` when `hostNetwork` is true")
                }
            }
        }
        spec["restartPolicy"].oneOf(["Always", "OnFailure", "Never"])
        spec["dnsPolicy"].oneOf(["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"])
        labels(spec["nodeSelector"])
        resolver(spec)
        for gate in spec["readinessGates"].items { gate["conditionType"].invalid(Formats.qualifiedName(gate["conditionType"].text)) }
        schedulingGates(spec["schedulingGates"])
        named(spec["serviceAccountName"], Formats.subdomain)
        named(spec["nodeName"], Formats.subdomain)
        let deadline = spec["activeDeadlineSeconds"]
        if deadline.isSet { deadline.invalid(Formats.range(deadline.number, 1...Int(Int32.max))) }
        named(spec["hostname"], Formats.label)
        named(spec["subdomain"], Formats.label)
        tolerations(spec["tolerations"])
        for alias in spec["hostAliases"].items {
            alias["ip"].validAddress()
            for name in alias["hostnames"].items { name.invalid(Formats.subdomain(name.text)) }
        }
        named(spec["priorityClassName"], Formats.subdomain)
        if spec["runtimeClassName"].isSet { spec["runtimeClassName"].invalid(Formats.subdomain(spec["runtimeClassName"].text)) }
        if spec["preemptionPolicy"].isSet { spec["preemptionPolicy"].oneOf(["PreemptLowerPriority", "Never"], isRequired: true) }
    }

    private static func named(_ field: ObjectField, _ rule: (String) -> [String]) { if !field.text.isEmpty { field.invalid(rule(field.text)) } }

    private static func schedulingGates(_ gates: ObjectField) {
        var seen: Set<String> = []
        for gate in gates.items {
            gate.invalid(Formats.qualifiedName(gate["name"].text), value: .string(gate["name"].text))
            if !seen.insert(gate["name"].text).inserted { gate.duplicate(shown: ObjectField.quoted(.string(gate["name"].text))) }
        }
    }

    /// `validatePodDNSConfig`.
    private static func resolver(_ spec: ObjectField) {
        let config = spec["dnsConfig"]
        let (servers, searches) = (config["nameservers"], config["searches"])
        if spec["dnsPolicy"].text == "None" {
            if !config.isSet { return config.required("must provide `dnsConfig` when `dnsPolicy` is None", fix: "Add \"dnsConfig: {nameservers: [10.96.0.10]}\".") }
            if servers.items.isEmpty { return servers.required("must provide at least one DNS nameserver when `dnsPolicy` is None", fix: "Add \"nameservers: [10.96.0.10]\".") }
        }
        if servers.items.count > 3 { servers.invalid("must not have more than 3 nameservers") }
        for server in servers.items { server.validAddress() }
        if searches.items.count > 32 { searches.invalid("must not have more than 32 search paths") }
        if searches.items.map(\.text).joined(separator: " ").utf8.count > 2048 {
            searches.invalid("must not have more than 2048 characters (including spaces) in the search list")
        }
        for search in searches.items where search.text != "." {
            let name = search.text.hasSuffix(".") ? String(search.text.dropLast()) : search.text
            search.invalid(Formats.subdomainWithUnderscore(name), value: .string(name))
        }
        for option in config["options"].items where option["name"].text.isEmpty { option.required("must not be empty") }
    }

    /// `ValidateTolerations`. Errors of a value are told of the operator.
    private static func tolerations(_ tolerations: ObjectField) {
        for toleration in tolerations.items {
            let (key, op, value, effect) = (toleration["key"], toleration["operator"], toleration["value"].text, toleration["effect"])
            if key.text.isEmpty {
                if op.text != "Exists" { op.invalid("operator must be Exists when `key` is empty, which means \"match all values and all keys\"") }
            } else {
                key.invalid(Formats.qualifiedName(key.text))
            }
            if toleration["tolerationSeconds"].isSet, effect.text != "NoExecute" { effect.invalid("effect must be 'NoExecute' when `tolerationSeconds` is set") }
            switch op.text {
            case "", "Equal": if !Formats.labelValue(value).isEmpty { op.invalid(Formats.labelValue(value).joined(separator: ";"), value: .string(value)) }
            case "Exists": if !value.isEmpty { op.invalid("value must be empty when `operator` is 'Exists'", value: .string(value)) }
            default: op.unsupported(among: ["Equal", "Exists"])
            }
            effect.oneOf(["NoSchedule", "PreferNoSchedule", "NoExecute"])
        }
    }

    /// Names of the volumes there are (`ValidateVolumes`). A volume without a source is an emptyDir; sources of more kinds than one are told in the API server's order, which
    /// does not matter to whoever reads it.
    private static func volumes(_ volumes: ObjectField, claims: [String]) -> Set<String> {
        var names = Set(claims)
        var seen: Set<String> = []
        for volume in volumes.items {
            let before = volumes.findings.reasons.count
            let sources = (KubernetesFields.types["Volume"] ?? []).map(\.name).filter { $0 != "name" && volume[$0].isSet }
            for extra in sources.dropFirst() { volume[extra].forbidden("may not specify more than 1 volume type") }
            if let items = ["configMap", "secret"].first(where: { volume[$0].isSet }) { volumeItems(volume[items], isMap: items == "configMap") }
            let name = volume["name"]
            if name.text.isEmpty { name.required() } else { name.invalid(Formats.label(name.text)) }
            if seen.contains(name.text) { name.duplicate() }
            if volumes.findings.reasons.count == before {
                seen.insert(name.text)
                names.insert(name.text)
            }
        }
        return names
    }

    /// `validateConfigMapVolumeSource` and `validateSecretVolumeSource`.
    private static func volumeItems(_ source: ObjectField, isMap: Bool) {
        let name = source[isMap ? "name" : "secretName"]
        if name.text.isEmpty { name.required() }
        if source["defaultMode"].isSet { mode(source["defaultMode"]) }
        for item in source["items"].items {
            if item["key"].text.isEmpty { item["key"].required() }
            if item["path"].text.isEmpty { item["path"].required() }
            localPath(item["path"])
            if item["mode"].isSet { mode(item["mode"]) }
        }
    }
    private static func mode(_ field: ObjectField) {
        if !(0...0o777).contains(field.number) { field.invalid("must be a number between 0 and 0777 (octal), both inclusive") }
    }
    /// `validateLocalNonReservedPath`.
    private static func localPath(_ path: ObjectField) {
        let parts = path.text.split(separator: "/")
        if path.text.hasPrefix("/") { path.invalid("must be a relative path") }
        if parts.contains("..") { path.invalid("must not contain '..'") }
        if path.text.hasPrefix(".."), !path.text.hasPrefix("../") { path.invalid("must not start with '..'") }
    }
}
