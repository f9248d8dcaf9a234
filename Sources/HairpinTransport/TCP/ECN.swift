import HairpinEngine
import HairpinWire

/// Explicit congestion notification (RFC 3168, `tcp_ecn_…` of tcp_input.c and tcp_output.c).
struct CongestionNotification: OptionSet, BitwiseCopyable {
    let rawValue: UInt8
    /// Both sides agreed in the handshake.
    static let agreed = CongestionNotification(rawValue: 1)
    /// The next new data segment carries CWR.
    static let queuesCWR = CongestionNotification(rawValue: 2)
    /// ECE on every ACK until the peer says CWR.
    static let demandsCWR = CongestionNotification(rawValue: 4)
    /// The peer has sent ECT or CE.
    static let seen = CongestionNotification(rawValue: 8)
    /// Code points of the IP header.
    static let ect0: UInt8 = 2, ce: UInt8 = 3
}

extension TransportStack {
    // MARK: handshake

    func offersECN(_ e: EndpointPointer) -> Bool { settings.tcp_ecn == 1 || e.cold.pointee.congestion.needsECN }
    /// A SYN with ECE and CWR asks; one with a code point of its own cannot be trusted (`tcp_ecn_create_request`).
    func acceptsECN(_ listener: EndpointPointer, _ segment: Segment) -> Bool {
        guard segment.flags.isSuperset(of: [.ece, .cwr]) else { return false }
        return listener.cold.pointee.congestion.needsECN || settings.tcp_ecn != 0 && segment.typeOfService & CongestionNotification.ce == 0
    }
    /// The answer: ECE alone (`tcp_ecn_rcv_synack`).
    func concludeECN(_ e: EndpointPointer, _ segment: Segment) {
        if e.cold.pointee.ecn.contains(.agreed), !segment.flags.contains(.ece) || segment.flags.contains(.cwr) { e.cold.pointee.ecn = [] }
    }
    func ecnFlags(_ e: EndpointPointer, isSYN: Bool, isSYNACK: Bool) -> TCPFlags {
        guard e.cold.pointee.ecn.contains(.agreed) else { return [] }
        if isSYNACK { return .ece }
        // A network that drops such SYNs must not keep the connection from opening (RFC 3168 §6.1.1.1, `tcp_ecn_clear_syn`).
        if isSYN { return settings.tcp_ecn_fallback && e.cold.pointee.synRetries > 0 ? [] : [.ece, .cwr] }
        return e.cold.pointee.ecn.contains(.demandsCWR) ? .ece : []
    }

    // MARK: receiver

    /// Counts what came with a code point (`tcp_ecn_received_counters`), whether or not ECN is agreed.
    func countMark(_ e: EndpointPointer, _ segment: Segment) {
        let count = UInt32(segment.payload.count)
        if !e.cold.pointee.ecn.contains(.agreed) { e.cold.pointee.ecn.insert(.seen) }
        switch segment.typeOfService & 3 {
        case CongestionNotification.ce:
            e.cold.pointee.receivedMarked &+= segment.segmentSize > 0 ? (max(count, 1) + UInt32(segment.segmentSize) - 1) / UInt32(segment.segmentSize) : 1
            e.cold.pointee.receivedBytes.ce &+= count
        case CongestionNotification.ect0: e.cold.pointee.receivedBytes.ect0 &+= count
        default: e.cold.pointee.receivedBytes.ect1 &+= count
        }
    }

    /// `tcp_ecn_check_ce`, `tcp_ecn_accept_cwr`
    func noteECN(_ e: EndpointPointer, _ segment: Segment) {
        if segment.flags.contains(.cwr) {
            e.cold.pointee.ecn.remove(.demandsCWR)
            // The sender's window may be very small: it is not kept waiting.
            if !segment.payload.isEmpty { e.pointee.flags.insert(.ackNow) }
        }
        guard e.cold.pointee.ecn.contains(.agreed), !segment.payload.isEmpty else { return }
        switch segment.typeOfService & 3 {
        case 0:
            if e.cold.pointee.ecn.contains(.seen) { enterQuick(e, most: 2) }  // probably a retransmission
        case CongestionNotification.ce:
            if e.cold.pointee.congestion == .dctcp { noteMark(e, isMarked: true) }
            if !e.cold.pointee.ecn.contains(.demandsCWR) {
                enterQuick(e, most: 2)
                e.cold.pointee.ecn.insert(.demandsCWR)
            }
            e.cold.pointee.ecn.insert(.seen)
        default:
            if e.cold.pointee.congestion == .dctcp { noteMark(e, isMarked: false) }
            e.cold.pointee.ecn.insert(.seen)
        }
    }

    // MARK: sender

    func hearsCongestion(_ e: EndpointPointer, _ segment: Segment) -> Bool {
        segment.flags.contains(.ece) && !segment.isSYN && e.cold.pointee.ecn.contains(.agreed)
    }
    func queueCWR(_ e: EndpointPointer) { if e.cold.pointee.ecn.contains(.agreed) { e.cold.pointee.ecn.insert(.queuesCWR) } }
    func withdrawCWR(_ e: EndpointPointer) { e.cold.pointee.ecn.remove(.queuesCWR) }
}
