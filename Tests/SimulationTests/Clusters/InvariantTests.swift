import HairpinDatapath
import HairpinEngine
import HairpinHost
import HairpinWire
import Testing

/// What holds in every cluster, whatever people type in it. One seed makes the cluster, the commands and their times; a failure names it.
@Suite("Invariants of random clusters")
struct InvariantTests {
    @Test("Books, checksums, times and hop limits", arguments: UInt64(1)...24)
    func invariants(seed: UInt64) throws {
        var draw = Draw(random: SeededRandom(seed: seed, name: "invariants"))
        let nodes = draw.number(1...3)
        let pods = draw.number(1...6)
        var manifests = ""
        for n in 1...pods {
            let server = draw.pick(["nginx:1.27.0", "httpd:2.4", "redis:7", "traefik/whoami"])
            manifests += Manifest.pod(
                "pod-\(n)", containers: [("main", server, nil), ("tools", "alpine:3.20", "sleep, infinity")], labels: ["group": "g\(draw.number(1...2))"])
        }
        manifests += Manifest.service("one", selector: ["group": "g1"]) + Manifest.service("two", selector: ["group": "g2"])
        let isIPVS = draw.chance(50)
        let hasDNS = draw.chance(50)
        let isFlannel = draw.chance(50)
        let cluster = try Cluster(manifests) {
            $0.nodes = nodes
            $0.seed = seed
            $0.hasDNS = hasDNS
            $0.proxyMode = isIPVS ? .ipvs : .iptables
            $0.plugin = isFlannel ? .flannelHostGateway : .bridge
        }
        if nodes > 1, draw.chance(30) {
            #expect(
                cluster.simulation.setFault(
                    host: "node\(draw.number(1...nodes))", interface: "eth0", lossPerBillion: UInt32(draw.number(1...300)) * 1_000_000, isCut: draw.chance(20)))
        }
        let targets =
            try (1...pods).map { "\(try cluster.address("pod-\($0)"))" } + [try cluster.serviceAddress("one"), try cluster.serviceAddress("two")].map(\.description)
            + ["10.244.0.1", "10.244.0.200", "10.244.77.7", "192.168.50.11", "192.168.50.77", "8.8.8.8", "127.0.0.1", "10.96.99.99"]
            + ["one", "two.default.svc.cluster.local", "no-such-name", "0.0.0.0", "255.255.255.255"]
        var running: [(command: String, handle: ProcessHandle)] = []
        for _ in 0..<draw.number(4...10) {
            let target = draw.pick(targets)
            let port = draw.pick([80, 81, 6379, 53])
            let command = draw.pick([
                "curl -sS -m 4 http://\(target):\(port)/", "ping -c 2 -W 1 \(target)", "ping -c 1 -W 1 -s \(draw.number(0...4000)) \(target)",
                "nc -z -w 2 \(target) \(port)",
                "echo PING | nc -w 1 \(target) \(port)", "echo hello | nc -u -w 1 \(target) \(port)",
                "for i in 1 2 3; do curl -s -m 2 http://\(target)/ > /dev/null; done",
            ])
            let handle = try cluster.start(command, in: "pod-\(draw.number(1...pods))", container: "tools")
            running.append((command, handle))
            cluster.advance(.microseconds(Int64(draw.number(0...3000))))
            #expect(cluster.imbalance == nil, "seed \(seed)")
            if draw.chance(10) { handle.kill(signal: 9) }
        }
        cluster.advance(.seconds(90))
        for (command, handle) in running { #expect(handle.exitStatus != nil, "seed \(seed): \(command) still runs") }
        #expect(cluster.imbalance == nil, "seed \(seed)")
        check(cluster, seed: seed)
    }

    private func check(_ cluster: Cluster, seed: UInt64) {
        var last: [String: Instant] = [:]
        for sights in cluster.sightsByProcess {
            for sight in sights {
                if let wrong = sight.wrongChecksum {
                    Issue.record("seed \(seed): \(wrong): \(sight.text)")
                    return
                }
                if let before = last[sight.place], sight.time < before {
                    Issue.record("seed \(seed): time goes backwards from \(before): \(sight.text)")
                    return
                }
                last[sight.place] = sight.time
                if let timeToLive = sight.withIPv4({ $0.timeToLive }), timeToLive == 0 {
                    Issue.record("seed \(seed): TTL 0: \(sight.text)")
                    return
                }
                // What a bridge passes up has been put together from its fragments for connection tracking; a cable never carries more than 1514.
                if !["lo", "cni0"].contains(sight.interface), sight.bytes.count > 1514 {
                    Issue.record("seed \(seed): \(sight.bytes.count) bytes are more than a cable takes: \(sight.text)")
                    return
                }
                // Loopback addresses never leave a host (RFC 1122 §3.2.1.3).
                if sight.interface != "lo", sight.source?.isLoopback == true || sight.destination?.isLoopback == true {
                    Issue.record("seed \(seed): a loopback address on the wire: \(sight.text)")
                    return
                }
            }
        }
    }
}
