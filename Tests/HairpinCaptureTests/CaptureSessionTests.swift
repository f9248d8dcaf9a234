import Foundation
import HairpinCapture
import HairpinDatapath
import HairpinEngine
import HairpinWire
import Testing

@Suite struct CaptureSessionTests {
    static let interfaces = [
        CaptureInterface(
            logicalProcess: 1, index: InterfaceIndex(1), host: "node1", name: "cni0", mac: MACAddress(rawValue: 1),
            addresses: [IPv4InterfaceAddress(IPv4Address(10, 244, 0, 1), prefixLength: 24)]),
        CaptureInterface(
            logicalProcess: 1, index: InterfaceIndex(3), host: "default/web-0", name: "eth0",
            addresses: [IPv4InterfaceAddress(IPv4Address(10, 244, 0, 2), prefixLength: 24)]),
        CaptureInterface(logicalProcess: 2, index: InterfaceIndex(1), host: "node2", name: "cni0"),
    ]

    static func session(_ change: (inout CaptureOptions) -> Void = { _ in }) throws -> CaptureSession {
        var options = CaptureOptions()
        options.combined = .memory
        options.perInterface = .memory
        change(&options)
        return try CaptureSession(interfaces: interfaces, options: options)
    }

    static func combined(_ session: CaptureSession) throws -> CaptureFile { try CaptureReader.parse(session.combinedBytes, name: "m") }

    @Test("buffers are merged by time, then logical process, then order of sight")
    func merge() throws {
        let session = try CaptureSessionTests.session()
        let one = try #require(session.observer(of: 1))
        let two = try #require(session.observer(of: 2))
        two.saw(frame(1), at: 10, on: 1)
        two.saw(frame(2), at: 20, on: 1)
        one.saw(frame(3), at: 20, on: 1)
        one.saw(frame(4), at: 20, on: 3)
        one.saw(frame(5), at: 30, on: 1)
        two.saw(frame(6), at: 25, on: 1)
        try session.finish()
        let file = try CaptureSessionTests.combined(session)
        #expect(file.packets.map { $0.bytes.last } == [1, 3, 4, 2, 6, 5])
        #expect(file.packets.map { file.interfaces[$0.interface].name } == ["node2/cni0", "node1/cni0", "default/web-0/eth0", "node2/cni0", "node2/cni0", "node1/cni0"])
        #expect(file.interfaces.map(\.received) == [2, 1, 3])
    }

