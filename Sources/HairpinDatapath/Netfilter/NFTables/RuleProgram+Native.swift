import HairpinWire

// What rules of nftables ask and do beyond those of iptables.
extension RuleProgram {
    /// A field of a packet; nil where it has none, which ends the rule (NFT_BREAK).
    @inline(never)
    mutating func value<E: NetfilterEnvironment>(
        _ value: PacketValue, _ place: HookPlace, _ frame: UnsafeMutablePointer<Frame>, _ packet: PacketHeaders,
        _ connection: UnsafeMutablePointer<Connection>?, _ env: inout E
    ) -> UInt32? {
        switch value.field {
        case .sourceAddress: return value.of(packet.source)
        case .destinationAddress: return value.of(packet.destination)
        case .proto: return value.of(UInt32(packet.proto))
        case .port(let side, let proto):
            guard packet.hasPorts, proto == 0 || packet.proto == proto else { return nil }
            return value.of(UInt32(side == .source ? packet.sourcePort : packet.destinationPort))
        case .network(let offset, let bytes): return value.of(RuleProgram.word(packet.network, Int(offset), bytes))
        case .transport(let proto, let offset, let bytes):
            guard packet.proto == proto, packet.hasTransport else { return nil }
            return value.of(RuleProgram.word(packet.transport, Int(offset), bytes))
        case .mark: return value.of(frame.pointee.mark)
        case .length: return value.of(UInt32(packet.totalLength))
        case .connectionState: return value.of(frame.pointee.connectionInfo.stateBits)
        case .connectionMark: return connection.map { value.of($0.pointee.mark) }
        case .connectionProtocol: return connection.map { value.of(UInt32($0.pointee.original.proto)) }
        case .connectionStatus: return connection.map { value.of(UInt32($0.pointee.status.rawValue & PacketValue.statusBits)) }
        case .connectionDirection: return connection.map { _ in value.of(frame.pointee.connectionInfo.isReply ? 1 : 0) }
        case .connectionAddress(let field): return connection.map { value.of(field.address($0.pointee.original, $0.pointee.reply)) }
        case .connectionPort(let field): return connection.map { value.of(UInt32(field.port($0.pointee.original, $0.pointee.reply))) }
        case .inputName: return value.of(number(of: place.input, env))
        case .outputName: return value.of(number(of: place.output, env))
        case .packetType: return value.of(frame.pointee.flags.contains(.broadcast) ? 1 : frame.pointee.flags.contains(.multicast) ? 2 : 0)
        // One of one is not drawn, as where Services are looked up by table.
        case .random(let modulus, let offset): return value.of((modulus == 1 ? 0 : PacketValue.scaled(env.random32(), modulus)) &+ offset)
        case .counting(let modulus, let offset, let slot):
            let seen = slots[2 * Int(slot)]
            slots[2 * Int(slot)] = seen &+ 1
            return value.of(UInt32(truncatingIfNeeded: seen % UInt64(modulus)) &+ offset)
        }
    }

    private static func word(_ header: UnsafeMutableRawPointer, _ offset: Int, _ bytes: UInt8) -> UInt32 {
        switch bytes {
        case 1: UInt32(header.u8(offset))
        case 2: UInt32(header.u16(offset))
        default: header.u32(offset)
        }
    }

    private func number<E: NetfilterEnvironment>(of interface: InterfaceIndex, _ env: E) -> UInt32 {
        elements.interfaces[interface == .none ? "" : env.name(of: interface)] ?? PacketValue.noName
    }

    private mutating func key<E: NetfilterEnvironment>(
        _ lookup: ElementLookup, _ place: HookPlace, _ frame: UnsafeMutablePointer<Frame>, _ packet: PacketHeaders,
        _ connection: UnsafeMutablePointer<Connection>?, _ env: inout E
    ) -> ElementKey? {
        var key = ElementKey()
        for (index, part) in lookup.key.enumerated() {
            guard let word = value(part, place, frame, packet, connection, &env) else { return nil }
            key[index] = word
        }
        return key
    }

    /// Whether a rule's question to a set is answered as it wants.
    @inline(never)
    mutating func isElement<E: NetfilterEnvironment>(
        _ index: Int, _ place: HookPlace, _ frame: UnsafeMutablePointer<Frame>, _ packet: PacketHeaders,
        _ connection: UnsafeMutablePointer<Connection>?, _ env: inout E
    ) -> Bool {
        let lookup = native.lookups[index]
        guard let key = key(lookup, place, frame, packet, connection, &env) else { return false }
        return (elements.sets[lookup.set].find(key, now: env.now.nanoseconds) != nil) != lookup.isInverted
    }

