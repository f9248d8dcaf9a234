import HairpinEngine
import HairpinWire

/// Which segments in flight have arrived, by SACK (RFC 2018, RFC 2883) and by the cumulative ACK: `tcp_sacktag_write_queue`, `tcp_clean_rtx_queue`.
extension TransportStack {
    /// The time of a transmission, made unique: what is sent later in the same moment is later, as RACK needs to know.
    func transmissionStamp() -> UInt64 {
        lastStamp = max(now.nanoseconds, lastStamp + 1)
        return lastStamp
    }
    func age(_ stamp: UInt64) -> UInt64 { now.nanoseconds > stamp ? now.nanoseconds - stamp : 0 }

    /// Where the highest SACKed segment ends; SND.UNA without any, and without SACK (`tcp_highest_sack_seq`).
    func highestSack(_ e: EndpointPointer) -> SequenceNumber {
        e.pointee.sackedOut > 0 && e.pointee.flags.contains(.selectiveAcks) ? e.cold.pointee.highestSacked : e.pointee.unacknowledged
    }

    func tagSelectiveAcks(_ e: EndpointPointer, _ segment: Segment, _ findings: inout AckFindings) {
        if e.pointee.sackedOut == 0 { e.cold.pointee.highestSacked = e.pointee.unacknowledged }
        guard segment.sackCount > 0 else { return }
        let first = segment.sackBlock(0)
        let hasDuplicate = reportsDuplicate(e, segment, first.start, first.end, &findings)
        guard e.pointee.packetsOut > 0 else { return }
        // Blocks in order of their numbers, so that the queue is walked once, and what is far apart in one ACK is no reordering.
        var order: (UInt8, UInt8, UInt8, UInt8) = (0, 1, 2, 3)
        withUnsafeMutableBytes(of: &order) { order in
            var count = 0
            for i in 0..<min(segment.sackCount, 4) {
                let (start, end) = segment.sackBlock(i)
                guard isValid(e, start, end, isDuplicate: i == 0 && hasDuplicate), end.isAfter(findings.priorUnacknowledged) else { continue }
                var slot = count
                while slot > 0, segment.sackBlock(Int(order[slot - 1])).start.isAfter(start) {
                    order[slot] = order[slot - 1]
                    slot -= 1
                }
                order[slot] = UInt8(i)
                count += 1
            }
            var index = 0
            for slot in 0..<count {
                let (start, end) = segment.sackBlock(Int(order[slot]))
                let isDuplicate = hasDuplicate && order[slot] == 0
                let nextIsDuplicate = hasDuplicate && slot + 1 < count && order[slot + 1] == 0
                index = max(index, firstSent(e, from: start))
                while index < e.cold.pointee.sent.count {
                    let sent = e.cold.pointee.sent.pointer(index)
                    guard sent.pointee.end.isAtOrBefore(end) else { break }
                    // A duplicate reported within this block: its segments are looked at once.
                    let isInside = nextIsDuplicate && !sent.pointee.start.isBefore(first.start) && sent.pointee.end.isAtOrBefore(first.end)
                    tag(e, sent, isDuplicate: isDuplicate || isInside, &findings)
                    index += 1
                }
            }
        }
        if let low = findings.reordered, e.pointee.phase != .loss || e.cold.pointee.undoMark.rawValue != 0 { checkReordering(e, from: low) }
        findings.reordered = nil
    }

    /// A block lies beyond SND.UNA, or reports a duplicate below it while that can undo something (`tcp_is_sackblock_valid`).
    private func isValid(_ e: EndpointPointer, _ start: SequenceNumber, _ end: SequenceNumber, isDuplicate: Bool) -> Bool {
        guard end.isAfter(start), !end.isAfter(e.pointee.sendNext), start.isBefore(e.pointee.sendNext) else { return false }
        if start.isAfter(e.pointee.unacknowledged) { return true }
        let mark = e.cold.pointee.undoMark
        guard isDuplicate, mark.rawValue != 0, !end.isAfter(e.pointee.unacknowledged) else { return false }
        if !start.isBefore(mark) { return true }
        return end.isAfter(mark) && end - start <= Int(e.cold.pointee.maximumWindow)
    }

