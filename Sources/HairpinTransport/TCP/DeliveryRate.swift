import HairpinEngine
import HairpinWire

/// How fast the network delivers (`tcp_rate.c`; draft-cheng-iccrg-delivery-rate-estimation): each segment in flight remembers how much had been delivered
/// when it was sent, so its ACK tells how much was delivered in the meantime. What a connection remembers between ACKs.
struct DeliveryRate: BitwiseCopyable {
    /// Of all that an ACK covers, what the segment says that was sent last (`struct rate_sample`, `tcp_rate_skb_delivered`). Times in µs, truncated.
    struct Reading: BitwiseCopyable {
        var priorDelivered: UInt32 = 0
        var priorTime: UInt32 = 0
        /// How long it took to send what was delivered.
        var sending: UInt32 = 0
        var lastEnd = SequenceNumber(0)
        /// Nothing else holds without it.
        var isThere = false
        var isApplicationLimited = false
        var isRetransmission = false
    }

    /// What one ACK tells BBR. Times in µs.
    struct Sample: BitwiseCopyable {
        var priorDelivered: UInt32 = 0
        /// Segments delivered over `interval`; both below zero if the ACK gives no sample.
        var delivered: Int64 = -1
        var interval: Int64 = -1
        /// The round trip of the ACK; below zero: none.
        var roundTrip: Int64 = -1
        var losses: UInt32 = 0
        var acked: UInt32 = 0
        var priorInFlight: Int = 0
        var isApplicationLimited = false
        /// One small segment at the end of a flight, for whose ACK the receiver probably waited.
        var isAckDelayed = false
    }

    /// When data was last delivered, in µs (`delivered_mstamp`).
    var deliveredAt: UInt64 = 0
    /// When what was last delivered had been sent, in µs, truncated (`first_tx_mstamp`).
    var firstSentAt: UInt32 = 0
    /// The program had nothing to send until this much is delivered; zero: it has (`app_limited`). Nothing is known before the first ACK.
    var applicationLimit = UInt32.max
    /// The latest sample that the program did not limit, or the best one it did: segments, and µs (`tcpi_delivery_rate`).
    var rateDelivered: UInt32 = 0
    var rateInterval: UInt32 = 0
    var isRateApplicationLimited = true
}

extension TransportStack {
    /// A segment, or the first of several, goes out (`tcp_rate_skb_sent`). `wasIdle`: nothing was in flight.
    @inline(__always)
    func noteDelivery(_ e: EndpointPointer, _ sent: inout SentSegment, wasIdle: Bool) {
        if wasIdle {
            let time = sent.sentAt / 1000
            e.cold.pointee.rate.deliveredAt = time
            e.cold.pointee.rate.firstSentAt = UInt32(truncatingIfNeeded: time)
        }
        sent.delivered = e.cold.pointee.delivered
        sent.deliveredAt = UInt32(truncatingIfNeeded: e.cold.pointee.rate.deliveredAt)
        sent.firstSentAt = e.cold.pointee.rate.firstSentAt
        if e.cold.pointee.rate.applicationLimit != 0 { sent.marks |= SentSegment.applicationLimited }
        if e.cold.pointee.rate.deliveredAt == 0 { sent.marks |= SentSegment.untimed }
    }

    /// An ACK begins.
    func beginSample(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        modules.pointee.sample = DeliveryRate.Sample()
        modules.pointee.sample.priorInFlight = e.pointee.inFlight
    }

    /// A segment has arrived: of all that one ACK covers, the one sent last counts (`tcp_rate_skb_delivered`).
    @inline(__always)
    func sampleDelivery(_ e: EndpointPointer, _ sent: SentSegment, _ findings: inout AckFindings) {
        if sent.marks & SentSegment.untimed != 0 { return }
        let sentAt = UInt32(truncatingIfNeeded: sent.sentAt / 1000)
        if findings.delivery.priorDelivered != 0 {
            let later = Int32(bitPattern: sentAt &- e.cold.pointee.rate.firstSentAt)
            guard later > 0 || (later == 0 && sent.end.isAfter(findings.delivery.lastEnd)) else { return }
        }
        findings.delivery.isThere = true
        findings.delivery.priorDelivered = sent.delivered
        findings.delivery.priorTime = sent.deliveredAt
        findings.delivery.isApplicationLimited = sent.marks & SentSegment.applicationLimited != 0
        findings.delivery.isRetransmission = sent.marks & (SentSegment.retransmitted | SentSegment.everRetransmitted) != 0
        findings.delivery.lastEnd = sent.end
        findings.delivery.sending = sentAt &- sent.firstSentAt
        e.cold.pointee.rate.firstSentAt = sentAt
    }

