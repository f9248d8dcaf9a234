import HairpinEngine
import HairpinTransport

/// TCP_INFO and timers as ss(8) prints them (`tcp_stats_print`, `tcp_timer_print` of iproute2 6.1): values that are zero are left out.
enum TCPInformationText {
    /// ` timer:(on,204ms,0)`
    static func timer(_ timer: SocketTimer) -> String { " timer:(\(timer.kind.rawValue),\(duration(timer.remaining)),\(timer.count))" }

    /// `1min3sec`, `12sec`, `2.020ms` (as that version writes it), `204ms` (`print_ms_timer`).
    static func duration(_ duration: Duration) -> String {
        let total = duration.nanoseconds / 1_000_000
        let minutes = total / 60_000
        var seconds = total / 1000 % 60
        var milliseconds = total % 1000
        var text = ""
        if minutes > 0 {
            milliseconds = 0
            text = "\(minutes)min"
            if minutes > 9 { seconds = 0 }
        }
        if seconds > 0 {
            if seconds > 9 { milliseconds = 0 }
            text += "\(seconds)" + (milliseconds > 0 ? "." : "sec")
        }
        if milliseconds > 0 { text += String(String(1000 + milliseconds).dropFirst()) + "ms" }
        return text
    }

    /// What a module tells of itself (`tcp_stats_print`); zero gains are left out.
    private static func details(_ information: CongestionInformation, numeric: Bool) -> String {
        switch information {
        case .dctcp(let isEnabled, let ceState, let alpha, let markedBytes, let totalBytes):
            return isEnabled ? " dctcp:(ce_state:\(ceState),alpha:\(alpha),ab_ecn:\(markedBytes),ab_tot:\(totalBytes))" : " dctcp:fallback_mode"
        case .bbr(let bandwidth, let minimumRTT, let pacingGain, let windowGain):
            var text = " bbr:(bw:\(rate(Int(clamping: bandwidth) * 8, numeric))bps,mrtt:\(gain(Double(minimumRTT) / 1000))"
            if pacingGain > 0 { text += ",pacing_gain:\(gain(Double(pacingGain) / 256))" }
            if windowGain > 0 { text += ",cwnd_gain:\(gain(Double(windowGain) / 256))" }
            return text + ")"
        }
    }

    /// printf's %g for the few digits such numbers have.
    private static func gain(_ value: Double) -> String {
        var digits = 5
        var bound = 10.0
        while value >= bound, digits > 0 { (digits, bound) = (digits - 1, bound * 10) }
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let scaled = (value * scale).rounded()
        let whole = Int(scaled / scale)
        var rest = String(Int(scaled) - whole * Int(scale))
        rest = String(repeating: "0", count: max(0, digits - rest.count)) + rest
        while rest.hasSuffix("0") { rest.removeLast() }
        return rest.isEmpty ? "\(whole)" : "\(whole).\(rest)"
    }

