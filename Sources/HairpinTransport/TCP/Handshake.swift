import HairpinEngine
import HairpinWire

/// Opening a connection, actively and passively (RFC 9293 §3.5, §3.10.7.2 to §3.10.7.4).
extension TransportStack {
    /// RFC 6528: a secret function of the four-tuple plus a clock of 64 ns, so that a later connection between the same ports has later numbers
    /// (`secure_tcp_seq`); the timestamp clock's offset depends on the addresses alone (`secure_tcp_ts_off`).
    private func chooseNumbers(_ e: EndpointPointer) {
        let addresses = UInt64(e.pointee.localAddress.rawValue) << 32 | UInt64(e.pointee.remoteAddress.rawValue)
        let offset = keyed(addresses)
        let ports = UInt64(e.pointee.localPort) << 16 | UInt64(e.pointee.remotePort)
        e.pointee.timestampOffset = UInt32(truncatingIfNeeded: offset)
        e.cold.pointee.initialSend = SequenceNumber(UInt32(truncatingIfNeeded: keyed(offset ^ ports) &+ now.nanoseconds >> 6))
        e.pointee.identification = random.next16()
    }

    /// A hash of `value` under this namespace's secret.
    func keyed(_ value: UInt64) -> UInt64 {
        var h = value ^ portSecret
        h = (h ^ h >> 33) &* 0xff51_afd7_ed55_8ccd
        h = (h ^ h >> 33) &* 0xc4ce_b9fe_1a85_ec53
        return h ^ h >> 33
    }

    private func startSequence(_ e: EndpointPointer) {
        let iss = e.cold.pointee.initialSend
        e.pointee.unacknowledged = iss
        e.pointee.sendNext = iss + 1
        e.pointee.writeEnd = iss + 1
        e.cold.pointee.lastSmall = iss
        e.pointee.pushed = iss + 1
        e.cold.pointee.windowUsedMark = iss
    }

    /// MSS from the route and TCP_MAXSEG; options this namespace offers (`tcp_connect_init`).
    private func prepare(_ e: EndpointPointer, route: TransportRoute) {
        e.cold.pointee.pathMTU = UInt32(route.mtu)
        if route.isLocal { e.pointee.flags.insert(.localRoute) }
        e.cold.pointee.advertisedSegment = advertisedMaximum(e)
        e.cold.pointee.segmentClamp = e.cold.pointee.userSegment == 0 ? 65_495 : e.cold.pointee.userSegment
        e.pointee.window = 10
    }

    /// Sends the SYN, with data if the caller has some and the server gave a cookie (`fastOpen`); returns how much of it went.
    @discardableResult
    func startConnecting(_ e: EndpointPointer, route: TransportRoute, number: SequenceNumber? = nil, fastOpen: UnsafeRawBufferPointer? = nil) -> Int {
        prepare(e, route: route)
        if settings.tcp_timestamps { e.pointee.flags.insert(.timestamps) }
        if settings.tcp_sack { e.pointee.flags.insert(.selectiveAcks) }
        if settings.tcp_window_scaling { e.pointee.flags.insert(.windowScaling) }
        e.cold.pointee.ecn = offersECN(e) ? .agreed : []
        chooseNumbers(e)
        if let number { e.cold.pointee.initialSend = number }
        startSequence(e)
        selectInitialWindow(e, segment: Int(e.cold.pointee.advertisedSegment))
        e.pointee.windowUpdate = SequenceNumber(0)
        e.pointee.retransmitTimeout = 250
        e.pointee.state = .synSent
        e.cold.pointee.synSentAt = now.nanoseconds
        statistics.activeOpens += 1
        var carried = 0
        if let bytes = fastOpen {
            let mayCarry = prepareFastOpen(e)
            if e.cold.pointee.cookie.length >= 0 || mayCarry { e.pointee.flags.formUnion([.fastOpenAsked, .triedFastOpen]) }
            if mayCarry {
                carried = sendOpeningSYN(e, bytes)
            } else {
                transmit(e, sequence: e.cold.pointee.initialSend, count: 0, flags: .syn)
            }
            // A repeated SYN has neither cookie nor data (RFC 7413 §4.1.3).
            e.cold.pointee.cookie = FastOpenCookie()
        } else {
            transmit(e, sequence: e.cold.pointee.initialSend, count: 0, flags: .syn)
        }
        if e.pointee.state == .synSent { arm(e, .retransmission, ticks: 250) }
        return carried
    }

