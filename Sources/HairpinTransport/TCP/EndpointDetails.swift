import HairpinWire

/// What a connection or listener keeps beside its `Endpoint`: buffers, round-trip times, recovery, the program's options, counters. Fields of the data path first.
struct EndpointDetails {
    var windowClamp: UInt32 = 0
    var receiveBuffer: UInt32 = 0
    var lastSegment: UInt16 = 0
    var timeToLive: UInt8 = 64
    var typeOfService: UInt8 = 0
    /// Jiffies of the last data (`icsk_ack.lrcvtime`).
    var lastReceived: UInt64 = 0

    var lastSmall = SequenceNumber(0)
    var maximumWindow: UInt32 = 0
    /// MSS advertised to the peer, less the timestamp option.
    var advertisedSegment: UInt16 = 536
    /// Bound by the peer's MSS option or TCP_MAXSEG.
    var segmentClamp: UInt16 = 536
    var pathMTU: UInt32 = 1500
    var slowStartThreshold: UInt32 = .max
    var windowCount: UInt32 = 0
    var maximumOut: UInt32 = 0
    var windowUsedMark = SequenceNumber(0)
    /// When the timestamp to echo was learned, in ms.
    var recentTimestampAt: UInt64 = 0
    var receivedEcho: UInt32 = 0
    var lastSent: UInt64 = 0

    // Time.
    /// Smoothed RTT × 8, mean deviation × 4, and its maximum of the last RTT × 4, all in microseconds, as the kernel keeps them.
    var smoothedRTT: UInt32 = 0
    var deviation: UInt32 = 0
    var maximumDeviation: UInt32 = 0
    var rttVariation: UInt32 = 0
    var rttSequence = SequenceNumber(0)

    // Buffers, none while empty.
    var sendRing = ByteRing()
    var receiveRing = ByteRing()
    var queue = RecordRing<QueuedPacket>()
    var sent = RecordRing<SentSegment>()
    var received = RecordRing<ReceivedChunk>()
    var outOfOrder = RecordRing<OutOfOrderRange>()

    // Recovery.
    var highSequence = SequenceNumber(0)
    var probeHigh = SequenceNumber(0)
    /// A loss probe is out (`tlp_high_seq` is set).
    var probing = false
    /// F-RTO is finding out whether the last timeout was spurious (`tp->frto`).
    var testsTimeout = false
    var rackAdvanced = false
    var rackDuplicateSeen = false
    /// Quarters of the least RTT in the reordering window, for how many recoveries more, and since when.
    var rackSteps: UInt8 = 1
    var rackPersist: UInt8 = 0
    var rackGrownAt: UInt64 = 0
    /// Zero: the namespace's setting.
    var reordering: UInt16 = 0
    /// Where the highest SACKed segment ends.
    var highestSacked = SequenceNumber(0)
    /// Segments ever marked lost (`tp->lost`).
    var lostEver: UInt32 = 0
    var undoMark = SequenceNumber(0)
    var undoRetransmissions: Int32 = 0
    var priorWindow: UInt32 = 0
    var priorThreshold: UInt32 = 0
    var proportionalDelivered: UInt32 = 0
    var proportionalOut: UInt32 = 0
    /// TCP_RTO_MIN_US, TCP_RTO_MAX_MS and TCP_DELACK_MAX_US, else the namespace's settings as they were when the socket was made, in ticks.
    var leastTimeout: UInt16 = 50
    var mostTimeout: UInt16 = 30_000
    var mostAckDelay: UInt16 = 50
    var backoff: UInt8 = 0
    var retransmits: UInt8 = 0
    var probesOut: UInt8 = 0
    var synRetries: UInt8 = 0
    var retransmitStamp: UInt64 = 0
    var recentAckAt: UInt64 = 0
    var rackTime: UInt64 = 0
    var rackEnd = SequenceNumber(0)
    var rackRTT: UInt32 = 0
    var minimumRTT: UInt32 = .max
    var roundTrips = WindowedMinimum()

    // Receive buffer tuning (`rcvq_space`, `rcv_rtt_est`).
    var tuningSpace: UInt32 = 0
    var tuningSequence = SequenceNumber(0)
    var tuningTime: UInt64 = 0
    var receiveRTT: UInt32 = 0
    var receiveRTTEcho: UInt32 = 0
    /// Where the window ends whose filling is timed, and since when it is (`rcv_rtt_est.seq`, `rcv_rtt_est.time`).
    var receiveRTTEnd = SequenceNumber(0)
    var receiveRTTAt: UInt64 = 0
    var duplicateStart = SequenceNumber(0)
    var duplicateEnd = SequenceNumber(0)
    var touchCount: UInt32 = 0
    /// ACKs of data beyond a hole that were sent at once since RCV.NXT moved, where it stood, and how many wait in one (`dup_ack_counter`,
    /// `compressed_ack_rcv_nxt`, `compressed_ack`).
    var duplicateAcks: UInt8 = 0
    var compressedAcks: UInt8 = 0
    var compressedAt = SequenceNumber(0)
    /// A FIN that arrived with data beyond a hole.
    var outOfOrderFIN = false
    var outOfOrderFINAt = SequenceNumber(0)
    /// When the SYN was sent; in TIME-WAIT when that began (`tw_entry_stamp`).
    var synSentAt: UInt64 = 0
    var timeWaitWindow: UInt32 = 0
    var outOfWindowAnswer: UInt64 = 0

