import HairpinEngine
import HairpinWire

/// The options of socket(7), tcp(7) and ip(7) whose value is one integer, as setsockopt(2) and getsockopt(2) take and give them.
public enum SocketOptionName: Sendable, Hashable {
    case reuseAddress, zeroCopy, timestamping, sendBuffer, receiveBuffer, keepAlive, error, type, proto, acceptsConnections, receiveLowWater
    case noDelay, cork, maximumSegment, keepIdle, keepInterval, keepCount, synCount, linger2, deferAccept, windowClamp, quickAck, userTimeout
    case notSentLowWater, fastOpen, fastOpenConnect, fastOpenNoCookie, reportsUnread
    /// Bytes a second; -1 or 2^32 - 1: no bound.
    case maximumPacingRate
    /// SO_OOBINLINE
    case urgentInline
    case typeOfService, timeToLive, pathMTUDiscovery, receiveErrors
    /// TCP_RTO_MAX_MS, TCP_RTO_MIN_US, TCP_DELACK_MAX_US; TCP_THIN_LINEAR_TIMEOUTS; TCP_SAVE_SYN
    case maximumTimeout, minimumTimeout, maximumAckDelay, thinLinearTimeouts, saveSYN
    /// SO_PEEK_OFF, SO_BUF_LOCK, SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_DOMAIN
    case peekOffset, bufferLock, sendBufferForce, receiveBufferForce, domain
    /// IP_MINTTL, IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE, IP_FREEBIND, IP_TRANSPARENT
    case minimumTimeToLive, bindAddressNoPort, localPortRange, freeBind, transparent
}

/// Rules and values of setsockopt(2): `sk_setsockopt`, `do_tcp_setsockopt`, `do_ip_setsockopt` and their opposites.
extension TransportStack {
    public func setOption(_ socket: SocketID, _ name: SocketOptionName, _ value: Int) throws(Errno) {
        if let simple = simpleOption(name, value) { return try setOption(socket, simple) }
        try entry { () throws(Errno) in
            guard let e = table.stream(socket) else { throw table.datagram(socket) == nil ? .badFileDescriptor : .noProtocolOption }
            try setValue(e, name, value)
        }
    }

    private func simpleOption(_ name: SocketOptionName, _ value: Int) -> SocketOption? {
        switch name {
        case .reuseAddress: .reuseAddress(value != 0)
        case .sendBuffer: .sendBuffer(value)
        case .receiveBuffer: .receiveBuffer(value)
        case .keepAlive: .keepAlive(value != 0)
        case .noDelay: .noDelay(value != 0)
        case .cork: .cork(value != 0)
        case .maximumSegment: .maximumSegment(value)
        case .userTimeout where value >= 0: .userTimeout(.milliseconds(Int64(value)))
        case .typeOfService: .typeOfService(UInt8(truncatingIfNeeded: value))
        case .timeToLive where value == -1: .timeToLive(settings.ip_default_ttl)
        case .timeToLive where 1...255 ~= value: .timeToLive(UInt8(value))
        case .receiveErrors: .receiveErrors(value != 0)
        case .pathMTUDiscovery: PathMTUDiscovery(rawValue: value).map { .pathMTUDiscovery($0) }
        default: nil
        }
    }