    /// One second, and again for `tcp_syn_linear_timeouts` times, then twice as long each time (`tcp_retransmit_timer`).
    func synTimeout(_ e: EndpointPointer) {
        statistics.timeouts += 1
        let retries = e.cold.pointee.synCount > 0 ? Int(e.cold.pointee.synCount) : settings.tcp_syn_retries
        // The time is that of so many doublings, whatever came linearly before them (`tcp_write_timeout`).
        let limit = e.cold.pointee.userTimeout > 0 ? e.cold.pointee.userTimeout : modelTimeout(e, retries, base: 1_000_000_000)
        let isOverdue = e.cold.pointee.synRetries > 0 && Int64(now.nanoseconds &- e.cold.pointee.synSentAt) >= limit
        let isOver = Int(e.cold.pointee.synRetries) >= retries + settings.tcp_syn_linear_timeouts || isOverdue
        if e.pointee.flags.contains(.triedFastOpen) { suspectBlackHole(e, timeouts: e.cold.pointee.synRetries, isOver: isOver) }
        if isOver {
            statistics.attemptFails += 1
            return abortTimedOut(e)
        }
        e.cold.pointee.rehashes &+= 1
        queueCWR(e)  // `tcp_enter_loss`
        countTimeout(e, isFirst: e.cold.pointee.synRetries == 0)
        e.cold.pointee.synRetries += 1
        // One that still waits for a neighbour's address is not joined by a second.
        if network.packetsHeld(by: e.pointee.socket) == 0 {
            statistics.retransmitted += 1
            statistics.ext.TCPSynRetrans += 1
            e.cold.pointee.totalRetransmissions &+= 1
            transmit(e, sequence: e.cold.pointee.initialSend, count: 0, flags: .syn)
            guard e.pointee.state == .synSent else { return }
        }
        if Int(e.cold.pointee.synRetries) > settings.tcp_syn_linear_timeouts {
            e.pointee.retransmitTimeout = min(e.pointee.retransmitTimeout << 1, maximumTimeoutTicks(e))
        }
        arm(e, .retransmission, ticks: boundToUserTimeout(e))
    }

    /// What the peer's SYN settles: its options and its first sequence number.
    private func learnFromSYN(_ e: EndpointPointer, _ segment: Segment) {
        e.cold.pointee.initialReceive = segment.sequence
        e.pointee.receiveNext = segment.sequence + 1
        e.pointee.windowUpdate = e.pointee.receiveNext
        e.pointee.copied = e.pointee.receiveNext
        let offered = segment.maximumSegment == 0 ? 536 : segment.maximumSegment
        e.cold.pointee.segmentClamp = e.cold.pointee.userSegment == 0 ? offered : min(offered, e.cold.pointee.userSegment)
        if !segment.sackPermitted { e.pointee.flags.remove(.selectiveAcks) }
        if let scale = segment.windowScale, e.pointee.flags.contains(.windowScaling) {
            e.pointee.sendScale = scale
        } else {
            e.pointee.flags.remove(.windowScaling)
            e.pointee.sendScale = 0
        }
        if segment.hasTimestamp, e.pointee.flags.contains(.timestamps) {
            e.pointee.recentTimestamp = segment.timestampValue
            e.cold.pointee.recentTimestampAt = max(1, now.nanoseconds)
        } else {
            e.pointee.flags.remove(.timestamps)
        }
    }

