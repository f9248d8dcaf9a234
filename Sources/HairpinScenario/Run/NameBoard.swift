import HairpinCluster
import HairpinPrograms

/// What the cluster's DNS servers answer at the moment: they hold the board, the endpoint controller rewrites it.
final class NameBoard: HairpinPrograms.ClusterNames {
    var names: HairpinCluster.ClusterNames
    init(_ names: HairpinCluster.ClusterNames) { self.names = names }

    /// The `ttl` of the kubernetes plug-in in kubeadm's Corefile, in seconds.
    private static let timeToLive: UInt32 = 30
    /// How far aliases are followed (RFC 1034 §3.6.2 leaves the limit open).
    private static let longestChain = 8

    var zone: String { names.domain }

    func answer(name: String, type: DNSType) -> NameAnswer {
        guard let wanted = HairpinCluster.ClusterNames.RecordType(rawValue: type.rawValue) else {
            // Types that the cluster has no records of: what matters is whether the name exists.
            return switch names.answer(name, .a) {
            case .records, .noData: .noData
            case .nonExistent: .noSuchName
            case .notOurs: .elsewhere
            }
        }
        var owner = name
        var found: [DNSRecord] = []
        for _ in 0..<NameBoard.longestChain {
            guard case .records(let records) = names.answer(owner, wanted) else { break }
            found += records.compactMap { record($0, of: owner) }
            guard wanted != .cname, records.count == 1, case .canonicalName(let target) = records[0] else { break }
            owner = target
        }
        if !found.isEmpty { return .records(found) }
        return switch names.answer(name, wanted) {
        case .records, .noData: .noData
        case .nonExistent: .noSuchName
        case .notOurs: .elsewhere
        }
    }

    private func record(_ record: HairpinCluster.ClusterNames.Record, of owner: String) -> DNSRecord? {
        guard let name = DNSName(owner) else { return nil }
        func make(_ type: DNSType, _ data: DNSData?) -> DNSRecord? {
            data.map { DNSRecord(name: name, type: type, timeToLive: NameBoard.timeToLive, data: $0) }
        }
        return switch record {
        case .address(let address): make(.a, .a(address))
        case .canonicalName(let target): make(.cname, DNSName(target).map { .name($0) })
        case .pointer(let target): make(.ptr, DNSName(target).map { .name($0) })
        case .service(let priority, let weight, let port, let target):
            make(.srv, DNSName(target).map { .srv(priority: priority, weight: weight, port: port, target: $0) })
        }
    }
}