    private func setValue(_ e: EndpointPointer, _ name: SocketOptionName, _ value: Int) throws(Errno) {
        func check(_ range: ClosedRange<Int>) throws(Errno) { guard range ~= value else { throw .invalid } }
        switch name {
        case .keepIdle:
            try check(1...32_767)
            e.cold.pointee.keepIdle = Int64(value) * 1_000_000_000
            if e.pointee.flags.contains(.keepAlive) { startKeepAlive(e) }
        case .keepInterval:
            try check(1...32_767)
            e.cold.pointee.keepInterval = Int64(value) * 1_000_000_000
        case .keepCount:
            try check(1...127)
            e.cold.pointee.keepCount = UInt8(value)
        case .synCount:
            try check(1...127)
            e.cold.pointee.synCount = UInt8(value)
        case .linger2:
            e.cold.pointee.linger2 = value < 0 ? -1 : Int64(min(value, 120)) * 1_000_000_000
        case .deferAccept:
            e.cold.pointee.deferAccept = retransmissions(forSeconds: value)
        case .windowClamp:
            if value == 0 {
                guard e.pointee.state == .closed else { throw .invalid }
                e.cold.pointee.userClamp = 0
            } else {
                e.cold.pointee.userClamp = UInt32(max(value, 2304 / 2))
                if e.pointee.flags.contains(.handshakeDone) { setWindowClamp(e, e.cold.pointee.userClamp) }
            }
        case .quickAck:
            guard value != 0 else { return enterInteractive(e) }
            e.pointee.pingPong = 0
            guard e.pointee.flags.contains(.ackScheduled), e.pointee.state == .established || e.pointee.state == .closeWait else { return }
            sendAck(e)
            // An even value is for this one time (`__tcp_sock_set_quickack`).
            if value & 1 == 0 { enterInteractive(e) }
        case .notSentLowWater:
            e.cold.pointee.notSentLowWater = UInt32(truncatingIfNeeded: value)
            checkWriteSpace(e)
        case .fastOpen:
            guard value >= 0, e.pointee.state == .closed || e.pointee.state == .listen else { throw .invalid }
            e.cold.pointee.fastOpenQueue = Int32(clamping: min(value, settings.somaxconn))
        case .fastOpenConnect:
            try check(0...1)
            guard settings.tcp_fastopen & 1 != 0 else { throw .notSupported }
            guard e.pointee.state == .closed else { throw .invalid }
            setFlag(e, .fastOpenConnect, value != 0)
        case .fastOpenNoCookie:
            try check(0...1)
            guard e.pointee.state == .closed || e.pointee.state == .listen else { throw .invalid }
            setFlag(e, .fastOpenNoCookie, value != 0)
        case .timestamping: try setTimestamping(e, UInt32(truncatingIfNeeded: value))
        case .zeroCopy:
            try check(0...1)
            setFlag(e, .zeroCopy, value != 0)
        case .reportsUnread:
            try check(0...1)
            setFlag(e, .reportsUnread, value != 0)
        case .urgentInline: setFlag(e, .urgentInline, value != 0)
        case .maximumPacingRate:
            let isUnbounded = value == -1 || value == Int(UInt32.max)
            setMaximumPacingRate(e, isUnbounded ? .max : value < 0 ? UInt64(UInt32(truncatingIfNeeded: value)) : UInt64(value))
        case .receiveLowWater: setReceiveLowWater(e, value)
        case .maximumTimeout:
            try check(1000...120_000)
            e.cold.pointee.mostTimeout = UInt16(TimerWheel.ticks(.milliseconds(Int64(value))))
        case .minimumTimeout: e.cold.pointee.leastTimeout = try ticks(microseconds: value)
        case .maximumAckDelay: e.cold.pointee.mostAckDelay = try ticks(microseconds: value)
        case .thinLinearTimeouts:
            try check(0...1)
            setFlag(e, .thin, value != 0)
        case .peekOffset:
            streamExtras[e.pointee.socket.rawValue, default: StreamExtras()].peekOffset = value
            setFlag(e, .peeksOnward, value >= 0)
        case .bufferLock:
            try check(0...3)
            setFlag(e, .sendBufferSet, value & 1 != 0)
            setFlag(e, .receiveBufferSet, value & 2 != 0)
        case .sendBufferForce:
            e.cold.pointee.sendBuffer = UInt32(max(2 * min(max(value, 0), Int(Int32.max) / 2), 4608))
            e.pointee.flags.insert(.sendBufferSet)
        case .receiveBufferForce:
            e.cold.pointee.receiveBuffer = UInt32(max(2 * min(max(value, 0), Int(Int32.max) / 2), 2304))
            e.pointee.flags.insert(.receiveBufferSet)
        case .minimumTimeToLive:
            try check(0...255)
            streamExtras[e.pointee.socket.rawValue, default: StreamExtras()].leastTimeToLive = UInt8(value)
            setFlag(e, .checksTTL, value != 0)
        case .saveSYN:
            try check(0...2)
            streamExtras[e.pointee.socket.rawValue, default: StreamExtras()].savesSYN = value
        case .bindAddressNoPort: streamExtras[e.pointee.socket.rawValue, default: StreamExtras()].bindsWithoutPort = value != 0
        case .localPortRange:
            let (first, last) = (value & 0xffff, value >> 16 & 0xffff)
            guard first == 0 || last == 0 || first <= last else { throw .invalid }
            streamExtras[e.pointee.socket.rawValue, default: StreamExtras()].localPorts = last << 16 | first
        case .freeBind: streamExtras[e.pointee.socket.rawValue, default: StreamExtras()].bindsFreely = value != 0
        case .transparent: streamExtras[e.pointee.socket.rawValue, default: StreamExtras()].isTransparent = value != 0
        case .error, .type, .proto, .acceptsConnections, .domain: throw .noProtocolOption
        default: throw .invalid
        }
    }

