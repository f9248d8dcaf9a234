/// Times after which idle connections are forgotten, in seconds, and the other settings of connection tracking, by the names of their sysctls
/// (`net.netfilter.nf_conntrack_…`). The defaults are the kernel's; kube-proxy lowers `tcp_timeout_established` to 86400 and raises
/// `tcp_timeout_close_wait` to 3600.
public struct ConnectionSettings: Hashable, Sendable {
    /// By `TCPState`: none, syn_sent, syn_recv, established, fin_wait, close_wait, last_ack, time_wait, close, syn_sent2.
    var tcp: [UInt32] = [0, 120, 60, 432_000, 120, 60, 30, 120, 10, 120]
    var tcpRetransmitting: UInt32 = 300
    var tcpUnacknowledged: UInt32 = 300
    var tcpMaximumRetransmissions: UInt32 = 3
    var udp: UInt32 = 30
    var udpStream: UInt32 = 120
    var icmp: UInt32 = 30
    var generic: UInt32 = 600
    var sctp: UInt32 = 210
    /// Segments out of window are let through, except resets.
    var isLiberal = false
    /// Connections whose beginning was not seen are picked up.
    var isLoose = true
    var ignoresInvalidReset = false
    /// Entries the table holds.
    var maximum = 262_144

    public init() {}

    /// Sets a value by the name of its sysctl, with or without `net.netfilter.` or `net/netfilter/` before it. False if there is no such setting
    /// or the value does not fit.
    public mutating func set(_ name: String, to value: Int) -> Bool {
        let key = ConnectionSettings.key(name)
        guard let seconds = UInt32(exactly: value) else { return false }
        if key.hasPrefix("tcp_timeout_"), let index = ConnectionSettings.states.firstIndex(of: String(key.dropFirst(12))), index > 0 {
            tcp[index] = seconds
            return true
        }
        switch key {
        case "tcp_timeout_max_retrans": tcpRetransmitting = seconds
        case "tcp_timeout_unacknowledged": tcpUnacknowledged = seconds
        case "tcp_max_retrans": tcpMaximumRetransmissions = seconds
        case "udp_timeout": udp = seconds
        case "udp_timeout_stream": udpStream = seconds
        case "icmp_timeout": icmp = seconds
        case "generic_timeout": generic = seconds
        case "tcp_be_liberal": isLiberal = value != 0
        case "tcp_loose": isLoose = value != 0
        case "tcp_ignore_invalid_rst": ignoresInvalidReset = value != 0
        case "max":
            guard value > 0 else { return false }
            maximum = value
        default: return false
        }
        return true
    }

    private static let states = ["none", "syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close", "syn_sent2"]

    private static func key(_ name: String) -> Substring {
        var key = Substring(name)
        for prefix in ["net.netfilter.", "net/netfilter/", "net.", "nf_conntrack_"] where key.hasPrefix(prefix) { key = key.dropFirst(prefix.count) }
        return key
    }

    /// A value by the name of its sysctl; nil if there is no such setting.
    public func value(of name: String) -> Int? {
        guard name.contains("nf_conntrack_") else { return nil }
        let key = ConnectionSettings.key(name)
        if key.hasPrefix("tcp_timeout_"), let index = ConnectionSettings.states.firstIndex(of: String(key.dropFirst(12))), index > 0 { return Int(tcp[index]) }
        return switch key {
        case "tcp_timeout_max_retrans": Int(tcpRetransmitting)
        case "tcp_timeout_unacknowledged": Int(tcpUnacknowledged)
        case "tcp_max_retrans": Int(tcpMaximumRetransmissions)
        case "udp_timeout": Int(udp)
        case "udp_timeout_stream": Int(udpStream)
        case "icmp_timeout": Int(icmp)
        case "generic_timeout": Int(generic)
        case "tcp_be_liberal": isLiberal ? 1 : 0
        case "tcp_loose": isLoose ? 1 : 0
        case "tcp_ignore_invalid_rst": ignoresInvalidReset ? 1 : 0
        case "max", "buckets": maximum
        default: nil
        }
    }
}
