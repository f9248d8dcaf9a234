import HairpinEngine
import HairpinWire

/// Loss detection and repair: the SACK scoreboard (RFC 2018), RACK (RFC 8985), tail loss probes, and the retransmission timeout's aftermath.
extension TransportStack {
    /// What one ACK told about the segments in flight.
    struct AckFindings {
        var newlySacked = 0
        var newlyAcked = 0
        var newlyLost = 0
        var duplicateReported = false
        var sackChanged = false
        /// Round trip of the first segment acknowledged, in ns; -1 unknown (Karn's rule, RFC 6298 §3).
        var roundTrip: Int64 = -1
        var sackRoundTrip: Int64 = -1
        var unaAdvanced = false
        var retransmittedAcked = false
        var delivered: Int { newlySacked + newlyAcked }
    }

    /// The time of a transmission, made unique: what is sent later in the same moment is later, as RACK needs to know.
    func transmissionStamp() -> UInt64 {
        lastStamp = max(now.nanoseconds, lastStamp + 1)
        return lastStamp
    }
    func age(_ stamp: UInt64) -> UInt64 { now.nanoseconds > stamp ? now.nanoseconds - stamp : 0 }

    // MARK: scoreboard

    func tagSelectiveAcks(_ e: EndpointPointer, _ segment: Segment, _ findings: inout AckFindings) {
        for i in 0..<segment.sackCount {
            let (start, end) = segment.sackBlock(i)
            guard end.isAfter(start), !end.isAfter(e.pointee.sendNext) else { continue }
            if i == 0, isDuplicateReport(segment, start, end) {
                findings.duplicateReported = true
                if e.pointee.undoRetransmissions > 0, e.pointee.undoMark.rawValue != 0, end.isAfter(e.pointee.undoMark) { e.pointee.undoRetransmissions -= 1 }
                continue
            }
            guard start.isAtOrAfter(segment.acknowledgment), start.isAtOrAfter(e.pointee.unacknowledged) else { continue }
            var index = firstSent(e, from: start)
            while index < e.pointee.sent.count {
                let sent = e.pointee.sent.pointer(index)
                guard sent.pointee.end.isAtOrBefore(end) else { break }
                if sent.pointee.marks & SentSegment.sacked == 0, sent.pointee.start.isAtOrAfter(start) { markSacked(e, sent, &findings) }
                index += 1
            }
        }
    }

    /// RFC 2883 §4: below the cumulative ACK, or inside the second block.
    private func isDuplicateReport(_ segment: Segment, _ start: SequenceNumber, _ end: SequenceNumber) -> Bool {
        if start.isBefore(segment.acknowledgment) { return true }
        guard segment.sackCount > 1 else { return false }
        let second = segment.sackBlock(1)
        return !end.isAfter(second.end) && !start.isBefore(second.start)
    }

