import HairpinEngine
import HairpinWire

/// When to acknowledge: at once, delayed, or with the data that goes back (RFC 1122 §4.2.3.2, RFC 5681 §4.2, and Linux's quick ACKs).
extension TransportStack {
    /// Least and usual delay, 40 ms, and the most, 200 ms, in ticks.
    static let ackTimeoutMinimum: UInt16 = 10
    static let ackDelayMaximum: UInt64 = 50
    static let quickAcksMaximum = 16

    /// Linux keeps the estimate in eight bits (ATO_BITS) and loses what does not fit, which is longer than any ACK is delayed.
    private static func kept(_ ticks: UInt64) -> UInt16 { UInt16(truncatingIfNeeded: ticks & 0xff) }

    func isInteractive(_ e: EndpointPointer) -> Bool { Int(e.pointee.pingPong) >= settings.tcp_pingpong_thresh }
    func enterInteractive(_ e: EndpointPointer) { e.pointee.pingPong = UInt8(clamping: settings.tcp_pingpong_thresh) }
    func isQuick(_ e: EndpointPointer) -> Bool { e.pointee.quickAcks > 0 && !isInteractive(e) }

    private func addQuickAcks(_ e: EndpointPointer, most: Int = quickAcksMaximum) {
        var count = Int(e.pointee.receiveWindow) / (2 * max(1, Int(e.pointee.peerSegment)))
        if count == 0 { count = 2 }
        e.pointee.quickAcks = max(e.pointee.quickAcks, UInt8(min(count, most)))
    }

    /// Something is wrong or new: acknowledge each segment for a while (`tcp_enter_quickack_mode`).
    func enterQuick(_ e: EndpointPointer, most: Int = quickAcksMaximum) {
        addQuickAcks(e, most: most)
        e.pointee.pingPong = 0
        e.pointee.ackTimeout = TransportStack.ackTimeoutMinimum
    }

    /// Data arrived (`tcp_event_data_recv`).
    func dataReceived(_ e: EndpointPointer, _ segment: Segment) {
        e.pointee.flags.insert(.ackScheduled)
        let count = segment.payload.count
        measurePeerSegment(e, segment)
        measureReceiveRTT(e)
        let jiffies = TimerWheel.jiffies(now)
        if e.pointee.ackTimeout == 0 {
            addQuickAcks(e)
            e.pointee.ackTimeout = TransportStack.ackTimeoutMinimum
        } else {
            let gap = jiffies &- e.cold.pointee.lastReceived
            if gap <= UInt64(TransportStack.ackTimeoutMinimum / 2) {
                e.pointee.ackTimeout = e.pointee.ackTimeout >> 1 + TransportStack.ackTimeoutMinimum / 2
            } else if gap < UInt64(e.pointee.ackTimeout) {
                e.pointee.ackTimeout = TransportStack.kept(min(UInt64(e.pointee.ackTimeout >> 1) + gap, UInt64(e.pointee.retransmitTimeout)))
            } else if gap > UInt64(e.pointee.retransmitTimeout) {
                addQuickAcks(e)  // the sender slept so long that it starts slowly again
            }
        }
        e.cold.pointee.lastReceived = jiffies
        if count >= 128 { growWindow(e, segment) }
    }

    /// An ACK went out, alone or with data (`tcp_event_ack_sent`).
    @inline(__always)
    func ackSent(_ e: EndpointPointer) {
        if e.pointee.flags.contains(.ackCompressed) { endCompression(e, sent: 0) }
        if e.pointee.quickAcks > 0 {
            let used: UInt8 = e.pointee.flags.contains(.ackScheduled) ? 1 : 0
            if used >= e.pointee.quickAcks {
                e.pointee.quickAcks = 0
                e.pointee.ackTimeout = TransportStack.ackTimeoutMinimum
            } else {
                e.pointee.quickAcks -= used
            }
        }
        e.pointee.flags.subtract([.ackScheduled, .ackTimer, .ackNow, .lacksMemory, .ackPushed, .ackPushed2])
        e.pointee.ackDeadline = .max
    }

