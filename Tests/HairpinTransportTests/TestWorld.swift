import HairpinEngine
import HairpinTransport
import HairpinWire

/// Two stacks back to back in virtual time. Everything sent is recorded as one line of text, with sequence numbers counted from the SYN.
final class World {
    /// Time a packet takes, and the time a program needs to come running.
    var delay = HairpinEngine.Duration.microseconds(30)
    var wake = HairpinEngine.Duration.microseconds(10)
    /// The fate of each packet: arrival delays, none for loss, two for duplication.
    var fate: (Packet) -> [HairpinEngine.Duration] = { _ in [] }
    var hasFate = false

    struct Packet {
        var index: Int
        var from: String
        var bytes: [UInt8]
        var request: SendRequest
        var ip: IPv4View { bytes.withUnsafeBytes { IPv4View($0)! } }
        var tcp: TCPView? { bytes.withUnsafeBytes { TCPView(IPv4View($0)!.payload) } }
    }

    private(set) var now = Instant.zero
    /// A binary heap by time, then order.
    private var queue: [Event] = []
    private var order = 0
    private struct Event {
        var time: UInt64
        var order: Int
        var action: () -> Void
        func precedes(_ other: Event) -> Bool { (time, order) < (other.time, other.order) }
    }
    /// False: packets are neither kept nor described, for tests of many worlds.
    var records = true
    /// Packets arrive as if their senders had built each by itself.
    var forgetsBursts = false
    /// Sees each packet where a capture on a host's interface would: as it leaves, and as it arrives.
    var sniffer: ((Host, [UInt8]) -> Void)?
    /// What the stacks said to the packets they were handed.
    private(set) var receptions: [Reception: Int] = [:]
    private(set) var packetCount = 0
    var packets: [Packet] = []
    var times: [Instant] = []
    var lines: [String] = []
    private var initial: [String: UInt32] = [:]
    private(set) var a: Host!
    private(set) var b: Host!

    init(seed: UInt64 = 1, mtu: Int = 1500, settings: TransportSettings = TransportSettings()) {
        a = Host(world: self, name: "a", address: IPv4Address(10, 0, 0, 1), seed: seed, mtu: mtu, settings: settings)
        b = Host(world: self, name: "b", address: IPv4Address(10, 0, 0, 2), seed: seed, mtu: mtu, settings: settings)
        now = Instant(nanoseconds: 1_000_000_000 + seed % 4 * 1_000_000)
    }

    func at(_ time: Instant, _ action: @escaping () -> Void) {
        order += 1
        queue.append(Event(time: max(time, now).nanoseconds, order: order, action: action))
        var i = queue.count - 1
        while i > 0, queue[i].precedes(queue[(i - 1) / 2]) {
            queue.swapAt(i, (i - 1) / 2)
            i = (i - 1) / 2
        }
    }

    private func takeFirst() -> Event {
        let first = queue[0]
        let last = queue.removeLast()
        guard !queue.isEmpty else { return first }
        queue[0] = last
        var i = 0
        while 2 * i + 1 < queue.count {
            var child = 2 * i + 1
            if child + 1 < queue.count, queue[child + 1].precedes(queue[child]) { child += 1 }
            guard queue[child].precedes(queue[i]) else { break }
            queue.swapAt(i, child)
            i = child
        }
        return first
    }

    /// Ends the world: hosts and stacks hold each other.
    func tearDown() {
        queue = []
        a.tearDown()
        b.tearDown()
    }

    func after(_ time: HairpinEngine.Duration, _ action: @escaping () -> Void) { at(now + time, action) }

    /// Runs everything due within `time`.
    func run(_ time: HairpinEngine.Duration) {
        let end = now + time
        while let next = queue.first, next.time <= end.nanoseconds {
            let event = takeFirst()
            now = Instant(nanoseconds: event.time)
            event.action()
        }
        now = end
    }

