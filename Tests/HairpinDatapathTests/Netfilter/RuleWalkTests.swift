import HairpinEngine
import HairpinWire
import Testing

@testable import HairpinDatapath

/// The compiled rules against the chains as they are written: random rule sets, random packets, the same random numbers for both.
@Suite("Compiled rules and the walk")
struct RuleWalkTests {
    private static let chains = ["ALPHA", "BETA", "GAMMA", "DELTA", "EPSILON"]
    private static let addresses = (0..<12).map { IPv4Address(10, 244, UInt8($0 % 3), UInt8(1 + $0)) } + [IPv4Address(192, 168, 50, 11), IPv4Address(10, 244, 0, 255)]
    private static let ports: [UInt16] = [53, 80, 443, 8080, 30080]
    private static let names = ["lo", "eth0", "cni0", "veth1", "veth2"]
    private static let sets = """
        create hosts hash:ip family inet hashsize 1024 maxelem 65536
        add hosts 10.244.0.1
        add hosts 10.244.1.2
        create nets hash:net family inet
        add nets 10.244.0.0/16
        add nets 10.244.1.0/24 nomatch
        create pairs hash:ip,port family inet
        add pairs 10.244.0.4,tcp:80
        add pairs 10.244.2.3,udp:53
        add pairs 10.244.2.3,icmp:8/0
        create seen hash:ip family inet timeout 10
        """

    private struct Maker {
        var random: SeededRandom
        mutating func pick<T>(_ values: [T]) -> T { values[Int(random.below(UInt32(values.count)))] }
        mutating func chance(_ oneIn: UInt32) -> Bool { random.below(oneIn) == 0 }
        mutating func not() -> String { chance(4) ? "! " : "" }

        mutating func match(_ proto: String) -> String {
            switch random.below(18) {
            case 0: return "-m mark \(not())--mark 0x\(random.below(4))/0x3"
            case 1: return "-m comment --comment \"a \\\"b\\\" c\""
            case 2: return "-m statistic --mode random \(not())--probability 0.\(1 + random.below(8))"
            case 3: return "-m statistic --mode nth \(not())--every \(2 + random.below(3)) --packet \(random.below(2))"
            case 4: return "-m addrtype \(not())--dst-type \(pick(["LOCAL", "UNICAST", "BROADCAST", "LOCAL,BROADCAST"]))"
            case 5: return "-m recent --name \(pick(["X", "Y"])) \(pick(["--set", "--rcheck --seconds 2", "--update --seconds 3 --hitcount 2", "--remove"])) --rsource"
            case 6: return "-m limit --limit \(pick(["1/sec", "30/min", "5/sec"])) --limit-burst \(1 + random.below(3))"
            case 7: return "-m set \(not())--match-set \(pick(["hosts src", "hosts dst", "nets dst", "nets src --return-nomatch", "pairs dst,dst", "pairs src,src", "seen src"]))"
            case 8: return "-m conntrack \(not())--ctstate \(pick(["NEW", "INVALID", "NEW,RELATED", "UNTRACKED"]))"
            case 9: return "-m ttl \(pick(["--ttl-lt 64", "--ttl-gt 3", "--ttl-eq 64"]))"
            case 10: return "-m length --length \(pick(["0:40", "28:60", "41:"]))"
            case 11: return "-m iprange \(not())--src-range 10.244.0.1-10.244.1.5"
            case 12: return "-m u32 \(not())--u32 \"\(pick(["0x6&0xff=0x6", "0xc=0xaf40001:0xaf40104", "0x0>>0x16&0x3c@0x0>>0x10=0x0:0x7fff"]))\""
            case 13 where proto == "tcp" || proto == "udp": return "-m multiport \(not())--dports 53,80:100,\(pick(ports))"
            case 14 where proto == "tcp": return "-m tcp \(not())--tcp-flags SYN,ACK,RST SYN"
            case 15 where proto == "icmp": return "-m icmp \(not())--icmp-type \(pick(["8", "0", "3/1"]))"
            case 16: return "-m rpfilter\(chance(2) ? " --invert" : "")"
            default: return ""
            }
        }

