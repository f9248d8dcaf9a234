import Foundation
import HairpinCluster
import Testing

@testable import HairpinScenario

/// What people write by mistake, and what they are told.
@Suite("Mistakes")
struct MistakeTests {
    let folder = TemporaryFolder()
    private static let manifests = """
        {apiVersion: v1, kind: Pod, metadata: {name: client}, spec: {nodeName: node1, containers: [{name: c, image: curl, command: [sleep, infinity]}]}}
        ---
        {apiVersion: v1, kind: Pod, metadata: {name: web-0, labels: {app: web}}, spec: {nodeName: node2, containers: [{name: c, image: nginx}]}}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: web}
        spec: {type: NodePort, selector: {app: web}, ports: [{name: http, port: 80, nodePort: 30080}, {name: dns, port: 53, protocol: UDP, nodePort: 30053}]}
        ---
        {apiVersion: v1, kind: Service, metadata: {name: all}, spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}}
        ---
        {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
        ---
        {apiVersion: v1, kind: Service, metadata: {name: cart, namespace: shop}, spec: {selector: {app: web}, ports: [{port: 8080}]}}

        """

    @Test("A request to a port that the Service or the node does not have says so, and which there are", arguments: ProxyMode.allCases)
    func ports(mode: ProxyMode) throws {
        let result = try folder.run(
            """
              cluster: {nodes: 2, dns: false, proxyMode: \(mode.rawValue)}
              steps:
              - {id: lacking, in: pod/client, requests: {to: http://web:81/, rate: 2, for: 1s, timeout: 400ms}}
              - {id: udp, in: pod/client, requests: {to: http://web:53/, rate: 2, for: 1s, timeout: 400ms}}
              - {id: other, in: pod/client, requests: {to: http://cart.shop/, rate: 2, for: 1s, timeout: 400ms}}
              - {id: nodePort, in: pod/client, requests: {to: http://node1:30081/, rate: 2, for: 1s, timeout: 400ms}}
              - {id: node, in: pod/client, requests: {to: http://node1:81/, rate: 2, for: 1s, timeout: 400ms}}
              - {id: right, in: pod/client, requests: {to: http://web/, rate: 2, for: 1s, timeout: 400ms}}
            """, manifests: Self.manifests)
        func reasons(_ id: String) throws -> Set<String> {
            let requests = try #require(try result.step(id).requests)
            #expect(requests.lost == 2)
            return Set(requests.losses.map(\.reason))
        }
        #expect(try reasons("lacking") == ["Service web has no port 81; its ports: http 80/TCP, dns 53/UDP"])
        #expect(try reasons("udp") == ["Service web has no port 53/TCP; its ports: http 80/TCP, dns 53/UDP"])
        #expect(try reasons("other") == ["Service shop/cart has no port 80; its ports: 8080/TCP"])
        #expect(try reasons("nodePort") == ["no Service has node port 30081/TCP; node ports: 30080/TCP of web, 30053/UDP of web"])
        #expect(try reasons("node") == ["node1 does not listen on port 81, which is no node port"])
        #expect(try result.step("right").requests?.answered == 2)
    }

    @Test("trace says the same of a packet for which there is no endpoint", arguments: ProxyMode.allCases)
    func trace(mode: ProxyMode) throws {
        var loaded = try ScenarioFile.cluster(manifests: [folder.write("web.yaml", Self.manifests)])
        loaded.scenario.cluster.setNodeCount(2)
        loaded.scenario.cluster.proxyMode = mode
        let tracing = try ServiceTracing(loaded, hooks: .quiet)
        func note(_ to: String) throws -> String? { try tracing.trace(from: "client", to: to, proto: 6, namespace: "default").note }
        #expect(try note("web:81") == "Service web has no port 81; its ports: http 80/TCP, dns 53/UDP")
        #expect(try note("web:80") == nil && note("web-0:81") == nil && note("node1:22") == nil && note("203.0.113.1:80") == nil)
        #expect(try note("node2:30081")?.hasPrefix("no Service has node port 30081/TCP") == true)
        for (to, words) in [("web:htp", "has the ports http 80/TCP, dns 53/UDP"), ("wbe:80", "Did you mean \"web\"?"), ("node3:80", "Did you mean \"node1\"?"), ("web-1:80", "\"web-0\"")] {
            let error = #expect(throws: Failure.self) { _ = try note(to) }
            #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
        }
    }

