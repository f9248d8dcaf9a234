import HairpinEngine
import HairpinWire

/// The Berkeley socket calls. None blocks: what would wait throws `tryAgain` or `inProgress`, and readiness says when to come back.
extension TransportStack {
    public func socket(_ kind: SocketKind) throws(Errno) -> SocketID {
        switch kind {
        case .stream:
            guard let e = table.makeStream() else { throw .noBuffers }
            e.cold.pointee.receiveBuffer = UInt32(settings.tcp_rmem.initial)
            e.cold.pointee.sendBuffer = UInt32(settings.tcp_wmem.initial)
            e.cold.pointee.timeToLive = settings.ip_default_ttl
            e.cold.pointee.congestion = settings.tcp_congestion_control
            if settings.ip_no_pmtu_disc {
                e.cold.pointee.pathDiscovery = .dont
                e.pointee.flags.insert(.mayBeCut)
            }
            e.cold.pointee.leastTimeout = UInt16(clamping: TimerWheel.ticks(settings.tcp_rto_min))
            e.cold.pointee.mostTimeout = UInt16(clamping: TimerWheel.ticks(settings.tcp_rto_max))
            if settings.pacesAlways { requireModules(e).pointee.pacing.isOn = true }
            return e.pointee.socket
        case .datagram, .icmpEcho:
            guard let s = table.makeDatagram(kind) else { throw .noBuffers }
            s.receiveBuffer = settings.rmem_default
            s.timeToLive = settings.ip_default_ttl
            s.identification = random.next16()
            return s.id
        }
    }

    public func setOption(_ socket: SocketID, _ option: SocketOption) throws(Errno) {
        try entry { () throws(Errno) in
            if let e = table.stream(socket) {
                try setStreamOption(e, option)
            } else if let s = table.datagram(socket) {
                try setDatagramOption(s, option)
            } else {
                throw .badFileDescriptor
            }
        }
    }

    func setFlag(_ e: EndpointPointer, _ flag: EndpointFlags, _ on: Bool) { if on { e.pointee.flags.insert(flag) } else { e.pointee.flags.remove(flag) } }

    private func setStreamOption(_ e: EndpointPointer, _ option: SocketOption) throws(Errno) {
        switch option {
        case .reuseAddress(let on): setFlag(e, .reuseAddress, on)
        case .receiveBuffer(let size):
            // Twice what is asked for, for the kernel's own overhead (socket(7)); less than nothing is as much as there may be.
            e.cold.pointee.receiveBuffer = UInt32(max(2 * min(Int(UInt32(truncatingIfNeeded: size)), settings.rmem_max), 2304))
            e.pointee.flags.insert(.receiveBufferSet)
        case .sendBuffer(let size):
            e.cold.pointee.sendBuffer = UInt32(max(2 * min(Int(UInt32(truncatingIfNeeded: size)), settings.wmem_max), 4608))
            e.pointee.flags.insert(.sendBufferSet)
        case .keepAlive(let on):
            let wasOn = e.pointee.flags.contains(.keepAlive)
            setFlag(e, .keepAlive, on)
            // The whole time from now on, whenever something last came (`tcp_set_keepalive`).
            if on, !wasOn { startKeepAlive(e, idle: .zero) }
        case .linger(let seconds): e.cold.pointee.lingerTime = Int64(seconds ?? -1)
        case .noDelay(let on):
            setFlag(e, .noDelay, on)
            if on { pushIfConnected(e, .push) }
        case .cork(let on):
            setFlag(e, .cork, on)
            if !on { pushIfConnected(e, .push) }
        case .maximumSegment(let size):
            guard size == 0 || TransportStack.leastSegment...32_767 ~= size else { throw .invalid }
            e.cold.pointee.userSegment = UInt16(size)
        case .userTimeout(let time): e.cold.pointee.userTimeout = max(0, time.nanoseconds)
        case .timeToLive(let value):
            guard value > 0 else { throw .invalid }
            e.cold.pointee.timeToLive = value
        case .pathMTUDiscovery(let mode):
            e.cold.pointee.pathDiscovery = mode
            setFlag(e, .mayBeCut, mode != .want && mode != .do)
        // The ECN bits are TCP's own (`do_ip_setsockopt`).
        case .typeOfService(let value): e.cold.pointee.typeOfService = value & ~3 | e.cold.pointee.typeOfService & 3
        case .bindToDevice(let name): e.cold.pointee.device = UInt16(deviceIndex(name))
        case .receiveErrors(let on): setFlag(e, .receiveErrors, on)
        }
    }

