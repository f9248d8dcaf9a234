import HairpinBenchmarks
import Testing

@Suite("The threads job")
struct ThreadsJobTests {
    private func problem(_ change: (inout ThreadsBenchmark.Configuration) -> Void) -> String? {
        var configuration = ThreadsBenchmark.Configuration()
        change(&configuration)
        do {
            _ = try ThreadsBenchmark(configuration)
            return nil
        } catch {
            if case .usage(let text) = error { return text }
            return "no usage error: \(error)"
        }
    }

    @Test("out of range is a usage error that names the range")
    func usage() {
        #expect(problem { _ in } == nil)
        #expect(problem { $0.nodes = 1 } == "--nodes: 1 is not from 2 to 64")
        #expect(problem { $0.nodes = 65 } == "--nodes: 65 is not from 2 to 64")
        #expect(problem { $0.threads = 1 } == "--threads: 1 is not from 2 to 256")
        #expect(problem { $0.threads = 3 } == "--threads: 3 are more than the 2 nodes; from 2 to 2")
        #expect(problem { $0.pods = 1 } == "--pods: 1 is not from 2 to 1024")
        #expect(problem { $0.remote = -1 } == "--remote: -1 is not from 0 to 14, or 16, of the 16 pods")
        #expect(problem { $0.remote = 15 } == "--remote: 15 is not from 0 to 14, or 16, of the 16 pods")
        #expect(problem { $0.latency = .zero } == "--latency: 0ns is not from 1ns to 1s")
        #expect(problem { $0.latency = .seconds(2) } == "--latency: 2000000000ns is not from 1ns to 1s")
        #expect(problem { $0.load = .nan }?.hasPrefix("--load") == true)
        #expect(problem { $0.load = 1.1 } == "--load: 1.1 is not above 0 and at most 1")
        #expect(problem { $0.frameSize = 13 } == "--frame-size: 13 is not from 14 to 65535")
        #expect(problem { $0.frames = 0 } == "--frames: 0 is not from 1 to 1000000000")
    }

    @Test(
        "one thread and several do the same, with traffic between nodes and without, in windows of any length",
        arguments: [(2, 2, 2, 50_000), (3, 3, 4, 2_000), (4, 2, 0, 10_000), (2, 2, 4, 1)])
    func same(nodes: Int, threads: Int, remote: Int, latency: Int64) throws {
        var configuration = ThreadsBenchmark.Configuration()
        (configuration.nodes, configuration.threads, configuration.pods, configuration.remote) = (nodes, threads, 4, remote)
        configuration.latency = .nanoseconds(latency)
        configuration.frames = 5_000
        configuration.sharesEveryWindow = remote == 4
        var runner = BenchmarkRunner()
        (runner.repetitions, runner.warmUps) = (2, 0)
        let report = try #require(try runner.run(try ThreadsBenchmark(configuration)))
        for metric in ["framesPerSecond", "framesPerSecondOneThread", "speedup", "eventsPerWindow", "frames"] {
            #expect(report.metrics[metric]?.min ?? 0 > 0, "\(metric)")
        }
        #expect((report.metrics["handedOver"]?.min ?? 0 > 0) == (remote > 0))
        // Windows of a nanosecond hold nothing to share; whether longer ones are shared is the machine's business, too.
        if latency == 1 { #expect(report.metrics["runsByOthers"]?.max ?? 0 < 0.1) }
        let again = try BenchmarkReport.parse(Array(try report.json().utf8).withUnsafeBytes { .init($0) })
        #expect(again.metrics == report.metrics)
    }
}
