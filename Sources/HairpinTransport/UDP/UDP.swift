import HairpinEngine
import HairpinWire

extension TransportStack {
    func receiveUDP(_ ip: IPv4View, checksumVerified: Bool) -> Reception {
        guard let udp = UDPView(ip.payload) else { return .malformed }
        if !checksumVerified, !udp.isChecksumValid(source: ip.source, destination: ip.destination) {
            statistics.checksumErrors += 1
            statistics.ext.datagramErrors += 1
            statistics.ext.datagramChecksumErrors += 1
            return .badChecksum
        }
        guard let found = findUDP(ip.destination, udp.destinationPort, ip.source, udp.sourcePort) else {
            statistics.noPorts += 1
            return .noSocket
        }
        return found._withUnsafeGuaranteedRef { socket in
            let source = SocketAddress(ip.source, udp.sourcePort)
            guard socket.deliver(udp.payload, from: source, timeToLive: ip.timeToLive, typeOfService: ip.typeOfService, at: now) else {
                statistics.receiveBufferErrors += 1
                statistics.ext.datagramErrors += 1
                statistics.ext.datagramBufferErrors += 1
                return .bufferFull
            }
            statistics.datagramsReceived += 1
            network.readinessChanged(socket.id)
            return .delivered
        }
    }

    /// The best match (`compute_score`): a connected socket over a bound address over any address; among equals the last bound.
    func findUDP(_ local: IPv4Address, _ localPort: UInt16, _ remote: IPv4Address, _ remotePort: UInt16) -> Unmanaged<DatagramSocket>? {
        var best: Unmanaged<DatagramSocket>?
        var bestScore = -1
        var next = ports.datagrams.first(localPort)
        while let candidate = next {
            next = candidate._withUnsafeGuaranteedRef { socket in
                if let score = socket.score(local, remote, remotePort), score >= bestScore { (best, bestScore) = (candidate, score) }
                return socket.nextOnPort
            }
        }
        return best
    }

    func bindUDP(_ socket: DatagramSocket, _ address: SocketAddress) throws(Errno) {
        guard !socket.isBound else { throw .invalid }
        var port = address.port
        if port == 0 {
            port = try chooseDatagramPort(socket, address.address)
        } else if datagramConflict(socket, address.address, port) {
            throw .addressInUse
        }
        socket.local = SocketAddress(address.address, port)
        socket.isBound = true
        ports.datagrams.add(socket)
    }

    func sendUDP(_ socket: DatagramSocket, _ bytes: ArraySlice<UInt8>, to destination: SocketAddress) throws(Errno) {
        guard bytes.count <= 65_507 else { throw .messageTooLong }
        guard destination.port != 0 else { throw .invalid }
        if let error = socket.pendingError {
            socket.pendingError = nil
            throw error
        }
        guard !socket.sendShut else { throw .brokenPipe }
        if !socket.isBound { try bindUDP(socket, SocketAddress(.any, 0)) }
        let route = try network.route(to: destination.address, from: socket.local.address, device: socket.device)
        let source = socket.local.address == .any ? route.source : socket.local.address
        if socket.discovery == .do, bytes.count + 28 > route.mtu {
            queueLocalSizeError(socket, mtu: route.mtu, identifier: 0, sequence: 0)
            throw .messageTooLong
        }
        guard let packet = network.allocate(UDPOffset.payload + bytes.count), let p = packet.payload.baseAddress else { throw .noBuffers }
        p.put(socket.local.port, at: UDPOffset.sourcePort)
        p.put(destination.port, at: UDPOffset.destinationPort)
        p.put(UInt16(UDPOffset.payload + bytes.count), at: UDPOffset.length)
        p.put(UInt16(0), at: UDPOffset.checksum)
        bytes.withUnsafeBytes { if let from = $0.baseAddress { (p + UDPOffset.payload).copyMemory(from: from, byteCount: $0.count) } }
        let length = UDPOffset.payload + bytes.count
        let checksum = InternetChecksum.checksum(
            UnsafeRawBufferPointer(start: p, count: length),
            initial: InternetChecksum.pseudoHeader(source: source, destination: destination.address, protocol: IPProtocol.udp.rawValue, length: length))
        p.put(checksum == 0 ? 0xffff : checksum, at: UDPOffset.checksum)  // RFC 768: zero means "no checksum"
        var request = SendRequest(source: source, destination: destination.address, proto: .udp)
        socket.apply(to: &request, connected: socket.remote != nil, fits: length + IPv4Header.byteCount <= route.mtu)
        statistics.datagramsSent += 1
        if let error = network.send(packet, request) { throw error }
    }

    /// EMSGSIZE found before sending: reported in the error queue when asked for (`ip_local_error`).
    func queueLocalSizeError(_ socket: DatagramSocket, mtu: Int, identifier: UInt16, sequence: UInt16) {
        guard socket.receiveErrors else { return }
        socket.errors.append(
            ReceivedError(
                errno: .messageTooLong, offender: nil, icmpType: 0, icmpCode: 0, information: UInt32(mtu), identifier: identifier, sequence: sequence))
        network.readinessChanged(socket.id)
    }

    /// `__udp4_lib_err`.
    func udpError(_ error: ICMPError) {
        guard let base = error.transport.baseAddress else { return }
        let localPort = base.u16(UDPOffset.sourcePort)
        let remotePort = base.u16(UDPOffset.destinationPort)
        guard let socket = findUDP(error.source, localPort, error.destination, remotePort)?.takeUnretainedValue() else { return }
        datagramError(socket, error, identifier: 0, sequence: 0)
    }

    func datagramError(_ socket: DatagramSocket, _ error: ICMPError, identifier: UInt16, sequence: UInt16) {
        guard var (errno, fatal) = error.verdict else { return }
        if error.type == ICMPv4.destinationUnreachable, error.code == ICMPv4.fragmentationNeeded {
            guard socket.discovery == .want || socket.discovery == .do else { return }
            (errno, fatal) = (.messageTooLong, true)
        }
        if socket.receiveErrors {
            socket.errors.append(
                ReceivedError(
                    errno: errno, offender: error.offender, icmpType: error.type, icmpCode: error.code, information: error.information,
                    identifier: identifier, sequence: sequence))
        } else if !fatal || socket.remote == nil {
            return
        }
        // A ping socket without IP_RECVERR still learns of fatal errors only when connected, as UDP does.
        if socket.remote != nil || socket.receiveErrors { socket.pendingError = errno }
        network.readinessChanged(socket.id)
    }
}
