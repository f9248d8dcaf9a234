import HairpinEngine
import HairpinWire

/// The sender's phases: what an ACK changes about them, and how a false alarm is undone (`tcp_fastretrans_alert`; RFC 6675, RFC 5682, RFC 3522, RFC 2883).
extension TransportStack {
    func alert(_ e: EndpointPointer, duplicates: Int, _ findings: inout AckFindings) {
        let isReno = !e.pointee.flags.contains(.selectiveAcks)
        if e.pointee.packetsOut == 0 { e.pointee.sackedOut = 0 }
        if findings.contains(.congestionEcho) { e.cold.pointee.priorThreshold = 0 }
        if findings.contains(.reneging), hasReneged(e, &findings) { return }
        // What the phase waited for may have come.
        if e.pointee.phase == .open {
            e.cold.pointee.retransmitStamp = 0
        } else if !e.pointee.unacknowledged.isBefore(e.cold.pointee.highSequence) {
            switch e.pointee.phase {
            case .reduced:
                // Held until something above the mark is acknowledged, so that CWR reaches the receiver.
                if e.pointee.unacknowledged != e.cold.pointee.highSequence {
                    endReduction(e)
                    e.pointee.phase = .open
                }
            case .recovery:
                if isReno { e.pointee.sackedOut = 0 }
                if tryUndoRecovery(e) { return }
                endReduction(e)
            default: break
            }
        }
        switch e.pointee.phase {
        case .recovery:
            if !findings.contains(.unaAdvanced) {
                if isReno { addRenoSack(e, duplicates) }
            } else if tryUndoPartial(e, findings) {
                return
            }
            if tryUndoDuplicates(e) { tryToOpen(e, findings) }
            identifyLoss(e, &findings)
            if e.pointee.phase != .recovery {
                if e.pointee.lostOut == 0 { return }
                // The undone recovery was a false alarm, but now there is a loss.
                enterRecovery(e, isCongestionEcho: findings.contains(.congestionEcho))
            }
        case .loss:
            processLoss(e, duplicates, &findings)
            if e.pointee.phase != .loss { endTimeouts(e) }
            identifyLoss(e, &findings)
            guard e.pointee.phase == .open || findings.contains(.lostRetransmission) else { return }
            consider(e, duplicates, isReno: isReno, &findings)
            return
        default:
            consider(e, duplicates, isReno: isReno, &findings)
            return
        }
        findings.resend = .lost
    }

    /// Outside recovery: is it time to begin one?
    private func consider(_ e: EndpointPointer, _ duplicates: Int, isReno: Bool, _ findings: inout AckFindings) {
        if isReno {
            if findings.contains(.unaAdvanced) { e.pointee.sackedOut = 0 }
            addRenoSack(e, duplicates)
        }
        if e.pointee.phase == .open || e.pointee.phase == .disorder { _ = tryUndoDuplicates(e) }
        identifyLoss(e, &findings)
        guard e.pointee.lostOut > 0 else { return tryToOpen(e, findings) }
        if e.cold.pointee.modules != nil, losesProbe(e) { return }
        enterRecovery(e, isCongestionEcho: findings.contains(.congestionEcho))
        findings.resend = .lost
    }

    /// `tcp_identify_packet_loss`
    private func identifyLoss(_ e: EndpointPointer, _ findings: inout AckFindings) {
        guard e.cold.pointee.sent.count > 0 else { return }
        if !e.pointee.flags.contains(.selectiveAcks) {
            // `tcp_newreno_mark_lost`
            let starts = e.pointee.phase != .recovery && e.pointee.phase != .loss && Int(e.pointee.sackedOut) >= reorderingDegree(e)
            let head = e.cold.pointee.sent.pointer(0)
            if starts || (e.pointee.phase == .recovery && findings.contains(.unaAdvanced)), head.pointee.marks & SentSegment.lost == 0 { markLost(e, head) }
        } else {
            let before = e.pointee.retransOut
            if markOverdue(e) { findings.remove(.setsTimer) }
            if before > e.pointee.retransOut { findings.insert(.lostRetransmission) }
        }
    }

