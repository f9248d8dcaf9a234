import HairpinEngine
import HairpinWire

/// `net.ipv4.icmp_ratelimit`: one error a second per destination, after a burst of six; destination unreachable, time exceeded and parameter
/// problem are limited (`icmp_ratemask`), "fragmentation needed" and whatever goes to the host itself are not.
struct ErrorLimiter {
    private var tokens: [IPv4Address: (ticks: Int64, at: Instant)] = [:]

    /// `inet_peer_xrlim_allow`.
    mutating func allows(_ destination: IPv4Address, now: Instant) -> Bool {
        let second: Int64 = 1_000_000_000
        var bucket = tokens[destination] ?? (6 * second, now)
        bucket.ticks = min(bucket.ticks + (now - bucket.at).nanoseconds, 6 * second)
        bucket.at = now
        let allowed = bucket.ticks >= second
        if allowed { bucket.ticks -= second }
        tokens[destination] = bucket
        if tokens.count > 4096 { tokens = tokens.filter { now - $0.value.at < .seconds(6) } }
        return allowed
    }
}

extension LogicalProcess {
    /// An error quotes this much of a packet at most: 576 bytes in all (RFC 1812 §4.3.2.3) less the two headers.
    private static let quoteLimit = 576 - 20 - 8

    /// Tells the sender of a packet what became of it (`icmp_send`). Nobody is told about errors, fragments but the first, and packets for
    /// more than one (RFC 1122 §3.2.2).
    func sendError(about frame: FrameHandle, networkOffset: Int, type: UInt8, code: UInt8, namespace index: NamespaceIndex, information: UInt32 = 0) {
        let entry = pool.pointee[frame]
        let header = UnsafeRawPointer(entry.pointee.data + networkOffset)
        let count = Int(entry.pointee.count) - networkOffset
        guard count >= 20 else { return }
        let source = header.ipv4(IPv4Offset.source)
        let destination = header.ipv4(IPv4Offset.destination)
        if !entry.pointee.flags.isDisjoint(with: [.broadcast, .multicast]) || destination.isBroadcast || destination.isMulticast { return }
        if source == .any || source.isBroadcast || source.isMulticast { return }
        if header.u16(IPv4Offset.flagsAndOffset) & IPv4Offset.fragmentMask != 0 { return }
        let headerLength = Int(header.u8(0) & 15) * 4
        if header.u8(IPv4Offset.proto) == IPProtocol.icmp.rawValue {
            guard count >= headerLength + 8 else { return }
            let complained = header.u8(headerLength)
            if ICMPv4.isError(complained) || complained > 18 { return }
        }
        let space = namespace(index)
        guard let back = routeOutput(destination: source, namespace: index) else { return }
        let isPathMTU = type == ICMPv4.destinationUnreachable && code == ICMPv4.fragmentationNeeded
        if !back.isLocal, !isPathMTU, !space.pointee.errorLimiter.allows(source, now: now) { return }
        // The packet was for us: answer in the name it used. Otherwise in the name the route back has.
        let own = space.pointee.isLocal(destination) ? destination : self.source(of: back, toward: source, namespace: index)
        if own == .any { return }
        let quoted = min(count, LogicalProcess.quoteLimit)
        let (reply, payload) = allocatePacket(8 + quoted)
        // Allocation moves neither frames nor their bytes: `header` is still good.
        payload.baseAddress!.put(type, at: ICMPOffset.type)
        payload.baseAddress!.put(code, at: ICMPOffset.code)
        payload.baseAddress!.put(UInt16(0), at: ICMPOffset.checksum)
        payload.baseAddress!.put(information, at: ICMPOffset.identifier)
        (payload.baseAddress! + 8).copyMemory(from: header, byteCount: quoted)
        payload.baseAddress!.put(InternetChecksum.checksum(UnsafeRawBufferPointer(payload)), at: ICMPOffset.checksum)
        var request = OutputRequest(source: own, destination: source, proto: .icmp)
        // IPTOS_PREC_INTERNETCONTROL
        request.typeOfService = header.u8(IPv4Offset.typeOfService) & 0x1e | 0xc0
        try? send(reply, request, namespace: index)
    }

    /// REJECT's answer.
    func reject(_ frame: FrameHandle, _ kind: RejectKind, input: InterfaceIndex, networkOffset: Int, namespace index: NamespaceIndex) {
        switch kind {
        case .icmp(let code):
            // br_nf_forward makes the packet the host's own business (pkt_type HOST) while rules look at it.
            sendError(about: frame, networkOffset: networkOffset, type: ICMPv4.destinationUnreachable, code: code, namespace: index)
        case .tcpReset:
            sendReset(about: frame, networkOffset: networkOffset, namespace: index)
        }
    }

    /// `nf_send_reset`: in the name of the destination. Inside a bridge it goes straight back out of the port the segment came from, with the
    /// addresses swapped and without ARP.
    private func sendReset(about frame: FrameHandle, networkOffset: Int, namespace index: NamespaceIndex) {
        let entry = pool.pointee[frame]
        guard let packet = IPv4View(UnsafeRawBufferPointer(rebasing: entry.pointee.bytes[networkOffset...])), packet.proto == .tcp, !packet.isFragment,
            let segment = TCPView(packet.payload), !segment.flags.contains(.rst),
            segment.isChecksumValid(source: packet.source, destination: packet.destination)
        else { return }
        let (reset, payload) = allocatePacket(20)
        let p = payload.baseAddress!
        let consumed = (segment.flags.contains(.syn) ? 1 : 0) + (segment.flags.contains(.fin) ? 1 : 0) + segment.payload.count
        p.put(segment.destinationPort, at: TCPOffset.sourcePort)
        p.put(segment.sourcePort, at: TCPOffset.destinationPort)
        p.put(segment.flags.contains(.ack) ? segment.acknowledgment.rawValue : 0, at: TCPOffset.sequence)
        p.put(segment.flags.contains(.ack) ? 0 : (segment.sequence + consumed).rawValue, at: TCPOffset.acknowledgment)
        p.put(UInt8(5 << 4), at: TCPOffset.dataOffset)
        p.put((segment.flags.contains(.ack) ? TCPFlags.rst : [.rst, .ack]).rawValue, at: TCPOffset.flags)
        p.put(UInt16(0), at: TCPOffset.window)
        p.put(UInt32(0), at: TCPOffset.checksum)
        p.put(
            InternetChecksum.checksum(
                UnsafeRawBufferPointer(payload), initial: InternetChecksum.pseudoHeader(source: packet.destination, destination: packet.source, protocol: 6, length: 20)),
            at: TCPOffset.checksum)
        let isBridged = networkOffset == EthernetHeader.byteCount
        if isBridged {
            let answer = pool.pointee[reset]
            books.emitted += 1
            answer.pointee.packetID = makePacketID()
            spend(costs.transmit)
            var header = IPv4Header(source: packet.destination, destination: packet.source, proto: .tcp, totalLength: 40)
            header.dontFragment = true
            header.emit(to: answer.pointee.data)
            let port = pool.pointee[frame].pointee.physicalIn
            answer.pointee.device = port
            pushEthernet(
                reset, destination: pool.pointee[frame].pointee.data.mac(EthernetOffset.source), source: pool.pointee[frame].pointee.data.mac(EthernetOffset.destination),
                type: .ipv4)
            transmit(reset, port)
        } else {
            var request = OutputRequest(source: packet.destination, destination: packet.source, proto: .tcp)
            request.identification = .zero
            request.dontFragment = true
            try? send(reset, request, namespace: index)
        }
    }
}
