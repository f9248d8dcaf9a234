import HairpinWire

// The TCP state machine and window check of nf_conntrack_proto_tcp.c, after van Rooij, "Real Stateful TCP Packet Filtering in IP Filter".
//
// A segment is in window if, with `end` = sequence number + length:
//   I    seq  <= sender.maximumEnd                          (not beyond what the receiver allowed)
//   II   end  >= sender.end - receiver.maximumWindow        (not long acknowledged)
//   III  sack <= receiver.end                               (acknowledges only what was sent)
//   IV   sack >= receiver.end - max(66000, maximumWindow)   (not much too old)
// A segment that fails II or IV is a late duplicate: it belongs to the connection but changes nothing. One that fails I or III is INVALID.

/// Steps of the state machine: a state, or what to do with a segment that fits none.
private enum Step {
    case to(TCPState)
    /// May be right, if tracking is out of step with the two ends: let through, noted.
    case ignore
    case invalid
}

/// By direction, event and state, in the order of `TCPState`.
private func step(_ isReply: Bool, _ event: TCPEvent, _ state: TCPState) -> Step {
    switch event {
    case .none: return .invalid
    case .rst: return state == .none ? .invalid : .to(.close)
    case .syn:
        switch (isReply, state) {
        case (false, .none), (false, .synSent), (false, .timeWait), (false, .close): return .to(.synSent)
        case (_, .synSent2), (true, .synSent): return .to(.synSent2)
        default: return isReply ? .invalid : .ignore
        }
    case .synAck:
        switch (isReply, state) {
        case (_, .none), (false, .synSent): return .invalid
        case (true, .synSent), (_, .synSent2): return .to(.synReceived)
        default: return .ignore
        }
    case .fin:
        switch state {
        case .none, .synSent, .synSent2: return .invalid
        case .synReceived, .established: return .to(.finWait)
        case .finWait, .closeWait, .lastAck: return .to(.lastAck)
        case .timeWait: return .to(.timeWait)
        case .close: return .to(.close)
        }
    case .ack:
        switch state {
        case .none: return isReply ? .invalid : .to(.established)
        case .synSent, .synSent2: return isReply ? .ignore : .invalid
        case .synReceived: return .to(isReply ? .synReceived : .established)
        case .established: return .to(.established)
        case .finWait, .closeWait: return .to(.closeWait)
        case .lastAck, .timeWait: return .to(.timeWait)
        case .close: return .to(.close)
        }
    }
}

private func isAfter(_ a: UInt32, _ b: UInt32) -> Bool { Int32(bitPattern: a &- b) > 0 }
private func isBefore(_ a: UInt32, _ b: UInt32) -> Bool { Int32(bitPattern: a &- b) < 0 }

/// What of a segment window tracking needs.
struct TrackedSegment {
    let transport: UnsafeMutableRawPointer
    let flags: UInt8
    let sequence: UInt32
    let acknowledgment: UInt32
    let window: UInt16
    /// Sequence number behind the segment; SYN and FIN count.
    let end: UInt32
    var isSyn: Bool { flags & 0x02 != 0 }
    var isAck: Bool { flags & 0x10 != 0 }
    var isReset: Bool { flags & 0x04 != 0 }

    init(_ packet: PacketHeaders) { self.init(packet.transport, length: packet.transportLength) }

    /// `length` with the payload.
    @inline(__always)
    init(_ p: UnsafeMutableRawPointer, length: Int) {
        transport = p
        flags = p.u8(TCPOffset.flags)
        sequence = p.u32(TCPOffset.sequence)
        acknowledgment = p.u32(TCPOffset.acknowledgment)
        window = p.u16(TCPOffset.window)
        let payload = length - Int(p.u8(TCPOffset.dataOffset) >> 4) * 4
        end = sequence &+ UInt32(payload) &+ (flags & 0x02 != 0 ? 1 : 0) &+ (flags & 0x01 != 0 ? 1 : 0)
    }

