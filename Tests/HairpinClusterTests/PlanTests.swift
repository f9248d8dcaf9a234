import HairpinCluster
import HairpinWire
import Testing

private func key(_ name: String) -> ObjectKey { ObjectKey(namespace: "default", name: name) }
private let twoNodes = ClusterConfiguration(nodes: [
    .init(name: "node1", address: IPv4Address(192, 168, 50, 11)), .init(name: "node2", address: IPv4Address(192, 168, 50, 12)),
])
private let safeLetters = Set("bcdfghjklmnpqrstvwxz2456789")

@Suite struct PlanTests {
    @Test("a Deployment makes a ReplicaSet and pods with Kubernetes' names, the same in every run")
    func deployment() throws {
        let text = workload("Deployment", "web", "replicas: 3")
        let first = try plan(text)
        let second = try plan(text)
        let pods = try #require(first.pods(ofWorkload: "deploy", name: "web", namespace: "default"))
        #expect(pods.count == 3)
        let set = try #require(first.workloads.first { $0.kind == .replicaSet })
        #expect(set.metadata.owner == OwnerReference(kind: "Deployment", name: "web"))
        for pod in pods {
            let parts = pod.metadata.name.split(separator: "-")
            #expect(parts.count == 3 && parts[0] == "web")
            #expect("web-\(parts[1])" == set.metadata.name)
            #expect((8...10).contains(parts[1].count) && parts[2].count == 5)
            #expect((parts[1] + parts[2]).allSatisfy(safeLetters.contains))
            #expect(pod.labels["pod-template-hash"] == String(parts[1]))
            #expect(pod.metadata.owner == OwnerReference(kind: "ReplicaSet", name: set.metadata.name))
        }
        #expect(Set(pods.map(\.metadata.name)).count == 3)
        #expect(first.pods.map(\.key) == second.pods.map(\.key))
        let changed = try plan(workload("Deployment", "web", "replicas: 3", pod: "containers: [{name: c, image: httpd}]"))
        #expect(changed.pods[0].metadata.name != first.pods[0].metadata.name)
    }

    @Test("another pod changes no other pod's name")
    func independence() throws {
        let alone = try plan(workload("Deployment", "web", "replicas: 2"))
        let together = try plan(pod("a") + workload("Deployment", "web", "replicas: 3"))
        let names = Set(together.pods.map(\.metadata.name))
        #expect(alone.pods.allSatisfy { names.contains($0.metadata.name) })
    }

