extension TCPBenchmark {
    /// The way a flow's segments take between two pods of one node.
    public enum Path: String, Sendable, CaseIterable {
        /// Pod, veth, bridge, veth, pod: no rules, no connection tracking.
        case bridge
        /// To a ClusterIP: kube-proxy's iptables rules, bridge netfilter and connection tracking rewrite the destination.
        case vip
    }

    /// What to measure.
    public struct Configuration: Sendable, Equatable {
        public var flows = 1
        /// Half of them send, half of them receive; flows are dealt out to the pairs in turn.
        public var pods = 2
        public var path = Path.bridge
        /// Payload of a repetition, summed over the flows.
        public var bytes = 200_000_000
        /// Connections that carry nothing, opened beforehand to measure what one costs in memory; zero measures nothing.
        public var idle = 2000
        public init() {}

        /// A node's pod network is a /24: two addresses and the bridge's own are not for pods.
        static let podRange = 2...252
        static let flowRange = 1...10_000
        /// Ephemeral ports of a pod are 28 232.
        static let idleRange = 0...20_000
        /// At least a segment for every flow; at most what leaves counters and sequence numbers unambiguous.
        static let byteRange = 1...1_000_000_000_000

        func validate() throws(BenchmarkError) {
            guard Configuration.flowRange.contains(flows) else { throw .usage("--flows: \(flows) is not from \(Configuration.flowRange.words)") }
            guard Configuration.podRange.contains(pods), pods % 2 == 0 else {
                throw .usage("--pods: \(pods) is not an even number from \(Configuration.podRange.words)")
            }
            guard Configuration.byteRange.contains(bytes), bytes >= flows else {
                throw .usage("--bytes: \(bytes) is not from \(Configuration.byteRange.words), with a byte for each of the \(flows) flows at least")
            }
            guard Configuration.idleRange.contains(idle) else { throw .usage("--idle: \(idle) is not from \(Configuration.idleRange.words)") }
        }
    }
}

extension ClosedRange<Int> {
    /// "1 to 10000", as errors name what is allowed.
    var words: String { "\(lowerBound) to \(upperBound)" }
}
