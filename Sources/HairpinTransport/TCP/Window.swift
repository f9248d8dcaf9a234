import HairpinEngine
import HairpinWire

/// Receive window: `tcp_select_initial_window`, `__tcp_select_window`, `tcp_grow_window`, `tcp_rcv_space_adjust`.
extension TransportStack {
    /// No segment size is less (TCP_MIN_MSS).
    static let leastSegment = 88

    func windowFromSpace(_ e: EndpointPointer, _ space: Int) -> Int { (space * Int(e.pointee.scalingRatio)) >> 8 }
    func spaceFromWindow(_ e: EndpointPointer, _ window: Int) -> Int { (window << 8) / max(1, Int(e.pointee.scalingRatio)) }
    func fullSpace(_ e: EndpointPointer) -> Int { windowFromSpace(e, Int(e.cold.pointee.receiveBuffer)) }
    /// `tcp_space`: what waits in the backlog takes room too, until all of it is worked off.
    func freeSpace(_ e: EndpointPointer) -> Int {
        windowFromSpace(e, Int(e.cold.pointee.receiveBuffer) - Int(e.pointee.receiveMemory) - (e == owner ? backlog.memory + spareBacklog.memory : 0))
    }

    /// The window of the SYN or SYN-ACK: as many whole segments as fit (RFC 9293 §3.8.6), and the scale the largest buffer will need.
    func selectInitialWindow(_ e: EndpointPointer, segment: Int) {
        let scaling = e.pointee.flags.contains(.windowScaling)
        var clamp = 65_535 << 14
        if e.pointee.flags.contains(.receiveBufferSet) { clamp = fullSpace(e) }
        var space = min(clamp, fullSpace(e))
        if space > segment { space = space / segment * segment }
        if settings.tcp_workaround_signed_windows { space = min(space, 32_767) }
        e.pointee.receiveWindow = UInt32(space)
        if scaling {
            let largest = min(max(space, settings.tcp_rmem.maximum, settings.rmem_max), clamp)
            let logarithm = Int.bitWidth - 1 - max(largest, 1).leadingZeroBitCount
            e.pointee.receiveScale = UInt8(min(max(logarithm - 15, 0), 14))
        } else {
            e.pointee.receiveScale = 0
        }
        e.cold.pointee.windowClamp = UInt32(min(65_535 << Int(e.pointee.receiveScale), clamp))
        e.pointee.windowThreshold = e.pointee.receiveWindow
    }

    /// When the connection is up (`tcp_init_buffer_space`).
    func initializeBuffers(_ e: EndpointPointer) {
        if !e.pointee.flags.contains(.sendBufferSet) { expandSendBuffer(e) }
        let advertised = UInt32(e.cold.pointee.advertisedSegment)
        let most = UInt32(fullSpace(e))
        e.cold.pointee.tuningTime = now.nanoseconds
        e.cold.pointee.tuningSequence = e.pointee.copied
        if e.cold.pointee.windowClamp >= most {
            e.cold.pointee.windowClamp = most
            if settings.tcp_app_win > 0, most > 4 * advertised {
                e.cold.pointee.windowClamp = max(most - (most >> UInt32(settings.tcp_app_win)), 4 * advertised)
            }
        }
        // One segment is kept back for the application.
        if settings.tcp_app_win > 0, e.cold.pointee.windowClamp > 2 * advertised, e.cold.pointee.windowClamp + advertised > most {
            e.cold.pointee.windowClamp = max(2 * advertised, most - advertised)
        }
        e.pointee.windowThreshold = min(e.pointee.windowThreshold, e.cold.pointee.windowClamp)
        e.cold.pointee.tuningSpace = min(e.pointee.windowThreshold, e.pointee.receiveWindow, 10 * advertised)
    }

    /// The window there is room for now, a multiple of the scale (`__tcp_select_window`).
    func roomForWindow(_ e: EndpointPointer) -> Int {
        var segment = Int(e.pointee.peerSegment)
        var free = freeSpace(e)
        let allowed = windowFromSpace(e, Int(e.cold.pointee.receiveBuffer))
        let full = min(Int(e.cold.pointee.windowClamp), allowed)
        if segment > full {
            segment = full
            if segment <= 0 { return 0 }
        }
        let scale = Int(e.pointee.receiveScale)
        if settings.tcp_shrink_window, scale > 0 { return shrinkingWindow(e, free: free, full: full, allowed: allowed, segment: segment) }
        if free < full >> 1 {
            // Half full: the reader is slow, and nothing is gained by acknowledging each segment.
            e.pointee.quickAcks = 0
            // RFC 9293 §3.8.6.2.2: silly windows are not offered.
            free = free / (1 << scale) * (1 << scale)
            if free < allowed >> 4 || free < segment { return 0 }
        }
        free = min(free, Int(e.pointee.windowThreshold))
        if scale > 0 { return ((free + (1 << scale) - 1) >> scale) << scale }
        var window = Int(e.pointee.receiveWindow)
        if window <= free - segment || window > free {
            window = free / max(segment, 1) * max(segment, 1)
        } else if segment == full, free > window + full >> 1 {
            window = free
        }
        return max(window, 0)
    }

