import HairpinCluster
import HairpinEngine
import Testing

@testable import HairpinScenario

/// `apply` and `delete` of objects while the cluster runs.
@Suite("Objects applied while time runs")
struct AppliedObjectTests {
    let folder = TemporaryFolder()

    private static let client = """
        ---
        {apiVersion: v1, kind: Pod, metadata: {name: client}, spec: {nodeName: node1, containers: [{name: c, image: alpine, command: [sleep, infinity]}]}}

        """

    private static func service(_ spec: String, name: String = "web") -> String { "{apiVersion: v1, kind: Service, metadata: {name: \(name)}, spec: {\(spec)}}" }
    private static func workload(_ kind: String, _ replicas: Int?, image: String = "nginx", spec: String = "", name: String = "web", grace: Int = 1) -> String {
        let count = replicas.map { "replicas: \($0), " } ?? ""
        let version = kind == "ReplicationController" ? "v1" : kind == "Job" ? "batch/v1" : "apps/v1"
        let selector = kind == "Job" ? "" : kind == "ReplicationController" ? "selector: {app: \(name)}, " : "selector: {matchLabels: {app: \(name)}}, "
        let restart = kind == "Job" ? "restartPolicy: Never, " : ""
        return "{apiVersion: \(version), kind: \(kind), metadata: {name: \(name)}, spec: {\(count)\(spec.isEmpty ? "" : spec + ", ")\(selector)template: {metadata: {labels: {app: \(name)}}, "
            + "spec: {\(restart)terminationGracePeriodSeconds: \(grace), containers: [{name: c, image: \(image)}]}}}}"
    }
    private func run(_ cluster: String, _ steps: String, manifests: String = client, threads: Int = 1) throws -> (result: RunResult, text: String) {
        try folder.run(manifests, cluster: cluster, steps, threads: threads)
    }

    // MARK: Services

    @Test(
        "A Service and its pods come, change and go: DNS, rules and frames follow, each after its delay",
        arguments: [("iptables", "iptables-save"), ("nftables", "nft list ruleset"), ("ipvs", "ipvsadm -Ln; ip addr show dev kube-ipvs0")])
    func service(mode: String, listing: String) throws {
        let steps = """
              - {id: before, in: pod/client, run: curl -sS -m 2 http://web/}
              - {id: svc, apply: \(Self.service("clusterIP: 10.96.0.77, selector: {app: web}, ports: [{port: 80}]"))}
              - {id: early, in: node/node1, run: '\(listing)'}
              - {id: empty, after: {step: svc, delay: 300ms}, in: pod/client, run: curl -sS -m 2 http://web/}
              - {id: dep, apply: \(Self.workload("Deployment", 2))}
              - {id: page, after: {step: dep, delay: 1s}, in: pod/client, run: 'curl -sS http://web/ | grep title; getent hosts web'}
              - {id: rules, in: node/node1, run: '\(listing)'}
              - {id: move, apply: \(Self.service("clusterIP: 10.96.0.77, selector: {app: web}, ports: [{port: 8080, targetPort: 80}]"))}
              - {id: moved, after: {step: move, delay: 300ms}, in: pod/client, run: curl -sS http://web:8080/ -o /dev/null}
              - {id: gone, delete: svc/web}
              - {id: after, after: {step: gone, delay: 300ms}, in: pod/client, run: 'curl -sS -m 1 http://web:8080/; curl -sS -m 1 http://10.96.0.77:8080/'}
              - {id: left, in: node/node1, run: '\(listing)'}
            """
        let (result, text) = try run("nodes: 2, proxyMode: \(mode)", steps)
        #expect(try result.step("before").stderr.contains("Could not resolve host"), "\(text)")
        #expect(try result.step("svc").stdout == "service/web created\n" && result.step("move").stdout == "service/web configured\n")
        #expect(try result.step("gone").stdout == "service \"web\" deleted\n" && result.step("gone").command == "kubectl delete svc web")
        // kube-proxy follows 0.1 s later.
        #expect(try !result.step("early").stdout.contains("10.96.0.77"))
        #expect(try result.step("empty").stderr.contains(mode == "ipvs" ? "10.96.0.77 port 80" : "port 80") || result.step("empty").stderr.contains("Failed to connect"), "\(text)")
        #expect(try result.step("page").stdout.contains("Welcome to nginx!") && result.step("page").stdout.contains("10.96.0.77"), "\(text)")
        let rules = try result.step("rules").stdout
        #expect(rules.contains("10.96.0.77") && rules.contains("10.244.1.2") && rules.contains("10.244.0.3") || rules.contains("10.244.1.3"), "\(rules)")
        #expect(try result.step("moved").exit == 0, "\(text)")
        #expect(try result.step("after").stderr.contains("Could not resolve host: web"), "\(text)")
        #expect(try result.step("after").exit != 0 && !result.step("left").stdout.contains("10.96.0.77"), "\(text)")
    }

