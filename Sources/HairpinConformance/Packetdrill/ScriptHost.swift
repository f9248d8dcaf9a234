import HairpinEngine
import HairpinTransport
import HairpinWire

/// The host under test: one transport stack on a point-to-point IP device, as the reference tool's tun device is, and the clock it lives by.
/// What it sends is kept until the script asks for it.
final class ScriptHost: NetworkLayer {
    let localAddress: IPv4Address
    let remoteAddress: IPv4Address
    /// Of the device; `pathMTU` may be less (RFC 1191).
    let mtu: Int
    var pathMTU: Int
    private(set) var now: Instant
    private(set) var stack: TransportStack!
    /// Packets sent and not yet looked at, oldest first.
    var sent: [(packet: [UInt8], at: Instant)] = []
    /// Sockets with news since `takeNews` was called, in the order it came, and what each is about (empty: a change of state).
    private var news: [(socket: SocketID, reason: Readiness)] = []
    private var alarm = Instant.distantFuture
    private var filling: [UInt32: UnsafeMutableRawBufferPointer] = [:]
    private var nextHandle: UInt32 = 0
    private var lastIdentification: UInt16 = 0
    /// `tc qdisc … pfifo limit 0`: nothing leaves.
    var isMuted = false

    init(local: IPv4Address, remote: IPv4Address, mtu: Int, settings: TransportSettings, seed: UInt64) {
        (localAddress, remoteAddress, self.mtu, pathMTU) = (local, remote, mtu, mtu)
        now = Instant(nanoseconds: 1_000_000_000_000)
        stack = TransportStack(network: self, random: SeededRandom(seed: seed, name: "packetdrill"), settings: settings)
    }

    deinit { for buffer in filling.values { buffer.deallocate() } }

    /// The next timer of the stack, if it is due by `end`, expires; false if there is none.
    func step(until end: Instant) -> Bool {
        guard alarm <= end else { return false }
        now = max(now, alarm)
        alarm = .distantFuture
        stack.timerExpired()
        return true
    }

    func moveClock(to time: Instant) { now = max(now, time) }

    func receive(_ packet: [UInt8]) -> Reception { packet.withUnsafeBytes { stack.receive($0, checksumVerified: false) } }

    func takeNews() -> [(socket: SocketID, reason: Readiness)] {
        defer { news = [] }
        return news
    }

    // MARK: NetworkLayer

    func route(to destination: IPv4Address, from source: IPv4Address, device: String) throws(Errno) -> TransportRoute {
        if destination.isLoopback || destination == localAddress {
            return TransportRoute(source: destination, mtu: 65_536, isLocal: true)
        }
        return TransportRoute(source: source == .any ? localAddress : source, mtu: destination == remoteAddress ? pathMTU : mtu, isLocal: false)
    }

    func isLocal(_ address: IPv4Address) -> Bool { address == localAddress || address.isLoopback }

    func allocate(_ byteCount: Int) -> PacketBuffer? {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: IPv4Header.byteCount + byteCount, alignment: 8)
        nextHandle &+= 1
        filling[nextHandle] = buffer
        return PacketBuffer(handle: nextHandle, payload: UnsafeMutableRawBufferPointer(rebasing: buffer[IPv4Header.byteCount...]))
    }

    func send(_ packet: PacketBuffer, _ request: SendRequest) -> Errno? {
        guard let buffer = filling.removeValue(forKey: packet.handle), let base = buffer.baseAddress else { return nil }
        defer { buffer.deallocate() }
        request.header(totalLength: buffer.count, lastIdentification: &lastIdentification).emit(to: base)
        if isMuted { return .noBuffers }
        sent.append((Array(buffer), now))
        return nil
    }

    func packetsHeld(by socket: SocketID) -> Int { 0 }
    func arm(_ deadline: Instant) { alarm = deadline }
    func readinessChanged(_ socket: SocketID) { news.append((socket, stack.wakeReason)) }
}
