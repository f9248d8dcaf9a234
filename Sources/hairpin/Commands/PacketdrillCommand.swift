import ArgumentParser
import Foundation
import HairpinConformance
import HairpinScenario

struct PacketdrillCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "packetdrill", abstract: "Run packetdrill scripts against the emulated TCP.",
        discussion: """
            Each script (.pkt) is played in virtual time: its system calls go to the emulated sockets, its inbound packets to the emulated stack, and what \
            the stack sends is compared with what the script expects. Folders are searched for scripts. A script passes strictly, or with the PSH flag or \
            the times ignored, or fails with a one-line difference; 'unsupported' names the first construct that is not known. Exit status 1 if a script \
            fails or is unsupported, 65 if one cannot be parsed.
            """)

    @Argument(help: "Scripts, or folders of them.", completion: .file(extensions: ["pkt"]))
    var paths: [String]

    @Option(name: [.customShort("D"), .long], help: "NAME=VALUE: a word to replace in every script; may be repeated.")
    var define: [String] = []

    @Option(help: "Only scripts whose path matches, such as '*/sack/*'; may be repeated.")
    var filter: [String] = []

    @Option(help: "The seed of all random choices.")
    var seed: UInt64 = 1

    @Flag(help: "Behave as Linux 6.18 throughout; without it some things are as in the older kernels that most public scripts were written on.")
    var currentKernel = false

    @Flag(help: "Print every packet, in script notation, to standard error.")
    var trace = false

    @Option(name: .shortAndLong, help: "text or json.")
    var output = ResultFormat.text

    @OptionGroup var verbosity: VerbosityOptions

    func validate() throws {
        if paths.isEmpty { throw ValidationError("Name a script or a folder of scripts.") }
        for word in define where !word.contains("=") || word.hasPrefix("=") { throw ValidationError("--define \(word): expected NAME=VALUE.") }
    }

    func run() throws {
        var runner = PacketdrillRunner()
        runner.seed = seed
        runner.followsOlderKernels = !currentKernel
        for word in define {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            runner.defines[String(parts[0])] = String(parts[1])
        }
        if trace { runner.trace = { FileHandle.standardError.write(Data("\($0)\n".utf8)) } }
        var table = ScriptTable()
        for path in paths {
            guard FileManager.default.fileExists(atPath: path) else { throw Failure(.notFound, "\(path): no such file or folder") }
            for file in PacketdrillRunner.scripts(in: URL(fileURLWithPath: path)) {
                let id = name(of: file, under: path)
                guard filter.isEmpty || filter.contains(where: { Glob.matches($0, id) }) else { continue }
                if Interruption.isRequested { throw Failure(.interrupted, "interrupted") }
                if trace { FileHandle.standardError.write(Data("\(id)\n".utf8)) }
                let result = runner.run(file: file, id: id)
                table.add(result)
                if output == .text { try Output.write(ScriptTable.row(result)) }
            }
        }
        if table.cases.isEmpty {
            throw Failure(.notFound, filter.isEmpty ? "there is no script in \(paths.joined(separator: ", "))" : "no script matches \(filter.joined(separator: ", "))")
        }
        try Output.write(output == .text ? table.totals : json(table))
        if table.unreadable > 0 { try ExitStatus.badInput.finish() }
        if table.failed + table.unsupported > 0 { try ExitStatus.expectationFailed.finish() }
    }

    /// What a script is called in the table: its path as the user would write it.
    private func name(of file: URL, under path: String) -> String {
        let root = URL(fileURLWithPath: path).standardizedFileURL.path
        let full = file.standardizedFileURL.path
        guard full.hasPrefix(root + "/") else { return path }
        return (path.hasSuffix("/") ? String(path.dropLast()) : path) + full.dropFirst(root.count)
    }
}

/// What `conformance packetdrill` prints: a line per script, then totals; or everything at once as JSON.
private struct ScriptTable: Encodable {
    struct Item: Encodable {
        var id: String, status: String
        var line: Int?
        var reason: String?
        /// In script notation.
        var expected: String?, actual: String?
        /// The worst deviation from a time the script gives.
        var worstTimingMilliseconds: Double
    }
    var apiVersion = "hairpin.sim/v1"
    var kind = "ConformanceResult"
    var suite = "packetdrill"
    var total = 0, passed = 0, passedIgnoringPush = 0, passedIgnoringTiming = 0, passedIgnoringBoth = 0, failed = 0, unsupported = 0, unreadable = 0
    var cases: [Item] = []

    mutating func add(_ result: PacketdrillRunner.Case) {
        total += 1
        switch result.status {
        case .passed: passed += 1
        case .passedIgnoringPush: passedIgnoringPush += 1
        case .passedIgnoringTiming: passedIgnoringTiming += 1
        case .passedIgnoringBoth: passedIgnoringBoth += 1
        case .failed: failed += 1
        case .unsupported: unsupported += 1
        case .unreadable: unreadable += 1
        }
        cases.append(
            Item(
                id: result.id, status: result.status.rawValue, line: result.line > 0 ? result.line : nil, reason: result.reason.isEmpty ? nil : result.reason,
                expected: result.expected, actual: result.actual, worstTimingMilliseconds: result.worstTiming))
    }

    static func row(_ result: PacketdrillRunner.Case) -> String {
        let place = result.status == .unreadable || result.line == 0 ? "" : " line \(result.line):"
        return "\(result.status.rawValue.padding(toLength: max(24, result.status.rawValue.count + 1), withPad: " ", startingAt: 0))\(result.id)"
            + (result.reason.isEmpty ? "" : ":\(place) \(result.reason)") + "\n"
    }

    var totals: String {
        """

        \(total) \(total == 1 ? "script" : "scripts"): \(passed) passed, \(passedIgnoringPush) with PSH ignored, \(passedIgnoringTiming) with timing ignored, \(passedIgnoringBoth) with both, \
        \(failed) failed, \(unsupported) unsupported\(unreadable > 0 ? ", \(unreadable) not readable" : "")

        """
    }
}
