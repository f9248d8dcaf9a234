import HairpinEngine
import HairpinTransport
import HairpinWire

/// A small redis: the commands tutorials use, over RESP.
final class RedisServer: Program {
    private let port: UInt16
    private var listener: SocketID?
    private var connections: [(socket: SocketID, input: [UInt8], output: [UInt8])] = []
    /// Looked up by key; listed only sorted.
    private var values: [String: String] = [:]
    private var lists: [String: [String]] = [:]

    init(port: UInt16) { self.port = port }

    static func port(_ arguments: [String]) -> UInt16 { arguments.drop { $0 != "--port" }.dropFirst().first.flatMap { UInt16($0) } ?? 6379 }

    func resume(_ system: any SystemCalls) -> Suspension {
        if listener == nil {
            do throws(Errno) {
                let socket = try system.socket(.stream)
                listener = socket
                try system.setOption(socket, .reuseAddress(true))
                try system.bind(socket, SocketAddress(.any, port))
                try system.listen(socket, backlog: 511)
            } catch {
                system.writeOutput(
                    "# Warning: Could not create server TCP listening socket *:\(port): bind: \(error)\n# Failed listening on port \(port) (tcp), aborting.\n")
                return .exit(1)
            }
            system.writeOutput("* Ready to accept connections tcp\n")
        }
        while let (socket, _) = try? system.accept(listener!) {
            try? system.setOption(socket, .noDelay(true))
            connections.append((socket, [], []))
        }
        for index in connections.indices { serve(index, system) }
        connections.removeAll { $0.socket == .none }
        return .wait(WaitSet(sockets: [(listener!, .readable)] + connections.map { ($0.socket, $0.output.isEmpty ? [.readable, .error] : [.writable, .error]) }))
    }

    private func serve(_ index: Int, _ system: any SystemCalls) {
        let socket = connections[index].socket
        do throws(Errno) {
            while true {
                while !connections[index].output.isEmpty { connections[index].output.removeFirst(try system.send(socket, connections[index].output[...])) }
                if let (words, used) = RESP.command(connections[index].input[...]) {
                    connections[index].input.removeFirst(used)
                    if words.isEmpty { continue }
                    system.compute(.microseconds(10))
                    connections[index].output += Array(reply(words).utf8)
                    if words[0].uppercased() == "QUIT" { break }
                    continue
                }
                let bytes = try system.receive(socket, 16384)
                if bytes.isEmpty { break }
                connections[index].input += bytes
                if connections[index].input.count > 1 << 20 { break }
            }
            if !connections[index].output.isEmpty { _ = try system.send(socket, connections[index].output[...]) }
        } catch {
            if error == .tryAgain { return }
        }
        system.close(socket)
        connections[index].socket = .none
    }

    private func reply(_ words: [String]) -> String {
        func bulk(_ text: String?) -> String { text.map { "$\($0.utf8.count)\r\n\($0)\r\n" } ?? "$-1\r\n" }
        func array(_ items: [String]) -> String { "*\(items.count)\r\n" + items.map { bulk($0) }.joined() }
        let name = words[0].uppercased()
        let rest = Array(words.dropFirst())
        let arity: [(String, Int)] = [
            ("GET", 1), ("SET", 2), ("INCR", 1), ("DECR", 1), ("INCRBY", 2), ("DEL", 1), ("EXISTS", 1), ("ECHO", 1), ("APPEND", 2), ("RPUSH", 2), ("LPUSH", 2),
            ("LRANGE", 3), ("LLEN", 1), ("KEYS", 1),
        ]
        if let needed = arity.first(where: { $0.0 == name })?.1, rest.count < needed { return "-ERR wrong number of arguments for '\(name.lowercased())' command\r\n" }
        switch name {
        case "PING": return rest.first.map { bulk($0) } ?? "+PONG\r\n"
        case "ECHO": return bulk(rest[0])
        case "SET":
            values[rest[0]] = rest[1]
            return "+OK\r\n"
        case "GET": return bulk(values[rest[0]])
        case "INCR", "DECR", "INCRBY":
            guard let number = Int64(values[rest[0]] ?? "0"), let step = name == "INCRBY" ? Int64(rest[1]) : name == "INCR" ? 1 : -1 else {
                return "-ERR value is not an integer or out of range\r\n"
            }
            values[rest[0]] = String(number &+ step)
            return ":\(number &+ step)\r\n"
        case "APPEND":
            values[rest[0], default: ""] += rest[1]
            return ":\(values[rest[0]]!.utf8.count)\r\n"
        case "DEL":
            let count = rest.reduce(0) { $0 + (values.removeValue(forKey: $1) != nil || lists.removeValue(forKey: $1) != nil ? 1 : 0) }
            return ":\(count)\r\n"
        case "EXISTS": return ":\(rest.reduce(0) { $0 + (values[$1] != nil || lists[$1] != nil ? 1 : 0) })\r\n"
        case "KEYS": return array((Array(values.keys) + Array(lists.keys)).sorted().filter { Pattern.matches(rest[0], $0) })
        case "RPUSH", "LPUSH":
            for item in rest.dropFirst() { if name == "RPUSH" { lists[rest[0], default: []].append(item) } else { lists[rest[0], default: []].insert(item, at: 0) } }
            return ":\(lists[rest[0]]?.count ?? 0)\r\n"
        case "LLEN": return ":\(lists[rest[0]]?.count ?? 0)\r\n"
        case "LRANGE":
            let list = lists[rest[0]] ?? []
            guard let a = Int(rest[1]), let b = Int(rest[2]) else { return "-ERR value is not an integer or out of range\r\n" }
            let first = max(0, a < 0 ? list.count + a : a)
            let last = min(list.count - 1, b < 0 ? list.count + b : b)
            return array(first <= last ? Array(list[first...last]) : [])
        case "DBSIZE": return ":\(values.count + lists.count)\r\n"
        case "FLUSHALL", "FLUSHDB":
            values = [:]
            lists = [:]
            return "+OK\r\n"
        case "QUIT", "SELECT", "CLIENT", "AUTH": return "+OK\r\n"
        case "INFO": return bulk("# Server\r\nredis_version:7.2.4\r\ntcp_port:\(port)\r\n# Replication\r\nrole:master\r\n")
        case "COMMAND", "CONFIG": return "*0\r\n"
        default: return "-ERR unknown command '\(words[0])', with args beginning with: \(rest.prefix(3).map { "'\($0)' " }.joined())\r\n"
        }
    }
}

