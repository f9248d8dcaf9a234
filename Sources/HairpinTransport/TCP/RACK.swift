import HairpinEngine
import HairpinWire

/// Loss by time (RFC 8985, `tcp_recovery.c`): a segment is lost when one sent after it arrived a reordering window ago.
extension TransportStack {
    /// RFC 8985 §6.2 step 2 (`tcp_rack_advance`).
    func advanceRACK(_ e: EndpointPointer, _ sent: SentSegment) {
        let rtt = UInt32(clamping: age(sent.sentAt) / 1000)
        // A retransmission acknowledged faster than any round trip: the original had arrived.
        if sent.marks & (SentSegment.retransmitted | SentSegment.everRetransmitted) != 0, rtt < e.cold.pointee.minimumRTT { return }
        e.cold.pointee.rackAdvanced = true
        e.cold.pointee.rackRTT = rtt
        if isLater(sent.sentAt, sent.end, e.cold.pointee.rackTime, e.cold.pointee.rackEnd) {
            e.cold.pointee.rackTime = sent.sentAt
            e.cold.pointee.rackEnd = sent.end
        }
    }

    private func isLater(_ a: UInt64, _ aEnd: SequenceNumber, _ b: UInt64, _ bEnd: SequenceNumber) -> Bool {
        a > b || (a == b && aEnd.isAfter(bEnd))
    }

    /// How long a segment may still be on its way although later ones arrived (`tcp_rack_reo_wnd`), in µs.
    private func reorderingWindow(_ e: EndpointPointer) -> UInt32 {
        if e.cold.pointee.reorderingEvents == 0 {
            if e.pointee.phase == .recovery || e.pointee.phase == .loss { return 0 }
            if Int(e.pointee.sackedOut) >= reorderingDegree(e), settings.tcp_recovery & 4 == 0 { return 0 }
        }
        let steps = UInt32(max(1, e.cold.pointee.rackSteps))
        return min(e.cold.pointee.minimumRTT == .max ? 0 : (e.cold.pointee.minimumRTT >> 2) &* steps, e.cold.pointee.smoothedRTT >> 3)
    }

    /// The window grows by a quarter of the least RTT for each round trip in which duplicates were reported (`tcp_rack_update_reo_wnd`, RFC 8985 §6.2
    /// step 4). A round trip has passed when something sent after the last growth was delivered.
    func adaptReorderingWindow(_ e: EndpointPointer, _ findings: AckFindings) {
        guard settings.tcp_recovery & 2 == 0, findings.latestDelivered != 0 else { return }
        if findings.latestDelivered <= e.cold.pointee.rackGrownAt { e.cold.pointee.rackDuplicateSeen = false }
        if e.cold.pointee.rackDuplicateSeen {
            e.cold.pointee.rackDuplicateSeen = false
            e.cold.pointee.rackSteps = UInt8(min(255, Int(max(1, e.cold.pointee.rackSteps)) + 1))
            e.cold.pointee.rackGrownAt = lastStamp
            e.cold.pointee.rackPersist = 16
        } else if e.cold.pointee.rackPersist == 0 {
            e.cold.pointee.rackSteps = 1
        }
    }

    /// Marks segments that were sent before the latest delivered one and are overdue (RFC 8985 §6.2 step 5); arms the timer for the next. True if armed.
    @discardableResult
    func markOverdue(_ e: EndpointPointer) -> Bool {
        guard e.cold.pointee.rackAdvanced else { return false }
        e.cold.pointee.rackAdvanced = false
        let wait = detectLoss(e)
        guard wait > 0 else { return false }
        arm(e, .reordering, ticks: min(TimerWheel.ticks(.microseconds(wait + 2000)), UInt64(e.pointee.retransmitTimeout)), pacing: false)
        return true
    }

    /// The longest wait for a segment that is not overdue yet, in µs.
    private func detectLoss(_ e: EndpointPointer) -> Int64 {
        guard e.cold.pointee.rackTime != 0 else { return 0 }
        let window = reorderingWindow(e)
        var wait: Int64 = 0
        for i in 0..<e.cold.pointee.sent.count {
            let sent = e.cold.pointee.sent.pointer(i)
            if sent.pointee.marks & (SentSegment.sacked | SentSegment.judged) != 0 { continue }
            if sent.pointee.marks & SentSegment.lost != 0, sent.pointee.marks & SentSegment.retransmitted == 0 { continue }
            guard isLater(e.cold.pointee.rackTime, e.cold.pointee.rackEnd, sent.pointee.sentAt, sent.pointee.end) else {
                if sent.pointee.marks & SentSegment.everRetransmitted == 0 { break }  // the rest was sent later still
                continue
            }
            let remaining = remainingTime(e, sent.pointee, window: window)
            if remaining <= 0 {
                markLost(e, sent)
                sent.pointee.marks |= SentSegment.judged
            } else {
                wait = max(wait, remaining)
            }
        }
        return wait
    }

    /// `tcp_rack_skb_timeout`, in µs.
    func remainingTime(_ e: EndpointPointer, _ sent: SentSegment, window: UInt32) -> Int64 {
        Int64(e.cold.pointee.rackRTT) + Int64(window) - Int64(age(sent.sentAt) / 1000)
    }

    /// `tcp_mark_skb_lost`
    func markLost(_ e: EndpointPointer, _ sent: UnsafeMutablePointer<SentSegment>) {
        guard sent.pointee.marks & SentSegment.sacked == 0 else { return }
        if sent.pointee.marks & SentSegment.lost != 0 {
            guard sent.pointee.marks & SentSegment.retransmitted != 0 else { return }
            // The retransmission is lost as well.
            sent.pointee.marks &= ~SentSegment.retransmitted
            e.pointee.retransOut -= 1
            statistics.ext.TCPLostRetransmit += 1
        } else {
            sent.pointee.marks |= SentSegment.lost
            e.pointee.lostOut += 1
        }
        e.cold.pointee.lostEver &+= 1
    }

    /// `tcp_rack_reo_timeout`
    func reorderingTimeout(_ e: EndpointPointer) {
        let inFlight = e.pointee.inFlight
        let lost = e.cold.pointee.lostEver
        let wait = detectLoss(e)
        if wait > 0 { arm(e, .reordering, ticks: min(TimerWheel.ticks(.microseconds(wait + 2000)), UInt64(e.pointee.retransmitTimeout)), pacing: false) }
        if inFlight != e.pointee.inFlight {
            if e.pointee.phase != .recovery {
                enterRecovery(e, isCongestionEcho: false)
                if e.cold.pointee.congestion != .bbr {
                    reduceWindow(e, delivered: 1, newlyLost: Int(e.cold.pointee.lostEver &- lost), unaAdvanced: false)
                }
            }
            retransmitLost(e)
        }
        if e.pointee.state != .closed, e.pointee.timer != .retransmission, e.pointee.timer != .reordering { rearmRetransmission(e) }
    }
}
