import HairpinDatapath
import HairpinEngine
import HairpinHost
import HairpinTopology
import HairpinWire

/// A network, what is wrong with it and who talks in it, all drawn from one seed.
///
/// Either a tree of bridges (every node a switch, all pods in one network), or nodes that route between networks of their own over one or two
/// LANs, as clusters do. Sometimes a part is not joined to the rest.
struct RandomTopology {
    struct Fault {
        var host: String, interface: String
        var lossPerBillion: UInt32
        var isCut: Bool
    }
    struct Command {
        var host: String
        var text: String
        /// After the previous one was started.
        var pause: Duration
    }
    struct Generator {
        var host: String
        var station: Int
        var byteCount: Int
        var meanGap: Duration
        var pattern: GeneratorPattern
    }

    let seed: UInt64
    private(set) var topology = Topology()
    private(set) var faults: [Fault] = []
    private(set) var commands: [Command] = []
    private(set) var generators: [Generator] = []
    private(set) var stations: [MACAddress] = []
    /// How long after the last command everything runs on.
    private(set) var tail = Duration.milliseconds(1)
    private(set) var hasCosts = true

    private var draw: Draw
    private var delay = Duration.zero
    private var pods: [(name: String, address: IPv4Address)] = []
    private var lastMAC: UInt64 = 0x0200_0000_0000

    init(seed: UInt64) {
        self.seed = seed
        draw = Draw(random: SeededRandom(seed: seed, name: "topologies"))
        delay = .nanoseconds(draw.pick([200, 10_000, 50_000, 100_000, 200_000, 400_000]))
        if draw.chance(50) { buildTree() } else { buildRouted() }
        hasCosts = draw.chance(70)
        for _ in 0..<draw.number(0...2) where draw.chance(40) { addFault() }
        for _ in 0..<draw.number(2...5) { addCommand() }
        tail = .microseconds(Int64(draw.number(1_500...6_000)))
    }

    // MARK: Links

    private mutating func mac() -> MACAddress {
        lastMAC += 1
        return MACAddress(rawValue: lastMAC)
    }

    /// Delays over four orders of magnitude from one network to another: a window may hold one event or hundreds.
    private mutating func link() -> LinkDescription {
        var link = LinkDescription()
        if draw.chance(95) { link.delay = delay * Int64(draw.number(1...5)) }
        if draw.chance(40) { link.rate = draw.pick([10_000_000, 100_000_000, 1_000_000_000, 25_000_000_000]) }
        if draw.chance(20) { link.queueLimit = draw.number(1...20) }
        return link
    }

    private mutating func join(_ a: Int, _ aName: String, _ b: Int, _ bName: String, master: (a: String?, b: String?)) {
        let names = (topology.hosts[a].name, topology.hosts[b].name)
        var first = InterfaceDescription(name: aName, kind: .veth(peerHost: names.1, peerInterface: bName), mac: mac(), master: master.a)
        first.link = link()
        var second = InterfaceDescription(name: bName, kind: .veth(peerHost: names.0, peerInterface: aName), mac: mac(), master: master.b)
        second.link = draw.chance(70) ? first.link : link()
        topology.hosts[a].interfaces.append(first)
        topology.hosts[b].interfaces.append(second)
    }

    private mutating func addPod(on node: Int, number: Int, address: IPv4Address, prefix: Int, gateway: IPv4Address?) {
        let owner = topology.hosts[node].name
        let name = "\(owner)/pod\(number)"
        let own = mac()
        topology.hosts[node].interfaces.append(
            InterfaceDescription(name: "veth\(number)", kind: .veth(peerHost: name, peerInterface: "eth0"), mac: mac(), master: "br0"))
        let network = IPv4InterfaceAddress(address, prefixLength: prefix)
        let eth0 = InterfaceDescription(name: "eth0", kind: .veth(peerHost: owner, peerInterface: "veth\(number)"), mac: own, addresses: [network])
        var routes = [RouteDescription(destination: network.prefix, device: "eth0", source: address)]
        if let gateway { routes.append(RouteDescription(destination: IPv4Prefix(.any, length: 0), gateway: gateway, device: "eth0")) }
        topology.hosts.append(HostDescription(name: name, kind: .pod, node: owner, interfaces: [eth0], routes: routes))
        if draw.chance(30) {
            generators.append(
                Generator(
                    host: name, station: stations.count, byteCount: draw.number(14...1514), meanGap: .microseconds(Int64(draw.number(40...400))),
                    pattern: draw.chance(15) ? .broadcast : .uniform))
            stations.append(own)
        } else {
            pods.append((name, address))
        }
    }

    // MARK: The two families

    private mutating func buildTree() {
        let count = draw.pick([1, 2, 2, 2, 3, 3, 4, 5])
        for n in 0..<count {
            let bridge = InterfaceDescription(name: "br0", kind: .bridge(ageing: .seconds(300)), mac: mac())
            topology.hosts.append(HostDescription(name: "node\(n)", kind: n > 1 && draw.chance(30) ? .lan : .node, interfaces: [bridge]))
        }
        for n in 1..<max(count, 1) where draw.chance(93) { join(draw.number(0...(n - 1)), "down\(n)", n, "up", master: ("br0", "br0")) }
        var number = 0
        for n in 0..<count where topology.hosts[n].kind == .node {
            for _ in 0..<draw.number(2...4) {
                number += 1
                addPod(on: n, number: number, address: IPv4Address(10, 0, 0, UInt8(number)), prefix: 16, gateway: nil)
            }
        }
        // A machine of its own on the tree: an outside host.
        if draw.chance(40) {
            let address = IPv4InterfaceAddress(IPv4Address(10, 0, 1, 1), prefixLength: 16)
            topology.hosts.append(HostDescription(name: "outside", kind: .external))
            join(draw.number(0...(count - 1)), "out", topology.hosts.count - 1, "eth0", master: ("br0", nil))
            topology.hosts[topology.hosts.count - 1].interfaces[0].addresses = [address]
            topology.hosts[topology.hosts.count - 1].routes = [RouteDescription(destination: address.prefix, device: "eth0", source: address.address)]
            pods.append(("outside", address.address))
        }
    }