    @inline(never)
    mutating func isWithin<E: NetfilterEnvironment>(
        _ index: Int, _ place: HookPlace, _ frame: UnsafeMutablePointer<Frame>, _ packet: PacketHeaders,
        _ connection: UnsafeMutablePointer<Connection>?, _ env: inout E
    ) -> Bool {
        let test = native.values[index]
        guard let value = value(test.value, place, frame, packet, connection, &env) else { return false }
        return test.holds(value)
    }

    /// What an action that has to be looked up comes to; nil where the rule ends without one.
    @inline(never)
    mutating func resolve<E: NetfilterEnvironment>(
        _ action: RuleAction, _ place: HookPlace, _ handle: FrameHandle, _ packet: inout PacketHeaders,
        _ connection: UnsafeMutablePointer<Connection>?, _ pool: inout FramePool, _ env: inout E
    ) -> RuleAction? {
        let frame = pool[handle]
        switch action {
        case .verdicts(let index):
            let lookup = native.lookups[Int(index)]
            guard let key = key(lookup, place, frame, packet, connection, &env),
                case .verdict(let number) = elements.sets[lookup.set].find(key, now: env.now.nanoseconds)
            else { return nil }
            return verdictActions[number]
        case .translateMapped(let index):
            let mapped = native.translations[Int(index)]
            guard let key = key(mapped.lookup, place, frame, packet, connection, &env),
                case .words(let address, let port) = elements.sets[mapped.lookup.set].find(key, now: env.now.nanoseconds)
            else { return nil }
            let range = mapped.range.to(address, port)
            return mapped.isSource ? .translateSource(range) : .translateDestination(range)
        case .assignMark(let index):
            let assignment = native.assignments[Int(index)]
            var word: UInt32?
            switch assignment.source {
            case .value(let source): word = value(source, place, frame, packet, connection, &env)
            case .map(let lookup):
                if let key = key(lookup, place, frame, packet, connection, &env), case .words(let found, _) = elements.sets[lookup.set].find(key, now: env.now.nanoseconds) {
                    word = found
                }
            }
            guard let word else { return nil }
            return assignment.isConnection ? .setConnectionMark(word, mask: ~0) : .mark(word, mask: ~0)
        case .changeElements(let index):
            let change = native.changes[Int(index)]
            guard let key = key(change.lookup, place, frame, packet, connection, &env),
                elements.sets[change.lookup.set].change(change.kind, key, timeout: change.timeout, now: env.now.nanoseconds)
            else { return nil }
            return RuleAction.none
        case .sequence(let index):
            let sequence = native.sequences[Int(index)]
            for step in sequence.steps {
                switch step {
                case .test(let test): guard passes(test, place, pool[handle], packet, connection, &env) else { return nil }
                case .act(let action):
                    guard let plain = resolve(action, place, handle, &packet, connection, &pool, &env) else { return nil }
                    change(plain, place, handle, &packet, connection, &pool, env)
                }
            }
            return resolve(sequence.last, place, handle, &packet, connection, &pool, &env)
        default: return action
        }
    }
}

extension PacketValue {
    /// The bits of `ConnectionStatus` that are the kernel's.
    static let statusBits: UInt16 = 1 | 2 | 4 | 8 | 16 | 32 | 512

    /// `reciprocal_scale`: a random word as a number below `modulus`.
    @inline(__always)
    static func scaled(_ random: UInt32, _ modulus: UInt32) -> UInt32 { UInt32(truncatingIfNeeded: (UInt64(random) &* UInt64(modulus)) &>> 32) }
}

extension TranslationRange {
    /// The statement's range with an element's address and port.
    func to(_ address: UInt32, _ port: UInt32?) -> TranslationRange {
        var range = self
        (range.low, range.high, range.mapsAddress) = (address, address, true)
        if let port { range.ports = PortRange(low: UInt16(truncatingIfNeeded: port), high: UInt16(truncatingIfNeeded: port)) }
        return range
    }
}

extension ConnectionInfo {
    /// `NF_CT_STATE_BIT`, `NF_CT_STATE_INVALID_BIT`, `NF_CT_STATE_UNTRACKED_BIT`.
    var stateBits: UInt32 {
        switch self {
        case .none, .invalid: 1
        case .established, .establishedReply: 2
        case .related, .relatedReply: 4
        case .new: 8
        case .untracked: 64
        }
    }
}

extension ConnectionField {
    func address(_ original: ConnectionTuple, _ reply: ConnectionTuple) -> UInt32 {
        switch self {
        case .originalSource: original.source
        case .originalDestination: original.destination
        case .replySource: reply.source
        case .replyDestination: reply.destination
        }
    }
    func port(_ original: ConnectionTuple, _ reply: ConnectionTuple) -> UInt16 {
        switch self {
        case .originalSource: original.sourcePort
        case .originalDestination: original.destinationPort
        case .replySource: reply.sourcePort
        case .replyDestination: reply.destinationPort
        }
    }
}