    func sent(_ bytes: [UInt8], _ request: SendRequest, by host: Host) {
        let packet = Packet(index: packetCount, from: host.name, bytes: bytes, request: request)
        packetCount += 1
        sniffer?(host, bytes)
        if records {
            packets.append(packet)
            times.append(now)
            lines.append(describe(packet))
        }
        let peer: Host = request.destination == host.address || request.destination.isLoopback ? host : (host === a ? b : a)
        let arrivals = hasFate ? fate(packet) : [delay]
        for arrival in arrivals {
            after(arrival) {
                guard !peer.deaf else { return }
                self.sniffer?(peer, bytes)
                self.deliver(bytes, to: peer, cutFromBurst: request.isCutFromBurst && !self.forgetsBursts)
            }
        }
    }

    /// Hands a packet to a stack, which has to check it.
    @discardableResult
    func deliver(_ bytes: [UInt8], to host: Host, cutFromBurst: Bool = false) -> Reception {
        let reception = bytes.withUnsafeBytes { host.stack.receive($0, checksumVerified: false, cutFromBurst: cutFromBurst) }
        receptions[reception, default: 0] += 1
        return reception
    }

    /// `a [PA] seq=1 ack=1 win=502 len=74`
    private func describe(_ packet: Packet) -> String {
        packet.bytes.withUnsafeBytes { raw in
            let ip = IPv4View(raw)!
            guard ip.proto == .tcp, let tcp = TCPView(ip.payload) else { return "\(packet.from) proto \(ip.proto.rawValue) len=\(ip.payload.count)" }
            let mine = "\(ip.source):\(tcp.sourcePort)>\(ip.destination):\(tcp.destinationPort)"
            let theirs = "\(ip.destination):\(tcp.destinationPort)>\(ip.source):\(tcp.sourcePort)"
            if tcp.flags.contains(.syn) { initial[mine] = tcp.sequence.rawValue }
            var flags = ""
            for (flag, letter) in [(TCPFlags.fin, "F"), (.syn, "S"), (.rst, "R"), (.psh, "P"), (.ack, "A")] where tcp.flags.contains(flag) { flags += letter }
            var line = "\(packet.from) [\(flags)] seq=\(tcp.sequence.rawValue &- (tcp.sequence.rawValue == 0 ? 0 : initial[mine] ?? 0))"
            if tcp.flags.contains(.ack) { line += " ack=\(tcp.acknowledgment.rawValue &- (initial[theirs] ?? 0))" }
            line += " win=\(tcp.window) len=\(tcp.payload.count)"
            let options = World.options(tcp, relativeTo: initial[theirs] ?? 0)
            if !options.isEmpty, options != "nop,nop,ts" { line += " <\(options)>" }
            return line
        }
    }

    private static func options(_ tcp: TCPView, relativeTo base: UInt32) -> String {
        var words: [String] = []
        let o = tcp.options
        var i = 0
        while i < o.count {
            switch o[i] {
            case 0: return words.joined(separator: ",")
            case 1:
                words.append("nop")
                i += 1
                continue
            case 2: words.append("mss:\(Int(o[i + 2]) << 8 | Int(o[i + 3]))")
            case 3: words.append("wscale:\(o[i + 2])")
            case 4: words.append("sackOK")
            case 5:
                let p = o.baseAddress! + i + 2
                let blocks = (0..<(Int(o[i + 1]) - 2) / 8).map { "\(p.u32($0 * 8) &- base):\(p.u32($0 * 8 + 4) &- base)" }
                words.append("sack{\(blocks.joined(separator: " "))}")
            case 8: words.append("ts")
            default: words.append("?")
            }
            i += Int(o[i + 1])
        }
        return words.joined(separator: ",")
    }

    func milliseconds(_ index: Int) -> Int { Int((times[index] - times[0]).nanoseconds / 1_000_000) }
}

