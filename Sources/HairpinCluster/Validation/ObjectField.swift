/// A field of an object as the API server's validation sees it: what is absent, what is null and a type's zero value are one and the same.
///
/// Errors have the forms of `field.Error` in apimachinery's pkg/util/validation/field: what is wrong, the value, and why. They gather in `findings`.
struct ObjectField {
    /// Nil when the field is absent or null.
    let value: YAMLValue?
    /// As errors name it: `spec.ports[0].nodePort`.
    let path: String
    /// The field itself, or else the nearest one around it that was written: where errors point.
    let place: YAMLValue
    let findings: Findings

    init(_ value: YAMLValue?, path: String, place: YAMLValue, findings: Findings) {
        self.value = value.flatMap { $0.isNull ? nil : $0 }
        self.path = path
        self.place = place
        self.findings = findings
    }

    subscript(key: String) -> ObjectField {
        let child = value?[key]
        return ObjectField(child, path: path.isEmpty ? key : "\(path).\(key)", place: child ?? value ?? place, findings: findings)
    }
    /// The value of a key of the user's choice, whose path has the key in brackets.
    func entry(_ key: String) -> ObjectField {
        let child = value?[key]
        return ObjectField(child, path: "\(path)[\(key)]", place: child ?? value ?? place, findings: findings)
    }
    /// The same field under another name, where the API server has one for it.
    func named(_ path: String) -> ObjectField { ObjectField(value, path: path, place: place, findings: findings) }
}

// MARK: Reading

/// A number or a text (`intstr.IntOrString`).
enum IntOrString: Hashable {
    case int(Int)
    case text(String)
    var json: JSONValue {
        switch self {
        case .int(let number): .integer(number)
        case .text(let text): .string(text)
        }
    }
}

extension ObjectField {
    var isSet: Bool { value != nil }
    /// Empty when absent.
    var text: String { if case .string(let text)? = value?.content { text } else { "" } }
    /// Zero when absent.
    var number: Int { if case .integer(let number)? = value?.content { number } else { 0 } }
    /// False when absent.
    var flag: Bool { if case .bool(let flag)? = value?.content { flag } else { false } }
    /// The number zero when absent.
    var intOrString: IntOrString { if case .string(let text)? = value?.content { .text(text) } else { .int(number) } }
    var items: [ObjectField] {
        guard case .sequence(let nodes)? = value?.content, let value else { return [] }
        return nodes.enumerated().map { number, node in
            let item = YAMLValue(node: node, file: value.file, path: "\(path)[\(number)]")
            return ObjectField(item, path: "\(path)[\(number)]", place: item, findings: findings)
        }
    }
    /// A mapping of texts, in the order of its keys. (Go's has none: the API server reports errors of mappings in any order.)
    var entries: [(key: String, field: ObjectField)] {
        guard case .mapping(let entries)? = value?.content else { return [] }
        return entries.map { $0.key }.sorted().map { ($0, entry($0)) }
    }
    var texts: [String: String] { Dictionary(entries.map { ($0.key, $0.field.text) }, uniquingKeysWith: { $1 }) }
    var json: JSONValue { value.map { JSONValue($0.node) } ?? .null }
}

// MARK: Errors

extension ObjectField {
    /// `value` where it is not the field's own; `shown` where JSON would order its fields otherwise than Go does.
    func invalid(_ detail: String, value: JSONValue? = nil, shown: String? = nil, fix: String = "") {
        if findings.isFull { return }
        report("Invalid value: \(shown ?? ObjectField.quoted(value ?? written))", detail, fix)
    }
    func invalid(_ details: [String], value: JSONValue? = nil, fix: String = "") { for detail in details { invalid(detail, value: value, fix: fix) } }
    func required(_ detail: String = "", fix: String = "") { report("Required value", detail, fix) }
    func forbidden(_ detail: String, fix: String = "") { report("Forbidden", detail, fix) }
    func duplicate(shown: String? = nil, detail: String = "") { report("Duplicate value: \(shown ?? ObjectField.quoted(written))", detail) }
    func notFound(fix: String = "") { report("Not found: \(ObjectField.quoted(written))", "", fix) }
    func tooMany(_ count: Int, atMost limit: Int) { report("Too many: \(count)", "must have at most \(limit) \(limit == 1 ? "item" : "items")") }
    func tooLong(atMost limit: Int) { report("Too long", "may not be more than \(limit) bytes") }
    /// `value` where the field is absent and its default is what is wrong.
    func unsupported(_ value: String? = nil, shown: String? = nil, among known: [String]) {
        if findings.isFull { return }
        let fix = text.isEmpty ? "" : nearestWord(to: text, among: known).map { "Did you mean \"\($0)\"?" } ?? ""
        report("Unsupported value: \(shown ?? ObjectField.quoted(value.map(JSONValue.string) ?? written))", known.isEmpty ? "" : "supported values: \(known.map { "\"\($0)\"" }.joined(separator: ", "))", fix)
    }
    /// `ValidateNonnegativeField`.
    func nonnegative() { if number < 0 { invalid("must be greater than or equal to 0") } }
    /// A field that has to have one of some values; `isRequired` where the API server has no default for it.
    func oneOf(_ known: [String], isRequired: Bool = false) {
        if text.isEmpty {
            if isRequired { required() }
        } else if !known.contains(text) {
            unsupported(among: known)
        }
    }

    /// A text that is absent is the empty one.
    private var written: JSONValue { value == nil ? .string("") : json }
    private func report(_ problem: String, _ detail: String, _ fix: String = "") {
        findings.add(
            InputError(
                file: place.file, line: place.line, column: place.column, path: path, problem: detail.isEmpty ? problem : "\(problem): \(detail)", fix: fix))
    }

    /// As `ErrorBody` prints a value: texts quoted by Go's rules, other things as JSON.
    static func quoted(_ value: JSONValue) -> String {
        let text = value.json(indent: nil)
        return text.unicodeScalars.count <= longest ? text : String(String.UnicodeScalarView(text.unicodeScalars.prefix(longest))) + "…"
    }
    /// No message is longer for a value's sake.
    private static let longest = 500
}

/// What is wrong with one object, in the order in which the API server finds it.
final class Findings {
    private(set) var reasons: [InputError] = []
    private var said: Set<[String]> = []
    /// Nobody reads more of them, and their number must not be what takes time.
    static let most = 100
    var isFull: Bool { reasons.count >= Findings.most }
    /// kubectl prints what is said twice once.
    func add(_ reason: InputError) { if !isFull, said.insert([reason.path, reason.problem]).inserted { reasons.append(reason) } }
    var isEmpty: Bool { reasons.isEmpty }

    /// Throws what was found, as kubectl prints it: `The Service "web" is invalid: …`.
    func check(_ subject: String, at place: YAMLValue) throws(InputError) {
        guard !reasons.isEmpty else { return }
        throw InputError(subject: subject, reasons: reasons, at: place)
    }
}
