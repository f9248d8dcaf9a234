import HairpinEngine
import HairpinWire

// Building and changing a logical process: what `ip link`, `ip addr`, `ip route`, `sysctl` and `iptables-restore` do.

/// A cable's shape, as the description of a link says it.
public struct CableShape: Sendable {
    public var rate: UInt64
    public var delay: Duration
    public var queueLimit: Int
    public init(rate: UInt64, delay: Duration, queueLimit: Int) {
        self.rate = rate
        self.delay = delay
        self.queueLimit = queueLimit
    }
}

/// What `ip` shows of an interface.
public struct InterfaceState: Sendable {
    public var index: InterfaceIndex
    public var name: String
    public var kind: String
    public var mac: MACAddress
    public var mtu: Int
    public var isUp: Bool
    public var peer: InterfaceIndex
    public var master: String?
    public var addresses: [IPv4InterfaceAddress]
    public var counters: InterfaceCounters
}

/// A route as `ip route` shows it.
public struct RouteState: Sendable, Equatable {
    public var destination: IPv4Prefix
    public var gateway: IPv4Address?
    public var device: String
    public var source: IPv4Address?
    public var isKernel: Bool
    public var isOnLink: Bool
    public init(destination: IPv4Prefix, gateway: IPv4Address?, device: String, source: IPv4Address?, isKernel: Bool, isOnLink: Bool) {
        self.destination = destination
        self.gateway = gateway
        self.device = device
        self.source = source
        self.isKernel = isKernel
        self.isOnLink = isOnLink
    }
}

public struct NeighbourStateLine: Sendable {
    public var address: IPv4Address
    public var device: String
    public var mac: MACAddress?
    public var state: NeighbourState
}

extension LogicalProcess {
    public func makeNamespace(name: String) -> NamespaceIndex {
        addNamespace(Namespace(name: name, seed: seed))
    }

    @discardableResult
    public func makeLoopback(_ space: NamespaceIndex, mtu: Int = 65536) -> InterfaceIndex {
        let index = add(Interface(kind: .loopback, namespace: space, mac: .zero, mtu: mtu), name: "lo")
        namespace(space).pointee.loopback = index
        return index
    }

    public func makeBridge(_ space: NamespaceIndex, name: String, mac: MACAddress, mtu: Int, ageing: Duration) -> InterfaceIndex {
        var interface = Interface(kind: .bridge, namespace: space, mac: mac, mtu: mtu)
        interface.bridge = addBridge(ageing: ageing)
        return add(interface, name: name)
    }

    public func makeDummy(_ space: NamespaceIndex, name: String, mac: MACAddress, mtu: Int) -> InterfaceIndex {
        add(Interface(kind: .dummy, namespace: space, mac: mac, mtu: mtu), name: name)
    }

    /// One end of a veth pair or cable; `connect` joins it with the other.
    public func makeVeth(_ space: NamespaceIndex, name: String, mac: MACAddress, mtu: Int) -> InterfaceIndex {
        add(Interface(kind: .veth, namespace: space, mac: mac, mtu: mtu), name: name)
    }

    private func add(_ interface: Interface, name: String) -> InterfaceIndex {
        let index = addInterface(interface, name: name)
        namespace(interface.namespace).pointee.interfaces.append(index)
        return index
    }

    /// Joins two ends in this logical process. A shape with rate or delay makes the direction from `a` a cable, else it is a veth pair.
    public func connect(_ a: InterfaceIndex, _ b: InterfaceIndex) {
        interface(a).pointee.peer = b
        interface(b).pointee.peer = a
    }

    /// Shapes what leaves an interface. Both directions of a pair are shaped independently.
    public func shape(_ device: InterfaceIndex, _ shape: CableShape) {
        let end = interface(device)
        precondition(end.pointee.kind == .veth || end.pointee.kind == .cable, "only cables have a shape")
        guard end.pointee.kind == .cable || shape.rate > 0 || shape.delay > .zero else { return }
        let cable = makeCable(device)
        cable.pointee.rate = shape.rate
        cable.pointee.delay = shape.delay
        cable.pointee.queueLimit = max(shape.queueLimit, 1)
    }

