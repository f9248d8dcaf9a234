import HairpinEngine
import HairpinWire

/// CUBIC (RFC 9438) as `tcp_cubic.c` computes it, and HyStart, which ends slow start before it overshoots. Windows in segments, time in ticks.
struct CubicState: BitwiseCopyable {
    /// One more segment of window for this many acknowledged.
    var count: UInt32 = 0
    var lastMaximum: UInt32 = 0
    var lastWindow: UInt32 = 0
    var lastTime: UInt32 = 0
    var origin: UInt32 = 0
    /// In 1/1024 s.
    var timeToOrigin: UInt32 = 0
    /// Least round trip, in µs; zero: none seen.
    var minimumDelay: UInt32 = 0
    /// Ticks when the present curve began; zero: none has.
    var epoch: UInt32 = 0
    var acked: UInt32 = 0
    /// What Reno would have by now.
    var friendlyWindow: UInt32 = 0
    // HyStart.
    var roundStart: UInt64 = 0
    var lastAck: UInt64 = 0
    var roundEnd = SequenceNumber(0)
    var roundDelay: UInt32 = .max
    var samples: UInt8 = 0
    var hasFoundExit = false

    /// `bictcp_reset`: all but the round of HyStart.
    mutating func reset() {
        (count, lastMaximum, lastWindow, lastTime, origin, timeToOrigin, minimumDelay, epoch, acked, friendlyWindow) = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        hasFoundExit = false
    }
}

extension TransportStack {
    private static let ticksPerSecond = UInt32(1_000_000_000 / TimerWheel.tick)
    /// 0.4 · 2^10 in the units of the kernel (`bic_scale` 41 times ten).
    private static let cubeScale: UInt64 = 410
    private static let cubeFactor: UInt64 = (1 << 40) / 410
    /// 8 (1 + β) / 3 (1 − β), for the slope of Reno with this β.
    private static let friendlyScale: UInt32 = 8 * (1024 + 717) / 3 / (1024 - 717)

    private var ticks32: UInt32 { UInt32(truncatingIfNeeded: TimerWheel.jiffies(now)) }

    func startCubic(_ e: EndpointPointer) {
        e.cold.pointee.cubic.reset()
        beginRound(e)
    }

    /// `bictcp_hystart_reset`
    private func beginRound(_ e: EndpointPointer) {
        e.cold.pointee.cubic.roundStart = now.nanoseconds
        e.cold.pointee.cubic.lastAck = now.nanoseconds
        e.cold.pointee.cubic.roundEnd = e.pointee.sendNext
        e.cold.pointee.cubic.roundDelay = .max
        e.cold.pointee.cubic.samples = 0
    }

    /// How many acknowledged segments are worth one more of window (`bictcp_update`).
    func cubicCount(_ e: EndpointPointer, acked: UInt32) -> UInt32 {
        let cwnd = e.pointee.window
        let tick = ticks32
        var c = e.cold.pointee.cubic
        defer { e.cold.pointee.cubic = c }
        c.acked &+= acked
        if c.lastWindow == cwnd, Int32(bitPattern: tick &- c.lastTime) <= Int32(TransportStack.ticksPerSecond / 32) { return max(c.count, 2) }
        if c.epoch == 0 || tick != c.lastTime {
            c.lastWindow = cwnd
            c.lastTime = tick
            if c.epoch == 0 {
                c.epoch = max(1, tick)
                c.acked = acked
                c.friendlyWindow = cwnd
                if c.lastMaximum <= cwnd {
                    c.timeToOrigin = 0
                    c.origin = cwnd
                } else {
                    c.timeToOrigin = UInt32(clamping: TransportStack.cubeRoot(TransportStack.cubeFactor * UInt64(c.lastMaximum - cwnd)))
                    c.origin = c.lastMaximum
                }
            }
            let elapsed = UInt64(tick &- c.epoch) + TimerWheel.ticks(.microseconds(Int64(c.minimumDelay)))
            let t = (elapsed << 10) / UInt64(TransportStack.ticksPerSecond)
            let offset = t < UInt64(c.timeToOrigin) ? UInt64(c.timeToOrigin) - t : t - UInt64(c.timeToOrigin)
            // After a day of growing there is nothing left to compute.
            let bounded = min(offset, 1 << 18)
            let delta = UInt32(clamping: (TransportStack.cubeScale * bounded * bounded * bounded) >> 40)
            let target = t < UInt64(c.timeToOrigin) ? c.origin &- min(delta, c.origin) : UInt32(clamping: UInt64(c.origin) + UInt64(delta))
            c.count = target > cwnd ? cwnd / (target - cwnd) : 100 * cwnd
            if c.lastMaximum == 0, c.count > 20 { c.count = 20 }
        }
        // Never slower than Reno (RFC 9438 §4.3).
        let step = max(1, (cwnd * TransportStack.friendlyScale) >> 3)
        while c.acked > step {
            c.acked -= step
            c.friendlyWindow += 1
        }
        if c.friendlyWindow > cwnd { c.count = min(c.count, cwnd / (c.friendlyWindow - cwnd)) }
        c.count = max(c.count, 2)
        return c.count
    }

