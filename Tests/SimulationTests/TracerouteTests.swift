import Foundation
import Testing

@testable import HairpinScenario

/// traceroute(8) over two nodes: the node's bridge, the other node, the pod. The lines are those the two programs print on Linux 6.18, times aside.
@Suite("traceroute")
struct TracerouteTests {
    static let pods = ["near", "far"].enumerated().map { index, name in
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: \(name)}
        spec: {nodeName: node\(index + 1), containers: [{name: c, image: alpine, command: [sleep, infinity]}]}

        """
    }.joined(separator: "---\n")

    private func lines(_ place: String, _ command: String) throws -> [String] {
        let spec = "  cluster: {nodes: 2, dns: false}\n  steps:\n  - {id: a, in: \(place), run: \(command)}"
        let result = try TemporaryFolder().run(spec, manifests: Self.pods)
        // "0.057 ms" becomes "T"; what the time was is the model's business.
        return try result.step("a").stdout.split(separator: "\n").map { String($0).replacing(/[0-9]+\.[0-9]{3} ms/, with: "T") }
    }

    @Test("busybox: one probe at a time, three for a hop", arguments: [false, true])
    func oneAtATime(echoes: Bool) throws {
        #expect(
            try lines("pod/near", "traceroute -n \(echoes ? "-I " : "")10.244.1.2") == [
                "traceroute to 10.244.1.2 (10.244.1.2), 30 hops max, 46 byte packets", " 1  10.244.0.1  T  T  T", " 2  192.168.50.12  T  T  T", " 3  10.244.1.2  T  T  T",
            ])
    }

    @Test("on a node sixteen probes are out at once; the first answer of the target ends it")
    func sixteenAtOnce() throws {
        #expect(
            try lines("node/node1", "traceroute -n 10.244.1.2") == [
                "traceroute to 10.244.1.2 (10.244.1.2), 30 hops max, 60 byte packets", " 1  192.168.50.12  T  T  T", " 2  10.244.1.2  T  T  T",
            ])
    }

    @Test("a host that is not there: the last router says so after three seconds of ARP")
    func unreachable() throws {
        let found = try lines("pod/near", "traceroute -n -q 1 10.244.1.77")
        #expect(found.dropFirst() == [" 1  10.244.0.1  T", " 2  192.168.50.12  T", " 3  192.168.50.12  T !H"])
    }

    @Test("a router answers six times in a burst, then once a second (icmp_ratelimit): later probes of a hop get no answer in their five seconds")
    func rateLimit() throws {
        let found = try lines("pod/near", "traceroute -n -q 10 -m 1 10.244.1.2")
        #expect(found.last == " 1  10.244.0.1  T  T  T  T  T  T  *  T  T  T", "six tokens, and five more by the time the seventh is given up")
    }

    @Test("wrong use is refused as the programs do", arguments: [("traceroute -n -m 0 10.0.0.1", 1), ("traceroute", 1), ("traceroute -Z 10.0.0.1", 1)])
    func refusals(command: String, status: Int32) throws {
        let result = try TemporaryFolder().run("  cluster: {nodes: 2, dns: false}\n  steps:\n  - {id: a, in: pod/near, run: \(command)}", manifests: Self.pods)
        #expect(try result.step("a").exit == status)
    }
}
