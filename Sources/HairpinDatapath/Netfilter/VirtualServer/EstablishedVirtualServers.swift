import HairpinWire

// What `EstablishedPackets.swift` is to rules, for virtual servers: packets of connections that they have forwarded before and that change nothing about
// them but the time they end, and packets that are none of their business.
extension VirtualServerTable {
    /// What of an entry's packets may differ from the one before without a change to the entry.
    private func isSettled(_ entry: Entry, _ packet: PlainPacket) -> Bool {
        switch packet.proto {
        case 6: entry.state == .established && TCPEvent(packet.transport.u8(TCPOffset.flags)) == .ack
        default: entry.state == .udp
        }
    }

    /// Whether the packet belongs to nothing they forwarded and, if it is for the host itself, goes to no virtual service.
    @inline(__always)
    func ignores(_ tuple: ConnectionTuple, isForHost: Bool) -> Bool {
        guard place(of: tuple, isReply: true) == nil else { return false }
        return !isForHost || place(of: tuple, isReply: false) == nil && position(tuple.destination, tuple.destinationPort, tuple.proto) == nil
    }

    /// The entry of a packet in the middle of a connection that lives on with its server.
    func settled(_ packet: PlainPacket, isReply: Bool, now: UInt64) -> Int? {
        let tuple = packet.tuple
        // Replies come first.
        guard isReply || self.place(of: tuple, isReply: true) == nil, let place = place(of: tuple, isReply: isReply),
            entries[place].expires > now, entries[place].serverIndex >= 0, isSettled(entries[place], packet)
        else { return nil }
        return place
    }
}

extension Netfilter {
    /// LOCAL_IN, for `serve`: a request of an established connection goes to its server. Nil, and nothing is changed, if there is more to it.
    @inline(never)
    mutating func forwardsEstablished<E: NetfilterEnvironment>(_ place: HookPlace, _ handle: FrameHandle, _ pool: inout FramePool, _ env: E) -> HookVerdict? {
        let frame = pool[handle]
        guard takesShortWay(place.hook), frame.pointee.connectionInfo == .established, frame.pointee.flags.isDisjoint(with: [.virtualServer, .partialChecksum]),
            let connection = connections.entry(frame.pointee.connection), connection.pointee.status.contains(.confirmed),
            let packet = PlainPacket(frame, offset: place.networkOffset), packet.network.u8(IPv4Offset.timeToLive) > 1,
            let number = virtualServers.settled(packet, isReply: false, now: env.now.nanoseconds)
        else { return nil }
        let entry = virtualServers.entries[number]
        guard !env.isLocal(IPv4Address(rawValue: entry.server)), repeatsFilter(place, frame, connection) else { return nil }
        virtualServers.renew(number, now: env.now.nanoseconds)
        virtualServers.count(number, isReply: false, bytes: Int(packet.network.u16(IPv4Offset.totalLength)))
        pool.makeWritable(handle)
        let network = pool[handle].pointee.data + place.networkOffset
        packet.rewrite(network, isSource: false, address: entry.server, port: entry.serverPort)
        packet.decrementTimeToLive(network)
        frame.pointee.flags.insert(.virtualServer)
        return .reroute
    }

    /// FORWARD, for `serve`: an answer of an established connection comes from the virtual server. False, and nothing is changed, if there is more to it;
    /// the filter table has yet to be asked.
    @inline(never)
    mutating func answersEstablished(_ place: HookPlace, _ handle: FrameHandle, _ pool: inout FramePool, _ packet: PlainPacket, now: UInt64) -> Bool {
        let frame = pool[handle]
        guard let connection = connections.entry(frame.pointee.connection), frame.pointee.flags.isDisjoint(with: [.virtualServer, .partialChecksum]),
            let number = virtualServers.settled(packet, isReply: true, now: now), repeatsFilter(place, frame, connection)
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
