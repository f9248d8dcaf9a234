import HairpinCluster
import HairpinWire
import Testing

@Suite("What the API server rejects of policies")
struct PolicyValidationTests {
    static let policies: [Verdict] = [
        Verdict("podSelector: {matchLabels: {a: b c}}", "spec.podSelector.matchLabels: Invalid value: \"b c\": \(Format.labelValue)"),
        Verdict("podSelector: {matchExpressions: [{key: a, operator: Equals, values: [b]}]}", "spec.podSelector.matchExpressions[0].operator: Invalid value: \"Equals\": not a valid selector operator"),
        Verdict(
            "podSelector: {matchExpressions: [{key: '', operator: In, values: [b c]}]}", "spec.podSelector.matchExpressions[0].key: Invalid value: \"\": name part must be non-empty",
            "spec.podSelector.matchExpressions[0].key: Invalid value: \"\": \(Format.namePart)",
            "spec.podSelector.matchExpressions[0].values[0]: Invalid value: \"b c\": \(Format.labelValue)"),
        Verdict("ingress: [{ports: [{port: 80, endPort: 70000}]}]", "spec.ingress[0].ports[0].endPort: Invalid value: 70000: \(Format.port)"),
        Verdict("ingress: [{ports: [{port: a_b}]}]", "spec.ingress[0].ports[0].port: Invalid value: \"a_b\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"),
        Verdict(
            "egress: [{to: [{ipBlock: {cidr: 10.0.0.0/33, except: [x]}}, {namespaceSelector: {matchExpressions: [{key: a, operator: In}]}}]}]",
            "spec.egress[0].to[0].ipBlock.cidr: Invalid value: \"10.0.0.0/33\": \(Format.prefix)",
            "spec.egress[0].to[1].namespaceSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"),
        Verdict("egress: [{to: [{ipBlock: {cidr: 'fd00::/64', except: ['fd00::/48']}}]}]", "spec.egress[0].to[0].ipBlock.except[0]: Invalid value: \"fd00::/48\": must be a strict subset of `cidr`"),
        Verdict("egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: ['fd00::/48']}}]}]", "spec.egress[0].to[0].ipBlock.except[0]: Invalid value: \"fd00::/48\": must be a strict subset of `cidr`"),
        Verdict("policyTypes: [Ingress, ingres]", "spec.policyTypes[1]: Unsupported value: \"ingres\": supported values: \"Ingress\", \"Egress\""),
        // Accepted
        Verdict("{}"), Verdict("podSelector: {}, policyTypes: [Ingress, Ingress]"), Verdict("ingress: [null, {from: [], ports: []}]"),
        Verdict("egress: [{to: [{ipBlock: {cidr: 10.1.2.3/8, except: [010.1.0.0/16]}}, {ipBlock: {cidr: '::/0', except: ['fd00::/8']}}], ports: [{protocol: SCTP}, {port: 80, endPort: 80}]}]"),
        Verdict("ingress: [{from: [{podSelector: {}, namespaceSelector: {}}]}]"),
    ]

    @Test("NetworkPolicies", arguments: policies)
    func ofNamespaces(_ verdict: Verdict) {
        let spec = verdict.text == "{}" ? "{}" : "{\(verdict.text)}"
        #expect(reasons("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p}, spec: \(spec)}\n") == verdict.reasons)
    }

    private static let head = "priority: 5, subject: {namespaces: {}}"

    static let admin: [Verdict] = [
        Verdict("subject: {namespaces: {}}", "spec.priority: Required value"),
        Verdict("priority: high, subject: {}", "spec.priority: Invalid value: \"string\": spec.priority in body must be of type integer: \"string\"", "spec.subject: Invalid value: 0: spec.subject in body should have at least 1 properties"),
        Verdict("priority: 1, subject: []", "spec.subject: Invalid value: \"array\": spec.subject in body must be of type object: \"array\""),
        Verdict("\(head), egress: [{name: \(String(repeating: "x", count: 101)), action: Deny, to: [{namespaces: {}}]}]", "spec.egress[0].name: Too long: may not be more than 100 bytes"),
        Verdict("\(head), egress: [{action: deny, to: [{namespaces: {}}]}]", "spec.egress[0].action: Unsupported value: \"deny\": supported values: \"Allow\", \"Deny\", \"Pass\""),
        Verdict("\(head), egress: [{action: Deny, to: [{namespaces: {}}], ports: []}]", "spec.egress[0].ports: Invalid value: 0: spec.egress[0].ports in body should have at least 1 items"),
        Verdict("\(head), egress: [{action: Deny, to: [{namespaces: {}}], ports: [{portRange: {start: 80}}]}]", "spec.egress[0].ports[0].portRange.end: Required value"),
        Verdict(
            "\(head), egress: [{action: Deny, to: [{nodes: {}}], ports: [{namedPort: http}]}]",
            "spec.egress[0]: Invalid value: \"object\": networks/nodes/domainNames peer cannot be set with namedPorts since there are no namedPorts for networks/nodes/domainNames"),
        Verdict("\(head), egress: [{action: Deny, to: [{networks: [10.0.0.0/8, fd00::1]}]}]", "spec.egress[0].to[0].networks[1]: Invalid value: \"string\": Invalid CIDR format provided"),
        Verdict("\(head), egress: [{action: Deny, to: [{network: [10.0.0.0/8]}]}], subjekt: {}", "unknown field \"spec.egress[0].to[0].network\"", "unknown field \"spec.subjekt\""),
        Verdict(head), Verdict("\(head), ingress: []"), Verdict("\(head), egress: [{action: Pass, to: [{networks: ['fd00::/8']}, {nodes: {}}], ports: [{portNumber: {port: 53, protocol: UDP}}]}]"),
    ]

    @Test("AdminNetworkPolicies: what their schema says", arguments: admin)
    func ofAdmin(_ verdict: Verdict) {
        #expect(reasons("{apiVersion: policy.networking.k8s.io/v1alpha1, kind: AdminNetworkPolicy, metadata: {name: p}, spec: {\(verdict.text)}}\n") == verdict.reasons)
    }

    @Test("The baseline's name is a rule of the whole object, which has no path")
    func baseline() {
        let text = "{apiVersion: policy.networking.k8s.io/v1alpha1, kind: BaselineAdminNetworkPolicy, metadata: {name: mine}, spec: {subject: {namespaces: {}}}}\n"
        #expect(
            reasons(text) == ["<nil>: Invalid value: \"object\": Only one baseline admin network policy with metadata.name=\"default\" can be created in the cluster"])
    }

    @Test("Bits after a prefix's length do not count, and exceptions may begin with zeros")
    func sloppy() throws {
        let text = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p}, spec: {egress: [{to: [{ipBlock: {cidr: 10.1.2.3/8, except: [010.1.0.0/16]}}]}]}}\n"
        guard case .block(let block) = try #require(try load(text).networkPolicies.first?.egress.first?.peers.first) else {
            Issue.record("is no block")
            return
        }
        #expect("\(block)".contains("10.0.0.0/8") && "\(block)".contains("10.1.0.0/16"), "\(block)")
    }
}
