import HairpinEngine
import HairpinWire

/// TCP Fast Open (RFC 7413, `tcp_fastopen.c`): data in the SYN, allowed by a cookie the server gave earlier.
///
/// The server's side: `openFast`, called for a SYN at a listener. The client's: `prepareFastOpen` before the SYN, `concludeFastOpen` at the SYN-ACK.
struct FastOpenCookie: BitwiseCopyable {
    static let kind: UInt8 = 34
    static let experimentKind: UInt8 = 254
    static let magic: UInt16 = 0xf989
    /// -1: no option; 0: a request.
    var length: Int8 = -1
    /// In the experimental option of RFC 6994.
    var isExperimental = false
    private var bytes: (UInt64, UInt64) = (0, 0)

    init() {}
    init(_ source: UnsafeRawPointer, length: Int, isExperimental: Bool) {
        self.length = Int8(length)
        self.isExperimental = isExperimental
        withUnsafeMutableBytes(of: &bytes) { $0.baseAddress.unsafelyUnwrapped.copyMemory(from: source, byteCount: min(length, 16)) }
    }
    static func request(isExperimental: Bool) -> FastOpenCookie {
        var cookie = FastOpenCookie()
        cookie.length = 0
        cookie.isExperimental = isExperimental
        return cookie
    }

    var isThere: Bool { length > 0 }
    private var plainSize: Int { Int(length) + (isExperimental ? 4 : 2) }
    /// With the NOPs that fill the word.
    var optionSize: Int { length < 0 ? 0 : (plainSize + 3) & ~3 }

    func put(_ p: UnsafeMutableRawPointer) {
        guard length >= 0 else { return }
        var at = 0
        if isExperimental {
            p.put(FastOpenCookie.experimentKind, at: 0)
            p.put(UInt8(plainSize), at: 1)
            p.put(FastOpenCookie.magic, at: 2)
            at = 4
        } else {
            p.put(FastOpenCookie.kind, at: 0)
            p.put(UInt8(plainSize), at: 1)
            at = 2
        }
        withUnsafeBytes(of: bytes) { source in for i in 0..<Int(length) { p.put(source[i], at: at + i) } }
        for i in plainSize..<optionSize { p.put(UInt8(1), at: i) }
    }

    func equals(_ other: FastOpenCookie) -> Bool { length == other.length && bytes == other.bytes }
}

/// `TFO_…` of `tcpi_fastopen_client_fail`.
enum FastOpenFailure: UInt8 { case none, cookieUnavailable, dataNotAcknowledged, synRepeated }

/// Fast Open rests for a while after signs of a middlebox that swallows it (`tfo_active_disable_stamp`, `tfo_active_disable_times`).
struct FastOpenPause {
    var times = 0
    var since: UInt64 = 0
}

/// What a host remembers of a server (`tcp_metrics.c`).
struct FastOpenMemory {
    var cookie = FastOpenCookie()
    var maximumSegment: UInt16 = 0
    /// 1: the plain option got no answer, the experimental one is tried; 2: neither helped.
    var experiment: UInt8 = 0
}

extension TransportSettings {
    /// `__tcp_fastopen_cookie_gen_cipher`: SipHash-2-4 over both addresses as they stand in the SYN, little-endian.
    public func fastOpenCookie(client: IPv4Address, server: IPv4Address) -> [UInt8] {
        TransportSettings.fastOpenCookie(client: client, server: server, key: tcp_fastopen_key)
    }

    static func fastOpenCookie(client: IPv4Address, server: IPv4Address, key: (UInt64, UInt64)) -> [UInt8] {
        let message = UInt64(client.rawValue.byteSwapped) | UInt64(server.rawValue.byteSwapped) << 32
        var hash = SipHash24(key)
        hash.add(message)
        let value = hash.finish(byteCount: 8)
        return (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
    }
}

extension TransportStack {
    // MARK: server

