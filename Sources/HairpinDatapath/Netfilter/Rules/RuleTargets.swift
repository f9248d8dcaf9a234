import HairpinWire

/// Reads the options of targets and writes them as iptables-save does.
enum RuleTargets {
    /// Number of arguments of `option`, or nil if the target does not have it.
    static func arguments(of option: String, target: String) -> Int? {
        let table: [String: Int]
        switch target {
        case "REJECT": table = ["--reject-with": 1]
        case "MARK": table = ["--set-xmark": 1, "--set-mark": 1, "--or-mark": 1, "--and-mark": 1, "--xor-mark": 1]
        case "CONNMARK":
            table = [
                "--set-xmark": 1, "--set-mark": 1, "--or-mark": 1, "--and-mark": 1, "--xor-mark": 1, "--save-mark": 0, "--restore-mark": 0, "--nfmask": 1,
                "--ctmask": 1, "--mask": 1,
            ]
        case "DNAT": table = ["--to-destination": 1, "--random": 0, "--random-fully": 0, "--persistent": 0]
        case "SNAT": table = ["--to-source": 1, "--random": 0, "--random-fully": 0, "--persistent": 0]
        case "MASQUERADE": table = ["--to-ports": 1, "--random": 0, "--random-fully": 0]
        case "REDIRECT": table = ["--to-ports": 1, "--random": 0]
        case "CT": table = ["--notrack": 0]
        case "LOG":
            table = ["--log-prefix": 1, "--log-level": 1, "--log-tcp-sequence": 0, "--log-tcp-options": 0, "--log-ip-options": 0, "--log-uid": 0, "--log-macdecode": 0]
        case "NFLOG": table = ["--nflog-group": 1, "--nflog-prefix": 1, "--nflog-range": 1, "--nflog-size": 1, "--nflog-threshold": 1]
        case "TCPMSS": table = ["--set-mss": 1, "--clamp-mss-to-pmtu": 0]
        case "TTL": table = ["--ttl-set": 1, "--ttl-inc": 1, "--ttl-dec": 1]
        case "SET": table = ["--add-set": 2, "--del-set": 2, "--exist": 0, "--timeout": 1]
        case "CHECKSUM": table = ["--checksum-fill": 0]
        default: return nil
        }
        return table[option]
    }

    private static let known = [
        "ACCEPT", "DROP", "RETURN", "REJECT", "MARK", "CONNMARK", "DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NOTRACK", "CT", "LOG", "NFLOG", "TCPMSS", "TRACE", "TTL", "SET",
        "CHECKSUM",
    ]

    static func isKnown(_ target: String) -> Bool { known.contains(target) }

    /// Names of `--reject-with`, the code of the ICMP message, and the alias iptables takes (`libipt_REJECT`).
    static let rejects: [(String, String, UInt8)] = [
        ("icmp-net-unreachable", "net-unreach", 0), ("icmp-host-unreachable", "host-unreach", 1), ("icmp-proto-unreachable", "proto-unreach", 2),
        ("icmp-port-unreachable", "port-unreach", 3), ("icmp-net-prohibited", "net-prohib", 9), ("icmp-host-prohibited", "host-prohib", 10),
        ("icmp-admin-prohibited", "admin-prohib", 13),
    ]

