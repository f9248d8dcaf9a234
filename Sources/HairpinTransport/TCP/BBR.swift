import HairpinEngine
import HairpinWire

/// BBR, version 1 (`tcp_bbr.c`; draft-cardwell-iccrg-bbr-congestion-control-00): a model of the path, made of the largest delivery rate of ten round
/// trips and the least round trip of ten seconds, sets the pacing rate and the window. Loss does not, but by the rate of a policer (`lt_bw`).
///
/// Rates are in segments a microsecond, shifted by 24; gains in 1/256.
struct BBR: BitwiseCopyable {
    enum Mode: UInt8 { case startup, drain, probeBandwidth, probeRTT }

    static let rateShift: UInt64 = 24
    static let unit: UInt64 = 256
    /// 2/ln 2: the least gain that doubles the delivery rate each round trip.
    static let highGain = unit * 2885 / 1000 + 1
    static let drainGain = unit * 1000 / 2885
    static let windowGain = unit * 2
    /// Probe for more, drain what that queued, cruise.
    static let cycle: [UInt64] = [unit * 5 / 4, unit * 3 / 4, unit, unit, unit, unit, unit, unit]
    /// Round trips that the largest rate is remembered for: a cycle and two.
    static let rateRounds: UInt32 = 10
    /// Ticks that the least round trip is believed for, and that its probe lasts.
    static let rttLifetime = 10_000_000_000 / TimerWheel.tick, probeLength = 200_000_000 / TimerWheel.tick
    static let leastWindow: UInt32 = 4
    /// Below 1.2 Mbit/s bursts may be single segments. Bytes a second.
    static let leastBurstRate: UInt64 = 1_200_000 / 8
    /// Less than a quarter more in three rounds: the pipe is full.
    static let fullThreshold = unit * 5 / 4, fullRounds: UInt8 = 3
    /// Policers: intervals of 4 to 16 rounds with a loss rate of 50/256, two in a row whose rates differ by no more than an eighth or 4 kbit/s; the rate
    /// then holds for 48 rounds.
    static let policerRounds: UInt32 = 4, policerLoss: UInt64 = 50, policerRatio = unit / 8, policerDifference: UInt64 = 4000 / 8, policerLifetime: UInt32 = 48
    static let aggregationRounds: UInt8 = 5, aggregationReset: UInt32 = 1 << 20, aggregationLimit: UInt64 = 100_000

    var mode = Mode.startup
    /// In µs; `.max`: none known.
    var minimumRTT = UInt32.max
    /// Jiffies when it was seen; when the probe of it may end, zero before it has begun.
    var minimumRTTStamp: UInt64 = 0
    var probeDone: UInt64 = 0
    var probeRoundDone = false
    var rate = WindowedMaximum()
    var rounds: UInt32 = 0
    /// A round trip ends when what was sent after this much was delivered arrives.
    var nextRound: UInt32 = 0
    var isRoundStart = false
    /// When the present phase of the cycle began, in µs.
    var cycleStart: UInt64 = 0
    var cycleIndex = 0
    var priorPhase = RecoveryPhase.open
    var conservesPackets = false
    var isRestartingIdle = false
    var hasSeenRTT = false
    var pacingGain: UInt64 = 0
    var windowGain: UInt64 = 0
    var isFull = false
    var fullCount: UInt8 = 0
    var fullRate: UInt32 = 0
    var priorWindow: UInt32 = 0
    // Policer.
    var isSampling = false
    var usesPolicerRate = false
    var policerRate: UInt32 = 0
    var policerRound: UInt32 = 0
    var policerDelivered: UInt32 = 0
    var policerLost: UInt32 = 0
    /// In ms.
    var policerStamp: UInt32 = 0
    // How much more than expected ACKs of aggregating links bring at once.
    var epochStart: UInt64 = 0
    var epochAcked: UInt32 = 0
    var extraAcked: (UInt32, UInt32) = (0, 0)
    var extraRounds: UInt8 = 0
    var extraIndex = 0

