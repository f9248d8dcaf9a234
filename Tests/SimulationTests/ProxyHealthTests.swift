import Foundation
import HairpinCluster
import Testing

@testable import HairpinScenario

/// Port 10256 of every node, where kube-proxy says how it is.
@Suite("kube-proxy's own health")
struct ProxyHealthTests {
    let folder = TemporaryFolder()
    private static let client = """
        {apiVersion: v1, kind: Pod, metadata: {name: client}, spec: {nodeName: node1, containers: [{name: c, image: curl, command: [sleep, infinity]}]}}
        ---
        {apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}, spec: {nodeName: node2, containers: [{name: c, image: nginx}]}}
        ---
        {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 32000, selector: {app: web}, ports: [{port: 80}]}}

        """

    @Test("A pod, a node and a machine outside ask every node, in every mode", arguments: ProxyMode.allCases)
    func healthy(mode: ProxyMode) throws {
        let result = try folder.run(
            """
              cluster: {nodes: 2, dns: false, proxyMode: \(mode.rawValue)}
              hosts: [{name: balancer, address: 192.168.50.100}]
              steps:
              - {id: own, at: 1250ms, in: pod/client, run: "curl -sS -i http://192.168.50.11:10256/healthz"}
              - {id: other, in: pod/client, run: "curl -sS -w ' %{http_code}' http://192.168.50.12:10256/healthz?verbose"}
              - {id: live, in: host/balancer, run: "curl -sS -i http://192.168.50.12:10256/livez"}
              - {id: local, in: node/node1, run: "curl -sS -o /dev/null -w '%{http_code}' http://localhost:10256/healthz"}
              - {id: else, in: pod/client, run: "curl -sS -i http://192.168.50.11:10256/metrics"}
            """, manifests: Self.client)
        let own = try result.step("own").stdout.replacing("\r\n", with: "\n")
        #expect(own.hasPrefix("HTTP/1.1 200 OK\nContent-Type: application/json\nX-Content-Type-Options: nosniff\nDate: Mon, 01 Jan 2024 00:00:01 GMT\nContent-Length: "), "\(own)")
        // Go's time.String(), in which a fraction has no zeros at its end, and the monotonic clock has them.
        let time = #"2024-01-01 00:00:01\.2\d* \+0000 UTC m=\+1\.2\d{8}"#
        #expect(own.range(of: "\n\n\\{\"lastUpdated\": \"\(time)\",\"currentTime\": \"\(time)\", \"nodeEligible\": true\\}$", options: .regularExpression) != nil, "\(own)")
        #expect(try result.step("other").stdout.hasSuffix("\"nodeEligible\": true} 200"))
        let live = try result.step("live").stdout
        #expect(live.hasPrefix("HTTP/1.1 200 OK") && live.hasSuffix("\"}") && live.contains("\"currentTime\"") && !live.contains("nodeEligible"), "\(live)")
        #expect(try result.step("local").stdout == "200")
        let missing = try result.step("else").stdout
        #expect(missing.hasPrefix("HTTP/1.1 404 Not Found") && missing.hasSuffix("404 page not found\n"), "\(missing)")
    }

    @Test("A node that the autoscaler takes away is not eligible, and alive; the taint's end is followed")
    func leaving() throws {
        let result = try folder.run(
            """
              cluster: {nodes: 2, dns: false}
              steps:
              - {id: mark, at: 2s, taint: {node/node2: {ToBeDeletedByClusterAutoscaler: "1700000000:NoSchedule"}}}
              - {id: other, taint: {node/node1: {dedicated: "gpu:NoSchedule"}}}
              - {id: leaving, in: pod/client, run: "curl -sS -w ' %{http_code}' http://192.168.50.12:10256/healthz"}
              - {id: alive, in: pod/client, run: "curl -sS -w ' %{http_code}' http://192.168.50.12:10256/livez"}
              - {id: stays, in: pod/client, run: "curl -sS -w ' %{http_code}' http://192.168.50.11:10256/healthz"}
              - {id: again, taint: {node/node2: {ToBeDeletedByClusterAutoscaler: "NoSchedule"}}}
              - {id: unmark, taint: {node/node2: {ToBeDeletedByClusterAutoscaler: null}}}
              - {id: back, in: pod/client, run: "curl -sS -o /dev/null -w '%{http_code}' http://192.168.50.12:10256/healthz"}
              - {id: none, taint: {node/node2: {ToBeDeletedByClusterAutoscaler: null}}}
            """, manifests: Self.client)
        #expect(try result.step("mark").command == "kubectl taint node node2 ToBeDeletedByClusterAutoscaler=1700000000:NoSchedule")
        #expect(try result.step("mark").stdout == "node/node2 tainted\n")
        // The rules were last written after the pods had become ready, long before 2 s.
        let leaving = try result.step("leaving").stdout
        #expect(leaving.hasPrefix("{\"lastUpdated\": \"2024-01-01 00:00:00.") && leaving.hasSuffix("\"nodeEligible\": false} 503"), "\(leaving)")
        #expect(try result.step("alive").stdout.hasSuffix("\"} 200"))
        #expect(try result.step("stays").stdout.hasSuffix("\"nodeEligible\": true} 200"))
        #expect(try result.step("again").exit == 1 && result.step("again").stderr.contains("already has ToBeDeletedByClusterAutoscaler taint(s) with same effect(s)"))
        #expect(try result.step("unmark").stdout == "node/node2 untainted\n")
        #expect(try result.step("back").stdout == "200")
        #expect(try result.step("none").exit == 1 && result.step("none").stderr.contains("taint \"ToBeDeletedByClusterAutoscaler\" not found"))
    }

