import Foundation
import HairpinCapture
import HairpinDatapath
import HairpinEngine
import HairpinHost
import HairpinPrograms

/// Everything that looks at the frames of a run: the capture files, and the counters of expectations.
final class CaptureSet {
    private let session: CaptureSession?
    private let counters: [FrameCounter]
    private let folder: String?
    private let interfaceFolder: String?
    private let name: String
    private let wantsDigests: Bool
    private let needsDigest: Bool
    private var combinedDigest: String?

    /// Attaches to the simulation; without files and without expectations about frames nothing is attached at all.
    init(_ scenario: Scenario, options: RunOptions, on simulation: Simulation) throws(Failure) {
        name = scenario.name
        folder = options.captures
        interfaceFolder = options.interfaceCaptures
        wantsDigests = options.digests
        needsDigest = scenario.expectations.contains { expectation in
            guard case .captures(let conditions) = expectation.subject else { return false }
            return conditions.contains { if case .sha256 = $0 { true } else { false } }
        }
        let taps = simulation.tapInterfaces
        let known = taps.map {
            CaptureInterface(
                logicalProcess: $0.process, index: $0.index, host: $0.host, name: $0.name, mac: $0.mac, addresses: $0.addresses, text: "\($0.kind), mtu \($0.mtu)")
        }
        // Counters
        var questions: [(pattern: InterfacePattern, filter: CaptureFilter?)] = []
        var needsCapture = false
        for expectation in scenario.expectations {
            switch expectation.subject {
            case .frames(let pattern, let filter, _):
                let pattern = InterfacePattern(pattern)
                guard known.contains(where: pattern.matches) else {
                    throw CaptureSet.failure(CaptureError.noInterface(pattern: pattern.text, known: known.map(\.label)), at: expectation.position)
                }
                questions.append((pattern, try CaptureSet.filter(filter, at: expectation.position)))
            case .captures: needsCapture = true
            case .step, .drops, .policyDrops: break
            }
        }
        let isCounting = !questions.isEmpty
        counters = (0..<simulation.processCount).map { process in
            FrameCounter(
                questions: questions.map { question in
                    (Set(known.filter { $0.logicalProcess == process && question.pattern.matches($0) }.map(\.index)), question.filter)
                })
        }
        // Files
        if folder != nil || interfaceFolder != nil || needsCapture {
            var capture = CaptureOptions()
            capture.epoch = .seconds(Int64(VirtualEpoch.unixSeconds))
            capture.combined = folder.map { .file("\($0)/\(scenario.name).pcapng") } ?? .memory
            if let interfaceFolder { capture.perInterface = .directory(interfaceFolder) }
            capture.interfaces = scenario.capture.interfaces.map { InterfacePattern($0) }
            capture.filter = try CaptureSet.filter(scenario.capture.filter, at: scenario.capture.position)
            for folder in [folder, interfaceFolder] { if let folder { try CaptureSet.make(folder) } }
            do { session = try CaptureSession(interfaces: known, options: capture) } catch { throw CaptureSet.failure(error, at: scenario.capture.position) }
        } else {
            session = nil
        }
        for process in 0..<simulation.processCount where isCounting || session != nil {
            let observers: [(any TapObserver)?] = [session?.observer(of: process), isCounting ? counters[process] : nil]
            let present = observers.compactMap { $0 }
            guard let first = present.first else { continue }
            // An interface is only tapped where somebody looks: a tap makes an interface promiscuous, as tcpdump does.
            let watched = known.filter { interface in
                interface.logicalProcess == process
                    && (session?.interfaces.contains { $0.label == interface.label } ?? false || questions.contains { $0.pattern.matches(interface) })
            }
            simulation.attach(present.count == 1 ? first : TapFan(present), process: process, interfaces: watched.map(\.index))
        }
    }

    /// Writes what was seen before `time`.
    func flush(upTo time: Instant) throws(Failure) {
        do { try session?.flush(upTo: time) } catch { throw CaptureSet.failure(error, at: nil) }
    }

    /// Ends the files; to be called however the run ends.
    func finish() throws(Failure) {
        do { try session?.finish() } catch { throw CaptureSet.failure(error, at: nil) }
    }

    /// For each expectation about frames, in order.
    var frameCounts: [Int] {
        guard let first = counters.first else { return [] }
        return first.counts.indices.map { place in counters.reduce(0) { $0 + $1.counts[place] } }
    }

    var recorded: [(interface: CaptureInterface, frames: UInt64)] {
        guard let session else { return [] }
        return Array(zip(session.interfaces, session.packetCounts)).map { (interface: $0, frames: $1) }
    }

    /// The combined capture's digest, from its file or from memory, if somebody asked for it; after `finish`.
    func digest() throws(Failure) -> String? {
        guard let session, wantsDigests || needsDigest else { return nil }
        if let known = combinedDigest { return known }
        let digest = if let folder { try FileDigest.sha256(file: "\(folder)/\(name).pcapng") } else { FileDigest.sha256(session.combinedBytes) }
        combinedDigest = digest
        return digest
    }

    /// The files written, with their digests; after `finish`.
    func files() throws(Failure) -> [CaptureFileResult] {
        guard let session else { return [] }
        var result: [CaptureFileResult] = []
        let counts = session.packetCounts
        if let folder {
            result.append(CaptureFileResult(path: "\(folder)/\(name).pcapng", sha256: try digest(), frames: counts.reduce(0, +)))
        }
        if let interfaceFolder {
            for (file, frames) in zip(session.fileNames, counts) {
                let path = "\(interfaceFolder)/\(file).pcap"
                result.append(CaptureFileResult(path: path, sha256: wantsDigests ? try FileDigest.sha256(file: path) : nil, frames: frames))
            }
        }
        return result
    }

    private static func filter(_ text: String, at position: Position?) throws(Failure) -> CaptureFilter? {
        if text.isEmpty { return nil }
        do { return try CaptureFilter(text) } catch { throw failure(error, at: position) }
    }

    /// Compiles every filter of a scenario, for `validate`.
    static func checkFilters(_ scenario: Scenario) throws(Failure) {
        _ = try filter(scenario.capture.filter, at: scenario.capture.position)
        for expectation in scenario.expectations {
            if case .frames(_, let text, _) = expectation.subject { _ = try filter(text, at: expectation.position) }
        }
    }

    private static func failure(_ error: CaptureError, at position: Position?) -> Failure {
        switch error {
        case .filter, .noInterface: Failure(.input, position.map { "\($0): \(error)" } ?? "\(error)")
        case .cannotOpen, .writeFailed, .cannotRead, .malformed: Failure(.output, "\(error)")
        }
    }

    /// mkdir -p.
    static func make(_ folder: String) throws(Failure) {
        var path = folder.hasPrefix("/") ? "/" : ""
        for part in folder.split(separator: "/") {
            path += (path.isEmpty || path.hasSuffix("/") ? "" : "/") + part
            if mkdir(path, 0o777) != 0, errno != EEXIST { throw Failure(.output, "\(path): the folder cannot be made: \(String(cString: strerror(errno)))") }
        }
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue else {
            throw Failure(.output, "\(folder): is a file, not a folder")
        }
    }
}
