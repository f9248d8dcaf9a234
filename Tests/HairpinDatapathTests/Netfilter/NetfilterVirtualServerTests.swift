import HairpinEngine
import HairpinWire
import Testing

@testable import HairpinDatapath

@Suite("Virtual servers")
struct NetfilterVirtualServerTests {
    static let pods = [podA, podB, podC]

    func host(_ scheduler: VirtualService.Scheduler, weights: [Int] = [1, 1, 1], persistence: Int? = nil, rules: String = "") throws -> FilterHost {
        var host = try FilterHost(rules)
        let servers = zip(NetfilterVirtualServerTests.pods, weights).map { VirtualService.Server(address: $0, port: 8080, weight: $1) }
        host.netfilter.setVirtualServices([VirtualService(address: clusterIP, port: 80, scheduler: scheduler, persistence: persistence, servers: servers)])
        host.environment.locals.append(clusterIP)
        return host
    }

    func syn(_ port: UInt16, from client: IPv4Address = outside) -> TestPacket {
        TestPacket(source: client, destination: clusterIP, sourcePort: port, destinationPort: 80)
    }

    /// Index of the server each of `count` new connections gets, nine for none.
    func choices(_ host: inout FilterHost, _ count: Int, closes: Bool = false) -> [Int] {
        (0..<count).map { n in
            let packet = syn(UInt16(20000 + n))
            let out = host.send(packet.bytes, through: [.prerouting, .localIn])
            if !closes { _ = host.send(packet.with([.ack], sequence: 1001, acknowledgment: 1).bytes, through: [.prerouting, .localIn]) }
            return NetfilterVirtualServerTests.pods.firstIndex(of: out.destination) ?? 9
        }
    }

    @Test("Round robin goes through the servers in their order, beginning with the first")
    func roundRobin() throws {
        var host = try host(.roundRobin)
        defer { host.deallocate() }
        #expect(choices(&host, 7) == [0, 1, 2, 0, 1, 2, 0])
    }

    @Test("A server of weight zero is passed over; weights deal out turns")
    func weights() throws {
        var zero = try host(.roundRobin, weights: [1, 0, 1])
        defer { zero.deallocate() }
        #expect(choices(&zero, 4) == [0, 2, 0, 2])
        var weighted = try host(.weightedRoundRobin, weights: [3, 1, 2])
        defer { weighted.deallocate() }
        #expect(choices(&weighted, 6) == [0, 0, 2, 0, 1, 2])
        var none = try host(.roundRobin, weights: [0, 0, 0])
        defer { none.deallocate() }
        #expect(none.send(syn(1).bytes, through: [.prerouting, .localIn]).rejectKind == .icmp(code: 3))
    }

    @Test(
        "Least connection, shortest delay and never-queue go by load",
        arguments: [
            (VirtualService.Scheduler.leastConnections, [0, 1, 2, 0, 1, 2]), (.weightedLeastConnections, [0, 1, 2, 0, 0, 1]),
            (.shortestExpectedDelay, [0, 0, 1, 2, 0, 0]),
            (.neverQueue, [0, 1, 2, 0, 0, 0]),
        ])
    func load(scheduler: VirtualService.Scheduler, expected: [Int]) throws {
        var host = try host(scheduler, weights: [2, 1, 1])
        defer { host.deallocate() }
        #expect(choices(&host, 6) == expected)
    }

    @Test("Hashes keep a client, or a destination, at one server", arguments: [VirtualService.Scheduler.sourceHash, .destinationHash])
    func hashes(scheduler: VirtualService.Scheduler) throws {
        var host = try host(scheduler)
        defer { host.deallocate() }
        #expect(Set(choices(&host, 10)).count == 1)
    }

    @Test("Persistence keeps a client at its server for its time")
    func persistence() throws {
        var host = try host(.roundRobin, persistence: 60)
        defer { host.deallocate() }
        #expect(choices(&host, 3) == [0, 0, 0])
        host.advance(.seconds(61))
        #expect(host.send(syn(30000).bytes, through: [.prerouting, .localIn]).destination == podB)
    }

