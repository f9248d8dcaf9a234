import HairpinEngine
import HairpinWire

/// Reading and writing TCP sockets (`tcp_sendmsg_locked`, `tcp_recvmsg_locked`), and readiness.
extension TransportStack {
    /// Wakes whoever waits on the socket. `reason` is what came about, empty for a change of state, which wakes everybody: one who waits for room to
    /// write is not woken by data that arrives (the key of `wake_up_interruptible_poll`).
    func notify(_ e: EndpointPointer, _ reason: Readiness = []) {
        guard e.pointee.flags.isDisjoint(with: [.orphan, .unaccepted]) else { return }
        wakeReason = reason
        network.readinessChanged(e.pointee.socket)
    }

    /// A listener has another connection to accept.
    func notifyListener(_ listener: EndpointPointer) {
        wakeReason = [.readable, .urgent]
        network.readinessChanged(listener.pointee.socket)
    }

    /// Kernel memory of what is written and not yet acknowledged (`sk_wmem_queued`), about.
    func sendMemory(_ e: EndpointPointer) -> Int {
        let bytes = max(0, e.pointee.writeEnd - e.pointee.unacknowledged)
        return bytes + Int(e.cold.pointee.heldPackets) * settings.queuedPacketOverhead
    }

    /// `tcp_sndbuf_expand`
    func expandSendBuffer(_ e: EndpointPointer) {
        let perSegment = Int(max(e.cold.pointee.segmentClamp, e.pointee.segmentSize)) + 320 + 320
        let rounded = 1 << (Int.bitWidth - (perSegment - 1).leadingZeroBitCount)
        let segments = max(10, Int(e.pointee.window), settings.tcp_reordering + 1)
        // Room for two windows, for three where recovery goes on sending at the full rate (`sndbuf_expand`).
        let wanted = min((e.cold.pointee.congestion == .bbr ? 3 : 2) * segments * (rounded + 256), settings.tcp_wmem.maximum)
        if wanted > Int(e.cold.pointee.sendBuffer) { e.cold.pointee.sendBuffer = UInt32(wanted) }
    }

    /// A writer that waits is woken when a third of the buffer is free (`sk_stream_write_space`).
    func checkWriteSpace(_ e: EndpointPointer) {
        guard e.pointee.flags.contains(.noSpace) else { return }
        if !e.pointee.flags.contains(.sendBufferSet), e.pointee.inFlight < Int(e.pointee.window) {
            expandSendBuffer(e)
            e.cold.pointee.windowStamp = TimerWheel.jiffies(now)
        }
        if hasWriteSpace(e) {
            e.pointee.flags.remove(.noSpace)
            stopChronograph(e, .bufferLimited)
            notify(e, .writable)
        }
    }

    private func hasWriteSpace(_ e: EndpointPointer) -> Bool {
        let used = sendMemory(e)
        return Int(e.cold.pointee.sendBuffer) - used >= used >> 1 && isBelowLowWater(e, wakes: true)
    }

