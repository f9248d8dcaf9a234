import Foundation
import HairpinCluster

/// A scenario with the objects of its cluster, ready to boot.
public struct LoadedScenario: Sendable {
    public var scenario: Scenario
    public var manifests: Manifests
    /// Every file that was read, in order.
    public var files: [String]
    /// False for manifests alone, which have the default cluster.
    public var hasScenario = true
}

/// How the files that a command line names are found.
public struct FileSource: Sendable {
    /// Folders below a folder belong to it too.
    public var isRecursive: Bool
    /// What `-` stands for.
    public var standardInput: @Sendable () throws(InputError) -> [UInt8]
    public init(isRecursive: Bool = false, standardInput: @escaping @Sendable () throws(InputError) -> [UInt8] = YAMLReader.standardInput) {
        (self.isRecursive, self.standardInput) = (isRecursive, standardInput)
    }
}

/// Reads scenario files and the manifests they name.
public struct ScenarioFile {
    private let source: FileSource
    /// `-` has been read.
    private var hasReadInput = false
    private var loader = ManifestLoader()
    /// Real paths of the files that are being read, outermost first, and of those that have been.
    private var open: [(path: String, name: String)] = []
    private var done: Set<String> = []
    private var files: [String] = []

    private init(_ source: FileSource) { self.source = source }

    /// A path, `-` for standard input, or the name of a built-in scenario. `manifests` are read after those of the scenario, as if it named them.
    public static func load(_ nameOrPath: String, manifests: [String] = [], from source: FileSource = FileSource()) throws(Failure) -> LoadedScenario {
        let path = try locate(nameOrPath)
        var reader = ScenarioFile(source)
        do throws(InputError) {
            let documents = try reader.named(path)
            let scenarios = documents.filter(ScenarioReader.isScenario)
            guard let document = scenarios.first else {
                // The loader knows what is meant by "kind: scenario".
                for document in documents where document["apiVersion"].map({ (try? $0.string()) == ScenarioReader.apiVersion }) ?? false {
                    try reader.loader.load(document: document)
                }
                throw InputError(
                    file: path == "-" ? YAMLReader.standardInputName : path, problem: "has no document of kind Scenario",
                    fix: "Add one (\"hairpin scenarios pod-to-pod\" shows an example), or use \"hairpin exec -f \(path)\" to run one command in it.")
            }
            guard scenarios.count == 1 else { throw scenarios[1].error(problem: "is a second scenario in one file", fix: "Put every scenario into a file of its own.") }
            var scenario = try ScenarioReader.read(document)
            try ScenarioFile.readChanges(&scenario, from: path)
            try reader.read(path, name: path, documents: documents)
            try reader.readExtra(manifests)
            return LoadedScenario(scenario: scenario, manifests: reader.loader.manifests, files: reader.files)
        } catch { throw Failure(error) }
    }

    /// A cluster without a story, for `exec` and `get`: manifests, or a scenario file whose cluster is used. Later scenarios are refused.
    /// `keepsStory`: with the steps that restart or scale something, for whoever wants to check them.
    public static func cluster(manifests: [String], keepsStory: Bool = false, from source: FileSource = FileSource()) throws(Failure) -> LoadedScenario {
        var reader = ScenarioFile(source)
        var scenario: Scenario?
        do throws(InputError) {
            for name in ScenarioFile.separated(manifests) {
                var isFolder: ObjCBool = false
                if FileManager.default.fileExists(atPath: name, isDirectory: &isFolder), isFolder.boolValue {
                    try reader.readExtra([name])
                    continue
                }
                let path = FileManager.default.fileExists(atPath: name) ? name : builtin(name)?.path ?? name
                let documents = try reader.named(path)
                for document in documents where ScenarioReader.isScenario(document) {
                    guard scenario == nil else { throw document.error(problem: "is a second scenario", fix: "Give one scenario only.") }
                    var read = try ScenarioReader.read(document)
                    try ScenarioFile.readChanges(&read, from: path)
                    // A cluster by itself has no story: nothing is applied, restarted or scaled.
                    if !keepsStory { read.steps.removeAll { $0.change != nil } }
                    scenario = read
                }
                try reader.read(path, name: name, documents: documents)
            }
        } catch { throw Failure(error) }
        return LoadedScenario(
            scenario: scenario ?? Scenario(name: "cluster", origin: manifests.first ?? ""), manifests: reader.loader.manifests, files: reader.files,
            hasScenario: scenario != nil)
    }