    /// Both sides are known to each other (`tcp_finish_connect`, `tcp_init_transfer`).
    private func establish(_ e: EndpointPointer, _ segment: Segment, roundTripSince sentAt: UInt64, retries: UInt8) {
        let isCrossed = e.pointee.hasCrossedSYN
        // SYNs that crossed leave the scale as it was offered (`tcp_rcv_synsent_state_process` clears it for a SYN-ACK only).
        if !e.pointee.flags.contains(.windowScaling), !isCrossed {
            e.pointee.receiveScale = 0
            e.cold.pointee.windowClamp = min(e.cold.pointee.windowClamp, 65_535)
        }
        if e.pointee.flags.contains(.timestamps) { e.cold.pointee.advertisedSegment -= UInt16(OptionSize.timestamps) }
        e.pointee.unacknowledged = segment.acknowledgment
        e.pointee.sendWindow = UInt32(segment.window) << (segment.isSYN ? 0 : UInt32(e.pointee.sendScale))
        e.cold.pointee.maximumWindow = e.pointee.sendWindow
        e.pointee.windowSequence = segment.sequence
        e.cold.pointee.recentAckAt = now.nanoseconds
        // Only the side that opens begins with the small MSS of the search: the other's is settled before (`tcp_v4_syn_recv_sock`, `tcp_mtup_init`).
        if e.cold.pointee.listener == nil { startMTUSearch(e) }
        synchronizeSegment(e)
        if e.cold.pointee.listener != nil { startMTUSearch(e) }
        let hint = min(Int(e.cold.pointee.advertisedSegment), Int(e.pointee.segmentSize), Int(e.pointee.receiveWindow) / 2, 536)
        e.pointee.peerSegment = UInt16(max(hint, TransportStack.leastSegment))
        e.pointee.retransmitTimeout = 250
        if retries == 0 {
            let sample = UInt32(clamping: max(1, (now.nanoseconds &- sentAt) / 1000))
            updateMinimumRTT(e, microseconds: sample)
            addRTTSample(e, microseconds: sample)
        } else if e.pointee.flags.contains(.timestamps), segment.timestampEcho != 0 {
            let delta = timestamp(e) &- segment.timestampEcho
            if delta < TransportStack.oldestEcho {
                let sample = max(1, delta) &* 1000
                updateMinimumRTT(e, microseconds: sample)
                addRTTSample(e, microseconds: sample)
            }
        }
        // The first timestamp comes back: it was for nothing that the SYN was repeated (`tcp_try_undo_spurious_syn`).
        let first = UInt32(truncatingIfNeeded: sentAt / 1_000_000) &+ e.pointee.timestampOffset
        let isSpurious = e.pointee.flags.contains(.timestamps) && segment.hasTimestamp && segment.timestampEcho == first
        e.pointee.window = retries > 1 && !isSpurious ? 1 : 10
        endTimeouts(e)
        // RFC 6298 §5.7: no sample, for the SYN was repeated.
        if e.cold.pointee.smoothedRTT == 0 { e.pointee.retransmitTimeout = TransportStack.fallbackTimeout }
        e.cold.pointee.lastSent = TimerWheel.jiffies(now)
        e.pointee.state = .established
        e.pointee.flags.insert(.handshakeDone)
        // The SYN itself is the first segment delivered; one that crossed another is counted again when its number is acknowledged.
        e.cold.pointee.delivered &+= isCrossed ? 2 : 1
        if isCrossed { e.cold.pointee.segmentsIn &+= 1 }
        startCongestionControl(e)
        if e.cold.pointee.listener != nil { updatePacingRate(e) }
        e.cold.pointee.windowStamp = TimerWheel.jiffies(now)
        disarm(e)
        e.pointee.slowDeadline = .max
        if e.cold.pointee.listener != nil {
            // A child begins with the SYN, and the segment that makes it a connection; its SYN-ACK was the request's (`tcp_create_openreq_child`).
            (e.cold.pointee.segmentsIn, e.cold.pointee.segmentsOut) = (2, 0)
            if !segment.payload.isEmpty { e.cold.pointee.dataSegmentsIn = 1 }
            e.cold.pointee.lastReceived = TimerWheel.jiffies(now)
        }
        // An active opener counts its SYN, and data that went with it.
        if e.cold.pointee.listener == nil { e.cold.pointee.bytesAcknowledged = UInt64(max(0, segment.acknowledgment - e.cold.pointee.initialSend)) }
        initializeBuffers(e)
        if e.pointee.flags.contains(.keepAlive) { startKeepAlive(e) }
    }

    /// What `establish` settles that data before the last ACK needs (`tcp_init_transfer`).
    func prepareTransfer(_ e: EndpointPointer) {
        if !e.pointee.flags.contains(.windowScaling) {
            e.pointee.receiveScale = 0
            e.cold.pointee.windowClamp = min(e.cold.pointee.windowClamp, 65_535)
        }
        if e.pointee.flags.contains(.timestamps) { e.cold.pointee.advertisedSegment -= UInt16(OptionSize.timestamps) }
        synchronizeSegment(e)
        let hint = min(Int(e.cold.pointee.advertisedSegment), Int(e.pointee.segmentSize), Int(e.pointee.receiveWindow) / 2, 536)
        e.pointee.peerSegment = UInt16(max(hint, TransportStack.leastSegment))
        e.pointee.retransmitTimeout = TransportStack.fallbackTimeout
        startMTUSearch(e)
        startCongestionControl(e)
        e.cold.pointee.windowStamp = TimerWheel.jiffies(now)
        initializeBuffers(e)
    }

