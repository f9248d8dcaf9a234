import HairpinEngine
import HairpinTransport
import HairpinWire

/// nslookup and host: questions by name through the search list, printed for people.
final class NameLookup: Program {
    enum Style { case nslookup, host }
    private let style: Style
    private let userland: Userland
    private let options: Options
    private var isStarted = false
    private var server = IPv4Address.any
    private var candidates: [DNSName] = []
    private var types: [DNSType] = [.a, .aaaa]
    private var query: DNSQuery?
    private var asked = DNSName.root
    private var typeIndex = 0
    private var answered = false, lastCode = DNSResponseCode.noError
    private var out = ""

    init(_ arguments: [String], style: Style, userland: Userland) {
        self.style = style
        self.userland = userland
        // nslookup's options are words: -type=SRV.
        options =
            style == .nslookup
            ? Options(
                arguments.map { $0.hasPrefix("-") && $0.count > 2 ? "-" + $0 : $0 }, flags: "",
                long: [("type=", "t"), ("query=", "t"), ("querytype=", "t"), ("timeout=", "W"), ("retry=", "R"), ("port=", "p"), ("debug", "d")])
            : Options(arguments, flags: "av4", values: "tWR")
    }

    func resume(_ system: any SystemCalls) -> Suspension {
        if !isStarted {
            isStarted = true
            guard let name = options.operands.first else {
                system.writeError(
                    style == .nslookup
                        ? "nslookup: a name is needed: there is no interactive mode here\n" : "Usage: host [-aCdilrTvVw] [-c class] [-N ndots] [-t type] name [server]\n")
                return .exit(1)
            }
            let configuration = ResolverConfiguration.load(system)
            server =
                options.operands.count > 1
                ? IPv4Address(options.operands[1]) ?? HostsFile.addresses(of: options.operands[1], system).first ?? configuration.nameservers[0]
                : configuration.nameservers[0]
            if style == .host { types = [.a, .aaaa, .mx] }
            if let wanted = options["t"].flatMap({ DNSType($0) }) { types = [wanted] }
            if let address = IPv4Address(name) {
                types = [.ptr]
                candidates = [DNSName(DNSReverse.name(of: address))!]
            } else {
                candidates = configuration.candidates(name).compactMap { DNSName($0) }
            }
            if style == .nslookup { out = "Server:\t\t\(server)\nAddress:\t\(userland == .gnu ? "\(server)#53" : "\(server):53")\n\n" }
        }
        while true {
            guard let candidate = candidates.first else { return finish(system) }
            if query == nil {
                asked = candidate
                var message = DNSMessage(identifier: UInt16(truncatingIfNeeded: system.random()), flags: .recursionDesired)
                message.questions = [DNSQuestion(name: candidate, type: types[typeIndex])]
                query = DNSQuery(message, server: SocketAddress(server, 53), options: DNSQuery.Options())
            }
            switch query!.advance(system) {
            case .wait(let set): return .wait(set)
            case .done(let outcome):
                query = nil
                switch outcome {
                case .timedOut, .refused:
                    let reason = if case .refused = outcome { "connection refused" } else { "timed out" }
                    system.writeOutput(
                        style == .host || userland == .gnu
                            ? ";; communications error to \(server)#53: \(reason)\n;; no servers could be reached\n\n"
                            : ";; connection timed out; no servers could be reached\n\n")
                    return .exit(1)
                case .answer(let message, _, _):
                    lastCode = message.responseCode
                    if message.responseCode == .nameError || (message.responseCode == .noError && message.answers.isEmpty && typeIndex == 0 && types.count == 1) {
                        if candidates.count > 1 {
                            candidates.removeFirst()
                            continue
                        }
                        return finish(system)
                    }
                    if message.responseCode != .noError { return finish(system) }
                    show(message)
                    typeIndex += 1
                    if typeIndex == types.count { return finish(system) }
                }
            }
        }
    }

    private func show(_ message: DNSMessage) {
        for record in message.answers {
            answered = true
            let name = record.name.description.dropLast()
            switch (style, record.data) {
            case (.nslookup, .a(let address)):
                out +=
                    "\(typeIndex == 0 && !message.flags.contains(.authoritative) && !out.contains("Non-authoritative") ? "Non-authoritative answer:\n" : "")Name:\t\(name)\nAddress: \(address)\n"
            case (.nslookup, .name(let target)) where record.type == .ptr: out += "\(record.name.description.dropLast())\tname = \(target)\n"
            case (.nslookup, .name(let target)): out += "\(name)\tcanonical name = \(target)\n"
            case (.nslookup, .srv): out += "\(name)\tservice = \(record.data)\n"
            case (.nslookup, _): out += "\(name)\t\(record.type) = \(record.data)\n"
            case (.host, .a(let address)): out += "\(name) has address \(address)\n"
            case (.host, .name(let target)) where record.type == .ptr: out += "\(name) domain name pointer \(target)\n"
            case (.host, .name(let target)): out += "\(name) is an alias for \(target)\n"
            case (.host, .srv): out += "\(name) has SRV record \(record.data)\n"
            case (.host, _): out += "\(name) has \(record.type) record \(record.data)\n"
            }
        }
    }

    private func finish(_ system: any SystemCalls) -> Suspension {
        let name = style == .host ? options.operands[0] : asked.description.dropLast().description
        if answered {
            system.writeOutput(out + (style == .nslookup ? "\n" : ""))
            return .exit(0)
        }
        if style == .host {
            system.writeOutput(lastCode == .noError ? "\(name) has no \(types[0]) record\n" : "Host \(name) not found: \(lastCode.rawValue)(\(lastCode))\n")
        } else if lastCode == .noError {
            system.writeOutput(out + "*** Can't find \(name): No answer\n\n")
        } else {
            system.writeOutput(out + "** server can't find \(options.operands[0]): \(lastCode)\n\n")
        }
        return .exit(1)
    }
}

