import Foundation
import HairpinCapture
import HairpinDatapath
import HairpinEngine
import HairpinHost
import HairpinPrograms
import HairpinTopology
import HairpinWire

/// Runs recorded scenarios in emulated networks built from their `scenario.json`, and compares what every interface showed with the recording.
public struct RealityRunner: Sendable {
    public enum Status: String, Sendable { case passed, failed, unsupported }

    public struct Case: Sendable {
        public var id: String
        public var status: Status
        public var level: ComparisonLevel
        /// Fraction of interfaces identical to some recorded run, and similarity relative to what the kernel reaches against itself.
        public var identical: Double
        public var similarity: Double
        /// Why it is unsupported or failed, in one line; empty for a pass.
        public var reason: String
        public var report: ComparisonReport?
        /// Exit statuses of the steps, recorded and emulated, where they differ.
        public var outcomes: [String]
        public var isBalanced: Bool
    }

    public var seed: UInt64 = 1
    /// Nil: the level each scenario is held to.
    public var level: ComparisonLevel?
    public var comparesTiming = false
    public var differenceLines = 12
    /// Folder for the emulated captures, a subfolder per scenario, named as the recordings are.
    public var captures: URL?
    public init() {}

    /// The scenarios of a folder: those `stability.json` lists, or the folder itself if it holds a `scenario.json`.
    public static func scenarios(in folder: URL) throws -> [ReferenceSet.Scenario] {
        let files = FileManager.default
        if files.fileExists(atPath: folder.appendingPathComponent("scenario.json").path) {
            let parent = folder.standardizedFileURL.deletingLastPathComponent()
            if files.fileExists(atPath: parent.appendingPathComponent("stability.json").path),
                let known = try ReferenceSet(folder: parent).scenarios.first(where: { $0.name == folder.standardizedFileURL.lastPathComponent })
            {
                return [known]
            }
            return [ReferenceSet.Scenario(name: folder.standardizedFileURL.lastPathComponent, folder: folder, compareAt: .strict, ceilings: [:])]
        }
        if files.fileExists(atPath: folder.appendingPathComponent("stability.json").path) { return try ReferenceSet(folder: folder).scenarios }
        let inside = (try? files.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)) ?? []
        let found = inside.filter { files.fileExists(atPath: $0.appendingPathComponent("scenario.json").path) }.sorted { $0.lastPathComponent < $1.lastPathComponent }
        if found.isEmpty { throw ComparisonError.unreadable(file: folder.path, reason: "there is no scenario.json in this folder, nor stability.json") }
        return found.map { ReferenceSet.Scenario(name: $0.lastPathComponent, folder: $0, compareAt: .strict, ceilings: [:]) }
    }

    /// Like `run`, but a case that cannot be read is a failed one, so that the others go on.
    public func outcome(of scenario: ReferenceSet.Scenario) -> Case {
        do {
            return try run(scenario)
        } catch {
            return Case(
                id: scenario.name, status: .failed, level: level ?? scenario.compareAt, identical: 0, similarity: 0, reason: "\(error)", report: nil, outcomes: [],
                isBalanced: true)
        }
    }

    /// Plays one recorded scenario and compares. Throws `ComparisonError` for folders and descriptions that cannot be read.
    public func run(_ scenario: ReferenceSet.Scenario) throws -> Case {
        let level = level ?? scenario.compareAt
        var result = Case(id: scenario.name, status: .unsupported, level: level, identical: 0, similarity: 0, reason: "", report: nil, outcomes: [], isBalanced: true)
        let recorded: RecordedScenario
        let file = scenario.folder.appendingPathComponent("scenario.json")
        do {
            recorded = try JSONDecoder().decode(RecordedScenario.self, from: Data(contentsOf: file))
        } catch {
            throw ComparisonError.unreadable(file: file.path, reason: describe(error))
        }
        do {
            let window = try observedTime(scenario.folder)
            var play = try RecordedPlay(recorded, seed: seed)
            let captured = try play.run(observed: window)
            result.outcomes = play.outcomes
            result.isBalanced = play.isBalanced
            if let captures { try write(captured, to: captures.appendingPathComponent(scenario.name)) }
            let score = try scenario.score(
                CanonicalCapture(captures: captured, description: scenario.description()), level: level, differenceLines: differenceLines, compareTiming: comparesTiming)
            result.report = score.report
            result.identical = score.identical
            result.similarity = score.similarity
            result.status = score.passes && play.isBalanced ? .passed : .failed
            if !play.isBalanced { result.reason = "the books do not balance" }
            if result.reason.isEmpty, !score.passes { result.reason = firstDifference(score.report) }
        } catch let error as Unsupported {
            result.reason = error.description
        } catch let error as TopologyError {
            if !error.isUnsupported { throw ComparisonError.unreadable(file: file.path, reason: error.description) }
            result.reason = error.description
        }
        return result
    }

    private func firstDifference(_ report: ComparisonReport) -> String {
        guard let first = report.differences.first else { return "interfaces differ" }
        let line = first.lines.first { $0.hasPrefix("-") || $0.hasPrefix("+") } ?? ""
        return "\(first.interface): \(line)"
    }

    /// From the first to the last packet of the recording: how long it was watched, which `scenario.json` does not say. Nothing else is taken
    /// from the recorded packets.
    private func observedTime(_ folder: URL) throws -> Duration {
        var first = UInt64.max
        var last: UInt64 = 0
        for file in try CanonicalCapture.captureFiles(in: folder) {
            for packet in try CaptureReader.read(file.path).packets {
                first = min(first, packet.time.nanoseconds)
                last = max(last, packet.time.nanoseconds)
            }
        }
        return first <= last ? .nanoseconds(Int64(clamping: last - first)) : .zero
    }

    private func write(_ captures: [String: [CanonicalCapture.Frame]], to folder: URL) throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for (name, frames) in captures {
            var bytes: [UInt8] = []
            func append(_ value: UInt32) { withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) } }
            append(0xa1b2_3c4d)
            append(UInt32(4) << 16 | 2)
            append(0)
            append(0)
            append(262_144)
            append(1)
            for frame in frames {
                append(UInt32(frame.time / 1_000_000_000))
                append(UInt32(frame.time % 1_000_000_000))
                append(UInt32(frame.bytes.count))
                append(UInt32(frame.bytes.count))
                bytes.append(contentsOf: frame.bytes)
            }
            let file = folder.appendingPathComponent("\(name).pcap")
            try Data(bytes).write(to: file)
        }
    }
}

