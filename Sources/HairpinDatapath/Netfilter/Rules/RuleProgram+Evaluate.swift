import HairpinWire

/// What one table says of a packet.
enum RuleVerdict {
    case accept
    case drop
    case reject(RejectKind)
    /// A NAT target: set up the connection's binding, then go on.
    case translate(TranslationRange, isSource: Bool)
    /// As above; the address is the one of the interface the packet leaves by.
    case masquerade(TranslationRange)
    /// As above; the address is one of this host's.
    case redirect(TranslationRange)
}

extension RuleProgram {
    /// The base chain at `start`, and while the packet is accepted those behind it (`nf_hook_slow`; `nf_nat_inet_fn`: until there is a binding).
    @inline(__always)
    mutating func evaluateAll<E: NetfilterEnvironment>(
        from start: Int, _ others: [Int], _ place: HookPlace, _ handle: FrameHandle, _ packet: inout PacketHeaders,
        _ connection: UnsafeMutablePointer<Connection>?, _ pool: inout FramePool, _ env: inout E
    ) -> RuleVerdict {
        let verdict = evaluate(from: start, place, handle, &packet, connection, &pool, &env)
        guard !others.isEmpty, case .accept = verdict else { return verdict }
        return evaluateOthers(others, place, handle, &packet, connection, &pool, &env)
    }

    @inline(never)
    private mutating func evaluateOthers<E: NetfilterEnvironment>(
        _ others: [Int], _ place: HookPlace, _ handle: FrameHandle, _ packet: inout PacketHeaders, _ connection: UnsafeMutablePointer<Connection>?,
        _ pool: inout FramePool, _ env: inout E
    ) -> RuleVerdict {
        for start in others {
            let verdict = evaluate(from: start, place, handle, &packet, connection, &pool, &env)
            guard case .accept = verdict else { return verdict }
        }
        return .accept
    }

    /// Walks the chains of one table from its base chain at `start` (`ipt_do_table`).
    ///
    /// `connection` is the packet's entry, if it has one. The packet's headers are read again if a target rewrites them.
    @inline(__always)
    mutating func evaluate<E: NetfilterEnvironment>(
        from start: Int, _ place: HookPlace, _ handle: FrameHandle, _ packet: inout PacketHeaders,
        _ connection: UnsafeMutablePointer<Connection>?, _ pool: inout FramePool, _ env: inout E
    ) -> RuleVerdict {
        let frame = pool[handle]
        var index = start
        var depth = 0
        let length = UInt64(packet.totalLength)
        while true {
            let rule = rules + index
            guard matches(rule, place, frame, packet, connection, &env) else {
                let next = Int(rule.pointee.next)
                walked &+= UInt64(truncatingIfNeeded: next &- index)
                index = next
                continue
            }
            walked &+= 1
            rule.pointee.packets &+= 1
            rule.pointee.bytes &+= length
            var action = rule.pointee.action
            if rule.pointee.isIndirect {
                guard let plain = resolve(action, place, handle, &packet, connection, &pool, &env) else {
                    // The rule ends before its last statement: it was not met.
                    rule.pointee.packets &-= 1
                    rule.pointee.bytes &-= length
                    let next = Int(rule.pointee.next)
                    walked &+= UInt64(truncatingIfNeeded: next &- index &- 1)
                    index = next
                    continue
                }
                action = plain
            }
            // Those that break go on behind the rule.
            switch action {
            case .none: break
            case .dispatch(let table):
                let first = dispatch.first(table, packet)
                // Instead of itself, the rules it passes over.
                walked &+= UInt64(truncatingIfNeeded: first &- index &- 2)
                index = first
                continue
            case .accept: return .accept
            case .drop: return .drop
            case .policy(let accepts): return accepts ? .accept : .drop
            case .return:
                if depth == 0 {
                    // RETURN in a base chain: its policy.
                    index = Int(rule.pointee.end)
                } else {
                    depth -= 1
                    let caller = Int(stack[depth])
                    index = Int(rules[caller].next)
                    // Behind a jump of a stretch: rules that ask for something else.
                    walked &+= UInt64(truncatingIfNeeded: index &- caller &- 1)
                }
                continue
            case .jump(let target):
                stack[depth] = UInt32(index)
                depth += 1
                index = Int(target)
                continue
            case .goTo(let target):
                // From a base chain there is nobody to return to but its policy, which is what follows its last rule.
                if depth == 0 {
                    stack[0] = rule.pointee.end - 1
                    depth = 1
                }
                index = Int(target)
                continue
            case .services(let chain):
                if let verdict = consult(chain, frame, packet, &env) { return verdict }
            case .reject(let kind): return .reject(kind)
            case .mark(let value, let mask): frame.pointee.mark = frame.pointee.mark & ~mask ^ value
            case .translateDestination(let range): return .translate(range, isSource: false)
            case .translateSource(let range): return .translate(range, isSource: true)
            case .masquerade(let range): return .masquerade(range)
            case .redirect(let range): return .redirect(range)
            default: change(action, place, handle, &packet, connection, &pool, env)
            }
            let next = Int(rule.pointee.next)
            walked &+= UInt64(truncatingIfNeeded: next &- index &- 1)
            index = next
        }
    }

