import Foundation
import HairpinDatapath
import HairpinEngine
import Testing

@testable import HairpinCapture

@Suite struct PcapWriterTests {
    @Test("the bytes of a file with one packet")
    func bytes() throws {
        var writer = try PcapWriter(to: .memory)
        try writer.write([0xaa, 0xbb, 0xcc], at: 2_000_000_003)
        try writer.finish()
        #expect(
            writer.memory == [
                0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0,
                2, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 0xaa, 0xbb, 0xcc,
            ])
    }

    @Test("libpcap and our own reader read the same from a file, also through buffers smaller than a packet")
    func libpcapAgrees() throws {
        let scratch = try Scratch()
        let path = scratch.path("a.pcap")
        var writer = try PcapWriter(to: .file(path), bufferSize: 512)
        for n in 0..<300 { try writer.write(frame(UInt8(n % 256), count: 14 + n * 7), at: UInt64(n) * 1_500_000_001) }
        try writer.finish()
        let own = try CaptureReader.read(path)
        let other = try CaptureReader.readWithLibpcap(path)
        #expect(own.packets.count == 300 && own.packets.count == other.packets.count && !own.isTruncated && own.interfaces[0].linkType == 1)
        for (a, b) in zip(own.packets, other.packets) { #expect(a.time == b.time && a.bytes == b.bytes && a.originalLength == b.originalLength) }
        #expect(own.packets[299].time.nanoseconds == 299 * 1_500_000_001)
    }

    @Test("a snap length cuts the bytes and keeps the length")
    func snapLength() throws {
        var writer = try PcapWriter(to: .memory, snapLength: 20)
        try writer.write(frame(1), at: 0)
        let packet = try CaptureReader.parse(writer.memory, name: "m").packets[0]
        #expect(packet.bytes.count == 20 && packet.originalLength == 60)
    }

    @Test("an empty capture is a readable file")
    func empty() throws {
        let scratch = try Scratch()
        var writer = try PcapWriter(to: .file(scratch.path("e.pcap")))
        try writer.finish()
        try writer.finish()
        #expect(try CaptureReader.readWithLibpcap(scratch.path("e.pcap")).packets.isEmpty)
    }
}

@Suite(.serialized) struct WriteFailureTests {
    @Test("a folder that does not exist is told by name")
    func cannotOpen() {
        #expect(throws: CaptureError.cannotOpen(file: "/nowhere/x.pcap", reason: "no such file or directory")) { _ = try PcapWriter(to: .file("/nowhere/x.pcap")) }
    }

    @Test("a full disk names the file, and every later call says the same")
    func fullDisk() throws {
        var writer = try PcapWriter(to: .file("/dev/full"), bufferSize: 512)
        let expected = CaptureError.writeFailed(file: "/dev/full", reason: "no space left on device", packets: 0, isReadable: false)
        var failure: CaptureError?
        for n in 0..<20 where failure == nil {
            do { try writer.write(frame(UInt8(n)), at: 0) } catch { failure = error as? CaptureError }
        }
        #expect(failure == expected && writer.failure == expected)
        do {
            try writer.write(frame(0), at: 0)
            Issue.record("a write after a failure went well")
        } catch { #expect(error as? CaptureError == expected) }
        do {
            try writer.finish()
            Issue.record("finishing after a failure went well")
        } catch { #expect(error == expected) }
        #expect(expected.description == "/dev/full: no space left on device after 0 packets")
    }

    /// A file in memory that cannot grow beyond `pages` pages: writes end in the middle of a record, as on a full disk.
    private func limited(pages: Int) throws -> Int32 {
        // Glibc's header hides it from Swift.
        typealias Create = @convention(c) (UnsafePointer<CChar>, UInt32) -> Int32
        let create = unsafeBitCast(try #require(dlsym(dlopen(nil, RTLD_NOW), "memfd_create")), to: Create.self)
        let MFD_ALLOW_SEALING: UInt32 = 2
        let descriptor = create("limited", MFD_ALLOW_SEALING)
        try #require(descriptor >= 0)
        try #require(ftruncate(descriptor, off_t(pages * 4096)) == 0)
        let F_ADD_SEALS: Int32 = 1033
        let F_SEAL_GROW: Int32 = 4
        try #require(fcntl(descriptor, F_ADD_SEALS, F_SEAL_GROW) == 0)
        return descriptor
    }

    @Test("pcap: after a failure in the middle of a record the file ends with the last whole packet")
    func cutPcap() throws {
        let descriptor = try limited(pages: 5)
        let copy = dup(descriptor)
        var writer = try PcapWriter(to: .descriptor(descriptor, name: "out/pod1-eth0.pcap"), bufferSize: 3000)
        var failure: CaptureError?
        var written = 0
        while failure == nil, written < 2000 {
            do {
                try writer.write(frame(UInt8(truncatingIfNeeded: written)), at: UInt64(written))
                written += 1
            } catch { failure = error as? CaptureError }
        }
        // 5 * 4096 - 24 bytes hold 269 records of 76 bytes.
        #expect(failure == .writeFailed(file: "out/pod1-eth0.pcap", reason: "operation not permitted", packets: 269, isReadable: true))
        #expect(failure?.description == "out/pod1-eth0.pcap: operation not permitted after 269 packets; the file is readable up to there")
        let file = try CaptureReader.read("/proc/self/fd/\(copy)")
        #expect(file.packets.count == 269 && !file.isTruncated)
        #expect(file.packets.enumerated().allSatisfy { $0.element.bytes.elementsEqual(frame(UInt8(truncatingIfNeeded: $0.offset))) })
        close(copy)
    }

    @Test("pcapng: the same")
    func cutPcapng() throws {
        let descriptor = try limited(pages: 3)
        let copy = dup(descriptor)
        var writer = try PcapngWriter(
            to: .descriptor(descriptor, name: "c.pcapng"), section: PcapngSection(application: "test"), interfaces: [PcapngInterface(name: "a")], bufferSize: 2000)
        var failure: CaptureError?
        while failure == nil {
            let bytes = frame(7, count: 61)
            do { try bytes.withUnsafeBytes { try writer.write($0, time: .zero, interface: 0, flags: PcapngFlags(rawValue: 1), packetID: 9) } } catch {
                failure = error as? CaptureError
            }
        }
        let file = try CaptureReader.read("/proc/self/fd/\(copy)")
        guard case .writeFailed(_, _, let packets, true) = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        #expect(packets > 90 && file.packets.count == Int(packets) && !file.isTruncated)
        #expect(try CaptureReader.readWithLibpcap("/proc/self/fd/\(copy)").packets.count == Int(packets))
        close(copy)
    }

    @Test("a reader that went away is an error, not the end of the process")
    func brokenPipe() throws {
        signal(SIGPIPE, SIG_IGN)
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        close(ends[0])
        var writer = try PcapWriter(to: .descriptor(ends[1], name: "fifo"))
        try writer.write(frame(1), at: 0)
        #expect(throws: CaptureError.writeFailed(file: "fifo", reason: "broken pipe", packets: 0, isReadable: false)) { try writer.finish() }
    }

    @Test("numbers of packets are grouped for people", arguments: [(UInt64(0), "0"), (999, "999"), (12_345, "12 345"), (1_000_000, "1 000 000")])
    func grouping(number: UInt64, text: String) { #expect(grouped(number) == text) }
}
