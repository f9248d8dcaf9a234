import HairpinEngine
import HairpinWire
import Testing

@testable import HairpinDatapath

/// Requests whose servers stand behind the bridge they came in by go to them in one step. Everything that can be seen of it must be as if they went up through
/// the bridge device, IPVS and down again.
@Suite("Virtual servers behind the bridge")
struct BridgedVirtualServerTests {
    private static let service = IPv4Address(10, 96, 0, 10)
    private static let proxyAddress = IPv4Address(10, 244, 0, 1)

    /// The node of four pods, of which the first two are clients.
    private static func world(_ rules: [String], shortcuts: Bool, proto: IPProtocol, loopsBack: Bool) throws -> World {
        let world = World(pods: 4, hairpin: loopsBack)
        let process = world.process!
        for name in ["net.bridge.bridge-nf-call-iptables", "net.ipv4.ip_forward"] { process.setSysctl(name, "1", namespace: world.node) }
        let dummy = process.makeDummy(world.node, name: "kube-ipvs0", mac: MACAddress(rawValue: 0x0200_0000_0200), mtu: 1500)
        process.addAddress(IPv4InterfaceAddress(service, prefixLength: 32), on: dummy)
        try process.setRules(rules, namespace: world.node)
        setServers(world, weights: [1, 1], proto)
        world.filter.pointee.takesShortcuts = shortcuts
        return world
    }

    private static func setServers(_ world: World, weights: [Int], _ proto: IPProtocol) {
        let servers = zip(world.pods[2...], weights).map { VirtualService.Server(address: $0.0.address, port: 8080, weight: $0.1) }
        world.process.setVirtualServices([VirtualService(address: service, port: 80, proto: proto, servers: servers)], namespace: world.node)
    }

    private static func rules(_ random: inout SeededRandom) -> [String] {
        var lines: [String] = []
        if random.below(2) == 0 {
            lines += ["*filter", ":INPUT ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]"]
            let tests = [
                "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT", "-A OUTPUT -d 10.244.0.4 -m conntrack --ctstate ESTABLISHED -j ACCEPT",
                "-A OUTPUT -d 10.244.0.5 -j DROP", "-A INPUT -p udp -j ACCEPT", "-A INPUT -i cni0 -j ACCEPT", "-A OUTPUT -o cni0 -j MARK --or-mark 0x4",
                "-A INPUT -m length --length 48:100 -j ACCEPT",
            ]
            for _ in 0...random.below(3) { lines.append(tests[Int(random.below(UInt32(tests.count)))]) }
            lines.append("COMMIT")
        }
        if random.below(3) == 0 { lines += ["*nat", "-A POSTROUTING -s 10.244.0.\(2 + random.below(2)) -j MASQUERADE", "COMMIT"] }
        if random.below(6) == 0 { lines += ["*mangle", "-A POSTROUTING -d 10.244.0.4 -j MARK --or-mark 0x1", "COMMIT"] }
        return lines
    }

