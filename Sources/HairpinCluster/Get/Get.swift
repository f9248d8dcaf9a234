import HairpinEngine
import HairpinWire

/// What a person asked `get` for.
public struct GetRequest: Sendable {
    public enum Output: String, Sendable, CaseIterable { case table, wide, json, yaml, name }
    public struct Target: Sendable, Hashable {
        public var kind: ResourceKind
        /// Nil: all of the kind.
        public var name: String?
        public init(kind: ResourceKind, name: String? = nil) {
            self.kind = kind
            self.name = name
        }
    }
    public var targets: [Target]
    public var namespace = "default"
    public var allNamespaces = false
    public var output = Output.table
    public var showsHeaders = true
    public var showsLabels = false
    /// `-l app=web`
    public var selector = LabelSelector()
    public init(targets: [Target]) { self.targets = targets }

    /// What `kubectl get all` shows.
    public static let all: [ResourceKind] = [.pods, .replicationControllers, .services, .daemonSets, .deployments, .replicaSets, .statefulSets, .cronJobs, .jobs]

    /// kubectl's forms: `pods`, `pods,svc`, `pod web`, `pod/web svc/web`, `all`. Errors are kubectl's.
    public static func targets(arguments: [String]) throws(GetError) -> [Target] {
        func kind(_ word: some StringProtocol) throws(GetError) -> ResourceKind {
            guard let kind = ResourceKind(argument: String(word)) else { throw GetError(message: "error: the server doesn't have a resource type \"\(word)\"") }
            return kind
        }
        guard let first = arguments.first else {
            throw GetError(message: "error: You must specify the type of resource to get, such as pods or svc.")
        }
        if first.contains("/") {
            var result: [Target] = []
            for argument in arguments {
                let parts = argument.split(separator: "/", omittingEmptySubsequences: false)
                guard parts.count == 2, !parts[1].isEmpty else {
                    throw GetError(
                        message:
                            "error: there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'get resource/<resource_name>' instead of 'get resource resource/<resource_name>')"
                    )
                }
                result.append(Target(kind: try kind(parts[0]), name: String(parts[1])))
            }
            return result
        }
        var kinds: [ResourceKind] = []
        for word in first.split(separator: ",") { kinds += word.lowercased() == "all" ? Self.all : [try kind(word)] }
        let names = arguments.dropFirst()
        return kinds.flatMap { kind in names.isEmpty ? [Target(kind: kind)] : names.map { Target(kind: kind, name: $0) } }
    }

    /// `app=web,tier!=db,env in (a,b),!x` as `-l` takes it.
    public static func selector(_ text: String) throws(GetError) -> LabelSelector {
        var selector = LabelSelector()
        var parts: [String] = []
        var depth = 0
        for character in text {
            if character == "(" { depth += 1 } else if character == ")" { depth -= 1 }
            if character == ",", depth == 0 { parts.append("") } else { parts.isEmpty ? parts.append(String(character)) : parts[parts.count - 1].append(character) }
        }
        for part in parts {
            let words = part.split(separator: " ", maxSplits: 2).map(String.init)
            if words.count == 3, words[1] == "in" || words[1] == "notin" {
                let values = words[2].dropFirst().dropLast().split(separator: ",").map { String($0.drop { $0 == " " }) }
                selector.requirements.append(.init(key: words[0], operation: words[1] == "in" ? .isIn : .notIn, values: values))
            } else if let place = part.firstIndex(of: "=") {
                let value = String(part[part.index(after: place)...].drop { $0 == "=" })
                if part[..<place].hasSuffix("!") {
                    selector.requirements.append(.init(key: String(part[..<place].dropLast()), operation: .notIn, values: [value]))
                } else {
                    selector.matchLabels[String(part[..<place])] = value
                }
            } else if !part.isEmpty, !part.contains(" ") {
                selector.requirements.append(
                    .init(key: part.hasPrefix("!") ? String(part.dropFirst()) : part, operation: part.hasPrefix("!") ? .doesNotExist : .exists, values: []))
            } else {
                throw GetError(message: "error: unable to parse requirement: \"\(part)\"")
            }
        }
        return selector
    }
}

/// An error in kubectl's words.
public struct GetError: Error, Sendable, CustomStringConvertible {
    public var message: String
    public var description: String { message }
}

