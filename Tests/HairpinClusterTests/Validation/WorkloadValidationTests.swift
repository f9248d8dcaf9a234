import HairpinCluster
import Testing

@Suite("What the API server rejects of controllers")
struct WorkloadValidationTests {
    private static func text(_ kind: String, _ spec: String, version: String = "apps/v1") -> String {
        "{apiVersion: \(version), kind: \(kind), metadata: {name: web}, spec: {\(spec)}}\n"
    }
    private static let selector = "selector: {matchLabels: {app: web}}"
    private static func template(_ pod: String = "", labels: String = "{app: web}") -> String {
        "template: {metadata: {labels: \(labels)}, spec: {\(pod.isEmpty ? "" : pod + ", ")containers: [{name: c, image: nginx}]}}"
    }
    private static let whole = "\(selector), \(template())"

    static let verdicts: [Verdict] = [
        // Selectors and templates
        Verdict(
            text("Deployment", template()), "spec.selector: Required value",
            "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`"),
        Verdict(text("Deployment", "selector: {}, \(template())"), "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
        Verdict(text("ReplicaSet", "selector: {}, \(template())"), "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
        Verdict(text("StatefulSet", "selector: {}, \(template())"), "spec.selector: Invalid value: {}: empty selector is invalid for statefulset"),
        Verdict(text("DaemonSet", "selector: {}, \(template())"), "spec.selector: Invalid value: {}: empty selector is invalid for daemonset"),
        Verdict(
            text("DaemonSet", template()), "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`"),
        Verdict(
            text("Deployment", "\(selector), \(template(labels: "{app: wbe, tier: a}"))"),
            "spec.template.metadata.labels: Invalid value: {\"app\":\"wbe\",\"tier\":\"a\"}: `selector` does not match template `labels`"),
        Verdict(
            text("StatefulSet", "\(selector), template: {spec: {containers: [{name: c, image: x}]}}"),
            "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`"),
        Verdict(
            text("Deployment", selector), "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`",
            "spec.template.spec.containers: Required value"),
        Verdict(
            text("Deployment", "selector: {matchExpressions: [{key: app, operator: Is, values: [web]}]}, \(template())"),
            "spec.selector.matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector operator",
            "spec.selector: Invalid value: {\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"Is\",\"values\":[\"web\"]}]}: invalid label selector"),
        Verdict(
            text("Deployment", "\(selector), \(template(labels: "{app: web, x: y z}"))"), "spec.template.labels: Invalid value: \"y z\": \(Format.labelValue)"),
        // Numbers
        Verdict(text("Deployment", "replicas: -1, \(whole)"), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        Verdict(text("Deployment", "minReadySeconds: -1, revisionHistoryLimit: -1, \(whole)"), "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0", "spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0"),
        Verdict(text("Deployment", "minReadySeconds: 600, \(whole)"), "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"),
        // The pod in it
        Verdict(text("Deployment", "\(selector), \(template("restartPolicy: Never"))"), "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""),
        Verdict(
            text("ReplicaSet", "\(selector), \(template("activeDeadlineSeconds: 5"))"),
            "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported"),
        Verdict(text("DaemonSet", "\(selector), \(template("dnsPolicy: X"))"), "spec.template.spec.dnsPolicy: Unsupported value: \"X\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\""),
        // Strategies
        Verdict(
            text("Deployment", "strategy: {type: Rolling}, \(whole)"),
            "spec.strategy: Unsupported value: {\"Type\":\"Rolling\",\"RollingUpdate\":null}: supported values: \"Recreate\", \"RollingUpdate\""),
        Verdict(
            text("Deployment", "strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}, \(whole)"),
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"),
        Verdict(
            text("Deployment", "strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0%}}, \(whole)"),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0"),
        Verdict(
            text("Deployment", "strategy: {rollingUpdate: {maxUnavailable: 101%}}, \(whole)"),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"),
        Verdict(
            text("Deployment", "strategy: {rollingUpdate: {maxSurge: half, maxUnavailable: -1}}, \(whole)"),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: -1: must be greater than or equal to 0",
            "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"half\": \(Format.percent)"),
        Verdict(
            text("DaemonSet", "updateStrategy: {rollingUpdate: {maxSurge: 1}}, \(whole)"),
            "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"),
        Verdict(
            text("DaemonSet", "updateStrategy: {rollingUpdate: {maxUnavailable: 0}}, \(whole)"),
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"),
        Verdict(
            text("DaemonSet", "updateStrategy: {type: Recreate}, \(whole)"),
            "spec.updateStrategy: Unsupported value: {\"Type\":\"Recreate\",\"RollingUpdate\":null}: supported values: \"RollingUpdate\", \"OnDelete\""),
        Verdict(
            text("StatefulSet", "updateStrategy: {type: OnDelete, rollingUpdate: {partition: 1}}, \(whole)"),
            "spec.updateStrategy.rollingUpdate: Invalid value: {\"Partition\":1,\"MaxUnavailable\":null}: only allowed for updateStrategy 'RollingUpdate'"),
        Verdict(
            text("StatefulSet", "updateStrategy: {type: Recreate}, \(whole)"),
            "spec.updateStrategy: Invalid value: {\"Type\":\"Recreate\",\"RollingUpdate\":null}: must be 'RollingUpdate' or 'OnDelete'"),
        Verdict(text("StatefulSet", "updateStrategy: {rollingUpdate: {maxUnavailable: 0}}, \(whole)"), "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0"),
        Verdict(text("StatefulSet", "podManagementPolicy: Ordered, \(whole)"), "spec.podManagementPolicy: Invalid value: \"Ordered\": must be 'OrderedReady' or 'Parallel'"),
        Verdict(text("StatefulSet", "ordinals: {start: -1}, \(whole)"), "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"),
        // Jobs and ReplicationControllers
        Verdict(text("Job", template(), version: "batch/v1"), "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""),
        Verdict(
            text("Job", "parallelism: -1, completionMode: Indexed, \(template("restartPolicy: Never"))", version: "batch/v1"),
            "spec.parallelism: Invalid value: -1: must be greater than or equal to 0", "spec.completions: Required value: when completion mode is Indexed"),
        Verdict(
            text("Job", "\(selector), \(template("restartPolicy: Never"))", version: "batch/v1"),
            "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"web\"}}: `selector` not auto-generated"),
        Verdict(text("CronJob", "jobTemplate: {spec: {\(template("restartPolicy: Never"))}}", version: "batch/v1"), "spec.schedule: Required value"),
        Verdict(text("ReplicationController", "replicas: 1", version: "v1"), "spec.selector: Required value", "spec.template: Required value"),
        Verdict(
            text("ReplicationController", "selector: {app: x}, \(template())", version: "v1"),
            "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`"),
        // Accepted
        Verdict(text("Deployment", "replicas: 0, strategy: {type: Recreate}, minReadySeconds: 599, \(whole)")),
        Verdict(text("Deployment", "strategy: {rollingUpdate: {maxSurge: 200%, maxUnavailable: 100%}}, \(whole)")), Verdict(text("Deployment", "strategy: {}, \(whole)")),
        Verdict(text("Deployment", "selector: {matchExpressions: [{key: app, operator: In, values: [web, api]}, {key: x, operator: DoesNotExist}]}, \(template())")),
        Verdict(text("DaemonSet", "updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}, \(whole)")),
        Verdict(text("StatefulSet", "updateStrategy: {type: OnDelete}, ordinals: {start: 3}, minReadySeconds: 100000, \(whole)")),
        Verdict(text("Job", "manualSelector: true, \(selector), \(template("restartPolicy: OnFailure"))", version: "batch/v1")),
        Verdict(text("Job", "selector: {matchLabels: {job-name: web}}, \(template("restartPolicy: OnFailure"))", version: "batch/v1")),
        Verdict(text("ReplicationController", template(), version: "v1")),
    ]

    @Test("Each rule in the API server's words; what it accepts is accepted", arguments: verdicts)
    func rules(_ verdict: Verdict) { #expect(reasons(verdict.text) == verdict.reasons) }

    @Test("A StatefulSet's name is one of its pods' host names; its pods are looked at when the first is made")
    func statefulSets() throws {
        #expect(reasons(Self.text("StatefulSet", Self.whole).replacing("name: web}", with: "name: web.a}")) == ["metadata.name: Invalid value: \"web.a\": must not contain dots"])
        let broken = Self.text("StatefulSet", "ordinals: {start: 2}, \(Self.selector), template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c}]}}")
        let error = #expect(throws: InputError.self) { try load(broken) }
        #expect(
            error?.description
                == "web.yaml:1: create Pod web-2 in StatefulSet web failed error: Pod \"web-2\" is invalid: spec.containers[0].image: Required value. Add \"image:\" to the container.")
        let claims = "volumeClaimTemplates: [{metadata: {name: data}, spec: {}}], \(Self.selector), template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: x, volumeMounts: [{name: data, mountPath: /d}]}]}}"
        #expect(reasons(Self.text("StatefulSet", claims)).isEmpty)
    }
}
