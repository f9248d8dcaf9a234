/// Controllers: pkg/apis/apps/validation, pkg/apis/batch/validation, and ReplicationControllers in pkg/apis/core/validation.
extension ObjectValidation {
    /// `ValidateDeploymentSpec`.
    @Sendable static func deployment(_ deployment: ObjectField) {
        let spec = deployment["spec"]
        spec["replicas"].nonnegative()
        selected(spec, kind: "Deployment", emptyKind: "deployment")
        deploymentStrategy(spec["strategy"])
        spec["minReadySeconds"].nonnegative()
        spec["revisionHistoryLimit"].nonnegative()
        let deadline = spec["progressDeadlineSeconds"]
        deadline.nonnegative()
        if (deadline.isSet ? deadline.number : 600) <= spec["minReadySeconds"].number {
            deadline.invalid("must be greater than minReadySeconds", value: .integer(deadline.isSet ? deadline.number : 600))
        }
    }

    /// `ValidateReplicaSetSpec`, whose empty selector "is invalid for deployment".
    @Sendable static func replicaSet(_ set: ObjectField) {
        set["spec"]["replicas"].nonnegative()
        set["spec"]["minReadySeconds"].nonnegative()
        selected(set["spec"], kind: "ReplicaSet", emptyKind: "deployment")
    }

    /// `ValidateReplicationControllerSpec`. Its selector defaults to the labels of its template.
    @Sendable static func replicationController(_ controller: ObjectField) {
        let spec = controller["spec"]
        spec["minReadySeconds"].nonnegative()
        let (wanted, labels) = (spec["selector"].texts, spec["template"]["metadata"]["labels"])
        if wanted.isEmpty, labels.texts.isEmpty { spec["selector"].required() }
        spec["replicas"].nonnegative()
        guard spec["template"].isSet else { return spec["template"].required() }
        mismatch(wanted.allSatisfy { labels.texts[$0.key] == $0.value }, spec, LabelSelector(matchLabels: wanted))
        podTemplate(spec["template"])
        alwaysRestarting(spec["template"]["spec"], "ReplicationController")
    }

    /// `ValidateDaemonSetSpec`.
    @Sendable static func daemonSet(_ set: ObjectField) {
        let spec = set["spec"]
        selector(spec["selector"])
        if let wanted = parsedSelector(spec["selector"]) { mismatch(matches(wanted, spec), spec, wanted) }
        if spec["selector"].isSet, isEmpty(spec["selector"]) { spec["selector"].invalid("empty selector is invalid for daemonset", shown: shown(spec["selector"])) }
        podTemplate(spec["template"])
        alwaysRestarting(spec["template"]["spec"], "DaemonSet")
        spec["minReadySeconds"].nonnegative()
        daemonStrategy(spec["updateStrategy"])
        spec["revisionHistoryLimit"].nonnegative()
    }

