import HairpinEngine
import HairpinWire

/// Congestion window: slow start and linear growth (RFC 5681 §3.1), validation (RFC 7661 in Linux's form), and the proportional reduction of
/// recovery (RFC 6937). Windows are counted in segments, as in Linux.
extension TransportStack {
    /// No loss has set a threshold yet (TCP_INFINITE_SSTHRESH).
    static let infiniteThreshold: UInt32 = 0x7fff_ffff
    /// The share of the window kept on loss, in 1/1024.
    static let decrease: UInt32 = 717

    /// `tcp_cong_avoid`, for Reno and CUBIC.
    func growCongestionWindow(_ e: EndpointPointer, acked: UInt32) {
        guard isWindowUsed(e) else { return }
        var acked = acked
        if e.pointee.window < e.cold.pointee.slowStartThreshold {
            let grown = min(e.pointee.window + acked, e.cold.pointee.slowStartThreshold)
            acked -= grown - e.pointee.window
            e.pointee.window = min(grown, 1 << 20)
            if acked == 0 { return }
        }
        let count = e.cold.pointee.congestion == .cubic ? cubicCount(e, acked: acked) : e.pointee.window
        // `tcp_cong_avoid_ai`
        if e.cold.pointee.windowCount >= count {
            e.cold.pointee.windowCount = 0
            e.pointee.window += 1
        }
        e.cold.pointee.windowCount += acked
        if e.cold.pointee.windowCount >= count {
            let steps = e.cold.pointee.windowCount / count
            e.cold.pointee.windowCount -= steps * count
            e.pointee.window += steps
        }
        e.pointee.window = min(e.pointee.window, 1 << 20)
    }

    /// Whether the last flight was bound by the window (`tcp_is_cwnd_limited`); in slow start half the window in use is enough.
    private func isWindowUsed(_ e: EndpointPointer) -> Bool {
        if e.pointee.flags.contains(.cwndLimited) { return true }
        return e.pointee.window < e.cold.pointee.slowStartThreshold && e.pointee.window < 2 * e.cold.pointee.maximumOut
    }

    /// After sending (`tcp_cwnd_validate`).
    func validateCongestionWindow(_ e: EndpointPointer, limited: Bool) {
        let out = UInt32(e.pointee.packetsOut)
        // The most that was out in this round trip, kept until the flight it belongs to is acknowledged.
        if !e.pointee.unacknowledged.isBefore(e.cold.pointee.windowUsedMark) || limited || (!e.pointee.flags.contains(.cwndLimited) && out > e.cold.pointee.maximumOut) {
            if limited { e.pointee.flags.insert(.cwndLimited) } else { e.pointee.flags.remove(.cwndLimited) }
            e.cold.pointee.maximumOut = out
            e.cold.pointee.windowUsedMark = e.pointee.sendNext
        }
        let jiffies = TimerWheel.jiffies(now)
        if isWindowUsed(e) {
            e.cold.pointee.windowUsed = 0
            e.cold.pointee.windowStamp = jiffies
            return
        }
        e.cold.pointee.windowUsed = max(e.cold.pointee.windowUsed, out)
        if settings.tcp_slow_start_after_idle, e.cold.pointee.congestion != .bbr, jiffies &- e.cold.pointee.windowStamp >= UInt64(e.pointee.retransmitTimeout) {
            shrinkUnusedWindow(e, jiffies)
        }
        if e.cold.pointee.queue.count == 0, e.pointee.flags.contains(.noSpace), e.pointee.state == .established || e.pointee.state == .closeWait {
            startChronograph(e, .bufferLimited)
        }
    }

    /// A window the program has not used for an RTO is halved towards what it did use (`tcp_cwnd_application_limited`, RFC 2861).
    private func shrinkUnusedWindow(_ e: EndpointPointer, _ jiffies: UInt64) {
        if e.pointee.phase == .open, !e.pointee.flags.contains(.orphan), !e.pointee.flags.contains(.noSpace) {
            let used = max(e.cold.pointee.windowUsed, 10)
            if used < e.pointee.window {
                e.cold.pointee.slowStartThreshold = currentThreshold(e)
                e.pointee.window = (e.pointee.window + used) >> 1
            }
            e.cold.pointee.windowUsed = 0
        }
        e.cold.pointee.windowStamp = jiffies
    }

