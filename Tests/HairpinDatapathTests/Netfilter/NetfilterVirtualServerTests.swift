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
        _ = host.set(sysctl: "net.ipv4.vs.expire_nodest_conn", to: 1)
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

    // MARK: Graceful termination

    private func service(_ servers: [IPv4Address], proto: IPProtocol = .tcp) -> VirtualService {
        VirtualService(address: clusterIP, port: 80, proto: proto, servers: servers.map { VirtualService.Server(address: $0, port: 8080) })
    }

    private func weights(_ host: FilterHost) -> [String] {
        host.netfilter.virtualServers.services[0].servers.map { "\($0.configured.address) \($0.configured.weight) \($0.active) \($0.inactive)" }
    }

    @Test("A server of TCP that leaves stays with weight zero while it has connections; they go on, new ones go elsewhere; without, it goes at once")
    func gracefully() throws {
        var host = try host(.roundRobin)
        defer { host.deallocate() }
        host.netfilter.setVirtualServices([service([podA, podB, podC])])
        // To A and to B; A's is established.
        #expect(host.send(syn(1).bytes, through: [.prerouting, .localIn]).destination == podA)
        _ = host.send(syn(1).with([.ack], sequence: 1001, acknowledgment: 1).bytes, through: [.prerouting, .localIn])
        #expect(host.send(syn(2).bytes, through: [.prerouting, .localIn]).destination == podB)
        host.netfilter.setVirtualServicesGracefully([service([podB])], now: host.environment.now.nanoseconds)
        #expect(weights(host) == ["\(podB) 1 0 1", "\(podA) 0 1 0"], "C has no connection: it is gone")
        #expect(host.send(syn(1).with([.ack], sequence: 1001, acknowledgment: 1).bytes, through: [.prerouting, .localIn]).destination == podA)
        for port in UInt16(10)..<14 { #expect(host.send(syn(port).bytes, through: [.prerouting, .localIn]).destination == podB) }
        let isLeft = host.netfilter.virtualServers.endTerminated(now: host.environment.now.nanoseconds)
        // 900 s after its last packet an established connection is forgotten.
        host.advance(.seconds(901))
        #expect(weights(host).count == 2)
        let isLeftThen = host.netfilter.virtualServers.endTerminated(now: host.environment.now.nanoseconds)
        #expect(isLeft && !isLeftThen && weights(host) == ["\(podB) 1 0 0"])
    }

    @Test("A server that comes back is as before, with its connections; one of UDP goes at once, connections or not")
    func returns() throws {
        var host = try host(.roundRobin)
        defer { host.deallocate() }
        host.netfilter.setVirtualServices([service([podA, podB])])
        _ = host.send(syn(1).bytes, through: [.prerouting, .localIn])
        host.netfilter.setVirtualServicesGracefully([service([podB])], now: 0)
        host.netfilter.setVirtualServicesGracefully([service([podA, podB])], now: 0)
        #expect(weights(host) == ["\(podA) 1 0 1", "\(podB) 1 0 0"] && host.netfilter.virtualServers.terminating.isEmpty)
        host.netfilter.setVirtualServices([service([podA], proto: .udp)])
        let query = TestPacket(source: outside, destination: clusterIP, sourcePort: 5000, destinationPort: 80, proto: .udp)
        #expect(host.send(query.bytes, through: [.prerouting, .localIn]).destination == podA)
        host.netfilter.setVirtualServicesGracefully([service([podB], proto: .udp)], now: 0)
        #expect(weights(host) == ["\(podB) 1 0 0"])
    }

    @Test("conn_reuse_mode: a SYN on the ports of a connection that is over gets a new turn, or with 0 its old server", arguments: [0, 1])
    func reuse(mode: Int) throws {
        var host = try host(.roundRobin)
        defer { host.deallocate() }
        host.netfilter.setVirtualServices([service([podA, podB])])
        let isKnown = (host.set(sysctl: "net.ipv4.vs.conn_reuse_mode", to: mode), host.set(sysctl: "net.ipv4.vs.no_such_thing", to: 1))
        #expect(isKnown == (true, false))
        #expect(host.send(syn(1).bytes, through: [.prerouting, .localIn]).destination == podA)
        _ = host.send(syn(1).with([.rst], sequence: 1001).bytes, through: [.prerouting, .localIn])
        _ = host.send(syn(1).with([.fin, .ack], sequence: 1001).bytes, through: [.prerouting, .localIn])
        _ = host.send(syn(1).with([.rst], sequence: 1001).bytes, through: [.prerouting, .localIn])
        #expect(host.send(syn(1).bytes, through: [.prerouting, .localIn]).destination == (mode == 0 ? podA : podB))
    }

    @Test("expire_nodest_conn: a SYN to a server of weight zero, and any packet to one that is gone, ends its entry; without, such packets are dropped")
    func withoutServer() throws {
        var host = try host(.roundRobin)
        defer { host.deallocate() }
        let ack = syn(1).with([.ack], sequence: 1001, acknowledgment: 1)
        host.netfilter.setVirtualServices([service([podA])])
        _ = host.send(syn(1).bytes, through: [.prerouting, .localIn])
        host.netfilter.setVirtualServices([service([podB])])
        #expect(host.send(ack.bytes, through: [.prerouting, .localIn]).dropReason == .noVirtualServer)
        #expect(host.netfilter.virtualServers.connectionCount == 1)
        _ = host.set(sysctl: "net.ipv4.vs.expire_nodest_conn", to: 1)
        // It is left to the local stack, which resets it.
        let stray = host.send(ack.bytes, through: [.prerouting, .localIn])
        #expect(stray.isAccepted && stray.destination == clusterIP && host.netfilter.virtualServers.connectionCount == 0)
        // One that the table of connections still knows is dropped first.
        func pass(_ packet: TestPacket) {
            let frame = host.frame(packet.bytes)
            _ = host.run(.prerouting, frame, input: 2, output: 0)
            _ = host.run(.localIn, frame, input: 2, output: 0)
            _ = host.run(.localOut, frame, input: 0, output: 3)
            _ = host.run(.postrouting, frame, input: 0, output: 3)
            host.end(frame)
        }
        pass(syn(9))
        host.netfilter.setVirtualServicesGracefully([service([podC])], now: 0)
        #expect(weights(host) == ["\(podC) 1 0 0", "\(podB) 0 0 1"])
        #expect(host.send(syn(9).bytes, through: [.prerouting, .localIn]).dropReason == .noVirtualServer)
        #expect(host.send(syn(9).bytes, through: [.prerouting, .localIn]).destination == podC)
    }
}
