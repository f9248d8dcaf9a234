import HairpinEngine

/// What held the sender back, and for how long (`tcp_chrono_start`, `tcp_chrono_stop`): time with data to send is busy time, and part of it is spent
/// waiting for the peer's window or for the program's own buffer.
struct Chronograph: BitwiseCopyable {
    enum Phase: UInt8 { case idle, busy, windowLimited, bufferLimited }
    var phase = Phase.idle
    var since: UInt64 = 0
    /// Nanoseconds by phase.
    var busy: UInt64 = 0
    var windowLimited: UInt64 = 0
    var bufferLimited: UInt64 = 0

    mutating func enter(_ new: Phase, at now: UInt64) {
        let elapsed = now &- since
        switch phase {
        case .idle: break
        case .busy: busy += elapsed
        case .windowLimited: windowLimited += elapsed
        case .bufferLimited: bufferLimited += elapsed
        }
        (phase, since) = (new, now)
    }
}

extension TransportStack {
    /// A tighter limit takes over from a looser one.
    func startChronograph(_ e: EndpointPointer, _ phase: Chronograph.Phase) {
        if phase.rawValue > e.cold.pointee.chronograph.phase.rawValue { e.cold.pointee.chronograph.enter(phase, at: now.nanoseconds) }
    }

    /// The limit is gone; what remains is being busy, or nothing.
    func stopChronograph(_ e: EndpointPointer, _ phase: Chronograph.Phase) {
        if e.pointee.packetsOut == 0, e.pointee.unsent <= 0 {
            if e.cold.pointee.chronograph.phase != .idle { e.cold.pointee.chronograph.enter(.idle, at: now.nanoseconds) }
        } else if phase == e.cold.pointee.chronograph.phase {
            e.cold.pointee.chronograph.enter(.busy, at: now.nanoseconds)
        }
    }

    /// In microseconds (`tcp_get_info_chrono_stats`): all three phases are busy ones.
    func chronographTimes(_ e: EndpointPointer) -> (busy: Int, windowLimited: Int, bufferLimited: Int) {
        var c = e.cold.pointee.chronograph
        c.enter(c.phase, at: now.nanoseconds)
        return (Int((c.busy + c.windowLimited + c.bufferLimited) / 1000), Int(c.windowLimited / 1000), Int(c.bufferLimited / 1000))
    }
}
