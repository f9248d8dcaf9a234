/// `ValidateService` and what the allocators check before it (pkg/registry/core/service/storage/alloc.go), with the defaults of pkg/apis/core/v1/defaults.go.
extension ObjectValidation {
    static let protocols = ["SCTP", "TCP", "UDP"]

    private static func type(_ spec: ObjectField) -> String { spec["type"].text.isEmpty ? "ClusterIP" : spec["type"].text }
    /// A lone clusterIP stands for clusterIPs too (`normalizeClusterIPs`).
    private static func addresses(_ spec: ObjectField) -> [ObjectField] {
        let plural = spec["clusterIPs"].items
        return plural.isEmpty && !spec["clusterIP"].text.isEmpty ? [spec["clusterIP"].named("spec.clusterIPs[0]")] : plural
    }
    private static func isHeadless(_ spec: ObjectField) -> Bool { addresses(spec).map(\.text) == ["None"] }

    @Sendable static func service(_ service: ObjectField) {
        let spec = service["spec"]
        let type = type(spec)
        let addresses = addresses(spec)
        let ports = spec["ports"].items
        topologyAnnotations(service["metadata"]["annotations"])

        if ports.isEmpty, !isHeadless(spec), type != "ExternalName" { spec["ports"].required(fix: "Add \"ports:\" with at least one port.") }
        switch type {
        case "LoadBalancer", "NodePort": if isHeadless(spec) { addresses[0].invalid("may not be set to 'None' for \(type) services") }
        case "ExternalName":
            if !addresses.isEmpty { ObjectField(addresses[0].value, path: "spec.clusterIPs", place: addresses[0].place, findings: spec.findings).forbidden("may not be set for ExternalName services") }
            if !spec["ipFamilies"].items.isEmpty { spec["ipFamilies"].forbidden("may not be set for ExternalName services") }
            if spec["ipFamilyPolicy"].isSet { spec["ipFamilyPolicy"].forbidden("may not be set for ExternalName services") }
            let name = spec["externalName"].text
            let canonical = name.hasSuffix(".") ? String(name.dropLast()) : name
            if canonical.isEmpty {
                spec["externalName"].required(fix: "Add \"externalName:\" with a DNS name such as db.example.com.")
            } else {
                spec["externalName"].invalid(Formats.subdomain(canonical), value: .string(canonical))
            }
        default: break
        }

        var names: Set<String> = []
        for port in ports { servicePort(port, needsName: ports.count > 1, names: &names) }
        labels(spec["selector"])
        affinity(spec)

        for address in spec["externalIPs"].items where address.validAddress() != nil { address.notSpecial() }
        spec["type"].oneOf(["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"])
        if type == "ClusterIP" {
            for port in ports where port["nodePort"].number != 0 {
                port["nodePort"].forbidden("may not be used when `type` is 'ClusterIP'", fix: "Remove it, or write type: NodePort.")
            }
        }
        if type == "NodePort" || type == "LoadBalancer" { for port in ports { portNumberAtAll(port["nodePort"]) } }
        var seen: Set<String> = []
        for port in ports where port["nodePort"].number != 0 && !seen.insert("\(proto(port))/\(port["nodePort"].number)").inserted { port["nodePort"].duplicate() }
        seen = []
        for port in ports where !seen.insert("\(proto(port))/\(port["port"].number)").inserted {
            port.duplicate(shown: "{\"Name\":\"\",\"Protocol\":\"\(proto(port))\",\"AppProtocol\":null,\"Port\":\(port["port"].number),\"TargetPort\":0,\"NodePort\":0}")
        }
        loadBalancer(spec, type, service["metadata"]["annotations"])
        trafficPolicies(spec, type)
        if type == "LoadBalancer" { loadBalancerStatus(service["status"]["loadBalancer"]["ingress"]) }
    }

    /// What is a port but not of the range is for `ServiceAllocator` to say, which knows the cluster's.
    private static func portNumberAtAll(_ field: ObjectField) {
        let range = ClusterConfiguration().nodePorts
        if !(0...65535).contains(field.number) {
            field.invalid("provided port is not in the valid range. The range of valid ports is \(range.lowerBound)-\(range.upperBound)")
        }
    }
    private static func proto(_ port: ObjectField) -> String { port["protocol"].text.isEmpty ? "TCP" : port["protocol"].text }

    private static func topologyAnnotations(_ annotations: ObjectField) {
        let mode = annotations.entry("service.kubernetes.io/topology-mode")
        let hints = annotations.entry("service.kubernetes.io/topology-aware-hints")
        if mode.isSet, hints.isSet, mode.text != hints.text {
            mode.invalid("must match annotations[service.kubernetes.io/topology-aware-hints] when both are specified")
        }
    }

