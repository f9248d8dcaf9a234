import HairpinEngine
import HairpinWire

/// An entry of a TCP socket's error queue, as recvmsg(2) with MSG_ERRQUEUE gives it (`struct sock_extended_err`).
public struct StreamError: Sendable, Hashable {
    public var errno: Int32
    /// SO_EE_ORIGIN_: 2 ICMP, 5 MSG_ZEROCOPY.
    public var origin: UInt8
    public var type: UInt8
    public var code: UInt8
    public var information: UInt32
    public var data: UInt32
    public static let zeroCopyOrigin: UInt8 = 5
    /// The bytes were copied after all: the device cannot send from a program's memory.
    public static let copiedCode: UInt8 = 1
    public init(errno: Int32, origin: UInt8, type: UInt8, code: UInt8, information: UInt32, data: UInt32) {
        (self.errno, self.origin, self.type, self.code, self.information, self.data) = (errno, origin, type, code, information, data)
    }
}

/// What few sockets have, kept beside the endpoints: calls with MSG_ZEROCOPY whose bytes are not acknowledged yet, and the error queue.
struct StreamExtras {
    /// Consecutive calls that share a packet are one (`msg_zerocopy_realloc`).
    struct ZeroCopyCalls {
        var first: UInt32
        var count: UInt32
        /// When this is acknowledged, the program may have its memory back.
        var end: SequenceNumber
    }
    var nextCall: UInt32 = 0
    var calls: [ZeroCopyCalls] = []
    var errors: [StreamError] = []
}

/// MSG_ZEROCOPY (Documentation/networking/msg_zerocopy.rst, `net/core/skbuff.c`).
extension TransportStack {
    /// A call has queued bytes up to SND's write end; `sharesPacket`: the packet it added to already held bytes of such calls.
    func noteZeroCopy(_ e: EndpointPointer, sharesPacket: Bool) {
        var extras = streamExtras[e.pointee.socket.rawValue] ?? StreamExtras()
        let call = extras.nextCall
        extras.nextCall &+= 1
        if sharesPacket, let last = extras.calls.last, last.first &+ last.count == call {
            extras.calls[extras.calls.count - 1].count += 1
            extras.calls[extras.calls.count - 1].end = e.pointee.writeEnd
        } else {
            extras.calls.append(StreamExtras.ZeroCopyCalls(first: call, count: 1, end: e.pointee.writeEnd))
        }
        streamExtras[e.pointee.socket.rawValue] = extras
        e.pointee.flags.insert(.awaitsZeroCopy)
    }

    /// Tells the program about calls whose bytes are acknowledged, or thrown away (`__msg_zerocopy_callback`).
    func completeZeroCopy(_ e: EndpointPointer, all: Bool = false) {
        guard e.pointee.flags.contains(.awaitsZeroCopy), var extras = streamExtras[e.pointee.socket.rawValue] else { return }
        var isNews = false
        while let calls = extras.calls.first, all || calls.end.isAtOrBefore(e.pointee.unacknowledged) {
            extras.calls.removeFirst()
            isNews = true
            let last = calls.first &+ calls.count &- 1
            if let tail = extras.errors.last, tail.origin == StreamError.zeroCopyOrigin, tail.data &+ 1 == calls.first {
                extras.errors[extras.errors.count - 1].data = last
            } else {
                extras.errors.append(
                    StreamError(errno: 0, origin: StreamError.zeroCopyOrigin, type: 0, code: StreamError.copiedCode, information: calls.first, data: last))
            }
        }
        if extras.calls.isEmpty { e.pointee.flags.remove(.awaitsZeroCopy) }
        streamExtras[e.pointee.socket.rawValue] = extras
        if isNews { notify(e) }
    }

    /// The oldest entry of a TCP socket's error queue.
    public func takeStreamError(_ socket: SocketID) -> StreamError? {
        guard table.stream(socket) != nil, let first = streamExtras[socket.rawValue]?.errors.first else { return nil }
        streamExtras[socket.rawValue]?.errors.removeFirst()
        return first
    }

    func hasStreamError(_ e: EndpointPointer) -> Bool { !streamExtras.isEmpty && streamExtras[e.pointee.socket.rawValue]?.errors.isEmpty == false }
}