    /// One segment acknowledged that was not a full one (`FLAG_ACK_MAYBE_DELAYED`).
    func mayBeDelayed(_ e: EndpointPointer, _ findings: AckFindings) -> Bool {
        e.pointee.unacknowledged - findings.priorUnacknowledged < Int(e.pointee.segmentSize)
            && findings.firstRoundTrip >= 0 && !findings.contains(.retransmittedAcked) && findings.isDisjoint(with: .alarming)
            && findings.delivery.priorDelivered &+ 1 == e.cold.pointee.delivered
            && (e.cold.pointee.sent.count == 0 || e.cold.pointee.sent[0].start == e.pointee.unacknowledged)
    }

    /// The sample of an ACK (`tcp_rate_gen`): over the slower of the time it took to send and the time it took to be acknowledged.
    func finishSample(_ e: EndpointPointer, _ findings: AckFindings, delivered: UInt32) {
        let limit = e.cold.pointee.rate.applicationLimit
        if limit != 0, Int32(bitPattern: e.cold.pointee.delivered &- limit) > 0 { e.cold.pointee.rate.applicationLimit = 0 }
        let time = now.nanoseconds / 1000
        if delivered > 0 { e.cold.pointee.rate.deliveredAt = time }
        let reading = findings.delivery
        var interval: Int64 = -1
        var count: Int64 = -1
        if reading.isThere, !findings.contains(.reneging) {
            count = Int64(e.cold.pointee.delivered &- reading.priorDelivered)
            interval = Int64(max(reading.sending, UInt32(truncatingIfNeeded: time) &- reading.priorTime))
            // Shorter than any round trip: the ACK was for the original of a retransmission.
            if interval < Int64(e.cold.pointee.minimumRTT) { interval = -1 }
        }
        if interval >= 0,
            !reading.isApplicationLimited
                || UInt64(count) &* UInt64(e.cold.pointee.rate.rateInterval) >= UInt64(e.cold.pointee.rate.rateDelivered) &* UInt64(interval)
        {
            e.cold.pointee.rate.rateDelivered = UInt32(truncatingIfNeeded: count)
            e.cold.pointee.rate.rateInterval = UInt32(truncatingIfNeeded: interval)
            e.cold.pointee.rate.isRateApplicationLimited = reading.isApplicationLimited
        }
        guard e.cold.pointee.congestion == .bbr, let modules = e.cold.pointee.modules else { return }
        modules.pointee.sample.acked = delivered
        modules.pointee.sample.losses = e.cold.pointee.lostEver &- findings.lostBefore
        modules.pointee.sample.priorDelivered = reading.priorDelivered
        modules.pointee.sample.isApplicationLimited = reading.isApplicationLimited
        (modules.pointee.sample.delivered, modules.pointee.sample.interval) = (count, interval)
    }

    /// The program writes: had it left the network idle (`tcp_rate_check_app_limited`)?
    func noteApplicationLimit(_ e: EndpointPointer) {
        if e.pointee.unsent < Int(e.pointee.segmentSize), e.cold.pointee.leavesAt <= now.nanoseconds, e.pointee.inFlight < Int(e.pointee.window),
            e.pointee.lostOut <= e.pointee.retransOut
        {
            limitByApplication(e)
        }
    }

    func limitByApplication(_ e: EndpointPointer) { e.cold.pointee.rate.applicationLimit = max(1, e.cold.pointee.delivered &+ UInt32(max(0, e.pointee.inFlight))) }

    /// Bytes a second of the last sample, zero without one (`tcp_compute_delivery_rate`).
    func deliveryRate(_ e: EndpointPointer) -> UInt64 {
        let rate = e.cold.pointee.rate
        guard rate.rateDelivered > 0, rate.rateInterval > 0 else { return 0 }
        return UInt64(rate.rateDelivered) * UInt64(e.pointee.segmentSize) * 1_000_000 / UInt64(rate.rateInterval)
    }
}
