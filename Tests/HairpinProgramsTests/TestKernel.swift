import HairpinEngine
import HairpinTransport
import HairpinWire

@testable import HairpinPrograms

/// A kernel small enough for unit tests: processes, pipes, files, and sockets whose bytes arrive at once. Time moves only when nothing can run.
final class TestKernel {
    final class Process {
        let id: ProcessID
        let program: any Program
        let arguments: [String]
        let environment: [String: String]
        let streams: StandardStreams
        var wait: WaitSet?
        var status: Int32?
        var inputOffset = 0
        init(id: ProcessID, program: any Program, arguments: [String], environment: [String: String], streams: StandardStreams) {
            (self.id, self.program, self.arguments, self.environment, self.streams) = (id, program, arguments, environment, streams)
        }
    }
    final class Socket {
        let kind: SocketKind
        var local = SocketAddress(.any, 0), remote: SocketAddress?
        var isListening = false, isWritable = true, atEnd = false, peerGone = false
        var error: Errno?
        var peer: Socket?
        var inbox: [UInt8] = [], pending: [Socket] = [], messages: [ReceivedMessage] = [], errors: [ReceivedError] = []
        init(_ kind: SocketKind) { self.kind = kind }
    }

    var now = Instant.zero
    var processes: [Process] = []
    var pipes: [PipeID: [UInt8]] = [:]
    var files: [String: [UInt8]] = [:]
    var mounts: [String] = []
    var sockets: [SocketID: Socket] = [:]
    var output = "", errorOutput = ""
    /// One line for each TCP write and each datagram.
    var wire: [String] = []
    var datagrams: [[UInt8]] = []
    /// Connecting to these hangs.
    var silent: Set<IPv4Address> = []
    var address = IPv4Address(10, 244, 0, 2)
    /// Bytes a TCP receiver holds before the sender must wait.
    var window = 1 << 30
    /// What happens to an echo request.
    var echo: (IPv4Address, UInt16, [UInt8], Socket, TestKernel) throws(Errno) -> Void = { address, sequence, payload, socket, kernel throws(Errno) in
        kernel.now += .microseconds(250)
        let header: [UInt8] = [0, 0, 0, 0, 0, 1, UInt8(sequence >> 8), UInt8(sequence & 255)]
        socket.messages.append(ReceivedMessage(source: SocketAddress(address, 0), bytes: header + payload, timeToLive: 64, typeOfService: 0, at: kernel.now))
    }
    var transmitted: [[UInt8]] = []
    var configured: [[String]] = []
    var routes = ["default via 10.244.0.1 dev eth0", "10.244.0.0/24 dev eth0 proto kernel scope link src 10.244.0.2"]
    private var nextSocket: UInt32 = 1, nextPipe: UInt32 = 1, nextPort: UInt16 = 40000, random = SeededRandom(seed: 1, name: "test")

    @discardableResult
    func start(_ program: any Program, _ arguments: [String] = [], environment: [String: String] = [:], streams: StandardStreams = StandardStreams()) -> Process {
        let process = Process(id: ProcessID(UInt32(processes.count + 1)), program: program, arguments: arguments, environment: environment, streams: streams)
        processes.append(process)
        return process
    }

    /// Runs until the process ends, nothing can happen any more, or `limit` is reached; its status.
    @discardableResult
    func run(_ process: Process, limit: Duration = .seconds(3600)) -> Int32? {
        let end = now + limit
        var turns = 0
        while process.status == nil, turns < 2_000_000 {
            turns += 1
            if let ready = processes.first(where: { $0.status == nil && isReady($0) }) {
                switch ready.program.resume(TestSystem(self, ready)) {
                case .exit(let status): ready.status = status
                case .wait(let set): ready.wait = set
                }
                // Round robin: who has just run goes behind the others of the same moment.
                if ready.status == nil, let index = processes.firstIndex(where: { $0 === ready }) { processes.append(processes.remove(at: index)) }
                continue
            }
            guard let next = processes.filter({ $0.status == nil }).compactMap({ $0.wait?.deadline }).min(), next <= end else { break }
            now = max(now, next)
        }
        return process.status
    }

    /// One shell command line: its status, with `output` and `errorOutput` filled.
    @discardableResult
    func shell(_ script: String, limit: Duration = .seconds(3600)) -> Int32? { run(start(Shell(arguments: ["-c", script]), ["sh", "-c", script]), limit: limit) }

