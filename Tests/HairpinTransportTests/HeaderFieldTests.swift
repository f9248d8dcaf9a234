import HairpinEngine
import HairpinTransport
import HairpinWire
import Testing

/// DF and the identification of IP, for every kind of IP_MTU_DISCOVER and every kind of segment; as `tcpdump` on the loopback of Linux 6.18 shows them.
@Suite("Header fields")
struct HeaderFieldTests {
    private struct Seen: Hashable {
        var flags: TCPFlags
        var dontFragment: Bool
        var identification: UInt16
    }

    /// What both hosts send from the handshake to a reset, and the reset for a port nobody listens on.
    private func exchange(client: [SocketOption] = [], server: [SocketOption] = []) throws -> (client: [Seen], server: [Seen]) {
        let world = World()
        defer { world.tearDown() }
        try Peer.serve(world.b, port: 80, options: server, [.receive(100), .send(100), .receive(200), .abort])
        _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), options: client, [.send(100), .receive(100), .send(200)])
        world.run(.seconds(1))
        func seen(_ host: String) -> [Seen] {
            world.packets.filter { $0.from == host }.map { Seen(flags: $0.tcp!.flags, dontFragment: $0.ip.dontFragment, identification: $0.ip.identification) }
        }
        return (seen("a"), seen("b"))
    }

    @Test("The client's segments have DF with WANT and DO only; identifications count on in any case", arguments: [PathMTUDiscovery?.none, .dont, .want, .do, .probe, .interface, .omit])
    func client(_ kind: PathMTUDiscovery?) throws {
        let (client, server) = try exchange(client: kind.map { [.pathMTUDiscovery($0)] } ?? [])
        let isSet = kind == nil || kind == .want || kind == .do
        #expect(client.count >= 4)
        #expect(client.allSatisfy { $0.dontFragment == isSet })
        for (a, b) in zip(client, client.dropFirst()) { #expect(b.identification == a.identification &+ 1) }
        // The other side's are its own matter.
        #expect(server.allSatisfy { $0.dontFragment })
    }

    @Test("A SYN-ACK has DF and identification zero whatever the listener's kind; its children take the kind over", arguments: [PathMTUDiscovery?.none, .dont, .want, .do, .probe, .interface, .omit])
    func server(_ kind: PathMTUDiscovery?) throws {
        let (client, server) = try exchange(server: kind.map { [.pathMTUDiscovery($0)] } ?? [])
        let isSet = kind == nil || kind == .want || kind == .do
        #expect(server[0] == Seen(flags: [.syn, .ack], dontFragment: true, identification: 0))
        let rest = server.dropFirst()
        #expect(rest.count >= 3)
        #expect(rest.allSatisfy { $0.dontFragment == isSet && $0.identification != 0 })
        for (a, b) in zip(rest, rest.dropFirst()) { #expect(b.identification == a.identification &+ 1) }
        #expect(rest.last?.flags.contains(.rst) == true)
        #expect(client.allSatisfy { $0.dontFragment })
    }

    @Test("ip_no_pmtu_disc makes DONT the kind of new sockets")
    func setting() throws {
        var settings = TransportSettings()
        settings.ip_no_pmtu_disc = true
        let world = World(settings: settings)
        defer { world.tearDown() }
        try Peer.serve(world.b, port: 80, [.receiveToEnd])
        _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), [.send(100)])
        world.run(.milliseconds(100))
        #expect(world.packets.allSatisfy { $0.ip.dontFragment == ($0.tcp!.flags == [.syn, .ack]) })
    }

    @Test("A reset of no connection, and an ACK of TIME-WAIT, have DF and identification zero")
    func ofNoSocket() throws {
        let world = World()
        defer { world.tearDown() }
        _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 9), options: [.pathMTUDiscovery(.dont)], [])
        world.run(.milliseconds(100))
        let reset = try #require(world.packets.last)
        #expect(reset.tcp?.flags == [.rst, .ack] && reset.ip.dontFragment && reset.ip.identification == 0)

        try Peer.serve(world.b, port: 80, [.receiveToEnd, .close])
        _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), options: [.pathMTUDiscovery(.dont)], [.send(10), .shutdown, .receiveToEnd, .close])
        world.run(.milliseconds(500))
        // The FIN of the other side again: TIME-WAIT answers.
        let fin = try #require(world.packets.last { $0.from == "b" && $0.tcp?.flags.contains(.fin) == true })
        world.deliver(fin.bytes, to: world.a)
        let answer = try #require(world.packets.last)
        #expect(answer.from == "a" && answer.tcp?.flags == .ack && answer.ip.dontFragment && answer.ip.identification == 0)
    }
}
