import HairpinEngine
import HairpinWire

// IP's netfilter hooks for frames that a bridge forwards (net/bridge/br_netfilter_hooks.c), on when net.bridge.bridge-nf-call-iptables is 1.
//
//   bridgePrerouting           br_nf_pre_routing, br_nf_pre_routing_finish    defragment, PREROUTING; was the destination changed?
//   bridgesToServer                (BridgedVirtualServer.swift)               IPVS: up to LOCAL_IN and down again in one step
//   bridgeRedirect             br_nf_pre_routing_finish_bridge                same bridge: find the new MAC address and go on bridging
//   bridgeFinishRedirected     br_nf_pre_routing_finish_bridge_slow           back from the bridge device's transmit function
//   bridgeNetfilterForward     br_nf_forward_ip, br_nf_post_routing           FORWARD, POSTROUTING, refragment
extension LogicalProcess {
    @inline(never)
    func bridgePrerouting(_ original: FrameHandle, port: InterfaceIndex, bridge: InterfaceIndex) {
        var frame = original
        let space = namespace(interface(port).pointee.namespace)
        // br_validate_ipv4: what is not a sound IP packet does not cross a filtering bridge.
        guard let packet = soundPacket(frame, offset: EthernetHeader.byteCount) else { return drop(frame, .malformedIP, at: port) }
        if packet.isFragment, space.pointee.netfilter.isActive {
            guard let whole = reassemble(frame, networkOffset: EthernetHeader.byteCount, namespace: interface(port).pointee.namespace, key: .bridge) else { return }
            frame = whole
        }
        let entry = pool.pointee[frame]
        entry.pointee.physicalIn = port
        entry.pointee.flags.insert(.bridgeNetfilter)
        entry.pointee.device = bridge
        let before = entry.pointee.data.ipv4(EthernetHeader.byteCount + IPv4Offset.destination)
        let wasOther = entry.pointee.flags.contains(.otherHost)
        guard hook(frame, .prerouting, input: bridge, output: .none, networkOffset: EthernetHeader.byteCount) else { return }
        let after = entry.pointee.data.ipv4(EthernetHeader.byteCount + IPv4Offset.destination)
        if before == after {
            if entry.pointee.connectionInfo == .established, bridgesToServer(frame, port: port, bridge: bridge) { return }
            return bridgeDecide(frame, port: port, bridge: bridge)
        }
        // br_nf_pre_routing_finish: the destination was rewritten.
        let source = entry.pointee.data.ipv4(EthernetHeader.byteCount + IPv4Offset.source)
        if let known = space.pointee.routeCache.find(source, after, bridge), known.pointee.route.device == bridge {
            var neighbour = known.pointee.neighbour
            if neighbour.map({ neighbours.pointee[$0].pointee.isForgotten }) ?? true {
                neighbour = findOrCreateNeighbour(known.pointee.route.nextHop(toward: after), device: bridge)
                known.pointee.neighbour = neighbour
            }
            return bridgeRedirect(frame, port: port, bridge: bridge, neighbour: neighbour.unsafelyUnwrapped)
        }
        switch routeInput(destination: after, source: source, device: bridge) {
        case .forward(let route) where route.device == bridge:
            bridgeRedirect(frame, port: port, bridge: bridge, neighbour: findOrCreateNeighbour(route.nextHop(toward: after), device: bridge))
        case .martian(let reason):
            drop(frame, reason, at: bridge)
        case .forward, .local, .broadcast, .unreachable:
            // Not behind this bridge: the host routes it.
            pool.pointee.makeWritable(frame)
            pool.pointee[frame].pointee.data.put(interface(bridge).pointee.mac, at: EthernetOffset.destination)
            if wasOther { pool.pointee[frame].pointee.flags.remove(.otherHost) }
            bridgeDecide(frame, port: port, bridge: bridge)
        }
    }

    @inline(__always)
    private func bridgeRedirect(_ frame: FrameHandle, port: InterfaceIndex, bridge: InterfaceIndex, neighbour index: UInt32) {
        let neighbour = neighbours.pointee[index]
        if neighbour.pointee.state.isConnected, neighbour.pointee.hasHeader {
            // The frame has bytes of its own since its destination was rewritten.
            let data = pool.pointee[frame].pointee.data
            let source = StationKey(data, at: EthernetOffset.source)
            data.put(neighbour.pointee.mac, at: EthernetOffset.destination)
            classify(frame, interface(bridge).pointee.mac)
            return bridgeDecide(frame, port: port, bridge: bridge, source: source, destination: StationKey(neighbour.pointee.mac))
        }
        // The neighbour output writes a whole new MAC header, so the source is kept for afterwards; the frame comes back through the bridge
        // device's transmit function, where a capture sees it an extra time.
        let entry = pool.pointee[frame]
        entry.pointee.savedSource = entry.pointee.data.mac(EthernetOffset.source)
        entry.pointee.flags.insert(.bridgedDNAT)
        entry.pointee.start += UInt32(EthernetHeader.byteCount)
        entry.pointee.count -= UInt32(EthernetHeader.byteCount)
        neighbourOutput(frame, index)
    }

    func bridgeFinishRedirected(_ frame: FrameHandle, bridge: InterfaceIndex) {
        pool.pointee.makeWritable(frame)
        let entry = pool.pointee[frame]
        entry.pointee.flags.remove(.bridgedDNAT)
        entry.pointee.data.put(entry.pointee.savedSource, at: EthernetOffset.source)
        entry.pointee.device = bridge
        classify(frame, interface(bridge).pointee.mac)
        bridgeDecide(frame, port: entry.pointee.physicalIn, bridge: bridge)
    }

    @inline(never)
    func bridgeNetfilterForward(_ frame: FrameHandle, to port: InterfaceIndex, ingress: InterfaceIndex, bridge: InterfaceIndex) {
        let entry = pool.pointee[frame]
        entry.pointee.physicalOut = port
        entry.pointee.device = bridge
        guard hook(frame, .forward, input: bridge, output: bridge, networkOffset: EthernetHeader.byteCount),
            hook(frame, .postrouting, input: .none, output: bridge, networkOffset: EthernetHeader.byteCount)
        else { return }
        entry.pointee.flags.remove(.bridgeNetfilter)
        let limit = Int(entry.pointee.largestFragment)
        if limit > 0, Int(entry.pointee.count) - EthernetHeader.byteCount > interface(port).pointee.mtu {
            // br_nf_ip_fragment: out in the sizes it came in.
            return fragment(frame, networkOffset: EthernetHeader.byteCount, limit: min(limit, interface(port).pointee.mtu)) { piece in
                transmit(piece, port)
            }
        }
        bridgePush(frame, to: port)
    }
}
