import ArgumentParser
import Foundation
import HairpinBenchmarks
import HairpinEngine
import HairpinScenario

struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure Hairpin's core on this machine.",
        discussion: """
            Every job drives the code that scenarios run. It is built and warmed up, then repeated; minimum, median and maximum are printed.

              hairpin bench bridge                                frames per second over a learning switch of 16 hosts
              hairpin bench bridge --output json > before.json
              hairpin bench bridge --baseline before.json         exit status 1 if it has become slower

            Virtual machines have slow spells: compare the best of several repetitions, and ratios of interleaved runs.
            """,
        subcommands: [BridgeCommand.self, EngineCommand.self, TCPCommand.self, ServiceCommand.self, ClusterCommand.self, CaptureCommand.self, ThreadsCommand.self])
}

/// What every job of `bench` takes.
struct BenchOptions: ParsableArguments {
    @Option(name: .customLong("repeat"), parsing: .unconditional, help: "How often the job is measured.")
    var repetitions = 5

    @Option(parsing: .unconditional, help: "Repetitions before those that count.")
    var warmup = 1

    @Option(help: "Compare with an earlier result in JSON; exit status 1 on a regression.", completion: .file(extensions: ["json"]))
    var baseline: String?

    @Option(parsing: .unconditional, help: "How much worse than the baseline's a metric's best may be, in per cent, from 0 to 99.")
    var tolerance = 10.0

    @Option(name: .shortAndLong, help: "text or json.")
    var output = ResultFormat.text

    func validate() throws {
        guard tolerance >= 0, tolerance < 100 else { throw ValidationError("--tolerance: \(tolerance) is not from 0 to 99") }
        if baseline == nil, tolerance != 10 { throw ValidationError("--tolerance goes with --baseline FILE.") }
        guard BenchmarkRunner.repetitionRange.contains(repetitions) else { throw ValidationError("--repeat: \(repetitions) is not from 1 to 1000") }
        guard BenchmarkRunner.warmUpRange.contains(warmup) else { throw ValidationError("--warmup: \(warmup) is not from 0 to 100") }
    }

    /// Runs a job and prints it.
    func run<Job: Benchmark>(_ make: () throws(BenchmarkError) -> Job) throws {
        // A baseline that cannot be used is said before anybody waits.
        let earlier = try baseline.map(BenchOptions.read)
        let progress = ProgressLine(isEnabled: true)
        var runner = BenchmarkRunner()
        runner.repetitions = repetitions
        runner.warmUps = warmup
        runner.progress = { progress.update("bench \(Job.name): repetition \($0) of \($1)") }
        runner.isInterrupted = { Interruption.isRequested }
        if Machine.current.build == "debug" { Talk.error("warning: this is a debug build; its figures mean nothing") }
        let job = try telling(Job.name) { () throws(BenchmarkError) in try make() }
        if let earlier, let baseline {
            do { try earlier.checkBaseline(of: job) } catch { throw Failure(.input, "\(baseline): it cannot be the baseline of this run: \(error)") }
        }
        defer { progress.clear() }
        let report = try telling(Job.name) { () throws(BenchmarkError) in try runner.run(job) }
        progress.clear()
        guard let report else { throw Failure(.interrupted, "interrupted") }
        try Output.write(output == .json ? try report.json() : report.table)
        if let earlier, let baseline { try compare(report, with: earlier, named: baseline) }
    }

    /// What is wrong with a job's parameters becomes a usage error, what is wrong with its result a fault.
    private func telling<R>(_ name: String, _ body: () throws(BenchmarkError) -> R) throws -> R {
        do throws(BenchmarkError) { return try body() } catch {
            switch error {
            case .usage(let text): throw ValidationError(text)
            case .fault(let text): throw Failure(.internalFault, "bench \(name): \(text)")
            case .output(let text): throw Failure(.output, "bench \(name): \(text)")
            }
        }
    }

    private func compare(_ report: BenchmarkReport, with earlier: BenchmarkReport, named file: String) throws {
        let comparison: BaselineComparison
        do { comparison = try BaselineComparison(report, baseline: earlier, tolerance: tolerance / 100) } catch {
            throw Failure(.input, "\(file): it cannot be the baseline of this run: \(error)")
        }
        if output == .text { try Output.write("\n" + comparison.table) } else { Talk.write(Array(comparison.table.utf8)) }
        if comparison.hasRegressed { try ExitStatus.expectationFailed.finish() }
    }

    private static func read(_ file: String) throws -> BenchmarkReport {
        guard let data = FileManager.default.contents(atPath: file) else { throw Failure(.notFound, "\(file): no such file") }
        do { return try BenchmarkReport.parse(data) } catch let error as BenchmarkError {
            throw Failure(.input, "\(file): \(error)")
        } catch {
            throw Failure(.input, "\(file): not the JSON of a benchmark: \(BenchOptions.reason(error))")
        }
    }

    /// What a decoder found wrong, and where.
    private static func reason(_ error: any Error) -> String {
        guard let error = error as? DecodingError else { return error.localizedDescription }
        func place(_ context: DecodingError.Context) -> String { context.codingPath.isEmpty ? "" : " at \(context.codingPath.map(\.stringValue).joined(separator: "."))" }
        switch error {
        case .keyNotFound(let key, let context): return "\(key.stringValue) is missing\(place(context))"
        case .typeMismatch(_, let context), .valueNotFound(_, let context): return "\(context.debugDescription)\(place(context))"
        case .dataCorrupted(let context): return "\(context.debugDescription)\(place(context))"
        @unknown default: return "\(error)"
        }
    }
}

/// Numbers with units, as scenario files have them.
enum BenchQuantity {
    /// Bits per second.
    static func rate(_ text: String) throws -> UInt64 {
        guard let bits = Quantity.rate(text) else { throw ValidationError("it is no rate; write one from 1kbit to 400Gbit, such as 1Gbit") }
        return bits
    }
    static func duration(_ text: String) throws -> Duration {
        guard let duration = Quantity.duration(text) else { throw ValidationError("it is no time; write one from 0s on, such as 1us") }
        return duration
    }
}

extension BridgeBenchmark.Pattern: ExpressibleByArgument {}
extension BridgeBenchmark.Mode: ExpressibleByArgument {}
extension CaptureBenchmark.Format: ExpressibleByArgument {}
extension TCPBenchmark.Path: ExpressibleByArgument {}
extension ServiceBenchmark.Mode: ExpressibleByArgument {}
