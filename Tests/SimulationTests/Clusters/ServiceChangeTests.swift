import HairpinCluster
import HairpinEngine
import HairpinWire
import Testing

/// A node whose kube-proxy follows changes, beside one whose kube-proxy compiles everything anew each time: what people see there is the same.
@Suite("Changes of Services")
struct ServiceChangeTests {
    private static let manifests =
        (1...4).map { Manifest.pod("web-\($0)", labels: ["app": "web"]) }.joined()
        + (1...12).map { Manifest.service("web-\($0)", selector: ["app": $0 < 5 ? "web" : "none-\($0)"]) }.joined() + Manifest.shell()

    @Test("Listings, counters and connections after a sequence of changes under traffic", arguments: [ClusterConfiguration.ProxyMode.iptables, .nftables, .ipvs])
    func listings(mode: ClusterConfiguration.ProxyMode) throws {
        let clusters = try (0..<2).map { _ in try Cluster(Self.manifests) { ($0.proxyMode, $0.isWatched) = (mode, false) } }
        let plan = clusters[0].plan
        let node = plan.nodes[0]
        var controller = EndpointController()
        var proxy = NodeProxy(node: node)
        var written: [String] = []
        let names = plan.pods.map(\.metadata.name).filter { $0.hasPrefix("web") }
        for ready in [names, Array(names.dropFirst()), [], Array(names.prefix(2)), names, [names[3]]] {
            let keys = Set(ready.map { ObjectKey(namespace: "default", name: $0) })
            let changed = controller.follow(plan) { .init(isReady: keys.contains($0.key)) }
            let update = proxy.sync(plan, changed: changed, slices: controller.slices(of:))
            if let rules = update.rules { try clusters[0].simulation.setRules(rules, on: node.name) }
            clusters[0].simulation.setServices(update.table, on: node.name)
            switch update.virtualServers {
            case .unchanged: break
            case .all(let all): clusters[0].simulation.setVirtualServers(all, gracefully: true, on: node.name)
            case .changed(let some): #expect(clusters[0].simulation.changeVirtualServers(some, gracefully: true, on: node.name))
            }

            let slices = plan.endpointSlices(readyPods: keys)
            let table = plan.serviceTable(node: node, endpoints: slices)
            let rules = plan.baseRules(node: node, table)
            if rules != written { try clusters[1].simulation.setRules(rules, on: node.name) }
            written = rules
            clusters[1].simulation.setServices(table, on: node.name)
            clusters[1].simulation.setVirtualServers(plan.virtualServers(node: node, table), gracefully: true, on: node.name)

            let commands = [
                ("for i in 1 2 3 4 5 6; do curl -s -o /dev/null -m 2 -w '%{http_code} %{remote_ip}\\n' http://\(try clusters[0].serviceAddress("web-2"))/; done", "shell"),
                ("curl -s -o /dev/null -m 2 -w '%{http_code}\\n' http://\(try clusters[0].serviceAddress("web-1"))/; true", node.name),
                ("curl -s -o /dev/null -m 2 -w '%{http_code}\\n' http://\(try clusters[0].serviceAddress("web-7"))/; true", "shell"),
                ("iptables-save -c", node.name), ("iptables -t nat -L -v -n -x", node.name), ("nft list ruleset", node.name), ("ipvsadm -Ln", node.name),
                ("conntrack -L 2>/dev/null", node.name),
            ]
            for (command, place) in commands {
                let outcomes = try clusters.map { try $0.run(command, in: place).output }
                #expect(outcomes[0] == outcomes[1], "\(command) with \(ready)")
            }
        }
        for cluster in clusters { #expect(cluster.imbalance == nil) }
    }
}
