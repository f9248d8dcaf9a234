import HairpinBenchmarks
import Testing

@Suite("The bridge job")
struct BridgeJobTests {
    @Test("out of range is a usage error that names the range, and never a crash", arguments: [
        { (c: inout BridgeBenchmark.Configuration) in c.hosts = 0 }, { $0.hosts = -3 }, { $0.hosts = 5000 }, { $0.frameSize = 13 }, { $0.frameSize = 65_536 },
        { $0.load = 0 }, { $0.load = 1.5 }, { $0.load = .nan }, { $0.frames = 0 }, { $0.rate = 1 }, { $0.rate = 0 }, { ($0.mode, $0.load) = (.core, 0.3) }, { ($0.mode, $0.rate) = (.core, 1_000_000) },
        { ($0.mode, $0.delay) = (.core, .zero) }, { $0.delay = .seconds(-1) }, { $0.ports = 4 }, { $0.macs = 100 },
        {
            $0.mode = .core
            $0.capture = .memory
        },
        {
            $0.mode = .core
            $0.macs = 3
        },
        {
            $0.mode = .core
            $0.pattern = .broadcast
        },
    ] as [@Sendable (inout BridgeBenchmark.Configuration) -> Void])
    func usage(_ change: @Sendable (inout BridgeBenchmark.Configuration) -> Void) {
        var configuration = BridgeBenchmark.Configuration()
        change(&configuration)
        do {
            _ = try BridgeBenchmark(configuration)
            Issue.record("accepted: \(configuration)")
        } catch {
            guard case .usage = error else {
                Issue.record("no usage error: \(error)")
                return
            }
        }
    }

    @Test("every pattern moves frames, in three events each where nothing is flooded or lost", arguments: BridgeBenchmark.Pattern.allCases)
    func patterns(_ pattern: BridgeBenchmark.Pattern) throws {
        var configuration = BridgeBenchmark.Configuration()
        configuration.hosts = 4
        configuration.pattern = pattern
        configuration.load = 0.1
        configuration.frames = 2_000
        var runner = BenchmarkRunner()
        runner.repetitions = 2
        let report = try #require(try runner.run(try BridgeBenchmark(configuration)))
        #expect(report.metrics["frames"]?.min ?? 0 > 1_000)
        if pattern == .uniform || pattern == .permutation {
            #expect(report.metrics["drops"]?.max == 0)
            #expect(abs((report.metrics["eventsPerFrame"]?.median ?? 0) - 3) < 0.05)
        }
        let again = try BenchmarkReport.parse(Array(try report.json().utf8).withUnsafeBytes { .init($0) })
        #expect(again.metrics == report.metrics)
        let comparison = try BaselineComparison(report, baseline: again, tolerance: 0)
        #expect(!comparison.hasRegressed)
    }

    @Test("the bare core forwards every frame of its pool")
    func core() throws {
        var configuration = BridgeBenchmark.Configuration()
        configuration.mode = .core
        configuration.macs = 300
        configuration.frames = 10_000
        let report = try #require(try BenchmarkRunner().run(try BridgeBenchmark(configuration)))
        #expect(report.metrics["framesPerSecond"] != nil)
    }
}
