import HairpinEngine
import HairpinWire

/// Calls that open or close a connection in less usual ways.
extension TransportStack {
    /// Whether the next send(2) on the socket opens its connection (TCP_FASTOPEN_CONNECT deferred it).
    public func opensOnSend(_ socket: SocketID) -> Bool { table.stream(socket)?.pointee.flags.contains(.connectDeferred) ?? false }

    /// sendto(2) with MSG_FASTOPEN, or the first send after a deferred connect (`tcp_sendmsg_fastopen`). Returns how many bytes went with the SYN; throws
    /// EINPROGRESS if it carried none.
    public func sendOpening(_ socket: SocketID, _ bytes: ArraySlice<UInt8>, to address: SocketAddress?, flags: TransferFlags = []) throws(Errno) -> Int {
        try entry { () throws(Errno) in
            guard let e = table.stream(socket) else { throw .badFileDescriptor }
            guard settings.tcp_fastopen & 1 != 0 else { throw .notSupported }
            if e.pointee.state != .closed {
                // A connect under way may be finished by now; otherwise EALREADY, EISCONN.
                _ = try connectStream(e, SocketAddress(e.pointee.remoteAddress, e.pointee.remotePort), fastOpen: nil)
                return try owning(e) { () throws(Errno) in try withBytes(bytes) { (buffer) throws(Errno) in try sendStream(e, buffer, flags) } }
            }
            let target = address ?? SocketAddress(e.pointee.remoteAddress, e.pointee.remotePort)
            e.pointee.flags.remove(.connectDeferred)
            let carried = try withBytes(bytes) { (buffer) throws(Errno) in try connectStream(e, target, fastOpen: buffer) }
            if carried > 0, flags.contains(.zeroCopy), e.pointee.flags.contains(.zeroCopy) { noteZeroCopy(e, sharesPacket: false) }
            return carried
        }
    }

    /// A program waits in send(2) until the connection opens, or no more: its data goes with the last ACK of the handshake (`sk_stream_wait_connect`).
    public func awaitOpening(_ socket: SocketID, _ waits: Bool) {
        guard let e = table.stream(socket), !waits || e.pointee.state == .synSent else { return }
        setFlag(e, .writePending, waits)
    }

    /// TCP_SAVE_SYN of a listener: the headers of the SYN, IP's and TCP's, are kept for the child, which has the option too (`tcp_reqsk_record_syn`).
    func saveSYN(_ segment: Segment, _ headers: UnsafeRawBufferPointer, mode: Int) {
        guard let child = connections.find(segment.destination, segment.destinationPort, segment.source, segment.sourcePort), child.pointee.flags.contains(.unaccepted),
            streamExtras[child.pointee.socket.rawValue]?.savedSYN.isEmpty != false
        else { return }
        streamExtras[child.pointee.socket.rawValue, default: StreamExtras()].savesSYN = mode
        streamExtras[child.pointee.socket.rawValue]?.savedSYN = Array(headers)
    }

    /// TCP_SAVED_SYN: the headers of the SYN that a child came of; empty if none were kept, or once they have been read. Throws `Errno.invalid` if they are
    /// more than `room` bytes.
    public func takeSavedSYN(_ socket: SocketID, room: Int) throws(Errno) -> [UInt8] {
        guard table.stream(socket) != nil else { throw .badFileDescriptor }
        guard let bytes = streamExtras[socket.rawValue]?.savedSYN, !bytes.isEmpty else { return [] }
        guard bytes.count <= room else { throw .invalid }
        streamExtras[socket.rawValue]?.savedSYN = []
        return bytes
    }

    /// TCP_FASTOPEN_KEY: the sixteen bytes of a listener's own key; sixteen more, for cookies made earlier, are accepted and not used.
    public func setFastOpenKey(_ socket: SocketID, _ bytes: [UInt8]) throws(Errno) {
        guard table.stream(socket) != nil else { throw .badFileDescriptor }
        guard bytes.count == 16 || bytes.count == 32 else { throw .invalid }
        func word(_ at: Int) -> UInt64 { (0..<8).reduce(0) { $0 | UInt64(bytes[at + $1]) << UInt64(8 * $1) } }
        streamExtras[socket.rawValue, default: StreamExtras()].fastOpenKey = (word(0), word(8))
    }

