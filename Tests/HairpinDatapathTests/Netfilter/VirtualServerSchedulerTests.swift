import HairpinEngine
import HairpinWire
import Testing

@testable import HairpinDatapath

/// The schedulers beside those of NetfilterVirtualServerTests, and what ipvsadm lists of connections. What is expected was recorded with Linux 6.1.176
/// (user-mode-linux of Debian 12): a client with the addresses 10.1.0.2 to 10.1.0.25, the service 10.96.0.20, servers added with `ipvsadm -a` in order.
@Suite("Virtual servers: locality, overflow and hashing")
struct VirtualServerSchedulerTests {
    private static func service(_ scheduler: VirtualService.Scheduler, _ weights: [Int], _ flags: VirtualService.Flags, persistence: Int? = nil) -> VirtualService {
        VirtualService(
            address: clusterIP, port: 80, scheduler: scheduler, flags: flags, persistence: persistence,
            servers: zip(NetfilterVirtualServerTests.pods, weights).map { VirtualService.Server(address: $0, port: 8080, weight: $1) })
    }

    private func host(_ scheduler: VirtualService.Scheduler, _ weights: [Int], _ flags: VirtualService.Flags = [], persistence: Int? = nil) throws -> FilterHost {
        var host = try FilterHost("")
        host.netfilter.setVirtualServices([Self.service(scheduler, weights, flags, persistence: persistence)])
        host.environment.locals.append(clusterIP)
        return host
    }

    /// The server of a connection that stays open, nine for none.
    private func open(_ host: inout FilterHost, _ port: UInt16, from client: UInt8 = 2) -> String {
        let syn = TestPacket(source: IPv4Address(10, 1, 0, client), destination: clusterIP, sourcePort: port, destinationPort: 80)
        let out = host.send(syn.bytes, through: [.prerouting, .localIn])
        _ = host.send(syn.with([.ack], sequence: 1001, acknowledgment: 1).bytes, through: [.prerouting, .localIn])
        return NetfilterVirtualServerTests.pods.firstIndex(of: out.destination).map(String.init) ?? "9"
    }

    static let byLoad: [(VirtualService.Scheduler, [Int], String)] = [
        (.localityLeastConnections, [1, 1, 1], "2211000000000000"), (.localityLeastConnections, [1, 2, 3], "2222111000000000"),
        (.localityLeastConnections, [5, 1, 1], "2211000000000000"), (.localityLeastConnections, [0, 1, 1], "2211111111111111"),
        (.localityLeastConnections, [2, 2, 2], "2221110000000000"),
        (.replicatedLocality, [1, 1, 1], "2211000120120120"), (.replicatedLocality, [1, 2, 3], "2222111002120122"), (.replicatedLocality, [5, 1, 1], "2211000000000001"),
        (.replicatedLocality, [0, 1, 1], "2211121212121212"), (.replicatedLocality, [2, 2, 2], "2221110000120120"),
        (.failOver, [1, 1, 1], "2222222222222222"), (.failOver, [5, 1, 1], "0000000000000000"), (.failOver, [0, 1, 1], "2222222222222222"),
        (.overflow, [1, 1, 1], "2211009999999999"), (.overflow, [1, 2, 3], "2222111009999999"), (.overflow, [5, 1, 1], "0000002211999999"),
        (.overflow, [0, 1, 1], "2211999999999999"), (.overflow, [2, 2, 2], "2221110009999999"),
    ]

    @Test("lblc, lblcr, fo and ovf choose as the kernel does, connection by connection", arguments: byLoad)
    func counted(scheduler: VirtualService.Scheduler, weights: [Int], expected: String) throws {
        var host = try host(scheduler, weights)
        defer { host.deallocate() }
        #expect((0..<16).map { open(&host, UInt16(20000 + $0)) }.joined() == expected)
    }

    @Test("lblc leaves a server that gets weight zero; lblcr gives up the busiest of its servers when nothing has changed for a day")
    func locality() throws {
        var host = try host(.localityLeastConnections, [1, 2, 3])
        #expect((0..<3).map { open(&host, UInt16(20000 + $0)) }.joined() == "222")
        host.netfilter.setVirtualServices([Self.service(.localityLeastConnections, [1, 2, 0], [])])
        #expect((3..<6).map { open(&host, UInt16(20000 + $0)) }.joined() == "111")
        host.deallocate()

        host = try self.host(.replicatedLocality, [1, 1, 1])
        #expect((0..<4).map { open(&host, UInt16(20000 + $0)) }.joined() == "2211")
        // Nobody is connected any more. The set has servers 1 and 2, the former at its head; a tie leaves it first.
        host.advance(.seconds(90_000))
        #expect(open(&host, 20010) == "1")
        // `ip_vs_dest_set_max` has taken the first of equals, which was 1.
        #expect(open(&host, 20011) == "2")
        host.deallocate()
    }