    var largestRate: UInt64 { UInt64(rate.best) }
    /// What the sender goes by (`bbr_bw`).
    var presentRate: UInt64 { usesPolicerRate ? UInt64(policerRate) : largestRate }
}

/// The largest of the values of a window, kept as the best three of its thirds (`win_minmax.c`, after Kathleen Nichols).
struct WindowedMaximum: BitwiseCopyable {
    private struct Entry: BitwiseCopyable {
        var time: UInt32 = 0
        var value: UInt32 = 0
    }
    private var first = Entry(), second = Entry(), third = Entry()

    var best: UInt32 { first.value }

    mutating func reset(_ value: UInt32, at time: UInt32) {
        first = Entry(time: time, value: value)
        (second, third) = (first, first)
    }

    mutating func update(_ value: UInt32, at time: UInt32, window: UInt32) {
        let new = Entry(time: time, value: value)
        if value >= first.value || time &- third.time > window { return reset(value, at: time) }
        if value >= second.value {
            (second, third) = (new, new)
        } else if value >= third.value {
            third = new
        }
        let age = time &- first.time
        if age > window {
            (first, second, third) = (second, third, new)
            if time &- first.time > window { (first, second, third) = (second, third, new) }
        } else if second.time == first.time, age > window / 4 {
            (second, third) = (new, new)
        } else if third.time == second.time, age > window / 2 {
            third = new
        }
    }
}

// MARK: events

extension TransportStack {
    /// `bbr_init`
    func startBBR(_ e: EndpointPointer) {
        let modules = requireModules(e)
        let jiffies = TimerWheel.jiffies(now)
        var bbr = BBR()
        bbr.nextRound = e.cold.pointee.delivered
        bbr.minimumRTT = e.cold.pointee.minimumRTT
        bbr.minimumRTTStamp = jiffies
        bbr.epochStart = now.nanoseconds / 1000
        modules.pointee.bbr = bbr
        e.cold.pointee.slowStartThreshold = .max
        initializeRate(e, modules)
        resetPolicer(e, modules)
        modules.pointee.pacing.isOn = true
    }

    /// After an ACK (`bbr_main`).
    func controlBBR(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        updateRate(e, modules)
        updateAggregation(e, modules)
        updateCycle(e, modules)
        checkFull(modules)
        checkDrain(e, modules)
        updateMinimum(e, modules)
        updateGains(modules)
        let rate = modules.pointee.bbr.presentRate
        setRate(e, modules, rate, gain: modules.pointee.bbr.pacingGain)
        setWindow(e, modules, rate, gain: modules.pointee.bbr.windowGain)
    }

    /// The first packet after nothing was in flight (`bbr_cwnd_event`).
    func resumeBBR(_ e: EndpointPointer) {
        guard let modules = e.cold.pointee.modules, e.cold.pointee.rate.applicationLimit != 0 else { return }
        modules.pointee.bbr.isRestartingIdle = true
        modules.pointee.bbr.epochStart = now.nanoseconds / 1000
        modules.pointee.bbr.epochAcked = 0
        switch modules.pointee.bbr.mode {
        case .probeBandwidth: setRate(e, modules, modules.pointee.bbr.presentRate, gain: BBR.unit)
        case .probeRTT: checkProbeDone(e, modules)
        default: break
        }
    }

    /// A loss does not lower the threshold, but what recovery leaves of the window is given back (`bbr_ssthresh`).
    func thresholdBBR(_ e: EndpointPointer) -> UInt32 {
        if let modules = e.cold.pointee.modules { saveWindow(e, modules) }
        return e.cold.pointee.slowStartThreshold
    }

    /// A timeout counts as the end of a round with a loss (`bbr_set_state`).
    func timeoutBBR(_ e: EndpointPointer) {
        guard let modules = e.cold.pointee.modules else { return }
        modules.pointee.bbr.priorPhase = .loss
        modules.pointee.bbr.fullRate = 0
        modules.pointee.bbr.isRoundStart = true
        samplePolicer(e, modules, losses: 1, isApplicationLimited: false)
    }

