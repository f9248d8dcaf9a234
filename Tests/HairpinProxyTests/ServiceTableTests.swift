import HairpinProxy
import HairpinWire
import Testing

private func address(_ text: String) -> ServiceAddress { ServiceAddress(text)! }

private func settings(_ mode: ServiceProxyMode, zone: String = "") -> ProxySettings {
    var settings = ProxySettings(
        mode: mode, nodeName: "node1", nodeAddress: address("192.168.0.2"), podRanges: [ServicePrefix("10.0.0.0/8")!], serviceRanges: [ServicePrefix("172.30.0.0/16")!])
    settings.zone = zone
    return settings
}

private func web(_ change: (inout ServicePortRules) -> Void = { _ in }) -> ServicePortRules {
    var rules = ServicePortRules(namespace: "ns", service: "web", portName: "http", proto: 6, clusterAddress: address("172.30.0.41"), port: 80)
    change(&rules)
    return rules
}

private func endpoint(_ text: String, isLocal: Bool = false, isReady: Bool = true, zones: [String] = [], nodes: [String] = []) -> ProxyEndpoint {
    ProxyEndpoint(address: address(text), port: 8080, isReady: isReady, isLocal: isLocal, zoneHints: zones, nodeHints: nodes)
}

private let node = address("192.168.0.2")

private func trace(_ table: ServiceTable, _ source: String, _ destination: String, _ port: UInt16 = 80, proto: UInt8 = 6) -> ServiceTrace {
    let local: Set<ServiceAddress> = [node, address("127.0.0.1"), address("10.0.0.1")]
    let flow = ServiceFlow(
        source: address(source), destination: address(destination), proto: proto, port: port, isSourceLocal: local.contains(address(source)),
        isDestinationLocal: local.contains(address(destination)))
    return table.trace(flow, isFromNode: flow.isSourceLocal)
}

