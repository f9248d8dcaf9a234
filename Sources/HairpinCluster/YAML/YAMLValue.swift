/// A value of a YAML document that knows where it was written: file, line, column, and its path from the top of the document.
///
/// Accessors throw `InputError`s that name all of these. Children get their path as they are asked for, so the tree itself stays small.
public struct YAMLValue: Sendable {
    public enum Content: Sendable {
        case null
        case bool(Bool)
        case integer(Int)
        case real(Double)
        case string(String)
        case sequence([YAMLNode])
        /// In the order written; keys are unique.
        case mapping([YAMLEntry])
    }
    public let node: YAMLNode
    public let file: String
    /// `spec.ports[0].port`; empty at the top of a document.
    public let path: String

    public init(node: YAMLNode, file: String, path: String = "") {
        self.node = node
        self.file = file
        self.path = path
    }
    public var content: Content { node.content }
    /// Counted from 1.
    public var line: Int { node.line }
    public var column: Int { node.column }
}

/// One node of the tree, without the file and the path that `YAMLValue` adds.
public final class YAMLNode: Sendable {
    public let content: YAMLValue.Content
    public let line: Int
    public let column: Int
    /// A scalar as it was written, before it became a number or a truth value; empty for collections.
    public let text: String
    public init(_ content: YAMLValue.Content, line: Int, column: Int, text: String = "") {
        self.content = content
        self.line = line
        self.column = column
        self.text = text
    }
}

public struct YAMLEntry: Sendable {
    public let key: String
    public let keyLine: Int
    public let keyColumn: Int
    public let value: YAMLNode
    public init(key: String, keyLine: Int, keyColumn: Int, value: YAMLNode) {
        self.key = key
        self.keyLine = keyLine
        self.keyColumn = keyColumn
        self.value = value
    }
}

// MARK: Walking

extension YAMLValue {
    public var isNull: Bool { if case .null = content { true } else { false } }

    func child(_ node: YAMLNode, key: String) -> YAMLValue { YAMLValue(node: node, file: file, path: path.isEmpty ? key : "\(path).\(key)") }

    /// The value of `key` in a mapping. Nil for an absent key, for an explicit null, and for a value that is no mapping.
    public subscript(key: String) -> YAMLValue? {
        guard case .mapping(let entries) = content, let entry = entries.first(where: { $0.key == key }) else { return nil }
        if case .null = entry.value.content { return nil }
        return child(entry.value, key: key)
    }

    /// The value of a key that must be there.
    public func require(_ key: String, fix: String? = nil) throws(InputError) -> YAMLValue {
        _ = try entries()
        guard let value = self[key] else {
            throw InputError(
                file: file, line: line, column: column, path: path.isEmpty ? key : "\(path).\(key)",
                problem: "is required", fix: fix ?? "Add \"\(key):\" with a value.")
        }
        return value
    }

    /// The entries of a mapping, in the order written.
    public func entries() throws(InputError) -> [(key: String, value: YAMLValue)] {
        guard case .mapping(let entries) = content else { throw wrongType("is not a mapping", fix: "Write \"key: value\" lines, indented below it.") }
        return entries.map { ($0.key, child($0.value, key: $0.key)) }
    }

    /// The items of a sequence, in order.
    public func items() throws(InputError) -> [YAMLValue] {
        guard case .sequence(let nodes) = content else { throw wrongType("is not a list", fix: "Write its items as lines that begin with \"- \".") }
        return nodes.enumerated().map { YAMLValue(node: $1, file: file, path: "\(path)[\($0)]") }
    }

    /// Refuses keys that are not in `known`, with the nearest known one as a suggestion.
    public func checkKeys(_ known: [String]) throws(InputError) {
        _ = try entries()
        guard case .mapping(let entries) = content else { return }
        for entry in entries where !known.contains(entry.key) { throw unknownKey(entry, known: known) }
    }

    func unknownKey(_ entry: YAMLEntry, known: [String]) -> InputError {
        let place = path.isEmpty ? "at the top level" : "in \(path)"
        let fix: String
        if let near = nearestWord(to: entry.key, among: known) {
            fix = "Did you mean \"\(near)\"?"
        } else if known.count <= 16 {
            fix = "The fields known \(place) are \(known.sorted().joined(separator: ", "))."
        } else {
            fix = "Remove it, or check its spelling and its indentation."
        }
        return InputError(file: file, line: entry.keyLine, column: entry.keyColumn, path: path, value: entry.key, problem: "is an unknown field", fix: fix)
    }
}

