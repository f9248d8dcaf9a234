import HairpinEngine
import HairpinWire

/// TIME-WAIT, and FIN-WAIT-2 of a socket that is closed: what is left is a record that answers (`tcp_minisocks.c`).
extension TransportStack {
    private static let length = Duration.seconds(60)

    func enterTimeWait(_ e: EndpointPointer, finWait2: Bool) {
        e.cold.pointee.timeWaitWindow = UInt32(e.pointee.windowLeft)
        disarm(e)
        e.pointee.ackDeadline = .max
        stopModules(e)
        e.cold.pointee.sent.release(pool)
        e.cold.pointee.sendRing.release(pool)
        e.cold.pointee.queue.release(pool)
        e.cold.pointee.outOfOrder.release(pool)
        e.pointee.sackedOut = 0
        e.pointee.lostOut = 0
        e.pointee.retransOut = 0
        let wasHeld = !e.pointee.flags.contains(.orphan)
        guard timeWaitRecords < settings.tcp_max_tw_buckets else {
            statistics.ext.TCPTimeWaitOverflow += 1
            if wasHeld { becomeClosed(e) } else { destroy(e) }
            if wasHeld { notify(e) }
            return
        }
        timeWaitRecords += 1
        e.pointee.state = .timeWait
        e.cold.pointee.synSentAt = now.nanoseconds
        if finWait2 { e.pointee.flags.insert(.timeWaitFin2) } else { e.pointee.flags.remove(.timeWaitFin2) }
        if wasHeld {
            // The program still has the descriptor: to it the socket is closed, to the network a TIME-WAIT record remains.
            e.pointee.flags.formUnion([.receiveShut, .sendShut])
            notify(e)
        }
        armSlow(e, ticks: TimerWheel.ticks(finWait2 ? finTime(e) : TransportStack.length))
    }

    private func restartTimeWait(_ e: EndpointPointer) {
        e.pointee.slowDeadline = TimerWheel.expiry(now, ticks: TimerWheel.ticks(TransportStack.length))
        schedule(e)
    }

    /// An ACK of no socket (`tcp_v4_timewait_ack`).
    private func acknowledgeTimeWait(_ e: EndpointPointer, _ segment: Segment, limited: Bool) {
        if limited, isRateLimited(e, segment) { return }
        // Without scaling a window beyond 65535, which the connection kept to itself, is cut to its lower half (`tcp_v4_send_ack`).
        let window = UInt16(truncatingIfNeeded: e.cold.pointee.timeWaitWindow >> UInt32(e.pointee.receiveScale))
        sendBare(
            from: e.pointee.localAddress, e.pointee.localPort, to: e.pointee.remoteAddress, e.pointee.remotePort, sequence: e.pointee.sendNext,
            acknowledgment: e.pointee.receiveNext, flags: .ack, window: window,
            stamps: e.pointee.flags.contains(.timestamps) ? (timestamp(e), e.pointee.recentTimestamp) : nil, typeOfService: e.cold.pointee.typeOfService)
    }

    /// `tcp_timewait_state_process`
    func receiveTimeWait(_ e: EndpointPointer, _ segment: Segment) -> Reception {
        let isOld = failsPAWS(e, segment)
        let next = e.pointee.receiveNext
        if e.pointee.flags.contains(.timeWaitFin2) {
            let end = next + Int(e.cold.pointee.timeWaitWindow)
            let inWindow =
                segment.sequence == next || (segment.end.isAfter(next) && segment.sequence.isBefore(end)) || (segment.sequence == end && segment.sequence == segment.end)
            if isOld || !inWindow {
                acknowledgeTimeWait(e, segment, limited: true)
                return .delivered
            }
            if segment.isReset {
                leaveTimeWait(e)
                return .delivered
            }
            if segment.isSYN, segment.sequence.isAtOrAfter(next) { return resetTimeWait(e, segment) }
            if !segment.isACK || !segment.end.isAfter(next) || segment.end == segment.sequence { return .delivered }
            // New data after a half-duplex close.
            if !segment.isFIN || segment.end != next + 1 { return resetTimeWait(e, segment) }
            e.pointee.flags.remove(.timeWaitFin2)
            e.pointee.receiveNext = segment.end
            if segment.hasTimestamp {
                e.pointee.recentTimestamp = segment.timestampValue
                e.cold.pointee.recentTimestampAt = max(1, now.nanoseconds)
                e.cold.pointee.synSentAt = now.nanoseconds
            }
            restartTimeWait(e)
            acknowledgeTimeWait(e, segment, limited: false)
            return .delivered
        }
        if !isOld, segment.sequence == next, segment.sequence == segment.end || segment.isReset {
            // RFC 1337: a reset may be an old one.
            if segment.isReset, !settings.tcp_rfc1337 { leaveTimeWait(e) } else { restartTimeWait(e) }
            return .delivered
        }
        // RFC 6191, RFC 9293 §3.6.1: a new SYN that is clearly later opens a new connection.
        if segment.isSYN, !segment.isReset, !segment.isACK, !isOld,
            segment.sequence.isAfter(next) || (segment.hasTimestamp && Int32(bitPattern: segment.timestampValue &- e.pointee.recentTimestamp) > 0)
        {
            if let listener = ports.listener(segment.destination, segment.destinationPort) {
                let number = numberAfter(e)
                leaveTimeWait(e)
                return receiveListening(listener, segment, number: number)
            }
        }
        if !segment.isReset {
            if isOld || segment.isACK { restartTimeWait(e) }
            acknowledgeTimeWait(e, segment, limited: true)
        }
        return .delivered
    }

    /// Where the numbers of a connection begin that takes over from this record: clearly behind what was sent (`tcp_timewait_state_process`,
    /// `tcp_twsk_unique`).
    func numberAfter(_ e: EndpointPointer) -> SequenceNumber {
        let number = e.pointee.sendNext + (65_535 + 2)
        return number.rawValue == 0 ? SequenceNumber(1) : number
    }

    private func resetTimeWait(_ e: EndpointPointer, _ segment: Segment) -> Reception {
        sendReset(to: segment)
        leaveTimeWait(e)
        return .refused
    }

    /// The record goes; a descriptor that is still open keeps its endpoint.
    func leaveTimeWait(_ e: EndpointPointer) {
        if e.pointee.flags.contains(.orphan) { destroy(e) } else { becomeClosed(e) }
    }

    /// Whether a client may take over the four-tuple of an earlier connection (`tcp_twsk_unique`): only with timestamps, and where the host chose the port only
    /// if the setting allows it, after a while. A port that the program bound is its own decision.
    func reusable(_ e: EndpointPointer, isBound: Bool = false) -> Bool {
        guard e.pointee.state == .timeWait, e.cold.pointee.recentTimestampAt != 0 else { return false }
        if isBound { return true }
        if e.pointee.flags.contains(.timeWaitFin2) { return false }
        guard settings.tcp_tw_reuse == 1 || (settings.tcp_tw_reuse == 2 && e.pointee.flags.contains(.localRoute)) else { return false }
        return now.nanoseconds &- e.cold.pointee.synSentAt > UInt64(settings.tcp_tw_reuse_delay.nanoseconds)
    }
}
