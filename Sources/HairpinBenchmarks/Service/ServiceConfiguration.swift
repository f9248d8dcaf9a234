extension ServiceBenchmark {
    /// How kube-proxy programs the node.
    public enum Mode: String, Sendable, CaseIterable { case iptables, nftables, ipvs }

    /// What to measure.
    public struct Configuration: Sendable, Equatable {
        public var services = 1000
        /// Pods behind each Service; the same ones behind all of them.
        public var endpoints = 3
        public var mode = Mode.iptables
        /// Packets of a repetition: so many first ones, then so many of established connections.
        public var frames = 100_000
        public init() {}

        static let serviceRange = 1...10_000
        /// What a node's bridge has room for beside the clients.
        static let endpointRange = 1...250
        /// Each first packet is a connection of its own: at most as many as the connection table holds at once (`nf_conntrack_max`), less some.
        static let frameRange = 1...200_000

        func validate() throws(BenchmarkError) {
            guard Configuration.serviceRange.contains(services) else { throw .usage("--services: \(services) is not from \(Configuration.serviceRange.words)") }
            guard Configuration.endpointRange.contains(endpoints) else { throw .usage("--endpoints: \(endpoints) is not from \(Configuration.endpointRange.words)") }
            guard Configuration.frameRange.contains(frames) else { throw .usage("--frames: \(frames) is not from \(Configuration.frameRange.words)") }
        }
    }
}
