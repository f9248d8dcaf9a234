import HairpinEngine
import HairpinWire

/// Sockets by `SocketID` (12 bits of generation, 20 of slot). TCP endpoints lie in chunks of raw memory and never move: in one array what segments and timers
/// need, in another the rest.
struct SocketTable: ~Copyable {
    private struct Chunk {
        let endpoints: EndpointPointer
        let details: UnsafeMutablePointer<EndpointDetails>
    }
    /// Most pods have a few sockets: the first chunk is small, each next one twice as large up to a limit.
    private static let smallestChunk = 4, largestChunk = 64
    private struct Slot {
        var endpoint: EndpointPointer?
        var datagram: DatagramSocket?
        var generation: UInt32
    }
    private var slots: [Slot] = [Slot(endpoint: nil, datagram: nil, generation: 0)]
    private var freeSlots: [UInt32] = []
    private var chunks: [Chunk] = []
    private var freeEndpoints: [(endpoint: EndpointPointer, details: UnsafeMutablePointer<EndpointDetails>)] = []
    static let limit = 1 << 20

    deinit {
        for chunk in chunks {
            chunk.endpoints.deallocate()
            chunk.details.deallocate()
        }
    }

    private mutating func takeSlot() -> UInt32? {
        if let slot = freeSlots.popLast() { return slot }
        guard slots.count < SocketTable.limit else { return nil }
        slots.append(Slot(endpoint: nil, datagram: nil, generation: 1))
        return UInt32(slots.count - 1)
    }

    /// A fresh endpoint; nil when a namespace has a million sockets.
    mutating func makeStream() -> EndpointPointer? {
        guard let slot = takeSlot() else { return nil }
        if freeEndpoints.isEmpty { addChunk() }
        let (endpoint, details) = freeEndpoints.removeLast()
        details.initialize(to: EndpointDetails())
        endpoint.initialize(to: Endpoint(socket: SocketID(slots[Int(slot)].generation << 20 | slot), cold: details))
        slots[Int(slot)].endpoint = endpoint
        return endpoint
    }

    private mutating func addChunk() {
        let size = min(SocketTable.smallestChunk << min(chunks.count, 8), SocketTable.largestChunk)
        let chunk = Chunk(endpoints: .allocate(capacity: size), details: .allocate(capacity: size))
        chunks.append(chunk)
        for i in (0..<size).reversed() { freeEndpoints.append((chunk.endpoints + i, chunk.details + i)) }
    }

    mutating func makeDatagram(_ kind: SocketKind) -> DatagramSocket? {
        guard let slot = takeSlot() else { return nil }
        let socket = DatagramSocket(kind: kind, id: SocketID(slots[Int(slot)].generation << 20 | slot))
        slots[Int(slot)].datagram = socket
        return socket
    }

    private mutating func freeSlot(_ slot: UInt32) {
        slots[Int(slot)].endpoint = nil
        slots[Int(slot)].datagram = nil
        slots[Int(slot)].generation = slots[Int(slot)].generation % 0xfff + 1
        freeSlots.append(slot)
    }

    mutating func free(_ endpoint: EndpointPointer) {
        freeSlot(endpoint.pointee.slot)
        freeEndpoints.append((endpoint, endpoint.cold))
    }
    mutating func free(_ socket: DatagramSocket) { freeSlot(socket.id.rawValue & 0xf_ffff) }

    /// The endpoint a program means; nil for a stale or foreign id and after close(2).
    func stream(_ id: SocketID) -> EndpointPointer? {
        let slot = Int(id.rawValue & 0xf_ffff)
        guard slot < slots.count, let endpoint = slots[slot].endpoint, endpoint.pointee.socket == id,
            endpoint.pointee.flags.isDisjoint(with: [.orphan, .unaccepted])
        else { return nil }
        return endpoint
    }

    /// Also one that no program has any more.
    func formerStream(_ id: SocketID) -> EndpointPointer? {
        let slot = Int(id.rawValue & 0xf_ffff)
        guard slot < slots.count, let endpoint = slots[slot].endpoint, endpoint.pointee.socket == id else { return nil }
        return endpoint
    }

    func datagram(_ id: SocketID) -> DatagramSocket? {
        let slot = Int(id.rawValue & 0xf_ffff)
        guard slot < slots.count, let socket = slots[slot].datagram, socket.id == id else { return nil }
        return socket
    }

    func forEachStream(_ body: (EndpointPointer) -> Void) { for slot in slots { if let endpoint = slot.endpoint { body(endpoint) } } }
    func forEachDatagram(_ body: (DatagramSocket) -> Void) { for slot in slots { if let socket = slot.datagram { body(socket) } } }
}
