extension PodTemplate {
    /// Reads a pod template, or a Pod itself: both have `metadata` and `spec`.
    /// `claims` are the volumes that a StatefulSet makes for each of its pods.
    init(_ value: YAMLValue, claims: [Volume] = []) throws(InputError) {
        let spec = try value.require("spec", fix: "Add \"spec:\" with \"containers:\".")
        labels = try Names.labels(value["metadata"]?["labels"])
        annotations = [:]
        for (key, text) in try value["metadata"]?["annotations"]?.stringMap() ?? [] { annotations[key] = text }
        volumes = claims
        for item in try spec.items("volumes") {
            let volume = try Volume(item)
            volumes.removeAll { volume in claims.contains { $0.name == volume.name } && volume.name == item["name"]?.node.text }
            guard !volumes.contains(where: { $0.name == volume.name }) else { throw item.duplicate("name", of: "volume") }
            volumes.append(volume)
        }
        containers = []
        initContainers = []
        for key in ["initContainers", "containers"] {
            for item in try spec.items(key) {
                let container = try Container(item, volumes: volumes)
                guard !(initContainers + containers).contains(where: { $0.name == container.name }) else { throw item.duplicate("name", of: "container") }
                if key == "containers" { containers.append(container) } else { initContainers.append(container) }
            }
        }
        guard !containers.isEmpty else {
            throw InputError(
                file: spec.file, line: spec.line, column: spec.column, path: spec.path + ".containers", problem: "is required",
                fix: "Add \"containers:\" with at least one container.")
        }
        restartPolicy = RestartPolicy(rawValue: try spec["restartPolicy"]?.word(among: ["Always", "OnFailure", "Never"]) ?? "Always")!
        hostname = try spec["hostname"].map(Names.label)
        subdomain = try spec["subdomain"].map(Names.label)
        nodeName = try spec.string("nodeName")
        nodeSelector = try Names.labels(spec["nodeSelector"])
        hostNetwork = try spec.bool("hostNetwork") ?? false
        dnsPolicy = try spec["dnsPolicy"]?.word(among: ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]) ?? "ClusterFirst"
        dnsConfig = DNSConfig()
        if let config = spec["dnsConfig"] {
            dnsConfig.nameservers = try config.strings("nameservers") ?? []
            dnsConfig.searches = try config.strings("searches") ?? []
            for option in try config.items("options") {
                let name = try option.require("name").string()
                dnsConfig.options.append(try option["value"].map { value throws(InputError) in name + ":" + (try value.scalarText()) } ?? name)
            }
        }
        hostAliases = []
        for alias in try spec.items("hostAliases") { hostAliases.append((try alias.require("ip").string(), try alias.strings("hostnames") ?? [])) }
        serviceAccountName = try spec.string("serviceAccountName") ?? "default"
        enableServiceLinks = try spec.bool("enableServiceLinks") ?? true
        gracePeriodSeconds = try spec.integer("terminationGracePeriodSeconds", in: 0...86_400) ?? 30
        source = JSONValue(value.node)
        try checkResolver(spec)
        if hostNetwork { try checkHostNetworkPorts(spec) }
    }

    /// `validatePodDNSConfig` of the API server.
    private func checkResolver(_ spec: YAMLValue) throws(InputError) {
        if dnsPolicy == "None", dnsConfig.nameservers.isEmpty {
            throw (spec["dnsConfig"] ?? spec["dnsPolicy"] ?? spec).error(
                problem: "must provide at least one DNS nameserver when dnsPolicy is None", fix: "Add \"nameservers: [10.96.0.10]\" to dnsConfig.")
        }
        guard let config = spec["dnsConfig"] else { return }
        if let list = config["nameservers"] {
            let items = try list.items()
            guard items.count <= 3 else { throw list.error(problem: "must not have more than 3 nameservers", fix: "Remove \(items.count - 3) of them.") }
            for item in items where !Names.isAddress(try item.string()) {
                throw item.error(problem: "must be valid IP address", fix: "Write an address such as 10.96.0.10.")
            }
        }
        if let list = config["searches"] {
            guard dnsConfig.searches.count <= 32, dnsConfig.searches.joined(separator: " ").utf8.count <= 2048 else {
                throw list.error(problem: "must not have more than 32 search paths, or 2048 characters", fix: "Remove some of them.")
            }
            for item in try list.items() {
                let text = try item.string()
                guard text == "." || Names.isSubdomain(text.hasSuffix(".") ? String(text.dropLast()) : text) else {
                    throw item.error(problem: "is not a lowercase RFC 1123 subdomain", fix: "Write a domain such as svc.cluster.local.")
                }
            }
        }
    }

    private func checkHostNetworkPorts(_ spec: YAMLValue) throws(InputError) {
        for item in try spec.items("containers") {
            for port in try item.items("ports") {
                guard let hostPort = port["hostPort"], let containerPort = port["containerPort"], try hostPort.integer() != containerPort.integer() else { continue }
                throw hostPort.error(problem: "must match containerPort when hostNetwork is true", fix: "Write \(try containerPort.integer()), or leave hostPort out.")
            }
        }
    }
}

