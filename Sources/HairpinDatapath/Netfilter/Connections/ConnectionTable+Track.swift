import HairpinWire

/// What tracking makes of a packet.
enum TrackResult {
    /// The frame names its entry now, or is known to be INVALID; it goes on.
    case proceed
    case drop(DropReason)
}

// Conntrack's first hook (`nf_conntrack_in`) and its last (`nf_conntrack_confirm`).
extension ConnectionTable {
    /// Finds or makes the entry of a packet and advances its state.
    mutating func track(_ packet: PacketHeaders, _ frame: UnsafeMutablePointer<Frame>, now: UInt64) -> TrackResult {
        // Seen before: over `lo`, or with NOTRACK.
        if frame.pointee.connectionInfo == .untracked || entry(frame.pointee.connection) != nil { return .proceed }
        frame.pointee.connection = 0
        frame.pointee.connectionInfo = .invalid
        if packet.proto == 1, packet.hasTransport, ICMPv4.isError(packet.transport.u8(ICMPOffset.type)) {
            trackError(packet, frame, now: now)
            return .proceed
        }
        guard let tuple = ConnectionTuple(packet), isWellFormed(packet) else {
            countInvalid()
            return .proceed
        }
        // Once more if the packet reopens a connection that was over.
        for _ in 0..<2 {
            let place: Int
            let isReply: Bool
            if let found = find(tuple, now: now) {
                (place, isReply) = found
            } else {
                guard mayBegin(packet) else {
                    countInvalid()
                    return .proceed
                }
                guard let new = make(tuple, now: now) else { return .drop(.conntrackFull) }
                (place, isReply) = (new, false)
                if packet.proto == 6 { beginTCP(place, packet) }
                if packet.proto == 17 || packet.proto == 136 { entries[place].streamFrom = now + 2_000_000_000 }
            }
            let status = entries[place].status
            let state = entries[place].tcp.state
            frame.pointee.connection = name(place)
            frame.pointee.connectionInfo =
                isReply ? .establishedReply : status.contains(.seenReply) ? .established : status.contains(.expected) ? .related : .new
            var result = TransportResult.accept
            switch packet.proto {
            case 6: result = advanceTCP(place, isReply, packet, now: now)
            case 17, 136: advanceUDP(entries + place, now: now)
            case 1: refresh(place, seconds: settings.icmp, now: now)
            case 132: refresh(place, seconds: settings.sctp, now: now)
            default: refresh(place, seconds: settings.generic, now: now)
            }
            switch result {
            case .accept:
                if isReply { entries[place].status.insert(.seenReply) }
                if isWatched { noteUpdate(place, since: status, state, now: now) }
                return .proceed
            case .invalid:
                countInvalid()
                release(frame.pointee.connection)
                frame.pointee.connection = 0
                frame.pointee.connectionInfo = .invalid
                return .proceed
            case .again:
                frame.pointee.connection = 0
                frame.pointee.connectionInfo = .invalid
            }
        }
        return .proceed
    }

    enum TransportResult { case accept, invalid, again }

    /// Sets how long the entry may stay idle from now, or from its confirmation.
    func refresh(_ place: Int, seconds: UInt32, now: UInt64) { refresh(entries + place, seconds: seconds, now: now) }

    @inline(__always)
    func refresh(_ entry: UnsafeMutablePointer<Connection>, seconds: UInt32, now: UInt64) {
        if entry.pointee.status.contains(.clashed) { return }
        let span = UInt64(seconds) &* 1_000_000_000
        entry.pointee.expires = entry.pointee.status.contains(.confirmed) ? now &+ span : span
    }

    /// `nf_conntrack_udp_packet`: two seconds after its beginning, traffic in both directions is a stream.
    @inline(__always)
    func advanceUDP(_ entry: UnsafeMutablePointer<Connection>, now: UInt64) {
        guard entry.pointee.status.contains(.seenReply), now > entry.pointee.streamFrom else { return refresh(entry, seconds: settings.udp, now: now) }
        refresh(entry, seconds: settings.udpStream, now: now)
        if !entry.pointee.status.contains(.clashed) { entry.pointee.status.insert(.assured) }
    }

