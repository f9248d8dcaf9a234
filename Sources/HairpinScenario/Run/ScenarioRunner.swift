import HairpinCluster
import HairpinDatapath
import HairpinEngine
import HairpinHost
import HairpinPolicy

/// Runs one scenario from boot to its last frame.
public final class ScenarioRunner {
    private let scenario: Scenario
    private let options: RunOptions
    private let hooks: RunHooks
    private let world: World
    private let captures: CaptureSet
    private let probe: TCPProbeFile?
    private var faults: FaultPlan
    private let transcript: Transcript

    private var running: [RunningStep] = []
    private var results: [StepResult] = []
    /// When each finished step ended, by its place in the scenario.
    private var ends: [Int: Instant] = [:]
    private var isInterrupted = false
    private var eventCount: UInt = 0
    private let limit: Instant

    /// Boots nothing yet, but everything that can be refused is refused here.
    public init(_ loaded: LoadedScenario, options: RunOptions, hooks: RunHooks) throws(Failure) {
        var loaded = loaded
        if let seed = options.seed { loaded.scenario.seed = seed }
        scenario = loaded.scenario
        self.options = options
        self.hooks = hooks
        world = try World(loaded, seed: loaded.scenario.seed, threads: options.threads, sharing: options.sharesEveryWindow ? .evenly : .worthwhile, log: hooks.log)
        for step in scenario.steps {
            if step.change != nil { continue }
            do {
                _ = try world.resolve(step.place, container: step.container, ahead: true)
                if let requests = step.requests { try world.checkRequests(requests, namespace: step.place.namespace) }
            } catch {
                throw Failure(.input, "\(step.position): \(step.id): \(error)")
            }
        }
        faults = try FaultPlan(scenario, in: world)
        captures = try CaptureSet(scenario, options: options, on: world.simulation)
        probe = try TCPProbeFile(scenario, options: options, on: world.simulation)
        transcript = Transcript(style: options.style)
        limit = [options.until, scenario.until].compactMap { $0 }.min() ?? .distantFuture
    }

    /// How many threads run the simulation, and why no more: words for people.
    public var threading: String { world.simulation.threading }
    /// A hash of every event so far: the same for the same scenario and seed on any number of threads.
    public var digest: UInt64 { world.simulation.digest }

    /// The whole run. Captures are ended properly whatever happens; the books are checked at the end.
    public func run() throws(Failure) -> RunResult {
        var result = RunResult(scenario: scenario.name, file: scenario.origin, seed: scenario.seed, status: .passed)
        let outcome: Result<Void, Failure>
        do {
            try hooks.print(transcript.heading(scenario, world.summary))
            try play()
            outcome = .success(())
        } catch { outcome = .failure(error) }
        // An error of writing is told only when nothing worse happened before it.
        do { try captures.finish() } catch { if case .success = outcome { throw error } }
        do { try probe?.finish(world.simulation) } catch { if case .success = outcome { throw error } }
        try outcome.get()

        result.cluster = world.summary
        result.warnings = world.warnings
        result.virtualNanoseconds = world.simulation.now.nanoseconds
        result.books = BooksResult(world.simulation.books, policies: world.policyDrops)
        result.captures = try captures.files()
        result.steps = scenario.steps.compactMap { step in results.first { $0.id == step.id } }
        guard let books = result.books else { return result }
        let evidence = Evidence(
            steps: result.steps, books: books, frameCounts: captures.frameCounts, recorded: captures.recorded, captureSHA256: try captures.digest())
        if isInterrupted {
            result.status = .interrupted
        } else {
            result.expectations = scenario.check(evidence)
            let allHold = result.expectations.allSatisfy(\.passed) && result.steps.allSatisfy { $0.problem == nil }
            result.status = allHold ? .passed : .failed
        }
        try hooks.print(transcript.expectations(result.expectations) + transcript.summary(result))
        guard books.balanced else { throw Failure(.internalFault, "the books do not balance: \(books.sentence)") }
        return result
    }

