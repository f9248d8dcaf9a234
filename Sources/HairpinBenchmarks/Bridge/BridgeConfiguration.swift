import HairpinEngine

extension BridgeBenchmark {
    /// Who sends to whom.
    public enum Pattern: String, Sendable, CaseIterable {
        /// Each frame to another host, any with the same probability.
        case uniform
        /// Each host always to the next one.
        case permutation
        /// Every host to the first, which sends to the second.
        case hotspot
        case broadcast
    }
    public enum Mode: String, Sendable, CaseIterable {
        /// The bridge's decision alone: parse, learn, look up, forward.
        case core
        /// Hosts, cables with rate and delay, and the bridge, through the event engine.
        case events
    }
    /// What looks at the bridge's ports.
    public enum Capture: Sendable, Hashable {
        case none, memory
        case file(String)
    }

    /// What to measure. The defaults are the job that other simulators are compared by.
    public struct Configuration: Sendable, Equatable {
        public var hosts = 16
        /// Ports of the bridge; nil is one for each host. In mode `events` those without a host are down.
        public var ports: Int?
        /// Addresses in the forwarding table, mode `core`; nil is one for each host.
        public var macs: Int?
        /// Frames in turn, mode `core`; nil is 2048, which stay in the cache, or four for each address beyond 4096, which do not.
        public var pool: Int?
        /// Bytes of a frame, Ethernet header included, without the frame check sequence.
        public var frameSize = 64
        public var pattern = Pattern.uniform
        /// Share of its link's rate that a host sends, 0 < load ≤ 1; nil is 0.3.
        public var load: Double?
        /// Bits per second; nil is 1 Gbit/s.
        public var rate: UInt64?
        /// Nil is 1 µs.
        public var delay: Duration?
        public var mode = Mode.events
        public var capture = Capture.none
        /// Frames of a repetition, about; nil is 2 million in mode `events` (half a million with a capture), 20 million in mode `core`.
        public var frames: Int?
        public var seed: UInt64 = 1
        public init() {}

        static let hostRange = 2...4096
        static let portRange = 2...65_536
        /// As many as a /16 of locally administered addresses for every port has room for, and memory.
        static let macRange = 2...4_194_304
        static let poolRange = 16...4_194_304
        static let frameSizeRange = 14...65_535
        static let frameRange = 1...1_000_000_000
        /// A frame takes at least a nanosecond, and at most about a virtual day.
        static let rateRange: ClosedRange<UInt64> = 1_000...400_000_000_000
        static let delayRange = Duration.zero...Duration.seconds(10)

        var hostLoad: Double { load ?? 0.3 }
        var linkRate: UInt64 { rate ?? 1_000_000_000 }
        var linkDelay: Duration { delay ?? .microseconds(1) }
        var portCount: Int { ports ?? hosts }
        var macCount: Int { macs ?? hosts }
        var poolCount: Int { pool ?? (macCount <= 4096 ? 2048 : macCount * 4) }
        var frameCount: Int { frames ?? (mode == .core ? 20_000_000 : capture == .none ? 2_000_000 : 500_000) }

        func validate() throws(BenchmarkError) {
            func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws(BenchmarkError) {
                guard range.contains(value) else { throw .usage("\(name): \(value) is not from \(range.words)") }
            }
            try check("--hosts", hosts, Configuration.hostRange)
            try check("--frame-size", frameSize, Configuration.frameSizeRange)
            if let ports { try check("--ports", ports, Configuration.portRange) }
            if let macs { try check("--macs", macs, Configuration.macRange) }
            if let pool { try check("--pool", pool, Configuration.poolRange) }
            if let frames { try check("--frames", frames, Configuration.frameRange) }
            guard hostLoad > 0, hostLoad <= 1 else { throw .usage("--load: \(hostLoad) is not above 0 and at most 1") }
            guard Configuration.rateRange.contains(linkRate) else { throw .usage("--rate: \(linkRate)bit is not from 1kbit to 400Gbit") }
            guard Configuration.delayRange.contains(linkDelay) else { throw .usage("--delay: \(linkDelay.nanoseconds)ns is not from 0s to 10s") }
            switch mode {
            case .events:
                if macs != nil { throw .usage("--macs goes with --mode core; in mode events every host has one address") }
                if pool != nil { throw .usage("--pool goes with --mode core") }
                guard portCount >= hosts else { throw .usage("--ports: \(portCount) are fewer than the \(hosts) hosts; from \(hosts) to \(Configuration.portRange.upperBound)") }
            case .core:
                if capture != .none { throw .usage("--capture goes with --mode events; the bare core has no taps") }
                for (name, isGiven) in [("--load", load != nil), ("--rate", rate != nil), ("--delay", delay != nil)] where isGiven {
                    throw .usage("\(name) goes with --mode events; the bare core has no links")
                }
                guard macCount >= portCount else { throw .usage("--macs: \(macCount) are fewer than the \(portCount) ports; from \(portCount) to \(Configuration.macRange.upperBound)") }
                guard pattern == .uniform || pattern == .permutation else { throw .usage("--pattern: \(pattern.rawValue) goes with --mode events; in mode core uniform or permutation") }
                guard poolCount * frameSize <= 1 << 33 else { throw .usage("--frame-size: \(poolCount) frames of \(frameSize) bytes are more than 8 GiB") }
            }
        }
    }
}
