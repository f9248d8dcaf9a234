extension CaptureBenchmark {
    public enum Format: String, Sendable, CaseIterable { case pcap, pcapng }
    public enum Destination: Sendable, Hashable {
        /// The null device: the writer alone.
        case null
        case memory
        case file(String)
    }

    /// What to measure.
    public struct Configuration: Sendable, Equatable {
        public var format = Format.pcap
        public var frameSize = 64
        public var destination = Destination.null
        /// Frames of a repetition; nil is what makes about 2 GB, or a quarter of one in memory.
        public var frames: Int?
        public init() {}

        static let frameSizeRange = 14...65_535
        static let frameRange = 1...10_000_000_000
        /// A capture in memory has to fit there.
        static let memoryLimit = 1 << 32

        var frameCount: Int { frames ?? max((destination == .null ? 2_000_000_000 : 256_000_000) / (frameSize + 16), 1000) }

        func validate() throws(BenchmarkError) {
            guard Configuration.frameSizeRange.contains(frameSize) else { throw .usage("--frame-size: \(frameSize) is not from \(Configuration.frameSizeRange.words)") }
            guard Configuration.frameRange.contains(frameCount) else { throw .usage("--frames: \(frameCount) is not from \(Configuration.frameRange.words)") }
            guard destination != .memory || frameCount <= Configuration.memoryLimit / (frameSize + 48) else {
                throw .usage("--frames: \(frameCount) of \(frameSize) bytes do not fit 4 GiB of memory; at most \(Configuration.memoryLimit / (frameSize + 48))")
            }
        }
    }
}
