import ArgumentParser
import HairpinScenario

struct ExecCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec", abstract: "Boot a cluster and run one command in a pod.",
        discussion: """
            The command starts when every pod is ready (one second after the boot at the earliest, a minute at the latest). It prints what it \
            would print, and its exit status is that of hairpin.

              hairpin exec -f web.yaml deploy/shell -- curl -sS http://web
              hairpin exec -f web.yaml pod1 -c sidecar -- sh -c 'for i in 1 2 3; do curl -s http://web; done'
            """)

    @OptionGroup var cluster: ClusterOptions

    @Argument(help: "POD, or TYPE/NAME such as deploy/web, sts/web, node/node1, host/client.")
    var target: String

    @Option(name: .shortAndLong, help: "The container; the pod's first by default.")
    var container: String?

    @Option(help: "Threads that run nodes at once, 1 to 256; no more are used than there are nodes, switches and hosts. Results do not depend on it.")
    var threads = 1

    @Flag(name: [.customShort("i"), .customLong("stdin")], help: .hidden)
    var stdin = false

    @Flag(name: [.customShort("t"), .customLong("tty")], help: .hidden)
    var tty = false

    @Argument(parsing: .postTerminator, help: "The command and its arguments, after --.")
    var command: [String] = []

    func validate() throws {
        if command.isEmpty { throw ValidationError("Say what to run, after --: hairpin exec -f FILE POD -- COMMAND.") }
        if !RunOptions.threadRange.contains(threads) { throw ValidationError("--threads must be from 1 to 256.") }
    }

    func run() throws {
        guard var place = Place(target) else {
            throw Failure(.usage, "\"\(target)\" names nothing: write POD, deploy/NAME, sts/NAME, ds/NAME, job/NAME, node/NAME or host/NAME")
        }
        if target.split(separator: "/").count < 3 { place.namespace = cluster.namespace }
        let progress = ProgressLine(isEnabled: !Output.isTerminal)
        var hooks = cluster.hooks()
        hooks.progress = progress.update
        let execution = try Execution(cluster.load(), threads: threads, hooks: hooks)
        let status = try execution.run(command, in: place, container: container) { stream, bytes throws(Failure) in
            progress.clear()
            if stream == .stdout { try Output.write(bytes) } else { Talk.write(bytes) }
        }
        progress.clear()
        if status != 0 { throw ExitCode(status) }
    }
}
