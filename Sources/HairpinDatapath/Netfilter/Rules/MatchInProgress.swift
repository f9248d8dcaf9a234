import HairpinWire

/// A match while its rule is being read: collects options, their tests, and their canonical text.
struct MatchInProgress {
    let module: String
    private(set) var tests: [PacketTest] = []
    private(set) var options: [String] = []
    private var recent: RecentTest?
    private var recentList = "DEFAULT"
    private var nth: (every: UInt32, packet: UInt32)?
    private var isStatisticInverted = false
    private var mode: String?
    private var rate: (count: UInt64, unit: String)?
    private var burst: UInt32 = 5
    private var hasState = false
    private var setTest: SetTest?
    private var reversePath: (loose: Bool, acceptsLocal: Bool, inverted: Bool) = (false, false, false)
    /// Not known, and taken to match.
    private var isAssumed = false
    private var hasAssumedOptions = false

    private static let known: [String: Set<String>] = [
        "comment": ["--comment"],
        "tcp": ["--sport", "--source-port", "--dport", "--destination-port", "--tcp-flags", "--syn"],
        "udp": ["--sport", "--source-port", "--dport", "--destination-port"],
        "sctp": ["--sport", "--source-port", "--dport", "--destination-port"],
        "icmp": ["--icmp-type"],
        "conntrack": [
            "--ctstate", "--ctproto", "--ctorigsrc", "--ctorigdst", "--ctreplsrc", "--ctrepldst", "--ctorigsrcport", "--ctorigdstport", "--ctreplsrcport",
            "--ctrepldstport", "--ctdir", "--ctstatus",
        ],
        "state": ["--state"],
        "mark": ["--mark"],
        "connmark": ["--mark"],
        "addrtype": ["--src-type", "--dst-type", "--limit-iface-in", "--limit-iface-out"],
        "multiport": ["--ports", "--sports", "--source-ports", "--dports", "--destination-ports", "--port"],
        "statistic": ["--mode", "--probability", "--every", "--packet"],
        "recent": [
            "--name", "--set", "--rcheck", "--update", "--remove", "--seconds", "--hitcount", "--reap", "--rttl", "--rsource", "--rdest", "--mask",
        ],
        "limit": ["--limit", "--limit-burst"],
        "length": ["--length"],
        "physdev": ["--physdev-in", "--physdev-out", "--physdev-is-in", "--physdev-is-out", "--physdev-is-bridged"],
        "iprange": ["--src-range", "--dst-range"],
        "ttl": ["--ttl-eq", "--ttl-lt", "--ttl-gt"],
        "pkttype": ["--pkt-type"],
        "set": ["--match-set", "--return-nomatch"],
        "rpfilter": ["--loose", "--validmark", "--accept-local", "--invert"],
        "u32": ["--u32"],
        // It only counts.
        "nfacct": ["--nfacct-name"],
    ]

    init(module: String) throws(RuleProblem) {
        guard MatchInProgress.known[module] != nil else {
            throw RuleProblem(
                reason: "unknown match '-m \(module)'; known are \(MatchInProgress.known.keys.sorted().joined(separator: ", "))", isUnknown: true)
        }
        self.module = module
        switch module {
        case "tcp": tests = [.transport(6)]
        case "udp": tests = [.transport(17)]
        case "sctp": tests = [.transport(132)]
        case "icmp": tests = [.transport(1)]
        default: break
        }
    }

    /// A match that is not known, with the words of its options: it holds for every packet.
    init(assuming module: String, options words: [String] = []) {
        self.module = module
        options = words.map { $0.hasPrefix("--") || $0 == "!" ? $0 : RuleTokens.bare($0) }
        isAssumed = true
    }

    /// An option that is not known, of a match that is.
    mutating func assume(_ words: [String]) {
        hasAssumedOptions = true
        options += words.map { $0.hasPrefix("--") || $0 == "!" ? $0 : RuleTokens.bare($0) }
    }

    /// Of `-m set`.
    var setName: String? { setTest?.set.name }
    /// Holds for every packet from now on; its text stays.
    mutating func forgetTests() { tests = [] }

    func knows(_ option: String) -> Bool { MatchInProgress.known[module]?.contains(option) ?? false }

