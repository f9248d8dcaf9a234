import HairpinWire

/// A connection as `/proc/net/ip_vs_conn` shows it.
public struct VirtualConnection: Sendable, Hashable {
    public var proto: IPProtocol
    public var client: IPv4Address, clientPort: UInt16
    public var address: IPv4Address, port: UInt16
    public var server: IPv4Address, serverPort: UInt16
    /// "ESTABLISHED"
    public var state: String
    /// Whole seconds.
    public var remaining: Int
}

extension VirtualServerTable {
    /// In the order of clients and their ports; templates, which have no client's port, first.
    func connections(now: UInt64) -> [VirtualConnection] {
        var result: [VirtualConnection] = templates(now: now)
        forEachEntry { entry in
            if entry.expires <= now { return }
            result.append(
                VirtualConnection(
                    proto: IPProtocol(entry.proto), client: IPv4Address(rawValue: entry.client), clientPort: entry.clientPort, address: IPv4Address(rawValue: entry.address),
                    port: entry.port, server: IPv4Address(rawValue: entry.server), serverPort: entry.serverPort, state: entry.stateName,
                    remaining: Int((entry.expires - now) / 1_000_000_000)))
        }
        return result.sorted {
            ($0.client.rawValue, $0.clientPort, $0.address.rawValue, $0.port, $0.proto.rawValue) < ($1.client.rawValue, $1.clientPort, $1.address.rawValue, $1.port, $1.proto.rawValue)
        }
    }
}

extension VirtualServerTable.Entry {
    /// `tcp_state_name_table` and its like.
    var stateName: String {
        switch state {
        case .none: "NONE"
        case .established: "ESTABLISHED"
        case .synSent: "SYN_SENT"
        case .synReceived: "SYN_RECV"
        case .finWait: "FIN_WAIT"
        case .timeWait: "TIME_WAIT"
        case .close: "CLOSE"
        case .closeWait: "CLOSE_WAIT"
        case .lastAck: "LAST_ACK"
        case .udp: proto == 17 ? "UDP" : "ESTABLISHED"
        }
    }
}

extension LogicalProcess {
    /// The connections that virtual servers have forwarded, and the templates of persistent ones.
    public func virtualConnections(namespace index: NamespaceIndex) -> [VirtualConnection] {
        namespace(index).pointee.netfilter.made.pointee.endVirtualConnections(now: now.nanoseconds)
        return namespace(index).pointee.netfilter.made.pointee.virtualServers.connections(now: now.nanoseconds)
    }
}
