import Foundation
import HairpinEngine
import Testing

@testable import HairpinScenario

/// Programs that measure connections, and what is seen of them from outside: iperf3, netperf, nstat, the trace of TCP.
@Suite("Measuring connections")
struct MeasuringTests {
    let folder = TemporaryFolder()

    private static let pods = """
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: server}
        spec:
          nodeName: node2
          containers: [{name: c, image: alpine, command: [iperf3, -s]}, {name: n, image: alpine, command: [netserver, -D]}]
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: client}
        spec:
          nodeName: node1
          containers: [{name: c, image: alpine, command: [sleep, infinity]}]

        """

    /// Two nodes over links of 10 Mbit/s and 5 ms each, so 20 ms and a little for a round trip; the server's pod is 10.244.1.2.
    private func run(_ spec: String, configure: (inout RunOptions) -> Void = { _ in }) throws -> RunResult {
        let path = folder.write("m.yaml", scenarioText("  cluster: {nodes: 2, dns: false, links: {node: {rate: 10Mbit, delay: 5ms}}}\n" + spec) + Self.pods)
        var options = RunOptions()
        configure(&options)
        return try ScenarioRunner(ScenarioFile.load(path), options: options, hooks: .quiet).run()
    }

    /// The number before a word such as "Mbits/sec" in a line.
    private func number(before word: String, in line: Substring) -> Double? {
        let words = line.split(separator: " ")
        guard let place = words.firstIndex(where: { $0 == word }), place > 0 else { return nil }
        return Double(words[place - 1])
    }

