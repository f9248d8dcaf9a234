import HairpinEngine

/// sysctl(8), reading: the values of the settings that choose a mechanism, as /proc/sys shows them.
extension TransportSettings {
    /// Nil for settings that can only be written.
    public func value(_ name: String) -> String? {
        let short = String(name.split(whereSeparator: { $0 == "." || $0 == "/" }).last ?? "")
        func flag(_ on: Bool) -> String { on ? "1" : "0" }
        func three(_ v: (minimum: Int, initial: Int, maximum: Int)) -> String { "\(v.minimum)\t\(v.initial)\t\(v.maximum)" }
        return switch short {
        case "tcp_congestion_control": tcp_congestion_control.rawValue
        case "tcp_available_congestion_control", "tcp_allowed_congestion_control": "reno cubic bbr dctcp"
        case "tcp_rmem": three(tcp_rmem)
        case "tcp_wmem": three(tcp_wmem)
        case "tcp_max_syn_backlog": "\(tcp_max_syn_backlog)"
        case "tcp_syncookies": "\(tcp_syncookies)"
        case "tcp_abort_on_overflow": flag(tcp_abort_on_overflow)
        case "tcp_sack": flag(tcp_sack)
        case "tcp_dsack": flag(tcp_dsack)
        case "tcp_backlog_ack_defer": flag(tcp_backlog_ack_defer)
        case "tcp_timestamps": flag(tcp_timestamps)
        case "tcp_window_scaling": flag(tcp_window_scaling)
        case "tcp_slow_start_after_idle": flag(tcp_slow_start_after_idle)
        case "tcp_ecn": "\(tcp_ecn)"
        case "tcp_ecn_fallback": flag(tcp_ecn_fallback)
        case "tcp_mtu_probing": "\(tcp_mtu_probing)"
        case "tcp_base_mss": "\(tcp_base_mss)"
        case "tcp_fastopen": "\(tcp_fastopen)"
        case "tcp_tw_reuse": "\(tcp_tw_reuse)"
        case "tcp_syn_retries": "\(tcp_syn_retries)"
        case "tcp_synack_retries": "\(tcp_synack_retries)"
        case "tcp_retries1": "\(tcp_retries1)"
        case "tcp_retries2": "\(tcp_retries2)"
        case "tcp_fin_timeout": "\(tcp_fin_timeout.nanoseconds / 1_000_000_000)"
        case "tcp_keepalive_time": "\(tcp_keepalive_time.nanoseconds / 1_000_000_000)"
        case "tcp_keepalive_intvl": "\(tcp_keepalive_intvl.nanoseconds / 1_000_000_000)"
        case "tcp_keepalive_probes": "\(tcp_keepalive_probes)"
        case "tcp_pacing_ss_ratio": "\(tcp_pacing_ss_ratio)"
        case "tcp_pacing_ca_ratio": "\(tcp_pacing_ca_ratio)"
        default: nil
        }
    }
}
