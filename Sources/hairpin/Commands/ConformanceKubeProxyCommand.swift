import ArgumentParser
import Foundation
import HairpinConformance
import HairpinScenario

struct KubeProxyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kube-proxy", abstract: "Send kube-proxy's packet-flow cases through an emulated node, in every proxy mode.",
        discussion: """
            Each case is a flow of a file of schema hairpin-kubeproxy-flows/1: Services and EndpointSlices become the rules of a node built for it, \
            and first packets are sent as frames until every endpoint they may reach has been seen. IPv6 flows are decided on the compiled table, \
            and say so. Exit status 1 if a case fails or is beyond the model.
            """)

    @Argument(help: "Files of cases, or folders of them.", completion: .file(extensions: ["json"]))
    var paths: [String]

    @Option(help: "Only cases whose id matches, such as 'masquerade-*'; may be repeated.")
    var filter: [String] = []

    @Flag(help: "Only what did not pass.")
    var failures = false

    @Option(name: .shortAndLong, help: "text or json.")
    var output = ResultFormat.text

    @OptionGroup var verbosity: VerbosityOptions

    func validate() throws {
        if paths.isEmpty { throw ValidationError("Name a file of cases.") }
    }

    func run() throws {
        var runner = KubeProxyRunner()
        let filter = filter
        runner.isWanted = { id in filter.isEmpty || filter.contains { Glob.matches($0, id) } }
        var result = CaseTable(suite: "kube-proxy")
        for path in paths {
            guard FileManager.default.fileExists(atPath: path) else { throw Failure(.notFound, "\(path): no such file") }
            do {
                try runner.run(path) { item in
                    if Interruption.isRequested { throw Failure(.interrupted, "interrupted") }
                    result.add(
                        CaseTable.Item(id: item.id, status: item.status.rawValue, expected: item.expected, actual: item.actual, note: item.note))
                    if output == .text, !failures || item.status != .passed { try Output.write(CaseTable.line(result.cases[result.cases.count - 1])) }
                }
            } catch let error as ComparisonError {
                throw Failure(.input, error.description)
            }
        }
        if result.total == 0 { throw Failure(.notFound, "there is no case in \(paths.joined(separator: ", "))") }
        try Output.write(output == .text ? result.totals : json(result))
        if result.passed < result.total { try ExitStatus.expectationFailed.finish() }
    }
}

/// A suite's cases, one line each, and their total.
struct CaseTable: Encodable {
    struct Item: Encodable {
        var id: String, status: String
        var expected: String, actual: String
        var note: String?
    }
    var apiVersion = "hairpin.sim/v1"
    var kind = "ConformanceResult"
    var suite: String
    var total = 0, passed = 0, failed = 0, unsupported = 0
    var cases: [Item] = []

    init(suite: String) { self.suite = suite }

    mutating func add(_ item: Item) {
        total += 1
        switch item.status {
        case "passed": passed += 1
        case "failed": failed += 1
        default: unsupported += 1
        }
        cases.append(item)
    }

    static func line(_ item: Item) -> String {
        switch item.status {
        case "passed": "passed       \(item.id)\(item.note.map { " (\($0))" } ?? "")\n"
        case "failed": "failed       \(item.id)\n             expected \(item.expected)\n             actual   \(item.actual)\n"
        default: "unsupported  \(item.id): \(item.actual)\n"
        }
    }

    var totals: String { "\n\(total) cases: \(passed) passed, \(failed) failed, \(unsupported) unsupported\n" }
}