/// What `get` prints.
public struct GetResult: Sendable {
    public var output: String
    /// For stderr: "No resources found in default namespace." and objects that were asked for by name and are not there.
    public var messages: [String]
    /// Names that were asked for and not found.
    public var isMissingSomething: Bool
}

extension ClusterPlan {
    /// `kubectl get` of the planned cluster in this state.
    public func get(_ request: GetRequest, status: ClusterStatus, endpoints: [EndpointSlice]) -> GetResult {
        let source = ResourceSource(plan: self, status: status, slices: endpoints)
        var result = GetResult(output: "", messages: [], isMissingSomething: false)
        var groups: [(kind: ResourceKind, resources: [Resource])] = []
        for target in request.targets {
            var found = source.resources(target.kind).filter { resource in
                (!target.kind.isNamespaced || request.allNamespaces || resource.namespace == request.namespace) && request.selector.matches(resource.labels)
            }
            if let name = target.name {
                found = found.filter { $0.name == name }
                if found.isEmpty {
                    let group = target.kind.qualifiedName.split(separator: ".", maxSplits: 1).dropFirst().first.map { "." + $0 } ?? ""
                    result.messages.append("Error from server (NotFound): \(target.kind.rawValue)\(group) \"\(name)\" not found")
                    result.isMissingSomething = true
                    continue
                }
            }
            if let last = groups.last, last.kind == target.kind { groups[groups.count - 1].resources += found } else { groups.append((target.kind, found)) }
        }
        groups.removeAll(where: \.resources.isEmpty)
        let isSingle = request.targets.count == 1 && request.targets[0].name != nil
        switch request.output {
        case .json, .yaml:
            let items = groups.flatMap { $0.resources.map(\.object) }
            if isSingle, items.isEmpty { return result }
            let value: JSONValue =
                isSingle
                ? items[0]
                : .object([
                    "apiVersion": .string("v1"), "kind": .string("List"), "items": .array(items), "metadata": .object(["resourceVersion": .string("")]),
                ])
            result.output = request.output == .json ? value.json() + "\n" : value.yaml()
            return result
        case .name:
            result.output = groups.flatMap { group in group.resources.map { "\(group.kind.qualifiedName)/\($0.name)\n" } }.joined()
        case .table, .wide:
            let isMixed = Set(request.targets.map(\.kind)).count > 1
            let tables = groups.map { group in
                Table(kind: group.kind, resources: group.resources, request: request, isQualified: isMixed).text
            }
            result.output = tables.joined(separator: "\n")
        }
        if groups.isEmpty, !result.isMissingSomething {
            let isNamespaced = request.targets.contains { $0.kind.isNamespaced }
            result.messages.append(request.allNamespaces || !isNamespaced ? "No resources found" : "No resources found in \(request.namespace) namespace.")
        }
        return result
    }
}

/// Columns as kubectl's tabwriter lays them out: three spaces between, no column narrower than six.
struct Table {
    let text: String
    init(kind: ResourceKind, resources: [Resource], request: GetRequest, isQualified: Bool) {
        let isWide = request.output == .wide
        let hasNamespace = request.allNamespaces && kind.isNamespaced
        let columns = kind.columns
        func row(_ namespace: String, _ cells: [String], _ labels: String) -> [String] {
            (hasNamespace ? [namespace] : []) + (isWide ? cells : Array(cells.prefix(columns.normal.count))) + (request.showsLabels ? [labels] : [])
        }
        var rows: [[String]] = []
        if request.showsHeaders { rows.append(row("NAMESPACE", columns.normal + columns.wide, "LABELS")) }
        for resource in resources {
            var cells = resource.cells
            if isQualified { cells[0] = "\(kind.qualifiedName)/\(cells[0])" }
            let labels = resource.labels.isEmpty ? "<none>" : resource.labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
            rows.append(row(resource.namespace, cells, labels))
        }
        let count = rows.first?.count ?? 0
        let widths = (0..<count).map { column in max(6, (rows.map { $0[column].count }.max() ?? 0) + 3) }
        text = rows.map { cells in
            cells.enumerated().map { index, cell in index == count - 1 ? cell : cell + String(repeating: " ", count: widths[index] - cell.count) }.joined() + "\n"
        }.joined()
    }
}
