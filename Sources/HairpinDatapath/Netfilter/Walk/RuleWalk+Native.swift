import HairpinWire

// What rules of nftables ask and do, literally: elements are searched one after the other.
extension RuleWalk {
    /// A field of the packet; nil where it has none. `drawn` stands for a random number, which `.all` goes through.
    private mutating func value(_ value: PacketValue, _ state: WalkState, drawn: UInt32?) -> UInt32? {
        let packet = state.packet
        switch value.field {
        case .sourceAddress: return value.of(packet.source.rawValue)
        case .destinationAddress: return value.of(packet.destination.rawValue)
        case .proto: return value.of(UInt32(packet.proto))
        case .port(let side, let proto):
            guard RuleWalk.hasPorts(packet), proto == 0 || proto == packet.proto else { return nil }
            return value.of(UInt32(side == .source ? packet.sourcePort : packet.destinationPort))
        case .network(let offset, let bytes): return packet.word(at: UInt64(offset)).map { value.of($0 >> (32 - 8 * UInt32(bytes))) }
        case .transport(let proto, let offset, let bytes):
            guard packet.proto == proto else { return nil }
            return packet.word(at: 20 + UInt64(offset)).map { value.of($0 >> (32 - 8 * UInt32(bytes))) }
        case .mark: return value.of(state.mark)
        case .length: return value.of(UInt32(packet.length))
        case .connectionState: return value.of(state.info.stateBits)
        case .connectionMark: return state.hasConnection ? value.of(state.connectionMark) : nil
        case .connectionProtocol: return state.hasConnection ? value.of(UInt32(packet.proto)) : nil
        case .connectionStatus:
            return state.hasConnection ? value.of((state.isSourceTranslated ? 16 : 0) | (state.isDestinationTranslated ? 32 : 0)) : nil
        case .connectionDirection: return state.hasConnection ? value.of(state.info.isReply ? 1 : 0) : nil
        case .connectionAddress(let field): return state.hasConnection ? value.of(field.address(state.original, state.reply)) : nil
        case .connectionPort(let field): return state.hasConnection ? value.of(UInt32(field.port(state.original, state.reply))) : nil
        case .inputName: return value.of(elements.interfaces[packet.input] ?? PacketValue.noName)
        case .outputName: return value.of(elements.interfaces[packet.output] ?? PacketValue.noName)
        case .packetType: return value.of(packet.destination.isMulticast ? 2 : packet.destination.isBroadcast || surroundings.isBroadcast(packet.destination) ? 1 : 0)
        case .random(let modulus, let offset):
            if let drawn { return value.of(drawn &+ offset) }
            guard modulus > 1, case .draw(let draw) = chance else { return value.of(offset) }
            return value.of(PacketValue.scaled(draw(), modulus) &+ offset)
        case .counting(let modulus, let offset, let slot):
            if let drawn { return value.of(drawn &+ offset) }
            let seen = slots[Int(slot)].0
            slots[Int(slot)].0 += 1
            return value.of(UInt32(seen % UInt64(modulus)) &+ offset)
        }
    }

    /// How many numbers `numgen` may give for these values, where all outcomes are followed; nil where nothing is left to chance.
    private func modulus(_ values: [PacketValue]) -> UInt32? {
        guard case .all = chance else { return nil }
        for value in values {
            switch value.field {
            case .random(let modulus, _), .counting(let modulus, _, _): return modulus
            default: continue
            }
        }
        return nil
    }

    /// Of packets like this one, the share for which a comparison holds.
    mutating func share(of test: ValueTest, _ state: WalkState) -> Double {
        guard let modulus = modulus([test.value]) else { return value(test.value, state, drawn: nil).map { test.holds($0) ? 1 : 0 } ?? 0 }
        var count = 0
        for drawn in 0..<modulus where value(test.value, state, drawn: drawn).map(test.holds) ?? false { count += 1 }
        return Double(count) / Double(modulus)
    }

    mutating func share(of lookup: ElementLookup, _ state: WalkState) -> Double {
        var share = 0.0
        for (found, part) in find(lookup, state) where found.hasKey && (found.value != nil) != lookup.isInverted { share += part }
        // Thirds and their kind do not add up to one.
        return share > 1 - 1e-9 ? 1 : share
    }

    private struct Found: Equatable {
        var hasKey: Bool
        var value: SetElement.Value?
    }

    /// What a set or a map says, with the share of packets to which it says so, in the order in which it is first said.
    private mutating func find(_ lookup: ElementLookup, _ state: WalkState) -> [(found: Found, share: Double)] {
        func ask(_ drawn: UInt32?) -> Found {
            var key = ElementKey()
            for (index, part) in lookup.key.enumerated() {
                guard let word = value(part, state, drawn: drawn) else { return Found(hasKey: false, value: nil) }
                key[index] = word
            }
            return Found(hasKey: true, value: elements.sets[lookup.set].search(key, now: now))
        }
        guard let modulus = modulus(lookup.key) else { return [(ask(nil), 1)] }
        var result: [(found: Found, share: Double)] = []
        for drawn in 0..<modulus {
            let found = ask(drawn)
            if let known = result.firstIndex(where: { $0.found == found }) { result[known].share += 1 } else { result.append((found, 1)) }
        }
        for index in result.indices { result[index].share /= Double(modulus) }
        return result
    }

