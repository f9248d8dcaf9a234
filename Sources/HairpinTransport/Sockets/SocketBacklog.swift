import HairpinEngine
import HairpinWire

/// What came in for a connection while a system call owned it (`sk_backlog`): whole packets, in order.
struct SocketBacklog {
    private struct Item {
        var offset: Int
        var count: Int
        var memory = PacketMemory()
        var segmentSize = 0
        /// Of an ICMP error; the bytes are the quoted packet then.
        var error: (type: UInt8, code: UInt8, information: UInt32, offender: IPv4Address)?
    }
    private var items: [Item] = []
    private var bytes: [UInt8] = []
    /// Its packets are being worked off: they go to the connection, not back into the backlog.
    fileprivate(set) var isDraining = false

    /// Kernel memory of its packets (`sk_backlog.len`); counts until the whole backlog is worked off.
    fileprivate(set) var memory = 0

    /// A packet that was worked off is to be acknowledged at once: done for all of them when none is left (`TCP_ACK_DEFERRED`).
    var owesAck = false

    var isEmpty: Bool { items.isEmpty }

    /// Queues a segment, of as much memory as `memory` says. One that follows on the last and fits behind its bytes, or has none, joins it: then the
    /// answer is true (`tcp_add_backlog`).
    mutating func append(_ ip: IPv4View, _ tcp: TCPView, _ memory: PacketMemory) -> Bool {
        if let last = items.last, last.error == nil, join(last, ip, tcp) { return true }
        items.append(Item(offset: bytes.count, count: ip.totalLength, memory: memory, segmentSize: tcp.payload.count))
        self.memory += Int(memory.truesize)
        bytes.append(contentsOf: ip.bytes)
        return false
    }

    private mutating func join(_ last: Item, _ ip: IPv4View, _ tcp: TCPView) -> Bool {
        let isJoined = bytes.withUnsafeMutableBytes { buffer -> Bool in
            let slice = UnsafeMutableRawBufferPointer(rebasing: buffer[last.offset..<last.offset + last.count])
            guard let before = IPv4View(UnsafeRawBufferPointer(slice)), let old = TCPView(before.payload) else { return false }
            let end = old.sequence + old.payload.count + (old.flags.contains(.fin) ? 1 : 0)
            guard tcp.payload.count <= Int(last.memory.room(after: old.payload.count)), last.count + tcp.payload.count <= Int(UInt16.max),
                end == tcp.sequence, before.typeOfService == ip.typeOfService, old.flags.union(tcp.flags).isDisjoint(with: [.syn, .rst, .urg]),
                old.flags.intersection(tcp.flags).contains(.ack), old.flags.symmetricDifference(tcp.flags).isDisjoint(with: [.ece, .cwr]),
                old.headerLength == tcp.headerLength, old.options.elementsEqual(tcp.options)
            else { return false }
            let header = slice.baseAddress! + before.headerLength
            if !tcp.acknowledgment.isBefore(old.acknowledgment) {
                header.put(tcp.acknowledgment.rawValue, at: TCPOffset.acknowledgment)
                header.put(tcp.window, at: TCPOffset.window)
            }
            header.put(old.flags.union(tcp.flags).rawValue, at: TCPOffset.flags)
            slice.baseAddress!.put(UInt16(last.count + tcp.payload.count), at: IPv4Offset.totalLength)
            return true
        }
        guard isJoined else { return false }
        bytes.append(contentsOf: tcp.payload)
        items[items.count - 1].count += tcp.payload.count
        items[items.count - 1].segmentSize = max(last.segmentSize, tcp.payload.count)
        return true
    }

    mutating func append(type: UInt8, code: UInt8, information: UInt32, offender: IPv4Address, quote: UnsafeRawBufferPointer) {
        items.append(Item(offset: bytes.count, count: quote.count, error: (type, code, information, offender)))
        bytes.append(contentsOf: quote)
    }

    fileprivate func forEach(packet: (UnsafeRawBufferPointer, PacketMemory, Int) -> Void, error: (UInt8, UInt8, UInt32, IPv4Address, UnsafeRawBufferPointer) -> Void) {
        bytes.withUnsafeBytes { buffer in
            for item in items {
                let slice = UnsafeRawBufferPointer(rebasing: buffer[item.offset..<item.offset + item.count])
                if let e = item.error { error(e.type, e.code, e.information, e.offender, slice) } else { packet(slice, item.memory, item.segmentSize) }
            }
        }
    }

    fileprivate mutating func removeAll() {
        items.removeAll(keepingCapacity: true)
        bytes.removeAll(keepingCapacity: true)
    }
}

extension TransportStack {
    /// Runs a system call that owns a connection; what arrives for it meanwhile is worked off before the call returns (`release_sock`).
    func owning<T, Failure: Error>(_ e: EndpointPointer, _ body: () throws(Failure) -> T) throws(Failure) -> T {
        owner = e
        defer { releaseOwner(e) }
        return try body()
    }

    /// After each packet the queue hands down, what it sets off runs to its end (`__local_bh_enable_ip`).
    func letSoftirqsRun(_ e: EndpointPointer) {
        guard e == owner else { return }
        let wasDraining = backlog.isDraining
        backlog.isDraining = false
        network.runSoftirqs()
        backlog.isDraining = wasDraining
        now = network.now
    }

    private func releaseOwner(_ e: EndpointPointer) {
        defer { owner = nil }
        guard !backlog.isEmpty else { return }
        while !backlog.isEmpty {
            swap(&backlog, &spareBacklog)
            backlog.isDraining = true
            spareBacklog.forEach(
                packet: { bytes, memory, segmentSize in
                    now = network.now
                    if let ip = IPv4View(bytes) { receiveBacklogged(ip, memory: memory, segmentSize: segmentSize) }
                },
                error: { type, code, information, offender, quote in
                    receiveICMPError(type: type, code: code, information: information, offender: offender, quote: quote)
                })
            backlog.isDraining = false
            spareBacklog.removeAll()
        }
        (backlog.memory, spareBacklog.memory) = (0, 0)
        guard backlog.owesAck else { return }
        backlog.owesAck = false
        if e.pointee.flags.contains(.ackScheduled) { sendAck(e) }
    }
}
