import HairpinEngine

/// What a frame wants next.
enum FrameStep {
    case push(ShellFrame)
    case done(Int32)
    case wait(WaitSet)
    case exit(Int32)
}

/// One construct of the language while it runs. After `.push` it is stepped again with the child's status in `shell.lastStatus`.
class ShellFrame {
    /// In a condition, where `set -e` does not apply.
    var ignoresFailure = false
    /// Whether a failure of this frame counts for `set -e`.
    var endsCommand: Bool { false }
    func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep { .done(shell.lastStatus) }
    /// Called when the frame leaves the stack, whichever way.
    func finish(_ shell: Shell) {}
    /// Whether `break`, `continue` or `return` stops here.
    func takes(_ jump: ShellJump, _ shell: Shell) -> Bool { false }
}

/// Turns a node into the frame that runs it.
final class NodeFrame: ShellFrame {
    private let node: ShellNode
    private var isStarted = false
    init(_ node: ShellNode) { self.node = node }

    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        if isStarted { return .done(shell.lastStatus) }
        isStarted = true
        switch node {
        case .simple(let command): return .push(SimpleCommandFrame(command))
        case .pipeline(let nodes, let negated): return .push(nodes.count == 1 ? NegationFrame(nodes[0], negated) : PipelineFrame(nodes, negated))
        case .andOr(let first, let rest): return .push(AndOrFrame(first, rest))
        case .sequence(let nodes): return .push(SequenceFrame(nodes))
        case .background(let node): return .push(BackgroundFrame(node))
        case .subshell(let node): return .push(SubshellFrame(node))
        case .group(let node): return .push(NodeFrame(node))
        case .conditional(let branches, let otherwise): return .push(ConditionalFrame(branches, otherwise))
        case .loop(let condition, let body, let isUntil): return .push(LoopFrame(condition, body, isUntil))
        case .forEach(let variable, let words, let body): return .push(ForFrame(variable, words, body))
        case .choice(let subject, let branches): return .push(ChoiceFrame(subject, branches))
        case .redirected(let node, let redirections): return .push(RedirectionFrame(node, redirections))
        case .timed(let node): return .push(TimedFrame(node))
        case .function(let name, let body):
            shell.functions[name] = body
            return .done(0)
        }
    }
}

final class SequenceFrame: ShellFrame {
    private let nodes: [ShellNode]
    private var next = 0
    init(_ nodes: [ShellNode]) { self.nodes = nodes }
    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        guard next < nodes.count else { return .done(nodes.isEmpty ? 0 : shell.lastStatus) }
        next += 1
        return .push(NodeFrame(nodes[next - 1]))
    }
}

final class AndOrFrame: ShellFrame {
    private let first: ShellNode
    private let rest: [(isAnd: Bool, node: ShellNode)]
    private var next = -1
    init(_ first: ShellNode, _ rest: [(isAnd: Bool, node: ShellNode)]) { (self.first, self.rest) = (first, rest) }
    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        if next == -1 {
            next = 0
            return .push(conditional(first))
        }
        while next < rest.count {
            let (isAnd, node) = rest[next]
            next += 1
            if isAnd == (shell.lastStatus == 0) { return .push(next < rest.count ? conditional(node) : NodeFrame(node)) }
        }
        return .done(shell.lastStatus)
    }
    private func conditional(_ node: ShellNode) -> ShellFrame {
        let frame = NodeFrame(node)
        frame.ignoresFailure = true
        return frame
    }
}

final class NegationFrame: ShellFrame {
    private let node: ShellNode
    private let negated: Bool
    private var isStarted = false
    init(_ node: ShellNode, _ negated: Bool) { (self.node, self.negated) = (node, negated) }
    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        if isStarted { return .done(negated ? (shell.lastStatus == 0 ? 1 : 0) : shell.lastStatus) }
        isStarted = true
        let child = NodeFrame(node)
        child.ignoresFailure = negated
        return .push(child)
    }
}

