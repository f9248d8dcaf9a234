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
    private var ports: UnsafeMutablePointer<InterfaceIndex>
    private(set) var portCount = 0
    private var portCapacity = 8
    let ageing: Duration
    private var entries: UnsafeMutablePointer<Entry>
    private var mask: Int
    private var count = 0

    init(ageing: Duration) {
        self.ageing = ageing
        ports = .allocate(capacity: portCapacity)
        entries = ForwardingTable.makeEntries(64)
        mask = 63
    }
    func deallocate() {
        entries.deallocate()
        ports.deallocate()
    }

    private static func makeEntries(_ size: Int) -> UnsafeMutablePointer<Entry> {
        // Four entries to a cache line, none across two.
        let entries = UnsafeMutableRawPointer.allocate(byteCount: size * MemoryLayout<Entry>.stride, alignment: 64).bindMemory(to: Entry.self, capacity: size)
        entries.initialize(repeating: Entry(key: 0, seen: .zero), count: size)
        return entries
    }

    mutating func addPort(_ port: InterfaceIndex) {
        precondition(portCount < 1 << 16, "a bridge has at most 65536 ports here")
        if portCount == portCapacity {
            let larger = UnsafeMutablePointer<InterfaceIndex>.allocate(capacity: portCapacity * 2)
            larger.moveInitialize(from: ports, count: portCount)
            ports.deallocate()
            ports = larger
            portCapacity *= 2
        }
        (ports + portCount).initialize(to: port)
        portCount += 1
    }

    /// A port by its number within the bridge.
    @inline(__always) func port(_ number: Int) -> InterfaceIndex { ports[number] }

    @inline(__always) private func home(_ mac: UInt64) -> Int { Int(truncatingIfNeeded: (mac &* 0x9e37_79b9_7f4a_7c15) >> 32) & mask }
    @inline(__always) private func slot(_ mac: UInt64) -> Int {
        var i = home(mac)
        while entries[i].key & ForwardingTable.macMask != mac, entries[i].key != 0 { i = (i &+ 1) & mask }
        return i
    }

    /// Notes that `mac` was seen on a port (`br_fdb_update`). Group addresses are never learned; the caller has checked.
    @inline(__always)
    mutating func learn(_ mac: MACAddress, port: UInt16, now: Instant) {
        let i = slot(mac.rawValue)
        if entries[i].key == 0 { return learnNew(mac, port: port, now: now) }
        entries[i].key = UInt64(port) << 48 | mac.rawValue
        entries[i].seen = now
    }

    @inline(never)
    private mutating func learnNew(_ mac: MACAddress, port: UInt16, now: Instant) {
        if (count + 1) * 2 > mask + 1 { rehash(now) }
        count += 1
        entries[slot(mac.rawValue)] = Entry(key: UInt64(port) << 48 | mac.rawValue, seen: now)
    }

    /// The port `mac` was last seen on, none if unknown or aged out (`br_fdb_find_rcu`, `has_expired`).
    @inline(__always)
    func port(of mac: MACAddress, now: Instant) -> InterfaceIndex {
        let i = slot(mac.rawValue)
        guard entries[i].key != 0, now - entries[i].seen < ageing else { return .none }
        return ports[Int(truncatingIfNeeded: entries[i].key >> 48)]
    }

    /// Brings the entry of an address into the cache. What it returns means nothing, but has to be used.
    @inline(__always)
    func touch(_ mac: MACAddress) -> UInt64 { entries[home(mac.rawValue)].key }

    /// Doubles the table, leaving aged entries behind; if many have aged the size stays.
    private mutating func rehash(_ now: Instant) {
        let old = entries
        let size = mask + 1
        var alive = 0
        for i in 0..<size where old[i].key != 0 && now - old[i].seen < ageing { alive += 1 }
        let newSize = alive * 4 > size ? size * 2 : size
        entries = ForwardingTable.makeEntries(newSize)
        mask = newSize - 1
        count = alive
        for i in 0..<size where old[i].key != 0 && now - old[i].seen < ageing { entries[slot(old[i].key & ForwardingTable.macMask)] = old[i] }
        old.deallocate()
    }
}