extension YAMLValue {
    func duplicate(_ key: String, of what: String) -> InputError {
        let place = self[key] ?? self
        return place.error(problem: "is the \(key) of another \(what) too", fix: "Give each \(what) a \(key) of its own.")
    }
}

extension Container {
    init(_ value: YAMLValue, volumes: [Volume]) throws(InputError) {
        name = try Names.label(try value.require("name", fix: "Add \"name:\" to the container."))
        image = try value.require("image", fix: "Add \"image:\" to the container.").string()
        guard !image.isEmpty else { throw try value.require("image").error(problem: "is empty", fix: "Name an image, such as nginx.") }
        command = try value.strings("command")
        args = try value.strings("args")
        workingDirectory = try value.string("workingDir")
        line = value.line
        ports = []
        for item in try value.items("ports") {
            let port = ContainerPort(
                name: try item["name"].map(Names.portName),
                port: UInt16(try item.require("containerPort").integer(in: 1...65535)),
                proto: try PortProtocol(item["protocol"]),
                hostPort: try item.integer("hostPort", in: 1...65535).map { UInt16($0) })
            if let name = port.name, ports.contains(where: { $0.name == name }) { throw item.duplicate("name", of: "port") }
            ports.append(port)
        }
        environment = []
        for item in try value.items("env") { environment.append(try EnvironmentVariable(item)) }
        environmentFrom = []
        for item in try value.items("envFrom") {
            let prefix = try item.string("prefix") ?? ""
            if let reference = item["configMapRef"] ?? item["secretRef"] {
                environmentFrom.append(
                    EnvironmentSource(
                        prefix: prefix, isSecret: item["configMapRef"] == nil, name: try reference.require("name").string(),
                        optional: try reference.bool("optional") ?? false))
            }
        }
        volumeMounts = []
        for item in try value.items("volumeMounts") {
            let volume = try item.require("name")
            let volumeName = try volume.string()
            guard volumes.contains(where: { $0.name == volumeName }) else {
                let near = nearestWord(to: volumeName, among: volumes.map(\.name)).map { "Did you mean \"\($0)\"? " } ?? ""
                throw volume.error(problem: "is not found among the pod's volumes", fix: "\(near)Add a volume of this name to spec.volumes.")
            }
            let path = try item.require("mountPath")
            let pathText = try path.string()
            guard !pathText.isEmpty, !pathText.contains(":") else { throw path.error(problem: "is not a path", fix: "Write an absolute path without \":\".") }
            guard !volumeMounts.contains(where: { $0.path == pathText }) else { throw item.duplicate("mountPath", of: "volume mount") }
            volumeMounts.append(VolumeMount(volume: volumeName, path: pathText, subPath: try item.string("subPath"), readOnly: try item.bool("readOnly") ?? false))
        }
        isSidecar = try value.string("restartPolicy") == "Always"
        readinessProbe = try value["readinessProbe"].map { probe throws(InputError) in try Probe(probe) }
        livenessProbe = try value["livenessProbe"].map { probe throws(InputError) in try Probe(probe) }
        startupProbe = try value["startupProbe"].map { probe throws(InputError) in try Probe(probe) }
        preStop = try value["lifecycle"]?["preStop"].flatMap { hook throws(InputError) in try PreStop.read(hook) }
        for key in ["readinessProbe", "livenessProbe", "startupProbe"] { try checkProbePort(value[key]) }
    }

