import HairpinEngine
import HairpinWire

/// Ends of connections: FIN in both directions, abort, and the removal of endpoints (RFC 9293 §3.6).
extension TransportStack {
    /// The peer has no more to say (`tcp_fin`).
    func receiveFIN(_ e: EndpointPointer) {
        e.pointee.flags.formUnion([.ackScheduled, .receiveShut, .finReceived])
        // What the ACK says of duplicates and of data beyond is known to it still.
        if e.pointee.state == .finWait1 || e.pointee.state == .finWait2 { sendAck(e) }
        e.pointee.flags.remove(.duplicateSACK)  // `tcp_sack_reset`
        for i in 0..<e.cold.pointee.outOfOrder.count { e.pointee.receiveMemory -= e.cold.pointee.outOfOrder[i].truesize }
        e.cold.pointee.outOfOrder.release(pool)
        switch e.pointee.state {
        case .established, .synReceived:
            e.pointee.state = .closeWait
            enterInteractive(e)
        case .finWait1:
            // Simultaneous close.
            e.pointee.state = .closing
        case .finWait2: enterTimeWait(e, finWait2: false)
        default: break
        }
        if e.pointee.state != .timeWait, !e.pointee.flags.contains(.orphan) { notify(e) }
    }

    /// After an ACK in a closing state; false if the segment needs no further work (the connection is gone, or has become a TIME-WAIT record).
    func ownFINAcknowledged(_ e: EndpointPointer, _ segment: Segment) -> Bool {
        let finAcknowledged = e.pointee.flags.contains(.finQueued) && e.pointee.unacknowledged == e.pointee.writeEnd + 1
        guard finAcknowledged else { return true }
        switch e.pointee.state {
        case .finWait1:
            e.pointee.state = .finWait2
            e.pointee.flags.insert(.sendShut)
            e.pointee.flags.insert(.confirmsNeighbour)
            guard e.pointee.flags.contains(.orphan) else {
                notify(e)
                return true
            }
            if e.cold.pointee.linger2 < 0 {
                statistics.ext.TCPAbortOnData += 1
                sendReset(to: segment)
                destroy(e)
                return false
            }
            if segment.end != segment.sequence, (segment.end - (segment.isFIN ? 1 : 0)).isAfter(e.pointee.receiveNext) {
                suspectBlackHole(e, segment)
                statistics.ext.TCPAbortOnData += 1
                sendReset(to: segment)
                destroy(e)
                return false
            }
            if segment.isFIN { return true }
            enterTimeWait(e, finWait2: true)
            return false
        case .closing:
            enterTimeWait(e, finWait2: false)
            return false
        case .lastAck:
            finish(e)
            return false
        default: return true
        }
    }

    /// Queues our FIN behind what is written and sends what may go (`tcp_send_fin`).
    func sendFIN(_ e: EndpointPointer) {
        e.pointee.flags.insert(.finQueued)
        startChronograph(e, .busy)
        if writeSegments(e, segment: currentSegment(e), nagle: .off) { checkProbeTimer(e) }
    }

    /// shutdown(2) for writing, and the first half of close(2). shutdown(2) leaves the FIN to the end of a handshake (`tcp_shutdown`), close(2) does not
    /// (`tcp_close_state`).
    func shutWriting(_ e: EndpointPointer, closes: Bool = true) {
        guard !e.pointee.flags.contains(.sendShut) || e.pointee.state == .synReceived || e.pointee.state == .established else { return }
        e.pointee.flags.insert(.sendShut)
        switch e.pointee.state {
        case .synReceived where !closes: break
        case .established, .synReceived:
            e.pointee.state = .finWait1
            sendFIN(e)
        case .closeWait:
            e.pointee.state = .lastAck
            sendFIN(e)
        default: break
        }
    }

    /// close(2) (`__tcp_close`).
    func closeStream(_ e: EndpointPointer) {
        e.pointee.flags.formUnion([.receiveShut])
        switch e.pointee.state {
        case .listen: return closeListener(e)
        case .closed, .synSent:
            e.pointee.flags.insert(.orphan)
            return destroy(e)
        default: break
        }
        let unread = e.pointee.receiveNext - e.pointee.copied - (hasReceivedFIN(e) ? 1 : 0) > 0
        e.cold.pointee.received.release(pool)
        e.cold.pointee.outOfOrder.release(pool)
        e.cold.pointee.receiveRing.release(pool)
        e.pointee.receiveMemory = 0
        e.pointee.copied = e.pointee.receiveNext
        if unread || e.cold.pointee.lingerTime == 0 {
            // RFC 2525 §2.17: unread data is answered with a reset. SO_LINGER with zero seconds aborts.
            if unread { statistics.ext.TCPAbortOnClose += 1 } else { statistics.ext.TCPAbortOnData += 1 }
            switch e.pointee.state {
            case .established, .finWait1, .finWait2, .closeWait, .synReceived: sendReset(e)
            case .lastAck, .closing: if unread { sendReset(e) }
            default: break
            }
            e.pointee.flags.insert(.orphan)
            return destroy(e)
        }
        shutWriting(e)
        guard e.pointee.state != .closed else { return }
        e.pointee.flags.insert(.orphan)
        if e.pointee.state == .finWait2 {
            // TCP_LINGER2 below zero: no waiting for the peer's FIN.
            guard e.cold.pointee.linger2 >= 0 else {
                statistics.ext.TCPAbortOnLinger += 1
                sendReset(e)
                return destroy(e)
            }
            enterTimeWait(e, finWait2: true)
        }
    }