    /// The loss was none (`bbr_undo_cwnd`).
    func undoBBR(_ e: EndpointPointer) {
        guard let modules = e.cold.pointee.modules else { return }
        modules.pointee.bbr.fullRate = 0
        modules.pointee.bbr.fullCount = 0
        resetPolicer(e, modules)
    }
}

// MARK: rates and windows from the model

extension TransportStack {
    /// Bytes a second of a rate times a gain, one per cent below what the path is believed to carry (`bbr_rate_bytes_per_sec`).
    private func bytesPerSecond(_ e: EndpointPointer, _ rate: UInt64, gain: UInt64) -> UInt64 {
        var bytes = rate &* UInt64(e.pointee.segmentSize)
        bytes = (bytes &* gain) >> 8
        bytes = bytes &* (1_000_000 / 100 * 99)
        return bytes >> BBR.rateShift
    }

    private func pacingRate(_ e: EndpointPointer, _ modules: SenderModulesPointer, _ rate: UInt64, gain: UInt64) -> UInt64 {
        min(bytesPerSecond(e, rate, gain: gain), modules.pointee.pacing.maximumRate)
    }

    /// The initial window each round trip, or each millisecond before one is known (`bbr_init_pacing_rate_from_rtt`).
    private func initializeRate(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        var rtt: UInt64 = 1000
        if e.cold.pointee.smoothedRTT != 0 {
            rtt = max(UInt64(e.cold.pointee.smoothedRTT >> 3), 1)
            modules.pointee.bbr.hasSeenRTT = true
        }
        modules.pointee.pacing.rate = pacingRate(e, modules, UInt64(e.pointee.window) << BBR.rateShift / rtt, gain: BBR.highGain)
    }

    /// `bbr_set_pacing_rate`: until the pipe is full the rate only rises.
    private func setRate(_ e: EndpointPointer, _ modules: SenderModulesPointer, _ rate: UInt64, gain: UInt64) {
        let new = pacingRate(e, modules, rate, gain: gain)
        if !modules.pointee.bbr.hasSeenRTT, e.cold.pointee.smoothedRTT != 0 { initializeRate(e, modules) }
        if modules.pointee.bbr.isFull || new > modules.pointee.pacing.rate { modules.pointee.pacing.rate = new }
    }

    /// Least segments of a burst (`bbr_min_tso_segs`).
    func leastBurstBBR(_ modules: SenderModulesPointer) -> Int { modules.pointee.pacing.rate < BBR.leastBurstRate ? 1 : 2 }

    /// `bbr_tso_segs_goal`
    private func burstGoal(_ e: EndpointPointer, _ modules: SenderModulesPointer) -> UInt32 {
        let bytes = min(modules.pointee.pacing.rate >> 10, 65_536 - 1 - 320)
        return UInt32(min(max(Int(bytes) / max(1, Int(e.pointee.segmentSize)), leastBurstBBR(modules)), 127))
    }

    /// Segments that `gain` times the product of rate and least round trip are (`bbr_bdp`).
    private func product(_ modules: SenderModulesPointer, _ rate: UInt64, gain: UInt64) -> UInt32 {
        guard modules.pointee.bbr.minimumRTT != .max else { return 10 }
        let w = rate &* UInt64(modules.pointee.bbr.minimumRTT)
        return UInt32(clamping: (((w &* gain) >> 8) &+ (1 << BBR.rateShift) &- 1) >> BBR.rateShift)
    }

    /// Room for bursts in the making on both ends (`bbr_quantization_budget`).
    private func quantized(_ e: EndpointPointer, _ modules: SenderModulesPointer, _ window: UInt32) -> UInt32 {
        var result = window &+ 3 * burstGoal(e, modules)
        result = (result &+ 1) & ~1
        if modules.pointee.bbr.mode == .probeBandwidth, modules.pointee.bbr.cycleIndex == 0 { result &+= 2 }
        return result
    }

    private func inFlightGoal(_ e: EndpointPointer, _ modules: SenderModulesPointer, gain: UInt64) -> UInt32 {
        quantized(e, modules, product(modules, modules.pointee.bbr.largestRate, gain: gain))
    }

