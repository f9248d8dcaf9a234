import HairpinDatapath
import HairpinEngine
import HairpinWire
import Testing

@Suite("The three conversations, end to end")
struct ConversationTests {
    @Test("Container to container: a sidecar reaches localhost, and only lo sees it")
    func containerToContainer() throws {
        let cluster = try Cluster(
            Manifest.pod("web", containers: [("nginx", "nginx:1.27.0", nil), ("sidecar", "alpine:3.20", "sleep, infinity")]) + Manifest.pod("other"))
        let outcome = try cluster.run("curl -sS http://localhost/", in: "web", container: "sidecar")
        #expect(outcome.exit == 0 && outcome.output.contains("Welcome to nginx!"), "\(outcome)")
        let tcp = cluster.sights.filter(\.isTCP)
        #expect(tcp.count >= 9)  // lo shows a packet once, where it arrives
        #expect(tcp.allSatisfy { $0.host == "default/web" && $0.interface == "lo" && $0.source == .loopback && $0.destination == .loopback })
        #expect(!cluster.sights.contains(where: { $0.isARP }))
        #expect(cluster.imbalance == nil)
        #expect(cluster.simulation.books.dropped == 0)
    }

    @Test("Pod to pod: ARP first, then TCP over eth0, veth, bridge, veth, eth0")
    func podToPod() throws {
        let cluster = try Cluster(Manifest.serverAndShell)
        let web = try cluster.address("web")
        let outcome = try cluster.run("curl -sS http://\(web)/", in: "shell")
        #expect(outcome.exit == 0 && outcome.output.contains("Welcome to nginx!"), "\(outcome)")

        let atShell = cluster.sights(at: "default/shell", "eth0")
        #expect(atShell.first.map { describe($0.bytes) }?.hasPrefix("ARP, Request who-has \(web) tell \(try cluster.address("shell"))") == true)
        #expect(atShell.dropFirst().first?.isARP == true)
        #expect(atShell.dropFirst(2).first?.opensConnection == true)

        // One packet, hop by hop, under one packet id.
        let syn = try #require(atShell.first(where: { $0.opensConnection }))
        let path = cluster.sights.filter { $0.packetID == syn.packetID && $0.bytes == syn.bytes }.map(\.place)
        let near = try cluster.veth("shell")
        let far = try cluster.veth("web")
        // A watched bridge is promiscuous: it takes a copy of what it forwards.
        #expect(path == ["default/shell:eth0 out", "node1:\(near) in", "node1:\(far) out", "node1:cni0 in", "default/web:eth0 in"], "\(path)")
        #expect(cluster.sights(at: "default/web", "eth0").filter({ $0.opensConnection }).allSatisfy { $0.withIPv4 { $0.timeToLive } == 64 })
        #expect(cluster.imbalance == nil)
        #expect(cluster.simulation.books.dropped == 0, "\(cluster.dropTexts)")
    }

    @Test("Pod to gateway: what is for the node comes up through cni0")
    func podToBridge() throws {
        let cluster = try Cluster(Manifest.serverAndShell)
        let outcome = try cluster.run("ping -c 2 10.244.0.1", in: "shell")
        #expect(outcome.exit == 0 && outcome.output.contains("2 packets transmitted, 2 received, 0% packet loss"), "\(outcome)")
        #expect(cluster.sights(at: "node1", "cni0").contains { describe($0.bytes).contains("ICMP echo request") })
        #expect(cluster.imbalance == nil)
    }