    /// The last ACK of a connection that Fast Open opened (`tcp_rcv_synrecv_state_fastopen`).
    private func establishFast(_ e: EndpointPointer, _ segment: Segment) -> Reception {
        completeFastOpen(e)
        if e.cold.pointee.totalRetransmissions == 0 {
            let sample = UInt32(clamping: max(1, (now.nanoseconds &- e.cold.pointee.synSentAt) / 1000))
            updateMinimumRTT(e, microseconds: sample)
            addRTTSample(e, microseconds: sample)
        }
        e.cold.pointee.retransmits = 0
        endTimeouts(e)
        e.pointee.slowDeadline = .max
        rearmRetransmission(e)
        e.cold.pointee.delivered &+= 1
        e.pointee.sendWindow = UInt32(segment.window) << UInt32(e.pointee.sendScale)
        e.cold.pointee.maximumWindow = max(e.cold.pointee.maximumWindow, e.pointee.sendWindow)
        e.pointee.windowSequence = segment.sequence
        e.cold.pointee.lastSent = TimerWheel.jiffies(now)
        if e.pointee.state == .synReceived { e.pointee.state = .established }
        e.pointee.flags.insert(.handshakeDone)
        statistics.passiveOpens += 1
        if e.pointee.flags.contains(.keepAlive) { startKeepAlive(e) }
        notify(e)
        if e.pointee.state == .established, e.pointee.flags.contains(.sendShut) { shutWriting(e) }
        return receiveSynchronized(e, segment)
    }


    // MARK: active

    func receiveSynSent(_ e: EndpointPointer, _ segment: Segment) -> Reception {
        e.cold.pointee.segmentsIn &+= 1
        if !segment.payload.isEmpty { e.cold.pointee.dataSegmentsIn &+= 1 }
        if segment.isACK {
            guard segment.acknowledgment.isAfter(e.pointee.unacknowledged), !segment.acknowledgment.isAfter(e.pointee.sendNext) else {
                // It may be of an earlier connection, which the reset ends: the SYN is tried again at once.
                if e.cold.pointee.synRetries == 0 { arm(e, .retransmission, ticks: 2) }
                if !segment.isReset { sendReset(to: segment) }
                return .delivered
            }
            if segment.hasTimestamp, e.pointee.flags.contains(.timestamps), segment.timestampEcho != 0 {
                // An echo of what this connection never sent (`PAWSActive`).
                let first = UInt32(truncatingIfNeeded: e.cold.pointee.synSentAt / 1_000_000) &+ e.pointee.timestampOffset
                if segment.timestampEcho &- first > timestamp(e) &- first {
                    statistics.ext.PAWSActive += 1
                    if !segment.isReset { sendReset(to: segment) }
                    return .delivered
                }
            }
            if segment.isReset {
                statistics.attemptFails += 1
                receiveReset(e)
                return .delivered
            }
            guard segment.isSYN else { return .delivered }
            learnFromSYN(e, segment)
            concludeECN(e, segment)
            establish(e, segment, roundTripSince: e.cold.pointee.synSentAt, retries: e.cold.pointee.synRetries)
            e.cold.pointee.lastReceived = TimerWheel.jiffies(now)
            e.pointee.flags.insert(.confirmsNeighbour)
            let usesFastOpen = !e.pointee.flags.isDisjoint(with: [.fastOpenAsked, .sentSynData])
            let resent = concludeFastOpen(e, segment)
            notify(e)
            guard e.pointee.state == .established else { return .delivered }
            if resent { return .delivered }
            // Data of a SYN-ACK is taken only by Fast Open (`tcp_fastopen_add_skb`); its sender repeats it otherwise.
            if usesFastOpen, !segment.payload.isEmpty || segment.isFIN {
                _ = queueData(e, segment.withoutSYN())
                // Counted where it came in, and where it was taken; a FIN is no byte here.
                e.cold.pointee.bytesReceived = UInt64(segment.payload.count)
                if !segment.payload.isEmpty { e.cold.pointee.dataSegmentsIn &+= 1 }
            }
            guard e.pointee.state != .closed else { return .delivered }
            let isSaved = isInteractive(e) || e.cold.pointee.deferAccept > 0 || e.pointee.flags.contains(.writePending)
            e.pointee.flags.remove(.writePending)
            if isSaved { saveLastAck(e) } else { sendAck(e) }
            return .delivered
        }
        guard !segment.isReset, segment.isSYN else { return .delivered }
        // Both called at once (RFC 9293 §3.5, figure 7).
        learnFromSYN(e, segment)
        if !segment.flags.isSuperset(of: [.ece, .cwr]) { e.cold.pointee.ecn.remove(.agreed) }  // `tcp_ecn_rcv_syn`
        e.pointee.sendWindow = UInt32(segment.window)
        e.cold.pointee.maximumWindow = e.pointee.sendWindow
        e.pointee.state = .synReceived
        synchronizeSegment(e)
        // The timer of the SYN goes on.
        e.pointee.slowDeadline = e.pointee.retransmitDeadline
        disarm(e)
        e.cold.pointee.synRetries = 0
        sendSynAck(e)
        e.cold.pointee.synSentAt = now.nanoseconds
        schedule(e)
        return .delivered
    }

