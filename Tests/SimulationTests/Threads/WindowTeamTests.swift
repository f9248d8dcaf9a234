import Foundation
import HairpinEngine
import Synchronization
import Testing

@testable import HairpinHost

/// The team alone, with bodies that count instead of logical processes.
@Suite("Threads that share windows")
struct WindowTeamTests {
    /// What each process's body was asked, and whether it ran where and when it must not.
    private final class Ledger: @unchecked Sendable {
        let count: Int
        /// How often each process has run, and until when the last time; touched by who runs it.
        let runs: UnsafeMutablePointer<Int>
        let ends: UnsafeMutablePointer<Instant>
        /// The end of the window that is open; nothing may run while none is.
        let open = Atomic<UInt64>(0)
        let inside = Atomic<Int>(0)
        let faults = Atomic<Int>(0)
        /// One for each process: somebody runs it.
        let busy: UnsafeMutablePointer<Flag>
        struct Flag: ~Copyable { let isSet = Atomic<Bool>(false) }

        init(_ count: Int) {
            self.count = count
            runs = .allocate(capacity: max(count, 1))
            runs.initialize(repeating: 0, count: count)
            ends = .allocate(capacity: max(count, 1))
            ends.initialize(repeating: .zero, count: count)
            busy = .allocate(capacity: max(count, 1))
            for n in 0..<count { (busy + n).initialize(to: Flag()) }
        }
        deinit {
            runs.deallocate()
            ends.deallocate()
            busy.deinitialize(count: count)
            busy.deallocate()
        }

        func run(_ process: Int, _ end: Instant, work: Int = 0) {
            inside.add(1, ordering: .sequentiallyConsistent)
            if open.load(ordering: .sequentiallyConsistent) != end.nanoseconds { faults.add(1, ordering: .relaxed) }
            if busy[process].isSet.exchange(true, ordering: .acquiring) { faults.add(1, ordering: .relaxed) }
            if end <= ends[process] { faults.add(1, ordering: .relaxed) }
            var waste: UInt64 = 1
            for n in 0..<work { waste = waste &* 6_364_136_223_846_793_005 &+ UInt64(n) }
            runs[process] += waste == 0 ? 2 : 1
            ends[process] = end
            busy[process].isSet.store(false, ordering: .releasing)
            inside.subtract(1, ordering: .sequentiallyConsistent)
        }

        /// One window of a team: opens it, runs it, closes it, and says what is wrong.
        func window(_ team: WindowTeam, _ due: [Int32], until end: Instant) -> Int {
            open.store(end.nanoseconds, ordering: .sequentiallyConsistent)
            let others = due.withUnsafeBufferPointer { team.run($0, until: end).byOthers }
            open.store(0, ordering: .sequentiallyConsistent)
            if inside.load(ordering: .sequentiallyConsistent) != 0 { faults.add(1, ordering: .relaxed) }
            return others
        }
    }

    @Test(
        "every window runs each process that is due once, within the window, and no other",
        arguments: [(2, 2), (2, 7), (3, 3), (8, 4), (5, 1), (256, 3), (4, 300)])
    func once(threads: Int, processes: Int) {
        let ledger = Ledger(processes)
        let team = WindowTeam(threads: threads, count: processes) { ledger.run($0, $1, work: 50) }
        #expect(team.threadCount == threads)
        var random = SeededRandom(seed: UInt64(threads * 1000 + processes), name: "windows")
        var expected = [Int](repeating: 0, count: processes)
        let windows = threads > 8 ? 300 : 2_000
        for window in 1...windows {
            // All, one, none or any of them.
            let share = [100, 0, 50, 10][Int(random.below(4))]
            var due = (0..<Int32(processes)).filter { _ in random.below(100) < share }
            if share == 0 { due = [Int32(random.below(UInt32(processes)))] }
            for process in due { expected[Int(process)] += 1 }
            let end = Instant(nanoseconds: UInt64(window * 10))
            let others = ledger.window(team, due, until: end)
            #expect(others >= 0 && others <= due.count)
            for process in due where ledger.ends[Int(process)] != end { Issue.record("window \(window): process \(process) was not run to its end") }
        }
        #expect((0..<processes).map { ledger.runs[$0] } == expected)
        #expect(ledger.faults.load(ordering: .relaxed) == 0)
    }