    func sendStream(_ e: EndpointPointer, _ bytes: UnsafeRawBufferPointer, _ flags: TransferFlags = []) throws(Errno) -> Int {
        try throwPendingError(e)
        if e.pointee.flags.contains(.sendShut) { throw .brokenPipe }
        switch e.pointee.state {
        case .established, .closeWait: break
        // Fast Open: the answer need not wait for the last ACK.
        case .synReceived where e.pointee.flags.contains(.fastOpenChild): break
        case .synSent, .synReceived: throw .tryAgain
        // Never connected or no more (`sk_stream_wait_connect`).
        default: throw .brokenPipe
        }
        guard let base = bytes.baseAddress, bytes.count > 0 else { return 0 }
        restartAfterIdle(e)
        noteApplicationLimit(e)
        var taken = 0
        let isZeroCopy = flags.contains(.zeroCopy) && e.pointee.flags.contains(.zeroCopy)
        let sharesPacket = isZeroCopy && e.cold.pointee.queue.count > 0 && endsZeroCopy(e, after: e.pointee.writeEnd - tailLength(e))
        let segment = currentSegment(e)
        let goal = sizeGoal(e, segment: segment)
        while taken < bytes.count {
            // Fills the packet at the end of the queue, then begins another.
            var room = 0
            if e.cold.pointee.queue.count > 0, e.cold.pointee.queue[e.cold.pointee.queue.count - 1].marks & QueuedPacket.endOfRecord == 0 { room = goal - tailLength(e) }
            let isNew = room <= 0
            if isNew {
                guard hasSendMemory(e) else { break }
                room = goal
                startChronograph(e, .busy)
            }
            let count = min(bytes.count - taken, room)
            let end = e.pointee.writeEnd
            e.cold.pointee.sendRing.reserve(
                start: e.pointee.unacknowledged.rawValue, kept: end - e.pointee.unacknowledged, span: end + count - e.pointee.unacknowledged, pool)
            e.cold.pointee.sendRing.write(base + taken, count: count, at: end.rawValue)
            e.pointee.writeEnd = end + count
            if isNew {
                e.cold.pointee.queue.append(QueuedPacket(end: end + count), pool)
                e.cold.pointee.heldPackets += 1
            }
            let tail = e.cold.pointee.queue.pointer(e.cold.pointee.queue.count - 1)
            tail.pointee.end = end + count
            if taken == 0 { tail.pointee.marks &= ~QueuedPacket.psh }
            taken += count
            if taken == bytes.count {
                if flags.contains(.endOfRecord) { tail.pointee.marks |= QueuedPacket.endOfRecord }
                break
            }
            guard tailLength(e) >= goal else { continue }
            // More is coming: send if much is waiting, or if this packet is the first in the queue (`forced_push`, `tcp_push_one`).
            if isPushForced(e) {
                markPush(e)
                pushPending(e, .push)
            } else if e.cold.pointee.queue.count == 1 {
                writeSegments(e, segment: segment, nagle: .push, push: .one)
            }
            guard e.pointee.state != .closed else { return taken }
        }
        if taken == 0 {
            e.pointee.flags.insert(.noSpace)
            throw .tryAgain
        }
        if flags.contains(.outOfBand) { markUrgent(e) }
        if isZeroCopy { noteZeroCopy(e, sharesPacket: sharesPacket) }
        if e.pointee.flags.contains(.stamps), e.cold.pointee.queue.count > 0 {
            noteMessageStamps(e)
            e.cold.pointee.queue.pointer(e.cold.pointee.queue.count - 1).pointee.marks |= QueuedPacket.stamped
        }
        // `tcp_push`
        let isFull = taken < bytes.count
        if isFull { e.pointee.flags.insert(.noSpace) }
        let isMore = flags.contains(.more) && !isFull
        if e.cold.pointee.queue.count > 0 {
            if !isMore || isPushForced(e) { markPush(e) }
            if e.cold.pointee.leavesAt > now.nanoseconds, corksByItself(e, packet: tailLength(e), goal: goal) { return taken }
            pushPending(e, isFull ? .push : isMore ? .cork : nagle(e))
        }
        return taken
    }

    private func tailLength(_ e: EndpointPointer) -> Int {
        let count = e.cold.pointee.queue.count
        let start = count > 1 ? e.cold.pointee.queue[count - 2].end : e.pointee.sendNext
        return e.cold.pointee.queue[count - 1].end - start
    }

    /// More than half of the largest window was written since the last PSH (`forced_push`).
    private func isPushForced(_ e: EndpointPointer) -> Bool { e.pointee.writeEnd.isAfter(e.pointee.pushed + Int(e.cold.pointee.maximumWindow >> 1)) }

    private func markPush(_ e: EndpointPointer) {
        guard e.cold.pointee.queue.count > 0 else { return }
        e.cold.pointee.queue.pointer(e.cold.pointee.queue.count - 1).pointee.marks |= QueuedPacket.psh
        e.pointee.pushed = e.pointee.writeEnd
    }

    /// `sk_stream_memory_free`: room in the send buffer, and less waiting than TCP_NOTSENT_LOWAT allows.
    private func hasSendMemory(_ e: EndpointPointer) -> Bool { sendMemory(e) < Int(e.cold.pointee.sendBuffer) && isBelowLowWater(e, wakes: false) }

