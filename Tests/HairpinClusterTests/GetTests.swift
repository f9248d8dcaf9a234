import HairpinCluster
import HairpinEngine
import HairpinWire
import Testing

private let manifests =
    workload("Deployment", "web", "replicas: 2")
    + service("web", "clusterIP: 10.96.0.20, type: NodePort, selector: {app: web}, ports: [{name: http, port: 80, nodePort: 30080}]")
    + pod("solo", container: "{name: a, image: nginx}, {name: b, image: alpine}") + pod("stuck", spec: "nodeSelector: {disk: ssd}")

private func at(_ seconds: UInt64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }

private func get(_ arguments: [String], seconds: UInt64 = 65, _ change: (inout GetRequest, inout ClusterStatus) -> Void = { _, _ in }) throws -> GetResult {
    var configuration = ClusterConfiguration()
    configuration.hasDNS = false
    let plan = try plan(manifests, configuration)
    var status = ClusterStatus(now: at(seconds))
    for pod in plan.pods where pod.address != nil {
        status.pods[pod.key] = PodStatus(
            phase: .running, containers: pod.template.containers.map { ContainerStatus(name: $0.name, state: .running(since: at(1)), ready: true) })
    }
    var request = GetRequest(targets: try GetRequest.targets(arguments: arguments))
    change(&request, &status)
    return plan.get(request, status: status, endpoints: plan.endpointSlices(readyPods: Set(status.pods.filter { $0.value.isReady }.keys)))
}

@Suite struct GetTests {
    @Test("pods as kubectl lays them out")
    func pods() throws {
        let result = try get(["pods"])
        let lines = result.output.split(separator: "\n")
        #expect(lines[0] == "NAME                  READY   STATUS    RESTARTS   AGE" || lines[0].hasPrefix("NAME  "))
        #expect(lines.contains { $0.hasPrefix("solo ") && $0.hasSuffix("2/2     Running   0          65s") })
        #expect(lines.contains { $0.hasPrefix("stuck ") && $0.hasSuffix("0/1     Pending   0          65s") })
        #expect(lines.allSatisfy { $0.last != " " })
    }

