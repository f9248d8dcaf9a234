import Foundation
import HairpinEngine
import Testing

@testable import HairpinScenario

/// `hairpin trace` asks the tables; frames meet the same ones, so both must say the same.
@Suite("Tracing Services")
struct ServiceTracingTests {
    let folder = TemporaryFolder()

    private static let manifests = """
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
        {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: NodePort, selector: {app: web}, ports: [{name: http, port: 80, targetPort: http, nodePort: 30080}]}}
        ---
        {apiVersion: v1, kind: Service, metadata: {name: none}, spec: {selector: {app: none}, ports: [{port: 80}]}}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: local}
        spec: {type: LoadBalancer, selector: {app: web}, externalTrafficPolicy: Local, loadBalancerSourceRanges: [10.244.0.0/16], ports: [{port: 80}]}
        status: {loadBalancer: {ingress: [{ip: 203.0.113.10}, {ip: 203.0.113.11, ipMode: Proxy}]}}
        ---
        {apiVersion: v1, kind: Service, metadata: {name: outside}, spec: {ports: [{port: 5432, protocol: TCP}]}}
        ---
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: outside-1, labels: {kubernetes.io/service-name: outside}}
        addressType: IPv4
        ports: [{port: 5432}]
        endpoints: [{addresses: [192.168.50.77]}]
        """

    private func tracing(_ mode: ProxyMode, seed: UInt64 = 1) throws -> ServiceTracing {
        var loaded = try ScenarioFile.cluster(manifests: [folder.write("web.yaml", ServiceTracingTests.manifests)])
        loaded.scenario.cluster.setNodeCount(2)
        loaded.scenario.cluster.cni = "flannel-host-gw"
        loaded.scenario.cluster.proxyMode = mode
        loaded.scenario.seed = seed
        return try ServiceTracing(loaded, hooks: .quiet)
    }

    @Test("Frames go where the trace says, masqueraded where it says", arguments: ProxyMode.allCases)
    func framesAgree(mode: ProxyMode) throws {
        let tracing = try tracing(mode)
        for (from, to) in [("shell", "web:80"), ("node1", "web:http"), ("shell", "outside:5432"), ("node1", "node1:30080"), ("deploy/web", "web:80")] {
            let expected = try tracing.trace(from: from, to: to, proto: 6, namespace: "default")
            #expect(expected.verdict == "ENDPOINT", "\(from) to \(to): \(expected)")
            let seen = try tracing.observe(from: from, to: to, proto: 6, namespace: "default", count: 60)
            let wanted = Set(expected.endpoints.map { "\($0.address):\($0.port)" + ($0.masqueraded ? " masqueraded" : "") })
            #expect(Set(seen.keys) == wanted, "\(mode) \(from) to \(to)")
            for endpoint in expected.endpoints { #expect(endpoint.probability == 1 / Double(expected.endpoints.count)) }
        }
    }

    @Test("Verdicts besides endpoints", arguments: [ProxyMode.iptables, .nftables])
    func verdicts(mode: ProxyMode) throws {
        let tracing = try tracing(mode)
        func verdict(_ from: String, _ to: String, _ proto: UInt8 = 6) throws -> String { try tracing.trace(from: from, to: to, proto: proto, namespace: "default").verdict }
        #expect(try verdict("shell", "none:80") == "REJECT")
        #expect(try verdict("shell", "web:81") == (mode == .nftables ? "REJECT" : "NONE"))
        #expect(try verdict("shell", "web:80", 17) == (mode == .nftables ? "REJECT" : "NONE"))
        #expect(try verdict("shell", "203.0.113.10:80") == "ENDPOINT")
        #expect(try verdict("198.51.100.7", "203.0.113.10:80") == "DROP", "outside loadBalancerSourceRanges")
        #expect(try verdict("shell", "203.0.113.11:80") == "NONE", "ipMode Proxy is not the node's business")
        // Refused frames end as refusals, and nothing is translated.
        #expect(try tracing.observe(from: "shell", to: "none:80", proto: 6, namespace: "default", count: 3) == ["nothing": 3])
        let detailed = try tracing.trace(from: "192.168.50.200", to: "node2:30080", proto: 6, namespace: "default")
        #expect(detailed.node == "node2" && detailed.masqueraded && detailed.endpoints.count == 3 && detailed.service == "default/web:http")
        #expect(detailed.path.contains { $0.hasPrefix("node2: ") && $0.contains(mode == .iptables ? "KUBE-EXT-" : "external-") })
    }

    @Test("Names that are not there are told with the near ones")
    func mistakes() throws {
        let tracing = try tracing(.iptables)
        #expect(throws: Failure.self) { try tracing.trace(from: "shell", to: "wbe:80", proto: 6, namespace: "default") }
        #expect(throws: Failure.self) { try tracing.trace(from: "shell", to: "web", proto: 6, namespace: "default") }
        #expect(throws: Failure.self) { try tracing.trace(from: "nobody", to: "web:80", proto: 6, namespace: "default") }
        #expect(throws: Failure.self) { try tracing.trace(from: "shell", to: "web:https", proto: 6, namespace: "default") }
    }
}