    func isReady(_ process: Process) -> Bool {
        guard let wait = process.wait else { return true }
        if let deadline = wait.deadline, deadline <= now { return true }
        if wait.children.contains(where: { id in processes.first { $0.id == id }?.status != nil }) { return true }
        if wait.pipes.contains(where: { pipes[$0]?.isEmpty == false || !hasWriter($0) }) { return true }
        if wait.files.contains(where: { (files[$0]?.count ?? 0) != fileSizes[process.id.rawValue, default: [:]][$0, default: -1] }) { return true }
        return wait.sockets.contains { !readiness($0.socket).isDisjoint(with: $0.interest.union([.error, .hangup])) }
    }
    var fileSizes: [UInt32: [String: Int]] = [:]

    func hasWriter(_ pipe: PipeID) -> Bool { processes.contains { $0.status == nil && ($0.streams.output == .pipe(pipe) || $0.streams.error == .pipe(pipe)) } }

    func readiness(_ id: SocketID) -> Readiness {
        guard let socket = sockets[id] else { return [] }
        var result: Readiness = []
        if !socket.inbox.isEmpty || socket.atEnd || !socket.pending.isEmpty || !socket.messages.isEmpty { result.insert(.readable) }
        if socket.isWritable, !socket.isListening, (socket.peer?.inbox.count ?? 0) < window { result.insert(.writable) }
        if socket.error != nil || !socket.errors.isEmpty { result.formUnion([.error, .readable]) }
        if socket.atEnd { result.insert(.readHangup) }
        return result
    }

    func make(_ socket: Socket) -> SocketID {
        let id = SocketID(nextSocket)
        nextSocket += 1
        sockets[id] = socket
        return id
    }
    func port() -> UInt16 {
        nextPort += 2
        return nextPort
    }
    func pipe() -> PipeID {
        defer { nextPipe += 1 }
        pipes[PipeID(nextPipe)] = []
        return PipeID(nextPipe)
    }
    func randomWord() -> UInt32 { random.next32() }
    func write(_ text: String, to stream: HairpinPrograms.Stream) {
        switch stream {
        case .terminal: output += text
        case .terminalError: errorOutput += text
        case .null: break
        case .pipe(let pipe): pipes[pipe, default: []] += Array(text.utf8)
        case .file(let path, _): files[path, default: []] += Array(text.utf8)
        }
    }
}

final class TestSystem: SystemCalls {
    let kernel: TestKernel
    let process: TestKernel.Process
    init(_ kernel: TestKernel, _ process: TestKernel.Process) { (self.kernel, self.process) = (kernel, process) }

    var now: Instant { kernel.now }
    var hostname: String { "pod1" }
    var arguments: [String] { process.arguments }
    func environment(_ name: String) -> String? { process.environment[name] }
    var environmentVariables: [String: String] { process.environment }
    var processID: ProcessID { process.id }
    var streams: StandardStreams { process.streams }
    func processes() -> [ProcessInformation] {
        kernel.processes.filter { $0.status == nil }.sorted { $0.id.rawValue < $1.id.rawValue }.map {
            ProcessInformation(id: $0.id, arguments: $0.arguments, startedAt: .zero)
        }
    }
    func random() -> UInt32 { kernel.randomWord() }
    func compute(_ time: Duration) { kernel.now += time }
    func spawn(_ program: any Program, arguments: [String], environment: [String: String], streams: StandardStreams) -> ProcessID {
        kernel.start(program, arguments, environment: environment, streams: streams).id
    }
    func exitStatus(of child: ProcessID) -> Int32? { kernel.processes.first { $0.id == child }?.status }
    func kill(_ child: ProcessID, signal: Int32) { kernel.processes.first { $0.id == child && $0.status == nil }?.status = 128 + signal }
    func makePipe() -> PipeID { kernel.pipe() }
    func readInput(_ count: Int) -> [UInt8]? {
        switch process.streams.input {
        case .pipe(let pipe): return readPipe(pipe, count)
        case .file(let path, _):
            let bytes = (kernel.files[path] ?? []).dropFirst(process.inputOffset).prefix(count)
            process.inputOffset += bytes.count
            return Array(bytes)
        default: return []
        }
    }
    func readPipe(_ pipe: PipeID, _ count: Int) -> [UInt8]? {
        let bytes = Array((kernel.pipes[pipe] ?? []).prefix(count))
        if bytes.isEmpty { return kernel.hasWriter(pipe) ? nil : [] }
        kernel.pipes[pipe]!.removeFirst(bytes.count)
        return bytes
    }
    func closePipe(_ pipe: PipeID) {}
    func writeOutput(_ text: String) { kernel.write(text, to: process.streams.output) }
    func writeError(_ text: String) { kernel.write(text, to: process.streams.error) }

