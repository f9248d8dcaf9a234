import Foundation
import HairpinEngine
import HairpinTransport
import HairpinWire
import Testing

/// tshark's analysis of captures at the sender against the stack's own trace and counters. tshark guesses from the packets what the stack knows; its rules
/// (`tcp_analyze_sequence_number` of Wireshark 4.0) are applied here to the stack's trace, and must lead to the same frames.
@Suite("What tshark makes of a capture", .enabled(if: Tshark.path != nil, "tshark is not installed"))
struct TsharkTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var total = 400_000
        var loss: UInt32 = 0
        var ackLoss: UInt32 = 0
        /// In per cent, and by up to so many microseconds.
        var reordered: UInt32 = 0
        var displacement: UInt32 = 3000
        var receiveBuffer: Int?
        var reader: (bytes: Int, pause: HairpinEngine.Duration)?
        /// From then on packets to the sender come late, for so long: timeouts are spurious.
        var spike: (at: Int64, delay: Int64)?
        var selectiveAcks = true
        var testDescription: String { name }
    }
    static let cases = [
        Case(name: "clean"), Case(name: "loss of 2 %", loss: 2), Case(name: "loss of 8 %", loss: 8), Case(name: "loss of 5 % without SACK", loss: 5, selectiveAcks: false),
        Case(name: "loss of 20 % of ACKs", ackLoss: 20), Case(name: "reordering", reordered: 4), Case(name: "reordering and loss", loss: 1, reordered: 3),
        Case(name: "reordering by more than a round trip", reordered: 2, displacement: 60_000),
        Case(name: "zero window", total: 120_000, receiveBuffer: 8192, reader: (6000, .milliseconds(700))),
        Case(name: "small window", total: 200_000, receiveBuffer: 16_384, reader: (4000, .milliseconds(7))),
        Case(name: "spurious timeout", spike: (150, 600)),
    ]

    /// A run of a case: the packets at both ends, both traces, and the stacks' counters.
    struct Run {
        var atSender: [(time: UInt64, bytes: [UInt8])] = []
        var atReceiver: [(time: UInt64, bytes: [UInt8])] = []
        var sender: [TCPProbeRecord] = []
        var receiver: [TCPProbeRecord] = []
        var counters = TransportStatistics()
        var peerCounters = TransportStatistics()
        var startedAt: UInt64 = 0
        var received = 0
    }

    static func play(_ test: Case) throws -> Run {
        var settings = TransportSettings()
        settings.tcp_sack = test.selectiveAcks
        settings.wmem_max = 4_000_000
        let world = World(seed: 3, settings: settings)
        world.records = false
        defer { world.tearDown() }
        var run = Run()
        run.startedAt = world.now.nanoseconds
        var random = SeededRandom(seed: 7, name: test.name)
        world.hasFate = true
        world.fate = { [unowned world] packet in
            let base = HairpinEngine.Duration.milliseconds(10)
            let isData = packet.bytes.count > 100
            guard !packet.tcp!.flags.contains(.syn) else { return [base] }
            if packet.from == "a" {
                if isData, random.below(100) < test.loss { return [] }
                if isData, random.below(100) < test.reordered { return [base + .microseconds(Int64(random.below(test.displacement)) + 500)] }
            } else {
                if random.below(100) < test.ackLoss { return [] }
                let since = Int64(world.now.nanoseconds - run.startedAt) / 1_000_000
                if let spike = test.spike, since >= spike.at, since < spike.at + spike.delay { return [base + .milliseconds(spike.at + spike.delay - since)] }
            }
            return [base]
        }
        world.sniffer = { host, bytes in
            if host.name == "a" { run.atSender.append((host.world.now.nanoseconds, bytes)) } else { run.atReceiver.append((host.world.now.nanoseconds, bytes)) }
        }
        let logs = (TCPProbeLog(), TCPProbeLog())
        world.a.stack.trace(into: logs.0)
        world.b.stack.trace(into: logs.1)
        let flow = try BulkFlow(world, total: test.total, sendBuffer: 4_000_000, receiveBuffer: test.receiveBuffer, reader: test.reader)
        // All of it is in the send buffer at once, so that everything is sent by ACKs and timers, which the trace sees.
        world.run(.seconds(120))
        run.sender = logs.0.records
        run.receiver = logs.1.records
        run.counters = world.a.stack.counters
        run.peerCounters = world.b.stack.counters
        run.received = flow.received
        return run
    }

    @Test("Retransmissions, duplicate ACKs and windows are those of the stack", arguments: cases)
    func agreement(test: Case) throws {
        let run = try Self.play(test)
        #expect(run.received == test.total)
        let frames = try Tshark.analyze(run.atSender)
        #expect(frames.count == run.atSender.count)
        let judged = Judgement(run.sender, startedAt: run.startedAt)
        func found(_ flag: String) -> [Mark] { frames.filter { $0.flags.contains(flag) }.map { Mark(time: $0.time, sequence: $0.sequence) } }

        // Whatever tshark calls it, a segment that is sent again is one the stack has counted, and the reverse.
        let again = frames.filter { !$0.flags.isDisjoint(with: Tshark.repeats) && $0.isFromSender }.map { Mark(time: $0.time, sequence: $0.sequence) }
        #expect(again == judged.retransmissions.map(\.mark))
        #expect(again.count == run.counters["TcpRetransSegs"])
        // Which kind it is, by tshark's rules over the stack's trace.
        if Tshark.isKnownVersion {
            for (frame, own) in zip(frames.filter { !$0.flags.isDisjoint(with: Tshark.repeats) && $0.isFromSender }, judged.retransmissions) {
                #expect(frame.flags.intersection(Tshark.repeats) == [own.kind], "\(own.mark) \(own.note)")
            }
        }
        #expect(found("duplicate_ack").map(\.time) == judged.duplicateAcks)
        #expect(found("zero_window").map(\.time) == judged.zeroWindows)
        // The first flight is sent by the program, which the trace does not see.
        let flight = run.startedAt + 30_000_000
        #expect(found("window_full").map(\.time).filter { $0 > flight } == judged.fullWindows.filter { $0 > flight })
        // The sender sees all it sends, and ACKs have no gaps.
        #expect(found("lost_segment").isEmpty)
        // Every closing of the window was told to the peer; the first frame of each run of zero windows tells of one.
        let closings = zip([UInt64(0)] + judged.zeroWindowRuns, judged.zeroWindowRuns).count { $0 != $1 }
        #expect(closings == run.peerCounters["TcpExtTCPToZeroWindowAdv"])
    }

    @Test("Gaps in what arrives are those of the receiver", arguments: cases.filter { $0.reordered == 0 })
    func gaps(test: Case) throws {
        let run = try Self.play(test)
        var highest: UInt32?
        var gaps: [UInt64] = []
        for record in run.receiver where record.event == .segment && record.length > 0 {
            if let highest, Int32(bitPattern: record.sequence &- highest) > 0 { gaps.append(record.time) }
            let end = record.sequence &+ record.length
            if highest == nil || Int32(bitPattern: end &- highest!) > 0 { highest = end }
        }
        let found = try Tshark.analyze(run.atReceiver).filter { $0.flags.contains("lost_segment") && $0.isFromSender }.map(\.time)
        #expect(found == gaps)
        // What arrives behind a gap waits in the queue of such segments; without a gap nothing does.
        #expect((run.peerCounters["TcpExtTCPOFOQueue"] ?? 0) >= gaps.count)
        #expect(gaps.isEmpty == (run.peerCounters["TcpExtTCPOFOQueue"] == 0))
    }
}