    /// What is free and no more (`tcp_shrink_window`).
    private func shrinkingWindow(_ e: EndpointPointer, free: Int, full: Int, allowed: Int, segment: Int) -> Int {
        let unit = 1 << Int(e.pointee.receiveScale)
        let free = free / unit * unit
        if free < full >> 1 {
            e.pointee.quickAcks = 0
            if free < allowed >> 4 || free < segment || free < unit { return 0 }
        }
        let threshold = Int(e.pointee.windowThreshold)
        return free > threshold ? (threshold + unit - 1) / unit * unit : free
    }

    /// The window field of the next segment: room, but never less than what was offered before (RFC 9293 §3.8.6).
    func selectWindow(_ e: EndpointPointer) -> UInt16 {
        if e.pointee.flags.contains(.lacksMemory) {
            e.pointee.receiveWindow = 0
            e.pointee.windowUpdate = e.pointee.receiveNext
            return 0
        }
        let left = e.pointee.windowLeft
        let scale = Int(e.pointee.receiveScale)
        var window = roomForWindow(e)
        if window == 0 || e.pointee.receiveWindow == 0 { countZeroWindow(wants: window, left: left, before: e.pointee.receiveWindow) }
        if window < left, !settings.tcp_shrink_window || scale == 0 { window = ((left + (1 << scale) - 1) >> scale) << scale }
        e.pointee.receiveWindow = UInt32(window)
        e.pointee.windowUpdate = e.pointee.receiveNext
        window = min(window, scale == 0 && settings.tcp_workaround_signed_windows ? 32_767 : 65_535 << scale)
        return UInt16(window >> scale)
    }

    private func countZeroWindow(wants window: Int, left: Int, before: UInt32) {
        if window == 0, left > 0 { statistics.ext.TCPWantZeroWindowAdv += 1 }
        let isClosed = window == 0 && left == 0
        if isClosed, before > 0 { statistics.ext.TCPToZeroWindowAdv += 1 } else if !isClosed, before == 0 { statistics.ext.TCPFromZeroWindowAdv += 1 }
    }

    /// How much of a packet's memory is data decides how much window the buffer is worth (`tcp_measure_rcv_mss`).
    func measurePeerSegment(_ e: EndpointPointer, _ segment: Segment) {
        let (count, isPushed) = (segment.segmentSize, segment.flags.contains(.psh))
        let last = Int(e.cold.pointee.lastSegment)
        e.cold.pointee.lastSegment = 0
        if count >= Int(e.pointee.peerSegment) {
            if count != Int(e.pointee.peerSegment) {
                let ratio = min(segment.payload.count << 8 / Int(segment.memory.truesize), 255)
                if ratio != Int(e.pointee.scalingRatio) {
                    e.pointee.scalingRatio = UInt8(max(ratio, 1))
                    setWindowClamp(e, UInt32(windowFromSpace(e, Int(e.cold.pointee.receiveBuffer))))
                    e.cold.pointee.tuningSpace = min(e.cold.pointee.tuningSpace, e.cold.pointee.windowClamp)
                }
            }
            e.pointee.peerSegment = UInt16(min(count, Int(e.cold.pointee.advertisedSegment)))
            // The end of a write: the sender may have nothing more, and wait.
            if isPushed { e.pointee.flags.insert(.ackPushed) }
            return
        }
        if count >= 536 - 12 || (count >= TransportStack.leastSegment && !isPushed) {
            e.cold.pointee.lastSegment = UInt16(count)
            if count == last {
                e.pointee.peerSegment = UInt16(count)
                return
            }
        }
        e.pointee.flags.insert(e.pointee.flags.contains(.ackPushed) ? .ackPushed2 : .ackPushed)
    }

    /// `tcp_set_window_clamp`
    func setWindowClamp(_ e: EndpointPointer, _ value: UInt32) {
        let new = max(value, 2304 / 2)
        guard new != e.cold.pointee.windowClamp else { return }
        if new < e.cold.pointee.windowClamp {
            e.pointee.windowThreshold = min(e.pointee.windowThreshold, new)
        } else {
            e.pointee.windowThreshold = max(min(e.pointee.receiveWindow, new), e.pointee.windowThreshold)
        }
        e.cold.pointee.windowClamp = new
    }

