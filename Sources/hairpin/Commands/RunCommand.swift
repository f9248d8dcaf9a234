import ArgumentParser
import Foundation
import HairpinEngine
import HairpinScenario

enum ResultFormat: String, ExpressibleByArgument, CaseIterable { case text, json }

/// A moment after the boot, written as a duration: `10s`, `1500ms`.
struct VirtualTime: ExpressibleByArgument {
    var instant: Instant
    init?(argument: String) {
        guard let duration = Quantity.duration(argument) else { return nil }
        instant = .zero + duration
    }
}

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run scenarios and check what they expect.",
        discussion: """
            Prints each step as a terminal would show it, then the expectations, then the sums of all frames. With several scenarios a broken \
            one is reported and the others still run.

              hairpin run pod-to-service
              hairpin run my-scenario.yaml --captures out --per-interface --junit report.xml
              kubectl kustomize overlay | hairpin run -f - -f my-scenario.yaml
            """)

    @Argument(help: "Scenario files, names of built-in scenarios, or - for standard input.", completion: .file(extensions: ["yaml", "yml"]))
    var scenarios: [String] = []

    @Option(
        name: [.customShort("f"), .customLong("filename"), .long, .customShort("m")],
        help: "One more manifest, folder of manifests, or - for standard input; may be repeated. Without SCENARIO one of the files has the scenario.", completion: .file(extensions: ["yaml", "yml", "json"]))
    var manifest: [String] = []

    @Flag(name: [.customShort("R"), .long], help: "Folders below a folder belong to it too.")
    var recursive = false

    @Option(help: "Write NAME.pcapng into this folder.", completion: .directory)
    var captures: String?

    @Flag(help: "Also write HOST-IFACE.pcap for every captured interface.")
    var perInterface = false

    @Option(help: "Write a trace of TCP connections, as the tracepoint tcp:tcp_probe has it, to this file: CSV.", completion: .file(extensions: ["csv"]))
    var tcpProbe: String?

    @Option(help: "The seed of all random choices, in place of the scenario's.")
    var seed: UInt64?

    @Option(help: "End at this virtual time, such as 10s.")
    var until: VirtualTime?

    @Option(help: "Threads that run nodes at once, 1 to 256; no more are used than there are nodes, switches and hosts. Results do not depend on it.")
    var threads = 1

    @Flag(help: .hidden)
    var shareEveryWindow = false

    @Option(help: "Write a JUnit report to this file.", completion: .file(extensions: ["xml"]))
    var junit: String?

    @Option(name: .shortAndLong, help: "text or json.")
    var output = ResultFormat.text

    @OptionGroup var verbosity: VerbosityOptions

    func validate() throws {
        if scenarios.isEmpty, manifest.isEmpty { throw ValidationError("Name a scenario. \"hairpin scenarios\" lists the built-in ones.") }
        if tcpProbe != nil, scenarios.count > 1 {
            throw ValidationError("--tcp-probe FILE is for one scenario; with several, spec.tcpProbe and --captures DIR give each its file.")
        }
        if perInterface, captures == nil { throw ValidationError("--per-interface needs --captures DIR.") }
        if !RunOptions.threadRange.contains(threads) { throw ValidationError("--threads must be from 1 to 256.") }
    }

    func run() throws {
        var results: [RunResult] = []
        var status = ExitStatus.done
        // Without a scenario's name the files of -f have one.
        for (number, name) in (scenarios.isEmpty ? [nil] : scenarios.map(Optional.some)).enumerated() {
            if number > 0, output == .text { try Output.write("\n") }
            let outcome = try runOne(name)
            results.append(outcome.result)
            status = status.combined(with: outcome.status)
            if status == .interrupted || outcome.status == .outputFailed { break }
        }
        if output == .json { try Output.write(try RunResult.json(results) + "\n") }
        if let junit { try Output.write(JUnit.xml(results), toFile: junit) }
        try status.finish()
    }

    private func load(_ name: String?) throws(Failure) -> LoadedScenario {
        let source = FileSource(isRecursive: recursive)
        if let name { return try ScenarioFile.load(name, manifests: manifest, from: source) }
        let loaded = try ScenarioFile.cluster(manifests: manifest, keepsStory: true, from: source)
        guard loaded.hasScenario else {
            throw Failure(
                .input, "\(manifest.joined(separator: ", ")): there is no document of kind Scenario",
                hint: "Add one (\"hairpin scenarios pod-to-pod\" shows an example), or use \"hairpin exec -f\" to run one command.")
        }
        return loaded
    }

    private func runOne(_ name: String?) throws -> (result: RunResult, status: ExitStatus) {
        let progress = ProgressLine(isEnabled: true)
        var hooks = RunHooks(log: verbosity.logger())
        let isText = output == .text
        hooks.print = { text throws(Failure) in
            progress.clear()
            if isText { try Output.write(text) }
        }
        hooks.progress = progress.update
        hooks.isInterrupted = { Interruption.isRequested }
        do throws(Failure) {
            let loaded = try load(name)
            var options = RunOptions()
            options.seed = seed
            options.until = until?.instant
            options.threads = threads
            options.sharesEveryWindow = shareEveryWindow
            options.captures = captures
            options.tcpProbe = tcpProbe
            options.digests = !isText
            options.style = TextStyle(isColoured: isText && Colour.isWanted)
            if perInterface, let captures { options.interfaceCaptures = scenarios.count <= 1 ? captures : "\(captures)/\(loaded.scenario.name)" }
            let runner = try ScenarioRunner(loaded, options: options, hooks: hooks)
            let result = try runner.run()
            progress.clear()
            let time = Quantity.words(Instant(nanoseconds: result.virtualNanoseconds) - .zero)
            Talk.line("\(time) of virtual time in \(progress.elapsed); \(runner.threading)")
            switch result.status {
            case .passed: return (result, .done)
            case .failed: return (result, .expectationFailed)
            case .broken: return (result, .badInput)
            case .interrupted: return (result, .interrupted)
            }
        } catch {
            let failure = error
            progress.clear()
            Talk.failure(failure)
            var result = RunResult(scenario: name ?? manifest.joined(separator: ","), file: name ?? manifest.joined(separator: ","), seed: seed ?? 0, status: failure.kind == .interrupted ? .interrupted : .broken)
            result.error = failure.description
            return (result, ExitStatus(failure))
        }
    }
}