    /// After a segment: now or later (`__tcp_ack_snd_check`)?
    func acknowledgeIfDue(_ e: EndpointPointer, outOfOrderPossible: Bool = true) {
        guard e.pointee.flags.contains(.ackScheduled) else { return }
        let pending = e.pointee.receiveNext - e.pointee.windowUpdate
        let twoSegments =
            pending > Int(e.pointee.peerSegment)
            && (e.pointee.receiveNext - e.pointee.copied < 1 || roomForWindow(e) >= Int(e.pointee.receiveWindow))
        if twoSegments || isQuick(e) || e.pointee.flags.contains(.ackNow) {
            // One for all that waited in the backlog (`tcp_release_cb`).
            if backlog.isDraining, settings.tcp_backlog_ack_defer { backlog.owesAck = true } else { sendAck(e) }
        } else if outOfOrderPossible, e.cold.pointee.outOfOrder.count > 0 {
            compressAck(e)
        } else {
            delayAck(e)
        }
    }

    // MARK: data beyond a hole

    /// Three duplicate ACKs go at once, for the sender counts to three. Those that follow wait for one another for a twentieth of the round trip, a
    /// millisecond at most, and go as one.
    private func compressAck(_ e: EndpointPointer) {
        guard e.pointee.flags.contains(.selectiveAcks), Int(e.cold.pointee.compressedAcks) < settings.tcp_comp_sack_nr else { return sendAck(e) }
        if e.cold.pointee.compressedAt != e.pointee.receiveNext {
            e.cold.pointee.compressedAt = e.pointee.receiveNext
            e.cold.pointee.duplicateAcks = 0
        }
        if e.cold.pointee.duplicateAcks < 3 {
            e.cold.pointee.duplicateAcks += 1
            return sendAck(e)
        }
        e.cold.pointee.compressedAcks += 1
        guard !e.pointee.flags.contains(.ackCompressed) else { return }
        e.pointee.flags.insert(.ackCompressed)
        // In µs × 8, the receiver's estimate or the sender's.
        let roundTrip = e.cold.pointee.smoothedRTT != 0 ? min(e.cold.pointee.smoothedRTT, e.cold.pointee.receiveRTT) : e.cold.pointee.receiveRTT
        let delay = min(UInt64(settings.tcp_comp_sack_delay.nanoseconds), UInt64(roundTrip) * 125 / 20)
        // A timer with slack goes off at the end of it. Whichever timer is first, its ACK is for both.
        let deadline = now.nanoseconds + delay + UInt64(settings.tcp_comp_sack_slack.nanoseconds)
        if deadline < e.pointee.ackDeadline {
            e.pointee.ackDeadline = deadline
            schedule(e)
        }
    }

    /// The ACKs that waited go as `sent` ACKs.
    private func endCompression(_ e: EndpointPointer, sent: Int) {
        statistics.ext.TCPAckCompressed += Int(e.cold.pointee.compressedAcks) - sent
        e.cold.pointee.compressedAcks = 0
        e.pointee.flags.remove(.ackCompressed)
    }

    /// `tcp_sack_compress_send_ack`, `tcp_compressed_ack_kick`
    func sendCompressedAck(_ e: EndpointPointer) {
        endCompression(e, sent: 1)
        sendAck(e)
    }

    /// `tcp_delack_max`: TCP_DELACK_MAX_US, but less than the least RTO.
    func mostAckDelay(_ e: EndpointPointer) -> UInt64 { UInt64(min(e.cold.pointee.mostAckDelay, max(e.cold.pointee.leastTimeout, 2) - 1)) }