    /// The receiver's SACKs cannot be trusted any more: wait a little for a better ACK, else treat everything as lost (`tcp_check_sack_reneging`).
    private func hasReneged(_ e: EndpointPointer, _ findings: inout AckFindings) -> Bool {
        guard findings.contains(.unaAdvanced) else { return false }
        let delay = max(TimerWheel.ticks(.microseconds(Int64(e.cold.pointee.smoothedRTT >> 4))), TimerWheel.ticks(.milliseconds(10)))
        arm(e, .retransmission, ticks: delay)
        findings.remove(.setsTimer)
        return true
    }

    // MARK: phases

    /// Whether anything was sent again that may still be unanswered (`tcp_any_retrans_done`).
    private func hasRetransmitted(_ e: EndpointPointer) -> Bool {
        e.pointee.retransOut > 0 || (e.cold.pointee.sent.count > 0 && e.cold.pointee.sent[0].marks & SentSegment.everRetransmitted != 0)
    }

    private func tryKeepOpen(_ e: EndpointPointer) {
        let phase: RecoveryPhase = e.pointee.sackedOut + e.pointee.lostOut > 0 || hasRetransmitted(e) ? .disorder : .open
        if e.pointee.phase != phase {
            e.pointee.phase = phase
            e.cold.pointee.highSequence = e.pointee.sendNext
        }
    }

    private func tryToOpen(_ e: EndpointPointer, _ findings: AckFindings) {
        if !hasRetransmitted(e) { e.cold.pointee.retransmitStamp = 0 }
        if findings.contains(.congestionEcho) { enterReduced(e) }
        if e.pointee.phase != .reduced { tryKeepOpen(e) }
    }

    /// A reduction without loss, for ECN or local congestion (`tcp_enter_cwr`).
    func enterReduced(_ e: EndpointPointer) {
        e.cold.pointee.priorThreshold = 0
        guard e.pointee.phase == .open || e.pointee.phase == .disorder else { return }
        e.cold.pointee.undoMark = SequenceNumber(0)
        beginReduction(e)
        e.pointee.phase = .reduced
    }

    /// What is still out of retransmissions may be reported as a duplicate later, a tail loss probe too (`tcp_init_undo`). Not zero: that means undo now.
    private func saveForUndo(_ e: EndpointPointer) {
        e.cold.pointee.undoMark = e.pointee.unacknowledged
        let probes: Int32 = e.cold.pointee.probing && e.pointee.flags.contains(.probeRetransmitted) ? 1 : 0
        let out = Int32(e.pointee.retransOut) + probes
        e.cold.pointee.undoRetransmissions = out > 0 ? out : -1
    }

    func enterRecovery(_ e: EndpointPointer, isCongestionEcho: Bool) {
        if !hasRetransmitted(e) { e.cold.pointee.retransmitStamp = 0 }  // `tcp_retrans_stamp_cleanup`
        statistics.fastRetransmits += 1
        if e.pointee.flags.contains(.selectiveAcks) { statistics.ext.TCPSackRecovery += 1 } else { statistics.ext.TCPRenoRecovery += 1 }
        e.cold.pointee.priorThreshold = 0
        saveForUndo(e)
        if e.pointee.phase != .reduced, e.pointee.phase != .recovery {
            if !isCongestionEcho { e.cold.pointee.priorThreshold = currentThreshold(e) }
            beginReduction(e)
        }
        if e.cold.pointee.congestion == .dctcp, e.pointee.phase != .recovery { loseDCTCP(e) }
        e.pointee.phase = .recovery
    }

