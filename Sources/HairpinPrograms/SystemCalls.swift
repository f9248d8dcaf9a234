import HairpinEngine
import HairpinTransport
import HairpinWire

/// Names a process within one simulation.
public struct ProcessID: Hashable, Sendable {
    public let rawValue: UInt32
    public init(_ rawValue: UInt32) { self.rawValue = rawValue }
}

/// A program: a state machine that runs until it would block. It has no threads, no clock and no I/O but its system calls.
public protocol Program: AnyObject {
    /// Called once when the process starts and again each time something it waits for has happened. Never called after `.exit`.
    func resume(_ system: any SystemCalls) -> Suspension
    /// The signal that asks a container's first process to end: SIGTERM, or what its image names (STOPSIGNAL).
    func terminate() -> TerminationAnswer
}

/// What a container's first process does when it is asked to end.
public enum TerminationAnswer: Sendable {
    /// It ends at once, as Go's runtime and most servers do.
    case ends
    /// It ends when its work is done: it is run once more, knowing.
    case drains
    /// It has no handler, and the kernel spares a PID namespace's first process the default action (signal(7)); SIGKILL ends it.
    case ignores
}

extension Program {
    public func terminate() -> TerminationAnswer { .ends }
}

/// Why a program stopped running for now.
public enum Suspension {
    case exit(Int32)
    /// Sleep until one of these holds; like poll(2), a condition that already holds wakes at once.
    case wait(WaitSet)
}

public struct WaitSet {
    public var sockets: [(socket: SocketID, interest: Readiness)] = []
    public var deadline: Instant?
    public var children: [ProcessID] = []
    /// Wake when the file grows or changes (tail -f).
    public var files: [String] = []
    /// Wake when a pipe has data, room, or lost its other end.
    public var pipes: [PipeID] = []
    public init(sockets: [(socket: SocketID, interest: Readiness)] = [], deadline: Instant? = nil, children: [ProcessID] = []) {
        self.sockets = sockets
        self.deadline = deadline
        self.children = children
    }
}

public struct PipeID: Hashable, Sendable {
    public let rawValue: UInt32
    public init(_ rawValue: UInt32) { self.rawValue = rawValue }
}

/// Where a process's standard streams lead.
public enum Stream: Hashable, Sendable {
    /// The standard output of whoever started the outermost process: the transcript of a step, or the container's log.
    case terminal
    /// Its standard error. A stream of its own, so that `2>&1` can be told from writing to both.
    case terminalError
    case null
    case file(String, append: Bool)
    case pipe(PipeID)
}

public struct StandardStreams: Sendable {
    public var input: Stream = .null
    public var output: Stream = .terminal
    public var error: Stream = .terminalError
    public init() {}
}

/// The kernel as a program sees it. Everything concerns the process's own container: its network namespace, its files, its environment.
///
/// Socket calls never block: they throw `Errno.tryAgain` (or `.inProgress`), and the program returns a `WaitSet`.
public protocol SystemCalls: AnyObject {
    // Process
    var now: Instant { get }
    var hostname: String { get }
    var arguments: [String] { get }
    func environment(_ name: String) -> String?
    /// The whole environment, to hand on to children.
    var environmentVariables: [String: String] { get }
    var processID: ProcessID { get }
    /// Where this process's own standard streams lead.
    var streams: StandardStreams { get }
    /// The processes of this container in the order of their ids, for ps(1).
    func processes() -> [ProcessInformation]
    func random() -> UInt32
    /// Charges processor time to this process: what follows happens that much later.
    func compute(_ time: Duration)
    func spawn(_ program: any Program, arguments: [String], environment: [String: String], streams: StandardStreams) -> ProcessID
    /// Exit status of a child, nil while it runs.
    func exitStatus(of child: ProcessID) -> Int32?
    /// SIGTERM or SIGKILL to a child.
    func kill(_ child: ProcessID, signal: Int32)
    /// A pipe this process may read with `readPipe` and give to children as a stream. End of file comes when no live process has it as output or error.
    /// Writing to a pipe that nobody can read any more ends the writer with SIGPIPE (status 141).
    func makePipe() -> PipeID
    /// Nil: nothing yet; empty: end of file.
    func readInput(_ count: Int) -> [UInt8]?
    func readPipe(_ pipe: PipeID, _ count: Int) -> [UInt8]?
    func closePipe(_ pipe: PipeID)
    func writeOutput(_ text: String)
    func writeError(_ text: String)

