import HairpinEngine
import HairpinTransport
import HairpinWire
import Testing

@Suite("Connection states")
struct StateTests {
    /// An established connection with client a, and the client's last packet to make others from.
    private func established() throws -> (World, World.Packet, Peer) {
        let world = World()
        try Peer.serve(world.b, port: 7, [.receiveToEnd])
        let client = try Peer.connect(world.a, to: SocketAddress(world.b.address, 7), [.send(10), .receive(1)])
        world.run(.seconds(2))
        return (world, world.packets.last { $0.from == "a" }!, client)
    }

    /// Injects a copy of `packet` into b with another sequence number (relative to the copied one), flags and payload cut off.
    private func inject(_ packet: World.Packet, into host: Host, offset: Int, flags: TCPFlags, ackOffset: Int = 0) {
        var bytes = Array(packet.bytes.prefix(52))
        bytes.withUnsafeMutableBytes { raw in
            let p = raw.baseAddress!
            p.put(UInt16(52), at: IPv4Offset.totalLength)
            p.put((packet.tcp!.sequence + offset).rawValue, at: 20 + TCPOffset.sequence)
            p.put((packet.tcp!.acknowledgment + ackOffset).rawValue, at: 20 + TCPOffset.acknowledgment)
            p.put(flags.rawValue, at: 20 + TCPOffset.flags)
        }
        _ = bytes.withUnsafeBytes { host.stack.receive($0, checksumVerified: true) }
    }

    @Test("RST: exact number resets, another in the window is challenged, one outside is ignored (RFC 5961)")
    func reset() throws {
        let (world, packet, _) = try established()
        inject(packet, into: world.b, offset: 110, flags: .rst)
        #expect(world.lines.last == "b [A] seq=1 ack=11 win=509 len=0")
        let count = world.lines.count
        inject(packet, into: world.b, offset: 111, flags: .rst)  // the limit: one challenge in half a second
        inject(packet, into: world.b, offset: 200_000, flags: .rst)
        #expect(world.lines.count == count)
        #expect(world.b.stack.sockets().map(\.state) == ["LISTEN", "ESTAB"])
        inject(packet, into: world.b, offset: 10, flags: .rst)
        #expect(world.b.stack.sockets().map(\.state) == ["LISTEN", "UNCONN"])
    }

    @Test("a SYN on an established connection is challenged")
    func syn() throws {
        let (world, packet, _) = try established()
        inject(packet, into: world.b, offset: 10, flags: .syn)
        #expect(world.lines.last == "b [A] seq=1 ack=11 win=509 len=0")
        #expect(world.b.stack.sockets().map(\.state) == ["LISTEN", "ESTAB"])
    }

    @Test("an acknowledgment of what was never sent is challenged, as Linux 6.18 does (RFC 5961 §5.2)")
    func futureAck() throws {
        let (world, packet, _) = try established()
        let count = world.lines.count
        inject(packet, into: world.b, offset: 10, flags: .ack, ackOffset: 5000)
        #expect(world.lines.count == count + 1)
        #expect(world.lines.last == "b [A] seq=1 ack=11 win=509 len=0")
    }