    /// `udp_error`, `tcp_error`, `icmp_error`, without the checksums.
    private func isWellFormed(_ packet: PacketHeaders) -> Bool {
        switch packet.proto {
        case 6:
            guard packet.hasTransport else { return false }
            // FIN, SYN, RST, ACK, URG in combinations that make sense; the others do not matter.
            switch packet.tcpFlags & TCPFlags.thatSteer.rawValue {
            case 0x02, 0x22, 0x12, 0x04, 0x14, 0x11, 0x31, 0x10, 0x30: return true
            default: return false
            }
        case 17:
            guard packet.hasTransport else { return false }
            let length = Int(packet.transport.u16(UDPOffset.length))
            return length >= 8 && length <= packet.transportLength
        case 1: return packet.transport.u8(ICMPOffset.type) <= 18
        default: return true
        }
    }

    /// Whether a packet without connection may begin one.
    private func mayBegin(_ packet: PacketHeaders) -> Bool {
        switch packet.proto {
        case 6:
            switch TCPEvent(packet.tcpFlags) {
            case .syn: return true
            case .ack: return settings.isLoose
            default: return false
            }
        case 1: return [8, 13, 15, 17].contains(packet.transport.u8(ICMPOffset.type))
        default: return true
        }
    }

    /// An ICMP error belongs to the connection of the packet it quotes (`nf_conntrack_inet_error`).
    private mutating func trackError(_ packet: PacketHeaders, _ frame: UnsafeMutablePointer<Frame>, now: UInt64) {
        guard let quoted = PacketHeaders(packet.transport + ICMPOffset.payload, available: packet.transportLength - ICMPOffset.payload, isQuoted: true),
            let tuple = ConnectionTuple(quoted), let found = find(tuple.inverse, now: now),
            // The error must go where the quoted packet came from.
            entries[found.place].tuple(isReply: found.isReply).destination == packet.destination
        else {
            countInvalid()
            return
        }
        frame.pointee.connection = name(found.place)
        frame.pointee.connectionInfo = found.isReply ? .relatedReply : .related
    }

    /// The packet leaves the host or has arrived: its new entry goes into the table. False: another packet was faster with the same tuple.
    mutating func confirm(_ frame: UnsafeMutablePointer<Frame>, now: UInt64) -> Bool {
        guard let entry = entry(frame.pointee.connection), !entry.pointee.status.contains(.confirmed), !frame.pointee.connectionInfo.isReply else { return true }
        // Of a dying one only the packets on their way are left.
        if entry.pointee.status.contains(.dying) { return true }
        let place = place(of: entry)
        if confirm(place, now: now) { return true }
        // TCP, and SCTP, have it that a second first packet is dropped (`allow_clash`).
        guard entry.pointee.original.proto != 6, entry.pointee.original.proto != 132 else { return clashed() }
        // The same connection twice: this packet joins it (`nf_ct_resolve_clash`).
        if let winner = find(entry.pointee.original, now: now), !winner.isReply, entries[winner.place].reply == entry.pointee.reply {
            release(frame.pointee.connection)
            frame.pointee.connection = name(winner.place)
            frame.pointee.connectionInfo = entries[winner.place].status.contains(.seenReply) ? .established : .new
            statistics.clashResolve += 1
            return true
        }
        guard confirmReply(place, now: now) else { return clashed() }
        statistics.clashResolve += 1
        return true
    }

    private mutating func clashed() -> Bool {
        statistics.drop += 1
        statistics.insertFailed += 1
        return false
    }
}

extension TCPFlags {
    /// All but PSH, ECE and CWR, which say nothing about a connection's state (`tcp_valid_flags` in nf_conntrack_proto_tcp.c masks them).
    static let thatSteer: TCPFlags = [.fin, .syn, .rst, .ack, .urg]
}
