import Foundation
import HairpinEngine
import Testing

@testable import HairpinScenario

/// kube-proxy's graceful termination in IPVS mode, as ipvsadm and a client see it.
@Suite("Graceful termination of IPVS")
struct GracefulTerminationTests {
    let folder = TemporaryFolder()

    private static let objects = """
        {apiVersion: v1, kind: Pod, metadata: {name: first, labels: {app: echo}}, spec: {containers: [{name: c, image: "registry.k8s.io/e2e-test-images/agnhost:2.53", args: [netexec]}]}}
        ---
        {apiVersion: v1, kind: Pod, metadata: {name: second, labels: {app: echo}}, spec: {containers: [{name: c, image: "registry.k8s.io/e2e-test-images/agnhost:2.53", args: [netexec]}]}}
        ---
        {apiVersion: v1, kind: Pod, metadata: {name: client}, spec: {containers: [{name: c, image: alpine, command: [sleep, infinity]}]}}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: echo}
        spec: {clusterIP: 10.96.0.30, selector: {app: echo}, ports: [{name: http, port: 80, targetPort: 8080}, {name: udp, port: 8081, protocol: UDP, targetPort: 8081}]}

        """

    private func run(_ steps: String) throws -> RunResult {
        let spec = """
              cluster: {dns: false, proxyMode: ipvs, cni: flannel-host-gw}
              steps:
            \(steps)
            """
        return try ScenarioRunner(ScenarioFile.load(folder.write("t.yaml", scenarioText(spec) + "---\n" + Self.objects)), options: RunOptions(), hooks: .quiet).run()
    }

    private func servers(_ result: RunResult, _ id: String, _ proto: String = "TCP  10.96.0.30:80 ") throws -> [String] {
        let step = try #require(result.steps.first { $0.id == id })
        let lines = step.stdout.split(separator: "\n").map(String.init)
        let from = try #require(lines.firstIndex { $0.hasPrefix(proto) }, "\(step)")
        return lines[(from + 1)...].prefix { $0.hasPrefix("  ->") }.map { $0.split(separator: " ").dropFirst().joined(separator: " ") }
    }

    @Test("An open connection goes on to the pod that has left, weight 0, and new ones do not; when it has ended, kube-proxy's next look takes the server out")
    func leaves() throws {
        // Two requests over one connection, twenty seconds apart; the pod leaves the Service in between. (Round robin: the server added last is the first to be chosen, here the second pod's.)
        let result = try run(
            """
              - id: talk
                at: 1s
                in: pod/client
                run: "(printf 'GET /hostname HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n'; sleep 20; printf 'GET /hostname HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n'; sleep 1) | nc 10.96.0.30 80"
              - {id: before, at: 3s, in: node/node1, run: ipvsadm -Ln}
              - {id: leave, at: 5s, label: {pod/second: {app: gone}}}
              - {id: during, at: 10s, in: node/node1, run: ipvsadm -Ln}
              - {id: others, at: 11s, in: pod/client, run: "for i in 1 2 3; do curl -sS http://10.96.0.30/hostname; echo; done"}
              - {id: after, at: 65s, in: node/node1, run: ipvsadm -Ln}
              - {id: end, at: 185s, in: node/node1, run: ipvsadm -Ln}
            """)
        #expect(try servers(result, "before") == ["10.244.0.2:8080 Masq 1 0 0", "10.244.0.3:8080 Masq 1 1 0"])
        let during = try servers(result, "during")
        #expect(during == ["10.244.0.2:8080 Masq 1 0 0", "10.244.0.3:8080 Masq 0 1 0"])
        let talk = try #require(result.steps.first { $0.id == "talk" })
        #expect(talk.stdout.components(separatedBy: "second").count == 3 && !talk.stdout.contains("first"), "\(talk.stdout)")
        #expect(result.steps.first { $0.id == "others" }?.stdout == "first\nfirst\nfirst\n")
        // Its entry is in FIN_WAIT or TIME_WAIT for two minutes more: kube-proxy's look at 60 s leaves it, that of 180 s does not.
        let after = try servers(result, "after")
        #expect(after.contains { $0.hasPrefix("10.244.0.3:8080 Masq 0 0 1") }, "\(after)")
        let end = try servers(result, "end")
        #expect(end.map { $0.prefix(15) } == ["10.244.0.2:8080"], "\(end)")
    }