    /// Calls `body` with kind, offset of the value and its length for each option until the list ends or makes no sense.
    private func options(_ body: (UInt8, Int, Int) -> Void) {
        let end = Int(transport.u8(TCPOffset.dataOffset) >> 4) * 4
        var offset = TCPOffset.options
        while offset < end {
            let kind = transport.u8(offset)
            if kind == 0 { return }
            if kind == 1 {
                offset += 1
                continue
            }
            guard offset + 1 < end else { return }
            let length = Int(transport.u8(offset + 1))
            guard length >= 2, offset + length <= end else { return }
            body(kind, offset + 2, length - 2)
            offset += length
        }
    }

    /// Window scale and SACK permitted of a SYN (`tcp_options`).
    func readOptions(_ side: inout TCPSide) {
        side.scale = 0
        side.flags = side.flags.intersection(.liberal)
        var found = side
        options { kind, offset, length in
            if kind == 4, length == 0 { found.flags.insert(.sackPermitted) }
            if kind == 3, length == 1 {
                found.scale = min(transport.u8(offset), 14)
                found.flags.insert(.windowScale)
            }
        }
        side = found
    }

    /// The acknowledgment, or the right edge of the highest SACK block (`tcp_sack`).
    var highestSack: UInt32 {
        // Timestamps alone are the common case.
        if transport.u8(TCPOffset.dataOffset) >> 4 == 8, transport.u32(TCPOffset.options) == 0x0101_080a { return acknowledgment }
        var highest = acknowledgment
        options { kind, offset, length in
            guard kind == 5, length >= 8, length % 8 == 0 else { return }
            for block in stride(from: 0, to: length, by: 8) {
                let right = transport.u32(offset + block + 4)
                if isAfter(right, highest) { highest = right }
            }
        }
        return highest
    }
}

extension ConnectionTable {
    /// `tcp_new`.
    func beginTCP(_ place: Int, _ packet: PacketHeaders) {
        let segment = TrackedSegment(packet)
        var track = TCPTrack()
        track.original.end = segment.end
        track.original.maximumWindow = max(UInt32(segment.window), 1)
        if segment.isSyn {
            track.original.maximumEnd = segment.end
            segment.readOptions(&track.original)
        } else {
            // In the middle of a connection: its scaling is not known, so its windows are not checked.
            track.original.maximumEnd = segment.end &+ track.original.maximumWindow
            track.original.flags = [.sackPermitted, .liberal]
            track.reply.flags = [.sackPermitted, .liberal]
        }
        entries[place].tcp = track
    }

    /// `nf_conntrack_tcp_packet`.
    mutating func advanceTCP(_ place: Int, _ isReply: Bool, _ packet: PacketHeaders, now: UInt64) -> TransportResult {
        let segment = TrackedSegment(packet)
        let entry = entries + place
        if followStream(entry, isReply, segment, now: now) { return .accept }
        let event = TCPEvent(segment.flags)
        var old = entry.pointee.tcp.state
        let new: TCPState
        var isChecked = true
        switch step(isReply, event, old) {
        case .invalid: return .invalid
        case .to(.synSent) where old.rawValue >= TCPState.timeWait.rawValue:
            // RFC 1122 §4.2.2.13: a connection that was closed or aborted may be opened anew.
            let flags = entry.pointee.tcp.original.flags.union(entry.pointee.tcp.reply.flags)
            if flags.contains(.closeInitiated) || entry.pointee.tcp.lastReply == isReply && entry.pointee.tcp.lastEvent == .rst {
                remove(place, now: now)
                return .again
            }
            note(entry, isReply, event, segment)
            return .accept
        case .ignore:
            // An answer to a SYN that was ignored: the two ends are in step, so follow them.
            guard event == .synAck, entry.pointee.tcp.lastEvent == .syn, entry.pointee.tcp.lastReply != isReply,
                segment.acknowledgment == entry.pointee.tcp.lastEnd
            else {
                note(entry, isReply, event, segment)
                return .accept
            }
            resynchronise(entry, isReply)
            old = .synSent
            new = .synReceived
        case .to(let state):
            switch event == .rst ? judgeReset(entry, isReply, segment) : .closes {
            case .invalid: return .invalid
            case .closes: new = state
            case .challenged: new = old
            case .unchecked:
                new = state
                isChecked = false
            }
        }
        if isChecked {
            switch checkWindow(entry, isReply, event, segment, old) {
            case .invalid: return .invalid
            case .late: return .accept
            case .inside: break
            }
        }
        entry.pointee.tcp.lastEvent = event
        entry.pointee.tcp.lastReply = isReply
        entry.pointee.tcp.state = new
        if old != new, new == .finWait {
            if isReply { entry.pointee.tcp.reply.flags.insert(.closeInitiated) } else { entry.pointee.tcp.original.flags.insert(.closeInitiated) }
        }
        var seconds = timeout(entry.pointee.tcp, new, event)
        if !entry.pointee.status.contains(.seenReply) {
            // Refused: nothing to remember.
            if segment.isReset {
                remove(place, isHeld: true, now: now)
                return .accept
            }
            // Picked up in the middle and not answered yet.
            if new == .established { seconds = min(seconds, settings.tcpUnacknowledged) }
        } else if !entry.pointee.status.contains(.assured), old == .synReceived || old == .established, new == .established {
            entry.pointee.status.insert(.assured)
        }
        refresh(place, seconds: seconds, now: now)
        return .accept
    }

