/// One table of iptables, printed as iptables-save prints it: built-in chains first, then the others by name, rules in the order of their chains.
public struct SavedTable: Sendable {
    public let name: String
    private let builtIn: [String]
    private var rules: [String: [String]] = [:]

    public init(name: String, chains: [String]) {
        self.name = name
        builtIn = chains
    }

    /// Makes the chain if it is not there.
    public mutating func chain(_ name: String) { rules[name, default: []] += [] }
    public mutating func append(_ chain: String, _ rule: String) { rules[chain, default: []].append(rule) }
    public func has(_ chain: String) -> Bool { rules[chain] != nil }

    public func lines() -> [String] {
        let own = rules.keys.filter { !builtIn.contains($0) }.sorted()
        return ["*\(name)"] + builtIn.map { ":\($0) ACCEPT [0:0]" } + own.map { ":\($0) - [0:0]" }
            + (builtIn + own).flatMap { chain in (rules[chain] ?? []).map { "-A \(chain) \($0)" } } + ["COMMIT"]
    }

    /// Chains of these names are those of a table already loaded; `lines` are what that one printed. The chains' rules are put where they belong.
    func completing(_ lines: [String], counters: Bool) -> [String] {
        var declared: [String] = []
        var chains: [String: [String]] = [:]
        var order: [String] = []
        for line in lines {
            if line.hasPrefix(":") {
                declared.append(line)
                order.append(String(line.dropFirst().prefix { $0 != " " }))
            } else {
                // "[packets:bytes] -A CHAIN …" or "-A CHAIN …".
                let words = line.split(separator: " ", maxSplits: 3)
                guard let verb = words.firstIndex(of: "-A"), verb + 1 < words.count else { continue }
                chains[String(words[verb + 1]), default: []].append(line)
            }
        }
        let known = Set(order)
        for name in rules.keys.sorted() where !known.contains(name) {
            declared.append(":\(name) - [0:0]")
            order.append(name)
        }
        let fixed = order.prefix(builtIn.count)
        let own = order.dropFirst(builtIn.count).sorted()
        let prefix = counters ? "[0:0] " : ""
        let heads = declared.prefix(builtIn.count) + declared.dropFirst(builtIn.count).sorted()
        var result = ["*\(name)"] + heads
        for chain in Array(fixed) + own {
            result += chains[chain] ?? []
            for rule in rules[chain] ?? [] { result.append("\(prefix)-A \(chain) \(rule)") }
        }
        return result + ["COMMIT"]
    }
}

/// The two tables Kubernetes uses.
public struct SavedRules: Sendable {
    public var filter = SavedTable(name: "filter", chains: ["INPUT", "FORWARD", "OUTPUT"])
    public var nat = SavedTable(name: "nat", chains: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"])
    public init() {}
    public func lines() -> [String] { filter.lines() + nat.lines() }

    /// `lines` of iptables-save with these rules in their places.
    public func completing(_ lines: [String], counters: Bool = false) -> [String] {
        var result: [String] = []
        var rest = lines[...]
        while let line = rest.popFirst() {
            let body = Array(rest.prefix { $0 != "COMMIT" })
            switch line {
            case "*filter":
                result += filter.completing(body, counters: counters)
                rest = rest.dropFirst(body.count + 1)
            case "*nat":
                result += nat.completing(body, counters: counters)
                rest = rest.dropFirst(body.count + 1)
            default: result.append(line)
            }
        }
        return result
    }
}
