import HairpinEngine
import HairpinTransport
import HairpinWire
import Testing

/// Connections over a device that is slow itself: what it still holds of a connection keeps more back.
@Suite("Slow devices")
struct SmallQueueTests {
    private func connect(_ world: World) throws -> SocketID {
        try Peer.serve(world.b, port: 80, [.receiveToEnd])
        let socket = try world.a.stack.socket(.stream)
        do { try world.a.stack.connect(socket, SocketAddress(world.b.address, 80)) } catch { guard error == .inProgress else { throw error } }
        world.run(.milliseconds(100))
        world.a.deviceRate = 125_000
        return socket
    }

    /// Lengths of the data packets of `a`, in the order in which they left.
    private func lengths(_ world: World) -> [Int] { world.packets.filter { $0.from == "a" }.compactMap { $0.tcp?.payload.count }.filter { $0 > 0 } }

    /// Writes `counts` bytes, a millisecond apart.
    private func write(_ world: World, _ socket: SocketID, _ counts: [Int]) throws {
        for count in counts {
            #expect(try world.a.stack.send(socket, [UInt8](repeating: 7, count: count)[...]) == count)
            world.run(.milliseconds(1))
        }
        world.run(.milliseconds(300))
    }

    @Test("Small writes wait for the packet in the device, and go as one")
    func autocorking() throws {
        let world = World()
        defer { world.tearDown() }
        let socket = try connect(world)
        try world.a.stack.setOption(socket, .noDelay(true))
        // 552 bytes are 4.4 ms at a megabit a second.
        try write(world, socket, [500, 100, 100, 100])
        #expect(lengths(world) == [500, 300])
        #expect(world.a.stack.counters["TcpExtTCPAutoCorking"] == 1)
        let left = world.times[world.packets.indices.last { world.packets[$0].tcp?.payload.count == 300 }!]
        // The second left right behind the first: it was handed over when that had gone.
        #expect((left - world.times[world.packets.indices.last { world.packets[$0].tcp?.payload.count == 500 }!]).nanoseconds == 352 * 8000)
    }

    @Test("Without autocorking, behind MSG_EOR, and behind less than themselves they do not wait")
    func exceptions() throws {
        var settings = TransportSettings()
        settings.tcp_autocorking = false
        var world = World(settings: settings)
        var socket = try connect(world)
        try world.a.stack.setOption(socket, .noDelay(true))
        try write(world, socket, [500, 100, 100, 100])
        #expect(lengths(world) == [500, 100, 100, 100])
        world.tearDown()

        world = World()
        socket = try connect(world)
        try world.a.stack.setOption(socket, .noDelay(true))
        try write(world, socket, [100, 500, 60])
        #expect(lengths(world) == [100, 500, 60])
        world.tearDown()

        world = World()
        defer { world.tearDown() }
        socket = try connect(world)
        try world.a.stack.setOption(socket, .noDelay(true))
        #expect(try world.a.stack.send(socket, [UInt8](repeating: 7, count: 500)[...]) == 500)
        #expect(try world.a.stack.send(socket, [UInt8](repeating: 7, count: 100)[...], flags: .endOfRecord) == 100)
        try write(world, socket, [100])
        #expect(lengths(world) == [500, 100, 100])
    }

    @Test("Nothing waits where the device holds nothing")
    func fastDevice() throws {
        let world = World()
        defer { world.tearDown() }
        let socket = try connect(world)
        world.a.deviceRate = 0
        try world.a.stack.setOption(socket, .noDelay(true))
        try write(world, socket, [500, 100, 100])
        #expect(lengths(world) == [500, 100, 100])
        #expect(world.a.stack.counters["TcpExtTCPAutoCorking"] == 0)
    }

    @Test("The device's queue holds no more of a connection than tcp_limit_output_bytes and a burst", arguments: [10_000, 4_194_304])
    func smallQueues(_ limit: Int) throws {
        var settings = TransportSettings()
        settings.tcp_limit_output_bytes = limit
        let world = World(settings: settings)
        defer { world.tearDown() }
        let socket = try connect(world)
        world.a.deviceRate = 1_250_000
        var written = 0
        let bytes = [UInt8](repeating: 7, count: 200_000)
        let start = world.now
        while written < 1_000_000 {
            written += (try? world.a.stack.send(socket, bytes[..<min(bytes.count, 1_000_000 - written)])) ?? 0
            world.run(.milliseconds(1))
        }
        world.run(.seconds(1))
        #expect(lengths(world).reduce(0, +) == 1_000_000)
        // The device is never idle for it: 1 MB and headers at 1.25 MB/s.
        let last = try #require(world.packets.indices.last { world.packets[$0].from == "a" && world.packets[$0].tcp?.payload.isEmpty == false })
        #expect((world.times[last] - start).nanoseconds < 860_000_000)
        if limit == 10_000 { #expect(world.a.mostQueued < 40_000) } else { #expect(world.a.mostQueued > 50_000) }
        #expect(world.a.stack.counters["TcpRetransSegs"] == 0)
    }

    @Test("A timeout sends nothing again that the device still holds")
    func heldRetransmission() throws {
        let world = World()
        defer { world.tearDown() }
        let socket = try connect(world)
        world.a.deviceRate = 1000
        // 1.5 s in the device; the least RTO is 200 ms.
        #expect(try world.a.stack.send(socket, [UInt8](repeating: 7, count: 1448)[...]) == 1448)
        world.run(.milliseconds(1400))
        #expect(lengths(world) == [])
        #expect(world.a.mostQueued == 1500)
        #expect(world.a.stack.counters["TcpExtTCPSpuriousRtxHostQueues"]! >= 2)
        #expect(world.a.stack.counters["TcpRetransSegs"] == 0)
        // When it has left, what counts as lost may go again, as in Linux.
        world.run(.seconds(5))
        #expect(lengths(world) == [1448, 1448])
    }
}
