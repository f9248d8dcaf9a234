import HairpinEngine
import HairpinProxy
import HairpinWire

/// A network as it stands before the first packet: hosts, interfaces, routes and rules, in the words of `ip` and `iptables-save`.
///
/// It is what a `scenario.json` describes, and what a cluster's manifests turn into.
public struct Topology: Sendable {
    public var hosts: [HostDescription]
    public init(hosts: [HostDescription] = []) { self.hosts = hosts }
}

/// A network namespace: a node, a pod, a machine outside the cluster or a switch.
public struct HostDescription: Sendable {
    public enum Kind: String, Sendable {
        case node, pod, external
        case lan = "switch"
    }
    /// Unique in the topology. Pods use "namespace/name" unless they come from a recording.
    public var name: String
    public var kind: Kind
    /// The node a pod runs on: the pod shares its logical process.
    public var node: String?
    public var interfaces: [InterfaceDescription]
    public var routes: [RouteDescription]
    /// Permanent neighbour entries.
    public var neighbours: [NeighbourDescription] = []
    /// Lines in `iptables-save` form.
    public var iptables: [String] = []
    public var virtualServers: [VirtualServerDescription] = []
    /// kube-proxy's table: it stands for chains that `iptables` only declares.
    public var services: ServiceTable?
    /// By the names sysctl(8) uses: "net.ipv4.ip_forward".
    public var sysctls: [String: String] = [:]

    public init(name: String, kind: Kind, node: String? = nil, interfaces: [InterfaceDescription] = [], routes: [RouteDescription] = []) {
        self.name = name
        self.kind = kind
        self.node = node
        self.interfaces = interfaces
        self.routes = routes
    }
}

public struct InterfaceDescription: Sendable {
    public enum Kind: Sendable, Equatable {
        case loopback
        case bridge(ageing: Duration)
        /// One end of a cable: a veth pair inside a logical process, a link between two of them.
        case veth(peerHost: String, peerInterface: String)
        case dummy
        case vxlan(VXLANDescription)
    }
    public var name: String
    public var kind: Kind
    public var mac: MACAddress
    public var mtu: Int
    public var addresses: [IPv4InterfaceAddress]
    /// The bridge this interface is a port of.
    public var master: String?
    /// Hairpin mode of the port: a frame may leave by the port it came in on.
    public var hairpin = false
    /// Of a link to another logical process or a shaped veth; the defaults are an ideal cable.
    public var link = LinkDescription()

    public init(name: String, kind: Kind, mac: MACAddress = .zero, mtu: Int = 1500, addresses: [IPv4InterfaceAddress] = [], master: String? = nil) {
        self.name = name
        self.kind = kind
        self.mac = mac
        self.mtu = mtu
        self.addresses = addresses
        self.master = master
    }
}

public struct VXLANDescription: Sendable, Equatable {
    public var identifier: UInt32
    public var local: IPv4Address
    public var port: UInt16
    public var udpChecksum: Bool
    /// Forwarding entries: inner MAC to the peer that has it.
    public var forwarding: [(MACAddress, IPv4Address)]
    public init(identifier: UInt32, local: IPv4Address, port: UInt16, udpChecksum: Bool, forwarding: [(MACAddress, IPv4Address)]) {
        self.identifier = identifier
        self.local = local
        self.port = port
        self.udpChecksum = udpChecksum
        self.forwarding = forwarding
    }
    public static func == (a: VXLANDescription, b: VXLANDescription) -> Bool {
        a.identifier == b.identifier && a.local == b.local && a.port == b.port && a.udpChecksum == b.udpChecksum
            && a.forwarding.elementsEqual(b.forwarding) { $0.0 == $1.0 && $0.1 == $1.1 }
    }
}

/// One direction of a cable: what leaves the interface it is written on.
public struct LinkDescription: Sendable, Equatable {
    /// Bits per second; zero is unlimited.
    public var rate: UInt64 = 0
    /// Propagation delay. Between logical processes it must be greater than zero; the default there is 10 µs.
    public var delay: Duration = .zero
    /// Drop-tail queue in frames, used when `rate` is limited.
    public var queueLimit = 1000
    public init() {}
}

/// A line of `ip route`.
public struct RouteDescription: Sendable, Equatable {
    public var destination: IPv4Prefix
    public var gateway: IPv4Address?
    /// Empty for a blackhole or unreachable route.
    public var device: String
    public var source: IPv4Address?
    public var isOnLink = false
    public var isKernel = false
    public init(destination: IPv4Prefix, gateway: IPv4Address? = nil, device: String, source: IPv4Address? = nil) {
        self.destination = destination
        self.gateway = gateway
        self.device = device
        self.source = source
    }

    /// Parses `default via 10.244.0.1 dev eth0` and the like; nil for text that is not a unicast route.
    public init?(_ text: some StringProtocol) {
        var words = text.split(separator: " ")[...]
        guard let first = words.popFirst(), let prefix = first == "default" ? IPv4Prefix(.any, length: 0) : IPv4Prefix(first) else { return nil }
        destination = prefix
        device = ""
        while let word = words.popFirst() {
            switch word {
            case "via":
                guard let address = words.popFirst().flatMap({ IPv4Address($0) }) else { return nil }
                gateway = address
            case "dev":
                guard let name = words.popFirst() else { return nil }
                device = String(name)
            case "src":
                guard let address = words.popFirst().flatMap({ IPv4Address($0) }) else { return nil }
                source = address
            case "onlink": isOnLink = true
            case "proto": isKernel = words.popFirst() == "kernel"
            case "scope", "metric", "table": words = words.dropFirst()
            default: break  // linkdown and other notes of state
            }
        }
        guard !device.isEmpty else { return nil }
    }
}

public struct NeighbourDescription: Sendable, Equatable {
    public var address: IPv4Address
    public var device: String
    public var mac: MACAddress
    public init(address: IPv4Address, device: String, mac: MACAddress) {
        self.address = address
        self.device = device
        self.mac = mac
    }
}

/// An IPVS virtual service and its real servers, as `ipvsadm -Ln` lists them.
public struct VirtualServerDescription: Sendable, Equatable {
    public var address: IPv4Address
    public var port: UInt16
    public var proto: IPProtocol
    /// "rr" and so on.
    public var scheduler: String
    /// `-b sh-port` and the like.
    public var schedulerFlags: [String] = []
    /// `-p SECONDS`; nil without persistence.
    public var persistenceSeconds: Int?
    public var servers: [(address: IPv4Address, port: UInt16, weight: Int)]
    public init(
        address: IPv4Address, port: UInt16, proto: IPProtocol, scheduler: String, persistenceSeconds: Int? = nil,
        servers: [(address: IPv4Address, port: UInt16, weight: Int)]
    ) {
        self.address = address
        self.port = port
        self.proto = proto
        self.scheduler = scheduler
        self.persistenceSeconds = persistenceSeconds
        self.servers = servers
    }
    public static func == (a: VirtualServerDescription, b: VirtualServerDescription) -> Bool {
        a.address == b.address && a.port == b.port && a.proto == b.proto && a.scheduler == b.scheduler && a.schedulerFlags == b.schedulerFlags
            && a.persistenceSeconds == b.persistenceSeconds && a.servers.elementsEqual(b.servers) { $0 == $1 }
    }
}