    /// After data came in: offer more when the buffer can hold more of the same kind (`tcp_grow_window`).
    func growWindow(_ e: EndpointPointer, _ segment: Segment) {
        let count = segment.payload.count
        let room = min(Int(e.cold.pointee.windowClamp), freeSpace(e)) - Int(e.pointee.windowThreshold)
        guard room > 0 else { return }
        let truesize = Int(segment.memory.truesize)
        var increment = 0
        if windowFromSpace(e, truesize) <= count {
            increment = 2 * Int(e.cold.pointee.advertisedSegment)
        } else {
            var cost = windowFromSpace(e, truesize) >> 1
            var window = windowFromSpace(e, settings.tcp_rmem.maximum) >> 1
            while Int(e.pointee.windowThreshold) <= window {
                if cost <= count {
                    increment = 2 * Int(e.pointee.peerSegment)
                    break
                }
                cost >>= 1
                window >>= 1
            }
        }
        guard increment > 0 else { return }
        e.pointee.windowThreshold += UInt32(min(room, max(increment, 2 * count)))
        e.pointee.quickAcks |= 1
    }

    /// Dynamic right-sizing after the program has read (`tcp_rcv_space_adjust`): the buffer follows twice what it reads in a round trip.
    func adjustReceiveSpace(_ e: EndpointPointer) {
        let elapsed = (now.nanoseconds &- e.cold.pointee.tuningTime) / 1000
        guard e.cold.pointee.receiveRTT != 0, elapsed >= UInt64(e.cold.pointee.receiveRTT >> 3) else { return }
        let copied = UInt32(max(0, e.pointee.copied - e.cold.pointee.tuningSequence))
        if copied > e.cold.pointee.tuningSpace { growReceiveBuffer(e, copied) }
        e.cold.pointee.tuningSequence = e.pointee.copied
        e.cold.pointee.tuningTime = now.nanoseconds
    }

    private func growReceiveBuffer(_ e: EndpointPointer, _ value: UInt32) {
        let old = max(1, Int(e.cold.pointee.tuningSpace))
        e.cold.pointee.tuningSpace = value
        guard settings.tcp_moderate_rcvbuf, !e.pointee.flags.contains(.receiveBufferSet) else { return }
        var wanted = Int(value) << 1
        wanted += 2 * (wanted * (Int(value) - old) / old)
        if e.cold.pointee.outOfOrder.count > 0 { wanted += e.cold.pointee.outOfOrder[e.cold.pointee.outOfOrder.count - 1].end - e.pointee.receiveNext }
        let buffer = min(spaceFromWindow(e, wanted), settings.tcp_rmem.maximum)
        guard buffer > Int(e.cold.pointee.receiveBuffer) else { return }
        e.cold.pointee.receiveBuffer = UInt32(buffer)
        e.cold.pointee.windowClamp = UInt32(windowFromSpace(e, buffer))
    }

    /// Round trip as the receiver sees it, from echoed timestamps (`tcp_rcv_rtt_measure_ts`). ACKs without data take the kernel's fast path, where nothing is
    /// measured.
    func measureReceiveRTT(_ e: EndpointPointer, _ segment: Segment) {
        guard segment.hasTimestamp, !segment.payload.isEmpty || segment.sackCount > 0, e.pointee.state == .established, segment.timestampEcho != e.cold.pointee.receiveRTTEcho else { return }
        e.cold.pointee.receiveRTTEcho = segment.timestampEcho
        guard segment.payload.count >= Int(e.pointee.peerSegment) else { return }
        let delta = timestamp(e) &- segment.timestampEcho
        guard delta < TransportStack.oldestEcho else { return }
        let sample = max(delta, 1) &* 1000
        let old = e.cold.pointee.receiveRTT
        // A shorter one is taken at once, a longer one smoothed, and not while the program is behind (`tcp_rcv_rtt_update`).
        if old == 0 || Int(sample) << 3 < Int(old) {
            e.cold.pointee.receiveRTT = sample << 3
        } else if e.pointee.receiveNext == e.pointee.copied {
            e.cold.pointee.receiveRTT = UInt32(clamping: Int(old) + Int(sample) - Int(old >> 3))
        }
    }

    /// Without timestamps: the time in which a window's worth of data comes, of which the least counts (`tcp_rcv_rtt_measure`).
    func measureReceiveRTT(_ e: EndpointPointer) {
        if e.cold.pointee.receiveRTTAt != 0 {
            guard !e.pointee.receiveNext.isBefore(e.cold.pointee.receiveRTTEnd) else { return }
            let sample = UInt32(clamping: max(1, (now.nanoseconds &- e.cold.pointee.receiveRTTAt) / 1000))
            if e.cold.pointee.receiveRTT == 0 || Int(sample) << 3 < Int(e.cold.pointee.receiveRTT) { e.cold.pointee.receiveRTT = UInt32(clamping: Int(sample) << 3) }
        }
        e.cold.pointee.receiveRTTEnd = e.pointee.receiveNext + Int(e.pointee.receiveWindow)
        e.cold.pointee.receiveRTTAt = now.nanoseconds
    }
}