    static func action(_ target: String, _ options: [String], rule: RuleSet.Rule, table: RuleSet.Table, names: inout RuleNames) throws(RuleProblem) -> RuleAction {
        guard known.contains(target) else {
            throw RuleProblem(
                reason: "no chain '\(target)' in table \(table.name) and no such target; known targets are \(known.joined(separator: ", "))", isUnknown: true)
        }
        func value(_ option: String) -> String? {
            guard let index = options.firstIndex(of: option), index + 1 < options.count else { return nil }
            return options[index + 1]
        }
        func has(_ option: String) -> Bool { options.contains(option) }
        func only(_ tables: RuleSet.Table...) throws(RuleProblem) {
            guard tables.contains(table) else { throw RuleProblem(reason: "\(target) belongs into table \(tables.map(\.name).joined(separator: " or "))") }
        }
        let carriesPorts = [6, 17, 132, 136].contains(rule.proto) && !rule.inverted.contains(.proto)
        switch target {
        case "ACCEPT": return .accept
        case "DROP": return .drop
        case "RETURN": return .return
        case "LOG", "NFLOG", "TRACE", "CHECKSUM": return .none
        case "SET":
            let adds = has("--add-set")
            guard adds != has("--del-set"), let index = options.firstIndex(of: adds ? "--add-set" : "--del-set"), index + 2 < options.count else {
                throw RuleProblem(reason: "SET needs either --add-set or --del-set, with a name and directions")
            }
            let seconds = value("--timeout").map { UInt32($0) }
            if let seconds, seconds == nil || !adds { throw RuleProblem(reason: "--timeout needs --add-set and a number of seconds") }
            names.setChanges.append(
                SetChange(set: try SetReference(options[index + 1], options[index + 2]), adds: adds, renews: has("--exist"), timeout: seconds ?? nil))
            return .changeSet(UInt32(names.setChanges.count - 1))
        case "REJECT":
            try only(.filter)
            let kind = value("--reject-with") ?? "icmp-port-unreachable"
            if kind == "tcp-reset" || kind == "tcp-rst" {
                guard rule.proto == 6, !rule.inverted.contains(.proto) else { throw RuleProblem(reason: "tcp-reset needs -p tcp") }
                return .reject(.tcpReset)
            }
            guard let known = rejects.first(where: { $0.0 == kind || $0.1 == kind }) else {
                throw RuleProblem(reason: "unknown --reject-with '\(kind)'; known are \(rejects.map(\.0).joined(separator: ", ")) and tcp-reset")
            }
            return .reject(.icmp(code: known.2))
        case "MARK":
            guard let (value, mask) = try markOperation(options) else {
                throw RuleProblem(reason: "MARK needs one of --set-xmark, --set-mark, --and-mark, --or-mark, --xor-mark")
            }
            return .mark(value, mask: mask)
        case "CONNMARK":
            let shared = try value("--mask").map { (text) throws(RuleProblem) in try RuleParser.valueAndMask(text).0 }
            let connection = try value("--ctmask").map { (text) throws(RuleProblem) in try RuleParser.valueAndMask(text).0 } ?? shared ?? ~0
            let packet = try value("--nfmask").map { (text) throws(RuleProblem) in try RuleParser.valueAndMask(text).0 } ?? shared ?? ~0
            if has("--save-mark") { return .saveMark(connectionMask: connection, packetMask: packet) }
            if has("--restore-mark") { return .restoreMark(connectionMask: connection, packetMask: packet) }
            guard let (value, mask) = try markOperation(options) else { throw RuleProblem(reason: "CONNMARK needs --save-mark, --restore-mark or a mark to set") }
            return .setConnectionMark(value, mask: mask)
        case "DNAT", "SNAT":
            try only(.nat)
            let option = target == "DNAT" ? "--to-destination" : "--to-source"
            guard let text = value(option) else { throw RuleProblem(reason: "\(target) needs \(option)") }
            var range = try addressesAndPorts(text)
            if range.ports != nil, !carriesPorts { throw RuleProblem(reason: "a port in \(option) needs -p tcp, udp or sctp") }
            range.isRandom = has("--random") || has("--random-fully")
            range.isPersistent = has("--persistent")
            return target == "DNAT" ? .translateDestination(range) : .translateSource(range)
        case "MASQUERADE", "REDIRECT":
            try only(.nat)
            var range = TranslationRange(mapsAddress: true)
            if let text = value("--to-ports") {
                guard carriesPorts else { throw RuleProblem(reason: "--to-ports needs -p tcp, udp or sctp") }
                range.ports = try RuleParser.ports(text, separator: "-")
            }
            range.isRandom = has("--random") || has("--random-fully")
            return target == "MASQUERADE" ? .masquerade(range) : .redirect(range)
        case "NOTRACK":
            try only(.raw)
            return .untrack
        case "CT":
            try only(.raw)
            guard has("--notrack") else { throw RuleProblem(reason: "of CT only --notrack is known", isUnknown: true) }
            return .untrack
        case "TCPMSS":
            guard rule.proto == 6, !rule.inverted.contains(.proto) else { throw RuleProblem(reason: "TCPMSS needs -p tcp") }
            if has("--clamp-mss-to-pmtu") { return .maximumSegmentSize(0) }
            guard let text = value("--set-mss"), let size = UInt16(text), size > 0 else {
                throw RuleProblem(reason: "TCPMSS needs --clamp-mss-to-pmtu or --set-mss with 1 to 65535")
            }
            return .maximumSegmentSize(size)
        case "TTL":
            try only(.mangle)
            for (option, kind) in [("--ttl-set", Comparison.equal), ("--ttl-dec", .less), ("--ttl-inc", .greater)] {
                guard let text = value(option) else { continue }
                guard let number = UInt8(text) else { throw RuleProblem(reason: "\(option) needs 0 to 255") }
                return .setTimeToLive(kind, number)
            }
            throw RuleProblem(reason: "TTL needs --ttl-set, --ttl-dec or --ttl-inc")
        default:
            throw RuleProblem(reason: "unknown target '\(target)'")
        }
    }

