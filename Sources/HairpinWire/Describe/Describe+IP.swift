extension Describer {
    mutating func ipv4(_ bytes: UnsafeRawBufferPointer) {
        guard let ip = IPv4View(bytes) else {
            brokenIPv4(bytes)
            return
        }
        text += "IP "
        if options.verbose { verboseHeader(ip) }
        let ends = Ends(source: ip.source.description, destination: ip.destination.description, pseudoHeader: (ip.source, ip.destination))
        guard ip.fragmentOffset == 0 else {
            text += "\(ends.source) > \(ends.destination): \(Describer.name(of: ip.proto))"
            fragment(ip)
            return
        }
        transport(ip.proto, ip.payload, ends, isWhole: !ip.moreFragments)
        fragment(ip)
    }

    /// `(frag ID:BYTES@OFFSET+)`; the plus sign says that more follow.
    private mutating func fragment(_ ip: IPv4View) {
        guard ip.isFragment else { return }
        text += " (frag \(ip.identification):\(ip.payload.count)@\(ip.fragmentOffset)\(ip.moreFragments ? "+" : ""))"
    }

    private mutating func verboseHeader(_ ip: IPv4View) {
        let flags = [ip.dontFragment ? "DF" : nil, ip.moreFragments ? "+" : nil].compactMap { $0 }.joined(separator: ",")
        text += "(tos 0x\(String(ip.typeOfService, radix: 16)), ttl \(ip.timeToLive), id \(ip.identification), offset \(ip.fragmentOffset), "
        text += "flags [\(flags.isEmpty ? "none" : flags)], proto \(Describer.name(of: ip.proto)) (\(ip.proto.rawValue)), length \(ip.totalLength)"
        if ip.headerLength > IPv4Header.byteCount { text += ", options (\(Describer.optionNames(ip.options)))" }
        if !ip.isChecksumValid { text += ", bad cksum" }
        text += ") "
    }

    /// Linux's names of the options of RFC 791 §3.1, RFC 2113 and RFC 1393 that one meets.
    private static func optionNames(_ bytes: UnsafeRawBufferPointer) -> String {
        var names: [String] = []
        var at = 0
        while at < bytes.count {
            let kind = bytes[at]
            switch kind {
            case 0: names.append("EOL")
            case 1: names.append("NOP")
            case 7: names.append("RR")
            case 68: names.append("TS")
            case 131: names.append("LSRR")
            case 137: names.append("SSRR")
            case 148: names.append("RA")
            default: names.append("unknown \(kind)")
            }
            if kind == 0 { break }
            if kind == 1 {
                at += 1
                continue
            }
            guard at + 1 < bytes.count, bytes[at + 1] >= 2 else { break }
            at += Int(bytes[at + 1])
        }
        return names.joined(separator: ",")
    }

    /// A packet that is not all there, or whose lengths contradict each other. Addresses are shown if there are any.
    private mutating func brokenIPv4(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= IPv4Header.byteCount, let base = bytes.baseAddress else {
            text += "IP [|ip] \(bytes.count) bytes"
            return
        }
        let ends = "\(base.ipv4(IPv4Offset.source)) > \(base.ipv4(IPv4Offset.destination))"
        let header = Int(base.u8(0) & 15) * 4
        let total = Int(base.u16(IPv4Offset.totalLength))
        if base.u8(0) >> 4 != 4 {
            text += "IP version \(base.u8(0) >> 4) [|ip] \(bytes.count) bytes"
        } else if header < IPv4Header.byteCount || total < header {
            text += "IP \(ends): bad header length \(header), length \(total) [|ip]"
        } else {
            text += "IP \(ends): truncated, \(total - bytes.count) bytes missing! \(Describer.name(of: IPProtocol(base.u8(IPv4Offset.proto)))) [|ip]"
        }
    }

    mutating func ipv6(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= 40, let base = bytes.baseAddress, base.u8(0) >> 4 == 6 else {
            text += "IP6 [|ip6] \(bytes.count) bytes"
            return
        }
        let next = IPProtocol(base.u8(6))
        let length = Int(base.u16(4))
        text += "IP6 "
        if options.verbose {
            text +=
                "(class 0x\(hexadecimal(UInt8(base.u32(0) >> 20 & 0xff))), hlim \(base.u8(7)), next-header \(Describer.name(of: next)) (\(next.rawValue)), payload length \(length)) "
        }
        let ends = Ends(source: IPv6Address(loading: base + 8).description, destination: IPv6Address(loading: base + 24).description, pseudoHeader: nil)
        let payload = UnsafeRawBufferPointer(rebasing: bytes[40..<min(40 + length, bytes.count)])
        if next == .tcp || next == .udp {
            transport(next, payload, ends, isWhole: payload.count == length)
        } else {
            text += "\(ends.source) > \(ends.destination): \(Describer.name(of: next)), length \(length)"
        }
    }

    static func name(of proto: IPProtocol) -> String {
        switch proto {
        case .icmp: "ICMP"
        case .tcp: "TCP"
        case .udp: "UDP"
        case .sctp: "SCTP"
        case IPProtocol(0): "HOPOPT"
        case IPProtocol(2): "IGMP"
        case IPProtocol(4): "IPIP"
        case IPProtocol(44): "IPv6-Frag"
        case IPProtocol(47): "GRE"
        case IPProtocol(58): "ICMP6"
        default: "ip-proto-\(proto.rawValue)"
        }
    }
}
