import HairpinCluster
import HairpinDatapath
import HairpinEngine
import HairpinWire
import Testing

enum ProxyModeUnderTest: CaseIterable, Sendable {
    case iptables, ipvs
    var planned: ClusterConfiguration.ProxyMode { self == .ipvs ? .ipvs : .iptables }
}

/// The first place where two captures differ, for messages; nil when they are the same.
func firstDifference(_ a: [Sight], _ b: [Sight]) -> String? {
    for (n, (x, y)) in zip(a, b).enumerated() where x != y { return "frame \(n): \(x.text)\n      and: \(y.text)" }
    return a.count == b.count ? nil : "\(a.count) frames and \(b.count)"
}

@Suite("Determinism")
struct DeterminismTests {
    /// Names, a Service, a ping and a refused connection.
    static func conversation(
        seed: UInt64, manifests: String = Manifest.threeServers, mode: ProxyModeUnderTest = .ipvs, isWatched: Bool = true
    ) throws -> (cluster: Cluster, outcomes: [Cluster.Outcome]) {
        let cluster = try Cluster(manifests) {
            $0.proxyMode = mode.planned
            $0.hasDNS = true
            $0.seed = seed
            $0.isWatched = isWatched
        }
        let outcomes = [
            try cluster.run("curl -sS http://web/", in: "shell"), try cluster.run("ping -c 1 \(try cluster.address("web-1"))", in: "shell"),
            try cluster.run("curl -sS -m 5 http://\(try cluster.address("web-2")):81/", in: "shell"),
        ]
        return (cluster, outcomes)
    }

    @Test("The same seed gives the same bytes at the same times", arguments: ProxyModeUnderTest.allCases)
    func sameSeed(mode: ProxyModeUnderTest) throws {
        let first = try Self.conversation(seed: 7, mode: mode)
        let second = try Self.conversation(seed: 7, mode: mode)
        #expect(first.cluster.sights.count > 100)
        #expect(firstDifference(first.cluster.sights, second.cluster.sights) == nil)
        #expect(first.outcomes == second.outcomes)
        #expect(first.cluster.simulation.eventCount == second.cluster.simulation.eventCount)
    }

    @Test("Another seed changes ports and numbers, not the conversation", arguments: [UInt64(2), 3, 99])
    func otherSeed(seed: UInt64) throws {
        let first = try Self.conversation(seed: 1)
        let second = try Self.conversation(seed: seed)
        #expect(first.cluster.sights.map({ $0.bytes }) != second.cluster.sights.map({ $0.bytes }))
        let a = first.cluster.sights(at: "default/shell", "eth0").map(\.shape)
        let b = second.cluster.sights(at: "default/shell", "eth0").map(\.shape)
        #expect(a == b, "\(zip(a, b).first { $0 != $1 }.map { "\($0)\n\($1)" } ?? "\(a.count) and \(b.count) frames")")
        let ports = [first, second].map { $0.cluster.sights(at: "default/shell", "eth0").filter(\.opensConnection).compactMap { $0.withTCP { $1.sourcePort } } }
        #expect(ports[0] != ports[1])
    }

    @Test("The checks would notice: one flipped bit is a wrong checksum and a different capture")
    func checksAreAlive() throws {
        let cluster = try Cluster(Manifest.serverAndShell)
        #expect(try cluster.run("curl -sS http://\(try cluster.address("web"))/ && ping -c 1 10.244.0.1", in: "shell").exit == 0)
        let sights = cluster.sights
        for (n, sight) in sights.enumerated() where !sight.isARP {
            #expect(sight.wrongChecksum == nil)
            var flipped = sight
            flipped.bytes[sight.bytes.count - 1] ^= 4
            #expect(flipped.wrongChecksum != nil)
            var other = sights
            other[n] = flipped
            #expect(firstDifference(sights, other) != nil)
        }
    }

