import HairpinEngine
import HairpinWire

/// An entry of a TCP socket's error queue, as recvmsg(2) with MSG_ERRQUEUE gives it (`struct sock_extended_err`).
public struct StreamError: Sendable, Hashable {
    public var errno: Int32
    /// SO_EE_ORIGIN_: 2 ICMP, 4 SO_TIMESTAMPING, 5 MSG_ZEROCOPY.
    public var origin: UInt8
    public var type: UInt8
    public var code: UInt8
    public var information: UInt32
    public var data: UInt32
    /// When it happened, for a timestamp.
    public var at: Instant?
    /// What SOF_TIMESTAMPING_OPT_STATS adds to a timestamp, in the kernel's order.
    public var statistics: [Statistic] = []
    public struct Statistic: Sendable, Hashable {
        /// TCP_NLA_
        public var type: Int
        public var value: Int
    }
    /// Bytes of the packet a timestamp is about, which recvmsg(2) returns.
    public var length = 0
    public static let icmpOrigin: UInt8 = 2, timestampOrigin: UInt8 = 4, zeroCopyOrigin: UInt8 = 5
    /// The bytes were copied after all: the device cannot send from a program's memory.
    public static let copiedCode: UInt8 = 1
    public init(errno: Int32, origin: UInt8, type: UInt8, code: UInt8, information: UInt32, data: UInt32) {
        (self.errno, self.origin, self.type, self.code, self.information, self.data) = (errno, origin, type, code, information, data)
    }
}

/// What few sockets have, kept beside the endpoints: a key of their own, calls with MSG_ZEROCOPY whose bytes are not acknowledged yet, the error queue.
struct StreamExtras {
    /// Consecutive calls that share a packet are one (`msg_zerocopy_realloc`).
    struct ZeroCopyCalls {
        var first: UInt32
        var count: UInt32
        /// When this is acknowledged, the program may have its memory back.
        var end: SequenceNumber
    }
    /// SOF_TIMESTAMPING_ bits, and the byte that OPT_ID counts from.
    var timestamping: UInt32 = 0
    var keyBase = SequenceNumber(0)
    /// What a control message asked for instead: of the next message, and of those under way, by where they end.
    var nextStamps: UInt32?
    var messageStamps: [(end: SequenceNumber, bits: UInt32)] = []
    /// IP_MINTTL, IP_LOCAL_PORT_RANGE (the last port in the upper half), IP_BIND_ADDRESS_NO_PORT, IP_FREEBIND, IP_TRANSPARENT, SO_PEEK_OFF.
    var leastTimeToLive: UInt8 = 0
    var localPorts: Int?
    var bindsWithoutPort = false
    var bindsFreely = false, isTransparent = false
    var peekOffset = -1
    /// TCP_SAVE_SYN, TCP_SAVED_SYN
    var savesSYN = 0
    var savedSYN: [UInt8] = []
    /// TCP_FASTOPEN_KEY of a listener.
    var fastOpenKey: (UInt64, UInt64)?
    /// When a listener last answered with a SYN cookie, in ns; zero: never.
    var cookiesSentAt: UInt64 = 0
    var nextCall: UInt32 = 0
    var calls: [ZeroCopyCalls] = []
    var errors: [StreamError] = []
}

/// MSG_ZEROCOPY (Documentation/networking/msg_zerocopy.rst, `net/core/skbuff.c`).
extension TransportStack {
    /// A call has queued bytes up to SND's write end; `sharesPacket`: the packet it added to already held bytes of such calls.
    func noteZeroCopy(_ e: EndpointPointer, sharesPacket: Bool) {
        var extras = streamExtras[e.pointee.socket.rawValue] ?? StreamExtras()
        let call = extras.nextCall
        extras.nextCall &+= 1
        if sharesPacket, let last = extras.calls.last, last.first &+ last.count == call {
            extras.calls[extras.calls.count - 1].count += 1
            extras.calls[extras.calls.count - 1].end = e.pointee.writeEnd
        } else {
            extras.calls.append(StreamExtras.ZeroCopyCalls(first: call, count: 1, end: e.pointee.writeEnd))
        }
        streamExtras[e.pointee.socket.rawValue] = extras
        e.pointee.flags.insert(.awaitsZeroCopy)
    }

    /// Whether bytes of such calls lie beyond `start`: in the packet that begins there, if it is the last one.
    func endsZeroCopy(_ e: EndpointPointer, after start: SequenceNumber) -> Bool {
        streamExtras[e.pointee.socket.rawValue]?.calls.last.map { $0.end.isAfter(start) } ?? false
    }

