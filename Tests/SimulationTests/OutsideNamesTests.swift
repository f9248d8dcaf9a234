import HairpinCluster
import HairpinEngine
import Testing

@testable import HairpinScenario

@Suite("Names outside the cluster, and the nodes' resolver")
struct OutsideNamesTests {
    let folder = TemporaryFolder()

    private static let shell = """
        {apiVersion: v1, kind: Pod, metadata: {name: shell}, spec: {containers: [{name: c, image: "debian:12", command: [sleep, infinity]}]}}
        ---
        {apiVersion: v1, kind: Pod, metadata: {name: plain}, spec: {dnsPolicy: Default, containers: [{name: c, image: "debian:12", command: [sleep, infinity]}]}}
        ---
        {apiVersion: v1, kind: Service, metadata: {name: away}, spec: {type: ExternalName, externalName: example.com}}

        """

    @Test("A host's names are answered from upstream, recursion available; behind an ExternalName they follow the alias")
    func hosts() throws {
        let result = try folder.run(
            """
              hosts: [{name: server, address: 192.168.50.100, names: [example.com, www.example.com]}]
              steps:
              - {id: serve, at: 1s, in: host/server, timeout: 10s, run: "printf 'HTTP/1.0 200 OK\\\\r\\\\n\\\\r\\\\nfound\\\\n' | nc -l -p 80"}
              - {id: page, at: 2s, in: pod/shell, run: curl -sS http://example.com/}
              - {id: dig, in: pod/shell, run: dig www.example.com}
              - {id: alias, in: pod/shell, run: dig +short away.default.svc.cluster.local}
              - {id: other, in: pod/shell, run: getent hosts example.org}
            """, manifests: Self.shell)
        #expect(try result.step("page").stdout == "found\n")
        let dig = try result.step("dig").stdout
        #expect(dig.contains(";; flags: qr rd ra; QUERY: 1, ANSWER: 1,") && dig.contains("www.example.com.\t30\tIN\tA\t192.168.50.100\n"), "\(dig)")
        #expect(try result.step("alias").stdout == "example.com.\n192.168.50.100\n")
        #expect(try result.step("other").exit == 2)
    }

