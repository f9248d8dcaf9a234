import Foundation
import Testing

@testable import HairpinConformance

/// Small bodies of cases of our own: two namespaces, three pods, two of which share a node.
@Suite("NetworkPolicy cases")
struct PolicyCaseTests {
    /// `cases` is the body of a JSON list.
    private func run(_ cases: String, proxyMode: String = "iptables") throws -> [PolicyRunner.Case] {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("hairpin-netpol-\(UUID().uuidString).json")
        defer { try? FileManager.default.removeItem(at: file) }
        try """
        {"model": {"namespaces": {"x": {}, "y": {}}, "pods": {
          "x/a": {"labels": {"pod": "a"}, "ip": "10.244.1.11"}, "x/b": {"labels": {"pod": "b"}, "ip": "10.244.1.12"}, "y/a": {"labels": {"pod": "a"}, "ip": "10.244.2.11"}}},
         "order": ["x/a", "x/b", "y/a"], "ignoreLoopback": true, "cases": [\(cases)]}
        """.write(to: file, atomically: true, encoding: .utf8)
        var runner = PolicyRunner()
        runner.proxyMode = proxyMode == "ipvs" ? .ipvs : .iptables
        return try runner.cases(at: file.path).map { $0.run() }
    }

    /// One case; `steps` are (actions, matrix).
    private func text(_ id: String, _ proto: String, port: Int = 80, steps: [(actions: String, matrix: String)]) -> String {
        let steps = steps.map { step in
            let rows = step.matrix.split(separator: " ").map { "\"\($0)\"" }.joined(separator: ", ")
            return "{\"actions\": [\(step.actions)], \"probe\": {\"port\": \(port), \"protocol\": \"\(proto)\"}, \"matrix\": [\(rows)]}"
        }
        return "{\"id\": \"\(id)\", \"serverPorts\": [80, 81], \"serverProtocols\": [\"\(proto)\"], \"steps\": [\(steps.joined(separator: ", "))]}"
    }
    private func create(_ spec: String, _ op: String = "create") -> String {
        "{\"op\": \"\(op)\", \"policy\": {\"name\": \"p\", \"namespace\": \"x\", \"spec\": \(spec)}}"
    }

    @Test("A policy that comes, changes and goes, on every protocol and in both modes of kube-proxy", arguments: ["TCP", "UDP", "SCTP"], ["iptables", "ipvs"])
    func life(proto: String, mode: String) throws {
        let results = try run(
            text(
                "life", proto,
                steps: [
                    ("", "... ... ..."),
                    (create(#"{"podSelector": {"matchLabels": {"pod": "a"}}}"#), "... X.. X.."),
                    (create(#"{"podSelector": {}, "policyTypes": ["Egress"]}"#, "update"), ".XX X.X ..."),
                    (
                        create(
                            #"{"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": {"cidr": "10.244.0.0/16", "except": ["10.244.1.12/32"]}}], "ports": [{"port": 79, "endPort": 80, "protocol": "\#(proto)"}]}]}"#,
                            "update"), ".X. ... ..."
                    ),
                    (#"{"op": "delete", "policy": {"name": "p", "namespace": "x"}}"#, "... ... ..."),
                ]), proxyMode: mode)
        #expect(results.map(\.status) == [.passed], "\(results.map(\.reason))")
        #expect(results[0].frames > 100)
        #expect(results[0].isBalanced)
    }

    @Test("Named ports and labels of pods and namespaces that change")
    func labels() throws {
        let fromTeam = #"{"podSelector": {"matchLabels": {"pod": "a"}}, "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "red"}}}], "ports": [{"port": "serve-80-tcp"}]}]}"#
        let results = try run(
            text(
                "labels", "TCP",
                steps: [
                    (create(fromTeam), "... X.. X.."),
                    (#"{"op": "labelNamespace", "namespace": "y", "labels": {"team": "red"}}"#, "... X.. ..."),
                    (#"{"op": "labelPod", "pod": "x/a", "labels": {"pod": null, "was": "a"}}"#, "... X.. ..."),
                ]) + "," + text("port", "TCP", port: 81, steps: [(create(#"{"podSelector": {}, "ingress": [{"ports": [{"port": "serve-80-tcp"}]}]}"#), ".X. X.. XX.")]))
        // A pod that loses the label its Service selects is no longer behind it: the case as written is wrong from there on.
        #expect(results.map(\.status) == [.failed, .passed], "\(results.map(\.reason))")
        #expect(results[0].reason.hasPrefix("step 3, TCP 80: x/b reaches x/a"), "\(results[0].reason)")
    }

    @Test("A wrong matrix fails with both matrices; what is not understood is unsupported")
    func verdicts() throws {
        let results = try run(
            [
                text("wrong", "TCP", steps: [(create(#"{"podSelector": {}}"#), "... X.. XX.")]),
                text("odd", "TCP", steps: [(#"{"op": "teleport", "pod": "x/a"}"#, "... ... ...")]),
                text("bad", "TCP", steps: [(create(#"{"podSelector": {}, "policyTypes": ["Sideways"]}"#), "... ... ...")]),
            ].joined(separator: ","))
        #expect(results.map(\.status) == [.failed, .unsupported, .failed])
        #expect(results[0].reason == "step 1, TCP 80: x/a does not reach x/b")
        #expect(results[0].expected == "... X.. XX.")
        #expect(results[0].actual.dropFirst().first == "X")
        #expect(results[1].reason.contains("teleport"))
        #expect(results[2].reason.contains("Unsupported value: \"Sideways\""))
    }
}
