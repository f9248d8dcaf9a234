import HairpinEngine
import HairpinTransport
import HairpinWire

/// One script against one host: events in order, the clock moved from one to the next, timers going off on the way.
final class ScriptRun {
    let script: PacketdrillScript
    var configuration: ScriptConfiguration
    let host: ScriptHost
    let start: Instant
    /// Time zero of the script.
    var zero: Instant
    /// When the event before this one finished.
    var previous: Instant
    /// By the script's numbers, with what they name here.
    var descriptors: [Int64: ScriptDescriptor] = [:]
    var connections: [ScriptConnection] = []
    /// The connection packets without ports belong to, and the socket code blocks look at.
    var current: ScriptConnection?
    /// Listening sockets of the script, newest last: the next SYN from outside is for one of them.
    var listening: [SocketID] = []
    /// The newest socket that is neither connected nor listening yet.
    var fresh: SocketID?
    /// SO_RCVTIMEO and SO_SNDTIMEO, by socket.
    var patience: [UInt32: ScriptPatience] = [:]
    /// What setsockopt(2) left in options that change nothing, by socket, level and name.
    var inertValues: [[Int64]: Int64] = [:]
    var pending: PendingCall?
    var code = ScriptCode()
    /// The counters as nstat last saw them.
    private var counterHistory: [String: Int] = [:]
    var nextRemotePort: UInt16 = 40_000
    /// What had to be overlooked so far.
    var ignoredPush = false
    var ignoredTiming = false
    /// The worst deviation from a time the script gives, in nanoseconds.
    var worstTiming: Int64 = 0
    var line = 0
    var trace: (@Sendable (String) -> Void)?

    /// A blocking call that has not returned.
    struct PendingCall {
        var call: ScriptCall
        var line: Int
        var due: Instant
        var gap: Int64
        var state: ScriptCallState
    }

    /// The settings before the script, which `defaults.sh` restores.
    private let profile: TransportSettings

    init(_ script: PacketdrillScript, seed: UInt64, profile: TransportSettings) throws(ScriptStop) {
        self.script = script
        configuration = try ScriptConfiguration(script.options)
        self.profile = profile
        host = ScriptHost(local: configuration.local, remote: configuration.remote, mtu: configuration.mtu, settings: profile, seed: seed)
        start = host.now
        previous = host.now
        zero = host.now
    }

    // MARK: the script

    func run() throws(ScriptStop) {
        try refuseUnsupported()
        defer { traceUnread() }
        if let setup = script.setup { try shell(setup) }
        // Set-up may have slept: time zero is now.
        zero = host.now
        previous = zero
        for (index, event) in script.events.enumerated() {
            line = event.position.line
            do throws(ScriptStop) {
                try run(event, zero: zero, follows: index > 0 ? script.events[index - 1] : nil)
            } catch {
                guard case .failed(let line, let what, let expected, let actual) = error, isForgiven(event) else { throw error }
                let values = expected.map { ": expected \($0), got \(actual ?? "nothing")" } ?? ""
                trace?("line \(line): \(what)\(values), which is not fatal")
            }
        }
        try finishPendingCall()
    }

    /// `--non_fatal`: a packet or a call that is not as expected is told, and the script goes on.
    private func isForgiven(_ event: ScriptEvent) -> Bool {
        switch event.action {
        case .outbound: configuration.nonFatalPackets
        case .call: configuration.nonFatalCalls
        case .inbound, .shell, .code: false
        }
    }

    private func run(_ event: ScriptEvent, zero: Instant, follows: ScriptEvent?) throws(ScriptStop) {
        if case .outbound(let packet) = event.action {
            try expect(packet, event.time, zero: zero)
            return
        }
        if case .call = event.action { try finishPendingCall() }
        let due: Instant
        switch event.time {
        case .absolute(let t): due = zero + .microseconds(Int64(t))
        case .relative(let t): due = previous + .microseconds(Int64(t))
        case .any, .absoluteRange, .relativeRange: due = host.now
        }
        try advance(to: due)
        if case .absolute = event.time {
            // What came before took longer than the script has time for.
            let late = (host.now - due).nanoseconds
            worstTiming = max(worstTiming, late)
            if late > tolerance(gap: (due - previous).nanoseconds) { ignoredTiming = true }
        }
        let base = previous
        previous = max(due, host.now)
        switch event.action {
        case .inbound(let packet): try inject(packet)
        case .call(let call):
            if let returns = event.returnTime {
                let back = if case .absolute = event.time { zero + .microseconds(Int64(returns)) } else { base + .microseconds(Int64(returns)) }
                try begin(call, due: back)
            } else {
                try perform(call)
            }
        case .shell(let text):
            try shell(text)
            previous = host.now
        case .code(let text): try assertions(text)
        case .outbound: break
        }
        try checkPendingCall()
    }

    /// Moves the clock, letting timers expire; a waiting call is looked at after each.
    func advance(to time: Instant) throws(ScriptStop) {
        while try step(until: time) {}
        host.moveClock(to: time)
    }

