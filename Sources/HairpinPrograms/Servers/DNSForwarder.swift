import HairpinEngine
import HairpinTransport
import HairpinWire

/// CoreDNS's plugins `forward` and `cache`: questions for names outside the cluster go to upstream servers, over UDP; answers are kept for a while.
///
/// What is waited for is in `waits`; `resume` hands over what has been answered, by the number that `ask` was given.
final class DNSForwarder {
    typealias Number = Int

    private let servers: [IPv4Address]
    private var asked: [Question] = []
    /// Sockets that nobody uses, the one used last at the end, each with its server (plugin/pkg/proxy, persistent.go).
    private var idle: [(socket: SocketID, server: IPv4Address, since: Instant)] = []
    private var checks: [IPv4Address: HealthCheck] = [:]
    private var cache: [Key: Entry] = [:]

    /// A question is given up after so long (plugin/forward), one attempt after the second time; a socket is used again for the third.
    private static let patience = Duration.seconds(5), attempt = Duration.seconds(2), reuse = Duration.seconds(10)
    /// From a refusal to the next attempt. CoreDNS makes it at once, some thousand times, until its health check has failed twice.
    private static let pause = Duration.milliseconds(100)
    /// `cache 30`: the longest time; the shortest; the one for server failures. And `cache`'s capacity.
    private static let longest: UInt32 = 30, shortest: UInt32 = 5, failure: UInt32 = 5
    private static let capacity = 9984

    private struct Question {
        var number: Number
        var message: DNSMessage
        /// Places in `servers`, in the order in which they are asked.
        var order: [Int]
        var next = 0
        var givenUpAt: Instant
        var socket: SocketID?
        var server = IPv4Address.any
        var identifier: UInt16 = 0
        /// The end of an attempt, or of the pause after one.
        var deadline: Instant
    }
    /// `HealthCheck` of plugin/pkg/proxy: `. NS` each half second until the server says something.
    private struct HealthCheck {
        var socket: SocketID?
        var due: Instant
        var identifier: UInt16 = 0
    }
    private struct Key: Hashable {
        var name: String
        var type: DNSType
        var wantsSignatures: Bool
        var checksNothing: Bool
        init(_ message: DNSMessage) {
            name = message.questions.first?.name.key ?? ""
            type = message.questions.first?.type ?? .a
            wantsSignatures = message.ednsExtension?.wantsSignatures ?? false
            checksNothing = message.flags.contains(.checkingDisabled)
        }
    }
    private struct Entry {
        var answer: DNSMessage
        var storedAt: Instant
        var seconds: UInt32
    }

    init(_ servers: [IPv4Address]) { self.servers = servers }

    /// The answer that is known still, or nil, and then `resume` will have it.
    func ask(_ message: DNSMessage, _ number: Number, _ system: any SystemCalls) -> DNSMessage? {
        let key = Key(message)
        if let entry = cache[key] {
            let age = UInt32((system.now - entry.storedAt).nanoseconds / 1_000_000_000)
            if age < entry.seconds { return DNSForwarder.limited(entry.answer, to: entry.seconds - age) }
            cache[key] = nil
        }
        // Policy `random`.
        var order = Array(servers.indices)
        for place in order.indices.dropLast() { order.swapAt(place, place + Int(system.random() >> 8) % (order.count - place)) }
        var question = Question(number: number, message: message, order: order, givenUpAt: system.now + DNSForwarder.patience, deadline: system.now)
        send(&question, system)
        asked.append(question)
        return nil
    }

    /// What has been answered or given up since; nil is a failure.
    func resume(_ system: any SystemCalls) -> [(number: Number, answer: DNSMessage?)] {
        var results: [(number: Number, answer: DNSMessage?)] = []
        for index in asked.indices {
            if let answer = receive(&asked[index], system) {
                results.append((asked[index].number, keep(answer, of: asked[index], system)))
            } else if asked[index].socket == nil || system.now >= asked[index].deadline {
                if asked[index].socket != nil { fail(&asked[index], system) }
                if system.now >= asked[index].givenUpAt {
                    results.append((asked[index].number, nil))
                    keepFailure(of: asked[index], system)
                } else if system.now >= asked[index].deadline {
                    send(&asked[index], system)
                }
            }
        }
        let done = Set(results.map(\.number))
        asked.removeAll { done.contains($0.number) }
        check(system)
        return results
    }

