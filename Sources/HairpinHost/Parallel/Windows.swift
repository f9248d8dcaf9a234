import HairpinDatapath
import HairpinEngine

/// How windows were run, for figures and for tests. Only `sharedByOthers` depends on the machine.
public struct WindowCounts: Sendable, Equatable {
    /// Windows in which some logical process had something to do.
    public var windows = 0
    /// Those that were offered to all threads.
    public var shared = 0
    /// Runs of a logical process in a window by another thread than the caller's.
    public var runsByOthers = 0
    public init() {}
}

/// The logical processes of a simulation, run window by window (conservative synchronisation, Chandy and Misra).
///
/// Between windows one thread has everything. Within a window a logical process first takes what the others sent it in earlier ones, then handles its
/// events, and fills its own outboxes; each does so on one thread, and several at once where that pays. Neither the order in which they run
/// nor who runs them changes anything.
///
/// Unchecked: raw memory that never moves. What belongs to a logical process is touched by who runs it, the rest between windows.
final class Windows: @unchecked Sendable {
    private let count: Int
    private let lookahead: Duration
    private let processes: UnsafeMutablePointer<Unmanaged<LogicalProcess>>
    /// Outboxes that lead to logical process n are from `firstInbox[n]` to `firstInbox[n + 1]`, in the order of the senders.
    private let inboxes: UnsafeMutablePointer<Unmanaged<Outbox>>
    private let firstInbox: UnsafeMutablePointer<Int>
    /// Those that have something to do in the window.
    private let dueNumbers: UnsafeMutablePointer<Int32>
    private var dueCount = 0
    private let nextTimes: UnsafeMutablePointer<Instant>
    /// Events a logical process handled in its last window.
    private let handled: UnsafeMutablePointer<Int>
    private let owned: [LogicalProcess]
    private var team: WindowTeam?
    private var pace: Pace
    private(set) var counts = WindowCounts()

    /// Events beside the busiest logical process's from which on a window is worth sharing: as many as take a few microseconds.
    private static let worthwhile = 16

    init(_ processes: [LogicalProcess], lookahead: Duration, threads: Int, sharing: SimulationConfiguration.Sharing) {
        owned = processes
        count = processes.count
        self.lookahead = lookahead
        pace = Pace(threshold: sharing == .evenly ? 0 : Windows.worthwhile)
        self.processes = .allocate(capacity: count)
        firstInbox = .allocate(capacity: count + 1)
        dueNumbers = .allocate(capacity: count)
        dueNumbers.initialize(repeating: 0, count: count)
        nextTimes = .allocate(capacity: count)
        nextTimes.initialize(repeating: .zero, count: count)
        handled = .allocate(capacity: count)
        handled.initialize(repeating: 0, count: count)
        let all = processes.flatMap(\.outboxes)
        inboxes = .allocate(capacity: max(all.count, 1))
        var place = 0
        for (n, process) in processes.enumerated() {
            (self.processes + n).initialize(to: .passUnretained(process))
            (firstInbox + n).initialize(to: place)
            for outbox in all where outbox.destination == n {
                (inboxes + place).initialize(to: .passUnretained(outbox))
                place += 1
            }
        }
        (firstInbox + count).initialize(to: place)
        if threads > 1 { team = WindowTeam(threads: threads, count: count, helps: sharing != .evenly) { [unowned(unsafe) self] in run($0, until: $1) } }
    }

    deinit {
        // The threads first: they may still be looking.
        team = nil
        processes.deallocate()
        inboxes.deallocate()
        firstInbox.deallocate()
        dueNumbers.deallocate()
        nextTimes.deallocate()
        handled.deallocate()
    }

    // MARK: Between windows

