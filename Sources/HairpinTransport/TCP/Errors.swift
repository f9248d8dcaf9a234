import HairpinEngine
import HairpinWire

/// ICMP errors about segments of ours (`tcp_v4_err`; RFC 1122 §4.2.3.9, RFC 5927), path MTU discovery (RFC 1191).
extension TransportStack {
    func tcpError(_ error: ICMPError) {
        guard let base = error.transport.baseAddress else { return }
        let localPort = base.u16(TCPOffset.sourcePort)
        let remotePort = base.u16(TCPOffset.destinationPort)
        guard let e = connections.find(error.source, localPort, error.destination, remotePort), e.pointee.state != .timeWait else { return }
        if e == owner, !backlog.isDraining {
            return backlog.append(type: error.type, code: error.code, information: error.information, offender: error.offender, quote: error.quote)
        }
        // The quoted packet's hops (`tcp_v4_err`).
        if e.pointee.flags.contains(.checksTTL), let quote = error.quote.baseAddress, quote.u8(IPv4Offset.timeToLive) < leastTimeToLive(e) {
            statistics.ext.TCPMinTTLDrop += 1
            return
        }
        let sequence = SequenceNumber(base.u32(TCPOffset.sequence))
        if e.pointee.state == .synReceived, e.cold.pointee.listener != nil, !e.pointee.flags.contains(.fastOpenChild) {
            return requestError(e, error, sequence)
        }
        // Only numbers that are out there are believed (RFC 5927 §4.1).
        let oldest = e.pointee.flags.contains(.fastOpenChild) ? e.cold.pointee.initialSend : e.pointee.unacknowledged
        guard sequence.isAtOrAfter(oldest), sequence.isAtOrBefore(e.pointee.sendNext) else {
            statistics.ext.OutOfWindowIcmps += 1
            return
        }
        if error.type == ICMPv4.destinationUnreachable, error.code == ICMPv4.fragmentationNeeded {
            if e.pointee.state != .synReceived || e.cold.pointee.listener == nil { reducePathMTU(e, to: Int(error.information)) }
            return
        }
        guard let (errno, _) = error.verdict else { return }
        let isPathDown = error.type == ICMPv4.destinationUnreachable && (error.code == ICMPv4.netUnreachable || error.code == ICMPv4.hostUnreachable)
        if isPathDown, sequence == e.pointee.unacknowledged, !e.pointee.flags.contains(.fastOpenChild) {
            revertBackoff(e)
            guard e.pointee.state != .closed else { return }
        }
        switch e.pointee.state {
        case .synSent:
            statistics.attemptFails += 1
            if e.pointee.flags.contains(.receiveErrors) { queueICMPError(e, error, errno) }
            abort(e, errno)
        case .synReceived where !e.pointee.flags.contains(.fastOpenChild) || e.pointee.flags.contains(.unaccepted):
            if e.pointee.flags.contains(.fastOpenChild) {
                completeFastOpen(e)
                abort(e, errno)
            } else if e.pointee.flags.contains(.unaccepted) {
                destroy(e)
            } else {
                abort(e, errno)
            }
        default:
            if e.pointee.flags.contains(.receiveErrors) {
                e.cold.pointee.pendingError = errno.rawValue
                notify(e, .error)
            } else {
                e.cold.pointee.softError = errno.rawValue
            }
        }
    }

    /// About a SYN-ACK: the request is forgotten without a word, but only for what says that the peer cannot be reached (`tcp_req_err`).
    private func requestError(_ e: EndpointPointer, _ error: ICMPError, _ sequence: SequenceNumber) {
        guard sequence == e.cold.pointee.initialSend else {
            statistics.ext.OutOfWindowIcmps += 1
            return
        }
        switch error.type {
        case ICMPv4.parameterProblem, ICMPv4.timeExceeded: break
        case ICMPv4.destinationUnreachable where error.code == ICMPv4.netUnreachable || error.code == ICMPv4.hostUnreachable: break
        default: return
        }
        guard error.verdict != nil else { return }
        statistics.ext.ListenDrops += 1
        destroy(e)
    }

