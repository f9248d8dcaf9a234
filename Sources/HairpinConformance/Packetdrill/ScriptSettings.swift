import HairpinTransport
import HairpinWire

/// What a script's options ask for, and the host it starts from: the reference profile scripts are written for.
struct ScriptConfiguration {
    var local = IPv4Address(192, 168, 0, 1)
    var remote = IPv4Address(192, 0, 2, 1)
    var bindPort: UInt16 = 8080
    var connectPort: UInt16 = 8080
    var mtu = 1500
    /// Tolerance of the times of outbound packets: the larger of the two.
    var toleranceMicroseconds = 4000
    var tolerancePercent = 12.5
    var timestampTick = 0
    var scalesUnknownEchoes = false
    var strictSegments = false
    var nonFatalPackets = false
    var nonFatalCalls = false

    /// Throws the first option that is not understood.
    init(_ options: [ScriptOption]) throws(ScriptStop) {
        for option in options {
            func stop() -> ScriptStop { .unsupported(option.position.line, "--\(option.name)\(option.value.map { "=" + $0 } ?? "")") }
            func number() throws(ScriptStop) -> Int {
                guard let text = option.value, let n = Int(text) else { throw stop() }
                return n
            }
            func address() throws(ScriptStop) -> IPv4Address {
                guard let text = option.value, let address = IPv4Address(text) else { throw stop() }
                return address
            }
            switch option.name {
            case "ip_version": guard option.value == "ipv4" || option.value == "ipv4-mapped-ipv6" else { throw stop() }
            case "local_ip", "bind_ip": local = try address()
            case "remote_ip", "connect_ip": remote = try address()
            case "bind_port": bindPort = UInt16(clamping: try number())
            case "connect_port": connectPort = UInt16(clamping: try number())
            case "mtu":
                mtu = try number()
                guard 68...65_535 ~= mtu else { throw stop() }
            case "tolerance_usecs": toleranceMicroseconds = try number()
            case "tolerance_percent":
                guard let value = option.value.flatMap(Double.init), value >= 0 else { throw stop() }
                tolerancePercent = value
            case "tcp_ts_tick_usecs": timestampTick = try number()
            case "tcp_ts_ecr_scaled": scalesUnknownEchoes = true
            case "strict_segments": strictSegments = true
            case "non_fatal":
                for word in (option.value ?? "").split(separator: ",") {
                    switch word {
                    case "packet", "packets": nonFatalPackets = true
                    case "syscall", "syscalls": nonFatalCalls = true
                    default: throw stop()
                    }
                }
            case "define", "D", "verbose", "v", "speed", "gateway_ip", "netmask_ip", "netdev", "mss", "init_scripts", "dry_run", "send_omit_free", "debug": break
            case let name where name.hasPrefix("code_") || name.hasPrefix("wire_"): break
            default: throw stop()
            }
        }
    }

    /// The settings of the reference tool's test hosts, which are not Linux's defaults everywhere.
    static var referenceProfile: TransportSettings {
        var settings = TransportSettings()
        settings.tcp_rmem = (4096, 540_000, 15 << 20)
        settings.tcp_wmem = (4096, 262_144, 4 << 20)
        settings.tcp_slow_start_after_idle = false
        settings.tcp_syn_retries = 5
        settings.tcp_synack_retries = 5
        settings.tcp_fastopen = 0x70403
        settings.tcp_fastopen_key = (0xb2b2_b2b2_a1a1_a1a1, 0xd4d4_d4d4_c3c3_c3c3)
        settings.rmem_max = 8 << 20
        settings.wmem_max = 8 << 20
        settings.tcp_ecn = 0
        settings.receivesFromTun = true
        return settings
    }

    /// The reference profile, on a kernel of before Linux 6.5 where that shows in what the host sends.
    static func profile(ofOlderKernel: Bool) -> TransportSettings {
        var settings = referenceProfile
        guard ofOlderKernel else { return settings }
        settings.sendsAsBefore6_10 = true
        settings.challengesUnsentAcks = false
        settings.tcp_syn_linear_timeouts = 0
        return settings
    }
}

/// The shell text of scripts, which configures the host under test. Nothing is executed: commands of a fixed list are understood, all others are
/// unsupported.
struct ShellCommands {
    enum Effect {
        case set(name: String, value: String)
        case sleep(microseconds: Int)
        case restoreDefaults
        case forgetMetrics
        case mute(Bool)
        case pace(Bool)
        case counters(CounterQuery)
        case ignored
    }

