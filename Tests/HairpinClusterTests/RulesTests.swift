import HairpinEngine
import HairpinProxy
import HairpinTopology
import HairpinWire
import Testing

@testable import HairpinCluster

private func threePods(_ spec: String, _ configuration: ClusterConfiguration = ClusterConfiguration()) throws -> ClusterPlan {
    var configuration = configuration
    configuration.hasDNS = false
    return try plan(["a", "b", "c"].map { pod($0) }.joined() + service("web", "clusterIP: 10.96.0.20, selector: {app: web}, ports: [{port: 80\(spec)"), configuration)
}

private func rules(_ plan: ClusterPlan, ready: [String] = ["a", "b", "c"], node: Int = 0) -> [String] {
    let slices = plan.endpointSlices(readyPods: Set(ready.map { ObjectKey(namespace: "default", name: $0) }))
    return plan.iptables(node: plan.nodes[node], endpoints: slices)
}

@Suite struct RulesTests {
    @Test("chains are named as on a real node")
    func names() {
        #expect(SHA256.chainSuffix("default/web" + "tcp") == "LOLE4ISW44XBNF3G")
        #expect(SHA256.chainSuffix("default/web" + "tcp" + "10.244.0.3:80") == "VPJCWIHGOZWNRC6B")
        #expect(SHA256.chainSuffix("default/kubernetes:https" + "tcp") == "NPX46M4PTMTKRN6Y")
        #expect(SHA256.chainSuffix("kube-system/kube-dns:dns" + "udp") == "TCOU7JCQXEZGVUNU")
    }

