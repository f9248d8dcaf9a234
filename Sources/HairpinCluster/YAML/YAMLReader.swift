import Foundation
import Yams

/// Reads YAML (and so JSON) into positioned documents, in bounded time and memory whatever the bytes are.
public enum YAMLReader {
    /// Greater than any manifest people write by hand; a chart rendered for a whole platform stays below it.
    public static let maximumByteCount = 4 << 20
    /// Values a file may have once its aliases are followed; also the most entries of mappings and sequences that are given to the parser at all.
    public static let maximumValueCount = 150_000

    /// The documents of a file, in order. Empty documents are left out.
    public static func documents(path: String) throws(InputError) -> [YAMLValue] {
        try documents(bytes: read(path: path), file: path)
    }

    /// The documents of a text; `file` is the name that errors show.
    public static func documents(text: String, file: String) throws(InputError) -> [YAMLValue] {
        try documents(bytes: Array(text.utf8), file: file)
    }

    public static func documents(bytes: [UInt8], file: String) throws(InputError) -> [YAMLValue] {
        guard bytes.count <= maximumByteCount else { throw tooLarge(bytes.count, file: file) }
        let text = try checkedText(bytes, file: file)
        try AliasGuard.check(bytes, file: file)
        let parser: Parser
        do { parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8) } catch { throw inputError(error, file: file) }
        var result: [YAMLValue] = []
        var builder = TreeBuilder(file: file)
        while true {
            let root: Yams.Node?
            do { root = try parser.nextRoot() } catch { throw inputError(error, file: file) }
            guard let root else { return result }
            let node = try builder.build(root)
            if case .null = node.content { continue }
            result.append(YAMLValue(node: node, file: file))
        }
    }

    /// What errors call standard input, as kubectl does.
    public static let standardInputName = "STDIN"

    /// The bytes of standard input, which can be had once; at most `maximumByteCount` of them.
    public static func standardInput() throws(InputError) -> [UInt8] {
        var bytes: [UInt8] = []
        do {
            while bytes.count <= maximumByteCount, let part = try FileHandle.standardInput.read(upToCount: maximumByteCount + 1 - bytes.count), !part.isEmpty { bytes += part }
        } catch {
            throw InputError(kind: .unreadable, file: standardInputName, problem: "cannot be read", fix: "Name a file, or send one through a pipe.")
        }
        return bytes
    }

    /// The bytes of a regular file, at most `maximumByteCount` of them.
    static func read(path: String) throws(InputError) -> [UInt8] {
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
            throw InputError(
                kind: .unreadable, file: path, problem: "no such file", fix: "Check the path; it is relative to the current folder or to the file that names it.")
        }
        guard !isDirectory.boolValue else { throw InputError(kind: .unreadable, file: path, problem: "is a folder, not a file", fix: "Name a file in it.") }
        guard let handle = FileHandle(forReadingAtPath: path) else {
            throw InputError(kind: .unreadable, file: path, problem: "cannot be opened", fix: "Check its permissions.")
        }
        defer { try? handle.close() }
        var bytes: [UInt8] = []
        do {
            // A pipe or a device may give less than asked for, or never end.
            while bytes.count <= maximumByteCount, let part = try handle.read(upToCount: maximumByteCount + 1 - bytes.count), !part.isEmpty { bytes += part }
        } catch {
            throw InputError(kind: .unreadable, file: path, problem: "cannot be read", fix: "Check that it is a file of text.")
        }
        guard bytes.count <= maximumByteCount else {
            let size = (try? handle.seekToEnd()).map { Int(clamping: $0) } ?? bytes.count
            throw tooLarge(max(size, bytes.count), file: path)
        }
        return bytes
    }

    private static func tooLarge(_ count: Int, file: String) -> InputError {
        InputError(
            file: file, problem: "is \(count >> 20) MiB long, more than the \(maximumByteCount >> 20) MiB a file may have",
            fix: "Split it into several files, and leave out what the network does not need.")
    }

    /// The text, after finding NUL bytes, invalid UTF-8, UTF-16 and the control characters that YAML forbids.
    private static func checkedText(_ bytes: [UInt8], file: String) throws(InputError) -> String {
        if let place = bytes.firstIndex(where: { $0 < 32 && $0 != 9 && $0 != 10 && $0 != 13 }) {
            let line = bytes[..<place].reduce(1) { $1 == 10 ? $0 + 1 : $0 }
            throw InputError(
                file: file, line: line, problem: "is not YAML: there is a byte 0x\(hexadecimal(bytes[place])) in it",
                fix: "Give a text file in UTF-8; this one looks like binary data.")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            var line = 1
            for part in bytes.split(separator: 10, omittingEmptySubsequences: false) {
                if String(validating: part, as: UTF8.self) == nil { break }
                line += 1
            }
            throw InputError(file: file, line: line, problem: "is not valid UTF-8", fix: "Save the file as UTF-8 text.")
        }
        return text
    }

    private static func hexadecimal(_ byte: UInt8) -> String { (byte < 16 ? "0" : "") + String(byte, radix: 16) }

    /// Yams's errors in our words.
    private static func inputError(_ error: any Error, file: String) -> InputError {
        switch error as? YamlError {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _), .composer(let context, let problem, let mark, _):
            if problem.contains("nesting level") {
                return InputError(file: file, line: mark.line, column: mark.column, problem: "is nested more than 1000 levels deep", fix: "Write it flatter.")
            }
            if problem.contains("undefined alias") {
                return InputError(
                    file: file, line: mark.line, column: mark.column, problem: "is not valid YAML: an alias (*name) has no anchor (&name) before it",
                    fix: "Put text that begins with * between quotation marks.")
            }
            let started = context.map { " (\($0.text)\($0.mark.line != mark.line ? ", which began in line \($0.mark.line)" : ""))" } ?? ""
            let fix =
                problem.contains("character that cannot start any token")
                ? "Indent with spaces, not tabs, and put text that begins with @, ` or % between quotation marks."
                : "Check the indentation, the colons and the quotation marks of this line and the one before."
            return InputError(file: file, line: mark.line, column: mark.column, problem: "is not valid YAML: \(problem)\(started)", fix: fix)
        case .duplicatedKeysInMapping(let duplicates, let context):
            return InputError(
                file: file, line: context.mark.line, column: context.mark.column, value: duplicates.first ?? "", problem: "is there more than once in one mapping",
                fix: "Keep one of them.")
        case .reader(let problem, _, _, _):
            return InputError(file: file, problem: "is not valid YAML: \(problem)", fix: "Save the file as UTF-8 text without control characters.")
        default:
            return InputError(file: file, problem: "is not valid YAML", fix: "Check the file with another YAML tool.")
        }
    }
}

