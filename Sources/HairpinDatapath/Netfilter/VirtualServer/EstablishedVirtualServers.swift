import HairpinWire

// What `EstablishedPackets.swift` is to rules, for virtual servers: packets of connections that they have forwarded before and that change nothing about
// them but the time they end, and packets that are none of their business.
extension VirtualServerTable {
    /// What of an entry's packets may differ from the one before without a change to the entry.
    @inline(__always)
    private func isSettled(_ entry: UnsafeMutablePointer<Entry>, _ packet: PlainPacket) -> Bool {
        switch packet.proto {
        case 6: entry.pointee.state == .established && TCPEvent(packet.transport.u8(TCPOffset.flags)) == .ack
        default: entry.pointee.state == .udp
        }
    }

    /// Whether the packet belongs to nothing they forwarded and, if it is for the host itself, goes to no virtual service.
    @inline(__always)
    func ignores(_ tuple: ConnectionTuple, isForHost: Bool) -> Bool {
        guard place(of: tuple, isReply: true) == nil else { return false }
        return !isForHost || place(of: tuple, isReply: false) == nil && position(tuple.destination, tuple.destinationPort, tuple.proto) == nil
    }

    /// The entry of a packet in the middle of a connection that lives on with its server. `connection` is the packet's, which remembers the entry.
    @inline(__always)
    func settled(_ packet: PlainPacket, _ connection: UnsafeMutablePointer<Connection>, isReply: Bool, now: UInt64) -> Int? {
        var found = usedEntry(Int(connection.pointee.virtualEntry) &- 1)
        let tuple = packet.tuple
        if let entry = found, hasAmbiguousFlows || (isReply ? entry.pointee.reply : entry.pointee.request) != tuple { found = nil }
        if found == nil {
            // Replies come first.
            guard isReply || self.place(of: tuple, isReply: true) == nil, let place = place(of: tuple, isReply: isReply) else { return nil }
            connection.pointee.virtualEntry = UInt32(place + 1)
            found = entries + place
        }
        guard let entry = found, entry.pointee.expires > now, entry.pointee.serverIndex >= 0, isSettled(entry, packet) else { return nil }
        return entry - entries
    }
}

extension Netfilter {
    /// LOCAL_IN, for `serve`: a request of an established connection goes to its server. Nil, and nothing is changed, if there is more to it.
    @inline(never)
    mutating func forwardsEstablished<E: NetfilterEnvironment>(_ place: HookPlace, _ handle: FrameHandle, _ pool: inout FramePool, _ env: E) -> HookVerdict? {
        guard let (packet, connection, number) = virtualRequest(place, handle, pool, now: env.now.nanoseconds),
            !env.isLocal(IPv4Address(rawValue: virtualServers.entries[number].server)),
            forward(packet, connection, to: number, place, handle, &pool, now: env.now.nanoseconds)
        else { return nil }
        return .reroute
    }

    /// The request of an established connection that a packet at LOCAL_IN is, with its place among virtual servers' connections. Nothing is changed.
    @inline(__always)
    mutating func virtualRequest(
        _ place: HookPlace, _ handle: FrameHandle, _ pool: FramePool, now: UInt64
    ) -> (packet: PlainPacket, connection: UnsafeMutablePointer<Connection>, number: Int)? {
        let frame = pool[handle]
        guard hasVirtualServers, takesShortWay(.localIn), frame.pointee.connectionInfo == .established,
            frame.pointee.flags.isDisjoint(with: [.virtualServer, .partialChecksum]),
            let connection = connections.entry(frame.pointee.connection), connection.pointee.status.contains(.confirmed),
            let packet = PlainPacket(frame, offset: place.networkOffset), packet.network.u8(IPv4Offset.timeToLive) > 1,
            let number = virtualServers.settled(packet, connection, isReply: false, now: now)
        else { return nil }
        return (packet, connection, number)
    }

    /// Sends it to its server. False, and nothing is changed, if the filter table has to be asked first.
    @inline(__always)
    mutating func forward(
        _ packet: PlainPacket, _ connection: UnsafeMutablePointer<Connection>, to number: Int, _ place: HookPlace, _ handle: FrameHandle, _ pool: inout FramePool,
        now: UInt64
    ) -> Bool {
        guard repeatsFilter(place, pool[handle], connection) else { return false }
        virtualServers.renew(number, now: now)
        virtualServers.count(number, isReply: false, bytes: Int(packet.network.u16(IPv4Offset.totalLength)))
        pool.makeWritable(handle)
        let network = pool[handle].pointee.data + place.networkOffset
        let entry = virtualServers.entries + number
        packet.rewrite(network, isSource: false, address: entry.pointee.server, port: entry.pointee.serverPort)
        packet.decrementTimeToLive(network)
        pool[handle].pointee.flags.insert(.virtualServer)
        return true
    }

    /// FORWARD, for `serve`: an answer of an established connection comes from the virtual server. False, and nothing is changed, if there is more to it;
    /// the filter table has yet to be asked.
    @inline(never)
    mutating func answersEstablished(_ place: HookPlace, _ handle: FrameHandle, _ pool: inout FramePool, _ packet: PlainPacket, now: UInt64) -> Bool {
        let frame = pool[handle]
        guard let connection = connections.entry(frame.pointee.connection), frame.pointee.flags.isDisjoint(with: [.virtualServer, .partialChecksum]),
            let number = virtualServers.settled(packet, connection, isReply: true, now: now), repeatsFilter(place, frame, connection)
        else { return false }
        let entry = virtualServers.entries[number]
        virtualServers.renew(number, now: now)
        virtualServers.count(number, isReply: true, bytes: Int(packet.network.u16(IPv4Offset.totalLength)))
        pool.makeWritable(handle)
        packet.rewrite(pool[handle].pointee.data + place.networkOffset, isSource: true, address: entry.address, port: entry.port)
        frame.pointee.flags.insert(.virtualServer)
        return true
    }
}

extension PlainPacket {
    /// `ip_decrease_ttl`, in the packet's writable bytes.
    @inline(__always)
    func decrementTimeToLive(_ network: UnsafeMutableRawPointer) {
        let old = network.u16(IPv4Offset.timeToLive)
        network.put(network.u8(IPv4Offset.timeToLive) - 1, at: IPv4Offset.timeToLive)
        let change = InternetChecksum.change(from: old, to: network.u16(IPv4Offset.timeToLive))
        network.put(InternetChecksum.update(network.u16(IPv4Offset.checksum), by: change), at: IPv4Offset.checksum)
    }
}