    /// RFC 2883 §4: below the cumulative ACK, or inside the second block (`tcp_check_dsack`, `tcp_dsack_seen`).
    private func reportsDuplicate(_ e: EndpointPointer, _ segment: Segment, _ start: SequenceNumber, _ end: SequenceNumber, _ findings: inout AckFindings) -> Bool {
        if !start.isBefore(segment.acknowledgment) {
            guard segment.sackCount > 1 else { return false }
            let second = segment.sackBlock(1)
            guard !end.isAfter(second.end), !start.isBefore(second.start) else { return false }
            statistics.ext.TCPDSACKOfoRecv += 1
        } else {
            statistics.ext.TCPDSACKRecv += 1
        }
        let length = end - start
        guard length > 0, length <= Int(e.cold.pointee.maximumWindow) else {
            statistics.ext.TCPDSACKIgnoredDubious += 1
            return false
        }
        let size = max(1, Int(e.pointee.segmentSize))
        var segments = 1
        if length > size {
            segments = (length + size - 1) / size
        } else if e.cold.pointee.probing, e.cold.pointee.probeHigh == end {
            findings.insert(.duplicateProbe)
        }
        e.cold.pointee.duplicateReports += UInt32(segments)
        // More duplicates than were ever sent again are not ours.
        guard e.cold.pointee.duplicateReports <= e.cold.pointee.totalRetransmissions else {
            statistics.ext.TCPDSACKIgnoredDubious += 1
            return false
        }
        statistics.ext.TCPDSACKRecvSegs += segments
        if e.cold.pointee.reorderingEvents > 0, !findings.contains(.duplicateProbe) { e.cold.pointee.rackDuplicateSeen = true }
        findings.insert(.duplicateReport)
        e.cold.pointee.delivered &+= UInt32(segments)
        if e.cold.pointee.undoMark.rawValue != 0, e.cold.pointee.undoRetransmissions > 0, !end.isAfter(findings.priorUnacknowledged), end.isAfter(e.cold.pointee.undoMark) {
            e.cold.pointee.undoRetransmissions = max(0, e.cold.pointee.undoRetransmissions - Int32(segments))
        }
        return true
    }

