/// Repeats a job and sums up what it measured.
public struct BenchmarkRunner {
    public var repetitions = 5
    /// Repetitions before those that count.
    public var warmUps = 1
    /// Called before each repetition with its number, counted from one, and how many there are, warm-ups included.
    public var progress: (Int, Int) -> Void = { _, _ in }
    /// Asked between repetitions.
    public var isInterrupted: () -> Bool = { false }
    public init() {}

    public static let repetitionRange = 1...1000
    public static let warmUpRange = 0...100

    /// Nil if it was interrupted before the last repetition.
    public func run(_ job: some Benchmark) throws(BenchmarkError) -> BenchmarkReport? {
        guard BenchmarkRunner.repetitionRange.contains(repetitions) else { throw .usage("--repeat: \(repetitions) is not from \(BenchmarkRunner.repetitionRange.words)") }
        guard BenchmarkRunner.warmUpRange.contains(warmUps) else { throw .usage("--warmup: \(warmUps) is not from \(BenchmarkRunner.warmUpRange.words)") }
        var job = job
        try job.prepare()
        var samples: [[Measurement]] = []
        for number in 1...(repetitions + warmUps) {
            if isInterrupted() { return nil }
            progress(number, repetitions + warmUps)
            let sample = try job.run()
            if number > warmUps { samples.append(sample) }
        }
        return BenchmarkReport(bench: type(of: job).name, configuration: job.configuration, samples: samples)
    }
}