    /// RFC 6069: a timeout that comes with word of a broken path is no sign of congestion, so its doubling of the RTO is taken back; what is overdue by the
    /// shorter one goes again at once (`tcp_ld_RTO_revert`).
    private func revertBackoff(_ e: EndpointPointer) {
        guard e.pointee.state != .synSent, e.cold.pointee.retransmits > 0, e.cold.pointee.backoff > 0, e.cold.pointee.sent.count > 0 else { return }
        e.cold.pointee.backoff -= 1
        if e.cold.pointee.smoothedRTT == 0 { e.pointee.retransmitTimeout = 250 } else { setTimeout(e) }
        e.pointee.retransmitTimeout = UInt32(min(UInt64(e.pointee.retransmitTimeout) << UInt64(min(e.cold.pointee.backoff, 20)), UInt64(maximumTimeoutTicks(e))))
        let passed = TimerWheel.ticks(Duration(nanoseconds: Int64(now.nanoseconds &- e.cold.pointee.sent[0].sentAt)))
        if UInt64(e.pointee.retransmitTimeout) > passed {
            arm(e, .retransmission, ticks: UInt64(e.pointee.retransmitTimeout) - passed, pacing: false)
        } else {
            disarm(e)
            retransmissionTimeout(e)
        }
    }

    /// `tcp_v4_mtu_reduced`: smaller segments, and those in flight that are too large go again at once.
    func reducePathMTU(_ e: EndpointPointer, to mtu: Int) {
        guard e.pointee.state != .listen, e.pointee.state != .closed else { return }
        // What may not be cut will not get through there.
        if mtu < 552, e.cold.pointee.pathDiscovery == .do { e.cold.pointee.softError = Errno.messageTooLong.rawValue }
        var mtu = max(mtu, 552)  // net.ipv4.route.min_pmtu
        if let route = try? network.route(to: e.pointee.remoteAddress, from: e.pointee.localAddress, device: devices[Int(e.cold.pointee.device)]) { mtu = max(route.mtu, 68) }
        guard mtu < Int(e.cold.pointee.pathMTU) else { return }
        switch e.cold.pointee.pathDiscovery {
        case .dont, .interface, .omit:
            // Nothing goes again for it; but the route knows, and the next packet is of its size (`ip_sk_accept_pmtu`, `tcp_current_mss`).
            e.pointee.flags.insert(.routeChanged)
            return
        case .want, .do, .probe: break
        }
        e.cold.pointee.pathMTU = UInt32(mtu)
        if e.pointee.state == .synSent, e.pointee.flags.contains(.sentSynData) {
            // The SYN with data did not fit: again at once, without (`tcp_simple_retransmit`).
            synchronizeSegment(e)
            statistics.retransmitted += 1
            statistics.ext.TCPSynRetrans += 1
            e.cold.pointee.totalRetransmissions &+= 1
            transmit(e, sequence: e.cold.pointee.initialSend, count: 0, flags: .syn)
            return
        }
        guard e.pointee.state != .synSent, e.pointee.state != .synReceived else { return }
        synchronizeSegment(e)
        resendOversized(e)
    }

    /// The other connections of this namespace to the host go the same way, but each finds out with its next packet only (`update_or_create_fnhe`).
    func outdateRoutes(to address: IPv4Address, mtu: Int) {
        table.forEachStream { e in
            guard e.pointee.remoteAddress == address, mtu < Int(e.cold.pointee.pathMTU), e.pointee.state != .listen, e.pointee.state != .closed,
                !e.pointee.flags.contains(.routeChanged)
            else { return }
            e.pointee.flags.insert(.routeStale)
        }
    }

    /// The next packet, of `payload` bytes, finds out that the route has changed: true if it is too long now and must not be cut, so that it went nowhere
    /// and waits to be sent in smaller pieces (`ip_fragment` tells the host's own TCP).
    func isStoppedByRoute(_ e: EndpointPointer, payload: Int) -> Bool {
        guard !e.pointee.flags.contains(.mayBeCut) else { return false }
        e.pointee.flags.remove(.routeStale)
        let before = min(payload, Int(e.pointee.segmentSize))
        followRoute(e)
        return before > Int(e.pointee.segmentSize)
    }

    /// Segments of the size of the route's MTU from now on.
    func followRoute(_ e: EndpointPointer) {
        e.pointee.flags.remove(.routeChanged)
        guard let route = try? network.route(to: e.pointee.remoteAddress, from: e.pointee.localAddress, device: devices[Int(e.cold.pointee.device)]) else { return }
        e.cold.pointee.pathMTU = UInt32(max(route.mtu, 68))
        synchronizeSegment(e)
    }