    // MARK: passive

    func sendSynAck(_ e: EndpointPointer) { transmit(e, sequence: e.cold.pointee.initialSend, count: 0, flags: [.syn, .ack]) }

    /// `tcp_rtx_synack`
    private func repeatSynAck(_ e: EndpointPointer) {
        statistics.retransmitted += 1
        statistics.ext.TCPSynRetrans += 1
        statistics.ext.synAcksRetransmitted += 1
        // How often the request was answered again, of which the connection starts its count (`num_retrans`): a timeout need not, a repeated SYN does.
        e.cold.pointee.totalRetransmissions &+= 1
        // Nothing has been acknowledged yet: until then this is when the SYN-ACK was last sent (`snt_tsval_last`).
        if !e.pointee.flags.contains(.fastOpenChild) { e.cold.pointee.recentAckAt = now.nanoseconds }
        sendSynAck(e)
    }

    /// The accept queue has no room (`LINUX_MIB_LISTENOVERFLOWS`, `tcp_listendrop`).
    func overflow() -> Reception {
        statistics.listenOverflows += 1
        statistics.ext.ListenDrops += 1
        return .bufferFull
    }

    /// `number`: what the numbers of the answer begin with, if a TIME-WAIT record gave way to the SYN, which makes it known to be no attack.
    func receiveListening(_ listener: EndpointPointer, _ segment: Segment, number: SequenceNumber? = nil) -> Reception {
        if segment.isReset { return .delivered }
        if segment.isACK {
            if !streamExtras.isEmpty, let reception = receiveCookie(listener, segment) { return reception }
            sendReset(to: segment)
            return .refused
        }
        guard segment.isSYN, !segment.isFIN else { return .delivered }
        // `tcp_conn_request`: no room for another request, no room for another connection.
        let isFull = number == nil && listener.cold.pointee.handshakes > listener.cold.pointee.backlog
        let wantsCookie = number == nil && settings.tcp_syncookies > 0 && (isFull || settings.tcp_syncookies == 2)
        if wantsCookie { statistics.ext.TCPReqQFullDoCookies += 1 }
        if isFull, !wantsCookie {
            statistics.ext.TCPReqQFullDrop += 1
            statistics.ext.ListenDrops += 1
            return .bufferFull
        }
        guard listener.cold.pointee.acceptCount <= listener.cold.pointee.backlog else { return overflow() }
        if wantsCookie { return answerWithCookie(listener, segment) }
        // Without cookies the last quarter of the namespace's bound is for peers that are known to be alive, of whom nobody keeps a record.
        let most = settings.tcp_max_syn_backlog
        if settings.tcp_syncookies == 0, number == nil, most - Int(listener.cold.pointee.handshakes) < most >> 2 {
            statistics.ext.ListenDrops += 1
            return .bufferFull
        }
        guard let e = makeChild(of: listener, segment) else { return .bufferFull }
        numberChild(e, number)
        listener.cold.pointee.handshakes += 1
        connections.insert(e)
        e.cold.pointee.synSentAt = now.nanoseconds
        if opensFast(e, listener, segment) { openFast(e, listener, segment) }
        sendSynAck(e)
        // The SYN-ACK is the request's, not the connection's.
        e.cold.pointee.segmentsOut = 0
        // The cookie goes once; a repeated SYN-ACK has none.
        e.cold.pointee.cookie = FastOpenCookie()
        armSlow(e, ticks: 250)
        return .delivered
    }

