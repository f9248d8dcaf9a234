import HairpinEngine
import HairpinTransport
import HairpinWire

/// sleep(1): durations add up.
final class Sleep: Program {
    private let arguments: [String]
    private var until: Instant?
    init(_ arguments: [String]) { self.arguments = arguments }
    func terminate() -> TerminationAnswer { .ignores }
    func resume(_ system: any SystemCalls) -> Suspension {
        guard let until else {
            var total = Duration.zero
            if arguments.isEmpty {
                system.writeError("sleep: missing operand\nTry 'sleep --help' for more information.\n")
                return .exit(1)
            }
            for argument in arguments {
                guard let duration = parseDuration(argument) else {
                    system.writeError("sleep: invalid time interval '\(argument)'\nTry 'sleep --help' for more information.\n")
                    return .exit(1)
                }
                total = min(total + duration, Duration(nanoseconds: Int64.max / 4))
            }
            let deadline = system.now + total
            until = deadline
            return .wait(WaitSet(deadline: deadline))
        }
        return system.now >= until ? .exit(0) : .wait(WaitSet(deadline: until))
    }
}

/// Commands that run another command: timeout, time, nohup, nice.
final class Wrapper: Program {
    private let name: String
    private let arguments: [String]
    private let userland: Userland
    private var child: ProcessID?
    private var startedAt = Instant.zero
    private var deadline: Instant?, killAt: Instant?
    private var signal: Int32 = 15, hasExpired = false, killAfter: Duration?

    init(_ name: String, _ arguments: [String], _ userland: Userland) { (self.name, self.arguments, self.userland) = (name, arguments, userland) }

    func resume(_ system: any SystemCalls) -> Suspension {
        if child == nil, let status = start(system) { return .exit(status) }
        if let status = system.exitStatus(of: child!) {
            if name == "time" { system.writeError(elapsedReport(system.now - startedAt, userland: userland)) }
            return .exit(hasExpired ? (signal == 9 ? 137 : 124) : status)
        }
        if let deadline, system.now >= deadline, !hasExpired {
            hasExpired = true
            system.kill(child!, signal: signal)
            killAt = killAfter.map { system.now + $0 }
            self.deadline = nil
            return resume(system)
        }
        if let killAt, system.now >= killAt {
            self.killAt = nil
            system.kill(child!, signal: 9)
            return resume(system)
        }
        return .wait(WaitSet(deadline: hasExpired ? killAt : deadline, children: [child!]))
    }

    private func start(_ system: any SystemCalls) -> Int32? {
        var words = arguments[...]
        if name == "timeout" {
            let options = Options(
                arguments, flags: "vfp", values: "sk", long: [("signal=", "s"), ("kill-after=", "k"), ("preserve-status", "p"), ("foreground", "f")], stopsAtOperand: true
            )
            words = options.operands[...]
            if let text = options["s"] { signal = Signals.number(text) ?? 15 }
            killAfter = options["k"].flatMap(parseDuration)
            guard let text = words.popFirst(), !words.isEmpty else {
                system.writeError("timeout: missing operand\nTry 'timeout --help' for more information.\n")
                return 125
            }
            guard let duration = parseDuration(text) else {
                system.writeError("timeout: invalid time interval ‘\(text)’\nTry 'timeout --help' for more information.\n")
                return 125
            }
            deadline = duration.isZero ? nil : system.now + duration
        } else {
            while let word = words.first, word.hasPrefix("-") {
                words.removeFirst()
                if word == "-n" { _ = words.popFirst() }
            }
        }
        guard let command = words.first else { return 0 }
        guard let program = CommandTable.program(named: command, arguments: Array(words.dropFirst()), userland: userland) else {
            system.writeError("\(name): failed to run command '\(command)': No such file or directory\n")
            return 127
        }
        startedAt = system.now
        child = system.spawn(program, arguments: Array(words), environment: system.environmentVariables, streams: system.streams)
        return nil
    }
}

/// `env A=b command`: a child with a changed environment.
final class EnvironmentCommand: Program {
    private let words: [String]
    private let userland: Userland
    private var child: ProcessID?
    init(_ words: [String], _ userland: Userland) { (self.words, self.userland) = (words, userland) }
    func resume(_ system: any SystemCalls) -> Suspension {
        if child == nil {
            var environment = system.environmentVariables
            var rest = words[...]
            while let word = rest.first, word.contains("=") || word.hasPrefix("-") {
                rest.removeFirst()
                if word == "-i" || word == "-" {
                    environment = [:]
                    continue
                }
                if word == "-u" {
                    if let name = rest.popFirst() { environment[name] = nil }
                    continue
                }
                let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                if parts.count == 2 { environment[String(parts[0])] = String(parts[1]) }
            }
            guard let command = rest.first else {
                for name in environment.keys.sorted() { system.writeOutput("\(name)=\(environment[name] ?? "")\n") }
                return .exit(0)
            }
            guard let program = CommandTable.program(named: command, arguments: Array(rest.dropFirst()), userland: userland) else {
                system.writeError("env: '\(command)': No such file or directory\n")
                return .exit(127)
            }
            child = system.spawn(program, arguments: Array(rest), environment: environment, streams: system.streams)
        }
        guard let status = system.exitStatus(of: child!) else { return .wait(WaitSet(children: [child!])) }
        return .exit(status)
    }
}

