import HairpinPolicy
import HairpinWire
import Testing

@Suite("PolicyTable")
struct PolicyTableTests {
    static let web = IPv4Address(10, 244, 0, 2), client = IPv4Address(10, 244, 0, 3), node = IPv4Address(192, 168, 50, 11), outside = IPv4Address(203, 0, 113, 7)

    /// default/web, isolated for ingress by one policy with these rules; default/client, isolated for egress if so wanted.
    private func table(_ rules: [(peers: PolicyPeers, ports: [PolicyPort])], egress: [(peers: PolicyPeers, ports: [PolicyPort])]? = nil) -> PolicyTable {
        var web = PolicyPod(
            name: "default/web", address: Self.web, node: "node1", nodeAddresses: [Self.node],
            ports: [PolicyNamedPort(name: "http", proto: .tcp, number: 8080), PolicyNamedPort(name: "dns", proto: .udp, number: 53)])
        web.ingress = PolicyIsolation(policies: [0], rules: rules.enumerated().map { PolicyRule(policy: 0, number: $0, peers: $1.peers, ports: $1.ports) })
        var client = PolicyPod(name: "default/client", address: Self.client, node: "node2")
        if let egress {
            client.egress = PolicyIsolation(policies: [1], rules: egress.enumerated().map { PolicyRule(policy: 1, number: $0, peers: $1.peers, ports: $1.ports) })
        }
        return PolicyTable(policies: ["default/web-in", "default/client-out"], pods: [web, client])
    }
    private func flow(_ source: IPv4Address = client, _ destination: IPv4Address = web, _ proto: IPProtocol = .tcp, _ port: UInt16 = 8080) -> PolicyFlow {
        PolicyFlow(source: source, destination: destination, proto: proto, port: port)
    }

    @Test("A pod without policies is open; one policy without rules closes it")
    func isolation() {
        let open = PolicyTable(pods: [PolicyPod(name: "default/web", address: Self.web, node: "node1")])
        #expect(open.isEmpty)
        #expect(open.decide(flow()).isAllowed)
        let closed = table([])
        #expect(!closed.isEmpty)
        #expect(closed.decide(flow()).ingress == .denied(by: [0]))
        #expect(closed.decide(flow()).egress == .notIsolated)
        // The other direction has no policy.
        #expect(closed.decide(flow(Self.web, Self.client)).isAllowed)
    }

    @Test("The pod itself and its own node always pass; other nodes do not")
    func exemptions() {
        let closed = table([])
        #expect(closed.decide(flow(Self.web, Self.web)).ingress == .exempt(.itself))
        #expect(closed.decide(flow(Self.node, Self.web)).ingress == .exempt(.ownNode))
        #expect(!closed.decide(flow(IPv4Address(192, 168, 50, 12), Self.web)).isAllowed)
    }

    @Test("Rules add up, and the first that matches explains")
    func additive() {
        let sum = table([
            (.some(addresses: [], blocks: []), []), (.some(addresses: [Self.client], blocks: []), [PolicyPort(.tcp, .range(8080...8080))]), (.anyone, [PolicyPort(.udp, .all)]),
        ])
        #expect(sum.decide(flow()).ingress == .allowed(policy: 0, rule: 1))
        #expect(sum.decide(flow(Self.outside)).ingress == .denied(by: [0]))
        #expect(sum.decide(flow(Self.outside, Self.web, .udp, 4000)).ingress == .allowed(policy: 0, rule: 2))
    }

    @Test("Egress and ingress must both allow, and egress is refused first")
    func bothSides() {
        let open: [(PolicyPeers, [PolicyPort])] = [(.anyone, [])]
        #expect(table(open, egress: open).decide(flow()).isAllowed)
        #expect(!table(open, egress: []).decide(flow()).isAllowed)
        #expect(table([], egress: []).decide(flow()).denied?.direction == .egress)
        #expect(table([], egress: open).decide(flow()).denied?.direction == .ingress)
    }

    @Test("A block without its exceptions, and overlapping blocks")
    func blocks() {
        let block = PolicyBlock(IPv4Prefix(IPv4Address(203, 0, 113, 0), length: 24), except: [IPv4Prefix(IPv4Address(203, 0, 113, 4), length: 30)])
        let one = table([(.some(addresses: [], blocks: [block]), [])])
        #expect(one.decide(flow(IPv4Address(203, 0, 113, 8))).isAllowed)
        #expect(!one.decide(flow(Self.outside)).isAllowed)
        // What one block excepts, another may admit.
        let two = table([(.some(addresses: [], blocks: [block, PolicyBlock(IPv4Prefix(Self.outside, length: 32))]), [])])
        #expect(two.decide(flow(Self.outside)).isAllowed)
    }

