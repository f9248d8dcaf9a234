import HairpinEngine
import HairpinTransport
import HairpinWire

/// Packets in and out.
extension ScriptRun {
    // MARK: inbound

    func inject(_ packet: ScriptPacket) throws(ScriptStop) {
        var tos = packet.ip.typeOfService ?? 0
        switch packet.ip.congestion {
        case .ect0: tos |= 2
        case .ect1: tos |= 1
        case .ce: tos |= 3
        default: break
        }
        let ttl = packet.ip.timeToLive ?? 255
        switch packet.body {
        case .tcp(let segment): try inject(segment, typeOfService: tos, timeToLive: ttl)
        case .udp(let ports, let length):
            let pair = WireSegment.SocketPair(
                sourceAddress: configuration.remote, sourcePort: ports?.source ?? configuration.connectPort, destinationAddress: configuration.local,
                destinationPort: ports?.destination ?? configuration.bindPort)
            _ = host.receive(WirePacket.udp(pair, length: length, typeOfService: tos, timeToLive: ttl))
        case .icmp(let message): try inject(message)
        }
    }

    private func inject(_ segment: ScriptSegment, typeOfService: UInt8, timeToLive: UInt8) throws(ScriptStop) {
        let connection = try connection(for: segment)
        let isSYN = segment.flags.contains(.syn)
        // The first SYN sets where the remote side's numbers start; a later one counts from it, its own number still being absolute.
        if isSYN, connection.remoteStart == nil { connection.remoteStart = (segment.start, segment.start) }
        let sequence = isSYN ? segment.start : connection.realRemote(segment.start)
        var acknowledgment = segment.acknowledgment ?? 0
        if segment.flags.contains(.ack) {
            acknowledgment = connection.realLocal(acknowledgment)
            if isSYN { acknowledgment = acknowledgment &- (connection.localStart?.script ?? 0) }
        }
        var options: [ScriptTCPOption] = []
        for option in segment.options {
            switch option {
            case .selectiveAcks(let blocks):
                options.append(.selectiveAcks(blocks.map { ScriptRange(start: connection.realLocal($0.start), end: connection.realLocal($0.end)) }))
            // Without ACK the echo is as it is written.
            case .timestamps(let value, let echo):
                options.append(.timestamps(value: value, echo: segment.flags.contains(.ack) ? try realEcho(echo, connection) : echo))
            default: options.append(option)
            }
        }
        guard let bytes = WireSegment.encode(options) else {
            throw .failed(line: line, "the options of the packet do not fill whole 32-bit words, or are more than 40 bytes")
        }
        let pair = segment.ports.map {
            WireSegment.SocketPair(
                sourceAddress: configuration.remote, sourcePort: $0.source, destinationAddress: configuration.local, destinationPort: $0.destination)
        }
        let packet = WirePacket.tcp(
            pair ?? connection.pair.reversed, flags: segment.flags, sequence: sequence, acknowledgment: acknowledgment, window: segment.window ?? 0,
            urgent: segment.urgent ?? 0, options: bytes, length: segment.length, typeOfService: typeOfService, timeToLive: timeToLive)
        guard packet.count <= 65_535 else { throw .unsupported(line, "an inbound packet longer than IP can carry") }
        trace?("\(seconds(host.now)) < \(segment)")
        _ = host.receive(packet)
    }

    private func realEcho(_ echo: UInt32, _ connection: ScriptConnection) throws(ScriptStop) -> UInt32 {
        if echo == 0 { return 0 }
        if let real = connection.timestamps[echo] { return real }
        guard configuration.scalesUnknownEchoes, let first = connection.firstTimestamp else {
            throw .failed(line: line, "no timestamp \(echo) has been sent that this packet could echo")
        }
        return first.real &+ (echo &- first.script)
    }

    /// The connection an inbound segment belongs to; a SYN to a listener opens one.
    private func connection(for segment: ScriptSegment) throws(ScriptStop) -> ScriptConnection {
        if let ports = segment.ports {
            let pair = WireSegment.SocketPair(
                sourceAddress: configuration.local, sourcePort: ports.destination, destinationAddress: configuration.remote, destinationPort: ports.source)
            if let known = connections.last(where: { $0.isTupleKnown && $0.pair == pair }) { return known }
            let connection = ScriptConnection(pair, isTupleKnown: true)
            connections.append(connection)
            current = connection
            return connection
        }
        if let current { return current }
        nextRemotePort &+= 1
        let pair = WireSegment.SocketPair(
            sourceAddress: configuration.local, sourcePort: configuration.bindPort, destinationAddress: configuration.remote, destinationPort: nextRemotePort)
        let connection = ScriptConnection(pair, isTupleKnown: true)
        connections.append(connection)
        current = connection
        return connection
    }

    /// Time since the script began, for people.
    private func seconds(_ at: Instant) -> String { String(Double((at - start).nanoseconds / 1000) / 1e6) }

    // MARK: ICMP