    var waits: WaitSet {
        var result = WaitSet()
        func until(_ time: Instant) { result.deadline = min(result.deadline ?? time, time) }
        for question in asked {
            if let socket = question.socket { result.sockets.append((socket, .readable)) }
            until(question.deadline)
        }
        for (_, check) in checks {
            if let socket = check.socket { result.sockets.append((socket, .readable)) }
            until(check.due)
        }
        return result
    }

    // MARK: One attempt

    /// Under a number of its own, whatever the client's was; the rest is the client's question.
    private func send(_ question: inout Question, _ system: any SystemCalls) {
        question.server = servers[question.order[question.next % question.order.count]]
        question.next += 1
        question.identifier = UInt16(truncatingIfNeeded: system.random() >> 16)
        question.message.identifier = question.identifier
        question.deadline = system.now + DNSForwarder.attempt
        do throws(Errno) {
            let socket = try socket(to: question.server, system)
            question.socket = socket
            _ = try system.send(socket, question.message.encoded(compresses: false)[...])
        } catch { refused(&question, system) }
    }

    private func socket(to server: IPv4Address, _ system: any SystemCalls) throws(Errno) -> SocketID {
        for old in idle where system.now - old.since >= DNSForwarder.reuse { system.close(old.socket) }
        idle.removeAll { system.now - $0.since >= DNSForwarder.reuse }
        if let place = idle.lastIndex(where: { $0.server == server }) { return idle.remove(at: place).socket }
        return try DNSForwarder.connected(to: server, system)
    }

    private static func connected(to server: IPv4Address, _ system: any SystemCalls) throws(Errno) -> SocketID {
        let socket = try system.socket(.datagram)
        do throws(Errno) { try system.connect(socket, SocketAddress(server, 53)) } catch {
            system.close(socket)
            throw error
        }
        return socket
    }

    private func receive(_ question: inout Question, _ system: any SystemCalls) -> DNSMessage? {
        guard let socket = question.socket else { return nil }
        while true {
            do throws(Errno) {
                let bytes = try system.receive(socket, 65535)
                // What answers an earlier question that was given up is passed over.
                guard let answer = DNSMessage(parsing: bytes), answer.flags.contains(.response), answer.identifier == question.identifier else { continue }
                question.socket = nil
                idle.append((socket, question.server, system.now))
                return answer
            } catch {
                if error != .tryAgain { refused(&question, system) }
                return nil
            }
        }
    }

    private func refused(_ question: inout Question, _ system: any SystemCalls) {
        fail(&question, system)
        question.deadline = min(system.now + DNSForwarder.pause, question.givenUpAt)
    }

    private func fail(_ question: inout Question, _ system: any SystemCalls) {
        if let socket = question.socket { system.close(socket) }
        question.socket = nil
        if checks[question.server] == nil { checks[question.server] = HealthCheck(due: system.now) }
    }

    // MARK: Health

    private func check(_ system: any SystemCalls) {
        for server in servers {
            guard var check = checks[server] else { continue }
            var isWell = false
            if let socket = check.socket {
                do throws(Errno) {
                    while true {
                        guard let answer = DNSMessage(parsing: try system.receive(socket, 65535)), answer.identifier == check.identifier else { continue }
                        isWell = true
                        break
                    }
                } catch { if error != .tryAgain { check.due = system.now } }
                if isWell || system.now >= check.due {
                    system.close(socket)
                    check.socket = nil
                    check.due = system.now + .milliseconds(500)
                }
            } else if system.now >= check.due {
                check.identifier = UInt16(truncatingIfNeeded: system.random() >> 16)
                check.due = system.now + .seconds(1)
                var message = DNSMessage(identifier: check.identifier, flags: .recursionDesired)
                message.questions = [DNSQuestion(name: .root, type: .ns)]
                check.socket = try? DNSForwarder.connected(to: server, system)
                if let socket = check.socket { _ = try? system.send(socket, message.encoded(compresses: false)[...]) }
            }
            checks[server] = isWell ? nil : check
        }
    }