    private func find(_ id: SocketID) throws(Errno) -> TestKernel.Socket {
        guard let socket = kernel.sockets[id] else { throw .badFileDescriptor }
        return socket
    }
    func socket(_ kind: SocketKind) throws(Errno) -> SocketID { kernel.make(TestKernel.Socket(kind)) }
    func setOption(_ socket: SocketID, _ option: SocketOption) throws(Errno) {}
    private func isFree(_ port: UInt16, _ kind: SocketKind) -> Bool {
        !kernel.sockets.values.contains { $0.local.port == port && $0.kind == kind && ($0.isListening || kind == .datagram) }
    }
    func bind(_ socket: SocketID, _ address: SocketAddress) throws(Errno) {
        let found = try find(socket)
        guard address.port == 0 || isFree(address.port, found.kind) else { throw .addressInUse }
        found.local = address
    }
    func listen(_ socket: SocketID, backlog: Int) throws(Errno) { try find(socket).isListening = true }
    func accept(_ socket: SocketID) throws(Errno) -> (SocketID, SocketAddress) {
        let listener = try find(socket)
        guard !listener.pending.isEmpty else { throw .tryAgain }
        let connection = listener.pending.removeFirst()
        return (kernel.make(connection), connection.remote!)
    }
    func connect(_ id: SocketID, _ address: SocketAddress) throws(Errno) {
        let socket = try find(id)
        socket.remote = address
        socket.local = SocketAddress(kernel.address, kernel.port())
        guard socket.kind == .stream else { return }
        if kernel.silent.contains(address.address) {
            socket.isWritable = false
        } else if let listener = kernel.sockets.values.first(where: { $0.isListening && $0.kind == .stream && $0.local.port == address.port }) {
            let other = TestKernel.Socket(.stream)
            (other.local, other.remote, other.peer, socket.peer) = (address, socket.local, socket, other)
            listener.pending.append(other)
        } else {
            socket.error = .connectionRefused
        }
        throw .inProgress
    }
    func send(_ id: SocketID, _ bytes: ArraySlice<UInt8>) throws(Errno) -> Int {
        let socket = try find(id)
        if socket.kind == .datagram {
            try send(id, Array(bytes), to: socket.remote!)
            return bytes.count
        }
        if let error = socket.error {
            socket.error = nil
            throw error
        }
        guard let peer = socket.peer, !socket.peerGone else { throw .brokenPipe }
        let room = kernel.window - peer.inbox.count
        guard room > 0 else { throw .tryAgain }
        let part = bytes.prefix(room)
        peer.inbox += part
        kernel.wire.append("\(socket.local) > \(socket.remote!) \(part.count)")
        return part.count
    }
    func receive(_ id: SocketID, _ count: Int) throws(Errno) -> [UInt8] {
        let socket = try find(id)
        if !socket.inbox.isEmpty {
            let bytes = Array(socket.inbox.prefix(count))
            socket.inbox.removeFirst(bytes.count)
            return bytes
        }
        if let error = socket.error {
            socket.error = nil
            throw error
        }
        if socket.atEnd { return [] }
        throw .tryAgain
    }
    func send(_ id: SocketID, _ bytes: [UInt8], to address: SocketAddress) throws(Errno) {
        let socket = try find(id)
        if socket.local.port == 0 { socket.local.port = kernel.port() }
        kernel.datagrams.append(bytes)
        kernel.wire.append("udp \(address) \(bytes.count)")
        let candidates = kernel.sockets.values.filter { $0.kind == .datagram && $0.local.port == address.port && $0 !== socket }
        if let target = candidates.first {
            target.messages.append(
                ReceivedMessage(source: SocketAddress(kernel.address, socket.local.port), bytes: bytes, timeToLive: 64, typeOfService: 0, at: kernel.now))
        } else if !kernel.silent.contains(address.address) {
            socket.error = .connectionRefused
        }
    }
    func receiveMessage(_ id: SocketID) throws(Errno) -> ReceivedMessage {
        let socket = try find(id)
        if let error = socket.error {
            socket.error = nil
            throw error
        }
        guard !socket.messages.isEmpty else { throw .tryAgain }
        return socket.messages.removeFirst()
    }
    func sendEcho(_ id: SocketID, to address: IPv4Address, sequence: UInt16, payload: [UInt8]) throws(Errno) {
        try kernel.echo(address, sequence, payload, try find(id), kernel)
    }
    func shutdown(_ id: SocketID, read: Bool, write: Bool) throws(Errno) { if write { try find(id).peer?.atEnd = true } }
    func close(_ id: SocketID) {
        guard let socket = kernel.sockets.removeValue(forKey: id) else { return }
        socket.peer?.atEnd = true
        socket.peer?.peerGone = true
        if socket.peer != nil { kernel.wire.append("\(socket.local) > \(socket.remote!) FIN") }
    }
    func readiness(_ socket: SocketID) -> Readiness { kernel.readiness(socket) }
    func takeError(_ id: SocketID) -> Errno? {
        defer { kernel.sockets[id]?.error = nil }
        return kernel.sockets[id]?.error
    }
    func takeQueuedError(_ id: SocketID) -> ReceivedError? { kernel.sockets[id]?.errors.isEmpty == false ? kernel.sockets[id]!.errors.removeFirst() : nil }
    func localAddress(_ id: SocketID) -> SocketAddress? { kernel.sockets[id]?.local }
    func remoteAddress(_ id: SocketID) -> SocketAddress? { kernel.sockets[id]?.remote }
    func sockets() -> [SocketInformation] { [] }

