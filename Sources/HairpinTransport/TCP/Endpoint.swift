import HairpinEngine
import HairpinWire

typealias EndpointPointer = UnsafeMutablePointer<Endpoint>

/// RFC 9293 §3.3.2; `closed` is also a socket that was never connected.
enum ConnectionState: UInt8 {
    case closed, listen, synSent, synReceived, established, finWait1, finWait2, closeWait, closing, lastAck, timeWait
    /// The state word of ss(8).
    var word: String {
        switch self {
        case .closed: "UNCONN"
        case .listen: "LISTEN"
        case .synSent: "SYN-SENT"
        case .synReceived: "SYN-RECV"
        case .established: "ESTAB"
        case .finWait1: "FIN-WAIT-1"
        case .finWait2: "FIN-WAIT-2"
        case .closeWait: "CLOSE-WAIT"
        case .closing: "CLOSING"
        case .lastAck: "LAST-ACK"
        case .timeWait: "TIME-WAIT"
        }
    }
}

/// The sender's phase (`enum tcp_ca_state`).
enum RecoveryPhase: UInt8 { case open, disorder, reduced, recovery, loss }

/// What the one retransmission timer stands for (`icsk_pending`).
enum RetransmitTimer: UInt8 { case none, retransmission, lossProbe, windowProbe, reordering }

