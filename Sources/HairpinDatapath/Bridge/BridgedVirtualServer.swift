import HairpinEngine
import HairpinWire

extension LogicalProcess {
    /// A request in the middle of a connection, for a virtual service whose server stands behind the bridge it came in by: what comes of it by `passUp`,
    /// `receiveIPv4`, LOCAL_IN with IPVS, `sendRerouted`, LOCAL_OUT, POSTROUTING, the neighbour and `transmitBridge`, each of which would read the packet
    /// anew. False, and nothing but the bridge's memory of its sender has changed, if there is more to it: a capture on the bridge, a neighbour to be asked,
    /// masquerading.
    @inline(__always)
    func bridgesToServer(_ frame: FrameHandle, port: InterfaceIndex, bridge: InterfaceIndex) -> Bool {
        guard let filter = namespace(interface(bridge).pointee.namespace).pointee.netfilter.existing, filter.pointee.hasVirtualServers else { return false }
        return bridgesToServer(frame, port: port, bridge: bridge, filter)
    }

    @inline(never)
    private func bridgesToServer(_ frame: FrameHandle, port: InterfaceIndex, bridge: InterfaceIndex, _ filter: UnsafeMutablePointer<Netfilter>) -> Bool {
        let device = interface(bridge)
        let entry = pool.pointee[frame]
        let arrival = HookPlace(hook: .localIn, input: bridge, output: .none, networkOffset: EthernetHeader.byteCount)
        guard filter.pointee.passesPostrouting, !device.pointee.isTapped, !device.pointee.isAbsorbing,
            entry.pointee.data.mac(EthernetOffset.destination) == device.pointee.mac, !entry.pointee.flags.contains(.confirmsNeighbour),
            let (packet, connection, number) = filter.pointee.virtualRequest(arrival, frame, pool.pointee, now: now.nanoseconds),
            connection.pointee.status.isDisjoint(with: .translated), connection.pointee.masqueradeOutput == 0,
            let neighbour = serverNeighbour(connection, packet, IPv4Address(rawValue: filter.pointee.virtualServers.entries[number].server), bridge),
            neighbour.pointee.state.isConnected
        else { return false }
        let table = bridges + Int(device.pointee.bridge)
        let station = StationKey(neighbour.pointee.mac)
        let out = table.pointee.port(of: station, now: now)
        guard out != .none, !station.isMulticast, interface(out).pointee.isUp, packet.length <= min(device.pointee.mtu, interface(out).pointee.mtu) else { return false }
        table.pointee.learn(StationKey(entry.pointee.data, at: EthernetOffset.source), port: interface(port).pointee.portNumber, now: now)
        guard filter.pointee.forward(packet, connection, to: number, arrival, frame, &pool.pointee, now: now.nanoseconds) else { return false }

        device.pointee.counters.receivedFrames += 1
        device.pointee.counters.receivedBytes += UInt64(entry.pointee.count)
        // Link-layer padding ends here.
        entry.pointee.count = UInt32(EthernetHeader.byteCount + packet.length)
        entry.pointee.flags.subtract([.bridgeNetfilter, .broadcast, .multicast, .otherHost])
        spend(costs.route)
        let departure = HookPlace(hook: .localOut, input: .none, output: bridge, networkOffset: EthernetHeader.byteCount)
        guard filter.pointee.passes(departure, frame, &pool.pointee, now: now.nanoseconds) else {
            entry.pointee.start += UInt32(EthernetHeader.byteCount)
            entry.pointee.count -= UInt32(EthernetHeader.byteCount)
            sendRerouted(frame, namespace: device.pointee.namespace)
            return true
        }
        entry.pointee.flags.insert(.forwarded)
        (neighbour.pointee.used, neighbour.pointee.hasHeader) = (now, true)
        let data = entry.pointee.data
        data.put(neighbour.pointee.mac, at: EthernetOffset.destination)
        data.put(device.pointee.mac, at: EthernetOffset.source)
        device.pointee.counters.sentFrames &+= 1
        device.pointee.counters.sentBytes &+= UInt64(entry.pointee.count)
        transmitInline(frame, out)
        return true
    }

    /// The server's own entry among the bridge's neighbours, if requests to the service are for this host and the server is reached by the bridge. What
    /// routes say of it is remembered with the connection.
    @inline(__always)
    private func serverNeighbour(
        _ connection: UnsafeMutablePointer<Connection>, _ packet: PlainPacket, _ server: IPv4Address, _ bridge: InterfaceIndex
    ) -> UnsafeMutablePointer<Neighbour>? {
        let space = namespace(interface(bridge).pointee.namespace)
        if connection.pointee.serverEpoch == space.pointee.routeCache.epoch {
            let known = neighbours.pointee[connection.pointee.serverNeighbour]
            if known.pointee.device == bridge, known.pointee.address == server, !known.pointee.isForgotten { return known }
        }
        return findServerNeighbour(connection, packet, server, bridge)
    }

    @inline(never)
    private func findServerNeighbour(
        _ connection: UnsafeMutablePointer<Connection>, _ packet: PlainPacket, _ server: IPv4Address, _ bridge: InterfaceIndex
    ) -> UnsafeMutablePointer<Neighbour>? {
        let index = interface(bridge).pointee.namespace
        let space = namespace(index)
        guard
            case .local = routeInput(
                destination: packet.network.ipv4(IPv4Offset.destination), source: packet.network.ipv4(IPv4Offset.source), device: bridge),
            let found = routeOutput(destination: server, namespace: index), !found.isLocal, found.route.device == bridge, found.route.nextHop(toward: server) == server,
            !server.isBroadcast, !server.isMulticast, space.pointee.broadcasts.find(UInt64(server.rawValue)) == nil,
            let neighbour = neighbours.pointee.find(server, device: bridge)
        else { return nil }
        (connection.pointee.serverEpoch, connection.pointee.serverNeighbour) = (space.pointee.routeCache.epoch, neighbour)
        return neighbours.pointee[neighbour]
    }
}