    @Test("iperf3 reports intervals and both sides' sums; the receiver gets what the link carries")
    func stream() throws {
        let result = try run("  steps:\n  - {in: client, run: iperf3 -c 10.244.1.2 -t 2 -i 0.5}\n")
        let step = try #require(result.steps.first)
        #expect(step.exit == 0 && step.stderr.isEmpty)
        let lines = step.stdout.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines[0] == "Connecting to host 10.244.1.2, port 5201")
        #expect(lines[1].wholeMatch(of: /\[  5\] local 10\.244\.0\.2 port \d+ connected to 10\.244\.1\.2 port 5201/) != nil)
        #expect(lines[2] == "[ ID] Interval           Transfer     Bitrate         Retr  Cwnd")
        #expect(lines[3].hasPrefix("[  5]   0.00-0.50   sec  ") && lines[6].hasPrefix("[  5]   1.50-2.00   sec  "))
        #expect(lines.count { $0 == "iperf Done." } == 1)
        let sender = try #require(lines.first { $0.hasSuffix(" sender") })
        let receiver = try #require(lines.first { $0.hasSuffix(" receiver") })
        #expect(sender.hasPrefix("[  5]   0.00-2.00   sec  "))
        // 1448 of 1514 bytes are data; the queue is filled for longer than the test, so the link never rests after slow start.
        let rate = try #require(number(before: "Mbits/sec", in: receiver))
        #expect((8.5...9.6).contains(rate), "\(receiver)")
        // The transfers of the intervals are the sender's sum, to the three digits that are shown.
        func megabytes(_ line: Substring) -> Double { number(before: "MBytes", in: line) ?? (number(before: "KBytes", in: line) ?? 0) / 1024 }
        #expect(abs(lines[3...6].reduce(0) { $0 + megabytes($1) } - megabytes(sender)) < 0.02)
    }

    @Test("iperf3 in JSON, reversed, in parallel, by bytes and with an algorithm; and UDP at a rate")
    func variants() throws {
        let result = try run(
            """
              steps:
              - {id: json, in: client, run: iperf3 -c 10.244.1.2 -n 1M -J -C reno}
              - {id: reverse, in: client, run: iperf3 -c 10.244.1.2 -t 1 -R -P 2}
              - {id: udp, in: client, run: iperf3 -c 10.244.1.2 -u -b 2M -t 1 -l 1000 -J}
              - {id: unknown, in: client, run: iperf3 -c 10.244.1.2 -C nonesuch -t 1}
              - {id: nobody, in: client, run: iperf3 -c 10.244.1.2 -p 5202}
              - {id: wrong, in: client, run: iperf3 -c 10.244.1.2 -t 1 -n 5}

            """)
        let steps = Dictionary(uniqueKeysWithValues: result.steps.map { ($0.id, $0) })
        func object(_ id: String) throws -> [String: Any] { try #require(JSONSerialization.jsonObject(with: Data((steps[id]?.stdout ?? "").utf8)) as? [String: Any]) }
        let json = try object("json")
        let end = try #require(json["end"] as? [String: Any])
        let sent = try #require(end["sum_sent"] as? [String: Any])
        let received = try #require(end["sum_received"] as? [String: Any])
        let bytes = try #require(sent["bytes"] as? Int)
        // Blocks of 128 KiB: at least what was asked for, at most a block more.
        #expect((1_048_576...1_048_576 + 131_072).contains(bytes))
        #expect(try #require(received["bytes"] as? Int) <= bytes)
        #expect(end["sender_tcp_congestion"] as? String == "reno" && end["receiver_tcp_congestion"] as? String == "reno")
        let start = try #require(json["start"] as? [String: Any])
        #expect((start["test_start"] as? [String: Any])?["protocol"] as? String == "TCP")
        #expect((start["cookie"] as? String)?.count == 36)
        #expect((json["intervals"] as? [Any])?.isEmpty == false)

        let reverse = try #require(steps["reverse"]?.stdout)
        #expect(reverse.contains("Reverse mode, remote host 10.244.1.2 is sending\n"))
        #expect(reverse.split(separator: "\n").count { $0.hasPrefix("[SUM]") && $0.hasSuffix("receiver") } == 1)

        let datagrams = try #require((try object("udp")["end"] as? [String: Any])?["sum"] as? [String: Any])
        // 2 Mbit/s are 250 datagrams of 1000 bytes a second, and one is sent before the clock's first tick.
        #expect((249...252).contains(try #require(datagrams["packets"] as? Int)))
        #expect(datagrams["lost_packets"] as? Int == 0)

        #expect(steps["unknown"]?.exit == 1 && steps["unknown"]?.stderr.contains("congestion control algorithm not supported") == true)
        #expect(steps["nobody"]?.exit == 1 && steps["nobody"]?.stderr.hasPrefix("iperf3: error - unable to connect to server") == true)
        #expect(steps["wrong"]?.exit == 1 && steps["wrong"]?.stderr.contains("only one test end condition") == true)
    }

    @Test("An iperf3 server survives what is no iperf3")
    func garbage() throws {
        let result = try run(
            """
              steps:
              - {id: noise, in: client, run: "printf 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\\0000\\0000\\0000\\0004nope' | nc -w 1 10.244.1.2 5201 >/dev/null"}
              - {id: huge, in: client, run: "printf 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa~~~~' | nc -w 1 10.244.1.2 5201 >/dev/null"}
              - {id: gone, in: client, run: "printf 'short' | nc -N -w 1 10.244.1.2 5201 >/dev/null"}
              - {id: test, in: client, run: "iperf3 -c 10.244.1.2 -n 10K"}
              - {id: many, in: client, run: "iperf3 -c 10.244.1.2 -k 900000000000000 -t 1"}

            """)
        let steps = Dictionary(uniqueKeysWithValues: result.steps.map { ($0.id, $0) })
        #expect(steps["test"]?.exit == 0 && steps["test"]?.stdout.hasSuffix("iperf Done.\n") == true)
        #expect(steps["many"]?.exit == 1)
    }

    @Test("netperf counts transactions: one round trip each, two with a connection each")
    func transactions() throws {
        let result = try run(
            """
              steps:
              - {id: rr, in: client, run: netperf -H 10.244.1.2 -t TCP_RR -l 2}
              - {id: crr, in: client, run: "netperf -H 10.244.1.2 -t TCP_CRR -l 2 -- -r 64,200 -k MIN_LATENCY,MEAN_LATENCY,MAX_LATENCY,P99_LATENCY,THROUGHPUT"}

            """)
        let classic = try #require(result.steps.first?.stdout.split(separator: "\n"))
        #expect(classic[0].hasPrefix("MIGRATED TCP REQUEST/RESPONSE TEST from 0.0.0.0 (0.0.0.0) port 0 AF_INET to 10.244.1.2 ()"))
        let numbers = try #require(classic.first { $0.hasPrefix("16384  131072 1 ") }).split(separator: " ").compactMap { Double($0) }
        #expect(numbers.count == 6 && numbers[4] == 2)
        // Four crossings of 5 ms and a bit more: fewer than 50 a second.
        #expect((47...50).contains(numbers[5]))
        var values: [String: Double] = [:]
        for line in result.steps[1].stdout.split(separator: "\n") {
            let parts = line.split(separator: "=")
            if parts.count == 2 { values[String(parts[0])] = Double(parts[1]) }
        }
        let least = try #require(values["MIN_LATENCY"]), mean = try #require(values["MEAN_LATENCY"]), most = try #require(values["MAX_LATENCY"])
        // The extremes are whole microseconds, rounded down.
        #expect(40_000 <= least && least <= mean && mean < most + 1 && most < 45_000)
        #expect(abs(try #require(values["THROUGHPUT"]) - 1e6 / mean) < 1)
    }

    @Test("nstat shows what has changed since it was asked; netstat -s and /proc/net/snmp count the same")
    func counters() throws {
        let result = try run(
            """
              steps:
              - {id: quiet, in: client, run: nstat -z TcpActiveOpens TcpExtTCPOrigDataSent}
              - {id: load, in: client, run: iperf3 -c 10.244.1.2 -n 200K}
              - {id: after, in: client, run: nstat TcpActiveOpens TcpExtTCPOrigDataSent}
              - {id: again, in: client, run: nstat TcpActiveOpens}
              # The last bytes leave the send buffer.
              - {id: rest, in: client, run: sleep 1}
              - {id: absolute, in: client, run: "nstat -asj"}
              - {id: prose, in: client, run: netstat -s -t}
              - {id: file, in: client, run: "grep ^Tcp: /proc/net/snmp"}

            """)
        let steps = Dictionary(uniqueKeysWithValues: result.steps.map { ($0.id, $0.stdout) })
        #expect(steps["quiet"] == "#kernel\nTcpActiveOpens                  0                  0.0\nTcpExtTCPOrigDataSent           0                  0.0\n")
        // The control connection and the stream.
        #expect(steps["after"]?.contains("TcpActiveOpens                  2                  0.0\n") == true)
        let sent = try #require(steps["after"]?.firstMatch(of: /TcpExtTCPOrigDataSent +(\d+)/)).1
        // The client ends when the last byte is in its send buffer; most of it has left by then.
        #expect((20...200).contains(try #require(Int(sent))))
        #expect(steps["again"] == "#kernel\n")
        let json = try #require(JSONSerialization.jsonObject(with: Data((steps["absolute"] ?? "").utf8)) as? [String: [String: Int]])
        #expect(json["kernel"]?["TcpActiveOpens"] == 2)
        #expect(steps["prose"]?.hasPrefix("Tcp:\n    2 active connection openings\n") == true)
        let rows = try #require(steps["file"]?.split(separator: "\n").map { $0.split(separator: " ") })
        #expect(rows.count == 2 && rows[0].count == rows[1].count)
        let column = try #require(rows[0].firstIndex(of: "InSegs"))
        #expect(Int(rows[1][column]) == json["kernel"]?["TcpInSegs"])
    }

    @Test("The trace of TCP has a line for each segment and retransmission, of the hosts and ports asked for, and the same on any number of threads")
    func trace() throws {
        let spec = """
              tcpProbe: {hosts: [client], ports: [5201]}
              steps:
              - {in: client, run: iperf3 -c 10.244.1.2 -t 1}
              - {in: client, run: netperf -H 10.244.1.2 -t TCP_RR -l 1}
              - {id: stat, in: client, run: "nstat -as TcpRetransSegs"}
              faults: [{at: 1500ms, for: 500ms, link: node1, loss: 3%}]

            """
        func traced(_ name: String, threads: Int) throws -> (text: String, result: RunResult) {
            let file = folder.path + "/" + name
            let result = try run(spec) {
                $0.tcpProbe = file
                $0.threads = threads
                $0.sharesEveryWindow = threads > 1
            }
            return (try String(contentsOfFile: file, encoding: .utf8), result)
        }
        let (text, result) = try traced("probe.csv", threads: 1)
        let lines = text.split(separator: "\n").map { $0.split(separator: ",", omittingEmptySubsequences: false) }
        let header = try #require(lines.first)
        for name in ["src", "dest", "data_len", "snd_nxt", "snd_una", "snd_cwnd", "ssthresh", "snd_wnd", "srtt", "rcv_wnd"] {
            #expect(header.contains { $0 == name }, "\(name)")
        }
        #expect(lines.allSatisfy { $0.count == header.count })
        func column(_ name: String) throws -> Int { try #require(header.firstIndex { $0 == name }) }
        let (time, host, event, dest) = (try column("time"), try column("host"), try column("event"), try column("dest"))
        #expect(lines.count > 200)
        #expect(lines.dropFirst().allSatisfy { $0[host] == "default/client" && $0[dest] == "10.244.1.2:5201" })
        let times = lines.dropFirst().compactMap { Double($0[time]) }
        #expect(times == times.sorted() && times.count == lines.count - 1)
        // netperf's connection met no loss: what was sent again are the trace's lines.
        let counted = try #require(result.steps.last?.stdout.firstMatch(of: /TcpRetransSegs +(\d+)/)).1
        #expect(Int(counted) == lines.count { $0[event] == "retransmit" })
        #expect(lines.contains { $0[event] == "retransmit" })
        #expect(try traced("threads.csv", threads: 2).text == text)
    }

    @Test("With a folder for captures the scenario's trace lies beside them; full: false keeps changes of the window only")
    func traceBesideCaptures() throws {
        func lines(_ settings: String) throws -> [Substring] {
            let out = folder.path + "/" + settings.filter(\.isLetter)
            let result = try run("  tcpProbe: {\(settings)}\n  steps:\n  - {in: client, run: iperf3 -c 10.244.1.2 -n 300K}\n") { $0.captures = out }
            return try String(contentsOfFile: "\(out)/\(result.scenario).tcpprobe.csv", encoding: .utf8).split(separator: "\n")
        }
        let all = try lines("hosts: [client]")
        let changes = try lines("hosts: [client], full: false")
        #expect(changes.count < all.count && changes.count > 2)
        #expect(Set(changes).isSubset(of: Set(all)))
        let window = try #require(all[0].split(separator: ",").firstIndex(of: "snd_cwnd"))
        let source = try #require(all[0].split(separator: ",").firstIndex(of: "src"))
        var last: [Substring: Substring] = [:]
        for line in changes.dropFirst() {
            let fields = line.split(separator: ",")
            #expect(last.updateValue(fields[window], forKey: fields[source]) != fields[window], "\(line)")
        }
    }

    @Test("Wrong settings of a trace are refused where they stand", arguments: ["host: [a]", "ports: [0]", "ports: [x]", "full: 3"])
    func refusals(settings: String) throws {
        #expect(throws: Failure.self) { try run("  tcpProbe: {\(settings)}\n") }
    }
}
