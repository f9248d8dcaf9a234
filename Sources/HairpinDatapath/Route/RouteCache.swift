import HairpinWire

/// The latest forwarding decisions of a namespace, by source, destination and interface: the checks on addresses and the look-ups behind them come to the
/// same for every packet of a flow. A decision holds until `removeAll`, which any change to addresses, routes or settings calls.
///
/// Raw memory: `deallocate` when done. None while nothing has been forwarded.
struct RouteCache {
    struct Decision {
        let route: Route
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
    private static let slotCount = 256
    private var slots: UnsafeMutablePointer<Slot>?
    private var epoch: UInt32 = 1

    func deallocate() { slots?.deallocate() }

    mutating func removeAll() {
        epoch &+= 1
        guard epoch == 0, let slots else { return }
        // Decisions of four thousand million changes ago must not come back.
        for n in 0..<RouteCache.slotCount { slots[n].epoch = 0 }
        epoch = 1
    }

    @inline(__always)
    private static func place(_ source: IPv4Address, _ destination: IPv4Address) -> Int {
        let word = UInt64(source.rawValue) << 32 | UInt64(destination.rawValue)
        return Int(truncatingIfNeeded: (word &* 0x9e37_79b9_7f4a_7c15) &>> 56)
    }

    @inline(__always)
    func find(_ source: IPv4Address, _ destination: IPv4Address, _ device: InterfaceIndex) -> UnsafeMutablePointer<Decision>? {
        guard let slots else { return nil }
        let slot = slots + RouteCache.place(source, destination)
        guard slot.pointee.source == source.rawValue, slot.pointee.destination == destination.rawValue, slot.pointee.device == device, slot.pointee.epoch == epoch
        else { return nil }
        return slot.pointer(to: \.decision)
    }

    mutating func store(_ route: Route, _ source: IPv4Address, _ destination: IPv4Address, _ device: InterfaceIndex) {
        let new = Slot(source: source.rawValue, destination: destination.rawValue, device: device, epoch: epoch, decision: Decision(route: route))
        guard let slots else {
            let made = UnsafeMutablePointer<Slot>.allocate(capacity: RouteCache.slotCount)
            var empty = new
            empty.epoch = 0
            made.initialize(repeating: empty, count: RouteCache.slotCount)
            slots = made
            made[RouteCache.place(source, destination)] = new
            return
        }
        slots[RouteCache.place(source, destination)] = new
    }
}
