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

    /// What a real kernel chose: Linux 6.1.176 (user-mode-linux of Debian 12), twelve connections that stay open, servers added with `ipvsadm -a` in the order of
    /// their weights. The numbers are positions in that order: `__ip_vs_update_dest` puts a new server at the head of the list, so that the last one is the
    /// first to be chosen.
    static let chosen: [(VirtualService.Scheduler, [Int], String)] = [
        (.roundRobin, [1, 1, 1], "210210210210"), (.roundRobin, [5, 1, 1], "210210210210"), (.roundRobin, [0, 1, 1], "212121212121"),
        // `ip_vs_wrr_dest_changed`: alone, the first server has the bar at one, whatever its weight, and later ones leave it there.
        (.weightedRoundRobin, [1, 2, 3], "210221210221"), (.weightedRoundRobin, [2, 4, 6], "210221210221"), (.weightedRoundRobin, [5, 1, 1], "210000021000"),
        (.leastConnections, [1, 2, 3], "210210210210"), (.leastConnections, [0, 1, 1], "212121212121"),
        (.weightedLeastConnections, [1, 1, 1], "210210210210"), (.weightedLeastConnections, [1, 2, 3], "210212210212"),
        (.weightedLeastConnections, [5, 1, 1], "210000021000"),
        (.shortestExpectedDelay, [1, 2, 3], "212210212210"), (.shortestExpectedDelay, [5, 1, 1], "000021000002"),
        (.neverQueue, [1, 2, 3], "210221212210"), (.neverQueue, [5, 1, 1], "210000000002"),
    ]

    @Test("Schedulers choose as the kernel does", arguments: chosen)
    func choice(scheduler: VirtualService.Scheduler, weights: [Int], expected: String) throws {
        var host = try host(scheduler, weights: weights)
        defer { host.deallocate() }
        #expect(choices(&host, 12).map(String.init).joined() == expected)
    }

    @Test("Source hashing sends eight clients where the kernel sends them", arguments: [([1, 1, 1], "20102020"), ([1, 2, 3], "10202222"), ([1, 0, 1], "20902020")])
    func sourceHash(weights: [Int], expected: String) throws {
        var host = try host(.sourceHash, weights: weights)
        defer { host.deallocate() }
        // 10.1.0.2 to 10.1.0.9, as there; nine is no server: the bucket's has weight zero (`ip_vs_sh_get`).
        let found = (2...9).map { last in
            NetfilterVirtualServerTests.pods.firstIndex(
                of: host.send(syn(7000, from: IPv4Address(10, 1, 0, UInt8(last))).bytes, through: [.prerouting, .localIn]).destination) ?? 9
        }
        #expect(found.map(String.init).joined() == expected)
    }

    @Test("Round robin goes on behind the server chosen last, whatever comes and goes (`ip_vs_rr_del_dest`)")
    func turns() throws {
        /// The choices of a service of the first servers, then of the second ones.
        func turn(_ scheduler: VirtualService.Scheduler, _ before: [(Int, Int)], _ first: Int, _ after: [(Int, Int)], _ then: Int) throws -> String {
            var host = try host(scheduler)
            defer { host.deallocate() }
            func set(_ servers: [(Int, Int)], _ port: UInt16) {
                host.netfilter.setVirtualServices([
                    VirtualService(
                        address: clusterIP, port: 80, scheduler: scheduler,
                        servers: servers.map { VirtualService.Server(address: NetfilterVirtualServerTests.pods[$0.0], port: 8080, weight: $0.1) })
                ])
            }
            host.netfilter.setVirtualServices([])
            set(before, 0)
            let one = choices(&host, first)
            set(after, 0)
            let other = (0..<then).map { n in
                NetfilterVirtualServerTests.pods.firstIndex(of: host.send(syn(UInt16(30000 + n)).bytes, through: [.prerouting, .localIn]).destination) ?? 9
            }
            return (one + other).map(String.init).joined()
        }
        let all = [(0, 1), (1, 1), (2, 1)]
        // As recorded with Linux 6.1.176: the chosen one is removed; the next one is; one is added; a weight becomes zero.
        #expect(try turn(.roundRobin, all, 1, [(0, 1), (1, 1)], 4) == "21010")
        #expect(try turn(.roundRobin, all, 1, [(0, 1), (2, 1)], 4) == "20202")
        #expect(try turn(.roundRobin, [(0, 1), (1, 1)], 1, all, 5) == "102102")
        #expect(try turn(.roundRobin, [(0, 1), (1, 1)], 2, all, 5) == "1021021")
        #expect(try turn(.roundRobin, all, 2, [(0, 0), (1, 1), (2, 1)], 3) == "21212")
        // Weighted: a change begins a round anew at the bar that was reached.
        #expect(try turn(.weightedRoundRobin, [(0, 1), (1, 2), (2, 3)], 2, [(0, 1), (1, 2)], 6) == "21101101")
        #expect(try turn(.weightedRoundRobin, [(0, 1), (1, 2), (2, 3)], 2, [(0, 5), (1, 2), (2, 3)], 12) == "21210002021021")
    }

    @Test("Without a server of any weight a port unreachable is the answer (`ip_vs_leave`)")
    func noServer() throws {
        for weights in [[0, 0, 0], []] {
            var none = try host(.roundRobin, weights: weights)
            #expect(none.send(syn(1).bytes, through: [.prerouting, .localIn]).rejectKind == .icmp(code: 3))
            none.deallocate()
        }
    }

    @Test("Persistence keeps a client at its server for its time")
    func persistence() throws {
        var host = try host(.roundRobin, persistence: 60)
        defer { host.deallocate() }
        #expect(choices(&host, 3) == [2, 2, 2])
        // The connections, which are idle, last 900 s, and their template as long.
        host.advance(.seconds(61))
        #expect(host.send(syn(30000).bytes, through: [.prerouting, .localIn]).destination == podC)
        host.advance(.seconds(1000))
        #expect(host.send(syn(30001).bytes, through: [.prerouting, .localIn]).destination == podB)
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
        #expect(sent.source == IPv4Address(10, 244, 0, 1) && sent.destination == podC && sent.destinationPort == 8080)
        #expect(sent.timeToLive == 63 && sent.hasValidChecksums)

        let atServer = TestPacket(source: sent.source, destination: podC, sourcePort: sent.sourcePort, destinationPort: 8080)
        let back = host.send(atServer.reply([.syn, .ack]).bytes, through: FilterHost.forwarding, input: 3, output: 2)
        #expect(back.flow == "10.96.0.20:80 > 203.0.113.9:40000")
        #expect(back.info == .establishedReply && back.hasValidChecksums)

        let next = host.send(request.with([.ack], sequence: 1001, acknowledgment: 5001).bytes, through: [.prerouting, .localIn], input: 2)
        #expect(next.isReroute && next.info == .established && next.destination == podC)
        #expect(host.netfilter.virtualServers.services[0].servers[2].active == 1)
    }

    @Test("A segment without connection is left to the local stack; a removed server's packets are dropped")
    func strays() throws {
        var host = try host(.roundRobin)
        defer { host.deallocate() }
        #expect(host.send(syn(1).with([.ack], sequence: 1).bytes, through: [.prerouting, .localIn]).isAccepted)
        _ = host.send(syn(2).bytes, through: [.prerouting, .localIn])
        host.netfilter.setVirtualServices([VirtualService(address: clusterIP, port: 80, servers: [VirtualService.Server(address: podA, port: 8080)])])
        #expect(host.send(syn(2).bytes, through: [.prerouting, .localIn]).dropReason == .noVirtualServer)
        host.advance(.seconds(1000))
        #expect(host.send(syn(2).bytes, through: [.prerouting, .localIn]).destination == podA)
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
        host.netfilter.setVirtualServices([])
        host.netfilter.setVirtualServices([service([podC, podB, podA])])
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

    /// The entry ended with nobody looking, and a change of the services found it so: the flow is forgotten then, and not when a new connection uses its ports.
    @Test("A flow whose entry a change of the services finds ended is no flow of the next connection")
    func endsBeforeTheNext() throws {
        var host = try host(.roundRobin)
        defer { host.deallocate() }
        host.netfilter.setVirtualServices([service([podB])])
        _ = host.send(syn(1).bytes, through: [.prerouting, .localIn], rerouted: [.localOut, .postrouting])
        #expect(host.connectionLines().count == 1)
        host.advance(.seconds(119))
        _ = host.send(syn(1).bytes, through: [.prerouting, .localIn], rerouted: [.localOut, .postrouting])
        // 60 s after the last packet IPVS has forgotten it, and conntrack has not (SYN_SENT, 120 s).
        host.advance(.seconds(61))
        host.netfilter.setVirtualServicesGracefully([service([podB])], now: host.environment.now.nanoseconds)
        #expect(host.connectionLines().isEmpty)
        let next = host.send(syn(1).bytes, through: [.prerouting, .localIn], rerouted: [.localOut, .postrouting])
        #expect(next.info == .new && next.destination == podB)
        #expect(host.connectionLines().count == 1, "the new connection is not taken for the old one that ended")
    }

    @Test("A server that comes back is as before, with its connections; one of UDP goes at once, connections or not")
    func returns() throws {
        var host = try host(.roundRobin)
        defer { host.deallocate() }
        host.netfilter.setVirtualServices([])
        host.netfilter.setVirtualServices([service([podB, podA])])
        _ = host.send(syn(1).bytes, through: [.prerouting, .localIn])
        host.netfilter.setVirtualServicesGracefully([service([podB])], now: 0)
        host.netfilter.setVirtualServicesGracefully([service([podB, podA])], now: 0)
        #expect(weights(host) == ["\(podB) 1 0 0", "\(podA) 1 0 1"] && host.netfilter.virtualServers.terminating.isEmpty)
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
        host.netfilter.setVirtualServices([])
        host.netfilter.setVirtualServices([service([podB, podA])])
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

    @Test("With conn_reuse_mode 0 a SYN to a server of weight zero stays there, expire_nodest_conn or not (`ip_vs_in_hook` of Linux 6.1 asks for the mode first)")
    func reuseOff() throws {
        var host = try host(.roundRobin)
        defer { host.deallocate() }
        _ = host.set(sysctl: "net.ipv4.vs.expire_nodest_conn", to: 1)
        _ = host.set(sysctl: "net.ipv4.vs.conn_reuse_mode", to: 0)
        host.netfilter.setVirtualServices([])
        host.netfilter.setVirtualServices([service([podB, podA])])
        #expect(host.send(syn(1).bytes, through: [.prerouting, .localIn]).destination == podA)
        host.netfilter.setVirtualServicesGracefully([service([podB])], now: 0)
        #expect(host.send(syn(1).bytes, through: [.prerouting, .localIn]).destination == podA)
    }

    @Test("The end of an entry of IPVS is the end of its flow in the table of connections, a day before its time (`ip_vs_conn_drop_conntrack`)")
    func ends() throws {
        var host = try host(.roundRobin)
        defer { host.deallocate() }
        func pass(_ packet: TestPacket) {
            let frame = host.frame(packet.bytes)
            _ = host.run(.prerouting, frame, input: 2, output: 0)
            if case .reroute = host.run(.localIn, frame, input: 2, output: 0) {
                _ = host.run(.localOut, frame, input: 0, output: 3)
                _ = host.run(.postrouting, frame, input: 0, output: 3)
            }
            host.end(frame)
        }
        func answer(_ flags: TCPFlags, from server: IPv4Address) {
            var packet = syn(1).reply(flags)
            (packet.source, packet.sourcePort) = (server, 8080)
            _ = host.send(packet.bytes, through: FilterHost.forwarding, input: 3, output: 2)
        }
        pass(syn(1))
        answer([.syn, .ack], from: podC)
        pass(syn(1).with([.ack], sequence: 1001, acknowledgment: 5001))
        #expect(host.netfilter.connections.lines(now: host.environment.now).count == 1)
        // 900 s for IPVS, five days for the table of connections.
        host.advance(.seconds(901))
        pass(syn(2))
        let left = host.netfilter.connections.lines(now: host.environment.now)
        #expect(left.count == 1 && left[0].contains("sport=2 "), "\(left)")
    }

    @Test("A template outlives its time while it has connections, and then to the next minute")
    func templates() throws {
        // As recorded with Linux 6.1.176: `-p 3`; after five seconds the template still had 57 s, as a connection in CLOSE was left (`ip_vs_conn_expire`).
        var host = try host(.roundRobin, persistence: 3)
        defer { host.deallocate() }
        #expect(choices(&host, 1) == [2])
        host.advance(.seconds(5))
        #expect(host.send(syn(30000).bytes, through: [.prerouting, .localIn]).destination == podC)
        // Both connections end with it: 900 s for the first, 60 s for the second; a template of 3 s lives on in steps of a minute.
        host.advance(.seconds(902))
        #expect(host.send(syn(30001).bytes, through: [.prerouting, .localIn]).destination == podC)
        host.advance(.seconds(200))
        #expect(host.send(syn(30002).bytes, through: [.prerouting, .localIn]).destination == podB)
    }

    @Test("sloppy_tcp: any segment but a reset gets a server; without it a SYN does, with ACK or not (`tcp_conn_schedule`; Linux 6.1.176)", arguments: [0, 1])
    func sloppy(mode: Int) throws {
        var host = try host(.roundRobin)
        defer { host.deallocate() }
        let isKnown = host.set(sysctl: "net.ipv4.vs.sloppy_tcp", to: mode)
        #expect(isKnown)
        for (number, (flags, isScheduled)) in [
            (TCPFlags.ack, mode == 1), (TCPFlags([.fin, .ack]), mode == 1), (TCPFlags.rst, false), (TCPFlags([.rst, .ack]), false), (TCPFlags([.syn, .ack]), true), (TCPFlags.syn, true),
        ].enumerated() {
            let out = host.send(syn(UInt16(100 + number)).with(flags, sequence: 1).bytes, through: [.prerouting, .localIn])
            #expect((out.destination != clusterIP) == isScheduled, "\(flags)")
        }
    }

    @Test("A reset does not end an entry in SYN_RECV, a FIN moves it to TIME_WAIT (`tcp_states`; Linux 6.1.176)")
    func half() throws {
        var host = try host(.roundRobin)
        defer { host.deallocate() }
        _ = host.send(syn(1).bytes, through: [.prerouting, .localIn])
        _ = host.send(syn(1).with([.rst], sequence: 1001).bytes, through: [.prerouting, .localIn])
        _ = host.send(syn(2).bytes, through: [.prerouting, .localIn])
        _ = host.send(syn(2).with([.fin, .ack], sequence: 1001, acknowledgment: 1).bytes, through: [.prerouting, .localIn])
        #expect(host.netfilter.virtualServers.connectionCount == 2)
        // SYN_RECV has 60 s, TIME_WAIT 120 s.
        host.advance(.seconds(61))
        host.netfilter.virtualServers.expireEntries(now: host.environment.now.nanoseconds)
        #expect(host.netfilter.virtualServers.connectionCount == 1)
        host.advance(.seconds(60))
        host.netfilter.virtualServers.expireEntries(now: host.environment.now.nanoseconds)
        #expect(host.netfilter.virtualServers.connectionCount == 0)
    }
}