    @Test("With time for the endpoint controller kube-proxy refuses what a new Service has no endpoints for yet")
    func order() throws {
        let steps = """
              - {id: svc, at: 5s, apply: \(Self.service("clusterIP: 10.96.0.77, selector: {run: web}, ports: [{port: 80}]"))}
              - {id: soon, at: 5050ms, in: pod/client, run: nc -zv -w 1 10.96.0.77 80}
              - {id: then, at: 6200ms, in: pod/client, run: nc -zv -w 1 10.96.0.77 80}
              - {id: last, at: 7200ms, in: pod/client, run: nc -zv -w 1 10.96.0.77 80}
            """
        let web = "---\n{apiVersion: v1, kind: Pod, metadata: {name: web, labels: {run: web}}, spec: {containers: [{name: c, image: nginx}]}}\n"
        let (result, text) = try run("nodes: 1, dns: false, endpointsDelay: 2s, kubeProxyDelay: 100ms", steps, manifests: Self.client + web)
        #expect(try result.step("soon").stderr.contains("timed out"), "\(text)")
        #expect(try result.step("then").stderr.contains("refused"), "\(text)")
        #expect(try result.step("last").exit == 0, "\(text)")
    }

    @Test("A UDP flow follows a Service to its new pods, as kube-proxy forgets it; one to a Service that has gone does not")
    func datagrams() throws {
        let pods = ["one", "two"].map { "---\n{apiVersion: v1, kind: Pod, metadata: {name: \($0), labels: {n: \($0)}}, spec: {containers: [{name: c, image: agnhost, args: [netexec]}]}}\n" }
        let ask = "echo hostname | timeout 1 nc -u -p 5555 10.96.0.30 8081"
        func service(_ label: String) -> String { Self.service("clusterIP: 10.96.0.30, selector: {n: \(label)}, ports: [{port: 8081, protocol: UDP}]", name: "echo") }
        let steps = """
              - {id: up, apply: \(service("one"))}
              - {id: first, after: {step: up, delay: 1s}, in: pod/client, run: "\(ask)"}
              - {id: change, apply: \(service("two"))}
              - {id: second, after: {step: change, delay: 1s}, in: pod/client, run: "\(ask)"}
              - {id: down, delete: svc/echo}
              - {id: flows, after: {step: down, delay: 1s}, in: node/node1, run: conntrack -L -p udp}
            """
        let (result, text) = try run("nodes: 1, dns: false", steps, manifests: Self.client.replacingOccurrences(of: "alpine", with: "\"debian:12\"") + pods.joined())
        #expect(try result.step("first").stdout == "one" && result.step("second").stdout == "two", "\(text)")
        // `CleanStaleEntries` goes by the Services there are.
        #expect(try result.step("flows").stdout.contains("dst=10.96.0.30 sport=5555 dport=8081 src=10.244.0.4"), "\(text)")
    }

