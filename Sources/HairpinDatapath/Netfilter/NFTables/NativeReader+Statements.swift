import HairpinWire

/// A rule while it is read.
struct NativeRule {
    /// "ip kube-proxy", and its place.
    let table: String
    let place: Int
    let assumes: Bool
    var rule = RuleSet.Rule()
    var steps: [RuleSequence.Step] = []
    var last: RuleAction?
    /// Some condition of it is one of IPv6: no packet here meets it.
    var isNever = false
    /// Parts that were taken to hold, or to do nothing.
    var assumptions: [String] = []

    init(table: String, place: Int, assumes: Bool) { (self.table, self.place, self.assumes) = (table, place, assumes) }

    /// Once something has been changed, conditions are looked at behind it.
    var hasEffect: Bool { !steps.isEmpty }

    mutating func require(_ test: PacketTest, isPure: Bool = true) throws(RuleProblem) {
        guard hasEffect else {
            rule.tests.append(test)
            return
        }
        guard isPure else { throw RuleProblem(reason: "chance behind a statement that changes something is not known", isUnknown: true) }
        steps.append(.test(test))
    }
}

// Statements (libnftables-json(5), "Statements").
extension NativeReader {
    /// With everything its statements have said.
    mutating func finish(_ builder: inout NativeRule) -> RuleSet.Rule {
        var rule = builder.rule
        if builder.isNever {
            let counters = (rule.packets, rule.bytes)
            rule = RuleSet.Rule()
            (rule.packets, rule.bytes) = counters
            rules.names.native.values.append(ValueTest(value: PacketValue(field: .proto), low: 1, high: 0))
            rule.tests = [.within(index: UInt32(rules.names.native.values.count - 1))]
            return rule
        }
        if builder.steps.isEmpty {
            rule.action = builder.last ?? .none
        } else if builder.last == nil, builder.steps.count == 1, case .act(let action) = builder.steps[0] {
            rule.action = action
        } else {
            rules.names.native.sequences.append(RuleSequence(steps: builder.steps, last: builder.last ?? .none))
            rule.action = .sequence(UInt32(rules.names.native.sequences.count - 1))
        }
        return rule
    }

    /// One statement of a rule. Where the person wants what is unknown to match, a condition is left out and a statement does nothing.
    mutating func add(_ statement: JSON, _ builder: inout NativeRule) throws(RuleProblem) {
        guard case .object(let members) = statement, let member = members.first else { throw RuleProblem(reason: "\(statement.compact) is no statement") }
        do throws(RuleProblem) {
            if builder.last != nil { throw RuleProblem(reason: "a statement behind the rule's verdict is not known", isUnknown: true) }
            try read(member.name, member.value, &builder)
        } catch {
            guard error.isUnknown, builder.assumes else { throw error }
            builder.assumptions.append("\(error.reason); taken to \(member.name == "match" ? "hold" : "do nothing")")
        }
    }

