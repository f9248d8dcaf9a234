import HairpinProxy
import HairpinWire

/// A rule where it stands, for people.
public struct RuleReference: Sendable, Hashable {
    public var table: String
    public var chain: String
    /// In the text the rule was read from; zero for a rule of no text.
    public var line: Int
    /// As iptables-save prints it, behind `-A CHAIN`; of nftables, as `nft list ruleset` prints it.
    public var text: String
    /// Of a rule of nftables.
    public var handle: Int?
    /// Not a rule but the policy of a base chain.
    public var isPolicy = false
    public init(table: String, chain: String, line: Int, text: String, handle: Int? = nil) {
        (self.table, self.chain, self.line, self.text, self.handle) = (table, chain, line, text, handle)
    }
}

/// A packet on its way through chains, as values: nothing of it is a frame.
struct WalkState {
    var packet: TracedPacket
    var mark: UInt32 = 0
    var connectionMark: UInt32 = 0
    var info = ConnectionInfo.none
    /// Whether there is a connection's entry, and how its tuples stand.
    var hasConnection = false
    var original = ConnectionTuple()
    var reply = ConnectionTuple()
    var isSourceTranslated = false, isDestinationTranslated = false
    var probability = 1.0
    /// Rules that took the packet, in order.
    var path: [RuleReference] = []
    /// Rules that were looked at, with the one that x_tables closes each chain with.
    var visits = 0
}

/// How a table ends for a packet, and by which rule; nil is a policy.
struct WalkEnd {
    var verdict: RuleVerdict
    var rule: RuleReference?
    /// The chain whose policy it is.
    var policy: RuleReference?
}

/// Walks chains as they are written, one rule after the other: the meaning of a rule set, with nothing compiled. `RuleProgram` must agree with it on
/// every packet; what-if questions are answered by it, as it can follow every outcome of a `statistic` at once.
struct RuleWalk {
    /// What matches that draw or remember do.
    enum Chance {
        /// Every outcome, with its probability; nothing is remembered, lists are empty, and limits are not reached.
        case all
        /// One outcome: this draws 32 random bits.
        case draw(() -> UInt32)
    }

    let rules: RuleSet
    let surroundings: TraceSurroundings
    let chance: Chance
    /// Nanoseconds.
    var now: UInt64 = 0
    private var sets: IPSetTable
    var elements: ElementSets
    var slots: [(UInt64, UInt64)]
    private var recents: [RecentList]
    /// A rule set with ever so many outcomes is followed no further.
    private static let outcomeLimit = 20_000

    init(_ rules: RuleSet, _ surroundings: TraceSurroundings, _ chance: Chance) {
        self.rules = rules
        self.surroundings = surroundings
        self.chance = chance
        sets = rules.sets
        elements = rules.elements
        slots = [(UInt64, UInt64)](repeating: (0, 0), count: Int(rules.names.slotCount))
        recents = [RecentList](repeating: RecentList(), count: rules.names.recentLists.count)
    }

    struct Position {
        var chain: Int, rule: Int
    }
    struct Branch {
        var state: WalkState
        var at: Position
        var callers: [Position] = []
        /// It has ended; kept until its turn comes.
        var end: WalkEnd?
    }

    /// Every way through one place's base chains. Where a table or its chain is not loaded, packets pass.
    mutating func walk(_ table: RuleSet.Table, _ hook: Hook, _ start: WalkState) -> [(WalkState, WalkEnd)] {
        var results = [(start, WalkEnd(verdict: .accept, rule: nil))]
        for (loaded, base) in rules.bases(table, hook) {
            var next: [(WalkState, WalkEnd)] = []
            for (state, before) in results {
                guard case .accept = before.verdict else {
                    next.append((state, before))
                    continue
                }
                for (end, how) in walk(loaded, base, hook, state) {
                    // Of several that accept, the last one with a rule is named.
                    if case .accept = how.verdict, how.rule == nil, before.rule != nil { next.append((end, before)) } else { next.append((end, how)) }
                }
            }
            results = next
        }
        return results
    }

