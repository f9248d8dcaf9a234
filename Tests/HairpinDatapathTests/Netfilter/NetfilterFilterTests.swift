import HairpinEngine
import HairpinWire
import Testing

@testable import HairpinDatapath

@Suite("Filtering")
struct NetfilterFilterTests {
    let packet = TestPacket(source: podA, destination: podB, sourcePort: 40000, destinationPort: 80, payload: 100)

    /// Whether a rule of FORWARD applies to the packet that goes from cni0 to eth0.
    func matches(_ rule: String, _ packet: TestPacket, mark: UInt32 = 0) throws -> Bool {
        var host = try FilterHost("*filter\n-A FORWARD \(rule) -j DROP\nCOMMIT")
        defer { host.deallocate() }
        return host.send(packet.bytes, through: FilterHost.forwarding, input: 3, output: 2, mark: mark).dropReason == .ruleDrop
    }

    @Test(
        "A rule applies to what it describes",
        arguments: [
            "-s 10.244.0.0/24", "! -s 10.245.0.0/16", "-d 10.244.0.3", "-p tcp", "! -p udp", "-i cni0", "-i cni+", "! -i eth0", "-o eth+", "! -f", "-p tcp --dport 80",
            "-p tcp --sport 40000:40001", "-p tcp ! --dport 81", "-p tcp --syn", "-p tcp --tcp-flags SYN,ACK SYN", "-p tcp ! --tcp-flags ALL NONE",
            "-m mark --mark 0x5/0x7", "-m mark ! --mark 0x4", "-m addrtype --dst-type UNICAST", "-m addrtype ! --src-type LOCAL,BROADCAST",
            "-p tcp -m multiport --dports 22,70:80", "-p tcp -m multiport --ports 40000", "-p tcp -m multiport ! --sports 80", "-m length --length 140",
            "-m iprange --dst-range 10.244.0.3-10.244.0.7", "-m ttl --ttl-gt 63", "-m ttl --ttl-eq 64", "-m conntrack --ctstate NEW,RELATED", "-m state --state NEW",
            "-m conntrack --ctorigdst 10.244.0.3 --ctorigdstport 80 --ctdir ORIGINAL", "-m conntrack ! --ctstate ESTABLISHED,DNAT",
            "-m statistic --mode random --probability 1",
            "-m statistic --mode nth --every 3 --packet 0", "-m physdev ! --physdev-is-bridged", "-m pkttype --pkt-type unicast",
            "-m comment --comment \"a b\" -m tcp -p tcp",
        ])
    func applies(rule: String) throws { #expect(try matches(rule, packet, mark: 0x1d)) }

    @Test(
        "A rule does not apply to what it does not describe",
        arguments: [
            "-s 10.245.0.0/16", "! -s 10.244.0.0/24", "-p udp", "! -p tcp", "-i eth0", "-i cni", "-o cni+", "-f", "-p tcp --dport 81:", "-p udp --dport 80",
            "-p tcp ! --syn",
            "-m mark --mark 0x4", "-m addrtype --dst-type LOCAL", "-p tcp -m multiport --dports 22,81:90", "-m length --length :139", "-m ttl --ttl-lt 64",
            "-m conntrack --ctstate ESTABLISHED,INVALID", "-m conntrack --ctdir REPLY", "-m statistic --mode random --probability 0",
            "-m statistic --mode nth --every 3 --packet 1", "-m physdev --physdev-in veth1", "-p icmp --icmp-type any", "-m recent --rcheck --name nobody",
            "-m connmark --mark 1",
        ])
    func doesNotApply(rule: String) throws { #expect(try !matches(rule, packet, mark: 0x1d)) }

    @Test("Jumps return behind themselves, gotos to where the last jump came from, and the rest to the policy")
    func chains() throws {
        func mark(_ rules: String) throws -> Outcome {
            var host = try FilterHost("*filter\n:FORWARD DROP [0:0]\n:A - [0:0]\n:B - [0:0]\n\(rules)\nCOMMIT")
            defer { host.deallocate() }
            return host.forward(packet)
        }
        let or = { (bit: Int) in "-j MARK --or-mark \(bit)" }
        let jumped = try mark("-A FORWARD -j A\n-A FORWARD \(or(1))\n-A FORWARD -j ACCEPT\n-A A -j B\n-A A \(or(2))\n-A B \(or(4))")
        #expect(jumped.mark == 7 && jumped.isAccepted)
        let gone = try mark("-A FORWARD -j A\n-A FORWARD \(or(1))\n-A FORWARD -j ACCEPT\n-A A -g B\n-A A \(or(2))\n-A B \(or(4))")
        #expect(gone.mark == 5 && gone.isAccepted)
        let fromBase = try mark("-A FORWARD -g B\n-A FORWARD -j ACCEPT\n-A B \(or(4))")
        #expect(fromBase.mark == 4 && fromBase.dropReason == .ruleDrop)
        let returned = try mark("-A FORWARD -j A\n-A FORWARD -j RETURN\n-A FORWARD -j ACCEPT\n-A A -j RETURN\n-A A -j ACCEPT")
        #expect(returned.dropReason == .ruleDrop)
    }

    @Test("REJECT tells its kind")
    func reject() throws {
        var host = try FilterHost(
            "*filter\n-A FORWARD -p tcp --dport 80 -j REJECT --reject-with tcp-reset\n-A FORWARD -j REJECT --reject-with icmp-host-prohibited\nCOMMIT")
        defer { host.deallocate() }
        #expect(host.forward(packet).rejectKind == .tcpReset)
        var other = packet
        other.destinationPort = 81
        #expect(host.forward(other).rejectKind == .icmp(code: 10))
    }

    @Test("nth counts packets, limit counts time")
    func stateful() throws {
        var host = try FilterHost(
            "*filter\n-A FORWARD -m statistic --mode nth --every 3 --packet 1 -j DROP\n-A FORWARD -m limit --limit 1/sec --limit-burst 2 -j ACCEPT\n-A FORWARD -j REJECT\nCOMMIT"
        )
        defer { host.deallocate() }
        #expect(host.forward(packet).isAccepted)
        #expect(host.forward(packet).dropReason == .ruleDrop)
        #expect(host.forward(packet).isAccepted)
        #expect(host.forward(packet).rejectKind != nil)
        #expect(host.forward(packet).dropReason == .ruleDrop)
        host.advance(.milliseconds(1000))
        #expect(host.forward(packet).isAccepted)
        #expect(host.forward(packet).rejectKind != nil)
    }

    @Test("Counters and the memory of matches outlive changes of other rules")
    func changes() throws {
        var host = try FilterHost("*filter\n-A FORWARD -m statistic --mode nth --every 2 --packet 1 -j DROP\nCOMMIT")
        defer { host.deallocate() }
        #expect(host.forward(packet).isAccepted)
        try host.netfilter.apply(command: "iptables -I FORWARD -s 1.2.3.4 -j ACCEPT")
        #expect(host.forward(packet).dropReason == .ruleDrop)
        #expect(host.ruleLines().contains("[1:140] -A FORWARD -m statistic --mode nth --every 2 --packet 1 -j DROP"))
        #expect(host.ruleLines().contains(":FORWARD ACCEPT [1:140]"))
    }

    @Test("Marks travel from packet to connection and back")
    func connectionMarks() throws {
        var host = try FilterHost(
            "*mangle\n-A PREROUTING -j CONNMARK --restore-mark\n-A POSTROUTING -m conntrack --ctstate NEW -j MARK --set-mark 9\n-A POSTROUTING -m conntrack --ctstate NEW -j CONNMARK --save-mark\nCOMMIT"
        )
        defer { host.deallocate() }
        _ = host.forward(packet)
        #expect(host.forward(packet.reply([.syn, .ack], acknowledgment: 1101)).mark == 9)
    }

    @Test("An interface that gets a name later is known by it")
    func lateInterface() throws {
        var host = try FilterHost("*filter\n-A FORWARD -i veth9 -j DROP\nCOMMIT")
        defer { host.deallocate() }
        #expect(host.forward(packet, input: 4).isAccepted)
        host.environment.names[3] = "veth9"
        host.netfilter.interfacesChanged()
        #expect(host.forward(packet, input: 4).dropReason == .ruleDrop)
    }

    @Test("TCPMSS lowers the segment size of a SYN and keeps the checksum right")
    func segmentSize() throws {
        var host = try FilterHost("*mangle\n-A FORWARD -p tcp --syn -j TCPMSS --set-mss 1360\nCOMMIT")
        defer { host.deallocate() }
        var bytes = TestPacket(source: podA, destination: podB, sourcePort: 1, destinationPort: 2, payload: 4).bytes
        bytes.withUnsafeMutableBytes { buffer in
            let t = buffer.baseAddress! + 20
            t.put(UInt8(0x60), at: TCPOffset.dataOffset)
            t.put(UInt32(0x0204_05b4), at: 20)
            t.put(UInt16(0), at: TCPOffset.checksum)
            let segment = UnsafeRawBufferPointer(rebasing: buffer[20...])
            t.put(
                InternetChecksum.checksum(segment, initial: InternetChecksum.pseudoHeader(source: podA, destination: podB, protocol: 6, length: segment.count)),
                at: TCPOffset.checksum)
        }
        let out = host.send(bytes, through: FilterHost.forwarding)
        #expect(out.bytes.withUnsafeBytes { $0.baseAddress!.u16(42) } == 1360)
        #expect(out.hasValidChecksums)
    }

    @Test("Without rules nothing is active; a clone's bytes are not touched by rewriting the other")
    func sharing() throws {
        #expect(!Netfilter().isActive)
        var host = try FilterHost("*nat\n-A PREROUTING -j DNAT --to-destination \(podC)\nCOMMIT")
        defer { host.deallocate() }
        let frame = host.frame(packet.bytes)
        let clone = host.pool.clone(frame)
        _ = host.run(.prerouting, frame, input: 3, output: 0)
        #expect(host.pool[frame].pointee.data.ipv4(16) == podC)
        #expect(host.pool[clone].pointee.data.ipv4(16) == podB)
        host.netfilter.release(frame, &host.pool)
        #expect(host.netfilter.connections.unconfirmedCount == 0)
    }

    @Test("Any bytes whatever pass the hooks without harm")
    func garbage() throws {
        var host = try FilterHost(serviceRules([podB]))
        defer { host.deallocate() }
        host.netfilter.setVirtualServices([VirtualService(address: clusterIP, port: 80, servers: [])])
        var random = SeededRandom(seed: 7, name: "garbage")
        for round in 0..<4000 {
            var bytes = packet.bytes
            if round % 3 == 0 { bytes = TestPacket(source: podA, destination: clusterIP, sourcePort: 8, destinationPort: 0, proto: .icmp, payload: 60).bytes }
            for _ in 0..<Int(random.below(12)) { bytes[Int(random.below(UInt32(bytes.count)))] = UInt8(truncatingIfNeeded: random.next16()) }
            bytes.removeLast(Int(random.below(UInt32(bytes.count))))
            if bytes.isEmpty { continue }
            _ = host.send(bytes, through: round % 2 == 0 ? FilterHost.forwarding : [.prerouting, .localIn])
        }
        #expect(host.netfilter.connections.unconfirmedCount == 0)
        #expect(host.pool.live == 0)
    }
}
