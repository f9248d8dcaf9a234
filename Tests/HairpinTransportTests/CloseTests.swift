import HairpinEngine
import HairpinTransport
import HairpinWire
import Testing

@Suite("Ends of connections")
struct CloseTests {
    /// The lines after the handshake.
    private func exchange(server: [Peer.Step], client: [Peer.Step], run: HairpinEngine.Duration = .seconds(2)) throws -> (World, [String]) {
        let world = World()
        try Peer.serve(world.b, port: 7001, server)
        _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 7001), client)
        world.run(run)
        return (world, Array(world.lines.dropFirst(3)))
    }

    @Test("the client closes first")
    func clientFirst() throws {
        let (_, lines) = try exchange(server: [.receive(10), .send(10), .receiveToEnd, .sleep(7), .close], client: [.send(10), .receive(10), .close])
        #expect(
            lines == [
                "a [PA] seq=1 ack=1 win=502 len=10", "b [A] seq=1 ack=11 win=509 len=0", "b [PA] seq=1 ack=11 win=509 len=10",
                "a [A] seq=11 ack=11 win=502 len=0", "a [FA] seq=11 ack=11 win=502 len=0", "b [FA] seq=11 ack=12 win=509 len=0",
                "a [A] seq=12 ack=12 win=502 len=0",
            ])
    }

    @Test("the server closes first: its FIN is acknowledged late, and the last ACK comes from a record without identification")
    func serverFirst() throws {
        let (world, lines) = try exchange(
            server: [.receive(10), .send(10), .close], client: [.send(10), .receive(10), .receiveToEnd, .sleep(100), .close])
        #expect(
            lines == [
                "a [PA] seq=1 ack=1 win=502 len=10", "b [A] seq=1 ack=11 win=509 len=0", "b [PA] seq=1 ack=11 win=509 len=10",
                "b [FA] seq=11 ack=11 win=509 len=0", "a [A] seq=11 ack=11 win=502 len=0", "a [A] seq=11 ack=12 win=502 len=0",
                "a [FA] seq=11 ack=12 win=502 len=0", "b [A] seq=12 ack=12 win=509 len=0",
            ])
        #expect(world.packets.last!.ip.identification == 0)
        let late = world.times[8] - world.times[7]
        #expect(late >= .milliseconds(40) && late <= .milliseconds(45))
    }

    @Test("half-close: the other direction goes on")
    func halfClose() throws {
        let (_, lines) = try exchange(server: [.receiveToEnd, .send(10), .close], client: [.send(10), .sleep(1), .shutdown, .receive(10), .receiveToEnd, .close])
        #expect(lines.contains("a [FA] seq=11 ack=1 win=502 len=0"))
        #expect(lines.contains("b [PA] seq=1 ack=12 win=509 len=10"))
        #expect(lines.last == "a [A] seq=12 ack=12 win=502 len=0")
    }

    @Test("linger zero aborts with the current numbers")
    func abort() throws {
        let (world, lines) = try exchange(server: [.receive(10), .send(10), .receiveToEnd], client: [.send(10), .receive(10), .sleep(3), .abort])
        #expect(lines.last == "a [RA] seq=11 ack=11 win=502 len=0")
        #expect(world.b.stack.sockets().map(\.state) == ["LISTEN", "UNCONN"])
    }

    @Test("closing with unread data resets")
    func unreadData() throws {
        let (_, lines) = try exchange(server: [.sleep(200), .close], client: [.send(10), .sleep(500), .receive(10)])
        #expect(lines == ["a [PA] seq=1 ack=1 win=502 len=10", "b [A] seq=1 ack=11 win=509 len=0", "b [RA] seq=1 ack=11 win=509 len=0"])
    }

    @Test("data for a socket that was closed is answered with a bare reset")
    func writeAfterClose() throws {
        let (world, lines) = try exchange(
            server: [.receive(10), .close], client: [.send(10), .receiveToEnd, .sleep(100), .send(10), .sleep(100), .send(10)])
        #expect(lines.suffix(2) == ["a [PA] seq=11 ack=2 win=502 len=10", "b [R] seq=2 win=0 len=0"])
        #expect(world.packets.last!.ip.identification == 0)
        #expect(world.packets.last!.tcp!.headerLength == 20)
    }

    @Test("a closed port resets, and connect fails")
    func closedPort() throws {
        let world = World()
        let client = try Peer.connect(world.a, to: SocketAddress(world.b.address, 81), [.send(1)])
        world.run(.seconds(1))
        #expect(client.errors == [.connectionRefused])
        #expect(world.lines.last == "b [RA] seq=0 ack=1 win=0 len=0")
        #expect(world.packets.last!.request.dontFragment)
    }

    @Test("TIME-WAIT ends after a minute")
    func timeWait() throws {
        let (world, _) = try exchange(server: [.receiveToEnd, .close], client: [.send(10), .sleep(1), .close])
        #expect(world.a.stack.sockets().map(\.state) == ["TIME-WAIT"])
        world.run(.seconds(62))
        #expect(world.a.stack.sockets().isEmpty)
    }

    @Test("closing a listener resets what nobody accepted")
    func closingListener() throws {
        let world = World()
        let listener = try world.b.stack.socket(.stream)
        try world.b.stack.bind(listener, SocketAddress(.any, 80))
        try world.b.stack.listen(listener, backlog: 5)
        _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), [.receiveToEnd])
        world.run(.milliseconds(10))
        #expect(world.b.stack.readiness(listener) == .readable)
        world.b.stack.close(listener)
        #expect(world.lines.last!.hasPrefix("b [RA]"))
        #expect(world.b.stack.sockets().isEmpty)
    }
}
