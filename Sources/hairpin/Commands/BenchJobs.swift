import ArgumentParser
import HairpinBenchmarks
import HairpinEngine
import HairpinScenario

struct BridgeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bridge", abstract: "Frames per second over a learning bridge.",
        discussion: "In mode events every frame is made at a host, crosses two cables and the bridge, and is received. In mode core the bridge's decision is taken alone.")

    @Option(parsing: .unconditional, help: "Hosts on the bridge, 2 to 4096.") var hosts = 16
    @Option(parsing: .unconditional, help: "Ports of the bridge; one for each host by default.") var ports: Int?
    @Option(parsing: .unconditional, help: "Addresses in the table, 2 to 4194304 (mode core).") var macs: Int?
    @Option(parsing: .unconditional, help: "Frames that take turns, 16 to 4194304; 2048 by default, four an address beyond 4096 addresses (mode core).") var pool: Int?
    @Option(parsing: .unconditional, help: "Bytes of a frame with its Ethernet header, 14 to 65535.") var frameSize = 64
    @Option(help: "uniform, permutation, hotspot or broadcast.") var pattern = BridgeBenchmark.Pattern.uniform
    @Option(parsing: .unconditional, help: "Share of its link that a host sends, above 0 and at most 1; 0.3 by default.") var load: Double?
    @Option(parsing: .unconditional, help: "Rate of a link, 1kbit to 400Gbit.", transform: BenchQuantity.rate) var rate: UInt64?
    @Option(parsing: .unconditional, help: "Delay of a link, 0s to 10s.", transform: BenchQuantity.duration) var delay: Duration?
    @Option(help: "events or core.") var mode = BridgeBenchmark.Mode.events
    @Option(help: "none, memory, or a file: a capture of every port.") var capture = "none"
    @Option(parsing: .unconditional, help: "Frames of a repetition.") var frames: Int?
    @Option(parsing: .unconditional, help: "The seed of all random choices.") var seed: UInt64 = 1
    @OptionGroup var options: BenchOptions

    func run() throws {
        var settings = BridgeBenchmark.Configuration()
        settings.hosts = hosts
        settings.ports = ports
        settings.macs = macs
        settings.pool = pool
        settings.frameSize = frameSize
        settings.pattern = pattern
        settings.load = load
        settings.rate = rate
        settings.delay = delay
        settings.mode = mode
        settings.capture = capture == "none" ? .none : capture == "memory" ? .memory : .file(capture)
        settings.frames = frames
        settings.seed = seed
        try options.run { () throws(BenchmarkError) in try BridgeBenchmark(settings) }
    }
}

struct EngineCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "engine", abstract: "The event queue with many pending events, timers, and events through a node.")

    @Option(parsing: .unconditionalSingleValue, help: "Pending events, 1 to 10000000; may be repeated. 1000, 100000 and 1000000 by default.") var pending: [Int] = []
    @Option(parsing: .unconditional, help: "Operations of a repetition, for each figure.") var operations = 2_000_000
    @Option(parsing: .unconditional, help: "The seed of all random choices.") var seed: UInt64 = 1
    @OptionGroup var options: BenchOptions

    func run() throws {
        var settings = EngineBenchmark.Configuration()
        if !pending.isEmpty { settings.pending = pending }
        settings.operations = operations
        settings.seed = seed
        try options.run { () throws(BenchmarkError) in try EngineBenchmark(settings) }
    }
}

struct TCPCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "tcp", abstract: "Bulk TCP between pods of a node, both stacks emulated.")

    @Option(parsing: .unconditional, help: "Flows, 1 to 10000.") var flows = 1
    @Option(parsing: .unconditional, help: "Pods, an even number from 2 to 252; half of them send.") var pods = 2
    @Option(help: "bridge or vip.") var path = TCPBenchmark.Path.bridge
    @Option(parsing: .unconditional, help: "Payload of a repetition, summed over the flows.") var bytes = 200_000_000
    @Option(parsing: .unconditional, help: "Idle connections whose memory is measured first, 0 to 20000.") var idle = 2000
    @OptionGroup var options: BenchOptions

    func run() throws {
        var settings = TCPBenchmark.Configuration()
        settings.flows = flows
        settings.pods = pods
        settings.path = path
        settings.bytes = bytes
        settings.idle = idle
        try options.run { () throws(BenchmarkError) in try TCPBenchmark(settings) }
    }
}