struct EndpointFlags: OptionSet {
    let rawValue: UInt64
    static let selectiveAcks = EndpointFlags(rawValue: 1 << 0), timestamps = EndpointFlags(rawValue: 1 << 1), windowScaling = EndpointFlags(rawValue: 1 << 2)
    static let noDelay = EndpointFlags(rawValue: 1 << 3), cork = EndpointFlags(rawValue: 1 << 4)
    /// close(2) was called; the connection lives on without a program (SOCK_DEAD).
    static let orphan = EndpointFlags(rawValue: 1 << 5)
    static let finQueued = EndpointFlags(rawValue: 1 << 6)
    static let receiveShut = EndpointFlags(rawValue: 1 << 7), sendShut = EndpointFlags(rawValue: 1 << 8)
    static let ackScheduled = EndpointFlags(rawValue: 1 << 9), ackTimer = EndpointFlags(rawValue: 1 << 10), ackNow = EndpointFlags(rawValue: 1 << 11)
    static let ackPushed = EndpointFlags(rawValue: 1 << 12), ackPushed2 = EndpointFlags(rawValue: 1 << 13)
    static let reuseAddress = EndpointFlags(rawValue: 1 << 14), keepAlive = EndpointFlags(rawValue: 1 << 15)
    /// A write found the buffer full (SOCK_NOSPACE).
    static let noSpace = EndpointFlags(rawValue: 1 << 16)
    static let receiveBufferSet = EndpointFlags(rawValue: 1 << 17), sendBufferSet = EndpointFlags(rawValue: 1 << 18)
    /// connect(2) was called and its success not yet reported.
    static let connecting = EndpointFlags(rawValue: 1 << 19)
    static let hashed = EndpointFlags(rawValue: 1 << 20), portHeld = EndpointFlags(rawValue: 1 << 21)
    static let portBound = EndpointFlags(rawValue: 1 << 23)
    static let probeRetransmitted = EndpointFlags(rawValue: 1 << 24)
    static let localRoute = EndpointFlags(rawValue: 1 << 25)
    static let duplicateSACK = EndpointFlags(rawValue: 1 << 26)
    /// A child in its listener's accept queue, or still in its handshake.
    static let unaccepted = EndpointFlags(rawValue: 1 << 27), inAcceptQueue = EndpointFlags(rawValue: 1 << 28)
    /// Forward progress since the last packet: the neighbour is alive (`sk_dst_confirm`).
    static let confirmsNeighbour = EndpointFlags(rawValue: 1 << 29)
    static let cwndLimited = EndpointFlags(rawValue: 1 << 30)
    static let handshakeDone = EndpointFlags(rawValue: 1 << 32)
    /// The peer's FIN has come: reading ends without an error, whatever happens later (SOCK_DONE).
    static let finReceived = EndpointFlags(rawValue: 1 << 33)
    static let receiveErrors = EndpointFlags(rawValue: 1 << 34)
    /// TIME-WAIT entered from a socket that had left in FIN-WAIT-2 (the substate of `inet_timewait_sock`).
    static let timeWaitFin2 = EndpointFlags(rawValue: 1 << 35)
    /// The peer acknowledged data that came with the SYN, in either direction (`syn_data_acked`).
    static let synData = EndpointFlags(rawValue: 1 << 37)
    /// A child made by Fast Open that waits for the last ACK; a client that asked for a cookie; connect(2) that waits for the first write.
    static let fastOpenChild = EndpointFlags(rawValue: 1 << 41), fastOpenAsked = EndpointFlags(rawValue: 1 << 42)
    static let connectDeferred = EndpointFlags(rawValue: 1 << 43)
    /// A child made by Fast Open, for good (`syn_fastopen_child`).
    static let bornOpen = EndpointFlags(rawValue: 1 << 61)
    /// Our SYN carried data.
    static let sentSynData = EndpointFlags(rawValue: 1 << 44)
    /// An ACK without data came while TCP_DEFER_ACCEPT waits for data.
    static let ackDeferred = EndpointFlags(rawValue: 1 << 45)
    /// Urgent data: a pointer has come, something urgent is not acknowledged, SO_OOBINLINE.
    static let urgentIn = EndpointFlags(rawValue: 1 << 57), urgentOut = EndpointFlags(rawValue: 1 << 58), urgentInline = EndpointFlags(rawValue: 1 << 59)
    /// Made for a SYN cookie.
    static let cookieChild = EndpointFlags(rawValue: 1 << 56)
    /// ACKs of data beyond a hole wait to be sent as one (`compressed_ack` is not zero).
    static let ackCompressed = EndpointFlags(rawValue: 1 << 53)
    /// The route's MTU has become less, and the connection has not noticed (`icsk_pmtu_cookie`).
    static let routeChanged = EndpointFlags(rawValue: 1 << 55)
    /// Routers may cut the packets: IP_MTU_DISCOVER is neither WANT nor DO (`ip_dont_fragment`).
    static let mayBeCut = EndpointFlags(rawValue: 1 << 54)
    /// The SYN had a Fast Open option or data (`syn_fastopen`, `syn_data`), at a time when Fast Open was not paused (`syn_fastopen_ch`).
    static let triedFastOpen = EndpointFlags(rawValue: 1 << 49)
    /// IP_MINTTL, TCP_THIN_LINEAR_TIMEOUTS, SO_PEEK_OFF.
    static let checksTTL = EndpointFlags(rawValue: 1 << 50), thin = EndpointFlags(rawValue: 1 << 51), peeksOnward = EndpointFlags(rawValue: 1 << 52)
    /// SO_TIMESTAMPING for what is sent.
    static let stamps = EndpointFlags(rawValue: 1 << 48)
    /// SO_ZEROCOPY; calls with MSG_ZEROCOPY are not all acknowledged.
    static let zeroCopy = EndpointFlags(rawValue: 1 << 46), awaitsZeroCopy = EndpointFlags(rawValue: 1 << 47)
    /// TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_NO_COOKIE, TCP_INQ.
    static let fastOpenConnect = EndpointFlags(rawValue: 1 << 38), fastOpenNoCookie = EndpointFlags(rawValue: 1 << 39), reportsUnread = EndpointFlags(rawValue: 1 << 40)
    /// A program waits in send(2) for the handshake (`sk_write_pending`).
    static let writePending = EndpointFlags(rawValue: 1 << 31)
    /// Another socket learned that the path takes less than this one knows: the next packet finds out (an obsolete `dst_entry`).
    static let routeStale = EndpointFlags(rawValue: 1 << 36)
    /// What arrived last found no room: the next ACK closes the window (ICSK_ACK_NOMEM).
    static let lacksMemory = EndpointFlags(rawValue: 1 << 22)
}

