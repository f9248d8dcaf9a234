import HairpinWire

/// One route of a namespace.
struct Route: Equatable {
    var prefix: IPv4Prefix
    /// `.any` for a network that is on the link.
    var gateway: IPv4Address
    var device: InterfaceIndex
    /// The preferred source (`src`); `.any` for none.
    var source: IPv4Address
    var isKernel = false
    var isOnLink = false

    func nextHop(toward destination: IPv4Address) -> IPv4Address { gateway == .any ? destination : gateway }
}

/// Longest-prefix match over the routes of one namespace (RFC 1812 §5.2.4.3): sorted by prefix length, so that the first match is the best.
struct RoutingTable {
    private(set) var routes: [Route] = []

    mutating func add(_ route: Route) {
        if let at = routes.firstIndex(where: { $0.prefix.length < route.prefix.length }) { routes.insert(route, at: at) } else { routes.append(route) }
    }
    @discardableResult
    mutating func remove(where condition: (Route) -> Bool) -> Int {
        let before = routes.count
        routes.removeAll(where: condition)
        return before - routes.count
    }

    @inline(__always)
    func lookup(_ destination: IPv4Address) -> Route? {
        routes.withUnsafeBufferPointer { table in
            for n in 0..<table.count where table[n].prefix.contains(destination) { return table[n] }
            return nil
        }
    }
}