    /// Tells the program about calls whose bytes are acknowledged, or thrown away (`__msg_zerocopy_callback`).
    func completeZeroCopy(_ e: EndpointPointer, all: Bool = false) {
        guard e.pointee.flags.contains(.awaitsZeroCopy), var extras = streamExtras[e.pointee.socket.rawValue] else { return }
        var isNews = false
        while let calls = extras.calls.first, all || calls.end.isAtOrBefore(e.pointee.unacknowledged) {
            extras.calls.removeFirst()
            isNews = true
            let last = calls.first &+ calls.count &- 1
            if let tail = extras.errors.last, tail.origin == StreamError.zeroCopyOrigin, tail.data &+ 1 == calls.first {
                extras.errors[extras.errors.count - 1].data = last
            } else {
                extras.errors.append(
                    StreamError(errno: 0, origin: StreamError.zeroCopyOrigin, type: 0, code: StreamError.copiedCode, information: calls.first, data: last))
            }
        }
        if extras.calls.isEmpty { e.pointee.flags.remove(.awaitsZeroCopy) }
        streamExtras[e.pointee.socket.rawValue] = extras
        if isNews { notify(e, .error) }
    }

    /// The oldest entry of a TCP socket's error queue.
    public func takeStreamError(_ socket: SocketID) -> StreamError? {
        guard let e = table.stream(socket), let first = streamExtras[socket.rawValue]?.errors.first else { return nil }
        streamExtras[socket.rawValue]?.errors.removeFirst()
        // The pending error is that of the next ICMP message in the queue; with the last one read it is gone (`sock_dequeue_err_skb`).
        let next = streamExtras[socket.rawValue]?.errors.first
        if let next, next.origin == StreamError.icmpOrigin {
            e.cold.pointee.pendingError = next.errno
        } else if first.origin == StreamError.icmpOrigin {
            e.cold.pointee.pendingError = 0
        }
        return first
    }

    /// IP_RECVERR: the message itself, for recvmsg(2) with MSG_ERRQUEUE (`ip_icmp_error`).
    func queueICMPError(_ e: EndpointPointer, _ error: ICMPError, _ errno: Errno) {
        var entry = StreamError(errno: errno.rawValue, origin: StreamError.icmpOrigin, type: error.type, code: error.code, information: 0, data: 0)
        entry.length = error.transport.count
        streamExtras[e.pointee.socket.rawValue, default: StreamExtras()].errors.append(entry)
    }

    func hasStreamError(_ e: EndpointPointer) -> Bool { !streamExtras.isEmpty && streamExtras[e.pointee.socket.rawValue]?.errors.isEmpty == false }
}

/// SO_TIMESTAMPING for what is sent (Documentation/networking/timestamping.rst): the last byte of each write is followed to the device and to its
/// acknowledgment (`tcp_tx_timestamp`, `__skb_tstamp_tx`).
extension TransportStack {
    enum StampKind: UInt32 { case sent = 0, scheduled = 1, acknowledged = 2 }
    private static let softwareBit: UInt32 = 1 << 1, reportBit: UInt32 = 1 << 4, keyBit: UInt32 = 1 << 7, scheduleBit: UInt32 = 1 << 8, ackBit: UInt32 = 1 << 9
    private static let stampOnlyBit: UInt32 = 1 << 11, statisticsBit: UInt32 = 1 << 12
    /// SOF_TIMESTAMPING_OPT_ID_TCP: numbers begin where the program's next write does, and not at the oldest byte in flight.
    private static let streamKeyBit: UInt32 = 1 << 16

    func setTimestamping(_ e: EndpointPointer, _ value: UInt32) throws(Errno) {
        let isPlausible = value & TransportStack.streamKeyBit == 0 || value & TransportStack.keyBit != 0
        guard value >> 19 == 0, isPlausible, value & TransportStack.statisticsBit == 0 || value & TransportStack.stampOnlyBit != 0 else { throw .invalid }
        var extras = streamExtras[e.pointee.socket.rawValue] ?? StreamExtras()
        if value & TransportStack.keyBit != 0, extras.timestamping & TransportStack.keyBit == 0 {
            if e.pointee.state == .closed || e.pointee.state == .listen { throw .invalid }
            extras.keyBase = value & TransportStack.streamKeyBit != 0 ? e.pointee.writeEnd : e.pointee.unacknowledged
        }
        extras.timestamping = value
        streamExtras[e.pointee.socket.rawValue] = extras
        setFlag(e, .stamps, value & (TransportStack.softwareBit | TransportStack.scheduleBit | TransportStack.ackBit) != 0)
    }

