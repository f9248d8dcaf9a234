import Testing

@testable import HairpinWire

@Suite struct ChecksumTests {
    /// RFC 1071 §4.1, word by word.
    static func naive(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for at in stride(from: 0, to: bytes.count, by: 2) {
            sum += UInt32(bytes[at]) << 8 | (at + 1 < bytes.count ? UInt32(bytes[at + 1]) : 0)
            if sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
        }
        return ~UInt16(sum)
    }

    static func full(_ bytes: [UInt8]) -> UInt16 { bytes.withUnsafeBytes { InternetChecksum.checksum($0) } }

    @Test("the example of RFC 1071 §3")
    func example() { #expect(ChecksumTests.full([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]) == ~0xddf2) }

    @Test("every length and alignment agrees with the naive sum")
    func lengths() {
        var random = SplitMix(state: 1)
        let bytes = (0..<1600).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        for count in Array(0...130) + [576, 1459, 1460, 1500] {
            for start in 0..<4 {
                let part = Array(bytes[start..<start + count])
                bytes.withUnsafeBytes { #expect(InternetChecksum.checksum(UnsafeRawBufferPointer(rebasing: $0[start..<start + count])) == ChecksumTests.naive(part)) }
            }
        }
    }

    @Test("words add up the same with and without the processor's wide registers")
    func wide() {
        var random = SplitMix(state: 2)
        let bytes = (0..<2048).map { n in n < 512 ? 0xff : UInt8(truncatingIfNeeded: random.next()) }
        bytes.withUnsafeBytes {
            for count in stride(from: 0, through: 1984, by: 64) {
                for start in [0, 1, 32, 63] {
                    let base = $0.baseAddress! + start
                    #expect(InternetChecksum.sumOfWords(base, count: count) == InternetChecksum.portableSumOfWords(base, count: count))
                }
            }
        }
    }

    @Test("all ones do not overflow the sum")
    func saturation() {
        let bytes = [UInt8](repeating: 0xff, count: 65535)
        #expect(ChecksumTests.full(bytes) == ChecksumTests.naive(bytes))
    }

    @Test("the sum of the parts is the sum of the whole, if the first part is even")
    func parts() {
        var random = SplitMix(state: 2)
        let bytes = (0..<999).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        bytes.withUnsafeBytes { whole in
            let first = InternetChecksum.sum(UnsafeRawBufferPointer(rebasing: whole[..<420]))
            #expect(InternetChecksum.checksum(UnsafeRawBufferPointer(rebasing: whole[420...]), initial: first) == InternetChecksum.checksum(whole))
        }
    }

    @Test("an incremental update equals the full sum (RFC 1624)")
    func incremental() {
        var random = SplitMix(state: 3)
        for _ in 0..<2000 {
            var bytes = (0..<40).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            let before = ChecksumTests.full(bytes)
            let at = Int(random.next() % 9) * 4
            let old32 = bytes.withUnsafeBytes { $0.baseAddress!.u32(at) }
            let new32 = UInt32(truncatingIfNeeded: random.next())
            bytes.withUnsafeMutableBytes { $0.baseAddress!.put(new32, at: at) }
            let middle = ChecksumTests.full(bytes)
            #expect(InternetChecksum.update(before, from: old32, to: new32) == middle)
            let old16 = bytes.withUnsafeBytes { $0.baseAddress!.u16(at) }
            let new16 = UInt16(truncatingIfNeeded: random.next())
            bytes.withUnsafeMutableBytes { $0.baseAddress!.put(new16, at: at) }
            #expect(InternetChecksum.update(middle, from: old16, to: new16) == ChecksumTests.full(bytes))
        }
    }

    @Test("the case RFC 1624 was written for: no minus zero appears")
    func minusZero() {
        // RFC 1624 §4: checksum 0xdd2f, a word changes from 0x5555 to 0x3285, the result is zero and not 0xffff.
        #expect(InternetChecksum.update(UInt16(0xdd2f), from: UInt16(0x5555), to: UInt16(0x3285)) == 0)
    }
}

/// A small generator, so that failures repeat.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}