    @Test("-o wide, all namespaces, labels and no headers")
    func wide() throws {
        let wide = try get(["po"]) { request, _ in request.output = .wide }.output
        #expect(wide.split(separator: "\n")[0].hasSuffix("AGE   IP           NODE     NOMINATED NODE   READINESS GATES"))
        #expect(wide.contains("65s   10.244.0.2   node1    <none>           <none>\n"))
        #expect(wide.contains("65s   <none>       <none>   <none>           <none>\n"))
        let all = try get(["svc"]) { request, _ in request.allNamespaces = true }.output
        #expect(
            all == """
                NAMESPACE   NAME         TYPE        CLUSTER-IP   EXTERNAL-IP   PORT(S)        AGE
                default     kubernetes   ClusterIP   10.96.0.1    <none>        443/TCP        65s
                default     web          NodePort    10.96.0.20   <none>        80:30080/TCP   65s

                """)
        let bare = try get(["pod", "solo"]) { request, _ in
            request.showsHeaders = false
            request.showsLabels = true
        }.output
        #expect(bare == "solo   2/2   Running   0     65s   app=web\n")
    }

    static let lives: [(ContainerStatus, PodStatus.Phase, String)] = [
        (
            ContainerStatus(name: "a", state: .waiting(reason: "CrashLoopBackOff"), restarts: 3, lastTermination: (1, at(50))), PodStatus.Phase.running,
            "1/2     CrashLoopBackOff   3 (15s ago)   65s"
        ),
        (ContainerStatus(name: "a", state: .waiting(reason: "ContainerCreating")), .pending, "1/2     ContainerCreating   0          65s"),
        (ContainerStatus(name: "a", state: .terminated(exitCode: 1, reason: "Error", started: at(1), finished: at(2))), .running, "1/2     Error    0          65s"),
        (
            ContainerStatus(name: "a", state: .terminated(exitCode: 0, reason: "Completed", started: at(1), finished: at(2))), .running,
            "1/2     NotReady   0          65s"
        ),
        (ContainerStatus(name: "a", state: .running(since: at(1))), .running, "1/2     Running   0          65s"),
    ]

    @Test("the status column in the states of a pod's life", arguments: lives)
    func states(container: ContainerStatus, phase: PodStatus.Phase, expected: String) throws {
        let output = try get(["pod", "solo"]) { _, status in
            status.pods[ObjectKey(namespace: "default", name: "solo")] = PodStatus(
                phase: phase, containers: [container, ContainerStatus(name: "b", state: .running(since: at(1)), ready: true)])
        }.output
        #expect(output.split(separator: "\n").last == "solo   \(expected)", "\(output)")
    }

    @Test("deployments, replica sets, endpoint slices, nodes; several kinds are prefixed")
    func kinds() throws {
        let output = try get(["deploy,svc"]).output
        #expect(output.contains("NAME                  READY   UP-TO-DATE   AVAILABLE   AGE\ndeployment.apps/web   2/2     2            2           65s\n\nNAME"))
        #expect(output.contains("service/web          NodePort"))
        #expect(try get(["endpointslices"]).output.contains("IPv4          80      10.244.0.2,10.244.0.3,10.244.0.4"))
        #expect(try get(["nodes"]).output.contains("node1   Ready    <none>   65s"))
        #expect(try get(["rs"]) { request, _ in request.output = .name }.output.hasPrefix("replicaset.apps/web-"))
    }

    @Test("absences are told as kubectl tells them")
    func absences() throws {
        #expect(try get(["jobs"]).messages == ["No resources found in default namespace."])
        #expect(try get(["pods"]) { request, _ in request.namespace = "kube-system" }.messages == ["No resources found in kube-system namespace."])
        #expect(try get(["jobs"]) { request, _ in request.allNamespaces = true }.messages == ["No resources found"])
        let missing = try get(["deploy", "nobody"])
        #expect(missing.messages == ["Error from server (NotFound): deployments.apps \"nobody\" not found"])
        #expect(missing.isMissingSomething)
        #expect(
            #expect(throws: GetError.self) { try GetRequest.targets(arguments: ["unicorns"]) }?.message == "error: the server doesn't have a resource type \"unicorns\"")
    }

    @Test("JSON and YAML are objects with a status that read back")
    func data() throws {
        let yaml = try get(["pod", "solo"]) { request, _ in request.output = .yaml }.output
        let object = try #require(try YAMLReader.documents(text: yaml, file: "x").first)
        #expect(try object["status"]?["podIP"]?.string() == "10.244.0.2")
        #expect(try object["status"]?["containerStatuses"]?.items()[1]["ready"]?.bool() == true)
        #expect(try object["metadata"]?["creationTimestamp"]?.string() == "2024-01-01T00:00:00Z")
        let json = try get(["pods,svc"]) { request, _ in request.output = .json }.output
        let list = try #require(try YAMLReader.documents(text: json, file: "x").first)
        #expect(try list["kind"]?.string() == "List")
        #expect(try list["items"]?.items().count == 6)
    }

    @Test(
        "selectors choose by labels", arguments: [("app=web", 4), ("app!=web", 0), ("app in (web, db)", 4), ("!app", 0), ("app,app==web", 4), ("pod-template-hash", 2)])
    func selectors(text: String, count: Int) throws {
        let output = try get(["pods"]) { request, _ in
            request.output = .name
            request.selector = (try? GetRequest.selector(text)) ?? LabelSelector(matchLabels: ["never": "never"])
        }.output
        #expect(output.split(separator: "\n").count == count)
    }

    static let roundings: [(UInt64, String)] = [(5, "5s"), (119, "119s"), (120, "2m"), (150, "2m30s"), (3600, "60m"), (14460, "4h1m"), (777_600, "9d"), (100_000, "27h")]

    @Test("ages as kubectl rounds them", arguments: roundings)
    func ages(seconds: UInt64, expected: String) throws {
        #expect(try get(["ns", "default"], seconds: seconds).output.split(separator: "\n")[1] == "default   Active   \(expected)")
    }
}