    /// Type and code (RFC 792, RFC 1122 §3.2.2).
    static func icmpNumbers(_ message: ScriptICMP) -> (type: UInt8, code: UInt8)? {
        let types: [String: UInt8] = [
            "echo_reply": 0, "unreachable": 3, "source_quench": 4, "redirect": 5, "echo_request": 8, "time_exceeded": 11, "parameter_problem": 12,
        ]
        let codes: [String: UInt8] = [
            "net_unreachable": 0, "host_unreachable": 1, "protocol_unreachable": 2, "port_unreachable": 3, "frag_needed": 4, "source_route_failed": 5,
            "net_unknown": 6, "host_unknown": 7, "source_host_isolated": 8, "net_prohibited": 9, "host_prohibited": 10, "net_unreachable_for_tos": 11,
            "host_unreachable_for_tos": 12, "packet_filtered": 13, "admin_prohibited": 13, "precedence_violation": 14, "precedence_cutoff": 15, "ttl_exceeded": 0,
            "frag_reassembly_exceeded": 1,
        ]
        func number(_ name: String, _ prefix: String, _ table: [String: UInt8]) -> UInt8? {
            table[name] ?? (name.hasPrefix(prefix) ? UInt8(name.dropFirst(prefix.count)) : nil)
        }
        guard let type = number(message.type, "type_", types) else { return nil }
        guard let code = message.code else { return (type, 0) }
        return number(code, "code_", codes).map { (type, $0) }
    }

    private func inject(_ message: ScriptICMP) throws(ScriptStop) {
        guard let (type, code) = ScriptRun.icmpNumbers(message), let connection = current else {
            throw .failed(line: line, "there is no connection the ICMP message could be about")
        }
        var sequence: UInt32 = connection.localStart?.real ?? 0
        var length = 0
        switch message.quote {
        case .tcp(let start, let count):
            sequence = connection.realLocal(start)
            length = count
        case nil: break
        case .udp, .raw: throw .unsupported(line, "an ICMP message that quotes something else than TCP")
        }
        let quote = WirePacket.tcp(
            connection.pair, flags: .ack, sequence: sequence, acknowledgment: 0, window: 0, urgent: 0, options: [], length: length, typeOfService: 0, timeToLive: 64)
        let mtu = message.mtu ?? 0
        if type == ICMPv4.destinationUnreachable, code == ICMPv4.fragmentationNeeded {
            // The route's exception (`ip_rt_update_pmtu`); never below net.ipv4.route.min_pmtu.
            host.pathMTU = min(host.pathMTU, max(Int(mtu), 552))
        }
        // As much as every host quotes, and no more (RFC 792).
        quote.prefix(20 + 8).withUnsafeBytes {
            host.stack.receiveICMPError(type: type, code: code, information: mtu, offender: configuration.remote, quote: $0)
        }
    }

    // MARK: outbound

    /// Awaits the next packet of the connection under test and compares it.
    func expect(_ packet: ScriptPacket, _ time: EventTime, zero: Instant) throws(ScriptStop) {
        guard case .tcp(let wanted) = packet.body else { return }
        func absolute(_ microseconds: Int) -> Instant { zero + .microseconds(Int64(microseconds)) }
        func relative(_ microseconds: Int) -> Instant { previous + .microseconds(Int64(microseconds)) }
        let window: (first: Instant, last: Instant)? =
            switch time {
            case .absolute(let t): (absolute(t), absolute(t))
            case .relative(let t): (relative(t), relative(t))
            case .absoluteRange(let a, let b): (absolute(a), absolute(b))
            case .relativeRange(let a, let b): (relative(a), relative(b))
            case .any: nil
            }
        let deadline = (window?.last ?? host.now) + .seconds(window == nil ? 3600 : 2)
        let notation = "\(packet.ip)\(wanted)"
        guard let (segment, connection) = try nextSegment(wanted, until: deadline) else {
            throw .failed(line: line, "no packet", expected: notation, actual: "nothing within 2 s")
        }
        let actual = connection.inScript(segment)
        var shown = actual
        if wanted.window == nil { shown.window = nil }
        if wanted.anyOptions { (shown.options, shown.anyOptions) = ([], true) }
        if wanted.ports != nil { shown.ports = ScriptPorts(source: segment.source.sourcePort, destination: segment.source.destinationPort) }
        func fail(_ what: String, _ extra: String = "") -> ScriptStop {
            .failed(line: line, what, expected: notation, actual: "\(shown)\(extra)")
        }
        guard segment.isChecksumValid else { throw fail("a wrong checksum") }
        guard segment.isPayloadZero else { throw fail("a payload that is not zero bytes") }
        if let ports = wanted.ports, ports != shown.ports { throw fail("other ports") }
        switch PacketMatcher.compare(expected: wanted, actual: actual) {
        case .same: break
        case .pushOnly: ignoredPush = true
        case .different(let what): throw fail("another \(what)")
        }
        if let what = PacketMatcher.compare(packet.ip, segment) { throw fail("other IP fields", " (\(what))") }
        try compareTimestamps(wanted, segment, connection, fail: { fail("another timestamp", $0) })
        if let window { try compareTime(segment.at, window, fail: { fail("another time", $0) }) }
        previous = max(segment.at, previous)
    }

