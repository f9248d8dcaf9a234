import HairpinEngine
import HairpinWire
import Testing

@testable import HairpinDatapath

/// What kube-proxy writes for a service with these endpoints, in small.
func serviceRules(_ endpoints: [IPv4Address], port: Int = 80, extra: String = "") -> String {
    var lines = [
        "*filter", ":FORWARD ACCEPT [0:0]", "-A FORWARD -m conntrack --ctstate INVALID -j DROP", "COMMIT", "*nat", ":MARK-MASQ - [0:0]", ":SVC - [0:0]", ":POST - [0:0]",
    ]
    for n in endpoints.indices { lines.append(":SEP\(n) - [0:0]") }
    lines += [
        "-A PREROUTING -d \(clusterIP)/32 -p tcp -m tcp --dport 80 -j SVC", "-A OUTPUT -d \(clusterIP)/32 -p tcp -m tcp --dport 80 -j SVC", "-A POSTROUTING -j POST",
        "-A MARK-MASQ -j MARK --set-xmark 0x4000/0x4000", "-A POST -m mark ! --mark 0x4000/0x4000 -j RETURN", "-A POST -j MARK --set-xmark 0x4000/0x0",
        "-A POST -j MASQUERADE --random-fully",
    ]
    for (n, endpoint) in endpoints.enumerated() {
        lines.append("-A SEP\(n) -s \(endpoint)/32 -j MARK-MASQ")
        lines.append("-A SEP\(n) -p tcp -m tcp -j DNAT --to-destination \(endpoint):\(port)")
        let left = endpoints.count - n
        lines.append("-A SVC " + (left == 1 ? "" : "-m statistic --mode random --probability \(1.0 / Double(left)) ") + "-j SEP\(n)")
    }
    return (lines + [extra, "COMMIT"]).joined(separator: "\n")
}

@Suite("Address translation")
struct NetfilterTranslationTests {
    let syn = TestPacket(source: podA, destination: clusterIP, sourcePort: 40000, destinationPort: 80)