    // MARK: Cache

    /// Keeps an answer for the shortest time of its records, within limits, and gives it with that time.
    private func keep(_ answer: DNSMessage, of question: Question, _ system: any SystemCalls) -> DNSMessage {
        let records = answer.answers + answer.authorities + answer.additionals
        let isKnown = answer.responseCode == .noError || answer.responseCode == .nameError
        let times = records.map(\.timeToLive).min()
        let seconds = isKnown ? min(max(times ?? DNSForwarder.shortest, DNSForwarder.shortest), DNSForwarder.longest) : DNSForwarder.failure
        store(Entry(answer: answer, storedAt: system.now, seconds: seconds), Key(question.message))
        return DNSForwarder.limited(answer, to: seconds)
    }

    private func keepFailure(of question: Question, _ system: any SystemCalls) {
        var answer = DNSMessage(identifier: 0, flags: .response)
        answer.responseCode = .serverFailure
        store(Entry(answer: answer, storedAt: system.now, seconds: DNSForwarder.failure), Key(question.message))
    }

    private func store(_ entry: Entry, _ key: Key) {
        if entry.answer.flags.contains(.truncated) { return }
        if cache.count >= DNSForwarder.capacity { cache = cache.filter { entry.storedAt < $0.value.storedAt + .seconds(Int64($0.value.seconds)) } }
        if cache.count < DNSForwarder.capacity { cache[key] = entry }
    }

    private static func limited(_ answer: DNSMessage, to seconds: UInt32) -> DNSMessage {
        var result = answer
        for index in result.answers.indices { result.answers[index].timeToLive = seconds }
        for index in result.authorities.indices { result.authorities[index].timeToLive = seconds }
        for index in result.additionals.indices { result.additionals[index].timeToLive = seconds }
        return result
    }
}

/// A recursive server outside the cluster: it knows the names of the scenario's hosts, and that every other one does not exist.
public final class UpstreamNames: DNSBehaviour {
    private let names: any ClusterNames
    public init(_ names: any ClusterNames) { self.names = names }
    public var compressesNames: Bool { true }

    /// Of its records, in seconds.
    private static let timeToLive: UInt32 = 300

    public func answer(_ query: DNSMessage, _ system: any SystemCalls) -> DNSMessage {
        var reply = DNSMessage(identifier: query.identifier, flags: [.response, .recursionAvailable])
        reply.flags.formUnion(query.flags.intersection([.recursionDesired, .checkingDisabled]))
        reply.opcode = query.opcode
        reply.questions = query.questions
        if query.ednsExtension != nil { reply.ednsExtension = DNSExtension(payloadSize: 1232) }
        guard let question = query.questions.first, query.opcode == 0 else {
            reply.responseCode = query.opcode == 0 ? .formatError : .notImplemented
            return reply
        }
        if let address = names.outsideAddress(of: question.name.key) {
            if question.type == .a || question.type == .any {
                reply.answers = [DNSRecord(name: question.name, type: .a, timeToLive: UpstreamNames.timeToLive, data: .a(address))]
            }
        } else if question.name == .root {
            if question.type == .ns, let server = DNSName("a.root-servers.net") {
                reply.answers = [DNSRecord(name: .root, type: .ns, timeToLive: 518_400, data: .name(server))]
            }
        } else {
            reply.responseCode = .nameError
            reply.authorities = [CoreDNSNames.rootAuthority(timeToLive: 86400)]
        }
        return reply
    }
}
