import HairpinEngine
import HairpinTransport
import HairpinWire

/// One DNS question to one server over UDP, with tries: what dig, nslookup and host share.
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

    private let bytes: [UInt8]
    private let identifier: UInt16
    private let server: SocketAddress
    private let timeout: Duration
    private var triesLeft: Int
    private let omitsPathMTU: Bool
    private var socket: SocketID?
    private var sentAt = Instant.zero
    private(set) var timeouts = 0

    init(_ message: DNSMessage, server: SocketAddress, timeout: Duration, tries: Int, omitsPathMTU: Bool) {
        bytes = message.encoded()
        identifier = message.identifier
        (self.server, self.timeout, triesLeft, self.omitsPathMTU) = (server, timeout, tries, omitsPathMTU)
    }

    func advance(_ system: any SystemCalls) -> Progress {
        while true {
            guard let socket else {
                guard triesLeft > 0 else { return .done(.timedOut) }
                triesLeft -= 1
                do throws(Errno) {
                    let new = try system.socket(.datagram)
                    socket = new
                    if omitsPathMTU { try system.setOption(new, .pathMTUDiscovery(.omit)) }
                    try system.connect(new, server)
                    _ = try system.send(new, bytes[...])
                } catch {
                    close(system)
                    return .done(.refused(error))
                }
                sentAt = system.now
                continue
            }
            do throws(Errno) {
                let received = try system.receiveMessage(socket)
                guard let message = DNSMessage(parsing: received.bytes), message.identifier == identifier, message.flags.contains(.response) else { continue }
                close(system)
                return .done(.answer(message, size: received.bytes.count, elapsed: received.at - sentAt))
            } catch {
                if error != .tryAgain {
                    close(system)
                    return .done(.refused(error))
                }
                let deadline = sentAt + timeout
                if system.now < deadline { return .wait(WaitSet(sockets: [(socket, [.readable, .error])], deadline: deadline)) }
                timeouts += 1
                close(system)
            }
        }
    }

    private func close(_ system: any SystemCalls) {
        if let socket { system.close(socket) }
        socket = nil
    }
}
