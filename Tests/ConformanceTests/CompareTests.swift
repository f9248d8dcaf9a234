import Foundation
import Testing

@testable import HairpinConformance

/// Frames for comparisons, written out by hand: what is tested here must not depend on our own builders.
private enum Raw {
    static func number(_ value: Int, _ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * (count - 1 - $0))) } }

    static func ip(_ proto: UInt8, from: [UInt8], to: [UInt8], ttl: UInt8 = 64, id: Int = 7, payload: [UInt8]) -> [UInt8] {
        var header: [UInt8] = [0x45, 0] + number(20 + payload.count, 2) + number(id, 2) + [0x40, 0, ttl, proto, 0, 0] + from + to
        let sum = checksum(header)
        (header[10], header[11]) = (UInt8(sum >> 8), UInt8(sum & 0xff))
        return header + payload
    }
    static func checksum(_ bytes: [UInt8]) -> Int {
        var sum = 0
        for at in stride(from: 0, to: bytes.count, by: 2) { sum += Int(bytes[at]) << 8 + (at + 1 < bytes.count ? Int(bytes[at + 1]) : 0) }
        while sum > 0xffff { sum = (sum & 0xffff) + (sum >> 16) }
        return ~sum & 0xffff
    }
    static func tcp(
        _ source: Int, _ destination: Int, seq: Int, ack: Int, flags: UInt8, window: Int = 502, options: [UInt8] = [], data: Int = 0, from: [UInt8] = pod1,
        to: [UInt8] = pod2, ttl: UInt8 = 64, id: Int = 7
    ) -> [UInt8] {
        var segment = number(source, 2) + number(destination, 2) + number(seq, 4) + number(ack, 4) + [UInt8((20 + options.count) / 4) << 4, flags]
        segment += number(window, 2) + [0, 0, 0, 0] + options + [UInt8](repeating: 0x61, count: data)
        let sum = checksum(from + to + [0, 6] + number(segment.count, 2) + segment)
        (segment[16], segment[17]) = (UInt8(sum >> 8), UInt8(sum & 0xff))
        return ethernet([8, 0], ip(6, from: from, to: to, ttl: ttl, id: id, payload: segment))
    }
    static func ethernet(_ type: [UInt8], _ payload: [UInt8]) -> [UInt8] { [0x0a, 0x58, 0, 0, 0, 2, 0x0a, 0x58, 0, 0, 0, 1] + type + payload }
    static let pod1: [UInt8] = [10, 244, 0, 2], pod2: [UInt8] = [10, 244, 0, 3]
    static let names = CaptureDescription(
        ips: ["10.244.0.2": "pod1", "10.244.0.3": "pod2"], macs: ["0a:58:00:00:00:01": "pod1.eth0", "0a:58:00:00:00:02": "pod2.eth0"], ports: [80])

    static func capture(_ frames: [[UInt8]], on interface: String = "pod1-eth0", step: UInt64 = 1000, description: CaptureDescription = names) -> CanonicalCapture {
        CanonicalCapture(captures: [interface: frames.enumerated().map { (time: UInt64($0.offset) * step, bytes: $0.element) }], description: description)
    }
    static func lines(_ frames: [[UInt8]], _ level: ComparisonLevel = .strict) -> [String] { capture(frames).render(level)["pod1-eth0"] ?? [] }

    /// A handshake, a request and its acknowledgment.
    static func exchange(port: Int = 40000, seq: Int = 1000, window: Int = 502, id: Int = 7) -> [[UInt8]] {
        [
            tcp(port, 80, seq: seq, ack: 0, flags: 2, window: 64240, options: [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7], id: id),
            tcp(80, port, seq: 5000, ack: seq + 1, flags: 0x12, window: 65160, options: [2, 4, 5, 180], from: pod2, to: pod1, id: 0),
            tcp(port, 80, seq: seq + 1, ack: 5001, flags: 0x10, window: window, id: id + 1),
            tcp(port, 80, seq: seq + 1, ack: 5001, flags: 0x18, window: window, data: 74, id: id + 2),
            tcp(80, port, seq: 5001, ack: seq + 75, flags: 0x10, window: 509, options: [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 1], from: pod2, to: pod1, id: 3),
        ]
    }
}

