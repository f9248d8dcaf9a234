import HairpinEngine
import HairpinWire

extension TransportStack {
    func receiveICMP(_ ip: IPv4View, checksumVerified: Bool) -> Reception {
        guard let icmp = ICMPView(ip.payload) else { return .malformed }
        if !checksumVerified, !icmp.isChecksumValid {
            statistics.checksumErrors += 1
            return .badChecksum
        }
        switch icmp.type {
        case ICMPv4.echoRequest:
            statistics.echoRequests += 1
            guard !settings.icmp_echo_ignore_all else { return .delivered }
            answerEcho(ip, icmp)
            return .delivered
        case ICMPv4.echoReply: return receiveEchoReply(ip, icmp)
        default: return .delivered  // errors come through `receiveICMPError`; other queries go unanswered
        }
    }

    /// `icmp_echo`: the same bytes back, from the address that was asked, with the asker's TOS.
    private func answerEcho(_ ip: IPv4View, _ icmp: ICMPView) {
        guard !ip.destination.isBroadcast, !ip.destination.isMulticast else { return }  // icmp_echo_ignore_broadcasts
        guard let packet = network.allocate(icmp.bytes.count), let p = packet.payload.baseAddress, let from = icmp.bytes.baseAddress else { return }
        p.copyMemory(from: from, byteCount: icmp.bytes.count)
        p.put(ICMPv4.echoReply, at: ICMPOffset.type)
        finishICMP(p, count: icmp.bytes.count)
        var request = SendRequest(source: ip.destination, destination: ip.source, proto: .icmp)
        request.typeOfService = ip.typeOfService
        request.timeToLive = settings.ip_default_ttl
        request.mayFragmentLocally = true
        network.send(packet, request)
    }

    private func finishICMP(_ p: UnsafeMutableRawPointer, count: Int) {
        p.put(UInt16(0), at: ICMPOffset.checksum)
        p.put(InternetChecksum.checksum(UnsafeRawBufferPointer(start: p, count: count)), at: ICMPOffset.checksum)
    }

    private func receiveEchoReply(_ ip: IPv4View, _ icmp: ICMPView) -> Reception {
        // A reply nobody waits for disappears without a word (RFC 1122 §3.2.2).
        guard let socket = ports.echoes[icmp.identifier], socket.local.address == .any || socket.local.address == ip.destination,
            socket.remote == nil || socket.remote!.address == ip.source
        else { return .delivered }
        guard socket.deliver(icmp.bytes, from: SocketAddress(ip.source, 0), timeToLive: ip.timeToLive, typeOfService: ip.typeOfService, at: now) else {
            statistics.receiveBufferErrors += 1
            return .bufferFull
        }
        network.readinessChanged(socket.id)
        return .delivered
    }

    /// Gives an echo socket its identifier: the wanted one, or the next free (`ping_get_port`).
    func bindEcho(_ socket: DatagramSocket, _ address: SocketAddress) throws(Errno) {
        guard !socket.isBound else { throw .invalid }
        var identifier = address.port
        if identifier == 0 {
            var tries = 0
            repeat {
                guard tries < 0x1_0000 else { throw .addressInUse }
                nextEchoIdentifier &+= 1
                tries += 1
            } while nextEchoIdentifier == 0 || ports.echoes[nextEchoIdentifier] != nil
            identifier = nextEchoIdentifier
        } else if ports.echoes[identifier] != nil {
            throw .addressInUse
        }
        socket.local = SocketAddress(address.address, identifier)
        socket.isBound = true
        ports.echoes[identifier] = socket
    }

    func sendEchoRequest(_ socket: DatagramSocket, to destination: IPv4Address, sequence: UInt16, payload: [UInt8]) throws(Errno) {
        guard payload.count <= 65_507 else { throw .messageTooLong }
        if let error = socket.pendingError {
            socket.pendingError = nil
            throw error
        }
        if !socket.isBound { try bindEcho(socket, SocketAddress(.any, 0)) }
        let route = try network.route(to: destination, from: socket.local.address, device: socket.device)
        if socket.discovery == .do, payload.count + 28 > route.mtu {
            queueLocalSizeError(socket, mtu: route.mtu, identifier: socket.local.port, sequence: sequence)
            throw .messageTooLong
        }
        guard let packet = network.allocate(ICMPOffset.payload + payload.count), let p = packet.payload.baseAddress else { throw .noBuffers }
        p.put(ICMPv4.echoRequest, at: ICMPOffset.type)
        p.put(UInt8(0), at: ICMPOffset.code)
        p.put(socket.local.port, at: ICMPOffset.identifier)
        p.put(sequence, at: ICMPOffset.sequence)
        payload.withUnsafeBytes { if let from = $0.baseAddress { (p + ICMPOffset.payload).copyMemory(from: from, byteCount: $0.count) } }
        finishICMP(p, count: ICMPOffset.payload + payload.count)
        var request = SendRequest(source: socket.local.address == .any ? route.source : socket.local.address, destination: destination, proto: .icmp)
        socket.apply(to: &request, connected: socket.remote != nil, fits: payload.count + 28 <= route.mtu)
        if let error = network.send(packet, request) { throw error }
    }

    /// `ping_err`: the quoted request names the socket.
    func echoError(_ error: ICMPError) {
        guard let base = error.transport.baseAddress, base.u8(ICMPOffset.type) == ICMPv4.echoRequest,
            let socket = ports.echoes[base.u16(ICMPOffset.identifier)]
        else { return }
        datagramError(socket, error, identifier: socket.local.port, sequence: base.u16(ICMPOffset.sequence))
    }
}
