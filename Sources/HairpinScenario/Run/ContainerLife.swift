import HairpinCluster
import HairpinEngine
import HairpinHost
import HairpinPrograms

/// What the kubelet knows of one container: its process, its restarts, whether it is ready.
final class ContainerLife {
    enum State: Equatable {
        /// Not started yet, or waiting to be started again: "ContainerCreating", "PodInitializing", "CrashLoopBackOff".
        case waiting(String)
        case running(since: Instant)
        case terminated(exit: Int32, at: Instant)
    }

    let container: Container
    let isInit: Bool
    private(set) var state = State.waiting("ContainerCreating")
    private(set) var restarts = 0
    private(set) var identifier: ContainerID?
    /// Whose tools its image carries.
    private(set) var userland = Userland.gnu
    private(set) var startedAt: Instant?
    private(set) var lastExit: (status: Int32, at: Instant)?
    private var handle: ProcessHandle?
    /// When a container that ended is started again.
    private(set) var restartDue: Instant?
    private var backOff = Duration.zero
    private var readiness: ProbeLife?
    private var liveness: ProbeLife?
    private var startup: ProbeLife?

    /// The kubelet's `MaxContainerBackOff` and the running time after which it forgets earlier crashes.
    private static let firstBackOff = Duration.seconds(10), longestBackOff = Duration.seconds(300), forgetting = Duration.seconds(600)

    init(_ container: Container, isInit: Bool) {
        self.container = container
        self.isInit = isInit
        if isInit { state = .waiting("PodInitializing") }
    }

    /// When its process ended, even if nobody has looked since.
    var exitTime: Instant? { handle?.endedAt }
    var isRunning: Bool { if case .running = state { true } else { false } }
    var isTerminated: Bool { if case .terminated = state { true } else { false } }
    var hasSucceeded: Bool { if case .terminated(0, _) = state { true } else { false } }
    /// Running, and the readiness probe (if any) passes.
    var isReady: Bool { isRunning && startup?.isPassing ?? true && readiness?.isPassing ?? true }
    /// The container's log so far.
    var log: String { handle.map { String(decoding: $0.output + $0.errorOutput, as: UTF8.self) } ?? "" }

    func wait(_ reason: String) { if case .waiting = state { state = .waiting(reason) } }

    func started(_ handle: ProcessHandle, userland: Userland, in identifier: ContainerID, at now: Instant, port: (PortReference) -> UInt16?) {
        self.handle = handle
        self.userland = userland
        self.identifier = identifier
        restartDue = nil
        startedAt = now
        state = .running(since: now)
        func life(_ probe: Probe?, passing: Bool) -> ProbeLife? { probe.map { ProbeLife($0, startedAt: now, isPassing: passing, port: port) } }
        readiness = life(container.readinessProbe, passing: false)
        liveness = life(container.livenessProbe, passing: true)
        startup = life(container.startupProbe, passing: false)
    }

    /// Notices that the process has ended. True when something changed.
    func noticeExit(restart policy: PodTemplate.RestartPolicy) -> Bool {
        guard case .running(let since) = state, let handle, let status = handle.exitStatus else { return false }
        let ended = handle.endedAt ?? since
        state = .terminated(exit: status, at: ended)
        lastExit = (status, ended)
        let restarts =
            switch policy {
            case .always: !isInit || container.isSidecar || status != 0
            case .onFailure: status != 0 || container.isSidecar
            case .never: container.isSidecar
            }
        if restarts {
            // The first restart is immediate; then 10 s, 20 s, 40 s … up to five minutes.
            if ended - since > ContainerLife.forgetting { backOff = .zero }
            restartDue = ended + backOff
            if !backOff.isZero { state = .waiting("CrashLoopBackOff") }
            backOff = backOff.isZero ? ContainerLife.firstBackOff : min(backOff * 2, ContainerLife.longestBackOff)
        }
        return true
    }

    func countRestart() { restarts += 1 }

    // MARK: The end

    private var hook: ProcessHandle?
    private var hookBegan = false
    private var hookDue: Instant?
    private var isAsked = false
    private var killDue: Instant?
    /// What the kubelet grants a container whose hook has used up the grace period (`minimumGracePeriodInSeconds`).
    private static let leastGrace = Duration.seconds(2)
    private static let hookPatience = Duration.milliseconds(1)
    private(set) var nextEnd: Instant?

