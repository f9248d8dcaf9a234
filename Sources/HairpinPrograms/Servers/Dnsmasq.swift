import HairpinWire

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
