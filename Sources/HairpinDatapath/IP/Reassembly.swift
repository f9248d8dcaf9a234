import HairpinEngine
import HairpinWire

/// Who puts a packet together: each has its own view of the fragments (`enum ip_defrag_users`).
enum ReassemblyUser: UInt8, Hashable { case local, prerouting, bridge }

/// Packets of which some fragments have arrived (net/ipv4/ip_fragment.c).
struct ReassemblyQueue {
    struct Key: Hashable {
        let source: IPv4Address, destination: IPv4Address
        let identification: UInt16
        let proto: UInt8
        let user: ReassemblyUser
    }
    struct Partial {
        var fragments: [(offset: Int, count: Int, frame: FrameHandle)] = []
        /// Bytes of payload in the whole packet, known once the last fragment is here.
        var total: Int?
        var largest = 0
        var deadline: Instant
        let order: UInt64
    }
    /// `net.ipv4.ipfrag_time`
    static let timeout = Duration.seconds(30)
    /// `net.ipv4.ipfrag_high_thresh` is 4 MiB; counted here in fragments of a 2 KiB buffer.
    static let fragmentLimit = 2048

    var partials: [Key: Partial] = [:]
    var fragmentCount = 0
    var nextOrder: UInt64 = 0
}

extension LogicalProcess {
    /// Takes a fragment; returns the whole packet when this one completed it (`ip_defrag`). The frame's link header is kept.
    func reassemble(_ frame: FrameHandle, networkOffset: Int, namespace index: NamespaceIndex, key user: ReassemblyUser) -> FrameHandle? {
        let space = namespace(index)
        let entry = pool.pointee[frame]
        let device = entry.pointee.device
        guard let packet = IPv4View(UnsafeRawBufferPointer(rebasing: entry.pointee.bytes[networkOffset...])) else {
            drop(frame, .malformedIP, at: device)
            return nil
        }
        let count = packet.totalLength - packet.headerLength
        let offset = packet.fragmentOffset
        // RFC 791 §3.2: all but the last carry a multiple of eight bytes; none reaches beyond 65 535 bytes in all.
        if count == 0 || packet.moreFragments && count & 7 != 0 || offset + count + packet.headerLength > 65535 {
            drop(frame, .fragmentInvalid, at: device)
            return nil
        }
        if space.pointee.reassembly.fragmentCount >= ReassemblyQueue.fragmentLimit {
            drop(frame, .fragmentQueueFull, at: device)
            return nil
        }
        let key = ReassemblyQueue.Key(
            source: packet.source, destination: packet.destination, identification: packet.identification, proto: packet.proto.rawValue, user: user)
        var partial: ReassemblyQueue.Partial
        if let known = space.pointee.reassembly.partials.removeValue(forKey: key) {
            partial = known
        } else {
            space.pointee.reassembly.nextOrder += 1
            partial = ReassemblyQueue.Partial(deadline: now + ReassemblyQueue.timeout, order: space.pointee.reassembly.nextOrder)
            queue.pointee.push(partial.deadline, EventSource(kind: EventKind.reassembly.rawValue, index: index.rawValue))
        }
        // An overlap discards the packet, an exact repetition is ignored (RFC 5722's reasoning, applied to IPv4 by Linux).
        if partial.fragments.contains(where: { $0.offset == offset && $0.count == count }) {
            space.pointee.reassembly.partials[key] = partial
            drop(frame, .fragmentInvalid, at: device)
            return nil
        }
        let overlaps = partial.fragments.contains { offset < $0.offset + $0.count && $0.offset < offset + count }
        let contradictsEnd =
            packet.moreFragments
            ? partial.total.map { offset + count > $0 } ?? false
            : partial.total.map { $0 != offset + count } ?? partial.fragments.contains { $0.offset + $0.count > offset + count }
        if overlaps || contradictsEnd {
            space.pointee.reassembly.fragmentCount -= partial.fragments.count
            for piece in partial.fragments { drop(piece.frame, .fragmentInvalid, at: device) }
            drop(frame, .fragmentInvalid, at: device)
            return nil
        }
        if !packet.moreFragments { partial.total = offset + count }
        partial.largest = max(partial.largest, packet.totalLength)
        let at = partial.fragments.firstIndex { $0.offset > offset } ?? partial.fragments.count
        partial.fragments.insert((offset, count, frame), at: at)
        space.pointee.reassembly.fragmentCount += 1
        guard let total = partial.total, partial.fragments.reduce(0, { $0 + $1.count }) == total else {
            space.pointee.reassembly.partials[key] = partial
            return nil
        }
        space.pointee.reassembly.fragmentCount -= partial.fragments.count
        // The first fragment may carry more options than the others: the whole can be too long where no fragment was.
        let first = pool.pointee[partial.fragments[0].frame].pointee.data
        guard Int(first.u8(networkOffset) & 15) * 4 + total <= 65535 else {
            for piece in partial.fragments { drop(piece.frame, .fragmentInvalid, at: device) }
            return nil
        }
        return join(partial, total: total, networkOffset: networkOffset)
    }

