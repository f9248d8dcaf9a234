import Foundation
import Testing

@testable import HairpinConformance

/// The kernel's recordings that are kept in the repository, replayed.
@Suite("Recordings of a Linux kernel")
struct RealityTests {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("captures/kernel")
    static let names = (try? ReferenceSet(folder: folder).scenarios.map(\.name)) ?? []

    @Test("every recording in captures/kernel is matched at its level, and the books balance", arguments: names)
    func replay(name: String) throws {
        let scenario = try #require(try ReferenceSet(folder: RealityTests.folder).scenarios.first { $0.name == name })
        let result = try RealityRunner().run(scenario)
        #expect(result.status == .passed, "\(result.reason)")
        #expect(result.isBalanced)
        #expect(result.outcomes.isEmpty, "\(result.outcomes)")
    }

    @Test("there are recordings to match")
    func present() { #expect(RealityTests.names.count >= 6) }

    @Test("another seed passes as well: nothing depends on one choice of ports and numbers")
    func seeds() throws {
        let scenario = try #require(try ReferenceSet(folder: RealityTests.folder).scenarios.first { $0.name == "service-hairpin" })
        for seed in UInt64(2)...6 {
            var runner = RealityRunner()
            runner.seed = seed
            #expect(try runner.run(scenario).status == .passed, "seed \(seed)")
        }
    }

    @Test("a recording of something else is told apart")
    func different() throws {
        // The same network and command, but the bridge port in hairpin mode or not: the wrong one must fail.
        let files = FileManager.default
        let copy = files.temporaryDirectory.appendingPathComponent("hairpin-reality-\(UUID().uuidString)")
        defer { try? files.removeItem(at: copy) }
        try files.copyItem(at: RealityTests.folder.appendingPathComponent("service-hairpin"), to: copy)
        let description = copy.appendingPathComponent("scenario.json")
        let text = try String(contentsOf: description, encoding: .utf8)
        try text.replacingOccurrences(of: "\"hairpin\": true", with: "\"hairpin\": false").write(to: description, atomically: true, encoding: .utf8)
        let scenario = try #require(try RealityRunner.scenarios(in: copy).first)
        let result = try RealityRunner().run(scenario)
        #expect(result.status == .failed)
        #expect(result.similarity < 0.9)
        #expect(!result.outcomes.isEmpty)
    }

    @Test("what is beyond the model is said, not guessed")
    func unsupported() throws {
        let files = FileManager.default
        let copy = files.temporaryDirectory.appendingPathComponent("hairpin-reality-\(UUID().uuidString)")
        defer { try? files.removeItem(at: copy) }
        try files.copyItem(at: RealityTests.folder.appendingPathComponent("same-node-http"), to: copy)
        let description = copy.appendingPathComponent("scenario.json")
        let text = try String(contentsOf: description, encoding: .utf8)
        try text.replacingOccurrences(of: "\"kind\": \"bridge\"", with: "\"kind\": \"macvlan\"").write(to: description, atomically: true, encoding: .utf8)
        let result = try RealityRunner().run(try #require(try RealityRunner.scenarios(in: copy).first))
        #expect(result.status == .unsupported)
        #expect(result.reason.contains("macvlan"))
    }
}