    /// Segments that will be in the network when pacing lets the next one go (`bbr_packets_in_net_at_edt`).
    private func inNetwork(_ e: EndpointPointer, _ modules: SenderModulesPointer, inFlight: Int) -> UInt32 {
        let next = max(modules.pointee.pacing.next, now.nanoseconds)
        let interval = (next - now.nanoseconds) / 1000
        let delivered = (modules.pointee.bbr.presentRate &* interval) >> BBR.rateShift
        var result = UInt64(max(0, inFlight))
        if modules.pointee.bbr.pacingGain > BBR.unit { result += UInt64(burstGoal(e, modules)) }
        return delivered >= result ? 0 : UInt32(clamping: result - delivered)
    }

    private func saveWindow(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        let phase = modules.pointee.bbr.priorPhase
        let isAnew = phase != .recovery && phase != .loss && modules.pointee.bbr.mode != .probeRTT
        modules.pointee.bbr.priorWindow = isAnew ? e.pointee.window : max(modules.pointee.bbr.priorWindow, e.pointee.window)
    }

    /// `bbr_set_cwnd`
    private func setWindow(_ e: EndpointPointer, _ modules: SenderModulesPointer, _ rate: UInt64, gain: UInt64) {
        let acked = modules.pointee.sample.acked
        var window = e.pointee.window
        if acked > 0 {
            let (recovering, isConserving) = recoveringWindow(e, modules, acked: acked)
            window = recovering
            if !isConserving {
                let target = quantized(e, modules, product(modules, rate, gain: gain) &+ aggregationWindow(modules))
                if modules.pointee.bbr.isFull {
                    window = min(window &+ acked, target)
                } else if window < target || e.cold.pointee.delivered < 10 {
                    window = window &+ acked
                }
                window = max(window, BBR.leastWindow)
            }
        }
        window = min(window, 1 << 20)
        if modules.pointee.bbr.mode == .probeRTT { window = min(window, BBR.leastWindow) }
        e.pointee.window = max(1, window)
    }

    /// In the first round of recovery one segment may go for each that arrived; afterwards the window of before is restored
    /// (`bbr_set_cwnd_to_recover_or_restore`).
    private func recoveringWindow(_ e: EndpointPointer, _ modules: SenderModulesPointer, acked: UInt32) -> (UInt32, isConserving: Bool) {
        let prior = modules.pointee.bbr.priorPhase
        let phase = e.pointee.phase
        let inFlight = UInt32(max(0, e.pointee.inFlight))
        var window = e.pointee.window
        let losses = modules.pointee.sample.losses
        if losses > 0 { window = window > losses ? window - losses : 1 }
        let wasLosing = prior == .recovery || prior == .loss
        if phase == .recovery, prior != .recovery {
            modules.pointee.bbr.conservesPackets = true
            modules.pointee.bbr.nextRound = e.cold.pointee.delivered
            window = inFlight &+ acked
        } else if wasLosing, phase != .recovery, phase != .loss {
            window = max(window, modules.pointee.bbr.priorWindow)
            modules.pointee.bbr.conservesPackets = false
        }
        modules.pointee.bbr.priorPhase = phase
        if modules.pointee.bbr.conservesPackets { return (max(window, inFlight &+ acked), true) }
        return (window, false)
    }

    /// `bbr_ack_aggregation_cwnd`
    private func aggregationWindow(_ modules: SenderModulesPointer) -> UInt32 {
        guard modules.pointee.bbr.isFull else { return 0 }
        let most = (modules.pointee.bbr.presentRate &* BBR.aggregationLimit) >> BBR.rateShift
        let extra = max(modules.pointee.bbr.extraAcked.0, modules.pointee.bbr.extraAcked.1)
        return UInt32(clamping: min(UInt64(extra), most))
    }
}

// MARK: the model

