import HairpinCluster
import HairpinWire

/// The files the kubelet puts into a container, and the environment it starts with.
enum PodFiles {
    /// /etc/hosts, /etc/hostname, /etc/resolv.conf, and the keys of ConfigMaps and Secrets where they are mounted.
    static func files(of pod: PlannedPod, _ container: Container, in plan: ClusterPlan) -> [String: [UInt8]] {
        var files: [String: [UInt8]] = [
            "/etc/hosts": Array(hosts(of: pod, in: plan).utf8), "/etc/hostname": Array((pod.hostname + "\n").utf8),
            "/etc/resolv.conf": Array(resolver(of: pod, in: plan).utf8),
        ]
        for mount in container.volumeMounts {
            guard let volume = pod.template.volumes.first(where: { $0.name == mount.volume }) else { continue }
            for (name, bytes) in contents(of: volume, pod, in: plan) {
                if let part = mount.subPath {
                    if part == name { files[mount.path] = bytes }
                } else {
                    files[joined(mount.path, name)] = bytes
                }
            }
        }
        return files
    }

    /// Whether a volume is only a view of an object, written into each container, and not a folder that containers share.
    static func isProjected(_ volume: Volume) -> Bool {
        switch volume.source {
        case .configMap, .secret: true
        case .emptyDir, .other: false
        }
    }

    private static func contents(of volume: Volume, _ pod: PlannedPod, in plan: ClusterPlan) -> [(name: String, bytes: [UInt8])] {
        let namespace = pod.metadata.namespace
        switch volume.source {
        case .configMap(let name, let items, _):
            let data = plan.configMaps[ObjectKey(namespace: namespace, name: name)]?.data ?? []
            guard let items else { return data.map { ($0.key, Array($0.value.utf8)) } }
            return items.compactMap { item in data.first { $0.key == item.key }.map { (item.path, Array($0.value.utf8)) } }
        case .secret(let name, _):
            return (plan.secrets[ObjectKey(namespace: namespace, name: name)]?.data ?? []).map { ($0.key, $0.value) }
        case .emptyDir, .other:
            return []
        }
    }

    /// As the kubelet writes it, host aliases last.
    private static func hosts(of pod: PlannedPod, in plan: ClusterPlan) -> String {
        var text = "# Kubernetes-managed hosts file.\n" + localHosts
        if let address = pod.address {
            let full = pod.template.subdomain.map { "\(pod.hostname).\($0).\(pod.metadata.namespace).svc.\(plan.configuration.clusterDomain)\t" } ?? ""
            text += "\(address)\t\(full)\(pod.hostname)\n"
        }
        if !pod.template.hostAliases.isEmpty {
            text += "\n# Entries added by HostAliases.\n"
            for alias in pod.template.hostAliases { text += "\(alias.address)\t\(alias.names.joined(separator: "\t"))\n" }
        }
        return text
    }

    /// /etc/hosts of a node or of a machine outside the cluster.
    static func hosts(name: String, address: IPv4Address) -> String { localHosts + "\(address)\t\(name)\n" }

    private static let localHosts = """
        127.0.0.1\tlocalhost
        ::1\tlocalhost ip6-localhost ip6-loopback
        fe00::\tip6-localnet
        fe00::\tip6-mcastprefix
        fe00::1\tip6-allnodes
        fe00::2\tip6-allrouters

        """

    /// resolv.conf by `dnsPolicy`: of the cluster, of the node (which has no name server), or none; `dnsConfig` is added.
    private static func resolver(of pod: PlannedPod, in plan: ClusterPlan) -> String {
        let configuration = plan.configuration
        let domain = configuration.clusterDomain
        let usesCluster = configuration.hasDNS && ["ClusterFirst", "ClusterFirstWithHostNet"].contains(pod.template.dnsPolicy)
        var servers: [String] = []
        var searches: [String] = []
        var options: [String] = []
        if usesCluster {
            servers = [configuration.dnsAddress.description]
            searches = ["\(pod.metadata.namespace).svc.\(domain)", "svc.\(domain)", domain]
            options = ["ndots:5"]
        }
        servers += pod.template.dnsConfig.nameservers
        searches += pod.template.dnsConfig.searches
        options += pod.template.dnsConfig.options
        var text = searches.isEmpty ? "" : "search \(searches.joined(separator: " "))\n"
        for server in servers { text += "nameserver \(server)\n" }
        return text + (options.isEmpty ? "" : "options \(options.joined(separator: " "))\n")
    }

    private static func joined(_ folder: String, _ name: String) -> String { folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)" }
}

