import HairpinEngine
import HairpinWire

/// Sending again.
extension TransportStack {
    /// Lost segments, as far as the window allows (`tcp_xmit_retransmit_queue`).
    func retransmitLost(_ e: EndpointPointer) {
        guard e.pointee.lostOut > e.pointee.retransOut else { return }
        var index = 0
        var rearms = false
        // What was sent last in this pass is not the end of its packet.
        var continues = false
        while index < e.cold.pointee.sent.count, e.pointee.inFlight < Int(e.pointee.window), e.pointee.retransOut < e.pointee.lostOut {
            if e.cold.pointee.modules != nil, waitsForPacing(e) { break }
            let sent = e.cold.pointee.sent[index]
            if e.cold.pointee.leavesAt > now.nanoseconds, waitsForDevice(e, packet: sent.payload, isRetransmission: true) { break }
            if TransportStack.isDue(sent) {
                let count = burst(e, from: index)
                guard count > 1 ? retransmitBurst(e, index, count) : retransmit(e, index: index), e.pointee.state != .closed else { break }
                if e.pointee.phase == .loss { statistics.ext.TCPSlowStartRetrans += count } else { statistics.ext.TCPFastRetrans += count }
                if e.pointee.phase == .recovery || e.pointee.phase == .reduced { e.cold.pointee.proportionalOut += UInt32(count) }
                if index == 0, e.pointee.timer != .reordering { rearms = true }
                index += count - 1
                continues = e.cold.pointee.sent[index].marks & SentSegment.endsBurst == 0
            } else {
                continues = false
            }
            index += 1
        }
        // The window ends within a packet: its front is one of its own now (`tcp_fragment`).
        if continues { endPacket(e, after: index - 1) }
        if rearms, e.pointee.state != .closed { arm(e, .retransmission, ticks: UInt64(e.pointee.retransmitTimeout)) }
    }

    /// Lost, and not sent again since.
    private static func isDue(_ sent: SentSegment) -> Bool {
        sent.marks & (SentSegment.lost | SentSegment.retransmitted | SentSegment.sacked) == SentSegment.lost
    }

    /// How many segments of the packet that holds the one at `index` go together: those that follow it in the same burst and are due, as far as both windows
    /// and the size of bursts allow.
    private func burst(_ e: EndpointPointer, from index: Int) -> Int {
        let segment = currentSegment(e)
        let most = min(Int(e.pointee.window) - e.pointee.inFlight, burstLimit(e, segment: segment))
        var count = 0
        while count < most, index + count < e.cold.pointee.sent.count {
            let sent = e.cold.pointee.sent[index + count]
            guard TransportStack.isDue(sent), sent.payload <= segment, sent.end.isAtOrBefore(e.pointee.windowEnd) else { break }
            count += 1
            if sent.marks & SentSegment.endsBurst != 0 { break }
        }
        return max(1, count)
    }

    /// Sends several segments of the queue again as one packet of the kernel, which is cut below TCP: only the last has PSH (`__tcp_transmit_skb`).
    private func retransmitBurst(_ e: EndpointPointer, _ index: Int, _ count: Int) -> Bool {
        for i in index..<index + count where isHeld(e, e.cold.pointee.sent[i]) {
            statistics.ext.TCPSpuriousRtxHostQueues += 1
            return false
        }
        if network.packetsHeld(by: e.pointee.socket) > 0 {
            statistics.ext.TCPSpuriousRtxHostQueues += 1
            return false
        }
        let last = index + count - 1
        endPacket(e, after: last)
        let stamp = transmissionStamp()
        let previous = e.cold.pointee.lastTransmission
        var payload = 0
        for i in index...last {
            payload += e.cold.pointee.sent[i].payload
            sendAgain(e, i, flags: i == last ? [.ack, .psh] : .ack, stamp: stamp, isProbe: false, cutFromBurst: true)
            guard e.pointee.state != .closed else { return false }
        }
        if let modules = e.cold.pointee.modules { moduleResent(e, modules, payload: payload, previous: previous) }
        return true
    }

    /// The packet of the queue that segment `index` is of ends with it; what followed is a packet of its own (`tcp_fragment`).
    func endPacket(_ e: EndpointPointer, after index: Int) {
        guard index >= 0, index < e.cold.pointee.sent.count else { return }
        let sent = e.cold.pointee.sent.pointer(index)
        guard sent.pointee.marks & SentSegment.endsBurst == 0 else { return }
        sent.pointee.marks |= SentSegment.endsBurst
        e.cold.pointee.heldPackets += 1
    }

    /// Sends a segment of the queue again (`__tcp_retransmit_skb`); false if a packet of this connection still waits for a neighbour, or the window
    /// shrank below it. A tail loss probe is none of the retransmissions that recovery counts: those are `tcp_retransmit_skb`'s.
    @discardableResult
    func retransmit(_ e: EndpointPointer, index: Int, isProbe: Bool = false) -> Bool {
        if network.packetsHeld(by: e.pointee.socket) > 0 || isHeld(e, e.cold.pointee.sent[index]) {
            statistics.ext.TCPSpuriousRtxHostQueues += 1
            return false
        }
        if index > 0, !e.cold.pointee.sent[index].start.isBefore(e.pointee.windowEnd) { return false }
        if e.pointee.flags.contains(.routeStale), !e.pointee.flags.contains(.mayBeCut) {
            e.pointee.flags.remove(.routeStale)
            e.pointee.flags.insert(.routeChanged)
        }
        // What lies beyond a window that shrank stays (`__tcp_retransmit_skb`).
        let room = e.pointee.windowEnd - e.cold.pointee.sent[index].start
        let segment = room > 0 ? min(currentSegment(e), room) : currentSegment(e)
        e.cold.pointee.sent.pointer(index).pointee.marks &= ~SentSegment.trimmed
        if e.cold.pointee.sent[index].payload > segment {
            cut(e, index, segment)
        } else if settings.tcp_retrans_collapse, e.cold.pointee.sent[index].payload < segment {
            joinFollowing(e, index, segment)
        }
        let previous = e.cold.pointee.lastTransmission
        sendAgain(e, index, flags: .ack, stamp: transmissionStamp(), isProbe: isProbe)
        guard e.pointee.state != .closed else { return false }
        if let modules = e.cold.pointee.modules { moduleResent(e, modules, payload: e.cold.pointee.sent[index].payload, previous: previous) }
        return true
    }

