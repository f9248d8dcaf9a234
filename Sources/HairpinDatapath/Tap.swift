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
}
