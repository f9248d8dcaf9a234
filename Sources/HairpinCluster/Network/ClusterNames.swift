import HairpinWire

/// What the cluster's DNS knows: a pure function of Services, endpoints and pods, with CoreDNS's answers (plugin/kubernetes; Kubernetes DNS
/// specification 1.1.0). Where the two differ CoreDNS decides.
public struct ClusterNames: Sendable {
    public enum RecordType: UInt16, Sendable {
        case a = 1
        case ns = 2
        case cname = 5
        case soa = 6
        case ptr = 12
        case txt = 16
        case aaaa = 28
        case srv = 33
    }

    public enum Record: Hashable, Sendable {
        case address(IPv4Address)
        case canonicalName(String)
        case pointer(String)
        case service(priority: UInt16, weight: UInt16, port: UInt16, target: String)
        case text(String)
        case nameServer(String)
        /// The zone's start of authority; its numbers are the server's.
        case startOfAuthority
    }
    public enum Answer: Hashable, Sendable {
        case records([Record])
        /// The name exists, but has no record of this type.
        case noData
        /// Within the cluster's domain, but unknown.
        case nonExistent
        /// Outside the cluster's domain: for an upstream server.
        case notOurs
    }

    public let domain: String
    public let settings: DNSSettings
    private var services: [String: Entry] = [:]
    /// Names of addresses: those of the Services that have them as their own, and those of endpoints in the order of the Services.
    private var pointers: [IPv4Address: String] = [:]
    private var endpointPointers: [IPv4Address: [(place: Int, name: String)]] = [:]
    /// Positions of the Services in the plan.
    private var places: [ObjectKey: Int] = [:]
    private var namespaces: Set<String> = []
    /// For `pods verified`: "namespace/address".
    private var podAddresses: Set<String> = []
    private var server: (name: String, address: IPv4Address)?
    /// The answer to TXT dns-version.
    public static let schemaVersion = "1.1.0"

    /// A Service, with what of its endpoints can be asked for.
    private struct Entry: Sendable {
        var externalName: String?
        var clusterAddress: IPv4Address?
        var ports: [Port]
        var endpoints: [Endpoint] = []
    }
    private struct Port: Sendable {
        var name: String
        var proto: String
        /// Nil for an endpoint of a Service without ports: it has addresses and no SRV records.
        var number: UInt16?
    }
    private struct Endpoint: Sendable {
        var address: IPv4Address
        var name: String
        var ports: [Port]
    }

    init(plan: ClusterPlan, slices: [EndpointSlice]) {
        domain = plan.configuration.clusterDomain
        settings = plan.dnsSettings
        namespaces = Set(plan.namespaces)
        if settings.pods == .verified { verify(plan) }
        let byService = Dictionary(grouping: slices, by: \.service)
        for (place, service) in plan.services.enumerated() {
            places[service.key] = place
            add(service, at: place, byService[service.key] ?? [])
            // Services go before endpoints: an address that is both a Service's has one name.
            if let address = service.clusterAddress { pointers[address] = "\(service.name).\(service.namespace).svc.\(domain)" }
        }
        if let dns = plan.service(ObjectKey(namespace: "kube-system", name: "kube-dns")), let address = dns.clusterAddress {
            server = ("\(dns.name).\(dns.namespace).svc.\(domain)", address)
        }
    }

    /// These Services, all of them here already, have other endpoints; nothing else of the plan but its pods has changed.
    ///
    /// Complexity: O(endpoints of those Services), and O(pods) with `pods verified`.
    public mutating func update(_ plan: ClusterPlan, changed: Set<ObjectKey>, slices: (ObjectKey) -> [EndpointSlice]) {
        if settings.pods == .verified { verify(plan) }
        for key in changed {
            guard let place = places[key] else { continue }
            let service = plan.services[place]
            for endpoint in services["\(service.name).\(service.namespace)"]?.endpoints ?? [] {
                endpointPointers[endpoint.address]?.removeAll { $0.place == place }
                if endpointPointers[endpoint.address]?.isEmpty == true { endpointPointers[endpoint.address] = nil }
            }
            add(service, at: place, slices(key))
        }
    }

    private mutating func verify(_ plan: ClusterPlan) {
        podAddresses = []
        for pod in plan.pods where plan.isCurrent(pod) { if let address = pod.address { podAddresses.insert("\(pod.metadata.namespace)/\(address)") } }
    }

