import HairpinWire

/// How constants beside an expression, or in a set, are written.
enum WordType: Hashable, Sendable {
    case address, proto, port, number, interface, state, status, direction, icmpType, icmpCode, packetType, tcpFlags

    /// By nftables' name of a data type.
    init(named name: String) throws(RuleProblem) {
        switch name {
        case "ipv4_addr": self = .address
        case "inet_proto": self = .proto
        case "inet_service": self = .port
        case "mark", "integer", "ct_mark": self = .number
        case "ifname", "iface_index": self = .interface
        case "ct_state": self = .state
        case "ct_status": self = .status
        case "ct_dir": self = .direction
        case "icmp_type": self = .icmpType
        case "icmp_code": self = .icmpCode
        case "pkt_type": self = .packetType
        case "tcp_flag": self = .tcpFlags
        default: throw RuleProblem(reason: "the type '\(name)' is not known", isUnknown: true)
        }
    }

    /// nftables' name.
    var name: String {
        switch self {
        case .address: "ipv4_addr"
        case .proto: "inet_proto"
        case .port: "inet_service"
        case .number: "integer"
        case .interface: "ifname"
        case .state: "ct_state"
        case .status: "ct_status"
        case .direction: "ct_dir"
        case .icmpType: "icmp_type"
        case .icmpCode: "icmp_code"
        case .packetType: "pkt_type"
        case .tcpFlags: "tcp_flag"
        }
    }

    /// Symbols of the types that have any (nftables' `symbol_table`s).
    var symbols: [String: UInt32] {
        switch self {
        case .proto:
            [
                "icmp": 1, "igmp": 2, "ipencap": 4, "tcp": 6, "udp": 17, "dccp": 33, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58, "ipv6-icmp": 58, "ospf": 89,
                "pim": 103, "comp": 108, "vrrp": 112, "l2tp": 115, "sctp": 132, "udplite": 136,
            ]
        case .state: ["invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64]
        case .status: ["expected": 1, "seen-reply": 2, "assured": 4, "confirmed": 8, "snat": 16, "dnat": 32, "dying": 512]
        case .direction: ["original": 0, "reply": 1]
        case .icmpType:
            [
                "echo-reply": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5, "echo-request": 8, "router-advertisement": 9, "router-solicitation": 10,
                "time-exceeded": 11, "parameter-problem": 12, "timestamp-request": 13, "timestamp-reply": 14, "info-request": 15, "info-reply": 16,
                "address-mask-request": 17, "address-mask-reply": 18,
            ]
        case .icmpCode:
            [
                "net-unreachable": 0, "host-unreachable": 1, "prot-unreachable": 2, "port-unreachable": 3, "frag-needed": 4, "net-prohibited": 9, "host-prohibited": 10,
                "admin-prohibited": 13,
            ]
        case .packetType: ["host": 0, "unicast": 0, "broadcast": 1, "multicast": 2]
        case .tcpFlags: ["fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ecn": 64, "cwr": 128]
        default: [:]
        }
    }
}

// Expressions and conditions (libnftables-json(5), "Expressions").
extension NativeReader {
    // MARK: Constants

    mutating func interned(_ value: JSON) throws(RuleProblem) -> UInt32 {
        guard let name = value.string, !name.isEmpty else { throw RuleProblem(reason: "\(value.compact) is no name of an interface") }
        guard !name.hasSuffix("*") else { throw RuleProblem(reason: "a pattern of interfaces in a set is not known: \(name)", isUnknown: true) }
        return rules.elements.interface(name)
    }

    func constant(_ value: JSON, _ type: WordType) throws(RuleProblem) -> UInt32 {
        func problem() -> RuleProblem { RuleProblem(reason: "\(value.compact) is not known as a constant here", isUnknown: true) }
        if let number = value.int {
            guard let word = UInt32(exactly: number) else { throw problem() }
            return word
        }
        // Flags one beside the other.
        if case .array(let items) = value, !items.isEmpty {
            var bits: UInt32 = 0
            for item in items { bits |= try constant(item, type) }
            return bits
        }
        if let items = value["|"]?.items, !items.isEmpty {
            var bits: UInt32 = 0
            for item in items { bits |= try constant(item, type) }
            return bits
        }
        guard let text = value.string else { throw problem() }
        if type == .address, let address = IPv4Address(text) { return address.rawValue }
        if let known = type.symbols[text] ?? RuleParser.number(text) { return known }
        if type == .port, let port = RuleParser.port(text) { return UInt32(port) }
        throw problem()
    }