    /// The logical processes that have something to do in the window, in the order of their numbers.
    var due: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(start: dueNumbers, count: dueCount) }

    /// Begins the next window, no longer than the lookahead and not beyond `limit`; its last moment, or nil if nothing is left until `limit`.
    func begin(limit: Instant) -> Instant? {
        var next = Instant.distantFuture
        for n in 0..<count {
            nextTimes[n] = processes[n]._withUnsafeGuaranteedRef { process in
                var time = process.nextEventTime
                for place in firstInbox[n]..<firstInbox[n + 1] {
                    let arrival = inboxes[place]._withUnsafeGuaranteedRef { $0.turn() }
                    // A frame that arrives at a busy processor waits.
                    if arrival != .distantFuture { time = min(time, max(arrival, process.now)) }
                }
                return time
            }
            next = min(next, nextTimes[n])
        }
        if next > limit || next == .distantFuture {
            collect()
            return nil
        }
        let end = min(limit, next + lookahead - .nanoseconds(1))
        dueCount = 0
        for n in 0..<count {
            if nextTimes[n] <= end {
                dueNumbers[dueCount] = Int32(truncatingIfNeeded: n)
                dueCount += 1
            } else {
                collect(n)
            }
        }
        counts.windows += 1
        return end
    }

    /// Runs what is due in the window that has begun.
    func run(until end: Instant) {
        if let team, dueCount > 1, pace.isWorthwhile {
            let outcome = team.run(due, until: end)
            counts.shared += 1
            counts.runsByOthers += outcome.byOthers
            notePace(outcome)
        } else {
            for number in due { run(Int(number), until: end) }
            if team != nil { notePace(nil) }
        }
    }

    private func notePace(_ outcome: WindowTeam.Outcome?) {
        var total = 0
        var largest = 0
        var smallest = Int.max
        for number in due {
            let events = handled[Int(number)]
            total += events
            largest = max(largest, events)
            smallest = min(smallest, events)
        }
        let beside = total - largest
        guard let team, let outcome else { return pace.note(total: total, beside: beside) }
        // Who has less to do than the others waits for them, and that is no harm; nor is it to wake somebody for much work.
        let wait = dueCount > team.threadCount ? largest : largest - smallest
        let cameTooLate = outcome.byOthers == 0
        let wokeForLittle = outcome.woken > 0 && beside < 4 * Pace.nap
        let waitedInVain = outcome.hasSlept && wait < Pace.nap
        pace.noteShared(total: total, beside: beside, isHarmful: cameTooLate || wokeForLittle || waitedInVain, hasWoken: outcome.woken > 0)
    }

    /// Hands over everything that is on its way: the state between two calls of `Simulation.run`.
    func collect() {
        for n in 0..<count {
            for place in firstInbox[n]..<firstInbox[n + 1] {
                inboxes[place]._withUnsafeGuaranteedRef { outbox in
                    if outbox.hasLetters { processes[n]._withUnsafeGuaranteedRef { $0.receive(from: outbox) } }
                    _ = outbox.turn()
                }
            }
            collect(n)
        }
    }

    // MARK: On any thread

    private func run(_ n: Int, until end: Instant) {
        collect(n)
        processes[n]._withUnsafeGuaranteedRef { process in
            let before = process.eventCount
            process.run(until: end)
            handled[n] = Int(truncatingIfNeeded: process.eventCount &- before)
        }
    }

    /// Takes what others have sent a logical process.
    private func collect(_ n: Int) {
        for place in firstInbox[n]..<firstInbox[n + 1] {
            inboxes[place]._withUnsafeGuaranteedRef { outbox in
                if outbox.hasLetters { processes[n]._withUnsafeGuaranteedRef { $0.receive(from: outbox) } }
            }
        }
    }
}

/// Whether windows are worth sharing between threads. It counts events and looks at no clock, and what it decides changes no result.
///
/// Sharing does not pay where there is little to do at once; nor where the other processors are busy with something else, so that threads have
/// to be waited for longer than the work takes, or come when it is done. The second shows in many windows; then the caller goes on alone for
/// some time before it tries again, for longer each time.
struct Pace {
    /// Events that could have been handled beside the busiest logical process's, on average over the last windows, times 16.
    private var average = 0
    private let threshold: Int
    /// Of the last shared windows those that did harm, in 256ths, times 16.
    private var harm = 0
    /// Events that the caller handles alone before it tries again, and how many it will be the next time.
    private var rest = 0
    private var nextRest = Pace.shortestRest
    /// Shared windows since the last rest.
    private var calm = 0
    /// Events until those who have been woken are expected to be there, and events since somebody was last waited for like that.
    private var grace = 0
    private var sinceGrace = Pace.graceEvery

    /// Events that take about as long as being woken; a caller that falls asleep has waited longer than that.
    static let nap = 128
    /// Harm in an eighth of the windows is too much.
    private static let limit = 32
    private static let shortestRest = 100_000, longestRest = 6_400_000
    /// After so many shared windows the machine counts as quiet.
    private static let quiet = 256
    /// Some hundred microseconds' worth, at most so often.
    private static let longestGrace = 4096, graceEvery = 65_536

    /// Windows are worth sharing from an average of so many such events on; zero shares all, whatever happens.
    init(threshold: Int) { self.threshold = threshold }

    var isWorthwhile: Bool { threshold == 0 || rest == 0 && average >= threshold &* 16 }

    /// A window that the caller ran alone.
    mutating func note(total: Int, beside events: Int) {
        average += events - average / 16
        rest = max(rest - total, 0)
        sinceGrace += total
    }

    /// A window that was shared, and whether that cost more than it gave.
    mutating func noteShared(total: Int, beside events: Int, isHarmful: Bool, hasWoken: Bool) {
        average += events - average / 16
        sinceGrace += total
        if hasWoken, sinceGrace >= Pace.graceEvery { (grace, sinceGrace) = (Pace.longestGrace, 0) }
        if grace > 0 {
            grace -= total
            return
        }
        harm += (isHarmful ? 256 : 0) - harm / 16
        calm += 1
        if harm / 16 > Pace.limit {
            if calm > Pace.quiet { nextRest = Pace.shortestRest }
            rest = nextRest
            nextRest = min(nextRest * 2, Pace.longestRest)
            (harm, calm) = (0, 0)
        }
    }
}
