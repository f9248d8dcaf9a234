import HairpinEngine
import HairpinWire

/// /etc/resolv.conf as resolv.conf(5) describes it, and as the C library of the container reads it.
struct ResolverConfiguration {
    /// Whose stub resolver asks: it decides the order of questions and of servers.
    enum Library { case glibc, musl }

    var library = Library.glibc
    var nameservers: [IPv4Address] = []
    var search: [String] = []
    var ndots = 1
    var timeout = Duration.seconds(5)
    var attempts = 2
    var rotates = false
    var usesTCP = false
    /// A, and AAAA once A is answered; `single-request-reopen` from a socket of its own.
    var isSingleRequest = false
    var reopens = false
    var usesEDNS = false
    var trustsAuthenticData = false
    var omitsAAAA = false

    /// In the order of the words of resolv.conf(5); musl knows `ndots`, `timeout` and `attempts` only, with limits of its own.
    init(parsing content: String, library: Library = .glibc) {
        self.library = library
        for line in lines(content) {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard let keyword = words.first, !keyword.hasPrefix("#"), !keyword.hasPrefix(";") else { continue }
            switch keyword {
            case "nameserver":
                if words.count > 1, let address = IPv4Address(words[1]), nameservers.count < 3 { nameservers.append(address) }
            case "search", "domain": search = words.dropFirst().map(String.init)
            case "options": for option in words.dropFirst() { read(option) }
            default: break
            }
        }
        if nameservers.isEmpty { nameservers = [.loopback] }
    }

    private mutating func read(_ option: Substring) {
        let parts = option.split(separator: ":")
        if parts.count == 2, let value = Int64(parts[1]), value >= 0 {
            let isMusl = library == .musl
            switch parts[0] {
            case "ndots": ndots = Int(min(value, 15))
            case "timeout": timeout = .seconds(min(max(value, 1), isMusl ? 60 : 30))
            case "attempts": attempts = Int(min(max(value, 1), isMusl ? 10 : 5))
            default: break
            }
        }
        guard library == .glibc else { return }
        switch option {
        case "rotate": rotates = true
        case "use-vc": usesTCP = true
        case "single-request": isSingleRequest = true
        case "single-request-reopen": (isSingleRequest, reopens) = (true, true)
        case "edns0": usesEDNS = true
        case "trust-ad": trustsAuthenticData = true
        case "no-aaaa": omitsAAAA = true
        default: break
        }
    }

    /// The loader of musl's programs tells whose library the container has.
    static let muslLoader = "/lib/ld-musl-x86_64.so.1"

    static func load(_ system: any SystemCalls) -> ResolverConfiguration {
        let library: Library = system.readFile(muslLoader) == nil ? .glibc : .musl
        return ResolverConfiguration(parsing: text(system.readFile("/etc/resolv.conf") ?? []), library: library)
    }

    /// The names to ask for, in order. glibc (`res_search`): as it stands first if it has at least `ndots` dots, then the search list. musl
    /// (`name_from_dns_search`): with that many dots the search list is not walked at all. Only itself if it ends in a dot.
    func candidates(_ name: String) -> [String] {
        if name.hasSuffix(".") { return [String(name.dropLast())] }
        let dots = name.reduce(0) { $0 + ($1 == "." ? 1 : 0) }
        let searched = search.map { $0.hasSuffix(".") ? "\(name).\($0.dropLast())" : "\(name).\($0)" }
        if dots >= ndots { return library == .musl ? [name] : [name] + searched }
        return searched + [name]
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
