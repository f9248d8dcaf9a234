import HairpinEngine
import HairpinPrograms
import HairpinTransport
import HairpinWire

/// Answers every TCP connection and every datagram with the pod's name.
final class NameServer: Program {
    private let name: [UInt8]
    private let ports: [(kind: SocketKind, port: UInt16)]
    private var sockets: [(kind: SocketKind, socket: SocketID)]?

    init(name: String, ports: [(kind: SocketKind, port: UInt16)]) {
        self.name = Array(name.utf8)
        self.ports = ports
    }

    func resume(_ system: any SystemCalls) -> Suspension {
        if sockets == nil {
            do throws(Errno) { sockets = try open(system) } catch { return .exit(1) }
        }
        for (kind, socket) in sockets ?? [] {
            if kind == .stream {
                while let (connection, _) = try? system.accept(socket) {
                    _ = try? system.send(connection, name[...])
                    system.close(connection)
                }
            } else {
                while let message = try? system.receiveMessage(socket) { try? system.send(socket, name, to: message.source) }
            }
        }
        return .wait(WaitSet(sockets: (sockets ?? []).map { ($0.socket, .readable) }))
    }

    private func open(_ system: any SystemCalls) throws(Errno) -> [(kind: SocketKind, socket: SocketID)] {
        var result: [(kind: SocketKind, socket: SocketID)] = []
        for (kind, port) in ports {
            let socket = try system.socket(kind)
            try system.bind(socket, SocketAddress(.any, port))
            if kind == .stream { try system.listen(socket, backlog: 128) }
            result.append((kind, socket))
        }
        return result
    }
}

/// Asks a `NameServer` once and prints its answer: exit status 0, or 1 if none came in time.
final class NameProbe: Program {
    private let kind: SocketKind
    private let target: SocketAddress
    private let patience: Duration
    private var socket: SocketID?
    private var deadline = Instant.zero
    private var answer: [UInt8] = []

    init(_ kind: SocketKind, to target: SocketAddress, patience: Duration) {
        self.kind = kind
        self.target = target
        self.patience = patience
    }

    func resume(_ system: any SystemCalls) -> Suspension {
        guard let socket else {
            deadline = system.now + patience
            guard let new = try? system.socket(kind) else { return .exit(2) }
            self.socket = new
            do throws(Errno) {
                try system.connect(new, target)
            } catch where error != .inProgress && error != .tryAgain {
                return .exit(2)
            } catch {}
            if kind == .datagram, (try? system.send(new, Array("name?".utf8)[...])) == nil { return .exit(2) }
            return .wait(WaitSet(sockets: [(new, [.readable, .error])], deadline: deadline))
        }
        do throws(Errno) {
            while true {
                let bytes = try system.receive(socket, 256)
                if bytes.isEmpty { return end(system) }
                answer += bytes
                if kind == .datagram { return end(system) }
            }
        } catch {
            if error != .tryAgain { return end(system) }
        }
        if system.takeError(socket) != nil || system.now >= deadline { return end(system) }
        return .wait(WaitSet(sockets: [(socket, [.readable, .error])], deadline: deadline))
    }

    private func end(_ system: any SystemCalls) -> Suspension {
        if let socket { system.close(socket) }
        if answer.isEmpty { return .exit(1) }
        system.writeOutput(String(decoding: answer, as: UTF8.self))
        return .exit(0)
    }
}
