import Foundation
import Testing

@testable import HairpinScenario

/// The files of Docs/examples, which README shows and names.
@Suite("Examples")
struct ExampleTests {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    static func path(_ name: String) -> String { root.appendingPathComponent("Docs/examples/\(name)").path }
    static func text(_ path: String) throws -> String { try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8) }

    @Test("every file is understood without a warning")
    func valid() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: Self.root.appendingPathComponent("Docs/examples").path).sorted()
        #expect(names == ["load-scenario.yaml", "load.yaml", "scale.yaml", "shop.yaml", "visit.yaml", "web.yaml"])
        for name in names { #expect(try Validation.check(Self.path(name)).warnings == [], "\(name)") }
    }

    @Test("the scenarios hold what they expect", arguments: ["visit.yaml", "load-scenario.yaml", "scale.yaml"])
    func scenarios(name: String) throws {
        let result = try ScenarioRunner(ScenarioFile.load(Self.path(name)), options: RunOptions(), hooks: .quiet).run()
        #expect(result.expectations.allSatisfy(\.passed) && result.books?.balanced == true)
    }

    @Test("README shows web.yaml and visit.yaml as they are")
    func shown() throws {
        let readme = try Self.text("README.md")
        #expect(readme.contains("```yaml\n" + (try Self.text("Docs/examples/visit.yaml")) + "```"))
        let manifests = try Self.text("Docs/examples/web.yaml").drop { $0 != "\n" }.dropFirst()
        #expect(readme.contains("```yaml\n" + manifests + "```"))
    }
}
