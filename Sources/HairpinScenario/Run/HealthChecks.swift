import HairpinCluster
import HairpinHost
import HairpinPrograms
import HairpinWire

/// kube-proxy's health check servers: one on each node for each Service with a `healthCheckNodePort`. They hold the board, kube-proxy rewrites it.
final class HealthChecks {
    /// Ready endpoints by node and Service.
    private var counts: [String: [ObjectKey: Int]] = [:]
    private var isServing = false

    /// Each address of a Service counts once, whatever its ports (`EndpointsMap.LocalReadyEndpoints`).
    func update(_ plan: ClusterPlan, _ slices: [EndpointSlice]) {
        let asked = Set(plan.services.filter { $0.healthCheckNodePort != nil }.map(\.key))
        var seen: [String: [ObjectKey: Set<IPv4Address>]] = [:]
        for slice in slices where asked.contains(slice.service) {
            for endpoint in slice.endpoints where endpoint.ready {
                guard let node = endpoint.nodeName else { continue }
                seen[node, default: [:]][slice.service, default: []].insert(endpoint.address)
            }
        }
        counts = seen.mapValues { $0.mapValues(\.count) }
    }

    /// Opens the ports, once.
    func serve(_ plan: ClusterPlan, on simulation: Simulation) {
        guard !isServing else { return }
        isServing = true
        for service in plan.services {
            guard let port = service.healthCheckNodePort else { continue }
            for node in plan.nodes {
                let program = HealthCheckServer.program(port: port, namespace: service.namespace, service: service.name) { [unowned self] in
                    counts[node.name]?[service.key] ?? 0
                }
                let files = simulation.makeContainer(name: "kube-proxy-\(port)")
                simulation.spawn(on: node.name, program, arguments: ["kube-proxy"], in: files)
            }
        }
    }
}