    /// An endpoint for the answer to a SYN: what the listener hands down, what the SYN says, and what both support (`tcp_openreq_init`).
    func makeChild(of listener: EndpointPointer, _ segment: Segment) -> EndpointPointer? {
        guard let route = try? network.route(to: segment.source, from: segment.destination, device: devices[Int(listener.cold.pointee.device)]),
            let e = table.makeStream()
        else { return nil }
        e.pointee.localAddress = segment.destination
        e.pointee.localPort = segment.destinationPort
        e.pointee.remoteAddress = segment.source
        e.pointee.remotePort = segment.sourcePort
        inherit(e, from: listener)
        prepare(e, route: route)
        if settings.tcp_timestamps { e.pointee.flags.insert(.timestamps) }
        if settings.tcp_sack { e.pointee.flags.insert(.selectiveAcks) }
        if settings.tcp_window_scaling { e.pointee.flags.insert(.windowScaling) }
        learnFromSYN(e, segment)
        if acceptsECN(listener, segment) { e.cold.pointee.ecn = .agreed }
        e.pointee.sendWindow = UInt32(segment.window)
        e.pointee.state = .synReceived
        e.cold.pointee.listener = listener
        e.pointee.flags.insert(.unaccepted)
        return e
    }

    /// Its first sequence number (nil: any) and window, in whole segments of `segment` bytes (nil: the largest that fit the route).
    func numberChild(_ e: EndpointPointer, _ number: SequenceNumber?, segment: Int? = nil) {
        chooseNumbers(e)
        if let number { e.cold.pointee.initialSend = number }
        startSequence(e)
        let stamps = e.pointee.flags.contains(.timestamps) ? OptionSize.timestamps : 0
        selectInitialWindow(e, segment: segment ?? Int(e.cold.pointee.advertisedSegment) - stamps)
    }

    func inherit(_ e: EndpointPointer, from listener: EndpointPointer) {
        e.cold.pointee.receiveBuffer = listener.cold.pointee.receiveBuffer
        e.cold.pointee.sendBuffer = listener.cold.pointee.sendBuffer
        e.cold.pointee.timeToLive = listener.cold.pointee.timeToLive
        e.cold.pointee.typeOfService = listener.cold.pointee.typeOfService
        e.cold.pointee.userSegment = listener.cold.pointee.userSegment
        e.cold.pointee.lingerTime = listener.cold.pointee.lingerTime
        e.cold.pointee.userTimeout = listener.cold.pointee.userTimeout
        e.cold.pointee.device = listener.cold.pointee.device
        e.cold.pointee.congestion = listener.cold.pointee.congestion
        e.cold.pointee.keepIdle = listener.cold.pointee.keepIdle
        e.cold.pointee.keepInterval = listener.cold.pointee.keepInterval
        e.cold.pointee.keepCount = listener.cold.pointee.keepCount
        e.cold.pointee.linger2 = listener.cold.pointee.linger2
        e.cold.pointee.notSentLowWater = listener.cold.pointee.notSentLowWater
        (e.cold.pointee.leastTimeout, e.cold.pointee.mostTimeout) = (listener.cold.pointee.leastTimeout, listener.cold.pointee.mostTimeout)
        e.cold.pointee.mostAckDelay = listener.cold.pointee.mostAckDelay
        e.cold.pointee.receiveLowWater = listener.cold.pointee.receiveLowWater
        e.cold.pointee.userClamp = listener.cold.pointee.userClamp
        e.cold.pointee.pathDiscovery = listener.cold.pointee.pathDiscovery
        if listener.cold.pointee.modules != nil { inheritModules(e, from: listener) }
        if listener.pointee.flags.contains(.checksTTL) {
            streamExtras[e.pointee.socket.rawValue, default: StreamExtras()].leastTimeToLive = leastTimeToLive(listener)
        }
        e.pointee.flags = listener.pointee.flags.intersection([
            .noDelay, .cork, .reuseAddress, .keepAlive, .receiveBufferSet, .sendBufferSet, .reportsUnread, .zeroCopy, .urgentInline,
            .mayBeCut, .thin, .checksTTL,
        ])
    }

