import HairpinWire

/// UDP ports whose payload is taken for VXLAN: Linux's old default and IANA's.
let vxlanPorts: Set<UInt16> = [8472, 4789]

extension Dissection {
    /// Nil for fewer than 14 bytes. `depth` limits tunnels in tunnels.
    init?(_ bytes: UnsafeRawBufferPointer, depth: Int = 0) {
        guard let ethernet = EthernetView(bytes) else { return nil }
        self.init(source: ethernet.source, destination: ethernet.destination, type: ethernet.type.rawValue)
        let body = UnsafeRawBufferPointer(rebasing: bytes[EthernetOffset.payload...])
        if ethernet.type == .arp, body.count >= ARPHeader.byteCount, let base = body.baseAddress {
            arp = ARPFields(
                operation: base.u16(ARPOffset.operation), senderHardware: base.mac(ARPOffset.senderHardware), senderProtocol: base.ipv4(ARPOffset.senderProtocol),
                targetHardware: base.mac(ARPOffset.targetHardware), targetProtocol: base.ipv4(ARPOffset.targetProtocol))
            padding = body.count - ARPHeader.byteCount
        } else if ethernet.type == .ipv4 || ethernet.type == .ipv6, network(body, isQuoted: false, depth: depth), let ip {
            padding = body.count - ip.totalLength
        } else {
            rawLength = body.count
        }
    }

    /// A packet quoted by an ICMP error; it may be cut short.
    init?(quoted bytes: UnsafeRawBufferPointer, version: Int) {
        self.init(source: .zero, destination: .zero, type: version == 4 ? EtherType.ipv4.rawValue : EtherType.ipv6.rawValue)
        guard network(bytes, isQuoted: true, depth: 0) else { return nil }
    }

    /// Fills in IP and what it carries. False if there is not even a whole fixed header.
    private mutating func network(_ body: UnsafeRawBufferPointer, isQuoted: Bool, depth: Int) -> Bool {
        guard let base = body.baseAddress else { return false }
        var fields: IPFields
        if type == EtherType.ipv4.rawValue {
            guard body.count >= IPv4Header.byteCount else { return false }
            let fragment = base.u16(IPv4Offset.flagsAndOffset)
            let header = Int(base.u8(0) & 15) * 4
            fields = IPFields(
                version: 4, source: .v4(base.ipv4(IPv4Offset.source)), destination: .v4(base.ipv4(IPv4Offset.destination)),
                timeToLive: Int(base.u8(IPv4Offset.timeToLive)), typeOfService: Int(base.u8(IPv4Offset.typeOfService)),
                identification: base.u16(IPv4Offset.identification), dontFragment: fragment & IPv4Offset.dontFragment != 0,
                moreFragments: fragment & IPv4Offset.moreFragments != 0, offset: Int(fragment & IPv4Offset.fragmentMask) * 8,
                proto: Int(base.u8(IPv4Offset.proto)), headerLength: header, totalLength: Int(base.u16(IPv4Offset.totalLength)))
            fields.isChecksumValid = InternetChecksum.fold(InternetChecksum.sum(UnsafeRawBufferPointer(rebasing: body.prefix(header)))) == 0xffff
        } else {
            guard body.count >= 40 else { return false }
            fields = IPFields(
                version: 6, source: .v6(IPv6Address(loading: base + 8)), destination: .v6(IPv6Address(loading: base + 24)),
                timeToLive: Int(base.u8(7)), typeOfService: Int(base.u32(0) >> 20 & 0xff), proto: Int(base.u8(6)), headerLength: 40,
                totalLength: 40 + Int(base.u16(4)))
            Dissection.skipExtensions(body, &fields)
        }
        let end = min(fields.totalLength, body.count)
        let payload = fields.headerLength < end ? UnsafeRawBufferPointer(rebasing: body[fields.headerLength..<end]) : UnsafeRawBufferPointer(start: nil, count: 0)
        fields.payloadLength = payload.count
        ip = fields
        guard fields.offset == 0 else { return true }
        transport(payload, fields, isQuoted: isQuoted, depth: depth)
        if !isQuoted, !fields.moreFragments { checksum = Dissection.checksum(payload, fields) }
        return true
    }

    /// Hop-by-hop, routing, fragment and destination options headers (RFC 8200 §4).
    private static func skipExtensions(_ body: UnsafeRawBufferPointer, _ fields: inout IPFields) {
        guard let base = body.baseAddress else { return }
        while [0, 43, 44, 60].contains(fields.proto), fields.headerLength + 8 <= body.count {
            let at = fields.headerLength
            if fields.proto == 44 {
                let offset = base.u16(at + 2)
                fields.offset = Int(offset & 0xfff8)
                fields.moreFragments = offset & 1 != 0
                fields.headerLength += 8
            } else {
                fields.headerLength += 8 + Int(base.u8(at + 1)) * 8
            }
            fields.proto = Int(base.u8(at))
        }
    }

