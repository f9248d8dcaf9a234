import HairpinEngine
import HairpinTransport
import HairpinWire

/// How a DNS server answers a question.
public protocol DNSBehaviour: AnyObject {
    func answer(_ query: DNSMessage, _ system: any SystemCalls) -> DNSMessage
    /// As above, where other servers may have to be asked first.
    func begin(_ query: DNSMessage, _ system: any SystemCalls) -> DNSStep
    /// Those servers; none by itself.
    var upstreamServers: [IPv4Address] { get }
    var compressesNames: Bool { get }
}

public enum DNSStep {
    case answer(DNSMessage)
    /// This is to be asked upstream; what comes of it, or nil if nobody answers, makes the answer.
    case upstream(DNSMessage, (DNSMessage?) -> DNSMessage)
}

extension DNSBehaviour {
    public func begin(_ query: DNSMessage, _ system: any SystemCalls) -> DNSStep { .answer(answer(query, system)) }
    public var upstreamServers: [IPv4Address] { [] }
}

/// A DNS server on one port of UDP and TCP (RFC 1035 §4.2, RFC 7766).
///
/// An answer that is too long for its datagram goes out with TC set and as many records as fit; over TCP it goes out whole.
public final class DNSServer: Program {
    private let behaviour: any DNSBehaviour
    private let port: UInt16
    private var socket: SocketID?
    private var listener: SocketID?
    private var clients: [Client] = []
    private var forwarder: DNSForwarder?
    /// Questions that wait for upstream, by number.
    private var waiting: [Int: Waiting] = [:]
    private var asked = 0

    private struct Waiting {
        var asker: Asker
        var limit: Int
        var finish: (DNSMessage?) -> DNSMessage
    }
    private enum Asker {
        case datagram(SocketAddress)
        case client(SocketID)
        var isDatagram: Bool { if case .datagram = self { true } else { false } }
    }

    /// Of a TCP client: how long it may say nothing (CoreDNS: 3 s for the first query, then 10 s), and how many there may be.
    private static let firstQuery = Duration.seconds(3), idle = Duration.seconds(10), clientLimit = 1024

    private struct Client {
        let socket: SocketID
        var input: [UInt8] = []
        var output: [UInt8] = []
        var deadline: Instant
        var isDone = false
    }

    public init(_ behaviour: any DNSBehaviour, port: UInt16 = 53) { (self.behaviour, self.port) = (behaviour, port) }

    public func resume(_ system: any SystemCalls) -> Suspension {
        if socket == nil, let status = open(system) { return .exit(status) }
        if forwarder == nil, !behaviour.upstreamServers.isEmpty { forwarder = DNSForwarder(behaviour.upstreamServers) }
        for (number, answer) in forwarder?.resume(system) ?? [] { if let waiting = waiting.removeValue(forKey: number) { finish(waiting, answer, system) } }
        answerDatagrams(system)
        if let listener { accept(listener, system) }
        for index in clients.indices { serve(&clients[index], system) }
        var waits = forwarder?.waits ?? WaitSet()
        waits.sockets.append((socket!, .readable))
        if let listener { waits.sockets.append((listener, .readable)) }
        for client in clients where client.isDone { system.close(client.socket) }
        clients.removeAll(where: \.isDone)
        for client in clients {
            waits.sockets.append((client.socket, client.output.isEmpty ? .readable : [.readable, .writable]))
            waits.deadline = min(waits.deadline ?? client.deadline, client.deadline)
        }
        return .wait(waits)
    }

    private func open(_ system: any SystemCalls) -> Int32? {
        var proto = "udp"
        do throws(Errno) {
            let new = try system.socket(.datagram)
            socket = new
            try system.bind(new, SocketAddress(.any, port))
            proto = "tcp"
            let stream = try system.socket(.stream)
            listener = stream
            try system.setOption(stream, .reuseAddress(true))
            try system.bind(stream, SocketAddress(.any, port))
            try system.listen(stream, backlog: 4096)
        } catch {
            system.writeError("listen \(proto) :\(port): bind: \(error.description.lowercased())\n")
            return 1
        }
        return nil
    }

