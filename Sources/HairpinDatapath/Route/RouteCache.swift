import HairpinWire

/// The latest routing decisions of a namespace, by source, destination and interface: the checks on addresses and the look-ups behind them come to the
/// same for every packet of a flow. A decision holds until `removeAll`, which any change to addresses, routes or settings calls.
///
/// Raw memory: `deallocate` when done. None while nothing has been decided, and little while few flows share it.
struct RouteCache {
    struct Decision {
        /// For a local destination that of the loopback device.
        let route: Route
        let isLocal: Bool
        /// The entry of the next hop, once somebody has looked for it; good until it is forgotten.
        var neighbour: UInt32?
    }
    private struct Slot {
        var source: UInt32
        var destination: UInt32
        var device: InterfaceIndex
        /// Of the decision; zero in an empty slot.
        var epoch: UInt32
        var decision: Decision
    }
    private static let (firstCount, largestCount) = (8, 256)
    private var slots: UnsafeMutablePointer<Slot>?
    private var count = 0
    /// Decisions that took the place of others since there are so many slots.
    private var collisions = 0
    /// Of the routes, addresses and settings that decisions rest on; never zero.
    private(set) var epoch: UInt32 = 1

    func deallocate() { slots?.deallocate() }

    mutating func removeAll() {
        epoch &+= 1
        guard epoch == 0, let slots else { return }
        // Decisions of four thousand million changes ago must not come back.
        for n in 0..<count { slots[n].epoch = 0 }
        epoch = 1
    }

    @inline(__always)
    private func place(_ source: IPv4Address, _ destination: IPv4Address) -> Int {
        let word = UInt64(source.rawValue) << 32 | UInt64(destination.rawValue)
        return Int(truncatingIfNeeded: (word &* 0x9e37_79b9_7f4a_7c15) &>> 56) & (count &- 1)
    }

    /// A packet of the namespace's own has source `.any` and interface `.none`.
    @inline(__always)
    func find(_ source: IPv4Address, _ destination: IPv4Address, _ device: InterfaceIndex) -> UnsafeMutablePointer<Decision>? {
        guard let slots else { return nil }
        let slot = slots + place(source, destination)
        guard slot.pointee.source == source.rawValue, slot.pointee.destination == destination.rawValue, slot.pointee.device == device, slot.pointee.epoch == epoch
        else { return nil }
        return slot.pointer(to: \.decision)
    }

    @inline(never)
    mutating func store(_ route: Route, isLocal: Bool, _ source: IPv4Address, _ destination: IPv4Address, _ device: InterfaceIndex) {
        let new = Slot(
            source: source.rawValue, destination: destination.rawValue, device: device, epoch: epoch, decision: Decision(route: route, isLocal: isLocal))
        if slots == nil { allocate(RouteCache.firstCount, like: new) }
        guard let slots else { return }
        let slot = slots + place(source, destination)
        if slot.pointee.epoch == epoch { collisions += 1 }
        slot.pointee = new
        if collisions > 4 * count, count < RouteCache.largestCount { allocate(4 * count, like: new) }
    }

    /// So many empty slots.
    private mutating func allocate(_ count: Int, like slot: Slot) {
        slots?.deallocate()
        let made = UnsafeMutablePointer<Slot>.allocate(capacity: count)
        var empty = slot
        empty.epoch = 0
        made.initialize(repeating: empty, count: count)
        (slots, self.count, collisions) = (made, count, 0)
    }
}
