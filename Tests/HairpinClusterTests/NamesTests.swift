import HairpinCluster
import HairpinWire
import Testing

@Suite("What the cluster's DNS knows")
struct NamesTests {
    private static let zone = "default.svc.cluster.local"

    private func names(_ text: String, ready: [String] = [], _ configuration: ClusterConfiguration = ClusterConfiguration()) throws -> ClusterNames {
        let plan = try plan(text, configuration)
        return plan.names(endpoints: plan.endpointSlices(readyPods: Set(ready.map { ObjectKey(namespace: "default", name: $0) })))
    }

    @Test("A headless Service exists while an endpoint is ready, or with publishNotReadyAddresses at once")
    func readiness() throws {
        let text = pod("a", labels: "{app: web}") + service("web", "clusterIP: None, selector: {app: web}, ports: [{port: 80}]")
        #expect(try names(text).answer("web.\(Self.zone)", .a) == .nonExistent)
        #expect(try names(text, ready: ["a"]).answer("web.\(Self.zone)", .a) == .records([.address(IPv4Address(10, 244, 0, 2))]))
        let early = text.replacing("clusterIP: None", with: "clusterIP: None, publishNotReadyAddresses: true")
        #expect(try names(early).answer("web.\(Self.zone)", .a) == .records([.address(IPv4Address(10, 244, 0, 2))]))
        // With an address of its own a Service is there in any case.
        let virtual = try names(text.replacing("clusterIP: None", with: "clusterIP: 10.96.0.20"))
        #expect(virtual.answer("web.\(Self.zone)", .a) == .records([.address(IPv4Address(10, 96, 0, 20))]))
    }