    /// Whether the SYN opens the connection at once; otherwise a cookie may go with the SYN-ACK (`tcp_try_fastopen`).
    func opensFast(_ e: EndpointPointer, _ listener: EndpointPointer, _ segment: Segment) -> Bool {
        let hasData = !segment.payload.isEmpty || segment.isFIN
        let mode = settings.tcp_fastopen
        if segment.cookieLength == 0 { statistics.ext.TCPFastOpenCookieReqd += 1 }
        guard mode & 2 != 0, hasData || segment.cookieLength >= 0, listener.cold.pointee.fastOpenQueue > 0 else { return false }
        guard listener.cold.pointee.fastOpenPending < listener.cold.pointee.fastOpenQueue else {
            statistics.ext.TCPFastOpenListenOverflow += 1
            return false
        }
        if mode & 0x200 != 0 || listener.pointee.flags.contains(.fastOpenNoCookie) { return true }
        let key = streamExtras[listener.pointee.socket.rawValue]?.fastOpenKey ?? settings.tcp_fastopen_key
        let valid = TransportSettings.fastOpenCookie(client: segment.source, server: segment.destination, key: key).withUnsafeBytes {
            FastOpenCookie($0.baseAddress.unsafelyUnwrapped, length: $0.count, isExperimental: segment.isCookieExperimental)
        }
        if segment.cookieLength > 0, let bytes = segment.cookie {
            if valid.equals(FastOpenCookie(bytes, length: segment.cookieLength, isExperimental: segment.isCookieExperimental)) { return true }
        }
        if segment.cookieLength > 0 { statistics.ext.TCPFastOpenPassiveFail += 1 }
        if segment.cookieLength >= 0 { e.cold.pointee.cookie = valid }
        return false
    }

    /// The connection is handed over before its handshake is complete (`tcp_fastopen_create_child`): the data of the SYN can be read, and answered.
    func openFast(_ e: EndpointPointer, _ listener: EndpointPointer, _ segment: Segment) {
        statistics.ext.TCPFastOpenPassive += 1
        e.pointee.flags.formUnion([.fastOpenChild, .bornOpen, .inAcceptQueue])
        e.cold.pointee.fastOpenListener = listener.pointee.socket.rawValue
        listener.cold.pointee.handshakes -= 1
        listener.cold.pointee.fastOpenPending += 1
        listener.cold.pointee.acceptCount += 1
        if let tail = listener.cold.pointee.acceptTail { tail.cold.pointee.acceptNext = e } else { listener.cold.pointee.acceptHead = e }
        listener.cold.pointee.acceptTail = e
        e.pointee.unacknowledged = e.cold.pointee.initialSend + 1
        e.cold.pointee.maximumWindow = e.pointee.sendWindow
        e.pointee.windowSequence = segment.sequence
        prepareTransfer(e)
        if !segment.payload.isEmpty { e.pointee.flags.insert(.synData) }
        // Data of a SYN says nothing about the peer's segments, nor when to acknowledge (`tcp_fastopen_add_skb`).
        let before = (e.pointee.peerSegment, e.pointee.ackTimeout, e.pointee.quickAcks, e.pointee.windowThreshold, e.cold.pointee.receiveRTTEnd, e.cold.pointee.receiveRTTAt)
        _ = queueData(e, segment.withoutSYN())
        (e.pointee.peerSegment, e.pointee.ackTimeout, e.pointee.quickAcks, e.pointee.windowThreshold, e.cold.pointee.receiveRTTEnd, e.cold.pointee.receiveRTTAt) = before
        e.cold.pointee.segmentsIn = 1
        e.cold.pointee.dataSegmentsIn = segment.payload.isEmpty ? 0 : 1
        e.pointee.flags.subtract([.ackScheduled, .ackTimer, .ackNow])
        notifyListener(listener)
    }

    /// The last ACK has come.
    func completeFastOpen(_ e: EndpointPointer) {
        e.pointee.flags.remove(.fastOpenChild)
        guard let listener = table.stream(SocketID(e.cold.pointee.fastOpenListener)) else { return }
        listener.cold.pointee.fastOpenPending = max(0, listener.cold.pointee.fastOpenPending - 1)
    }

    // MARK: client