    /// The socket's own key; empty where it goes by the namespace's (`tcp_fastopen_get_cipher`).
    public func fastOpenKey(_ socket: SocketID) -> [UInt8] {
        guard let key = streamExtras[socket.rawValue]?.fastOpenKey else { return [] }
        return [key.0, key.1].flatMap { half in (0..<8).map { UInt8(truncatingIfNeeded: half >> UInt64(8 * $0)) } }
    }

    /// connect(2) with AF_UNSPEC (`tcp_disconnect`): the connection is aborted, and the socket can be used again.
    public func disconnect(_ socket: SocketID) throws(Errno) {
        try entry { () throws(Errno) in
            guard let e = table.stream(socket) else { throw .badFileDescriptor }
            disconnect(e)
        }
    }

    /// `tcp_disconnect`
    func disconnect(_ e: EndpointPointer) {
        var error = Errno.connectionReset.rawValue
        switch e.pointee.state {
        case .listen:
            closeListenerChildren(e)
            return notify(e)
        case .established, .closeWait, .finWait1, .finWait2, .synReceived: sendReset(e)
        case .closing, .lastAck: if e.pointee.unsent > 0 || finUnsent(e) { sendReset(e) }
        case .synSent: break
        case .closed, .timeWait: error = 0
        }
        let wasBound = e.pointee.flags.contains(.portBound)
        becomeClosed(e)
        if !wasBound { e.pointee.localAddress = .any }
        e.cold.pointee.received.release(pool)
        e.cold.pointee.receiveRing.release(pool)
        e.pointee.receiveMemory = 0
        e.pointee.copied = e.pointee.receiveNext
        e.cold.pointee.pendingError = error
        e.pointee.phase = .open
        e.pointee.window = 10
        (e.pointee.sackedOut, e.pointee.lostOut, e.pointee.retransOut) = (0, 0, 0)
        (e.cold.pointee.smoothedRTT, e.cold.pointee.deviation, e.cold.pointee.minimumRTT, e.cold.pointee.reordering) = (0, 0, .max, 0)
        e.cold.pointee.roundTrips = WindowedMinimum()
        (e.pointee.retransmitTimeout, e.cold.pointee.backoff, e.cold.pointee.retransmits, e.cold.pointee.probesOut) = (250, 0, 0, 0)
        (e.cold.pointee.delivered, e.cold.pointee.deliveredMarked, e.cold.pointee.totalRetransmissions, e.cold.pointee.reorderingEvents, e.cold.pointee.duplicateReports) = (0, 0, 0, 0, 0)
        (e.cold.pointee.segmentsIn, e.cold.pointee.segmentsOut, e.cold.pointee.dataSegmentsIn, e.cold.pointee.dataSegmentsOut) = (0, 0, 0, 0)
        (e.cold.pointee.bytesSent, e.cold.pointee.bytesRetransmitted, e.cold.pointee.bytesAcknowledged, e.cold.pointee.bytesReceived) = (0, 0, 0, 0)
        e.cold.pointee.rate = DeliveryRate()
        e.cold.pointee.fastOpenFailure = .none
        (e.cold.pointee.receivedMarked, e.cold.pointee.receivedBytes) = (0, (0, 0, 0))
        e.pointee.peerSegment = UInt16(TransportStack.leastSegment)
        e.cold.pointee.slowStartThreshold = .max
        e.pointee.flags.subtract([
            .receiveShut, .sendShut, .finQueued, .finReceived, .handshakeDone, .synData, .sentSynData, .fastOpenAsked, .connectDeferred, .timestamps, .selectiveAcks,
            .windowScaling, .connecting, .bornOpen, .triedFastOpen, .writePending, .routeStale,
        ])
        notify(e)
    }
}
