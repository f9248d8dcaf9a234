import HairpinDatapath
import HairpinEngine
import HairpinHost
import HairpinWire

/// One sight of a frame at one interface.
struct Sight: Hashable {
    var time: Instant
    var host: String
    var interface: String
    var isOutbound: Bool
    var packetID: UInt64
    var bytes: [UInt8]

    /// "default/shell:eth0 out".
    var place: String { "\(host):\(interface) \(isOutbound ? "out" : "in")" }
    /// As tcpdump prints it, after the place.
    var text: String { "\(time) \(place)  \(describe(bytes))" }

    func withIPv4<Result>(_ body: (IPv4View) -> Result?) -> Result? {
        bytes.withUnsafeBytes { raw in
            guard let ethernet = EthernetView(raw), ethernet.payload.type == .ipv4 else { return nil }
            return IPv4View(UnsafeRawBufferPointer(rebasing: raw[ethernet.payload.offset...])).flatMap(body)
        }
    }
    func withTCP<Result>(_ body: (IPv4View, TCPView) -> Result?) -> Result? {
        withIPv4 { ip in ip.proto == .tcp && !ip.isFragment ? TCPView(ip.payload).flatMap { body(ip, $0) } : nil }
    }

    var isTCP: Bool { withTCP { _, _ in true } ?? false }
    var isARP: Bool { bytes.withUnsafeBytes { EthernetView($0)?.payload.type == .arp } }
    /// A SYN without ACK: somebody opens a connection.
    var opensConnection: Bool { withTCP { $1.flags.contains(.syn) && !$1.flags.contains(.ack) } ?? false }
    var destination: IPv4Address? { withIPv4 { $0.destination } }
    var source: IPv4Address? { withIPv4 { $0.source } }

    /// What the frame is once everything that chance decides is masked: ephemeral ports, sequence numbers, identifications and time stamps.
    var shape: String {
        func port(_ number: UInt16) -> String { number >= 32768 ? "*" : String(number) }
        let what: String? = withIPv4 { ip in
            let ends = "\(ip.source) > \(ip.destination) ttl \(ip.timeToLive)"
            if ip.isFragment { return "\(ends) fragment \(ip.fragmentOffset) \(ip.totalLength)" }
            switch ip.proto {
            case .tcp:
                guard let tcp = TCPView(ip.payload) else { return nil }
                return
                    "\(ends) tcp \(port(tcp.sourcePort)) > \(port(tcp.destinationPort)) flags \(tcp.flags.rawValue) options \(tcp.options.count) window \(tcp.window) length \(tcp.payload.count)"
            case .udp:
                guard let udp = UDPView(ip.payload) else { return nil }
                return "\(ends) udp \(port(udp.sourcePort)) > \(port(udp.destinationPort)) length \(udp.payload.count)"
            case .icmp:
                guard let icmp = ICMPView(ip.payload) else { return nil }
                return "\(ends) icmp \(icmp.type)/\(icmp.code) length \(icmp.payload.count)"
            default: return "\(ends) protocol \(ip.proto.rawValue)"
            }
        }
        return "\(place) \(what ?? describe(bytes))"
    }

    /// What is wrong with the frame's checksums; nil when they are right, or when the frame has none.
    var wrongChecksum: String? {
        withIPv4 { ip -> String? in
            if !ip.isChecksumValid { return "IP header checksum" }
            if ip.isFragment { return nil }
            switch ip.proto {
            case .tcp: return TCPView(ip.payload).map { $0.isChecksumValid(source: ip.source, destination: ip.destination) } == true ? nil : "TCP checksum"
            case .udp: return UDPView(ip.payload).map { $0.isChecksumValid(source: ip.source, destination: ip.destination) } == true ? nil : "UDP checksum"
            case .icmp: return ICMPView(ip.payload)?.isChecksumValid == true ? nil : "ICMP checksum"
            default: return nil
            }
        }
    }
}

/// Keeps every frame that every interface of one logical process sees.
final class Recorder: TapObserver {
    private let interfaces: [InterfaceIndex: (host: String, name: String)]
    private(set) var sights: [Sight] = []
    private(set) var drops: [(reason: DropReason, text: String)] = []

    init(interfaces: [InterfaceIndex: (host: String, name: String)]) { self.interfaces = interfaces }

    func saw(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent) {
        guard let place = interfaces[event.interface] else { return }
        sights.append(
            Sight(time: event.time, host: place.host, interface: place.name, isOutbound: event.direction == .outbound, packetID: event.packetID, bytes: Array(bytes)))
    }

    func dropped(_ bytes: UnsafeRawBufferPointer, _ event: TapEvent, reason: DropReason) { drops.append((reason, describe(bytes))) }
    func forget() { sights.removeAll() }
}
