import HairpinWire

/// A service with what its scheduler remembers.
struct ScheduledService {
    struct Server {
        var configured: VirtualService.Server
        /// Connections that are established, and the others (`activeconns`, `inactconns`).
        var active = 0
        var inactive = 0
    }
    var configured: VirtualService
    var servers: [Server]
    /// Round robin: the server after the last one chosen.
    private var next = 0
    private var currentWeight = 0

    init(_ service: VirtualService) {
        configured = service
        servers = service.servers.map { Server(configured: $0) }
        if service.scheduler == .weightedRoundRobin { next = -1 }
    }

    /// Takes over connection counts and the turn from the service as it was before a change.
    mutating func inherit(from old: ScheduledService) {
        for index in servers.indices {
            // Most of them stand where they stood.
            if index < old.servers.count, old.servers[index].configured.address == servers[index].configured.address,
                old.servers[index].configured.port == servers[index].configured.port
            {
                (servers[index].active, servers[index].inactive) = (old.servers[index].active, old.servers[index].inactive)
                continue
            }
            if let before = old.servers.first(where: {
                $0.configured.address == servers[index].configured.address && $0.configured.port == servers[index].configured.port
            }) {
                servers[index].active = before.active
                servers[index].inactive = before.inactive
            }
        }
        guard old.configured.scheduler == configured.scheduler, !servers.isEmpty else { return }
        next = configured.scheduler == .weightedRoundRobin ? min(old.next, servers.count - 1) : old.next % servers.count
        currentWeight = old.currentWeight
    }

    /// The server of a new connection, or nil if none may have it.
    mutating func schedule(source: UInt32, destination: UInt32) -> Int? {
        switch configured.scheduler {
        case .roundRobin: return roundRobin()
        case .weightedRoundRobin: return weightedRoundRobin()
        case .leastConnections: return least { ($0.active << 8 + $0.inactive, 1) }
        case .weightedLeastConnections: return least { ($0.active << 8 + $0.inactive, $0.configured.weight) }
        case .shortestExpectedDelay: return least { ($0.active + 1, $0.configured.weight) }
        case .neverQueue:
            return servers.firstIndex { $0.configured.weight > 0 && $0.active == 0 } ?? least { ($0.active + 1, $0.configured.weight) }
        case .sourceHash: return hashed(source, isWeighted: true)
        case .destinationHash: return hashed(destination, isWeighted: false)
        }
    }

    /// In the order of the servers, beginning with the first (`ip_vs_rr_schedule`).
    private mutating func roundRobin() -> Int? {
        for step in 0..<servers.count {
            let index = (next + step) % servers.count
            if servers[index].configured.weight > 0 {
                next = (index + 1) % servers.count
                return index
            }
        }
        return nil
    }

    /// Round robin among those whose weight reaches a threshold that sinks from the largest weight by the common divisor (`ip_vs_wrr_schedule`).
    private mutating func weightedRoundRobin() -> Int? {
        let largest = servers.map(\.configured.weight).max() ?? 0
        guard largest > 0 else { return nil }
        let divisor = servers.reduce(0) { ScheduledService.commonDivisor($0, $1.configured.weight) }
        for _ in 0..<(servers.count * (largest / divisor + 1) + 1) {
            next = (next + 1) % servers.count
            if next == 0 {
                currentWeight -= divisor
                if currentWeight <= 0 { currentWeight = largest }
            }
            if servers[next].configured.weight >= currentWeight { return next }
        }
        return nil
    }

    private static func commonDivisor(_ a: Int, _ b: Int) -> Int { b == 0 ? a : commonDivisor(b, a % b) }

    /// The first with the smallest load per weight; compared crosswise, as the kernel does, to stay with integers.
    private func least(_ load: (Server) -> (Int, Int)) -> Int? {
        var best: (index: Int, load: Int, weight: Int)?
        for (index, server) in servers.enumerated() where server.configured.weight > 0 {
            let (value, weight) = load(server)
            if let known = best, known.load * weight <= value * known.weight { continue }
            best = (index, value, weight)
        }
        return best?.index
    }

    /// 256 buckets dealt out to the servers in turn, to each as many in a row as its weight (`ip_vs_sh_reassign`, `ip_vs_dh_reassign`).
    private func hashed(_ address: UInt32, isWeighted: Bool) -> Int? {
        guard !servers.isEmpty else { return nil }
        let bucket = Int((address &* 0x61c8_8647) >> 24)
        var index = bucket % servers.count
        if isWeighted {
            let total = servers.reduce(0) { $0 + max(1, $1.configured.weight) }
            var rest = bucket % total
            index = 0
            while rest >= max(1, servers[index].configured.weight) {
                rest -= max(1, servers[index].configured.weight)
                index += 1
            }
        }
        return servers[index].configured.weight > 0 ? index : nil
    }
}