        mutating func rule(_ chain: Int) -> String {
            var words: [String] = []
            let proto = pick(["", "tcp", "udp", "icmp", "tcp"])
            if chance(3) { words.append("\(not())-s \(pick(addresses))/\(pick([32, 32, 24, 16]))") }
            if chance(3) { words.append("\(not())-d \(pick(addresses))/\(pick([32, 32, 24]))") }
            if chance(6) { words.append("\(not())-i \(pick(["eth0", "cni0", "veth+"]))") }
            if chance(6) { words.append("\(not())-o \(pick(["eth0", "cni0"]))") }
            if !proto.isEmpty { words.append("-p \(proto)") }
            if proto == "tcp" || proto == "udp", chance(2) { words.append("-m \(proto) \(not())--\(pick(["dport", "dport", "sport"])) \(pick(ports))") }
            for _ in 0..<random.below(3) { words.append(match(proto)) }
            words.append(target(chain))
            return words.filter { !$0.isEmpty }.joined(separator: " ")
        }

        /// Chains jump only to later ones, so that there are no circles.
        mutating func target(_ chain: Int) -> String {
            if chain + 1 < chains.count, chance(2) { return "-\(chance(5) ? "g" : "j") \(chains[chain + 1 + Int(random.below(UInt32(chains.count - chain - 1)))])" }
            return pick([
                "-j ACCEPT", "-j DROP", "-j RETURN", "-j RETURN", "-j REJECT", "", "-j MARK --set-xmark 0x1/0x1", "-j MARK --set-xmark 0x2/0x0", "-j LOG",
                "-j SET --add-set seen src --exist", "-j SET --del-set seen dst",
            ])
        }

        /// A stretch as kube-proxy writes them: one address, or one port, in every rule.
        mutating func stretch(_ chain: Int) -> [String] {
            let isPort = chance(2)
            let proto = pick(["tcp", "udp"])
            return (0..<(9 + Int(random.below(20)))).map { _ in
                let head =
                    isPort ? "-p \(proto) -m comment --comment x -m \(proto) --dport \(pick(ports))" : "-d \(pick(addresses))/32 -p \(proto) -m \(proto) --dport \(pick(ports))"
                return head + " " + (chance(3) ? match(proto) + " " : "") + target(chain)
            }
        }

        mutating func table() -> String {
            var text = "*filter\n:INPUT \(pick(["ACCEPT", "DROP"])) [0:0]\n:FORWARD \(pick(["ACCEPT", "DROP"])) [0:0]\n:OUTPUT ACCEPT [0:0]\n"
            for chain in chains { text += ":\(chain) - [0:0]\n" }
            for (number, chain) in (["FORWARD"] + chains).enumerated() {
                for _ in 0..<(1 + random.below(5)) { text += "-A \(chain) \(rule(number - 1))\n" }
                if chance(2) { for line in stretch(number - 1) { text += "-A \(chain) \(line)\n" } }
                for _ in 0..<random.below(4) { text += "-A \(chain) \(rule(number - 1))\n" }
            }
            return text + "COMMIT\n"
        }

        mutating func packet() -> TestPacket {
            var packet = TestPacket(
                source: pick(addresses), destination: pick(addresses), sourcePort: chance(4) ? pick(ports) : 1024 + UInt16(random.below(60_000)), destinationPort: pick(ports),
                proto: pick([.tcp, .tcp, .udp, .icmp]))
            packet.flags = pick([.syn, .syn, [.syn, .ack], .ack])
            packet.payload = Int(random.below(40))
            packet.icmpType = pick([8, 0, 3])
            return packet
        }
    }