    private mutating func walk(_ loaded: RuleSet.LoadedTable, _ base: Int, _ hook: Hook, _ start: WalkState) -> [(WalkState, WalkEnd)] {
        var results: [(WalkState, WalkEnd)] = []
        var branches = [Branch(state: start, at: Position(chain: base, rule: 0))]
        while var branch = branches.popLast(), results.count < RuleWalk.outcomeLimit {
            if let end = branch.end {
                results.append((branch.state, end))
                continue
            }
            while true {
                let chain = loaded.chains[branch.at.chain]
                guard branch.at.rule < chain.rules.count else {
                    branch.state.visits += branch.callers.isEmpty && branch.at.chain != base ? 2 : 1
                    guard let caller = branch.callers.popLast() else {
                        let accepts = loaded.chains[base].acceptsByDefault
                        results.append((branch.state, WalkEnd(verdict: accepts ? .accept : .drop, rule: nil, policy: rules.policy(of: base, loaded))))
                        break
                    }
                    branch.at = caller
                    continue
                }
                let rule = chain.rules[branch.at.rule]
                branch.state.visits += 1
                let share = matches(rule, hook, branch.state)
                if share < 1, share > 0 {
                    var other = branch
                    other.state.probability *= 1 - share
                    other.at.rule += 1
                    branches.append(other)
                }
                if share == 0 {
                    branch.at.rule += 1
                    continue
                }
                branch.state.probability *= share
                let reference = RuleReference(table: loaded.name, chain: chain.name, line: rule.line, text: rule.text, handle: loaded.nativeName == nil ? nil : rule.handle)
                branch.state.path.append(reference)
                // What a map says may differ from packet to packet.
                let choices = resolve(rule.action, loaded, &branch.state)
                for (action, share) in choices.dropFirst().reversed() {
                    var other = branch
                    other.state.probability *= share
                    other.end = act(action, rule, loaded, base, &other).map { WalkEnd(verdict: $0, rule: reference) }
                    branches.append(other)
                }
                branch.state.probability *= choices[0].share
                if let verdict = act(choices[0].action, rule, loaded, base, &branch) {
                    results.append((branch.state, WalkEnd(verdict: verdict, rule: reference)))
                    break
                }
            }
        }
        return results
    }

    /// Nil to go on from `branch.at`. Without an action the rule has ended before its last statement, as if it had not been met.
    private mutating func act(_ action: RuleAction?, _ rule: RuleSet.Rule, _ loaded: RuleSet.LoadedTable, _ base: Int, _ branch: inout Branch) -> RuleVerdict? {
        var behind = branch.at
        behind.rule += 1
        guard let action else {
            branch.state.path.removeLast()
            branch.at = behind
            return nil
        }
        switch action {
        case .accept: return .accept
        case .drop: return .drop
        case .reject(let kind): return .reject(kind)
        case .translateDestination(let range): return .translate(range, isSource: false)
        case .translateSource(let range): return .translate(range, isSource: true)
        case .masquerade(let range): return .masquerade(range)
        case .redirect(let range): return .redirect(range)
        case .return:
            branch.at = branch.callers.popLast() ?? Position(chain: base, rule: loaded.chains[base].rules.count)
            return nil
        case .jump, .goTo:
            // A map's verdict has the chain's place in it, a rule its name.
            let target: Int?
            switch action {
            case .jump(let place) where rule.chain == nil, .goTo(let place) where rule.chain == nil: target = Int(place)
            default: target = rule.chain.flatMap(loaded.chain)
            }
            guard let target else { preconditionFailure("a jump to no chain") }
            if case .jump = action { branch.callers.append(behind) }
            branch.at = Position(chain: target, rule: 0)
            return nil
        default: change(action, &branch.state)
        }
        branch.at = behind
        return nil
    }

