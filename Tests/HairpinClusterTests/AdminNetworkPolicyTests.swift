import HairpinCluster
import HairpinEngine
import HairpinPolicy
import HairpinWire
import Testing

@Suite("AdminNetworkPolicy")
struct AdminNetworkPolicyTests {
    /// A policy whose spec begins in line 4.
    private func policy(_ spec: String, kind: String = "AdminNetworkPolicy", name: String = "p") -> String {
        "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: \(kind)\nmetadata: {name: \(name)}\nspec: {\(spec)}\n---\n"
    }
    private func load(_ text: String) throws -> Manifests {
        var loader = ManifestLoader()
        try loader.load(text: text, file: "web.yaml")
        return loader.manifests
    }

    private static let head = "priority: 5, subject: {namespaces: {}}"

    @Test(
        "What the API server refuses is refused with its reason and the place",
        arguments: [
            ("subject: {namespaces: {}}", "web.yaml:4: The AdminNetworkPolicy \"p\" is invalid: spec.priority: Required value"),
            ("priority: 1001, subject: {namespaces: {}}", "spec.priority: Invalid value: 1001: spec.priority in body should be less than or equal to 1000"),
            ("priority: -1, subject: {namespaces: {}}", "spec.priority: Invalid value: -1: spec.priority in body should be greater than or equal to 0"),
            ("priority: 1", "spec.subject: Required value"), ("priority: 1, subject: {}", "spec.subject: Invalid value: 0: spec.subject in body should have at least 1 properties"),
            ("priority: 1, subject: {namespaces: {}, pods: {namespaceSelector: {}, podSelector: {}}}", "spec.subject: Too many: 2: must have at most 1 item"),
            ("priority: 1, subject: {pods: {podSelector: {}}}", "spec.subject.pods.namespaceSelector: Required value"),
            (head + ", ingres: []", "unknown field \"spec.ingres\". Did you mean \"ingress\"?"),
            (
                head + ", ingress: [{action: Reject, from: [{namespaces: {}}]}]",
                "spec.ingress[0].action: Unsupported value: \"Reject\": supported values: \"Allow\", \"Deny\", \"Pass\""
            ),
            (head + ", ingress: [{from: [{namespaces: {}}]}]", "spec.ingress[0].action: Required value"),
            (head + ", ingress: [{action: Deny}]", "spec.ingress[0].from: Required value"),
            (head + ", ingress: [{action: Deny, from: []}]", "spec.ingress[0].from: Invalid value: 0: spec.ingress[0].from in body should have at least 1 items"),
            (head + ", ingress: [{action: Deny, from: [{}]}]", "spec.ingress[0].from[0]: Invalid value: 0: spec.ingress[0].from[0] in body should have at least 1 properties"),
            (head + ", ingress: [{action: Deny, from: [{networks: [10.0.0.0/8]}]}]", "unknown field \"spec.ingress[0].from[0].networks\""),
            (head + ", egress: [{action: Deny, to: [{networks: [10.0.0.0]}]}]", "spec.egress[0].to[0].networks[0]: Invalid value: \"string\": Invalid CIDR format provided"),
            (head + ", egress: [{action: Deny, to: [{networks: []}]}]", "networks in body should have at least 1 items"),
            (head + ", egress: [{action: Deny, to: [{domainNames: [a.b]}]}]", "are experimental and not modelled"),
            (
                head + ", egress: [{action: Deny, to: [{nodes: {}}], ports: [{namedPort: http}]}]",
                "cannot be set with namedPorts since there are no namedPorts for networks/nodes"
            ),
            (head + ", egress: [{action: Deny, to: [{namespaces: {}}], ports: [{portRange: {start: 90, end: 80}}]}]", "portRange.end: \"80\" must be greater than start"),
            (head + ", egress: [{action: Deny, to: [{namespaces: {}}], ports: [{}]}]", "spec.egress[0].ports[0]: Invalid value: 0: spec.egress[0].ports[0] in body should have at least 1 properties"),
            (head + ", egress: [{action: Deny, to: [{namespaces: {}}], ports: [{portNumber: {port: 0}}]}]", "port: Invalid value: 0: spec.egress[0].ports[0].portNumber.port in body should be greater than or equal to 1"),
        ])
    func refused(spec: String, message: String) throws {
        let error = #expect(throws: InputError.self) { try load(policy(spec)) }
        #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
    }

    @Test("There is one baseline, called default, without a priority and without Pass")
    func baseline() throws {
        func fails(_ spec: String, name: String = "default") -> String? {
            do {
                _ = try load(policy(spec, kind: "BaselineAdminNetworkPolicy", name: name))
                return nil
            } catch { return "\(error)" }
        }
        #expect(fails("subject: {namespaces: {}}") == nil)
        #expect(fails("subject: {namespaces: {}}", name: "mine")?.contains("Only one baseline admin network policy with metadata.name=\"default\"") == true)
        #expect(fails("priority: 1, subject: {namespaces: {}}")?.contains("unknown field \"spec.priority\"") == true)
        #expect(fails("subject: {namespaces: {}}, ingress: [{action: Pass, from: [{namespaces: {}}]}]")?.contains("Unsupported value: \"Pass\": supported values: \"Allow\", \"Deny\"") == true)
    }

    @Test("The policies are objects without namespace that get lists")
    func listed() throws {
        var loader = ManifestLoader()
        try loader.load(text: policy(Self.head) + policy("subject: {namespaces: {}}", kind: "BaselineAdminNetworkPolicy", name: "default"), file: "web.yaml")
        #expect(loader.manifests.warnings.isEmpty)
        var configuration = ClusterConfiguration()
        configuration.hasDNS = false
        let plan = try ClusterPlanner.plan(loader.manifests, configuration: configuration)
        func get(_ word: String) throws -> String {
            let request = GetRequest(targets: try GetRequest.targets(arguments: [word]))
            return plan.get(request, status: ClusterStatus(now: .zero, created: .zero), endpoints: []).output
        }
        #expect(try get("anp") == "NAME   PRIORITY   AGE\np      5          0s\n")
        #expect(try get("baselineadminnetworkpolicies.policy.networking.k8s.io") == "NAME      AGE\ndefault   0s\n")
    }
}
