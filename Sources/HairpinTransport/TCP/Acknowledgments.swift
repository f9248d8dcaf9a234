import HairpinEngine
import HairpinWire

/// The acknowledgment field, the window and the SACK option of an arriving segment (`tcp_ack`; RFC 9293 §3.10.7.4, fifth check).
extension TransportStack {
    /// `ancient`: older than anything that can be under way.
    enum AckVerdict { case fine, old, ancient, unsent }

    func processAck(_ e: EndpointPointer, _ segment: Segment) -> AckVerdict {
        let una = e.pointee.unacknowledged
        let ack = segment.acknowledgment
        var findings = AckFindings(priorUnacknowledged: una)
        findings.deliveredBefore = e.cold.pointee.delivered
        findings.lostBefore = e.cold.pointee.lostEver
        if e.cold.pointee.congestion == .bbr, let modules = e.cold.pointee.modules { beginSample(e, modules) }
        if ack.isBefore(una) {
            // RFC 5961 §5.2: blind data injection shows as very old acknowledgments, or as those of numbers before the first.
            if una - ack > min(Int(e.cold.pointee.maximumWindow), Int(clamping: e.cold.pointee.bytesAcknowledged)) { return .ancient }
            if segment.sackCount > 0, e.pointee.flags.contains(.selectiveAcks) {
                tagSelectiveAcks(e, segment, &findings)
                // What an old ACK tells is not counted as delivered (`tcp_ack`, old_ack).
                e.cold.pointee.delivered = findings.deliveredBefore
                if e.pointee.packetsOut > 0 {
                    alert(e, duplicates: 0, &findings)
                    continueRecovery(e, findings)
                }
            }
            return .old
        }
        if ack.isAfter(e.pointee.sendNext) { return .unsent }
        let hadPackets = e.pointee.packetsOut > 0
        if ack.isAfter(una) {
            findings.insert(.unaAdvanced)
            e.cold.pointee.retransmits = 0
        }
        let priorSack = highestSack(e)
        if segment.hasTimestamp, e.pointee.flags.contains(.timestamps) {
            replaceRecentTimestamp(e, segment)
            e.cold.pointee.receivedEcho = segment.timestampEcho
        }
        if segment.sequence != segment.end { findings.insert(.data) }
        updateSendWindow(e, segment, &findings)
        e.cold.pointee.bytesAcknowledged &+= UInt64(ack - una)
        e.pointee.unacknowledged = ack
        if e.pointee.flags.contains(.urgentOut) { retireUrgent(e) }
        e.cold.pointee.softError = 0
        e.cold.pointee.probesOut = 0
        if !isPredicted { e.cold.pointee.recentAckAt = now.nanoseconds }
        if segment.sackCount > 0, e.pointee.flags.contains(.selectiveAcks) { tagSelectiveAcks(e, segment, &findings) }
        if hearsCongestion(e, segment) { findings.insert(.congestionEcho) }

        guard hadPackets else {
            if findings.contains(.duplicateReport) { alert(e, duplicates: 0, &findings) }
            acknowledgeProbe(e)
            if e.cold.pointee.congestion == .dctcp, let modules = e.cold.pointee.modules { updateAlpha(e, modules) }
            if e.cold.pointee.probing { acknowledgeLossProbe(e, segment, findings) }
            return .fine
        }
        removeAcknowledged(e, priorSack, &findings)
        if e.pointee.flags.contains(.awaitsZeroCopy) { completeZeroCopy(e) }
        if !findings.isDisjoint(with: .progress) || findings.isDisjoint(with: .notDuplicate) { e.pointee.flags.insert(.confirmsNeighbour) }
        adaptReorderingWindow(e, findings)
        if e.cold.pointee.congestion == .dctcp, let modules = e.cold.pointee.modules { updateAlpha(e, modules) }
        if e.cold.pointee.probing { acknowledgeLossProbe(e, segment, findings) }
        if findings.isDisjoint(with: .notDuplicate) || !findings.isDisjoint(with: .alarming) || e.pointee.phase != .open {
            let isDuplicate = findings.isDisjoint(with: [.unaAdvanced, .data, .windowUpdate, .acked, .duplicateReport])
            alert(e, duplicates: isDuplicate ? 1 : 0, &findings)
        }
        if findings.contains(.setsTimer), e.pointee.state != .closed {
            // `tcp_set_xmit_timer`: a loss probe if one may be sent, else the RTO from now on.
            if e.pointee.packetsOut == 0 {
                if e.pointee.timer != .windowProbe { disarm(e) }
            } else if !scheduleLossProbe(e, advancing: true) {
                rearmRetransmission(e)
            }
        }
        statistics.ext.TCPDelivered &+= Int(e.cold.pointee.delivered &- findings.deliveredBefore)
        if findings.contains(.congestionEcho) {
            e.cold.pointee.deliveredMarked &+= e.cold.pointee.delivered &- findings.deliveredBefore
            statistics.ext.TCPDeliveredCE += Int(e.cold.pointee.delivered &- findings.deliveredBefore)
        }
        control(e, findings)
        continueRecovery(e, findings)
        if e.pointee.packetsOut == 0, e.pointee.unsent <= 0, !finUnsent(e) { e.cold.pointee.sendRing.release(pool) }
        return .fine
    }

