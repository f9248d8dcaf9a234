import HairpinEngine
import HairpinTransport
import HairpinWire

/// dig 9.18: over UDP, and over TCP with `+tcp` or where the answer was truncated.
final class Dig: Program {
    private let arguments: [String]
    private var isStarted = false
    private var server = "", serverAddress: IPv4Address?
    private var port: UInt16 = 53
    private var name = ".", type = DNSType.a
    private var features: [String: Bool] = [:]
    /// dig clamps both to what fits 16 bits.
    private static let mostTries = 65535, longestTimeout: Int64 = 65535
    private var tries = 3, timeout = Duration.seconds(5)
    private var names: [DNSName] = []
    private var ndots: Int?, domains: [String]?
    private var bufferSize: UInt16 = 1232, ednsVersion: UInt8 = 0
    private var query: DNSQuery?, resolver: Resolver?
    private var asked: DNSMessage?
    private var failures = ""

    init(_ arguments: [String]) { self.arguments = arguments }

    private func has(_ feature: String) -> Bool { features[feature] ?? true }

    func resume(_ system: any SystemCalls) -> Suspension {
        if !isStarted {
            isStarted = true
            if let status = configure(system) { return .exit(status) }
        }
        if let resolver {
            switch resolver.advance(system) {
            case .wait(let set): return .wait(set)
            case .failed:
                system.writeError("dig: couldn't get address for '\(server)': not found\n")
                return .exit(10)
            case .done(let addresses): serverAddress = addresses[0]
            }
            self.resolver = nil
        }
        while true {
            if query == nil { ask(system) }
            switch query!.advance(system) {
            case .wait(let set): return .wait(set)
            case .done(let outcome):
                for _ in 0..<query!.timeouts { failures += ";; communications error to \(serverAddress!)#\(port): timed out\n" }
                switch outcome {
                case .refused(let error):
                    let words = error.description.prefix(1).lowercased() + error.description.dropFirst()
                    if query!.usedTCP {
                        let asked = names[0].description.dropLast(names[0].labels.isEmpty ? 0 : 1)
                        failures += ";; Connection to \(serverAddress!)#\(port)(\(server)) for \(asked) failed: \(words).\n"
                    } else {
                        failures += ";; communications error to \(serverAddress!)#\(port): \(words)\n"
                    }
                    return unanswered(system)
                case .timedOut: return unanswered(system)
                case .answer(let message, let size, let elapsed):
                    if query!.wasTruncated { failures += ";; Truncated, retrying in TCP mode.\n" }
                    if message.responseCode == .nameError, names.count > 1 {
                        names.removeFirst()
                        query = nil
                        continue
                    }
                    print(message, size, elapsed, system)
                    return .exit(0)
                }
            }
        }
    }

