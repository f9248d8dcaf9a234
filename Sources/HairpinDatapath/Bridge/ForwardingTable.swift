import HairpinEngine
import HairpinWire

/// A bridge's ports and what it has learned (`net_bridge_fdb_entry`): 16-byte entries in raw memory, open addressing, load at most one half,
/// ageing on look-up.
struct ForwardingTable {
    private struct Entry {
        /// MAC address in the lower 48 bits, port in the upper 16; zero is empty. Ports are numbered within the bridge.
        var key: UInt64
        var seen: Instant
    }
    private static let macMask: UInt64 = 0xffff_ffff_ffff

    /// Ports in the order they were added. Linux keeps the newest first (`list_add_rcu`), and floods in that order.
    private(set) var ports: [InterfaceIndex] = []
    let ageing: Duration
    private var entries: UnsafeMutablePointer<Entry>
    private var mask: Int
    private var count = 0

    init(ageing: Duration) {
        self.ageing = ageing
        entries = .allocate(capacity: 64)
        entries.initialize(repeating: Entry(key: 0, seen: .zero), count: 64)
        mask = 63
    }
    func deallocate() { entries.deallocate() }

    mutating func addPort(_ port: InterfaceIndex) {
        precondition(ports.count < 1 << 16, "a bridge has at most 65536 ports here")
        ports.append(port)
    }

    @inline(__always) private func slot(_ mac: UInt64) -> Int {
        var i = Int(truncatingIfNeeded: (mac &* 0x9e37_79b9_7f4a_7c15) >> 32) & mask
        while entries[i].key != 0, entries[i].key & ForwardingTable.macMask != mac { i = (i &+ 1) & mask }
        return i
    }

    /// Notes that `mac` was seen on a port (`br_fdb_update`). Group addresses are never learned; the caller has checked.
    mutating func learn(_ mac: MACAddress, port: UInt16, now: Instant) {
        let i = slot(mac.rawValue)
        if entries[i].key == 0 {
            if (count + 1) * 2 > mask + 1 {
                rehash(now)
                return learn(mac, port: port, now: now)
            }
            count += 1
        }
        entries[i].key = UInt64(port) << 48 | mac.rawValue
        entries[i].seen = now
    }

    /// The port `mac` was last seen on, nil if unknown or aged out (`br_fdb_find_rcu`, `has_expired`).
    func port(of mac: MACAddress, now: Instant) -> InterfaceIndex? {
        let i = slot(mac.rawValue)
        guard entries[i].key != 0, entries[i].seen + ageing > now else { return nil }
        return ports[Int(entries[i].key >> 48)]
    }

    /// Doubles the table, leaving aged entries behind; if many have aged the size stays.
    private mutating func rehash(_ now: Instant) {
        let old = entries
        let size = mask + 1
        var alive = 0
        for i in 0..<size where old[i].key != 0 && old[i].seen + ageing > now { alive += 1 }
        let newSize = alive * 4 > size ? size * 2 : size
        entries = .allocate(capacity: newSize)
        entries.initialize(repeating: Entry(key: 0, seen: .zero), count: newSize)
        mask = newSize - 1
        count = alive
        for i in 0..<size where old[i].key != 0 && old[i].seen + ageing > now {
            entries[slot(old[i].key & ForwardingTable.macMask)] = old[i]
        }
        old.deallocate()
    }
}