    /// Reads `option` and its arguments from `words` at `position`.
    mutating func take(_ option: String, _ negated: Bool, _ words: [String], _ position: inout Int, _ names: inout RuleNames) throws(RuleProblem) {
        var negated = negated
        if position < words.count, words[position] == "!", module != "comment" {
            negated = true
            position += 1
        }
        func argument(_ position: inout Int) throws(RuleProblem) -> String {
            guard position < words.count else { throw RuleProblem(reason: "\(option) needs a value") }
            position += 1
            return words[position - 1]
        }
        func put(_ text: String) { options.append((negated ? "! " : "") + text) }
        switch (module, option) {
        case ("comment", _):
            let text = try argument(&position)
            guard text.utf8.count < 256 else { throw RuleProblem(reason: "a comment is longer than 255 characters") }
            put("--comment " + RuleTokens.quoted(text))
        case ("tcp", "--sport"), ("tcp", "--source-port"), ("udp", "--sport"), ("udp", "--source-port"), ("sctp", "--sport"), ("sctp", "--source-port"):
            let range = try RuleParser.ports(try argument(&position))
            tests.append(.port(.source, range, inverted: negated))
            put("--sport " + RuleParser.describe(range))
        case ("tcp", "--dport"), ("tcp", "--destination-port"), ("udp", "--dport"), ("udp", "--destination-port"), ("sctp", "--dport"), ("sctp", "--destination-port"):
            let range = try RuleParser.ports(try argument(&position))
            tests.append(.port(.destination, range, inverted: negated))
            put("--dport " + RuleParser.describe(range))
        case ("tcp", "--tcp-flags"):
            let mask = try MatchInProgress.tcpFlags(try argument(&position))
            let set = try MatchInProgress.tcpFlags(try argument(&position))
            tests.append(.tcpFlags(mask: mask, set: set, inverted: negated))
            put("--tcp-flags \(MatchInProgress.describe(tcpFlags: mask)) \(MatchInProgress.describe(tcpFlags: set))")
        case ("tcp", "--syn"):
            tests.append(.tcpFlags(mask: 0x17, set: 0x02, inverted: negated))
            put("--tcp-flags FIN,SYN,RST,ACK SYN")
        case ("icmp", _):
            let (type, low, high, text) = try MatchInProgress.icmpType(try argument(&position))
            tests.append(.icmp(type: type, lowCode: low, highCode: high, inverted: negated))
            put("--icmp-type " + text)
        case ("conntrack", _), ("state", _):
            let value = try argument(&position)
            put(option + " " + (try connection(option, value, negated)))
        case ("mark", _), ("connmark", _):
            let (value, mask) = try RuleParser.valueAndMask(try argument(&position))
            tests.append(module == "mark" ? .mark(value, mask: mask, inverted: negated) : .connectionMark(value, mask: mask, inverted: negated))
            put("--mark " + RuleParser.hex(value) + (mask == ~0 ? "" : "/" + RuleParser.hex(mask)))
        case ("addrtype", "--limit-iface-in"), ("addrtype", "--limit-iface-out"):
            guard !negated else { throw RuleProblem(reason: "\(option) cannot be negated") }
            let side: PhysicalSide = option == "--limit-iface-in" ? .input : .output
            tests = tests.map { if case .addressType(let a, let types, let inverted, _) = $0 { .addressType(a, types, inverted: inverted, limited: side) } else { $0 } }
            limited = side
            put(option)
        case ("addrtype", _):
            var types: AddressTypes = []
            var words: [String] = []
            for part in try argument(&position).split(separator: ",", omittingEmptySubsequences: false) {
                guard let known = AddressTypes.names.first(where: { $0.0 == part }) else {
                    throw RuleProblem(reason: "unknown address type '\(part)'; known are \(AddressTypes.names.map(\.0).joined(separator: ", "))")
                }
                types.insert(known.1)
                words.append(known.0)
            }
            tests.append(.addressType(option == "--src-type" ? .source : .destination, types, inverted: negated, limited: limited))
            put(option + " " + words.joined(separator: ","))
        case ("multiport", _):
            let first = names.portRanges.count
            let text = try argument(&position)
            for part in text.split(separator: ",", omittingEmptySubsequences: false) { names.portRanges.append(try RuleParser.ports(String(part))) }
            let ranges = names.portRanges[first...]
            guard ranges.reduce(0, { $0 + ($1.low == $1.high ? 1 : 2) }) <= 15 else { throw RuleProblem(reason: "multiport holds at most 15 ports") }
            let side: PortSide = option.hasPrefix("--s") ? .source : option.hasPrefix("--d") ? .destination : .either
            tests.append(.ports(side, first: UInt32(first), count: UInt16(ranges.count), inverted: negated))
            put((side == .source ? "--sports " : side == .destination ? "--dports " : "--ports ") + ranges.map { RuleParser.describe($0) }.joined(separator: ","))
        case ("statistic", _): try statistic(option, try argument(&position), negated)
        case ("recent", _):
            let value = ["--name", "--seconds", "--hitcount", "--mask"].contains(option) ? try argument(&position) : ""
            try recentOption(option, value, negated)
        case ("limit", "--limit"):
            let text = try argument(&position)
            guard !negated, let parsed = MatchInProgress.rate(text) else {
                throw RuleProblem(reason: "'\(text)' is not a rate such as 5/min (second, minute, hour, day)")
            }
            rate = parsed
        case ("limit", _):
            let text = try argument(&position)
            guard let number = UInt32(text), 1...10_000 ~= number else { throw RuleProblem(reason: "--limit-burst is 1 to 10000, not '\(text)'") }
            burst = number
        case ("length", _):
            let range = try RuleParser.ports(try argument(&position))
            tests.append(.length(range, inverted: negated))
            put("--length " + RuleParser.describe(range))
        case ("physdev", "--physdev-in"), ("physdev", "--physdev-out"):
            let name = try RuleParser.interface(try argument(&position))
            tests.append(.physicalDevice(option == "--physdev-in" ? .input : .output, pattern: names.interface(name), inverted: negated))
            put(option + " " + name)
        case ("physdev", "--physdev-is-bridged"):
            tests.append(.isBridged(inverted: negated))
            put(option)
        case ("physdev", _):
            tests.append(.isPhysicalDevice(option == "--physdev-is-in" ? .input : .output, inverted: negated))
            put(option)
        case ("iprange", _):
            let text = try argument(&position)
            let ends = text.split(separator: "-", omittingEmptySubsequences: false)
            guard (1...2) ~= ends.count, let low = IPv4Address(ends[0]), let high = ends.count == 2 ? IPv4Address(ends[1]) : low, low <= high else {
                throw RuleProblem(reason: "'\(text)' is not a range of addresses such as 10.0.0.1-10.0.0.9")
            }
            tests.append(.addressRange(option == "--src-range" ? .source : .destination, low: low.rawValue, high: high.rawValue, inverted: negated))
            put("\(option) \(low)-\(high)")
        case ("ttl", _):
            let text = try argument(&position)
            guard let number = UInt8(text) else { throw RuleProblem(reason: "\(option) needs 0 to 255, not '\(text)'") }
            let comparison: Comparison = option == "--ttl-eq" ? .equal : option == "--ttl-lt" ? .less : .greater
            guard !negated || comparison == .equal else { throw RuleProblem(reason: "\(option) cannot be negated") }
            tests.append(.timeToLive(comparison, number, inverted: negated))
            put("\(option) \(number)")
        case ("pkttype", _):
            let text = try argument(&position)
            guard let index = ["unicast", "broadcast", "multicast"].firstIndex(of: text == "host" ? "unicast" : text) else {
                throw RuleProblem(reason: "unknown packet type '\(text)'; known are unicast, broadcast and multicast")
            }
            tests.append(.packetType(UInt8(index), inverted: negated))
            put("--pkt-type " + ["unicast", "broadcast", "multicast"][index])
        case ("set", "--match-set"):
            guard setTest == nil else { throw RuleProblem(reason: "a match asks one set") }
            let name = try argument(&position)
            setTest = SetTest(set: try SetReference(name, try argument(&position)), inverted: negated, returnsNoMatch: false)
        case ("set", _):
            guard setTest != nil else { throw RuleProblem(reason: "\(option) comes after --match-set") }
            setTest?.returnsNoMatch = true
        case ("rpfilter", _):
            if option == "--loose" { reversePath.loose = true }
            if option == "--accept-local" { reversePath.acceptsLocal = true }
            if option == "--invert" { reversePath.inverted = true }
            // Routes do not look at marks here, so --validmark asks nothing more.
            put(option)
        case ("u32", _):
            var test = try UniversalTest(try argument(&position))
            test.inverted = negated
            put("--u32 \"\(test.text)\"")
            names.universals.append(test)
            tests.append(.universal(index: UInt32(names.universals.count - 1)))
        case ("nfacct", _):
            put("\(option) \(try argument(&position))")
        default:
            throw RuleProblem(reason: "unknown option '\(option)' of match \(module)", isUnknown: true)
        }
    }