    /// The lowest and the highest word of a constant, a prefix or a range.
    mutating func bounds(_ value: JSON, _ type: WordType) throws(RuleProblem) -> (UInt32, UInt32) {
        if type == .interface {
            let word = try interned(value)
            return (word, word)
        }
        return try fixedBounds(value, type)
    }

    func fixedBounds(_ value: JSON, _ type: WordType) throws(RuleProblem) -> (UInt32, UInt32) {
        if let prefix = value["prefix"] {
            guard let length = prefix["len"]?.int, 0...32 ~= length else { throw RuleProblem(reason: "\(value.compact) is no prefix of IPv4") }
            let low = try constant(prefix["addr"] ?? .null, type) & IPv4Prefix.mask(length)
            return (low, low | ~IPv4Prefix.mask(length))
        }
        if let range = value["range"] {
            guard range.items.count == 2 else { throw RuleProblem(reason: "\(value.compact) is no range") }
            return (try constant(range.items[0], type), try constant(range.items[1], type))
        }
        let word = try constant(value, type)
        return (word, word)
    }

    // MARK: Values

    /// An expression as a field and bits, and how constants beside it are written.
    mutating func value(_ expression: JSON) throws(RuleProblem) -> (PacketValue, WordType) {
        guard case .object(let members) = expression, let member = members.first else {
            throw RuleProblem(reason: "\(expression.compact) is not known as an expression", isUnknown: true)
        }
        let body = member.value
        func unknown() -> RuleProblem { RuleProblem(reason: "expression '\(NFTablesText.expression(expression))' is not known", isUnknown: true) }
        switch member.name {
        case "payload": return try payload(body, unknown())
        case "meta":
            switch body["key"]?.string ?? "" {
            case "mark": return (PacketValue(field: .mark), .number)
            case "l4proto": return (PacketValue(field: .proto), .proto)
            case "length": return (PacketValue(field: .length), .number)
            case "iifname", "iif": return (PacketValue(field: .inputName), .interface)
            case "oifname", "oif": return (PacketValue(field: .outputName), .interface)
            case "pkttype": return (PacketValue(field: .packetType), .packetType)
            default: throw unknown()
            }
        case "ct": return try connection(body, unknown())
        case "numgen":
            guard let modulus = body["mod"]?.int, let modulus = UInt32(exactly: modulus), let offset = UInt32(exactly: body["offset"]?.int ?? 0) else { throw unknown() }
            // Each number is followed where all outcomes are asked for.
            guard 1...65_536 ~= modulus else { throw RuleProblem(reason: "numgen of \(modulus) numbers is not known (1 to 65536)", isUnknown: true) }
            switch body["mode"]?.string {
            case "random": return (PacketValue(field: .random(modulus: modulus, offset: offset)), .number)
            case "inc": return (PacketValue(field: .counting(modulus: modulus, offset: offset, slot: rules.names.slot())), .number)
            default: throw unknown()
            }
        case "&", "|", "^":
            guard let first = body.items.first, body.items.count > 1 else { throw unknown() }
            var (result, type) = try value(first)
            for operand in body.items.dropFirst() {
                let word = try constant(operand, type)
                switch member.name {
                case "&": (result.mask, result.flip) = (result.mask & word, result.flip & word)
                case "|": (result.mask, result.flip) = (result.mask & ~word, result.flip | word)
                default: result.flip ^= word
                }
            }
            return (result, type)
        default: throw unknown()
        }
    }

    private func payload(_ body: JSON, _ unknown: RuleProblem) throws(RuleProblem) -> (PacketValue, WordType) {
        func network(_ offset: UInt8, _ bytes: UInt8, _ type: WordType = .number) -> (PacketValue, WordType) { (PacketValue(field: .network(offset: offset, bytes: bytes)), type) }
        func transport(_ proto: UInt8, _ offset: UInt8, _ bytes: UInt8, _ type: WordType = .number) -> (PacketValue, WordType) {
            (PacketValue(field: .transport(proto: proto, offset: offset, bytes: bytes)), type)
        }
        let (header, field) = (body["protocol"]?.string ?? "", body["field"]?.string ?? "")
        let protocols: [String: UInt8] = ["th": 0, "tcp": 6, "udp": 17, "sctp": 132, "udplite": 136]
        if let proto = protocols[header], field == "sport" || field == "dport" {
            return (PacketValue(field: .port(field == "sport" ? .source : .destination, proto: proto)), .port)
        }
        switch (header, field) {
        case ("ip", "saddr"): return (PacketValue(field: .sourceAddress), .address)
        case ("ip", "daddr"): return (PacketValue(field: .destinationAddress), .address)
        case ("ip", "protocol"): return (PacketValue(field: .proto), .proto)
        case ("ip", "ttl"): return network(8, 1)
        case ("ip", "length"): return (PacketValue(field: .length), .number)
        case ("ip", "id"): return network(4, 2)
        case ("ip", "frag-off"): return network(6, 2)
        case ("tcp", "flags"): return transport(6, 13, 1, .tcpFlags)
        case ("tcp", "window"): return transport(6, 14, 2)
        case ("udp", "length"): return transport(17, 4, 2)
        case ("icmp", "type"): return transport(1, 0, 1, .icmpType)
        case ("icmp", "code"): return transport(1, 1, 1, .icmpCode)
        default: throw unknown
        }
    }

