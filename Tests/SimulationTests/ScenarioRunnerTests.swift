import Foundation
import HairpinEngine
import Testing

@testable import HairpinScenario

@Suite("Running scenarios")
struct ScenarioRunnerTests {
    let folder = TemporaryFolder()

    func run(_ spec: String, configure: (inout RunOptions, inout RunHooks) -> Void = { _, _ in }) throws -> RunResult {
        let path = folder.write("t.yaml", scenarioText(spec))
        return try run(ScenarioFile.load(path), configure: configure)
    }

    func run(_ loaded: LoadedScenario, configure: (inout RunOptions, inout RunHooks) -> Void = { _, _ in }) throws -> RunResult {
        var options = RunOptions()
        var hooks = RunHooks.quiet
        configure(&options, &hooks)
        return try ScenarioRunner(loaded, options: options, hooks: hooks).run()
    }

    @Test("The built-in scenarios keep what they promise, with balanced books", arguments: BuiltinScenario.all.map(\.name))
    func builtins(name: String) throws {
        let result = try run(ScenarioFile.load(name))
        for expectation in result.expectations { #expect(expectation.passed, "\(expectation.at): \(expectation.expectation): \(expectation.found ?? "")") }
        #expect(result.status == .passed)
        #expect(result.books?.balanced == true)
    }

    @Test("The same seed writes the same bytes, another seed does not")
    func determinism() throws {
        func digests(_ name: String, seed: UInt64) throws -> [String] {
            let out = folder.path + "/" + name
            return try run(ScenarioFile.load("pod-to-service-iptables")) { options, _ in
                options.captures = out
                options.seed = seed
            }.captures.compactMap(\.sha256)
        }
        let first = try digests("a", seed: 1)
        #expect(first.count == 1)
        #expect(try digests("b", seed: 1) == first)
        #expect(try digests("c", seed: 2) != first)
    }

    @Test("A step starts when the one before it ends, one with a time at its time, one after another after that one's end")
    func schedule() throws {
        let result = try run(
            """
              cluster: {dns: false}
              steps:
              - {id: a, in: node/node1, run: sleep 2}
              - {id: b, in: node/node1, run: sleep 1}
              - {id: c, at: 1500ms, in: node/node1, run: echo early}
              - {id: d, after: {step: a, delay: 250ms}, in: node/node1, run: echo d}
            """)
        let steps = Dictionary(uniqueKeysWithValues: result.steps.map { ($0.id, $0) })
        let a = try #require(steps["a"])
        let b = try #require(steps["b"])
        let c = try #require(steps["c"])
        let d = try #require(steps["d"])
        #expect(a.startedNanoseconds == 1_000_000_000)
        #expect(b.startedNanoseconds == a.endedNanoseconds)
        #expect(c.startedNanoseconds == 1_500_000_000)
        #expect(d.startedNanoseconds == a.endedNanoseconds + 250_000_000)
        #expect(result.steps.map(\.id) == ["a", "b", "c", "d"])
    }

    @Test("A step on another machine begins no earlier than the one before it ended, and its clock is not behind")
    func causeBeforeEffect() throws {
        let result = try run(
            """
              cluster: {dns: false, nodes: [{name: node1, address: 192.168.50.11}, {name: node2, address: 192.168.50.12}]}
              hosts: [{name: client, address: 192.168.50.100}]
              steps:
              - {id: busy, in: node/node1, run: "for i in 1 2 3 4 5 6 7 8; do ping -c 1 127.0.0.1 >/dev/null; done; date +%s.%N"}
              - {id: next, in: host/client, run: "date +%s.%N; ping -c 1 192.168.50.12"}
            """)
        let busy = try #require(result.steps.first { $0.id == "busy" }), next = try #require(result.steps.first { $0.id == "next" })
        let before = try #require(Double(busy.stdout.split(separator: "\n").first ?? "")), after = try #require(Double(next.stdout.split(separator: "\n").first ?? ""))
        #expect(after >= before)
        // Two 10 µs cables each way and two machines' processing: far from a millisecond.
        let time = try #require(next.stdout.firstMatch(of: /time=([0-9.]+) ms/))
        #expect(try #require(Double(time.1)) < 1)
    }

    @Test("sysctl reads what it has written, and names what there is not")
    func sysctl() throws {
        let result = try run(
            """
              cluster: {dns: false}
              steps:
              - {id: read, in: node/node1, run: sysctl net.ipv4.ip_forward}
              - {id: write, in: node/node1, run: sysctl -w net.ipv4.ip_forward=0 && sysctl -n net.ipv4.ip_forward}
              - {id: unknown, in: node/node1, run: sysctl net.ipv4.nonsense}
            """)
        #expect(result.steps.map(\.stdout) == ["net.ipv4.ip_forward = 1\n", "net.ipv4.ip_forward = 0\n0\n", ""])
        #expect(result.steps.map(\.exit) == [0, 0, 255])
    }

    @Test("sysctl chooses the congestion control of new connections, and refuses names that are none")
    func congestionControl() throws {
        let result = try run(
            """
              cluster: {dns: false}
              steps:
              - {id: default, in: node/node1, run: sysctl -n net.ipv4.tcp_congestion_control}
              - {id: choose, in: node/node1, run: sysctl -w net.ipv4.tcp_congestion_control=bbr && sysctl -n net.ipv4.tcp_congestion_control}
              - {id: refuse, in: node/node1, run: sysctl -w net.ipv4.tcp_congestion_control=nonsense}
              - {id: invalid, in: node/node1, run: sysctl -w net.ipv4.tcp_syncookies=7}
            """)
        #expect(result.steps.map(\.stdout) == ["cubic\n", "net.ipv4.tcp_congestion_control = bbr\nbbr\n", "", ""])
        #expect(result.steps.map(\.exit) == [0, 0, 255, 255])
        #expect(result.steps[2].stderr.contains("No such file or directory"))
        #expect(result.steps[3].stderr.contains("Invalid argument"))
    }

    @Test("A busy loop reaches the time limit of its step")
    func busyLoop() throws {
        let result = try run("  cluster: {dns: false}\n  steps: [{id: spin, in: node/node1, timeout: 5s, run: 'while :; do :; done'}]\n")
        #expect(result.steps.first?.exit == 137)
    }

    @Test("Exit status, standard error and repetitions are kept")
    func outputs() throws {
        let result = try run(
            """
              cluster: {dns: false}
              steps:
              - {id: a, in: node/node1, run: "echo out; echo err >&2; exit 3", repeat: 2}
              expect:
              - {step: a, exit: 3, stdout: {lines: 2, eachLine: 2}, stderr: "err\\nerr"}
            """)
        #expect(result.steps.map(\.exit) == [3])
        #expect(result.steps.map(\.stdout) == ["out\nout\n"])
        #expect(result.steps.map(\.stderr) == ["err\nerr\n"])
    }

    @Test("A step that runs too long is ended with status 137")
    func timeout() throws {
        let result = try run("  cluster: {dns: false}\n  steps:\n  - {id: a, in: node/node1, run: sleep 60, timeout: 3s}\n  expect:\n  - {step: a, exit: 0}")
        #expect(result.status == .failed)
        #expect(result.steps.map(\.exit) == [137])
        #expect(result.steps[0].timedOut)
        #expect(result.steps[0].duration == .seconds(3))
    }

    @Test("--until ends a run; a step that still runs is a failure")
    func until() throws {
        let result = try run("  cluster: {dns: false}\n  steps:\n  - {id: a, in: node/node1, run: sleep 60}") { options, _ in
            options.until = Instant(nanoseconds: 5_000_000_000)
        }
        #expect(result.virtualNanoseconds == 5_000_000_000)
        #expect(result.status == .failed)
        #expect(result.steps[0].problem?.contains("still running") == true)
    }

    @Test("An interrupted run closes its captures and says so")
    func interruption() throws {
        let out = folder.path + "/out"
        let result = try run("  cluster: {nodes: 2, dns: false}\n  steps:\n  - {id: a, in: node/node1, run: ping -c 100 192.168.50.12}") { options, hooks in
            options.captures = out
            var looks = 0
            hooks.isInterrupted = {
                looks += 1
                return looks > 30
            }
        }
        #expect(result.status == .interrupted)
        let capture = try #require(result.captures.first)
        #expect(capture.frames > 0)
        #expect(FileManager.default.fileExists(atPath: capture.path))
    }

    @Test("A container's command has its variables filled in, and its environment and files are those of the cluster's plan")
    func surroundings() throws {
        let manifest = folder.write(
            "pod.yaml",
            """
            apiVersion: v1
            kind: Pod
            metadata: {name: a, labels: {app: web}}
            spec:
              containers:
              - name: c
                image: busybox
                command: [sh, -c]
                args: ["echo $(WHO) $$(WHO) $(NOBODY_HERE) > /tmp/said; sleep infinity"]
                env: [{name: WHO, value: me}]
            """)
        let result = try run(
            """
              cluster: {dns: false}
              manifests: [\(manifest)]
              steps:
              - {id: said, in: pod/a, run: cat /tmp/said}
              - {id: host, in: pod/a, run: "grep -c ip6-localnet /etc/hosts; echo $KUBERNETES_SERVICE_HOST $HOME"}
            """)
        // The shell takes what Kubernetes leaves, $(WHO), for a command.
        #expect(result.steps.first?.stdout == "me\n")
        #expect(result.steps.last?.stdout == "1\n10.96.0.1 /root\n")
    }

    @Test("A cut cable loses what is sent meanwhile, and the drops have a name")
    func cut() throws {
        let result = try run(
            """
              cluster: {nodes: 2, dns: false}
              steps:
              - {id: p, in: node/node1, run: ping -c 4 -W 1 192.168.50.12}
              faults:
              - {at: 1500ms, for: 1s, link: node1, down: true}
              expect:
              - {step: p, stdout: {contains: "4 packets transmitted, 3 received"}}
              - {drops: {exactly: 1}}
            """)
        #expect(result.status == .passed, "\(result.expectations)")
    }

    @Test("A fault that cannot be played is refused, not ignored")
    func unplayableFault() throws {
        do {
            _ = try run("  cluster: {nodes: 2}\n  faults:\n  - {at: 1s, link: node1, delay: 5ms}")
            Issue.record("the fault was accepted")
        } catch let failure as Failure {
            #expect(failure.kind == .input)
            #expect(failure.message.contains("t.yaml:7"))
        }
    }

    @Test("A step in a pod that does not exist is the scenario's mistake, found before the boot")
    func missingPod() throws {
        do {
            _ = try run("  steps:\n  - {in: pod/nobody, run: ls}")
            Issue.record("the step was accepted")
        } catch let failure as Failure {
            #expect(failure.kind == .input)
            #expect(failure.message.contains("pods \"nobody\" not found"))
        }
    }

    @Test("A container that keeps crashing is restarted at once, then after 10 s, then after 20 s")
    func crashLoop() throws {
        _ = folder.write("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: busybox, command: [sh, -c, exit 1]}]}\n")
        let loaded = try ScenarioFile.cluster(manifests: [folder.path + "/pod.yaml"])
        let world = try World(loaded, seed: 1, log: .quiet)
        var restarts: [Int] = []
        for seconds in [5, 15, 35] {
            world.advance(to: Instant(nanoseconds: UInt64(seconds) * 1_000_000_000)) { true }
            restarts.append(world.pods[0].containers[0].restarts)
        }
        #expect(restarts == [1, 2, 3])
        #expect(world.pods[0].containers[0].state == .waiting("CrashLoopBackOff"))
    }

    @Test("ss -tino shows timers and TCP_INFO of a connection whose reader sleeps")
    func socketStatistics() throws {
        let result = try run(
            """
              cluster: {dns: false}
              steps:
              - in: node/node1
                run: >-
                  tcp_peer listen 7001 rcvbuf:8192 sleep:3 recv-eof close > /dev/null &
                  sleep 0.1; tcp_peer connect 127.0.0.1 7001 send:40000 shutdown recv-eof close > /dev/null &
                  sleep 1; ss -tinoH; sleep 10; ss -tanoH
            """)
        let lines = try #require(result.steps.first?.stdout).split(separator: "\n").map(String.init)
        // The writer probes the closed window, with what it says of itself on a line of its own below; the reader waits for nothing.
        let writer = try #require(lines.firstIndex { $0.contains(":7001 timer:(persist,") })
        let row = /(ESTAB|FIN-WAIT-1) +0 +\d+ +127\.0\.0\.1:\d+ +127\.0\.0\.1:7001 timer:\(persist,[\d.]+ms,[123]\)/
        #expect(lines[writer].wholeMatch(of: row) != nil, "\(lines[writer])")
        let information = lines[writer + 1]
        #expect(information.hasPrefix("\t ts sack cubic wscale:0,7 rto:"), "\(information)")
        for part in [" pmtu:65536 ", " cwnd:10 ", " bytes_sent:", "bps lastsnd:", "ms rwnd_limited:", " notsent:"] { #expect(information.contains(part), "\(information)") }
        let reader = try #require(lines.firstIndex { $0.contains("127.0.0.1:7001 ") && $0.hasPrefix("ESTAB") })
        #expect(!lines[reader].contains("timer:") && lines[reader + 1].contains(" bytes_received:"), "\(lines[reader + 1])")
        #expect(lines.last?.contains(/^TIME-WAIT .* timer:\(timewait,5\dsec,0\)$/) == true, "\(lines)")
    }
}
