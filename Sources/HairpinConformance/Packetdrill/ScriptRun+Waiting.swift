import HairpinEngine
import HairpinTransport
import HairpinWire

/// SO_RCVTIMEO and SO_SNDTIMEO of a socket; nil waits for ever.
struct ScriptPatience {
    var reading: Duration?
    var writing: Duration?
}

/// Calls that wait no longer than they are told to, and the names of sockets.
extension ScriptRun {
    /// A call that waits gives up after the socket's timeout, with what it has got (`sock_rcvtimeo`, `sock_sndtimeo`).
    func bounded(_ outcome: CallOutcome, _ socket: SocketID, _ state: inout ScriptCallState, writes: Bool) -> CallOutcome {
        guard case .blocked = outcome, let limits = patience[socket.rawValue], let limit = writes ? limits.writing : limits.reading else { return outcome }
        if state.deadline == nil { state.deadline = host.now + limit }
        guard let deadline = state.deadline, host.now >= deadline else { return .blocked }
        if writes { host.stack.awaitOpening(socket, false) }
        if state.count > 0 { return .value(Int64(state.count)) }
        // connect(2) goes on by itself.
        return .error(state.lateError.rawValue)
    }

    /// sleep(3) and its kin.
    func wait(for time: Duration, _ state: inout ScriptCallState) throws(ScriptStop) -> CallOutcome {
        guard .zero...Duration.seconds(1_000_000) ~= time else { throw .unsupported(line, "this time to sleep") }
        if state.deadline == nil { state.deadline = host.now + time }
        return host.now < state.deadline! ? .blocked : .value(0)
    }

    /// `{tv_sec=1, tv_usec=0}`, or the sixteen bytes of it as a string.
    func duration(_ expression: ScriptExpression, fraction: String) throws(ScriptStop) -> Duration {
        let (seconds, rest) = try timeParts(expression, fraction: fraction)
        return .seconds(seconds) + (fraction == "tv_nsec" ? .nanoseconds(rest) : .microseconds(rest))
    }

    private func timeParts(_ expression: ScriptExpression, fraction: String) throws(ScriptStop) -> (Int64, Int64) {
        switch expression {
        case .structure(let fields):
            guard let seconds = field(fields, "tv_sec"), let rest = field(fields, fraction) else { break }
            return (try integer(seconds.value), try integer(rest.value))
        case .string(let text):
            guard let bytes = ScriptRun.bytes(text), bytes.count >= 16 else { break }
            func word(_ at: Int) -> Int64 { Int64(bitPattern: (0..<8).reduce(0) { $0 | UInt64(bytes[at + $1]) << UInt64(8 * $1) }) }
            return (word(0), word(8))
        default: break
        }
        throw .unsupported(line, "this kind of time")
    }

    static func isPatience(_ level: Int64, _ name: Int64) -> Bool { level == 1 && [20, 21, 66, 67].contains(name) }

    /// `sock_set_timeout`: in whole ticks, rounded up; zero waits for ever.
    func setPatience(_ socket: SocketID, _ name: Int64, _ value: ScriptExpression) throws(ScriptStop) -> CallOutcome {
        let (seconds, rest) = try timeParts(value, fraction: "tv_usec")
        guard 0..<1_000_000 ~= rest else { return .error(33) }
        let ticks = seconds < 0 ? 0 : min(seconds, 1_000_000) * 250 + (rest + 3999) / 4000
        // A time before now is none at all: the call does not wait.
        let limit: Duration? = seconds == 0 && rest == 0 ? nil : .milliseconds(ticks * 4)
        var limits = patience[socket.rawValue] ?? ScriptPatience()
        if name == 20 || name == 66 { limits.reading = limit } else { limits.writing = limit }
        patience[socket.rawValue] = limits
        return .value(0)
    }

    func comparePatience(_ socket: SocketID, _ name: Int64, _ value: ScriptExpression) throws(ScriptStop) -> CallOutcome {
        guard value != .ellipsis else { return .value(0) }
        let (seconds, rest) = try timeParts(value, fraction: "tv_usec")
        let limits = patience[socket.rawValue]
        let actual = ((name == 20 || name == 66 ? limits?.reading : limits?.writing) ?? .zero).nanoseconds / 1000
        guard seconds * 1_000_000 + rest == actual else {
            throw .failed(
                line: line, "another value of getsockopt", expected: "{tv_sec=\(seconds), tv_usec=\(rest)}",
                actual: "{tv_sec=\(actual / 1_000_000), tv_usec=\(actual % 1_000_000)}")
        }
        return .value(0)
    }

    /// getsockname(2) and getpeername(2); an address that is written is compared.
    func socketName(_ call: ScriptCall, _ socket: SocketID) throws(ScriptStop) -> CallOutcome {
        let name: SocketAddress
        if call.name == "getpeername" {
            guard let remote = host.stack.remoteAddress(socket), !host.stack.opensOnSend(socket) else { return .error(Errno.notConnected.rawValue) }
            name = remote
        } else {
            guard let local = host.stack.localAddress(socket) else { return .error(Errno.badFileDescriptor.rawValue) }
            name = local
        }
        guard call.arguments.count > 1, call.arguments[1] != .ellipsis, let wanted = try address(call.arguments[1], name), wanted != name else { return .value(0) }
        throw .failed(line: line, "another address of \(call.name)", expected: "\(wanted.address):\(wanted.port)", actual: "\(name.address):\(name.port)")
    }

    /// `{tcpi_state=1, tcpi_rtt=...}`: those that are named have these values.
    func compareInformation(_ socket: SocketID, _ value: ScriptExpression) throws(ScriptStop) -> CallOutcome {
        guard value != .ellipsis else { return .value(0) }
        guard case .structure(let wanted) = value else { throw .unsupported(line, "this value of TCP_INFO") }
        let fields = host.stack.tcpInformation(socket)?.fields ?? [:]
        for item in wanted where item.value != .ellipsis {
            guard let name = item.name, name.hasPrefix("tcpi_"), let actual = fields[String(name.dropFirst(5))] else {
                throw .unsupported(line, "the field \(item.name ?? "without a name") of TCP_INFO")
            }
            let number: Int64
            if case .word(let word) = item.value, let constant = ScriptSymbols.codeConstants[word] { number = constant } else { number = try integer(item.value) }
            if number != Int64(actual) { throw .failed(line: line, "another value of getsockopt", expected: "\(name)=\(number)", actual: "\(name)=\(actual)") }
        }
        return .value(0)
    }

    /// The length that getsockopt(2) gives back: no more than the value has, and a byte for a small number of IP's in less than an int
    /// (`do_ip_getsockopt`).
    func checkLength(_ call: ScriptCall, natural: Int64, value: Int64? = nil) throws(ScriptStop) {
        guard call.arguments.count > 4, call.arguments[4] != .ellipsis else { return }
        let room = try number(call, 4)
        let isByte = try number(call, 1) == 0 && 1...3 ~= room && value.map { 0...255 ~= $0 } == true
        let actual = isByte ? 1 : min(room, natural)
        if room != actual { throw .failed(line: line, "another length of getsockopt", expected: "[\(room)]", actual: "[\(actual)]") }
    }
}