    @Test("both sides call each other at once")
    func simultaneousOpen() throws {
        let world = World()
        var sockets: [SocketID] = []
        for (host, peer) in [(world.a!, world.b!), (world.b!, world.a!)] {
            let socket = try host.stack.socket(.stream)
            try host.stack.bind(socket, SocketAddress(host.address, 5000))
            do { try host.stack.connect(socket, SocketAddress(peer.address, 5000)) } catch { #expect(error == .inProgress) }
            sockets.append(socket)
        }
        world.run(.milliseconds(100))
        #expect(world.a.stack.sockets().map(\.state) == ["ESTAB"])
        #expect(world.b.stack.sockets().map(\.state) == ["ESTAB"])
        #expect(try world.a.stack.send(sockets[0], [1, 2, 3][...]) == 3)
        world.run(.milliseconds(1))
        #expect(try world.b.stack.receive(sockets[1], 10) == [1, 2, 3])
    }

    @Test("a full accept queue lets handshakes wait, and the SYN-ACK is repeated")
    func fullAcceptQueue() throws {
        let world = World()
        let listener = try world.b.stack.socket(.stream)
        try world.b.stack.bind(listener, SocketAddress(.any, 80))
        try world.b.stack.listen(listener, backlog: 1)
        for count in [1, 2] {
            for _ in 0..<count { _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), []) }
            world.run(.milliseconds(1))
        }
        #expect(world.b.stack.sockets().filter { $0.state == "ESTAB" }.count == 2)
        #expect(world.b.stack.counters.listenOverflows == 1)
        _ = try world.b.stack.accept(listener)
        _ = try world.b.stack.accept(listener)
        #expect(throws: Errno.tryAgain) { try world.b.stack.accept(listener) }
        world.run(.seconds(4))
        #expect(world.b.stack.sockets().filter { $0.state == "ESTAB" }.count == 3)
    }

    @Test("with tcp_abort_on_overflow the last ACK at a full accept queue is answered with a reset")
    func abortOnOverflow() throws {
        var settings = TransportSettings()
        settings.tcp_abort_on_overflow = true
        let world = World(settings: settings)
        let listener = try world.b.stack.socket(.stream)
        try world.b.stack.bind(listener, SocketAddress(.any, 80))
        try world.b.stack.listen(listener, backlog: 0)
        var clients: [Peer] = []
        for _ in 0..<2 { clients.append(try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), [.receiveToEnd])) }
        // The SYN queue of backlog 0 holds one: the second client gets a cookie, whose ACK is dropped; the queue is full when a third comes.
        world.run(.milliseconds(1))
        #expect(world.b.stack.counters.cookiesSent == 1)
        #expect(world.b.stack.sockets().filter { $0.state == "ESTAB" }.count == 1)
        #expect(world.b.stack.counters.resetsSent == 0)
    }

    @Test("a listener on the address is preferred to one on any address; a second one is refused")
    func listeners() throws {
        let world = World()
        let stack = world.b.stack!
        var listeners: [SocketID] = []
        for address in [IPv4Address.any, world.b.address] {
            let socket = try stack.socket(.stream)
            try stack.setOption(socket, .reuseAddress(true))
            listeners.append(socket)
            if address == .any { try stack.bind(socket, SocketAddress(address, 80)) } else { try stack.bind(socket, SocketAddress(.loopback, 80)) }
        }
        try stack.listen(listeners[0], backlog: 5)
        #expect(throws: Errno.addressInUse) { try stack.listen(listeners[1], backlog: 5) }
        let third = try stack.socket(.stream)
        #expect(throws: Errno.addressInUse) { try stack.bind(third, SocketAddress(world.b.address, 80)) }
        _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), [])
        world.run(.milliseconds(1))
        #expect(stack.readiness(listeners[0]) == .readable)
    }

    @Test("a program may keep a descriptor past TIME-WAIT, and read what came before the FIN")
    func heldPastTimeWait() throws {
        let world = World()
        try Peer.serve(world.b, port: 7, [.receiveToEnd, .send(20), .close])
        let client = try Peer.connect(world.a, to: SocketAddress(world.b.address, 7), [.sleep(1), .shutdown, .sleep(90_000), .receive(20), .receiveToEnd, .close])
        world.run(.seconds(5))
        #expect(world.a.stack.sockets().map(\.state) == ["TIME-WAIT"])
        world.run(.seconds(90))
        #expect(client.received.count == 20)
        #expect(client.errors.isEmpty)
        #expect(world.a.stack.sockets().isEmpty)
    }

    @Test("a new SYN to a port pair in TIME-WAIT opens a new connection")
    func timeWaitReuse() throws {
        let world = World()
        try Peer.serve(world.b, port: 7, [.receive(5), .close])
        for round in 1...3 {
            let socket = try world.a.stack.socket(.stream)
            try world.a.stack.bind(socket, SocketAddress(.any, 4000))
            do { try world.a.stack.connect(socket, SocketAddress(world.b.address, 7)) } catch { #expect(error == .inProgress) }
            world.run(.milliseconds(10))
            #expect(try world.a.stack.send(socket, [1, 2, 3, 4, 5][...]) == 5, "round \(round)")
            world.run(.milliseconds(10))
            world.a.stack.close(socket)
            world.run(.milliseconds(100))
            #expect(world.b.stack.sockets().map(\.state).sorted() == ["LISTEN", "TIME-WAIT"])
            #expect(world.a.stack.sockets().isEmpty)
        }
    }

    @Test("an old duplicate by its timestamp is answered and not taken (PAWS)")
    func paws() throws {
        let (world, packet, _) = try established()
        world.run(.seconds(20))
        var bytes = packet.bytes
        bytes.withUnsafeMutableBytes { raw in
            let p = raw.baseAddress! + 20
            p.put((packet.tcp!.sequence + 10).rawValue, at: TCPOffset.sequence)
            p.put(p.u32(24) &- 5_000, at: 24)
        }
        _ = bytes.withUnsafeBytes { world.b.stack.receive($0, checksumVerified: true) }
        #expect(world.lines.last == "b [A] seq=1 ack=11 win=509 len=0")
    }

    @Test("a wrong checksum is noticed, unless the caller has vouched for it")
    func checksum() throws {
        let (world, packet, _) = try established()
        var bytes = packet.bytes
        bytes[bytes.count - 1] ^= 1
        #expect(bytes.withUnsafeBytes { world.b.stack.receive($0, checksumVerified: false) } == .badChecksum)
        #expect(bytes.withUnsafeBytes { world.b.stack.receive($0, checksumVerified: true) } == .delivered)
        #expect(packet.bytes.withUnsafeBytes { world.b.stack.receive($0, checksumVerified: false) } == .delivered)
    }

    @Test("writing stops at the send buffer and goes on when a third of it is free")
    func sendBuffer() throws {
        let world = World()
        try Peer.serve(world.b, port: 7, [.sleep(500), .receiveToEnd, .close])
        let client = try Peer.connect(world.a, to: SocketAddress(world.b.address, 7), [.send(1_000_000), .close])
        world.run(.milliseconds(400))
        #expect(!client.isDone)
        world.run(.seconds(10))
        #expect(client.isDone)
        #expect(world.a.stack.counters.retransmitted <= 1)
    }
}
