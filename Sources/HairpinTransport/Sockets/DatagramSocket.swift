import HairpinEngine
import HairpinWire

/// A UDP or ping socket.
final class DatagramSocket {
    let kind: SocketKind
    let id: SocketID
    /// For an echo socket the port is the ICMP identifier.
    var local = SocketAddress(.any, 0)
    var remote: SocketAddress?
    var isBound = false
    var reuseAddress = false
    var timeToLive: UInt8 = 64
    var typeOfService: UInt8 = 0
    var discovery = PathMTUDiscovery.want
    var device = ""
    var receiveErrors = false
    var receiveBuffer = 212_992
    var identification: UInt16 = 0
    /// What waits to be read, and the kernel memory it counts as; in raw memory, so that a datagram allocates and checks nothing.
    private let inbox: UnsafeMutablePointer<(queue: DatagramInbox, memory: Int)>
    /// The next socket bound to the same port; `DatagramTable` owns it.
    var nextOnPort: Unmanaged<DatagramSocket>?
    var errors: [ReceivedError] = []
    var pendingError: Errno?
    var receiveShut = false, sendShut = false

    init(kind: SocketKind, id: SocketID) {
        self.kind = kind
        self.id = id
        inbox = .allocate(capacity: 1)
        inbox.initialize(to: (DatagramInbox(), 0))
    }

    deinit {
        inbox.pointee.queue.deallocate()
        inbox.deallocate()
    }

    var receiveMemory: Int { inbox.pointee.memory }

    /// What a packet of this size counts against the buffer.
    static func truesize(_ byteCount: Int) -> Int { byteCount + 768 }

    /// False when the buffer is full.
    func deliver(_ payload: UnsafeRawBufferPointer, from source: SocketAddress, timeToLive: UInt8, typeOfService: UInt8, at: Instant) -> Bool {
        let size = DatagramSocket.truesize(payload.count)
        guard inbox.pointee.memory + size <= receiveBuffer || inbox.pointee.queue.isEmpty else { return false }
        inbox.pointee.memory += size
        inbox.pointee.queue.append(payload, from: source, timeToLive: timeToLive, typeOfService: typeOfService, at: at)
        return true
    }

    func next() -> ReceivedMessage? {
        inbox.pointee.memory -= inbox.pointee.queue.isEmpty ? 0 : DatagramSocket.truesize(inbox.pointee.queue.nextCount)
        return inbox.pointee.queue.removeFirst()
    }

    /// The same into a program's buffer; nil if nothing waits.
    func next(into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        inbox.pointee.memory -= inbox.pointee.queue.isEmpty ? 0 : DatagramSocket.truesize(inbox.pointee.queue.nextCount)
        return inbox.pointee.queue.removeFirst(into: buffer)
    }

    /// How well the socket fits a packet from `remote` to `local`; nil if it does not take it.
    @inline(__always)
    func score(_ local: IPv4Address, _ remote: IPv4Address, _ remotePort: UInt16) -> Int? {
        var score = 0
        if self.local.address != .any {
            guard self.local.address == local else { return nil }
            score += 4
        }
        if let peer = self.remote {
            guard peer.address == remote, peer.port == remotePort else { return nil }
            score += 8
        }
        return score
    }

    var readiness: Readiness {
        var r: Readiness = [.writable]
        if !inbox.pointee.queue.isEmpty || receiveShut { r.insert(.readable) }
        if pendingError != nil || !errors.isEmpty { r.insert(.error) }
        if receiveShut { r.insert(.readHangup) }
        if receiveShut && sendShut { r.insert(.hangup) }
        return r
    }

    /// DF, the identification and whether the packet may be cut here (`__ip_make_skb`, `ip_select_ident_segs`). `fits`: the packet is within the path MTU.
    func apply(to request: inout SendRequest, connected: Bool, fits: Bool) {
        request.timeToLive = timeToLive
        request.typeOfService = typeOfService
        request.socket = id
        switch discovery {
        case .do, .probe:
            request.dontFragment = true
            request.identification = .zero
        case .want:
            request.dontFragment = fits  // what is cut here may be cut again
            request.mayFragmentLocally = true
            request.identification = .host
        case .dont, .interface, .omit:
            request.dontFragment = false
            request.mayFragmentLocally = discovery != .interface
        }
        // A connected socket numbers its own packets.
        if connected {
            request.identification = .value(identification)
            identification &+= 1
        }
    }
}