/// Turns Yams's nodes into ours: resolves scalars, follows merge keys, counts.
private struct TreeBuilder {
    let file: String
    var count = 0

    mutating func build(_ node: Yams.Node) throws(InputError) -> YAMLNode {
        let line = node.mark?.line ?? 1
        let column = node.mark?.column ?? 1
        count += 1
        guard count <= YAMLReader.maximumValueCount else {
            throw InputError(
                file: file, line: line, column: column, problem: "has more than \(YAMLReader.maximumValueCount) values once its aliases are followed",
                fix: "Write less, or use fewer aliases (*name) of anchors (&name) that themselves contain aliases.")
        }
        switch node {
        case .scalar(let scalar):
            let content: YAMLValue.Content = scalar.style == .plain && scalar.tag.rawValue.isEmpty ? YAMLScalar.resolve(scalar.string) : try tagged(scalar, line: line)
            return YAMLNode(content, line: line, column: column, text: scalar.string)
        case .sequence(let sequence):
            var items: [YAMLNode] = []
            items.reserveCapacity(sequence.count)
            for item in sequence { items.append(try build(item)) }
            return YAMLNode(.sequence(items), line: line, column: column)
        case .mapping(let mapping):
            return YAMLNode(.mapping(try entries(of: mapping)), line: line, column: column)
        case .alias:
            throw InputError(file: file, line: line, column: column, problem: "has an alias that leads nowhere", fix: "Define its anchor (&name) before it.")
        }
    }

    private mutating func entries(of mapping: Yams.Node.Mapping) throws(InputError) -> [YAMLEntry] {
        var result: [YAMLEntry] = []
        var places: [String: Int] = [:]
        var merged: [YAMLEntry] = []
        for (key, value) in mapping {
            let line = key.mark?.line ?? 1
            let column = key.mark?.column ?? 1
            guard case .scalar(let scalar) = key else {
                throw InputError(file: file, line: line, column: column, problem: "has a list or a mapping as a key", fix: "Use a word as the key.")
            }
            if scalar.string == "<<", scalar.style == .plain {
                merged += try mergeSources(value, line: line)
                continue
            }
            guard places.updateValue(result.count, forKey: scalar.string) == nil else {
                throw InputError(
                    file: file, line: line, column: column, value: scalar.string, problem: "is there more than once in one mapping", fix: "Keep one of them.")
            }
            result.append(YAMLEntry(key: scalar.string, keyLine: line, keyColumn: column, value: try build(value)))
        }
        // What stands in the mapping itself wins over what is merged in; the first of several merged mappings wins over the later ones.
        for entry in merged where places[entry.key] == nil {
            places[entry.key] = result.count
            result.append(entry)
        }
        return result
    }

    private mutating func mergeSources(_ value: Yams.Node, line: Int) throws(InputError) -> [YAMLEntry] {
        switch value {
        case .mapping(let mapping): return try entries(of: mapping)
        case .sequence(let sequence):
            var result: [YAMLEntry] = []
            for item in sequence {
                guard case .mapping(let mapping) = item else { break }
                result += try entries(of: mapping)
            }
            return result
        default: throw InputError(file: file, line: line, value: "<<", problem: "merges something that is not a mapping", fix: "Give it an alias (*name) of a mapping.")
        }
    }

    private func tagged(_ scalar: Yams.Node.Scalar, line: Int) throws(InputError) -> YAMLValue.Content {
        switch scalar.tag.rawValue {
        case "tag:yaml.org,2002:int", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:null", "tag:yaml.org,2002:float": YAMLScalar.resolve(scalar.string)
        default: .string(scalar.string)
        }
    }
}
