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

/// getaddrinfo(3) as a state machine: a number, then /etc/hosts, then the servers of /etc/resolv.conf over UDP.
///
/// As glibc does it, the A and AAAA questions leave one after the other from one connected socket, and both answers are awaited; servers are
/// tried in turn, `attempts` times over, `timeout` each; the search list is walked as `res_search` walks it.
final class Resolver {
    enum Progress {
        case wait(WaitSet)
        case done([IPv4Address])
        case failed(ResolutionFailure)
    }
    enum Family { case both, ipv4 }

    private let name: String
    private let family: Family
    private var configuration: ResolverConfiguration?
    private var candidates: [String] = []
    private var candidate = 0
    private var attempt = 0, server = 0
    private var socket: SocketID?
    private var deadline = Instant.zero
    private var pending: [(identifier: UInt16, type: DNSType)] = []
    private var found: [IPv4Address] = []
    private var existed = false
    private(set) var canonicalName: String?

    init(_ name: String, family: Family = .both) {
        self.name = name
        self.family = family
    }

    func advance(_ system: any SystemCalls) -> Progress {
        if configuration == nil {
            if let address = IPv4Address(name) { return .done([address]) }
            let local = HostsFile.addresses(of: name, system)
            if !local.isEmpty { return .done(local) }
            if name.lowercased() == "localhost" || name.lowercased().hasSuffix(".localhost") { return .done([.loopback]) }  // RFC 6761 §6.3
            guard DNSName(name) != nil, !name.isEmpty, name != ".", !name.contains(" ") else { return .failed(.unknownName) }
            configuration = ResolverConfiguration.load(system)
            candidates = configuration!.candidates(name)
        }
        while true {
            if socket == nil {
                guard candidate < candidates.count else { return .failed(existed ? .noAddress : .unknownName) }
                if attempt >= configuration!.attempts {
                    // Nobody answered: glibc gives up on the whole search.
                    return .failed(.temporary)
                }
                if !ask(system) {
                    nextServer()
                    continue
                }
            }
            switch listen(system) {
            case .waiting(let set): return .wait(set)
            case .refusedOrTimedOut:
                close(system)
                nextServer()
            case .complete:
                close(system)
                if !found.isEmpty { return .done(found) }
                candidate += 1
                attempt = 0
                server = 0
            }
        }
    }

    func cancel(_ system: any SystemCalls) { close(system) }

    private func close(_ system: any SystemCalls) {
        if let socket { system.close(socket) }
        socket = nil
    }

    private func nextServer() {
        server += 1
        if server >= configuration!.nameservers.count {
            server = 0
            attempt += 1
        }
    }

    /// Sends the questions; false if the server cannot be reached at all.
    private func ask(_ system: any SystemCalls) -> Bool {
        guard let question = DNSName(candidates[candidate]) else {
            candidate += 1
            return true
        }
        let types: [DNSType] = family == .both ? [.a, .aaaa] : [.a]
        pending = types.map { (UInt16(truncatingIfNeeded: system.random()), $0) }
        do throws(Errno) {
            let socket = try system.socket(.datagram)
            self.socket = socket
            try system.connect(socket, SocketAddress(configuration!.nameservers[server], 53))
            for (identifier, type) in pending {
                var message = DNSMessage(identifier: identifier, flags: .recursionDesired)
                message.questions = [DNSQuestion(name: question, type: type)]
                _ = try system.send(socket, message.encoded()[...])
            }
        } catch {
            close(system)
            return false
        }
        deadline = system.now + configuration!.timeout
        return true
    }

    private enum Outcome {
        case waiting(WaitSet)
        case refusedOrTimedOut, complete
    }

    private func listen(_ system: any SystemCalls) -> Outcome {
        guard let socket else { return .complete }
        while true {
            do throws(Errno) {
                let received = try system.receiveMessage(socket)
                guard let answer = DNSMessage(parsing: received.bytes), answer.flags.contains(.response),
                    let index = pending.firstIndex(where: { $0.identifier == answer.identifier && $0.type == answer.questions.first?.type })
                else { continue }
                if answer.responseCode != .noError, answer.responseCode != .nameError {
                    return .refusedOrTimedOut  // SERVFAIL, REFUSED: the next server may know
                }
                pending.remove(at: index)
                if answer.responseCode == .noError { existed = true }
                for record in answer.answers {
                    if case .a(let address) = record.data { found.append(address) }
                    if record.type == .cname, case .name(let target) = record.data { canonicalName = target.key }
                }
                if canonicalName == nil, !found.isEmpty { canonicalName = candidates[candidate] }
                if pending.isEmpty { return .complete }
            } catch {
                if error == .tryAgain {
                    if system.now >= deadline { return .refusedOrTimedOut }
                    return .waiting(WaitSet(sockets: [(socket, [.readable, .error])], deadline: deadline))
                }
                return .refusedOrTimedOut  // ECONNREFUSED from ICMP
            }
        }
    }
}
