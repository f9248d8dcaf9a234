import HairpinWire

/// Where the latest new connections of a namespace were sent, for reports: a connection that is refused at once leaves the table at once. Kept only where
/// somebody has asked for it.
final class BindingLog {
    private var destinations: [ConnectionTuple: (address: UInt32, port: UInt16)] = [:]
    private static let limit = 65_536

    func note(_ original: ConnectionTuple, address: UInt32, port: UInt16) {
        if destinations.count >= BindingLog.limit { destinations.removeAll(keepingCapacity: true) }
        destinations[original] = (address, port)
    }

    func destination(of original: ConnectionTuple) -> (address: UInt32, port: UInt16)? { destinations[original] }
}

extension LogicalProcess {
    /// Remembers from now on where new connections are sent.
    public func watchBindings(namespace index: NamespaceIndex) {
        let filter = namespace(index).pointee.netfilter.made
        if filter.pointee.bindings == nil { filter.pointee.bindings = BindingLog() }
    }

    /// Where the latest connection from one address and port to another was sent; nil where it was not translated, or nobody watches.
    public func binding(
        from source: IPv4Address, port: UInt16, to destination: IPv4Address, port destinationPort: UInt16, proto: IPProtocol, namespace index: NamespaceIndex
    ) -> (address: IPv4Address, port: UInt16)? {
        let tuple = ConnectionTuple(
            source: source.rawValue, destination: destination.rawValue, sourcePort: port, destinationPort: destinationPort, proto: proto.rawValue)
        return namespace(index).pointee.netfilter.made.pointee.bindings?.destination(of: tuple).map { (IPv4Address(rawValue: $0.address), $0.port) }
    }
}
