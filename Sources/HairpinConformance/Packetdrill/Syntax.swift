/// What a packetdrill script says, as values: options, then events in order. Nothing here knows the stack under test.
///
/// The language is that of the google/packetdrill tool; Docs/Packetdrill.md lists the constructs and what the runner makes of them.
public struct PacketdrillScript: Sendable {
    public var file: String
    var options: [ScriptOption]
    /// The backtick block before the first event: it configures the host under test.
    var setup: ShellText?
    var events: [ScriptEvent]

    /// Parses `text`; `file` is what errors name. `defines` replace whole words (`--define`).
    public init(_ text: String, file: String, defines: [String: String] = [:]) throws(ScriptError) {
        var parser = ScriptParser(text: text, file: file, defines: defines)
        self = try parser.script()
    }

    init(file: String, options: [ScriptOption], setup: ShellText?, events: [ScriptEvent]) {
        (self.file, self.options, self.setup, self.events) = (file, options, setup, events)
    }

    /// How many events the script has, its set-up block not counted.
    public var eventCount: Int { events.count }
}

/// Lines and columns count from one; a column is a byte, as compilers count them.
struct ScriptPosition: Hashable, Sendable {
    var line: Int
    var column: Int
}

/// A script that cannot be read: where, what would have been right there, and what stands there instead.
public struct ScriptError: Error, Hashable, CustomStringConvertible, Sendable {
    public var file: String
    public var line: Int
    public var column: Int
    public var expected: String
    public var found: String
    public var description: String { "\(file):\(line):\(column): expected \(expected), found \(found)" }
}

/// `--name` or `--name=value`.
struct ScriptOption: Sendable {
    var position: ScriptPosition
    var name: String
    var value: String?
}

struct ShellText: Sendable {
    var position: ScriptPosition
    var text: String
}

/// Microseconds. Ranges and `any` are for outbound packets only.
enum EventTime: Hashable, Sendable {
    case absolute(Int)
    case relative(Int)
    case absoluteRange(Int, Int)
    case relativeRange(Int, Int)
    case any

    var isAbsolute: Bool {
        switch self {
        case .absolute, .absoluteRange: true
        case .relative, .relativeRange, .any: false
        }
    }
    /// What the number, or the first of two, says.
    var start: Int {
        switch self {
        case .absolute(let t), .relative(let t), .absoluteRange(let t, _), .relativeRange(let t, _): t
        case .any: 0
        }
    }
}

struct ScriptEvent: Sendable {
    var position: ScriptPosition
    var time: EventTime
    /// `A...B` of a call that may block: when it must have returned, on the same base as `time`.
    var returnTime: Int?
    var action: ScriptAction
}

enum ScriptAction: Sendable {
    case inbound(ScriptPacket)
    case outbound(ScriptPacket)
    case call(ScriptCall)
    case shell(ShellText)
    case code(String)
}

struct ScriptCall: Sendable {
    var name: String
    var arguments: [ScriptExpression]
    var result: ScriptExpression
    /// The symbol after a result of -1.
    var errno: String?
}

/// An argument of a system call.
indirect enum ScriptExpression: Sendable, Hashable {
    case ellipsis
    case integer(Int64)
    case word(String)
    /// `A|B`
    case mask([ScriptExpression])
    case string(String)
    case list([ScriptExpression])
    case structure([ScriptField])
    /// `inet_addr("192.0.2.1")`, `htons(8080)`
    case function(String, [ScriptExpression])
}

/// `name=value`, `name(argument)=value`, or a value alone.
struct ScriptField: Sendable, Hashable {
    var name: String?
    var argument: ScriptExpression?
    var value: ScriptExpression
}

/// A packet as the script writes it: numbers relative, only what is written.
struct ScriptPacket: Sendable {
    enum Body: Sendable {
        case tcp(ScriptSegment)
        case udp(ScriptPorts?, length: Int)
        case icmp(ScriptICMP)
    }
    var position: ScriptPosition
    var ip = ScriptIPFields()
    /// Headers in front of the packet proper, outermost first; none can be run.
    var encapsulations: [ScriptEncapsulation] = []
    var body: Body
}

struct ScriptPorts: Hashable, Sendable {
    var source: UInt16
    var destination: UInt16
}

struct ScriptEncapsulation: Sendable {
    var name: String
    var text: String
}

/// The parenthesis after the direction mark.
struct ScriptIPFields: Sendable, Hashable {
    enum Congestion: String, Sendable { case noecn, ect0, ect1, ce, ect01 }
    var congestion: Congestion?
    var typeOfService: UInt8?
    var timeToLive: UInt8?
    var flowLabel: UInt32?
    var isEmpty: Bool { self == ScriptIPFields() }
}

struct ScriptSegment: Sendable {
    var ports: ScriptPorts?
    var flags: ScriptFlags
    var start: UInt32
    var length: Int
    var acknowledgment: UInt32?
    var window: UInt16?
    var urgent: UInt16?
    /// Nil is "no options"; `anyOptions` is `<...>`.
    var options: [ScriptTCPOption] = []
    var anyOptions = false
}

/// The flag letters of a segment.
struct ScriptFlags: OptionSet, Hashable, Sendable {
    let rawValue: UInt16
    static let fin = ScriptFlags(rawValue: 1), syn = ScriptFlags(rawValue: 2), rst = ScriptFlags(rawValue: 4), psh = ScriptFlags(rawValue: 8)
    static let ack = ScriptFlags(rawValue: 16), urg = ScriptFlags(rawValue: 32), ece = ScriptFlags(rawValue: 64), cwr = ScriptFlags(rawValue: 128)
    /// Accurate ECN, the reserved bit beside CWR (RFC 9768).
    static let ae = ScriptFlags(rawValue: 256)
    static let letters: [(Character, ScriptFlags)] = [
        ("S", .syn), ("F", .fin), ("R", .rst), ("P", .psh), ("U", .urg), ("E", .ece), ("W", .cwr), ("A", .ae), (".", .ack),
    ]
}

enum ScriptTCPOption: Hashable, Sendable {
    case maximumSegment(UInt16)
    case windowScale(UInt8)
    case selectiveAcksPermitted
    case selectiveAcks([ScriptRange])
    case timestamps(value: UInt32, echo: UInt32)
    case noOperation
    case endOfList
    case fastOpen([UInt8])
    case fastOpenExperiment([UInt8])
    case md5([UInt8])
    /// AccECN byte counters, kept as text: the stack under test does not know the option.
    case accurateECN(String)
}

struct ScriptRange: Hashable, Sendable {
    var start: UInt32
    var end: UInt32
}

struct ScriptICMP: Sendable {
    enum Quote: Sendable {
        case tcp(start: UInt32, length: Int)
        case udp(length: Int)
        case raw(length: Int)
    }
    var type: String
    var code: String?
    var mtu: UInt32?
    var id: UInt32?
    var quote: Quote?
}
