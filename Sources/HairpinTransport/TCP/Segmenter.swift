import HairpinEngine
import HairpinWire

/// From the stream to segments (`tcp_write_xmit`). What is written but not sent forms one queue; each pass takes a burst off its front, as large
/// as the kernel's GSO packet would be, and only the last segment of a burst carries PSH.
extension TransportStack {
    enum Nagle { case off, on, push, cork }

    /// How Nagle's algorithm applies to the socket now (`tp->nonagle`).
    func nagle(_ e: EndpointPointer) -> Nagle {
        if e.pointee.flags.contains(.cork) { return .cork }
        return e.pointee.flags.contains(.noDelay) ? .off : .on
    }

    /// MSS with today's options and the present path MTU (`tcp_current_mss`).
    func currentSegment(_ e: EndpointPointer) -> Int {
        if e.pointee.flags.contains(.routeChanged) { followRoute(e) }
        var size = Int(e.pointee.segmentSize)
        let extra = optionSize(e) - (e.pointee.flags.contains(.timestamps) ? OptionSize.timestamps : 0)
        if extra > 0 { size -= extra }
        return max(size, 8)
    }

    /// `tcp_sync_mss`: sending MSS for a path MTU, bound by the peer's MSS and by half of the largest window it offered.
    func synchronizeSegment(_ e: EndpointPointer) {
        var size = min(max(Int(e.cold.pointee.pathMTU) - 40, 48), Int(e.cold.pointee.segmentClamp))
        if e.pointee.flags.contains(.timestamps) { size -= OptionSize.timestamps }
        size = max(size, 48)
        size = boundToHalfWindow(e, size)
        e.pointee.segmentSize = UInt16(e.cold.pointee.modules == nil ? size : boundToSearch(e, size))
    }

    /// `tcp_bound_to_half_wnd`
    private func boundToHalfWindow(_ e: EndpointPointer, _ size: Int) -> Int {
        let most = Int(e.cold.pointee.maximumWindow)
        let cutoff = most > 536 ? most >> 1 : most
        return cutoff > 0 && size > cutoff ? max(cutoff, 68 - 20) : size
    }

    /// The size up to which a write fills one packet of the queue (`tcp_xmit_size_goal`).
    func sizeGoal(_ e: EndpointPointer, segment: Int) -> Int {
        let bound = boundToHalfWindow(e, 65_536 - 1 - 320)
        return max(bound / segment * segment, segment)
    }

    /// Most segments of a burst (`tcp_tso_segs`): a millisecond's worth at the present rate, more on short paths.
    func burstLimit(_ e: EndpointPointer, segment: Int) -> Int {
        var bytes = pacingRate(e) >> 10
        let shift = e.cold.pointee.minimumRTT == .max ? 32 : e.cold.pointee.minimumRTT >> UInt32(settings.tcp_tso_rtt_log)
        if shift < 32 { bytes &+= 65_536 >> UInt64(shift) }
        return max(Int(min(bytes, 65_536 - 320)) / segment, leastBurst(e))
    }

    private func leastBurst(_ e: EndpointPointer) -> Int {
        if e.cold.pointee.congestion == .bbr, let modules = e.cold.pointee.modules { return leastBurstBBR(modules) }
        return settings.tcp_min_tso_segs
    }

    /// Sends what the windows allow (`__tcp_push_pending_frames`); arms the window probe when nothing could go.
    func pushPending(_ e: EndpointPointer, _ nagle: Nagle) {
        guard e.pointee.unsent > 0 || finUnsent(e) else { return }
        if writeSegments(e, segment: currentSegment(e), nagle: nagle) { checkProbeTimer(e) }
    }

    func finUnsent(_ e: EndpointPointer) -> Bool { e.pointee.flags.contains(.finQueued) && e.pointee.sendNext == e.pointee.writeEnd }

    /// How much of the queue one pass may send: all of it, one packet (`tcp_push_one`), or one as a tail loss probe, which the congestion window
    /// does not hold back.
    enum Push { case all, one, probe }

