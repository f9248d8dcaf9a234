import HairpinEngine
import HairpinWire
import Testing

@testable import HairpinScenario

/// What people see of kube-proxy on a node, and what applications notice.
@Suite("Proxy modes")
struct ProxyModeTests {
    @Test("A page through a Service in every mode", arguments: [ProxyMode.iptables, .nftables, .ipvs])
    func page(mode: ProxyMode) throws {
        let cluster = try Cluster(Manifest.threeServers) { $0.proxyMode = .init(rawValue: mode.rawValue)! }
        let outcome = try cluster.run("curl -sS -o /dev/null -w '%{http_code}' http://\(try cluster.serviceAddress("web"))/", in: "shell")
        #expect(outcome.exit == 0 && outcome.output.hasPrefix("200"), "\(outcome)")
    }

    @Test("iptables-save, nft and ipvsadm on the node show the mode's own rules")
    func listings() throws {
        let iptables = try Cluster(Manifest.threeServers)
        let saved = try iptables.run("iptables-save", in: "node1").output
        #expect(saved.contains("-j KUBE-SVC-") && saved.contains("-A KUBE-SEP-") && saved.contains(":KUBE-SERVICES - [0:0]"))
        #expect(saved.contains("-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8"))
        #expect(try iptables.run("iptables -t nat -S KUBE-SERVICES", in: "node1").output.contains("cluster IP"))
        // Each chain is declared once, and chains stand together.
        let declared = saved.split(separator: "\n").filter { $0.hasPrefix(":KUBE-SVC") }
        #expect(Set(declared).count == declared.count)

        let nftables = try Cluster(Manifest.threeServers) { $0.proxyMode = .nftables }
        let ruleset = try nftables.run("nft list ruleset", in: "node1").output
        let virtual = try nftables.serviceAddress("web")
        #expect(ruleset.hasPrefix("table ip kube-proxy {") && ruleset.contains("\(virtual) . tcp . 80 : goto service-"))
        #expect(!(try nftables.run("iptables-save", in: "node1").output.contains("KUBE-")))

        let ipvs = try Cluster(Manifest.threeServers) { $0.proxyMode = .ipvs }
        let listing = try ipvs.run("ipvsadm -Ln", in: "node1").output
        let (address, server) = (try ipvs.serviceAddress("web"), try ipvs.address("web-1"))
        #expect(listing.contains("TCP  \(address):80 rr") && listing.contains("  -> \(server):80"))
        #expect(try ipvs.run("iptables-save -t nat", in: "node1").output.contains("--match-set KUBE-CLUSTER-IP dst,dst"))
    }

    @Test("A person's rule in one of kube-proxy's chains is obeyed, and the chain's other rules still are")
    func ownRules() throws {
        let cluster = try Cluster(Manifest.threeServers)
        let address = try cluster.serviceAddress("web")
        func code() throws -> Int32? { try cluster.run("curl -sS -m 3 -o /dev/null http://\(address)/", in: "shell").exit }
        #expect(try code() == 0)
        #expect(try cluster.run("iptables -t filter -A KUBE-FORWARD -p tcp --dport 80 -j DROP", in: "node1").exit == 0)
        #expect(try code() == 28)
        #expect(try cluster.run("iptables -t filter -D KUBE-FORWARD -p tcp --dport 80 -j DROP", in: "node1").exit == 0)
        #expect(try code() == 0)
        #expect(try cluster.run("iptables -t nat -F KUBE-SERVICES", in: "node1").exit == 0)
        #expect(try code() != 0, "nothing translates any more")
    }

    @Test("A client of a Service with affinity keeps its endpoint until it has been away", arguments: [ProxyMode.iptables, .nftables, .ipvs])
    func affinity(mode: ProxyMode) throws {
        let servers = ["a", "b", "c", "d"].map { name in
            "---\n{apiVersion: v1, kind: Pod, metadata: {name: \(name), labels: {app: web}}, spec: {containers: [{name: c, image: nginx}]}}\n"
        }.joined()
        let service =
            "---\n{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}], sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 20}}}}\n"
        let cluster = try Cluster(servers + service + Manifest.shell()) { $0.proxyMode = .init(rawValue: mode.rawValue)! }
        let address = try cluster.serviceAddress("web")
        func endpoint() throws -> String {
            _ = try cluster.run("curl -sS -o /dev/null http://\(address)/", in: "shell")
            let line = try #require(cluster.simulation.connections(of: "node1").last { $0.contains("dst=\(address)") })
            return String(try #require(line.split(separator: " ").filter { $0.hasPrefix("src=") }.last))
        }
        var seen: Set<String> = []
        for _ in 0..<12 {
            let first = try endpoint()
            for _ in 0..<3 { #expect(try endpoint() == first) }
            seen.insert(first)
            cluster.advance(.seconds(400))
        }
        #expect(seen.count > 1, "\(mode): after the timeout it is anybody's turn")
    }
}
