import HairpinEngine
import HairpinWire

/// IPv4 identification for packets of no connected socket (`__ip_select_ident`): hashed counters that also move with time, so that they
/// tell little to an observer (RFC 7739 §5.3's third algorithm).
///
/// The key and the counters are made for the first packet; what they are depends on seed and name alone.
struct IdentificationCounters {
    private struct Bucket {
        var identification: UInt32
        var seen: UInt32  // in ticks of 4 ms
    }
    private static let bucketCount = 256
    private struct Secret {
        let key: UInt64
        var random: SeededRandom
    }
    private let seed: UInt64
    private let name: String
    /// A secret and, behind it, the buckets.
    private var made: UnsafeMutableRawPointer?

    init(seed: UInt64, name: String) {
        self.seed = seed
        self.name = name
    }
    func deallocate() { made?.deallocate() }

    private var memory: (secret: UnsafeMutablePointer<Secret>, buckets: UnsafeMutablePointer<Bucket>) {
        mutating get {
            let count = IdentificationCounters.bucketCount
            if let made {
                return (made.assumingMemoryBound(to: Secret.self), (made + MemoryLayout<Secret>.stride).assumingMemoryBound(to: Bucket.self))
            }
            let new = UnsafeMutableRawPointer.allocate(byteCount: MemoryLayout<Secret>.stride + count * MemoryLayout<Bucket>.stride, alignment: 16)
            let secret = new.bindMemory(to: Secret.self, capacity: 1)
            let buckets = (new + MemoryLayout<Secret>.stride).bindMemory(to: Bucket.self, capacity: count)
            var random = SeededRandom(seed: seed, name: "identification/\(name)")
            let key = random.next()
            for n in 0..<count { (buckets + n).initialize(to: Bucket(identification: random.next32(), seen: 0)) }
            secret.initialize(to: Secret(key: key, random: random))
            made = new
            return (secret, buckets)
        }
    }

    mutating func next(source: IPv4Address, destination: IPv4Address, proto: IPProtocol, now: Instant) -> UInt16 {
        let mixed = (UInt64(destination.rawValue) << 32 | UInt64(source.rawValue)) &+ UInt64(proto.rawValue) &* 0x9e37_79b9_7f4a_7c15
        let (secret, buckets) = memory
        let bucket = buckets + Int(((mixed ^ secret.pointee.key) &* 0xbf58_476d_1ce4_e5b9) >> 56)
        let tick = UInt32(truncatingIfNeeded: now.nanoseconds / 4_000_000)
        let gap = tick &- bucket.pointee.seen
        if gap > 0 {
            bucket.pointee.seen = tick
            bucket.pointee.identification &+= secret.pointee.random.below(gap)
        }
        bucket.pointee.identification &+= 1
        return UInt16(truncatingIfNeeded: bucket.pointee.identification)
    }
}
