import HairpinEngine
import HairpinWire

/// /etc/resolv.conf as resolv.conf(5) describes it.
struct ResolverConfiguration {
    var nameservers: [IPv4Address] = []
    var search: [String] = []
    var ndots = 1
    var timeout = Duration.seconds(5)
    var attempts = 2

    init(parsing content: String) {
        for line in lines(content) {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard let keyword = words.first, !keyword.hasPrefix("#"), !keyword.hasPrefix(";") else { continue }
            switch keyword {
            case "nameserver":
                if words.count > 1, let address = IPv4Address(words[1]), nameservers.count < 3 { nameservers.append(address) }
            case "search", "domain": search = words.dropFirst().map(String.init)
            case "options":
                for option in words.dropFirst() {
                    let parts = option.split(separator: ":")
                    guard parts.count == 2, let value = Int64(parts[1]), value >= 0 else { continue }
                    switch parts[0] {
                    case "ndots": ndots = Int(min(value, 15))
                    case "timeout": timeout = .seconds(min(max(value, 1), 30))
                    case "attempts": attempts = Int(min(max(value, 1), 5))
                    default: break
                    }
                }
            default: break
            }
        }
        if nameservers.isEmpty { nameservers = [.loopback] }
    }

    static func load(_ system: any SystemCalls) -> ResolverConfiguration {
        ResolverConfiguration(parsing: text(system.readFile("/etc/resolv.conf") ?? []))
    }

    /// The names to ask for, in order (`res_search`): as it stands first if it has at least `ndots` dots, only that if it ends in a dot.
    func candidates(_ name: String) -> [String] {
        if name.hasSuffix(".") { return [String(name.dropLast())] }
        let dots = name.reduce(0) { $0 + ($1 == "." ? 1 : 0) }
        let searched = search.map { $0.hasSuffix(".") ? "\(name).\($0.dropLast())" : "\(name).\($0)" }
        return dots >= ndots ? [name] + searched : searched + [name]
    }
}

/// /etc/hosts as hosts(5) describes it.
enum HostsFile {
    static func addresses(of name: String, _ system: any SystemCalls) -> [IPv4Address] {
        let wanted = name.lowercased()
        var result: [IPv4Address] = []
        for (address, names) in entries(system) where names.contains(where: { $0.lowercased() == wanted }) { result.append(address) }
        return result
    }

    static func names(of address: IPv4Address, _ system: any SystemCalls) -> [String] {
        entries(system).first { $0.0 == address }?.1 ?? []
    }

    static func entries(_ system: any SystemCalls) -> [(IPv4Address, [String])] {
        lines(text(system.readFile("/etc/hosts") ?? [])).compactMap { line in
            let words = line.prefix { $0 != "#" }.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard let first = words.first, let address = IPv4Address(first), words.count > 1 else { return nil }
            return (address, words.dropFirst().map(String.init))
        }
    }
}
