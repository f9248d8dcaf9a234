import HairpinEngine
import HairpinTransport
import HairpinWire
import Testing

@Suite("Timers")
struct TimerTests {
    @Test("a SYN without answer is repeated five times a second apart, then twice as late each time")
    func synBlackHole() throws {
        let world = World()
        world.b.deaf = true
        let client = try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), [])
        world.run(.seconds(14))
        let gaps = zip(world.times, world.times.dropFirst()).map { ($1 - $0).nanoseconds / 1_000_000 }
        #expect(gaps.count == 7)
        #expect(1000...1036 ~= gaps[0])
        #expect(gaps[1...4] == [1024, 1024, 1024, 1024])
        #expect(gaps[5] == 2016)
        #expect(4000...4260 ~= gaps[6])
        #expect(Set(world.lines) == ["a [S] seq=0 win=64240 len=0 <mss:1460,sackOK,ts,nop,wscale:7>"])
        world.run(.seconds(200))
        #expect(client.errors == [.timedOut])
    }

    @Test("a SYN that still waits for a neighbour is not joined by a second")
    func heldSYN() throws {
        let world = World()
        world.b.deaf = true
        _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), [])
        world.a.held = 1
        world.run(.milliseconds(2500))
        #expect(world.lines.count == 1)
        world.a.held = 0
        world.run(.seconds(1))
        #expect(world.lines.count == 2)
    }

    @Test("host unreachable ends a connection attempt at once")
    func unreachable() throws {
        let world = World()
        world.b.deaf = true
        let client = try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), [])
        world.run(.seconds(1))
        world.packets[0].bytes.withUnsafeBytes {
            world.a.stack.receiveICMPError(type: 3, code: 1, information: 0, offender: world.a.address, quote: UnsafeRawBufferPointer(rebasing: $0[..<28]))
        }
        world.run(.milliseconds(1))
        #expect(client.errors == [.hostUnreachable])
    }

    @Test("immediate ACKs at first, delayed after a reply, immediate again once a delay has run out")
    func delayedAck() throws {
        let world = World()
        let four = [Peer.Step](repeating: .receive(10), count: 4)
        try Peer.serve(world.b, port: 7001, four + [.send(10)] + four + [.receiveToEnd])
        let spaced = [Peer.Step]([.send(10), .sleep(200)])
        _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 7001), spaced + spaced + spaced + spaced + [.receive(10)] + spaced + spaced + spaced + [.close])
        world.run(.seconds(3))
        var delays: [Int64] = []
        for i in world.lines.indices where world.lines[i].hasPrefix("a [PA]") {
            let acknowledged = world.lines.indices.first { $0 > i && world.lines[$0].hasPrefix("b [") }!
            delays.append((world.times[acknowledged] - world.times[i]).nanoseconds / 1_000_000)
        }
        #expect(delays.count == 7)
        #expect(delays[0...3] == [0, 0, 0, 0])
        #expect(40...45 ~= delays[4])
        #expect(delays[5...6] == [0, 0])
    }

    @Test("a silent path: loss probe, then retransmissions twice as far apart each time")
    func deadPeer() throws {
        let world = World()
        try Peer.serve(world.b, port: 7001, [.receive(100), .send(100), .sleep(30_000)])
        _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 7001), [.send(100), .receive(100), .sleep(1000), .send(500)])
        world.run(.milliseconds(500))
        world.b.deaf = true
        world.run(.seconds(16))
        let sent = world.lines.indices.filter { world.lines[$0] == "a [PA] seq=101 ack=101 win=502 len=500" }
        let gaps = zip(sent, sent.dropFirst()).map { (world.times[$1] - world.times[$0]).nanoseconds / 1_000_000 }
        #expect(gaps.count == 7)
        #expect(204...210 ~= gaps[0])
        #expect(204...210 ~= gaps[1])
        #expect(408...436 ~= gaps[2])
        #expect(gaps[3] == 832)
        #expect(gaps[4] == 1664)
        #expect(3264...3520 ~= gaps[5])
        #expect(gaps[6] == 6656)
    }

    @Test("small writes wait for the ACK of the one before, unless TCP_NODELAY is set", arguments: [false, true])
    func nagle(noDelay: Bool) throws {
        let world = World()
        try Peer.serve(world.b, port: 7001, [.receive(30), .send(10), .receiveToEnd, .close])
        _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 7001), options: [.noDelay(noDelay)], [.send(10), .send(10), .send(10), .receive(10), .close])
        world.run(.seconds(1))
        let sizes = world.lines.filter { $0.hasPrefix("a [PA]") }.map { $0.split(separator: " ").last! }
        #expect(sizes == (noDelay ? ["len=10", "len=10", "len=10"] : ["len=10", "len=20"]))
    }

    @Test("a window that closes is probed, and opens when the program reads")
    func slowReader() throws {
        let world = World()
        try Peer.serve(world.b, port: 7001, options: [.receiveBuffer(8192)], [.sleep(3000), .receiveToEnd, .close])
        _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 7001), [.send(40_000), .shutdown, .receiveToEnd, .close])
        world.run(.seconds(6))
        #expect(world.lines[1] == "b [SA] seq=0 ack=1 win=7240 len=0 <mss:1460,sackOK,ts,nop,wscale:0>")
        #expect(world.lines.contains("b [A] seq=1 ack=1449 win=8688 len=0"))
        let closed = try #require(world.lines.firstIndex { $0.hasPrefix("b [A]") && $0.contains("win=0 ") })
        let edge = Int(world.lines[closed].split(separator: " ")[3].dropFirst(4))!
        let probes = world.lines.indices.filter { world.lines[$0] == "a [A] seq=\(edge - 1) ack=1 win=502 len=0" }
        try #require(probes.count == 3)
        #expect(probes[2] == probes[1] + 1)  // the second probe gets no answer
        let gaps = zip([closed] + probes, probes).map { (world.times[$1] - world.times[$0]).nanoseconds / 1_000_000 }
        // Twice an RTO of 208 or 212 ms, and up to eight jiffies more: the grain of the timer wheel's second level.
        #expect(200...225 ~= gaps[0])
        #expect(408...456 ~= gaps[1])
        #expect(816...880 ~= gaps[2])
        #expect(world.lines.last == "a [A] seq=40002 ack=2 win=502 len=0")
    }

    @Test("keepalive probes a silent peer and gives up")
    func keepAlive() throws {
        var settings = TransportSettings()
        settings.tcp_keepalive_time = .seconds(10)
        settings.tcp_keepalive_intvl = .seconds(2)
        settings.tcp_keepalive_probes = 3
        let world = World(settings: settings)
        try Peer.serve(world.b, port: 7001, [.sleep(1_000_000)])
        let client = try Peer.connect(world.a, to: SocketAddress(world.b.address, 7001), options: [.keepAlive(true)], [.receive(1)])
        world.run(.seconds(15))
        #expect(world.lines.suffix(2) == ["a [A] seq=0 ack=1 win=502 len=0", "b [A] seq=1 ack=1 win=510 len=0"])
        world.b.deaf = true
        world.run(.seconds(30))
        #expect(client.errors == [.timedOut])
        #expect(world.lines.last!.hasPrefix("a [RA]"))
    }
}
