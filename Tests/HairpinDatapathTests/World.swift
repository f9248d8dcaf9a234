import HairpinEngine
import HairpinWire

@testable import HairpinDatapath

/// A node with pods on one bridge, as the CNI bridge plugin makes it, with an upper layer that answers pings and keeps what it gets.
final class World: UpperLayer, TapObserver {
    private(set) var process: LogicalProcess! = nil
    var node = NamespaceIndex(0)
    var bridge = InterfaceIndex.none
    struct Pod {
        let namespace: NamespaceIndex, eth0: InterfaceIndex, port: InterfaceIndex
        let address: IPv4Address, mac: MACAddress
    }
    private(set) var pods: [Pod] = []
    /// "10.244.0.2 < payload bytes" per delivered packet.
    private(set) var delivered: [(namespace: NamespaceIndex, packet: [UInt8])] = []
    private(set) var errors: [(type: UInt8, code: UInt8, offender: IPv4Address, namespace: NamespaceIndex)] = []
    private(set) var seen: [(interface: InterfaceIndex, direction: TapDirection, time: Instant, bytes: [UInt8])] = []
    private(set) var drops: [DropReason] = []
    /// Where, drop by drop.
    private(set) var dropPlaces: [InterfaceIndex] = []
    var answersPings = true
    private var nextSequence: UInt16 = 0

    init(pods count: Int, hairpin: Bool = false, ageing: Duration = .seconds(300), mtu: Int = 1500) {
        var costs = SoftirqCosts()
        costs.cold = 0  // so that times can be added up
        process = LogicalProcess(number: 0, interfaceCapacity: 2 * count + 8, namespaceCapacity: count + 1, seed: 1, costs: costs, upper: self)
        node = process.makeNamespace(name: "node1")
        process.makeLoopback(node)
        bridge = process.makeBridge(node, name: "cni0", mac: .cni(IPv4Address(10, 244, 0, 1)), mtu: mtu, ageing: ageing)
        process.addAddress(IPv4InterfaceAddress(IPv4Address(10, 244, 0, 1), prefixLength: 24), on: bridge)
        process.setSysctl("net.ipv4.ip_forward", "1", namespace: node)
        for n in 0..<count {
            let address = IPv4Address(10, 244, 0, UInt8(2 + n))
            let space = process.makeNamespace(name: "pod\(n + 1)")
            process.makeLoopback(space)
            let eth0 = process.makeVeth(space, name: "eth0", mac: .cni(address), mtu: mtu)
            let port = process.makeVeth(node, name: "veth\(n + 1)", mac: MACAddress(rawValue: 0x0200_0000_0100 + UInt64(n)), mtu: mtu)
            process.connect(eth0, port)
            process.enslave(port, to: bridge, hairpin: hairpin)
            process.addAddress(IPv4InterfaceAddress(address, prefixLength: 24), on: eth0)
            process.addRoute(
                RouteState(destination: IPv4Prefix(.any, length: 0), gateway: IPv4Address(10, 244, 0, 1), device: "eth0", source: nil, isKernel: false, isOnLink: false),
                namespace: space)
            pods.append(Pod(namespace: space, eth0: eth0, port: port, address: address, mac: .cni(address)))
        }
        process.tap = self
        for n in 1...UInt32(process.interfaceCount) { process.setTapped(InterfaceIndex(n), true) }
    }

    func runFor(_ time: Duration) {
        let end = process.now + time
        process.runSoftirqs()
        process.run(until: end)
        process.advance(to: end)
    }

