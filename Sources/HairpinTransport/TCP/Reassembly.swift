import HairpinEngine
import HairpinWire

/// Text into order (`tcp_data_queue`). Bytes go straight to their place in the receive ring, whether in order or not; beside it only ranges are kept.
extension TransportStack {
    func queueData(_ e: EndpointPointer, _ segment: Segment) -> Reception {
        guard segment.end != segment.sequence else { return .delivered }
        if segment.typeOfService & 3 != 0 || e.cold.pointee.ecn.rawValue != 0 || segment.flags.contains(.cwr) { noteECN(e, segment) }
        let next = e.pointee.receiveNext
        if segment.sequence == next || (segment.sequence.isBefore(next) && segment.end.isAfter(next)) {
            if segment.sequence != next { noteDuplicate(e, segment.sequence, next) }
            // A FIN alone takes no room.
            if e.pointee.windowLeft == 0, !segment.payload.isEmpty {
                statistics.ext.TCPZeroWindowDrop += 1
                enterQuick(e)
                e.pointee.flags.insert(.ackScheduled)
                return .bufferFull
            }
            return queueInOrder(e, segment)
        }
        if !segment.end.isAfter(next) {
            // A retransmission of what is here: acknowledge at once (RFC 9293 §3.10.7.4, RFC 2883).
            noteDuplicate(e, segment.sequence, segment.end)
            statistics.ext.DelayedACKLost += 1
            enterQuick(e)
            e.pointee.flags.insert(.ackScheduled)
            return .delivered
        }
        if segment.sequence.isAtOrAfter(next + e.pointee.windowLeft) {
            enterQuick(e)
            e.pointee.flags.insert(.ackScheduled)
            return .bufferFull
        }
        return queueOutOfOrder(e, segment)
    }

    private func makeRoom(_ e: EndpointPointer, until end: SequenceNumber) {
        let kept: Int
        if e.cold.pointee.outOfOrder.count > 0 {
            kept = e.cold.pointee.outOfOrder[e.cold.pointee.outOfOrder.count - 1].end - e.pointee.copied
        } else {
            kept = e.pointee.receiveNext - e.pointee.copied
        }
        e.cold.pointee.receiveRing.reserve(start: e.pointee.copied.rawValue, kept: kept, span: end - e.pointee.copied, pool)
    }

    /// Room for one more packet (`tcp_try_rmem_schedule`): a buffer nobody fixed grows to what is in it (`tcp_clamp_window`), a fixed one has its
    /// packets copied together (`tcp_collapse`).
    private func findMemory(_ e: EndpointPointer, for segment: Segment) -> Bool {
        guard e.pointee.receiveMemory > e.cold.pointee.receiveBuffer else { return true }
        if !e.pointee.flags.contains(.receiveBufferSet), Int(e.cold.pointee.receiveBuffer) < settings.tcp_rmem.maximum {
            e.cold.pointee.receiveBuffer = UInt32(min(Int(e.pointee.receiveMemory), settings.tcp_rmem.maximum))
        }
        if e.pointee.receiveMemory > e.cold.pointee.receiveBuffer {
            e.pointee.windowThreshold = min(e.cold.pointee.windowClamp, 2 * UInt32(e.cold.pointee.advertisedSegment))
        }
        statistics.ext.PruneCalled += 1
        e.pointee.quickAcks = 0
        if e.pointee.receiveMemory > e.cold.pointee.receiveBuffer {
            collapseOutOfOrder(e)
            collapse(e)
        }
        if e.pointee.receiveMemory > e.cold.pointee.receiveBuffer { prune(e, before: segment.sequence) }
        guard e.pointee.receiveMemory > e.cold.pointee.receiveBuffer else { return true }
        statistics.ext.RcvPruned += 1
        return false
    }

