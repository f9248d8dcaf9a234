import HairpinEngine
import HairpinTransport
import HairpinWire

/// What a client asks for, again and again, whether or not earlier requests have been answered.
public struct RequestPlan: Sendable {
    public var address: IPv4Address
    public var port: UInt16
    public var host: String
    public var path: String
    /// Between the starts of two requests.
    public var interval: Duration
    public var count: Int
    /// From a request's start to the end of its answer.
    public var timeout: Duration
    /// An idle connection is used again; else every request has a connection of its own.
    public var keepsAlive = false
    public init(address: IPv4Address, port: UInt16, host: String, path: String, interval: Duration, count: Int, timeout: Duration) {
        self.address = address
        self.port = port
        self.host = host
        self.path = path
        self.interval = interval
        self.count = count
        self.timeout = timeout
    }
}

/// How a request ended.
public enum RequestOutcome: Sendable, Hashable {
    case answered
    /// An answer, but not one of 200 to 399.
    case status(Int)
    /// A reset in answer to the SYN, or port unreachable.
    case refused
    /// A reset on the open connection.
    case reset
    /// The server closed before its answer was whole.
    case closed
    /// No SYN-ACK in time.
    case noConnection
    /// Connected, but no whole answer in time.
    case noAnswer
    /// ICMP host or network unreachable.
    case unreachable
}

/// One request that has ended.
public struct RequestRecord: Sendable {
    /// From one.
    public var number: Int
    public var startedAt: Instant
    public var endedAt: Instant
    public var localPort: UInt16
    /// On a connection that had carried others before.
    public var isReused: Bool
    public var outcome: RequestOutcome
}

/// What a load has seen, for whoever started it; written by the program as it runs.
public final class RequestLog {
    public private(set) var records: [RequestRecord] = []
    public init() {}
    func add(_ record: RequestRecord) { records.append(record) }
}

/// Sends HTTP requests at a steady rate.
public final class RequestLoad: Program {
    private let plan: RequestPlan
    private let log: RequestLog
    private var startedAt: Instant?
    private var started = 0
    private var running: [Request] = []
    private var idle: [SocketID] = []

    private struct Request {
        var number: Int
        var socket: SocketID
        var startedAt: Instant
        var localPort: UInt16
        var isConnected = false
        var isReused = false
        var output: ArraySlice<UInt8>
        var input: [UInt8] = []
        var outcome: RequestOutcome?
    }

    public init(_ plan: RequestPlan, log: RequestLog) {
        self.plan = plan
        self.log = log
    }

    public func resume(_ system: any SystemCalls) -> Suspension {
        let first = startedAt ?? system.now
        startedAt = first
        while started < plan.count, system.now >= first + plan.interval * Int64(started) { begin(system) }
        for index in running.indices { advance(index, system) }
        for request in running {
            guard let outcome = request.outcome else { continue }
            log.add(
                RequestRecord(
                    number: request.number, startedAt: request.startedAt, endedAt: system.now, localPort: request.localPort, isReused: request.isReused, outcome: outcome))
            if outcome == .answered, plan.keepsAlive { idle.append(request.socket) } else { system.close(request.socket) }
        }
        running.removeAll { $0.outcome != nil }
        if started == plan.count, running.isEmpty {
            for socket in idle { system.close(socket) }
            return .exit(0)
        }
        var set = WaitSet()
        if started < plan.count { set.deadline = first + plan.interval * Int64(started) }
        for request in running {
            set.sockets.append((request.socket, request.isConnected && request.output.isEmpty ? .readable : [.readable, .writable]))
            set.deadline = min(set.deadline ?? .distantFuture, request.startedAt + plan.timeout)
        }
        return .wait(set)
    }

    private func begin(_ system: any SystemCalls) {
        started += 1
        let text = "GET \(plan.path) HTTP/1.1\r\nHost: \(plan.host)\r\nUser-Agent: hairpin\r\nAccept: */*\r\n\(plan.keepsAlive ? "" : "Connection: close\r\n")\r\n"
        var request = Request(number: started, socket: .none, startedAt: system.now, localPort: 0, output: Array(text.utf8)[...])
        // A connection its server has closed meanwhile is readable: end of file.
        while plan.keepsAlive, let socket = idle.popLast() {
            guard system.readiness(socket).isDisjoint(with: [.readable, .error, .hangup]) else {
                system.close(socket)
                continue
            }
            (request.socket, request.isConnected, request.isReused) = (socket, true, true)
            break
        }
        do throws(Errno) {
            if !request.isReused {
                request.socket = try system.socket(.stream)
                do throws(Errno) { try system.connect(request.socket, SocketAddress(plan.address, plan.port)) } catch {
                    if error != .inProgress, error != .tryAgain { request.outcome = RequestLoad.outcome(error, isConnected: false) }
                }
            }
            request.localPort = system.localAddress(request.socket)?.port ?? 0
        } catch { request.outcome = RequestLoad.outcome(error, isConnected: false) }
        running.append(request)
    }

    private static func outcome(_ error: Errno, isConnected: Bool) -> RequestOutcome {
        switch error {
        case .connectionRefused: .refused
        case .hostUnreachable, .networkUnreachable: .unreachable
        case .timedOut: isConnected ? .noAnswer : .noConnection
        default: isConnected ? .reset : .refused
        }
    }

    private func advance(_ index: Int, _ system: any SystemCalls) {
        guard running[index].outcome == nil else { return }
        let socket = running[index].socket
        if !running[index].isConnected {
            let ready = system.readiness(socket)
            if let error = system.takeError(socket) {
                running[index].outcome = RequestLoad.outcome(error, isConnected: false)
                return
            }
            if ready.contains(.writable) { running[index].isConnected = true }
        }
        do throws(Errno) {
            while running[index].isConnected, !running[index].output.isEmpty {
                running[index].output = running[index].output.dropFirst(try system.send(socket, running[index].output))
            }
            while running[index].isConnected {
                let bytes = try system.receive(socket, 65_536)
                running[index].input += bytes
                running[index].outcome = RequestLoad.verdict(running[index].input, isEnd: bytes.isEmpty)
                if bytes.isEmpty || running[index].outcome != nil { return }
            }
        } catch {
            if error != .tryAgain { running[index].outcome = RequestLoad.outcome(error, isConnected: true) }
        }
        if running[index].outcome == nil, system.now >= running[index].startedAt + plan.timeout {
            running[index].outcome = running[index].isConnected ? .noAnswer : .noConnection
        }
    }

    /// Nil while the answer is not whole.
    private static func verdict(_ input: [UInt8], isEnd: Bool) -> RequestOutcome? {
        guard let length = HTTPHead.end(in: input[...]) else { return isEnd ? .closed : nil }
        let lines = String(decoding: input[..<length], as: UTF8.self).split(separator: "\r\n")
        var expected: Int?
        for line in lines where line.lowercased().hasPrefix("content-length:") { expected = Int(line.dropFirst(15).filter { $0 != " " }) }
        if let expected {
            if input.count < length + expected { return isEnd ? .closed : nil }
        } else if !isEnd {
            return nil
        }
        let status = lines.first?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        return 200..<400 ~= status ? .answered : .status(status)
    }
}
