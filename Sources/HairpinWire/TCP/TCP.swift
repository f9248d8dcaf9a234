/// Byte offsets of a TCP header (RFC 9293 §3.1).
public enum TCPOffset {
    public static let sourcePort = 0, destinationPort = 2, sequence = 4, acknowledgment = 8, dataOffset = 12, flags = 13
    public static let window = 14, checksum = 16, urgentPointer = 18, options = 20
}

/// The control bits of a TCP segment (RFC 9293 §3.1, RFC 3168 §6.1).
@frozen
public struct TCPFlags: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8
    @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }
    @inlinable public static var fin: TCPFlags { TCPFlags(rawValue: 1) }
    @inlinable public static var syn: TCPFlags { TCPFlags(rawValue: 2) }
    @inlinable public static var rst: TCPFlags { TCPFlags(rawValue: 4) }
    @inlinable public static var psh: TCPFlags { TCPFlags(rawValue: 8) }
    @inlinable public static var ack: TCPFlags { TCPFlags(rawValue: 16) }
    @inlinable public static var urg: TCPFlags { TCPFlags(rawValue: 32) }
    @inlinable public static var ece: TCPFlags { TCPFlags(rawValue: 64) }
    @inlinable public static var cwr: TCPFlags { TCPFlags(rawValue: 128) }
}

/// A checked look at a TCP segment (the IP payload); the data offset fits the bytes.
@frozen
public struct TCPView {
    public let bytes: UnsafeRawBufferPointer
    @usableFromInline let base: UnsafeRawPointer

    @inlinable public init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= 20, let base = bytes.baseAddress else { return nil }
        let header = Int(base.u8(TCPOffset.dataOffset) >> 4) * 4
        guard header >= 20, header <= bytes.count else { return nil }
        self.bytes = bytes
        self.base = base
    }
    @inlinable public var sourcePort: UInt16 { base.u16(TCPOffset.sourcePort) }
    @inlinable public var destinationPort: UInt16 { base.u16(TCPOffset.destinationPort) }
    @inlinable public var sequence: SequenceNumber { SequenceNumber(base.u32(TCPOffset.sequence)) }
    @inlinable public var acknowledgment: SequenceNumber { SequenceNumber(base.u32(TCPOffset.acknowledgment)) }
    @inlinable public var headerLength: Int { Int(base.u8(TCPOffset.dataOffset) >> 4) * 4 }
    @inlinable public var flags: TCPFlags { TCPFlags(rawValue: base.u8(TCPOffset.flags)) }
    /// As on the wire, before any window scaling.
    @inlinable public var window: UInt16 { base.u16(TCPOffset.window) }
    @inlinable public var urgentPointer: UInt16 { base.u16(TCPOffset.urgentPointer) }
    @inlinable public var options: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[20..<headerLength]) }
    @inlinable public var payload: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[headerLength...]) }

    @inlinable public func isChecksumValid(source: IPv4Address, destination: IPv4Address) -> Bool {
        InternetChecksum.fold(
            InternetChecksum.sum(bytes, initial: InternetChecksum.pseudoHeader(source: source, destination: destination, protocol: 6, length: bytes.count))) == 0xffff
    }
}
