import HairpinEngine
import HairpinTransport
import HairpinWire

/// ping(8): iputils 20221126, or busybox's applet.
final class Ping: Program {
    private let userland: Userland
    private let options: Options
    private var isStarted = false
    private var resolver: Resolver?
    private var target = IPv4Address.any
    private var socket = SocketID.none
    private var name = ""

    private var count: Int?, interval = Duration.seconds(1), size = 56
    private var linger: Duration = .seconds(10), deadline: Instant?
    private var pattern: [UInt8] = []

    private var transmitted = 0, received = 0, errors = 0, duplicates = 0
    private var startedAt = Instant.zero, nextSend = Instant.zero, lastSend = Instant.zero, endAt: Instant?, pauseUntil: Instant?
    /// Send times by sequence number, and whether an answer came.
    private var sentAt: [Instant] = [], isAnswered: [Bool] = []
    private var sum: Int64 = 0, squares: Double = 0, least = Int64.max, most: Int64 = 0
    private var pipe = 0

    init(_ arguments: [String], userland: Userland) {
        self.userland = userland
        options = Options(arguments, flags: "qnDdvAaBbfLORrUV46", values: "ciWwstMIpQSlmTe", stopsAtOperand: false)
    }

    func resume(_ system: any SystemCalls) -> Suspension {
        if !isStarted {
            isStarted = true
            if let status = configure(system) { return .exit(status) }
        }
        if let resolver {
            switch resolver.advance(system) {
            case .wait(let set): return .wait(set)
            case .failed(let failure):
                system.writeError(userland == .gnu ? "ping: \(name): \(failure.message)\n" : "ping: bad address '\(name)'\n")
                return .exit(userland == .gnu ? 2 : 1)
            case .done(let addresses):
                self.resolver = nil
                target = addresses[0]
                if let status = open(system) { return .exit(status) }
            }
        }
        return run(system)
    }

    private func configure(_ system: any SystemCalls) -> Int32? {
        if let unknown = options.unknown {
            system.writeError(
                userland == .gnu
                    ? "ping: invalid option -- '\(unknown.drop { $0 == "-" })'\n\nUsage\n  ping [options] <destination>\n"
                    : "ping: unrecognized option: \(unknown.drop { $0 == "-" })\n")
            return userland == .gnu ? 2 : 1
        }
        guard let host = options.operands.last else {
            system.writeError(userland == .gnu ? "ping: usage error: Destination address required\n" : "BusyBox v1.36.1: usage: ping [OPTIONS] HOST\n")
            return userland == .gnu ? 1 : 1
        }
        name = host
        func number(_ option: String, _ range: ClosedRange<Int>) -> Int? {
            guard let text = options[option] else { return nil }
            guard let value = Int(text) else {
                fail("ping: invalid argument: '\(text)'\n")
                return nil
            }
            guard range.contains(value) else {
                fail("ping: invalid argument: '\(text)': out of range: \(range.lowerBound) <= value <= \(range.upperBound)\n")
                return nil
            }
            return value
        }
        var failure: String?
        func fail(_ text: String) { failure = failure ?? text }
        func duration(_ option: String) -> Duration? {
            guard let text = options[option] else { return nil }
            guard let value = parseDuration(text), text.last?.isNumber == true else {
                fail("ping: bad timing interval: \(text)\n")
                return nil
            }
            return value
        }
        count = number("c", 1...Int(Int32.max))
        size = number("s", 0...65507) ?? 56
        interval = duration("i") ?? interval
        linger = duration("W") ?? linger
        if let seconds = duration("w") { deadline = system.now + seconds }
        if let text = options["p"] { pattern = stride(from: 0, to: text.count - 1, by: 2).compactMap { UInt8(String(Array(text)[$0...($0 + 1)]), radix: 16) } }
        if options["M"].map({ !["do", "dont", "want", "probe"].contains($0) }) == true { fail("ping: invalid -M argument: \(options["M"]!)\n") }
        _ = number("t", 1...255)
        if let failure {
            system.writeError(failure)
            return 1
        }
        resolver = Resolver(host)
        return nil
    }

    private func open(_ system: any SystemCalls) -> Int32? {
        do throws(Errno) {
            socket = try system.socket(.icmpEcho)
            try system.setOption(socket, .receiveErrors(true))
            if let ttl = options["t"].flatMap({ UInt8($0) }) { try system.setOption(socket, .timeToLive(ttl)) }
            if let tos = options["Q"].flatMap({ UInt8($0) }) { try system.setOption(socket, .typeOfService(tos)) }
            switch options["M"] {
            case "do", "probe": try system.setOption(socket, .pathMTUDiscovery(.do))
            case "dont": try system.setOption(socket, .pathMTUDiscovery(.dont))
            case "want": try system.setOption(socket, .pathMTUDiscovery(.want))
            default: break
            }
            if let device = options["I"] {
                if let source = IPv4Address(device) { try system.bind(socket, SocketAddress(source, 0)) } else { try system.setOption(socket, .bindToDevice(device)) }
            }
        } catch {
            system.writeError("ping: \(error == .networkUnreachable ? "connect: " : "")\(error)\n")
            return 2
        }
        if userland == .gnu {
            let source = options["I"].map { " from \($0):" } ?? ""
            system.writeOutput("PING \(name) (\(target))\(source) \(size)(\(size + 28)) bytes of data.\n")
        } else {
            system.writeOutput("PING \(name) (\(target)): \(size) data bytes\n")
        }
        startedAt = system.now
        nextSend = system.now
        return nil
    }