    @Test("Ports: ranges with both ends, names as the destination has them, every port of a protocol")
    func ports() {
        let range = table([(.anyone, [PolicyPort(.tcp, .range(8000...8080))])])
        #expect(range.decide(flow(Self.client, Self.web, .tcp, 8000)).isAllowed)
        #expect(range.decide(flow(Self.client, Self.web, .tcp, 8080)).isAllowed)
        #expect(!range.decide(flow(Self.client, Self.web, .tcp, 8081)).isAllowed)
        #expect(!range.decide(flow(Self.client, Self.web, .udp, 8080)).isAllowed)
        let named = table([(.anyone, [PolicyPort(.tcp, .named("http"))])], egress: [(.anyone, [PolicyPort(.tcp, .named("http"))])])
        #expect(named.decide(flow()).isAllowed)
        #expect(!named.decide(flow(Self.client, Self.web, .tcp, 80)).isAllowed)
        // The name belongs to another protocol, or to nobody outside the cluster.
        #expect(!table([(.anyone, [PolicyPort(.tcp, .named("dns"))])]).decide(flow(Self.client, Self.web, .tcp, 53)).isAllowed)
        #expect(!named.decide(flow(Self.client, Self.outside)).isAllowed)
        let sctp = table([(.anyone, [PolicyPort(.sctp, .all)])])
        #expect(sctp.decide(flow(Self.client, Self.web, .sctp, 9)).isAllowed)
        #expect(!sctp.decide(flow()).isAllowed)
    }

    @Test("ICMP passes a rule without ports only")
    func otherProtocols() {
        #expect(table([(.anyone, [])]).decide(flow(Self.client, Self.web, .icmp, 0)).isAllowed)
        #expect(!table([(.anyone, [PolicyPort(.tcp, .all)])]).decide(flow(Self.client, Self.web, .icmp, 0)).isAllowed)
    }

    @Test("A node enforces for its own pods, and still knows the names of others' ports")
    func local() {
        let all = table([], egress: [(.anyone, [PolicyPort(.tcp, .named("http"))])])
        let node1 = all.local(to: "node1"), node2 = all.local(to: "node2"), node3 = all.local(to: "node3")
        #expect(node1.decide(flow()).denied?.direction == .ingress)
        #expect(node2.decide(flow()).egress == .allowed(policy: 1, rule: 0))
        #expect(node2.decide(flow()).ingress == .notIsolated)
        #expect(node3.isEmpty)
    }

    @Test("Explanations name policies, rules and pods")
    func explanations() {
        let closed = table([], egress: [(.anyone, [])])
        let decision = closed.decide(flow())
        #expect(closed.explain(decision.ingress, .ingress, pod: "default/web") == "default/web-in isolates default/web for ingress, and no rule allows it")
        #expect(closed.explain(decision.egress, .egress, pod: "default/client") == "default/client-out allows it in egress[0]")
    }

    // MARK: Administrators' policies

    private func tier(_ action: PolicyAction, _ peers: PolicyPeers = .anyone, _ ports: [PolicyPort] = [], number: Int = 0, policy: Int = 0) -> PolicyTierRule {
        PolicyTierRule(PolicyRule(policy: policy, number: number, peers: peers, ports: ports), action)
    }

    @Test(
        "Administrators decide first, NetworkPolicies next, the baseline where none isolates",
        arguments: [
            ([PolicyAction.allow], true, [PolicyAction.deny], true), ([.deny], false, [.allow], false), ([.pass], true, [.allow], false),
            ([.pass, .allow], true, [], false),
            ([.pass], false, [.deny], false), ([.pass], false, [.allow], true), ([], false, [.deny], false), ([], false, [.pass, .allow], true), ([], false, [], true),
            ([], true, [.allow], false),
        ])
    func tiers(admin: [PolicyAction], isIsolated: Bool, baseline: [PolicyAction], isAllowed: Bool) {
        var web = PolicyPod(name: "default/web", address: Self.web, node: "node1", nodeAddresses: [Self.node])
        if isIsolated { web.ingress = PolicyIsolation(policies: [2], rules: []) }
        web.tiers.adminIngress = admin.map { tier($0) }
        // A baseline has no Pass: the rule stands for one that does not match.
        web.tiers.baselineIngress = baseline.map { $0 == .pass ? tier(.deny, .some(addresses: [], blocks: [])) : tier($0, policy: 1) }
        let table = PolicyTable(policies: ["anp/a", "banp/default", "default/own"], pods: [web, PolicyPod(name: "default/client", address: Self.client, node: "node1")])
        #expect(table.decide(flow()).isAllowed == isAllowed)
        // Not its own node, not itself.
        #expect(table.decide(flow(Self.node)).isAllowed && table.decide(flow(Self.web, Self.web)).isAllowed)
        #expect(table.isEmpty == (admin.isEmpty && baseline.isEmpty && !isIsolated))
        // Another node enforces nothing of it.
        #expect(table.local(to: "node2").isEmpty)
    }

    @Test("A rule that decides is named, with the name it has been given")
    func ruled() {
        var web = PolicyPod(name: "default/web", address: Self.web, node: "node1")
        web.tiers.adminIngress = [tier(.deny, .some(addresses: [Self.outside], blocks: [])), tier(.deny, number: 1)]
        var table = PolicyTable(policies: ["anp/wall"], pods: [web])
        table.ruleNames[PolicyRuleKey(policy: 0, rule: 1, direction: .ingress)] = "the rest"
        let decision = table.decide(flow())
        #expect(decision.ingress == .ruled(policy: 0, rule: 1, .deny))
        #expect(table.explain(decision.ingress, .ingress, pod: "default/web") == "anp/wall denies it in ingress[1], \"the rest\"")
        #expect(table.refuser(decision.ingress, .ingress) == "anp/wall ingress[1]")
        #expect(table.refuser(table.decide(flow(Self.outside)).ingress, .ingress) == "anp/wall ingress[0]")
    }
}
