import HairpinProxy
import HairpinWire

/// A rule set as packets meet it: all chains in one array of plain values, a rule's tests contiguous, jumps as indices, each chain closed by a
/// rule that holds its policy or returns (as x_tables lays tables out). Nothing here allocates, counts references or compares strings
/// for a packet, except the first time an interface is held against a name, and where the walk of a connection is remembered.
///
/// Raw memory: `deallocate` when done.
struct RuleProgram {
    struct CompiledRule {
        var source: UInt32, sourceMask: UInt32
        var destination: UInt32, destinationMask: UInt32
        var packets: UInt64, bytes: UInt64
        var firstTest: UInt32
        /// Where a packet goes that the rule does not stop: the rule behind it, or in a stretch the next one with its key.
        var next: UInt32
        /// Of its chain: what closes it.
        var end: UInt32
        var testCount: UInt16
        var input: UInt16, output: UInt16
        var proto: UInt8
        var inverted: RuleInversions
        var secondFragments: Bool
        /// Answers the same for all packets of one direction of a connection; see `RememberedWalk`.
        var isFlowInvariant: Bool
        var looksAtDevices: Bool
        /// See `RuleAction.isIndirect`.
        var isIndirect: Bool
        var action: RuleAction
    }

    let rules: UnsafeMutablePointer<CompiledRule>
    /// Where the rules and the ends of the rule set are, in its order.
    private let places: [UInt32]
    let dispatch: RuleDispatch
    /// Rules that a walk one after the other would have looked at so far.
    var walked: UInt64 = 0
    let tests: UnsafeMutablePointer<PacketTest>
    let portRanges: UnsafeMutablePointer<PortRange>
    /// First rule of each table's base chain by `table * 5 + hook`; negative where there is nothing to do.
    private let entries: UnsafeMutablePointer<Int32>
    /// Those of the base chains behind it, where nftables has several at one place; empty without any.
    private let followers: [[Int]]
    /// Rules to go back to; as deep as there are chains.
    let stack: UnsafeMutablePointer<UInt32>
    /// Memory of nth and limit, two words each, by slot.
    let slots: UnsafeMutablePointer<UInt64>
    private let slotCount: Int
    private let recents: [RecentTest]
    private var recentLists: [RecentList]
    private let patterns: [String]
    var sets: IPSetTable
    private let setTests: [(set: Int, test: SetTest)]
    private let setChanges: [(set: Int, change: SetChange)]
    private let universals: [UniversalTest]
    var elements: ElementSets
    private(set) var native: NativeNames
    /// What the verdicts of maps come to, by their numbers.
    private(set) var verdictActions: [RuleAction] = []
    /// Whether interface n (row) has the name of pattern p (column): 0 not known yet, 1 no, 2 yes.
    private var interfaceMatches: UnsafeMutablePointer<UInt8>
    private var interfaceLimit = 64
    let hasNAT: Bool
    let needsConnections: Bool
    private(set) var isEmpty = true
    var walks = RememberedWalks()
    /// Changes whenever the walks are void; never zero.
    private(set) var walkEpoch: UInt32
    /// By hook: no table but filter and nat has anything to say.
    private var hooksOfFilterAndNAT: UInt8 = 0
    let services: ServiceTable?
    /// How many rules the chains have that `services` stands for; only where that is asked.
    let serviceRules: ServiceRuleCount?
    let affinity: ServiceAffinity

