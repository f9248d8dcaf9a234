import HairpinDatapath
import HairpinEngine
import HairpinWire
import Testing

@testable import HairpinHost

/// Every frame's end has a name, whatever goes wrong.
@Suite("Books")
struct BooksTests {
    static let twoNodes = Manifest.pod("web", node: "node2") + Manifest.shell(node: "node1")

    func twoNodes(seed: UInt64 = 1) throws -> Cluster {
        try Cluster(Self.twoNodes) { ($0.nodes, $0.plugin, $0.seed) = (2, .flannelHostGateway, seed) }
    }

    @Test("They balance after every event, not only at the end")
    func afterEveryEvent() throws {
        let cluster = try Cluster(Manifest.serverAndShell)
        let handle = try cluster.start("curl -sS http://\(try cluster.address("web"))/", in: "shell")
        var looks = 0
        var wrong = 0
        var mostInFlight: UInt64 = 0
        cluster.simulation.run(until: cluster.simulation.now + .seconds(5)) {
            looks += 1
            if cluster.imbalance != nil { wrong += 1 }
            mostInFlight = max(mostInFlight, cluster.simulation.books.inFlight)
            return handle.exitStatus == nil
        }
        #expect(handle.exitStatus == 0)
        #expect(looks >= 5)
        #expect(wrong == 0)
        cluster.advance(.seconds(1))
        #expect(cluster.simulation.books.inFlight == 0)
    }

    @Test("In the middle of an exchange between nodes, window by window")
    func betweenNodes() throws {
        let cluster = try twoNodes()
        let handle = try cluster.start("curl -sS http://\(try cluster.address("web"))/", in: "shell")
        var wrong = 0
        var mostInFlight: UInt64 = 0
        cluster.simulation.run(until: cluster.simulation.now + .seconds(5)) {
            if cluster.imbalance != nil { wrong += 1 }
            mostInFlight = max(mostInFlight, cluster.simulation.books.inFlight)
            return handle.exitStatus == nil
        }
        #expect(handle.exitStatus == 0 && wrong == 0)
        #expect(mostInFlight > 0)
        cluster.advance(.seconds(1))
        #expect(cluster.imbalance == nil && cluster.simulation.books.inFlight == 0)
    }

