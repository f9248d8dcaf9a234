import HairpinEngine
import HairpinWire

/// iperf3(1): a client and a server that measure what a connection carries, in version 3.12's protocol and words.
enum IPerf {
    static let version = "3.12"
    static let defaultPort: UInt16 = 5201

    /// States of a test, as both sides send them over the control connection (iperf_api.h).
    enum State {
        static let testStart: UInt8 = 1, testRunning: UInt8 = 2, testEnd: UInt8 = 4, parameterExchange: UInt8 = 9, createStreams: UInt8 = 10
        static let serverTerminate: UInt8 = 11, clientTerminate: UInt8 = 12, exchangeResults: UInt8 = 13, displayResults: UInt8 = 14, done: UInt8 = 16
        /// -1 and -2.
        static let accessDenied: UInt8 = 255, serverError: UInt8 = 254
    }
    /// A cookie and its NUL.
    static let cookieSize = 37
    /// What opens a UDP stream, and the answer (`UDP_CONNECT_MSG`, `UDP_CONNECT_REPLY`).
    static let datagramHello: [UInt8] = [0x39, 0x38, 0x37, 0x36], datagramReply: [UInt8] = [0x36, 0x37, 0x38, 0x39]

    static func program(_ arguments: [String]) -> any Program {
        let parsed: IPerfOptions
        do throws(IPerfOptions.Failure) { parsed = try IPerfOptions(arguments) } catch {
            return usageError(error.text, status: error.status)
        }
        if parsed.showsVersion {
            return Immediate { system in
                system.writeOutput("iperf \(version) (cJSON 1.7.15)\n")
                return 0
            }
        }
        return parsed.isServer ? IPerfServer(parsed) : IPerfClient(parsed)
    }
}

/// What the command line asks for.
struct IPerfOptions {
    struct Failure: Error {
        var text: String
        var status: Int32 = 1
    }

    var isServer = false
    var showsVersion = false
    var host = ""
    var port = IPerf.defaultPort
    var json = false
    /// Seconds between reports; zero: none.
    var interval = Duration.seconds(1)
    var isOneOff = false
    /// Format letter of bit rates; `a` adapts.
    var format: Character = "a"
    var parameters = IPerfParameters()
    var bindAddress: String?

    init(_ arguments: [String]) throws(Failure) {
        let options = Options(
            arguments, flags: "sRuJN14Vv", values: "cptnkiPbClwfMBO",
            long: [
                ("server", "s"), ("client=", "c"), ("port=", "p"), ("time=", "t"), ("bytes=", "n"), ("blockcount=", "k"), ("interval=", "i"), ("parallel=", "P"),
                ("bitrate=", "b"), ("bandwidth=", "b"), ("congestion=", "C"), ("length=", "l"), ("window=", "w"), ("format=", "f"), ("set-mss=", "M"), ("reverse", "R"),
                ("udp", "u"), ("json", "J"), ("no-delay", "N"), ("one-off", "1"), ("version", "v"), ("verbose", "V"), ("version4", "4"), ("bind=", "B"), ("omit=", "O"),
            ])
        func fail(_ text: String) -> Failure {
            Failure(text: "iperf3: parameter error - \(text)\n\nUsage: iperf3 [-s|-c host] [options]\nTry `iperf3 --help' for more information.\n")
        }
        if let unknown = options.unknown { throw Failure(text: "iperf3: invalid option -- '\(unknown.drop { $0 == "-" })'\nUsage: iperf3 [-s|-c host] [options]\n") }
        if let incomplete = options.incomplete {
            throw Failure(text: "iperf3: option requires an argument -- '\(incomplete.drop { $0 == "-" })'\nUsage: iperf3 [-s|-c host] [options]\n")
        }
        if let operand = options.operands.first { throw fail("unknown argument: \(operand)") }
        showsVersion = options.has("v")
        if showsVersion { return }
        isServer = options.has("s")
        if isServer == options.has("c") { throw fail(isServer ? "cannot be both server and client" : "must either be a client (-c) or server (-s)") }
        host = options["c"] ?? ""
        json = options.has("J")
        isOneOff = options.has("1")
        bindAddress = options["B"]
        if options["O"] != nil { throw fail("omitting seconds is not modelled") }
        func number(_ letter: String, _ range: ClosedRange<Int>, _ text: String) throws(Failure) -> Int? {
            guard let word = options[letter] else { return nil }
            guard let value = Int(word), range ~= value else { throw fail(text) }
            return value
        }
        if let value = try number("p", 1...65_535, "port number out of range (1 - 65535)") { port = UInt16(value) }
        if let word = options["i"] {
            guard let seconds = Double(word), seconds == 0 || (0.1...60).contains(seconds) else { throw fail("invalid report interval (min = 0.1, max = 60.0 seconds)") }
            interval = .nanoseconds(Int64(seconds * 1e9))
        }
        if let word = options["f"] {
            guard word.count == 1, let letter = word.first, "kmgtKMGTaA".contains(letter) else { throw fail("bad format specifier (valid formats are in the set [kmgtKMGT])") }
            format = letter
        }
        if isServer {
            for letter in ["t", "n", "k", "P", "b", "C", "l", "w", "M", "R", "u", "N"] where options.has(letter) {
                throw fail("some option you are trying to set is client only")
            }
            return
        }
        parameters.isUDP = options.has("u")
        parameters.isReverse = options.has("R")
        parameters.noDelay = options.has("N")
        parameters.streams = try number("P", 1...128, "number of parallel streams too large (maximum = 128)") ?? 1
        parameters.seconds = try number("t", 0...86_400, "test duration valid values are 0 to 86400 seconds") ?? 10
        parameters.maximumSegment = try number("M", 88...32_767, "TCP MSS too large (maximum = 32767 bytes)") ?? 0
        if let word = options["w"] {
            guard let size = IPerfOptions.quantity(word, kilo: 1024), size <= 512 * 1024 * 1024 else { throw fail("socket buffer size too large (maximum = 536870912 bytes)") }
            parameters.window = size
        }
        parameters.congestion = options["C"]
        parameters.length = parameters.isUDP ? 0 : 131_072
        if let word = options["l"] {
            guard let length = IPerfOptions.quantity(word, kilo: 1024), length > 0, length <= 1_048_576 else { throw fail("block size too large (maximum = 1048576 bytes)") }
            if parameters.isUDP, !(16...65_507 ~= length) { throw fail("block size invalid (minimum = 16 bytes, maximum = 65507 bytes)") }
            parameters.length = length
        }
        parameters.rate = parameters.isUDP ? 1_048_576 : 0
        if let word = options["b"] {
            guard let rate = IPerfOptions.quantity(word, kilo: 1000) else { throw fail("bad bit rate: \(word)") }
            parameters.rate = rate
        }
        if let word = options["n"] {
            guard let bytes = IPerfOptions.quantity(word, kilo: 1024), bytes > 0 else { throw fail("bad number of bytes: \(word)") }
            parameters.bytes = bytes
        }
        if let word = options["k"] {
            guard let blocks = IPerfOptions.quantity(word, kilo: 1024), blocks > 0 else { throw fail("bad number of blocks: \(word)") }
            parameters.blocks = blocks
        }
        let ends = (options.has("t") ? 1 : 0) + (parameters.bytes > 0 ? 1 : 0) + (parameters.blocks > 0 ? 1 : 0)
        if ends > 1 { throw fail("only one test end condition (-t, -n, -k) may be specified") }
        if parameters.bytes > 0 || parameters.blocks > 0 { parameters.seconds = 0 }
    }