    /// `tcp_send_delayed_ack`
    func delayAck(_ e: EndpointPointer) {
        var delay = UInt64(e.pointee.ackTimeout)
        if delay > UInt64(TransportStack.ackTimeoutMinimum) {
            var most: UInt64 = 125
            if isInteractive(e) || e.pointee.flags.contains(.ackPushed) { most = TransportStack.ackDelayMaximum }
            if e.cold.pointee.smoothedRTT > 0 {
                let rtt = max(TimerWheel.ticks(.microseconds(Int64(e.cold.pointee.smoothedRTT >> 3))), UInt64(TransportStack.ackTimeoutMinimum))
                most = min(most, rtt)
            }
            delay = min(delay, most)
        }
        delay = min(delay, mostAckDelay(e))
        var deadline = TimerWheel.expiry(now, ticks: delay)
        if e.pointee.flags.contains(.ackTimer), e.pointee.ackDeadline != .max {
            // An ACK that is due soon anyway is sent now; an earlier timer stays.
            if e.pointee.ackDeadline <= TimerWheel.expiry(now, ticks: delay >> 2) { return sendAck(e) }
            deadline = min(deadline, e.pointee.ackDeadline)
        }
        e.pointee.flags.formUnion([.ackScheduled, .ackTimer])
        e.pointee.ackDeadline = deadline
        schedule(e)
    }

    /// The last ACK of a handshake is saved where data will follow soon: after TCP_QUICKACK with zero, for TCP_DEFER_ACCEPT on the side that connects, and where
    /// a program waits to write (`tcp_rcv_synsent_state_process`).
    func saveLastAck(_ e: EndpointPointer) {
        enterQuick(e)
        e.pointee.flags.formUnion([.ackScheduled, .ackTimer])
        e.pointee.ackDeadline = TimerWheel.expiry(now, ticks: TransportStack.ackDelayMaximum)
        schedule(e)
    }

    /// `tcp_delack_timer_handler`
    func ackTimerExpired(_ e: EndpointPointer) {
        e.pointee.ackDeadline = .max
        if e.pointee.flags.contains(.ackCompressed), e.pointee.state != .closed { return sendCompressedAck(e) }
        guard e.pointee.flags.contains(.ackTimer), e.pointee.state != .closed, e.pointee.state != .listen else { return }
        e.pointee.flags.remove(.ackTimer)
        guard e.pointee.flags.contains(.ackScheduled) else { return }
        if isInteractive(e) {
            e.pointee.pingPong = 0
            e.pointee.ackTimeout = TransportStack.ackTimeoutMinimum
        } else {
            e.pointee.ackTimeout = TransportStack.kept(min(UInt64(e.pointee.ackTimeout) << 1, UInt64(e.pointee.retransmitTimeout)))
        }
        statistics.ext.DelayedACKs += 1
        sendAck(e)
    }

    /// The program has read: an ACK that only waited for it, or a window that opened far enough, goes out (`tcp_cleanup_rbuf`).
    func acknowledgeAfterReading(_ e: EndpointPointer, copied: Int) {
        var now = false
        if e.pointee.flags.contains(.ackScheduled) {
            let flags = e.pointee.flags
            if e.pointee.receiveNext - e.pointee.windowUpdate > Int(e.pointee.peerSegment)
                || (copied > 0 && (flags.contains(.ackPushed2) || (flags.contains(.ackPushed) && !isInteractive(e))) && e.pointee.receiveMemory == 0)
            {
                now = true
            }
        }
        // Bytes that were acknowledged while the window was small: tell when it has doubled.
        if copied > 0, !now, !e.pointee.flags.contains(.receiveShut) {
            let left = e.pointee.windowLeft
            if 2 * left <= Int(e.cold.pointee.windowClamp) {
                let room = roomForWindow(e)
                if room > 0, room >= 2 * left { now = true }
            }
        }
        guard now else { return }
        // The call that reads owns the connection: what the ACK sets off waits until it is over.
        owning(e) {
            sendAck(e)
            letSoftirqsRun(e)
        }
    }
}