    private func pushIfConnected(_ e: EndpointPointer, _ nagle: Nagle) {
        switch e.pointee.state {
        case .established, .closeWait, .finWait1, .lastAck: pushPending(e, nagle)
        default: break
        }
    }

    private func deviceIndex(_ name: String) -> Int {
        if let index = devices.firstIndex(of: name) { return index }
        devices.append(name)
        return devices.count - 1
    }

    private func setDatagramOption(_ s: DatagramSocket, _ option: SocketOption) throws(Errno) {
        switch option {
        case .reuseAddress(let on): s.reuseAddress = on
        case .receiveBuffer(let size): s.receiveBuffer = max(2 * min(max(size, 0), settings.rmem_max), 2304)
        case .sendBuffer, .keepAlive, .linger: break
        case .timeToLive(let value):
            guard value > 0 else { throw .invalid }
            s.timeToLive = value
        case .typeOfService(let value): s.typeOfService = value
        case .pathMTUDiscovery(let mode): s.discovery = mode
        case .bindToDevice(let name): s.device = name
        case .receiveErrors(let on): s.receiveErrors = on
        case .noDelay, .cork, .maximumSegment, .userTimeout: throw .noProtocolOption
        }
    }

    public func bind(_ socket: SocketID, _ address: SocketAddress) throws(Errno) {
        try entry { () throws(Errno) in
            guard address.address == .any || address.address.isMulticast || network.isLocal(address.address) || bindsFreely(socket) else {
                throw .addressNotAvailable
            }
            if let s = table.datagram(socket) {
                if s.kind == .datagram { try bindUDP(s, address) } else { try bindEcho(s, address) }
                return
            }
            guard let e = table.stream(socket) else { throw .badFileDescriptor }
            guard e.pointee.state == .closed, !e.pointee.flags.contains(.portHeld) else { throw .invalid }
            var port = address.port
            if port == 0, streamExtras[socket.rawValue]?.bindsWithoutPort == true {
                e.pointee.localAddress = address.address
                return
            }
            if port == 0 {
                port = try chooseBoundPort(e, address.address)
            } else if ports.conflicts(e, address.address, port) {
                throw .addressInUse
            }
            e.pointee.localAddress = address.address
            e.pointee.localPort = port
            e.pointee.flags.insert(.portBound)
            ports.hold(e)
        }
    }

    public func listen(_ socket: SocketID, backlog: Int) throws(Errno) {
        try entry { () throws(Errno) in
            guard let e = table.stream(socket) else { throw .notSupported }
            let limit = Int32(clamping: min(max(backlog, 0), settings.somaxconn))
            if e.pointee.state == .listen {
                e.cold.pointee.backlog = limit
                return
            }
            guard e.pointee.state == .closed, e.pointee.flags.isDisjoint(with: [.handshakeDone, .connecting]) else { throw .invalid }
            if !e.pointee.flags.contains(.portHeld) {
                e.pointee.localPort = try chooseBoundPort(e, e.pointee.localAddress)
                e.pointee.flags.insert(.portBound)
                ports.hold(e)
            }
            // Two sockets may have bound with SO_REUSEADDR, but only one may listen.
            e.pointee.state = .listen
            guard !ports.conflicts(e, e.pointee.localAddress, e.pointee.localPort) else {
                e.pointee.state = .closed
                throw .addressInUse
            }
            e.cold.pointee.backlog = limit
            if settings.tcp_fastopen & 0x402 == 0x402, e.cold.pointee.fastOpenQueue == 0 { e.cold.pointee.fastOpenQueue = limit }
            ports.addListener(e)
        }
    }

    public func accept(_ socket: SocketID) throws(Errno) -> (SocketID, SocketAddress) {
        try entry { () throws(Errno) in
            guard let listener = table.stream(socket) else { throw table.datagram(socket) == nil ? .badFileDescriptor : .notSupported }
            guard listener.pointee.state == .listen else { throw .invalid }
            guard let e = listener.cold.pointee.acceptHead else { throw .tryAgain }
            listener.cold.pointee.acceptHead = e.cold.pointee.acceptNext
            if listener.cold.pointee.acceptHead == nil { listener.cold.pointee.acceptTail = nil }
            listener.cold.pointee.acceptCount -= 1
            e.cold.pointee.acceptNext = nil
            e.cold.pointee.listener = nil
            e.pointee.flags.subtract([.unaccepted, .inAcceptQueue])
            return (e.pointee.socket, SocketAddress(e.pointee.remoteAddress, e.pointee.remotePort))
        }
    }

