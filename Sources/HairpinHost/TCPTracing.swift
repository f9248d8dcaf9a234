import HairpinDatapath
import HairpinEngine
import HairpinTransport

extension Simulation {
    /// Traces the TCP of the hosts for which `includes` holds, from now on: a record for each segment that arrives, each retransmission and each timer of
    /// a connection. To be called before anything has happened, and once.
    ///
    /// - Parameter ports: connections with one of these at either end; all if there are none.
    /// - Parameter isFull: false writes only what follows a change of the congestion window.
    public func traceTCP(ports: Set<UInt16> = [], isFull: Bool = true, of includes: (String) -> Bool) {
        for kernel in kernels {
            // A log for each logical process: no two threads share one.
            let log = TCPProbeLog(ports: ports, isFull: isFull)
            var isUsed = false
            for number in 0..<UInt32(kernel.process.namespaceCount) where includes(kernel.hostName(NamespaceIndex(number))) {
                kernel.stack(NamespaceIndex(number)).trace(into: log, as: number)
                isUsed = true
            }
            if isUsed { kernel.probeLog = log }
        }
    }

    /// What was traced up to and including `time` and not taken before, in the order of time; at the same moment logical process by logical process.
    public func takeTCPTrace(upTo time: Instant) -> [(host: String, record: TCPProbeRecord)] {
        var taken: [(host: String, record: TCPProbeRecord)] = []
        var sources = 0
        for kernel in kernels {
            guard let log = kernel.probeLog else { continue }
            let records = log.take(upTo: time)
            if records.isEmpty { continue }
            sources += 1
            taken.reserveCapacity(taken.count + records.count)
            for record in records { taken.append((kernel.hostName(NamespaceIndex(record.origin)), record)) }
        }
        if sources < 2 { return taken }
        let order = taken.indices.sorted { (taken[$0].record.time, $0) < (taken[$1].record.time, $1) }
        return order.map { taken[$0] }
    }

    /// The first line of a trace as CSV.
    public static let tcpTraceHeader = TCPProbeRecord.header + "\n"

    /// The same as lines of CSV.
    public func takeTCPTrace(upTo time: Instant, asLinesTo bytes: inout [UInt8]) {
        for (host, record) in takeTCPTrace(upTo: time) { record.write(to: &bytes, host: host) }
    }
}
