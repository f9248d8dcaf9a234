import HairpinEngine
import HairpinWire

/// The timers of a connection: one for everything about retransmission, one for the delayed ACK, one for slow matters (`tcp_timer.c`).
extension TransportStack {
    /// Puts the earliest of the endpoint's deadlines into the heap.
    @inline(__always)
    func schedule(_ e: EndpointPointer) {
        timers.update(e, deadline: deadline(e))
    }

    @inline(__always)
    func deadline(_ e: EndpointPointer) -> UInt64 {
        let earliest = min(e.pointee.retransmitDeadline, e.pointee.ackDeadline, e.pointee.slowDeadline)
        guard let modules = e.cold.pointee.modules else { return earliest }
        return min(earliest, modules.pointee.pacing.deadline, modules.pointee.releaseAt)
    }

    /// `pacing`: the timer is about a packet that pacing may hold back (`tcp_reset_xmit_timer`).
    func arm(_ e: EndpointPointer, _ timer: RetransmitTimer, ticks: UInt64, pacing: Bool = true) {
        e.pointee.timer = timer
        let ticks = pacing && e.cold.pointee.modules != nil ? ticks + pacingDelay(e) : ticks
        e.pointee.retransmitDeadline = TimerWheel.expiry(now, ticks: min(ticks, UInt64(maximumTimeoutTicks(e))))
        schedule(e)
    }
    func disarm(_ e: EndpointPointer) {
        e.pointee.timer = .none
        e.pointee.retransmitDeadline = .max
    }
    func armSlow(_ e: EndpointPointer, ticks: UInt64) {
        e.pointee.slowDeadline = TimerWheel.expiry(now, ticks: ticks)
        schedule(e)
    }

    func endpointTimer(_ e: EndpointPointer) {
        if e.pointee.ackDeadline <= now.nanoseconds { ackTimerExpired(e) }
        if e.pointee.retransmitDeadline <= now.nanoseconds {
            let timer = e.pointee.timer
            disarm(e)
            switch timer {
            case .none: break
            case .retransmission: retransmissionTimeout(e)
            case .lossProbe: sendLossProbe(e)
            case .windowProbe: windowProbeTimeout(e)
            case .reordering: reorderingTimeout(e)
            }
            if isProbed { probe(e, timer) }
        }
        if let modules = e.cold.pointee.modules, min(modules.pointee.pacing.deadline, modules.pointee.releaseAt) <= now.nanoseconds {
            if modules.pointee.pacing.deadline <= now.nanoseconds { modules.pointee.pacing.deadline = .max }
            if modules.pointee.releaseAt <= now.nanoseconds { modules.pointee.releaseAt = .max }
            sendHeldBack(e)
        }
        if e.pointee.slowDeadline <= now.nanoseconds {
            e.pointee.slowDeadline = .max
            switch e.pointee.state {
            case .synReceived: synAckTimeout(e)
            case .finWait1 where e.pointee.flags.contains(.fastOpenChild): synAckTimeout(e)
            case .timeWait:
                statistics.ext.TW += 1
                leaveTimeWait(e)
            default: keepAliveTimeout(e)
            }
        }
        if e.pointee.slot != 0 { schedule(e) }
    }

    /// `tcp_rearm_rto`: RTO from now, or from when the oldest segment was sent if a probe or reordering timer interrupted it.
    func rearmRetransmission(_ e: EndpointPointer) {
        guard e.pointee.packetsOut > 0 else {
            if e.pointee.timer != .windowProbe { disarm(e) }
            return
        }
        var ticks = UInt64(e.pointee.retransmitTimeout)
        if e.pointee.timer == .lossProbe || e.pointee.timer == .reordering {
            let due = e.cold.pointee.sent[0].sentAt + ticks * TimerWheel.tick
            ticks = due > now.nanoseconds ? max(1, TimerWheel.ticks(Duration(nanoseconds: Int64(due - now.nanoseconds)))) : 1
        }
        arm(e, .retransmission, ticks: ticks)
    }