/// One namespace of the world.
final class Host: NetworkLayer {
    unowned let world: World
    let name: String
    let address: IPv4Address
    var mtu: Int
    private(set) var stack: TransportStack!
    var ready: [SocketID: () -> Void] = [:]
    var held = 0
    var deaf = false
    var unreachable = false
    /// Bytes a second that the device sends, its queue has no end; zero: what is sent is gone at once. The records of the world are of what leaves the device.
    var deviceRate = 0
    private(set) var busyUntil = Instant.zero
    /// The most that has waited in the device, in bytes.
    private(set) var mostQueued = 0
    let departure: UnsafeMutablePointer<UInt64>? = .allocate(capacity: 1)
    private var lastIdentification: UInt16 = 7000
    private var filling: [UnsafeMutableRawBufferPointer] = []
    private var armedAt = Instant.distantFuture
    private var waking: Set<SocketID> = []

    init(world: World, name: String, address: IPv4Address, seed: UInt64, mtu: Int, settings: TransportSettings) {
        (self.world, self.name, self.address, self.mtu) = (world, name, address, mtu)
        stack = TransportStack(network: self, random: SeededRandom(seed: seed, name: name), settings: settings)
    }

    deinit { departure?.deallocate() }

    var now: Instant { world.now }

    func tearDown() {
        ready = [:]
        stack = nil
    }

    func route(to destination: IPv4Address, from source: IPv4Address, device: String) throws(Errno) -> TransportRoute {
        if unreachable { throw .networkUnreachable }
        if destination.isLoopback { return TransportRoute(source: .loopback, mtu: 65_536, isLocal: true) }
        if destination == address { return TransportRoute(source: address, mtu: 65_536, isLocal: true) }
        return TransportRoute(source: address, mtu: mtu, isLocal: false)
    }
    func isLocal(_ address: IPv4Address) -> Bool { address.isLoopback || address == self.address }

    func allocate(_ byteCount: Int) -> PacketBuffer? {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 20 + byteCount, alignment: 8)
        filling.append(buffer)
        return PacketBuffer(handle: UInt32(filling.count - 1), payload: UnsafeMutableRawBufferPointer(rebasing: buffer[20...]))
    }

    func send(_ packet: PacketBuffer, _ request: SendRequest) -> Errno? {
        let buffer = filling[Int(packet.handle)]
        defer {
            buffer.deallocate()
            if Int(packet.handle) == filling.count - 1 { filling.removeLast() }
        }
        request.header(totalLength: buffer.count, lastIdentification: &lastIdentification).emit(to: buffer.baseAddress!)
        guard deviceRate > 0 else {
            world.sent(Array(buffer), request, by: self)
            return nil
        }
        busyUntil = max(busyUntil, now) + .nanoseconds(Int64(buffer.count) * 1_000_000_000 / Int64(deviceRate))
        mostQueued = max(mostQueued, Int((busyUntil - now).nanoseconds) * deviceRate / 1_000_000_000)
        departure?.pointee = busyUntil.nanoseconds
        let bytes = Array(buffer)
        world.at(busyUntil) { [self] in world.sent(bytes, request, by: self) }
        return nil
    }

    func packetsHeld(by socket: SocketID) -> Int { held }

    func arm(_ deadline: Instant) {
        armedAt = deadline
        guard deadline != .distantFuture else { return }
        world.at(deadline) { [self] in
            if armedAt == deadline {
                armedAt = .distantFuture
                stack.timerExpired()
            }
        }
    }

    func readinessChanged(_ socket: SocketID) {
        guard ready[socket] != nil, waking.insert(socket).inserted else { return }
        world.after(world.wake) { [self] in
            waking.remove(socket)
            ready[socket]?()
        }
    }
}

