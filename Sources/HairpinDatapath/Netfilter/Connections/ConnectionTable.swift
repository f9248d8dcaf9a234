import HairpinEngine
import HairpinWire

/// The connections of one network namespace (nf_conntrack for IPv4): entries in a slab, both directions of the confirmed ones in a hash.
///
/// A new entry belongs to its first packet alone until `confirm`; nothing finds it before. It goes when that packet goes (`release`), and an
/// entry that is taken out of the table while a packet of it is on its way lives until then.
///
/// Raw memory: `deallocate` when done.
struct ConnectionTable {
    /// A frame names an entry by place (22 bits, plus one) and generation (10 bits); a name that has outlived its entry finds nothing.
    static let placeBits = 22
    static let placeMask: UInt32 = 1 << 22 - 1
    /// How long an entry nobody released is kept beyond the table; longer than any queue before the confirmation.
    static let orphanLifetime: UInt64 = 60_000_000_000

    private(set) var entries: UnsafeMutablePointer<Connection>
    private var capacity = 1
    /// Places used at least once.
    private(set) var used = 0
    private var free: UInt32 = 0
    private var hash = HashIndex(capacity: 2)
    /// Entries by original source, for keeping a source's mapping (`nf_nat_bysource`): first entry plus one.
    private var bySource: UnsafeMutablePointer<UInt32>?
    private static let sourceBuckets = 1024
    private var sweepPosition = 0

    var settings = ConnectionSettings()
    /// Entries in the table.
    private(set) var confirmedCount = 0
    /// Entries held by packets only.
    private(set) var unconfirmedCount = 0
    /// `conntrack -S`.
    var statistics = ConnectionStatistics()
    /// Somebody watches (`conntrack -E`): what happens to entries is kept until it is taken.
    var isWatched = false { didSet { if !isWatched { events = [] } } }
    var events: [ConnectionEvent] = []

    init() {
        entries = .allocate(capacity: capacity)
    }

    func deallocate() {
        entries.deallocate()
        bySource?.deallocate()
        hash.deallocate()
    }

    // MARK: Names

    /// The entry a frame names, if it is still the one.
    @inline(__always)
    func entry(_ name: UInt32) -> UnsafeMutablePointer<Connection>? {
        guard name != 0 else { return nil }
        let place = Int(name & ConnectionTable.placeMask) - 1
        guard place >= 0, place < used else { return nil }
        let entry = entries + place
        return entry.pointee.status.contains(.inUse) && UInt32(entry.pointee.generation) == name >> UInt32(ConnectionTable.placeBits) ? entry : nil
    }

    @inline(__always)
    func name(_ place: Int) -> UInt32 { UInt32(entries[place].generation) << UInt32(ConnectionTable.placeBits) | UInt32(place + 1) }

    @inline(__always)
    func place(of entry: UnsafeMutablePointer<Connection>) -> Int { entry - entries }

    // MARK: Looking up

    /// Place and direction of the live entry one of whose tuples this is. Expired ones are removed on the way.
    @inline(__always)
    mutating func find(_ tuple: ConnectionTuple, now: UInt64) -> (place: Int, isReply: Bool)? {
        guard let (place, isReply) = number(of: tuple) else { return nil }
        if entries[place].expires <= now {
            remove(place, now: now)
            return nil
        }
        return (place, isReply)
    }

    /// The same, expired or not.
    @inline(__always)
    func number(of tuple: ConnectionTuple) -> (place: Int, isReply: Bool)? {
        let entries = entries
        guard let number = hash.find(tuple.hash, { (entries + (Int($0 >> 1) - 1)).pointee.tuple(isReply: $0 & 1 == 1) == tuple }) else { return nil }
        return (Int(number &>> 1) &- 1, number & 1 == 1)
    }

    /// Whether answers to `tuple` would be taken for those of another connection (`nf_nat_used_tuple`).
    mutating func isTaken(_ tuple: ConnectionTuple, except place: Int, now: UInt64) -> Bool {
        guard let found = find(tuple.inverse, now: now), found.place != place else { return false }
        statistics.found += 1
        return true
    }

    // MARK: Life of an entry

