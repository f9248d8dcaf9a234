extension Describer {
    /// A DNS message (RFC 1035 §4.1) as tcpdump tells it: `4711+ A? web.default.svc.cluster.local. (46)` and `4711* 1/0/0 A 10.96.0.20 (62)`.
    /// False, with nothing written, if the bytes are no message.
    mutating func dns(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count >= 12, let base = bytes.baseAddress else { return false }
        let flags = base.u16(2)
        let questions = Int(base.u16(4))
        let answers = Int(base.u16(6))
        let authorities = Int(base.u16(8))
        let additional = Int(base.u16(10))
        let isResponse = flags & 0x8000 != 0
        guard questions <= 16, isResponse || answers == 0 else { return false }
        var at = 12
        var asked: [String] = []
        for _ in 0..<questions {
            guard let name = Describer.domainName(bytes, &at), at + 4 <= bytes.count else { return false }
            asked.append("\(Describer.recordType(base.u16(at)))? \(name)")
            at += 4
        }
        var line = "\(base.u16(0))"
        if isResponse {
            line += flags & 0x0400 != 0 ? "*" : ""
            line += flags & 0x0080 == 0 ? "-" : ""
            line += flags & 0x0200 != 0 ? "|" : ""
            let code = flags & 15
            if code != 0 { line += " \(code <= 5 ? ["", "FormErr", "ServFail", "NXDomain", "NotImp", "Refused"][Int(code)] : "Resp\(code)")" }
            if options.verbose, !asked.isEmpty { line += " q: \(asked.joined(separator: ", "))" }
            line += " \(answers)/\(authorities)/\(additional)"
            let records = Describer.records(bytes, &at, count: answers)
            if !records.isEmpty { line += " " + records.joined(separator: ", ") }
        } else {
            line += flags & 0x0100 != 0 ? "+" : ""
            if additional > 0 { line += " [\(additional)au]" }
            line += asked.isEmpty ? "" : " " + asked.joined(separator: ", ")
        }
        text += "\(line) (\(bytes.count))"
        return true
    }

    /// The answers as far as they can be read, at most eight of them.
    private static func records(_ bytes: UnsafeRawBufferPointer, _ at: inout Int, count: Int) -> [String] {
        guard let base = bytes.baseAddress else { return [] }
        var result: [String] = []
        for _ in 0..<min(count, 8) {
            guard domainName(bytes, &at) != nil, at + 10 <= bytes.count else { return result + ["[|domain]"] }
            let type = base.u16(at)
            let length = Int(base.u16(at + 8))
            var data = at + 10
            guard data + length <= bytes.count else { return result + ["[|domain]"] }
            at = data + length
            let name = recordType(type)
            switch (type, length) {
            case (1, 4): result.append("A \(base.ipv4(data))")
            case (28, 16): result.append("AAAA \(IPv6Address(loading: base + data))")
            case (2, _), (5, _), (12, _): result.append("\(name) \(domainName(bytes, &data) ?? "[|domain]")")
            case (33, 7...):
                let port = base.u16(data + 4)
                data += 6
                result.append("SRV \(domainName(bytes, &data) ?? "[|domain]"):\(port)")
            default: result.append(name)
            }
        }
        return result
    }

    private static func recordType(_ type: UInt16) -> String {
        switch type {
        case 1: "A"
        case 2: "NS"
        case 5: "CNAME"
        case 6: "SOA"
        case 12: "PTR"
        case 15: "MX"
        case 16: "TXT"
        case 28: "AAAA"
        case 33: "SRV"
        case 41: "OPT"
        case 255: "ANY"
        default: "Type\(type)"
        }
    }

    /// A name with compression (RFC 1035 §4.1.4) and the place behind it; nil if it does not end, or not in these bytes.
    private static func domainName(_ bytes: UnsafeRawBufferPointer, _ at: inout Int) -> String? {
        var name = ""
        var position = at
        var end: Int?
        // A name has at most 127 labels; pointers in circles would have more.
        for _ in 0..<128 {
            guard position < bytes.count else { return nil }
            let length = Int(bytes[position])
            switch length >> 6 {
            case 0 where length == 0:
                at = end ?? position + 1
                return name.isEmpty ? "." : name
            case 0:
                guard position + 1 + length <= bytes.count else { return nil }
                for byte in bytes[position + 1..<position + 1 + length] {
                    if byte > 0x20, byte < 0x7f, byte != 0x2e, byte != 0x5c { name.unicodeScalars.append(Unicode.Scalar(byte)) } else { name += "\\\(byte)" }
                }
                name += "."
                position += 1 + length
            case 3:
                guard position + 1 < bytes.count else { return nil }
                if end == nil { end = position + 2 }
                position = (length & 0x3f) << 8 | Int(bytes[position + 1])
            default: return nil
            }
        }
        return nil
    }
}
