import Foundation
import HairpinCluster
import HairpinDatapath
import HairpinEngine
import HairpinHost
import HairpinPolicy
import Testing

@testable import HairpinScenario

@Suite("NetworkPolicy in a running cluster")
struct NetworkPolicyTests {
    let folder = TemporaryFolder()

    private func run(_ spec: String, manifests: String = "") throws -> RunResult { try folder.run(spec, manifests: NetworkPolicyTests.pods + manifests) }

    /// web and client, on one node or on two, and a Service in front of web.
    private static let pods =
        ["web", "client"].map { name in
            """
            apiVersion: v1
            kind: Pod
            metadata: {name: \(name), labels: {app: \(name)}}
            spec: {containers: [{name: c, image: nginx, ports: [{name: http, containerPort: 80}]}]}
            ---

            """
        }.joined() + """
            apiVersion: v1
            kind: Service
            metadata: {name: web}
            spec: {selector: {app: web}, ports: [{name: http, port: 80}, {name: nc, port: 9000}]}
            ---

            """

    private static func deny(_ spec: String = "podSelector: {matchLabels: {app: web}}") -> String {
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny}, spec: {\(spec)}}"
    }

    // MARK: Who is refused, and how

    @Test(
        "A refused connection times out or is reset, on one node and over two, in both modes of kube-proxy, and the drop names the policy",
        arguments: ["drop", "reject"], ["iptables", "ipvs"])
    func refused(style: String, mode: String) throws {
        for nodes in [1, 2] {
            let result = try run(
                """
                  cluster: {nodes: \(nodes), proxyMode: \(mode), networkPolicy: \(style), dns: false, cni: flannel-host-gw}
                  steps:
                  - {id: before, in: pod/client, run: nc -z -w 2 $WEB_SERVICE_HOST 80}
                  - {id: deny, apply: \(Self.deny())}
                  - {id: after, after: {step: deny, delay: 1s}, in: pod/client, run: nc -zv -w 2 $WEB_SERVICE_HOST 80}
                  - {id: out, in: pod/web, run: nc -z -w 2 $WEB_SERVICE_HOST 80}
                """)
            #expect(try result.step("before").exit == 0)
            #expect(try result.step("deny").stdout == "networkpolicy.networking.k8s.io/deny created\n")
            let after = try result.step("after")
            #expect(after.exit == 1)
            #expect(after.stderr.contains(style == "drop" ? "timed out" : "refused"), "\(after.stderr)")
            // Through its Service a pod may reach itself.
            #expect(try result.step("out").exit == 0)
            let books = try #require(result.books)
            #expect(books.drops(of: "network policy ingress") >= 1)
            #expect(books.policyDrops.map(\.policies) == ["default/deny"] && books.policyDrops.map(\.pod) == ["default/web"])
            #expect(books.policyDrops.map(\.count) == [books.drops(of: "network policy ingress")])
        }
    }

    @Test("Replies need no rule: a pod that may not send may answer, and its node may always speak to it")
    func replies() throws {
        let result = try run(
            """
              cluster: {dns: false}
              steps:
              - {id: page, in: pod/client, run: curl -sS -m 2 -o /dev/null http://$WEB_SERVICE_HOST/}
              - {id: out, in: pod/web, run: nc -z -w 2 $CLIENT 80}
              - {id: node, in: node/node1, run: ping -c 1 -W 1 10.244.0.2}
              - {id: ping, in: pod/client, run: ping -c 1 -W 1 10.244.0.2}
            """.replacing("$CLIENT", with: "10.244.0.3"),
            manifests: Self.deny("podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress, Egress], ingress: [{ports: [{port: http}]}]") + "\n")
        #expect(try result.step("page").exit == 0)
        #expect(try result.step("out").exit == 1)
        #expect(try result.step("node").exit == 0)
        // A rule with ports lets no ICMP through.
        #expect(try result.step("ping").exit == 1)
        #expect(result.books?.policyDrops.map(\.direction) == ["egress", "ingress"])
    }

    // MARK: While time runs

    @Test("A connection that is no longer allowed stops, in both directions, and goes on when the policy goes", arguments: ["iptables", "ipvs"])
    func established(mode: String) throws {
        func play(undo: Bool) throws -> RunResult {
            try run(
                """
                  until: 60s
                  cluster: {nodes: 2, proxyMode: \(mode), dns: false}
                  steps:
                  - {id: server, at: 1s, timeout: 40s, in: pod/web, run: nc -l -p 9000}
                  - {id: client, at: 2s, timeout: 39s, in: pod/client, run: "(echo one; sleep 3; echo two; sleep 30) | nc $WEB_SERVICE_HOST 9000"}
                  - {id: deny, at: 4s, apply: \(Self.deny())}
                \(undo ? "  - {id: undo, at: 10s, delete: netpol/deny}" : "  - {id: undo, at: 10s, in: pod/client, run: 'true'}")
                """)
        }
        let cut = try play(undo: false)
        #expect(try cut.step("server").stdout == "one\n")
        #expect(try #require(cut.books).drops(of: "network policy ingress") >= 3)
        let resumed = try play(undo: true)
        #expect(try resumed.step("undo").stdout == "networkpolicy.networking.k8s.io \"deny\" deleted\n")
        #expect(try resumed.step("server").stdout == "one\ntwo\n")
    }

    @Test("Labels decide at once whom a policy admits, and which Services have the pod")
    func relabelled() throws {
        let result = try run(
            """
              cluster: {dns: false}
              steps:
              - {id: stranger, in: pod/client, run: nc -z -w 1 10.244.0.2 80}
              - {id: admit, label: {pod/client: {role: friend}}}
              - {id: friend, after: {step: admit, delay: 1s}, in: pod/client, run: nc -z -w 1 10.244.0.2 80}
              - {id: forget, label: {pod/client: {role: null}}}
              - {id: again, after: {step: forget, delay: 1s}, in: pod/client, run: nc -z -w 1 10.244.0.2 80}
              - {id: wrong, delete: netpol/nothing}
            """, manifests: Self.deny("podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {role: friend}}}]}]") + "\n")
        #expect(try ["stranger", "friend", "again", "wrong"].map { try result.step($0).exit } == [1, 0, 1, 1])
        #expect(try result.step("admit").stdout == "pod/client labeled\n")
        #expect(try result.step("admit").command == "kubectl label pod client role=friend")
        #expect(try result.step("forget").stdout == "pod/client unlabeled\n")
        #expect(try result.step("wrong").stderr == "Error from server (NotFound): networkpolicies.networking.k8s.io \"nothing\" not found\n")
    }

    @Test("A network plugin without policies lets everything through, and says so")
    func off() throws {
        let result = try run(
            """
              cluster: {dns: false, networkPolicy: off}
              steps:
              - {id: page, in: pod/client, run: nc -z -w 1 10.244.0.2 80}
            """, manifests: Self.deny() + "\n")
        #expect(try result.step("page").exit == 0)
        #expect(result.warnings.contains { $0.contains("networkPolicy is off") })
    }

    @Test(
        "Mistakes in changing steps are named with their place",
        arguments: [
            ("{apply: missing.yaml}", "spec.steps[0].apply: \"missing.yaml\" does not exist"), ("{apply: []}", "applies nothing"),
            ("{apply: {apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {}}}", "containers"), ("{delete: web}", "names no object"),
            ("{label: {pod/web: {}}}", "changes no label"), ("{label: {svc/web: {a: b}}}", "labels neither a pod nor a namespace"),
            ("{label: {pod/web: {a: b c}}}", "\"b c\" is not a valid label value"), ("{run: ls, apply: a.yaml}", "stands beside \"run\""),
            ("{apply: a.yaml, in: pod/web}", "\"in\" is an unknown field"),
        ])
    func mistakes(step: String, message: String) throws {
        let path = folder.write("t.yaml", scenarioText("  steps:\n  - \(step)\n"))
        let error = #expect(throws: Failure.self) { try ScenarioFile.load(path) }
        #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
    }

    // MARK: The matrix and the frames

    /// Policies thrown together from a seed: selectors, blocks and ports of all forms over three namespaces.
    private func randomPolicies(_ random: inout SeededRandom) -> String {
        func pick<T>(_ items: [T]) -> T { items[Int(random.below(UInt32(items.count)))] }
        func selector() -> String {
            pick(["{}", "{matchLabels: {app: a}}", "{matchExpressions: [{key: app, operator: In, values: [b, c]}]}", "{matchExpressions: [{key: app, operator: NotIn, values: [a]}]}"])
        }
        func peer() -> String {
            switch random.below(5) {
            case 0: "{podSelector: \(selector())}"
            case 1: "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: \(pick(["x", "y", "z"]))}}}"
            case 2: "{namespaceSelector: {}, podSelector: \(selector())}"
            case 3: "{ipBlock: {cidr: 10.244.0.0/16, except: [10.244.\(pick([0, 1])).0/24]}}"
            default: "{ipBlock: {cidr: 10.244.\(pick([0, 1])).\(pick([2, 4]))/31}}"
            }
        }
        func rule(_ key: String) -> String {
            var parts: [String] = []
            if random.below(4) > 0 { parts.append("\(key): [" + (0...random.below(2)).map { _ in peer() }.joined(separator: ", ") + "]") }
            if random.below(2) == 0 { parts.append("ports: [\(pick(["{port: 80}", "{port: http}", "{port: 79, endPort: 81}", "{port: 81}", "{protocol: UDP}"]))]") }
            return "{" + parts.joined(separator: ", ") + "}"
        }
        return (0..<4).map { number in
            let isIngress = random.below(2) == 0
            let rules = (0..<random.below(3)).map { _ in rule(isIngress ? "from" : "to") }.joined(separator: ", ")
            let spec = "podSelector: \(selector()), policyTypes: [\(isIngress ? "Ingress" : "Egress")], \(isIngress ? "ingress" : "egress"): [\(rules)]"
            return "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p\(number), namespace: \(pick(["x", "y", "z"]))}, spec: {\(spec)}}\n"
        }.joined(separator: "---\n")
    }

    @Test("The reachability matrix is what real frames find, for random policies on two nodes, by address and through Services", arguments: 1...8)
    func matrix(seed: UInt64) throws {
        var random = SeededRandom(seed: seed, name: "policies")
        var text = ""
        for space in ["x", "y", "z"] {
            text += "{apiVersion: v1, kind: Namespace, metadata: {name: \(space)}}\n---\n"
            for name in ["a", "b", "c"] {
                text += "{apiVersion: v1, kind: Pod, metadata: {name: \(name), namespace: \(space), labels: {app: \(name)}}, "
                text += "spec: {containers: [{name: c, image: nginx, ports: [{name: http, containerPort: 80}]}]}}\n---\n"
                text += "{apiVersion: v1, kind: Service, metadata: {name: \(name), namespace: \(space)}, "
                text += "spec: {selector: {app: \(name)}, ports: [{port: 80, targetPort: http}]}}\n---\n"
            }
        }
        let policies = randomPolicies(&random)
        let path = folder.write("cluster.yaml", text + policies)
        var loaded = try ScenarioFile.cluster(manifests: [path])
        loaded.scenario.cluster.setNodeCount(2)
        loaded.scenario.cluster.cni = "flannel-host-gw"
        loaded.scenario.cluster.proxyMode = seed.isMultiple(of: 2) ? .ipvs : .iptables
        let view = try ReachabilityView(loaded)
        let matrix = view.pods(.tcp, port: 80)
        let services = view.services(.tcp, port: 80)
        let world = try World(loaded, seed: seed, log: .quiet)
        world.settle { false }
        #expect(Set(matrix.sources.map(\.node)).count == 2)
        var probes: [(source: String, destination: String, expected: Bool, handle: ProcessHandle?)] = []
        for (row, source) in matrix.sources.enumerated() {
            let words = source.name.split(separator: "/").map(String.init)
            let target = try world.resolve(Place(kind: .pod, namespace: words[0], name: words[1]), container: nil)
            for (column, destination) in matrix.sources.enumerated() {
                let command = ["nc", "-z", "-w", "1", destination.address.description, "80"]
                probes.append((source.name, destination.name, matrix.cells[row][column].isAllowed, world.start(command, on: target, observer: nil)))
            }
            for (column, name) in services.destinations.enumerated() {
                let key = name.split(separator: "/").map(String.init)
                let address = try #require(world.plan.service(ObjectKey(namespace: key[0], name: key[1]))?.clusterAddress)
                let command = ["nc", "-z", "-w", "1", address.description, "80"]
                probes.append((source.name, "Service \(name)", services.cells[row][column].isAllowed, world.start(command, on: target, observer: nil)))
            }
        }
        world.advance(to: world.simulation.now + .seconds(3)) { true }
        for probe in probes {
            #expect(probe.handle?.exitStatus == (probe.expected ? 0 : 1), "\(probe.source) to \(probe.destination) under\n\(policies)")
        }
        #expect(world.simulation.books.isBalanced)
        // A matrix of one letter would prove little.
        #expect(matrix.refused > 0 && matrix.refused < 72)
    }
}