    /// `reqsk_timer_handler`: 1 s, 2 s, 4 s …
    func synAckTimeout(_ e: EndpointPointer) {
        let deferral = e.cold.pointee.listener?.cold.pointee.deferAccept ?? 0
        let wasAcknowledged = e.pointee.flags.contains(.ackDeferred)
        let isFast = e.pointee.flags.contains(.fastOpenChild)
        let retries = (e.cold.pointee.synCount > 0 ? Int(e.cold.pointee.synCount) : settings.tcp_synack_retries) + (isFast ? 1 : 0)
        // Lower the window after the second timeout, as a connection opened the usual way begins with less.
        if isFast, e.cold.pointee.synRetries == 1 { enterLoss(e) }
        guard Int(e.cold.pointee.synRetries) < retries || (wasAcknowledged && e.cold.pointee.synRetries < deferral) else {
            if e.pointee.flags.contains(.unaccepted), !isFast { return destroy(e) }
            return abort(e, .timedOut)
        }
        if isFast {
            // The connection counts what the timer of its request does (`tcp_fastopen_synack_timer`).
            countTimeout(e, isFirst: e.cold.pointee.synRetries == 0)
            e.cold.pointee.retransmits &+= 1
        }
        // While data is waited for nothing is repeated, but at the end of the time there is a last chance (`syn_ack_recalc`).
        let isRepeated = !wasAcknowledged || Int(e.cold.pointee.synRetries) >= Int(deferral) - 1
        e.cold.pointee.synRetries += 1
        if isRepeated, network.packetsHeld(by: e.pointee.socket) == 0 { repeatSynAck(e) }
        armSlow(e, ticks: min(250 << UInt64(min(e.cold.pointee.synRetries, 20)), UInt64(maximumTimeoutTicks(e))))
    }

