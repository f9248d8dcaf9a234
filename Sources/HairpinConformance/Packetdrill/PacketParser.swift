/// Packets: `< S 0:0(0) win 32792 <mss 1460,nop,wscale 7>`, `> udp (100)`, `< icmp unreachable frag_needed mtu 1200 [1:1461(1460)]`.
extension ScriptParser {
    mutating func packet(isOutbound: Bool) throws(ScriptError) -> ScriptPacket {
        let position = scanner.position
        scanner.advance()
        try scanner.skipSpace()
        let fields = try ipFields(isOutbound: isOutbound)
        var encapsulations: [ScriptEncapsulation] = []
        while let name = nextEncapsulation() { encapsulations.append(try encapsulation(name)) }
        try scanner.skipSpace()
        let body: ScriptPacket.Body
        if scanner.word() == "udp" {
            body = try udp()
        } else if scanner.word() == "icmp" {
            body = .icmp(try icmp())
        } else {
            body = .tcp(try segment())
        }
        return ScriptPacket(position: position, ip: fields, encapsulations: encapsulations, body: body)
    }

    // MARK: IP

    private mutating func ipFields(isOutbound: Bool) throws(ScriptError) -> ScriptIPFields {
        var fields = ScriptIPFields()
        let isSquare = scanner.peek() == UInt8(ascii: "[")
        guard isSquare || scanner.peek() == UInt8(ascii: "(") else { return fields }
        scanner.advance()
        repeat {
            let place = scanner.position
            let word = try scanner.takeWord("an IP field (an ECN name, 'tos', 'ttl' or 'flowlabel')")
            switch word {
            case "tos": fields.typeOfService = try scanner.takeInteger("a type of service", as: UInt8.self)
            case "ttl": fields.timeToLive = try scanner.takeInteger("a time to live", as: UInt8.self)
            case "flowlabel": fields.flowLabel = try scanner.takeInteger("a flow label", as: UInt32.self)
            default:
                guard let congestion = ScriptIPFields.Congestion(rawValue: word), congestion != .ect01 || isOutbound else {
                    throw scanner.refusal("an IP field (an ECN name, 'tos', 'ttl' or 'flowlabel')", at: place, found: "'\(word)'")
                }
                fields.congestion = congestion
            }
        } while try scanner.take(",")
        try scanner.require(isSquare ? "]" : ")")
        return fields
    }

    private func nextEncapsulation() -> String? {
        var ahead = scanner
        guard (try? ahead.skipSpace()) != nil, let word = ahead.word() else { return nil }
        return ["ipv4", "ipv6", "gre", "mpls"].contains(word) ? word : nil
    }

    private mutating func encapsulation(_ name: String) throws(ScriptError) -> ScriptEncapsulation {
        _ = try scanner.takeWord(name)
        var text = ""
        // An IPv6 address holds colons: the one that ends the header stands between spaces, or after a word of options.
        while !(scanner.peek() == UInt8(ascii: ":") && [32, 9, 10, 0].contains(scanner.peek(1))) {
            if scanner.isAtEnd { throw scanner.refusal("':' to end the \(name) header") }
            text.append(Character(Unicode.Scalar(scanner.peek())))
            scanner.advance()
        }
        scanner.advance()
        return ScriptEncapsulation(name: name, text: text)
    }

    // MARK: TCP

    /// `8080 > 32768`; a flag word never starts with two digits before '>'.
    private mutating func ports() throws(ScriptError) -> ScriptPorts? {
        try scanner.skipSpace()
        let saved = scanner
        guard ScriptScanner.isDigit(scanner.peek()), let word = scanner.word(), UInt16(word) != nil else { return nil }
        let source = try scanner.takeInteger("a source port", as: UInt16.self)
        guard try scanner.take(">") else {
            scanner.restore(saved)
            return nil
        }
        return ScriptPorts(source: source, destination: try scanner.takeInteger("a destination port", as: UInt16.self))
    }

    private mutating func segment() throws(ScriptError) -> ScriptSegment {
        let ports = try ports()
        let flags = try flags()
        let (start, length) = try numbers()
        var segment = ScriptSegment(ports: ports, flags: flags, start: start, length: length)
        if try scanner.takeKeyword("ack") { segment.acknowledgment = try scanner.takeInteger("an acknowledgment number", as: UInt32.self) }
        if try scanner.takeKeyword("win") { segment.window = try scanner.takeInteger("a window", as: UInt16.self) }
        if try scanner.takeKeyword("urg") { segment.urgent = try scanner.takeInteger("an urgent pointer", as: UInt16.self) }
        try scanner.skipSpace()
        if scanner.peek() == UInt8(ascii: "<") {
            scanner.advance()
            try options(&segment)
        }
        return segment
    }

    private mutating func flags() throws(ScriptError) -> ScriptFlags {
        try scanner.skipSpace()
        let what = "TCP flags (of F S R P E W A U and '.', or '-')"
        if scanner.peek() == UInt8(ascii: "-") {
            scanner.advance()
            return []
        }
        var flags: ScriptFlags = []
        let start = scanner.position
        while ![32, 9, 10, 13, 0].contains(scanner.peek()) {
            let c = scanner.peek()
            if let (_, flag) = ScriptFlags.letters.first(where: { $0.0 == Character(Unicode.Scalar(c)) }) {
                flags.insert(flag)
            } else if (48...55).contains(c) {
                // The ACE counter: AE, CWR and ECE as one number (RFC 9768 §3.1.1).
                if c & 1 != 0 { flags.insert(.ece) }
                if c & 2 != 0 { flags.insert(.cwr) }
                if c & 4 != 0 { flags.insert(.ae) }
            } else {
                throw scanner.refusal(what)
            }
            scanner.advance()
        }
        guard scanner.position != start else { throw scanner.refusal(what) }
        return flags
    }

