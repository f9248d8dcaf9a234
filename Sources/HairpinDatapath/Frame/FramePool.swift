import HairpinWire

/// Names a frame in a logical process's pool: the address of its `Frame`, which stays where it is. Nothing is ordered by it.
@frozen
public struct FrameHandle: Hashable, Sendable {
    /// Where the frame is, and so its `next`; zero for none.
    let address: UInt
    init(_ frame: UnsafeMutablePointer<Frame>) { address = UInt(bitPattern: frame) }
    private init() { address = 0 }
    public static var none: FrameHandle { FrameHandle() }
    public var isNone: Bool { address == 0 }

    /// The handle must name a frame.
    @inline(__always)
    var frame: UnsafeMutablePointer<Frame> { UnsafeMutablePointer(bitPattern: address).unsafelyUnwrapped }
    /// The frame's number in its pool, for layers that keep handles as numbers.
    public var number: UInt32 { frame.pointee.number }
}

/// What travels with a frame, as in Linux's `sk_buff`: where its bytes are, and what the stack has noted about it.
///
/// Several frames may share one buffer (clones of a flooded frame); whoever writes calls `FramePool.makeWritable` first.
struct Frame {
    /// Next in whatever queue holds the frame. At the frame's own address, which `FrameQueue` relies on.
    var next = FrameHandle.none
    /// The first byte of the buffer; headroom lies between it and `data`.
    var buffer: UnsafeMutableRawPointer
    /// Offset of the frame's first byte (the Ethernet header, or the IP header while a packet has none).
    var start: UInt32
    /// Bytes from `start`.
    var count: UInt32
    /// The interface the frame is on (`skb->dev`).
    var device: InterfaceIndex = .none
    /// Index of the connection tracking entry plus one; zero for none (`skb->_nfct`).
    var connection: UInt32 = 0
    /// The buffer's number: clones have the same.
    var shared: UInt32
    /// The frame's own number in the pool.
    var number: UInt32
    /// The same packet keeps its id on every hop, through NAT and encapsulation; clones share it.
    var packetID: UInt64 = 0
    /// `skb->mark`, set by MARK rules.
    var mark: UInt32 = 0
    /// The socket that sent the frame, in the namespace of its first device, while the frame has not crossed a veth (`skb->sk`).
    var socket: UInt32 = 0
    var flags: FrameFlags = []
    /// Size of the largest fragment this packet was put together from (`IPCB(skb)->frag_max_size`); zero for a packet that was whole.
    var largestFragment: UInt16 = 0
    var size: BufferSize
    /// `ip_conntrack_info`: direction and whether the entry is new, established or related.
    var connectionInfo: ConnectionInfo = .none
    // Up to here all is in one cache line.
    /// The bridge port the frame came in on while it is inside a bridge (`nf_bridge->physindev`), and the one it leaves by.
    var physicalIn: InterfaceIndex = .none
    var physicalOut: InterfaceIndex = .none
    /// The source MAC a redirected frame had before it passed the bridge device for its new destination MAC (`nf_bridge->neigh_header`).
    var savedSource = MACAddress.zero

    var data: UnsafeMutableRawPointer { buffer + Int(start) }
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: data, count: Int(count)) }
}

/// The sizes buffers come in. All are an odd number of cache lines, so that the headers of neighbouring buffers do not fall into the same sets of
/// a cache.
enum BufferSize: UInt32 {
    case small = 0, medium, large

    init(holding byteCount: Int) {
        self = byteCount <= BufferSize.small.byteCount ? .small : byteCount <= BufferSize.medium.byteCount ? .medium : .large
    }
    @inline(__always) var byteCount: Int {
        switch self {
        case .small: 5 * 64
        case .medium: 33 * 64
        // `lo` has an MTU of 65536; an Ethernet header and headroom come on top.
        case .large: 1029 * 64
        }
    }
    var buffersPerSlab: Int {
        switch self {
        case .small: 512
        case .medium: 256
        case .large: 4
        }
    }
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
    /// A stack of this process finished the checksums of IP and transport, and only routing and netfilter have written to the packet since, which
    /// keep them right: nobody need verify them (what CHECKSUM_PARTIAL comes to between veths, `skb_csum_unnecessary`).
    static let checksumsFinished = FrameFlags(rawValue: 512)
    /// One of the segments that TCP sent as one packet and its host cut (`skb_segment`). It lies in less kernel memory than one sent by itself.
    static let cutFromBurst = FrameFlags(rawValue: 1024)
}

/// Frames of one logical process: slabs of fixed-size buffers that are recycled, never freed. No reference counting by the language, no
/// allocation once the pool has grown to the working set.
///
/// A frame that ends keeps its buffer while nobody else has it: the next one of that size takes both in one step.
struct FramePool {
    /// Room in front of a frame for two more headers: an encapsulation moves no payload. Two cache lines, so that the shortest frames lie in one.
    static let headroom = 128

    private struct Buffer {
        var address: UnsafeMutableRawPointer
        /// Frames that share it; zero in the list of free buffers.
        var references: UInt32 = 0
        var nextFree: UInt32 = 0
    }
    private var frames = Slab<Frame>()
    private var buffers = Slab<Buffer>()
    /// First of the free frames that have a buffer, by its size; they link through `next`.
    private let ready: UnsafeMutablePointer<FrameHandle>
    /// First of the free frames without a buffer.
    private var bare = FrameHandle.none
    /// First of the free buffers, by size: those that frames left behind when they were made writable.
    private let loose: UnsafeMutablePointer<UInt32>
    private var slabs: [UnsafeMutableRawPointer] = []

