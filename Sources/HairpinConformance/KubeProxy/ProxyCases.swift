import Foundation
import HairpinProxy

/// A file of kube-proxy's packet-flow cases (schema hairpin-kubeproxy-flows/1), read but not run.
struct ProxyCaseFile {
    let root: [String: Any]

    init(_ path: String) throws {
        guard let data = FileManager.default.contents(atPath: path) else { throw ComparisonError.unreadable(file: path, reason: "it cannot be read") }
        guard let root = try? JSONSerialization.jsonObject(with: data) as? [String: Any] else {
            throw ComparisonError.unreadable(file: path, reason: "it is no JSON object")
        }
        guard let schema = root["schema"] as? String, schema.hasPrefix("hairpin-kubeproxy-flows/") else {
            throw ComparisonError.unreadable(file: path, reason: "its \"schema\" is not hairpin-kubeproxy-flows/1")
        }
        self.root = root
    }

    /// The file itself, or those of a folder that have the schema.
    static func files(_ path: String) throws -> [ProxyCaseFile] {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue else { return [try ProxyCaseFile(path)] }
        let names = ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).filter { $0.hasSuffix(".json") }.sorted()
        return names.compactMap { try? ProxyCaseFile(path + "/" + $0) }
    }

    var groups: [[String: Any]] { root["groups"] as? [[String: Any]] ?? [] }
    var topologyCases: [[String: Any]] { (root["topology"] as? [String: Any])?["cases"] as? [[String: Any]] ?? [] }

    func convention(_ key: String) -> [String] {
        let conventions = root["conventions"] as? [String: Any] ?? [:]
        return (conventions.first { $0.key.hasPrefix(key) }?.value as? [String]) ?? []
    }
    var nodeName: String { (root["conventions"] as? [String: Any])?["node"] as? String ?? "test-node" }
}

/// Reads objects whose every key must be understood.
struct CaseObject {
    private let values: [String: Any]
    private let what: String
    private var seen: Set<String> = []

    init(_ values: [String: Any], _ what: String) {
        self.values = values
        self.what = what
    }
    /// Null counts as absent.
    mutating func take<T>(_ key: String, as type: T.Type = T.self) throws -> T? {
        seen.insert(key)
        guard let value = values[key], !(value is NSNull) else { return nil }
        guard let typed = value as? T else { throw Unsupported("\(what): \(key) is \(value)") }
        return typed
    }
    mutating func need<T>(_ key: String, as type: T.Type = T.self) throws -> T {
        guard let value: T = try take(key) else { throw Unsupported("\(what): \(key) is missing") }
        return value
    }
    mutating func list(_ key: String) throws -> [String] {
        seen.insert(key)
        guard let value = values[key], !(value is NSNull) else { return [] }
        if let text = value as? String { return [text] }
        guard let list = value as? [String] else { throw Unsupported("\(what): \(key) is \(value)") }
        return list
    }
    func finish(ignoring: Set<String> = ["note", "derived", "legacy"]) throws {
        if let unknown = values.keys.filter({ !seen.contains($0) && !ignoring.contains($0) }).min() { throw Unsupported("\(what): the key \"\(unknown)\"") }
    }
}

/// What a group of cases starts from and steps change: Services and slices by name.
struct ProxyCaseState {
    var services: [(key: String, value: [String: Any])] = []
    var slices: [(key: String, value: [String: Any])] = []

    init(_ group: [String: Any]) throws {
        for service in group["services"] as? [[String: Any]] ?? [] { services.append((try ProxyCaseState.key(service, "name"), service)) }
        for slice in group["endpointSlices"] as? [[String: Any]] ?? [] { slices.append((try ProxyCaseState.key(slice, "service"), slice)) }
    }

    private static func key(_ object: [String: Any], _ name: String) throws -> String {
        guard let text = object[name] as? String else { throw Unsupported("an object without \(name)") }
        return "\(object["namespace"] as? String ?? "default")/\(text)"
    }

