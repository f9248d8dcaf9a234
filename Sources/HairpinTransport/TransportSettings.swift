import HairpinEngine

/// The `net.ipv4.tcp_*` and related values of one namespace, under their kernel names and with Linux's defaults.
public struct TransportSettings: Sendable {
    /// Minimum, default and maximum receive buffer in bytes of kernel memory (`tcp_rmem`).
    public var tcp_rmem: (minimum: Int, initial: Int, maximum: Int) = (4096, 131_072, 6_291_456)
    public var tcp_wmem: (minimum: Int, initial: Int, maximum: Int) = (4096, 16_384, 4_194_304)
    /// `net.core.rmem_max`, `wmem_max`, `rmem_default`, in bytes.
    public var rmem_max = 212_992
    public var wmem_max = 212_992
    public var rmem_default = 212_992
    public var somaxconn = 4096
    public var tcp_max_syn_backlog = 4096
    /// SYN cookies: 0 never, 1 while the SYN queue is full, 2 always.
    public var tcp_syncookies = 1
    public var tcp_sack = true
    public var tcp_dsack = true
    public var tcp_timestamps = true
    public var tcp_window_scaling = true
    public var tcp_moderate_rcvbuf = true
    public var tcp_slow_start_after_idle = true
    public var tcp_syn_retries = 6
    public var tcp_syn_linear_timeouts = 4
    public var tcp_synack_retries = 5
    public var tcp_retries2 = 15
    public var tcp_orphan_retries = 0
    public var tcp_fin_timeout = Duration.seconds(60)
    public var tcp_keepalive_time = Duration.seconds(7200)
    public var tcp_keepalive_intvl = Duration.seconds(75)
    public var tcp_keepalive_probes = 9
    /// 0: never, 1: always, 2: only on loopback.
    public var tcp_tw_reuse = 2
    public var tcp_tw_reuse_delay = Duration.seconds(1)
    /// Least time between answers to segments out of the window.
    public var tcp_invalid_ratelimit = Duration.milliseconds(500)
    /// Challenge ACKs a second for the whole namespace (RFC 5961 §7); the kernel's default is no limit.
    public var tcp_challenge_ack_limit = Int.max
    /// One acknowledgment for all segments that came in while a system call owned the connection (`tcp_backlog_ack_defer`).
    public var tcp_backlog_ack_defer = true
    /// How many replies make a connection interactive, so that its ACKs are delayed (`tcp_pingpong_thresh`).
    public var tcp_pingpong_thresh = 1
    /// ACKs of data beyond a hole, from the fourth on: how many wait for one another, how long at most, and how much later the timer may be.
    public var tcp_comp_sack_nr = 44
    public var tcp_comp_sack_delay = Duration.milliseconds(1)
    public var tcp_comp_sack_slack = Duration.microseconds(100)
    public var tcp_reordering = 3
    /// Share of a window (1/n) that may wait to become a larger burst (`tcp_tso_win_divisor`).
    public var tcp_tso_win_divisor = 3
    /// How long a minimum of the round trips counts (`tcp_min_rtt_wlen`).
    public var tcp_min_rtt_wlen: Duration = .seconds(300)
    public var tcp_min_tso_segs = 2
    public var tcp_app_win = 31
    public var tcp_rto_min = Duration.milliseconds(200)
    public var tcp_rto_max = Duration.seconds(120)
    /// The first timeouts of a connection with less than four packets out do not grow.
    public var tcp_thin_linear_timeouts = false
    /// No window beyond 32767 for peers without window scaling, some of which take it for a negative number.
    public var tcp_workaround_signed_windows = false
    /// A window may be taken back when the buffer fills with small packets (RFC 7323 §2.4).
    public var tcp_shrink_window = false
    /// Records in TIME-WAIT; a connection that finds so many just ends.
    public var tcp_max_tw_buckets = 262_144
    /// The path MTU is not searched for: IP_MTU_DISCOVER of new sockets is IP_PMTUDISC_DONT.
    public var ip_no_pmtu_disc = false
    /// First and last ephemeral port.
    public var ip_local_port_range: (first: UInt16, last: UInt16) = (32_768, 60_999)
    public var ip_default_ttl: UInt8 = 64
    public var icmp_echo_ignore_all = false
    /// Upper bound of the reordering degree that is learned.
    public var tcp_max_reordering = 300
    /// Halves the extra burst of short paths for each 2^n µs of the least RTT (`tcp_tso_rtt_log`).
    public var tcp_tso_rtt_log = 9
    /// Tail loss probes: 0 off, 3 on (`tcp_early_retrans`).
    public var tcp_early_retrans = 3
    /// Bits: 1 RACK, 2 no adaption of its window, 4 no duplicate threshold.
    public var tcp_recovery = 1
    /// 0: no F-RTO (RFC 5682).
    public var tcp_frto = 2
    public var tcp_retrans_collapse = true
    /// Per cent of window over RTT at which bursts are sized, in slow start and after.
    public var tcp_pacing_ss_ratio = 200
    public var tcp_pacing_ca_ratio = 120
    /// Every connection is paced, as with the queue discipline fq (`SK_PACING_FQ`), but by TCP's own timer. No sysctl.
    public var pacesAlways = false
    /// 0: no ECN; 1: asked for and accepted; 2: accepted.
    public var tcp_ecn = 2
    /// A repeated SYN does not ask for ECN (RFC 3168 §6.1.1.1).
    public var tcp_ecn_fallback = true
    /// Unsent bytes above which a socket does not count as writable.
    public var tcp_notsent_lowat = UInt32.max
    /// A write that fills no packet waits while the device holds an earlier one of the connection.
    public var tcp_autocorking = true
    /// Bytes of kernel memory that the device may hold of one connection; less where its rate needs less for a millisecond ("TCP small queues").
    public var tcp_limit_output_bytes = 4_194_304
    /// Bits of RFC 7413: 1 client, 2 server, 4 client without cookie, 0x200 server without cookie, 0x400 all listeners.
    public var tcp_fastopen = 1
    /// How long Fast Open rests after signs of a middlebox that swallows it (`tcp_fastopen_blackhole_timeout_sec`); zero: it does not.
    public var tcp_fastopen_blackhole_timeout = Duration.zero
    /// SipHash key of the server's cookies.
    public var tcp_fastopen_key: (UInt64, UInt64) = (0, 0)
    public var tcp_congestion_control = CongestionControl.cubic
    /// /sys/module/tcp_cubic/parameters: HyStart, what it goes by (1 trains of ACKs, 2 delay), and fast convergence.
    public var cubic_hystart = true
    public var cubic_hystart_detect = 3
    /// Fast convergence (RFC 9438 §4.7).
    public var cubic_fast_convergence = true
    /// `tcp_write_xmit` as it was before Linux 6.10: a packet is not filled up from the next one (`tcp_grow_skb`), and a FIN alone is not held back by a
    /// full congestion window. No sysctl.
    public var sendsAsBefore6_10 = false
    /// Kernel memory a packet of the write queue takes beside its bytes (`tcp_stream_alloc_skb`): `struct sk_buff`, `skb_shared_info` and a head of 256 bytes from
    /// a cache of its own, before Linux 6.3 a slab of 1 KiB. No sysctl.
    public var queuedPacketOverhead: Int { sendsAsBefore6_10 ? 1280 : 832 }
    /// Packets come from a tun device, each in memory of its own whose size is a slab's (`tun_alloc_skb`). No sysctl.
    public var receivesFromTun = false
    /// An ACK of what was never sent is answered on an open connection as well (RFC 5961 §5.2, RFC 9293 §3.10.7.4), which Linux learnt late. No sysctl.
    public var challengesUnsentAcks = true
    /// Search for a larger path MTU: 0 never, 1 once a black hole shows, 2 always (RFC 4821).
    public var tcp_mtu_probing = 0
    /// The MSS the search begins with, and its least.
    public var tcp_base_mss = 1024
    public var tcp_mtu_probe_floor = 48
    public var tcp_min_snd_mss = 48
    /// The search ends when its bounds are less than so many bytes apart, and begins again after so long.
    public var tcp_probe_threshold = 8
    public var tcp_probe_interval = Duration.seconds(600)
    /// Timeouts after which the path is doubted.
    public var tcp_retries1 = 3
    public var tcp_abort_on_overflow = false
    public var tcp_rfc1337 = false
    public init() {}
}
