import Foundation
import HairpinCluster
import HairpinWire
import Testing

func load(_ text: String) throws -> Manifests {
    var loader = ManifestLoader()
    try loader.load(text: text, file: "web.yaml")
    return loader.manifests
}

func plan(_ text: String, _ configuration: ClusterConfiguration = ClusterConfiguration()) throws -> ClusterPlan {
    try ClusterPlanner.plan(load(text), configuration: configuration)
}

func pod(_ name: String, labels: String = "{app: web}", container: String = "{name: c, image: nginx}", spec: String = "") -> String {
    "apiVersion: v1\nkind: Pod\nmetadata: {name: \(name), labels: \(labels)}\nspec:\n  containers: [\(container)]\n\(spec.isEmpty ? "" : "  \(spec)\n")---\n"
}

func service(_ name: String, _ spec: String) -> String { "apiVersion: v1\nkind: Service\nmetadata: {name: \(name)}\nspec: {\(spec)}\n---\n" }

func workload(_ kind: String, _ name: String, _ spec: String = "", version: String = "apps/v1", pod: String = "containers: [{name: c, image: nginx}]") -> String {
    "apiVersion: \(version)\nkind: \(kind)\nmetadata: {name: \(name)}\nspec:\n\(kind == "Job" ? "" : "  selector: {matchLabels: {app: \(name)}}\n")\(spec.isEmpty ? "" : "  \(spec)\n")  template: {metadata: {labels: {app: \(name)}}, spec: {\(pod)}}\n---\n"
}

struct Mistake: Sendable {
    let text: String
    let message: String
    init(_ text: String, _ message: String) {
        self.text = text
        self.message = message
    }
}

@Suite struct ManifestTests {
    /// What is written, and what the error says.
    static let mistakes: [Mistake] = [
        Mistake(
            workload("Deployment", "web", "replicas: three"),
            "web.yaml:6: Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32. Write a whole number such as 3."
        ),
        Mistake(
            workload("Deployment", "web", "replica: 3"),
            "web.yaml:6: Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field \"spec.replica\". Did you mean \"replicas\"?"),
        Mistake(
            pod("a", container: "{name: c, image: nginx, prots: []}"),
            "web.yaml:5: Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"spec.containers[0].prots\". Did you mean \"ports\"?"),
        Mistake(pod("a", container: "{name: c}"), "web.yaml:5: The Pod \"a\" is invalid: spec.containers[0].image: Required value. Add \"image:\" to the container."),
        Mistake(
            pod("a", container: "{name: c, image: nginx, ports: [{containerPort: 70000}]}"),
            "web.yaml:5: The Pod \"a\" is invalid: spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"),
        Mistake(
            pod("a", container: "{name: c, image: nginx}, {name: c, image: nginx}"), "web.yaml:5: The Pod \"a\" is invalid: spec.containers[1].name: Duplicate value: \"c\""),
        Mistake(
            pod("a", container: "{name: c, image: nginx, volumeMounts: [{name: log, mountPath: /x}]}", spec: "volumes: [{name: logs, emptyDir: {}}]"),
            "web.yaml:5: The Pod \"a\" is invalid: spec.containers[0].volumeMounts[0].name: Not found: \"log\". Did you mean \"logs\"? Add a volume of this name to spec.volumes."
        ),
        Mistake(
            pod("My_Pod"),
            "web.yaml:3: The Pod \"My_Pod\" is invalid: metadata.name: Invalid value: \"My_Pod\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'). Write \"my-pod\"."
        ),
        Mistake(pod("a") + pod("a"), "web.yaml:9: metadata.name: \"a\" is the name of another Pod in namespace default, in line 3. Rename one of them, or remove it."),
        Mistake(
            service("web", "ports: [{port: 80, targetport: 8080}]"),
            "web.yaml:4: Service in version \"v1\" cannot be handled as a Service: strict decoding error: unknown field \"spec.ports[0].targetport\". Did you mean \"targetPort\"?"
        ),
        // Several reasons stand below each other, as kubectl prints them, each with its place. (The default of targetPort is port.)
        Mistake(
            service("web", "ports: [{port: 0}]"),
            "web.yaml:3: The Service \"web\" is invalid:\n* web.yaml:4: spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive\n* web.yaml:4: spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive"
        ),
        Mistake(
            "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  ports:\n  - port: 80\n    target: 1\n  portz: []\n",
            "web.yaml:1: Service in version \"v1\" cannot be handled as a Service: strict decoding error:\n* web.yaml:7: unknown field \"spec.ports[0].target\". The fields known in spec.ports[0] are appProtocol, name, nodePort, port, protocol, targetPort.\n* web.yaml:8: unknown field \"spec.portz\". Did you mean \"ports\"?"
        ),
        Mistake(
            service("web", "ports: [{port: 80}, {name: b, port: 81}]"),
            "web.yaml:4: The Service \"web\" is invalid: spec.ports[0].name: Required value. Give each port of the Service a name."),
        Mistake(
            service("web", "ports: [{port: 80, protocol: tcp}]"),
            "web.yaml:4: The Service \"web\" is invalid: spec.ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\". Did you mean \"TCP\"?"),
        Mistake(
            service("web", "ports: [{port: 80, targetPort: \"8080\"}]"),
            "web.yaml:4: The Service \"web\" is invalid: spec.ports[0].targetPort: Invalid value: \"8080\": must contain at least one letter (a-z). Write 8080 without quotation marks."),
        Mistake(
            service("1web", "ports: [{port: 80}]"),
            "web.yaml:3: The Service \"1web\" is invalid: metadata.name: Invalid value: \"1web\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
        ),
        Mistake(
            service("web", "clusterIP: 10.96.0.300, ports: [{port: 80}]"),
            "web.yaml:4: The Service \"web\" is invalid: spec.clusterIPs[0]: Invalid value: \"10.96.0.300\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        Mistake(
            "apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: a}\n",
            "web.yaml:1: no matches for kind \"Deployment\" in version \"extensions/v1beta1\". Write apiVersion: apps/v1."),
        Mistake("kind: Pod\n", "web.yaml:1: apiVersion: is required. Add \"apiVersion:\", such as apiVersion: v1."),
        Mistake("just text\n", "web.yaml:1: \"just text\" is not a mapping. Write \"key: value\" lines, indented below it."),
        Mistake(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  selector: {matchLabels: {app: x}}\n  template: {metadata: {labels: {app: y}}, spec: {containers: [{name: c, image: nginx}]}}\n",
            "web.yaml:6: The Deployment \"a\" is invalid: spec.template.metadata.labels: Invalid value: {\"app\":\"y\"}: `selector` does not match template `labels`. Give the template the labels app=x."),
    ]

