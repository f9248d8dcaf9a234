import Foundation
import HairpinBenchmarks
import struct HairpinBenchmarks.Measurement
import Testing

/// A job whose figures are given: each repetition takes the next of them.
private struct Scripted: Benchmark {
    static let name = "scripted"
    var size = 1
    var rates: [Double]
    var times: [Double] = []

    var configuration: [(key: String, value: ConfigurationValue)] { [("size", .number(size)), ("load", .fraction(0.5)), ("pattern", .text("uniform"))] }
    func prepare() {}
    mutating func run() -> [Measurement] {
        var result = [Measurement("framesPerSecond", rates.removeFirst(), unit: "frames/s", isBetterHigher: true)]
        if !times.isEmpty { result.append(Measurement("nanosecondsPerFrame", times.removeFirst(), unit: "ns", isBetterHigher: false)) }
        return result + [Measurement("drops", 7, unit: "frames")]
    }
}

@Suite("Measurements")
struct MeasurementTests {
    private func report(_ rates: [Double], times: [Double] = [], size: Int = 1, warmUps: Int = 0) throws -> BenchmarkReport {
        var runner = BenchmarkRunner()
        (runner.warmUps, runner.repetitions) = (warmUps, rates.count - warmUps)
        return try #require(try runner.run(Scripted(size: size, rates: rates, times: times)))
    }

    @Test("An error says what is allowed and nothing else")
    func errors() {
        #expect(BenchmarkError.usage("--hosts must be from 2 to 4096").description == "--hosts must be from 2 to 4096")
    }

    @Test("minimum, median and maximum, of odd and even numbers of repetitions; warm-ups do not count")
    func statistics() throws {
        let odd = try #require(try report([1000, 5, 1, 9], warmUps: 1).metrics["framesPerSecond"])
        #expect((odd.min, odd.median, odd.max) == (1, 5, 9))
        let even = try #require(try report([4, 1, 9, 2]).metrics["framesPerSecond"])
        #expect((even.min, even.median, even.max) == (1, 3, 9))
        let one = try #require(try report([3]).metrics["framesPerSecond"])
        #expect((one.min, one.median, one.max) == (3, 3, 3))
    }

    @Test("an interrupted job has no report, and repetitions out of range are refused")
    func runner() throws {
        var runner = BenchmarkRunner()
        var asked = 0
        runner.isInterrupted = {
            asked += 1
            return asked > 2
        }
        #expect(try runner.run(Scripted(rates: [1, 2, 3, 4, 5, 6])) == nil)
        runner.repetitions = 0
        #expect(throws: BenchmarkError.self) { try runner.run(Scripted(rates: [1])) }
    }

    @Test("the JSON has the documented form, and comes back as it was")
    func json() throws {
        let report = try report([2, 3], times: [5, 4])
        let data = Data(try report.json().utf8)
        let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        #expect(object["apiVersion"] as? String == "hairpin.sim/v1")
        #expect(object["kind"] as? String == "Benchmark")
        #expect(object["bench"] as? String == "scripted")
        let config = try #require(object["config"] as? [String: Any])
        #expect(config["size"] as? Int == 1 && config["load"] as? Double == 0.5 && config["pattern"] as? String == "uniform")
        #expect((object["machine"] as? [String: Any])?["build"] is String)
        let rate = try #require((object["metrics"] as? [String: Any])?["framesPerSecond"] as? [String: Any])
        #expect(rate["min"] as? Double == 2 && rate["median"] as? Double == 2.5 && rate["max"] as? Double == 3)
        #expect(try BenchmarkReport.parse(data).metrics == report.metrics)
        let other = try report.json().replacingOccurrences(of: "\"Benchmark\"", with: "\"Scenario\"")
        #expect(throws: BenchmarkError.self) { try BenchmarkReport.parse(Data(other.utf8)) }
    }

    @Test("a baseline is compared by the best of each, in the metric's own direction, and what is neither better nor worse is left out")
    func verdicts() throws {
        let before = try report([80, 100], times: [10, 12])
        let slower = try BaselineComparison(try report([89, 60], times: [10, 30]), baseline: before, tolerance: 0.1)
        #expect(slower.hasRegressed)
        #expect(slower.rows.filter(\.isRegression).map(\.metric) == ["framesPerSecond"])
        #expect(slower.rows.map(\.metric) == ["framesPerSecond", "nanosecondsPerFrame"])
        #expect(slower.table.contains("REGRESSION"))
        #expect(try !BaselineComparison(try report([91, 60], times: [11, 30]), baseline: before, tolerance: 0.1).hasRegressed)
        let late = try BaselineComparison(try report([100, 100], times: [11.2, 30]), baseline: before, tolerance: 0.1)
        #expect(late.rows.filter(\.isRegression).map(\.metric) == ["nanosecondsPerFrame"])
        #expect(try !BaselineComparison(try report([500, 1], times: [1, 1]), baseline: before, tolerance: 0).hasRegressed)
    }

    @Test("what is not of the same kind cannot be a baseline, which is said before anything is measured")
    func refusals() throws {
        let before = try report([1])
        #expect(throws: BenchmarkError.self) { try before.checkBaseline(of: Scripted(size: 2, rates: [])) }
        #expect(throws: BenchmarkError.self) { try before.checkBaseline(of: try BridgeBenchmark(BridgeBenchmark.Configuration())) }
        #expect(throws: BenchmarkError.self) { try BaselineComparison(try report([1], size: 3), baseline: before, tolerance: 0.1) }
        try before.checkBaseline(of: Scripted(rates: []))
        // A metric that is not measured any more.
        #expect(throws: BenchmarkError.self) { try BaselineComparison(before, baseline: try report([1], times: [1]), tolerance: 0.1) }
    }
}
