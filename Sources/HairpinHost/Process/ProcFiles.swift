import HairpinTransport

/// Files of proc(5) that are made when somebody reads them.
extension Process {
    /// Nil for a path that is none of them.
    func procFile(_ path: String) -> [UInt8]? {
        guard path.hasPrefix("/proc/net/") else { return nil }
        switch path {
        case "/proc/net/snmp": return Array(counterText { $0 != "TcpExt" }.utf8)
        case "/proc/net/netstat": return Array(counterText { $0 == "TcpExt" }.utf8)
        default: return nil
        }
    }

    /// A line of names and one of numbers for each table.
    private func counterText(_ includes: (String) -> Bool) -> String {
        var text = ""
        for table in stack.counters.counterTables where includes(table.name) {
            // What a host has no choice in (RFC 4022): RTO by Van Jacobson's algorithm, its bounds in ms, no limit of connections.
            let isTCP = table.name == "Tcp"
            text += table.name + ":" + (isTCP ? " RtoAlgorithm RtoMin RtoMax MaxConn" : "")
            for counter in table.counters { text += " " + counter.name }
            text += "\n" + table.name + ":" + (isTCP ? " 1 200 120000 -1" : "")
            for counter in table.counters { text += " \(counter.value)" }
            text += "\n"
        }
        return text
    }
}
