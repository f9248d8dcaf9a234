/// Look-ups in place of rules that are walked one after the other. kube-proxy's chains ask for one destination address, or one port, in every rule; of a
/// stretch of such rules a packet can meet only those with its own. They are found by hashing, in the order in which they stand, so that verdicts,
/// counters and random numbers are those of the walk.
///
/// Raw memory: `deallocate` when done.
struct RuleDispatch {
    enum Kind: UInt8 { case destination, port }
    struct Table {
        var kind: Kind
        /// Of `keys`; `mask` plus one places.
        var offset: UInt32, mask: UInt32
        /// The rule behind the stretch.
        var end: UInt32
    }
    private let tables: UnsafeMutablePointer<Table>
    /// Open addressing; a place is free where its rule is zero, which no stretch's rule is: the look-up itself stands before it.
    private let keys: UnsafeMutablePointer<UInt64>
    private let rules: UnsafeMutablePointer<UInt32>

    /// Shorter stretches are walked.
    static let shortest = 8

    func deallocate() {
        tables.deallocate()
        keys.deallocate()
        rules.deallocate()
    }

    @inline(__always)
    static func hash(_ key: UInt64) -> UInt32 {
        let x = key &* 0x9e37_79b9_7f4a_7c15
        return UInt32(truncatingIfNeeded: x &>> 32)
    }

    /// The first rule of the stretch that a packet can meet, or the one behind it.
    @inline(__always)
    func first(_ number: UInt32, _ packet: PacketHeaders) -> Int {
        let table = tables[Int(number)]
        let key: UInt64
        switch table.kind {
        case .destination: key = UInt64(packet.destination)
        case .port:
            guard packet.hasPorts else { return Int(table.end) }
            key = UInt64(packet.proto) &<< 16 | UInt64(packet.destinationPort)
        }
        var place = RuleDispatch.hash(key) & table.mask
        while true {
            let at = Int(table.offset &+ place)
            if rules[at] == 0 { return Int(table.end) }
            if keys[at] == key { return Int(rules[at]) }
            place = (place &+ 1) & table.mask
        }
    }

    /// Collects the stretches of a rule set while it is laid out.
    struct Builder {
        private var tables: [Table] = []
        private var keys: [UInt64] = []
        private var rules: [UInt32] = []

        /// What a rule asks for exactly and before anything that a walk would notice; nil if it does not.
        static func key(_ rule: RuleSet.Rule, _ kind: Kind) -> UInt64? {
            switch kind {
            case .destination:
                guard rule.destinationMask == ~0, rule.inverted.isDisjoint(with: .destination) else { return nil }
                return UInt64(rule.destination)
            case .port:
                guard rule.proto != 0, rule.inverted.isDisjoint(with: .proto) else { return nil }
                for test in rule.tests {
                    if case .port(.destination, let range, false) = test, range.low == range.high { return UInt64(rule.proto) << 16 | UInt64(range.low) }
                    if !test.isPure { return nil }
                }
                return nil
            }
        }

        /// Which rules of a chain begin a stretch, of which kind, and where it ends.
        static func stretches(_ chain: [RuleSet.Rule]) -> [Int: (kind: Kind, end: Int)] {
            guard chain.count >= shortest else { return [:] }
            var result: [Int: (kind: Kind, end: Int)] = [:]
            var index = 0
            while index < chain.count {
                var best: (kind: Kind, end: Int)?
                for kind in [Kind.destination, .port] where key(chain[index], kind) != nil {
                    var end = index + 1
                    while end < chain.count, key(chain[end], kind) != nil { end += 1 }
                    if end - index >= shortest, end > best?.end ?? 0 { best = (kind, end) }
                }
                if let best {
                    result[index] = best
                    index = best.end
                } else {
                    index += 1
                }
            }
            return result
        }

        /// A stretch whose rules are laid out from `first` on; returns its number and, for each rule, the next one with the same key.
        mutating func add(_ stretch: ArraySlice<RuleSet.Rule>, _ kind: Kind, first: Int) -> (number: UInt32, next: [UInt32]) {
            let end = UInt32(first + stretch.count)
            var size = 16
            while size < 2 * stretch.count { size *= 2 }
            let offset = keys.count
            keys += [UInt64](repeating: 0, count: size)
            rules += [UInt32](repeating: 0, count: size)
            var next = [UInt32](repeating: end, count: stretch.count)
            var last: [UInt64: Int] = [:]
            for (place, rule) in stretch.enumerated() {
                guard let key = Builder.key(rule, kind) else { preconditionFailure("a rule without key in a stretch") }
                if let before = last.updateValue(place, forKey: key) {
                    next[before] = UInt32(first + place)
                    continue
                }
                var slot = Int(RuleDispatch.hash(key)) & (size - 1)
                while rules[offset + slot] != 0 { slot = (slot + 1) & (size - 1) }
                keys[offset + slot] = key
                rules[offset + slot] = UInt32(first + place)
            }
            tables.append(Table(kind: kind, offset: UInt32(offset), mask: UInt32(size - 1), end: end))
            return (UInt32(tables.count - 1), next)
        }

        func finish() -> RuleDispatch { RuleDispatch(tables: RuleProgram.copy(tables), keys: RuleProgram.copy(keys), rules: RuleProgram.copy(rules)) }
    }

    private init(tables: UnsafeMutablePointer<Table>, keys: UnsafeMutablePointer<UInt64>, rules: UnsafeMutablePointer<UInt32>) {
        (self.tables, self.keys, self.rules) = (tables, keys, rules)
    }
}
