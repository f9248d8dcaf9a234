import HairpinCluster
import HairpinWire
import Testing

@Suite("What the API server rejects of endpoints, nodes and the rest")
struct EndpointValidationTests {
    static let endpoints: [Verdict] = [
        Verdict("{ports: [{port: 80}]}", "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"),
        Verdict("{addresses: [{ip: a}]}", "subsets[0].addresses[0].ip: Invalid value: \"a\": \(Format.address)", "subsets[0].addresses[0].ip: Invalid value: \"a\": must be a valid IP address"),
        Verdict(
            "{addresses: [{ip: 127.0.0.1}]}", "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        Verdict(
            "{notReadyAddresses: [{ip: 169.254.169.254}]}",
            "subsets[0].notReadyAddresses[0].ip: Invalid value: \"169.254.169.254\": may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        Verdict("{addresses: [{ip: 1.2.3.4, hostname: A}]}", "subsets[0].addresses[0].hostname: Invalid value: \"A\": \(Format.label)"),
        Verdict("{addresses: [{ip: 1.2.3.4, nodeName: A}]}", "subsets[0].addresses[0].nodeName: Invalid value: \"A\": \(Format.subdomain)"),
        Verdict("{addresses: [{ip: 1.2.3.4}], ports: [{port: 0}]}", "subsets[0].ports[0].port: Invalid value: 0: \(Format.port)"),
        Verdict("{addresses: [{ip: 1.2.3.4}], ports: [{port: 1}, {name: b, port: 2}]}", "subsets[0].ports[0].name: Required value"),
        Verdict(
            "{addresses: [{ip: 1.2.3.4}], ports: [{port: 1, protocol: X}]}", "subsets[0].ports[0].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\""),
        Verdict("{addresses: [{ip: 1.2.3.4}]}"), Verdict("{addresses: [{ip: 'fd00::1'}], ports: [{port: 80}]}"), Verdict("{addresses: [{ip: 239.0.0.1}]}"),
    ]

