import HairpinEngine
import HairpinWire

extension TransportStack {
    /// Size of the options of a SYN or SYN-ACK (`tcp_syn_options`, `tcp_synack_options`); both have them in the same order.
    func synOptionSize(_ e: EndpointPointer) -> Int {
        let flags = synFlags(e)
        var size = OptionSize.maximumSegment
        if flags.contains(.timestamps) { size += OptionSize.timestamps } else if flags.contains(.selectiveAcks) { size += 4 }
        if flags.contains(.windowScaling) { size += 4 }
        return size + e.cold.pointee.cookie.optionSize
    }

    /// Which options go with a SYN or SYN-ACK. The SYN-ACK of SYNs that crossed is the SYN again, with all it offered (`tcp_send_synack`).
    private func synFlags(_ e: EndpointPointer) -> EndpointFlags {
        guard e.pointee.hasCrossedSYN else { return e.pointee.flags }
        var flags: EndpointFlags = []
        if settings.tcp_timestamps { flags.insert(.timestamps) }
        if settings.tcp_sack { flags.insert(.selectiveAcks) }
        if settings.tcp_window_scaling { flags.insert(.windowScaling) }
        return flags
    }

    /// MSS; SACK permitted and timestamps, which share twelve bytes (or SACK permitted padded by two NOPs); NOP and window scale.
    func putSYNOptions(_ e: EndpointPointer, _ p: UnsafeMutableRawPointer, isSYNACK: Bool) {
        p.put(UInt32(0x0204_0000) | UInt32(advertisedMaximum(e)), at: 0)
        var at = 4
        let flags = synFlags(e)
        let sack = flags.contains(.selectiveAcks)
        if flags.contains(.timestamps) {
            p.put(UInt32(sack ? 0x0402_080a : 0x0101_080a), at: at)
            p.put(e.pointee.flags.contains(.cookieChild) ? cookieTimestamp(e) : timestamp(e), at: at + 4)
            p.put(e.pointee.recentTimestamp, at: at + 8)
            at += OptionSize.timestamps
        } else if sack {
            p.put(UInt32(0x0101_0402), at: at)
            at += 4
        }
        if flags.contains(.windowScaling) {
            p.put(UInt32(0x0103_0300) | UInt32(e.pointee.receiveScale), at: at)
            at += 4
        }
        e.cold.pointee.cookie.put(p + at)
    }

    /// The MSS option: what fits the MTU of the route (RFC 9293 §3.7.1), or less by TCP_MAXSEG.
    func advertisedMaximum(_ e: EndpointPointer) -> UInt16 {
        let fromRoute = max(Int(e.cold.pointee.pathMTU) - 40, TransportStack.leastSegment)
        return UInt16(min(fromRoute, 65_495, e.cold.pointee.userSegment == 0 ? .max : Int(e.cold.pointee.userSegment)))
    }
}