    /// `tcp_retransmit_timer`
    func retransmissionTimeout(_ e: EndpointPointer) {
        if e.pointee.state == .synSent { return synTimeout(e) }
        // Before the last ACK of a Fast Open only the SYN-ACK is repeated, by its own timer (`tcp_fastopen_synack_timer`).
        if e.pointee.flags.contains(.fastOpenChild) { return }
        guard e.pointee.packetsOut > 0 else { return }
        if e.pointee.sendWindow == 0, !e.pointee.flags.contains(.orphan), e.pointee.state != .synReceived { return retransmitIntoClosedWindow(e) }
        statistics.timeouts += 1
        if settings.tcp_mtu_probing > 0, haveTimedOut(e, settings.tcp_retries1) { doubtPath(e) }
        let isOver = hasTimedOut(e)
        if !e.pointee.flags.isDisjoint(with: [.triedFastOpen, .synData]) { suspectBlackHole(e, timeouts: e.cold.pointee.retransmits, isOver: isOver) }
        if isOver { return abortTimedOut(e) }
        e.cold.pointee.rehashes &+= 1
        if e.cold.pointee.retransmits == 0 { countFailure(e) }
        enterLoss(e)
        countTimeout(e, isFirst: e.cold.pointee.retransmits == 0)
        e.cold.pointee.retransmits = e.cold.pointee.retransmits == .max ? .max : e.cold.pointee.retransmits + 1
        endPacket(e, after: 0)
        retransmit(e, index: 0)
        guard e.pointee.state != .closed else { return }
        backOff(e)
    }

    /// The peer took its window back from what is in flight: retransmissions are probes then, which end the connection only when nothing is heard of the
    /// peer any more, or TCP_USER_TIMEOUT is over (`tcp_rtx_probe0_timed_out`).
    private func retransmitIntoClosedWindow(_ e: EndpointPointer) {
        let since = e.cold.pointee.retransmitStamp != 0 ? e.cold.pointee.retransmitStamp : e.cold.pointee.sent[0].sentAt
        let lasting = Int64(now.nanoseconds &- since)
        var limit = 2 * Int64(maximumTimeoutTicks(e)) * Int64(TimerWheel.tick)
        if e.cold.pointee.userTimeout > 0 {
            if lasting > e.cold.pointee.userTimeout { return abortTimedOut(e) }
            limit = min(limit, e.cold.pointee.userTimeout)
        }
        if Int64(now.nanoseconds &- e.cold.pointee.recentAckAt) > limit, lasting > limit { return abortTimedOut(e) }
        enterLoss(e)
        endPacket(e, after: 0)
        retransmit(e, index: 0)
        guard e.pointee.state != .closed else { return }
        backOff(e)
    }

    /// The next timeout is twice as long; of a stream with hardly anything in flight the first ones are not, if so set (`tcp_thin_linear_timeouts`).
    private func backOff(_ e: EndpointPointer) {
        let isThin = e.pointee.packetsOut < 4 && e.cold.pointee.slowStartThreshold < TransportStack.infiniteThreshold
        if settings.tcp_thin_linear_timeouts || e.pointee.flags.contains(.thin), isThin, e.pointee.state == .established, e.cold.pointee.retransmits <= 6 {
            e.cold.pointee.backoff = 0
            setTimeout(e)
            e.pointee.retransmitTimeout = max(e.pointee.retransmitTimeout, UInt32(e.cold.pointee.leastTimeout))
        } else {
            e.cold.pointee.backoff = min(e.cold.pointee.backoff + 1, 63)
            e.pointee.retransmitTimeout = min(e.pointee.retransmitTimeout << 1, maximumTimeoutTicks(e))
        }
        arm(e, .retransmission, ticks: boundToUserTimeout(e), pacing: false)
    }

    /// `tcp_update_rto_stats`
    func countTimeout(_ e: EndpointPointer, isFirst: Bool) {
        if isFirst {
            e.cold.pointee.timeoutSeries &+= 1
            e.cold.pointee.timeoutStamp = now.nanoseconds
        }
        e.cold.pointee.timeouts &+= 1
    }