    /// What is known of the server (`tcp_fastopen_cookie_check`): a cookie to send data with, or a request for one.
    func prepareFastOpen(_ e: EndpointPointer) -> Bool {
        let known = fastOpenMemory[e.pointee.remoteAddress]
        if isFastOpenPaused { return false }
        if settings.tcp_fastopen & 4 != 0 || e.pointee.flags.contains(.fastOpenNoCookie) { return true }
        if let known, known.cookie.isThere {
            e.cold.pointee.cookie = known.cookie
            return true
        }
        e.cold.pointee.fastOpenFailure = .cookieUnavailable
        e.cold.pointee.cookie = .request(isExperimental: known?.experiment == 1)
        return false
    }

    /// The SYN with as much of `bytes` as it can carry (`tcp_send_syn_data`); how much that was.
    func sendOpeningSYN(_ e: EndpointPointer, _ bytes: UnsafeRawBufferPointer) -> Int {
        let known = fastOpenMemory[e.pointee.remoteAddress]?.maximumSegment ?? 0
        var clamp = known > 0 ? known : e.cold.pointee.advertisedSegment
        if e.cold.pointee.userSegment > 0 { clamp = min(clamp, e.cold.pointee.userSegment) }
        e.cold.pointee.segmentClamp = clamp
        synchronizeSegment(e)
        let space = min(Int(e.cold.pointee.pathMTU) - 40, Int(clamp)) - OptionSize.all
        let count = max(0, min(space, bytes.count))
        let first = e.cold.pointee.initialSend + 1
        if count > 0, let base = bytes.baseAddress {
            e.cold.pointee.sendRing.reserve(start: first.rawValue, kept: 0, span: count, pool)
            e.cold.pointee.sendRing.write(base, count: count, at: first.rawValue)
        }
        let stamp = transmissionStamp()
        transmit(e, sequence: e.cold.pointee.initialSend, count: count, flags: .syn)
        guard count > 0, e.pointee.state == .synSent else { return count }
        e.pointee.writeEnd = first + count
        e.pointee.sendNext = first + count
        e.pointee.pushed = first + count
        e.cold.pointee.sent.append(
            SentSegment(start: first, end: first + count, sentAt: stamp, marks: SentSegment.psh | SentSegment.endsBurst | SentSegment.untimed), pool)
        e.cold.pointee.heldPackets = 1
        e.pointee.flags.insert(.sentSynData)
        return count
    }

    /// The SYN-ACK tells about the cookie and about the data (`tcp_rcv_fastopen_synack`). True if data must be sent again, which acknowledges as well.
    func concludeFastOpen(_ e: EndpointPointer, _ segment: Segment) -> Bool {
        let asked = e.pointee.flags.contains(.fastOpenAsked)
        let hadData = e.pointee.flags.contains(.sentSynData)
        guard asked || hadData else { return false }
        e.pointee.flags.subtract([.fastOpenAsked, .sentSynData])
        completeZeroCopy(e)
        var memory = fastOpenMemory[e.pointee.remoteAddress] ?? FastOpenMemory()
        if segment.maximumSegment > 0 { memory.maximumSegment = segment.maximumSegment }
        if segment.cookieLength > 0, let bytes = segment.cookie {
            memory.cookie = FastOpenCookie(bytes, length: segment.cookieLength, isExperimental: segment.isCookieExperimental)
        } else if segment.cookieLength < 0, !hadData, e.cold.pointee.synRetries == 0 {
            memory.experiment = max(memory.experiment, memory.experiment == 1 ? 2 : 1)
        }
        fastOpenMemory[e.pointee.remoteAddress] = memory
        guard hadData else { return false }
        while e.cold.pointee.sent.count > 0, e.cold.pointee.sent[0].end.isAtOrBefore(e.pointee.unacknowledged) { e.cold.pointee.sent.removeFirst(pool) }
        e.cold.pointee.heldPackets = UInt32(e.cold.pointee.sent.count)
        guard e.cold.pointee.sent.count > 0 else {
            e.pointee.flags.insert(.synData)
            statistics.ext.TCPFastOpenActive += 1
            return false
        }
        if e.cold.pointee.sent[0].start.isBefore(e.pointee.unacknowledged) { e.cold.pointee.sent.pointer(0).pointee.start = e.pointee.unacknowledged }
        statistics.ext.TCPFastOpenActiveFail += 1
        e.cold.pointee.fastOpenFailure = e.cold.pointee.totalRetransmissions > 0 ? .synRepeated : .dataNotAcknowledged
        // Not a sign of congestion (`tcp_non_congestion_loss_retransmit`).
        markLost(e, e.cold.pointee.sent.pointer(0))
        resendWithoutReduction(e)
        return e.pointee.state == .established
    }
}

// MARK: black holes

extension TransportStack {
    /// The pause is so long, doubled each time but no more than 64 times it (`tcp_fastopen_active_should_disable`).
    var isFastOpenPaused: Bool {
        guard fastOpenPause.times > 0, settings.tcp_fastopen_blackhole_timeout > .zero else { return false }
        let length = UInt64(settings.tcp_fastopen_blackhole_timeout.nanoseconds) << UInt64(min(fastOpenPause.times - 1, 6))
        return now.nanoseconds < fastOpenPause.since + length
    }