    /// Up to the next timer, or the time a waiting call waits no longer than, if that is due by `end`; false if it is not.
    func step(until end: Instant) throws(ScriptStop) -> Bool {
        if let deadline = pending?.state.deadline, deadline > host.now, deadline <= end {
            if !host.step(until: deadline) { host.moveClock(to: deadline) }
        } else if !host.step(until: end) {
            return false
        }
        try checkPendingCall()
        return true
    }

    // MARK: shell and code

    func shell(_ text: ShellText) throws(ScriptStop) {
        for effect in try ShellCommands.effects(text) {
            switch effect {
            case .set(let name, let value):
                do throws(TransportSettings.SettingError) {
                    try host.stack.change(name, value)
                } catch {
                    switch error {
                    case .unknown(let name): throw .unsupported(text.position.line, "the setting \(name)")
                    case .invalid(let name, let value): throw .unsupported(text.position.line, "the value '\(value)' of \(name)")
                    }
                }
            case .sleep(let microseconds): try advance(to: host.now + .microseconds(Int64(microseconds)))
            case .restoreDefaults: host.stack.replaceSettings(profile)
            case .forgetMetrics: host.stack.forgetMetrics()
            case .mute(let isMuted): host.isMuted = isMuted
            case .pace(let isOn):
                var settings = host.stack.settings
                settings.pacesAlways = isOn
                host.stack.replaceSettings(settings)
            case .counters(let query):
                let (lines, succeeds) = query.run(host.stack.snapshot, history: &counterHistory)
                for text in lines { trace?(text) }
                guard succeeds else { throw .failed(line: text.position.line, "the command '\(query.text)' fails") }
            case .ignored: break
            }
        }
    }

    private func assertions(_ text: String) throws(ScriptStop) {
        let socket = current?.socket ?? fresh ?? listening.last
        let information = socket.flatMap { host.stack.tcpInformation($0) }?.fields
        let memory = socket.flatMap { host.stack.socketMemory($0) }
        let details = socket.flatMap { host.stack.congestionInformation($0) }?.fields
        do throws(ScriptCode.Stop) {
            let printed = try code.run(text, line: line) { name in
                if name.hasPrefix("tcpi_") { return information?[String(name.dropFirst(5))].map { Int64($0) } }
                if name.hasPrefix("SK_MEMINFO_") { return memory?[String(name.dropFirst(11))].map { Int64($0) } }
                if CongestionInformation.names.contains(name) { return details?[name].map { Int64($0) } }
                return ScriptSymbols.codeConstants[name]
            }
            for text in printed { trace?(text) }
        } catch {
            switch error {
            case .failed(let line, let what): throw .failed(line: line, what)
            case .unsupported(let line, let what):
                if information == nil, what.contains("'tcpi_") { throw .failed(line: line, "there is no connection whose \(what.dropFirst(9)) could be asked for") }
                throw .unsupported(line, what)
            }
        }
    }

    // MARK: what cannot be run

    /// Names the first construct that the runner does not know, before anything runs.
    private func refuseUnsupported() throws(ScriptStop) {
        var assigned: Set<String> = []
        if let setup = script.setup { _ = try ShellCommands.effects(setup) }
        for event in script.events {
            let line = event.position.line
            switch event.action {
            case .inbound(let packet), .outbound(let packet):
                if let first = packet.encapsulations.first { throw .unsupported(line, "an encapsulated packet (\(first.name))") }
                switch packet.body {
                case .tcp(let segment):
                    // What comes with the bit is played: a host without Accurate ECN takes no notice of it.
                    if segment.flags.contains(.ae), case .outbound = event.action { throw .unsupported(line, "the AccECN flag in an outbound packet") }
                    for option in segment.options {
                        if case .accurateECN = option { throw .unsupported(line, "the AccECN option") }
                        if case .md5 = option, case .outbound = event.action { throw .unsupported(line, "an outbound MD5 option") }
                    }
                case .udp: if case .outbound = event.action { throw .unsupported(line, "an outbound UDP packet") }
                case .icmp(let message):
                    if case .outbound = event.action { throw .unsupported(line, "an outbound ICMP packet") }
                    guard ScriptRun.icmpNumbers(message) != nil else { throw .unsupported(line, "icmp \(message.type) \(message.code ?? "")") }
                }
            case .call(let call): guard ScriptRun.knownCalls.contains(call.name) else { throw .unsupported(line, "the system call \(call.name)") }
            case .shell(let text): _ = try ShellCommands.effects(text)
            case .code(let text):
                for (statement, _) in ScriptCode.statements(text) {
                    if let sign = statement.firstIndex(of: "="), !statement.hasPrefix("assert") {
                        assigned.insert(String(statement[..<sign].filter { $0.isLetter || $0.isNumber || $0 == "_" }))
                    }
                }
                for (name, offset) in ScriptCode.namesRead(text) where !assigned.contains(name) && ScriptSymbols.codeConstants[name] == nil {
                    let isKnown = name.hasPrefix("tcpi_") && TCPInformation.names.contains(String(name.dropFirst(5))) || CongestionInformation.names.contains(name)
                        || name.hasPrefix("SK_MEMINFO_") && TransportStack.socketMemoryNames.contains(String(name.dropFirst(11)))
                    guard isKnown else {
                        throw .unsupported(line + offset, "the name '\(name)' in code")
                    }
                }
            }
        }
    }
}
