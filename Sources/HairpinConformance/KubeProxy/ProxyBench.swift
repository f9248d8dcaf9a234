import HairpinDatapath
import HairpinEngine
import HairpinHost
import HairpinProxy
import HairpinTopology
import HairpinWire

/// A node with kube-proxy's rules, its pods behind one veth pair and the world behind another: enough of a cluster for the first packet of any connection.
/// Every question is answered by frames.
///
///     pods eth0 ──── cni0 test-node eth0 ──── eth0 world
final class ProxyBench {
    /// What frames showed of one connection.
    struct Sight: Hashable {
        enum Verdict: String { case endpoint, reject = "REJECT", drop = "DROP", none = "NONE" }
        var verdict: Verdict
        /// "10.180.0.1:80"
        var endpoint = ""
        var isMasqueraded = false
    }

    private static let podGateway = IPv4Address(10, 255, 255, 254)
    private static let worldGateway = IPv4Address(192, 168, 0, 254)
    private let simulation: Simulation
    private let node: String
    private let nodeAddresses: [IPv4Address]
    private let podRange: IPv4Prefix
    private let watchers: [ProxyWatcher]
    private var nextPort: UInt16 = 20_000

    /// `endpoints`: addresses that must answer ARP, those of clients too.
    init(node: String, addresses: [IPv4Address], podRange: IPv4Prefix, endpoints: [IPv4Address]) throws {
        self.node = node
        self.podRange = podRange
        nodeAddresses = addresses
        let lo = InterfaceDescription(name: "lo", kind: .loopback, mtu: 65536, addresses: [IPv4InterfaceAddress(.loopback, prefixLength: 8)])
        func cable(_ name: String, _ peer: String, _ peerInterface: String, _ mac: UInt64, _ addresses: [IPv4InterfaceAddress]) -> InterfaceDescription {
            InterfaceDescription(
                name: name, kind: .veth(peerHost: peer, peerInterface: peerInterface), mac: MACAddress(rawValue: 0x0200_0000_0000 | mac), addresses: addresses)
        }
        func route(_ prefix: IPv4Prefix, _ device: String, via gateway: IPv4Address? = nil) -> RouteDescription {
            RouteDescription(destination: prefix, gateway: gateway, device: device)
        }
        let everything = IPv4Prefix(.any, length: 0)
        let lans = addresses.map { IPv4Prefix($0, length: 24) }
        var host = HostDescription(
            name: node, kind: .node,
            interfaces: [
                lo, cable("eth0", "world", "eth0", 1, addresses.map { IPv4InterfaceAddress($0, prefixLength: 24) }),
                cable("cni0", "pods", "eth0", 2, [IPv4InterfaceAddress(ProxyBench.podGateway, prefixLength: podRange.length)]),
            ], routes: lans.map { route($0, "eth0") } + [route(podRange, "cni0"), route(everything, "eth0", via: ProxyBench.worldGateway)])
        host.sysctls = [
            "net.ipv4.ip_forward": "1", "net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf.all.route_localnet": "1", "net.bridge.bridge-nf-call-iptables": "1",
        ]
        // The far hosts answer for every endpoint; sources need no address, they are written by raw sockets.
        let pods = Set(endpoints.filter { podRange.contains($0) }).sorted()
        var podHost = HostDescription(
            name: "pods", kind: .pod, node: node,
            interfaces: [lo, cable("eth0", node, "cni0", 3, pods.map { IPv4InterfaceAddress($0, prefixLength: 32) })],
            routes: [route(IPv4Prefix(ProxyBench.podGateway, length: 32), "eth0"), route(everything, "eth0", via: ProxyBench.podGateway)])
        podHost.neighbours = [NeighbourDescription(address: ProxyBench.podGateway, device: "eth0", mac: MACAddress(rawValue: 0x0200_0000_0002))]
        let near = Set(endpoints.filter { endpoint in lans.contains { $0.contains(endpoint) } && !addresses.contains(endpoint) }).sorted()
        var world = HostDescription(
            name: "world", kind: .external,
            interfaces: [
                lo,
                cable(
                    "eth0", node, "eth0", 4,
                    [IPv4InterfaceAddress(ProxyBench.worldGateway, prefixLength: 24)] + near.map { IPv4InterfaceAddress($0, prefixLength: 32) }),
            ], routes: [route(IPv4Prefix(ProxyBench.worldGateway, length: 24), "eth0"), route(everything, "eth0", via: addresses[0])])
        world.neighbours = [NeighbourDescription(address: addresses[0], device: "eth0", mac: MACAddress(rawValue: 0x0200_0000_0001))]
        var configuration = SimulationConfiguration()
        // One logical process: what a raw socket sets off runs to its end on all three machines.
        configuration.sharesProcessor = true
        simulation = try Simulation(Topology(hosts: [host, podHost, world]), configuration: configuration)
        watchers = (0..<simulation.processCount).map { _ in ProxyWatcher() }
        for (number, watcher) in watchers.enumerated() {
            let taps = simulation.tapInterfaces.filter { $0.process == number }
            for tap in taps { watcher.names[tap.index] = "\(tap.host)/\(tap.name)" }
            simulation.attach(watcher, process: number, interfaces: taps.map(\.index))
        }
    }