    /// Less than TCP_NOTSENT_LOWAT waits, or where that wakes a program less than half of it (`__tcp_stream_memory_free` since Linux 5.0): one would
    /// be woken for every ACK.
    private func isBelowLowWater(_ e: EndpointPointer, wakes: Bool) -> Bool {
        let mark = e.cold.pointee.notSentLowWater == 0 ? settings.tcp_notsent_lowat : e.cold.pointee.notSentLowWater
        return max(0, e.pointee.unsent) << (wakes ? 1 : 0) < Int(mark)
    }

    /// Takes up to `limit` bytes off the receive queue, or leaves them (MSG_PEEK), without looking at them.
    func skipStream(_ e: EndpointPointer, _ limit: Int, keeping: Bool) throws(Errno) -> Int {
        let available = takeable(e)
        guard available > 0 else {
            try nothingToRead(e)
            return 0
        }
        if keeping, e.pointee.flags.contains(.peeksOnward) { return try peekOnward(e, available, limit) }
        let count = max(0, min(available, limit))
        if !keeping { consume(e, count) }
        return count
    }

    /// SO_PEEK_OFF: MSG_PEEK begins where the last one ended; what is read moves the mark back with it (`sk_peek_offset_fwd`, `sk_peek_offset_bwd`).
    private func peekOnward(_ e: EndpointPointer, _ available: Int, _ limit: Int) throws(Errno) -> Int {
        let offset = streamExtras[e.pointee.socket.rawValue]?.peekOffset ?? -1
        guard available > offset else {
            try nothingToRead(e)
            return 0
        }
        let count = max(0, min(available - max(0, offset), limit))
        movePeek(e, count)
        return count
    }

    private func movePeek(_ e: EndpointPointer, _ count: Int) {
        guard let offset = streamExtras[e.pointee.socket.rawValue]?.peekOffset, offset >= 0 else { return }
        streamExtras[e.pointee.socket.rawValue]?.peekOffset = max(0, offset + count)
    }