    @Test("With one frame in twenty lost on the cable, TCP still gets through", arguments: [UInt64(1), 2, 3])
    func loss(seed: UInt64) throws {
        let cluster = try twoNodes(seed: seed)
        for node in ["node1", "node2"] { #expect(cluster.simulation.setFault(host: node, interface: "eth0", lossPerBillion: 50_000_000, isCut: false)) }
        let outcome = try cluster.run(
            "i=0; while [ $i -lt 20 ]; do curl -sS -o /dev/null http://\(try cluster.address("web"))/ || exit 1; i=$((i+1)); done", in: "shell", patience: .seconds(900))
        #expect(outcome.exit == 0, "\(outcome)")
        #expect(cluster.simulation.books.dropsByReason[Int(DropReason.linkLoss.rawValue)] > 0)
        #expect(cluster.imbalance == nil)
    }

    @Test("A cable cut in the middle of a download, and mended: the download ends well")
    func cut() throws {
        let cluster = try twoNodes()
        let handle = try cluster.start("curl -sS http://\(try cluster.address("web"))/", in: "shell")
        // The request is on its way when the cable breaks.
        cluster.simulation.run(until: cluster.simulation.now + .seconds(1)) { !cluster.sights(at: "node1", "eth0").contains { $0.isTCP } }
        #expect(cluster.simulation.setFault(host: "node1", interface: "eth0", lossPerBillion: 0, isCut: true))
        cluster.advance(.seconds(2))
        #expect(handle.exitStatus == nil)
        #expect(cluster.imbalance == nil)
        #expect(cluster.simulation.books.dropped > 0)
        #expect(cluster.simulation.setFault(host: "node1", interface: "eth0", lossPerBillion: 0, isCut: false))
        cluster.advance(.seconds(60))
        #expect(handle.exitStatus == 0, "\(cluster.outcome(handle))")
        #expect(cluster.imbalance == nil)
    }

    @Test("Cut for good: curl gives up, and every frame it sent has an end")
    func cutForGood() throws {
        let cluster = try twoNodes()
        #expect(cluster.simulation.setFault(host: "node2", interface: "eth0", lossPerBillion: 0, isCut: true))
        let outcome = try cluster.run("curl -sS -m 10 http://\(try cluster.address("web"))/", in: "shell")
        #expect(outcome.exit == 28 || outcome.exit == 7, "\(outcome)")
        cluster.advance(.seconds(30))
        #expect(cluster.imbalance == nil && cluster.simulation.books.inFlight == 0)
    }

    @Test("A client killed in the middle of a request leaves nothing behind")
    func killedClient() throws {
        for delay in [Int64(0), 1, 2, 3, 5] {
            let cluster = try Cluster(Manifest.serverAndShell)
            let handle = try cluster.start("curl -sS http://\(try cluster.address("web"))/", in: "shell")
            cluster.advance(.microseconds(delay * 700))
            handle.kill(signal: 9)
            cluster.advance(.seconds(100))
            #expect(handle.exitStatus == 137 || handle.exitStatus == 0)
            #expect(cluster.imbalance == nil && cluster.simulation.books.inFlight == 0)
        }
    }

    @Test("What a killed shell was running ends with it")
    func killedShell() throws {
        let cluster = try Cluster(Manifest.serverAndShell)
        let handle = try cluster.start("ping -c 1000 \(try cluster.address("web")); echo never", in: "shell")
        cluster.advance(.seconds(3))
        handle.kill(signal: 9)
        let output = handle.output
        cluster.advance(.seconds(1))
        cluster.forget()
        cluster.advance(.seconds(5))
        #expect(!cluster.sights.contains { describe($0.bytes).contains("ICMP echo") })
        #expect(handle.output == output)
        #expect(cluster.imbalance == nil)
    }

    @Test("A killed server refuses the next connection")
    func killedServer() throws {
        let cluster = try Cluster(Manifest.serverAndShell)
        let url = "http://\(try cluster.address("web"))/"
        #expect(try cluster.run("curl -sS -o /dev/null \(url)", in: "shell").exit == 0)
        try #require(cluster.servers["web/main"]).kill(signal: 9)
        let outcome = try cluster.run("curl -sS \(url)", in: "shell")
        #expect(outcome.exit == 7 && outcome.errorOutput.contains("port 80 after 0 ms"), "\(outcome)")
        #expect(cluster.imbalance == nil)
    }

    @Test("Garbage at every kind of interface is dropped by name, and the cluster goes on", arguments: UInt64(1)...12)
    func garbage(seed: UInt64) throws {
        let cluster = try Cluster(Manifest.serverAndShell)
        let web = try cluster.address("web")
        #expect(try cluster.run("curl -sS -o /dev/null http://\(web)/", in: "shell").exit == 0)
        // Real frames are the best start for wrong ones.
        let models = cluster.sights.filter { $0.interface != "lo" }.map(\.bytes)
        var random = SeededRandom(seed: seed, name: "garbage")
        let interfaces = cluster.simulation.tapInterfaces.filter { $0.name != "lo" && $0.host != "node1" || $0.name.hasPrefix("veth") }
        for _ in 0..<400 {
            var frame: [UInt8]
            if random.below(4) == 0 {
                frame = (0..<Int(1 + random.below(120))).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            } else {
                frame = models[Int(random.below(UInt32(models.count)))]
                for _ in 0..<(1 + random.below(4)) { frame[Int(random.below(UInt32(frame.count)))] = UInt8(truncatingIfNeeded: random.next()) }
                if random.below(4) == 0 { frame.removeLast(Int(random.below(UInt32(frame.count)))) }
            }
            let target = interfaces[Int(random.below(UInt32(interfaces.count)))]
            frame.withUnsafeBytes {
                cluster.simulation.kernels[target.process].process.inject(
                    $0, packetID: 1 << 60, arrival: cluster.simulation.now + .microseconds(5), interface: target.index)
            }
            cluster.advance(.microseconds(50))
            #expect(cluster.imbalance == nil, "seed \(seed)")
        }
        cluster.advance(.seconds(5))
        let outcome = try cluster.run("curl -sS -o /dev/null http://\(web)/", in: "shell")
        #expect(outcome.exit == 0, "seed \(seed): \(outcome)")
        #expect(cluster.imbalance == nil, "seed \(seed)")
    }
}
