import HairpinEngine
import HairpinWire

/// RFC 6298 as Linux computes it (`tcp_rtt_estimator`): SRTT × 8 and a deviation that rises at once and falls once a round trip, with a floor.
extension TransportStack {
    private func minimumDeviation(_ e: EndpointPointer) -> UInt32 { UInt32(e.cold.pointee.leastTimeout) * UInt32(TimerWheel.tick / 1000) }
    @inline(__always) func maximumTimeoutTicks(_ e: EndpointPointer) -> UInt32 { UInt32(e.cold.pointee.mostTimeout) }

    /// TCP_TIMEOUT_FALLBACK, 3 s in ticks: what RFC 6298 §5.7 begins with where the handshake gave no sample (`tcp_init_metrics`).
    static let fallbackTimeout: UInt32 = 750
    /// An echoed timestamp older than this, in ms, was never sent by us: no sample (`tcp_rtt_tsopt_us`).
    static var oldestEcho: UInt32 { UInt32(Int32.max) / 1000 }

    /// A sample in microseconds, at least one.
    func addRTTSample(_ e: EndpointPointer, microseconds: UInt32) {
        var m = Int64(max(1, microseconds))
        var srtt = Int64(e.cold.pointee.smoothedRTT)
        if srtt != 0 {
            m -= srtt >> 3
            srtt += m
            if m < 0 {
                m = -m
                m -= Int64(e.cold.pointee.deviation >> 2)
                if m > 0 { m >>= 3 }  // RTT falling: do not raise the deviation as fast
            } else {
                m -= Int64(e.cold.pointee.deviation >> 2)
            }
            e.cold.pointee.deviation = UInt32(clamping: Int64(e.cold.pointee.deviation) + m)
            if e.cold.pointee.deviation > e.cold.pointee.maximumDeviation {
                e.cold.pointee.maximumDeviation = e.cold.pointee.deviation
                if e.cold.pointee.maximumDeviation > e.cold.pointee.rttVariation { e.cold.pointee.rttVariation = e.cold.pointee.maximumDeviation }
            }
            if e.pointee.unacknowledged.isAfter(e.cold.pointee.rttSequence) {
                if e.cold.pointee.maximumDeviation < e.cold.pointee.rttVariation {
                    e.cold.pointee.rttVariation -= (e.cold.pointee.rttVariation - e.cold.pointee.maximumDeviation) >> 2
                }
                e.cold.pointee.rttSequence = e.pointee.sendNext
                e.cold.pointee.maximumDeviation = minimumDeviation(e)
            }
        } else {
            srtt = m << 3
            e.cold.pointee.deviation = UInt32(truncatingIfNeeded: min(m << 1, Int64(UInt32.max)))
            e.cold.pointee.rttVariation = max(e.cold.pointee.deviation, minimumDeviation(e))
            e.cold.pointee.maximumDeviation = e.cold.pointee.rttVariation
            e.cold.pointee.rttSequence = e.pointee.sendNext
        }
        e.cold.pointee.smoothedRTT = UInt32(min(max(1, srtt), Int64(UInt32.max)))
        e.cold.pointee.backoff = 0
        setTimeout(e)
    }

    /// RTO = SRTT + deviation (`__tcp_set_rto`), bounded.
    func setTimeout(_ e: EndpointPointer) {
        let microseconds = UInt64(e.cold.pointee.smoothedRTT >> 3) + UInt64(e.cold.pointee.rttVariation)
        e.pointee.retransmitTimeout = UInt32(min(TimerWheel.ticks(.microseconds(Int64(microseconds))), UInt64(maximumTimeoutTicks(e))))
    }

    /// The least RTT of the last `tcp_min_rtt_wlen` seconds (`tcp_update_rtt_min`), for RACK and for the size of bursts.
    func updateMinimumRTT(_ e: EndpointPointer, microseconds: UInt32) {
        let window = UInt32(truncatingIfNeeded: TimerWheel.ticks(settings.tcp_min_rtt_wlen))
        e.cold.pointee.roundTrips.update(max(1, microseconds), at: UInt32(truncatingIfNeeded: TimerWheel.jiffies(now)), window: window)
        e.cold.pointee.minimumRTT = e.cold.pointee.roundTrips.best
    }
}

/// The least of the values of a window, kept as the best three of its thirds (`minmax_running_min`).
struct WindowedMinimum: BitwiseCopyable {
    private struct Entry: BitwiseCopyable {
        var time: UInt32 = 0
        var value = UInt32.max
    }
    private var first = Entry(), second = Entry(), third = Entry()

    var best: UInt32 { first.value }

    mutating func update(_ value: UInt32, at time: UInt32, window: UInt32) {
        let new = Entry(time: time, value: value)
        if value <= first.value || time &- third.time > window {
            (first, second, third) = (new, new, new)
            return
        }
        if value <= second.value {
            (second, third) = (new, new)
        } else if value <= third.value {
            third = new
        }
        let age = time &- first.time
        if age > window {
            (first, second, third) = (second, third, new)
            if time &- first.time > window { (first, second, third) = (second, third, new) }
        } else if second.time == first.time, age > window / 4 {
            (second, third) = (new, new)
        } else if third.time == second.time, age > window / 2 {
            third = new
        }
    }
}
