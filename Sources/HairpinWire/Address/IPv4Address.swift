/// A 32-bit IPv4 address in host order.
@frozen
public struct IPv4Address: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var rawValue: UInt32

    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }
    @inlinable public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
        rawValue = UInt32(a) << 24 | UInt32(b) << 16 | UInt32(c) << 8 | UInt32(d)
    }

    // Computed, so that other modules see the constant and not a global that is made on first use.
    @inlinable public static var any: IPv4Address { IPv4Address(rawValue: 0) }
    @inlinable public static var broadcast: IPv4Address { IPv4Address(rawValue: 0xffff_ffff) }
    @inlinable public static var loopback: IPv4Address { IPv4Address(rawValue: 0x7f00_0001) }

    /// 127.0.0.0/8 (RFC 1122 §3.2.1.3).
    @inlinable public var isLoopback: Bool { rawValue >> 24 == 127 }
    /// 224.0.0.0/4 (RFC 1112 §4).
    @inlinable public var isMulticast: Bool { rawValue >> 28 == 0xe }
    @inlinable public var isBroadcast: Bool { rawValue == 0xffff_ffff }

    @inlinable public static func < (a: IPv4Address, b: IPv4Address) -> Bool { a.rawValue < b.rawValue }

    /// Parses dotted-decimal text with exactly four parts and no leading zeros; nil for anything else.
    public init?(_ text: some StringProtocol) {
        var value: UInt32 = 0
        var parts = 0
        for part in text.split(separator: ".", omittingEmptySubsequences: false) {
            guard parts < 4, let byte = UInt8(part), String(byte) == part else { return nil }
            value = value << 8 | UInt32(byte)
            parts += 1
        }
        guard parts == 4 else { return nil }
        self.init(rawValue: value)
    }

    public var description: String {
        "\(rawValue >> 24).\(rawValue >> 16 & 0xff).\(rawValue >> 8 & 0xff).\(rawValue & 0xff)"
    }
}

/// An IPv4 prefix such as `10.244.0.0/24`; the bits after the prefix are zero.
@frozen
public struct IPv4Prefix: Hashable, Sendable, CustomStringConvertible {
    public let network: IPv4Address
    public let length: Int

    /// The prefix of `length` bits that contains `address`. `length` must be in 0...32.
    @inlinable public init(_ address: IPv4Address, length: Int) {
        precondition(0...32 ~= length, "prefix length out of range")
        network = IPv4Address(rawValue: address.rawValue & IPv4Prefix.mask(length))
        self.length = length
    }

    /// Parses `a.b.c.d/n`, or a bare address as a /32.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let address = IPv4Address(parts[0]) else { return nil }
        guard parts.count == 2 else {
            self.init(address, length: 32)
            return
        }
        guard let length = Int(parts[1]), 0...32 ~= length else { return nil }
        self.init(address, length: length)
    }

    @inlinable public static func mask(_ length: Int) -> UInt32 { length == 0 ? 0 : ~0 << (32 - UInt32(length)) }
    @inlinable public var netmask: IPv4Address { IPv4Address(rawValue: IPv4Prefix.mask(length)) }
    /// The last address of the prefix.
    @inlinable public var broadcast: IPv4Address { IPv4Address(rawValue: network.rawValue | ~IPv4Prefix.mask(length)) }
    @inlinable public func contains(_ address: IPv4Address) -> Bool {
        address.rawValue & IPv4Prefix.mask(length) == network.rawValue
    }
    public var description: String { "\(network)/\(length)" }
}

/// An address together with the prefix length of its network, as on an interface: `10.244.0.2/24`.
@frozen
public struct IPv4InterfaceAddress: Hashable, Sendable, CustomStringConvertible {
    public let address: IPv4Address
    public let prefix: IPv4Prefix

    @inlinable public init(_ address: IPv4Address, prefixLength: Int) {
        self.address = address
        prefix = IPv4Prefix(address, length: prefixLength)
    }
    public init?(_ text: some StringProtocol) {
        guard let slash = text.firstIndex(of: "/"), let address = IPv4Address(text[..<slash]), let prefix = IPv4Prefix(text) else { return nil }
        self.address = address
        self.prefix = prefix
    }
    public var description: String { "\(address)/\(prefix.length)" }
}
