import HairpinWire

/// Names a frame in a logical process's pool. Zero is no frame.
@frozen
public struct FrameHandle: Hashable, Sendable {
    public let index: UInt32
    @inlinable init(index: UInt32) { self.index = index }
    @inlinable public static var none: FrameHandle { FrameHandle(index: 0) }
}

/// What travels with a frame, as in Linux's `sk_buff`: where its bytes are, and what the stack has noted about it.
///
/// Several frames may share one buffer (clones of a flooded frame); whoever writes calls `FramePool.makeWritable` first.
struct Frame {
    /// The first byte of the buffer; headroom lies between it and `data`.
    var buffer: UnsafeMutableRawPointer
    var capacity: UInt32
    /// Offset of the frame's first byte (the Ethernet header, or the IP header while a packet has none).
    var start: UInt32
    /// Bytes from `start`.
    var count: UInt32
    /// `skb->mark`, set by MARK rules.
    var mark: UInt32 = 0
    /// The same packet keeps its id on every hop, through NAT and encapsulation; clones share it.
    var packetID: UInt64 = 0
    /// Index of the connection tracking entry plus one; zero for none (`skb->_nfct`).
    var connection: UInt32 = 0
    /// `ip_conntrack_info`: direction and whether the entry is new, established or related.
    var connectionInfo: ConnectionInfo = .none
    /// The bridge port the frame came in on while it is inside a bridge (`nf_bridge->physindev`), and the one it leaves by.
    var physicalIn: InterfaceIndex = .none
    var physicalOut: InterfaceIndex = .none
    /// The interface the frame is on (`skb->dev`).
    var device: InterfaceIndex = .none
    /// The socket that sent the frame, in the namespace of its first device, while the frame has not crossed a veth (`skb->sk`).
    var socket: UInt32 = 0
    var flags: FrameFlags = []
    /// Size of the largest fragment this packet was put together from (`IPCB(skb)->frag_max_size`); zero for a packet that was whole.
    var largestFragment: UInt16 = 0
    /// Index into the pool's reference counts: clones have the same.
    var shared: UInt32 = 0
    /// Next in whatever queue holds the frame.
    var next: UInt32 = 0
    /// The source MAC a redirected frame had before it passed the bridge device for its new destination MAC (`nf_bridge->neigh_header`).
    var savedSource = MACAddress.zero

    var data: UnsafeMutableRawPointer { buffer + Int(start) }
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: data, count: Int(count)) }
}

struct FrameFlags: OptionSet {
    let rawValue: UInt16
    /// The bridge's netfilter hooks run for this frame (`skb_ext nf_bridge`): the IP layer must not run PREROUTING again (`ip_sabotage_in`).
    static let bridgeNetfilter = FrameFlags(rawValue: 1)
    /// Redirected by DNAT inside the bridge and sent through the bridge device only to get its MAC address (`nf_bridge->bridged_dnat`).
    static let bridgedDNAT = FrameFlags(rawValue: 2)
    /// Addressed to another host's MAC and seen only because the interface is promiscuous (PACKET_OTHERHOST).
    static let otherHost = FrameFlags(rawValue: 4)
    static let broadcast = FrameFlags(rawValue: 8)
    static let multicast = FrameFlags(rawValue: 16)
    /// Transport checksum deliberately unfinished: the frame never leaves `lo` (CHECKSUM_PARTIAL).
    static let partialChecksum = FrameFlags(rawValue: 32)
    /// IP may cut the packet locally although DF is set (`skb->ignore_df`).
    static let mayFragment = FrameFlags(rawValue: 64)
    /// Confirms the neighbour it is sent to (`skb->dst_pending_confirm`).
    static let confirmsNeighbour = FrameFlags(rawValue: 128)
    /// The packet was forwarded by this host (IPSKB_FORWARDED).
    static let forwarded = FrameFlags(rawValue: 256)
}

/// Frames of one logical process: slabs of fixed-size buffers that are recycled, never freed. No reference counting by the language, no
/// allocation once the pool has grown to the working set.
struct FramePool {
    /// Room in front of a frame for two more headers: an encapsulation moves no payload.
    static let headroom = 96
    private static let smallCapacity = 2048
    /// `lo` has an MTU of 65536.
    private static let largeCapacity = 65536 + 14 + 2 * headroom
    private static let slabBytes = 1 << 20

    private var frames = Slab<Frame>()
    private var freeFrame: UInt32 = 0
    /// Reference counts of buffers, by `Frame.shared`.
    private var references: UnsafeMutablePointer<UInt32>
    private var buffers: UnsafeMutablePointer<UnsafeMutableRawPointer>
    private var bufferCapacity: Int
    private var bufferCount = 1
    private var freeSmall: UInt32 = 0
    private var freeLarge: UInt32 = 0
    private var nextFree: UnsafeMutablePointer<UInt32>
    private var slabs: [UnsafeMutableRawPointer] = []

    /// Frames alive: the "in flight" of the books.
    private(set) var live = 0

    init() {
        _ = frames.extend()  // index zero is no frame
        bufferCapacity = 256
        references = .allocate(capacity: bufferCapacity)
        buffers = .allocate(capacity: bufferCapacity)
        nextFree = .allocate(capacity: bufferCapacity)
    }

