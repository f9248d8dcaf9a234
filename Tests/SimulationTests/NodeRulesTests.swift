import Foundation
import HairpinDatapath
import HairpinEngine
import HairpinWire
import Testing

@testable import HairpinScenario

/// Rules of a real node in a cluster: of the frames, of `trace`, and of Hairpin's own nodes read back.
@Suite("Rules of a real node in a cluster")
struct NodeRulesTests {
    let folder = TemporaryFolder()

    private static let objects = """
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web}
        spec:
          replicas: 3
          selector: {matchLabels: {app: web}}
          template:
            metadata: {labels: {app: web}}
            spec: {containers: [{name: web, image: nginx, ports: [{name: http, containerPort: 80}]}]}
        ---
        {apiVersion: v1, kind: Pod, metadata: {name: shell}, spec: {nodeName: node1, containers: [{name: sh, image: alpine, command: [sleep, infinity]}]}}
        ---
        {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, nodePort: 30080}]}}
        ---
        {apiVersion: v1, kind: Service, metadata: {name: sticky}, spec: {selector: {app: web}, sessionAffinity: ClientIP, ports: [{port: 80}]}}
        ---
        {apiVersion: v1, kind: Service, metadata: {name: none}, spec: {type: NodePort, selector: {app: none}, externalIPs: [203.0.113.5], ports: [{port: 80, nodePort: 30081}]}}
        ---
        {apiVersion: v1, kind: Service, metadata: {name: near}, spec: {type: NodePort, selector: {app: web}, externalTrafficPolicy: Local, ports: [{port: 80, nodePort: 30082}]}}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: local}
        spec: {type: LoadBalancer, selector: {app: web}, externalTrafficPolicy: Local, loadBalancerSourceRanges: [198.51.100.0/24], ports: [{port: 80, nodePort: 30083}]}
        status: {loadBalancer: {ingress: [{ip: 203.0.113.10}]}}

        """

    private func loaded(_ mode: ProxyMode) throws -> LoadedScenario {
        var loaded = try ScenarioFile.cluster(manifests: [folder.write("web.yaml", Self.objects)])
        loaded.scenario.cluster.setNodeCount(2)
        loaded.scenario.cluster.cni = "flannel-host-gw"
        loaded.scenario.cluster.proxyMode = mode
        return loaded
    }

    @Test("What iptables-save and ipset save print of an own node, read back, decides the same", arguments: [ProxyMode.iptables, .ipvs])
    func roundTrip(mode: ProxyMode) throws {
        let original = try ServiceTracing(loaded(mode), hooks: .quiet)
        var again = try loaded(mode)
        let lines = original.world.simulation.rules(of: "node1")
        #expect(lines.contains { $0.contains("KUBE-SERVICES") && $0.hasPrefix("-A") })
        again.scenario.cluster.nodes[0].rules = NodeRules(file: "node1.rules", lines: lines)
        let sets = original.world.simulation.services(of: "node1")?.ipsets() ?? []
        again.scenario.cluster.nodes[0].rules?.setLines = sets
        #expect(sets.isEmpty == (mode == .iptables))
        let copy = try ServiceTracing(again, hooks: .quiet)
        // Word for word, but for kube-proxy's table, which is rules now.
        #expect(copy.world.simulation.rules(of: "node1") == lines)
        var questions = 0
        for from in ["shell", "10.244.0.3", "node1", "203.0.113.7", "198.51.100.9", "192.168.50.12"] {
            for to in [
                "web:80", "web:81", "sticky:80", "none:80", "local:80", "203.0.113.10:80", "203.0.113.5:80", "node1:30080", "node1:30081", "node1:30082", "node1:30083",
                "node1:22",
            ] {
                let a = try original.trace(from: from, to: to, proto: 6, namespace: "default", at: "node1")
                let b = try copy.trace(from: from, to: to, proto: 6, namespace: "default", at: "node1")
                questions += 1
                guard mode == .iptables else {
                    // IPVS chooses; its rules say who is masqueraded.
                    continue
                }
                // A packet to the other node, and what only a policy lets through, are not kube-proxy's.
                let verdict = b.verdict == "ACCEPT" && a.verdict == "NONE" ? "NONE" : b.verdict
                #expect(a.verdict == verdict, "\(from) \(to): \(a.verdict) \(b.verdict) \(b.decidedBy?.text ?? "")")
                #expect(a.endpoints.map(\.address) == b.endpoints.map(\.address), "\(from) \(to)")
                for (x, y) in zip(a.endpoints, b.endpoints) {
                    #expect(abs(x.probability - y.probability) < 1e-9 && x.masqueraded == y.masqueraded && x.port == y.port && x.pod == y.pod, "\(from) \(to)")
                    #expect(y.rules?.first.map { lines[$0.line - 1].contains("--to-destination \(y.address):\(y.port)") } == true)
                }
            }
        }
        #expect(questions == 72)
    }

