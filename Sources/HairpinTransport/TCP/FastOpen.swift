import HairpinEngine
import HairpinWire

/// TCP Fast Open (RFC 7413): cookies of the server.
extension TransportSettings {
    /// `__tcp_fastopen_cookie_gen_cipher`: SipHash-2-4 over both addresses as they stand in the SYN, little-endian.
    public func fastOpenCookie(client: IPv4Address, server: IPv4Address) -> [UInt8] {
        let message = UInt64(client.rawValue.byteSwapped) | UInt64(server.rawValue.byteSwapped) << 32
        var hash = SipHash24(tcp_fastopen_key)
        hash.add(message)
        let value = hash.finish(byteCount: 8)
        return (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
    }
}

/// SipHash-2-4 (Aumasson and Bernstein, 2012) over whole 64-bit words.
struct SipHash24 {
    private var v: (UInt64, UInt64, UInt64, UInt64)

    init(_ key: (UInt64, UInt64)) {
        v = (key.0 ^ 0x736f_6d65_7073_6575, key.1 ^ 0x646f_7261_6e64_6f6d, key.0 ^ 0x6c79_6765_6e65_7261, key.1 ^ 0x7465_6462_7974_6573)
    }

    private static func rotate(_ x: UInt64, _ n: UInt64) -> UInt64 { x << n | x >> (64 - n) }

    private mutating func round() {
        v.0 = v.0 &+ v.1
        v.1 = SipHash24.rotate(v.1, 13) ^ v.0
        v.0 = SipHash24.rotate(v.0, 32)
        v.2 = v.2 &+ v.3
        v.3 = SipHash24.rotate(v.3, 16) ^ v.2
        v.0 = v.0 &+ v.3
        v.3 = SipHash24.rotate(v.3, 21) ^ v.0
        v.2 = v.2 &+ v.1
        v.1 = SipHash24.rotate(v.1, 17) ^ v.2
        v.2 = SipHash24.rotate(v.2, 32)
    }

    mutating func add(_ word: UInt64) {
        v.3 ^= word
        round()
        round()
        v.0 ^= word
    }

    mutating func finish(byteCount: Int) -> UInt64 {
        add(UInt64(byteCount & 255) << 56)
        v.2 ^= 0xff
        for _ in 0..<4 { round() }
        return v.0 ^ v.1 ^ v.2 ^ v.3
    }
}