    /// kube-proxy's next sync.
    func program(_ table: ServiceTable) throws {
        var set = SavedRules()
        table.writeBase(&set)
        try simulation.setRules(set.lines(), on: node)
        simulation.setServices(table, on: node)
    }

    /// As people see them on the node.
    var savedRules: [String] { simulation.rules(of: node) }

    /// Sends the first packet of a new connection and looks where it comes out.
    func connect(_ source: IPv4Address, _ destination: IPv4Address, _ proto: UInt8, _ port: UInt16, isLast: Bool = false) throws -> Sight {
        let isOwn = nodeAddresses.contains(source) || source.isLoopback
        let sender = isOwn ? node : podRange.contains(source) ? "pods" : "world"
        guard let socket = simulation.rawSocket(on: sender) else { throw Unsupported("a sender called \(sender)") }
        nextPort = nextPort == 59_999 ? 20_000 : nextPort + 1
        for watcher in watchers { watcher.forget() }
        let from = nextPort
        let count = proto == 6 ? 20 : proto == 17 ? 8 : 32
        // A refusal of the node's own hooks shows among the drops.
        try? socket.send(from: source, to: destination, IPProtocol(proto), count: count) { packet in
            ProxyBench.fill(packet, count, proto, from: from, to: port, source, destination)
        }
        simulation.run(until: simulation.now + .milliseconds(20))
        if watchers.contains(where: { $0.drops.contains(.ruleReject) }) {
            // A machine that is told of it hears ICMP port unreachable; the node tells itself over lo.
            let isTold = watchers.contains { $0.unreachableSeen.contains { isOwn ? true : $0.hasPrefix(sender) } }
            // net.ipv4.icmp_ratelimit: a host is told again after a second.
            wait(seconds: 2)
            if !isTold, !isLast { return try connect(source, destination, proto, port, isLast: true) }
            return Sight(verdict: isTold ? .reject : .drop)
        }
        if watchers.contains(where: { $0.drops.contains(.ruleDrop) }) { return Sight(verdict: .drop) }
        for watcher in watchers {
            for packet in watcher.arrivals where packet.proto == proto && packet.port != from && (packet.destination != destination || packet.port != port) {
                // Masquerading may find the address right as it is, and still draws a port (--random-fully).
                return Sight(verdict: .endpoint, endpoint: "\(packet.destination):\(packet.port)", isMasqueraded: packet.source != source || packet.sourcePort != from)
            }
        }
        return Sight(verdict: .none)
    }

    /// Lets connections and remembered clients grow old.
    func wait(seconds: Int) { simulation.run(until: simulation.now + .seconds(Int64(seconds))) }