    /// A segment in the middle of a connection that both ends have confirmed: data or an acknowledgment, in the window. False, and nothing is changed, if there
    /// is more to it.
    @inline(__always)
    func followStream(_ entry: UnsafeMutablePointer<Connection>, _ isReply: Bool, _ segment: TrackedSegment, now: UInt64) -> Bool {
        guard entry.pointee.tcp.state == .established, segment.flags & TCPFlags.thatSteer.rawValue == TCPFlags.ack.rawValue,
            entry.pointee.status.isSuperset(of: [.assured, .seenReply]),
            isReply ? slide(&entry.pointee.tcp.reply, &entry.pointee.tcp.original, segment) : slide(&entry.pointee.tcp.original, &entry.pointee.tcp.reply, segment)
        else { return false }
        let last = isReply ? entry.pointee.tcp.reply.end : entry.pointee.tcp.original.end
        let hasData = segment.sequence != segment.end
        countRetransmission(&entry.pointee.tcp, isReply, segment, sequence: hasData ? segment.sequence : last, end: hasData ? segment.end : last)
        entry.pointee.tcp.lastEvent = .ack
        refresh(entry, seconds: timeout(entry.pointee.tcp, .established, .ack), now: now)
        return true
    }

    @inline(__always)
    private func timeout(_ track: TCPTrack, _ state: TCPState, _ event: TCPEvent) -> UInt32 {
        let normal = settings.tcp[Int(state.rawValue)]
        if UInt32(track.retransmissions) >= settings.tcpMaximumRetransmissions, normal > settings.tcpRetransmitting { return settings.tcpRetransmitting }
        if event == .rst { return settings.tcp[Int(TCPState.close.rawValue)] }
        if track.original.flags.union(track.reply.flags).contains(.unacknowledged) { return min(normal, settings.tcpUnacknowledged) }
        if track.lastWindow == 0 { return min(normal, settings.tcpRetransmitting) }
        return normal
    }

    private enum ResetVerdict { case closes, invalid, challenged, unchecked }

    /// Whether a reset ends the connection, in the spirit of RFC 5961 §3: exactly the expected sequence number does; another one within the
    /// window may be answered by a challenge ACK, so the connection is kept.
    private func judgeReset(_ entry: UnsafeMutablePointer<Connection>, _ isReply: Bool, _ segment: TrackedSegment) -> ResetVerdict {
        let track = entry.pointee.tcp
        let status = entry.pointee.status
        switch track.state {
        // Closing: the numbers may be those of a connection that took this one's place.
        case .finWait, .closeWait, .lastAck, .timeWait, .close: return .unchecked
        default: break
        }
        var verdict = ResetVerdict.closes
        let other = isReply ? track.original : track.reply
        let isEstablished = status.contains(.assured) && track.state == .established
        if other.flags.contains(.maximumAckSet), track.lastEvent != .syn {
            if segment.sequence == 0, !isEstablished { return .closes }
            if isBefore(segment.sequence, other.maximumAck), !settings.ignoresInvalidReset { return .invalid }
            if !isEstablished || segment.sequence == other.maximumAck { return .closes }
            // Follows the sender's last segment.
            if track.lastEvent == .ack, track.lastReply == isReply, segment.sequence == track.lastEnd { return .closes }
            verdict = .challenged
        }
        if status.contains(.seenReply) && track.lastEvent == .syn || !status.contains(.assured) && track.lastEvent == .ack, segment.acknowledgment == track.lastEnd {
            return .unchecked
        }
        return verdict
    }