    /// `{"deleteService": "ns1/svc1"}` and its kind; a name or a list of them, an object or a list of them.
    mutating func apply(_ action: [String: Any]) throws {
        for (verb, value) in action.sorted(by: { $0.key < $1.key }) where verb != "note" {
            let names = (value as? String).map { [$0] } ?? value as? [String] ?? []
            let objects = (value as? [String: Any]).map { [$0] } ?? value as? [[String: Any]] ?? []
            switch verb {
            case "deleteService", "deleteServices":
                for name in names { services.removeAll { $0.key == name } }
            case "deleteEndpointSlice", "deleteEndpointSlices", "deleteEndpoints":
                for name in names { slices.removeAll { $0.key == name } }
            case "addService", "addServices", "updateService", "updateServices", "setService", "setServices":
                for object in objects {
                    let key = try ProxyCaseState.key(object, "name")
                    if let index = services.firstIndex(where: { $0.key == key }) {
                        services[index].value.merge(object) { $1 }
                    } else {
                        services.append((key, object))
                    }
                }
            case "addEndpointSlice", "addEndpointSlices":
                for object in objects { slices.append((try ProxyCaseState.key(object, "service"), object)) }
            case "updateEndpointSlice", "updateEndpointSlices", "setEndpointSlice", "setEndpointSlices":
                for object in objects {
                    let key = try ProxyCaseState.key(object, "service")
                    slices.removeAll { $0.key == key }
                    slices.append((key, object))
                }
            default: throw Unsupported("the action \"\(verb)\"")
            }
            if names.isEmpty, objects.isEmpty { throw Unsupported("the action \"\(verb)\" on \(value)") }
        }
    }

    /// kube-proxy's input for one address family.
    func input(isIPv4: Bool, node: String) throws -> [(rules: ServicePortRules, endpoints: [ProxyEndpoint])] {
        var result: [(rules: ServicePortRules, endpoints: [ProxyEndpoint])] = []
        for (key, service) in services {
            for rules in try ProxyCaseState.ports(service, key) where (rules.clusterAddress.ipv4 != nil) == isIPv4 {
                var rules = rules
                rules.externalAddresses.removeAll { ($0.ipv4 != nil) != isIPv4 }
                rules.loadBalancerAddresses.removeAll { ($0.ipv4 != nil) != isIPv4 }
                rules.sourceRanges.removeAll { $0.isIPv4 != isIPv4 }
                result.append((rules, try endpoints(of: key, rules, node: node, isIPv4: isIPv4)))
            }
        }
        return result
    }

    private func endpoints(of key: String, _ rules: ServicePortRules, node: String, isIPv4: Bool) throws -> [ProxyEndpoint] {
        var result: [ProxyEndpoint] = []
        for slice in slices where slice.key == key {
            var object = CaseObject(slice.value, "endpointSlice \(key)")
            for name in ["namespace", "service", "name", "addressType"] { let _: String? = try object.take(name) }
            var number: UInt16?
            for port in try object.take("ports", as: [[String: Any]].self) ?? [] {
                var port = CaseObject(port, "port of endpointSlice \(key)")
                let name: String = try port.take("name") ?? ""
                let proto = try ProxyCaseState.proto(port.take("protocol") ?? "TCP")
                let value: Int? = try port.take("port")
                try port.finish()
                if name == rules.portName, proto == rules.proto, let value { number = UInt16(exactly: value) }
            }
            let endpoints = try object.take("endpoints", as: [[String: Any]].self) ?? []
            try object.finish()
            guard let number else { continue }
            for endpoint in endpoints {
                var endpoint = CaseObject(endpoint, "endpoint of \(key)")
                let text: String = try endpoint.need("ip")
                guard let address = ServiceAddress(text) else { throw Unsupported("the endpoint address \(text)") }
                let ready: Bool = try endpoint.take("ready") ?? true
                let place: String? = try endpoint.take("node")
                let serving: Bool? = try endpoint.take("serving")
                let terminating: Bool = try endpoint.take("terminating") ?? false
                let zones = try endpoint.list("zoneHints")
                let nodes = try endpoint.list("nodeHints")
                try endpoint.finish()
                guard (address.ipv4 != nil) == isIPv4 else { continue }
                result.append(
                    ProxyEndpoint(
                        address: address, port: number, isReady: ready, isServing: serving, isTerminating: terminating, isLocal: place == node, zoneHints: zones,
                        nodeHints: nodes))
            }
        }
        return result
    }