    /// The next send(2) is followed as `bits` say (control data SO_TIMESTAMPING).
    public func stampNextMessage(_ socket: SocketID, _ bits: UInt32) {
        guard let e = table.stream(socket) else { return }
        streamExtras[socket.rawValue, default: StreamExtras()].nextStamps = bits
        setFlag(e, .stamps, true)
    }

    func noteMessageStamps(_ e: EndpointPointer) {
        guard let bits = streamExtras[e.pointee.socket.rawValue]?.nextStamps else { return }
        streamExtras[e.pointee.socket.rawValue]?.nextStamps = nil
        streamExtras[e.pointee.socket.rawValue]?.messageStamps.append((e.pointee.writeEnd, bits))
    }

    func timestamping(_ e: EndpointPointer) -> Int { Int(streamExtras[e.pointee.socket.rawValue]?.timestamping ?? 0) }

    /// The packet that ends with byte `end` - 1 goes to the device; `payload` is what it carries.
    func stampTransmission(_ e: EndpointPointer, end: SequenceNumber, payload: Int) {
        stamp(e, .scheduled, TransportStack.scheduleBit, end: end, length: payload + 40 + optionSize(e), payload: payload)
        stamp(e, .sent, TransportStack.softwareBit, end: end, length: payload + 40 + optionSize(e), payload: payload)
    }

    func stampAcknowledgment(_ e: EndpointPointer, end: SequenceNumber, payload: Int) {
        stamp(e, .acknowledged, TransportStack.ackBit, end: end, length: payload, payload: payload)
        notify(e, .error)
    }

    /// `tcp_get_timestamping_opt_stats`. A packet that is about to be sent counts as sent, but is still in the queue.
    private func statistics(_ e: EndpointPointer, sending payload: Int) -> [StreamError.Statistic] {
        guard let info = tcpInformation(e.pointee.socket) else { return [] }
        let segment = max(1, Int(e.pointee.segmentSize))
        let rate = info.pacing_rate == .max ? -1 : info.pacing_rate
        let values: [(Int, Int)] = [
            (1, info.busy_time), (2, info.rwnd_limited), (3, info.sndbuf_limited), (4, info.data_segs_out + (payload + segment - 1) / segment), (5, info.total_retrans),
            (6, rate), (7, info.delivery_rate), (8, info.snd_cwnd), (9, info.reordering), (10, info.min_rtt), (11, info.retransmits),
            (12, info.delivery_rate_app_limited), (15, info.snd_ssthresh), (16, info.delivered), (17, info.delivered_ce),
            (13, max(0, e.pointee.writeEnd - e.pointee.unacknowledged)), (14, info.ca_state), (18, info.bytes_sent + payload), (19, info.bytes_retrans),
            (20, info.dsack_dups), (21, info.reord_seen), (22, info.rtt), (23, info.rehash), (24, info.notsent_bytes),
        ]
        return values.map { StreamError.Statistic(type: $0.0, value: $0.1) }
    }

    private func stamp(_ e: EndpointPointer, _ kind: StampKind, _ bit: UInt32, end: SequenceNumber, length: Int, payload: Int) {
        guard var extras = streamExtras[e.pointee.socket.rawValue] else { return }
        let own = extras.messageStamps.firstIndex { $0.end == end }
        guard (own.map { extras.messageStamps[$0].bits } ?? extras.timestamping) & bit != 0 else { return }
        if kind == .acknowledged, let own { extras.messageStamps.removeSubrange(...own) }
        let key = extras.timestamping & TransportStack.keyBit != 0 ? UInt32(truncatingIfNeeded: end - 1 - extras.keyBase) : 0
        var error = StreamError(errno: 42, origin: StreamError.timestampOrigin, type: 0, code: 0, information: kind.rawValue, data: key)
        if extras.timestamping & TransportStack.reportBit != 0 { error.at = now }
        error.length = extras.timestamping & TransportStack.stampOnlyBit != 0 ? 0 : length
        if extras.timestamping & TransportStack.statisticsBit != 0 { error.statistics = statistics(e, sending: kind == .acknowledged ? 0 : payload) }
        extras.errors.append(error)
        streamExtras[e.pointee.socket.rawValue] = extras
    }
}
