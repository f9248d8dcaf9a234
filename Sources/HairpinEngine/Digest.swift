/// A running hash of everything observable, to compare runs: FNV-1a over 64-bit words. Not cryptographic.
@frozen
public struct Digest: Hashable, Sendable {
    @usableFromInline var state: UInt64 = 0xcbf2_9ce4_8422_2325
    public var value: UInt64 { state }
    public init() {}
    public mutating func combine(_ word: UInt64) {
        state = (state ^ word) &* 0x0000_0100_0000_01b3
        state ^= state >> 29
    }
    /// Two words at the price of one.
    @inlinable @inline(__always)
    public mutating func combine(_ first: UInt64, _ second: UInt64) {
        state = ((state &<< 29 | state &>> 35) ^ first) &* 0x9e37_79b9_7f4a_7c15 ^ second
    }
    public mutating func combine(_ bytes: UnsafeRawBufferPointer) {
        var offset = 0
        while offset + 8 <= bytes.count {
            combine(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
            offset += 8
        }
        var tail: UInt64 = UInt64(bytes.count) << 56
        while offset < bytes.count {
            tail = tail << 8 | UInt64(bytes[offset])
            offset += 1
        }
        combine(tail)
    }
}
