import Foundation
import HairpinEngine
import HairpinScenario
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
        options.sharesEveryWindow = true
        options.captures = folder.path
        options.interfaceCaptures = folder.path
        var text = ""
        var hooks = RunHooks.quiet
        hooks.print = { text += $0 }
        let runner = try ScenarioRunner(try ScenarioFile.load(name, manifests: []), options: options, hooks: hooks)
        _ = try runner.run()
        var captures: [String: Data] = [:]
        for file in try FileManager.default.contentsOfDirectory(atPath: folder.path) { captures[file] = try Data(contentsOf: folder.appendingPathComponent(file)) }
        return Outcome(digest: runner.digest, transcript: text.replacingOccurrences(of: folder.path, with: "FOLDER"), captures: captures)
    }

    @Test(
        "1, 2 and 8 threads give the same captures, transcript and digest",
        arguments: ["container-to-container", "pod-to-pod", "pod-to-service", "pod-to-service-iptables", "network-policy", "rolling-update"])
    func sameBytes(_ name: String) throws {
        let one = try run(name, threads: 1)
        #expect(!one.captures.isEmpty)
        for threads in [2, 8] { #expect(try run(name, threads: threads) == one, "\(threads) threads") }
    }

    @Test("a command in a pod of another node says and does the same")
    func exec() throws {
        func run(threads: Int) throws -> (status: Int32, output: [String]) {
            var loaded = try ScenarioFile.cluster(manifests: ["pod-to-service-iptables"])
            loaded.scenario.cluster.setNodeCount(3)
            let execution = try Execution(loaded, threads: threads, hooks: .quiet)
            var output: [String] = []
            let command = ["sh", "-c", "curl -sS http://web/; echo gone >&2; ip route"]
            let place = try #require(Place("deploy/shell"))
            let status = try execution.run(command, in: place, container: nil) { stream, bytes in
                output.append("\(stream): \(String(decoding: bytes, as: UTF8.self))")
            }
            return (status, output)
        }
        let one = try run(threads: 1)
        let four = try run(threads: 4)
        #expect(one.status == 0 && one.output.joined().contains("gone"), "\(one)")
        #expect(one.status == four.status && one.output == four.output, "\(four)")
    }
}
