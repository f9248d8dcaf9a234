import HairpinEngine
import HairpinTransport
import HairpinWire

/// What the cluster knows about a name. The caller keeps it up to date; servers ask at every question.
public enum NameAnswer: Sendable {
    /// Records in the order to be given: those that were asked for, or one CNAME; and what goes with them.
    case records([DNSRecord], additional: [DNSRecord] = [])
    /// The name exists, without this type.
    case noData
    /// The name is in the zone and does not exist.
    case noSuchName
    /// Not in any zone of the cluster.
    case elsewhere
}

/// A table of names that changes while the simulation runs: Services, headless Services, pods.
public protocol ClusterNames: AnyObject {
    /// - Parameters:
    ///   - name: in lower case, without the final dot.
    ///   - type: A, AAAA, SRV, PTR, CNAME …
    func answer(name: String, type: DNSType) -> NameAnswer
    /// "cluster.local".
    var zone: String { get }
    /// The `ttl` of the kubernetes plug-in, in seconds: 5 by itself, 30 in kubeadm's Corefile.
    var timeToLive: UInt32 { get }
    /// Seconds since 1970 of the last change.
    var serial: UInt32 { get }
    /// The `loadbalance` plug-in is there.
    var isShuffled: Bool { get }
    /// What an upstream server answers for a name outside the cluster, in lower case; nil for a name that does not exist.
    func outsideAddress(of name: String) -> IPv4Address?
    /// Servers that are asked for names outside the cluster, with packets; without any, `outsideAddress` is asked.
    var upstreamServers: [IPv4Address] { get }
}

extension ClusterNames {
    public var upstreamServers: [IPv4Address] { [] }
    public var timeToLive: UInt32 { 30 }
    public var serial: UInt32 { UInt32(truncatingIfNeeded: CivilTime.epoch) }
    public var isShuffled: Bool { true }
    public func outsideAddress(of name: String) -> IPv4Address? { nil }
}

/// CoreDNS with kubeadm's plug-ins: kubernetes, authoritative for the cluster's zone and with `fallthrough in-addr.arpa`; forward and cache, where there
/// are upstream servers; loadbalance.
public final class CoreDNSNames: DNSBehaviour {
    private let names: (any ClusterNames)?

    public init(_ names: (any ClusterNames)?) { self.names = names }

    public var compressesNames: Bool { false }

    private var timeToLive: UInt32 { names?.timeToLive ?? 30 }
    private var zone: String { names?.zone ?? "cluster.local" }
    /// CNAMEs in a row at most (plugin/backend_lookup.go).
    private static let longestChain = 8

    public var upstreamServers: [IPv4Address] { names?.upstreamServers ?? [] }

    public func begin(_ query: DNSMessage, _ system: any SystemCalls) -> DNSStep {
        guard !upstreamServers.isEmpty, let question = query.questions.first, query.opcode == 0, query.ednsExtension?.version ?? 0 == 0 else {
            return .answer(answer(query, system))
        }
        let key = question.name.key
        var reply = answer(query, system)
        switch names?.answer(name: key, type: question.type) ?? .elsewhere {
        case .elsewhere:
            return .upstream(query) { [self] found in
                reply.flags.remove(.recursionAvailable)
                reply.responseCode = found?.responseCode ?? .serverFailure
                (reply.answers, reply.authorities, reply.additionals) = (found?.answers ?? [], found?.authorities ?? [], found?.additionals ?? [])
                if found?.flags.contains(.recursionAvailable) ?? false { reply.flags.insert(.recursionAvailable) }
                if names?.isShuffled ?? false { shuffle(&reply.answers, system) }
                return reply
            }
        case .records:
            // An alias that leads out of the zone: what upstream says of its target stands behind it.
            guard let last = reply.answers.last(where: { $0.type == .cname }), case .name(let target) = last.data, question.type != .cname,
                case .elsewhere = names?.answer(name: target.key, type: question.type) ?? .elsewhere
            else { return .answer(reply) }
            var next = query
            next.questions = [DNSQuestion(name: target, type: question.type)]
            return .upstream(next) { found in
                reply.answers.removeAll { $0.type != .cname }
                reply.answers += found?.answers ?? []
                return reply
            }
        default: return .answer(reply)
        }
    }

