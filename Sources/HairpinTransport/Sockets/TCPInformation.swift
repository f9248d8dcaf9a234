import HairpinEngine
import HairpinWire

/// What getsockopt(TCP_INFO) tells of a connection (`struct tcp_info`, `tcp_get_info`), under the kernel's names without `tcpi_`. Times in µs unless
/// said otherwise, windows in segments.
public struct TCPInformation: Sendable {
    /// TCP_ESTABLISHED = 1 … TCP_CLOSING = 11.
    public var state = 0
    /// TCP_CA_Open = 0, Disorder, CWR, Recovery, Loss.
    public var ca_state = 0
    public var retransmits = 0, probes = 0, backoff = 0
    /// TCPI_OPT_ bits.
    public var options = 0
    public var snd_wscale = 0, rcv_wscale = 0
    public var rto = 0, ato = 0, snd_mss = 0, rcv_mss = 0
    public var unacked = 0, sacked = 0, lost = 0, retrans = 0
    /// In ms.
    public var last_data_sent = 0, last_data_recv = 0, last_ack_recv = 0
    public var pmtu = 0, rcv_ssthresh = 0, rtt = 0, rttvar = 0, snd_ssthresh = 0, snd_cwnd = 0, advmss = 0, reordering = 0
    public var rcv_rtt = 0, rcv_space = 0, total_retrans = 0
    public var notsent_bytes = 0, min_rtt = 0
    public var busy_time = 0, rwnd_limited = 0, sndbuf_limited = 0
    public var delivered = 0, delivered_ce = 0, reord_seen = 0, dsack_dups = 0
    public var bytes_acked = 0, bytes_received = 0, segs_out = 0, segs_in = 0, data_segs_in = 0, data_segs_out = 0, bytes_sent = 0, bytes_retrans = 0
    public var snd_wnd = 0, rcv_wnd = 0
    public var rcv_ooopack = 0, total_rto = 0, total_rto_recoveries = 0
    /// In ms, with the series of timeouts that goes on.
    public var total_rto_time = 0
    /// Timeouts after which another path was tried (by another flow label, or source port of a tunnel): all of them.
    public var rehash = 0
    /// Always zero, as in Linux.
    public var fackets = 0, last_ack_sent = 0
    /// In bytes a second; no bound is `Int.max`.
    public var pacing_rate = 0, max_pacing_rate = Int.max, delivery_rate = 0
    public var delivery_rate_app_limited = 0
    /// Why data did not get through with the SYN: TFO_COOKIE_UNAVAILABLE = 1, TFO_DATA_NOT_ACKED, TFO_SYN_RETRANSMITTED.
    public var fastopen_client_fail = 0
    /// Segments received with CE, and bytes received with each code point.
    public var received_ce = 0, received_e1_bytes = 0, received_e0_bytes = 0, received_ce_bytes = 0
    /// Of Accurate ECN, which is not modelled: zero.
    public var ecn_mode = 0, accecn_opt_seen = 0, accecn_fail_mode = 0, options2 = 0, delivered_e1_bytes = 0, delivered_e0_bytes = 0, delivered_ce_bytes = 0

    /// All of it by name.
    public var fields: [String: Int] {
        [
            "state": state, "ca_state": ca_state, "retransmits": retransmits, "probes": probes, "backoff": backoff, "options": options, "snd_wscale": snd_wscale,
            "rcv_wscale": rcv_wscale, "rto": rto, "ato": ato, "snd_mss": snd_mss, "rcv_mss": rcv_mss, "unacked": unacked, "sacked": sacked, "lost": lost,
            "retrans": retrans, "last_data_sent": last_data_sent, "last_data_recv": last_data_recv, "last_ack_recv": last_ack_recv, "pmtu": pmtu,
            "rcv_ssthresh": rcv_ssthresh, "rtt": rtt, "rttvar": rttvar, "snd_ssthresh": snd_ssthresh, "snd_cwnd": snd_cwnd, "advmss": advmss, "reordering": reordering,
            "rcv_rtt": rcv_rtt, "rcv_space": rcv_space, "total_retrans": total_retrans, "notsent_bytes": notsent_bytes, "min_rtt": min_rtt, "busy_time": busy_time,
            "rwnd_limited": rwnd_limited, "sndbuf_limited": sndbuf_limited, "delivered": delivered, "delivered_ce": delivered_ce, "reord_seen": reord_seen,
            "dsack_dups": dsack_dups, "bytes_acked": bytes_acked, "bytes_received": bytes_received, "segs_out": segs_out, "segs_in": segs_in,
            "data_segs_in": data_segs_in, "data_segs_out": data_segs_out, "bytes_sent": bytes_sent, "bytes_retrans": bytes_retrans, "snd_wnd": snd_wnd,
            "rcv_wnd": rcv_wnd, "rcv_ooopack": rcv_ooopack, "total_rto": total_rto, "total_rto_recoveries": total_rto_recoveries,
            "fackets": fackets, "last_ack_sent": last_ack_sent, "pacing_rate": pacing_rate,
            "max_pacing_rate": max_pacing_rate, "delivery_rate": delivery_rate, "delivery_rate_app_limited": delivery_rate_app_limited,
            "total_rto_time": total_rto_time, "rehash": rehash, "fastopen_client_fail": fastopen_client_fail, "received_ce": received_ce,
            "received_e1_bytes": received_e1_bytes, "received_e0_bytes": received_e0_bytes, "received_ce_bytes": received_ce_bytes, "ecn_mode": ecn_mode,
            "accecn_opt_seen": accecn_opt_seen, "accecn_fail_mode": accecn_fail_mode, "options2": options2, "delivered_e1_bytes": delivered_e1_bytes,
            "delivered_e0_bytes": delivered_e0_bytes, "delivered_ce_bytes": delivered_ce_bytes,
        ]
    }
    /// The names of `fields`.
    public static let names = Set(TCPInformation().fields.keys)
    public init() {}
}

