/// Compares a segment the host sent with the one the script expects, both in the script's numbers.
struct PacketMatcher {
    enum Verdict: Equatable {
        case same
        /// Only the PSH flag differs: Linux's buffer layout, not the protocol.
        case pushOnly
        /// What differs, in words.
        case different(String)
    }

    /// Compares everything but IP fields and time.
    static func compare(expected: ScriptSegment, actual: ScriptSegment) -> Verdict {
        var differing: [String] = []
        let flags = expected.flags.symmetricDifference(actual.flags)
        if !flags.subtracting(.psh).isEmpty { differing.append("flags") }
        if expected.start != actual.start { differing.append("sequence number") }
        if expected.length != actual.length { differing.append("length") }
        if (expected.acknowledgment ?? 0) != (actual.acknowledgment ?? 0) { differing.append("acknowledgment") }
        if let window = expected.window, window != actual.window { differing.append("window") }
        if (expected.urgent ?? 0) != (actual.urgent ?? 0) { differing.append("urgent pointer") }
        if !expected.anyOptions, !sameOptions(expected.options, actual.options) { differing.append("options") }
        if !differing.isEmpty { return .different(differing.joined(separator: ", ")) }
        return flags.contains(.psh) ? .pushOnly : .same
    }

    /// Same kinds in the same order with the same values; timestamps are compared elsewhere, if at all.
    private static func sameOptions(_ expected: [ScriptTCPOption], _ actual: [ScriptTCPOption]) -> Bool {
        guard expected.count == actual.count else { return false }
        for (a, b) in zip(expected, actual) {
            switch (a, b) {
            case (.timestamps, .timestamps): continue
            default: if a != b { return false }
            }
        }
        return true
    }

    /// TOS, ECN and TTL, where the script says something; nil if they agree.
    static func compare(_ expected: ScriptIPFields, _ actual: WireSegment) -> String? {
        let ecn = actual.typeOfService & 3
        switch expected.congestion {
        case nil: break
        case .noecn: if ecn != 0 { return "ECN \(name(ecn))" }
        case .ect0: if ecn != 2 { return "ECN \(name(ecn))" }
        case .ect1: if ecn != 1 { return "ECN \(name(ecn))" }
        case .ce: if ecn != 3 { return "ECN \(name(ecn))" }
        case .ect01: if ecn != 1, ecn != 2 { return "ECN \(name(ecn))" }
        }
        if let tos = expected.typeOfService, tos != actual.typeOfService { return "tos 0x\(String(actual.typeOfService, radix: 16))" }
        if let ttl = expected.timeToLive, ttl != actual.timeToLive { return "ttl \(actual.timeToLive)" }
        return nil
    }

    private static func name(_ ecn: UInt8) -> String { ["noecn", "ect1", "ect0", "ce"][Int(ecn & 3)] }

    /// Whether `next` goes on where `first` (already `length` bytes long) stops, as pieces of one large segment of Linux's do.
    static func continues(_ first: WireSegment, _ next: WireSegment, length: Int, pieceLength: Int) -> Bool {
        next.source == first.source && next.length > 0 && next.length <= pieceLength && next.sequence == first.sequence &+ UInt32(length)
            && next.acknowledgment == first.acknowledgment && next.window == first.window && sameOptions(first.options, next.options)
            && next.flags.subtracting([.psh, .fin, .cwr]) == first.flags.subtracting([.psh, .fin, .cwr])
    }
}