    /// The segment as it is in the queue, with its books.
    private func sendAgain(_ e: EndpointPointer, _ index: Int, flags: TCPFlags, stamp: UInt64, isProbe: Bool, cutFromBurst: Bool = false) {
        let sent = e.cold.pointee.sent[index]
        var flags = flags
        if sent.marks & SentSegment.psh != 0 { flags.insert(.psh) }
        if sent.marks & SentSegment.fin != 0 { flags.insert(.fin) }
        statistics.retransmitted += 1
        e.cold.pointee.totalRetransmissions &+= 1
        e.cold.pointee.bytesRetransmitted &+= UInt64(sent.payload)
        let record = e.cold.pointee.sent.pointer(index)
        if !isProbe, record.pointee.marks & SentSegment.retransmitted == 0 {
            record.pointee.marks |= SentSegment.retransmitted
            e.pointee.retransOut += 1
        }
        record.pointee.marks |= SentSegment.everRetransmitted
        if record.pointee.transmissions < .max { record.pointee.transmissions += 1 }
        record.pointee.sentAt = stamp
        record.pointee.leaving = 0
        record.pointee.marks &= ~(SentSegment.applicationLimited | SentSegment.untimed | SentSegment.judged)
        noteDelivery(e, &record.pointee, wasIdle: false)
        if !isProbe {
            if e.cold.pointee.retransmitStamp == 0 { e.cold.pointee.retransmitStamp = now.nanoseconds }
            e.cold.pointee.undoRetransmissions = max(e.cold.pointee.undoRetransmissions, 0) + 1
        }
        if sent.marks & SentSegment.stamped != 0 { stampTransmission(e, end: sent.start + sent.payload, payload: sent.payload) }
        if isProbed { probe(e, .retransmit, sequence: sent.start, length: sent.payload) }
        transmit(e, sequence: sent.start, count: sent.payload, flags: flags, cutFromBurst: cutFromBurst)
        if departure.pointee != 0, e.pointee.state != .closed { noteDeparture(e, &e.cold.pointee.sent.pointer(index).pointee) }
    }

    /// The segment is larger than segments are now: the front of it goes, the rest stays (`tcp_fragment`).
    private func cut(_ e: EndpointPointer, _ index: Int, _ segment: Int) {
        let whole = e.cold.pointee.sent[index]
        var rest = whole
        rest.start = whole.start + segment
        let front = e.cold.pointee.sent.pointer(index)
        front.pointee.end = rest.start
        front.pointee.marks &= ~(SentSegment.psh | SentSegment.fin | SentSegment.endOfRecord | SentSegment.stamped)
        front.pointee.marks |= SentSegment.endsBurst
        if whole.marks & SentSegment.lost != 0 { e.pointee.lostOut += 1 }
        if whole.marks & SentSegment.retransmitted != 0 { e.pointee.retransOut += 1 }
        e.cold.pointee.heldPackets += 1
        e.cold.pointee.sent.insert(rest, at: index + 1, pool)
    }

    /// Small packets that follow go with it, as far as they fit (`tcp_retrans_try_collapse`); not across MSG_EOR or what was SACKed.
    private func joinFollowing(_ e: EndpointPointer, _ index: Int, _ segment: Int) {
        while index + 1 < e.cold.pointee.sent.count {
            let record = e.cold.pointee.sent.pointer(index)
            let next = e.cold.pointee.sent[index + 1]
            guard record.pointee.marks & next.marks & SentSegment.endsBurst != 0, record.pointee.marks & (SentSegment.endOfRecord | SentSegment.fin) == 0,
                next.marks & SentSegment.sacked == 0, record.pointee.payload + next.payload <= segment, next.end.isAtOrBefore(e.pointee.windowEnd)
            else { return }
            record.pointee.end = next.end
            record.pointee.marks |=
                next.marks & (SentSegment.psh | SentSegment.fin | SentSegment.everRetransmitted | SentSegment.endOfRecord | SentSegment.stamped)
            if next.marks & SentSegment.lost != 0 { e.pointee.lostOut -= 1 }
            if next.marks & SentSegment.retransmitted != 0 { e.pointee.retransOut -= 1 }
            // Without SACK one duplicate ACK goes with it (`tcp_adjust_pcount`).
            if !e.pointee.flags.contains(.selectiveAcks), e.pointee.sackedOut > 0 { e.pointee.sackedOut -= 1 }
            if e.cold.pointee.heldPackets > 0 { e.cold.pointee.heldPackets -= 1 }
            e.cold.pointee.sent.remove(at: index + 1, pool)
        }
    }
}
