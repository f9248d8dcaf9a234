import HairpinDatapath
import HairpinEngine
import Testing

@testable import HairpinCapture

@Suite struct CaptureReaderTests {
    /// A big-endian pcap with microseconds and one packet of 3 of 60 bytes, compressed by gzip.
    static let compressed: [UInt8] = [
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 91, 184, 233, 240, 21, 6, 38, 6, 22, 6, 56, 248, 255, 31, 72, 48, 2, 49, 43, 16, 179, 3, 49, 51, 16, 219, 36, 38, 37, 3, 0,
        177, 23, 133, 79, 43, 0, 0, 0,
    ]

    @Test("gzip, the other byte order and microseconds")
    func compressedBigEndian() throws {
        let file = try CaptureReader.parse(CaptureReaderTests.compressed, name: "x.pcap.gz")
        #expect(file.packets.count == 1 && file.packets[0].time == Instant(nanoseconds: 5_000_007_000))
        #expect(file.packets[0].bytes.elementsEqual("abc".utf8) && file.packets[0].originalLength == 60)
    }

    @Test("a cut gzip file gives what can be had, garbage in it is an error with its place")
    func brokenGzip() throws {
        let file = try CaptureReader.parse(Array(CaptureReaderTests.compressed.dropLast(10)), name: "x")
        #expect(file.packets.count <= 1)
        var broken = CaptureReaderTests.compressed
        broken[10] = 0xff
        #expect(throws: CaptureError.self) { try CaptureReader.parse(broken, name: "x.gz") }
    }

    @Test("a pcapng of the other byte order, with microseconds and a simple packet")
    func bigEndianPcapng() throws {
        let bytes: [UInt8] = [
            0x0a, 0x0d, 0x0d, 0x0a, 0, 0, 0, 28, 0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 28,
            0, 0, 0, 1, 0, 0, 0, 20, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20,
            0, 0, 0, 6, 0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 0, 2, 0xab, 0xcd, 0, 0, 0, 0, 0, 36,
            0, 0, 0, 3, 0, 0, 0, 20, 0, 0, 0, 1, 0xef, 0, 0, 0, 0, 0, 0, 20,
        ]
        let file = try CaptureReader.parse(bytes, name: "m")
        #expect(file.packets.map { Array($0.bytes) } == [[0xab, 0xcd], [0xef]] && file.packets[0].time == Instant(nanoseconds: 9000))
    }

    @Test(
        "units of time",
        arguments: [
            (UInt64(10), 9, UInt64(5), UInt64(5)), (10, 6, 5, 5000), (10, 0, 5, 5_000_000_000), (10, 12, 5999, 5), (2, 1, 3, 1_500_000_000),
            (2, 32, 1 << 32, 1_000_000_000), (2, 127, 9, 0), (10, 0, .max, .max),
        ])
    func units(base: UInt64, exponent: Int, ticks: UInt64, nanoseconds: UInt64) {
        var interface = CapturedInterface()
        (interface.timeBase, interface.timeExponent) = (base, exponent)
        #expect(CaptureReader.time(ticks, interface).nanoseconds == nanoseconds)
    }

    @Test("a file that ends inside a packet is read up to there")
    func truncated() throws {
        var writer = try PcapWriter(to: .memory)
        for n in 0..<3 { try writer.write(frame(UInt8(n)), at: 0) }
        for cut in [1, 60, 75] {
            let file = try CaptureReader.parse(writer.memory.dropLast(cut), name: "m")
            #expect(file.packets.count == 2 && file.isTruncated)
        }
    }

    @Test("what is no capture is refused", arguments: [[], [1, 2], [UInt8]("hello, world, this is no capture".utf8), [0xd4, 0xc3, 0xb2, 0xa1, 2, 0]])
    func refused(bytes: [UInt8]) { #expect(throws: CaptureError.self) { try CaptureReader.parse(bytes, name: "m") } }

    @Test("a file that is not there is told by name")
    func missing() {
        #expect(throws: CaptureError.cannotRead(file: "/nowhere.pcap", reason: "no such file or directory")) { try CaptureReader.read("/nowhere.pcap") }
    }

    @Test("20 000 damaged files are read or refused, never more")
    func fuzz() throws {
        var pcap = try PcapWriter(to: .memory)
        for n in 0..<4 { try pcap.write(frame(UInt8(n)), at: UInt64(n)) }
        var pcapng = try PcapngWriter(to: .memory, section: PcapngSection(application: "x", comment: "y"), interfaces: PcapngWriterTests.interfaces)
        try pcapng.write(names: [(.loopback, "localhost")])
        for n in 0..<3 {
            try frame(UInt8(n)).withUnsafeBytes {
                try pcapng.write($0, time: .zero, interface: n % 2, flags: PcapngFlags(.inbound, $0), packetID: 1, isDropped: n == 1, comments: ["c"])
            }
        }
        try pcapng.write(statisticsOf: 0, at: .zero, from: .zero, received: 1, dropped: 2)
        var random = SeededRandom(seed: 1, name: "damage")
        func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
        var read = 0
        for round in 0..<20_000 {
            var bytes = round % 3 == 0 ? pcap.memory : pcapng.memory
            for _ in 0...below(4) { bytes[below(bytes.count)] = UInt8(truncatingIfNeeded: random.next()) }
            if below(5) == 0 { bytes.removeLast(below(bytes.count)) }
            if let file = try? CaptureReader.parse(bytes, name: "m"), !file.packets.isEmpty { read += 1 }
        }
        #expect((1000..<20_000).contains(read))
    }
}

@Suite struct CaptureFilterTests {
    @Test("pcap-filter syntax decides about frames")
    func matching() throws {
        let arp = try CaptureFilter("arp")
        let other = try CaptureFilter("not arp and ether host 0a:58:0a:f4:00:02")
        var ip = frame(0)
        ip[13] = 0
        frame(0).withUnsafeBytes { #expect(arp.matches($0) && !other.matches($0)) }
        ip.withUnsafeBytes { #expect(!arp.matches($0) && other.matches($0)) }
        let long = try CaptureFilter("greater 1000")
        ip.withUnsafeBytes { #expect(!long.matches($0) && long.matches($0, originalLength: 1000)) }
    }

    @Test(
        "an error has libpcap's reason and a column",
        arguments: [
            ("tcp prot 80", 5, "syntax error"), ("bogus", 1, "syntax error"), ("tcp port 80 and (udp", 13, "syntax error"), ("port 70000", 1, "70000"),
            ("a\0b", 1, "zero byte"),
        ])
    func errors(text: String, column: Int, reason: String) {
        do throws(CaptureError) {
            _ = try CaptureFilter(text)
            Issue.record("`\(text)` was accepted")
        } catch {
            guard case .filter(text, let place, let words) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(words.contains(reason), "\(error)")
            #expect(place == column, "\(error)")
        }
    }

    @Test("an empty filter takes everything")
    func empty() throws {
        let filter = try CaptureFilter("")
        frame(0).withUnsafeBytes { #expect(filter.matches($0)) }
    }
}
