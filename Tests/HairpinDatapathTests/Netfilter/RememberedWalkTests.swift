import HairpinEngine
import HairpinWire
import Testing

@testable import HairpinDatapath

/// Packets of established connections take short ways: past tables that have nothing to say, and through the filter table as the packet before. Nobody
/// may notice.
@Suite("Short ways of established connections")
struct RememberedWalkTests {
    private static let tests = [
        "-m conntrack --ctstate NEW", "-m conntrack --ctstate RELATED,ESTABLISHED", "-m conntrack --ctstate ESTABLISHED --ctdir REPLY", "-m conntrack --ctstate DNAT",
        "-m mark --mark 0x1", "-m mark ! --mark 0x0", "-i cni0", "-o eth0", "! -i veth1", "-s 10.244.0.2", "-p tcp --dport 80", "-p tcp --sport 80", "-p udp", "",
        "-m physdev ! --physdev-is-bridged", "-m statistic --mode nth --every 3 --packet 0", "-m length --length 60:", "-p tcp --tcp-flags PSH PSH",
        "-m connmark --mark 0x2", "-m ttl --ttl-gt 70", "-m addrtype --dst-type LOCAL", "-p tcp -m multiport --ports 80,443",
    ]
    private static let targets = ["ACCEPT", "ACCEPT", "DROP", "RETURN", "A", "B", "MARK --or-mark 0x1", "CONNMARK --set-mark 0x2", "LOG", "REJECT"]

    private static func rules(_ random: inout SeededRandom) -> String {
        func pick(_ list: [String]) -> String { list[Int(random.below(UInt32(list.count)))] }
        var lines = ["*filter"]
        for chain in ["INPUT", "FORWARD", "OUTPUT"] { lines.append(":\(chain) \(random.below(4) == 0 ? "DROP" : "ACCEPT") [0:0]") }
        lines += [":A - [0:0]", ":B - [0:0]"]
        var chains = ["FORWARD", "FORWARD", "FORWARD", "A", "A", "B", "B", "INPUT", "OUTPUT"]
        if random.below(2) == 0 { chains.append("FORWARD") }
        for chain in chains {
            // Jumps go down only: no loops.
            var target = pick(targets)
            if chain == "A", target == "A" { target = "B" }
            if chain == "B", target == "A" || target == "B" { target = "ACCEPT" }
            lines.append("-A \(chain) \(pick(tests)) -j \(target)")
        }
        lines.append("COMMIT")
        if random.below(3) == 0 { lines += ["*mangle", "-A \(pick(["FORWARD", "POSTROUTING", "INPUT"])) \(pick(tests)) -j MARK --or-mark 0x1", "COMMIT"] }
        if random.below(2) == 0 { lines += ["*nat", pick(["-A POSTROUTING -s 10.244.0.2 -j MASQUERADE", "-A PREROUTING -d 10.244.0.3 -p tcp --dport 80 -j DNAT --to-destination 10.244.0.4:8080"]), "COMMIT"] }
        return lines.joined(separator: "\n")
    }

    /// One that takes short ways, and one that does not.
    private static func hosts(_ rules: String) throws -> (FilterHost, literal: FilterHost) {
        var literal = try FilterHost(rules, tracks: true)
        literal.netfilter.takesShortcuts = false
        return (try FilterHost(rules, tracks: true), literal)
    }

