import Foundation
import HairpinCluster
import HairpinEngine
import Logging
import Testing

@testable import HairpinScenario

/// What happens to pods when a scenario's steps run, looked at every 50 ms.
struct PodStory {
    /// In the order in which they follow from each other within one look.
    enum Event: Int { case gone, ready, deleted, made }
    struct Line: Equatable, CustomStringConvertible {
        var at: Instant
        var pod: String
        var event: Event
        var description: String { "\(Double(at.nanoseconds) / 1e9) \(pod) \(event)" }
    }
    private(set) var lines: [Line] = []
    /// What was made in the first second, when the cluster begins.
    private(set) var beginning: [Line] = []
    let world: World

    init(_ path: String, until end: Double) throws {
        let loaded = try ScenarioFile.load(path)
        let world = try World(loaded, seed: 1, log: .quiet)
        var steps = loaded.scenario.steps[...]
        var before = world.pods.map { (phase: $0.phase, isReady: $0.isReady) }
        var now = Instant.zero
        while now < Instant(nanoseconds: UInt64(end * 1e9)) {
            while let step = steps.first, case .at(let time) = step.start, time <= now, case .change(let change)? = step.change {
                _ = try world.apply(change)
                steps.removeFirst()
            }
            now = now + .milliseconds(50)
            world.advance(to: now) { true }
            for (index, pod) in world.pods.enumerated() {
                let name = pod.pod.metadata.name
                let was = before[index]
                if was.phase == .absent, pod.phase != .absent { lines.append(Line(at: now, pod: name, event: .made)) }
                if !was.isReady, pod.isReady, now > Instant(nanoseconds: 1_000_000_000) { lines.append(Line(at: now, pod: name, event: .ready)) }
                if was.phase == .present, pod.phase != .present { lines.append(Line(at: now, pod: name, event: .deleted)) }
                if was.phase != .gone, pod.phase == .gone { lines.append(Line(at: now, pod: name, event: .gone)) }
                before[index] = (pod.phase, pod.isReady)
            }
            if now <= Instant(nanoseconds: 1_000_000_000) {
                beginning += lines.filter { $0.event == .made }
                lines.removeAll { $0.event == .made }
            }
            let new = lines.partition { $0.at == now }
            lines[new...].sort { ($0.event.rawValue, $0.pod) < ($1.event.rawValue, $1.pod) }
        }
        self.world = world
    }

    func names(_ event: Event) -> [String] { lines.filter { $0.event == event }.map(\.pod) }
    /// "db-2 gone", in order, without times.
    var order: [String] { lines.map { "\($0.pod) \($0.event)" } }
    func present(_ label: String) -> [PlannedPod] { world.pods.filter { $0.phase == .present && $0.pod.labels["app"] == label }.map(\.pod) }
}

@Suite("Scaling while time runs")
struct ScaleTests {
    let folder = TemporaryFolder()
    /// kube-proxy follows after half a second.
    private static let slow = "dns: false, endpointsDelay: 100ms, kubeProxyDelay: 400ms"

    static func workload(_ kind: String, replicas: Int, spec: String = "", pod: String = "", container: String = "", name: String = "web") -> String {
        let count = kind == "DaemonSet" ? "" : "replicas: \(replicas), "
        let extra = spec.isEmpty ? "" : "\(spec), "
        return """
            ---
            apiVersion: \(kind == "ReplicationController" ? "v1" : "apps/v1")
            kind: \(kind)
            metadata: {name: \(name)}
            spec: {\(count)\(extra)selector: \(kind == "ReplicationController" ? "{app: \(name)}" : "{matchLabels: {app: \(name)}}"), template: {metadata: {labels: {app: \(name)}}, spec: {
              \(pod)
              containers: [{name: web, image: "registry.k8s.io/e2e-test-images/agnhost:2.53", args: [netexec, --http-port=80], ports: [{containerPort: 80}],
              readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}\(container)}]}}}
            ---
            {apiVersion: v1, kind: Service, metadata: {name: \(name)}, spec: {selector: {app: \(name)}, ports: [{port: 80}]}}
            ---
            {apiVersion: v1, kind: Pod, metadata: {name: client}, spec: {nodeName: node1, containers: [{name: c, image: alpine, command: [sleep, infinity]}]}}

            """
    }

