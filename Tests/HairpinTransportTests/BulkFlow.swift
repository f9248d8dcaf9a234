import HairpinEngine
import HairpinTransport
import HairpinWire

/// The way from one host to the other: a rate, a drop-tail buffer in front of it, and a delay; losses by a rule.
struct Bottleneck {
    /// Bits a second; zero is unlimited, and then nothing queues.
    var rate: UInt64 = 0
    var delay = HairpinEngine.Duration.milliseconds(5)
    /// Packets, the one on the wire included.
    var buffer = Int.max
    private var departures: [UInt64] = []
    private var first = 0
    private(set) var overflows = 0

    init(rate: UInt64 = 0, delay: HairpinEngine.Duration, buffer: Int = .max) { (self.rate, self.delay, self.buffer) = (rate, delay, buffer) }

    /// How long a packet takes that comes now; nil if the buffer is full.
    mutating func pass(_ byteCount: Int, at now: Instant) -> HairpinEngine.Duration? {
        guard rate > 0 else { return delay }
        while first < departures.count, departures[first] <= now.nanoseconds { first += 1 }
        if first > 1024 {
            departures.removeFirst(first)
            first = 0
        }
        guard departures.count - first < buffer else {
            overflows += 1
            return nil
        }
        let free = departures.count > first ? departures[departures.count - 1] : now.nanoseconds
        let departure = free + UInt64(byteCount) * 8_000_000_000 / rate
        departures.append(departure)
        return .nanoseconds(Int64(departure - now.nanoseconds)) + delay
    }
}

/// A transfer from host a to host b of a world: a program that always has something to send, and one that reads.
final class BulkFlow {
    let world: World
    private(set) var socket: SocketID!
    private(set) var received = 0
    private var written = 0
    /// Bytes to send; then the sending half is shut.
    private let total: Int
    /// What b reads at a time and how long it then pauses; nil reads all there is at once.
    private let reader: (bytes: Int, pause: HairpinEngine.Duration)?
    private let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 16)
    private var isPaused = false

    init(
        _ world: World, total: Int = .max, algorithm: String = "cubic", sendBuffer: Int? = nil, receiveBuffer: Int? = nil,
        reader: (bytes: Int, pause: HairpinEngine.Duration)? = nil
    ) throws {
        self.world = world
        self.total = total
        self.reader = reader
        chunk.initializeMemory(as: UInt8.self, repeating: 0x61)
        let listener = try world.b.stack.socket(.stream)
        if let receiveBuffer { try world.b.stack.setOption(listener, .receiveBuffer(receiveBuffer)) }
        try world.b.stack.bind(listener, SocketAddress(.any, 5001))
        try world.b.stack.listen(listener, backlog: 1)
        world.b.ready[listener] = { [unowned self] in
            guard let (socket, _) = try? world.b.stack.accept(listener) else { return }
            world.b.ready[socket] = { [unowned self] in self.read(socket) }
            self.read(socket)
        }
        let socket = try world.a.stack.socket(.stream)
        self.socket = socket
        try world.a.stack.setCongestionControl(socket, algorithm)
        if let sendBuffer { try world.a.stack.setOption(socket, .sendBuffer(sendBuffer)) }
        world.a.ready[socket] = { [unowned self] in self.write() }
        do { try world.a.stack.connect(socket, SocketAddress(world.b.address, 5001)) } catch { guard error == .inProgress else { throw error } }
    }
    deinit { chunk.deallocate() }

    private func write() {
        while written < total {
            guard let count = try? world.a.stack.send(socket, raw: UnsafeRawBufferPointer(rebasing: chunk[..<min(chunk.count, total - written)])) else { return }
            written += count
            if written == total { try? world.a.stack.shutdown(socket, read: false, write: true) }
        }
    }

    private func read(_ socket: SocketID) {
        guard !isPaused else { return }
        let room = UnsafeMutableRawBufferPointer(rebasing: chunk[..<min(chunk.count, reader?.bytes ?? chunk.count)])
        while let count = try? world.b.stack.receive(socket, into: room), count > 0 {
            received += count
            guard let reader else { continue }
            isPaused = true
            world.after(reader.pause) { [unowned self] in
                self.isPaused = false
                self.read(socket)
            }
            return
        }
    }

    var information: TCPInformation { world.a.stack.tcpInformation(socket) ?? TCPInformation() }
}
