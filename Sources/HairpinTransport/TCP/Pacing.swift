import HairpinEngine
import HairpinWire

/// Pacing inside TCP (`SK_PACING_NEEDED`): after each packet of the write queue the next one waits for as long as the rate gives it, on a timer of
/// nanoseconds. On with BBR and with SO_MAX_PACING_RATE; the queue discipline fq, which would do the same below TCP, is not modelled.
struct Pacing: BitwiseCopyable {
    /// `sk_pacing_status`
    var isOn = false
    /// Bytes a second (`sk_pacing_rate`); `.max` before anything is known.
    var rate = UInt64.max
    /// SO_MAX_PACING_RATE; `.max`: none.
    var maximumRate = UInt64.max
    /// The earliest time of the next packet, in ns (`tcp_wstamp_ns`).
    var next: UInt64 = 0
    /// When the timer goes off, in ns; `.max`: it is not set (`pacing_timer`).
    var deadline = UInt64.max
    /// The first packets of a connection are not paced.
    static let unpacedSegments: UInt32 = 10
}

extension TransportStack {
    /// SO_MAX_PACING_RATE: `.max` takes the bound away, but pacing stays on (`sk_setsockopt`).
    func setMaximumPacingRate(_ e: EndpointPointer, _ rate: UInt64) {
        if rate == .max, e.cold.pointee.modules == nil { return }
        let modules = requireModules(e)
        if rate != .max { modules.pointee.pacing.isOn = true }
        modules.pointee.pacing.maximumRate = rate
        modules.pointee.pacing.rate = min(modules.pointee.pacing.rate, rate)
    }

    func maximumPacingRate(_ e: EndpointPointer) -> UInt64 { e.cold.pointee.modules?.pointee.pacing.maximumRate ?? .max }

    /// After an ACK, for congestion controls that do not set the rate themselves (`tcp_update_pacing_rate`).
    func updatePacingRate(_ e: EndpointPointer) {
        guard let modules = e.cold.pointee.modules, modules.pointee.pacing.isOn, e.cold.pointee.congestion != .bbr else { return }
        modules.pointee.pacing.rate = min(windowRate(e), modules.pointee.pacing.maximumRate)
    }

    /// Whether the next packet has to wait; sets the timer if so (`tcp_pacing_check`).
    func waitsForPacing(_ e: EndpointPointer) -> Bool {
        guard let modules = e.cold.pointee.modules, modules.pointee.pacing.isOn, modules.pointee.pacing.next > now.nanoseconds else { return false }
        if modules.pointee.pacing.deadline == .max {
            modules.pointee.pacing.deadline = modules.pointee.pacing.next
            schedule(e)
        }
        return true
    }

    /// The packet just sent pushes the next one back by its length over the rate, less what the sender was late by, at most half of it
    /// (`tcp_update_skb_after_send`).
    func advancePacing(_ e: EndpointPointer, _ modules: SenderModulesPointer, payload: Int, previous: UInt64) {
        let before = max(modules.pointee.pacing.next, previous)
        var next = max(before, now.nanoseconds)
        let rate = modules.pointee.pacing.rate
        if modules.pointee.pacing.isOn, rate != .max, rate != 0, e.cold.pointee.dataSegmentsOut >= Pacing.unpacedSegments {
            let length = UInt64(payload) * 1_000_000_000 / rate
            next += length - min(length / 2, next - before)
        }
        modules.pointee.pacing.next = next
    }

    /// By how many ticks pacing puts off the next packet: timers of what is in flight wait so much longer (`tcp_pacing_delay`).
    func pacingDelay(_ e: EndpointPointer) -> UInt64 {
        guard let modules = e.cold.pointee.modules, modules.pointee.pacing.next > now.nanoseconds else { return 0 }
        return (modules.pointee.pacing.next - now.nanoseconds) / TimerWheel.tick
    }

    /// Pacing or the device lets more go (`tcp_pace_kick`, `tcp_tsq_write`): lost segments first, then new ones.
    func sendHeldBack(_ e: EndpointPointer) {
        switch e.pointee.state {
        case .established, .finWait1, .closing, .closeWait, .lastAck: break
        default: return
        }
        if e.pointee.lostOut > e.pointee.retransOut, Int(e.pointee.window) > e.pointee.inFlight { retransmitLost(e) }
        if e.pointee.state != .closed { writeSegments(e, segment: currentSegment(e), nagle: nagle(e)) }
    }
}
