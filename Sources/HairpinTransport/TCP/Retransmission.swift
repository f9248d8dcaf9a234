import HairpinEngine
import HairpinWire

/// Sending again.
extension TransportStack {
    /// Lost segments, as far as the window allows (`tcp_xmit_retransmit_queue`).
    func retransmitLost(_ e: EndpointPointer) {
        guard e.pointee.lostOut > e.pointee.retransOut else { return }
        var index = 0
        var rearms = false
        while index < e.pointee.sent.count, e.pointee.inFlight < Int(e.pointee.window), e.pointee.retransOut < e.pointee.lostOut {
            let sent = e.pointee.sent[index]
            if sent.marks & (SentSegment.lost | SentSegment.retransmitted | SentSegment.sacked) == SentSegment.lost {
                guard retransmit(e, index: index), e.pointee.state != .closed else { break }
                if e.pointee.phase == .recovery || e.pointee.phase == .reduced { e.pointee.proportionalOut += 1 }
                if index == 0, e.pointee.timer != .reordering { rearms = true }
            }
            index += 1
        }
        if rearms, e.pointee.state != .closed { arm(e, .retransmission, ticks: UInt64(e.pointee.retransmitTimeout)) }
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
        e.pointee.totalRetransmissions &+= 1
        e.pointee.bytesRetransmitted &+= UInt64(sent.payload)
        let record = e.pointee.sent.pointer(index)
        if record.pointee.marks & SentSegment.retransmitted == 0 {
            record.pointee.marks |= SentSegment.retransmitted
            e.pointee.retransOut += 1
        }
        record.pointee.marks |= SentSegment.everRetransmitted
        if record.pointee.transmissions < .max { record.pointee.transmissions += 1 }
        record.pointee.sentAt = transmissionStamp()
        if e.pointee.retransmitStamp == 0 { e.pointee.retransmitStamp = now.nanoseconds }
        if e.pointee.undoRetransmissions < 0 { e.pointee.undoRetransmissions = 0 }
        e.pointee.undoRetransmissions += 1
        if sent.marks & SentSegment.stamped != 0 { stampTransmission(e, end: sent.start + sent.payload, payload: sent.payload) }
        transmit(e, sequence: sent.start, count: sent.payload, flags: flags)
        return true
    }
}
