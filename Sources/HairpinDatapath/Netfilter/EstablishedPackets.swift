import HairpinWire

// What most packets are: TCP or UDP of a connection both ends of which have spoken, at a hook that treats it as it did the one before. Here is what
// `runTables` would come to for them, and nothing else; whatever is out of the ordinary is left to it, untouched.
extension Netfilter {
    /// PREROUTING: the packet finds its connection, whose state follows it, and its destination is translated. False, and nothing is changed, if there is more to it.
    @inline(__always)
    mutating func tracksEstablished(_ place: HookPlace, _ handle: FrameHandle, _ pool: inout FramePool, now: UInt64) -> Bool {
        let frame = pool[handle]
        guard frame.pointee.connection == 0, frame.pointee.connectionInfo == .none, !frame.pointee.flags.contains(.partialChecksum), !connections.isWatched,
            !hasVirtualServers || virtualServers.nextExpiry > now,
            let packet = PlainPacket(frame, offset: place.networkOffset), let (entry, isReply) = connections.follow(packet, now: now)
        else { return false }
        frame.pointee.connection = connections.name(connections.place(of: entry))
        frame.pointee.connectionInfo = isReply ? .establishedReply : .established
        // In the reply direction a translated source is what the destination must become again.
        if entry.pointee.status.contains(isReply ? .sourceTranslated : .destinationTranslated) {
            rewrite(handle, place, &pool, packet, entry, isReply: isReply, isSource: false)
        }
        return true
    }

    /// The other hooks: of a packet that needs no translation nothing is read but its length.
    @inline(__always)
    mutating func passesEstablished(_ place: HookPlace, _ handle: FrameHandle, _ pool: inout FramePool, now: UInt64) -> Bool {
        let frame = pool[handle]
        let info = frame.pointee.connectionInfo
        guard info == .established || info == .establishedReply, let connection = connections.entry(frame.pointee.connection),
            connection.pointee.status.contains(.confirmed)
        else { return false }
        if place.hook == .forward {
            guard !isPolicing || connection.pointee.policyEpoch == policies.epoch else { return false }
        } else if place.hook == .localOut {
            // Only what IPVS took from LOCAL_IN comes here with its connection.
            guard frame.pointee.flags.contains(.virtualServer), !isPolicing || connection.pointee.policyEpoch == policies.epoch,
                !connection.pointee.status.contains(.destinationTranslated)
            else { return false }
        } else if place.hook == .postrouting, connection.pointee.masqueradeOutput != 0 {
            return false
        } else if connection.pointee.status.contains(info.isReply ? .destinationTranslated : .sourceTranslated) {
            // No filter has a place at POSTROUTING.
            guard place.hook == .postrouting, !frame.pointee.flags.contains(.partialChecksum), program.entry(.filter, .postrouting) == nil,
                let packet = PlainPacket(frame, offset: place.networkOffset)
            else { return false }
            rewrite(handle, place, &pool, packet, connection, isReply: info.isReply, isSource: true)
            return true
        }
        if hasVirtualServers, place.hook == .forward || place.hook == .localIn, !frame.pointee.flags.contains(.virtualServer) {
            // A request of theirs: `forwardsEstablished` has it.
            if place.hook == .localIn, connection.pointee.virtualEntry != 0 { return false }
            guard let packet = PlainPacket(frame, offset: place.networkOffset) else { return false }
            guard virtualServers.ignores(packet.tuple, isForHost: place.hook == .localIn) else {
                return place.hook == .forward && answersEstablished(place, handle, &pool, packet, now: now)
            }
        }
        return repeatsFilter(place, frame, connection)
    }

    /// Packets of established connections without translation pass POSTROUTING unchanged.
    @inline(__always) var passesPostrouting: Bool { takesShortWay(.postrouting) && program.entry(.filter, .postrouting) == nil }

    /// The filter table lets the packet pass as the one before it.
    @inline(__always)
    mutating func repeatsFilter(_ place: HookPlace, _ frame: UnsafeMutablePointer<Frame>, _ connection: UnsafeMutablePointer<Connection>) -> Bool {
        guard let start = program.entry(.filter, place.hook) else { return true }
        let length = (frame.pointee.data + place.networkOffset).u16(IPv4Offset.totalLength)
        return program.repeats(start, place, frame, connection, length: length)
    }

