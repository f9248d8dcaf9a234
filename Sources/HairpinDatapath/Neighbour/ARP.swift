import HairpinEngine
import HairpinWire

extension LogicalProcess {
    /// Asks for a neighbour (`arp_solicit`): broadcast while nothing is known, unicast to confirm what is.
    func solicit(_ index: UInt32) {
        let entry = neighbours.pointee[index]
        let device = entry.pointee.device
        entry.pointee.probes += 1
        let space = namespace(interface(device).pointee.namespace)
        let unicast = entry.pointee.state == .probe
        // arp_announce 0: the source of the packet that waits, if it is ours; else the one the route would use.
        var source = IPv4Address.any
        if !entry.pointee.waiting.isEmpty {
            let packet = pool.pointee[entry.pointee.waiting.head].pointee.data.ipv4(IPv4Offset.source)
            if space.pointee.isLocal(packet) { source = packet }
        }
        if source == .any { source = selectSource(toward: entry.pointee.address, device: device, space) ?? .any }
        sendARP(
            ARPHeader(
                operation: .request, senderHardware: interface(device).pointee.mac, senderProtocol: source, targetHardware: .zero, targetProtocol: entry.pointee.address),
            to: unicast ? entry.pointee.mac : .broadcast, device)
    }

    func sendARP(_ packet: ARPHeader, to destination: MACAddress, _ device: InterfaceIndex) {
        let frame = pool.pointee.allocate(EthernetHeader.byteCount + ARPHeader.byteCount)
        let entry = pool.pointee[frame]
        entry.pointee.packetID = makePacketID()
        books.emitted += 1
        spend(costs.transmit)
        EthernetHeader(destination: destination, source: interface(device).pointee.mac, type: .arp).emit(to: entry.pointee.data)
        packet.emit(to: entry.pointee.data + EthernetHeader.byteCount)
        transmit(frame, device)
    }

    /// `arp_rcv` and `arp_process`.
    func receiveARP(_ frame: FrameHandle, _ device: InterfaceIndex) {
        let entry = pool.pointee[frame]
        let bytes = entry.pointee.bytes
        upper.sawARP(bytes, interface: device)
        guard let packet = ARPHeader(parsing: UnsafeRawBufferPointer(rebasing: bytes[EthernetHeader.byteCount...])) else { return drop(frame, .malformedARP, at: device) }
        let isUnicast = entry.pointee.flags.isDisjoint(with: [.broadcast, .multicast])
        defer { deliverFinished(frame) }
        // A device without an IP configuration does not speak ARP.
        let space = namespace(interface(device).pointee.namespace)
        if packet.targetProtocol.isMulticast || packet.targetProtocol.isLoopback { return }
        if packet.operation == .request {
            // Duplicate address detection (RFC 5227 §2.1.1): answered without learning.
            if packet.senderProtocol == .any {
                if space.pointee.isLocal(packet.targetProtocol) { answer(packet, device) }
                return
            }
            if space.pointee.isLocal(packet.targetProtocol), isLegitimateSender(packet.senderProtocol, device, space) {
                // neigh_event_ns: whoever asks has told us its address.
                let index = findOrCreateNeighbour(packet.senderProtocol, device: device)
                updateNeighbour(index, mac: packet.senderHardware, state: .stale, override: true)
                answer(packet, device)
                return
            }
        }
        guard let index = neighbours.pointee.find(packet.senderProtocol, device: device) else { return }
        let known = neighbours.pointee[index]
        let isGratuitous = packet.senderProtocol == packet.targetProtocol
        let override = now > known.pointee.updated + NeighbourTable.lockTime || isGratuitous
        let confirms = packet.operation == .reply && isUnicast
        updateNeighbour(index, mac: packet.senderHardware, state: confirms ? .reachable : .stale, override: override)
    }

    private func answer(_ request: ARPHeader, _ device: InterfaceIndex) {
        let own = interface(device).pointee.mac
        sendARP(
            ARPHeader(
                operation: .reply, senderHardware: own, senderProtocol: request.targetProtocol, targetHardware: request.senderHardware,
                targetProtocol: request.senderProtocol),
            to: request.senderHardware, device)
    }

    /// The source check of `ip_route_input` that `arp_process` relies on: nobody but us uses our own address.
    private func isLegitimateSender(_ sender: IPv4Address, _ device: InterfaceIndex, _ space: UnsafeMutablePointer<Namespace>) -> Bool {
        !space.pointee.isLocal(sender) && !sender.isMulticast && !sender.isLoopback && !sender.isBroadcast
    }
}
