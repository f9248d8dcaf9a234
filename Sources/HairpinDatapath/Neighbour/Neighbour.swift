import HairpinEngine
import HairpinWire

// The life of a neighbour entry (net/core/neighbour.c), as FACTS of the wire show it:
//
//   first use            INCOMPLETE: a broadcast request now, two more a second apart, then FAILED and the waiting packets come to grief
//   learned from a reply REACHABLE for 15–45 s, then STALE; learned from a request: STALE at once
//   use of a STALE entry DELAY: 5 s for somebody to confirm it (TCP's forward progress does), then PROBE: unicast requests
extension LogicalProcess {
    func findOrCreateNeighbour(_ address: IPv4Address, device: InterfaceIndex) -> UInt32 {
        if let known = neighbours.pointee.find(address, device: device) { return known }
        let index = neighbours.pointee.create(address, device: device)
        let space = namespace(interface(device).pointee.namespace)
        let entry = neighbours.pointee[index]
        // neigh_rand_reach_time
        let base = UInt32(NeighbourTable.baseReachableTime.nanoseconds / 1_000_000)
        entry.pointee.reachableTime = .milliseconds(Int64(space.pointee.random.below(base) + base / 2))
        // A new entry counts as confirmed long ago.
        entry.pointee.confirmed = now - NeighbourTable.baseReachableTime * 2
        return index
    }

    /// Sends a packet (starting at its IP header) to a neighbour (`neigh_resolve_output`): at once, or when the neighbour has answered.
    func neighbourOutput(_ frame: FrameHandle, _ index: UInt32) {
        let entry = neighbours.pointee[index]
        if pool.pointee[frame].pointee.flags.contains(.confirmsNeighbour) {
            // sock_confirm_neigh
            pool.pointee[frame].pointee.flags.remove(.confirmsNeighbour)
            entry.pointee.confirmed = now
        }
        entry.pointee.used = now
        if entry.pointee.state.isConnected { return neighbourTransmit(frame, index) }
        switch entry.pointee.state {
        case .delay, .probe:
            neighbourTransmit(frame, index)
        case .stale:
            setState(index, .delay)
            arm(index, at: TimerWheel.expiry(now, after: NeighbourTable.delayProbeTime))
            neighbourTransmit(frame, index)
        case .incomplete:
            hold(frame, index)
        case .none, .failed:
            // neigh_event_send: a first solicitation goes out at once.
            entry.pointee.probes = 0
            setState(index, .incomplete)
            entry.pointee.updated = now
            hold(frame, index)
            arm(index, at: TimerWheel.expiry(now, after: NeighbourTable.retransmitTime))
            solicit(index)
        case .reachable, .permanent, .noARP:
            neighbourTransmit(frame, index)
        }
    }

    private func neighbourTransmit(_ frame: FrameHandle, _ index: UInt32) {
        let entry = neighbours.pointee[index]
        entry.pointee.hasHeader = true
        let device = entry.pointee.device
        pushEthernet(frame, destination: entry.pointee.mac, source: interface(device).pointee.mac, type: .ipv4)
        transmit(frame, device)
    }

    private func hold(_ frame: FrameHandle, _ index: UInt32) {
        let entry = neighbours.pointee[index]
        let size = truesize(frame)
        while entry.pointee.waitingBytes + size > NeighbourTable.waitingBytesLimit, !entry.pointee.waiting.isEmpty {
            let oldest = entry.pointee.waiting.removeFirst()
            entry.pointee.waitingBytes -= truesize(oldest)
            noteHeld(oldest, -1)
            drop(oldest, .neighbourQueueFull, at: entry.pointee.device)
        }
        entry.pointee.waitingBytes += size
        noteHeld(frame, 1)
        entry.pointee.waiting.append(frame)
    }

    /// What a packet weighs in the kernel's accounting: its buffer's size class, not its length.
    private func truesize(_ frame: FrameHandle) -> Int { pool.pointee[frame].pointee.count < 512 ? 768 : 2304 + Int(pool.pointee[frame].pointee.count) / 4096 * 4096 }

    private func setState(_ index: UInt32, _ state: NeighbourState) { neighbours.pointee[index].pointee.state = state }

    private func arm(_ index: UInt32, at requested: Instant) {
        let entry = neighbours.pointee[index]
        // neigh_timer_handler never re-arms for less than HZ/100.
        let deadline = requested == .distantFuture ? requested : max(requested, now + .milliseconds(10))
        entry.pointee.deadline = deadline
        if deadline < entry.pointee.queued {
            entry.pointee.queued = deadline
            queue.pointee.push(deadline, EventSource(kind: EventKind.neighbour.rawValue, index: index))
        }
    }