    /// What an action that has to be looked up comes to, with the share of packets for which it does; nil where the rule ends without one.
    mutating func resolve(_ action: RuleAction, _ loaded: RuleSet.LoadedTable, _ state: inout WalkState) -> [(action: RuleAction?, share: Double)] {
        let native = rules.names.native
        switch action {
        case .verdicts(let index):
            return find(native.lookups[Int(index)], state).map { found, share in
                guard case .verdict(let number) = found.value else { return (nil, share) }
                return (place(elements.verdicts[number].verdict, loaded), share)
            }
        case .translateMapped(let index):
            let mapped = native.translations[Int(index)]
            return find(mapped.lookup, state).map { found, share in
                guard case .words(let address, let port) = found.value else { return (nil, share) }
                let range = mapped.range.to(address, port)
                return (mapped.isSource ? .translateSource(range) : .translateDestination(range), share)
            }
        case .assignMark(let index):
            let assignment = native.assignments[Int(index)]
            let words: [(UInt32?, Double)]
            switch assignment.source {
            case .value(let source):
                if let modulus = modulus([source]) {
                    words = (0..<modulus).map { (value(source, state, drawn: $0), 1 / Double(modulus)) }
                } else {
                    words = [(value(source, state, drawn: nil), 1)]
                }
            case .map(let lookup):
                words = find(lookup, state).map { found, share in
                    guard case .words(let word, _) = found.value else { return (nil, share) }
                    return (word, share)
                }
            }
            return words.map { word, share in (word.map { assignment.isConnection ? .setConnectionMark($0, mask: ~0) : .mark($0, mask: ~0) }, share) }
        case .changeElements(let index):
            let change = native.changes[Int(index)]
            // Followed to every outcome, nothing is remembered.
            guard case .draw = chance else { return [(RuleAction.none, 1)] }
            var key = ElementKey()
            for (place, part) in change.lookup.key.enumerated() {
                guard let word = value(part, state, drawn: nil) else { return [(nil, 1)] }
                key[place] = word
            }
            return [(elements.sets[change.lookup.set].change(change.kind, key, timeout: change.timeout, now: now) ? RuleAction.none : nil, 1)]
        case .sequence(let index):
            let sequence = native.sequences[Int(index)]
            for step in sequence.steps {
                switch step {
                // Those that draw are refused behind an effect when rules are read.
                case .test(let test): if holds(test, .forward, state) == 0 { return [(nil, 1)] }
                case .act(let action):
                    guard let plain = resolve(action, loaded, &state)[0].action else { return [(nil, 1)] }
                    change(plain, &state)
                }
            }
            return resolve(sequence.last, loaded, &state)
        default: return [(action, 1)]
        }
    }

    private func place(_ verdict: ElementVerdict, _ loaded: RuleSet.LoadedTable) -> RuleAction {
        func chain(_ name: String) -> UInt32 {
            guard let place = loaded.chain(name) else { preconditionFailure("a verdict names no chain") }
            return UInt32(place)
        }
        switch verdict {
        case .accept: return .accept
        case .drop: return .drop
        case .return: return .return
        case .continue: return .none
        case .jump(let name): return .jump(chain(name))
        case .goTo(let name): return .goTo(chain(name))
        }
    }
}

extension RuleSet {
    /// The base chains that stand at a place, in the order in which packets meet them.
    func bases(_ table: Table, _ hook: Hook) -> [(table: LoadedTable, chain: Int)] {
        var result: [(priority: Int, table: LoadedTable, chain: Int)] = []
        if let loaded = tables.first(where: { $0.table == table }), let base = loaded.chains.firstIndex(where: { $0.hook == hook }) {
            result.append((table.priority(at: hook), loaded, base))
        }
        for loaded in natives {
            for (index, chain) in loaded.chains.enumerated() where chain.hook == hook && chain.stage == table { result.append((chain.priority, loaded, index)) }
        }
        let order = result.indices.sorted { (result[$0].priority, $0) < (result[$1].priority, $1) }
        return order.map { (result[$0].table, result[$0].chain) }
    }

    /// A base chain's policy as the text has it.
    func policy(of chain: Int, _ loaded: LoadedTable) -> RuleReference {
        let base = loaded.chains[chain]
        let word = loaded.nativeName == nil ? (base.acceptsByDefault ? "ACCEPT" : "DROP") : base.acceptsByDefault ? "accept" : "drop"
        var reference = RuleReference(table: loaded.name, chain: base.name, line: base.line, text: "policy \(word)")
        reference.isPolicy = true
        return reference
    }
}

extension RuleSet.Table {
    /// `nf_ip_hook_priorities`.
    func priority(at hook: Hook) -> Int {
        switch self {
        case .raw: -300
        case .mangle: -150
        case .nat: hook == .prerouting || hook == .localOut ? -100 : 100
        case .filter: 0
        case .security: 50
        }
    }
}