/// The framing of redis, as far as requests and simple replies need it.
enum RESP {
    /// A whole request and its length: an array of bulk strings, or a line of words. An empty list for an empty line.
    static func command(_ bytes: ArraySlice<UInt8>) -> ([String], Int)? {
        var position = bytes.startIndex
        func line() -> String? {
            guard let end = bytes[position...].firstIndex(of: 10) else { return nil }
            defer { position = end + 1 }
            return text(bytes[position..<end].filter { $0 != 13 })
        }
        guard let first = line() else { return nil }
        guard first.hasPrefix("*") else { return (first.split(separator: " ").map(String.init), position - bytes.startIndex) }
        var words: [String] = []
        for _ in 0..<min(max(0, Int(first.dropFirst()) ?? 0), 1024) {
            guard let size = line(), size.hasPrefix("$"), let count = Int(size.dropFirst()), count >= 0, position + count + 2 <= bytes.endIndex else { return nil }
            words.append(text(bytes[position..<(position + count)]))
            position += count + 2
        }
        return (words, position - bytes.startIndex)
    }

    /// A reply as redis-cli prints it, and its length.
    static func reply(_ bytes: ArraySlice<UInt8>) -> (String, Int)? {
        guard let end = bytes.firstIndex(of: 10) else { return nil }
        let head = text(bytes[bytes.startIndex..<end].filter { $0 != 13 })
        let used = end + 1 - bytes.startIndex
        let content = String(head.dropFirst())
        switch head.first {
        case "+": return (content, used)
        case "-": return ("(error) \(content)", used)
        case ":": return ("(integer) \(content)", used)
        case "$":
            guard let count = Int(content), count >= 0 else { return ("(nil)", used) }
            guard bytes.count >= used + count + 2 else { return nil }
            return ("\"\(text(bytes.dropFirst(used).prefix(count)))\"", used + count + 2)
        case "*":
            var total = used
            var items: [String] = []
            for _ in 0..<max(0, Int(content) ?? 0) {
                guard let (item, count) = reply(bytes.dropFirst(total)) else { return nil }
                items.append(item)
                total += count
            }
            return (items.isEmpty ? "(empty array)" : items.enumerated().map { "\($0.offset + 1)) \($0.element)" }.joined(separator: "\n"), total)
        default: return (head, used)
        }
    }
}

/// redis-cli -h HOST -p PORT COMMAND…
final class RedisClient: Program {
    private let options: Options
    private var resolver: Resolver?
    private var socket: SocketID?
    private var isConnected = false
    private var input: [UInt8] = []
    init(_ arguments: [String]) { options = Options(arguments, flags: "", values: "hpan", stopsAtOperand: true) }

    func resume(_ system: any SystemCalls) -> Suspension {
        let host = options["h"] ?? "127.0.0.1"
        let port = options["p"].flatMap { UInt16($0) } ?? 6379
        func refuse(_ reason: String) -> Suspension {
            system.writeError("Could not connect to Redis at \(host):\(port): \(reason)\n")
            return .exit(1)
        }
        if socket == nil {
            if resolver == nil { resolver = Resolver(host) }
            switch resolver!.advance(system) {
            case .wait(let set): return .wait(set)
            case .failed(let failure): return refuse(failure.message)
            case .done(let addresses):
                do throws(Errno) {
                    socket = try system.socket(.stream)
                    try system.connect(socket!, SocketAddress(addresses[0], port))
                } catch { if error != .inProgress, error != .tryAgain { return refuse(error.description) } }
            }
        }
        if !isConnected {
            if let error = system.takeError(socket!) { return refuse(error.description) }
            guard system.readiness(socket!).contains(.writable) else { return .wait(WaitSet(sockets: [(socket!, [.writable, .error])])) }
            isConnected = true
            let words = options.operands.isEmpty ? ["PING"] : options.operands
            let request = "*\(words.count)\r\n" + words.map { "$\($0.utf8.count)\r\n\($0)\r\n" }.joined()
            do throws(Errno) { _ = try system.send(socket!, Array(request.utf8)[...]) } catch { return refuse(error.description) }
        }
        while true {
            do throws(Errno) {
                let bytes = try system.receive(socket!, 16384)
                input += bytes
                if let (text, _) = RESP.reply(input[...]) {
                    system.writeOutput(text + "\n")
                    system.close(socket!)
                    return .exit(0)
                }
                if bytes.isEmpty {
                    system.writeError("Error: Server closed the connection\n")
                    return .exit(1)
                }
            } catch {
                if error == .tryAgain { return .wait(WaitSet(sockets: [(socket!, [.readable, .error])])) }
                system.writeError("Error: \(error)\n")
                return .exit(1)
            }
        }
    }
}
