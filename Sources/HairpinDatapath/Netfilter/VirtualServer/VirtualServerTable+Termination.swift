import HairpinWire

/// The settings `net.ipv4.vs.…` that are modelled, with the kernel's defaults.
struct VirtualServerSettings: Sendable {
    /// `expire_nodest_conn`: a packet whose server is gone ends its entry.
    var expiresWithoutServer = false
    /// `conn_reuse_mode`: 0 leaves entries that are over as they are.
    var reuseMode = 1
    /// `expire_quiescent_template`: persistence does not lead to servers of weight zero.
    var expiresQuiescentTemplates = false
    /// `sloppy_tcp`: segments in the middle of a connection nobody knows get a server too.
    var isSloppy = false

    /// False for a name that is not modelled.
    mutating func set(_ name: String, to value: Int) -> Bool {
        switch name {
        case "net.ipv4.vs.expire_nodest_conn": expiresWithoutServer = value != 0
        case "net.ipv4.vs.conn_reuse_mode": reuseMode = value
        case "net.ipv4.vs.expire_quiescent_template": expiresQuiescentTemplates = value != 0
        case "net.ipv4.vs.sloppy_tcp": isSloppy = value != 0
        default: return false
        }
        return true
    }

    /// A value by the name of its sysctl; nil if there is no such setting.
    func value(of name: String) -> Int? {
        switch name {
        case "net.ipv4.vs.expire_nodest_conn": expiresWithoutServer ? 1 : 0
        case "net.ipv4.vs.conn_reuse_mode": reuseMode
        case "net.ipv4.vs.expire_quiescent_template": expiresQuiescentTemplates ? 1 : 0
        case "net.ipv4.vs.sloppy_tcp": isSloppy ? 1 : 0
        default: nil
        }
    }
}

// kube-proxy's graceful termination (pkg/proxy/ipvs/graceful_termination.go).
extension VirtualServerTable {
    struct Terminating: Hashable {
        var address: UInt32, port: UInt16
        var server: UInt32, serverPort: UInt16
    }

    /// Replaces all services as kube-proxy does: a server of TCP that is no longer wanted gets weight zero and stays while it has connections; those of UDP and
    /// SCTP go at once. One that is wanted again is as before, with its connections.
    mutating func setGracefully(_ wanted: [VirtualService], now: UInt64) {
        expireEntries(now: now)
        terminating = []
        set(wanted.map { keepingServers($0) })
    }

    /// As above, for some of the services; the others stay as they are. False, and nothing done, if one of them is not there.
    mutating func changeGracefully(_ wanted: [VirtualService], now: UInt64) -> Bool {
        guard wanted.allSatisfy({ scheduled($0) != nil }) else { return false }
        expireEntries(now: now)
        let keys = Set(wanted.map { Endpoint(address: $0.address, port: $0.port) })
        terminating = terminating.filter { !keys.contains(Endpoint(address: IPv4Address(rawValue: $0.address), port: $0.port)) }
        return change(wanted.map { keepingServers($0) })
    }

    /// With the servers that leave but have connections, at weight zero; they are noted in `terminating`.
    private mutating func keepingServers(_ service: VirtualService) -> VirtualService {
        guard service.proto == .tcp, let known = scheduled(service) else { return service }
        var service = service
        let own = Set(service.servers.map { Endpoint(address: $0.address, port: $0.port) })
        for server in known.servers where server.active + server.inactive > 0 {
            guard !own.contains(Endpoint(address: server.configured.address, port: server.configured.port)) else { continue }
            service.servers.append(VirtualService.Server(address: server.configured.address, port: server.configured.port, weight: 0))
            terminating.insert(
                Terminating(
                    address: service.address.rawValue, port: service.port, server: server.configured.address.rawValue, serverPort: server.configured.port))
        }
        return service
    }

    private struct Endpoint: Hashable {
        var address: IPv4Address
        var port: UInt16
    }

    /// `tryDeleteRs`, once a minute: servers on their way out whose last connection has ended go. Whether some remain.
    mutating func endTerminated(now: UInt64) -> Bool {
        guard !terminating.isEmpty else { return false }
        expireEntries(now: now)
        var left: Set<Terminating> = []
        let all = services.map { service -> VirtualService in
            var kept = service.configured
            kept.servers = service.servers.compactMap { server in
                let key = Terminating(
                    address: kept.address.rawValue, port: kept.port, server: server.configured.address.rawValue, serverPort: server.configured.port)
                guard kept.proto == .tcp, terminating.contains(key) else { return server.configured }
                guard server.active + server.inactive > 0 else { return nil }
                left.insert(key)
                return server.configured
            }
            return kept
        }
        if left != terminating { set(all) }
        terminating = left
        return !left.isEmpty
    }
}
