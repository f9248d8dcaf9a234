/// Byte offsets of an ARP packet for Ethernet and IPv4 (RFC 826).
public enum ARPOffset {
    public static let hardwareType = 0, protocolType = 2, hardwareLength = 4, protocolLength = 5, operation = 6
    public static let senderHardware = 8, senderProtocol = 14, targetHardware = 18, targetProtocol = 24
}

/// An ARP packet for Ethernet and IPv4 as a value (RFC 826).
@frozen
public struct ARPHeader: Hashable, Sendable {
    public static let byteCount = 28
    @frozen public enum Operation: UInt16, Sendable {
        case request = 1
        case reply = 2
    }

    public var operation: Operation
    public var senderHardware: MACAddress
    public var senderProtocol: IPv4Address
    public var targetHardware: MACAddress
    public var targetProtocol: IPv4Address

    @inlinable public init(operation: Operation, senderHardware: MACAddress, senderProtocol: IPv4Address, targetHardware: MACAddress, targetProtocol: IPv4Address) {
        self.operation = operation
        self.senderHardware = senderHardware
        self.senderProtocol = senderProtocol
        self.targetHardware = targetHardware
        self.targetProtocol = targetProtocol
    }

    /// Nil unless the bytes are a complete request or reply for Ethernet and IPv4.
    @inlinable public init?(parsing bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= ARPHeader.byteCount, let p = bytes.baseAddress, p.u16(ARPOffset.hardwareType) == 1,
            p.u16(ARPOffset.protocolType) == EtherType.ipv4.rawValue, p.u8(ARPOffset.hardwareLength) == 6, p.u8(ARPOffset.protocolLength) == 4,
            let operation = Operation(rawValue: p.u16(ARPOffset.operation))
        else { return nil }
        self.init(
            operation: operation, senderHardware: p.mac(ARPOffset.senderHardware), senderProtocol: p.ipv4(ARPOffset.senderProtocol),
            targetHardware: p.mac(ARPOffset.targetHardware), targetProtocol: p.ipv4(ARPOffset.targetProtocol))
    }

    @inlinable public func emit(to p: UnsafeMutableRawPointer) {
        p.put(UInt16(1), at: ARPOffset.hardwareType)
        p.put(EtherType.ipv4.rawValue, at: ARPOffset.protocolType)
        p.put(UInt8(6), at: ARPOffset.hardwareLength)
        p.put(UInt8(4), at: ARPOffset.protocolLength)
        p.put(operation.rawValue, at: ARPOffset.operation)
        p.put(senderHardware, at: ARPOffset.senderHardware)
        p.put(senderProtocol, at: ARPOffset.senderProtocol)
        p.put(targetHardware, at: ARPOffset.targetHardware)
        p.put(targetProtocol, at: ARPOffset.targetProtocol)
    }
}