/// A segment in the retransmission queue. Consecutive segments of one burst (a GSO packet of the kernel) end with `endsBurst`.
struct SentSegment: BitwiseCopyable {
    var start: SequenceNumber
    /// Counts a FIN.
    var end: SequenceNumber
    var sentAt: UInt64
    /// What had been delivered when it was last sent, when the latest of that was, and when what that ACK was for had been sent (`tcp_skb_cb.tx`). Times in µs,
    /// truncated.
    var delivered: UInt32 = 0
    var deliveredAt: UInt32 = 0
    var firstSentAt: UInt32 = 0
    /// How long after `sentAt` it leaves the device, in ns, or with the highest bit set in units of 4096 ns; zero: at once.
    var leaving: UInt32 = 0
    static let leavesLate: UInt64 = 1 << 31
    var marks: UInt16 = 0
    var transmissions: UInt8 = 1
    static let psh: UInt16 = 1, fin: UInt16 = 2, sacked: UInt16 = 4, lost: UInt16 = 8, retransmitted: UInt16 = 16, endsBurst: UInt16 = 32
    static let everRetransmitted: UInt16 = 64
    /// As of the packet of the write queue that ended here.
    static let stamped: UInt16 = 128, endOfRecord: UInt16 = 256
    /// A packet of one segment whose front is acknowledged, and that has not been sent again since.
    static let trimmed: UInt16 = 512
    /// Sent while the program had nothing more to send (`tx.is_app_limited`); went with the SYN, when nothing was known of delivery.
    static let applicationLimited: UInt16 = 1024, untimed: UInt16 = 2048
    /// RACK found it lost and looks at it no more until it is sent again (off `tsorted_sent_queue`), also when the loss is taken back.
    static let judged: UInt16 = 4096
    /// Bytes of data, without the FIN.
    var payload: Int { end - start - (marks & SentSegment.fin != 0 ? 1 : 0) }
}

/// A packet of the write queue that has not been sent (an `sk_buff` behind `tcp_send_head`); it begins where the one before it ends, the first at SND.NXT.
struct QueuedPacket: BitwiseCopyable {
    var end: SequenceNumber
    var marks: UInt8 = 0
    static let psh: UInt8 = 1
    /// Nothing is added to it any more (MSG_EOR).
    static let endOfRecord: UInt8 = 2
    /// Its last byte is followed (SO_TIMESTAMPING).
    static let stamped: UInt8 = 4
}

/// A packet's worth of data in the receive queue, for the accounting of kernel memory only: the bytes are in the ring.
struct ReceivedChunk: BitwiseCopyable {
    var end: SequenceNumber
    var truesize: UInt32
    /// Bytes of the segment that follows which go into its memory at no cost (`skb_tailroom`).
    var room: UInt32
}

/// Data beyond a hole. `touched` orders SACK blocks, latest first (RFC 2018 §4); zero: ACKs do not name it any more.
struct OutOfOrderRange: BitwiseCopyable {
    var start: SequenceNumber
    var end: SequenceNumber
    var truesize: UInt32
    /// As of a received chunk, of the packet the range ends with.
    var room: UInt32
    var touched: UInt32
    /// The kernel's packets that make it up; where the last begins, and its memory.
    var packets: UInt32 = 0
    var lastStart: SequenceNumber
    var lastCost: UInt32 = 0

    init(start: SequenceNumber, end: SequenceNumber, touched: UInt32) {
        (self.start, self.end, self.touched, lastStart) = (start, end, touched, start)
        (truesize, room) = (0, 0)
    }

    /// Without its last packet, one of several; the others are taken to be of a size.
    mutating func removeLast() {
        packets -= 1
        truesize -= min(truesize, lastCost)
        end = lastStart
        room = 0
        lastCost = truesize / packets
        lastStart = packets == 1 ? start : end - max(1, (end - start) / Int(packets))
    }
}