    func deallocate() {
        frames.deallocate()
        references.deallocate()
        buffers.deallocate()
        nextFree.deallocate()
        for slab in slabs { slab.deallocate() }
    }

    subscript(handle: FrameHandle) -> UnsafeMutablePointer<Frame> {
        @inline(__always) get { frames[Int(handle.index)] }
    }

    /// A frame with room for `count` bytes behind the headroom, contents undefined. `count` must not exceed 65550.
    mutating func allocate(_ count: Int, headroom: Int = FramePool.headroom) -> FrameHandle {
        let handle = takeFrame()
        let large = headroom + count > FramePool.smallCapacity
        precondition(headroom + count <= FramePool.largeCapacity, "a frame larger than any interface carries")
        let buffer = takeBuffer(large: large)
        references[Int(buffer)] = 1
        frames[Int(handle.index)].initialize(
            to: Frame(
                buffer: buffers[Int(buffer)], capacity: UInt32(large ? FramePool.largeCapacity : FramePool.smallCapacity),
                start: UInt32(headroom), count: UInt32(count), shared: buffer))
        live += 1
        return handle
    }

    /// A second frame over the same bytes (`skb_clone`).
    mutating func clone(_ handle: FrameHandle) -> FrameHandle {
        let copy = takeFrame()
        let original = frames[Int(handle.index)].pointee
        references[Int(original.shared)] += 1
        frames[Int(copy.index)].initialize(to: original)
        frames[Int(copy.index)].pointee.next = 0
        frames[Int(copy.index)].pointee.socket = 0
        live += 1
        return copy
    }

    mutating func free(_ handle: FrameHandle) {
        let frame = frames[Int(handle.index)]
        let buffer = Int(frame.pointee.shared)
        assert(references[buffer] > 0, "a frame freed twice")
        references[buffer] -= 1
        if references[buffer] == 0 {
            if frame.pointee.capacity == UInt32(FramePool.smallCapacity) {
                nextFree[buffer] = freeSmall
                freeSmall = UInt32(buffer)
            } else {
                nextFree[buffer] = freeLarge
                freeLarge = UInt32(buffer)
            }
        }
        frame.pointee.next = freeFrame
        freeFrame = handle.index
        live -= 1
    }

    /// Gives the frame bytes of its own if it shares them (`skb_ensure_writable`). Pointers into the frame are void afterwards.
    mutating func makeWritable(_ handle: FrameHandle) {
        let frame = frames[Int(handle.index)]
        let old = Int(frame.pointee.shared)
        guard references[old] > 1 else { return }
        let large = frame.pointee.capacity != UInt32(FramePool.smallCapacity)
        let buffer = takeBuffer(large: large)
        references[Int(buffer)] = 1
        references[old] -= 1
        (buffers[Int(buffer)] + Int(frame.pointee.start)).copyMemory(from: frame.pointee.data, byteCount: Int(frame.pointee.count))
        frame.pointee.buffer = buffers[Int(buffer)]
        frame.pointee.shared = buffer
    }

    private mutating func takeFrame() -> FrameHandle {
        if freeFrame != 0 {
            let index = freeFrame
            freeFrame = frames[Int(index)].pointee.next
            return FrameHandle(index: index)
        }
        return FrameHandle(index: UInt32(frames.extend()))
    }

    private mutating func takeBuffer(large: Bool) -> UInt32 {
        if large ? freeLarge == 0 : freeSmall == 0 { addSlab(large: large) }
        if large {
            let index = freeLarge
            freeLarge = nextFree[Int(index)]
            return index
        }
        let index = freeSmall
        freeSmall = nextFree[Int(index)]
        return index
    }

    private mutating func addSlab(large: Bool) {
        let capacity = large ? FramePool.largeCapacity : FramePool.smallCapacity
        let count = large ? 4 : (slabs.isEmpty ? 64 : FramePool.slabBytes / capacity)
        let slab = UnsafeMutableRawPointer.allocate(byteCount: capacity * count, alignment: 64)
        slabs.append(slab)
        while bufferCount + count > bufferCapacity {
            references = FramePool.grown(references, bufferCount, bufferCapacity)
            buffers = FramePool.grown(buffers, bufferCount, bufferCapacity)
            nextFree = FramePool.grown(nextFree, bufferCount, bufferCapacity)
            bufferCapacity *= 2
        }
        // The lowest address is handed out first.
        for n in stride(from: count - 1, through: 0, by: -1) {
            let index = bufferCount + n
            buffers[index] = slab + n * capacity
            references[index] = 0
            nextFree[index] = large ? freeLarge : freeSmall
            if large { freeLarge = UInt32(index) } else { freeSmall = UInt32(index) }
        }
        bufferCount += count
    }

    private static func grown<T>(_ old: UnsafeMutablePointer<T>, _ count: Int, _ capacity: Int) -> UnsafeMutablePointer<T> {
        let larger = UnsafeMutablePointer<T>.allocate(capacity: capacity * 2)
        larger.update(from: old, count: count)
        old.deallocate()
        return larger
    }
}
