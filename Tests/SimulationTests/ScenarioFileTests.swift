import Foundation
import HairpinEngine
import HairpinCluster
import Testing

@testable import HairpinScenario

@Suite("Scenario files")
struct ScenarioFileTests {
    let folder = TemporaryFolder()

    func refusal(_ spec: String) -> Failure? {
        let path = folder.write("t.yaml", scenarioText(spec))
        do throws(Failure) {
            _ = try ScenarioFile.load(path)
            return nil
        } catch { return error }
    }

    @Test("Every field of a scenario is read with its unit")
    func everyField() throws {
        let path = folder.write(
            "t.yaml",
            scenarioText(
                """
                  seed: 7
                  until: 90s
                  cluster:
                    nodes: [{name: a, address: 10.0.0.1}, {name: b, address: 10.0.0.2, labels: {zone: x}}]
                    podCIDR: 10.1.0.0/16
                    serviceCIDR: 10.2.0.0/16
                    cni: flannel-host-gw
                    proxyMode: ipvs
                    dns: false
                    links: {node: {rate: 10Gbit, delay: 50us}}
                  hosts: [{name: client, address: 10.0.0.9}]
                  steps:
                  - {id: one, at: 1500ms, in: host/client, run: ping -c 1 10.0.0.1, repeat: 3, timeout: 2s}
                  - {id: two, after: {step: one, delay: 250ms}, in: shop/deploy/web, container: app, run: ls}
                  - {in: node/a, run: ip route}
                  faults:
                  - {at: 5s, for: 2s, link: a, loss: 1%, down: true}
                  expect:
                  - {step: one, exit: 1, stdout: {contains: [a, b], lines: 2, counts: {x: 1}}, duration: {maximum: 1s}}
                  - {drops: {maximum: 0, reason: no socket}}
                  - {frames: {on: "a:*", filter: tcp, minimum: 1}}
                  - {captures: {interfaces: ["a:eth0"], frames: 12}}
                  capture: {interfaces: ["a:*"], filter: tcp or arp}
                """))
        let scenario = try ScenarioFile.load(path).scenario
        #expect(scenario.seed == 7)
        #expect(scenario.until == Instant(nanoseconds: 90_000_000_000))
        #expect(scenario.cluster.nodes.map(\.name) == ["a", "b"])
        #expect(scenario.cluster.cni == "flannel-host-gw" && scenario.cluster.proxyMode == .ipvs && !scenario.cluster.dns)
        #expect(scenario.cluster.nodeLink.rate == 10_000_000_000)
        #expect(scenario.cluster.nodeLink.delay == .microseconds(50))
        #expect(scenario.hosts.map(\.name) == ["client"])
        #expect(scenario.steps.map(\.start) == [.at(Instant(nanoseconds: 1_500_000_000)), .after(step: "one", delay: .milliseconds(250)), .afterPrevious])
        #expect(scenario.steps.map(\.id) == ["one", "two", "step 3"])
        #expect(scenario.steps[0].repetitions == 3 && scenario.steps[0].timeout == .seconds(2))
        #expect(scenario.steps[1].place == Place(kind: .deployment, namespace: "shop", name: "web"))
        #expect(scenario.faults.map(\.effect) == [.loss(Ratio(billionths: 10_000_000)), .down])
        #expect(scenario.expectations.count == 4)
        #expect(scenario.capture.filter == "tcp or arp")
    }

