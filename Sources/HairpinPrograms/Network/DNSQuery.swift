import HairpinEngine
import HairpinTransport
import HairpinWire

/// One DNS question to one server, with tries, over UDP and, where the answer was cut off, over TCP: what dig, nslookup and host share.
final class DNSQuery {
    enum Outcome {
        case answer(DNSMessage, size: Int, elapsed: Duration)
        case refused(Errno)
        case timedOut
    }
    enum Progress {
        case wait(WaitSet)
        case done(Outcome)
    }
    struct Options {
        var timeout = Duration.seconds(5)
        var tries = 3
        /// From the start over TCP.
        var usesTCP = false
        /// An answer with TC is taken as it is.
        var ignoresTruncation = false
    }

    private let message: DNSMessage
    private let server: SocketAddress
    private let options: Options
    private var triesLeft: Int
    private var socket: SocketID?
    private var stream: DNSStream?
    private var sentAt = Instant.zero
    private(set) var timeouts = 0
    /// The answer that counts came over TCP, because the one over UDP was truncated, or because it was asked for so.
    private(set) var wasTruncated = false
    private(set) var usedTCP = false

    init(_ message: DNSMessage, server: SocketAddress, options: Options) {
        self.message = message
        (self.server, self.options, triesLeft) = (server, options, options.tries)
        usedTCP = options.usesTCP
    }

    func advance(_ system: any SystemCalls) -> Progress {
        while true {
            if usedTCP {
                if let progress = advanceStream(system) { return progress }
                continue
            }
            guard let socket else {
                guard triesLeft > 0 else { return .done(.timedOut) }
                triesLeft -= 1
                do throws(Errno) {
                    let new = try system.socket(.datagram)
                    socket = new
                    try system.setOption(new, .pathMTUDiscovery(.omit))
                    try system.connect(new, server)
                    _ = try system.send(new, message.encoded()[...])
                } catch {
                    close(system)
                    return .done(.refused(error))
                }
                sentAt = system.now
                continue
            }
            do throws(Errno) {
                let received = try system.receiveMessage(socket)
                guard let answer = DNSMessage(parsing: received.bytes), answer.identifier == message.identifier, answer.flags.contains(.response) else { continue }
                close(system)
                if answer.flags.contains(.truncated), !options.ignoresTruncation {
                    (wasTruncated, usedTCP) = (true, true)
                    triesLeft = options.tries
                    continue
                }
                return .done(.answer(answer, size: received.bytes.count, elapsed: received.at - sentAt))
            } catch {
                if error != .tryAgain {
                    close(system)
                    return .done(.refused(error))
                }
                let deadline = sentAt + options.timeout
                if system.now < deadline { return .wait(WaitSet(sockets: [(socket, [.readable, .error])], deadline: deadline)) }
                timeouts += 1
                close(system)
            }
        }
    }

    /// Nil to go on.
    private func advanceStream(_ system: any SystemCalls) -> Progress? {
        guard let stream else {
            guard triesLeft > 0 else { return .done(.timedOut) }
            triesLeft -= 1
            sentAt = system.now
            stream = DNSStream([message], server: server, timeout: options.timeout)
            return nil
        }
        switch stream.advance(system) {
        case .wait(let set): return .wait(set)
        case .failed(let error): return .done(.refused(error))
        case .done(let answers):
            self.stream = nil
            return .done(.answer(answers[0].message, size: answers[0].size, elapsed: system.now - sentAt))
        case .timedOut:
            timeouts += 1
            self.stream = nil
            return nil
        }
    }

    private func close(_ system: any SystemCalls) {
        if let socket { system.close(socket) }
        socket = nil
    }
}
