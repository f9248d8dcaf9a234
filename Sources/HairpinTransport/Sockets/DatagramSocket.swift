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
    /// Kernel memory of what waits in `inbox`.
    var receiveMemory = 0
    var inbox: [ReceivedMessage] = []
    /// The first message not yet read: reading from an array's front would move the rest.
    var inboxHead = 0
    var errors: [ReceivedError] = []
    var pendingError: Errno?
    var receiveShut = false, sendShut = false

    init(kind: SocketKind, id: SocketID) {
        self.kind = kind
        self.id = id
    }

    /// What a packet of this size counts against the buffer.
    static func truesize(_ byteCount: Int) -> Int { byteCount + 768 }

    /// False when the buffer is full.
    func deliver(_ message: ReceivedMessage) -> Bool {
        let size = DatagramSocket.truesize(message.bytes.count)
        guard receiveMemory + size <= receiveBuffer || inboxHead == inbox.count else { return false }
        receiveMemory += size
        inbox.append(message)
        return true
    }

    func next() -> ReceivedMessage? {
        guard inboxHead < inbox.count else { return nil }
        let message = inbox[inboxHead]
        receiveMemory -= DatagramSocket.truesize(message.bytes.count)
        inboxHead += 1
        if inboxHead == inbox.count {
            inbox.removeAll(keepingCapacity: true)
            inboxHead = 0
        }
        return message
    }

    var readiness: Readiness {
        var r: Readiness = [.writable]
        if inboxHead < inbox.count || receiveShut { r.insert(.readable) }
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
        case .do:
            request.dontFragment = true
            request.identification = .zero
        case .want:
            request.dontFragment = fits  // what is cut here may be cut again
            request.mayFragmentLocally = true
            request.identification = .host
        case .dont, .omit:
            request.dontFragment = false
            request.mayFragmentLocally = true
        }
        // A connected socket numbers its own packets.
        if connected {
            request.identification = .value(identification)
            identification &+= 1
        }
    }
}
