import HairpinWire

/// Builds frames for tests from headers and payload, checksums included.
enum Build {
    static let clientMAC = MACAddress(rawValue: 0x0a58_0af4_0002), serverMAC = MACAddress(rawValue: 0x0a58_0af4_0003)
    static let client = IPv4Address(10, 244, 0, 2), server = IPv4Address(10, 244, 0, 3)

    static func ethernet(_ type: EtherType, _ payload: [UInt8]) -> [UInt8] {
        emit(14) { EthernetHeader(destination: serverMAC, source: clientMAC, type: type).emit(to: $0) } + payload
    }

    static func ipv4(_ proto: IPProtocol, _ payload: [UInt8], change: (inout IPv4Header) -> Void = { _ in }) -> [UInt8] {
        var header = IPv4Header(source: client, destination: server, proto: proto, totalLength: 20 + payload.count)
        change(&header)
        return emit(20) { header.emit(to: $0) } + payload
    }

    static func tcp(_ flags: TCPFlags, options: [UInt8] = [], payload: [UInt8] = [], source: UInt16 = 40000, destination: UInt16 = 80) -> [UInt8] {
        var bytes =
            emit(20) {
                $0.put(source, at: TCPOffset.sourcePort)
                $0.put(destination, at: TCPOffset.destinationPort)
                $0.put(UInt32(1000), at: TCPOffset.sequence)
                $0.put(UInt32(2000), at: TCPOffset.acknowledgment)
                $0.put(UInt8((20 + options.count) / 4) << 4, at: TCPOffset.dataOffset)
                $0.put(flags.rawValue, at: TCPOffset.flags)
                $0.put(UInt16(64240), at: TCPOffset.window)
            } + options + payload
        finish(&bytes, proto: 6, at: TCPOffset.checksum)
        return bytes
    }

    static func udp(_ payload: [UInt8], source: UInt16 = 40000, destination: UInt16) -> [UInt8] {
        var bytes =
            emit(8) {
                $0.put(source, at: UDPOffset.sourcePort)
                $0.put(destination, at: UDPOffset.destinationPort)
                $0.put(UInt16(8 + payload.count), at: UDPOffset.length)
            } + payload
        finish(&bytes, proto: 17, at: UDPOffset.checksum)
        return bytes
    }

    static func icmp(type: UInt8, code: UInt8, rest: UInt32, _ payload: [UInt8]) -> [UInt8] {
        var bytes =
            emit(8) {
                $0.put(type, at: ICMPOffset.type)
                $0.put(code, at: ICMPOffset.code)
                $0.put(rest, at: ICMPOffset.identifier)
            } + payload
        let sum = bytes.withUnsafeBytes { InternetChecksum.checksum($0) }
        bytes.withUnsafeMutableBytes { $0.baseAddress!.put(sum, at: ICMPOffset.checksum) }
        return bytes
    }

    static func emit(_ count: Int, _ body: (UnsafeMutableRawPointer) -> Void) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        bytes.withUnsafeMutableBytes { body($0.baseAddress!) }
        return bytes
    }

    private static func finish(_ bytes: inout [UInt8], proto: UInt8, at offset: Int) {
        let pseudo = InternetChecksum.pseudoHeader(source: client, destination: server, protocol: proto, length: bytes.count)
        let sum = bytes.withUnsafeBytes { InternetChecksum.checksum($0, initial: pseudo) }
        bytes.withUnsafeMutableBytes { $0.baseAddress!.put(sum, at: offset) }
    }

    static let synOptions: [UInt8] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 1, 3, 3, 7]
}
