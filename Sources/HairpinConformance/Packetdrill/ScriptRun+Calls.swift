import HairpinEngine
import HairpinTransport
import HairpinWire

/// What a number of the script's programs names.
final class ScriptDescriptor {
    enum Kind {
        case socket(SocketID)
        case epoll(ScriptEpoll)
        case file
        case pipe(ScriptPipe, isWriter: Bool)
    }
    let kind: Kind
    var isNonblocking = false
    var closesOnExec = false
    init(_ kind: Kind) { self.kind = kind }
    var socket: SocketID? { if case .socket(let id) = kind { id } else { nil } }
}

/// Progress of a call that may have to wait.
struct ScriptCallState {
    var count = 0
    var isConnecting = false
    /// A socket whose close(2) waits for what is written to be acknowledged (SO_LINGER).
    var closing: SocketID?
    /// What it says when its time is over: EAGAIN, of connect(2) EINPROGRESS, or EALREADY where an earlier one began.
    var lateError = Errno.tryAgain
    /// The end of a timeout; nil waits for ever.
    var deadline: Instant?
}

enum CallOutcome {
    case value(Int64)
    case error(Int32)
    /// It waits.
    case blocked
}

/// System calls: issuing them, letting them wait, and comparing what they return.
extension ScriptRun {
    static let knownCalls: Set<String> = [
        "socket", "bind", "listen", "accept", "connect", "close", "shutdown", "read", "write", "send", "recv", "sendto", "recvfrom", "readv", "writev", "sendmsg",
        "recvmsg", "accept4", "epoll_create1", "fcntl", "ioctl", "setsockopt", "getsockopt", "poll", "epoll_create", "epoll_ctl", "epoll_wait",
        "open", "pipe", "pipe2", "splice", "sendfile", "cap_set", "getsockname", "getpeername", "usleep", "sleep", "nanosleep",
    ]

    /// A call that must return at once.
    func perform(_ call: ScriptCall) throws(ScriptStop) {
        var state = ScriptCallState()
        var outcome = try issue(call, &state, mayWait: false)
        if case .blocked = outcome, let deadline = state.deadline, state.closing != nil {
            // Nothing else of the script happens while close(2) lingers.
            while case .blocked = outcome {
                if !host.step(until: deadline) { host.moveClock(to: deadline) }
                outcome = try issue(call, &state, mayWait: false)
            }
            previous = max(previous, host.now)
        }
        if case .blocked = outcome {
            // A blocking call with a timeout is expected to use it up only with `...`.
            throw .failed(line: line, "\(call.name) waits", expected: "\(call.name) = \(describe(call.result, call.errno))", actual: "it does not return at once")
        }
        try check(call, outcome, line: line)
    }

    /// A call that may wait, and must return at `due`.
    func begin(_ call: ScriptCall, due: Instant) throws(ScriptStop) {
        let waiting = PendingCall(call: call, line: line, due: due, gap: (due - previous).nanoseconds, state: ScriptCallState())
        pending = waiting
        try checkPendingCall()
    }

    /// Tries the waiting call again.
    func checkPendingCall() throws(ScriptStop) {
        guard var waiting = pending else { return }
        let outcome = try issue(waiting.call, &waiting.state, mayWait: true)
        if case .blocked = outcome {
            pending = waiting
            return
        }
        pending = nil
        try check(waiting.call, outcome, line: waiting.line)
        let deviation = abs((host.now - waiting.due).nanoseconds)
        worstTiming = max(worstTiming, deviation)
        if deviation > tolerance(gap: waiting.gap) { ignoredTiming = true }
    }

    /// The next call, or the end of the script, waits for it.
    func finishPendingCall() throws(ScriptStop) {
        guard let waiting = pending else { return }
        let end = max(host.now, waiting.due) + .seconds(2)
        while pending != nil, let deadline = pending?.state.deadline ?? end as Instant? {
            let next = min(deadline, end)
            if host.step(until: next) {
                try checkPendingCall()
            } else {
                host.moveClock(to: next)
                try checkPendingCall()
                if host.now >= end { break }
            }
        }
        guard pending == nil else {
            throw .failed(
                line: waiting.line, "\(waiting.call.name) waits for ever", expected: "\(waiting.call.name) = \(describe(waiting.call.result, waiting.call.errno))",
                actual: "it has not returned 2 s after its time")
        }
        previous = max(previous, host.now)
    }