extension TransportStack {
    /// Nil if the socket is no TCP socket, or gone.
    public func tcpInformation(_ socket: SocketID) -> TCPInformation? {
        guard let e = table.stream(socket) else { return nil }
        now = network.now
        var info = TCPInformation()
        // TIME-WAIT is not the program's any more (`tcp_time_wait`, `tcp_done`).
        info.state = e.pointee.state == .timeWait ? ConnectionState.closed.kernelNumber : e.pointee.state.kernelNumber
        if e.pointee.isListener {
            // A listener has queues, and nothing else.
            (info.unacked, info.sacked) = (Int(e.cold.pointee.acceptCount), Int(e.cold.pointee.backlog))
            (info.reordering, info.snd_cwnd, info.pacing_rate) = (reorderingDegree(e), Int(e.pointee.window), .max)
            return info
        }
        if e.pointee.flags.contains(.connectDeferred) { info.state = ConnectionState.synSent.kernelNumber }
        info.ca_state = e.pointee.phase.kernelNumber
        info.retransmits = Int(e.cold.pointee.retransmits)
        info.probes = Int(e.cold.pointee.probesOut)
        info.backoff = Int(e.cold.pointee.backoff)
        // What a SYN offers is not agreed.
        let flags = e.pointee.state == .synSent ? e.pointee.flags.subtracting([.timestamps, .selectiveAcks, .windowScaling]) : e.pointee.flags
        if flags.contains(.timestamps) { info.options |= 1 }
        if flags.contains(.selectiveAcks) { info.options |= 2 }
        if flags.contains(.windowScaling) {
            info.options |= 4
            info.snd_wscale = Int(e.pointee.sendScale)
            info.rcv_wscale = Int(e.pointee.receiveScale)
        }
        if e.cold.pointee.ecn.contains(.agreed) { info.options |= 8 }
        if e.cold.pointee.ecn.contains(.seen) { info.options |= 16 }
        if flags.contains(.synData) { info.options |= 32 }
        if flags.contains(.bornOpen) { info.options |= 128 }
        let tick = Int(TimerWheel.tick / 1000)
        info.rto = Int(e.pointee.retransmitTimeout) * tick
        info.ato = min(Int(e.pointee.ackTimeout), Int(mostAckDelay(e))) * tick
        info.snd_mss = Int(e.pointee.segmentSize)
        info.rcv_mss = Int(e.pointee.peerSegment)
        if e.pointee.state == .synSent {
            info.retransmits = Int(e.cold.pointee.synRetries)
            // What is assumed before the peer has spoken (`tcp_connect_init`): its default, and the least.
            if e.pointee.flags.contains(.timestamps) { info.snd_mss -= OptionSize.timestamps }
            info.rcv_mss = TransportStack.leastSegment
        }
        info.unacked = e.pointee.packetsOut + (e.pointee.state == .synSent || e.pointee.hasCrossedSYN ? 1 : 0)
        info.sacked = Int(e.pointee.sackedOut)
        info.lost = Int(e.pointee.lostOut)
        info.retrans = Int(e.pointee.retransOut)
        let jiffies = TimerWheel.jiffies(now)
        let milliseconds = Int(TimerWheel.tick / 1_000_000)
        info.last_data_sent = Int(truncatingIfNeeded: jiffies &- e.cold.pointee.lastSent) * milliseconds
        info.last_data_recv = Int(truncatingIfNeeded: jiffies &- e.cold.pointee.lastReceived) * milliseconds
        info.last_ack_recv = Int(age(e.cold.pointee.recentAckAt) / 1_000_000)
        info.pmtu = Int(e.cold.pointee.pathMTU)
        info.rcv_ssthresh = Int(e.pointee.windowThreshold)
        info.rtt = Int(e.cold.pointee.smoothedRTT >> 3)
        // Without a sample the deviation is that of TCP_TIMEOUT_INIT, a second, and after a handshake that gave none of TCP_TIMEOUT_FALLBACK.
        let isOpen = e.pointee.flags.contains(.handshakeDone) || e.pointee.flags.contains(.fastOpenChild)
        info.rttvar = e.cold.pointee.smoothedRTT == 0 ? (isOpen ? 750_000 : 250_000) : Int(e.cold.pointee.deviation >> 2)
        info.snd_ssthresh = Int(min(e.cold.pointee.slowStartThreshold, 0x7fff_ffff))
        info.snd_cwnd = Int(e.pointee.window)
        info.advmss = Int(e.cold.pointee.advertisedSegment)
        info.reordering = reorderingDegree(e)
        info.rcv_rtt = Int(e.cold.pointee.receiveRTT >> 3)
        info.rcv_space = Int(e.cold.pointee.tuningSpace)
        info.total_retrans = Int(e.cold.pointee.totalRetransmissions)
        info.notsent_bytes = max(0, e.pointee.unsent + (e.pointee.flags.contains(.finQueued) ? 1 : 0))
        info.min_rtt = e.cold.pointee.minimumRTT == .max ? Int(UInt32.max) : Int(e.cold.pointee.minimumRTT)
        let chronograph = chronographTimes(e)
        (info.busy_time, info.rwnd_limited, info.sndbuf_limited) = (chronograph.busy, chronograph.windowLimited, chronograph.bufferLimited)
        info.delivered = Int(e.cold.pointee.delivered)
        info.delivered_ce = Int(e.cold.pointee.deliveredMarked)
        info.fastopen_client_fail = Int(e.cold.pointee.fastOpenFailure.rawValue)
        info.received_ce = Int(e.cold.pointee.receivedMarked)
        let bytes = e.cold.pointee.receivedBytes
        (info.received_e1_bytes, info.received_e0_bytes, info.received_ce_bytes) = (Int(bytes.ect1), Int(bytes.ect0), Int(bytes.ce))
        info.segs_in = Int(e.cold.pointee.segmentsIn)
        info.segs_out = Int(e.cold.pointee.segmentsOut)
        info.data_segs_in = Int(e.cold.pointee.dataSegmentsIn)
        info.data_segs_out = Int(e.cold.pointee.dataSegmentsOut)
        info.bytes_sent = Int(clamping: e.cold.pointee.bytesSent)
        info.bytes_retrans = Int(clamping: e.cold.pointee.bytesRetransmitted)
        info.reord_seen = Int(e.cold.pointee.reorderingEvents)
        info.rcv_ooopack = Int(e.cold.pointee.outOfOrderSegments)
        (info.total_rto, info.total_rto_recoveries) = (Int(e.cold.pointee.timeouts), Int(e.cold.pointee.timeoutSeries))
        info.total_rto_time = Int(e.cold.pointee.timeoutTime &+ (e.cold.pointee.timeoutStamp == 0 ? 0 : timeInTimeouts(e)))
        info.rehash = Int(e.cold.pointee.rehashes)
        info.dsack_dups = Int(e.cold.pointee.duplicateReports)
        info.bytes_acked = Int(clamping: e.cold.pointee.bytesAcknowledged)
        info.bytes_received = Int(clamping: e.cold.pointee.bytesReceived)
        info.pacing_rate = Int(clamping: pacingRate(e))
        if let modules = e.cold.pointee.modules {
            info.max_pacing_rate = Int(clamping: modules.pointee.pacing.maximumRate)
        }
        info.delivery_rate = Int(clamping: deliveryRate(e))
        info.delivery_rate_app_limited = e.cold.pointee.rate.isRateApplicationLimited ? 1 : 0
        info.snd_wnd = Int(e.pointee.sendWindow)
        info.rcv_wnd = Int(e.pointee.receiveWindow)
        if e.pointee.state == .synSent, e.cold.pointee.synRetries > 0 {
            // The SYN is lost, and out again (`tcp_enter_loss`, `tcp_retransmit_skb`).
            info.ca_state = RecoveryPhase.loss.kernelNumber
            (info.lost, info.retrans, info.snd_cwnd) = (1, 1, 1)
        }
        if e.pointee.state == .closed, e.pointee.remotePort == 0 {
            // Nothing is known of a path yet.
            (info.rcv_mss, info.pmtu, info.advmss) = (0, 0, 0)
        }
        // Nobody has computed it before the first transfer (`sk_pacing_rate` is ~0).
        if e.pointee.flags.isDisjoint(with: [.handshakeDone, .fastOpenChild]) { info.pacing_rate = .max }
        return info
    }