    private mutating func read(_ name: String, _ body: JSON, _ builder: inout NativeRule) throws(RuleProblem) {
        switch name {
        case "match": try match(body, &builder)
        case "accept": builder.last = .accept
        case "drop": builder.last = .drop
        case "return": builder.last = .return
        case "continue": break
        case "jump", "goto":
            guard let chain = body["target"]?.string else { throw RuleProblem(reason: "\(name) has no target") }
            try requireChain(chain, builder.place)
            builder.last = name == "jump" ? .jump(0) : .goTo(0)
            builder.rule.chain = chain
        case "vmap":
            let lookup = try lookup(body["key"] ?? .null, body["data"] ?? .null, data: ["verdict"], &builder)
            rules.names.native.lookups.append(lookup)
            builder.last = .verdicts(UInt32(rules.names.native.lookups.count - 1))
        case "counter":
            if !builder.hasEffect { (builder.rule.packets, builder.rule.bytes) = (UInt64(clamping: body["packets"]?.int ?? 0), UInt64(clamping: body["bytes"]?.int ?? 0)) }
        // They tell somebody, or make the same way shorter.
        case "log", "flow", "comment": break
        case "notrack": builder.steps.append(.act(.untrack))
        case "reject": builder.last = .reject(try reject(body))
        case "masquerade", "redirect":
            var range = TranslationRange(mapsAddress: true)
            try translation(body, &range)
            builder.last = name == "masquerade" ? .masquerade(range) : .redirect(range)
        case "snat", "dnat": try translate(name == "snat", body, &builder)
        case "mangle": try mangle(body, &builder)
        case "set": try change(body, &builder)
        case "limit":
            guard body["rate_unit"].map({ $0.string == "packets" }) ?? true else { throw RuleProblem(reason: "a limit of bytes is not known", isUnknown: true) }
            let units: [String: UInt64] = ["second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800]
            let burst = body["burst"]?.int ?? 5
            // A week of nanoseconds, ten thousand times, is as much as 64 bits hold.
            guard let rate = body["rate"]?.int, rate > 0, 0...10_000 ~= burst, let unit = units[body["per"]?.string ?? "second"] else {
                throw RuleProblem(reason: "\(body.compact) is no limit that is known (a burst is at most 10000)")
            }
            let period = unit * 1_000_000_000 / UInt64(rate)
            try builder.require(.limit(period: period, burst: burst == 0 ? 5 : UInt32(burst), slot: rules.names.slot(), inverted: body["inv"]?.isTrue ?? false))
        case "xt":
            let what = "\(body["type"]?.string ?? "match or target") '\(body["name"]?.string ?? "?")'"
            // A remark has no meaning.
            if body["type"]?.string == "match", body["name"]?.string == "comment" { return }
            throw RuleProblem(reason: "of xtables' \(what) nft tells no options; give the output of iptables-save as well", isUnknown: true)
        default: throw RuleProblem(reason: "statement '\(name)' is not known", isUnknown: true)
        }
    }

    private func reject(_ body: JSON) throws(RuleProblem) -> RejectKind {
        guard let type = body["type"]?.string else { return .icmp(code: ICMPv4.portUnreachable) }
        if type == "tcp reset" { return .tcpReset }
        let word = body["expr"]?.string ?? body["expr"]?.int.map { String($0) } ?? "port-unreachable"
        let codes: [String: UInt8] =
            type == "icmpx"
            ? ["no-route": 0, "host-unreachable": 1, "port-unreachable": 3, "admin-prohibited": 13]
            : [
                "net-unreachable": 0, "host-unreachable": 1, "prot-unreachable": 2, "port-unreachable": 3, "net-prohibited": 9, "host-prohibited": 10,
                "admin-prohibited": 13,
            ]
        guard type == "icmp" || type == "icmpx", let code = codes[word] ?? UInt8(word) else { throw RuleProblem(reason: "reject with \(type) \(word) is not known", isUnknown: true) }
        return .icmp(code: code)
    }

    // MARK: Translations

    private mutating func translate(_ isSource: Bool, _ body: JSON, _ builder: inout NativeRule) throws(RuleProblem) {
        if body["family"]?.string == "ip6" {
            builder.isNever = true
            return
        }
        var range = TranslationRange()
        try translation(body, &range)
        guard let address = body["addr"] else {
            guard range.ports != nil else { throw RuleProblem(reason: "\(isSource ? "snat" : "dnat") has neither 'addr' nor 'port'") }
            builder.last = isSource ? .translateSource(range) : .translateDestination(range)
            return
        }
        if let map = address["map"] {
            let lookup = try lookup(map["key"] ?? .null, map["data"] ?? .null, data: [], &builder)
            rules.names.native.translations.append(MappedTranslation(isSource: isSource, lookup: lookup, range: range))
            builder.last = .translateMapped(UInt32(rules.names.native.translations.count - 1))
            return
        }
        if let parts = address["concat"]?.items, parts.count == 2 {
            range.ports = try ports(parts[1])
            (range.low, range.high) = try fixedBounds(parts[0], .address)
        } else {
            (range.low, range.high) = try fixedBounds(address, .address)
        }
        guard range.low <= range.high else { throw RuleProblem(reason: "\(address.compact) is no range of addresses") }
        range.mapsAddress = true
        builder.last = isSource ? .translateSource(range) : .translateDestination(range)
    }

    private func ports(_ value: JSON) throws(RuleProblem) -> PortRange {
        let (low, high) = try fixedBounds(value, .port)
        guard low <= high, high <= 0xffff else { throw RuleProblem(reason: "\(value.compact) is no port, and no range of ports") }
        return PortRange(low: UInt16(truncatingIfNeeded: low), high: UInt16(truncatingIfNeeded: high))
    }

    /// Ports and flags.
    private func translation(_ body: JSON, _ range: inout TranslationRange) throws(RuleProblem) {
        if let port = body["port"] { range.ports = try ports(port) }
        for flag in body["flags"]?.string.map({ [$0] }) ?? (body["flags"]?.items ?? []).compactMap(\.string) {
            switch flag {
            case "random", "fully-random": range.isRandom = true
            case "persistent": range.isPersistent = true
            default: throw RuleProblem(reason: "flag '\(flag)' of a translation is not known", isUnknown: true)
            }
        }
    }

    // MARK: Changes

    private mutating func mangle(_ body: JSON, _ builder: inout NativeRule) throws(RuleProblem) {
        let (key, value) = (body["key"] ?? .null, body["value"] ?? .null)
        if let option = key["tcp option"], option["name"]?.string == "maxseg", option["field"]?.string == "size" {
            if value["rt"]?["key"]?.string == "mtu" {
                builder.steps.append(.act(.maximumSegmentSize(0)))
            } else {
                let size = try constant(value, .number)
                guard 1...65_535 ~= size else { throw RuleProblem(reason: "\(size) is no size of segments (1 to 65535)") }
                builder.steps.append(.act(.maximumSegmentSize(UInt16(size))))
            }
            return
        }
        if let payload = key["payload"], payload["protocol"]?.string == "ip", payload["field"]?.string == "ttl" {
            let number = try constant(value, .number)
            guard number < 256 else { throw RuleProblem(reason: "\(number) is no TTL (0 to 255)") }
            builder.steps.append(.act(.setTimeToLive(.equal, UInt8(number))))
            return
        }
        let meta = key["meta"]?["key"]?.string
        // They are for tc and for people who look on.
        if meta == "nftrace" || meta == "priority" { return }
        let isConnection = key["ct"]?["key"]?.string == "mark"
        guard isConnection || meta == "mark" else { throw RuleProblem(reason: "to set '\(NFTablesText.statement(.make([("mangle", body)])))' is not known", isUnknown: true) }
        if let number = value.int ?? value.string.flatMap({ RuleParser.number($0) }).map(Int.init) {
            let word = try constant(.int(number), .number)
            builder.steps.append(.act(isConnection ? .setConnectionMark(word, mask: ~0) : .mark(word, mask: ~0)))
            return
        }
        if let map = value["map"] {
            let lookup = try lookup(map["key"] ?? .null, map["data"] ?? .null, data: ["mark"], &builder)
            assign(MarkAssignment(isConnection: isConnection, source: .map(lookup)), &builder)
            return
        }
        let (source, _) = try self.value(value)
        switch (source.field, isConnection) {
        // `mark = (mark & ~mask) ^ value`, as `--set-xmark` has it.
        case (.mark, false): builder.steps.append(.act(.mark(source.flip, mask: ~source.mask)))
        case (.connectionMark, true): builder.steps.append(.act(.setConnectionMark(source.flip, mask: ~source.mask)))
        case (.mark, true) where source.flip == 0: builder.steps.append(.act(.saveMark(connectionMask: ~0, packetMask: source.mask)))
        case (.connectionMark, false) where source.flip == 0 && builder.last == nil: assign(MarkAssignment(isConnection: false, source: .value(source)), &builder)
        default:
            guard source.field.isPure else { throw RuleProblem(reason: "a mark by chance is not known", isUnknown: true) }
            assign(MarkAssignment(isConnection: isConnection, source: .value(source)), &builder)
        }
    }

    private mutating func assign(_ assignment: MarkAssignment, _ builder: inout NativeRule) {
        rules.names.native.assignments.append(assignment)
        builder.steps.append(.act(.assignMark(UInt32(rules.names.native.assignments.count - 1))))
    }

    /// `add @set { … }`, `update`, `delete`.
    private mutating func change(_ body: JSON, _ builder: inout NativeRule) throws(RuleProblem) {
        let kinds: [String: ElementChange.Kind] = ["add": .add, "update": .update, "delete": .delete]
        guard let kind = kinds[body["op"]?.string ?? ""], let name = body["set"]?.string else { throw RuleProblem(reason: "\(body.compact) changes no set") }
        if body["map"] != nil { throw RuleProblem(reason: "to add to a map is not known", isUnknown: true) }
        // What an element carries, other than a counter, decides.
        for one in body["stmt"]?.items ?? [] where one["counter"] == nil { throw RuleProblem(reason: "a set whose elements have \(one.compact) is not known", isUnknown: true) }
        let element = body["elem"]?["elem"]?["val"] ?? body["elem"] ?? .null
        let timeout = try (body["elem"]?["elem"]?["timeout"]).map { (timeout) throws(RuleProblem) in try NativeReader.nanoseconds(timeout) }
        let lookup = try lookup(element, .string(name), data: nil, &builder)
        guard lookup.key.allSatisfy(\.field.isPure) else { throw RuleProblem(reason: "an element by chance is not known", isUnknown: true) }
        rules.names.native.changes.append(ElementChange(kind: kind, lookup: lookup, timeout: timeout))
        builder.steps.append(.act(.changeElements(UInt32(rules.names.native.changes.count - 1))))
    }
}