/// What every segment and every timer of a TCP connection or listener needs: a record of 160 bytes at a stable address in a slab, the rest of the
/// connection's state behind `cold`. The order leaves no gaps.
struct Endpoint {
    // Demultiplexing and dispatch.
    var hashNext: EndpointPointer?
    let cold: UnsafeMutablePointer<EndpointDetails>
    var localAddress = IPv4Address.any
    var remoteAddress = IPv4Address.any
    var localPort: UInt16 = 0
    var remotePort: UInt16 = 0
    var state = ConnectionState.closed
    var phase = RecoveryPhase.open
    var timer = RetransmitTimer.none
    var sendScale: UInt8 = 0
    var flags: EndpointFlags = []
    var receiveScale: UInt8 = 0
    var quickAcks: UInt8 = 0
    var pingPong: UInt8 = 0
    /// Share of kernel memory that is data, in 1/256 (`scaling_ratio`).
    var scalingRatio: UInt8 = 128
    /// Slot zero: the endpoint has been freed.
    var socket: SocketID

    // Receiving (RFC 9293 §3.3.1 names in parentheses).
    /// RCV.NXT
    var receiveNext = SequenceNumber(0)
    /// RCV.NXT when the last window was advertised (`rcv_wup`).
    var windowUpdate = SequenceNumber(0)
    var copied = SequenceNumber(0)
    /// The window advertised at `windowUpdate`, in bytes.
    var receiveWindow: UInt32 = 0
    /// The most that will be advertised for now (`rcv_ssthresh`).
    var windowThreshold: UInt32 = 0
    /// Kernel memory of all queued packets (`sk_rmem_alloc`).
    var receiveMemory: UInt32 = 0
    /// Estimate of the peer's segment size (`rcv_mss`).
    var peerSegment: UInt16 = 536
    /// Delayed ACK estimate in ticks.
    var ackTimeout: UInt16 = 0

    // Sending.
    /// Sending MSS with the options every segment carries deducted.
    var segmentSize: UInt16 = 536
    var identification: UInt16 = 0
    /// SND.UNA
    var unacknowledged = SequenceNumber(0)
    /// SND.NXT
    var sendNext = SequenceNumber(0)
    /// The end of what the program wrote.
    var writeEnd = SequenceNumber(0)
    /// Up to where PSH was put on packets (`pushed_seq`).
    var pushed = SequenceNumber(0)
    var windowSequence = SequenceNumber(0)
    var sendWindow: UInt32 = 0
    /// In segments (`snd_cwnd`).
    var window: UInt32 = 10
    var sackedOut: UInt32 = 0
    var lostOut: UInt32 = 0
    var retransOut: UInt32 = 0

    // Time.
    /// Timestamps: what to echo, and this connection's offset.
    var recentTimestamp: UInt32 = 0
    var timestampOffset: UInt32 = 0
    /// In ticks.
    var retransmitTimeout: UInt32 = 250
    var heapIndex: Int32 = -1
    var retransmitDeadline: UInt64 = .max
    var ackDeadline: UInt64 = .max
    /// SYN-ACK, keepalive, FIN-WAIT-2 or TIME-WAIT.
    var slowDeadline: UInt64 = .max

    init(socket: SocketID, cold: UnsafeMutablePointer<EndpointDetails>) {
        self.socket = socket
        self.cold = cold
    }

    var unsent: Int { writeEnd - sendNext }
    var packetsOut: Int { cold.pointee.sent.count }
    /// RFC 6675 "pipe" (`tcp_packets_in_flight`).
    var inFlight: Int { packetsOut - Int(sackedOut) - Int(lostOut) + Int(retransOut) }
    /// What is left of the advertised window (`tcp_receive_window`).
    var windowLeft: Int { max(0, Int(receiveWindow) - (receiveNext - windowUpdate)) }
    var windowEnd: SequenceNumber { unacknowledged + Int(sendWindow) }
    /// Its place in the socket table.
    var slot: UInt32 { socket.rawValue & 0xf_ffff }
    var isListener: Bool { state == .listen }
    /// Waits for the ACK of a SYN-ACK that answered a crossing SYN (RFC 9293 §3.5).
    var hasCrossedSYN: Bool { state == .synReceived && cold.pointee.listener == nil && !flags.contains(.fastOpenChild) }
}

extension EndpointPointer {
    var cold: UnsafeMutablePointer<EndpointDetails> { pointee.cold }
}
