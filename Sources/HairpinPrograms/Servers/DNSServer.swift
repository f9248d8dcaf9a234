import HairpinEngine
import HairpinTransport
import HairpinWire

/// What the cluster knows about a name. The caller keeps it up to date; servers ask at every question.
public enum NameAnswer: Sendable {
    /// Records in the order to be given.
    case records([DNSRecord])
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
}

/// How a DNS server answers a question.
public protocol DNSBehaviour: AnyObject {
    func answer(_ query: DNSMessage, _ system: any SystemCalls) -> DNSMessage
    var compressesNames: Bool { get }
}

/// A DNS server on UDP port 53 (and 53 over TCP is not modelled: answers fit a datagram).
public final class DNSServer: Program {
    private let behaviour: any DNSBehaviour
    private let port: UInt16
    private var socket: SocketID?

    public init(_ behaviour: any DNSBehaviour, port: UInt16 = 53) { (self.behaviour, self.port) = (behaviour, port) }

    public func resume(_ system: any SystemCalls) -> Suspension {
        if socket == nil {
            do throws(Errno) {
                let new = try system.socket(.datagram)
                socket = new
                try system.bind(new, SocketAddress(.any, port))
            } catch {
                system.writeError("listen udp :\(port): bind: \(error.description.lowercased())\n")
                return .exit(1)
            }
        }
        while true {
            do throws(Errno) {
                let message = try system.receiveMessage(socket!)
                guard let query = DNSMessage(parsing: message.bytes), !query.flags.contains(.response) else { continue }
                system.compute(ProcessorTime.nameLookup)
                var reply = behaviour.answer(query, system)
                var bytes = reply.encoded(compresses: behaviour.compressesNames)
                let limit = Int(max(512, query.ednsExtension?.payloadSize ?? 512))
                if bytes.count > limit { bytes = reply.encoded(compresses: true) }
                while bytes.count > limit, !(reply.answers.isEmpty && reply.additionals.isEmpty) {
                    reply.flags.insert(.truncated)
                    if reply.additionals.popLast() == nil { reply.answers.removeLast() }
                    bytes = reply.encoded(compresses: true)
                }
                try system.send(socket!, bytes, to: message.source)
            } catch {
                if error == .tryAgain { return .wait(WaitSet(sockets: [(socket!, .readable)])) }
                // An ICMP error about an earlier answer: the next call goes on.
            }
        }
    }
}

/// CoreDNS with the kubernetes plug-in: authoritative for the cluster's zone; other names are answered from a table of outside names.
public final class CoreDNSNames: DNSBehaviour {
    private let names: (any ClusterNames)?
    /// Names outside the cluster that resolve; everything else does not exist.
    public var outside: [String: IPv4Address]
    public let timeToLive: UInt32

    /// - Parameter timeToLive: the `ttl` of the plug-in: 5 by itself, 30 in kubeadm's Corefile.
    public init(_ names: (any ClusterNames)?, outside: [String: IPv4Address] = [:], timeToLive: UInt32 = 30) {
        (self.names, self.outside, self.timeToLive) = (names, outside, timeToLive)
    }

    public var compressesNames: Bool { false }

    public func answer(_ query: DNSMessage, _ system: any SystemCalls) -> DNSMessage {
        var reply = DNSMessage(identifier: query.identifier, flags: .response)
        reply.flags.formUnion(query.flags.intersection([.recursionDesired, .checkingDisabled]))
        reply.opcode = query.opcode
        reply.questions = query.questions
        if query.ednsExtension != nil { reply.ednsExtension = DNSExtension(payloadSize: 1232) }
        guard let question = query.questions.first, query.opcode == 0 else {
            reply.responseCode = query.opcode == 0 ? .formatError : .notImplemented
            return reply
        }
        let key = question.name.key
        let zone = names?.zone ?? "cluster.local"
        switch names?.answer(name: key, type: question.type) ?? .elsewhere {
        case .records(let records):
            reply.flags.insert(.authoritative)
            reply.answers = records
        case .noData:
            reply.flags.insert(.authoritative)
            reply.authorities = [startOfAuthority(zone)]
        case .noSuchName:
            reply.flags.insert(.authoritative)
            reply.responseCode = .nameError
            reply.authorities = [startOfAuthority(zone)]
        case .elsewhere:
            reply.flags.insert(.recursionAvailable)
            if let address = outside[key] {
                if question.type == .a { reply.answers = [DNSRecord(name: question.name, type: .a, timeToLive: timeToLive, data: .a(address))] }
            } else {
                reply.responseCode = .nameError
                let root = DNSData.soa(
                    primary: DNSName("a.root-servers.net")!, mailbox: DNSName("nstld.verisign-grs.com")!, serial: 2_024_010_100, refresh: 1800, retry: 900,
                    expire: 604_800, minimum: 86400)
                reply.authorities = [DNSRecord(name: .root, type: .soa, timeToLive: timeToLive, data: root)]
            }
        }
        return reply
    }

    private func startOfAuthority(_ zone: String) -> DNSRecord {
        let name = DNSName(zone) ?? .root
        let data = DNSData.soa(
            primary: (DNSName("ns.dns") ?? .root) + name, mailbox: (DNSName("hostmaster") ?? .root) + name, serial: UInt32(truncatingIfNeeded: CivilTime.epoch),
            refresh: 7200, retry: 1800,
            expire: 86400, minimum: timeToLive)
        return DNSRecord(name: name, type: .soa, timeToLive: timeToLive, data: data)
    }
}

/// dnsmasq with `--host-record`s and no upstream: its own names with TTL 0, everything else refused.
public final class Dnsmasq: DNSBehaviour {
    private let records: [String: IPv4Address]

    public init(records: [String: IPv4Address]) {
        var table: [String: IPv4Address] = [:]
        for (name, address) in records { table[name.lowercased()] = address }  // fills a table: order does not matter
        self.records = table
    }

    public var compressesNames: Bool { true }

    public func answer(_ query: DNSMessage, _ system: any SystemCalls) -> DNSMessage {
        var reply = DNSMessage(identifier: query.identifier, flags: [.response, .recursionAvailable])
        reply.flags.formUnion(query.flags.intersection([.recursionDesired, .checkingDisabled]))
        reply.questions = query.questions
        if query.ednsExtension != nil { reply.ednsExtension = DNSExtension(payloadSize: 1232) }
        guard let question = query.questions.first else {
            reply.responseCode = .formatError
            return reply
        }
        if let address = records[question.name.key] {
            reply.flags.insert(.authoritative)
            if question.type == .a || question.type == .any { reply.answers = [DNSRecord(name: question.name, type: .a, timeToLive: 0, data: .a(address))] }
        } else if question.type == .ptr, let address = DNSReverse.address(of: question.name.key),
            let name = records.keys.sorted().first(where: { records[$0] == address }), let target = DNSName(name)
        {
            reply.flags.insert(.authoritative)
            reply.answers = [DNSRecord(name: question.name, type: .ptr, timeToLive: 0, data: .name(target))]
        } else {
            reply.responseCode = .refused
            // Extended DNS error 14, "not ready": there is no server to ask (RFC 8914).
            reply.ednsExtension?.options = [(15, [0, 14])]
        }
        return reply
    }
}