    private var limited: PhysicalSide?

    /// After the last option: matches whose options only make sense together.
    mutating func finish(_ names: inout RuleNames) throws(RuleProblem) {
        if isAssumed { return }
        switch module {
        case "set":
            guard let test = setTest else { throw RuleProblem(reason: "-m set needs --match-set") }
            names.setTests.append(test)
            tests.append(.set(index: UInt32(names.setTests.count - 1)))
            options.append((test.inverted ? "! " : "") + "--match-set " + test.set.text + (test.returnsNoMatch ? " --return-nomatch" : ""))
        case "rpfilter":
            tests.append(.reversePath(loose: reversePath.loose, acceptsLocal: reversePath.acceptsLocal, inverted: reversePath.inverted))
        case "statistic":
            guard let mode else { throw RuleProblem(reason: "statistic needs --mode random or --mode nth") }
            if mode == "nth" {
                guard let nth, nth.every > 0 else { throw RuleProblem(reason: "--mode nth needs --every") }
                guard nth.packet < nth.every else { throw RuleProblem(reason: "--packet must be below --every") }
                tests.append(.nth(every: nth.every, packet: nth.packet, slot: names.slot(), inverted: isStatisticInverted))
                options.append("--mode nth \(isStatisticInverted ? "! " : "")--every \(nth.every) --packet \(nth.packet)")
            } else if options.isEmpty {
                throw RuleProblem(reason: "--mode random needs --probability")
            }
        case "recent":
            guard var test = recent else { throw RuleProblem(reason: "recent needs one of --set, --rcheck, --update and --remove") }
            guard !test.reap || test.seconds > 0 else { throw RuleProblem(reason: "--reap needs --seconds") }
            test.list = names.recentList(recentList)
            names.recents.append(test)
            tests.append(.recent(index: UInt32(names.recents.count - 1)))
            var text = (test.inverted ? "! " : "") + ["--set", "--rcheck", "--update", "--remove"][Int(test.action.rawValue)]
            if test.seconds > 0 { text += " --seconds \(test.seconds)" }
            if test.reap { text += " --reap" }
            if test.hits > 0 { text += " --hitcount \(test.hits)" }
            if test.byTimeToLive { text += " --rttl" }
            options = [text + " --name \(recentList) --mask \(IPv4Address(rawValue: test.mask)) \(test.byDestination ? "--rdest" : "--rsource")"]
        case "limit":
            let rate = self.rate ?? (3, "hour")
            let unit: UInt64 = ["sec": 1, "min": 60, "hour": 3600, "day": 86400][rate.unit] ?? 1
            tests.append(.limit(period: unit * 1_000_000_000 / rate.count, burst: burst, slot: names.slot(), inverted: false))
            options = ["--limit \(rate.count)/\(rate.unit)" + (burst == 5 ? "" : " --limit-burst \(burst)")]
        case "conntrack" where hasState:
            // With a state among the options, the others do not count for packets without connection (`conntrack_mt`).
            tests = tests.map {
                switch $0 {
                case .connectionAddress(let f, let a, let m, let i, _): .connectionAddress(f, address: a, mask: m, inverted: i, ifUntracked: true)
                case .connectionPort(let f, let r, let i, _): .connectionPort(f, r, inverted: i, ifUntracked: true)
                case .connectionProtocol(let p, let i, _): .connectionProtocol(p, inverted: i, ifUntracked: true)
                case .connectionReply(let r, _): .connectionReply(r, ifUntracked: true)
                case .connectionStatus(let s, let i, _): .connectionStatus(s, inverted: i, ifUntracked: true)
                default: $0
                }
            }
        case "comment", "tcp", "udp", "sctp", "icmp", "nfacct": break
        default:
            guard !tests.isEmpty || hasAssumedOptions else { throw RuleProblem(reason: "-m \(module) needs an option") }
        }
    }