    private mutating func transport(_ payload: UnsafeRawBufferPointer, _ ip: IPFields, isQuoted: Bool, depth: Int) {
        guard payload.count >= 8, let base = payload.baseAddress else { return }
        switch ip.proto {
        case 6 where payload.count >= (isQuoted ? 8 : 20): tcp = TCPFields(payload)
        case 17:
            udp = UDPFields(sourcePort: base.u16(UDPOffset.sourcePort), destinationPort: base.u16(UDPOffset.destinationPort), length: Int(base.u16(UDPOffset.length)) - 8)
            if vxlanPorts.contains(base.u16(UDPOffset.destinationPort)), !isQuoted, payload.count > 30, depth < 4,
                let inner = Dissection(UnsafeRawBufferPointer(rebasing: payload[16...]), depth: depth + 1)
            {
                vxlanIdentifier = base.u32(12) >> 8
                nested = .tunnelled(inner)
            }
        case 1, 58:
            let (fields, quote) = ICMPFields.parse(payload, version: ip.version)
            icmp = fields
            if let quote { nested = .quoted(quote) }
        default: break
        }
    }

    private static func checksum(_ payload: UnsafeRawBufferPointer, _ ip: IPFields) -> TransportChecksum {
        guard [1, 6, 17, 58].contains(ip.proto) else { return .unknown }
        if payload.count < ip.totalLength - ip.headerLength { return .cut }
        if ip.proto == 1 { return InternetChecksum.fold(InternetChecksum.sum(payload)) == 0xffff ? .ok : .bad }
        let offset = ip.proto == 6 ? TCPOffset.checksum : ip.proto == 17 ? UDPOffset.checksum : ICMPOffset.checksum
        guard let base = payload.baseAddress, payload.count >= offset + 2 else { return .unknown }
        let field = base.u16(offset)
        if ip.proto == 17, field == 0 { return .zero }
        var pseudo = UInt64(ip.proto) + UInt64(payload.count)
        for address in [ip.source, ip.destination] {
            switch address {
            case .v4(let address): pseudo += UInt64(address.rawValue >> 16) + UInt64(address.rawValue & 0xffff)
            case .v6(let address): for half in [address.high, address.low] { for shift in stride(from: 0, to: 64, by: 16) { pseudo += half >> UInt64(shift) & 0xffff } }
            }
        }
        if InternetChecksum.fold(InternetChecksum.sum(payload, initial: pseudo)) == 0xffff { return .ok }
        return field == InternetChecksum.fold(pseudo) ? .partial : .bad
    }
}

extension TCPFields {
    /// At least eight bytes.
    init(_ payload: UnsafeRawBufferPointer) {
        let base = payload.baseAddress!
        self.init(sourcePort: base.u16(TCPOffset.sourcePort), destinationPort: base.u16(TCPOffset.destinationPort), sequence: base.u32(TCPOffset.sequence))
        guard payload.count >= TCPOffset.options else { return }
        let header = Int(base.u8(TCPOffset.dataOffset) >> 4) * 4
        isComplete = true
        acknowledgment = base.u32(TCPOffset.acknowledgment)
        flags = TCPFlags(rawValue: base.u8(TCPOffset.flags))
        window = base.u16(TCPOffset.window)
        length = payload.count - header
        if header > TCPOffset.options { parse(UnsafeRawBufferPointer(rebasing: payload[TCPOffset.options..<min(header, payload.count)])) }
    }

    private mutating func parse(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress else { return }
        var at = 0
        while at < bytes.count {
            let kind = base.u8(at)
            if kind == 0 {
                options.append(.end)
                return
            }
            if kind == 1 {
                options.append(.nop)
                at += 1
                continue
            }
            guard at + 1 < bytes.count, base.u8(at + 1) >= 2 else { return }
            let length = Int(base.u8(at + 1))
            let body = min(length, bytes.count - at) - 2
            let data = base + at + 2
            switch (kind, body) {
            case (2, 2): options.append(.maximumSegmentSize(data.u16(0)))
            case (3, 1...): options.append(.windowScale(data.u8(0)))
            case (4, _): options.append(.sackPermitted)
            case (5, _): options.append(.sack((0..<body / 8).map { (data.u32(8 * $0), data.u32(8 * $0 + 4)) }))
            case (8, 8): options.append(.timestamps(echo: data.u32(4)))
            default: options.append(.other(kind: kind, length: body))
            }
            at += length
        }
    }
}

extension ICMPFields {
    /// At least eight bytes.
    static func parse(_ payload: UnsafeRawBufferPointer, version: Int) -> (ICMPFields, quote: Dissection?) {
        let base = payload.baseAddress!
        let type = base.u8(ICMPOffset.type)
        var fields = ICMPFields(version: version, type: type, code: base.u8(ICMPOffset.code), length: payload.count - 8)
        let isError = version == 4 ? ICMPv4.isError(type) : 1...4 ~= type
        if version == 4 ? type == ICMPv4.echoReply || type == ICMPv4.echoRequest : type == 128 || type == 129 {
            fields.echo = (base.u16(ICMPOffset.identifier), base.u16(ICMPOffset.sequence))
        } else if isError, payload.count > 8 {
            fields.mtu = version == 4 ? UInt32(base.u16(ICMPOffset.nextHopMTU)) : base.u32(4)
            return (fields, Dissection(quoted: UnsafeRawBufferPointer(rebasing: payload[8...]), version: version))
        } else if version == 6, type == 135 || type == 136, payload.count >= 24 {
            fields.target = IPv6Address(loading: base + 8)
            fields.neighbourFlags = base.u32(4) >> 29
            if payload.count >= 32 { fields.linkAddress = base.mac(26) }
        }
        return (fields, nil)
    }
}
