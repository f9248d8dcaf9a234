import HairpinEngine

/// The extended counters of one namespace (`TcpExt` of /proc/net/netstat, enum LINUX_MIB_… of linux/snmp.h) by their names there, counted where the kernel
/// counts them. Names that are missing are of mechanisms that are not modelled, or of the fast path.
public struct ExtendedCounters: Sendable, Hashable {
    public var EmbryonicRsts = 0, OutOfWindowIcmps = 0, PruneCalled = 0, RcvPruned = 0, OfoPruned = 0, TW = 0, TWRecycled = 0, PAWSEstab = 0, DelayedACKs = 0, DelayedACKLost = 0
    public var TCPRenoRecovery = 0, TCPSackRecovery = 0, TCPSACKReneging = 0, TCPSACKReorder = 0, TCPRenoReorder = 0, TCPTSReorder = 0
    public var TCPFullUndo = 0, TCPPartialUndo = 0, TCPDSACKUndo = 0, TCPLossUndo = 0, TCPLostRetransmit = 0
    public var TCPRenoFailures = 0, TCPSackFailures = 0, TCPLossFailures = 0, TCPFastRetrans = 0, TCPSlowStartRetrans = 0
    public var TCPLossProbeRecovery = 0, TCPRenoRecoveryFail = 0, TCPSackRecoveryFail = 0
    public var TCPDSACKOldSent = 0, TCPDSACKOfoSent = 0, TCPDSACKRecv = 0, TCPDSACKOfoRecv = 0
    public var TCPAbortOnData = 0, TCPAbortOnClose = 0, TCPAbortOnTimeout = 0, TCPAbortOnLinger = 0, TCPSpuriousRTOs = 0
    public var TCPDeferAcceptDrop = 0, TCPBacklogCoalesce = 0, TCPRcvCoalesce = 0, TCPOFOQueue = 0, TCPOFODrop = 0, TCPOFOMerge = 0, TCPSYNChallenge = 0
    public var TCPFastOpenActive = 0, TCPFastOpenActiveFail = 0, TCPFastOpenPassive = 0, TCPFastOpenCookieReqd = 0, TCPSpuriousRtxHostQueues = 0
    public var TCPFromZeroWindowAdv = 0, TCPToZeroWindowAdv = 0, TCPWantZeroWindowAdv = 0, TCPSynRetrans = 0, TCPOrigDataSent = 0
    public var TCPHystartTrainDetect = 0, TCPHystartTrainCwnd = 0, TCPHystartDelayDetect = 0, TCPHystartDelayCwnd = 0
    public var TCPACKSkippedPAWS = 0, TCPACKSkippedSeq = 0, TCPACKSkippedChallenge = 0, TCPWinProbe = 0, TCPKeepAlive = 0
    public var TCPDelivered = 0, TCPDeliveredCE = 0, TCPZeroWindowDrop = 0, TCPRcvQDrop = 0, TCPDSACKRecvSegs = 0, TCPDSACKIgnoredDubious = 0
    public var TCPAckCompressed = 0, TCPTimeWaitOverflow = 0, PAWSOldAck = 0, TSEcrRejected = 0, PAWSActive = 0, TCPAutoCorking = 0, TCPFastOpenBlackhole = 0, TCPMinTTLDrop = 0
    public var ListenDrops = 0, TCPReqQFullDoCookies = 0, TCPReqQFullDrop = 0, TCPFastOpenListenOverflow = 0, TCPFastOpenPassiveFail = 0

    /// Not of `TcpExt`: EstabResets, InErrs, InCsumErrors and CurrEstab of `Tcp`, and how many of the retransmissions were SYN-ACKs.
    public var estabResets = 0, inErrs = 0, inCsumErrors = 0, currEstab = 0, synAcksRetransmitted = 0
    /// UDP's InErrors, RcvbufErrors and InCsumErrors.
    public var datagramErrors = 0, datagramBufferErrors = 0, datagramChecksumErrors = 0
    public init() {}
}

extension TransportStatistics {
    /// One table of /proc/net/snmp or /proc/net/netstat: `Tcp`, `Udp` or `TcpExt`, with its counters in the kernel's order.
    public struct CounterTable: Sendable {
        public var name: String
        public var counters: [(name: String, value: Int)]
    }

