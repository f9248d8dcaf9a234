import ArgumentParser
import Foundation
import HairpinConformance
import HairpinScenario

struct ConformanceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "conformance", abstract: "Run a body of reference cases and print a table of fidelity.",
        subcommands: [RealityCommand.self, PacketdrillCommand.self, KubeProxyCommand.self, NetpolCommand.self])
}

struct RealityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reality", abstract: "Compare with recordings of a Linux kernel, packet by packet.",
        discussion: """
            Each case is a folder with a scenario.json and the captures of the recording; stability.json beside them says at which level the \
            kernel agrees with itself. The network is built from scenario.json alone. Exit status 1 if a case fails or is beyond the model.
            """)

    @Argument(help: "Folders of recordings, or of one.", completion: .directory)
    var paths: [String]

    @Option(help: "strict, packets, segments or flow, in place of each case's own.")
    var level: ComparisonLevel?

    @Option(help: "Write the emulated captures into this folder, one subfolder per case.", completion: .directory)
    var captures: String?

    @Option(help: "Only cases whose name matches, such as 'service-*'; may be repeated.")
    var filter: [String] = []

    @Option(help: "The seed of all random choices.")
    var seed: UInt64 = 1

    @Flag(help: "Compare the gaps between packets too.")
    var timing = false

    @Option(help: "How many differing lines to show of a failed case.")
    var differences = 0

    @Option(name: .shortAndLong, help: "text or json.")
    var output = ResultFormat.text

    @OptionGroup var verbosity: VerbosityOptions

    func validate() throws {
        if paths.isEmpty { throw ValidationError("Name a folder of recordings.") }
        if differences < 0 { throw ValidationError("--differences must be 0 or more.") }
    }

    func run() throws {
        var runner = RealityRunner()
        runner.seed = seed
        runner.level = level
        runner.comparesTiming = timing
        runner.differenceLines = max(differences, 1)
        runner.captures = captures.map { URL(fileURLWithPath: $0) }
        let progress = ProgressLine(isEnabled: !Output.isTerminal)
        var table = FidelityTable()
        var isFirst = true
        for path in paths {
            for scenario in try read(path, { try RealityRunner.scenarios(in: URL(fileURLWithPath: path)) })
            where filter.isEmpty || filter.contains(where: { Glob.matches($0, scenario.name) }) {
                if Interruption.isRequested { throw Failure(.interrupted, "interrupted") }
                progress.update(RunProgress(scenario: scenario.name, now: .zero, activity: nil))
                let result = runner.outcome(of: scenario)
                progress.clear()
                table.add(result)
                if output == .text {
                    if isFirst { try Output.write(FidelityTable.header) }
                    try Output.write(FidelityTable.row(result, differences: differences))
                }
                isFirst = false
            }
        }
        if isFirst {
            throw Failure(.notFound, filter.isEmpty ? "there is no case in \(paths.joined(separator: ", "))" : "no case matches \(filter.joined(separator: ", "))")
        }
        try Output.write(output == .text ? table.totals : json(table))
        if table.cases.contains(where: { !$0.balanced }) { throw Failure(.internalFault, "the books of a case do not balance") }
        if table.cases.contains(where: { $0.status != RealityRunner.Status.passed.rawValue }) { try ExitStatus.expectationFailed.finish() }
    }

    private func read<T>(_ path: String, _ body: () throws -> T) throws -> T {
        guard FileManager.default.fileExists(atPath: path) else { throw Failure(.notFound, "\(path): no such folder") }
        do { return try body() } catch let error as ComparisonError { throw Failure(.input, error.description) }
    }
}

extension ComparisonLevel: ExpressibleByArgument {}

/// What `conformance reality` prints: a line per case, then totals; or everything at once as JSON.
private struct FidelityTable: Encodable {
    struct Item: Encodable {
        struct Timing: Encodable { var agreeing: Double, worstSeconds: Double, worstInterface: String, worstPacket: String }
        var id: String, status: String
        /// What the recording shows where the two part, and what the emulation shows there; nil for a pass.
        var expected: String?, actual: String?
        var level: String
        var identicalInterfaces: Double, similarity: Double
        var reason: String?
        var outcomes: [String]
        var balanced: Bool
        var timing: Timing?
    }
    var apiVersion = "hairpin.sim/v1"
    var kind = "ConformanceResult"
    var suite = "reality"
    var total = 0, passed = 0, failed = 0, unsupported = 0
    var cases: [Item] = []

    mutating func add(_ result: RealityRunner.Case) {
        let timing = result.report?.timing.map {
            Item.Timing(agreeing: $0.agreeing, worstSeconds: $0.worstSeconds, worstInterface: $0.worstInterface, worstPacket: $0.worstPacket)
        }
        total += 1
        switch result.status {
        case .passed: passed += 1
        case .failed: failed += 1
        case .unsupported: unsupported += 1
        }
        let first = result.report?.differences.first
        func line(_ mark: Character) -> String? {
            guard let first, let line = first.lines.first(where: { $0.first == mark }) else { return nil }
            return "\(first.interface): \(line.dropFirst())"
        }
        cases.append(
            Item(
                id: result.id, status: result.status.rawValue, expected: line("-"), actual: line("+") ?? (first == nil ? nil : "nothing"), level: result.level.rawValue,
                identicalInterfaces: result.identical, similarity: result.similarity, reason: result.reason.isEmpty ? nil : result.reason,
                outcomes: result.outcomes, balanced: result.isBalanced, timing: timing))
    }

    static let header = "\(padded("CASE", 32))\(padded("LEVEL", 10))\(padded("IDENTICAL", 11))\(padded("SIMILAR", 9))RESULT\n"

    static func row(_ result: RealityRunner.Case, differences: Int) -> String {
        let isCompared = result.report != nil
        let reason = result.reason.isEmpty ? "" : ": " + String(result.reason.prefix(160))
        var text =
            padded(result.id, 32) + padded(result.level.rawValue, 10) + padded(isCompared ? percent(result.identical) : "-", 11)
            + padded(isCompared ? percent(result.similarity) : "-", 9) + result.status.rawValue + reason + "\n"
        if let timing = result.report?.timing {
            text +=
                "    gaps between packets: \(percent(timing.agreeing)) agree; worst \(milliseconds(timing.worstSeconds)) on \(timing.worstInterface), before \(timing.worstPacket)\n"
        }
        for outcome in result.outcomes { text += "    \(outcome)\n" }
        if result.status == .failed, differences > 0, let report = result.report {
            for (interface, lines) in report.differences {
                text += "    \(interface)\n"
                for line in lines { text += "      \(line)\n" }
            }
        }
        return text
    }

    var totals: String {
        let compared = cases.filter { $0.status != RealityRunner.Status.unsupported.rawValue }
        let mean =
            compared.isEmpty ? "" : "; mean similarity of those compared \(FidelityTable.percent(compared.reduce(0) { $0 + $1.similarity } / Double(compared.count)))"
        return "\n\(total) cases: \(passed) passed, \(failed) failed, \(unsupported) unsupported\(mean)\n"
    }

    private static func padded(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(1, width - text.count)) }
    /// Rounded down, so that 100 % means all of it.
    private static func percent(_ share: Double) -> String { "\(Double(Int(share * 1000)) / 10) %" }
    private static func milliseconds(_ seconds: Double) -> String { "\(Double(Int(seconds * 1e6)) / 1e3) ms" }
}

/// Shell patterns: `*` is any text, `?` any one character.
enum Glob {
    static func matches(_ pattern: String, _ text: String) -> Bool { fnmatch(pattern, text, 0) == 0 }
}
