import HairpinEngine
import HairpinWire
import Testing

@testable import HairpinDatapath

/// Rules of real nodes in nftables: what `nft -j list ruleset` prints.
@Suite("A dump of nftables")
struct NFTablesTests {
    private static func read(_ text: String, omitsIPTables: Bool = false, unknown: RuleSet.Unknown = .refuse) throws -> RuleSet {
        var set = RuleSet()
        try set.read(nftables: JSON(parsing: Array(text.utf8)), omitsIPTables: omitsIPTables, unknown: unknown)
        return set
    }

    /// One table, `ip t`, with base chains at three hooks and these rules in the chain of forwarded packets.
    private static func forward(_ rules: [String], more: [String] = [], chain: String = "f", unknown: RuleSet.Unknown = .refuse) throws -> RuleSet {
        var objects = [#"{"table":{"family":"ip","name":"t","handle":1}}"#, #"{"chain":{"family":"ip","table":"t","name":"c"}}"#]
        for (name, type, hook, priority) in [("f", "filter", "forward", 0), ("d", "nat", "prerouting", -100), ("m", "nat", "postrouting", 100)] {
            objects.append(#"{"chain":{"family":"ip","table":"t","name":"\#(name)","type":"\#(type)","hook":"\#(hook)","prio":\#(priority),"policy":"accept"}}"#)
        }
        objects += more
        for (number, rule) in rules.enumerated() {
            objects.append(#"{"rule":{"family":"ip","table":"t","chain":"\#(chain)","handle":\#(number + 10),"expr":[\#(rule)]}}"#)
        }
        return try read(#"{"nftables":[\#(objects.joined(separator: ","))]}"#, unknown: unknown)
    }

    private static func packet(_ source: String = "10.244.0.1", _ destination: String = "10.0.0.2", _ proto: UInt8 = 6, port: UInt16 = 80) -> TracedPacket {
        var packet = TracedPacket(source: IPv4Address(source)!, destination: IPv4Address(destination)!, proto: proto, sourcePort: 40_000, destinationPort: port)
        packet.input = "cali1"
        return packet
    }

    private static func trace(_ set: RuleSet, _ packet: TracedPacket, output: String = "eth0") -> [TraceOutcome] {
        let own = IPv4Address(192, 168, 50, 11)
        var surroundings = TraceSurroundings(isLocal: { address, _ in address == own }, way: { _ in (output, "") })
        surroundings.isWayBack = { source, device, _, _ in device.hasPrefix("cali") == (source.rawValue >> 16 == 0x0af4) }
        var tracer = RuleTracer(set, surroundings)
        return tracer.trace(packet, isFromHere: false)
    }

    // MARK: Conditions

    @Test(
        "Every condition, as nft prints it: the packets that meet it and those that do not",
        arguments: [
            (#"{"match":{"op":"!=","left":{"payload":{"protocol":"ip","field":"daddr"}},"right":{"prefix":{"addr":"127.0.0.0","len":8}}}}"#, "1111"),
            (#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"daddr"}},"right":{"set":["10.0.0.2",{"range":["10.9.0.0","10.9.0.9"]}]}}}"#, "1100"),
            (#"{"match":{"op":"==","left":{"&":[{"payload":{"protocol":"ip","field":"saddr"}},"255.0.0.255"]},"right":"10.0.0.1"}}"#, "1110"),
            (#"{"match":{"op":">","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"10.244.0.1"}}"#, "0001"),
            (#"{"match":{"op":"==","left":{"payload":{"protocol":"th","field":"dport"}},"right":{"range":[80,90]}}}"#, "1100"),
            (#"{"match":{"op":"!=","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":443}}"#, "1000"),
            (#"{"match":{"op":"==","left":{"payload":{"protocol":"udp","field":"dport"}},"right":{"set":[80,{"range":[50,60]}]}}}"#, "0101"),
            (#"{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":{"set":["tcp","icmp"]}}}"#, "1010"),
            (#"{"match":{"op":"!=","left":{"meta":{"key":"l4proto"}},"right":"tcp"}}"#, "0111"),
            (#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"protocol"}},"right":"icmp"}}"#, "0010"),
            (#"{"match":{"op":"==","left":{"payload":{"protocol":"icmp","field":"type"}},"right":"echo-request"}}"#, "0010"),
            (#"{"match":{"op":"==","left":{"&":[{"payload":{"protocol":"tcp","field":"flags"}},["syn","rst"]]},"right":"syn"}}"#, "1000"),
            (#"{"match":{"op":"in","left":{"payload":{"protocol":"tcp","field":"flags"}},"right":["ack","fin"]}}"#, "0000"),
            (#"{"match":{"op":"!","left":{"payload":{"protocol":"tcp","field":"flags"}},"right":"ack"}}"#, "1000"),
            (#"{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":["new","untracked"]}}"#, "1111"),
            (#"{"match":{"op":"==","left":{"ct":{"key":"state"}},"right":{"set":["established","related"]}}}"#, "0000"),
            (#"{"match":{"op":"==","left":{"ct":{"key":"ip saddr","dir":"original"}},"right":{"prefix":{"addr":"10.244.0.0","len":16}}}}"#, "1110"),
            (#"{"match":{"op":"!","left":{"ct":{"key":"status"}},"right":"dnat"}}"#, "1111"),
            (#"{"match":{"op":"==","left":{"ct":{"key":"direction"}},"right":"original"}}"#, "1111"),
            (#"{"match":{"op":"==","left":{"&":[{"meta":{"key":"mark"}},16384]},"right":0}}"#, "1111"),
            (#"{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"cali*"}}"#, "1110"),
            (#"{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":{"set":["eth0","lo"]}}}"#, "0001"),
            (#"{"match":{"op":"!=","left":{"meta":{"key":"oif"}},"right":"lo"}}"#, "1111"),
            (#"{"match":{"op":"==","left":{"meta":{"key":"nfproto"}},"right":"ipv4"}}"#, "1111"),
            (#"{"match":{"op":"==","left":{"meta":{"key":"nfproto"}},"right":"ipv6"}}"#, "0000"),
            (#"{"match":{"op":"!=","left":{"payload":{"protocol":"ip6","field":"saddr"}},"right":"fd00::1"}}"#, "0000"),
            (#"{"match":{"op":"==","left":{"fib":{"result":"type","flags":["saddr"]}},"right":"local"}}"#, "0000"),
            (#"{"match":{"op":"==","left":{"fib":{"result":"oif","flags":["saddr","iif"]}},"right":true}}"#, "1111"),
            (#"{"match":{"op":"==","left":{"fib":{"result":"oif","flags":["saddr","mark","iif"]}},"right":"0"}}"#, "0000"),
            (#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"ttl"}},"right":63}}"#, "1111"),
            (#"{"match":{"op":"==","left":{"meta":{"key":"length"}},"right":{"range":[41,80]}}}"#, "1111"),
            (
                #"{"match":{"op":"==","left":{"concat":[{"meta":{"key":"l4proto"}},{"payload":{"protocol":"th","field":"dport"}}]},"right":{"set":[{"concat":["tcp",80]},{"concat":["udp",53]}]}}}"#,
                "1001"
            ),
            (
                #"{"match":{"op":"==","left":{"concat":[{"payload":{"protocol":"ip","field":"saddr"}},{"payload":{"protocol":"tcp","field":"dport"}}]},"right":{"set":[{"concat":[{"prefix":{"addr":"10.0.0.0","len":8}},{"range":[1,100]}]}]}}}"#,
                "1000"
            ),
            (#"{"xt":{"type":"match","name":"comment"}}"#, "1111"),
        ])
    func conditions(rule: String, expected: String) throws {
        let set = try Self.forward([rule + #",{"drop":null}"#])
        var outside = Self.packet("203.0.113.9", "192.0.2.1", 17, port: 53)
        outside.input = "eth0"
        let packets = [Self.packet(), Self.packet("10.244.0.1", "10.9.0.5", 17), Self.packet("10.1.0.1", "10.9.1.1", 1, port: 0), outside]
        var ping = packets[2]
        ping.source = IPv4Address(10, 244, 0, 1)
        let answers = [packets[0], packets[1], ping, packets[3]].map { Self.trace(set, $0)[0].verdict == .drop ? "1" : "0" }.joined()
        #expect(answers == expected)
    }

    // MARK: Statements

    @Test("Marks: what is set is what a later rule finds", arguments: [
        (#"{"|":[{"meta":{"key":"mark"}},16384]}"#, 0x4007), (#"{"^":[{"meta":{"key":"mark"}},5]}"#, 2), (#"{"|":[{"&":[{"meta":{"key":"mark"}},4294967292]},256]}"#, 0x104),
        (#"{"^":[{"&":[{"meta":{"key":"mark"}},6]},65536]}"#, 0x10006), ("9", 9), (#"{"ct":{"key":"mark"}}"#, 0x30), (#"{"&":[{"ct":{"key":"mark"}},16]}"#, 0x10),
        (#"{"map":{"key":{"payload":{"protocol":"ip","field":"saddr"}},"data":{"set":[["10.244.0.1",77]]}}}"#, 77),
        // Of no element: the rule ends, the mark stays.
        (#"{"map":{"key":{"payload":{"protocol":"ip","field":"saddr"}},"data":{"set":[["10.244.0.9",77]]}}}"#, 7),
    ])
    func marks(value: String, expected: Int) throws {
        let set = try Self.forward([
            #"{"mangle":{"key":{"meta":{"key":"mark"}},"value":48}},{"mangle":{"key":{"ct":{"key":"mark"}},"value":{"meta":{"key":"mark"}}}}"#,
            #"{"mangle":{"key":{"meta":{"key":"mark"}},"value":7}}"#, #"{"mangle":{"key":{"meta":{"key":"mark"}},"value":\#(value)}}"#,
            // Two effects and a condition behind them in one rule.
            #"{"match":{"op":"==","left":{"meta":{"key":"mark"}},"right":\#(expected)}},{"mangle":{"key":{"meta":{"key":"mark"}},"value":1}},{"match":{"op":"==","left":{"meta":{"key":"mark"}},"right":1}},{"drop":null}"#,
        ])
        let outcome = Self.trace(set, Self.packet())[0]
        #expect(outcome.verdict == .drop && outcome.rule?.handle == 13 && outcome.mark == 1)
    }

    @Test("Verdicts: maps by name and of a rule, numgen's shares, return and goto, and the order of base chains")
    func verdicts() throws {
        let map = #"{"map":{"family":"ip","table":"t","name":"v","type":["inet_proto","inet_service"],"map":"verdict","elem":[[{"concat":["tcp",80]},{"jump":{"target":"c"}}],[{"elem":{"val":{"concat":["udp",80]},"comment":"x"}},{"drop":null}]]}}"#
        let key = #"{"concat":[{"meta":{"key":"l4proto"}},{"payload":{"protocol":"th","field":"dport"}}]}"#
        let late = #"{"chain":{"family":"ip","table":"t","name":"late","type":"filter","hook":"forward","prio":5,"policy":"drop"}}"#
        let c = #"{"rule":{"family":"ip","table":"t","chain":"c","handle":50,"expr":[{"vmap":{"key":{"numgen":{"mode":"random","mod":4,"offset":0}},"data":{"set":[[0,{"drop":null}],[1,{"accept":null}],[2,{"accept":null}]]}}}]}}"#
        let set = try Self.forward([#"{"vmap":{"key":\#(key),"data":"@v"}}"#, #"{"reject":{"type":"icmp","expr":"host-prohibited"}}"#], more: [map, late, c])
        let outcomes = Self.trace(set, Self.packet())
        // Accepted in one base chain, dropped by the policy of the next; one in four finds no element and is refused behind the jump.
        #expect(outcomes.map(\.verdict) == [.drop, .drop, .reject("icmp-host-prohibited")])
        #expect(outcomes.map(\.probability) == [0.25, 0.5, 0.25])
        #expect(outcomes.map(\.rule?.handle) == [50, nil, 11] && outcomes[1].policy?.chain == "late" && outcomes[1].policy?.text == "policy drop")
        #expect(Self.trace(set, Self.packet(port: 81)).map(\.rule?.handle) == [11])
        #expect(Self.trace(set, Self.packet("10.244.0.1", "10.0.0.2", 17))[0].verdict == .drop)
        let own = try Self.forward([#"{"vmap":{"key":{"payload":{"protocol":"tcp","field":"dport"}},"data":{"set":[[22,{"accept":null}],[{"range":[80,90]},{"drop":null}],["*",{"return":null}]]}}}"#, #"{"drop":null}"#])
        #expect(Self.trace(own, Self.packet(port: 22))[0].rule?.handle == 10 && Self.trace(own, Self.packet(port: 85))[0].rule?.handle == 10)
        #expect(Self.trace(own, Self.packet(port: 99))[0].verdict == .accept)
        #expect(Self.trace(own, Self.packet("10.244.0.1", "10.0.0.2", 1))[0].rule?.handle == 11)
    }

    @Test("Translations: to an address, a port, a range, by a map, by chance", arguments: [
        (#"{"dnat":{"addr":"10.0.0.9","port":8080}}"#, ["10.0.0.9:8080 1.0"]), (#"{"dnat":{"family":"ip","addr":"10.0.0.9"}}"#, ["10.0.0.9:80 1.0"]),
        (#"{"dnat":{"addr":"10.0.0.9","port":{"range":[8080,8090]}}}"#, ["10.0.0.9:8080 1.0"]), (#"{"redirect":{"port":8080}}"#, ["127.0.0.1:8080 1.0"]),
        (#"{"dnat":{"addr":{"map":{"key":{"payload":{"protocol":"th","field":"dport"}},"data":{"set":[[80,{"concat":["10.0.0.7",81]}]]}}}}}"#, ["10.0.0.7:81 1.0"]),
        (
            #"{"dnat":{"addr":{"map":{"key":{"numgen":{"mode":"random","mod":4,"offset":0}},"data":{"set":[[{"range":[0,2]},"10.0.0.1"],[3,"10.0.0.3"]]}}},"port":90}}"#,
            ["10.0.0.1:90 0.75", "10.0.0.3:90 0.25"]
        ),
        (#"{"dnat":{"family":"ip6","addr":"fd00::1"}}"#, ["10.0.0.2:80 1.0"]),
    ])
    func translations(statement: String, expected: [String]) throws {
        let set = try Self.forward([#"{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":"tcp"}},"# + statement], chain: "d")
        #expect(Self.trace(set, Self.packet()).map { "\($0.destination):\($0.destinationPort) \($0.probability)" } == expected)
        let source = try Self.forward([#"{"snat":{"addr":{"range":["10.0.0.3","10.0.0.3"]},"flags":["random","persistent"]}}"#], chain: "m")
        #expect(Self.trace(source, Self.packet())[0].source == IPv4Address(10, 0, 0, 3))
        // What stands behind the translation sees the new source, and where the packet came in.
        let late = #"{"chain":{"family":"ip","table":"t","name":"late","type":"filter","hook":"postrouting","prio":150,"policy":"accept"}}"#
        let behind = #"{"rule":{"family":"ip","table":"t","chain":"late","handle":60,"expr":[{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"10.0.0.3"}},{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"cali*"}},{"drop":null}]}}"#
        let chained = try Self.forward([#"{"snat":{"addr":"10.0.0.3"}}"#], more: [late, behind], chain: "m")
        #expect(Self.trace(chained, Self.packet()).map(\.rule?.handle) == [60])
        #expect(Self.trace(try Self.forward([#"{"masquerade":{"flags":"fully-random"}}"#], chain: "m"), Self.packet())[0].masqueraded?.handle == 10)
    }

    // MARK: Real dumps

    @Test("flannel, portmap and Calico: which of their rules decide")
    func plugins() throws {
        let set = try Self.read(NFTablesDumps.plugins)
        // A pod's packet that Calico's policy does not let out.
        #expect(Self.trace(set, Self.packet("10.244.0.5", "198.51.100.1"))[0].rule?.text == #"counter packets 0 bytes 0 drop comment "Drop if no profiles matched""#)
        // One that it does, masqueraded by flannel, whose table stands first.
        var ping = Self.packet("10.244.0.5", "198.51.100.1", 1)
        let allowed = Self.trace(set, ping)[0]
        #expect(allowed.verdict == .accept && allowed.masqueraded?.table == "ip flannel-ipv4" && allowed.mark == 0x0005_0000)
        // Spoofed: the way back is another.
        ping.source = IPv4Address(192, 0, 2, 1)
        #expect(Self.trace(set, ping)[0].rule?.chain == "raw-PREROUTING")
        // A host port.
        var outside = Self.packet("203.0.113.9", "192.168.50.11", port: 8080)
        outside.input = "eth0"
        let hostPort = Self.trace(set, outside, output: "cali9")[0]
        #expect(hostPort.destination == IPv4Address(10, 244, 0, 9) && hostPort.destinationPort == 80 && hostPort.translated?.chain == "hostports")
        // To a pod with a policy, from who may and who may not.
        for (source, verdict) in [("10.244.0.7", TraceOutcome.Verdict.accept), ("10.244.0.8", .reject("icmp-port-unreachable"))] {
            var packet = Self.packet(source, "10.244.0.6", port: 6385)
            packet.input = "eth0"
            var surroundings = TraceSurroundings(isLocal: { _, _ in false }, way: { _ in ("cali2", "") })
            surroundings.isWayBack = { _, _, _, _ in true }
            var tracer = RuleTracer(set, surroundings)
            #expect(tracer.trace(packet, isFromHere: false)[0].verdict == verdict, "\(source)")
        }
        #expect(set.nftablesListing(now: 0) == JSON(NFTablesDumps.plugins.utf8)?["nftables"]?.items.filter { $0["metainfo"] == nil })
    }

    @Test("Sets by the types of expressions, as newer nft prints them, and maps to addresses and ports")
    func typeOf() throws {
        let like = #"{"concat":[{"payload":{"protocol":"ip","field":"daddr"}},{"payload":{"protocol":"tcp","field":"dport"}}]}"#
        let objects = [
            #"{"set":{"family":"ip","table":"t","name":"s","type":{"typeof":\#(like)},"elem":[{"concat":["10.0.0.2",80]}]}}"#,
            #"{"map":{"family":"ip","table":"t","name":"m","type":{"typeof":\#(like)},"map":{"typeof":{"payload":{"protocol":"ip","field":"daddr"}}},"elem":[[{"concat":["10.0.0.2",80]},"10.9.9.9"]]}}"#,
            #"{"set":{"family":"ip","table":"t","name":"six","type":{"typeof":{"payload":{"protocol":"ip6","field":"saddr"}}},"elem":["fd00::1"]}}"#,
        ]
        let set = try Self.forward([#"{"match":{"op":"==","left":\#(like),"right":"@s"}},{"drop":null}"#], more: objects)
        #expect(Self.trace(set, Self.packet())[0].verdict == .drop && Self.trace(set, Self.packet(port: 81))[0].verdict == .accept)
        let mapped = try Self.forward([#"{"dnat":{"addr":{"map":{"key":\#(like),"data":"@m"}}}}"#], more: objects, chain: "d")
        #expect(Self.trace(mapped, Self.packet())[0].destination == IPv4Address(10, 9, 9, 9))
    }

    @Test("Frames count at the rules they meet, and fill dynamic sets: the listing tells")
    func listing() throws {
        let seen = #"{"set":{"family":"ip","table":"t","name":"seen","type":"ipv4_addr","handle":9,"size":65535,"flags":["dynamic","timeout"],"timeout":60}}"#
        let set = try Self.forward(
            [#"{"counter":{"packets":3,"bytes":30}},{"set":{"op":"update","elem":{"payload":{"protocol":"ip","field":"saddr"}},"set":"@seen"}},{"accept":null}"#], more: [seen])
        var host = try FilterHost("")
        defer { host.deallocate() }
        host.netfilter.replaceRules(set)
        let packet = TestPacket(source: podA, destination: podB, sourcePort: 2000, destinationPort: 80)
        #expect(host.forward(packet).isAccepted)
        host.advance(.seconds(10))
        let listing = host.netfilter.currentRules().nftablesListing(now: host.environment.now.nanoseconds)
        let rule = try #require(listing.last?["rule"])
        #expect(rule["expr"]?.items.first?["counter"]?["packets"]?.int == 4 && rule["expr"]?.items.first?["counter"]?["bytes"]?.int == 30 + packet.bytes.count)
        #expect(listing.first { $0["set"] != nil }?["set"]?["elem"]?.compact == #"[{"elem":{"val":"\#(podA)","expires":50}}]"#)
        host.advance(.seconds(51))
        #expect(host.netfilter.currentRules().nftablesListing(now: host.environment.now.nanoseconds).first { $0["set"] != nil }?["set"]?["elem"] == nil)
    }

    // MARK: What is not understood, and what is wrong

    @Test("What is not understood is refused by table, chain and handle, left out, or taken to hold, as one likes")
    func unknown() throws {
        let rules = [
            #"{"match":{"op":"==","left":{"meta":{"key":"skuid"}},"right":0}},{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":"tcp"}},{"drop":null}"#,
            #"{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":"udp"}},{"queue":{"num":1}}"#, #"{"xt":{"type":"match","name":"conntrack"}},{"accept":null}"#,
            #"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"@odd"}},{"drop":null}"#,
        ]
        let odd = #"{"set":{"family":"ip","table":"t","name":"odd","type":"ether_addr"}}"#
        let refused = #expect(throws: RuleError.self) { try Self.forward(rules) }
        #expect(refused?.isUnknown == true && refused?.description.contains("expression 'meta skuid' is not known: ip t, chain f, handle 10: meta skuid 0 meta l4proto tcp drop") == true)
        let skipped = try Self.forward(rules, more: [odd], unknown: .skip)
        #expect(skipped.skipped.count == 5 && skipped.natives[0].chains.allSatisfy(\.rules.isEmpty))
        let words = skipped.skipped.map(\.description)
        for (index, part) in ["type 'ether_addr'", "'meta skuid'", "'queue'", "iptables-save", "set 'odd'"].enumerated() { #expect(words[index].contains(part), "\(words[index])") }
        let assumed = try Self.forward(rules, more: [odd], unknown: .match)
        #expect(assumed.assumed.count == 5 && assumed.skipped.isEmpty)
        #expect(Self.trace(assumed, Self.packet())[0].rule?.handle == 10)
        #expect(Self.trace(assumed, Self.packet("10.244.0.1", "10.0.0.2", 17))[0].rule?.handle == 12)
    }

    @Test("With iptables-save's output at hand, iptables-nft's own tables are left to it")
    func besideIPTables() throws {
        let text = """
            {"nftables":[{"table":{"family":"ip","name":"nat","handle":1}},
            {"chain":{"family":"ip","table":"nat","name":"PREROUTING","handle":2,"type":"nat","hook":"prerouting","prio":-100,"policy":"accept"}},
            {"rule":{"family":"ip","table":"nat","chain":"PREROUTING","handle":3,"expr":[{"counter":{"packets":0,"bytes":0}},{"xt":{"type":"target","name":"DNAT"}}]}},
            {"table":{"family":"ip6","name":"x","handle":2}},{"chain":{"family":"ip6","table":"x","name":"y"}},{"table":{"family":"inet","name":"mine","handle":3}}]}
            """
        let refused = #expect(throws: RuleError.self) { try Self.read(text) }
        #expect(refused?.description.contains("of xtables' target 'DNAT' nft tells no options; give the output of iptables-save as well: ip nat, chain PREROUTING, handle 3") == true)
        #expect(try Self.read(text, omitsIPTables: true).natives.map(\.name) == ["inet mine"])
    }

    @Test("What cannot be right is refused, whatever becomes of what is unknown", arguments: [
        (#"{"jump":{"target":"gone"}}"#, "there is no chain 'gone'"), (#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"@gone"}}"#, "there is no set 'gone'"),
        (#"{"dnat":{"flags":"random"}}"#, "neither 'addr' nor 'port'"), (#"{"vmap":{"key":{"meta":{"key":"l4proto"}},"data":{"set":[["tcp"]]}}}"#, "is a pair"),
        (#"{"limit":{"rate":0,"per":"second"}}"#, "no limit that is known"), (#"{"jump":{"target":"c"}}"#, "chains jump in a circle: ip t: c -> f -> c"),
        (#"{"vmap":{"key":{"meta":{"key":"l4proto"}},"data":{"set":[["tcp",{"goto":{"target":"c"}}]]}}}"#, "chains jump in a circle: ip t: c -> f -> c"), ("7", "is no statement"),
    ])
    func wrong(rule: String, words: String) throws {
        let back = words.contains("circle") ? [#"{"rule":{"family":"ip","table":"t","chain":"c","handle":5,"expr":[{"jump":{"target":"f"}}]}}"#] : []
        let error = #expect(throws: RuleError.self) { try Self.forward([rule], more: back, unknown: .match) }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
        let none = #expect(throws: RuleError.self) { try Self.read("{}") }
        #expect(none?.description.contains("nft -j list ruleset") == true)
    }

    @Test("A dump that has been tampered with is taken or refused, and what is taken can be walked", arguments: 0..<40)
    func tampered(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed), name: "tamper")
        let odd: [JSON] = [
            .int(-1), .int(.max), .int(.min), .int(4_294_967_296), .int(65_536), .int(0), .double(1e300), .null, .bool(true), .string(""), .string("*"), .string("@"), .string("@seen"), .string("tcp"),
            .array([]), .array([.int(1), .int(2)]), .make([]), .make([("range", .array([.int(9), .int(1)]))]), .make([("concat", .array([]))]), .make([("set", .array([.string("*")]))]),
            .make([("prefix", .make([("addr", .string("10.0.0.0")), ("len", .int(99))]))]),
        ]
        func nodes(_ value: JSON) -> Int {
            switch value {
            case .array(let items): 1 + items.reduce(0) { $0 + nodes($1) }
            case .object(let members): 1 + members.reduce(0) { $0 + nodes($1.value) }
            default: 1
            }
        }
        func replaced(_ value: JSON, _ at: inout Int, _ new: JSON) -> JSON {
            at -= 1
            if at == -1 { return new }
            switch value {
            case .array(let items): return .array(items.map { replaced($0, &at, new) })
            case .object(let members): return .object(members.map { JSON.Member($0.name, replaced($0.value, &at, new)) })
            default: return value
            }
        }
        let whole = try JSON(parsing: Array(NFTablesDumps.plugins.utf8))
        let count = UInt32(nodes(whole))
        var taken = 0
        for _ in 0..<40 {
            var dump = whole
            for _ in 0...random.below(2) {
                var at = Int(random.below(count))
                dump = replaced(dump, &at, odd[Int(random.below(UInt32(odd.count)))])
            }
            var set = RuleSet()
            do throws(RuleError) { try set.read(nftables: dump, unknown: random.below(2) == 0 ? .match : .skip) } catch {
                #expect(!error.reason.isEmpty)
                continue
            }
            taken += 1
            var host = try FilterHost("")
            defer { host.deallocate() }
            host.netfilter.replaceRules(set)
            for packet in [Self.packet("10.244.0.5", "198.51.100.1"), Self.packet("10.244.0.5", "198.51.100.1", 1), Self.packet("203.0.113.9", "192.168.50.11", port: 8080)] {
                let outcomes = Self.trace(set, packet)
                #expect(abs(outcomes.reduce(0) { $0 + $1.probability } - 1) < 1e-6)
                let proto: IPProtocol = packet.proto == 1 ? .icmp : .tcp
                _ = host.forward(TestPacket(source: packet.source, destination: packet.destination, sourcePort: 40_000, destinationPort: packet.destinationPort, proto: proto))
            }
        }
        #expect(taken > 3, "\(taken)")
    }

    @Test("Where base chains stand among iptables' tables, by hook and priority")
    func stages() {
        func stage(_ hook: Hook, _ priority: Int, _ type: String = "filter") -> RuleSet.Table { RuleSet.stage(type: type, hook: hook, priority: priority) }
        #expect([-300, -150, -110, 0].map { stage(.prerouting, $0) } == [.raw, .mangle, .mangle, .security])
        #expect([-300, -110, -90, 0, 50].map { stage(.localOut, $0) } == [.raw, .mangle, .filter, .filter, .security])
        #expect([-110, 0, 100].map { stage(.forward, $0) } == [.mangle, .filter, .security] && [-110, 10].map { stage(.localIn, $0) } == [.mangle, .filter])
        #expect([-150, 99, 101].map { stage(.postrouting, $0) } == [.mangle, .mangle, .security] && stage(.prerouting, -100, "nat") == .nat)
    }
}
