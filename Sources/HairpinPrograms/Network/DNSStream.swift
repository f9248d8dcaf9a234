import HairpinEngine
import HairpinTransport

/// Questions and answers over one TCP connection, each behind its length in two bytes (RFC 1035 §4.2.2, RFC 7766).
final class DNSStream {
    enum Progress {
        case wait(WaitSet)
        /// In the order of their arrival, with their sizes.
        case done([(message: DNSMessage, size: Int)])
        case failed(Errno)
        case timedOut
    }

    static func framed(_ message: [UInt8]) -> [UInt8] { [UInt8(message.count >> 8 & 0xff), UInt8(message.count & 0xff)] + message }

    private let server: SocketAddress
    private let expected: Set<UInt16>
    private var output: [UInt8]
    private var input: [UInt8] = []
    private var answers: [(message: DNSMessage, size: Int)] = []
    private let timeout: Duration?
    private var deadline: Instant?
    private var socket: SocketID?
    private var isConnected = false

    /// - Parameter queries: as `framed` is to send them, in one write. Each gets an answer.
    init(_ queries: [DNSMessage], server: SocketAddress, timeout: Duration?) {
        self.server = server
        self.timeout = timeout
        output = queries.flatMap { DNSStream.framed($0.encoded()) }
        expected = Set(queries.map(\.identifier))
    }

    func advance(_ system: any SystemCalls) -> Progress {
        do throws(Errno) { return try proceed(system) } catch {
            cancel(system)
            return .failed(error)
        }
    }

    func cancel(_ system: any SystemCalls) {
        if let socket { system.close(socket) }
        socket = nil
    }

    private func proceed(_ system: any SystemCalls) throws(Errno) -> Progress {
        if socket == nil {
            let new = try system.socket(.stream)
            socket = new
            deadline = timeout.map { system.now + $0 }
            do throws(Errno) { try system.connect(new, server) } catch { if error != .inProgress, error != .tryAgain { throw error } }
        }
        guard let socket else { return .timedOut }
        if let error = system.takeError(socket) { throw error }
        if !isConnected, system.readiness(socket).contains(.writable) { isConnected = true }
        if isConnected {
            while !output.isEmpty {
                do throws(Errno) { output.removeFirst(try system.send(socket, output[...])) } catch {
                    if error != .tryAgain { throw error }
                    break
                }
            }
            if try receive(socket, system) {
                cancel(system)
                return .done(answers)
            }
        }
        if let deadline, system.now >= deadline {
            cancel(system)
            return .timedOut
        }
        return .wait(WaitSet(sockets: [(socket, output.isEmpty ? [.readable, .error] : [.readable, .writable, .error])], deadline: deadline))
    }

    /// True when every question has its answer.
    private func receive(_ socket: SocketID, _ system: any SystemCalls) throws(Errno) -> Bool {
        while true {
            do throws(Errno) {
                let bytes = try system.receive(socket, 65536)
                if bytes.isEmpty { throw .connectionReset }
                input += bytes
            } catch {
                if error != .tryAgain { throw error }
                return false
            }
            while input.count >= 2 {
                let length = Int(input[0]) << 8 | Int(input[1])
                guard input.count >= 2 + length else { break }
                if let message = DNSMessage(parsing: Array(input[2..<(2 + length)])), message.flags.contains(.response), expected.contains(message.identifier) {
                    answers.append((message, length))
                }
                input.removeFirst(2 + length)
            }
            if answers.count >= expected.count { return true }
        }
    }
}