    public func answer(_ query: DNSMessage, _ system: any SystemCalls) -> DNSMessage {
        var reply = DNSMessage(identifier: query.identifier, flags: .response)
        reply.flags.formUnion(query.flags.intersection([.recursionDesired, .checkingDisabled]))
        reply.opcode = query.opcode
        reply.questions = query.questions
        reply.ednsExtension = query.ednsExtension.map(CoreDNSNames.echo)
        guard let question = query.questions.first, query.opcode == 0 else {
            reply.responseCode = query.opcode == 0 ? .formatError : .notImplemented
            return reply
        }
        if let version = query.ednsExtension?.version, version != 0 {
            reply.ednsExtension?.extendedCode = 1  // BADVERS, RFC 6891 §6.1.3
            return reply
        }
        let key = question.name.key
        switch names?.answer(name: key, type: question.type) ?? .elsewhere {
        case .records(let records, let additional):
            reply.flags.insert(.authoritative)
            reply.answers = followed(records, of: question, depth: 0)
            reply.additionals = additional
            if reply.answers.isEmpty { reply.authorities = [startOfAuthority(question.name)] }
        case .noData:
            reply.flags.insert(.authoritative)
            reply.authorities = [startOfAuthority(question.name)]
        case .noSuchName:
            reply.flags.insert(.authoritative)
            reply.responseCode = .nameError
            reply.authorities = [startOfAuthority(question.name)]
        case .elsewhere:
            reply.flags.insert(.recursionAvailable)
            if names?.outsideAddress(of: key) != nil {
                reply.answers = outside(question.name, question.type)
            } else {
                reply.responseCode = .nameError
                reply.authorities = [CoreDNSNames.rootAuthority(timeToLive: timeToLive)]
            }
        }
        if names?.isShuffled ?? false {
            shuffle(&reply.answers, system)
            shuffle(&reply.additionals, system)
        }
        return reply
    }

    /// The OPT record of an answer is the one of the question: its buffer size, DO, and those options that CoreDNS knows
    /// (`Request.SizeAndDo`: NSID, EXPIRE, COOKIE, keepalive, padding).
    private static func echo(_ query: DNSExtension) -> DNSExtension {
        var reply = DNSExtension(payloadSize: query.payloadSize, options: query.options.filter { [3, 9, 10, 11, 12].contains($0.code) })
        reply.wantsSignatures = query.wantsSignatures
        return reply
    }

    /// Records as they stand, under the name as it was asked; behind a CNAME what its target has, from the zone or from upstream.
    private func followed(_ records: [DNSRecord], of question: DNSQuestion, depth: Int) -> [DNSRecord] {
        var result = records
        for index in result.indices { result[index].name = question.name }
        guard question.type != .cname, result.count == 1, result[0].type == .cname, case .name(let target) = result[0].data else { return result }
        let key = target.key
        if depth >= CoreDNSNames.longestChain || target == question.name { return [] }
        let next = DNSQuestion(name: target, type: question.type)
        switch names?.answer(name: key, type: question.type) ?? .elsewhere {
        case .elsewhere: return result + outside(target, question.type)
        case .records(let more, _):
            let rest = followed(more, of: next, depth: depth + 1)
            // An alias that leads nowhere within the zone is not told.
            return rest.isEmpty ? [] : result + rest
        case .noData, .noSuchName: return []
        }
    }

    private func outside(_ name: DNSName, _ type: DNSType) -> [DNSRecord] {
        guard type == .a || type == .any, let address = names?.outsideAddress(of: name.key) else { return [] }
        return [DNSRecord(name: name, type: .a, timeToLive: timeToLive, data: .a(address))]
    }

    /// Addresses change places at random; everything else keeps its own, aliases first (plugin/loadbalance).
    private func shuffle(_ records: inout [DNSRecord], _ system: any SystemCalls) {
        var addresses = records.filter { $0.type == .a || $0.type == .aaaa }
        guard addresses.count > 1 else { return }
        if addresses.count == 2 {
            if system.random() & 1 == 0 { addresses.swapAt(0, 1) }
        } else {
            for place in addresses.indices {
                let other = place + Int(system.random() >> 16) % (addresses.count - place)
                if other != place { addresses.swapAt(place, other) }
            }
        }
        let others = records.filter { $0.type != .a && $0.type != .aaaa }
        records = others + addresses
    }

    /// The zone's SOA record, its name spelled as the question had it.
    private func startOfAuthority(_ asked: DNSName) -> DNSRecord {
        var name = DNSName(zone) ?? .root
        let tail = DNSName(labels: Array(asked.labels.suffix(name.labels.count)))
        if tail == name { name = tail }
        return CoreDNSNames.startOfAuthority(name, serial: names?.serial ?? UInt32(truncatingIfNeeded: CivilTime.epoch), timeToLive: timeToLive)
    }

    /// What the root says of names that do not exist.
    static func rootAuthority(timeToLive: UInt32) -> DNSRecord {
        let data = DNSData.soa(
            primary: DNSName("a.root-servers.net") ?? .root, mailbox: DNSName("nstld.verisign-grs.com") ?? .root, serial: 2_024_010_100, refresh: 1800, retry: 900,
            expire: 604_800, minimum: 86400)
        return DNSRecord(name: .root, type: .soa, timeToLive: timeToLive, data: data)
    }

    public static func startOfAuthority(_ zone: DNSName, serial: UInt32, timeToLive: UInt32) -> DNSRecord {
        let data = DNSData.soa(
            primary: (DNSName("ns.dns") ?? .root) + zone, mailbox: (DNSName("hostmaster") ?? .root) + zone, serial: serial, refresh: 7200, retry: 1800, expire: 86400,
            minimum: timeToLive)
        return DNSRecord(name: zone, type: .soa, timeToLive: min(timeToLive, 300), data: data)
    }
}