final class ConditionalFrame: ShellFrame {
    private let branches: [(condition: ShellNode, body: ShellNode)]
    private let otherwise: ShellNode?
    private var next = 0
    private var isInCondition = false, isInBody = false
    init(_ branches: [(condition: ShellNode, body: ShellNode)], _ otherwise: ShellNode?) { (self.branches, self.otherwise) = (branches, otherwise) }
    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        if isInBody { return .done(shell.lastStatus) }
        if isInCondition {
            isInCondition = false
            if shell.lastStatus == 0 {
                isInBody = true
                return .push(NodeFrame(branches[next].body))
            }
            next += 1
        }
        if next < branches.count {
            isInCondition = true
            let frame = NodeFrame(branches[next].condition)
            frame.ignoresFailure = true
            return .push(frame)
        }
        guard let otherwise else { return .done(0) }
        isInBody = true
        return .push(NodeFrame(otherwise))
    }
}

/// The part common to all loops: leaving them, and never turning without time passing.
class TurningFrame: ShellFrame {
    var isBroken = false
    override func takes(_ jump: ShellJump, _ shell: Shell) -> Bool {
        switch jump {
        case .breakLoop(let levels):
            shell.jump = levels > 1 ? .breakLoop(levels - 1) : nil
            isBroken = true
            shell.lastStatus = 0
            return levels <= 1
        case .continueLoop(let levels):
            shell.jump = levels > 1 ? .continueLoop(levels - 1) : nil
            if levels > 1 { isBroken = true }
            return levels <= 1
        case .returnFunction: return false
        }
    }
    /// Gives up the processor if the body did not: a busy loop must not stop virtual time.
    func yield(_ shell: Shell, _ system: any SystemCalls) -> FrameStep? {
        if shell.hasBlocked {
            shell.hasBlocked = false
            return nil
        }
        system.compute(ProcessorTime.loopTurn)
        return .wait(WaitSet(deadline: system.now))
    }
}

final class LoopFrame: TurningFrame {
    private let condition: ShellNode, body: ShellNode
    private let isUntil: Bool
    private enum Phase { case turn, condition, body }
    private var phase = Phase.turn
    private var status: Int32 = 0
    private var turns = 0
    init(_ condition: ShellNode, _ body: ShellNode, _ isUntil: Bool) { (self.condition, self.body, self.isUntil) = (condition, body, isUntil) }
    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        if isBroken { return .done(0) }
        switch phase {
        case .body:
            status = shell.lastStatus
            phase = .turn
            return step(shell, system)
        case .turn:
            if turns > 0, let pause = yield(shell, system) { return pause }
            turns += 1
            shell.hasBlocked = false
            phase = .condition
            let frame = NodeFrame(condition)
            frame.ignoresFailure = true
            return .push(frame)
        case .condition:
            if (shell.lastStatus == 0) == isUntil { return .done(status) }
            phase = .body
            return .push(NodeFrame(body))
        }
    }
    override func takes(_ jump: ShellJump, _ shell: Shell) -> Bool {
        phase = .turn
        return super.takes(jump, shell)
    }
}

final class ForFrame: TurningFrame {
    private let variable: String
    private let words: [Word]?
    private let body: ShellNode
    private var substitutions: Substitutions?
    private var values: [String]?
    private var next = 0
    init(_ variable: String, _ words: [Word]?, _ body: ShellNode) { (self.variable, self.words, self.body) = (variable, words, body) }

    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        if isBroken { return .done(0) }
        if values == nil {
            if let words {
                if substitutions == nil { substitutions = Substitutions(words) }
                if let set = substitutions!.advance(shell, system) { return .wait(set) }
                let expander = Expander(shell: shell, system: system, substitutions: substitutions!)
                var list: [String] = []
                do throws(ExpansionError) {
                    for word in words { list += try expander.fields(word) }
                } catch {
                    shell.complain(error.message, system)
                    return .exit(2)
                }
                values = list
            } else {
                values = shell.positional
            }
        }
        guard let values, next < values.count else { return .done(next == 0 ? 0 : shell.lastStatus) }
        if next > 0, let pause = yield(shell, system) { return pause }
        shell.hasBlocked = false
        shell.variables[variable] = values[next]
        next += 1
        return .push(NodeFrame(body))
    }
}

