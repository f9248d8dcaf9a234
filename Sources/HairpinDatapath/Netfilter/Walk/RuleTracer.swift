import HairpinWire

/// The first packet of a connection, as rules see it.
public struct TracedPacket: Sendable, Hashable {
    public var source: IPv4Address
    public var destination: IPv4Address
    public var proto: UInt8
    /// Of TCP, UDP and SCTP.
    public var sourcePort: UInt16 = 0
    public var destinationPort: UInt16 = 0
    public var icmpType: UInt8 = 8
    public var icmpCode: UInt8 = 0
    /// A SYN.
    public var tcpFlags: UInt8 = 0x02
    /// Bytes of the whole IP packet.
    public var length: UInt16 = 60
    public var timeToLive: UInt8 = 64
    /// Empty where the packet has none: a process's own has no input.
    public var input = ""
    public var output = ""
    /// Ports of the bridge `input` or `output` is.
    public var physicalInput = ""
    public var physicalOutput = ""

    public init(source: IPv4Address, destination: IPv4Address, proto: UInt8, sourcePort: UInt16 = 0, destinationPort: UInt16 = 0) {
        self.source = source
        self.destination = destination
        self.proto = proto
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
    }

    /// Four bytes from an offset, of the headers as far as they are known here; nil beyond the packet's end.
    func word(at offset: UInt64) -> UInt32? {
        guard offset + 4 <= UInt64(length) else { return nil }
        var bytes = [UInt8](repeating: 0, count: 40)
        func put(_ value: UInt32, _ count: Int, _ at: Int) { for n in 0..<count { bytes[at + n] = UInt8(truncatingIfNeeded: value >> UInt32(8 * (count - 1 - n))) } }
        (bytes[0], bytes[8], bytes[9]) = (0x45, timeToLive, proto)
        put(UInt32(length), 2, 2)
        put(source.rawValue, 4, 12)
        put(destination.rawValue, 4, 16)
        if proto == 1 { (bytes[20], bytes[21]) = (icmpType, icmpCode) } else {
            put(UInt32(sourcePort), 2, 20)
            put(UInt32(destinationPort), 2, 22)
        }
        if proto == 6 { (bytes[32], bytes[33]) = (0x50, tcpFlags) }
        var result: UInt32 = 0
        for n in 0..<4 { result = result << 8 | (Int(offset) + n < 40 ? UInt32(bytes[Int(offset) + n]) : 0) }
        return result
    }
}

/// What rules ask of the node they stand on.
public struct TraceSurroundings: Sendable {
    /// Whether an address is the node's own; of one interface only where that is named.
    public var isLocal: @Sendable (IPv4Address, String?) -> Bool
    public var isBroadcast: @Sendable (IPv4Address) -> Bool = { _ in false }
    /// Interface, and the bridge's port, by which packets to an address leave. Not asked for local addresses.
    public var way: @Sendable (IPv4Address) -> (interface: String, port: String)
    /// Source, input, whether any way back is enough, whether the node's own addresses are.
    public var isWayBack: @Sendable (IPv4Address, String, Bool, Bool) -> Bool = { _, _, _, _ in true }
    /// The source that masquerading gives packets which leave by an interface; nil where that is not known.
    public var masqueradeAddress: @Sendable (String) -> IPv4Address? = { _ in nil }
    public init(isLocal: @escaping @Sendable (IPv4Address, String?) -> Bool, way: @escaping @Sendable (IPv4Address) -> (interface: String, port: String)) {
        self.isLocal = isLocal
        self.way = way
    }
}

/// One of the things that may become of a packet.
public struct TraceOutcome: Sendable {
    public enum Verdict: Sendable, Hashable {
        case accept, drop
        /// With the name of `--reject-with`.
        case reject(String)
    }
    public var verdict: Verdict
    /// Of all packets like it, the share for which this becomes of them.
    public var probability: Double
    /// The rule that dropped, rejected or last accepted it; nil where only policies spoke.
    public var rule: RuleReference?
    /// The policy that dropped it, or where no rule did the one of the filter table that accepted it.
    public var policy: RuleReference?
    /// Where it goes, and by which rule it was sent there.
    public var destination: IPv4Address
    public var destinationPort: UInt16
    public var translated: RuleReference?
    /// The rule by which its source changes; `source` is nil for masquerading, whose address is the interface's.
    public var masqueraded: RuleReference?
    public var source: IPv4Address?
    public var mark: UInt32
    public var isLocal: Bool
    /// Every rule that took the packet, in order.
    public var path: [RuleReference]
}

