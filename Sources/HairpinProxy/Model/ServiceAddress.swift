import HairpinWire

/// An IPv4 or IPv6 address of a Service, an endpoint or a client; IPv4 as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2).
public struct ServiceAddress: Hashable, Comparable, Sendable, CustomStringConvertible {
    public let high: UInt64
    public let low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
    public init(_ address: IPv4Address) { self.init(high: 0, low: 0xffff_0000_0000 | UInt64(address.rawValue)) }

    /// Dotted decimal, or the groups of RFC 4291 §2.2 with at most one `::`; nil for anything else.
    public init?(_ text: some StringProtocol) {
        if let address = IPv4Address(text) {
            self.init(address)
            return
        }
        guard let groups = ServiceAddress.groups(String(text)) else { return nil }
        var value: UInt128 = 0
        for group in groups { value = value << 16 | UInt128(group) }
        self.init(high: UInt64(truncatingIfNeeded: value >> 64), low: UInt64(truncatingIfNeeded: value))
    }

    private static func groups(_ text: String) -> [UInt16]? {
        func part(_ text: Substring) -> [UInt16]? {
            if text.isEmpty { return [] }
            var result: [UInt16] = []
            for piece in text.split(separator: ":", omittingEmptySubsequences: false) {
                guard !piece.isEmpty, piece.utf8.count <= 4, let group = UInt16(piece, radix: 16) else { return nil }
                result.append(group)
            }
            return result
        }
        var gap: String.Index?
        var index = text.startIndex
        while index < text.endIndex {
            if text[index...].hasPrefix("::") {
                guard gap == nil else { return nil }
                gap = index
                index = text.index(after: index)
            }
            index = text.index(after: index)
        }
        guard let gap else {
            guard let all = part(text[...]), all.count == 8 else { return nil }
            return all
        }
        guard let front = part(text[..<gap]), let back = part(text[text.index(gap, offsetBy: 2)...]), front.count + back.count < 8 else { return nil }
        return front + [UInt16](repeating: 0, count: 8 - front.count - back.count) + back
    }

    public var ipv4: IPv4Address? { high == 0 && low >> 32 == 0xffff ? IPv4Address(rawValue: UInt32(truncatingIfNeeded: low)) : nil }
    /// 127.0.0.0/8 or ::1.
    public var isLoopback: Bool { ipv4?.isLoopback ?? (high == 0 && low == 1) }
    public var value: UInt128 { UInt128(high) << 64 | UInt128(low) }
    public static func < (a: ServiceAddress, b: ServiceAddress) -> Bool { (a.high, a.low) < (b.high, b.low) }
    public var description: String { ipv4?.description ?? IPv6Address(high: high, low: low).description }
    /// "10.0.0.1:80", "[fd00::1]:80".
    public func with(port: UInt16) -> String { ipv4 != nil ? "\(self):\(port)" : "[\(self)]:\(port)" }
    /// "10.0.0.1/32", "fd00::1/128".
    public var prefixText: String { ipv4 != nil ? "\(self)/32" : "\(self)/128" }
}

/// A prefix of either family.
public struct ServicePrefix: Hashable, Sendable, CustomStringConvertible {
    public let network: ServiceAddress
    /// Of the 128-bit form: an IPv4 /24 is 120.
    private let bits: Int
    private let mask: UInt128

    public init(_ address: ServiceAddress, length: Int) {
        bits = address.ipv4 != nil ? 96 + length : length
        precondition(0...128 ~= bits, "prefix length out of range")
        mask = bits == 0 ? 0 : ~UInt128(0) << UInt128(128 - bits)
        let value = address.value & mask
        network = ServiceAddress(high: UInt64(truncatingIfNeeded: value >> 64), low: UInt64(truncatingIfNeeded: value))
    }
    public init(_ prefix: IPv4Prefix) { self.init(ServiceAddress(prefix.network), length: prefix.length) }

    /// `address/length`, or an address alone.
    public init?(_ text: some StringProtocol) {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count <= 2, let address = ServiceAddress(halves[0]) else { return nil }
        let whole = address.ipv4 != nil ? 32 : 128
        guard halves.count == 2 else {
            self.init(address, length: whole)
            return
        }
        guard let length = Int(halves[1]), 0...whole ~= length else { return nil }
        self.init(address, length: length)
    }

    public func contains(_ address: ServiceAddress) -> Bool { address.value & mask == network.value }
    public var isIPv4: Bool { bits >= 96 && network.ipv4 != nil }
    public var length: Int { isIPv4 ? bits - 96 : bits }
    /// 0.0.0.0/0 or ::/0.
    public var isEverything: Bool { length == 0 }
    public var description: String { "\(network)/\(length)" }
}
