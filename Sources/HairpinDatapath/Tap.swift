import HairpinEngine

/// Which way a frame passes an interface, as pcapng's EPB flags and PACKET_OUTGOING tell it.
public enum TapDirection: UInt8, Sendable {
    case inbound = 1
    case outbound = 2
}

/// One sight of a frame at a tap point.
public struct TapEvent: Sendable {
    public var time: Instant
    public var interface: InterfaceIndex
    public var direction: TapDirection
    /// The same on every hop of one packet.
    public var packetID: UInt64
    public init(time: Instant, interface: InterfaceIndex, direction: TapDirection, packetID: UInt64) {
        self.time = time
        self.interface = interface
        self.direction = direction
        self.packetID = packetID
    }
}

/// Somebody who looks at frames. Taps are where Linux's packet sockets are: `dev_queue_xmit_nit` for what leaves an interface,
/// `__netif_receive_skb_core` for what comes in. Looking never changes what happens.
public protocol TapObserver: AnyObject {
    /// `bytes` are valid during the call only.
    func saw(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent)
    /// A frame ended here for `reason`; called only for frames that still have their bytes.
    func dropped(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent, reason: DropReason)
    /// Where sights go at once, instead of to `saw`; nil if the observer wants to be called. The same for as long as the observer observes.
    var log: UnsafeMutablePointer<PacketLog>? { get }
    /// The log has more bytes than its limit. What was seen before `now` may be taken out of it.
    func relieveLog(_ now: Instant)
}

extension TapObserver {
    public var log: UnsafeMutablePointer<PacketLog>? { nil }
    public func relieveLog(_ now: Instant) {}
}
