import HairpinEngine
import HairpinWire

// A bridge learns from the source of every frame, floods what it does not know, and gives the host what is for the host. In the order of
// Linux's br_input.c and br_forward.c:
//
//   bridgeReceive        br_handle_frame          a frame on a port; netfilter's PREROUTING if bridge-nf-call-iptables is on
//   bridgeDecide         br_handle_frame_finish   learn, look up, forward or flood; the host's copy last
//   bridgeForward        __br_forward             hairpin rule, then FORWARD and POSTROUTING, then the port
//   transmitBridge       br_dev_xmit              a frame the host itself sends through the bridge device
//   bridgeBurst          (BridgeBurst.swift)      the decision alone, for many frames at once
/// What a bridge does with a frame that came in on a port.
enum BridgeDecision {
    /// To the port the destination was seen on.
    case forward(InterfaceIndex)
    /// The destination is not known: to every port.
    case flood
    /// The bridge's own address.
    case local
    /// Broadcast, or multicast with snooping left out: to every port and to the host.
    case everywhere
}

extension ForwardingTable {
    /// Learns from a frame and looks up where it goes (`br_handle_frame_finish`). `own` is the bridge's address.
    @inline(__always)
    mutating func decide(source: StationKey, destination: StationKey, port: UInt16, own: StationKey, now: Instant) -> BridgeDecision {
        learn(source, port: port, now: now)
        if destination.isMulticast { return .everywhere }
        if destination == own { return .local }
        let out = self.port(of: destination, now: now)
        return out == .none ? .flood : .forward(out)
    }
}

extension LogicalProcess {
    @inline(__always)
    func bridgeReceive(_ frame: FrameHandle, port: InterfaceIndex) {
        spend(costs.bridge, bytes: frame.frame.pointee.count)
        let source = StationKey(frame.frame.pointee.data, at: EthernetOffset.source)
        if source.isMulticast || source.rawValue == 0 { return drop(frame, .bridgePortBlocked, at: port) }
        let input = interface(port)
        let bridge = input.pointee.master
        if !interface(bridge).pointee.isUp { return drop(frame, .interfaceDown, at: bridge) }
        let space = namespace(input.pointee.namespace)
        if space.pointee.bridgeCallsIPTables, space.pointee.netfilter.isActive,
            frame.frame.pointee.data.u16(EthernetOffset.type) == EtherType.ipv4.rawValue
        {
            classify(frame, interface(bridge).pointee.mac)
            return bridgePrerouting(frame, port: port, bridge: bridge)
        }
        decideAndForward(frame, port: port, bridge: bridge)
    }

    func bridgeDecide(_ frame: FrameHandle, port: InterfaceIndex, bridge: InterfaceIndex) { decideAndForward(frame, port: port, bridge: bridge) }

    /// The same for a frame whose destination has just been written, and is known: to read it again, with the bytes beside it, would be to wait for the write.
    func bridgeDecide(_ frame: FrameHandle, port: InterfaceIndex, bridge: InterfaceIndex, source: StationKey, destination: StationKey) {
        decideAndForward(frame, port: port, bridge: bridge, source: source, destination: destination)
    }

    /// The common case in line, everything else in functions of its own: most frames go from one port to another.
    @inline(__always)
    private func decideAndForward(_ frame: FrameHandle, port: InterfaceIndex, bridge: InterfaceIndex) {
        let data = frame.frame.pointee.data
        decideAndForward(
            frame, port: port, bridge: bridge, source: StationKey(data, at: EthernetOffset.source), destination: StationKey(data, at: EthernetOffset.destination))
    }

    @inline(__always)
    private func decideAndForward(_ frame: FrameHandle, port: InterfaceIndex, bridge: InterfaceIndex, source: StationKey, destination: StationKey) {
        let device = interface(bridge)
        let decision = (bridges + Int(device.pointee.bridge)).pointee.decide(
            source: source, destination: destination, port: interface(port).pointee.portNumber, own: StationKey(device.pointee.mac), now: now)
        guard case .forward(let out) = decision, !device.pointee.isTapped else { return carryOut(decision, frame, port: port, bridge: bridge) }
        bridgeForward(frame, to: out, ingress: port, bridge: bridge)
    }

    @inline(never)
    private func carryOut(_ decision: BridgeDecision, _ frame: FrameHandle, port: InterfaceIndex, bridge: InterfaceIndex) {
        switch decision {
        case .local:
            return passUp(frame, bridge: bridge)
        case .everywhere:
            let copy = pool.pointee.clone(frame)
            copied(copy)
            bridgeFlood(frame, ingress: port, bridge: bridge)
            return passUp(copy, bridge: bridge)
        case .forward, .flood: break
        }
        // A capture on the bridge (promiscuous, as tcpdump's are) sees every frame, after what forwarding it set off. The copy for it is no frame
        // of the network's: it appears in no book.
        let isTapped = interface(bridge).pointee.isTapped
        let seen = isTapped ? pool.pointee.clone(frame) : .none
        if isTapped { retainConnection(of: seen) }
        if case .forward(let out) = decision {
            bridgeForward(frame, to: out, ingress: port, bridge: bridge)
        } else {
            bridgeFlood(frame, ingress: port, bridge: bridge)
        }
        if isTapped {
            sight(seen, bridge, .inbound)
            release(seen)
        }
    }