    public func connect(_ socket: SocketID, _ address: SocketAddress) throws(Errno) {
        try entry { () throws(Errno) in
            if let s = table.datagram(socket) { return try connectDatagram(s, address.address == .any ? SocketAddress(.loopback, address.port) : address) }
            guard let e = table.stream(socket) else { throw .badFileDescriptor }
            if e.pointee.flags.contains(.connectDeferred) { throw .alreadyConnected }
            if e.pointee.flags.contains(.fastOpenConnect), e.pointee.state == .closed {
                e.pointee.remoteAddress = address.address
                let known =
                    !isFastOpenPaused
                    && (settings.tcp_fastopen & 4 != 0 || e.pointee.flags.contains(.fastOpenNoCookie) || fastOpenMemory[address.address]?.cookie.isThere == true)
                guard known else {
                    _ = try connectStream(e, address, fastOpen: UnsafeRawBufferPointer(start: nil, count: 0))
                    return
                }
                // The SYN waits for data to go with it (`tcp_fastopen_defer_connect`).
                e.pointee.remotePort = address.port
                e.pointee.flags.insert(.connectDeferred)
                return
            }
            _ = try connectStream(e, address, fastOpen: nil)
        }
    }

    /// `__inet_stream_connect`, `tcp_v4_connect`. Throws EINPROGRESS while the handshake runs, unless data went with the SYN.
    func connectStream(_ e: EndpointPointer, _ target: SocketAddress, fastOpen: UnsafeRawBufferPointer?) throws(Errno) -> Int {
        // RFC 1122 §3.2.1.3: "this host" as destination is the host itself.
        var address = target
        if address.address == .any { address.address = .loopback }
        switch e.pointee.state {
        case .closed, .timeWait:
            // A connect(2) that failed, and nobody has asked how: this call tells, and the next one begins anew.
            if e.pointee.flags.contains(.connecting) {
                let error = e.cold.pointee.pendingError
                disconnect(e)
                e.cold.pointee.pendingError = 0
                throw error == 0 ? .connectionAborted : Errno(error)
            }
            // It was connected once.
            if e.pointee.flags.contains(.handshakeDone) { throw .alreadyConnected }
        case .synSent, .synReceived: throw .already
        case .listen: throw .alreadyConnected
        default:
            guard e.pointee.flags.contains(.connecting) else { throw .alreadyConnected }
            e.pointee.flags.remove(.connecting)
            return 0
        }
        guard address.port != 0, !address.address.isMulticast, !address.address.isBroadcast else { throw .networkUnreachable }
        let route = try network.route(to: address.address, from: e.pointee.localAddress, device: devices[Int(e.cold.pointee.device)])
        e.pointee.remoteAddress = address.address
        e.pointee.remotePort = address.port
        let boundAddress = e.pointee.localAddress
        var number: SequenceNumber?
        (e.pointee.recentTimestamp, e.cold.pointee.recentTimestampAt) = (0, 0)
        if boundAddress == .any { e.pointee.localAddress = route.source }
        if e.pointee.localPort == 0 || !e.pointee.flags.contains(.portBound) {
            do throws(Errno) {
                e.pointee.localPort = try chooseClientPort(e)
            } catch {
                e.pointee.localAddress = boundAddress
                throw error
            }
            ports.hold(e)
        } else if let other = connections.find(e.pointee.localAddress, e.pointee.localPort, address.address, address.port) {
            guard reusable(other, isBound: true) else {
                e.pointee.localAddress = boundAddress
                throw .addressNotAvailable
            }
            statistics.ext.TWRecycled += 1
            number = numberAfter(other)
            (e.pointee.recentTimestamp, e.cold.pointee.recentTimestampAt) = (other.pointee.recentTimestamp, other.cold.pointee.recentTimestampAt)
            leaveTimeWait(other)
        }
        e.pointee.flags.subtract([.finQueued, .finReceived, .connectDeferred])
        e.pointee.flags.insert(.connecting)
        e.cold.pointee.synRetries = 0
        e.cold.pointee.pendingError = 0
        connections.insert(e)
        let carried = startConnecting(e, route: route, number: number, fastOpen: fastOpen)
        if e.pointee.state == .closed { try throwPendingError(e) }
        if carried > 0 { return carried }
        throw .inProgress
    }

    private func connectDatagram(_ s: DatagramSocket, _ address: SocketAddress) throws(Errno) {
        let route = try network.route(to: address.address, from: s.local.address, device: s.device)
        if !s.isBound {
            if s.kind == .datagram { try bindUDP(s, SocketAddress(.any, 0)) } else { try bindEcho(s, SocketAddress(.any, 0)) }
        }
        if s.local.address == .any { s.local.address = route.source }
        s.remote = address
    }

