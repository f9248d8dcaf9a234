import Foundation
import HairpinConformance
import Testing

/// The scripts of `Packetdrill/`, those of `PacketdrillCurrentKernel/`, which older kernels answer otherwise, and what the runner says about scripts that do not
/// pass.
@Suite("packetdrill scripts")
struct PacketdrillScriptTests {
    static let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    static let current = "PacketdrillCurrentKernel"
    static let scripts = ["Packetdrill", current].flatMap { folder in
        PacketdrillRunner.scripts(in: tests.appendingPathComponent(folder)).map { "\(folder)/\($0.lastPathComponent)" }
    }

    static func runner(_ name: String) -> PacketdrillRunner {
        var runner = PacketdrillRunner()
        runner.followsOlderKernels = !name.hasPrefix(current)
        return runner
    }

    @Test("There are scripts")
    func present() { #expect(Self.scripts.count >= 16) }

    @Test("The script passes, strictly", arguments: scripts)
    func passes(_ name: String) {
        let result = Self.runner(name).run(file: Self.tests.appendingPathComponent(name), id: name)
        #expect(result.status == .passed, "\(name):\(result.line): \(result.reason)")
    }

    @Test("The result does not depend on the seed", arguments: scripts)
    func seeds(_ name: String) {
        for seed in 2...4 as ClosedRange<UInt64> {
            var runner = Self.runner(name)
            runner.seed = seed
            #expect(runner.run(file: Self.tests.appendingPathComponent(name), id: name).status == .passed, "\(name) with seed \(seed)")
        }
    }
}

@Suite("packetdrill results")
struct PacketdrillResultTests {
    /// A server with an accepted connection, descriptor 4; MSS 1000, no options but SACK.
    static let connected = """
        0    socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
        +0   bind(3, ..., ...) = 0
        +0   listen(3, 1) = 0
        +0   < S 0:0(0) win 32000 <mss 1000,nop,nop,sackOK>
        +0   > S. 0:0(0) ack 1 <mss 1460,nop,nop,sackOK>
        +.1  < . 1:1(0) ack 1 win 32000
        +0   accept(3, ..., ...) = 4

        """

    static func run(_ text: String, defines: [String: String] = [:]) -> PacketdrillRunner.Case {
        var runner = PacketdrillRunner()
        runner.defines = defines
        return runner.run(text, file: "test.pkt", id: "test")
    }
    static func after(_ rest: String) -> PacketdrillRunner.Case { run(connected + rest) }

    @Test("A right script passes")
    func passed() {
        let result = Self.after("+0 write(4, ..., 500) = 500\n+0 > P. 1:501(500) ack 1\n")
        #expect(result.status == .passed, "\(result.reason)")
        #expect(result.line == 0 && result.reason.isEmpty)
    }

