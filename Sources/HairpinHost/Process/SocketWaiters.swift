import HairpinDatapath
import HairpinTransport

/// Which processes wait for which sockets: an open-addressing table in raw memory, asked for every segment that makes a socket readable.
///
/// A process that is to run anyway is not told again, so that a stream's segments cost a look-up each and no more.
final class SocketWaiters {
    private struct Slot {
        /// Namespace and socket; zero is empty (socket ids begin at one).
        var key: UInt64
        var process: UInt32
    }
    private struct State {
        var slots: UnsafeMutablePointer<Slot>
        var mask = 15
        var count = 0
        /// By process number: it waits, and no event that runs it is in the queue.
        var sleeping: UnsafeMutablePointer<Bool>
        var sleepingCapacity = 16
    }
    private let state: UnsafeMutablePointer<State>

    init() {
        state = .allocate(capacity: 1)
        let slots = UnsafeMutablePointer<Slot>.allocate(capacity: 16)
        slots.initialize(repeating: Slot(key: 0, process: 0), count: 16)
        let sleeping = UnsafeMutablePointer<Bool>.allocate(capacity: 16)
        sleeping.initialize(repeating: false, count: 16)
        state.initialize(to: State(slots: slots, sleeping: sleeping))
    }

    deinit {
        state.pointee.slots.deallocate()
        state.pointee.sleeping.deallocate()
        state.deallocate()
    }

    var count: Int { state.pointee.count }

    @inline(__always)
    private static func key(_ namespace: NamespaceIndex, _ socket: SocketID) -> UInt64 { UInt64(namespace.rawValue) << 32 | UInt64(socket.rawValue) }
    @inline(__always)
    private static func home(_ key: UInt64, _ mask: Int) -> Int { Int(truncatingIfNeeded: (key &* 0x9e37_79b9_7f4a_7c15) >> 32) & mask }

    func setSleeping(_ process: UInt32, _ isSleeping: Bool) {
        let index = Int(process)
        if index >= state.pointee.sleepingCapacity {
            guard isSleeping else { return }
            let capacity = max(state.pointee.sleepingCapacity * 2, index + 1)
            let larger = UnsafeMutablePointer<Bool>.allocate(capacity: capacity)
            larger.initialize(repeating: false, count: capacity)
            larger.update(from: state.pointee.sleeping, count: state.pointee.sleepingCapacity)
            state.pointee.sleeping.deallocate()
            state.pointee.sleeping = larger
            state.pointee.sleepingCapacity = capacity
        }
        state.pointee.sleeping[index] = isSleeping
    }

    /// Calls `body` with each sleeping process that waits for the socket. `body` may put processes to sleep and wake them; it must not change who
    /// waits for what.
    @inline(__always)
    func forEachSleeper(_ namespace: NamespaceIndex, _ socket: SocketID, _ body: (UInt32) -> Void) {
        guard state.pointee.count > 0 else { return }
        let key = SocketWaiters.key(namespace, socket)
        let mask = state.pointee.mask
        var index = SocketWaiters.home(key, mask)
        while state.pointee.slots[index].key != 0 {
            let slot = state.pointee.slots[index]
            if slot.key == key, Int(slot.process) < state.pointee.sleepingCapacity, state.pointee.sleeping[Int(slot.process)] { body(slot.process) }
            index = (index &+ 1) & mask
        }
    }

    func add(_ process: UInt32, _ namespace: NamespaceIndex, _ socket: SocketID) {
        if (state.pointee.count + 1) * 2 > state.pointee.mask { grow() }
        place(Slot(key: SocketWaiters.key(namespace, socket), process: process))
        state.pointee.count += 1
    }

    /// Ends every wait of the process for the socket.
    func remove(_ process: UInt32, _ namespace: NamespaceIndex, _ socket: SocketID) {
        let key = SocketWaiters.key(namespace, socket)
        let mask = state.pointee.mask
        var index = SocketWaiters.home(key, mask)
        while state.pointee.slots[index].key != 0 {
            if state.pointee.slots[index].key == key, state.pointee.slots[index].process == process {
                close(index)
                state.pointee.count -= 1
            } else {
                index = (index &+ 1) & mask
            }
        }
    }

    /// Moves later slots back into the gap, so that probing needs no tombstones.
    private func close(_ index: Int) {
        let slots = state.pointee.slots
        let mask = state.pointee.mask
        var gap = index
        var next = (gap &+ 1) & mask
        while slots[next].key != 0 {
            let home = SocketWaiters.home(slots[next].key, mask)
            if (next &- home) & mask >= (next &- gap) & mask {
                slots[gap] = slots[next]
                gap = next
            }
            next = (next &+ 1) & mask
        }
        slots[gap].key = 0
    }

    private func place(_ slot: Slot) {
        var index = SocketWaiters.home(slot.key, state.pointee.mask)
        while state.pointee.slots[index].key != 0 { index = (index &+ 1) & state.pointee.mask }
        state.pointee.slots[index] = slot
    }

    private func grow() {
        let old = state.pointee.slots
        let size = state.pointee.mask + 1
        let slots = UnsafeMutablePointer<Slot>.allocate(capacity: size * 2)
        slots.initialize(repeating: Slot(key: 0, process: 0), count: size * 2)
        state.pointee.slots = slots
        state.pointee.mask = size * 2 - 1
        for index in 0..<size where old[index].key != 0 { place(old[index]) }
        old.deallocate()
    }
}
