import HairpinWire

/// How much of a packet a comparison looks at.
public enum ComparisonLevel: String, CaseIterable, Sendable {
    /// Every packet of every interface in order, with everything that is not random.
    case strict
    /// The same without window values (except a closed window), PSH and `id=0`.
    case packets
    /// Without pure acknowledgments, acknowledgment numbers and SACK blocks as well.
    case segments
    /// The set of connections and exchanges of each interface.
    case flow
}

/// Sequence numbers relative to each connection as one interface shows it.
struct RelativeSequences {
    struct Flow: Hashable {
        var source: NetworkAddress, destination: NetworkAddress
        var sourcePort: UInt16, destinationPort: UInt16
        var reversed: Flow { Flow(source: destination, destination: source, sourcePort: destinationPort, destinationPort: sourcePort) }
        init(source: NetworkAddress, destination: NetworkAddress, sourcePort: UInt16, destinationPort: UInt16) {
            self.source = source
            self.destination = destination
            self.sourcePort = sourcePort
            self.destinationPort = destinationPort
        }
        init(_ ip: IPFields, _ tcp: TCPFields) {
            self.init(source: ip.source, destination: ip.destination, sourcePort: tcp.sourcePort, destinationPort: tcp.destinationPort)
        }
    }
    private var base: [Flow: UInt32] = [:]

    /// Relative sequence and acknowledgment numbers of a segment, and what SACK edges are relative to.
    mutating func relative(_ flow: Flow, _ tcp: TCPFields) -> (sequence: UInt32, acknowledgment: UInt32?, edgeBase: UInt32) {
        let back = flow.reversed
        let isAcknowledgment = tcp.flags.contains(.ack)
        if tcp.flags.contains(.syn), !isAcknowledgment, base[flow] != tcp.sequence {  // a new connection, not a repeated SYN
            base[back] = nil
            base[flow] = tcp.sequence
        }
        let own = base[flow] ?? tcp.sequence
        base[flow] = own
        if isAcknowledgment, base[back] == nil { base[back] = tcp.acknowledgment &- 1 }
        let other = base[back] ?? 0
        return (tcp.sequence &- own, isAcknowledgment ? tcp.acknowledgment &- other : nil, other)
    }
}

/// Writes the canonical lines of one interface.
struct CanonicalLines {
    let level: ComparisonLevel
    var sequences = RelativeSequences()

    init(level: ComparisonLevel) { self.level = level }

    /// One line, or nil if the level leaves this packet out.
    mutating func line(_ packet: Dissection, _ names: inout CaptureNames) -> String? {
        let head = "\(names.mac(packet.source)) > \(names.mac(packet.destination)) | "
        let padding = packet.padding != 0 ? " pad=\(packet.padding)" : ""
        if let arp = packet.arp { return head + CanonicalLines.text(arp, names) + padding }
        guard let ip = packet.ip else { return "\(head)ethertype 0x\(hexadecimal(packet.type)) len=\(packet.rawLength)" }
        return body(packet, ip, &names).map { head + $0 + padding }
    }

    private static func text(_ arp: ARPFields, _ names: CaptureNames) -> String {
        let operation = ARPHeader.Operation(rawValue: arp.operation).map { $0 == .request ? "request" : "reply" } ?? String(arp.operation)
        return
            "ARP \(operation) sender=\(names.ip(arp.senderProtocol))@\(names.mac(arp.senderHardware)) target=\(names.ip(arp.targetProtocol))@\(names.mac(arp.targetHardware))"
    }

    private mutating func body(_ packet: Dissection, _ ip: IPFields, _ names: inout CaptureNames) -> String? {
        var parts = ["IP\(ip.version == 6 ? "6" : "") \(names.ip(ip.source)) > \(names.ip(ip.destination))", "ttl=\(ip.timeToLive)"]
        if ip.typeOfService != 0 { parts.append("tos=0x\(String(ip.typeOfService, radix: 16))") }
        if ip.dontFragment { parts.append("DF") }
        if level == .strict, ip.identification == 0 { parts.append("id=0") }
        if ip.offset != 0 || ip.moreFragments { parts.append("frag=\(ip.offset)\(ip.moreFragments ? "+" : "") payload=\(ip.payloadLength)") }
        if !ip.isChecksumValid { parts.append("ip-csum=bad") }
        parts.append("|")
        let unsummed = packet.checksum == .zero ? " no-csum" : ""
        if case .tunnelled(let inner) = packet.nested, let udp = packet.udp {
            guard let line = line(inner, &names) else { return nil }
            parts.append("UDP \(names.port(udp.sourcePort)) > \(udp.destinationPort)\(unsummed) | VXLAN vni=\(packet.vxlanIdentifier) [ \(line) ]")
        } else if let tcp = packet.tcp {
            guard let segment = segment(ip, tcp, &names) else { return nil }
            parts.append(segment)
        } else if let udp = packet.udp {
            parts.append("UDP \(names.port(udp.sourcePort)) > \(names.port(udp.destinationPort)) len=\(udp.length)\(unsummed)")
        } else if let icmp = packet.icmp {
            parts.append(CanonicalLines.text(icmp, packet, &names))
        } else {
            parts.append(ip.offset != 0 ? "more" : "proto=\(ip.proto) len=\(ip.payloadLength)")
        }
        if packet.checksum == .bad { parts.append("csum=bad") }
        return parts.joined(separator: " ")
    }

