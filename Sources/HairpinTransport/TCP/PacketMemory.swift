import HairpinWire

/// The kernel memory of a received segment (`struct sk_buff` and its head), which is what a receive buffer is charged for.
///
/// Frames between veths without offloads, as the recordings have them, lie in one piece: either the host cut them from a larger packet of TCP
/// (`skb_segment`), or it copied the bytes of a single one behind its header (`__skb_linearize`), with room to spare.
struct PacketMemory: BitwiseCopyable {
    /// `struct skb_shared_info` at the end of each head, and `struct sk_buff` beside it.
    private static let sharedInfo = 320, buffer = 256
    /// Where the bytes begin in the head of a packet that came over an interface: room for all headers (MAX_TCP_HEADER).
    private static let start = 256

    /// What it costs the receive buffer (`skb->truesize`).
    var truesize: UInt32 = 0
    /// The bytes of its head before `struct skb_shared_info` (`skb_end_offset`), and where the payload begins.
    private var end: UInt32 = 0
    private var offset: UInt32 = 0

    init() {}

    /// A segment with so many bytes from a veth or a wire.
    @inline(__always)
    init(payload count: Int, cutFromBurst: Bool) {
        offset = UInt32(PacketMemory.start)
        if count == 0 {
            // An acknowledgment lies in a small head (`skb_small_head_cache`).
            (truesize, end) = (UInt32(PacketMemory.start + PacketMemory.sharedInfo + PacketMemory.buffer), offset)
        } else if cutFromBurst {
            let piece = PacketMemory.slab(PacketMemory.start + count)
            (truesize, end) = (UInt32(piece + PacketMemory.buffer), UInt32(piece - PacketMemory.sharedInfo))
        } else {
            // `__pskb_pull_tail` asks for 128 bytes more than it needs; the copy leaves the charge for what was there before.
            let piece = PacketMemory.slab(PacketMemory.start + count + 128)
            truesize = UInt32(count + PacketMemory.start + PacketMemory.sharedInfo + PacketMemory.buffer)
            end = UInt32(piece - PacketMemory.sharedInfo)
        }
    }

    /// A segment of `length` bytes, header included, that a program wrote to a tun device (`tun_alloc_skb`): 64 bytes of headroom, the IP header. What does
    /// not fit into a page that way lies in pages beside a small head.
    init(fromTun length: Int, _ tcp: TCPView) {
        let before = 64 + 20 + length - tcp.payload.count
        if 64 + 20 + length >= 4096 {
            let pages = (20 + length + 4095) / 4096
            (truesize, end, offset) = (UInt32(704 + PacketMemory.buffer + pages * 4096), 0, 0)
            return
        }
        let needed = before + tcp.payload.count + PacketMemory.sharedInfo
        let piece = needed <= 704 ? 704 : PacketMemory.slab(before + tcp.payload.count)
        (truesize, end, offset) = (UInt32(piece + PacketMemory.buffer), UInt32(piece - PacketMemory.sharedInfo), UInt32(before))
    }

    /// Charged for all of its head (`skb_condense`).
    var condensed: PacketMemory {
        if end == 0 { return self }
        var memory = self
        memory.truesize = end + UInt32(PacketMemory.sharedInfo + PacketMemory.buffer)
        return memory
    }

    /// How many bytes fit behind its `count` own (`skb_tailroom`).
    func room(after count: Int) -> UInt32 { UInt32(max(0, Int(end) - Int(offset) - count)) }

    /// What a packet with all its `count` bytes in a head of that size costs (`alloc_skb`).
    static func head(of count: Int) -> UInt32 {
        let needed = (count + 63) & ~63 + sharedInfo
        return UInt32((needed <= 704 ? 704 : slab(count)) + buffer)
    }

    /// The slab of a head that holds `count` bytes, a power of two (`kmalloc_reserve`).
    @inline(__always)
    private static func slab(_ count: Int) -> Int {
        let needed = (count + 63) & ~63 + sharedInfo
        return 1 << (Int.bitWidth - (needed - 1).leadingZeroBitCount)
    }
}
