import HairpinEngine
import HairpinTransport
import HairpinWire

/// One request and its answer, from the name to the last byte: the part that curl and wget share.
final class HTTPTransfer {
    enum Failure: Error {
        case resolve(ResolutionFailure)
        /// The last address tried, and why it failed.
        case connect(Errno, SocketAddress?)
        case connectTimeout
        case timeout(isConnected: Bool)
        case reset(Errno)
        case send(Errno)
        /// The server closed before a whole head came.
        case emptyReply
        case partial(missing: Int)
        case malformed
    }
    enum Progress {
        case wait(WaitSet)
        case finished(Failure?)
    }

    /// What happened, for `-v` and wget's talk.
    enum Event {
        case resolved([IPv4Address])
        case trying(SocketAddress)
        case failed(SocketAddress, Errno)
        case connected, requestSent, headReceived
    }

    struct Options {
        var resolveFamily = Resolver.Family.both
        var overrideAddress: IPv4Address?
        var connectTimeout: Duration?
        var deadline: Instant?
        var device: String?
        var isHead = false
        /// The body is not wanted when the status is an error (curl -f).
        var failsOnError = false
    }

    let host: String
    let port: UInt16
    private let request: [UInt8]
    private let options: Options
    private enum Phase { case start, resolving, connecting, sending, head, body, finished }
    private var phase = Phase.start
    private var resolver: Resolver?
    private var addresses: [IPv4Address] = []
    private var nextAddress = 0
    private(set) var socket: SocketID?
    private var sent = 0
    private var buffer: [UInt8] = []
    private var decoder: ChunkedDecoder?
    private var remaining: Int?

    private(set) var events: [Event] = []
    private(set) var startedAt = Instant.zero, resolvedAt: Instant?, connectedAt: Instant?, firstByteAt: Instant?, finishedAt: Instant?
    private(set) var remoteAddress: SocketAddress?, localAddress: SocketAddress?
    private(set) var statusLine = "", status = 0
    private(set) var head: [UInt8] = []
    private(set) var fields = HTTPFields()
    private(set) var body: [UInt8] = []
    private(set) var bodyCount = 0
    private(set) var contentLength: Int?
    private(set) var keepsConnection = false
    private(set) var reusedConnection = false
    private(set) var firstAddress: SocketAddress?

    init(host: String, port: UInt16, request: [UInt8], options: Options, reusing socket: SocketID? = nil) {
        self.host = host
        self.port = port
        self.request = request
        self.options = options
        self.socket = socket
        reusedConnection = socket != nil
    }

    var requestCount: Int { sent }
    func takeEvents() -> [Event] {
        defer { events = [] }
        return events
    }
    func takeBody() -> [UInt8] {
        defer { body = [] }
        return body
    }

    func advance(_ system: any SystemCalls) -> Progress {
        while true {
            if let deadline = options.deadline, system.now >= deadline, phase != .finished, phase != .start {
                return finish(.timeout(isConnected: phase == .sending || phase == .head || phase == .body), system)
            }
            switch phase {
            case .start:
                startedAt = system.now
                if let socket {
                    (resolvedAt, connectedAt) = (system.now, system.now)
                    (remoteAddress, localAddress) = (system.remoteAddress(socket), system.localAddress(socket))
                    phase = .sending
                } else {
                    phase = .resolving
                    if let address = options.overrideAddress { addresses = [address] } else { resolver = Resolver(host, family: options.resolveFamily) }
                }
            case .resolving:
                if let resolver {
                    switch resolver.advance(system) {
                    case .wait(let set): return .wait(bounded(set))
                    case .failed(let failure): return finish(.resolve(failure), system)
                    case .done(let list): addresses = list
                    }
                }
                resolver = nil
                resolvedAt = system.now
                events.append(.resolved(addresses))
                if let failure = connectNext(nil, system) { return finish(failure, system) }
            case .connecting:
                switch awaitConnection(system) {
                case .wait(let set): return .wait(bounded(set))
                case .finished(let failure): if let failure { return finish(failure, system) }
                }
            case .sending:
                do throws(Errno) {
                    while sent < request.count { sent += try system.send(socket!, request[sent...]) }
                    events.append(.requestSent)
                    phase = .head
                } catch {
                    if error == .tryAgain { return .wait(bounded(WaitSet(sockets: [(socket!, [.writable, .error])]))) }
                    return finish(.send(error), system)
                }
            case .head, .body:
                do throws(Errno) {
                    let bytes = try system.receive(socket!, 16384)
                    if bytes.isEmpty { return endOfStream(system) }
                    if firstByteAt == nil { firstByteAt = system.now }
                    buffer += bytes
                    if let failure = process() { return finish(failure, system) }
                    if phase == .finished { return finish(nil, system) }
                } catch {
                    if error == .tryAgain { return .wait(bounded(WaitSet(sockets: [(socket!, [.readable, .error])]))) }
                    return finish(.reset(error), system)
                }
            case .finished:
                return .finished(nil)
            }
        }
    }

    private func bounded(_ set: WaitSet) -> WaitSet {
        var set = set
        if let deadline = options.deadline { set.deadline = min(set.deadline ?? deadline, deadline) }
        if phase == .connecting, let limit = options.connectTimeout { set.deadline = min(set.deadline ?? .distantFuture, startedAt + limit) }
        return set
    }