    @Test("SCTP node ports of an ipvs node: sets and rules as kube-proxy has them, and read back they mark what comes for the Service without policy Local")
    func sctpNodePorts() throws {
        let manifests = """
            ---
            {apiVersion: v1, kind: Pod, metadata: {name: call, labels: {app: call}}, spec: {nodeName: node1, containers: [{name: c, image: nginx}]}}
            ---
            {apiVersion: v1, kind: Service, metadata: {name: call}, spec: {type: NodePort, selector: {app: call}, ports: [{port: 5060, nodePort: 30090, protocol: SCTP}]}}
            ---
            {apiVersion: v1, kind: Service, metadata: {name: near}, spec: {type: NodePort, externalTrafficPolicy: Local, selector: {app: call}, ports: [{port: 5061, nodePort: 30091, protocol: SCTP}]}}

            """
        let cluster = "cni: flannel-host-gw, dns: false, proxyMode: ipvs"
        let steps = "  steps:\n  - {id: sets, in: node/node1, run: ipset save}\n  - {id: list, in: node/node1, run: ipset list}\n  - {id: rules, in: node/node1, run: iptables-save -t nat}\n"
        let path = folder.write("sctp.yaml", scenarioText("  cluster: {\(cluster), nodes: 1}\n\(steps)") + manifests)
        let result = try ScenarioRunner(ScenarioFile.load(path), options: RunOptions(), hooks: .quiet).run()
        func output(_ id: String) throws -> [String] { try #require(result.steps.first { $0.id == id }).stdout.split(separator: "\n").map(String.init) }
        let sets = try output("sets")
        // Every address of the node but 127.0.0.1 and those of kube-ipvs0.
        for address in ["192.168.50.11", "10.244.0.1"] {
            #expect(sets.contains("add KUBE-NODE-PORT-SCTP-HASH \(address),sctp:30090") && sets.contains("add KUBE-NODE-PORT-SCTP-HASH \(address),sctp:30091"))
            #expect(sets.contains("add KUBE-NODE-PORT-LOCAL-SCTP-HASH \(address),sctp:30091"), "\(sets)")
        }
        #expect(!sets.contains { $0.contains("KUBE-NODE-PORT-SCTP ") } && sets.count { $0.contains("add KUBE-NODE-PORT-LOCAL-SCTP-HASH") } == 2)
        #expect(try output("list").contains("Name: KUBE-NODE-PORT-LOCAL-SCTP-HASH"))
        let rules = try output("rules")
        #expect(
            rules.filter { $0.hasPrefix("-A KUBE-NODE-PORT ") } == [
                #"-A KUBE-NODE-PORT -p sctp -m comment --comment "Kubernetes nodeport SCTP port with externalTrafficPolicy=local with type \'hash ip:port\'" -m set --match-set KUBE-NODE-PORT-LOCAL-SCTP-HASH dst,dst -j RETURN"#,
                #"-A KUBE-NODE-PORT -p sctp -m comment --comment "Kubernetes nodeport SCTP port for masquerade purpose with type \'hash ip:port\'" -m set --match-set KUBE-NODE-PORT-SCTP-HASH dst,dst -j KUBE-MARK-MASQ"#,
            ], "\(rules)")

        // Read back as the rules of a real node: the set decides who is marked, and a masquerade follows.
        _ = folder.write("node.sets", sets.joined(separator: "\n") + "\n")
        _ = folder.write("node.rules", rules.joined(separator: "\n") + "\n")
        let again = try ServiceTracing(
            ScenarioFile.cluster(manifests: [
                folder.write("again.yaml", scenarioText("  cluster: {\(cluster), nodes: [{name: node1, address: 192.168.50.11, iptables: node.rules, ipset: node.sets}]}\n") + manifests)
            ]), hooks: .quiet)
        #expect(again.world.simulation.rules(of: "node1").filter { $0.contains("SCTP-HASH") }.count == 2)
        for (port, line) in [("30090", "KUBE-NODE-PORT-SCTP-HASH dst,dst"), ("30091", "KUBE-NODE-PORT-LOCAL-SCTP-HASH dst,dst")] {
            let trace = try again.trace(from: "203.0.113.7", to: "node1:\(port)", proto: 132, namespace: "default", at: "node1")
            #expect(trace.path.contains { $0.contains(line) }, "\(trace.path)")
            #expect(trace.path.contains { $0.contains("KUBE-MARK-MASQ") } == (port == "30090"), "\(trace.path)")
        }
    }

