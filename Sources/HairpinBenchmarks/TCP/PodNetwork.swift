import HairpinCluster
import HairpinTopology
import HairpinWire

/// One node with pairs of pods on its bridge, a client and a server each.
struct PodNetwork {
    static let port: UInt16 = 9000
    private(set) var topology = Topology()
    /// Hosts that open connections.
    private(set) var clients: [String] = []
    private(set) var servers: [(name: String, address: IPv4Address)] = []
    /// What each client connects to: its server, or the Service in front of it.
    private(set) var targets: [IPv4Address] = []

    init(pairs: Int, throughService: Bool) throws(BenchmarkError) {
        if throughService { try buildCluster(pairs) } else { buildBridge(pairs) }
    }

    /// Pods on a bridge that has no address of its own; nobody filters or tracks anything.
    private mutating func buildBridge(_ pairs: Int) {
        let prefix = IPv4Prefix(IPv4Address(10, 244, 0, 0), length: 24)
        var node = HostDescription(name: "node", kind: .node, interfaces: [InterfaceDescription(name: "cni0", kind: .bridge(ageing: .seconds(300)))])
        var pods: [HostDescription] = []
        for number in 0..<2 * pairs {
            let name = number % 2 == 0 ? "client-\(number / 2)" : "server-\(number / 2)"
            let address = IPv4Address(10, 244, 0, UInt8(2 + number))
            let mac = MACAddress(rawValue: 0x0200_0a00_0000 | UInt64(number))
            node.interfaces.append(
                InterfaceDescription(
                    name: "veth\(number)", kind: .veth(peerHost: name, peerInterface: "eth0"), mac: MACAddress(rawValue: 0x0200_0b00_0000 | UInt64(number)),
                    master: "cni0"))
            let eth0 = InterfaceDescription(
                name: "eth0", kind: .veth(peerHost: "node", peerInterface: "veth\(number)"), mac: mac, addresses: [IPv4InterfaceAddress(address, prefixLength: 24)])
            var route = RouteDescription(destination: prefix, device: "eth0", source: address)
            route.isKernel = true
            pods.append(HostDescription(name: name, kind: .pod, node: "node", interfaces: [eth0], routes: [route]))
            if number % 2 == 0 { clients.append(name) } else { servers.append((name, address)) }
        }
        targets = servers.map(\.address)
        topology = Topology(hosts: [node] + pods)
    }

    /// The same as a cluster: a Service in front of each server, kube-proxy's rules and connection tracking on the node.
    private mutating func buildCluster(_ pairs: Int) throws(BenchmarkError) {
        var text = ""
        for pair in 0..<pairs {
            text += """
                ---
                {apiVersion: v1, kind: Pod, metadata: {name: client-\(pair)}, spec: {containers: [{name: c, image: alpine}]}}
                ---
                {apiVersion: v1, kind: Pod, metadata: {name: server-\(pair), labels: {app: server-\(pair)}}, spec: {containers: [{name: c, image: alpine}]}}
                ---
                {apiVersion: v1, kind: Service, metadata: {name: server-\(pair)}, spec: {selector: {app: server-\(pair)}, ports: [{port: \(PodNetwork.port)}]}}

                """
        }
        var configuration = ClusterConfiguration()
        configuration.hasDNS = false
        do {
            var loader = ManifestLoader()
            try loader.load(text: text, file: "benchmark")
            let plan = try ClusterPlanner.plan(loader.manifests, configuration: configuration)
            topology = plan.topology(endpoints: plan.endpointSlices(readyPods: Set(plan.pods.map(\.key))))
            for pair in 0..<pairs {
                guard let client = plan.pod(ObjectKey(namespace: "default", name: "client-\(pair)")),
                    let server = plan.pod(ObjectKey(namespace: "default", name: "server-\(pair)")), let address = server.address,
                    let service = plan.service(ObjectKey(namespace: "default", name: "server-\(pair)"))?.clusterAddress
                else { throw BenchmarkError.fault("the planned cluster lacks pair \(pair)") }
                clients.append(client.hostName)
                servers.append((server.hostName, address))
                targets.append(service)
            }
        } catch {
            throw .fault("the cluster cannot be planned: \(error)")
        }
    }
}