    /// True when nothing is in flight and something waits: the caller must see to the window probe (`tcp_write_xmit`).
    @discardableResult
    func writeSegments(_ e: EndpointPointer, segment: Int, nagle: Nagle, push: Push = .all) -> Bool {
        var sentSegments = 0
        if push == .all, let modules = e.cold.pointee.modules, modules.pointee.search.isOn {
            switch probePathMTU(e, modules) {
            case .none: break
            case .wait: return false
            case .sent: sentSegments = 1
            }
            guard e.pointee.state != .closed else { return false }
        }
        let most = burstLimit(e, segment: segment)
        var windowLimited = false
        var congestionLimited = false
        let fin = e.pointee.flags.contains(.finQueued)
        let mayWait = e.cold.pointee.modules != nil
        while e.cold.pointee.queue.count > 0 || finUnsent(e) {
            if mayWait, waitsForPacing(e) { break }
            var head = e.cold.pointee.queue.count > 0 ? e.cold.pointee.queue[0] : QueuedPacket(end: e.pointee.sendNext)
            var isLast = e.cold.pointee.queue.count <= 1
            var waiting = head.end - e.pointee.sendNext
            var carriesFIN = fin && isLast
            // Congestion window (`tcp_cwnd_test`): bursts of at most half of it.
            let inFlight = e.pointee.inFlight
            let cwnd = Int(e.pointee.window)
            var quota = inFlight >= cwnd ? 0 : min(max(cwnd >> 1, 1), cwnd - inFlight)
            if carriesFIN, waiting <= segment, settings.sendsAsBefore6_10 { quota = max(quota, 1) }
            if quota == 0 {
                guard push == .probe else {
                    congestionLimited = true
                    break
                }
                quota = 1
            }
            quota = min(quota, most)
            if !isLast, quota * segment > waiting, !settings.sendsAsBefore6_10, growHead(e, by: quota * segment - waiting) {
                head = e.cold.pointee.queue[0]
                isLast = e.cold.pointee.queue.count == 1
                waiting = head.end - e.pointee.sendNext
                carriesFIN = fin && isLast
            }
            // Receive window (`tcp_snd_wnd_test`): the first segment must fit, FIN included.
            let room = e.pointee.windowEnd - e.pointee.sendNext
            if min(waiting, segment) + (carriesFIN && waiting <= segment ? 1 : 0) > room {
                windowLimited = true
                break
            }
            var take = waiting
            if waiting <= segment {
                // A partial segment waits for what is out (`tcp_nagle_test`, RFC 9293 §3.7.4 with Minshall's change).
                if isLast, nagle != .push, !carriesFIN, !e.pointee.flags.contains(.urgentOut), holdsBack(e, partial: waiting < segment, nagle) { break }
            } else {
                if push == .all,
                    defersBurst(
                        e, segment: segment, most: most, room: room, waiting: waiting, isLast: isLast,
                        isComplete: carriesFIN || head.marks & QueuedPacket.endOfRecord != 0, &congestionLimited, &windowLimited)
                {
                    break
                }
                take = min(waiting, splitPoint(e, segment: segment, quota: quota, room: room, waiting: waiting, isLast: isLast, nagle))
            }
            if e.cold.pointee.leavesAt > now.nanoseconds, waitsForDevice(e, packet: take) { break }
            if e.pointee.flags.contains(.routeStale), isStoppedByRoute(e, payload: take) { break }
            let isWhole = take == waiting
            if e.cold.pointee.queue.count == 0 || !isWhole { e.cold.pointee.heldPackets += 1 }
            if e.cold.pointee.queue.count > 0, isWhole { e.cold.pointee.queue.removeFirst(pool) }
            if isWhole, head.marks & QueuedPacket.stamped != 0 { stampTransmission(e, end: head.end, payload: take) }
            sendBurst(e, count: take, segment: segment, fin: isWhole && carriesFIN, push: isWhole && head.marks & QueuedPacket.psh != 0)
            if isWhole, head.marks & (QueuedPacket.stamped | QueuedPacket.endOfRecord) != 0, e.cold.pointee.sent.count > 0 {
                let last = e.cold.pointee.sent.pointer(e.cold.pointee.sent.count - 1)
                if head.marks & QueuedPacket.stamped != 0 { last.pointee.marks |= SentSegment.stamped }
                if head.marks & QueuedPacket.endOfRecord != 0 { last.pointee.marks |= SentSegment.endOfRecord }
            }
            letSoftirqsRun(e)
            guard e.pointee.state != .closed else { return false }
            let segments = max(1, (take + segment - 1) / segment)
            sentSegments += segments
            if take % segment != 0 || take == 0 { e.cold.pointee.lastSmall = e.pointee.sendNext }
            if e.pointee.phase == .recovery || e.pointee.phase == .reduced { e.cold.pointee.proportionalOut += UInt32(segments) }
            if push != .all { break }
        }
        if windowLimited { startChronograph(e, .windowLimited) } else { stopChronograph(e, .windowLimited) }
        congestionLimited = congestionLimited || e.pointee.inFlight >= Int(e.pointee.window)
        if sentSegments > 0 || congestionLimited { validateCongestionWindow(e, limited: congestionLimited) }
        if sentSegments > 0 {
            if push != .probe { scheduleLossProbe(e, advancing: false) }
            return false
        }
        return e.pointee.packetsOut == 0 && (e.pointee.unsent > 0 || finUnsent(e))
    }