    private mutating func connection(_ option: String, _ value: String, _ negated: Bool) throws(RuleProblem) -> String {
        switch option {
        case "--ctstate", "--state":
            var states: ConnectionStates = []
            for part in value.split(separator: ",", omittingEmptySubsequences: false) {
                guard let known = ConnectionStates.names.first(where: { $0.0 == part.uppercased() }), option == "--ctstate" || known.1.rawValue < 32 else {
                    throw RuleProblem(reason: "unknown state '\(part)'; known are \(ConnectionStates.names.map(\.0).joined(separator: ", "))")
                }
                states.insert(known.1)
            }
            hasState = true
            tests.append(.connectionState(states, inverted: negated))
            return ConnectionStates.names.filter { states.contains($0.1) }.map(\.0).joined(separator: ",")
        case "--ctproto":
            guard let number = RuleParser.protocolNumber(value), number != 0 else { throw RuleProblem(reason: "unknown protocol '\(value)'") }
            tests.append(.connectionProtocol(number, inverted: negated, ifUntracked: false))
            return String(number)
        case "--ctdir":
            guard value == "ORIGINAL" || value == "REPLY" else { throw RuleProblem(reason: "--ctdir is ORIGINAL or REPLY") }
            tests.append(.connectionReply((value == "REPLY") != negated, ifUntracked: false))
            return value
        case "--ctstatus":
            var bits: UInt16 = 0
            var words: [String] = []
            for part in value.split(separator: ",") {
                guard let known = [("NONE", 0), ("EXPECTED", 1), ("SEEN_REPLY", 2), ("ASSURED", 4), ("CONFIRMED", 8)].first(where: { $0.0 == part }) else {
                    throw RuleProblem(reason: "unknown status '\(part)'")
                }
                bits |= UInt16(known.1)
                words.append(known.0)
            }
            tests.append(.connectionStatus(bits, inverted: negated, ifUntracked: false))
            return words.joined(separator: ",")
        default:
            let field: ConnectionField =
                option.hasPrefix("--ctorigsrc")
                ? .originalSource
                : option.hasPrefix("--ctorigdst") ? .originalDestination : option.hasPrefix("--ctreplsrc") ? .replySource : .replyDestination
            if option.hasSuffix("port") {
                let range = try RuleParser.ports(value)
                tests.append(.connectionPort(field, range, inverted: negated, ifUntracked: false))
                return RuleParser.describe(range)
            }
            guard let (address, mask) = RuleParser.addressAndMask(value) else { throw RuleProblem(reason: "'\(value)' is not an IPv4 address or prefix") }
            tests.append(.connectionAddress(field, address: address, mask: mask, inverted: negated, ifUntracked: false))
            return mask == ~0 ? IPv4Address(rawValue: address).description : RuleParser.describe(address, mask)
        }
    }