    /// Index of the first segment in flight that starts at or after `sequence`.
    private func firstSent(_ e: EndpointPointer, from sequence: SequenceNumber) -> Int {
        var low = 0
        var high = e.pointee.sent.count
        while low < high {
            let middle = (low + high) / 2
            if e.pointee.sent[middle].start.isBefore(sequence) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private func markSacked(_ e: EndpointPointer, _ sent: UnsafeMutablePointer<SentSegment>, _ findings: inout AckFindings) {
        if sent.pointee.marks & SentSegment.lost != 0 {
            e.pointee.lostOut -= 1
            sent.pointee.marks &= ~SentSegment.lost
        }
        if sent.pointee.marks & SentSegment.retransmitted != 0 {
            e.pointee.retransOut -= 1
            sent.pointee.marks &= ~SentSegment.retransmitted
        }
        sent.pointee.marks |= SentSegment.sacked
        e.pointee.sackedOut += 1
        findings.newlySacked += 1
        findings.sackChanged = true
        if sent.pointee.marks & SentSegment.everRetransmitted == 0 {
            if sent.pointee.start.isBefore(e.pointee.rackEnd), sent.pointee.sentAt < e.pointee.rackTime { e.pointee.flags.insert(.reorderingSeen) }
            if findings.sackRoundTrip < 0 { findings.sackRoundTrip = Int64(age(sent.pointee.sentAt)) }
        }
        advanceRACK(e, sent.pointee)
    }

    /// Takes what the cumulative ACK covers off the queue (`tcp_clean_rtx_queue`).
    func removeAcknowledged(_ e: EndpointPointer, _ findings: inout AckFindings) {
        let una = e.pointee.unacknowledged
        while e.pointee.sent.count > 0 {
            let head = e.pointee.sent.pointer(0)
            guard head.pointee.end.isAtOrBefore(una) else {
                // Half a segment acknowledged: the rest stays.
                if head.pointee.start.isBefore(una) { head.pointee.start = una }
                break
            }
            let sent = head.pointee
            if sent.marks & SentSegment.everRetransmitted != 0 {
                findings.retransmittedAcked = true
            } else if findings.roundTrip < 0, sent.marks & SentSegment.sacked == 0 {
                findings.roundTrip = Int64(age(sent.sentAt))
            }
            if sent.marks & SentSegment.sacked != 0 {
                e.pointee.sackedOut -= 1
            } else {
                findings.newlyAcked += 1
                advanceRACK(e, sent)
            }
            if sent.marks & SentSegment.retransmitted != 0 { e.pointee.retransOut -= 1 }
            if sent.marks & SentSegment.lost != 0 { e.pointee.lostOut -= 1 }
            e.pointee.sent.removeFirst(pool)
        }
        if !e.pointee.flags.contains(.selectiveAcks) {
            // Without SACK the count of duplicates stands for what left the network.
            let left = Int(e.pointee.sackedOut) - max(0, findings.newlyAcked - 1)
            e.pointee.sackedOut = UInt32(max(0, min(left, e.pointee.sent.count)))
        }
    }

    // MARK: RACK

    /// RFC 8985 §6.2 step 2 (`tcp_rack_advance`).
    private func advanceRACK(_ e: EndpointPointer, _ sent: SentSegment) {
        let rtt = UInt32(clamping: age(sent.sentAt) / 1000)
        // A retransmission acknowledged faster than any round trip: the original had arrived.
        if sent.transmissions > 1, rtt < e.pointee.minimumRTT { return }
        e.pointee.rackRTT = rtt
        if isLater(sent.sentAt, sent.end, e.pointee.rackTime, e.pointee.rackEnd) {
            e.pointee.rackTime = sent.sentAt
            e.pointee.rackEnd = sent.end
        }
    }

    private func isLater(_ a: UInt64, _ aEnd: SequenceNumber, _ b: UInt64, _ bEnd: SequenceNumber) -> Bool {
        a > b || (a == b && aEnd.isAfter(bEnd))
    }

    /// How long a segment may still be on its way although later ones arrived (`tcp_rack_reo_wnd`), in µs.
    private func reorderingWindow(_ e: EndpointPointer) -> UInt32 {
        if !e.pointee.flags.contains(.reorderingSeen) {
            if e.pointee.phase == .recovery || e.pointee.phase == .loss { return 0 }
            if Int(e.pointee.sackedOut) >= settings.tcp_reordering { return 0 }
        }
        return min(e.pointee.minimumRTT == .max ? 0 : e.pointee.minimumRTT >> 2, e.pointee.smoothedRTT >> 3)
    }

    /// Marks segments that were sent before the latest delivered one and are overdue (RFC 8985 §6.2 step 5). Returns how many, arming the timer for the next.
    @discardableResult
    func detectLoss(_ e: EndpointPointer) -> Int {
        guard e.pointee.rackTime != 0 else { return 0 }
        let window = reorderingWindow(e)
        var marked = 0
        var wait: Int64 = 0
        for i in 0..<e.pointee.sent.count {
            let sent = e.pointee.sent.pointer(i)
            if sent.pointee.marks & SentSegment.sacked != 0 { continue }
            if sent.pointee.marks & SentSegment.lost != 0, sent.pointee.marks & SentSegment.retransmitted == 0 { continue }
            guard isLater(e.pointee.rackTime, e.pointee.rackEnd, sent.pointee.sentAt, sent.pointee.end) else {
                if sent.pointee.marks & SentSegment.everRetransmitted == 0 { break }  // the rest was sent later still
                continue
            }
            let remaining = Int64(e.pointee.rackRTT) + Int64(window) - Int64(age(sent.pointee.sentAt) / 1000)
            if remaining <= 0 {
                markLost(e, sent)
                marked += 1
            } else {
                wait = max(wait, remaining)
            }
        }
        if wait > 0 {
            arm(e, .reordering, ticks: TimerWheel.ticks(.microseconds(wait + 2000)))
        }
        return marked
    }

    func markLost(_ e: EndpointPointer, _ sent: UnsafeMutablePointer<SentSegment>) {
        if sent.pointee.marks & SentSegment.retransmitted != 0 {
            sent.pointee.marks &= ~SentSegment.retransmitted
            e.pointee.retransOut -= 1
        }
        if sent.pointee.marks & SentSegment.lost == 0 {
            sent.pointee.marks |= SentSegment.lost
            e.pointee.lostOut += 1
        }
    }

    func reorderingTimeout(_ e: EndpointPointer) {
        let inFlight = e.pointee.inFlight
        if detectLoss(e) > 0, inFlight != e.pointee.inFlight {
            if e.pointee.phase != .recovery, e.pointee.phase != .loss { enterRecovery(e) }
            reduceWindow(e, delivered: 1, newlyLost: 1, unaAdvanced: false)
            retransmitLost(e)
        }
        if e.pointee.timer == .none { rearmRetransmission(e) }
    }

    // MARK: phases

    private func saveForUndo(_ e: EndpointPointer) {
        e.pointee.priorThreshold =
            e.pointee.phase == .open || e.pointee.phase == .disorder ? max(e.pointee.slowStartThreshold, e.pointee.window * 3 / 4) : e.pointee.slowStartThreshold
        e.pointee.undoMark = e.pointee.unacknowledged
        e.pointee.undoRetransmissions = e.pointee.retransOut > 0 ? Int32(e.pointee.retransOut) : -1
        e.pointee.retransmitStamp = 0
    }

    func enterRecovery(_ e: EndpointPointer) {
        statistics.fastRetransmits += 1
        saveForUndo(e)
        if e.pointee.phase != .reduced { beginReduction(e) }
        e.pointee.phase = .recovery
    }

    /// After a timeout everything in flight counts as lost, and one segment may go (`tcp_enter_loss`; RFC 5681 §3.1).
    func enterLoss(_ e: EndpointPointer) {
        if e.pointee.phase == .open || e.pointee.phase == .disorder || e.pointee.phase == .reduced || !e.pointee.highSequence.isAfter(e.pointee.unacknowledged) {
            saveForUndo(e)
            e.pointee.priorWindow = e.pointee.window
            e.pointee.slowStartThreshold = thresholdAfterLoss(e)
        }
        for i in 0..<e.pointee.sent.count {
            let sent = e.pointee.sent.pointer(i)
            if sent.pointee.marks & SentSegment.sacked == 0 { markLost(e, sent) }
        }
        if !e.pointee.flags.contains(.selectiveAcks) { e.pointee.sackedOut = 0 }
        e.pointee.window = UInt32(e.pointee.inFlight + 1)
        e.pointee.windowCount = 0
        e.pointee.highSequence = e.pointee.sendNext
        e.pointee.phase = .loss
        e.pointee.probing = false
        if e.pointee.retransmitStamp == 0, e.pointee.sent.count > 0 { e.pointee.retransmitStamp = e.pointee.sent[0].sentAt }
    }

    /// What an ACK changes about the phase, and what is sent again because of it (`tcp_fastretrans_alert`).
    func repair(_ e: EndpointPointer, _ findings: inout AckFindings, isDuplicate: Bool) {
        if e.pointee.phase != .open, e.pointee.unacknowledged.isAtOrAfter(e.pointee.highSequence) {
            switch e.pointee.phase {
            case .loss, .recovery:
                if mayUndo(e) { undo(e) } else if e.pointee.phase == .recovery { endReduction(e) }
                e.pointee.phase = .open
                e.pointee.undoMark = SequenceNumber(0)
                e.pointee.retransmitStamp = 0
            case .reduced:
                if e.pointee.unacknowledged != e.pointee.highSequence || e.pointee.packetsOut == 0 {
                    endReduction(e)
                    e.pointee.phase = .open
                }
            default: break
            }
        }
        if !e.pointee.flags.contains(.selectiveAcks), isDuplicate, Int(e.pointee.sackedOut) < e.pointee.packetsOut { e.pointee.sackedOut += 1 }
        let lostBefore = e.pointee.lostOut
        if e.pointee.flags.contains(.selectiveAcks) {
            detectLoss(e)
        } else if e.pointee.sent.count > 0, Int(e.pointee.sackedOut) >= settings.tcp_reordering || (e.pointee.phase == .recovery && findings.unaAdvanced) {
            let head = e.pointee.sent.pointer(0)
            if head.pointee.marks & SentSegment.retransmitted == 0 { markLost(e, head) }
        }
        findings.newlyLost = max(0, Int(e.pointee.lostOut) - Int(lostBefore))
        switch e.pointee.phase {
        case .open, .disorder, .reduced:
            if e.pointee.lostOut > 0 {
                enterRecovery(e)
            } else if e.pointee.phase != .reduced {
                e.pointee.phase = e.pointee.sackedOut > 0 ? .disorder : .open
                if e.pointee.phase == .disorder { e.pointee.highSequence = e.pointee.sendNext }
            }
        case .recovery, .loss: break
        }
        if e.pointee.phase == .recovery || e.pointee.phase == .reduced {
            reduceWindow(e, delivered: findings.delivered, newlyLost: findings.newlyLost, unaAdvanced: findings.unaAdvanced)
        } else if e.pointee.phase == .loss, findings.newlyAcked > 0 {
            // Slow start from one segment, also while repairing.
            e.pointee.window = min(e.pointee.window + UInt32(findings.newlyAcked), max(e.pointee.slowStartThreshold, 2))
        }
    }

    /// Everything retransmitted was reported as a duplicate (RFC 2883), or the ACK echoes a stamp from before the retransmission (RFC 3522).
    private func mayUndo(_ e: EndpointPointer) -> Bool {
        guard e.pointee.undoMark.rawValue != 0 else { return false }
        if e.pointee.undoRetransmissions == 0 { return true }
        guard e.pointee.retransmitStamp != 0, e.pointee.flags.contains(.timestamps), e.pointee.receivedEcho != 0 else { return false }
        let stamp = UInt32(truncatingIfNeeded: e.pointee.retransmitStamp / 1_000_000) &+ e.pointee.timestampOffset
        return Int32(bitPattern: e.pointee.receivedEcho &- stamp) < 0
    }

    private func undo(_ e: EndpointPointer) {
        e.pointee.window = max(e.pointee.window, e.pointee.priorWindow)
        e.pointee.slowStartThreshold = max(e.pointee.slowStartThreshold, e.pointee.priorThreshold)
    }

    // MARK: retransmission

    /// Sends lost segments again, as far as the window allows (`tcp_xmit_retransmit_queue`).
    func retransmitLost(_ e: EndpointPointer) {
        guard e.pointee.lostOut > e.pointee.retransOut else { return }
        var index = 0
        while index < e.pointee.sent.count, e.pointee.inFlight < Int(e.pointee.window) {
            let sent = e.pointee.sent[index]
            if sent.marks & (SentSegment.lost | SentSegment.retransmitted | SentSegment.sacked) == SentSegment.lost {
                guard retransmit(e, index: index), e.pointee.state != .closed else { break }
                if e.pointee.phase == .recovery { e.pointee.proportionalOut += 1 }
                if index == 0, e.pointee.timer != .reordering { arm(e, .retransmission, ticks: UInt64(e.pointee.retransmitTimeout)) }
            }
            index += 1
        }
    }

    /// Sends a segment of the queue again (`__tcp_retransmit_skb`); false if a packet of this connection still waits for a neighbour, or the window
    /// shrank below it.
    @discardableResult
    func retransmit(_ e: EndpointPointer, index: Int) -> Bool {
        if network.packetsHeld(by: e.pointee.socket) > 0 { return false }
        let sent = e.pointee.sent[index]
        if index > 0, !sent.start.isBefore(e.pointee.windowEnd) { return false }
        var flags: TCPFlags = .ack
        if sent.marks & SentSegment.psh != 0 { flags.insert(.psh) }
        if sent.marks & SentSegment.fin != 0 { flags.insert(.fin) }
        statistics.retransmitted += 1
        let record = e.pointee.sent.pointer(index)
        if record.pointee.marks & SentSegment.retransmitted == 0 {
            record.pointee.marks |= SentSegment.retransmitted
            e.pointee.retransOut += 1
        }
        record.pointee.marks |= SentSegment.everRetransmitted
        if record.pointee.transmissions < .max { record.pointee.transmissions += 1 }
        if e.pointee.retransmitStamp == 0 { e.pointee.retransmitStamp = now.nanoseconds }
        record.pointee.sentAt = transmissionStamp()
        if e.pointee.undoRetransmissions < 0 { e.pointee.undoRetransmissions = 0 }
        e.pointee.undoRetransmissions += 1
        transmit(e, sequence: sent.start, count: sent.payload, flags: flags)
        return true
    }

    // MARK: tail loss probes (RFC 8985 §7)

    /// `tcp_schedule_loss_probe`; true if the timer now stands for the probe.
    @discardableResult
    func scheduleLossProbe(_ e: EndpointPointer, advancing: Bool) -> Bool {
        guard e.pointee.packetsOut > 0, e.pointee.flags.contains(.selectiveAcks), e.pointee.phase == .open || e.pointee.phase == .reduced,
            e.pointee.state != .synReceived
        else { return false }
        var microseconds: Int64 = 1_000_000
        if e.pointee.smoothedRTT > 0 {
            microseconds = Int64(e.pointee.smoothedRTT >> 2)
            microseconds += e.pointee.packetsOut == 1 ? settings.tcp_rto_min.nanoseconds / 1000 : 2000
        }
        var ticks = TimerWheel.ticks(.microseconds(microseconds))
        if advancing {
            ticks = min(ticks, UInt64(e.pointee.retransmitTimeout))
        } else {
            let due = e.pointee.sent[0].sentAt + UInt64(e.pointee.retransmitTimeout) * TimerWheel.tick
            if due > now.nanoseconds { ticks = min(ticks, TimerWheel.ticks(Duration(nanoseconds: Int64(due - now.nanoseconds)))) }
        }
        arm(e, .lossProbe, ticks: ticks)
        return true
    }

    /// `tcp_send_loss_probe`: new data if there is any and it fits, else the last segment again.
    func sendLossProbe(_ e: EndpointPointer) {
        defer {
            if e.pointee.state != .closed, e.pointee.timer == .none {
                e.pointee.timer = .lossProbe
                rearmRetransmission(e)
            }
        }
        guard !e.pointee.probing, e.pointee.packetsOut > 0 else { return }
        let segment = currentSegment(e)
        let out = e.pointee.packetsOut
        if e.pointee.unsent > 0, e.pointee.windowEnd - e.pointee.sendNext >= min(e.pointee.unsent, segment) {
            writeSegments(e, segment: segment, nagle: .off, push: .probe)
            guard e.pointee.packetsOut > out else { return }
            e.pointee.flags.remove(.probeRetransmitted)
        } else {
            guard retransmit(e, index: e.pointee.sent.count - 1) else { return }
            e.pointee.flags.insert(.probeRetransmitted)
        }
        statistics.lossProbes += 1
        e.pointee.probeHigh = e.pointee.sendNext
        e.pointee.probing = true
    }

    /// `tcp_process_tlp_ack`: was the probe itself the lost one's replacement (then the window is reduced), or a duplicate?
    func acknowledgeLossProbe(_ e: EndpointPointer, _ segment: Segment, _ findings: AckFindings) {
        guard e.pointee.probing, segment.acknowledgment.isAtOrAfter(e.pointee.probeHigh) else { return }
        if !e.pointee.flags.contains(.probeRetransmitted) || findings.duplicateReported {
            e.pointee.probing = false
        } else if segment.acknowledgment.isAfter(e.pointee.probeHigh)
            || (findings.unaAdvanced && e.pointee.packetsOut == 0 && !findings.sackChanged && findings.newlyAcked > 1)
        {
            beginReduction(e)
            e.pointee.phase = .reduced
            endReduction(e)
            e.pointee.phase = .open
            e.pointee.probing = false
        } else if !findings.unaAdvanced && segment.payload.isEmpty {
            e.pointee.probing = false
        }
    }
}
