import HairpinEngine
import HairpinPrograms
import HairpinTransport
import HairpinWire

/// What the programs of the job have seen.
final class ServiceProgress {
    var received = 0
    /// Established connections, of those that are asked for.
    var answers = 0
    /// Asks the client for another exchange on each of its connections.
    var round = 0
    var problem: String?
}

/// The first byte of a datagram says what it wants.
enum ServiceRequest {
    static let nothing: UInt8 = 0, answer: UInt8 = 1
    static let byteCount = 18
}

/// Takes datagrams, and answers those that ask for it.
final class ServiceServer: Program {
    private let progress: ServiceProgress
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 16)
    private var socket: SocketID?
    private var readable = WaitSet()

    init(_ progress: ServiceProgress) { self.progress = progress }
    deinit { buffer.deallocate() }

    func resume(_ system: any SystemCalls) -> Suspension {
        do throws(Errno) {
            if socket == nil {
                let socket = try system.socket(.datagram)
                try system.bind(socket, SocketAddress(.any, ServiceNetwork.targetPort))
                readable = WaitSet(sockets: [(socket, .readable)])
                self.socket = socket
            }
            while let socket {
                // While connections are made the sender must be known; afterwards nothing is answered and nothing allocated.
                if progress.answers < progress.round {
                    let message = try system.receiveMessage(socket)
                    if message.bytes.first == ServiceRequest.answer { try system.send(socket, message.bytes, to: message.source) } else { progress.received += 1 }
                } else {
                    _ = try system.receive(socket, into: buffer)
                    progress.received += 1
                }
            }
        } catch {
            if error != .tryAgain {
                progress.problem = "a server failed: \(error)"
                return .exit(1)
            }
        }
        return .wait(readable)
    }
}

/// Keeps a number of connections to Services and pods; when a new round is asked for, sends a datagram over each and waits for the answers.
final class ServiceClient: Program {
    private let progress: ServiceProgress
    private let targets: [SocketAddress]
    private var sockets: [SocketID] = []
    private var answered: [Bool] = []
    /// Requests of this round that are out; so many at most are unanswered, for in IPVS mode they may all come to one server's socket.
    private var sent = 0
    private static let window = 128
    private var round = 0
    /// The range of source ports that first packets do not use.
    static let firstPort: UInt16 = 61_000

    init(_ progress: ServiceProgress, targets: [SocketAddress]) {
        self.progress = progress
        self.targets = targets
    }

    func resume(_ system: any SystemCalls) -> Suspension {
        do throws(Errno) {
            if sockets.isEmpty { try open(system) }
            if round < progress.round {
                round = progress.round
                answered = [Bool](repeating: false, count: sockets.count)
                sent = 0
            }
            if !answered.prefix(sent).contains(false), sent < answered.count {
                let request = [ServiceRequest.answer] + [UInt8](repeating: 0, count: ServiceRequest.byteCount - 1)
                let end = min(sent + ServiceClient.window, sockets.count)
                for socket in sockets[sent..<end] { _ = try system.send(socket, request[...]) }
                sent = end
            }
            for index in 0..<sent where !answered[index] {
                do throws(Errno) {
                    _ = try system.receiveMessage(sockets[index])
                    answered[index] = true
                } catch {
                    guard error == .tryAgain else { throw error }
                }
            }
        } catch {
            progress.problem = "the client failed: \(error)"
            return .exit(1)
        }
        if !answered.contains(false) { progress.answers = round }
        return .wait(WaitSet(deadline: system.now + .milliseconds(1)))
    }

    private func open(_ system: any SystemCalls) throws(Errno) {
        for (index, target) in targets.enumerated() {
            let socket = try system.socket(.datagram)
            try system.bind(socket, SocketAddress(.any, ServiceClient.firstPort + UInt16(index)))
            try system.connect(socket, target)
            sockets.append(socket)
        }
    }
}
