import HairpinEngine
import HairpinWire

extension LogicalProcess {
    /// Sends a complete frame out of a device (`dev_queue_xmit`).
    func transmit(_ frame: FrameHandle, _ device: InterfaceIndex) { transmitInline(frame, device) }

    /// The same in line, for what a bridge forwards and what generators send.
    @inline(__always)
    func transmitInline(_ frame: FrameHandle, _ device: InterfaceIndex) {
        let out = interface(device)
        let entry = pool.pointee[frame]
        entry.pointee.device = device
        if !out.pointee.isUp { return drop(frame, .interfaceDown, at: device) }
        out.pointee.counters.sentFrames &+= 1
        out.pointee.counters.sentBytes &+= UInt64(entry.pointee.count)
        // `lo` shows each packet once, on its way in, as libpcap does.
        if out.pointee.isTapped, out.pointee.kind != .loopback { sight(frame, device, .outbound) }
        if out.pointee.kind == .cable { return transmitCable(frame, device) }
        transmitOther(frame, device)
    }

    @inline(never)
    private func transmitOther(_ frame: FrameHandle, _ device: InterfaceIndex) {
        let out = interface(device)
        switch out.pointee.kind {
        case .loopback:
            enqueueBacklog(frame, on: device)
        case .veth:
            let peer = out.pointee.peer
            if !interface(peer).pointee.isUp { return drop(frame, .interfaceDown, at: peer) }
            scrub(frame)
            enqueueBacklog(frame, on: peer)
        case .cable: preconditionFailure("cables go another way")
        case .bridge:
            transmitBridge(frame, device)
        case .dummy:
            // A dummy device takes everything and keeps nothing.
            deliverFinished(frame)
        }
    }

    /// Shows a frame to whoever captures.
    @inline(never)
    func sight(_ frame: FrameHandle, _ device: InterfaceIndex, _ direction: TapDirection) {
        guard let log = state.pointee.log, !log.pointee.isCrowded else { return sightElsewhere(frame, device, direction) }
        let entry = pool.pointee[frame]
        log.pointee.append(entry.pointee.bytes, now, device, direction, packetID: entry.pointee.packetID)
    }

    /// `sight` for observers without a log, and where the log has to be relieved first.
    @inline(never)
    private func sightElsewhere(_ frame: FrameHandle, _ device: InterfaceIndex, _ direction: TapDirection) {
        guard let tap else { return }
        let entry = pool.pointee[frame]
        if let log = state.pointee.log {
            tap.relieveLog(now)
            log.pointee.append(entry.pointee.bytes, now, device, direction, packetID: entry.pointee.packetID)
        } else {
            tap.saw(entry.pointee.bytes, TapEvent(time: now, interface: device, direction: direction, packetID: entry.pointee.packetID))
        }
    }

    /// Puts an Ethernet header in front of a packet.
    func pushEthernet(_ frame: FrameHandle, destination: MACAddress, source: MACAddress, type: EtherType) {
        let entry = pool.pointee[frame]
        precondition(entry.pointee.start >= UInt32(EthernetHeader.byteCount), "no headroom left for a header")
        // Clones share their bytes, headroom included.
        pool.pointee.makeWritable(frame)
        entry.pointee.start -= UInt32(EthernetHeader.byteCount)
        entry.pointee.count += UInt32(EthernetHeader.byteCount)
        EthernetHeader(destination: destination, source: source, type: type).emit(to: entry.pointee.data)
    }
}