    /// The next segment sent by the connection under test. Waits for it, and for the rest of one that Linux would have sent as one large segment.
    private func nextSegment(_ wanted: ScriptSegment, until deadline: Instant) throws(ScriptStop) -> (WireSegment, ScriptConnection)? {
        while true {
            while let (segment, connection) = takeSegment(wanted) {
                guard segment.length < wanted.length, !configuration.strictSegments else { return (segment, connection) }
                return (gather(segment, wanted), connection)
            }
            guard try step(until: deadline) else { return nil }
        }
    }

    private func gather(_ first: WireSegment, _ wanted: ScriptSegment) -> WireSegment {
        var whole = first
        while whole.length < wanted.length, let next = host.sent.first {
            guard let piece = next.packet.withUnsafeBytes({ WireSegment($0, at: next.at) }),
                PacketMatcher.continues(first, piece, length: whole.length, pieceLength: first.length), whole.length + piece.length <= wanted.length
            else { break }
            host.sent.removeFirst()
            if let current { trace?("\(seconds(next.at)) > \(current.inScript(piece))") }
            whole.length += piece.length
            whole.flags.subtract([.psh, .fin])
            whole.flags.formUnion(piece.flags.intersection([.psh, .fin]))
            whole.isPayloadZero = whole.isPayloadZero && piece.isPayloadZero
            whole.isChecksumValid = whole.isChecksumValid && piece.isChecksumValid
            if piece.length < first.length { break }
        }
        return whole
    }

    /// The oldest packet not looked at that belongs to the connection under test. Packets of other connections are dropped.
    private func takeSegment(_ wanted: ScriptSegment) -> (WireSegment, ScriptConnection)? {
        while !host.sent.isEmpty {
            let (packet, at) = host.sent.removeFirst()
            guard let segment = packet.withUnsafeBytes({ WireSegment($0, at: at) }) else { continue }
            if let known = connections.last(where: { $0.isTupleKnown && $0.pair == segment.source }) {
                guard known === current || wanted.ports != nil else { continue }
                learn(segment, known, wanted)
                trace?("\(seconds(at)) > \(known.inScript(segment))")
                return (segment, known)
            }
            // The first packet of a connection that the script opens itself.
            if let current, !current.isTupleKnown {
                current.pair = segment.source
                current.isTupleKnown = true
                learn(segment, current, wanted)
                trace?("\(seconds(at)) > \(current.inScript(segment))")
                return (segment, current)
            }
        }
        return nil
    }

    /// Packets that the script did not ask for, for whoever reads the trace.
    func traceUnread() {
        guard let trace else { return }
        for (packet, at) in host.sent {
            guard let segment = packet.withUnsafeBytes({ WireSegment($0, at: at) }),
                let known = connections.last(where: { $0.isTupleKnown && $0.pair == segment.source })
            else { continue }
            trace("\(seconds(at)) > \(known.inScript(segment))")
        }
    }

    /// The first SYN or SYN-ACK tells where the host's numbers start.
    private func learn(_ segment: WireSegment, _ connection: ScriptConnection, _ wanted: ScriptSegment) {
        guard segment.flags.contains(.syn), connection.localStart?.real != segment.sequence else { return }
        connection.localStart = (segment.sequence, wanted.flags.contains(.syn) ? wanted.start : 0)
    }

    private func compareTimestamps(_ wanted: ScriptSegment, _ segment: WireSegment, _ connection: ScriptConnection, fail: (String) -> ScriptStop) throws(ScriptStop) {
        var script: UInt32?
        var real: UInt32?
        for option in wanted.options { if case .timestamps(let value, _) = option { script = value } }
        for option in segment.options { if case .timestamps(let value, _) = option { real = value } }
        guard let script, let real else { return }
        defer { connection.note(script: script, real: real) }
        guard configuration.timestampTick > 0, let first = connection.firstTimestamp else { return }
        let expected = Int64(Int32(bitPattern: script &- first.script)) * Int64(configuration.timestampTick)
        // The host's own clock ticks once a millisecond.
        let observed = Int64(Int32(bitPattern: real &- first.real)) * 1000
        guard abs(expected - observed) <= Int64(configuration.toleranceMicroseconds) else {
            throw fail(" (TS val is \(observed / Int64(configuration.timestampTick)) ticks after the first)")
        }
    }

    func compareTime(_ at: Instant, _ window: (first: Instant, last: Instant), fail: (String) -> ScriptStop) throws(ScriptStop) {
        let deviation = at < window.first ? (window.first - at).nanoseconds : at > window.last ? (at - window.last).nanoseconds : 0
        worstTiming = max(worstTiming, deviation)
        guard deviation > tolerance(gap: (window.last - previous).nanoseconds) else { return }
        ignoredTiming = true
    }

    /// In nanoseconds, for an event that comes `gap` after the one before it.
    func tolerance(gap: Int64) -> Int64 {
        max(Int64(configuration.toleranceMicroseconds) * 1000, Int64(Double(max(gap, 0)) * configuration.tolerancePercent / 100))
    }
}
