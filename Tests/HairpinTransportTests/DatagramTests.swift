import HairpinEngine
import HairpinTransport
import HairpinWire
import Testing

@Suite("UDP and ICMP echo")
struct DatagramTests {
    @Test("a datagram and its answer; DF is set unless turned off")
    func exchange() throws {
        let world = World()
        let server = try world.b.stack.socket(.datagram)
        try world.b.stack.bind(server, SocketAddress(.any, 53))
        let client = try world.a.stack.socket(.datagram)
        try world.a.stack.send(client, [1, 2, 3], to: SocketAddress(world.b.address, 53))
        world.run(.milliseconds(1))
        let query = try world.b.stack.receiveMessage(server)
        #expect(query.bytes == [1, 2, 3])
        #expect(world.packets[0].ip.dontFragment)
        try world.b.stack.setOption(server, .pathMTUDiscovery(.dont))
        try world.b.stack.send(server, [4], to: query.source)
        world.run(.milliseconds(1))
        #expect(!world.packets[1].ip.dontFragment)
        #expect(try world.a.stack.receiveMessage(client).bytes == [4])
        #expect(throws: Errno.tryAgain) { try world.a.stack.receiveMessage(client) }
    }

    @Test("a closed port is the caller's to answer; the ICMP error reaches a connected socket")
    func closedPort() throws {
        let world = World()
        let client = try world.a.stack.socket(.datagram)
        try world.a.stack.connect(client, SocketAddress(world.b.address, 99))
        _ = try world.a.stack.send(client, [1][...])
        let bytes = world.packets[0].bytes
        #expect(bytes.withUnsafeBytes { world.b.stack.receive($0, checksumVerified: false) } == .noSocket)
        bytes.withUnsafeBytes { world.a.stack.receiveICMPError(type: 3, code: 3, information: 0, offender: world.b.address, quote: $0) }
        #expect(world.a.stack.readiness(client).contains(.error))
        #expect(throws: Errno.connectionRefused) { try world.a.stack.receive(client, 10) }
    }

    @Test("an echo request is answered with the same bytes, from the address that was asked")
    func echo() throws {
        let world = World()
        let socket = try world.a.stack.socket(.icmpEcho)
        try world.a.stack.setOption(socket, .typeOfService(0x10))
        try world.a.stack.sendEcho(socket, to: world.b.address, sequence: 7, payload: [UInt8](repeating: 9, count: 56))
        world.run(.milliseconds(1))
        let reply = try world.a.stack.receiveMessage(socket)
        #expect(reply.bytes.count == 64)
        #expect(Array(reply.bytes[6...7]) == [0, 7])
        #expect(world.packets[0].ip.dontFragment)
        #expect(!world.packets[1].ip.dontFragment)
        #expect(world.packets[1].ip.typeOfService == 0x10)
        #expect(world.packets[1].ip.source == world.b.address)
    }

    @Test("a ping larger than the MTU leaves without DF, to be cut")
    func echoCut() throws {
        let world = World()
        let socket = try world.a.stack.socket(.icmpEcho)
        try world.a.stack.sendEcho(socket, to: world.b.address, sequence: 1, payload: [UInt8](repeating: 0, count: 4000))
        #expect(!world.packets[0].ip.dontFragment)
        #expect(world.packets[0].request.mayFragmentLocally)
    }

    @Test("a ping that must not be cut fails where it starts when the path is known to be narrower")
    func echoTooLarge() throws {
        let world = World()
        world.a.mtu = 1450
        let socket = try world.a.stack.socket(.icmpEcho)
        try world.a.stack.setOption(socket, .pathMTUDiscovery(.do))
        try world.a.stack.setOption(socket, .receiveErrors(true))
        #expect(throws: Errno.messageTooLong) { try world.a.stack.sendEcho(socket, to: world.b.address, sequence: 1, payload: [UInt8](repeating: 0, count: 1472)) }
        let error = world.a.stack.takeQueuedError(socket)
        #expect(error?.errno == .messageTooLong)
        #expect(error?.information == 1450)
        #expect(world.packets.isEmpty)
        try world.a.stack.sendEcho(socket, to: world.b.address, sequence: 2, payload: [UInt8](repeating: 0, count: 100))
        #expect(world.packets[0].ip.identification == 0)
    }

    @Test("client ports are even, ports of bind to zero odd; what is taken stays taken")
    func ports() throws {
        let world = World()
        try Peer.serve(world.b, port: 80, [])
        for _ in 0..<50 { _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), []) }
        let sources = world.packets.compactMap { $0.tcp?.sourcePort }
        #expect(Set(sources).count == 50)
        #expect(sources.allSatisfy { $0 % 2 == 0 && 32_768...60_999 ~= $0 })
        let stack = world.a.stack!
        let one = try stack.socket(.stream)
        try stack.bind(one, SocketAddress(.any, 0))
        #expect(stack.localAddress(one)!.port % 2 == 1)
        let two = try stack.socket(.stream)
        #expect(throws: Errno.addressInUse) { try stack.bind(two, SocketAddress(world.a.address, stack.localAddress(one)!.port)) }
        #expect(throws: Errno.addressNotAvailable) { try stack.bind(two, SocketAddress(world.b.address, 1)) }
        try stack.bind(two, SocketAddress(.loopback, 8080))
        let three = try stack.socket(.stream)
        try stack.bind(three, SocketAddress(world.a.address, 8080))
        #expect(throws: Errno.notSupported) { try stack.listen(SocketID(0xffff_0001), backlog: 1) }
    }
}