    public var counterTables: [CounterTable] {
        [CounterTable(name: "Tcp", counters: tcpCounters), CounterTable(name: "Udp", counters: datagramCounters), CounterTable(name: "TcpExt", counters: extendedCounters)]
    }

    /// A counter by the name nstat(8) gives it, such as `TcpRetransSegs` or `TcpExtTCPFastRetrans`; nil if it is not counted.
    public subscript(name: String) -> Int? {
        for table in counterTables where name.hasPrefix(table.name) {
            let rest = name.dropFirst(table.name.count)
            for counter in table.counters where counter.name == rest { return counter.value }
        }
        return nil
    }

    private var tcpCounters: [(name: String, value: Int)] {
        [
            ("ActiveOpens", activeOpens), ("PassiveOpens", passiveOpens), ("AttemptFails", attemptFails), ("EstabResets", ext.estabResets),
            ("CurrEstab", ext.currEstab), ("InSegs", segmentsReceived),
            // RFC 4022: without segments that hold nothing but retransmitted octets; a SYN-ACK is made anew each time (`tcp_make_synack`).
            ("OutSegs", segmentsSent - retransmitted + ext.synAcksRetransmitted), ("RetransSegs", retransmitted), ("InErrs", ext.inErrs),
            ("OutRsts", resetsSent), ("InCsumErrors", ext.inCsumErrors),
        ]
    }

    private var datagramCounters: [(name: String, value: Int)] {
        [
            ("InDatagrams", datagramsReceived), ("NoPorts", noPorts), ("InErrors", ext.datagramErrors), ("OutDatagrams", datagramsSent),
            ("RcvbufErrors", ext.datagramBufferErrors), ("InCsumErrors", ext.datagramChecksumErrors),
        ]
    }