    func hasReceivedFIN(_ e: EndpointPointer) -> Bool {
        switch e.pointee.state {
        case .closeWait, .closing, .lastAck, .timeWait: true
        default: false
        }
    }

    /// A listener goes, and everything nobody has accepted yet with it: connections are reset, handshakes forgotten (`inet_csk_listen_stop`).
    private func closeListener(_ listener: EndpointPointer) {
        closeListenerChildren(listener)
        listener.pointee.flags.insert(.orphan)
        destroy(listener)
    }

    /// The listener stops listening; what it has not handed over is reset or forgotten.
    func closeListenerChildren(_ listener: EndpointPointer) {
        ports.removeListener(listener)
        var child = listener.cold.pointee.acceptHead
        while let c = child {
            child = c.cold.pointee.acceptNext
            c.cold.pointee.listener = nil
            if c.pointee.state != .closed, c.pointee.state != .timeWait { sendReset(c) }
            destroy(c)
        }
        var handshakes: [EndpointPointer] = []
        table.forEachStream { if $0.cold.pointee.listener == listener, $0.pointee.state == .synReceived { handshakes.append($0) } }
        for h in handshakes {
            h.cold.pointee.listener = nil
            destroy(h)
        }
        (listener.cold.pointee.acceptHead, listener.cold.pointee.acceptTail, listener.cold.pointee.acceptCount, listener.cold.pointee.handshakes) = (nil, nil, 0, 0)
        listener.pointee.state = .closed
    }

    /// The connection ended in good order.
    private func finish(_ e: EndpointPointer) {
        if e.pointee.flags.contains(.orphan) || e.pointee.flags.contains(.unaccepted) && !e.pointee.flags.contains(.inAcceptQueue) { return destroy(e) }
        becomeClosed(e)
        notify(e)
    }

    /// The connection ended with an error (`tcp_done_with_error`).
    func abort(_ e: EndpointPointer, _ error: Errno) {
        if e.pointee.flags.contains(.orphan) || (e.pointee.flags.contains(.unaccepted) && !e.pointee.flags.contains(.inAcceptQueue)) { return destroy(e) }
        e.cold.pointee.pendingError = error.rawValue
        becomeClosed(e)
        notify(e)
    }

    /// Takes the endpoint off the wire; received data stays readable after a FIN, as in Linux.
    func becomeClosed(_ e: EndpointPointer) {
        if e.pointee.state == .established || e.pointee.state == .closeWait { statistics.ext.estabResets += 1 }
        if e.pointee.state == .timeWait { timeWaitRecords -= 1 }
        e.pointee.state = .closed
        if e.pointee.flags.contains(.awaitsZeroCopy) { completeZeroCopy(e, all: true) }
        e.pointee.flags.formUnion([.receiveShut, .sendShut])
        e.cold.pointee.backoff = 0
        connections.remove(e)
        if !e.pointee.flags.contains(.portBound) { ports.release(e) }
        disarm(e)
        e.pointee.ackDeadline = .max
        e.pointee.slowDeadline = .max
        timers.remove(e)
        stopModules(e)
        e.cold.pointee.sent.release(pool)
        e.cold.pointee.sendRing.release(pool)
        e.cold.pointee.queue.release(pool)
        e.cold.pointee.outOfOrder.release(pool)
        // What was SACKed, lost and sent again is still told by TCP_INFO (`tcp_write_queue_purge`).
        e.pointee.writeEnd = e.pointee.sendNext
        e.cold.pointee.heldPackets = 0
    }

    /// Frees the endpoint. Its memory keeps the state `closed`, so that callers further up the stack see that it is gone.
    func destroy(_ e: EndpointPointer) {
        guard e.pointee.slot != 0 else { return }
        if e.pointee.flags.contains(.triedFastOpen) { concludeFastOpenPath(e) }
        if let listener = e.cold.pointee.listener, e.pointee.flags.contains(.unaccepted), !e.pointee.flags.contains(.inAcceptQueue) {
            listener.cold.pointee.handshakes -= 1
        }
        becomeClosed(e)
        ports.release(e)
        if !streamExtras.isEmpty { streamExtras[e.pointee.socket.rawValue] = nil }
        e.cold.pointee.received.release(pool)
        e.cold.pointee.receiveRing.release(pool)
        freeModules(e)
        table.free(e)
        e.pointee.socket = SocketID(0)
    }
}