    /// `ValidateStatefulSetSpec`. Its template's pod is not looked at until the first is made: see `statefulSetPod`.
    @Sendable static func statefulSet(_ set: ObjectField) {
        let spec = set["spec"]
        let management = spec["podManagementPolicy"]
        if !["", "OrderedReady", "Parallel"].contains(management.text) { management.invalid("must be 'OrderedReady' or 'Parallel'") }
        let (strategy, rolling) = (spec["updateStrategy"], spec["updateStrategy"]["rollingUpdate"])
        let unavailable = rolling["maxUnavailable"].isSet ? rolling["maxUnavailable"].intOrString.json.json(indent: nil) : "null"
        let inner = "{\"Partition\":\(rolling["partition"].number),\"MaxUnavailable\":\(unavailable)}"
        switch strategy["type"].text {
        case "", "RollingUpdate":
            rolling["partition"].nonnegative()
            if rolling["maxUnavailable"].isSet {
                let amount = rolling["maxUnavailable"]
                positiveOrPercent(amount, amount.intOrString)
                if value(amount.intOrString) == 0 { amount.invalid("cannot be 0") }
                atMostAll(amount, amount.intOrString)
            }
        case "OnDelete": if rolling.isSet { rolling.invalid("only allowed for updateStrategy 'RollingUpdate'", shown: inner) }
        default:
            let type = JSONValue.string(strategy["type"].text).json(indent: nil)
            strategy.invalid("must be 'RollingUpdate' or 'OnDelete'", shown: "{\"Type\":\(type),\"RollingUpdate\":\(rolling.isSet ? inner : "null")}")
        }
        let retention = spec["persistentVolumeClaimRetentionPolicy"]
        if retention.isSet { for key in ["whenDeleted", "whenScaled"] { retention[key].oneOf(["Retain", "Delete"]) } }
        spec["replicas"].nonnegative()
        spec["minReadySeconds"].nonnegative()
        spec["ordinals"]["start"].nonnegative()
        checkSelector(spec, emptyKind: "statefulset")
        if let wanted = parsedSelector(spec["selector"]) {
            if !isEmpty(spec["selector"]) || !spec["selector"].isSet { mismatch(matches(wanted, spec), spec, wanted) }
            let template = spec["template"]
            labels(template["metadata"]["labels"].named("spec.template.labels"))
            annotations(template["metadata"]["annotations"].named("spec.template.annotations"))
        } else {
            spec["selector"].invalid("", shown: shown(spec["selector"]))
        }
        alwaysRestarting(spec["template"]["spec"], "StatefulSet")
    }

    /// What the controller is told when it makes its first pod, with the claims among its volumes.
    static func statefulSetPod(_ document: YAMLValue) throws(InputError) {
        let findings = Findings()
        let set = ObjectField(document, path: "", place: document, findings: findings)
        let spec = set["spec"]["template"]["spec"].named("spec")
        podSpec(spec, claims: set["spec"]["volumeClaimTemplates"].items.map { $0["metadata"]["name"].text })
        let name = set["metadata"]["name"].text
        let pod = "\(name)-\(set["spec"]["ordinals"]["start"].number)"
        try findings.check("create Pod \(pod) in StatefulSet \(name) failed error: Pod \"\(pod)\" is invalid", at: document["metadata"]?["name"] ?? document)
    }

    /// `validateJobSpec`. The selector is the controller's own.
    @Sendable static func job(_ job: ObjectField) { jobSpec(job["spec"], name: job["metadata"]["name"].text) }

    /// `name` is nil in a CronJob's template.
    private static func jobSpec(_ spec: ObjectField, name: String?) {
        for key in ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes"] {
            spec[key].nonnegative()
        }
        spec["completionMode"].oneOf(["NonIndexed", "Indexed"])
        if spec["completionMode"].text == "Indexed", !spec["completions"].isSet { spec["completions"].required("when completion mode is Indexed") }
        podTemplate(spec["template"])
        let restart = spec["template"]["spec"]["restartPolicy"]
        switch restart.text {
        case "", "Always": restart.required("valid values: \"OnFailure\", \"Never\"")
        case "OnFailure", "Never": break
        default: restart.unsupported(among: ["OnFailure", "Never"])
        }
        guard !spec["manualSelector"].flag, spec["selector"].isSet else { return }
        if let name {
            // What the API server adds itself may stand there already.
            let own = ["job-name": name, "batch.kubernetes.io/job-name": name]
            if let wanted = parsedSelector(spec["selector"]), wanted.matches(own) { return }
            spec["selector"].invalid("`selector` not auto-generated", shown: shown(spec["selector"]))
        } else {
            spec["selector"].invalid("`selector` will be auto-generated", shown: shown(spec["selector"]))
        }
    }

    /// `validateCronJobSpec`, but for the form of the schedule: CronJobs are kept, not run.
    @Sendable static func cronJob(_ job: ObjectField) {
        let spec = job["spec"]
        // The controller adds eleven characters to make the name of a Job.
        let name = job["metadata"]["name"]
        if name.text.utf8.count > 52 { name.invalid("must be no more than 52 characters") }
        if spec["schedule"].text.isEmpty { spec["schedule"].required() }
        spec["startingDeadlineSeconds"].nonnegative()
        spec["concurrencyPolicy"].oneOf(["Allow", "Forbid", "Replace"])
        jobSpec(spec["jobTemplate"]["spec"], name: nil)
        spec["successfulJobsHistoryLimit"].nonnegative()
        spec["failedJobsHistoryLimit"].nonnegative()
    }
}

