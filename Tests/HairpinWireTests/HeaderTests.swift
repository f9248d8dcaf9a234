import HairpinWire
import Testing

@Suite struct HeaderTests {
    @Test("an Ethernet header round trips")
    func ethernet() {
        let frame = Build.ethernet(.arp, [1, 2, 3])
        frame.withUnsafeBytes { bytes in
            let view = EthernetView(bytes)
            #expect(view?.destination == Build.serverMAC && view?.source == Build.clientMAC && view?.type == .arp)
            #expect(EthernetView(UnsafeRawBufferPointer(rebasing: bytes[..<13])) == nil)
        }
    }

    @Test("one 802.1Q tag and two are seen through, a cut tag is not")
    func tags() {
        let one = Build.ethernet(.vlan, [0x60, 0x05, 0x08, 0x00, 0xaa])
        one.withUnsafeBytes { bytes in
            let payload = EthernetView(bytes)!.payload
            #expect(payload.type == .ipv4 && payload.offset == 18 && payload.vlan == 5)
            let cut = EthernetView(UnsafeRawBufferPointer(rebasing: bytes[..<17]))!.payload
            #expect(cut.type == .vlan && cut.offset == 14 && cut.vlan == nil)
        }
        Build.ethernet(.providerVLAN, [0, 7, 0x81, 0, 0, 9, 0x08, 0x06]).withUnsafeBytes {
            let payload = EthernetView($0)!.payload
            #expect(payload.type == .arp && payload.offset == 22 && payload.vlan == 7)
        }
    }

    @Test("an ARP packet round trips; other hardware and short packets are refused")
    func arp() {
        let header = ARPHeader(
            operation: .reply, senderHardware: Build.serverMAC, senderProtocol: Build.server, targetHardware: Build.clientMAC, targetProtocol: Build.client)
        var bytes = Build.emit(28) { header.emit(to: $0) }
        #expect(bytes.withUnsafeBytes { ARPHeader(parsing: $0) } == header)
        #expect(bytes.dropLast().withUnsafeBytes { ARPHeader(parsing: $0) } == nil)
        bytes[1] = 6
        #expect(bytes.withUnsafeBytes { ARPHeader(parsing: $0) } == nil)
    }

    @Test("an IPv4 header round trips with a right checksum")
    func ipv4() {
        let packet = Build.ipv4(.udp, [1, 2, 3, 4]) {
            $0.typeOfService = 0xc0
            $0.identification = 77
            $0.moreFragments = true
            $0.fragmentOffset = 1480
            $0.timeToLive = 63
        }
        packet.withUnsafeBytes { bytes in
            let view = IPv4View(bytes)!
            #expect(view.isChecksumValid && view.typeOfService == 0xc0 && view.identification == 77 && view.timeToLive == 63)
            #expect(view.moreFragments && !view.dontFragment && view.fragmentOffset == 1480 && view.isFragment)
            #expect(view.source == Build.client && view.destination == Build.server && view.proto == .udp && Array(view.payload) == [1, 2, 3, 4])
        }
        var broken = packet
        broken[8] ^= 1
        #expect(!broken.withUnsafeBytes { IPv4View($0)!.isChecksumValid })
    }

    @Test("padding behind an IPv4 packet is not payload")
    func padding() {
        #expect((Build.ipv4(.udp, [9]) + [0, 0, 0]).withUnsafeBytes { Array(IPv4View($0)!.payload) } == [9])
    }

    @Test("IPv4 lengths that contradict each other make no view", arguments: [(0, UInt8(0x44)), (0, 0x55), (0, 0x4f), (3, 19), (2, 1)])
    func badLengths(offset: Int, value: UInt8) {
        var packet = Build.ipv4(.udp, [1, 2, 3, 4])
        packet[offset] = value
        #expect(packet.withUnsafeBytes { IPv4View($0) == nil })
    }

