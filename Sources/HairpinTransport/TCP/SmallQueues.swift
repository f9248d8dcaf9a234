import HairpinEngine
import HairpinWire

/// What a slow device still holds of a connection is a reason to send no more yet: small writes become one packet meanwhile (`tcp_should_autocork`), and
/// large ones wait in the write queue, where they can still be dealt with, instead of in the device's (`tcp_small_queue_check`). The next packet that leaves
/// the device lets more go (`tcp_wfree`, `tcp_tsq_write`).
extension TransportStack {
    /// The packet just sent leaves the device later.
    func noteDeparture(_ e: EndpointPointer, _ sent: inout SentSegment) {
        let time = departure.pointee
        let later = max(time, sent.sentAt) - sent.sentAt
        sent.leaving = later < SentSegment.leavesLate ? UInt32(later) : UInt32(SentSegment.leavesLate) | UInt32(min(later >> 12, SentSegment.leavesLate - 1))
        e.cold.pointee.leavesAt = max(e.cold.pointee.leavesAt, time)
    }

    /// Whether the device still holds the segment (`skb_still_in_host_queue`); then the connection goes on when it has left.
    func isHeld(_ e: EndpointPointer, _ sent: SentSegment) -> Bool {
        guard departs(sent) > now.nanoseconds else { return false }
        throttle(e, until: departs(sent))
        return true
    }

    /// Zero: it never was in the device's queue.
    private func departs(_ sent: SentSegment) -> UInt64 {
        let later = UInt64(sent.leaving)
        if later == 0 { return 0 }
        return sent.sentAt + (later < SentSegment.leavesLate ? later : (later - SentSegment.leavesLate) << 12)
    }

    /// Kernel memory of what the device holds at a time in ns (`sk_wmem_alloc`), and when the first of it leaves.
    func deviceMemory(_ e: EndpointPointer, at time: UInt64) -> (bytes: Int, next: UInt64) {
        var bytes = 0
        var next = UInt64.max
        // First in, first out: what lies before something that has left has left too, unless something was sent again.
        let isInOrder = e.pointee.retransOut == 0
        var index = e.cold.pointee.sent.count - 1
        while index >= 0 {
            let sent = e.cold.pointee.sent[index]
            index -= 1
            guard departs(sent) > time else {
                if isInOrder { break }
                continue
            }
            bytes += sent.payload + (sent.marks & SentSegment.endsBurst != 0 ? settings.queuedPacketOverhead : 0)
            next = min(next, departs(sent))
        }
        return (bytes, next)
    }

    /// A packet that is not filled yet waits while earlier data is in the device, and what is written meanwhile joins it. Not if only less than the packet
    /// itself is there: an ACK, say (`tcp_should_autocork`).
    func corksByItself(_ e: EndpointPointer, packet: Int, goal: Int) -> Bool {
        guard settings.tcp_autocorking, packet < goal, e.cold.pointee.sent.count > 0,
            e.cold.pointee.queue[e.cold.pointee.queue.count - 1].marks & QueuedPacket.endOfRecord == 0
        else { return false }
        let held = deviceMemory(e, at: now.nanoseconds)
        guard held.bytes >= packet + settings.queuedPacketOverhead else { return false }
        if throttle(e, until: held.next) { statistics.ext.TCPAutoCorking += 1 }
        return true
    }

    /// The device has enough: what it sends in a millisecond at the present rate, and two packets at least. Packets that are sent again may be twice as much.
    func waitsForDevice(_ e: EndpointPointer, packet: Int, isRetransmission: Bool = false) -> Bool {
        var limit = max(2 * (packet + settings.queuedPacketOverhead), Int(clamping: pacingRate(e) >> 10))
        limit = min(limit, settings.tcp_limit_output_bytes)
        if isRetransmission { limit <<= 1 }
        let held = deviceMemory(e, at: now.nanoseconds)
        guard held.bytes >= limit, !hasOnePacketOut(e) else { return false }
        throttle(e, until: held.next)
        return true
    }

    /// `tcp_rtx_queue_empty_or_single_skb`
    private func hasOnePacketOut(_ e: EndpointPointer) -> Bool {
        for index in 0..<max(0, e.cold.pointee.sent.count - 1) where e.cold.pointee.sent[index].marks & SentSegment.endsBurst != 0 { return false }
        return true
    }

    /// Sets TSQ_THROTTLED; false if it is set already.
    @discardableResult
    private func throttle(_ e: EndpointPointer, until time: UInt64) -> Bool {
        let modules = requireModules(e)
        guard modules.pointee.releaseAt == .max else { return false }
        modules.pointee.releaseAt = time
        schedule(e)
        return true
    }
}
