import HairpinEngine
import HairpinWire

/// What a socket's packet asks of IP.
public struct OutputRequest: Sendable {
    public enum Identification: Sendable {
        case zero
        case value(UInt16)
        case host
    }
    public var source: IPv4Address
    public var destination: IPv4Address
    public var proto: IPProtocol
    public var timeToLive: UInt8 = 64
    public var typeOfService: UInt8 = 0
    public var dontFragment = false
    public var mayFragmentLocally = false
    public var identification = Identification.host
    public var socket: UInt32 = 0
    public var confirmsNeighbour = false
    /// The caller vouches for the transport checksum: within this process nobody verifies the packet any more, its IP header included.
    public var hasFinishedChecksums = false
    /// One of several segments that the sender built as one packet (GSO).
    public var isCutFromBurst = false
    public init(source: IPv4Address, destination: IPv4Address, proto: IPProtocol) {
        self.source = source
        self.destination = destination
        self.proto = proto
    }
}

/// Why a packet of one's own did not leave.
public enum OutputError: Error, Sendable { case noRoute, tooLong, refused }

extension LogicalProcess {
    /// Room for a packet with `byteCount` bytes behind the IP header.
    public func allocatePacket(_ byteCount: Int) -> (handle: FrameHandle, payload: UnsafeMutableRawBufferPointer) {
        let frame = pool.pointee.allocate(IPv4Header.byteCount + byteCount)
        let entry = pool.pointee[frame]
        return (frame, UnsafeMutableRawBufferPointer(start: entry.pointee.data + IPv4Header.byteCount, count: byteCount))
    }

    public func frameHandle(rawValue: UInt32) -> FrameHandle { pool.pointee.handle(rawValue) }

    /// Sends a filled packet of this namespace (`ip_queue_xmit`, `ip_push_pending_frames`): header, LOCAL_OUT, route, POSTROUTING.
    public func send(_ frame: FrameHandle, _ request: OutputRequest, namespace index: NamespaceIndex) throws(OutputError) {
        let entry = pool.pointee[frame]
        let space = namespace(index)
        books.emitted += 1
        entry.pointee.packetID = makePacketID()
        entry.pointee.device = space.pointee.loopback
        spend(costs.transmit, bytes: entry.pointee.count)
        guard let found = routeOutput(destination: request.destination, namespace: index) else {
            drop(frame, .noRoute, at: .none)
            throw .noRoute
        }
        var header = IPv4Header(source: request.source, destination: request.destination, proto: request.proto, totalLength: Int(entry.pointee.count))
        header.typeOfService = request.typeOfService
        header.timeToLive = request.timeToLive
        // __ip_make_skb: IP_PMTUDISC_WANT sets DF on what fits and cuts the rest.
        header.dontFragment =
            request.dontFragment
            && !(request.mayFragmentLocally && Int(entry.pointee.count) > pathMTU(to: request.destination, device: found.route.device, space))
        switch request.identification {
        case .zero: header.identification = 0
        case .value(let value): header.identification = value
        case .host: header.identification = space.pointee.identifications.next(source: request.source, destination: request.destination, proto: request.proto, now: now)
        }
        header.emit(to: entry.pointee.data)
        entry.pointee.device = found.route.device
        entry.pointee.socket = request.socket
        if request.confirmsNeighbour { entry.pointee.flags.insert(.confirmsNeighbour) }
        if request.hasFinishedChecksums { entry.pointee.flags.insert(.checksumsFinished) }
        if request.isCutFromBurst { entry.pointee.flags.insert(.cutFromBurst) }
        if request.mayFragmentLocally { entry.pointee.flags.insert(.mayFragment) }
        if !request.mayFragmentLocally, request.dontFragment,
            Int(entry.pointee.count) > pathMTU(to: request.destination, device: found.route.device, space)
        {
            drop(frame, .mustNotFragment, at: found.route.device)
            throw .tooLong
        }
        try sendLocal(frame, found.route, namespace: index)
    }

