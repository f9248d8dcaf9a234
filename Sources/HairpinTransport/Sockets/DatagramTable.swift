/// UDP sockets by port: an open-addressing table in raw memory whose entries lead to the sockets of a port in the order they were bound.
struct DatagramTable: ~Copyable {
    private struct Slot {
        /// Zero is empty: no socket is bound to port zero.
        var port: UInt16
        var first: Unmanaged<DatagramSocket>?
    }
    private var slots: UnsafeMutablePointer<Slot>?
    private var mask = 0
    private var count = 0

    init() {}
    deinit {
        if let slots {
            for index in 0...mask {
                var next = slots[index].port == 0 ? nil : slots[index].first
                while let socket = next {
                    next = socket._withUnsafeGuaranteedRef { $0.nextOnPort }
                    socket.release()
                }
            }
            slots.deallocate()
        }
    }

    @inline(__always)
    private static func home(_ port: UInt16, _ mask: Int) -> Int { (Int(port) &* 0x9e37 >> 3) & mask }

    private func find(_ port: UInt16) -> Int? {
        guard let slots else { return nil }
        var index = DatagramTable.home(port, mask)
        while slots[index].port != port {
            if slots[index].port == 0 { return nil }
            index = (index + 1) & mask
        }
        return index
    }

    /// The first socket of the port; the others follow through `nextOnPort`. Valid while no socket is added or removed.
    @inline(__always)
    func first(_ port: UInt16) -> Unmanaged<DatagramSocket>? {
        guard let index = find(port) else { return nil }
        return slots.unsafelyUnwrapped[index].first
    }

    func contains(_ port: UInt16, where matches: (DatagramSocket) -> Bool) -> Bool {
        var next = first(port)
        while let socket = next {
            if socket._withUnsafeGuaranteedRef({ matches($0) }) { return true }
            next = socket._withUnsafeGuaranteedRef { $0.nextOnPort }
        }
        return false
    }

    mutating func add(_ socket: DatagramSocket) {
        let port = socket.local.port
        let entry = Unmanaged.passRetained(socket)
        socket.nextOnPort = nil
        if var last = first(port) {
            while let next = last._withUnsafeGuaranteedRef({ $0.nextOnPort }) { last = next }
            last._withUnsafeGuaranteedRef { $0.nextOnPort = entry }
            return
        }
        if (count + 1) * 2 > mask { grow() }
        place(Slot(port: port, first: entry))
        count += 1
    }

    /// Does nothing if the socket is not there.
    mutating func remove(_ socket: DatagramSocket) {
        guard let index = find(socket.local.port), let slots else { return }
        var previous: Unmanaged<DatagramSocket>?
        var current = slots[index].first
        while let entry = current, entry.toOpaque() != Unmanaged.passUnretained(socket).toOpaque() {
            previous = entry
            current = entry._withUnsafeGuaranteedRef { $0.nextOnPort }
        }
        guard let entry = current else { return }
        let next = socket.nextOnPort
        socket.nextOnPort = nil
        if let previous {
            previous._withUnsafeGuaranteedRef { $0.nextOnPort = next }
        } else if next != nil {
            slots[index].first = next
        } else {
            close(index)
        }
        entry.release()
    }

    private mutating func close(_ index: Int) {
        guard let slots else { return }
        var gap = index
        var next = (gap + 1) & mask
        while slots[next].port != 0 {
            let home = DatagramTable.home(slots[next].port, mask)
            if (next - home) & mask >= (next - gap) & mask {
                slots[gap] = slots[next]
                gap = next
            }
            next = (next + 1) & mask
        }
        slots[gap] = Slot(port: 0, first: nil)
        count -= 1
    }

    private func place(_ slot: Slot) {
        var index = DatagramTable.home(slot.port, mask)
        while slots.unsafelyUnwrapped[index].port != 0 { index = (index + 1) & mask }
        slots.unsafelyUnwrapped[index] = slot
    }

    private mutating func grow() {
        let old = slots
        let oldSize = old == nil ? 0 : mask + 1
        let size = max(8, oldSize * 2)
        let larger = UnsafeMutablePointer<Slot>.allocate(capacity: size)
        larger.initialize(repeating: Slot(port: 0, first: nil), count: size)
        (slots, mask) = (larger, size - 1)
        for index in 0..<oldSize where old.unsafelyUnwrapped[index].port != 0 { place(old.unsafelyUnwrapped[index]) }
        old?.deallocate()
    }
}