    private func connection(_ body: JSON, _ unknown: RuleProblem) throws(RuleProblem) -> (PacketValue, WordType) {
        let key = body["key"]?.string ?? ""
        let direction = body["dir"]?.string
        switch key {
        case "state": return (PacketValue(field: .connectionState), .state)
        case "status": return (PacketValue(field: .connectionStatus), .status)
        case "mark": return (PacketValue(field: .connectionMark), .number)
        case "direction": return (PacketValue(field: .connectionDirection), .direction)
        case "protocol": return (PacketValue(field: .connectionProtocol), .proto)
        default: break
        }
        guard let direction, direction == "original" || direction == "reply" else { throw unknown }
        let isOriginal = direction == "original"
        switch key {
        case "ip saddr", "saddr": return (PacketValue(field: .connectionAddress(isOriginal ? .originalSource : .replySource)), .address)
        case "ip daddr", "daddr": return (PacketValue(field: .connectionAddress(isOriginal ? .originalDestination : .replyDestination)), .address)
        case "proto-src": return (PacketValue(field: .connectionPort(isOriginal ? .originalSource : .replySource)), .port)
        case "proto-dst": return (PacketValue(field: .connectionPort(isOriginal ? .originalDestination : .replyDestination)), .port)
        default: throw unknown
        }
    }

    /// A key's values, and the set or map that is asked: by name, or the rule's own. `data` is nil for sets, ["verdict"] for maps of verdicts, empty where the
    /// map tells its type itself.
    mutating func lookup(_ key: JSON, _ data: JSON, data types: [String]?, _ builder: inout NativeRule) throws(RuleProblem) -> ElementLookup {
        var lookup = ElementLookup(key: [], set: 0)
        var words: [WordType] = []
        for part in key["concat"]?.items ?? [key] {
            if NativeReader.isIPv6(part) {
                builder.isNever = true
                return lookup
            }
            let (value, type) = try self.value(part)
            lookup.key.append(value)
            words.append(type)
        }
        if lookup.key.count > 1, !lookup.key.allSatisfy(\.field.isPure) { throw RuleProblem(reason: "numgen among other parts of a key is not known", isUnknown: true) }
        if let name = data.string {
            guard name.first == "@" else { throw RuleProblem(reason: "'\(name)' is no set") }
            lookup.set = try set(named: name, builder.table)
            guard rules.elements.sets[lookup.set].types.count == words.count else {
                throw RuleProblem(reason: "the key has \(words.count) parts, set '\(name)' \(rules.elements.sets[lookup.set].types.count)")
            }
            return lookup
        }
        var own = ElementSet(name: "", table: builder.table, types: words.map(\.name))
        try fill(&own, data["set"]?.items ?? [data], words, types, builder.table)
        lookup.set = rules.elements.add(own)
        return lookup
    }

    static func isIPv6(_ expression: JSON) -> Bool {
        for sign in ["&", "|", "^", "<<", ">>"] { if let first = expression[sign]?.items.first { return isIPv6(first) } }
        let header = expression["payload"]?["protocol"]?.string
        return header == "ip6" || header == "icmpv6" || expression["exthdr"] != nil || expression["ct"]?["key"]?.string?.hasPrefix("ip6 ") == true
    }

    // MARK: Conditions

