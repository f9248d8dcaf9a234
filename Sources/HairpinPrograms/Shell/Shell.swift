import HairpinEngine

/// `sh`: runs a script as an explicit stack of frames, so that it can stop wherever a command would block and go on later.
///
/// A frame (`ShellFrame`) is one construct being executed. Every command that is not built in becomes a child process; pipelines, subshells
/// and substitutions become children running `Shell` on a part of the tree.
public final class Shell: Program {
    /// Which shell's words are used for errors.
    enum Dialect { case dash, bash, busybox }

    var variables: [String: String] = [:]
    var exported: Set<String> = []
    var functions: [String: ShellNode] = [:]
    var positional: [String] = []
    var name: String
    let dialect: Dialect
    let userland: Userland

    var lastStatus: Int32 = 0
    /// Of the latest command substitution: the status of a command that is only assignments.
    var substitutionStatus: Int32 = 0
    var backgroundJobs: [ProcessID] = []
    var lastBackground: ProcessID?
    var exitsOnError = false, failsOnUnset = false, isTracing = false
    var current = ShellStreams()
    var jump: ShellJump?
    /// `exec`: the program that took this process over.
    var replacement: (any Program)?
    var hasBlocked = false
    var line = 1

    private var frames: [ShellFrame] = []
    private var isStarted = false
    private let arguments: [String]
    private var initialNode: ShellNode?

    /// A shell started as a command; `arguments` are those behind its name.
    public init(name: String = "sh", arguments: [String], userland: Userland = .gnu) {
        self.name = name
        self.arguments = arguments
        self.userland = userland
        dialect = name.hasSuffix("bash") ? .bash : userland == .busybox ? .busybox : .dash
    }

    /// A subshell: a copy of the parent's state with a part of its tree to run.
    init(_ node: ShellNode, of parent: Shell) {
        (name, dialect, userland, arguments) = (parent.name, parent.dialect, parent.userland, [])
        (variables, exported, functions, positional) = (parent.variables, parent.exported, parent.functions, parent.positional)
        (lastStatus, lastBackground) = (parent.lastStatus, parent.lastBackground)
        (exitsOnError, failsOnUnset, isTracing) = (parent.exitsOnError, parent.failsOnUnset, parent.isTracing)
        initialNode = node
    }

    /// A shell without traps, and traps are not modelled.
    public func terminate() -> TerminationAnswer { .ignores }

    public func resume(_ system: any SystemCalls) -> Suspension {
        if !isStarted {
            isStarted = true
            if let status = start(system) { return .exit(status) }
        }
        hasBlocked = true
        while true {
            if let replacement { return replacement.resume(system) }
            guard let frame = frames.last else { return .exit(lastStatus & 0xff) }
            switch frame.step(self, system) {
            case .push(let child):
                child.ignoresFailure = child.ignoresFailure || frame.ignoresFailure
                frames.append(child)
                if frames.count > 5000 {
                    system.writeError("\(name): Maximum function recursion depth (1000) reached\n")
                    return .exit(2)
                }
            case .done(let status):
                lastStatus = status
                pop()
                if status != 0, exitsOnError, frame.endsCommand, !frame.ignoresFailure { return .exit(status & 0xff) }
                if jump != nil { unwind() }
            case .wait(let set):
                hasBlocked = true
                return .wait(set)
            case .exit(let status):
                return .exit(status & 0xff)
            }
        }
    }

    private func pop() { frames.removeLast().finish(self) }

    /// `break`, `continue` and `return` leave frames until one takes them.
    private func unwind() {
        while let frame = frames.last, let pending = jump {
            if frame.takes(pending, self) { return }
            pop()
        }
        jump = nil
    }

    // MARK: Start

    private func start(_ system: any SystemCalls) -> Int32? {
        let streams = system.streams
        current = ShellStreams(input: ShellInput(.own), output: streams.output, error: streams.error)
        if let node = initialNode {
            frames = [NodeFrame(node)]
            return nil
        }
        for (name, value) in system.environmentVariables {  // order does not matter: it fills a table
            variables[name] = value
            exported.insert(name)
        }
        if variables["PWD"] == nil { variables["PWD"] = "/" }
        if dialect == .bash, variables["HOSTNAME"] == nil { variables["HOSTNAME"] = system.hostname }
        var rest = arguments[...]
        var script: String?
        var readsCommand = false
        while let word = rest.first, word.hasPrefix("-") || word.hasPrefix("+"), word.count > 1 {
            rest.removeFirst()
            if word == "--" { break }
            if word == "-o" || word == "+o" {
                if let option = rest.popFirst() { setOption(option, on: word == "-o") }
                continue
            }
            if word.hasPrefix("--") { continue }
            for letter in word.dropFirst() {
                switch letter {
                case "c": readsCommand = true
                case "e", "u", "x": setOption(String(letter), on: word.hasPrefix("-"))
                case "i", "l", "s", "o": break
                default:
                    system.writeError("\(name): 0: Illegal option -\(letter)\n")
                    return 2
                }
            }
        }
        if readsCommand {
            guard let command = rest.popFirst() else {
                system.writeError("\(name): 0: -c requires an argument\n")
                return 2
            }
            script = command
            if let zero = rest.popFirst() { name = zero }
        } else if let file = rest.popFirst() {
            guard let bytes = system.readFile(absolutePath(file, in: variables["PWD"] ?? "/")) else {
                system.writeError("\(name): 0: cannot open \(file): No such file\n")
                return 2
            }
            name = file
            script = text(bytes)
        }
        positional = Array(rest)
        guard let script else {
            // No script: commands come from standard input, which must end first.
            frames = [InputScriptFrame()]
            return nil
        }
        return begin(script, system)
    }