    public func option(_ socket: SocketID, _ name: SocketOptionName) throws(Errno) -> Int {
        try entry { () throws(Errno) in
            guard let e = table.stream(socket) else { throw table.datagram(socket) == nil ? .badFileDescriptor : .noProtocolOption }
            return try value(e, name)
        }
    }

    private func value(_ e: EndpointPointer, _ name: SocketOptionName) throws(Errno) -> Int {
        var extras: StreamExtras? { streamExtras[e.pointee.socket.rawValue] }
        func flag(_ flag: EndpointFlags) -> Int { e.pointee.flags.contains(flag) ? 1 : 0 }
        func wholeSeconds(_ own: Int64, _ setting: Duration) -> Int { Int((own == 0 ? setting.nanoseconds : own) / 1_000_000_000) }
        switch name {
        case .reuseAddress: return flag(.reuseAddress)
        case .zeroCopy: return flag(.zeroCopy)
        case .timestamping: return timestamping(e)
        case .sendBuffer: return Int(e.cold.pointee.sendBuffer)
        case .receiveBuffer: return Int(e.cold.pointee.receiveBuffer)
        case .keepAlive: return flag(.keepAlive)
        case .error:
            // `sock_error`, else `sk_err_soft`.
            let error = e.cold.pointee.pendingError != 0 ? e.cold.pointee.pendingError : e.cold.pointee.softError
            if e.cold.pointee.pendingError != 0 { e.cold.pointee.pendingError = 0 } else { e.cold.pointee.softError = 0 }
            return Int(error)
        case .type: return 1
        case .proto: return Int(IPProtocol.tcp.rawValue)
        case .acceptsConnections: return e.pointee.state == .listen ? 1 : 0
        case .urgentInline: return flag(.urgentInline)
        case .maximumPacingRate: return Int(min(maximumPacingRate(e), UInt64(UInt32.max)))
        case .receiveLowWater: return Int(max(1, e.cold.pointee.receiveLowWater))
        case .noDelay: return flag(.noDelay)
        case .cork: return flag(.cork)
        case .maximumSegment:
            let own = Int(e.cold.pointee.userSegment)
            return own != 0 && (e.pointee.state == .closed || e.pointee.state == .listen) ? own : Int(e.pointee.segmentSize)
        case .keepIdle: return wholeSeconds(e.cold.pointee.keepIdle, settings.tcp_keepalive_time)
        case .keepInterval: return wholeSeconds(e.cold.pointee.keepInterval, settings.tcp_keepalive_intvl)
        case .keepCount: return e.cold.pointee.keepCount == 0 ? settings.tcp_keepalive_probes : Int(e.cold.pointee.keepCount)
        case .synCount: return e.cold.pointee.synCount == 0 ? settings.tcp_syn_retries : Int(e.cold.pointee.synCount)
        case .linger2: return e.cold.pointee.linger2 < 0 ? -1 : wholeSeconds(e.cold.pointee.linger2, settings.tcp_fin_timeout)
        case .deferAccept: return seconds(forRetransmissions: e.cold.pointee.deferAccept)
        case .windowClamp: return Int(e.cold.pointee.userClamp != 0 ? e.cold.pointee.userClamp : e.cold.pointee.windowClamp)
        case .quickAck: return isInteractive(e) ? 0 : 1
        case .userTimeout: return Int(e.cold.pointee.userTimeout / 1_000_000)
        case .notSentLowWater: return Int(Int32(bitPattern: e.cold.pointee.notSentLowWater))
        case .fastOpen: return Int(e.cold.pointee.fastOpenQueue)
        case .fastOpenConnect: return flag(.fastOpenConnect)
        case .fastOpenNoCookie: return flag(.fastOpenNoCookie)
        case .reportsUnread: return flag(.reportsUnread)
        case .typeOfService: return Int(e.cold.pointee.typeOfService)
        case .timeToLive: return Int(e.cold.pointee.timeToLive)
        case .pathMTUDiscovery: return e.cold.pointee.pathDiscovery.rawValue
        case .receiveErrors: return flag(.receiveErrors)
        case .maximumTimeout: return Int(e.cold.pointee.mostTimeout) * Int(TimerWheel.tick / 1_000_000)
        case .minimumTimeout: return Int(e.cold.pointee.leastTimeout) * Int(TimerWheel.tick / 1000)
        case .maximumAckDelay: return Int(e.cold.pointee.mostAckDelay) * Int(TimerWheel.tick / 1000)
        case .thinLinearTimeouts: return flag(.thin)
        case .peekOffset: return extras?.peekOffset ?? -1
        case .bufferLock: return flag(.sendBufferSet) | flag(.receiveBufferSet) << 1
        case .domain: return 2
        case .minimumTimeToLive: return Int(extras?.leastTimeToLive ?? 0)
        case .saveSYN: return extras?.savesSYN ?? 0
        case .bindAddressNoPort: return extras?.bindsWithoutPort == true ? 1 : 0
        case .localPortRange: return Int(Int32(truncatingIfNeeded: extras?.localPorts ?? 0))
        case .freeBind: return extras?.bindsFreely == true ? 1 : 0
        case .transparent: return extras?.isTransparent == true ? 1 : 0
        case .sendBufferForce, .receiveBufferForce: throw .noProtocolOption
        }
    }