    @Test("Frames, counters, rules, connections and neighbours are those of the way through the host", arguments: 0..<120)
    func agreement(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed), name: "bridged virtual servers")
        let rules = Self.rules(&random)
        let proto: IPProtocol = seed % 2 == 0 ? .udp : .tcp
        let loopsBack = random.below(2) == 0
        let worlds = [
            try Self.world(rules, shortcuts: true, proto: proto, loopsBack: loopsBack), try Self.world(rules, shortcuts: false, proto: proto, loopsBack: loopsBack),
        ]
        var sequences = [UInt32](repeating: 1001, count: 4)
        for step in 0..<240 {
            // Captures on the bridge come and go.
            if step % 40 == 0 {
                let isTapped = random.below(4) == 0
                for world in worlds { world.process.setTapped(world.bridge, isTapped) }
            }
            if step > 40 {
                switch random.below(60) {
                case 0:
                    let weights = (0..<1 + random.below(2)).map { _ in Int(random.below(2)) }
                    for world in worlds { Self.setServers(world, weights: weights, proto) }
                case 1:
                    let port = 2 + Int(random.below(2))
                    for world in worlds { world.process.setUp(false, world.pods[port].port) }
                    for world in worlds { world.process.setUp(true, world.pods[port].port) }
                case 2:
                    // Any change to addresses makes routes be asked again.
                    for world in worlds { world.process.addAddress(IPv4InterfaceAddress(IPv4Address(10, 99, 0, UInt8(step)), prefixLength: 32), on: world.bridge) }
                default: break
                }
            }
            let flow = Int(random.below(4))
            let client = flow & 1
            let isDirect = flow == 3 && random.below(2) == 0
            var packet = TestPacket(
                source: worlds[0].pods[client].address, destination: isDirect ? worlds[0].pods[2].address : Self.service, sourcePort: 40000 + UInt16(flow),
                destinationPort: isDirect ? 8080 : 80, proto: proto)
            packet.payload = proto == .udp ? Int(random.below(3)) * 30 : 0
            var sender = client
            if step > 4, random.below(3) == 0 {
                sender = 2 + Int(random.below(2))
                var request = packet
                (request.destination, request.destinationPort) = (worlds[0].pods[sender].address, 8080)
                if rules.contains(where: { $0.contains("MASQUERADE") }), random.below(2) == 0 { request.source = Self.proxyAddress }
                packet = request.reply(random.below(4) == 0 ? [.syn, .ack] : .ack, sequence: 5001, acknowledgment: sequences[flow], payload: request.payload)
            } else if step > 4, proto == .tcp, random.below(5) > 0 {
                let flags: TCPFlags = switch random.below(40) { case 0: [.fin, .ack]; case 1: .rst; default: .ack }
                let payload = Int(random.below(3)) * 100
                packet = packet.with(flags, sequence: sequences[flow], acknowledgment: 5001, payload: payload)
                sequences[flow] &+= UInt32(payload)
            }
            let timeToLive = random.below(20) == 0 ? UInt8(1 + random.below(2)) : 64
            let pause = Duration.milliseconds(Int64(random.below(12) == 0 ? random.below(60_000) : 1))
            for world in worlds {
                world.send(packet, from: sender, timeToLive: timeToLive)
                world.runFor(pause)
            }
        }
        let (short, long) = (worlds[0], worlds[1])
        #expect(short.seen.count == long.seen.count, "\(rules)")
        for (a, b) in zip(short.seen, long.seen) where a != b {
            Issue.record("\(World.line(a.bytes)) on \(a.interface) at \(a.time), not \(World.line(b.bytes)) on \(b.interface) at \(b.time); \(rules)")
            break
        }
        #expect(short.drops == long.drops && short.dropPlaces == long.dropPlaces)
        #expect("\(short.process.interfaceStates(namespace: short.node))" == "\(long.process.interfaceStates(namespace: long.node))")
        #expect("\(short.process.neighbourStates(namespace: short.node))" == "\(long.process.neighbourStates(namespace: long.node))")
        #expect(short.filter.pointee.lines(counters: true) == long.filter.pointee.lines(counters: true))
        let (instant, now) = (short.process.now, short.process.now.nanoseconds)
        #expect(short.filter.pointee.connections.lines(now: instant) == long.filter.pointee.connections.lines(now: instant))
        for world in worlds { world.filter.pointee.virtualServers.expireEntries(now: now) }
        #expect(short.filter.pointee.virtualServers.connections(now: now) == long.filter.pointee.virtualServers.connections(now: now))
        #expect(short.filter.pointee.virtualServers.counters() == long.filter.pointee.virtualServers.counters())
        #expect(short.process.frameBooks.isBalanced && long.process.frameBooks.isBalanced)
    }

    @Test("A request of an established connection takes one step, and leaves the host's filter and IPVS counted")
    func oneStep() throws {
        let world = try Self.world(["*filter", "-A INPUT -p udp -j ACCEPT", "COMMIT"], shortcuts: true, proto: .udp, loopsBack: false)
        world.process.setTapped(world.bridge, false)
        var packet = TestPacket(source: world.pods[0].address, destination: Self.service, sourcePort: 40000, destinationPort: 80, proto: .udp)
        packet.payload = 20
        world.send(packet, from: 0)
        world.runFor(.seconds(1))
        let server = world.trace(world.pods[3].eth0).contains { $0.hasPrefix("proto 17") } ? 3 : 2
        var answer = packet
        (answer.destination, answer.destinationPort) = (world.pods[server].address, 8080)
        world.send(answer.reply(.ack, payload: 20), from: server)
        world.runFor(.seconds(1))
        for _ in 0..<5 {
            world.send(packet, from: 0)
            world.runFor(.milliseconds(1))
        }
        let requests = world.trace(world.pods[server].eth0).filter { $0 == "proto 17 10.244.0.2 > \(world.pods[server].address) ttl=63" }
        #expect(requests.count == 6)
        // Only the one step remembers the neighbour with the connection.
        let connections = world.filter.pointee.connections
        #expect((0..<connections.used).contains { connections.entries[$0].serverEpoch != 0 && connections.entries[$0].virtualEntry != 0 })
        #expect(world.filter.pointee.lines(counters: true).contains { $0.hasPrefix("[6:288] -A INPUT -p udp") })
    }
}

extension World {
    var filter: UnsafeMutablePointer<Netfilter> { process.namespace(node).pointee.netfilter.made }

    /// Sends what is behind the IP header of a packet.
    func send(_ packet: TestPacket, from pod: Int, timeToLive: UInt8 = 64) {
        let bytes = packet.bytes
        let (frame, payload) = process.allocatePacket(bytes.count - 20)
        bytes.withUnsafeBytes { payload.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[20...])) }
        var request = OutputRequest(source: packet.source, destination: packet.destination, proto: packet.proto)
        request.timeToLive = timeToLive
        request.identification = .zero
        try? process.send(frame, request, namespace: pods[pod].namespace)
        process.runSoftirqs()
    }
}