    /// `validateServicePort`. A target of 0 or "" is the port's own number.
    private static func servicePort(_ port: ObjectField, needsName: Bool, names: inout Set<String>) {
        let name = port["name"]
        if name.text.isEmpty {
            if needsName { name.required(fix: "Give each port of the Service a name.") }
        } else {
            name.invalid(Formats.label(name.text))
            if !names.insert(name.text).inserted { name.duplicate() }
        }
        port["port"].invalid(Formats.portNumber(port["port"].number), value: .integer(port["port"].number))
        port["protocol"].oneOf(protocols)
        let target = port["targetPort"].intOrString
        portNumberOrName(port["targetPort"], target == .int(0) || target == .text("") ? .int(port["port"].number) : target)
        if port["appProtocol"].isSet { port["appProtocol"].invalid(Formats.qualifiedName(port["appProtocol"].text)) }
    }

    /// `ValidatePortNumOrName`.
    static func portNumberOrName(_ field: ObjectField, _ port: IntOrString) {
        switch port {
        case .int(let number): field.invalid(Formats.portNumber(number), value: .integer(number))
        case .text(let name):
            // Templates often put numbers between quotation marks.
            field.invalid(Formats.portName(name), value: .string(name), fix: Int(name) == nil ? "" : "Write \(name) without quotation marks.")
        }
    }

    private static func affinity(_ spec: ObjectField) {
        spec["sessionAffinity"].oneOf(["ClientIP", "None"])
        // Without ClientIP, the defaults drop the whole of sessionAffinityConfig, whatever it says.
        let seconds = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"]
        if spec["sessionAffinity"].text == "ClientIP", seconds.isSet, !(1...86400).contains(seconds.number) { seconds.invalid("must be greater than 0 and less than 86400") }
    }

    private static func loadBalancer(_ spec: ObjectField, _ type: String, _ annotations: ObjectField) {
        let only = "may only be used when `type` is 'LoadBalancer'"
        let ranges = spec["loadBalancerSourceRanges"].items
        let annotation = annotations.entry("service.beta.kubernetes.io/load-balancer-source-ranges")
        if !ranges.isEmpty {
            // The API server's own spelling.
            let path = "spec.LoadBalancerSourceRanges"
            if type != "LoadBalancer" { spec["loadBalancerSourceRanges"].named(path).forbidden(only) }
            for (number, range) in ranges.enumerated() { trimmedPrefix(range.named("\(path)[\(number)]"), range.text) }
        } else if annotation.isSet {
            let field = annotation.named("metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]")
            if type != "LoadBalancer" { field.forbidden(only) }
            if !field.text.allSatisfy(\.isWhitespace) { for part in field.text.split(separator: ",", omittingEmptySubsequences: false) { trimmedPrefix(field, String(part)) } }
        }
        if type != "LoadBalancer" {
            if spec["allocateLoadBalancerNodePorts"].isSet { spec["allocateLoadBalancerNodePorts"].forbidden(only) }
            if spec["loadBalancerClass"].isSet { spec["loadBalancerClass"].forbidden(only) }
        } else if spec["loadBalancerClass"].isSet {
            spec["loadBalancerClass"].invalid(Formats.qualifiedName(spec["loadBalancerClass"].text))
        }
    }
    private static func trimmedPrefix(_ field: ObjectField, _ text: String) {
        let text = text.trimmingSpaces
        if AnyPrefix(text) == nil { field.invalid("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)", value: .string(text)) }
    }

    /// `validateServiceExternalTrafficPolicy`, `validateServiceInternalTrafficFieldsValue` and `validateServiceTrafficDistribution`.
    private static func trafficPolicies(_ spec: ObjectField, _ type: String) {
        let external = spec["externalTrafficPolicy"]
        let isReachable = type == "LoadBalancer" || type == "NodePort" || type == "ClusterIP" && !spec["externalIPs"].items.isEmpty
        if isReachable {
            external.oneOf(["Cluster", "Local"])
        } else if !external.text.isEmpty {
            external.invalid("may only be set for externally-accessible services", fix: "Remove it, or write type: NodePort or type: LoadBalancer.")
        }
        let health = spec["healthCheckNodePort"]
        if type == "LoadBalancer", external.text == "Local" {
            if health.number != 0 { health.invalid(Formats.portNumber(health.number)) }
        } else if health.number != 0 {
            health.invalid("may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'")
        }
        let isOneOf = { (field: ObjectField, known: [String]) in if field.isSet, !known.contains(field.text) { field.unsupported(among: known) } }
        isOneOf(spec["internalTrafficPolicy"], ["Cluster", "Local"])
        isOneOf(spec["trafficDistribution"], ["PreferClose", "PreferSameNode", "PreferSameZone"])
    }

