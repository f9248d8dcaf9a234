import HairpinEngine
import HairpinWire

/// How fast the network delivers (`tcp_rate.c`; draft-cheng-iccrg-delivery-rate-estimation): each packet remembers how much had been delivered when it
/// was sent, so its ACK tells how much was delivered in the meantime. Runs for congestion controls that ask for it.
struct DeliveryRate {
    /// State at the time a packet of the write queue was sent (`tcp_skb_cb.tx`). Segments of one burst share it.
    struct Flight: BitwiseCopyable {
        var start: SequenceNumber
        var end: SequenceNumber
        var delivered: UInt32
        var isApplicationLimited: Bool
        /// When the last delivery before it was, and when the packet that it acknowledged had been sent, in µs.
        var deliveredAt: UInt64
        var firstSentAt: UInt64
    }

    /// What one ACK tells (`struct rate_sample`). Times in µs.
    struct Sample: BitwiseCopyable {
        var priorDelivered: UInt32 = 0
        var priorTime: UInt64 = 0
        /// Segments delivered over `interval`; both below zero if the ACK gives no sample.
        var delivered: Int64 = -1
        var interval: Int64 = -1
        /// The round trip of the ACK; below zero: none.
        var roundTrip: Int64 = -1
        var losses: UInt32 = 0
        var acked: UInt32 = 0
        var priorInFlight: Int = 0
        var lastEnd = SequenceNumber(0)
        var isApplicationLimited = false
        var isRetransmission = false
        /// One small segment at the end of a flight, for whose ACK the receiver probably waited.
        var isAckDelayed = false
    }

    var isOn = false
    var flights = RecordRing<Flight>()
    var sample = Sample()
    /// When data was last delivered, and when the packet which that ACK was for had been sent, in µs (`delivered_mstamp`, `first_tx_mstamp`).
    var deliveredAt: UInt64 = 0
    var firstSentAt: UInt64 = 0
    /// The program had nothing to send until this much is delivered; zero: it has (`app_limited`).
    var applicationLimit: UInt32 = 0
    /// The latest sample that the program did not limit, or the best one it did (`tcpi_delivery_rate`).
    var rateDelivered: UInt32 = 0
    var rateInterval: UInt64 = 0
    var isRateApplicationLimited = false
}

extension TransportStack {
    private var microseconds: UInt64 { now.nanoseconds / 1000 }

    /// `tcp_rate_skb_sent`
    func recordFlight(_ e: EndpointPointer, _ modules: SenderModulesPointer, start: SequenceNumber, end: SequenceNumber, wasIdle: Bool) {
        if wasIdle {
            modules.pointee.rate.firstSentAt = microseconds
            modules.pointee.rate.deliveredAt = microseconds
        }
        guard end != start else { return }
        modules.pointee.rate.flights.append(flight(e, modules, start: start, end: end), pool)
    }

    private func flight(_ e: EndpointPointer, _ modules: SenderModulesPointer, start: SequenceNumber, end: SequenceNumber) -> DeliveryRate.Flight {
        DeliveryRate.Flight(
            start: start, end: end, delivered: e.cold.pointee.delivered, isApplicationLimited: modules.pointee.rate.applicationLimit != 0,
            deliveredAt: modules.pointee.rate.deliveredAt, firstSentAt: modules.pointee.rate.firstSentAt)
    }

    /// What is sent again has a state of its own; the rest of its burst keeps the old one.
    func recordResent(_ e: EndpointPointer, _ modules: SenderModulesPointer, start: SequenceNumber, end: SequenceNumber) {
        var index = flightIndex(modules, start)
        while index < modules.pointee.rate.flights.count {
            let old = modules.pointee.rate.flights[index]
            guard old.start.isBefore(end) else { break }
            if old.start.isBefore(start) {
                // The front stays as it is.
                modules.pointee.rate.flights.pointer(index).pointee.end = start
                var rest = old
                rest.start = start
                modules.pointee.rate.flights.insert(rest, at: index + 1, pool)
                index += 1
                continue
            }
            if old.end.isAfter(end) {
                var rest = old
                rest.start = end
                modules.pointee.rate.flights.pointer(index).pointee.end = end
                modules.pointee.rate.flights.insert(rest, at: index + 1, pool)
            }
            let piece = modules.pointee.rate.flights[index]
            modules.pointee.rate.flights[index] = flight(e, modules, start: piece.start, end: piece.end)
            index += 1
        }
    }