    @Test(
        "More replicas are made at once and share the load; fewer lose what comes to those that end, and a preStop hook saves it",
        arguments: ["Deployment", "ReplicaSet", "ReplicationController"])
    func upAndDown(kind: String) throws {
        let word = ["Deployment": "deploy", "ReplicaSet": "rs", "ReplicationController": "rc"][kind] ?? ""
        let steps = """
              - {id: load, at: 1s, in: pod/client, requests: {to: http://web/hostname, rate: 50, for: 8s}}
              - {id: up, at: 2s, scale: \(word)/web, replicas: 5}
              - {id: names, at: 4s, in: pod/client, run: 'for i in $(seq 30); do curl -sS http://$WEB_SERVICE_HOST/hostname; echo; done'}
              - {id: down, at: 5s, scale: \(word)/web, replicas: 1}
            """
        let (result, text) = try folder.run(Self.workload(kind, replicas: 2), cluster: Self.slow, steps)
        let load = try #require(result.steps.first { $0.id == "load" }?.requests)
        #expect(result.steps.first { $0.id == "up" }?.command == "kubectl scale \(word)/web --replicas=5")
        let group = kind == "ReplicationController" ? "" : ".apps"
        #expect(result.steps.first { $0.id == "up" }?.stdout == "\(kind.lowercased())\(group)/web scaled\n")
        #expect(Set((result.steps.first { $0.id == "names" }?.stdout ?? "").split(separator: "\n")).count == 5, "\(text)")
        // Nothing is lost by growing; four pods end at 5 s.
        #expect(load.lost > 0 && load.losses.allSatisfy { $0.startedNanoseconds >= 4_990_000_000 && $0.startedNanoseconds < 5_600_000_000 }, "\(text)")
        #expect(Set(load.losses.compactMap(\.pod)).count >= 3 && load.losses.allSatisfy { $0.reason.contains("kube-proxy took it out of its rules") }, "\(text)")
        #expect(result.cluster?.pods == 2 && result.cluster?.readyPods == 2)
        let hook = Self.workload(kind, replicas: 2, container: ", lifecycle: {preStop: {sleep: {seconds: 1}}}")
        let saved = try folder.run(hook, cluster: Self.slow, steps).0.steps.first { $0.id == "load" }?.requests
        #expect(saved?.lost == 0 && saved?.answered == 400)
    }

    @Test("The next endpoints follow after the delays of the control plane, and terminating pods serve on while nothing else is there")
    func endpoints() throws {
        // To zero and back: kube-proxy knows of the first new endpoint 0.5 s after the pod is ready, and rejects before.
        let steps = """
              - {id: load, at: 1s, in: pod/client, requests: {to: http://web/, rate: 50, for: 6s}}
              - {id: none, at: 2s, scale: deploy/web, replicas: 0}
              - {id: some, at: 4s, scale: deploy/web, replicas: 1}
            """
        let (result, text) = try folder.run(Self.workload("Deployment", replicas: 2, container: ", lifecycle: {preStop: {sleep: {seconds: 1}}}"), cluster: Self.slow, steps)
        let losses = try #require(result.steps.first { $0.id == "load" }?.requests).losses
        let rejected = losses.filter { $0.endpoint == nil }
        // The hook lasts until 3 s; kube-proxy learns of the end 0.5 s later, of the new pod's readiness after its first probe.
        #expect(!rejected.isEmpty && rejected.allSatisfy { $0.startedNanoseconds >= 3_400_000_000 && $0.startedNanoseconds < 4_900_000_000 }, "\(text)")
        #expect(losses.allSatisfy { $0.startedNanoseconds >= 3_000_000_000 }, "\(text)")
    }

