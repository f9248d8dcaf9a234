/// What every object carries: its name, its namespace, its labels, and where it was written.
public struct ObjectMeta: Sendable {
    public var name: String
    /// Empty for objects that belong to no namespace.
    public var namespace: String
    public var labels: [String: String]
    public var annotations: [String: String]
    public var owner: OwnerReference?
    /// Where the object was written; an empty file for what Hairpin made itself.
    public var file: String
    public var line: Int
    public init(
        name: String, namespace: String, labels: [String: String] = [:], annotations: [String: String] = [:], owner: OwnerReference? = nil, file: String = "",
        line: Int = 0
    ) {
        self.name = name
        self.namespace = namespace
        self.labels = labels
        self.annotations = annotations
        self.owner = owner
        self.file = file
        self.line = line
    }
    public var key: ObjectKey { ObjectKey(namespace: namespace, name: name) }
}

/// Namespace and name; prints as "default/web".
public struct ObjectKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var namespace: String
    public var name: String
    public init(namespace: String, name: String) {
        self.namespace = namespace
        self.name = name
    }
    public static func < (a: ObjectKey, b: ObjectKey) -> Bool { (a.namespace, a.name) < (b.namespace, b.name) }
    public var description: String { "\(namespace)/\(name)" }
}

public struct OwnerReference: Hashable, Sendable {
    public var kind: String
    public var name: String
    public init(kind: String, name: String) {
        self.kind = kind
        self.name = name
    }
    public var apiVersion: String {
        switch kind {
        case "ReplicationController", "Node": "v1"
        case "Job", "CronJob": "batch/v1"
        default: "apps/v1"
        }
    }
}

/// `matchLabels` and `matchExpressions`; empty matches everything.
public struct LabelSelector: Sendable, Hashable {
    public enum Operator: String, Sendable {
        case isIn = "In"
        case notIn = "NotIn"
        case exists = "Exists"
        case doesNotExist = "DoesNotExist"
    }
    public struct Requirement: Sendable, Hashable {
        public var key: String
        public var operation: Operator
        public var values: [String]
    }
    public var matchLabels: [String: String]
    public var requirements: [Requirement]
    public init(matchLabels: [String: String] = [:], requirements: [Requirement] = []) {
        self.matchLabels = matchLabels
        self.requirements = requirements
    }

    public func matches(_ labels: [String: String]) -> Bool {
        matchLabels.allSatisfy { labels[$0.key] == $0.value }
            && requirements.allSatisfy { requirement in
                let value = labels[requirement.key]
                return switch requirement.operation {
                case .isIn: value.map(requirement.values.contains) ?? false
                case .notIn: !(value.map(requirement.values.contains) ?? false)
                case .exists: value != nil
                case .doesNotExist: value == nil
                }
            }
    }
    /// `app=web,tier in (a,b)`, as kubectl prints selectors; `<none>` when empty.
    public var text: String {
        let parts =
            matchLabels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            + requirements.map { requirement in
                switch requirement.operation {
                case .isIn: "\(requirement.key) in (\(requirement.values.joined(separator: ",")))"
                case .notIn: "\(requirement.key) notin (\(requirement.values.joined(separator: ",")))"
                case .exists: requirement.key
                case .doesNotExist: "!\(requirement.key)"
                }
            }
        return parts.isEmpty ? "<none>" : parts.joined(separator: ",")
    }
}

extension LabelSelector {
    /// Of a selector that `ObjectValidation` finds nothing wrong with; other people's schemas do not know the operators.
    init(_ value: YAMLValue) throws(InputError) {
        matchLabels = try Names.labels(value["matchLabels"])
        requirements = []
        for item in try value.items("matchExpressions") {
            let word = try item.require("operator").word(among: ["In", "NotIn", "Exists", "DoesNotExist"])
            requirements.append(Requirement(key: try item.require("key").string(), operation: Operator(rawValue: word)!, values: try item.strings("values") ?? []))
        }
    }
}

/// The transport protocol of a port, as manifests write it.
public enum PortProtocol: String, Sendable, Hashable, CaseIterable {
    case tcp = "TCP"
    case udp = "UDP"
    case sctp = "SCTP"
    /// As iptables writes it.
    public var lowercased: String { rawValue.lowercased() }

    init(_ value: YAMLValue?) throws(InputError) {
        guard let value else {
            self = .tcp
            return
        }
        self = PortProtocol(rawValue: try value.word(among: ["TCP", "UDP", "SCTP"])) ?? .tcp
    }
}

/// A port by its number or by a container port's name.
public enum PortReference: Hashable, Sendable, CustomStringConvertible {
    case number(UInt16)
    case name(String)
    public var description: String {
        switch self {
        case .number(let number): String(number)
        case .name(let name): name
        }
    }
    init(_ value: YAMLValue) throws(InputError) {
        if case .integer = value.content {
            self = .number(UInt16(try value.integer(in: 0...65535)))
        } else {
            self = .name(try value.string())
        }
    }
}