    /// What an action changes that lets the packet go on behind its rule.
    mutating func change(_ action: RuleAction, _ state: inout WalkState) {
        switch action {
        case .mark(let value, let mask): state.mark = state.mark & ~mask ^ value
        case .setConnectionMark(let value, let mask):
            if state.hasConnection { state.connectionMark = state.connectionMark & ~mask ^ value }
        case .saveMark(let ours, let theirs):
            if state.hasConnection { state.connectionMark = state.connectionMark & ~ours ^ (state.mark & theirs) }
        case .restoreMark(let ours, let theirs):
            if state.hasConnection { state.mark = state.mark & ~theirs ^ (state.connectionMark & ours) }
        case .untrack: if !state.hasConnection { state.info = .untracked }
        case .changeSet(let number):
            let change = rules.names.setChanges[Int(number)]
            if case .draw = chance, let position = sets.position(change.set.name) {
                let asked = state
                sets.change(position, adding: change.adds, timeout: change.timeout, renews: change.renews, now: now) { RuleWalk.question($0, change.set, asked) }
            }
        case .setTimeToLive(let kind, let value):
            let old = Int(state.packet.timeToLive)
            state.packet.timeToLive = UInt8(clamping: kind == .equal ? Int(value) : kind == .less ? old - Int(value) : old + Int(value))
        default: break
        }
    }

    // MARK: Matches

    /// The share of packets like this one that a rule takes: 0 or 1 unless it draws.
    private mutating func matches(_ rule: RuleSet.Rule, _ hook: Hook, _ state: WalkState) -> Double {
        let packet = state.packet
        func plain(_ isHeld: Bool, _ inversion: RuleInversions) -> Bool { isHeld != rule.inverted.contains(inversion) }
        guard plain(packet.source.rawValue & rule.sourceMask == rule.source, .source),
            plain(packet.destination.rawValue & rule.destinationMask == rule.destination, .destination)
        else { return 0 }
        if rule.proto != 0, !plain(packet.proto == rule.proto, .proto) { return 0 }
        if rule.input != 0, !plain(RuleWalk.isNamed(packet.input, rules.names.interfaces[Int(rule.input) - 1]), .input) { return 0 }
        if rule.output != 0, !plain(RuleWalk.isNamed(packet.output, rules.names.interfaces[Int(rule.output) - 1]), .output) { return 0 }
        // Packets here are whole.
        if rule.secondFragments, !rule.inverted.contains(.fragment) { return 0 }
        var share = 1.0
        for test in rule.tests {
            share *= holds(test, hook, state)
            if share == 0 { return 0 }
        }
        return share
    }

    private static func isNamed(_ name: String, _ pattern: String) -> Bool { pattern.hasSuffix("+") ? name.hasPrefix(pattern.dropLast()) : name == pattern }
    static func hasPorts(_ packet: TracedPacket) -> Bool { [6, 17, 132, 136].contains(packet.proto) }

    private static func question(_ set: IPSet, _ reference: SetReference, _ state: WalkState) -> IPSet.Question? {
        let packet = state.packet
        var subject = SetSubject(
            source: packet.source.rawValue, destination: packet.destination.rawValue, proto: packet.proto, sourcePort: nil, destinationPort: nil, mark: state.mark)
        if hasPorts(packet) { (subject.sourcePort, subject.destinationPort) = (packet.sourcePort, packet.destinationPort) }
        if packet.proto == 1 {
            let kind = UInt16(packet.icmpType) << 8 | UInt16(packet.icmpCode)
            (subject.sourcePort, subject.destinationPort) = (kind, kind)
        }
        return subject.question(set, reference.directions) { $0 ? packet.output : packet.input }
    }

