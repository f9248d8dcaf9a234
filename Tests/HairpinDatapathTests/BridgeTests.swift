import HairpinEngine
import HairpinWire
import Testing

@testable import HairpinDatapath

@Suite("A node's bridge")
struct BridgeTests {
    @Test("first ping between pods: ARP both ways once, then the echo; the bystander sees the broadcast only")
    func firstPing() {
        let world = World(pods: 3)
        world.ping(from: 0, to: world.pods[1].address)
        world.runFor(.seconds(1))
        let expected = [
            "ARP request 10.244.0.2 10.244.0.3 broadcast", "ARP reply 10.244.0.3 10.244.0.2 unicast", "ICMP 8/0 10.244.0.2 > 10.244.0.3 ttl=64",
            "ICMP 0/0 10.244.0.3 > 10.244.0.2 ttl=64",
        ]
        #expect(world.trace(world.pods[0].eth0) == expected)
        #expect(world.trace(world.pods[1].eth0) == expected)
        #expect(world.trace(world.bridge) == expected)
        #expect(world.trace(world.pods[2].eth0) == [expected[0]])
        #expect(world.process.frameBooks.isBalanced)
    }

    @Test("hairpin mode on all ports: the sender sees its own broadcast come back, twice on its port")
    func hairpinPorts() {
        let world = World(pods: 2, hairpin: true)
        world.ping(from: 0, to: world.pods[1].address)
        world.runFor(.seconds(1))
        let requests = world.trace(world.pods[0].port).filter { $0.hasPrefix("ARP request") }
        #expect(requests.count == 2)
        #expect(world.trace(world.bridge).filter { $0.hasPrefix("ARP request") }.count == 1)
        #expect(world.trace(world.pods[0].eth0).last == "ICMP 0/0 10.244.0.3 > 10.244.0.2 ttl=64")
    }

    @Test("a forgotten address is flooded once; its answer teaches the bridge again")
    func ageing() {
        let world = World(pods: 3, ageing: .seconds(1))
        world.ping(from: 0, to: world.pods[1].address)
        world.runFor(.milliseconds(2500))
        let before = world.trace(world.pods[2].eth0).count
        world.ping(from: 0, to: world.pods[1].address)
        world.runFor(.milliseconds(200))
        world.ping(from: 0, to: world.pods[1].address)
        world.runFor(.milliseconds(200))
        #expect(Array(world.trace(world.pods[2].eth0).dropFirst(before)) == ["ICMP 8/0 10.244.0.2 > 10.244.0.3 ttl=64"])
    }

    @Test("a port that goes down is forgotten, and nothing is flooded there; what is for it goes to the others, as what nobody knows")
    func portDown() {
        let world = World(pods: 4)
        world.ping(from: 0, to: world.pods[1].address)
        world.ping(from: 0, to: world.pods[2].address)
        world.runFor(.seconds(1))
        world.process.setUp(false, world.pods[1].port)
        let before = (1...3).map { world.trace(world.pods[$0].eth0).count }
        world.ping(from: 0, to: world.pods[1].address)
        world.ping(from: 0, to: world.pods[2].address)
        world.runFor(.milliseconds(200))
        let after = (1...3).map { Array(world.trace(world.pods[$0].eth0).dropFirst(before[$0 - 1])) }
        let lost = "ICMP 8/0 10.244.0.2 > 10.244.0.3 ttl=64"
        #expect(after[0].isEmpty && after[2] == [lost])
        // The other ports' stations are still known: their frames are flooded to nobody.
        #expect(after[1] == [lost, "ICMP 8/0 10.244.0.2 > 10.244.0.4 ttl=64", "ICMP 0/0 10.244.0.4 > 10.244.0.2 ttl=64"])
        #expect(world.process.frameBooks.isBalanced)
    }

    @Test("the table keeps 10 000 addresses apart and forgets by age alone")
    func forwardingTable() {
        var table = ForwardingTable(ageing: .seconds(300))
        defer { table.deallocate() }
        for n in 0..<8 { table.addPort(InterfaceIndex(UInt32(n + 1))) }
        for n in 0..<10_000 { table.learn(StationKey(MACAddress(rawValue: 0x0200_0000_0000 + UInt64(n))), port: UInt16(n % 8), now: Instant(nanoseconds: UInt64(n))) }
        for n in 0..<10_000 {
            #expect(table.port(of: StationKey(MACAddress(rawValue: 0x0200_0000_0000 + UInt64(n))), now: .zero + .seconds(1)) == InterfaceIndex(UInt32(n % 8 + 1)))
        }
        table.learn(StationKey(MACAddress(rawValue: 0x0200_0000_0000)), port: 5, now: .zero + .seconds(200))
        #expect(table.port(of: StationKey(MACAddress(rawValue: 0x0200_0000_0000)), now: .zero + .seconds(400)) == InterfaceIndex(6))
        #expect(table.port(of: StationKey(MACAddress(rawValue: 0x0200_0000_0001)), now: .zero + .seconds(400)) == InterfaceIndex.none)
        table.forget(port: 3)
        for n in 0..<10_000 where n % 8 == 3 || n == 4 || n == 9999 {
            let expected = n % 8 == 3 ? InterfaceIndex.none : InterfaceIndex(UInt32(n % 8 + 1))
            #expect(table.port(of: StationKey(MACAddress(rawValue: 0x0200_0000_0000 + UInt64(n))), now: .zero + .seconds(1)) == expected)
        }
    }

    @Test("a raw frame to nobody's address is flooded and ends as a named drop at every pod")
    func unknownUnicast() {
        let world = World(pods: 3)
        var frame = [UInt8](repeating: 0, count: 60)
        frame.withUnsafeMutableBytes {
            EthernetHeader(destination: MACAddress(rawValue: 0x0266_6666_6666), source: world.pods[0].mac, type: EtherType(0x88b5)).emit(to: $0.baseAddress!)
        }
        world.process.transmitRaw(frame, on: world.pods[0].eth0)
        world.runFor(.seconds(1))
        #expect(world.drops == [.otherHost, .otherHost])
        #expect(world.process.frameBooks.isBalanced)
        #expect(world.process.frameBooks.inFlight == 0)
    }
}