extension TransportStack {
    /// `bbr_update_bw`
    private func updateRate(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        let sample = modules.pointee.sample
        modules.pointee.bbr.isRoundStart = false
        guard sample.delivered >= 0, sample.interval > 0 else { return }
        if Int32(bitPattern: sample.priorDelivered &- modules.pointee.bbr.nextRound) >= 0 {
            modules.pointee.bbr.nextRound = e.cold.pointee.delivered
            modules.pointee.bbr.rounds &+= 1
            modules.pointee.bbr.isRoundStart = true
            modules.pointee.bbr.conservesPackets = false
        }
        samplePolicer(e, modules, losses: sample.losses, isApplicationLimited: sample.isApplicationLimited)
        let rate = UInt64(sample.delivered) << BBR.rateShift / UInt64(sample.interval)
        if !sample.isApplicationLimited || rate >= modules.pointee.bbr.largestRate {
            modules.pointee.bbr.rate.update(UInt32(clamping: rate), at: modules.pointee.bbr.rounds, window: BBR.rateRounds)
        }
    }

    private func resetPolicerInterval(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        modules.pointee.bbr.policerStamp = UInt32(truncatingIfNeeded: e.cold.pointee.rate.deliveredAt / 1000)
        modules.pointee.bbr.policerDelivered = e.cold.pointee.delivered
        modules.pointee.bbr.policerLost = e.cold.pointee.lostEver
        modules.pointee.bbr.policerRound = 0
    }

    private func resetPolicer(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        modules.pointee.bbr.policerRate = 0
        modules.pointee.bbr.usesPolicerRate = false
        modules.pointee.bbr.isSampling = false
        resetPolicerInterval(e, modules)
    }

    /// Token buckets let a burst through and then drop what exceeds their rate: two intervals between losses that show the same rate are taken for one
    /// (`bbr_lt_bw_sampling`).
    private func samplePolicer(_ e: EndpointPointer, _ modules: SenderModulesPointer, losses: UInt32, isApplicationLimited: Bool) {
        if modules.pointee.bbr.usesPolicerRate {
            guard modules.pointee.bbr.mode == .probeBandwidth, modules.pointee.bbr.isRoundStart else { return }
            modules.pointee.bbr.policerRound += 1
            if modules.pointee.bbr.policerRound >= BBR.policerLifetime {
                resetPolicer(e, modules)
                beginProbing(e, modules)
            }
            return
        }
        if !modules.pointee.bbr.isSampling {
            guard losses > 0 else { return }
            resetPolicerInterval(e, modules)
            modules.pointee.bbr.isSampling = true
        }
        if isApplicationLimited { return resetPolicer(e, modules) }
        if modules.pointee.bbr.isRoundStart { modules.pointee.bbr.policerRound += 1 }
        guard modules.pointee.bbr.policerRound >= BBR.policerRounds else { return }
        if modules.pointee.bbr.policerRound > 4 * BBR.policerRounds { return resetPolicer(e, modules) }
        guard losses > 0 else { return }
        let lost = UInt64(e.cold.pointee.lostEver &- modules.pointee.bbr.policerLost)
        let delivered = UInt64(e.cold.pointee.delivered &- modules.pointee.bbr.policerDelivered)
        guard delivered > 0, lost << 8 >= BBR.policerLoss * delivered else { return }
        let elapsed = UInt32(truncatingIfNeeded: e.cold.pointee.rate.deliveredAt / 1000) &- modules.pointee.bbr.policerStamp
        guard Int32(bitPattern: elapsed) >= 1 else { return }
        if elapsed >= UInt32.max / 1000 { return resetPolicer(e, modules) }
        finishPolicerInterval(e, modules, rate: UInt32(clamping: delivered << BBR.rateShift / (UInt64(elapsed) * 1000)))
    }

    /// `bbr_lt_bw_interval_done`
    private func finishPolicerInterval(_ e: EndpointPointer, _ modules: SenderModulesPointer, rate: UInt32) {
        let old = modules.pointee.bbr.policerRate
        if old != 0 {
            let difference = UInt64(rate > old ? rate - old : old - rate)
            if difference * BBR.unit <= BBR.policerRatio * UInt64(old) || bytesPerSecond(e, difference, gain: BBR.unit) <= BBR.policerDifference {
                modules.pointee.bbr.policerRate = UInt32((UInt64(rate) + UInt64(old)) >> 1)
                modules.pointee.bbr.usesPolicerRate = true
                modules.pointee.bbr.pacingGain = BBR.unit
                modules.pointee.bbr.policerRound = 0
                return
            }
        }
        modules.pointee.bbr.policerRate = rate
        resetPolicerInterval(e, modules)
    }

