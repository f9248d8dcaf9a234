/// A stream of random numbers that depends on nothing but the simulation's seed and the stream's name: adding a pod does not change another
/// pod's numbers. SplitMix64 for seeding, xoshiro256** for the stream (Blackman and Vigna, public domain).
@frozen
public struct SeededRandom: RandomNumberGenerator, Sendable {
    @usableFromInline var s0: UInt64
    @usableFromInline var s1: UInt64
    @usableFromInline var s2: UInt64
    @usableFromInline var s3: UInt64

    /// The stream called `name` of the simulation with this `seed`.
    public init(seed: UInt64, name: String) {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325  // FNV-1a over the UTF-8 bytes: the same on every host
        for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        var state = seed &+ hash &* 0x9e37_79b9_7f4a_7c15
        func next() -> UInt64 {
            state &+= 0x9e37_79b9_7f4a_7c15
            var z = state
            z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
            z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
            return z ^ z >> 31
        }
        (s0, s1, s2, s3) = (next(), next(), next(), next())
    }

    @inlinable @inline(__always) public mutating func next() -> UInt64 {
        let product = s1 &* 5
        let result = (product << 7 | product >> 57) &* 9
        let t = s1 << 17
        s2 ^= s0
        s3 ^= s1
        s1 ^= s2
        s0 ^= s3
        s2 ^= t
        s3 = s3 << 45 | s3 >> 19
        return result
    }
    @inlinable public mutating func next32() -> UInt32 { UInt32(truncatingIfNeeded: next() >> 32) }
    @inlinable public mutating func next16() -> UInt16 { UInt16(truncatingIfNeeded: next() >> 48) }
    /// Uniform in `0..<bound` without bias worth measuring (Lemire's multiplication). `bound` must not be zero.
    @inlinable public mutating func below(_ bound: UInt32) -> UInt32 { UInt32(truncatingIfNeeded: (UInt64(next32()) &* UInt64(bound)) >> 32) }
}