    static func line(
        _ info: TCPInformation, congestion: CongestionControl?, details: CongestionInformation? = nil, isListening: Bool, numeric: Bool
    ) -> String {
        var text = ""
        func add(_ name: String, _ value: Int) { if value != 0 { text += " \(name):\(value)" } }
        for (bit, name) in [(1, "ts"), (2, "sack"), (8, "ecn"), (16, "ecnseen"), (32, "fastopen")] where info.options & bit != 0 { text += " \(name)" }
        if let congestion { text += " \(congestion.rawValue)" }
        if info.options & 4 != 0 { text += " wscale:\(info.snd_wscale),\(info.rcv_wscale)" }
        if info.rto != 0, info.rto != 3_000_000 { text += " rto:\(milliseconds(info.rto))" }
        add("backoff", info.backoff)
        if info.rtt != 0 { text += " rtt:\(milliseconds(info.rtt))/\(milliseconds(info.rttvar))" }
        if info.ato != 0 { text += " ato:\(milliseconds(info.ato))" }
        add("mss", info.snd_mss)
        add("pmtu", info.pmtu)
        add("rcvmss", info.rcv_mss)
        add("advmss", info.advmss)
        add("cwnd", info.snd_cwnd)
        if info.snd_ssthresh < 0xffff { add("ssthresh", info.snd_ssthresh) }
        add("bytes_sent", info.bytes_sent)
        add("bytes_retrans", info.bytes_retrans)
        add("bytes_acked", info.bytes_acked)
        add("bytes_received", info.bytes_received)
        add("segs_out", info.segs_out)
        add("segs_in", info.segs_in)
        add("data_segs_out", info.data_segs_out)
        add("data_segs_in", info.data_segs_in)
        if let details { text += self.details(details, numeric: numeric) }
        if info.rtt > 0, info.snd_mss > 0, info.snd_cwnd > 0 { text += " send \(rate(info.snd_cwnd * info.snd_mss * 8_000_000 / info.rtt, numeric))bps" }
        add("lastsnd", info.last_data_sent)
        add("lastrcv", info.last_data_recv)
        add("lastack", info.last_ack_recv)
        if info.pacing_rate > 0, info.pacing_rate != .max {
            text += " pacing_rate \(rate(info.pacing_rate * 8, numeric))bps"
            if info.max_pacing_rate != .max { text += "/\(rate(info.max_pacing_rate * 8, numeric))bps" }
        }
        if info.delivery_rate > 0 { text += " delivery_rate \(rate(info.delivery_rate * 8, numeric))bps" }
        add("delivered", info.delivered)
        add("delivered_ce", info.delivered_ce)
        if info.delivery_rate_app_limited != 0 { text += " app_limited" }
        if info.busy_time > 0 {
            text += " busy:\(info.busy_time / 1000)ms"
            for (name, part) in [("rwnd_limited", info.rwnd_limited), ("sndbuf_limited", info.sndbuf_limited)] where part > 0 {
                let perMille = (1000 * part + info.busy_time / 2) / info.busy_time
                text += " \(name):\(part / 1000)ms(\(perMille / 10).\(perMille % 10)%)"
            }
        }
        add("unacked", info.unacked)
        if info.retrans != 0 || info.total_retrans != 0 { text += " retrans:\(info.retrans)/\(info.total_retrans)" }
        add("lost", info.lost)
        if !isListening { add("sacked", info.sacked) }
        add("dsack_dups", info.dsack_dups)
        if info.reordering != 3 { text += " reordering:\(info.reordering)" }
        add("reord_seen", info.reord_seen)
        if info.rcv_rtt != 0 { text += " rcv_rtt:\(milliseconds(info.rcv_rtt))" }
        add("rcv_space", info.rcv_space)
        add("rcv_ssthresh", info.rcv_ssthresh)
        add("notsent", info.notsent_bytes)
        if info.min_rtt != 0, info.min_rtt != Int(UInt32.max) { text += " minrtt:\(milliseconds(info.min_rtt))" }
        return text
    }

    /// Microseconds as milliseconds, six significant digits at most (`%g`).
    static func milliseconds(_ microseconds: Int) -> String {
        let decimals = max(0, min(3, 6 - String(microseconds / 1000).count))
        let unit = [1000, 100, 10, 1][decimals]
        let scaled = (microseconds + unit / 2) / unit
        let whole = 1000 / unit
        var text = String(scaled / whole)
        let fraction = scaled % whole
        guard fraction > 0 else { return text }
        var digits = String(String(whole + fraction).dropFirst())
        while digits.hasSuffix("0") { digits.removeLast() }
        text += "." + digits
        return text
    }

    /// Bits a second: the number itself with -n, else three significant digits and a letter (`sprint_bw`).
    static func rate(_ bits: Int, _ numeric: Bool) -> String {
        if numeric || bits < 1000 { return String(bits) }
        for (unit, letter) in [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1000, "k")] where bits >= unit {
            // Three digits of `bits / unit`, trailing zeros cut off (`%.3g`).
            let decimals = max(0, 3 - String(bits / unit).count)
            let scale = [1, 10, 100][decimals]
            let rounded = (bits + unit / scale / 2) / (unit / scale)
            if decimals == 0, rounded == 1000 { return "1e+03" + letter }
            let fraction = rounded % scale
            guard fraction > 0 else { return "\(rounded / scale)\(letter)" }
            var digits = String(String(scale + fraction).dropFirst())
            while digits.hasSuffix("0") { digits.removeLast() }
            return "\(rounded / scale).\(digits)\(letter)"
        }
        return String(bits)
    }
}
