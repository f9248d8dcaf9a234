import HairpinBenchmarks
import Testing

@Suite("Jobs between pods")
struct PodJobTests {
    /// Each metric once, in the same order each time, and every rate a number above zero.
    private func figures<Job: Benchmark>(_ job: Job) throws -> [String: Double] {
        var job = job
        try job.prepare()
        let first = try job.run()
        let second = try job.run()
        #expect(first.map(\.metric) == second.map(\.metric))
        #expect(Set(first.map(\.metric)).count == first.count)
        // What the whole process has allocated falls when another test, beside this one, gives memory back.
        for figure in second where !figure.metric.hasSuffix("MemoryBytes") { #expect(figure.value > 0, "\(figure.metric)") }
        return Dictionary(uniqueKeysWithValues: second.map { ($0.metric, $0.value) })
    }

    @Test("bulk TCP moves every byte, over the bridge and through a Service", arguments: TCPBenchmark.Path.allCases)
    func bulk(path: TCPBenchmark.Path) throws {
        var settings = TCPBenchmark.Configuration()
        (settings.flows, settings.pods, settings.path, settings.bytes, settings.idle) = (3, 4, path, 300_000, path == .bridge ? 5000 : 0)
        let figures = try figures(try TCPBenchmark(settings))
        for metric in ["dataSegmentsPerSecond", "bytesPerSecond", "nanosecondsPerSegment", "framesPerSecond", "virtualBitsPerSecond"] { #expect(figures[metric] != nil) }
        // 300 000 bytes in segments of 1448 each, three flows.
        #expect(figures["dataSegments"] == Double(3 * (100_000 / 1448 + 1)))
        #expect((figures["idleEndpointMemoryBytes"] != nil) == (path == .bridge))
        // What the design allows an idle endpoint in the array that every segment and timer passes.
        if path == .bridge { #expect(try #require(figures["idleEndpointHotBytes"]) <= 160) }
    }

    @Test("Services: each packet reaches an endpoint, in both modes of kube-proxy", arguments: ServiceBenchmark.Mode.allCases)
    func services(mode: ServiceBenchmark.Mode) throws {
        var settings = ServiceBenchmark.Configuration()
        (settings.services, settings.endpoints, settings.mode, settings.frames) = (5, 2, mode, 300)
        let figures = try figures(try ServiceBenchmark(settings))
        for metric in ["firstPacketsPerSecond", "establishedPacketsPerSecond", "nanosecondsPerFirstPacket", "nanosecondsPerEstablishedPacket", "nanosecondsPerPodPacket", "serviceOverPod", "rulesLoadSeconds", "endpointChangeSeconds"] {
            #expect(figures[metric] != nil)
        }
    }

    @Test("a cluster of idle pods: every figure is there, on one node and on several", arguments: [1, 3])
    func cluster(nodes: Int) throws {
        var settings = ClusterBenchmark.Configuration()
        (settings.nodes, settings.pods) = (nodes, 300)
        let figures = try figures(try ClusterBenchmark(settings))
        #expect(Set(figures.keys) == ["podSetUpSeconds", "podMemoryBytes", "buildSeconds", "planSeconds"])
    }

    private func problem<Job>(_ make: () throws(BenchmarkError) -> Job) -> String? {
        do {
            _ = try make()
            return nil
        } catch { if case .usage(let text) = error { return text } else { return "not a usage error" } }
    }

    @Test("what is out of range is refused with the range")
    func ranges() {
        var bulk = TCPBenchmark.Configuration()
        bulk.pods = 3
        #expect(problem { () throws(BenchmarkError) in try TCPBenchmark(bulk) } == "--pods: 3 is not an even number from 2 to 252")
        bulk.pods = 2
        bulk.flows = 0
        #expect(problem { () throws(BenchmarkError) in try TCPBenchmark(bulk) } == "--flows: 0 is not from 1 to 10000")
        (bulk.flows, bulk.idle) = (1, -1)
        #expect(problem { () throws(BenchmarkError) in try TCPBenchmark(bulk) } == "--idle: -1 is not from 0 to 20000")
        bulk.idle = 0
        (bulk.flows, bulk.bytes) = (100, 99)
        #expect(
            problem { () throws(BenchmarkError) in try TCPBenchmark(bulk) } == "--bytes: 99 is not from 1 to 1000000000000, with a byte for each of the 100 flows at least"
        )
        var cluster = ClusterBenchmark.Configuration()
        cluster.nodes = 0
        #expect(problem { () throws(BenchmarkError) in try ClusterBenchmark(cluster) } == "--nodes: 0 is not from 1 to 200")
        (cluster.nodes, cluster.pods) = (1, 10_001)
        #expect(problem { () throws(BenchmarkError) in try ClusterBenchmark(cluster) } == "--pods: 10001 is not from 1 to 10000")
        (cluster.nodes, cluster.pods) = (11, 10_000)
        #expect(
            problem { () throws(BenchmarkError) in try ClusterBenchmark(cluster) }
                == "--pods: 10000 on each of 11 nodes are 110000, which is not from 1 to 100000 in all")
        var service = ServiceBenchmark.Configuration()
        service.services = 10_001
        #expect(problem { () throws(BenchmarkError) in try ServiceBenchmark(service) } == "--services: 10001 is not from 1 to 10000")
        (service.services, service.endpoints) = (1, 0)
        #expect(problem { () throws(BenchmarkError) in try ServiceBenchmark(service) } == "--endpoints: 0 is not from 1 to 250")
        (service.endpoints, service.frames) = (1, 0)
        #expect(problem { () throws(BenchmarkError) in try ServiceBenchmark(service) } == "--frames: 0 is not from 1 to 200000")
    }
}
