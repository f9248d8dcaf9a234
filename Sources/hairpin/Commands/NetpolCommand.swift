import ArgumentParser
import Foundation
import HairpinCluster
import HairpinConformance
import HairpinScenario

struct NetpolCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "netpol", abstract: "NetworkPolicy cases: who reaches whom after each change.",
        discussion: """
            Each case has policies and labels that come and go, and a matrix of who reaches whom after each step. It runs in a cluster built for it: \
            every pod speaks to every other with real frames, straight to its address and through its Service, and both must agree with the matrix \
            and with the compiled policies. Exit status 1 if a case fails or is not understood.
            """)

    @Argument(help: "Files of cases, or folders of them.", completion: .file(extensions: ["json", "yaml"]))
    var paths: [String]

    @Option(help: "Only cases whose name matches, such as 'tcp-*'; may be repeated.")
    var filter: [String] = []

    @Option(help: "How Services work: iptables or ipvs.")
    var proxyMode = ProxyMode.iptables

    @Option(help: "The seed of all random choices.")
    var seed: UInt64 = 1

    @Option(name: .shortAndLong, help: "text or json.")
    var output = ResultFormat.text

    func validate() throws {
        if paths.isEmpty { throw ValidationError("Name a file of cases.") }
    }

    func run() throws {
        var runner = PolicyRunner()
        runner.seed = seed
        runner.proxyMode = proxyMode == .ipvs ? .ipvs : .iptables
        let progress = ProgressLine(isEnabled: !Output.isTerminal)
        var table = PolicyResults()
        for path in paths {
            let cases: [(id: String, run: @Sendable () -> PolicyRunner.Case)]
            do throws(InputError) { cases = try runner.cases(at: path) } catch { throw Failure(error) }
            for entry in cases where filter.isEmpty || filter.contains(where: { Glob.matches($0, entry.id) }) {
                if Interruption.isRequested { throw Failure(.interrupted, "interrupted") }
                progress.update(entry.id)
                let result = entry.run()
                progress.clear()
                table.add(result)
                if output == .text { try Output.write(PolicyResults.line(result)) }
            }
        }
        if table.total == 0 {
            throw Failure(.notFound, filter.isEmpty ? "there is no case in \(paths.joined(separator: ", "))" : "no case matches \(filter.joined(separator: ", "))")
        }
        switch output {
        case .text: try Output.write("\n\(table.total) cases: \(table.passed) passed, \(table.failed) failed, \(table.unsupported) unsupported\n")
        case .json: try Output.write(json(table))
        }
        if !table.isBalanced { throw Failure(.internalFault, "the books of a case do not balance") }
        if table.passed != table.total { try ExitStatus.expectationFailed.finish() }
    }
}

/// What `conformance netpol` found.
private struct PolicyResults: Encodable {
    struct Item: Encodable {
        var id: String, status: String
        var expected: String?, actual: String?
        var reason: String?
        var frames: UInt64
    }
    var apiVersion = "hairpin.sim/v1"
    var kind = "ConformanceResult"
    var suite = "netpol"
    var total = 0, passed = 0, failed = 0, unsupported = 0
    var cases: [Item] = []
    var isBalanced = true

    private enum CodingKeys: String, CodingKey { case apiVersion, kind, suite, total, passed, failed, unsupported, cases }

    mutating func add(_ result: PolicyRunner.Case) {
        total += 1
        switch result.status {
        case .passed: passed += 1
        case .failed: failed += 1
        case .unsupported: unsupported += 1
        }
        isBalanced = isBalanced && result.isBalanced
        func some(_ text: String) -> String? { text.isEmpty ? nil : text }
        cases.append(
            Item(
                id: result.id, status: result.status.rawValue, expected: some(result.expected), actual: some(result.actual), reason: some(result.reason),
                frames: result.frames))
    }

    static func line(_ result: PolicyRunner.Case) -> String {
        let name = result.id + String(repeating: " ", count: max(1, 40 - result.id.count))
        switch result.status {
        case .passed: return "\(name)passed\n"
        case .unsupported: return "\(name)unsupported: \(result.reason)\n"
        case .failed:
            let matrices = result.expected.isEmpty ? "" : "    expected \(result.expected)\n    actual   \(result.actual)\n"
            return "\(name)failed: \(result.reason)\n\(matrices)"
        }
    }
}
