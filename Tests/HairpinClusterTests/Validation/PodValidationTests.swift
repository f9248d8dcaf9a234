import HairpinCluster
import Testing

@Suite("What the API server rejects of pods")
struct PodValidationTests {
    private static func asks(_ resources: String) -> String { "containers: [{name: c, image: x, resources: {\(resources)}}]" }
    private static let one = "containers: [{name: c, image: nginx}]"

    static let specs: [Verdict] = [
        // The pod
        Verdict("{}", "spec.containers: Required value"), Verdict("containers: []", "spec.containers: Required value"),
        Verdict("restartPolicy: Sometimes, \(one)", "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\""),
        Verdict(
            "dnsPolicy: Clusterfirst, \(one)", "spec.dnsPolicy: Unsupported value: \"Clusterfirst\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\""),
        Verdict("dnsPolicy: None, \(one)", "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
        Verdict(
            "dnsPolicy: None, dnsConfig: {searches: [a.b]}, \(one)",
            "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None"),
        Verdict(
            "dnsConfig: {nameservers: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4]}, \(one)",
            "spec.dnsConfig.nameservers: Invalid value: [\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\",\"1.1.1.4\"]: must not have more than 3 nameservers"),
        Verdict("dnsConfig: {nameservers: [dns]}, \(one)", "spec.dnsConfig.nameservers[0]: Invalid value: \"dns\": \(Format.address)"),
        Verdict("dnsConfig: {options: [{value: '2'}]}, \(one)", "spec.dnsConfig.options[0]: Required value: must not be empty"),
        Verdict("hostAliases: [{ip: host, hostnames: [A_b]}], \(one)", "spec.hostAliases[0].ip: Invalid value: \"host\": \(Format.address)", "spec.hostAliases[0].hostnames[0]: Invalid value: \"A_b\": \(Format.subdomain)"),
        Verdict("nodeSelector: {a: b c}, \(one)", "spec.nodeSelector: Invalid value: \"b c\": \(Format.labelValue)"),
        Verdict("hostname: a.b, subdomain: A, \(one)", "spec.hostname: Invalid value: \"a.b\": must not contain dots", "spec.subdomain: Invalid value: \"A\": \(Format.label)"),
        Verdict("nodeName: Node1, \(one)", "spec.nodeName: Invalid value: \"Node1\": \(Format.subdomain)"),
        Verdict("readinessGates: [{conditionType: 'a b'}], \(one)", "spec.readinessGates[0].conditionType: Invalid value: \"a b\": \(Format.namePart)"),
        Verdict("schedulingGates: [{name: a}, {name: a}], \(one)", "spec.schedulingGates[1]: Duplicate value: \"a\""),
        Verdict("activeDeadlineSeconds: 0, \(one)", "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"),
        Verdict(
            "tolerations: [{operator: Equal}], \(one)",
            "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\""),
        Verdict("tolerations: [{key: a, operator: Like}], \(one)", "spec.tolerations[0].operator: Unsupported value: \"Like\": supported values: \"Equal\", \"Exists\""),
        Verdict("volumes: [{name: v, emptyDir: {}}, {name: v, emptyDir: {}}], \(one)", "spec.volumes[1].name: Duplicate value: \"v\""),
        Verdict("volumes: [{name: v, emptyDir: {}, hostPath: {path: /x}}], \(one)", "spec.volumes[0].emptyDir: Forbidden: may not specify more than 1 volume type"),
        Verdict("volumes: [{name: v, configMap: {}}], \(one)", "spec.volumes[0].configMap.name: Required value"),
        // Containers
        Verdict("containers: [{}]", "spec.containers[0].name: Required value", "spec.containers[0].image: Required value"),
        Verdict("containers: [{name: C_1, image: ' x'}]", "spec.containers[0].name: Invalid value: \"C_1\": \(Format.label)", "spec.containers[0].image: Invalid value: \" x\": must not have leading or trailing whitespace"),
        Verdict("containers: [{name: c, image: x, imagePullPolicy: Sometimes}]", "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\""),
        Verdict("containers: [{name: c, image: x, restartPolicy: Always}]", "spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers"),
        Verdict("initContainers: [{name: c, image: x}], \(one)", "spec.initContainers[0].name: Duplicate value: \"c\""),
        Verdict("initContainers: [{name: i, image: x, restartPolicy: Never}], \(one)", "spec.initContainers[0].restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""),
        Verdict(
            "initContainers: [{name: i, image: x, readinessProbe: {tcpSocket: {port: 80}}}], \(one)",
            "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"),
        // Ports
        Verdict("containers: [{name: c, image: x, ports: [{}]}]", "spec.containers[0].ports[0].containerPort: Required value"),
        Verdict("containers: [{name: c, image: x, ports: [{containerPort: 65536}]}]", "spec.containers[0].ports[0].containerPort: Invalid value: 65536: \(Format.port)"),
        Verdict("containers: [{name: c, image: x, ports: [{containerPort: 80, hostPort: -1}]}]", "spec.containers[0].ports[0].hostPort: Invalid value: -1: \(Format.port)"),
        Verdict("containers: [{name: c, image: x, ports: [{name: '80', containerPort: 80}]}]", "spec.containers[0].ports[0].name: Invalid value: \"80\": must contain at least one letter (a-z)"),
        Verdict(
            "containers: [{name: c, image: x, ports: [{name: http, containerPort: 80}, {name: http, containerPort: 81}]}]", "spec.containers[0].ports[1].name: Duplicate value: \"http\""),
        Verdict(
            "containers: [{name: c, image: x, ports: [{containerPort: 80, protocol: tcp}]}]",
            "spec.containers[0].ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\""),
        Verdict(
            "containers: [{name: c, image: x, ports: [{containerPort: 80, hostPort: 8080}]}, {name: d, image: x, ports: [{containerPort: 81, hostPort: 8080}]}]",
            "spec.containers[1].ports[0].hostPort: Duplicate value: \"TCP//8080\""),
        Verdict(
            "hostNetwork: true, containers: [{name: c, image: x, ports: [{containerPort: 80, hostPort: 8080}]}]",
            "spec.containers[0].ports[0].hostPort: Invalid value: 8080: must match `containerPort` when `hostNetwork` is true"),
        // Probes and hooks
        Verdict("containers: [{name: c, image: x, readinessProbe: {}}]", "spec.containers[0].readinessProbe: Required value: must specify a handler type"),
        Verdict(
            "containers: [{name: c, image: x, readinessProbe: {tcpSocket: {port: 80}, exec: {command: [x]}}}]",
            "spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"),
        Verdict("containers: [{name: c, image: x, readinessProbe: {httpGet: {}}}]", "spec.containers[0].readinessProbe.httpGet.port: Invalid value: 0: \(Format.port)"),
        Verdict(
            "containers: [{name: c, image: x, readinessProbe: {httpGet: {port: 80, scheme: http}}}]",
            "spec.containers[0].readinessProbe.httpGet.scheme: Unsupported value: \"http\": supported values: \"HTTP\", \"HTTPS\""),
        Verdict("containers: [{name: c, image: x, livenessProbe: {exec: {}}}]", "spec.containers[0].livenessProbe.exec.command: Required value"),
        Verdict("containers: [{name: c, image: x, livenessProbe: {tcpSocket: {port: 80}, successThreshold: 2}}]", "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"),
        Verdict(
            "containers: [{name: c, image: x, readinessProbe: {grpc: {port: 0}, periodSeconds: -1}}]", "spec.containers[0].readinessProbe.grpc.port: Invalid value: 0: \(Format.port)",
            "spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"),
        Verdict(
            "containers: [{name: c, image: x, readinessProbe: {tcpSocket: {port: 80}, terminationGracePeriodSeconds: 5}}]",
            "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes"),
        Verdict(
            "terminationGracePeriodSeconds: 4, containers: [{name: c, image: x, lifecycle: {preStop: {sleep: {seconds: 5}}}}]",
            "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 5: must be non-negative and less than terminationGracePeriodSeconds (4)"),
        // Environment and mounts
        Verdict("containers: [{name: c, image: x, env: [{value: a}]}]", "spec.containers[0].env[0].name: Required value"),
        Verdict(
            "containers: [{name: c, image: x, env: [{name: A=B}]}]",
            "spec.containers[0].env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='"),
        Verdict(
            "containers: [{name: c, image: x, env: [{name: A, value: b, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]}]",
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"),
        Verdict(
            "containers: [{name: c, image: x, env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.podip}}}]}]",
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"status.podip\": error converting fieldPath: field label not supported: status.podip"),
        Verdict(
            "containers: [{name: c, image: x, env: [{name: A, valueFrom: {}}]}]",
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"),
        Verdict("containers: [{name: c, image: x, envFrom: [{prefix: a}]}]", "spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"),
        Verdict("containers: [{name: c, image: x, volumeMounts: [{name: v, mountPath: /x}]}]", "spec.containers[0].volumeMounts[0].name: Not found: \"v\""),
        Verdict(
            "volumes: [{name: v}], containers: [{name: c, image: x, volumeMounts: [{name: v, mountPath: /x}, {name: v, mountPath: /x}]}]",
            "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/x\": must be unique"),
        // Resources
        Verdict(asks("requests: {cpu: 2}, limits: {cpu: 1}"), "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"),
        Verdict(
            asks("requests: {memory: 1.5Gi}, limits: {memory: 1024Mi}"),
            "spec.containers[0].resources.requests: Invalid value: \"1536Mi\": must be less than or equal to memory limit of 1Gi"),
        Verdict(
            asks("requests: {memory: -1}, limits: {cpu: -500m}"), "spec.containers[0].resources.limits[cpu]: Invalid value: \"-500m\": must be greater than or equal to 0",
            "spec.containers[0].resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0"),
        Verdict(
            asks("requests: {mem: 1Gi}"), "spec.containers[0].resources.requests[mem]: Invalid value: \"mem\": must be a standard resource type or fully qualified",
            "spec.containers[0].resources.requests[mem]: Invalid value: \"mem\": must be a standard resource for containers"),
        Verdict(asks("limits: {pods: 1}"), "spec.containers[0].resources.limits[pods]: Invalid value: \"pods\": must be a standard resource for containers"),
        Verdict(
            asks("requests: {example.com/gpu: 1}, limits: {example.com/gpu: 2}"),
            "spec.containers[0].resources.requests: Invalid value: \"1\": must be equal to example.com/gpu limit of 2"),
        Verdict(asks("requests: {example.com/gpu: 1}"), "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources"),
        Verdict(asks("limits: {example.com/gpu: 500m}"), "spec.containers[0].resources.limits[example.com/gpu]: Invalid value: \"500m\": must be an integer"),
        Verdict(
            asks("limits: {requests.example.com/gpu: 1}"),
            "spec.containers[0].resources.limits[requests.example.com/gpu]: Invalid value: \"requests.example.com/gpu\": doesn't follow extended resource name standard"),
        Verdict(
            asks("limits: {hugepages-2Mi: 3Mi}"), "spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
            "spec.containers[0].resources: Forbidden: HugePages require cpu or memory"),
        // Accepted
        Verdict(asks("requests: {cpu: 100m, memory: 64Mi, ephemeral-storage: 1e3}, limits: {cpu: 0.1, memory: 67108864, hugepages-2Mi: 4Mi, example.com/gpu: 2}")),
        Verdict(one), Verdict("dnsPolicy: '', restartPolicy: '', hostname: '', \(one)"), Verdict("dnsPolicy: None, dnsConfig: {nameservers: ['fd00::1']}, \(one)"),
        Verdict("dnsConfig: {searches: [., _tcp.example.com., a_b]}, \(one)"), Verdict("hostAliases: [{ip: '::1', hostnames: [a.b]}], \(one)"),
        Verdict("containers: [{name: c, image: x, ports: [{containerPort: 80}, {containerPort: 80}, {name: http, containerPort: 81, hostPort: 0}]}]"),
        Verdict("hostNetwork: true, containers: [{name: c, image: x, ports: [{containerPort: 80}, {containerPort: 81, hostPort: 81}]}]"),
        Verdict("initContainers: [{name: i, image: x, restartPolicy: Always, readinessProbe: {tcpSocket: {port: 80}}}], \(one)"),
        Verdict("containers: [{name: c, image: x, readinessProbe: {httpGet: {port: 80, path: ''}, periodSeconds: 0, successThreshold: 3}}]"),
        Verdict("containers: [{name: c, image: x, env: [{name: 1-a.b c}, {name: L, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['a/b']\"}}}]}]"),
        Verdict("volumes: [{name: v}, {name: w, configMap: {name: m}}], containers: [{name: c, image: x, volumeMounts: [{name: v, mountPath: x}, {name: v, mountPath: '/a:b'}]}]"),
        Verdict("tolerations: [{operator: Exists}, {key: a, value: b, effect: NoSchedule}], terminationGracePeriodSeconds: 100000, \(one)"),
    ]

    @Test("Each rule in the API server's words; what it accepts is accepted", arguments: specs)
    func rules(_ verdict: Verdict) {
        let spec = verdict.text == "{}" ? "{}" : "{\(verdict.text)}"
        #expect(reasons("{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: \(spec)}\n") == verdict.reasons)
    }

    @Test(
        "What is no amount is refused by the decoder",
        arguments: [
            ("half", "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"), ("1.5.2", "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
            ("100MB", "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"), ("5mi", "unable to parse quantity's suffix"), ("1KiKi", "unable to parse quantity's suffix"),
            ("true", "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
        ])
    func amounts(_ text: String, _ problem: String) {
        #expect(reasons("{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {\(PodValidationTests.asks("limits: {memory: \(text)}"))}}\n") == [problem])
    }

    @Test("The search list of resolv.conf has its limits")
    func searches() {
        let many = (0..<33).map { "s\($0)" }
        let names = "[\(many.map { "\"\($0)\"" }.joined(separator: ","))]"
        #expect(
            reasons(pod("a", spec: "dnsConfig: {searches: [\(many.joined(separator: ", "))]}")) == [
                "spec.dnsConfig.searches: Invalid value: \(names): must not have more than 32 search paths"
            ])
        let long = (0..<10).map { "\(String(repeating: "a", count: 60)).\(String(repeating: "b", count: 60)).\(String(repeating: "c", count: 60)).\(String(repeating: "d", count: 40))\($0)" }
        let found = reasons(pod("a", spec: "dnsConfig: {searches: [\(long.joined(separator: ", "))]}"))
        #expect(found.count == 1 && found[0].hasSuffix("…: must not have more than 2048 characters (including spaces) in the search list"), "\(found)")
    }

    @Test("The cost of a pod's deletion is a number of 32 bits")
    func deletionCost() {
        func found(_ cost: String) -> [String] {
            reasons("{apiVersion: v1, kind: Pod, metadata: {name: a, annotations: {controller.kubernetes.io/pod-deletion-cost: '\(cost)'}}, spec: {\(Self.one)}}\n")
        }
        for cost in ["+1", "01", "3000000000", "one", ""] {
            #expect(found(cost) == ["metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"\(cost)\": must be a 32bit integer"])
        }
        for cost in ["-5", "0", "2147483647"] { #expect(found(cost).isEmpty) }
    }

    @Test("A probe of a port that no port is called is accepted, with a warning")
    func probes() throws {
        let container = "{name: c, image: nginx, ports: [{name: http, containerPort: 80}], readinessProbe: {httpGet: {port: htp}}, livenessProbe: {tcpSocket: {port: http}}}"
        let warnings = try plan(pod("a", container: container)).warnings.map(\.description)
        #expect(
            warnings == [
                "web.yaml:3: readinessProbe of container \"c\" of \"a\" asks for port \"htp\", which no port of it is called: it will always fail; did you mean \"http\"?"
            ])
    }
}
