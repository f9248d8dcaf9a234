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
