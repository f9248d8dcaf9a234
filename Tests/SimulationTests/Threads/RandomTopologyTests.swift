import Foundation
import HairpinCapture
import HairpinDatapath
import HairpinEngine
import HairpinHost
import HairpinPrograms
import Testing

/// One seed makes the network, its faults and its traffic. What happens must not depend on the number of threads.
///
///     HAIRPIN_TOPOLOGY_SEED=17 swift test --filter RandomTopologyTests
///
/// runs that one seed.
@Suite("Random topologies on several threads")
struct RandomTopologyTests {
    /// Everything there is to compare.
    private struct Outcome: Equatable {
        var digest: UInt64
        var books: FrameBooks
        var events: UInt64
        var capture: [UInt8]
        var commands: [String]
        /// What observers were told, in order; all write to one list.
        var told: [String]
        var isBalanced: Bool { books.isBalanced }
    }
    private struct Run {
        var outcome: Outcome
        var processes: Int
        var threads: Int
        var counts: WindowCounts
    }

    private static func run(_ random: RandomTopology, threads: Int) throws -> Run {
        var configuration = SimulationConfiguration()
        configuration.seed = random.seed
        configuration.threads = threads
        // However few events there are: it is the threads that are tried.
        configuration.sharing = .evenly
        if !random.hasCosts { configuration.costs = .zero }
        let simulation = try Simulation(random.topology, configuration: configuration)
        let known = simulation.tapInterfaces.map { CaptureInterface(logicalProcess: $0.process, index: $0.index, host: $0.host, name: $0.name, mac: $0.mac) }
        var options = CaptureOptions()
        options.combined = .memory
        options.drops = .record
        let session = try CaptureSession(interfaces: known, options: options)
        for process in 0..<simulation.processCount {
            guard let observer = session.observer(of: process) else { continue }
            simulation.attach(observer, process: process, interfaces: known.filter { $0.logicalProcess == process }.map(\.index))
        }
        for fault in random.faults {
            _ = simulation.setFault(host: fault.host, interface: fault.interface, lossPerBillion: fault.lossPerBillion, isCut: fault.isCut)
        }
        if random.stations.count > 1 {
            let stations = StationList(random.stations)
            let gaps = ExponentialTable()
            for generator in random.generators {
                var description = GeneratorDescription(station: generator.station, stations: stations, gaps: gaps)
                (description.byteCount, description.meanGap, description.pattern) = (generator.byteCount, generator.meanGap, generator.pattern)
                simulation.startGenerator(on: generator.host, interface: "eth0", description)
                simulation.setAbsorbing(true, host: generator.host, interface: "eth0")
            }
        }
        var containers: [String: ContainerID] = [:]
        var handles: [ProcessHandle] = []
        var told: [String] = []
        for command in random.commands {
            simulation.run(until: simulation.now + command.pause)
            try session.flush(upTo: simulation.now)
            let container = containers[command.host] ?? simulation.makeContainer(name: "tools")
            containers[command.host] = container
            guard let shell = CommandTable.program(named: "sh", arguments: ["-c", command.text]) else { continue }
            handles.append(
                simulation.spawn(on: command.host, shell, arguments: ["sh", "-c", command.text], environment: ["PATH": "/bin"], in: container) { text, isError in
                    told.append("\(command.host) \(isError) \(text)")
                })
        }
        // Now and then somebody stops the run between two windows.
        var looks = 0
        simulation.run(until: simulation.now + random.tail) {
            looks += 1
            return looks < 200
        }
        simulation.run(until: simulation.now + random.tail)
        try session.finish()
        let outcome = Outcome(
            digest: simulation.digest, books: simulation.books, events: simulation.eventCount, capture: session.combinedBytes,
            commands: handles.map { "\($0.exitStatus ?? -1) \($0.startedAt) \($0.endedAt ?? .zero) \(String(decoding: $0.output + $0.errorOutput, as: UTF8.self))" },
            told: told)
        return Run(outcome: outcome, processes: simulation.processCount, threads: simulation.threadCount, counts: simulation.windowCounts)
    }

    /// What differs, and how to see it again; nil if nothing does.
    private static func difference(_ a: Outcome, _ b: Outcome) -> String? {
        if a == b { return nil }
        if a.digest != b.digest { return "the digest of all events (\(a.events) and \(b.events) of them)" }
        if a.books != b.books { return "the books: \(a.books) and \(b.books)" }
        if a.capture != b.capture { return "the capture, \(a.capture.count) and \(b.capture.count) bytes" }
        if a.told != b.told { return "what observers were told, or in which order" }
        return "what commands did: \(zip(a.commands, b.commands).first { $0 != $1 }.map { "\($0) and \($1)" } ?? "")"
    }

    private static let chosen = ProcessInfo.processInfo.environment["HAIRPIN_TOPOLOGY_SEED"].flatMap { UInt64($0) }
    private static let batches: [ClosedRange<UInt64>] = chosen.map { [$0...$0] } ?? [1...50, 51...100, 101...150, 151...200]

    @Test("1, 2 and 8 threads: the same digest, books and captures", arguments: batches)
    func sameOnAnyNumberOfThreads(seeds: ClosedRange<UInt64>) throws {
        var several = 0
        var exchanging = 0
        var shared = 0
        var byOthers = 0
        for seed in seeds {
            let random = RandomTopology(seed: seed)
            let one = try Self.run(random, threads: 1)
            #expect(one.outcome.isBalanced, "HAIRPIN_TOPOLOGY_SEED=\(seed): \(one.outcome.books)")
            if one.processes > 1 { several += 1 }
            if one.outcome.books.handedOver >= 10 { exchanging += 1 }
            for threads in [2, 8] {
                let other = try Self.run(random, threads: threads)
                #expect(other.threads == max(min(threads, one.processes), 1))
                shared += other.counts.shared >= 10 ? 1 : 0
                byOthers += other.counts.runsByOthers
                if let difference = Self.difference(one.outcome, other.outcome) {
                    Issue.record("HAIRPIN_TOPOLOGY_SEED=\(seed): on 1 and on \(threads) threads differ: \(difference)")
                }
            }
        }
        guard Self.chosen == nil else { return }
        // Else all this would say nothing. These numbers are the same on every machine.
        #expect(several >= seeds.count * 8 / 10, "\(several) have several logical processes")
        #expect(exchanging >= seeds.count * 7 / 10, "\(exchanging) exchange frames between them")
        #expect(shared >= 2 * seeds.count * 3 / 10, "\(shared) of \(2 * seeds.count) runs shared ten windows or more")
        #expect(byOthers >= 2 * seeds.count * 20, "other threads than the caller's ran \(byOthers) times")
    }

    @Test("what another seed makes compares as different: the comparison would notice", arguments: UInt64(1)...5)
    func notice(seed: UInt64) throws {
        let a = try Self.run(RandomTopology(seed: seed), threads: 1)
        let b = try Self.run(RandomTopology(seed: seed + 1000), threads: 1)
        #expect(Self.difference(a.outcome, b.outcome) != nil)
    }
}
