import HairpinWire

extension RuleSet {
    /// The tables of nftables as they were read, with the counters of their rules and what their dynamic sets hold at `now`, in nanoseconds of virtual time.
    func nftablesListing(now: UInt64) -> [JSON] {
        guard !natives.isEmpty else { return [] }
        var counters: [String: (packets: UInt64, bytes: UInt64)] = [:]
        for loaded in natives {
            for chain in loaded.chains { for rule in chain.rules { counters["\(loaded.name) \(rule.handle)"] = (rule.packets, rule.bytes) } }
        }
        let changed = Set(names.native.changes.map(\.lookup.set))
        return nftables.map { object in
            guard case .object(var kinds) = object, kinds.count == 1, case .object(let members) = kinds[0].value else { return object }
            let value = kinds[0].value
            let table = "\(value["family"]?.string ?? "") \(value["table"]?.string ?? "")"
            if kinds[0].name == "rule", let known = counters["\(table) \(value["handle"]?.int ?? 0)"] {
                kinds[0].value = .object(members.map { $0.name == "expr" ? JSON.Member("expr", RuleSet.counted($0.value, known)) : $0 })
            } else if kinds[0].name == "set", let place = elements.place(of: value["name"]?.string ?? "", in: table), changed.contains(place) {
                let held = elements.sets[place].listing(now: now)
                kinds[0].value = .object(members.filter { $0.name != "elem" } + (held.isEmpty ? [] : [JSON.Member("elem", .array(held))]))
            }
            return .object(kinds)
        }
    }

    /// Statements with their counters at these numbers.
    private static func counted(_ statements: JSON, _ counters: (packets: UInt64, bytes: UInt64)) -> JSON {
        .array(
            statements.items.map { statement in
                guard statement["counter"]?["packets"] != nil else { return statement }
                return .make([("counter", .make([("packets", .int(Int(clamping: counters.packets))), ("bytes", .int(Int(clamping: counters.bytes)))]))])
            })
    }
}

extension ElementSet {
    /// What is in it at `now`, in order.
    fileprivate func listing(now: UInt64) -> [JSON] {
        let alive = elements.filter { $0.low == $0.high && ($0.expires == 0 || $0.expires > now) }.sorted { a, b in
            for index in types.indices where a.low[index] != b.low[index] { return a.low[index] < b.low[index] }
            return false
        }
        return alive.map { element in
            let words = types.indices.map { place -> JSON in
                switch types[place] {
                case "ipv4_addr": return .string(IPv4Address(rawValue: element.low[place]).description)
                case "inet_proto": return WordType.proto.symbols.first { $0.value == element.low[place] && $0.key != "ipv6-icmp" }.map { .string($0.key) } ?? .int(Int(element.low[place]))
                default: return .int(Int(element.low[place]))
                }
            }
            let key = words.count == 1 ? words[0] : JSON.make([("concat", .array(words))])
            guard element.expires > 0 else { return key }
            return .make([("elem", .make([("val", key), ("expires", .int(Int((element.expires - now + 999_999_999) / 1_000_000_000)))]))])
        }
    }
}
