import ArgumentParser
import HairpinScenario

struct ValidateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate", abstract: "Check scenarios and manifests without running them.",
        discussion: "A scenario is checked with everything it names; other files are checked as manifests. Exit status 65 when one is not right.")

    @Argument(help: "Scenario files, manifests, folders of manifests, or names of built-in scenarios.", completion: .file(extensions: ["yaml", "yml", "json"]))
    var files: [String]

    @Option(name: .shortAndLong, help: "text or json.")
    var output = ResultFormat.text

    @OptionGroup var verbosity: VerbosityOptions

    func validate() throws {
        if files.isEmpty { throw ValidationError("Name a file to check.") }
    }

    func run() throws {
        struct Report: Encodable {
            struct Item: Encodable { var file: String, valid: Bool, summary: String?, error: String?, warnings: [String] }
            var apiVersion = "hairpin.sim/v1", kind = "ValidationResult"
            var items: [Item] = []
        }
        var report = Report()
        var status = ExitStatus.done
        for file in files {
            do {
                let check = try Validation.check(file)
                report.items.append(.init(file: file, valid: true, summary: check.summary, error: nil, warnings: check.warnings))
                for warning in check.warnings { Talk.error("warning: \(warning)") }
                if output == .text { try Output.write("\(file): ok, \(check.summary)\n") }
            } catch let failure as Failure where failure.kind != .output {
                status = status.combined(with: ExitStatus(failure))
                report.items.append(.init(file: file, valid: false, summary: nil, error: failure.message, warnings: []))
                if output == .text { Talk.error(failure.message) }
            }
        }
        if output == .json { try Output.write(json(report)) }
        try status.finish()
    }
}