    /// `ValidateLoadBalancerStatus`: what a cloud's controller writes, and Hairpin takes from the manifest.
    private static func loadBalancerStatus(_ ingress: ObjectField) {
        for item in ingress.items {
            let (ip, mode, host) = (item["ip"], item["ipMode"], item["hostname"])
            if !ip.text.isEmpty { ip.validAddress() }
            if mode.isSet, ip.text.isEmpty { mode.forbidden("may not be specified when `ip` is not set") } else if mode.isSet, !["Proxy", "VIP"].contains(mode.text) { mode.unsupported(among: ["Proxy", "VIP"]) }
            if !host.text.isEmpty {
                host.invalid(Formats.subdomain(host.text))
                if AnyAddress(host.text) != nil { host.invalid("must be a DNS name, not an IP address") }
            }
        }
    }
}

// MARK: Cluster addresses and families

extension ObjectValidation {
    /// `ValidateServiceClusterIPsRelatedFields` and `initIPFamilyFields`, for a cluster of IPv4 alone.
    static func clusterAddresses(_ service: ObjectField) {
        let spec = service["spec"]
        guard type(spec) != "ExternalName" else { return }
        let addresses = addresses(spec)
        let (families, policy) = (spec["ipFamilies"].items, spec["ipFamilyPolicy"])
        let all = ObjectField(spec["clusterIPs"].value, path: "spec.clusterIPs", place: (spec["clusterIPs"].value ?? spec["clusterIP"].value) ?? spec.place, findings: spec.findings)
        let shown = JSONValue.array(addresses.map { .string($0.text) })
        let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"]

        if spec["clusterIP"].text.isEmpty {
            if !addresses.isEmpty { all.invalid("must be empty when `clusterIP` is not specified", value: shown, fix: "Write the first of them as clusterIP too.") }
        } else if addresses[0].text != spec["clusterIP"].text {
            all.invalid("first value must match `clusterIP`", value: shown)
        }
        var seen: Set<String> = []
        for family in families {
            if !["IPv4", "IPv6"].contains(family.text) { family.unsupported(among: ["IPv4", "IPv6"]) }
            if !seen.insert(family.text).inserted { family.duplicate() }
        }
        if policy.isSet, !policies.contains(policy.text) { policy.unsupported(among: policies) }
        let before = spec.findings.reasons.count
        for (number, address) in addresses.enumerated() {
            if number == 0, address.text == "None" {
                if addresses.count > 1 { all.invalid("'None' must be the first and only value", value: shown) }
            } else {
                address.validAddress()
            }
        }
        let hasInvalid = spec.findings.reasons.count > before
        if addresses.count > 2 { all.invalid("may only hold up to 2 values", value: shown) }
        if hasInvalid { return }
        let parsed = addresses.compactMap { AnyAddress($0.text) }
        if addresses.count > 1, Set(parsed.map { $0.v4 == nil }).count != 2 { all.invalid("may specify no more than one IP for each IP family", value: shown) }
        if !isHeadless(spec) {
            for (number, (address, family)) in zip(addresses, families).enumerated() {
                let isIPv4 = AnyAddress(address.text)?.v4 != nil
                if family.text == "IPv4", !isIPv4 { address.invalid("expected an IPv4 value as indicated by `ipFamilies[\(number)]`") }
                if family.text == "IPv6", isIPv4 { address.invalid("expected an IPv6 value as indicated by `ipFamilies[\(number)]`") }
            }
        }
        if spec.findings.isEmpty { configuredFamilies(spec, addresses, families, all, shown) }
    }

    private static func configuredFamilies(_ spec: ObjectField, _ addresses: [ObjectField], _ families: [ObjectField], _ all: ObjectField, _ shown: JSONValue) {
        // A headless Service without a selector may have any families: nobody gives it addresses.
        let isBare = isHeadless(spec) && spec["selector"].entries.isEmpty
        let policy = spec["ipFamilyPolicy"]
        let effective = policy.isSet ? policy.text : isBare ? "RequireDualStack" : "SingleStack"
        if effective == "SingleStack" {
            let must = "must be 'RequireDualStack' or 'PreferDualStack' when multiple"
            if addresses.count == 2 { policy.invalid("\(must) cluster IPs are specified", value: .string(effective)) }
            if families.count == 2 { policy.invalid("\(must) IP families are specified", value: .string(effective)) }
        }
        for (number, address) in addresses.enumerated() where number >= families.count && address.text != "None" && AnyAddress(address.text)?.v4 == nil {
            address.invalid("IPv6 is not configured on this cluster", value: shown)
        }
        guard spec.findings.isEmpty, !isBare else { return }
        if effective == "RequireDualStack" { policy.invalid("this cluster is not configured for dual-stack services", value: .string(effective)) }
        for family in families where family.text == "IPv6" { family.invalid("not configured on this cluster") }
    }
}

extension String {
    /// `strings.TrimSpace`.
    fileprivate var trimmingSpaces: String { String(drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed()) }
}