    static let byAddress: [(VirtualService.Scheduler, [Int], VirtualService.Flags, UInt16, String)] = [
        (.maglevHash, [1, 1, 1], [], 0, "200222211120202100220200"), (.maglevHash, [1, 1, 1], .port, 40000, "100201101112101011121122"),
        (.maglevHash, [1, 2, 3], [], 0, "200222221220202122220222"), (.maglevHash, [1, 2, 3], .port, 40000, "222211121112121021121122"),
        (.maglevHash, [0, 1, 1], [], 0, "211222211121222122221222"), (.maglevHash, [0, 1, 1], .port, 40000, "122211121112121111121122"),
        (.maglevHash, [100, 300, 7], [], 0, "100111111110101110100100"), (.maglevHash, [100, 300, 7], .port, 40000, "110111101111101011111111"),
        (.sourceHash, [1, 1, 1], .port, 41000, "220101020212121010102020"), (.sourceHash, [1, 2, 3], .port, 41000, "122121010112121020222222"),
        (.sourceHash, [1, 0, 1], .port, 41000, "220909020292929090902020"), (.sourceHash, [1, 1, 1], .fallback, 0, "201020202121210101020202"),
        (.sourceHash, [1, 2, 3], .fallback, 0, "102022222212122121010102"), (.sourceHash, [1, 0, 1], .fallback, 0, "200020202020200000020202"),
        (.sourceHash, [1, 1, 1], [.port, .fallback], 42000, "210101220201120210121020"), (.sourceHash, [1, 0, 1], [.port, .fallback], 42000, "200000220200020200020020"),
    ]

    @Test("mh and sh send clients, and with -port their ports, where the kernel sends them", arguments: byAddress)
    func hashed(scheduler: VirtualService.Scheduler, weights: [Int], flags: VirtualService.Flags, port: UInt16, expected: String) throws {
        var host = try host(scheduler, weights, flags)
        defer { host.deallocate() }
        let found = (0..<24).map { n in port == 0 ? open(&host, 20001, from: UInt8(2 + n)) : open(&host, port + UInt16(n)) }
        #expect(found.joined() == expected)
    }

    @Test("mh keeps its table while a server is at weight zero: its clients get none, or with mh-fallback another", arguments: [("900999991990909199990999", false), ("000111111110001111010110", true)])
    func quiesced(expected: String, fallsBack: Bool) throws {
        let flags: VirtualService.Flags = fallsBack ? .fallback : []
        var host = try host(.maglevHash, [1, 2, 3], flags)
        defer { host.deallocate() }
        host.netfilter.setVirtualServices([Self.service(.maglevHash, [1, 2, 0], flags)])
        #expect((0..<24).map { open(&host, 20001, from: UInt8(2 + $0)) }.joined() == expected)
        // Back again it has the clients it had; the last weight counts.
        host.netfilter.setVirtualServices([Self.service(.maglevHash, [1, 2, 3], flags)])
        #expect((0..<24).map { open(&host, 20002, from: UInt8(2 + $0)) }.joined() == "200222221220202122220222")
    }

    // MARK: Connections and figures