    @Test("each mistake is told with its line, its value and what to write", arguments: mistakes)
    func mistake(_ mistake: Mistake) {
        let error = #expect(throws: InputError.self) { try load(mistake.text) }
        #expect(error?.description == mistake.message)
    }

    @Test("Lists, JSON and known but unused fields load")
    func lists() throws {
        let text = """
            {"apiVersion": "v1", "kind": "List", "items": [
              {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "nginx", "resources": {"limits": {"cpu": 1}}}], "tolerations": []}},
              {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}]}
            """
        let manifests = try load(text)
        #expect(manifests.pods.map(\.metadata.name) == ["a"])
        #expect(manifests.namespaces.map(\.metadata.name) == ["shop"])
    }

    @Test("unknown kinds are kept with one warning a kind")
    func kept() throws {
        let text =
            ["a", "b", "c"].map { "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: \($0)}\n---\n" }.joined()
            + "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {anything: goes}\n"
        let manifests = try load(text)
        #expect(manifests.kept.count == 4)
        #expect(
            manifests.warnings.map(\.description) == [
                "web.yaml:1: ServiceAccount \"a\" and 2 more are kept, not modelled", "web.yaml:13: Widget \"w\" is kept, not modelled",
            ])
    }

    @Test("a folder loads its manifests in the order of their names")
    func folder() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hairpin-manifests-\(ProcessInfo.processInfo.processIdentifier)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try pod("second").write(to: folder.appendingPathComponent("b.yaml"), atomically: true, encoding: .utf8)
        try pod("first").write(to: folder.appendingPathComponent("a.yml"), atomically: true, encoding: .utf8)
        try "not: [yaml".write(to: folder.appendingPathComponent("notes.txt"), atomically: true, encoding: .utf8)
        var loader = ManifestLoader()
        try loader.load(path: folder.path)
        #expect(loader.manifests.pods.map(\.metadata.name) == ["first", "second"])
    }

    @Test("a container's every field that matters is read")
    func container() throws {
        let text =
            pod(
                "a",
                container: """
                    {name: c, image: nginx, command: [sh, -c], args: ["echo $(WHO) $$(WHO) $(NOBODY)"], ports: [{name: http, containerPort: 80}],
                     env: [{name: WHO, value: me}, {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}, {name: APP, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}},
                           {name: K, valueFrom: {configMapKeyRef: {name: m, key: k}}}],
                     envFrom: [{prefix: P_, configMapRef: {name: m}}], volumeMounts: [{name: conf, mountPath: /etc/c}, {name: tmp, mountPath: /tmp}],
                     readinessProbe: {httpGet: {path: /ok, port: http}, periodSeconds: 2}}
                    """, spec: "volumes: [{name: conf, configMap: {name: m}}, {name: tmp, emptyDir: {}}]")
            + "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {k: v, \"f.conf\": \"x\\n\"}\n"
        let plan = try plan(text)
        let pod = try #require(plan.pod(ObjectKey(namespace: "default", name: "a")))
        let container = pod.template.containers[0]
        #expect(container.readinessProbe?.action == .httpGet(path: "/ok", .name("http")))
        #expect(container.readinessProbe?.periodSeconds == 2)
        let surroundings = plan.surroundings(of: container, in: pod)
        #expect(surroundings.args == ["echo me $(WHO) $(NOBODY)"])
        let environment = Dictionary(uniqueKeysWithValues: surroundings.environment.map { ($0.name, $0.value) })
        #expect(environment["IP"] == "10.244.0.2")
        #expect(environment["APP"] == "web")
        #expect(environment["K"] == "v")
        #expect(environment["P_f.conf"] == "x\n")
        #expect(environment["KUBERNETES_SERVICE_HOST"] == "10.96.0.1")
        #expect(environment["KUBERNETES_PORT_443_TCP"] == "tcp://10.96.0.1:443")
        #expect(environment["HOSTNAME"] == "a")
        #expect(surroundings.mounts.map(\.path) == ["/tmp"])
        let files = Dictionary(uniqueKeysWithValues: surroundings.files.map { ($0.path, String(decoding: $0.bytes, as: UTF8.self)) })
        #expect(files["/etc/c/f.conf"] == "x\n")
        #expect(files["/etc/resolv.conf"] == "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n")
        #expect(files["/etc/hosts"]?.contains("10.244.0.2\ta\n") == true)
    }
}