    /// Remembers a segment that was let through without being followed.
    private func note(_ entry: UnsafeMutablePointer<Connection>, _ isReply: Bool, _ event: TCPEvent, _ segment: TrackedSegment) {
        entry.pointee.tcp.lastEvent = event
        entry.pointee.tcp.lastReply = isReply
        entry.pointee.tcp.lastSequence = segment.sequence
        entry.pointee.tcp.lastEnd = segment.end
        entry.pointee.tcp.lastWindow = segment.window
        if event == .syn, !isReply {
            var side = TCPSide()
            segment.readOptions(&side)
            entry.pointee.tcp.lastFlags = side.flags
            entry.pointee.tcp.lastScale = side.scale
        }
    }

    /// Takes the noted SYN for the one that opened the connection.
    private func resynchronise(_ entry: UnsafeMutablePointer<Connection>, _ isReply: Bool) {
        var side = TCPSide()
        side.end = entry.pointee.tcp.lastEnd
        side.maximumEnd = entry.pointee.tcp.lastEnd
        side.maximumWindow = max(UInt32(entry.pointee.tcp.lastWindow), 1)
        side.scale = entry.pointee.tcp.lastScale
        side.flags = entry.pointee.tcp.lastFlags
        if entry.pointee.tcp.lastReply { entry.pointee.tcp.reply = side } else { entry.pointee.tcp.original = side }
        if isReply { entry.pointee.tcp.reply = TCPSide() } else { entry.pointee.tcp.original = TCPSide() }
    }

    /// What a segment in the window tells of both sides. `ack` and `sack` are the receiver's end where the segment says nothing, `window` is in bytes.
    @inline(__always)
    private static func follow(
        _ sender: inout TCPSide, _ receiver: inout TCPSide, end: UInt32, ack: UInt32, isAck: Bool, sack: UInt32, window: UInt32
    ) {
        sender.maximumWindow = max(sender.maximumWindow, window &+ (sack &- ack))
        if isAfter(end, sender.end) {
            sender.end = end
            sender.flags.insert(.unacknowledged)
        }
        if isAck, !sender.flags.contains(.maximumAckSet) || isAfter(ack, sender.maximumAck) {
            sender.maximumAck = ack
            sender.flags.insert(.maximumAckSet)
        }
        if receiver.maximumWindow != 0, isAfter(end, sender.maximumEnd) { receiver.maximumWindow &+= end &- sender.maximumEnd }
        if isAfter(sack &+ window, receiver.maximumEnd &- 1) { receiver.maximumEnd = sack &+ window &+ (window == 0 ? 1 : 0) }
        if ack == receiver.end { receiver.flags.remove(.unacknowledged) }
    }

    /// What `checkWindow` comes to for a segment in the middle of a connection that both ends have confirmed: data or an acknowledgment, in the window.
    /// False, and nothing is changed, if there is more to it.
    @inline(__always)
    private func slide(_ sender: inout TCPSide, _ receiver: inout TCPSide, _ segment: TrackedSegment) -> Bool {
        let hasData = segment.sequence != segment.end
        let sequence = hasData ? segment.sequence : sender.end
        let end = hasData ? segment.end : sender.end
        let ack = segment.acknowledgment
        let sack = receiver.flags.contains(.sackPermitted) ? segment.highestSack : ack
        guard sender.maximumWindow != 0, receiver.maximumWindow != 0, !isAfter(sequence, sender.maximumEnd), !isAfter(sack, receiver.end),
            isAfter(end, sender.end &- receiver.maximumWindow &- 1), isAfter(sack, receiver.end &- max(sender.maximumWindow, 66_000) &- 1)
        else { return false }
        ConnectionTable.follow(&sender, &receiver, end: end, ack: ack, isAck: true, sack: sack, window: UInt32(segment.window) &<< UInt32(sender.scale))
        return true
    }

