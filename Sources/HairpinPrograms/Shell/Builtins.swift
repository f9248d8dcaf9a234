import HairpinEngine

enum BuiltinResult {
    case status(Int32)
    case exit(Int32)
    /// The built-in may wait.
    case frame(ShellFrame)
}

extension Shell {
    static let builtinNames: Set<String> = [
        ":", ".", "source", "[", "break", "cd", "command", "continue", "echo", "eval", "exec", "exit", "export", "false", "hash", "jobs", "kill", "let", "local",
        "printf", "pwd", "read", "readonly", "return", "set", "shift", "test", "times", "trap", "true", "type", "umask", "unset", "wait",
    ]

    func runBuiltin(_ command: PreparedCommand, _ system: any SystemCalls) -> BuiltinResult {
        let words = command.words
        let arguments = Array(words.dropFirst())
        if words[0] != "read" {
            for (name, value) in command.assignments { variables[name] = value }
        }
        switch words[0] {
        case ":", "true", "trap", "umask", "hash", "jobs", "times": return .status(0)
        case "false": return .status(1)
        case "echo":
            emitOutput(Echo.format(arguments, escapes: dialect == .dash), system)
            return .status(0)
        case "printf": return .status(printf(arguments, system))
        case "test", "[": return .status(evaluateTest(words, system))
        case "pwd":
            emitOutput((variables["PWD"] ?? "/") + "\n", system)
            return .status(0)
        case "cd": return .status(changeFolder(arguments.first, system))
        case "export", "readonly", "local": return declare(words[0], arguments, system)
        case "unset":
            for name in arguments where !name.hasPrefix("-") {
                variables[name] = nil
                functions[name] = nil
                exported.remove(name)
            }
            return .status(0)
        case "set": return set(arguments, system)
        case "shift": return shift(arguments, system)
        case "exit", "return": return leave(words, system)
        case "break": return jump(.breakLoop(max(1, arguments.first.flatMap { Int($0) } ?? 1)))
        case "continue": return jump(.continueLoop(max(1, arguments.first.flatMap { Int($0) } ?? 1)))
        case "let": return .status(evaluateLet(arguments, system))
        case "eval": return evaluate(arguments.joined(separator: " "), system)
        case ".", "source": return include(words, system)
        case "exec": return replace(command, system)
        case "command", "type": return find(words, command, system)
        case "kill": return .status(signal(arguments, system))
        case "wait": return .frame(WaitFrame(arguments, self))
        case "read": return .frame(ReadFrame(arguments, current.input))
        default: return .status(0)
        }
    }

    private func jump(_ target: ShellJump) -> BuiltinResult {
        jump = target
        return .status(0)
    }

    private func changeFolder(_ target: String?, _ system: any SystemCalls) -> Int32 {
        let name = target == "-" ? variables["OLDPWD"] ?? "/" : target ?? variables["HOME"] ?? "/root"
        let path = absolutePath(name, in: variables["PWD"] ?? "/")
        guard path == "/" || system.listFolder(path) != nil || ["/root", "/tmp", "/etc", "/var", "/usr", "/app"].contains(path) else {
            complain(dialect == .bash ? "cd: \(name): No such file or directory" : "cd: can't cd to \(name)", system)
            return dialect == .dash ? 2 : 1
        }
        variables["OLDPWD"] = variables["PWD"]
        variables["PWD"] = path
        return 0
    }

    private func declare(_ kind: String, _ arguments: [String], _ system: any SystemCalls) -> BuiltinResult {
        if kind == "export", arguments.isEmpty || arguments == ["-p"] {
            for name in exported.sorted() { emitOutput("export \(name)='\(variables[name] ?? "")'\n", system) }
            return .status(0)
        }
        for argument in arguments where !argument.hasPrefix("-") {
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = String(parts[0])
            guard let first = name.unicodeScalars.first, first == "_" || first.properties.isAlphabetic,
                name.unicodeScalars.allSatisfy({ $0 == "_" || $0.properties.isAlphabetic || ("0"..."9").contains($0) })
            else {
                complain("\(kind): \(name): bad variable name", system)
                return .exit(2)
            }
            if parts.count == 2 { variables[name] = String(parts[1]) }
            if kind == "export" { exported.insert(name) }
        }
        return .status(0)
    }