    /// `services` stands for the chains `ServiceChain` names, and their rules are counted with `countsServices`; `predecessor` hands on the memory of
    /// stateful matches, and is to be deallocated afterwards.
    init(_ set: RuleSet, services: ServiceTable? = nil, countsServices: Bool = false, after predecessor: RuleProgram? = nil) {
        self.services = services
        serviceRules = countsServices ? services.flatMap(ServiceRuleCount.init) : nil
        affinity = predecessor?.affinity ?? ServiceAffinity()
        walkEpoch = RuleProgram.epoch(after: predecessor?.walkEpoch ?? 0)
        var flat: [CompiledRule] = []
        var places: [UInt32] = []
        var builder = RuleDispatch.Builder()
        var tests: [PacketTest] = []
        // By place: priority and first rule of every base chain that has something to say.
        var bases = [[(priority: Int, start: Int)]](repeating: [], count: 25)
        var chainCount = 0
        var native = set.names.native
        var firsts: [String: [String: UInt32]] = [:]
        for loaded in set.tables + set.natives {
            var first: [String: UInt32] = [:]
            var next = UInt32(flat.count)
            var stretches: [[Int: (kind: RuleDispatch.Kind, end: Int)]] = []
            for chain in loaded.chains {
                first[chain.name] = next
                stretches.append(RuleDispatch.Builder.stretches(chain.rules))
                next += UInt32(chain.rules.count + stretches[stretches.count - 1].count) + 1
            }
            chainCount += loaded.chains.count
            for (number, chain) in loaded.chains.enumerated() {
                let end = UInt32(flat.count + chain.rules.count + stretches[number].count)
                // The stretch the rule is in, and for each of its rules the next with the same key.
                var stretch: (first: Int, next: [UInt32]) = (0, [])
                if let hook = chain.hook, !chain.rules.isEmpty || !chain.acceptsByDefault {
                    let stage = chain.stage ?? loaded.table
                    bases[Int(stage.rawValue) * 5 + Int(hook.rawValue)].append((chain.stage == nil ? stage.priority(at: hook) : chain.priority, flat.count))
                    isEmpty = false
                }
                for (position, rule) in chain.rules.enumerated() {
                    if let (kind, last) = stretches[number][position] {
                        let (table, next) = builder.add(chain.rules[position..<last], kind, first: flat.count + 1)
                        stretch = (position, next)
                        flat.append(CompiledRule(closing: .dispatch(table), end: end))
                    }
                    let next = stretch.next.indices.contains(position - stretch.first) ? stretch.next[position - stretch.first] : UInt32(flat.count + 1)
                    places.append(UInt32(flat.count))
                    var action = rule.action
                    if let name = rule.chain, let target = first[name] {
                        if let services, let chain = ServiceChain(mode: services.settings.mode, table: loaded.table.name, chain: name) {
                            action = .services(chain)
                        } else {
                            switch action {
                            case .sequence(let index):
                                let isGoTo = if case .goTo = native.sequences[Int(index)].last { true } else { false }
                                native.sequences[Int(index)].last = isGoTo ? .goTo(target) : .jump(target)
                            case .goTo: action = .goTo(target)
                            default: action = .jump(target)
                            }
                        }
                    }
                    flat.append(
                        CompiledRule(
                            source: rule.source, sourceMask: rule.sourceMask, destination: rule.destination, destinationMask: rule.destinationMask,
                            packets: rule.packets, bytes: rule.bytes, firstTest: UInt32(tests.count), next: next, end: end, testCount: UInt16(rule.tests.count),
                            input: rule.input, output: rule.output, proto: rule.proto, inverted: rule.inverted, secondFragments: rule.secondFragments,
                            isFlowInvariant: !rule.secondFragments && rule.tests.allSatisfy(\.isFlowInvariant),
                            looksAtDevices: rule.input != 0 || rule.output != 0 || rule.tests.contains(where: \.looksAtDevices), isIndirect: action.isIndirect,
                            action: action))
                    tests.append(contentsOf: rule.tests)
                }
                places.append(UInt32(flat.count))
                var closing = CompiledRule(closing: chain.hook == nil ? .return : .policy(accept: chain.acceptsByDefault), end: end)
                (closing.packets, closing.bytes) = (chain.packets, chain.bytes)
                flat.append(closing)
            }
            if loaded.nativeName != nil { firsts[loaded.name] = first }
        }
        var starts = [Int32](repeating: -1, count: 25)
        var followers: [[Int]] = []
        for place in bases.indices {
            // Of equal priority, the one that was there first.
            let order = bases[place].enumerated().sorted { ($0.element.priority, $0.offset) < ($1.element.priority, $1.offset) }.map(\.element.start)
            if let first = order.first { starts[place] = Int32(first) }
            if order.count > 1, followers.isEmpty { followers = [[Int]](repeating: [], count: 25) }
            if order.count > 1 { followers[place] = Array(order.dropFirst()) }
        }
        self.followers = followers
        self.native = native
        elements = set.elements
        verdictActions = set.elements.verdicts.map { RuleProgram.action($0.verdict, firsts[$0.table] ?? [:]) }
        rules = RuleProgram.copy(flat)
        self.places = places
        dispatch = builder.finish()
        self.tests = RuleProgram.copy(tests)
        portRanges = RuleProgram.copy(set.names.portRanges)
        entries = RuleProgram.copy(starts)
        for hook in Hook.allCases {
            let others: [RuleSet.Table] = [.raw, .mangle, .security]
            let isFilterAlone = followers.isEmpty || followers[Int(RuleSet.Table.filter.rawValue) * 5 + Int(hook.rawValue)].isEmpty
            if isFilterAlone, others.allSatisfy({ starts[Int($0.rawValue) * 5 + Int(hook.rawValue)] < 0 }) { hooksOfFilterAndNAT |= 1 << hook.rawValue }
        }
        stack = .allocate(capacity: chainCount + 1)
        slotCount = Int(set.names.slotCount)
        slots = .allocate(capacity: max(2 * slotCount, 1))
        slots.initialize(repeating: 0, count: max(2 * slotCount, 1))
        recents = set.names.recents
        recentLists = predecessor?.recentLists ?? []
        while recentLists.count < set.names.recentLists.count { recentLists.append(RecentList()) }
        if let predecessor { slots.update(from: predecessor.slots, count: 2 * min(predecessor.slotCount, slotCount)) }
        sets = set.sets
        setTests = set.names.setTests.map { (set.sets.position($0.set.name) ?? -1, $0) }
        setChanges = set.names.setChanges.map { (set.sets.position($0.set.name) ?? -1, $0) }
        universals = set.names.universals
        patterns = set.names.interfaces
        interfaceMatches = .allocate(capacity: interfaceLimit * patterns.count)
        interfaceMatches.initialize(repeating: 0, count: interfaceLimit * patterns.count)
        hasNAT = set.tables.contains { $0.table == .nat } || set.natives.contains { $0.chains.contains { $0.stage == .nat } }
        needsConnections = hasNAT || !set.natives.isEmpty || set.tables.contains { $0.chains.contains { $0.rules.contains(where: RuleProgram.looksAtConnections) } }
    }