    /// `start:end(length)`, which must agree.
    private mutating func numbers() throws(ScriptError) -> (UInt32, Int) {
        try scanner.skipSpace()
        let place = scanner.position
        let start = try scanner.takeInteger("a sequence number", as: UInt32.self)
        try scanner.require(":", "':' after the first sequence number")
        let end = try scanner.takeInteger("the sequence number of the end", as: UInt32.self)
        try scanner.require("(", "'(' and the length of the payload")
        let length = try scanner.takeInteger("the length of the payload", as: UInt16.self)
        try scanner.require(")")
        guard end == start &+ UInt32(length) else {
            throw scanner.refusal("an end of \(start &+ UInt32(length)) after \(start) and \(length) bytes", at: place, found: "'\(start):\(end)(\(length))'")
        }
        return (start, Int(length))
    }

    private mutating func options(_ segment: inout ScriptSegment) throws(ScriptError) {
        if try scanner.take("...") {
            segment.anyOptions = true
            return try scanner.require(">")
        }
        if try scanner.take(">") { return }
        repeat {
            try scanner.skipSpace()
            let place = scanner.position
            let word = try scanner.takeWord("a TCP option")
            switch word {
            case "mss": segment.options.append(.maximumSegment(try scanner.takeInteger("a segment size", as: UInt16.self)))
            case "wscale": segment.options.append(.windowScale(try scanner.takeInteger("a window scale", as: UInt8.self)))
            case "sackOK": segment.options.append(.selectiveAcksPermitted)
            case "nop": segment.options.append(.noOperation)
            case "eol": segment.options.append(.endOfList)
            case "sack": segment.options.append(.selectiveAcks(try sackBlocks()))
            case "TS":
                guard try scanner.takeKeyword("val") else { throw scanner.refusal("'val' and a timestamp") }
                let value = try scanner.takeInteger("a timestamp", as: UInt32.self)
                guard try scanner.takeKeyword("ecr") else { throw scanner.refusal("'ecr' and a timestamp") }
                segment.options.append(.timestamps(value: value, echo: try scanner.takeInteger("a timestamp", as: UInt32.self)))
            case "FO": segment.options.append(.fastOpen(try scanner.takeHexBytes()))
            case "FOEXP": segment.options.append(.fastOpenExperiment(try scanner.takeHexBytes()))
            case "md5": segment.options.append(.md5(try scanner.takeHexBytes()))
            case "ECN":
                var text = ""
                while let next = try counter() { text += (text.isEmpty ? "" : " ") + next }
                segment.options.append(.accurateECN(text))
            default:
                throw scanner.refusal("a TCP option (mss, wscale, sackOK, sack, TS, nop, eol, FO, FOEXP, md5 or ECN)", at: place, found: "'\(word)'")
            }
        } while try scanner.take(",")
        try scanner.require(">", "',' or '>' after an option")
    }

    private mutating func counter() throws(ScriptError) -> String? {
        try scanner.skipSpace()
        guard let word = scanner.word(), ["e0b", "e1b", "ceb"].contains(word) else { return nil }
        _ = try scanner.takeWord(word)
        return "\(word) \(try scanner.takeInteger("a byte counter"))"
    }

    private mutating func sackBlocks() throws(ScriptError) -> [ScriptRange] {
        var blocks: [ScriptRange] = []
        while true {
            try scanner.skipSpace()
            guard ScriptScanner.isDigit(scanner.peek()) else { break }
            let start = try scanner.takeInteger("a SACK edge", as: UInt32.self)
            try scanner.require(":", "':' between the edges of a SACK block")
            blocks.append(ScriptRange(start: start, end: try scanner.takeInteger("a SACK edge", as: UInt32.self)))
        }
        guard !blocks.isEmpty else { throw scanner.refusal("a SACK block ('1001:2001')") }
        return blocks
    }

    // MARK: UDP and ICMP

    private mutating func payloadLength() throws(ScriptError) -> Int {
        try scanner.require("(", "'(' and the length of the payload")
        let length = try scanner.takeInteger("the length of the payload", as: UInt16.self)
        try scanner.require(")")
        return Int(length)
    }

    private mutating func udp() throws(ScriptError) -> ScriptPacket.Body {
        _ = try scanner.takeWord("udp")
        let ports = try ports()
        return .udp(ports, length: try payloadLength())
    }

    private mutating func icmp() throws(ScriptError) -> ScriptICMP {
        _ = try scanner.takeWord("icmp")
        var message = ScriptICMP(type: try scanner.takeWord("an ICMP type"))
        try scanner.skipSpace()
        if let word = scanner.word(), word != "mtu", word != "id", !ScriptScanner.isDigit(scanner.peek()) {
            message.code = try scanner.takeWord("an ICMP code")
        }
        if try scanner.takeKeyword("mtu") { message.mtu = try scanner.takeInteger("an MTU", as: UInt32.self) }
        if try scanner.takeKeyword("id") { message.id = try scanner.takeInteger("an identifier", as: UInt32.self) }
        if try scanner.take("[") {
            if try scanner.takeKeyword("udp") {
                message.quote = .udp(length: try payloadLength())
            } else if try scanner.takeKeyword("raw") {
                message.quote = .raw(length: try payloadLength())
            } else {
                let (start, length) = try numbers()
                message.quote = .tcp(start: start, length: length)
            }
            try scanner.require("]")
        }
        return message
    }
}
