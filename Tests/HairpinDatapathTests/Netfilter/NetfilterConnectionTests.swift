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

    @Test("A full table drops an entry that is not assured to make room, and counts it")
    func earlyDrop() throws {
        var host = try FilterHost("", tracks: true)
        defer { host.deallocate() }
        #expect(host.set(sysctl: "net.netfilter.nf_conntrack_max", to: 1) == true)
        var packet = TestPacket(source: podA, destination: podB, sourcePort: 5000, destinationPort: 53, proto: .udp)
        #expect(host.forward(packet).isAccepted)
        packet.sourcePort = 5001
        #expect(host.forward(packet).isAccepted)
        #expect(host.connectionLines().map { $0.contains("sport=5001 ") } == [true])
        #expect(host.netfilter.connections.statistics.earlyDrop == 1 && host.netfilter.connections.statistics.drop == 0)
        // A stream is assured: there is no room any more.
        _ = host.forward(packet.reply([]))
        host.advance(.seconds(3))
        _ = host.forward(packet)
        packet.sourcePort = 5002
        #expect(host.forward(packet).dropReason == .conntrackFull)
        #expect(host.netfilter.connections.statistics.drop == 1)
    }

    // MARK: Clashes: two packets of one flow before either is confirmed

    /// Sends two equal packets through PREROUTING, then both through POSTROUTING; between the two the rule that translates them is `rule`'s.
    private func clash(_ host: inout FilterHost, _ packet: TestPacket, rules: [String]) throws -> [HookVerdict] {
        let frames = try rules.map { rule in
            if !rule.isEmpty {
                try host.netfilter.apply(command: "iptables -t nat -F PREROUTING")
                try host.netfilter.apply(command: "iptables -t nat -A PREROUTING " + rule)
            }
            let frame = host.frame(packet.bytes)
            guard case .accept = host.run(.prerouting, frame, input: 3, output: 0) else {
                Issue.record("refused at PREROUTING")
                return frame
            }
            return frame
        }
        return frames.map { frame in
            let verdict = host.run(.postrouting, frame, input: 0, output: 3)
            host.netfilter.release(frame, &host.pool)
            host.pool.free(frame)
            return verdict
        }
    }

    private let query = TestPacket(source: podA, destination: clusterIP, sourcePort: 5353, destinationPort: 53, proto: .udp)

    @Test("Two datagrams of one flow that nobody translates share the entry of the first")
    func clashJoins() throws {
        var host = try FilterHost("", tracks: true)
        defer { host.deallocate() }
        let verdicts = try clash(&host, query, rules: ["", ""])
        #expect(verdicts.allSatisfy { if case .accept = $0 { true } else { false } })
        let statistics = host.netfilter.connections.statistics
        #expect(statistics.clashResolve == 1 && statistics.insertFailed == 0 && statistics.drop == 0)
        #expect(host.connectionLines().count == 1)
    }

    @Test("Two datagrams of one flow with different bindings both pass: the loser's entry answers for a second, by its reply alone")
    func clashHarder() throws {
        var host = try FilterHost("", tracks: true)
        defer { host.deallocate() }
        let rules = ["3", "4"].map { "-d 10.96.0.20/32 -p udp -j DNAT --to-destination 10.244.0.\($0):53" }
        let verdicts = try clash(&host, query, rules: rules)
        #expect(verdicts.allSatisfy { if case .accept = $0 { true } else { false } })
        #expect(host.netfilter.connections.statistics.clashResolve == 1 && host.netfilter.connections.statistics.insertFailed == 0)
        #expect(host.connectionLines().count == 2)
        // Both endpoints' answers come from the virtual address.
        for endpoint in [podB, podC] {
            let answer = host.forward(TestPacket(source: endpoint, destination: podA, sourcePort: 53, destinationPort: 5353, proto: .udp))
            #expect(answer.flow == "\(clusterIP):53 > \(podA):5353")
        }
        // The flow itself stays with the winner, and the other entry is soon gone.
        #expect(host.forward(query).destination == podB)
        host.advance(.milliseconds(1100))
        #expect(host.connectionLines().count == 1)
        #expect(host.forward(TestPacket(source: podC, destination: podA, sourcePort: 53, destinationPort: 5353, proto: .udp)).source == podC)
    }

    @Test("Of two first segments of one TCP connection with different bindings the second is dropped: insert_failed")
    func clashDrops() throws {
        var host = try FilterHost("", tracks: true)
        defer { host.deallocate() }
        var first = syn
        first.destination = clusterIP
        let rules = ["3", "4"].map { "-d 10.96.0.20/32 -p tcp -j DNAT --to-destination 10.244.0.\($0):80" }
        let verdicts = try clash(&host, first, rules: rules)
        if case .accept = verdicts[0] {} else { Issue.record("the first was refused") }
        if case .drop(.conntrackClash) = verdicts[1] {} else { Issue.record("the second passed") }
        let statistics = host.netfilter.connections.statistics
        #expect(statistics.insertFailed == 1 && statistics.drop == 1 && statistics.clashResolve == 0)
        #expect(host.connectionLines().count == 1)
    }

    @Test("Who watches is told of beginnings, changes and ends, at their times; who does not costs nothing")
    func watching() throws {
        var host = try FilterHost("", tracks: true)
        defer { host.deallocate() }
        _ = host.forward(query)
        #expect(host.netfilter.connections.takeEvents(now: host.environment.now).isEmpty)
        host.netfilter.connections.isWatched = true
        let begin = host.environment.now
        _ = host.forward(query.reply([]))
        host.advance(.seconds(3))
        _ = host.forward(query)
        host.advance(.seconds(200))
        let events = host.netfilter.connections.takeEvents(now: host.environment.now)
        #expect(events.map(\.kind) == [.update, .update, .destroy])
        #expect(events.map { $0.nanoseconds - begin.nanoseconds } == [0, 3_000_000_000, 123_000_000_000])
        #expect(events[1].record.isAssured && events[1].record.seconds == 120 && events[2].record.seconds == nil)
        host.netfilter.connections.isWatched = false
        _ = host.forward(query)
        host.netfilter.connections.isWatched = true
        #expect(host.netfilter.connections.takeEvents(now: host.environment.now).isEmpty)
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
        let removed = host.netfilter.connections.removeAll(now: host.environment.now) { $0.original.sourcePort % 2 == 0 }
        #expect(removed.count == 2500)
        for n in 0..<5000 where (1000 + n) % 2 == 1 { #expect(host.forward(packet(n)).info == (n % 3 == 0 ? .established : .new)) }
        #expect(host.netfilter.connections.confirmedCount == 2500)
        host.advance(.seconds(200))
        for n in 0..<5000 { _ = host.forward(packet(n)) }
        host.advance(.seconds(31))
        #expect(host.connectionLines().isEmpty)
        #expect(host.netfilter.connections.confirmedCount == 0)
    }

    @Test("Segments in mid-stream leave the same windows whichever way they are followed", arguments: 0..<60)
    func midStream(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed), name: "windows")
        var quick = try established()
        var slow = try established()
        defer {
            quick.deallocate()
            slow.deallocate()
        }
        var next: [UInt32] = [1001, 5001]
        for step in 0..<120 {
            let isReply = random.below(2) == 1
            let (own, other) = (isReply ? 1 : 0, isReply ? 0 : 1)
            let payload = Int(random.below(4)) * 300
            // Now and then late, early, or acknowledging too much or too little.
            let slip: [UInt32] = [0, 0, 0, 0, 0, 0 &- 300, 0 &- 70_000, 300, 90_000]
            let sequence = next[own] &+ slip[Int(random.below(9))]
            let acknowledgment = next[other] &+ slip[Int(random.below(9))]
            var packet =
                isReply
                ? syn.reply([.ack], sequence: sequence, acknowledgment: acknowledgment, payload: payload)
                : syn.with([.ack], sequence: sequence, acknowledgment: acknowledgment, payload: payload)
            if sequence == next[own] { next[own] &+= UInt32(payload) }
            var bytes = packet.bytes
            let window = [UInt16(64240), 0, 500, 64240][Int(random.below(4))]
            bytes[34] = UInt8(window >> 8)
            bytes[35] = UInt8(truncatingIfNeeded: window)
            let a = quick.send(bytes, through: FilterHost.forwarding)
            // URG is nothing to the state machine, and keeps a segment off the short way.
            packet.flags.insert(.urg)
            bytes[33] = packet.flags.rawValue
            let b = slow.send(bytes, through: FilterHost.forwarding)
            #expect(a.info == b.info, "step \(step)")
            let (x, y) = (quick.netfilter.connections.entries[0], slow.netfilter.connections.entries[0])
            #expect("\(x.tcp)" == "\(y.tcp)" && x.status == y.status && x.expires == y.expires, "step \(step)")
        }
    }
}
