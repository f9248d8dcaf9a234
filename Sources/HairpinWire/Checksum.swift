import CProcessor

/// The Internet checksum, full (RFC 1071) and incremental (RFC 1624).
public enum InternetChecksum {
    /// The one's complement sum of the bytes as 16-bit big-endian words, not yet folded or complemented.
    /// `initial` carries the sum of an even number of bytes that come before (a pseudo header, say).
    @inlinable
    public static func sum(_ bytes: UnsafeRawBufferPointer, initial: UInt64 = 0) -> UInt64 {
        guard let base = bytes.baseAddress else { return initial }
        // One's complement addition is byte-order independent (RFC 1071 §2 B): add native 32-bit words, swap once.
        let count = bytes.count
        var offset = count >= 64 ? count & ~63 : 0
        var a = offset > 0 ? sumOfWords(base, count: offset) : 0
        while offset &+ 4 <= count {
            a &+= UInt64(base.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
            offset &+= 4
        }
        while offset &+ 2 <= count {
            a &+= UInt64(base.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
            offset &+= 2
        }
        if offset < count { a &+= UInt64(UInt16(littleEndian: UInt16(base.load(fromByteOffset: offset, as: UInt8.self)))) }
        return initial &+ UInt64(fold(a).bigEndian)
    }

    /// The sum of the native 32-bit words of `count` bytes, a multiple of 64.
    @usableFromInline
    static func sumOfWords(_ base: UnsafeRawPointer, count: Int) -> UInt64 {
        hairpin_has_wide_sum() != 0 ? hairpin_wide_sum(base, UInt(count)) : portableSumOfWords(base, count: count)
    }

    /// The same on any processor.
    static func portableSumOfWords(_ base: UnsafeRawPointer, count: Int) -> UInt64 {
        // Lanes of 64 bits are added as they are and their upper halves once more: what the sum of whole lanes has lost beyond 64 bits is the sum
        // of upper halves, shifted.
        var whole = SIMD4<UInt64>.zero
        var upper = SIMD4<UInt64>.zero
        var offset = 0
        while offset < count {
            let lanes = base.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt64>.self)
            whole &+= lanes
            upper &+= lanes &>> 32
            offset &+= 32
        }
        let lower = whole &- (upper &<< 32)
        return lower.wrappedSum() &+ upper.wrappedSum()
    }

    /// Folds a sum to 16 bits with end-around carry.
    @inlinable
    public static func fold(_ sum: UInt64) -> UInt16 {
        var s = (sum & 0xffff_ffff) &+ (sum >> 32)
        s = (s & 0xffff) &+ (s >> 16)
        s = (s & 0xffff) &+ (s >> 16)
        s = (s & 0xffff) &+ (s >> 16)
        return UInt16(truncatingIfNeeded: s)
    }

    /// The checksum field for bytes whose own checksum field holds zero.
    @inlinable
    public static func checksum(_ bytes: UnsafeRawBufferPointer, initial: UInt64 = 0) -> UInt16 { ~fold(sum(bytes, initial: initial)) }

    /// The sum of the TCP and UDP pseudo header (RFC 9293 §3.1, RFC 768).
    @inlinable
    public static func pseudoHeader(source: IPv4Address, destination: IPv4Address, protocol number: UInt8, length: Int) -> UInt64 {
        UInt64(source.rawValue >> 16) &+ UInt64(source.rawValue & 0xffff) &+ UInt64(destination.rawValue >> 16)
            &+ UInt64(destination.rawValue & 0xffff) &+ UInt64(number) &+ UInt64(length)
    }

    /// The new checksum after a 16-bit word changed from `old` to `new` (RFC 1624 equation 3).
    @inlinable
    public static func update(_ checksum: UInt16, from old: UInt16, to new: UInt16) -> UInt16 {
        update(checksum, by: change(from: old, to: new))
    }

    /// The new checksum after a 32-bit word changed.
    @inlinable
    public static func update(_ checksum: UInt16, from old: UInt32, to new: UInt32) -> UInt16 { update(checksum, by: change(from: old, to: new)) }

    /// What a change of a 32-bit word adds to a sum, for checksums that cover the same word. The upper half counts as much as the lower: 2^16 is 1 in this
    /// arithmetic.
    @inlinable
    public static func change(from old: UInt32, to new: UInt32) -> UInt64 { UInt64(~old) &+ UInt64(new) }
    /// Of a 16-bit word.
    @inlinable
    public static func change(from old: UInt16, to new: UInt16) -> UInt64 { UInt64(~old) &+ UInt64(new) }

    /// The new checksum after changes that add so much to the sum (RFC 1624 equation 3).
    @inlinable
    public static func update(_ checksum: UInt16, by change: UInt64) -> UInt16 { ~fold(UInt64(~checksum) &+ change) }
}
