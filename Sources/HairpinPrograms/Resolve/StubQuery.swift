import HairpinEngine
import HairpinTransport
import HairpinWire

/// The questions about one name, put to the servers of resolv.conf until they are answered.
protocol StubQuery: AnyObject {
    /// The answers in the order of the questions, nil where there is none; `.done(nil)` when nobody answered in time.
    func advance(_ system: any SystemCalls) -> StubProgress
    func cancel(_ system: any SystemCalls)
}

enum StubProgress {
    case wait(WaitSet)
    case done([DNSMessage?]?)
}

extension ResolverConfiguration {
    func ask(_ name: DNSName, _ types: [DNSType], offset: Int, _ system: any SystemCalls) -> any StubQuery {
        var used: Set<UInt16> = []
        let questions = types.map { type in
            var identifier = UInt16(truncatingIfNeeded: system.random())
            // Two questions from one socket are told apart by it.
            if !used.insert(identifier).inserted { identifier &+= 1 }
            var message = DNSMessage(identifier: identifier, flags: trustsAuthenticData ? [.recursionDesired, .authenticData] : .recursionDesired)
            message.questions = [DNSQuestion(name: name, type: type)]
            if usesEDNS { message.ednsExtension = DNSExtension(payloadSize: 1200) }
            return message
        }
        return library == .musl ? MuslQuery(questions, self) : GlibcQuery(questions, self, offset: offset)
    }
}

/// `__res_context_send` of glibc: both questions leave back to back from one connected socket, and both answers are awaited. Servers are tried one after
/// the other, the list `attempts` times over; a server keeps its socket for as long as it says nothing. Where only one answer came, the same server is
/// asked again, one question at a time, then with a socket for each.
final class GlibcQuery: StubQuery {
    private let questions: [DNSMessage]
    private let configuration: ResolverConfiguration
    private let offset: Int
    private var attempt = 0
    /// How far through the list, and the server that is asked.
    private var step = 0
    private var server: Int { (step + offset) % configuration.nameservers.count }
    private var sockets: [Int: SocketID] = [:]
    private var stream: DNSStream?
    private var overTCP: Bool
    private var answers: [DNSMessage?]
    /// Questions that need no further answer: answered, or refused by this server.
    private var settled: [Bool]
    /// How many of the questions are out.
    private var sent = 0
    private var deadline = Instant.zero
    private var isAsking = false
    private var isSingle: Bool
    private var reopens: Bool

    init(_ questions: [DNSMessage], _ configuration: ResolverConfiguration, offset: Int) {
        self.questions = questions
        self.configuration = configuration
        self.offset = offset
        answers = Array(repeating: nil, count: questions.count)
        settled = Array(repeating: false, count: questions.count)
        overTCP = configuration.usesTCP
        (isSingle, reopens) = (configuration.isSingleRequest, configuration.reopens)
    }

    func cancel(_ system: any SystemCalls) {
        stream?.cancel(system)
        stream = nil
        closeSockets(system)
    }

    private func closeSockets(_ system: any SystemCalls) {
        for index in configuration.nameservers.indices { if let socket = sockets.removeValue(forKey: index) { system.close(socket) } }
    }

    /// `(retrans << ns)`, shared between the servers from the second on.
    private var patience: Duration {
        let seconds = configuration.timeout.nanoseconds / 1_000_000_000 << Int64(server)
        return .seconds(max(1, server > 0 ? seconds / Int64(configuration.nameservers.count) : seconds))
    }

    func advance(_ system: any SystemCalls) -> StubProgress {
        while true {
            if overTCP {
                if let progress = advanceStream(system) { return progress }
                continue
            }
            guard attempt < configuration.attempts else {
                closeSockets(system)
                return .done(nil)
            }
            if !isAsking {
                do throws(Errno) { try ask(system) } catch {
                    next(system, closing: true)
                    continue
                }
            }
            guard let socket = sockets[server] else {
                next(system, closing: true)
                continue
            }
            do throws(Errno) {
                let received = try system.receiveMessage(socket)
                guard let answer = DNSMessage(parsing: received.bytes), answer.flags.contains(.response), let index = place(of: answer) else { continue }
                if answer.flags.contains(.truncated) {
                    // To get the rest, the same server over TCP.
                    closeSockets(system)
                    overTCP = true
                    continue
                }
                settled[index] = true
                // SERVFAIL, NOTIMP and REFUSED: another server may know more.
                if ![.serverFailure, .notImplemented, .refused].contains(answer.responseCode) { answers[index] = answer } else { failure = answer }
                if settled.allSatisfy({ $0 }) {
                    if answers.contains(where: { $0 != nil }) { return finish(system) }
                    next(system, closing: true)
                } else if isSingle {
                    do throws(Errno) { try sendNext(system) } catch { next(system, closing: true) }
                }
            } catch {
                if error != .tryAgain {
                    next(system, closing: true)  // ECONNREFUSED from ICMP
                } else if system.now < deadline {
                    return .wait(WaitSet(sockets: [(socket, [.readable, .error])], deadline: deadline))
                } else {
                    timedOut(system)
                }
            }
        }
    }

    /// The last answer that was an error of the server.
    private(set) var failure: DNSMessage?

    private func place(of answer: DNSMessage) -> Int? {
        questions.indices.first { !settled[$0] && questions[$0].identifier == answer.identifier && questions[$0].questions.first == answer.questions.first }
    }

    private func finish(_ system: any SystemCalls) -> StubProgress {
        closeSockets(system)
        return .done(answers)
    }

    private func ask(_ system: any SystemCalls) throws(Errno) {
        isAsking = true
        for index in questions.indices { (answers[index], settled[index]) = (nil, false) }
        sent = 0
        if sockets[server] == nil { try open(system) }
        repeat { try sendNext(system) } while sent < questions.count && !isSingle
        deadline = system.now + patience
    }

