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
    static func conversation(seed: UInt64, manifests: String = Manifest.threeServers, mode: ProxyModeUnderTest = .ipvs, isWatched: Bool = true) throws -> (cluster: Cluster, outcomes: [Cluster.Outcome]) {
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
        let first = try Self.conversation(seed: 7, mode: mode), second = try Self.conversation(seed: 7, mode: mode)
        #expect(first.cluster.sights.count > 100)
        #expect(firstDifference(first.cluster.sights, second.cluster.sights) == nil)
        #expect(first.outcomes == second.outcomes)
        #expect(first.cluster.simulation.eventCount == second.cluster.simulation.eventCount)
    }

    @Test("Another seed changes ports and numbers, not the conversation", arguments: [UInt64(2), 3, 99])
    func otherSeed(seed: UInt64) throws {
        let first = try Self.conversation(seed: 1), second = try Self.conversation(seed: seed)
        #expect(first.cluster.sights.map(\.bytes) != second.cluster.sights.map(\.bytes))
        let a = first.cluster.sights(at: "default/shell", "eth0").map(\.shape), b = second.cluster.sights(at: "default/shell", "eth0").map(\.shape)
        #expect(a == b, "\(zip(a, b).first { $0 != $1 }.map { "\($0)\n\($1)" } ?? "\(a.count) and \(b.count) frames")")
        let ports = [first, second].map { $0.cluster.sights(at: "default/shell", "eth0").filter(\.opensConnection).compactMap { $0.withTCP { $1.sourcePort } } }
        #expect(ports[0] != ports[1])
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
            let mine = try a.start(command, in: "shell"), other = try b.start(command, in: "shell")
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

    @Test("A pod nobody talks to changes nobody's ports and sequence numbers")
    func bystander() throws {
        func numbers(_ manifests: String) throws -> [String] {
            try Self.conversation(seed: 4, manifests: manifests).cluster.sights(at: "default/shell", "eth0").filter(\.opensConnection).compactMap { sight in
                sight.withTCP { "\($1.sourcePort) \($1.sequence)" }
            }
        }
        let without = try numbers(Manifest.threeServers), with = try numbers(Manifest.threeServers + Manifest.pod("zz-bystander"))
        #expect(!without.isEmpty)
        #expect(without == with)
    }

    @Test("Looking changes nothing: the same events, outputs and times without an observer")
    func observation() throws {
        let watched = try Self.conversation(seed: 3), unwatched = try Self.conversation(seed: 3, isWatched: false)
        #expect(watched.outcomes == unwatched.outcomes)
        #expect(watched.cluster.simulation.eventCount == unwatched.cluster.simulation.eventCount)
        #expect(watched.cluster.simulation.books == unwatched.cluster.simulation.books)
        #expect(watched.cluster.simulation.now == unwatched.cluster.simulation.now)
        #expect(unwatched.cluster.sights.isEmpty && !watched.cluster.sights.isEmpty)
    }
}