    @Test("What the API server refuses, in its words; what it keeps of an older manifest")
    func admission() throws {
        let web = Self.service("type: NodePort, selector: {app: web}, ports: [{port: 80, nodePort: 30080}]")
        let steps = """
              - {id: made, apply: [\(web), \(Self.service("clusterIP: None, selector: {app: web}, ports: [{port: 80}]", name: "head"))]}
              - {id: address, apply: \(Self.service("clusterIP: 10.96.0.78, selector: {app: web}, ports: [{port: 80}]"))}
              - {id: headless, apply: \(Self.service("clusterIP: None, selector: {app: web}, ports: [{port: 80}]"))}
              - {id: taken, apply: [\(Self.service("clusterIP: 10.96.0.10, ports: [{port: 80}]", name: "a")), \(Self.service("clusterIP: 10.96.0.11, ports: [{port: 80}]", name: "b"))]}
              - {id: range, apply: \(Self.service("clusterIP: 10.1.0.1, ports: [{port: 80}]", name: "c"))}
              - {id: port, apply: \(Self.service("type: NodePort, ports: [{port: 80, nodePort: 30080}]", name: "d"))}
              - {id: kept, apply: [\(Self.service("type: NodePort, selector: {app: web}, ports: [{port: 81}]")), \(Self.service("selector: {app: web}, ports: [{port: 81}]", name: "head"))]}
              - {id: same, apply: \(Self.service("type: NodePort, selector: {app: web}, ports: [{port: 81}]"))}
              - {id: free, apply: [\(Self.service("selector: {app: web}, ports: [{port: 81}]")), \(Self.service("type: NodePort, ports: [{port: 80, nodePort: 30080}]", name: "d"))]}
              - {id: name, apply: [\(Self.service("type: ExternalName, externalName: example.com")), \(Self.service("clusterIP: 10.96.0.79, ports: [{port: 80}]"))]}
              - {id: nowhere, apply: {apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {ports: [{port: 80}]}}}
              - {id: absent, delete: [svc/nothing, svc/a]}
            """
        let (result, text) = try run("nodes: 1", steps)
        func error(_ id: String) throws -> String { try result.step(id).stderr }
        #expect(try result.step("made").stdout == "service/web created\nservice/head created\n")
        #expect(try error("address") == "The Service \"web\" is invalid: spec.clusterIPs[0]: Invalid value: [\"10.96.0.78\"]: may not change once set\n", "\(text)")
        #expect(try error("headless") == "The Service \"web\" is invalid: spec.clusterIPs[0]: Invalid value: [\"None\"]: may not change once set\n" && result.step("headless").exit == 1)
        // One that is refused leaves the others alone.
        let refused = "failed to allocate IP 10.96.0.10: provided IP is already allocated\n"
        #expect(try error("taken") == "The Service \"a\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: \(refused)" && result.step("taken").stdout == "service/b created\n")
        #expect(try error("range").hasSuffix("[\"10.1.0.1\"]: failed to allocate IP 10.1.0.1: the provided network does not match the current range\n"))
        #expect(try error("port") == "The Service \"d\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated\n")
        #expect(try result.step("kept").stdout == "service/web configured\nservice/head configured\n" && result.step("same").stdout == "service/web unchanged\n")
        #expect(try result.step("free").exit == 0 && result.step("name").exit == 0, "\(text)")
        #expect(try error("nowhere") == "Error from server (NotFound): namespaces \"shop\" not found\n")
        #expect(try result.step("absent").stderr == "Error from server (NotFound): services \"nothing\" not found\nError from server (NotFound): services \"a\" not found\n")
    }

    @Test("The server of a health check port opens with a Service and closes with it")
    func healthCheck() throws {
        let spec = "type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 32000, selector: {app: web}, ports: [{port: 80}]"
        let steps = """
              - {id: make, apply: [\(Self.service(spec)), \(Self.workload("Deployment", 1))]}
              - {id: well, after: {step: make, delay: 2s}, in: node/node1, run: "curl -sS http://localhost:32000/"}
              - {id: type, apply: \(Self.service("selector: {app: web}, ports: [{port: 80}]"))}
              - {id: closed, after: {step: type, delay: 1s}, in: node/node1, run: "curl -sS http://localhost:32000/"}
            """
        let (result, text) = try run("nodes: 1, dns: false", steps)
        #expect(try result.step("well").stdout.contains("\"localEndpoints\": 1") && result.step("closed").exit == 7, "\(text)")
    }