    /// One segment of `count` bytes from the front of the queue, across packets: a probe of the path MTU.
    func sendProbe(_ e: EndpointPointer, count: Int) {
        let end = e.pointee.sendNext + count
        var isPushed = false
        while e.cold.pointee.queue.count > 0, e.cold.pointee.queue[0].end.isAtOrBefore(end) {
            if e.cold.pointee.queue[0].marks & QueuedPacket.psh != 0 { isPushed = true }
            e.cold.pointee.queue.removeFirst(pool)
            e.cold.pointee.heldPackets -= 1
        }
        e.cold.pointee.heldPackets += 1
        sendBurst(e, count: count, segment: count, fin: false, push: isPushed)
        letSoftirqsRun(e)
    }

    /// The first packet takes over up to `amount` bytes of the second, for larger bursts (`tcp_grow_skb`). False if it may not.
    private func growHead(_ e: EndpointPointer, by amount: Int) -> Bool {
        let head = e.cold.pointee.queue.pointer(0)
        let next = e.cold.pointee.queue[1]
        guard head.pointee.marks & QueuedPacket.endOfRecord == 0 else { return false }
        let length = next.end - head.pointee.end
        if amount >= length {
            head.pointee.end = next.end
            head.pointee.marks |= next.marks
            e.cold.pointee.queue.remove(at: 1, pool)
            e.cold.pointee.heldPackets -= 1
        } else {
            head.pointee.end = head.pointee.end + amount
        }
        return true
    }

    /// How many bytes of the first packet may go (`tcp_mss_split_point`).
    private func splitPoint(_ e: EndpointPointer, segment: Int, quota: Int, room: Int, waiting: Int, isLast: Bool, _ nagle: Nagle) -> Int {
        let full = segment * quota
        if full <= room, !isLast { return full }
        let needed = min(waiting, room)
        if full <= needed { return full }
        let partial = needed % segment
        return holdsBack(e, partial: partial > 0, nagle) ? needed - partial : needed
    }

    /// The window is open, but by less than a segment: one packet of what fits (`tcp_write_wakeup`).
    func sendWindowProbeData(_ e: EndpointPointer, most: Int) {
        let waiting = e.cold.pointee.queue[0].end - e.pointee.sendNext
        let take = min(waiting, most)
        if e.pointee.pushed.isBefore(e.cold.pointee.queue[0].end) { e.pointee.pushed = e.cold.pointee.queue[0].end }
        let isWhole = take == waiting
        let fin = isWhole && e.cold.pointee.queue.count == 1 && e.pointee.flags.contains(.finQueued)
        if isWhole { e.cold.pointee.queue.removeFirst(pool) } else { e.cold.pointee.heldPackets += 1 }
        sendBurst(e, count: take, segment: max(take, 1), fin: fin, push: true)
    }

