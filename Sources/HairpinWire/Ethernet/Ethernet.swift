/// The type field of an Ethernet frame (IANA "IEEE 802 Numbers").
@frozen
public struct EtherType: Hashable, Sendable {
    public let rawValue: UInt16
    @inlinable public init(_ rawValue: UInt16) { self.rawValue = rawValue }
    @inlinable public static var ipv4: EtherType { EtherType(0x0800) }
    @inlinable public static var arp: EtherType { EtherType(0x0806) }
    @inlinable public static var vlan: EtherType { EtherType(0x8100) }
    @inlinable public static var providerVLAN: EtherType { EtherType(0x88a8) }
    @inlinable public static var ipv6: EtherType { EtherType(0x86dd) }
    /// IEEE Std 802 Local Experimental EtherType 1.
    @inlinable public static var localExperimental: EtherType { EtherType(0x88b5) }
}

/// Byte offsets of an Ethernet II header.
public enum EthernetOffset {
    public static let destination = 0
    public static let source = 6
    public static let type = 12
    public static let payload = 14
}

/// A checked look at an Ethernet frame. The view is valid as long as the bytes are and their length does not shrink.
@frozen
public struct EthernetView {
    public let bytes: UnsafeRawBufferPointer
    @usableFromInline let base: UnsafeRawPointer

    /// Nil if there are fewer than 14 bytes.
    @inlinable public init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= EthernetOffset.payload, let base = bytes.baseAddress else { return nil }
        self.bytes = bytes
        self.base = base
    }
    @inlinable public var destination: MACAddress { base.mac(EthernetOffset.destination) }
    @inlinable public var source: MACAddress { base.mac(EthernetOffset.source) }
    /// The outermost type field: `.vlan` for a tagged frame.
    @inlinable public var type: EtherType { EtherType(base.u16(EthernetOffset.type)) }

    /// The 802.1Q tags (at most two, IEEE 802.1ad), the type behind them and the offset of the payload. Truncated tags give the tag's own type.
    @inlinable public var payload: (type: EtherType, offset: Int, vlan: UInt16?) {
        var type = self.type
        var offset = EthernetOffset.payload
        var vlan: UInt16?
        var tags = 0
        while tags < 2, type == .vlan || type == .providerVLAN, bytes.count >= offset + 4 {
            if vlan == nil { vlan = base.u16(offset) & 0x0fff }
            type = EtherType(base.u16(offset + 2))
            offset += 4
            tags += 1
        }
        return (type, offset, vlan)
    }
}

/// An Ethernet II header as a value.
@frozen
public struct EthernetHeader: Hashable, Sendable {
    public static let byteCount = 14
    public var destination: MACAddress
    public var source: MACAddress
    public var type: EtherType

    @inlinable public init(destination: MACAddress, source: MACAddress, type: EtherType) {
        self.destination = destination
        self.source = source
        self.type = type
    }
    @inlinable public func emit(to p: UnsafeMutableRawPointer) {
        p.put(destination, at: EthernetOffset.destination)
        p.put(source, at: EthernetOffset.source)
        p.put(type.rawValue, at: EthernetOffset.type)
    }
}