    @Test("EndpointSlices and Endpoints written by hand come, change and go with their Service")
    func slices() throws {
        let out = Self.service("clusterIP: 10.96.0.50, ports: [{port: 80}]", name: "out")
        func slice(_ address: String) -> String {
            "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: out-1, labels: {kubernetes.io/service-name: out}}, addressType: IPv4, "
                + "endpoints: [{addresses: [\(address)]}], ports: [{port: 80}]}"
        }
        func endpoints(_ subsets: String) -> String { "{apiVersion: v1, kind: Endpoints, metadata: {name: old}, subsets: \(subsets)}" }
        let steps = """
              - {id: up, at: 1s, apply: [\(out), \(slice("192.168.50.100")), \(Self.service("clusterIP: 10.96.0.51, ports: [{port: 80}]", name: "old"))]}
              - {id: one, at: 2s, in: node/node1, run: iptables-save}
              - {id: change, at: 3s, apply: [\(slice("192.168.50.101")), \(endpoints("[{addresses: [{ip: 192.168.50.100}], ports: [{port: 80}]}]"))]}
              - {id: two, at: 4s, in: node/node1, run: iptables-save}
              - {id: down, at: 5s, delete: [endpointslices/out-1, ep/old]}
              - {id: three, at: 6s, in: node/node1, run: iptables-save}
              - {id: back, at: 7s, apply: [\(endpoints("[]")), \(slice("192.168.50.101"))]}
              - {id: drop, at: 8s, delete: svc/out}
              - {id: anew, at: 9s, apply: \(Self.service("clusterIP: 10.96.0.52, ports: [{port: 80}]", name: "out"))}
              - {id: four, at: 10s, in: node/node1, run: iptables-save}
            """
        let (result, text) = try run("nodes: 1, dns: false", steps)
        func targets(_ id: String) throws -> [String] {
            try result.step(id).stdout.split(separator: "\n").filter { $0.contains("--to-destination 192.168.50.10") }.map { String($0.split(separator: " ").last ?? "") }.sorted()
        }
        #expect(try targets("one") == ["192.168.50.100:80"], "\(text)")
        #expect(try result.step("change").stdout == "endpointslice.discovery.k8s.io/out-1 configured\nendpoints/old created\n")
        #expect(try targets("two") == ["192.168.50.100:80", "192.168.50.101:80"])
        #expect(try result.step("down").stdout == "endpointslice.discovery.k8s.io \"out-1\" deleted\nendpoints \"old\" deleted\n" && targets("three").isEmpty, "\(text)")
        #expect(try result.step("back").stdout == "endpoints/old created\nendpointslice.discovery.k8s.io/out-1 created\n")
        // A slice without an owner outlives its Service.
        #expect(try targets("four") == ["192.168.50.101:80"] && result.step("four").stdout.contains("10.96.0.52"), "\(text)")
    }

    // MARK: Workloads

    @Test("A Deployment is made, rolled out by its manifest, rolled back, scaled by it, deleted and made again")
    func deployment() throws {
        let story = try folder.story(
            Self.client,
            [
                "{at: 2s, apply: \(Self.workload("Deployment", 2))}", "{at: 4s, apply: \(Self.workload("Deployment", 2, image: "httpd"))}",
                "{at: 8s, apply: \(Self.workload("Deployment", 2))}", "{at: 12s, apply: \(Self.workload("Deployment", 3))}", "{at: 14s, delete: deploy/web}",
                "{at: 17s, apply: \(Self.workload("Deployment", nil))}", "{at: 19s, scale: deploy/web, replicas: 2}", "{at: 20s, apply: \(Self.workload("Deployment", nil))}",
            ], until: 24)
        func made(_ from: Double, _ to: Double) -> [PlannedPod] {
            let names = story.lines.filter { $0.event == .made && $0.at > Instant(nanoseconds: UInt64(from * 1e9)) && $0.at <= Instant(nanoseconds: UInt64(to * 1e9)) }.map(\.pod)
            return names.compactMap { name in story.world.pods.first { $0.pod.metadata.name == name }?.pod }
        }
        let first = made(2, 4)
        let second = made(4, 8)
        let third = made(8, 12)
        #expect(first.count == 2 && second.count == 2 && third.count == 2 && made(12, 14).count == 1 && made(14, 17).isEmpty, "\(story.lines)")
        // The older ReplicaSet comes back.
        #expect(first[0].metadata.owner == third[0].metadata.owner && first[0].metadata.owner != second[0].metadata.owner)
        // One replica is the default of a new object; one that is there keeps its number.
        #expect(made(17, 19).count == 1 && made(19, 24).count == 1 && story.present("web").count == 2, "\(story.lines)")
        #expect(story.world.warnings.isEmpty && Set(story.world.pods.compactMap(\.pod.address)).count == story.world.pods.count)
    }

