/// Of pods that `ObjectValidation` finds nothing wrong with.
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
            // A claim takes the place of a volume of its name.
            if !claims.contains(where: { $0.name == volume.name }) { volumes.append(volume) }
        }
        containers = try spec.items("containers").map { item throws(InputError) in try Container(item) }
        initContainers = try spec.items("initContainers").map { item throws(InputError) in try Container(item) }
        restartPolicy = try spec.string("restartPolicy").flatMap(RestartPolicy.init) ?? .always
        hostname = try spec.string("hostname").flatMap { $0.isEmpty ? nil : $0 }
        subdomain = try spec.string("subdomain").flatMap { $0.isEmpty ? nil : $0 }
        nodeName = try spec.string("nodeName").flatMap { $0.isEmpty ? nil : $0 }
        nodeSelector = try Names.labels(spec["nodeSelector"])
        hostNetwork = try spec.bool("hostNetwork") ?? false
        dnsPolicy = try spec.string("dnsPolicy").flatMap { $0.isEmpty ? nil : $0 } ?? "ClusterFirst"
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
        serviceAccountName = try spec.string("serviceAccountName").flatMap { $0.isEmpty ? nil : $0 } ?? "default"
        enableServiceLinks = try spec.bool("enableServiceLinks") ?? true
        // A negative one is 1 to whoever deletes the pod (`CheckGracefulDelete` in pkg/registry/core/pod); no run lasts as long as the longest.
        let grace = try spec.integer("terminationGracePeriodSeconds") ?? 30
        gracePeriodSeconds = grace < 0 ? 1 : min(grace, Int(Int32.max))
        source = JSONValue(value.node)
    }
}

extension Container {
    init(_ value: YAMLValue) throws(InputError) {
        name = try value.require("name").string()
        image = try value.require("image").string()
        command = try value.strings("command")
        args = try value.strings("args")
        workingDirectory = try value.string("workingDir")
        line = value.line
        ports = []
        for item in try value.items("ports") {
            ports.append(
                ContainerPort(
                    name: try item.string("name").flatMap { $0.isEmpty ? nil : $0 },
                    port: UInt16(try item.require("containerPort").integer(in: 1...65535)),
                    proto: try PortProtocol(item["protocol"]),
                    hostPort: try item.integer("hostPort", in: 0...65535).flatMap { $0 == 0 ? nil : UInt16($0) }))
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
            // The kubelet makes a path absolute.
            let path = try item.require("mountPath").string()
            volumeMounts.append(
                VolumeMount(
                    volume: try item.require("name").string(), path: path.hasPrefix("/") ? path : "/" + path, subPath: try item.string("subPath"),
                    readOnly: try item.bool("readOnly") ?? false))
        }
        isSidecar = try value.string("restartPolicy") == "Always"
        readinessProbe = try value["readinessProbe"].map { probe throws(InputError) in try Probe(probe) }
        livenessProbe = try value["livenessProbe"].map { probe throws(InputError) in try Probe(probe) }
        startupProbe = try value["startupProbe"].map { probe throws(InputError) in try Probe(probe) }
        preStop = try value["lifecycle"]?["preStop"].flatMap { hook throws(InputError) in try PreStop.read(hook) }
    }
}

extension EnvironmentVariable {
    init(_ value: YAMLValue) throws(InputError) {
        name = try value.require("name").string()
        guard let source = value["valueFrom"] else {
            self.value = .literal(try value.string("value") ?? "")
            return
        }
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
        name = try value.require("name").string()
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
            let kind = try value.entries().first { $0.key != "name" && !$0.value.isNull }?.key ?? "emptyDir"
            source = kind == "emptyDir" ? .emptyDir : .other(kind)
        }
    }
}

extension PreStop {
    /// Nil for hooks over HTTP, which are not modelled: they count as done at once.
    static func read(_ value: YAMLValue) throws(InputError) -> PreStop? {
        if let sleep = value["sleep"] { return .sleep(seconds: min(try sleep.integer("seconds") ?? 0, Int(Int32.max))) }
        return try value["exec"].map { exec throws(InputError) in .exec(try exec.strings("command") ?? []) }
    }
}

extension Probe {
    init(_ value: YAMLValue) throws(InputError) {
        if let get = value["httpGet"] {
            action = .httpGet(path: try get.string("path").flatMap { $0.isEmpty ? nil : $0 } ?? "/", try PortReference(try get.require("port")))
        } else if let socket = value["tcpSocket"] {
            action = .tcpSocket(try PortReference(try socket.require("port")))
        } else if let grpc = value["grpc"] {
            action = .grpc(.number(UInt16(try grpc.require("port").integer(in: 1...65535))))
        } else {
            action = .exec(try value["exec"]?.strings("command") ?? [])
        }
        // Zero stands for the default.
        func number(_ key: String, default standard: Int) throws(InputError) -> Int { try value.integer(key).flatMap { $0 == 0 ? nil : $0 } ?? standard }
        initialDelaySeconds = try number("initialDelaySeconds", default: 0)
        periodSeconds = try number("periodSeconds", default: 10)
        timeoutSeconds = try number("timeoutSeconds", default: 1)
        successThreshold = try number("successThreshold", default: 1)
        failureThreshold = try number("failureThreshold", default: 3)
    }
}
