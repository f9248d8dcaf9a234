import HairpinConformance
import Testing

/// Calls, options and times that scripts of the reference suites seldom use.
@Suite("packetdrill calls")
struct PacketdrillCallTests {
    static func after(_ rest: String) -> PacketdrillRunner.Case { PacketdrillResultTests.after(rest) }

    @Test("An absolute time that has passed is late, and counts as timing")
    func late() {
        let answer = "+.5 < P. 1:11(10) ack 1 win 32000\n* > . 1:1(0) ack 11\n"
        #expect(Self.after(answer + ".7 read(4, ..., 10) = 10\n").status == .passed)
        let result = Self.after(answer + ".3 read(4, ..., 10) = 10\n")
        #expect(result.status == .passedIgnoringTiming)
        #expect(result.worstTiming > 299 && result.worstTiming < 350)
    }

    @Test("getsockopt(2) gives back no more bytes than the value has", arguments: [
        ("SOL_SOCKET, SO_SNDBUF, ..., [8]", "[4]"), ("SOL_TCP, TCP_CONGESTION, \"cubic\", [20]", "[16]"), ("SOL_IP, IP_TOS, ..., [2]", "[1]"),
        ("SOL_SOCKET, SO_REUSEPORT, ..., [5]", "[4]"), ("SOL_SOCKET, SO_RCVTIMEO, ..., [32]", "[16]"),
    ])
    func lengths(_ arguments: String, _ actual: String) {
        let result = Self.after("+0 getsockopt(4, \(arguments)) = 0\n")
        #expect(result.status == .failed)
        #expect(result.actual == actual, "\(result.reason)")
    }

    @Test("Addresses of sockets")
    func names() {
        let local = "{sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr(\"192.168.0.1\")}"
        #expect(Self.after("+0 getsockname(4, \(local), ...) = 0\n+0 getpeername(4, ..., ...) = 0\n+0 getpeername(3, ..., ...) = -1 ENOTCONN\n").status == .passed)
        let result = Self.after("+0 getpeername(4, \(local), ...) = 0\n")
        #expect(result.status == .failed)
        #expect(result.actual?.hasPrefix("192.0.2.1:") == true, "\(result.reason)")
    }

    @Test("TCP_INFO as a structure")
    func information() {
        let good = "+0 getsockopt(4, SOL_TCP, TCP_INFO, {tcpi_state=TCP_ESTABLISHED, tcpi_snd_cwnd=10, tcpi_rtt=...}, [104]) = 0\n"
        #expect(Self.after(good).status == .passed)
        let result = Self.after("+0 getsockopt(4, SOL_TCP, TCP_INFO, {tcpi_snd_cwnd=9}, [104]) = 0\n")
        #expect(result.expected == "tcpi_snd_cwnd=9" && result.actual == "tcpi_snd_cwnd=10", "\(result.reason)")
        #expect(Self.after("+0 getsockopt(4, SOL_TCP, TCP_INFO, {tcpi_nothing=9}, [104]) = 0\n").status == .unsupported)
    }

    @Test("Programs that sleep, and times as structures")
    func sleeping() {
        #expect(Self.after("+0...0.2 usleep(200000) = 0\n+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1\n").status == .passed)
        #expect(Self.after("+0...0.1 usleep(200000) = 0\n").status == .passedIgnoringTiming)
        let limit = "+0 setsockopt(4, SOL_SOCKET, SO_RCVTIMEO, {tv_sec=0, tv_usec=50000}, 16) = 0\n"
        let set = limit + "+0 getsockopt(4, SOL_SOCKET, SO_RCVTIMEO, {tv_sec=0, tv_usec=52000}, [16]) = 0\n"
        #expect(Self.after(set + "+0...0.052 read(4, ..., 10) = -1 EAGAIN\n").status == .passed)
        // The time is over while the script waits for something else.
        #expect(Self.after(set + "+0...0.052 read(4, ..., 10) = -1 EAGAIN\n+.2 < P. 1:11(10) ack 1 win 32000\n* > . 1:1(0) ack 11\n").status == .passed)
    }

    @Test("Options that are off, and cannot be turned on")
    func repair() {
        #expect(Self.after("+0 getsockopt(4, SOL_TCP, TCP_REPAIR, [0], [4]) = 0\n+0 setsockopt(4, SOL_TCP, TCP_REPAIR_QUEUE, [1], 4) = -1 EPERM\n").status == .passed)
        #expect(Self.after("+0 setsockopt(4, SOL_TCP, TCP_TX_DELAY, [100], 4) = 0\n+0 getsockopt(4, SOL_TCP, TCP_TX_DELAY, [100], [4]) = 0\n").status == .passed)
    }

    @Test("A flow label says nothing of IPv4 packets, as to the reference tool")
    func flowLabels() { #expect(Self.after("+0 write(4, ..., 10) = 10\n+0 > [flowlabel 0x1] P. 1:11(10) ack 1\n").status == .passed) }
}
