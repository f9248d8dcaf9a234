import HairpinWire

/// What went through a virtual service or to one of its servers (`struct ip_vs_kstats`).
public struct VirtualServerCounters: Sendable, Hashable {
    public var connections: UInt64 = 0
    public var inPackets: UInt64 = 0, outPackets: UInt64 = 0
    /// Of IP packets.
    public var inBytes: UInt64 = 0, outBytes: UInt64 = 0
    public init() {}

    static func += (a: inout VirtualServerCounters, b: VirtualServerCounters) {
        a.connections += b.connections
        a.inPackets += b.inPackets
        a.outPackets += b.outPackets
        a.inBytes += b.inBytes
        a.outBytes += b.outBytes
    }
}

/// The estimator of rates (ip_vs_est.c): every two seconds a quarter of the way to what the last two seconds had. Rates are kept with ten fractional bits, those of
/// bytes with five.
struct VirtualServerRates {
    /// The counters of the last look: what is shown until the next (`ip_vs_copy_stats`).
    private(set) var last = VirtualServerCounters()
    private var scaled = VirtualServerCounters()
    mutating func estimate(_ now: VirtualServerCounters) {
        func move(_ rate: inout UInt64, _ count: UInt64, _ before: UInt64, _ shift: UInt64) {
            let difference = Int64((count &- before) << shift) - Int64(rate)
            rate = UInt64(Int64(rate) + difference >> 2)
        }
        move(&scaled.connections, now.connections, last.connections, 9)
        move(&scaled.inPackets, now.inPackets, last.inPackets, 9)
        move(&scaled.outPackets, now.outPackets, last.outPackets, 9)
        move(&scaled.inBytes, now.inBytes, last.inBytes, 4)
        move(&scaled.outBytes, now.outBytes, last.outBytes, 4)
        last = now
    }

    /// Per second.
    var rates: VirtualServerCounters {
        var result = scaled
        result.connections = (scaled.connections + 0x1ff) >> 10
        result.inPackets = (scaled.inPackets + 0x1ff) >> 10
        result.outPackets = (scaled.outPackets + 0x1ff) >> 10
        result.inBytes = (scaled.inBytes + 0xf) >> 5
        result.outBytes = (scaled.outBytes + 0xf) >> 5
        return result
    }
}

/// A service or one of its servers, as its counters are kept: only those that had a connection have some.
struct VirtualServerCounterKey: Hashable {
    var address: UInt32, port: UInt16, proto: UInt8
    /// Zero for the service itself.
    var server: UInt32 = 0, serverPort: UInt16 = 0
}

extension VirtualServerTable {
    /// What has been counted of entries that have ended, and how fast it went.
    struct Tally {
        var ended = VirtualServerCounters()
        var rates = VirtualServerRates()
    }

    /// The counters of all services and servers that had a connection, living entries among them.
    func counters() -> [VirtualServerCounterKey: VirtualServerCounters] {
        var result = tallies.mapValues(\.ended)
        forEachEntry { entry in for key in [entry.serviceKey, entry.serverKey] where isThere(key, entry) { result[key, default: VirtualServerCounters()] += entry.counters } }
        return result
    }

    private func isThere(_ key: VirtualServerCounterKey, _ entry: Entry) -> Bool { entry.serviceIndex >= 0 && (key.server == 0 || entry.serverIndex >= 0) }

    /// Every two seconds.
    mutating func estimateRates() {
        for (key, counters) in counters() { tallies[key, default: Tally()].rates.estimate(counters) }
    }

    /// The entry ends: what it has counted stays with its service and its server.
    mutating func keepCounters(of entry: Entry) {
        for key in [entry.serviceKey, entry.serverKey] where isThere(key, entry) { tallies[key, default: Tally()].ended += entry.counters }
    }

    /// Services and servers that have gone take their counters along; a server that comes back begins at zero.
    mutating func dropCounters() {
        if tallies.isEmpty { return }
        var servers: [Int: Set<VirtualService.Endpoint>] = [:]
        tallies = tallies.filter { key, _ in
            guard let place = position(key.address, key.port, key.proto) else { return false }
            if key.server == 0 { return true }
            let known = servers[place] ?? Set(services[place].servers.map(\.configured.endpoint))
            servers[place] = known
            return known.contains(VirtualService.Endpoint(address: key.server, port: key.serverPort))
        }
    }

    /// Those of the servers that a service had and has no longer.
    mutating func dropCounters(of old: ScheduledService, now new: ScheduledService) {
        if tallies.isEmpty { return }
        let left = Set(new.servers.map(\.configured.endpoint))
        let service = old.configured
        for server in old.servers.map(\.configured.endpoint) where !left.contains(server) {
            tallies[VirtualServerCounterKey(
                address: service.address.rawValue, port: service.port, proto: service.proto.rawValue, server: server.address, serverPort: server.port)] = nil
        }
    }
}

extension VirtualServerTable.Entry {
    var serviceKey: VirtualServerCounterKey { VirtualServerCounterKey(address: address, port: port, proto: proto) }
    var serverKey: VirtualServerCounterKey { VirtualServerCounterKey(address: address, port: port, proto: proto, server: server, serverPort: serverPort) }
    var counters: VirtualServerCounters {
        var result = VirtualServerCounters()
        result.connections = 1
        (result.inPackets, result.outPackets, result.inBytes, result.outBytes) = (UInt64(inPackets), UInt64(outPackets), inBytes, outBytes)
        return result
    }
}

extension VirtualService {
    struct Endpoint: Hashable {
        var address: UInt32
        var port: UInt16
    }
}

extension VirtualService.Server {
    var endpoint: VirtualService.Endpoint { VirtualService.Endpoint(address: address.rawValue, port: port) }
}

/// A virtual service with what `ipvsadm --stats` and `--rate` show of it.
public struct VirtualServiceStatistics: Sendable {
    public struct Line: Sendable {
        /// As of the last estimate.
        public var counters: VirtualServerCounters
        /// Per second.
        public var rates: VirtualServerCounters
    }
    public var service: VirtualService
    public var total: Line
    /// In the order of the service's servers.
    public var servers: [Line]
}

extension LogicalProcess {
    public func virtualServiceStatistics(namespace index: NamespaceIndex) -> [VirtualServiceStatistics] {
        namespace(index).pointee.netfilter.made.pointee.virtualServers.statistics()
    }

    /// To be called every two seconds: what `virtualServiceStatistics` tells is what was there then.
    public func estimateVirtualServerRates(namespace index: NamespaceIndex) {
        namespace(index).pointee.netfilter.made.pointee.virtualServers.estimateRates()
    }
}

extension VirtualServerTable {
    func statistics() -> [VirtualServiceStatistics] {
        func line(_ key: VirtualServerCounterKey) -> VirtualServiceStatistics.Line {
            let rates = tallies[key]?.rates ?? VirtualServerRates()
            return VirtualServiceStatistics.Line(counters: rates.last, rates: rates.rates)
        }
        return services.map { service in
            var key = VirtualServerCounterKey(
                address: service.configured.address.rawValue, port: service.configured.port, proto: service.configured.proto.rawValue)
            let total = line(key)
            let servers = service.servers.map { server in
                (key.server, key.serverPort) = (server.configured.address.rawValue, server.configured.port)
                return line(key)
            }
            return VirtualServiceStatistics(service: service.configured, total: total, servers: servers)
        }
    }
}
