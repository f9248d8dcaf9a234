import HairpinEngine
import HairpinWire

/// What netfilter asks of the network namespace it belongs to. A generic parameter in the same module, so that calls are direct.
protocol NetfilterEnvironment {
    func name(of interface: InterfaceIndex) -> String
    func isLocal(_ address: IPv4Address) -> Bool
    /// Asks for the memory that `isLocal` will read.
    func prefetchIsLocal(_ address: IPv4Address)
    func isBroadcast(_ address: IPv4Address) -> Bool
    /// The source address masquerading gives packets that leave by `output` (`inet_select_addr`, scope universe).
    func primaryAddress(of output: InterfaceIndex, toward destination: IPv4Address) -> IPv4Address?
    var now: Instant { get }
    mutating func random32() -> UInt32
    /// Whether the address is of this very interface; for `--limit-iface-in` and `-out`.
    func isLocal(_ address: IPv4Address, on interface: InterfaceIndex) -> Bool
    /// Whether answers to `source` leave by `interface`, or with `loose` by any (`rpfilter_lookup_reverse`).
    func isWayBack(_ source: IPv4Address, by interface: InterfaceIndex, loose: Bool, acceptsLocal: Bool) -> Bool
    /// For `--clamp-mss-to-pmtu`.
    func mtu(of interface: InterfaceIndex) -> Int
}

extension NetfilterEnvironment {
    func prefetchIsLocal(_ address: IPv4Address) {}
    func isLocal(_ address: IPv4Address, on interface: InterfaceIndex) -> Bool { isLocal(address) }
    func mtu(of interface: InterfaceIndex) -> Int { 1500 }
    func isWayBack(_ source: IPv4Address, by interface: InterfaceIndex, loose: Bool, acceptsLocal: Bool) -> Bool { true }
}