    /// Whether a rule accepts the packet, rather than nobody objecting: it passes chains whose policy is DROP.
    func isAccepted(_ source: IPv4Address, _ destination: IPv4Address, _ proto: UInt8, _ port: UInt16) throws -> Bool {
        let isOwn = nodeAddresses.contains(source) || source.isLoopback
        let isLocal = nodeAddresses.contains(destination) || destination.isLoopback
        // What the node sends itself passes OUTPUT first, where no rule of kube-proxy's accepts.
        let chains = isLocal ? ["INPUT"] : isOwn ? ["OUTPUT"] : ["FORWARD"]
        for chain in chains { try simulation.configure(node, ["iptables", "-P", chain, "DROP"]) }
        defer { for chain in chains { try? simulation.configure(node, ["iptables", "-P", chain, "ACCEPT"]) } }
        // Its answer (RST) may meet OUTPUT's policy; the packet itself counts.
        _ = try connect(source, destination, proto, port)
        return !watchers.contains { watcher in watcher.droppedPorts.contains(port) }
    }

    var isBalanced: Bool { simulation.books.isBalanced }

    private static func fill(
        _ packet: UnsafeMutableRawPointer, _ count: Int, _ proto: UInt8, from: UInt16, to port: UInt16, _ source: IPv4Address, _ destination: IPv4Address
    ) {
        packet.initializeMemory(as: UInt8.self, repeating: 0, count: count)
        func put(_ value: UInt16, _ offset: Int) { packet.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self) }
        put(from, 0)
        put(port, 2)
        switch proto {
        case 6:
            put(1, 6)  // sequence number
            put(0x5002, 12)  // five words, SYN
            put(64_240, 14)
        case 17: put(UInt16(count), 4)
        default:
            // SCTP INIT (RFC 9260 §3.3.2): type, length, tag, window, streams, TSN. The checksum is not looked at.
            put(0x0100, 12)
            put(20, 14)
            put(1, 18)
            put(0xffff, 22)
            put(1, 24)
            put(1, 26)
            put(1, 30)
        }
        guard proto != 132 else { return }
        let sum = InternetChecksum.checksum(
            UnsafeRawBufferPointer(start: packet, count: count),
            initial: InternetChecksum.pseudoHeader(source: source, destination: destination, protocol: proto, length: count))
        put(proto == 17 && sum == 0 ? 0xffff : sum, proto == 6 ? 16 : 6)
    }
}

/// Notes what came out of the node, what ended, and who was told.
private final class ProxyWatcher: TapObserver {
    struct Arrival {
        var source: IPv4Address, destination: IPv4Address
        var proto: UInt8
        var sourcePort: UInt16
        var port: UInt16
    }
    var names: [InterfaceIndex: String] = [:]
    private(set) var arrivals: [Arrival] = []
    private(set) var drops: Set<DropReason> = []
    /// Destination ports of packets that rules dropped.
    private(set) var droppedPorts: Set<UInt16> = []
    /// Interfaces that heard ICMP type 3 code 3.
    private(set) var unreachableSeen: Set<String> = []

    func forget() {
        arrivals = []
        drops = []
        droppedPorts = []
        unreachableSeen = []
    }

    func saw(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent) {
        guard let name = names[event.interface], event.direction == .inbound, bytes.count >= 34, bytes[12] == 8, bytes[13] == 0,
            let packet = IPv4View(UnsafeRawBufferPointer(rebasing: bytes[14...]))
        else { return }
        if packet.proto == .icmp {
            if packet.payload.count >= 2, packet.payload[0] == 3, packet.payload[1] == 3 { unreachableSeen.insert(name) }
            return
        }
        // Frames that reach the far ends; those back from them are the node's to see.
        guard name == "pods/eth0" || name == "world/eth0", packet.payload.count >= 4 else { return }
        arrivals.append(
            Arrival(
                source: packet.source, destination: packet.destination, proto: packet.proto.rawValue,
                sourcePort: UInt16(packet.payload[packet.payload.startIndex]) << 8 | UInt16(packet.payload[packet.payload.startIndex + 1]),
                port: UInt16(packet.payload[packet.payload.startIndex + 2]) << 8 | UInt16(packet.payload[packet.payload.startIndex + 3])))
    }

    func dropped(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent, reason: DropReason) {
        guard reason == .ruleDrop || reason == .ruleReject else { return }
        drops.insert(reason)
        for offset in [0, 14] where bytes.count >= offset + 24 && bytes[offset] == 0x45 {
            droppedPorts.insert(UInt16(bytes[offset + 22]) << 8 | UInt16(bytes[offset + 23]))
        }
    }
}