@Suite struct CanonicalLineTests {
    @Test("a TCP exchange at every level")
    func levels() {
        let frames = Raw.exchange()
        #expect(
            Raw.lines(frames) == [
                "pod1.eth0 > pod2.eth0 | IP pod1 > pod2 ttl=64 DF | TCP e1 > 80 [S] seq=0 win=64240 len=0 <mss:1460,sackOK,ts0,nop,wscale:7>",
                "pod1.eth0 > pod2.eth0 | IP pod2 > pod1 ttl=64 DF id=0 | TCP 80 > e1 [SA] seq=0 ack=1 win=65160 len=0 <mss:1460>",
                "pod1.eth0 > pod2.eth0 | IP pod1 > pod2 ttl=64 DF | TCP e1 > 80 [A] seq=1 ack=1 win=502 len=0",
                "pod1.eth0 > pod2.eth0 | IP pod1 > pod2 ttl=64 DF | TCP e1 > 80 [PA] seq=1 ack=1 win=502 len=74",
                "pod1.eth0 > pod2.eth0 | IP pod2 > pod1 ttl=64 DF | TCP 80 > e1 [A] seq=1 ack=75 win=509 len=0 <nop,nop,ts>",
            ])
        #expect(Raw.lines(frames, .packets)[3].hasSuffix("TCP e1 > 80 [A] seq=1 ack=1 len=74"))
        #expect(
            Raw.lines(frames, .segments).map { $0.components(separatedBy: "| ").last ?? "" } == [
                "TCP e1 > 80 [S] seq=0 len=0 <mss:1460,sackOK,ts0,wscale:7>", "TCP 80 > e1 [SA] seq=0 len=0 <mss:1460>",
                "TCP e1 > 80 [A] seq=1 len=0", "TCP e1 > 80 [A] seq=1 len=74",
            ])
        #expect(
            Raw.lines(frames, .flow) == [
                "TCP pod1 > pod2 e > 80 flags=S bytes=74 <mss:1460,sackOK,ts0,wscale:7> | pod1.eth0 > pod2.eth0 ttl=64",
                "TCP pod2 > pod1 80 > e flags=S bytes=0 <mss:1460> | pod1.eth0 > pod2.eth0 ttl=64",
            ])
    }

    @Test("a wrong checksum, a partial one and padding are seen")
    func checksums() {
        var frame = Raw.tcp(40000, 80, seq: 1, ack: 1, flags: 0x10)
        frame[14 + 20 + 16] ^= 1
        #expect(Raw.lines([frame])[0].hasSuffix("len=0 csum=bad"))
        // What the kernel leaves to hardware: the sum of the pseudo header alone.
        let partial = ~Raw.checksum(Raw.pod1 + Raw.pod2 + [0, 6] + Raw.number(20, 2)) & 0xffff
        (frame[50], frame[51]) = (UInt8(partial >> 8), UInt8(partial & 0xff))
        #expect(Raw.lines([frame + [0, 0]])[0].hasSuffix("len=0 pad=2"))
        frame[22] = 63
        #expect(Raw.lines([frame])[0].contains("ttl=63 DF ip-csum=bad |"))
    }

    @Test("symbols follow the order of appearance over all interfaces")
    func symbols() {
        let late = (time: UInt64(10), bytes: Raw.tcp(50000, 80, seq: 1, ack: 1, flags: 0x10))
        let early = (time: UInt64(5), bytes: Raw.tcp(60000, 80, seq: 1, ack: 1, flags: 0x10))
        let lines = CanonicalCapture(captures: ["a-eth0": [late], "b-eth0": [early]], description: Raw.names).render(.strict)
        #expect(lines["b-eth0"]?[0].contains("TCP e1 > 80") == true && lines["a-eth0"]?[0].contains("TCP e2 > 80") == true)
    }

    @Test("a repeated SYN keeps the numbers, a new one starts again")
    func sequences() {
        let syn = Raw.tcp(40000, 80, seq: 100, ack: 0, flags: 2)
        let again = Raw.tcp(40000, 80, seq: 900, ack: 0, flags: 2)
        let data = Raw.tcp(40000, 80, seq: 901, ack: 1, flags: 0x10)
        #expect(Raw.lines([syn, syn, again, data]).map { $0.contains("seq=0 ") } == [true, true, true, false])
        #expect(Raw.lines([syn, again, data])[2].contains("seq=1 ack=1 "))
    }

    @Test("membership reports are left out, unknown types and short frames are not a problem")
    func background() {
        let igmp = Raw.ethernet([8, 0], Raw.ip(2, from: Raw.pod1, to: [224, 0, 0, 22], payload: [1, 2]))
        #expect(Raw.lines([igmp, Raw.ethernet([0x88, 0xcc], [1, 2]), [1, 2, 3]]) == ["pod1.eth0 > pod2.eth0 | ethertype 0x88cc len=2"])
    }

    @Test("20 000 damaged frames are rendered at every level")
    func fuzz() {
        var state: UInt64 = 1
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let syn = Raw.exchange()[0]
        let icmp = Raw.ethernet([8, 0], Raw.ip(1, from: Raw.pod2, to: Raw.pod1, payload: [3, 4, 0, 0, 0, 0, 5, 0xaa] + syn[14..<60]))
        let vxlan = Raw.ethernet([8, 0], Raw.ip(17, from: Raw.pod2, to: Raw.pod1, payload: [1, 2, 0x21, 0x18, 0, 90, 0, 0, 8, 0, 0, 0, 0, 0, 1, 0] + syn))
        let six = Raw.ethernet(
            [0x86, 0xdd],
            [0x60, 0, 0, 0, 0, 40, 0, 64] + [UInt8](repeating: 3, count: 32) + [58, 0] + [UInt8](repeating: 0, count: 6) + [135, 0] + [UInt8](repeating: 1, count: 30))
        let seeds = [syn, icmp, vxlan, six]
        for _ in 0..<20 {
            let frames = (0..<1000).map { _ -> [UInt8] in
                var frame = seeds[next(4)]
                for _ in 0...next(5) { frame[next(frame.count)] = UInt8(next(256)) }
                return next(4) == 0 ? Array(frame.prefix(next(frame.count))) : frame
            }
            let capture = Raw.capture(frames)
            let lines = ComparisonLevel.allCases.map { capture.render($0)["pod1-eth0"]?.count ?? 0 }
            #expect(lines[0] + capture.unreadableFrames <= 1000 && lines[0] >= lines[2] && lines[3] > 0)
        }
    }
}