    // MARK: Playing

    private func play() throws(Failure) {
        var pending = Array(scenario.steps.indices)
        while !isInterrupted {
            let now = world.simulation.now
            let startable = pending.filter { start(of: $0).map { $0 <= now } ?? false }
            pending.removeAll(where: startable.contains)
            for number in startable { begin(scenario.steps[number], number: number) }
            try collect()
            if pending.isEmpty, running.isEmpty { break }
            if now >= limit { break }
            // What ended just now may let another step start at once.
            let due = pending.compactMap(start).min()
            if let due, due <= now { continue }
            try advance(to: [due, running.map(\.deadline).min(), limit].compactMap { $0 }.min() ?? limit) { !running.contains { $0.hasEnded } }
        }
        if !isInterrupted { try advance(to: min(limit, world.simulation.now + ScenarioTiming.tail)) { true } }
        for step in running { finish(step, problem: isInterrupted ? nil : "still running when the run ended at \(Quantity.words(world.simulation.now - .zero))") }
        try printFinished()
    }

    /// When a step starts; nil while that depends on a step that has not ended.
    private func start(of number: Int) -> Instant? {
        switch scenario.steps[number].start {
        case .at(let time): return time
        case .afterPrevious: return number == 0 ? ScenarioTiming.firstStep : ends[number - 1]
        case .after(let id, let delay):
            guard let other = scenario.steps.firstIndex(where: { $0.id == id }), let end = ends[other] else { return nil }
            return end + delay
        }
    }

    /// Runs in slices, so that captures are written, faults play and an interruption is seen.
    private func advance(to target: Instant, while condition: () -> Bool) throws(Failure) {
        while world.simulation.now < target, condition(), !isInterrupted {
            try faults.apply(world.simulation.now, to: world)
            let slice = min(target, world.simulation.now + ScenarioRunner.slice, faults.moments.first ?? .distantFuture)
            world.advance(to: slice) {
                eventCount &+= 1
                if eventCount & 0xfff == 0, hooks.isInterrupted() { isInterrupted = true }
                return !isInterrupted && condition()
            }
            if hooks.isInterrupted() { isInterrupted = true }
            try captures.flush(upTo: world.simulation.now)
            try probe?.flush(world.simulation)
            hooks.progress(RunProgress(scenario: scenario.name, now: world.simulation.now, activity: running.first?.step.id))
        }
    }
    private static let slice = Duration.milliseconds(100)

    private func begin(_ step: Step, number: Int) {
        let running = RunningStep(step, number: number, at: world.simulation.now)
        self.running.append(running)
        repeat { again(running) } while running.hasEnded && running.remaining > 0
    }

    /// Starts the next repetition of a step.
    private func again(_ running: RunningStep) {
        running.remaining -= 1
        if case .change(let change)? = running.step.change { return make(change, for: running) }
        do {
            let target = try world.resolve(running.step.place, container: running.step.container)
            running.target = target
            if let requests = running.step.requests {
                let started = world.startRequests(try world.requestPlan(requests, namespace: running.step.place.namespace), on: target)
                (running.handle, running.watch) = (started?.handle, started?.watch)
            } else {
                running.handle = world.start(["sh", "-c", running.step.command], on: target) { [unowned running] text, isError in running.take(text, isError) }
            }
            if running.handle == nil {
                running.problem = "container \(target.container?.container.name ?? target.host) is not running"
                running.remaining = 0
            }
        } catch {
            running.problem = error.description
            running.remaining = 0
        }
    }

    /// A change takes no time; nodes follow it a little later.
    private func make(_ change: ClusterChange, for running: RunningStep) {
        let (output, errors) = world.perform(change)
        running.finish(errors.isEmpty ? 0 : 1, output.map { $0 + "\n" }.joined(), errors.map { $0 + "\n" }.joined())
    }