    /// The next data in order that says nothing new otherwise: its acknowledgment is not looked at, and no room is made for it where the memory that was
    /// charged last, in whole pages, suffices (header prediction, `tcp_rcv_established`).
    func predicts(_ e: EndpointPointer, _ segment: Segment) -> Bool {
        guard !segment.payload.isEmpty, segment.acknowledgment == e.pointee.unacknowledged, segment.sequence == e.pointee.receiveNext,
            e.pointee.state == .established, segment.flags.subtracting(.psh) == .ack,
            UInt32(segment.window) << UInt32(e.pointee.sendScale) == e.pointee.sendWindow, segment.sackCount == 0,
            segment.hasTimestamp == e.pointee.flags.contains(.timestamps), e.cold.pointee.outOfOrder.count == 0, e.pointee.windowLeft > 0,
            !e.pointee.flags.contains(.urgentIn)
        else { return false }
        let charged = Int(e.pointee.receiveMemory) + sendMemory(e)
        return Int(segment.memory.truesize) <= (4096 - charged % 4096) % 4096
    }

    /// Whether a segment that acknowledges nothing new is later than the one the window is of (`tcp_may_update_window`).
    @inline(__always)
    func mayUpdateWindow(_ e: EndpointPointer, _ segment: Segment) -> Bool {
        if segment.sequence != e.pointee.windowSequence { return segment.sequence.isAfter(e.pointee.windowSequence) }
        let window = UInt32(segment.window) << (segment.isSYN ? 0 : UInt32(e.pointee.sendScale))
        return window > e.pointee.sendWindow || window == 0
    }

    /// `tcp_ack_update_window`
    private func updateSendWindow(_ e: EndpointPointer, _ segment: Segment, _ findings: inout AckFindings) {
        let window = UInt32(segment.window) << (segment.isSYN ? 0 : UInt32(e.pointee.sendScale))
        guard findings.contains(.unaAdvanced) || mayUpdateWindow(e, segment) else { return }
        findings.insert(.windowUpdate)
        e.pointee.windowSequence = segment.sequence
        guard window != e.pointee.sendWindow else { return }
        e.pointee.sendWindow = window
        if e.cold.pointee.queue.count > 0 { restartAfterIdle(e) }
        if window > e.cold.pointee.maximumWindow {
            e.cold.pointee.maximumWindow = window
            synchronizeSegment(e)
        }
    }

