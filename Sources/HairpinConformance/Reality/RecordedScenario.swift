import Foundation
import HairpinEngine
import HairpinTopology
import HairpinWire

/// A `scenario.json`: the network a recording was made in, and what was done in it.
struct RecordedScenario: Decodable {
    struct Host: Decodable {
        var name: String
        var kind: String
        var node: String?
        var interfaces: [Interface]
        var routes: [String]
        var neighbours: [String]?
        var fdb: [String]?
        var iptables: [String]?
        var routes6: [String]?
    }
    struct Interface: Decodable {
        struct VXLAN: Decodable {
            var id: UInt32
            var local: String
            var port: UInt16
            var udp_csum: Bool?
        }
        var name: String
        var mac: String?
        var mtu: Int
        var addresses: [String]
        var kind: String?
        var master: String?
        var hairpin: Bool?
        var peer: String?
        var vxlan: VXLAN?
        /// Seconds after which a bridge forgets an address; recordings so far say it only in their description.
        var ageing_time: Double?
    }
    struct Step: Decodable {
        var at: Double
        var host: String
        var command: String?
        var change: String?
        var duration: Double?
        var exit: Int32?
        var stdout: String?
    }
    struct Server: Decodable {
        var host: String
        var port: UInt16
        var app: String?
        var body_bytes: Int?
        var records: [String: String]?
        var command: String?
    }
    var name: String
    var description: String
    var hosts: [Host]
    var steps: [Step]
    var servers: [Server]?
}

/// Something a recording needs and the emulator does not have.
struct Unsupported: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

extension RecordedScenario {
    /// The settings of a node that kubelet, kube-proxy and the distribution make; recordings do not repeat them.
    private static let nodeSettings = [
        "net.ipv4.ip_forward": "1", "net.ipv4.conf.all.rp_filter": "2", "net.ipv4.conf.all.route_localnet": "1", "net.bridge.bridge-nf-call-iptables": "1",
    ]

    /// The network before the first packet. Throws `Unsupported`, or `ComparisonError` for a description that makes no sense.
    func topology() throws -> Topology {
        // A machine that others use as their gateway is a router.
        let gateways = Set(hosts.flatMap(\.routes).compactMap { RouteDescription($0)?.gateway })
        return Topology(
            hosts: try hosts.map { host in
                guard let kind = HostDescription.Kind(rawValue: host.kind) else { throw Unsupported("\(host.name): a host of kind \(host.kind)") }
                if host.routes6?.isEmpty == false { throw Unsupported("\(host.name): IPv6") }
                var result = HostDescription(name: host.name, kind: kind, node: host.node)
                result.interfaces = try host.interfaces.map { try interface($0, of: host) }
                result.routes = try host.routes.map { text in
                    guard let route = RouteDescription(text) else { throw Unsupported("\(host.name): the route \"\(text)\"") }
                    return route
                }
                result.neighbours = (host.neighbours ?? []).compactMap { line in
                    let words = line.split(separator: " ").map(String.init)
                    guard words.count >= 5, let address = IPv4Address(words[0]), let mac = MACAddress(words[4]) else { return nil }
                    return NeighbourDescription(address: address, device: words[2], mac: mac)
                }
                result.iptables = host.iptables ?? []
                let addresses = result.interfaces.flatMap(\.addresses).map(\.address)
                if kind == .node { result.sysctls = RecordedScenario.nodeSettings }
                if kind == .external, addresses.contains(where: gateways.contains) { result.sysctls = ["net.ipv4.ip_forward": "1"] }
                return result
            })
    }

    /// Seconds as a recording writes them.
    static func duration(_ seconds: Double) throws -> Duration {
        guard 0...1e9 ~= seconds else { throw Unsupported("a time of \(seconds) seconds") }
        return .nanoseconds(Int64(seconds * 1e9))
    }

    private func interface(_ interface: Interface, of host: Host) throws -> InterfaceDescription {
        let kind: InterfaceDescription.Kind
        switch interface.kind {
        case nil where interface.name == "lo": kind = .loopback
        case "bridge": kind = .bridge(ageing: try interface.ageing_time.map(RecordedScenario.duration) ?? describedAgeing ?? .seconds(300))
        case "dummy": kind = .dummy
        case "veth":
            let parts = (interface.peer ?? "").split(separator: "/").map(String.init)
            guard parts.count == 2 else { throw Unsupported("\(host.name): \(interface.name) has no peer") }
            kind = .veth(peerHost: parts[0], peerInterface: parts[1])
        case "vxlan": throw Unsupported("VXLAN (\(host.name): \(interface.name))")
        default: throw Unsupported("\(host.name): \(interface.name) of kind \(interface.kind ?? "none")")
        }
        var result = InterfaceDescription(
            name: interface.name, kind: kind, mac: interface.mac.flatMap { MACAddress($0) } ?? .zero, mtu: interface.mtu,
            addresses: interface.addresses.compactMap { IPv4InterfaceAddress($0) }, master: interface.master)
        result.hairpin = interface.hairpin ?? false
        return result
    }

    /// The one setting that recordings tell in words alone: "The bridge forgets addresses after one second".
    private var describedAgeing: Duration? {
        let words = ["one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "ten": 10]
        guard let match = description.firstMatch(of: /forgets addresses after (\w+) seconds?/) else { return nil }
        let number = String(match.1)
        return (words[number] ?? Int64(number).map(Int.init)).map { .seconds(Int64($0)) }
    }
}