    private func configure(_ system: any SystemCalls) -> Int32? {
        var hasName = false
        var reverse = false
        var search = false
        var rest = arguments[...]
        while let word = rest.popFirst() {
            if word.hasPrefix("@") {
                server = String(word.dropFirst())
            } else if word.hasPrefix("+") {
                let parts = word.dropFirst().split(separator: "=", maxSplits: 1)
                let key = String(parts.first ?? "")
                switch key {
                case "tries": tries = parts.count > 1 ? min(max(1, Int(parts[1]) ?? 3), Dig.mostTries) : 3
                case "retry": tries = parts.count > 1 ? min(max(0, Int(parts[1]) ?? 2), Dig.mostTries - 1) + 1 : 3
                case "time", "timeout": timeout = .seconds(parts.count > 1 ? min(max(1, Int64(parts[1]) ?? 5), Dig.longestTimeout) : 5)
                case "search", "defname": search = true
                case "nosearch", "nodefname": search = false
                case "ndots": ndots = parts.count > 1 ? Int(parts[1]) : nil
                case "domain":
                    domains = parts.count > 1 ? [String(parts[1])] : nil
                    search = true
                case "tcp", "vc": features["tcp"] = true
                case "notcp", "novc": features["tcp"] = false
                case "bufsize": bufferSize = parts.count > 1 ? UInt16(clamping: Int(parts[1]) ?? 1232) : 1232
                case "edns", "do":
                    features[key == "do" ? "dnssec" : "edns"] = true
                    if key == "edns", parts.count > 1 { ednsVersion = UInt8(clamping: Int(parts[1]) ?? 0) }
                case "noall":
                    for section in Dig.sections { features[section] = false }
                case "all":
                    for section in Dig.sections { features[section] = true }
                default: features[key.hasPrefix("no") && key != "noall" ? String(key.dropFirst(2)) : key] = !key.hasPrefix("no")
                }
            } else if word == "-p" {
                port = rest.popFirst().flatMap { UInt16($0) } ?? 53
            } else if word == "-t" {
                if let value = rest.popFirst().flatMap({ DNSType($0) }) { type = value }
            } else if word == "-q" {
                name = rest.popFirst() ?? name
                hasName = true
            } else if word == "-x" {
                guard let address = rest.popFirst().flatMap({ IPv4Address($0) }) else {
                    system.writeError("dig: Invalid IP address\n")
                    return 1
                }
                name = DNSReverse.name(of: address)
                (reverse, hasName) = (true, true)
            } else if word.hasPrefix("-") {
                if word != "-4", word != "-r" {
                    system.writeError(
                        "Invalid option: \(word)\nUsage:  dig [@global-server] [domain] [q-type] [q-class] {q-opt}\n            {global-d-opt} host [@local-server] {local-d-opt}\n            [ host [@local-server] {local-d-opt} [...]]\n\nUse \"dig -h\" (or \"dig -h | more\") for complete list of options\n"
                    )
                    return 1
                }
            } else if word.uppercased() == "IN" {
                continue
            } else if let value = DNSType(word), hasName || DNSName(word) == nil || word == word.uppercased() {
                type = value
            } else {
                name = word
                hasName = true
            }
        }
        if reverse { type = .ptr }
        if !hasName { type = .ns }
        var configuration = ResolverConfiguration.load(system)
        if let ndots { configuration.ndots = ndots }
        if let domains { configuration.search = domains }
        configuration.library = .glibc  // BIND walks the list itself
        let candidates = search && hasName ? configuration.candidates(name) : [name]
        names = candidates.compactMap { DNSName($0) }
        guard !names.isEmpty else {
            system.writeError("dig: '\(name)' is not a legal IDNA2008 name (domain label longer than 63 characters), use +noidnin\n")
            return 10
        }
        if server.isEmpty {
            serverAddress = configuration.nameservers[0]
            server = configuration.nameservers[0].description
        } else if let address = IPv4Address(server) {
            serverAddress = address
        } else {
            resolver = Resolver(server)
        }
        return nil
    }

    private static let sections = ["cmd", "comments", "question", "answer", "authority", "additional", "stats"]

