import HairpinEngine

/// A simple command: substitutions, expansion, redirection, then a built-in, a function or a child process.
final class SimpleCommandFrame: ShellFrame {
    private let command: SimpleCommand
    private let substitutions: Substitutions
    private var child: ProcessID?
    private var called: ShellFrame?
    override var endsCommand: Bool { true }

    init(_ command: SimpleCommand) {
        self.command = command
        substitutions = Substitutions(command.words + command.assignments.map(\.value) + command.redirections.map(\.target))
    }

    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        if let child {
            guard let status = system.exitStatus(of: child) else { return .wait(WaitSet(children: [child])) }
            return .done(status)
        }
        if called != nil { return .done(shell.lastStatus) }
        if let set = substitutions.advance(shell, system) { return .wait(set) }
        shell.line = command.line
        let prepared: PreparedCommand
        do throws(ExpansionError) {
            prepared = try shell.prepare(command, substitutions, system)
        } catch {
            shell.complain(error.message, system)
            // An expansion error ends a shell that is not interactive; a redirection that fails only ends the command.
            return error.isFatal ? .exit(2) : .done(shell.dialect == .bash ? 1 : 2)
        }
        return run(prepared, shell, system)
    }

    private func run(_ prepared: PreparedCommand, _ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        guard let name = prepared.words.first else {
            for (name, value) in prepared.assignments { shell.variables[name] = value }
            return .done(substitutions.isEmpty ? 0 : shell.substitutionStatus)
        }
        if shell.isTracing { shell.emitError("+ \((prepared.assignments.map { "\($0.name)=\($0.value)" } + prepared.words).joined(separator: " "))\n", system) }
        if let body = shell.functions[name] {
            for (name, value) in prepared.assignments { shell.variables[name] = value }
            let frame = FunctionFrame(body, Array(prepared.words.dropFirst()), restoring: shell.current)
            shell.current = prepared.streams
            called = frame
            return .push(frame)
        }
        if Shell.builtinNames.contains(name) {
            let saved = shell.current
            shell.current = prepared.streams
            if name != "exec" || prepared.words.count > 1 {
                defer { shell.current = saved }
                return builtin(prepared, shell, system)
            }
            return .done(0)  // `exec > file`: the redirection stays
        }
        guard let program = shell.program(prepared.words, system) else {
            let saved = shell.current
            shell.current = prepared.streams
            defer { shell.current = saved }
            shell.complain(
                shell.dialect == .bash && !name.contains("/")
                    ? "\(name): command not found" : shell.dialect == .bash ? "\(name): No such file or directory" : "\(name): not found", system)
            return .done(127)
        }
        let id = system.spawn(
            program, arguments: prepared.words, environment: shell.childEnvironment(adding: prepared.assignments), streams: prepared.streams.standard(system))
        child = id
        return .wait(WaitSet(children: [id]))
    }

    private func builtin(_ prepared: PreparedCommand, _ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        system.compute(ProcessorTime.builtin)
        switch shell.runBuiltin(prepared, system) {
        case .status(let status): return .done(status)
        case .exit(let status): return .exit(status)
        case .frame(let frame):
            called = frame
            return .push(frame)
        }
    }
}

/// A simple command after expansion.
struct PreparedCommand {
    var words: [String]
    var assignments: [(name: String, value: String)]
    var streams: ShellStreams
}

extension ExpansionError {
    /// Failures of redirection are prefixed by what could not be done; everything else ends the shell.
    var isFatal: Bool { !message.hasPrefix("cannot ") && !message.hasSuffix(": Bad file descriptor") && !message.hasSuffix("No such file or directory") }
}

extension Shell {
    func prepare(_ command: SimpleCommand, _ substitutions: Substitutions, _ system: any SystemCalls) throws(ExpansionError) -> PreparedCommand {
        let expander = Expander(shell: self, system: system, substitutions: substitutions)
        var words: [String] = []
        for word in command.words { words += try expander.fields(word) }
        var assignments: [(name: String, value: String)] = []
        for (name, value) in command.assignments {
            let text = try expander.single(value.parts)
            assignments.append((name, text))
            if command.words.isEmpty { variables[name] = text }  // later assignments may use it
        }
        return PreparedCommand(words: words, assignments: assignments, streams: try redirect(command.redirections, expander, system))
    }