    // Opening, the program's options, and what its children wait for.
    var initialSend = SequenceNumber(0)
    var initialReceive = SequenceNumber(0)
    var pendingError: Int32 = 0
    var softError: Int32 = 0
    var sendBuffer: UInt32 = 0
    var userSegment: UInt16 = 0
    var backlog: Int32 = 0
    var acceptCount: Int32 = 0
    var handshakes: Int32 = 0
    var acceptHead: EndpointPointer?
    var acceptTail: EndpointPointer?
    var acceptNext: EndpointPointer?
    var listener: EndpointPointer?
    var lingerTime: Int64 = -1
    var userTimeout: Int64 = 0
    /// Index into the stack's list of device names; zero for none.
    var device: UInt16 = 0
    /// TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_LINGER2 in ns; zero: the namespace's setting. Linger2 below zero: no FIN-WAIT-2.
    var keepIdle: Int64 = 0
    var keepInterval: Int64 = 0
    var linger2: Int64 = 0
    /// IP_MTU_DISCOVER.
    var pathDiscovery = PathMTUDiscovery.want
    var keepCount: UInt8 = 0
    var synCount: UInt8 = 0
    /// TCP_DEFER_ACCEPT as a number of SYN-ACK retransmissions (`rskq_defer_accept`).
    var deferAccept: UInt8 = 0
    var userClamp: UInt32 = 0
    /// Zero: the namespace's setting.
    var notSentLowWater: UInt32 = 0
    /// SO_RCVLOWAT; zero and one are the same.
    var receiveLowWater: UInt32 = 0
    var fastOpenQueue: Int32 = 0
    /// Children of this listener that Fast Open made and whose handshake is not complete.
    var fastOpenPending: Int32 = 0
    /// The listener a Fast Open child counts at, by its socket.
    var fastOpenListener: UInt32 = 0
    /// Why data did not get through with the SYN (`fastopen_client_fail`).
    var fastOpenFailure = FastOpenFailure.none
    /// What the next SYN or SYN-ACK says about Fast Open.
    var cookie = FastOpenCookie()
    var congestion = CongestionControl.cubic
    /// Pacing, BBR, DCTCP, path MTU search, waiting for the device: none for most connections.
    var modules: SenderModulesPointer?
    var ecn: CongestionNotification = []
    /// When the window was first probed, in ns; zero: it is not (`icsk_probes_tstamp`).
    var probingSince: UInt64 = 0
    var cubic = CubicState()
    /// Most segments out while the window was not in use, and since when (`snd_cwnd_used`, `snd_cwnd_stamp`).
    var windowUsed: UInt32 = 0
    var windowStamp: UInt64 = 0
    /// Packets the kernel would hold for what is written and not acknowledged, each with memory of its own (`sk_wmem_queued`).
    var heldPackets: UInt32 = 0
    /// When something was last sent, in ns (`tcp_wstamp_ns`).
    var lastTransmission: UInt64 = 0
    /// When the last packet with data that this host's device holds will have left it, in ns (`sk_wmem_alloc` is not zero before).
    var leavesAt: UInt64 = 0
    var rate = DeliveryRate()
    // Counters of TCP_INFO.
    var segmentsIn: UInt32 = 0
    var segmentsOut: UInt32 = 0
    var dataSegmentsIn: UInt32 = 0
    var dataSegmentsOut: UInt32 = 0
    var bytesSent: UInt64 = 0
    var bytesRetransmitted: UInt64 = 0
    var bytesAcknowledged: UInt64 = 0
    var bytesReceived: UInt64 = 0
    /// Segments that came with CE, and bytes that came with ECT(1), ECT(0) and CE (`received_ce`, `received_ecn_bytes`).
    var receivedMarked: UInt32 = 0
    var receivedBytes: (ect1: UInt32, ect0: UInt32, ce: UInt32) = (0, 0, 0)
    /// Delivered segments whose ACK said ECE.
    var deliveredMarked: UInt32 = 0
    var totalRetransmissions: UInt32 = 0
    var delivered: UInt32 = 0
    var reorderingEvents: UInt32 = 0
    /// Segments that came beyond a hole; timeouts, and how many of them began a series (`rcv_ooopack`, `total_rto`, `total_rto_recoveries`).
    var outOfOrderSegments: UInt32 = 0
    var timeouts: UInt16 = 0
    var timeoutSeries: UInt16 = 0
    /// Time spent in series of timeouts that are over, in ms, and when the present one began (`total_rto_time`, `rto_stamp`).
    var timeoutTime: UInt32 = 0
    var timeoutStamp: UInt64 = 0
    /// Timeouts that chose another hash for the path (`timeout_rehash`).
    var rehashes: UInt32 = 0
    var duplicateReports: UInt32 = 0
    var chronograph = Chronograph()
}
