import HairpinEngine
import HairpinTransport
import HairpinWire

/// nc(1) in OpenBSD's form, as Debian has it, with busybox's way of ending.
final class Netcat: Program {
    private let options: Options
    private var phase = Phase.start
    private enum Phase { case start, resolving, connecting, accepting, talking }
    private var resolver: Resolver?
    private var ports: [UInt16] = []
    private var host = ""
    private var address = IPv4Address.any
    private var socket: SocketID?, listener: SocketID?
    private var outgoing: [UInt8] = []
    private var inputEnded = false, hasShutDown = false
    private var peer: SocketAddress?
    private var deadline: Instant?, idleSince = Instant.zero, endAt: Instant?
    private var succeeded = false

    /// busybox sends FIN when its input ends; OpenBSD's nc only with -N.
    private let shutsDown: Bool

    init(_ arguments: [String], userland: Userland) {
        shutsDown = userland == .busybox || arguments.contains { $0.hasPrefix("-") && !$0.hasPrefix("--") && $0.contains("N") }
        options = Options(arguments, flags: "lzvukndNhC46t", values: "pwqsiIOPTXx")
    }

    private var isUDP: Bool { options.has("u") }
    private var idleLimit: Duration? { options["w"].flatMap(parseDuration) }
    private func talk(_ text: String, _ system: any SystemCalls) { if options.has("v") { system.writeError(text) } }

    func resume(_ system: any SystemCalls) -> Suspension {
        while true {
            switch phase {
            case .start:
                if let status = start(system) { return .exit(status) }
            case .resolving:
                switch resolver!.advance(system) {
                case .wait(let set): return .wait(set)
                case .failed(let failure):
                    system.writeError("nc: getaddrinfo for host \"\(host)\" port \(ports[0]): \(failure.message)\n")
                    return .exit(1)
                case .done(let addresses):
                    address = addresses[0]
                    phase = .connecting
                }
            case .connecting:
                if let suspension = connect(system) { return suspension }
            case .accepting:
                do throws(Errno) {
                    let (connection, from) = try system.accept(listener!)
                    talk("Connection received on \(from.address) \(from.port)\n", system)
                    socket = connection
                    peer = from
                    if !options.has("k") {
                        system.close(listener!)
                        listener = nil
                    }
                    begin(system)
                } catch { return .wait(WaitSet(sockets: [(listener!, .readable)])) }
            case .talking:
                if let suspension = converse(system) { return suspension }
            }
        }
    }

    private func start(_ system: any SystemCalls) -> Int32? {
        let operands = options.operands
        if let unknown = options.unknown {
            system.writeError("nc: invalid option -- '\(unknown.drop { $0 == "-" })'\nusage: nc [-46CDdFhklNnrStUuvZz] [-I length] [-i interval] [-M ttl]\n")
            return 1
        }
        if options.has("l") {
            let portText = options["p"] ?? operands.last
            guard let port = portText.flatMap({ UInt16($0) }) else {
                system.writeError("nc: \(portText.map { "port number invalid: \($0)" } ?? "missing port number")\n")
                return 1
            }
            return listen(port, system)
        }
        guard operands.count >= 2 else {
            system.writeError("nc: missing port number\n")
            return 1
        }
        host = operands[0]
        for text in operands.dropFirst() {
            let bounds = text.split(separator: "-").map { UInt16($0) ?? NetcatPorts.number($0) }
            guard let first = bounds.first ?? nil, let last = bounds.last ?? nil, first <= last else {
                system.writeError("nc: port number invalid: \(text)\n")
                return 1
            }
            ports += Array(first...last)
        }
        resolver = Resolver(host)
        phase = .resolving
        return nil
    }

    private func listen(_ port: UInt16, _ system: any SystemCalls) -> Int32? {
        do throws(Errno) {
            let socket = try system.socket(isUDP ? .datagram : .stream)
            try system.setOption(socket, .reuseAddress(true))
            try system.bind(socket, SocketAddress(.any, port))
            talk(isUDP ? "Bound on 0.0.0.0 \(port)\n" : "Listening on 0.0.0.0 \(port)\n", system)
            if isUDP {
                self.socket = socket
                begin(system)
            } else {
                try system.listen(socket, backlog: 1)
                listener = socket
                phase = .accepting
            }
            return nil
        } catch {
            system.writeError("nc: \(error)\n")
            return 1
        }
    }