    /// What an action changes that lets the packet go on behind its rule.
    @inline(__always)
    mutating func change<E: NetfilterEnvironment>(
        _ action: RuleAction, _ place: HookPlace, _ handle: FrameHandle, _ packet: inout PacketHeaders, _ connection: UnsafeMutablePointer<Connection>?,
        _ pool: inout FramePool, _ env: E
    ) {
        let frame = pool[handle]
        switch action {
        case .mark(let value, let mask): frame.pointee.mark = frame.pointee.mark & ~mask ^ value
        case .setConnectionMark(let value, let mask):
            if let connection { connection.pointee.mark = connection.pointee.mark & ~mask ^ value }
        case .saveMark(let ours, let theirs):
            if let connection { connection.pointee.mark = connection.pointee.mark & ~ours ^ (frame.pointee.mark & theirs) }
        case .restoreMark(let ours, let theirs):
            if let connection { frame.pointee.mark = frame.pointee.mark & ~theirs ^ (connection.pointee.mark & ours) }
        case .untrack:
            if frame.pointee.connection == 0 { frame.pointee.connectionInfo = .untracked }
        case .changeSet(let number): changeSet(Int(number), packet, frame.pointee.mark, place, env)
        case .maximumSegmentSize(let size):
            let limit = size != 0 ? Int(size) : min(env.mtu(of: place.output), place.input == .none ? Int.max : env.mtu(of: place.input)) - 40
            clampSegmentSize(limit, always: size != 0, handle, place, &packet, &pool)
        case .setTimeToLive(let kind, let value): setTimeToLive(kind, value, handle, place, &packet, &pool)
        default: break
        }
    }

    @inline(__always)
    mutating func matches<E: NetfilterEnvironment>(
        _ rule: UnsafeMutablePointer<CompiledRule>, _ place: HookPlace, _ frame: UnsafeMutablePointer<Frame>, _ packet: PacketHeaders,
        _ connection: UnsafeMutablePointer<Connection>?, _ env: inout E
    ) -> Bool {
        let r = rule.pointee
        if (packet.source & r.sourceMask == r.source) == r.inverted.contains(.source) { return false }
        if (packet.destination & r.destinationMask == r.destination) == r.inverted.contains(.destination) { return false }
        if r.proto != 0, (packet.proto == r.proto) == r.inverted.contains(.proto) { return false }
        if r.input != 0, isInterface(place.input, Int(r.input) - 1, env) == r.inverted.contains(.input) { return false }
        if r.output != 0, isInterface(place.output, Int(r.output) - 1, env) == r.inverted.contains(.output) { return false }
        if r.secondFragments, packet.isLaterFragment == r.inverted.contains(.fragment) { return false }
        var test = Int(r.firstTest)
        let end = test + Int(r.testCount)
        while test < end {
            guard passes(tests[test], place, frame, packet, connection, &env) else { return false }
            test += 1
        }
        return true
    }

