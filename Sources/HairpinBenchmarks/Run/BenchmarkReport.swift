import Foundation

/// What `hairpin bench` prints, as text or (`--output json`) in this form: `apiVersion: hairpin.sim/v1`, `kind: Benchmark`. Metric names are kept stable.
public struct BenchmarkReport: Codable, Sendable, Equatable {
    /// A metric over all repetitions.
    public struct Summary: Codable, Sendable, Equatable {
        public var min: Double
        public var median: Double
        public var max: Double
        public var unit: String
        /// True where more is better, false where less is; absent for counts that are neither.
        public var isBetterHigher: Bool?
        /// The best repetition: other work on the machine only ever makes figures worse.
        public var best: Double { isBetterHigher == true ? max : min }
    }
    public var apiVersion = "hairpin.sim/v1"
    public var kind = "Benchmark"
    public var bench: String
    public var config: [String: ConfigurationValue]
    public var machine = Machine.current
    public var repetitions: Int
    public var metrics: [String: Summary]
    /// The metrics' names in the job's own order, for the table.
    private var order: [String] = []

    private enum CodingKeys: String, CodingKey { case apiVersion, kind, bench, config, machine, repetitions, metrics }

    /// Each sample holds the same metrics in the same order; there is one at least.
    init(bench: String, configuration: [(key: String, value: ConfigurationValue)], samples: [[Measurement]]) {
        precondition(!samples.isEmpty, "a report of nothing")
        self.bench = bench
        config = Dictionary(uniqueKeysWithValues: configuration.map { ($0.key, $0.value) })
        repetitions = samples.count
        metrics = [:]
        for (place, first) in samples[0].enumerated() {
            let values = samples.map { $0[place].value }.sorted()
            metrics[first.metric] = Summary(
                min: values[0], median: BenchmarkReport.median(values), max: values[values.count - 1], unit: first.unit, isBetterHigher: first.isBetterHigher)
            order.append(first.metric)
        }
    }

    static func median(_ sorted: [Double]) -> Double {
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }

    public func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
    }

    /// Throws what `JSONDecoder` throws, or `usage` for JSON that is something else.
    public static func parse(_ data: Data) throws -> BenchmarkReport {
        let report = try JSONDecoder().decode(BenchmarkReport.self, from: data)
        guard report.kind == "Benchmark", report.apiVersion == "hairpin.sim/v1" else {
            throw BenchmarkError.usage("it is a \(report.apiVersion) \(report.kind), not a hairpin.sim/v1 Benchmark")
        }
        return report
    }

    // MARK: Text

    /// A table: minimum, median and maximum of each metric.
    public var table: String {
        let rows = order.compactMap { name in metrics[name].map { [name, BenchmarkReport.words($0.min), BenchmarkReport.words($0.median), BenchmarkReport.words($0.max), $0.unit] } }
        let settings = config.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value.words)" }.joined(separator: ", ")
        return "\(bench): \(settings)\n" + BenchmarkReport.aligned([["", "minimum", "median", "maximum", "(\(repetitions) repetitions)"]] + rows)
    }

    static func aligned(_ rows: [[String]]) -> String {
        let widths = rows.reduce(into: [Int](repeating: 0, count: rows[0].count)) { widths, row in
            for (n, cell) in row.enumerated() { widths[n] = Swift.max(widths[n], cell.count) }
        }
        return rows.map { row in
            let cells = row.enumerated().map { n, cell in
                let space = String(repeating: " ", count: widths[n] - cell.count)
                return n == 0 || n == row.count - 1 ? cell + space : space + cell
            }
            let line = cells.joined(separator: "  ")
            return String(line.reversed().drop { $0 == " " }.reversed()) + "\n"
        }.joined()
    }

    /// Four significant digits: "9.813 M", "125.3 k", "81.42", "0.0310".
    static func words(_ value: Double) -> String {
        let size = value.magnitude
        for (scale, letter) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")] where size >= scale {
            return String(format: "%.4g %@", value / (letter == "k" ? 1e3 : scale), letter)
        }
        if size == 0 || size == size.rounded() { return String(format: "%.0f", value) }
        return String(format: size >= 1e-4 ? "%.4g" : "%.3e", value)
    }
}

extension ConfigurationValue: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let flag = try? container.decode(Bool.self) {
            self = .flag(flag)
        } else if let number = try? container.decode(Int.self) {
            self = .number(number)
        } else if let fraction = try? container.decode(Double.self) {
            self = .fraction(fraction)
        } else {
            self = .text(try container.decode(String.self))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .number(let number): try container.encode(number)
        case .fraction(let fraction): try container.encode(fraction)
        case .text(let text): try container.encode(text)
        case .flag(let flag): try container.encode(flag)
        }
    }

    var words: String {
        switch self {
        case .number(let number): "\(number)"
        case .fraction(let fraction): "\(fraction)"
        case .text(let text): text
        case .flag(let flag): "\(flag)"
        }
    }
}