    private func pauseFastOpen() {
        guard settings.tcp_fastopen_blackhole_timeout > .zero else { return }
        fastOpenPause.times += 1
        fastOpenPause.since = now.nanoseconds
        statistics.ext.TCPFastOpenBlackhole += 1
    }

    /// The third timeout in a row, or the end of a connection before it (`tcp_fastopen_active_detect_blackhole`).
    func suspectBlackHole(_ e: EndpointPointer, timeouts: UInt8, isOver: Bool) { if timeouts == 2 || (timeouts < 2 && isOver) { pauseFastOpen() } }

    /// A FIN beyond data that was lost, and nothing else, came back: the data may have been swallowed. A connection that brought data ends the pauses
    /// (`tcp_fastopen_active_disable_ofo_check`).
    func concludeFastOpenPath(_ e: EndpointPointer) {
        if e.cold.pointee.dataSegmentsIn == 0 {
            if e.cold.pointee.outOfOrderFIN, e.cold.pointee.outOfOrder.count <= 1 { pauseFastOpen() }
        } else if !e.pointee.flags.contains(.localRoute) {
            fastOpenPause.times = 0
        }
    }

    /// A FIN beyond the window's edge for a program that is gone (`tcp_rcv_state_process`).
    func suspectBlackHole(_ e: EndpointPointer, _ segment: Segment) { if segment.isFIN, e.pointee.flags.contains(.triedFastOpen) { pauseFastOpen() } }
}

/// SipHash-2-4 (Aumasson and Bernstein, 2012) over whole 64-bit words.
struct SipHash24 {
    private var v: (UInt64, UInt64, UInt64, UInt64)

    init(_ key: (UInt64, UInt64)) {
        v = (key.0 ^ 0x736f_6d65_7073_6575, key.1 ^ 0x646f_7261_6e64_6f6d, key.0 ^ 0x6c79_6765_6e65_7261, key.1 ^ 0x7465_6462_7974_6573)
    }

    private static func rotate(_ x: UInt64, _ n: UInt64) -> UInt64 { x << n | x >> (64 - n) }

    private mutating func round() {
        v.0 = v.0 &+ v.1
        v.1 = SipHash24.rotate(v.1, 13) ^ v.0
        v.0 = SipHash24.rotate(v.0, 32)
        v.2 = v.2 &+ v.3
        v.3 = SipHash24.rotate(v.3, 16) ^ v.2
        v.0 = v.0 &+ v.3
        v.3 = SipHash24.rotate(v.3, 21) ^ v.0
        v.2 = v.2 &+ v.1
        v.1 = SipHash24.rotate(v.1, 17) ^ v.2
        v.2 = SipHash24.rotate(v.2, 32)
    }

    mutating func add(_ word: UInt64) {
        v.3 ^= word
        round()
        round()
        v.0 ^= word
    }

    mutating func finish(byteCount: Int) -> UInt64 {
        add(UInt64(byteCount & 255) << 56)
        v.2 ^= 0xff
        for _ in 0..<4 { round() }
        return v.0 ^ v.1 ^ v.2 ^ v.3
    }
}
