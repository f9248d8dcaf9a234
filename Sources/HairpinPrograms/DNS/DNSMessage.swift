import HairpinWire

/// A record type (IANA "Domain Name System Parameters").
public struct DNSType: Hashable, Sendable, CustomStringConvertible {
    public let rawValue: UInt16
    public init(_ rawValue: UInt16) { self.rawValue = rawValue }
    public static let a = DNSType(1), ns = DNSType(2), cname = DNSType(5), soa = DNSType(6), ptr = DNSType(12), mx = DNSType(15), txt = DNSType(16)
    public static let aaaa = DNSType(28), srv = DNSType(33), opt = DNSType(41), any = DNSType(255)

    private static let names: [(DNSType, String)] = [
        (.a, "A"), (.ns, "NS"), (.cname, "CNAME"), (.soa, "SOA"), (.ptr, "PTR"), (.mx, "MX"), (.txt, "TXT"), (.aaaa, "AAAA"), (.srv, "SRV"), (.opt, "OPT"), (.any, "ANY"),
    ]
    public init?(_ name: String) {
        let upper = name.uppercased()
        if let match = DNSType.names.first(where: { $0.1 == upper }) {
            self = match.0
            return
        }
        guard upper.hasPrefix("TYPE"), let number = UInt16(upper.dropFirst(4)) else { return nil }
        rawValue = number
    }
    public var description: String { DNSType.names.first { $0.0 == self }?.1 ?? "TYPE\(rawValue)" }
}

/// A response code (RFC 1035 §4.1.1).
public struct DNSResponseCode: Hashable, Sendable, CustomStringConvertible {
    public let rawValue: UInt8
    public init(_ rawValue: UInt8) { self.rawValue = rawValue }
    public static let noError = DNSResponseCode(0), formatError = DNSResponseCode(1), serverFailure = DNSResponseCode(2), nameError = DNSResponseCode(3)
    public static let notImplemented = DNSResponseCode(4), refused = DNSResponseCode(5)
    public var description: String {
        let names = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"]
        return Int(rawValue) < names.count ? names[Int(rawValue)] : "RESERVED\(rawValue)"
    }
}

public enum DNSData: Hashable, Sendable {
    case a(IPv4Address)
    case aaaa([UInt8])
    case name(DNSName)  // NS, CNAME, PTR
    case srv(priority: UInt16, weight: UInt16, port: UInt16, target: DNSName)
    case soa(primary: DNSName, mailbox: DNSName, serial: UInt32, refresh: UInt32, retry: UInt32, expire: UInt32, minimum: UInt32)
    case txt([[UInt8]])
    case other([UInt8])
}

public struct DNSQuestion: Hashable, Sendable {
    public var name: DNSName
    public var type: DNSType
    public init(name: DNSName, type: DNSType) { (self.name, self.type) = (name, type) }
}

public struct DNSRecord: Hashable, Sendable {
    public var name: DNSName
    public var type: DNSType
    public var timeToLive: UInt32
    public var data: DNSData
    public init(name: DNSName, type: DNSType, timeToLive: UInt32, data: DNSData) {
        self.name = name
        self.type = type
        self.timeToLive = timeToLive
        self.data = data
    }
}

/// EDNS(0): the pseudo-record of RFC 6891.
public struct DNSExtension: Hashable, Sendable {
    public var payloadSize: UInt16
    public var options: [(code: UInt16, data: [UInt8])]
    /// The upper eight bits of the response code, as BADVERS has them.
    public var extendedCode: UInt8 = 0
    public var version: UInt8 = 0
    /// The DO bit (RFC 3225).
    public var wantsSignatures = false
    public init(payloadSize: UInt16, options: [(code: UInt16, data: [UInt8])] = []) { (self.payloadSize, self.options) = (payloadSize, options) }
    public static func == (a: DNSExtension, b: DNSExtension) -> Bool {
        a.payloadSize == b.payloadSize && a.options.elementsEqual(b.options) { $0.code == $1.code && $0.data == $1.data }
            && (a.extendedCode, a.version, a.wantsSignatures) == (b.extendedCode, b.version, b.wantsSignatures)
    }
    public func hash(into hasher: inout Hasher) { hasher.combine(payloadSize) }
}