    /// Counts how often the same segment came in a row; `sequence` and `end` are its sender's latest if it has no data.
    @inline(__always)
    private func countRetransmission(_ track: inout TCPTrack, _ isReply: Bool, _ segment: TrackedSegment, sequence: UInt32, end: UInt32) {
        if track.lastReply == isReply, track.lastSequence == sequence, track.lastAck == segment.acknowledgment, track.lastEnd == end, track.lastWindow == segment.window {
            if track.retransmissions < .max { track.retransmissions += 1 }
            return
        }
        track.lastReply = isReply
        track.lastSequence = sequence
        track.lastAck = segment.acknowledgment
        track.lastEnd = end
        track.lastWindow = segment.window
        track.retransmissions = 0
    }

    private enum WindowResult { case inside, late, invalid }

    /// `tcp_in_window`.
    private func checkWindow(_ entry: UnsafeMutablePointer<Connection>, _ isReply: Bool, _ event: TCPEvent, _ segment: TrackedSegment, _ state: TCPState) -> WindowResult {
        var sender = isReply ? entry.pointee.tcp.reply : entry.pointee.tcp.original
        var receiver = isReply ? entry.pointee.tcp.original : entry.pointee.tcp.reply
        defer {
            entry.pointee.tcp.original = isReply ? receiver : sender
            entry.pointee.tcp.reply = isReply ? sender : receiver
        }
        var sequence = segment.sequence
        var end = segment.end
        var ack = segment.acknowledgment
        var sack = receiver.flags.contains(.sackPermitted) ? segment.highestSack : ack
        var window = UInt32(segment.window)

        if sender.maximumWindow == 0 {
            if segment.isSyn {
                sender.end = end
                sender.maximumEnd = end
                sender.maximumWindow = max(window, 1)
                segment.readOptions(&sender)
                // RFC 7323 §2.2: scaling only if both ask for it.
                if !sender.flags.contains(.windowScale) || !receiver.flags.contains(.windowScale) {
                    sender.scale = 0
                    receiver.scale = 0
                }
                if !segment.isAck { return .inside }
            } else {
                sender.end = end
                sender.maximumWindow = max(window << UInt32(sender.scale), 1)
                sender.maximumEnd = end &+ sender.maximumWindow
                if receiver.maximumWindow == 0 {
                    receiver.end = sack
                    receiver.maximumEnd = sack
                } else if sack == receiver.end &+ 1 {
                    // Answers a keep-alive probe, whose one byte was not counted.
                    receiver.end &+= 1
                }
            }
        } else if segment.isSyn, isAfter(end, sender.end), state == .synSent && !isReply || state == .synReceived && isReply {
            // RFC 9293 §3.4: reopened with a sequence number beyond the old ones. Only the other side's answer decides on scaling.
            sender.end = end
            sender.maximumEnd = end
            sender.maximumWindow = max(window, 1)
            segment.readOptions(&sender)
        }
        if !segment.isAck || segment.isReset && ack == 0 {
            ack = receiver.end
            sack = receiver.end
        }
        // Without data only the acknowledgment counts; a reset is judged by its sequence number, unless it answers a SYN.
        if sequence == end, !segment.isReset || sequence == 0 && state == .synSent {
            sequence = sender.end
            end = sender.end
        }
        let isLiberal = settings.isLiberal || sender.flags.contains(.liberal)
        if isAfter(sequence, sender.maximumEnd) || isAfter(sack, receiver.end) { return isLiberal ? .inside : .invalid }
        let isInReceiveWindow = receiver.maximumWindow == 0 || isAfter(end, sender.end &- receiver.maximumWindow &- 1)
        if !isInReceiveWindow || !isAfter(sack, receiver.end &- max(sender.maximumWindow, 66_000) &- 1) { return isLiberal ? .inside : .late }

        if !segment.isSyn { window <<= UInt32(sender.scale) }
        ConnectionTable.follow(&sender, &receiver, end: end, ack: ack, isAck: segment.isAck, sack: sack, window: window)
        if event == .ack { countRetransmission(&entry.pointee.tcp, isReply, segment, sequence: sequence, end: end) }
        return .inside
    }
}
