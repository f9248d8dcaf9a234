import HairpinEngine
import HairpinTransport
import HairpinWire
import Testing

@Suite("Loss")
struct LossTests {
    /// A page of `size` bytes, losing the packets for which `lose` holds (given the count of full segments sent so far).
    private func transfer(_ size: Int, lose: @escaping (World.Packet, Int) -> Bool) throws -> (World, Peer) {
        let world = World()
        var full = 0
        world.hasFate = true
        world.fate = { packet in
            defer { if packet.from == "b", packet.bytes.count > 1000 { full += 1 } }
            return lose(packet, full) ? [] : [world.delay]
        }
        try Peer.serve(world.b, port: 80, [.receive(74), .send(241), .sleep(1), .send(size), .receiveToEnd, .close])
        let client = try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), [.send(74), .receive(241 + size), .close])
        world.run(.seconds(20))
        #expect(client.received == (0..<241 + size).map(Peer.pattern))
        return (world, client)
    }

    @Test("a lost segment in the first flight is repaired by SACK within milliseconds")
    func firstFlight() throws {
        let (world, _) = try transfer(40_000) { $0.from == "b" && $0.bytes.count > 1000 && $1 == 4 }
        #expect(world.lines.contains { $0.hasSuffix("<nop,nop,ts,nop,nop,sack{7482:8930}>") })
        let repeated = world.lines.indices.filter { world.lines[$0].contains("b [") && world.lines[$0].contains("seq=6034 ") }
        #expect(repeated.count == 2)
        #expect(world.times[repeated[1]] - world.times[repeated[0]] < .milliseconds(3))
    }

    @Test("a lost tail is found by a probe with the last segment")
    func tail() throws {
        var tails = 0
        let (world, _) = try transfer(9000) { packet, full in
            guard packet.from == "b" else { return false }
            if packet.tcp!.payload.count == 312 { tails += 1 }
            return packet.bytes.count > 1000 ? full == 5 : packet.tcp!.payload.count == 312 && tails == 1
        }
        let probes = world.lines.indices.filter { world.lines[$0] == "b [PA] seq=8930 ack=75 win=509 len=312" }
        #expect(probes.count == 2)
        #expect(4...9 ~= (world.times[probes[1]] - world.times[probes[0]]).nanoseconds / 1_000_000)
        #expect(world.lines[probes[1] + 1].contains("ack=7482"))
        #expect(world.lines[probes[1] + 1].hasSuffix("sack{8930:9242}>"))
        #expect(world.lines[probes[1] + 2].hasPrefix("b [A] seq=7482"))
        // The probe's SACK shows the hole, which is filled at once, not by the retransmission timer.
        #expect(world.times[probes[1] + 2] == world.times[probes[1]] + world.delay + world.delay)
    }

    @Test("a lost SYN-ACK is sent again when the SYN is")
    func synAck() throws {
        let world = World()
        world.hasFate = true
        world.fate = { $0.index == 1 ? [] : [world.delay] }
        try Peer.serve(world.b, port: 80, [.receiveToEnd, .close])
        _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), [.send(5), .sleep(1), .close])
        world.run(.seconds(3))
        #expect(world.lines.filter { $0.hasPrefix("b [SA]") }.count >= 2)
        #expect(world.lines.last!.hasPrefix("a [A]"))
    }

    @Test("a smaller MTU on the way: refused segments go again, cut within the old bursts")
    func pathMTU() throws {
        let world = World()
        world.hasFate = true
        world.fate = { packet in
            guard packet.bytes.count > 1450 else { return [world.delay] }
            world.after(world.delay) {
                world.b.mtu = 1450
                packet.bytes.withUnsafeBytes {
                    world.b.stack.receiveICMPError(type: 3, code: 4, information: 1450, offender: world.a.address, quote: UnsafeRawBufferPointer(rebasing: $0[..<548]))
                }
            }
            return []
        }
        try Peer.serve(world.b, port: 80, [.receive(74), .send(241), .sleep(1), .send(10_000), .receiveToEnd, .close])
        let client = try Peer.connect(world.a, to: SocketAddress(world.b.address, 80), [.send(74), .receive(10_241), .close])
        world.run(.seconds(5))
        #expect(client.received == (0..<10_241).map(Peer.pattern))
        let again = world.packets.filter { $0.from == "b" && $0.tcp!.payload.count > 0 && $0.bytes.count <= 1450 }.map { $0.tcp!.payload.count }
        #expect(again.filter { $0 == 1398 }.count >= 6)
        #expect(again.contains(250))
        #expect(Set(world.lines).contains { $0.hasPrefix("b [PA] seq=7232") && $0.hasSuffix("len=250") })
    }

    @Test("whatever is lost, duplicated or reordered, bytes arrive once and in order", arguments: 1...25)
    func anyWeather(seed: UInt64) throws {
        let world = World(seed: seed)
        var random = SeededRandom(seed: seed, name: "weather")
        let loss = random.below(25)
        let duplication = random.below(20)
        let spread = Int64(random.below(3000)) + 1
        world.hasFate = true
        world.fate = { _ in
            var arrivals: [HairpinEngine.Duration] = []
            let copies = random.below(100) < duplication ? 2 : 1
            for _ in 0..<copies where random.below(100) >= loss { arrivals.append(.microseconds(30 + Int64(random.below(UInt32(spread))))) }
            return arrivals
        }
        var server: Peer?
        try Peer.serve(world.b, port: 7, options: seed % 3 == 0 ? [.receiveBuffer(8192)] : [], [.send(20_000), .receive(60_000), .send(5000), .receiveToEnd, .close]) {
            server = $0
        }
        let client = try Peer.connect(world.a, to: SocketAddress(world.b.address, 7), [.send(30_000), .receive(20_000), .send(30_000), .receive(5000), .close])
        world.run(.seconds(600))
        #expect(client.received == (0..<25_000).map(Peer.pattern))
        #expect(server?.received == (0..<60_000).map(Peer.pattern))
        #expect(client.errors.isEmpty)
        world.run(.seconds(600))
        #expect(world.a.stack.sockets().isEmpty)
    }

    @Test("no segment, however odd, upsets a connection's bookkeeping", arguments: 1...20)
    func fuzz(seed: UInt64) throws {
        let world = World(seed: seed)
        var random = SeededRandom(seed: seed, name: "fuzz")
        try Peer.serve(world.b, port: 7, [.receive(3000), .send(5000), .receiveToEnd, .close])
        let ways: [[Peer.Step]] = [
            [.send(3000), .sleep(2), .receive(5000), .sleep(3), .close], [.send(3000), .shutdown, .receiveToEnd, .close], [.send(10), .sleep(5), .abort],
            [.send(5), .sleep(1), .close],
        ]
        for round in 0..<40 {
            _ = try Peer.connect(world.a, to: SocketAddress(world.b.address, 7), ways[round % 4])
            for _ in 0..<30 {
                world.run(.microseconds(Int64(random.below(400))))
                guard let packet = world.packets.last(where: { _ in random.below(3) == 0 }), packet.bytes.count >= 40 else { continue }
                // A segment as it was sent, with some of its fields changed at random.
                var bytes = packet.bytes
                for _ in 0...random.below(4) {
                    switch random.below(6) {
                    case 0: bytes[33] = UInt8(truncatingIfNeeded: random.next())
                    case 1: bytes[27] = bytes[27] &+ UInt8(truncatingIfNeeded: random.next()) % 5
                    case 2: bytes[26] = UInt8(truncatingIfNeeded: random.next())
                    case 3: bytes[31] = UInt8(truncatingIfNeeded: random.next())
                    case 4: bytes[32] = UInt8(5 + random.below(6)) << 4
                    default: bytes[40 + Int(random.below(UInt32(bytes.count - 39))) - 1] = UInt8(truncatingIfNeeded: random.next())
                    }
                }
                let target: Host = packet.from == "a" ? world.b : world.a
                _ = bytes.withUnsafeBytes { target.stack.receive($0, checksumVerified: true) }
            }
        }
        world.run(.seconds(2000))
        // Whatever was believed, in the end nothing is left but what programs still hold.
        #expect(world.a.stack.sockets().allSatisfy { ["UNCONN", "ESTAB", "CLOSE-WAIT", "FIN-WAIT-1", "FIN-WAIT-2"].contains($0.state) })
    }
}