    private var extendedCounters: [(name: String, value: Int)] {
        let e = ext
        var list: [(name: String, value: Int)] = [
            ("EmbryonicRsts", e.EmbryonicRsts), ("PruneCalled", e.PruneCalled), ("RcvPruned", e.RcvPruned), ("OfoPruned", e.OfoPruned), ("OutOfWindowIcmps", e.OutOfWindowIcmps), ("TW", e.TW), ("TWRecycled", e.TWRecycled), ("PAWSActive", e.PAWSActive), ("PAWSEstab", e.PAWSEstab),
            ("DelayedACKs", e.DelayedACKs), ("DelayedACKLost", e.DelayedACKLost), ("ListenOverflows", listenOverflows), ("ListenDrops", e.ListenDrops),
            ("TCPRenoRecovery", e.TCPRenoRecovery), ("TCPSackRecovery", e.TCPSackRecovery), ("TCPSACKReneging", e.TCPSACKReneging),
            ("TCPSACKReorder", e.TCPSACKReorder), ("TCPRenoReorder", e.TCPRenoReorder), ("TCPTSReorder", e.TCPTSReorder), ("TCPFullUndo", e.TCPFullUndo),
            ("TCPPartialUndo", e.TCPPartialUndo), ("TCPDSACKUndo", e.TCPDSACKUndo), ("TCPLossUndo", e.TCPLossUndo), ("TCPLostRetransmit", e.TCPLostRetransmit),
            ("TCPRenoFailures", e.TCPRenoFailures), ("TCPSackFailures", e.TCPSackFailures), ("TCPLossFailures", e.TCPLossFailures),
            ("TCPFastRetrans", e.TCPFastRetrans), ("TCPSlowStartRetrans", e.TCPSlowStartRetrans), ("TCPTimeouts", timeouts), ("TCPLossProbes", lossProbes),
            ("TCPLossProbeRecovery", e.TCPLossProbeRecovery), ("TCPRenoRecoveryFail", e.TCPRenoRecoveryFail), ("TCPSackRecoveryFail", e.TCPSackRecoveryFail),
        ]
        list += [
            ("TCPBacklogCoalesce", e.TCPBacklogCoalesce), ("TCPDSACKOldSent", e.TCPDSACKOldSent), ("TCPDSACKOfoSent", e.TCPDSACKOfoSent), ("TCPDSACKRecv", e.TCPDSACKRecv),
            ("TCPDSACKOfoRecv", e.TCPDSACKOfoRecv),
            ("TCPAbortOnData", e.TCPAbortOnData), ("TCPAbortOnClose", e.TCPAbortOnClose), ("TCPAbortOnTimeout", e.TCPAbortOnTimeout),
            ("TCPAbortOnLinger", e.TCPAbortOnLinger), ("TCPSpuriousRTOs", e.TCPSpuriousRTOs), ("TCPMinTTLDrop", e.TCPMinTTLDrop), ("TCPDeferAcceptDrop", e.TCPDeferAcceptDrop),
            ("TCPReqQFullDoCookies", e.TCPReqQFullDoCookies), ("TCPReqQFullDrop", e.TCPReqQFullDrop),
            ("TCPRcvCoalesce", e.TCPRcvCoalesce), ("TCPOFOQueue", e.TCPOFOQueue), ("TCPOFODrop", e.TCPOFODrop), ("TCPOFOMerge", e.TCPOFOMerge), ("TCPChallengeACK", challengeACKs),
            ("TCPSYNChallenge", e.TCPSYNChallenge), ("TCPFastOpenActive", e.TCPFastOpenActive), ("TCPFastOpenActiveFail", e.TCPFastOpenActiveFail),
            ("TCPFastOpenPassive", e.TCPFastOpenPassive), ("TCPFastOpenPassiveFail", e.TCPFastOpenPassiveFail),
            ("TCPFastOpenListenOverflow", e.TCPFastOpenListenOverflow), ("TCPFastOpenCookieReqd", e.TCPFastOpenCookieReqd),
            ("TCPFastOpenBlackhole", e.TCPFastOpenBlackhole), ("TCPSpuriousRtxHostQueues", e.TCPSpuriousRtxHostQueues), ("TCPAutoCorking", e.TCPAutoCorking),
            ("TCPFromZeroWindowAdv", e.TCPFromZeroWindowAdv),
            ("TCPToZeroWindowAdv", e.TCPToZeroWindowAdv), ("TCPWantZeroWindowAdv", e.TCPWantZeroWindowAdv), ("TCPSynRetrans", e.TCPSynRetrans),
            ("TCPOrigDataSent", e.TCPOrigDataSent), ("TCPHystartTrainDetect", e.TCPHystartTrainDetect), ("TCPHystartTrainCwnd", e.TCPHystartTrainCwnd),
            ("TCPHystartDelayDetect", e.TCPHystartDelayDetect), ("TCPHystartDelayCwnd", e.TCPHystartDelayCwnd), ("TCPACKSkippedPAWS", e.TCPACKSkippedPAWS),
            ("TCPACKSkippedSeq", e.TCPACKSkippedSeq), ("TCPACKSkippedChallenge", e.TCPACKSkippedChallenge), ("TCPWinProbe", e.TCPWinProbe),
            ("TCPKeepAlive", e.TCPKeepAlive), ("TCPDelivered", e.TCPDelivered), ("TCPDeliveredCE", e.TCPDeliveredCE), ("TCPZeroWindowDrop", e.TCPZeroWindowDrop),
            ("TCPRcvQDrop", e.TCPRcvQDrop), ("TCPDSACKRecvSegs", e.TCPDSACKRecvSegs), ("TCPDSACKIgnoredDubious", e.TCPDSACKIgnoredDubious),
            ("TCPAckCompressed", e.TCPAckCompressed), ("TCPTimeWaitOverflow", e.TCPTimeWaitOverflow), ("PAWSOldAck", e.PAWSOldAck), ("TSEcrRejected", e.TSEcrRejected),
        ]
        return list
    }
}

extension TransportStack {
    /// All counters now, with the connections that are open (CurrEstab).
    public var snapshot: TransportStatistics {
        var all = statistics
        var open = 0
        table.forEachStream { if $0.pointee.state == .established || $0.pointee.state == .closeWait { open += 1 } }
        all.ext.currEstab = open
        return all
    }
}