    private mutating func segment(_ ip: IPFields, _ tcp: TCPFields, _ names: inout CaptureNames) -> String? {
        let (sequence, acknowledgment, edgeBase) = sequences.relative(RelativeSequences.Flow(ip, tcp), tcp)
        // At this level a pure acknowledgment says nothing, except the one that completes a handshake.
        if level == .segments, tcp.flags == .ack, tcp.length == 0, !(sequence == 1 && acknowledgment == 1) { return nil }
        var flags = tcp.flagLetters
        if level != .strict { flags.removeAll { $0 == "P" } }
        var parts = ["TCP \(names.port(tcp.sourcePort)) > \(names.port(tcp.destinationPort)) [\(flags)] seq=\(sequence)"]
        if level != .segments {
            if let acknowledgment { parts.append("ack=\(acknowledgment)") }
            if level == .strict || tcp.window == 0 && !tcp.flags.contains(.rst) { parts.append("win=\(tcp.window)") }
        }
        parts.append("len=\(tcp.length)")
        let options = CanonicalLines.options(tcp.options, edgeBase: edgeBase, level: level)
        if !options.isEmpty { parts.append("<\(options)>") }
        return parts.joined(separator: " ")
    }

    /// The options a level shows, joined by commas.
    static func options(_ options: [TCPFields.Option], edgeBase: UInt32, level: ComparisonLevel) -> String {
        let isExact = level == .strict || level == .packets
        return options.compactMap { option -> String? in
            switch option {
            case .end: "end"
            case .nop: isExact ? "nop" : nil
            case .sackPermitted: "sackOK"
            case .maximumSegmentSize(let size): "mss:\(size)"
            case .windowScale(let shift): "wscale:\(shift)"
            case .sack(let blocks): isExact ? "sack" + blocks.map { "{\($0.0 &- edgeBase):\($0.1 &- edgeBase)}" }.joined() : nil
            case .timestamps(let echo): echo == 0 ? "ts0" : "ts"  // ts0: nothing to echo yet
            case .other(let kind, let length): "opt\(kind):\(length)"
            }
        }.joined(separator: ",")
    }

    private static let icmpNames: [UInt16: String] = [
        0x0000: "echo-reply", 0x0800: "echo-request", 0x0300: "net-unreachable", 0x0301: "host-unreachable", 0x0303: "port-unreachable",
        0x0304: "fragmentation-needed", 0x030d: "admin-prohibited", 0x030a: "host-prohibited", 0x0b00: "ttl-exceeded", 0x0b01: "reassembly-timeout",
    ]
    private static let icmp6Names: [UInt16: String] = [
        0x8100: "echo-reply", 0x8000: "echo-request", 0x8700: "neighbour-solicit", 0x8800: "neighbour-advert", 0x0100: "no-route",
        0x0103: "address-unreachable", 0x0104: "port-unreachable", 0x0200: "packet-too-big", 0x0300: "hop-limit-exceeded", 0x8500: "router-solicit",
    ]

    private static func text(_ icmp: ICMPFields, _ packet: Dissection, _ names: inout CaptureNames) -> String {
        let key = UInt16(icmp.type) << 8 | UInt16(icmp.code)
        let name = (icmp.version == 4 ? icmpNames[key] : icmp6Names[key]) ?? "\(icmp.type)/\(icmp.code)"
        var parts = ["ICMP\(icmp.version == 6 ? "6" : "") \(name)"]
        if let echo = icmp.echo { parts.append("\(names.identifier(echo.identifier)) seq=\(echo.sequence) len=\(icmp.length)") }
        if let target = icmp.target {
            parts.append("target=\(names.ip(.v6(target))) flags=\(icmp.neighbourFlags)")
            if let address = icmp.linkAddress { parts.append("lladdr=\(names.mac(address))") }
        }
        if icmp.mtu != 0 { parts.append("mtu=\(icmp.mtu)") }
        if case .quoted(let quote) = packet.nested, let text = text(quote: quote, &names) { parts.append("quoting \(icmp.length) [ \(text) ]") }
        return parts.joined(separator: " ")
    }

    /// The packet an ICMP error complains about, as far as it is quoted.
    private static func text(quote: Dissection, _ names: inout CaptureNames) -> String? {
        guard let ip = quote.ip else { return nil }
        var text = "IP \(names.ip(ip.source)) > \(names.ip(ip.destination)) ttl=\(ip.timeToLive)"
        if let tcp = quote.tcp {
            text += " TCP \(names.port(tcp.sourcePort)) > \(names.port(tcp.destinationPort))"
            if tcp.isComplete { text += " [\(tcp.flagLetters)]" }
        }
        if let udp = quote.udp { text += " UDP \(names.port(udp.sourcePort)) > \(names.port(udp.destinationPort))" }
        if let icmp = quote.icmp { text += " ICMP \(icmp.type)/\(icmp.code)" }
        return text
    }
}

/// Four digits.
private func hexadecimal(_ number: UInt16) -> String {
    let text = String(number, radix: 16)
    return String(repeating: "0", count: 4 - text.count) + text
}
