import HairpinEngine
import HairpinWire
import Testing

@testable import HairpinDatapath

@Suite("IP")
struct IPTests {
    @Test("a 4000-byte ping leaves in three fragments each way and arrives whole")
    func fragments() {
        let world = World(pods: 2)
        world.ping(from: 0, to: world.pods[1].address, payload: 4000, dontFragment: false)
        world.runFor(.seconds(1))
        let frames = world.trace(world.pods[1].eth0).filter { $0.hasPrefix("ICMP") }
        #expect(
            frames == [
                "ICMP 8/0 10.244.0.2 > 10.244.0.3 ttl=64 frag=0+", "ICMP 10.244.0.2 > 10.244.0.3 ttl=64 frag=1480+", "ICMP 10.244.0.2 > 10.244.0.3 ttl=64 frag=2960",
                "ICMP 0/0 10.244.0.3 > 10.244.0.2 ttl=64 frag=0+", "ICMP 10.244.0.3 > 10.244.0.2 ttl=64 frag=1480+", "ICMP 10.244.0.3 > 10.244.0.2 ttl=64 frag=2960",
            ])
        #expect(world.delivered.map(\.packet.count) == [4028, 4028])
        #expect(world.process.frameBooks.isBalanced)
        #expect(world.process.frameBooks.inFlight == 0)
    }

    @Test("fragments that never become whole are given up after 30 seconds, and the sender hears of it")
    func reassemblyTimeout() {
        let world = World(pods: 2)
        world.ping(from: 0, to: world.pods[1].address)
        world.runFor(.seconds(1))
        // The first fragment of two, by hand.
        var frame = [UInt8](repeating: 0, count: 14 + 28)
        frame.withUnsafeMutableBytes {
            EthernetHeader(destination: world.pods[1].mac, source: world.pods[0].mac, type: .ipv4).emit(to: $0.baseAddress!)
            var header = IPv4Header(source: world.pods[0].address, destination: world.pods[1].address, proto: .udp, totalLength: 28)
            header.moreFragments = true
            header.identification = 9
            header.emit(to: $0.baseAddress! + 14)
        }
        world.process.transmitRaw(frame, on: world.pods[0].eth0)
        world.runFor(.seconds(29))
        #expect(world.errors.isEmpty)
        world.runFor(.seconds(3))
        #expect(world.errors.map { [$0.type, $0.code] } == [[ICMPv4.timeExceeded, ICMPv4.reassemblyTimeExceeded]])
        #expect(world.drops.contains(.fragmentTimeout))
        #expect(world.process.frameBooks.isBalanced)
    }

    @Test("fragments that make more than 65535 bytes with the first one's options are dropped")
    func oversizedWhole() {
        let world = World(pods: 2)
        world.ping(from: 0, to: world.pods[1].address)
        world.runFor(.seconds(1))
        let before = world.delivered.count
        func send(offset: Int, count: Int, headerLength: Int, more: Bool) {
            var frame = [UInt8](repeating: 1, count: 14 + headerLength + count)
            frame.withUnsafeMutableBytes {
                let p = $0.baseAddress! + 14
                EthernetHeader(destination: world.pods[1].mac, source: world.pods[0].mac, type: .ipv4).emit(to: $0.baseAddress!)
                var header = IPv4Header(source: world.pods[0].address, destination: world.pods[1].address, proto: .udp, totalLength: headerLength + count)
                header.moreFragments = more
                header.fragmentOffset = offset
                header.identification = 9
                header.emit(to: p)
                p.put(UInt8(0x40 | headerLength / 4), at: IPv4Offset.versionAndLength)
                p.put(UInt16(0), at: IPv4Offset.checksum)
                p.put(InternetChecksum.checksum(UnsafeRawBufferPointer(start: p, count: headerLength)), at: IPv4Offset.checksum)
            }
            world.process.transmitRaw(frame, on: world.pods[0].eth0)
            world.runFor(.milliseconds(1))
        }
        // 60 bytes of header and 65 512 of payload: every fragment fits by its own header, the whole does not.
        send(offset: 0, count: 1440, headerLength: 60, more: true)
        for offset in stride(from: 1440, to: 65_512, by: 1440) { send(offset: offset, count: min(1440, 65_512 - offset), headerLength: 20, more: offset + 1440 < 65_512) }
        #expect(world.delivered.count == before)
        #expect(world.drops.filter { $0 == .fragmentInvalid }.count == 46)
        #expect(world.process.frameBooks.isBalanced)
        #expect(world.process.frameBooks.inFlight == 0)
    }

    @Test("no route: the node answers net unreachable in cni0's name; the burst of errors is limited to six")
    func unreachable() {
        let world = World(pods: 1)
        for _ in 0..<10 {
            world.ping(from: 0, to: IPv4Address(192, 0, 2, 1))
            world.runFor(.milliseconds(10))
        }
        #expect(world.errors.count == 6)
        #expect(world.errors.allSatisfy { $0.type == 3 && $0.code == 0 && $0.offender == IPv4Address(10, 244, 0, 1) })
    }

    @Test("a forwarding decision that is remembered ends with what it rests on: route, address, rp_filter, ip_forward")
    func remembered() {
        let world = World(pods: 2)
        let route = RouteState(destination: IPv4Prefix("192.0.2.0/24")!, gateway: world.pods[1].address, device: "cni0", source: nil, isKernel: false, isOnLink: false)
        func arrives() -> Bool {
            let before = world.trace(world.pods[1].eth0).count { $0.contains("> 192.0.2.1") }
            world.ping(from: 0, to: IPv4Address(192, 0, 2, 1))
            world.runFor(.milliseconds(10))
            return world.trace(world.pods[1].eth0).count { $0.contains("> 192.0.2.1") } > before
        }
        func set(_ name: String, _ value: String) { world.process.setSysctl(name, value, namespace: world.node) }
        #expect(!arrives())
        world.process.addRoute(route, namespace: world.node)
        #expect(arrives() && arrives())
        #expect(world.process.removeRoute(route.destination, gateway: nil, device: nil, namespace: world.node))
        #expect(!arrives())
        world.process.addRoute(route, namespace: world.node)
        #expect(arrives())
        set("net.ipv4.ip_forward", "0")
        #expect(!arrives())
        set("net.ipv4.ip_forward", "1")
        #expect(arrives())
        // The address of the sender as one of the node's own: a martian.
        world.process.addAddress(IPv4InterfaceAddress(world.pods[0].address, prefixLength: 32), on: world.bridge)
        #expect(!arrives() && world.drops.last == .martianSource)
    }

    @Test("time to live runs out at the node before it is decremented")
    func timeToLive() {
        let world = World(pods: 1)
        world.process.addRoute(
            RouteState(destination: IPv4Prefix("192.0.2.0/24")!, gateway: nil, device: "cni0", source: nil, isKernel: false, isOnLink: false), namespace: world.node)
        world.ping(from: 0, to: IPv4Address(192, 0, 2, 1), timeToLive: 1)
        world.runFor(.milliseconds(10))
        #expect(world.errors.map { [$0.type, $0.code] } == [[11, 0]])
        let quoted = world.seen.last!.bytes
        #expect(quoted[14 + 20 + 8 + IPv4Offset.timeToLive] == 1)
        #expect(quoted[14 + IPv4Offset.typeOfService] == 0xc0)
    }

    @Test("a pod's own address stays on lo")
    func ownAddress() {
        let world = World(pods: 1)
        world.ping(from: 0, to: world.pods[0].address)
        world.runFor(.milliseconds(10))
        #expect(world.trace(world.pods[0].eth0).isEmpty)
        let lo = world.process.findInterface("lo", namespace: world.pods[0].namespace)!
        #expect(world.trace(lo) == ["ICMP 8/0 10.244.0.2 > 10.244.0.2 ttl=64", "ICMP 0/0 10.244.0.2 > 10.244.0.2 ttl=64"])
    }

    @Test("any bytes whatever end in a named drop or a delivery, and the books balance")
    func garbage() {
        let world = World(pods: 2)
        world.ping(from: 0, to: world.pods[1].address)
        world.runFor(.milliseconds(10))
        let sample = world.seen.map(\.bytes)
        var random = SeededRandom(seed: 11, name: "garbage")
        for _ in 0..<20_000 {
            var bytes = sample[Int(random.below(UInt32(sample.count)))]
            for _ in 0..<random.below(6) + 1 { bytes[Int(random.below(UInt32(bytes.count)))] = UInt8(truncatingIfNeeded: random.next()) }
            bytes = Array(bytes.prefix(14 + Int(random.below(UInt32(bytes.count - 13)))))
            world.process.transmitRaw(bytes, on: world.pods[Int(random.below(2))].eth0)
            world.process.runSoftirqs()
        }
        world.runFor(.seconds(60))
        #expect(world.process.frameBooks.isBalanced)
        #expect(world.process.frameBooks.inFlight == 0)
    }

    @Test("A packet that was damaged on its way is dropped by name, at the pod and at a filtering bridge")
    func damage() throws {
        for filters in [false, true] {
            let world = World(pods: 2)
            if filters {
                world.process.setSysctl("net.bridge.bridge-nf-call-iptables", "1", namespace: world.node)
                try world.process.setRules(["*filter", "-A FORWARD -p udp -j ACCEPT", "COMMIT"], namespace: world.node)
            }
            world.ping(from: 0, to: world.pods[1].address)
            world.runFor(.seconds(1))
            #expect(world.delivered.count == 2, "echo and answer, whose checksums nobody has to verify")
            var frame = [UInt8](repeating: 0, count: 14 + 28)
            frame.withUnsafeMutableBytes {
                EthernetHeader(destination: world.pods[1].mac, source: world.pods[0].mac, type: .ipv4).emit(to: $0.baseAddress!)
                IPv4Header(source: world.pods[0].address, destination: world.pods[1].address, proto: .udp, totalLength: 28).emit(to: $0.baseAddress! + 14)
            }
            frame[14 + IPv4Offset.timeToLive] ^= 1
            world.process.transmitRaw(frame, on: world.pods[0].eth0)
            world.runFor(.seconds(1))
            #expect(world.drops == [filters ? .malformedIP : .checksumIP])
            #expect(world.delivered.count == 2)
        }
    }
}
