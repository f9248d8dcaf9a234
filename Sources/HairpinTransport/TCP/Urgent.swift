import HairpinEngine
import HairpinWire

/// Urgent data (RFC 9293 §3.8.5, RFC 6093; `tcp_check_urg`, `tcp_recv_urg`, `tcp_mark_urg`): one byte that a program reads beside the stream with MSG_OOB,
/// or in it with SO_OOBINLINE. As in Linux the pointer means the byte before the one it points to.
struct Urgent: BitwiseCopyable {
    /// `TCP_URG_NOTYET`, `TCP_URG_VALID`, `TCP_URG_READ`.
    enum Arrival: UInt8 { case none, awaited, here, read }
    var arrival = Arrival.none
    var byte: UInt8 = 0
    /// The number of the byte (`urg_seq`).
    var sequence = SequenceNumber(0)
    /// Past the last urgent byte written (`snd_up`).
    var sendUpTo = SequenceNumber(0)
}

extension TransportStack {
    // MARK: receiver

    /// The pointer of a segment, and the byte if it is in this one (`tcp_urg`). Before its data is queued.
    func noteUrgent(_ e: EndpointPointer, _ segment: Segment) {
        let modules = requireModules(e)
        if segment.flags.contains(.urg) { notePointer(e, modules, segment) }
        guard modules.pointee.urgent.arrival == .awaited else { return }
        let offset = modules.pointee.urgent.sequence - segment.sequence
        guard 0 <= offset, offset < segment.payload.count else { return }
        modules.pointee.urgent.byte = segment.payload[offset]
        modules.pointee.urgent.arrival = .here
        if !e.pointee.flags.contains(.orphan) { notify(e, [.readable, .urgent]) }
    }

    private func notePointer(_ e: EndpointPointer, _ modules: SenderModulesPointer, _ segment: Segment) {
        let position = segment.sequence + max(0, Int(segment.urgentPointer) - 1)
        guard !e.pointee.copied.isAfter(position), !position.isBefore(e.pointee.receiveNext) else { return }
        let old = modules.pointee.urgent
        if old.arrival != .none, !position.isAfter(old.sequence) { return }
        // A byte that the program was just about to step over is not given to it now.
        if old.arrival != .none, old.sequence == e.pointee.copied, !e.pointee.flags.contains(.urgentInline), e.pointee.copied != e.pointee.receiveNext {
            e.pointee.copied = e.pointee.copied + 1
        }
        modules.pointee.urgent.arrival = .awaited
        modules.pointee.urgent.sequence = position
        e.pointee.flags.insert(.urgentIn)
    }

    /// Of `available` bytes to read, how many come before the urgent one; stands the program before it, then it is stepped over
    /// (`tcp_recvmsg_locked`).
    func readableBeforeUrgent(_ e: EndpointPointer, _ available: Int) -> Int {
        guard let modules = e.cold.pointee.modules, modules.pointee.urgent.arrival != .none else { return available }
        let offset = modules.pointee.urgent.sequence - e.pointee.copied
        guard 0 <= offset, offset < available else { return available }
        if offset > 0 { return offset }
        if e.pointee.flags.contains(.urgentInline) { return available }
        e.pointee.copied = e.pointee.copied + 1
        passUrgent(e)
        return available - 1
    }

    /// The same without moving (`tcp_inq`).
    func bytesBeforeUrgent(_ e: EndpointPointer, _ available: Int) -> Int {
        guard let modules = e.cold.pointee.modules, modules.pointee.urgent.arrival != .none, !e.pointee.flags.contains(.urgentInline) else { return available }
        let offset = modules.pointee.urgent.sequence - e.pointee.copied
        return 0 <= offset && offset < available ? offset : available
    }

    /// The program has read beyond the urgent byte.
    func passUrgent(_ e: EndpointPointer) {
        guard let modules = e.cold.pointee.modules, modules.pointee.urgent.arrival != .none, e.pointee.copied.isAfter(modules.pointee.urgent.sequence) else { return }
        modules.pointee.urgent.arrival = .none
        e.pointee.flags.remove(.urgentIn)
    }

    /// SIOCATMARK: the next byte to read is the urgent one.
    public func isAtMark(_ socket: SocketID) throws(Errno) -> Bool {
        guard let e = table.stream(socket) else { throw .badFileDescriptor }
        guard let modules = e.cold.pointee.modules else { return false }
        return modules.pointee.urgent.arrival != .none && modules.pointee.urgent.sequence == e.pointee.copied
    }

    /// recv(2) with MSG_OOB: the urgent byte. Throws EINVAL if there is none or it is in the stream, EAGAIN if only its pointer has come; nil at the end.
    public func receiveUrgent(_ socket: SocketID, keeping: Bool = false) throws(Errno) -> UInt8? {
        guard let e = table.stream(socket) else { throw .badFileDescriptor }
        guard let modules = e.cold.pointee.modules, !e.pointee.flags.contains(.urgentInline) else { throw .invalid }
        switch modules.pointee.urgent.arrival {
        case .none, .read: throw .invalid
        case .here:
            if !keeping { modules.pointee.urgent.arrival = .read }
            return modules.pointee.urgent.byte
        case .awaited:
            if e.pointee.state == .closed || e.pointee.flags.contains(.receiveShut) { return nil }
            throw .tryAgain
        }
    }

    /// The next byte is the urgent one, and not for read(2) (`tcp_poll`).
    func isBeforeUrgent(_ e: EndpointPointer) -> Bool {
        guard let modules = e.cold.pointee.modules, !e.pointee.flags.contains(.urgentInline) else { return false }
        return modules.pointee.urgent.arrival != .none && modules.pointee.urgent.sequence == e.pointee.copied
    }

    /// Whether the urgent byte can be had (EPOLLPRI).
    func hasUrgentByte(_ e: EndpointPointer) -> Bool { e.cold.pointee.modules?.pointee.urgent.arrival == .here }

    // MARK: sender

    /// What was just written ends with an urgent byte (`tcp_mark_urg`).
    func markUrgent(_ e: EndpointPointer) {
        requireModules(e).pointee.urgent.sendUpTo = e.pointee.writeEnd
        e.pointee.flags.insert(.urgentOut)
    }

    func retireUrgent(_ e: EndpointPointer) {
        guard let modules = e.cold.pointee.modules, e.pointee.flags.contains(.urgentOut) else { return }
        if !modules.pointee.urgent.sendUpTo.isAfter(e.pointee.unacknowledged) { e.pointee.flags.remove(.urgentOut) }
    }

    /// The urgent pointer of a segment that begins at `sequence`; nil: it has none.
    func urgentPointer(_ e: EndpointPointer, _ sequence: SequenceNumber) -> UInt16? {
        guard let modules = e.cold.pointee.modules, sequence.isBefore(modules.pointee.urgent.sendUpTo) else { return nil }
        let distance = modules.pointee.urgent.sendUpTo - sequence
        if distance < 0x1_0000 { return UInt16(distance) }
        return (sequence + 0xffff).isAfter(e.pointee.sendNext) ? 0xffff : nil
    }
}
