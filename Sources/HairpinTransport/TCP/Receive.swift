import HairpinEngine
import HairpinWire

/// Segment arrives (RFC 9293 §3.10.7), in the order of `tcp_rcv_established` and `tcp_rcv_state_process`.
extension TransportStack {
    func receiveTCP(_ ip: IPv4View, checksumVerified: Bool, cutFromBurst: Bool) -> Reception {
        let payload = ip.payload
        guard let tcp = TCPView(payload), !ip.destination.isMulticast, !ip.destination.isBroadcast else {
            statistics.ext.inErrs += 1
            return .malformed
        }
        if !checksumVerified, !tcp.isChecksumValid(source: ip.source, destination: ip.destination) {
            statistics.checksumErrors += 1
            statistics.ext.inErrs += 1
            statistics.ext.inCsumErrors += 1
            return .badChecksum
        }
        let memory =
            settings.receivesFromTun
            ? PacketMemory(fromTun: payload.count, tcp) : PacketMemory(payload: payload.count - tcp.headerLength, cutFromBurst: cutFromBurst)
        let segment = Segment(ip, tcp, memory)
        // Neither taken nor answered, even by a reset (`tcp_inbound_md5_hash`, `SKB_DROP_REASON_TCP_MD5UNEXPECTED`).
        if segment.isSigned { return .malformed }
        statistics.segmentsReceived += 1
        guard let e = findTCP(segment) else {
            sendReset(to: segment)
            return .refused
        }
        if e.pointee.flags.contains(.checksTTL), ip.timeToLive < leastTimeToLive(e) {
            statistics.ext.TCPMinTTLDrop += 1
            return .tooFewHops
        }
        if e == owner, !backlog.isDraining {
            e.cold.pointee.segmentsIn &+= 1
            if !segment.payload.isEmpty { e.cold.pointee.dataSegmentsIn &+= 1 }
            if backlog.append(ip, tcp, memory.condensed) { statistics.ext.TCPBacklogCoalesce += 1 }
            return .delivered
        }
        let savesSYN = e.pointee.state == .listen && segment.isSYN && !streamExtras.isEmpty ? streamExtras[e.pointee.socket.rawValue]?.savesSYN ?? 0 : 0
        let reception = dispatch(e, segment)
        if savesSYN > 0 { saveSYN(segment, UnsafeRawBufferPointer(rebasing: ip.bytes[..<(ip.headerLength + tcp.headerLength)]), mode: savesSYN) }
        return reception
    }

    /// A packet of the backlog, which was counted when it came in.
    func receiveBacklogged(_ ip: IPv4View, memory: PacketMemory, segmentSize: Int) {
        guard let tcp = TCPView(ip.payload) else { return }
        var segment = Segment(ip, tcp, memory)
        (segment.segmentSize, segment.isCounted) = (segmentSize, true)
        if let e = findTCP(segment) { _ = dispatch(e, segment) } else { sendReset(to: segment) }
    }

    func dispatch(_ e: EndpointPointer, _ segment: Segment) -> Reception {
        let reception = receive(e, segment)
        if isProbed { probeArrival(e, segment) }
        return reception
    }

    private func receive(_ e: EndpointPointer, _ segment: Segment) -> Reception {
        switch e.pointee.state {
        case .listen: return receiveListening(e, segment)
        case .synSent: return receiveSynSent(e, segment)
        case .synReceived: return receiveSynReceived(e, segment)
        case .finWait1 where e.pointee.flags.contains(.fastOpenChild): return receiveSynReceived(e, segment)
        case .timeWait: return receiveTimeWait(e, segment)
        case .closed:
            sendReset(to: segment)
            return .refused
        default: return receiveSynchronized(e, segment)
        }
    }