    @Test("Pod to Service, ipvs: nine requests go to three pods in turn, and the client sees the virtual address only")
    func roundRobin() throws {
        let cluster = try Cluster(Manifest.threeServers) { $0.proxyMode = .ipvs }
        let virtual = try cluster.serviceAddress("web")
        let outcome = try cluster.run("for i in 1 2 3 4 5 6 7 8 9; do curl -sS -o /dev/null http://\(virtual)/ || exit 1; done", in: "shell")
        #expect(outcome.exit == 0, "\(outcome)")
        let chosen = cluster.sights.filter { $0.opensConnection && $0.interface == "eth0" && !$0.isOutbound }.map(\.host)
        #expect(chosen.count == 9)
        // Exactly in turn: any three in a row are three different pods, and it is the same three over again.
        #expect(Set(chosen.prefix(3)).count == 3)
        #expect(Array(chosen[3..<6]) == Array(chosen[0..<3]) && Array(chosen[6..<9]) == Array(chosen[0..<3]), "\(chosen)")
        let shell = try cluster.address("shell")
        #expect(
            cluster.sights(at: "default/shell", "eth0").filter({ $0.isTCP }).allSatisfy {
                [$0.source, $0.destination] == [shell, virtual] || [$0.source, $0.destination] == [virtual, shell]
            })
        #expect(cluster.sights.filter { $0.host.hasPrefix("default/web") && $0.isTCP }.allSatisfy { $0.source != virtual && $0.destination != virtual })
        #expect(cluster.imbalance == nil)
    }

    @Test("Pod to Service, iptables: 300 connections spread evenly by chance")
    func random() throws {
        let cluster = try Cluster(Manifest.threeServers)
        let virtual = try cluster.serviceAddress("web")
        let outcome = try cluster.run("i=0; while [ $i -lt 300 ]; do nc -z \(virtual) 80 || exit 1; i=$((i+1)); done", in: "shell")
        #expect(outcome.exit == 0, "\(outcome)")
        let chosen = cluster.sights.filter { $0.opensConnection && $0.interface == "eth0" && !$0.isOutbound }.map(\.host)
        #expect(chosen.count == 300)
        let counts = Dictionary(grouping: chosen, by: { $0 }).mapValues(\.count)
        #expect(counts.count == 3)
        let expected = Double(chosen.count) / 3
        let chiSquared = counts.values.reduce(0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
        // Two degrees of freedom: chance exceeds 13.8 once in a thousand. The seed is fixed, so this never flickers.
        #expect(chiSquared < 13.8, "\(counts)")
        // And it is chance, not turns.
        #expect(zip(chosen, chosen.dropFirst()).contains { $0 == $1 })
        #expect(cluster.imbalance == nil)
    }

    @Test("By name: the cluster's DNS is asked first, then the Service's virtual address is called")
    func byName() throws {
        let cluster = try Cluster(Manifest.threeServers) { $0.hasDNS = true }
        let virtual = try cluster.serviceAddress("web")
        let outcome = try cluster.run("curl -sS http://web/", in: "shell")
        #expect(outcome.exit == 0 && outcome.output.contains("Welcome to nginx!"), "\(outcome)")
        let atShell = cluster.sights(at: "default/shell", "eth0").filter { !$0.isARP }
        let query = try #require(atShell.first).bytes
        #expect(describe(query).contains("web.default.svc.cluster.local"), "\(describe(query))")
        let syn = try #require(atShell.firstIndex(where: { $0.opensConnection }))
        #expect(atShell[syn].destination == virtual)
        #expect(atShell[..<syn].contains { describe($0.bytes).contains("A \(virtual)") })
        #expect(cluster.imbalance == nil)
    }

    @Test("Hairpin: a pod that calls its own Service is answered where the network plugin lets a frame turn round")
    func hairpin() throws {
        let manifests = Manifest.pod("web", labels: ["app": "web"]) + Manifest.service("web", selector: ["app": "web"])
        let with = try Cluster(manifests) { $0.plugin = .flannelHostGateway }
        let answered = try with.run("curl -sS -m 3 http://\(try with.serviceAddress("web"))/", in: "web")
        #expect(answered.exit == 0, "\(answered)")
        let without = try Cluster(manifests)
        let lost = try without.run("curl -sS -m 3 http://\(try without.serviceAddress("web"))/", in: "web")
        #expect(lost.exit == 28, "\(lost)")
        #expect(without.simulation.books.dropsByReason[Int(DropReason.bridgeSamePort.rawValue)] > 0)
        #expect(with.imbalance == nil && without.imbalance == nil)
    }

    @Test("Two servers on one port of a pod: the second gives up as nginx does")
    func portTaken() throws {
        let cluster = try Cluster(Manifest.pod("web", containers: [("first", "nginx:1.27.0", nil), ("second", "nginx:1.27.0", nil)]))
        cluster.advance(.seconds(10))
        let first = try #require(cluster.servers["web/first"])
        let second = try #require(cluster.servers["web/second"])
        #expect(first.exitStatus == nil)
        #expect(second.exitStatus == 1)
        let errors = String(decoding: second.errorOutput, as: UTF8.self).split(separator: "\n").map(String.init)
        #expect(errors.count { $0.contains("[emerg] bind() to 0.0.0.0:80 failed (98: Address ") && $0.hasSuffix("in use)") } == 5, "\(errors)")
        #expect(errors.last?.contains("still could not bind()") == true)
        #expect(try cluster.run("curl -sS -o /dev/null http://localhost/", in: "web", container: "first").exit == 0)
        #expect(cluster.imbalance == nil)
    }
}

