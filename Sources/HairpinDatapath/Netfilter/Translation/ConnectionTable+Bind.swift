import HairpinWire

// NAT bindings: decided once, with the first packet of a connection (nf_nat_core.c).
extension ConnectionTable {
    /// Decides the binding of one kind: changes the reply tuple so that answers are known (`nf_nat_setup_info`).
    mutating func bind<E: NetfilterEnvironment>(_ place: Int, _ range: TranslationRange, isSource: Bool, _ env: inout E) {
        // What the packet would look like when it leaves, as decided so far.
        let current = entries[place].reply.inverse
        let new = uniqueTuple(current, range, isSource, place, &env)
        if new != current {
            entries[place].reply = new.inverse
            entries[place].status.insert(isSource ? .sourceTranslated : .destinationTranslated)
        }
        if isSource { linkSource(place) }
        entries[place].status.insert(isSource ? .sourceDone : .destinationDone)
    }

    /// A binding that changes nothing, unless another connection's answers would look the same (`nf_nat_alloc_null_binding`).
    mutating func bindNothing<E: NetfilterEnvironment>(_ place: Int, isSource: Bool, _ env: inout E) {
        let address = isSource ? entries[place].reply.destination : entries[place].reply.source
        bind(place, TranslationRange(low: address, high: address, mapsAddress: true), isSource: isSource, &env)
    }

    /// `get_unique_tuple`.
    private mutating func uniqueTuple<E: NetfilterEnvironment>(
        _ original: ConnectionTuple, _ range: TranslationRange, _ isSource: Bool, _ place: Int, _ env: inout E
    ) -> ConnectionTuple {
        let now = env.now.nanoseconds
        if isSource, !range.isRandom {
            if range.allowsSource(of: original) {
                if !isTaken(original, except: place, now: now) { return original }
            } else {
                // The mapping this source already has, if it gives a unique tuple here too.
                var candidate: ConnectionTuple?
                findSource(entries[place].original) { other in
                    var mapped = other.reply.inverse
                    mapped.destination = original.destination
                    mapped.destinationPort = original.destinationPort
                    guard range.allowsSource(of: mapped) else { return false }
                    candidate = mapped
                    return true
                }
                if let candidate, !isTaken(candidate, except: place, now: now) { return candidate }
            }
        }
        var tuple = original
        if range.mapsAddress {
            let address = range.address(for: original)
            if isSource { tuple.source = address } else { tuple.destination = address }
        }
        if !range.isRandom {
            if let ports = range.ports {
                let port = isSource || tuple.proto == 1 ? tuple.sourcePort : tuple.destinationPort
                if !tuple.hasPorts || ports.contains(port), ports.low == ports.high || !isTaken(tuple, except: place, now: now) { return tuple }
            } else if !isTaken(tuple, except: place, now: now) {
                return tuple
            }
        }
        searchPort(&tuple, range, isSource, place, &env)
        return tuple
    }

    /// Tries ports of the range from a random one on until a tuple is free (`nf_nat_l4proto_unique_tuple`).
    private mutating func searchPort<E: NetfilterEnvironment>(
        _ tuple: inout ConnectionTuple, _ range: TranslationRange, _ isSource: Bool, _ place: Int, _ env: inout E
    ) {
        guard tuple.hasPorts else { return }
        let changesSource = isSource || tuple.proto == 1
        let low: UInt32
        let size: UInt32
        if let ports = range.ports {
            (low, size) = (UInt32(ports.low), UInt32(ports.high) - UInt32(ports.low) + 1)
        } else if tuple.proto == 1 {
            (low, size) = (0, 65536)
        } else {
            // A destination port is never changed unasked. A source port stays in its class: below 512, below 1024, above.
            guard isSource else { return }
            (low, size) = tuple.sourcePort < 512 ? (1, 511) : tuple.sourcePort < 1024 ? (600, 424) : (1024, 64512)
        }
        let now = env.now.nanoseconds
        var offset = UInt16(truncatingIfNeeded: env.random32() >> 16)
        var attempts = min(size, 128)
        while true {
            for _ in 0..<attempts {
                let port = UInt16(truncatingIfNeeded: low + UInt32(offset) % size)
                if changesSource { tuple.sourcePort = port } else { tuple.destinationPort = port }
                if !isTaken(tuple, except: place, now: now) { return }
                offset &+= 1
            }
            // A duplicate is dropped when it is confirmed.
            if attempts >= size || attempts < 16 { return }
            attempts /= 2
            offset = UInt16(truncatingIfNeeded: env.random32() >> 16)
        }
    }
}

extension ConnectionTuple {
    /// ICMP's identifier counts as one.
    var hasPorts: Bool { proto == 6 || proto == 17 || proto == 1 || proto == 132 || proto == 136 }
}

extension TranslationRange {
    func allowsSource(of tuple: ConnectionTuple) -> Bool {
        if mapsAddress, tuple.source < low || tuple.source > high { return false }
        guard let ports else { return true }
        return !tuple.hasPorts || ports.contains(tuple.sourcePort)
    }

    /// The same client gets the same address of a range, whoever it talks to if the range is persistent (`find_best_ips_proto`).
    func address(for tuple: ConnectionTuple) -> UInt32 {
        guard low != high else { return low }
        let hash = ConnectionTuple.mix(UInt64(tuple.source), isPersistent ? 0 : UInt64(tuple.destination))
        return low + UInt32((hash >> 32) * (UInt64(high - low) + 1) >> 32)
    }
}