@Suite("kube-proxy's decision") struct ServiceTableTests {
    @Test("addresses and prefixes of both families", arguments: ["10.0.0.1", "::1", "fd00:10::2", "2001:db8::1:0:0:1", "::", "1:2:3:4:5:6:7:8"])
    func addresses(text: String) { #expect(ServiceAddress(text)?.description == text) }

    @Test("what is no address", arguments: ["", "10.0.0", "10.0.0.256", ":1", "1::2::3", "1:2:3:4:5:6:7", "12345::", "g::"])
    func noAddress(text: String) { #expect(ServiceAddress(text) == nil) }

    @Test("a prefix holds its own and no other family's addresses")
    func prefixes() throws {
        let four = try #require(ServicePrefix("10.244.0.0/16"))
        #expect(four.contains(address("10.244.3.4")) && !four.contains(address("10.245.0.1")) && !four.contains(address("fd00::1")))
        #expect(ServicePrefix("0.0.0.0/0")!.isEverything && !ServicePrefix("0.0.0.0/0")!.contains(address("::1")))
        #expect(ServicePrefix("fd00:10::/64")!.contains(address("fd00:10::5")) && ServicePrefix("1.2.3.4/33") == nil)
    }

    @Test("endpoints stand in the order of their texts, each once")
    func order() {
        let names = ["10.0.0.9", "10.0.0.10", "10.0.0.1", "10.0.0.100", "9.1.1.1", "10.0.0.9", "100.0.0.1"]
        let table = ServiceTable(settings(.iptables), services: [(web(), names.map { endpoint($0) })])
        #expect(table.endpoints.map(\.text) == Set(names).map { "\($0):8080" }.sorted())
    }

    @Test("ten thousand Services: every address finds its own")
    func many() {
        let table = ServiceTable(settings(.iptables), count: 10_000) { number in
            var rules = ServicePortRules(
                namespace: "ns", service: "s\(number)", proto: 17, clusterAddress: ServiceAddress(IPv4Address(rawValue: 0xac1e_0000 + UInt32(number))), port: 53)
            rules.nodePort = UInt16(20_000 + number)
            return (rules, [endpoint("10.1.\(number / 250).\(number % 250 + 1)")])
        }
        for number in stride(from: 0, to: 10_000, by: 37) {
            let expected = "10.1.\(number / 250).\(number % 250 + 1):8080"
            let found = trace(table, "10.0.0.5", IPv4Address(rawValue: 0xac1e_0000 + UInt32(number)).description, 53, proto: 17)
            #expect(found.choices.map(\.endpoint.text) == [expected] && found.service == "ns/s\(number)")
            #expect(trace(table, "203.0.113.2", "192.168.0.2", UInt16(20_000 + number), proto: 17).choices.map(\.endpoint.text) == [expected])
        }
        #expect(trace(table, "10.0.0.5", "172.30.0.41", 53).verdict == .none, "another protocol")
    }

    @Test("modes differ where the node has no endpoint of a Local policy and asks itself")
    func localFromNode() {
        let rules = web {
            $0.loadBalancerAddresses = [address("1.2.3.4")]
            $0.isExternalLocal = true
        }
        let remote = [endpoint("10.1.0.1")]
        let iptables = trace(ServiceTable(settings(.iptables), services: [(rules, remote)]), "192.168.0.2", "1.2.3.4")
        #expect(iptables.verdict == .endpoint && iptables.isMasqueraded)
        // nftables' filter chains of LOCAL_OUT stand before translation: the short circuit is never reached.
        #expect(trace(ServiceTable(settings(.nftables), services: [(rules, remote)]), "192.168.0.2", "1.2.3.4").verdict == .drop)
        for mode in [ServiceProxyMode.iptables, .nftables] {
            let table = ServiceTable(settings(mode), services: [(rules, remote)])
            #expect(trace(table, "203.0.113.2", "1.2.3.4").verdict == .drop)
            #expect(trace(table, "10.0.0.9", "1.2.3.4").verdict == .endpoint)
            #expect(!trace(table, "10.0.0.9", "1.2.3.4").isMasqueraded)
        }
    }

    @Test("nftables refuses other ports of a ClusterIP and drops addresses nobody has; iptables leaves both alone")
    func unallocated() {
        let services = [(rules: web(), endpoints: [endpoint("10.1.0.1")])]
        let nft = ServiceTable(settings(.nftables), services: services)
        #expect(trace(nft, "10.0.0.9", "172.30.0.41", 81).verdict == .reject)
        #expect(trace(nft, "10.0.0.9", "172.30.9.9", 81).verdict == .drop)
        #expect(trace(nft, "192.168.0.2", "172.30.9.9", 81).verdict == .drop)
        let iptables = ServiceTable(settings(.iptables), services: services)
        #expect(trace(iptables, "10.0.0.9", "172.30.0.41", 81).verdict == .none)
        #expect(trace(iptables, "10.0.0.9", "172.30.9.9", 81).verdict == .none)
    }

    @Test("node ports: any local address in iptables mode, the primary one in nftables mode, never what the flag leaves out")
    func nodePorts() {
        let rules = web { $0.nodePort = 30080 }
        func reached(_ mode: ServiceProxyMode, _ ranges: [String]?, _ destination: String, localhost: Bool = true) -> Bool {
            var settings = settings(mode)
            settings.nodePortAddresses = ranges?.map { ServicePrefix($0)! }
            settings.localhostNodePorts = localhost
            return trace(ServiceTable(settings, services: [(rules, [endpoint("10.1.0.1")])]), "203.0.113.2", destination, 30080).verdict == .endpoint
        }
        #expect(reached(.iptables, nil, "192.168.0.2") && reached(.iptables, nil, "10.0.0.1") && reached(.iptables, nil, "127.0.0.1"))
        #expect(!reached(.iptables, nil, "127.0.0.1", localhost: false))
        #expect(reached(.nftables, nil, "192.168.0.2") && !reached(.nftables, nil, "10.0.0.1") && !reached(.nftables, nil, "127.0.0.1"))
        #expect(reached(.nftables, ["0.0.0.0/0"], "10.0.0.1") && !reached(.nftables, ["0.0.0.0/0"], "127.0.0.1"))
        #expect(!reached(.iptables, ["192.168.0.0/24"], "10.0.0.1") && reached(.iptables, ["fd00::/64"], "10.0.0.1"))
        #expect(!reached(.iptables, nil, "192.168.0.3"), "not this node's")
    }

    @Test("an endpoint that is its own client is masqueraded, its neighbours are not")
    func hairpin() {
        let table = ServiceTable(settings(.iptables), services: [(web(), [endpoint("10.1.0.1"), endpoint("10.1.0.2")])])
        let result = trace(table, "10.1.0.2", "172.30.0.41")
        #expect(result.choices.map(\.isMasqueraded) == [false, true] && result.choices.map(\.probability) == [0.5, 0.5])
    }

    @Test("hints: the node's own first, then its zone, and all of them once one ready endpoint has none")
    func hints() {
        func chosen(_ endpoints: [ProxyEndpoint], zone: String) -> [String] {
            ServiceTable(settings(.iptables, zone: zone), services: [(web(), endpoints)]).endpoints.map(\.address.description)
        }
        let hinted = [endpoint("10.1.0.1", zones: ["a"], nodes: ["node1"]), endpoint("10.1.0.2", zones: ["a"], nodes: ["node2"]), endpoint("10.1.0.3", zones: ["b"], nodes: ["node3"])]
        #expect(chosen(hinted, zone: "a") == ["10.1.0.1"])
        #expect(chosen(Array(hinted[1...]), zone: "a") == ["10.1.0.2"])
        #expect(chosen(Array(hinted[1...]), zone: "c") == ["10.1.0.2", "10.1.0.3"])
        #expect(chosen(hinted + [endpoint("10.1.0.4")], zone: "a").count == 4)
    }

    @Test("IPv6 is decided as IPv4 is")
    func ipv6() {
        var settings = ProxySettings(
            mode: .iptables, nodeName: "node1", nodeAddress: address("2001:db8::1"), podRanges: [ServicePrefix("fd00:10::/64")!],
            serviceRanges: [ServicePrefix("fd00:10:96::/112")!])
        settings.nodePortAddresses = nil
        var rules = ServicePortRules(namespace: "ns", service: "six", proto: 6, clusterAddress: address("fd00:10:96::41"), port: 80)
        rules.nodePort = 30080
        let table = ServiceTable(settings, services: [(rules, [endpoint("fd00:10::9")])])
        let flow = ServiceFlow(
            source: address("2600::1"), destination: address("2001:db8::1"), proto: 6, port: 30080, isSourceLocal: false, isDestinationLocal: true)
        let result = table.trace(flow, isFromNode: false)
        #expect(result.choices.map(\.endpoint.text) == ["[fd00:10::9]:8080"] && result.isMasqueraded)
        let lines = table.serviceRules().lines()
        #expect(lines.contains { $0.hasPrefix("-A KUBE-SERVICES ! -d ::1/128 ") && $0.hasSuffix("-j KUBE-NODEPORTS") })
        #expect(lines.contains { $0.hasSuffix("-j DNAT --to-destination [fd00:10::9]:8080") })
    }

    @Test("nftables: maps of verdicts and chains as nft prints them")
    func nft() {
        let rules = web {
            $0.service = "svc1"
            $0.namespace = "ns1"
            $0.portName = "p80"
            $0.loadBalancerAddresses = [address("1.2.3.4")]
            $0.sourceRanges = [ServicePrefix("203.0.113.0/25")!]
            $0.affinitySeconds = 10800
        }
        let lines = ServiceTable(settings(.nftables), services: [(rules, [endpoint("10.180.0.1")])]).nftRuleset()
        #expect(lines.first == "table ip kube-proxy {" && lines.last == "}")
        #expect(lines.contains("\t\telements = { 172.30.0.41 . tcp . 80 : goto service-ULMVA6XW-ns1/svc1/tcp/p80,"))
        #expect(lines.contains("\t\tip saddr != 203.0.113.0/25 drop"))
        #expect(lines.contains { $0.hasPrefix("\t\tnumgen random mod 1 vmap { 0 : goto endpoint-") })
        #expect(lines.contains("\t\telements = { 192.168.0.2 }"))
        // Every chain that is gone to is there.
        let declared = Set(lines.compactMap { $0.hasPrefix("\tchain ") ? String($0.dropFirst(7).dropLast(2)) : nil })
        for line in lines {
            let words = line.split(whereSeparator: { " ,".contains($0) }).map(String.init)
            for (index, word) in words.enumerated() where word == "goto" || word == "jump" { #expect(declared.contains(words[index + 1]), "\(line)") }
        }
    }

    @Test("SCTP node ports of ipvs mode stand in hashes with every address of the node; TCP's and UDP's in bitmaps")
    func sctpSets() {
        func rules(_ port: UInt16, _ proto: UInt8, isLocal: Bool = false) -> ServicePortRules {
            web {
                ($0.service, $0.proto, $0.nodePort) = ("s\(port)", proto, port)
                $0.isExternalLocal = isLocal
            }
        }
        var own = settings(.ipvs)
        own.otherAddresses = [address("10.0.0.1"), address("172.17.0.1")]
        let services = [(rules(30090, 132), [endpoint("10.0.1.1")]), (rules(30091, 132, isLocal: true), []), (rules(30092, 6), []), (rules(30093, 17, isLocal: true), [])]
        let lines = ServiceTable(own, services: services).ipsets()
        let hash = "hash:ip,port family inet hashsize 1024 maxelem 65536"
        #expect(lines.contains("create KUBE-NODE-PORT-SCTP-HASH \(hash)") && lines.contains("create KUBE-NODE-PORT-LOCAL-SCTP-HASH \(hash)"))
        #expect(lines.contains("create KUBE-NODE-PORT-TCP bitmap:port range 0-65535"))
        let node = lines.filter { $0.hasPrefix("add KUBE-NODE-PORT") }
        #expect(
            node == [
                "add KUBE-NODE-PORT-LOCAL-SCTP-HASH 192.168.0.2,sctp:30091", "add KUBE-NODE-PORT-LOCAL-SCTP-HASH 10.0.0.1,sctp:30091",
                "add KUBE-NODE-PORT-LOCAL-SCTP-HASH 172.17.0.1,sctp:30091", "add KUBE-NODE-PORT-LOCAL-UDP 30093", "add KUBE-NODE-PORT-SCTP-HASH 192.168.0.2,sctp:30090",
                "add KUBE-NODE-PORT-SCTP-HASH 10.0.0.1,sctp:30090", "add KUBE-NODE-PORT-SCTP-HASH 172.17.0.1,sctp:30090",
                "add KUBE-NODE-PORT-SCTP-HASH 192.168.0.2,sctp:30091", "add KUBE-NODE-PORT-SCTP-HASH 10.0.0.1,sctp:30091",
                "add KUBE-NODE-PORT-SCTP-HASH 172.17.0.1,sctp:30091", "add KUBE-NODE-PORT-TCP 30092", "add KUBE-NODE-PORT-UDP 30093",
            ])
        own.nodePortAddresses = [ServicePrefix("192.168.0.0/24")!]
        let ranged = ServiceTable(own, services: services).ipsets().filter { $0.contains("sctp:30090") }
        #expect(ranged == ["add KUBE-NODE-PORT-SCTP-HASH 192.168.0.2,sctp:30090"])
        own.mode = .iptables
        #expect(ServiceTable(own, services: services).ipsets().isEmpty)
    }

    @Test("ipvsadm -Ln")
    func ipvsadm() {
        var service = IPVSListing.Service(
            proto: 6, address: address("10.96.0.20"), port: 80, scheduler: "rr", persistenceSeconds: 10800, servers: [.init(address: address("10.244.0.2"), port: 8080, weight: 1)])
        let lines = IPVSListing.lines([service])
        #expect(lines[3] == "TCP  10.96.0.20:80 rr persistent 10800")
        #expect(lines[4] == "  -> 10.244.0.2:8080              Masq    1      0          0         ")
        // As ipvsadm 1.31 printed them on Linux 6.1.176.
        (service.scheduler, service.flags, service.persistenceSeconds) = ("sh", ["sh-fallback", "sh-port"], nil)
        #expect(IPVSListing.lines([service])[3] == "TCP  10.96.0.20:80 sh (sh-fallback,sh-port)")
        let connection = IPVSListing.Connection(
            proto: 6, state: "ESTABLISHED", remainingSeconds: 792, source: "10.1.0.2:20217", virtual: "10.96.0.20:80", destination: "10.244.0.4:8080")
        #expect(
            IPVSListing.lines(connections: [connection]) == [
                "IPVS connection entries", "pro expire state       source             virtual            destination",
                "TCP 13:12  ESTABLISHED 10.1.0.2:20217     10.96.0.20:80      10.244.0.4:8080",
            ])
    }
}
