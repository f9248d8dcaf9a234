import Foundation

/// The repository's files as text, found from where this file is.
struct SourceTree {
    struct File {
        /// Relative to the repository: "Sources/HairpinWire/Checksum.swift".
        var path: String
        var lines: [Substring]
        /// The second part of the path: the module, under `Sources`.
        var module: String { path.split(separator: "/").dropFirst().first.map(String.init) ?? "" }
    }

    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    /// Folders that builds and tools make; the rest is what people commit.
    private static let made: Set<String> = [".git", ".build", ".swiftpm", "out", "DerivedData"]

    /// Every committed path, sorted.
    static let paths: [String] = {
        var result: [String] = []
        func walk(_ folder: String) {
            for name in (try? FileManager.default.contentsOfDirectory(atPath: root.appendingPathComponent(folder).path)) ?? [] {
                if folder.isEmpty, made.contains(name) || name.hasPrefix(".build") || name == "Package.resolved" { continue }
                let path = folder.isEmpty ? name : "\(folder)/\(name)"
                if isFolder(path) { walk(path) } else { result.append(path) }
            }
        }
        walk("")
        return result.sorted()
    }()

    static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: root.appendingPathComponent(path).path) }
    static func isFolder(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: root.appendingPathComponent(path).path, isDirectory: &isFolder) && isFolder.boolValue
    }

    /// Nil for what is not there, and for bytes that are not text.
    static func text(_ path: String) -> String? {
        guard let data = FileManager.default.contents(atPath: root.appendingPathComponent(path).path), !data.contains(0) else { return nil }
        return String(data: data, encoding: .utf8)
    }

    private static func swift(under folder: String) -> [File] {
        paths.filter { $0.hasPrefix(folder) && $0.hasSuffix(".swift") }.compactMap { path in
            text(path).map { File(path: path, lines: $0.split(separator: "\n", omittingEmptySubsequences: false)) }
        }
    }
    static let sources = swift(under: "Sources/")
    static let tests = swift(under: "Tests/")

    /// The part of a line that is not a `//` comment; a "//" inside a string literal is left alone.
    static func code(_ line: Substring) -> Substring {
        var isInString = false
        var previous: Character = " "
        for index in line.indices {
            let character = line[index]
            if character == "\"", previous != "\\" { isInString.toggle() }
            if character == "/", previous == "/", !isInString { return line[..<line.index(before: index)] }
            previous = character
        }
        return line
    }

    /// "Sources/…/File.swift:12: text" for each line whose code matches one of the patterns.
    static func places(of patterns: [Regex<Substring>], in files: [File], withComments: Bool = false) -> [String] {
        files.flatMap { file in
            file.lines.enumerated().compactMap { number, line in
                guard patterns.contains(where: { line.firstMatch(of: $0) != nil }) else { return nil }
                let text = withComments ? line : code(line)
                return patterns.contains { text.firstMatch(of: $0) != nil } ? "\(file.path):\(number + 1): \(line.prefix(120))" : nil
            }
        }
    }
}