    /// What SO_MEMINFO tells, under the kernel's names without `SK_MEMINFO_` (`sk_get_meminfo`), in bytes: what is queued on both sides and the bounds of both.
    /// A packet counts as sent (WMEM_ALLOC) only while a device holds it, its headers apart; the memory a socket has reserved ahead (FWD_ALLOC) is not modelled.
    public func socketMemory(_ socket: SocketID) -> [String: Int]? {
        guard let e = table.stream(socket) else { return nil }
        return [
            "RMEM_ALLOC": Int(e.pointee.receiveMemory), "RCVBUF": Int(e.cold.pointee.receiveBuffer), "SNDBUF": Int(e.cold.pointee.sendBuffer), "WMEM_QUEUED": sendMemory(e),
            "WMEM_ALLOC": e.cold.pointee.leavesAt > network.now.nanoseconds ? deviceMemory(e, at: network.now.nanoseconds).bytes : 0, "OPTMEM": 0, "BACKLOG": 0,
        ]
    }
    public static let socketMemoryNames: Set<String> = ["RMEM_ALLOC", "RCVBUF", "SNDBUF", "WMEM_QUEUED", "WMEM_ALLOC", "OPTMEM", "BACKLOG"]

    /// What a connection waits for (`inet_sk_diag_fill`, `inet_req_diag_fill`, `inet_twsk_diag_fill`).
    func timer(_ e: EndpointPointer) -> SocketTimer? {
        func until(_ deadline: UInt64, _ kind: SocketTimer.Kind, _ count: UInt8) -> SocketTimer? {
            if deadline == .max { return nil }
            return SocketTimer(kind: kind, remaining: .nanoseconds(Int64(deadline > now.nanoseconds ? deadline - now.nanoseconds : 0)), count: Int(count))
        }
        switch e.pointee.state {
        case .timeWait: return until(e.pointee.slowDeadline, .timewait, 0)
        case .synReceived: return until(e.pointee.slowDeadline, .on, e.cold.pointee.synRetries)
        case .synSent: return until(e.pointee.retransmitDeadline, .on, e.cold.pointee.synRetries)
        default: break
        }
        switch e.pointee.timer {
        case .retransmission, .lossProbe, .reordering: return until(e.pointee.retransmitDeadline, .on, e.cold.pointee.retransmits)
        case .windowProbe: return until(e.pointee.retransmitDeadline, .persist, e.cold.pointee.probesOut)
        case .none: return until(e.pointee.slowDeadline, .keepalive, e.cold.pointee.probesOut)
        }
    }