    @Test("probabilities as iptables-save prints them", arguments: [(2, "0.50000000000"), (3, "0.33333333349"), (4, "0.25000000000"), (1000, "0.00100000016")])
    func probability(count: Int, expected: String) { #expect(ServiceTable.probability(oneIn: count) == expected) }

    @Test("three endpoints: the rules a node's iptables-save shows")
    func cluster() throws {
        let lines = rules(try threePods("}]")).filter { $0.contains("default/web") }
        #expect(
            lines.contains(
                #"-A KUBE-SVC-LOLE4ISW44XBNF3G -m comment --comment "default/web -> 10.244.0.3:80" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-VPJCWIHGOZWNRC6B"#
            ))
        #expect(lines.contains(#"-A KUBE-SERVICES -d 10.96.0.20/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80 -j KUBE-SVC-LOLE4ISW44XBNF3G"#))
        let balance = lines.filter { $0.hasPrefix("-A KUBE-SVC-") }
        #expect(balance.count == 4)
        #expect(
            balance[0]
                == #"-A KUBE-SVC-LOLE4ISW44XBNF3G ! -s 10.244.0.0/16 -d 10.96.0.20/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ"#
        )
        #expect(balance[1].contains("--probability 0.33333333349"))
        #expect(!balance[3].contains("--probability"))
        #expect(lines.contains(#"-A KUBE-SEP-VPJCWIHGOZWNRC6B -p tcp -m comment --comment "default/web" -m tcp -j DNAT --to-destination 10.244.0.3:80"#))
    }

    @Test("only ready endpoints are rules; none of them means REJECT")
    func readiness() throws {
        let plan = try threePods("}]")
        #expect(rules(plan, ready: ["b"]).filter { $0.hasPrefix("-A KUBE-SVC-LOLE") }.count == 2)
        let none = rules(plan, ready: [])
        #expect(
            none.contains(
                #"-A KUBE-SERVICES -d 10.96.0.20/32 -p tcp -m comment --comment "default/web has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable"#
            ))
        #expect(!none.contains { $0.contains("KUBE-SVC-LOLE") })
    }

    @Test("affinity: known clients first, then chance; each endpoint remembers")
    func affinity() throws {
        let lines = rules(try threePods("}], sessionAffinity: ClientIP"))
        #expect(
            lines.contains(
                #"-A KUBE-SVC-LOLE4ISW44XBNF3G -m comment --comment "default/web -> 10.244.0.3:80" -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-VPJCWIHGOZWNRC6B --mask 255.255.255.255 --rsource -j KUBE-SEP-VPJCWIHGOZWNRC6B"#
            ))
        #expect(
            lines.contains(
                #"-A KUBE-SEP-VPJCWIHGOZWNRC6B -p tcp -m comment --comment "default/web" -m recent --set --name KUBE-SEP-VPJCWIHGOZWNRC6B --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 10.244.0.3:80"#
            ))
        let chain = lines.filter { $0.hasPrefix("-A KUBE-SVC-LOLE") }
        #expect(chain.firstIndex { $0.contains("statistic") }! > chain.lastIndex { $0.contains("--rcheck") }!)
    }

    @Test("NodePort under policy Local: only this node's endpoints, DROP where there are none")
    func nodePortLocal() throws {
        var configuration = ClusterConfiguration(nodes: [
            .init(name: "node1", address: IPv4Address(192, 168, 50, 11)), .init(name: "node2", address: IPv4Address(192, 168, 50, 12)),
        ])
        configuration.networkPlugin = .flannelHostGateway
        let plan = try threePods(", nodePort: 30080}], type: NodePort, externalTrafficPolicy: Local", configuration)
        #expect(
            rules(plan, ready: ["b"], node: 0).contains(
                #"-A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment "default/web has no local endpoints" -m addrtype --dst-type LOCAL -m tcp --dport 30080 -j DROP"#))
        let second = rules(plan, ready: ["b"], node: 1)
        #expect(second.contains(#"-A KUBE-SVL-LOLE4ISW44XBNF3G -m comment --comment "default/web -> 10.244.1.2:80" -j KUBE-SEP-MQ4W7Q2CV67URU6Q"#))
        #expect(second.contains("-A KUBE-EXT-LOLE4ISW44XBNF3G -j KUBE-SVL-LOLE4ISW44XBNF3G"))
        #expect(second.contains("-A FLANNEL-POSTRTG -s 10.244.1.0/24 -d 10.244.0.0/16 -j RETURN"))
        #expect(second.last == "COMMIT" && second.first == "*filter")
        for line in second where line.hasPrefix("-A ") {
            // Every chain that is jumped to is declared.
            let words = line.split(separator: " ")
            guard let place = words.lastIndex(of: "-j"), words[place + 1].hasPrefix("KUBE-") || words[place + 1].hasPrefix("FLANNEL") else { continue }
            #expect(second.contains(":\(words[place + 1]) - [0:0]"), "\(line)")
        }
    }

    private func balanced(_ status: String = "ingress: [{ip: 203.0.113.10}, {ip: 203.0.113.11, ipMode: Proxy}]") throws -> ClusterPlan {
        try plan(
            pod("a") + """
                ---
                apiVersion: v1
                kind: Service
                metadata: {name: web, namespace: default}
                spec: {type: LoadBalancer, clusterIP: 10.96.0.20, selector: {app: web}, externalTrafficPolicy: Local, healthCheckNodePort: 30500, \
                  loadBalancerSourceRanges: [192.168.50.0/24, 203.0.113.0/25], ports: [{port: 80, nodePort: 30080}]}
                status: {loadBalancer: {\(status)}}

                """)
    }

    @Test("a load balancer: its addresses with source ranges, not those of ipMode Proxy, and the health check's port")
    func loadBalancer() throws {
        let lines = rules(try balanced(), ready: ["a"]).filter { $0.contains("default/web") }
        let portal = #"-d 203.0.113.10/32 -p tcp -m comment --comment "default/web loadbalancer IP" -m tcp --dport 80"#
        #expect(lines.contains("-A KUBE-SERVICES \(portal) -j KUBE-FW-LOLE4ISW44XBNF3G"))
        #expect(
            lines.filter { $0.hasPrefix("-A KUBE-FW-") } == [
                #"-A KUBE-FW-LOLE4ISW44XBNF3G -s 192.168.50.0/24 -m comment --comment "default/web loadbalancer IP" -j KUBE-EXT-LOLE4ISW44XBNF3G"#,
                #"-A KUBE-FW-LOLE4ISW44XBNF3G -s 203.0.113.0/25 -m comment --comment "default/web loadbalancer IP" -j KUBE-EXT-LOLE4ISW44XBNF3G"#,
                // The node's own address is in the ranges, so that its packets may come back with the load balancer's.
                #"-A KUBE-FW-LOLE4ISW44XBNF3G -s 203.0.113.10/32 -m comment --comment "default/web loadbalancer IP" -j KUBE-EXT-LOLE4ISW44XBNF3G"#,
                #"-A KUBE-FW-LOLE4ISW44XBNF3G -m comment --comment "other traffic to default/web will be dropped by KUBE-PROXY-FIREWALL""#,
            ])
        #expect(lines.contains { $0.hasPrefix("-A KUBE-PROXY-FIREWALL -d 203.0.113.10/32 ") && $0.hasSuffix("-j DROP") })
        #expect(lines.contains(#"-A KUBE-NODEPORTS -p tcp -m comment --comment "default/web health check node port" -m tcp --dport 30500 -j ACCEPT"#))
        #expect(!lines.contains { $0.contains("203.0.113.11") })
        #expect(try balanced("ingress: []").services.first { $0.name == "web" }?.healthCheckNodePort == 30500)
    }

    @Test("what a load balancer's status may not hold is refused, as is a health check port without policy Local")
    func badLoadBalancer() throws {
        #expect(throws: InputError.self) { try balanced("ingress: [{ip: 203.0.113.300}]") }
        #expect(throws: InputError.self) { try balanced("ingress: [{ip: 203.0.113.10, ipMode: Router}]") }
        #expect(throws: InputError.self) { try threePods("}], type: NodePort, healthCheckNodePort: 30500") }
        #expect(throws: InputError.self) { try threePods("}], trafficDistribution: PreferFar") }
    }

    @Test("traffic distribution: endpoints of the node's zone, of the node itself, and all of them where a zone has none")
    func trafficDistribution() throws {
        var configuration = ClusterConfiguration(
            nodes: ["a", "a", "b"].enumerated().map { number, zone in
                .init(name: "node\(number + 1)", address: IPv4Address(192, 168, 50, UInt8(11 + number)), labels: ["topology.kubernetes.io/zone": zone])
            })
        configuration.networkPlugin = .flannelHostGateway
        configuration.hasDNS = false
        func locals(_ distribution: String, node: Int, pods: [(String, String)]) throws -> Int {
            let text =
                pods.map { name, place in
                    "{apiVersion: v1, kind: Pod, metadata: {name: \(name), labels: {app: web}}, spec: {nodeName: \(place), containers: [{name: c, image: nginx}]}}\n---\n"
                }.joined() + service("web", "selector: {app: web}, trafficDistribution: \(distribution), ports: [{port: 80}]")
            let plan = try plan(text, configuration)
            let slices = plan.endpointSlices(readyPods: Set(plan.pods.map(\.key)))
            let table = plan.serviceTable(node: plan.nodes[node], endpoints: slices)
            return try #require(table.entries.first { $0.rules.service == "web" }).cluster.count
        }
        let spread = [("x", "node1"), ("y", "node2"), ("z", "node3")]
        #expect(try locals("PreferClose", node: 0, pods: spread) == 2)
        #expect(try locals("PreferSameZone", node: 2, pods: spread) == 1)
        #expect(try locals("PreferSameNode", node: 0, pods: spread) == 1)
        #expect(try locals("PreferSameNode", node: 0, pods: [("y", "node2"), ("z", "node3")]) == 1, "no endpoint on the node: its zone")
        #expect(try locals("PreferClose", node: 2, pods: [("x", "node1"), ("y", "node2")]) == 2, "none in the zone: all")
    }

    @Test("IPVS: round robin servers, addresses on kube-ipvs0, hairpin masqueraded")
    func ipvs() throws {
        var configuration = ClusterConfiguration()
        configuration.proxyMode = .ipvs
        let plan = try threePods("}]", configuration)
        let slices = plan.endpointSlices(readyPods: [ObjectKey(namespace: "default", name: "a"), ObjectKey(namespace: "default", name: "c")])
        let servers = plan.virtualServers(node: plan.nodes[0], endpoints: slices)
        let web = try #require(servers.first { $0.address == IPv4Address(10, 96, 0, 20) })
        #expect(web.scheduler == "rr" && web.persistenceSeconds == nil)
        #expect(web.servers.map(\.address) == [IPv4Address(10, 244, 0, 2), IPv4Address(10, 244, 0, 4)])
        let host = try #require(plan.topology(endpoints: slices).hosts.first)
        #expect(host.interfaces.first { $0.name == "kube-ipvs0" }?.addresses.map(\.description) == ["10.96.0.1/32", "10.96.0.20/32"])
        #expect(host.iptables.contains { $0.hasPrefix("-A KUBE-POSTROUTING -s 10.244.0.2/32 -d 10.244.0.2/32 -p tcp") && $0.hasSuffix("--dport 80 -j MASQUERADE") })
        #expect(!host.iptables.contains { $0.contains("KUBE-SVC-") })
    }

    @Test("the topology of two nodes: bridges, veth pairs, a switch, routes")
    func topology() throws {
        var configuration = ClusterConfiguration(nodes: [
            .init(name: "node1", address: IPv4Address(192, 168, 50, 11)), .init(name: "node2", address: IPv4Address(192, 168, 50, 12)),
        ])
        configuration.hosts = [.init(name: "client", address: IPv4Address(192, 168, 50, 100))]
        let topology = try threePods("}]", configuration).topology()
        #expect(topology.hosts.map(\.name) == ["node1", "node2", "lan", "client", "default/a", "default/b", "default/c"])
        let node = topology.hosts[0]
        #expect(node.interfaces.map(\.name).prefix(3) == ["lo", "eth0", "cni0"])
        #expect(node.interfaces[1].mac.description == "52:54:00:00:00:0b")
        #expect(node.interfaces[2].mac.description == "0a:58:0a:f4:00:01")
        #expect(
            node.routes.contains(
                RouteDescription(destination: IPv4Prefix(IPv4Address(10, 244, 1, 0), length: 24), gateway: IPv4Address(192, 168, 50, 12), device: "eth0")))
        #expect(node.sysctls["net.bridge.bridge-nf-call-iptables"] == "1")
        let pod = topology.hosts[4]
        #expect(pod.kind == .pod && pod.node == "node1")
        #expect(pod.interfaces[1].mac.description == "0a:58:0a:f4:00:02")
        #expect(pod.routes.first == RouteDescription(destination: IPv4Prefix(.any, length: 0), gateway: IPv4Address(10, 244, 0, 1), device: "eth0"))
        // Cables have two ends that name each other; between machines they take time.
        var names: Set<String> = []
        var macs: Set<MACAddress> = []
        for host in topology.hosts {
            for interface in host.interfaces {
                #expect(names.insert("\(host.name) \(interface.name)").inserted)
                if interface.name != "lo" { #expect(macs.insert(interface.mac).inserted && !interface.mac.isMulticast) }
                guard case .veth(let peerHost, let peerInterface) = interface.kind else { continue }
                let peer = try #require(topology.hosts.first { $0.name == peerHost }?.interfaces.first { $0.name == peerInterface })
                #expect(peer.kind == .veth(peerHost: host.name, peerInterface: interface.name))
                let isBetweenMachines = host.name == "lan" || peerHost == "lan"
                #expect((interface.link.delay > .zero) == isBetweenMachines)
                if let master = interface.master { #expect(host.interfaces.contains { $0.name == master }) }
            }
        }
    }

    @Test("hairpin mode is off for the bridge plugin and on for flannel")
    func hairpin() throws {
        var configuration = ClusterConfiguration()
        func ports() throws -> [Bool] { try threePods("}]", configuration).topology().hosts[0].interfaces.filter { $0.master == "cni0" }.map(\.hairpin) }
        #expect(try ports() == [false, false, false])
        configuration.networkPlugin = .flannelHostGateway
        #expect(try ports() == [true, true, true])
        configuration.hairpinMode = false
        #expect(try ports() == [false, false, false])
    }
}