    public func send(_ socket: SocketID, _ bytes: ArraySlice<UInt8>, flags: TransferFlags = []) throws(Errno) -> Int {
        try entry { () throws(Errno) in
            if let e = table.stream(socket) {
                return try owning(e) { () throws(Errno) in try withBytes(bytes) { (buffer) throws(Errno) in try sendStream(e, buffer, flags) } }
            }
            guard let s = table.datagram(socket) else { throw .badFileDescriptor }
            guard let remote = s.remote else { throw .destinationRequired }
            guard s.kind == .datagram else { throw .notSupported }
            try sendUDP(s, bytes, to: remote)
            return bytes.count
        }
    }

    /// `withUnsafeBytes` with a typed error.
    func withBytes(_ bytes: ArraySlice<UInt8>, _ body: (UnsafeRawBufferPointer) throws(Errno) -> Int) throws(Errno) -> Int {
        let result = bytes.withUnsafeBytes { buffer -> Result<Int, Errno> in
            do throws(Errno) { return .success(try body(buffer)) } catch { return .failure(error) }
        }
        return try result.get()
    }

    /// The same for bytes in raw memory.
    public func send(_ socket: SocketID, raw bytes: UnsafeRawBufferPointer) throws(Errno) -> Int {
        guard table.stream(socket) != nil else { return try send(socket, Array(bytes)[...]) }
        return try entry { () throws(Errno) in
            guard let e = table.stream(socket) else { throw .badFileDescriptor }
            return try owning(e) { () throws(Errno) in try sendStream(e, bytes) }
        }
    }

    /// Reads into a program's own buffer; what does not fit of a datagram is lost. Zero at end of file.
    public func receive(_ socket: SocketID, into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
        try entry { () throws(Errno) in
            if let e = table.stream(socket) { return try receiveStream(e, into: buffer) }
            guard let s = table.datagram(socket) else { throw .badFileDescriptor }
            try throwPendingError(s)
            guard let count = s.next(into: buffer) else { throw .tryAgain }
            return count
        }
    }

    /// Reads without keeping the bytes, or looks at how many there are: the count that recv(2) returns with these flags.
    public func receive(_ socket: SocketID, _ count: Int, flags: TransferFlags) throws(Errno) -> Int {
        try entry { () throws(Errno) in
            guard let e = table.stream(socket) else { throw table.datagram(socket) == nil ? .badFileDescriptor : .notSupported }
            return try skipStream(e, count, keeping: flags.contains(.peek))
        }
    }

    public func receive(_ socket: SocketID, _ count: Int) throws(Errno) -> [UInt8] {
        try entry { () throws(Errno) in
            if let e = table.stream(socket) { return try receiveStream(e, count) }
            guard table.datagram(socket) != nil else { throw .badFileDescriptor }
            return Array(try nextMessage(socket).bytes.prefix(count))
        }
    }

    public func send(_ socket: SocketID, _ bytes: [UInt8], to address: SocketAddress) throws(Errno) {
        try entry { () throws(Errno) in
            guard let s = table.datagram(socket) else { throw table.stream(socket) == nil ? .badFileDescriptor : .alreadyConnected }
            guard s.kind == .datagram else { throw .notSupported }
            var address = address
            if address.address == .any { address.address = .loopback }
            try sendUDP(s, bytes[...], to: address)
        }
    }

    public func receiveMessage(_ socket: SocketID) throws(Errno) -> ReceivedMessage {
        try entry { () throws(Errno) in try nextMessage(socket) }
    }

    private func nextMessage(_ socket: SocketID) throws(Errno) -> ReceivedMessage {
        guard let s = table.datagram(socket) else { throw table.stream(socket) == nil ? .badFileDescriptor : .notSupported }
        try throwPendingError(s)
        guard let message = s.next() else { throw .tryAgain }
        return message
    }

    private func throwPendingError(_ s: DatagramSocket) throws(Errno) {
        guard let error = s.pendingError else { return }
        s.pendingError = nil
        throw error
    }

    public func sendEcho(_ socket: SocketID, to destination: IPv4Address, sequence: UInt16, payload: [UInt8]) throws(Errno) {
        try entry { () throws(Errno) in
            guard let s = table.datagram(socket), s.kind == .icmpEcho else { throw .notSupported }
            try sendEchoRequest(s, to: destination == .any ? .loopback : destination, sequence: sequence, payload: payload)
        }
    }

