import HairpinEngine
import HairpinWire
import Testing

@testable import HairpinDatapath

@Suite("Connection tracking")
struct NetfilterConnectionTests {
    let syn = TestPacket(source: podA, destination: podB, sourcePort: 40000, destinationPort: 80)

    /// Line of the only connection, from its time on.
    func line(_ host: inout FilterHost) -> String {
        let lines = host.connectionLines()
        return lines.count == 1 ? lines[0].split(separator: " ").dropFirst(2).prefix(2).joined(separator: " ") : "\(lines.count) connections"
    }

    @Test("A TCP connection from handshake to TIME_WAIT, with the kernel's times")
    func life() throws {
        var host = try FilterHost("", tracks: true)
        defer { host.deallocate() }
        let steps: [(TestPacket, ConnectionInfo, String)] = [
            (syn, .new, "120 SYN_SENT"),
            (syn.reply([.syn, .ack]), .establishedReply, "60 SYN_RECV"),
            (syn.with([.ack], sequence: 1001, acknowledgment: 5001), .established, "432000 ESTABLISHED"),
            (syn.with([.ack, .psh], sequence: 1001, acknowledgment: 5001, payload: 10), .established, "300 ESTABLISHED"),
            (syn.reply([.ack], sequence: 5001, acknowledgment: 1011), .establishedReply, "432000 ESTABLISHED"),
            (syn.reply([.fin, .ack], sequence: 5001, acknowledgment: 1011), .establishedReply, "120 FIN_WAIT"),
            (syn.with([.ack], sequence: 1011, acknowledgment: 5002), .established, "60 CLOSE_WAIT"),
            (syn.with([.fin, .ack], sequence: 1011, acknowledgment: 5002), .established, "30 LAST_ACK"),
            (syn.reply([.ack], sequence: 5002, acknowledgment: 1012), .establishedReply, "120 TIME_WAIT"),
        ]
        for (packet, info, expected) in steps {
            let out = host.forward(packet)
            #expect(out.info == info)
            #expect(line(&host) == expected)
        }
        // The port is used again: a new connection.
        #expect(host.forward(syn.with([.syn], sequence: 900_000)).info == .new)
        #expect(line(&host) == "120 SYN_SENT")
        host.advance(.seconds(121))
        #expect(line(&host) == "0 connections")
    }

    func established() throws -> FilterHost {
        var host = try FilterHost("", tracks: true)
        _ = host.forward(syn)
        _ = host.forward(syn.reply([.syn, .ack]))
        _ = host.forward(syn.with([.ack], sequence: 1001, acknowledgment: 5001))
        return host
    }

    @Test("What lies outside the window is INVALID, late duplicates are not")
    func window() throws {
        var host = try established()
        defer { host.deallocate() }
        #expect(host.forward(syn.with([.ack], sequence: 1001 + 200_000, acknowledgment: 5001, payload: 10)).info == .invalid, "beyond the window")
        #expect(host.forward(syn.with([.ack], sequence: 1001, acknowledgment: 9000)).info == .invalid, "acknowledges what was never sent")
        #expect(host.forward(syn.with([.rst], sequence: 1001 + 200_000)).info == .invalid, "a reset out of nowhere")
        #expect(host.forward(syn.with([.ack], sequence: 1001, acknowledgment: 5001, payload: 10)).info == .established)
        #expect(host.forward(syn.with([.ack], sequence: 1001 &- 100_000, acknowledgment: 5001, payload: 10)).info == .established, "late, but of the connection")
        #expect(host.netfilter.connections.statistics.invalid == 3)
    }

    @Test("With tcp_be_liberal what lies outside the window passes")
    func liberal() throws {
        var host = try established()
        defer { host.deallocate() }
        #expect(host.set(sysctl: "net.netfilter.nf_conntrack_tcp_be_liberal", to: 1) == true)
        #expect(host.forward(syn.with([.ack], sequence: 1001 + 200_000, acknowledgment: 5001, payload: 10)).info == .established)
    }

    @Test("A reset in order closes, one within the window does not yet")
    func reset() throws {
        var host = try established()
        defer { host.deallocate() }
        _ = host.forward(syn.reply([.ack], sequence: 5001, acknowledgment: 1001))
        #expect(host.forward(syn.with([.rst], sequence: 1500)).info == .established)
        #expect(line(&host).hasSuffix("ESTABLISHED"))
        #expect(host.forward(syn.with([.rst], sequence: 1001)).info == .established)
        #expect(line(&host) == "10 CLOSE")
    }

    @Test("A connection is picked up in the middle, unless tcp_loose forbids it")
    func pickup() throws {
        var host = try FilterHost("", tracks: true)
        defer { host.deallocate() }
        let data = syn.with([.ack, .psh], sequence: 77_777, acknowledgment: 88_888, payload: 5)
        #expect(host.set(sysctl: "nf_conntrack_tcp_loose", to: 0) == true)
        #expect(host.forward(data).info == .invalid)
        #expect(host.set(sysctl: "nf_conntrack_tcp_loose", to: 1) == true)
        #expect(host.forward(data).info == .new)
        #expect(line(&host) == "300 ESTABLISHED")
        #expect(host.forward(syn.reply([.ack], sequence: 88_888, acknowledgment: 77_782)).info == .establishedReply)
    }

