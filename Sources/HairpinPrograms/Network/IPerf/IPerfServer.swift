import HairpinEngine
import HairpinTransport
import HairpinWire

/// `iperf3 -s`: runs one test after another; who comes while one runs is turned away.
final class IPerfServer: Program {
    private let options: IPerfOptions
    private var listener: SocketID?
    /// Accepted, not yet known by its cookie.
    private var strangers: [(socket: SocketID, bytes: [UInt8])] = []
    private var test: IPerfTest?
    private var control: SocketID?
    private var phase = Phase.idle
    private enum Phase { case idle, cookie, parameters, streams, running, results, displayed }
    private var datagramSocket: SocketID?
    private var own = JSON.null
    private var other = JSON.null
    private var testNumber = 1

    init(_ options: IPerfOptions) { self.options = options }

    func resume(_ system: any SystemCalls) -> Suspension {
        if listener == nil {
            do throws(Errno) {
                let socket = try system.socket(.stream)
                try system.setOption(socket, .reuseAddress(true))
                try system.bind(socket, SocketAddress(options.bindAddress.flatMap { IPv4Address($0) } ?? .any, options.port))
                try system.listen(socket, backlog: 128)
                listener = socket
            } catch {
                system.writeError("iperf3: error - unable to start listener for connections: \(error)\n")
                return .exit(1)
            }
            announce(system)
        }
        guard let listener else { return .exit(1) }
        accept(listener, system)
        var extra: [(socket: SocketID, interest: Readiness)] = [(listener, .readable)]
        if let test {
            test.exchange(system)
            var hasMore = true
            while hasMore, self.test === test { hasMore = advance(test, system) }
            if self.test == nil {
                if options.isOneOff { return .exit(0) }
                announce(system)
                accept(listener, system)
            }
        }
        if let test, phase == .running { _ = test.transfer(system) }
        for stranger in strangers { extra.append((stranger.socket, .readable)) }
        if let datagramSocket { extra.append((datagramSocket, .readable)) }
        guard let test else { return .wait(WaitSet(sockets: extra)) }
        return .wait(test.waitSet(extra, system))
    }

    private func announce(_ system: any SystemCalls) {
        if !options.json { system.writeOutput("\(IPerfReport.dashes)Server listening on \(options.port) (test #\(testNumber))\n\(IPerfReport.dashes)") }
    }

    private func accept(_ listener: SocketID, _ system: any SystemCalls) {
        while let (socket, peer) = try? system.accept(listener) {
            if test == nil {
                control = socket
                test = IPerfTest(control: socket, parameters: IPerfParameters(), options: options, isClient: false)
                phase = .cookie
                if !options.json { system.writeOutput("Accepted connection from \(peer.address), port \(peer.port)\n") }
            } else if phase == .streams, let test, !test.parameters.isUDP {
                strangers.append((socket, []))
            } else {
                _ = try? system.send(socket, [IPerf.State.accessDenied])
                system.close(socket)
            }
        }
    }

    /// A step of the conversation; true if another may follow at once.
    private func advance(_ test: IPerfTest, _ system: any SystemCalls) -> Bool {
        switch phase {
        case .idle: return false
        case .cookie:
            guard let cookie = test.nextBytes(IPerf.cookieSize) else { return ends(test, system, because: "unable to receive cookie at server") }
            test.cookie = cookie
            test.say(IPerf.State.parameterExchange)
            phase = .parameters
        case .parameters:
            switch test.nextJSON() {
            case .waiting: return ends(test, system, because: "unable to receive parameters from client")
            case .wrong: return stop(test, system, "unable to receive parameters from client")
            case .value(let json):
                guard let parameters = IPerfParameters(json) else {
                    test.say(bytes: [IPerf.State.serverError, 0, 0, 0, 0, 0, 0, 0, 0])
                    test.exchange(system)
                    return stop(test, system, "unable to receive parameters from client")
                }
                // What was decided when the test was made depends on them.
                let agreed = IPerfTest(control: test.control, parameters: parameters, options: options, isClient: false)
                agreed.cookie = test.cookie
                agreed.say(IPerf.State.createStreams)
                self.test = agreed
                phase = .streams
                if parameters.isUDP, !listenForDatagrams(system) { return stop(agreed, system, "unable to create a new stream") }
                agreed.exchange(system)
                return false
            }
        case .streams:
            takeStreams(test, system)
            guard test.streams.count == test.parameters.streams else { return ends(test, system, because: "control socket has closed unexpectedly") }
            if let datagramSocket { system.close(datagramSocket) }
            datagramSocket = nil
            test.say(IPerf.State.testStart)
            test.say(IPerf.State.testRunning)
            test.exchange(system)
            for stream in test.streams { test.write(stream.heading, system) }
            test.begin(system)
            phase = .running
        case .running:
            guard let state = test.nextState() else { return ends(test, system, because: "the client has unexpectedly closed the connection") }
            guard state == IPerf.State.testEnd else { return stop(test, system, "the client has terminated") }
            test.finish(system)
            own = test.results(system)
            test.say(IPerf.State.exchangeResults)
            phase = .results
        case .results:
            switch test.nextJSON() {
            case .waiting: return ends(test, system, because: "unable to receive results")
            case .wrong: return stop(test, system, "unable to receive results")
            case .value(let json): other = json
            }
            test.say(own)
            test.say(IPerf.State.displayResults)
            display(test, system)
            phase = .displayed
        case .displayed:
            guard test.nextState() == IPerf.State.done || test.isClosed else { return false }
            return stop(test, system, nil)
        }
        test.exchange(system)
        return true
    }

