import HairpinEngine
import HairpinTransport
import HairpinWire

/// `netserver`: answers netperf's requests. It stays in the foreground, as with -D; the control connection carries a line of text each way.
final class NetServer: Program {
    static let defaultPort: UInt16 = 12_865
    private let options: Options
    private var listener: SocketID?
    /// Control connections, with what has come of a line.
    private var controls: [(socket: SocketID, line: [UInt8])] = []
    private var tests: [(listener: SocketID, request: Int, response: Int, closes: Bool)] = []
    private var peers: [(socket: SocketID, test: Int, received: Int, owed: Int, isAnswered: Bool)] = []
    fileprivate static let filler = [UInt8](repeating: 0x6e, count: 65_536)

    init(_ arguments: [String]) { options = Options(arguments, flags: "Df46hV", values: "pLv") }

    func resume(_ system: any SystemCalls) -> Suspension {
        if listener == nil {
            let port = options["p"].map { UInt16($0) } ?? NetServer.defaultPort
            guard let port, port > 0 else {
                system.writeError("netserver: the port \(options["p"] ?? "") is none from 1 to 65535\n")
                return .exit(1)
            }
            guard let socket = listen(port, system) else {
                system.writeError("Unable to start netserver with  'IN(6)ADDR_ANY' port '\(port)' and family AF_UNSPEC\n")
                return .exit(1)
            }
            listener = socket
            system.writeOutput("Starting netserver with host 'IN(6)ADDR_ANY' port '\(port)' and family AF_UNSPEC\n")
        }
        guard let listener else { return .exit(1) }
        while let (socket, _) = try? system.accept(listener) { controls.append((socket, [])) }
        for index in controls.indices.reversed() { serve(index, system) }
        for index in tests.indices {
            while let (socket, _) = try? system.accept(tests[index].listener) {
                try? system.setOption(socket, .noDelay(true))
                peers.append((socket, index, 0, 0, false))
            }
        }
        for index in peers.indices.reversed() { answer(index, system) }
        var set = WaitSet(sockets: [(listener, .readable)])
        for control in controls { set.sockets.append((control.socket, .readable)) }
        for test in tests { set.sockets.append((test.listener, .readable)) }
        for peer in peers { set.sockets.append((peer.socket, peer.owed > 0 ? [.readable, .writable] : .readable)) }
        return .wait(set)
    }

    private func listen(_ port: UInt16, _ system: any SystemCalls) -> SocketID? {
        do throws(Errno) {
            let socket = try system.socket(.stream)
            try system.setOption(socket, .reuseAddress(true))
            try system.bind(socket, SocketAddress(.any, port))
            try system.listen(socket, backlog: 128)
            return socket
        } catch { return nil }
    }

    /// `REQUEST RESPONSE CLOSES`: bytes, and 1 if a connection is over with its first response; the answer is the port of the test.
    private func serve(_ index: Int, _ system: any SystemCalls) {
        let socket = controls[index].socket
        do throws(Errno) {
            while true {
                let bytes = try system.receive(socket, 256)
                controls[index].line += bytes
                if bytes.isEmpty || controls[index].line.count > 256 { break }
                guard controls[index].line.last == 10 else { continue }
                let words = text(controls[index].line).split(whereSeparator: \.isWhitespace).map { Int($0) }
                controls[index].line = []
                guard words.count == 3, let closes = words[2], let request = words[0], let response = words[1], 1...65_536 ~= request, 1...65_536 ~= response,
                    let data = listen(0, system), let address = system.localAddress(data)
                else {
                    _ = try system.send(socket, Array("0\n".utf8)[...])
                    continue
                }
                tests.append((data, request, response, closes == 1))
                _ = try system.send(socket, Array("\(address.port)\n".utf8)[...])
            }
        } catch {
            if error == .tryAgain { return }
        }
        // The client is done, and its connections with it.
        system.close(socket)
        controls.remove(at: index)
    }

