import HairpinCluster
import HairpinWire
import Testing

@Suite("What the API server rejects of Services")
struct ServiceValidationTests {
    private static let port = "ports: [{port: 80}]"

    static let services: [Verdict] = [
        // Ports
        Verdict("selector: {a: b}", "spec.ports: Required value"),
        Verdict("ports: [{port: 70000}]", "spec.ports[0].port: Invalid value: 70000: \(Format.port)", "spec.ports[0].targetPort: Invalid value: 70000: \(Format.port)"),
        Verdict("ports: [{port: 80, targetPort: 65536}]", "spec.ports[0].targetPort: Invalid value: 65536: \(Format.port)"),
        Verdict("ports: [{port: 80, targetPort: -1}]", "spec.ports[0].targetPort: Invalid value: -1: \(Format.port)"),
        Verdict("ports: [{port: 80, targetPort: a-rather-long-name}]", "spec.ports[0].targetPort: Invalid value: \"a-rather-long-name\": must be no more than 15 characters"),
        Verdict(
            "ports: [{port: 80, targetPort: Http--1-}]",
            "spec.ports[0].targetPort: Invalid value: \"Http--1-\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
            "spec.ports[0].targetPort: Invalid value: \"Http--1-\": must not contain consecutive hyphens",
            "spec.ports[0].targetPort: Invalid value: \"Http--1-\": must not begin or end with a hyphen"),
        Verdict("ports: [{port: 80}, {port: 81}]", "spec.ports[0].name: Required value", "spec.ports[1].name: Required value"),
        Verdict("ports: [{name: a, port: 80}, {name: a, port: 81}]", "spec.ports[1].name: Duplicate value: \"a\""),
        Verdict("ports: [{name: My_Port, port: 80}]", "spec.ports[0].name: Invalid value: \"My_Port\": \(Format.label)"),
        Verdict("ports: [{name: a.b, port: 80}]", "spec.ports[0].name: Invalid value: \"a.b\": must not contain dots"),
        Verdict(
            "ports: [{name: a, port: 80}, {name: b, port: 80}]",
            "spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":80,\"TargetPort\":0,\"NodePort\":0}"),
        Verdict("ports: [{port: 80, protocol: ICMP}]", "spec.ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\""),
        Verdict("ports: [{port: 80, appProtocol: 'a b'}]", "spec.ports[0].appProtocol: Invalid value: \"a b\": \(Format.namePart)"),
        Verdict("ports: [{port: 80, nodePort: 30080}]", "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"),
        Verdict(
            "type: NodePort, ports: [{name: a, port: 80, nodePort: 30080}, {name: b, port: 81, nodePort: 30080}]", "spec.ports[1].nodePort: Duplicate value: 30080"),
        Verdict(
            "type: NodePort, ports: [{port: 80, nodePort: 70000}]",
            "spec.ports[0].nodePort: Invalid value: 70000: provided port is not in the valid range. The range of valid ports is 30000-32767"),
        // Types and addresses
        Verdict("type: Loadbalancer, \(port)", "spec.type: Unsupported value: \"Loadbalancer\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\""),
        Verdict("type: NodePort, clusterIP: None, \(port)", "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"),
        Verdict("type: LoadBalancer, clusterIP: None, \(port)", "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for LoadBalancer services"),
        Verdict("clusterIP: none, \(port)", "spec.clusterIPs[0]: Invalid value: \"none\": \(Format.address)"),
        Verdict("clusterIPs: [10.96.0.20], \(port)", "spec.clusterIPs: Invalid value: [\"10.96.0.20\"]: must be empty when `clusterIP` is not specified"),
        Verdict("clusterIP: 10.96.0.21, clusterIPs: [10.96.0.20], \(port)", "spec.clusterIPs: Invalid value: [\"10.96.0.20\"]: first value must match `clusterIP`"),
        Verdict(
            "clusterIP: None, clusterIPs: [None, 10.96.0.20], \(port)", "spec.clusterIPs: Invalid value: [\"None\",\"10.96.0.20\"]: 'None' must be the first and only value"),
        Verdict(
            "clusterIP: 10.96.0.20, clusterIPs: [10.96.0.20, 10.96.0.21], ipFamilyPolicy: PreferDualStack, \(port)",
            "spec.clusterIPs: Invalid value: [\"10.96.0.20\",\"10.96.0.21\"]: may specify no more than one IP for each IP family"),
        Verdict("clusterIP: 'fd00::1', \(port)", "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster"),
        Verdict(
            "clusterIP: 10.96.0.20, ipFamilies: [IPv6], \(port)", "spec.clusterIPs[0]: Invalid value: \"10.96.0.20\": expected an IPv6 value as indicated by `ipFamilies[0]`"),
        Verdict("ipFamilies: [IPv6], \(port)", "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"),
        Verdict("ipFamilies: [IPv5], \(port)", "spec.ipFamilies[0]: Unsupported value: \"IPv5\": supported values: \"IPv4\", \"IPv6\""),
        Verdict("ipFamilies: [IPv4, IPv4], ipFamilyPolicy: PreferDualStack, \(port)", "spec.ipFamilies[1]: Duplicate value: \"IPv4\""),
        Verdict(
            "ipFamilies: [IPv4, IPv6], \(port)",
            "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"),
        Verdict("ipFamilyPolicy: RequireDualStack, \(port)", "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services"),
        Verdict(
            "ipFamilyPolicy: DualStack, \(port)",
            "spec.ipFamilyPolicy: Unsupported value: \"DualStack\": supported values: \"PreferDualStack\", \"RequireDualStack\", \"SingleStack\""),
        // ExternalName
        Verdict("type: ExternalName", "spec.externalName: Required value"),
        Verdict("type: ExternalName, externalName: Db_1", "spec.externalName: Invalid value: \"Db_1\": \(Format.subdomain)"),
        Verdict(
            "type: ExternalName, externalName: db.example.com, clusterIP: 10.96.0.20, ipFamilies: [IPv4], ipFamilyPolicy: SingleStack",
            "spec.clusterIPs: Forbidden: may not be set for ExternalName services", "spec.ipFamilies: Forbidden: may not be set for ExternalName services",
            "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services"),
        // External addresses
        Verdict("externalIPs: [a.b.c.d], \(port)", "spec.externalIPs[0]: Invalid value: \"a.b.c.d\": \(Format.address)"),
        Verdict("externalIPs: [127.0.0.1], \(port)", "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        Verdict(
            "externalIPs: [169.254.1.1], \(port)", "spec.externalIPs[0]: Invalid value: \"169.254.1.1\": may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        Verdict(
            "externalIPs: [224.0.0.5], \(port)",
            "spec.externalIPs[0]: Invalid value: \"224.0.0.5\": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
        Verdict("externalIPs: [0.0.0.0], \(port)", "spec.externalIPs[0]: Invalid value: \"0.0.0.0\": may not be unspecified (0.0.0.0)"),
        Verdict("externalIPs: ['::'], \(port)", "spec.externalIPs[0]: Invalid value: \"::\": may not be unspecified (::)"),
        // Affinity
        Verdict("sessionAffinity: Cookie, \(port)", "spec.sessionAffinity: Unsupported value: \"Cookie\": supported values: \"ClientIP\", \"None\""),
        Verdict(
            "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}, \(port)",
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400"),
        Verdict(
            "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}, \(port)",
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400"),
        // Load balancers
        Verdict("loadBalancerSourceRanges: [10.0.0.0/8], \(port)", "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"),
        Verdict("type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.0], \(port)", "spec.LoadBalancerSourceRanges[0]: Invalid value: \"10.0.0.0\": \(Format.prefix)"),
        Verdict("loadBalancerClass: a/b, \(port)", "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"),
        Verdict("type: LoadBalancer, loadBalancerClass: /b, \(port)", "spec.loadBalancerClass: Invalid value: \"/b\": prefix part must be non-empty"),
        Verdict(
            "type: NodePort, allocateLoadBalancerNodePorts: false, \(port)", "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'"),
        // Traffic policies
        Verdict("externalTrafficPolicy: Local, \(port)", "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services"),
        Verdict("type: NodePort, externalTrafficPolicy: local, \(port)", "spec.externalTrafficPolicy: Unsupported value: \"local\": supported values: \"Cluster\", \"Local\""),
        Verdict("internalTrafficPolicy: Zone, \(port)", "spec.internalTrafficPolicy: Unsupported value: \"Zone\": supported values: \"Cluster\", \"Local\""),
        Verdict(
            "trafficDistribution: PreferSameRack, \(port)",
            "spec.trafficDistribution: Unsupported value: \"PreferSameRack\": supported values: \"PreferClose\", \"PreferSameNode\", \"PreferSameZone\""),
        Verdict(
            "type: LoadBalancer, healthCheckNodePort: 32000, \(port)",
            "spec.healthCheckNodePort: Invalid value: 32000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"),
        Verdict(
            "type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 70000, \(port)", "spec.healthCheckNodePort: Invalid value: 70000: \(Format.port)"),
        // Selectors
        Verdict("selector: {'a b': c}, \(port)", "spec.selector: Invalid value: \"a b\": \(Format.namePart)"),
        Verdict("selector: {a: b c}, \(port)", "spec.selector: Invalid value: \"b c\": \(Format.labelValue)"),
        Verdict("selector: {A.B/c: d}, \(port)", "spec.selector: Invalid value: \"A.B/c\": prefix part \(Format.subdomain)"),
        // Several at once, in the API server's order.
        Verdict(
            "ports: [{port: 0, nodePort: 30080}], sessionAffinity: x, externalTrafficPolicy: Local", "spec.ports[0].port: Invalid value: 0: \(Format.port)",
            "spec.ports[0].targetPort: Invalid value: 0: \(Format.port)", "spec.sessionAffinity: Unsupported value: \"x\": supported values: \"ClientIP\", \"None\"",
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
            "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services"),
        // Accepted
        Verdict("clusterIP: None"), Verdict("clusterIP: None, clusterIPs: [None], ports: [{port: 80, targetPort: http}]"), Verdict("clusterIP: '', \(port)"),
        Verdict("clusterIP: 10.96.0.20, clusterIPs: [10.96.0.20], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, \(port)"), Verdict("ipFamilyPolicy: PreferDualStack, \(port)"),
        Verdict("clusterIP: None, ipFamilies: [IPv4, IPv6], ipFamilyPolicy: RequireDualStack"), Verdict("type: ExternalName, externalName: db.example.com."),
        Verdict("type: ExternalName, externalName: db, \(port)"), Verdict("ports: [{port: 80, targetPort: 0}]"), Verdict("ports: [{port: 80, targetPort: ''}]"),
        Verdict("ports: [{name: dns, port: 53}, {name: dns-udp, port: 53, protocol: UDP}]"), Verdict("ports: [{port: 80, appProtocol: kubernetes.io/h2c}]"),
        Verdict("ports: [{name: 1-a, port: 65535}]"), Verdict("ports: [{port: 80, nodePort: 0}]"), Verdict("type: NodePort, ports: [{port: 80, nodePort: 30080}]"),
        Verdict("type: LoadBalancer, allocateLoadBalancerNodePorts: false, loadBalancerClass: example.com/nlb, loadBalancerSourceRanges: [' 10.0.0.0/8 ', 'fd00::/8'], \(port)"),
        Verdict("type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 32000, \(port)"), Verdict("type: LoadBalancer, loadBalancerIP: what-you-like, \(port)"),
        Verdict("externalIPs: [192.168.50.200, 'fd00::5', 239.1.1.1], externalTrafficPolicy: Local, \(port)"), Verdict("trafficDistribution: PreferSameNode, \(port)"),
        // The defaults drop a sessionAffinityConfig that nothing needs.
        Verdict("sessionAffinity: None, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}, \(port)"),
        Verdict("sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86400}}, \(port)"), Verdict("sessionAffinity: ClientIP, sessionAffinityConfig: {}, \(port)"),
        Verdict("selector: null, \(port)"), Verdict("selector: {a: ''}, \(port)"), Verdict("type: '', sessionAffinity: '', \(port)"),
    ]

    @Test("Each rule in the API server's words; what it accepts is accepted", arguments: services)
    func rules(_ verdict: Verdict) { #expect(reasons(service("web", verdict.text)) == verdict.reasons) }

    @Test(
        "Names",
        arguments: [
            Verdict("Web", "metadata.name: Invalid value: \"Web\": \(Format.label1035)"), Verdict("1web", "metadata.name: Invalid value: \"1web\": \(Format.label1035)"),
            Verdict("a.b", "metadata.name: Invalid value: \"a.b\": \(Format.label1035)"),
            Verdict(String(repeating: "a", count: 64), "metadata.name: Invalid value: \"\(String(repeating: "a", count: 64))\": must be no more than 63 characters"), Verdict("web-1"),
            Verdict("''", "metadata.name: Required value: name or generateName is required"),
        ])
    func names(_ verdict: Verdict) { #expect(reasons(service(verdict.text, "ports: [{port: 80}]")) == verdict.reasons) }

    @Test(
        "Metadata of any object",
        arguments: [
            Verdict("labels: {a/b/c: d}", "metadata.labels: Invalid value: \"a/b/c\": a qualified name \(Format.namePart.dropFirst(10)) with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"),
            Verdict("labels: {'': d}", "metadata.labels: Invalid value: \"\": name part must be non-empty", "metadata.labels: Invalid value: \"\": \(Format.namePart)"),
            Verdict("labels: {a: -b}", "metadata.labels: Invalid value: \"-b\": \(Format.labelValue)"),
            Verdict("annotations: {'a b': c}", "metadata.annotations: Invalid value: \"a b\": \(Format.namePart)"),
            Verdict("namespace: My-Space", "metadata.namespace: Invalid value: \"My-Space\": \(Format.label)"), Verdict("namespace: a.b", "metadata.namespace: Invalid value: \"a.b\": must not contain dots"),
            Verdict(
                "annotations: {service.kubernetes.io/topology-mode: Auto, service.kubernetes.io/topology-aware-hints: Disabled}",
                "metadata.annotations[service.kubernetes.io/topology-mode]: Invalid value: \"Auto\": must match annotations[service.kubernetes.io/topology-aware-hints] when both are specified"),
            Verdict(
                "annotations: {service.beta.kubernetes.io/load-balancer-source-ranges: 10.0.0.0/8}",
                "metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]: Forbidden: may only be used when `type` is 'LoadBalancer'"),
            Verdict("labels: {a: null, Example.com_x: B_1.c}, annotations: {Example.com/X: 'anything at all'}", "metadata.labels: accepted"),
        ])
    func metadata(_ verdict: Verdict) {
        let text = "apiVersion: v1\nkind: Service\nmetadata: {name: web, \(verdict.text)}\nspec: {ports: [{port: 80}]}\n"
        #expect(reasons(text) == verdict.reasons.filter { !$0.hasSuffix("accepted") })
    }

    @Test("Without affinity's timeout there are three hours of it; status says what the cloud gave")
    func defaults() throws {
        func read(_ spec: String, more: String = "") throws -> Service {
            try #require(try load("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {\(spec), ports: [{port: 80}]}\n\(more)").services.first)
        }
        #expect(try read("sessionAffinity: ClientIP").affinitySeconds == 10800)
        #expect(try read("sessionAffinity: None, sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}").affinitySeconds == nil)
        #expect(try read("externalIPs: [010.1.2.3, 'fd00::1', '::ffff:10.1.2.4']").externalAddresses == [IPv4Address(10, 1, 2, 3), IPv4Address(10, 1, 2, 4)])
        let ranges = "loadBalancerSourceRanges: [' 10.0.0.0/8', 'fd00::/8', 192.168.1.5/24]"
        #expect(try read("type: LoadBalancer, \(ranges)").loadBalancerSourceRanges.map(\.description) == ["10.0.0.0/8", "192.168.1.0/24"])
        let status = "status: {loadBalancer: {ingress: [{ip: 203.0.113.10, ipMode: Proxy}, {hostname: lb.example.com}]}}\n"
        let given = try read("type: LoadBalancer", more: status).ingress
        #expect(given.map(\.address) == [IPv4Address(203, 0, 113, 10)] && given.allSatisfy { !$0.isVirtual })
        // The API server forgets the status of what is created; of other types nobody writes it again.
        #expect(try read("type: NodePort", more: status).ingress.isEmpty)
    }

    @Test("Node ports: a number has one owner, and the ports of one number share theirs")
    func nodePorts() throws {
        let dns = "type: NodePort, ports: [{name: tcp, port: 53}, {name: udp, port: 53, protocol: UDP}]"
        let shared = try #require(try plan(service("dns", dns)).services.first { $0.service.metadata.name == "dns" })
        #expect(shared.ports[0].nodePort != nil && shared.ports[0].nodePort == shared.ports[1].nodePort)
        let asked = try plan(service("dns", dns.replacing("53, protocol: UDP", with: "53, protocol: UDP, nodePort: 30053")))
        #expect(asked.services.first { $0.service.metadata.name == "dns" }?.ports.map(\.nodePort) == [30053, 30053])
        let error = #expect(throws: InputError.self) {
            try plan(service("a", "type: NodePort, ports: [{port: 80, nodePort: 30080}]") + service("b", "type: NodePort, ports: [{port: 80, protocol: UDP, nodePort: 30080}]"))
        }
        #expect(
            error?.description
                == "web.yaml:9: The Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated. It belongs to default/a. Choose another number, or leave nodePort out."
        )
        let health = #expect(throws: InputError.self) { try plan(service("a", "type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 80, ports: [{port: 80}]")) }
        #expect(
            health?.description.contains(
                "Internal error occurred: failed to allocate requested HealthCheck NodePort 80: provided port is not in the valid range. The range of valid ports is 30000-32767") == true,
            "\(health?.description ?? "")")
        let network = #expect(throws: InputError.self) { try plan(service("a", "clusterIP: 10.96.0.0, ports: [{port: 80}]")) }
        #expect(network?.description.contains("spec.clusterIPs: Invalid value: [\"10.96.0.0\"]: failed to allocate IP 10.96.0.0: the provided IP (10.96.0.0) is not in the valid range") == true)
    }

    @Test("get shows the defaults that the API server fills in, and what the allocators gave")
    func shown() throws {
        func shown(_ spec: String, status: String = "") throws -> (JSONValue, JSONValue) {
            let plan = try plan("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {\(spec)}\n\(status)")
            var request = GetRequest(targets: try GetRequest.targets(arguments: ["svc", "web"]))
            request.output = .json
            let json = plan.get(request, status: ClusterStatus(now: .zero, created: .zero), endpoints: []).output
            let object = JSONValue(try #require(try YAMLReader.documents(text: json, file: "x").first).node)
            return (object["spec"] ?? .null, object["status"] ?? .null)
        }
        let (lb, status) = try shown(
            "type: LoadBalancer, externalTrafficPolicy: Local, sessionAffinity: ClientIP, ports: [{port: 80}]", status: "status: {loadBalancer: {ingress: [{ip: 203.0.113.10}]}}\n")
        #expect(lb["allocateLoadBalancerNodePorts"] == .bool(true) && lb["internalTrafficPolicy"] == .string("Cluster") && lb["ipFamilyPolicy"] == .string("SingleStack"))
        #expect(lb["sessionAffinityConfig"]?["clientIP"]?["timeoutSeconds"] == .integer(10800))
        guard case .integer(let health)? = lb["healthCheckNodePort"] else {
            Issue.record("has no healthCheckNodePort")
            return
        }
        #expect((30000...32767).contains(health))
        #expect(status["loadBalancer"]?["ingress"] == .array([.object(["ip": .string("203.0.113.10"), "ipMode": .string("VIP")])]))
        let (plain, none) = try shown("sessionAffinityConfig: {clientIP: {timeoutSeconds: 3}}, externalIPs: [192.168.50.200], ports: [{port: 80, targetPort: 0}]")
        #expect(plain["sessionAffinityConfig"] == nil && plain["externalTrafficPolicy"] == .string("Cluster") && plain["allocateLoadBalancerNodePorts"] == nil)
        #expect(plain["ports"] == .array([.object(["port": .integer(80), "protocol": .string("TCP"), "targetPort": .integer(80)])]))
        #expect(none["loadBalancer"] == .object([:]))
        let (bare, _) = try shown("clusterIP: None")
        #expect(bare["ipFamilyPolicy"] == .string("RequireDualStack") && bare["ipFamilies"] == .array([.string("IPv4"), .string("IPv6")]))
        let (external, _) = try shown("type: ExternalName, externalName: a.b")
        #expect(external["ipFamilies"] == nil && external["internalTrafficPolicy"] == nil && external["clusterIP"] == nil)
    }
}