struct Mark: Hashable {
    var time: UInt64
    var sequence: UInt32
}

/// The rules of `tcp_analyze_sequence_number` over a stack's trace.
struct Judgement {
    var retransmissions: [(mark: Mark, kind: String, note: String)] = []
    var duplicateAcks: [UInt64] = []
    var zeroWindows: [UInt64] = []
    /// For each arriving segment with a window of zero, the arrival of the first of its run.
    var zeroWindowRuns: [UInt64] = []
    var fullWindows: [UInt64] = []

    private let startedAt: UInt64
    // What tshark remembers of the connection.
    private var lastAck: UInt32?
    private var lastWindow: UInt32 = 0
    private var lastArrival: UInt64 = 0
    private var duplicates = 0
    private var nextSequence: UInt32 = 0
    private var nextSequenceAt: UInt64 = 0
    private var firstRoundTrip: UInt64 = 0
    private var zeroSince: UInt64?

    init(_ trace: [TCPProbeRecord], startedAt: UInt64) {
        self.startedAt = startedAt
        // The line of a segment or timer is written when it has been worked off: behind those of the retransmissions it causes, which follow it on the wire.
        var repeated: [TCPProbeRecord] = []
        for record in trace {
            if record.event == .retransmit {
                repeated.append(record)
                continue
            }
            if record.event == .segment { arrive(record) }
            for again in repeated { retransmit(again) }
            repeated.removeAll()
            advance(record)
        }
    }

    private mutating func arrive(_ record: TCPProbeRecord) {
        defer { (lastAck, lastWindow, lastArrival) = (record.snd_una, record.snd_wnd, record.time) }
        guard let lastAck else {
            // The SYN-ACK: the initial round trip is over.
            firstRoundTrip = record.time - startedAt
            return
        }
        if record.snd_wnd == 0 {
            zeroWindows.append(record.time)
            zeroSince = zeroSince ?? record.time
            zeroWindowRuns.append(zeroSince!)
        } else {
            zeroSince = nil
        }
        if record.length == 0, record.snd_wnd != 0, record.snd_wnd == lastWindow, record.snd_una == lastAck {
            duplicates += 1
            duplicateAcks.append(record.time)
        }
        if record.snd_una != lastAck { duplicates = 0 }
    }