    @Test("what a process has written in one window is there in the next, whoever runs it")
    func handOver() {
        // Each process adds up what its neighbours held after the window before: plain memory, in two halves that take turns.
        final class Cells: @unchecked Sendable {
            let values = UnsafeMutablePointer<UInt64>.allocate(capacity: 32)
            var turn = 0
            init() { for n in 0..<32 { (values + n).initialize(to: UInt64(n)) } }
            deinit { values.deallocate() }
            func step(_ n: Int) {
                let old = values + 16 * turn, new = values + 16 * (1 - turn)
                new[n] = old[n] &* 31 &+ old[(n + 1) % 16] &+ old[(n + 15) % 16]
            }
        }
        func result(_ threads: Int) -> [UInt64] {
            let cells = Cells()
            let due = (0..<Int32(16)).map { $0 }
            let team = threads > 1 ? WindowTeam(threads: threads, count: 16) { n, _ in cells.step(n) } : nil
            for window in 1...3_000 {
                if let team { due.withUnsafeBufferPointer { _ = team.run($0, until: Instant(nanoseconds: UInt64(window))) } } else { for n in 0..<16 { cells.step(n) } }
                cells.turn = 1 - cells.turn
            }
            return (0..<32).map { cells.values[$0] }
        }
        let alone = result(1)
        for threads in [2, 3, 8] { #expect(result(threads) == alone, "\(threads) threads") }
    }

    @Test("a thread that comes late, or not at all, holds nobody up: long pauses between windows, and windows of one")
    func pauses() {
        let ledger = Ledger(4)
        let team = WindowTeam(threads: 4, count: 4) { ledger.run($0, $1) }
        for window in 1...40 {
            // Longer than anybody looks before going to sleep.
            var looks: UInt64 = 0
            while looks < 300_000 { looks += UInt64(ledger.inside.load(ordering: .relaxed)) + 1 }
            _ = ledger.window(team, window % 3 == 0 ? [Int32(window % 4)] : [0, 1, 2, 3], until: Instant(nanoseconds: UInt64(window)))
        }
        let total: Int = (0..<4).reduce(0) { $0 + ledger.runs[$1] }
        #expect(total == 13 + 27 * 4)
        #expect(ledger.faults.load(ordering: .relaxed) == 0)
    }

    @Test("teams come and go without leaving a thread behind")
    func comeAndGo() {
        let before = Self.threadsOfThisProcess()
        // Whatever the body holds must be freed with the team: a thread that stays would keep it.
        final class Token: Sendable {
            let alive: Alive
            init(_ alive: Alive) {
                self.alive = alive
                alive.count.add(1, ordering: .relaxed)
            }
            deinit { alive.count.subtract(1, ordering: .relaxed) }
        }
        final class Alive: Sendable { let count = Atomic<Int>(0) }
        let alive = Alive()
        for round in 0..<1_000 {
            let token = Token(alive)
            let team = WindowTeam(threads: 2 + round % 3, count: 2) { _, _ in _ = token }
            // Some are dismissed before they have ever run, or while their threads are starting.
            for window in 0..<(round % 3) { [0, 1].withUnsafeBufferPointer { _ = team.run($0, until: Instant(nanoseconds: UInt64(window + 1))) } }
        }
        #expect(alive.count.load(ordering: .relaxed) == 0)
        // Other tests' threads come and go at the same time; two thousand of ours would show.
        if let before, let after = Self.threadsOfThisProcess() { #expect(after < before + 500) }
    }

    /// From the kernel's own count; nil where there is none.
    private static func threadsOfThisProcess() -> Int? {
        guard let file = fopen("/proc/self/status", "r") else { return nil }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, 256, file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if text.hasPrefix("Threads:") { return Int(text.dropFirst(8).filter(\.isNumber)) }
        }
        return nil
    }

    @Test("windows are shared where there is work for others, and only there")
    func pace() {
        var pace = Pace(threshold: 16)
        #expect(!pace.isWorthwhile)
        for _ in 0..<100 { pace.note(total: 80, beside: 40) }
        #expect(pace.isWorthwhile)
        for _ in 0..<100 { pace.noteShared(total: 80, beside: 3, isHarmful: false, hasWoken: false) }
        #expect(!pace.isWorthwhile)
        #expect(Pace(threshold: 0).isWorthwhile)
    }

    @Test("where threads have to be waited for, the caller goes on alone, and tries again ever more rarely until the machine is quiet")
    func harm() {
        var pace = Pace(threshold: 16)
        func windows(_ count: Int, harmEvery: Int, wakes: Bool = false) -> Int {
            var shared = 0
            for window in 0..<count {
                if pace.isWorthwhile {
                    shared += 1
                    pace.noteShared(total: 2_000, beside: 1_000, isHarmful: harmEvery > 0 && window % harmEvery == 0, hasWoken: wakes)
                } else {
                    pace.note(total: 2_000, beside: 1_000)
                }
            }
            return shared
        }
        _ = windows(1, harmEvery: 0)
        #expect(windows(1_000, harmEvery: 0) == 1_000)
        // Now and then somebody is late: that is no reason.
        #expect(windows(1_000, harmEvery: 20) == 1_000)
        let first = windows(1_000, harmEvery: 1)
        #expect(first > 0 && first < 100)
        let later = windows(40_000, harmEvery: 1)
        #expect(later > 0 && later < 150)
        // Quiet again: it is noticed after the longest rest at the latest.
        _ = windows(4_000, harmEvery: 0)
        #expect(windows(1_000, harmEvery: 0) == 1_000)
        // Who is woken is given time to come, once; not again and again.
        #expect(windows(3, harmEvery: 1, wakes: true) == 3)
        #expect(windows(1_000, harmEvery: 1, wakes: true) < 100)
        // All of it is no matter to tests of the threads.
        pace = Pace(threshold: 0)
        #expect(windows(1_000, harmEvery: 1) == 1_000)
    }
}
