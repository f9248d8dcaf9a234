import HairpinWire

/// What the cluster's DNS knows: a pure function of Services, endpoints and pods (the kubernetes plugin's schema, version 1.1.0).
public struct ClusterNames: Sendable {
    public enum RecordType: UInt16, Sendable {
        case a = 1
        case cname = 5
        case ptr = 12
        case aaaa = 28
        case srv = 33
    }

    public enum Record: Hashable, Sendable {
        case address(IPv4Address)
        case canonicalName(String)
        case pointer(String)
        case service(priority: UInt16, weight: UInt16, port: UInt16, target: String)
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
    private var records: [String: [Record]] = [:]
    /// Names that exist because something exists below them.
    private var nodes: Set<String> = []
    private var podNamespaces: Set<String> = []

    init(plan: ClusterPlan, slices: [EndpointSlice]) {
        domain = plan.configuration.clusterDomain
        podNamespaces = Set(plan.namespaces)
        addName(domain)
        for namespace in plan.namespaces { addName("\(namespace).svc.\(domain)") }
        for service in plan.services { add(service, slices.filter { $0.service == service.key }) }
        // CoreDNS publishes its own schema version.
        addName("dns-version.\(domain)")
    }

    /// `name` with or without a final dot, in any case.
    public func answer(_ name: String, _ type: RecordType) -> Answer {
        var name = name.lowercased()
        if name.hasSuffix(".") { name.removeLast() }
        let isInDomain = name == domain || name.hasSuffix("." + domain)
        if let found = records[name] {
            // An alias answers for every type (RFC 1034 §3.6.2).
            let matching = found.filter { type.matches($0) || type != .cname && RecordType.cname.matches($0) }
            return matching.isEmpty ? .noData : .records(matching)
        }
        if isInDomain, let address = podAddress(name) { return type == .a ? .records([.address(address)]) : .noData }
        if nodes.contains(name) { return .noData }
        return isInDomain ? .nonExistent : .notOurs
    }

    /// `10-244-0-5.default.pod.cluster.local`: any address in a namespace that exists (`pods insecure`).
    private func podAddress(_ name: String) -> IPv4Address? {
        let labels = name.dropLast(domain.utf8.count + 1).split(separator: ".")
        guard labels.count == 3, labels[2] == "pod", podNamespaces.contains(String(labels[1])) else { return nil }
        return IPv4Address(labels[0].split(separator: "-", omittingEmptySubsequences: false).joined(separator: "."))
    }

    private mutating func addName(_ name: String) {
        var labels = name.split(separator: ".")[...]
        while !labels.isEmpty, labels.joined(separator: ".") != domain.split(separator: ".").dropFirst().joined(separator: ".") {
            nodes.insert(labels.joined(separator: "."))
            labels = labels.dropFirst()
        }
    }

    private mutating func add(_ name: String, _ record: Record) {
        guard records[name]?.contains(record) != true else { return }
        records[name, default: []].append(record)
        addName(name)
    }

    private mutating func addPointer(_ address: IPv4Address, _ name: String) {
        let reversed = (0..<4).map { String(address.rawValue >> (8 * UInt32($0)) & 0xff) }.joined(separator: ".")
        records["\(reversed).in-addr.arpa", default: []].append(.pointer(name))
    }

    private mutating func add(_ service: PlannedService, _ slices: [EndpointSlice]) {
        let name = "\(service.name).\(service.namespace).svc.\(domain)"
        if let external = service.service.externalName, service.service.kind == .externalName {
            add(name, .canonicalName(external.hasSuffix(".") ? String(external.dropLast()) : external))
            return
        }
        if let address = service.clusterAddress {
            add(name, .address(address))
            addPointer(address, name)
            for port in service.ports where !port.name.isEmpty {
                add("_\(port.name)._\(port.proto.lowercased).\(name)", .service(priority: 0, weight: 100, port: port.port, target: name))
            }
            return
        }
        // Headless: the endpoints themselves, each also under a name of its own. The Service exists only while it has endpoints.
        let isEverything = service.service.publishNotReadyAddresses
        var targets: [(target: String, slice: EndpointSlice)] = []
        for slice in slices {
            for endpoint in slice.endpoints where endpoint.ready || isEverything {
                let label = endpoint.hostname ?? endpoint.address.description.split(separator: ".").joined(separator: "-")
                let own = "\(label).\(name)"
                add(name, .address(endpoint.address))
                add(own, .address(endpoint.address))
                addPointer(endpoint.address, own)
                targets.append((own, slice))
            }
        }
        for port in service.ports where !port.name.isEmpty {
            for (target, slice) in targets {
                guard let number = slice.ports.first(where: { $0.name == port.name })?.port else { continue }
                add("_\(port.name)._\(port.proto.lowercased).\(name)", .service(priority: 0, weight: UInt16(max(1, 100 / targets.count)), port: number, target: target))
            }
        }
    }
}

extension ClusterNames.RecordType {
    func matches(_ record: ClusterNames.Record) -> Bool {
        switch (self, record) {
        case (.a, .address), (.cname, .canonicalName), (.ptr, .pointer), (.srv, .service): true
        default: false
        }
    }
}

extension ClusterPlan {
    /// What the cluster's DNS answers while these are the endpoints.
    public func names(endpoints: [EndpointSlice]) -> ClusterNames { ClusterNames(plan: self, slices: endpoints) }
}