    private mutating func retransmit(_ record: TCPProbeRecord) {
        advance(record)
        guard let lastAck else { return }
        let end = record.sequence &+ record.length
        let kind: String
        if record.length > 0, Int32(bitPattern: end &- lastAck) <= 0 {
            kind = "spurious_retransmission"
        } else if duplicates >= 2, record.sequence == lastAck, record.time - lastArrival < 20_000_000 {
            kind = "fast_retransmission"
        } else if record.time - nextSequenceAt < firstRoundTrip, end != nextSequence {
            kind = "out_of_order"
        } else {
            kind = "retransmission"
        }
        let note = "\(record.length) bytes, \(duplicates) duplicates of \(lastAck), next \(nextSequence) since \(nextSequenceAt)"
        retransmissions.append((Mark(time: record.time, sequence: record.sequence), kind, note))
        if record.length > 0, end == record.snd_una &+ record.snd_wnd { fullWindows.append(record.time) }
    }

    /// New data went out before this line was written.
    private mutating func advance(_ record: TCPProbeRecord) {
        guard nextSequence == 0 || Int32(bitPattern: record.snd_nxt &- nextSequence) > 0 else { return }
        if nextSequence != 0, record.snd_nxt == record.snd_una &+ record.snd_wnd { fullWindows.append(record.time) }
        (nextSequence, nextSequenceAt) = (record.snd_nxt, record.time)
    }
}

/// tshark(1), and what it says of packets.
enum Tshark {
    static let repeats: Set = ["retransmission", "fast_retransmission", "spurious_retransmission", "out_of_order"]
    private static let flags = ["retransmission", "fast_retransmission", "spurious_retransmission", "out_of_order", "duplicate_ack", "zero_window", "window_full", "lost_segment"]

    static let path: String? = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/tshark" }
        .first { FileManager.default.isExecutableFile(atPath: $0) }

    /// The kinds of retransmissions are told apart by rules that change between versions; those written down here are 4.0's.
    static let isKnownVersion = ((try? run(["--version"])) ?? "").hasPrefix("TShark (Wireshark) 4.0.")

    struct Frame {
        var time: UInt64
        var sequence: UInt32
        var isFromSender: Bool
        var flags: Set<String>
    }

    static func run(_ arguments: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path ?? "/usr/bin/tshark")
        process.arguments = arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: data, as: UTF8.self)
    }

    /// Raw IPv4 packets as a classic pcap with nanoseconds (linktype 101), through tshark.
    static func analyze(_ packets: [(time: UInt64, bytes: [UInt8])]) throws -> [Frame] {
        var file: [UInt8] = []
        func put(_ values: UInt32...) { for value in values { for shift in [0, 8, 16, 24] as [UInt32] { file.append(UInt8(truncatingIfNeeded: value >> shift)) } } }
        put(0xa1b2_3c4d, 0x0004_0002, 0, 0, 262_144, 101)
        for packet in packets {
            put(UInt32(packet.time / 1_000_000_000), UInt32(packet.time % 1_000_000_000), UInt32(packet.bytes.count), UInt32(packet.bytes.count))
            file += packet.bytes
        }
        let name = FileManager.default.temporaryDirectory.appendingPathComponent("hairpin-\(ProcessInfo.processInfo.globallyUniqueString).pcap")
        try Data(file).write(to: name)
        defer { try? FileManager.default.removeItem(at: name) }
        var arguments = ["-r", name.path, "-o", "tcp.relative_sequence_numbers:FALSE", "-T", "fields", "-e", "frame.time_epoch", "-e", "tcp.seq", "-e", "tcp.dstport"]
        for flag in flags { arguments += ["-e", "tcp.analysis.\(flag)"] }
        let text = try run(arguments)
        var frames: [Frame] = []
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
            let parts = fields[0].split(separator: ".")
            guard fields.count == 3 + flags.count, parts.count == 2, let seconds = UInt64(parts[0]), let nanoseconds = UInt64(parts[1]), let sequence = UInt32(fields[1])
            else {
                Issue.record("tshark printed \(line)")
                continue
            }
            var found: Set<String> = []
            for (index, flag) in flags.enumerated() where !fields[3 + index].isEmpty { found.insert(flag) }
            // A fast or spurious retransmission is marked as a retransmission too.
            if !found.isDisjoint(with: ["fast_retransmission", "spurious_retransmission"]) { found.remove("retransmission") }
            frames.append(Frame(time: seconds * 1_000_000_000 + nanoseconds, sequence: sequence, isFromSender: fields[2] == "5001", flags: found))
        }
        return frames
    }
}