    @Test("Verdicts, bytes, marks and counters are those of rules tested packet by packet", arguments: 0..<200)
    func agreement(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed), name: "walks")
        let text = Self.rules(&random)
        var (host, literal) = try Self.hosts(text)
        defer {
            host.deallocate()
            literal.deallocate()
        }
        var sequences = [UInt32](repeating: 1001, count: 3)
        let isUDP = seed % 4 == 3
        for step in 0..<200 {
            let flow = Int(random.below(3))
            // The last flow is the host's own.
            var syn = TestPacket(source: flow == 2 ? node : podA, destination: podB, sourcePort: 40000 + UInt16(flow), destinationPort: flow == 1 ? 443 : 80)
            if isUDP { (syn.proto, syn.payload) = (.udp, 8) }
            var packet = syn
            var isReply = false
            switch random.below(8) {
            case 0 where step > 3:
                packet = syn.reply([.syn, .ack])
                isReply = true
            case 1: packet = syn
            case 2 where step > 3, 3 where step > 3:
                packet = syn.reply([.ack], sequence: 5001, acknowledgment: sequences[flow])
                isReply = true
            case _ where step > 3:
                let payload = Int(random.below(3)) * 20
                // Now and then the end of a connection, or a segment far out of its window.
                let flags: TCPFlags = switch random.below(40) { case 0: [.fin, .ack]; case 1: .rst; case 2...20: [.ack, .psh]; default: .ack }
                let isStray = random.below(30) == 0
                packet = syn.with(flags, sequence: sequences[flow] &+ (isStray ? 2_000_000 : 0), acknowledgment: 5001, payload: payload)
                if !isStray { sequences[flow] &+= UInt32(payload) }
            default: break
            }
            // Where NAT is at work, answers come from there and go there.
            if isReply, text.contains("DNAT"), flow == 0 { (packet.source, packet.sourcePort) = (podC, 8080) }
            if isReply, text.contains("MASQUERADE"), flow != 2 { packet.destination = IPv4Address(10, 244, 0, 1) }
            let hooks: [Hook] = flow < 2 ? FilterHost.forwarding : isReply ? [.prerouting, .localIn] : [.localOut, .postrouting]
            let mark = random.below(6) == 0 ? UInt32(1) : 0
            let (input, output) = random.below(8) == 0 ? (UInt32(4), UInt32(2)) : (3, 3)
            let ports = random.below(3) == 0 ? (UInt32(4), UInt32(5)) : (0, 0)
            let a = host.send(packet.bytes, through: hooks, input: input, output: output, mark: mark, ports: ports)
            let b = literal.send(packet.bytes, through: hooks, input: input, output: output, mark: mark, ports: ports)
            #expect("\(a)" == "\(b)", "step \(step) of\n\(text)")
            #expect(a.hasValidChecksums)
            let pause = Duration.milliseconds(Int64(random.below(10) == 0 ? random.below(4000) : 1))
            host.advance(pause)
            literal.advance(pause)
        }
        #expect(host.ruleLines() == literal.ruleLines(), "\(text)")
        #expect(host.connectionLines() == literal.connectionLines(), "\(text)")
        #expect(host.netfilter.connections.statistics == literal.netfilter.connections.statistics)
        #expect(literal.netfilter.program.walks.count == 0)
    }

    /// Two Services, TCP and UDP, whose servers come, go and lose their weight; requests from pods, answers from any server, and pods that speak past them.
    @Test("The same of packets that virtual servers forward, and of those past them", arguments: 0..<150)
    func virtualServers(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed), name: "virtual servers")
        // Rules of all kinds, none, or some that look at the server a request goes to.
        let text =
            switch seed % 5 {
            case 0: ""
            case 1: "*filter\n-A OUTPUT -d 10.244.0.3 -j \(random.below(2) == 0 ? "DROP" : "MARK --or-mark 0x1")\nCOMMIT"
            default: Self.rules(&random)
            }
        var (host, literal) = try Self.hosts(text)
        defer {
            host.deallocate()
            literal.deallocate()
        }
        for name in ["expire_nodest_conn", "conn_reuse_mode"] {
            let value = Int(random.below(2))
            #expect(host.set(sysctl: "net.ipv4.vs.\(name)", to: value) && literal.set(sysctl: "net.ipv4.vs.\(name)", to: value))
        }
        let proto: IPProtocol = seed % 3 == 2 ? .udp : .tcp
        let service = IPv4Address(10, 96, 0, 10)
        var sequences = [UInt32](repeating: 1001, count: 4)
        for step in 0..<250 {
            if step % 50 == 0 {
                let weights = (0..<2).map { _ in step == 0 ? 1 : Int(random.below(3)) }
                // Weight two stands for a server that is not there.
                let servers = zip([podB, podC], weights).filter { $0.1 < 2 }.map { VirtualService.Server(address: $0.0, port: 8080, weight: $0.1) }
                let services = [VirtualService(address: service, port: 80, proto: proto, servers: servers)]
                let isGraceful = random.below(2) == 0
                let now = host.environment.now.nanoseconds
                if isGraceful {
                    host.netfilter.setVirtualServicesGracefully(services, now: now)
                    literal.netfilter.setVirtualServicesGracefully(services, now: now)
                } else {
                    host.netfilter.setVirtualServices(services)
                    literal.netfilter.setVirtualServices(services)
                }
            }
            // The first three go to the Service, the last one straight to a server, from the port of the first.
            let flow = Int(random.below(4))
            let isDirect = flow == 3
            var packet = TestPacket(
                source: podA, destination: isDirect ? podB : service, sourcePort: 40000 + UInt16(flow % 3), destinationPort: isDirect ? 8080 : 80, proto: proto)
            if proto == .udp { packet.payload = 8 }
            let isReply = step > 3 && random.below(3) == 0
            if isReply {
                var request = packet
                if !isDirect { (request.destination, request.destinationPort) = (random.below(2) == 0 ? podB : podC, 8080) }
                if text.contains("MASQUERADE"), random.below(2) == 0 { request.source = IPv4Address(10, 244, 0, 1) }
                packet = request.reply(random.below(4) == 0 ? [.syn, .ack] : [.ack], sequence: 5001, acknowledgment: sequences[flow], payload: request.payload)
            } else if step > 3, random.below(4) > 0 {
                let payload = proto == .udp ? 8 : Int(random.below(3)) * 20
                let flags: TCPFlags = switch random.below(40) { case 0: [.fin, .ack]; case 1: .rst; case 2...20: [.ack, .psh]; default: .ack }
                packet = packet.with(flags, sequence: sequences[flow], acknowledgment: 5001, payload: payload)
                sequences[flow] &+= UInt32(payload)
            }
            let mark = random.below(6) == 0 ? UInt32(1) : 0
            var bytes = packet.bytes
            if random.below(20) == 0 {
                // About to be too old to be forwarded: the checksum follows.
                bytes[8] = UInt8(random.below(3))
                bytes.withUnsafeMutableBytes { buffer in
                    buffer.baseAddress!.put(UInt16(0), at: IPv4Offset.checksum)
                    buffer.baseAddress!.put(InternetChecksum.checksum(UnsafeRawBufferPointer(rebasing: buffer[..<20])), at: IPv4Offset.checksum)
                }
            }
            let hooks: [Hook] = isReply || isDirect ? FilterHost.forwarding : [.prerouting, .localIn]
            let a = host.send(bytes, through: hooks, mark: mark, rerouted: [.localOut, .postrouting])
            let b = literal.send(bytes, through: hooks, mark: mark, rerouted: [.localOut, .postrouting])
            #expect("\(a)" == "\(b)", "step \(step) of\n\(text)")
            let pause = Duration.milliseconds(Int64(random.below(10) == 0 ? random.below(100_000) : 1))
            host.advance(pause)
            literal.advance(pause)
        }
        #expect(host.ruleLines() == literal.ruleLines(), "\(text)")
        #expect(host.connectionLines() == literal.connectionLines(), "\(text)")
        let now = host.environment.now.nanoseconds
        host.netfilter.virtualServers.expireEntries(now: now)
        literal.netfilter.virtualServers.expireEntries(now: now)
        let instant = host.environment.now.nanoseconds
        #expect(host.netfilter.virtualServers.connections(now: instant) == literal.netfilter.virtualServers.connections(now: instant))
        #expect(host.netfilter.virtualServers.counters() == literal.netfilter.virtualServers.counters())
        #expect(host.netfilter.virtualServers.connectionCount == literal.netfilter.virtualServers.connectionCount)
    }

    private func established(_ rules: String) throws -> (FilterHost, TestPacket) {
        var host = try FilterHost(rules)
        let syn = TestPacket(source: podA, destination: podB, sourcePort: 40000, destinationPort: 80)
        _ = host.forward(syn)
        _ = host.forward(syn.reply([.syn, .ack]))
        for _ in 0..<3 { _ = host.forward(syn.with([.ack], sequence: 1001, acknowledgment: 5001)) }
        return (host, syn.with([.ack], sequence: 1001, acknowledgment: 5001))
    }

    @Test("A way is remembered for each direction, and counted at every rule of it")
    func counting() throws {
        var (host, packet) = try established(
            "*filter\n:A - [0:0]\n-A FORWARD -m conntrack --ctstate NEW -j LOG\n-A FORWARD -j A\n-A A -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT")
        defer { host.deallocate() }
        #expect(host.netfilter.program.walks.count == 1, "both directions go the same way")
        for _ in 0..<10 { _ = host.forward(packet) }
        let lines = host.ruleLines()
        #expect(lines.contains("[1:40] -A FORWARD -m conntrack --ctstate NEW -j LOG"))
        #expect(lines.contains("[15:600] -A FORWARD -j A"))
        #expect(lines.contains("[14:560] -A A -m conntrack --ctstate ESTABLISHED -j ACCEPT"))
        #expect(host.ruleLines() == lines, "counted once")
    }

    @Test("A new rule holds from the next packet on")
    func changes() throws {
        var (host, packet) = try established("*filter\n-A FORWARD -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT\nCOMMIT")
        defer { host.deallocate() }
        #expect(host.forward(packet).isAccepted)
        try host.netfilter.apply(command: "iptables -I FORWARD -p tcp --dport 80 -j DROP")
        #expect(host.forward(packet).dropReason == .ruleDrop)
        #expect(host.forward(packet.reply([.ack], sequence: 5001)).isAccepted)
        try host.netfilter.apply(command: "iptables -D FORWARD -p tcp --dport 80 -j DROP")
        #expect(host.forward(packet).isAccepted)
        #expect(host.ruleLines().contains("[8:320] -A FORWARD -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT"))
    }
}