    @Test("Nonsense is INVALID", arguments: [TCPFlags.syn.union(.fin), [], [.syn, .rst], [.fin], [.syn, .ack], [.rst]])
    func nonsense(flags: TCPFlags) throws {
        var host = try FilterHost("", tracks: true)
        defer { host.deallocate() }
        #expect(host.forward(syn.with(flags, sequence: 5)).info == .invalid)
        #expect(host.netfilter.connections.confirmedCount == 0)
        #expect(host.netfilter.connections.unconfirmedCount == 0)
    }

    @Test("UDP is idle for 30 s, a stream for 120 s; the times are settings")
    func udp() throws {
        var host = try FilterHost("", tracks: true)
        defer { host.deallocate() }
        let packet = TestPacket(source: podA, destination: podB, sourcePort: 4000, destinationPort: 53, proto: .udp)
        #expect(host.forward(packet).info == .new)
        #expect(host.forward(packet).info == .new, "still unanswered")
        #expect(host.forward(packet.reply([])).info == .establishedReply)
        #expect(line(&host).hasPrefix("30 "))
        host.advance(.seconds(3))
        #expect(host.forward(packet).info == .established)
        #expect(line(&host).hasPrefix("120 "))
        host.advance(.seconds(121))
        #expect(host.set(sysctl: "net.netfilter.nf_conntrack_udp_timeout", to: 7) == true)
        #expect(host.forward(packet).info == .new)
        #expect(line(&host).hasPrefix("7 "))
        #expect(host.set(sysctl: "net.netfilter.nf_conntrack_nothing", to: 7) == false)
    }

    @Test("Only a question begins an ICMP connection")
    func icmp() throws {
        var host = try FilterHost("", tracks: true)
        defer { host.deallocate() }
        let ping = TestPacket(source: podA, destination: podB, sourcePort: 7, destinationPort: 1, proto: .icmp)
        #expect(host.forward(ping.reply([])).info == .invalid)
        #expect(host.forward(ping).info == .new)
        #expect(host.forward(ping.reply([])).info == .establishedReply)
        #expect(
            host.connectionLines() == [
                "icmp     1 30 src=10.244.0.2 dst=10.244.0.3 type=8 code=0 id=7 src=10.244.0.3 dst=10.244.0.2 type=0 code=0 id=7 mark=0 use=1"
            ])
    }

    @Test("A packet dropped before it is confirmed leaves nothing behind")
    func dropped() throws {
        var host = try FilterHost("*filter\n-A FORWARD -m conntrack --ctstate NEW -j DROP\nCOMMIT")
        defer { host.deallocate() }
        for port in 1...50 {
            var one = syn
            one.sourcePort = UInt16(port)
            #expect(host.forward(one).dropReason == .ruleDrop)
        }
        #expect(host.netfilter.connections.confirmedCount == 0)
        #expect(host.netfilter.connections.unconfirmedCount == 0)
    }

    @Test("NOTRACK takes a packet out of tracking")
    func untracked() throws {
        var host = try FilterHost("*raw\n-A PREROUTING -s \(podA) -j NOTRACK\nCOMMIT\n*filter\n-A FORWARD -m conntrack --ctstate UNTRACKED -j DROP\nCOMMIT")
        defer { host.deallocate() }
        #expect(host.forward(syn).dropReason == .ruleDrop)
        #expect(host.forward(syn.reply([.syn, .ack])).info == .invalid)
    }

    @Test("A full table drops what is not assured, then new packets")
    func full() throws {
        var host = try established()
        defer { host.deallocate() }
        #expect(host.set(sysctl: "net.netfilter.nf_conntrack_max", to: 1) == true)
        _ = host.forward(syn.reply([.ack], sequence: 5001, acknowledgment: 1001))
        var other = syn
        other.sourcePort = 40001
        #expect(host.forward(other).dropReason == .conntrackFull)
        #expect(host.forward(syn.with([.ack], sequence: 1001, acknowledgment: 5001)).info == .established)
    }

    @Test("Thousands of connections come and go, and are found again")
    func many() throws {
        var host = try FilterHost("", tracks: true)
        defer { host.deallocate() }
        func packet(_ n: Int) -> TestPacket {
            TestPacket(
                source: IPv4Address(rawValue: podA.rawValue + UInt32(n % 17)), destination: outside, sourcePort: UInt16(1000 + n), destinationPort: 53, proto: .udp)
        }
        for n in 0..<5000 { #expect(host.forward(packet(n)).info == .new) }
        for n in stride(from: 0, to: 5000, by: 3) { #expect(host.forward(packet(n).reply([])).info == .establishedReply) }
        #expect(host.netfilter.connections.confirmedCount == 5000)
        let removed = host.netfilter.connections.removeAll { original, _ in original.sourcePort % 2 == 0 }
        #expect(removed == 2500)
        for n in 0..<5000 where (1000 + n) % 2 == 1 { #expect(host.forward(packet(n)).info == (n % 3 == 0 ? .established : .new)) }
        #expect(host.netfilter.connections.confirmedCount == 2500)
        host.advance(.seconds(200))
        for n in 0..<5000 { _ = host.forward(packet(n)) }
        host.advance(.seconds(31))
        #expect(host.connectionLines().isEmpty)
        #expect(host.netfilter.connections.confirmedCount == 0)
    }
}