/// Answers what becomes of a first packet on a node with these rules, by walking them: every outcome with its probability, and the rules by line.
public struct RuleTracer {
    private var walk: RuleWalk

    public init(_ rules: RuleSet, _ surroundings: TraceSurroundings) { walk = RuleWalk(rules, surroundings, .all) }

    private struct Fate {
        var state: WalkState
        var deciding: RuleReference?
        var policy: RuleReference?
        var translated: RuleReference?
        var masqueraded: RuleReference?
        var source: IPv4Address?
        var isLocal = false
        var verdict: TraceOutcome.Verdict?
    }

    /// `isFromHere`: a process on the node sends it, so it begins at OUTPUT.
    public mutating func trace(_ packet: TracedPacket, isFromHere: Bool) -> [TraceOutcome] {
        var state = WalkState(packet: packet)
        if isFromHere { setWay(&state) }
        var fates = pass([Fate(state: state)], .raw, isFromHere ? .localOut : .prerouting)
        for index in fates.indices where fates[index].state.info != .untracked { beginConnection(&fates[index].state) }
        fates = pass(fates, .mangle, isFromHere ? .localOut : .prerouting)
        fates = pass(fates, .nat, isFromHere ? .localOut : .prerouting)
        if !isFromHere { fates = pass(fates, .security, .prerouting) }
        for index in fates.indices {
            fates[index].isLocal = walk.surroundings.isLocal(fates[index].state.packet.destination, nil)
            if isFromHere || !fates[index].isLocal { setWay(&fates[index].state) }
        }
        if isFromHere {
            fates = pass(pass(fates, .filter, .localOut), .security, .localOut)
            for table in [RuleSet.Table.mangle, .nat, .security] { fates = pass(fates, table, .postrouting) }
            // What the node sends to itself comes in again on its loopback.
            var local: [Fate] = []
            var far: [Fate] = []
            for fate in fates { if fate.isLocal { local.append(fate) } else { far.append(fate) } }
            for index in local.indices { (local[index].state.packet.input, local[index].state.packet.output) = ("lo", "") }
            return finish(pass(pass(pass(local, .mangle, .prerouting), .mangle, .localIn), .filter, .localIn) + far)
        }
        var local: [Fate] = []
        var far: [Fate] = []
        for fate in fates { if fate.isLocal { local.append(fate) } else { far.append(fate) } }
        for table in [RuleSet.Table.mangle, .filter, .security, .nat] { local = pass(local, table, .localIn) }
        for index in far.indices { far[index].state.packet.timeToLive &-= 1 }
        for table in [RuleSet.Table.mangle, .filter, .security] { far = pass(far, table, .forward) }
        for table in [RuleSet.Table.mangle, .nat, .security] { far = pass(far, table, .postrouting) }
        return finish(local + far)
    }

    private func setWay(_ state: inout WalkState) {
        if walk.surroundings.isLocal(state.packet.destination, nil) {
            (state.packet.output, state.packet.physicalOutput) = ("lo", "")
            return
        }
        let (interface, port) = walk.surroundings.way(state.packet.destination)
        state.packet.output = interface
        // The port of a bridge is known where the packet does not go through routing: in from one port and out of another.
        state.packet.physicalOutput = interface == state.packet.input && !state.packet.physicalInput.isEmpty ? port : ""
    }

    private func beginConnection(_ state: inout WalkState) {
        let packet = state.packet
        let hasPorts = [6, 17, 132, 136].contains(packet.proto)
        state.hasConnection = true
        state.info = .new
        state.original = ConnectionTuple(
            source: packet.source.rawValue, destination: packet.destination.rawValue, sourcePort: hasPorts ? packet.sourcePort : 0,
            destinationPort: hasPorts ? packet.destinationPort : 0, proto: packet.proto)
        state.reply = state.original.inverse
    }

