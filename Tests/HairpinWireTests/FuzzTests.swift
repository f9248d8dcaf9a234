import HairpinWire
import Testing

@Suite struct FuzzTests {
    /// Frames of every protocol there is a description of.
    static let seeds: [[UInt8]] = {
        let dns: [UInt8] =
            [0, 9, 0x85, 0x80, 0, 1, 0, 2, 0, 0, 0, 0, 3] + Array("web".utf8) + [
                0, 0, 1, 0, 1, 0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 5, 0, 2, 0xc0, 12, 0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 5, 0, 8, 0, 1, 0, 1, 0, 80, 0xc0, 12,
            ]
        let syn = Build.ethernet(.ipv4, Build.ipv4(.tcp, Build.tcp(.syn, options: Build.synOptions)))
        return [
            syn, Build.ethernet(.ipv4, Build.ipv4(.tcp, Build.tcp(.ack, options: [1, 1, 5, 18] + [UInt8](1...16), payload: [1, 2, 3]))),
            Build.ethernet(.ipv4, Build.ipv4(.udp, Build.udp(dns, source: 53, destination: 40000))),
            Build.ethernet(.ipv4, Build.ipv4(.udp, Build.udp([8, 0, 0, 0, 0, 0, 1, 0] + syn, destination: 8472))),
            Build.ethernet(.ipv4, Build.ipv4(.icmp, Build.icmp(type: 3, code: 4, rest: 1450, Array(syn[14..<48])))),
            Build.ethernet(.vlan, [0, 5] + syn[12...]), Build.ethernet(.ipv6, [0x60, 0, 0, 0, 0, 20, 6, 64] + [UInt8](repeating: 1, count: 52)),
            Build.ethernet(
                .arp,
                Build.emit(28) { ARPHeader(operation: .reply, senderHardware: .zero, senderProtocol: .any, targetHardware: .zero, targetProtocol: .any).emit(to: $0) }),
        ]
    }()

    @Test("200 000 mutated and random frames are described without a crash, each in one line", arguments: 0..<4)
    func describing(part: Int) {
        var random = SplitMix(state: UInt64(part) + 100)
        var longest = 0
        for round in 0..<50_000 {
            var frame: [UInt8]
            if round % 8 == 0 {
                frame = (0..<Int(random.next() % 128)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            } else {
                frame = FuzzTests.seeds[Int(random.next() % UInt64(FuzzTests.seeds.count))]
                for _ in 0..<(1 + random.next() % 6) { frame[Int(random.next() % UInt64(frame.count))] = UInt8(truncatingIfNeeded: random.next()) }
                if random.next() % 4 == 0 { frame.removeLast(Int(random.next() % UInt64(frame.count))) }
            }
            let line = describe(frame, DescribeOptions(verbose: round % 2 == 0, link: round % 3 == 0))
            longest = max(longest, line.utf8.count)
            if line.isEmpty || line.utf8.contains(10) { Issue.record("\(frame): \(line)") }
        }
        #expect(longest < 20_000)
    }
}
