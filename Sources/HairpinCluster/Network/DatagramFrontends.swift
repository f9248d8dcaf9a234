import HairpinWire

/// Where UDP Services can be called, and who may answer there: what kube-proxy holds the table of connections against after each sync
/// (pkg/proxy/conntrack/cleanup.go).
///
/// NAT is decided once per flow, and a UDP flow has no end: a client that keeps its port would go on speaking to an endpoint that is gone, or to nobody if
/// it began before there was one.
public struct DatagramFrontends: Sendable {
    private struct Frontend: Hashable, Sendable {
        var address: IPv4Address
        var port: UInt16
    }
    private var addresses: [Frontend: Set<IPv4Address>] = [:]
    private var nodePorts: [UInt16: Set<IPv4Address>] = [:]
    /// What each Service has in the two above.
    private var owned: [ObjectKey: (addresses: [Frontend], nodePorts: [UInt16])] = [:]

    public var isEmpty: Bool { addresses.isEmpty && nodePorts.isEmpty }

    public init() {}

    /// These Services have other endpoints, or are others themselves.
    public mutating func update(_ plan: ClusterPlan, changed: Set<ObjectKey>, slices: (ObjectKey) -> [EndpointSlice]) {
        for key in changed {
            for frontend in owned[key]?.addresses ?? [] { addresses[frontend] = nil }
            for number in owned[key]?.nodePorts ?? [] { nodePorts[number] = nil }
            owned[key] = nil
        }
        for service in plan.services where changed.contains(service.key) { add(service, slices(service.key)) }
    }

    private mutating func add(_ service: PlannedService, _ slices: [EndpointSlice]) {
        guard let cluster = service.clusterAddress else { return }
        for port in service.ports where port.proto == .udp {
            var serving: Set<IPv4Address> = []
            for slice in slices where slice.ports.contains(where: { $0.name == port.name && $0.proto == .udp }) {
                for endpoint in slice.endpoints where endpoint.serving { serving.insert(endpoint.address) }
            }
            // Where nobody serves, flows are left alone: whoever they go to may come back.
            if serving.isEmpty { continue }
            let ingress = service.service.kind == .loadBalancer ? service.service.ingress.filter(\.isVirtual).map(\.address) : []
            for address in [cluster] + ingress + service.service.externalAddresses {
                let frontend = Frontend(address: address, port: port.port)
                addresses[frontend] = serving
                owned[service.key, default: ([], [])].addresses.append(frontend)
            }
            if let number = port.nodePort {
                nodePorts[number] = serving
                owned[service.key, default: ([], [])].nodePorts.append(number)
            }
        }
    }

    /// The flow was begun to a Service and goes to none of its serving endpoints.
    public func isStale(_ connection: ConnectionRecord) -> Bool {
        guard connection.proto == .udp else { return false }
        let frontend = Frontend(address: connection.original.destination, port: connection.original.destinationPort)
        if let serving = addresses[frontend], !serving.contains(connection.reply.source) { return true }
        guard let serving = nodePorts[connection.original.destinationPort] else { return false }
        return !serving.contains(connection.reply.source)
    }
}