    /// The cable an interface sends over; a veth's end becomes one. The other direction stays what it is.
    @discardableResult
    private func makeCable(_ device: InterfaceIndex) -> UnsafeMutablePointer<Cable> {
        if let cable = interface(device).pointee.cable { return cable }
        let cable = UnsafeMutablePointer<Cable>.allocate(capacity: 1)
        cable.initialize(
            to: Cable(
                random: SeededRandom(seed: seed, name: "cable/\(number)/\(namespace(interface(device).pointee.namespace).pointee.name)/\(interfaceName(device))")))
        interface(device).pointee.kind = .cable
        interface(device).pointee.cable = cable
        return cable
    }

    /// Leads an interface to one of another logical process.
    public func connect(_ device: InterfaceIndex, toProcess process: Int, interface remote: InterfaceIndex, _ shape: CableShape) {
        precondition(shape.delay > .zero, "between logical processes a cable has a delay")
        let cable = makeCable(device)
        cable.pointee.outbox = outbox(to: process).filling
        cable.pointee.remoteInterface = remote
        self.shape(device, shape)
    }

    /// Fault on what leaves an interface: loss as a fraction of 2^32, or a cut.
    public func setFault(_ device: InterfaceIndex, loss: UInt32, isCut: Bool) {
        guard interface(device).pointee.kind == .veth || interface(device).pointee.kind == .cable else { return }
        let cable = makeCable(device)
        cable.pointee.setFault(loss: loss, isCut: isCut)
    }

    public func enslave(_ port: InterfaceIndex, to bridge: InterfaceIndex, hairpin: Bool) {
        let table = bridges + Int(interface(bridge).pointee.bridge)
        interface(port).pointee.master = bridge
        interface(port).pointee.isHairpin = hairpin
        interface(port).pointee.portNumber = UInt16(table.pointee.portCount)
        table.pointee.addPort(port)
    }

    public func setTapped(_ device: InterfaceIndex, _ tapped: Bool) { interface(device).pointee.isTapped = tapped }

    /// Adds an address and the route to its network, as the kernel does.
    public func addAddress(_ address: IPv4InterfaceAddress, on device: InterfaceIndex, withRoute: Bool = true) {
        let space = namespace(interface(device).pointee.namespace)
        space.pointee.add(address, on: device)
        if withRoute, address.prefix.length < 32, interface(device).pointee.kind != .loopback {
            addRoute(
                RouteState(destination: address.prefix, gateway: nil, device: interfaceName(device), source: address.address, isKernel: true, isOnLink: false),
                namespace: interface(device).pointee.namespace)
        }
        space.pointee.netfilter.interfacesChanged()
    }

    /// `ip addr del`: the connected route goes with the address. Returns false if it was not there.
    @discardableResult
    public func removeAddress(_ address: IPv4InterfaceAddress, from device: InterfaceIndex) -> Bool {
        let space = namespace(interface(device).pointee.namespace)
        guard space.pointee.addresses.contains(where: { $0.device == device && $0.address == address }) else { return false }
        space.pointee.removeAddress(address, from: device)
        // fib_del_ifaddr: routes that used the address as their source go too, and those behind gateways that are no longer reachable.
        space.pointee.routes.remove { $0.device == device && ($0.source == address.address || $0.prefix == address.prefix && $0.isKernel) }
        let onLink = space.pointee.routes.routes.filter { $0.gateway == .any }
        space.pointee.routes.remove { route in
            route.gateway != .any && route.device == device && !route.isOnLink && !onLink.contains { $0.prefix.contains(route.gateway) }
        }
        return true
    }

    /// `ip link set address`: the neighbours of the device are forgotten (`neigh_changeaddr`).
    public func setMAC(_ mac: MACAddress, on device: InterfaceIndex) {
        interface(device).pointee.mac = mac
        for n in 0..<UInt32(neighbours.pointee.count) where neighbours.pointee[n].pointee.device == device && neighbours.pointee[n].pointee.state != .permanent {
            flushNeighbour(n)
        }
    }

