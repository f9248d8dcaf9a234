import HairpinEngine
import HairpinProxy
import HairpinWire
import Testing

@testable import HairpinDatapath

/// How kube-proxy's choices are spread, over a hundred thousand connections. The first few thousand are frames through every hook, the others first
/// packets shown to the table that those frames meet.
@Suite("The spread of choices")
struct ChoiceTests {
    private static let connections = 100_000
    private static let frames = 4_000
    private static let rules = """
        *nat
        :PREROUTING ACCEPT [0:0]
        :KUBE-SERVICES - [0:0]
        -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
        COMMIT
        """

    private func table(_ mode: ServiceProxyMode, endpoints: Int, affinity: Int? = nil) -> ServiceTable {
        let settings = ProxySettings(
            mode: mode, nodeName: "node1", nodeAddress: ServiceAddress(node), podRanges: [ServicePrefix(IPv4Prefix(IPv4Address(10, 244, 0, 0), length: 16))],
            serviceRanges: [ServicePrefix(IPv4Prefix(IPv4Address(10, 96, 0, 0), length: 12))])
        var rules = ServicePortRules(namespace: "default", service: "web", proto: 6, clusterAddress: ServiceAddress(clusterIP), port: 80)
        rules.affinitySeconds = affinity
        let list = (0..<endpoints).map { ProxyEndpoint(address: ServiceAddress(IPv4Address(10, 244, 1, UInt8($0 + 1))), port: 8080) }
        return ServiceTable(settings, services: [(rules, list)])
    }

    /// Endpoints by the last byte of their addresses, less one.
    private func spread(_ mode: ServiceProxyMode, endpoints: Int) throws -> [Int] {
        var host = try FilterHost("")
        defer { host.deallocate() }
        host.netfilter = Netfilter(rules: try RuleSet(parsing: mode == .nftables ? "" : ChoiceTests.rules))
        let services = table(mode, endpoints: endpoints)
        host.netfilter.setServices(services)
        var counts = [Int](repeating: 0, count: endpoints)
        for number in 0..<ChoiceTests.frames {
            let packet = TestPacket(source: podA, destination: clusterIP, sourcePort: UInt16(1024 + number), destinationPort: 80)
            let outcome = host.forward(packet)
            #expect(outcome.isAccepted && outcome.destinationPort == 8080)
            counts[Int(outcome.destination.rawValue & 0xff) - 1] += 1
        }
        let frame = host.frame(TestPacket(source: podA, destination: clusterIP, sourcePort: 1, destinationPort: 80).bytes)
        let packet = try #require(PacketHeaders(host.pool[frame], offset: 0))
        let flow = try #require(ServiceFlow(packet, host.environment))
        for _ in ChoiceTests.frames..<ChoiceTests.connections {
            guard case .translate(let range, isSource: false)? = host.netfilter.program.translate(services, flow, host.pool[frame], packet, &host.environment) else {
                Issue.record("not translated")
                break
            }
            counts[Int(range.low & 0xff) - 1] += 1
        }
        host.pool.free(frame)
        return counts
    }