    /// After a timeout everything in flight counts as lost but what was sent a moment ago, and one segment may go (`tcp_enter_loss`; RFC 5681 §3.1).
    func enterLoss(_ e: EndpointPointer) {
        let isNew = e.pointee.phase == .open || e.pointee.phase == .disorder || e.pointee.phase == .reduced
        let isRenoSender = !e.pointee.flags.contains(.selectiveAcks)
        let hasReneged = e.cold.pointee.sent.count > 0 && e.cold.pointee.sent[0].marks & SentSegment.sacked != 0
        if hasReneged { statistics.ext.TCPSACKReneging += 1 }
        if hasReneged || isRenoSender { e.pointee.sackedOut = 0 }
        for i in 0..<e.cold.pointee.sent.count {
            let sent = e.cold.pointee.sent.pointer(i)
            if hasReneged {
                sent.pointee.marks &= ~SentSegment.sacked
            } else if i > 0, !isRenoSender, remainingTime(e, sent.pointee, window: 0) > 0 {
                continue
            }
            markLost(e, sent)
        }
        if e.pointee.phase == .open || e.pointee.phase == .disorder || !e.cold.pointee.highSequence.isAfter(e.pointee.unacknowledged)
            || (e.pointee.phase == .loss && e.cold.pointee.retransmits == 0)
        {
            e.cold.pointee.priorThreshold = currentThreshold(e)
            e.cold.pointee.priorWindow = e.pointee.window
            e.cold.pointee.slowStartThreshold = thresholdAfterLoss(e)
            if e.cold.pointee.congestion == .dctcp { loseDCTCP(e) }
            saveForUndo(e)
        }
        e.pointee.window = UInt32(max(0, e.pointee.inFlight) + 1)
        e.cold.pointee.windowCount = 0
        e.cold.pointee.windowStamp = TimerWheel.jiffies(now)
        if e.pointee.phase == .open || e.pointee.phase == .disorder, Int(e.pointee.sackedOut) >= settings.tcp_reordering {
            e.cold.pointee.reordering = UInt16(clamping: min(reorderingDegree(e), settings.tcp_reordering))
        }
        e.cold.pointee.highSequence = e.pointee.sendNext
        e.pointee.phase = .loss
        if e.cold.pointee.congestion == .cubic { startCubic(e) } else if e.cold.pointee.congestion == .bbr { timeoutBBR(e) }
        e.cold.pointee.probing = false
        queueCWR(e)
        e.cold.pointee.testsTimeout = settings.tcp_frto != 0 && (isNew || e.cold.pointee.retransmits > 0)
    }

    /// After a timeout (`tcp_process_loss`), with F-RTO (RFC 5682 §3.1): was it spurious?
    private func processLoss(_ e: EndpointPointer, _ duplicates: Int, _ findings: inout AckFindings) {
        let isRecovered = !e.pointee.unacknowledged.isBefore(e.cold.pointee.highSequence)
        let isReno = !e.pointee.flags.contains(.selectiveAcks)
        if findings.contains(.unaAdvanced), tryUndoLoss(e, forced: false) { return }
        if e.cold.pointee.testsTimeout {
            // Step 3b: data never sent again has arrived.
            if findings.contains(.originalArrived), tryUndoLoss(e, forced: true) { return }
            if e.pointee.sendNext.isAfter(e.cold.pointee.highSequence) {
                if findings.contains(.sacked) || duplicates > 0 { e.cold.pointee.testsTimeout = false }  // step 3a: the loss was real
            } else if findings.contains(.unaAdvanced), !isRecovered {
                e.cold.pointee.highSequence = e.pointee.sendNext
                // Step 2b: send new data and see what the ACK says.
                if e.cold.pointee.queue.count > 0, e.pointee.windowEnd.isAfter(e.pointee.sendNext) {
                    findings.resend = .new
                    return
                }
                e.cold.pointee.testsTimeout = false
            }
        }
        if isRecovered {
            _ = tryUndoRecovery(e)
            return
        }
        if isReno {
            if e.pointee.sendNext.isAfter(e.cold.pointee.highSequence), duplicates > 0 {
                addRenoSack(e, duplicates)
            } else if findings.contains(.unaAdvanced) {
                e.pointee.sackedOut = 0
            }
        }
        findings.resend = .lost
    }

    /// What the ACK allowed to be sent again (`tcp_xmit_recovery`).
    func continueRecovery(_ e: EndpointPointer, _ findings: AckFindings) {
        guard e.pointee.state != .closed else { return }
        switch findings.resend {
        case .nothing: return
        case .new:
            pushPending(e, .off)
            guard e.pointee.state != .closed, !e.pointee.sendNext.isAfter(e.cold.pointee.highSequence) else { return }
            e.cold.pointee.testsTimeout = false
        case .lost: break
        }
        retransmitLost(e)
    }

    // MARK: undo

    /// Everything retransmitted was reported as a duplicate (RFC 2883), or the ACK echoes a stamp from before the retransmission (RFC 3522).
    private func mayUndo(_ e: EndpointPointer) -> Bool { e.cold.pointee.undoMark.rawValue != 0 && (e.cold.pointee.undoRetransmissions == 0 || wasDelayed(e)) }

