import CProcessor
import HairpinWire

/// One direction of a connection (`nf_conntrack_tuple`). For ICMP the source port is the identifier and the destination port holds type
/// and code.
struct ConnectionTuple: Hashable, Sendable {
    var source: UInt32 = 0
    var destination: UInt32 = 0
    var sourcePort: UInt16 = 0
    var destinationPort: UInt16 = 0
    var proto: UInt8 = 0

    var firstWord: UInt64 { UInt64(source) << 32 | UInt64(destination) }
    var secondWord: UInt64 { UInt64(sourcePort) << 32 | UInt64(destinationPort) << 16 | UInt64(proto) }
    var hash: UInt64 { ConnectionTuple.mix(firstWord, secondWord) }

    @inline(__always)
    static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = (a ^ 0x9e37_79b9_7f4a_7c15).multipliedFullWidth(by: b ^ 0xbf58_476d_1ce4_e5b9)
        let folded = (product.high ^ product.low) &* 0x94d0_49bb_1331_11eb
        return folded ^ folded >> 29
    }

    static func == (a: ConnectionTuple, b: ConnectionTuple) -> Bool { a.firstWord == b.firstWord && a.secondWord == b.secondWord }

    /// The tuple answers have (`nf_ct_invert_tuple`); an ICMP type without an answer stays.
    var inverse: ConnectionTuple {
        var result = ConnectionTuple(source: destination, destination: source, sourcePort: destinationPort, destinationPort: sourcePort, proto: proto)
        if proto == 1 {
            result.sourcePort = sourcePort
            let answer = ConnectionTuple.answer(toICMP: UInt8(destinationPort >> 8)) ?? UInt8(destinationPort >> 8)
            result.destinationPort = UInt16(answer) << 8 | destinationPort & 0xff
        }
        return result
    }

    /// Queries and their replies (`invmap` of nf_conntrack_proto_icmp).
    static func answer(toICMP type: UInt8) -> UInt8? {
        switch type {
        case 8: 0
        case 0: 8
        case 13: 14
        case 14: 13
        case 15: 16
        case 16: 15
        case 17: 18
        case 18: 17
        default: nil
        }
    }

    /// Nil for a later fragment, and for a header that is not all there.
    init?(_ packet: PacketHeaders) {
        guard !packet.isLaterFragment else { return nil }
        source = packet.source
        destination = packet.destination
        proto = packet.proto
        switch packet.proto {
        case 6, 17, 132, 136:
            guard packet.hasPorts else { return nil }
            sourcePort = packet.sourcePort
            destinationPort = packet.destinationPort
        case 1:
            guard packet.hasTransport else { return nil }
            sourcePort = packet.transport.u16(ICMPOffset.identifier)
            destinationPort = packet.transport.u16(ICMPOffset.type)
        default:
            break
        }
    }

    init(source: UInt32, destination: UInt32, sourcePort: UInt16, destinationPort: UInt16, proto: UInt8) {
        self.source = source
        self.destination = destination
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
        self.proto = proto
    }

    init() {}
}

/// An open-addressing hash of 64-bit cells in raw memory: the upper half holds the upper bits of the hash, which also say where the cell belongs, the
/// lower half a number above zero. Who owns it compares the keys behind the numbers. Load at most one half; deletion moves later cells back, so there
/// are no tombstones.
struct HashIndex {
    private var cells: UnsafeMutablePointer<UInt64>
    private(set) var capacity: Int
    private(set) var count = 0

    /// `capacity` must be a power of two.
    init(capacity: Int) {
        self.capacity = capacity
        cells = .allocate(capacity: capacity)
        cells.initialize(repeating: 0, count: capacity)
    }

    func deallocate() { cells.deallocate() }

    @inline(__always)
    private static func home(_ hash: UInt64, _ mask: Int) -> Int { Int(truncatingIfNeeded: hash >> 32) & mask }

    /// Asks for the cache line in which a search begins.
    @inline(__always)
    func prefetch(_ hash: UInt64) { hairpin_prefetch(cells + HashIndex.home(hash, capacity - 1)) }

    /// The first number under `hash` for which `matches` holds.
    @inline(__always)
    func find(_ hash: UInt64, _ matches: (UInt32) -> Bool) -> UInt32? {
        var slot = HashIndex.home(hash, capacity - 1)
        while cells[slot] != 0 {
            if cells[slot] >> 32 == hash >> 32 {
                let number = UInt32(truncatingIfNeeded: cells[slot])
                if matches(number) { return number }
            }
            slot = (slot + 1) & (capacity - 1)
        }
        return nil
    }

    /// Calls `body` with the numbers in `count` cells from where `hash` would be.
    func near(_ hash: UInt64, count: Int, _ body: (UInt32) -> Void) {
        for n in 0..<count {
            let cell = cells[(HashIndex.home(hash, capacity - 1) + n) & (capacity - 1)]
            if cell != 0 { body(UInt32(truncatingIfNeeded: cell)) }
        }
    }

    mutating func insert(_ hash: UInt64, _ number: UInt32) {
        if count * 2 >= capacity {
            let old = cells
            let oldCapacity = capacity
            capacity *= 2
            cells = .allocate(capacity: capacity)
            cells.initialize(repeating: 0, count: capacity)
            for n in 0..<oldCapacity where old[n] != 0 { place(old[n], UInt32(truncatingIfNeeded: old[n])) }
            old.deallocate()
        }
        place(hash, number)
        count += 1
    }

    private func place(_ hash: UInt64, _ number: UInt32) {
        var slot = HashIndex.home(hash, capacity - 1)
        while cells[slot] != 0 { slot = (slot + 1) & (capacity - 1) }
        cells[slot] = hash & 0xffff_ffff_0000_0000 | UInt64(number)
    }

    /// Does nothing if the number is not there.
    mutating func remove(_ hash: UInt64, _ number: UInt32) {
        let mask = capacity - 1
        var slot = HashIndex.home(hash, mask)
        while true {
            if cells[slot] == 0 { return }
            if UInt32(truncatingIfNeeded: cells[slot]) == number { break }
            slot = (slot + 1) & mask
        }
        var hole = slot
        var next = (slot + 1) & mask
        while cells[next] != 0 {
            let home = HashIndex.home(cells[next], mask)
            // A cell may fill the hole if its home does not lie between the hole and itself.
            if (next - home) & mask >= (next - hole) & mask {
                cells[hole] = cells[next]
                hole = next
            }
            next = (next + 1) & mask
        }
        cells[hole] = 0
        count -= 1
    }
}