    @inline(__always)
    private func rewrite(
        _ handle: FrameHandle, _ place: HookPlace, _ pool: inout FramePool, _ packet: PlainPacket, _ connection: UnsafeMutablePointer<Connection>, isReply: Bool,
        isSource: Bool
    ) {
        let (address, port) = connection.pointee.translation(isReply: isReply, isSource: isSource)
        pool.makeWritable(handle)
        packet.rewrite(pool[handle].pointee.data + place.networkOffset, isSource: isSource, address: address, port: port)
    }
}

/// A whole TCP or UDP packet without IP options, its headers all there.
struct PlainPacket {
    let network: UnsafeMutableRawPointer
    /// With the IP header.
    let length: Int
    let proto: UInt8

    private static let headerLength = 20
    var transport: UnsafeMutableRawPointer { network + PlainPacket.headerLength }

    /// Nil for any other packet.
    @inline(__always)
    init?(_ frame: UnsafeMutablePointer<Frame>, offset: Int) {
        let available = Int(frame.pointee.count) &- offset
        guard available >= PlainPacket.headerLength &+ UDPOffset.payload else { return nil }
        let network = frame.pointee.data + offset
        // Version, header length, type of service, total length.
        let word = network.u32(0)
        let length = Int(truncatingIfNeeded: word & 0xffff)
        guard word &>> 24 == 0x45, length <= available, network.u16(IPv4Offset.flagsAndOffset) & ~IPv4Offset.dontFragment & 0x7fff == 0 else { return nil }
        (self.network, self.length) = (network, length)
        let transport = network + PlainPacket.headerLength
        proto = network.u8(IPv4Offset.proto)
        switch proto {
        case 6:
            let header = Int(transport.u8(TCPOffset.dataOffset) &>> 4) &* 4
            guard header >= 20, header &+ PlainPacket.headerLength <= length else { return nil }
        case 17:
            let datagram = Int(transport.u16(UDPOffset.length))
            guard datagram >= UDPOffset.payload, datagram &+ PlainPacket.headerLength <= length else { return nil }
        default: return nil
        }
    }

    var tuple: ConnectionTuple {
        let ports = transport.u32(0)
        return ConnectionTuple(
            source: network.u32(IPv4Offset.source), destination: network.u32(IPv4Offset.destination), sourcePort: UInt16(truncatingIfNeeded: ports &>> 16),
            destinationPort: UInt16(truncatingIfNeeded: ports), proto: proto)
    }

    /// `PacketHeaders.rewrite` in the packet's writable bytes, which may have moved.
    @inline(__always)
    func rewrite(_ network: UnsafeMutableRawPointer, isSource: Bool, address: UInt32, port: UInt16) {
        let transport = network + PlainPacket.headerLength
        let addressOffset = isSource ? IPv4Offset.source : IPv4Offset.destination
        let portOffset = isSource ? 0 : 2
        let change = InternetChecksum.change(from: network.u32(addressOffset), to: address)
        let checksumOffset = proto == 6 ? TCPOffset.checksum : UDPOffset.checksum
        let portChange = InternetChecksum.change(from: transport.u16(portOffset), to: port)
        transport.put(InternetChecksum.update(transport.u16(checksumOffset), proto, by: change &+ portChange), at: checksumOffset)
        transport.put(port, at: portOffset)
        network.put(address, at: addressOffset)
        network.put(InternetChecksum.update(network.u16(IPv4Offset.checksum), by: change), at: IPv4Offset.checksum)
    }
}

extension ConnectionTable {
    /// `track` for a packet in the middle of a connection: its entry, and whether it is a reply. Nil, and nothing is changed, if there is more to it.
    @inline(__always)
    func follow(_ packet: PlainPacket, now: UInt64) -> (entry: UnsafeMutablePointer<Connection>, isReply: Bool)? {
        let tuple = packet.tuple
        guard let (place, isReply) = number(of: tuple) else { return nil }
        let entry = entries + place
        guard entry.pointee.expires > now, entry.pointee.status.isSuperset(of: [.confirmed, .seenReply]) else { return nil }
        if packet.proto == 6 {
            let segment = TrackedSegment(packet.transport, length: packet.length &- 20)
            guard followStream(entry, isReply, segment, now: now) else { return nil }
        } else {
            advanceUDP(entry, now: now)
        }
        return (entry, isReply)
    }
}