    /// All states with both sequence numbers known.
    func receiveSynchronized(_ e: EndpointPointer, _ segment: Segment) -> Reception {
        if !segment.isCounted {
            e.cold.pointee.segmentsIn &+= 1
            if !segment.payload.isEmpty { e.cold.pointee.dataSegmentsIn &+= 1 }
        }
        // Segments without ACK, RST or SYN are not even looked at (`SKB_DROP_REASON_TCP_FLAGS`).
        guard !segment.flags.isDisjoint(with: [.ack, .rst, .syn]) else { return .delivered }
        guard isAcceptable(e, segment) else { return .delivered }
        guard segment.isACK else { return .delivered }
        if segment.typeOfService & 3 != 0 { countMark(e, segment) }
        isPredicted = predicts(e, segment)
        defer { isPredicted = false }
        switch processAck(e, segment) {
        case .unsent:
            if e.pointee.state != .established || settings.challengesUnsentAcks { sendChallenge(e) }  // RFC 5961 §5.2
            return .delivered
        case .ancient:
            sendChallenge(e)
            return .delivered
        case .old, .fine: break
        }
        guard e.pointee.state != .closed else { return .delivered }
        if e.pointee.state != .established {
            guard ownFINAcknowledged(e, segment) else { return .delivered }
        }
        return receiveText(e, segment)
    }

    /// Data and FIN, then what the ACK allows to be sent, then our own acknowledgment.
    func receiveText(_ e: EndpointPointer, _ segment: Segment) -> Reception {
        measureReceiveRTT(e, segment)
        var result = Reception.delivered
        if segment.flags.contains(.urg) || e.pointee.flags.contains(.urgentIn) { noteUrgent(e, segment) }
        let isBeyondFIN = segment.sequence.isAtOrAfter(e.pointee.receiveNext)
        switch e.pointee.state {
        case .established: result = queueData(e, segment)
        case .closeWait where isBeyondFIN, .closing where isBeyondFIN, .lastAck where isBeyondFIN: break
        default:
            // RFC 1122 §4.2.2.13: data for a program that is gone is answered with a reset.
            if e.pointee.flags.contains(.receiveShut), segment.end != segment.sequence,
                (segment.end - (segment.isFIN ? 1 : 0)).isAfter(e.pointee.receiveNext)
            {
                statistics.ext.TCPAbortOnData += 1
                sendReset(to: segment)
                connectionReset(e)
                return .delivered
            }
            result = queueData(e, segment)
        }
        guard e.pointee.state != .closed, e.pointee.state != .timeWait else { return result }
        pushPending(e, nagle(e))
        checkWriteSpace(e)
        acknowledgeIfDue(e)
        return result
    }

    /// The first three checks: PAWS and sequence, RST, SYN (`tcp_validate_incoming`).
    func isAcceptable(_ e: EndpointPointer, _ segment: Segment) -> Bool {
        if failsPAWS(e, segment, slack: 1), !segment.isReset, !isDisorderedAck(e, segment) {
            if segment.isSYN {
                challengeSYN(e)
            } else if segment.isACK, segment.sequence == segment.end, segment.sequence.isBefore(e.pointee.receiveNext) {
                statistics.ext.PAWSOldAck += 1  // common, and not worth an answer
            } else {
                statistics.ext.PAWSEstab += 1
                if !isRateLimited(e, segment, counting: \.TCPACKSkippedPAWS) { answerUnacceptable(e, segment) }
            }
            return false
        }
        guard isInWindow(e, segment) else {
            if !segment.isReset {
                if segment.isSYN { challengeSYN(e) } else if !isRateLimited(e, segment) { answerUnacceptable(e, segment) }
            } else if isResetAfterFIN(e, segment) {
                receiveReset(e)
            }
            return false
        }
        if segment.isReset {
            // RFC 5961 §3.2: only the exact number resets; anything else in the window is challenged.
            if segment.sequence == e.pointee.receiveNext || isResetAfterFIN(e, segment) || isResetAfterHole(e, segment) {
                receiveReset(e)
            } else {
                sendChallenge(e)
            }
            return false
        }
        if segment.isSYN {
            challengeSYN(e)  // RFC 5961 §4.2
            return false
        }
        return true
    }

    /// RFC 9293 §3.10.7.4, first check (`tcp_sequence`): a segment that goes beyond the window is taken only if its FIN alone does so, or if it begins
    /// within the window and nothing waits to be read (a peer that ignores windows shall not come to a stop).
    private func isInWindow(_ e: EndpointPointer, _ segment: Segment) -> Bool {
        guard segment.end.isAtOrAfter(e.pointee.windowUpdate) else { return false }
        let limit = e.pointee.receiveNext + e.pointee.windowLeft
        if (segment.isFIN ? segment.end - 1 : segment.end).isAtOrBefore(limit) { return true }
        return segment.sequence.isAtOrBefore(limit) && e.cold.pointee.received.count == 0
    }

