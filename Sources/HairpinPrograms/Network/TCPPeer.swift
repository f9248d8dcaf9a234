import HairpinEngine
import HairpinTransport
import HairpinWire

/// `tcp_peer listen PORT STEP…` and `tcp_peer connect ADDRESS PORT STEP…`: a TCP client or server that follows a script.
///
/// Steps: `rcvbuf:N` and `sndbuf:N` (set before the connection opens), `nodelay`, `send:N`, `recv:N` (exactly N bytes), `recv-eof`,
/// `sleep:SECONDS`, `shutdown` (the sending half), `close`, `abort` (reset). A line is printed per step: when it ended and what came of it.
final class TCPPeer: Program {
    private let arguments: [String]
    private var steps: [String] = []
    private var next = 0
    private var socket: SocketID?, listener: SocketID?
    private var phase = Phase.start
    private enum Phase { case start, connecting, accepting, steps }
    private var startedAt = Instant.zero
    private var sent = 0, stepCount = 0, sleepUntil: Instant?

    /// Made with the first read, kept to the end: a peer reads millions of times.
    private var buffer: UnsafeMutableRawBufferPointer?

    init(_ arguments: [String]) { self.arguments = arguments }
    deinit { buffer?.deallocate() }

    private static let alphabet = 95, writeSize = 65536
    /// The printable characters over and over, enough for a write that starts anywhere in them.
    private static let pattern = (0..<writeSize + alphabet).map { UInt8(32 + $0 % alphabet) }

    func resume(_ system: any SystemCalls) -> Suspension {
        while true {
            switch phase {
            case .start: if let status = start(system) { return .exit(status) }
            case .connecting:
                if let error = system.takeError(socket!) {
                    system.writeOutput("connect \(elapsed(system)) \(error)\n")
                    return .exit(1)
                }
                if !system.readiness(socket!).contains(.writable) { return .wait(WaitSet(sockets: [(socket!, [.writable, .error])])) }
                phase = .steps
            case .accepting:
                do throws(Errno) {
                    socket = try system.accept(listener!).0
                    startedAt = system.now
                    phase = .steps
                } catch { return .wait(WaitSet(sockets: [(listener!, .readable)])) }
            case .steps:
                guard next < steps.count else {
                    // The end of the process closes what is open.
                    if let socket { system.close(socket) }
                    if let listener { system.close(listener) }
                    return .exit(0)
                }
                switch step(system) {
                case .wait(let set): return .wait(set)
                case .unknown(let name):
                    system.writeError("unknown step \(name)\n")
                    return .exit(1)
                case .done(let outcome):
                    system.writeOutput("\(steps[next]) \(elapsed(system)) \(outcome)\n")
                    next += 1
                    stepCount = 0
                    sleepUntil = nil
                }
            }
        }
    }

    private func elapsed(_ system: any SystemCalls) -> String { fixedPoint(UInt64((system.now - startedAt).nanoseconds + 5_000_000) / 10_000_000, 2) + "s" }

    private func start(_ system: any SystemCalls) -> Int32? {
        let usage = "usage: tcp_peer listen PORT STEP... | tcp_peer connect ADDRESS PORT STEP...\n"
        let isListening = arguments.first == "listen"
        let skip = isListening ? 2 : 3
        guard arguments.count >= skip, isListening || arguments.first == "connect", let port = UInt16(arguments[skip - 1]) else {
            system.writeError(usage)
            return 2
        }
        steps = Array(arguments.dropFirst(skip))
        startedAt = system.now
        do throws(Errno) {
            let socket = try system.socket(.stream)
            try system.setOption(socket, .reuseAddress(true))
            for step in steps {
                let parts = step.split(separator: ":")
                guard parts.count == 2, let value = Int(parts[1]) else { continue }
                if parts[0] == "rcvbuf" { try system.setOption(socket, .receiveBuffer(value)) }
                if parts[0] == "sndbuf" { try system.setOption(socket, .sendBuffer(value)) }
            }
            if isListening {
                try system.bind(socket, SocketAddress(.any, port))
                try system.listen(socket, backlog: 8)
                listener = socket
                phase = .accepting
            } else {
                guard let address = IPv4Address(arguments[1]) else {
                    system.writeError(usage)
                    return 2
                }
                self.socket = socket
                phase = .steps
                try system.connect(socket, SocketAddress(address, port))
            }
        } catch {
            if error == .inProgress || error == .tryAgain {
                phase = .connecting
            } else {
                system.writeOutput("connect \(elapsed(system)) \(error)\n")
                return 1
            }
        }
        return nil
    }

    private enum StepResult {
        case wait(WaitSet)
        case done(String)
        case unknown(String)
    }

    private func step(_ system: any SystemCalls) -> StepResult {
        let parts = steps[next].split(separator: ":", maxSplits: 1).map(String.init)
        let value = parts.count > 1 ? parts[1] : ""
        if parts[0] == "sleep" {
            let until = sleepUntil ?? system.now + (parseDuration(value) ?? .zero)
            sleepUntil = until
            return system.now < until ? .wait(WaitSet(deadline: until)) : .done("done")
        }
        guard let socket else { return parts[0] == "close" ? .done("done") : .done("Bad file descriptor") }
        do throws(Errno) {
            switch parts[0] {
            case "rcvbuf", "sndbuf": break
            case "nodelay": try system.setOption(socket, .noDelay(true))
            case "send":
                let count = Int(value) ?? 0
                while stepCount < count {
                    let start = (sent + stepCount) % TCPPeer.alphabet
                    stepCount += try system.send(socket, TCPPeer.pattern[start..<start + min(count - stepCount, TCPPeer.writeSize)])
                }
                sent += count
            case "recv", "recv-eof":
                let wanted = parts[0] == "recv" ? Int(value) ?? 0 : Int.max
                let buffer = self.buffer ?? .allocate(byteCount: TCPPeer.writeSize, alignment: 16)
                self.buffer = buffer
                while stepCount < wanted {
                    let count = try system.receive(socket, into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<min(buffer.count, wanted - stepCount)]))
                    if count == 0 { break }
                    stepCount += count
                }
                return .done("\(stepCount) bytes")
            case "shutdown": try system.shutdown(socket, read: false, write: true)
            case "close", "abort":
                if parts[0] == "abort" { try system.setOption(socket, .linger(seconds: 0)) }
                system.close(socket)
                self.socket = nil
            default: return .unknown(parts[0])
            }
            return .done("done")
        } catch {
            if error == .tryAgain { return .wait(WaitSet(sockets: [(socket, [parts[0] == "send" ? .writable : .readable, .error])])) }
            return .done(error.description)
        }
    }
}