    /// `bbr_update_ack_aggregation`
    private func updateAggregation(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        let sample = modules.pointee.sample
        guard sample.acked > 0, sample.delivered >= 0, sample.interval > 0 else { return }
        var bbr = modules.pointee.bbr
        defer { modules.pointee.bbr = bbr }
        if bbr.isRoundStart {
            bbr.extraRounds = min(31, bbr.extraRounds + 1)
            if bbr.extraRounds >= BBR.aggregationRounds {
                bbr.extraRounds = 0
                bbr.extraIndex = 1 - bbr.extraIndex
                if bbr.extraIndex == 0 { bbr.extraAcked.0 = 0 } else { bbr.extraAcked.1 = 0 }
            }
        }
        let deliveredAt = e.cold.pointee.rate.deliveredAt
        let epoch = deliveredAt > bbr.epochStart ? deliveredAt - bbr.epochStart : 0
        var expected = UInt32(clamping: (bbr.presentRate &* epoch) >> BBR.rateShift)
        if bbr.epochAcked <= expected || bbr.epochAcked &+ sample.acked >= BBR.aggregationReset {
            bbr.epochAcked = 0
            bbr.epochStart = deliveredAt
            expected = 0
        }
        bbr.epochAcked = min(0xf_ffff, bbr.epochAcked &+ sample.acked)
        let extra = min(bbr.epochAcked - min(expected, bbr.epochAcked), e.pointee.window)
        if bbr.extraIndex == 0 { bbr.extraAcked.0 = max(bbr.extraAcked.0, extra) } else { bbr.extraAcked.1 = max(bbr.extraAcked.1, extra) }
    }

    /// `bbr_update_cycle_phase`, `bbr_is_next_cycle_phase`
    private func updateCycle(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        guard modules.pointee.bbr.mode == .probeBandwidth else { return }
        let sample = modules.pointee.sample
        let deliveredAt = e.cold.pointee.rate.deliveredAt
        let started = modules.pointee.bbr.cycleStart
        let isFullLength = (deliveredAt > started ? deliveredAt - started : 0) > UInt64(modules.pointee.bbr.minimumRTT)
        let gain = modules.pointee.bbr.pacingGain
        let isNext: Bool
        if gain == BBR.unit {
            isNext = isFullLength
        } else {
            let inFlight = inNetwork(e, modules, inFlight: sample.priorInFlight)
            if gain > BBR.unit {
                isNext = isFullLength && (sample.losses > 0 || inFlight >= inFlightGoal(e, modules, gain: gain))
            } else {
                isNext = isFullLength || inFlight <= inFlightGoal(e, modules, gain: BBR.unit)
            }
        }
        if isNext { advanceCycle(e, modules) }
    }

    private func advanceCycle(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        modules.pointee.bbr.cycleIndex = (modules.pointee.bbr.cycleIndex + 1) & 7
        modules.pointee.bbr.cycleStart = e.cold.pointee.rate.deliveredAt
    }

    /// In a phase drawn at random, but not the draining one (`bbr_reset_probe_bw_mode`).
    private func beginProbing(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        modules.pointee.bbr.mode = .probeBandwidth
        modules.pointee.bbr.cycleIndex = 7 - Int(random.next32() % 7)
        advanceCycle(e, modules)
    }

    /// `bbr_check_full_bw_reached`
    private func checkFull(_ modules: SenderModulesPointer) {
        guard !modules.pointee.bbr.isFull, modules.pointee.bbr.isRoundStart, !modules.pointee.sample.isApplicationLimited else { return }
        let largest = modules.pointee.bbr.largestRate
        if largest >= (UInt64(modules.pointee.bbr.fullRate) * BBR.fullThreshold) >> 8 {
            modules.pointee.bbr.fullRate = UInt32(largest)
            modules.pointee.bbr.fullCount = 0
            return
        }
        modules.pointee.bbr.fullCount += 1
        modules.pointee.bbr.isFull = modules.pointee.bbr.fullCount >= BBR.fullRounds
    }

