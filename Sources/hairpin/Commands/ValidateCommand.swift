import ArgumentParser
import HairpinScenario

struct ValidateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate", abstract: "Check scenarios and manifests without running them.",
        discussion: "A scenario is checked with everything it names; other files are checked as manifests. Exit status 65 when one is not right.")

    @Argument(help: "Scenario files, manifests, folders of manifests, names of built-in scenarios, or - for standard input.", completion: .file(extensions: ["yaml", "yml", "json"]))
    var files: [String]

    @Flag(name: [.customShort("R"), .long], help: "Folders below a folder belong to it too.")
    var recursive = false

    @Option(name: .shortAndLong, help: "text or json.")
    var output = ResultFormat.text

    @OptionGroup var verbosity: VerbosityOptions

    func validate() throws {
        if files.isEmpty { throw ValidationError("Name a file to check.") }
    }

    func run() throws {
        var report = ValidationReport()
        var status = ExitStatus.done
        for file in files {
            let item = check(file)
            report.items.append(item.report)
            status = status.combined(with: item.status)
            if output == .text, item.report.valid { try Output.write("\(file): ok, \(item.report.summary ?? "")\n") }
        }
        if output == .json { try Output.write(json(report)) }
        try status.finish()
    }

    /// Checks one file and says what is to be said about it.
    private func check(_ file: String) -> (report: ValidationReport.Item, status: ExitStatus) {
        do throws(Failure) {
            let check = try Validation.check(file, from: FileSource(isRecursive: recursive))
            for warning in check.warnings { Talk.error("warning: \(warning)") }
            return (ValidationReport.Item(file: file, valid: true, summary: check.summary, error: nil, warnings: check.warnings), .done)
        } catch {
            Talk.failure(error)
            return (ValidationReport.Item(file: file, valid: false, summary: nil, error: error.description, warnings: []), ExitStatus(error))
        }
    }
}

private struct ValidationReport: Encodable {
    struct Item: Encodable {
        var file: String
        var valid: Bool
        var summary: String?
        var error: String?
        var warnings: [String]
    }
    var apiVersion = "hairpin.sim/v1"
    var kind = "ValidationResult"
    var items: [Item] = []
}
