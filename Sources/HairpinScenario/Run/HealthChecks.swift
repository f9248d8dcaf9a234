import HairpinCluster
import HairpinEngine
import HairpinHost
import HairpinPrograms
import HairpinWire

/// kube-proxy's health check servers: on each node one of its own (port 10256), and one for each Service with a `healthCheckNodePort`. They hold the board,
/// kube-proxy rewrites it.
final class HealthChecks {
    /// Nodes that are about to go.
    private var ineligible: Set<String> = []
    /// Since when a change has waited to be written, and when rules were last written.
    private var pendingSince: Instant?
    private var lastUpdated: Instant?
    /// How long a change may wait: twice kube-proxy's `--iptables-sync-period` of 30 s.
    private static let patience = Duration.seconds(60)
    /// Ready endpoints by node and Service.
    private var counts: [String: [ObjectKey: Int]] = [:]
    private var isServing = false
    /// Of Services that have a port, with their programs on the nodes.
    private var servers: [ObjectKey: (port: UInt16, programs: [ProcessHandle])] = [:]

    /// kube-proxy has heard of a change.
    func queued(at now: Instant) { if pendingSince == nil { pendingSince = now } }
    func updated(at now: Instant) { (pendingSince, lastUpdated) = (nil, now) }
    func follow(_ nodes: [PlannedNode]) { ineligible = Set(nodes.filter(\.isBeingDeleted).map(\.name)) }

    /// A proxy that has not written anything yet is starting up, and well.
    private func isHealthy(at now: Instant) -> Bool { lastUpdated == nil || pendingSince.map { now < $0 + HealthChecks.patience } ?? true }

    /// Each address of a Service counts once, whatever its ports (`EndpointsMap.LocalReadyEndpoints`). Of Services that have changed.
    func update(_ plan: ClusterPlan, _ changed: Set<ObjectKey>, _ slices: (ObjectKey) -> [EndpointSlice]) {
        for service in plan.services where service.healthCheckNodePort != nil && changed.contains(service.key) {
            var seen: [String: Set<IPv4Address>] = [:]
            for slice in slices(service.key) {
                for endpoint in slice.endpoints where endpoint.ready { if let node = endpoint.nodeName { seen[node, default: []].insert(endpoint.address) } }
            }
            for node in plan.nodes { counts[node.name, default: [:]][service.key] = seen[node.name]?.count }
        }
    }

    /// Opens the ports of nodes, and of Services that have one now; closes those of Services that have none any more.
    func serve(_ plan: ClusterPlan, on simulation: Simulation) {
        if !isServing { serveNodes(plan, on: simulation) }
        isServing = true
        let wanted = Dictionary(plan.services.compactMap { service in service.healthCheckNodePort.map { (service.key, $0) } }) { first, _ in first }
        for (key, server) in servers where wanted[key] != server.port {
            for program in server.programs { program.kill(signal: 9) }
            servers[key] = nil
        }
        for service in plan.services {
            guard let port = service.healthCheckNodePort, servers[service.key] == nil else { continue }
            let programs = plan.nodes.map { node in
                let program = HealthCheckServer.program(port: port, namespace: service.namespace, service: service.name) { [unowned self] now in
                    (counts[node.name]?[service.key] ?? 0, isHealthy(at: now))
                }
                return simulation.spawn(on: node.name, program, arguments: ["kube-proxy"], in: simulation.makeContainer(name: "kube-proxy-\(port)"))
            }
            servers[service.key] = (port, programs)
        }
    }

    private func serveNodes(_ plan: ClusterPlan, on simulation: Simulation) {
        for node in plan.nodes {
            let program = ProxyHealthServer.program { [unowned self] now in
                ProxyHealth(isHealthy: isHealthy(at: now), isNodeEligible: !ineligible.contains(node.name), lastUpdated: lastUpdated)
            }
            simulation.spawn(on: node.name, program, arguments: ["kube-proxy"], in: simulation.makeContainer(name: "kube-proxy"))
        }
    }
}
