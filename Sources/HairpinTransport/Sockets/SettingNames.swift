import HairpinEngine

/// sysctl(8): settings by their name under /proc/sys, `net.ipv4.tcp_sack` as well as `net/ipv4/tcp_sack`.
extension TransportSettings {
    public enum SettingError: Error, Hashable, Sendable {
        /// The setting is not modelled.
        case unknown(String)
        /// The value is none this setting can have.
        case invalid(String, value: String)
    }

    public mutating func set(_ name: String, _ value: String) throws(SettingError) {
        let short = String(name.split(whereSeparator: { $0 == "." || $0 == "/" }).last ?? "")
        let numbers = value.split(whereSeparator: { $0 == " " || $0 == "\t" }).map { $0.hasPrefix("0x") ? Int($0.dropFirst(2), radix: 16) : Int($0) }
        func one(_ range: ClosedRange<Int> = 0...Int(Int32.max)) throws(SettingError) -> Int {
            guard numbers.count == 1, let n = numbers[0], range ~= n else { throw .invalid(name, value: value) }
            return n
        }
        func three() throws(SettingError) -> (Int, Int, Int) {
            guard numbers.count == 3, let a = numbers[0], let b = numbers[1], let c = numbers[2], a > 0, b > 0, c > 0 else { throw .invalid(name, value: value) }
            return (a, b, c)
        }
        switch short {
        case "tcp_rmem":
            let v = try three()
            tcp_rmem = (v.0, v.1, v.2)
        case "tcp_wmem":
            let v = try three()
            tcp_wmem = (v.0, v.1, v.2)
        case "rmem_max": rmem_max = try one()
        case "wmem_max": wmem_max = try one()
        case "rmem_default": rmem_default = try one()
        case "somaxconn": somaxconn = try one()
        case "tcp_max_syn_backlog": tcp_max_syn_backlog = try one()
        case "tcp_syncookies": tcp_syncookies = try one(0...2)
        case "tcp_mtu_probing": tcp_mtu_probing = try one(0...2)
        case "tcp_base_mss": tcp_base_mss = try one()
        case "tcp_mtu_probe_floor": tcp_mtu_probe_floor = try one()
        case "tcp_min_snd_mss": tcp_min_snd_mss = try one(48...65_535)
        case "tcp_probe_threshold": tcp_probe_threshold = try one()
        case "tcp_probe_interval": tcp_probe_interval = .seconds(Int64(try one()))
        case "tcp_retries1": tcp_retries1 = try one(0...255)
        case "tcp_sack": tcp_sack = try one() != 0
        case "tcp_dsack": tcp_dsack = try one() != 0
        case "tcp_backlog_ack_defer": tcp_backlog_ack_defer = try one() != 0
        case "tcp_timestamps": tcp_timestamps = try one(0...2) != 0
        case "tcp_window_scaling": tcp_window_scaling = try one() != 0
        case "tcp_moderate_rcvbuf": tcp_moderate_rcvbuf = try one() != 0
        case "tcp_slow_start_after_idle": tcp_slow_start_after_idle = try one() != 0
        case "tcp_syn_retries": tcp_syn_retries = try one(1...127)
        case "tcp_syn_linear_timeouts": tcp_syn_linear_timeouts = try one(0...127)
        case "tcp_synack_retries": tcp_synack_retries = try one(0...255)
        case "tcp_retries2": tcp_retries2 = try one(0...255)
        case "tcp_orphan_retries": tcp_orphan_retries = try one(0...255)
        case "tcp_fin_timeout": tcp_fin_timeout = .seconds(Int64(try one()))
        case "tcp_keepalive_time": tcp_keepalive_time = .seconds(Int64(try one(1...Int(Int32.max))))
        case "tcp_keepalive_intvl": tcp_keepalive_intvl = .seconds(Int64(try one(1...Int(Int32.max))))
        case "tcp_keepalive_probes": tcp_keepalive_probes = try one(0...255)
        case "tcp_tw_reuse_delay": tcp_tw_reuse_delay = .milliseconds(Int64(try one(1...60_000)))
        case "tcp_tw_reuse": tcp_tw_reuse = try one(0...2)
        case "tcp_invalid_ratelimit": tcp_invalid_ratelimit = .milliseconds(Int64(try one()))
        case "tcp_challenge_ack_limit": tcp_challenge_ack_limit = try one()
        case "tcp_pingpong_thresh": tcp_pingpong_thresh = try one(1...255)
        case "tcp_comp_sack_nr": tcp_comp_sack_nr = try one(0...255)
        case "tcp_comp_sack_delay_ns": tcp_comp_sack_delay = .nanoseconds(Int64(try one()))
        case "tcp_comp_sack_slack_ns": tcp_comp_sack_slack = .nanoseconds(Int64(try one()))
        case "tcp_reordering": tcp_reordering = try one(1...300)
        case "tcp_max_reordering": tcp_max_reordering = try one(1...Int(Int32.max))
        case "tcp_tso_win_divisor": tcp_tso_win_divisor = try one(0...Int(Int32.max))
        case "tcp_min_rtt_wlen": tcp_min_rtt_wlen = .seconds(Int64(try one(0...86_400)))
        case "tcp_min_tso_segs": tcp_min_tso_segs = try one(1...65_535)
        case "tcp_tso_rtt_log": tcp_tso_rtt_log = try one(0...255)
        case "tcp_app_win": tcp_app_win = try one(0...31)
        case "tcp_rto_min_us": tcp_rto_min = .microseconds(Int64(try one(1...Int(Int32.max))))
        case "tcp_rto_max_ms": tcp_rto_max = .milliseconds(Int64(try one(1000...120_000)))
        case "tcp_thin_linear_timeouts": tcp_thin_linear_timeouts = try one() != 0
        case "tcp_workaround_signed_windows": tcp_workaround_signed_windows = try one() != 0
        case "tcp_shrink_window": tcp_shrink_window = try one(0...1) != 0
        case "tcp_max_tw_buckets": tcp_max_tw_buckets = try one()
        case "ip_no_pmtu_disc": ip_no_pmtu_disc = try one() != 0
        case "tcp_early_retrans": tcp_early_retrans = try one(0...4)
        case "tcp_recovery": tcp_recovery = try one(0...7)
        case "tcp_frto": tcp_frto = try one(0...2)
        case "tcp_retrans_collapse": tcp_retrans_collapse = try one() != 0
        case "tcp_notsent_lowat": tcp_notsent_lowat = UInt32(truncatingIfNeeded: try one(0...Int(UInt32.max)))
        case "tcp_autocorking": tcp_autocorking = try one() != 0
        case "tcp_fastopen": tcp_fastopen = try one()
        case "tcp_fastopen_blackhole_timeout_sec": tcp_fastopen_blackhole_timeout = .seconds(Int64(try one()))
        case "tcp_fastopen_key": tcp_fastopen_key = try TransportSettings.fastOpenKey(name, value)
        case "tcp_congestion_control":
            guard let algorithm = CongestionControl(selectable: value) else { throw .invalid(name, value: value) }
            tcp_congestion_control = algorithm
        case "tcp_ecn": tcp_ecn = try one(0...2)
        case "tcp_ecn_fallback": tcp_ecn_fallback = try one(0...1) != 0
        case "hystart": cubic_hystart = try one() != 0
        case "hystart_detect": cubic_hystart_detect = try one(0...3)
        case "fast_convergence": cubic_fast_convergence = try one(0...1) != 0
        case "tcp_abort_on_overflow": tcp_abort_on_overflow = try one() != 0
        case "tcp_rfc1337": tcp_rfc1337 = try one() != 0
        case "tcp_limit_output_bytes": tcp_limit_output_bytes = try one()
        case "ip_default_ttl": ip_default_ttl = UInt8(try one(1...255))
        case "ip_local_port_range":
            guard numbers.count == 2, let a = numbers[0], let b = numbers[1], 1...65_535 ~= a, a...65_535 ~= b else { throw .invalid(name, value: value) }
            ip_local_port_range = (UInt16(a), UInt16(b))
        case "icmp_echo_ignore_all": icmp_echo_ignore_all = try one() != 0
        case "tcp_pacing_ss_ratio": tcp_pacing_ss_ratio = try one(1...1000)
        case "tcp_pacing_ca_ratio": tcp_pacing_ca_ratio = try one(1...1000)
        default:
            guard let values = TransportSettings.withoutEffect[short] else { throw .unknown(name) }
            // Only where what is not modelled is off, or cannot be told apart.
            guard values.isEmpty || values.contains(value) else { throw .invalid(name, value: value) }
        }
    }