    private func check(_ call: ScriptCall, _ outcome: CallOutcome, line: Int) throws(ScriptStop) {
        let expected = "\(call.name) = \(describe(call.result, call.errno))"
        func fail(_ actual: String) -> ScriptStop { .failed(line: line, "another result of \(call.name)", expected: expected, actual: actual) }
        let returnsDescriptor = ["socket", "accept", "accept4", "epoll_create", "epoll_create1", "open"].contains(call.name)
        switch outcome {
        case .blocked: break
        case .error(let number):
            guard case .integer(-1) = call.result else { throw fail("\(call.name) = -1 \(ScriptSymbols.name(of: number))") }
            if let name = call.errno {
                guard let wanted = ScriptSymbols.errors[name] else { throw .unsupported(line, "the error name \(name)") }
                if wanted != number { throw fail("\(call.name) = -1 \(ScriptSymbols.name(of: number))") }
            }
        case .value(let value):
            if case .ellipsis = call.result { return }
            let wanted = try integer(call.result)
            if returnsDescriptor {
                guard wanted >= 0 else { throw fail("\(call.name) = a descriptor") }
                return
            }
            if wanted != value { throw fail("\(call.name) = \(value)") }
        }
    }

    private func describe(_ result: ScriptExpression, _ errno: String?) -> String {
        let text = if case .integer(let n) = result { String(n) } else { "…" }
        return errno.map { "\(text) \($0)" } ?? text
    }

    // MARK: arguments

    func integer(_ expression: ScriptExpression) throws(ScriptStop) -> Int64 {
        switch expression {
        case .integer(let n): return n
        case .word(let word):
            guard let value = ScriptSymbols.values[word] ?? ScriptSymbols.errors[word].map(Int64.init) else { throw .unsupported(line, "the constant \(word)") }
            return value
        case .mask(let items):
            var value: Int64 = 0
            for item in items { value |= try integer(item) }
            return value
        case .list(let items) where items.count == 1: return try integer(items[0])
        case .function("htons", let items), .function("htonl", let items):
            guard let first = items.first else { throw .unsupported(line, "htons without a number") }
            return try integer(first)
        case .function("inet_addr", let items):
            guard case .string(let text)? = items.first, let address = IPv4Address(text) else { throw .unsupported(line, "the address of inet_addr") }
            return Int64(address.rawValue)
        case .ellipsis: return 0
        case .list, .structure, .string, .function: throw .unsupported(line, "this kind of argument")
        }
    }

    func argument(_ call: ScriptCall, _ index: Int) throws(ScriptStop) -> ScriptExpression {
        guard index < call.arguments.count else { throw .failed(line: line, "\(call.name) needs at least \(index + 1) arguments") }
        return call.arguments[index]
    }

    func number(_ call: ScriptCall, _ index: Int) throws(ScriptStop) -> Int64 { try integer(try argument(call, index)) }

    func field(_ fields: [ScriptField], _ name: String) -> ScriptField? { fields.first { $0.name == name } }

    /// `{sa_family = AF_INET, sin_port = htons(8080), sin_addr = inet_addr("192.0.2.1")}`; nil for AF_UNSPEC.
    func address(_ expression: ScriptExpression, _ standard: SocketAddress) throws(ScriptStop) -> SocketAddress? {
        switch expression {
        case .ellipsis: return standard
        case .word("AF_UNSPEC"): return nil
        case .structure(let fields):
            if let family = field(fields, "sa_family"), try integer(family.value) == 0 { return nil }
            var result = standard
            if let port = field(fields, "sin_port") { result.port = UInt16(truncatingIfNeeded: try integer(port.value)) }
            if let address = field(fields, "sin_addr"), address.value != .ellipsis {
                result.address = IPv4Address(rawValue: UInt32(truncatingIfNeeded: try integer(address.value)))
            }
            return result
        default: throw .unsupported(line, "this kind of address")
        }
    }

    // MARK: issuing

    /// Runs `body`, turning its error into an outcome.
    func outcome(_ body: () throws(Errno) -> Int64) -> CallOutcome {
        do throws(Errno) { return .value(try body()) } catch { return .error(error.rawValue) }
    }