    /// `bbr_check_drain`
    private func checkDrain(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        if modules.pointee.bbr.mode == .startup, modules.pointee.bbr.isFull {
            modules.pointee.bbr.mode = .drain
            e.cold.pointee.slowStartThreshold = inFlightGoal(e, modules, gain: BBR.unit)
        }
        if modules.pointee.bbr.mode == .drain, inNetwork(e, modules, inFlight: e.pointee.inFlight) <= inFlightGoal(e, modules, gain: BBR.unit) {
            beginProbing(e, modules)
        }
    }

    /// `bbr_update_min_rtt`: a least round trip that is ten seconds old is looked for anew, with four segments in flight for 200 ms.
    private func updateMinimum(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        let sample = modules.pointee.sample
        let jiffies = TimerWheel.jiffies(now)
        let hasExpired = jiffies > modules.pointee.bbr.minimumRTTStamp + BBR.rttLifetime
        if sample.roundTrip >= 0, sample.roundTrip < Int64(modules.pointee.bbr.minimumRTT) || (hasExpired && !sample.isAckDelayed) {
            modules.pointee.bbr.minimumRTT = UInt32(clamping: sample.roundTrip)
            modules.pointee.bbr.minimumRTTStamp = jiffies
        }
        if hasExpired, !modules.pointee.bbr.isRestartingIdle, modules.pointee.bbr.mode != .probeRTT {
            modules.pointee.bbr.mode = .probeRTT
            saveWindow(e, modules)
            modules.pointee.bbr.probeDone = 0
        }
        if modules.pointee.bbr.mode == .probeRTT {
            // The rates of this time tell nothing.
            limitByApplication(e)
            if modules.pointee.bbr.probeDone == 0 {
                if e.pointee.inFlight <= Int(BBR.leastWindow) {
                    modules.pointee.bbr.probeDone = jiffies + BBR.probeLength
                    modules.pointee.bbr.probeRoundDone = false
                    modules.pointee.bbr.nextRound = e.cold.pointee.delivered
                }
            } else {
                if modules.pointee.bbr.isRoundStart { modules.pointee.bbr.probeRoundDone = true }
                if modules.pointee.bbr.probeRoundDone { checkProbeDone(e, modules) }
            }
        }
        if sample.delivered > 0 { modules.pointee.bbr.isRestartingIdle = false }
    }

    /// `bbr_check_probe_rtt_done`
    private func checkProbeDone(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        let jiffies = TimerWheel.jiffies(now)
        guard modules.pointee.bbr.probeDone != 0, jiffies > modules.pointee.bbr.probeDone else { return }
        modules.pointee.bbr.minimumRTTStamp = jiffies
        e.pointee.window = max(e.pointee.window, modules.pointee.bbr.priorWindow)
        if modules.pointee.bbr.isFull { beginProbing(e, modules) } else { modules.pointee.bbr.mode = .startup }
    }

    /// `bbr_update_gains`
    private func updateGains(_ modules: SenderModulesPointer) {
        switch modules.pointee.bbr.mode {
        case .startup: (modules.pointee.bbr.pacingGain, modules.pointee.bbr.windowGain) = (BBR.highGain, BBR.highGain)
        case .drain: (modules.pointee.bbr.pacingGain, modules.pointee.bbr.windowGain) = (BBR.drainGain, BBR.highGain)
        case .probeBandwidth:
            modules.pointee.bbr.pacingGain = modules.pointee.bbr.usesPolicerRate ? BBR.unit : BBR.cycle[modules.pointee.bbr.cycleIndex]
            modules.pointee.bbr.windowGain = BBR.windowGain
        case .probeRTT: (modules.pointee.bbr.pacingGain, modules.pointee.bbr.windowGain) = (BBR.unit, BBR.unit)
        }
    }
}