    @Test("SRV: named ports by name and protocol, all ports without; weights are shares of a hundred")
    func ports() throws {
        let two = pod("a") + pod("b") + pod("c")
        let headless = try names(two + service("web", "clusterIP: None, selector: {app: web}, ports: [{name: http, port: 80}]"), ready: ["a", "b", "c"])
        #expect(
            headless.answer("_http._tcp.web.\(Self.zone)", .srv)
                == .records((2...4).map { .service(priority: 0, weight: 33, port: 80, target: "10-244-0-\($0).web.\(Self.zone)") }))
        #expect(headless.answer("_http._udp.web.\(Self.zone)", .srv) == .nonExistent)
        // A label alone is an endpoint's name.
        #expect(headless.answer("_tcp.web.\(Self.zone)", .a) == .nonExistent)
        #expect(headless.answer("x.y.z.web.\(Self.zone)", .a) == .nonExistent)
        let cluster = try names(service("web", "clusterIP: 10.96.0.20, ports: [{name: a, port: 1}, {name: b, port: 2}]"))
        #expect(
            cluster.answer("web.\(Self.zone)", .srv)
                == .records([1, 2].map { .service(priority: 0, weight: 50, port: $0, target: "web.\(Self.zone)") }))
        let unnamed = try names(service("web", "clusterIP: 10.96.0.20, ports: [{port: 80}]"))
        #expect(unnamed.answer("_http._tcp.web.\(Self.zone)", .srv) == .nonExistent)
    }

    @Test("PTR: a virtual address before endpoints, an endpoint under every Service it is in, the rest for upstream")
    func pointers() throws {
        let text =
            pod("a") + service("one", "clusterIP: 10.96.0.20, selector: {app: web}, ports: [{port: 80}]")
            + service("two", "clusterIP: None, selector: {app: web}, ports: [{port: 80}]")
        let names = try names(text, ready: ["a"])
        #expect(names.answer("20.0.96.10.in-addr.arpa", .ptr) == .records([.pointer("one.\(Self.zone)")]))
        #expect(names.answer("2.0.244.10.in-addr.arpa", .ptr) == .records(["one", "two"].map { .pointer("10-244-0-2.\($0).\(Self.zone)") }))
        #expect(names.answer("9.0.244.10.in-addr.arpa", .ptr) == .notOurs)
        #expect(names.answer("20.0.96.10.in-addr.arpa", .a) == .notOurs)
    }

    @Test("The zone itself, and what lies between it and Services")
    func zone() throws {
        let names = try names(service("web", "clusterIP: 10.96.0.20, ports: [{port: 80}]") + service("ext", "type: ExternalName, externalName: a.example."))
        #expect(names.answer("cluster.local", .soa) == .records([.startOfAuthority]))
        #expect(names.answer("cluster.local", .ns) == .records([.nameServer("kube-dns.kube-system.svc.cluster.local")]))
        #expect(names.answer("ns.dns.cluster.local", .a) == .records([.address(IPv4Address(10, 96, 0, 10))]))
        #expect(names.answer("DNS-version.cluster.local", .txt) == .records([.text("1.1.0")]))
        for name in ["cluster.local", "svc.cluster.local", "pod.cluster.local", Self.zone, "default.pod.cluster.local"] { #expect(names.answer(name, .a) == .noData) }
        for name in ["x.cluster.local", "shop.svc.cluster.local", "nobody.\(Self.zone)", "dns-version.cluster.local"] { #expect(names.answer(name, .a) == .nonExistent) }
        #expect(names.answer("ext.\(Self.zone)", .aaaa) == .records([.canonicalName("a.example")]))
        #expect(names.answer("ext.\(Self.zone)", .srv) == .noData)
        #expect(names.answer("web.\(Self.zone)", .txt) == .noData)
        #expect(names.answer("web.\(Self.zone)", .cname) == .noData)
    }

    @Test("A ConfigMap with a Corefile says how long answers live, and which pods have names")
    func corefile() throws {
        func map(_ plugin: String) -> String {
            """
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: coredns, namespace: kube-system}
            data:
              Corefile: |
                .:53 {
                    errors
                    kubernetes cluster.local in-addr.arpa {
                       \(plugin)
                    }
                    cache 7 {
                      ttl 99
                    }
                }
            ---

            """
        }
        let web = pod("a") + service("web", "clusterIP: None, selector: {app: web}, ports: [{port: 80}]")
        let short = try names(web + map("ttl 7"), ready: ["a"])
        #expect(short.settings.timeToLive == 7 && !short.settings.isShuffled)
        #expect(short.answer("10-244-0-2.default.pod.cluster.local", .a) == .nonExistent, "pods disabled is the plugin's default")
        let verified = try names(web + map("pods verified\n                       endpoint_pod_names"), ready: ["a"])
        #expect(verified.settings.timeToLive == 5)
        #expect(verified.answer("10-244-0-2.default.pod.cluster.local", .a) == .records([.address(IPv4Address(10, 244, 0, 2))]))
        #expect(verified.answer("10-244-0-9.default.pod.cluster.local", .a) == .nonExistent)
        #expect(verified.answer("a.web.\(Self.zone)", .a) == .records([.address(IPv4Address(10, 244, 0, 2))]))
        #expect(try names(web).settings == DNSSettings())
    }

    @Test(
        "resolv.conf for every dnsPolicy",
        arguments: [
            ("", "search default.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver 10.96.0.10\noptions ndots:5\n"),
            ("dnsPolicy: Default", "search corp.example\nnameserver 192.168.50.1\noptions timeout:3\n"),
            (
                "hostNetwork: true; dnsPolicy: ClusterFirstWithHostNet",
                "search default.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver 10.96.0.10\noptions ndots:5\n"
            ),
            ("hostNetwork: true", "search corp.example\nnameserver 192.168.50.1\noptions timeout:3\n"),
            (
                "dnsPolicy: None; dnsConfig: {nameservers: [1.2.3.4], searches: [a.b], options: [{name: ndots, value: \"2\"}, {name: edns0}]}",
                "search a.b\nnameserver 1.2.3.4\noptions ndots:2 edns0\n"
            ),
            (
                "dnsConfig: {nameservers: [1.2.3.4, 10.96.0.10], searches: [svc.cluster.local, a.b], options: [{name: ndots, value: \"2\"}]}",
                "search default.svc.cluster.local svc.cluster.local cluster.local corp.example a.b\nnameserver 10.96.0.10\nnameserver 1.2.3.4\noptions ndots:2\n"
            ),
        ])
    func policies(spec: String, expected: String) throws {
        var configuration = ClusterConfiguration()
        (configuration.nodeResolver.nameservers, configuration.nodeResolver.searches) = (["192.168.50.1"], ["corp.example"])
        configuration.nodeResolver.options = ["timeout:3"]
        let plan = try plan(pod("a", spec: spec.replacing("; ", with: "\n  ")), configuration)
        #expect(plan.resolverConfiguration(of: try #require(plan.pods.first)) == expected)
    }

    @Test(
        "What the API server refuses of dnsPolicy and dnsConfig",
        arguments: [
            ("dnsPolicy: None", "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
            ("dnsPolicy: Cluster", "spec.dnsPolicy: Unsupported value: \"Cluster\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\""),
            ("dnsConfig: {nameservers: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4]}", "must not have more than 3 nameservers"),
            ("dnsConfig: {nameservers: [dns]}", "spec.dnsConfig.nameservers[0]: Invalid value: \"dns\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
            ("dnsConfig: {searches: [a.-b]}", "spec.dnsConfig.searches[0]: Invalid value: \"a.-b\": a lowercase RFC 1123 subdomain must consist of"),
        ])
    func refused(spec: String, message: String) {
        let error = #expect(throws: InputError.self) { try load(pod("a", spec: spec)) }
        #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
    }
}