    @Test("A request is rewritten and goes on through routing; its answer comes from the service; the connection stays ESTABLISHED")
    func roundTrip() throws {
        let rules =
            "*nat\n-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE --random-fully\n-A PREROUTING -d \(clusterIP) -j MARK --set-xmark 0x4000/0x4000\nCOMMIT"
        var host = try host(.roundRobin, rules: rules)
        defer { host.deallocate() }
        let request = syn(40000)
        let frame = host.frame(request.bytes)
        guard case .accept = host.run(.prerouting, frame, input: 2, output: 0), case .reroute = host.run(.localIn, frame, input: 2, output: 0),
            case .accept = host.run(.localOut, frame, input: 0, output: 3), case .accept = host.run(.postrouting, frame, input: 0, output: 3)
        else {
            Issue.record("the request did not get through")
            return
        }
        let sent = Outcome(verdict: .accept, bytes: Array(host.pool[frame].pointee.bytes), mark: 0, info: host.pool[frame].pointee.connectionInfo)
        host.netfilter.release(frame, &host.pool)
        host.pool.free(frame)
        #expect(sent.source == IPv4Address(10, 244, 0, 1) && sent.destination == podA && sent.destinationPort == 8080)
        #expect(sent.timeToLive == 63 && sent.hasValidChecksums)

        let atServer = TestPacket(source: sent.source, destination: podA, sourcePort: sent.sourcePort, destinationPort: 8080)
        let back = host.send(atServer.reply([.syn, .ack]).bytes, through: FilterHost.forwarding, input: 3, output: 2)
        #expect(back.flow == "10.96.0.20:80 > 203.0.113.9:40000")
        #expect(back.info == .establishedReply && back.hasValidChecksums)

        let next = host.send(request.with([.ack], sequence: 1001, acknowledgment: 5001).bytes, through: [.prerouting, .localIn], input: 2)
        #expect(next.isReroute && next.info == .established && next.destination == podA)
        #expect(host.netfilter.virtualServers.services[0].servers[0].active == 1)
    }

    @Test("A segment without connection is left to the local stack; a removed server's packets are dropped")
    func strays() throws {
        var host = try host(.roundRobin)
        defer { host.deallocate() }
        #expect(host.send(syn(1).with([.ack], sequence: 1).bytes, through: [.prerouting, .localIn]).isAccepted)
        _ = host.send(syn(2).bytes, through: [.prerouting, .localIn])
        host.netfilter.setVirtualServices([VirtualService(address: clusterIP, port: 80, servers: [VirtualService.Server(address: podC, port: 8080)])])
        #expect(host.send(syn(2).bytes, through: [.prerouting, .localIn]).dropReason == .noVirtualServer)
        host.advance(.seconds(1000))
        #expect(host.send(syn(2).bytes, through: [.prerouting, .localIn]).destination == podC)
    }

    @Test("An idle connection is forgotten, and with it its server's load")
    func expiry() throws {
        var host = try host(.leastConnections)
        defer { host.deallocate() }
        _ = choices(&host, 3)
        host.advance(.seconds(901))
        _ = choices(&host, 1)
        #expect(host.netfilter.virtualServers.connectionCount == 1)
    }

    @Test("A packet that gets another server in the middle of a connection is held against the rules for that one")
    func newServer() throws {
        var host = try host(.roundRobin, weights: [0, 1, 0], rules: "*filter\n:OUTPUT DROP [0:0]\n-A OUTPUT -d \(podB) -j ACCEPT\nCOMMIT")
        defer { host.deallocate() }
        let query = TestPacket(source: outside, destination: clusterIP, sourcePort: 5000, destinationPort: 80, proto: .udp)
        host.netfilter.setVirtualServices([
            VirtualService(address: clusterIP, port: 80, proto: .udp, servers: [VirtualService.Server(address: podB, port: 8080)])
        ])
        /// What LOCAL_OUT says of a query that LOCAL_IN took; nil if it did not come so far.
        func ask(_ host: inout FilterHost) -> HookVerdict? {
            let frame = host.frame(query.bytes)
            defer { host.end(frame) }
            guard case .accept = host.run(.prerouting, frame, input: 2, output: 0), case .reroute = host.run(.localIn, frame, input: 2, output: 0) else { return nil }
            let verdict = host.run(.localOut, frame, input: 0, output: 3)
            if case .accept = verdict { _ = host.run(.postrouting, frame, input: 0, output: 3) }
            return verdict
        }
        var answer = query.reply([])
        (answer.source, answer.sourcePort) = (podB, 8080)
        for _ in 0..<4 {
            guard case .accept = ask(&host) else {
                Issue.record("the first server was refused")
                return
            }
            _ = host.send(answer.bytes, through: FilterHost.forwarding, input: 3, output: 2)
        }
        host.netfilter.setVirtualServices([
            VirtualService(address: clusterIP, port: 80, proto: .udp, servers: [VirtualService.Server(address: podC, port: 8080)])
        ])
        var last: HookVerdict?
        // The connection is kept alive until the server's entry has run out.
        for _ in 0..<8 {
            host.advance(.seconds(60))
            last = ask(&host) ?? last
        }
        guard case .drop(.ruleDrop) = last else {
            Issue.record("\(String(describing: last))")
            return
        }
    }
}