    @Test("A Service's packets reach the endpoint and its answers come from the Service")
    func roundTrip() throws {
        var host = try FilterHost(serviceRules([podB], port: 8080))
        defer { host.deallocate() }
        let out = host.forward(syn)
        #expect(out.flow == "10.244.0.2:40000 > 10.244.0.3:8080")
        #expect(out.info == .new && out.hasValidChecksums && out.isAccepted)
        let endpoint = TestPacket(source: podA, destination: podB, sourcePort: 40000, destinationPort: 8080)
        let back = host.forward(endpoint.reply([.syn, .ack]))
        #expect(back.flow == "10.96.0.20:80 > 10.244.0.2:40000")
        #expect(back.info == .establishedReply && back.hasValidChecksums)
        let data = host.forward(syn.with([.ack, .psh], sequence: 1001, acknowledgment: 5001, payload: 333))
        #expect(data.flow == "10.244.0.2:40000 > 10.244.0.3:8080")
        #expect(data.info == .established && data.hasValidChecksums)
        #expect(
            host.connectionLines() == [
                "tcp      6 300 ESTABLISHED src=10.244.0.2 dst=10.96.0.20 sport=40000 dport=80 src=10.244.0.3 dst=10.244.0.2 sport=8080 dport=40000 [ASSURED] mark=0 use=1"
            ])
    }

    @Test("A pod that reaches itself through its Service is masqueraded, with a port from 1024 on")
    func hairpin() throws {
        var host = try FilterHost(serviceRules([podA]))
        defer { host.deallocate() }
        let out = host.forward(syn)
        #expect(out.source == IPv4Address(10, 244, 0, 1) && out.destination == podA)
        #expect(out.sourcePort >= 1024 && out.hasValidChecksums)
        #expect(out.mark == 0, "the mark is used up")
        let atPod = TestPacket(source: out.source, destination: podA, sourcePort: out.sourcePort, destinationPort: 80)
        let back = host.forward(atPod.reply([.syn, .ack]))
        #expect(back.flow == "10.96.0.20:80 > 10.244.0.2:40000")
        #expect(back.hasValidChecksums)
    }

    @Test("A reset that refuses a connection is translated, and the connection forgotten")
    func refusal() throws {
        var host = try FilterHost(serviceRules([podB]))
        defer { host.deallocate() }
        _ = host.forward(syn)
        let endpoint = TestPacket(source: podA, destination: podB, sourcePort: 40000, destinationPort: 80)
        let back = host.forward(endpoint.reply([.rst, .ack], sequence: 0))
        #expect(back.flow == "10.96.0.20:80 > 10.244.0.2:40000")
        #expect(back.isAccepted && back.hasValidChecksums)
        #expect(host.netfilter.connections.confirmedCount == 0)
        #expect(host.netfilter.connections.unconfirmedCount == 0)
    }

    @Test("Three endpoints each get a third of the connections")
    func probabilities() throws {
        var host = try FilterHost(serviceRules([podB, podC, IPv4Address(10, 244, 0, 5)]))
        defer { host.deallocate() }
        var counts: [IPv4Address: Int] = [:]
        for port in 0..<3000 {
            var one = syn
            one.sourcePort = UInt16(30000 + port)
            counts[host.forward(one).destination, default: 0] += 1
        }
        #expect(counts.count == 3)
        // Three standard deviations of a binomial with n = 3000 and p = 1/3 are 77.
        #expect(counts.values.allSatisfy { abs($0 - 1000) < 90 }, "\(counts)")
    }

    @Test("Affinity by recent keeps a client's endpoint for its time and no longer")
    func affinity() throws {
        var lines = ["*nat", ":SVC - [0:0]", ":SEP0 - [0:0]", ":SEP1 - [0:0]", "-A PREROUTING -d \(clusterIP)/32 -p tcp -m tcp --dport 80 -j SVC"]
        for n in 0...1 { lines.append("-A SVC -m recent --rcheck --seconds 100 --reap --name SEP\(n) --mask 255.255.255.255 --rsource -j SEP\(n)") }
        lines += ["-A SVC -m statistic --mode random --probability 0.5 -j SEP0", "-A SVC -j SEP1"]
        for (n, pod) in [podB, podC].enumerated() {
            lines.append("-A SEP\(n) -p tcp -m recent --set --name SEP\(n) --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination \(pod):80")
        }
        var host = try FilterHost((lines + ["COMMIT"]).joined(separator: "\n"))
        defer { host.deallocate() }
        var port: UInt16 = 30000
        func next(_ host: inout FilterHost) -> IPv4Address {
            port += 1
            var one = syn
            one.sourcePort = port
            return host.forward(one).destination
        }
        let first = next(&host)
        for _ in 0..<30 { #expect(next(&host) == first) }
        var others = 0
        for _ in 0..<20 {
            host.advance(.seconds(101))
            if next(&host) != first { others += 1 }
        }
        #expect((1...19).contains(others))
    }

    @Test("An ICMP error about a translated connection is translated inside and outside")
    func relatedError() throws {
        var host = try FilterHost(serviceRules([podB], port: 8080))
        defer { host.deallocate() }
        let out = host.forward(syn)
        // The endpoint's node says that nobody listens, quoting what it got.
        func error(_ quote: [UInt8], from source: IPv4Address, to destination: IPv4Address) -> [UInt8] {
            var packet = TestPacket(source: source, destination: destination, sourcePort: 0, destinationPort: 0, proto: .icmp, payload: quote.count)
            packet.icmpType = 3
            var bytes = packet.bytes
            bytes.replaceSubrange(28..., with: quote)
            bytes.withUnsafeMutableBytes { buffer in
                let p = buffer.baseAddress! + 20
                p.put(UInt8(3), at: 1)
                p.put(UInt16(0), at: ICMPOffset.checksum)
                p.put(InternetChecksum.checksum(UnsafeRawBufferPointer(rebasing: buffer[20...])), at: ICMPOffset.checksum)
            }
            return bytes
        }
        let back = host.send(error(out.bytes, from: podB, to: podA), through: FilterHost.forwarding)
        #expect(back.info == .relatedReply && back.isAccepted)
        #expect(back.flow == "10.96.0.20 > 10.244.0.2")
        #expect(back.quoted.flow == "10.244.0.2:40000 > 10.96.0.20:80")
        #expect(back.hasValidChecksums && back.quoted.hasValidChecksums)
        // One about a packet nobody sent is INVALID, and the rules drop it.
        let stranger = TestPacket(source: podA, destination: podC, sourcePort: 1, destinationPort: 2).bytes
        #expect(host.send(error(stranger, from: podC, to: podA), through: FilterHost.forwarding).dropReason == .ruleDrop)
        // So is one that does not go to where the quoted packet came from.
        #expect(host.send(error(out.bytes, from: podB, to: podC), through: FilterHost.forwarding).info == .invalid)
    }

    @Test("Masquerading keeps the port while it is free and finds another when it is not")
    func portAllocation() throws {
        var host = try FilterHost("*nat\n-A POSTROUTING -s 10.244.0.0/16 -o eth0 -j MASQUERADE\nCOMMIT")
        defer { host.deallocate() }
        let first = host.forward(TestPacket(source: podA, destination: outside, sourcePort: 5000, destinationPort: 53, proto: .udp), output: 2)
        #expect(first.flow == "192.168.50.11:5000 > 203.0.113.9:53")
        let second = host.forward(TestPacket(source: podB, destination: outside, sourcePort: 5000, destinationPort: 53, proto: .udp), output: 2)
        #expect(second.source == node && second.sourcePort != 5000 && second.sourcePort >= 1024)
        #expect(second.hasValidChecksums)
        let back = host.forward(TestPacket(source: outside, destination: node, sourcePort: 53, destinationPort: second.sourcePort, proto: .udp), input: 2)
        #expect(back.flow == "203.0.113.9:53 > 10.244.0.3:5000")
        // Another destination gives the source the mapping it has.
        let third = host.forward(TestPacket(source: podB, destination: IPv4Address(8, 8, 8, 8), sourcePort: 5000, destinationPort: 53, proto: .udp), output: 2)
        #expect(third.sourcePort == second.sourcePort)
    }

    @Test("Echo identifiers are kept apart like ports")
    func echo() throws {
        var host = try FilterHost("*nat\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT")
        defer { host.deallocate() }
        func ping(_ source: IPv4Address) -> TestPacket { TestPacket(source: source, destination: outside, sourcePort: 77, destinationPort: 1, proto: .icmp, payload: 56) }
        let a = host.forward(ping(podA), output: 2)
        let b = host.forward(ping(podB), output: 2)
        #expect(a.source == node && b.source == node && a.hasValidChecksums && b.hasValidChecksums)
        let id = b.bytes.withUnsafeBytes { $0.baseAddress!.u16(24) }
        #expect(id != 77)
        let back = host.forward(TestPacket(source: outside, destination: node, sourcePort: id, destinationPort: 1, proto: .icmp, payload: 56, icmpType: 0), input: 2)
        #expect(back.destination == podB && back.hasValidChecksums)
        #expect(back.bytes.withUnsafeBytes { $0.baseAddress!.u16(24) } == 77)
    }

    @Test("A UDP datagram without checksum stays without, one with an unfinished checksum stays unfinished")
    func checksums() throws {
        var host = try FilterHost("*nat\n-A OUTPUT -d \(clusterIP)/32 -p udp -j DNAT --to-destination \(podB):5353\nCOMMIT")
        defer { host.deallocate() }
        let packet = TestPacket(source: node, destination: clusterIP, sourcePort: 4000, destinationPort: 53, proto: .udp, payload: 9)
        var bytes = packet.bytes
        (bytes[26], bytes[27]) = (0, 0)
        let bare = host.send(bytes, through: [.localOut, .postrouting])
        #expect(bare.flow == "192.168.50.11:4000 > 10.244.0.3:5353")
        #expect(bare.bytes[26] == 0 && bare.bytes[27] == 0)

        var other = packet
        other.sourcePort = 4001
        var unfinished = other.bytes
        func pseudo(_ destination: IPv4Address) -> UInt16 {
            InternetChecksum.fold(InternetChecksum.pseudoHeader(source: node, destination: destination, protocol: 17, length: 17))
        }
        unfinished.withUnsafeMutableBytes { $0.baseAddress!.put(pseudo(clusterIP), at: 26) }
        let out = host.send(unfinished, through: [.localOut, .postrouting], flags: .partialChecksum)
        #expect(out.bytes.withUnsafeBytes { $0.baseAddress!.u16(26) } == pseudo(podB))
    }

    @Test("Two first segments of one connection: the second to be confirmed is dropped")
    func clash() throws {
        var host = try FilterHost(
            "*nat\n-A PREROUTING -d \(clusterIP)/32 -p tcp -m statistic --mode nth --every 2 --packet 0 -j DNAT --to-destination \(podB)\n-A PREROUTING -d \(clusterIP)/32 -p tcp -j DNAT --to-destination \(podC)\nCOMMIT"
        )
        defer { host.deallocate() }
        let bytes = TestPacket(source: podA, destination: clusterIP, sourcePort: 4000, destinationPort: 53).bytes
        var frames: [FrameHandle] = []
        for _ in 0..<2 {
            let frame = host.frame(bytes)
            _ = host.run(.prerouting, frame, input: 3, output: 0)
            frames.append(frame)
        }
        #expect(host.netfilter.connections.unconfirmedCount == 2)
        var verdicts: [HookVerdict] = []
        for frame in frames { verdicts.append(host.run(.postrouting, frame, input: 0, output: 3)) }
        guard case .accept = verdicts[0], case .drop(.conntrackClash) = verdicts[1] else {
            Issue.record("\(verdicts)")
            return
        }
        for frame in frames { host.netfilter.release(frame, &host.pool) }
        #expect(host.netfilter.connections.unconfirmedCount == 0)
        #expect(host.netfilter.connections.confirmedCount == 1)
    }
}
