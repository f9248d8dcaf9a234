/// The table of IPVS's scheduler `mh` (ip_vs_mh.c): every server takes places of it in an order of its own, as often in a row as its weight, until the table is
/// full. A client's place is a hash of its address.
struct MaglevTable {
    /// `IP_VS_MH_TAB_SIZE` with the default CONFIG_IP_VS_MH_TAB_INDEX of 12, and half of that, `IP_VS_MH_TAB_BITS`.
    static let size = 4093
    private static let bits = 6

    /// Positions of servers by place; empty where no server has ever had a weight.
    private(set) var places: [Int32] = []

    /// - Parameter servers: In the order of the kernel's list: position, address, port and the last weight that was not zero.
    init(_ servers: [(index: Int, address: UInt32, port: UInt16, weight: Int)]) {
        let divisor = servers.reduce(0) { MaglevTable.commonDivisor($0, max(0, $1.weight)) }
        guard divisor > 0, servers.count <= MaglevTable.size else { return }
        let largest = (servers.map(\.weight).max() ?? 0) / divisor
        let shift = max(0, Int.bitWidth - largest.leadingZeroBitCount - MaglevTable.bits)
        var next = servers.map { MaglevTable.hash($0.address, $0.port, MaglevTable.firstKey) % UInt32(MaglevTable.size) }
        let skips = servers.map { MaglevTable.hash($0.address, $0.port, MaglevTable.secondKey) % UInt32(MaglevTable.size - 1) + 1 }
        let turns = servers.map { server in
            let turns = (max(0, server.weight) / divisor) >> shift
            return turns == 0 && server.weight > 0 ? 1 : turns
        }
        places = [Int32](repeating: -1, count: MaglevTable.size)
        var count = 0
        while true {
            for number in servers.indices {
                for _ in 0..<turns[number] {
                    while places[Int(next[number])] >= 0 { next[number] = (next[number] + skips[number]) % UInt32(MaglevTable.size) }
                    places[Int(next[number])] = Int32(servers[number].index)
                    count += 1
                    if count == MaglevTable.size { return }
                }
            }
        }
    }

    static func place(_ address: UInt32, _ port: UInt16, offset: Int = 0) -> Int {
        Int(hash(address, port, firstKey, offset: UInt32(offset)) % UInt32(size))
    }

    private static func commonDivisor(_ a: Int, _ b: Int) -> Int { b == 0 ? a : commonDivisor(b, a % b) }

    // MARK: hsiphash (lib/siphash.c, 64 bits)

    /// `generate_hash_secret`: both words of a key are the same.
    private static let firstKey: UInt64 = 2_654_435_761
    private static let secondKey: UInt64 = 2_654_446_892

    /// SipHash-1-3 of four bytes, cut to 32 bits (`hsiphash_1u32`).
    private static func hash(_ address: UInt32, _ port: UInt16, _ key: UInt64, offset: UInt32 = 0) -> UInt32 {
        let word = 4 << 56 | UInt64(offset &+ UInt32(port) &+ address)
        var v0 = 0x736f_6d65_7073_6575 ^ key
        var v1 = 0x646f_7261_6e64_6f6d ^ key
        var v2 = 0x6c79_6765_6e65_7261 ^ key
        var v3 = 0x7465_6462_7974_6573 ^ key ^ word
        func rotated(_ value: UInt64, _ count: UInt64) -> UInt64 { value << count | value >> (64 - count) }
        func round() {
            v0 = v0 &+ v1
            v1 = rotated(v1, 13) ^ v0
            v0 = rotated(v0, 32)
            v2 = v2 &+ v3
            v3 = rotated(v3, 16) ^ v2
            v0 = v0 &+ v3
            v3 = rotated(v3, 21) ^ v0
            v2 = v2 &+ v1
            v1 = rotated(v1, 17) ^ v2
            v2 = rotated(v2, 32)
        }
        round()
        v0 ^= word
        v2 ^= 0xff
        for _ in 0..<3 { round() }
        return UInt32(truncatingIfNeeded: v0 ^ v1 ^ v2 ^ v3)
    }
}