    /// Nothing has come: wait, unless nothing will.
    private func ends(_ test: IPerfTest, _ system: any SystemCalls, because text: String) -> Bool { test.isClosed ? stop(test, system, text) : false }

    private func stop(_ test: IPerfTest, _ system: any SystemCalls, _ problem: String?) -> Bool {
        if let problem { system.writeError("iperf3: error - \(problem)\n") }
        test.close(system)
        for stranger in strangers { system.close(stranger.socket) }
        strangers.removeAll()
        if let datagramSocket { system.close(datagramSocket) }
        datagramSocket = nil
        self.test = nil
        phase = .idle
        testNumber += 1
        return false
    }

    private func listenForDatagrams(_ system: any SystemCalls) -> Bool {
        do throws(Errno) {
            let socket = try system.socket(.datagram)
            try system.setOption(socket, .reuseAddress(true))
            try system.bind(socket, SocketAddress(.any, options.port))
            datagramSocket = socket
            return true
        } catch { return false }
    }

    private func takeStreams(_ test: IPerfTest, _ system: any SystemCalls) {
        if test.parameters.isUDP {
            while test.streams.count < test.parameters.streams, let socket = datagramSocket, let hello = try? system.receiveMessage(socket) {
                guard hello.bytes.count == 4 else { continue }
                do throws(Errno) {
                    try system.connect(socket, hello.source)
                    _ = try system.send(socket, IPerf.datagramReply[...])
                } catch { continue }
                add(socket, test, system)
                datagramSocket = nil
                if test.streams.count < test.parameters.streams, !listenForDatagrams(system) { return }
            }
            return
        }
        for index in strangers.indices.reversed() {
            let socket = strangers[index].socket
            if let bytes = try? system.receive(socket, IPerf.cookieSize - strangers[index].bytes.count) {
                if bytes.isEmpty {
                    system.close(socket)
                    strangers.remove(at: index)
                    continue
                }
                strangers[index].bytes += bytes
            }
        }
        for stranger in strangers where stranger.bytes.count == IPerf.cookieSize {
            if stranger.bytes == test.cookie, test.streams.count < test.parameters.streams {
                if (try? test.prepare(stranger.socket, system)) == nil { continue }
                add(stranger.socket, test, system)
            } else {
                _ = try? system.send(stranger.socket, [IPerf.State.accessDenied])
                system.close(stranger.socket)
            }
        }
        strangers.removeAll { $0.bytes.count == IPerf.cookieSize }
    }

    private func add(_ socket: SocketID, _ test: IPerfTest, _ system: any SystemCalls) {
        var stream = IPerfStream(socket: socket, number: test.streams.isEmpty ? 5 : 6 + 2 * test.streams.count)
        stream.local = system.localAddress(socket) ?? stream.local
        stream.remote = system.remoteAddress(socket) ?? stream.remote
        test.streams.append(stream)
    }

    private func display(_ test: IPerfTest, _ system: any SystemCalls) {
        let summary = IPerfSummary(test, own: own, other: other, format: options.format)
        if options.json {
            let start = JSON.make([("connected", .array(test.streams.map(IPerfClient.connection))), ("version", .string("iperf \(IPerf.version)"))])
            system.writeOutput(JSON.make([("start", start), ("intervals", .array(test.intervals)), ("end", summary.json(sends: test.sends))]).pretty() + "\n")
        } else {
            system.writeOutput(summary.text(sender: test.sends, receiver: !test.sends))
        }
    }
}
