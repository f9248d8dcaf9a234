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

    @Test("What one connection learns of the path holds for others to the host, from their next packet but one", arguments: [PathMTUDiscovery.want, .dont])
    func otherConnection(_ kind: PathMTUDiscovery) throws {
        let world = World()
        defer { world.tearDown() }
        for port in [80, 81] as [UInt16] { try Peer.serve(world.b, port: port, [.receiveToEnd]) }
        func open(_ port: UInt16) throws -> SocketID {
            let socket = try world.a.stack.socket(.stream)
            if port == 81 { try world.a.stack.setOption(socket, .pathMTUDiscovery(kind)) }
            do { try world.a.stack.connect(socket, SocketAddress(world.b.address, port)) } catch { guard error == .inProgress else { throw error } }
            world.run(.milliseconds(1))
            return socket
        }
        let first = try open(80)
        let second = try open(81)
        _ = try world.a.stack.send(first, [UInt8](repeating: 1, count: 1448)[...])
        let quote = try #require(world.packets.last { $0.from == "a" })
        world.a.mtu = 700
        quote.bytes.withUnsafeBytes {
            world.a.stack.receiveICMPError(type: ICMPv4.destinationUnreachable, code: ICMPv4.fragmentationNeeded, information: 700, offender: world.b.address, quote: $0)
        }
        world.run(.milliseconds(1))
        #expect(world.a.stack.routeMTU(first) == 700)
        // Until it has sent something the other goes by the route it had.
        #expect(world.a.stack.routeMTU(second) == 1500)
        let before = world.packets.count
        for _ in 0..<3 {
            _ = try world.a.stack.send(second, [UInt8](repeating: 2, count: 1448)[...])
            world.run(.milliseconds(1))
        }
        let sizes = world.packets[before...].filter { $0.from == "a" && $0.tcp?.destinationPort == 81 && $0.tcp!.payload.count > 0 }.map(\.bytes.count)
        // One that routers may cut leaves as it is; one that they must not goes nowhere, and its bytes with those that follow.
        #expect(sizes.first == (kind == .dont ? 1500 : 700))
        #expect(sizes.dropFirst().allSatisfy { $0 <= 700 })
        #expect(sizes.reduce(0, +) >= 3 * 1448)
        #expect(world.a.stack.routeMTU(second) == 700)
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