    /// Sends an echo request from a pod.
    func ping(from pod: Int, to address: IPv4Address, payload: Int = 56, dontFragment: Bool = true, timeToLive: UInt8 = 64) {
        nextSequence += 1
        let (frame, bytes) = process.allocatePacket(8 + payload)
        let p = bytes.baseAddress!
        for n in 0..<bytes.count { p.put(UInt8(truncatingIfNeeded: n), at: n) }
        p.put(ICMPv4.echoRequest, at: 0)
        p.put(UInt8(0), at: 1)
        p.put(UInt16(0), at: 2)
        p.put(UInt16(77), at: 4)
        p.put(nextSequence, at: 6)
        p.put(InternetChecksum.checksum(UnsafeRawBufferPointer(bytes)), at: 2)
        var request = OutputRequest(source: pods[pod].address, destination: address, proto: .icmp)
        request.dontFragment = dontFragment
        request.timeToLive = timeToLive
        request.mayFragmentLocally = true
        try? process.send(frame, request, namespace: pods[pod].namespace)
        process.runSoftirqs()
    }

    // MARK: Reading the trace

    /// "ARP request 10.244.0.2 10.244.0.3", "ICMP 8/0 10.244.0.2 > 10.244.0.3 ttl=64": what an interface showed, in order.
    func trace(_ interface: InterfaceIndex) -> [String] { seen.filter { $0.interface == interface }.map { World.line($0.bytes) } }

    static func line(_ bytes: [UInt8]) -> String {
        bytes.withUnsafeBytes { buffer in
            guard let ethernet = EthernetView(buffer) else { return "short" }
            let body = UnsafeRawBufferPointer(rebasing: buffer[14...])
            if ethernet.type == .arp, let arp = ARPHeader(parsing: body) {
                let cast = ethernet.destination.isBroadcast ? "broadcast" : "unicast"
                return "ARP \(arp.operation) \(arp.senderProtocol) \(arp.targetProtocol) \(cast)"
            }
            guard let ip = IPv4View(body) else { return "type \(ethernet.type.rawValue)" }
            var text = ip.proto == .icmp ? "ICMP" : "proto \(ip.proto.rawValue)"
            if ip.proto == .icmp, ip.fragmentOffset == 0, let icmp = ICMPView(ip.payload) { text += " \(icmp.type)/\(icmp.code)" }
            text += " \(ip.source) > \(ip.destination) ttl=\(ip.timeToLive)"
            if ip.isFragment { text += " frag=\(ip.fragmentOffset)\(ip.moreFragments ? "+" : "")" }
            if !ip.isChecksumValid { text += " BAD-CHECKSUM" }
            return text
        }
    }

    // MARK: UpperLayer

    func deliver(_ packet: UnsafeRawBufferPointer, namespace: NamespaceIndex, checksumVerified: Bool, cutFromBurst: Bool) -> LocalDelivery {
        delivered.append((namespace, Array(packet)))
        guard let ip = IPv4View(packet) else { return .dropped(.malformedTransport) }
        if ip.proto == .udp { return .portUnreachable }
        guard ip.proto == .icmp, let echo = ICMPView(ip.payload) else { return .protocolUnreachable }
        if echo.type == ICMPv4.echoRequest, answersPings {
            let (frame, bytes) = process.allocatePacket(ip.payload.count)
            bytes.copyMemory(from: ip.payload)
            bytes.baseAddress!.put(UInt16(0), at: 0)
            bytes.baseAddress!.put(UInt16(0), at: 2)
            bytes.baseAddress!.put(InternetChecksum.checksum(UnsafeRawBufferPointer(bytes)), at: 2)
            try? process.send(frame, OutputRequest(source: ip.destination, destination: ip.source, proto: .icmp), namespace: namespace)
        }
        return .delivered
    }
    func receiveError(type: UInt8, code: UInt8, information: UInt32, offender: IPv4Address, quote: UnsafeRawBufferPointer, namespace: NamespaceIndex) {
        errors.append((type, code, offender, namespace))
    }
    func stackTimer(namespace: NamespaceIndex) {}
    func runProcess(_ index: UInt32) {}
    func sawARP(_ frame: UnsafeRawBufferPointer, interface: InterfaceIndex) {}

    // MARK: TapObserver

    func saw(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent) { seen.append((event.interface, event.direction, event.time, Array(bytes))) }
    func dropped(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent, reason: DropReason) {
        drops.append(reason)
        dropPlaces.append(event.interface)
    }
}