    /// Bytes a program could read now, as SIOCINQ and TCP_INQ count them: a FIN behind the data counts as one when asked for by TCP_INQ.
    public func unreadBytes(_ socket: SocketID, countingEnd: Bool = false) throws(Errno) -> Int {
        guard let e = table.stream(socket) else { throw .badFileDescriptor }
        if e.pointee.state == .listen { throw .invalid }
        if e.pointee.state == .synSent || e.pointee.state == .synReceived { return 0 }
        // `tcp_inq_hint`: the FIN counts, read or not, so that a program goes on reading until the end of file.
        if countingEnd { return max(e.pointee.flags.contains(.finReceived) ? 1 : 0, e.pointee.receiveNext - e.pointee.copied) }
        var count = readable(e)
        if count > 0, e.pointee.flags.contains(.urgentIn) { count = bytesBeforeUrgent(e, count) }
        return count
    }

    /// Bytes written and not acknowledged (SIOCOUTQ), or only those not yet sent (SIOCOUTQNSD); a FIN counts as one.
    public func waitingBytes(_ socket: SocketID, unsentOnly: Bool) throws(Errno) -> Int {
        guard let e = table.stream(socket) else { throw .badFileDescriptor }
        if e.pointee.state == .listen { throw .invalid }
        if e.pointee.state == .synSent || e.pointee.state == .synReceived { return 0 }
        let fin = e.pointee.flags.contains(.finQueued) && e.pointee.state != .closed && e.pointee.state != .timeWait ? 1 : 0
        return max(0, fin + (unsentOnly ? e.pointee.unsent : e.pointee.writeEnd - e.pointee.unacknowledged))
    }
}

extension ConnectionState {
    /// `TCP_ESTABLISHED` and its sisters (net/tcp_states.h).
    var kernelNumber: Int {
        switch self {
        case .closed: 7
        case .listen: 10
        case .synSent: 2
        case .synReceived: 3
        case .established: 1
        case .finWait1: 4
        case .finWait2: 5
        case .closeWait: 8
        case .closing: 11
        case .lastAck: 9
        case .timeWait: 6
        }
    }
}

extension RecoveryPhase {
    /// `enum tcp_ca_state`
    var kernelNumber: Int {
        switch self {
        case .open: 0
        case .disorder: 1
        case .reduced: 2
        case .recovery: 3
        case .loss: 4
        }
    }
}
