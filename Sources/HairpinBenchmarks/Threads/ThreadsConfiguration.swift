import HairpinEngine

extension ThreadsBenchmark {
    /// What to measure.
    public struct Configuration: Sendable, Equatable {
        /// In a row, each joined to the next by one link.
        public var nodes = 2
        /// Of the run that is compared with one thread.
        public var threads = 2
        /// Pods of each node, each with a packet generator.
        public var pods = 16
        /// Those among them that send to such pods of any node; the others send to pods of their own node.
        public var remote = 4
        /// One-way delay of the links between nodes, which is the length of a window. The default is what one hop between racks of a data centre
        /// takes with its host stacks; a cable and a switch alone take about a microsecond.
        public var latency = Duration.microseconds(50)
        /// Share of its link's 1 Gbit/s that a pod sends, 0 < load ≤ 1.
        public var load = 0.3
        /// Bytes of a frame, Ethernet header included, without the frame check sequence.
        public var frameSize = 64
        /// Frames that are generated in a repetition, about, on each number of threads.
        public var frames = 1_000_000
        /// Whether each thread runs its share of every window, also where it does not pay: for tests of the threads, not for figures.
        public var sharesEveryWindow = false
        public var seed: UInt64 = 1
        public init() {}

        static let nodeRange = 2...64
        static let threadRange = 2...256
        static let podRange = 2...1024
        static let frameSizeRange = 14...65_535
        static let frameRange = 1...1_000_000_000
        static let latencyRange = Duration.nanoseconds(1)...Duration.seconds(1)
        /// Bits per second of a pod's link.
        static let rate: UInt64 = 1_000_000_000

        /// Mean time between two frames of a pod.
        var gap: Duration { .nanoseconds(max(Int64(Double(frameSize) * 8e9 / Double(Configuration.rate) / load), 1)) }

        func validate() throws(BenchmarkError) {
            func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws(BenchmarkError) {
                guard range.contains(value) else { throw .usage("\(name): \(value) is not from \(range.words)") }
            }
            try check("--nodes", nodes, Configuration.nodeRange)
            try check("--threads", threads, Configuration.threadRange)
            guard threads <= nodes else { throw .usage("--threads: \(threads) are more than the \(nodes) nodes; from 2 to \(nodes)") }
            try check("--pods", pods, Configuration.podRange)
            // A list of one has nobody to send to; two others are left to talk to each other, or none.
            guard remote >= 0, remote <= pods, remote != pods - 1 else {
                throw .usage("--remote: \(remote) is not from 0 to \(pods - 2), or \(pods), of the \(pods) pods")
            }
            guard load > 0, load <= 1 else { throw .usage("--load: \(load) is not above 0 and at most 1") }
            try check("--frame-size", frameSize, Configuration.frameSizeRange)
            try check("--frames", frames, Configuration.frameRange)
            guard Configuration.latencyRange.contains(latency) else { throw .usage("--latency: \(latency.nanoseconds)ns is not from 1ns to 1s") }
        }
    }
}