    /// `10`, `1.5M`, `2G`: a number with a suffix of which each is `kilo` times the one before.
    static func quantity(_ word: String, kilo: Int) -> Int? {
        var digits = Substring(word)
        var factor = 1.0
        if let last = digits.last, let power = ["k", "m", "g", "t"].firstIndex(of: last.lowercased()) {
            digits.removeLast()
            for _ in 0...power { factor *= Double(kilo) }
        }
        guard let value = Double(digits), value >= 0, value * factor < 1e15 else { return nil }
        return Int(value * factor)
    }
}

/// What client and server agree on, and how it travels.
struct IPerfParameters {
    var isUDP = false
    var isReverse = false
    var noDelay = false
    var streams = 1
    var seconds = 10
    var bytes = 0
    var blocks = 0
    /// Of a write or datagram, in bytes; zero: the path's MSS decides.
    var length = 131_072
    /// Bits a second for each stream; zero: no limit.
    var rate = 0
    var window = 0
    var maximumSegment = 0
    var congestion: String?

    var json: JSON {
        var members: [(String, JSON)] = [
            (isUDP ? "udp" : "tcp", .bool(true)), ("omit", .int(0)), ("time", .int(seconds)), ("num", .int(bytes)), ("blockcount", .int(blocks)),
        ]
        if maximumSegment > 0 { members.append(("MSS", .int(maximumSegment))) }
        if noDelay { members.append(("nodelay", .bool(true))) }
        members.append(("parallel", .int(streams)))
        if isReverse { members.append(("reverse", .bool(true))) }
        if window > 0 { members.append(("window", .int(window))) }
        members.append(("len", .int(length)))
        if rate > 0 { members.append(("bandwidth", .int(rate))) }
        members.append(("pacing_timer", .int(1000)))
        if let congestion { members.append(("congestion", .string(congestion))) }
        members.append(("client_version", .string(IPerf.version)))
        return .make(members)
    }

    init() {}

    /// Nil if a value is missing or none a client may ask for.
    init?(_ json: JSON) {
        isUDP = json["udp"]?.isTrue ?? false
        isReverse = json["reverse"]?.isTrue ?? false
        noDelay = json["nodelay"]?.isTrue ?? false
        streams = json["parallel"]?.int ?? 1
        seconds = json["time"]?.int ?? 0
        bytes = json["num"]?.int ?? 0
        blocks = json["blockcount"]?.int ?? 0
        length = json["len"]?.int ?? 131_072
        rate = json["bandwidth"]?.int ?? 0
        window = json["window"]?.int ?? 0
        maximumSegment = json["MSS"]?.int ?? 0
        congestion = json["congestion"]?.string
        guard 1...128 ~= streams, 0...86_400 ~= seconds, bytes >= 0, blocks >= 0, rate >= 0, rate < 1_000_000_000_000_000, 1...1_048_576 ~= length, window >= 0
        else { return nil }
        if isUDP, !(16...65_507 ~= length) { return nil }
    }
}
