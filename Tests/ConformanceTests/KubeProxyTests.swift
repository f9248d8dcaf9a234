import Foundation
import HairpinConformance
import HairpinProxy
import Testing

@Suite("kube-proxy's cases")
struct KubeProxyTests {
    /// Own cases in the form of the reference file.
    private static let cases = """
        {"schema": "hairpin-kubeproxy-flows/1",
         "conventions": {"node": "n1", "nodeIPs": ["192.168.0.2", "2001:db8::1"], "podCIDR (ClusterCIDR)": ["10.0.0.0/8", "fd00:10::/64"], "serviceCIDR": ["172.30.0.0/16"]},
         "groups": [{"id": "own", "modes": ["iptables", "nftables"],
           "services": [
             {"namespace": "ns", "name": "web", "type": "NodePort", "clusterIP": "172.30.0.1", "ports": [{"name": "p", "port": 80, "protocol": "TCP", "nodePort": 30080}]},
             {"namespace": "ns", "name": "dns", "type": "ClusterIP", "clusterIP": "172.30.0.2", "ports": [{"port": 53, "protocol": "UDP"}], "sessionAffinity": {"clientIP": {"timeoutSeconds": 60}}},
             {"namespace": "ns", "name": "sig", "type": "ClusterIP", "clusterIP": "172.30.0.3", "ports": [{"port": 9, "protocol": "SCTP"}]},
             {"namespace": "ns", "name": "six", "type": "ClusterIP", "clusterIP": "fd00:96::1", "ports": [{"port": 80}]}],
           "endpointSlices": [
             {"namespace": "ns", "service": "web", "addressType": "IPv4", "ports": [{"name": "p", "port": 8080}], "endpoints": [{"ip": "10.1.0.1", "node": "n1"}, {"ip": "10.1.0.2", "node": null}, {"ip": "192.168.0.77", "node": null}]},
             {"namespace": "ns", "service": "dns", "addressType": "IPv4", "ports": [{"port": 5353, "protocol": "UDP"}], "endpoints": [{"ip": "10.1.0.1", "node": "n1"}, {"ip": "10.1.0.2"}]},
             {"namespace": "ns", "service": "sig", "addressType": "IPv4", "ports": [{"port": 9, "protocol": "SCTP"}], "endpoints": [{"ip": "10.1.0.1"}]},
             {"namespace": "ns", "service": "six", "addressType": "IPv6", "ports": [{"port": 80}], "endpoints": [{"ip": "fd00:10::9"}]}],
           "steps": [
             {"flows": [
               {"name": "three", "src": "10.0.0.2", "proto": "TCP", "dst": "172.30.0.1", "port": 80, "to": ["10.1.0.1:8080", "10.1.0.2:8080", "192.168.0.77:8080"], "masq": false},
               {"name": "node port", "src": "203.0.113.2", "proto": "TCP", "dst": "192.168.0.2", "port": 30080, "to": ["10.1.0.1:8080", "10.1.0.2:8080", "192.168.0.77:8080"], "masq": true},
               {"name": "affinity", "src": "10.0.0.2", "proto": "UDP", "dst": "172.30.0.2", "port": 53, "to": ["10.1.0.1:5353", "10.1.0.2:5353"], "masq": false},
               {"name": "sctp", "src": "203.0.113.2", "proto": "SCTP", "dst": "172.30.0.3", "port": 9, "to": ["10.1.0.1:9"], "masq": true},
               {"name": "six", "src": "fd00:10::2", "proto": "TCP", "dst": "fd00:96::1", "port": 80, "to": ["[fd00:10::9]:80"], "masq": false},
               {"name": "another port", "src": "10.0.0.2", "proto": "TCP", "dst": "172.30.0.1", "port": 81, "byMode": {"iptables": {"verdict": "NONE"}, "nftables": {"verdict": "REJECT"}}, "masq": false},
               {"name": "wrong on purpose", "src": "10.0.0.2", "proto": "TCP", "dst": "172.30.0.1", "port": 80, "to": ["10.1.0.1:8080"], "masq": true, "onlyModes": ["iptables"]},
               {"name": "not understood", "src": "10.0.0.2", "proto": "TCP", "dst": "172.30.0.1", "port": 80, "vlan": 7, "verdict": "NONE", "onlyModes": ["iptables"]}]},
             {"action": {"deleteService": "ns/web"}, "flows": [
               {"name": "gone", "src": "10.0.0.2", "proto": "TCP", "dst": "172.30.0.1", "port": 80, "byMode": {"iptables": {"verdict": "NONE"}, "nftables": {"verdict": "DROP"}}}]},
             {"action": {"paintService": "ns/web"}, "flows": [{"name": "never", "src": "10.0.0.2", "dst": "172.30.0.1", "port": 80, "verdict": "NONE"}]}]}],
         "topology": {"cases": [
           {"name": "zone", "nodeZone": "a", "service": {}, "endpoints": [{"ep": "10.1.0.1:80", "ready": true, "zoneHints": ["a"]}, {"ep": "10.1.0.2:80", "ready": true, "zoneHints": ["b"]}], "cluster": ["10.1.0.1:80"], "local": null, "all": ["10.1.0.1:80"]},
           {"name": "wrong on purpose", "service": {"iTP": "Local"}, "endpoints": [{"ep": "10.1.0.1:80"}], "cluster": null, "local": ["10.1.0.1:80"], "all": ["10.1.0.1:80"]}]}}
        """

    private func run(_ text: String, filter: @escaping @Sendable (String) -> Bool = { _ in true }) throws -> [KubeProxyRunner.Case] {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("hairpin-flows-\(UUID().uuidString).json")
        try Data(text.utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        var runner = KubeProxyRunner()
        runner.isWanted = filter
        var cases: [KubeProxyRunner.Case] = []
        try runner.run(file.path) { cases.append($0) }
        return cases
    }

    @Test("Every flow in every mode, by frames; what is wrong fails and what is unknown is unsupported")
    func outcomes() throws {
        let cases = try run(KubeProxyTests.cases)
        let failed = cases.filter { $0.status == .failed }
        #expect(failed.map(\.id) == ["own/1/wrong on purpose [iptables]", "topology/wrong on purpose"], "\(failed)")
        #expect(failed.first?.expected == "10.1.0.1:8080 masqueraded" && failed.first?.actual == "10.1.0.1:8080, 10.1.0.2:8080, 192.168.0.77:8080")
        let unsupported = cases.filter { $0.status == .unsupported }
        #expect(unsupported.map(\.id) == ["own/1/not understood [iptables]", "own/3/never [iptables]", "own/3/never [nftables]"])
        #expect(unsupported.first?.actual.contains("vlan") == true && unsupported.last?.actual.contains("paintService") == true)
        let notes = cases.filter { $0.note != nil }.map(\.id)
        #expect(notes == ["own/1/six [iptables]", "own/1/six [nftables]", "topology/zone", "topology/wrong on purpose"])
        #expect(cases.count { $0.status == .passed } == 15)
    }

    @Test("A filter leaves the others out")
    func filter() throws {
        let cases = try run(KubeProxyTests.cases) { $0.contains("/sctp") }
        #expect(cases.map(\.id) == ["own/1/sctp [iptables]", "own/1/sctp [nftables]"])
    }

    @Test("What is no file of cases is refused", arguments: ["[]", "{", "{\"schema\": \"other/1\"}"])
    func refused(text: String) { #expect(throws: ComparisonError.self) { try run(text) } }
}
