import HairpinEngine
import HairpinTransport
import HairpinWire

/// What both ends of a test do alike: the control connection, moving data, counting, and the report.
final class IPerfTest {
    let control: SocketID
    var parameters: IPerfParameters
    /// Whether this end sends the data.
    let sends: Bool
    let isClient: Bool
    var streams: [IPerfStream] = []
    var cookie: [UInt8] = []
    private let options: IPerfOptions
    private var inbox: [UInt8] = []
    private var outbox: [UInt8] = []
    /// The peer closed the control connection.
    private(set) var isClosed = false
    private(set) var isRunning = false
    private(set) var startedAt = Instant.zero
    private(set) var endedAt = Instant.zero
    private var intervalStart = Instant.zero
    private var nextReport: Instant?
    private(set) var intervals: [JSON] = []
    private let buffer: UnsafeMutableRawBufferPointer
    private static let tick = Duration.milliseconds(1)
    /// Buffers one stream writes or reads before the others have their turn.
    private static let turn = 16
    private var hasHeader = false

    init(control: SocketID, parameters: IPerfParameters, options: IPerfOptions, isClient: Bool) {
        self.control = control
        self.parameters = parameters
        self.options = options
        self.isClient = isClient
        sends = isClient != parameters.isReverse
        buffer = .allocate(byteCount: max(parameters.length, 65_536), alignment: 16)
        for n in 0..<buffer.count { buffer[n] = UInt8(truncatingIfNeeded: 48 + n % 10) }
    }
    deinit { buffer.deallocate() }

    // MARK: Control connection