    /// preStop, then the signal, then SIGKILL at `deadline` (`killContainer` of the kubelet's runtime manager).
    func windDown(at now: Instant, from deletion: Instant, deadline: Instant, run: ([String]) -> ProcessHandle?) {
        if !hookBegan {
            hookBegan = true
            killDue = deadline
            switch container.preStop {
            case .sleep(let seconds): hookDue = deletion + .seconds(Int64(seconds))
            case .exec(let words): hook = run(words)
            case nil: break
            }
        }
        if !isAsked {
            let isHookDone = hookDue.map { now >= $0 } ?? (hook.map { $0.exitStatus != nil } ?? true)
            if isHookDone || now >= deadline {
                isAsked = true
                if !isHookDone { killDue = now + ContainerLife.leastGrace }
                handle?.askToEnd()
            }
        }
        if let due = killDue, now >= due { handle?.kill(signal: 9) }
        nextEnd = isAsked ? killDue : hook != nil ? min(now + ContainerLife.hookPatience, deadline) : min(hookDue ?? deadline, deadline)
    }

    // MARK: Probes

    /// When something about the probes is due next.
    var nextProbe: Instant? { isRunning ? probes.map(\.due).min() : nil }
    private var probes: [ProbeLife] {
        // Until the start-up probe has passed, the others wait.
        if let startup, !startup.isPassing { return [startup] }
        return [readiness, liveness].compactMap { $0 }
    }

    /// Runs due probes and reads the answers of those that run. True when readiness changed.
    func probe(now: Instant, _ prober: Prober) -> Bool {
        guard isRunning else { return false }
        let before = isReady
        for probe in probes { probe.step(now: now, prober) }
        // The kubelet ends a container that fails its liveness probe, and its restart policy does the rest.
        if liveness.map({ !$0.isPassing }) ?? false || startup?.hasGivenUp ?? false { handle?.kill(signal: 9) }
        return isReady != before
    }
}

/// How a probe looks at its container. Ports are looked up in the pod's own list of listening sockets, without frames: a real kubelet connects
/// from the node, and would fill every capture with connections nobody asked for.
struct Prober {
    var isListening: (UInt16) -> Bool
    var spawn: ([String]) -> ProcessHandle?
}

/// One probe of a container.
final class ProbeLife {
    private let probe: Probe
    private let port: UInt16?
    private(set) var isPassing: Bool
    /// It has failed too often in a row.
    private(set) var hasGivenUp = false
    private(set) var due: Instant
    private var nextStart: Instant
    private var running: (handle: ProcessHandle, deadline: Instant)?
    private var successes = 0
    private var failures = 0
    /// How soon the answer of a command is looked for.
    private static let patience = Duration.milliseconds(1)

    init(_ probe: Probe, startedAt: Instant, isPassing: Bool, port: (PortReference) -> UInt16?) {
        self.probe = probe
        self.isPassing = isPassing
        self.port =
            switch probe.action {
            case .tcpSocket(let reference), .httpGet(_, let reference), .grpc(let reference): port(reference)
            case .exec: nil
            }
        nextStart = startedAt + .seconds(Int64(probe.initialDelaySeconds)) + ScenarioTiming.firstProbe
        due = nextStart
    }

    func step(now: Instant, _ prober: Prober) {
        if let (handle, deadline) = running {
            if let status = handle.exitStatus {
                running = nil
                count(success: status == 0)
            } else if now >= deadline {
                handle.kill(signal: 9)
                running = nil
                count(success: false)
            }
        }
        if running == nil, now >= nextStart {
            nextStart = nextStart + .seconds(Int64(max(probe.periodSeconds, 1)))
            switch probe.action {
            case .exec(let words):
                if let handle = prober.spawn(words) {
                    running = (handle, now + .seconds(Int64(max(probe.timeoutSeconds, 1))))
                } else {
                    count(success: false)
                }
            default: count(success: port.map(prober.isListening) ?? false)
            }
        }
        due = running == nil ? nextStart : now + ProbeLife.patience
    }

    private func count(success: Bool) {
        successes = success ? successes + 1 : 0
        failures = success ? 0 : failures + 1
        if successes >= max(probe.successThreshold, 1) { isPassing = true }
        if failures >= max(probe.failureThreshold, 1) {
            isPassing = false
            hasGivenUp = true
        }
    }
}