    // MARK: Victims

    @Test("Of pods on two nodes those go whose node has more of them, whatever their order")
    func doubledUp() throws {
        // Pods are spread evenly: four of seven are on node2, where no client is.
        let story = try folder.story(Self.workload("Deployment", replicas: 7), cluster: "nodes: 2", ["{at: 2s, scale: deploy/web, replicas: 6}"], until: 4)
        let victim = try #require(story.world.pods.first { $0.phase == .gone })
        let counts = Dictionary(grouping: story.present("web"), by: { $0.node ?? "" }).mapValues(\.count)
        #expect(counts == ["node1": 3, "node2": 3] && victim.pod.node == "node2")
    }

    @Test("A lower deletion cost goes before a higher one, and what is not ready before both")
    func deletionCost() throws {
        let manifests = Self.workload("Deployment", replicas: 4, container: ", livenessProbe: {exec: {command: ['true']}}")
        let names = try folder.story(manifests, ["{at: 1s, scale: deploy/web, replicas: 4}"], until: 0.1).present("web").map(\.metadata.name)
        let story = try folder.story(
            manifests,
            [
                "{at: 1s, annotate: {pod/\(names[1]): {controller.kubernetes.io/pod-deletion-cost: -5}}}",
                "{at: 1s, annotate: {pod/\(names[3]): {controller.kubernetes.io/pod-deletion-cost: '-7'}}}",
                "{at: 1s, annotate: {pod/\(names[0]): {controller.kubernetes.io/pod-deletion-cost: 3}}}",
                "{at: 2s, scale: deploy/web, replicas: 3}", "{at: 3s, scale: deploy/web, replicas: 2}", "{at: 4s, scale: deploy/web, replicas: 1}",
            ], until: 6)
        #expect(story.names(.deleted) == [names[3], names[1], names[2]])

        let slowly = manifests.replacingOccurrences(of: "periodSeconds: 1}", with: "periodSeconds: 1, initialDelaySeconds: 3}")
        let cheap = try folder.story(slowly, [], until: 0.1).present("web")[1].metadata.name
        let slow = try folder.story(
            slowly,
            [
                "{at: 5s, annotate: {pod/\(cheap): {controller.kubernetes.io/pod-deletion-cost: -5}}}", "{at: 5s, scale: deploy/web, replicas: 5}",
                "{at: 6s, scale: deploy/web, replicas: 4}",
            ], until: 8)
        #expect(slow.names(.made).count == 1 && slow.names(.deleted) == slow.names(.made))
    }

    @Test("Of those that work the ones that became ready lately go, by powers of two; within one it is the order of their uids")
    func youth() throws {
        let old = Self.workload("Deployment", replicas: 2)
        let young = try folder.story(old, ["{at: 20s, scale: deploy/web, replicas: 4}", "{at: 30s, scale: deploy/web, replicas: 2}"], until: 32)
        #expect(Set(young.names(.deleted)) == Set(young.names(.made)) && young.names(.made).count == 2)
        // 21 s and 31 s are both between 2^34 and 2^35 ns.
        let alike = try folder.story(old, ["{at: 10s, scale: deploy/web, replicas: 4}", "{at: 31s, scale: deploy/web, replicas: 2}"], until: 33)
        let pods = alike.world.pods.filter { $0.pod.labels["app"] == "web" }
        #expect(pods.count == 4 && Set(alike.names(.deleted)) == Set(pods.map(\.pod).sorted { $0.uid < $1.uid }.prefix(2).map(\.metadata.name)))
    }