    @Test("Two simulations side by side do not know of each other")
    func sideBySide() throws {
        let alone = try Self.conversation(seed: 5)
        let a = try Cluster(Manifest.threeServers) { ($0.proxyMode, $0.hasDNS, $0.seed) = (.ipvs, true, 5) }
        let b = try Cluster(Manifest.threeServers) { ($0.proxyMode, $0.hasDNS, $0.seed) = (.iptables, true, 6) }
        // Interleaved in small steps; `a` does what `alone` did.
        let commands = ["curl -sS http://web/", "ping -c 1 \(try a.address("web-1"))", "curl -sS -m 5 http://\(try a.address("web-2")):81/"]
        var outcomes: [Cluster.Outcome] = []
        for command in commands {
            let mine = try a.start(command, in: "shell")
            let other = try b.start(command, in: "shell")
            while mine.exitStatus == nil {
                a.simulation.run(until: a.simulation.now + .microseconds(500)) { mine.exitStatus == nil }
                b.simulation.run(until: b.simulation.now + .microseconds(700))
            }
            a.advance(.milliseconds(500))
            outcomes.append(a.outcome(mine))
            b.advance(.seconds(10))
            #expect(other.exitStatus != nil)
        }
        #expect(firstDifference(alone.cluster.sights, a.sights) == nil)
        #expect(outcomes == alone.outcomes)
        #expect(a.imbalance == nil && b.imbalance == nil)
    }

    @Test("Simulations on several threads at once give what each gives alone")
    func threads() async throws {
        func bytes(_ seed: UInt64) throws -> [[UInt8]] { try Self.conversation(seed: seed).cluster.sights.map(\.bytes) }
        let alone = try (1...3).map { try bytes(UInt64($0)) }
        let together = try await withThrowingTaskGroup(of: (Int, [[UInt8]]).self) { group in
            for n in 0..<3 { group.addTask { (n, try bytes(UInt64(n + 1))) } }
            var result = [[[UInt8]]](repeating: [], count: 3)
            for try await (n, frames) in group { result[n] = frames }
            return result
        }
        #expect(together == alone)
    }

    @Test("A pod nobody talks to changes nobody's random numbers")
    func bystander() throws {
        func openings(_ manifests: String) throws -> [(port: UInt16, sequence: UInt32)] {
            let cluster = try Cluster(manifests) { $0.seed = 4 }
            let web = try cluster.address("web-2")
            // The ping finds out the neighbour, so that no SYN has to wait for ARP after its number was chosen.
            #expect(try cluster.run("ping -c 1 \(web) && curl -sS http://\(web)/ && curl -sS http://\(web)/", in: "shell").exit == 0)
            return cluster.sights(at: "default/shell", "eth0").filter(\.opensConnection).compactMap { sight in
                sight.withTCP { ip, tcp in
                    // An initial sequence number is a hash plus a clock of 64 ns (RFC 6528), and one more port on the bridge to flood takes
                    // processor time: without the clock the hash is left.
                    (tcp.sourcePort, tcp.sequence.rawValue &- UInt32(truncatingIfNeeded: sight.time.nanoseconds >> 6))
                }
            }
        }
        let without = try openings(Manifest.threeServers)
        let with = try openings(Manifest.threeServers + Manifest.pod("zz-bystander"))
        #expect(without.count == 2)
        #expect(without.map(\.port) == with.map(\.port))
        // One tick for the rounding of each time.
        for (a, b) in zip(without, with) { #expect(abs(Int32(bitPattern: a.sequence &- b.sequence)) <= 1) }
    }

    @Test("A pod on another node changes nothing at all, to the byte and the nanosecond")
    func distantBystander() throws {
        func seen(_ extra: String) throws -> [Sight] {
            let cluster = try Cluster(Manifest.pod("web", node: "node1") + Manifest.shell(node: "node1") + extra) { $0.nodes = 2 }
            let outcome = try cluster.run("curl -sS http://\(try cluster.address("web"))/", in: "shell")
            #expect(outcome.exit == 0, "\(outcome)")
            return cluster.sights.filter { $0.host != "node2" && $0.host != "default/zz-bystander" }
        }
        let without = try seen("")
        let with = try seen(Manifest.pod("zz-bystander", node: "node2"))
        #expect(without.contains { $0.opensConnection })
        #expect(firstDifference(without, with) == nil)
    }

    @Test("Looking changes nothing: the same events, outputs and times without an observer")
    func observation() throws {
        let watched = try Self.conversation(seed: 3)
        let unwatched = try Self.conversation(seed: 3, isWatched: false)
        #expect(watched.outcomes == unwatched.outcomes)
        #expect(watched.cluster.simulation.eventCount == unwatched.cluster.simulation.eventCount)
        #expect(watched.cluster.simulation.books == unwatched.cluster.simulation.books)
        #expect(watched.cluster.simulation.now == unwatched.cluster.simulation.now)
        #expect(unwatched.cluster.sights.isEmpty && !watched.cluster.sights.isEmpty)
    }
}