    private mutating func statistic(_ option: String, _ value: String, _ negated: Bool) throws(RuleProblem) {
        switch option {
        case "--mode":
            guard value == "random" || value == "nth" else { throw RuleProblem(reason: "--mode is random or nth") }
            mode = value
        case "--probability":
            guard mode == "random", let probability = Double(value), 0...1 ~= probability else {
                throw RuleProblem(reason: "--probability is 0 to 1 and needs --mode random before it")
            }
            // As libxt_statistic stores it: 31 bits, rounded.
            let scaled = UInt32((probability * 2_147_483_648).rounded())
            tests.append(.random(below: scaled, inverted: negated))
            options.append("--mode random \(negated ? "! " : "")--probability \(MatchInProgress.describe(probability: scaled))")
        default:
            guard mode == "nth", let number = UInt32(value) else { throw RuleProblem(reason: "\(option) needs a number, and --mode nth before it") }
            if option == "--every" {
                nth = (number, nth?.packet ?? 0)
                isStatisticInverted = negated
            } else {
                nth = (nth?.every ?? 0, number)
            }
        }
    }

    private mutating func recentOption(_ option: String, _ value: String, _ negated: Bool) throws(RuleProblem) {
        var test = recent ?? RecentTest(action: .set, list: 0)
        switch option {
        case "--set", "--rcheck", "--update", "--remove":
            guard recent == nil else { throw RuleProblem(reason: "recent takes only one of --set, --rcheck, --update and --remove") }
            test.action = option == "--set" ? .set : option == "--rcheck" ? .check : option == "--update" ? .update : .remove
            test.inverted = negated
            test.mask = pendingRecent.mask
            test.byDestination = pendingRecent.byDestination
            recent = test
            return
        case "--name":
            guard !value.isEmpty, value.utf8.count < 200, !value.contains("/") else { throw RuleProblem(reason: "'\(value)' is no name for a list") }
            recentList = value
            return
        case "--mask":
            guard let mask = IPv4Address(value) else { throw RuleProblem(reason: "'\(value)' is not a mask") }
            pendingRecent.mask = mask.rawValue
        case "--rsource": pendingRecent.byDestination = false
        case "--rdest": pendingRecent.byDestination = true
        case "--reap": test.reap = true
        case "--rttl": test.byTimeToLive = true
        default:
            guard let number = UInt32(value), number > 0 else { throw RuleProblem(reason: "\(option) needs a number above 0") }
            if option == "--seconds" {
                test.seconds = number
            } else {
                guard number <= UInt32(RecentList.stampLimit) else { throw RuleProblem(reason: "--hitcount is at most \(RecentList.stampLimit)") }
                test.hits = number
            }
        }
        if recent != nil {
            test.mask = pendingRecent.mask
            test.byDestination = pendingRecent.byDestination
            recent = test
        } else if ["--reap", "--rttl", "--seconds", "--hitcount"].contains(option) {
            throw RuleProblem(reason: "\(option) comes after --rcheck or --update")
        }
    }
    /// Options of recent that may come before the action.
    private var pendingRecent: (mask: UInt32, byDestination: Bool) = (~0, false)
}