    @Test("The nodes' search list stands behind the cluster's, and pods with dnsPolicy Default have the nodes' file")
    func resolver() throws {
        let result = try folder.run(
            """
              cluster: {resolver: {nameservers: [192.168.50.1], searches: [corp.example], options: ["timeout:1", "attempts:1"]}}
              steps:
              - {id: first, in: pod/shell, run: cat /etc/resolv.conf}
              - {id: plain, in: pod/plain, run: cat /etc/resolv.conf}
              - {id: node, in: node/node1, run: cat /etc/resolv.conf}
            """, manifests: Self.shell)
        #expect(
            try result.step("first").stdout
                == "search default.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver 10.96.0.10\noptions ndots:5\n")
        let file = "search corp.example\nnameserver 192.168.50.1\noptions timeout:1 attempts:1\n"
        #expect(try result.step("plain").stdout == file && result.step("node").stdout == file)
    }

    // MARK: Packets to upstream

    private static let upstream = """
          cluster: {cni: flannel-host-gw, resolver: {nameservers: [192.168.50.53]}}
          hosts: [{name: resolver, address: 192.168.50.53}, {name: server, address: 192.168.50.100, names: [example.com, www.example.com]}]
        """

    @Test("With name servers of the nodes CoreDNS asks them, with packets from its node, once in 30 s for each question; the pod's questions and answers are the same")
    func packets() throws {
        let steps = """
              steps:
              - {id: first, at: 1s, in: pod/shell, run: dig example.com}
              - {id: again, at: 11500ms, in: pod/shell, run: dig EXAMPLE.com}
              - {id: none, at: 12s, in: pod/shell, run: dig example.org}
              - {id: none again, at: 13500ms, in: pod/shell, run: dig example.org}
              - {id: own, at: 14s, in: pod/shell, run: dig +short kubernetes.default.svc.cluster.local}
              - {id: late, at: 40s, in: pod/shell, run: dig +short example.com}
              - {id: alias, at: 41s, in: pod/shell, run: dig +short away.default.svc.cluster.local}
              - {id: stream, at: 42s, in: pod/shell, run: dig +tcp +short www.example.com}
              expect:
              - {frames: {on: "resolver:eth0", filter: "udp dst port 53 and src host 192.168.50.11", exactly: 4}}
              - {frames: {on: "resolver:eth0", filter: "udp dst port 53", exactly: 4}}
              - {frames: {on: "kube-system/coredns-*:eth0", filter: "udp dst port 53 and dst host 192.168.50.53", exactly: 4}}
            """
        let result = try folder.run(Self.upstream + "\n" + steps, manifests: Self.shell)
        #expect(!result.expectations.contains { !$0.passed }, "\(result.expectations)")
        let first = try result.step("first").stdout
        #expect(first.contains(";; flags: qr rd ra; QUERY: 1, ANSWER: 1,") && first.contains("example.com.\t\t30\tIN\tA\t192.168.50.100\n"), "\(first)")
        // Ten seconds later the rest of the thirty; names keep the case they were asked in.
        #expect(try result.step("again").stdout.contains("\t20\tIN\tA\t192.168.50.100\n"))
        let none = try result.step("none").stdout
        #expect(none.contains("status: NXDOMAIN") && none.contains(".\t\t\t30\tIN\tSOA\ta.root-servers.net."), "\(none)")
        #expect(try result.step("none again").stdout.contains(".\t\t\t29\tIN\tSOA\ta.root-servers.net."))
        #expect(try result.step("own").stdout == "10.96.0.1\n" && result.step("late").stdout == "192.168.50.100\n")
        #expect(try result.step("alias").stdout == "example.com.\n192.168.50.100\n" && result.step("stream").stdout == "192.168.50.100\n")
    }

    @Test("A name server that does not answer is asked every two seconds and then SERVFAIL said, which is known for five; its health is looked after until it answers")
    func silence() throws {
        let steps = """
              faults:
              - {at: 500ms, for: 19500ms, link: host/resolver, down: true}
              steps:
              - {id: first, at: 1s, in: pod/shell, run: dig +tries=1 +timeout=9 example.com}
              - {id: known, at: 8s, in: pod/shell, run: dig +tries=1 +timeout=9 example.com}
              - {id: back, at: 25s, in: pod/shell, run: dig +short example.com}
              - {id: rest, at: 40s, in: pod/shell, run: hostname}
              expect:
              - {step: first, duration: {minimum: 5900ms, maximum: 6100ms}}
              - {step: known, duration: {maximum: 10ms}}
              - {frames: {on: "resolver:eth0", filter: "udp dst port 53 and udp[20:2] = 0", minimum: 1}}
            """
        let result = try folder.run(Self.upstream + "\n" + steps, manifests: Self.shell)
        #expect(try result.step("first").stdout.contains("status: SERVFAIL") && result.step("known").stdout.contains("status: SERVFAIL"))
        #expect(!result.expectations.contains { !$0.passed }, "\(result.expectations)")
        #expect(try result.step("back").stdout == "192.168.50.100\n")
    }

    @Test("Where nobody listens on the name server's port, SERVFAIL is said once five seconds are over; nothing hangs, and nothing floods")
    func refused() throws {
        let spec = """
              cluster: {cni: flannel-host-gw, resolver: {nameservers: [192.168.50.12]}, nodes: 2}
              steps:
              - {id: ask, at: 1s, in: pod/shell, run: dig +tries=1 +timeout=9 example.com}
              expect:
              - {step: ask, duration: {minimum: 5s, maximum: 7100ms}, stdout: {contains: "status: SERVFAIL"}}
              - {frames: {on: "node2:eth0", filter: "udp dst port 53", minimum: 2, maximum: 100}}
            """
        let result = try folder.run(spec, manifests: Self.shell)
        #expect(!result.expectations.contains { !$0.passed }, "\(result.expectations)")
    }

    @Test(
        "Mistakes are named with their place",
        arguments: [
            ("hosts: [{name: a, address: 192.168.50.100, names: [Example.com]}]", "spec.hosts[0].names[0]: \"Example.com\" is not a lowercase RFC 1123 subdomain"),
            (
                "hosts: [{name: a, address: 192.168.50.100, names: [x.y]}, {name: b, address: 192.168.50.101, names: [x.y]}]",
                "spec.hosts[1].names[0]: \"x.y\" is the name of another host"
            ), ("cluster: {resolver: {nameserver: [1.1.1.1]}}", "\"nameserver\" is an unknown field. Did you mean \"nameservers\"?"),
            ("cluster: {resolver: {nameservers: [one]}}", "spec.cluster.resolver.nameservers[0]: \"one\" is not an IPv4 address"),
        ])
    func mistakes(spec: String, message: String) {
        let path = folder.write("t.yaml", scenarioText("  \(spec)"))
        let error = #expect(throws: Failure.self) { try ScenarioFile.load(path) }
        #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
    }
}
