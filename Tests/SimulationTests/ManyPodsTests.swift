import HairpinHost
import HairpinTopology
import HairpinWire
import Testing

@Suite("Nodes full of pods")
struct ManyPodsTests {
    private func topology(_ count: Int) -> Topology {
        var node = HostDescription(name: "node", kind: .node, interfaces: [InterfaceDescription(name: "cni0", kind: .bridge(ageing: .seconds(300)))])
        var pods: [HostDescription] = []
        for number in 0..<count {
            let address = IPv4InterfaceAddress(IPv4Address(10, 0, UInt8(1 + number / 250), UInt8(1 + number % 250)), prefixLength: 16)
            node.interfaces.append(
                InterfaceDescription(name: "veth\(number)", kind: .veth(peerHost: "default/pod-\(number)", peerInterface: "eth0"), master: "cni0"))
            let eth0 = InterfaceDescription(
                name: "eth0", kind: .veth(peerHost: "node", peerInterface: "veth\(number)"), mac: MACAddress(rawValue: 0x0200_0a00_0000 | UInt64(number)),
                addresses: [address])
            pods.append(
                HostDescription(
                    name: "default/pod-\(number)", kind: .pod, node: "node", interfaces: [eth0], routes: [RouteDescription(destination: address.prefix, device: "eth0")]))
        }
        return Topology(hosts: [node] + pods)
    }

    @Test("every interface is there, in order, with its own address, and is found by its name")
    func interfaces() throws {
        let count = 3000
        let simulation = try Simulation(topology(count))
        let all = simulation.tapInterfaces
        #expect(all.count == 2 + count + 2 * count)
        #expect(all.prefix(4).map(\.name) == ["lo", "cni0", "veth0", "veth1"])
        let eth0 = all.filter { $0.name == "eth0" }
        #expect(eth0.map(\.host) == (0..<count).map { "default/pod-\($0)" })
        #expect(Set(eth0.flatMap(\.addresses).map(\.address)).count == count)
        for number in 0..<count {
            #expect(simulation.setFault(host: "node", interface: "veth\(number)", lossPerBillion: 0, isCut: false))
            #expect(!simulation.setFault(host: "default/pod-\(number)", interface: "veth\(number)", lossPerBillion: 0, isCut: false))
        }
    }

    @Test("what is wrong with a topology is still said")
    func problems() {
        func problem(_ change: (inout Topology) -> Void) -> String? {
            var topology = topology(3)
            change(&topology)
            do {
                _ = try Simulation(topology)
                return nil
            } catch { return "\(error)" }
        }
        #expect(problem { _ in } == nil)
        #expect(problem { $0.hosts[3].name = "default/pod-1" } == "default/pod-1: there are two hosts of this name")
        #expect(problem { $0.hosts[3].name = "node" } == "node: there are two hosts of this name")
        #expect(problem { $0.hosts[0].interfaces[2].master = "br9" } == "node: veth1: its bridge br9 does not exist")
        #expect(problem { $0.hosts[0].interfaces[2].master = "veth0" } == "node: veth1: veth0 is not a bridge")
        #expect(problem { $0.hosts[2].routes[0].device = "eth1" } == "default/pod-1: route 10.0.0.0/16: no device eth1")
    }
}
