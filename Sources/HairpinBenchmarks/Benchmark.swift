/// A job of `hairpin bench`. The runner calls `prepare` once, then `run` for each repetition.
public protocol Benchmark {
    /// The verb after `hairpin bench`, stable: "bridge".
    static var name: String { get }
    /// What was asked for, as the JSON result's `config` holds it; keys are stable.
    var configuration: [(key: String, value: ConfigurationValue)] { get }
    /// Builds what is measured and runs it until caches, pools and queues have their working size. Nothing of it is timed.
    mutating func prepare() throws(BenchmarkError)
    /// One repetition: every metric in the same order each time. The job takes the times itself, so that only its work is in them.
    mutating func run() throws(BenchmarkError) -> [Measurement]
}

/// A value of a benchmark's configuration.
public enum ConfigurationValue: Sendable, Equatable {
    case number(Int)
    case fraction(Double)
    case text(String)
    case flag(Bool)
}

/// A figure of one repetition.
public struct Measurement: Sendable, Equatable {
    /// Stable, as in the JSON result: "framesPerSecond".
    public var metric: String
    public var value: Double
    public var unit: String
    /// Whether a larger value is a better one; nil for counts that are neither.
    public var isBetterHigher: Bool?
    public init(_ metric: String, _ value: Double, unit: String, isBetterHigher: Bool? = nil) {
        self.metric = metric
        self.value = value
        self.unit = unit
        self.isBetterHigher = isBetterHigher
    }
}

/// Why a job cannot be done.
public enum BenchmarkError: Error, Sendable, CustomStringConvertible {
    /// The parameters contradict each other or are out of range: a usage error. The text says which range is allowed.
    case usage(String)
    /// The job found its own result to be wrong: frames lost that should not be, books that do not balance.
    case fault(String)
    /// A file that the job writes cannot be written.
    case output(String)
    public var description: String {
        switch self {
        case .usage(let text), .fault(let text), .output(let text): text
        }
    }
}

/// Wall time of one stretch of work.
public struct Stopwatch {
    private let clock = ContinuousClock()
    private let begin: ContinuousClock.Instant
    public init() { begin = clock.now }
    /// Seconds since it was made.
    public var seconds: Double {
        let elapsed = (clock.now - begin).components
        return Double(elapsed.seconds) + Double(elapsed.attoseconds) / 1e18
    }
}
