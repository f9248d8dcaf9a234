import HairpinEngine
import HairpinWire

extension TransportStack {
    /// Milliseconds on this connection's own clock (RFC 7323 §5.4; Linux randomises the offset).
    func timestamp(_ e: EndpointPointer) -> UInt32 { UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000) &+ e.pointee.timestampOffset }

    /// Bytes of options a segment of an established connection carries now (`tcp_established_options`).
    func optionSize(_ e: EndpointPointer) -> Int {
        var size = e.pointee.flags.contains(.timestamps) ? OptionSize.timestamps : 0
        let blocks = selectiveAckCount(e, room: OptionSize.all - size)
        if blocks > 0 { size += OptionSize.selectiveAckBase + blocks * OptionSize.selectiveAckBlock }
        return size
    }

    func selectiveAckCount(_ e: EndpointPointer, room: Int) -> Int {
        guard e.pointee.flags.contains(.selectiveAcks) else { return 0 }
        let most = min(4, (room - OptionSize.selectiveAckBase) / OptionSize.selectiveAckBlock)
        var wanted = e.pointee.flags.contains(.duplicateSACK) ? 1 : 0
        var index = 0
        while wanted < most, index < e.cold.pointee.outOfOrder.count {
            if e.cold.pointee.outOfOrder[index].touched != 0 { wanted += 1 }
            index += 1
        }
        return min(wanted, most)
    }

    /// Writes the SACK option: a duplicate's block first (RFC 2883 §4), then the ranges, most recently changed first (RFC 2018 §4).
    private func putSelectiveAcks(_ e: EndpointPointer, _ p: UnsafeMutableRawPointer, count: Int) {
        p.put(UInt32(0x0101_0500) | UInt32(2 + 8 * count), at: 0)
        var slot = 0
        var below = UInt32.max
        if e.pointee.flags.contains(.duplicateSACK) {
            p.put(e.cold.pointee.duplicateStart.rawValue, at: 4)
            p.put(e.cold.pointee.duplicateEnd.rawValue, at: 8)
            slot = 1
        }
        while slot < count {
            var best = -1
            for i in 0..<e.cold.pointee.outOfOrder.count {
                let range = e.cold.pointee.outOfOrder[i]
                if range.touched != 0, range.touched < below, best < 0 || range.touched > e.cold.pointee.outOfOrder[best].touched { best = i }
            }
            guard best >= 0 else { break }
            let range = e.cold.pointee.outOfOrder[best]
            p.put(range.start.rawValue, at: 4 + 8 * slot)
            p.put(range.end.rawValue, at: 8 + 8 * slot)
            below = range.touched
            slot += 1
        }
    }

    /// Sends one segment of a connection (`__tcp_transmit_skb`): header, options, `count` bytes of the stream from `sequence` on, checksum.
    @discardableResult
    func transmit(_ e: EndpointPointer, sequence: SequenceNumber, count: Int, flags: TCPFlags, cutFromBurst: Bool = false) -> Errno? {
        let isSYN = flags.contains(.syn)
        let stamps = e.pointee.flags.contains(.timestamps)
        var optionBytes: Int
        var blocks = 0
        if isSYN {
            optionBytes = synOptionSize(e)
        } else {
            optionBytes = stamps ? OptionSize.timestamps : 0
            if e.pointee.flags.contains(.duplicateSACK) || e.cold.pointee.outOfOrder.count > 0 {
                blocks = selectiveAckCount(e, room: OptionSize.all - optionBytes)
                if blocks > 0 { optionBytes += OptionSize.selectiveAckBase + blocks * OptionSize.selectiveAckBlock }
            }
        }
        let header = 20 + optionBytes
        guard let packet = network.allocate(header + count), let p = packet.payload.baseAddress else { return .noBuffers }
        let isSYNACK = isSYN && flags.contains(.ack)
        var flags = flags
        // DCTCP marks every packet (`INET_ECN_xmit`).
        var codePoint: UInt8 = e.cold.pointee.congestion == .dctcp ? CongestionNotification.ect0 : 0
        if e.cold.pointee.ecn.rawValue != 0 {
            flags.formUnion(ecnFlags(e, isSYN: isSYN, isSYNACK: isSYNACK))
            // New data only: neither ACKs nor what is sent again (RFC 3168 §6.1.4, §6.1.5).
            if count > 0, !isSYN, !sequence.isBefore(e.pointee.sendNext), e.cold.pointee.ecn.contains(.agreed) {
                codePoint = CongestionNotification.ect0
                if e.cold.pointee.ecn.contains(.queuesCWR) {
                    e.cold.pointee.ecn.remove(.queuesCWR)
                    flags.insert(.cwr)
                }
            }
        }
        let window: UInt16
        if isSYN {
            window = UInt16(min(e.pointee.receiveWindow, 65_535))  // RFC 7323 §2.2: the window of a SYN is never scaled
        } else if e.pointee.state == .synReceived, e.cold.pointee.listener != nil, !e.pointee.flags.contains(.fastOpenChild) {
            window = UInt16(min(e.pointee.receiveWindow, 65_535) >> UInt32(e.pointee.receiveScale))  // a request's (`tcp_synack_window`)
        } else {
            window = selectWindow(e)
        }
        p.put(e.pointee.localPort, at: TCPOffset.sourcePort)
        p.put(e.pointee.remotePort, at: TCPOffset.destinationPort)
        p.put(sequence.rawValue, at: TCPOffset.sequence)
        p.put(flags.contains(.ack) ? e.pointee.receiveNext.rawValue : 0, at: TCPOffset.acknowledgment)
        p.put(UInt8((header / 4) << 4), at: TCPOffset.dataOffset)
        p.put(flags.rawValue, at: TCPOffset.flags)
        p.put(window, at: TCPOffset.window)
        p.put(UInt32(0), at: TCPOffset.checksum)  // and the urgent pointer
        if e.pointee.flags.contains(.urgentOut), !isSYN, let pointer = urgentPointer(e, sequence) {
            p.put((flags.union(.urg)).rawValue, at: TCPOffset.flags)
            p.put(pointer, at: TCPOffset.urgentPointer)
        }
        if isSYN {
            putSYNOptions(e, p + 20, isSYNACK: isSYNACK)
        } else if stamps {
            p.put(UInt32(0x0101_080a), at: 20)
            p.put(timestamp(e), at: 24)
            p.put(e.pointee.recentTimestamp, at: 28)
        }
        if blocks > 0 { putSelectiveAcks(e, p + 20 + (stamps ? OptionSize.timestamps : 0), count: blocks) }
        if count > 0 { e.cold.pointee.sendRing.read(p + header, count: count, at: (isSYN ? sequence + 1 : sequence).rawValue) }
        if !isSYN { e.pointee.flags.remove(.duplicateSACK) }

        if flags.contains(.ack) { ackSent(e) }
        e.cold.pointee.segmentsOut &+= 1
        if count > 0 {
            e.cold.pointee.dataSegmentsOut &+= 1
            e.cold.pointee.bytesSent &+= UInt64(count)
            dataSent(e)
        }
        statistics.segmentsSent += 1
        e.cold.pointee.lastTransmission = now.nanoseconds
        return emit(
            e, packet, count: header + count, codePoint: codePoint, identification: isSYNACK ? .zero : .value(nextIdentification(e)), cutFromBurst: cutFromBurst)
    }

    func nextIdentification(_ e: EndpointPointer) -> UInt16 {
        let id = e.pointee.identification
        e.pointee.identification = id &+ 1
        return id
    }

    /// Finishes the checksum and hands the packet down.
    private func emit(
        _ e: EndpointPointer, _ packet: PacketBuffer, count: Int, codePoint: UInt8, identification: IdentificationPolicy, cutFromBurst: Bool
    ) -> Errno? {
        let p = packet.payload.baseAddress.unsafelyUnwrapped
        let sum = InternetChecksum.checksum(
            UnsafeRawBufferPointer(start: p, count: count),
            initial: InternetChecksum.pseudoHeader(
                source: e.pointee.localAddress, destination: e.pointee.remoteAddress, protocol: IPProtocol.tcp.rawValue, length: count))
        p.put(sum, at: TCPOffset.checksum)
        var request = SendRequest(source: e.pointee.localAddress, destination: e.pointee.remoteAddress, proto: .tcp)
        request.timeToLive = e.cold.pointee.timeToLive
        request.typeOfService = e.cold.pointee.typeOfService & ~3 | codePoint
        // A SYN-ACK is too small to be cut (`ip_build_and_send_pkt`).
        request.dontFragment = !e.pointee.flags.contains(.mayBeCut) || e.pointee.state == .synReceived
        request.identification = identification
        request.socket = e.pointee.socket
        request.isCutFromBurst = cutFromBurst
        if !e.pointee.flags.isDisjoint(with: [.confirmsNeighbour, .routeStale]) {
            request.confirmsNeighbour = e.pointee.flags.contains(.confirmsNeighbour)
            if e.pointee.flags.contains(.routeStale) { e.pointee.flags.insert(.routeChanged) }
            e.pointee.flags.subtract([.confirmsNeighbour, .routeStale])
        }
        departure.pointee = 0
        return network.send(packet, request)
    }

    /// `tcp_event_data_sent`: a reply soon after data makes the connection interactive.
    private func dataSent(_ e: EndpointPointer) {
        let jiffies = TimerWheel.jiffies(now)
        if e.pointee.inFlight == 0 {
            if e.cold.pointee.congestion == .cubic { cubicResume(e) } else if e.cold.pointee.congestion == .bbr { resumeBBR(e) }
        }
        e.cold.pointee.lastSent = jiffies
        if jiffies &- e.cold.pointee.lastReceived < UInt64(e.pointee.ackTimeout), e.pointee.pingPong < .max { e.pointee.pingPong += 1 }
    }

    /// A pure ACK (`tcp_send_ack`).
    func sendAck(_ e: EndpointPointer) {
        guard e.pointee.state != .closed else { return }
        transmit(e, sequence: acceptableSequence(e), count: 0, flags: .ack)
    }

    /// The sequence number of segments without data (`tcp_acceptable_seq`): never beyond a window that shrank.
    func acceptableSequence(_ e: EndpointPointer) -> SequenceNumber {
        let end = e.pointee.windowEnd
        if !end.isBefore(e.pointee.sendNext) { return e.pointee.sendNext }
        if e.pointee.flags.contains(.windowScaling), e.pointee.sendNext - end < 1 << Int(e.pointee.receiveScale) { return e.pointee.sendNext }
        return end
    }
}
