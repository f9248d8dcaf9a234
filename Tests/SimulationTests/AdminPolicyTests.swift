import HairpinCluster
import HairpinEngine
import Testing

@testable import HairpinScenario

@Suite("AdminNetworkPolicy in a running cluster")
struct AdminPolicyTests {
    let folder = TemporaryFolder()

    private func run(_ spec: String, manifests: String = "") throws -> RunResult { try folder.run(spec, manifests: Self.pods + manifests) }

    /// shop/web (10.244.0.2 of node1) and two clients: shop/client beside it, default/stranger.
    private static let pods = """
        {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: shop}}}
        ---
        {apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}},
         spec: {nodeName: node1, containers: [{name: c, image: nginx, ports: [{name: http, containerPort: 80}]}]}}
        ---
        {apiVersion: v1, kind: Pod, metadata: {name: client, namespace: shop, labels: {app: client}}, spec: {nodeName: node1, containers: [{name: c, image: nginx}]}}
        ---
        {apiVersion: v1, kind: Pod, metadata: {name: stranger, labels: {app: client}}, spec: {nodeName: node1, containers: [{name: c, image: nginx}]}}
        ---

        """
    private static let web = "{pods: {namespaceSelector: {matchLabels: {team: shop}}, podSelector: {matchLabels: {app: web}}}}"
    private static func object(_ kind: String, _ name: String, _ spec: String) -> String {
        "{apiVersion: policy.networking.k8s.io/v1alpha1, kind: \(kind), metadata: {name: \(name)}, spec: {\(spec)}}"
    }
    private static func admin(_ name: String, _ priority: Int, _ rules: String, subject: String = web) -> String {
        object("AdminNetworkPolicy", name, "priority: \(priority), subject: \(subject), \(rules)") + "\n---\n"
    }
    private static func baseline(_ rules: String) -> String {
        object("BaselineAdminNetworkPolicy", "default", "subject: {namespaces: {matchLabels: {team: shop}}}, \(rules)") + "\n---\n"
    }
    private static func policy(_ spec: String) -> String {
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: own, namespace: shop}, spec: {podSelector: {matchLabels: {app: web}}, \(spec)}}\n---\n"
    }
    private static let everyone = "[{namespaces: {}}]"

    /// Who gets through to the web server's port: the neighbour, the stranger.
    private func reach(_ manifests: String, port: Int = 80, mode: String = "iptables") throws -> (own: Bool, other: Bool, result: RunResult) {
        let result = try run(
            """
              cluster: {nodes: 2, dns: false, proxyMode: \(mode)}
              steps:
              - {id: own, in: shop/pod/client, run: nc -z -w 1 10.244.0.2 \(port)}
              - {id: other, in: pod/stranger, run: nc -z -w 1 10.244.0.2 \(port)}
            """, manifests: manifests)
        return (try result.step("own").exit == 0, try result.step("other").exit == 0, result)
    }

    // MARK: Tiers

    @Test("A Deny of an administrator stands above what a NetworkPolicy allows, and the drop names policy and rule", arguments: ["iptables", "ipvs", "nftables"])
    func deny(mode: String) throws {
        let rules = "ingress: [{name: from-strangers, action: Deny, from: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: default}}}]}]"
        let (own, other, result) = try reach(Self.admin("wall", 10, rules) + Self.policy("ingress: [{}]"), mode: mode)
        #expect(own && !other)
        let drops = try #require(result.books).policyDrops
        #expect(drops.map(\.policies) == ["anp/wall ingress[0]"] && drops.map(\.pod) == ["shop/web"] && drops[0].count > 0)
        #expect(result.books?.drops(byPolicy: "anp/wall") == result.books?.drops(of: "network policy ingress"))
    }

    @Test("An Allow of an administrator stands above a NetworkPolicy that isolates; Pass hands on to it")
    func allow() throws {
        let closed = Self.policy("ingress: []")
        let allow = try reach(Self.admin("open", 10, "ingress: [{action: Allow, from: \(Self.everyone)}]") + closed)
        #expect(allow.own && allow.other)
        let pass = try reach(Self.admin("pass", 10, "ingress: [{action: Pass, from: \(Self.everyone)}, {action: Allow, from: \(Self.everyone)}]") + closed)
        #expect(!pass.own && !pass.other)
        #expect(pass.result.books?.policyDrops.map(\.policies) == ["shop/own"])
    }

    @Test("The lower priority number goes first, and within a policy the first rule that matches")
    func priorities() throws {
        let allow = Self.admin("a-late", 20, "ingress: [{action: Allow, from: \(Self.everyone)}]")
        let deny = Self.admin("b-early", 10, "ingress: [{action: Deny, from: \(Self.everyone)}]")
        #expect(try reach(allow + deny).own == false)
        let swapped = Self.admin("a-late", 5, "ingress: [{action: Allow, from: \(Self.everyone)}]")
        #expect(try reach(swapped + deny).own == true)
        let neighbours = "[{pods: {namespaceSelector: {matchLabels: {team: shop}}, podSelector: {}}}]"
        let ordered = "ingress: [{action: Allow, from: \(neighbours)}, {action: Deny, from: \(Self.everyone)}]"
        let (own, other, _) = try reach(Self.admin("order", 0, ordered))
        #expect(own && !other)
    }

    @Test("The baseline counts where no NetworkPolicy isolates the pod, also behind a Pass, and nowhere else")
    func baseline() throws {
        let closed = Self.baseline("ingress: [{action: Deny, from: \(Self.everyone)}]")
        let alone = try reach(closed)
        #expect(!alone.own && !alone.other)
        #expect(alone.result.books?.policyDrops.map(\.policies) == ["banp/default ingress[0]"])
        let passed = try reach(closed + Self.admin("pass", 1, "ingress: [{action: Pass, from: \(Self.everyone)}]"))
        #expect(!passed.own)
        let under = try reach(closed + Self.policy("ingress: [{}]"))
        #expect(under.own && under.other)
        let above = try reach(closed + Self.admin("open", 1, "ingress: [{action: Allow, from: \(Self.everyone)}]"))
        #expect(above.own && above.other)
        let clients = "[{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: client}}}}]"
        let allowed = try reach(Self.baseline("ingress: [{action: Allow, from: \(clients)}, {action: Deny, from: \(Self.everyone)}]"))
        #expect(allowed.own && allowed.other)
    }

    // MARK: Ports and peers

    @Test(
        "Ports by number, range and name",
        arguments: [
            ("{portNumber: {port: 80, protocol: TCP}}", true), ("{portNumber: {port: 81, protocol: TCP}}", false), ("{portNumber: {port: 80, protocol: UDP}}", false),
            ("{portRange: {start: 70, end: 90}}", true), ("{portRange: {start: 81, end: 90}}", false), ("{namedPort: http}", true), ("{namedPort: https}", false),
        ])
    func ports(port: String, isDenied: Bool) throws {
        let (own, _, _) = try reach(Self.admin("ports", 10, "ingress: [{action: Deny, from: \(Self.everyone), ports: [\(port)]}]"))
        #expect(own == !isDenied)
    }

    @Test("Egress to networks and nodes: by address, and the first match wins")
    func egress() throws {
        let rules = """
            egress: [{action: Allow, to: [{networks: [192.168.50.100/32]}]},
              {action: Deny, to: [{networks: [192.168.50.0/24, "fd00::/8"]}, {nodes: {matchLabels: {kubernetes.io/hostname: node2}}}]}]
            """
        let result = try run(
            """
              cluster: {nodes: 2, dns: false}
              hosts: [{name: good, address: 192.168.50.100}, {name: bad, address: 192.168.50.101}]
              steps:
              - {id: good, in: shop/pod/client, run: ping -c 1 -W 1 192.168.50.100}
              - {id: bad, in: shop/pod/client, run: ping -c 1 -W 1 192.168.50.101}
              - {id: node, in: shop/pod/client, run: ping -c 1 -W 1 10.244.1.1}
              - {id: stranger, in: pod/stranger, run: ping -c 1 -W 1 192.168.50.101}
            """, manifests: Self.admin("exits", 10, rules, subject: "{namespaces: {matchLabels: {team: shop}}}"))
        #expect(try ["good", "bad", "node", "stranger"].map { try result.step($0).exit } == [0, 1, 1, 0])
        #expect(result.books?.policyDrops.map(\.policies) == ["anp/exits egress[1]"] && result.books?.policyDrops.map(\.direction) == ["egress"])
    }

    // MARK: While time runs

    @Test("Administrators' policies come and go as others do, and open connections are judged again")
    func changes() throws {
        let deny = Self.object(
            "AdminNetworkPolicy", "stop", "priority: 1, subject: {namespaces: {matchLabels: {team: shop}}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]")
        let base = Self.object("BaselineAdminNetworkPolicy", "default", "subject: {namespaces: {}}")
        let result = try run(
            """
              until: 60s
              cluster: {dns: false}
              steps:
              - {id: server, at: 1s, timeout: 40s, in: shop/pod/web, run: nc -l -p 9000}
              - {id: client, at: 2s, timeout: 39s, in: shop/pod/client, run: "(echo one; sleep 3; echo two; sleep 30) | nc 10.244.0.2 9000"}
              - {id: deny, at: 4s, apply: \(deny)}
              - {id: same, at: 5s, apply: [\(deny), \(base)]}
              - {id: undo, at: 10s, delete: anp/stop}
              - {id: wrong, at: 11s, delete: anp/stop}
              - {id: gone, at: 12s, delete: banp/default}
            """)
        #expect(try result.step("deny").stdout == "adminnetworkpolicy.policy.networking.k8s.io/stop created\n")
        #expect(
            try result.step("same").stdout
                == "adminnetworkpolicy.policy.networking.k8s.io/stop unchanged\nbaselineadminnetworkpolicy.policy.networking.k8s.io/default created\n")
        #expect(try result.step("undo").stdout == "adminnetworkpolicy.policy.networking.k8s.io \"stop\" deleted\n")
        #expect(try result.step("wrong").stderr == "Error from server (NotFound): adminnetworkpolicies.policy.networking.k8s.io \"stop\" not found\n")
        #expect(try result.step("gone").exit == 0)
        #expect(try #require(result.books).drops(byPolicy: "anp/stop") >= 2)
        #expect(try result.step("server").stdout == "one\ntwo\n")
    }

    // MARK: Asking

    @Test("reachability and trace say what frames meet, and which rule decides")
    func asking() throws {
        let rules = "ingress: [{name: from-strangers, action: Deny, from: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: default}}}]}]"
        let service = "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{port: 80}]}}\n---\n"
        let path = folder.write("t.yaml", scenarioText("  cluster: {nodes: 2, dns: false}") + "---\n" + Self.pods + service + Self.admin("wall", 10, rules))
        let loaded = try ScenarioFile.load(path)
        let matrix = try ReachabilityView(loaded).pods(.tcp, port: 80)
        #expect(matrix.refused == 1)
        #expect(matrix.causes.map(\.text) == ["anp/wall denies it in ingress[0], \"from-strangers\""])
        let tracing = try ServiceTracing(loaded, hooks: .quiet)
        let refused = try tracing.trace(from: "pod/stranger", to: "web.shop:80", proto: 6, namespace: "default")
        #expect(refused.endpoints.map(\.policy?.isAllowed) == [false])
        #expect(refused.endpoints[0].policy?.words == "anp/wall denies it in ingress[0], \"from-strangers\"")
        let direct = try tracing.trace(from: "pod/stranger", to: "10.244.0.2:80", proto: 6, namespace: "default")
        #expect(direct.verdict == "NONE" && direct.policy?.isAllowed == false)
        #expect(try tracing.trace(from: "shop/pod/client", to: "web.shop:80", proto: 6, namespace: "default").endpoints[0].policy == nil)
    }
}
