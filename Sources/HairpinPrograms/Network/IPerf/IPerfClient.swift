import HairpinEngine
import HairpinTransport
import HairpinWire

/// `iperf3 -c HOST`: connects, says what is to be measured, sends or receives, and prints both sides' accounts.
final class IPerfClient: Program {
    private let options: IPerfOptions
    private let resolver: Resolver
    private var address = IPv4Address.any
    private var control: SocketID?
    private var test: IPerfTest?
    private var phase = Phase.resolving
    private enum Phase { case resolving, connecting, talking, results }
    /// Streams whose connection or cookie is not complete.
    private var opening: [(socket: SocketID, isConnected: Bool)] = []
    private var isCreating = false
    private var hasEnded = false
    private var own = JSON.null
    private var other = JSON.null
    private var start: [(String, JSON)] = []

    init(_ options: IPerfOptions) {
        self.options = options
        resolver = Resolver(options.host)
    }

    func resume(_ system: any SystemCalls) -> Suspension {
        while true {
            switch phase {
            case .resolving:
                switch resolver.advance(system) {
                case .wait(let set): return .wait(set)
                case .failed(let failure): return fail("unable to connect to server: \(failure.message)", system)
                case .done(let addresses):
                    address = addresses[0]
                    if let suspension = connect(system) { return suspension }
                    phase = .connecting
                }
            case .connecting:
                guard let control else { return .exit(1) }
                if let error = system.takeError(control) {
                    return fail("unable to connect to server - server may have stopped running or use a different port, firewall issue, etc.: \(error)", system)
                }
                guard system.readiness(control).contains(.writable) else { return .wait(WaitSet(sockets: [(control, [.writable, .error])])) }
                begin(control, system)
                phase = .talking
            case .talking, .results:
                guard let test else { return .exit(1) }
                test.exchange(system)
                if let suspension = follow(test, system) { return suspension }
                if test.isRunning, !hasEnded {
                    _ = test.transfer(system)
                    if test.hasReachedEnd(system.now) {
                        hasEnded = true
                        test.finish(system)
                        test.say(IPerf.State.testEnd)
                        test.exchange(system)
                    }
                }
                var extra: [(socket: SocketID, interest: Readiness)] = []
                if isCreating {
                    for entry in opening { extra.append((entry.socket, test.parameters.isUDP || entry.isConnected ? .readable : [.writable, .error])) }
                }
                return .wait(test.waitSet(extra, system))
            }
        }
    }

    private func fail(_ text: String, _ system: any SystemCalls) -> Suspension {
        if options.json {
            system.writeOutput(JSON.make([("start", .make(start)), ("intervals", .array([])), ("end", .make([])), ("error", .string("error - " + text))]).pretty() + "\n")
        } else {
            system.writeError("iperf3: error - \(text)\n")
        }
        test?.close(system)
        return .exit(1)
    }

    private func connect(_ system: any SystemCalls) -> Suspension? {
        do throws(Errno) {
            let socket = try system.socket(.stream)
            control = socket
            if let bind = options.bindAddress.flatMap({ IPv4Address($0) }) { try system.bind(socket, SocketAddress(bind, 0)) }
            try system.connect(socket, SocketAddress(address, options.port))
        } catch {
            if error == .inProgress || error == .tryAgain { return nil }
            return fail("unable to connect to server: \(error)", system)
        }
        return nil
    }

    private func begin(_ control: SocketID, _ system: any SystemCalls) {
        var parameters = options.parameters
        if parameters.length == 0 { parameters.length = system.tcpInformation(control)?.snd_mss ?? 1448 }
        let test = IPerfTest(control: control, parameters: parameters, options: options, isClient: true)
        let letters = Array("abcdefghijklmnopqrstuvwxyz234567".utf8)
        for _ in 0..<IPerf.cookieSize - 1 { test.cookie.append(letters[Int(system.random() % UInt32(letters.count))]) }
        test.cookie.append(0)
        test.say(bytes: test.cookie)
        self.test = test
        test.write("Connecting to host \(options.host), port \(options.port)\n", system)
        if parameters.isReverse { test.write("Reverse mode, remote host \(options.host) is sending\n", system) }
    }

    /// Does what the server's states ask for; nil if the test goes on.
    private func follow(_ test: IPerfTest, _ system: any SystemCalls) -> Suspension? {
        if isCreating, let suspension = open(test, system) { return suspension }
        while true {
            if phase == .results {
                switch test.nextJSON() {
                case .waiting: break
                case .wrong: return fail("unable to receive results", system)
                case .value(let json):
                    other = json
                    phase = .talking
                    continue
                }
            } else if let state = test.nextState() {
                switch state {
                case IPerf.State.parameterExchange: test.say(test.parameters.json)
                case IPerf.State.createStreams:
                    if let suspension = create(test, system) { return suspension }
                case IPerf.State.testStart: describe(test, system)
                case IPerf.State.testRunning: test.begin(system)
                case IPerf.State.exchangeResults:
                    own = test.results(system)
                    test.say(own)
                    phase = .results
                case IPerf.State.displayResults: return display(test, system)
                case IPerf.State.accessDenied: return fail("the server is busy running a test. try again later", system)
                case IPerf.State.serverTerminate: return fail("the server has terminated", system)
                case IPerf.State.serverError: return fail("the server could not run the test", system)
                default: return fail("received an unknown control message (ensure other side is iperf3 and not iperf)", system)
                }
                test.exchange(system)
                continue
            }
            return test.isClosed ? fail("control socket has closed unexpectedly", system) : nil
        }
    }