    private func same(_ compiled: RuleVerdict, _ walked: RuleVerdict) -> Bool {
        switch (compiled, walked) {
        case (.accept, .accept), (.drop, .drop): true
        case (.reject(let a), .reject(let b)): a == b
        default: false
        }
    }

    @Test("A verdict, a mark, the rules looked at and every counter are those of the chains as written", arguments: 0..<60)
    func agreement(seed: Int) throws {
        var maker = Maker(random: SeededRandom(seed: UInt64(seed), name: "rules"))
        let text = maker.table()
        let set = try RuleSet(parsing: text, sets: IPSetTable(parsing: RuleWalkTests.sets))
        var host = try FilterHost("")
        defer { host.deallocate() }
        host.netfilter = Netfilter(rules: set)
        var program = RuleProgram(set)
        defer { program.deallocate() }
        let environment = host.environment
        var surroundings = TraceSurroundings(isLocal: { address, _ in environment.isLocal(address) }, way: { _ in ("eth0", "") })
        surroundings.isBroadcast = { environment.isBroadcast($0) }
        final class Draws {
            var random = SeededRandom(seed: 1, name: "test")
        }
        let draws = Draws()
        var walk = RuleWalk(set, surroundings, .draw { draws.random.next32() })
        var counts: [RuleReference: Int] = [:]
        for number in 0..<200 {
            if maker.chance(3) { host.advance(.milliseconds(Int64(maker.random.below(900)))) }
            let packet = maker.packet()
            let mark = maker.random.below(4)
            let (input, output) = (2 + maker.random.below(4), 2 + maker.random.below(2))
            let frame = host.frame(packet.bytes)
            host.pool[frame].pointee.mark = mark
            host.pool[frame].pointee.connectionInfo = maker.pick([.new, .invalid, .untracked])
            let info = host.pool[frame].pointee.connectionInfo
            var headers = try #require(PacketHeaders(host.pool[frame], offset: 0))
            let place = HookPlace(hook: .forward, input: InterfaceIndex(input), output: InterfaceIndex(output), networkOffset: 0)
            program.walked = 0
            let start = try #require(program.entry(.filter, .forward))
            let verdict = program.evaluate(from: start, place, frame, &headers, nil, &host.pool, &host.environment)

            var traced = TracedPacket(
                source: packet.source, destination: packet.destination, proto: packet.proto.rawValue, sourcePort: packet.sourcePort, destinationPort: packet.destinationPort)
            traced.length = UInt16(packet.bytes.count)
            traced.tcpFlags = packet.flags.rawValue
            traced.icmpType = packet.icmpType
            (traced.input, traced.output) = (RuleWalkTests.names[Int(input) - 1], RuleWalkTests.names[Int(output) - 1])
            var state = WalkState(packet: traced)
            (state.mark, state.info) = (mark, info)
            walk.now = host.environment.now.nanoseconds
            let ends = walk.walk(.filter, .forward, state)
            let (end, how) = try #require(ends.count == 1 ? ends[0] : nil)
            #expect(same(verdict, how.verdict), "packet \(number): compiled \(verdict), walked \(how.verdict)\n\(text)")
            #expect(host.pool[frame].pointee.mark == end.mark, "packet \(number)")
            #expect(Int(program.walked) == end.visits, "packet \(number)")
            for reference in end.path { counts[reference, default: 0] += 1 }
            host.pool.free(frame)
        }
        // The same random numbers were drawn, no more and no fewer.
        #expect(host.environment.random.next32() == draws.random.next32())
        var after = set
        program.saveCounters(into: &after)
        for chain in after.tables[0].chains {
            for rule in chain.rules {
                #expect(Int(rule.packets) == counts[RuleReference(table: "filter", chain: chain.name, line: rule.line, text: rule.text)] ?? 0, "\(chain.name) \(rule.text)")
            }
        }
        #expect(program.sets.lines(now: host.environment.now.nanoseconds).count > 8)
    }
}

