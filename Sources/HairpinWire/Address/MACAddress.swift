/// A 48-bit Ethernet address (IEEE 802.3), kept as a number whose most significant byte is the first on the wire.
@frozen
public struct MACAddress: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The 48 address bits; the 16 upper bits are zero.
    public var rawValue: UInt64

    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue & 0xffff_ffff_ffff }

    @inlinable public static var zero: MACAddress { MACAddress(rawValue: 0) }
    @inlinable public static var broadcast: MACAddress { MACAddress(rawValue: 0xffff_ffff_ffff) }

    /// The CNI convention: `0a:58` followed by the four bytes of the IPv4 address.
    @inlinable public static func cni(_ address: IPv4Address) -> MACAddress {
        MACAddress(rawValue: 0x0a58 << 32 | UInt64(address.rawValue))
    }

    /// The group bit: broadcast and multicast addresses have it.
    @inlinable public var isMulticast: Bool { rawValue & 0x0100_0000_0000 != 0 }
    @inlinable public var isBroadcast: Bool { rawValue == 0xffff_ffff_ffff }

    @inlinable public static func < (a: MACAddress, b: MACAddress) -> Bool { a.rawValue < b.rawValue }

    /// Parses six two-digit groups separated by colons; nil for anything else.
    public init?(_ text: some StringProtocol) {
        let groups = text.split(separator: ":", omittingEmptySubsequences: false)
        guard groups.count == 6 else { return nil }
        var value: UInt64 = 0
        for group in groups {
            guard group.utf8.count == 2, let byte = UInt8(group, radix: 16) else { return nil }
            value = value << 8 | UInt64(byte)
        }
        self.init(rawValue: value)
    }

    public var description: String {
        (0..<6).map { hexadecimal(UInt8(truncatingIfNeeded: rawValue >> (40 - 8 * $0))) }.joined(separator: ":")
    }
}

func hexadecimal(_ byte: UInt8) -> String {
    let text = String(byte, radix: 16)
    return text.utf8.count == 1 ? "0" + text : text
}