@Suite struct ComparisonTests {
    @Test("runs that differ only in what is random are identical")
    func identical() {
        let report = compare(references: [Raw.capture(Raw.exchange())], candidate: Raw.capture(Raw.exchange(port: 51234, seq: 77_000, id: 900)), level: .strict)
        #expect(report.isIdentical && report.identical == 1 && report.similarity == 1 && report.differences.isEmpty)
    }

    @Test("another window is a difference at strict only, and it is shown")
    func window() throws {
        let reference = Raw.capture(Raw.exchange())
        let candidate = Raw.capture(Raw.exchange(window: 501))
        let report = compare(references: [reference], candidate: candidate, level: .strict)
        #expect(!report.isIdentical && report.identical == 0 && abs(report.similarity - 0.6) < 1e-9)
        let lines = try #require(report.differences.first).lines
        #expect(lines[0].hasPrefix(" ") && lines[1].hasPrefix("-") && lines[1].contains("win=502") && lines.contains { $0.hasPrefix("+") && $0.contains("win=501") })
        #expect(compare(references: [reference], candidate: candidate, level: .packets).isIdentical)
    }

    @Test("every interface may match another run")
    func bestRun() {
        let other = Raw.exchange(window: 501)
        let runs = [Raw.capture(Raw.exchange()), Raw.capture(other)]
        let report = compare(references: runs, candidate: Raw.capture(other), level: .strict)
        #expect(report.isIdentical && report.rows[0].run == 1)
    }