    /// `tcp_nagle_check`
    private func holdsBack(_ e: EndpointPointer, partial: Bool, _ nagle: Nagle) -> Bool {
        guard partial else { return false }
        if nagle == .cork { return true }
        guard nagle == .on, e.pointee.packetsOut > 0 else { return false }
        return e.cold.pointee.lastSmall.isAfter(e.pointee.unacknowledged) && !e.cold.pointee.lastSmall.isAfter(e.pointee.sendNext)
    }

    /// Whether a burst waits to become larger (`tcp_tso_should_defer`).
    private func defersBurst(
        _ e: EndpointPointer, segment: Int, most: Int, room: Int, waiting: Int, isLast: Bool, isComplete: Bool, _ congestionLimited: inout Bool,
        _ windowLimited: inout Bool
    ) -> Bool {
        guard e.pointee.phase != .recovery, e.pointee.phase != .loss else { return false }
        // Only while the last transmission is less than a millisecond ago.
        if now.nanoseconds >= e.cold.pointee.lastTransmission + 1_000_000 { return false }
        let cwnd = Int(e.pointee.window)
        let congestion = (cwnd - e.pointee.inFlight) * segment
        let limit = min(room, congestion)
        if limit >= most * segment { return false }
        if !isLast, limit >= waiting { return false }
        if settings.tcp_tso_win_divisor > 0 {
            if limit >= min(Int(e.pointee.sendWindow), cwnd * segment) / settings.tcp_tso_win_divisor { return false }
        } else if limit > 3 * Int(e.pointee.segmentSize) {
            return false  // no longer than one ACK
        }
        guard e.cold.pointee.sent.count > 0 else { return false }
        // Not when the next ACK is far away: more than a millisecond, or half a round trip.
        let passed = Int64(age(e.cold.pointee.sent[0].sentAt))
        let roundTrip = Int64(e.cold.pointee.smoothedRTT) * 125
        if settings.sendsAsBefore6_10 ? passed < roundTrip >> 1 : roundTrip - passed > min(roundTrip >> 1, 1_000_000) { return false }
        if congestion < room {
            if congestion <= waiting {
                congestionLimited = true
                return true
            }
        } else if room <= waiting {
            windowLimited = true
            return true
        }
        // This packet gets no more data: nothing to wait for.
        return !isComplete
    }

    /// Sends `count` bytes (and FIN) as one burst of segments and appends them to the retransmission queue.
    private func sendBurst(_ e: EndpointPointer, count: Int, segment: Int, fin: Bool, push: Bool) {
        let wasIdle = e.pointee.packetsOut == 0
        let burstEnd = e.pointee.sendNext + count
        let isBurst = count > segment
        let stamp = transmissionStamp()
        let previous = e.cold.pointee.lastTransmission
        var record = SentSegment(start: e.pointee.sendNext, end: e.pointee.sendNext, sentAt: stamp)
        noteDelivery(e, &record, wasIdle: wasIdle)
        let limited = record.marks
        repeat {
            let start = e.pointee.sendNext
            let size = min(segment, burstEnd - start)
            let isLast = start + size == burstEnd
            var marks: UInt16 = isLast ? SentSegment.endsBurst | limited : limited
            var flags: TCPFlags = .ack
            if isLast, push {
                flags.insert(.psh)
                marks |= SentSegment.psh
            } else if isLast, isBurst {
                flags.insert(.psh)  // only for the receiver's GRO: a retransmission does without
            }
            var end = start + size
            if isLast, fin {
                flags.insert(.fin)
                marks |= SentSegment.fin
                end += 1
            }
            transmit(e, sequence: start, count: size, flags: flags, cutFromBurst: isBurst)
            guard e.pointee.state != .closed else { return }
            (record.start, record.end, record.marks) = (start, end, marks)
            if departure.pointee != 0 { noteDeparture(e, &record) }
            e.cold.pointee.sent.append(record, pool)
            e.pointee.sendNext = end
        } while e.pointee.sendNext.isBefore(burstEnd)
        statistics.ext.TCPOrigDataSent += max(1, (count + segment - 1) / segment)
        if let modules = e.cold.pointee.modules { advancePacing(e, modules, payload: count, previous: previous) }
        if wasIdle || e.pointee.timer == .none || e.pointee.timer == .lossProbe { rearmRetransmission(e) }
    }
}