/// A program that works through a list of steps on one connection, sleeping whenever a step would block.
final class Peer {
    enum Step {
        case send(Int)
        case receive(Int)
        case receiveToEnd
        case sleep(Int)
        case shutdown, close, abort
    }
    let host: Host
    private(set) var socket: SocketID
    private var steps: [Step]
    private var step = 0
    private var progress = 0
    private var sleeping = false
    private(set) var received: [UInt8] = []
    private(set) var errors: [Errno] = []
    private(set) var isDone = false
    private var written = 0
    private var connecting: Bool

    /// A client.
    static func connect(_ host: Host, to address: SocketAddress, options: [SocketOption] = [], _ steps: [Step]) throws -> Peer {
        let socket = try host.stack.socket(.stream)
        for option in options { try host.stack.setOption(socket, option) }
        let peer = Peer(host, socket, steps, connecting: true)
        do { try host.stack.connect(socket, address) } catch { guard error == .inProgress else { throw error } }
        peer.run()
        return peer
    }

    /// Accepts one connection on the port for each list of steps.
    static func serve(
        _ host: Host, port: UInt16, address: IPv4Address = .any, options: [SocketOption] = [], _ steps: [Step], _ accepted: @escaping (Peer) -> Void = { _ in }
    ) throws {
        let listener = try host.stack.socket(.stream)
        try host.stack.setOption(listener, .reuseAddress(true))
        for option in options { try host.stack.setOption(listener, option) }
        try host.stack.bind(listener, SocketAddress(address, port))
        try host.stack.listen(listener, backlog: 16)
        host.ready[listener] = {
            while let (socket, _) = try? host.stack.accept(listener) {
                let peer = Peer(host, socket, steps, connecting: false)
                accepted(peer)
                peer.run()
            }
        }
    }

    init(_ host: Host, _ socket: SocketID, _ steps: [Step], connecting: Bool) {
        (self.host, self.socket, self.steps, self.connecting) = (host, socket, steps, connecting)
        host.ready[socket] = { self.run() }
    }

    static func pattern(_ index: Int) -> UInt8 { UInt8(truncatingIfNeeded: index &* 31 &+ index >> 8) }

    private static func bytes(from start: Int, count: Int) -> [UInt8] { (start..<start + count).map(pattern) }

    private func run() {
        guard !sleeping, !isDone else { return }
        if connecting {
            let readiness = host.stack.readiness(socket)
            guard !readiness.isDisjoint(with: [.writable, .error, .hangup]) else { return }
            connecting = false
            if let error = host.stack.takeError(socket) {
                errors.append(error)
                isDone = true
                return
            }
        }
        while step < steps.count {
            let outcome = attempt(steps[step])
            if outcome == .tryAgain || sleeping { return }
            if let outcome { errors.append(outcome) }
            step += 1
            progress = 0
        }
        isDone = true
    }

    private func attempt(_ step: Step) -> Errno? {
        do throws(Errno) {
            try perform(step)
            return nil
        } catch {
            return error
        }
    }

    private func perform(_ step: Step) throws(Errno) {
        switch step {
        case .send(let count):
            while progress < count {
                let n = try host.stack.send(socket, Peer.bytes(from: written, count: count - progress)[...])
                progress += n
                written += n
            }
        case .receive(let count):
            while progress < count {
                let bytes = try host.stack.receive(socket, count - progress)
                if bytes.isEmpty { return }
                received += bytes
                progress += bytes.count
            }
        case .receiveToEnd:
            var count = 0
            repeat {
                let bytes = try host.stack.receive(socket, 65_536)
                received += bytes
                count = bytes.count
            } while count > 0
        case .sleep(let milliseconds):
            sleeping = true
            self.step += 1
            host.world.after(.milliseconds(Int64(milliseconds))) {
                self.sleeping = false
                self.run()
            }
        case .shutdown: try host.stack.shutdown(socket, read: false, write: true)
        case .close: close()
        case .abort:
            try host.stack.setOption(socket, .linger(seconds: 0))
            close()
        }
    }

    private func close() {
        host.ready[socket] = nil
        host.stack.close(socket)
    }
}
