import CProcessor
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
    /// Maglev hashing: the last weights that were not zero (`dest->last_weight`), and the table, made when it is first asked.
    private var lastWeights: [Int] = []
    private var table: MaglevTable?
    /// Locality: the servers of the service's address, the one added last first, and when they last changed. Of `lblc` at most one.
    private var locals: [Int] = []
    private var localsChanged: UInt64 = 0
    /// `sysctl_lblcr_expiration`.
    private static let localsExpiration: UInt64 = 86_400_000_000_000

    init(_ service: VirtualService) {
        configured = service
        servers = service.servers.map { Server(configured: $0) }
        list = Array(servers.indices.reversed())
        if service.scheduler == .maglevHash { lastWeights = service.servers.map(\.weight) }
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
        locals = old.locals.compactMap { places[$0] }
        localsChanged = old.localsChanged
        if configured.scheduler == .maglevHash {
            for (before, now) in places where lastWeights[now] == 0 { lastWeights[now] = old.lastWeights[before] }
        }
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

    /// Up to where `schedule` looks for round robin.
    static var hotByteCount: Int { MemoryLayout<ScheduledService>.offset(of: \.last) ?? 0 }

    /// Asks for the beginnings of the arrays that `schedule` reads. Mutating, as a service that is changed in its place is not copied.
    @inline(__always)
    mutating func prefetchServers() {
        // An array's count lies before its elements.
        servers.withUnsafeBytes {
            guard let start = $0.baseAddress else { return }
            hairpin_prefetch_to_write(start - 16)
            hairpin_prefetch_to_write(start + 48)
        }
        list.withUnsafeBytes { if let start = $0.baseAddress { hairpin_prefetch(start - 16) } }
    }

    /// The server of a new connection, or nil if none may have it.
    mutating func schedule(_ tuple: ConnectionTuple, now: UInt64) -> Int? {
        switch configured.scheduler {
        case .roundRobin: return roundRobin()
        case .weightedRoundRobin: return weightedRoundRobin()
        case .leastConnections: return least { ($0.active << 8 + $0.inactive, 1) }
        case .weightedLeastConnections: return leastLoaded(list)
        case .shortestExpectedDelay: return least { ($0.active + 1, $0.configured.weight) }
        case .neverQueue:
            return list.first { servers[$0].configured.weight > 0 && servers[$0].active == 0 } ?? least { ($0.active + 1, $0.configured.weight) }
        case .sourceHash: return hashed(tuple.source, configured.flags.contains(.port) ? tuple.sourcePort : 0, isWeighted: true)
        case .destinationHash: return hashed(tuple.destination, 0, isWeighted: false)
        case .localityLeastConnections: return local(now: now)
        case .replicatedLocality: return replicated(now: now)
        case .maglevHash: return maglev(tuple.source, configured.flags.contains(.port) ? tuple.sourcePort : 0)
        // The heaviest, whatever it has to do (`ip_vs_fo_schedule`).
        case .failOver: return heaviest { $0.configured.weight > 0 }
        // The heaviest of those that have no more connections than weight (`ip_vs_ovf_schedule`).
        case .overflow: return heaviest { $0.configured.weight > 0 && $0.active <= $0.configured.weight }
        }
    }

    /// The first of the heaviest.
    private func heaviest(_ isEligible: (Server) -> Bool) -> Int? {
        var best: Int?
        for index in list where isEligible(servers[index]) && servers[index].configured.weight > best.map({ servers[$0].configured.weight }) ?? 0 { best = index }
        return best
    }

    /// By `ip_vs_dest_conn_overhead` and weight.
    private func leastLoaded(_ candidates: [Int]) -> Int? { least(candidates) { ($0.active << 8 + $0.inactive, $0.configured.weight) } }

    // MARK: Locality

    /// A server has more connections than weight while another has less than half (`is_overloaded` of ip_vs_lblc.c and ip_vs_lblcr.c).
    private func isOverloaded(_ server: Int) -> Bool {
        servers[server].active > servers[server].configured.weight && servers.contains { $0.active * 2 < $0.configured.weight }
    }

    /// The server that the address had before, while it is well; a service has one address (`ip_vs_lblc_schedule`).
    private mutating func local(now: UInt64) -> Int? {
        if let known = locals.first, servers[known].configured.weight > 0, !isOverloaded(known) { return known }
        guard let chosen = leastLoaded(list) else { return nil }
        locals = [chosen]
        return chosen
    }

    /// The least loaded of the servers that the address has; another is added when it is overloaded, and the most loaded goes when nothing has changed for a day
    /// (`ip_vs_lblcr_schedule`).
    private mutating func replicated(now: UInt64) -> Int? {
        let known = leastLoaded(locals)
        if locals.count > 1, now > localsChanged + ScheduledService.localsExpiration, let most = mostLoaded(locals) {
            locals.removeAll { $0 == most }
            localsChanged = now
        }
        if let known, !isOverloaded(known) { return known }
        guard let chosen = leastLoaded(list) else { return nil }
        if !locals.contains(chosen) {
            locals.insert(chosen, at: 0)
            localsChanged = now
        }
        return chosen
    }

    private func mostLoaded(_ candidates: [Int]) -> Int? {
        var most: (index: Int, load: Int, weight: Int)?
        for index in candidates where servers[index].configured.weight > 0 {
            let (load, weight) = (servers[index].active << 8 + servers[index].inactive, servers[index].configured.weight)
            if let known = most, known.load * weight >= load * known.weight { continue }
            most = (index, load, weight)
        }
        return most?.index
    }

    // MARK: Hashing

    /// `ip_vs_mh_get` and `ip_vs_mh_get_fallback`.
    private mutating func maglev(_ address: UInt32, _ port: UInt16) -> Int? {
        if table == nil {
            table = MaglevTable(list.map { (index: $0, address: servers[$0].configured.address.rawValue, port: servers[$0].configured.port, weight: lastWeights[$0]) })
        }
        guard let places = table?.places, !places.isEmpty else { return nil }
        let first = MaglevTable.place(address, port)
        if servers[Int(places[first])].configured.weight > 0 { return Int(places[first]) }
        guard configured.flags.contains(.fallback) else { return nil }
        for offset in 0..<MaglevTable.size {
            let server = Int(places[MaglevTable.place(address, port, offset: (offset + first) % MaglevTable.size)])
            if servers[server].configured.weight > 0 { return server }
        }
        return nil
    }

    // MARK: Round robin

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
    private func least(_ candidates: [Int]? = nil, _ load: (Server) -> (Int, Int)) -> Int? {
        var best: (index: Int, load: Int, weight: Int)?
        for index in candidates ?? list where servers[index].configured.weight > 0 {
            let (value, weight) = load(servers[index])
            if let known = best, known.load * weight <= value * known.weight { continue }
            best = (index, value, weight)
        }
        return best?.index
    }

    /// 256 buckets dealt out to the servers in turn, to each as many in a row as its weight (`ip_vs_sh_reassign`, `ip_vs_dh_reassign`).
    private func hashed(_ address: UInt32, _ port: UInt16, isWeighted: Bool) -> Int? {
        guard !servers.isEmpty else { return nil }
        let total = isWeighted ? servers.reduce(0) { $0 + max(1, $1.configured.weight) } : list.count
        func server(_ bucket: Int) -> Int {
            guard isWeighted else { return list[bucket % list.count] }
            var rest = bucket % total
            var place = 0
            while rest >= max(1, servers[list[place]].configured.weight) {
                rest -= max(1, servers[list[place]].configured.weight)
                place += 1
            }
            return list[place]
        }
        // `hash_32`
        let bucket = Int(((address &+ UInt32(port)) &* 0x61c8_8647) >> 24)
        let first = server(bucket)
        if servers[first].configured.weight > 0 { return first }
        guard isWeighted, configured.flags.contains(.fallback) else { return nil }
        // `ip_vs_sh_get_fallback`: once around the table, from as far behind the bucket as it stands behind the table's beginning.
        for offset in 0..<256 {
            let other = server((bucket + (offset + bucket) % 256) & 255)
            if servers[other].configured.weight > 0 { return other }
        }
        return nil
    }
}