    /// Settings of mechanisms that are not modelled, with the values that leave them off; none: any value.
    private static let withoutEffect: [String: Set<String>] = [
        "tcp_fack": ["0"], "tcp_low_latency": [], "tcp_no_metrics_save": [],
        "tcp_no_ssthresh_metrics_save": [], "tcp_adv_win_scale": [], "tcp_stdurg": ["0"],
        "tcp_reflect_tos": ["0"], "tcp_max_orphans": [], "tcp_mem": [],
        "tcp_fwmark_accept": ["0"],
        "tcp_migrate_req": ["0"], "tcp_plb_enabled": ["0"], "tcp_plb_cong_thresh": [], "tcp_plb_idle_rehash_rounds": [], "tcp_plb_rehash_rounds": [],
        "tcp_plb_suspend_rto_sec": [], "tcp_ecn_option": [], "tcp_ecn_option_beacon": [], "tcp_early_demux": [], "ip_early_demux": [], "tcp_l3mdev_accept": ["0"],
        "tcp_child_ehash_entries": [], "tcp_allowed_congestion_control": [], "txrehash": [], "wmem_default": [], "tstamp_allow_data": [],
        "ip_autobind_reuse": ["0"], "ip_dynaddr": [], "ip_nonlocal_bind": ["0"], "ip_unprivileged_port_start": [], "ip_local_reserved_ports": [""],
        "ip_forward_use_pmtu": [], "ip_forward_update_priority": [], "icmp_echo_ignore_broadcasts": [], "icmp_errors_use_inbound_ifaddr": ["0"],
        "icmp_ignore_bogus_error_responses": [], "icmp_msgs_burst": [], "icmp_ratemask": [], "min_adv_mss": ["256"],
        "ip_forward": [], "rp_filter": [], "optmem_max": [], "netdev_max_backlog": [],
        "default_qdisc": [], "min_pmtu": ["552"], "mtu_expires": [], "icmp_ratelimit": [], "icmp_msgs_per_sec": [],
    ]

    /// Four groups of eight hex digits, kept as the sixteen bytes SipHash takes (`proc_tcp_fastopen_key`: each group is a little-endian word). A
    /// second key behind a comma is only for cookies made earlier.
    private static func fastOpenKey(_ name: String, _ value: String) throws(SettingError) -> (UInt64, UInt64) {
        let first = value.split(separator: ",").first ?? ""
        let groups = first.split(separator: "-").map { UInt64($0, radix: 16) }
        guard groups.count == 4, let a = groups[0], let b = groups[1], let c = groups[2], let d = groups[3], max(a, b, c, d) <= UInt64(UInt32.max) else {
            throw .invalid(name, value: value)
        }
        return (b << 32 | a, d << 32 | c)
    }
}
