import HairpinDatapath
import HairpinEngine
import Synchronization

/// Threads that run a window of several logical processes at once. The caller's thread is one of them.
///
/// A window has two phases: the caller says which logical processes have something to do and until when, then everybody works; it is over when the
/// last has finished. What a thread wrote before its end of a window is seen by all in the next one: both sides of the hand-over are atomics with
/// release and acquire order.
///
/// Each logical process has a home thread, so that its memory stays in one processor's cache; a thread that is done helps the others. Who runs what
/// changes no result: within a window logical processes do not touch each other.
final class WindowTeam {
    private let board: WindowBoard
    private var workers: [WorkerThread] = []
    let threadCount: Int

    /// `threads` is two or more, and no more than there are logical processes.
    init(threads: Int, processes: [LogicalProcess]) {
        precondition(threads > 1 && threads <= processes.count, "a thread for each logical process at most")
        threadCount = threads
        let board = WindowBoard(threads: threads, processes: processes)
        self.board = board
        workers = (1..<threads).map { number in WorkerThread { board.work(as: number) } }
    }

    deinit {
        board.dismiss()
        for worker in workers { worker.join() }
    }

    /// Runs every logical process marked in `isDue` up to and including `end`, and returns when all have.
    func run(until end: Instant, isDue: UnsafePointer<Bool>, dueCount: Int) { board.run(until: end, isDue: isDue, dueCount: dueCount) }
}

/// What the threads of a team share.
///
/// Unchecked: `end` and `isDue` are written by the caller while no window is open and read by workers while one is; `processes` and `claims` never
/// change their addresses. A logical process is run by the one thread that has claimed it.
private final class WindowBoard: @unchecked Sendable {
    private let threads: Int
    private let count: Int
    private let processes: UnsafeMutablePointer<LogicalProcess>
    /// The number of the last window in which somebody took the logical process, each on a cache line of its own.
    private let claims: UnsafeMutablePointer<Claim>
    private var end = Instant.zero
    /// Nil before the first window.
    private var isDue: UnsafePointer<Bool>?

    /// The window that is open or was last; workers wait for it to change.
    private let window = Atomic<UInt64>(0)
    /// Workers that have not finished the window.
    private let working = Atomic<Int>(0)
    private let isDismissed = Atomic<Bool>(false)
    /// Workers that sleep, or are about to.
    private let sleepers = Atomic<Int>(0)
    private let bell = Bell()

    private struct Claim: ~Copyable {
        let window = Atomic<UInt64>(0)
        // A line of 64 bytes, and the one its neighbour prefetches.
        let padding: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0)
        let more: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)
    }

    /// Looks at an atomic this often before the processor is offered to others: about as long as two short windows.
    private static let spins = 4_000
    /// And so often before a worker goes to sleep: nobody works between two calls of `Simulation.run`.
    private static let yields = 200

    init(threads: Int, processes: [LogicalProcess]) {
        self.threads = threads
        count = processes.count
        self.processes = .allocate(capacity: processes.count)
        claims = .allocate(capacity: processes.count)
        for (n, process) in processes.enumerated() {
            (self.processes + n).initialize(to: process)
            (claims + n).initialize(to: Claim())
        }
    }

    deinit {
        processes.deinitialize(count: count)
        processes.deallocate()
        claims.deinitialize(count: count)
        claims.deallocate()
    }

    // MARK: The caller's side

    func run(until end: Instant, isDue: UnsafePointer<Bool>, dueCount: Int) {
        self.end = end
        self.isDue = isDue
        if dueCount < 2 {
            // Not worth waking anybody.
            for n in 0..<count where isDue[n] { processes[n].run(until: end) }
            return
        }
        working.store(threads - 1, ordering: .relaxed)
        let number = window.add(1, ordering: .sequentiallyConsistent).newValue
        if sleepers.load(ordering: .sequentiallyConsistent) > 0 { bell.ring() }
        takePart(in: number, as: 0)
        var looks = 0
        while working.load(ordering: .acquiring) > 0 { WindowBoard.pause(&looks) }
    }

    func dismiss() {
        isDismissed.store(true, ordering: .relaxed)
        window.add(1, ordering: .sequentiallyConsistent)
        bell.ring()
    }

    // MARK: The workers' side

    func work(as thread: Int) {
        var last: UInt64 = 0
        while true {
            last = waitForWindow(after: last)
            if isDismissed.load(ordering: .relaxed) { return }
            takePart(in: last, as: thread)
            working.subtract(1, ordering: .releasing)
        }
    }

    private func waitForWindow(after last: UInt64) -> UInt64 {
        var looks = 0
        while looks < WindowBoard.spins + WindowBoard.yields {
            let now = window.load(ordering: .acquiring)
            if now != last { return now }
            WindowBoard.pause(&looks)
        }
        sleepers.add(1, ordering: .sequentiallyConsistent)
        defer { sleepers.subtract(1, ordering: .sequentiallyConsistent) }
        bell.sleep(while: { window.load(ordering: .sequentiallyConsistent) == last })
        return window.load(ordering: .acquiring)
    }

    /// Runs what belongs to this thread, then what is left of the others'.
    private func takePart(in number: UInt64, as thread: Int) {
        guard let isDue else { return }
        let end = end
        for home in thread..<(thread + threads) {
            for n in stride(from: home % threads, to: count, by: threads) where isDue[n] {
                let before = claims[n].window.load(ordering: .relaxed)
                if before == number { continue }
                guard claims[n].window.compareExchange(expected: before, desired: number, ordering: .relaxed).exchanged else { continue }
                processes[n].run(until: end)
            }
        }
    }

    private static func pause(_ looks: inout Int) {
        looks += 1
        if looks >= spins { offerProcessor() }
    }
}