    private mutating func add(_ service: PlannedService, at place: Int, _ slices: [EndpointSlice]) {
        let name = "\(service.name).\(service.namespace).svc.\(domain)"
        if service.service.kind == .externalName, let external = service.service.externalName {
            let target = external.hasSuffix(".") ? String(external.dropLast()) : external
            services["\(service.name).\(service.namespace)"] = Entry(externalName: target, ports: [])
            return
        }
        var entry = Entry(clusterAddress: service.clusterAddress, ports: service.ports.map { Port(name: $0.name, proto: $0.proto.lowercased, number: $0.port) })
        for slice in slices {
            let ports = slice.ports.map { Port(name: $0.name, proto: $0.proto.lowercased, number: $0.port) }
            for endpoint in slice.endpoints where endpoint.ready {
                let podName = settings.usesPodNames ? endpoint.pod?.name : nil
                let label = endpoint.hostname ?? podName ?? endpoint.address.description.split(separator: ".").joined(separator: "-")
                entry.endpoints.append(
                    Endpoint(address: endpoint.address, name: label, ports: ports.isEmpty ? [Port(name: "", proto: "", number: nil)] : ports))
                point(endpoint.address, to: "\(label).\(name)", at: place)
            }
        }
        services["\(service.name).\(service.namespace)"] = entry
    }

    private mutating func point(_ address: IPv4Address, to name: String, at place: Int) {
        var known = endpointPointers[address] ?? []
        if known.contains(where: { $0.name == name }) { return }
        known.insert((place, name), at: known.firstIndex { $0.place > place } ?? known.count)
        endpointPointers[address] = known
    }

    private func names(of address: IPv4Address) -> [String]? { pointers[address].map { [$0] } ?? endpointPointers[address]?.map(\.name) }

    // MARK: Asking

    /// `name` with or without a final dot, in any case.
    public func answer(_ name: String, _ type: RecordType) -> Answer {
        var name = name.lowercased()
        if name.hasSuffix(".") { name.removeLast() }
        if name.hasSuffix(".in-addr.arpa") {
            // `fallthrough in-addr.arpa`: what is not known goes upstream.
            guard type == .ptr, let address = ClusterNames.address(ofReverse: name), let names = names(of: address) else { return .notOurs }
            return .records(names.map { .pointer($0) })
        }
        guard name == domain || name.hasSuffix("." + domain) else { return .notOurs }
        switch type {
        case .soa: return name == domain ? .records([.startOfAuthority]) : .noData
        case .ns where name == domain: return server.map { .records([.nameServer($0.name)]) } ?? .noData
        case .txt: return name == "dns-version.\(domain)" ? .records([.text(ClusterNames.schemaVersion)]) : .noData
        default: break
        }
        if name == "ns.dns.\(domain)" { return type == .a ? server.map { .records([.address($0.address)]) } ?? .noData : .noData }
        guard let found = find(name) else { return .nonExistent }
        let records = records(found, type)
        return records.isEmpty ? .noData : .records(records)
    }

    private static func address(ofReverse name: String) -> IPv4Address? {
        IPv4Address(name.dropLast(".in-addr.arpa".utf8.count).split(separator: ".", omittingEmptySubsequences: false).reversed().joined(separator: "."))
    }

    /// An address (or an alias) that a name stands for, with the port and the name its SRV record would have (`msg.Service`).
    private struct Item {
        var address: IPv4Address?
        var alias: String?
        var port: UInt16?
        var target: String
    }

