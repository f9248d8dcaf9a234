import HairpinEngine
import HairpinWire

/// A network interface (`struct net_device`) in a logical process: one array in raw memory holds them all.
struct Interface {
    enum Kind: UInt8 {
        case loopback, veth, bridge, dummy
        /// One end of a cable with rate or delay, or one that leads to another logical process.
        case cable
    }
    // What every frame needs comes first.
    var mac: MACAddress
    var mtu: Int
    var kind: Kind
    var isUp = true
    /// Somebody captures here.
    var isTapped = false
    /// Bridge port: frames may leave by the port they came in on (`BR_HAIRPIN_MODE`).
    var isHairpin = false
    /// A packet socket takes every frame that is for this host, before any protocol sees it.
    var isAbsorbing = false
    /// The number of this port within its bridge.
    var portNumber: UInt16 = 0
    var namespace: NamespaceIndex
    /// The other end of a veth pair or cable in this logical process.
    var peer = InterfaceIndex.none
    /// The bridge interface this one is a port of.
    var master = InterfaceIndex.none
    /// Index of the forwarding table for a bridge.
    var bridge: UInt32 = 0
    var counters = InterfaceCounters()
    /// Frames under way to this end of a cable, each with an arrival event of its own.
    var arriving = FrameQueue()
    /// What is sent here goes over this; nil for an interface that is no cable.
    var cable: UnsafeMutablePointer<Cable>?

    init(kind: Kind, namespace: NamespaceIndex, mac: MACAddress, mtu: Int) {
        self.kind = kind
        self.namespace = namespace
        self.mac = mac
        self.mtu = mtu
    }

    func deallocate() {
        guard let cable else { return }
        cable.pointee.departures.deallocate()
        cable.deinitialize(count: 1)
        cable.deallocate()
    }
}

/// `ip -s link`.
public struct InterfaceCounters: Sendable, Equatable {
    public var receivedFrames: UInt64 = 0
    public var receivedBytes: UInt64 = 0
    public var sentFrames: UInt64 = 0
    public var sentBytes: UInt64 = 0
    public var drops: UInt64 = 0
}

/// Frames in order, linked through `Frame.next`: no allocation however long the queue.
struct FrameQueue {
    private(set) var head = FrameHandle.none
    /// Where the next frame is linked to: behind the last one, or at the head of an empty queue.
    private var ends = (behindLast: UInt(0), head: UInt(0))

    @inline(__always) var isEmpty: Bool { head.isNone }

    /// Adds a frame at the end. Whether the queue is empty chooses one of two words in memory, not a way: no processor could predict it, and
    /// written as a condition it becomes a branch.
    @inline(__always)
    mutating func append(_ frame: FrameHandle) {
        frame.frame.pointee.next = .none
        let choice = isEmpty ? 1 : 0
        let home = withUnsafeMutablePointer(to: &head) { UInt(bitPattern: $0) }
        ends.head = home
        let end = withUnsafePointer(to: &ends) { UnsafeRawPointer($0).load(fromByteOffset: choice &* MemoryLayout<UInt>.stride, as: UInt.self) }
        UnsafeMutablePointer<FrameHandle>(bitPattern: end).unsafelyUnwrapped.pointee = frame
        ends.behindLast = frame.address
    }

    @inline(__always)
    mutating func removeFirst() -> FrameHandle {
        let frame = head
        head = frame.frame.pointee.next
        return frame
    }
}
