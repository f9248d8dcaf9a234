/// What a container may ask for, `ValidateContainerResourceRequirements` (pkg/apis/core/validation).
extension ObjectValidation {
    static func resources(_ resources: ObjectField) {
        let (limits, requests) = (resources["limits"], resources["requests"])
        for (name, field) in limits.entries {
            resourceName(name, limits.entry(name))
            quantity(field, name, limits.entry(name))
        }
        for (name, field) in requests.entries {
            resourceName(name, requests.entry(name))
            guard let wanted = quantity(field, name, requests.entry(name)) else { continue }
            let mayDiffer = mayOvercommit(name)
            guard let limit = limits.entry(name).quantity else {
                if !mayDiffer { limits.required("Limit must be set for non overcommitable resources") }
                continue
            }
            if !mayDiffer, wanted != limit {
                requests.invalid("must be equal to \(name) limit of \(limit.text)", value: .string(wanted.text))
            } else if wanted > limit {
                requests.invalid("must be less than or equal to \(name) limit of \(limit.text)", value: .string(wanted.text), fix: "Lower the request, or raise the limit.")
            }
        }
        let names = (limits.entries + requests.entries).map(\.key)
        if names.contains(where: isHugePages), !names.contains("cpu"), !names.contains("memory") { resources.forbidden("HugePages require cpu or memory") }
    }

    /// `ValidateResourceQuantityValue` and `validateResourceQuantityHugePageValue`.
    @discardableResult
    private static func quantity(_ field: ObjectField, _ name: String, _ place: ObjectField) -> ResourceQuantity? {
        guard let quantity = field.quantity else { return nil }
        if quantity.nanos < 0 { place.invalid("must be greater than or equal to 0", value: .string(quantity.text)) }
        if isExtended(name) || integers.contains(name), !quantity.isInteger { place.invalid("must be an integer", value: .string(quantity.text)) }
        if isHugePages(name), let page = try? ResourceQuantity(String(name.dropFirst(hugePages.count))), page.nanos > 0, quantity.nanos % page.nanos != 0 {
            place.invalid("\(quantity.text) is not positive integer multiple of \(name)", value: .string(quantity.text))
        }
        return quantity
    }

    /// `validateContainerResourceName`.
    private static func resourceName(_ name: String, _ place: ObjectField) {
        let errors = Formats.qualifiedName(name)
        place.invalid(errors, value: .string(name))
        if !name.contains("/") {
            if errors.isEmpty, !standard.contains(name), !isHugePages(name), !name.hasPrefix("requests.\(hugePages)") {
                place.invalid("must be a standard resource type or fully qualified", value: .string(name), fix: nearestWord(to: name, among: container).map { "Did you mean \"\($0)\"?" } ?? "")
            }
            if !container.contains(name), !isHugePages(name) { place.invalid("must be a standard resource for containers", value: .string(name)) }
        } else if !isNative(name), !isExtended(name) {
            place.invalid("doesn't follow extended resource name standard", value: .string(name))
        }
    }

    // MARK: Names of resources: pkg/apis/core/helper/helpers.go

    private static let container = ["cpu", "memory", "ephemeral-storage"]
    private static let integers: Set = [
        "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps", "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
    ]
    private static let standard = integers.union(container).union(container.flatMap { ["requests.\($0)", "limits.\($0)"] }).union(["storage", "requests.storage"])
    private static let hugePages = "hugepages-"
    private static func isHugePages(_ name: String) -> Bool { name.hasPrefix(hugePages) }
    private static func isNative(_ name: String) -> Bool { !name.contains("/") || name.contains("kubernetes.io/") }
    private static func isExtended(_ name: String) -> Bool { !isNative(name) && !name.hasPrefix("requests.") && Formats.qualifiedName("requests.\(name)").isEmpty }
    /// `IsOvercommitAllowed`
    private static func mayOvercommit(_ name: String) -> Bool { isNative(name) && !isHugePages(name) }
}

extension ObjectField {
    /// Nil when the field is absent; `StrictDecoding` has refused what is none.
    fileprivate var quantity: ResourceQuantity? {
        guard let value, let text = try? value.scalarText() else { return nil }
        return try? ResourceQuantity(text)
    }
}
