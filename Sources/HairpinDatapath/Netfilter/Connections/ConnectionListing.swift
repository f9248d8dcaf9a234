import HairpinEngine
import HairpinWire

// `conntrack -L`.
extension ConnectionTable {
    /// The entries of the table, oldest place first, as `conntrack -L` prints them.
    mutating func lines(now: Instant) -> [String] {
        sweepAll(now: now.nanoseconds)
        return (0..<used).compactMap { place in
            let entry = entries[place]
            return entry.status.contains(.confirmed) ? entry.line(now: now) : nil
        }
    }

    /// Removes the entries for which `isDoomed` holds (`conntrack -D`) and says how many they were.
    mutating func removeAll(where isDoomed: (_ original: ConnectionTuple, _ reply: ConnectionTuple) -> Bool) -> Int {
        var count = 0
        for place in 0..<used where entries[place].status.contains(.confirmed) && isDoomed(entries[place].original, entries[place].reply) {
            remove(place)
            count += 1
        }
        return count
    }
}

extension Connection {
    func line(now: Instant) -> String {
        let name = RuleParser.protocolName(original.proto)
        let seconds = expires > now.nanoseconds ? (expires - now.nanoseconds) / 1_000_000_000 : 0
        func padded(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(0, width - text.utf8.count)) }
        func text(_ tuple: ConnectionTuple) -> String {
            let addresses = "src=\(IPv4Address(rawValue: tuple.source)) dst=\(IPv4Address(rawValue: tuple.destination))"
            switch tuple.proto {
            case 6, 17, 132, 136: return "\(addresses) sport=\(tuple.sourcePort) dport=\(tuple.destinationPort)"
            case 1: return "\(addresses) type=\(tuple.destinationPort >> 8) code=\(tuple.destinationPort & 0xff) id=\(tuple.sourcePort)"
            default: return addresses
            }
        }
        var parts = ["\(padded(name, 8)) \(original.proto) \(seconds)"]
        if original.proto == 6 { parts.append(tcp.state.name) }
        parts.append(text(original))
        if !status.contains(.seenReply) { parts.append("[UNREPLIED]") }
        parts.append(text(reply))
        if status.contains(.assured) { parts.append("[ASSURED]") }
        parts.append("mark=\(mark)")
        parts.append("use=1")
        return parts.joined(separator: " ")
    }
}