    // Sockets
    func socket(_ kind: SocketKind) throws(Errno) -> SocketID
    func setOption(_ socket: SocketID, _ option: SocketOption) throws(Errno)
    func bind(_ socket: SocketID, _ address: SocketAddress) throws(Errno)
    func listen(_ socket: SocketID, backlog: Int) throws(Errno)
    func accept(_ socket: SocketID) throws(Errno) -> (SocketID, SocketAddress)
    func connect(_ socket: SocketID, _ address: SocketAddress) throws(Errno)
    /// Bytes taken; may be fewer than given.
    func send(_ socket: SocketID, _ bytes: ArraySlice<UInt8>) throws(Errno) -> Int
    /// At most `count` bytes; empty at end of file.
    func receive(_ socket: SocketID, _ count: Int) throws(Errno) -> [UInt8]
    /// The same two for a program that keeps its buffer: nothing is allocated, however many calls it makes. Zero at end of file.
    func send(_ socket: SocketID, from bytes: UnsafeRawBufferPointer) throws(Errno) -> Int
    func receive(_ socket: SocketID, into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int
    func send(_ socket: SocketID, _ bytes: [UInt8], to: SocketAddress) throws(Errno)
    func receiveMessage(_ socket: SocketID) throws(Errno) -> ReceivedMessage
    /// One echo request; `identifier` is the socket's own when the socket was bound, as for a ping socket.
    func sendEcho(_ socket: SocketID, to: IPv4Address, sequence: UInt16, payload: [UInt8]) throws(Errno)
    func shutdown(_ socket: SocketID, read: Bool, write: Bool) throws(Errno)
    func close(_ socket: SocketID)
    func readiness(_ socket: SocketID) -> Readiness
    /// SO_ERROR: the pending error, cleared by reading.
    func takeError(_ socket: SocketID) -> Errno?
    /// MSG_ERRQUEUE.
    func takeQueuedError(_ socket: SocketID) -> ReceivedError?
    func localAddress(_ socket: SocketID) -> SocketAddress?
    func remoteAddress(_ socket: SocketID) -> SocketAddress?
    func sockets() -> [SocketInformation]
    /// TCP_INFO; nil if the socket is no TCP socket.
    func tcpInformation(_ socket: SocketID) -> TCPInformation?
    /// TCP_CONGESTION: ENOENT if there is no such algorithm.
    func setCongestionControl(_ socket: SocketID, _ name: String) throws(Errno)
    func congestionControl(_ socket: SocketID) -> String?
    /// What the network namespace has counted (/proc/net/snmp, /proc/net/netstat).
    func transportStatistics() -> TransportStatistics?

    // Files (the container's own, plus volumes that other containers share)
    func readFile(_ path: String) -> [UInt8]?
    func readFile(_ path: String, from offset: Int) -> [UInt8]?
    /// False if the path cannot be written (a read-only mount, a missing folder).
    func writeFile(_ path: String, _ bytes: [UInt8], append: Bool) -> Bool
    func removeFile(_ path: String) -> Bool
    /// Names in a folder, sorted; nil if there is none.
    func listFolder(_ path: String) -> [String]?
    func makeFolder(_ path: String) -> Bool
    /// Whether the path lies on a volume mounted into the container.
    func isMounted(_ path: String) -> Bool

    // The network namespace, for ip(8), iptables(8), arping(8)
    func interfaces() -> [InterfaceInformation]
    func routes() -> [String]
    func neighbours() -> [String]
    /// The rule set as `iptables-save` prints it.
    func iptablesSave() -> [String]
    /// The tables of nftables, as objects of libnftables-json(5) without the one that tells nft's version; empty without.
    func nftRuleset() -> [JSON]
    /// The sets of addresses and ports as `ipset save` prints them.
    func ipsetSave() -> [String]
    /// The virtual servers as `ipvsadm -Ln` lists them, with its headings.
    func virtualServerListing(_ view: VirtualServerView) -> [String]
    /// A kernel setting of the namespace by its sysctl(8) name; nil if there is none that is modelled.
    func sysctl(_ name: String) -> String?
    /// Applies an `ip …` or `iptables …` command that changes state; the error text otherwise.
    func configure(_ words: [String]) throws(ConfigurationError)
    /// The namespace's tracked connections, for conntrack(8).
    func connections() -> [ConnectionRecord]
    /// Forgets those for which the condition holds, and returns them.
    func removeConnections(_ isDoomed: (ConnectionRecord) -> Bool) -> [ConnectionRecord]
    func connectionStatistics() -> ConnectionStatistics
    /// Opens a window on what happens to connections; each call returns what has happened since the last.
    func connectionEvents() -> [ConnectionEvent]
    /// Sends a frame as it is (AF_PACKET).
    func transmit(_ frame: [UInt8], device: String) throws(Errno)
    /// Opens a window on ARP packets arriving on `device`; each call returns those since the last.
    func receivedARP(device: String) -> [[UInt8]]
}

/// A line of ps(1).
public struct ProcessInformation: Sendable {
    public var id: ProcessID
    public var arguments: [String]
    public var startedAt: Instant
    public init(id: ProcessID, arguments: [String], startedAt: Instant) {
        self.id = id
        self.arguments = arguments
        self.startedAt = startedAt
    }
}

public struct ConfigurationError: Error, Sendable {
    public var message: String
    public var status: Int32
    public init(_ message: String, status: Int32) { (self.message, self.status) = (message, status) }
}

/// What `ip addr` shows of an interface.
public struct InterfaceInformation: Sendable {
    public var index: Int
    public var name: String
    public var kind: String  // "loopback", "veth", "bridge", "vxlan", "dummy"
    /// "eth0@if7": the peer's index where it is in another namespace.
    public var peerIndex: Int?
    public var mac: MACAddress
    public var mtu: Int
    public var isUp: Bool
    public var master: String?
    public var addresses: [IPv4InterfaceAddress]
    public init(index: Int, name: String, kind: String, peerIndex: Int?, mac: MACAddress, mtu: Int, isUp: Bool, master: String?, addresses: [IPv4InterfaceAddress]) {
        self.index = index
        self.name = name
        self.kind = kind
        self.peerIndex = peerIndex
        self.mac = mac
        self.mtu = mtu
        self.isUp = isUp
        self.master = master
        self.addresses = addresses
    }
}

extension SystemCalls {
    /// For kernels that have the calls with arrays only.
    public func send(_ socket: SocketID, from bytes: UnsafeRawBufferPointer) throws(Errno) -> Int { try send(socket, Array(bytes)[...]) }
    public func receive(_ socket: SocketID, into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
        let bytes = try receive(socket, buffer.count)
        buffer.copyBytes(from: bytes)
        return bytes.count
    }
    /// For kernels that know nothing of TCP's inside.
    public func tcpInformation(_ socket: SocketID) -> TCPInformation? { nil }
    public func setCongestionControl(_ socket: SocketID, _ name: String) throws(Errno) { throw .noProtocolOption }
    public func congestionControl(_ socket: SocketID) -> String? { nil }
    public func transportStatistics() -> TransportStatistics? { nil }
    /// For kernels without connection tracking.
    public func connections() -> [ConnectionRecord] { [] }
    public func removeConnections(_ isDoomed: (ConnectionRecord) -> Bool) -> [ConnectionRecord] { [] }
    public func connectionStatistics() -> ConnectionStatistics { ConnectionStatistics() }
    public func connectionEvents() -> [ConnectionEvent] { [] }
    /// For kernels without sets.
    public func ipsetSave() -> [String] { [] }
    /// For kernels without settings.
    public func sysctl(_ name: String) -> String? { nil }
}

/// What ipvsadm(8) is asked for.
public enum VirtualServerView: Sendable {
    case services
    case connections
    case figures(areRates: Bool, isExact: Bool)
}
