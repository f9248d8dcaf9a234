import Foundation
import HairpinCapture
import HairpinWire

/// The captures of one run of a scenario, decoded, with symbols for ports and identifiers in the order of their appearance over all
/// interfaces. What every level leaves out: absolute time, initial sequence numbers, ephemeral ports, IP and ICMP identifiers, timestamps.
public struct CanonicalCapture {
    /// Nanoseconds and bytes of one frame.
    public typealias Frame = (time: UInt64, bytes: [UInt8])

    private struct Packet {
        var time: UInt64
        var fields: Dissection
    }
    private struct Interface {
        var name: String
        var packets: [Packet]
    }
    /// In the order of their names.
    private var interfaces: [Interface] = []
    private var names: CaptureNames
    /// Frames of fewer than 14 bytes, which no level shows.
    public private(set) var unreadableFrames = 0

    /// `captures` by interface: "pod1-eth0", "node1-cni0".
    public init(captures: [String: [Frame]], description: CaptureDescription) {
        names = CaptureNames(description)
        // Files are read in the order of their names, and "." comes before letters: the suffix belongs to the order.
        for (name, frames) in captures.sorted(by: { $0.key + ".pcap" < $1.key + ".pcap" }) {
            var packets: [Packet] = []
            for frame in frames {
                if let fields = frame.bytes.withUnsafeBytes({ Dissection($0) }) {
                    if !CanonicalCapture.isBackground(fields) { packets.append(Packet(time: frame.time, fields: fields)) }
                } else {
                    unreadableFrames += 1
                }
            }
            interfaces.append(Interface(name: name, packets: packets))
        }
        var order: [(time: UInt64, name: String, interface: Int, position: Int)] = []
        for (number, interface) in interfaces.enumerated() {
            for position in interface.packets.indices { order.append((interface.packets[position].time, interface.name, number, position)) }
        }
        order.sort { ($0.time, $0.name, $0.position) < ($1.time, $1.name, $1.position) }
        for entry in order { CanonicalCapture.assignSymbols(interfaces[entry.interface].packets[entry.position].fields, &names) }
    }

    /// Reads a folder of `HOST-IFACE.pcap` and `.pcap.gz`. Without a description the folder's own `scenario.json` or that of the scenario
    /// it is a run of is taken. Throws `CaptureError` and `ComparisonError`.
    public init(folder: URL, description: CaptureDescription? = nil) throws {
        let known = try description ?? CaptureDescription.find(near: folder).map { try CaptureDescription(contentsOf: $0) } ?? CaptureDescription()
        var captures: [String: [Frame]] = [:]
        for file in try CanonicalCapture.captureFiles(in: folder) {
            let content = try CaptureReader.read(file.path)
            let name = file.lastPathComponent
            captures[String(name[..<name.range(of: ".pcap")!.lowerBound])] = content.packets.map { ($0.time.nanoseconds, Array($0.bytes)) }
        }
        self.init(captures: captures, description: known)
    }

    static func captureFiles(in folder: URL) throws -> [URL] {
        do {
            return try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
                .filter { $0.lastPathComponent.hasSuffix(".pcap") || $0.lastPathComponent.hasSuffix(".pcap.gz") }
                .sorted { $0.lastPathComponent < $1.lastPathComponent }
        } catch {
            throw ComparisonError.unreadable(file: folder.path, reason: describe(error))
        }
    }

    /// Multicast membership reports come at random moments and are nobody's subject.
    private static func isBackground(_ packet: Dissection) -> Bool {
        if packet.ip?.proto == 2 { return true }
        guard let icmp = packet.icmp, icmp.version == 6 else { return false }
        return [130, 131, 132, 143].contains(icmp.type)
    }

    private static func assignSymbols(_ packet: Dissection, _ names: inout CaptureNames) {
        if let tcp = packet.tcp {
            _ = names.port(tcp.sourcePort)
            _ = names.port(tcp.destinationPort)
        }
        if let udp = packet.udp {
            _ = names.port(udp.sourcePort)
            _ = names.port(udp.destinationPort)
        }
        if let echo = packet.icmp?.echo { _ = names.identifier(echo.identifier) }
        if case .tunnelled(let inner) = packet.nested { assignSymbols(inner, &names) }
    }

    /// The canonical lines of every interface; at flow level, of every role of an interface.
    public func render(_ level: ComparisonLevel) -> [String: [String]] { rendered(level).mapValues { $0.map(\.line) } }

    /// The lines with the time of their packets in nanoseconds, zero at flow level.
    func rendered(_ level: ComparisonLevel) -> [String: [(line: String, time: UInt64)]] {
        if level == .flow { return flows().mapValues { $0.map { ($0, 0) } } }
        var names = self.names
        var result: [String: [(line: String, time: UInt64)]] = [:]
        for interface in interfaces {
            var lines = CanonicalLines(level: level)
            result[interface.name] = interface.packets.compactMap { packet in lines.line(packet.fields, &names).map { ($0, packet.time) } }
        }
        return result
    }

    private func flows() -> [String: [String]] {
        var facts: [String: Set<String>] = [:]
        for interface in interfaces {
            facts[names.roleOfInterface(interface.name), default: []].formUnion(FlowFacts.facts(of: interface.packets.map(\.fields), names))
        }
        return facts.mapValues { $0.sorted() }
    }
}