    private func ask(_ system: any SystemCalls) {
        var flags: DNSMessage.Flags = []
        if features["recurse"] ?? features["rec"] ?? true { flags.insert(.recursionDesired) }
        if features["adflag"] ?? features["ad"] ?? true { flags.insert(.authenticData) }
        if features["cdflag"] ?? features["cd"] ?? false { flags.insert(.checkingDisabled) }
        var message = DNSMessage(identifier: UInt16(truncatingIfNeeded: system.random()), flags: flags)
        message.questions = [DNSQuestion(name: names[0], type: type)]
        if features["edns"] ?? true {
            message.ednsExtension = DNSExtension(payloadSize: bufferSize)
            message.ednsExtension!.version = ednsVersion
            message.ednsExtension!.wantsSignatures = features["dnssec"] ?? false
            if has("cookie") {
                let (high, low) = (system.random(), system.random())
                let cookie = [high, low].flatMap { word in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: word >> UInt32($0)) } }
                message.ednsExtension!.options.append((10, cookie))  // RFC 7873
            }
        }
        asked = message
        query = DNSQuery(
            message, server: SocketAddress(serverAddress!, port),
            options: DNSQuery.Options(timeout: timeout, tries: tries, usesTCP: features["tcp"] ?? (type == .any), ignoresTruncation: features["ignore"] ?? false))
    }

    private var banner: String {
        has("cmd") && features["short"] != true
            ? "\n; <<>> DiG 9.18.49-1~deb12u3-Debian <<>> \(arguments.joined(separator: " "))\n\(arguments.contains { $0.hasPrefix("@") } ? "; (1 server found)\n" : "");; global options: +cmd\n"
            : ""
    }

    private func unanswered(_ system: any SystemCalls) -> Suspension {
        system.writeOutput(failures + (features["short"] == true ? "" : banner + ";; no servers could be reached\n"))
        return .exit(9)
    }

    private func print(_ message: DNSMessage, _ size: Int, _ elapsed: Duration, _ system: any SystemCalls) {
        if features["short"] == true {
            system.writeOutput(failures + message.answers.map { "\($0.data)\n" }.joined())
            return
        }
        var out = failures + banner
        if has("comments") {
            out += ";; Got answer:\n;; ->>HEADER<<- opcode: QUERY, status: \(message.ednsExtension?.extendedCode == 1 ? "BADVERS" : message.responseCode.description), id: \(message.identifier)\n"
            let names: [(DNSMessage.Flags, String)] = [
                (.response, "qr"), (.authoritative, "aa"), (.truncated, "tc"), (.recursionDesired, "rd"), (.recursionAvailable, "ra"), (.authenticData, "ad"),
                (.checkingDisabled, "cd"),
            ]
            let set = names.filter { message.flags.contains($0.0) }.map(\.1).joined(separator: " ")
            out +=
                ";; flags: \(set); QUERY: \(message.questions.count), ANSWER: \(message.answers.count), AUTHORITY: \(message.authorities.count), ADDITIONAL: \(message.additionals.count + (message.ednsExtension == nil ? 0 : 1))\n"
            if message.flags.contains(.recursionDesired), !message.flags.contains(.recursionAvailable) { out += ";; WARNING: recursion requested but not available\n" }
            out += "\n"
            if let edns = message.ednsExtension {
                out += ";; OPT PSEUDOSECTION:\n; EDNS: version: \(edns.version), flags:\(edns.wantsSignatures ? " do" : ""); udp: \(edns.payloadSize)\n"
                for option in edns.options {
                    let hex = option.data.map { hexadecimal(UInt64($0), digits: 2) }.joined()
                    switch option.code {
                    case 10: out += "; COOKIE: \(hex)\(option.data.count > 8 ? " (good)" : " (echoed)")\n"
                    case 15:
                        let code = option.data.count >= 2 ? Int(option.data[0]) << 8 | Int(option.data[1]) : 0
                        out += "; EDE: \(code)\(code == 14 ? " (Not Ready)" : code == 15 ? " (Blocked)" : code == 23 ? " (Network Error)" : "")\n"
                    default: out += "; OPT=\(option.code): \(hex)\n"
                    }
                }
            }
        }
        if has("question") {
            if has("comments") { out += ";; QUESTION SECTION:\n" }
            for question in message.questions { out += ";\(Dig.column(question.name.description, 31, from: 1))IN\t\(question.type)\n" }
            out += "\n"
        }
        for (title, records) in [("ANSWER", message.answers), ("AUTHORITY", message.authorities), ("ADDITIONAL", message.additionals)]
        where has(title.lowercased()) && !records.isEmpty {
            if has("comments") { out += ";; \(title) SECTION:\n" }
            for record in records { out += Dig.line(record) + "\n" }
            if has("comments") { out += "\n" }
        }
        if has("stats") {
            out +=
                ";; Query time: \(elapsed.nanoseconds / 1_000_000) msec\n;; SERVER: \(serverAddress!)#\(port)(\(server)) (\(query?.usedTCP == true ? "TCP" : "UDP"))\n;; WHEN: \(CivilTime(system.now).unix)\n;; MSG SIZE  rcvd: \(size)\n\n"
        }
        system.writeOutput(out)
    }

    /// Name, TTL and class in columns of 24, 8 and 8, filled with tabs, as dig's master-file style does.
    static func line(_ record: DNSRecord) -> String {
        let name = column(record.name.description, 24, from: 0)
        let end = max(24, record.name.description.count + 1)
        let ttl = String(record.timeToLive)
        // One space where a column is already full, else tabs to the next stop.
        let afterName = record.name.description.count >= 24 ? "\(record.name) \(ttl)" : name + ttl
        let middle = record.name.description.count >= 24 ? (end + ttl.count >= 32 ? " " : "\t") : "\t"
        return "\(afterName)\(middle)IN\t\(record.type)\t\(record.data)"
    }

    private static func column(_ text: String, _ stop: Int, from start: Int) -> String {
        var position = start + text.count
        guard position < stop else { return text + "\t" }
        var result = text
        while position < stop {
            result += "\t"
            position = (position / 8 + 1) * 8
        }
        return result
    }
}

enum DNSReverse {
    /// "2.0.244.10.in-addr.arpa" (RFC 1035 §3.5).
    static func name(of address: IPv4Address) -> String {
        let v = address.rawValue
        return "\(v & 255).\(v >> 8 & 255).\(v >> 16 & 255).\(v >> 24).in-addr.arpa"
    }
    static func address(of name: String) -> IPv4Address? {
        guard name.hasSuffix(".in-addr.arpa") else { return nil }
        return IPv4Address(name.dropLast(13).split(separator: ".", omittingEmptySubsequences: false).reversed().joined(separator: "."))
    }
}