    @Test(
        "A mistake is named with its line and what to write instead",
        arguments: [
            ("  stepps: []", "t.yaml:5: spec: \"stepps\" is an unknown field. Did you mean \"steps\"?"),
            ("  steps:\n  - {in: pod/x, run: ls, timout: 1s}", "t.yaml:6: spec.steps[0]: \"timout\" is an unknown field. Did you mean \"timeout\"?"),
            ("  steps:\n  - {in: pod/x, run: ls, at: 5}", "t.yaml:6: spec.steps[0].at: \"5\" has no unit. Write \"5s\" for seconds"),
            ("  steps:\n  - {in: pood/x, run: ls}", "t.yaml:6: spec.steps[0].in: \"pood/x\" is not a place. Did you mean \"pod/…\"?"),
            ("  steps:\n  - {id: a, in: pod/x, run: ls}\n  - {id: a, in: pod/x, run: ls}", "t.yaml:7: spec.steps[1].id: \"a\" is the id of an earlier step"),
            ("  steps:\n  - {id: a, after: b, in: pod/x, run: ls}", "t.yaml:6: spec.steps[0].after: \"b\" is no earlier step"),
            (
                "  steps:\n  - {id: page, in: pod/x, run: ls}\n  expect:\n  - {step: pagee, exit: 0}",
                "t.yaml:8: spec.expect[0].step: \"pagee\" is not the id of a step. Did you mean \"page\"?"
            ),
            ("  expect:\n  - {drops: {reason: no sockets, maximum: 0}}", "Did you mean \"no socket\"?"),
            ("  expect:\n  - {frames: {on: \"*\"}}", "spec.expect[0].frames: has no limit"),
            ("  expect:\n  - {exit: 0}", "belongs to a step"),
            ("  steps:\n  - {id: a, in: pod/x, run: ls}\n  expect:\n  - {step: a, stdout: {matches: \"(\"}}", "\"(\" is not a regular expression"),
            ("  cluster: {cni: calico-vxlan}", "\"calico-vxlan\" is not modelled yet"),
            ("  cluster: {cni: brigde}", "Did you mean \"bridge\"?"),
            ("  cluster: {nodes: [{name: a}, {name: a}]}", "is the name of another node"),
            ("  cluster: {nodes: 100000}", "is out of range"),
            ("  cluster: {links: {node: {rate: 10Gbps}}}", "\"10Gbps\" is not a rate"),
            ("  faults:\n  - {at: 1s, link: node1}", "does nothing"),
            ("  faults:\n  - {at: 1s, link: deploy/web, down: true}", "has no cable of its own"),
            ("  manifests: [t.yaml]", "includes itself: "),
            ("  manifests: [missing.yaml]", "t.yaml:5: spec.manifests[0]: \"missing.yaml\" does not exist"),
        ])
    func mistakes(spec: String, message: String) throws {
        let failure = try #require(self.refusal(spec))
        #expect(failure.kind == .input)
        #expect(failure.description.contains(message), "\(failure.description)")
    }

    @Test("A circle through two files is shown whole")
    func circle() throws {
        _ = folder.write("b.yaml", scenarioText("  manifests: [t.yaml]"))
        let failure = try #require(self.refusal("  manifests: [b.yaml]"))
        #expect(failure.kind == .input)
        #expect(failure.description.contains("b.yaml → "))
    }

    @Test("A file named twice is read once")
    func diamond() throws {
        _ = folder.write("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: nginx}]}\n")
        let path = folder.write("t.yaml", scenarioText("  manifests: [pod.yaml, ./pod.yaml]"))
        #expect(try ScenarioFile.load(path, manifests: [folder.path + "/pod.yaml"]).manifests.pods.count == 1)
    }

    @Test("An absent file is not found, and a near built-in name is offered")
    func absent() throws {
        do throws(Failure) {
            _ = try ScenarioFile.load("pod-to-pood")
            Issue.record("there is no such scenario")
        } catch {
            #expect(error.kind == .notFound)
            #expect(error.description.contains("pod-to-pod"))
        }
    }

    @Test(
        "Places are written as kubectl writes them",
        arguments: [
            ("web-0", Place(kind: .pod, name: "web-0")), ("po/web-0", Place(kind: .pod, name: "web-0")),
            ("shop/svc/web", Place(kind: .service, namespace: "shop", name: "web")),
            ("statefulset/db", Place(kind: .statefulSet, name: "db")), ("node/node1", Place(kind: .node, name: "node1")),
        ])
    func places(text: String, place: Place) {
        #expect(Place(text) == place)
    }