    @Test("What nft -j prints of an own node, read back, decides the same and is printed the same")
    func nftablesRoundTrip() throws {
        let original = try ServiceTracing(loaded(.nftables), hooks: .quiet)
        var again = try loaded(.nftables)
        let printed = original.world.simulation.nftables(of: "node1")
        var rules = NodeRules(file: "node1.rules", lines: original.world.simulation.rules(of: "node1"))
        (rules.nftFile, rules.nft) = ("node1.json", NFTablesText.json(printed))
        again.scenario.cluster.nodes[0].rules = rules
        let copy = try ServiceTracing(again, hooks: .quiet)
        #expect(copy.world.simulation.nftables(of: "node1") == printed && printed.count > 100)
        var translated = 0
        for from in ["shell", "10.244.0.3", "node1", "203.0.113.7", "198.51.100.9", "192.168.50.12"] {
            for to in [
                "web:80", "web:81", "sticky:80", "none:80", "local:80", "203.0.113.10:80", "203.0.113.5:80", "node1:30080", "node1:30081", "node1:30082", "node1:30083",
                "node1:22", "10.96.77.77:80",
            ] {
                let a = try original.trace(from: from, to: to, proto: 6, namespace: "default", at: "node1")
                let b = try copy.trace(from: from, to: to, proto: 6, namespace: "default", at: "node1")
                // What only a policy or the network plugin lets through is not kube-proxy's.
                let verdict = b.verdict == "ACCEPT" && a.verdict == "NONE" ? "NONE" : b.verdict
                #expect(a.verdict == verdict, "\(from) \(to): \(a.verdict) \(b.verdict) \(b.decidedBy?.text ?? "")")
                #expect(a.endpoints.map(\.address) == b.endpoints.map(\.address), "\(from) \(to)")
                for (x, y) in zip(a.endpoints, b.endpoints) {
                    #expect(abs(x.probability - y.probability) < 1e-9 && x.masqueraded == y.masqueraded && x.port == y.port && x.pod == y.pod, "\(from) \(to)")
                    let rule = try #require(y.rules?.first)
                    #expect(rule.text.hasSuffix("dnat to \(y.address):\(y.port)") && rule.table == "ip kube-proxy" && rule.place == "node1.json handle \(rule.handle ?? 0)")
                    translated += 1
                }
                if a.verdict == "REJECT" { #expect(b.decidedBy.map { ["reject-chain", "cluster-ips-check"].contains($0.chain) } == true, "\(from) \(to)") }
            }
        }
        #expect(translated > 60, "\(translated)")
    }

    @Test("Frames go the same ways, to the last byte, through kube-proxy's table in nftables mode and through what nft -j prints of it")
    func sameFramesOfNFTables() throws {
        func run(_ change: (inout LoadedScenario) throws -> Void) throws -> (RunResult, Data) {
            var loaded = try ScenarioFile.load("pod-to-service-iptables")
            loaded.scenario.cluster.proxyMode = .nftables
            try change(&loaded)
            var options = RunOptions()
            options.captures = folder.path
            let result = try ScenarioRunner(loaded, options: options, hooks: .quiet).run()
            return (result, try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/pod-to-service-iptables.pcapng")))
        }
        let (first, capture) = try run { _ in }
        let (second, again) = try run { loaded in
            let booted = try ServiceTracing(loaded, hooks: .quiet)
            for index in loaded.scenario.cluster.nodes.indices {
                let node = loaded.scenario.cluster.nodes[index].name
                var rules = NodeRules(file: "\(node).rules", lines: booted.world.simulation.rules(of: node))
                (rules.nftFile, rules.nft) = ("\(node).json", NFTablesText.json(booted.world.simulation.nftables(of: node)))
                loaded.scenario.cluster.nodes[index].rules = rules
            }
        }
        #expect(first.steps.map(\.stdout) == second.steps.map(\.stdout))
        #expect(capture == again)
    }

    @Test("A scenario's node enforces its dump of nftables and lists it, as text and as JSON")
    func enforcedNFTables() throws {
        let dump = """
            {"nftables":[{"table":{"family":"ip","name":"mine","handle":1}},{"set":{"family":"ip","table":"mine","name":"seen","type":"ipv4_addr","handle":2,\
            "flags":["dynamic","timeout"],"timeout":3600}},{"chain":{"family":"ip","table":"mine","name":"nat","handle":3,"type":"nat","hook":"prerouting","prio":-100,\
            "policy":"accept"}},{"chain":{"family":"ip","table":"mine","name":"fwd","handle":4,"type":"filter","hook":"forward","prio":0,"policy":"accept"}},\
            {"rule":{"family":"ip","table":"mine","chain":"nat","handle":5,"expr":[{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"daddr"}},\
            "right":"10.96.0.77"}},{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":80}},{"dnat":{"addr":"10.244.0.3","port":80}}]}},\
            {"rule":{"family":"ip","table":"mine","chain":"fwd","handle":6,"expr":[{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},\
            "right":"10.244.0.4"}},{"set":{"op":"update","elem":{"payload":{"protocol":"ip","field":"saddr"}},"set":"@seen"}},{"counter":{"packets":0,"bytes":0}},\
            {"reject":{"type":"tcp reset"}}]}}]}
            """
        _ = folder.write("node.json", dump)
        let path = folder.write(
            "t.yaml",
            scenario(
                "{name: node1, nft: node.json}",
                steps: """
                  - {id: web, in: pod/client, run: 'curl -sS -m 1 http://10.96.0.77/ | grep -c Welcome'}
                  - {id: other, in: pod/other, run: 'curl -sS -m 1 http://10.244.0.3/ -o /dev/null'}
                  - {id: text, in: node/node1, run: nft list ruleset}
                  - {id: json, in: node/node1, run: nft -j list table ip mine}
                  - {id: none, in: node/node1, run: nft list table ip kube-proxy}
                """))
        let result = try ScenarioRunner(ScenarioFile.load(path), options: RunOptions(), hooks: .quiet).run()
        func step(_ id: String) throws -> StepResult { try #require(result.steps.first { $0.id == id }) }
        let other = try step("other")
        #expect(other.exit == 7, "\(other)")
        let text = try step("text").stdout
        #expect(text.contains("ip saddr 10.244.0.4 update @seen { ip saddr } counter packets 1 bytes 60 reject with tcp reset\n"), "\(text)")
        #expect(text.contains("elements = { 10.244.0.4 expires 59m") || text.contains("elements = { 10.244.0.4 expires 1h }"), "\(text)")
        #expect(JSON(try step("json").stdout.utf8)?["nftables"]?.items.count == 7)
        #expect(try step("none").exit == 1)
    }

    @Test(
        "A dump of nftables that cannot be taken is refused with its place",
        arguments: [
            ("{\n\"nftables\": [ {]", "node.json:2:16: this is not JSON"), ("{\"nftables\": [", "node.json:1:15: the file ends within a JSON value"),
            ("[]", "nft -j list ruleset"),
            (
                #"{"nftables":[{"table":{"family":"ip","name":"t"}},{"chain":{"family":"ip","table":"t","name":"c"}},{"rule":{"family":"ip","table":"t","chain":"c","handle":4,"expr":[{"queue":null}]}}]}"#,
                "node.json: statement 'queue' is not known: ip t, chain c, handle 4: queue null. Write \"unknownRules: skip\""
            ),
        ])
    func refusedNFTables(dump: String, words: String) throws {
        _ = folder.write("node.json", dump)
        let path = folder.write("t.yaml", scenario("{name: node1, nft: node.json}", steps: "  - {in: pod/web, run: hostname}\n"))
        let error = #expect(throws: Failure.self) { _ = try ScenarioRunner(ScenarioFile.load(path), options: RunOptions(), hooks: .quiet) }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }

    @Test("Frames go the same ways, to the last byte, through a node's own rules and through their dump", arguments: ["pod-to-service-iptables", "network-policy"])
    func sameFrames(_ name: String) throws {
        func run(_ change: (inout LoadedScenario) throws -> Void) throws -> (RunResult, Data) {
            var loaded = try ScenarioFile.load(name)
            try change(&loaded)
            var options = RunOptions()
            options.captures = folder.path
            let result = try ScenarioRunner(loaded, options: options, hooks: .quiet).run()
            return (result, try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/\(name).pcapng")))
        }
        let (first, capture) = try run { _ in }
        let (second, again) = try run { loaded in
            let booted = try ServiceTracing(loaded, hooks: .quiet)
            for index in loaded.scenario.cluster.nodes.indices {
                let node = loaded.scenario.cluster.nodes[index].name
                loaded.scenario.cluster.nodes[index].rules = NodeRules(file: "\(node).rules", lines: booted.world.simulation.rules(of: node))
            }
        }
        #expect(first.status == .passed && second.status == .passed)
        #expect(first.steps.map(\.stdout) == second.steps.map(\.stdout))
        #expect(capture == again)
    }

    @Test("A packet to an address that is not known to be the node's: the hint says what it would be told, and a policy that decides is named by its chain")
    func hints() throws {
        let original = try ServiceTracing(loaded(.iptables), hooks: .quiet)
        var again = try loaded(.iptables)
        var lines = original.world.simulation.rules(of: "node1")
        let forward = try #require(lines.firstIndex { $0.hasPrefix(":FORWARD ") })
        lines[forward] = ":FORWARD DROP [0:0]"
        again.scenario.cluster.nodes[0].rules = NodeRules(file: "node1.rules", lines: lines)
        let copy = try ServiceTracing(again, hooks: .quiet)
        func ask(_ to: String) throws -> TraceResult { try copy.trace(from: "203.0.113.7", to: to, proto: 6, namespace: "default", at: "node1") }
        let unknown = try ask("192.0.2.10:30080")
        #expect(unknown.verdict == "DROP" && unknown.decidedBy?.text == "FORWARD policy DROP" && unknown.decidedBy?.place == "node1.rules:\(forward + 1)")
        #expect(unknown.hint?.contains("add --local-address 192.0.2.10: the packet then goes to 10.244.") == true && unknown.hint?.hasSuffix(" or 2 more") == true)
        #expect(try ask("192.0.2.10:22").hint == nil && ask("web:80").hint == nil)
        copy.localAddresses = [IPv4Address(192, 0, 2, 10)]
        let known = try ask("192.0.2.10:30080")
        #expect(known.hint == nil && known.verdict == "ENDPOINT" && known.endpoints.count == 3)
    }

    @Test("Tables that a dump does not have are empty; one that was cut off is refused")
    func parts() throws {
        func trace(_ lines: [String]) throws -> ServiceTracing {
            var loaded = try ScenarioFile.load("pod-to-service-iptables")
            loaded.scenario.cluster.nodes[0].rules = NodeRules(file: "node1.rules", lines: lines)
            return try ServiceTracing(loaded, hooks: .quiet)
        }
        let filter = ["*filter", ":INPUT ACCEPT [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]", "COMMIT"]
        #expect(try trace(filter).world.simulation.rules(of: "node1").allSatisfy { !$0.contains("KUBE") && !$0.hasPrefix("*nat") })
        let cut = #expect(throws: Failure.self) { try trace(filter + ["*nat", ":PREROUTING ACCEPT [0:0]"]) }
        #expect(cut?.description.contains("node1.rules:7: COMMIT expected") == true)
        let empty = #expect(throws: Failure.self) { try trace(["", "# nothing"]) }
        #expect(empty?.description.contains("node1.rules: there is no table") == true)
    }

    private static let dump = """
        *filter
        :INPUT ACCEPT [0:0]
        :FORWARD ACCEPT [0:0]
        :OUTPUT ACCEPT [0:0]
        -A FORWARD -p tcp -m set --match-set blocked src -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable
        -A FORWARD -m bpf --bytecode "1,6 0 0 1" -p tcp -m tcp --dport 81 -j DROP
        COMMIT
        *nat
        :PREROUTING ACCEPT [0:0]
        :INPUT ACCEPT [0:0]
        :OUTPUT ACCEPT [0:0]
        :POSTROUTING ACCEPT [0:0]
        -A PREROUTING -d 10.96.0.77/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.244.0.3:80
        COMMIT
        """

    private func scenario(_ node: String, steps: String) -> String {
        scenarioText(
            """
              cluster: {nodes: [\(node)], dns: false}
              steps:
            \(steps)
            """)
            + ["web", "client", "other"].map {
                "---\n{apiVersion: v1, kind: Pod, metadata: {name: \($0)}, spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]}}\n"
            }.joined()
    }

    @Test("A scenario's node enforces its dump and its sets; iptables-save prints it, and what it does not understand is told by line")
    func enforced() throws {
        _ = folder.write("node.rules", Self.dump)
        _ = folder.write("node.sets", "create blocked hash:ip family inet\nadd blocked 10.244.0.4\n")
        let path = folder.write(
            "t.yaml",
            scenario(
                "{name: node1, iptables: node.rules, ipset: node.sets, unknownRules: skip}",
                steps: """
                  - {id: web, in: pod/client, run: 'curl -sS -m 1 http://10.96.0.77/ | grep -c Welcome'}
                  - {id: other, in: pod/other, run: 'curl -sS -m 1 http://10.244.0.3/ -o /dev/null'}
                  - {id: save, in: node/node1, run: iptables-save}
                  - {id: sets, in: node/node1, run: ipset save}
                """))
        let result = try ScenarioRunner(ScenarioFile.load(path), options: RunOptions(), hooks: .quiet).run()
        func step(_ id: String) throws -> StepResult { try #require(result.steps.first { $0.id == id }) }
        // web is 10.244.0.2, client 10.244.0.3, other 10.244.0.4. (A refusal behind a translation would not be known to its sender, as in Linux.)
        let other = try step("other")
        #expect(other.exit == 7 && other.stderr.contains("Couldn't connect"), "\(other)")
        #expect(result.warnings.contains { $0.contains("node.rules:6: unknown match '-m bpf'") }, "\(result.warnings)")
        let saved = try step("save").stdout.split(separator: "\n").map(String.init)
        let kept = Self.dump.split(separator: "\n").map(String.init).filter { !$0.contains("bpf") }
        #expect(kept.allSatisfy { saved.contains($0) || $0.hasPrefix(":") }, "\(saved)")
        #expect(!saved.contains { $0.contains("KUBE-") })
        #expect(try step("sets").stdout.contains("add blocked 10.244.0.4"))
    }

    @Test(
        "A dump that cannot be taken is refused with file, line and remedy",
        arguments: [
            ("{name: node1, iptables: node.rules, ipset: node.sets}", "node.rules:6: unknown match '-m bpf'"),
            ("{name: node1, iptables: gone.rules}", "does not exist"), ("{name: node1, ipset: node.sets}", "stands without \"iptables\""),
            ("{name: node1, iptables: node.rules, unknownRules: skip, ipset: bad.sets}", "bad.sets:1: unknown type of set"),
            ("{name: node1, iptables: node.rules, unknownRules: perhaps}", "perhaps"),
            ("{name: node1, iptables: node.rules, unknownRules: refuse}", "node.rules:5: there is no set 'blocked'"),
        ])
    func refused(node: String, words: String) throws {
        _ = folder.write("node.rules", Self.dump)
        _ = folder.write("node.sets", "create blocked hash:ip family inet\n")
        _ = folder.write("bad.sets", "create blocked hash:mac\n")
        let path = folder.write("t.yaml", scenario(node, steps: "  - {in: pod/web, run: hostname}\n"))
        let error = #expect(throws: Failure.self) { _ = try ScenarioRunner(ScenarioFile.load(path), options: RunOptions(), hooks: .quiet) }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }

    @Test("linearRules: a packet to the last of many Services takes as much longer as there are rules before it")
    func linear() throws {
        func time(_ setting: String, service: Int) throws -> Int64 {
            var objects = ""
            for number in 0..<400 {
                let address = "10.97.\(number / 200).\(number % 200 + 1)"
                objects += "---\n{apiVersion: v1, kind: Service, metadata: {name: s\(number)}, "
                objects += "spec: {clusterIP: \(address), selector: {app: web}, ports: [{port: 80}]}}\n"
            }
            objects += "---\n{apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}, spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]}}\n"
            objects += "---\n{apiVersion: v1, kind: Pod, metadata: {name: shell}, spec: {containers: [{name: c, image: alpine, command: [sleep, infinity]}]}}\n"
            let address = "10.97.\(service / 200).\(service % 200 + 1)"
            let spec = """
                  cluster: {dns: false, cni: flannel-host-gw\(setting)}
                  steps:
                  - {in: pod/shell, run: "nc -z \(address) 80"}
                  - {id: probe, in: pod/shell, run: "nc -z \(address) 80"}
                """
            let result = try ScenarioRunner(ScenarioFile.load(folder.write("l.yaml", scenarioText(spec) + objects)), options: RunOptions(), hooks: .quiet).run()
            return try #require(result.steps.first { $0.id == "probe" }).duration.nanoseconds
        }
        let (near, far) = (try time(", linearRules: 1us", service: 0), try time(", linearRules: 1us", service: 399))
        // 399 rules more in nat's KUBE-SERVICES, a microsecond each; the filter table has no rule of these Services.
        #expect(far - near == 399_000, "\(near) \(far)")
        #expect(try time("", service: 0) == time("", service: 399))
        #expect(try time(", linearRules: true", service: 399) - time(", linearRules: true", service: 0) == 399 * 20)
        #expect(try time(", linearRules: false", service: 399) == time("", service: 399))
    }
}