    /// One table at one hook, for all that are still on their way.
    private mutating func pass(_ fates: [Fate], _ table: RuleSet.Table, _ hook: Hook) -> [Fate] {
        var result: [Fate] = []
        for fate in fates {
            guard fate.verdict == nil, table != .nat || fate.state.hasConnection else {
                result.append(fate)
                continue
            }
            var state = fate.state
            if hook == .prerouting || hook == .localIn { (state.packet.output, state.packet.physicalOutput) = ("", "") }
            if hook == .postrouting { state.packet.physicalInput = "" }
            for (end, how) in walk.walk(table, hook, state) {
                var next = fate
                next.state = end
                (next.state.packet.input, next.state.packet.physicalInput) = (fate.state.packet.input, fate.state.packet.physicalInput)
                (next.state.packet.output, next.state.packet.physicalOutput) = (fate.state.packet.output, fate.state.packet.physicalOutput)
                switch how.verdict {
                case .accept:
                    if table == .filter, how.rule != nil { next.deciding = how.rule }
                    if table == .filter, let policy = how.policy { next.policy = policy }
                case .drop: (next.verdict, next.deciding, next.policy) = (.drop, how.rule, how.policy)
                case .reject(let kind): (next.verdict, next.deciding) = (.reject(RuleTargets.name(kind)), how.rule)
                case .translate(let range, let isSource): translate(&next, range, isSource: isSource, how.rule)
                case .redirect(let range):
                    var range = range
                    (range.low, range.high) = (IPv4Address.loopback.rawValue, IPv4Address.loopback.rawValue)
                    translate(&next, range, isSource: false, how.rule)
                case .masquerade:
                    next.masqueraded = how.rule
                    next.state.isSourceTranslated = true
                    // For what stands behind the translation.
                    if let own = walk.surroundings.masqueradeAddress(next.state.packet.output) { next.state.packet.source = own }
                }
                result.append(next)
            }
        }
        return result
    }

    private func translate(_ fate: inout Fate, _ range: TranslationRange, isSource: Bool, _ rule: RuleReference?) {
        var tuple = fate.state.original
        (tuple.source, tuple.destination) = (fate.state.packet.source.rawValue, fate.state.packet.destination.rawValue)
        if range.mapsAddress {
            let address = IPv4Address(rawValue: range.address(for: tuple))
            if isSource { fate.source = address } else { fate.state.packet.destination = address }
        }
        if let ports = range.ports {
            // Of several ports the kernel keeps one that is in the range, else it draws.
            if isSource {
                if !ports.contains(fate.state.packet.sourcePort) { fate.state.packet.sourcePort = ports.low }
            } else if !ports.contains(fate.state.packet.destinationPort) {
                fate.state.packet.destinationPort = ports.low
            }
        }
        if isSource {
            fate.masqueraded = rule
            fate.state.isSourceTranslated = true
            if let address = fate.source { (fate.state.reply.destination, fate.state.packet.source) = (address.rawValue, address) }
        } else {
            fate.translated = rule
            fate.state.isDestinationTranslated = true
            (fate.state.reply.source, fate.state.reply.sourcePort) = (fate.state.packet.destination.rawValue, fate.state.packet.destinationPort)
        }
    }

    private func finish(_ fates: [Fate]) -> [TraceOutcome] {
        var result: [TraceOutcome] = []
        for fate in fates {
            result.append(
                TraceOutcome(
                    verdict: fate.verdict ?? .accept, probability: fate.state.probability, rule: fate.deciding, policy: fate.policy, destination: fate.state.packet.destination,
                    destinationPort: fate.state.packet.destinationPort, translated: fate.translated, masqueraded: fate.masqueraded, source: fate.source,
                    mark: fate.state.mark, isLocal: fate.isLocal, path: fate.state.path))
        }
        return result
    }
}

extension RuleTargets {
    /// As `--reject-with` has it.
    static func name(_ kind: RejectKind) -> String {
        switch kind {
        case .tcpReset: "tcp-reset"
        case .icmp(let code): rejects.first { $0.2 == code }?.0 ?? "icmp code \(code)"
        }
    }
}