    /// A pause longer than the RTO costs half the window for each RTO (`tcp_cwnd_restart`).
    func restartAfterIdle(_ e: EndpointPointer) {
        guard settings.tcp_slow_start_after_idle, e.pointee.packetsOut == 0, e.cold.pointee.congestion != .bbr else { return }
        let jiffies = TimerWheel.jiffies(now)
        let idle = jiffies &- e.cold.pointee.lastSent
        guard e.cold.pointee.lastSent != 0, idle > UInt64(e.pointee.retransmitTimeout) else { return }
        e.cold.pointee.slowStartThreshold = currentThreshold(e)
        let restart = min(10, e.pointee.window)
        var delta = idle
        while delta > UInt64(e.pointee.retransmitTimeout), e.pointee.window > restart {
            e.pointee.window >>= 1
            delta -= UInt64(e.pointee.retransmitTimeout)
        }
        e.pointee.window = max(e.pointee.window, restart)
        e.cold.pointee.windowStamp = jiffies
        e.cold.pointee.windowUsed = 0
    }

    /// `tcp_current_ssthresh`
    func currentThreshold(_ e: EndpointPointer) -> UInt32 {
        if e.pointee.phase == .recovery || e.pointee.phase == .reduced { return e.cold.pointee.slowStartThreshold }
        return max(e.cold.pointee.slowStartThreshold, (e.pointee.window >> 1) + (e.pointee.window >> 2))
    }

    func thresholdAfterLoss(_ e: EndpointPointer) -> UInt32 {
        switch e.cold.pointee.congestion {
        case .cubic: cubicThreshold(e)
        case .reno, .dctcpReno: max(2, e.pointee.window >> 1)
        case .dctcp: thresholdDCTCP(e)
        case .bbr: thresholdBBR(e)
        }
    }

    /// Begins a proportional reduction (`tcp_init_cwnd_reduction`).
    func beginReduction(_ e: EndpointPointer) {
        e.cold.pointee.highSequence = e.pointee.sendNext
        e.cold.pointee.probeHigh = SequenceNumber(0)
        e.pointee.flags.remove(.probeRetransmitted)
        e.cold.pointee.probing = false
        e.cold.pointee.windowCount = 0
        e.cold.pointee.priorWindow = e.pointee.window
        e.cold.pointee.proportionalDelivered = 0
        e.cold.pointee.proportionalOut = 0
        e.cold.pointee.slowStartThreshold = thresholdAfterLoss(e)
        queueCWR(e)
    }

    /// RFC 6937 (`tcp_cwnd_reduction`).
    func reduceWindow(_ e: EndpointPointer, delivered: Int, newlyLost: Int, unaAdvanced: Bool) {
        guard delivered > 0, e.cold.pointee.priorWindow > 0 else { return }
        e.cold.pointee.proportionalDelivered += UInt32(delivered)
        let delta = Int(e.cold.pointee.slowStartThreshold) - e.pointee.inFlight
        var send: Int
        if delta < 0 {
            let dividend = UInt64(e.cold.pointee.slowStartThreshold) * UInt64(e.cold.pointee.proportionalDelivered) + UInt64(e.cold.pointee.priorWindow) - 1
            send = Int(dividend / UInt64(e.cold.pointee.priorWindow)) - Int(e.cold.pointee.proportionalOut)
        } else {
            send = max(Int(e.cold.pointee.proportionalDelivered) - Int(e.cold.pointee.proportionalOut), delivered)
            if unaAdvanced, newlyLost == 0 { send += 1 }
            send = min(delta, send)
        }
        // The fast retransmission itself is always allowed.
        send = max(send, e.cold.pointee.proportionalOut > 0 ? 0 : 1)
        e.pointee.window = UInt32(max(1, e.pointee.inFlight + send))
    }

    func endReduction(_ e: EndpointPointer) {
        if e.cold.pointee.congestion == .bbr { return }
        if e.cold.pointee.slowStartThreshold < TransportStack.infiniteThreshold, e.pointee.phase == .reduced || e.cold.pointee.undoMark.rawValue != 0 {
            e.pointee.window = max(1, e.cold.pointee.slowStartThreshold)
            e.cold.pointee.windowStamp = TimerWheel.jiffies(now)
        }
    }

    /// Bytes a second (`sk_pacing_rate`); bounds the size of bursts, and the distance between them where pacing is on.
    func pacingRate(_ e: EndpointPointer) -> UInt64 {
        if let modules = e.cold.pointee.modules, modules.pointee.pacing.isOn { return modules.pointee.pacing.rate }
        return windowRate(e)
    }

    /// Bytes a second the window allows, twice that in slow start (`tcp_update_pacing_rate`).
    func windowRate(_ e: EndpointPointer) -> UInt64 {
        var rate = UInt64(e.pointee.segmentSize) * 80_000
        rate *= UInt64(e.pointee.window < e.cold.pointee.slowStartThreshold / 2 ? settings.tcp_pacing_ss_ratio : settings.tcp_pacing_ca_ratio)
        rate *= UInt64(max(e.pointee.window, UInt32(e.pointee.packetsOut)))
        return rate / UInt64(max(e.cold.pointee.smoothedRTT, 8))
    }
}
