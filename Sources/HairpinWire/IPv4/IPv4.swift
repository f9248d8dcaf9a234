/// An IP protocol number (IANA "Assigned Internet Protocol Numbers").
@frozen
public struct IPProtocol: Hashable, Sendable {
    public let rawValue: UInt8
    @inlinable public init(_ rawValue: UInt8) { self.rawValue = rawValue }
    @inlinable public static var icmp: IPProtocol { IPProtocol(1) }
    @inlinable public static var tcp: IPProtocol { IPProtocol(6) }
    @inlinable public static var udp: IPProtocol { IPProtocol(17) }
    @inlinable public static var sctp: IPProtocol { IPProtocol(132) }
}

/// Byte offsets and flag bits of an IPv4 header (RFC 791 §3.1).
public enum IPv4Offset {
    public static let versionAndLength = 0, typeOfService = 1, totalLength = 2, identification = 4, flagsAndOffset = 6
    public static let timeToLive = 8, proto = 9, checksum = 10, source = 12, destination = 16, options = 20
    public static let dontFragment: UInt16 = 0x4000, moreFragments: UInt16 = 0x2000, fragmentMask: UInt16 = 0x1fff
}

/// A checked look at an IPv4 packet: version, header length and total length are consistent with the bytes.
@frozen
public struct IPv4View {
    /// The packet without link-layer padding: exactly `totalLength` bytes.
    public let bytes: UnsafeRawBufferPointer
    @usableFromInline let base: UnsafeRawPointer

    /// Nil if the bytes do not start with a complete IPv4 packet (RFC 1122 §3.2.1.1; the checksum is not looked at).
    @inlinable public init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= 20, let base = bytes.baseAddress, base.u8(0) >> 4 == 4 else { return nil }
        let header = Int(base.u8(0) & 15) * 4
        let total = Int(base.u16(IPv4Offset.totalLength))
        guard header >= 20, total >= header, total <= bytes.count else { return nil }
        self.bytes = UnsafeRawBufferPointer(start: base, count: total)
        self.base = base
    }
    @inlinable public var headerLength: Int { Int(base.u8(0) & 15) * 4 }
    @inlinable public var typeOfService: UInt8 { base.u8(IPv4Offset.typeOfService) }
    @inlinable public var totalLength: Int { bytes.count }
    @inlinable public var identification: UInt16 { base.u16(IPv4Offset.identification) }
    @inlinable public var dontFragment: Bool { base.u16(IPv4Offset.flagsAndOffset) & IPv4Offset.dontFragment != 0 }
    @inlinable public var moreFragments: Bool { base.u16(IPv4Offset.flagsAndOffset) & IPv4Offset.moreFragments != 0 }
    /// In bytes.
    @inlinable public var fragmentOffset: Int { Int(base.u16(IPv4Offset.flagsAndOffset) & IPv4Offset.fragmentMask) * 8 }
    @inlinable public var isFragment: Bool { base.u16(IPv4Offset.flagsAndOffset) & (IPv4Offset.moreFragments | IPv4Offset.fragmentMask) != 0 }
    @inlinable public var timeToLive: UInt8 { base.u8(IPv4Offset.timeToLive) }
    @inlinable public var proto: IPProtocol { IPProtocol(base.u8(IPv4Offset.proto)) }
    @inlinable public var source: IPv4Address { base.ipv4(IPv4Offset.source) }
    @inlinable public var destination: IPv4Address { base.ipv4(IPv4Offset.destination) }
    @inlinable public var payload: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[headerLength...]) }
    @inlinable public var options: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[20..<headerLength]) }
    @inlinable public var isChecksumValid: Bool {
        InternetChecksum.fold(InternetChecksum.sum(UnsafeRawBufferPointer(start: base, count: headerLength))) == 0xffff
    }
}

/// An IPv4 header without options as a value; `emit` writes a finished checksum.
@frozen
public struct IPv4Header: Hashable, Sendable {
    public static let byteCount = 20
    public var typeOfService: UInt8 = 0
    public var totalLength: Int
    public var identification: UInt16 = 0
    public var dontFragment = false
    public var moreFragments = false
    /// In bytes; a multiple of eight.
    public var fragmentOffset = 0
    public var timeToLive: UInt8 = 64
    public var proto: IPProtocol
    public var source: IPv4Address
    public var destination: IPv4Address

    @inlinable public init(source: IPv4Address, destination: IPv4Address, proto: IPProtocol, totalLength: Int) {
        self.source = source
        self.destination = destination
        self.proto = proto
        self.totalLength = totalLength
    }

    @inlinable public func emit(to p: UnsafeMutableRawPointer) {
        p.put(UInt8(0x45), at: 0)
        p.put(typeOfService, at: IPv4Offset.typeOfService)
        p.put(UInt16(truncatingIfNeeded: totalLength), at: IPv4Offset.totalLength)
        p.put(identification, at: IPv4Offset.identification)
        let flags = (dontFragment ? IPv4Offset.dontFragment : 0) | (moreFragments ? IPv4Offset.moreFragments : 0)
        p.put(flags | UInt16(truncatingIfNeeded: fragmentOffset / 8), at: IPv4Offset.flagsAndOffset)
        p.put(timeToLive, at: IPv4Offset.timeToLive)
        p.put(proto.rawValue, at: IPv4Offset.proto)
        p.put(UInt16(0), at: IPv4Offset.checksum)
        p.put(source, at: IPv4Offset.source)
        p.put(destination, at: IPv4Offset.destination)
        p.put(InternetChecksum.checksum(UnsafeRawBufferPointer(start: p, count: 20)), at: IPv4Offset.checksum)
    }
}
