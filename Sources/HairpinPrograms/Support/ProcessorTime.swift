import HairpinEngine

/// How much processor time programs take, in one place. The figures are those of a small virtual machine, rounded; only the order of
/// magnitude matters, and that nothing takes no time at all.
public enum ProcessorTime {
    /// fork, execve and dynamic linking of a command, by its name.
    public static func start(of command: String) -> Duration {
        switch command {
        case "curl", "dig", "nslookup", "host": .milliseconds(5)
        case "wget", "ping", "arping", "ip", "nginx", "httpd", "redis-server": .milliseconds(2)
        case "coredns", "dnsmasq": .milliseconds(10)
        default: .milliseconds(1)
        }
    }
    /// fork without execve: a subshell.
    static let fork = Duration.microseconds(300)
    /// One turn of a shell loop whose body did not wait for anything.
    static let loopTurn = Duration.microseconds(10)
    /// One built-in command of the shell.
    static let builtin = Duration.microseconds(2)
    /// From a complete request to the first write of its answer.
    static let request = Duration.microseconds(60)
    /// Between the write of a header and that of the body: opening the file.
    static let openFile = Duration.microseconds(20)
    /// A name looked up in a server's table.
    static let nameLookup = Duration.microseconds(50)
}

/// A program behind its start-up cost: the first resume charges it.
final class Started: Program {
    private let cost: Duration
    private var isStarted = false
    private let program: any Program

    init(_ program: any Program, cost: Duration) {
        self.program = program
        self.cost = cost
    }

    func resume(_ system: any SystemCalls) -> Suspension {
        if !isStarted {
            isStarted = true
            system.compute(cost)
        }
        return program.resume(system)
    }

    func terminate() -> TerminationAnswer { program.terminate() }
}
