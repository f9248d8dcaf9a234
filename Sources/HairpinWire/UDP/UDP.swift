/// Byte offsets of a UDP header (RFC 768).
public enum UDPOffset {
    public static let sourcePort = 0, destinationPort = 2, length = 4, checksum = 6, payload = 8
}

/// A checked look at a UDP datagram (the IP payload); the length field fits the bytes.
@frozen
public struct UDPView {
    public let bytes: UnsafeRawBufferPointer
    @usableFromInline let base: UnsafeRawPointer

    @inlinable public init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= UDPOffset.payload, let base = bytes.baseAddress else { return nil }
        let length = Int(base.u16(UDPOffset.length))
        guard length >= UDPOffset.payload, length <= bytes.count else { return nil }
        self.bytes = UnsafeRawBufferPointer(start: base, count: length)
        self.base = base
    }
    @inlinable public var sourcePort: UInt16 { base.u16(UDPOffset.sourcePort) }
    @inlinable public var destinationPort: UInt16 { base.u16(UDPOffset.destinationPort) }
    @inlinable public var checksum: UInt16 { base.u16(UDPOffset.checksum) }
    @inlinable public var payload: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[UDPOffset.payload...]) }

    /// True also for a datagram without a checksum (RFC 768).
    @inlinable public func isChecksumValid(source: IPv4Address, destination: IPv4Address) -> Bool {
        checksum == 0
            || InternetChecksum.fold(
                InternetChecksum.sum(bytes, initial: InternetChecksum.pseudoHeader(source: source, destination: destination, protocol: 17, length: bytes.count)))
                == 0xffff
    }
}
