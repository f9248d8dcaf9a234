/// SHA-256 (FIPS 180-4), for naming bytes: captures' files, kube-proxy's chains. Not for secrets: it is neither fast nor constant in time.
public struct SHA256: Sendable {
    private var state: [UInt32] = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19]
    private var rest: [UInt8] = []
    private var byteCount: UInt64 = 0

    public init() {}

    /// The 32 bytes for a whole message.
    public static func digest(_ message: [UInt8]) -> [UInt8] {
        var hash = SHA256()
        hash.update(message)
        return hash.finish()
    }

    /// A digest in hexadecimal, as sha256sum prints it.
    public static func hexadecimal(_ digest: [UInt8]) -> String { digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }

    /// Takes more of the message; in as many pieces as one likes.
    public mutating func update(_ bytes: [UInt8]) {
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

    /// The digest of everything `update` was given, 32 bytes. Nothing may be added afterwards.
    public mutating func finish() -> [UInt8] {
        let bitCount = byteCount * 8
        var tail: [UInt8] = [0x80]
        while (rest.count + tail.count) % 64 != 56 { tail.append(0) }
        for shift in stride(from: UInt64(56), through: 0, by: -8) { tail.append(UInt8(truncatingIfNeeded: bitCount >> shift)) }
        update(tail)
        return state.flatMap { word in stride(from: UInt32(24), through: 0, by: -8).map { UInt8(truncatingIfNeeded: word >> $0) } }
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
                let t1 = h &+ s1 &+ (e & f ^ ~e & g) &+ SHA256.constants[i] &+ w[i]
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