    func readFile(_ path: String) -> [UInt8]? {
        if let bytes = kernel.files[path] { kernel.fileSizes[process.id.rawValue, default: [:]][path] = bytes.count }
        return kernel.files[path]
    }
    func readFile(_ path: String, from offset: Int) -> [UInt8]? { readFile(path).map { Array($0.dropFirst(offset)) } }
    func writeFile(_ path: String, _ bytes: [UInt8], append: Bool) -> Bool {
        guard !path.hasPrefix("/nope") else { return false }
        kernel.files[path] = (append ? kernel.files[path] ?? [] : []) + bytes
        return true
    }
    func removeFile(_ path: String) -> Bool { kernel.files.removeValue(forKey: path) != nil }
    func listFolder(_ path: String) -> [String]? {
        let prefix = path == "/" ? "/" : path + "/"
        let names = Set(kernel.files.keys.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count).prefix { $0 != "/" }) })
        return names.isEmpty ? nil : names.sorted()
    }
    func makeFolder(_ path: String) -> Bool { true }
    func isMounted(_ path: String) -> Bool { kernel.mounts.contains { path.hasPrefix($0) } }

    func interfaces() -> [InterfaceInformation] {
        [
            InterfaceInformation(
                index: 1, name: "lo", kind: "loopback", peerIndex: nil, mac: .zero, mtu: 65536, isUp: true, master: nil, addresses: [IPv4InterfaceAddress("127.0.0.1/8")!]
            ),
            InterfaceInformation(
                index: 2, name: "eth0", kind: "veth", peerIndex: 7, mac: MACAddress("0a:58:0a:f4:00:02")!, mtu: 1500, isUp: true, master: nil,
                addresses: [IPv4InterfaceAddress("10.244.0.2/24")!]),
        ]
    }
    func routes() -> [String] { kernel.routes }
    func neighbours() -> [String] { ["10.244.0.1 dev eth0 lladdr 0a:58:0a:f4:00:01 REACHABLE"] }
    func nftRuleset() -> [JSON] { [.make([("table", .make([("family", .string("ip")), ("name", .string("kube-proxy")), ("handle", .int(1))]))])] }
    func virtualServerListing(_ view: VirtualServerView) -> [String] { ["IP Virtual Server version 1.2.1 (size=4096)"] }
    func iptablesSave() -> [String] { ["*filter", ":INPUT ACCEPT [0:0]", "-A INPUT -s 10.0.0.1/32 -j DROP", "COMMIT"] }
    func configure(_ words: [String]) throws(ConfigurationError) {
        if words.contains("bad") { throw ConfigurationError("RTNETLINK answers: File exists", status: 2) }
        kernel.configured.append(words)
    }
    func transmit(_ frame: [UInt8], device: String) throws(Errno) { kernel.transmitted.append(frame) }
    func receivedARP(device: String) -> [[UInt8]] { [] }
}
