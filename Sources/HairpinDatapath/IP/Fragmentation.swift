import HairpinEngine
import HairpinWire

extension LogicalProcess {
    /// Cuts a packet into pieces of at most `limit` bytes of IP packet (`ip_do_fragment`; RFC 791 §3.2) and hands each to `emit`, in order.
    /// A link header in front of the packet goes in front of every piece. Consumes the frame.
    func fragment(_ frame: FrameHandle, networkOffset: Int, limit: Int, emit: (FrameHandle) -> Void) {
        let entry = pool.pointee[frame]
        let device = entry.pointee.device
        guard let packet = IPv4View(UnsafeRawBufferPointer(rebasing: entry.pointee.bytes[networkOffset...])) else { return drop(frame, .malformedIP, at: device) }
        let headerLength = packet.headerLength
        let room = (limit - headerLength) & ~7
        if room < 8 { return drop(frame, .mustNotFragment, at: device) }
        let source = entry.pointee.data
        let payloadCount = packet.totalLength - headerLength
        let flags = packet.moreFragments
        let base = packet.fragmentOffset
        let dontFragment = packet.dontFragment
        var offset = 0
        let mark = entry.pointee.mark
        let packetID = entry.pointee.packetID
        let socket = entry.pointee.socket
        while offset < payloadCount {
            let count = min(room, payloadCount - offset)
            let isLast = offset + count == payloadCount
            let piece = pool.pointee.allocate(networkOffset + headerLength + count)
            books.copied += 1
            let new = pool.pointee[piece]
            new.pointee.device = device
            new.pointee.mark = mark
            new.pointee.packetID = packetID
            new.pointee.socket = socket
            let p = new.pointee.data
            p.copyMemory(from: source, byteCount: networkOffset + headerLength)
            (p + networkOffset + headerLength).copyMemory(from: source + networkOffset + headerLength + offset, byteCount: count)
            let header = p + networkOffset
            header.put(UInt16(headerLength + count), at: IPv4Offset.totalLength)
            let more = !isLast || flags
            header.put(
                (more ? IPv4Offset.moreFragments : 0) | (dontFragment ? IPv4Offset.dontFragment : 0) | UInt16((base + offset) / 8), at: IPv4Offset.flagsAndOffset)
            if offset > 0, headerLength > IPv4Header.byteCount { hideUncopiedOptions(header, headerLength) }
            header.put(UInt16(0), at: IPv4Offset.checksum)
            header.put(InternetChecksum.checksum(UnsafeRawBufferPointer(start: header, count: headerLength)), at: IPv4Offset.checksum)
            offset += count
            emit(piece)
        }
        deliverFinished(frame)
    }

    /// Options without the copied flag belong to the first fragment only (RFC 791 §3.1); later ones carry no-operations in their place, so
    /// that all headers have one length (`ip_options_fragment`).
    private func hideUncopiedOptions(_ header: UnsafeMutableRawPointer, _ length: Int) {
        var at = IPv4Header.byteCount
        while at < length {
            let kind = header.u8(at)
            if kind == 0 { return }
            if kind == 1 {
                at += 1
                continue
            }
            guard at + 1 < length, case let size = Int(header.u8(at + 1)), size >= 2, at + size <= length else { return }
            if kind & 0x80 == 0 {
                for n in at..<at + size { header.put(UInt8(1), at: n) }
            }
            at += size
        }
    }
}