    @Test("A server of UDP goes at once; one without connections as well, and what is set of net.ipv4.vs can be read")
    func atOnce() throws {
        let result = try run(
            """
              - {id: talk, at: 1s, in: pod/client, run: "(echo hostname; sleep 2) | timeout 9 nc -u -p 5555 10.96.0.30 8081"}
              - {id: leave, at: 2s, label: {pod/second: {app: gone}}}
              - {id: during, at: 4s, in: node/node1, run: ipvsadm -Ln}
              - {id: set, at: 4s, in: node/node1, run: "sysctl net.ipv4.vs.expire_nodest_conn net.ipv4.vs.conn_reuse_mode net.ipv4.vs.expire_quiescent_template"}
            """)
        #expect(try servers(result, "during") == ["10.244.0.2:8080 Masq 1 0 0"])
        #expect(try servers(result, "during", "UDP  10.96.0.30:8081 ") == ["10.244.0.2:8081 Masq 1 0 0"])
        let set = result.steps.first { $0.id == "set" }?.stdout
        #expect(set == "net.ipv4.vs.expire_nodest_conn = 1\nnet.ipv4.vs.conn_reuse_mode = 1\nnet.ipv4.vs.expire_quiescent_template = 1\n", "\(set ?? "")")
    }

    @Test("kube-proxy's scheduler is the cluster's; a node lists connections, figures and rates")
    func scheduler() throws {
        let manifests = """
            ---
            apiVersion: apps/v1
            kind: Deployment
            metadata: {name: web}
            spec: {replicas: 3, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: agnhost, args: [netexec]}]}}}
            ---
            {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: 10.96.0.20, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}
            ---
            {apiVersion: v1, kind: Pod, metadata: {name: client}, spec: {containers: [{name: c, image: alpine, command: [sleep, infinity]}]}}

            """
        let steps = """
              - {id: ask, in: pod/client, run: 'for i in 1 2 3; do curl -sS http://10.96.0.20/hostname; echo; done'}
              - {id: now, in: node/node1, run: 'ipvsadm -Lnc; ipvsadm -Ln | grep 10.96.0.20'}
              - {id: later, after: {step: now, delay: 3s}, in: node/node1, run: 'ipvsadm -Ln --stats; ipvsadm -L -n --rate'}
              - {id: wrong, in: node/node1, run: 'ipvsadm -Lnc --stats'}
            """
        for (name, different) in [("sh", 1), ("fo", 1), ("lc", 3), ("mh", nil)] as [(String, Int?)] {
            let (result, text) = try folder.run(manifests, cluster: "dns: false, proxyMode: ipvs, ipvsScheduler: \(name)", steps)
            let names = Set(try result.step("ask").stdout.split(separator: "\n"))
            if let different { #expect(names.count == different, "\(text)") }
            let now = try result.step("now").stdout
            #expect(now.hasPrefix("IPVS connection entries\npro expire state       source             virtual            destination\nTCP 01:59  "), "\(now)")
            #expect(now.contains("TCP  10.96.0.20:80 \(name)\(name == "mh" ? " (mh-port)" : "")\n"), "\(now)")
            let later = try result.step("later").stdout
            #expect(later.contains("TCP  10.96.0.20:80                       3 ") && later.contains("InPPS"), "\(later)")
            #expect(try result.step("wrong").exit == 2 && result.step("wrong").stderr == "options conflicts in the list command\n")
        }
        let file = folder.write("w.yaml", scenarioText("  cluster: {ipvsScheduler: sh}\n") + manifests)
        let error = #expect(throws: Failure.self) { try ScenarioFile.load(file) }
        #expect(error?.description.contains("Add \"proxyMode: ipvs\"") == true)
    }
}