    /// A port of a bridge that goes down takes along what the bridge has learned there (`br_stp_disable_port`).
    public func setUp(_ up: Bool, _ device: InterfaceIndex) {
        let entry = interface(device)
        entry.pointee.isUp = up
        if !up, entry.pointee.master != .none { (bridges + Int(interface(entry.pointee.master).pointee.bridge)).pointee.forget(port: entry.pointee.portNumber) }
    }
    public func setMTU(_ mtu: Int, _ device: InterfaceIndex) { interface(device).pointee.mtu = mtu }

    private func flushNeighbour(_ n: UInt32) {
        let entry = neighbours.pointee[n]
        while !entry.pointee.waiting.isEmpty {
            let frame = entry.pointee.waiting.removeFirst()
            noteHeld(frame, -1)
            drop(frame, .neighbourFailed, at: entry.pointee.device)
        }
        entry.pointee.waitingBytes = 0
        entry.pointee.state = .none
        entry.pointee.deadline = .distantFuture
        entry.pointee.hasHeader = false
        neighbours.pointee.forget(n)
    }

    /// False if the device does not exist in the namespace.
    @discardableResult
    public func addRoute(_ route: RouteState, namespace index: NamespaceIndex) -> Bool {
        guard let device = findInterface(route.device, namespace: index) else { return false }
        let new = Route(
            prefix: route.destination, gateway: route.gateway ?? .any, device: device, source: route.source ?? .any, isKernel: route.isKernel, isOnLink: route.isOnLink)
        if !namespace(index).pointee.routes.routes.contains(new) { namespace(index).pointee.routes.add(new) }
        return true
    }

    @discardableResult
    public func removeRoute(_ destination: IPv4Prefix, gateway: IPv4Address?, device: String?, namespace index: NamespaceIndex) -> Bool {
        let out = device.flatMap { findInterface($0, namespace: index) }
        return namespace(index).pointee.routes.remove { $0.prefix == destination && (gateway == nil || $0.gateway == gateway) && (out == nil || $0.device == out) } > 0
    }

    public func addPermanentNeighbour(_ address: IPv4Address, mac: MACAddress, device: InterfaceIndex) {
        let n = findOrCreateNeighbour(address, device: device)
        neighbours.pointee[n].pointee.mac = mac
        neighbours.pointee[n].pointee.state = .permanent
    }

    // MARK: Settings by their sysctl names

    /// False for a name that is not modelled.
    @discardableResult
    public func setSysctl(_ name: String, _ value: String, namespace index: NamespaceIndex) -> Bool {
        let space = namespace(index)
        switch name {
        case "net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding": space.pointee.forwards = value == "1"
        case "net.bridge.bridge-nf-call-iptables": space.pointee.bridgeCallsIPTables = value == "1"
        case "net.ipv4.conf.all.rp_filter": space.pointee.reversePathFilter = Int(value) ?? 0
        case "net.ipv4.conf.all.route_localnet": space.pointee.routesLoopback = value == "1"
        default:
            guard let number = Int(value) else { return false }
            return space.pointee.netfilter.made.pointee.set(sysctl: name, to: number)
        }
        return true
    }

    /// The value of a setting; nil for a name that is not modelled.
    public func sysctl(_ name: String, namespace index: NamespaceIndex) -> String? {
        let space = namespace(index)
        return switch name {
        case "net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding": space.pointee.forwards ? "1" : "0"
        case "net.bridge.bridge-nf-call-iptables": space.pointee.bridgeCallsIPTables ? "1" : "0"
        case "net.ipv4.conf.all.rp_filter": "\(space.pointee.reversePathFilter)"
        case "net.ipv4.conf.all.route_localnet": space.pointee.routesLoopback ? "1" : "0"
        case "net.netfilter.nf_conntrack_count": "\(connectionRecords(namespace: index).count)"
        case _ where name.hasPrefix("net.ipv4.vs."): space.pointee.netfilter.made.pointee.virtualServers.settings.value(of: name).map { "\($0)" }
        default: space.pointee.netfilter.made.pointee.connections.settings.value(of: name).map { "\($0)" }
        }
    }