    /// Index of the first segment in flight that starts at or after `sequence`.
    private func firstSent(_ e: EndpointPointer, from sequence: SequenceNumber) -> Int {
        var low = 0
        var high = e.cold.pointee.sent.count
        while low < high {
            let middle = (low + high) / 2
            if e.cold.pointee.sent[middle].start.isBefore(sequence) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// `tcp_sacktag_one`
    private func tag(_ e: EndpointPointer, _ sent: UnsafeMutablePointer<SentSegment>, isDuplicate: Bool, _ findings: inout AckFindings) {
        let marks = sent.pointee.marks
        let wasSentAgain = marks & (SentSegment.retransmitted | SentSegment.everRetransmitted) != 0
        if isDuplicate, wasSentAgain {
            if e.cold.pointee.undoMark.rawValue != 0, e.cold.pointee.undoRetransmissions > 0, sent.pointee.end.isAfter(e.cold.pointee.undoMark) {
                e.cold.pointee.undoRetransmissions -= 1
            }
            if marks & SentSegment.sacked != 0 { noteReordering(sent.pointee.start, &findings) }
        }
        guard sent.pointee.end.isAfter(e.pointee.unacknowledged) else { return }
        if marks & SentSegment.sacked == 0 {
            advanceRACK(e, sent.pointee)
            if marks & SentSegment.retransmitted != 0 {
                // Not marked lost: the retransmission is believed to be still on its way.
                if marks & SentSegment.lost != 0 {
                    sent.pointee.marks &= ~(SentSegment.lost | SentSegment.retransmitted)
                    e.pointee.lostOut -= 1
                    e.pointee.retransOut -= 1
                }
            } else {
                if !wasSentAgain {
                    if sent.pointee.start.isBefore(highestSack(e)) { noteReordering(sent.pointee.start, &findings) }
                    if !sent.pointee.end.isAfter(e.cold.pointee.highSequence) { findings.insert(.originalArrived) }
                    let trip = Int64(age(sent.pointee.sentAt))
                    if findings.firstSackRoundTrip < 0 { findings.firstSackRoundTrip = trip }
                    findings.lastSackRoundTrip = trip
                }
                if marks & SentSegment.lost != 0 {
                    sent.pointee.marks &= ~SentSegment.lost
                    e.pointee.lostOut -= 1
                }
            }
            sent.pointee.marks |= SentSegment.sacked
            findings.insert(.sacked)
            sampleDelivery(e, sent.pointee, &findings)
            findings.latestDelivered = max(findings.latestDelivered, sent.pointee.sentAt)
            if e.pointee.sackedOut == 0 || sent.pointee.end.isAfter(e.cold.pointee.highestSacked) { e.cold.pointee.highestSacked = sent.pointee.end }
            e.pointee.sackedOut += 1
            e.cold.pointee.delivered &+= 1
        }
        if isDuplicate, sent.pointee.marks & SentSegment.retransmitted != 0 {
            sent.pointee.marks &= ~SentSegment.retransmitted
            e.pointee.retransOut -= 1
        }
    }

    private func noteReordering(_ start: SequenceNumber, _ findings: inout AckFindings) {
        if let low = findings.reordered, !start.isBefore(low) { return }
        findings.reordered = start
    }

    /// `tcp_check_sack_reordering`
    func checkReordering(_ e: EndpointPointer, from low: SequenceNumber, byTimestamp: Bool = false) {
        let high = highestSack(e)
        guard low.isBefore(high) else { return }
        let distance = high - low
        let size = max(1, Int(e.pointee.segmentSize))
        if distance > reorderingDegree(e) * size {
            e.cold.pointee.reordering = UInt16(clamping: min((distance + size - 1) / size, settings.tcp_max_reordering))
        }
        if byTimestamp { statistics.ext.TCPTSReorder += 1 } else { statistics.ext.TCPSACKReorder += 1 }
        e.cold.pointee.reorderingEvents &+= 1
    }

    /// How far segments have been seen to be displaced, in segments (`tp->reordering`).
    func reorderingDegree(_ e: EndpointPointer) -> Int { e.cold.pointee.reordering == 0 ? settings.tcp_reordering : Int(e.cold.pointee.reordering) }

    /// Takes what the cumulative ACK covers off the queue (`tcp_clean_rtx_queue`). `priorSack` is the highest SACKed number before this ACK.
    func removeAcknowledged(_ e: EndpointPointer, _ priorSack: SequenceNumber, _ findings: inout AckFindings) {
        let una = e.pointee.unacknowledged
        let hasSACK = e.pointee.flags.contains(.selectiveAcks)
        var reordered: SequenceNumber?
        var acked = 0
        let priorSackedOut = e.pointee.sackedOut
        // Whether the packet of the queue that the head belongs to has lost segments to this ACK.
        var isCutInto = false
        while e.cold.pointee.sent.count > 0 {
            let head = e.cold.pointee.sent.pointer(0)
            guard head.pointee.end.isAtOrBefore(una) else {
                // Half a segment acknowledged: the rest stays. Linux trims packets of several segments only (`tcp_tso_acked`).
                if head.pointee.start.isBefore(una) {
                    head.pointee.start = una
                    if !isCutInto, head.pointee.marks & SentSegment.endsBurst != 0 { head.pointee.marks |= SentSegment.trimmed }
                }
                break
            }
            let sent = head.pointee
            if sent.marks & (SentSegment.retransmitted | SentSegment.everRetransmitted) != 0 {
                if sent.marks & SentSegment.retransmitted != 0 { e.pointee.retransOut -= 1 }
                findings.insert(.retransmittedAcked)
            } else if sent.marks & SentSegment.sacked == 0 {
                findings.lastRoundTrip = Int64(age(sent.sentAt))
                if findings.firstRoundTrip < 0 { findings.firstRoundTrip = findings.lastRoundTrip }
                // A packet that was not trimmed still begins below what the ACK before covered.
                let start = sent.marks & SentSegment.trimmed != 0 ? sent.start - 1 : sent.start
                if reordered == nil || start.isBefore(reordered!) { reordered = start }
                if !sent.end.isAfter(e.cold.pointee.highSequence) { findings.insert(.originalArrived) }
            }
            if sent.marks & SentSegment.sacked == 0 { findings.latestDelivered = max(findings.latestDelivered, sent.sentAt) }
            if sent.marks & SentSegment.sacked != 0 {
                e.pointee.sackedOut -= 1
            } else if hasSACK {
                e.cold.pointee.delivered &+= 1
                if !isSpurious(e, sent) { advanceRACK(e, sent) }
            }
            if sent.marks & SentSegment.lost != 0 { e.pointee.lostOut -= 1 }
            if sent.marks & SentSegment.sacked == 0 { sampleDelivery(e, sent, &findings) }
            acked += 1
            isCutInto = sent.marks & SentSegment.endsBurst == 0
            findings.insert(.acked)
            if sent.marks & SentSegment.endsBurst != 0, e.cold.pointee.heldPackets > 0 { e.cold.pointee.heldPackets -= 1 }
            if sent.marks & SentSegment.stamped != 0 { stampAcknowledgment(e, end: sent.start + sent.payload, payload: sent.payload) }
            e.cold.pointee.sent.removeFirst(pool)
        }
        if e.cold.pointee.sent.count == 0 { stopChronograph(e, .busy) }
        if e.cold.pointee.sent.count > 0, e.cold.pointee.sent[0].marks & SentSegment.sacked != 0 { findings.insert(.reneging) }
        let isAlone = acked == 1 && priorSackedOut == 0
        if isAlone, e.cold.pointee.congestion == .bbr, let modules = e.cold.pointee.modules, mayBeDelayed(e, findings) { modules.pointee.sample.isAckDelayed = true }
        let hasSample = updateRoundTrip(e, findings, isAlone: isAlone)
        if acked > 0 {
            findings.insert(.setsTimer)
            if let modules = e.cold.pointee.modules, modules.pointee.search.probeSize != 0 { concludeProbe(e, modules) }
            if !hasSACK {
                removeRenoSacks(e, acked: acked)
                // Without SACK nobody can tell whether the original or the retransmission arrived.
                if findings.contains(.retransmittedAcked) { findings.remove(.originalArrived) }
            } else if let reordered, reordered.isBefore(priorSack) {
                checkReordering(e, from: reordered)
            }
        } else if e.cold.pointee.sent.count > 0, hasSample, findings.firstSackRoundTrip >= 0, findings.firstSackRoundTrip > Int64(age(e.cold.pointee.sent[0].sentAt)) {
            // Not when the sample is of data sent after the head was last sent: the timeout would go on being put off.
            findings.insert(.setsTimer)
        }
        let sample = findings.acknowledgedRoundTrip
        if sample >= 0 { cubicSample(e, microseconds: UInt32(clamping: sample / 1000)) }
    }

    /// An ACK that echoes a stamp from before the retransmission is for the original (`tcp_skb_spurious_retrans`).
    private func isSpurious(_ e: EndpointPointer, _ sent: SentSegment) -> Bool {
        guard sent.marks & (SentSegment.retransmitted | SentSegment.everRetransmitted) != 0, e.pointee.flags.contains(.timestamps), e.cold.pointee.receivedEcho != 0
        else { return false }
        let stamp = UInt32(truncatingIfNeeded: sent.sentAt / 1_000_000) &+ e.pointee.timestampOffset
        return Int32(bitPattern: e.cold.pointee.receivedEcho &- stamp) < 0
    }

    // MARK: without SACK

    /// Duplicate ACKs stand for segments that left the network (`tcp_add_reno_sack`).
    func addRenoSack(_ e: EndpointPointer, _ duplicates: Int) {
        guard duplicates > 0 else { return }
        let before = e.pointee.sackedOut
        e.pointee.sackedOut += UInt32(duplicates)
        limitRenoSacks(e, added: 0)
        if e.pointee.sackedOut > before { e.cold.pointee.delivered &+= e.pointee.sackedOut - before }
    }

    /// One ACK covered the hole, the others eat duplicate ACKs (`tcp_remove_reno_sacks`).
    private func removeRenoSacks(_ e: EndpointPointer, acked: Int) {
        let sacked = Int(e.pointee.sackedOut)
        e.cold.pointee.delivered &+= UInt32(max(acked - sacked, 1))
        e.pointee.sackedOut = UInt32(max(0, sacked - (acked - 1)))
        limitRenoSacks(e, added: acked)
    }

    /// `tcp_check_reno_reordering`, `tcp_limit_reno_sacked`
    private func limitRenoSacks(_ e: EndpointPointer, added: Int) {
        let holes = min(max(Int(e.pointee.lostOut), 1), e.pointee.packetsOut)
        guard Int(e.pointee.sackedOut) + holes > e.pointee.packetsOut else { return }
        e.pointee.sackedOut = UInt32(e.pointee.packetsOut - holes)
        e.cold.pointee.reordering = UInt16(clamping: min(e.pointee.packetsOut + added, settings.tcp_max_reordering))
        statistics.ext.TCPRenoReorder += 1
        e.cold.pointee.reorderingEvents &+= 1
    }
}
