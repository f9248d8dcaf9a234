import HairpinEngine
import HairpinTransport
import HairpinWire
import Testing

@testable import HairpinPrograms

struct NetworkCommandTests {
    @Test("ping prints what iputils prints")
    func ping() {
        let kernel = TestKernel()
        #expect(kernel.shell("ping -c 3 -i 0.2 10.244.0.3") == 0)
        #expect(
            kernel.output == """
                PING 10.244.0.3 (10.244.0.3) 56(84) bytes of data.
                64 bytes from 10.244.0.3: icmp_seq=1 ttl=64 time=0.250 ms
                64 bytes from 10.244.0.3: icmp_seq=2 ttl=64 time=0.250 ms
                64 bytes from 10.244.0.3: icmp_seq=3 ttl=64 time=0.250 ms

                --- 10.244.0.3 ping statistics ---
                3 packets transmitted, 3 received, 0% packet loss, time 400ms
                rtt min/avg/max/mdev = 0.250/0.250/0.250/0.000 ms

                """)
    }

    @Test("numbers beyond all measure are refused or cut to size")
    func hostileNumbers() {
        for command in ["ping -c 99999999999999999999 10.244.0.3", "ping -s 65508 10.244.0.3", "ping -i 1e300 10.244.0.3", "arping -c 99999999999999999999 -I eth0 10.244.0.3"] {
            let kernel = TestKernel()
            #expect(kernel.shell(command) != 0, "\(command)")
            #expect(!kernel.errorOutput.isEmpty, "\(command)")
        }
        let kernel = TestKernel()
        #expect(kernel.shell("dig +retry=9223372036854775807 +time=9223372036854775807 @10.0.0.1 x.") == 9)
    }

    @Test("ping reports errors of routers and of the own host")
    func pingErrors() {
        let kernel = TestKernel()
        kernel.echo = { _, sequence, _, socket, _ throws(Errno) in
            socket.errors.append(
                ReceivedError(
                    errno: .networkUnreachable, offender: IPv4Address(10, 244, 0, 1), icmpType: 3, icmpCode: 0, information: 0, identifier: 1, sequence: sequence))
        }
        #expect(kernel.shell("ping -c 2 -i 0.2 -W 1 10.96.0.20") == 1)
        #expect(
            kernel.output
                == "PING 10.96.0.20 (10.96.0.20) 56(84) bytes of data.\nFrom 10.244.0.1 icmp_seq=1 Destination Net Unreachable\nFrom 10.244.0.1 icmp_seq=2 Destination Net Unreachable\n\n--- 10.96.0.20 ping statistics ---\n2 packets transmitted, 0 received, +2 errors, 100% packet loss, time 200ms\n\n"
        )

        let local = TestKernel()
        local.echo = { _, sequence, _, socket, _ throws(Errno) in
            socket.errors.append(ReceivedError(errno: .messageTooLong, offender: nil, icmpType: 0, icmpCode: 0, information: 1450, identifier: 1, sequence: sequence))
            throw .messageTooLong
        }
        #expect(local.shell("ping -c 1 -W 1 -M do -s 1472 10.244.1.2") == 1)
        #expect(local.errorOutput == "ping: local error: message too long, mtu=1450\n")
        #expect(local.output.hasSuffix("1 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms\n\n"))
        #expect(local.now >= .zero + .seconds(1))
    }

    @Test("dig asks with 41 bytes and prints the refusal as 9.18 does")
    func digRefused() {
        let kernel = TestKernel()
        #expect(kernel.shell("dig @127.0.0.1 +tries=1 +time=1 +nocookie example.test") == 9)
        #expect(
            kernel.output
                == ";; communications error to 127.0.0.1#53: connection refused\n\n; <<>> DiG 9.18.49-1~deb12u3-Debian <<>> @127.0.0.1 +tries=1 +time=1 +nocookie example.test\n; (1 server found)\n;; global options: +cmd\n;; no servers could be reached\n"
        )
        let query: [UInt8] = Array(kernel.datagrams[0].dropFirst(2))
        #expect(
            query == [1, 0x20, 0, 1, 0, 0, 0, 0, 0, 1, 7] + Array("example".utf8) + [4] + Array("test".utf8) + [0, 0, 1, 0, 1, 0, 0, 0x29, 4, 0xd0, 0, 0, 0, 0, 0, 0])
    }

    @Test("dnsmasq: 74 bytes for a name it knows, 47 with an extended error for one it does not")
    func dnsmasq() {
        let kernel = TestKernel()
        kernel.start(DNSServer(Dnsmasq(records: ["web.default.svc.cluster.local": IPv4Address(10, 96, 0, 20)])), ["dnsmasq"])
        #expect(
            kernel.shell(
                "dig @10.96.0.10 +tries=1 +time=2 +nocookie +noall +answer web.default.svc.cluster.local; dig @10.96.0.10 +tries=1 +time=2 +nocookie +noall +answer missing.test"
            ) == 0)
        #expect(kernel.output == "web.default.svc.cluster.local. 0 IN\tA\t10.96.0.20\n")
        #expect(kernel.datagrams.map(\.count) == [58, 74, 41, 47])
        #expect(kernel.datagrams[1][2...3] == [0x85, 0x80])
        #expect(kernel.datagrams[3][2...3] == [0x81, 0x85])
        #expect(kernel.datagrams[3].suffix(6) == [0, 15, 0, 2, 0, 14])
    }

    private final class Names: ClusterNames {
        let zone = "cluster.local"
        func answer(name: String, type: DNSType) -> NameAnswer {
            guard name.hasSuffix("cluster.local") else { return .elsewhere }
            guard name == "web.default.svc.cluster.local" else { return .noSuchName }
            guard type == .a else { return .noData }
            return .records([DNSRecord(name: DNSName(name)!, type: .a, timeToLive: 30, data: .a(IPv4Address(10, 96, 0, 20)))])
        }
    }

    @Test("a short name walks the search list: A and AAAA of each candidate back to back from one socket")
    func searchList() {
        let kernel = TestKernel()
        kernel.files["/etc/resolv.conf"] = Array(
            "search prod.svc.cluster.local default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n".utf8)
        kernel.start(DNSServer(CoreDNSNames(Names())), ["coredns"])
        #expect(kernel.shell("getent ahosts web | head -1; getent ahosts nothing; echo $?") == 0)
        #expect(kernel.output == "10.96.0.20      STREAM web.default.svc.cluster.local\n2\n")
        let names = kernel.datagrams.compactMap { DNSMessage(parsing: $0) }.filter { !$0.flags.contains(.response) }.map {
            "\($0.questions[0].name) \($0.questions[0].type)"
        }
        #expect(
            names.prefix(4) == [
                "web.prod.svc.cluster.local. A", "web.prod.svc.cluster.local. AAAA", "web.default.svc.cluster.local. A", "web.default.svc.cluster.local. AAAA",
            ])
        #expect(names.count == 4 + 10)
    }

    @Test("/etc/hosts comes first; servers that say nothing cost their timeouts")
    func hostsFirst() {
        let kernel = TestKernel()
        kernel.files["/etc/hosts"] = Array("127.0.0.1 localhost\n10.244.0.9\tweb.local web # comment\n".utf8)
        kernel.files["/etc/resolv.conf"] = Array("nameserver 10.0.0.9\noptions timeout:2 attempts:3\n".utf8)
        kernel.silent = [IPv4Address(10, 0, 0, 9)]
        // `getent hosts` would ask servers for AAAA records first: the file has none.
        kernel.shell("getent ahosts web | head -1")
        #expect(kernel.output == "10.244.0.9      STREAM web.local web\n")
        #expect(kernel.datagrams.isEmpty)
        #expect(kernel.shell("ping -c 1 other") == 2)
        #expect(kernel.errorOutput == "ping: other: Temporary failure in name resolution\n")
        #expect(kernel.now > .zero + .seconds(6) && kernel.now < .zero + .seconds(7))
    }

    @Test("arping -U asks for itself with a broadcast target, -A answers itself")
    func arping() {
        let kernel = TestKernel()
        #expect(kernel.shell("arping -q -c 1 -w 1 -U -I eth0 10.244.0.3; arping -q -c 1 -w 1 -A -I eth0 10.244.0.3") == 0)
        let mac: [UInt8] = [0x0a, 0x58, 0x0a, 0xf4, 0, 2]
        let all = [UInt8](repeating: 0xff, count: 6)
        let own: [UInt8] = [10, 244, 0, 3]
        let start = all + mac + [8, 6, 0, 1, 8, 0, 6, 4, 0]
        #expect(kernel.transmitted == [start + [1] + mac + own + all + own, start + [2] + mac + own + mac + own])
        #expect(kernel.now >= .zero + .seconds(2))
        #expect(kernel.output == "")
    }

    @Test("nc talks both ways and scans ports")
    func netcat() {
        let kernel = TestKernel()
        #expect(kernel.shell("nc -l -p 7000 > /tmp/in & sleep 0.1; echo hello | nc -N 10.0.0.1 7000; sleep 0.1; cat /tmp/in; nc -zv 10.0.0.1 7001") == 1)
        #expect(kernel.output == "hello\n")
        #expect(kernel.errorOutput == "nc: connect to 10.0.0.1 (10.0.0.1) port 7001 (tcp) failed: Connection refused\n")
    }

    @Test("tcp_peer prints a line for each step")
    func peers() {
        let kernel = TestKernel()
        #expect(
            kernel.shell(
                "tcp_peer listen 7001 recv:10 send:10 recv-eof close > /tmp/log & sleep 0.1; tcp_peer connect 10.0.0.1 7001 send:10 recv:10 sleep:0.5 close; wait; cat /tmp/log"
            ) == 0)
        #expect(
            kernel.output
                == "send:10 0.00s done\nrecv:10 0.00s 10 bytes\nsleep:0.5 0.50s done\nclose 0.50s done\nrecv:10 0.00s 10 bytes\nsend:10 0.00s done\nrecv-eof 0.50s 0 bytes\nclose 0.50s done\n"
        )
        #expect(kernel.shell("tcp_peer connect 10.0.0.1 7002") == 1)
        #expect(kernel.output.hasSuffix("connect 0.00s Connection refused\n"))
    }

    @Test("ip shows interfaces and routes, and hands changes on")
    func ip() {
        let kernel = TestKernel()
        kernel.shell("ip addr show eth0; ip -br addr; ip route; ip route get 10.96.0.1; ip neigh; hostname -i; ip addr flush dev eth0; ip route add bad")
        #expect(
            kernel.output == """
                2: eth0@if7: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
                    link/ether 0a:58:0a:f4:00:02 brd ff:ff:ff:ff:ff:ff link-netnsid 0
                    inet 10.244.0.2/24 brd 10.244.0.255 scope global eth0
                       valid_lft forever preferred_lft forever
                lo               UNKNOWN        127.0.0.1/8\u{20}
                eth0@if7         UP             10.244.0.2/24\u{20}
                default via 10.244.0.1 dev eth0\u{20}
                10.244.0.0/24 dev eth0 proto kernel scope link src 10.244.0.2\u{20}
                10.96.0.1 via 10.244.0.1 dev eth0 src 10.244.0.2 uid 0\u{20}
                    cache\u{20}
                10.244.0.1 dev eth0 lladdr 0a:58:0a:f4:00:01 REACHABLE\u{20}
                10.244.0.2

                """)
        #expect(kernel.configured == [["ip", "addr", "flush", "dev", "eth0"]])
        #expect(kernel.errorOutput == "RTNETLINK answers: File exists\n")
    }
}