enum Miscellany {
    static func seq(_ arguments: [String]) -> any Program {
        Immediate { system in
            var separator = "\n"
            var equalWidth = false
            var words = arguments[...]
            while let word = words.first, word.hasPrefix("-"), Int(word) == nil, Double(word) == nil {
                words.removeFirst()
                if word == "-s" { separator = words.popFirst() ?? "\n" } else if word == "-w" { equalWidth = true }
            }
            let numbers = words.map { Double($0) }
            guard !numbers.isEmpty, numbers.count <= 3, !numbers.contains(where: { $0 == nil }) else {
                system.writeError(
                    words.isEmpty
                        ? "seq: missing operand\nTry 'seq --help' for more information.\n"
                        : "seq: invalid floating point argument: '\(words.first { Double($0) == nil } ?? "")'\nTry 'seq --help' for more information.\n")
                return 1
            }
            let first = numbers.count > 1 ? numbers[0]! : 1
            let step = numbers.count == 3 ? numbers[1]! : 1
            let last = numbers[numbers.count - 1]!
            guard step != 0 else {
                system.writeError("seq: invalid Zero increment value: '0'\n")
                return 1
            }
            let places = words.map { word in word.firstIndex(of: ".").map { word.distance(from: $0, to: word.endIndex) - 1 } ?? 0 }.max() ?? 0
            let count = (last - first) / step
            guard count >= 0 else { return 0 }
            let width = equalWidth ? max(fixed(first, places).count, fixed(last, places).count) : 0
            var out: [String] = []
            for i in 0...Int(min(count + 1e-9, 1_000_000)) { out.append(leftPadded(fixed(first + Double(i) * step, places), width, with: "0")) }
            system.writeOutput(out.joined(separator: separator) + "\n")
            return 0
        }
    }

    static func env(_ name: String, _ arguments: [String], _ userland: Userland) -> any Program {
        guard name == "printenv", !arguments.isEmpty else { return EnvironmentCommand(arguments, userland) }
        return Immediate { system in
            var status: Int32 = 0
            for variable in arguments {
                if let value = system.environment(variable) { system.writeOutput(value + "\n") } else { status = 1 }
            }
            return status
        }
    }

    static func date(_ arguments: [String]) -> any Program {
        Immediate { system in
            let format = arguments.first { $0.hasPrefix("+") }.map { String($0.dropFirst()) }
            let time = CivilTime(system.now)
            if arguments.contains("-Iseconds") || arguments.contains("--iso-8601=seconds") {
                system.writeOutput(time.formatted("%FT%T+00:00\n"))
            } else {
                system.writeOutput((format.map(time.formatted) ?? time.unix) + "\n")
            }
            return 0
        }
    }

    static func hostname(_ arguments: [String]) -> any Program {
        Immediate { system in
            if arguments.contains("-i") || arguments.contains("--ip-address") || arguments.contains("-I") {
                let named = HostsFile.addresses(of: system.hostname, system).filter { !$0.isLoopback }
                let own = system.interfaces().filter { $0.kind != "loopback" && $0.isUp }.flatMap { $0.addresses.map(\.address) }
                let shown = arguments.contains("-I") || named.isEmpty ? own : named
                system.writeOutput(shown.map(\.description).joined(separator: " ") + (arguments.contains("-I") ? " " : "") + "\n")
            } else if arguments.contains("-f") || arguments.contains("--fqdn") {
                let own = HostsFile.entries(system).first { $0.1.contains(system.hostname) }?.1.first
                system.writeOutput((own ?? system.hostname) + "\n")
            } else if arguments.contains("-d") {
                let full = HostsFile.entries(system).first { $0.1.contains(system.hostname) }?.1.first ?? ""
                system.writeOutput((full.firstIndex(of: ".").map { String(full[full.index(after: $0)...]) } ?? "") + "\n")
            } else {
                system.writeOutput(system.hostname + "\n")
            }
            return 0
        }
    }

    static func uname(_ arguments: [String]) -> any Program {
        Immediate { system in
            let letters = arguments.isEmpty ? "s" : arguments.flatMap { $0.dropFirst() }.map(String.init).joined()
            var parts: [String] = []
            let all = letters.contains("a")
            for (letter, value) in [("s", "Linux"), ("n", system.hostname), ("r", "6.18.44"), ("v", "#1 SMP PREEMPT_DYNAMIC"), ("m", "x86_64"), ("o", "GNU/Linux")]
            where all || letters.contains(letter) {
                parts.append(value)
            }
            system.writeOutput(parts.joined(separator: " ") + "\n")
            return 0
        }
    }

    static func which(_ arguments: [String]) -> any Program {
        Immediate { system in
            var status: Int32 = 0
            for name in arguments where !name.hasPrefix("-") {
                if let path = CommandTable.path(of: name) { system.writeOutput(path + "\n") } else { status = 1 }
            }
            return status
        }
    }

    static func ps(_ arguments: [String], _ userland: Userland) -> any Program {
        Immediate { system in
            let full = arguments.contains { $0.contains("f") || $0.contains("u") }
            if userland == .busybox {
                system.writeOutput("PID   USER     TIME  COMMAND\n")
            } else {
                system.writeOutput(full ? "UID          PID    PPID  C STIME TTY          TIME CMD\n" : "    PID TTY          TIME CMD\n")
            }
            for process in system.processes() {
                let command = process.arguments.joined(separator: " ")
                if userland == .busybox {
                    system.writeOutput("\(leftPadded(Int(process.id.rawValue), 5)) root      0:00 \(command)\n")
                } else if full {
                    system.writeOutput(
                        "root     \(leftPadded(Int(process.id.rawValue), 7))       0  0 \(CivilTime(process.startedAt).formatted("%H:%M")) ?        00:00:00 \(command)\n"
                    )
                } else {
                    system.writeOutput("\(leftPadded(Int(process.id.rawValue), 7)) ?        00:00:00 \(process.arguments.first ?? "")\n")
                }
            }
            return 0
        }
    }
}
