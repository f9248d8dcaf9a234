import Foundation
import Logging
import Testing

@testable import HairpinScenario

/// A folder of files that goes away with the test.
final class TemporaryFolder {
    let path: String
    init() {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("hairpin-\(UUID().uuidString)").path
        try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ name: String, _ text: String) -> String {
        let file = path + "/" + name
        _ = FileManager.default.createFile(atPath: file, contents: Data(text.utf8))
        return file
    }

    /// Runs a scenario of this `spec` and manifests, whose books must balance.
    func run(_ spec: String, manifests: String) throws -> RunResult {
        let path = write("t.yaml", scenarioText(spec) + "---\n" + manifests)
        let result = try ScenarioRunner(ScenarioFile.load(path), options: RunOptions(), hooks: .quiet).run()
        #expect(result.books?.balanced == true)
        return result
    }

    /// The life of the pods of a cluster whose story these steps are; `cluster` is a setting more.
    func story(_ manifests: String, cluster: String = "", _ steps: [String], until end: Double) throws -> PodStory {
        let spec = "  cluster: {dns: false, cni: flannel-host-gw\(cluster.isEmpty ? "" : ", ")\(cluster)}\n  steps:\n" + steps.map { "  - \($0)\n" }.joined()
        return try PodStory(write("s.yaml", scenarioText(spec) + manifests), until: end)
    }

    /// Runs steps in a cluster of these settings, whose books must balance; on several threads in windows that all processes share.
    func run(_ manifests: String, cluster: String, _ steps: String, threads: Int = 1) throws -> (result: RunResult, text: String) {
        var text = ""
        var hooks = RunHooks.quiet
        hooks.print = { text += $0 }
        var options = RunOptions()
        options.threads = threads
        options.sharesEveryWindow = threads > 1
        let path = write("r.yaml", scenarioText("  cluster: {cni: flannel-host-gw, \(cluster)}\n  steps:\n\(steps)\n") + manifests)
        let result = try ScenarioRunner(ScenarioFile.load(path), options: options, hooks: hooks).run()
        #expect(result.books?.balanced == true)
        return (result, text)
    }
}

/// A scenario with this `spec`, whose first line is line 5 of the file.
func scenarioText(_ spec: String) -> String { "apiVersion: hairpin.sim/v1\nkind: Scenario\nmetadata: {name: t}\nspec:\n\(spec)\n" }

extension Logger {
    static var quiet: Logger { Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() } }
}

extension RunHooks {
    static var quiet: RunHooks { RunHooks(log: .quiet) }
}

extension RunResult {
    func step(_ id: String) throws -> StepResult { try #require(steps.first { $0.id == id }) }
}