    /// Nil for a name that does not exist; empty for one that only has names below it (`parseRequest`, `findPods`, `findServices`).
    private func find(_ name: String) -> [Item]? {
        if name == domain { return [] }
        var labels = name.dropLast(domain.utf8.count + 1).split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        let kind = labels.removeLast()
        guard kind == "svc" || kind == "pod" else { return nil }
        guard let namespace = labels.popLast() else { return [] }
        guard namespaces.contains(namespace) else { return nil }
        guard let owner = labels.popLast() else { return [] }
        if kind == "pod" {
            guard settings.pods != .disabled, labels.isEmpty else { return nil }
            guard let address = IPv4Address(owner.split(separator: "-", omittingEmptySubsequences: false).joined(separator: ".")) else { return nil }
            if settings.pods == .verified, !podAddresses.contains("\(namespace)/\(address)") { return nil }
            return [Item(address: address, target: name)]
        }
        guard labels.count <= 2, let entry = services["\(owner).\(namespace)"] else { return nil }
        let full = "\(owner).\(namespace).svc.\(domain)"
        let endpoint = labels.count == 1 ? labels[0] : nil
        let port = labels.count == 2 ? ClusterNames.withoutUnderscore(labels[0]) : ""
        let proto = labels.count == 2 ? ClusterNames.withoutUnderscore(labels[1]) : ""
        func isWanted(_ candidate: Port) -> Bool { (port.isEmpty || candidate.name == port) && (proto.isEmpty || candidate.proto == proto) }
        if let external = entry.externalName { return endpoint == nil ? [Item(alias: external, target: external)] : nil }
        var items: [Item] = []
        if let address = entry.clusterAddress, endpoint == nil {
            for candidate in entry.ports where isWanted(candidate) { items.append(Item(address: address, port: candidate.number, target: full)) }
        } else {
            for known in entry.endpoints where endpoint == nil || endpoint == known.name {
                for candidate in known.ports where isWanted(candidate) {
                    items.append(Item(address: known.address, port: candidate.number, target: "\(known.name).\(full)"))
                }
            }
        }
        // A headless Service exists while it has an endpoint.
        return items.isEmpty ? nil : items
    }

    private static func withoutUnderscore(_ label: String) -> String { label.hasPrefix("_") ? String(label.dropFirst()) : label }

    private func records(_ items: [Item], _ type: RecordType) -> [Record] {
        var result: [Record] = []
        var seen: Set<Record> = []
        for item in items {
            let record: Record
            switch type {
            case .srv:
                guard item.alias == nil, let port = item.port else { continue }
                record = .service(priority: 0, weight: UInt16(max(1, 100 / items.count)), port: port, target: item.target)
            case .cname:
                guard let alias = item.alias else { continue }
                record = .canonicalName(alias)
            case .a, .aaaa:
                if let alias = item.alias {
                    record = .canonicalName(alias)
                } else {
                    guard type == .a, let address = item.address else { continue }
                    record = .address(address)
                }
            case .ns, .soa, .ptr, .txt: continue
            }
            if seen.insert(record).inserted { result.append(record) }
        }
        return result
    }
}

/// What of a Corefile changes answers.
public struct DNSSettings: Hashable, Sendable {
    public enum PodRecords: String, Sendable { case disabled, insecure, verified }
    /// In seconds; the plugin's own default is 5, kubeadm's Corefile has 30.
    public var timeToLive: UInt32 = 30
    public var pods = PodRecords.insecure
    /// `endpoint_pod_names`: endpoints without a hostname are called after their pods.
    public var usesPodNames = false
    /// The `loadbalance` plugin: addresses of an answer come in a random order.
    public var isShuffled = true
    public init() {}

    /// Reads the blocks a Corefile gives the kubernetes plugin; everything else is left alone.
    public init(corefile text: String) {
        (timeToLive, pods, isShuffled) = (5, .disabled, false)
        var depth = 0
        var pluginDepth: Int?
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.prefix { $0 != "#" }.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
            guard let first = words.first else { continue }
            if let inside = pluginDepth, depth > inside {
                if first == "ttl", words.count > 1, let seconds = UInt32(words[1]), seconds <= 3600 { timeToLive = seconds }
                if first == "pods", words.count > 1, let mode = PodRecords(rawValue: words[1]) { pods = mode }
                if first == "endpoint_pod_names" { usesPodNames = true }
            } else if first == "kubernetes" {
                pluginDepth = depth
            } else if first == "loadbalance" {
                isShuffled = true
            }
            depth += words.count { $0 == "{" || $0.hasSuffix("{") }
            depth -= words.count { $0 == "}" }
            if let inside = pluginDepth, depth <= inside { pluginDepth = nil }
        }
    }
}

extension ClusterPlan {
    /// What the cluster's DNS answers while these are the endpoints.
    public func names(endpoints: [EndpointSlice]) -> ClusterNames { ClusterNames(plan: self, slices: endpoints) }

    /// Of the ConfigMap `kube-system/coredns`, where manifests bring one; else kubeadm's.
    var dnsSettings: DNSSettings {
        let map = configMaps[ObjectKey(namespace: "kube-system", name: "coredns")]
        guard let corefile = map?.data.first(where: { $0.key == "Corefile" }) else { return DNSSettings() }
        return DNSSettings(corefile: corefile.value)
    }
}