    @Test("Only PSH differs")
    func push() { #expect(Self.after("+0 write(4, ..., 500) = 500\n+0 > . 1:501(500) ack 1\n").status == .passedIgnoringPush) }

    @Test("Only the time differs, and is measured")
    func timing() {
        let result = Self.after("+0 write(4, ..., 500) = 500\n+.1 > P. 1:501(500) ack 1\n")
        #expect(result.status == .passedIgnoringTiming)
        #expect(result.worstTiming > 99 && result.worstTiming < 101)
    }

    @Test("Both differ")
    func both() { #expect(Self.after("+0 write(4, ..., 500) = 500\n+.1 > . 1:501(500) ack 1\n").status == .passedIgnoringBoth) }

    @Test("A tolerance of the script counts")
    func tolerance() {
        let late = "+0 write(4, ..., 500) = 500\n+.1 > P. 1:501(500) ack 1\n"
        #expect(Self.run("--tolerance_usecs=110000\n" + Self.connected + late).status == .passed)
    }

    @Test("--non_fatal: what is not as expected does not end the script, if it is of the kind named", arguments: ["packet", "syscall", "packet,syscall"])
    func notFatal(kinds: String) {
        let packet = "+0 write(4, ..., 500) = 500\n+0 > P. 1:401(400) ack 1\n+.1 < . 1:1(0) ack 501 win 32000\n+0 write(4, ..., 200) = 200\n+0 > P. 501:701(200) ack 1\n"
        let call = "+0 write(4, ..., 500) = 400\n+0 > P. 1:501(500) ack 1\n"
        #expect(Self.run("--non_fatal=\(kinds)\n" + Self.connected + packet).status == (kinds.contains("packet") ? .passed : .failed))
        #expect(Self.run("--non_fatal=\(kinds)\n" + Self.connected + call).status == (kinds.contains("syscall") ? .passed : .failed))
    }

    @Test("Another packet: the line, and both packets in script notation")
    func packet() {
        let result = Self.after("+0 write(4, ..., 500) = 500\n+0 > P. 1:401(400) ack 1\n")
        #expect(result.status == .failed)
        #expect(result.line == 9)
        #expect(result.expected == "P. 1:401(400) ack 1")
        #expect(result.actual == "P. 1:501(500) ack 1 <...>" || result.actual == "P. 1:501(500) ack 1")
        #expect(result.reason.contains("length"))
    }

    @Test("Options that are missing are a difference")
    func options() {
        let result = Self.run(
            """
            0    socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
            +0   bind(3, ..., ...) = 0
            +0   listen(3, 1) = 0
            +0   < S 0:0(0) win 32000 <mss 1000>
            +0   > S. 0:0(0) ack 1
            """)
        #expect(result.status == .failed)
        #expect(result.actual == "S. 0:0(0) ack 1 <mss 1460>")
    }

    @Test("No packet where one is expected")
    func silence() {
        let result = Self.after("+0 > P. 1:2(1) ack 1\n")
        #expect(result.status == .failed)
        #expect(result.reason.hasPrefix("no packet"))
    }

    @Test("Results of system calls", arguments: [
        ("+0 write(4, ..., 500) = 400\n", "write = 500"),
        ("+0 bind(3, ..., ...) = 0\n", "bind = -1 EINVAL"),
        ("+0 read(9, ..., 5) = -1 EAGAIN\n", "read = -1 EBADF"),
        ("+0 getsockopt(4, SOL_TCP, TCP_MAXSEG, [999], [4]) = 0\n", "[1000]"),
        ("+0 poll([{fd=4, events=POLLOUT, revents=POLLIN}], 1, 0) = 1\n", "revents=POLLOUT"),
        ("+0 read(4, ..., 5) = 0\n", "it does not return at once"),
    ])
    func calls(_ line: String, _ actual: String) {
        let result = Self.after(line)
        #expect(result.status == .failed)
        #expect(result.line == 8)
        #expect(result.actual == actual)
    }

    @Test("Blocking calls: when they return, and that they do")
    func blocking() {
        let read = "+0...0.100 read(4, ..., 10) = 10\n"
        #expect(Self.after(read + "+.1 < P. 1:11(10) ack 1 win 32000\n+0 > . 1:1(0) ack 11\n").status == .passed)
        #expect(Self.after(read + "+.2 < P. 1:11(10) ack 1 win 32000\n+0 > . 1:1(0) ack 11\n").status == .passedIgnoringTiming)
        #expect(Self.after(read).status == .failed)
    }

    @Test("Assertions show the values they were about")
    func code() {
        let result = Self.after("+0 %{ assert tcpi_snd_cwnd == 11 and 1 < 2 }%\n")
        #expect(result.status == .failed)
        #expect(result.reason.contains("tcpi_snd_cwnd = 10"))
    }

    @Test("The language of assertions", arguments: [
        "assert 1 < 2 <= 2 != 3", "assert not (1 > 2 or 0)", "assert 7 // 2 == 3 and 7 % 4 == 3 and 1 << 4 == 16", "x = 3; x += 4; assert x == 7, 'x is %d' % x",
        "assert (0x10 | 1) & 0x11 == 17", "print('anything', 1)\nassert max(1, 2) == 2  # a comment", "assert 1 + 1 \\\n == 2", "assert tcpi_state == TCP_ESTABLISHED",
    ])
    func expressions(_ text: String) {
        let result = Self.after("+0 %{ \(text) }%\n")
        #expect(result.status == .passed, "\(text): \(result.reason)")
    }

    @Test("What is not known is named, and never passes", arguments: [
        ("+0 mmap(4, 0) = 0\n", "mmap"), ("+0 %{ assert tcpi_no_such_field == 0 }%\n", "tcpi_no_such_field"), ("+0 %{ import os }%\n", "import"),
        ("+0 setsockopt(4, SOL_TCP, TCP_REPAIR, [1], 4) = 0\n", "TCP_REPAIR"), ("+0 `reboot --now`\n", "reboot"),
        ("+0 `sysctl -q net.ipv4.tcp_no_such=1`\n", "tcp_no_such"),
        ("+0 < ipv4 1.1.1.1 > 2.2.2.2: . 1:1(0) ack 1 win 5\n", "ipv4"), ("+0 > udp (10)\n", "UDP"),
        ("+0 > .A 1:1(0) ack 1\n", "AccECN flag"), ("+0 > 5. 1:1(0) ack 1\n", "AccECN flag"), ("+0 < . 1:1(0) ack 1 win 5 <ECN e1b 1 ceb 0 e0b 5,nop>\n", "AccECN option"),
        ("+0 `sysctl -q net.ipv4.tcp_ecn=3`\n", "tcp_ecn"),
    ])
    func unsupported(_ line: String, _ name: String) {
        let result = Self.after(line)
        #expect(result.status == .unsupported, "\(result.reason)")
        #expect(result.reason.contains(name), "\(result.reason)")
        #expect(result.line == 8)
    }

    @Test("IPv6 and unknown options are unsupported", arguments: ["--ip_version=ipv6\n", "--no_such_option\n"])
    func runnerOptions(_ option: String) { #expect(Self.run(option + Self.connected).status == .unsupported) }

    @Test("Words are defined by the caller and by the script")
    func defines() {
        let rest = Self.connected + "+0 write(4, ..., SIZE) = SIZE\n+0 > P. 1:501(SIZE) ack 1\n"
        #expect(Self.run(rest, defines: ["SIZE": "500"]).status == .passed)
        #expect(Self.run("--define=SIZE=500\n" + rest).status == .passed)
        #expect(Self.run(rest).status == .unreadable)
    }

    @Test("A packet of one large segment is gathered from several")
    func gathering() {
        let rest = "+0 write(4, ..., 3000) = 3000\n+0 > P. 1:3001(3000) ack 1\n"
        #expect(Self.after(rest).status == .passed)
        #expect(Self.run("--strict_segments\n" + Self.connected + rest).status == .failed)
    }

    @Test("Fast Open cookies are those of the reference tool's host")
    func cookies() {
        let script = """
            0    socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
            +0   bind(3, ..., ...) = 0
            +0   listen(3, 1) = 0
            +0   < S 0:10(10) win 32000 <mss 1000,FO COOKIE,nop,nop>
            +0   > S. 0:0(0) ack ACK <mss 1460>
            """
        #expect(Self.run(script, defines: ["COOKIE": "3021b9d889017eeb", "ACK": "11"]).status == .passed)
    }
}

@Suite("packetdrill parser")
struct PacketdrillParserTests {
    static func error(_ text: String) -> ScriptError? {
        do throws(ScriptError) {
            _ = try PacketdrillScript(text, file: "bad.pkt")
            return nil
        } catch {
            return error
        }
    }

    @Test("Errors name line, column and what was expected", arguments: [
        ("", 1, 1, "an event"),
        ("0 socket(..., SOCK_STREAM, IPPROTO_TCP = 3", 1, 40, "',' or ')'"),
        ("0 socket(...) = 3\n+0 bind(3) 0", 2, 12, "'=' and the result of bind"),
        ("0 < S 0:1(0) win 5", 1, 7, "an end of 0 after 0 and 0 bytes"),
        ("0 < S 0:0(0) win 70000", 1, 18, "a window from 0 to 65535"),
        ("0 < SX 0:0(0)", 1, 6, "TCP flags (of F S R P E W A U and '.', or '-')"),
        ("0 < . 1:1(0) ack 1 <mss 5,nope>", 1, 27, "a TCP option (mss, wscale, sackOK, sack, TS, nop, eol, FO, FOEXP, md5 or ECN)"),
        ("0 < . 1:1(0) ack 1 <TS 5 ecr 6>", 1, 24, "'val' and a timestamp"),
        ("x", 1, 1, "a time ('0.1', '+0.1', '+0.1~+0.2' or '*')"),
        ("0 ?", 1, 3, "a packet ('<' or '>'), a system call, '`' or '%{'"),
        ("+0 /* open", 1, 4, "'*/' to end the comment"),
        ("0 `sleep 1", 1, 4, "'`' to end the shell text"),
        ("0 %{ assert 1 ", 1, 5, "'}%' to end the code"),
        ("*  socket(...) = 3", 1, 1, "one time, not a range or '*', for anything but an outbound packet"),
        ("+.2~+.1 > . 1:1(0)", 1, 6, "an end of the range at or after its start"),
        (".1 close(3) = 0", 1, 1, "a first event at time 0"),
        ("0 close(3) = 0\n+.5 close(3) = 0\n 1.5 close(3) = 0\n 1.25 > . 1:1(0)", 4, 2, "a time at or after that of the event before, 1.5"),
        ("0 close(3) = 0\n.5~.7 > . 1:1(0)\n.4 close(3) = 0", 3, 1, "a time at or after that of the event before, 0.5"),
        ("`a`\n0 close(3) = 0\n`b`\n0 close(3) = 0", 4, 1, "the end of the file after the clean-up block"),
        ("0 < . 1:1(0) ack 1 <FO abc,nop>", 1, 24, "pairs of hex digits"),
        ("0 < [ect9] . 1:1(0)", 1, 6, "an IP field (an ECN name, 'tos', 'ttl' or 'flowlabel')"),
    ])
    func errors(_ text: String, _ line: Int, _ column: Int, _ expected: String) throws {
        let error = try #require(Self.error(text))
        #expect(error.line == line && error.column == column, "\(error)")
        #expect(error.expected == expected, "\(error)")
        #expect(error.description.hasPrefix("bad.pkt:\(line):\(column): expected "))
    }

    @Test("Every construct of the language parses", arguments: [
        "--ip_version=ipv4\n--tolerance_usecs=10000 --define=A=1\n0 close(3) = 0",
        "`sysctl -q a.b=c`\n0 close(3) = 0\n`cleanup`",
        "0 > S 0:0(0) <...>", "* > . 1:1(0)", "0~0.7 > F. 1:1(0) ack 1", "0 close(3) = 0\n+.1~.2 > - 1:1(0)", "+0...1.2 read(3, ..., 5) = 5",
        "0 < 8080 > 9090 SEWA. 0:0(0) win 5 urg 6 <mss 5,nop,wscale 7,sackOK,sack 1:2 3:4,TS val 1 ecr 2,eol,FO,FO abcd,FOEXP abcd,FOEXP,md5 00>",
        "0 < [ect0] . 1:1(0)", "0 > (ect01) . 1:1(0)", "0 < (tos 0x10,ttl 64) . 1:1(0)", "0 > [noecn, flowlabel 0x1] . 1:1(0)", "0 > 5. 1:1(0)",
        "0 < udp (100)", "0 > udp 5 > 6 (0)",
        "0 < icmp unreachable frag_needed mtu 1000 [1:1461(1460)]", "0 < icmp type_9 code_3 id 4 [udp (5)]", "0 < icmp echo_request [raw (5)]",
        "0 < ipv4 1.2.3.4 > 5.6.7.8: ipv6 a::b > c::d: . 1:1(0)", "0 < . 1:1(0) ack 1 <ECN e0b 1 ceb 2 e1b 3>", "0 < SA 0:0(0) <ECN e0b 1,nop,ECN e1b 1 ceb 0 e0b 0>",
        """
        0 sendmsg(4, {msg_name(...)=..., msg_iov(2)=[{..., 5}, {..., 6}], msg_flags=0,
            msg_control=[{cmsg_level=SOL_TCP, cmsg_type=5, cmsg_data={a=1, b=...}}]}, MSG_EOR|MSG_MORE) = 11
        """,
        "0 connect(3, {sa_family = AF_INET, sin_port = htons(80), sin_addr = inet_addr(\"1.2.3.4\")}, ...) = -1 EINPROGRESS (Operation now in progress)",
        "0 fcntl(3, F_GETFL) = 0x2 (flags O_RDWR)", "0 setsockopt(3, SOL_TCP, TCP_CONGESTION, \"reno\", 4) = 0", "0 writev(3, [{..., 1}], 1) = -1",
        "0 /* a\nb */ close(3) = 0 // c", "0 %{ assert a == '}' }%\n",
    ])
    func parses(_ text: String) { #expect(Self.error(text) == nil, "\(Self.error(text)?.description ?? "")") }

    @Test("Deep nesting is refused, in arguments and in code")
    func nesting() throws {
        let error = try #require(Self.error("0 poll(\(String(repeating: "[", count: 100_000))"))
        #expect(error.expected.contains("levels of nesting"))
        for deep in [String(repeating: "(", count: 100_000), String(repeating: "not ", count: 100_000), String(repeating: "-", count: 100_000)] {
            let result = PacketdrillRunner().run("0 %{ assert \(deep)1 }%", file: "deep.pkt", id: "deep")
            #expect(result.status == .unsupported)
        }
    }

    @Test("No text crashes or hangs the parser")
    func noise() {
        var state: UInt64 = 88_172_645_463_325_252
        func next(_ bound: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(bound))
        }
        let pieces = [
            "0", "+0", "...", "socket(", ")", "=", "<", ">", "S.", "0:0(0)", "ack", "1", "[", "{", "}", "%{", "}%", "`", "\"", "~", "*", "|", "--a=b", "icmp", "é", "\n",
            " ", "//",
        ]
        for _ in 0..<3000 {
            let text = (0..<next(20)).map { _ in pieces[next(pieces.count)] + (next(3) > 0 ? " " : "") }.joined()
            let result = PacketdrillRunner().run(text, file: "noise.pkt", id: "noise")
            #expect(result.status != .passed || text.contains("0"))
        }
    }
}
