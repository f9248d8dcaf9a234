/// `validateContainers`, `validateInitContainers` and what they call (pkg/apis/core/validation).
extension ObjectValidation {
    static func containers(_ spec: ObjectField, _ volumes: Set<String>, _ grace: Int) {
        let containers = spec["containers"].items
        if containers.isEmpty { spec["containers"].required(fix: "Add \"containers:\" with at least one container.") }
        var names: Set<String> = []
        for container in containers {
            common(container, volumes)
            if !names.insert(container["name"].text).inserted { container["name"].duplicate() }
            lifecycle(container, grace)
            // Exit codes and the like are rules for a container only with restartPolicyRules, which 1.34 has behind a gate.
            if container["restartPolicy"].isSet { container["restartPolicy"].forbidden("may not be set for non-init containers") }
        }
        hostPorts(containers)
        for container in spec["initContainers"].items {
            common(container, volumes)
            let isSidecar = container["restartPolicy"].text == "Always"
            if container["restartPolicy"].isSet, !isSidecar { container["restartPolicy"].unsupported(among: ["Always"]) }
            if names.contains(container["name"].text) { container["name"].duplicate() } else if !container["name"].text.isEmpty { names.insert(container["name"].text) }
            hostPorts([container])
            if isSidecar {
                lifecycle(container, grace)
            } else {
                for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] where container[key].isSet {
                    container[key].forbidden("may not be set for init containers without restartPolicy=Always")
                }
            }
        }
    }

    /// `validateContainerCommon`.
    private static func common(_ container: ObjectField, _ volumes: Set<String>) {
        let name = container["name"]
        if name.text.isEmpty { name.required(fix: "Add \"name:\" to the container.") } else { name.invalid(Formats.label(name.text)) }
        if container["image"].text.isEmpty { container["image"].required(fix: "Add \"image:\" to the container.") }
        container["terminationMessagePolicy"].oneOf(["File", "FallbackToLogsOnError"])
        ports(container["ports"])
        environment(container)
        mounts(container["volumeMounts"], volumes)
        container["imagePullPolicy"].oneOf(["Always", "IfNotPresent", "Never"])
        resources(container["resources"])
    }

    /// `validateContainerPorts`.
    private static func ports(_ ports: ObjectField) {
        var names: Set<String> = []
        for port in ports.items {
            let (name, number, host) = (port["name"], port["containerPort"], port["hostPort"])
            if !name.text.isEmpty {
                let errors = Formats.portName(name.text)
                name.invalid(errors)
                if errors.isEmpty, !names.insert(name.text).inserted { name.duplicate() }
            }
            if number.number == 0 { number.required() } else { number.invalid(Formats.portNumber(number.number)) }
            if host.number != 0 { host.invalid(Formats.portNumber(host.number)) }
            port["protocol"].oneOf(protocols)
        }
    }

    /// `checkHostPortConflicts`.
    private static func hostPorts(_ containers: [ObjectField]) {
        var seen: Set<String> = []
        for port in containers.flatMap({ $0["ports"].items }) where port["hostPort"].number != 0 {
            let key = "\(port["protocol"].text.isEmpty ? "TCP" : port["protocol"].text)/\(port["hostIP"].text)/\(port["hostPort"].number)"
            if !seen.insert(key).inserted { port["hostPort"].duplicate(shown: "\"\(key)\"") }
        }
    }

    // MARK: Environment

    private static let environmentFields = [
        "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
    ]

    /// `ValidateEnv` and `ValidateEnvFrom`.
    private static func environment(_ container: ObjectField) {
        for variable in container["env"].items {
            let (name, source) = (variable["name"], variable["valueFrom"])
            if name.text.isEmpty { name.required() } else { name.invalid(Formats.environmentName(name.text)) }
            guard source.isSet else { continue }
            if source["fieldRef"].isSet { fieldReference(source["fieldRef"]) }
            for key in ["configMapKeyRef", "secretKeyRef"] where source[key].isSet {
                source[key]["name"].invalid(Formats.subdomain(source[key]["name"].text))
                if source[key]["key"].text.isEmpty { source[key]["key"].required() } else { source[key]["key"].invalid(Formats.configMapKey(source[key]["key"].text)) }
            }
            let count = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"].count { source[$0].isSet }
            if count == 0 {
                source.invalid("must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`", value: .string(""))
            } else if !variable["value"].text.isEmpty {
                source.invalid("may not be specified when `value` is not empty", value: .string(""))
            } else if count > 1 {
                source.invalid("may not have more than one field specified at a time", value: .string(""))
            }
        }
        for source in container["envFrom"].items {
            if !source["prefix"].text.isEmpty { source["prefix"].invalid(Formats.environmentName(source["prefix"].text)) }
            let given = ["configMapRef", "secretRef"].filter { source[$0].isSet }
            for key in given {
                let name = source[key]["name"]
                if name.text.isEmpty { name.required() } else { name.invalid(Formats.subdomain(name.text)) }
            }
            let whole = ObjectField(source.value, path: container["envFrom"].path, place: source.place, findings: source.findings)
            if given.isEmpty { whole.invalid("must specify one of: `configMapRef` or `secretRef`", value: .string("")) }
            if given.count > 1 { whole.invalid("may not have more than one field specified at a time", value: .string("")) }
        }
    }

    /// `validateObjectFieldSelector`, with `ConvertDownwardAPIFieldLabel`.
    private static func fieldReference(_ reference: ObjectField) {
        let path = reference["fieldPath"]
        if path.text.isEmpty { return path.required() }
        for (prefix, isAnnotation) in [("metadata.labels['", false), ("metadata.annotations['", true)] where path.text.hasPrefix(prefix) && path.text.hasSuffix("']") {
            let key = String(path.text.dropFirst(prefix.count).dropLast(2))
            reference.invalid(Formats.qualifiedName(isAnnotation ? key.lowercased() : key), value: .string(isAnnotation ? key.lowercased() : key))
            return
        }
        // What the conversion knows and an environment variable may not be.
        let others = ["metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase"]
        if environmentFields.contains(path.text) || path.text == "spec.host" { return }
        if others.contains(path.text) {
            path.unsupported(among: environmentFields)
        } else {
            path.invalid("error converting fieldPath: field label not supported: \(path.text)")
        }
    }

    // MARK: Mounts

    /// `ValidateVolumeMounts`.
    private static func mounts(_ mounts: ObjectField, _ volumes: Set<String>) {
        var paths: Set<String> = []
        for mount in mounts.items {
            let (name, path) = (mount["name"], mount["mountPath"])
            if name.text.isEmpty { name.required() }
            if !volumes.contains(name.text) {
                let near = mounts.findings.isFull ? "" : nearestWord(to: name.text, among: volumes.sorted()).map { "Did you mean \"\($0)\"? " } ?? ""
                name.notFound(fix: near + "Add a volume of this name to spec.volumes.")
            }
            if path.text.isEmpty { path.required() }
            if !paths.insert(path.text).inserted { path.invalid("must be unique") }
            if !mount["subPath"].text.isEmpty, !mount["subPathExpr"].text.isEmpty { mount["subPathExpr"].invalid("subPathExpr and subPath are mutually exclusive") }
            for key in ["subPath", "subPathExpr"] {
                // The API server tells these of the list.
                let sub = mount[key].named("\(mounts.path).\(key)")
                if sub.text.hasPrefix("/") { sub.invalid("must be a relative path") }
                if sub.text.split(separator: "/").contains("..") { sub.invalid("must not contain '..'") }
            }
        }
    }

    // MARK: Probes and hooks

    private static func lifecycle(_ container: ObjectField, _ grace: Int) {
        for key in ["postStart", "preStop"] where container["lifecycle"][key].isSet { handler(container["lifecycle"][key], ["exec", "httpGet", "tcpSocket", "sleep"], grace) }
        for key in ["livenessProbe", "readinessProbe", "startupProbe"] where container[key].isSet { probe(container[key], isReadiness: key == "readinessProbe", grace) }
    }

    /// `validateProbe`. Zeros stand for the defaults.
    private static func probe(_ probe: ObjectField, isReadiness: Bool, _ grace: Int) {
        handler(probe, ["exec", "httpGet", "tcpSocket", "grpc"], grace)
        for key in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] { probe[key].nonnegative() }
        let seconds = probe["terminationGracePeriodSeconds"]
        if seconds.isSet, seconds.number <= 0 { seconds.invalid("must be greater than 0") }
        if isReadiness {
            if seconds.isSet { seconds.invalid("must not be set for readinessProbes") }
        } else if probe["successThreshold"].number != 0, probe["successThreshold"].number != 1 {
            probe["successThreshold"].invalid("must be 1")
        }
    }

    /// `validateHandler`.
    private static func handler(_ handler: ObjectField, _ known: [String], _ grace: Int) {
        let given = known.filter { handler[$0].isSet }
        if given.isEmpty { handler.required("must specify a handler type", fix: "Add one of \(known.joined(separator: ", ")).") }
        for (number, key) in given.enumerated() {
            let action = handler[key]
            if number > 0 {
                action.forbidden("may not specify more than 1 handler type")
                continue
            }
            switch key {
            case "exec": if action["command"].items.isEmpty { action["command"].required() }
            case "httpGet":
                portNumberOrName(action["port"], action["port"].intOrString)
                action["scheme"].oneOf(["HTTP", "HTTPS"])
                for header in action["httpHeaders"].items {
                    header["name"].named(action.path + ".httpHeaders").invalid(Formats.headerName(header["name"].text))
                }
            case "tcpSocket", "grpc": portNumberOrName(action["port"], action["port"].intOrString)
            default:
                let seconds = action["seconds"].number
                if seconds < 0 || seconds > grace {
                    action.invalid("must be non-negative and less than terminationGracePeriodSeconds (\(grace))", value: .integer(seconds))
                }
            }
        }
    }
}