    /// The threshold after a loss (`bictcp_recalc_ssthresh`); the present window is remembered as the plateau to come back to.
    func cubicThreshold(_ e: EndpointPointer) -> UInt32 {
        let cwnd = e.pointee.window
        e.cold.pointee.cubic.epoch = 0
        // Fast convergence: leave room for newcomers.
        e.cold.pointee.cubic.lastMaximum = cwnd < e.cold.pointee.cubic.lastMaximum && settings.cubic_fast_convergence ? cwnd * (1024 + TransportStack.decrease) / 2048 : cwnd
        return max(2, cwnd * TransportStack.decrease / 1024)
    }

    /// A pause of the program does not count as time on the curve (`bictcp_cwnd_event`).
    func cubicResume(_ e: EndpointPointer) {
        let idle = Int32(bitPattern: ticks32 &- UInt32(truncatingIfNeeded: e.cold.pointee.lastSent))
        guard e.cold.pointee.cubic.epoch != 0, idle > 0 else { return }
        e.cold.pointee.cubic.epoch = e.cold.pointee.cubic.epoch &+ UInt32(idle)
        if Int32(bitPattern: e.cold.pointee.cubic.epoch &- ticks32) > 0 { e.cold.pointee.cubic.epoch = max(1, ticks32) }
    }

    /// A round-trip sample of an ACK, in µs (`bictcp_acked`).
    func cubicSample(_ e: EndpointPointer, microseconds: UInt32) {
        guard e.cold.pointee.congestion == .cubic else { return }
        let epoch = e.cold.pointee.cubic.epoch
        if epoch != 0, Int32(bitPattern: ticks32 &- epoch) < Int32(TransportStack.ticksPerSecond) { return }
        let delay = max(1, microseconds)
        if e.cold.pointee.cubic.minimumDelay == 0 || e.cold.pointee.cubic.minimumDelay > delay { e.cold.pointee.cubic.minimumDelay = delay }
        if !e.cold.pointee.cubic.hasFoundExit, e.pointee.window < e.cold.pointee.slowStartThreshold, settings.cubic_hystart { hybridSlowStart(e, delay) }
    }

    /// `hystart_update`: slow start ends when ACKs of a round stretch over half the least delay, or when the delay of a round's first eight ACKs grew.
    private func hybridSlowStart(_ e: EndpointPointer, _ delay: UInt32) {
        if e.pointee.unacknowledged.isAfter(e.cold.pointee.cubic.roundEnd) { beginRound(e) }
        guard e.pointee.window >= 16 else { return }
        if settings.cubic_hystart_detect & 1 != 0, now.nanoseconds &- e.cold.pointee.cubic.lastAck <= 2_000_000 {
            e.cold.pointee.cubic.lastAck = now.nanoseconds
            let rate = max(1, pacingRate(e))
            let ackDelay = min(1000, 65_536 * 4 * 1_000_000 / rate)
            let threshold = (UInt64(e.cold.pointee.cubic.minimumDelay) + ackDelay) >> 1
            if (now.nanoseconds &- e.cold.pointee.cubic.roundStart) / 1000 > threshold {
                statistics.ext.TCPHystartTrainDetect += 1
                statistics.ext.TCPHystartTrainCwnd += Int(e.pointee.window)
                leaveSlowStart(e)
            }
        }
        if settings.cubic_hystart_detect & 2 != 0 {
            e.cold.pointee.cubic.roundDelay = min(e.cold.pointee.cubic.roundDelay, delay)
            if e.cold.pointee.cubic.samples < 8 {
                e.cold.pointee.cubic.samples += 1
            } else {
                let least = e.cold.pointee.cubic.minimumDelay
                if e.cold.pointee.cubic.roundDelay > least + min(max(least >> 3, 4000), 16_000) {
                    statistics.ext.TCPHystartDelayDetect += 1
                    statistics.ext.TCPHystartDelayCwnd += Int(e.pointee.window)
                    leaveSlowStart(e)
                }
            }
        }
    }

    private func leaveSlowStart(_ e: EndpointPointer) {
        e.cold.pointee.cubic.hasFoundExit = true
        e.cold.pointee.slowStartThreshold = e.pointee.window
    }

    /// The integer cube root; the kernel's table and one Newton step give the same to within a part in a thousand.
    static func cubeRoot(_ value: UInt64) -> UInt64 {
        var low: UInt64 = 0
        var high: UInt64 = 2_097_151
        while low < high {
            let middle = (low + high + 1) / 2
            if middle * middle * middle <= value { low = middle } else { high = middle - 1 }
        }
        return low
    }
}