    /// Begins connecting to the next address; a failure when none is left.
    private func connectNext(_ last: Errno?, _ system: any SystemCalls) -> Failure? {
        var last = last
        while nextAddress < addresses.count {
            let address = SocketAddress(addresses[nextAddress], port)
            nextAddress += 1
            events.append(.trying(address))
            if firstAddress == nil { firstAddress = address }
            do throws(Errno) {
                let socket = try system.socket(.stream)
                self.socket = socket
                remoteAddress = address
                if let device = options.device { try system.setOption(socket, .bindToDevice(device)) }
                try system.setOption(socket, .noDelay(true))
                try system.connect(socket, address)
                connected(system)
                return nil
            } catch {
                if error == .inProgress || error == .tryAgain {
                    phase = .connecting
                    return nil
                }
                last = error
                fail(address, error, system)
            }
        }
        return .connect(last ?? .connectionRefused, remoteAddress)
    }

    private func fail(_ address: SocketAddress, _ error: Errno, _ system: any SystemCalls) {
        events.append(.failed(address, error))
        if let socket { system.close(socket) }
        socket = nil
    }

    private func connected(_ system: any SystemCalls) {
        connectedAt = system.now
        localAddress = system.localAddress(socket!)
        remoteAddress = system.remoteAddress(socket!) ?? remoteAddress
        events.append(.connected)
        phase = .sending
    }

    private func awaitConnection(_ system: any SystemCalls) -> Progress {
        let socket = socket!
        if let error = system.takeError(socket) {
            let address = remoteAddress ?? SocketAddress(.any, port)
            fail(address, error, system)
            return .finished(connectNext(error, system))
        }
        if system.readiness(socket).contains(.writable) {
            connected(system)
            return .finished(nil)
        }
        if let limit = options.connectTimeout, system.now >= startedAt + limit { return .finished(.connectTimeout) }
        return .wait(WaitSet(sockets: [(socket, [.writable, .error])]))
    }

    /// Moves from head to body to the end as far as the buffered bytes allow.
    private func process() -> Failure? {
        while phase == .head {
            guard let length = HTTPHead.end(in: buffer[...]) else {
                if buffer.count > HTTPHead.limit || !looksLikeHTTP { return .malformed }
                return nil
            }
            let all = HTTPHead.lines(buffer[..<length])
            guard looksLikeHTTP, let start = all.first, let fields = HTTPFields(all.dropFirst()) else { return .malformed }
            let words = start.split(separator: " ", maxSplits: 2)
            guard words.count >= 2, let code = Int(words[1]) else { return .malformed }
            head += buffer[..<length]
            buffer.removeFirst(length)
            if (100..<200).contains(code) { continue }
            (statusLine, status, self.fields) = (String(start), code, fields)
            events.append(.headReceived)
            let connection = fields["Connection"]?.lowercased() ?? ""
            keepsConnection = words[0] == "HTTP/1.1" ? !connection.contains("close") : connection.contains("keep-alive")
            // RFC 9110 §8.6: digits only. Anything else counts as absent, and the body ends with the connection.
            contentLength = fields["Content-Length"].flatMap { Int($0) }.flatMap { $0 >= 0 ? $0 : nil }
            if options.isHead || code == 204 || code == 304 || (options.failsOnError && code >= 400) {
                phase = .finished
                return nil
            }
            if fields["Transfer-Encoding"]?.lowercased().contains("chunked") == true {
                decoder = ChunkedDecoder()
            } else {
                remaining = contentLength
            }
            phase = .body
        }
        if decoder != nil {
            var rest = buffer[...]
            let decoded = decoder!.decode(&rest)
            buffer = Array(rest)
            body += decoded
            bodyCount += decoded.count
            if decoder!.isMalformed { return .malformed }
            if decoder!.isDone { phase = .finished }
        } else if let left = remaining {
            let count = min(left, buffer.count)
            body += buffer.prefix(count)
            bodyCount += count
            buffer.removeFirst(count)
            remaining = left - count
            if remaining == 0 { phase = .finished }
        } else {
            body += buffer
            bodyCount += buffer.count
            buffer = []
        }
        return nil
    }

    private var looksLikeHTTP: Bool { text(buffer.prefix(5)) == String("HTTP/".prefix(buffer.count)) }

    private func endOfStream(_ system: any SystemCalls) -> Progress {
        keepsConnection = false
        if phase == .head { return finish(buffer.isEmpty && head.isEmpty ? .emptyReply : .malformed, system) }
        if decoder != nil { return finish(.partial(missing: 0), system) }
        if let remaining, remaining > 0 { return finish(.partial(missing: remaining), system) }
        return finish(nil, system)
    }

    private func finish(_ failure: Failure?, _ system: any SystemCalls) -> Progress {
        finishedAt = system.now
        phase = .finished
        resolver?.cancel(system)
        if failure != nil { keepsConnection = false }
        return .finished(failure)
    }

    /// Closes the connection.
    func close(_ system: any SystemCalls) {
        if let socket { system.close(socket) }
        socket = nil
    }
    /// Hands the connection over to the next transfer.
    func releaseSocket() -> SocketID? {
        defer { socket = nil }
        return socket
    }
}