    private func join(_ partial: ReassemblyQueue.Partial, total: Int, networkOffset: Int) -> FrameHandle {
        let first = partial.fragments[0].frame
        let headerLength = Int(pool.pointee[first].pointee.data.u8(networkOffset) & 15) * 4
        let whole = pool.pointee.allocate(networkOffset + headerLength + total)
        books.emitted += 1
        let entry = pool.pointee[whole]
        let old = pool.pointee[first]
        entry.pointee.device = old.pointee.device
        entry.pointee.packetID = old.pointee.packetID
        entry.pointee.flags = old.pointee.flags.subtracting(.checksumsFinished)
        entry.pointee.mark = old.pointee.mark
        entry.pointee.largestFragment = UInt16(partial.largest)
        let p = entry.pointee.data
        p.copyMemory(from: old.pointee.data, byteCount: networkOffset + headerLength)
        let device = old.pointee.device
        for piece in partial.fragments {
            let bytes = pool.pointee[piece.frame].pointee.data
            let length = Int(bytes.u8(networkOffset) & 15) * 4
            (p + networkOffset + headerLength + piece.offset).copyMemory(from: bytes + networkOffset + length, byteCount: piece.count)
        }
        let header = p + networkOffset
        header.put(UInt16(headerLength + total), at: IPv4Offset.totalLength)
        // ip_frag_reasm clears the offset; DF stays where the fragments had it.
        header.put(header.u16(IPv4Offset.flagsAndOffset) & IPv4Offset.dontFragment, at: IPv4Offset.flagsAndOffset)
        header.put(UInt16(0), at: IPv4Offset.checksum)
        header.put(InternetChecksum.checksum(UnsafeRawBufferPointer(start: header, count: headerLength)), at: IPv4Offset.checksum)
        for piece in partial.fragments {
            pool.pointee[piece.frame].pointee.device = device
            deliverFinished(piece.frame)
        }
        return whole
    }

    /// Packets whose fragments did not all come in time (`ip_expire`): the sender hears of it if the first fragment is here.
    func reassemblyTimer(_ index: NamespaceIndex) {
        let space = namespace(index)
        let expired = space.pointee.reassembly.partials.filter { $0.value.deadline <= now }.sorted { $0.value.order < $1.value.order }
        for (key, partial) in expired {
            space.pointee.reassembly.partials.removeValue(forKey: key)
            space.pointee.reassembly.fragmentCount -= partial.fragments.count
            let device = pool.pointee[partial.fragments[0].frame].pointee.device
            if partial.fragments[0].offset == 0, key.user == .local {
                sendError(about: partial.fragments[0].frame, networkOffset: 0, type: ICMPv4.timeExceeded, code: ICMPv4.reassemblyTimeExceeded, namespace: index)
            }
            for piece in partial.fragments { drop(piece.frame, .fragmentTimeout, at: device) }
        }
    }
}