    public func shutdown(_ socket: SocketID, read: Bool, write: Bool) throws(Errno) {
        try entry { () throws(Errno) in
            if let s = table.datagram(socket) {
                guard s.remote != nil else { throw .notConnected }
                if read { s.receiveShut = true }
                if write { s.sendShut = true }
                return network.readinessChanged(s.id)
            }
            guard let e = table.stream(socket) else { throw .badFileDescriptor }
            switch e.pointee.state {
            case .closed, .timeWait:
                // What is shut stays shut, although the call fails.
                if read { e.pointee.flags.insert(.receiveShut) }
                if write { e.pointee.flags.insert(.sendShut) }
                notify(e)
                throw .notConnected
            case .listen:
                // Reading is shut: it stops listening. Writing is: nothing happens (`inet_shutdown`).
                return read ? disconnect(e) : notify(e)
            case .synSent: return disconnect(e)
            default: break
            }
            if read { e.pointee.flags.insert(.receiveShut) }
            if write { shutWriting(e, closes: false) }
            notify(e)
        }
    }

    public func close(_ socket: SocketID) {
        now = network.now
        defer { rearm() }
        if let e = table.stream(socket) {
            if e.pointee.state == .timeWait { e.pointee.flags.insert(.orphan) } else { closeStream(e) }
        } else if let s = table.datagram(socket) {
            if s.isBound {
                if s.kind == .datagram {
                    ports.datagrams.remove(s)
                } else {
                    ports.echoes[s.local.port] = nil
                }
            }
            table.free(s)
        }
    }

    public func readiness(_ socket: SocketID) -> Readiness {
        if let e = table.stream(socket) { return streamReadiness(e) }
        return table.datagram(socket)?.readiness ?? []
    }

    public func takeError(_ socket: SocketID) -> Errno? {
        if let e = table.stream(socket) {
            defer { e.cold.pointee.pendingError = 0 }
            return e.cold.pointee.pendingError == 0 ? nil : Errno(e.cold.pointee.pendingError)
        }
        guard let s = table.datagram(socket) else { return nil }
        defer { s.pendingError = nil }
        return s.pendingError
    }

    public func takeQueuedError(_ socket: SocketID) -> ReceivedError? {
        guard let s = table.datagram(socket), !s.errors.isEmpty else { return nil }
        s.pendingError = nil
        return s.errors.removeFirst()
    }

    public func localAddress(_ socket: SocketID) -> SocketAddress? {
        if let e = table.stream(socket) { return SocketAddress(e.pointee.localAddress, e.pointee.localPort) }
        return table.datagram(socket)?.local
    }

    public func remoteAddress(_ socket: SocketID) -> SocketAddress? {
        if let e = table.stream(socket) {
            return e.pointee.remotePort == 0 || e.pointee.state == .closed ? nil : SocketAddress(e.pointee.remoteAddress, e.pointee.remotePort)
        }
        return table.datagram(socket)?.remote
    }

    /// What ss(8) lists, in the order the sockets were made.
    public func sockets() -> [SocketInformation] {
        var result: [SocketInformation] = []
        now = network.now
        table.forEachStream { e in
            let isListener = e.pointee.state == .listen
            var information = SocketInformation(
                kind: .stream, state: e.pointee.state == .timeWait && e.pointee.flags.contains(.timeWaitFin2) ? "FIN-WAIT-2" : e.pointee.state.word,
                local: SocketAddress(e.pointee.localAddress, e.pointee.localPort), remote: SocketAddress(e.pointee.remoteAddress, e.pointee.remotePort),
                receiveQueue: isListener ? Int(e.cold.pointee.acceptCount) : readable(e),
                sendQueue: isListener ? Int(e.cold.pointee.backlog) : max(0, e.pointee.writeEnd - e.pointee.unacknowledged))
            if e.pointee.state != .timeWait, e.pointee.state != .synReceived || !e.pointee.flags.contains(.unaccepted) {
                information.tcp = tcpInformation(e.pointee.socket)
                information.congestion = e.cold.pointee.congestion
                information.congestionDetails = congestionInformation(e.pointee.socket)
            }
            information.timer = timer(e)
            result.append(information)
        }
        table.forEachDatagram { s in
            result.append(
                SocketInformation(
                    kind: s.kind, state: s.remote == nil ? "UNCONN" : "ESTAB", local: s.local, remote: s.remote ?? SocketAddress(.any, 0),
                    receiveQueue: s.receiveMemory, sendQueue: 0))
        }
        return result
    }
}