    /// `tcp_packet_delayed`. Where nothing was sent again yet, what was acknowledged was late and not lost; without SACK the stamp also goes when the
    /// recovery point is reached.
    private func wasDelayed(_ e: EndpointPointer) -> Bool {
        if e.cold.pointee.retransmitStamp == 0 {
            return e.pointee.flags.contains(.selectiveAcks) || e.pointee.unacknowledged.isBefore(e.cold.pointee.highSequence)
        }
        guard e.pointee.flags.contains(.timestamps), e.cold.pointee.receivedEcho != 0 else { return false }
        let stamp = UInt32(truncatingIfNeeded: e.cold.pointee.retransmitStamp / 1_000_000) &+ e.pointee.timestampOffset
        return Int32(bitPattern: e.cold.pointee.receivedEcho &- stamp) < 0
    }

    /// `tcp_undo_cwnd_reduction`
    private func undo(_ e: EndpointPointer, unmarksLost: Bool) {
        if unmarksLost {
            for i in 0..<e.cold.pointee.sent.count { e.cold.pointee.sent.pointer(i).pointee.marks &= ~SentSegment.lost }
            e.pointee.lostOut = 0
        }
        if e.cold.pointee.priorThreshold != 0 {
            undoWindow(e)
            if e.cold.pointee.priorThreshold > e.cold.pointee.slowStartThreshold {
                e.cold.pointee.slowStartThreshold = e.cold.pointee.priorThreshold
                withdrawCWR(e)
            }
        }
        e.cold.pointee.windowStamp = TimerWheel.jiffies(now)
        e.cold.pointee.undoMark = SequenceNumber(0)
        e.cold.pointee.rackAdvanced = true
    }

    /// The window of before the false alarm (`undo_cwnd`).
    private func undoWindow(_ e: EndpointPointer) {
        switch e.cold.pointee.congestion {
        case .cubic, .reno, .dctcpReno: e.pointee.window = max(e.pointee.window, e.cold.pointee.priorWindow)
        case .dctcp: e.pointee.window = max(e.pointee.window, e.cold.pointee.modules?.pointee.dctcp.lossWindow ?? 0)
        case .bbr: undoBBR(e)
        }
    }

    /// True if the phase must be held although all was acknowledged: without SACK, until something above the mark is (RFC 6582 §3.2).
    private func tryUndoRecovery(_ e: EndpointPointer) -> Bool {
        if mayUndo(e) {
            if e.pointee.phase == .loss { statistics.ext.TCPLossUndo += 1 } else { statistics.ext.TCPFullUndo += 1 }
            undo(e, unmarksLost: false)
        } else if e.cold.pointee.rackPersist > 0 {
            e.cold.pointee.rackPersist -= 1
        }
        if mustHold(e) { return true }
        if e.pointee.phase == .recovery { endReduction(e) }
        e.pointee.phase = .open
        return false
    }

    /// Without SACK, until something above the recovery point is acknowledged (`tcp_is_non_sack_preventing_reopen`).
    private func mustHold(_ e: EndpointPointer) -> Bool {
        guard e.pointee.unacknowledged == e.cold.pointee.highSequence, !e.pointee.flags.contains(.selectiveAcks) else { return false }
        if !hasRetransmitted(e) { e.cold.pointee.retransmitStamp = 0 }
        return true
    }

    private func tryUndoDuplicates(_ e: EndpointPointer) -> Bool {
        guard e.cold.pointee.undoMark.rawValue != 0, e.cold.pointee.undoRetransmissions == 0 else { return false }
        e.cold.pointee.rackPersist = min(16, e.cold.pointee.rackPersist + 1)
        statistics.ext.TCPDSACKUndo += 1
        undo(e, unmarksLost: false)
        return true
    }

    private func tryUndoLoss(_ e: EndpointPointer, forced: Bool) -> Bool {
        guard forced || mayUndo(e) else { return false }
        undo(e, unmarksLost: true)
        statistics.ext.TCPLossUndo += 1
        if forced { statistics.ext.TCPSpuriousRTOs += 1 }
        e.cold.pointee.retransmits = 0
        if mustHold(e) { return true }
        if forced || e.pointee.flags.contains(.selectiveAcks) { e.pointee.phase = .open }
        return true
    }

    /// A partial ACK of the original, not of the retransmission: reordering (`tcp_try_undo_partial`). True if nothing more is to be done.
    private func tryUndoPartial(_ e: EndpointPointer, _ findings: AckFindings) -> Bool {
        guard e.cold.pointee.undoMark.rawValue != 0, wasDelayed(e) else { return false }
        checkReordering(e, from: findings.priorUnacknowledged, byTimestamp: true)
        if e.pointee.retransOut > 0 { return true }
        if !hasRetransmitted(e) { e.cold.pointee.retransmitStamp = 0 }
        undo(e, unmarksLost: true)
        statistics.ext.TCPPartialUndo += 1
        tryKeepOpen(e)
        return false
    }

