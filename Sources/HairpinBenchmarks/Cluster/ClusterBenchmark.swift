import HairpinCluster
import HairpinHost
import HairpinTopology
import HairpinWire

/// Building a cluster whose pods do nothing: what an idle pod costs in memory and in time to set up.
///
/// Nodes and pods come from the manifest of a Deployment, as a scenario's do: the planner schedules it, `ClusterPlan.topology` describes the network,
/// and `Simulation(topology)` builds it. A pod is a network namespace with lo, eth0, its addresses, routes and transport stack, and the other end
/// of its veth pair as a port of the node's bridge.
///
/// Metrics, of each repetition:
/// - `podSetUpSeconds`: the time `Simulation(topology)` takes, divided by the number of pods.
/// - `podMemoryBytes`: growth of allocated bytes (`AllocatedMemory`: mallinfo2 on Glibc) from before the manifest is read to when the simulation is all
///   that is left, divided by the number of pods. What the simulation shares with the description of the network, such as names, counts;
///   so do the nodes' own namespaces and fixed tables, which is why few pods look dearer than many.
/// - `buildSeconds`: the whole of `Simulation(topology)`.
/// - `planSeconds`: `ClusterPlanner.plan` of the Deployment.
public struct ClusterBenchmark: Benchmark {
    public static let name = "cluster"
    private let settings: Configuration

    public init(_ configuration: Configuration) throws(BenchmarkError) {
        try configuration.validate()
        settings = configuration
    }

    public var configuration: [(key: String, value: ConfigurationValue)] { [("nodes", .number(settings.nodes)), ("pods", .number(settings.pods))] }

    /// Whatever is allocated once per process, metadata and lazily made constants, is there afterwards.
    public mutating func prepare() throws(BenchmarkError) { _ = try build() }

    public mutating func run() throws(BenchmarkError) -> [Measurement] {
        let before = AllocatedMemory.byteCount
        let built = try build()
        let growth = AllocatedMemory.byteCount - before
        let podCount = Double(settings.nodes * settings.pods)
        return withExtendedLifetime(built.simulation) {
            [
                Measurement("podSetUpSeconds", built.buildSeconds / podCount, unit: "s", isBetterHigher: false),
                Measurement("podMemoryBytes", Double(growth) / podCount, unit: "B", isBetterHigher: false),
                Measurement("buildSeconds", built.buildSeconds, unit: "s", isBetterHigher: false),
                Measurement("planSeconds", built.planSeconds, unit: "s", isBetterHigher: false),
            ]
        }
    }

    /// Plan and description are gone when it returns.
    private func build() throws(BenchmarkError) -> (simulation: Simulation, buildSeconds: Double, planSeconds: Double) {
        let (topology, planSeconds) = try describe()
        let watch = Stopwatch()
        do {
            let simulation = try Simulation(topology)
            let seconds = watch.seconds
            // Giving the description back is not part of building.
            return withExtendedLifetime(topology) { (simulation, seconds, planSeconds) }
        } catch { throw .fault("the network cannot be built: \(error)") }
    }

    private func describe() throws(BenchmarkError) -> (topology: Topology, planSeconds: Double) {
        // A /16 for each node's pods.
        var configuration = ClusterConfiguration(
            nodes: (0..<settings.nodes).map {
                ClusterConfiguration.NodeConfiguration(name: "node\($0 + 1)", address: IPv4Address(192, 168, 50, UInt8(11 + $0)))
            },
            podCIDR: IPv4Prefix(IPv4Address(10, 0, 0, 0), length: 8), serviceCIDR: IPv4Prefix(IPv4Address(172, 16, 0, 0), length: 12))
        configuration.nodePrefixLength = 16
        configuration.hasDNS = false
        let podCount = settings.nodes * settings.pods
        let plan: ClusterPlan
        let planSeconds: Double
        do throws(InputError) {
            var loader = ManifestLoader()
            try loader.load(
                text: """
                    {apiVersion: apps/v1, kind: Deployment, metadata: {name: idle}, spec: {replicas: \(podCount), selector: {matchLabels: {app: idle}},
                    template: {metadata: {labels: {app: idle}}, spec: {containers: [{name: c, image: alpine}]}}}}
                    """, file: "benchmark")
            let watch = Stopwatch()
            plan = try ClusterPlanner.plan(loader.manifests, configuration: configuration)
            planSeconds = watch.seconds
        } catch {
            throw .fault("the cluster cannot be planned: \(error)")
        }
        guard plan.pods.count(where: { $0.address != nil }) == podCount else { throw .fault("some of the \(podCount) pods have no address") }
        return (plan.topology(), planSeconds)
    }
}