    @Test("A selector that selects nothing, a Service without one, pods that are not ready, and a port on which nobody listens", arguments: ProxyMode.allCases)
    func endpoints(mode: ProxyMode) throws {
        let manifests =
            Self.manifests + """
                ---
                {apiVersion: v1, kind: Service, metadata: {name: typo}, spec: {selector: {app: wbe, tier: x}, ports: [{port: 80}]}}
                ---
                {apiVersion: v1, kind: Service, metadata: {name: bare}, spec: {ports: [{port: 80}]}}
                ---
                {apiVersion: v1, kind: Service, metadata: {name: deaf}, spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}
                ---
                {apiVersion: v1, kind: Service, metadata: {name: slow}, spec: {selector: {app: slow}, ports: [{port: 80}]}}
                ---
                apiVersion: v1
                kind: Pod
                metadata: {name: slow, labels: {app: slow}}
                spec: {containers: [{name: c, image: nginx, readinessProbe: {exec: {command: ['false']}}}]}

                """
        let names = ["typo", "bare", "deaf", "slow"]
        let steps = names.map { "  - {id: \($0), in: pod/client, requests: {to: http://\($0)/, rate: 2, for: 1s, timeout: 400ms}}\n" }.joined()
        let result = try folder.run("  cluster: {nodes: 2, dns: false, proxyMode: \(mode.rawValue)}\n  steps:\n\(steps)", manifests: manifests)
        func reasons(_ id: String) throws -> Set<String> { Set(try #require(try result.step(id).requests).losses.map(\.reason)) }
        #expect(try reasons("typo") == ["no pod has the labels app=wbe,tier=x that Service typo selects"])
        #expect(try reasons("bare") == ["Service bare has no selector, and no EndpointSlice names endpoints of it"])
        #expect(try reasons("deaf") == ["web-0 did not listen on port 8080"])
        #expect(try reasons("slow") == ["kube-proxy knew of no endpoint that was ready, and its rules reject"])

        var loaded = try ScenarioFile.cluster(manifests: [folder.write("t.yaml", manifests)])
        loaded.scenario.cluster.setNodeCount(2)
        loaded.scenario.cluster.proxyMode = mode
        let tracing = try ServiceTracing(loaded, hooks: .quiet)
        func note(_ to: String) throws -> String? { try tracing.trace(from: "client", to: to, proto: 6, namespace: "default").note }
        #expect(try note("typo:80") == "no pod has the labels app=wbe,tier=x that Service typo selects")
        #expect(try note("slow:80") == "pod slow is not ready" && note("deaf:80") == nil)
    }

    @Test(
        "The target of requests is looked for among Services, nodes and pods, as it was written but for the slip",
        arguments: [
            ("wbe", "Did you mean \"web\"?"), ("wbe.default.svc.cluster.local", "Did you mean \"web.default.svc.cluster.local\"?"), ("crat.shop", "Did you mean \"cart.shop\"?"),
            ("node-1", "Did you mean \"node1\"?"), ("web0", "Did you mean \"web\"?"), ("all", "it is headless, or an ExternalName"), ("nothing-near", "is called \"nothing-near\""),
        ])
    func targets(name: String, words: String) throws {
        let path = folder.write("r.yaml", scenarioText("  steps:\n  - {in: pod/client, requests: {to: 'http://\(name)/', rate: 1, for: 1s}}\n") + "---\n" + Self.manifests)
        let error = #expect(throws: Failure.self) { _ = try ScenarioRunner(ScenarioFile.load(path), options: RunOptions(), hooks: .quiet) }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
        #expect(throws: Failure.self) { _ = try Validation.check(path) }
    }

    @Test(
        "A misspelt kind is refused with the one that was meant; kinds of other people, and those that are not modelled, are kept",
        arguments: [
            ("apps/v1", "Deploymnt", "Did you mean \"Deployment\"?"), ("v1", "service", "Did you mean \"Service\"?"), ("v1", "Pods", "Did you mean \"Pod\"?"),
            ("networking.k8s.io/v1", "NetworkPolcy", "Did you mean \"NetworkPolicy\"?"), ("networking.k8s.io/v1", "Ingres", "Did you mean \"Ingress\"?"),
            ("hairpin.sim/v1", "scenario", "Write kind: Scenario."), ("networking.k8s.io/v1", "Ingress", ""), ("v1", "ServiceAccount", ""), ("example.com/v1", "Deploymnt", ""),
            ("apps/v1", "ControllerRevision", ""), ("v1", "Widget", ""),
        ])
    func kinds(version: String, kind: String, words: String) throws {
        let text = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n---\napiVersion: \(version)\nkind: \(kind)\nmetadata: {name: a}\n"
        var loader = ManifestLoader()
        guard !words.isEmpty else {
            try loader.load(text: text, file: "kinds.yaml")
            #expect(loader.manifests.kept.map(\.kind) == [kind])
            return
        }
        let error = #expect(throws: InputError.self) { try loader.load(text: text, file: "kinds.yaml") }
        #expect(error?.description.contains(words) == true && error?.description.contains("kinds.yaml:4") == true, "\(error?.description ?? "")")
        // A scenario whose kind is misspelt is no scenario, and is not told that it lacks one.
        guard version == "hairpin.sim/v1" else { return }
        let failure = #expect(throws: Failure.self) { _ = try ScenarioFile.load(folder.write("k.yaml", text)) }
        #expect(failure?.description.contains(words) == true, "\(failure?.description ?? "")")
    }
}