    private func connect(_ system: any SystemCalls) -> Suspension? {
        guard let port = ports.first else { return .exit(succeeded ? 0 : 1) }
        var failure: Errno?
        if let socket {
            if let error = system.takeError(socket) {
                failure = error
            } else if !system.readiness(socket).contains(.writable) {
                if let deadline, system.now >= deadline {
                    failure = .timedOut
                } else {
                    return .wait(WaitSet(sockets: [(socket, [.writable, .error])], deadline: deadline))
                }
            }
        } else {
            do throws(Errno) {
                let new = try system.socket(isUDP ? .datagram : .stream)
                socket = new
                if let source = options["p"].flatMap({ UInt16($0) }) { try system.bind(new, SocketAddress(.any, source)) }
                deadline = idleLimit.map { system.now + $0 }
                try system.connect(new, SocketAddress(address, port))
            } catch {
                if error == .inProgress || error == .tryAgain { return .wait(WaitSet(sockets: [(socket!, [.writable, .error])], deadline: deadline)) }
                failure = error
            }
        }
        if let failure {
            if options.has("v") || !options.has("z") && failure == .timedOut {
                system.writeError(
                    "nc: connect to \(host) (\(address)) port \(port) (\(isUDP ? "udp" : "tcp")) failed: \(failure == .timedOut ? "Operation timed out" : failure.description)\n"
                )
            }
            if let socket { system.close(socket) }
            socket = nil
            ports.removeFirst()
            return nil
        }
        succeeded = true
        let label = IPv4Address(host) == nil ? "\(host) (\(address))" : host
        talk("Connection to \(label) \(port) port [\(isUDP ? "udp" : "tcp")/\(NetcatPorts.name(port))] succeeded!\n", system)
        if options.has("z") {
            system.close(socket!)
            socket = nil
            ports.removeFirst()
            return nil
        }
        peer = SocketAddress(address, port)
        begin(system)
        return nil
    }

    private func begin(_ system: any SystemCalls) {
        phase = .talking
        idleSince = system.now
        inputEnded = options.has("d")
        hasShutDown = false
        outgoing = []
        endAt = nil
    }

    private func converse(_ system: any SystemCalls) -> Suspension? {
        let socket = socket!
        var set = WaitSet()
        // What arrives.
        while true {
            do throws(Errno) {
                let bytes: [UInt8]
                if isUDP {
                    let message = try system.receiveMessage(socket)
                    if peer == nil {
                        peer = message.source
                        talk("Connection received on \(message.source.address) \(message.source.port)\n", system)
                    }
                    bytes = message.bytes
                } else {
                    bytes = try system.receive(socket, 16384)
                    if bytes.isEmpty { return ended(system) }
                }
                idleSince = system.now
                system.writeOutput(text(bytes))
            } catch {
                if error == .tryAgain { break }
                if isUDP, options.has("l") { break }
                return .exit(1)
            }
        }
        // What is to be sent.
        while !inputEnded {
            guard let bytes = system.readInput(16384) else {
                let input = inputWait(system)
                (set.pipes, set.files) = (input.pipes, input.files)
                break
            }
            if bytes.isEmpty { inputEnded = true } else { outgoing += bytes }
        }
        while !outgoing.isEmpty {
            do throws(Errno) {
                if isUDP {
                    guard let peer else { break }
                    let part = Array(outgoing.prefix(16384))
                    if options.has("l") { try system.send(socket, part, to: peer) } else { _ = try system.send(socket, part[...]) }
                    outgoing.removeFirst(part.count)
                } else {
                    outgoing.removeFirst(try system.send(socket, outgoing[...]))
                }
                idleSince = system.now
            } catch {
                if error == .tryAgain { break }
                return .exit(1)
            }
        }
        if inputEnded, outgoing.isEmpty, !options.has("d") {
            if shutsDown, !hasShutDown, !isUDP {
                hasShutDown = true
                try? system.shutdown(socket, read: false, write: true)
            }
            if endAt == nil, let grace = options["q"].flatMap(parseDuration), !options["q"]!.hasPrefix("-") { endAt = system.now + grace }
        }
        if let endAt, system.now >= endAt { return ended(system) }
        if let limit = idleLimit, system.now >= idleSince + limit { return ended(system) }
        var interest: Readiness = [.readable, .error]
        if !outgoing.isEmpty, !isUDP { interest.insert(.writable) }
        set.sockets = [(socket, interest)]
        set.deadline = [endAt, idleLimit.map { idleSince + $0 }].compactMap { $0 }.min()
        return .wait(set)
    }

    private func ended(_ system: any SystemCalls) -> Suspension? {
        if let socket { system.close(socket) }
        socket = nil
        if listener != nil {
            phase = .accepting
            return nil
        }
        return .exit(0)
    }
}

/// A few names of /etc/services.
enum NetcatPorts {
    private static let names: [(UInt16, String)] = [
        (7, "echo"), (21, "ftp"), (22, "ssh"), (23, "telnet"), (25, "smtp"), (53, "domain"), (80, "http"), (110, "pop3"), (123, "ntp"), (143, "imap2"), (443, "https"),
        (3306, "mysql"), (5432, "postgresql"), (6379, "redis"), (8080, "http-alt"),
    ]
    static func name(_ port: UInt16) -> String { names.first { $0.0 == port }?.1 ?? "*" }
    static func number(_ name: some StringProtocol) -> UInt16? { names.first { $0.1 == name }?.0 }
}
