import HairpinEngine
import HairpinTransport
import HairpinWire

/// What a handler answers.
struct HTTPResponse {
    var status: Int
    var reason: String
    /// Everything between the status line and the empty line, in order.
    var fields: [(String, String)]
    var body: [UInt8]
    var closes = false

    init(_ status: Int, _ reason: String, fields: [(String, String)], body: [UInt8], closes: Bool = false) {
        (self.status, self.reason, self.fields, self.body, self.closes) = (status, reason, fields, body, closes)
    }
    /// A text page with the fields Go's net/http writes.
    static func text(_ body: String, status: Int = 200, reason: String = "OK", at now: Instant) -> HTTPResponse {
        HTTPResponse(
            status, reason, fields: [("Date", CivilTime(now).http), ("Content-Length", String(body.utf8.count)), ("Content-Type", "text/plain; charset=utf-8")],
            body: Array(body.utf8))
    }

    func head(version: String = "HTTP/1.1") -> [UInt8] {
        Array((["\(version) \(status) \(reason)"] + fields.map { "\($0.0): \($0.1)" }).joined(separator: "\r\n").utf8) + Array("\r\n\r\n".utf8)
    }
}

/// How a server writes and keeps connections.
struct HTTPServerStyle {
    var ports: [UInt16]
    var backlog = 511
    /// Header and body as two writes, as nginx does; else as one.
    var separateWrites = false
    /// An idle connection is closed after this long; nil for never.
    var keepAlive: Duration?
    /// TCP_NODELAY as soon as a connection waits for its next request (nginx), which sends what Nagle's algorithm still holds.
    var noDelayWhenIdle = false
    /// TCP_NODELAY from the start (Go's default).
    var noDelay = true
    var startMessage = ""
    /// What is printed when a port is taken, how often it is tried, and the exit status.
    var bindError: (UInt16, Errno) -> String = { "listen tcp :\($0): bind: \($1.description.lowercased())\n" }
    var bindAttempts = 1
    var bindFinalMessage = ""
}

/// An HTTP/1.1 server: accepts, reads requests, lets a handler answer, writes with partial sends, keeps connections alive.
final class HTTPServer: Program {
    /// The answer to a request, and what to do when it has been sent (the access log).
    typealias Handler = (HTTPRequest, Client, any SystemCalls) -> HTTPResponse
    struct Client {
        var remote: SocketAddress
        var local: SocketAddress
        var number: Int
    }

    private struct Connection {
        var socket: SocketID
        var client: Client
        var input: [UInt8] = []
        /// Pieces still to be written; each is its own write.
        var output: [ArraySlice<UInt8>] = []
        var idleSince: Instant
        var closesAfterOutput = false
        var request: HTTPRequest?
        var response: HTTPResponse?
    }

    private let style: HTTPServerStyle
    private let handler: Handler
    private let malformed: (any SystemCalls) -> HTTPResponse
    private let completed: (HTTPRequest?, HTTPResponse, Client, any SystemCalls) -> Void
    private let upgrade: ((any SystemCalls) -> Void)?
    private var listeners: [SocketID] = []
    private var connections: [Connection] = []
    private var attempts = 0, retryAt: Instant?
    private var isListening = false
    private var accepted = 0
    /// Graceful shutdown: nothing new is accepted, idle connections are closed, requests that are being answered are answered.
    private var isDraining = false

    init(
        _ style: HTTPServerStyle, malformed: @escaping (any SystemCalls) -> HTTPResponse = { .text("400 Bad Request", status: 400, reason: "Bad Request", at: $0.now) },
        completed: @escaping (HTTPRequest?, HTTPResponse, Client, any SystemCalls) -> Void = { _, _, _, _ in }, started: ((any SystemCalls) -> Void)? = nil,
        handler: @escaping Handler
    ) {
        (self.style, self.handler, self.malformed, self.completed, upgrade) = (style, handler, malformed, completed, started)
    }

    func drain() { isDraining = true }

    func resume(_ system: any SystemCalls) -> Suspension {
        if isDraining { return windDown(system) }
        if !isListening {
            if let retryAt, system.now < retryAt { return .wait(WaitSet(deadline: retryAt)) }
            if let suspension = open(system) { return suspension }
        }
        acceptAll(system)
        for index in connections.indices { serve(index, system) }
        connections.removeAll { connection in connection.socket == .none }
        return .wait(interest())
    }

    /// As nginx's workers do on SIGQUIT (`ngx_close_listening_sockets`, `ngx_close_idle_connections`).
    private func windDown(_ system: any SystemCalls) -> Suspension {
        for listener in listeners { system.close(listener) }
        listeners = []
        for index in connections.indices {
            serve(index, system)
            let isIdle = connections[index].output.isEmpty && connections[index].input.isEmpty
            if connections[index].socket != .none, isIdle { end(index, system) } else { connections[index].closesAfterOutput = true }
        }
        connections.removeAll { connection in connection.socket == .none }
        return connections.isEmpty ? .exit(0) : .wait(interest())
    }

