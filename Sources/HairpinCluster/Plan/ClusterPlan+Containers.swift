import HairpinWire

/// What a container finds when it starts, besides its image.
public struct ContainerSurroundings: Sendable {
    /// In the order the kubelet gives them; later ones win, names are unique.
    public var environment: [(name: String, value: String)]
    /// Files of its own: resolv.conf, hosts, and those of ConfigMap and Secret volumes.
    public var files: [(path: String, bytes: [UInt8])]
    /// Folders it shares with the pod's other containers. `volume` is unique in the cluster.
    public var mounts: [(path: String, volume: String, readOnly: Bool)]
    /// `command` and `args` with `$(NAME)` replaced; nil for the image's own.
    public var command: [String]?
    public var args: [String]?
}

extension ClusterPlan {
    /// Environment, files and mounts of a container of a pod.
    public func surroundings(of container: Container, in pod: PlannedPod) -> ContainerSurroundings {
        let environment = environment(of: container, in: pod)
        let values = Dictionary(environment.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })
        var result = ContainerSurroundings(environment: environment, files: [], mounts: [], command: nil, args: nil)
        result.command = container.command?.map { Self.expand($0, values) }
        result.args = container.args?.map { Self.expand($0, values) }
        result.files.append(("/etc/hostname", Array("\(pod.hostname)\n".utf8)))
        result.files.append(("/etc/hosts", Array(hostsFile(of: pod).utf8)))
        result.files.append(("/etc/resolv.conf", Array(resolverConfiguration(of: pod).utf8)))
        for mount in container.volumeMounts {
            guard let volume = pod.template.volumes.first(where: { $0.name == mount.volume }) else { continue }
            let files: [(key: String, bytes: [UInt8])]
            switch volume.source {
            case .emptyDir, .other:
                let name = "\(pod.key)/\(volume.name)" + (mount.subPath.map { "/" + $0 } ?? "")
                result.mounts.append((mount.path, name, mount.readOnly))
                continue
            case .configMap(let name, let items, _):
                let data = configMaps[ObjectKey(namespace: pod.metadata.namespace, name: name)]?.data.map { ($0.key, Array($0.value.utf8)) } ?? []
                files = Self.select(data, items)
            case .secret(let name, _):
                files = secrets[ObjectKey(namespace: pod.metadata.namespace, name: name)]?.data.map { ($0.key, $0.value) } ?? []
            }
            for file in files {
                if let subPath = mount.subPath {
                    if subPath == file.key { result.files.append((mount.path, file.bytes)) }
                } else {
                    result.files.append((mount.path.hasSuffix("/") ? mount.path + file.key : "\(mount.path)/\(file.key)", file.bytes))
                }
            }
        }
        return result
    }

    private static func select(_ data: [(String, [UInt8])], _ items: [(key: String, path: String)]?) -> [(key: String, bytes: [UInt8])] {
        guard let items else { return data.map { (key: $0.0, bytes: $0.1) } }
        return items.compactMap { item in data.first { $0.0 == item.key }.map { (key: item.path, bytes: $0.1) } }
    }

    // MARK: Names

    /// resolv.conf as the kubelet writes it for the pod's dnsPolicy. ClusterFirst is Default for pods in the node's network.
    public func resolverConfiguration(of pod: PlannedPod) -> String {
        let template = pod.template
        let domain = configuration.clusterDomain
        var file = ResolverFile()
        let usesCluster = template.dnsPolicy == "ClusterFirstWithHostNet" || template.dnsPolicy == "ClusterFirst" && !template.hostNetwork
        if usesCluster, let dns = service(ObjectKey(namespace: "kube-system", name: "kube-dns"))?.clusterAddress {
            file.nameservers = [dns.description]
            file.searches = ["\(pod.metadata.namespace).svc.\(domain)", "svc.\(domain)", domain]
            for search in configuration.nodeResolver.searches where !file.searches.contains(search) { file.searches.append(search) }
            file.options = ["ndots:5"]
        } else if template.dnsPolicy != "None" {
            file = configuration.nodeResolver
        }
        file.add(template.dnsConfig)
        return file.text
    }

    private func hostsFile(of pod: PlannedPod) -> String {
        var text = "# Kubernetes-managed hosts file.\n" + Self.localHosts
        if let address = pod.address {
            let full = pod.template.subdomain.map { "\(pod.hostname).\($0).\(pod.metadata.namespace).svc.\(configuration.clusterDomain)\t" } ?? ""
            text += "\(address)\t\(full)\(pod.hostname)\n"
        }
        if !pod.template.hostAliases.isEmpty {
            text += "\n# Entries added by HostAliases.\n" + pod.template.hostAliases.map { "\($0.address)\t\($0.names.joined(separator: "\t"))\n" }.joined()
        }
        return text
    }

    /// /etc/hosts of a node or of a machine outside the cluster.
    public static func hostsFile(name: String, address: IPv4Address) -> String { localHosts + "\(address)\t\(name)\n" }

    private static let localHosts = """
        127.0.0.1\tlocalhost
        ::1\tlocalhost ip6-localhost ip6-loopback
        fe00::0\tip6-localnet
        fe00::0\tip6-mcastprefix
        fe00::1\tip6-allnodes
        fe00::2\tip6-allrouters

        """

    // MARK: Environment

    private func environment(of container: Container, in pod: PlannedPod) -> [(name: String, value: String)] {
        var result: [(name: String, value: String)] = [("HOSTNAME", pod.hostname)]
        var places = ["HOSTNAME": 0]
        func set(_ name: String, _ value: String) {
            if let place = places[name] {
                result[place].value = value
            } else {
                places[name] = result.count
                result.append((name, value))
            }
        }
        for (name, value) in serviceVariables(for: pod) { set(name, value) }
        let namespace = pod.metadata.namespace
        for source in container.environmentFrom {
            let key = ObjectKey(namespace: namespace, name: source.name)
            if source.isSecret {
                for item in secrets[key]?.data ?? [] { set(source.prefix + item.key, String(decoding: item.value, as: UTF8.self)) }
            } else {
                for item in configMaps[key]?.data ?? [] { set(source.prefix + item.key, item.value) }
            }
        }
        for variable in container.environment {
            switch variable.value {
            case .literal(let text): set(variable.name, Self.expand(text, Dictionary(result.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })))
            case .field(let path): set(variable.name, field(path, of: pod))
            case .configMap(let name, let key, _):
                if let value = configMaps[ObjectKey(namespace: namespace, name: name)]?.data.first(where: { $0.key == key })?.value { set(variable.name, value) }
            case .secret(let name, let key, _):
                if let value = secrets[ObjectKey(namespace: namespace, name: name)]?.data.first(where: { $0.key == key })?.value {
                    set(variable.name, String(decoding: value, as: UTF8.self))
                }
            case .resource: set(variable.name, "0")
            }
        }
        return result
    }

    /// WEB_SERVICE_HOST and its relatives, for the Services of the pod's namespace and the API server's.
    private func serviceVariables(for pod: PlannedPod) -> [(String, String)] {
        var result: [(String, String)] = []
        for service in services {
            let isMaster = service.key == ObjectKey(namespace: "default", name: "kubernetes")
            guard let address = service.clusterAddress, !service.ports.isEmpty,
                isMaster || (pod.template.enableServiceLinks && service.namespace == pod.metadata.namespace)
            else { continue }
            let prefix = Self.variableName(service.name)
            result.append((prefix + "_SERVICE_HOST", address.description))
            result.append((prefix + "_SERVICE_PORT", String(service.ports[0].port)))
            for port in service.ports where !port.name.isEmpty { result.append(("\(prefix)_SERVICE_PORT_\(Self.variableName(port.name))", String(port.port))) }
            for (index, port) in service.ports.enumerated() {
                let url = "\(port.proto.lowercased)://\(address):\(port.port)"
                if index == 0 { result.append((prefix + "_PORT", url)) }
                let name = "\(prefix)_PORT_\(port.port)_\(port.proto.rawValue)"
                result += [(name, url), (name + "_PROTO", port.proto.lowercased), (name + "_PORT", String(port.port)), (name + "_ADDR", address.description)]
            }
        }
        return result
    }
    private static func variableName(_ name: String) -> String { String(name.uppercased().map { $0 == "-" || $0 == "." ? "_" : $0 }) }

    private func field(_ path: String, of pod: PlannedPod) -> String {
        switch path {
        case "metadata.name": return pod.metadata.name
        case "metadata.namespace": return pod.metadata.namespace
        case "metadata.uid": return pod.uid
        case "spec.nodeName": return pod.node ?? ""
        case "spec.serviceAccountName": return pod.template.serviceAccountName
        case "status.podIP", "status.podIPs": return pod.address?.description ?? ""
        case "status.hostIP", "status.hostIPs": return pod.node.flatMap(node)?.address.description ?? ""
        default:
            guard let open = path.firstIndex(of: "["), path.hasSuffix("']"), path[open...].hasPrefix("['") else { return "" }
            let key = String(path[path.index(open, offsetBy: 2)...].dropLast(2))
            return path.hasPrefix("metadata.labels") ? pod.labels[key] ?? "" : path.hasPrefix("metadata.annotations") ? pod.metadata.annotations[key] ?? "" : ""
        }
    }

    /// Replaces `$(NAME)` by the variable's value; `$$(NAME)` stands for `$(NAME)`, and unknown names stay as they are.
    static func expand(_ text: String, _ values: [String: String]) -> String {
        var result = ""
        var rest = Substring(text)
        while let dollar = rest.firstIndex(of: "$") {
            result += rest[..<dollar]
            rest = rest[rest.index(after: dollar)...]
            if rest.first == "$" {
                result += "$"
                rest = rest.dropFirst()
            } else if rest.first == "(", let close = rest.firstIndex(of: ")") {
                let name = String(rest[rest.index(after: rest.startIndex)..<close])
                result += values[name] ?? "$(\(name))"
                rest = rest[rest.index(after: close)...]
            } else {
                result += "$"
            }
        }
        return result + rest
    }
}

extension StableName {
    /// A UUID of version 4's form.
    static func uid(_ text: String) -> String {
        let a = hexadecimal(hash64("uid-a/" + text), digits: 16)
        let b = hexadecimal(hash64("uid-b/" + text) & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000, digits: 16)
        return "\(a.prefix(8))-\(a.dropFirst(8).prefix(4))-4\(a.suffix(3))-\(b.prefix(4))-\(b.suffix(12))"
    }
}
