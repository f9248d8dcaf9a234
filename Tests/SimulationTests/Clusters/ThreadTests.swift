import Foundation
import HairpinEngine
import HairpinScenario
import Logging
import Testing

@Suite("Threads")
struct ThreadTests {
    private struct Outcome: Equatable {
        var digest: UInt64
        var transcript: String
        var captures: [String: Data]
    }

    private func run(_ name: String, threads: Int) throws -> Outcome {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hairpin-threads-\(name)-\(threads)-\(ProcessInfo.processInfo.processIdentifier)")
        defer { try? FileManager.default.removeItem(at: folder) }
        var options = RunOptions()
        options.threads = threads
        options.captures = folder.path
        options.interfaceCaptures = folder.path
        var text = ""
        var hooks = RunHooks(log: Logger(label: "tests", factory: { _ in SwiftLogNoOpLogHandler() }))
        hooks.print = { text += $0 }
        let runner = try ScenarioRunner(try ScenarioFile.load(name, manifests: []), options: options, hooks: hooks)
        _ = try runner.run()
        var captures: [String: Data] = [:]
        for file in try FileManager.default.contentsOfDirectory(atPath: folder.path) { captures[file] = try Data(contentsOf: folder.appendingPathComponent(file)) }
        return Outcome(digest: runner.digest, transcript: text.replacingOccurrences(of: folder.path, with: "FOLDER"), captures: captures)
    }

    @Test(
        "1, 2 and 8 threads give the same captures, transcript and digest",
        arguments: ["container-to-container", "pod-to-pod", "pod-to-service", "pod-to-service-iptables", "network-policy"])
    func sameBytes(_ name: String) throws {
        let one = try run(name, threads: 1)
        #expect(!one.captures.isEmpty)
        for threads in [2, 8] { #expect(try run(name, threads: threads) == one, "\(threads) threads") }
    }
}
