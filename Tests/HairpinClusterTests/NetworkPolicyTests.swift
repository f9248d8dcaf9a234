import HairpinCluster
import HairpinEngine
import HairpinPolicy
import HairpinWire
import Testing

/// A NetworkPolicy whose spec begins in line 4.
private func policy(_ spec: String, name: String = "p", namespace: String = "default") -> String {
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: \(name), namespace: \(namespace)}\nspec: {\(spec)}\n---\n"
}

@Suite("NetworkPolicy")
struct NetworkPolicyTests {
    @Test(
        "What the API server refuses is refused with its reason and the place",
        arguments: [
            ("podselector: {}", "strict decoding error: unknown field \"spec.podselector\". Did you mean \"podSelector\"?"),
            ("podSelector: {}, policyTypes: [ingress]", "spec.policyTypes[0]: Unsupported value: \"ingress\": supported values: \"Ingress\", \"Egress\". Did you mean \"Ingress\"?"),
            ("policyTypes: [Ingress, Egress, Ingress]", "spec.policyTypes: Invalid value: [\"Ingress\",\"Egress\",\"Ingress\"]: may not specify more than two policyTypes"),
            ("ingress: [{from: [{}]}]", "spec.ingress[0].from[0]: Required value: must specify a peer"),
            ("ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]", "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"),
            ("ingress: [{to: [{podSelector: {}}]}]", "unknown field \"spec.ingress[0].to\""),
            ("egress: [{to: [{ipBlock: {except: [10.0.0.0/8]}}]}]", "spec.egress[0].to[0].ipBlock.cidr: Required value"),
            ("egress: [{to: [{ipBlock: {cidr: 10.0.0.0}}]}]", "spec.egress[0].to[0].ipBlock.cidr: Invalid value: \"10.0.0.0\": must be a valid CIDR value"),
            ("egress: [{to: [{ipBlock: {cidr: 'fd00::/200'}}]}]", "\"fd00::/200\": must be a valid CIDR value"),
            (
                "egress: [{to: [{ipBlock: {cidr: 10.1.0.0/16, except: [10.2.0.0/24]}}]}]",
                "spec.egress[0].to[0].ipBlock.except[0]: Invalid value: \"10.2.0.0/24\": must be a strict subset of `cidr`"
            ),
            ("egress: [{to: [{ipBlock: {cidr: 10.1.0.0/16, except: [10.1.0.0/16]}}]}]", "\"10.1.0.0/16\": must be a strict subset of `cidr`"),
            ("ingress: [{ports: [{port: 0}]}]", "spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"),
            ("ingress: [{ports: [{port: '80'}]}]", "\"80\": must contain at least one letter (a-z). Write 80 without quotation marks."),
            ("ingress: [{ports: [{port: 80, protocol: tcp}]}]", "spec.ingress[0].ports[0].protocol: Unsupported value: \"tcp\": supported values: \"TCP\", \"UDP\", \"SCTP\""),
            ("ingress: [{ports: [{endPort: 90}]}]", "endPort: Invalid value: 90: may not be specified when `port` is not specified"),
            ("ingress: [{ports: [{port: http, endPort: 90}]}]", "endPort: Invalid value: 90: may not be specified when `port` is non-numeric"),
            ("ingress: [{ports: [{port: 80, endPort: 79}]}]", "endPort: Invalid value: 79: must be greater than or equal to `port`"),
            (
                "podSelector: {matchExpressions: [{key: app, operator: In}]}",
                "spec.podSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
            ),
            ("podSelector: {matchExpressions: [{key: app, operator: Exists, values: [a]}]}", "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
        ])
    func refused(spec: String, message: String) throws {
        let error = #expect(throws: InputError.self) { try load(policy(spec)) }
        #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
    }

    @Test("The version of long ago, a namespace that is not there, and two of a name")
    func objects() throws {
        #expect(throws: InputError.self) { try load(policy("podSelector: {}").replacing("networking.k8s.io/v1", with: "extensions/v1beta1")) }
        #expect(throws: InputError.self) { try plan(policy("podSelector: {}", namespace: "shop")) }
        #expect(throws: InputError.self) { try load(policy("podSelector: {}") + policy("podSelector: {}")) }
    }

    @Test(
        "policyTypes default to Ingress, and Egress where there is an egress rule",
        arguments: [
            ("podSelector: {}", [PolicyDirection.ingress]), ("podSelector: {}, egress: []", [.ingress]), ("egress: [{}]", [.ingress, .egress]),
            ("policyTypes: [Egress], ingress: [{}]", [.egress]), ("policyTypes: [Egress, Ingress]", [.ingress, .egress]),
        ])
    func types(spec: String, expected: [PolicyDirection]) throws {
        #expect(try load(policy(spec)).networkPolicies.first?.directions == Set(expected))
    }

    // MARK: Selectors

    private static let shop = """
        apiVersion: v1
        kind: Namespace
        metadata: {name: shop, labels: {team: red}}
        ---
        apiVersion: v1
        kind: Namespace
        metadata: {name: lab}
        ---

        """
        + ["shop/web", "shop/db", "lab/web"].map { name in
            let words = name.split(separator: "/")
            return """
                apiVersion: v1
                kind: Pod
                metadata: {name: \(words[1]), namespace: \(words[0]), labels: {app: \(words[1])}}
                spec: {containers: [{name: c, image: nginx, ports: [{name: http, containerPort: 8080}]}]}
                ---

                """
        }.joined()

    /// Which pods may reach shop/web on TCP 8080 under a policy for it: letters for shop/web, shop/db, lab/web.
    private func reach(_ from: String) throws -> String {
        let plan = try plan(Self.shop + policy("podSelector: {matchLabels: {app: web}}, ingress: [\(from)]", namespace: "shop"))
        let matrix = plan.reachability(.tcp, port: 8080)
        #expect(matrix.sources.map(\.name) == ["shop/web", "shop/db", "lab/web"])
        return String(matrix.cells.map { $0[0].isAllowed ? "." : "X" as Character })
    }

    @Test(
        "Peers: pods of the own namespace, of others, both at once, everyone, nobody",
        arguments: [
            ("{}", "..."), ("{from: []}", "..."), ("", ".XX"), ("{from: [{podSelector: {}}]}", "..X"), ("{from: [{podSelector: {matchLabels: {app: web}}}]}", ".XX"),
            ("{from: [{namespaceSelector: {}}]}", "..."), ("{from: [{namespaceSelector: {matchLabels: {team: red}}}]}", "..X"),
            ("{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: lab}}}]}", ".X."),
            ("{from: [{namespaceSelector: {matchExpressions: [{key: team, operator: DoesNotExist}]}}]}", ".X."),
            ("{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}]}", ".X."),
            ("{from: [{namespaceSelector: {matchLabels: {team: red}}, podSelector: {matchLabels: {app: db}}}]}", "..X"),
            ("{from: [{namespaceSelector: {matchLabels: {team: blue}}}, {podSelector: {matchLabels: {app: db}}}]}", "..X"),
            ("{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}", "..."), ("{from: [{ipBlock: {cidr: 'fd00::/8'}}]}", ".XX"),
            ("{ports: [{port: http}]}", "..."), ("{ports: [{port: 8000, endPort: 8080}]}", "..."), ("{ports: [{port: 8081}]}", ".XX"), ("{ports: [{protocol: UDP}]}", ".XX"),
        ])
    func peers(rule: String, expected: String) throws {
        #expect(try reach(rule) == expected)
    }

    @Test("A manifest cannot change the label that carries a namespace's name")
    func namespaceName() throws {
        let labels = try plan(
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {kubernetes.io/metadata.name: lab, team: red}}\n").namespaceLabels
        #expect(labels["shop"] == ["kubernetes.io/metadata.name": "shop", "team": "red"])
        #expect(labels["default"] == ["kubernetes.io/metadata.name": "default"])
    }

    // MARK: Changes

    @Test("apply, delete and label say what kubectl says, and the table follows")
    func changes() throws {
        var plan = try plan(Self.shop)
        let web = ObjectKey(namespace: "shop", name: "web")
        func refused() -> Int { plan.reachability(.tcp, port: 80).refused }
        let deny = try load(policy("podSelector: {matchLabels: {role: quiet}}", name: "deny", namespace: "shop")).networkPolicies
        #expect(try plan.apply(.apply(policies: deny, namespaces: [])) == ["networkpolicy.networking.k8s.io/deny created"])
        #expect(try plan.apply(.apply(policies: deny, namespaces: [])) == ["networkpolicy.networking.k8s.io/deny unchanged"])
        #expect(refused() == 0)
        #expect(try plan.apply(.labelPod(web, [.init(key: "role", value: "quiet")])) == ["pod/web labeled"])
        #expect(try plan.apply(.labelPod(web, [.init(key: "role", value: "quiet")])) == ["pod/web not labeled"])
        #expect(refused() == 2)
        #expect(plan.reachability(.tcp, port: 80).causes.map(\.text) == ["shop/deny isolates shop/web for ingress, and no rule allows it"])
        let open = try load(policy("podSelector: {matchLabels: {role: quiet}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: red}}}]}]", name: "deny", namespace: "shop"))
        #expect(try plan.apply(.apply(policies: open.networkPolicies, namespaces: [])) == ["networkpolicy.networking.k8s.io/deny configured"])
        #expect(refused() == 1)
        #expect(try plan.apply(.labelNamespace("lab", [.init(key: "team", value: "red")])) == ["namespace/lab labeled"])
        #expect(refused() == 0)
        #expect(try plan.apply(.labelNamespace("shop", [.init(key: "team", value: nil)])) == ["namespace/shop unlabeled"])
        #expect(refused() == 1)
        #expect(try plan.apply(.deletePolicy(ObjectKey(namespace: "shop", name: "deny"))) == ["networkpolicy.networking.k8s.io \"deny\" deleted"])
        #expect(refused() == 0)
        let again = #expect(throws: ChangeError.self) { try plan.apply(.deletePolicy(ObjectKey(namespace: "shop", name: "deny"))) }
        #expect(again?.description == "Error from server (NotFound): networkpolicies.networking.k8s.io \"deny\" not found")
    }

    @Test("get shows a policy as kubectl does")
    func printed() throws {
        let plan = try plan(Self.shop + policy("podSelector: {matchExpressions: [{key: app, operator: In, values: [web, db]}]}, egress: [{}]", name: "out", namespace: "shop"))
        var request = GetRequest(targets: try GetRequest.targets(arguments: ["netpol"]))
        request.namespace = "shop"
        let status = ClusterStatus(now: Instant.zero + .seconds(5), created: .zero)
        #expect(plan.get(request, status: status, endpoints: []).output == "NAME   POD-SELECTOR      AGE\nout    app in (web,db)   5s\n")
        request.output = .json
        let json = plan.get(request, status: status, endpoints: []).output
        #expect(json.contains("\"Ingress\",\n") && json.contains("\"Egress\"\n"), "\(json)")
    }

    @Test("Through Services: endpoints are what policies see, the target port included")
    func services() throws {
        let text =
            Self.shop + service("web", "selector: {app: web}, ports: [{port: 80, targetPort: http}]").replacing("{name: web}", with: "{name: web, namespace: shop}")
            + service("all", "selector: {tier: none}, ports: [{port: 80}]")
            + policy("podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: [{port: 8080}]}]", namespace: "shop")
        let plan = try plan(text)
        let slices = plan.endpointSlices(readyPods: Set(plan.pods.map(\.key)))
        let matrix = plan.serviceReachability(.tcp, port: 80, endpoints: slices)
        #expect(matrix.destinations == ["shop/web", "default/all"])
        #expect(matrix.cells.map { $0[0].reached } == [1, 1, 0])
        #expect(matrix.cells.allSatisfy { $0[1].total == 0 })
        #expect(matrix.causes.map(\.pairs) == [1])
        // Policies do not know the Service's own port.
        #expect(plan.reachability(.tcp, port: 80).refused == 4)
    }
}
