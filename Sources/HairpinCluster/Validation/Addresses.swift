import Foundation
import HairpinWire

/// An address of either family, as the API server's older fields take it (`ParseIPSloppy`): zeros may lead the parts of an IPv4 address, which are decimal all the same.
enum AnyAddress: Hashable, CustomStringConvertible {
    case v4(IPv4Address)
    case v6(IPv6Address)

    init?(_ text: String) {
        if !text.contains(":") {
            var raw: UInt32 = 0
            let parts = text.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == 4 else { return nil }
            for part in parts {
                guard (1...255).contains(part.utf8.count), part.utf8.allSatisfy({ (48...57).contains($0) }), let byte = UInt8(part) else { return nil }
                raw = raw << 8 | UInt32(byte)
            }
            self = .v4(IPv4Address(rawValue: raw))
            return
        }
        var bytes = in6_addr()
        guard inet_pton(AF_INET6, text, &bytes) == 1 else { return nil }
        let address = withUnsafeBytes(of: &bytes) { IPv6Address(loading: $0.baseAddress!) }
        // An IPv4 address in IPv6's clothes (RFC 4291 §2.5.5.2) counts as what it is.
        self = address.high == 0 && address.low >> 32 == 0xffff ? .v4(IPv4Address(rawValue: UInt32(truncatingIfNeeded: address.low))) : .v6(address)
    }

    var v4: IPv4Address? { if case .v4(let address) = self { address } else { nil } }
    var description: String {
        switch self {
        case .v4(let address): address.description
        case .v6(let address): address.description
        }
    }
    var isUnspecified: Bool { self == .v4(.any) || self == .v6(IPv6Address(high: 0, low: 0)) }
    var isLoopback: Bool {
        switch self {
        case .v4(let address): address.isLoopback
        case .v6(let address): address == IPv6Address(high: 0, low: 1)
        }
    }
    /// 169.254.0.0/16 and fe80::/10.
    var isLinkLocal: Bool {
        switch self {
        case .v4(let address): address.rawValue >> 16 == 0xa9fe
        case .v6(let address): address.high >> 54 == 0xfe80 >> 6
        }
    }
    /// 224.0.0.0/24 and ff02::/16 (RFC 4291 §2.7: scope 2).
    var isLinkLocalMulticast: Bool {
        switch self {
        case .v4(let address): address.rawValue >> 8 == 0xe00000
        case .v6(let address): address.high >> 48 & 0xff0f == 0xff02
        }
    }
}

/// A prefix of either family (`ParseCIDRSloppy`); bits may be set after its length.
enum AnyPrefix: Hashable {
    case v4(IPv4Prefix)
    case v6(IPv6Address, length: Int)

    init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, let address = AnyAddress(parts[0]), !parts[1].isEmpty, parts[1].utf8.count <= 3, parts[1].utf8.allSatisfy({ (48...57).contains($0) }),
            let length = Int(parts[1])
        else { return nil }
        switch address {
        case .v4(let address) where !parts[0].contains(":"):
            guard length <= 32 else { return nil }
            self = .v4(IPv4Prefix(address, length: length))
        case .v4(let address):
            guard 96...128 ~= length else { return nil }
            self = .v4(IPv4Prefix(address, length: length - 96))
        case .v6(let address):
            guard length <= 128 else { return nil }
            let high: UInt64 = length >= 64 ? ~0 : length == 0 ? 0 : ~0 << (64 - UInt64(length))
            let low: UInt64 = length <= 64 ? 0 : ~0 << (128 - UInt64(length))
            self = .v6(IPv6Address(high: address.high & high, low: address.low & low), length: length)
        }
    }

    var v4: IPv4Prefix? { if case .v4(let prefix) = self { prefix } else { nil } }
    /// Inside the other and longer than it.
    func isStrictlyWithin(_ other: AnyPrefix) -> Bool {
        switch (self, other) {
        case (.v4(let inner), .v4(let outer)): return outer.contains(inner.network) && inner.length > outer.length
        case (.v6(let inner, let length), .v6(_, let outerLength)):
            return length > outerLength && AnyPrefix("\(inner)/\(outerLength)") == other
        default: return false
        }
    }
}

extension ObjectField {
    /// `IsValidIPForLegacyField`. Nil when it is none, which is then said.
    @discardableResult func validAddress() -> AnyAddress? {
        if let address = AnyAddress(text) { return address }
        invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")
        return nil
    }
    /// `IsValidCIDRForLegacyField`.
    @discardableResult func validPrefix() -> AnyPrefix? {
        if let prefix = AnyPrefix(text) { return prefix }
        invalid("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")
        return nil
    }
    /// `ValidateEndpointIP`, of endpoints and external addresses: what would lead back to the node itself, or to whoever happens to be on its link.
    func notSpecial() {
        guard let address = AnyAddress(text) else { return invalid("must be a valid IP address") }
        if address.isUnspecified { invalid("may not be unspecified (\(text))") }
        if address.isLoopback { invalid("may not be in the loopback range (127.0.0.0/8, ::1/128)") }
        if address.isLinkLocal { invalid("may not be in the link-local range (169.254.0.0/16, fe80::/10)") }
        if address.isLinkLocalMulticast { invalid("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)") }
    }
}
