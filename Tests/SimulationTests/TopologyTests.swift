import HairpinEngine
import HairpinHost
import HairpinTopology
import HairpinWire
import Testing

@Suite("Topologies that make no sense")
struct TopologyTests {
    private func problem(_ interfaces: [InterfaceDescription]) -> String? {
        do {
            _ = try Simulation(Topology(hosts: [HostDescription(name: "a", kind: .node, interfaces: interfaces)]))
            return nil
        } catch { return error.problem }
    }

    @Test("an MTU that no frame can have is refused", arguments: [-1, 0, 67, 65537, Int.max])
    func mtu(value: Int) {
        #expect(problem([InterfaceDescription(name: "d", kind: .dummy, mtu: value)]) == "d: an MTU of \(value) is not between 68 and 65536")
    }

    @Test("a port needs a bridge that exists and is one")
    func master() {
        let bridge = InterfaceDescription(name: "br0", kind: .bridge(ageing: .seconds(300)))
        let other = InterfaceDescription(name: "d", kind: .dummy)
        #expect(problem([bridge, other, InterfaceDescription(name: "p", kind: .dummy, master: "br0")]) == nil)
        #expect(problem([bridge, other, InterfaceDescription(name: "p", kind: .dummy, master: "d")]) == "p: d is not a bridge")
        #expect(problem([bridge, other, InterfaceDescription(name: "p", kind: .dummy, master: "br1")]) == "p: its bridge br1 does not exist")
    }
}
