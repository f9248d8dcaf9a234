import HairpinEngine
import HairpinWire

/// DCTCP (RFC 8257, `tcp_dctcp.c`, `tcp_dctcp.h`): the receiver echoes each change of the CE mark exactly, the sender keeps a moving average of the
/// marked share and lowers its window by half of that share. Grows as Reno. Without ECN on the connection it is Reno altogether.
struct DCTCP: BitwiseCopyable {
    /// Alpha is in 1/1024; a new sample weighs 1/16 (`dctcp_shift_g`).
    static let full: UInt32 = 1024, gainShift: UInt32 = 4

    /// The marked share; one at first, so that the first mark halves the window (RFC 8257 §3.3).
    var alpha = full
    var oldDelivered: UInt32 = 0
    var oldMarked: UInt32 = 0
    /// Where the present observation window ends.
    var nextSequence = SequenceNumber(0)
    /// The window at the last loss, for an undo; zero: none.
    var lossWindow: UInt32 = 0
    /// Receiver: the state of DCTCP.CE (RFC 8257 §3.2).
    var isMarked = false
}

extension CongestionControl {
    /// Whether connections ask for ECN whatever `tcp_ecn` says, and mark every packet as ECT (`TCP_CONG_NEEDS_ECN`).
    var needsECN: Bool { self == .dctcp }
}

extension TransportStack {
    /// `dctcp_init`; before the handshake nothing is decided.
    func startDCTCP(_ e: EndpointPointer) {
        guard e.cold.pointee.ecn.contains(.agreed) else {
            e.cold.pointee.congestion = .dctcpReno
            return
        }
        let modules = requireModules(e)
        modules.pointee.dctcp = DCTCP()
        beginObservation(e, modules)
    }

    private func beginObservation(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        modules.pointee.dctcp.nextSequence = e.pointee.sendNext
        modules.pointee.dctcp.oldDelivered = e.cold.pointee.delivered
        modules.pointee.dctcp.oldMarked = e.cold.pointee.deliveredMarked
    }

    /// RFC 8257 §3.3 (`dctcp_update_alpha`): once a round trip.
    func updateAlpha(_ e: EndpointPointer, _ modules: SenderModulesPointer) {
        guard !e.pointee.unacknowledged.isBefore(modules.pointee.dctcp.nextSequence) else { return }
        let delivered = e.cold.pointee.delivered &- modules.pointee.dctcp.oldDelivered
        let marked = e.cold.pointee.deliveredMarked &- modules.pointee.dctcp.oldMarked
        var alpha = modules.pointee.dctcp.alpha
        // Below the weight of a sample it still goes down to zero.
        let decay = alpha >> DCTCP.gainShift
        alpha -= decay == 0 ? alpha : decay
        if marked > 0 {
            let share = UInt64(marked) << UInt64(10 - DCTCP.gainShift) / UInt64(max(1, delivered))
            alpha = UInt32(min(UInt64(alpha) + share, UInt64(DCTCP.full)))
        }
        modules.pointee.dctcp.alpha = alpha
        beginObservation(e, modules)
    }

    /// RFC 8257 §3.3, step 9 (`dctcp_ssthresh`).
    func thresholdDCTCP(_ e: EndpointPointer) -> UInt32 {
        guard let modules = e.cold.pointee.modules else { return max(2, e.pointee.window >> 1) }
        modules.pointee.dctcp.lossWindow = e.pointee.window
        let cut = (UInt64(e.pointee.window) * UInt64(modules.pointee.dctcp.alpha)) >> 11
        return max(2, e.pointee.window - UInt32(cut))
    }

    /// A loss halves the window (RFC 8257 §3.5, `dctcp_react_to_loss`).
    func loseDCTCP(_ e: EndpointPointer) {
        guard let modules = e.cold.pointee.modules else { return }
        modules.pointee.dctcp.lossWindow = e.pointee.window
        e.cold.pointee.slowStartThreshold = max(2, e.pointee.window >> 1)
    }

    /// RFC 8257 §3.2 (`dctcp_ece_ack_update`): when the mark changes, what came before is acknowledged with the old state, and what comes now at once.
    func noteMark(_ e: EndpointPointer, isMarked: Bool) {
        guard let modules = e.cold.pointee.modules else { return }
        if modules.pointee.dctcp.isMarked != isMarked {
            if e.pointee.flags.contains(.ackTimer) {
                demandCWR(e, modules.pointee.dctcp.isMarked)
                // An ACK of what came before the present segment, which is not counted in yet. It leaves the delayed ACK as it is (`__tcp_send_ack`).
                let (flags, quick, deadline, timeout) = (e.pointee.flags, e.pointee.quickAcks, e.pointee.ackDeadline, e.pointee.ackTimeout)
                sendAck(e)
                e.pointee.flags.formUnion(flags.intersection([.ackScheduled, .ackTimer, .ackPushed, .ackPushed2]))
                (e.pointee.quickAcks, e.pointee.ackDeadline, e.pointee.ackTimeout) = (quick, deadline, timeout)
            }
            e.pointee.flags.formUnion([.ackNow, .ackScheduled])
        }
        modules.pointee.dctcp.isMarked = isMarked
        demandCWR(e, isMarked)
    }

    private func demandCWR(_ e: EndpointPointer, _ on: Bool) {
        if on { e.cold.pointee.ecn.insert(.demandsCWR) } else { e.cold.pointee.ecn.remove(.demandsCWR) }
    }
}
