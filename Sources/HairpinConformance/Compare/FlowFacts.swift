import HairpinWire

/// What an interface showed, without order and numbers: the connections and exchanges, their ends, paths and sizes.
struct FlowFacts {
    private struct Connection {
        var ends: String
        var hops: Set<String> = []
        var flags: TCPFlags = []
        /// The highest byte sent, which counts what was delivered rather than what was repeated.
        var top = 0
        var options = ""
    }

    static func facts(of packets: [Dissection], _ names: CaptureNames) -> Set<String> {
        var facts: Set<String> = []
        var connections: [RelativeSequences.Flow: Connection] = [:]
        var sequences = RelativeSequences()
        for outer in packets {
            var packet = outer
            var tunnel = ""
            if case .tunnelled(let inner) = outer.nested, let ip = outer.ip {
                tunnel = "VXLAN vni=\(outer.vxlanIdentifier) \(names.ip(ip.source)) > \(names.ip(ip.destination)) ttl=\(ip.timeToLive) | "
                packet = inner
            }
            let path = "\(tunnel)\(names.roleOfMAC(packet.source)) > \(names.roleOfMAC(packet.destination))"
            if let arp = packet.arp {
                facts.insert("ARP \(arp.operation) \(path) \(names.roleOfIP(.v4(arp.senderProtocol))) asks/tells \(names.roleOfIP(.v4(arp.targetProtocol)))")
                continue
            }
            guard let ip = packet.ip else { continue }
            let ends = "\(names.roleOfIP(ip.source)) > \(names.roleOfIP(ip.destination))"
            let hop = "\(path) ttl=\(ip.timeToLive)"
            if let tcp = packet.tcp {
                let flow = RelativeSequences.Flow(ip, tcp)
                let sequence = Int(sequences.relative(flow, tcp).sequence)
                var connection = connections[flow] ?? Connection(ends: ends)
                connection.hops.insert(hop)
                connection.flags.formUnion(tcp.flags.intersection([.syn, .fin, .rst]))
                let isOpening = tcp.flags.contains(.syn)
                connection.top = max(connection.top, sequence + tcp.length - (isOpening ? 0 : 1))
                if isOpening { connection.options = CanonicalLines.options(tcp.options, edgeBase: 0, level: .flow) }
                connections[flow] = connection
            } else if let udp = packet.udp {
                facts.insert("UDP \(ends) \(names.flowPort(udp.sourcePort)) > \(names.flowPort(udp.destinationPort)) len=\(udp.length) | \(hop)")
            } else if let icmp = packet.icmp {
                var quote = ""
                if case .quoted(let inner) = packet.nested, let quoted = inner.ip {
                    quote = " quoting \(names.roleOfIP(quoted.source)) > \(names.roleOfIP(quoted.destination))"
                }
                facts.insert("ICMP \(ends) \(icmp.type)/\(icmp.code)\(quote) | \(hop)")
            } else {
                facts.insert("IP \(ends) proto=\(ip.proto) | \(hop)")
            }
        }
        for (flow, connection) in connections {
            let letters = [(TCPFlags.syn, "S"), (.fin, "F"), (.rst, "R")].filter { connection.flags.contains($0.0) }.map(\.1).joined()
            facts.insert(
                "TCP \(connection.ends) \(names.flowPort(flow.sourcePort)) > \(names.flowPort(flow.destinationPort)) flags=\(letters.isEmpty ? "-" : letters) "
                    + "bytes=\(connection.top) <\(connection.options)> | " + connection.hops.sorted().joined(separator: " , "))
        }
        return facts
    }
}