    @Test("A node may be leaving from the start: by its taint, or because it is being deleted", arguments: ["spec: {taints: [{key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule}]}", "spec: {}"])
    func fromTheStart(spec: String) throws {
        let deletion = spec == "spec: {}" ? ", deletionTimestamp: '2024-01-01T00:00:00Z'" : ""
        let node = "---\n{apiVersion: v1, kind: Node, metadata: {name: node2\(deletion)}, \(spec)}\n"
        let result = try folder.run(
            """
              cluster: {nodes: 2, dns: false}
              steps:
              - {id: ask, in: pod/client, run: "for n in 11 12; do curl -sS -o /dev/null -w '%{http_code} ' http://192.168.50.$n:10256/healthz; done"}
            """, manifests: Self.client + node)
        #expect(try result.step("ask").stdout == "200 503 ")
    }

    @Test("A kube-proxy that has not followed for a minute is ill, and says when it last did; so do the servers of load balancers")
    func late() throws {
        let result = try folder.run(
            """
              cluster: {nodes: 2, dns: false, kubeProxyDelay: 90s}
              steps:
              - {id: change, at: 1s, label: {pod/client: {app: shell}}}
              - {id: early, at: 59s, in: pod/client, run: "curl -sS -o /dev/null -w '%{http_code}' http://192.168.50.12:10256/healthz"}
              - {id: late, at: 62s, in: pod/client, run: "curl -sS -w ' %{http_code}' http://192.168.50.12:10256/livez"}
              - {id: balancer, in: pod/client, run: "curl -sS -w ' %{http_code}' http://192.168.50.12:32000/"}
              - {id: done, at: 95s, in: pod/client, run: "curl -sS -w ' %{http_code}' http://192.168.50.12:32000/"}
            """, manifests: Self.client)
        #expect(try result.step("early").stdout == "200")
        let late = try result.step("late").stdout
        #expect(late.hasPrefix("{\"lastUpdated\": \"2024-01-01 00:00:00.2 +0000 UTC m=+0.200000000\"") && late.hasSuffix(" 503"), "\(late)")
        #expect(try result.step("balancer").stdout.hasSuffix("\"serviceProxyHealthy\": false\n} 503"))
        #expect(try result.step("done").stdout.hasSuffix("\"localEndpoints\": 1,\n\t\"serviceProxyHealthy\": true\n} 200"))
    }

    @Test(
        "What is no taint is refused",
        arguments: [
            ("{node/node1: {a: 'b:NoExecute'}}", "evicts pods"), ("{node/node1: {a: b}}", "is no taint"), ("{node/node1: {a: 'b:c:NoSchedule'}}", "is no taint"),
            ("{pod/client: {a: 'b:NoSchedule'}}", "does not taint one node"), ("{node/node1: {a: 'NoSchedule', b: 'NoSchedule'}}", "does not taint one node"),
            ("{node/node1: {}}", "changes no taint"),
        ])
    func refusals(taint: String, words: String) throws {
        let path = folder.write("r.yaml", scenarioText("  steps:\n  - {taint: \(taint)}\n") + "---\n" + Self.client)
        let error = #expect(throws: Failure.self) { _ = try ScenarioRunner(ScenarioFile.load(path), options: RunOptions(), hooks: .quiet) }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }
}