final class ChoiceFrame: ShellFrame {
    private let subject: Word
    private let branches: [(patterns: [Word], body: ShellNode)]
    private var substitutions: Substitutions?
    private var isInBody = false
    init(_ subject: Word, _ branches: [(patterns: [Word], body: ShellNode)]) { (self.subject, self.branches) = (subject, branches) }
    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        if isInBody { return .done(shell.lastStatus) }
        if substitutions == nil { substitutions = Substitutions([subject] + branches.flatMap(\.patterns)) }
        if let set = substitutions!.advance(shell, system) { return .wait(set) }
        let expander = Expander(shell: shell, system: system, substitutions: substitutions!)
        do throws(ExpansionError) {
            let value = try expander.single(subject.parts)
            for branch in branches {
                for pattern in branch.patterns where Pattern.matches(try expander.single(pattern.parts), value) {
                    isInBody = true
                    return .push(NodeFrame(branch.body))
                }
            }
        } catch {
            shell.complain(error.message, system)
            return .exit(2)
        }
        return .done(0)
    }
}

final class RedirectionFrame: ShellFrame {
    private let node: ShellNode
    private let redirections: [Redirection]
    private let substitutions: Substitutions
    private var saved: ShellStreams?
    init(_ node: ShellNode, _ redirections: [Redirection]) {
        self.node = node
        self.redirections = redirections
        substitutions = Substitutions(redirections.map(\.target))
    }
    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        if saved != nil { return .done(shell.lastStatus) }
        if let set = substitutions.advance(shell, system) { return .wait(set) }
        do throws(ExpansionError) {
            let new = try shell.redirect(redirections, Expander(shell: shell, system: system, substitutions: substitutions), system)
            saved = shell.current
            shell.current = new
            return .push(NodeFrame(node))
        } catch {
            shell.complain(error.message, system)
            return .done(2)
        }
    }
    override func finish(_ shell: Shell) { if let saved { shell.current = saved } }
}

final class TimedFrame: ShellFrame {
    private let node: ShellNode
    private var start: Instant?
    init(_ node: ShellNode) { self.node = node }
    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        guard let start else {
            self.start = system.now
            return .push(NodeFrame(node))
        }
        shell.emitError(elapsedReport(system.now - start, userland: shell.userland), system)
        return .done(shell.lastStatus)
    }
}

/// What `time` prints; all of it is "real", for programs here only wait.
func elapsedReport(_ elapsed: Duration, userland: Userland) -> String {
    let milliseconds = UInt64(elapsed.nanoseconds / 1_000_000)
    let minutes = milliseconds / 60000
    let rest = milliseconds % 60000
    if userland == .busybox { return "real\t\(minutes)m \(fixedPoint(rest / 10, 2))s\nuser\t0m 0.00s\nsys\t0m 0.00s\n" }
    return "\nreal\t\(minutes)m\(fixedPoint(rest, 3))s\nuser\t0m0.000s\nsys\t0m0.000s\n"
}

/// A function's body with its own positional parameters.
final class FunctionFrame: ShellFrame {
    private let body: ShellNode
    private let arguments: [String]
    private let restore: ShellStreams
    private var saved: [String]?
    init(_ body: ShellNode, _ arguments: [String], restoring streams: ShellStreams) {
        (self.body, self.arguments, restore) = (body, arguments, streams)
    }
    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        if saved != nil { return .done(shell.lastStatus) }
        saved = shell.positional
        shell.positional = arguments
        return .push(NodeFrame(body))
    }
    override func finish(_ shell: Shell) {
        if let saved { shell.positional = saved }
        shell.current = restore
    }
    override func takes(_ jump: ShellJump, _ shell: Shell) -> Bool {
        guard case .returnFunction = jump else { return false }
        shell.jump = nil
        return true
    }
}

/// Commands on standard input (`echo … | sh`): read to the end, then run.
final class InputScriptFrame: ShellFrame {
    private var bytes: [UInt8] = []
    private var isStarted = false
    override func step(_ shell: Shell, _ system: any SystemCalls) -> FrameStep {
        if isStarted { return .done(shell.lastStatus) }
        if case .waiting(let set) = drainInput(system, into: &bytes) { return .wait(set) }
        isStarted = true
        do throws(ShellSyntaxError) {
            return .push(NodeFrame(try ShellParser.parse(text(bytes))))
        } catch {
            shell.reportSyntax(error, system)
            return .exit(2)
        }
    }
}
