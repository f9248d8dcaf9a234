import HairpinEngine
import HairpinWire
import Testing

@testable import HairpinDatapath

@Suite("Neighbours")
struct NeighbourTests {
    @Test("nobody answers: three requests about a second apart, then host unreachable from oneself")
    func unknownNeighbour() {
        let world = World(pods: 1)
        world.ping(from: 0, to: IPv4Address(10, 244, 0, 77))
        world.runFor(.seconds(5))
        let requests = world.seen.filter { $0.interface == world.pods[0].eth0 }
        #expect(requests.count == 3)
        for (a, b) in zip(requests, requests.dropFirst()) {
            // neigh_timer_handler works in jiffies on a timer wheel: 1.00–1.03 s.
            #expect((b.time - a.time) >= .seconds(1) && (b.time - a.time) <= .milliseconds(1030))
        }
        #expect(world.errors.count == 1)
        #expect(world.errors.first?.code == ICMPv4.hostUnreachable)
        #expect(world.errors.first?.offender == world.pods[0].address)
        #expect(world.drops.filter { $0 != .bridgeNoPort } == [.neighbourFailed])
    }

    @Test("a new MAC address forgets who was known and what waited, but no permanent entry, however often it changes")
    func changedAddress() {
        let world = World(pods: 1)
        let space = world.pods[0].namespace
        let known = IPv4Address(10, 244, 0, 50)
        world.ping(from: 0, to: known)
        world.process.setMAC(MACAddress(rawValue: 0x0200_0000_0001), on: world.pods[0].eth0)
        #expect(world.drops.contains(.neighbourFailed))
        #expect(world.process.frameBooks.inFlight == 0)
        world.process.addPermanentNeighbour(known, mac: MACAddress(rawValue: 0x0200_0000_0050), device: world.pods[0].eth0)
        world.process.setMAC(MACAddress(rawValue: 0x0200_0000_0002), on: world.pods[0].eth0)
        world.ping(from: 0, to: known)
        world.runFor(.seconds(1))
        #expect(world.process.neighbourStates(namespace: space).filter { $0.address == known }.map(\.state) == [.permanent])
        #expect(world.process.frameBooks.isBalanced)
    }

    @Test("who was asked probes after five seconds, by unicast; who asked does not")
    func staleEntryIsProbed() {
        let world = World(pods: 2)
        world.ping(from: 0, to: world.pods[1].address)
        world.runFor(.seconds(7))
        let late = world.seen.filter { $0.interface == world.pods[1].eth0 && $0.time > .zero + .seconds(4) }
        #expect(late.map { World.line($0.bytes) } == ["ARP request 10.244.0.3 10.244.0.2 unicast", "ARP reply 10.244.0.2 10.244.0.3 unicast"])
    }

    @Test("a gratuitous announcement creates no entry and moves a known one")
    func gratuitous() {
        let world = World(pods: 2)
        let announcement = ARPHeader(
            operation: .reply, senderHardware: MACAddress(rawValue: 0x0a58_0000_0001), senderProtocol: world.pods[1].address, targetHardware: .zero,
            targetProtocol: world.pods[1].address)
        func announce() {
            var frame = [UInt8](repeating: 0, count: 42)
            frame.withUnsafeMutableBytes {
                EthernetHeader(destination: .broadcast, source: announcement.senderHardware, type: .arp).emit(to: $0.baseAddress!)
                announcement.emit(to: $0.baseAddress! + 14)
            }
            world.process.transmitRaw(frame, on: world.pods[1].eth0)
            world.runFor(.milliseconds(10))
        }
        announce()
        #expect(world.process.neighbourStates(namespace: world.pods[0].namespace).isEmpty)
        world.ping(from: 0, to: world.pods[1].address)
        world.runFor(.milliseconds(10))
        #expect(world.process.neighbourStates(namespace: world.pods[0].namespace).first?.mac == world.pods[1].mac)
        announce()
        #expect(world.process.neighbourStates(namespace: world.pods[0].namespace).first?.mac == announcement.senderHardware)
    }

    @Test("a packet for a silent neighbour counts as held by its socket until it fails")
    func heldPackets() throws {
        let world = World(pods: 1)
        let (frame, payload) = world.process.allocatePacket(8)
        payload.initializeMemory(as: UInt8.self, repeating: 0)
        var request = OutputRequest(source: world.pods[0].address, destination: IPv4Address(10, 244, 0, 9), proto: .udp)
        request.socket = 5
        try world.process.send(frame, request, namespace: world.pods[0].namespace)
        #expect(world.process.packetsHeld(by: 5, namespace: world.pods[0].namespace) == 1)
        world.runFor(.seconds(4))
        #expect(world.process.packetsHeld(by: 5, namespace: world.pods[0].namespace) == 0)
    }
}
