/// The schema of AdminNetworkPolicy and BaselineAdminNetworkPolicy (network-policy-api 0.1.7, config/crd/experimental), in the words of kube-openapi's pkg/validation and of the
/// API server's CEL rules.
extension ObjectValidation {
    @Sendable static func adminNetworkPolicy(_ policy: ObjectField) {
        object(policy, requires: ["spec"])
        let spec = policy["spec"]
        if object(spec, requires: ["priority", "subject"]) {
            number(spec["priority"], 0...1000)
            adminRules(spec, actions: ["Allow", "Deny", "Pass"])
        }
        if policy.findings.isEmpty { celRules(spec) }
    }

    @Sendable static func baselineAdminNetworkPolicy(_ policy: ObjectField) {
        object(policy, requires: ["spec"])
        let spec = policy["spec"]
        if object(spec, requires: ["subject"]) { adminRules(spec, actions: ["Allow", "Deny"]) }
        guard policy.findings.isEmpty else { return }
        celRules(spec)
        let name = policy["metadata"]["name"]
        if name.text != "default" {
            // A rule of the whole object has no path.
            name.named("<nil>").invalid("Only one baseline admin network policy with metadata.name=\"default\" can be created in the cluster", value: .string("object"))
        }
    }

    private static func adminRules(_ spec: ObjectField, actions: [String]) {
        if oneProperty(spec["subject"]) { podPeer(spec["subject"]) }
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] where list(spec[direction], atMost: 100) {
            for rule in spec[direction].items where object(rule, requires: ["action", peers]) {
                string(rule["action"], among: actions)
                if string(rule["name"]), rule["name"].text.utf8.count > 100 { rule["name"].tooLong(atMost: 100) }
                if list(rule[peers], atLeast: 1, atMost: 100) { for peer in rule[peers].items where oneProperty(peer) { adminPeer(peer) } }
                if list(rule["ports"], atLeast: 1, atMost: 100) { for port in rule["ports"].items where oneProperty(port) { adminPort(port) } }
            }
        }
    }

    private static func adminPeer(_ peer: ObjectField) {
        podPeer(peer)
        labelSelector(peer["nodes"])
        if list(peer["networks"], atLeast: 1, atMost: 25) {
            for network in peer["networks"].items where string(network) && network.text.utf8.count > 43 { network.tooLong(atMost: 43) }
        }
    }
    private static func podPeer(_ peer: ObjectField) {
        labelSelector(peer["namespaces"])
        if peer["pods"].isSet, object(peer["pods"], requires: ["namespaceSelector", "podSelector"]) { for key in ["namespaceSelector", "podSelector"] { labelSelector(peer["pods"][key]) } }
    }
    private static func adminPort(_ port: ObjectField) {
        string(port["namedPort"])
        let (single, range) = (port["portNumber"], port["portRange"])
        if single.isSet, object(single, requires: ["port"]) { number(single["port"], 1...65535) }
        if range.isSet, object(range, requires: ["end", "start"]) { for key in ["end", "start"] { number(range[key], 1...65535) } }
        for part in [single, range] { string(part["protocol"]) }
    }
    private static func labelSelector(_ selector: ObjectField) {
        guard selector.isSet, object(selector, requires: []), list(selector["matchExpressions"]) else { return }
        for item in selector["matchExpressions"].items where object(item, requires: ["key", "operator"]) { for key in ["key", "operator"] { string(item[key]) } }
    }

    /// The rules in CEL, which are looked at once the schema is content. They show a value's type.
    private static func celRules(_ spec: ObjectField) {
        for rule in spec["egress"].items {
            let peers = rule["to"].items
            for network in peers.flatMap({ $0["networks"].items }) where AnyPrefix(network.text) == nil { network.invalid("Invalid CIDR format provided", value: .string("string")) }
            if peers.contains(where: { $0["networks"].isSet || $0["nodes"].isSet || $0["domainNames"].isSet }), rule["ports"].items.contains(where: { $0["namedPort"].isSet }) {
                rule.invalid(
                    "networks/nodes/domainNames peer cannot be set with namedPorts since there are no namedPorts for networks/nodes/domainNames", value: .string("object"))
            }
        }
    }
}

// MARK: The schema's types, and their limits

extension ObjectValidation {
    /// Null where a mapping is meant is an empty one: `namespaces:` alone selects everything, as `namespaces: {}` does.
    private static func has(_ object: ObjectField, _ key: String) -> Bool {
        guard case .mapping(let entries)? = object.value?.content else { return false }
        return entries.contains { $0.key == key }
    }

    @discardableResult private static func object(_ field: ObjectField, requires keys: [String]) -> Bool {
        guard let value = field.value else { return false }
        guard case .mapping = value.content else {
            mistyped(field, "object")
            return false
        }
        for key in keys where !has(field, key) { field[key].required(fix: "Add \"\(key):\".") }
        return true
    }
    private static func oneProperty(_ field: ObjectField) -> Bool {
        guard object(field, requires: []), case .mapping(let entries)? = field.value?.content else { return false }
        if entries.isEmpty { field.invalid("\(field.path) in body should have at least 1 properties", value: .integer(0)) }
        if entries.count > 1 { field.tooMany(entries.count, atMost: 1) }
        return entries.count == 1
    }
    private static func list(_ field: ObjectField, atLeast least: Int = 0, atMost most: Int = .max) -> Bool {
        guard let value = field.value else { return false }
        guard case .sequence(let items) = value.content else {
            mistyped(field, "array")
            return false
        }
        if items.count < least { field.invalid("\(field.path) in body should have at least \(least) items", value: .integer(items.count)) }
        if items.count > most { field.tooMany(items.count, atMost: most) }
        return least...most ~= items.count
    }
    private static func number(_ field: ObjectField, _ range: ClosedRange<Int>) {
        guard let value = field.value else { return }
        guard case .integer(let number) = value.content else { return mistyped(field, "integer") }
        if number > range.upperBound { field.invalid("\(field.path) in body should be less than or equal to \(range.upperBound)") }
        if number < range.lowerBound { field.invalid("\(field.path) in body should be greater than or equal to \(range.lowerBound)") }
    }
    @discardableResult private static func string(_ field: ObjectField, among known: [String] = []) -> Bool {
        guard let value = field.value else { return false }
        guard case .string(let text) = value.content else {
            mistyped(field, "string")
            return false
        }
        if !known.isEmpty, !known.contains(text) { field.unsupported(among: known) }
        return true
    }
    private static func mistyped(_ field: ObjectField, _ wanted: String) {
        let found =
            switch field.value?.content {
            case nil, .null: "null"
            case .bool: "boolean"
            case .integer: "integer"
            case .real: "number"
            case .string: "string"
            case .sequence: "array"
            case .mapping: "object"
            }
        field.invalid("\(field.path) in body must be of type \(wanted): \"\(found)\"", value: .string(found))
    }
}
