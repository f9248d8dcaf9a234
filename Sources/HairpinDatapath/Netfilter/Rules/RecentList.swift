/// The addresses one list of `-m recent` remembers, as xt_recent keeps them: at most a hundred, the least recently seen goes first, and for
/// each the times of its latest packets.
struct RecentList: Sendable {
    /// `ip_list_tot`.
    static let addressLimit = 100
    /// Times kept for an address: at least `ip_pkt_list_tot` (20), and as many as a `--hitcount` may ask for.
    static let stampLimit = 255

    struct Entry: Sendable {
        var address: UInt32
        var timeToLive: UInt8
        /// Nanoseconds, a ring; the latest is before `next`.
        var stamps: [UInt64]
        var next = 0
        var lastSeen: UInt64
    }
    /// From the least to the most recently seen.
    private(set) var entries: [Entry] = []

    /// Applies one match to `address` (`recent_mt`).
    mutating func matches(_ test: RecentTest, address: UInt32, timeToLive: UInt8, now: UInt64) -> Bool {
        var found = entries.firstIndex { $0.address == address && (!test.byTimeToLive || $0.timeToLive == timeToLive) }
        guard let index = found else {
            guard test.action == .set else { return test.inverted }
            if entries.count == RecentList.addressLimit { entries.removeFirst() }
            entries.append(Entry(address: address, timeToLive: timeToLive, stamps: [now], lastSeen: now))
            return !test.inverted
        }
        var result = test.inverted
        switch test.action {
        case .set:
            result.toggle()
        case .remove:
            entries.remove(at: index)
            return !result
        case .check, .update:
            let window = UInt64(test.seconds) * 1_000_000_000
            let oldest = test.seconds == 0 || now < window ? 0 : now - window
            var hits: UInt32 = 0
            for stamp in entries[index].stamps where stamp >= oldest {
                hits += 1
                if test.hits == 0 || hits >= test.hits {
                    result.toggle()
                    break
                }
            }
            // Only the one seen longest ago is looked at; it may be the one that was asked for.
            if test.reap, let first = entries.first, first.lastSeen < oldest {
                entries.removeFirst()
                found = index == 0 ? nil : index - 1
            }
        }
        if test.action == .set || test.action == .update && result, let index = found {
            var entry = entries.remove(at: index)
            if entry.stamps.count < RecentList.stampLimit { entry.stamps.append(now) } else { entry.stamps[entry.next] = now }
            entry.next = (entry.next + 1) % RecentList.stampLimit
            entry.lastSeen = now
            entry.timeToLive = timeToLive
            entries.append(entry)
        }
        return result
    }
}