    @Test("Connections are listed with state and time left, a template while it lives; figures are those of the last estimate, rates a quarter of the way")
    func listing() throws {
        var host = try host(.roundRobin, [1, 1, 1], persistence: 60)
        defer { host.deallocate() }
        func pass(_ packet: TestPacket) { _ = host.send(packet.bytes, through: [.prerouting, .localIn]) }
        func answer(_ port: UInt16, _ flags: TCPFlags, payload: Int = 0) {
            var packet = TestPacket(source: podC, destination: IPv4Address(10, 1, 0, 2), sourcePort: 8080, destinationPort: port).with(flags, sequence: 5000, acknowledgment: 1001)
            packet.payload = payload
            _ = host.send(packet.bytes, through: FilterHost.forwarding, input: 3, output: 2)
        }
        let syn = TestPacket(source: IPv4Address(10, 1, 0, 2), destination: clusterIP, sourcePort: 20326, destinationPort: 80)
        pass(syn)
        answer(20326, [.syn, .ack])
        pass(syn.with([.ack], sequence: 1001, acknowledgment: 5001))
        answer(20326, [.psh, .ack], payload: 100)
        host.advance(.milliseconds(1500))
        let now = host.environment.now.nanoseconds
        let list = host.netfilter.virtualServers.connections(now: now).map { "\($0.clientPort) \($0.state) \($0.remaining) \($0.server):\($0.serverPort)" }
        #expect(list == ["0 ASSURED 58 10.244.0.4:8080", "20326 ESTABLISHED 898 10.244.0.4:8080"])
        // `estimation_timer` has not run yet.
        #expect(host.netfilter.virtualServers.statistics()[0].total.counters == VirtualServerCounters())
        host.netfilter.virtualServers.estimateRates()
        let first = host.netfilter.virtualServers.statistics()[0]
        #expect(first.total.counters.connections == 1 && first.total.counters.inPackets == 2 && first.total.counters.outPackets == 2)
        #expect(first.total.counters == first.servers[2].counters && first.servers[0].counters == VirtualServerCounters())
        let bytes = first.total.counters
        #expect(bytes.inBytes == UInt64(2 * syn.bytes.count) && bytes.outBytes == 180)
        #expect(first.total.rates.inBytes == (bytes.inBytes * 4 + 15) >> 5)
        // The end of the entry keeps what it has counted.
        host.advance(.seconds(2000))
        host.netfilter.virtualServers.expireEntries(now: host.environment.now.nanoseconds)
        host.netfilter.virtualServers.estimateRates()
        #expect(host.netfilter.virtualServers.statistics()[0].total.counters == first.total.counters)
        #expect(host.netfilter.virtualServers.statistics()[0].total.rates.inBytes < first.total.rates.inBytes)
        // A server that leaves and comes back begins at zero; the service goes on.
        host.netfilter.setVirtualServices([Self.service(.roundRobin, [1, 1], [], persistence: 60)])
        host.netfilter.setVirtualServices([Self.service(.roundRobin, [1, 1, 1], [], persistence: 60)])
        #expect(host.netfilter.virtualServers.statistics()[0].servers[2].counters.connections == 0)
        #expect(host.netfilter.virtualServers.statistics()[0].total.counters.connections == 1)
    }

    @Test("The figures show what the kernel's did: 2 connections, 6 packets in 328 bytes")
    func estimator() {
        // Recorded: after the first estimate 0 1 0 41 28 a second, after the next 0 1 0 31 21.
        var counters = VirtualServerCounters()
        (counters.connections, counters.inPackets, counters.outPackets, counters.inBytes, counters.outBytes) = (2, 6, 4, 328, 226)
        var rates = VirtualServerRates()
        func shown() -> [UInt64] {
            let rate = rates.rates
            return [rate.connections, rate.inPackets, rate.outPackets, rate.inBytes, rate.outBytes]
        }
        rates.estimate(counters)
        #expect(shown() == [0, 1, 0, 41, 28])
        rates.estimate(counters)
        #expect(shown() == [0, 1, 0, 31, 21])
    }

    @Test("An entry whose service has gone is nobody's: a change of another service with the same server neither takes its packets nor its count")
    func foreign() throws {
        var host = try FilterHost("")
        defer { host.deallocate() }
        host.environment.locals.append(clusterIP)
        func service(_ port: UInt16, _ servers: [IPv4Address]) -> VirtualService {
            VirtualService(address: clusterIP, port: port, servers: servers.map { VirtualService.Server(address: $0, port: 8080) })
        }
        let syn = TestPacket(source: outside, destination: clusterIP, sourcePort: 7000, destinationPort: 80)
        host.netfilter.setVirtualServices([service(80, [podA]), service(81, [podB])])
        #expect(host.send(syn.bytes, through: [.prerouting, .localIn]).destination == podA)
        // The service at 80 goes; that at 81, now the first, gets the server that the entry had.
        host.netfilter.setVirtualServices([service(81, [podB])])
        let isChanged = host.netfilter.changeVirtualServices([service(81, [podB, podA])])
        #expect(isChanged)
        #expect(host.send(syn.with([.ack], sequence: 1001, acknowledgment: 1).bytes, through: [.prerouting, .localIn]).dropReason == .noVirtualServer)
        host.advance(.seconds(1000))
        host.netfilter.virtualServers.expireEntries(now: host.environment.now.nanoseconds)
        #expect(host.netfilter.virtualServers.services[0].servers.allSatisfy { $0.active == 0 && $0.inactive == 0 })
        #expect(host.netfilter.virtualServers.statistics()[0].servers.allSatisfy { $0.counters.connections == 0 })
    }
}