    func issue(_ call: ScriptCall, _ state: inout ScriptCallState, mayWait: Bool) throws(ScriptStop) -> CallOutcome {
        switch call.name {
        case "socket": return try makeSocket(call)
        case "epoll_create", "epoll_create1":
            let number = try integer(call.result)
            descriptors[number] = ScriptDescriptor(.epoll(ScriptEpoll()))
            return .value(number)
        case "epoll_ctl": return try controlEpoll(call)
        case "epoll_wait": return try waitForEpoll(call, &state)
        case "poll": return try poll(call, &state)
        case "open": return try openFile(call)
        case "pipe", "pipe2": return try openPipe(call)
        case "splice": return try splice(call, &state)
        // What the program may do changes nothing here.
        case "cap_set": return .value(0)
        case "sleep", "usleep": return try wait(for: .microseconds(try number(call, 0) * (call.name == "sleep" ? 1_000_000 : 1)), &state)
        case "nanosleep": return try wait(for: try duration(try argument(call, 0), fraction: "tv_nsec"), &state)
        case "sendfile": return try sendFile(call, &state)
        default: break
        }
        if let socket = state.closing {
            return host.stack.isClosing(socket) && host.now < (state.deadline ?? .distantFuture) ? .blocked : .value(0)
        }
        let name = try number(call, 0)
        guard let descriptor = descriptors[name] else { return .error(Errno.badFileDescriptor.rawValue) }
        if call.name == "close" { return close(name, descriptor, &state) }
        if call.name == "fcntl" { return try control(call, descriptor) }
        switch descriptor.kind {
        case .file, .pipe: return try transferLocally(call, descriptor)
        case .socket, .epoll: break
        }
        guard let socket = descriptor.socket else { return .error(Errno.invalid.rawValue) }
        let stack = host.stack!
        switch call.name {
        case "bind":
            let standard = SocketAddress(configuration.local, configuration.bindPort)
            guard let address = try address(try argument(call, 1), standard) else { return .error(97) }
            return outcome { () throws(Errno) in
                try stack.bind(socket, address)
                return 0
            }
        case "listen":
            let backlog = Int(clamping: try number(call, 1))
            let result = outcome { () throws(Errno) in
                try stack.listen(socket, backlog: backlog)
                return 0
            }
            if case .value = result {
                listening.append(socket)
                if fresh == socket { fresh = nil }
            }
            return result
        case "accept", "accept4": return bounded(try accept(call, descriptor, socket), socket, &state, writes: false)
        case "connect": return bounded(try connect(call, descriptor, socket, &state), socket, &state, writes: true)
        case "getsockname", "getpeername": return try socketName(call, socket)
        case "shutdown":
            let how = try number(call, 1)
            guard 0...2 ~= how else { return .error(Errno.invalid.rawValue) }
            return outcome { () throws(Errno) in
                try stack.shutdown(socket, read: how != 1, write: how != 0)
                return 0
            }
        case "read", "recv", "recvfrom", "readv", "recvmsg": return bounded(try receive(call, descriptor, socket, &state), socket, &state, writes: false)
        case "write", "send", "sendto", "writev", "sendmsg": return bounded(try send(call, descriptor, socket, &state), socket, &state, writes: true)
        case "ioctl": return try ioctl(call, socket)
        case "setsockopt": return try setOption(call, socket)
        case "getsockopt": return try getOption(call, socket)
        default: throw .unsupported(line, "the system call \(call.name)")
        }
    }

    private func makeSocket(_ call: ScriptCall) throws(ScriptStop) -> CallOutcome {
        let kind = try number(call, 1)
        guard 1...10 ~= kind & 0xf, kind & ~0x80_80f == 0 else { return .error(Errno.invalid.rawValue) }
        guard kind & 0xf == 1 else { throw .unsupported(line, "a socket that is no SOCK_STREAM") }
        let proto = try self.number(call, 2)
        guard proto == 0 || proto == 6 else { return .error(Errno.noProtocol.rawValue) }
        let number = try integer(call.result)
        do throws(Errno) {
            let id = try host.stack.socket(.stream)
            let descriptor = ScriptDescriptor(.socket(id))
            descriptor.isNonblocking = kind & 0x800 != 0
            descriptor.closesOnExec = kind & 0x80000 != 0
            descriptors[number] = descriptor
            current = nil
            fresh = id
            return .value(number)
        } catch {
            return .error(error.rawValue)
        }
    }