/// A DNS message (RFC 1035 §4). Parsing any byte string is safe and bounded; encoding is its inverse.
public struct DNSMessage: Hashable, Sendable {
    public struct Flags: OptionSet, Hashable, Sendable {
        public let rawValue: UInt16
        public init(rawValue: UInt16) { self.rawValue = rawValue }
        public static let response = Flags(rawValue: 0x8000), authoritative = Flags(rawValue: 0x0400), truncated = Flags(rawValue: 0x0200)
        public static let recursionDesired = Flags(rawValue: 0x0100), recursionAvailable = Flags(rawValue: 0x0080)
        public static let authenticData = Flags(rawValue: 0x0020), checkingDisabled = Flags(rawValue: 0x0010)
    }

    public var identifier: UInt16
    public var flags: Flags
    public var opcode: UInt8 = 0
    public var responseCode = DNSResponseCode.noError
    public var questions: [DNSQuestion] = []
    public var answers: [DNSRecord] = []
    public var authorities: [DNSRecord] = []
    public var additionals: [DNSRecord] = []
    public var ednsExtension: DNSExtension?

    public init(identifier: UInt16, flags: Flags) { (self.identifier, self.flags) = (identifier, flags) }

    // MARK: Encoding

    /// The message as bytes. With `compresses` names that were written before are replaced by pointers (RFC 1035 §4.1.4).
    public func encoded(compresses: Bool = true) -> [UInt8] {
        var writer = Writer(compresses: compresses)
        writer.u16(identifier)
        writer.u16(flags.rawValue | UInt16(opcode & 15) << 11 | UInt16(responseCode.rawValue & 15))
        writer.u16(UInt16(questions.count))
        writer.u16(UInt16(answers.count))
        writer.u16(UInt16(authorities.count))
        writer.u16(UInt16(additionals.count + (ednsExtension == nil ? 0 : 1)))
        for question in questions {
            writer.name(question.name)
            writer.u16(question.type.rawValue)
            writer.u16(1)
        }
        for record in answers + authorities + additionals { writer.record(record) }
        if let ednsExtension {
            writer.bytes.append(0)
            writer.u16(DNSType.opt.rawValue)
            writer.u16(ednsExtension.payloadSize)
            writer.u16(UInt16(ednsExtension.extendedCode) << 8 | UInt16(ednsExtension.version))
            writer.u16(ednsExtension.wantsSignatures ? 0x8000 : 0)
            writer.u16(UInt16(ednsExtension.options.reduce(0) { $0 + 4 + $1.data.count }))
            for option in ednsExtension.options {
                writer.u16(option.code)
                writer.u16(UInt16(option.data.count))
                writer.bytes += option.data
            }
        }
        return writer.bytes
    }

    private struct Writer {
        var bytes: [UInt8] = []
        let compresses: Bool
        /// Suffixes already written and where; looked up, never iterated.
        var offsets: [DNSName: UInt16] = [:]
        init(compresses: Bool) { self.compresses = compresses }

        mutating func u16(_ value: UInt16) { bytes += [UInt8(value >> 8), UInt8(value & 255)] }
        mutating func u32(_ value: UInt32) {
            u16(UInt16(value >> 16))
            u16(UInt16(value & 0xffff))
        }
        mutating func name(_ name: DNSName) {
            for index in name.labels.indices {
                let suffix = DNSName(labels: Array(name.labels[index...]))
                if compresses, let offset = offsets[suffix] {
                    u16(0xc000 | offset)
                    return
                }
                if bytes.count < 0x4000 { offsets[suffix] = UInt16(bytes.count) }
                bytes.append(UInt8(name.labels[index].count))
                bytes += name.labels[index]
            }
            bytes.append(0)
        }
        mutating func record(_ record: DNSRecord) {
            name(record.name)
            u16(record.type.rawValue)
            u16(1)
            u32(record.timeToLive)
            let lengthAt = bytes.count
            u16(0)
            switch record.data {
            case .a(let address): u32(address.rawValue)
            case .aaaa(let data), .other(let data): bytes += data
            case .name(let target): name(target)
            case .srv(let priority, let weight, let port, let target):
                u16(priority)
                u16(weight)
                u16(port)
                // RFC 2782: the target is never compressed.
                for label in target.labels { bytes += [UInt8(label.count)] + label }
                bytes.append(0)
            case .soa(let primary, let mailbox, let serial, let refresh, let retry, let expire, let minimum):
                name(primary)
                name(mailbox)
                for value in [serial, refresh, retry, expire, minimum] { u32(value) }
            case .txt(let strings):
                for string in strings { bytes += [UInt8(min(255, string.count))] + string.prefix(255) }
            }
            let length = UInt16(truncatingIfNeeded: bytes.count - lengthAt - 2)
            bytes[lengthAt] = UInt8(length >> 8)
            bytes[lengthAt + 1] = UInt8(length & 255)
        }
    }

