extension Describer {
    /// The ends of a packet as text, and as addresses where a checksum can be verified.
    struct Ends {
        var source: String
        var destination: String
        var pseudoHeader: (source: IPv4Address, destination: IPv4Address)?
    }

    /// `isWhole` is false for the first fragment of a packet: its checksum cannot be known.
    mutating func transport(_ proto: IPProtocol, _ payload: UnsafeRawBufferPointer, _ ends: Ends, isWhole: Bool) {
        switch proto {
        case .tcp: tcp(payload, ends, isWhole: isWhole)
        case .udp: udp(payload, ends, isWhole: isWhole)
        case .icmp: icmp(payload, ends)
        case IPProtocol(4) where depth < Describer.depthLimit:
            text += "\(ends.source) > \(ends.destination): IPIP | "
            depth += 1
            ipv4(payload)
            depth -= 1
        default: text += "\(ends.source) > \(ends.destination): \(Describer.name(of: proto)), length \(payload.count)"
        }
    }

    // -- TCP

    private mutating func tcp(_ payload: UnsafeRawBufferPointer, _ ends: Ends, isWhole: Bool) {
        guard let tcp = TCPView(payload) else {
            cut("tcp", payload, ends)
            return
        }
        text += "\(ends.source).\(tcp.sourcePort) > \(ends.destination).\(tcp.destinationPort): Flags [\(Describer.letters(tcp.flags))]"
        if options.verbose, isWhole, let (source, destination) = ends.pseudoHeader {
            text += ", cksum 0x\(hexadecimal(payload.baseAddress!.u16(TCPOffset.checksum)))"
            text += tcp.isChecksumValid(source: source, destination: destination) ? " (correct)" : " (incorrect)"
        }
        let count = tcp.payload.count
        if count > 0 || !tcp.flags.isDisjoint(with: [.syn, .fin, .rst]) {
            text += ", seq \(tcp.sequence)"
            if count > 0 { text += ":\(tcp.sequence + count)" }
        }
        if tcp.flags.contains(.ack) { text += ", ack \(tcp.acknowledgment)" }
        text += ", win \(tcp.window)"
        if tcp.flags.contains(.urg) { text += ", urg \(tcp.urgentPointer)" }
        if !tcp.options.isEmpty { text += ", options [\(Describer.text(of: tcp.options))]" }
        text += ", length \(count)"
    }

    /// tcpdump's letters: a dot is ACK.
    static func letters(_ flags: TCPFlags) -> String {
        let text = String(zip("FSRP.UEW", 0..<8).filter { flags.rawValue >> $0.1 & 1 == 1 }.map(\.0))
        return text.isEmpty ? "none" : text
    }

    private static func text(of bytes: UnsafeRawBufferPointer) -> String {
        var parts: [String] = []
        var options = TCPOptions(bytes)
        while let option = options.next() {
            switch option {
            case .endOfList: parts.append("eol")
            case .noOperation: parts.append("nop")
            case .maximumSegmentSize(let size): parts.append("mss \(size)")
            case .windowScale(let shift): parts.append("wscale \(shift)")
            case .sackPermitted: parts.append("sackOK")
            case .sack(let blocks): parts.append("sack \(blocks.count) " + blocks.map { "{\($0.left):\($0.right)}" }.joined())
            case .timestamps(let value, let echo): parts.append("TS val \(value) ecr \(echo)")
            case .unknown(let kind, let length): parts.append("unknown-\(kind) \(length) bytes")
            }
        }
        if options.isMalformed { parts.append("[|tcp options]") }
        return parts.joined(separator: ",")
    }

    // -- UDP

    private mutating func udp(_ payload: UnsafeRawBufferPointer, _ ends: Ends, isWhole: Bool) {
        // The first fragment of a datagram has a length that goes beyond its bytes.
        guard payload.count >= UDPOffset.payload, let base = payload.baseAddress, let udp = UDPView(payload) ?? (isWhole ? nil : Describer.cutDatagram(payload)) else {
            cut("udp", payload, ends)
            return
        }
        text += "\(ends.source).\(udp.sourcePort) > \(ends.destination).\(udp.destinationPort): "
        if options.verbose, isWhole, let (source, destination) = ends.pseudoHeader {
            text +=
                udp.checksum == 0
                ? "[no cksum] " : udp.isChecksumValid(source: source, destination: destination) ? "[udp sum ok] " : "[bad udp cksum 0x\(hexadecimal(udp.checksum))] "
        }
        let length = Int(base.u16(UDPOffset.length)) - UDPOffset.payload
        if udp.sourcePort == 53 || udp.destinationPort == 53, isWhole, dns(udp.payload) { return }
        if udp.destinationPort == 8472 || udp.destinationPort == 4789, isWhole, udp.payload.count >= 8, depth < Describer.depthLimit {
            vxlan(udp.payload)
            return
        }
        text += "UDP, length \(length)"
    }

    private static func cutDatagram(_ payload: UnsafeRawBufferPointer) -> UDPView? { UDPView(truncated: payload) }

    /// RFC 7348 §5.
    private mutating func vxlan(_ payload: UnsafeRawBufferPointer) {
        guard let base = payload.baseAddress else { return }
        text += "VXLAN, flags [\(base.u8(0) & 8 != 0 ? "I" : ".")] (0x\(hexadecimal(base.u8(0)))), vni \(base.u32(4) >> 8) | "
        depth += 1
        frame(UnsafeRawBufferPointer(rebasing: payload[8...]))
        depth -= 1
    }

    // -- ICMP