    private func open(_ system: any SystemCalls) throws(Errno) {
        let new = try system.socket(.datagram)
        sockets[server] = new
        try system.connect(new, SocketAddress(configuration.nameservers[server], 53))
    }

    private func sendNext(_ system: any SystemCalls) throws(Errno) {
        guard sent < questions.count else { return }
        if sent > 0, reopens {
            if let old = sockets.removeValue(forKey: server) { system.close(old) }
            try open(system)
        }
        guard let socket = sockets[server] else { throw .badFileDescriptor }
        _ = try system.send(socket, questions[sent].encoded()[...])
        sent += 1
        if isSingle { deadline = system.now + patience }
    }

    private func timedOut(_ system: any SystemCalls) {
        isAsking = false
        let isHalf = settled.contains(true)
        if isHalf, !isSingle {
            isSingle = true
        } else if isHalf, !reopens {
            reopens = true
            if let old = sockets.removeValue(forKey: server) { system.close(old) }
        } else {
            next(system, closing: false)
        }
    }

    private func next(_ system: any SystemCalls, closing: Bool) {
        isAsking = false
        if closing { closeSockets(system) }
        step += 1
        if step >= configuration.nameservers.count {
            step = 0
            attempt += 1
        }
    }

    /// Nil to go on. Both questions in one write (`send_vc`); a server that cannot be reached makes room for the next one, once through the list.
    private func advanceStream(_ system: any SystemCalls) -> StubProgress? {
        guard let stream else {
            stream = DNSStream(questions, server: SocketAddress(configuration.nameservers[server], 53), timeout: nil)
            return nil
        }
        switch stream.advance(system) {
        case .wait(let set): return .wait(set)
        case .done(let received):
            self.stream = nil
            return .done(questions.map { question in received.first { $0.message.identifier == question.identifier }?.message })
        case .failed, .timedOut:
            self.stream = nil
            step += 1
            return step < configuration.nameservers.count ? nil : .done(nil)
        }
    }
}

/// `__res_msend` of musl: every question to every server at once from one unconnected socket, again after each `timeout / attempts`; for each question the
/// first answer counts.
final class MuslQuery: StubQuery {
    private let questions: [DNSMessage]
    private let configuration: ResolverConfiguration
    private var socket: SocketID?
    private var answers: [DNSMessage?]
    private var began = Instant.zero
    private var lastSent = Instant.zero
    private var failuresLeft = 0
    private var streams: [Int: DNSStream] = [:]

    init(_ questions: [DNSMessage], _ configuration: ResolverConfiguration) {
        self.questions = questions
        self.configuration = configuration
        answers = Array(repeating: nil, count: questions.count)
    }

    func cancel(_ system: any SystemCalls) {
        if let socket { system.close(socket) }
        socket = nil
        for index in questions.indices { streams.removeValue(forKey: index)?.cancel(system) }
    }

    private var interval: Duration { .nanoseconds(configuration.timeout.nanoseconds / Int64(configuration.attempts)) }
    private var isComplete: Bool { answers.allSatisfy { $0 != nil } }

    func advance(_ system: any SystemCalls) -> StubProgress {
        if socket == nil {
            do throws(Errno) {
                let new = try system.socket(.datagram)
                socket = new
                try system.bind(new, SocketAddress(.any, 0))
            } catch {
                cancel(system)
                return .done(nil)
            }
            began = system.now
            sendAll(system)
        }
        guard let socket else { return .done(nil) }
        receive(socket, system)
        var waits = WaitSet(sockets: [(socket, [.readable, .error])])
        for index in questions.indices {
            guard let stream = streams[index] else { continue }
            switch stream.advance(system) {
            case .wait(let set): waits.sockets += set.sockets
            case .done(let received):
                answers[index] = received[0].message
                streams[index] = nil
            case .failed, .timedOut: streams[index] = nil
            }
        }
        let end = began + configuration.timeout
        if isComplete || system.now >= end {
            let isAnswered = isComplete
            cancel(system)
            return .done(isAnswered ? answers : nil)
        }
        if system.now - lastSent >= interval { sendAll(system) }
        waits.deadline = min(end, lastSent + interval)
        return .wait(waits)
    }

    private func sendAll(_ system: any SystemCalls) {
        lastSent = system.now
        failuresLeft = 2 * questions.count
        for index in questions.indices where answers[index] == nil { for server in configuration.nameservers { send(index, server, system) } }
    }

    private func send(_ index: Int, _ server: IPv4Address, _ system: any SystemCalls) {
        guard let socket else { return }
        try? system.send(socket, questions[index].encoded(), to: SocketAddress(server, 53))
    }

    private func receive(_ socket: SocketID, _ system: any SystemCalls) {
        while true {
            do throws(Errno) {
                let received = try system.receiveMessage(socket)
                guard let answer = DNSMessage(parsing: received.bytes), answer.flags.contains(.response), configuration.nameservers.contains(received.source.address),
                    let index = questions.indices.first(where: { answers[$0] == nil && questions[$0].identifier == answer.identifier })
                else { continue }
                switch answer.responseCode {
                case .noError, .nameError:
                    if answer.flags.contains(.truncated) {
                        if streams[index] == nil { streams[index] = DNSStream([questions[index]], server: SocketAddress(received.source.address, 53), timeout: nil) }
                    } else {
                        answers[index] = answer
                    }
                case .serverFailure where failuresLeft > 0:
                    failuresLeft -= 1
                    send(index, received.source.address, system)
                default: continue
                }
            } catch {
                // Refusals are not looked at: somebody else may answer.
                if error == .tryAgain { return }
            }
        }
    }
}