struct DNSMessageTests {
    @Test("what is encoded parses back, compressed or not", arguments: [true, false])
    func roundTrip(_ compresses: Bool) throws {
        let name = try #require(DNSName("_http._tcp.web.default.svc.cluster.local"))
        var message = DNSMessage(identifier: 7, flags: [.response, .authoritative, .recursionDesired])
        message.responseCode = .nameError
        message.questions = [DNSQuestion(name: name, type: .srv)]
        message.answers = [
            DNSRecord(
                name: name, type: .srv, timeToLive: 30, data: .srv(priority: 0, weight: 100, port: 80, target: try #require(DNSName("web.default.svc.cluster.local"))))
        ]
        message.additionals = [DNSRecord(name: name, type: .txt, timeToLive: 1, data: .txt([Array("a b".utf8)]))]
        message.ednsExtension = DNSExtension(payloadSize: 4096, options: [(10, [1, 2, 3])])
        #expect(DNSMessage(parsing: message.encoded(compresses: compresses)) == message)
    }

    @Test("no byte string crashes the parser, and pointers cannot loop")
    func garbage() {
        var random = SeededRandom(seed: 3, name: "dns")
        var message = DNSMessage(identifier: 1, flags: .response)
        message.questions = [DNSQuestion(name: DNSName("a.b.c")!, type: .a)]
        message.answers = [
            DNSRecord(name: DNSName("a.b.c")!, type: .a, timeToLive: 1, data: .a(.loopback)),
            DNSRecord(name: DNSName("b.c")!, type: .cname, timeToLive: 1, data: .name(DNSName("x.c")!)),
        ]
        let valid = message.encoded()
        for _ in 0..<5000 {
            var bytes = valid
            for _ in 0..<(1 + random.below(4)) { bytes[Int(random.below(UInt32(bytes.count)))] = UInt8(truncatingIfNeeded: random.next()) }
            _ = DNSMessage(parsing: Array(bytes.prefix(Int(random.below(UInt32(bytes.count + 1))))))
        }
        #expect(DNSMessage(parsing: [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1]) == nil)
    }

    @Test("names keep the limits of RFC 1035")
    func names() {
        #expect(DNSName("a..b") == nil)
        #expect(DNSName(String(repeating: "a", count: 64)) == nil)
        #expect(DNSName(Array(repeating: String(repeating: "a", count: 63), count: 4).joined(separator: ".")) == nil)
        #expect(DNSName("WEB.Example") == DNSName("web.example."))
        #expect(DNSName("a\\.b.c")?.labels.count == 2)
    }
}

struct CalendarTests {
    @Test("virtual time begins on Monday, 1 January 2024")
    func epoch() {
        #expect(CivilTime(.zero).http == "Mon, 01 Jan 2024 00:00:00 GMT")
        #expect(CivilTime(.zero + .seconds(59 * 86400 + 3661)).unix == "Thu Feb 29 01:01:01 UTC 2024")
        for day in stride(from: Int64(0), to: 4000, by: 17) {
            let time = CivilTime(.zero + .seconds(day * 86400 + 5))
            #expect(time.unixSeconds == CivilTime.epoch + UInt64(day) * 86400 + 5)
        }
    }

    @Test("durations as sleep takes them")
    func durations() {
        #expect(parseDuration("1.5") == .milliseconds(1500))
        #expect(parseDuration("2m") == .seconds(120))
        #expect(parseDuration(".25s") == .milliseconds(250))
        #expect(parseDuration("abc") == nil)
        #expect(parseDuration("") == nil)
        #expect(parseDuration("1.2.3") == nil)
        #expect((parseDuration("infinity") ?? .zero) > .seconds(1_000_000_000))
    }

    @Test("numbers of ss as printf of C writes them")
    func socketNumbers() {
        let times = [(0, "0"), (9, "0.009"), (40_000, "40"), (1250, "1.25"), (204_000, "204"), (123_456_789, "123457"), (1_234_567, "1234.57")]
        for (microseconds, text) in times { #expect(TCPInformationText.milliseconds(microseconds) == text) }
        let rates = [(999, "999"), (8000, "8k"), (9_924_000, "9.92M"), (55_001_000_000, "55G"), (331_174_285, "331M"), (9_996, "10k"), (999_600, "1e+03k")]
        for (bits, text) in rates { #expect(TCPInformationText.rate(bits, false) == text) }
        #expect(TCPInformationText.rate(331_174_285, true) == "331174285")
        let durations: [(Int64, String)] = [(204, "204ms"), (1020, "1.020ms"), (12_345, "12sec"), (63_000, "1min3sec"), (7_140_000, "119min"), (0, "")]
        for (milliseconds, text) in durations { #expect(TCPInformationText.duration(.milliseconds(milliseconds)) == text) }
    }
}