    @Test("a missing interface counts, one that is silent on both sides does not")
    func missing() {
        let two = CanonicalCapture(captures: ["pod1-eth0": Raw.exchange().map { (0, $0) }, "pod2-lo": []], description: Raw.names)
        #expect(compare(references: [two], candidate: two, level: .strict).identical == 1)
        let report = compare(references: [two], candidate: CanonicalCapture(captures: ["pod2-lo": []], description: Raw.names), level: .strict)
        #expect(report.identical == 0 && report.rows.first { $0.interface == "pod1-eth0" }?.candidate == nil)
    }

    @Test("gaps are compared with a tolerance of 20 ms or a tenth")
    func timing() throws {
        let slow = Raw.capture(Raw.exchange(), step: 1_000_000_000)
        let late = Raw.capture(Raw.exchange(), step: 1_090_000_000)
        let wrong = Raw.capture(Raw.exchange(), step: 1_200_000_000)
        let good = try #require(compare(references: [slow], candidate: late, level: .strict, compareTiming: true).timing)
        #expect(good.agreeing == 1 && abs(good.worstSeconds - 0.09) < 1e-9)
        #expect(compare(references: [slow], candidate: wrong, level: .strict, compareTiming: true).timing?.agreeing == 0)
    }

    @Test("pods with the same role are one at flow level")
    func roles() {
        var names = Raw.names
        names.roles = ["pod1": "client", "pod2": "near"]
        #expect(Raw.capture(Raw.exchange(), on: "node1-veth-pod2", description: names).render(.flow).keys.sorted() == ["node1-veth-near"])
        #expect(Raw.capture(Raw.exchange(), on: "pod2-eth0", description: names).render(.flow)["near-eth0"]?.first?.hasPrefix("TCP client > near e > 80") == true)
    }

    @Test(
        "the edit distance of lists of lines",
        arguments: [([], [], 0), (["a"], [], 1), (["a", "b", "c"], ["a", "c"], 1), (["a", "b"], ["b", "a"], 2), (["a", "b", "c", "d"], ["x", "b", "y", "d"], 2)])
    func distance(a: [String], b: [String], expected: Int) {
        #expect(editDistance(a, b) == expected && editDistance(b, a) == expected)
    }

    @Test("long runs that one side lacks are cut in the difference")
    func longDifference() {
        let lines = firstDifference((0..<100).map { "r\($0)" }, ["c"], limit: 8)
        #expect(lines == ["-r0", "-r1", "-r2", "-r3", "-… 96 more", "+c"])
    }

    @Test("a set of references reads the level that counts; a wrong level is told with its file")
    func referenceSet() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hairpin-references-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("stability.json")
        try Data(#"{"b": {"compare_at": "flow", "similarity": {"strict": 0.5, "flow": 1.0}}, "a": {"compare_at": "strict", "similarity": {}}}"#.utf8).write(to: file)
        let set = try ReferenceSet(folder: folder)
        #expect(set.scenarios.map(\.name) == ["a", "b"] && set.scenarios[1].compareAt == .flow && set.scenarios[1].ceilings[.strict] == 0.5)
        #expect(try set.scenarios[0].score(folder: folder.appendingPathComponent("nothing")).identical == 0)
        try Data(#"{"a": {"compare_at": "roughly", "similarity": {}}}"#.utf8).write(to: file)
        #expect { try ReferenceSet(folder: folder) } throws: { "\($0)".contains("stability.json") && "\($0)".contains("roughly") }
    }
}
