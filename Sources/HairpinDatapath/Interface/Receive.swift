import HairpinEngine
import HairpinWire

extension LogicalProcess {
    /// A frame taken from a backlog.
    func receive(_ frame: FrameHandle, on device: InterfaceIndex) { receiveInline(frame, on: device) }

    /// A frame taken from a backlog or a cable (`__netif_receive_skb_core`): taps, then the bridge if the device is a port, else a protocol.
    /// In line, for the event of a cable's arrival.
    @inline(__always)
    func receiveInline(_ frame: FrameHandle, on device: InterfaceIndex) {
        let entry = frame.frame
        let input = interface(device)
        entry.pointee.device = device
        spend(costs.receive, bytes: entry.pointee.count)
        if !input.pointee.isUp { return drop(frame, .interfaceDown, at: device) }
        input.pointee.counters.receivedFrames &+= 1
        input.pointee.counters.receivedBytes &+= UInt64(entry.pointee.count)
        if input.pointee.isTapped { sight(frame, device, .inbound) }
        if entry.pointee.count < UInt32(EthernetHeader.byteCount) { return drop(frame, .frameTooShort, at: device) }
        if input.pointee.master != .none { return bridgeReceive(frame, port: device) }
        if input.pointee.isAbsorbing, entry.pointee.data.mac(EthernetOffset.destination) == input.pointee.mac { return deliverFinished(frame) }
        classifyAndDeliver(frame, device)
    }

    @inline(never)
    private func classifyAndDeliver(_ frame: FrameHandle, _ device: InterfaceIndex) {
        classify(frame, interface(device).pointee.mac)
        deliverProtocol(frame, device)
    }

    /// Sets the packet type from the destination address (`eth_type_trans`).
    @inline(__always)
    func classify(_ frame: FrameHandle, _ own: MACAddress) {
        let entry = pool.pointee[frame]
        let destination = entry.pointee.data.mac(EthernetOffset.destination)
        entry.pointee.flags.subtract([.broadcast, .multicast, .otherHost])
        if destination == own { return }
        if destination.isBroadcast {
            entry.pointee.flags.insert(.broadcast)
        } else if destination.isMulticast {
            entry.pointee.flags.insert(.multicast)
        } else {
            entry.pointee.flags.insert(.otherHost)
        }
    }

    /// Hands a frame to ARP or IP of the device's namespace.
    func deliverProtocol(_ frame: FrameHandle, _ device: InterfaceIndex) {
        let entry = pool.pointee[frame]
        if entry.pointee.flags.contains(.otherHost) { return drop(frame, .otherHost, at: device) }
        if interface(device).pointee.isAbsorbing { return deliverFinished(frame) }
        switch EtherType(entry.pointee.data.u16(EthernetOffset.type)) {
        case .ipv4:
            entry.pointee.start += UInt32(EthernetHeader.byteCount)
            entry.pointee.count -= UInt32(EthernetHeader.byteCount)
            receiveIPv4(frame, device)
        case .arp:
            receiveARP(frame, device)
        default:
            // 802.1Q tags end here too: no VLAN interfaces are modelled.
            drop(frame, .unhandledProtocol, at: device)
        }
    }
}