    // MARK: Reading state

    public func namespaceName(_ index: NamespaceIndex) -> String { namespace(index).pointee.name }
    public func isBridge(_ index: InterfaceIndex) -> Bool { interface(index).pointee.kind == .bridge }
    public func namespaceOfInterface(_ index: InterfaceIndex) -> NamespaceIndex { interface(index).pointee.namespace }

    public func interfaceStates(namespace index: NamespaceIndex) -> [InterfaceState] {
        let addresses = Dictionary(grouping: namespace(index).pointee.addresses, by: { $0.device })
        return namespace(index).pointee.interfaces.map { device in
            let entry = interface(device).pointee
            let kind =
                switch entry.kind {
                case .loopback: "loopback"
                case .veth, .cable: "veth"
                case .bridge: "bridge"
                case .dummy: "dummy"
                }
            return InterfaceState(
                index: device, name: interfaceName(device), kind: kind, mac: entry.mac, mtu: entry.mtu, isUp: entry.isUp, peer: entry.peer,
                master: entry.master == .none ? nil : interfaceName(entry.master),
                addresses: addresses[device]?.map(\.address) ?? [], counters: entry.counters)
        }
    }

    /// In the order `ip route` lists them: default first, then by address.
    public func routeStates(namespace index: NamespaceIndex) -> [RouteState] {
        namespace(index).pointee.routes.routes
            .sorted { ($0.prefix.network, $0.prefix.length) < ($1.prefix.network, $1.prefix.length) }
            .map {
                RouteState(
                    destination: $0.prefix, gateway: $0.gateway == .any ? nil : $0.gateway, device: interfaceName($0.device),
                    source: $0.source == .any ? nil : $0.source, isKernel: $0.isKernel, isOnLink: $0.isOnLink)
            }
    }

    public func neighbourStates(namespace index: NamespaceIndex) -> [NeighbourStateLine] {
        (0..<UInt32(neighbours.pointee.count)).compactMap { n in
            let entry = neighbours.pointee[n].pointee
            guard interface(entry.device).pointee.namespace == index, entry.state != .none else { return nil }
            return NeighbourStateLine(address: entry.address, device: interfaceName(entry.device), mac: entry.state.isValid ? entry.mac : nil, state: entry.state)
        }
    }

    // MARK: For the transport layer

    public func isLocal(_ address: IPv4Address, namespace index: NamespaceIndex) -> Bool { namespace(index).pointee.isLocal(address) }

    /// The route a socket's packet would take: source address, path MTU, whether it stays on this host; nil if there is none.
    public func outputRoute(to destination: IPv4Address, namespace index: NamespaceIndex) -> (source: IPv4Address, mtu: Int, isLocal: Bool)? {
        guard let found = routeOutput(destination: destination, namespace: index) else { return nil }
        return (source(of: found, toward: destination, namespace: index), pathMTU(to: destination, device: found.route.device, namespace(index)), found.isLocal)
    }

    public func packetsHeld(by socket: UInt32, namespace index: NamespaceIndex) -> Int { Int(namespace(index).pointee.held.find(UInt64(socket)) ?? 0) }

    /// Sends a frame as it is (AF_PACKET).
    public func transmitRaw(_ bytes: [UInt8], on device: InterfaceIndex) {
        let frame = pool.pointee.allocate(bytes.count)
        bytes.withUnsafeBytes { pool.pointee[frame].pointee.data.copyMemory(from: $0.baseAddress!, byteCount: bytes.count) }
        pool.pointee[frame].pointee.packetID = makePacketID()
        books.emitted += 1
        spend(costs.transmit)
        transmit(frame, device)
    }
}
