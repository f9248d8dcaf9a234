#if canImport(Glibc)
import Glibc
#else
import Foundation
#endif
import HairpinEngine
import HairpinPrograms
import HairpinTransport

/// What the driver of a repetition and the programs tell each other.
final class BulkProgress {
    /// Bytes each flow is to have sent by now, since its connection opened.
    private(set) var goals: [Int]
    private(set) var received = 0
    private var ordered = 0
    /// When the first byte of the last order went out.
    private(set) var startedAt = Instant.zero
    private var hasStarted = true
    private(set) var problem: String?

    init(flows: Int) { goals = [Int](repeating: 0, count: flows) }

    var isUnfinished: Bool { received < ordered && problem == nil }

    /// Asks the flows for so many bytes more between them; the first ones carry what does not divide.
    func order(_ bytes: Int, at now: Instant) {
        let (share, rest) = bytes.quotientAndRemainder(dividingBy: goals.count)
        for flow in goals.indices { goals[flow] += share + (flow < rest ? 1 : 0) }
        ordered += bytes
        startedAt = now
        hasStarted = false
    }

    func begin(_ now: Instant) {
        if !hasStarted { startedAt = now }
        hasStarted = true
    }
    func arrived(_ count: Int) { received += count }
    func fail(_ text: String) { if problem == nil { problem = text } }
}

/// The bytes of a flow: byte n is the same in every flow, and a shift by anything but the period shows.
enum BulkPattern {
    static let chunk = 65_536
    private static let period = 251

    /// Room for a chunk that starts anywhere in the period.
    static func make() -> UnsafeMutableRawBufferPointer {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: chunk + period, alignment: 64)
        for n in 0..<memory.count { memory[n] = UInt8(n % period) }
        return memory
    }
    static func at(_ offset: Int, count: Int, in memory: UnsafeMutableRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: memory.baseAddress! + offset % period, count: count)
    }

    static func isEqual(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
        guard let left = a.baseAddress, let right = b.baseAddress else { return a.count == b.count }
        return a.count == b.count && memcmp(left, right, a.count) == 0
    }
}

/// Connects, writes what is ordered as fast as its socket takes it, and looks for new orders every virtual millisecond.
final class BulkClient: Program {
    private let progress: BulkProgress
    private let flow: Int
    private let target: SocketAddress
    private let pattern = BulkPattern.make()
    private var socket: SocketID?
    private var isConnected = false
    private var sent = 0
    /// Kept, so that waiting allocates nothing.
    private var writable = WaitSet()

    init(_ progress: BulkProgress, flow: Int, to target: SocketAddress) {
        self.progress = progress
        self.flow = flow
        self.target = target
    }
    deinit { pattern.deallocate() }

    func resume(_ system: any SystemCalls) -> Suspension {
        guard let socket else { return open(system) }
        if !isConnected {
            if let error = system.takeError(socket) { return fail("flow \(flow) did not connect: \(error)") }
            guard system.readiness(socket).contains(.writable) else { return .wait(writable) }
            isConnected = true
        }
        let goal = progress.goals[flow]
        if sent == goal { return .wait(WaitSet(deadline: system.now + .milliseconds(1))) }
        progress.begin(system.now)
        do throws(Errno) {
            while sent < goal {
                sent += try system.send(socket, from: BulkPattern.at(sent, count: min(goal - sent, BulkPattern.chunk), in: pattern))
            }
        } catch {
            return error == .tryAgain ? .wait(writable) : fail("flow \(flow) broke: \(error)")
        }
        return .wait(WaitSet(deadline: system.now + .milliseconds(1)))
    }

    private func open(_ system: any SystemCalls) -> Suspension {
        do throws(Errno) {
            let socket = try system.socket(.stream)
            self.socket = socket
            writable = WaitSet(sockets: [(socket, [.writable, .error])])
            try system.connect(socket, target)
        } catch {
            guard error == .inProgress else { return fail("flow \(flow) cannot connect: \(error)") }
        }
        return .wait(writable)
    }

    private func fail(_ text: String) -> Suspension {
        progress.fail(text)
        return .exit(1)
    }
}

/// Accepts connections and reads whatever comes, checking each byte; one process for all flows of its pod, each connection read in turn.
final class BulkServer: Program {
    private let progress: BulkProgress
    private let flows: Int
    private let pattern = BulkPattern.make()
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: BulkPattern.chunk, alignment: 64)
    private var listener: SocketID?
    private var connections: [(socket: SocketID, received: Int)] = []
    private var readable = WaitSet()

    init(_ progress: BulkProgress, flows: Int) {
        self.progress = progress
        self.flows = flows
    }
    deinit {
        pattern.deallocate()
        buffer.deallocate()
    }

    func resume(_ system: any SystemCalls) -> Suspension {
        do throws(Errno) {
            try open(system)
            for index in connections.indices { try drain(index, system) }
        } catch {
            progress.fail("a server failed: \(error)")
            return .exit(1)
        }
        return progress.problem == nil ? .wait(readable) : .exit(1)
    }

    private func open(_ system: any SystemCalls) throws(Errno) {
        guard connections.count < flows else { return }
        if listener == nil {
            let socket = try system.socket(.stream)
            try system.bind(socket, SocketAddress(.any, PodNetwork.port))
            try system.listen(socket, backlog: flows)
            listener = socket
        }
        do throws(Errno) {
            while true { connections.append((try system.accept(listener!).0, 0)) }
        } catch {
            guard error == .tryAgain else { throw error }
        }
        readable.sockets = connections.map { ($0.socket, .readable) } + (connections.count < flows ? [(listener!, .readable)] : [])
    }

    private func drain(_ index: Int, _ system: any SystemCalls) throws(Errno) {
        do throws(Errno) {
            while true {
                let count = try system.receive(connections[index].socket, into: buffer)
                if count == 0 { return progress.fail("a connection was closed") }
                let expected = BulkPattern.at(connections[index].received, count: count, in: pattern)
                guard BulkPattern.isEqual(UnsafeRawBufferPointer(rebasing: buffer[..<count]), expected) else {
                    return progress.fail("other bytes arrived than were sent, from \(connections[index].received) on")
                }
                connections[index].received += count
                progress.arrived(count)
            }
        } catch {
            guard error == .tryAgain else { throw error }
        }
    }
}
