import HairpinEngine
import HairpinWire

/// IPv4 identification for packets of no connected socket (`__ip_select_ident`): hashed counters that also move with time, so that they
/// tell little to an observer (RFC 7739 §5.3's third algorithm).
///
/// Counters take memory from the first packet on, with the numbers they would have had from the beginning.
struct IdentificationCounters {
    private struct Bucket {
        var identification: UInt32
        var seen: UInt32  // in ticks of 4 ms
    }
    private static let bucketCount = 256
    private var made: UnsafeMutablePointer<Bucket>?
    private let key: UInt64
    private var random: SeededRandom

    init(seed: UInt64, name: String) {
        random = SeededRandom(seed: seed, name: "identification/\(name)")
        key = random.next()
    }
    func deallocate() { made?.deallocate() }

    private var buckets: UnsafeMutablePointer<Bucket> {
        mutating get {
            if let made { return made }
            let buckets = UnsafeMutablePointer<Bucket>.allocate(capacity: IdentificationCounters.bucketCount)
            for n in 0..<IdentificationCounters.bucketCount { (buckets + n).initialize(to: Bucket(identification: random.next32(), seen: 0)) }
            made = buckets
            return buckets
        }
    }

    mutating func next(source: IPv4Address, destination: IPv4Address, proto: IPProtocol, now: Instant) -> UInt16 {
        let mixed = (UInt64(destination.rawValue) << 32 | UInt64(source.rawValue)) &+ UInt64(proto.rawValue) &* 0x9e37_79b9_7f4a_7c15
        let bucket = buckets + Int(((mixed ^ key) &* 0xbf58_476d_1ce4_e5b9) >> 56)
        let tick = UInt32(truncatingIfNeeded: now.nanoseconds / 4_000_000)
        let gap = tick &- bucket.pointee.seen
        if gap > 0 {
            bucket.pointee.seen = tick
            bucket.pointee.identification &+= random.below(gap)
        }
        bucket.pointee.identification &+= 1
        return UInt16(truncatingIfNeeded: bucket.pointee.identification)
    }
}
