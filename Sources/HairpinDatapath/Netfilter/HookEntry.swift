import HairpinEngine
import HairpinWire

/// What rules may ask of the host they run on.
struct HookEnvironment: NetfilterEnvironment {
    unowned(unsafe) let process: LogicalProcess
    let namespace: NamespaceIndex

    func name(of index: InterfaceIndex) -> String { process.interfaceName(index) }
    func isLocal(_ address: IPv4Address) -> Bool { process.namespace(namespace).pointee.isLocal(address) }
    func prefetchIsLocal(_ address: IPv4Address) { process.namespace(namespace).pointee.prefetchIsLocal(address) }
    func isBroadcast(_ address: IPv4Address) -> Bool {
        address.isBroadcast || process.namespace(namespace).pointee.broadcasts.find(UInt64(address.rawValue)) != nil
    }
    func primaryAddress(of output: InterfaceIndex, toward destination: IPv4Address) -> IPv4Address? {
        process.selectSource(toward: destination, device: output, process.namespace(namespace))
    }
    func isLocal(_ address: IPv4Address, on interface: InterfaceIndex) -> Bool {
        process.namespace(namespace).pointee.addresses.contains { $0.device == interface && $0.address.address == address }
    }
    func mtu(of interface: InterfaceIndex) -> Int { process.interface(interface).pointee.mtu }
    func isWayBack(_ source: IPv4Address, by interface: InterfaceIndex, loose: Bool, acceptsLocal: Bool) -> Bool {
        let space = process.namespace(namespace)
        // The loopback device and senders without an address (DHCP) pass.
        if interface == .none || process.interface(interface).pointee.kind == .loopback || source == .any { return true }
        if space.pointee.isLocal(source) { return acceptsLocal }
        guard let route = space.pointee.routes.lookup(source) else { return false }
        return loose || route.device == interface
    }
    var now: Instant { process.now }
    mutating func random32() -> UInt32 { process.namespace(namespace).pointee.random.next32() }
}

extension LogicalProcess {
    /// Passes a packet through a hook. False if its life ended here: dropped, or refused and its sender told.
    @inline(__always)
    func hook(_ frame: FrameHandle, _ hook: Hook, input: InterfaceIndex, output: InterfaceIndex, networkOffset: Int) -> Bool {
        let place = HookPlace(hook: hook, input: input, output: output, networkOffset: networkOffset)
        if passesHook(frame, place) { return true }
        return passesTables(frame, place)
    }

    @inline(__always)
    private func passesHook(_ frame: FrameHandle, _ place: HookPlace) -> Bool {
        let space = namespace(interface(place.device).pointee.namespace)
        return space.pointee.netfilter.passes(place, frame, &pool.pointee, now: now.nanoseconds)
    }

    @inline(never)
    private func passesTables(_ frame: FrameHandle, _ place: HookPlace) -> Bool {
        guard let verdict = verdictOfTables(frame, place) else { return true }
        finish(frame, verdict, at: place.device, input: place.input, networkOffset: place.networkOffset)
        return false
    }

    /// The verdict of a hook, nil for "accept".
    @inline(__always)
    func hookVerdict(_ frame: FrameHandle, _ hook: Hook, input: InterfaceIndex, output: InterfaceIndex, networkOffset: Int) -> HookVerdict? {
        let place = HookPlace(hook: hook, input: input, output: output, networkOffset: networkOffset)
        return passesHook(frame, place) ? nil : verdictOfTables(frame, place)
    }

    @inline(never)
    private func verdictOfTables(_ frame: FrameHandle, _ place: HookPlace) -> HookVerdict? {
        let index = interface(place.device).pointee.namespace
        let space = namespace(index)
        var environment = HookEnvironment(process: self, namespace: index)
        let verdict = space.pointee.netfilter.runTables(place, frame, &pool.pointee, &environment)
        if space.pointee.netfilter.chargesRules { spend(space.pointee.netfilter.takeRuleTime()) }
        if case .accept = verdict { return nil }
        return verdict
    }

    func finish(_ frame: FrameHandle, _ verdict: HookVerdict, at device: InterfaceIndex, input: InterfaceIndex, networkOffset: Int) {
        switch verdict {
        case .accept, .reroute: preconditionFailure("not an end")
        case .drop(let reason): drop(frame, reason, at: device)
        case .reject(let kind):
            reject(frame, kind, input: input, networkOffset: networkOffset, namespace: interface(device).pointee.namespace)
            drop(frame, .ruleReject, at: device)
        case .policy(let direction, let kind):
            if let kind {
                let index = interface(device).pointee.namespace
                // A bridge's reset goes out as it is made, past NAT: it has to come from whom the sender spoke to.
                if kind == .tcpReset, networkOffset > 0 { namespace(index).pointee.netfilter.made.pointee.restoreDestination(frame, offset: networkOffset, &pool.pointee) }
                reject(frame, kind, input: input, networkOffset: networkOffset, namespace: index)
            }
            // At the pod's own port where the frame passes one: the one it came in by, or the one a bridge was about to send it out of.
            let entry = pool.pointee[frame]
            let port = direction == .egress ? entry.pointee.physicalIn : entry.pointee.physicalOut
            drop(frame, direction == .egress ? .networkPolicyEgress : .networkPolicyIngress, at: port == .none ? device : port)
        }
    }
}
