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

    public var isEmpty: Bool { addresses.isEmpty && nodePorts.isEmpty }

    init(plan: ClusterPlan, slices: [EndpointSlice]) {
        var byService: [ObjectKey: [Int]] = [:]
        for index in slices.indices { byService[slices[index].service, default: []].append(index) }
        for service in plan.services {
            guard let cluster = service.clusterAddress else { continue }
            for port in service.ports where port.proto == .udp {
                var serving: Set<IPv4Address> = []
                for index in byService[service.key] ?? [] where slices[index].ports.contains(where: { $0.name == port.name && $0.proto == .udp }) {
                    for endpoint in slices[index].endpoints where endpoint.serving { serving.insert(endpoint.address) }
                }
                // Where nobody serves, flows are left alone: whoever they go to may come back.
                if serving.isEmpty { continue }
                let ingress = service.service.kind == .loadBalancer ? service.service.ingress.filter(\.isVirtual).map(\.address) : []
                for address in [cluster] + ingress + service.service.externalAddresses { addresses[Frontend(address: address, port: port.port)] = serving }
                if let number = port.nodePort { nodePorts[number] = serving }
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

extension ClusterPlan {
    /// Complexity: O(Services + endpoints).
    public func datagramFrontends(endpoints: [EndpointSlice]) -> DatagramFrontends { DatagramFrontends(plan: self, slices: endpoints) }
}