    /// The sum of (seen - expected)² / expected.
    private func chiSquared(_ counts: [Int]) -> Double {
        let expected = Double(counts.reduce(0, +)) / Double(counts.count)
        return counts.reduce(0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
    }

    /// Values that chance exceeds once in a thousand times, for one degree of freedom less than endpoints.
    private static let limits = [2: 10.83, 3: 13.82, 7: 22.46, 10: 27.88, 50: 85.35]

    @Test("iptables' chain of probabilities and nftables' one draw are uniform", arguments: [ServiceProxyMode.iptables, .nftables], [2, 3, 7, 10, 50])
    func uniform(mode: ServiceProxyMode, endpoints: Int) throws {
        let counts = try spread(mode, endpoints: endpoints)
        #expect(counts.reduce(0, +) == ChoiceTests.connections)
        let value = chiSquared(counts)
        let limit = try #require(ChoiceTests.limits[endpoints])
        #expect(value < limit, "\(counts)")
        // Too even would be no chance either.
        #expect(value > 0)
    }

    @Test("The test would notice a chain whose probabilities are all the same")
    func power() throws {
        // 1/3, 1/3 of the rest, and what is left.
        var random = SeededRandom(seed: 1, name: "biased")
        var counts = [0, 0, 0]
        for _ in 0..<ChoiceTests.connections { counts[random.below(3) == 0 ? 0 : random.below(3) == 0 ? 1 : 2] += 1 }
        #expect(chiSquared(counts) > 1000)
    }

    @Test("IPVS deals out turns exactly", arguments: [3, 7, 50])
    func turns(servers: Int) throws {
        var host = try FilterHost("")
        defer { host.deallocate() }
        let list = (0..<servers).map { VirtualService.Server(address: IPv4Address(10, 244, 1, UInt8($0 + 1)), port: 8080, weight: 1) }
        host.netfilter.setVirtualServices([VirtualService(address: clusterIP, port: 80, scheduler: .roundRobin, persistence: nil, servers: list)])
        host.environment.locals.append(clusterIP)
        var previous = 0
        var counts = [Int](repeating: 0, count: servers)
        for number in 0..<ChoiceTests.frames {
            let packet = TestPacket(source: outside, destination: clusterIP, sourcePort: UInt16(1024 + number), destinationPort: 80)
            let chosen = Int(host.send(packet.bytes, through: [.prerouting, .localIn]).destination.rawValue & 0xff) - 1
            #expect(chosen == (previous + servers - 1) % servers)
            previous = chosen
            counts[chosen] += 1
        }
        let bytes = TestPacket(source: podA, destination: clusterIP, sourcePort: 1, destinationPort: 80).bytes
        let frame = host.frame(bytes)
        var packet = try #require(PacketHeaders(host.pool[frame], offset: 0))
        for number in ChoiceTests.frames..<ChoiceTests.connections {
            (packet.source, packet.sourcePort) = (podA.rawValue + UInt32(number >> 15), UInt16(1024 + number & 0x7fff))
            guard case .forward(let change) = host.netfilter.virtualServers.request(packet, isTracked: false, now: host.environment.now.nanoseconds) else {
                Issue.record("not forwarded")
                break
            }
            counts[Int(change.address & 0xff) - 1] += 1
        }
        host.pool.free(frame)
        #expect(counts.reduce(0, +) == ChoiceTests.connections)
        let least = ChoiceTests.connections / servers
        #expect(counts.allSatisfy { $0 == least || $0 == least + 1 }, "\(counts)")
    }

    @Test(
        "Affinity: each of a thousand clients keeps its endpoint, clients are spread evenly, and the timeout ends it", arguments: [ServiceProxyMode.iptables, .nftables])
    func sticky(mode: ServiceProxyMode) throws {
        var host = try FilterHost("")
        defer { host.deallocate() }
        host.netfilter = Netfilter(rules: try RuleSet(parsing: mode == .nftables ? "" : ChoiceTests.rules))
        let services = table(mode, endpoints: 10, affinity: 60)
        host.netfilter.setServices(services)
        let clients = 1000
        var first = [UInt32](repeating: 0, count: clients)
        let frame = host.frame(TestPacket(source: podA, destination: clusterIP, sourcePort: 1, destinationPort: 80).bytes)
        var packet = try #require(PacketHeaders(host.pool[frame], offset: 0))
        var moved = 0
        for number in 0..<ChoiceTests.connections {
            let client = number % clients
            let source = IPv4Address(10, 244, UInt8(2 + client / 250), UInt8(1 + client % 250))
            let chosen: UInt32
            if number < 2 * clients {
                chosen = host.forward(TestPacket(source: source, destination: clusterIP, sourcePort: UInt16(1024 + number / clients), destinationPort: 80)).destination.rawValue
            } else {
                packet.source = source.rawValue
                let flow = try #require(ServiceFlow(packet, host.environment))
                guard case .translate(let range, isSource: false)? = host.netfilter.program.translate(services, flow, host.pool[frame], packet, &host.environment) else {
                    Issue.record("not translated")
                    break
                }
                chosen = range.low
            }
            if number < clients { first[client] = chosen } else if first[client] != chosen { moved += 1 }
            if client == 0 { host.advance(.milliseconds(500)) }
        }
        #expect(moved == 0)
        var counts = [Int](repeating: 0, count: 10)
        for chosen in first { counts[Int(chosen & 0xff) - 1] += 1 }
        #expect(chiSquared(counts) < 27.88, "\(counts)")
        // A minute and more without a connection: the choice is free again.
        host.advance(.seconds(61))
        var changed = 0
        for client in 0..<clients {
            packet.source = IPv4Address(10, 244, UInt8(2 + client / 250), UInt8(1 + client % 250)).rawValue
            let flow = try #require(ServiceFlow(packet, host.environment))
            let verdict = host.netfilter.program.translate(services, flow, host.pool[frame], packet, &host.environment)
            if case .translate(let range, isSource: false)? = verdict, range.low != first[client] { changed += 1 }
        }
        #expect(changed > 800 && changed < 980, "\(changed)")
        host.pool.free(frame)
    }
}
