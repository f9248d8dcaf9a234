import HairpinCluster
import HairpinPrograms
import HairpinWire

/// What the cluster's DNS servers answer at the moment: they hold the board, the endpoint controller rewrites it.
final class NameBoard: HairpinPrograms.ClusterNames {
    var names: HairpinCluster.ClusterNames
    /// Seconds since 1970 at which Services or endpoints last changed.
    var serial = UInt32(truncatingIfNeeded: VirtualEpoch.unixSeconds)
    /// Names outside the cluster, in lower case, which an upstream server knows.
    private let outside: [String: IPv4Address]

    /// The nodes' name servers, which the cluster's forwards to.
    let upstreamServers: [IPv4Address]

    init(_ names: HairpinCluster.ClusterNames, outside: [String: IPv4Address] = [:], upstream: [IPv4Address] = []) {
        (self.names, self.outside, upstreamServers) = (names, outside, upstream)
    }

    var zone: String { names.domain }
    var timeToLive: UInt32 { names.settings.timeToLive }
    var isShuffled: Bool { names.settings.isShuffled }

    func outsideAddress(of name: String) -> IPv4Address? { outside[name] }

    func answer(name: String, type: DNSType) -> NameAnswer {
        guard let wanted = HairpinCluster.ClusterNames.RecordType(rawValue: type.rawValue) else {
            // Types that the cluster has no records of: what matters is whether the name exists.
            return switch names.answer(name, .a) {
            case .records, .noData: .noData
            case .nonExistent: .noSuchName
            case .notOurs: .elsewhere
            }
        }
        switch names.answer(name, wanted) {
        case .records(let found):
            let records = found.compactMap { record($0, of: name) }
            return .records(records, additional: additional(to: found))
        case .noData: return .noData
        case .nonExistent: return .noSuchName
        case .notOurs: return .elsewhere
        }
    }

    /// The addresses of the names that SRV and NS records point to, each once.
    private func additional(to records: [HairpinCluster.ClusterNames.Record]) -> [DNSRecord] {
        var seen: Set<String> = []
        var result: [DNSRecord] = []
        for record in records {
            let target: String
            switch record {
            case .service(_, _, _, let name), .nameServer(let name): target = name
            default: continue
            }
            guard seen.insert(target).inserted, case .records(let addresses) = names.answer(target, .a) else { continue }
            result += addresses.compactMap { self.record($0, of: target) }
        }
        return result
    }

    private func record(_ record: HairpinCluster.ClusterNames.Record, of owner: String) -> DNSRecord? {
        guard let name = DNSName(owner) else { return nil }
        func make(_ type: DNSType, _ data: DNSData?, timeToLive: UInt32? = nil) -> DNSRecord? {
            data.map { DNSRecord(name: name, type: type, timeToLive: timeToLive ?? self.timeToLive, data: $0) }
        }
        return switch record {
        case .address(let address): make(.a, .a(address))
        case .canonicalName(let target): make(.cname, DNSName(target).map { .name($0) })
        case .pointer(let target): make(.ptr, DNSName(target).map { .name($0) })
        case .nameServer(let target): make(.ns, DNSName(target).map { .name($0) })
        // The plugin gives this one record eight hours.
        case .text(let text): make(.txt, .txt([Array(text.utf8)]), timeToLive: 28800)
        case .startOfAuthority: DNSName(zone).map { CoreDNSNames.startOfAuthority($0, serial: serial, timeToLive: timeToLive) }
        case .service(let priority, let weight, let port, let target):
            make(.srv, DNSName(target).map { .srv(priority: priority, weight: weight, port: port, target: $0) })
        }
    }
}
