extension ClusterBenchmark {
    /// How large a cluster to build.
    public struct Configuration: Sendable, Equatable {
        public var nodes = 1
        /// On each node.
        public var pods = 1000
        public init() {}

        /// Nodes are addresses of one /24, of which the lowest are left to routers.
        static let nodeRange = 1...200
        static let podRange = 1...10_000
        /// What the planner takes; see `ClusterPlanner`.
        static let totalRange = 1...100_000

        public func validate() throws(BenchmarkError) {
            guard Configuration.nodeRange.contains(nodes) else { throw .usage("--nodes: \(nodes) is not from \(Configuration.nodeRange.words)") }
            guard Configuration.podRange.contains(pods) else { throw .usage("--pods: \(pods) is not from \(Configuration.podRange.words)") }
            guard Configuration.totalRange.contains(nodes * pods) else {
                throw .usage("--pods: \(pods) on each of \(nodes) nodes are \(nodes * pods), which is not from \(Configuration.totalRange.words) in all")
            }
        }
    }
}
