import HairpinEngine
import HairpinProxy
import HairpinWire
import Testing

@testable import HairpinDatapath

/// Rules of nftables: compiled, against the chains and the elements as they are written; and kube-proxy's table against what Hairpin prints of it.
@Suite("Compiled rules of nftables")
struct NFTablesWalkTests {
    private static let chains = ["alpha", "beta", "gamma", "delta", "epsilon"]
    private static let addresses = (0..<12).map { IPv4Address(10, 244, UInt8($0 % 3), UInt8(1 + $0)) } + [IPv4Address(192, 168, 50, 11), IPv4Address(10, 244, 0, 255)]
    private static let ports: [UInt16] = [53, 80, 443, 8080, 30080]
    private static let names = ["lo", "eth0", "cni0", "veth1", "veth2"]

    private struct Maker {
        var random: SeededRandom
        var handle = 100
        mutating func pick<T>(_ values: [T]) -> T { values[Int(random.below(UInt32(values.count)))] }
        mutating func chance(_ oneIn: UInt32) -> Bool { random.below(oneIn) == 0 }
        mutating func next() -> Int {
            handle += 1
            return handle
        }

        func match(_ left: String, _ op: String, _ right: String) -> String { #"{"match":{"op":"\#(op)","left":\#(left),"right":\#(right)}}"# }
        func payload(_ proto: String, _ field: String) -> String { #"{"payload":{"protocol":"\#(proto)","field":"\#(field)"}}"# }
        func meta(_ key: String) -> String { #"{"meta":{"key":"\#(key)"}}"# }
        let mark = #"{"meta":{"key":"mark"}}"#
        mutating func equal() -> String { chance(3) ? "!=" : "==" }

        mutating func address() -> String {
            switch random.below(6) {
            case 0: #"{"prefix":{"addr":"10.244.\#(random.below(3)).0","len":24}}"#
            case 1: #"{"range":["10.244.0.2","10.244.1.\#(5 + random.below(4))"]}"#
            case 2: #"{"set":["\#(pick(addresses))",{"prefix":{"addr":"10.244.2.0","len":25}},{"range":["10.244.0.1","10.244.0.4"]}]}"#
            case 3: #""\#(pick(["@hosts", "@nets", "@seen"]))""#
            default: #""\#(pick(addresses))""#
            }
        }

        mutating func condition() -> String {
            switch random.below(20) {
            case 0, 1: return match(payload("ip", pick(["saddr", "daddr"])), equal(), address())
            case 2: return match(meta("l4proto"), equal(), pick([#""tcp""#, #""udp""#, #"{"set":["tcp","icmp"]}"#, "17"]))
            case 3: return match(payload("th", pick(["sport", "dport"])), equal(), pick(["80", #"{"range":[50,500]}"#, #"{"set":[53,443,{"range":[8000,9000]}]}"#]))
            case 4: return match(payload(pick(["tcp", "udp"]), "dport"), equal(), "\(pick(ports))")
            case 5: return match(#"{"&":[\#(mark),\#(1 + random.below(3))]}"#, pick(["==", "!="]), "\(random.below(3))")
            case 6: return match(mark, pick(["<", ">", "<=", ">="]), "\(random.below(4))")
            case 7: return match(#"{"ct":{"key":"state"}}"#, "in", pick([#""new""#, #"["new","invalid"]"#, #""untracked""#]))
            case 8: return match(#"{"ct":{"key":"state"}}"#, pick(["==", "!="]), pick([#""new""#, #"{"set":["invalid","new"]}"#]))
            case 9: return match(meta(pick(["iifname", "oifname"])), equal(), pick([#""eth0""#, #""cni0""#, #"{"set":["veth1","cni0"]}"#]))
            case 10: return match(meta("iifname"), equal(), #""eth*""#)
            case 11: return match(#"{"fib":{"result":"type","flags":["daddr"]}}"#, equal(), pick([#""local""#, #"{"set":["local","broadcast"]}"#]))
            case 12: return match(#"{"&":[{"payload":{"protocol":"tcp","field":"flags"}},["syn","ack"]]}"#, "==", #""syn""#)
            case 13: return match(payload("icmp", "type"), equal(), pick([#""echo-request""#, #"{"set":["echo-reply",3]}"#]))
            case 14: return #"{"limit":{"rate":\#(1 + random.below(3)),"burst":\#(1 + random.below(3)),"per":"second","inv":\#(chance(2))}}"#
            case 15: return match(#"{"numgen":{"mode":"random","mod":\#(2 + random.below(4)),"offset":0}}"#, "<", "2")
            case 16: return match(#"{"numgen":{"mode":"inc","mod":\#(2 + random.below(2)),"offset":5}}"#, "==", "6")
            case 17: return match(payload("ip", pick(["ttl", "length"])), pick(["<", ">"]), pick(["63", "64", "50"]))
            case 18: return match("{\"concat\":[\(payload("ip", "daddr")),\(meta("l4proto")),\(payload("th", "dport"))]}", equal(), #""@pairs""#)
            default: return #"{"counter":{"packets":0,"bytes":0}}"#
            }
        }

        mutating func effect() -> String {
            switch random.below(8) {
            case 0: #"{"mangle":{"key":\#(mark),"value":{"|":[\#(mark),1]}}}"#
            case 1: #"{"mangle":{"key":\#(mark),"value":{"^":[{"&":[\#(mark),2]},\#(random.below(4))]}}}"#
            case 2: #"{"mangle":{"key":\#(mark),"value":\#(random.below(4))}}"#
            case 3: #"{"mangle":{"key":\#(mark),"value":{"map":{"key":\#(payload("ip", "saddr")),"data":{"set":[["10.244.0.1",1],["10.244.1.2",2],[{"prefix":{"addr":"10.244.2.0","len":24}},3]]}}}}}"#
            case 4: #"{"set":{"op":"update","elem":\#(payload("ip", "saddr")),"set":"@seen"}}"#
            case 5: #"{"set":{"op":"add","elem":{"elem":{"val":\#(payload("ip", "daddr")),"timeout":3}},"set":"@seen"}}"#
            case 6: #"{"set":{"op":"delete","elem":\#(payload("ip", "daddr")),"set":"@seen"}}"#
            default: #"{"log":{"prefix":"x"}}"#
            }
        }

        /// Chains jump only to later ones, so that there are no circles.
        mutating func verdict(_ chain: Int) -> String {
            if chain + 1 < chains.count, chance(2) {
                return #"{"\#(chance(4) ? "goto" : "jump")":{"target":"\#(chains[chain + 1 + Int(random.below(UInt32(chains.count - chain - 1)))])"}}"#
            }
            return pick([#"{"accept":null}"#, #"{"drop":null}"#, #"{"return":null}"#, #"{"return":null}"#, #"{"continue":null}"#])
        }

        mutating func last(_ chain: Int) -> [String] {
            switch random.below(9) {
            case 0: return []
            case 1: return [#"{"reject":\#(pick(["null", #"{"type":"icmp","expr":"admin-prohibited"}"#]))}"#]
            case 2: return [#"{"vmap":{"key":\#(payload("th", "dport")),"data":{"set":[[53,\#(verdict(chain))],[{"range":[80,500]},\#(verdict(chain))]]}}}"#]
            case 3:
                return [
                    #"{"vmap":{"key":{"numgen":{"mode":"random","mod":3,"offset":0}},"data":{"set":[[0,\#(verdict(chain))],[1,\#(verdict(chain))],[2,\#(verdict(chain))]]}}}"#
                ]
            case 4 where chain < 1: return [#"{"vmap":{"key":{"concat":[\#(payload("ip", "daddr")),\#(meta("l4proto")),\#(payload("th", "dport"))]},"data":"@services"}}"#]
            default: return [verdict(chain)]
            }
        }

        mutating func rule(_ chain: String, _ number: Int) -> String {
            var words: [String] = []
            for _ in 0..<random.below(4) { words.append(condition()) }
            if chance(3) { for _ in 0..<(1 + random.below(2)) { words.append(effect()) } }
            words += last(number)
            return rule(chain, words)
        }
        mutating func rule(_ chain: String, _ words: [String]) -> String {
            #"{"rule":{"family":"ip","table":"t","chain":"\#(chain)","handle":\#(next()),"expr":[\#(words.joined(separator: ","))]}}"#
        }

        /// A stretch as kube-proxy and portmap write them: one address, or one port, in every rule.
        mutating func stretch(_ chain: String, _ number: Int) -> [String] {
            let isPort = chance(2)
            let proto = pick(["tcp", "udp"])
            return (0..<(9 + Int(random.below(12)))).map { _ in
                let head = isPort ? [match(payload(proto, "dport"), "==", "\(pick(ports))")] : [match(payload("ip", "daddr"), "==", #""\#(pick(addresses))""#)]
                return rule(chain, head + (chance(3) ? [condition()] : []) + [verdict(number)])
            }
        }

        mutating func ruleset() -> String {
            func set(_ kind: String, _ name: String, _ body: String) -> String { #"{"\#(kind)":{"family":"ip","table":"t","name":"\#(name)",\#(body)}}"# }
            var objects = [
                #"{"metainfo":{"json_schema_version":1}}"#, #"{"table":{"family":"ip","name":"t","handle":1}}"#,
                set("set", "hosts", #""type":"ipv4_addr","elem":["10.244.0.1","10.244.1.2",{"elem":{"val":"10.244.2.3","comment":"three"}}]"#),
                set("set", "nets", #""type":"ipv4_addr","flags":["interval"],"elem":[{"prefix":{"addr":"10.244.1.0","len":24}},{"range":["10.244.0.3","10.244.0.9"]},"10.244.2.6"]"#),
                set("set", "seen", #""type":"ipv4_addr","size":6,"flags":["dynamic","timeout"],"timeout":2"#),
                set(
                    "set", "pairs",
                    #""type":["ipv4_addr","inet_proto","inet_service"],"flags":["interval"],"elem":[{"concat":["10.244.0.4","tcp",80]},{"concat":[{"prefix":{"addr":"10.244.1.0","len":24}},"tcp",{"range":[50,500]}]}]"#
                ),
            ]
            for (name, hook, priority) in [("first", "forward", 0), ("second", "forward", 10)] {
                let policy = pick(["accept", "accept", "drop"])
                objects.append(
                    #"{"chain":{"family":"ip","table":"t","name":"\#(name)","type":"filter","hook":"\#(hook)","prio":\#(priority),"policy":"\#(policy)"}}"#)
            }
            for chain in chains { objects.append(#"{"chain":{"family":"ip","table":"t","name":"\#(chain)"}}"#) }
            objects.append(
                set(
                    "map", "services",
                    #""type":"ipv4_addr . inet_proto . inet_service","map":"verdict","elem":[[{"concat":["10.244.0.1","tcp",80]},{"jump":{"target":"delta"}}],[{"concat":["10.244.1.2","udp",53]},{"goto":{"target":"epsilon"}}],[{"concat":["10.244.2.3","tcp",443]},{"drop":null}]]"#
                ))
            for (number, chain) in (["first"] + chains).enumerated() {
                for _ in 0..<(1 + random.below(5)) { objects.append(rule(chain, number - 1)) }
                if chance(2) { objects += stretch(chain, number - 1) }
                for _ in 0..<random.below(4) { objects.append(rule(chain, number - 1)) }
            }
            for _ in 0..<3 { objects.append(rule("second", 0)) }
            return #"{"nftables":[\#(objects.joined(separator: ","))]}"#
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

    @Test("A verdict, a mark, the rules looked at, every counter and every set are those of the chains as written", arguments: 0..<80)
    func agreement(seed: Int) throws {
        var maker = Maker(random: SeededRandom(seed: UInt64(seed), name: "nft"))
        let text = maker.ruleset()
        var set = RuleSet()
        try set.read(nftables: JSON(parsing: Array(text.utf8)))
        var host = try FilterHost("")
        defer { host.deallocate() }
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
        var counts: [Int: Int] = [:]
        for number in 0..<200 {
            if maker.chance(3) { host.advance(.milliseconds(Int64(maker.random.below(900)))) }
            let packet = maker.packet()
            let mark = maker.random.below(4)
            let (input, output) = (2 + maker.random.below(4), 2 + maker.random.below(2))
            let frame = host.frame(packet.bytes)
            host.pool[frame].pointee.mark = mark
            host.pool[frame].pointee.connectionInfo = maker.pick([.new, .invalid, .untracked])
            var headers = try #require(PacketHeaders(host.pool[frame], offset: 0))
            let place = HookPlace(hook: .forward, input: InterfaceIndex(input), output: InterfaceIndex(output), networkOffset: 0)
            var traced = TracedPacket(
                source: packet.source, destination: packet.destination, proto: packet.proto.rawValue, sourcePort: packet.sourcePort, destinationPort: packet.destinationPort)
            (traced.length, traced.tcpFlags, traced.icmpType) = (UInt16(packet.bytes.count), packet.flags.rawValue, packet.icmpType)
            (traced.input, traced.output) = (NFTablesWalkTests.names[Int(input) - 1], NFTablesWalkTests.names[Int(output) - 1])
            var state = WalkState(packet: traced)
            (state.mark, state.info) = (mark, host.pool[frame].pointee.connectionInfo)

            program.walked = 0
            let start = try #require(program.entry(.filter, .forward))
            let verdict = program.evaluateAll(from: start, program.following(.filter, .forward), place, frame, &headers, nil, &host.pool, &host.environment)
            walk.now = host.environment.now.nanoseconds
            let ends = walk.walk(.filter, .forward, state)
            let (end, how) = try #require(ends.count == 1 ? ends[0] : nil)
            #expect(same(verdict, how.verdict), "packet \(number): compiled \(verdict), walked \(how.verdict)\n\(text)")
            #expect(host.pool[frame].pointee.mark == end.mark, "packet \(number)")
            #expect(Int(program.walked) == end.visits, "packet \(number)")
            for reference in end.path { counts[reference.handle ?? 0, default: 0] += 1 }
            host.pool.free(frame)
        }
        // The same random numbers were drawn, no more and no fewer.
        #expect(host.environment.random.next32() == draws.random.next32())
        #expect(program.elements.sets.map(\.elements) == walk.elements.sets.map(\.elements))
        var after = set
        program.saveCounters(into: &after)
        for rule in after.natives[0].chains.flatMap(\.rules) { #expect(Int(rule.packets) == counts[rule.handle] ?? 0, "\(rule.handle) \(rule.text)") }
    }

    // MARK: kube-proxy's table

    private struct Services {
        var random: SeededRandom
        func table() -> ServiceTable { var copy = self; return copy.make() }

        private mutating func make() -> ServiceTable {
            var settings = ProxySettings(
                mode: .nftables, nodeName: "node1", nodeAddress: ServiceAddress(node), podRanges: [ServicePrefix(IPv4Prefix(IPv4Address(10, 244, 0, 0), length: 16))],
                serviceRanges: [ServicePrefix(IPv4Prefix(IPv4Address(10, 96, 0, 0), length: 12))])
            settings.masqueradeAll = random.below(6) == 0
            if random.below(4) == 0 { settings.nodePortAddresses = [ServicePrefix("0.0.0.0/0")!] }
            let services = (0..<8).map { number -> (ServicePortRules, [ProxyEndpoint]) in
                var rules = ServicePortRules(
                    namespace: "default", service: "s\(number)", proto: random.below(3) == 0 ? 17 : 6, clusterAddress: ServiceAddress(IPv4Address(10, 96, 0, UInt8(number + 1))),
                    port: 80)
                if random.below(2) == 0 { rules.nodePort = UInt16(30080 + number) }
                if random.below(3) == 0 { rules.loadBalancerAddresses = [ServiceAddress(IPv4Address(203, 0, 113, UInt8(50 + number)))] }
                if random.below(3) == 0 { rules.externalAddresses = [ServiceAddress(IPv4Address(198, 51, 100, UInt8(50 + number)))] }
                if !rules.loadBalancerAddresses.isEmpty, random.below(2) == 0 { rules.sourceRanges = [ServicePrefix("203.0.113.0/28")!, ServicePrefix("192.168.50.0/24")!] }
                rules.isInternalLocal = random.below(5) == 0
                rules.isExternalLocal = random.below(3) == 0
                if random.below(3) == 0 { rules.affinitySeconds = 10 }
                let endpoints = (0..<random.below(4)).map { index in
                    ProxyEndpoint(
                        address: ServiceAddress(IPv4Address(10, 244, UInt8(random.below(2)), UInt8(2 + UInt32(number) * 4 + index))), port: 8080, isLocal: random.below(2) == 0)
                }
                return (rules, endpoints)
            }
            return ServiceTable(settings, services: services)
        }
    }

    @Test("What nft -j prints of kube-proxy's table, read back, does with every packet what the table does", arguments: 0..<40)
    func serviceTables(seed: Int) throws {
        let services = Services(random: SeededRandom(seed: UInt64(seed), name: "services"))
        let table = services.table()
        var read = RuleSet()
        try read.read(nftables: JSON(parsing: Array(NFTablesText.json(table.nftObjects()).utf8)))
        #expect(read.nftablesListing(now: 0).count == table.nftObjects().count)
        var (original, copy) = (try FilterHost("", tracks: true), try FilterHost("", tracks: true))
        defer {
            original.deallocate()
            copy.deallocate()
        }
        original.netfilter.setServices(table)
        copy.netfilter.replaceRules(read)
        var random = SeededRandom(seed: UInt64(seed), name: "packets")
        let destinations =
            (1...9).map { IPv4Address(10, 96, 0, UInt8($0)) } + [node, IPv4Address(10, 96, 5, 5)] + (50...57).map { IPv4Address(203, 0, 113, UInt8($0)) }
            + (50...57).map { IPv4Address(198, 51, 100, UInt8($0)) }
        let sources = [podA, podB, IPv4Address(10, 244, 1, 3), IPv4Address(203, 0, 113, 9), IPv4Address(192, 168, 50, 12), IPv4Address(8, 8, 8, 8), node]
        var translated = 0
        for number in 0..<400 {
            let destination = destinations[Int(random.below(UInt32(destinations.count)))]
            let source = sources[Int(random.below(UInt32(sources.count)))]
            let port: UInt16 = destination == node && random.below(4) != 0 ? UInt16(30080 + random.below(9)) : random.below(8) == 0 ? 81 : 80
            let packet = TestPacket(
                source: source, destination: destination, sourcePort: UInt16(2000 + number), destinationPort: port, proto: random.below(4) == 0 ? .udp : .tcp)
            let hooks: [Hook] = source == node ? [.localOut, .postrouting] : destination == node && random.below(2) == 0 ? [.prerouting, .localIn] : FilterHost.forwarding
            if random.below(20) == 0 {
                original.advance(.seconds(4))
                copy.advance(.seconds(4))
            }
            let (a, b) = (original.send(packet.bytes, through: hooks), copy.send(packet.bytes, through: hooks))
            #expect(a.bytes == b.bytes && a.mark == b.mark && "\(a.verdict)" == "\(b.verdict)", "packet \(number): \(a.verdict) \(a.flow), read \(b.verdict) \(b.flow)")
            if a.destination != destination { translated += 1 }
        }
        #expect(translated > 5, "\(translated)")
        #expect(original.connectionLines() == copy.connectionLines())
    }
}