    private func copied(_ frame: FrameHandle) {
        books.copied += 1
        retainConnection(of: frame)
    }

    private func retainConnection(of frame: FrameHandle) {
        let entry = pool.pointee[frame]
        if entry.pointee.connection != 0 {
            namespace(interface(entry.pointee.device).pointee.namespace).pointee.netfilter.retain(frame, &pool.pointee)
        }
    }

    /// The host's copy of a frame (`br_pass_frame_up`): it comes in on the bridge device.
    private func passUp(_ frame: FrameHandle, bridge: InterfaceIndex) {
        let entry = pool.pointee[frame]
        let device = interface(bridge)
        entry.pointee.device = bridge
        device.pointee.counters.receivedFrames += 1
        device.pointee.counters.receivedBytes += UInt64(entry.pointee.count)
        if device.pointee.isTapped { sight(frame, bridge, .inbound) }
        // Whoever was asked for before, the frame is for this host now: its own address, or everybody's.
        classify(frame, device.pointee.mac)
        entry.pointee.flags.remove(.otherHost)
        deliverProtocol(frame, bridge)
    }

    /// To every port but the one it came in on (`br_flood`), newest port first.
    func bridgeFlood(_ frame: FrameHandle, ingress: InterfaceIndex, bridge: InterfaceIndex) {
        let table = bridges + Int(interface(bridge).pointee.bridge)
        var previous = InterfaceIndex.none
        for n in stride(from: table.pointee.portCount - 1, through: 0, by: -1) {
            let port = table.pointee.port(n)
            guard mayDeliver(to: port, ingress: ingress) else { continue }
            if previous != .none {
                let copy = pool.pointee.clone(frame)
                copied(copy)
                bridgeForwardHooks(copy, to: previous, ingress: ingress, bridge: bridge)
            }
            previous = port
        }
        if previous == .none { return drop(frame, .bridgeNoPort, at: bridge) }
        bridgeForwardHooks(frame, to: previous, ingress: ingress, bridge: bridge)
    }

    /// `should_deliver`: not back out of the port it came in on, unless that port is in hairpin mode.
    @inline(__always)
    func mayDeliver(to port: InterfaceIndex, ingress: InterfaceIndex) -> Bool {
        interface(port).pointee.isUp && (port != ingress || interface(port).pointee.isHairpin)
    }

    @inline(__always)
    func bridgeForward(_ frame: FrameHandle, to port: InterfaceIndex, ingress: InterfaceIndex, bridge: InterfaceIndex) {
        guard mayDeliver(to: port, ingress: ingress) else {
            return drop(frame, port == ingress ? .bridgeSamePort : .interfaceDown, at: port)
        }
        bridgeForwardHooks(frame, to: port, ingress: ingress, bridge: bridge)
    }

    @inline(__always)
    private func bridgeForwardHooks(_ frame: FrameHandle, to port: InterfaceIndex, ingress: InterfaceIndex, bridge: InterfaceIndex) {
        if pool.pointee[frame].pointee.flags.contains(.bridgeNetfilter) {
            bridgeNetfilterForward(frame, to: port, ingress: ingress, bridge: bridge)
        } else {
            bridgePush(frame, to: port)
        }
    }

    /// The last step in the bridge (`br_dev_queue_push_xmit`).
    @inline(__always)
    func bridgePush(_ frame: FrameHandle, to port: InterfaceIndex) {
        let entry = pool.pointee[frame]
        if Int(entry.pointee.count) - EthernetHeader.byteCount > interface(port).pointee.mtu { return drop(frame, .frameTooLong, at: port) }
        transmitInline(frame, port)
    }

    /// The bridge device's own transmit function.
    func transmitBridge(_ frame: FrameHandle, _ bridge: InterfaceIndex) {
        let entry = pool.pointee[frame]
        if entry.pointee.flags.contains(.bridgedDNAT) { return bridgeFinishRedirected(frame, bridge: bridge) }
        let table = bridges + Int(interface(bridge).pointee.bridge)
        let destination = StationKey(entry.pointee.data, at: EthernetOffset.destination)
        if !destination.isMulticast {
            let port = table.pointee.port(of: destination, now: now)
            if port != .none {
                if !interface(port).pointee.isUp { return drop(frame, .interfaceDown, at: port) }
                return bridgePush(frame, to: port)
            }
        }
        bridgeFlood(frame, ingress: .none, bridge: bridge)
    }
}
