/// The words of a key, in the order of a set's type; at most eight.
typealias ElementKey = SIMD8<UInt32>

/// One element of a set or a map: a key, or bounds of one in every word.
struct SetElement: Hashable, Sendable {
    enum Value: Hashable, Sendable {
        case none
        /// Number in `ElementSets.verdicts`.
        case verdict(Int)
        /// An address or a mark, and a port where there is one.
        case words(UInt32, UInt32?)
    }
    var low: ElementKey
    var high: ElementKey
    var value = Value.none
    /// Nanoseconds of virtual time; zero for never.
    var expires: UInt64 = 0
    var comment: String?

    func holds(_ key: ElementKey) -> Bool { (low .<= key .& (key .<= high)) == SIMDMask(repeating: true) }
}

/// One set or map of a table of nftables. Keys are found by hashing where they are single values, by halving where they are bounds of one word, and one
/// after the other where they are bounds of several.
struct ElementSet: Sendable {
    /// As the text has it; empty for the set of a rule.
    var name: String
    /// "ip kube-proxy".
    var table: String
    /// Of each word of the key, in nftables' names: `ipv4_addr`, `inet_service`.
    var types: [String]
    /// Nanoseconds; zero for none.
    var timeout: UInt64 = 0
    /// Zero for no limit.
    var size = 0
    private(set) var elements: [SetElement] = []
    /// What an element `*` says: of keys that no other has.
    var fallback: SetElement.Value?
    private var exact: [ElementKey: Int] = [:]
    /// Places of elements with bounds, by their lower one.
    private var bounded: [Int] = []
    private var isSorted = true

    init(name: String, table: String, types: [String]) { (self.name, self.table, self.types) = (name, table, types) }

    mutating func append(_ element: SetElement) {
        if element.low == element.high {
            if let known = exact[element.low] {
                elements[known] = element
                return
            }
            exact[element.low] = elements.count
        } else {
            bounded.append(elements.count)
            isSorted = false
        }
        elements.append(element)
    }

    /// To be called when elements with bounds have been added.
    mutating func sort() {
        let all = elements
        bounded.sort { all[$0].low[0] < all[$1].low[0] }
        isSorted = true
    }

    func find(_ key: ElementKey, now: UInt64) -> SetElement.Value? {
        precondition(isSorted, "bounds were added and not sorted")
        if let place = exact[key], elements[place].expires == 0 || elements[place].expires > now { return elements[place].value }
        if bounded.isEmpty { return fallback }
        guard types.count == 1 else {
            for place in bounded where elements[place].holds(key) && (elements[place].expires == 0 || elements[place].expires > now) { return elements[place].value }
            return fallback
        }
        // Bounds of one word do not overlap in a set: the last that begins at or before the key is the only one.
        var (from, to) = (0, bounded.count)
        while from < to {
            let middle = (from + to) / 2
            if elements[bounded[middle]].low[0] <= key[0] { from = middle + 1 } else { to = middle }
        }
        guard from > 0, case let element = elements[bounded[from - 1]], element.holds(key), element.expires == 0 || element.expires > now else { return fallback }
        return element.value
    }

    /// One element after the other, as the text has them: what `find` must agree with.
    func search(_ key: ElementKey, now: UInt64) -> SetElement.Value? {
        for element in elements where element.holds(key) && (element.expires == 0 || element.expires > now) { return element.value }
        return fallback
    }

    /// `nft_dynset_eval`: a full set takes nothing, and the rule goes no further; false then.
    mutating func change(_ kind: ElementChange.Kind, _ key: ElementKey, timeout given: UInt64?, now: UInt64) -> Bool {
        let lifetime = given ?? timeout
        let expires = lifetime == 0 ? 0 : now + lifetime
        if let place = exact[key] {
            let isAlive = elements[place].expires == 0 || elements[place].expires > now
            if kind == .delete {
                elements[place].expires = 1
                return isAlive
            }
            if !isAlive || kind == .update { elements[place].expires = expires }
            return true
        }
        if kind == .delete { return false }
        if size > 0, elements.count >= size {
            collect(now: now)
            if elements.count >= size { return false }
        }
        append(SetElement(low: key, high: key, expires: expires))
        return true
    }

    /// Forgets what has expired.
    private mutating func collect(now: UInt64) {
        let alive = elements.filter { $0.expires == 0 || $0.expires > now }
        (elements, exact, bounded) = ([], [:], [])
        for element in alive { append(element) }
        sort()
    }
}

/// All sets and maps of a network namespace's nftables, those of single rules among them.
struct ElementSets: Sendable {
    var sets: [ElementSet] = []
    /// Verdicts that elements give, with the table whose chains they name.
    private(set) var verdicts: [(table: String, verdict: ElementVerdict)] = []
    private var verdictNumbers: [String: [ElementVerdict: Int]] = [:]
    private var places: [String: [String: Int]] = [:]
    /// Numbers of interfaces' names in keys.
    private(set) var interfaces: [String: UInt32] = [:]

    func place(of name: String, in table: String) -> Int? { places[table]?[name] }

    /// A set with a name can be asked by it from now on.
    mutating func add(_ set: ElementSet) -> Int {
        if !set.name.isEmpty { places[set.table, default: [:]][set.name] = sets.count }
        sets.append(set)
        return sets.count - 1
    }

    mutating func number(of verdict: ElementVerdict, in table: String) -> Int {
        if let known = verdictNumbers[table]?[verdict] { return known }
        verdictNumbers[table, default: [:]][verdict] = verdicts.count
        verdicts.append((table, verdict))
        return verdicts.count - 1
    }

    mutating func interface(_ name: String) -> UInt32 {
        if let known = interfaces[name] { return known }
        let number = UInt32(interfaces.count)
        interfaces[name] = number
        return number
    }
}