    func say(_ state: UInt8) { outbox.append(state) }
    func say(bytes: [UInt8]) { outbox += bytes }
    func say(_ json: JSON) {
        let text = Array(json.compact.utf8)
        let count = UInt32(text.count)
        outbox += [UInt8(truncatingIfNeeded: count >> 24), UInt8(truncatingIfNeeded: count >> 16), UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count)]
        outbox += text
    }

    /// Moves what the control connection takes and gives.
    func exchange(_ system: any SystemCalls) {
        while !outbox.isEmpty {
            do throws(Errno) { outbox.removeFirst(try system.send(control, outbox[...])) } catch {
                if error != .tryAgain { isClosed = true }
                break
            }
        }
        while !isClosed {
            do throws(Errno) {
                let bytes = try system.receive(control, 16_384)
                if bytes.isEmpty { isClosed = true }
                inbox += bytes
            } catch {
                if error != .tryAgain { isClosed = true }
                break
            }
        }
    }

    func nextState() -> UInt8? { inbox.isEmpty ? nil : inbox.removeFirst() }
    func nextBytes(_ count: Int) -> [UInt8]? {
        guard inbox.count >= count else { return nil }
        defer { inbox.removeFirst(count) }
        return Array(inbox[..<count])
    }

    enum Answer {
        case waiting, wrong
        case value(JSON)
    }
    /// A length of four bytes and JSON behind it.
    func nextJSON() -> Answer {
        guard inbox.count >= 4 else { return .waiting }
        let count = inbox[..<4].reduce(0) { $0 << 8 | Int($1) }
        guard count <= 1 << 20 else { return .wrong }
        guard inbox.count >= 4 + count else { return .waiting }
        defer { inbox.removeFirst(4 + count) }
        guard let json = JSON(inbox[4..<4 + count]) else { return .wrong }
        return .value(json)
    }

    /// What this test waits for, beside the control connection.
    func waitSet(_ extra: [(socket: SocketID, interest: Readiness)] = [], _ system: any SystemCalls) -> WaitSet {
        var set = WaitSet(sockets: extra)
        if !isClosed { set.sockets.append((control, outbox.isEmpty ? .readable : [.readable, .writable])) }
        guard isRunning else { return set }
        var deadlines: [Instant] = []
        if let nextReport { deadlines.append(nextReport) }
        if isClient, let end { deadlines.append(end) }
        let isLimited = sends && parameters.rate > 0
        for stream in streams where stream.isOpen {
            if !sends {
                set.sockets.append((stream.socket, .readable))
            } else if isAllowed(stream, system.now) {
                set.sockets.append((stream.socket, .writable))
            }
        }
        if isLimited {
            let step = UInt64(IPerfTest.tick.nanoseconds)
            let since = (system.now - startedAt).nanoseconds
            deadlines.append(startedAt + .nanoseconds(Int64((UInt64(since) / step + 1) * step)))
        }
        set.deadline = deadlines.min()
        return set
    }

    // MARK: The data

    private var end: Instant? { parameters.seconds > 0 ? startedAt + .seconds(Int64(parameters.seconds)) : nil }

    func begin(_ system: any SystemCalls) {
        isRunning = true
        startedAt = system.now
        intervalStart = startedAt
        nextReport = options.interval.isZero ? nil : startedAt + options.interval
    }

    /// Pacing by iperf3's clock of a millisecond (`iperf_check_throttle`).
    private func isAllowed(_ stream: IPerfStream, _ now: Instant) -> Bool {
        guard parameters.rate > 0 else { return true }
        return Double(stream.bytes) * 8 <= Double(parameters.rate) * Double((now - startedAt).nanoseconds) / 1e9
    }

    /// Whether the client's end of the test has come: time, bytes or blocks, summed over the streams.
    func hasReachedEnd(_ now: Instant) -> Bool {
        if let end, now >= end { return true }
        let total = streams.reduce(0) { $0 + $1.bytes }
        if parameters.bytes > 0, total >= parameters.bytes { return true }
        return parameters.blocks > 0 && total / parameters.length >= parameters.blocks
    }

    /// Sends and receives what goes now, and reports intervals that are over. True if there is more to do at once.
    func transfer(_ system: any SystemCalls) -> Bool {
        var isBusy = false
        for index in streams.indices where streams[index].isOpen {
            let goesOn = sends ? send(index, system) : receive(index, system)
            isBusy = isBusy || goesOn
        }
        report(system)
        return isBusy
    }

    private func send(_ index: Int, _ system: any SystemCalls) -> Bool {
        var writes = 0
        while writes < IPerfTest.turn {
            if isClient, hasReachedEnd(system.now) { return false }
            guard isAllowed(streams[index], system.now) else { return false }
            do throws(Errno) {
                var count = parameters.length
                if parameters.isUDP {
                    stamp(streams[index].packets + 1, system.now)
                    _ = try system.send(streams[index].socket, Array(buffer[..<count])[...])
                    streams[index].packets += 1
                    streams[index].intervalPackets += 1
                } else {
                    count = try system.send(streams[index].socket, from: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                }
                streams[index].bytes += count
                streams[index].intervalBytes += count
                writes += 1
            } catch {
                if error != .tryAgain, error != .noBuffers, !parameters.isUDP { streams[index].isOpen = false }
                return false
            }
        }
        return true
    }

    /// Seconds, microseconds and number at the front of a datagram.
    private func stamp(_ number: Int, _ now: Instant) {
        let second = UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000_000)
        let words = [second, UInt32(now.nanoseconds % 1_000_000_000 / 1000), UInt32(truncatingIfNeeded: number)]
        for (n, word) in words.enumerated() { buffer.storeBytes(of: word.bigEndian, toByteOffset: 4 * n, as: UInt32.self) }
    }

    private func receive(_ index: Int, _ system: any SystemCalls) -> Bool {
        for _ in 0..<IPerfTest.turn {
            do throws(Errno) {
                var count = 0
                if parameters.isUDP {
                    let message = try system.receiveMessage(streams[index].socket)
                    count = message.bytes.count
                    guard count >= 12 else { continue }
                    func word(_ at: Int) -> UInt32 { message.bytes[at..<at + 4].reduce(0) { $0 << 8 | UInt32($1) } }
                    streams[index].note(number: Int(word(8)), sentAt: Double(word(0)) + Double(word(4)) / 1e6, now: Double(message.at.nanoseconds) / 1e9)
                } else {
                    count = try system.receive(streams[index].socket, into: buffer)
                    if count == 0 {
                        streams[index].isOpen = false
                        return false
                    }
                }
                streams[index].bytes += count
                streams[index].intervalBytes += count
            } catch {
                if error != .tryAgain, !parameters.isUDP { streams[index].isOpen = false }
                return false
            }
        }
        return true
    }

    /// The end of the transfer: what has come is read, the last interval reported.
    func finish(_ system: any SystemCalls) {
        guard isRunning else { return }
        if !sends { while transfer(system) {} }
        isRunning = false
        endedAt = system.now
        sample(system)
        nextReport = nil
        if endedAt - intervalStart > .milliseconds(10), !options.interval.isZero { reportInterval(system, until: endedAt) }
    }

    var seconds: Double { Double((endedAt - startedAt).nanoseconds) / 1e9 }

    // MARK: Report

    /// Text that comes before the JSON of a whole test is left out with -J.
    func write(_ text: String, _ system: any SystemCalls) { if !options.json { system.writeOutput(text) } }

    private func report(_ system: any SystemCalls) {
        guard isRunning, let due = nextReport, system.now >= due else { return }
        sample(system)
        reportInterval(system, until: due)
        nextReport = due + options.interval
    }

    /// TCP_INFO of the senders.
    private func sample(_ system: any SystemCalls) {
        guard sends, !parameters.isUDP else { return }
        for index in streams.indices {
            guard let info = system.tcpInformation(streams[index].socket) else { continue }
            streams[index].intervalRetransmits = info.total_retrans - streams[index].retransmits
            streams[index].retransmits = info.total_retrans
            streams[index].window = info.snd_cwnd * info.snd_mss
            streams[index].maximumWindow = max(streams[index].maximumWindow, streams[index].window)
            streams[index].maximumPeerWindow = max(streams[index].maximumPeerWindow, info.snd_wnd)
            streams[index].minimumRTT = streams[index].samples == 0 ? info.rtt : min(streams[index].minimumRTT, info.rtt)
            streams[index].maximumRTT = max(streams[index].maximumRTT, info.rtt)
            streams[index].summedRTT += info.rtt
            streams[index].samples += 1
            streams[index].info = .make([
                ("snd_cwnd", .int(streams[index].window)), ("snd_wnd", .int(info.snd_wnd)), ("rtt", .int(info.rtt)), ("rttvar", .int(info.rttvar)),
                ("pmtu", .int(info.pmtu)),
            ])
        }
    }

    private func reportInterval(_ system: any SystemCalls, until end: Instant) {
        let from = Double((intervalStart - startedAt).nanoseconds) / 1e9
        let to = Double((end - startedAt).nanoseconds) / 1e9
        if !hasHeader {
            hasHeader = true
            write(parameters.isUDP ? sends ? IPerfReport.datagramSenderHeader : IPerfReport.datagramHeader : sends ? IPerfReport.senderHeader : IPerfReport.header, system)
        }
        if streams.count > 1, !intervals.isEmpty { write(IPerfReport.separator, system) }
        var rows: [JSON] = []
        var sum = IPerfStream(socket: .none, number: 0)
        for index in streams.indices {
            let stream = streams[index]
            write(IPerfReport.prefix(String(stream.number), from: from, to: to) + intervalText(stream, to - from, withWindow: true), system)
            rows.append(intervalJSON(stream, from, to))
            sum.intervalBytes += stream.intervalBytes
            sum.intervalRetransmits += stream.intervalRetransmits
            sum.intervalPackets += stream.intervalPackets
            sum.intervalLost += stream.intervalLost
            sum.jitter += stream.jitter / Double(streams.count)
            (streams[index].intervalBytes, streams[index].intervalRetransmits, streams[index].intervalPackets, streams[index].intervalLost) = (0, 0, 0, 0)
        }
        if streams.count > 1 {
            write(IPerfReport.prefix("SUM", from: from, to: to) + intervalText(sum, to - from, withWindow: false), system)
        }
        intervals.append(.make([("streams", .array(rows)), ("sum", intervalJSON(sum, from, to, isSum: true))]))
        intervalStart = end
    }

    private func intervalText(_ stream: IPerfStream, _ seconds: Double, withWindow: Bool) -> String {
        let rate = IPerfReport.rate(stream.intervalBytes, seconds: seconds, options.format)
        if parameters.isUDP {
            if sends { return "\(rate)  \(stream.intervalPackets)  \n" }
            return "\(rate)  \(leftPadded(fixed(stream.jitter * 1000, 3), 5)) ms  \(stream.intervalLost)/\(stream.intervalPackets) "
                + "(\(IPerfReport.percent(stream.intervalLost, of: stream.intervalPackets))%)  \n"
        }
        guard sends else { return "\(rate)                  \n" }
        let retransmits = leftPadded(stream.intervalRetransmits, 3)
        return withWindow
            ? "\(rate)  \(retransmits)   \(IPerfReport.unit(Double(stream.window), "A"))       \n" : "\(rate)  \(retransmits)             \n"
    }

    private func intervalJSON(_ stream: IPerfStream, _ from: Double, _ to: Double, isSum: Bool = false) -> JSON {
        var members: [(String, JSON)] = isSum ? [] : [("socket", .int(stream.number))]
        members += [
            ("start", .double(from)), ("end", .double(to)), ("seconds", .double(to - from)), ("bytes", .int(stream.intervalBytes)),
            ("bits_per_second", .double(to > from ? Double(stream.intervalBytes) * 8 / (to - from) : 0)),
        ]
        if parameters.isUDP {
            if !sends {
                members += [
                    ("jitter_ms", .double(stream.jitter * 1000)), ("lost_packets", .int(stream.intervalLost)), ("packets", .int(stream.intervalPackets)),
                    ("lost_percent", .double(stream.intervalPackets > 0 ? 100 * Double(stream.intervalLost) / Double(stream.intervalPackets) : 0)),
                ]
            } else {
                members.append(("packets", .int(stream.intervalPackets)))
            }
        } else if sends {
            members.append(("retransmits", .int(stream.intervalRetransmits)))
            if !isSum, case .object(let info) = stream.info { for member in info { members.append((member.name, member.value)) } }
        }
        members += [("omitted", .bool(false)), ("sender", .bool(sends))]
        return .make(members)
    }

    // MARK: Results

    func results(_ system: any SystemCalls) -> JSON {
        var list: [JSON] = []
        for stream in streams { list.append(stream.results(isSender: sends, isUDP: parameters.isUDP, seconds: seconds)) }
        var members: [(String, JSON)] = [
            ("cpu_util_total", .int(0)), ("cpu_util_user", .int(0)), ("cpu_util_system", .int(0)), ("sender_has_retransmits", .int(sends && !parameters.isUDP ? 1 : -1)),
        ]
        if !parameters.isUDP, let first = streams.first, let name = system.congestionControl(first.socket) { members.append(("congestion_used", .string(name))) }
        members.append(("streams", .array(list)))
        return .make(members)
    }

    /// Takes the options a stream's socket needs before it connects or listens.
    func prepare(_ socket: SocketID, _ system: any SystemCalls) throws(Errno) {
        if parameters.window > 0 {
            try system.setOption(socket, .sendBuffer(parameters.window))
            try system.setOption(socket, .receiveBuffer(parameters.window))
        }
        guard !parameters.isUDP else { return }
        if parameters.maximumSegment > 0 { try system.setOption(socket, .maximumSegment(parameters.maximumSegment)) }
        if parameters.noDelay { try system.setOption(socket, .noDelay(true)) }
        if let congestion = parameters.congestion { try system.setCongestionControl(socket, congestion) }
    }

    func close(_ system: any SystemCalls) {
        for stream in streams { system.close(stream.socket) }
        streams.removeAll()
        system.close(control)
    }
}