    @Test("A pod whose container was started again goes before one whose was not")
    func restarts() throws {
        // Without readiness probes a restart takes no time, so that all are ready since the same second. The client has .2, so .5 is the third.
        let script = "if [ $(hostname -i) = 10.244.0.5 -a ! -e /d/seen ]; then touch /d/seen; exit 3; fi; exec nginx -g 'daemon off;'"
        let manifests = """
            ---
            apiVersion: apps/v1
            kind: Deployment
            metadata: {name: web}
            spec: {replicas: 3, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {volumes: [{name: d, emptyDir: {}}], containers: [
              {name: c, image: nginx, command: [sh, -c, "\(script)"], volumeMounts: [{name: d, mountPath: /d}]}]}}}
            ---
            {apiVersion: v1, kind: Pod, metadata: {name: client}, spec: {containers: [{name: c, image: alpine, command: [sleep, infinity]}]}}

            """
        let story = try folder.story(manifests, ["{at: 3s, scale: deploy/web, replicas: 2}"], until: 5)
        #expect(story.world.pods.first { $0.phase != .present }?.pod.address?.description == "10.244.0.5", "\(story.lines)")
        #expect(story.present("web").count == 2)
    }

    // MARK: StatefulSets

    @Test("A StatefulSet grows upwards, each pod waiting for the one before, and shrinks downwards, each waiting for the one above to be gone")
    func ordered() throws {
        let manifests = Self.workload("StatefulSet", replicas: 1, spec: "serviceName: web")
        let steps = ["{at: 2s, scale: sts/web, replicas: 3}", "{at: 6s, scale: sts/web, replicas: 1}"]
        #expect(
            try folder.story(manifests, steps, until: 9).order == [
                "web-1 made", "web-1 ready", "web-2 made", "web-2 ready", "web-2 deleted", "web-2 gone", "web-1 deleted", "web-1 gone",
            ])
        let later = Self.workload("StatefulSet", replicas: 1, spec: "serviceName: web, ordinals: {start: 5}")
        #expect(try folder.story(later, steps, until: 9).names(.made) == ["web-6", "web-7"] && folder.story(later, steps, until: 9).names(.deleted) == ["web-7", "web-6"])
        let parallel = Self.workload("StatefulSet", replicas: 1, spec: "serviceName: web, podManagementPolicy: Parallel")
        let lines = try folder.story(parallel, steps, until: 9).lines
        #expect(Set(lines.filter { $0.event == .made }.map(\.at)).count == 1 && Set(lines.filter { $0.event == .deleted }.map(\.at)).count == 1)
    }

    @Test("A pod that comes again has its name and a new address")
    func again() throws {
        let steps = """
              - {id: down, at: 2s, scale: sts/web, replicas: 1}
              - {id: up, at: 4s, scale: sts/web, replicas: 2}
              - {id: in, at: 7s, in: pod/web-1, run: 'hostname; hostname -i'}
            """
        let manifests = Self.workload("StatefulSet", replicas: 2, spec: "serviceName: web").replacingOccurrences(
            of: "metadata: {name: web}, spec: {selector: {app: web}", with: "metadata: {name: web}, spec: {clusterIP: None, selector: {app: web}")
        let (result, text) = try folder.run(manifests, cluster: "dns: false, nodes: 1", steps)
        let inside = (result.steps.first { $0.id == "in" }?.stdout ?? "").split(separator: "\n")
        #expect(inside.count == 2 && inside.first == "web-1", "\(text)")
        // The client has .2, web-0 and web-1 had .3 and .4.
        #expect(inside.last == "10.244.0.5", "\(text)")
    }

    @Test("What is scaled again before it has settled follows the last number; threads change nothing")
    func hurry() throws {
        for kind in ["deploy", "sts"] {
            let manifests = Self.workload(kind == "sts" ? "StatefulSet" : "Deployment", replicas: 3, container: ", lifecycle: {preStop: {sleep: {seconds: 1}}}")
            let steps = """
                  - {id: load, at: 1s, in: pod/client, requests: {to: http://web/, rate: 20, for: 12s}}
                  - {id: a, at: 2s, scale: \(kind)/web, replicas: 6}
                  - {id: b, at: 2050ms, scale: \(kind)/web, replicas: 1}
                  - {id: c, at: 2500ms, scale: \(kind)/web, replicas: 4}
                """
            let one = try folder.run(manifests, cluster: "dns: false, nodes: 2", steps)
            #expect(one.0.cluster?.pods == 5 && one.0.cluster?.readyPods == 5, "\(one.1)")
            #expect(one.0.steps.first { $0.id == "load" }?.requests?.lost == 0)
            #expect(one.1 == (try folder.run(manifests, cluster: "dns: false, nodes: 2", steps, threads: 2)).1)
        }
    }

    @Test("Steps and faults may name pods that a step makes later; before it does, and after they have gone, they are not there")
    func later() throws {
        let steps = """
              - {id: early, at: 1s, in: pod/web-1, run: hostname}
              - {id: mark, at: 1s, label: {pod/web-1: {a: b}}}
              - {id: load, at: 1s, in: pod/client, requests: {to: 'http://web-1:80/', rate: 5, for: 3s, timeout: 300ms}}
              - {id: up, at: 2s, scale: sts/web, replicas: 2}
              - {id: there, at: 4s, in: pod/web-1, run: hostname}
              - {id: ask, at: 5500ms, in: pod/client, run: curl -sS -m 1 http://10.244.0.5/hostname}
              - {id: cut, at: 6500ms, in: pod/client, run: curl -sS -m 1 http://10.244.0.5/hostname}
              - {id: down, at: 9s, scale: sts/web, replicas: 0}
              - {id: late, at: 11s, in: pod/web-1, run: hostname}
              - {id: gone, at: 11s, in: pod/client, run: ping -c 1 -W 1 10.244.0.5}
              faults:
              - {at: 6s, for: 2s, link: pod/web-1, down: true}
            """
        let (result, text) = try folder.run(Self.workload("StatefulSet", replicas: 1, spec: "serviceName: web"), cluster: "dns: false, nodes: 1", steps.replacingOccurrences(of: "      faults:", with: "  faults:"))
        func step(_ id: String) throws -> StepResult { try #require(result.steps.first { $0.id == id }) }
        #expect(try step("early").problem?.contains("pods \"web-1\" not found") == true && step("late").problem?.contains("pods \"web-1\" not found") == true, "\(text)")
        #expect(try step("mark").exit == 1 && step("mark").stderr.contains("pods \"web-1\" not found"))
        #expect(try step("there").stdout == "web-1\n" && step("ask").stdout == "web-1" && step("cut").exit == 28, "\(text)")
        let load = try #require(try step("load").requests)
        #expect(load.lost > 4 && load.answered > 4 && load.losses.allSatisfy { $0.pod == "default/web-1" }, "\(text)")
        #expect(Set(load.losses.map(\.reason)) == ["web-1 had not been made yet", "web-1 did not listen on port 80"], "\(text)")
        // The fault's end does not plug in a pod that has gone.
        #expect(try step("gone").exit == 1, "\(text)")
    }

    @Test("Whatever is restarted and scaled, and when: in the end there are as many pods as the last step says, ready, of the last template", arguments: 1...6 as ClosedRange<UInt64>)
    func anything(seed: UInt64) throws {
        var random = SeededRandom(seed: seed, name: "stories")
        for kind in ["Deployment", "StatefulSet", "ReplicaSet"] {
            let word = ["Deployment": "deploy", "StatefulSet": "sts", "ReplicaSet": "rs"][kind] ?? ""
            let strategies = [
                "Deployment": ["", "strategy: {type: Recreate}", "strategy: {rollingUpdate: {maxSurge: 3, maxUnavailable: 0}}", "strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: '50%'}}"],
                "StatefulSet": ["", "podManagementPolicy: Parallel", "updateStrategy: {rollingUpdate: {partition: 1}}", "updateStrategy: {rollingUpdate: {maxUnavailable: 3}}"],
                "ReplicaSet": [""],
            ][kind] ?? []
            let start = Int(random.below(6))
            var replicas = start
            var restarts = 0
            var time = 1.0
            var steps: [String] = []
            for _ in 0..<(3 + random.below(5)) {
                time += Double(random.below(40)) * 0.05
                if kind != "ReplicaSet", random.below(3) == 0 {
                    restarts += 1
                    steps.append("{at: \(Int(time * 1000))ms, restart: \(word)/web}")
                } else {
                    replicas = Int(random.below(9))
                    steps.append("{at: \(Int(time * 1000))ms, scale: \(word)/web, replicas: \(replicas)}")
                }
            }
            let grace = random.below(2) == 0 ? "" : ", lifecycle: {preStop: {sleep: {seconds: 1}}}"
            let manifests = Self.workload(kind, replicas: start, spec: strategies[Int(random.below(UInt32(strategies.count)))], container: grace)
            let story = try folder.story(manifests, cluster: "nodes: 3", steps, until: time + 60)
            let present = story.present("web")
            #expect(present.count == replicas && story.world.controllers.allSatisfy(\.isSettled), "\(kind) \(start) \(steps) \(story.lines)")
            #expect(story.world.pods.allSatisfy { $0.pod.labels["app"] != "web" || $0.phase != .present || $0.isReady })
            // Nothing is left half ended, and no name or address is there twice.
            #expect(story.world.pods.allSatisfy { !$0.isTerminating })
            #expect(Set(present.map(\.key)).count == replicas && Set(present.compactMap(\.address)).count == replicas)
            if kind == "Deployment" { #expect(Set(present.map { $0.labels["pod-template-hash"] }).count <= 1) }
            if kind == "StatefulSet" { #expect(present.map(\.metadata.name).sorted() == (0..<replicas).map { "web-\($0)" }) }
        }
    }

    @Test(
        "What cannot be scaled is refused",
        arguments: [
            ("- {scale: deploy/web}", "replicas: 3"), ("- {scale: deploy/web, replicas: -1}", "is out of range"), ("- {scale: ds/web, replicas: 2}", "cannot be scaled"),
            ("- {scale: deploy/wob, replicas: 2}", "Did you mean \"web\"?"), ("- {scale: pod/client, replicas: 2}", "cannot be scaled"),
            ("- {scale: deploy/web, replicas: 100000}", "more than 100000"), ("- {restart: deploy/web, replicas: 2}", "unknown field"),
            ("- {annotate: {pod/client: {controller.kubernetes.io/pod-deletion-cost: high}}}", "32-bit"),
            ("- {annotate: {ns/default: {a: b}}}", "annotates no pod"),
        ])
    func refusals(step: String, words: String) throws {
        let path = folder.write("f.yaml", scenarioText("  steps:\n  \(step)\n") + Self.workload("Deployment", replicas: 2))
        let error = #expect(throws: Failure.self) { _ = try ScenarioRunner(ScenarioFile.load(path), options: RunOptions(), hooks: .quiet) }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }

    @Test("A Deployment's own ReplicaSet is not scaled behind its back")
    func owned() throws {
        let name = try folder.story(Self.workload("Deployment", replicas: 1), [], until: 0.1).world.plan.workloads.first { $0.kind == .replicaSet }?.key.name ?? ""
        let path = folder.write("o.yaml", scenarioText("  steps:\n  - {scale: rs/\(name), replicas: 2}\n") + Self.workload("Deployment", replicas: 1))
        let error = #expect(throws: Failure.self) { _ = try ScenarioRunner(ScenarioFile.load(path), options: RunOptions(), hooks: .quiet) }
        #expect(error?.description.contains("belongs to Deployment \"web\"") == true)
    }
}