    private func set(_ arguments: [String], _ system: any SystemCalls) -> BuiltinResult {
        if arguments.isEmpty {
            for name in variables.keys.sorted() { emitOutput("\(name)='\(variables[name] ?? "")'\n", system) }
            return .status(0)
        }
        var rest = arguments[...]
        while let word = rest.first, word.count > 1, word.hasPrefix("-") || word.hasPrefix("+") {
            rest.removeFirst()
            if word == "--" {
                positional = Array(rest)
                return .status(0)
            }
            let names =
                word.dropFirst() == "o" || word.hasSuffix("o")
                ? word.dropFirst().dropLast().map(String.init) + (rest.popFirst().map { [$0] } ?? []) : word.dropFirst().map(String.init)
            for name in names where !setOption(name, on: word.hasPrefix("-")) {
                complain("set: Illegal option -\(name)", system)
                return .exit(2)
            }
        }
        if !rest.isEmpty { positional = Array(rest) }
        return .status(0)
    }

    private func shift(_ arguments: [String], _ system: any SystemCalls) -> BuiltinResult {
        let count = arguments.first.flatMap { Int($0) } ?? 1
        guard count >= 0, count <= positional.count else {
            if dialect == .dash {
                complain("shift: can't shift that many", system)
                return .exit(2)
            }
            return .status(1)
        }
        positional.removeFirst(count)
        return .status(0)
    }

    private func leave(_ words: [String], _ system: any SystemCalls) -> BuiltinResult {
        var status = lastStatus
        if words.count > 1 {
            guard let number = Int32(words[1]) else {
                complain("\(words[0]): Illegal number: \(words[1])", system)
                return .exit(2)
            }
            status = number
        }
        if words[0] == "exit" { return .exit(status) }
        jump = .returnFunction
        return .status(status & 0xff)
    }

    private func evaluateLet(_ arguments: [String], _ system: any SystemCalls) -> Int32 {
        var value: Int64 = 0
        for argument in arguments {
            do throws(ShellArithmetic.Failure) {
                value = try ShellArithmetic.evaluate(argument, value: { self.variables[$0] }, assign: { self.variables[$0] = $1 })
            } catch {
                complain(error.message, system)
                return 2
            }
        }
        return value == 0 ? 1 : 0
    }

    private func evaluate(_ script: String, _ system: any SystemCalls) -> BuiltinResult {
        do throws(ShellSyntaxError) {
            return .frame(NodeFrame(try ShellParser.parse(script)))
        } catch {
            reportSyntax(error, system)
            return .exit(2)
        }
    }

    private func include(_ words: [String], _ system: any SystemCalls) -> BuiltinResult {
        guard words.count > 1, let bytes = system.readFile(absolutePath(words[1], in: variables["PWD"] ?? "/")) else {
            complain("\(words[0]): \(words.count > 1 ? words[1] : ""): not found", system)
            return .exit(2)
        }
        return evaluate(text(bytes), system)
    }

    private func replace(_ command: PreparedCommand, _ system: any SystemCalls) -> BuiltinResult {
        let words = Array(command.words.dropFirst())
        guard let program = program(words, system) else {
            complain("exec: \(words[0]): not found", system)
            return .exit(127)
        }
        let own = system.streams
        let wanted = command.streams.standard(system)
        if own.output == wanted.output, own.error == wanted.error, own.input == wanted.input {
            replacement = program
            return .status(0)
        }
        // The process's own streams cannot be changed from inside: the program runs as a child, and its status is the shell's.
        let child = system.spawn(program, arguments: words, environment: childEnvironment(adding: command.assignments), streams: wanted)
        return .frame(ExecutedFrame(child))
    }

    private func find(_ words: [String], _ command: PreparedCommand, _ system: any SystemCalls) -> BuiltinResult {
        var rest = words.dropFirst()
        let isQuery = words[0] == "type" || rest.first == "-v" || rest.first == "-V"
        if words[0] == "command", isQuery || rest.first == "-p" { rest.removeFirst() }
        if !isQuery {
            guard let name = rest.first else { return .status(0) }
            var inner = command
            inner.words = Array(rest)
            if Shell.builtinNames.contains(name) { return runBuiltin(inner, system) }
            guard let program = program(inner.words, system) else {
                complain("\(name): not found", system)
                return .status(127)
            }
            let child = system.spawn(
                program, arguments: inner.words, environment: childEnvironment(adding: command.assignments), streams: command.streams.standard(system))
            return .frame(ChildFrame(child))
        }
        var status: Int32 = 0
        for name in rest {
            if Shell.builtinNames.contains(name) {
                emitOutput(words[0] == "type" ? "\(name) is a shell builtin\n" : "\(name)\n", system)
            } else if let path = CommandTable.path(of: name) {
                emitOutput(words[0] == "type" ? "\(name) is \(path)\n" : "\(path)\n", system)
            } else {
                if words[0] == "type" { emitOutput("\(name): not found\n", system) }
                status = 127
            }
        }
        return .status(status)
    }