    /// Parses a script and makes it the next thing to run; the status to exit with if it does not parse.
    func begin(_ script: String, _ system: any SystemCalls) -> Int32? {
        do throws(ShellSyntaxError) {
            frames.append(NodeFrame(try ShellParser.parse(script)))
            return nil
        } catch {
            reportSyntax(error, system)
            return 2
        }
    }

    func reportSyntax(_ error: ShellSyntaxError, _ system: any SystemCalls) {
        switch dialect {
        case .dash: emitError("\(name): \(error.line): Syntax error: \(error.message)\n", system)
        case .busybox: emitError("\(name): syntax error: \(error.message)\n", system)
        case .bash: emitError("\(name): -c: line \(error.line): syntax error: \(error.message)\n", system)
        }
    }

    @discardableResult
    func setOption(_ option: String, on: Bool) -> Bool {
        switch option {
        case "e", "errexit": exitsOnError = on
        case "u", "nounset": failsOnUnset = on
        case "x", "xtrace": isTracing = on
        case "f", "m", "b", "v", "h", "pipefail", "noglob", "allexport", "a": break
        default: return false
        }
        return true
    }

    // MARK: Output

    /// "sh: 1: foo: not found", or the same in the words of bash and busybox.
    func complain(_ message: String, _ system: any SystemCalls) {
        switch dialect {
        case .dash: emitError("\(name): \(line): \(message)\n", system)
        case .bash: emitError("\(name): line \(line): \(message)\n", system)
        case .busybox: emitError("\(name): \(message)\n", system)
        }
    }
    func emitOutput(_ text: String, _ system: any SystemCalls) { emit(text, to: current.output, system) }
    func emitError(_ text: String, _ system: any SystemCalls) { emit(text, to: current.error, system) }

    private func emit(_ text: String, to stream: Stream, _ system: any SystemCalls) {
        if text.isEmpty { return }
        let own = system.streams
        switch stream {
        case own.output: system.writeOutput(text)
        case own.error: system.writeError(text)
        case .file(let path, _): _ = system.writeFile(path, Array(text.utf8), append: true)
        default: break
        }
    }

    // MARK: Children

    /// The environment children get: exported variables and those given for this command alone.
    func childEnvironment(adding assignments: [(name: String, value: String)] = []) -> [String: String] {
        var result: [String: String] = [:]
        for name in exported where variables[name] != nil { result[name] = variables[name] }
        result["PWD"] = variables["PWD"]
        for (name, value) in assignments { result[name] = value }
        return result
    }

    func spawnSubshell(_ node: ShellNode, streams: StandardStreams, _ system: any SystemCalls) -> ProcessID {
        system.compute(ProcessorTime.fork)
        return system.spawn(Shell(node, of: self), arguments: [name], environment: childEnvironment(), streams: streams)
    }

    /// The program a word names: from the table of commands, or a script in the container's files.
    func program(_ words: [String], _ system: any SystemCalls) -> (any Program)? {
        let rest = Array(words.dropFirst())
        if let program = CommandTable.program(named: words[0], arguments: rest, userland: userland) { return program }
        guard words[0].contains("/"), let bytes = system.readFile(absolutePath(words[0], in: variables["PWD"] ?? "/")) else { return nil }
        guard text(bytes.prefix(2)) == "#!" || !bytes.contains(0) else { return nil }
        return Shell(name: "sh", arguments: [words[0]] + rest, userland: userland)
    }
}

/// `break n`, `continue n` and `return`, on their way to the frame that takes them.
enum ShellJump {
    case breakLoop(Int)
    case continueLoop(Int)
    case returnFunction
}

/// Where the shell's standard streams lead at the moment: its own, or what a redirection made of them.
struct ShellStreams {
    var input = ShellInput(.own)
    var output = Stream.terminal
    var error = Stream.terminalError

    func standard(_ system: any SystemCalls) -> StandardStreams {
        var result = StandardStreams()
        switch input.source {
        case .own: result.input = system.streams.input
        case .file(let path): result.input = .file(path, append: false)
        case .null: result.input = .null
        }
        result.output = output
        result.error = error
        return result
    }
}

/// Standard input, with the position in a file that a loop of `read`s has reached.
final class ShellInput {
    enum Source {
        case own, null
        case file(String)
    }
    let source: Source
    private var offset = 0
    private var partial: [UInt8] = []
    init(_ source: Source) { self.source = source }

    enum Line {
        case line([UInt8])
        case end([UInt8])
        case waiting(WaitSet)
    }

    /// One line without its newline; `.end` with what stood behind the last newline.
    func readLine(_ system: any SystemCalls) -> Line {
        switch source {
        case .null: return .end([])
        case .file(let path):
            let content = system.readFile(path, from: offset) ?? []
            let line = content.prefix { $0 != UInt8(ascii: "\n") }
            offset += min(content.count, line.count + 1)
            return line.count < content.count ? .line(Array(line)) : .end(Array(line))
        case .own:
            // A byte at a time, as shells do: what follows the line belongs to other commands.
            while true {
                guard let next = system.readInput(1) else { return .waiting(inputWait(system)) }
                guard let byte = next.first else { return takeEnd() }
                if byte == UInt8(ascii: "\n") {
                    defer { partial = [] }
                    return .line(partial)
                }
                partial.append(byte)
            }
        }
    }

    private func takeEnd() -> Line {
        defer { partial = [] }
        return .end(partial)
    }
}
