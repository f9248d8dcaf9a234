import Foundation
import HairpinCluster
import HairpinEngine
import Testing

@testable import HairpinScenario

/// StatefulSets and DaemonSets restarted, by themselves and under traffic.
@Suite("Rollouts of StatefulSets and DaemonSets")
struct SetRolloutTests {
    let folder = TemporaryFolder()

    // MARK: StatefulSets

    private func set(_ replicas: Int, _ spec: String = "serviceName: web", container: String = "", pod: String = "") -> String {
        ScaleTests.workload("StatefulSet", replicas: replicas, spec: spec, pod: pod, container: container)
    }

    @Test("From the highest ordinal down: a pod ends, comes again under its name, and is ready before the next one ends")
    func ordered() throws {
        let story = try folder.story(set(3), ["{at: 2s, restart: sts/web}"], until: 8)
        #expect(
            story.order == [2, 1, 0].flatMap { ["web-\($0) deleted", "web-\($0) gone", "web-\($0) made", "web-\($0) ready"] })
        // At no time is more than one missing; each new one has an address of its own.
        #expect(story.present("web").map(\.metadata.name).sorted() == ["web-0", "web-1", "web-2"])
        #expect(Set(story.world.pods.compactMap(\.pod.address)).count == 7)
        #expect(Set(story.world.pods.map(\.pod.hostName)).isSuperset(of: ["default/web-2", "default/web-2@2"]))
    }

    @Test("A cluster begins with the first pod of a set; each other is made when the one before is ready, or all at once where they are Parallel")
    func beginning() throws {
        let ordered = try folder.story(set(3), [], until: 2)
        let times = ordered.beginning.map(\.at)
        #expect(ordered.beginning.map(\.pod) == ["web-1", "web-2"] && times[0] < times[1] && ordered.present("web").count == 3, "\(ordered.beginning)")
        // A pod that is never ready holds the others up, and `exec` and `get` wait no longer for them than for it.
        let broken = set(3).replacingOccurrences(of: "port: 80}, periodSeconds", with: "port: 81}, periodSeconds")
        let stuck = try folder.story(broken, [], until: 5)
        #expect(stuck.present("web").map(\.metadata.name) == ["web-0"] && stuck.beginning.isEmpty)
        let listed = try ClusterView(ScenarioFile.cluster(manifests: [folder.write("stuck.yaml", broken)]), hooks: .quiet)
        var request = ObjectRequest()
        request.words = ["pods,sts"]
        let shown = try listed.get(request).data
        #expect(shown.contains("web-0 ") && !shown.contains("web-1 ") && shown.contains("0/3"), "\(shown)")
        // One that is made later is there for whoever names it, and counts as one of the cluster's.
        let loaded = try ScenarioFile.cluster(manifests: [folder.write("set.yaml", set(3))])
        var output = ""
        let status = try Execution(loaded, hooks: .quiet).run(["hostname"], in: Place(kind: .pod, name: "web-2"), container: nil) { (_, bytes) throws(Failure) in
            output += String(decoding: bytes, as: UTF8.self)
        }
        #expect(status == 0 && output == "web-2\n")
        #expect(try Validation.check(folder.path + "/set.yaml").summary.hasPrefix("5 pods"))
        let parallel = try folder.story(set(3, "serviceName: web, podManagementPolicy: Parallel"), [], until: 2)
        #expect(parallel.beginning.isEmpty && parallel.present("web").count == 3)
        // What is asked of an ordered set while it begins waits for its turn too.
        let scaled = try folder.story(set(4, "serviceName: web, minReadySeconds: 1"), ["{at: 1s, scale: sts/web, replicas: 2}"], until: 12)
        #expect(scaled.present("web").map(\.metadata.name).sorted() == ["web-0", "web-1"], "\(scaled.order)")
    }

    @Test("The partition keeps the pods below it; what is made anew there is of the old template, and what was replaced is not replaced again")
    func partition() throws {
        let partitioned = set(3, "serviceName: web, updateStrategy: {rollingUpdate: {partition: 2}}")
        let one = try folder.story(partitioned, ["{at: 2s, restart: sts/web}"], until: 6)
        #expect(one.order == ["web-2 deleted", "web-2 gone", "web-2 made", "web-2 ready"] && one.world.controllers.allSatisfy(\.isSettled))
        let two = try folder.story(partitioned, ["{at: 2s, restart: sts/web}", "{at: 5s, scale: sts/web, replicas: 1}", "{at: 8s, scale: sts/web, replicas: 3}"], until: 12)
        #expect(two.names(.made) == ["web-2", "web-1", "web-2"] && two.names(.deleted) == ["web-2", "web-2", "web-1"])
    }

    @Test("Parallel pods are replaced one at a time too, unless maxUnavailable says more")
    func parallel() throws {
        func together(_ rolling: String) throws -> Int {
            let story = try folder.story(set(4, "serviceName: web, podManagementPolicy: Parallel, updateStrategy: {rollingUpdate: \(rolling)}"), ["{at: 2s, restart: sts/web}"], until: 9)
            #expect(story.names(.made).count == 4 && story.present("web").count == 4)
            return Dictionary(grouping: story.lines.filter { $0.event == .deleted }, by: \.at).values.map(\.count).max() ?? 0
        }
        #expect(try together("{}") == 1)
        #expect(try together("{maxUnavailable: 3}") == 3)
    }

    @Test("minReadySeconds keep the next pod waiting; one that never becomes ready keeps it for ever")
    func patience() throws {
        let patient = try folder.story(set(2, "serviceName: web, minReadySeconds: 3"), ["{at: 4s, restart: sts/web}"], until: 12)
        let ready = try #require(patient.lines.first { $0.pod == "web-1" && $0.event == .ready })
        let next = try #require(patient.lines.first { $0.pod == "web-0" && $0.event == .deleted })
        #expect((next.at - ready.at).nanoseconds >= 2_950_000_000)

        // The client has .2, the pods .3 and .4, those that follow .5 and .6: web-1 comes again without a server.
        let script = "if [ $(hostname -i) = 10.244.0.6 ]; then sleep 1000; fi; exec nginx -g 'daemon off;'"
        let broken = """
            ---
            apiVersion: apps/v1
            kind: StatefulSet
            metadata: {name: web}
            spec: {replicas: 2, serviceName: web, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {
              terminationGracePeriodSeconds: 0, containers: [{name: c, image: nginx, command: [sh, -c, "\(script)"], readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}}]}}}
            ---
            {apiVersion: v1, kind: Pod, metadata: {name: client}, spec: {containers: [{name: c, image: alpine, command: [sleep, infinity]}]}}

            """
        let stuck = try folder.story(broken, ["{at: 3s, restart: sts/web}"], until: 12)
        #expect(stuck.order == ["web-1 deleted", "web-1 gone", "web-1 made"] && stuck.present("web").count == 2, "\(stuck.lines)")
    }

    @Test("Requests that are lost say which pod of the name was meant, and when kube-proxy followed; a preStop hook saves them")
    func traffic() throws {
        let cluster = "nodes: 2, dns: true, endpointsDelay: 100ms, kubeProxyDelay: 400ms"
        let steps = """
              - {id: load, at: 1s, in: pod/client, requests: {to: http://web/, rate: 50, for: 8s}}
              - {id: roll, at: 2s, restart: sts/web}
              - {id: ask, at: 9s, in: pod/client, run: 'getent hosts web-1.web; curl -sS http://web-1.web/hostname'}
            """
        let headless = set(2).replacingOccurrences(
            of: "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}",
            with: """
                {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}}
                ---
                {apiVersion: v1, kind: Service, metadata: {name: any}, spec: {selector: {app: web}, ports: [{port: 80}]}}
                """)
        let (result, text) = try folder.run(headless, cluster: cluster, steps.replacingOccurrences(of: "to: http://web/", with: "to: http://any/"))
        let load = try #require(result.steps.first { $0.id == "load" }?.requests)
        #expect(result.steps.first { $0.id == "roll" }?.stdout == "statefulset.apps/web restarted\n")
        #expect(load.lost > 0 && Set(load.losses.compactMap(\.pod)) == ["default/web-0", "default/web-1"], "\(text)")
        #expect(load.losses.allSatisfy { $0.reason.contains("kube-proxy took it out of its rules") && !$0.reason.contains("had taken it out") }, "\(text)")
        // The pod's own name leads to the address it has now.
        let answer = result.steps.first { $0.id == "ask" }?.stdout ?? ""
        let now = try #require(answer.split(separator: " ").first.map(String.init))
        #expect(answer.hasSuffix("web-1") && !load.losses.contains { $0.endpoint == "\(now):80" }, "\(text)")
        #expect(text == (try folder.run(headless, cluster: cluster, steps.replacingOccurrences(of: "to: http://web/", with: "to: http://any/"), threads: 2)).text)

        let hook = headless.replacingOccurrences(of: "periodSeconds: 1}", with: "periodSeconds: 1}, lifecycle: {preStop: {sleep: {seconds: 1}}}")
        let saved = try folder.run(hook, cluster: cluster, steps.replacingOccurrences(of: "to: http://web/", with: "to: http://any/")).result
        #expect(saved.steps.first { $0.id == "load" }?.requests?.lost == 0)
    }

    // MARK: DaemonSets

    private func daemons(_ rolling: String = "{}", spec: String = "") -> String {
        ScaleTests.workload("DaemonSet", replicas: 0, spec: "updateStrategy: {rollingUpdate: \(rolling)}\(spec)")
    }

    @Test("One node after another: the old pod is gone before the new one is made, and ready before the next node")
    func oneNode() throws {
        let story = try folder.story(daemons(), cluster: "nodes: 3", ["{at: 2s, restart: ds/web}"], until: 9)
        #expect(story.lines.map(\.event) == [.deleted, .gone, .made, .ready, .deleted, .gone, .made, .ready, .deleted, .gone, .made, .ready])
        #expect(story.present("web").map { $0.node ?? "" } == ["node1", "node2", "node3"])
        // Each new pod is on the node of the one that went before it.
        let nodes = Dictionary(story.world.pods.map { ($0.pod.metadata.name, $0.pod.node ?? "") }) { $1 }
        #expect(story.names(.deleted).map { nodes[$0] } == story.names(.made).map { nodes[$0] })
    }

    @Test("maxUnavailable nodes at a time, in numbers or per cent, rounded up")
    func unavailable() throws {
        for (rolling, most) in [("{maxUnavailable: 2}", 2), ("{maxUnavailable: '40%'}", 2), ("{maxUnavailable: '100%'}", 4)] {
            let story = try folder.story(daemons(rolling), cluster: "nodes: 4", ["{at: 2s, restart: ds/web}"], until: 8)
            let groups = Dictionary(grouping: story.lines.filter { $0.event == .deleted }, by: \.at).values.map(\.count)
            #expect(groups.max() == most && story.names(.made).count == 4, "\(rolling) \(story.lines)")
        }
    }

    @Test("With maxSurge the new pod is there, and ready, before the old one goes")
    func surge() throws {
        let story = try folder.story(daemons("{maxSurge: 1, maxUnavailable: 0}"), cluster: "nodes: 2", ["{at: 2s, restart: ds/web}"], until: 8)
        #expect(story.lines.filter { $0.event != .gone }.map(\.event) == [.made, .ready, .deleted, .made, .ready, .deleted], "\(story.lines)")
        let twice = try folder.story(
            daemons("{maxSurge: '100%', maxUnavailable: 0}"), cluster: "nodes: 2", ["{at: 2s, restart: ds/web}", "{at: 2050ms, restart: ds/web}"], until: 9)
        #expect(twice.present("web").count == 2 && twice.names(.made).count == 4 && twice.world.controllers.allSatisfy(\.isSettled), "\(twice.lines)")
    }

    @Test("Under traffic: what a node loses is said with the daemon's name; with maxSurge and a hook nothing is lost")
    func daemonTraffic() throws {
        let steps = """
              - {id: load, at: 1s, in: pod/client, requests: {to: http://web/, rate: 50, for: 7s}}
              - {id: roll, at: 2s, restart: ds/web}
            """
        let cluster = "nodes: 2, dns: false, endpointsDelay: 100ms, kubeProxyDelay: 400ms"
        let (result, text) = try folder.run(daemons(), cluster: cluster, steps)
        let load = try #require(result.steps.first { $0.id == "load" }?.requests)
        #expect(result.steps.first { $0.id == "roll" }?.stdout == "daemonset.apps/web restarted\n")
        #expect(load.lost > 0 && load.losses.allSatisfy { $0.pod?.hasPrefix("default/web-") ?? false && $0.reason.contains("kube-proxy took it out") }, "\(text)")
        let gentle = daemons("{maxSurge: 1, maxUnavailable: 0}").replacingOccurrences(
            of: "periodSeconds: 1}", with: "periodSeconds: 1}, lifecycle: {preStop: {sleep: {seconds: 1}}}")
        #expect(try folder.run(gentle, cluster: cluster, steps).result.steps.first { $0.id == "load" }?.requests?.lost == 0)
    }

    // MARK: Scaling within a rollout

    @Test("A Deployment that is scaled while its pods are replaced hands the difference to old and new pods in proportion")
    func proportion() throws {
        // The new pods are not ready before 5 s: at 3 s 10 old and 3 surging ones are there, in the documentation's own example.
        let slow = ScaleTests.workload("Deployment", replicas: 10, spec: "strategy: {rollingUpdate: {maxSurge: 3, maxUnavailable: 2}}").replacingOccurrences(
            of: "periodSeconds: 1}", with: "periodSeconds: 1, initialDelaySeconds: 3}")
        let story = try folder.story(slow, ["{at: 5s, restart: deploy/web}", "{at: 6s, scale: deploy/web, replicas: 15}"], until: 6.5)
        let groups = Dictionary(grouping: story.present("web"), by: { $0.labels["pod-template-hash"] ?? "" }).mapValues(\.count)
        // 8 old and 5 new of 10 become 11 and 7 of 15.
        #expect(groups.values.sorted() == [7, 11], "\(groups)")
        let done = try folder.story(slow, ["{at: 5s, restart: deploy/web}", "{at: 6s, scale: deploy/web, replicas: 15}"], until: 25)
        #expect(done.present("web").count == 15 && Set(done.present("web").map { $0.labels["pod-template-hash"] }).count == 1)
        let less = try folder.story(slow, ["{at: 5s, restart: deploy/web}", "{at: 6s, scale: deploy/web, replicas: 2}", "{at: 7s, scale: deploy/web, replicas: 10}"], until: 25)
        #expect(less.present("web").count == 10 && Set(less.present("web").map { $0.labels["pod-template-hash"] }).count == 1)
    }

    // MARK: Refusals

    @Test(
        "What cannot be is refused",
        arguments: [
            ("StatefulSet", "updateStrategy: {type: OnDelete}", "- {restart: sts/web}", "until somebody deletes them"),
            ("DaemonSet", "updateStrategy: {type: OnDelete}", "- {restart: ds/web}", "until somebody deletes them"),
            ("StatefulSet", "updateStrategy: {type: Recreate}", "- {restart: sts/web}", "must be 'RollingUpdate' or 'OnDelete'"),
            ("DaemonSet", "updateStrategy: {rollingUpdate: {maxSurge: 1}}", "- {restart: ds/web}", "may not be set when maxUnavailable is non-zero"),
            ("DaemonSet", "updateStrategy: {rollingUpdate: {maxUnavailable: 0}}", "- {restart: ds/web}", "cannot be 0 when maxSurge is 0"),
            ("StatefulSet", "podManagementPolicy: Ordered", "- {restart: sts/web}", "OrderedReady"), ("StatefulSet", "", "- {restart: sts/wob}", "Did you mean \"web\"?"),
            ("ReplicaSet", "", "- {restart: rs/web}", "Only Deployments, StatefulSets and DaemonSets can"),
        ])
    func refusals(kind: String, spec: String, step: String, words: String) throws {
        let path = folder.write("f.yaml", scenarioText("  steps:\n  \(step)\n") + ScaleTests.workload(kind, replicas: 2, spec: spec))
        let error = #expect(throws: Failure.self) { _ = try ScenarioRunner(ScenarioFile.load(path), options: RunOptions(), hooks: .quiet) }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }
}
