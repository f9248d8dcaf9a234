import Foundation

/// SHA-256 (FIPS 180-4) of files, so that a result names the bytes it stands for.
struct FileDigest {
    private var state: [UInt32] = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19]
    private var rest: [UInt8] = []
    private var byteCount: UInt64 = 0

    /// In hexadecimal, as sha256sum prints it.
    static func sha256(_ bytes: [UInt8]) -> String {
        var digest = FileDigest()
        digest.update(bytes)
        return digest.finish()
    }

    static func sha256(file path: String) throws(Failure) -> String {
        guard let handle = FileHandle(forReadingAtPath: path) else { throw Failure(.output, "\(path): cannot be read back") }
        defer { try? handle.close() }
        var digest = FileDigest()
        do {
            while let part = try handle.read(upToCount: 1 << 20), !part.isEmpty { digest.update([UInt8](part)) }
        } catch {
            throw Failure(.output, "\(path): cannot be read back")
        }
        return digest.finish()
    }

    private mutating func update(_ bytes: [UInt8]) {
        byteCount += UInt64(bytes.count)
        var start = 0
        if !rest.isEmpty {
            start = min(64 - rest.count, bytes.count)
            rest += bytes[..<start]
            guard rest.count == 64 else { return }
            let block = rest
            block.withUnsafeBytes { compress($0) }
            rest.removeAll()
        }
        let whole = start + (bytes.count - start) / 64 * 64
        bytes.withUnsafeBytes { buffer in
            for place in stride(from: start, to: whole, by: 64) { compress(UnsafeRawBufferPointer(rebasing: buffer[place..<place + 64])) }
        }
        rest += bytes[whole...]
    }

    private mutating func finish() -> String {
        let bitCount = byteCount * 8
        var tail: [UInt8] = [0x80]
        while (rest.count + tail.count) % 64 != 56 { tail.append(0) }
        for shift in stride(from: UInt64(56), through: 0, by: -8) { tail.append(UInt8(truncatingIfNeeded: bitCount >> shift)) }
        update(tail)
        return state.map { word in String(repeating: "0", count: word.leadingZeroBitCount / 4 - (word == 0 ? 1 : 0)) + String(word, radix: 16) }.joined()
    }

    /// One block of 64 bytes (§6.2.2).
    private mutating func compress(_ block: UnsafeRawBufferPointer) {
        withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 64) { w in
            for i in 0..<16 { w[i] = UInt32(bigEndian: block.loadUnaligned(fromByteOffset: i * 4, as: UInt32.self)) }
            for i in 16..<64 {
                let a = w[i - 15]
                let b = w[i - 2]
                let s0 = (a >> 7 | a << 25) ^ (a >> 18 | a << 14) ^ a >> 3
                let s1 = (b >> 17 | b << 15) ^ (b >> 19 | b << 13) ^ b >> 10
                w[i] = w[i - 16] &+ s0 &+ w[i - 7] &+ s1
            }
            var (a, b, c, d, e, f, g, h) = (state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7])
            for i in 0..<64 {
                let s1 = (e >> 6 | e << 26) ^ (e >> 11 | e << 21) ^ (e >> 25 | e << 7)
                let t1 = h &+ s1 &+ (e & f ^ ~e & g) &+ FileDigest.constants[i] &+ w[i]
                let s0 = (a >> 2 | a << 30) ^ (a >> 13 | a << 19) ^ (a >> 22 | a << 10)
                let t2 = s0 &+ (a & b ^ a & c ^ b & c)
                (h, g, f, e, d, c, b, a) = (g, f, e, d &+ t1, c, b, a, t1 &+ t2)
            }
            for (i, value) in [a, b, c, d, e, f, g, h].enumerated() { state[i] &+= value }
        }
    }

    /// The fractional parts of the cube roots of the first 64 primes (§4.2.2).
    private static let constants: [UInt32] = {
        var primes: [UInt64] = []
        var candidate: UInt64 = 2
        while primes.count < 64 {
            if !primes.contains(where: { candidate.isMultiple(of: $0) }) { primes.append(candidate) }
            candidate += 1
        }
        // floor(cbrt(p) · 2³²) by bisection: x³ ≤ p · 2⁹⁶, in 128-bit arithmetic.
        return primes.map { prime in
            var low: UInt128 = 0
            var high: UInt128 = 1 << 36
            let target = UInt128(prime) << 96
            while high - low > 1 {
                let middle = (low + high) / 2
                if middle * middle * middle <= target { low = middle } else { high = middle }
            }
            return UInt32(truncatingIfNeeded: low)
        }
    }()
}