    @Test("Endpoints", arguments: endpoints)
    func ofEndpoints(_ verdict: Verdict) { #expect(reasons("apiVersion: v1\nkind: Endpoints\nmetadata: {name: web}\nsubsets: [\(verdict.text)]\n") == verdict.reasons) }

    private static func many(_ count: Int, _ item: String) -> String { "[" + Array(repeating: item, count: count).joined(separator: ", ") + "]" }

    static let slices: [Verdict] = [
        Verdict("endpoints: []", "addressType: Required value"),
        Verdict("addressType: IP, endpoints: []", "addressType: Unsupported value: \"IP\": supported values: \"FQDN\", \"IPv4\", \"IPv6\""),
        Verdict("addressType: IPv4, endpoints: [{}]", "endpoints[0].addresses: Required value: must contain at least 1 address"),
        Verdict("addressType: IPv4, endpoints: \(many(1001, "{addresses: [1.2.3.4]}"))", "endpoints: Too many: 1001: must have at most 1000 items"),
        Verdict("addressType: IPv4, endpoints: [{addresses: \(many(101, "1.2.3.4"))}]", "endpoints[0].addresses: Too many: 101: must have at most 100 items"),
        Verdict("addressType: IPv4, endpoints: [{addresses: ['fd00::1']}]", "endpoints[0].addresses[0]: Invalid value: \"fd00::1\": must be an IPv4 address"),
        Verdict(
            "addressType: IPv6, endpoints: [{addresses: ['::1']}]", "endpoints[0].addresses[0]: Invalid value: \"::1\": may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        Verdict(
            "addressType: FQDN, endpoints: [{addresses: [host]}]",
            "endpoints[0].addresses[0]: Invalid value: \"host\": should be a domain with at least two segments separated by dots"),
        Verdict("addressType: IPv4, endpoints: [{addresses: [1.2.3.4], nodeName: A}]", "endpoints[0].nodeName: Invalid value: \"A\": \(Format.subdomain)"),
        Verdict("addressType: IPv4, endpoints: [{addresses: [1.2.3.4], hostname: a.b}]", "endpoints[0].hostname: Invalid value: \"a.b\": must not contain dots"),
        Verdict(
            "addressType: IPv4, endpoints: [{addresses: [1.2.3.4], hints: {forZones: [{name: a}, {name: a}]}}]",
            "endpoints[0].hints.forZones[1].name: Duplicate value: \"a\""),
        Verdict(
            "addressType: IPv4, endpoints: [{addresses: [1.2.3.4], hints: {forZones: \(many(9, "{name: a}"))}}]", "endpoints[0].hints.forZones: Too many: 9: must have at most 8 items"),
        Verdict("addressType: IPv4, endpoints: [], ports: [{port: 80}, {port: 81}]", "ports[1].name: Duplicate value: \"\""),
        Verdict("addressType: IPv4, endpoints: [], ports: [{name: a_b, port: 80}]", "ports[0].name: Invalid value: \"a_b\": \(Format.label)"),
        Verdict("addressType: IPv4, endpoints: [], ports: [{port: 80, protocol: tcp}]", "ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\""),
        Verdict("addressType: IPv4, endpoints: [], ports: [{name: http}]"), Verdict("addressType: FQDN, endpoints: [{addresses: [a.example.com]}]"),
        Verdict("addressType: IPv4, endpoints: [{addresses: [1.2.3.4], hints: {forNodes: [{name: node1}], forZones: [{name: zone_A}]}}], ports: [{port: 80}]"),
    ]

    @Test("EndpointSlices", arguments: slices)
    func ofSlices(_ verdict: Verdict) {
        let text = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}, \(verdict.text)}\n"
        #expect(reasons(text) == verdict.reasons)
    }

    static let others: [Verdict] = [
        Verdict("apiVersion: v1, kind: Node, metadata: {name: N1}", "metadata.name: Invalid value: \"N1\": \(Format.subdomain)"),
        Verdict("apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {taints: [{key: a}]}", "metadata.taints[0].effect: Required value"),
        Verdict(
            "apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {taints: [{key: a, effect: Never}]}",
            "metadata.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\""),
        Verdict(
            "apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {taints: [{key: a, effect: NoExecute}, {key: a, value: b, effect: NoExecute}]}",
            "metadata.taints[1]: Duplicate value: {\"Key\":\"a\",\"Value\":\"b\",\"Effect\":\"NoExecute\",\"TimeAdded\":null}: taints must be unique by key and effect pair"),
        Verdict("apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {podCIDR: 10.244.0.0}", "spec.podCIDRs[0]: Invalid value: \"10.244.0.0\": \(Format.prefix)"),
        Verdict(
            "apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {podCIDRs: [10.1.0.0/24, 10.2.0.0/24]}",
            "spec.podCIDRs: Invalid value: [\"10.1.0.0/24\",\"10.2.0.0/24\"]: may specify no more than one CIDR for each IP family"),
        Verdict("apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {podCIDR: 10.1.0.0/24, podCIDRs: [10.1.0.0/24, 'fd00::/64']}"),
        Verdict("apiVersion: v1, kind: Namespace, metadata: {name: a.b}", "metadata.name: Invalid value: \"a.b\": must not contain dots"),
        Verdict("apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {a/b: c}", "data[a/b]: Invalid value: \"a/b\": \(Format.configKey)"),
        Verdict("apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {..a: c}", "data[..a]: Invalid value: \"..a\": must not start with '..'"),
        Verdict("apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {a: b}, binaryData: {a: Yg==}", "data[a]: Invalid value: \"a\": duplicate of key present in binaryData"),
        Verdict("apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {a: 1}", "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"),
        Verdict("apiVersion: v1, kind: Secret, metadata: {name: s}, data: {a: 'no base64'}", "illegal base64 data at input byte 2"),
        Verdict("apiVersion: v1, kind: Secret, metadata: {name: s}, data: {a: YWJjZ}", "illegal base64 data at input byte 4"),
        Verdict("apiVersion: v1, kind: Secret, metadata: {name: s}, data: {a: YWI=, b: ''}, stringData: {c: d}"),
        Verdict("apiVersion: example.com/v1, kind: Widget, metadata: {name: a/b, labels: {x: y z}}", "metadata.name: Invalid value: \"a/b\": may not contain '/'", "metadata.labels: Invalid value: \"y z\": \(Format.labelValue)"),
    ]

    @Test("Nodes, ConfigMaps, Secrets, and what every object has", arguments: others)
    func ofOthers(_ verdict: Verdict) { #expect(reasons("{\(verdict.text)}\n") == verdict.reasons) }

    static let undecodable: [Verdict] = [
        Verdict("ports: 80", "json: cannot unmarshal number into Go struct field ServiceSpec.spec.ports of type []v1.ServicePort"),
        Verdict("ports: [80]", "json: cannot unmarshal number into Go struct field ServiceSpec.spec.ports of type v1.ServicePort"),
        Verdict("ports: [{port: '80'}]", "json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32"),
        Verdict("ports: [{port: 3000000000}]", "json: cannot unmarshal number 3000000000 into Go struct field ServicePort.spec.ports.port of type int32"),
        Verdict("ports: [{port: 80.5}]", "json: cannot unmarshal number 80.5 into Go struct field ServicePort.spec.ports.port of type int32"),
        Verdict("ports: [{port: 80, targetPort: true}]", "json: cannot unmarshal bool into Go struct field ServicePort.spec.ports.targetPort of type int32"),
        Verdict("ports: [{port: 80, protocol: 6}]", "json: cannot unmarshal number into Go struct field ServicePort.spec.ports.protocol of type v1.Protocol"),
        Verdict("ports: [{port: 80}], selector: [a]", "json: cannot unmarshal array into Go struct field ServiceSpec.spec.selector of type map[string]string"),
        Verdict("ports: [{port: 80}], selector: {a: yes}", "json: cannot unmarshal bool into Go struct field ServiceSpec.spec.selector of type string"),
        Verdict("ports: [{port: 80}], publishNotReadyAddresses: 'true'", "json: cannot unmarshal string into Go struct field ServiceSpec.spec.publishNotReadyAddresses of type bool"),
        Verdict("ports: [{port: 80}], externalIPs: [{ip: 1.2.3.4}]", "json: cannot unmarshal object into Go struct field ServiceSpec.spec.externalIPs of type string"),
        // A wrong type is told before fields that are not known; these in alphabetical order.
        Verdict("ports: [{port: x, portt: 80}]", "json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32"),
        Verdict("zort: 1, ports: [{port: 80, portt: 80}], clusterip: None", "unknown field \"spec.clusterip\"", "unknown field \"spec.ports[0].portt\"", "unknown field \"spec.zort\""),
        Verdict("ports: [{port: 80}], topologyKeys: []", "unknown field \"spec.topologyKeys\""),
    ]

    @Test("What cannot be decoded", arguments: undecodable)
    func decoding(_ verdict: Verdict) {
        let text = service("web", verdict.text)
        #expect(reasons(text) == verdict.reasons)
        do { _ = try load(text) } catch {
            #expect("\(error)".hasPrefix("web.yaml:"))
            #expect("\(error)".contains("Service in version \"v1\" cannot be handled as a Service: "))
        }
    }

    @Test("Addresses as the older fields take them: zeros lead decimal numbers, and IPv6 is left to clusters of IPv6")
    func sloppy() throws {
        let text = """
            {apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}, addressType: IPv4,
             endpoints: [{addresses: [192.168.050.030]}], ports: [{port: 80}]}
            ---
            {apiVersion: v1, kind: Endpoints, metadata: {name: db}, subsets: [{addresses: [{ip: 'fd00::1'}, {ip: 192.168.50.31}], ports: [{port: 5432}]}]}

            """
        let slices = try load(text).endpointSlices
        #expect(slices.map { $0.endpoints.map(\.address) } == [[IPv4Address(192, 168, 50, 30)], [IPv4Address(192, 168, 50, 31)]])
    }

    @Test("However many reasons there are, they are found in no time, and a hundred are told")
    func many() throws {
        let ports = (0..<20_000).map { _ in "{port: 0, nodePort: 1, nope: 1}" }.joined(separator: ",")
        for text in [service("web", "ports: [\(ports)]"), service("web", "ports: [\(ports.replacing(", nope: 1", with: ""))], clusterIPs: [\((0..<20_000).map { "'\($0)'" }.joined(separator: ","))]")] {
            let error = #expect(throws: InputError.self) { try load(text) }
            #expect(error?.reasons.count == 100)
        }
    }
}