    private func answer(_ index: Int, _ system: any SystemCalls) {
        let test = tests[peers[index].test]
        do throws(Errno) {
            while true {
                while peers[index].owed > 0 {
                    peers[index].owed -= try system.send(peers[index].socket, NetServer.filler[..<min(peers[index].owed, NetServer.filler.count)])
                }
                // The server ends it, so that what is left of the connection is not at the client, which would soon be out of ports.
                if test.closes, peers[index].isAnswered { break }
                let count = try system.receive(peers[index].socket, test.request - peers[index].received).count
                if count == 0 { break }
                peers[index].received += count
                if peers[index].received == test.request {
                    peers[index].received = 0
                    peers[index].owed = test.response
                    peers[index].isAnswered = true
                }
            }
        } catch {
            if error == .tryAgain { return }
        }
        system.close(peers[index].socket)
        peers.remove(at: index)
    }
}

/// `netperf -H HOST -t TCP_RR [-l SECONDS] [-- -r REQUEST,RESPONSE] [-o NAMES | -k NAMES]`: one transaction at a time on one connection, or with
/// TCP_CRR a connection for each, in netperf 2.7's form.
final class NetPerf: Program {
    private let options: Options
    private let own: Options
    private let test: String
    private var resolver: Resolver?
    private var address = IPv4Address.any
    private var port: UInt16 = NetServer.defaultPort
    private var seconds = 10
    private var request = 1, response = 1
    private var phase = Phase.start
    private enum Phase { case start, resolving, control, asking, connecting, sending, receiving }
    private var control: SocketID?, data: SocketID?
    private var target = SocketAddress(.any, 0)
    private var reply: [UInt8] = []
    private var progress = 0
    private var startedAt = Instant.zero, transactionAt = Instant.zero
    private var isStarted = false
    /// Of each transaction, in ns.
    private var latencies: [Int] = []
    private var retransmits = 0

    init(_ arguments: [String]) {
        let split = arguments.firstIndex(of: "--") ?? arguments.endIndex
        options = Options(Array(arguments[..<split]), flags: "46V", values: "HptlPDfv")
        own = Options(Array(arguments[split...].dropFirst()), flags: "DNC", values: "rokmMsSb")
        test = options["t"] ?? "TCP_STREAM"
    }

    func resume(_ system: any SystemCalls) -> Suspension {
        while true {
            switch phase {
            case .start:
                if let problem = check() {
                    system.writeError("netperf: \(problem)\n")
                    return .exit(1)
                }
                resolver = Resolver(options["H"] ?? "localhost")
                phase = .resolving
            case .resolving:
                switch resolver!.advance(system) {
                case .wait(let set): return .wait(set)
                case .failed(let failure): return fail("could not resolve remote '\(options["H"] ?? "localhost")': \(failure.message)", system)
                case .done(let addresses):
                    address = addresses[0]
                    control = open(SocketAddress(address, port), system)
                    if control == nil { return fail("could not establish the control connection to \(address) port \(port)", system) }
                    phase = .control
                }
            case .control:
                if let suspension = connected(control!, system) { return suspension }
                _ = try? system.send(control!, Array("\(request) \(response) \(test == "TCP_CRR" ? 1 : 0)\n".utf8)[...])
                phase = .asking
            case .asking:
                do throws(Errno) {
                    let bytes = try system.receive(control!, 64)
                    reply += bytes
                    if bytes.isEmpty { return fail("the control connection was closed", system) }
                } catch {
                    if error == .tryAgain { return .wait(WaitSet(sockets: [(control!, .readable)])) }
                    return fail("control connection: \(error)", system)
                }
                guard reply.last == 10 else { continue }
                guard let number = UInt16(trimmed(text(reply))), number > 0 else { return fail("the remote refused the test", system) }
                target = SocketAddress(address, number)
                phase = .connecting
            case .connecting:
                if data == nil {
                    if !isStarted, test == "TCP_CRR" { begin(system) }
                    transactionAt = system.now
                    data = open(target, system)
                    if data == nil { return fail("could not connect the data socket", system) }
                }
                if let suspension = connected(data!, system) { return suspension }
                try? system.setOption(data!, .noDelay(true))
                if !isStarted { begin(system) }
                if test == "TCP_RR" { transactionAt = system.now }
                progress = 0
                phase = .sending
            case .sending, .receiving:
                if let suspension = converse(system) { return suspension }
            }
        }
    }

