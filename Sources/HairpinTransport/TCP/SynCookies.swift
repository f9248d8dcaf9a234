import HairpinEngine
import HairpinWire

/// SYN cookies (RFC 4987 §3.6, `syncookies.c`): while the SYN queue is full, what must be remembered of a SYN goes into the sequence number of the
/// SYN-ACK, and into the low bits of its timestamp. Nothing is kept, no SYN-ACK is repeated; the last ACK of the handshake brings it all back.
///
/// The number is hash₀(addresses, ports) + the client's number + minutes · 2²⁴ + (hash₁(addresses, ports, minutes) + index of the MSS) mod 2²⁴.
enum SynCookie {
    /// In use beyond its ends as well: a client with an MSS between two gets the smaller.
    static let segments: [UInt16] = [536, 1300, 1440, 1460]
    static let bits: UInt32 = 24
    static let mask: UInt32 = 1 << 24 - 1
    /// A minute each; a cookie is good in its own and in the next.
    static let period: UInt64 = 60_000_000_000, mostPeriods: UInt32 = 2
    /// Listeners remember for so long that they have sent cookies.
    static let validity: UInt64 = 120_000_000_000
    /// The low bits of the timestamp: window scale (15: none), SACK, ECN.
    static let stampBits: UInt32 = 6, noScale: UInt32 = 15, sack: UInt32 = 1 << 4, ecn: UInt32 = 1 << 5
}

extension TransportStack {
    private func cookieHash(_ segment: Segment, _ count: UInt32, _ which: UInt64) -> UInt32 {
        let addresses = UInt64(segment.source.rawValue) << 32 | UInt64(segment.destination.rawValue)
        let ports = UInt64(segment.sourcePort) << 48 | UInt64(segment.destinationPort) << 32 | UInt64(count)
        return UInt32(truncatingIfNeeded: keyed(keyed(addresses ^ which &* 0x9e37_79b9_7f4a_7c15) ^ ports))
    }
    private var cookieTime: UInt32 { UInt32(truncatingIfNeeded: now.nanoseconds / SynCookie.period) }

    /// `__cookie_v4_init_sequence`
    private func cookie(_ segment: Segment, index: Int) -> SequenceNumber {
        let count = cookieTime
        let data = (cookieHash(segment, count, 1) &+ UInt32(index)) & SynCookie.mask
        return SequenceNumber(cookieHash(segment, 0, 0) &+ segment.sequence.rawValue &+ count << SynCookie.bits &+ data)
    }

    /// The MSS a cookie stands for; nil for a number that is none of ours, or too old (`__cookie_v4_check`).
    private func segmentOfCookie(_ segment: Segment) -> UInt16? {
        let sent = (segment.acknowledgment - 1).rawValue &- cookieHash(segment, 0, 0) &- (segment.sequence - 1).rawValue
        let count = cookieTime
        let age = (count &- sent >> SynCookie.bits) & 0xff
        guard age < SynCookie.mostPeriods else { return nil }
        let index = (sent &- cookieHash(segment, count &- age, 1)) & SynCookie.mask
        return index < UInt32(SynCookie.segments.count) ? SynCookie.segments[Int(index)] : nil
    }

    /// A SYN that there is no room to remember is answered with a cookie (`tcp_conn_request`).
    func answerWithCookie(_ listener: EndpointPointer, _ segment: Segment) -> Reception {
        guard let e = makeChild(of: listener, segment) else { return .bufferFull }
        // Without timestamps there is room for the MSS only.
        if !e.pointee.flags.contains(.timestamps) {
            e.pointee.flags.subtract([.selectiveAcks, .windowScaling])
            e.cold.pointee.ecn = []
        }
        let offered = e.cold.pointee.segmentClamp
        var index = SynCookie.segments.count - 1
        while index > 0, SynCookie.segments[index] > offered { index -= 1 }
        numberChild(e, cookie(segment, index: index))
        e.pointee.flags.insert(.cookieChild)
        streamExtras[listener.pointee.socket.rawValue, default: StreamExtras()].cookiesSentAt = max(1, now.nanoseconds)
        statistics.cookiesSent += 1
        sendSynAck(e)
        e.cold.pointee.listener = nil
        destroy(e)
        return .delivered
    }

    /// The clock of a SYN-ACK with a cookie runs up to 64 ms late, for the options to go into its low bits (`cookie_init_timestamp`).
    func cookieTimestamp(_ e: EndpointPointer) -> UInt32 {
        let clock = timestamp(e) &- e.pointee.timestampOffset
        var options = e.pointee.flags.contains(.windowScaling) ? UInt32(e.pointee.sendScale) : SynCookie.noScale
        if e.pointee.flags.contains(.selectiveAcks) { options |= SynCookie.sack }
        if e.cold.pointee.ecn.contains(.agreed) { options |= SynCookie.ecn }
        let period: UInt32 = 1 << SynCookie.stampBits
        var value = clock & ~(period - 1) | options
        if value > clock { value = value &- period }
        return value &+ e.pointee.timestampOffset
    }

    /// The last ACK of a handshake nothing is known of (`cookie_v4_check`); nil if it is none, so that a reset answers it.
    func receiveCookie(_ listener: EndpointPointer, _ segment: Segment) -> Reception? {
        guard settings.tcp_syncookies > 0, !segment.isSYN, let sentAt = streamExtras[listener.pointee.socket.rawValue]?.cookiesSentAt, sentAt != 0,
            now.nanoseconds &- sentAt <= SynCookie.validity
        else { return nil }
        guard let size = segmentOfCookie(segment) else {
            statistics.cookiesFailed += 1
            return nil
        }
        statistics.cookiesReceived += 1
        guard listener.cold.pointee.acceptCount <= listener.cold.pointee.backlog else { return overflow() }
        guard let e = makeChild(of: listener, openingSYN(segment, size)) else { return .bufferFull }
        if e.cold.pointee.ecn.contains(.agreed), settings.tcp_ecn == 0 { e.cold.pointee.ecn = [] }
        numberChild(e, segment.acknowledgment - 1, segment: Int(size))
        connections.insert(e)
        listener.cold.pointee.handshakes += 1
        e.pointee.flags.insert(.cookieChild)
        e.cold.pointee.synSentAt = now.nanoseconds
        let reception = receiveSynReceived(e, segment)
        if e.pointee.state == .synReceived { destroy(e) }
        return reception
    }

    /// The SYN as far as it can be told from the ACK: MSS from its number, the options from the echoed timestamp (`cookie_timestamp_decode`).
    private func openingSYN(_ ack: Segment, _ size: UInt16) -> Segment {
        var syn = ack
        syn.sequence = ack.sequence - 1
        syn.end = ack.sequence
        syn.flags = .syn
        syn.payload = UnsafeRawBufferPointer(start: nil, count: 0)
        syn.maximumSegment = size
        syn.sackPermitted = false
        syn.windowScale = nil
        syn.cookieLength = -1
        syn.typeOfService = 0
        if ack.hasTimestamp {
            let addresses = UInt64(ack.destination.rawValue) << 32 | UInt64(ack.source.rawValue)
            let options = ack.timestampEcho &- UInt32(truncatingIfNeeded: keyed(addresses))
            syn.sackPermitted = options & SynCookie.sack != 0
            if options & SynCookie.noScale != SynCookie.noScale { syn.windowScale = UInt8(min(options & SynCookie.noScale, 14)) }
            if options & SynCookie.ecn != 0 { syn.flags.formUnion([.ece, .cwr]) }
        }
        return syn
    }
}