// Words for values.
extension MatchInProgress {
    private static let flagNames: [(String, UInt8)] = [("FIN", 1), ("SYN", 2), ("RST", 4), ("PSH", 8), ("ACK", 16), ("URG", 32)]

    static func tcpFlags(_ text: String) throws(RuleProblem) -> UInt8 {
        var bits: UInt8 = 0
        for part in text.split(separator: ",") {
            switch part {
            case "ALL": bits |= 0x3f
            case "NONE": break
            default:
                guard let known = flagNames.first(where: { $0.0 == part }) else { throw RuleProblem(reason: "unknown TCP flag '\(part)'") }
                bits |= known.1
            }
        }
        return bits
    }
    static func describe(tcpFlags bits: UInt8) -> String {
        bits == 0 ? "NONE" : flagNames.filter { bits & $0.1 != 0 }.map(\.0).joined(separator: ",")
    }

    /// Eleven decimals, exactly rounded, as `%.11f` prints them.
    static func describe(probability scaled: UInt32) -> String {
        let (high, low) = UInt64(scaled).multipliedFullWidth(by: 100_000_000_000)
        let (quotient, remainder) = (UInt64(1) << 31).dividingFullWidth((high, low))
        let rounded = quotient + (remainder >= 1 << 30 ? 1 : 0)
        let fraction = String(rounded % 100_000_000_000)
        return "\(rounded / 100_000_000_000)." + String(repeating: "0", count: 11 - fraction.utf8.count) + fraction
    }

    private static let icmpNames: [(String, UInt8, UInt8?)] = [
        ("echo-reply", 0, nil), ("pong", 0, nil), ("destination-unreachable", 3, nil), ("network-unreachable", 3, 0), ("host-unreachable", 3, 1),
        ("protocol-unreachable", 3, 2), ("port-unreachable", 3, 3), ("fragmentation-needed", 3, 4), ("network-prohibited", 3, 9), ("host-prohibited", 3, 10),
        ("communication-prohibited", 3, 13), ("source-quench", 4, nil), ("redirect", 5, nil), ("echo-request", 8, nil), ("ping", 8, nil),
        ("router-advertisement", 9, nil), ("router-solicitation", 10, nil), ("time-exceeded", 11, nil), ("ttl-exceeded", 11, nil),
        ("ttl-zero-during-transit", 11, 0), ("ttl-zero-during-reassembly", 11, 1), ("parameter-problem", 12, nil), ("timestamp-request", 13, nil),
        ("timestamp-reply", 14, nil),
    ]
    static func icmpType(_ text: String) throws(RuleProblem) -> (UInt8, UInt8, UInt8, String) {
        if text == "any" { return (255, 0, 255, "any") }
        if let named = icmpNames.first(where: { $0.0 == text }) {
            guard let code = named.2 else { return (named.1, 0, 255, String(named.1)) }
            return (named.1, code, code, "\(named.1)/\(code)")
        }
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard (1...2) ~= halves.count, let type = UInt8(halves[0]) else { throw RuleProblem(reason: "unknown ICMP type '\(text)'") }
        guard halves.count == 2 else { return (type, 0, 255, String(type)) }
        guard let code = UInt8(halves[1]) else { throw RuleProblem(reason: "unknown ICMP code '\(text)'") }
        return (type, code, code, "\(type)/\(code)")
    }

    /// `5/min` and the like: per second, minute, hour or day, abbreviated at will.
    static func rate(_ text: String) -> (UInt64, String)? {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard (1...2) ~= halves.count, let count = UInt64(halves[0]), 1...10_000 ~= count else { return nil }
        guard halves.count == 2 else { return (count, "sec") }
        for (long, short) in [("second", "sec"), ("minute", "min"), ("hour", "hour"), ("day", "day")] where !halves[1].isEmpty && long.hasPrefix(halves[1].lowercased()) {
            return (count, short)
        }
        return nil
    }
}