    /// All the ways to change a mark, as value and mask of `--set-xmark`: `mark = (mark & ~mask) ^ value`.
    private static func markOperation(_ options: [String]) throws(RuleProblem) -> (UInt32, UInt32)? {
        for (index, option) in options.enumerated() where index + 1 < options.count {
            let text = options[index + 1]
            switch option {
            case "--set-xmark": return try RuleParser.valueAndMask(text)
            case "--set-mark":
                let (value, mask) = try RuleParser.valueAndMask(text)
                return (value, value | mask)
            case "--or-mark":
                let value = try RuleParser.valueAndMask(text).0
                return (value, value)
            case "--and-mark": return (0, ~(try RuleParser.valueAndMask(text).0))
            case "--xor-mark": return (try RuleParser.valueAndMask(text).0, 0)
            default: continue
            }
        }
        return nil
    }

    /// `address[-address][:port[-port]]`, or only `:port[-port]`.
    private static func addressesAndPorts(_ text: String) throws(RuleProblem) -> TranslationRange {
        var range = TranslationRange()
        let halves = text.split(separator: ":", omittingEmptySubsequences: false)
        guard halves.count <= 2 else { throw RuleProblem(reason: "'\(text)' is not address[-address][:port[-port]]") }
        if !halves[0].isEmpty {
            let ends = halves[0].split(separator: "-", omittingEmptySubsequences: false)
            guard ends.count <= 2, let low = IPv4Address(ends[0]), let high = ends.count == 2 ? IPv4Address(ends[1]) : low, low <= high else {
                throw RuleProblem(reason: "'\(halves[0])' is not an IPv4 address or a range of them")
            }
            (range.low, range.high, range.mapsAddress) = (low.rawValue, high.rawValue, true)
        }
        if halves.count == 2 {
            range.ports = try RuleParser.ports(String(halves[1]), separator: "-")
            guard range.ports?.low != 0 else { throw RuleProblem(reason: "'\(halves[1])' is not a port") }
        } else if !range.mapsAddress {
            throw RuleProblem(reason: "an address or a port is missing")
        }
        return range
    }

    static func text(_ target: String, _ options: [String], _ action: RuleAction, _ names: RuleNames) -> String {
        func flags(_ names: String...) -> String { names.filter(options.contains).map { " " + $0 }.joined() }
        func valueAndMask(_ value: UInt32, _ mask: UInt32) -> String { "--set-xmark \(RuleParser.hex(value))/\(RuleParser.hex(mask))" }
        switch action {
        case .reject(.tcpReset): return "REJECT --reject-with tcp-reset"
        case .reject(.icmp(let code)): return "REJECT --reject-with \(rejects.first { $0.2 == code }?.0 ?? "")"
        case .mark(let value, let mask): return "MARK " + valueAndMask(value, mask)
        case .setConnectionMark(let value, let mask): return "CONNMARK " + valueAndMask(value, mask)
        case .saveMark(let connection, let packet): return "CONNMARK --save-mark --nfmask \(RuleParser.hex(packet)) --ctmask \(RuleParser.hex(connection))"
        case .restoreMark(let connection, let packet): return "CONNMARK --restore-mark --nfmask \(RuleParser.hex(packet)) --ctmask \(RuleParser.hex(connection))"
        case .translateDestination(let range): return "DNAT --to-destination \(describe(range))" + flags("--random", "--random-fully", "--persistent")
        case .translateSource(let range): return "SNAT --to-source \(describe(range))" + flags("--random", "--random-fully", "--persistent")
        case .masquerade(let range), .redirect(let range):
            let ports = range.ports.map { " --to-ports " + RuleParser.describe($0, separator: "-") } ?? ""
            return target + ports + flags("--random", "--random-fully")
        case .untrack: return "CT --notrack"
        case .changeSet(let index):
            let change = names.setChanges[Int(index)]
            return "SET " + (change.adds ? "--add-set " : "--del-set ") + change.set.text + (change.renews ? " --exist" : "")
                + (change.timeout.map { " --timeout \($0)" } ?? "")
        case .maximumSegmentSize(let size): return size == 0 ? "TCPMSS --clamp-mss-to-pmtu" : "TCPMSS --set-mss \(size)"
        default:
            return ([target] + options.map { $0.hasPrefix("--") ? $0 : RuleTokens.quoted($0) }).joined(separator: " ")
        }
    }

    private static func describe(_ range: TranslationRange) -> String {
        var text = ""
        if range.mapsAddress {
            text = IPv4Address(rawValue: range.low).description
            if range.high != range.low { text += "-\(IPv4Address(rawValue: range.high))" }
        }
        if let ports = range.ports { text += ":" + RuleParser.describe(ports, separator: "-") }
        return text
    }
}