    @Test("What names no place is refused", arguments: ["", "/", "pod/", "pod//x", "thing/x", "a/b/c/d"])
    func noPlaces(text: String) {
        #expect(Place(text) == nil)
    }

    @Test("Every built-in scenario is in order and says what it shows")
    func builtins() throws {
        #expect(BuiltinScenario.all.map(\.name) == ["container-to-container", "pod-to-pod", "pod-to-service", "pod-to-service-iptables", "network-policy", "rolling-update"])
        for scenario in BuiltinScenario.all {
            let loaded = try ScenarioFile.load(scenario.name)
            #expect(loaded.scenario.name == scenario.name)
            #expect(!scenario.summary.isEmpty)
            #expect(!loaded.scenario.expectations.isEmpty)
        }
    }

    // MARK: Where files come from

    @Test("Standard input is a file among others: a scenario, or manifests beside one; folders with -R are those below them too")
    func sources() throws {
        let folder = TemporaryFolder()
        let pod = "{apiVersion: v1, kind: Pod, metadata: {name: NAME}, spec: {containers: [{name: c, image: nginx}]}}\n"
        func named(_ name: String) -> String { pod.replacingOccurrences(of: "NAME", with: name) }
        let scenario = folder.write("s.yaml", scenarioText("  steps:\n  - {in: pod/piped, run: hostname}\n"))
        let one = folder.write("one.yaml", named("one"))
        let two = folder.write("two.yaml", named("two"))
        func source(_ text: String, isRecursive: Bool = false) -> FileSource { FileSource(isRecursive: isRecursive) { () throws(InputError) in Array(text.utf8) } }
        func names(_ loaded: LoadedScenario) -> [String] { loaded.manifests.pods.map(\.metadata.name) }

        #expect(try names(ScenarioFile.load(scenario, manifests: ["-"], from: source(named("piped")))) == ["piped"])
        #expect(try names(ScenarioFile.load("-", manifests: ["\(one),\(two)"], from: source(scenarioText("  seed: 7\n")))) == ["one", "two"])
        let both = try ScenarioFile.cluster(manifests: [one, "-", two], keepsStory: true, from: source(scenarioText("  seed: 7\n") + "---\n" + named("piped")))
        #expect(names(both) == ["one", "piped", "two"] && both.hasScenario && both.scenario.seed == 7)

        try FileManager.default.createDirectory(atPath: folder.path + "/m/b", withIntermediateDirectories: true)
        for (file, name) in [("m/a.yaml", "a"), ("m/b/b.yaml", "b"), ("m/c.json", "c")] { _ = folder.write(file, named(name)) }
        try FileManager.default.createSymbolicLink(atPath: folder.path + "/m/b/round", withDestinationPath: folder.path + "/m")
        #expect(try names(ScenarioFile.cluster(manifests: [folder.path + "/m"])) == ["a", "c"])
        #expect(try names(ScenarioFile.cluster(manifests: [folder.path + "/m"], from: source("", isRecursive: true))) == ["a", "b", "c"])

        func problem(_ manifests: [String], _ text: String) -> String {
            do { return "\(names(try ScenarioFile.cluster(manifests: manifests, from: source(text))))" } catch { return error.description }
        }
        #expect(problem(["-"], "").contains("STDIN: has no objects in it"))
        #expect(problem(["-", "-"], named("piped")).contains("STDIN: is named twice"))
        #expect(problem(["-"], "{apiVersion: v1, kind: Pod, metadata: {name: A_}, spec: {}}").contains("STDIN:1: metadata.name"))
        // What a scenario from standard input names is looked for in the current folder.
        #expect(throws: Failure.self) { try ScenarioFile.load("-", from: source(scenarioText("  manifests: [nowhere.yaml]\n"))) }
    }
}