    /// A series of timeouts is over (`tcp_update_rto_time`).
    func endTimeouts(_ e: EndpointPointer) {
        guard e.cold.pointee.timeoutStamp != 0 else { return }
        e.cold.pointee.timeoutTime &+= timeInTimeouts(e)
        e.cold.pointee.timeoutStamp = 0
    }

    /// Since the present series began, in ms of the clock of timestamps.
    func timeInTimeouts(_ e: EndpointPointer) -> UInt32 { UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000 &- e.cold.pointee.timeoutStamp / 1_000_000) }

    /// `tcp_write_err`
    func abortTimedOut(_ e: EndpointPointer) {
        statistics.ext.TCPAbortOnTimeout += 1
        abort(e, e.cold.pointee.softError != 0 ? Errno(e.cold.pointee.softError) : .timedOut)
    }

    /// What the first of several timeouts interrupts (`tcp_retransmit_timer`).
    private func countFailure(_ e: EndpointPointer) {
        let hasSACK = e.pointee.flags.contains(.selectiveAcks)
        if e.pointee.phase == .recovery {
            if hasSACK { statistics.ext.TCPSackRecoveryFail += 1 } else { statistics.ext.TCPRenoRecoveryFail += 1 }
        } else if e.pointee.phase == .loss {
            statistics.ext.TCPLossFailures += 1
        } else if e.pointee.phase == .disorder || e.pointee.sackedOut > 0 {
            if hasSACK { statistics.ext.TCPSackFailures += 1 } else { statistics.ext.TCPRenoFailures += 1 }
        }
    }

    /// The RTO, or what is left of TCP_USER_TIMEOUT, in ticks (`tcp_clamp_rto_to_user_timeout`).
    func boundToUserTimeout(_ e: EndpointPointer) -> UInt64 {
        let timeout = UInt64(e.pointee.retransmitTimeout)
        // A SYN counts from when it was first sent (`tcp_connect`).
        let since = e.pointee.state == .synSent ? e.cold.pointee.synSentAt : e.cold.pointee.retransmitStamp
        guard e.cold.pointee.userTimeout > 0, since != 0 || e.pointee.state == .synSent else { return timeout }
        let left = e.cold.pointee.userTimeout - Int64(now.nanoseconds &- since)
        return left <= 0 ? 1 : min(timeout, TimerWheel.ticks(Duration(nanoseconds: left)))
    }

    /// Whether retransmission has gone on for as long as so many doublings of the least RTO would take (`retransmits_timed_out`).
    private func hasTimedOut(_ e: EndpointPointer) -> Bool {
        guard e.cold.pointee.retransmits > 0 else { return false }
        if e.cold.pointee.userTimeout > 0 { return Int64(now.nanoseconds &- e.cold.pointee.retransmitStamp) >= e.cold.pointee.userTimeout }
        var boundary = settings.tcp_retries2
        if e.pointee.flags.contains(.orphan) { boundary = orphanRetries(e, isAlive: e.pointee.retransmitTimeout < maximumTimeoutTicks(e)) }
        return haveTimedOut(e, boundary)
    }

    /// How often something is sent again for a program that is gone (`tcp_orphan_retries`).
    private func orphanRetries(_ e: EndpointPointer, isAlive: Bool) -> Int {
        if e.cold.pointee.softError != 0, !isAlive { return 0 }
        return settings.tcp_orphan_retries == 0 && isAlive ? 8 : settings.tcp_orphan_retries
    }

    private func haveTimedOut(_ e: EndpointPointer, _ boundary: Int) -> Bool {
        guard e.cold.pointee.retransmits > 0 else { return false }
        return Int64(now.nanoseconds &- e.cold.pointee.retransmitStamp) >= modelTimeout(e, boundary, base: TransportStack.leastModelTimeout)
    }

    /// TCP_RTO_MIN, whatever the least timeout of the connection is.
    private static let leastModelTimeout: Int64 = 200_000_000

    /// How long so many retransmissions would take, beginning with a timeout of `base` (`tcp_model_timeout`).
    func modelTimeout(_ e: EndpointPointer, _ boundary: Int, base: Int64) -> Int64 {
        let most = Int64(maximumTimeoutTicks(e)) * Int64(TimerWheel.tick)
        var doublings = 0
        while base << Int64(doublings + 1) <= most { doublings += 1 }
        return boundary <= doublings ? (2 << Int64(boundary) - 1) * base : (2 << Int64(doublings) - 1) * base + Int64(boundary - doublings) * most
    }

    // MARK: closed windows

    /// The first probe waits an RTO, at least the least one; each further one twice as long (`tcp_probe0_when`).
    private func probeTicks(_ e: EndpointPointer) -> UInt64 {
        let base = max(UInt64(e.pointee.retransmitTimeout), UInt64(e.cold.pointee.leastTimeout))
        return min(base << UInt64(min(e.cold.pointee.backoff, 20)), UInt64(maximumTimeoutTicks(e)))
    }

    func checkProbeTimer(_ e: EndpointPointer) {
        guard e.pointee.packetsOut == 0, e.pointee.timer == .none else { return }
        arm(e, .windowProbe, ticks: max(UInt64(e.pointee.retransmitTimeout), UInt64(e.cold.pointee.leastTimeout)))
    }

    /// An ACK arrived while nothing is out and something waits (`tcp_ack_probe`).
    func acknowledgeProbe(_ e: EndpointPointer) {
        guard e.pointee.unsent > 0 || finUnsent(e) else { return }
        let first = min(e.pointee.unsent, currentSegment(e)) + (finUnsent(e) ? 1 : 0)
        if e.pointee.windowEnd - e.pointee.sendNext >= first {
            e.cold.pointee.backoff = 0
            e.cold.pointee.probingSince = 0
            if e.pointee.timer == .windowProbe { disarm(e) }
        } else {
            arm(e, .windowProbe, ticks: boundProbeToUserTimeout(e, probeTicks(e)))
        }
    }

    /// `tcp_clamp_probe0_to_user_timeout`
    private func boundProbeToUserTimeout(_ e: EndpointPointer, _ ticks: UInt64) -> UInt64 {
        guard e.cold.pointee.userTimeout > 0, e.cold.pointee.probingSince != 0 else { return ticks }
        let left = e.cold.pointee.userTimeout - Int64(now.nanoseconds &- e.cold.pointee.probingSince)
        return left <= 0 ? 1 : min(ticks, max(1, TimerWheel.ticks(Duration(nanoseconds: left))))
    }

    /// `tcp_probe_timer`, `tcp_send_probe0`
    private func windowProbeTimeout(_ e: EndpointPointer) {
        guard e.pointee.packetsOut == 0, e.pointee.unsent > 0 || finUnsent(e) else {
            e.cold.pointee.probesOut = 0
            e.cold.pointee.probingSince = 0
            return
        }
        if e.cold.pointee.probingSince == 0 {
            e.cold.pointee.probingSince = now.nanoseconds
        } else if e.cold.pointee.userTimeout > 0, Int64(now.nanoseconds &- e.cold.pointee.probingSince) >= e.cold.pointee.userTimeout {
            return abortTimedOut(e)
        }
        var most = settings.tcp_retries2
        if e.pointee.flags.contains(.orphan) {
            let isAlive = UInt64(e.pointee.retransmitTimeout) << UInt64(min(e.cold.pointee.backoff, 20)) < UInt64(maximumTimeoutTicks(e))
            most = orphanRetries(e, isAlive: isAlive)
            if !isAlive, Int(e.cold.pointee.backoff) >= most { return abortTimedOut(e) }
        }
        if Int(e.cold.pointee.probesOut) >= most { return abortTimedOut(e) }
        let room = e.pointee.windowEnd - e.pointee.sendNext
        if room > 0, e.pointee.unsent > 0 {
            // The window is open, but by less than a segment: send what fits (`tcp_write_wakeup`).
            sendWindowProbeData(e, most: min(currentSegment(e), room))
        } else {
            statistics.ext.TCPWinProbe += 1
            transmit(e, sequence: e.pointee.unacknowledged - 1, count: 0, flags: .ack)
        }
        guard e.pointee.state != .closed, e.pointee.packetsOut == 0 else {
            e.cold.pointee.probesOut = 0
            e.cold.pointee.backoff = 0
            e.cold.pointee.probingSince = 0
            return
        }
        e.cold.pointee.probesOut += 1
        if Int(e.cold.pointee.backoff) < settings.tcp_retries2 { e.cold.pointee.backoff += 1 }
        arm(e, .windowProbe, ticks: boundProbeToUserTimeout(e, probeTicks(e)))
    }

    // MARK: keepalive

    private func keepIdleTime(_ e: EndpointPointer) -> Duration { e.cold.pointee.keepIdle > 0 ? .nanoseconds(e.cold.pointee.keepIdle) : settings.tcp_keepalive_time }
    private func keepIntervalTime(_ e: EndpointPointer) -> Duration {
        e.cold.pointee.keepInterval > 0 ? .nanoseconds(e.cold.pointee.keepInterval) : settings.tcp_keepalive_intvl
    }
    /// Since anything came (`keepalive_time_elapsed`).
    private func idleTime(_ e: EndpointPointer) -> Duration {
        .nanoseconds(Int64(now.nanoseconds &- max(e.cold.pointee.recentAckAt, e.cold.pointee.lastReceived * TimerWheel.tick)))
    }

    /// `idle`: what of TCP_KEEPIDLE is over; nil counts it from what came last.
    func startKeepAlive(_ e: EndpointPointer, idle: Duration? = nil) {
        switch e.pointee.state {
        case .closed, .listen, .synSent, .synReceived, .timeWait: break
        default:
            let left = keepIdleTime(e) - (idle ?? idleTime(e))
            armSlow(e, ticks: left > .zero ? TimerWheel.ticks(left) : 1)
        }
    }

    /// `tcp_keepalive_timer`
    private func keepAliveTimeout(_ e: EndpointPointer) {
        guard e.pointee.flags.contains(.keepAlive), e.pointee.state != .closed, e.pointee.state != .listen, e.pointee.state != .synSent else { return }
        let wanted = keepIdleTime(e)
        if e.pointee.packetsOut > 0 || e.pointee.unsent > 0 { return armSlow(e, ticks: TimerWheel.ticks(wanted)) }
        let idle = idleTime(e)
        guard idle >= wanted else { return armSlow(e, ticks: max(1, TimerWheel.ticks(wanted - idle))) }
        // TCP_USER_TIMEOUT, where set, replaces the number of probes.
        let isDead =
            e.cold.pointee.userTimeout > 0 ? idle.nanoseconds >= e.cold.pointee.userTimeout && e.cold.pointee.probesOut > 0
            : Int(e.cold.pointee.probesOut) >= (e.cold.pointee.keepCount > 0 ? Int(e.cold.pointee.keepCount) : settings.tcp_keepalive_probes)
        if isDead {
            sendReset(e)
            return abortTimedOut(e)
        }
        statistics.ext.TCPKeepAlive += 1
        transmit(e, sequence: e.pointee.unacknowledged - 1, count: 0, flags: .ack)
        guard e.pointee.state != .closed else { return }
        e.cold.pointee.probesOut += 1
        armSlow(e, ticks: TimerWheel.ticks(keepIntervalTime(e)))
    }

    /// How long FIN-WAIT-2 of a closed socket lasts (`tcp_fin_time`): TCP_LINGER2 or the setting, but no less than three and a half RTOs.
    func finTime(_ e: EndpointPointer) -> Duration {
        let wanted = e.cold.pointee.linger2 > 0 ? Duration.nanoseconds(e.cold.pointee.linger2) : settings.tcp_fin_timeout
        let rto = Int64(e.pointee.retransmitTimeout) * Int64(TimerWheel.tick)
        return max(wanted, .nanoseconds((rto << 2) - (rto >> 1)))
    }
}