    /// A new entry outside the table, held by one packet. Nil if the table is full and nothing can be dropped early.
    mutating func make(_ tuple: ConnectionTuple, now: UInt64) -> Int? {
        sweep(8, now: now)
        if confirmedCount >= settings.maximum, !dropEarly(near: tuple.hash, now: now) {
            statistics.drop += 1
            return nil
        }
        let place: Int
        if free != 0 {
            place = Int(free) - 1
            free = entries[place].next
        } else {
            guard used < Int(ConnectionTable.placeMask) - 1 else { return nil }
            if used == capacity {
                let larger = UnsafeMutablePointer<Connection>.allocate(capacity: capacity * 2)
                larger.moveInitialize(from: entries, count: used)
                entries.deallocate()
                entries = larger
                capacity *= 2
            }
            place = used
            used += 1
            (entries + place).initialize(to: Connection())
        }
        let generation = entries[place].generation
        entries[place] = Connection(
            original: tuple, reply: tuple.inverse, status: .inUse, holders: 1, generation: generation, since: now)
        unconfirmedCount += 1
        return place
    }

    /// Puts the entry into the table (`__nf_conntrack_confirm`). False if one of its tuples is there already: the packet that made it must not go on.
    mutating func confirm(_ place: Int, now: UInt64) -> Bool {
        let entry = entries[place]
        guard !entry.status.contains(.dying), find(entry.original, now: now) == nil, find(entry.reply, now: now) == nil else { return false }
        enter(place, now: now)
        hash.insert(entry.original.hash, UInt32(place + 1) << 1)
        hash.insert(entry.reply.hash, UInt32(place + 1) << 1 | 1)
        if isWatched { note(.new, place, now: now) }
        return true
    }

    private mutating func enter(_ place: Int, now: UInt64) {
        entries[place].status.insert(.confirmed)
        entries[place].holders = 0
        // Until here the entry held the time it may stay idle.
        entries[place].expires &+= now
        confirmedCount += 1
        unconfirmedCount -= 1
    }

    /// Puts an entry whose original tuple is taken into the table under its reply tuple alone, for a second: answers to this one packet find their way, and
    /// further packets belong to the entry that was faster (`nf_ct_resolve_clash_harder`). False if the reply tuple is taken too.
    mutating func confirmReply(_ place: Int, now: UInt64) -> Bool {
        let entry = entries[place]
        guard !entry.status.contains(.dying), find(entry.reply, now: now) == nil else { return false }
        entries[place].expires = 1_000_000_000
        entries[place].status.insert(.clashed)
        enter(place, now: now)
        hash.insert(entry.reply.hash, UInt32(place + 1) << 1 | 1)
        return true
    }

    /// A further packet (a clone) names an entry outside the table.
    func retain(_ name: UInt32) {
        guard let entry = entry(name), !entry.pointee.status.contains(.confirmed) else { return }
        entry.pointee.holders += 1
    }

    /// A packet that names the entry is gone.
    mutating func release(_ name: UInt32) {
        guard let entry = entry(name), !entry.pointee.status.contains(.confirmed) else { return }
        if entry.pointee.holders > 1 {
            entry.pointee.holders -= 1
        } else {
            discard(place(of: entry))
        }
    }

    /// Takes the entry out of the table at once; a packet that `isHeld` keeps it until it is released (`nf_ct_kill`).
    mutating func remove(_ place: Int, isHeld: Bool = false, now: UInt64) {
        if entries[place].status.contains(.confirmed) {
            if isWatched { note(.destroy, place, now: now) }
            let entry = entries[place]
            hash.remove(entry.original.hash, UInt32(place + 1) << 1)
            hash.remove(entry.reply.hash, UInt32(place + 1) << 1 | 1)
            entries[place].status.remove(.confirmed)
            confirmedCount -= 1
            unconfirmedCount += 1
        }
        if isHeld {
            entries[place].status.insert(.dying)
            entries[place].holders = 1
            entries[place].since = now
        } else {
            discard(place)
        }
    }

