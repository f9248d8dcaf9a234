/// One table of iptables, printed as iptables-save prints it: built-in chains first, then the others by name, rules in the order of their chains.
struct RuleTable {
    let name: String
    private let builtIn: [String]
    private var rules: [String: [String]] = [:]

    init(name: String, chains: [String]) {
        self.name = name
        builtIn = chains
    }

    /// Makes the chain if it is not there.
    mutating func chain(_ name: String) { rules[name, default: []] += [] }
    mutating func append(_ chain: String, _ rule: String) { rules[chain, default: []].append(rule) }
    func has(_ chain: String) -> Bool { rules[chain] != nil }

    func lines() -> [String] {
        let own = rules.keys.filter { !builtIn.contains($0) }.sorted()
        return ["*\(name)"] + builtIn.map { ":\($0) ACCEPT [0:0]" } + own.map { ":\($0) - [0:0]" }
            + (builtIn + own).flatMap { chain in (rules[chain] ?? []).map { "-A \(chain) \($0)" } } + ["COMMIT"]
    }
}

/// The two tables Kubernetes uses.
struct RuleSet {
    var filter = RuleTable(name: "filter", chains: ["INPUT", "FORWARD", "OUTPUT"])
    var nat = RuleTable(name: "nat", chains: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"])
    func lines() -> [String] { filter.lines() + nat.lines() }
}