// MARK: Typed access

extension YAMLValue {
    /// A string that was written as one. Numbers and truth values are refused, as the API server refuses them.
    public func string() throws(InputError) -> String {
        switch content {
        case .string(let text): return text
        case .bool, .integer, .real:
            throw InputError(
                file: file, line: line, column: column, path: path, value: node.text, problem: "is not a string",
                fix: "Put it between quotation marks: \"\(node.text)\".")
        default: throw wrongType("is not a string", fix: "Write a text.")
        }
    }

    /// The text of any scalar, as it was written.
    public func scalarText() throws(InputError) -> String {
        switch content {
        case .string(let text): return text
        case .bool, .integer, .real: return node.text
        default: throw wrongType("is not a single value", fix: "Write one word or number.")
        }
    }

    /// A whole number within `range`.
    public func integer(in range: ClosedRange<Int> = Int.min...Int.max, what: String = "a number") throws(InputError) -> Int {
        guard case .integer(let number) = content else {
            let example = range.contains(3) ? 3 : range.lowerBound
            throw wrongType(isScalar ? "is not a number" : "is not \(what)", fix: "Write a whole number such as \(example).")
        }
        guard range.contains(number) else {
            let fix = range.upperBound == Int.max ? "Write a number of at least \(range.lowerBound)." : "Write a number from \(range.lowerBound) to \(range.upperBound)."
            throw error(problem: "is out of range", fix: fix)
        }
        return number
    }

    /// A number with or without a fraction.
    public func real() throws(InputError) -> Double {
        switch content {
        case .integer(let number): return Double(number)
        case .real(let number): return number
        default: throw wrongType("is not a number", fix: "Write a number such as 0.5.")
        }
    }

    public func bool() throws(InputError) -> Bool {
        guard case .bool(let value) = content else { throw wrongType("is not true or false", fix: "Write true or false, without quotation marks.") }
        return value
    }

    /// One of the given words.
    public func word(among known: [String]) throws(InputError) -> String {
        let text = try scalarText()
        guard known.contains(text) else {
            let near = nearestWord(to: text, among: known).map { "Did you mean \"\($0)\"? " } ?? ""
            throw error(problem: "is not supported", fix: "\(near)Supported values: \(known.map { "\"\($0)\"" }.joined(separator: ", ")).")
        }
        return text
    }

    /// A list of strings.
    public func strings() throws(InputError) -> [String] {
        var result: [String] = []
        for item in try items() { result.append(try item.string()) }
        return result
    }

    /// A mapping of strings to strings, in the order written.
    public func stringMap() throws(InputError) -> [(key: String, value: String)] {
        var result: [(key: String, value: String)] = []
        for (key, value) in try entries() { result.append((key, value.isNull ? "" : try value.string())) }
        return result
    }

    /// An error about this value, which it quotes if it is a scalar.
    public func error(problem: String, fix: String) -> InputError {
        InputError(file: file, line: line, column: column, path: path, value: isScalar ? node.text : nil, problem: problem, fix: fix)
    }

    public var isScalar: Bool {
        switch content {
        case .null, .sequence, .mapping: false
        default: true
        }
    }

    private func wrongType(_ problem: String, fix: String) -> InputError {
        var problem = problem
        switch content {
        case .null: problem = "has no value, which " + problem
        case .sequence: problem = "is a list, which " + problem
        case .mapping: problem = "is a mapping, which " + problem
        default: break
        }
        return error(problem: problem, fix: fix)
    }
}

// MARK: Convenience for optional fields

extension YAMLValue {
    public func string(_ key: String) throws(InputError) -> String? {
        guard let value = self[key] else { return nil }
        return try value.string()
    }
    public func integer(_ key: String, in range: ClosedRange<Int> = Int.min...Int.max) throws(InputError) -> Int? {
        guard let value = self[key] else { return nil }
        return try value.integer(in: range)
    }
    public func bool(_ key: String) throws(InputError) -> Bool? {
        guard let value = self[key] else { return nil }
        return try value.bool()
    }
    /// The items of a list; none when the key is absent.
    public func items(_ key: String) throws(InputError) -> [YAMLValue] {
        guard let value = self[key] else { return [] }
        return try value.items()
    }
    public func strings(_ key: String) throws(InputError) -> [String]? {
        guard let value = self[key] else { return nil }
        return try value.strings()
    }
}