    private func create(_ test: IPerfTest, _ system: any SystemCalls) -> Suspension? {
        isCreating = true
        do throws(Errno) {
            for _ in 0..<test.parameters.streams {
                let socket = try system.socket(test.parameters.isUDP ? .datagram : .stream)
                opening.append((socket, false))
                try test.prepare(socket, system)
                do throws(Errno) { try system.connect(socket, SocketAddress(address, options.port)) } catch {
                    guard error == .inProgress else { throw error }
                }
                if test.parameters.isUDP { _ = try system.send(socket, IPerf.datagramHello[...]) }
            }
        } catch {
            let isUnknown = error == Errno(2)
            return fail(
                isUnknown ? "unable to set TCP_CONGESTION: Supplied congestion control algorithm not supported on this host" : "unable to create a new stream: \(error)",
                system)
        }
        return open(test, system)
    }

    /// Streams that are connected say the cookie; of UDP the server's answer is awaited.
    private func open(_ test: IPerfTest, _ system: any SystemCalls) -> Suspension? {
        for index in opening.indices where !opening[index].isConnected {
            let socket = opening[index].socket
            if let error = system.takeError(socket) { return fail("unable to create a new stream: \(error)", system) }
            do throws(Errno) {
                if test.parameters.isUDP {
                    _ = try system.receiveMessage(socket)
                } else {
                    guard system.readiness(socket).contains(.writable) else { continue }
                    _ = try system.send(socket, test.cookie[...])
                }
                opening[index].isConnected = true
            } catch {
                if error != .tryAgain { return fail("unable to create a new stream: \(error)", system) }
            }
        }
        guard opening.allSatisfy(\.isConnected) else { return nil }
        isCreating = false
        for (index, entry) in opening.enumerated() {
            var stream = IPerfStream(socket: entry.socket, number: 5 + 2 * index)
            stream.local = system.localAddress(entry.socket) ?? stream.local
            stream.remote = SocketAddress(address, options.port)
            test.streams.append(stream)
        }
        opening.removeAll()
        return nil
    }

    private func describe(_ test: IPerfTest, _ system: any SystemCalls) {
        let p = test.parameters
        start = [
            ("connected", .array(test.streams.map(IPerfClient.connection))), ("version", .string("iperf \(IPerf.version)")),
            ("system_info", .string("Linux \(system.hostname) 6.18.44 #1 SMP PREEMPT_DYNAMIC x86_64")),
            ("timestamp", .make([("time", .string(CivilTime(system.now).formatted("%a, %d %b %Y %H:%M:%S GMT"))), ("timesecs", .int(Int(CivilTime.unixSeconds(system.now))))])),
            ("connecting_to", .make([("host", .string(options.host)), ("port", .int(Int(options.port)))])), ("cookie", .string(text(test.cookie.dropLast()))),
        ]
        if !p.isUDP { start.append(("tcp_mss_default", .int(test.streams.first.flatMap { system.tcpInformation($0.socket)?.snd_mss } ?? 0))) }
        start += [
            ("target_bitrate", .int(p.rate)), ("fq_rate", .int(0)), ("sock_bufsize", .int(p.window)),
            (
                "test_start",
                .make([
                    ("protocol", .string(p.isUDP ? "UDP" : "TCP")), ("num_streams", .int(p.streams)), ("blksize", .int(p.length)), ("omit", .int(0)), ("duration", .int(p.seconds)),
                    ("bytes", .int(p.bytes)), ("blocks", .int(p.blocks)), ("reverse", .int(p.isReverse ? 1 : 0)), ("tos", .int(0)), ("target_bitrate", .int(p.rate)),
                    ("bidir", .int(0)), ("fqrate", .int(0)),
                ])
            ),
        ]
        for stream in test.streams { test.write(stream.heading, system) }
    }

    static func connection(_ stream: IPerfStream) -> JSON {
        .make([
            ("socket", .int(stream.number)), ("local_host", .string("\(stream.local.address)")), ("local_port", .int(Int(stream.local.port))),
            ("remote_host", .string("\(stream.remote.address)")), ("remote_port", .int(Int(stream.remote.port))),
        ])
    }

    private func display(_ test: IPerfTest, _ system: any SystemCalls) -> Suspension {
        let summary = IPerfSummary(test, own: own, other: other, format: options.format)
        if options.json {
            system.writeOutput(JSON.make([("start", .make(start)), ("intervals", .array(test.intervals)), ("end", summary.json(sends: test.sends))]).pretty() + "\n")
        } else {
            system.writeOutput(summary.text() + "\niperf Done.\n")
        }
        test.say(IPerf.State.done)
        test.exchange(system)
        test.close(system)
        return .exit(0)
    }
}
