import HairpinEngine
import HairpinWire
import Testing

@testable import HairpinDatapath

@Suite("Namespaces and what they make late")
struct NamespaceTests {
    @Test("identifications are those of the stream named after the host, however late the first packet")
    func identifications() {
        var counters = IdentificationCounters(seed: 7, name: "default/web")
        defer { counters.deallocate() }
        var random = SeededRandom(seed: 7, name: "identification/default/web")
        let key = random.next()
        var buckets = (0..<256).map { _ in (identification: random.next32(), seen: UInt32(0)) }
        var targets = SeededRandom(seed: 1, name: "targets")
        for step in 0..<2000 {
            let source = IPv4Address(10, 244, 0, 5), destination = IPv4Address(rawValue: targets.next32())
            let now = Instant.zero + .milliseconds(Int64(50 + 3 * step))
            let mixed = (UInt64(destination.rawValue) << 32 | UInt64(source.rawValue)) &+ UInt64(IPProtocol.udp.rawValue) &* 0x9e37_79b9_7f4a_7c15
            let n = Int(((mixed ^ key) &* 0xbf58_476d_1ce4_e5b9) >> 56)
            let tick = UInt32(now.nanoseconds / 4_000_000)
            if tick > buckets[n].seen {
                buckets[n].identification &+= random.below(tick - buckets[n].seen)
                buckets[n].seen = tick
            }
            buckets[n].identification &+= 1
            #expect(counters.next(source: source, destination: destination, proto: .udp, now: now) == UInt16(truncatingIfNeeded: buckets[n].identification))
        }
    }

    @Test("a namespace's random numbers are those of the stream named after the host")
    func random() {
        var space = Namespace(name: "default/web", seed: 7)
        defer { space.deallocate() }
        var expected = SeededRandom(seed: 7, name: "ip/default/web")
        for _ in 0..<10 { #expect(space.random.next() == expected.next()) }
    }

    @Test("the first numbers of a named stream are what they have always been")
    func names() {
        var random = SeededRandom(seed: 1, name: "transport/default/web")
        #expect((0..<3).map { _ in random.next() } == [0x0365_4d23_62f0_14c0, 0xbfda_131f_2f1b_f35a, 0x08b6_1025_4f9a_dad7])
    }

    @Test("a packet filter that nobody has asked for lets everything pass, and is empty when asked")
    func filter() throws {
        var filter = LazyNetfilter()
        defer { filter.deallocate() }
        #expect(!filter.isActive)
        filter.interfacesChanged()
        #expect(filter.made.pointee.lines() == Netfilter().rules.lines())
        try filter.made.pointee.apply(command: "iptables -A INPUT -j DROP")
        #expect(filter.isActive)
        let copy = filter
        #expect(copy.isActive, "copies are names of one filter")
    }

    @Test("maps that have had no key share nothing that one of them could change")
    func emptyMaps() {
        var (first, second) = (AddressMap(), AddressMap())
        defer {
            first.deallocate()
            second.deallocate()
        }
        first.remove(5)
        #expect(first.find(5) == nil)
        first.set(5, 50)
        #expect(second.find(5) == nil)
        #expect(first.find(5) == 50)
        first.remove(5)
        #expect(first.count == 0)
        #expect(first.find(5) == nil)
    }

    @Test("interfaces are found by namespace and name among thousands")
    func interfaceNames() {
        let count = 5000
        var names = InterfaceNames(capacity: 3 * count)
        var spaces = [NamespaceIndex(0)]
        func add(_ name: String, _ space: UInt32) {
            names.append(name, namespace: NamespaceIndex(space))
            spaces.append(NamespaceIndex(space))
        }
        for pod in 0..<UInt32(count) {
            add("veth\(pod)", 0)
            add("lo", pod + 1)
            add("eth0", pod + 1)
        }
        func find(_ name: String, _ space: UInt32) -> InterfaceIndex? {
            names.find(name, namespace: NamespaceIndex(space)) { spaces[Int($0.rawValue)] == NamespaceIndex(space) }
        }
        for pod in 0..<UInt32(count) {
            #expect(find("veth\(pod)", 0)?.rawValue == 3 * pod + 1)
            #expect(find("lo", pod + 1)?.rawValue == 3 * pod + 2)
            #expect(find("eth0", pod + 1)?.rawValue == 3 * pod + 3)
            #expect(find("veth\(pod)", pod + 1) == nil)
        }
        #expect(find("veth5000", 0) == nil)
        #expect(find("", 0) == nil)
        #expect(names[InterfaceIndex(3 * 4999 + 1)] == "veth4999")
        #expect(names[.none] == "")
    }

    @Test("of two interfaces of one name the first is found")
    func sameName() {
        var names = InterfaceNames(capacity: 2)
        names.append("eth0", namespace: NamespaceIndex(3))
        names.append("eth0", namespace: NamespaceIndex(3))
        #expect(names.find("eth0", namespace: NamespaceIndex(3)) { _ in true }?.rawValue == 1)
    }
}
