import Foundation
import HairpinCapture
import HairpinEngine
import HairpinHost

/// The trace of TCP connections of a run as CSV: the fields of the kernel's tracepoint tcp:tcp_probe under their names there, and our own behind them.
final class TCPProbeFile {
    private let path: String
    private let handle: FileHandle
    private var bytes: [UInt8] = []
    /// Written when so much is waiting, in bytes.
    private static let portion = 1 << 18

    /// Nil if nobody asked for a trace: neither `--tcp-probe FILE`, nor `spec.tcpProbe` with a folder for captures.
    init?(_ scenario: Scenario, options: RunOptions, on simulation: Simulation) throws(Failure) {
        if let file = options.tcpProbe {
            path = file
        } else if scenario.tcpProbe != nil, let folder = options.captures {
            path = "\(folder)/\(scenario.name).tcpprobe.csv"
            try CaptureSet.make(folder)
        } else {
            return nil
        }
        guard FileManager.default.createFile(atPath: path, contents: nil), let handle = FileHandle(forWritingAtPath: path) else {
            throw Failure(.output, "\(path): the trace cannot be written: \(String(cString: strerror(errno)))")
        }
        self.handle = handle
        let settings = scenario.tcpProbe ?? TCPProbeSettings()
        let patterns = settings.hosts.map { InterfacePattern($0 + ":*") }
        simulation.traceTCP(ports: Set(settings.ports), isFull: settings.full) { host in patterns.contains { $0.matches(host: host) } }
        bytes.append(contentsOf: Simulation.tcpTraceHeader.utf8)
    }

    /// Takes over what has happened by now.
    func flush(_ simulation: Simulation) throws(Failure) {
        simulation.takeTCPTrace(upTo: simulation.now, asLinesTo: &bytes)
        if bytes.count >= TCPProbeFile.portion { try write() }
    }

    /// The rest, however the run ends.
    func finish(_ simulation: Simulation) throws(Failure) {
        simulation.takeTCPTrace(upTo: .distantFuture, asLinesTo: &bytes)
        try write()
        do { try handle.close() } catch { throw failure() }
    }

    private func write() throws(Failure) {
        do { try handle.write(contentsOf: bytes) } catch { throw failure() }
        bytes.removeAll(keepingCapacity: true)
    }

    private func failure() -> Failure { Failure(.output, "\(path): the trace could not be written: \(String(cString: strerror(errno)))") }
}
