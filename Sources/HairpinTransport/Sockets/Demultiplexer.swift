import HairpinWire

/// Connections by their four-tuple: chained hashing through `Endpoint.hashNext`.
struct ConnectionTable: ~Copyable {
    private var buckets: UnsafeMutablePointer<EndpointPointer?>
    private var mask: Int
    private var count = 0

    init() {
        mask = 15
        buckets = .allocate(capacity: 16)
        buckets.initialize(repeating: nil, count: 16)
    }
    deinit { buckets.deallocate() }

    @inline(__always)
    private static func hash(_ local: IPv4Address, _ localPort: UInt16, _ remote: IPv4Address, _ remotePort: UInt16) -> Int {
        var h = UInt64(local.rawValue) << 32 | UInt64(remote.rawValue)
        h = (h ^ UInt64(localPort) << 16 ^ UInt64(remotePort) ^ h >> 29) &* 0x9e37_79b9_7f4a_7c15
        return Int(truncatingIfNeeded: (h ^ h >> 32) & 0x7fff_ffff)
    }

    func find(_ local: IPv4Address, _ localPort: UInt16, _ remote: IPv4Address, _ remotePort: UInt16) -> EndpointPointer? {
        var entry = buckets[ConnectionTable.hash(local, localPort, remote, remotePort) & mask]
        while let e = entry {
            if e.pointee.localPort == localPort, e.pointee.remotePort == remotePort, e.pointee.remoteAddress == remote, e.pointee.localAddress == local {
                return e
            }
            entry = e.pointee.hashNext
        }
        return nil
    }

    mutating func insert(_ e: EndpointPointer) {
        precondition(!e.pointee.flags.contains(.hashed), "endpoint hashed twice")
        if count > mask { grow() }
        let bucket = ConnectionTable.hash(e.pointee.localAddress, e.pointee.localPort, e.pointee.remoteAddress, e.pointee.remotePort) & mask
        e.pointee.hashNext = buckets[bucket]
        buckets[bucket] = e
        e.pointee.flags.insert(.hashed)
        count += 1
    }

    mutating func remove(_ e: EndpointPointer) {
        guard e.pointee.flags.contains(.hashed) else { return }
        e.pointee.flags.remove(.hashed)
        count -= 1
        let bucket = ConnectionTable.hash(e.pointee.localAddress, e.pointee.localPort, e.pointee.remoteAddress, e.pointee.remotePort) & mask
        if buckets[bucket] == e {
            buckets[bucket] = e.pointee.hashNext
            return
        }
        var previous = buckets[bucket]
        while let p = previous {
            if p.pointee.hashNext == e {
                p.pointee.hashNext = e.pointee.hashNext
                return
            }
            previous = p.pointee.hashNext
        }
        preconditionFailure("hashed endpoint not in its bucket")
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<EndpointPointer?>.allocate(capacity: (mask + 1) * 4)
        larger.initialize(repeating: nil, count: (mask + 1) * 4)
        let newMask = (mask + 1) * 4 - 1
        for bucket in 0...mask {
            var entry = buckets[bucket]
            while let e = entry {
                entry = e.pointee.hashNext
                let target = ConnectionTable.hash(e.pointee.localAddress, e.pointee.localPort, e.pointee.remoteAddress, e.pointee.remotePort) & newMask
                e.pointee.hashNext = larger[target]
                larger[target] = e
            }
        }
        buckets.deallocate()
        buckets = larger
        mask = newMask
    }
}

extension TransportStack {
    /// The connection, else the listener a segment belongs to (`__inet_lookup_skb`): a listener on the address wins over one on any address.
    func findTCP(_ segment: Segment) -> EndpointPointer? {
        connections.find(segment.destination, segment.destinationPort, segment.source, segment.sourcePort)
            ?? ports.listener(segment.destination, segment.destinationPort)
    }
}
