import HairpinEngine
import HairpinWire

extension LogicalProcess {
    /// The sound IP packet at an offset of a frame, nil if `ip_rcv` would not have it (the checksum included).
    func soundPacket(_ frame: FrameHandle, offset: Int) -> IPv4View? {
        let entry = pool.pointee[frame]
        let bytes = entry.pointee.bytes
        guard let packet = IPv4View(UnsafeRawBufferPointer(rebasing: bytes[min(offset, bytes.count)...])),
            entry.pointee.flags.contains(.checksumsFinished) || packet.isChecksumValid
        else { return nil }
        return packet
    }

    /// A packet that starts at its IP header, from a device (`ip_rcv`).
    func receiveIPv4(_ original: FrameHandle, _ device: InterfaceIndex) {
        var frame = original
        guard let packet = IPv4View(pool.pointee[frame].pointee.bytes) else { return drop(frame, .malformedIP, at: device) }
        guard pool.pointee[frame].pointee.flags.contains(.checksumsFinished) || packet.isChecksumValid else { return drop(frame, .checksumIP, at: device) }
        assert(packet.isChecksumValid, "a finished checksum that is wrong")
        // Link-layer padding ends here.
        pool.pointee[frame].pointee.count = UInt32(packet.totalLength)
        spend(costs.route)
        let index = interface(device).pointee.namespace
        let space = namespace(index)
        if pool.pointee[frame].pointee.flags.contains(.bridgeNetfilter) {
            // ip_sabotage_in: the bridge has already run PREROUTING.
            pool.pointee[frame].pointee.flags.remove(.bridgeNetfilter)
        } else if space.pointee.netfilter.isActive {
            if packet.isFragment {
                guard let whole = reassemble(frame, networkOffset: 0, namespace: index, key: .prerouting) else { return }
                frame = whole
                pool.pointee[frame].pointee.device = device
            }
            guard hook(frame, .prerouting, input: device, output: .none, networkOffset: 0) else { return }
        }
        let header = pool.pointee[frame].pointee.data
        let source = header.ipv4(IPv4Offset.source)
        let destination = header.ipv4(IPv4Offset.destination)
        switch routeInput(destination: destination, source: source, device: device) {
        case .local, .broadcast: deliverLocally(frame, device)
        case .forward(let route):
            if pool.pointee[frame].pointee.flags.isDisjoint(with: [.broadcast, .multicast]) {
                forward(frame, device, route)
            } else {
                // RFC 1812 §5.3.4: what came as a link-layer broadcast is not forwarded.
                drop(frame, .notForwarding, at: device)
            }
        case .unreachable:
            // ip_error: a host that does not forward stays silent.
            if space.pointee.forwards {
                sendError(about: frame, networkOffset: 0, type: ICMPv4.destinationUnreachable, code: ICMPv4.netUnreachable, namespace: index)
            }
            drop(frame, .noRoute, at: device)
        case .martian(let reason):
            drop(frame, reason, at: device)
        }
    }

    /// A packet for this host (`ip_local_deliver`).
    func deliverLocally(_ original: FrameHandle, _ device: InterfaceIndex) {
        var frame = original
        let index = interface(device).pointee.namespace
        if let packet = IPv4View(pool.pointee[frame].pointee.bytes), packet.isFragment {
            guard let whole = reassemble(frame, networkOffset: 0, namespace: index, key: .local) else { return }
            frame = whole
            pool.pointee[frame].pointee.device = device
        }
        if let verdict = hookVerdict(frame, .localIn, input: device, output: .none, networkOffset: 0) {
            if case .reroute = verdict { return sendRerouted(frame, namespace: index) }
            return finish(frame, verdict, at: device, input: device, networkOffset: 0)
        }
        let entry = pool.pointee[frame]
        guard let packet = IPv4View(entry.pointee.bytes) else { return drop(frame, .malformedIP, at: device) }
        spend(costs.deliver, bytes: entry.pointee.count)
        if packet.proto == .icmp, let message = ICMPView(packet.payload), ICMPv4.isError(message.type) {
            guard message.isChecksumValid else { return drop(frame, .checksumTransport, at: device) }
            receiveError(message, from: packet.source, namespace: index)
            return deliverFinished(frame)
        }
        if packet.proto == .icmp, packet.destination.isBroadcast || namespace(index).pointee.broadcasts.find(UInt64(packet.destination.rawValue)) != nil {
            // icmp_echo_ignore_broadcasts is on by default.
            return drop(frame, .noSocket, at: device)
        }
        let flags = entry.pointee.flags
        switch upper.deliver(
            packet.bytes, namespace: index, checksumVerified: !flags.isDisjoint(with: [.partialChecksum, .checksumsFinished]),
            cutFromBurst: flags.contains(.cutFromBurst))
        {
        case .delivered: deliverFinished(frame)
        case .dropped(let reason): drop(frame, reason, at: device)
        case .portUnreachable:
            sendError(about: frame, networkOffset: 0, type: ICMPv4.destinationUnreachable, code: ICMPv4.portUnreachable, namespace: index)
            drop(frame, .noSocket, at: device)
        case .protocolUnreachable:
            sendError(about: frame, networkOffset: 0, type: ICMPv4.destinationUnreachable, code: ICMPv4.protocolUnreachable, namespace: index)
            drop(frame, .unhandledIPProtocol, at: device)
        }
    }

    /// An ICMP error for something this namespace sent (`icmp_unreach`).
    private func receiveError(_ message: ICMPView, from offender: IPv4Address, namespace index: NamespaceIndex) {
        guard message.payload.count >= 20, let quoted = message.payload.baseAddress, quoted.u8(0) >> 4 == 4 else { return }
        var information: UInt32 = 0
        if message.type == ICMPv4.destinationUnreachable, message.code == ICMPv4.fragmentationNeeded {
            // RFC 1191 §6.3; routers of before it leave the field zero and are answered with the least every link takes.
            let mtu = max(message.nextHopMTU, 552)
            information = UInt32(mtu)
            let destination = quoted.ipv4(IPv4Offset.destination)
            // mtu_expires is 10 minutes.
            namespace(index).pointee.pathMTUs[destination] = (mtu, now + .seconds(600))
        }
        upper.receiveError(type: message.type, code: message.code, information: information, offender: offender, quote: message.payload, namespace: index)
    }
}
