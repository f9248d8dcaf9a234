import HairpinWire
import Testing

@Suite struct DescribeTests {
    static let verbose = DescribeOptions(verbose: true)

    @Test("ARP")
    func arp() {
        var header = ARPHeader(operation: .request, senderHardware: Build.clientMAC, senderProtocol: Build.client, targetHardware: .zero, targetProtocol: Build.server)
        func line() -> String { describe(Build.ethernet(.arp, Build.emit(28) { header.emit(to: $0) })) }
        #expect(line() == "ARP, Request who-has 10.244.0.3 tell 10.244.0.2, length 28")
        header.targetHardware = .broadcast
        #expect(line() == "ARP, Request who-has 10.244.0.3 (ff:ff:ff:ff:ff:ff) tell 10.244.0.2, length 28")
        header.operation = .reply
        #expect(line() == "ARP, Reply 10.244.0.2 is-at 0a:58:0a:f4:00:02, length 28")
    }

    @Test("TCP with options, data and flags")
    func tcp() {
        #expect(
            describe(Build.ethernet(.ipv4, Build.ipv4(.tcp, Build.tcp(.syn, options: Build.synOptions))))
                == "IP 10.244.0.2.40000 > 10.244.0.3.80: Flags [S], seq 1000, win 64240, options [mss 1460,sackOK,TS val 7 ecr 0,nop,wscale 7], length 0")
        #expect(
            describe(Build.ethernet(.ipv4, Build.ipv4(.tcp, Build.tcp([.psh, .ack], payload: [1, 2, 3]))))
                == "IP 10.244.0.2.40000 > 10.244.0.3.80: Flags [P.], seq 1000:1003, ack 2000, win 64240, length 3")
        #expect(describe(Build.ethernet(.ipv4, Build.ipv4(.tcp, Build.tcp([])))).contains("Flags [none], win"))
        #expect(describe(Build.ethernet(.ipv4, Build.ipv4(.tcp, Build.tcp([.rst, .ack, .ece, .cwr])))).contains("Flags [R.EW]"))
        #expect(describe(Build.ethernet(.ipv4, Build.ipv4(.tcp, Build.tcp(.ack, options: [8, 9, 0, 0])))).contains("options [[|tcp options]]"))
    }

    @Test("verbose adds IP's fields and the checksums")
    func verboseTCP() {
        var frame = Build.ethernet(.ipv4, Build.ipv4(.tcp, Build.tcp(.ack)) { $0.dontFragment = true })
        #expect(
            describe(frame, DescribeTests.verbose).hasPrefix(
                "IP (tos 0x0, ttl 64, id 0, offset 0, flags [DF], proto TCP (6), length 40) 10.244.0.2.40000 > 10.244.0.3.80: Flags [.], cksum 0x"))
        #expect(describe(frame, DescribeTests.verbose).contains("(correct)"))
        frame[14 + 20 + TCPOffset.window] ^= 1
        #expect(describe(frame, DescribeTests.verbose).contains("(incorrect)"))
        frame[14 + IPv4Offset.timeToLive] -= 1
        #expect(describe(frame, DescribeTests.verbose).contains("bad cksum"))
    }

    @Test("the link header on request, with a VLAN tag always")
    func link() {
        let options = DescribeOptions(link: true)
        #expect(
            describe(Build.ethernet(EtherType(0x88cc), [1, 2]), options)
                == "0a:58:0a:f4:00:02 > 0a:58:0a:f4:00:03, ethertype Unknown (0x88cc), length 16: ethertype Unknown (0x88cc), length 2")
        let tagged = Build.ethernet(.vlan, [0x60, 5, 8, 0] + Build.ipv4(.tcp, Build.tcp(.ack)))
        #expect(describe(tagged).hasPrefix("vlan 5, p 3, IP 10.244.0.2.40000 > "))
    }

    @Test("pings and fragments")
    func icmp() {
        let echo = Build.icmp(type: 8, code: 0, rest: 0x0001_0002, [UInt8](repeating: 0, count: 56))
        #expect(describe(Build.ethernet(.ipv4, Build.ipv4(.icmp, echo))) == "IP 10.244.0.2 > 10.244.0.3: ICMP echo request, id 1, seq 2, length 64")
        let first = Build.ipv4(.icmp, echo) {
            $0.identification = 7
            $0.moreFragments = true
        }
        #expect(describe(Build.ethernet(.ipv4, first)).hasSuffix("length 64 (frag 7:64@0+)"))
        let last = Build.ipv4(.icmp, [1, 2, 3]) { ($0.identification, $0.fragmentOffset) = (7, 64) }
        #expect(describe(Build.ethernet(.ipv4, last)) == "IP 10.244.0.2 > 10.244.0.3: ICMP (frag 7:3@64)")
    }

    @Test("an ICMP error names what it is about and quotes it, also when it is cut")
    func icmpErrors() {
        let quoted = Build.ipv4(.tcp, Build.tcp(.syn))
        func error(_ type: UInt8, _ code: UInt8, _ rest: UInt32, _ quote: [UInt8]) -> String {
            describe(Build.ethernet(.ipv4, Build.ipv4(.icmp, Build.icmp(type: type, code: code, rest: rest, quote))))
        }
        #expect(
            error(3, 3, 0, quoted)
                == "IP 10.244.0.2 > 10.244.0.3: ICMP 10.244.0.3 tcp port 80 unreachable, length 48 | IP 10.244.0.2.40000 > 10.244.0.3.80: Flags [S], seq 1000, win 64240, length 0"
        )
        #expect(
            error(3, 4, 1450, Array(quoted[..<28])).hasSuffix(
                "ICMP 10.244.0.3 unreachable - need to frag (mtu 1450), length 36 | IP 10.244.0.2.40000 > 10.244.0.3.80: TCP, ttl 64"))
        #expect(error(11, 0, 0, Array(quoted[..<28])).contains("ICMP time exceeded in-transit, length 36 | "))
        #expect(error(3, 1, 0, []).hasSuffix("ICMP host ? unreachable, length 8"))
    }

    @Test("DNS: question and answer with a compressed name")
    func dns() {
        let name: [UInt8] = [3] + Array("web".utf8) + [4] + Array("test".utf8) + [0]
        let question: [UInt8] = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0] + name + [0, 1, 0, 1]
        #expect(describe(Build.ethernet(.ipv4, Build.ipv4(.udp, Build.udp(question, destination: 53)))) == "IP 10.244.0.2.40000 > 10.244.0.3.53: 4660+ A? web.test. (26)")
        let answer: [UInt8] = [0x12, 0x34, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0] + name + [0, 1, 0, 1, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 96, 0, 20]
        #expect(
            describe(Build.ethernet(.ipv4, Build.ipv4(.udp, Build.udp(answer, source: 53, destination: 4000))))
                == "IP 10.244.0.2.53 > 10.244.0.3.4000: 4660* 1/0/0 A 10.96.0.20 (42)")
    }

    @Test("a DNS name that points at itself ends")
    func dnsLoop() {
        let message: [UInt8] = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1]
        #expect(describe(Build.ethernet(.ipv4, Build.ipv4(.udp, Build.udp(message, destination: 53)))).hasSuffix("UDP, length 18"))
    }

    @Test("VXLAN shows the inner frame, tunnels in tunnels end")
    func vxlan() {
        var frame = Build.ethernet(.ipv4, Build.ipv4(.icmp, Build.icmp(type: 8, code: 0, rest: 0, [])))
        func tunnel() { frame = Build.ethernet(.ipv4, Build.ipv4(.udp, Build.udp([8, 0, 0, 0, 0, 0, 1, 0] + frame, destination: 8472))) }
        tunnel()
        #expect(
            describe(frame)
                == "IP 10.244.0.2.40000 > 10.244.0.3.8472: VXLAN, flags [I] (0x08), vni 1 | IP 10.244.0.2 > 10.244.0.3: ICMP echo request, id 0, seq 0, length 8")
        for _ in 0..<9 { tunnel() }
        #expect(describe(frame).components(of: "VXLAN") == 3)
    }

    @Test("IPv6 has addresses and a next header")
    func ipv6() {
        var packet = [UInt8](repeating: 0, count: 48)
        (packet[0], packet[5], packet[6], packet[7], packet[23], packet[39]) = (0x60, 8, 58, 255, 1, 2)
        #expect(describe(Build.ethernet(.ipv6, packet)) == "IP6 ::1 > ::2: ICMP6, length 8")
    }

    @Test("what is cut short says so", arguments: [0, 13, 20, 33, 40, 53])
    func truncated(count: Int) {
        let frame = Build.ethernet(.ipv4, Build.ipv4(.tcp, Build.tcp(.syn)))
        #expect(describe(frame[..<count]).contains("[|"))
    }
}

extension String {
    fileprivate func components(of word: String) -> Int { indices.count { self[$0...].hasPrefix(word) } }
}