// MARK: Selectors

extension ObjectValidation {
    private static func selected(_ spec: ObjectField, kind: String, emptyKind: String) {
        checkSelector(spec, emptyKind: emptyKind)
        guard let wanted = parsedSelector(spec["selector"]) else { return spec["selector"].invalid("invalid label selector", shown: shown(spec["selector"])) }
        if !isEmpty(spec["selector"]) || !spec["selector"].isSet { mismatch(matches(wanted, spec), spec, wanted) }
        podTemplate(spec["template"])
        alwaysRestarting(spec["template"]["spec"], kind)
    }
    private static func checkSelector(_ spec: ObjectField, emptyKind: String) {
        let field = spec["selector"]
        guard field.isSet else { return field.required(fix: "Add \"selector:\" with \"matchLabels:\" that match the template's labels.") }
        selector(field)
        if isEmpty(field) { field.invalid("empty selector is invalid for \(emptyKind)", shown: shown(field)) }
    }
    private static func mismatch(_ isMatch: Bool, _ spec: ObjectField, _ selector: LabelSelector) {
        guard !isMatch else { return }
        let labels = spec["template"]["metadata"]["labels"]
        let fix = selector.matchLabels.isEmpty ? "" : "Give the template the labels \(LabelSelector(matchLabels: selector.matchLabels).text)."
        labels.invalid("`selector` does not match template `labels`", value: labels.json, fix: fix)
    }
    private static func isEmpty(_ selector: ObjectField) -> Bool { selector["matchLabels"].entries.isEmpty && selector["matchExpressions"].items.isEmpty }
    /// An absent selector matches nothing.
    private static func matches(_ selector: LabelSelector, _ spec: ObjectField) -> Bool {
        spec["selector"].isSet && selector.matches(spec["template"]["metadata"]["labels"].texts)
    }
    /// `LabelSelectorAsSelector`: nil where it fails.
    private static func parsedSelector(_ field: ObjectField) -> LabelSelector? {
        var result = LabelSelector(matchLabels: field["matchLabels"].texts)
        for (key, value) in result.matchLabels where !Formats.qualifiedName(key).isEmpty || !Formats.labelValue(value).isEmpty { return nil }
        for item in field["matchExpressions"].items {
            let values = item["values"].items.map(\.text)
            guard let operation = LabelSelector.Operator(rawValue: item["operator"].text), Formats.qualifiedName(item["key"].text).isEmpty,
                values.isEmpty == (operation == .exists || operation == .doesNotExist), values.allSatisfy({ Formats.labelValue($0).isEmpty })
            else { return nil }
            result.requirements.append(.init(key: item["key"].text, operation: operation, values: values))
        }
        return result
    }
    /// As JSON, in the order of Go's struct.
    private static func shown(_ selector: ObjectField) -> String {
        let parts = ["matchLabels", "matchExpressions"].filter { selector[$0].isSet }.map { "\"\($0)\":\(ObjectField.quoted(selector[$0].json))" }
        return "{\(parts.joined(separator: ","))}"
    }
    private static func alwaysRestarting(_ spec: ObjectField, _ kind: String) {
        let policy = spec["restartPolicy"]
        if !["", "Always"].contains(policy.text) { policy.unsupported(among: ["Always"]) }
        if spec["activeDeadlineSeconds"].isSet { spec["activeDeadlineSeconds"].forbidden("activeDeadlineSeconds in \(kind) is not Supported") }
    }
}

