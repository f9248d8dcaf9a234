import HairpinDatapath
import HairpinEngine
import HairpinHost
import HairpinWire

/// The beginning of SCTP associations (RFC 9260 §5.1), for pods whose kernels have no SCTP: every INIT that arrives at a pod is answered with an
/// INIT ACK by the pod, and an association counts as possible when its INIT ACK arrives at the pod that asked.
final class AssociationProbe {
    /// `id` is the client's port; unique among the client's probes.
    struct Attempt {
        var client: String
        var id: UInt16
        var target: IPv4Address
        var port: UInt16
    }
    private let simulation: Simulation
    private let addresses: [String: IPv4Address]
    private let watches: [ChunkWatch]
    private static let initChunk: UInt8 = 1, initAckChunk: UInt8 = 2

    init(on simulation: Simulation, pods: [String: IPv4Address]) {
        self.simulation = simulation
        addresses = pods
        let interfaces = simulation.tapInterfaces.filter { pods[$0.host] != nil && $0.name == "eth0" }
        watches = (0..<simulation.processCount).map { process in
            ChunkWatch(hosts: Dictionary(interfaces.filter { $0.process == process }.map { ($0.index, $0.host) }, uniquingKeysWith: { $1 }))
        }
        for (process, watch) in watches.enumerated() { simulation.attach(watch, process: process, interfaces: watch.hosts.keys.sorted { $0.rawValue < $1.rawValue }) }
    }

    /// For each attempt the pod that answered, nil for none.
    func run(_ attempts: [Attempt]) -> [String?] {
        for watch in watches { watch.chunks.removeAll() }
        for attempt in attempts {
            send(AssociationProbe.initChunk, from: attempt.client, attempt.id, to: attempt.target, attempt.port, tag: 0)
        }
        simulation.run(until: simulation.now + .milliseconds(200))
        var servers: [Pair: String] = [:]
        for chunk in watches.flatMap(\.chunks) where chunk.type == AssociationProbe.initChunk {
            servers[Pair(address: chunk.source, port: chunk.sourcePort)] = chunk.host
            send(AssociationProbe.initAckChunk, from: chunk.host, chunk.destinationPort, to: chunk.source, chunk.sourcePort, tag: chunk.tag)
        }
        simulation.run(until: simulation.now + .milliseconds(200))
        let answered = Set(
            watches.flatMap(\.chunks).filter { $0.type == AssociationProbe.initAckChunk }.map { Pair(address: $0.destination, port: $0.destinationPort) })
        return attempts.map { attempt in
            guard let address = addresses[attempt.client], case let pair = Pair(address: address, port: attempt.id), answered.contains(pair) else { return nil }
            return servers[pair]
        }
    }

    private struct Pair: Hashable {
        var address: IPv4Address
        var port: UInt16
    }

    private func send(_ type: UInt8, from host: String, _ port: UInt16, to destination: IPv4Address, _ destinationPort: UInt16, tag: UInt32) {
        guard let socket = simulation.rawSocket(on: host), let source = addresses[host] else { return }
        // Common header and one INIT or INIT ACK chunk without parameters; a real INIT ACK has a cookie, which nobody here asks for.
        try? socket.send(from: source, to: destination, .sctp, count: 32) { p in
            p.put(port, at: 0)
            p.put(destinationPort, at: 2)
            p.put(tag, at: 4)
            p.put(UInt32(0), at: 8)
            p.put(type, at: 12)
            p.put(UInt8(0), at: 13)
            p.put(UInt16(20), at: 14)
            p.put(UInt32(port) << 16 | 1, at: 16)
            p.put(UInt32(106_496), at: 20)
            p.put(UInt16(10), at: 24)
            p.put(UInt16(2048), at: 26)
            p.put(UInt32(1), at: 28)
            p.put(AssociationProbe.crc32c(UnsafeRawBufferPointer(start: p, count: 32)).byteSwapped, at: 8)
        }
    }

    /// RFC 9260 appendix A; the result is in host order and travels least significant byte first.
    static func crc32c(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        var crc: UInt32 = ~0
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0x82f6_3b78 : crc >> 1 }
        }
        return ~crc
    }
}

/// SCTP chunks that arrive at pods with a right checksum.
final class ChunkWatch: TapObserver {
    struct Chunk {
        var host: String
        var source: IPv4Address, destination: IPv4Address
        var sourcePort: UInt16, destinationPort: UInt16
        var type: UInt8
        /// The initiate tag.
        var tag: UInt32
    }
    let hosts: [InterfaceIndex: String]
    var chunks: [Chunk] = []

    init(hosts: [InterfaceIndex: String]) { self.hosts = hosts }

    func saw(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent) {
        guard event.direction == .inbound, let host = hosts[event.interface], bytes.count > EthernetHeader.byteCount,
            let packet = IPv4View(UnsafeRawBufferPointer(rebasing: bytes[EthernetHeader.byteCount...])), packet.proto == .sctp, packet.payload.count >= 32,
            let p = packet.payload.baseAddress
        else { return }
        var copy = Array(packet.payload)
        for n in 8..<12 { copy[n] = 0 }
        let isRight = copy.withUnsafeBytes { AssociationProbe.crc32c($0).byteSwapped } == p.u32(8)
        guard isRight else { return }
        chunks.append(
            Chunk(host: host, source: packet.source, destination: packet.destination, sourcePort: p.u16(0), destinationPort: p.u16(2), type: p.u8(12), tag: p.u32(16)))
    }
    func dropped(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent, reason: DropReason) {}
}