    static func proto(_ text: String) throws -> UInt8 {
        switch text.uppercased() {
        case "TCP": 6
        case "UDP": 17
        case "SCTP": 132
        default: throw Unsupported("the protocol \(text)")
        }
    }

    /// A Service's ports; none for a headless one and for ExternalName.
    private static func ports(_ value: [String: Any], _ key: String) throws -> [ServicePortRules] {
        var object = CaseObject(value, "service \(key)")
        let namespace: String = try object.take("namespace") ?? "default"
        let name: String = try object.need("name")
        let type: String = try object.take("type") ?? "ClusterIP"
        let clusterText: String? = try object.take("clusterIP")
        func addresses(_ texts: [String]) throws -> [ServiceAddress] {
            try texts.map { text in
                guard let address = ServiceAddress(text) else { throw Unsupported("service \(key): the address \(text)") }
                return address
            }
        }
        let external = try addresses(object.list("externalIPs"))
        var balanced = try addresses(object.list("lbIPs"))
        let modes = try object.list("lbIPMode")
        if modes.count == balanced.count {
            balanced = zip(balanced, modes).filter { $1 != "Proxy" }.map(\.0)
        } else if modes == ["Proxy"] {
            balanced = []
        }
        let ranges = try object.list("loadBalancerSourceRanges").map { text in
            guard let range = ServicePrefix(text) else { throw Unsupported("service \(key): the range \(text)") }
            return range
        }
        let isInternalLocal = try object.take("internalTrafficPolicy") == "Local"
        let isExternalLocal = try object.take("externalTrafficPolicy") == "Local"
        let health: Int = try object.take("healthCheckNodePort") ?? 0
        let affinity: [String: Any]? = try object.take("sessionAffinity")
        var seconds: Int?
        if let affinity {
            guard let client = affinity["clientIP"] as? [String: Any] else { throw Unsupported("service \(key): the affinity \(affinity)") }
            seconds = client["timeoutSeconds"] as? Int ?? 10800
        }
        let _: Bool? = try object.take("publishNotReadyAddresses")
        let _: String? = try object.take("trafficDistribution")
        var result: [ServicePortRules] = []
        for port in try object.take("ports", as: [[String: Any]].self) ?? [] {
            var port = CaseObject(port, "port of service \(key)")
            let number: Int = try port.need("port")
            let portName: String = try port.take("name") ?? ""
            let proto = try ProxyCaseState.proto(port.take("protocol") ?? "TCP")
            let nodePort: Int = try port.take("nodePort") ?? 0
            let _: Any? = try port.take("targetPort")
            try port.finish()
            guard let clusterText, let cluster = ServiceAddress(clusterText), type != "ExternalName" else { continue }
            var rules = ServicePortRules(
                namespace: namespace, service: name, portName: portName, proto: proto, clusterAddress: cluster, port: UInt16(truncatingIfNeeded: number))
            rules.nodePort = UInt16(truncatingIfNeeded: nodePort)
            rules.externalAddresses = external
            rules.loadBalancerAddresses = type == "LoadBalancer" ? balanced : []
            rules.sourceRanges = type == "LoadBalancer" ? ranges : []
            rules.isInternalLocal = isInternalLocal
            rules.isExternalLocal = isExternalLocal
            rules.affinitySeconds = seconds
            rules.healthCheckNodePort = type == "LoadBalancer" && isExternalLocal ? UInt16(truncatingIfNeeded: health) : 0
            result.append(rules)
        }
        try object.finish()
        return result
    }
}