    mutating func match(_ body: JSON, _ builder: inout NativeRule) throws(RuleProblem) {
        let (left, right) = (body["left"] ?? .null, body["right"] ?? .null)
        let op = body["op"]?.string ?? "=="
        for side in left["concat"]?.items ?? [left] where NativeReader.isIPv6(side) {
            builder.isNever = true
            return
        }
        if try takesFamily(left, right, op, &builder) { return }
        if try takesRoute(left, right, op, &builder) { return }
        if try takesPlain(left, right, op, &builder) { return }
        if right.string?.first == "@" || right["set"] != nil || left["concat"] != nil {
            guard op == "==" || op == "!=" || op == "in" else { throw RuleProblem(reason: "'\(op)' and a set are not known", isUnknown: true) }
            var lookup = try lookup(left, right, data: nil, &builder)
            if builder.isNever { return }
            lookup.isInverted = op == "!="
            rules.names.native.lookups.append(lookup)
            try builder.require(.element(index: UInt32(rules.names.native.lookups.count - 1)), isPure: lookup.key.allSatisfy(\.field.isPure))
            return
        }
        var (value, type) = try self.value(left)
        var test: ValueTest
        switch op {
        case "in", "!":
            // Some of the bits, or none.
            value.mask &= try constant(right, type)
            guard value.flip == 0 else { throw RuleProblem(reason: "bits of '\(NFTablesText.expression(left))' are not known", isUnknown: true) }
            test = ValueTest(value: value, low: 0, high: 0, isInverted: op == "in")
        case "==", "!=":
            let (low, high) = try bounds(right, type)
            test = ValueTest(value: value, low: low, high: high, isInverted: op == "!=")
        case "<", ">=":
            let word = try constant(right, type)
            test = ValueTest(value: value, low: word, high: .max, isInverted: op == "<")
        case ">", "<=":
            let word = try constant(right, type)
            test = ValueTest(value: value, low: 0, high: word, isInverted: op == ">")
        default: throw RuleProblem(reason: "comparison '\(op)' is not known", isUnknown: true)
        }
        let isEqual = op == "==" || op == "!="
        if isEqual, test.low == test.high, value.flip == 0 {
            // What iptables has too is answered faster, and remembered for connections.
            if case .mark = value.field { return try builder.require(.mark(test.low, mask: value.mask, inverted: test.isInverted)) }
            if case .connectionMark = value.field { return try builder.require(.connectionMark(test.low, mask: value.mask, inverted: test.isInverted)) }
            if case .connectionDirection = value.field, value.mask == ~0 {
                return try builder.require(.connectionReply((test.low == 1) != test.isInverted, ifUntracked: false))
            }
        }
        if isEqual, value.mask == ~0, value.flip == 0, case .connectionAddress(let field) = value.field, case let free = test.low ^ test.high, free & (free &+ 1) == 0 {
            return try builder.require(.connectionAddress(field, address: test.low, mask: ~free, inverted: test.isInverted, ifUntracked: false))
        }
        if case .connectionState = value.field, op == "in", let states = NativeReader.states(value.mask) {
            return try builder.require(.connectionState(states, inverted: false))
        }
        rules.names.native.values.append(test)
        try builder.require(.within(index: UInt32(rules.names.native.values.count - 1)), isPure: value.field.isPure)
    }

    /// The kernel's bits as those of `--ctstate`; nil for others.
    private static func states(_ bits: UInt32) -> ConnectionStates? {
        let known: [(UInt32, ConnectionStates)] = [(1, .invalid), (2, .established), (4, .related), (8, .new), (64, .untracked)]
        var result: ConnectionStates = []
        var rest = bits
        for (bit, state) in known where bits & bit != 0 {
            result.insert(state)
            rest &= ~bit
        }
        return rest == 0 ? result : nil
    }

    /// `meta nfproto` and `meta protocol`: every packet here is IPv4's.
    private func takesFamily(_ left: JSON, _ right: JSON, _ op: String, _ builder: inout NativeRule) throws(RuleProblem) -> Bool {
        guard let key = left["meta"]?["key"]?.string, key == "nfproto" || key == "protocol" else { return false }
        let words = right["set"]?.items ?? [right]
        let isOwn = words.contains { $0.string == "ipv4" || $0.string == "ip" || $0.int == (key == "nfproto" ? 2 : 0x800) }
        if isOwn == (op == "!=") { builder.isNever = true }
        return true
    }