    /// Index of the flight that holds `sequence`, or of the first behind it.
    private func flightIndex(_ modules: SenderModulesPointer, _ sequence: SequenceNumber) -> Int {
        var low = 0
        var high = modules.pointee.rate.flights.count
        while low < high {
            let middle = (low + high) / 2
            if modules.pointee.rate.flights[middle].end.isAtOrBefore(sequence) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// An ACK begins.
    func beginSample(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        modules.pointee.rate.sample = DeliveryRate.Sample()
        modules.pointee.rate.sample.priorInFlight = e.pointee.inFlight
    }

    /// A segment has arrived: of all that one ACK covers, the one sent last counts (`tcp_rate_skb_delivered`).
    func sampleDelivery(_ e: EndpointPointer, _ modules: SenderModulesPointer, _ sent: SentSegment) {
        let index = flightIndex(modules, sent.start)
        guard index < modules.pointee.rate.flights.count else { return }
        let flight = modules.pointee.rate.flights[index]
        guard !sent.start.isBefore(flight.start) else { return }
        let sentAt = sent.sentAt / 1000
        let sample = modules.pointee.rate.sample
        let isLater = sentAt > modules.pointee.rate.firstSentAt || (sentAt == modules.pointee.rate.firstSentAt && sent.end.isAfter(sample.lastEnd))
        guard sample.priorDelivered == 0 || isLater else { return }
        modules.pointee.rate.sample.priorDelivered = flight.delivered
        modules.pointee.rate.sample.priorTime = flight.deliveredAt
        modules.pointee.rate.sample.isApplicationLimited = flight.isApplicationLimited
        modules.pointee.rate.sample.isRetransmission = sent.marks & (SentSegment.retransmitted | SentSegment.everRetransmitted) != 0
        modules.pointee.rate.sample.lastEnd = sent.end
        modules.pointee.rate.firstSentAt = sentAt
        modules.pointee.rate.sample.interval = Int64(sentAt) - Int64(flight.firstSentAt)
    }

    /// One segment acknowledged that was not a full one (`FLAG_ACK_MAYBE_DELAYED`).
    func noteDelayedAck(_ e: EndpointPointer, _ modules: SenderModulesPointer, _ findings: AckFindings) {
        let isRunt = e.pointee.unacknowledged - findings.priorUnacknowledged < Int(e.pointee.segmentSize)
        guard isRunt, findings.firstRoundTrip >= 0, !findings.contains(.retransmittedAcked), findings.isDisjoint(with: .alarming),
            modules.pointee.rate.sample.priorDelivered &+ 1 == e.cold.pointee.delivered,
            e.cold.pointee.sent.count == 0 || e.cold.pointee.sent[0].start == e.pointee.unacknowledged
        else { return }
        modules.pointee.rate.sample.isAckDelayed = true
    }

    /// Flights below SND.UNA tell nothing more.
    func forgetFlights(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        while modules.pointee.rate.flights.count > 0, modules.pointee.rate.flights[0].end.isAtOrBefore(e.pointee.unacknowledged) {
            modules.pointee.rate.flights.removeFirst(pool)
        }
    }

    /// The sample of an ACK (`tcp_rate_gen`): over the slower of the time it took to send and the time it took to be acknowledged.
    func finishSample(_ e: EndpointPointer, _ modules: SenderModulesPointer, delivered: UInt32, lost: UInt32, isReneging: Bool) {
        let limit = modules.pointee.rate.applicationLimit
        if limit != 0, Int32(bitPattern: e.cold.pointee.delivered &- limit) > 0 { modules.pointee.rate.applicationLimit = 0 }
        if delivered > 0 { modules.pointee.rate.deliveredAt = microseconds }
        var sample = modules.pointee.rate.sample
        defer { modules.pointee.rate.sample = sample }
        sample.acked = delivered
        sample.losses = lost
        guard sample.priorTime != 0, !isReneging else {
            (sample.delivered, sample.interval) = (-1, -1)
            return
        }
        sample.delivered = Int64(e.cold.pointee.delivered &- sample.priorDelivered)
        sample.interval = max(sample.interval, Int64(microseconds) - Int64(sample.priorTime))
        // Shorter than any round trip: the ACK was for the original of a retransmission.
        if e.cold.pointee.minimumRTT != .max, sample.interval < Int64(e.cold.pointee.minimumRTT) {
            sample.interval = -1
            return
        }
        let interval = UInt64(max(0, sample.interval))
        if !sample.isApplicationLimited
            || UInt64(sample.delivered) * modules.pointee.rate.rateInterval >= UInt64(modules.pointee.rate.rateDelivered) * interval
        {
            modules.pointee.rate.rateDelivered = UInt32(clamping: sample.delivered)
            modules.pointee.rate.rateInterval = interval
            modules.pointee.rate.isRateApplicationLimited = sample.isApplicationLimited
        }
    }

    /// The program writes: had it left the network idle (`tcp_rate_check_app_limited`)?
    func noteApplicationLimit(_ e: EndpointPointer) {
        guard let modules = e.cold.pointee.modules, modules.pointee.rate.isOn else { return }
        let inFlight = e.pointee.inFlight
        if e.pointee.unsent < Int(e.pointee.segmentSize), inFlight < Int(e.pointee.window), e.pointee.lostOut <= e.pointee.retransOut {
            limitByApplication(e, modules)
        }
    }

    func limitByApplication(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        modules.pointee.rate.applicationLimit = max(1, e.cold.pointee.delivered &+ UInt32(max(0, e.pointee.inFlight)))
    }

    /// Bytes a second of the last sample, zero without one (`tcp_compute_delivery_rate`).
    func deliveryRate(_ e: EndpointPointer) -> UInt64 {
        guard let modules = e.cold.pointee.modules, modules.pointee.rate.rateDelivered > 0, modules.pointee.rate.rateInterval > 0 else { return 0 }
        return UInt64(modules.pointee.rate.rateDelivered) * UInt64(e.pointee.segmentSize) * 1_000_000 / modules.pointee.rate.rateInterval
    }
}