    // MARK: Datagrams

    private func answerDatagrams(_ system: any SystemCalls) {
        while true {
            do throws(Errno) {
                let message = try system.receiveMessage(socket!)
                guard let query = DNSMessage(parsing: message.bytes), !query.flags.contains(.response) else { continue }
                let limit = Int(max(512, query.ednsExtension?.payloadSize ?? 512))
                guard let reply = reply(to: query, limit: limit, .datagram(message.source), system) else { continue }
                try system.send(socket!, reply, to: message.source)
            } catch {
                if error == .tryAgain { return }
                // An ICMP error about an earlier answer: the next call goes on.
            }
        }
    }

    /// Nil where upstream is asked first.
    private func reply(to query: DNSMessage, limit: Int, _ asker: Asker, _ system: any SystemCalls) -> [UInt8]? {
        system.compute(ProcessorTime.nameLookup)
        switch behaviour.begin(query, system) {
        case .answer(let answer): return encoded(answer, limit: limit, isDatagram: asker.isDatagram)
        case .upstream(let question, let finish):
            asked += 1
            guard let forwarder else { return encoded(finish(nil), limit: limit, isDatagram: asker.isDatagram) }
            if let known = forwarder.ask(question, asked, system) { return encoded(finish(known), limit: limit, isDatagram: asker.isDatagram) }
            waiting[asked] = Waiting(asker: asker, limit: limit, finish: finish)
            return nil
        }
    }

    private func finish(_ waiting: Waiting, _ answer: DNSMessage?, _ system: any SystemCalls) {
        let reply = encoded(waiting.finish(answer), limit: waiting.limit, isDatagram: waiting.asker.isDatagram)
        switch waiting.asker {
        // An ICMP error about an earlier answer does not matter to this one.
        case .datagram(let address): do { try system.send(socket!, reply, to: address) } catch { try? system.send(socket!, reply, to: address) }
        case .client(let socket):
            guard let place = clients.firstIndex(where: { $0.socket == socket }) else { return }
            clients[place].output += DNSStream.framed(reply)
        }
    }

    private func encoded(_ answer: DNSMessage, limit: Int, isDatagram: Bool) -> [UInt8] {
        if behaviour.compressesNames {
            let bytes = answer.encoded()
            if bytes.count <= limit { return bytes }
        }
        var answer = answer
        return answer.fitted(in: limit, isDatagram: isDatagram)
    }

    // MARK: Connections

    private func accept(_ listener: SocketID, _ system: any SystemCalls) {
        while clients.count < DNSServer.clientLimit {
            guard let (socket, _) = try? system.accept(listener) else { return }
            clients.append(Client(socket: socket, deadline: system.now + DNSServer.firstQuery))
        }
    }

    private func serve(_ client: inout Client, _ system: any SystemCalls) {
        do throws(Errno) {
            while true {
                let bytes = try system.receive(client.socket, 65536)
                if bytes.isEmpty {
                    client.isDone = true
                    return
                }
                client.input += bytes
            }
        } catch {
            if error != .tryAgain {
                client.isDone = true
                return
            }
        }
        while client.input.count >= 2 {
            let length = Int(client.input[0]) << 8 | Int(client.input[1])
            guard client.input.count >= 2 + length else { break }
            let message = Array(client.input[2..<(2 + length)])
            client.input.removeFirst(2 + length)
            client.deadline = system.now + DNSServer.idle
            guard let query = DNSMessage(parsing: message), !query.flags.contains(.response) else {
                client.isDone = true
                return
            }
            if let reply = reply(to: query, limit: 65535, .client(client.socket), system) { client.output += DNSStream.framed(reply) }
        }
        while !client.output.isEmpty {
            do throws(Errno) {
                client.output.removeFirst(try system.send(client.socket, client.output[...]))
            } catch {
                if error != .tryAgain { client.isDone = true }
                break
            }
        }
        if system.now >= client.deadline { client.isDone = true }
    }
}
