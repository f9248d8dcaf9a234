import HairpinWire

// Changing addresses and ports in place, with every checksum that covers them (RFC 1624).
extension PacketHeaders {
    /// Writes a new source or destination (`nf_nat_manip_pkt`). `port` is the identifier of an ICMP query and is not looked at for protocols
    /// without ports.
    ///
    /// The bytes must be the frame's own. With `isPartial` the transport checksum field holds the folded pseudo header only, which knows
    /// addresses but not ports (CHECKSUM_PARTIAL). In a quoted packet (`isQuoted`) what lies beyond the quote is left out.
    mutating func rewrite(isSource: Bool, address: UInt32, port: UInt16, isPartial: Bool, isQuoted: Bool = false) {
        let oldAddress = isSource ? source : destination
        if !isLaterFragment { rewriteTransport(isSource: isSource, from: oldAddress, to: address, port: port, isPartial: isPartial && !isQuoted) }
        if address != oldAddress {
            network.put(address, at: isSource ? IPv4Offset.source : IPv4Offset.destination)
            network.put(InternetChecksum.update(network.u16(IPv4Offset.checksum), from: oldAddress, to: address), at: IPv4Offset.checksum)
            if isSource { source = address } else { destination = address }
        }
    }

    private mutating func rewriteTransport(isSource: Bool, from oldAddress: UInt32, to address: UInt32, port: UInt16, isPartial: Bool) {
        switch proto {
        case 1:
            guard transportLength >= 8, ConnectionTuple.answer(toICMP: transport.u8(ICMPOffset.type)) != nil else { return }
            let old = transport.u16(ICMPOffset.identifier)
            guard old != port else { return }
            transport.put(port, at: ICMPOffset.identifier)
            transport.put(InternetChecksum.update(transport.u16(ICMPOffset.checksum), from: old, to: port), at: ICMPOffset.checksum)
        case 6, 17, 136:
            guard hasPorts else { return }
            let oldPort = isSource ? sourcePort : destinationPort
            transport.put(port, at: isSource ? 0 : 2)
            if isSource { sourcePort = port } else { destinationPort = port }
            let offset = proto == 6 ? TCPOffset.checksum : UDPOffset.checksum
            guard transportLength >= offset + 2 else { return }
            var checksum = transport.u16(offset)
            if isPartial {
                // Not complemented yet, so neither is the change.
                checksum = ~InternetChecksum.update(~checksum, from: oldAddress, to: address)
            } else {
                checksum = InternetChecksum.update(
                    checksum, proto, by: InternetChecksum.change(from: oldAddress, to: address) &+ InternetChecksum.change(from: oldPort, to: port))
            }
            transport.put(checksum, at: offset)
        case 132:
            guard hasPorts, transportLength >= 12 else { return }
            transport.put(port, at: isSource ? 0 : 2)
            if isSource { sourcePort = port } else { destinationPort = port }
            transport.put(UInt32(0), at: 8)
            transport.put(PacketHeaders.crc32c(UnsafeRawBufferPointer(start: transport, count: transportLength)).byteSwapped, at: 8)
        default:
            break
        }
    }

    /// The checksum of an ICMP message from scratch, after its inside changed.
    func renewICMPChecksum() {
        transport.put(UInt16(0), at: ICMPOffset.checksum)
        transport.put(InternetChecksum.checksum(UnsafeRawBufferPointer(start: transport, count: transportLength)), at: ICMPOffset.checksum)
    }

    /// RFC 9260, appendix A.
    private static func crc32c(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        var crc: UInt32 = ~0
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0x82f6_3b78 : crc >> 1 }
        }
        return ~crc
    }

    /// The packet an ICMP error quotes.
    var quoted: PacketHeaders? {
        guard proto == 1, hasTransport, ICMPv4.isError(transport.u8(ICMPOffset.type)) else { return nil }
        return PacketHeaders(transport + ICMPOffset.payload, available: transportLength - ICMPOffset.payload, isQuoted: true)
    }
}

extension InternetChecksum {
    /// The checksum of TCP or UDP (`proto`) after changes that add so much to its sum. A UDP sender may do without one (RFC 768); then it stays so.
    @inline(__always)
    static func update(_ checksum: UInt16, _ proto: UInt8, by change: UInt64) -> UInt16 {
        if proto == 17, checksum == 0 { return 0 }
        let new = update(checksum, by: change)
        return proto == 17 && new == 0 ? 0xffff : new
    }
}
