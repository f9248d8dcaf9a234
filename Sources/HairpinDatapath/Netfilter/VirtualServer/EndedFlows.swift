import HairpinWire

// IPVS's entries and the table of connections: with `net.ipv4.vs.conntrack` the end of the one is the end of the other's (`ip_vs_conn_expire`,
// `ip_vs_conn_drop_conntrack`), however long that one had to live.
extension Netfilter {
    /// Entries whose time is up end. Before a packet is looked up, so that it finds neither.
    @inline(never)
    mutating func endVirtualConnections(now: UInt64) {
        virtualServers.expireEntries(now: now)
        forgetEndedFlows(now: now)
    }

    @inline(never)
    mutating func forgetEndedFlows(now: UInt64) {
        for flow in virtualServers.takeEnded() {
            guard let (place, isReply) = connections.number(of: flow), !isReply else { continue }
            connections.remove(place, now: now)
        }
    }
}
