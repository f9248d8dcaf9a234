import HairpinEngine
import HairpinTransport
import HairpinWire

/// traceroute(8): version 2.1 as Debian has it, with 16 probes out at once, or busybox's applet, one probe after the other. Probes are datagrams to ports from
/// 33434 on, with -I echo requests, and what comes back is read from the error queue (IP_RECVERR).
final class Traceroute: Program {
    /// What became of a probe.
    private struct Answer {
        var from: IPv4Address
        var trip: Duration
        /// "!H" and its like; empty for an answer without more to say.
        var remark = ""
        var isFinal = false
    }
    private struct Probe {
        var socket = SocketID.none
        var sentAt: Instant?
        var answer: Answer?
        /// Answered, given up, or impossible to send.
        var isDone = false
    }

    private let userland: Userland
    private let options: Options
    private var isStarted = false
    private var name = "", target = IPv4Address.any
    private var resolver: Resolver?

    private var firstHop = 1, lastHop = 30, perHop = 3, port: UInt16 = 33434, length = 60, patience = Duration.seconds(5), atOnce = 16
    private var echoes: Bool { options.has("I") }
    private var isNumeric: Bool { options.has("n") }

    /// Probe `n` is the `n % perHop`th of hop `n / perHop + 1`.
    private var probes: [Probe] = []
    /// No probe from here on is waited for: the target has answered.
    private var end = 0
    /// The next probe to send, and the next to print.
    private var next = 0, shown = 0
    /// Of all echo requests, and of busybox's datagrams.
    private var sharedSocket = SocketID.none
    /// The address that stands last in the line being printed, and the look-up of its name.
    private var printed: IPv4Address?
    private var reverse: ReverseResolver?