    /// Whether a segment to a request echoes a timestamp that none of its SYN-ACKs had (`tsecr_reject`): its sender knows nothing of them.
    private func echoesNothing(_ e: EndpointPointer, _ segment: Segment) -> Bool {
        guard segment.hasTimestamp, segment.timestampEcho != 0, e.pointee.flags.contains(.timestamps), e.cold.pointee.listener != nil,
            !e.pointee.flags.contains(.fastOpenChild), !e.pointee.flags.contains(.cookieChild)
        else { return false }
        func stamp(_ at: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: at / 1_000_000) &+ e.pointee.timestampOffset }
        let first = stamp(e.cold.pointee.synSentAt)
        guard segment.timestampEcho &- first > stamp(max(e.cold.pointee.recentAckAt, e.cold.pointee.synSentAt)) &- first else { return false }
        statistics.ext.TSEcrRejected += 1
        return true
    }

    /// `tcp_check_req`, then the first segment of the new connection.
    func receiveSynReceived(_ e: EndpointPointer, _ segment: Segment) -> Reception {
        // SYNs that crossed made a connection already: it is a segment as any other, but for the SYN-ACK that is waited for (`tcp_validate_incoming`).
        if e.pointee.hasCrossedSYN {
            guard !segment.flags.isDisjoint(with: [.ack, .rst, .syn]) else { return .delivered }
            let isAnswer = segment.isSYN && segment.isACK && segment.sequence == e.cold.pointee.initialReceive && segment.acknowledgment == e.pointee.sendNext
            guard isAnswer || isAcceptable(e, segment) else {
                if e.pointee.state == .closed { statistics.attemptFails += 1 }
                return .delivered
            }
        } else if segment.isSYN, !segment.isACK, !segment.isReset, segment.sequence == e.cold.pointee.initialReceive, !failsPAWS(e, segment) {
            if !isRateLimited(e, segment) { repeatSynAck(e) }  // the SYN-ACK was lost
            return .delivered
        }
        let isFast = e.pointee.flags.contains(.fastOpenChild)
        let isCrossed = e.pointee.flags.contains(.sentSynData)
        // A reset is judged by its own number alone.
        if segment.isACK, !segment.isReset, !isFast, segment.acknowledgment != e.cold.pointee.initialSend + 1,
            !isCrossed || !segment.acknowledgment.isAfter(e.cold.pointee.initialSend) || segment.acknowledgment.isAfter(e.pointee.sendNext)
        {
            sendReset(to: segment)
            return .delivered
        }
        let next = e.pointee.receiveNext
        let inWindow =
            segment.sequence == next && segment.end == next
            || (segment.end.isAfter(next) && segment.sequence.isBefore(next + Int(min(e.pointee.receiveWindow, 65_535))))
            || (e.cold.pointee.listener == nil && !isFast && segment.isSYN && segment.sequence == e.cold.pointee.initialReceive)
        if failsPAWS(e, segment) || echoesNothing(e, segment) || !inWindow {
            if !segment.isReset, !isRateLimited(e, segment) { sendAck(e) }
            return .delivered
        }
        if segment.hasTimestamp, !segment.sequence.isAfter(next) {
            e.pointee.recentTimestamp = segment.timestampValue
            e.cold.pointee.recentTimestampAt = max(1, now.nanoseconds)
        }
        if segment.isReset, segment.sequence != next {
            if !isRateLimited(e, segment) { sendAck(e) }  // RFC 5961 §3.2, as `tcp_check_req`
            return .delivered
        }
        if segment.isReset || (segment.isSYN && segment.sequence != e.cold.pointee.initialReceive) {
            statistics.attemptFails += 1
            if !isFast { statistics.ext.EmbryonicRsts += 1 }
            if !segment.isReset { sendReset(to: segment) }
            if isFast {
                // A SYN that is none of this connection does not end what Fast Open has opened.
                guard segment.isReset else { return .delivered }
                completeFastOpen(e)
                receiveReset(e)
            } else if e.pointee.flags.contains(.unaccepted) {
                destroy(e)
            } else {
                receiveReset(e)
            }
            return .delivered
        }
        guard segment.isACK else { return .delivered }
        if isFast {
            // Data may have been sent already: anything up to SND.NXT is good.
            guard segment.acknowledgment.isAfter(e.cold.pointee.initialSend), !segment.acknowledgment.isAfter(e.pointee.sendNext) else {
                sendReset(to: segment)
                return .delivered
            }
            return establishFast(e, segment)
        }
        // TCP_DEFER_ACCEPT: an ACK without data is only remembered, until the waiting time is over.
        let hasCookie = e.pointee.flags.contains(.cookieChild)
        if let listener = e.cold.pointee.listener, e.cold.pointee.synRetries < listener.cold.pointee.deferAccept, segment.end == e.cold.pointee.initialReceive + 1, !hasCookie {
            e.pointee.flags.insert(.ackDeferred)
            statistics.ext.TCPDeferAcceptDrop += 1
            return .delivered
        }
        if let listener = e.cold.pointee.listener {
            // A full accept queue: the ACK is forgotten, the SYN-ACK will be repeated; or a reset tells the peer (`tcp_abort_on_overflow`).
            guard listener.cold.pointee.acceptCount <= listener.cold.pointee.backlog else {
                if settings.tcp_abort_on_overflow, !hasCookie {
                    statistics.ext.EmbryonicRsts += 1
                    sendReset(to: segment)
                    destroy(e)
                }
                return overflow()
            }
            listener.cold.pointee.handshakes -= 1
            listener.cold.pointee.acceptCount += 1
            e.pointee.flags.insert(.inAcceptQueue)
            if let tail = listener.cold.pointee.acceptTail { tail.cold.pointee.acceptNext = e } else { listener.cold.pointee.acceptHead = e }
            listener.cold.pointee.acceptTail = e
            statistics.passiveOpens += 1
            notifyListener(listener)
        }
        // Nobody knows when the SYN-ACK of a cookie was sent, but its timestamp.
        establish(e, segment, roundTripSince: e.cold.pointee.synSentAt, retries: hasCookie ? 1 : UInt8(clamping: e.cold.pointee.totalRetransmissions))
        // SYNs that crossed, ours with data: what is not acknowledged yet is repeated after RTO.
        if isCrossed {
            e.pointee.flags.subtract([.sentSynData, .fastOpenAsked])
            while e.cold.pointee.sent.count > 0, e.cold.pointee.sent[0].end.isAtOrBefore(e.pointee.unacknowledged) { e.cold.pointee.sent.removeFirst(pool) }
            if e.cold.pointee.sent.count == 0 { e.pointee.flags.insert(.synData) } else { rearmRetransmission(e) }
        }
        if e.cold.pointee.listener == nil { notify(e) }
        if e.pointee.flags.contains(.sendShut) { shutWriting(e) }
        if segment.isSYN {
            // The SYN of the crossing SYN-ACK has been seen before.
            noteDuplicate(e, segment.sequence, segment.sequence + 1)
            sendAck(e)
            return .delivered
        }
        return receiveText(e, segment)
    }
}

extension Segment {
    /// The rest of a SYN segment, numbered from its first byte.
    func withoutSYN() -> Segment {
        var rest = self
        rest.sequence = sequence + 1
        rest.flags.remove(.syn)
        return rest
    }
}
