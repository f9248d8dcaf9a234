/// Byte offsets of an ICMP message (RFC 792).
public enum ICMPOffset {
    public static let type = 0, code = 1, checksum = 2, identifier = 4, sequence = 6, nextHopMTU = 6, payload = 8
}

/// ICMPv4 message types and codes in use (RFC 792, RFC 1122 §3.2.2.1, RFC 1191).
public enum ICMPv4 {
    public static let echoReply: UInt8 = 0, destinationUnreachable: UInt8 = 3, sourceQuench: UInt8 = 4, redirect: UInt8 = 5
    public static let echoRequest: UInt8 = 8, timeExceeded: UInt8 = 11, parameterProblem: UInt8 = 12
    /// Codes of `destinationUnreachable`.
    public static let netUnreachable: UInt8 = 0, hostUnreachable: UInt8 = 1, protocolUnreachable: UInt8 = 2, portUnreachable: UInt8 = 3
    public static let fragmentationNeeded: UInt8 = 4, netProhibited: UInt8 = 9, hostProhibited: UInt8 = 10, adminProhibited: UInt8 = 13
    /// Codes of `timeExceeded`.
    public static let ttlExceeded: UInt8 = 0, reassemblyTimeExceeded: UInt8 = 1

    /// Errors quote the packet they complain about; queries do not.
    @inlinable public static func isError(_ type: UInt8) -> Bool { type == 3 || type == 4 || type == 5 || type == 11 || type == 12 }
}

/// A checked look at an ICMPv4 message (the IP payload).
@frozen
public struct ICMPView {
    public let bytes: UnsafeRawBufferPointer
    @usableFromInline let base: UnsafeRawPointer

    /// Nil if there are fewer than eight bytes.
    @inlinable public init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= ICMPOffset.payload, let base = bytes.baseAddress else { return nil }
        self.bytes = bytes
        self.base = base
    }
    @inlinable public var type: UInt8 { base.u8(ICMPOffset.type) }
    @inlinable public var code: UInt8 { base.u8(ICMPOffset.code) }
    @inlinable public var identifier: UInt16 { base.u16(ICMPOffset.identifier) }
    @inlinable public var sequence: UInt16 { base.u16(ICMPOffset.sequence) }
    @inlinable public var nextHopMTU: Int { Int(base.u16(ICMPOffset.nextHopMTU)) }
    /// Echo data, or the quoted packet of an error.
    @inlinable public var payload: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[ICMPOffset.payload...]) }
    @inlinable public var isChecksumValid: Bool { InternetChecksum.fold(InternetChecksum.sum(bytes)) == 0xffff }
}