    /// Packets that waste memory, beginning with the first whose memory is worth more window than it has bytes, are copied into heads of up to a page, 3776
    /// bytes beside `struct skb_shared_info` (`tcp_collapse`).
    private func collapse(_ e: EndpointPointer) {
        let page = TransportStack.pageHead
        var first = 0
        var start = e.pointee.copied
        while first < e.cold.pointee.received.count {
            let chunk = e.cold.pointee.received[first]
            if windowFromSpace(e, Int(chunk.truesize)) > chunk.end - start { break }
            start = chunk.end
            first += 1
        }
        guard first < e.cold.pointee.received.count else { return }
        while e.cold.pointee.received.count > first {
            e.pointee.receiveMemory -= e.cold.pointee.received[e.cold.pointee.received.count - 1].truesize
            e.cold.pointee.received.remove(at: e.cold.pointee.received.count - 1, pool)
        }
        while start.isBefore(e.pointee.receiveNext) {
            let count = min(page, e.pointee.receiveNext - start)
            let cost = PacketMemory.head(of: count)
            start = start + count
            e.cold.pointee.received.append(ReceivedChunk(end: start, truesize: cost, room: 0), pool)
            e.pointee.receiveMemory += cost
        }
    }

    /// SKB_MAX_ORDER(0, 0)
    private static let pageHead = 3776

    /// The same beyond the hole, run by run (`tcp_collapse_ofo_queue`): one of a single small packet is left alone, and with an eighth of the buffer in such
    /// runs it is not worth going on.
    private func collapseOutOfOrder(_ e: EndpointPointer) {
        var tiny = 0
        for i in 0..<e.cold.pointee.outOfOrder.count {
            let range = e.cold.pointee.outOfOrder.pointer(i)
            let length = range.pointee.end - range.pointee.start
            guard range.pointee.packets > 1 || length >= TransportStack.pageHead else {
                tiny += Int(range.pointee.truesize)
                if tiny > Int(e.cold.pointee.receiveBuffer) >> 3 { return }
                continue
            }
            // One with a FIN stays as it is, and one whose packets waste nothing.
            let others = Int(range.pointee.packets) - 1
            let (cost, bytes) = others == 0
                ? (Int(range.pointee.truesize), length) : (Int(range.pointee.truesize - range.pointee.lastCost) / others, (range.pointee.lastStart - range.pointee.start) / others)
            if e.cold.pointee.outOfOrderFIN, range.pointee.end.isAfter(e.cold.pointee.outOfOrderFINAt) { continue }
            guard windowFromSpace(e, cost) > bytes else { continue }
            var start = range.pointee.start
            e.pointee.receiveMemory -= range.pointee.truesize
            (range.pointee.truesize, range.pointee.packets, range.pointee.room) = (0, 0, 0)
            while start.isBefore(range.pointee.end) {
                let count = min(TransportStack.pageHead, range.pointee.end - start)
                (range.pointee.lastStart, range.pointee.lastCost) = (start, PacketMemory.head(of: count))
                range.pointee.packets += 1
                range.pointee.truesize += range.pointee.lastCost
                start = start + count
            }
            e.pointee.receiveMemory += range.pointee.truesize
        }
    }

    /// The packets that lie furthest beyond the hole are thrown away, an eighth of the buffer at a time, and the peer told nothing of what is left of them
    /// (`tcp_prune_ofo_queue`); never for what comes after them.
    private func prune(_ e: EndpointPointer, before sequence: SequenceNumber) {
        var isPruned = false
        var goal = Int(e.cold.pointee.receiveBuffer) >> 3
        while e.cold.pointee.outOfOrder.count > 0 {
            let last = e.cold.pointee.outOfOrder.count - 1
            let range = e.cold.pointee.outOfOrder.pointer(last)
            guard !sequence.isAfter(range.pointee.lastStart) else { break }
            let cost = range.pointee.lastCost
            e.pointee.receiveMemory -= cost
            goal -= Int(cost)
            if e.cold.pointee.outOfOrderFIN, range.pointee.end.isAfter(e.cold.pointee.outOfOrderFINAt) { e.cold.pointee.outOfOrderFIN = false }
            if range.pointee.packets > 1 { range.pointee.removeLast() } else { e.cold.pointee.outOfOrder.remove(at: last, pool) }
            isPruned = true
            guard e.cold.pointee.outOfOrder.count == 0 || goal <= 0 else { continue }
            if e.pointee.receiveMemory <= e.cold.pointee.receiveBuffer { break }
            goal = Int(e.cold.pointee.receiveBuffer) >> 3
        }
        guard isPruned else { return }
        statistics.ext.OfoPruned += 1
        for i in 0..<e.cold.pointee.outOfOrder.count { e.cold.pointee.outOfOrder.pointer(i).pointee.touched = 0 }
    }

