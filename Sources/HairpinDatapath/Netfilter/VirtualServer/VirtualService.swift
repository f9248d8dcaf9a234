import HairpinWire

/// A service of IPVS, as `ipvsadm -A -t ADDRESS:PORT -s SCHEDULER [-p SECONDS]` makes it.
public struct VirtualService: Hashable, Sendable {
    /// How a new connection's server is chosen.
    public enum Scheduler: String, CaseIterable, Sendable {
        case roundRobin = "rr"
        case weightedRoundRobin = "wrr"
        case leastConnections = "lc"
        case weightedLeastConnections = "wlc"
        case sourceHash = "sh"
        case destinationHash = "dh"
        case shortestExpectedDelay = "sed"
        case neverQueue = "nq"
        case localityLeastConnections = "lblc"
        case replicatedLocality = "lblcr"
        case maglevHash = "mh"
        case failOver = "fo"
        case overflow = "ovf"
    }

    /// Of the schedulers `sh` and `mh` (`-b sh-port,sh-fallback`): IP_VS_SVC_F_SCHED2 and IP_VS_SVC_F_SCHED1.
    public struct Flags: OptionSet, Hashable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        /// A client's port counts as well as its address.
        public static let port = Flags(rawValue: 1)
        /// Where the server that is meant has weight zero, another one is looked for.
        public static let fallback = Flags(rawValue: 2)
    }

    public struct Server: Hashable, Sendable {
        public var address: IPv4Address
        public var port: UInt16
        /// Zero: keeps its connections and gets no new ones.
        public var weight: Int
        public init(address: IPv4Address, port: UInt16, weight: Int = 1) {
            self.address = address
            self.port = port
            self.weight = weight
        }
    }

    public var address: IPv4Address
    public var port: UInt16
    public var proto: IPProtocol
    public var scheduler: Scheduler
    public var flags: Flags
    /// A client stays with its server until it has opened no connection for so many seconds.
    public var persistence: Int?
    public var servers: [Server]

    public init(
        address: IPv4Address, port: UInt16, proto: IPProtocol = .tcp, scheduler: Scheduler = .roundRobin, flags: Flags = [], persistence: Int? = nil, servers: [Server]
    ) {
        self.address = address
        self.port = port
        self.proto = proto
        self.scheduler = scheduler
        self.flags = flags
        self.persistence = persistence
        self.servers = servers
    }
}