    private func check() -> String? {
        if let unknown = options.unknown ?? own.unknown { return "invalid option \(unknown)" }
        guard test == "TCP_RR" || test == "TCP_CRR" else { return "the test \(test) is not modelled; there are TCP_RR and TCP_CRR (iperf3 measures streams)" }
        if let word = options["p"] {
            guard let value = UInt16(word), value > 0 else { return "the port \(word) is none from 1 to 65535" }
            port = value
        }
        if let word = options["l"] {
            guard let value = Int(word), 1...86_400 ~= value else { return "the length \(word) is not from 1 to 86400 seconds" }
            seconds = value
        }
        if let word = own["r"] {
            let parts = word.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
            guard let first = parts.first ?? nil, let last = parts.last ?? nil, parts.count <= 2, 1...65_536 ~= first, 1...65_536 ~= last else {
                return "-r \(word): sizes of request and response are from 1 to 65536"
            }
            (request, response) = (first, last)
        }
        for name in selectors where NetPerf.titles[name] == nil {
            return "the output \(name) is not modelled; there are \(NetPerf.titles.keys.sorted().joined(separator: ", "))"
        }
        return nil
    }

    private var selectors: [String] { (own["o"] ?? own["k"] ?? "").split(separator: ",").map { $0.uppercased() } }

    private func fail(_ text: String, _ system: any SystemCalls) -> Suspension {
        system.writeError("netperf: \(text)\n")
        return .exit(1)
    }

    private func open(_ address: SocketAddress, _ system: any SystemCalls) -> SocketID? {
        do throws(Errno) {
            let socket = try system.socket(.stream)
            do throws(Errno) { try system.connect(socket, address) } catch {
                guard error == .inProgress || error == .tryAgain else { throw error }
            }
            return socket
        } catch { return nil }
    }

    /// Nil once the connection is up.
    private func connected(_ socket: SocketID, _ system: any SystemCalls) -> Suspension? {
        if let error = system.takeError(socket) { return fail("\(socket == control ? "control" : "data") connection: \(error)", system) }
        return system.readiness(socket).contains(.writable) ? nil : .wait(WaitSet(sockets: [(socket, [.writable, .error])]))
    }

    private func begin(_ system: any SystemCalls) {
        isStarted = true
        startedAt = system.now
    }

    private func converse(_ system: any SystemCalls) -> Suspension? {
        guard let socket = data else { return .exit(1) }
        let end = startedAt + .seconds(Int64(seconds))
        do throws(Errno) {
            if phase == .sending {
                while progress < request { progress += try system.send(socket, NetServer.filler[..<(request - progress)]) }
                progress = 0
                phase = .receiving
            }
            // With TCP_CRR the end of the connection is part of the transaction.
            while progress < response || test == "TCP_CRR" {
                let count = try system.receive(socket, max(1, response - progress)).count
                if count == 0, progress == response { break }
                if count == 0 { return fail("the remote closed the data connection", system) }
                progress += count
            }
        } catch {
            guard error == .tryAgain else { return fail("data connection: \(error)", system) }
            if system.now >= end { return report(system, until: end) }
            return .wait(WaitSet(sockets: [(socket, phase == .sending ? .writable : .readable)], deadline: end))
        }
        progress = 0
        retransmits = system.tcpInformation(socket)?.total_retrans ?? 0
        if system.now > end { return report(system, until: end) }
        latencies.append(Int((system.now - transactionAt).nanoseconds))
        if test == "TCP_CRR" {
            system.close(socket)
            data = nil
            phase = .connecting
        } else {
            transactionAt = system.now
            phase = .sending
        }
        return system.now >= end ? report(system, until: end) : nil
    }

    // MARK: Report

    private static let titles = [
        "THROUGHPUT": "Throughput", "THROUGHPUT_UNITS": "Throughput Units", "TRANSACTION_RATE": "Transaction Rate Tran/s",
        "RT_LATENCY": "Round Trip Latency usec/tran", "MIN_LATENCY": "Minimum Latency Microseconds", "MAX_LATENCY": "Maximum Latency Microseconds",
        "MEAN_LATENCY": "Mean Latency Microseconds", "STDDEV_LATENCY": "Stddev Latency Microseconds", "P50_LATENCY": "50th Percentile Latency Microseconds",
        "P90_LATENCY": "90th Percentile Latency Microseconds", "P99_LATENCY": "99th Percentile Latency Microseconds", "ELAPSED_TIME": "Elapsed Time (sec)",
        "REQUEST_SIZE": "Request Size Bytes", "RESPONSE_SIZE": "Response Size Bytes", "PROTOCOL": "Protocol", "LOCAL_TRANSPORT_RETRANS": "Local Transport Retransmissions",
    ]