    private mutating func icmp(_ payload: UnsafeRawBufferPointer, _ ends: Ends) {
        guard let icmp = ICMPView(payload) else {
            cut("icmp", payload, ends)
            return
        }
        text += "\(ends.source) > \(ends.destination): ICMP \(words(icmp)), length \(payload.count)"
        if options.verbose, !icmp.isChecksumValid { text += " (wrong icmp cksum)" }
        guard ICMPv4.isError(icmp.type), !icmp.payload.isEmpty, depth < Describer.depthLimit else { return }
        text += " | "
        depth += 1
        quote(icmp.payload)
        depth -= 1
    }

    private func words(_ icmp: ICMPView) -> String {
        let quoted = Describer.Quoted(icmp.payload)
        let target = quoted?.destination.description ?? "?"
        switch (icmp.type, icmp.code) {
        case (ICMPv4.echoRequest, _): return "echo request, id \(icmp.identifier), seq \(icmp.sequence)"
        case (ICMPv4.echoReply, _): return "echo reply, id \(icmp.identifier), seq \(icmp.sequence)"
        case (ICMPv4.destinationUnreachable, ICMPv4.netUnreachable): return "net \(target) unreachable"
        case (ICMPv4.destinationUnreachable, ICMPv4.hostUnreachable): return "host \(target) unreachable"
        case (ICMPv4.destinationUnreachable, ICMPv4.protocolUnreachable): return "\(target) protocol \(quoted?.proto.rawValue ?? 0) unreachable"
        case (ICMPv4.destinationUnreachable, ICMPv4.portUnreachable):
            guard let quoted, let port = quoted.destinationPort else { return "\(target) port unreachable" }
            return "\(target) \(Describer.name(of: quoted.proto).lowercased()) port \(port) unreachable"
        case (ICMPv4.destinationUnreachable, ICMPv4.fragmentationNeeded): return "\(target) unreachable - need to frag (mtu \(icmp.nextHopMTU))"
        case (ICMPv4.destinationUnreachable, ICMPv4.netProhibited): return "net \(target) unreachable - admin prohibited"
        case (ICMPv4.destinationUnreachable, ICMPv4.hostProhibited): return "host \(target) unreachable - admin prohibited"
        case (ICMPv4.destinationUnreachable, ICMPv4.adminProhibited): return "host \(target) unreachable - admin prohibited filter"
        case (ICMPv4.timeExceeded, ICMPv4.ttlExceeded): return "time exceeded in-transit"
        case (ICMPv4.timeExceeded, ICMPv4.reassemblyTimeExceeded): return "ip reassembly time exceeded"
        case (ICMPv4.redirect, _): return "redirect \(target) to \(icmp.bytes.baseAddress!.ipv4(4))"
        case (ICMPv4.parameterProblem, _): return "parameter problem - octet \(icmp.bytes.baseAddress!.u8(4))"
        case (ICMPv4.destinationUnreachable, _): return "\(target) unreachable - #\(icmp.code)"
        default: return "type-#\(icmp.type), code \(icmp.code)"
        }
    }

    /// What an ICMP error quotes: an IP header and at least eight bytes behind it, usually not the whole packet (RFC 1812 §4.3.2.3).
    private struct Quoted {
        var source: IPv4Address
        var destination: IPv4Address
        var proto: IPProtocol
        var timeToLive: UInt8
        var payload: UnsafeRawBufferPointer
        var sourcePort: UInt16?
        var destinationPort: UInt16?

        init?(_ bytes: UnsafeRawBufferPointer) {
            guard bytes.count >= IPv4Header.byteCount, let base = bytes.baseAddress, base.u8(0) >> 4 == 4 else { return nil }
            let header = Int(base.u8(0) & 15) * 4
            guard header >= IPv4Header.byteCount, header <= bytes.count else { return nil }
            source = base.ipv4(IPv4Offset.source)
            destination = base.ipv4(IPv4Offset.destination)
            proto = IPProtocol(base.u8(IPv4Offset.proto))
            timeToLive = base.u8(IPv4Offset.timeToLive)
            payload = UnsafeRawBufferPointer(rebasing: bytes[header...])
            let isFirst = base.u16(IPv4Offset.flagsAndOffset) & IPv4Offset.fragmentMask == 0
            if proto == .tcp || proto == .udp, payload.count >= 4, isFirst, let ports = payload.baseAddress {
                (sourcePort, destinationPort) = (ports.u16(0), ports.u16(2))
            }
        }
    }

    private mutating func quote(_ bytes: UnsafeRawBufferPointer) {
        // A packet that is quoted as a whole is told like any other.
        if IPv4View(bytes) != nil {
            ipv4(bytes)
            return
        }
        guard let quoted = Quoted(bytes) else {
            text += "[|ip] \(bytes.count) bytes"
            return
        }
        func end(_ address: IPv4Address, _ port: UInt16?) -> String { port.map { "\(address).\($0)" } ?? address.description }
        text +=
            "IP \(end(quoted.source, quoted.sourcePort)) > \(end(quoted.destination, quoted.destinationPort)): \(Describer.name(of: quoted.proto)), ttl \(quoted.timeToLive)"
        if quoted.proto == .tcp, let tcp = TCPView(quoted.payload) { text += ", Flags [\(Describer.letters(tcp.flags))], seq \(tcp.sequence)" }
    }

    private mutating func cut(_ name: String, _ payload: UnsafeRawBufferPointer, _ ends: Ends) {
        text += "\(ends.source) > \(ends.destination): [|\(name)] \(payload.count) bytes"
    }
}

extension UDPView {
    /// The header of a datagram whose end is elsewhere; the payload is what there is of it.
    init?(truncated bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= UDPOffset.payload, let base = bytes.baseAddress, Int(base.u16(UDPOffset.length)) >= UDPOffset.payload else { return nil }
        self.bytes = bytes
        self.base = base
    }
}
