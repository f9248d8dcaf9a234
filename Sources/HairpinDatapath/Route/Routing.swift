import HairpinEngine
import HairpinWire

/// What to do with a packet that came in.
enum InputRoute {
    case local
    /// For everybody on the link, this host included.
    case broadcast
    case forward(Route)
    /// No route: the sender hears of it if this host forwards.
    case unreachable
    /// A source or destination that cannot be.
    case martian(DropReason)
}

extension LogicalProcess {
    /// Where a packet goes that came in, with the checks on its source (`ip_route_input_rcu`).
    @inline(__always)
    func routeInput(destination: IPv4Address, source: IPv4Address, device: InterfaceIndex) -> InputRoute {
        let space = namespace(interface(device).pointee.namespace)
        if let known = space.pointee.routeCache.find(source, destination, device) { return known.pointee.isLocal ? .local : .forward(known.pointee.route) }
        let found = decideInputRoute(destination: destination, source: source, device: device)
        switch found {
        case .local: space.pointee.routeCache.store(localRoute(destination, space), isLocal: true, source, destination, device)
        case .forward(let route): space.pointee.routeCache.store(route, isLocal: false, source, destination, device)
        case .broadcast, .unreachable, .martian: break
        }
        return found
    }

    /// `ip_route_input_slow`.
    @inline(never)
    private func decideInputRoute(destination: IPv4Address, source: IPv4Address, device: InterfaceIndex) -> InputRoute {
        let input = interface(device)
        let space = namespace(input.pointee.namespace)
        let onLoopback = input.pointee.kind == .loopback
        if source.isMulticast || source.isBroadcast { return .martian(.martianSource) }
        if !onLoopback, !space.pointee.routesLoopback, source.isLoopback || destination.isLoopback {
            return .martian(source.isLoopback ? .martianSource : .martianDestination)
        }
        if destination.isBroadcast || space.pointee.broadcasts.find(UInt64(destination.rawValue)) != nil { return .broadcast }
        if destination == .any { return .martian(.martianDestination) }
        // fib_validate_source: our own address does not come from outside.
        if !onLoopback, space.pointee.isLocal(source) { return .martian(.martianSource) }
        if space.pointee.isLocal(destination) { return .local }
        if destination.isMulticast { return .martian(.unhandledIPProtocol) }
        if !onLoopback, space.pointee.reversePathFilter != 0, source != .any {
            // 1 strict: the way back is the way in; 2 loose: there is a way back (RFC 3704 §2.2, §2.4).
            guard let back = space.pointee.routes.lookup(source) else { return .martian(.reversePathFilter) }
            if space.pointee.reversePathFilter == 1, back.device != device { return .martian(.reversePathFilter) }
        }
        guard let route = space.pointee.routes.lookup(destination) else { return .unreachable }
        if !space.pointee.forwards { return .martian(.notForwarding) }
        return .forward(route)
    }

    /// The source address for packets that this namespace starts (`fib_select_default`, `inet_select_addr`).
    func selectSource(toward destination: IPv4Address, device: InterfaceIndex, _ space: UnsafeMutablePointer<Namespace>) -> IPv4Address? {
        if let route = space.pointee.routes.lookup(destination), route.device == device {
            if route.source != .any { return route.source }
            if let own = space.pointee.address(on: device, matching: route.nextHop(toward: destination)) { return own }
        }
        return space.pointee.address(on: device, matching: destination) ?? space.pointee.anyAddress
    }

    /// A route for a packet of this namespace's own (`ip_route_output_key_hash_rcu`); nil when there is none.
    @inline(__always)
    func routeOutput(destination: IPv4Address, namespace index: NamespaceIndex) -> (route: Route, isLocal: Bool)? {
        let space = namespace(index)
        if let known = space.pointee.routeCache.find(.any, destination, .none) { return (known.pointee.route, known.pointee.isLocal) }
        let isLocal = space.pointee.isLocal(destination)
        guard let route = isLocal ? localRoute(destination, space) : space.pointee.routes.lookup(destination) else { return nil }
        space.pointee.routeCache.store(route, isLocal: isLocal, .any, destination, .none)
        return (route, isLocal)
    }

    private func localRoute(_ destination: IPv4Address, _ space: UnsafeMutablePointer<Namespace>) -> Route {
        Route(prefix: IPv4Prefix(destination, length: 32), gateway: .any, device: space.pointee.loopback, source: destination)
    }

    /// The source of a packet that goes the way of `routeOutput` without having one.
    func source(of found: (route: Route, isLocal: Bool), toward destination: IPv4Address, namespace index: NamespaceIndex) -> IPv4Address {
        if found.isLocal { return destination }
        return selectSource(toward: destination, device: found.route.device, namespace(index)) ?? .any
    }

    /// The largest packet that fits on the way to a destination as far as is known (RFC 1191).
    func pathMTU(to destination: IPv4Address, device: InterfaceIndex, _ space: UnsafeMutablePointer<Namespace>) -> Int {
        let link = interface(device).pointee.mtu
        guard let learned = space.pointee.pathMTUs[destination], learned.expires > now else { return link }
        return min(link, learned.mtu)
    }
}