/// One recorded scenario being played again.
struct RecordedPlay {
    private let scenario: RecordedScenario
    private let simulation: Simulation
    private var hosts: [String: ContainerID] = [:]
    private(set) var outcomes: [String] = []
    private(set) var isBalanced = true
    /// Servers are up before the recording begins.
    private static let start = Instant.zero + .seconds(2)
    /// How long a recording goes on after its last step.
    private static let settle = Duration.milliseconds(400)

    init(_ scenario: RecordedScenario, seed: UInt64) throws {
        self.scenario = scenario
        var configuration = SimulationConfiguration()
        configuration.seed = seed
        // The recordings were made in namespaces of one kernel that shared one processor.
        configuration.sharesProcessor = true
        simulation = try Simulation(scenario.topology(), configuration: configuration)
        for host in scenario.hosts {
            hosts[host.name] = simulation.makeContainer(name: host.name, files: ["/etc/hosts": Array("127.0.0.1\tlocalhost\n".utf8)])
        }
    }

    mutating func run(observed: Duration) throws -> [String: [CanonicalCapture.Frame]] {
        for server in scenario.servers ?? [] { try start(server) }
        simulation.run(until: RecordedPlay.start)
        let recorders = (0..<simulation.processCount).map { _ in FrameRecorder() }
        let interfaces = simulation.tapInterfaces
        for (number, recorder) in recorders.enumerated() {
            simulation.attach(recorder, process: number, interfaces: interfaces.filter { $0.process == number }.map(\.index))
        }
        var last = RecordedPlay.start
        var running: [(step: RecordedScenario.Step, handle: ProcessHandle, ends: Double)] = []
        for step in scenario.steps {
            let due = RecordedPlay.start + (try RecordedScenario.duration(step.at))
            // Whatever had ended before this step in the recording ends before it here.
            let awaited = running.filter { $0.ends <= step.at + 0.0005 }.map(\.handle)
            simulation.run(until: max(due, simulation.now))
            wait(for: awaited)
            if let change = step.change {
                guard simulation.hasHost(step.host) else { throw Unsupported("a step on the unknown host \(step.host)") }
                do {
                    try simulation.configure(step.host, change.split(separator: " ").map(String.init))
                } catch {
                    throw Unsupported("\(step.host): \(change): \(error.message)")
                }
            } else if let command = step.command {
                let handle = try start(command, on: step.host)
                running.append((step, handle, step.at + (step.duration ?? 0)))
            }
        }
        wait(for: running.map(\.handle))
        for entry in running {
            if let end = entry.handle.endedAt { last = max(last, end) }
            if let expected = entry.step.exit, entry.handle.exitStatus != expected {
                outcomes.append("\(entry.step.host): \(entry.step.command ?? ""): exit \(entry.handle.exitStatus.map { "\($0)" } ?? "none") instead of \(expected)")
            }
        }
        let first = recorders.compactMap(\.first).min() ?? RecordedPlay.start
        simulation.run(until: max(last + RecordedPlay.settle, first + observed + RecordedPlay.settle))
        isBalanced = simulation.books.isBalanced
        var captures: [String: [CanonicalCapture.Frame]] = [:]
        for interface in interfaces {
            captures["\(interface.host)-\(interface.name)"] = recorders[interface.process].frames[interface.index] ?? []
        }
        return captures
    }