    // MARK: The loop of main_loop()

    private func run(_ system: any SystemCalls) -> Suspension {
        while true {
            if let until = pauseUntil {
                // A local error is treated as a packet sent: nothing else happens for one interval.
                if system.now < until { return .wait(WaitSet(deadline: until)) }
                pauseUntil = nil
            }
            let answered = collect(system)
            if let count, received + errors >= count { return finish(system) }
            if let deadline, system.now >= deadline { return finish(system) }
            if deadline != nil, errors > 0 { return finish(system) }
            if let endAt, system.now >= endAt { return finish(system) }
            if count.map({ transmitted < $0 }) ?? true, system.now >= nextSend {
                if let status = transmit(system) { return .exit(status) }
                continue
            }
            if answered { continue }
            var wake = endAt ?? .distantFuture
            if count.map({ transmitted < $0 }) ?? true { wake = nextSend }
            if let deadline { wake = min(wake, deadline) }
            return .wait(WaitSet(sockets: [(socket, [.readable, .error])], deadline: wake))
        }
    }

    private func transmit(_ system: any SystemCalls) -> Int32? {
        let sequence = UInt16(truncatingIfNeeded: transmitted + (userland == .gnu ? 1 : 0))
        var failure: Errno?
        let now = system.now
        do throws(Errno) {
            try system.sendEcho(socket, to: target, sequence: sequence, payload: payload(now))
        } catch { failure = error }
        if failure == .networkUnreachable, transmitted == 0 {
            system.writeError(userland == .gnu ? "ping: connect: \(failure!)\n" : "ping: sendto: \(failure!)\n")
            return userland == .gnu ? 2 : 1
        }
        transmitted += 1
        sentAt.append(now)
        isAnswered.append(false)
        lastSend = now
        nextSend = now + interval
        if let failure {
            let before = errors
            _ = collect(system)
            if errors == before {
                if failure == .messageTooLong {
                    system.writeError("ping: local error: message too long, mtu=1500\n")
                } else {
                    system.writeError("ping: sendmsg: \(failure)\n")
                }
                errors += 1
            }
            pauseUntil = now + interval
        }
        pipe = max(pipe, transmitted - received - errors)
        if let count, transmitted >= count {
            if received > 0 {
                endAt = now + max(.microseconds(2 * most), interval)
            } else {
                endAt = now + (userland == .gnu ? linger : linger)
            }
        }
        return nil
    }

