import HairpinEngine
import HairpinWire

/// A network namespace: one pod's, or the node's own.
struct Namespace {
    let name: String
    var loopback = InterfaceIndex.none
    var interfaces: [InterfaceIndex] = []
    /// Addresses with the interface they are on, in the order they were added.
    var addresses: [(device: InterfaceIndex, address: IPv4InterfaceAddress)] = []
    /// The same by device: with IPVS one of them has an address for every Service.
    private var byDevice: [UInt32: [IPv4InterfaceAddress]] = [:]
    /// The local table: own addresses, and the broadcast addresses of own networks.
    private(set) var locals = AddressMap()
    private(set) var broadcasts = AddressMap()
    var routes = RoutingTable() { didSet { routeCache.removeAll() } }
    var routeCache = RouteCache()
    var netfilter = LazyNetfilter()
    var reassembly = ReassemblyQueue()
    var identifications: IdentificationCounters
    private let seed: UInt64
    private var stream: SeededRandom?
    var errorLimiter = ErrorLimiter()
    /// Destination to a smaller path MTU, learned from "fragmentation needed".
    var pathMTUs: [IPv4Address: (mtu: Int, expires: Instant)] = [:]
    /// Packets that wait in neighbour queues, by socket.
    var held = AddressMap()

    // net.ipv4.ip_forward, net.bridge.bridge-nf-call-iptables, net.ipv4.conf.*.rp_filter, net.ipv4.conf.*.route_localnet
    var forwards = false { didSet { routeCache.removeAll() } }
    var bridgeCallsIPTables = false
    var reversePathFilter = 0 { didSet { routeCache.removeAll() } }
    var routesLoopback = false { didSet { routeCache.removeAll() } }

    var stackDeadline = Instant.distantFuture
    var stackQueued = Instant.distantFuture

    init(name: String, seed: UInt64) {
        self.name = name
        self.seed = seed
        identifications = IdentificationCounters(seed: seed, name: name)
    }

    func deallocate() {
        netfilter.deallocate()
        locals.deallocate()
        broadcasts.deallocate()
        routeCache.deallocate()
        held.deallocate()
        identifications.deallocate()
    }

    /// The namespace's random numbers, from the first one asked for.
    var random: SeededRandom {
        mutating get {
            if let stream { return stream }
            let new = SeededRandom(seed: seed, name: "ip/\(name)")
            stream = new
            return new
        }
        set { stream = newValue }
    }

    @inline(__always)
    func isLocal(_ address: IPv4Address) -> Bool { locals.find(UInt64(address.rawValue)) != nil || address.isLoopback }

    /// Asks for the memory that `isLocal` will read: in IPVS mode each Service's address is one of the host.
    @inline(__always)
    func prefetchIsLocal(_ address: IPv4Address) { locals.prefetch(UInt64(address.rawValue)) }

    mutating func add(_ address: IPv4InterfaceAddress, on device: InterfaceIndex) {
        routeCache.removeAll()
        addresses.append((device, address))
        byDevice[device.rawValue, default: []].append(address)
        if address.address != .any { locals.set(UInt64(address.address.rawValue), device.rawValue) }
        if address.prefix.length < 31, !address.address.isLoopback {
            broadcasts.set(UInt64(address.prefix.broadcast.rawValue), device.rawValue)
            // The network's own address is an old form of broadcast (RFC 922); the kernel no longer adds it.
        }
    }

    mutating func removeAddress(_ address: IPv4InterfaceAddress, from device: InterfaceIndex) {
        routeCache.removeAll()
        addresses.removeAll { $0.device == device && $0.address == address }
        byDevice[device.rawValue]?.removeAll { $0 == address }
        if !addresses.contains(where: { $0.address.address == address.address }) { locals.remove(UInt64(address.address.rawValue)) }
        if !addresses.contains(where: { $0.address.prefix == address.prefix }) { broadcasts.remove(UInt64(address.prefix.broadcast.rawValue)) }
    }

    /// The address of a device that shares a network with `neighbour`, or its first one.
    func address(on device: InterfaceIndex, matching neighbour: IPv4Address) -> IPv4Address? {
        guard let own = byDevice[device.rawValue] else { return nil }
        for address in own where address.prefix.contains(neighbour) { return address.address }
        return own.first?.address
    }

    /// For a device without an address: any other of this host (`inet_select_addr`'s last resort).
    var anyAddress: IPv4Address? { addresses.first { !$0.address.address.isLoopback }?.address.address }
}