@Suite("Two nodes")
struct TwoNodeTests {
    static let manifests = Manifest.pod("web", node: "node2") + Manifest.shell(node: "node1")

    @Test("curl across host-gw: routed twice, so the TTL at the far pod is 62")
    func acrossNodes() throws {
        let cluster = try Cluster(Self.manifests) {
            $0.nodes = 2
            $0.plugin = .flannelHostGateway
        }
        #expect(cluster.simulation.processCount == 3)
        let outcome = try cluster.run("curl -sS http://\(try cluster.address("web"))/", in: "shell")
        #expect(outcome.exit == 0 && outcome.output.contains("Welcome to nginx!"), "\(outcome)")
        let syn = try #require(cluster.sights(at: "default/web", "eth0").first(where: { $0.opensConnection }))
        #expect(syn.withIPv4 { $0.timeToLive } == 62)
        let path = cluster.sights.filter { $0.packetID == syn.packetID }.map(\.place)
        let near = try cluster.veth("shell")
        let far = try cluster.veth("web")
        #expect(
            path == [
                "default/shell:eth0 out", "node1:\(near) in", "node1:cni0 in", "node1:eth0 out", "lan:port-node1 in", "lan:port-node2 out", "lan:br0 in",
                "node2:eth0 in", "node2:cni0 out", "node2:\(far) out",
                "default/web:eth0 in",
            ], "\(path)")
        // No masquerading between pods.
        #expect(syn.source == (try cluster.address("shell")))
        #expect(cluster.imbalance == nil)
        #expect(cluster.simulation.books.handedOver > 0)
    }

    @Test("A Service whose only pod is on the other node is reached")
    func serviceAcrossNodes() throws {
        for mode in [ProxyModeUnderTest.iptables, .ipvs] {
            let cluster = try Cluster(
                Manifest.pod("web", labels: ["app": "web"], node: "node2") + Manifest.shell(node: "node1") + Manifest.service("web", selector: ["app": "web"])
            ) {
                $0.nodes = 2
                $0.plugin = .flannelHostGateway
                $0.proxyMode = mode.planned
            }
            let outcome = try cluster.run("curl -sS http://\(try cluster.serviceAddress("web"))/", in: "shell")
            #expect(outcome.exit == 0, "\(mode): \(outcome)")
            #expect(cluster.imbalance == nil)
        }
    }

    @Test("Driven in one run or in many small steps: the same captures", arguments: [Duration.microseconds(7), .microseconds(333), .milliseconds(1)])
    func stepping(step: Duration) throws {
        func watched(_ drive: (Cluster, Instant) -> Void) throws -> Cluster {
            let cluster = try Cluster(Self.manifests) {
                $0.nodes = 2
                $0.plugin = .flannelHostGateway
            }
            _ = try cluster.start("curl -sS http://\(try cluster.address("web"))/; ping -c 1 192.168.50.12", in: "shell")
            drive(cluster, cluster.simulation.now + .milliseconds(60))
            return cluster
        }
        let whole = try watched { $0.simulation.run(until: $1) }
        let parts = try watched { cluster, end in
            while cluster.simulation.now < end { cluster.simulation.run(until: min(end, cluster.simulation.now + step)) }
        }
        #expect(whole.sights.count > 100)
        #expect(firstDifference(whole.sights, parts.sights) == nil)
        #expect(whole.simulation.books == parts.simulation.books)
        #expect(whole.simulation.eventCount == parts.simulation.eventCount)
    }
}