    /// The streams after redirections, which are made from left to right.
    func redirect(_ redirections: [Redirection], _ expander: Expander, _ system: any SystemCalls) throws(ExpansionError) -> ShellStreams {
        var streams = current
        for redirection in redirections {
            let target = try expander.single(redirection.target.parts)
            let path = absolutePath(target, in: variables["PWD"] ?? "/")
            switch redirection.kind {
            case .read:
                if path == "/dev/null" {
                    streams.input = ShellInput(.null)
                } else if system.readFile(path, from: 0) != nil {
                    streams.input = ShellInput(.file(path))
                } else {
                    throw ExpansionError(
                        message: dialect == .dash
                            ? "cannot open \(target): No such file" : dialect == .bash ? "\(target): No such file or directory" : "can't open \(target): no such file")
                }
            case .write, .append, .both, .appendBoth:
                let appends = redirection.kind == .append || redirection.kind == .appendBoth
                let stream: Stream
                switch path {
                case "/dev/null": stream = .null
                case "/dev/stdout", "/proc/self/fd/1", "/proc/1/fd/1": stream = current.output
                case "/dev/stderr", "/proc/self/fd/2", "/proc/1/fd/2": stream = current.error
                default:
                    guard system.writeFile(path, [], append: appends) else {
                        throw ExpansionError(
                            message: dialect == .dash
                                ? "cannot create \(target): Directory nonexistent"
                                : dialect == .bash ? "\(target): No such file or directory" : "can't create \(target): nonexistent directory")
                    }
                    stream = .file(path, append: true)
                }
                if redirection.kind == .both || redirection.kind == .appendBoth {
                    streams.output = stream
                    streams.error = stream
                } else if redirection.descriptor == 2 {
                    streams.error = stream
                } else {
                    streams.output = stream
                }
            case .duplicate:
                switch (redirection.descriptor, target) {
                case (2, "1"): streams.error = streams.output
                case (1, "2"): streams.output = streams.error
                case (1, "-"): streams.output = .null
                case (2, "-"): streams.error = .null
                case (0, "-"): streams.input = ShellInput(.null)
                case (1, "1"), (2, "2"), (0, "0"): break
                default: throw ExpansionError(message: "\(target): Bad file descriptor")
                }
            }
        }
        return streams
    }
}

/// `a | b | c`: every command a child process, joined by pipes; the status is that of the last.
final class PipelineFrame: ShellFrame {
    private let nodes: [ShellNode]
    private let negated: Bool
    private var children: [ProcessID] = []
    private var pipes: [PipeID] = []
    private var launch: LaunchFrame?
    private var isStarted = false
    override var endsCommand: Bool { !negated }
    init(_ nodes: [ShellNode], _ negated: Bool) { (self.nodes, self.negated) = (nodes, negated) }

    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        if let finished = launch {
            children.append(finished.child!)
            launch = nil
        }
        if children.count < nodes.count {
            let index = children.count
            var streams = shell.current.standard(system)
            if index > 0 { streams.input = .pipe(pipes[index - 1]) }
            if index < nodes.count - 1 {
                pipes.append(system.makePipe())
                streams.output = .pipe(pipes[index])
            }
            let frame = LaunchFrame(nodes[index], streams)
            launch = frame
            return .push(frame)
        }
        if !isStarted {
            isStarted = true
            for pipe in pipes { system.closePipe(pipe) }
        }
        let running = children.filter { system.exitStatus(of: $0) == nil }
        if !running.isEmpty { return .wait(WaitSet(children: running)) }
        let status = system.exitStatus(of: children[children.count - 1]) ?? 0
        return .done(negated ? (status == 0 ? 1 : 0) : status)
    }
}

/// Starts a node as a child process with given streams and does not wait for it. A plain command becomes the child itself, so that signals
/// reach it; anything else runs in a subshell.
final class LaunchFrame: ShellFrame {
    private let node: ShellNode
    private let streams: StandardStreams
    private let substitutions: Substitutions?
    private(set) var child: ProcessID?

    init(_ node: ShellNode, _ streams: StandardStreams) {
        self.node = node
        self.streams = streams
        if case .simple(let command) = node, command.redirections.isEmpty, !command.words.isEmpty {
            substitutions = Substitutions(command.words + command.assignments.map(\.value))
        } else {
            substitutions = nil
        }
    }

    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        if let substitutions, case .simple(let command) = node {
            if let set = substitutions.advance(shell, system) { return .wait(set) }
            shell.line = command.line
            if let prepared = try? shell.prepare(command, substitutions, system), let name = prepared.words.first,
                shell.functions[name] == nil, !Shell.builtinNames.contains(name), let program = shell.program(prepared.words, system)
            {
                child = system.spawn(program, arguments: prepared.words, environment: shell.childEnvironment(adding: prepared.assignments), streams: streams)
                return .done(0)
            }
        }
        child = shell.spawnSubshell(node, streams: streams, system)
        return .done(0)
    }
}

final class SubshellFrame: ShellFrame {
    private let node: ShellNode
    private var child: ProcessID?
    override var endsCommand: Bool { true }
    init(_ node: ShellNode) { self.node = node }
    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        if child == nil { child = shell.spawnSubshell(node, streams: shell.current.standard(system), system) }
        guard let status = system.exitStatus(of: child!) else { return .wait(WaitSet(children: [child!])) }
        return .done(status)
    }
}

final class BackgroundFrame: ShellFrame {
    private let node: ShellNode
    private var launch: LaunchFrame?
    init(_ node: ShellNode) { self.node = node }
    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        if let launch {
            shell.backgroundJobs.append(launch.child!)
            shell.lastBackground = launch.child
            return .done(0)
        }
        var streams = shell.current.standard(system)
        streams.input = .null
        let frame = LaunchFrame(node, streams)
        launch = frame
        return .push(frame)
    }
}