    mutating func holds(_ test: PacketTest, _ hook: Hook, _ state: WalkState) -> Double {
        func yes(_ isHeld: Bool) -> Double { isHeld ? 1 : 0 }
        let packet = state.packet
        switch test {
        case .transport(let proto): return yes(packet.proto == proto)
        case .port(let side, let range, let inverted):
            return yes(RuleWalk.hasPorts(packet) && range.contains(side == .source ? packet.sourcePort : packet.destinationPort) != inverted)
        case .ports(let side, let first, let count, let inverted):
            guard RuleWalk.hasPorts(packet) else { return 0 }
            let ranges = rules.names.portRanges[Int(first)..<Int(first) + Int(count)]
            let isSource = ranges.contains { $0.contains(packet.sourcePort) }
            let isDestination = ranges.contains { $0.contains(packet.destinationPort) }
            return yes((side == .source ? isSource : side == .destination ? isDestination : isSource || isDestination) != inverted)
        case .tcpFlags(let mask, let set, let inverted): return yes(packet.proto == 6 && (packet.tcpFlags & mask == set) != inverted)
        case .icmp(let type, let low, let high, let inverted):
            guard packet.proto == 1 else { return 0 }
            return yes((type == 255 || type == packet.icmpType && (low...high).contains(packet.icmpCode)) != inverted)
        case .connectionState(let states, let inverted):
            var own: ConnectionStates
            switch state.info {
            case .new: own = .new
            case .established, .establishedReply: own = .established
            case .related, .relatedReply: own = .related
            case .untracked: own = .untracked
            case .none, .invalid: own = .invalid
            }
            if state.isSourceTranslated { own.insert(.sourceTranslated) }
            if state.isDestinationTranslated { own.insert(.destinationTranslated) }
            return yes(!states.isDisjoint(with: own) != inverted)
        case .connectionAddress(let field, let address, let mask, let inverted, let otherwise):
            guard state.hasConnection else { return yes(otherwise) }
            let value: UInt32
            switch field {
            case .originalSource: value = state.original.source
            case .originalDestination: value = state.original.destination
            case .replySource: value = state.reply.source
            case .replyDestination: value = state.reply.destination
            }
            return yes((value & mask == address) != inverted)
        case .connectionPort(let field, let range, let inverted, let otherwise):
            guard state.hasConnection else { return yes(otherwise) }
            let value: UInt16
            switch field {
            case .originalSource: value = state.original.sourcePort
            case .originalDestination: value = state.original.destinationPort
            case .replySource: value = state.reply.sourcePort
            case .replyDestination: value = state.reply.destinationPort
            }
            return yes(range.contains(value) != inverted)
        case .connectionProtocol(let proto, let inverted, let otherwise): return yes(state.hasConnection ? (packet.proto == proto) != inverted : otherwise)
        case .connectionReply(let reply, let otherwise): return yes(state.hasConnection ? state.info.isReply == reply : otherwise)
        case .connectionStatus(let bits, let inverted, let otherwise):
            // A first packet's connection has none of them.
            return yes(state.hasConnection ? (bits == 0) != inverted : otherwise)
        case .mark(let value, let mask, let inverted): return yes((state.mark & mask == value) != inverted)
        case .connectionMark(let value, let mask, let inverted): return yes(state.hasConnection && (state.connectionMark & mask == value) != inverted)
        case .addressType(let side, let types, let inverted, let limited):
            let type = type(of: side == .source ? packet.source : packet.destination, packet, limited)
            return yes(!types.isDisjoint(with: type) != inverted)
        case .addressRange(let side, let low, let high, let inverted):
            return yes((low...high).contains(side == .source ? packet.source.rawValue : packet.destination.rawValue) != inverted)
        case .length(let range, let inverted): return yes(range.contains(packet.length) != inverted)
        case .timeToLive(let comparison, let value, let inverted):
            let own = packet.timeToLive
            return yes((comparison == .equal ? own == value : comparison == .less ? own < value : own > value) != inverted)
        case .packetType(let kind, let inverted):
            let own: UInt8 = packet.destination.isMulticast ? 2 : packet.destination.isBroadcast || surroundings.isBroadcast(packet.destination) ? 1 : 0
            return yes((own == kind) != inverted)
        case .physicalDevice(let side, let pattern, let inverted):
            let name = side == .input ? packet.physicalInput : packet.physicalOutput
            return yes((!name.isEmpty && RuleWalk.isNamed(name, rules.names.interfaces[Int(pattern)])) != inverted)
        case .device(let side, let pattern, let inverted):
            return yes(RuleWalk.isNamed(side == .input ? packet.input : packet.output, rules.names.interfaces[Int(pattern)]) != inverted)
        case .isPhysicalDevice(let side, let inverted): return yes((side == .input ? packet.physicalInput : packet.physicalOutput).isEmpty == inverted)
        case .isBridged(let inverted): return yes((!packet.physicalInput.isEmpty && !packet.physicalOutput.isEmpty) != inverted)
        case .reversePath(let loose, let acceptsLocal, let inverted):
            return yes(surroundings.isWayBack(packet.source, packet.input, loose, acceptsLocal) != inverted)
        case .set(let index):
            let asked = rules.names.setTests[Int(index)]
            guard let position = sets.position(asked.set.name) else { return yes(asked.inverted) }
            let answer = sets.contains(position, now: now) { RuleWalk.question($0, asked.set, state) }
            if asked.returnsNoMatch, answer == .exception { return yes(!asked.inverted) }
            return yes((answer == .yes) != asked.inverted)
        case .universal(let index):
            return yes(rules.names.universals[Int(index)].matches { packet.word(at: $0) })
        case .within(let index): return share(of: rules.names.native.values[Int(index)], state)
        case .element(let index): return share(of: rules.names.native.lookups[Int(index)], state)
        case .random, .nth, .limit, .recent: return remembers(test, state)
        }
    }

