/// Settings of a running namespace, and the choices that follow from them.
extension TransportStack {
    /// sysctl -w: `name` is as under /proc/sys, with dots or slashes.
    public func change(_ name: String, _ value: String) throws(TransportSettings.SettingError) {
        var new = settings
        try new.set(name, value)
        settings = new
        if name.hasSuffix("tcp_fastopen_blackhole_timeout_sec") { fastOpenPause.times = 0 }
    }

    public func replaceSettings(_ new: TransportSettings) { settings = new }

    /// `ip tcp_metrics flush`
    public func forgetMetrics() { fastOpenMemory = [:] }

    /// TCP_CONGESTION
    public func setCongestionControl(_ socket: SocketID, _ name: String) throws(Errno) {
        guard let e = table.stream(socket) else { throw .badFileDescriptor }
        now = network.now
        defer { rearm() }
        guard let algorithm = CongestionControl(selectable: name) else { throw Errno(2) }
        changeCongestionControl(e, algorithm)
    }

    public func congestionControl(_ socket: SocketID) -> String? { table.stream(socket)?.cold.pointee.congestion.rawValue }
}