    /// LOCAL_OUT and what follows (`__ip_local_out`). A rewritten destination is routed again (`ip_route_me_harder`).
    private func sendLocal(_ frame: FrameHandle, _ route: Route, namespace index: NamespaceIndex) throws(OutputError) {
        var route = route
        let before = pool.pointee[frame].pointee.data.ipv4(IPv4Offset.destination)
        if let verdict = hookVerdict(frame, .localOut, input: .none, output: route.device, networkOffset: 0) {
            finish(frame, verdict, at: route.device, input: .none, networkOffset: 0)
            throw .refused
        }
        let after = pool.pointee[frame].pointee.data.ipv4(IPv4Offset.destination)
        if after != before {
            guard let again = routeOutput(destination: after, namespace: index) else {
                drop(frame, .noRoute, at: route.device)
                throw .noRoute
            }
            route = again.route
            pool.pointee[frame].pointee.device = route.device
        }
        output(frame, route, input: .none)
    }

    /// A packet that IPVS took from LOCAL_IN and rewrote goes out as one of the host's own would (`ip_vs_nat_xmit`).
    func sendRerouted(_ frame: FrameHandle, namespace index: NamespaceIndex) {
        let destination = pool.pointee[frame].pointee.data.ipv4(IPv4Offset.destination)
        guard let found = routeOutput(destination: destination, namespace: index) else {
            return drop(frame, .noRoute, at: pool.pointee[frame].pointee.device)
        }
        if found.isLocal {
            pool.pointee[frame].pointee.device = found.route.device
            try? sendLocal(frame, found.route, namespace: index)
            return
        }
        pool.pointee[frame].pointee.device = found.route.device
        pool.pointee[frame].pointee.flags.insert(.forwarded)
        try? sendLocal(frame, found.route, namespace: index)
    }

    /// POSTROUTING, size, neighbour (`ip_output`, `ip_finish_output`). `input` is where a forwarded packet came in, which POSTROUTING may ask (`indev`).
    func output(_ frame: FrameHandle, _ route: Route, input: InterfaceIndex) {
        pool.pointee[frame].pointee.device = route.device
        guard hook(frame, .postrouting, input: input, output: route.device, networkOffset: 0) else { return }
        let entry = pool.pointee[frame]
        let out = interface(route.device)
        let space = namespace(out.pointee.namespace)
        let header = entry.pointee.data
        let destination = header.ipv4(IPv4Offset.destination)
        let isForwarded = entry.pointee.flags.contains(.forwarded)
        let mtu = isForwarded ? out.pointee.mtu : pathMTU(to: destination, device: route.device, space)
        if Int(entry.pointee.count) > mtu {
            let must = header.u16(IPv4Offset.flagsAndOffset) & IPv4Offset.dontFragment != 0 && !entry.pointee.flags.contains(.mayFragment)
            if must {
                sendError(
                    about: frame, networkOffset: 0, type: ICMPv4.destinationUnreachable, code: ICMPv4.fragmentationNeeded, namespace: out.pointee.namespace,
                    information: UInt32(mtu))
                return drop(frame, .mustNotFragment, at: route.device)
            }
            return fragment(frame, networkOffset: 0, limit: mtu) { piece in finishOutput(piece, route) }
        }
        finishOutput(frame, route)
    }

    private func finishOutput(_ frame: FrameHandle, _ route: Route) {
        let entry = pool.pointee[frame]
        let device = interface(route.device)
        let destination = entry.pointee.data.ipv4(IPv4Offset.destination)
        switch device.pointee.kind {
        case .loopback:
            pushEthernet(frame, destination: .zero, source: .zero, type: .ipv4)
            transmit(frame, route.device)
        case .dummy:
            pushEthernet(frame, destination: .broadcast, source: device.pointee.mac, type: .ipv4)
            transmit(frame, route.device)
        case .veth, .bridge, .cable:
            let space = namespace(device.pointee.namespace)
            if destination.isBroadcast || space.pointee.broadcasts.find(UInt64(destination.rawValue)) == route.device.rawValue {
                pushEthernet(frame, destination: .broadcast, source: device.pointee.mac, type: .ipv4)
                return transmit(frame, route.device)
            }
            if destination.isMulticast {
                // RFC 1112 §6.4
                pushEthernet(
                    frame, destination: MACAddress(rawValue: 0x0100_5e00_0000 | UInt64(destination.rawValue & 0x7f_ffff)), source: device.pointee.mac, type: .ipv4)
                return transmit(frame, route.device)
            }
            let nextHop = route.nextHop(toward: destination)
            neighbourOutput(frame, findOrCreateNeighbour(nextHop, device: route.device))
        }
    }
}