    /// The effects of `text`, in order. Throws the first command that is not known.
    static func effects(_ text: ShellText) throws(ScriptStop) -> [Effect] {
        var effects: [Effect] = []
        var line = text.position.line
        var pending = ""
        for raw in text.text.split(separator: "\n", omittingEmptySubsequences: false) {
            var piece = pending + String(raw)
            pending = ""
            if piece.hasSuffix("\\") {
                piece.removeLast()
                pending = piece
                line += 1
                continue
            }
            for part in separate(piece, [";", "&&"]) {
                let words = words(part)
                guard let first = words.first, !first.hasPrefix("#") else { continue }
                let pipeline = separate(part, ["||", "|"]).map(ShellCommands.words)
                if words.contains("nstat"), !part.contains("||"), let query = CounterQuery(pipeline, text: words.joined(separator: " ")) {
                    effects.append(.counters(query))
                } else {
                    effects += try effect(words, first: first, line: line)
                }
            }
            line += 1
        }
        return effects
    }

    /// The pieces between `separators`, of which the longer ones come first; not within quotes.
    private static func separate(_ command: String, _ separators: [String]) -> [String] {
        var parts: [String] = []
        var current = ""
        var quote: Character?
        var rest = command[...]
        while let c = rest.first {
            if quote == nil, let separator = separators.first(where: { rest.hasPrefix($0) }) {
                parts.append(current)
                current = ""
                rest.removeFirst(separator.count)
                continue
            }
            if let q = quote { if c == q { quote = nil } } else if c == "\"" || c == "'" { quote = c }
            current.append(c)
            rest.removeFirst()
        }
        return parts + [current]
    }

    /// Words as a shell would part them: by space, but not within quotes.
    private static func words(_ text: String) -> [String] {
        var result: [String] = []
        var current = ""
        var quote: Character?
        var isWord = false
        for c in text {
            if let q = quote {
                if c == q { quote = nil } else { current.append(c) }
            } else if c == "\"" || c == "'" {
                quote = c
                isWord = true
            } else if c == " " || c == "\t" || c == "\r" {
                if isWord { result.append(current) }
                (current, isWord) = ("", false)
            } else {
                current.append(c)
                isWord = true
            }
        }
        if isWord { result.append(current) }
        return result
    }

    private static func effect(_ words: [String], first: String, line: Int) throws(ScriptStop) -> [Effect] {
        let text = words.joined(separator: " ")
        let unknown = ScriptStop.unsupported(line, "the command '\(text.count > 60 ? String(text.prefix(57)) + "..." : text)'")
        let tool = first.split(separator: "/").last.map(String.init) ?? first
        if tool == "defaults.sh" { return [.restoreDefaults] }
        if tool.hasPrefix("sysctl_restore") { return [.ignored] }
        switch tool {
        case "set_sysctls.py", "sysctl":
            var effects: [Effect] = []
            var rest = words.dropFirst()[...]
            while let word = rest.popFirst() {
                if word.hasPrefix("-") || word.hasPrefix(">") || word.hasPrefix("2>") || word == "/dev/null" { continue }
                guard let sign = word.firstIndex(of: "=") else { throw unknown }
                var name = String(word[..<sign])
                if name.hasPrefix("/proc/sys/") { name.removeFirst("/proc/sys/".count) }
                effects.append(.set(name: name, value: String(word[word.index(after: sign)...])))
            }
            return effects
        case "echo":
            // `echo VALUE > FILE`
            guard words.count == 4, words[2] == ">" else { throw unknown }
            if words[3].hasPrefix("/proc/sys/") { return [.set(name: String(words[3].dropFirst("/proc/sys/".count)), value: words[1])] }
            if words[3].hasPrefix("/sys/module/tcp_cubic/parameters/") {
                return [.set(name: "tcp_cubic/" + String(words[3].split(separator: "/").last ?? ""), value: words[1])]
            }
            throw unknown
        case "sleep":
            guard words.count == 2, let seconds = Double(words[1]), seconds >= 0, seconds < 1e6 else { throw unknown }
            return [.sleep(microseconds: Int(seconds * 1e6))]
        case "ip" where words.dropFirst().prefix(2) == ["tcp_metrics", "flush"] || words.dropFirst().prefix(2) == ["tcp_metrics", "flush_all"]:
            return [.forgetMetrics]
        case "tc" where text.contains("pfifo limit 0"): return [.mute(true)]
        case "tc" where (words.contains("add") || words.contains("replace")) && words.contains("fq"): return [.pace(true)]
        case "tc" where text.contains("qdisc del") || text.contains("pfifo limit"): return [.mute(false)]
        case "true", ":": return [.ignored]
        default: throw unknown
        }
    }
}

/// Why a run ended early.
enum ScriptStop: Error {
    case failed(line: Int, String, expected: String? = nil, actual: String? = nil)
    case unsupported(Int, String)
}

extension ScriptConfiguration {
    /// The cookies a server with the reference profile's key, or with a key of zeros, gives the default remote address.
    static let fastOpenCookie = cookie(referenceProfile)
    static let zeroKeyFastOpenCookie = cookie(TransportSettings())
    private static func cookie(_ settings: TransportSettings) -> String {
        let bytes = settings.fastOpenCookie(client: IPv4Address(192, 0, 2, 1), server: IPv4Address(192, 168, 0, 1))
        return bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