// MARK: Strategies

extension ObjectValidation {
    /// `ValidateDeploymentStrategy`, with the defaults of 25 per cent.
    private static func deploymentStrategy(_ strategy: ObjectField) {
        let rolling = strategy["rollingUpdate"]
        let (unavailable, surge) = (rolling["maxUnavailable"], rolling["maxSurge"])
        switch strategy["type"].text {
        case "", "RollingUpdate":
            let amounts = [unavailable, surge].map { $0.isSet ? $0.intOrString : .text("25%") }
            positiveOrPercent(unavailable, amounts[0])
            positiveOrPercent(surge, amounts[1])
            if value(amounts[0]) == 0, value(amounts[1]) == 0 { unavailable.invalid("may not be 0 when `maxSurge` is 0", value: amounts[0].json) }
            atMostAll(unavailable, amounts[0])
        case "Recreate": if rolling.isSet { rolling.forbidden("may not be specified when strategy `type` is 'Recreate'") }
        default: strategy.unsupported(shown: shownStrategy(strategy), among: ["Recreate", "RollingUpdate"])
        }
    }

    /// `ValidateDaemonSetUpdateStrategy`: the default of maxUnavailable is 1, so that maxSurge needs a 0 beside it.
    private static func daemonStrategy(_ strategy: ObjectField) {
        let rolling = strategy["rollingUpdate"]
        let (unavailable, surge) = (rolling["maxUnavailable"], rolling["maxSurge"])
        switch strategy["type"].text {
        case "", "RollingUpdate":
            let amounts = [unavailable.isSet ? unavailable.intOrString : .int(1), surge.intOrString]
            positiveOrPercent(unavailable, amounts[0])
            positiveOrPercent(surge, amounts[1])
            atMostAll(unavailable, amounts[0])
            atMostAll(surge, amounts[1])
            switch (value(amounts[0]) != 0, value(amounts[1]) != 0) {
            case (true, true): surge.invalid("may not be set when maxUnavailable is non-zero", fix: "Write \"maxUnavailable: 0\" beside it.")
            case (false, false): unavailable.required("cannot be 0 when maxSurge is 0")
            default: break
            }
        case "OnDelete": break
        default: strategy.unsupported(shown: shownStrategy(strategy), among: ["RollingUpdate", "OnDelete"])
        }
    }

    private static func shownStrategy(_ strategy: ObjectField) -> String {
        let rolling = strategy["rollingUpdate"]
        let (unavailable, surge) = (rolling["maxUnavailable"].intOrString.json.json(indent: nil), rolling["maxSurge"].intOrString.json.json(indent: nil))
        let inner = rolling.isSet ? "{\"MaxUnavailable\":\(unavailable),\"MaxSurge\":\(surge)}" : "null"
        return "{\"Type\":\(JSONValue.string(strategy["type"].text).json(indent: nil)),\"RollingUpdate\":\(inner)}"
    }
    /// `ValidatePositiveIntOrPercent`.
    private static func positiveOrPercent(_ field: ObjectField, _ amount: IntOrString) {
        switch amount {
        case .int(let number): if number < 0 { field.invalid("must be greater than or equal to 0") }
        case .text(let text): field.invalid(Formats.percent(text))
        }
    }
    /// `IsNotMoreThan100Percent`.
    private static func atMostAll(_ field: ObjectField, _ amount: IntOrString) {
        if case .text(let text) = amount, Formats.percent(text).isEmpty, value(amount) > 100 { field.invalid("must not be greater than 100%") }
    }
    /// `getIntOrPercentValue`: a text that is no percentage counts as the number it is, or as 0.
    private static func value(_ amount: IntOrString) -> Int {
        switch amount {
        case .int(let number): number
        case .text(let text): Formats.percent(text).isEmpty ? Int(text.dropLast()) ?? Int.max : Int(text) ?? 0
        }
    }
}
