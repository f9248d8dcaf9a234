import ArgumentParser
import HairpinScenario

/// The command line. Data goes to standard output, talk to standard error; see `ExitStatus` for what the shell gets back.
@main
struct Hairpin: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hairpin",
        abstract: "A packet-level emulator of Kubernetes networking.",
        discussion: """
            Manifests go in; Ethernet frames move through modelled pods, veth pairs, bridges and Services in virtual time; captures come out \
            that Wireshark opens. No root, no containers, and the same bytes for the same seed everywhere.

            Start here:
              hairpin run pod-to-service
              hairpin run pod-to-pod --captures out
              hairpin exec -f web.yaml deploy/shell -- curl -sS http://web

            Exit status: 0 every expectation held; 1 one did not; 64 usage; 65 bad input; 66 input not found; 70 a fault of the program; \
            74 output could not be written; 130 interrupted. `exec` exits with the command's status.
            """,
        version: HairpinVersion.current,
        subcommands: [
            RunCommand.self, ExecCommand.self, GetCommand.self, TraceCommand.self, ReachabilityCommand.self, ScenariosCommand.self, ValidateCommand.self,
            ConformanceCommand.self, BenchCommand.self, CompletionCommand.self, VersionCommand.self,
        ])

    static func main() {
        Interruption.install()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let failure as Failure {
            Talk.failure(failure)
            exit(withError: ExitCode(ExitStatus(failure).rawValue))
        } catch {
            // Help, version, usage errors (64) and the exit codes that commands throw.
            exit(withError: error)
        }
    }
}

/// What the program returns to the shell.
enum ExitStatus: Int32 {
    case done = 0
    case expectationFailed = 1
    case usage = 64
    case badInput = 65
    case notFound = 66
    case internalFault = 70
    case outputFailed = 74
    case interrupted = 130

    init(_ failure: Failure) {
        switch failure.kind {
        case .usage: self = .usage
        case .input: self = .badInput
        case .notFound: self = .notFound
        case .internalFault: self = .internalFault
        case .output: self = .outputFailed
        case .interrupted: self = .interrupted
        }
    }

    /// Of several scenarios the gravest status counts: an interruption, then faults, then input, then expectations.
    private static let gravity: [ExitStatus] = [.done, .expectationFailed, .notFound, .badInput, .usage, .outputFailed, .internalFault, .interrupted]
    func combined(with other: ExitStatus) -> ExitStatus {
        let mine = ExitStatus.gravity.firstIndex(of: self) ?? 0
        let theirs = ExitStatus.gravity.firstIndex(of: other) ?? 0
        return theirs > mine ? other : self
    }

    /// Ends the command; does nothing when all is well.
    func finish() throws {
        if self != .done { throw ExitCode(rawValue) }
    }
}