    private func checkProbePort(_ probe: YAMLValue?) throws(InputError) {
        guard let port = probe?["httpGet"]?["port"] ?? probe?["tcpSocket"]?["port"], case .name(let name) = try PortReference(port),
            !ports.contains(where: { $0.name == name })
        else { return }
        let near = nearestWord(to: name, among: ports.compactMap(\.name)).map { "Did you mean \"\($0)\"? " } ?? ""
        throw port.error(problem: "is the name of no port of this container", fix: near + "Write a port number, or name one of the container's ports so.")
    }
}

extension EnvironmentVariable {
    init(_ value: YAMLValue) throws(InputError) {
        name = try value.require("name").string()
        guard !name.isEmpty, !name.contains("=") else {
            throw try value.require("name").error(problem: "is not a name for an environment variable", fix: "Use letters, digits and \"_\".")
        }
        guard let source = value["valueFrom"] else {
            self.value = .literal(try value.string("value") ?? "")
            return
        }
        guard value["value"] == nil else { throw source.error(problem: "stands beside a value", fix: "Keep either value or valueFrom.") }
        if let field = source["fieldRef"] {
            self.value = .field(try field.require("fieldPath").string())
        } else if let reference = source["configMapKeyRef"] {
            self.value = .configMap(
                name: try reference.require("name").string(), key: try reference.require("key").string(), optional: try reference.bool("optional") ?? false)
        } else if let reference = source["secretKeyRef"] {
            self.value = .secret(
                name: try reference.require("name").string(), key: try reference.require("key").string(), optional: try reference.bool("optional") ?? false)
        } else {
            self.value = .resource
        }
    }
}

extension Volume {
    init(_ value: YAMLValue) throws(InputError) {
        name = try Names.label(try value.require("name"))
        if let map = value["configMap"] {
            var items: [(key: String, path: String)]?
            if map["items"] != nil {
                items = []
                for item in try map.items("items") { items?.append((try item.require("key").string(), try item.require("path").string())) }
            }
            source = .configMap(name: try map.require("name").string(), items: items, optional: try map.bool("optional") ?? false)
        } else if let secret = value["secret"] {
            source = .secret(name: try secret.require("secretName").string(), optional: try secret.bool("optional") ?? false)
        } else {
            let kind = try value.entries().first { $0.key != "name" }?.key ?? "emptyDir"
            source = kind == "emptyDir" ? .emptyDir : .other(kind)
        }
    }
}

extension PreStop {
    /// Nil for hooks over HTTP, which are not modelled: they count as done at once.
    static func read(_ value: YAMLValue) throws(InputError) -> PreStop? {
        if let sleep = value["sleep"] { return .sleep(seconds: try sleep.require("seconds").integer(in: 0...86_400)) }
        guard let exec = value["exec"] else { return nil }
        let words = try exec.strings("command") ?? []
        guard !words.isEmpty else { throw exec.error(problem: "has no command", fix: "Add \"command: [sleep, '5']\".") }
        return .exec(words)
    }
}

extension Probe {
    init(_ value: YAMLValue) throws(InputError) {
        if let get = value["httpGet"] {
            action = .httpGet(path: try get.string("path") ?? "/", try PortReference(try get.require("port")))
        } else if let socket = value["tcpSocket"] {
            action = .tcpSocket(try PortReference(try socket.require("port")))
        } else if let grpc = value["grpc"] {
            action = .grpc(.number(UInt16(try grpc.require("port").integer(in: 1...65535))))
        } else if let exec = value["exec"] {
            action = .exec(try exec.strings("command") ?? [])
        } else {
            throw value.error(problem: "has no handler", fix: "Add httpGet, tcpSocket, grpc or exec.")
        }
        initialDelaySeconds = try value.integer("initialDelaySeconds", in: 0...Int.max) ?? 0
        periodSeconds = try value.integer("periodSeconds", in: 0...Int.max) ?? 10
        timeoutSeconds = try value.integer("timeoutSeconds", in: 0...Int.max) ?? 1
        successThreshold = try value.integer("successThreshold", in: 0...Int.max) ?? 1
        failureThreshold = try value.integer("failureThreshold", in: 0...Int.max) ?? 3
    }
}
