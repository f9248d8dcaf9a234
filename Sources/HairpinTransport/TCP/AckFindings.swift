import HairpinWire

/// What one ACK told about the segments in flight (`FLAG_…` of tcp_input.c).
struct AckFindings {
    struct Flags: OptionSet {
        let rawValue: UInt16
    }
    private var flags: Flags = []
    init(priorUnacknowledged: SequenceNumber) { self.priorUnacknowledged = priorUnacknowledged }
    mutating func insert(_ flag: Flags) { flags.formUnion(flag) }
    mutating func remove(_ flag: Flags) { flags.subtract(flag) }
    func contains(_ flag: Flags) -> Bool { flags.contains(flag) }
    func isDisjoint(with other: Flags) -> Bool { flags.isDisjoint(with: other) }

    var priorUnacknowledged = SequenceNumber(0)
    var deliveredBefore: UInt32 = 0
    var lostBefore: UInt32 = 0
    /// Round trips in ns, -1 unknown (Karn's rule, RFC 6298 §3): of the first and the last segment acknowledged, of the first and the last SACKed.
    var firstRoundTrip: Int64 = -1
    var lastRoundTrip: Int64 = -1
    var firstSackRoundTrip: Int64 = -1
    var lastSackRoundTrip: Int64 = -1
    /// What it tells of the delivery rate.
    var delivery = DeliveryRate.Reading()
    /// When the most recently sent of the segments delivered by it was sent; zero: none was.
    var latestDelivered: UInt64 = 0
    /// Lowest sequence number that shows reordering.
    var reordered: SequenceNumber?
    /// What is to be sent because of it.
    var resend = Resend.nothing
    enum Resend { case nothing, lost, new }

    /// The sample for congestion control (`ca_rtt_us`).
    var acknowledgedRoundTrip: Int64 {
        if lastSackRoundTrip >= 0 { return lastSackRoundTrip }
        return contains(.retransmittedAcked) ? -1 : lastRoundTrip
    }
}

extension AckFindings.Flags {
    static let data = Self(rawValue: 1), windowUpdate = Self(rawValue: 2), acked = Self(rawValue: 4)
    static let retransmittedAcked = Self(rawValue: 8), sacked = Self(rawValue: 16), unaAdvanced = Self(rawValue: 32)
    /// A retransmission turned out to be lost.
    static let lostRetransmission = Self(rawValue: 64)
    /// Data below the recovery point that was sent once only has arrived (F-RTO).
    static let originalArrived = Self(rawValue: 128)
    static let setsTimer = Self(rawValue: 256), duplicateReport = Self(rawValue: 512), duplicateProbe = Self(rawValue: 1024)
    /// The receiver threw away what it had reported (RFC 2018 §8).
    static let reneging = Self(rawValue: 2048)
    static let congestionEcho = Self(rawValue: 4096)
    static let notDuplicate: Self = [.data, .windowUpdate, .acked]
    static let alarming: Self = [.sacked, .duplicateReport, .congestionEcho]
    static let progress: Self = [.acked, .sacked]
}