    func deallocate() {
        rules.deallocate()
        dispatch.deallocate()
        tests.deallocate()
        portRanges.deallocate()
        entries.deallocate()
        stack.deallocate()
        slots.deallocate()
        interfaceMatches.deallocate()
        walks.deallocate()
    }

    private static func epoch(after epoch: UInt32) -> UInt32 { epoch == .max ? 1 : epoch + 1 }

    /// Whether no table but filter and nat has rules at a hook.
    @inline(__always)
    func hasOnlyFilterAndNAT(_ hook: Hook) -> Bool { hooksOfFilterAndNAT & 1 &<< hook.rawValue != 0 }

    /// Nil where no rule and no policy has anything to say.
    @inline(__always)
    func entry(_ table: RuleSet.Table, _ hook: Hook) -> Int? {
        let start = entries[Int(table.rawValue) * 5 + Int(hook.rawValue)]
        return start < 0 ? nil : Int(start)
    }

    /// The base chains behind the first at a place, for packets that it accepts.
    @inline(__always)
    func following(_ table: RuleSet.Table, _ hook: Hook) -> [Int] { followers.isEmpty ? [] : followers[Int(table.rawValue) * 5 + Int(hook.rawValue)] }

    /// Brings the counters, and what the sets hold, back into the rule set they came from.
    func saveCounters(into set: inout RuleSet) {
        settleWalks()
        set.sets = sets
        set.elements = elements
        var index = 0
        func save(_ table: inout RuleSet.LoadedTable) {
            for c in table.chains.indices {
                for r in table.chains[c].rules.indices {
                    (table.chains[c].rules[r].packets, table.chains[c].rules[r].bytes) = (rules[Int(places[index])].packets, rules[Int(places[index])].bytes)
                    index += 1
                }
                (table.chains[c].packets, table.chains[c].bytes) = (rules[Int(places[index])].packets, rules[Int(places[index])].bytes)
                index += 1
            }
        }
        for t in set.tables.indices { save(&set.tables[t]) }
        for t in set.natives.indices { save(&set.natives[t]) }
    }

    private static func action(_ verdict: ElementVerdict, _ chains: [String: UInt32]) -> RuleAction {
        func place(_ name: String) -> UInt32 {
            guard let place = chains[name] else { preconditionFailure("a verdict names no chain") }
            return place
        }
        switch verdict {
        case .accept: return .accept
        case .drop: return .drop
        case .return: return .return
        case .continue: return .none
        case .jump(let name): return .jump(place(name))
        case .goTo(let name): return .goTo(place(name))
        }
    }

    /// Forgets which interfaces have which names.
    mutating func interfacesChanged() {
        interfaceMatches.update(repeating: 0, count: interfaceLimit * patterns.count)
        settleWalks()
        walks.removeAll()
        walkEpoch = RuleProgram.epoch(after: walkEpoch)
    }

    /// Whether an interface has the name of pattern `pattern`; none has no name at all.
    @inline(__always)
    mutating func isInterface<E: NetfilterEnvironment>(_ interface: InterfaceIndex, _ pattern: Int, _ env: E) -> Bool {
        if Int(interface.rawValue) < interfaceLimit {
            let known = interfaceMatches[Int(interface.rawValue) * patterns.count + pattern]
            if known != 0 { return known == 2 }
        }
        return resolve(interface, pattern, env)
    }

