import HairpinEngine
import HairpinTransport
import HairpinWire

/// Why a name gave no address, in the words of getaddrinfo(3).
public enum ResolutionFailure: Error, Equatable, Sendable {
    /// EAI_NONAME.
    case unknownName
    /// EAI_NODATA: the name exists, without an IPv4 address.
    case noAddress
    /// EAI_AGAIN: no server answered.
    case temporary

    var message: String {
        switch self {
        case .unknownName: "Name or service not known"
        case .noAddress: "No address associated with hostname"
        case .temporary: "Temporary failure in name resolution"
        }
    }
}

/// getaddrinfo(3) as a state machine: a number, then /etc/hosts, then the servers of /etc/resolv.conf, the search list as the C library walks it.
final class Resolver {
    enum Progress {
        case wait(WaitSet)
        case done([IPv4Address])
        case failed(ResolutionFailure)
    }
    /// `ipv6` asks for AAAA records alone, as gethostbyname2(3) does for AF_INET6; no address of that family is modelled.
    enum Family { case both, ipv4, ipv6 }

    private let name: String
    private let family: Family
    private var configuration: ResolverConfiguration?
    private var candidates: [String] = []
    private var candidate = 0
    private var offset = 0
    private var query: (any StubQuery)?
    private var existed = false
    private var hadServerFailure = false
    private(set) var canonicalName: String?

    init(_ name: String, family: Family = .both) {
        self.name = name
        self.family = family
    }

    func advance(_ system: any SystemCalls) -> Progress {
        if configuration == nil {
            if let address = IPv4Address(name) { return family == .ipv6 ? .failed(.noAddress) : .done([address]) }
            let local = family == .ipv6 ? [] : HostsFile.addresses(of: name, system)
            if !local.isEmpty { return .done(local) }
            if name.lowercased() == "localhost" || name.lowercased().hasSuffix(".localhost") {  // RFC 6761 §6.3
                return family == .ipv6 ? .failed(.noAddress) : .done([.loopback])
            }
            guard DNSName(name) != nil, !name.isEmpty, name != ".", !name.contains(" ") else { return .failed(.unknownName) }
            let loaded = ResolverConfiguration.load(system)
            configuration = loaded
            candidates = loaded.candidates(name)
            // The first server is drawn; later questions of the process go on from there.
            if loaded.rotates, loaded.nameservers.count > 1 { offset = Int(system.random() >> 16) % loaded.nameservers.count }
        }
        guard let configuration else { return .failed(.temporary) }
        while true {
            guard candidate < candidates.count else { return .failed(existed ? .noAddress : hadServerFailure ? .temporary : .unknownName) }
            guard let question = DNSName(candidates[candidate]) else {
                candidate += 1
                continue
            }
            if query == nil {
                let types: [DNSType] = family == .ipv6 ? [.aaaa] : family == .ipv4 || configuration.omitsAAAA ? [.a] : [.a, .aaaa]
                query = configuration.ask(question, types, offset: offset, system)
                if configuration.rotates { offset = (offset + 1) % configuration.nameservers.count }
            }
            switch query!.advance(system) {
            case .wait(let set): return .wait(set)
            case .done(let answers):
                let wasRefused = (query as? GlibcQuery)?.failure != nil
                query = nil
                guard let answers else {
                    // Servers that fail say something about this name; servers that are silent end the search.
                    guard wasRefused, candidate + 1 < candidates.count else { return .failed(.temporary) }
                    hadServerFailure = true
                    candidate += 1
                    continue
                }
                let addresses = take(answers)
                if !addresses.isEmpty { return .done(addresses) }
                // musl ends the search with a name that exists.
                if existed, configuration.library == .musl { return .failed(.noAddress) }
                candidate += 1
            }
        }
    }

    private func take(_ answers: [DNSMessage?]) -> [IPv4Address] {
        var found: [IPv4Address] = []
        for answer in answers {
            guard let answer else { continue }
            if answer.responseCode == .noError { existed = true }
            for record in answer.answers {
                if case .a(let address) = record.data { found.append(address) }
                if record.type == .cname, case .name(let target) = record.data { canonicalName = target.key }
            }
        }
        if canonicalName == nil, !found.isEmpty { canonicalName = candidates[candidate] }
        return found
    }

    func cancel(_ system: any SystemCalls) { query?.cancel(system) }
}

/// gethostbyaddr(3): /etc/hosts, then a PTR question.
final class ReverseResolver {
    enum Progress {
        case wait(WaitSet)
        /// Without the final dot; empty if the address has no name.
        case done([String])
    }
    private let address: IPv4Address
    private var query: (any StubQuery)?

    init(_ address: IPv4Address) { self.address = address }

    func advance(_ system: any SystemCalls) -> Progress {
        if query == nil {
            let local = HostsFile.names(of: address, system)
            if !local.isEmpty { return .done(local) }
            guard let name = DNSName(DNSReverse.name(of: address)) else { return .done([]) }
            query = ResolverConfiguration.load(system).ask(name, [.ptr], offset: 0, system)
        }
        switch query!.advance(system) {
        case .wait(let set): return .wait(set)
        case .done(let answers):
            let records = answers?.compactMap { $0 }.flatMap(\.answers) ?? []
            return .done(records.compactMap { record in
                guard record.type == .ptr, case .name(let target) = record.data else { return nil }
                return String(target.description.dropLast())
            })
        }
    }
}