    /// Looks after steps that ended, or ran too long; prints what is finished.
    private func collect() throws(Failure) {
        let now = world.simulation.now
        for step in running {
            while step.hasEnded, step.remaining > 0 {
                step.noteExit()
                again(step)
            }
            if !step.hasEnded, now >= step.deadline {
                step.handle?.kill(signal: 9)
                step.timedOut = true
                step.remaining = 0
            }
        }
        for step in running.filter(\.hasEnded) { finish(step, problem: nil) }
        running.removeAll { $0.hasEnded }
        try printFinished()
    }

    private var unprinted: [String] = []

    private func finish(_ step: RunningStep, problem: String?) {
        step.noteExit()
        if let watch = step.watch {
            world.explainLosses()
            step.take(transcript.requests(watch.result), false)
            world.loads.removeAll { $0 === watch }
        }
        let end = step.handle?.endedAt ?? world.simulation.now
        ends[step.number] = max(end, step.startedAt)
        var result = StepResult(
            id: step.step.id, place: step.target?.pod?.pod.key.description ?? step.step.place.description, container: step.target?.container?.container.name,
            command: step.step.command, startedNanoseconds: step.startedAt.nanoseconds, endedNanoseconds: max(end, step.startedAt).nanoseconds,
            exit: step.status, stdout: step.output, stderr: step.errorOutput)
        result.timedOut = step.timedOut
        result.problem = step.problem ?? problem
        result.requests = step.watch?.result
        results.append(result)
        unprinted.append(transcript.step(result, prompt: step.target?.prompt ?? step.step.place.description, screen: step.screen))
    }

    private func printFinished() throws(Failure) {
        let text = unprinted.joined()
        unprinted.removeAll()
        if !text.isEmpty { try hooks.print(text) }
    }
}

/// A step on its way.
private final class RunningStep {
    let step: Step
    let number: Int
    let startedAt: Instant
    let deadline: Instant
    var remaining: Int
    var target: CommandTarget?
    var handle: ProcessHandle?
    var watch: RequestWatch?
    var timedOut = false
    var problem: String?
    /// The last non-zero exit status.
    private(set) var status: Int32 = 0
    private(set) var output = ""
    private(set) var errorOutput = ""
    /// Both, in the order in which they were written.
    private(set) var screen: [(text: String, isError: Bool)] = []

    init(_ step: Step, number: Int, at now: Instant) {
        self.step = step
        self.number = number
        startedAt = now
        deadline = now + step.timeout
        remaining = step.repetitions
    }

    private var isChanged = false
    var hasEnded: Bool { problem != nil || isChanged || handle?.exitStatus != nil }
    /// A step without a process has done its work.
    func finish(_ status: Int32, _ output: String, _ errors: String) {
        isChanged = true
        self.status = status
        if !output.isEmpty { take(output, false) }
        if !errors.isEmpty { take(errors, true) }
    }
    func noteExit() { if let exit = handle?.exitStatus, exit != 0 { status = exit } }

    func take(_ text: String, _ isError: Bool) {
        if isError { errorOutput += text } else { output += text }
        if let last = screen.indices.last, screen[last].isError == isError { screen[last].text += text } else { screen.append((text, isError)) }
    }
}

extension BooksResult {
    init(_ books: FrameBooks, policies: [PolicyDropCount] = []) {
        emitted = books.emitted
        copied = books.copied
        delivered = books.delivered
        dropped = books.dropped
        handedOver = books.handedOver
        inFlight = books.inFlight
        drops = DropReason.allCases.compactMap { reason in
            let count = books.dropsByReason[Int(reason.rawValue)]
            return count == 0 ? nil : DropResult(reason: reason.words, count: count)
        }
        policyDrops = policies.map { PolicyDropResult(direction: $0.direction.rawValue, policies: $0.policies, pod: $0.pod, count: $0.packets) }
        balanced = books.isBalanced
    }

    var sentence: String { "emitted \(emitted) + copied \(copied) ≠ delivered \(delivered) + dropped \(dropped) + handed over \(handedOver) + in flight \(inFlight)" }
}
