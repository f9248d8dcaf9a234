/// A report held against an earlier one.
///
/// The best repetition of each is compared: other work on a machine makes figures worse and never better, so the best is what varies least.
public struct BaselineComparison: Sendable, Equatable {
    public struct Row: Sendable, Equatable {
        public var metric: String
        public var before: Double
        public var after: Double
        public var unit: String
        /// Above one is better, whichever way the metric goes.
        public var ratio: Double
        public var isRegression: Bool
    }
    public var rows: [Row]
    public var hasRegressed: Bool { rows.contains(where: \.isRegression) }

    /// `tolerance` as a share, 0 to 1: a metric regresses when its best is worse by more. Throws `usage` where the two are not of one kind: another bench,
    /// another configuration, a metric that is gone.
    public init(_ report: BenchmarkReport, baseline: BenchmarkReport, tolerance: Double) throws(BenchmarkError) {
        try baseline.checkBaseline(bench: report.bench, config: report.config, build: report.machine.build)
        rows = []
        for (name, before) in baseline.metrics.sorted(by: { $0.key < $1.key }) {
            guard let direction = before.isBetterHigher else { continue }
            guard let after = report.metrics[name] else { throw .usage("its metric \(name) is not measured any more") }
            guard before.best > 0, after.best > 0 else { continue }
            let ratio = direction ? after.best / before.best : before.best / after.best
            rows.append(Row(metric: name, before: before.best, after: after.best, unit: before.unit, ratio: ratio, isRegression: ratio < 1 - tolerance))
        }
    }

    /// A row for each metric, regressions marked.
    public var table: String {
        let rows = rows.map { [$0.metric, BenchmarkReport.words($0.before), BenchmarkReport.words($0.after), BenchmarkReport.words($0.ratio), $0.isRegression ? "REGRESSION" : $0.unit] }
        return BenchmarkReport.aligned([["best of each", "baseline", "now", "ratio", ""]] + rows)
    }
}

extension BenchmarkReport {
    /// Throws `usage` where this cannot be the baseline of a job: it is of another one, of another configuration, or of another build.
    public func checkBaseline<Job: Benchmark>(of job: Job) throws(BenchmarkError) {
        let config = Dictionary(uniqueKeysWithValues: job.configuration.map { ($0.key, $0.value) })
        try checkBaseline(bench: Job.name, config: config, build: Machine.current.build)
    }

    fileprivate func checkBaseline(bench: String, config: [String: ConfigurationValue], build: String) throws(BenchmarkError) {
        guard self.bench == bench else { throw .usage("it is of bench \(self.bench), not \(bench)") }
        for key in Set(config.keys).union(self.config.keys).sorted() where config[key] != self.config[key] {
            throw .usage("its \(key) is \(self.config[key]?.words ?? "not there"), not \(config[key]?.words ?? "nothing")")
        }
        guard machine.build == build else { throw .usage("it is of a \(machine.build) build, not \(build)") }
    }
}