/// The environment variables of a container.
enum PodEnvironment {
    /// What an image sets, then Services as variables, then `envFrom`, then `env`; later ones win, and may refer to earlier ones as `$(NAME)`.
    static func variables(of pod: PlannedPod, _ container: Container, in plan: ClusterPlan) -> [String: String] {
        var result = ["PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME": pod.hostname, "HOME": "/root"]
        for service in plan.services {
            let isMaster = service.key == ObjectKey(namespace: "default", name: "kubernetes")
            if isMaster || pod.template.enableServiceLinks && service.namespace == pod.metadata.namespace {
                for (name, value) in links(to: service) { result[name] = value }
            }
        }
        let namespace = pod.metadata.namespace
        for source in container.environmentFrom {
            let key = ObjectKey(namespace: namespace, name: source.name)
            if source.isSecret {
                for (name, bytes) in plan.secrets[key]?.data ?? [] { result[source.prefix + name] = String(decoding: bytes, as: UTF8.self) }
            } else {
                for (name, text) in plan.configMaps[key]?.data ?? [] { result[source.prefix + name] = text }
            }
        }
        for variable in container.environment {
            switch variable.value {
            case .literal(let text): result[variable.name] = expanded(text, result)
            case .field(let path): result[variable.name] = field(path, of: pod, in: plan)
            case .configMap(let name, let key, _):
                result[variable.name] = plan.configMaps[ObjectKey(namespace: namespace, name: name)]?.data.first { $0.key == key }?.value
            case .secret(let name, let key, _):
                let bytes = plan.secrets[ObjectKey(namespace: namespace, name: name)]?.data.first { $0.key == key }?.value
                result[variable.name] = bytes.map { String(decoding: $0, as: UTF8.self) }
            case .resource: result[variable.name] = "0"
            }
        }
        return result
    }

    /// `$(NAME)` in a command, an argument or a value; unknown names stay as they are, `$$` is one `$`.
    static func expanded(_ text: String, _ variables: [String: String]) -> String {
        var result = ""
        var rest = text[...]
        while let dollar = rest.firstIndex(of: "$") {
            result += rest[..<dollar]
            let next = rest.index(after: dollar)
            if next < rest.endIndex, rest[next] == "$" {
                result += "$"
                rest = rest[rest.index(after: next)...]
            } else if next < rest.endIndex, rest[next] == "(", let close = rest[next...].firstIndex(of: ")") {
                let name = String(rest[rest.index(after: next)..<close])
                result += variables[name] ?? "$(\(name))"
                rest = rest[rest.index(after: close)...]
            } else {
                result += "$"
                rest = rest[next...]
            }
        }
        return result + rest
    }

    /// The variables of Docker's links, which the kubelet still sets for every Service of the namespace.
    private static func links(to service: PlannedService) -> [(String, String)] {
        guard let address = service.clusterAddress, let first = service.ports.first else { return [] }
        let name = service.name.uppercased().replacingDashes
        var result = [
            ("\(name)_SERVICE_HOST", "\(address)"), ("\(name)_SERVICE_PORT", "\(first.port)"), ("\(name)_PORT", "\(first.proto.lowercased)://\(address):\(first.port)"),
        ]
        for port in service.ports {
            if !port.name.isEmpty { result.append(("\(name)_SERVICE_PORT_\(port.name.uppercased().replacingDashes)", "\(port.port)")) }
            let stem = "\(name)_PORT_\(port.port)_\(port.proto.rawValue)"
            result += [
                (stem, "\(port.proto.lowercased)://\(address):\(port.port)"), ("\(stem)_PROTO", port.proto.lowercased), ("\(stem)_PORT", "\(port.port)"),
                ("\(stem)_ADDR", "\(address)"),
            ]
        }
        return result
    }

    /// The downward API.
    private static func field(_ path: String, of pod: PlannedPod, in plan: ClusterPlan) -> String {
        switch path {
        case "metadata.name": return pod.metadata.name
        case "metadata.namespace": return pod.metadata.namespace
        case "metadata.uid": return pod.key.description
        case "spec.nodeName": return pod.node ?? ""
        case "spec.serviceAccountName": return pod.template.serviceAccountName
        case "status.podIP", "status.podIPs": return pod.address?.description ?? ""
        case "status.hostIP", "status.hostIPs": return pod.node.flatMap(plan.node)?.address.description ?? ""
        default:
            for (stem, table) in [("metadata.labels['", pod.metadata.labels), ("metadata.annotations['", pod.metadata.annotations)]
            where path.hasPrefix(stem) && path.hasSuffix("']") {
                return table[String(path.dropFirst(stem.count).dropLast(2))] ?? ""
            }
            return ""
        }
    }
}

extension String {
    fileprivate var replacingDashes: String { String(map { $0 == "-" || $0 == "." ? "_" : $0 }) }
}