    private mutating func discard(_ place: Int) {
        assert(!entries[place].status.contains(.confirmed), "an entry of the table discarded")
        unlinkSource(place)
        entries[place].status = []
        entries[place].generation = (entries[place].generation + 1) & 1023
        entries[place].next = free
        free = UInt32(place + 1)
        unconfirmedCount -= 1
    }

    /// Forgets a few expired entries, going round the slab.
    private mutating func sweep(_ count: Int, now: UInt64) {
        for _ in 0..<min(count, used) {
            if sweepPosition >= used { sweepPosition = 0 }
            let entry = entries + sweepPosition
            // What is not in the table normally goes with its packet.
            let end = entry.pointee.status.contains(.confirmed) ? entry.pointee.expires : entry.pointee.since + ConnectionTable.orphanLifetime
            if entry.pointee.status.contains(.inUse), end <= now { remove(sweepPosition, now: now) }
            sweepPosition += 1
        }
    }

    mutating func sweepAll(now: UInt64) { sweep(used, now: now) }

    /// Makes room: an entry near `hash` that is not assured goes (`early_drop`).
    private mutating func dropEarly(near hash: UInt64, now: UInt64) -> Bool {
        let entries = entries
        var victim: Int?
        self.hash.near(hash, count: 8) { number in
            let place = Int(number >> 1) - 1
            if entries[place].expires <= now || !entries[place].status.contains(.assured) { victim = place }
        }
        guard let victim else { return false }
        remove(victim, now: now)
        statistics.earlyDrop += 1
        return true
    }

    // MARK: Sources

    private static func bucket(_ tuple: ConnectionTuple) -> Int {
        Int(truncatingIfNeeded: ConnectionTuple.mix(UInt64(tuple.source), UInt64(tuple.sourcePort) << 8 | UInt64(tuple.proto))) & (sourceBuckets - 1)
    }

    /// Makes the entry's mapping findable by its original source.
    mutating func linkSource(_ place: Int) {
        guard !entries[place].status.contains(.bySource) else { return }
        // Most namespaces never translate anything.
        let bySource = self.bySource ?? .allocate(capacity: ConnectionTable.sourceBuckets)
        if self.bySource == nil {
            bySource.initialize(repeating: 0, count: ConnectionTable.sourceBuckets)
            self.bySource = bySource
        }
        let bucket = ConnectionTable.bucket(entries[place].original)
        let first = bySource[bucket]
        (entries[place].next, entries[place].previous) = (first, 0)
        if first != 0 { entries[Int(first) - 1].previous = UInt32(place + 1) }
        bySource[bucket] = UInt32(place + 1)
        entries[place].status.insert(.bySource)
    }

    private func unlinkSource(_ place: Int) {
        guard entries[place].status.contains(.bySource), let bySource else { return }
        let (next, previous) = (entries[place].next, entries[place].previous)
        if next != 0 { entries[Int(next) - 1].previous = previous }
        if previous != 0 { entries[Int(previous) - 1].next = next } else { bySource[ConnectionTable.bucket(entries[place].original)] = next }
    }

    /// The mappings of entries with the same original source (`find_appropriate_src`), latest first, until `accept` takes one.
    func findSource(_ tuple: ConnectionTuple, _ accept: (Connection) -> Bool) {
        guard let bySource else { return }
        var place = Int(bySource[ConnectionTable.bucket(tuple)]) - 1
        while place >= 0 {
            let entry = entries[place]
            if entry.original.proto == tuple.proto, entry.original.source == tuple.source, entry.original.sourcePort == tuple.sourcePort, accept(entry) { return }
            place = Int(entry.next) - 1
        }
    }

    mutating func countInvalid() { statistics.invalid += 1 }
}

extension Connection {
    /// What a packet's source or destination becomes: what the other direction's packets have on the other side. The port of an ICMP query is
    /// its identifier.
    @inline(__always)
    func translation(isReply: Bool, isSource: Bool) -> (address: UInt32, port: UInt16) {
        let other = tuple(isReply: !isReply)
        return isSource
            ? (other.destination, other.proto == 1 ? other.sourcePort : other.destinationPort) : (other.source, other.sourcePort)
    }

    @inline(__always)
    func tuple(isReply: Bool) -> ConnectionTuple { isReply ? reply : original }
}
