import HairpinEngine
import HairpinWire

/// Who holds which local port.
struct PortTable: ~Copyable {
    private var held: [UInt16: [EndpointPointer]] = [:]
    private var listeners: [UInt16: [EndpointPointer]] = [:]
    /// UDP sockets by port, echo sockets by identifier.
    var datagrams = DatagramTable()
    var echoes: [UInt16: DatagramSocket] = [:]

    mutating func hold(_ e: EndpointPointer) {
        guard !e.pointee.flags.contains(.portHeld) else { return }
        e.pointee.flags.insert(.portHeld)
        held[e.pointee.localPort, default: []].append(e)
    }

    mutating func release(_ e: EndpointPointer) {
        guard e.pointee.flags.contains(.portHeld) else { return }
        e.pointee.flags.remove(.portHeld)
        let port = e.pointee.localPort
        held[port]!.removeAll { $0 == e }
        if held[port]!.isEmpty { held[port] = nil }
    }

    mutating func addListener(_ e: EndpointPointer) { listeners[e.pointee.localPort, default: []].append(e) }
    mutating func removeListener(_ e: EndpointPointer) {
        listeners[e.pointee.localPort]?.removeAll { $0 == e }
        if listeners[e.pointee.localPort]?.isEmpty == true { listeners[e.pointee.localPort] = nil }
    }

    func listener(_ address: IPv4Address, _ port: UInt16) -> EndpointPointer? {
        guard let candidates = listeners[port] else { return nil }
        return candidates.first { $0.pointee.localAddress == address } ?? candidates.first { $0.pointee.localAddress == .any }
    }

    /// Whether binding `e` to the address and port clashes with a socket there (`inet_csk_bind_conflict`).
    func conflicts(_ e: EndpointPointer, _ address: IPv4Address, _ port: UInt16) -> Bool {
        for other in held[port] ?? [] where other != e {
            if e.pointee.flags.contains(.reuseAddress), other.pointee.flags.contains(.reuseAddress), other.pointee.state != .listen { continue }
            let theirs = other.pointee.localAddress
            if theirs == .any || address == .any || theirs == address { return true }
        }
        return false
    }

    /// Whether a client may share the port: nobody bound it by bind(2) (`tb->fastreuse` of `__inet_hash_connect`).
    func openToClients(_ port: UInt16) -> Bool { !(held[port] ?? []).contains { $0.pointee.flags.contains(.portBound) } }
    func isFree(_ port: UInt16) -> Bool { held[port] == nil }
}

extension TransportStack {
    /// Where the ports come from: `ip_local_port_range`, narrowed by IP_LOCAL_PORT_RANGE (`inet_sk_get_local_port_range`).
    private func localPorts(_ e: EndpointPointer) -> (first: Int, last: Int) {
        var (first, last) = (Int(settings.ip_local_port_range.first), Int(settings.ip_local_port_range.last))
        guard let own = streamExtras[e.pointee.socket.rawValue]?.localPorts else { return (first, last) }
        let bounds = first...last
        if bounds ~= own & 0xffff { first = own & 0xffff }
        if bounds ~= own >> 16 { last = own >> 16 }
        return (first, last)
    }

    /// A port for connect(2): even ones first, starting from a hash of the destination (RFC 6056 algorithm 4 as `__inet_hash_connect` has it).
    func chooseClientPort(_ e: EndpointPointer) throws(Errno) -> UInt16 {
        let (low, last) = localPorts(e)
        let high = last + 1
        let range = (high - low) & ~1
        guard range > 1 else { throw .addressNotAvailable }
        let h = keyed(UInt64(e.pointee.remoteAddress.rawValue) << 16 ^ UInt64(e.pointee.remotePort) ^ UInt64(e.pointee.localAddress.rawValue) << 31)
        let start = Int((UInt64(portPerturbation) &+ h >> 32) % UInt64(range)) & ~1
        for parity in 0...1 {
            var step = 0
            while step < range {
                let port = UInt16(low + (start + step) % range + parity)
                step += 2
                guard Int(port) < high, ports.openToClients(port) else { continue }
                if let other = connections.find(e.pointee.localAddress, port, e.pointee.remoteAddress, e.pointee.remotePort) {
                    guard reusable(other) else { continue }
                    statistics.ext.TWRecycled += 1
                    leaveTimeWait(other)
                }
                let skipped = max(step, Int(random.below(8)) * 2)
                portPerturbation &+= UInt32(skipped + 2)
                return port
            }
        }
        throw .addressNotAvailable
    }

    /// A port for bind(2) to port zero: odd ones first (`inet_csk_find_open_port`).
    func chooseBoundPort(_ e: EndpointPointer, _ address: IPv4Address) throws(Errno) -> UInt16 {
        let (low, last) = localPorts(e)
        let high = last + 1
        let range = (high - low) & ~1
        guard range > 1 else { throw .addressInUse }
        let start = Int(random.below(UInt32(range))) | 1
        for shift in 0...1 {
            var step = 0
            while step < range {
                let port = UInt16(low + ((start + step) % range ^ shift))
                step += 2
                if ports.isFree(port) || !ports.conflicts(e, address, port) { return port }
            }
        }
        throw .addressInUse
    }

    /// A free UDP port of either parity (`udp_lib_get_port`).
    func chooseDatagramPort(_ socket: DatagramSocket, _ address: IPv4Address) throws(Errno) -> UInt16 {
        let low = Int(settings.ip_local_port_range.first)
        let range = Int(settings.ip_local_port_range.last) - low + 1
        let start = Int(random.below(UInt32(range)))
        for step in 0..<range {
            let port = UInt16(low + (start + step) % range)
            if !datagramConflict(socket, address, port) { return port }
        }
        throw .addressInUse
    }

    func datagramConflict(_ socket: DatagramSocket, _ address: IPv4Address, _ port: UInt16) -> Bool {
        ports.datagrams.contains(port) { other in
            other !== socket && !(socket.reuseAddress && other.reuseAddress)
                && (other.local.address == .any || address == .any || other.local.address == address)
        }
    }
}
