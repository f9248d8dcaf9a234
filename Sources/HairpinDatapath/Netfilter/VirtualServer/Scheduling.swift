import HairpinWire

/// A service with what its scheduler remembers.
struct ScheduledService {
    struct Server {
        var configured: VirtualService.Server
        /// Connections that are established, and the others (`activeconns`, `inactconns`).
        var active = 0
        var inactive = 0
        func isSame(as other: Server) -> Bool { configured.address == other.configured.address && configured.port == other.configured.port }
    }
    var configured: VirtualService
    var servers: [Server]
    /// The kernel's list of servers, from its head, as positions in `servers`: `__ip_vs_update_dest` puts a new one before all others, so that the one added
    /// last comes first.
    private(set) var list: [Int]
    /// Round robin: the place in `list` of the server chosen last; -1 is the list's own head, from which a turn begins (`svc->sched_data`, `mark->cl`).
    private var last = -1
    /// Weighted round robin: the weight a server must have now (`mark->cw`).
    private var currentWeight = 0

    init(_ service: VirtualService) {
        configured = service
        servers = service.servers.map { Server(configured: $0) }
        list = Array(servers.indices.reversed())
        // Servers come one after the other, and each may raise the bar only if there is none (`ip_vs_wrr_dest_changed`).
        var weights: [Int] = []
        for server in service.servers {
            weights.append(server.weight)
            changeWeights(weights)
        }
    }

    /// Takes over connection counts, the list and the turn from the service as it was before a change.
    mutating func inherit(from old: ScheduledService) {
        var places: [Int: Int] = [:]
        for index in servers.indices {
            // Most of them stand where they stood.
            let isSame = index < old.servers.count && old.servers[index].isSame(as: servers[index])
            guard let before = isSame ? index : old.servers.firstIndex(where: { $0.isSame(as: servers[index]) }) else { continue }
            (servers[index].active, servers[index].inactive) = (old.servers[before].active, old.servers[before].inactive)
            places[before] = index
        }
        let staying = old.list.compactMap { places[$0] }
        let known = Set(staying)
        let new = servers.indices.filter { !known.contains($0) }
        list = new.reversed() + staying
        guard old.configured.scheduler == configured.scheduler else { return }
        if configured.scheduler == .weightedRoundRobin {
            let isChanged = servers.count != old.servers.count || servers.indices.contains { index in
                !(index < old.servers.count && old.servers[index].isSame(as: servers[index]) && old.servers[index].configured.weight == servers[index].configured.weight)
            }
            (last, currentWeight) = isChanged ? (-1, old.currentWeight) : (old.last, old.currentWeight)
            if isChanged { changeWeights(servers.map(\.configured.weight)) }
            return
        }
        // Where the last one has left, the one before it stands for it (`ip_vs_rr_del_dest`).
        guard let server = old.list.prefix(old.last + 1).last(where: { places[$0] != nil }), let now = places[server] else { return }
        last = list.firstIndex(of: now) ?? -1
    }

    /// The bar's step and its highest place, `ip_vs_wrr_dest_changed` of ip_vs_wrr.c (`mark->di`, `mark->mw`).
    private static func bar(_ weights: [Int]) -> (step: Int, top: Int) {
        let step = max(1, weights.reduce(0) { commonDivisor($0, $1) })
        return (step, max(0, (weights.max() ?? 0) - (step - 1)))
    }

    private mutating func changeWeights(_ weights: [Int]) {
        let (step, top) = ScheduledService.bar(weights)
        if currentWeight > top || currentWeight == 0 { currentWeight = top } else if step > 1 { currentWeight = currentWeight / step * step + 1 }
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
            return list.first { servers[$0].configured.weight > 0 && servers[$0].active == 0 } ?? least { ($0.active + 1, $0.configured.weight) }
        case .sourceHash: return hashed(source, isWeighted: true)
        case .destinationHash: return hashed(destination, isWeighted: false)
        }
    }

    /// On from the one chosen last (`ip_vs_rr_schedule`).
    private mutating func roundRobin() -> Int? {
        for step in 1...max(1, list.count) where !list.isEmpty {
            let place = (last + step) % list.count
            if servers[list[place]].configured.weight > 0 {
                last = place
                return list[place]
            }
        }
        return nil
    }

    /// Round robin among those whose weight reaches a bar that sinks from the largest weight by the common divisor (`ip_vs_wrr_schedule`).
    private mutating func weightedRoundRobin() -> Int? {
        let (step, top) = ScheduledService.bar(servers.map(\.configured.weight))
        guard top > 0 else { return nil }
        for _ in 0..<(servers.count * (top / step + 2) + 1) {
            last += 1
            if last >= list.count {
                last = 0
                currentWeight -= step
                if currentWeight <= 0 { currentWeight = top }
            }
            if servers[list[last]].configured.weight >= currentWeight { return list[last] }
        }
        return nil
    }

    private static func commonDivisor(_ a: Int, _ b: Int) -> Int { b == 0 ? a : commonDivisor(b, a % b) }

    /// The first with the smallest load per weight; compared crosswise, as the kernel does, to stay with integers.
    private func least(_ load: (Server) -> (Int, Int)) -> Int? {
        var best: (index: Int, load: Int, weight: Int)?
        for index in list where servers[index].configured.weight > 0 {
            let (value, weight) = load(servers[index])
            if let known = best, known.load * weight <= value * known.weight { continue }
            best = (index, value, weight)
        }
        return best?.index
    }

    /// 256 buckets dealt out to the servers in turn, to each as many in a row as its weight (`ip_vs_sh_reassign`, `ip_vs_dh_reassign`).
    private func hashed(_ address: UInt32, isWeighted: Bool) -> Int? {
        guard !servers.isEmpty else { return nil }
        let bucket = Int((address &* 0x61c8_8647) >> 24)
        var place = bucket % list.count
        if isWeighted {
            let total = servers.reduce(0) { $0 + max(1, $1.configured.weight) }
            var rest = bucket % total
            place = 0
            while rest >= max(1, servers[list[place]].configured.weight) {
                rest -= max(1, servers[list[place]].configured.weight)
                place += 1
            }
        }
        let index = list[place]
        return servers[index].configured.weight > 0 ? index : nil
    }
}