    @Test("Whatever is applied, scaled, restarted and deleted, and when: in the end there is what the last steps say", arguments: 1...8 as ClosedRange<UInt64>)
    func anything(seed: UInt64) throws {
        var random = SeededRandom(seed: seed, name: "applied")
        for kind in ["Deployment", "StatefulSet", "ReplicaSet", "DaemonSet"] {
            let word = ["Deployment": "deploy", "StatefulSet": "sts", "ReplicaSet": "rs", "DaemonSet": "ds"][kind] ?? ""
            let spec = kind == "StatefulSet" ? ["serviceName: web", "serviceName: web, podManagementPolicy: Parallel"][Int(random.below(2))] : ""
            var replicas: Int?
            var image = "nginx"
            var time = 1.0
            var steps: [String] = []
            let begins = random.below(2) == 0
            var manifests = Self.client
            if begins {
                replicas = 2
                manifests += "---\n" + Self.workload(kind, kind == "DaemonSet" ? nil : 2, spec: spec) + "\n"
            }
            for _ in 0..<(4 + random.below(5)) {
                time += Double(1 + random.below(40)) * 0.05
                let at = "at: \(Int(time * 1000))ms"
                switch random.below(6) {
                case 0 where replicas != nil && kind != "ReplicaSet": steps.append("{\(at), restart: \(word)/web}")
                case 1 where replicas != nil && kind != "DaemonSet":
                    replicas = Int(random.below(5))
                    steps.append("{\(at), scale: \(word)/web, replicas: \(replicas!)}")
                case 2 where replicas != nil:
                    replicas = nil
                    steps.append("{\(at), delete: \(word)/web}")
                default:
                    replicas = Int(random.below(5))
                    image = ["nginx", "httpd", "redis"][Int(random.below(3))]
                    steps.append("{\(at), apply: \(Self.workload(kind, kind == "DaemonSet" ? nil : replicas, image: image, spec: spec))}")
                }
            }
            let story = try folder.story(manifests, cluster: "nodes: 3", steps, until: time + 40)
            let wanted = replicas.map { kind == "DaemonSet" ? 3 : $0 } ?? 0
            let present = story.present("web")
            #expect(present.count == wanted && story.world.controllers.allSatisfy(\.isSettled), "\(kind) \(begins) \(steps) \(story.lines)")
            #expect(story.world.warnings.allSatisfy { !$0.contains("planned") }, "\(kind) \(begins) \(steps) \(story.world.warnings)")
            #expect(Set(present.compactMap(\.address)).count == wanted && Set(present.map(\.key)).count == wanted)
            #expect(story.world.pods.allSatisfy { !$0.isTerminating })
            if kind != "ReplicaSet", wanted > 0 { #expect(Set(present.map { $0.template.containers[0].image }) == [image], "\(kind) \(steps)") }
        }
    }

    @Test("A pod is applied, deleted and applied again under its name, with an address of its own; one of a Deployment comes back under another")
    func pods() throws {
        let pod = "{apiVersion: v1, kind: Pod, metadata: {name: extra, labels: {app: x}}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: nginx}]}}"
        let manifests = Self.client + "---\n" + Self.workload("Deployment", 2) + "\n"
        let name = try folder.story(manifests, [], until: 0.1).present("web")[0].metadata.name
        let steps = """
              - {id: make, at: 1s, apply: \(pod)}
              - {id: page, at: 2s, in: pod/extra, run: 'hostname -i; curl -sS localhost >/dev/null'}
              - {id: change, at: 2s, apply: \(pod.replacingOccurrences(of: "name: c,", with: "name: c, command: [sleep, infinity],"))}
              - {id: label, at: 2s, apply: \(pod.replacingOccurrences(of: "app: x", with: "app: y"))}
              - {id: end, at: 3s, delete: pod/extra}
              - {id: again, at: 6s, apply: \(pod)}
              - {id: there, at: 7s, in: pod/extra, run: hostname -i}
              - {id: kill, at: 8s, delete: pod/\(name)}
              - {id: killed, at: 12s, in: deploy/web, run: hostname}
              - {id: twice, at: 12s, delete: pod/\(name)}
            """
        let (result, text) = try run("nodes: 1, dns: false", steps, manifests: manifests)
        #expect(try result.step("make").stdout == "pod/extra created\n" && result.step("page").exit == 0, "\(text)")
        #expect(try result.step("change").stderr.hasPrefix("The Pod \"extra\" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"))
        #expect(try result.step("label").stdout == "pod/extra configured\n" && result.step("end").stdout == "pod \"extra\" deleted\n")
        #expect(try result.step("again").stdout == "pod/extra created\n" && result.step("there").stdout != result.step("page").stdout, "\(text)")
        #expect(try result.step("there").stdout.hasPrefix("10.244.0."))
        #expect(try result.step("killed").exit == 0 && result.step("twice").stderr == "Error from server (NotFound): pods \"\(name)\" not found\n", "\(text)")
    }

    @Test("A StatefulSet that is made again waits for the pods that still have its names", arguments: ["OrderedReady", "Parallel"])
    func names(policy: String) throws {
        let set = Self.workload("StatefulSet", 2, image: "busybox, command: [sleep, infinity]", spec: "serviceName: web, podManagementPolicy: \(policy)", grace: 5)
        let story = try folder.story(Self.client + "---\n" + set + "\n", ["{at: 2s, delete: sts/web}", "{at: 3s, apply: \(set)}"], until: 12)
        let gone = story.lines.filter { $0.event == .gone }
        let made = story.lines.filter { $0.event == .made }
        #expect(gone.count == 2 && made.count == 2, "\(story.lines)")
        for line in made { #expect(gone.contains { $0.pod == line.pod && $0.at <= line.at }, "\(story.lines)") }
    }

    @Test("What may not change of a workload is refused in the API server's words")
    func immutable() throws {
        let set = Self.workload("StatefulSet", 2, spec: "serviceName: web", name: "db")
        let job = Self.workload("Job", nil, image: "busybox", name: "once")
        let steps = """
              - {id: deploy, apply: \(Self.workload("Deployment", 2).replacingOccurrences(of: "app: web", with: "app: other"))}
              - {id: sts, apply: \(set.replacingOccurrences(of: "serviceName: web", with: "serviceName: other"))}
              - {id: grow, apply: \(set.replacingOccurrences(of: "replicas: 2", with: "replicas: 3"))}
              - {id: job, apply: [\(job)]}
              - {id: other, apply: \(job.replacingOccurrences(of: "busybox", with: "alpine"))}
              - {id: done, delete: job/once}
              - {id: wait, in: pod/client, run: sleep 3}
              - {id: three, in: pod/db-2, run: hostname}
            """
        let (result, text) = try run("nodes: 1, dns: false", steps, manifests: [Self.client, Self.workload("Deployment", 2), set].joined(separator: "\n---\n") + "\n")
        let selector = "{\"matchLabels\":{\"app\":\"other\"}}"
        #expect(try result.step("deploy").stderr == "The Deployment \"web\" is invalid: spec.selector: Invalid value: \(selector): field is immutable\n", "\(text)")
        #expect(try result.step("sts").stderr.contains("spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "))
        #expect(try result.step("grow").stdout == "statefulset.apps/db configured\n" && result.step("three").stdout == "db-2\n", "\(text)")
        #expect(try result.step("job").stdout == "job.batch/once created\n" && result.step("other").stderr.contains("spec.template: Invalid value"))
        #expect(try result.step("done").stdout == "job.batch \"once\" deleted\n")
    }

    // MARK: Namespaces, files, threads

    @Test("A file with a namespace and what is in it is applied and deleted; names there are resolved, policies enforced, and a deleted namespace takes all along")
    func namespaces() throws {
        _ = folder.write(
            "shop.yaml",
            """
            {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
            ---
            apiVersion: v1
            kind: List
            items:
            - {apiVersion: v1, kind: Service, metadata: {name: db, namespace: shop}, spec: {selector: {app: db}, ports: [{port: 80}]}}
            - {apiVersion: v1, kind: Pod, metadata: {name: db, namespace: shop, labels: {app: db}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: nginx}]}}
            ---
            {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny, namespace: shop}, spec: {podSelector: {}, policyTypes: [Egress]}}
            ---
            {apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: door, namespace: shop}, spec: {}}

            """)
        let steps = """
              - {id: make, apply: shop.yaml}
              - {id: page, after: {step: make, delay: 2s}, in: pod/client, run: curl -sS http://db.shop/ -o /dev/null}
              - {id: out, in: shop/pod/db, run: nc -zv -w 1 10.244.0.2 80}
              - {id: again, apply: shop.yaml}
              - {id: end, delete: ns/shop}
              - {id: none, after: {step: end, delay: 2s}, in: pod/client, run: 'curl -sS -m 1 http://db.shop/'}
              - {id: back, apply: shop.yaml}
              - {id: files, delete: shop.yaml}
            """
        let (result, text) = try run("nodes: 1", steps)
        let names = ["namespace/shop", "service/db", "pod/db", "networkpolicy.networking.k8s.io/deny", "ingress.networking.k8s.io/door"]
        #expect(try result.step("make").stdout == names.map { "\($0) created\n" }.joined(), "\(text)")
        #expect(try result.step("page").exit == 0 && result.step("out").stderr.contains("timed out"), "\(text)")
        #expect(try result.step("again").stdout == names.map { "\($0) unchanged\n" }.joined(), "\(text)")
        #expect(try result.step("end").stdout == "namespace \"shop\" deleted\n" && result.step("none").exit == 6, "\(text)")
        #expect(try result.step("back").stdout == names.map { "\($0) created\n" }.joined(), "\(text)")
        #expect(try result.step("files").stdout.hasPrefix("namespace \"shop\" deleted\n") && result.step("files").exit == 1, "\(text)")
        #expect(result.warnings.contains { $0.contains("Ingress \"door\" is kept, not modelled") })
    }

    @Test("The same bytes on several threads", arguments: ["iptables", "ipvs"])
    func threads(mode: String) throws {
        let steps = """
              - {id: load, at: 1s, in: pod/client, requests: {to: http://web/, rate: 50, for: 6s}}
              - {id: svc, at: 1s, apply: [\(Self.service("selector: {app: web}, ports: [{port: 80}]", name: "other")), \(Self.workload("Deployment", 3))]}
              - {id: two, at: 3s, apply: \(Self.workload("Deployment", 3, image: "httpd"))}
              - {id: change, at: 4s, apply: \(Self.service("selector: {app: web}, sessionAffinity: ClientIP, type: NodePort, ports: [{port: 80}]"))}
              - {id: rm, at: 5s, delete: svc/other}
            """
        let manifests = Self.client + "---\n" + Self.service("selector: {app: web}, ports: [{port: 80}]") + "\n"
        let one = try run("nodes: 3, proxyMode: \(mode)", steps, manifests: manifests)
        let four = try run("nodes: 3, proxyMode: \(mode)", steps, manifests: manifests, threads: 4)
        #expect(one.text == four.text && one.result.books?.delivered == four.result.books?.delivered)
        let load = try #require(try one.result.step("load").requests)
        #expect(load.answered > 200 && load.lost > 0, "\(one.text)")
    }

    @Test(
        "Mistakes are named with their place before anything runs",
        arguments: [
            ("{apply: {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 0}]}}}", "spec.ports[0].port"),
            ("{apply: {apiVersion: v1, kind: Node, metadata: {name: node9}}}", "cannot be applied while the cluster runs"),
            ("{delete: [svc/a, shop/svc/b]}", "several namespaces"), ("{delete: []}", "deletes nothing"), ("{delete: [a.yaml, svc/b]}", "files and names"),
            ("{delete: node/node1}", "cannot be deleted while the cluster runs"), ("{delete: missing.yaml}", "does not exist"),
            ("{in: svc/wob, run: ls}", "services \"wob\" not found"), ("{in: pod/client, requests: {to: http://wob/, rate: 1, for: 1s}}", "no Service with an address"),
        ])
    func mistakes(step: String, words: String) throws {
        let file = folder.write("t.yaml", scenarioText("  steps:\n  - \(step)\n  - {apply: \(Self.service("ports: [{port: 80}]"))}\n") + Self.client)
        let error = #expect(throws: Failure.self) { _ = try ScenarioRunner(ScenarioFile.load(file), options: RunOptions(), hooks: .quiet) }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }
}