    @inline(never)
    private mutating func resolve<E: NetfilterEnvironment>(_ interface: InterfaceIndex, _ pattern: Int, _ env: E) -> Bool {
        let row = Int(interface.rawValue)
        if row >= interfaceLimit {
            var limit = interfaceLimit
            while limit <= row { limit *= 2 }
            let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: limit * patterns.count)
            larger.initialize(repeating: 0, count: limit * patterns.count)
            larger.update(from: interfaceMatches, count: interfaceLimit * patterns.count)
            interfaceMatches.deallocate()
            interfaceMatches = larger
            interfaceLimit = limit
        }
        let name = interface == .none ? "" : env.name(of: interface)
        let text = patterns[pattern]
        let result = text.hasSuffix("+") ? name.hasPrefix(text.dropLast()) : name == text
        interfaceMatches[row * patterns.count + pattern] = result ? 2 : 1
        return result
    }

    mutating func recent(_ index: Int, _ packet: PacketHeaders, isForwarded: Bool, now: UInt64) -> Bool {
        let test = recents[index]
        let address = (test.byDestination ? packet.destination : packet.source) & test.mask
        return recentLists[test.list].matches(test, address: address, timeToLive: packet.timeToLive &+ (isForwarded ? 1 : 0), now: now)
    }

    // MARK: Sets and words of the packet

    @inline(never)
    func isInSet<E: NetfilterEnvironment>(_ index: Int, _ packet: PacketHeaders, _ mark: UInt32, _ place: HookPlace, _ env: E) -> Bool {
        let (position, test) = setTests[index]
        guard position >= 0 else { return test.inverted }
        let subject = SetSubject(packet, mark: mark)
        let answer = sets.contains(position, now: env.now.nanoseconds) { set in
            subject.question(set, test.set.directions) { isOutput in
                let interface = isOutput ? place.output : place.input
                return interface == .none ? "" : env.name(of: interface)
            }
        }
        if test.returnsNoMatch, answer == .exception { return !test.inverted }
        return (answer == .yes) != test.inverted
    }

    @inline(never)
    mutating func changeSet<E: NetfilterEnvironment>(_ index: Int, _ packet: PacketHeaders, _ mark: UInt32, _ place: HookPlace, _ env: E) {
        let (position, change) = setChanges[index]
        guard position >= 0 else { return }
        let subject = SetSubject(packet, mark: mark)
        sets.change(position, adding: change.adds, timeout: change.timeout, renews: change.renews, now: env.now.nanoseconds) { set in
            subject.question(set, change.set.directions) { isOutput in
                let interface = isOutput ? place.output : place.input
                return interface == .none ? "" : env.name(of: interface)
            }
        }
    }

    @inline(never)
    func universal(_ index: Int, _ packet: PacketHeaders) -> Bool {
        universals[index].matches { offset in offset + 4 <= UInt64(packet.totalLength) ? packet.network.u32(Int(offset)) : nil }
    }

    static func copy<T>(_ array: [T]) -> UnsafeMutablePointer<T> {
        let memory = UnsafeMutablePointer<T>.allocate(capacity: max(array.count, 1))
        array.withUnsafeBufferPointer { if let base = $0.baseAddress { memory.initialize(from: base, count: array.count) } }
        return memory
    }

    private static func looksAtConnections(_ rule: RuleSet.Rule) -> Bool {
        switch rule.action {
        case .setConnectionMark, .saveMark, .restoreMark, .untrack: return true
        default: break
        }
        return rule.tests.contains {
            switch $0 {
            case .connectionState, .connectionAddress, .connectionPort, .connectionProtocol, .connectionReply, .connectionStatus, .connectionMark: true
            default: false
            }
        }
    }
}

extension RuleProgram.CompiledRule {
    /// What stands for no rule of a person's: it takes every packet.
    init(closing action: RuleAction, end: UInt32) {
        self.init(
            source: 0, sourceMask: 0, destination: 0, destinationMask: 0, packets: 0, bytes: 0, firstTest: 0, next: 0, end: end, testCount: 0, input: 0, output: 0,
            proto: 0, inverted: [], secondFragments: false, isFlowInvariant: true, looksAtDevices: false, isIndirect: false, action: action)
    }
}

extension SetSubject {
    init(_ packet: PacketHeaders, mark: UInt32) {
        var ports: (UInt16, UInt16)?
        if packet.hasPorts { ports = (packet.sourcePort, packet.destinationPort) } else if packet.proto == 1, packet.hasTransport {
            let kind = UInt16(packet.transport.u8(ICMPOffset.type)) << 8 | UInt16(packet.transport.u8(ICMPOffset.code))
            ports = (kind, kind)
        }
        self.init(source: packet.source, destination: packet.destination, proto: packet.proto, sourcePort: ports?.0, destinationPort: ports?.1, mark: mark)
    }
}