    @Test("UDP: the length field rules, a checksum of zero is none")
    func udp() {
        var datagram = Build.udp([1, 2, 3], destination: 53)
        datagram.withUnsafeBytes {
            let view = UDPView($0)!
            #expect(view.sourcePort == 40000 && view.destinationPort == 53 && Array(view.payload) == [1, 2, 3])
            #expect(view.isChecksumValid(source: Build.client, destination: Build.server))
            #expect(!view.isChecksumValid(source: Build.client, destination: Build.client))
        }
        (datagram[6], datagram[7]) = (0, 0)
        #expect(datagram.withUnsafeBytes { UDPView($0)!.isChecksumValid(source: Build.client, destination: Build.server) })
        datagram[5] = 7
        #expect(datagram.withUnsafeBytes { UDPView($0) == nil })
        datagram[5] = 12
        #expect(datagram.withUnsafeBytes { UDPView($0) == nil })
    }

    @Test("TCP: the data offset divides options and payload")
    func tcp() {
        var segment = Build.tcp([.syn, .ack], options: Build.synOptions, payload: [5, 6])
        segment.withUnsafeBytes {
            let view = TCPView($0)!
            #expect(view.headerLength == 40 && Array(view.options) == Build.synOptions && Array(view.payload) == [5, 6])
            #expect(view.flags == [.syn, .ack] && view.sequence == SequenceNumber(1000) && view.acknowledgment == SequenceNumber(2000) && view.window == 64240)
            #expect(view.isChecksumValid(source: Build.client, destination: Build.server))
        }
        segment[12] = 0x40
        #expect(segment.withUnsafeBytes { TCPView($0) == nil })
        segment[12] = 0xf0
        #expect(segment.withUnsafeBytes { TCPView($0) == nil })
    }

    @Test("ICMP: an echo has identifier and sequence, a changed byte a wrong checksum")
    func icmp() {
        var message = Build.icmp(type: 8, code: 0, rest: 0x1234_0007, [1, 2, 3])
        message.withUnsafeBytes {
            let view = ICMPView($0)!
            #expect(view.identifier == 0x1234 && view.sequence == 7 && view.isChecksumValid && Array(view.payload) == [1, 2, 3])
        }
        message[9] ^= 4
        #expect(!message.withUnsafeBytes { ICMPView($0)!.isChecksumValid })
        #expect(message[..<7].withUnsafeBytes { ICMPView($0) == nil })
    }
}

@Suite struct TCPOptionsTests {
    static func options(_ bytes: [UInt8]) -> (options: [TCPOption], isMalformed: Bool) {
        bytes.withUnsafeBytes { raw in
            var iterator = TCPOptions(raw)
            var result: [TCPOption] = []
            while let option = iterator.next() { result.append(option) }
            return (result, iterator.isMalformed)
        }
    }

    @Test("the options of a SYN, in Linux's order")
    func syn() {
        let (options, isMalformed) = TCPOptionsTests.options(Build.synOptions)
        #expect(options == [.maximumSegmentSize(1460), .sackPermitted, .timestamps(value: 7, echo: 0), .noOperation, .windowScale(7)] && !isMalformed)
    }

    @Test("SACK blocks")
    func sack() throws {
        let (options, _) = TCPOptionsTests.options([1, 1, 5, 18, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 20, 0, 0, 0, 30])
        guard case .sack(let blocks) = try #require(options.last) else {
            Issue.record("no SACK option")
            return
        }
        #expect(blocks.map { [$0.left.rawValue, $0.right.rawValue] } == [[1, 9], [20, 30]])
    }

    @Test("the end of the list ends it")
    func endOfList() {
        let (options, isMalformed) = TCPOptionsTests.options([1, 0, 3, 3, 7])
        #expect(options == [.noOperation, .endOfList] && !isMalformed)
    }

    @Test("a known kind with a wrong length is unknown, as is an unknown kind")
    func unknown() {
        #expect(TCPOptionsTests.options([2, 3, 9, 253, 4, 1, 2]).options == [.unknown(kind: 2, length: 3), .unknown(kind: 253, length: 4)])
        #expect(TCPOptionsTests.options([5, 2, 5, 9, 0, 0, 0, 0, 0, 0, 0]).options == [.unknown(kind: 5, length: 2), .unknown(kind: 5, length: 9)])
    }

    @Test("an option that does not fit stops the iteration", arguments: [[UInt8(2)], [2, 0], [2, 1, 5], [8, 10, 0, 0], [3, 3]])
    func malformed(bytes: [UInt8]) {
        let (options, isMalformed) = TCPOptionsTests.options([1] + bytes)
        #expect(options == [.noOperation] && isMalformed)
    }
}