    mutating func passes<E: NetfilterEnvironment>(
        _ test: PacketTest, _ place: HookPlace, _ frame: UnsafeMutablePointer<Frame>, _ packet: PacketHeaders,
        _ connection: UnsafeMutablePointer<Connection>?, _ env: inout E
    ) -> Bool {
        switch test {
        case .transport(let proto):
            return packet.proto == proto && packet.hasTransport
        case .port(.source, let range, let inverted): return packet.hasPorts && range.contains(packet.sourcePort) != inverted
        case .port(_, let range, let inverted): return packet.hasPorts && range.contains(packet.destinationPort) != inverted
        case .tcpFlags(let mask, let set, let inverted):
            return packet.proto == 6 && packet.hasTransport && (packet.tcpFlags & mask == set) != inverted
        case .icmp(let type, let low, let high, let inverted):
            guard packet.proto == 1, packet.hasTransport else { return false }
            let code = packet.transport.u8(ICMPOffset.code)
            return (type == 255 || packet.transport.u8(ICMPOffset.type) == type && low <= code && code <= high) != inverted
        case .connectionState(let states, let inverted):
            return !states.isDisjoint(with: RuleProgram.states(frame.pointee.connectionInfo, connection)) != inverted
        case .connectionAddress(let field, let address, let mask, let inverted, let otherwise):
            guard let connection else { return otherwise }
            let value =
                switch field {
                case .originalSource: connection.pointee.original.source
                case .originalDestination: connection.pointee.original.destination
                case .replySource: connection.pointee.reply.source
                case .replyDestination: connection.pointee.reply.destination
                }
            return (value & mask == address) != inverted
        case .connectionPort(let field, let range, let inverted, let otherwise):
            guard let connection else { return otherwise }
            let value =
                switch field {
                case .originalSource: connection.pointee.original.sourcePort
                case .originalDestination: connection.pointee.original.destinationPort
                case .replySource: connection.pointee.reply.sourcePort
                case .replyDestination: connection.pointee.reply.destinationPort
                }
            return range.contains(value) != inverted
        case .connectionProtocol(let proto, let inverted, let otherwise):
            guard let connection else { return otherwise }
            return (connection.pointee.original.proto == proto) != inverted
        case .connectionReply(let reply, let otherwise):
            guard connection != nil else { return otherwise }
            return frame.pointee.connectionInfo.isReply == reply
        case .connectionStatus(let bits, let inverted, let otherwise):
            guard let connection else { return otherwise }
            return (bits == 0 ? connection.pointee.status.rawValue & 15 == 0 : connection.pointee.status.rawValue & bits != 0) != inverted
        case .mark(let value, let mask, let inverted): return (frame.pointee.mark & mask == value) != inverted
        case .connectionMark(let value, let mask, let inverted):
            guard let connection else { return false }
            return (connection.pointee.mark & mask == value) != inverted
        case .addressType(let side, let types, let inverted, let limited):
            let address = IPv4Address(rawValue: side == .source ? packet.source : packet.destination)
            return !types.isDisjoint(with: RuleProgram.type(of: address, place, limited, env)) != inverted
        case .ports(let side, let first, let count, let inverted):
            guard packet.hasPorts else { return false }
            var found = false
            for n in Int(first)..<Int(first) + Int(count) {
                let range = portRanges[n]
                if side != .destination && range.contains(packet.sourcePort) || side != .source && range.contains(packet.destinationPort) { found = true }
            }
            return found != inverted
        case .random(let bound, let inverted): return (env.random32() & 0x7fff_ffff < bound) != inverted
        case .nth(let every, let wanted, let slot, let inverted):
            let seen = slots[2 * Int(slot)]
            slots[2 * Int(slot)] = seen &+ 1
            return (seen % UInt64(every) == UInt64(wanted)) != inverted
        case .limit(let period, let burst, let slot, let inverted):
            return takeCredit(period, UInt64(burst) * period, Int(slot), now: env.now.nanoseconds) != inverted
        case .recent(let index):
            return recent(Int(index), packet, isForwarded: place.output != .none && frame.pointee.socket == 0, now: env.now.nanoseconds)
        case .length(let range, let inverted): return range.contains(UInt16(truncatingIfNeeded: packet.totalLength)) != inverted
        case .physicalDevice(.input, let pattern, let inverted):
            return (frame.pointee.physicalIn != .none && isInterface(frame.pointee.physicalIn, Int(pattern), env)) != inverted
        case .physicalDevice(.output, let pattern, let inverted):
            return (frame.pointee.physicalOut != .none && isInterface(frame.pointee.physicalOut, Int(pattern), env)) != inverted
        case .device(let side, let pattern, let inverted): return isInterface(side == .input ? place.input : place.output, Int(pattern), env) != inverted
        case .isPhysicalDevice(.input, let inverted): return (frame.pointee.physicalIn != .none) != inverted
        case .isPhysicalDevice(.output, let inverted): return (frame.pointee.physicalOut != .none) != inverted
        case .isBridged(let inverted): return (frame.pointee.physicalIn != .none && frame.pointee.physicalOut != .none) != inverted
        case .addressRange(let side, let low, let high, let inverted):
            let address = side == .source ? packet.source : packet.destination
            return (low <= address && address <= high) != inverted
        case .timeToLive(.equal, let value, let inverted): return (packet.timeToLive == value) != inverted
        case .timeToLive(.less, let value, _): return packet.timeToLive < value
        case .timeToLive(.greater, let value, _): return packet.timeToLive > value
        case .packetType(let kind, let inverted):
            let flags = frame.pointee.flags
            let actual: UInt8 = flags.contains(.broadcast) ? 1 : flags.contains(.multicast) ? 2 : 0
            return (actual == kind) != inverted
        case .set(let index): return isInSet(Int(index), packet, frame.pointee.mark, place, env)
        case .reversePath(let loose, let acceptsLocal, let inverted):
            return env.isWayBack(IPv4Address(rawValue: packet.source), by: place.input, loose: loose, acceptsLocal: acceptsLocal) != inverted
        case .universal(let index): return universal(Int(index), packet)
        case .within(let index): return isWithin(Int(index), place, frame, packet, connection, &env)
        case .element(let index): return isElement(Int(index), place, frame, packet, connection, &env)
        }
    }