    // MARK: Files that name files

    private mutating func readExtra(_ paths: [String]) throws(InputError) {
        for path in ScenarioFile.separated(paths) {
            for file in try ScenarioFile.expand(path, isRecursive: source.isRecursive) where !done.contains(ScenarioFile.realPath(file)) {
                try read(file, name: file, documents: named(file))
            }
        }
    }

    /// The documents of a file that the command line names.
    private mutating func named(_ path: String) throws(InputError) -> [YAMLValue] {
        guard path == "-" else { return try ScenarioFile.documents(path) }
        guard !hasReadInput else {
            throw InputError(file: YAMLReader.standardInputName, problem: "is named twice, and can be read once", fix: "Write \"-\" once.")
        }
        hasReadInput = true
        let documents = try YAMLReader.documents(bytes: source.standardInput(), file: YAMLReader.standardInputName)
        guard !documents.isEmpty else { throw InputError(file: YAMLReader.standardInputName, problem: "has no objects in it", fix: "Send manifests or a scenario through a pipe.") }
        return documents
    }

    /// `a.yaml,b.yaml` is two files, as kubectl has it, unless there is one of that name.
    private static func separated(_ names: [String]) -> [String] {
        names.flatMap { name in FileManager.default.fileExists(atPath: name) ? [name] : name.split(separator: ",").map(String.init) }
    }

    /// The objects of a file, and those of the manifests that a scenario in it names. A file is read once, however often it is named.
    private mutating func read(_ path: String, name: String, documents: [YAMLValue]) throws(InputError) {
        let real = ScenarioFile.realPath(path)
        open.append((real, name))
        files.append(path)
        for document in documents {
            guard ScenarioReader.isScenario(document) else {
                try loader.load(document: document)
                continue
            }
            for reference in try ScenarioReader.manifests(document) { try include(reference, from: path) }
        }
        open.removeLast()
        done.insert(real)
    }

    /// What `apply` steps apply, and `delete` steps of files delete.
    private static func readChanges(_ scenario: inout Scenario, from path: String) throws(InputError) {
        for index in scenario.steps.indices {
            guard case .files(let items, let isDeletion)? = scenario.steps[index].change else { continue }
            var objects: [AppliedObject] = []
            for item in items {
                guard item.isScalar else {
                    objects += try AppliedObject.read(item)
                    continue
                }
                for file in try expand(existing(item, from: path)) {
                    for document in try documents(file) where !ScenarioReader.isScenario(document) { objects += try AppliedObject.read(document) }
                }
            }
            guard !objects.isEmpty else { throw items[0].error(problem: "has no objects in it", fix: "Name a file with Kubernetes manifests.") }
            // kubectl deletes the objects of files in their order too.
            scenario.steps[index].change = .change(isDeletion ? .deleteObjects(objects.map { ObjectTarget($0) }) : .applyObjects(objects))
        }
    }

    /// The file a reference names, relative to the file it stands in.
    private static func existing(_ reference: YAMLValue, from path: String) throws(InputError) -> String {
        let text = try reference.string()
        guard !text.isEmpty else { throw reference.error(problem: "is no file name", fix: "Name a manifest, relative to this file.") }
        // By hand: Foundation's deletingLastPathComponent traps for a name of one character.
        let folder = path.lastIndex(of: "/").map { path[...$0] } ?? ""
        let target = text.hasPrefix("/") ? text : folder + text
        guard FileManager.default.fileExists(atPath: target) else {
            throw reference.error(problem: "does not exist", fix: "Names are relative to this file; looked for \(target).")
        }
        return target
    }

    /// The lines of a text file that a value names, relative to the file it stands in.
    static func lines(_ reference: YAMLValue) throws(InputError) -> [String] {
        let path = try existing(reference, from: folderFile(reference.file))
        guard let data = FileManager.default.contents(atPath: path) else {
            throw reference.error(problem: "cannot be read", fix: "Name a text file; check its permissions.")
        }
        return lines(data)
    }

