import Foundation
import HairpinCluster
import HairpinEngine
import Testing

@testable import HairpinScenario

/// Deployments restarted under traffic: which requests are lost, and why.
@Suite("Rolling updates under traffic")
struct RolloutTests {
    let folder = TemporaryFolder()

    private func manifests(image: String = "registry.k8s.io/e2e-test-images/agnhost:2.53", extra: String = "", pod: String = "", strategy: String = "") -> String {
        let arguments = image.hasPrefix("nginx") ? "" : "args: [netexec, --http-port=80], "
        return """
            ---
            apiVersion: apps/v1
            kind: Deployment
            metadata: {name: web}
            spec:
              replicas: 2
              \(strategy)
              selector: {matchLabels: {app: web}}
              template:
                metadata: {labels: {app: web}}
                spec:
                  \(pod)
                  containers:
                  - {name: web, image: "\(image)", \(arguments)ports: [{containerPort: 80}], readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}\(extra)}
            ---
            {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}
            ---
            {apiVersion: v1, kind: Pod, metadata: {name: client}, spec: {containers: [{name: c, image: alpine, command: [sleep, infinity]}]}}

            """
    }

    private func run(
        _ manifests: String, requests: String = "rate: 50, for: 6s", cluster: String = "endpointsDelay: 100ms, kubeProxyDelay: 400ms", restarts: String = "",
        threads: Int = 1
    ) throws -> (requests: RequestsResult, result: RunResult, text: String) {
        let steps = """
              - {id: load, at: 1s, in: pod/client, requests: {to: http://web/, \(requests)}}
              - {id: roll, at: 2s, restart: deploy/web}
              \(restarts)
            """
        let (result, text) = try folder.run(manifests, cluster: "dns: false, \(cluster)", steps, threads: threads)
        return (try #require(result.steps.first { $0.id == "load" }?.requests), result, text)
    }

    @Test("Pods that end at once: lost is what comes to them between their end and kube-proxy's next sync, refused first and then unanswered")
    func atOnce() throws {
        let (requests, result, text) = try run(manifests())
        #expect(requests.sent == 300 && requests.answered + requests.lost == 300)
        #expect(requests.count("refused") > 0 && requests.count("no connection") > 0, "\(text)")
        for loss in requests.losses {
            let pod = try #require(loss.pod)
            #expect(pod.hasPrefix("default/web-") && loss.endpoint?.hasSuffix(":80") == true)
            // Two sandboxes of 200 ms and syncs half a second behind: nothing is lost outside of these.
            #expect(loss.startedNanoseconds > 2_000_000_000 && loss.startedNanoseconds < 4_000_000_000, "\(loss)")
            switch loss.cause {
            case "refused": #expect(loss.reason.contains("had ended") && loss.reason.contains("kube-proxy took it out of its rules"), "\(loss.reason)")
            case "no connection":
                #expect(loss.reason.contains("was gone for") && loss.reason.contains("kube-proxy took it out of its rules"), "\(loss.reason)")
                // The timeout, and the time to wake up.
                #expect((2_000_000_000..<2_001_000_000).contains(loss.endedNanoseconds - loss.startedNanoseconds))
            default: #expect(["reset", "closed"].contains(loss.cause), "\(loss)")
            }
        }
        // Both old pods were met, and none that is new.
        #expect(Set(requests.losses.compactMap(\.pod)).count == 2)
        #expect(result.cluster?.pods == 3 && result.cluster?.readyPods == 3)
        #expect(text.contains("300 requests: \(requests.answered) answered, \(requests.lost) lost"))
    }

    @Test("A faster kube-proxy loses fewer, and one that needs no time loses what is on its way")
    func delays() throws {
        let slow = try run(manifests(), cluster: "endpointsDelay: 200ms, kubeProxyDelay: 800ms").requests.lost
        let fast = try run(manifests(), cluster: "endpointsDelay: 0ms, kubeProxyDelay: 100ms").requests.lost
        let instant = try run(manifests(), cluster: "endpointsDelay: 0ms, kubeProxyDelay: 0ms").requests.lost
        #expect(slow > fast && fast > instant && instant <= 2, "\(slow) \(fast) \(instant)")
    }

    @Test("preStop: a pause longer than kube-proxy's delay loses nothing; a shorter one, or one the grace period cuts short, does")
    func preStop() throws {
        #expect(try run(manifests(extra: ", lifecycle: {preStop: {sleep: {seconds: 1}}}")).requests.lost == 0)
        #expect(try run(manifests(extra: ", lifecycle: {preStop: {exec: {command: [sleep, '1']}}}")).requests.lost == 0)
        let short = try run(manifests(extra: ", lifecycle: {preStop: {sleep: {seconds: 1}}}"), cluster: "endpointsDelay: 0ms, kubeProxyDelay: 1500ms").requests
        #expect(short.lost > 0 && short.count("refused") > 0)
        let cut = try run(
            manifests(extra: ", lifecycle: {preStop: {exec: {command: [sleep, '5']}}}", pod: "terminationGracePeriodSeconds: 1"), cluster: "kubeProxyDelay: 1500ms"
        ).requests
        #expect(cut.lost > 0)
        // Grace zero: killed at once, hook or not.
        let none = try run(manifests(extra: ", lifecycle: {preStop: {exec: {command: [sleep, '5']}}}", pod: "terminationGracePeriodSeconds: 0")).requests
        #expect(none.lost > 0)
    }

    @Test("A server that ignores the signal serves on until it is killed, when kube-proxy has long followed")
    func ignoring() throws {
        // The shell is the first process; nginx, which would end, is its child and hears nothing.
        let text = manifests(image: "nginx", pod: "terminationGracePeriodSeconds: 2").replacingOccurrences(
            of: "image: \"nginx\",", with: "image: nginx, command: [sh, -c, \"nginx -g 'daemon off;'; true\"],")
        let patient = try run(text, cluster: "kubeProxyDelay: 500ms")
        #expect(patient.requests.lost == 0, "\(patient.text)")
        let late = try run(text, requests: "rate: 50, for: 9s", cluster: "kubeProxyDelay: 2500ms")
        #expect(late.requests.lost > 0 && late.requests.losses.allSatisfy { $0.startedNanoseconds > 4_000_000_000 }, "\(late.text)")
    }

    @Test("nginx answers what it has begun, and refuses what is new")
    func graceful() throws {
        let (requests, _, text) = try run(manifests(image: "nginx"))
        #expect(requests.lost > 0 && requests.count("reset") + requests.count("closed") <= 1, "\(text)")
        // Kept connections are closed while idle, and opened anew: only new ones are lost.
        let kept = try run(manifests(image: "nginx"), requests: "rate: 50, for: 6s, keepAlive: true").requests
        #expect(kept.lost < requests.lost)
    }

    @Test("Recreate leaves a time without endpoints, in which kube-proxy's rules reject")
    func recreate() throws {
        let (requests, _, text) = try run(manifests(strategy: "strategy: {type: Recreate}"), cluster: "kubeProxyDelay: 50ms")
        let rejected = requests.losses.filter { $0.endpoint == nil }
        #expect(!rejected.isEmpty && rejected.allSatisfy { $0.cause == "refused" && $0.reason.contains("its rules reject") }, "\(text)")
    }

    @Test("Surge and unavailability are the strategy's: without surge an old pod goes first")
    func strategy() throws {
        for (strategy, surge) in [("{rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}", 0), ("{rollingUpdate: {maxSurge: '100%', maxUnavailable: 0}}", 2)] {
            var most = 0
            var least = Int.max
            let spec = """
                  cluster: {dns: false, cni: flannel-host-gw}
                  steps:
                  - {id: roll, at: 2s, restart: deploy/web}
                """
            let path = folder.write("s.yaml", scenarioText(spec) + manifests(strategy: "strategy: \(strategy)"))
            let world = try World(ScenarioFile.load(path), seed: 1, log: .quiet)
            world.advance(to: Instant(nanoseconds: 2_000_000_000)) { true }
            #expect(try world.apply(.restart(WorkloadReference(.deployment, ObjectKey(namespace: "default", name: "web")))) == ["deployment.apps/web restarted"])
            for step in 1...80 {
                world.advance(to: Instant(nanoseconds: 2_000_000_000 + UInt64(step) * 50_000_000)) { true }
                let web = world.pods.filter { $0.pod.labels["app"] == "web" }
                most = max(most, web.count { $0.phase == .present })
                least = min(least, web.count { $0.phase == .present && $0.isReady })
            }
            #expect(most == 2 + surge && least == (surge == 0 ? 1 : 2), "\(strategy) \(most) \(least)")
            #expect(world.controllers.allSatisfy(\.isSettled) && world.pods.count { $0.phase == .gone } == 2)
        }
    }

    @Test("A second restart replaces what the first has made; threads change nothing")
    func twice() throws {
        let restarts = "- {id: again, at: 4s, restart: deploy/web}"
        let one = try run(manifests(extra: ", lifecycle: {preStop: {sleep: {seconds: 1}}}"), cluster: "nodes: 2", restarts: restarts)
        #expect(one.requests.lost == 0 && one.result.cluster?.pods == 3)
        let two = try run(manifests(extra: ", lifecycle: {preStop: {sleep: {seconds: 1}}}"), cluster: "nodes: 2", restarts: restarts, threads: 2)
        #expect(one.text == two.text)
    }

    @Test(
        "What cannot be is refused",
        arguments: [
            ("- {restart: pod/client}", "Only Deployments, StatefulSets and DaemonSets can"), ("- {restart: deploy/wob}", "deployments.apps \"wob\" not found"), ("- {restart: deploy/web, run: ls}", "stands beside"),
            ("- {in: pod/client, requests: {to: web, rate: 1, for: 1s}}", "begins with http://"), ("- {in: pod/client, requests: {to: 'http://web/', rate: 0, for: 1s}}", "rate"),
            ("- {in: pod/client, requests: {to: 'http://web/', rate: 1, for: 1ms}}", "makes 0 requests"),
            ("- {in: pod/client, requests: {to: 'http://web/', rate: 1}}", "for"), ("- {in: pod/client, requests: {to: 'http://wob/', rate: 1, for: 1s}}", "wob"),
        ])
    func refusals(step: String, words: String) throws {
        let path = folder.write("r.yaml", scenarioText("  steps:\n  \(step)\n") + manifests())
        let error = #expect(throws: Failure.self) {
            _ = try ScenarioRunner(ScenarioFile.load(path), options: RunOptions(), hooks: .quiet)
        }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }
}