    /// `conntrack_mt`: a packet without connection is INVALID unless raw said NOTRACK.
    private static func states(_ info: ConnectionInfo, _ connection: UnsafeMutablePointer<Connection>?) -> ConnectionStates {
        var states: ConnectionStates =
            switch info {
            case .new: .new
            case .established, .establishedReply: .established
            case .related, .relatedReply: .related
            case .untracked: .untracked
            case .none, .invalid: .invalid
            }
        if let connection {
            if connection.pointee.status.contains(.sourceTranslated) { states.insert(.sourceTranslated) }
            if connection.pointee.status.contains(.destinationTranslated) { states.insert(.destinationTranslated) }
        }
        return states
    }

    /// `inet_addr_type`.
    private static func type<E: NetfilterEnvironment>(of address: IPv4Address, _ place: HookPlace, _ limited: PhysicalSide?, _ env: E) -> AddressTypes {
        if address.rawValue == 0 { return [.unspecified, .broadcast] }
        if address.rawValue >> 24 == 0 || address.isBroadcast || env.isBroadcast(address) { return .broadcast }
        if address.isMulticast { return .multicast }
        let isLocal =
            switch limited {
            case .input: env.isLocal(address, on: place.input)
            case .output: env.isLocal(address, on: place.output)
            case nil: env.isLocal(address)
            }
        return isLocal ? .local : .unicast
    }

    /// `limit_mt`: credit grows with time up to `cap`.
    private func takeCredit(_ cost: UInt64, _ cap: UInt64, _ slot: Int, now: UInt64) -> Bool {
        // The second word is the time of the last packet plus one, zero before the first.
        let last = slots[2 * slot + 1]
        var credit = last == 0 ? cap : min(cap, slots[2 * slot] &+ (now - (last - 1)))
        slots[2 * slot + 1] = now + 1
        let passes = credit >= cost
        if passes { credit -= cost }
        slots[2 * slot] = credit
        return passes
    }

    /// TCPMSS: lowers the MSS option of a SYN (`tcpmss_mangle_packet`). A SYN without the option stays as it is.
    @inline(never)
    private func clampSegmentSize(
        _ limit: Int, always: Bool, _ handle: FrameHandle, _ place: HookPlace, _ packet: inout PacketHeaders, _ pool: inout FramePool
    ) {
        guard packet.proto == 6, packet.hasTransport, packet.tcpFlags & 0x02 != 0, limit > 0 else { return }
        let end = Int(packet.transport.u8(TCPOffset.dataOffset) >> 4) * 4
        var offset = TCPOffset.options
        while offset + 4 <= end {
            let kind = packet.transport.u8(offset)
            if kind == 0 { return }
            if kind == 1 {
                offset += 1
                continue
            }
            let length = Int(packet.transport.u8(offset + 1))
            if length < 2 { return }
            if kind == 2, length == 4 {
                let old = packet.transport.u16(offset + 2)
                let new = UInt16(truncatingIfNeeded: min(limit, 0xffff))
                // Never enlarged: the sender may have a reason.
                guard old > new else { return }
                pool.makeWritable(handle)
                guard let fresh = PacketHeaders(pool[handle], offset: place.networkOffset) else { return }
                packet = fresh
                packet.transport.put(new, at: offset + 2)
                if !pool[handle].pointee.flags.contains(.partialChecksum) {
                    // An option may begin at an odd offset: its bytes then lie in two words.
                    let (from, to) = offset % 2 == 0 ? (old, new) : (old.byteSwapped, new.byteSwapped)
                    packet.transport.put(InternetChecksum.update(packet.transport.u16(TCPOffset.checksum), from: from, to: to), at: TCPOffset.checksum)
                }
                return
            }
            offset += length
        }
    }

    @inline(never)
    private func setTimeToLive(
        _ kind: Comparison, _ value: UInt8, _ handle: FrameHandle, _ place: HookPlace, _ packet: inout PacketHeaders, _ pool: inout FramePool
    ) {
        let old = packet.timeToLive
        let new: UInt8 =
            switch kind {
            case .equal: value
            case .less: old > value ? old - value : 0
            case .greater: UInt8(clamping: Int(old) + Int(value))
            }
        guard new != old else { return }
        pool.makeWritable(handle)
        guard let fresh = PacketHeaders(pool[handle], offset: place.networkOffset) else { return }
        packet = fresh
        packet.setTimeToLive(new)
    }
}

extension PacketHeaders {
    /// Writes the TTL and repairs the header checksum (RFC 1624).
    func setTimeToLive(_ new: UInt8) {
        let old = network.u16(IPv4Offset.timeToLive)
        network.put(new, at: IPv4Offset.timeToLive)
        network.put(InternetChecksum.update(network.u16(IPv4Offset.checksum), from: old, to: network.u16(IPv4Offset.timeToLive)), at: IPv4Offset.checksum)
    }
}
