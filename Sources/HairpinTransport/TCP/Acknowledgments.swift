import HairpinEngine
import HairpinWire

/// The acknowledgment field, the window and the SACK option of an arriving segment (`tcp_ack`; RFC 9293 §3.10.7.4, fifth check).
extension TransportStack {
    enum AckVerdict { case fine, old, unsent }

    func processAck(_ e: EndpointPointer, _ segment: Segment, fromSYN: Bool = false) -> AckVerdict {
        let una = e.pointee.unacknowledged
        let ack = segment.acknowledgment
        var findings = AckFindings()
        if ack.isBefore(una) {
            // RFC 5961 §5.2: blind data injection shows as very old acknowledgments.
            if una - ack > Int(max(e.pointee.maximumWindow, 1)) {
                sendChallenge(e)
                return .unsent
            }
            if segment.sackCount > 0, e.pointee.flags.contains(.selectiveAcks) {
                tagSelectiveAcks(e, segment, &findings)
                repair(e, &findings, isDuplicate: false)
                retransmitLost(e)
            }
            return .old
        }
        if ack.isAfter(e.pointee.sendNext) { return .unsent }
        let hadPackets = e.pointee.packetsOut > 0
        findings.unaAdvanced = ack.isAfter(una)
        if findings.unaAdvanced { e.pointee.retransmits = 0 }
        if segment.hasTimestamp, e.pointee.flags.contains(.timestamps) {
            replaceRecentTimestamp(e, segment)
            e.pointee.receivedEcho = segment.timestampEcho
        }

        // Window (`tcp_ack_update_window`).
        let window = UInt32(segment.window) << (segment.isSYN ? 0 : UInt32(e.pointee.sendScale))
        var windowUpdated = false
        if findings.unaAdvanced || segment.sequence.isAfter(e.pointee.windowSequence)
            || (segment.sequence == e.pointee.windowSequence && (window > e.pointee.sendWindow || window == 0))
        {
            windowUpdated = window != e.pointee.sendWindow
            e.pointee.windowSequence = segment.sequence
            e.pointee.sendWindow = window
            if window > e.pointee.maximumWindow {
                e.pointee.maximumWindow = window
                synchronizeSegment(e)
            }
        }
        e.pointee.unacknowledged = ack
        e.pointee.softError = 0
        e.pointee.probesOut = 0
        e.pointee.recentAckAt = now.nanoseconds
        if segment.sackCount > 0, e.pointee.flags.contains(.selectiveAcks) { tagSelectiveAcks(e, segment, &findings) }

        guard hadPackets else {
            acknowledgeProbe(e)
            acknowledgeLossProbe(e, segment, findings)
            return .fine
        }
        removeAcknowledged(e, &findings)
        if findings.delivered > 0 || findings.unaAdvanced { e.pointee.flags.insert(.confirmsNeighbour) }
        updateRoundTrip(e, findings)
        let wasAdvanced = findings.newlyAcked > 0 || findings.unaAdvanced
        acknowledgeLossProbe(e, segment, findings)
        if wasAdvanced || findings.sackChanged, e.pointee.timer != .windowProbe {
            // `tcp_set_xmit_timer`: a loss probe if one may be sent, else the RTO from now on.
            if e.pointee.packetsOut == 0 {
                disarm(e)
            } else if wasAdvanced || e.pointee.timer == .lossProbe {
                e.pointee.timer = .none
                if !scheduleLossProbe(e, advancing: true) { rearmRetransmission(e) }
            }
        }
        let isDuplicate = !findings.unaAdvanced && !windowUpdated && segment.payload.isEmpty && !segment.isFIN
        if e.pointee.phase != .open || findings.sackChanged || isDuplicate || findings.duplicateReported || e.pointee.lostOut > 0 {
            repair(e, &findings, isDuplicate: isDuplicate)
            if e.pointee.packetsOut > 0, e.pointee.timer == .lossProbe, e.pointee.phase == .recovery || e.pointee.phase == .loss || e.pointee.phase == .disorder {
                rearmRetransmission(e)
            }
        }
        if e.pointee.phase == .open || e.pointee.phase == .disorder, findings.newlyAcked > 0 {
            growCongestionWindow(e, acked: UInt32(findings.delivered))
        }
        retransmitLost(e)
        if e.pointee.packetsOut == 0, e.pointee.unsent <= 0, !finUnsent(e) { e.pointee.sendRing.release(pool) }
        return .fine
    }

    /// RTT samples: Karn's rule, else the echoed timestamp (RFC 7323 §4.1, `tcp_ack_update_rtt`).
    private func updateRoundTrip(_ e: EndpointPointer, _ findings: AckFindings) {
        var sample: Int64 = -1
        if findings.roundTrip >= 0, !findings.retransmittedAcked {
            sample = findings.roundTrip / 1000
        } else if findings.sackRoundTrip >= 0 {
            sample = findings.sackRoundTrip / 1000
        } else if findings.newlyAcked > 0, e.pointee.flags.contains(.timestamps), e.pointee.receivedEcho != 0 {
            let delta = timestamp(e) &- e.pointee.receivedEcho
            if delta < 1 << 31 { sample = Int64(max(1, delta)) * 1000 }
        }
        guard sample >= 0 else { return }
        let microseconds = UInt32(clamping: max(1, sample))
        updateMinimumRTT(e, microseconds: microseconds)
        addRTTSample(e, microseconds: microseconds)
    }

    /// TS.Recent (RFC 7323 §4.3): only from a segment that covers the left edge of what was last acknowledged.
    func replaceRecentTimestamp(_ e: EndpointPointer, _ segment: Segment) {
        guard segment.hasTimestamp, !segment.sequence.isAfter(e.pointee.windowUpdate) else { return }
        if e.pointee.recentTimestampAt == 0 || Int32(bitPattern: segment.timestampValue &- e.pointee.recentTimestamp) >= 0 || isStale(e) {
            e.pointee.recentTimestamp = segment.timestampValue
            e.pointee.recentTimestampAt = max(1, now.nanoseconds)
        }
    }

    /// RFC 7323 §5.5: after 24 days the stored timestamp says nothing.
    private func isStale(_ e: EndpointPointer) -> Bool { now.nanoseconds &- e.pointee.recentTimestampAt > 24 * 86_400 * 1_000_000_000 }

    /// PAWS (RFC 7323 §5.3): true if the segment is an old duplicate by its timestamp.
    func failsPAWS(_ e: EndpointPointer, _ segment: Segment, slack: Int32 = 0) -> Bool {
        guard segment.hasTimestamp, e.pointee.flags.contains(.timestamps), e.pointee.recentTimestamp != 0 else { return false }
        return Int32(bitPattern: e.pointee.recentTimestamp &- segment.timestampValue) > slack && !isStale(e)
    }
}