    /// `neigh_timer_handler`.
    func neighbourTimer(_ index: UInt32) {
        let entry = neighbours.pointee[index]
        if entry.pointee.queued > now { return }
        entry.pointee.queued = .distantFuture
        if entry.pointee.deadline > now {
            if entry.pointee.deadline != .distantFuture { arm(index, at: entry.pointee.deadline) }
            return
        }
        entry.pointee.deadline = .distantFuture
        switch entry.pointee.state {
        case .reachable:
            if now <= entry.pointee.confirmed + entry.pointee.reachableTime {
                arm(index, at: entry.pointee.confirmed + entry.pointee.reachableTime)
            } else if now <= entry.pointee.used + NeighbourTable.delayProbeTime {
                setState(index, .delay)
                entry.pointee.updated = now
                arm(index, at: TimerWheel.expiry(now, after: NeighbourTable.delayProbeTime))
            } else {
                setState(index, .stale)
                entry.pointee.updated = now
            }
        case .delay:
            if now <= entry.pointee.confirmed + NeighbourTable.delayProbeTime {
                setState(index, .reachable)
                entry.pointee.updated = now
                arm(index, at: entry.pointee.confirmed + entry.pointee.reachableTime)
            } else {
                setState(index, .probe)
                entry.pointee.updated = now
                entry.pointee.probes = 0
                probe(index, limit: NeighbourTable.unicastProbes)
            }
        case .probe:
            probe(index, limit: NeighbourTable.unicastProbes)
        case .incomplete:
            probe(index, limit: NeighbourTable.multicastProbes)
        case .none, .stale, .failed, .permanent, .noARP: break
        }
    }

    private func probe(_ index: UInt32, limit: Int) {
        let entry = neighbours.pointee[index]
        if entry.pointee.probes >= limit {
            setState(index, .failed)
            entry.pointee.updated = now
            entry.pointee.hasHeader = false
            return fail(index)
        }
        arm(index, at: TimerWheel.expiry(now, after: NeighbourTable.retransmitTime))
        solicit(index)
    }

    /// Every waiting packet is answered with host unreachable (`neigh_invalidate`, `arp_error_report`, `ipv4_link_failure`).
    private func fail(_ index: UInt32) {
        let entry = neighbours.pointee[index]
        let device = entry.pointee.device
        while !entry.pointee.waiting.isEmpty {
            let frame = entry.pointee.waiting.removeFirst()
            noteHeld(frame, -1)
            sendError(about: frame, networkOffset: 0, type: ICMPv4.destinationUnreachable, code: ICMPv4.hostUnreachable, namespace: interface(device).pointee.namespace)
            drop(frame, .neighbourFailed, at: device)
        }
        entry.pointee.waitingBytes = 0
    }

    /// `neigh_update` for what an ARP packet said. `override` lets a different address replace a valid one.
    func updateNeighbour(_ index: UInt32, mac: MACAddress, state requested: NeighbourState, override: Bool) {
        let entry = neighbours.pointee[index]
        let old = entry.pointee.state
        if old == .permanent || old == .noARP { return }
        var state = requested
        let sameAddress = old.isValid && mac == entry.pointee.mac
        if requested.isConnected { entry.pointee.confirmed = now }
        if old.isValid {
            if !sameAddress, !override { return }
            if sameAddress, state == .stale { state = old }
        }
        if state != old || !sameAddress { entry.pointee.updated = now }
        if state != old {
            entry.pointee.deadline = .distantFuture
            setState(index, state)
            if state == .reachable { arm(index, at: now + entry.pointee.reachableTime) }
        }
        if !sameAddress {
            entry.pointee.mac = mac
            if !state.isConnected { entry.pointee.confirmed = now - NeighbourTable.baseReachableTime * 2 }
        }
        if state != old, !old.isValid {
            while !entry.pointee.waiting.isEmpty, neighbours.pointee[index].pointee.state.isValid {
                let frame = entry.pointee.waiting.removeFirst()
                noteHeld(frame, -1)
                neighbourOutput(frame, index)
            }
            neighbours.pointee[index].pointee.waitingBytes = 0
        }
    }

    /// How many packets of a socket wait in neighbour queues (`skb_still_in_host_queue`).
    func noteHeld(_ frame: FrameHandle, _ change: Int) {
        let entry = pool.pointee[frame]
        guard entry.pointee.socket != 0 else { return }
        let space = namespace(interface(entry.pointee.device).pointee.namespace)
        let key = UInt64(entry.pointee.socket)
        let held = Int(space.pointee.held.find(key) ?? 0) + change
        if held <= 0 { space.pointee.held.remove(key) } else { space.pointee.held.set(key, UInt32(held)) }
    }
}
