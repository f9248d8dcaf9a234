/// What is wrong with something a person wrote, where it stands, and what to write instead.
///
/// Prints as `web.yaml:12: spec.replicas: "three" is not a number. Write a whole number such as 3.`
public struct InputError: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Kind: Hashable, Sendable {
        /// The text is wrong (exit status 65).
        case invalid
        /// The file does not exist or cannot be read (exit status 66).
        case unreadable
    }
    public var kind: Kind
    /// As the person gave it: a path, or `-` and the like for text that came another way. Empty when no file is to blame.
    public var file: String
    /// Counted from 1.
    public var line: Int?
    public var column: Int?
    /// Where in the document: `spec.template.spec.containers[0].image`. Empty at the top.
    public var path: String
    /// The offending value as it was written.
    public var value: String?
    /// A clause without a full stop.
    public var problem: String
    /// A sentence that says what to write instead.
    public var fix: String
    /// What the API server says before the reason: `The Service "web" is invalid`. Empty where the words are Hairpin's own.
    public private(set) var subject = ""
    /// When there are several reasons to reject one object, all of them, in the API server's order; `line` is then that of the object's name.
    public private(set) var reasons: [InputError] = []

    public init(kind: Kind = .invalid, file: String, line: Int? = nil, column: Int? = nil, path: String = "", value: String? = nil, problem: String, fix: String) {
        self.kind = kind
        self.file = file
        self.line = line
        self.column = column
        self.path = path
        self.value = value
        self.problem = problem
        self.fix = fix
    }

    init(subject: String, reason: InputError) {
        self = reason
        self.subject = subject
    }
    /// One reason in one line, or several below each other, as kubectl prints them. `reasons` must not be empty.
    init(subject: String, reasons: [InputError], at place: YAMLValue) {
        self.init(subject: subject, reason: reasons[0])
        guard reasons.count > 1 else { return }
        (self.reasons, line, column, path, value, problem, fix) = (reasons, place.line, place.column, "", nil, subject, "")
    }

    public var description: String {
        var text = file
        if let line { text += text.isEmpty ? "line \(line)" : ":\(line)" }
        if !text.isEmpty { text += ": " }
        if !subject.isEmpty { text += subject + ":" }
        guard reasons.isEmpty else { return text + reasons.map { "\n* \($0)" }.joined() }
        if !subject.isEmpty { text += " " }
        if !path.isEmpty { text += path + ": " }
        if let value { text += InputError.quoted(value) + " " }
        text += problem
        if !fix.isEmpty { text += (text.hasSuffix(".") ? " " : ". ") + fix }
        return text
    }

    /// The first reason as the API server answers whoever sends it the object, without the place in a file.
    var reply: String { "\(subject): \(path.isEmpty ? "" : path + ": ")\(problem)" }

    /// The value between quotation marks on one line, cut at 80 characters.
    static func quoted(_ value: String) -> String {
        var text = "\""
        var count = 0
        for scalar in value.unicodeScalars {
            if count == 80 { return text + "…\"" }
            count += 1
            switch scalar {
            case "\n": text += "\\n"
            case "\t": text += "\\t"
            case "\r": text += "\\r"
            case "\"": text += "\\\""
            case let s where s.value < 32 || s.value == 127: text += "\\x\(String(s.value, radix: 16))"
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text + "\""
    }
}