    /// Of a whole number of ticks, rounded up, from two of them to TCP_RTO_MIN.
    private func ticks(microseconds: Int) throws(Errno) -> UInt16 {
        let ticks = TimerWheel.ticks(.microseconds(Int64(UInt32(truncatingIfNeeded: microseconds))))
        guard 2...50 ~= ticks else { throw .invalid }
        return UInt16(ticks)
    }

    /// IP_MINTTL of a connection; a child has its listener's.
    func leastTimeToLive(_ e: EndpointPointer) -> UInt8 { streamExtras[e.pointee.socket.rawValue]?.leastTimeToLive ?? 0 }

    /// IP_FREEBIND, IP_TRANSPARENT: bind(2) takes addresses that are not the host's.
    func bindsFreely(_ socket: SocketID) -> Bool {
        guard let extras = streamExtras[socket.rawValue] else { return false }
        return extras.bindsFreely || extras.isTransparent
    }

    /// How many retransmissions of the SYN-ACK the time is worth (`secs_to_retrans`), and back.
    private func retransmissions(forSeconds seconds: Int) -> UInt8 {
        guard seconds > 0 else { return 0 }
        var count: UInt8 = 1
        var period = 1
        var timeout = 1
        while seconds > period, count < 255 {
            count += 1
            timeout = min(timeout << 1, Int(settings.tcp_rto_max.nanoseconds / 1_000_000_000))
            period += timeout
        }
        return count
    }

    private func seconds(forRetransmissions count: UInt8) -> Int {
        guard count > 0 else { return 0 }
        var period = 1
        var timeout = 1
        for _ in 1..<max(count, 1) {
            timeout = min(timeout << 1, Int(settings.tcp_rto_max.nanoseconds / 1_000_000_000))
            period += timeout
        }
        return period
    }

    /// What close(2) waits for with SO_LINGER: our FIN is not acknowledged yet (`sk_stream_closing`).
    public func isClosing(_ socket: SocketID) -> Bool {
        guard let e = table.formerStream(socket) else { return false }
        switch e.pointee.state {
        case .finWait1, .closing, .lastAck: return true
        default: return false
        }
    }

    /// Seconds of SO_LINGER; nil if lingering is off.
    public func linger(_ socket: SocketID) -> Int? {
        guard let e = table.stream(socket), e.cold.pointee.lingerTime >= 0 else { return nil }
        return Int(e.cold.pointee.lingerTime)
    }
}