    @Test("a StatefulSet counts its pods and names them in DNS")
    func statefulSet() throws {
        let plan = try plan(
            workload("StatefulSet", "db", "replicas: 2\n  serviceName: db\n  ordinals: {start: 1}")
                + service("db", "clusterIP: None, selector: {app: db}, ports: [{name: sql, port: 5432}]"))
        let pods = try #require(plan.pods(ofWorkload: "sts", name: "db", namespace: "default"))
        #expect(pods.map(\.metadata.name) == ["db-1", "db-2"])
        let names = plan.names(endpoints: plan.endpointSlices(readyPods: Set(pods.map(\.key))))
        #expect(names.answer("db-1.db.default.svc.cluster.local", .a) == .records(pods.prefix(1).compactMap(\.address).map { .address($0) }))
        #expect(names.answer("db.default.svc.cluster.local.", .a) == .records(pods.compactMap(\.address).map { .address($0) }))
        #expect(
            names.answer("_sql._tcp.db.default.svc.cluster.local", .srv)
                == .records([
                    .service(priority: 0, weight: 50, port: 5432, target: "db-1.db.default.svc.cluster.local"),
                    .service(priority: 0, weight: 50, port: 5432, target: "db-2.db.default.svc.cluster.local"),
                ]))
    }

    @Test("a DaemonSet runs on every node that fits, a Job as often as it says")
    func others() throws {
        var configuration = twoNodes
        configuration.nodes[1].labels = ["disk": "ssd"]
        let plan = try plan(
            workload("DaemonSet", "agent") + workload("DaemonSet", "ssd", pod: "nodeSelector: {disk: ssd}, containers: [{name: c, image: x}]")
                + workload("Job", "once", "parallelism: 2\n  completions: 5", version: "batch/v1", pod: "restartPolicy: Never, containers: [{name: c, image: x}]"),
            configuration)
        #expect(plan.pods(ofWorkload: "ds", name: "agent", namespace: "default")?.map(\.node) == ["node1", "node2"])
        #expect(plan.pods(ofWorkload: "ds", name: "ssd", namespace: "default")?.map(\.node) == ["node2"])
        #expect(plan.pods(ofWorkload: "job", name: "once", namespace: "default")?.count == 2)
    }

    @Test("pods spread over nodes; addresses are the node's own, from .2 on")
    func spreading() throws {
        let plan = try plan(["a", "b", "c"].map { pod($0) }.joined() + pod("d", spec: "nodeName: node1"), twoNodes)
        #expect(plan.pods.prefix(4).map(\.node) == ["node1", "node2", "node1", "node1"])
        #expect(plan.pods.prefix(4).compactMap { $0.address?.description } == ["10.244.0.2", "10.244.1.2", "10.244.0.3", "10.244.0.4"])
        #expect(plan.pods.last?.isClusterDNS == true)
    }

    @Test("a pod nobody can run stays Pending and says why")
    func pending() throws {
        let plan = try plan(pod("a", spec: "nodeSelector: {disk: ssd}") + pod("b", spec: "nodeName: node9"))
        #expect(plan.pods[0].placement == .unschedulable(message: "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."))
        #expect(plan.pods[1].address == nil)
        #expect(plan.warnings.count == 2)
    }

    @Test("a node's prefix can run out")
    func exhaustion() throws {
        let plan = try plan(workload("Deployment", "web", "replicas: 300"))
        #expect(plan.pods.filter { $0.address != nil }.count == 253)
        #expect(plan.pods[252].address == IPv4Address(10, 244, 0, 254))
        #expect(plan.pods[253].placement == .withoutAddress(node: "node1", message: "no addresses left in 10.244.0.0/24"))
        // 46 of the 300, and the one that the cluster's DNS would be: a line for each workload, not for each pod.
        let waiting = plan.warnings.map(\.message).filter { $0.contains("in ContainerCreating on node1: no addresses left in 10.244.0.0/24") }
        #expect(waiting.count == 2)
        #expect(waiting.contains { $0.hasPrefix("47 pods, the first of them \"\(plan.pods[253].metadata.name)\", stay ") }, "\(waiting)")
    }

    @Test("Services get addresses: those asked for, the API server's, and others from the upper band")
    func services() throws {
        let text =
            service("a", "ports: [{port: 80}]") + service("b", "clusterIP: 10.96.0.20, ports: [{port: 80}]") + service("c", "type: NodePort, ports: [{port: 80}]")
            + service("d", "type: NodePort, ports: [{port: 80, nodePort: 30080}]") + service("e", "clusterIP: None, ports: [{port: 80}]")
            + service("f", "type: ExternalName, externalName: db.example.com")
        let plan = try plan(text)
        let range = plan.configuration.serviceCIDR
        let a = try #require(plan.service(key("a"))?.clusterAddress)
        #expect(range.contains(a) && a.rawValue > range.network.rawValue + 255)
        #expect(plan.service(key("b"))?.clusterAddress == IPv4Address(10, 96, 0, 20))
        #expect(plan.service(key("kubernetes"))?.clusterAddress == IPv4Address(10, 96, 0, 1))
        #expect(plan.service(ObjectKey(namespace: "kube-system", name: "kube-dns"))?.clusterAddress == IPv4Address(10, 96, 0, 10))
        let number = try #require(plan.service(key("c"))?.ports[0].nodePort)
        #expect((30000...32767).contains(number) && number != 30080)
        #expect(plan.service(key("d"))?.ports[0].nodePort == 30080)
        #expect(plan.service(key("e"))?.clusterAddress == nil)
        #expect(plan.service(key("f"))?.clusterAddress == nil)
    }

    static let refusals: [(String, Int, String)] = [
        (pod("db-0") + workload("StatefulSet", "db"), 9, "is the name of two pods"),
        (
            service("a", "clusterIP: 10.96.0.20, ports: [{port: 80}]") + service("b", "clusterIP: 10.96.0.20, ports: [{port: 80}]"), 9,
            "failed to allocate IP 10.96.0.20: provided IP is already allocated"
        ),
        (service("a", "clusterIP: 10.96.0.1, ports: [{port: 80}]"), 4, "provided IP is already allocated"),
        (service("a", "clusterIP: 10.0.0.1, ports: [{port: 80}]"), 4, "spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: failed to allocate IP 10.0.0.1: the provided network does not match the current range"),
        (service("a", "type: NodePort, ports: [{port: 80, nodePort: 80}]"), 4, "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767"),
        (
            service("a", "type: NodePort, ports: [{port: 80, nodePort: 30080}]") + service("b", "type: NodePort, ports: [{port: 80, nodePort: 30080}]"), 9,
            "provided port is already allocated"
        ),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\nspec: {containers: [{name: c, image: x}]}\n", 3, "\"a\": namespaces \"shop\" not found"),
        (
            pod("a", container: "{name: c, image: x, env: [{name: K, valueFrom: {configMapKeyRef: {name: m, key: k}}}]}"), 3,
            "is not the name of a ConfigMap in namespace default"
        ),
    ]

    @Test("what the API server refuses is refused in its words", arguments: refusals)
    func refused(text: String, line: Int, part: String) {
        let error = #expect(throws: InputError.self) { try plan(text) }
        #expect(error?.line == line)
        #expect(error?.description.contains(part) == true, "\(error?.description ?? "")")
    }

    @Test("prefixes that overlap, and more nodes than the pod network holds, are refused")
    func prefixes() {
        var configuration = ClusterConfiguration(podCIDR: IPv4Prefix(IPv4Address(10, 96, 0, 0), length: 16))
        #expect(throws: InputError.self) { try plan(pod("a"), configuration) }
        configuration = twoNodes
        configuration.podCIDR = IPv4Prefix(IPv4Address(10, 244, 0, 0), length: 24)
        #expect(throws: InputError.self) { try plan(pod("a"), configuration) }
        configuration = twoNodes
        configuration.nodes[1].address = configuration.nodes[0].address
        #expect(throws: InputError.self) { try plan(pod("a"), configuration) }
    }

    @Test("EndpointSlices follow readiness, and a named port means each pod's own number")
    func endpoints() throws {
        let plan = try plan(
            pod("a", container: "{name: c, image: x, ports: [{name: http, containerPort: 80}]}")
                + pod("b", container: "{name: c, image: x, ports: [{name: http, containerPort: 8080}]}")
                + pod("z", labels: "{app: other}") + service("web", "selector: {app: web}, ports: [{port: 80, targetPort: http}]")
                + service("none", "selector: {app: nobody}, ports: [{port: 80}]"))
        let slices = plan.endpointSlices(readyPods: [key("b")], terminating: [key("a")], serving: [key("a")]).filter { $0.service == key("web") }
        #expect(slices.map { $0.ports.map(\.port) } == [[80], [8080]])
        #expect(slices[0].endpoints.map(\.ready) == [false] && slices[0].endpoints[0].serving && slices[0].endpoints[0].terminating)
        #expect(slices[1].endpoints.map(\.ready) == [true])
        #expect(slices[1].endpoints[0].pod == key("b") && slices[1].endpoints[0].nodeName == "node1")
        let none = plan.endpointSlices(readyPods: []).filter { $0.service == key("none") }
        #expect(none.count == 1 && none[0].endpoints.isEmpty)
    }

    @Test("DNS answers as CoreDNS does")
    func names() throws {
        let plan = try plan(service("web", "clusterIP: 10.96.0.20, ports: [{name: http, port: 80}]") + service("db", "type: ExternalName, externalName: db.example.com"))
        let names = plan.names(endpoints: [])
        #expect(names.answer("WEB.default.svc.cluster.local.", .a) == .records([.address(IPv4Address(10, 96, 0, 20))]))
        #expect(names.answer("web.default.svc.cluster.local", .aaaa) == .noData)
        #expect(names.answer("web.default.svc.cluster.local.default.svc.cluster.local", .a) == .nonExistent)
        #expect(names.answer("nobody.default.svc.cluster.local", .a) == .nonExistent)
        #expect(names.answer("default.svc.cluster.local", .a) == .noData)
        #expect(names.answer("db.default.svc.cluster.local", .a) == .records([.canonicalName("db.example.com")]))
        #expect(
            names.answer("_http._tcp.web.default.svc.cluster.local", .srv)
                == .records([.service(priority: 0, weight: 100, port: 80, target: "web.default.svc.cluster.local")]))
        #expect(names.answer("20.0.96.10.in-addr.arpa", .ptr) == .records([.pointer("web.default.svc.cluster.local")]))
        #expect(names.answer("10-244-0-7.default.pod.cluster.local", .a) == .records([.address(IPv4Address(10, 244, 0, 7))]))
        #expect(names.answer("example.com", .a) == .notOurs)
    }
}
