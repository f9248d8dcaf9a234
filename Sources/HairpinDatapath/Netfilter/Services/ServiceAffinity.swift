import HairpinProxy

/// Which endpoint each client of a Service with `sessionAffinity: ClientIP` was given, and when: what xt_recent's lists and nftables' dynamic sets
/// keep for kube-proxy. Kept across changes of the table.
final class ServiceAffinity {
    private struct Key: Hashable {
        var service: UInt64
        var client: UInt32
    }
    private struct Memory {
        var address: ServiceAddress
        var port: UInt16
        var lastSeen: UInt64
    }
    private var memories: [Key: [Memory]] = [:]

    /// The position in `list` of the endpoint this client is to have, if it was seen there less than the timeout ago; endpoints are tried in their
    /// order. `now` in nanoseconds.
    func known(_ client: UInt32, _ choice: ServiceTable.Choice, _ list: Range<Int>, in table: ServiceTable, now: UInt64) -> Int? {
        guard choice.affinitySeconds != 0, let known = memories[Key(service: choice.identity, client: client)] else { return nil }
        let window = UInt64(choice.affinitySeconds) * 1_000_000_000
        return list.first { index in
            let endpoint = table.endpoints[index]
            return known.contains { $0.address == endpoint.address && $0.port == endpoint.port && now &- $0.lastSeen <= window }
        }
    }

    /// Remembers what a client was given; what is older than the timeout is forgotten.
    func remember(_ client: UInt32, _ choice: ServiceTable.Choice, _ endpoint: ServiceTable.Endpoint, now: UInt64) {
        let window = UInt64(choice.affinitySeconds) * 1_000_000_000
        memories[Key(service: choice.identity, client: client), default: []].removeAll {
            now &- $0.lastSeen > window || $0.address == endpoint.address && $0.port == endpoint.port
        }
        memories[Key(service: choice.identity, client: client), default: []].append(Memory(address: endpoint.address, port: endpoint.port, lastSeen: now))
    }
}
