import Foundation
import HairpinCapture
import HairpinDatapath
import HairpinEngine
import HairpinWire
import Testing

@Suite struct PcapngWriterTests {
    static let interfaces = [
        PcapngInterface(
            name: "node1/eth0", text: "veth, peer lan/port-node1", mac: MACAddress(rawValue: 0x5254_0000_000b),
            addresses: [IPv4InterfaceAddress(IPv4Address(192, 168, 50, 11), prefixLength: 24)], speed: 10_000_000_000, filter: "tcp or arp"),
        PcapngInterface(name: "node1/lo"),
    ]

    @Test("an enhanced packet block, byte by byte")
    func block() throws {
        var writer = try PcapngWriter(to: .memory, section: PcapngSection(application: ""), interfaces: [PcapngInterface(name: "")])
        let before = writer.memory.count
        let bytes: [UInt8] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]
        try bytes.withUnsafeBytes { try writer.write($0, time: Instant(nanoseconds: 0x1_0000_0002), interface: 0, flags: PcapngFlags(.outbound, $0), packetID: 5) }
        #expect(
            Array(writer.memory[before...]) == [
                6, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 7, 0, 0, 0,
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0,
                2, 0, 4, 0, 0b01110, 0, 0, 0, 5, 0, 8, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0,
            ])
    }

    @Test("everything that is written is read again")
    func roundTrip() throws {
        var section = PcapngSection(application: "Hairpin 1.0", comment: "scenario pod-to-pod, seed 1")
        section.operatingSystem = "simulated"
        var writer = try PcapngWriter(to: .memory, section: section, interfaces: PcapngWriterTests.interfaces)
        try writer.write(names: [(IPv4Address(10, 244, 0, 2), "pod1"), (IPv4Address(10, 96, 0, 20), "web.default")])
        for count in [14, 15, 16, 17, 1514] {
            try frame(9, count: count).withUnsafeBytes {
                try writer.write($0, time: Instant(nanoseconds: UInt64(count)), interface: 0, flags: PcapngFlags(.inbound, $0), packetID: UInt64(count % 2))
            }
        }
        try frame(3).withUnsafeBytes {
            try writer.write(
                $0, time: Instant(nanoseconds: 99), interface: 1, flags: PcapngFlags(.inbound, $0), packetID: 7, isDropped: true,
                comments: ["dropped: rule drop", "KUBE-FORWARD"])
        }
        try writer.write(statisticsOf: 1, at: Instant(nanoseconds: 99), from: .zero, received: 1, dropped: 1)
        try writer.finish()

        let file = try CaptureReader.parse(writer.memory, name: "m")
        #expect(file.application == "Hairpin 1.0" && file.comment == "scenario pod-to-pod, seed 1" && !file.isTruncated)
        #expect(file.names.map { "\($0.address) \($0.name)" } == ["10.244.0.2 pod1", "10.96.0.20 web.default"])
        #expect(file.interfaces[0].name == "node1/eth0" && file.interfaces[0].text == "veth, peer lan/port-node1" && file.interfaces[0].speed == 10_000_000_000)
        #expect(file.interfaces[0].mac == MACAddress(rawValue: 0x5254_0000_000b) && file.interfaces[0].addresses == PcapngWriterTests.interfaces[0].addresses)
        #expect(file.interfaces[0].filter == "tcp or arp" && file.interfaces[1].mac == nil)
        #expect(file.interfaces[1].received == 1 && file.interfaces[1].dropped == 1)
        #expect(file.packets.prefix(5).map(\.bytes.count) == [14, 15, 16, 17, 1514] && file.packets.prefix(5).map(\.time.nanoseconds) == [14, 15, 16, 17, 1514])
        #expect(file.packets.prefix(5).map(\.packetID) == [nil, 1, nil, 1, nil] && file.packets.allSatisfy { $0.direction == .inbound })
        let last = try #require(file.packets.last)
        #expect(
            last.isDropped && last.comments == ["dropped: rule drop", "KUBE-FORWARD"] && last.packetID == 7 && last.interface == 1 && last.bytes.elementsEqual(frame(3)))
        #expect(!file.packets[0].isDropped)
    }

    @Test("libpcap reads it, with nanoseconds")
    func libpcap() throws {
        let scratch = try Scratch()
        var writer = try PcapngWriter(
            to: .file(scratch.path("a.pcapng")), section: PcapngSection(application: "x"), interfaces: PcapngWriterTests.interfaces, bufferSize: 700)
        for n in 0..<100 {
            try frame(UInt8(n), count: 60 + n).withUnsafeBytes {
                try writer.write($0, time: Instant(nanoseconds: UInt64(n) * 1_000_000_007), interface: n % 2, flags: PcapngFlags(.inbound, $0), packetID: 1)
            }
        }
        try writer.finish()
        let own = try CaptureReader.read(scratch.path("a.pcapng"))
        let other = try CaptureReader.readWithLibpcap(scratch.path("a.pcapng"))
        #expect(own.packets.count == 100 && other.packets.map(\.time) == own.packets.map(\.time) && other.packets.map(\.bytes) == own.packets.map(\.bytes))
    }

    @Test("flags tell direction and kind of destination")
    func flags() {
        frame(0).withUnsafeBytes { #expect(PcapngFlags(.outbound, $0).rawValue == 2 | 1 << 2) }
        frame(0, to: .broadcast).withUnsafeBytes { #expect(PcapngFlags(.inbound, $0).rawValue == 1 | 3 << 2) }
        frame(0, to: MACAddress(rawValue: 0x0100_5e00_0001)).withUnsafeBytes { #expect(PcapngFlags(.inbound, $0).rawValue == 1 | 2 << 2) }
        [UInt8]().withUnsafeBytes { #expect(PcapngFlags(.inbound, $0).rawValue == 1) }
    }

    @Test("text longer than an option holds is cut")
    func longText() throws {
        var writer = try PcapngWriter(to: .memory, section: PcapngSection(application: "x", comment: String(repeating: "ü", count: 50_000)), interfaces: [])
        try writer.finish()
        let comment = try CaptureReader.parse(writer.memory, name: "m").comment
        #expect(comment.utf8.count <= 65535 && comment.utf8.count > 60_000 && comment.allSatisfy { $0 == "ü" })
    }
}
