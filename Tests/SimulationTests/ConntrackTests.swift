import HairpinEngine
import Testing

@testable import HairpinScenario

@Suite("conntrack on a node, and what kube-proxy does with it")
struct ConntrackTests {
    let folder = TemporaryFolder()

    /// Two servers that tell their names over UDP and HTTP; the first is in the Service echo.
    private static let echo = """
        {apiVersion: v1, kind: Pod, metadata: {name: first, labels: {app: echo}}, spec: {containers: [{name: c, image: agnhost, args: [netexec]}]}}
        ---
        {apiVersion: v1, kind: Pod, metadata: {name: second, labels: {app: other}}, spec: {containers: [{name: c, image: agnhost, args: [netexec]}]}}
        ---
        {apiVersion: v1, kind: Pod, metadata: {name: client}, spec: {containers: [{name: c, image: "debian:12", command: [sleep, infinity]}]}}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: echo}
        spec: {clusterIP: 10.96.0.30, selector: {app: echo}, ports: [{name: udp, port: 8081, protocol: UDP}, {name: http, port: 80, targetPort: 8080}]}

        """

    // MARK: conntrack(8)

    @Test("-L lists and filters, -C counts, -D deletes and tells what, with conntrack-tools' words and exit statuses")
    func commands() throws {
        let result = try folder.run(
            """
              cluster: {dns: false}
              steps:
              - {id: page, in: pod/client, run: curl -sS http://10.96.0.30/hostname}
              - {id: say, in: pod/client, run: "echo hostname | timeout 1 nc -u -p 5555 10.96.0.30 8081"}
              - {id: all, in: node/node1, run: conntrack -L}
              - {id: udp, in: node/node1, run: conntrack -L -p udp -d 10.96.0.30 --dport 8081 -o extended}
              - {id: state, in: node/node1, run: conntrack -L -p tcp --state TIME_WAIT -g}
              - {id: none, in: node/node1, run: conntrack -L -s 10.99.0.0/16}
              - {id: count, in: node/node1, run: "conntrack -C; sysctl -n net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max"}
              - {id: delete, in: node/node1, run: conntrack -D -p udp --orig-dst 10.96.0.30}
              - {id: again, in: node/node1, run: conntrack -D -p udp --orig-dst 10.96.0.30}
              - {id: left, in: node/node1, run: conntrack -C}
              - {id: flush, in: node/node1, run: "conntrack -F; conntrack -C"}
              - {id: wrong, in: node/node1, run: conntrack -L --colour}
              - {id: nothing, in: node/node1, run: conntrack}
              - {id: stats, in: node/node1, run: conntrack -S}
            """, manifests: Self.echo)
        let (client, server) = ("10.244.0.4", "10.244.0.2")
        #expect(try result.step("page").stdout == "first")
        let all = try result.step("all")
        #expect(all.stderr == "conntrack v1.4.7 (conntrack-tools): 2 flow entries have been shown.\n")
        #expect(all.stdout.contains("tcp      6 "), "\(all.stdout)")
        let udp = try result.step("udp").stdout
        #expect(
            udp.hasPrefix("ipv4     2 udp      17 ")
                && udp.hasSuffix("src=\(client) dst=10.96.0.30 sport=5555 dport=8081 src=\(server) dst=\(client) sport=8081 dport=5555 mark=0 use=1\n"), "\(udp)")
        let state = try result.step("state").stdout
        #expect(state.contains(" TIME_WAIT src=\(client) dst=10.96.0.30 ") && state.contains("sport=8080 dport="), "\(state)")
        #expect(state.hasSuffix("[ASSURED] mark=0 use=1\n"), "\(state)")
        #expect(try result.step("none").stderr == "conntrack v1.4.7 (conntrack-tools): 0 flow entries have been shown.\n" && result.step("none").exit == 0)
        #expect(try result.step("count").stdout == "2\n2\n262144\n")
        let delete = try result.step("delete")
        #expect(delete.exit == 0 && delete.stdout.contains("sport=5555") && delete.stderr == "conntrack v1.4.7 (conntrack-tools): 1 flow entries have been deleted.\n")
        let again = try result.step("again")
        #expect(again.exit == 1 && again.stdout.isEmpty && again.stderr == "conntrack v1.4.7 (conntrack-tools): 0 flow entries have been deleted.\n")
        #expect(try result.step("left").stdout == "1\n")
        #expect(try result.step("flush").stdout == "0\n")
        #expect(try result.step("wrong").exit == 2 && result.step("wrong").stderr.contains("unknown option `--colour'"))
        #expect(try result.step("nothing").exit == 2)
        #expect(try result.step("stats").stdout.hasPrefix("cpu=0   \tfound=0 invalid=0 insert=0 insert_failed=0 drop=0 early_drop=0 "))
    }

    @Test("-E tells what happens while it watches: a TCP connection's states, a datagram's entry and its end")
    func events() throws {
        let result = try folder.run(
            """
              cluster: {dns: false}
              steps:
              - {id: watch, at: 1s, timeout: 60s, in: node/node1, run: timeout 45 conntrack -E -o timestamp}
              - {id: new, at: 1s, timeout: 60s, in: node/node1, run: timeout 5 conntrack -E -p tcp -e NEW}
              - {id: page, at: 2s, in: pod/client, run: curl -sS http://10.96.0.30/hostname}
              - {id: say, at: 3s, in: pod/client, run: "echo hostname | timeout 1 nc -u -p 5555 10.96.0.30 8081"}
              - {id: stop, at: 47s, in: node/node1, run: 'true'}
            """, manifests: Self.echo)
        let lines = try result.step("watch").stdout.split(separator: "\n").map(String.init)
        let tcp = lines.filter { $0.contains(" tcp ") }.map { $0.split(separator: "\t")[1].split(separator: " ").prefix(5).joined(separator: " ") }
        #expect(
            tcp == [
                "[NEW] tcp 6 120 SYN_SENT", "[UPDATE] tcp 6 60 SYN_RECV", "[UPDATE] tcp 6 86400 ESTABLISHED", "[UPDATE] tcp 6 120 FIN_WAIT", "[UPDATE] tcp 6 30 LAST_ACK",
                "[UPDATE] tcp 6 120 TIME_WAIT",
            ], "\(tcp)")
        let udp = lines.filter { $0.contains(" udp ") }
        #expect(udp.map { $0.contains("[NEW]") ? "NEW" : $0.contains("[UPDATE]") ? "UPDATE" : "DESTROY" } == ["NEW", "UPDATE", "DESTROY"], "\(udp)")
        #expect(udp[0].contains("    [NEW] udp      17 30 src=") && udp[0].contains("dport=8081 [UNREPLIED] src="), "\(udp[0])")
        #expect(udp[2].contains("[DESTROY] udp      17 src=") && !udp[2].contains("UNREPLIED"), "\(udp[2])")
        // It ends thirty seconds after its last packet, whoever looks.
        let times = udp.compactMap { Double($0.dropFirst().prefix { $0 != "]" }) }
        #expect(times.count == 3 && abs(times[2] - times[1] - 30) < 0.01, "\(times)")
        #expect(times[0] > 1_704_067_203 && times[0] < 1_704_067_204)
        #expect(try result.step("new").stdout.split(separator: "\n").count == 1)
    }

    // MARK: kube-proxy's clean-up

    @Test("A client that keeps its UDP port moves to the new endpoint when the old one goes", arguments: ["iptables", "nftables", "ipvs"], [1, 2])
    func moves(mode: String, nodes: Int) throws {
        let result = try folder.run(
            """
              cluster: {nodes: \(nodes), proxyMode: \(mode), dns: false}
              steps:
              - id: talk
                at: 1s
                in: pod/client
                run: "(echo hostname; sleep 1; echo hostname; sleep 4; echo hostname; sleep 1) | timeout 9 nc -u -p 5555 10.96.0.30 8081"
              - {id: leave, at: 3s, label: {pod/first: {app: gone}}}
              - {id: join, at: 3s, label: {pod/second: {app: echo}}}
            """, manifests: Self.echo)
        let said = try result.step("talk").stdout
        #expect(said == "firstfirstsecond", "\(said)")
    }

    @Test("A flow that began while the Service had no endpoint goes to the first one there is")
    func firstEndpoint() throws {
        let manifests = Self.echo.replacing("labels: {app: echo}", with: "labels: {app: waiting}")
        let result = try folder.run(
            """
              cluster: {dns: false}
              steps:
              - {id: talk, at: 1s, in: pod/client, run: "(echo hostname; sleep 4; echo hostname; sleep 1) | timeout 9 nc -u -p 5555 10.96.0.30 8081; true"}
              - {id: begun, at: 1500ms, in: node/node1, run: conntrack -L -p udp}
              - {id: join, at: 3s, label: {pod/second: {app: echo}}}
              - {id: anew, at: 4s, in: pod/client, run: "echo hostname | timeout 1 nc -u -p 5556 10.96.0.30 8081"}
            """, manifests: manifests)
        // REJECT before an entry is confirmed: nothing is left behind that could be stale.
        #expect(try result.step("begun").stdout.isEmpty)
        #expect(try result.step("anew").stdout == "second")
    }

    @Test("Connections over TCP and of other Services are left alone, and so is everything while nobody serves")
    func spared() throws {
        let result = try folder.run(
            """
              cluster: {dns: false}
              steps:
              - {id: talk, at: 1s, in: pod/client, run: "(echo hostname; sleep 4; echo hostname; sleep 1) | timeout 9 nc -u -p 5555 10.96.0.30 8081"}
              - {id: direct, at: 1s, in: pod/client, run: "(echo hostname; sleep 4; echo hostname; sleep 1) | timeout 9 nc -u -p 5557 10.244.0.2 8081"}
              - {id: leave, at: 3s, label: {pod/first: {app: gone}}}
            """, manifests: Self.echo)
        // The endpoint has only left the Service: with nobody to take its place the flow stays with it.
        #expect(try result.step("talk").stdout == "firstfirst")
        #expect(try result.step("direct").stdout == "firstfirst")
    }

    // MARK: healthCheckNodePort

    private static let balanced = """
        {apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}, spec: {nodeName: node1, containers: [{name: c, image: nginx}]}}
        ---
        {apiVersion: v1, kind: Pod, metadata: {name: spare, labels: {app: spare}}, spec: {nodeName: node1, containers: [{name: c, image: nginx}]}}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: web}
        spec: {type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 32000, selector: {app: web}, ports: [{port: 80}]}

        """

    @Test("A load balancer asks the node: 200 with a local endpoint, 503 without, and changes are followed")
    func healthCheck() throws {
        let result = try folder.run(
            """
              cluster: {nodes: 2, dns: false}
              hosts: [{name: balancer, address: 192.168.50.100}]
              steps:
              - {id: has, in: host/balancer, run: "curl -sS -i http://192.168.50.11:32000/healthz"}
              - {id: lacks, in: node/node1, run: "curl -sS -w '%{http_code}' http://192.168.50.12:32000/"}
              - {id: join, label: {pod/spare: {app: web}}}
              - {id: two, after: {step: join, delay: 1s}, in: node/node2, run: "curl -sS http://192.168.50.11:32000/"}
              - {id: leave, label: {pod/spare: {app: spare}}}
              - {id: last, label: {pod/web: {app: gone}}}
              - {id: gone, after: {step: last, delay: 1s}, in: host/balancer, run: "curl -sS -w '%{http_code}' http://192.168.50.11:32000/"}
            """, manifests: Self.balanced)
        let has = try result.step("has").stdout.replacing("\r\n", with: "\n")
        #expect(
            has.hasPrefix("HTTP/1.1 200 OK\nContent-Type: application/json\nX-Content-Type-Options: nosniff\nX-Load-Balancing-Endpoint-Weight: 1\nDate: "), "\(has)")
        let object = "{\n\t\"service\": {\n\t\t\"namespace\": \"default\",\n\t\t\"name\": \"web\"\n\t},\n\t\"localEndpoints\": 1,\n\t\"serviceProxyHealthy\": true\n}"
        #expect(has.hasSuffix("\n\n" + object), "\(has)")
        #expect(try result.step("lacks").stdout.hasSuffix("\"localEndpoints\": 0,\n\t\"serviceProxyHealthy\": true\n}503"))
        #expect(try result.step("two").stdout.contains("\"localEndpoints\": 2,"))
        #expect(try result.step("gone").stdout.hasSuffix("503"))
    }
}