    @Test("a flush writes what is older than the given moment, and the result is that of one flush at the end")
    func flushing() throws {
        func run(flushing: Bool) throws -> [UInt8] {
            let session = try CaptureSessionTests.session()
            for window in 0..<50 {
                for process in [2, 1] {
                    let observer = try #require(session.observer(of: process))
                    for n in 0..<5 { observer.saw(frame(UInt8(n)), at: UInt64(window * 100 + n * 30), on: 1, id: UInt64(process)) }
                }
                if flushing { try session.flush(upTo: Instant(nanoseconds: UInt64(window * 100))) }
            }
            if flushing { #expect(session.waiting < 3000) }
            try session.finish()
            return session.combinedBytes
        }
        #expect(try run(flushing: true) == run(flushing: false))
    }

    @Test("records of one logical process that are out of order are put in order, those of one time keep theirs")
    func sorting() throws {
        let session = try CaptureSessionTests.session()
        let one = try #require(session.observer(of: 1))
        for (number, time) in [(1, 50), (2, 40), (3, 50), (4, 45), (5, 40)] { one.saw(frame(UInt8(number)), at: UInt64(time), on: 1) }
        try session.flush(upTo: Instant(nanoseconds: 46))
        one.saw(frame(6), at: 47, on: 1)
        try session.finish()
        #expect(try CaptureSessionTests.combined(session).packets.map { $0.bytes.last } == [2, 5, 4, 6, 1, 3])
    }

    @Test("a drop marks the sight of the frame on that interface")
    func drops() throws {
        let session = try CaptureSessionTests.session()
        let one = try #require(session.observer(of: 1))
        one.saw(frame(1), at: 1, on: 3, .outbound, id: 7)
        one.saw(frame(1), at: 2, on: 1, id: 7)
        one.saw(frame(2), at: 2, on: 1, id: 8)
        one.dropped(frame(1), at: 2, on: 1, id: 7, .ruleDrop)
        one.dropped(frame(9), at: 3, on: 1, id: 99, .neighbourFailed)
        try session.finish()
        let file = try CaptureSessionTests.combined(session)
        #expect(file.packets.map(\.isDropped) == [false, true, false])
        #expect(file.packets[1].comments == ["dropped: rule drop"] && file.packets[1].packetID == 7)
        #expect(file.interfaces[0].dropped == 2 && file.interfaces[1].dropped == 0)
    }

    @Test("frames that end unseen get a record of their own on request, and only in the pcapng")
    func unseenDrops() throws {
        let session = try CaptureSessionTests.session { $0.drops = .record }
        let one = try #require(session.observer(of: 1))
        one.saw(frame(1), at: 1, on: 1, id: 7)
        one.dropped(frame(9), at: 3, on: 1, id: 99, .neighbourFailed)
        try session.finish()
        let file = try CaptureSessionTests.combined(session)
        #expect(file.packets.map(\.isDropped) == [false, true] && file.packets[1].comments == ["dropped: neighbour failed"])
        #expect(session.interfacePackets["node1-cni0"]?.count == 1 && file.interfaces[0].received == 1)
    }

    @Test("a filter and a choice of interfaces")
    func filter() throws {
        let session = try CaptureSessionTests.session {
            $0.filter = try? CaptureFilter("ether broadcast")
            $0.interfaces = [InterfacePattern("node1:*")]
        }
        #expect(session.interfaces.map(\.label) == ["node1:cni0"])
        let one = try #require(session.observer(of: 1))
        let two = try #require(session.observer(of: 2))
        for observer in [one, two] {
            observer.saw(frame(1, to: .broadcast), at: 1, on: 1)
            observer.saw(frame(2), at: 2, on: 1)
        }
        one.saw(frame(3, to: .broadcast), at: 3, on: 3)
        one.saw(frame(4, to: .broadcast), at: 3, on: 77)
        try session.finish()
        #expect(try CaptureSessionTests.combined(session).packets.map { $0.bytes.last } == [1])
        #expect(try CaptureSessionTests.combined(session).interfaces[0].filter == "ether broadcast")
    }

    @Test(
        "patterns",
        arguments: [
            ("*", 3), ("node1:cni0", 1), ("*:cni0", 2), ("node?", 2), ("cni*", 2), ("web-0:eth0", 1), ("default/web-0", 1), ("default/*:*", 1), ("node1", 1),
        ])
    func patterns(text: String, count: Int) { #expect(CaptureSessionTests.interfaces.count { InterfacePattern(text).matches($0) } == count) }

    @Test("a pattern that matches nothing is an error that names what there is")
    func unmatched() {
        do {
            _ = try CaptureSessionTests.session { $0.interfaces = [InterfacePattern("pod9:*")] }
            Issue.record("accepted")
        } catch {
            #expect("\(error)" == "capture interface `pod9:*` matches nothing; there are node1:cni0, default/web-0:eth0, node2:cni0")
        }
    }

    @Test("one pcap per interface, silent ones included, slashes replaced, no name twice")
    func files() throws {
        let scratch = try Scratch()
        var interfaces = CaptureSessionTests.interfaces
        interfaces.append(CaptureInterface(logicalProcess: 2, index: InterfaceIndex(2), host: "default_web-0", name: "eth0"))
        var options = CaptureOptions()
        options.perInterface = .directory(scratch.folder.path)
        options.combined = .file(scratch.path("capture.pcapng"))
        options.epoch = .seconds(1_700_000_000)
        let session = try CaptureSession(interfaces: interfaces, options: options)
        session.observer(of: 1)?.saw(frame(5), at: 5, on: 3)
        try session.finish()
        try session.finish()
        #expect(scratch.names == ["capture.pcapng", "default_web-0-eth0.2.pcap", "default_web-0-eth0.pcap", "node1-cni0.pcap", "node2-cni0.pcap"])
        let file = try CaptureReader.read(scratch.path("default_web-0-eth0.pcap"))
        #expect(file.packets.map(\.time.nanoseconds) == [1_700_000_000_000_000_005])
        #expect(try CaptureReader.readWithLibpcap(scratch.path("node2-cni0.pcap")).packets.isEmpty)
        #expect(try CaptureReader.read(scratch.path("capture.pcapng")).names.map(\.name) == ["node1", "default/web-0"])
    }

    @Test("more interfaces than a process may have files open")
    func manyFiles() throws {
        let scratch = try Scratch()
        var options = CaptureOptions()
        options.perInterface = .directory(scratch.folder.path)
        let session = try CaptureSession(
            interfaces: (1...1500).map { CaptureInterface(index: InterfaceIndex(UInt32($0)), host: "pod\($0)", name: "eth0") }, options: options)
        for round in 0..<3 { for n in 1...1500 { session.saw(frame(UInt8(round), count: 400), at: UInt64(round * 2000 + n), on: UInt32(n)) } }
        try session.finish()
        #expect(scratch.names.count == 1500)
        #expect(try CaptureReader.read(scratch.path("pod1500-eth0.pcap")).packets.map { $0.bytes.last } == [0, 1, 2])
    }

    @Test("memory holds the file's bytes: logs that became pieces, one with a note on a frame, several frames of one time, and memory of an earlier capture")
    func memoryAsFile() throws {
        let scratch = try Scratch()
        func capture(_ destination: CaptureDestination, _ memory: CaptureMemory) throws -> CaptureSession {
            var options = CaptureOptions()
            options.combined = destination
            let known = (1...2).map { CaptureInterface(index: InterfaceIndex($0), host: "n", name: "e\($0)") }
            let session = try CaptureSession(interfaces: known, options: options, memory: memory)
            let (small, large) = (frame(1, count: 60), frame(2, count: 1514))
            // 12 MB in all: six pieces, whose ends fall anywhere among the five frames of one nanosecond.
            for n in 0..<15_000 {
                session.saw(n % 7 == 0 ? small : large, at: UInt64(n / 5), on: UInt32(1 + n % 2), id: UInt64(n + 1))
                guard n == 9_000 else { continue }
                let sight = TapEvent(time: Instant(nanoseconds: 1800), interface: InterfaceIndex(1), direction: .inbound, packetID: 9_001)
                small.withUnsafeBytes { session.dropped($0, sight, reason: .noRoute) }
            }
            try session.finish()
            return session
        }
        let memory = CaptureMemory()
        let path = scratch.path("all.pcapng")
        _ = try capture(.file(path), memory)
        let expected = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
        #expect(expected.count > 6 * CaptureMemory.pieceSize)
        for _ in 0..<2 {
            let session = try capture(.memory, memory)
            #expect(session.combinedBytes == expected)
            #expect(session.packetCounts == [7_500, 7_500])
        }
    }

    @Test("a single logical process is written as it goes: memory stays bounded without a flush")
    func relief() throws {
        var options = CaptureOptions()
        options.combined = .file("/dev/null")
        let session = try CaptureSession(interfaces: [CaptureInterface(index: InterfaceIndex(1), host: "n", name: "e")], options: options)
        let bytes = frame(1, count: 1514)
        var most = 0
        for n in 0..<20_000 {
            session.saw(bytes, at: UInt64(n), on: 1, id: 1)
            if n % 500 == 0 { most = max(most, session.waiting) }
        }
        try session.finish()
        #expect(most < 1 << 20 && session.packetCounts == [20_000])
    }

    @Test("a failed file does not take the others with it, and the error is told")
    func failure() throws {
        let session = try CaptureSessionTests.session { $0.combined = .file("/dev/full") }
        session.observer(of: 1)?.saw(frame(1), at: 1, on: 1)
        #expect(throws: CaptureError.writeFailed(file: "/dev/full", reason: "no space left on device", packets: 0, isReadable: false)) { try session.finish() }
        #expect(session.interfacePackets["node1-cni0"]?.map(\.bytes) == [frame(1)] && session.failure != nil)
    }

    @Test("without a filter, ids or a combined file, interface captures are plain pcaps")
    func memoryOnly() throws {
        let session = try CaptureSessionTests.session { $0.combined = nil }
        session.observer(of: 2)?.saw(frame(1, count: 14), at: 4_000_000_000, on: 1)
        try session.finish()
        #expect(session.combinedBytes.isEmpty && session.interfaceFiles.keys.sorted() == ["default_web-0-eth0", "node1-cni0", "node2-cni0"])
        #expect(session.interfacePackets["node2-cni0"]?.first?.time == 4_000_000_000)
    }
}
