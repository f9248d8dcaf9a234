extension EngineBenchmark {
    /// What to measure.
    public struct Configuration: Sendable, Equatable {
        /// Pending events, one figure for each.
        public var pending = [1_000, 100_000, 1_000_000]
        /// Operations of a repetition, for each figure.
        public var operations = 2_000_000
        public var seed: UInt64 = 1
        public init() {}

        static let pendingRange = 1...10_000_000
        static let operationRange = 1...1_000_000_000

        func validate() throws(BenchmarkError) {
            guard !pending.isEmpty else { throw .usage("--pending: name one number at least, from \(Configuration.pendingRange.words)") }
            for count in pending where !Configuration.pendingRange.contains(count) { throw .usage("--pending: \(count) is not from \(Configuration.pendingRange.words)") }
            guard Set(pending).count == pending.count else { throw .usage("--pending: a number is there twice") }
            guard Configuration.operationRange.contains(operations) else { throw .usage("--operations: \(operations) is not from \(Configuration.operationRange.words)") }
        }
    }
}