    // MARK: tail loss probes (RFC 8985 §7)

    /// `tcp_schedule_loss_probe`; true if the timer now stands for the probe.
    @discardableResult
    func scheduleLossProbe(_ e: EndpointPointer, advancing: Bool) -> Bool {
        guard settings.tcp_early_retrans >= 3, e.pointee.packetsOut > 0, e.pointee.flags.contains(.selectiveAcks),
            e.pointee.phase == .open || e.pointee.phase == .reduced, e.pointee.state != .synReceived, !e.pointee.flags.contains(.fastOpenChild)
        else { return false }
        var microseconds: Int64 = 1_000_000
        if e.cold.pointee.smoothedRTT > 0 {
            microseconds = Int64(e.cold.pointee.smoothedRTT >> 2)
            microseconds += e.pointee.packetsOut == 1 ? Int64(e.cold.pointee.leastTimeout) * Int64(TimerWheel.tick / 1000) : 2000
        }
        var ticks = TimerWheel.ticks(.microseconds(microseconds))
        if advancing {
            ticks = min(ticks, UInt64(e.pointee.retransmitTimeout))
        } else {
            let due = e.cold.pointee.sent[0].sentAt + UInt64(e.pointee.retransmitTimeout) * TimerWheel.tick
            if due > now.nanoseconds { ticks = min(ticks, TimerWheel.ticks(Duration(nanoseconds: Int64(due - now.nanoseconds)))) }
        }
        arm(e, .lossProbe, ticks: ticks)
        return true
    }

    /// `tcp_send_loss_probe`. The timeout counts from the probe, or where none went out from what was sent before.
    func sendLossProbe(_ e: EndpointPointer) {
        let isSent = transmitLossProbe(e)
        guard e.pointee.state != .closed else { return }
        if isSent {
            arm(e, .retransmission, ticks: UInt64(e.pointee.retransmitTimeout))
        } else if e.pointee.timer == .none {
            e.pointee.timer = .lossProbe
            rearmRetransmission(e)
        }
    }

    /// New data if there is any and it fits, else the last segment again. False if nothing went out.
    private func transmitLossProbe(_ e: EndpointPointer) -> Bool {
        guard !e.cold.pointee.probing, e.pointee.packetsOut > 0 else { return false }
        let segment = currentSegment(e)
        let out = e.pointee.packetsOut
        if e.pointee.unsent > 0, e.pointee.windowEnd - e.pointee.sendNext >= min(e.pointee.unsent, segment) {
            writeSegments(e, segment: segment, nagle: .off, push: .probe)
            guard e.pointee.packetsOut > out else { return false }
            e.pointee.flags.remove(.probeRetransmitted)
        } else {
            endPacket(e, after: e.cold.pointee.sent.count - 2)
            guard retransmit(e, index: e.cold.pointee.sent.count - 1, isProbe: true) else { return false }
            e.pointee.flags.insert(.probeRetransmitted)
        }
        statistics.lossProbes += 1
        e.cold.pointee.probeHigh = e.pointee.sendNext
        e.cold.pointee.probing = true
        return true
    }

    /// `tcp_process_tlp_ack`: was the probe itself the lost one's replacement (then the window is reduced), or a duplicate?
    func acknowledgeLossProbe(_ e: EndpointPointer, _ segment: Segment, _ findings: AckFindings) {
        guard segment.acknowledgment.isAtOrAfter(e.cold.pointee.probeHigh) else { return }
        if !e.pointee.flags.contains(.probeRetransmitted) || findings.contains(.duplicateProbe) {
            e.cold.pointee.probing = false
        } else if segment.acknowledgment.isAfter(e.cold.pointee.probeHigh) {
            statistics.ext.TCPLossProbeRecovery += 1
            beginReduction(e)
            e.pointee.phase = .reduced
            endReduction(e)
            tryKeepOpen(e)
        } else if findings.isDisjoint(with: [.unaAdvanced, .data, .windowUpdate, .acked, .sacked]) {
            e.cold.pointee.probing = false
        }
    }
}