    private func queueInOrder(_ e: EndpointPointer, _ segment: Segment) -> Reception {
        let next = e.pointee.receiveNext
        let skip = next - segment.sequence
        let count = segment.payload.count - skip
        if count > 0 {
            if !isPredicted, !findMemory(e, for: segment) {
                // No memory: not taken, and the peer is told at once, with a closed window (`tcp_try_rmem_schedule`, ICSK_ACK_NOMEM).
                e.pointee.flags.formUnion([.ackScheduled, .ackNow, .lacksMemory])
                if e.cold.pointee.received.count > 0 {
                    statistics.receiveBufferErrors += 1
                    statistics.ext.TCPRcvQDrop += 1
                    return .bufferFull
                }
            }
            makeRoom(e, until: next + count)
            e.cold.pointee.receiveRing.write(segment.payload.baseAddress.unsafelyUnwrapped + skip, count: count, at: next.rawValue)
            if skip > 0 || !joins(e, end: next + count, count) {
                e.cold.pointee.received.append(ReceivedChunk(end: next + count, truesize: segment.memory.truesize, room: segment.memory.room(after: segment.payload.count)), pool)
                e.pointee.receiveMemory += segment.memory.truesize
            }
        }
        e.pointee.receiveNext = segment.end
        e.cold.pointee.bytesReceived &+= UInt64(max(0, segment.end - next))
        if count > 0 { dataReceived(e, segment) }
        if segment.isFIN { receiveFIN(e) }
        guard e.pointee.state != .closed, e.pointee.state != .timeWait else { return .delivered }
        if e.cold.pointee.outOfOrder.count > 0 {
            drainOutOfOrder(e)
            // RFC 5681 §4.2: the hole is filled, say so at once.
            if e.cold.pointee.outOfOrder.count == 0 { e.pointee.flags.insert(.ackNow) }
        }
        if !e.pointee.flags.contains(.orphan), count > 0, isWorthReading(e) { notify(e, [.readable, .urgent]) }
        return .delivered
    }

    /// The last packet of the receive queue takes over the next `count` bytes when they fit behind its own: they cost no memory then
    /// (`tcp_try_coalesce`, `skb_try_coalesce`).
    private func joins(_ e: EndpointPointer, end: SequenceNumber, _ count: Int) -> Bool {
        guard e.cold.pointee.received.count > 0 else { return false }
        let last = e.cold.pointee.received.pointer(e.cold.pointee.received.count - 1)
        guard count <= Int(last.pointee.room) else { return false }
        last.pointee.end = end
        last.pointee.room -= UInt32(count)
        statistics.ext.TCPRcvCoalesce += 1
        return true
    }

