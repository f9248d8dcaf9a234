import Testing

@testable import HairpinScenario

@Suite("Commands on nodes")
struct NodeCommandTests {
    let folder = TemporaryFolder()

    @Test("brctl show lists a bridge's ports, ss -s counts sockets")
    func lists() throws {
        let manifests = """
            {apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: c, image: nginx}]}}
            ---
            {apiVersion: v1, kind: Pod, metadata: {name: shell}, spec: {containers: [{name: c, image: "debian:12", command: [sleep, infinity]}]}}

            """
        let result = try folder.run(
            """
              cluster: {dns: false}
              steps:
              - {id: bridge, in: node/node1, run: brctl show}
              - {id: link, in: node/node1, run: 'ip -o link show master cni0 | wc -l'}
              - {id: none, in: node/node1, run: brctl show br9}
              - {id: idle, in: pod/web, run: ss -s}
              - {id: open, in: pod/shell, run: 'nc 10.244.0.2 80 >/dev/null & sleep 0.1; ss -s | sed -n 2p; kill -9 $!'}
            """, manifests: manifests)
        let lines = try result.step("bridge").stdout.split(separator: "\n").map(String.init)
        #expect(lines.count == 3 && lines[0] == "bridge name\tbridge id\t\tSTP enabled\tinterfaces", "\(lines)")
        #expect(lines[1].hasPrefix("cni0\t\t8000.0a580af40001\tno\t\tveth") && lines[2].hasPrefix("\t\t\t\t\t\t\tveth"), "\(lines)")
        #expect(try result.step("none").exit == 1 && result.step("none").stderr == "bridge br9 does not exist!\n")
        let idle = try result.step("idle").stdout
        #expect(idle.hasPrefix("Total: 1\nTCP:   1 (estab 0, closed 0, orphaned 0, timewait 0)\n\nTransport Total     IP        IPv6\nRAW\t  0 "), "\(idle)")
        #expect(try result.step("open").stdout == "TCP:   1 (estab 1, closed 0, orphaned 0, timewait 0)\n")
    }
}
