import HairpinTransport
import HairpinWire

/// One connection of the script: which addresses it has, and how its numbers on the wire relate to those in the script.
final class ScriptConnection {
    /// As the host under test sends.
    var pair: WireSegment.SocketPair
    var socket: SocketID?
    /// First sequence numbers, real and of the script.
    var localStart: (real: UInt32, script: UInt32)?
    var remoteStart: (real: UInt32, script: UInt32)?
    /// Timestamps of the host under test: script value → real value.
    var timestamps: [UInt32: UInt32] = [:]
    var firstTimestamp: (script: UInt32, real: UInt32)?
    var isTupleKnown: Bool

    init(_ pair: WireSegment.SocketPair, isTupleKnown: Bool) { (self.pair, self.isTupleKnown) = (pair, isTupleKnown) }

    /// The numbers of a SYN, its acknowledgment too, are absolute in the script; those of every other segment count from the side's first number.
    func realLocal(_ script: UInt32) -> UInt32 { script &+ (localStart?.real ?? 0) }
    func realRemote(_ script: UInt32) -> UInt32 { script &+ (remoteStart?.real ?? 0) }
    func scriptLocal(_ real: UInt32) -> UInt32 { real &- (localStart?.real ?? 0) }
    func scriptRemote(_ real: UInt32) -> UInt32 { real &- (remoteStart?.real ?? 0) }

    func note(script: UInt32, real: UInt32) {
        timestamps[script] = real
        if firstTimestamp == nil { firstTimestamp = (script, real) }
    }

    /// What a segment of the host looks like in the script's numbers. Timestamps keep their real value where the script has no name for them.
    func inScript(_ segment: WireSegment) -> ScriptSegment {
        let isSYN = segment.flags.contains(.syn)
        let start = isSYN && localStart != nil ? segment.sequence &- localStart!.real &+ localStart!.script : scriptLocal(segment.sequence)
        var result = ScriptSegment(flags: segment.flags, start: start, length: segment.length)
        if segment.flags.contains(.ack) {
            result.acknowledgment = scriptRemote(segment.acknowledgment)
            if isSYN { result.acknowledgment = segment.acknowledgment &- (remoteStart?.real ?? 0) &+ (remoteStart?.script ?? 0) }
        }
        result.window = segment.window
        if segment.urgent != 0 { result.urgent = segment.urgent }
        result.options = segment.options.map { option in
            guard case .selectiveAcks(let blocks) = option else { return option }
            return .selectiveAcks(blocks.map { ScriptRange(start: scriptRemote($0.start), end: scriptRemote($0.end)) })
        }
        return result
    }
}