    private func value(_ name: String, _ sorted: [Int], _ elapsed: Double) -> String {
        let count = sorted.count
        let rate = elapsed > 0 ? Double(count) / elapsed : 0
        let mean = count > 0 ? Double(sorted.reduce(0, +)) / Double(count) / 1000 : 0
        /// The least latency that so many hundredths of the transactions do not exceed, in whole µs.
        func percentile(_ share: Int) -> String { count == 0 ? "0" : String(sorted[max(0, (count * share + 99) / 100 - 1)] / 1000) }
        switch name {
        case "THROUGHPUT", "TRANSACTION_RATE": return fixed(rate, name == "THROUGHPUT" ? 2 : 3)
        case "THROUGHPUT_UNITS": return "Trans/s"
        case "RT_LATENCY": return fixed(rate > 0 ? 1e6 / rate : 0, 3)
        case "MIN_LATENCY": return String((sorted.first ?? 0) / 1000)
        case "MAX_LATENCY": return String((sorted.last ?? 0) / 1000)
        case "MEAN_LATENCY": return fixed(mean, 2)
        case "STDDEV_LATENCY":
            var sum = 0.0
            for latency in sorted { sum += (Double(latency) / 1000 - mean) * (Double(latency) / 1000 - mean) }
            return fixed(count > 1 ? (sum / Double(count - 1)).squareRoot() : 0, 2)
        case "P50_LATENCY": return percentile(50)
        case "P90_LATENCY": return percentile(90)
        case "P99_LATENCY": return percentile(99)
        case "ELAPSED_TIME": return fixed(elapsed, 2)
        case "REQUEST_SIZE": return String(request)
        case "RESPONSE_SIZE": return String(response)
        case "PROTOCOL": return "TCP"
        default: return String(retransmits)
        }
    }

    private func report(_ system: any SystemCalls, until end: Instant) -> Suspension {
        let elapsed = Double((max(end, system.now) - startedAt).nanoseconds) / 1e9
        let sorted = latencies.sorted()
        let names = selectors
        let title = test == "TCP_CRR" ? "TCP Connect/Request/Response TEST" : "TCP REQUEST/RESPONSE TEST"
        if options["P"] != "0" {
            system.writeOutput("MIGRATED \(title) from 0.0.0.0 (0.0.0.0) port 0 AF_INET to \(options["H"] ?? "localhost") () port 0 AF_INET : first burst 0\n")
        }
        if own["k"] != nil {
            for name in names { system.writeOutput("\(name)=\(value(name, sorted, elapsed))\n") }
        } else if own["o"] != nil {
            if options["P"] != "0" { system.writeOutput(names.map { NetPerf.titles[$0] ?? $0 }.joined(separator: ",") + "\n") }
            system.writeOutput(names.map { value($0, sorted, elapsed) }.joined(separator: ",") + "\n")
        } else {
            if options["P"] != "0" {
                system.writeOutput("Local /Remote\nSocket Size   Request  Resp.   Elapsed  Trans.\nSend   Recv   Size     Size    Time     Rate         \n")
                system.writeOutput("bytes  Bytes  bytes    bytes   secs.    per sec   \n\n")
            }
            let sizes = "\(padded(size("tcp_wmem", 16_384, system), 6)) \(padded(size("tcp_rmem", 131_072, system), 6))"
            let transfer = "\(padded(String(request), 8)) \(padded(String(response), 7))"
            let rate = padded(value("THROUGHPUT", sorted, elapsed), 10)
            system.writeOutput("\(sizes) \(transfer) \(padded(fixed(elapsed, 2), 8)) \(rate)\n\(sizes)\n")
        }
        for socket in [control, data] { if let socket { system.close(socket) } }
        return .exit(0)
    }

    /// The second number of `tcp_rmem` or `tcp_wmem`: what a socket begins with.
    private func size(_ name: String, _ usual: Int, _ system: any SystemCalls) -> String {
        let words = (system.sysctl("net.ipv4.\(name)") ?? "").split(whereSeparator: \.isWhitespace)
        return words.count == 3 ? String(words[1]) : String(usual)
    }
}