    /// Ranges that now follow on join the stream.
    private func drainOutOfOrder(_ e: EndpointPointer) {
        while e.cold.pointee.outOfOrder.count > 0 {
            let range = e.cold.pointee.outOfOrder[0]
            guard range.start.isAtOrBefore(e.pointee.receiveNext) else { return }
            if range.start.isBefore(e.pointee.receiveNext) {
                extendDuplicate(e, range.start, range.end.isBefore(e.pointee.receiveNext) ? range.end : e.pointee.receiveNext)
            }
            e.cold.pointee.outOfOrder.removeFirst(pool)
            let end = e.cold.pointee.outOfOrderFIN && range.end == e.cold.pointee.outOfOrderFINAt + 1 ? e.cold.pointee.outOfOrderFINAt : range.end
            if end.isAfter(e.pointee.receiveNext) {
                let next = e.pointee.receiveNext
                e.cold.pointee.bytesReceived &+= UInt64(end - next)
                e.pointee.receiveNext = end
                if range.start == next, joins(e, end: end, end - next) {
                    e.pointee.receiveMemory -= range.truesize
                } else {
                    e.cold.pointee.received.append(ReceivedChunk(end: end, truesize: range.truesize, room: range.room), pool)
                }
            } else {
                e.pointee.receiveMemory -= range.truesize
            }
            if e.cold.pointee.outOfOrderFIN, e.pointee.receiveNext == e.cold.pointee.outOfOrderFINAt {
                e.cold.pointee.outOfOrderFIN = false
                e.pointee.receiveNext = e.pointee.receiveNext + 1
                e.cold.pointee.bytesReceived &+= 1
                receiveFIN(e)
                if e.pointee.state == .closed || e.pointee.state == .timeWait { return }
            }
        }
    }

    /// `tcp_data_queue_ofo`
    private func queueOutOfOrder(_ e: EndpointPointer, _ segment: Segment) -> Reception {
        e.pointee.flags.insert(.ackScheduled)
        if segment.isFIN {
            e.cold.pointee.outOfOrderFIN = true
            e.cold.pointee.outOfOrderFINAt = segment.end - 1
        }
        let start = segment.sequence
        // A FIN takes a number in the queue as well, and is in SACK blocks.
        let end = segment.end
        guard findMemory(e, for: segment) else {
            statistics.ext.TCPOFODrop += 1
            return .bufferFull
        }
        statistics.ext.TCPOFOQueue += 1
        e.cold.pointee.outOfOrderSegments &+= 1
        if !segment.payload.isEmpty { measurePeerSegment(e, segment) }
        makeRoom(e, until: start + segment.payload.count)
        // Where among the ranges?
        var index = 0
        while index < e.cold.pointee.outOfOrder.count, e.cold.pointee.outOfOrder[index].end.isBefore(start) { index += 1 }
        rememberBlock(e, start, end)
        if index < e.cold.pointee.outOfOrder.count, e.cold.pointee.outOfOrder[index].start.isAtOrBefore(start), e.cold.pointee.outOfOrder[index].end.isAtOrAfter(end) {
            e.cold.pointee.outOfOrder.pointer(index).pointee.touched = e.cold.pointee.touchCount
            noteDuplicate(e, start, end)  // all of it is here
            statistics.ext.TCPOFOMerge += 1
            return .delivered
        }
        if let bytes = segment.payload.baseAddress, !segment.payload.isEmpty {
            e.cold.pointee.receiveRing.write(bytes, count: segment.payload.count, at: start.rawValue)
        }
        var merged = OutOfOrderRange(start: start, end: end, touched: e.cold.pointee.touchCount)
        if index < e.cold.pointee.outOfOrder.count, e.cold.pointee.outOfOrder[index].end == start, segment.payload.count <= Int(e.cold.pointee.outOfOrder[index].room) {
            let before = e.cold.pointee.outOfOrder[index]
            merged.room = before.room - UInt32(segment.payload.count)
            (merged.lastStart, merged.lastCost) = (before.lastStart, before.lastCost)
            statistics.ext.TCPRcvCoalesce += 1
        } else {
            // Before it waits, it is charged for all of the memory it lies in (`skb_condense`).
            let memory = segment.memory.condensed
            (merged.truesize, merged.room) = (memory.truesize, memory.room(after: segment.payload.count))
            (merged.packets, merged.lastCost) = (1, memory.truesize)
            e.pointee.receiveMemory += memory.truesize
        }
        while index < e.cold.pointee.outOfOrder.count, e.cold.pointee.outOfOrder[index].start.isAtOrBefore(end) {
            let other = e.cold.pointee.outOfOrder[index]
            let overlapStart = other.start.isAfter(start) ? other.start : start
            let overlapEnd = other.end.isBefore(end) ? other.end : end
            if overlapEnd.isAfter(overlapStart) {
                if start.isAfter(other.start) { noteDuplicate(e, overlapStart, overlapEnd) } else { extendDuplicate(e, overlapStart, overlapEnd) }
            }
            if other.start.isBefore(merged.start) { merged.start = other.start }
            if other.end.isAfter(merged.end) {
                (merged.end, merged.room) = (other.end, other.room)
                (merged.lastStart, merged.lastCost) = (other.lastStart, other.lastCost)
            }
            merged.packets += other.packets
            merged.truesize += other.truesize
            e.cold.pointee.outOfOrder.remove(at: index, pool)
        }
        e.cold.pointee.outOfOrder.insert(merged, at: index, pool)
        // Without SACK the window stays, so that the peer counts duplicate ACKs.
        if e.pointee.flags.contains(.selectiveAcks) { growWindow(e, segment) }
        return .delivered
    }

