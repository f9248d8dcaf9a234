import CProcessor
import HairpinEngine
import Synchronization

/// Threads that run a window of several logical processes at once. The caller's thread is one of them.
///
/// The caller lays out a ticket for each logical process that has something to do; whoever takes a ticket runs it, and the window is over when
/// every ticket's work is done. Nobody waits for a thread that has taken none: where the other processors are busy with something else, the
/// caller does the work itself.
///
/// What a thread wrote before its end of a window is seen by all in the next one: tickets are handed over by atomics with release and acquire
/// order. Who runs what changes no result: within a window logical processes do not touch each other.
final class WindowTeam {
    private let board: WindowBoard
    private var workers: [WorkerThread] = []
    let threadCount: Int

    /// `threads` is two or more, the caller's included. `body` runs a logical process, one of `count`, up to and including a time. Unless threads help each
    /// other, each runs every `threads`th of what is due, and the window takes as long as the last needs to come.
    init(threads: Int, count: Int, helps: Bool = true, body: @escaping @Sendable (_ process: Int, _ end: Instant) -> Void) {
        precondition(threads > 1 && count < 1 << 16, "threads to share between, and numbers that fit a window's word")
        threadCount = threads
        let board = WindowBoard(threads: threads, count: count, helps: helps, body: body)
        self.board = board
        workers = (1..<threads).map { number in WorkerThread { board.work(as: number) } }
    }

    deinit {
        board.dismiss()
        for worker in workers { worker.join() }
    }

    /// What a window took beside the work.
    struct Outcome {
        /// Logical processes that others than the caller have run.
        var byOthers = 0
        /// Threads that had to be woken for it.
        var woken = 0
        /// Whether the caller fell asleep while it waited for the others.
        var hasSlept = false
    }

    /// Runs the logical processes in `due`, each once, and returns when all have run.
    @discardableResult
    func run(_ due: UnsafeBufferPointer<Int32>, until end: Instant) -> Outcome { board.run(due, until: end) }
}

/// What the threads of a team share.
///
/// Unchecked: `end` and a ticket's process are written by the caller while no ticket is out, and read by who has taken one.
private final class WindowBoard: @unchecked Sendable {
    private let threads: Int
    private let count: Int
    private let helps: Bool
    private let body: @Sendable (Int, Instant) -> Void
    private let tickets: UnsafeMutablePointer<Ticket>
    /// By thread; the caller's is the first.
    private let bells: [Bell]
    private var end = Instant.zero
    /// The caller's count of windows.
    private var number: UInt64 = 0

    /// The number of the window that is open or was last, and in the lower 16 bits how many tickets it has; workers wait for it to change.
    private let window = Atomic<UInt64>(0)
    /// Tickets whose work is not done.
    private let unfinished = Atomic<Int>(0)
    private let isDismissed = Atomic<Bool>(false)
    /// How often an atomic is looked at before a thread goes to sleep: some tens of microseconds, as long as it takes to wake one. Not at all where
    /// threads wait for processors. Nobody yields: on a processor that others want, who sleeps gets it back sooner than who has given it away.
    private let spins: Int

    /// The right to run one logical process in one window, each on a cache line of its own.
    private struct Ticket: ~Copyable {
        /// Twice the number of the window, and one more when somebody has taken it.
        let state = Atomic<UInt64>(0)
        var process: Int32 = 0
        // A line of 64 bytes, and the one its neighbour prefetches.
        let padding: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0)
        let more: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)
    }

    init(threads: Int, count: Int, helps: Bool, body: @escaping @Sendable (Int, Instant) -> Void) {
        self.threads = threads
        self.helps = helps
        self.count = count
        self.body = body
        spins = threads > processorCount ? 0 : 2_500
        bells = (0..<threads).map { _ in Bell() }
        tickets = .allocate(capacity: max(count, 1))
        for n in 0..<count { (tickets + n).initialize(to: Ticket()) }
    }

    deinit {
        tickets.deinitialize(count: count)
        tickets.deallocate()
    }

    // MARK: The caller's side

    func run(_ due: UnsafeBufferPointer<Int32>, until end: Instant) -> WindowTeam.Outcome {
        precondition(due.count <= count, "a ticket for each logical process")
        var outcome = WindowTeam.Outcome()
        if due.isEmpty { return outcome }
        self.end = end
        number &+= 1
        unfinished.store(due.count, ordering: .relaxed)
        for (rank, process) in due.enumerated() {
            tickets[rank].process = process
            tickets[rank].state.store(number << 1, ordering: .releasing)
        }
        let word = number << 16 | UInt64(due.count)
        window.store(word, ordering: .sequentiallyConsistent)
        // No more than there is work for.
        for thread in 1..<max(min(threads, due.count), 1) where bells[thread].ring() { outcome.woken += 1 }
        outcome.byOthers = due.count - takePart(in: word, as: 0)
        outcome.hasSlept = wait(for: 0) { unfinished.load(ordering: .sequentiallyConsistent) == 0 }
        return outcome
    }

    func dismiss() {
        isDismissed.store(true, ordering: .relaxed)
        window.store(.max, ordering: .sequentiallyConsistent)
        for bell in bells { bell.ring() }
    }

    // MARK: The workers' side

    func work(as thread: Int) {
        var last: UInt64 = 0
        while true {
            _ = wait(for: thread) { window.load(ordering: .sequentiallyConsistent) != last }
            last = window.load(ordering: .acquiring)
            if isDismissed.load(ordering: .relaxed) { return }
            _ = takePart(in: last, as: thread)
        }
    }

    /// Takes the tickets that are this thread's turn, so that in windows alike a logical process stays in one processor's cache, then what is
    /// left of the others'. How many it took.
    ///
    /// A thread that comes late finds tickets of a later window, which it cannot take by the number of its own.
    private func takePart(in word: UInt64, as thread: Int) -> Int {
        let open = (word >> 16) << 1
        let due = Int(word & 0xffff)
        var taken = 0
        for home in thread..<(helps ? thread + threads : thread + 1) {
            for rank in stride(from: home % threads, to: due, by: threads) {
                guard tickets[rank].state.load(ordering: .relaxed) == open,
                    tickets[rank].state.compareExchange(expected: open, desired: open | 1, ordering: .acquiring).exchanged
                else { continue }
                body(Int(tickets[rank].process), end)
                taken += 1
                if unfinished.subtract(1, ordering: .sequentiallyConsistent).newValue == 0, thread != 0 { bells[0].ring() }
            }
        }
        return taken
    }

    /// Looks, then sleeps, until `condition` holds, which reads with sequentially consistent order. Whether it slept.
    @inline(__always)
    private func wait(for thread: Int, until condition: () -> Bool) -> Bool {
        for _ in 0..<spins {
            if condition() { return false }
            hairpin_pause()
        }
        if condition() { return false }
        bells[thread].sleep(while: { !condition() })
        return true
    }
}