    /// `fib`: what kind of address it is, and whether the way back is the way a packet came.
    private func takesRoute(_ left: JSON, _ right: JSON, _ op: String, _ builder: inout NativeRule) throws(RuleProblem) -> Bool {
        guard let fib = left["fib"] else { return false }
        let flags = fib["flags"]?.string.map { [$0] } ?? (fib["flags"]?.items ?? []).compactMap(\.string)
        guard op == "==" || op == "!=", flags.contains("saddr") != flags.contains("daddr") else {
            throw RuleProblem(reason: "expression '\(NFTablesText.expression(left))' is not known", isUnknown: true)
        }
        let side: PortSide = flags.contains("saddr") ? .source : .destination
        switch fib["result"]?.string {
        case "type":
            var types: AddressTypes = []
            for word in right["set"]?.items ?? [right] {
                guard let name = word.string else { throw RuleProblem(reason: "\(word.compact) is no type of address", isUnknown: true) }
                if let known = AddressTypes.names.first(where: { $0.0.lowercased() == name }) { types.insert(known.1) } else if ![
                    "anycast", "blackhole", "unreachable", "prohibit",
                ].contains(name) {
                    throw RuleProblem(reason: "'\(name)' is no type of address", isUnknown: true)
                }
            }
            let limited: PhysicalSide? = flags.contains("iif") ? .input : flags.contains("oif") ? .output : nil
            try builder.require(.addressType(side, types, inverted: op == "!=", limited: limited))
        case "oif", "oifname":
            let isMissing: Bool
            switch right {
            case .bool(let exists): isMissing = !exists
            case .int(0), .string("0"), .string(""): isMissing = true
            default: throw RuleProblem(reason: "a way by a named interface is not known: '\(NFTablesText.expression(left))'", isUnknown: true)
            }
            guard side == .source else { throw RuleProblem(reason: "expression '\(NFTablesText.expression(left))' is not known", isUnknown: true) }
            try builder.require(.reversePath(loose: !flags.contains("iif"), acceptsLocal: false, inverted: isMissing == (op == "==")))
        default: throw RuleProblem(reason: "expression '\(NFTablesText.expression(left))' is not known", isUnknown: true)
        }
        return true
    }

    /// Conditions that iptables' rules have fields and tests for: what stretches of rules are found by.
    private mutating func takesPlain(_ left: JSON, _ right: JSON, _ op: String, _ builder: inout NativeRule) throws(RuleProblem) -> Bool {
        guard op == "==" || op == "!=", right.string?.first != "@", right["set"] == nil else { return false }
        let isInverted = op == "!="
        if let key = left["meta"]?["key"]?.string, ["iif", "oif", "iifname", "oifname"].contains(key), let name = right.string {
            let isInput = key.hasPrefix("i")
            let isPattern = name.hasSuffix("*")
            let pattern = rules.names.interface(isPattern ? name.dropLast() + "+" : name)
            guard !builder.hasEffect, isInput ? builder.rule.input == 0 : builder.rule.output == 0 else {
                try builder.require(.device(isInput ? .input : .output, pattern: pattern, inverted: isInverted))
                return true
            }
            let number = pattern + 1
            if isInput { builder.rule.input = number } else { builder.rule.output = number }
            if isInverted { builder.rule.inverted.insert(isInput ? .input : .output) }
            return true
        }
        guard !builder.hasEffect, left["payload"] != nil || left["meta"]?["key"]?.string == "l4proto" else { return false }
        let (value, type) = try self.value(left)
        switch value.field {
        case .sourceAddress, .destinationAddress:
            let (low, high) = try bounds(right, type)
            let free = low ^ high
            let isSource = value.field == .sourceAddress
            // A prefix, and the first of its kind in the rule.
            guard free & (free &+ 1) == 0, low & free == 0, isSource ? builder.rule.sourceMask == 0 : builder.rule.destinationMask == 0,
                builder.rule.inverted.isDisjoint(with: isSource ? .source : .destination)
            else { return false }
            if isSource { (builder.rule.source, builder.rule.sourceMask) = (low, ~free) } else { (builder.rule.destination, builder.rule.destinationMask) = (low, ~free) }
            if isInverted { builder.rule.inverted.insert(isSource ? .source : .destination) }
        case .proto:
            guard builder.rule.proto == 0, let number = UInt8(exactly: try constant(right, type)), number != 0 else { return false }
            builder.rule.proto = number
            if isInverted { builder.rule.inverted.insert(.proto) }
        case .port(let side, let proto):
            let (low, high) = try bounds(right, type)
            guard low <= high, high <= 0xffff else { throw RuleProblem(reason: "\(right.compact) is no port") }
            if proto != 0 {
                // nft leaves out what the port implies.
                guard builder.rule.proto == 0 || builder.rule.proto == proto && builder.rule.inverted.isDisjoint(with: .proto) else { return false }
                builder.rule.proto = proto
            }
            builder.rule.tests.append(.port(side, PortRange(low: UInt16(low), high: UInt16(high)), inverted: isInverted))
        default: return false
        }
        return true
    }
}