    /// The block with these bytes becomes the first of those that ACKs name. Four are remembered: a new one takes the place of the one that changed longest
    /// ago, which no ACK names any more until something is added to it. Before a block is changed that was none of the first two, ACKs that wait to be
    /// sent as one are sent (`tcp_sack_new_ofo_skb`).
    private func rememberBlock(_ e: EndpointPointer, _ start: SequenceNumber, _ end: SequenceNumber) {
        var remembered = 0
        var oldest = -1
        var newest: UInt32 = 0
        for i in 0..<e.cold.pointee.outOfOrder.count {
            let range = e.cold.pointee.outOfOrder[i]
            guard range.touched != 0 else { continue }
            remembered += 1
            if !range.start.isAfter(end), !range.end.isBefore(start) { newest = max(newest, range.touched) }
            if oldest < 0 || range.touched < e.cold.pointee.outOfOrder[oldest].touched { oldest = i }
        }
        if e.pointee.flags.contains(.ackCompressed) {
            var rank = remembered
            if newest != 0 {
                rank = 0
                for i in 0..<e.cold.pointee.outOfOrder.count where e.cold.pointee.outOfOrder[i].touched > newest { rank += 1 }
            }
            if rank >= 2 { sendCompressedAck(e) }
        }
        if newest == 0, remembered >= 4 { e.cold.pointee.outOfOrder.pointer(oldest).pointee.touched = 0 }
        e.cold.pointee.touchCount = max(1, e.cold.pointee.touchCount &+ 1)
    }

    /// A duplicate that lies beside the one remembered becomes part of it; one further away is not reported (`tcp_dsack_extend`, `tcp_sack_extend`).
    private func extendDuplicate(_ e: EndpointPointer, _ start: SequenceNumber, _ end: SequenceNumber) {
        guard e.pointee.flags.contains(.duplicateSACK) else { return noteDuplicate(e, start, end) }
        guard !start.isAfter(e.cold.pointee.duplicateEnd), !e.cold.pointee.duplicateStart.isAfter(end) else { return }
        if start.isBefore(e.cold.pointee.duplicateStart) { e.cold.pointee.duplicateStart = start }
        if end.isAfter(e.cold.pointee.duplicateEnd) { e.cold.pointee.duplicateEnd = end }
    }

    /// Remembers the D-SACK block of the next ACK (RFC 2883).
    func noteDuplicate(_ e: EndpointPointer, _ start: SequenceNumber, _ end: SequenceNumber) {
        guard settings.tcp_dsack, e.pointee.flags.contains(.selectiveAcks), end.isAfter(start) else { return }
        if start.isBefore(e.pointee.receiveNext) { statistics.ext.TCPDSACKOldSent += 1 } else { statistics.ext.TCPDSACKOfoSent += 1 }
        e.pointee.flags.insert(.duplicateSACK)
        e.cold.pointee.duplicateStart = start
        e.cold.pointee.duplicateEnd = end
    }
}