    private func close(_ name: Int64, _ descriptor: ScriptDescriptor, _ state: inout ScriptCallState) -> CallOutcome {
        descriptors[name] = nil
        closeLocally(descriptor)
        if let socket = descriptor.socket {
            // It waits whether or not the socket does otherwise (`inet_release`, `sk_stream_wait_close`).
            let lingers = host.stack.linger(socket) ?? 0
            host.stack.close(socket)
            if lingers > 0, host.stack.isClosing(socket) {
                state.closing = socket
                state.deadline = host.now + .seconds(Int64(lingers))
            }
            listening.removeAll { $0 == socket }
            for other in descriptors.values { if case .epoll(let epoll) = other.kind { epoll.forget(socket) } }
        }
        if state.closing != nil { return .blocked }
        return .value(0)
    }

    private func control(_ call: ScriptCall, _ descriptor: ScriptDescriptor) throws(ScriptStop) -> CallOutcome {
        switch try number(call, 1) {
        case 3: return .value(descriptor.isNonblocking ? 0x802 : 2)
        case 4:
            descriptor.isNonblocking = try number(call, 2) & 0x800 != 0
            return .value(0)
        case 1: return .value(descriptor.closesOnExec ? 1 : 0)
        case 2:
            descriptor.closesOnExec = try number(call, 2) & 1 != 0
            return .value(0)
        default: throw .unsupported(line, "this command of fcntl")
        }
    }

    private func accept(_ call: ScriptCall, _ descriptor: ScriptDescriptor, _ socket: SocketID) throws(ScriptStop) -> CallOutcome {
        let number = try integer(call.result)
        let flags = call.name == "accept4" ? try self.number(call, 3) : 0
        do throws(Errno) {
            let (child, address) = try host.stack.accept(socket)
            let accepted = ScriptDescriptor(.socket(child))
            accepted.isNonblocking = flags & 0x800 != 0
            patience[child.rawValue] = patience[socket.rawValue]
            descriptors[number] = accepted
            if let connection = connections.last(where: {
                $0.isTupleKnown && $0.pair.destinationAddress == address.address && $0.pair.destinationPort == address.port
            }) {
                connection.socket = child
                current = connection
            }
            return .value(number)
        } catch {
            return error == .tryAgain && !descriptor.isNonblocking ? .blocked : .error(error.rawValue)
        }
    }

    private func connect(_ call: ScriptCall, _ descriptor: ScriptDescriptor, _ socket: SocketID, _ state: inout ScriptCallState) throws(ScriptStop) -> CallOutcome {
        if state.isConnecting { return connectOutcome(socket) }
        guard let address = try address(try argument(call, 1), SocketAddress(configuration.remote, configuration.connectPort)) else {
            return outcome { () throws(Errno) in
                try host.stack.disconnect(socket)
                return 0
            }
        }
        do throws(Errno) {
            try host.stack.connect(socket, address)
            return .value(0)
        } catch {
            if error == .inProgress { opening(socket, to: address) }
            guard error == .inProgress || error == .already, !descriptor.isNonblocking else { return .error(error.rawValue) }
            state.isConnecting = true
            state.lateError = error
            return connectOutcome(socket)
        }
    }

    /// The script opens a connection itself: what the socket sends first tells its ports.
    func opening(_ socket: SocketID, to address: SocketAddress) {
        let connection = ScriptConnection(
            WireSegment.SocketPair(sourceAddress: configuration.local, sourcePort: 0, destinationAddress: address.address, destinationPort: address.port),
            isTupleKnown: false)
        connection.socket = socket
        connections.append(connection)
        current = connection
        if fresh == socket { fresh = nil }
    }

    /// A second call tells how the first one ended, as the kernel's own waiting does.
    func connectOutcome(_ socket: SocketID) -> CallOutcome {
        let result = outcome { () throws(Errno) in
            try host.stack.connect(socket, host.stack.remoteAddress(socket) ?? SocketAddress(configuration.remote, configuration.connectPort))
            return 0
        }
        if case .error(Errno.already.rawValue) = result { return .blocked }
        return result
    }
}
