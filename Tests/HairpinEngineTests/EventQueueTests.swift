import HairpinEngine
import Testing

@Suite("The event queue")
struct EventQueueTests {
    @Test("pops in the canonical order (time, source, note), whatever the order of insertion")
    func canonicalOrder() {
        var random = SeededRandom(seed: 7, name: "queue")
        var queue = EventQueue()
        var expected: [(UInt64, UInt32, UInt32)] = []
        for _ in 0..<5_000 {
            let time = UInt64(random.below(50))
            let kind = random.below(4)
            let index = random.below(8)
            let note = random.below(3)
            let source = EventSource(kind: kind, index: index)
            queue.push(Instant(nanoseconds: time), source, note: note)
            expected.append((time, source.rawValue, note))
            // Popping in between must not disturb the rest.
            if random.below(4) == 0 {
                expected.sort { $0 < $1 }
                let event = queue.pop()
                #expect((event.time.nanoseconds, event.source.rawValue, event.note) == expected.removeFirst())
            }
        }
        expected.sort { $0 < $1 }
        for event in expected {
            let popped = queue.pop()
            #expect((popped.time.nanoseconds, popped.source.rawValue, popped.note) == event)
        }
        let isEmpty = queue.isEmpty
        let nextTime = queue.nextTime
        #expect(isEmpty)
        #expect(nextTime == .distantFuture)
    }

    @Test("keeps the order over all scales of time, with crowds at one nanosecond and events before the next one", arguments: [UInt64(1), 2, 3])
    func scales(_ seed: UInt64) {
        var random = SeededRandom(seed: seed, name: "scales")
        var queue = EventQueue()
        var pending: [(UInt64, UInt32)] = []
        var now: UInt64 = 0
        for round in 0..<3_000 {
            // Crowds are larger than what is sorted at once, and some fall on the present.
            let crowd = round % 100 == 0 ? 300 : 1
            let time = now + (round % 7 == 0 ? 0 : random.next() >> UInt64(20 + random.below(44)))
            for _ in 0..<crowd {
                let source = EventSource(kind: random.below(8), index: random.below(1000))
                queue.push(Instant(nanoseconds: time), source)
                pending.append((time, source.rawValue))
            }
            guard random.below(3) > 0 else { continue }
            pending.sort { $0 < $1 }
            for _ in 0..<min(pending.count, Int(random.below(40))) {
                let expected = pending.removeFirst()
                // What is due later is not to be had, and asking changes nothing.
                if expected.0 > 0 { #expect(queue.pop(through: Instant(nanoseconds: expected.0 - 1)) == nil) }
                #expect(queue.nextTime.nanoseconds == expected.0)
                guard let event = queue.pop(through: Instant(nanoseconds: expected.0)) else {
                    Issue.record("nothing was due at \(expected.0)")
                    return
                }
                #expect((event.time.nanoseconds, event.source.rawValue) == expected)
                now = expected.0
            }
        }
    }

    @Test("an earlier event for a moment with many equal ones, whatever their number: none is lost and none comes twice", arguments: 10..<20)
    func manyEqual(count: Int) {
        var queue = EventQueue()
        // A stretch of 4096 ns with room behind the event that comes next.
        for time: UInt64 in [0x1000, 0x1010, 0x1fa0] { queue.push(Instant(nanoseconds: time), EventSource(kind: 1, index: 0)) }
        #expect(queue.pop().time.nanoseconds == 0x1000)
        for _ in 0..<count { queue.push(Instant(nanoseconds: 0x1100), EventSource(kind: 1, index: 5)) }
        queue.push(Instant(nanoseconds: 0x1100), EventSource(kind: 1, index: 4))
        var seen: [UInt32] = []
        while !queue.isEmpty, seen.count < 100 { seen.append(queue.pop().source.index) }
        #expect(seen == [0, 4] + [UInt32](repeating: 5, count: count) + [0])
    }

    @Test("few moments and few sources, so that most events have equals, come out as a sorted list would give them", arguments: UInt64(1)...6)
    func equals(seed: UInt64) {
        var random = SeededRandom(seed: seed, name: "equals")
        var queue = EventQueue()
        var pending: [(UInt64, UInt32)] = []
        var now: UInt64 = 0
        for round in 0..<400 {
            let spread = [1, 8, 200, 5_000][Int(random.below(4))]
            for _ in 0..<random.below(60) {
                let time = now + UInt64(random.below(4)) * UInt64(spread)
                let source = EventSource(kind: 1, index: random.below(3))
                queue.push(Instant(nanoseconds: time), source)
                pending.append((time, source.rawValue))
            }
            pending.sort { $0 < $1 }
            let count = round == 399 ? pending.count : min(pending.count, Int(random.below(60)))
            let popped = (0..<count).map { _ in queue.pop() }
            #expect(popped.map { "\($0.time.nanoseconds) \($0.source.rawValue)" } == pending.prefix(count).map { "\($0.0) \($0.1)" })
            pending.removeFirst(count)
            if let last = popped.last { now = last.time.nanoseconds }
        }
        let isEmpty = queue.isEmpty
        #expect(isEmpty)
    }

    @Test("times near the end of the range keep their order")
    func extremes() {
        var queue = EventQueue()
        queue.push(.distantFuture, EventSource(kind: 0, index: 0))
        queue.push(.zero, EventSource(kind: 63, index: (1 << 26) - 1))
        let first = queue.pop()
        let second = queue.pop()
        #expect(first.source.kind == 63)
        #expect(second.time == .distantFuture)
    }
}

@Suite("Time and chance")
struct TimeAndChanceTests {
    @Test("instants saturate instead of wrapping")
    func saturation() {
        #expect(Instant.distantFuture + .seconds(1) == .distantFuture)
        #expect(Instant(nanoseconds: 5) - .nanoseconds(9) == .zero)
        #expect(Instant(nanoseconds: 1_500_000_000).description == "1.500000000")
    }

    @Test("a stream depends on seed and name alone")
    func streams() {
        var a = SeededRandom(seed: 1, name: "pod1")
        var b = SeededRandom(seed: 1, name: "pod1")
        var other = SeededRandom(seed: 1, name: "pod2")
        var reseeded = SeededRandom(seed: 2, name: "pod1")
        let first = (0..<8).map { _ in a.next() }
        #expect(first == (0..<8).map { _ in b.next() })
        #expect(first != (0..<8).map { _ in other.next() })
        #expect(first != (0..<8).map { _ in reseeded.next() })
    }

    @Test("`below` is uniform enough for a chi-squared test over ten bins")
    func uniformity() {
        var random = SeededRandom(seed: 3, name: "bins")
        var bins = [Int](repeating: 0, count: 10)
        for _ in 0..<100_000 { bins[Int(random.below(10))] += 1 }
        let chi = bins.reduce(0.0) { $0 + Double(($1 - 10_000) * ($1 - 10_000)) / 10_000 }
        // 99.9 % quantile of χ² with nine degrees of freedom.
        #expect(chi < 27.88)
    }
}