    /// Frames alive: the "in flight" of the books.
    private(set) var live = 0

    init() {
        _ = frames.extend()  // index zero is no frame
        _ = buffers.extend()  // nor no buffer
        ready = .allocate(capacity: 3)
        ready.initialize(repeating: .none, count: 3)
        loose = .allocate(capacity: 3)
        loose.initialize(repeating: 0, count: 3)
    }

    func deallocate() {
        frames.deallocate()
        buffers.deallocate()
        ready.deallocate()
        loose.deallocate()
        for slab in slabs { slab.deallocate() }
    }

    subscript(handle: FrameHandle) -> UnsafeMutablePointer<Frame> {
        @inline(__always) get { handle.frame }
    }
    /// The frame of this number, which must be alive.
    func handle(_ number: UInt32) -> FrameHandle { FrameHandle(frames[Int(number)]) }

    /// A frame with room for `count` bytes behind the headroom, contents undefined. `count` must not exceed 65 550.
    mutating func allocate(_ count: Int, headroom: Int = FramePool.headroom) -> FrameHandle {
        precondition(headroom &+ count <= BufferSize.large.byteCount, "a frame larger than any interface carries")
        let size = BufferSize(holding: headroom &+ count)
        let slot = ready + Int(size.rawValue)
        if slot.pointee.isNone { furnish(size) }
        let handle = slot.pointee
        let frame = handle.frame
        slot.pointee = frame.pointee.next
        live &+= 1
        frame.initialize(
            to: Frame(
                buffer: frame.pointee.buffer, start: UInt32(truncatingIfNeeded: headroom), count: UInt32(truncatingIfNeeded: count),
                shared: frame.pointee.shared, number: frame.pointee.number, size: size))
        return handle
    }

    /// A second frame over the same bytes (`skb_clone`).
    mutating func clone(_ handle: FrameHandle) -> FrameHandle {
        let copy = takeBare()
        let number = copy.number
        buffers[Int(handle.frame.pointee.shared)].pointee.references &+= 1
        copy.frame.initialize(to: handle.frame.pointee)
        copy.frame.pointee.number = number
        copy.frame.pointee.next = .none
        copy.frame.pointee.socket = 0
        live &+= 1
        return copy
    }

    @inline(__always)
    mutating func free(_ handle: FrameHandle) {
        let frame = self[handle]
        let references = buffers[Int(frame.pointee.shared)]
        assert(references.pointee.references > 0, "a frame freed twice")
        live &-= 1
        if references.pointee.references > 1 {
            references.pointee.references &-= 1
            frame.pointee.next = bare
            bare = handle
        } else {
            let slot = ready + Int(frame.pointee.size.rawValue)
            frame.pointee.next = slot.pointee
            slot.pointee = handle
        }
    }

    /// Gives the frame bytes of its own if it shares them (`skb_ensure_writable`). Pointers into the frame are void afterwards.
    @inline(__always)
    mutating func makeWritable(_ handle: FrameHandle) {
        if buffers[Int(self[handle].pointee.shared)].pointee.references > 1 { unshare(handle) }
    }

    @inline(never)
    private mutating func unshare(_ handle: FrameHandle) {
        let frame = self[handle]
        let number = takeBuffer(frame.pointee.size)
        let buffer = buffers[Int(number)].pointee.address
        buffers[Int(frame.pointee.shared)].pointee.references -= 1
        (buffer + Int(frame.pointee.start)).copyMemory(from: frame.pointee.data, byteCount: Int(frame.pointee.count))
        frame.pointee.buffer = buffer
        frame.pointee.shared = number
    }

    private mutating func takeBare() -> FrameHandle {
        if !bare.isNone {
            let handle = bare
            bare = handle.frame.pointee.next
            return handle
        }
        let number = frames.extend()
        // Everything but the number is set by whoever takes it.
        frames[number].initialize(to: Frame(buffer: UnsafeMutableRawPointer(frames[number]), start: 0, count: 0, shared: 0, number: UInt32(number), size: .small))
        return FrameHandle(frames[number])
    }

    /// A buffer for one frame.
    private mutating func takeBuffer(_ size: BufferSize) -> UInt32 {
        let slot = loose + Int(size.rawValue)
        if slot.pointee == 0 { addSlab(size) }
        let number = slot.pointee
        slot.pointee = buffers[Int(number)].pointee.nextFree
        buffers[Int(number)].pointee.references = 1
        return number
    }

    /// Makes a free frame with a buffer of this size.
    @inline(never)
    private mutating func furnish(_ size: BufferSize) {
        let handle = takeBare()
        let number = takeBuffer(size)
        handle.frame.pointee.buffer = buffers[Int(number)].pointee.address
        handle.frame.pointee.shared = number
        handle.frame.pointee.size = size
        handle.frame.pointee.next = ready[Int(size.rawValue)]
        ready[Int(size.rawValue)] = handle
    }

    @inline(never)
    private mutating func addSlab(_ size: BufferSize) {
        // A node that sends little needs little.
        let count = slabs.count < 3 ? min(size.buffersPerSlab, 32) : size.buffersPerSlab
        let slab = UnsafeMutableRawPointer.allocate(byteCount: size.byteCount * count, alignment: 64)
        slabs.append(slab)
        let first = buffers.count
        for n in 0..<count {
            let number = buffers.extend()
            buffers[number].initialize(to: Buffer(address: slab + n * size.byteCount))
        }
        // The lowest address is handed out first.
        for n in stride(from: first + count - 1, through: first, by: -1) {
            buffers[n].pointee.nextFree = loose[Int(size.rawValue)]
            loose[Int(size.rawValue)] = UInt32(n)
        }
    }
}