struct ServiceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "service", abstract: "First and established packets through the rules of many Services.")

    @Option(parsing: .unconditional, help: "Services, 1 to 10000.") var services = 1000
    @Option(parsing: .unconditional, help: "Endpoints of each Service, 1 to 250.") var endpoints = 3
    @Option(help: "iptables, nftables or ipvs.") var mode = ServiceBenchmark.Mode.iptables
    @Option(parsing: .unconditional, help: "Packets of a repetition, 1 to 200000.") var frames = 100_000
    @OptionGroup var options: BenchOptions

    func run() throws {
        var settings = ServiceBenchmark.Configuration()
        settings.services = services
        settings.endpoints = endpoints
        settings.mode = mode
        settings.frames = frames
        try options.run { () throws(BenchmarkError) in try ServiceBenchmark(settings) }
    }
}

struct ClusterCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "cluster", abstract: "What an idle pod costs: time to set it up, and memory.")

    @Option(parsing: .unconditional, help: "Nodes.") var nodes = 1
    @Option(parsing: .unconditional, help: "Pods of each node.") var pods = 1000
    @OptionGroup var options: BenchOptions

    func run() throws {
        var settings = ClusterBenchmark.Configuration()
        settings.nodes = nodes
        settings.pods = pods
        try options.run { () throws(BenchmarkError) in try ClusterBenchmark(settings) }
    }
}

struct CaptureCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "capture", abstract: "The capture writers alone.")

    @Option(help: "pcap or pcapng.") var format = CaptureBenchmark.Format.pcap
    @Option(parsing: .unconditional, help: "Bytes of a frame, 14 to 65535.") var frameSize = 64
    @Option(help: "null (the null device), memory, or a file.") var to = "null"
    @Option(parsing: .unconditional, help: "Frames of a repetition; about 2 GB of them by default.") var frames: Int?
    @OptionGroup var options: BenchOptions

    func run() throws {
        var settings = CaptureBenchmark.Configuration()
        settings.format = format
        settings.frameSize = frameSize
        settings.destination = to == "null" ? .null : to == "memory" ? .memory : .file(to)
        settings.frames = frames
        try options.run { () throws(BenchmarkError) in try CaptureBenchmark(settings) }
    }
}

struct ThreadsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "threads", abstract: "Busy nodes on one thread and on several.",
        discussion: """
            Nodes in a row, each with a bridge and pods that send as fast as they are told. The same network runs on one thread and on several in turn, over the \
            same virtual time, and both must have done the same to the last event. The speed-up is the ratio of the two times.
            """)

    @Option(parsing: .unconditional, help: "Nodes, 2 to 64.") var nodes = 2
    @Option(parsing: .unconditional, help: "Threads to compare with one, from 2 to the number of nodes.") var threads = 2
    @Option(parsing: .unconditional, help: "Pods of each node, 2 to 1024.") var pods = 16
    @Option(parsing: .unconditional, help: "Pods of each node that send to such pods of all nodes; the others send to pods of their own.") var remote = 4
    @Option(
        parsing: .unconditional, help: "One-way delay of the links between nodes, the length of a window: from 1ns to 1s.", transform: BenchQuantity.duration)
    var latency: Duration?
    @Option(parsing: .unconditional, help: "Share of its link's 1 Gbit/s that a pod sends, above 0 and at most 1.") var load = 0.3
    @Option(parsing: .unconditional, help: "Bytes of a frame, 14 to 65535.") var frameSize = 64
    @Option(parsing: .unconditional, help: "Frames of a repetition, on one thread and again on several.") var frames = 1_000_000
    @Flag(help: .hidden) var shareEveryWindow = false
    @Option(parsing: .unconditional, help: "The seed of all random choices.") var seed: UInt64 = 1
    @OptionGroup var options: BenchOptions

    func run() throws {
        var settings = ThreadsBenchmark.Configuration()
        settings.nodes = nodes
        settings.threads = threads
        settings.pods = pods
        settings.remote = remote
        if let latency { settings.latency = latency }
        settings.sharesEveryWindow = shareEveryWindow
        settings.load = load
        settings.frameSize = frameSize
        settings.frames = frames
        settings.seed = seed
        try options.run { () throws(BenchmarkError) in try ThreadsBenchmark(settings) }
    }
}