    /// A pure duplicate ACK that was overtaken by no more than 1.2 RTOs, and says nothing new of the window, is not held against its timestamp
    /// (`tcp_disordered_ack_check`).
    private func isDisorderedAck(_ e: EndpointPointer, _ segment: Segment) -> Bool {
        segment.isACK && segment.sequence == segment.end && segment.sequence == e.pointee.receiveNext
            && segment.acknowledgment == e.pointee.unacknowledged && !mayUpdateWindow(e, segment)
            && Int64(Int32(bitPattern: e.pointee.recentTimestamp &- segment.timestampValue)) <= Int64(e.pointee.retransmitTimeout) * 1200 / 250
    }

    /// Some systems number the RST after their FIN (`tcp_reset_check`).
    private func isResetAfterFIN(_ e: EndpointPointer, _ segment: Segment) -> Bool {
        segment.sequence == e.pointee.receiveNext - 1
            && (e.pointee.state == .closeWait || e.pointee.state == .lastAck || e.pointee.state == .closing)
    }
    private func isResetAfterHole(_ e: EndpointPointer, _ segment: Segment) -> Bool {
        let count = e.cold.pointee.outOfOrder.count
        return count > 0 && segment.sequence == e.cold.pointee.outOfOrder[count - 1].end
    }

    /// At most one answer in 500 ms to segments without data that are out of the window (`tcp_oow_rate_limited`).
    func isRateLimited(_ e: EndpointPointer, _ segment: Segment, counting counter: WritableKeyPath<ExtendedCounters, Int> = \.TCPACKSkippedSeq) -> Bool {
        if segment.end != segment.sequence, !segment.isSYN { return false }
        let last = e.cold.pointee.outOfWindowAnswer
        if last != 0, now.nanoseconds &- last < UInt64(settings.tcp_invalid_ratelimit.nanoseconds) {
            statistics.ext[keyPath: counter] += 1
            return true
        }
        e.cold.pointee.outOfWindowAnswer = max(1, now.nanoseconds)
        return false
    }

    /// An ACK at once, with a D-SACK for data that had arrived before (`tcp_send_dupack`).
    private func answerUnacceptable(_ e: EndpointPointer, _ segment: Segment) {
        if segment.end != segment.sequence, segment.sequence.isBefore(e.pointee.receiveNext) {
            statistics.ext.DelayedACKLost += 1
            enterQuick(e)
            noteDuplicate(e, segment.sequence, segment.end.isAfter(e.pointee.receiveNext) ? e.pointee.receiveNext : segment.end)
        }
        sendAck(e)
    }

    /// A valid RST.
    func receiveReset(_ e: EndpointPointer) {
        statistics.resetsReceived += 1
        connectionReset(e)
    }

    /// What a RST does to a connection, or something that counts as one (`tcp_reset`).
    func connectionReset(_ e: EndpointPointer) {
        switch e.pointee.state {
        case .synSent: abort(e, .connectionRefused)
        case .closeWait: abort(e, .brokenPipe)
        case .closed: break
        default: abort(e, .connectionReset)
        }
    }

    private func challengeSYN(_ e: EndpointPointer) {
        if e.pointee.state == .established { statistics.ext.inErrs += 1 }
        statistics.ext.TCPSYNChallenge += 1
        sendChallenge(e)
    }

    /// An ACK the peer must confirm before anything happens to the connection (RFC 5961 §7: rate limited, for the namespace and the connection).
    func sendChallenge(_ e: EndpointPointer) {
        let last = e.cold.pointee.outOfWindowAnswer
        if last != 0, now.nanoseconds &- last < UInt64(settings.tcp_invalid_ratelimit.nanoseconds) {
            statistics.ext.TCPACKSkippedChallenge += 1
            return
        }
        e.cold.pointee.outOfWindowAnswer = max(1, now.nanoseconds)
        let second = now.nanoseconds / 1_000_000_000
        if challengeSecond != second {
            challengeSecond = second
            challengesLeft = settings.tcp_challenge_ack_limit
        }
        guard challengesLeft > 0 else { return }
        challengesLeft -= 1
        statistics.challengeACKs += 1
        sendAck(e)
    }
}
