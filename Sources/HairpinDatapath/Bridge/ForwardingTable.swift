import CProcessor
import HairpinEngine
import HairpinWire

/// A MAC address as it lies on the wire, read as a little-endian number: no bytes are swapped to look one up.
struct StationKey: Hashable {
    let rawValue: UInt64

    /// The address at `offset` of a frame; two bytes behind it must belong to the frame.
    @inline(__always)
    init(_ data: UnsafeMutableRawPointer, at offset: Int) {
        rawValue = UInt64(littleEndian: data.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) & 0xffff_ffff_ffff
    }
    @inline(__always)
    init(_ mac: MACAddress) { rawValue = mac.rawValue.byteSwapped &>> 16 }

    @inline(__always) var isMulticast: Bool { rawValue & 1 != 0 }
}

/// A bridge's ports and what it has learned (`net_bridge_fdb_entry`): 16-byte entries in raw memory, open addressing, load at most one half,
/// ageing on look-up.
struct ForwardingTable {
    private struct Entry {
        /// `StationKey` in the lower 48 bits, port in the upper 16; zero is empty. Ports are numbered within the bridge.
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
    private var mask: Int {
        didSet { homeShift = ForwardingTable.homeShift(mask) }
    }
    private var homeShift: UInt64
    private var count = 0

    init(ageing: Duration) {
        self.ageing = ageing
        ports = .allocate(capacity: portCapacity)
        entries = ForwardingTable.makeEntries(64)
        mask = 63
        homeShift = ForwardingTable.homeShift(63)
    }
    private static func homeShift(_ mask: Int) -> UInt64 { UInt64(truncatingIfNeeded: mask.leadingZeroBitCount) }
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

    /// Multiplicative hashing with the golden ratio (Knuth, TAOCP 6.4), of 48 bits as addresses are: it spreads consecutive numbers evenly, which
    /// addresses often are once their last byte is the lowest.
    @inline(__always) private func home(_ key: UInt64) -> Int { Int(truncatingIfNeeded: (key.byteSwapped &* 0x9e37_79b9_7f4b) &>> homeShift) }
    /// Where a station is, or where it would be entered: there the key is zero.
    @inline(__always) private func slot(_ key: UInt64) -> UnsafeMutablePointer<Entry> {
        var i = home(key)
        while (entries[i].key ^ key) & ForwardingTable.macMask != 0, entries[i].key != 0 { i = (i &+ 1) & mask }
        return entries + i
    }

    /// Notes that a station was seen on a port (`br_fdb_update`). Group addresses are never learned, nor zero; the caller has checked. As in
    /// Linux, nothing is written that has not changed.
    @inline(__always)
    mutating func learn(_ station: StationKey, port: UInt16, now: Instant) {
        let entry = slot(station.rawValue)
        let key = UInt64(port) &<< 48 | station.rawValue
        if entry.pointee.key != key {
            if entry.pointee.key == 0 { return learnNew(key, now: now) }
            entry.pointee.key = key
        }
        if entry.pointee.seen != now { entry.pointee.seen = now }
    }

    @inline(never)
    private mutating func learnNew(_ key: UInt64, now: Instant) {
        if (count + 1) * 2 > mask + 1 { rehash(now) }
        count += 1
        slot(key & ForwardingTable.macMask).pointee = Entry(key: key, seen: now)
    }

    /// The port a station was last seen on, none if unknown or aged out (`br_fdb_find_rcu`, `has_expired`).
    @inline(__always)
    func port(of station: StationKey, now: Instant) -> InterfaceIndex {
        let entry = slot(station.rawValue)
        guard entry.pointee.key != 0, now - entry.pointee.seen < ageing else { return .none }
        return ports[Int(truncatingIfNeeded: entry.pointee.key &>> 48)]
    }

    /// Asks for the entries of a frame's two addresses.
    @inline(__always)
    func prefetch(_ data: UnsafeMutableRawPointer) {
        hairpin_prefetch(entries + home(StationKey(data, at: EthernetOffset.source).rawValue))
        hairpin_prefetch(entries + home(StationKey(data, at: EthernetOffset.destination).rawValue))
    }

    /// Forgets the stations of a port (`br_fdb_delete_by_port`). The others are entered anew: a hole would end a search too early.
    ///
    /// Complexity: O(size of the table).
    mutating func forget(port: UInt16) {
        let old = entries
        let size = mask + 1
        entries = ForwardingTable.makeEntries(size)
        count = 0
        for i in 0..<size where old[i].key != 0 && UInt16(truncatingIfNeeded: old[i].key &>> 48) != port {
            slot(old[i].key & ForwardingTable.macMask).pointee = old[i]
            count += 1
        }
        old.deallocate()
    }

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
        for i in 0..<size where old[i].key != 0 && now - old[i].seen < ageing { slot(old[i].key & ForwardingTable.macMask).pointee = old[i] }
        old.deallocate()
    }
}