    // MARK: Parsing

    /// Nil for bytes that are not a complete message.
    public init?(parsing bytes: [UInt8]) {
        var reader = Reader(bytes: bytes)
        guard let identifier = reader.u16(), let flags = reader.u16(), let questionCount = reader.u16(), let answerCount = reader.u16(),
            let authorityCount = reader.u16(), let additionalCount = reader.u16()
        else { return nil }
        self.init(identifier: identifier, flags: Flags(rawValue: flags & 0x87b0))
        opcode = UInt8(flags >> 11 & 15)
        responseCode = DNSResponseCode(UInt8(flags & 15))
        for _ in 0..<questionCount {
            guard let name = reader.name(), let type = reader.u16(), reader.u16() != nil else { return nil }
            questions.append(DNSQuestion(name: name, type: DNSType(type)))
        }
        for _ in 0..<answerCount {
            guard let record = reader.record(&ednsExtension) else { return nil }
            if let record { answers.append(record) }
        }
        for _ in 0..<authorityCount {
            guard let record = reader.record(&ednsExtension) else { return nil }
            if let record { authorities.append(record) }
        }
        for _ in 0..<additionalCount {
            guard let record = reader.record(&ednsExtension) else { return nil }
            if let record { additionals.append(record) }
        }
    }

    private struct Reader {
        let bytes: [UInt8]
        var position = 0
        init(bytes: [UInt8]) { self.bytes = bytes }

        mutating func u16() -> UInt16? {
            guard position + 2 <= bytes.count else { return nil }
            defer { position += 2 }
            return UInt16(bytes[position]) << 8 | UInt16(bytes[position + 1])
        }
        mutating func u32() -> UInt32? {
            guard let high = u16(), let low = u16() else { return nil }
            return UInt32(high) << 16 | UInt32(low)
        }
        /// Pointers must lead backwards, so a name always ends.
        mutating func name() -> DNSName? {
            var labels: [[UInt8]] = []
            var at = position
            var limit = position
            var length = 1
            var end: Int?
            while true {
                guard at < bytes.count else { return nil }
                let count = Int(bytes[at])
                if count == 0 {
                    position = end ?? at + 1
                    return DNSName(labels: labels)
                }
                if count >= 0xc0 {
                    guard at + 1 < bytes.count else { return nil }
                    let target = (count & 0x3f) << 8 | Int(bytes[at + 1])
                    guard target < limit else { return nil }
                    end = end ?? at + 2
                    limit = target
                    at = target
                    continue
                }
                guard count < 64, at + 1 + count <= bytes.count else { return nil }
                length += count + 1
                guard length <= 255 else { return nil }
                labels.append(Array(bytes[(at + 1)..<(at + 1 + count)]))
                at += 1 + count
            }
        }
        /// Nil on malformed bytes; `.some(nil)` for the OPT pseudo-record, which goes to `ednsExtension`.
        mutating func record(_ ednsExtension: inout DNSExtension?) -> DNSRecord?? {
            guard let name = name(), let rawType = u16(), let rawClass = u16(), let timeToLive = u32(), let length = u16(), position + Int(length) <= bytes.count
            else { return nil }
            let type = DNSType(rawType)
            let end = position + Int(length)
            defer { position = end }
            let content = Array(bytes[position..<end])
            switch type {
            case .opt:
                var parsed = DNSExtension(payloadSize: rawClass)
                (parsed.extendedCode, parsed.version) = (UInt8(timeToLive >> 24), UInt8(timeToLive >> 16 & 0xff))
                parsed.wantsSignatures = timeToLive & 0x8000 != 0
                while position + 4 <= end {
                    guard let code = u16(), let size = u16(), position + Int(size) <= end else { return nil }
                    parsed.options.append((code, Array(bytes[position..<(position + Int(size))])))
                    position += Int(size)
                }
                ednsExtension = parsed
                return .some(nil)
            case .a:
                guard length == 4, let value = u32() else { return nil }
                return DNSRecord(name: name, type: type, timeToLive: timeToLive, data: .a(IPv4Address(rawValue: value)))
            case .aaaa:
                guard length == 16 else { return nil }
                return DNSRecord(name: name, type: type, timeToLive: timeToLive, data: .aaaa(content))
            case .cname, .ns, .ptr:
                guard let target = self.name(), position == end else { return nil }
                return DNSRecord(name: name, type: type, timeToLive: timeToLive, data: .name(target))
            case .srv:
                guard let priority = u16(), let weight = u16(), let port = u16(), let target = self.name(), position == end else { return nil }
                return DNSRecord(name: name, type: type, timeToLive: timeToLive, data: .srv(priority: priority, weight: weight, port: port, target: target))
            case .soa:
                guard let primary = self.name(), let mailbox = self.name(), let serial = u32(), let refresh = u32(), let retry = u32(), let expire = u32(),
                    let minimum = u32(), position == end
                else { return nil }
                let data = DNSData.soa(primary: primary, mailbox: mailbox, serial: serial, refresh: refresh, retry: retry, expire: expire, minimum: minimum)
                return DNSRecord(name: name, type: type, timeToLive: timeToLive, data: data)
            case .txt:
                var strings: [[UInt8]] = []
                while position < end {
                    let size = Int(bytes[position])
                    guard position + 1 + size <= end else { return nil }
                    strings.append(Array(bytes[(position + 1)..<(position + 1 + size)]))
                    position += 1 + size
                }
                return DNSRecord(name: name, type: type, timeToLive: timeToLive, data: .txt(strings))
            default:
                return DNSRecord(name: name, type: type, timeToLive: timeToLive, data: .other(content))
            }
        }
    }
}