    init(_ arguments: [String], userland: Userland) {
        self.userland = userland
        options = Options(arguments, flags: "4FInrUvd", values: "fmqwpNsitz", long: [("icmp", "I"), ("max-hops=", "m"), ("queries=", "q"), ("wait=", "w"), ("port=", "p")])
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
                system.writeError(
                    userland == .gnu
                        ? "\(name): \(failure.message)\nCannot handle \"host\" cmdline arg `\(name)' on position 1 (argc 1)\n" : "traceroute: bad address '\(name)'\n")
                return .exit(userland == .gnu ? 2 : 1)
            case .done(let addresses):
                self.resolver = nil
                target = addresses[0]
                if let status = open(system) { return .exit(status) }
            }
        }
        return run(system)
    }

    // MARK: Beginning

    private func configure(_ system: any SystemCalls) -> Int32? {
        func refuse(_ text: String) -> Int32 {
            system.writeError(text + "\n")
            return userland == .gnu ? 2 : 1
        }
        if let unknown = options.unknown {
            if userland == .busybox { return refuse("traceroute: unrecognized option: \(unknown.drop { $0 == "-" })") }
            return refuse("Bad option `\(unknown)' (argc 1)")
        }
        if let option = options.incomplete { return refuse("Option `\(option)' (argc 1) requires an argument") }
        guard let host = options.operands.first else {
            return refuse(userland == .gnu ? "Specify \"host\" missing argument." : "BusyBox v1.36.1: usage: traceroute [OPTIONS] HOST [BYTES]")
        }
        var refusal: Int32?
        func number(_ option: String, _ range: ClosedRange<Int>, _ usual: Int) -> Int {
            guard let text = options[option] else { return usual }
            if let value = Int(text), range.contains(value) { return value }
            refusal = refusal ?? refuse("traceroute: -\(option) '\(text)' is not a number from \(range.lowerBound) to \(range.upperBound)")
            return usual
        }
        firstHop = number("f", 1...255, 1)
        lastHop = number("m", 1...255, 30)
        perHop = number("q", 1...10, 3)
        port = UInt16(number("p", 1...65535, 33434))
        patience = .seconds(Int64(number("w", 1...86400, 5)))
        atOnce = userland == .gnu ? number("N", 1...255, 16) : 1
        let header = 28
        length = userland == .gnu ? 60 : 46
        if let text = options.operands.dropFirst().first {
            guard let bytes = Int(text), (header...65000).contains(bytes) else {
                return refuse("traceroute: '\(text)' is not a length of packets from \(header) to 65000 bytes")
            }
            length = bytes
        }
        if let refusal { return refusal }
        if firstHop > lastHop { return refuse(userland == .gnu ? "first hop out of range" : "traceroute: first ttl (\(firstHop)) may not be greater than max ttl (\(lastHop))") }
        name = host
        resolver = Resolver(host, family: userland == .gnu ? .both : .ipv4)
        return nil
    }

    private func open(_ system: any SystemCalls) -> Int32? {
        end = lastHop * perHop
        probes = Array(repeating: Probe(), count: end)
        next = (firstHop - 1) * perHop
        shown = next
        if echoes || userland == .busybox {
            do throws(Errno) { sharedSocket = try makeSocket(system) } catch {
                system.writeError("traceroute: socket: \(error)\n")
                return 1
            }
        }
        system.writeOutput("traceroute to \(name) (\(target)), \(lastHop) hops max, \(length) byte packets\n")
        return nil
    }

    private func makeSocket(_ system: any SystemCalls) throws(Errno) -> SocketID {
        let socket = try system.socket(echoes ? .icmpEcho : .datagram)
        try system.setOption(socket, .receiveErrors(true))
        // Routers on the way may fragment, unless -F; busybox leaves the kernel's choice, which is DF.
        if userland == .gnu { try system.setOption(socket, .pathMTUDiscovery(options.has("F") ? .do : .dont)) }
        if let tos = options["t"].flatMap({ UInt8($0) }) { try system.setOption(socket, .typeOfService(tos)) }
        if let device = options["i"] { try system.setOption(socket, .bindToDevice(device)) }
        if let source = options["s"].flatMap({ IPv4Address($0) }) { try system.bind(socket, SocketAddress(source, 0)) }
        return socket
    }

    // MARK: Probing

    private func run(_ system: any SystemCalls) -> Suspension {
        while true {
            collect(system)
            giveUp(system)
            if let suspension = show(system) { return suspension }
            if shown >= end { return finish(system) }
            let out = (shown..<next).count { !probes[$0].isDone }
            if next < end, out < atOnce {
                transmit(next, system)
                next += 1
                continue
            }
            let waiting = (shown..<min(next, end)).filter { !probes[$0].isDone }
            var set = WaitSet(deadline: waiting.map { probes[$0].sentAt! + patience(for: $0) }.min())
            let news: Readiness = [.readable, .error]
            set.sockets = sharedSocket == .none ? waiting.map { (probes[$0].socket, news) } : [(sharedSocket, news)]
            return .wait(set)
        }
    }

    private func transmit(_ index: Int, _ system: any SystemCalls) {
        do throws(Errno) {
            let socket = sharedSocket == .none ? try makeSocket(system) : sharedSocket
            probes[index].socket = socket
            try system.setOption(socket, .timeToLive(UInt8(index / perHop + 1)))
            let payload = [UInt8]((0..<(length - 28)).map { 0x40 &+ UInt8(truncatingIfNeeded: $0) & 0x3f })
            probes[index].sentAt = system.now
            if echoes {
                try system.sendEcho(socket, to: target, sequence: UInt16(truncatingIfNeeded: index + 1), payload: payload)
            } else if userland == .busybox {
                try system.send(socket, payload, to: SocketAddress(target, port(of: index)))
            } else {
                try system.connect(socket, SocketAddress(target, port(of: index)))
                _ = try system.send(socket, payload[...])
            }
        } catch {
            probes[index].isDone = true
            probes[index].answer = Answer(from: .any, trip: .zero, remark: "!\(error)", isFinal: true)
            if sharedSocket == .none { system.close(probes[index].socket) }
        }
    }

    /// busybox counts from one, the other from zero.
    private func port(of index: Int) -> UInt16 { port &+ UInt16(truncatingIfNeeded: index - (firstHop - 1) * perHop) &+ (userland == .busybox ? 1 : 0) }

    /// With `-w 5,3,10`, as it is by default: at most three times as long as another probe of the hop took, or ten times as long as one of a later hop.
    private func patience(for index: Int) -> Duration {
        guard userland == .gnu, options["w"] == nil else { return patience }
        let hop = index / perHop * perHop
        func trip(_ other: Int) -> Duration? { probes[other].answer.flatMap { $0.trip > .zero ? $0.trip : nil } }
        /// The program compares times of day, and allows for their being imprecise (`DEF_WAIT_PREC`).
        let imprecision = Duration.milliseconds(1)
        if let same = (hop..<(hop + perHop)).lazy.compactMap(trip).first { return min(patience, (same + imprecision) * 3) }
        if let later = (index + 1..<max(next, index + 1)).lazy.compactMap(trip).first { return min(patience, (later + imprecision) * 10) }
        return patience
    }

    private func collect(_ system: any SystemCalls) {
        if sharedSocket != .none {
            while let error = system.takeQueuedError(sharedSocket) {
                // One probe at a time, or its number is in the error.
                let index = echoes ? Int(error.sequence) - 1 : next - 1
                if probes.indices.contains(index) { note(error, index, system) }
            }
            while echoes {
                do throws(Errno) {
                    let message = try system.receiveMessage(sharedSocket)
                    guard let sequence = message.echoReplySequence else { continue }
                    let index = sequence - 1
                    guard probes.indices.contains(index), let sentAt = probes[index].sentAt, !probes[index].isDone else { continue }
                    end(index, Answer(from: message.source.address, trip: message.at - sentAt, isFinal: true), system)
                } catch { break }
            }
        } else {
            for index in shown..<next where !probes[index].isDone {
                while let error = system.takeQueuedError(probes[index].socket) { note(error, index, system) }
            }
        }
    }

    private func note(_ error: ReceivedError, _ index: Int, _ system: any SystemCalls) {
        guard let sentAt = probes[index].sentAt, !probes[index].isDone, let offender = error.offender else { return }
        _ = system.takeError(probes[index].socket)
        var answer = Answer(from: offender, trip: system.now - sentAt)
        if error.icmpType == 3 {
            answer.isFinal = true
            answer.remark =
                switch error.icmpCode {
                case 0: "!N"
                case 1: "!H"
                case 2: "!P"
                case 3: ""
                case 4: "!F-\(error.information)"
                case 5: "!S"
                case 13: "!X"
                default: "!\(error.icmpCode)"
                }
        }
        end(index, answer, system)
    }

    private func end(_ index: Int, _ answer: Answer, _ system: any SystemCalls) {
        probes[index].answer = answer
        probes[index].isDone = true
        if answer.isFinal { end = min(end, (index / perHop + 1) * perHop) }
        if sharedSocket == .none { system.close(probes[index].socket) }
    }

    private func giveUp(_ system: any SystemCalls) {
        for index in shown..<next where !probes[index].isDone {
            guard let sentAt = probes[index].sentAt, system.now >= sentAt + patience(for: index) else { continue }
            probes[index].isDone = true
            if sharedSocket == .none { system.close(probes[index].socket) }
        }
    }

    // MARK: Printing

    /// Prints the probes that are done, in their order.
    private func show(_ system: any SystemCalls) -> Suspension? {
        while shown < min(next, end), probes[shown].isDone {
            let isFirst = shown % perHop == 0
            let star = userland == .gnu ? " *" : "  *"
            if let answer = probes[shown].answer {
                var text = ""
                if answer.from != .any, isFirst || answer.from != printed {
                    switch names(of: answer.from, system) {
                    case .wait(let set): return .wait(set)
                    case .done(let found):
                        reverse = nil
                        text = (userland == .gnu ? " " : "  ") + found
                    }
                    printed = answer.from
                }
                if answer.from != .any { text += "  \(milliseconds(answer.trip)) ms" }
                if !answer.remark.isEmpty { text += " " + answer.remark }
                line(isFirst, text, system)
            } else {
                line(isFirst, star, system)
            }
            shown += 1
            if shown % perHop == 0 {
                system.writeOutput("\n")
                printed = nil
            }
        }
        return nil
    }

    private func line(_ isFirst: Bool, _ text: String, _ system: any SystemCalls) {
        system.writeOutput((isFirst ? leftPadded(shown / perHop + 1, 2) + (userland == .gnu ? " " : "") : "") + text)
    }

    private enum Naming {
        case wait(WaitSet)
        case done(String)
    }

    private func names(of address: IPv4Address, _ system: any SystemCalls) -> Naming {
        if isNumeric { return .done(address.description) }
        if reverse == nil { reverse = ReverseResolver(address) }
        switch reverse!.advance(system) {
        case .wait(let set): return .wait(set)
        case .done(let found): return .done("\(found.first ?? address.description) (\(address))")
        }
    }

    private func milliseconds(_ duration: Duration) -> String { fixedPoint(UInt64(max(0, duration.nanoseconds)) / 1000, 3) }

    private func finish(_ system: any SystemCalls) -> Suspension {
        if sharedSocket != .none { system.close(sharedSocket) } else { for probe in probes where probe.socket != .none && !probe.isDone { system.close(probe.socket) } }
        return .exit(0)
    }
}