    func receiveStream(_ e: EndpointPointer, _ limit: Int) throws(Errno) -> [UInt8] {
        let available = takeable(e)
        guard available > 0, limit > 0 else {
            if limit > 0 { try nothingToRead(e) }
            return []
        }
        let count = min(available, limit)
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            e.cold.pointee.receiveRing.read(UnsafeMutableRawPointer(buffer.baseAddress!), count: count, at: e.pointee.copied.rawValue)
            initialized = count
        }
        consume(e, count)
        return bytes
    }

    func receiveStream(_ e: EndpointPointer, into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
        let available = takeable(e)
        guard available > 0, buffer.count > 0, let base = buffer.baseAddress else {
            if buffer.count > 0 { try nothingToRead(e) }
            return 0
        }
        let count = min(available, buffer.count)
        e.cold.pointee.receiveRing.read(base, count: count, at: e.pointee.copied.rawValue)
        consume(e, count)
        return count
    }

    /// End of file, or the reason why there is none.
    private func nothingToRead(_ e: EndpointPointer) throws(Errno) {
        if e.pointee.flags.contains(.finReceived) { return }
        try throwPendingError(e)
        if e.pointee.flags.contains(.receiveShut) { return }
        switch e.pointee.state {
        case .closed where e.pointee.flags.contains(.connectDeferred): throw .tryAgain
        case .closed, .listen: throw .notConnected
        default: throw .tryAgain
        }
    }

    /// SO_RCVLOWAT: enough is there to wake a program, or the window is about to close (`tcp_epollin_ready`).
    func isWorthReading(_ e: EndpointPointer) -> Bool {
        e.cold.pointee.receiveLowWater <= 1 || reachesLowWater(e)
    }

    private func reachesLowWater(_ e: EndpointPointer) -> Bool {
        let available = e.pointee.receiveNext - e.pointee.copied
        return available > 0
            && (available >= Int(e.cold.pointee.receiveLowWater) || e.pointee.windowLeft <= Int(e.pointee.peerSegment) || e.pointee.flags.contains(.finReceived))
    }

    /// `tcp_set_rcvlowat`: a buffer the program has not sized grows so that a window of the mark fits into it.
    func setReceiveLowWater(_ e: EndpointPointer, _ value: Int) {
        let isSized = e.pointee.flags.contains(.receiveBufferSet)
        let most = (isSized ? Int(e.cold.pointee.receiveBuffer) : settings.tcp_rmem.maximum) >> 1
        let mark = max(1, min(value < 0 ? Int(Int32.max) : value, most))
        e.cold.pointee.receiveLowWater = UInt32(mark)
        if e.pointee.state != .listen, reachesLowWater(e) { notify(e, [.readable, .urgent]) }
        guard !isSized else { return }
        let space = (mark << 8) / max(1, Int(e.pointee.scalingRatio))
        guard space > Int(e.cold.pointee.receiveBuffer) else { return }
        e.cold.pointee.receiveBuffer = UInt32(clamping: space)
        e.cold.pointee.windowClamp = UInt32(mark)
    }

    /// How many bytes a read may take now: not across the urgent one.
    private func takeable(_ e: EndpointPointer) -> Int {
        let available = readable(e)
        guard available > 0, e.pointee.flags.contains(.urgentIn) else { return available }
        let rest = readableBeforeUrgent(e, available)
        if rest == 0 { consume(e, 0) }
        return rest
    }

    /// Bytes in order that the program has not read.
    func readable(_ e: EndpointPointer) -> Int { e.cold.pointee.received.count == 0 ? 0 : e.cold.pointee.received[e.cold.pointee.received.count - 1].end - e.pointee.copied }

    private func consume(_ e: EndpointPointer, _ count: Int) {
        e.pointee.copied = e.pointee.copied + count
        if e.pointee.flags.contains(.peeksOnward) { movePeek(e, -count) }
        if e.pointee.flags.contains(.urgentIn) { passUrgent(e) }
        while e.cold.pointee.received.count > 0, e.cold.pointee.received[0].end.isAtOrBefore(e.pointee.copied) {
            e.pointee.receiveMemory -= e.cold.pointee.received[0].truesize
            e.cold.pointee.received.removeFirst(pool)
        }
        if e.cold.pointee.received.count == 0, e.cold.pointee.outOfOrder.count == 0 { e.cold.pointee.receiveRing.release(pool) }
        guard e.pointee.state != .closed, e.pointee.state != .timeWait else { return }
        adjustReceiveSpace(e)
        acknowledgeAfterReading(e, copied: count)
    }

    func throwPendingError(_ e: EndpointPointer) throws(Errno) {
        guard e.cold.pointee.pendingError != 0 else { return }
        let error = Errno(e.cold.pointee.pendingError)
        e.cold.pointee.pendingError = 0
        throw error
    }

    /// `tcp_poll`
    func streamReadiness(_ e: EndpointPointer) -> Readiness {
        if e.pointee.flags.contains(.connectDeferred) { return [.writable] }
        if e.pointee.state == .listen { return e.cold.pointee.acceptCount > 0 ? [.readable] : [] }
        var r: Readiness = []
        let flags = e.pointee.flags
        if flags.isSuperset(of: [.receiveShut, .sendShut]) || e.pointee.state == .closed { r.insert(.hangup) }
        if flags.contains(.receiveShut) { r.formUnion([.readable, .readHangup]) }
        if e.pointee.state != .synSent, e.pointee.state != .synReceived || e.pointee.flags.contains(.fastOpenChild) {
            if readable(e) > (e.pointee.flags.contains(.urgentIn) && isBeforeUrgent(e) ? 1 : 0), isWorthReading(e) { r.insert(.readable) }
            if e.pointee.flags.contains(.urgentIn), hasUrgentByte(e) { r.insert(.urgent) }
            if flags.contains(.sendShut) || e.pointee.state == .closed {
                r.insert(.writable)
            } else if hasWriteSpace(e) {
                r.insert(.writable)
            } else {
                e.pointee.flags.insert(.noSpace)
            }
        }
        if e.cold.pointee.pendingError != 0 || hasStreamError(e) { r.insert(.error) }
        return r
    }
}