extension DNSMessage {
    /// The bytes of an answer to somebody who takes at most `limit` of them, as CoreDNS sends it: names in full if that fits (and, over UDP, if it is
    /// not more than 1480 bytes), else with pointers, else without the last records and with TC. Answers are kept before authorities, those before
    /// additional records (`Msg.Truncate` of miekg/dns, `Request.Scrub`).
    mutating func fitted(in limit: Int, isDatagram: Bool) -> [UInt8] {
        let plain = encoded(compresses: false)
        if plain.count <= limit, !isDatagram || plain.count <= 1480 { return plain }
        var bytes = encoded(compresses: true)
        if bytes.count <= limit { return bytes }
        flags.insert(.truncated)
        let all = self
        let counts = (answers.count, authorities.count, additionals.count)
        // The largest number of records from the front that fits: more records never take fewer bytes.
        var (fits, tooMany) = (0, counts.0 + counts.1 + counts.2)
        func keep(_ count: Int) -> DNSMessage {
            var part = all
            part.answers = Array(all.answers.prefix(count))
            part.authorities = Array(all.authorities.prefix(max(0, count - counts.0)))
            part.additionals = Array(all.additionals.prefix(max(0, count - counts.0 - counts.1)))
            return part
        }
        while tooMany - fits > 1 {
            let middle = (fits + tooMany) / 2
            if keep(middle).encoded(compresses: true).count <= limit { fits = middle } else { tooMany = middle }
        }
        self = keep(fits)
        bytes = encoded(compresses: true)
        return bytes
    }
}

extension DNSData: CustomStringConvertible {
    /// As in a zone file.
    public var description: String {
        switch self {
        case .a(let address): return address.description
        case .name(let name): return name.description
        case .srv(let priority, let weight, let port, let target): return "\(priority) \(weight) \(port) \(target)"
        case .soa(let primary, let mailbox, let serial, let refresh, let retry, let expire, let minimum):
            return "\(primary) \(mailbox) \(serial) \(refresh) \(retry) \(expire) \(minimum)"
        case .txt(let strings): return strings.map { "\"\(text($0))\"" }.joined(separator: " ")
        case .aaaa(let bytes):
            return stride(from: 0, to: bytes.count - 1, by: 2).map { String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16) }.joined(separator: ":")
        case .other(let bytes): return "\\# \(bytes.count) " + bytes.map { hexadecimal(UInt64($0), digits: 2) }.joined()
        }
    }
}
