import HairpinEngine
import HairpinWire

/// What came in for a connection while a system call owned it (`sk_backlog`): whole packets, in order.
struct SocketBacklog {
    private struct Item {
        var offset: Int
        var count: Int
        /// Of an ICMP error; the bytes are the quoted packet then.
        var error: (type: UInt8, code: UInt8, information: UInt32, offender: IPv4Address)?
    }
    private var items: [Item] = []
    private var bytes: [UInt8] = []
    /// Its packets are being worked off: they go to the connection, not back into the backlog.
    fileprivate(set) var isDraining = false

    /// Kernel memory of its packets (`sk_backlog.len`); counts until the whole backlog is worked off.
    fileprivate(set) var memory = 0

    var isEmpty: Bool { items.isEmpty }

    /// Queues a segment. A pure acknowledgment takes the place of the one before it when they differ in nothing but what they acknowledge
    /// (`tcp_add_backlog`).
    mutating func append(_ ip: IPv4View, _ tcp: TCPView) {
        if let last = items.last, last.error == nil, last.count == ip.totalLength, tcp.payload.isEmpty, tcp.flags == .ack, replaces(last, ip, tcp) {
            bytes.withUnsafeMutableBytes { $0.baseAddress!.advanced(by: last.offset).copyMemory(from: ip.bytes.baseAddress!, byteCount: ip.totalLength) }
            return
        }
        items.append(Item(offset: bytes.count, count: ip.totalLength))
        memory += tcp.payload.count + TransportStack.segmentOverhead
        bytes.append(contentsOf: ip.bytes)
    }

    private func replaces(_ last: Item, _ ip: IPv4View, _ tcp: TCPView) -> Bool {
        bytes.withUnsafeBytes { buffer in
            guard let before = IPv4View(UnsafeRawBufferPointer(rebasing: buffer[last.offset..<last.offset + last.count])), let old = TCPView(before.payload) else {
                return false
            }
            return old.payload.isEmpty && old.flags == .ack && old.sequence == tcp.sequence && old.headerLength == tcp.headerLength
                && before.typeOfService == ip.typeOfService && !tcp.acknowledgment.isBefore(old.acknowledgment) && old.options.elementsEqual(tcp.options)
        }
    }

    mutating func append(type: UInt8, code: UInt8, information: UInt32, offender: IPv4Address, quote: UnsafeRawBufferPointer) {
        items.append(Item(offset: bytes.count, count: quote.count, error: (type, code, information, offender)))
        bytes.append(contentsOf: quote)
    }

    fileprivate func forEach(packet: (UnsafeRawBufferPointer) -> Void, error: (UInt8, UInt8, UInt32, IPv4Address, UnsafeRawBufferPointer) -> Void) {
        bytes.withUnsafeBytes { buffer in
            for item in items {
                let slice = UnsafeRawBufferPointer(rebasing: buffer[item.offset..<item.offset + item.count])
                if let e = item.error { error(e.type, e.code, e.information, e.offender, slice) } else { packet(slice) }
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
    func owning<T>(_ e: EndpointPointer, _ body: () throws(Errno) -> T) throws(Errno) -> T {
        owner = e
        defer { releaseOwner() }
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

    private func releaseOwner() {
        defer { owner = nil }
        guard !backlog.isEmpty else { return }
        while !backlog.isEmpty {
            swap(&backlog, &spareBacklog)
            backlog.isDraining = true
            spareBacklog.forEach(
                packet: { bytes in
                    now = network.now
                    if let ip = IPv4View(bytes) { _ = receiveTCP(ip, checksumVerified: true) }
                },
                error: { type, code, information, offender, quote in
                    receiveICMPError(type: type, code: code, information: information, offender: offender, quote: quote)
                })
            backlog.isDraining = false
            spareBacklog.removeAll()
        }
        (backlog.memory, spareBacklog.memory) = (0, 0)
    }
}