    private func open(_ system: any SystemCalls) -> Suspension? {
        for port in style.ports {
            var socket: SocketID?
            do throws(Errno) {
                let new = try system.socket(.stream)
                socket = new
                try system.setOption(new, .reuseAddress(true))
                try system.bind(new, SocketAddress(.any, port))
                try system.listen(new, backlog: style.backlog)
                listeners.append(new)
            } catch {
                if let socket { system.close(socket) }
                for listener in listeners { system.close(listener) }
                listeners = []
                system.writeError(style.bindError(port, error))
                attempts += 1
                guard error == .addressInUse, attempts < style.bindAttempts else {
                    system.writeError(style.bindFinalMessage)
                    return .exit(1)
                }
                let next = system.now + .milliseconds(500)
                retryAt = next
                return .wait(WaitSet(deadline: next))
            }
        }
        isListening = true
        system.writeError(style.startMessage)
        upgrade?(system)
        return nil
    }

    private func acceptAll(_ system: any SystemCalls) {
        for listener in listeners {
            while true {
                do throws(Errno) {
                    let (socket, remote) = try system.accept(listener)
                    accepted += 1
                    if style.noDelay { try? system.setOption(socket, .noDelay(true)) }
                    let local = system.localAddress(socket) ?? SocketAddress(.any, 0)
                    connections.append(Connection(socket: socket, client: Client(remote: remote, local: local, number: accepted), idleSince: system.now))
                } catch { break }
            }
        }
    }

    private func serve(_ index: Int, _ system: any SystemCalls) {
        let socket = connections[index].socket
        while true {
            if !flush(index, system) { return }
            if answer(index, system) { continue }
            do throws(Errno) {
                let bytes = try system.receive(socket, 16384)
                if bytes.isEmpty { return end(index, system) }
                connections[index].input += bytes
                connections[index].idleSince = system.now
            } catch {
                if error != .tryAgain { end(index, system) }
                break
            }
        }
        if let limit = style.keepAlive, system.now >= connections[index].idleSince + limit { end(index, system) }
    }

    private func end(_ index: Int, _ system: any SystemCalls) {
        system.close(connections[index].socket)
        connections[index].socket = .none
    }

    /// Writes what can be written; false if the connection is gone or must wait for room.
    private func flush(_ index: Int, _ system: any SystemCalls) -> Bool {
        let socket = connections[index].socket
        while let piece = connections[index].output.first {
            do throws(Errno) {
                let count = try system.send(socket, piece)
                if count == piece.count { connections[index].output.removeFirst() } else { connections[index].output[0] = piece.dropFirst(count) }
            } catch {
                if error != .tryAgain { end(index, system) }
                return false
            }
        }
        if let response = connections[index].response {
            completed(connections[index].request, response, connections[index].client, system)
            connections[index].response = nil
            connections[index].request = nil
            connections[index].idleSince = system.now
            if connections[index].closesAfterOutput {
                end(index, system)
                return false
            }
            if style.noDelayWhenIdle { try? system.setOption(socket, .noDelay(true)) }
        }
        return true
    }

    /// Takes a complete request from the input and queues its answer.
    private func answer(_ index: Int, _ system: any SystemCalls) -> Bool {
        let input = connections[index].input
        guard !input.isEmpty else { return false }
        let looksWrong = input[0] < 32 && input[0] != 13 && input[0] != 10
        guard let length = HTTPHead.end(in: input[...]) else {
            if looksWrong || input.count > HTTPHead.limit { refuse(index, system) }
            return looksWrong || input.count > HTTPHead.limit
        }
        guard var request = HTTPRequest(head: input[..<length]) else {
            refuse(index, system)
            return true
        }
        let bodyCount = request.fields["Content-Length"].flatMap { Int($0) } ?? 0
        var total = length
        if request.fields["Transfer-Encoding"]?.lowercased().contains("chunked") == true {
            var decoder = ChunkedDecoder()
            var rest = input[length...]
            request.body = decoder.decode(&rest)
            guard decoder.isDone else { return false }
            total = rest.startIndex
        } else {
            guard bodyCount >= 0, bodyCount < 1 << 26 else {
                refuse(index, system)
                return true
            }
            guard input.count >= length + bodyCount else { return false }
            request.body = Array(input[length..<(length + bodyCount)])
            total = length + bodyCount
        }
        connections[index].input.removeFirst(total)
        system.compute(ProcessorTime.request)
        let response = handler(request, connections[index].client, system)
        queue(response, request, index, system)
        return true
    }

    private func refuse(_ index: Int, _ system: any SystemCalls) {
        connections[index].input = []
        var response = malformed(system)
        response.closes = true
        queue(response, nil, index, system)
    }

    private func queue(_ response: HTTPResponse, _ request: HTTPRequest?, _ index: Int, _ system: any SystemCalls) {
        let head = response.head()
        let body = request?.method == "HEAD" || response.status == 304 || response.status == 204 ? [] : response.body
        if style.separateWrites, !body.isEmpty {
            connections[index].output = [head[...], body[...]]
        } else {
            connections[index].output = [(head + body)[...]]
        }
        connections[index].closesAfterOutput = response.closes || request?.keepsAlive != true
        connections[index].request = request
        connections[index].response = response
    }

    private func interest() -> WaitSet {
        var set = WaitSet(sockets: listeners.map { ($0, .readable) })
        for connection in connections {
            set.sockets.append((connection.socket, connection.output.isEmpty ? [.readable, .error] : [.writable, .error]))
            if let limit = style.keepAlive, connection.output.isEmpty { set.deadline = min(set.deadline ?? .distantFuture, connection.idleSince + limit) }
        }
        return set
    }
}
