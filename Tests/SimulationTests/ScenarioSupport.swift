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