    /// A timeval and then counting bytes, as iputils fills it.
    private func payload(_ now: Instant) -> [UInt8] {
        var bytes = (0..<size).map { pattern.isEmpty ? UInt8(truncatingIfNeeded: userland == .gnu ? $0 : 0) : pattern[$0 % pattern.count] }
        func put(_ value: UInt64, at offset: Int, _ count: Int) { for i in 0..<count { bytes[offset + i] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(i))) } }
        let seconds = CivilTime.unixSeconds(now)
        let microseconds = now.nanoseconds % 1_000_000_000 / 1000
        if userland == .gnu, size >= 16 {
            put(seconds, at: 0, 8)
            put(microseconds, at: 8, 8)
        } else if userland == .busybox, size >= 4 {
            put((seconds * 1_000_000 + microseconds) & 0xffff_ffff, at: 0, 4)
        }
        return bytes
    }

    /// Takes everything that has arrived; true if there was anything.
    private func collect(_ system: any SystemCalls) -> Bool {
        var any = false
        while let error = system.takeQueuedError(socket) {
            any = true
            note(error, system)
        }
        while true {
            do throws(Errno) {
                let message = try system.receiveMessage(socket)
                any = true
                note(message, system)
            } catch {
                // An error reported here is one the queue tells more about; reading either clears the other.
                if any { _ = system.takeError(socket) }
                guard error != .tryAgain, let queued = system.takeQueuedError(socket) else { return any }
                any = true
                note(queued, system)
            }
        }
    }

    private func note(_ error: ReceivedError, _ system: any SystemCalls) {
        errors += 1
        guard let offender = error.offender else {
            system.writeError(error.errno == .messageTooLong ? "ping: local error: message too long, mtu=\(error.information)\n" : "ping: local error: \(error.errno)\n")
            return
        }
        guard !options.has("q"), userland == .gnu else { return }
        system.writeOutput(
            "From \(offender) icmp_seq=\(error.sequence) \(ICMPText.describe(type: error.icmpType, code: error.icmpCode, information: error.information))\n")
    }

    private func note(_ message: ReceivedMessage, _ system: any SystemCalls) {
        guard let sequence = message.echoReplySequence else { return }
        let first = userland == .gnu ? 1 : 0
        // The sequence number wraps at 65536; the latest packet with that number is meant.
        var index = sequence - first
        while index + 65536 < sentAt.count { index += 65536 }
        guard sentAt.indices.contains(index) else { return }
        let trip = (message.at - sentAt[index]).nanoseconds / 1000
        let isDuplicate = isAnswered[index]
        isAnswered[index] = true
        if isDuplicate { duplicates += 1 } else { received += 1 }
        sum += trip
        squares += Double(trip) * Double(trip)
        least = min(least, trip)
        most = max(most, trip)
        guard !options.has("q") else { return }
        let payloadCount = message.bytes.count
        let stamp = options.has("D") ? "[\(CivilTime.unixSeconds(message.at)).\(leftPadded(Int(message.at.nanoseconds % 1_000_000_000 / 1000), 6, with: "0"))] " : ""
        let timing = size >= 16 ? " time=\(tripText(trip)) ms" : ""
        if userland == .gnu {
            system.writeOutput(
                "\(stamp)\(payloadCount) bytes from \(source(message.source.address)): icmp_seq=\(sequence) ttl=\(message.timeToLive)\(timing)\(isDuplicate ? " (DUP!)" : "")\n"
            )
        } else {
            system.writeOutput(
                "\(payloadCount) bytes from \(message.source.address): seq=\(sequence) ttl=\(message.timeToLive) time=\(fixedPoint(UInt64(trip), 3)) ms\(isDuplicate ? " (DUP!)" : "")\n"
            )
        }
    }

    /// Names are shown with the address where the target was given by name.
    private func source(_ address: IPv4Address) -> String {
        address == target && IPv4Address(name) == nil && !options.has("n") ? "\(name) (\(address))" : address.description
    }

    private func tripText(_ microseconds: Int64) -> String {
        let trip = UInt64(max(0, microseconds))
        if trip >= 100_000 { return String((trip + 500) / 1000) }
        if trip >= 10_000 { return fixedPoint((trip + 50) / 100, 1) }
        if trip >= 1000 { return fixedPoint((trip + 5) / 10, 2) }
        return fixedPoint(trip, 3)
    }

    private func finish(_ system: any SystemCalls) -> Suspension {
        system.close(socket)
        let loss = transmitted == 0 ? 0 : Double(transmitted - received) * 100 / Double(transmitted)
        var text = "\n--- \(name) ping statistics ---\n"
        if userland == .gnu {
            text += "\(transmitted) packets transmitted, \(received) received"
            if duplicates > 0 { text += ", +\(duplicates) duplicates" }
            if errors > 0 { text += ", +\(errors) errors" }
            let end = lastSend > startedAt ? lastSend : startedAt
            if transmitted > 0 { text += ", \(significant(loss))% packet loss, time \((end - startedAt).nanoseconds / 1_000_000)ms" }
            text += "\n"
            let total = Int64(received + duplicates)
            if total > 0, size >= 16 {
                let average = sum / total
                let variance = squares / Double(total) - Double(sum) * Double(sum) / Double(total) / Double(total)
                text +=
                    "rtt min/avg/max/mdev = \([least, average, most, Int64(max(0, variance).squareRoot())].map { fixedPoint(UInt64($0), 3) }.joined(separator: "/")) ms"
            }
            if pipe > 1 { text += "\(total > 0 && size >= 16 ? ", " : "")pipe \(pipe)" }
            text += "\n"
        } else {
            text += "\(transmitted) packets transmitted, \(received) packets received, \(Int(loss))% packet loss\n"
            if received > 0 {
                text += "round-trip min/avg/max = \(fixedPoint(UInt64(least), 3))/\(fixedPoint(UInt64(sum / Int64(received)), 3))/\(fixedPoint(UInt64(most), 3)) ms\n"
            }
        }
        system.writeOutput(text)
        return .exit(received == 0 ? 1 : deadline != nil && count.map { received < $0 } == true ? 1 : 0)
    }
}

extension ReceivedMessage {
    /// The sequence number of an echo reply: of a whole ICMP message with type, code, checksum, identifier and sequence (RFC 792). Nil for anything else.
    var echoReplySequence: Int? { bytes.count >= 8 && bytes[0] == 0 ? Int(bytes[6]) << 8 | Int(bytes[7]) : nil }
}

/// ICMP errors in the words of ping(8).
enum ICMPText {
    static func describe(type: UInt8, code: UInt8, information: UInt32) -> String {
        switch (type, code) {
        case (3, 0): "Destination Net Unreachable"
        case (3, 1): "Destination Host Unreachable"
        case (3, 2): "Destination Protocol Unreachable"
        case (3, 3): "Destination Port Unreachable"
        case (3, 4): "Frag needed and DF set (mtu = \(information))"
        case (3, 5): "Source Route Failed"
        case (3, 9): "Destination Net Prohibited"
        case (3, 10): "Destination Host Prohibited"
        case (3, 13): "Packet filtered"
        case (3, _): "Dest Unreachable, Bad Code: \(code)"
        case (11, 0): "Time to live exceeded"
        case (11, 1): "Frag reassembly time exceeded"
        case (5, _): "Redirect Host"
        default: "Bad ICMP type: \(type)"
        }
    }
}
