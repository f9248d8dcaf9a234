import HairpinEngine
import HairpinWire

// conntrack(8): `-L`, `-D` and `-E`.
extension ConnectionTable {
    /// The entries of the table, oldest place first.
    mutating func records(now: Instant) -> [ConnectionRecord] {
        sweepAll(now: now.nanoseconds)
        return (0..<used).compactMap { place in
            entries[place].status.contains(.confirmed) ? entries[place].record(name: name(place), now: now.nanoseconds) : nil
        }
    }

    /// The same as `conntrack -L` prints it.
    mutating func lines(now: Instant) -> [String] { records(now: now).map { $0.line() } }

    /// Removes the entries for which `isDoomed` holds (`conntrack -D`) and returns them as they were.
    mutating func removeAll(now: Instant, where isDoomed: (ConnectionRecord) -> Bool) -> [ConnectionRecord] {
        sweepAll(now: now.nanoseconds)
        var removed: [ConnectionRecord] = []
        for place in 0..<used where entries[place].status.contains(.confirmed) {
            let record = entries[place].record(name: name(place), now: now.nanoseconds)
            guard isDoomed(record) else { continue }
            remove(place, now: now.nanoseconds)
            removed.append(record)
        }
        return removed
    }

    /// What has happened since the last call, in the order of time; an entry that nobody looked at ended when its time was up.
    mutating func takeEvents(now: Instant) -> [ConnectionEvent] {
        sweepAll(now: now.nanoseconds)
        // Of one moment in the order in which they were noted.
        let ordered = events.enumerated().sorted { ($0.element.nanoseconds, $0.offset) < ($1.element.nanoseconds, $1.offset) }.map(\.element)
        events.removeAll(keepingCapacity: true)
        return ordered
    }

    /// For whoever watches; called only while `isWatched`.
    @inline(never)
    mutating func note(_ kind: ConnectionEvent.Kind, _ place: Int, now: UInt64) {
        var record = entries[place].record(name: name(place), now: now)
        // An end has no time left (`ctnetlink_conntrack_event`).
        if kind == .destroy { record.seconds = nil }
        let time = kind == .destroy ? min(now, entries[place].expires) : now
        events.append(ConnectionEvent(kind: kind, nanoseconds: time, record: record))
    }

    /// After a packet of a confirmed entry: IPCT_REPLY, IPCT_ASSURED and IPCT_PROTOINFO in one event.
    @inline(never)
    mutating func noteUpdate(_ place: Int, since status: ConnectionStatus, _ state: TCPState, now: UInt64) {
        let visible: ConnectionStatus = [.seenReply, .assured]
        let entry = entries[place]
        guard status.contains(.confirmed), entry.status.contains(.confirmed) else { return }
        if entry.status.intersection(visible) != status.intersection(visible) || entry.tcp.state != state { note(.update, place, now: now) }
    }
}

extension Connection {
    func record(name: UInt32, now: UInt64) -> ConnectionRecord {
        func flow(_ tuple: ConnectionTuple) -> ConnectionFlow {
            ConnectionFlow(
                source: IPv4Address(rawValue: tuple.source), destination: IPv4Address(rawValue: tuple.destination), sourcePort: tuple.sourcePort,
                destinationPort: tuple.destinationPort)
        }
        return ConnectionRecord(
            identifier: name, proto: IPProtocol(original.proto), original: flow(original), reply: flow(reply),
            seconds: expires > now ? (expires - now) / 1_000_000_000 : 0, state: original.proto == 6 ? tcp.state.name : nil,
            isAnswered: status.contains(.seenReply), isAssured: status.contains(.assured), mark: mark)
    }
}