    private func wait(for handles: [ProcessHandle]) {
        guard handles.contains(where: { $0.exitStatus == nil }) else { return }
        simulation.run(until: simulation.now + .seconds(300)) { handles.contains { $0.exitStatus == nil } }
    }

    private func start(_ command: String, on host: String) throws -> ProcessHandle {
        guard let container = hosts[host] else { throw Unsupported("a step on the unknown host \(host)") }
        guard let program = CommandTable.program(named: "sh", arguments: ["-c", command]) else { throw Unsupported("a shell") }
        return simulation.spawn(on: host, program, arguments: ["sh", "-c", command], environment: ["HOSTNAME": host], in: container)
    }

    private func start(_ server: RecordedScenario.Server) throws {
        guard let container = hosts[server.host] else { throw Unsupported("a server on the unknown host \(server.host)") }
        let program: any Program
        var arguments: [String]
        switch server.app {
        case "nginx":
            var configuration = Nginx.Configuration()
            configuration.ports = [server.port]
            configuration.servePage(by: server.host, byteCount: server.body_bytes ?? 615)
            configuration.logsAccess = false
            program = Nginx(configuration)
            arguments = ["nginx"]
        case "dnsmasq":
            program = DNSServer(Dnsmasq(records: (server.records ?? [:]).compactMapValues { IPv4Address($0) }), port: server.port)
            arguments = ["dnsmasq"]
        case nil:
            guard let command = server.command, let shell = CommandTable.program(named: "sh", arguments: ["-c", command]) else {
                throw Unsupported("a server without a command")
            }
            program = shell
            arguments = ["sh", "-c", command]
        case let other?: throw Unsupported("a server called \(other)")
        }
        simulation.spawn(on: server.host, program, arguments: arguments, environment: ["HOSTNAME": server.host], in: container)
    }
}

/// Keeps every frame of every tapped interface in memory.
final class FrameRecorder: TapObserver {
    private(set) var frames: [InterfaceIndex: [CanonicalCapture.Frame]] = [:]
    private(set) var first: Instant?

    func saw(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent) {
        if first == nil { first = event.time }
        frames[event.interface, default: []].append((event.time.nanoseconds, Array(bytes)))
    }
    func dropped(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent, reason: DropReason) {}
}