    /// IP_MTU: what the route of a connection takes, whatever the socket makes of it; nil if it has none.
    public func routeMTU(_ socket: SocketID) -> Int? {
        guard let e = table.stream(socket), remoteAddress(socket) != nil else { return nil }
        if e.pointee.flags.contains(.routeStale) { return Int(e.cold.pointee.pathMTU) }
        let device = devices[Int(e.cold.pointee.device)]
        return (try? network.route(to: e.pointee.remoteAddress, from: e.pointee.localAddress, device: device)).map { max($0.mtu, 68) }
    }

    /// `tcp_simple_retransmit`
    func resendOversized(_ e: EndpointPointer) {
        let segment = currentSegment(e)
        var anyLost = false
        for i in 0..<e.cold.pointee.sent.count {
            let sent = e.cold.pointee.sent.pointer(i)
            if sent.pointee.payload > segment, sent.pointee.marks & SentSegment.sacked == 0 {
                markLost(e, sent)
                anyLost = true
            }
        }
        guard anyLost else { return }
        resendWithoutReduction(e)
    }

    /// The losses are no sign of congestion: the window stays (`tcp_non_congestion_loss_retransmit`).
    func resendWithoutReduction(_ e: EndpointPointer) {
        recutLost(e, segment: currentSegment(e))
        if e.pointee.phase != .loss {
            e.cold.pointee.highSequence = e.pointee.sendNext
            e.cold.pointee.slowStartThreshold = currentThreshold(e)
            e.cold.pointee.priorThreshold = 0
            e.cold.pointee.undoMark = SequenceNumber(0)
            e.pointee.phase = .loss
            if e.cold.pointee.congestion == .bbr { timeoutBBR(e) }
        }
        retransmitLost(e)
    }

    /// Cuts the lost segments anew. Segments of one burst are one packet to the kernel, so cuts run across them, and only its last piece has PSH.
    private func recutLost(_ e: EndpointPointer, segment: Int) {
        var old = e.cold.pointee.sent
        e.cold.pointee.sent = RecordRing()
        var i = 0
        while i < old.count {
            let first = old[i]
            guard first.marks & SentSegment.lost != 0 else {
                e.cold.pointee.sent.append(first, pool)
                i += 1
                continue
            }
            var end = first.end
            var last = first
            while last.marks & SentSegment.endsBurst == 0, i + 1 < old.count, old[i + 1].marks & SentSegment.lost != 0, old[i + 1].start == end {
                i += 1
                last = old[i]
                end = last.end
            }
            i += 1
            var start = first.start
            let hasFIN = last.marks & SentSegment.fin != 0
            let dataEnd = hasFIN ? end - 1 : end
            let several = dataEnd - start > segment
            repeat {
                let size = min(segment, dataEnd - start)
                let isLast = start + size == dataEnd
                var piece = first
                (piece.start, piece.end) = (start, isLast ? end : start + size)
                piece.marks = SentSegment.lost | first.marks & (SentSegment.everRetransmitted | SentSegment.applicationLimited | SentSegment.untimed)
                piece.transmissions = 1
                if isLast { piece.marks |= SentSegment.endsBurst | (last.marks & (SentSegment.fin | SentSegment.psh)) | (several ? SentSegment.psh : 0) }
                e.cold.pointee.sent.append(piece, pool)
                start = start + size
            } while start.isBefore(dataEnd)
        }
        old.release(pool)
        var lost: UInt32 = 0
        var retransmitted: UInt32 = 0
        var sacked: UInt32 = 0
        for i in 0..<e.cold.pointee.sent.count {
            let marks = e.cold.pointee.sent[i].marks
            if marks & SentSegment.lost != 0 { lost += 1 }
            if marks & SentSegment.retransmitted != 0 { retransmitted += 1 }
            if marks & SentSegment.sacked != 0 { sacked += 1 }
        }
        e.pointee.lostOut = lost
        e.pointee.retransOut = retransmitted
        if e.pointee.flags.contains(.selectiveAcks) { e.pointee.sackedOut = sacked }
    }
}