    /// `tcp_cong_control`: the proportional reduction, or growth.
    private func control(_ e: EndpointPointer, _ findings: AckFindings) {
        let delivered = e.cold.pointee.delivered &- findings.deliveredBefore
        finishSample(e, findings, delivered: delivered)
        if e.cold.pointee.congestion == .bbr, let modules = e.cold.pointee.modules { return controlBBR(e, modules) }
        defer { if e.cold.pointee.modules != nil { updatePacingRate(e) } }
        if e.pointee.phase == .recovery || e.pointee.phase == .reduced {
            reduceWindow(
                e, delivered: Int(delivered), newlyLost: Int(e.cold.pointee.lostEver &- findings.lostBefore), unaAdvanced: findings.contains(.unaAdvanced))
        } else {
            // `tcp_may_raise_cwnd`: while much reordering is known, any progress counts.
            let mayGrow = reorderingDegree(e) > settings.tcp_reordering ? !findings.isDisjoint(with: .progress) : findings.contains(.acked)
            if mayGrow {
                growCongestionWindow(e, acked: delivered)
                e.cold.pointee.windowStamp = TimerWheel.jiffies(now)  // also where it did not grow (`tcp_cong_avoid`)
            }
        }
    }

    /// RTT samples: Karn's rule, then SACKed segments, else the echoed timestamp (RFC 7323 §4.1, `tcp_ack_update_rtt`). `isAlone`: the ACK was for one
    /// segment, and nothing was SACKed. True if there was a sample.
    func updateRoundTrip(_ e: EndpointPointer, _ findings: AckFindings, isAlone: Bool) -> Bool {
        var sample: Int64 = -1
        var own: Int64 = findings.acknowledgedRoundTrip
        if findings.firstRoundTrip >= 0, !findings.contains(.retransmittedAcked) {
            sample = findings.firstRoundTrip / 1000
        } else if findings.firstSackRoundTrip >= 0 {
            sample = findings.firstSackRoundTrip / 1000
        } else if findings.contains(.acked), e.pointee.flags.contains(.timestamps), e.cold.pointee.receivedEcho != 0 {
            let delta = timestamp(e) &- e.cold.pointee.receivedEcho
            if delta < TransportStack.oldestEcho { (sample, own) = (Int64(max(1, delta)) * 1000, Int64(max(1, delta)) * 1_000_000) }
        }
        if let modules = e.cold.pointee.modules { modules.pointee.sample.roundTrip = own >= 0 ? own / 1000 : -1 }
        guard sample >= 0 else { return false }
        // The least RTT is that of the last segment acknowledged, which waited least for the ACK.
        let least = UInt32(clamping: max(1, (own >= 0 ? own : sample * 1000) / 1000))
        // What waited at the receiver would pass for a longer path when the window of the minimum is over.
        if least <= e.cold.pointee.minimumRTT || !isAlone || !mayBeDelayed(e, findings) { updateMinimumRTT(e, microseconds: least) }
        addRTTSample(e, microseconds: UInt32(clamping: max(1, sample)))
        return true
    }

    /// TS.Recent (RFC 7323 §4.3): only from a segment that covers the left edge of what was last acknowledged.
    func replaceRecentTimestamp(_ e: EndpointPointer, _ segment: Segment) {
        guard segment.hasTimestamp, !segment.sequence.isAfter(e.pointee.windowUpdate) else { return }
        if e.cold.pointee.recentTimestampAt == 0 || Int32(bitPattern: segment.timestampValue &- e.pointee.recentTimestamp) >= 0 || isStale(e) {
            e.pointee.recentTimestamp = segment.timestampValue
            e.cold.pointee.recentTimestampAt = max(1, now.nanoseconds)
        }
    }

    /// RFC 7323 §5.5: after 24 days the stored timestamp says nothing.
    private func isStale(_ e: EndpointPointer) -> Bool { now.nanoseconds &- e.cold.pointee.recentTimestampAt > 24 * 86_400 * 1_000_000_000 }

    /// PAWS (RFC 7323 §5.3): true if the segment is an old duplicate by its timestamp.
    func failsPAWS(_ e: EndpointPointer, _ segment: Segment, slack: Int32 = 0) -> Bool {
        guard segment.hasTimestamp, e.pointee.flags.contains(.timestamps), e.pointee.recentTimestamp != 0 else { return false }
        return Int32(bitPattern: e.pointee.recentTimestamp &- segment.timestampValue) > slack && !isStale(e)
    }
}
