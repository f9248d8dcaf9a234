/// Packets in script notation, so that a mismatch reads as a one-line difference.
extension ScriptFlags: CustomStringConvertible {
    var description: String {
        let text = String(ScriptFlags.letters.filter { contains($0.1) }.map(\.0))
        return text.isEmpty ? "-" : text
    }
}

extension ScriptTCPOption: CustomStringConvertible {
    var description: String {
        switch self {
        case .maximumSegment(let size): "mss \(size)"
        case .windowScale(let shift): "wscale \(shift)"
        case .selectiveAcksPermitted: "sackOK"
        case .selectiveAcks(let blocks): "sack " + blocks.map { "\($0.start):\($0.end)" }.joined(separator: " ")
        case .timestamps(let value, let echo): "TS val \(value) ecr \(echo)"
        case .noOperation: "nop"
        case .endOfList: "eol"
        case .fastOpen(let cookie): cookie.isEmpty ? "FO" : "FO \(hex(cookie))"
        case .fastOpenExperiment(let cookie): cookie.isEmpty ? "FOEXP" : "FOEXP \(hex(cookie))"
        case .md5(let digest): "md5 \(hex(digest))"
        case .accurateECN(let counters): "ECN \(counters)"
        }
    }
    private func hex(_ bytes: [UInt8]) -> String { bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
}

extension ScriptSegment: CustomStringConvertible {
    var description: String {
        var text = "\(flags) \(start):\(start &+ UInt32(length))(\(length))"
        if let ports { text = "\(ports.source) > \(ports.destination) " + text }
        if let acknowledgment { text += " ack \(acknowledgment)" }
        if let window { text += " win \(window)" }
        if let urgent { text += " urg \(urgent)" }
        if anyOptions { text += " <...>" } else if !options.isEmpty { text += " <\(options.map(\.description).joined(separator: ","))>" }
        return text
    }
}

extension ScriptIPFields: CustomStringConvertible {
    var description: String {
        var words: [String] = []
        if let congestion { words.append(congestion.rawValue) }
        if let typeOfService { words.append("tos 0x" + String(typeOfService, radix: 16)) }
        if let timeToLive { words.append("ttl \(timeToLive)") }
        if let flowLabel { words.append("flowlabel 0x" + String(flowLabel, radix: 16)) }
        return words.isEmpty ? "" : "(\(words.joined(separator: ","))) "
    }
}