    private mutating func buildRouted() {
        let count = draw.pick([1, 2, 2, 2, 2, 3, 3, 4])
        let lans = draw.number(1...2)
        for n in 0..<lans {
            let bridge = InterfaceDescription(name: "br0", kind: .bridge(ageing: .seconds(300)), mac: mac())
            topology.hosts.append(HostDescription(name: "lan\(n)", kind: .lan, interfaces: [bridge]))
        }
        if lans == 2, draw.chance(85) { join(0, "trunk", 1, "trunk", master: ("br0", "br0")) }
        for n in 0..<count {
            let gateway = IPv4Address(10, UInt8(n), 0, 1)
            let bridge = InterfaceDescription(
                name: "br0", kind: .bridge(ageing: .seconds(300)), mac: mac(), addresses: [IPv4InterfaceAddress(gateway, prefixLength: 24)])
            let place = topology.hosts.count
            topology.hosts.append(HostDescription(name: "node\(n)", kind: .node, interfaces: [bridge]))
            join(draw.number(0...(lans - 1)), "port\(n)", place, "eth0", master: ("br0", nil))
            let own = IPv4InterfaceAddress(IPv4Address(192, 168, 0, UInt8(1 + n)), prefixLength: 24)
            topology.hosts[place].interfaces[1].addresses = [own]
            topology.hosts[place].sysctls = ["net.ipv4.ip_forward": "1"]
            topology.hosts[place].routes = [
                RouteDescription(destination: IPv4Prefix(gateway, length: 24), device: "br0", source: gateway),
                RouteDescription(destination: own.prefix, device: "eth0", source: own.address),
            ]
            for other in 0..<count where other != n {
                topology.hosts[place].routes.append(
                    RouteDescription(
                        destination: IPv4Prefix(IPv4Address(10, UInt8(other), 0, 0), length: 24), gateway: IPv4Address(192, 168, 0, UInt8(1 + other)), device: "eth0"))
            }
            if draw.chance(30) {
                topology.hosts[place].iptables = [
                    "*nat", ":PREROUTING ACCEPT [0:0]", ":INPUT ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ":POSTROUTING ACCEPT [0:0]",
                    "-A POSTROUTING -s 10.\(n).0.0/24 -o eth0 -j MASQUERADE --random-fully", "COMMIT",
                ]
            }
            for pod in 1...draw.number(2...3) { addPod(on: place, number: pod, address: IPv4Address(10, UInt8(n), 0, UInt8(1 + pod)), prefix: 24, gateway: gateway) }
            if draw.chance(30) { pods.append(("node\(n)", own.address)) }
        }
    }

    // MARK: Faults and traffic

    private mutating func addFault() {
        let host = draw.pick(topology.hosts)
        let ends = host.interfaces.filter { if case .veth = $0.kind { true } else { false } }
        guard !ends.isEmpty else { return }
        faults.append(
            Fault(host: host.name, interface: draw.pick(ends).name, lossPerBillion: UInt32(draw.number(1...500)) * 1_000_000, isCut: draw.chance(10)))
    }

    private mutating func addCommand() {
        guard pods.count > 1 else { return }
        let server = draw.pick(pods)
        // Mostly from somewhere else: it is between logical processes that threads could differ.
        let others = pods.filter { $0.name.prefix { $0 != "/" } != server.name.prefix { $0 != "/" } }
        let client = others.isEmpty || draw.chance(15) ? draw.pick(pods) : draw.pick(others)
        let port = 1000 + draw.number(0...5)
        let pause = Duration.microseconds(Int64(draw.number(0...1_500)))
        func start(_ host: String, _ text: String) { commands.append(Command(host: host, text: text, pause: pause)) }
        switch draw.number(1...4) {
        case 1: start(client.name, "ping -n -c \(draw.number(1...4)) -i 0.002 -s \(draw.number(0...3000)) \(server.address)")
        case 2:
            start(server.name, "nc -l -u -p \(port)")
            start(client.name, "seq 1 \(draw.number(1...300)) | nc -u -w 1 \(server.address) \(port)")
        case 3:
            let bytes = draw.number(1...20_000)
            start(server.name, "tcp_peer listen \(port) recv:\(bytes) send:\(bytes / 2) recv-eof")
            start(client.name, "tcp_peer connect \(server.address) \(port) send:\(bytes) recv:\(bytes / 2) shutdown")
        default: start(client.name, "nc -z -w 1 \(server.address) \(port)")
        }
    }
}

/// Random choices.
struct Draw {
    var random: SeededRandom
    mutating func number(_ range: ClosedRange<Int>) -> Int { range.lowerBound + Int(random.below(UInt32(range.count))) }
    mutating func chance(_ percent: Int) -> Bool { number(1...100) <= percent }
    mutating func pick<Element>(_ list: [Element]) -> Element { list[number(0...(list.count - 1))] }
}