    private mutating func remembers(_ test: PacketTest, _ state: WalkState) -> Double {
        guard case .draw(let draw) = chance else {
            switch test {
            case .random(let bound, let inverted): return inverted ? 1 - Double(bound) / 2_147_483_648 : Double(bound) / 2_147_483_648
            case .nth(let every, _, _, let inverted): return inverted ? 1 - 1 / Double(every) : 1 / Double(every)
            // Limits are not reached.
            case .limit(_, _, _, let inverted): return inverted ? 0 : 1
            case .recent(let index): return (rules.names.recents[Int(index)].action == .set) != rules.names.recents[Int(index)].inverted ? 1 : 0
            default: return 1
            }
        }
        switch test {
        case .random(let bound, let inverted): return (draw() & 0x7fff_ffff < bound) != inverted ? 1 : 0
        case .nth(let every, let wanted, let slot, let inverted):
            let seen = slots[Int(slot)].0
            slots[Int(slot)].0 += 1
            return (seen % UInt64(every) == UInt64(wanted)) != inverted ? 1 : 0
        case .limit(let period, let burst, let slot, let inverted):
            let full = period * UInt64(burst)
            let (known, last) = slots[Int(slot)]
            let credit = last == 0 ? full : min(full, known + (now + 1 - last))
            let isPaid = credit >= period
            slots[Int(slot)] = (isPaid ? credit - period : credit, now + 1)
            return isPaid != inverted ? 1 : 0
        case .recent(let index):
            let asked = rules.names.recents[Int(index)]
            let address = (asked.byDestination ? state.packet.destination : state.packet.source).rawValue & asked.mask
            // A forwarded packet has lost a hop by then, which the list does not count.
            let isForwarded = !state.packet.output.isEmpty && !state.packet.input.isEmpty
            let timeToLive = state.packet.timeToLive &+ (isForwarded ? 1 : 0)
            return recents[asked.list].matches(asked, address: address, timeToLive: timeToLive, now: now) ? 1 : 0
        default: return 0
        }
    }

    private func type(of address: IPv4Address, _ packet: TracedPacket, _ limited: PhysicalSide?) -> AddressTypes {
        if address == .any { return [.unspecified, .broadcast] }
        if address.rawValue >> 24 == 0 || address.isBroadcast || surroundings.isBroadcast(address) { return .broadcast }
        if address.isMulticast { return .multicast }
        let interface: String? = limited.map { $0 == .input ? packet.input : packet.output }
        return surroundings.isLocal(address, interface) ? .local : .unicast
    }
}