    /// As above, of a file the command line names.
    public static func lines(path: String) throws(Failure) -> [String] {
        guard let data = FileManager.default.contents(atPath: path) else { throw Failure(.notFound, "\(path): no such file") }
        return lines(data)
    }

    private static func lines(_ data: Data) -> [String] {
        String(decoding: data, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).map { $0.hasSuffix("\r") ? String($0.dropLast()) : String($0) }
    }

    /// Documents of a built-in scenario are named without the program's folder.
    private static func folderFile(_ file: String) -> String {
        if file == YAMLReader.standardInputName { return "" }
        guard !FileManager.default.fileExists(atPath: file), let folder = BuiltinScenario.folder else { return file }
        return folder + "/" + file
    }

    private mutating func include(_ reference: YAMLValue, from path: String) throws(InputError) {
        for file in try ScenarioFile.expand(ScenarioFile.existing(reference, from: path)) {
            let real = ScenarioFile.realPath(file)
            if let place = open.firstIndex(where: { $0.path == real }) {
                let circle = (open[place...].map(\.name) + [file]).joined(separator: " → ")
                throw reference.error(problem: "includes itself: \(circle)", fix: "Remove one of these references.")
            }
            if done.contains(real) { continue }
            try read(file, name: file, documents: ScenarioFile.documents(file))
        }
    }

    /// A file, or the manifests of a folder in the order of their names; those of folders below it stand where the folder's name stands.
    private static func expand(_ path: String, isRecursive: Bool = false) throws(InputError) -> [String] {
        guard isFolder(path) else { return [path] }
        let manifests = try files(in: path, isRecursive: isRecursive)
        guard !manifests.isEmpty else {
            let below = isRecursive ? "and none below it has any" : "(-R looks into those below it)"
            throw InputError(
                kind: .unreadable, file: path, problem: "is a folder without .yaml, .yml or .json files \(below)", fix: "Name the folder that has the manifests, or a file.")
        }
        return manifests
    }

    private static func isFolder(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder.boolValue
    }

    /// Links to folders are not followed, which might lead round in a circle.
    private static func files(in folder: String, isRecursive: Bool) throws(InputError) -> [String] {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else {
            throw InputError(kind: .unreadable, file: folder, problem: "cannot be listed", fix: "Check its permissions.")
        }
        var result: [String] = []
        for name in names.sorted() where !name.hasPrefix(".") {
            let path = folder.hasSuffix("/") ? folder + name : folder + "/" + name
            if isFolder(path) {
                let isLink = (try? FileManager.default.destinationOfSymbolicLink(atPath: path)) != nil
                if isRecursive, !isLink { result += try files(in: path, isRecursive: true) }
            } else if [".yaml", ".yml", ".json"].contains(where: { name.hasSuffix($0) }) {
                result.append(path)
            }
        }
        return result
    }

    /// Messages name a file of a built-in scenario without the folder the program is installed in.
    private static func documents(_ path: String) throws(InputError) -> [YAMLValue] {
        let real = realPath(path)
        guard let folder = BuiltinScenario.folder.map(realPath), real.hasPrefix(folder + "/"), let data = FileManager.default.contents(atPath: real) else {
            return try YAMLReader.documents(path: path)
        }
        return try YAMLReader.documents(bytes: [UInt8](data), file: String(real.dropFirst(folder.count + 1)))
    }

    private static func realPath(_ path: String) -> String { URL(fileURLWithPath: path).resolvingSymlinksInPath().standardizedFileURL.path }

    private static func locate(_ nameOrPath: String) throws(Failure) -> String {
        if nameOrPath == "-" { return "-" }
        if FileManager.default.fileExists(atPath: nameOrPath) { return nameOrPath }
        if let builtin = builtin(nameOrPath) { return builtin.path }
        let near = nearestWord(to: nameOrPath, among: BuiltinScenario.all.map(\.name)).map { "Did you mean \"\($0)\"?" }
        throw Failure(.notFound, "\(nameOrPath): no such file, and no built-in scenario of that name. \(near ?? "\"hairpin scenarios\" lists them.")")
    }

    private static func builtin(_ name: String) -> BuiltinScenario? { BuiltinScenario.all.first { $0.name == name } }
}