    private func signal(_ arguments: [String], _ system: any SystemCalls) -> Int32 {
        var number: Int32 = 15
        var status: Int32 = 0
        for argument in arguments {
            if argument.hasPrefix("-"), argument.count > 1 {
                guard let parsed = Signals.number(String(argument.dropFirst())) else {
                    complain("kill: Illegal option \(argument)", system)
                    return 2
                }
                number = parsed
                continue
            }
            let id =
                argument.hasPrefix("%")
                ? Int(argument.dropFirst()).flatMap { backgroundJobs.indices.contains($0 - 1) ? backgroundJobs[$0 - 1] : nil } : UInt32(argument).map(ProcessID.init)
            guard let id, system.processes().contains(where: { $0.id == id }) || backgroundJobs.contains(id) else {
                complain("kill: No such process", system)
                status = 1
                continue
            }
            if number != 0 { system.kill(id, signal: number) }
        }
        return status
    }
}

enum Signals {
    static func number(_ name: String) -> Int32? {
        if let number = Int32(name) { return number }
        let bare = name.hasPrefix("SIG") ? String(name.dropFirst(3)) : name
        let known: [(String, Int32)] = [
            ("HUP", 1), ("INT", 2), ("QUIT", 3), ("KILL", 9), ("USR1", 10), ("USR2", 12), ("PIPE", 13), ("TERM", 15), ("CONT", 18), ("STOP", 19),
        ]
        return known.first { $0.0 == bare }?.1
    }
}

/// Waits for a child and takes its status.
final class ChildFrame: ShellFrame {
    private let child: ProcessID
    init(_ child: ProcessID) { self.child = child }
    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        guard let status = system.exitStatus(of: child) else { return .wait(WaitSet(children: [child])) }
        return .done(status)
    }
}

/// The rest of a shell that has `exec`ed.
final class ExecutedFrame: ShellFrame {
    private let child: ProcessID
    init(_ child: ProcessID) { self.child = child }
    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        guard let status = system.exitStatus(of: child) else { return .wait(WaitSet(children: [child])) }
        return .exit(status)
    }
}

/// `wait`, for all background jobs or those named.
final class WaitFrame: ShellFrame {
    private var targets: [ProcessID]
    private let takesStatus: Bool
    init(_ arguments: [String], _ shell: Shell) {
        takesStatus = !arguments.isEmpty
        targets =
            arguments.isEmpty
            ? shell.backgroundJobs
            : arguments.compactMap { argument in
                if argument.hasPrefix("%") {
                    return Int(argument.dropFirst()).flatMap { shell.backgroundJobs.indices.contains($0 - 1) ? shell.backgroundJobs[$0 - 1] : nil }
                }
                return UInt32(argument).map(ProcessID.init).flatMap { shell.backgroundJobs.contains($0) ? $0 : nil }
            }
    }
    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        let running = targets.filter { system.exitStatus(of: $0) == nil }
        if !running.isEmpty { return .wait(WaitSet(children: running)) }
        guard takesStatus else { return .done(0) }
        return .done(targets.last.flatMap { system.exitStatus(of: $0) } ?? 127)
    }
}

/// `read [-r] [-p prompt] names…`.
final class ReadFrame: ShellFrame {
    private let names: [String]
    private let isRaw: Bool
    private let input: ShellInput
    init(_ arguments: [String], _ input: ShellInput) {
        let options = Options(arguments, flags: "rse", values: "ptdn")
        names = options.operands.isEmpty ? ["REPLY"] : options.operands
        isRaw = options.has("r")
        self.input = input
    }
    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        let bytes: [UInt8]
        let status: Int32
        switch input.readLine(system) {
        case .waiting(let set): return .wait(set)
        case .line(let line): (bytes, status) = (line, 0)
        case .end(let rest): (bytes, status) = (rest, 1)
        }
        var rest = Substring(isRaw ? text(bytes) : text(bytes.filter { $0 != UInt8(ascii: "\\") }))
        let separators = shell.variables["IFS"] ?? " \t\n"
        func isSeparator(_ c: Character) -> Bool { separators.contains(c) }
        func isBlank(_ c: Character) -> Bool { isSeparator(c) && c.isWhitespace }
        for (index, name) in names.enumerated() {
            rest = rest.drop(while: isBlank)
            if index == names.count - 1 {
                while let last = rest.last, isBlank(last) { rest.removeLast() }
                shell.variables[name] = String(rest)
            } else {
                shell.variables[name] = String(rest.prefix { !isSeparator($0) })
                rest = rest.drop { !isSeparator($0) }
                if !rest.isEmpty { rest.removeFirst() }
            }
        }
        return .done(status)
    }
}
